"""The correlation loss: the squared one without pairs of students."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidValueError, MethodError

D = 5
MIXTURE = inf.GaussianMixture(
    [0.3, 0.7],
    np.array([[0.5, 0, 0, 0, 0], [0, -0.2, 0, 0, 1]]),
    np.array([np.full(D, 0.8), np.linspace(0.5, 2, D)]),
)


def networks(activation, parametrization="standard"):
    net = inf.Net(
        [(3, activation, True), (2, "identity", True)],
        input_dim=D,
        parametrization=parametrization,
    )
    target = inf.Net([(2, activation, True), (2, "identity", True)], input_dim=D)
    theta = inf.random_params(target, rng=5, init="standard_normal")
    return net, inf.Teacher(target, theta, noise=0.3)


def differences(function, theta, h=1e-5):
    steps = h * np.eye(len(theta))
    return np.array([(function(theta + e) - function(theta - e)) / (2 * h) for e in steps])


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "elu"])
@pytest.mark.parametrize("given", [None, MIXTURE], ids=["standard", "mixture"])
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_derivatives(activation, given, parametrization):
    net, teacher = networks(activation, parametrization)
    neti = inf.NetI(net, teacher, input=given, loss="correlation", ridge=0.1)
    theta = inf.random_params(net, rng=1, init="standard_normal")
    H = inf.hessian(neti, theta)
    scale = np.abs(H).max()
    gradient = differences(lambda t: inf.loss(neti, t), theta)
    np.testing.assert_allclose(inf.gradient(neti, theta), gradient, atol=1e-8 * scale)
    second = differences(lambda t: inf.gradient(neti, t), theta)
    np.testing.assert_allclose(H, second, atol=1e-8 * scale)
    v = np.random.default_rng(2).standard_normal(len(theta))
    np.testing.assert_allclose(inf.hvp(neti, theta, v), H @ v, atol=1e-12 * scale)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_it_is_the_odd_part_of_the_squared_loss(activation):
    """|y - f|^2 - |y + f|^2 = -4 y f for the outputs f and -f."""
    net, teacher = networks(activation)
    squared = inf.NetI(net, teacher)
    theta = inf.random_params(net, rng=3, init="standard_normal")
    weights = net.unpack(theta)

    def with_factor(c):
        return net.pack([weights[0], (c * weights[1][0], c * weights[1][1])])

    odd = inf.loss(squared, theta) - inf.loss(squared, with_factor(-1.0))
    expected = 0.5 * odd + inf.loss(squared, with_factor(0.0))
    correlation = squared.replace(loss="correlation")
    assert inf.loss(correlation, theta) == pytest.approx(expected, rel=1e-12)
    assert correlation.with_method("closed").loss == "correlation"


def test_neurons_do_not_see_each_other():
    net, teacher = networks("erf")
    H = inf.hessian(inf.NetI(net, teacher, loss="correlation"), inf.random_params(net, rng=0))
    assert not H[:D, D : 3 * D].any()  # first and other neurons
    assert not H[-8:, -8:].any()  # the second layer enters linearly


def test_a_student_that_equals_its_teacher():
    """Parallel kinks, and a loss below zero, which is no rounding error."""
    _, teacher = networks("relu")
    own = inf.NetI(teacher.net, teacher, loss="correlation")
    square = inf.loss(inf.NetI(teacher.net, teacher), np.zeros(len(teacher.theta)))
    noise = 2 * 0.3**2
    assert inf.loss(own, teacher.theta) == pytest.approx(-(square - noise) + noise, rel=1e-12)
    kind = inf.classify(own, teacher.theta)
    assert kind.gradient_norm > 0.1


def test_training_with_a_ridge():
    net, teacher = networks("erf")
    neti = inf.NetI(net, teacher, loss="correlation", ridge=2.0)
    result = inf.train(neti, inf.random_params(net, rng=0), min_loss=-np.inf, progress=False)
    assert result.gradient_norm < 1e-10
    assert result.loss < inf.loss(neti, np.zeros(neti.num_params))


def test_what_has_no_correlation_loss():
    net, teacher = networks("erf")
    neti = inf.NetI(net, teacher, loss="correlation")
    theta = inf.random_params(net, rng=0)
    with pytest.raises(MethodError, match="squared"):
        neti.sample(10, 0)
    for function in (inf.gradient_covariance, inf.certify):
        with pytest.raises(MethodError, match="squared"):
            function(neti, theta)
    with pytest.raises(MethodError, match="squared"):
        inf.finite_data_prediction(neti, theta, 100)
    with pytest.raises(InvalidValueError, match="loss"):
        inf.NetI(net, teacher, loss="hinge")
    with pytest.raises(MethodError, match="surrogates"):
        inf.NetI(net, teacher, loss="correlation", method="surrogate")
