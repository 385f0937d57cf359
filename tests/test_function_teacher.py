"""Function teachers against network teachers that are the same function, differences, sampling, and
limits in the span of V.
"""

import numpy as np
import pytest
from scipy.special import erf

import infflow as inf
from infflow.errors import (
    AccuracyWarning,
    InvalidTypeError,
    InvalidValueError,
    ShapeError,
    SingularMomentError,
)
from infflow.networks.infinite.targets.function_teacher import FunctionTeacher

FUNCTIONS = {
    "erf": lambda h: erf(h / np.sqrt(2)),
    "relu": lambda h: np.maximum(h, 0.0),
    "step": lambda h: (h > 0) * 1.0,
}


def architecture(f, K, D, O=1, bias=True, **kwargs):
    return inf.Net([(K, f, bias), (O, "identity", True)], input_dim=D, **kwargs)


def twins(f, g, M, D=5, O=1, seed=0, input=None, noise=0.0, **kwargs):
    """The same problem with a network teacher of M neurons and with it as a function, and a random
    point.
    """
    student = architecture(f, 3, D, O, **kwargs)
    net = architecture(g, M, D, O)
    params = inf.random_params(net, seed + 1, init="standard_normal")
    (V, c), (A, d) = net.unpack(params)
    kinks = [] if g == "erf" else [(np.eye(M)[m], -c[m]) for m in range(M)]
    function = FunctionTeacher(lambda z: FUNCTIONS[g](z + c) @ A.T + d, V, noise, kinks)
    exact = inf.NetI(student, inf.Teacher(net, params, noise), input=input, maxnorm=3.0, ridge=0.1)
    return (
        exact,
        inf.NetI(student, function, input=input, maxnorm=3.0, ridge=0.1),
        inf.random_params(student, seed + 2, init="standard_normal"),
    )


def assert_equal(exact, net, theta, tolerance=1e-12):
    a = exact.evaluate(theta, 2)
    b = net.evaluate(theta, 2)
    assert b.value == pytest.approx(a.value, rel=tolerance)
    np.testing.assert_allclose(
        b.gradient, a.gradient, rtol=0, atol=tolerance * np.abs(a.gradient).max()
    )
    np.testing.assert_allclose(
        b.hessian, a.hessian, rtol=0, atol=tolerance * np.abs(a.hessian).max()
    )
    np.testing.assert_allclose(net.evaluate(theta, 1).gradient, b.gradient, rtol=1e-10, atol=1e-12)
    V = np.random.default_rng(3).standard_normal((len(theta), 2))
    np.testing.assert_allclose(
        net.hvp(theta, V), b.hessian @ V, rtol=1e-11, atol=1e-11 * np.abs(a.hessian).max()
    )


@pytest.mark.parametrize("f", ["erf", "relu", "step"])
@pytest.mark.parametrize("g,M", [("erf", 1), ("relu", 1), ("erf", 2), ("relu", 2), ("step", 2)])
def test_equals_a_network_teacher(f, g, M):
    assert_equal(*twins(f, g, M))


def test_activation_without_closed_form():
    assert_equal(*twins("tanh", "erf", 1), tolerance=1e-11)  # rtol of both is 1e-10


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_outputs_inputs_and_parametrizations(parametrization):
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((2, 5, 5)) / 2
    mixture = inf.GaussianMixture(
        [0.3, 0.7], rng.standard_normal((2, 5)), roots @ roots.transpose(0, 2, 1)
    )
    for input in (mixture, inf.Gaussian(np.ones(5), np.diag([1.0, 2.0, 0.5, 0.0, 1.0]))):
        assert_equal(
            *twins("erf", "relu", 2, O=2, input=input, noise=0.3, parametrization=parametrization)
        )
    assert_equal(*twins("relu", "erf", 1, O=2, bias=False))


@pytest.mark.parametrize(
    "f,s",
    [("relu", 1e-3), ("relu", 1e-9), ("relu", 0.0), ("erf", 1e-9), ("erf", 0.0), ("step", 1e-5)],
)
@pytest.mark.parametrize("M", [1, 2])
def test_students_near_the_span_of_the_projections(f, s, M):
    exact, net, _ = twins(f, "erf", M)
    V = net.teacher.V
    away = np.linalg.qr(np.vstack([V, np.ones(5)]).T)[0][:, -1]
    W = np.vstack([V[0], -0.5 * V[-1], V.sum(axis=0)]) + s * away
    theta = net.pack(
        [(W, np.array([0.3, -0.2, 0.1])), (np.array([[1.0, -0.5, 0.7]]), np.array([0.1]))]
    )
    assert_equal(exact, net, theta, 1e-11 if s else 1e-12)


