"""Samples of evenly spread inputs, and how their errors fall."""

import math

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidValueError, TooLargeError
from infflow.networks.low_discrepancy import sobol_normals, sobol_sample


def problem(D=4, noise=0.0, given=None):
    net = inf.Net([(3, "tanh", True), (1, "identity", True)], input_dim=D)
    teacher = inf.Teacher(net, inf.random_params(net, rng=1, init="standard_normal"), noise=noise)
    return inf.NetI(net, teacher, input=given), inf.random_params(net, rng=2)


def errors(neti, theta, N, method):
    exact = inf.loss(neti, theta)
    return [inf.loss(neti.sample(N, rng, method=method), theta) - exact for rng in range(8)]


def test_errors_fall_faster_than_those_of_random_inputs():
    neti, theta = problem()
    sizes = (2**8, 2**12)
    coarse, fine = (np.std(errors(neti, theta, N, "sobol")) for N in sizes)
    rate = math.log(fine / coarse) / math.log(sizes[1] / sizes[0])
    assert rate < -0.8  # -1/2 for random inputs; measured -1.1
    assert fine < 0.1 * np.std(errors(neti, theta, sizes[1], "random"))


@pytest.mark.parametrize("N", [1, 3, 1000, 1024])
def test_any_number_of_points(N):
    neti, _ = problem()
    data = neti.sample(N, 0, method="sobol")
    assert data.data.X.shape == (N, 4)
    again = neti.sample(N, 0, method="sobol")
    np.testing.assert_array_equal(data.data.X, again.data.X)


def test_label_noise_and_mixtures():
    means = np.array([[1.0, 0.0], [-3.0, 2.0]])
    covs = np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.3, 0.0], [0.0, 0.1]]])
    mixture = inf.GaussianMixture([0.25, 0.75], means, covs)
    X, noise = sobol_sample(mixture, 2**14, 1, np.random.default_rng(0))
    np.testing.assert_allclose(X.mean(axis=0), [0.25 - 2.25, 1.5], atol=2e-3)
    np.testing.assert_allclose(np.cov(X.T), mixture.covariance(), atol=5e-3)
    assert abs(np.corrcoef(X[:, 0], noise[:, 0])[0, 1]) < 2e-3
    assert noise.std() == pytest.approx(1.0, abs=1e-3)
    neti, theta = problem(2, noise=0.7, given=mixture)
    data = neti.sample(2**12, 0, method="sobol")
    assert inf.loss(data, theta) == pytest.approx(inf.loss(neti, theta), rel=0.05)


def test_points_are_inside():
    z = sobol_normals(2**16, 3, np.random.default_rng(1))
    assert np.isfinite(z).all()
    assert 3.9 < np.abs(z).max() < 6.5


def test_deep_students_on_even_points():
    """Two hidden layers, four inputs: the error falls faster than that of samples."""
    layers = [(4, "tanh", True), (3, "erf", True), (1, "identity", True)]
    net = inf.Net(layers, input_dim=4)
    star = inf.random_params(net, rng=1, init="standard_normal")
    theta = inf.random_params(net, rng=2)

    def target(x):
        return net.predict(star, x)[:, 0]

    def losses(nodes, count):
        return [
            inf.loss(inf.quadrature_net(net, target, nodes, method="sobol", rng=seed), theta)
            for seed in range(count)
        ]

    exact = np.mean(losses(2**16, 4))
    coarse, fine = (
        np.sqrt(np.mean(np.square(np.array(losses(n, 8)) - exact))) for n in (2**8, 2**14)
    )
    rate = math.log(fine / coarse) / math.log(2**6)
    assert rate < -0.8  # measured -1.1; random inputs have -0.5
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200_000, 4))
    plain = inf.loss(net, theta, X, target(X))
    assert exact == pytest.approx(plain, rel=0.02)
    with pytest.raises(InvalidValueError, match="method='sobol'"):
        inf.quadrature_net(net, target)


def test_bad_arguments():
    neti, _ = problem()
    with pytest.raises(InvalidValueError, match="method"):
        neti.sample(10, 0, method="halton")
    with pytest.raises(TooLargeError, match="random"):
        sobol_normals(2, 30_000, np.random.default_rng(0))
