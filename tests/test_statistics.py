"""Predictions of what finite data does, against the finite-data problem itself."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import AccuracyWarning, InvalidTypeError, InvalidValueError


@pytest.fixture(scope="module")
def linear():
    """Linear regression: a linear student of a linear teacher with label noise, where all is known
    exactly.
    """
    net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=3)
    teacher = inf.Teacher(net, np.array([1.0, -2.0, 0.5, 1.0]), noise=0.5)
    return inf.NetI(net, teacher), teacher.theta


def test_covariance_of_linear_regression(linear):
    """At the teacher g = -2 e (a x, w.x), so C = 4 sigma^2 diag-like Gram of (a x, w.x)."""
    net, theta = linear
    w, a = theta[:3], theta[3]
    G = np.block([[a * a * np.eye(3), (a * w)[:, None]], [a * w[None, :], np.array([[w @ w]])]])
    C = inf.gradient_covariance(net, theta, samples=200_000, rng=1)
    # entries of a covariance of products of normals scatter by about 3/sqrt(samples) of the largest
    np.testing.assert_allclose(C, 4 * 0.25 * G, atol=5 * 3 / np.sqrt(200_000) * np.abs(G).max())
    np.testing.assert_array_equal(C, C.T)


def test_prediction_of_linear_regression(linear):
    """C = 2 sigma^2 H here, so that the loss gap is sigma^2 rank/N: the classical 1/N law."""
    net, theta = linear
    prediction = inf.finite_data_prediction(net, theta, 1000)
    assert prediction.rank == 3  # the scale between the layers is flat
    assert prediction.loss_gap_error == prediction.squared_distance_error == 0.0
    assert prediction.loss_gap == pytest.approx(0.25 * 3 / 1000, rel=1e-12)
    H = inf.hessian(net, theta)
    exact = 2 * 0.25 * np.trace(np.linalg.pinv(H, rcond=1e-10)) / 1000
    assert prediction.squared_distance == pytest.approx(exact, rel=1e-12)


def test_prediction_scales_with_samples(linear):
    net, theta = linear
    one, ten = (inf.finite_data_prediction(net, theta, N, samples=2000) for N in (1.0, 10.0))
    assert one.squared_distance == pytest.approx(10 * ten.squared_distance, rel=1e-14)


def test_eigenvalues_next_to_the_tolerance_are_named(linear):
    net, theta = linear
    values = np.linalg.eigvalsh(inf.hessian(net, theta))
    for factor in (0.5, 2.0):  # counted, and left out
        with pytest.warns(AccuracyWarning, match="hardly be told from zero with rtol"):
            inf.finite_data_prediction(
                net, theta, 100, samples=200, rtol=factor * values[1] / values[-1]
            )


def test_wrong_points(linear):
    net, theta = linear
    with pytest.raises(InvalidValueError, match="not a minimum"):
        inf.finite_data_prediction(net, np.array([0.1, 0.0, 0.0, -0.1]), 100, samples=200)
    with pytest.warns(AccuracyWarning, match="away from the minimum"):
        inf.finite_data_prediction(net, theta * [0.95, 0.95, 0.95, 1.0], 100, samples=200)
    with pytest.raises(InvalidTypeError, match="NetI"):
        inf.finite_data_prediction(net.sample(10, 0), theta, 100)
    with pytest.raises(InvalidTypeError, match="NetI"):
        inf.overlaps(net.sample(10, 0), theta)
    with pytest.raises(InvalidValueError, match="samples"):
        inf.gradient_covariance(net, theta, samples=3)


@pytest.mark.parametrize("N,rtol", [(0, 1e-10), (-1.0, 1e-10), (np.nan, 1e-10), (10, -1.0)])
def test_bad_arguments_are_found_before_sampling(linear, N, rtol):
    net, theta = linear
    with pytest.raises(InvalidValueError, match=r"N is|rtol is"):
        inf.finite_data_prediction(
            net, theta, N, samples=10**15, rtol=rtol
        )  # so many samples would take for ever
