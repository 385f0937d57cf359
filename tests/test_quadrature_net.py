"""Nets on Gauss-Hermite nodes against infinite data: exact for smooth activations, and the limits
that are documented.
"""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError
from infflow.networks.finite.quadrature_net import gauss_hermite, quadrature_net


def problem(f, r=1.0, D=2, input=None):
    """NetI, the same on nodes, and a point with a neuron of weight norm r."""
    net = inf.Net([(1, f, True), (1, "identity", True)], input_dim=D)
    w = np.array([[0.6, 0.8]])[:, :D]
    teacher = inf.Teacher(net, net.pack([(w, np.array([0.3])), (np.ones((1, 1)), np.zeros(1))]))
    theta = net.pack(
        [(r * np.array([[0.8, -0.6]])[:, :D], np.array([-0.2])), (np.ones((1, 1)), np.array([0.1]))]
    )
    return (
        inf.NetI(net, teacher, input=input),
        quadrature_net(net, teacher.predict, input=input),
        theta,
    )


def errors(exact, nodes, theta, order=2):
    a = exact.evaluate(theta, order)
    b = nodes.evaluate(theta, order)
    relative = [
        abs(a.value - b.value) / a.value,
        np.abs(a.gradient - b.gradient).max() / np.abs(a.gradient).max(),
    ]
    if order == 2:
        relative.append(np.abs(a.hessian - b.hessian).max() / np.abs(a.hessian).max())
    return relative


@pytest.mark.parametrize("f", ["erf", "gelu", "softplus"])
@pytest.mark.parametrize("r", [1.0, 4.0])
def test_smooth_activations(f, r):
    assert max(errors(*problem(f, r))) < 1e-12


@pytest.mark.parametrize("D", [1, 2])
def test_gaussian_input(D):
    gaussian = inf.Gaussian(np.array([0.5, -1.0])[:D], np.array([[1.0, 0.4], [0.4, 0.5]])[:D, :D])
    assert max(errors(*problem("erf", D=D, input=gaussian))) < 1e-12


def test_documented_limits():
    value, gradient, hessian = errors(*problem("tanh", 20.0))
    assert 1e-10 < value < 2e-8 and 1e-8 < hessian < 3e-6
    value, gradient, hessian = errors(*problem("relu"))
    assert 1e-7 < value < 2e-5 and 1e-4 < gradient < 1e-2 and hessian > 0.05
    value, _ = errors(*problem("step"), order=1)
    assert 1e-4 < value < 2e-2


def test_nodes():
    X, w = gauss_hermite(2, 600, 1e-18)
    assert len(X) == 13_448  # the count of the paper's package
    assert w.sum() == pytest.approx(1.0, abs=1e-14)
    for p, q, moment in [(2, 2, 1.0), (4, 2, 3.0), (1, 2, 0.0), (6, 0, 15.0)]:
        assert w @ (X[:, 0] ** p * X[:, 1] ** q) == pytest.approx(
            moment, abs=1e-10
        )  # what was pruned


def test_deep_network():
    net = inf.Net([(4, "tanh", True), (3, "softplus", True), (1, "identity", True)], input_dim=2)
    theta = inf.random_params(net, 0)

    def target(X):
        return np.sin(X[:, 0]) * X[:, 1]

    nodes = quadrature_net(net, target)
    few = quadrature_net(net, target, nodes=80, prune=0.0)
    assert few.evaluate(theta, 0).value == pytest.approx(nodes.evaluate(theta, 0).value, rel=1e-11)
    X = np.random.default_rng(0).standard_normal((400_000, 2))
    squares = (net.predict(theta, X)[:, 0] - target(X)) ** 2
    assert abs(squares.mean() - inf.loss(nodes, theta)) < 4 * squares.std() / np.sqrt(len(X))
    result = inf.train(
        nodes.with_data(few.data.X, few.data.target, few.data.weights),
        theta,
        t_end=1.0,
        max_steps_newton=0,
        progress=False,
    )
    assert result.loss < inf.loss(nodes, theta)


def test_keeps_barrier_ridge_and_parametrization():
    net = inf.Net(
        [(2, "erf", True), (1, "identity", True)],
        input_dim=1,
        maxnorm=0.5,
        ridge=0.2,
        parametrization="ntk",
    )
    theta = inf.random_params(net, 0, init="standard_normal")
    same = inf.NetI(net, inf.Teacher(net, 0 * theta), maxnorm=0.5, ridge=0.2)
    assert inf.loss(quadrature_net(net, lambda X: 0 * X[:, 0]), theta) == pytest.approx(
        inf.loss(same, theta), rel=1e-13
    )


def test_bad_arguments():
    net = inf.Net([(2, "erf", True), (1, "identity", True)], input_dim=2)
    with pytest.raises(InvalidTypeError, match=r"inf\.Net is needed"):
        quadrature_net(3, np.sin)
    with pytest.raises(InvalidValueError, match="3 inputs"):
        quadrature_net(
            inf.Net([(2, "erf", True), (1, "identity", True)], input_dim=3), lambda X: X[:, 0]
        )
    with pytest.raises(ShapeError, match="2 outputs and the net has 1"):
        quadrature_net(net, lambda X: X)
    with pytest.raises(InvalidTypeError, match="callable"):
        quadrature_net(net, 1.0)
    with pytest.raises(InvalidValueError, match="NaN"):
        quadrature_net(net, lambda X: np.log(np.minimum(X[:, 0], -1)))
    with pytest.raises(InvalidValueError, match="nodes"):
        quadrature_net(net, lambda X: X[:, 0], nodes=0)
    with pytest.raises(InvalidTypeError, match="GaussianMixture"):
        mixture = inf.GaussianMixture([1.0], np.zeros((1, 2)), np.eye(2)[None])
        quadrature_net(net, lambda X: X[:, 0], input=mixture)
    classes = inf.Net([(2, "erf", True), (2, "identity", True)], input_dim=2, loss="cross_entropy")
    with pytest.raises(InvalidValueError, match="needs 'mse'"):
        quadrature_net(classes, lambda X: X)