def test_steps_in_the_span_have_no_hessian():
    _, net, _ = twins("step", "erf", 1)
    W = np.vstack([net.teacher.V, 2 * net.teacher.V, np.ones((1, 5))])
    theta = net.pack([(W, np.zeros(3)), (np.ones((1, 3)), np.zeros(1))])
    assert np.isfinite(net.evaluate(theta, 1).gradient).all()
    with pytest.raises(SingularMomentError):
        net.evaluate(theta, 2)


def test_neurons_without_weights():
    exact, net, theta = twins("relu", "erf", 2)
    theta = theta.copy()
    theta[:5] = 0.0  # w = 0, b != 0
    assert_equal(exact, net, theta)


def assert_differences(net, theta, h=1e-5):
    value = net.evaluate(theta, 2)
    rng = np.random.default_rng(5)
    for _ in range(3):
        v = rng.standard_normal(len(theta))
        up = net.evaluate(theta + h * v, 1)
        down = net.evaluate(theta - h * v, 1)
        scale = np.abs(value.hessian).max()
        assert (up.value - down.value) / (2 * h) == pytest.approx(
            value.gradient @ v, abs=1e-7 * scale
        )
        np.testing.assert_allclose(
            (up.gradient - down.gradient) / (2 * h), value.hessian @ v, atol=1e-6 * scale
        )


DISCONTINUOUS = {
    "sign": FunctionTeacher(lambda z: np.sign(z[:, 0] - 0.2), [1.0, 0.5, 0.0, 0.0], kinks=[0.2]),
    "found": FunctionTeacher(lambda z: np.sign(z[:, 0] - 0.2), [1.0, 0.5, 0.0, 0.0]),
    "parity": FunctionTeacher(
        lambda z: np.sign(z[:, 0] * (z[:, 1] - 0.1)),
        [[1, 0.5, 0, 0], [0, 1, 1, 0]],
        kinks=[([1, 0], 0), ([0, 1], 0.1)],
    ),
}


@pytest.mark.parametrize("name", DISCONTINUOUS)
@pytest.mark.parametrize("f", ["tanh", "relu"])
def test_discontinuous_functions(name, f):
    teacher = DISCONTINUOUS[name]
    net = inf.NetI(architecture(f, 2, 4), teacher)
    theta = inf.random_params(net, 1, init="standard_normal")
    assert_differences(net, theta)
    data = net.sample(200_000, 0)
    residual = (data.predict(theta, data.data.X) - data.data.target) ** 2
    error = residual.std() / np.sqrt(len(residual))
    assert abs(residual.mean() - inf.loss(net, theta)) < 4 * error
    gap = np.abs(data.evaluate(theta, 1).gradient - net.evaluate(theta, 1).gradient)
    assert gap.max() < 0.1  # a standard error is about 0.01


def test_sign_against_the_step_network():
    student = architecture("erf", 2, 3)
    teacher = architecture("sign", 1, 3)
    V = np.array([[0.6, 0.8, 0.3]])
    c = np.array([0.0])
    theta = inf.random_params(student, 0, init="standard_normal")
    network = inf.Teacher(teacher, teacher.pack([(V, c), (np.ones((1, 1)), np.zeros(1))]))
    function = FunctionTeacher(lambda z: np.sign(z[:, 0]), V)
    assert_equal(inf.NetI(student, network), inf.NetI(student, function), theta)


def test_undeclared_jumps_in_two_dimensions_are_reported():
    teacher = FunctionTeacher(lambda z: np.sign(z[:, 0] * z[:, 1]), [[1.0, 0.5], [0.0, 1.0]])
    net = inf.NetI(architecture("erf", 2, 2), teacher)
    theta = inf.random_params(net, 1, init="standard_normal")
    with pytest.warns(AccuracyWarning, match="kinks of FunctionTeacher"):
        value = net.evaluate(theta, 0).value
    declared = FunctionTeacher(
        teacher.function.function, teacher.V, kinks=[([1, 0], 0), ([0, 1], 0)]
    )
    exact = inf.NetI(net.student, declared).evaluate(theta, 0).value
    assert abs(value - exact) < 1e-3


def test_linearly_dependent_projections_and_constants():
    V = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]])
    two = FunctionTeacher(lambda z: np.tanh(z[:, 0] + z[:, 1]), V)
    one = FunctionTeacher(lambda z: np.tanh(z[:, 0]), V.sum(axis=0))
    student = architecture("erf", 2, 3)
    theta = inf.random_params(student, 0, init="standard_normal")
    assert_equal(inf.NetI(student, one), inf.NetI(student, two), theta)
    constant = inf.NetI(student, FunctionTeacher(lambda z: 1.5 + z[:, 0], np.zeros(3)))
    outputs = student.unpack(theta)[1][1]
    outputs -= 1.5
    shifted = inf.NetI(student, FunctionTeacher(lambda z: 0 * z[:, 0], np.zeros(3)))
    outputs += 1.5
    theta_shifted = theta.copy()
    theta_shifted[-1] -= 1.5
    assert constant.evaluate(theta, 0).value == pytest.approx(
        shifted.evaluate(theta_shifted, 0).value, rel=1e-12
    )


def test_training_labels_and_overlaps():
    teacher = FunctionTeacher(lambda z: np.sin(z[:, 0]), np.eye(1, 3), noise=0.1)
    net = inf.NetI(architecture("erf", 2, 3, bias=False), teacher, rtol=1e-8)
    result = inf.train(
        net, inf.random_params(net, 1), t_end=10.0, max_steps_newton=10, progress=False
    )
    assert 0.01 <= result.loss < 0.5 * inf.loss(net, result.theta0)  # the noise stays
    X = np.random.default_rng(0).standard_normal((1000, 3))
    np.testing.assert_array_equal(teacher.predict(X)[:, 0], np.sin(X[:, 0]))
    assert teacher.label(X, 0).std() != teacher.predict(X).std()
    assert inf.overlaps(net, result.theta).R.shape == (2, 1)


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        ((3, np.eye(1, 3)), InvalidTypeError, "callable"),
        ((lambda z: z[:, 0], np.eye(3)), ShapeError, "1 or 2 rows"),
        ((lambda z: z[:, 3], np.eye(1, 3)), InvalidTypeError, "F failed"),
        ((lambda z: z[:1, 0], np.eye(1, 3)), ShapeError, "one row per point"),
        ((lambda z: z[:, 0] * np.nan, np.eye(1, 3)), InvalidValueError, "F returned NaN at x ="),
        ((lambda z: z[:, 0], np.eye(1, 3), -1.0), InvalidValueError, "noise"),
        ((lambda z: z[:, 0], np.eye(2, 3), 0.0, [0.5]), InvalidTypeError, "pairs"),
        ((lambda z: z[:, 0], np.eye(2, 3), 0.0, [([1, 2, 3], 0.5)]), ShapeError, "2 numbers"),
        ((lambda z: z[:, 0], np.eye(2, 3), 0.0, [([0, 0], 0.5)]), ShapeError, "not all 0"),
        ((lambda z: z[:, 0], "V"), InvalidTypeError, "V is a string"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        FunctionTeacher(*arguments)


def test_bad_combinations():
    with pytest.raises(ShapeError, match="input_dim"):
        inf.NetI(architecture("erf", 2, 4), FunctionTeacher(lambda z: z[:, 0], np.eye(1, 3)))
    with pytest.raises(ShapeError, match="output_dim"):
        inf.NetI(architecture("erf", 2, 3), FunctionTeacher(lambda z: np.tile(z, 2), np.eye(1, 3)))
    with pytest.raises(InvalidValueError, match="grows too fast"):
        inf.NetI(
            architecture("erf", 2, 3), FunctionTeacher(lambda z: np.exp(z[:, 0] ** 2), np.eye(1, 3))
        )
    with pytest.raises(InvalidTypeError, match="FunctionTeacher"):
        inf.NetI(architecture("erf", 2, 3), np.sin)
    late = FunctionTeacher(lambda z: np.where(np.abs(z[:, 0]) > 30, np.nan, z[:, 0]), np.eye(1, 3))
    with pytest.raises(InvalidValueError, match="F returned NaN"):
        inf.NetI(architecture("erf", 2, 3), late)
