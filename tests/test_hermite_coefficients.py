"""Hermite coefficients and means of derivatives of any order against mpmath and each other."""

import math

import mpmath as mp
import numpy as np
import pytest

import infflow as inf
from infflow.activations import resolve
from infflow.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from infflow.integrals.neuron_means import NeuronTable

FUNCTIONS = {
    "relu": lambda x: max(x, mp.mpf(0)),
    "erf": lambda x: mp.erf(x / mp.sqrt(2)),
    "tanh": mp.tanh,
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "gelu": lambda x: x * mp.ncdf(x),
    "cos": mp.cos,
    "exp": mp.exp,
    "sign": mp.sign,
}


def reference(f, n, r, b):
    """E[f(r x + b) He_n(x)] / sqrt(n!) with 25 digits, between the kink and the ends."""
    with mp.workdps(25):

        def integrand(x):
            below = mp.mpf(0)
            value = mp.mpf(1)
            for k in range(n):
                below, value = value, x * value - k * below
            return f(r * x + b) * value * mp.npdf(x)

        cuts = sorted({-14.0, -6.0, -b / r, 0.0, 6.0, 14.0})
        return mp.quad(integrand, cuts) / mp.sqrt(mp.factorial(n))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("r", "b"), [(1.0, 0.0), (0.3, -0.7), (2.5, 1.1)])
def test_coefficients(name, r, b):
    found = inf.hermite_coefficients(name, 9, r, b)
    scale = math.sqrt(inf.gaussian_moment(name, name, r, r, 1.0, b, b))
    for n in (0, 1, 2, 5, 9):
        expected = float(reference(FUNCTIONS[name], n, r, b))
        assert abs(found[n] - expected) < 2e-13 * scale, n


@pytest.mark.parametrize("name", ["relu", "erf", "elu", "gaussian", "tanh"])
def test_squares_add_up(name):
    """Parseval, with the tail of the kinked ones: coefficients fall like n^(-5/4) for ramps."""
    c = inf.hermite_coefficients(name, 1500, 0.8, 0.2)
    square = inf.gaussian_moment(name, name, 0.8, 0.8, 1.0, 0.2, 0.2, rtol=1e-13)
    missing = square - (c**2).sum()
    assert -1e-13 < missing < (1e-4 if resolve(name).kinks else 1e-12)


@pytest.mark.parametrize(
    "name", ["relu", "abs", "erf", "tanh", "silu", "elu", "cos", "exp", "cube"]
)
@pytest.mark.parametrize(("C", "b"), [(0.49, 0.3), (2.0, 0.0), (1e-4, -0.5), (0.25, 6.0)])
def test_means_of_all_orders(name, C, b):
    """Orders up to 4 are those of ``gaussian_mean``, higher ones Hermite coefficients."""
    f, r = resolve(name), math.sqrt(C)
    value = NeuronTable([f], 1e-13)(np.array([C]), np.array([b]), 8).value[0]
    scale = math.sqrt(inf.gaussian_moment(name, name, r, r, 1.0, b, b))
    for p in range(5):
        expected = inf.gaussian_mean(name, r, b, order=p, rtol=1e-13)
        size = max(scale, abs(expected)) * max(1, r ** -max(p - 2, 0))
        assert abs(value[p] - expected) <= 1e-12 * size
    c = inf.hermite_coefficients(name, 7, r, b)
    for p in range(8):  # r^p turns a mean into a coefficient, whose rounding is that of the scale
        assert abs(value[p] * r**p / math.sqrt(math.factorial(p)) - c[p]) <= 1e-12 * scale


def test_own_activations_with_kinks_and_few_derivatives():
    def f(x):
        return np.abs(x - 0.2) * np.exp(-(x**2))

    def slope(x):
        return (np.sign(x - 0.2) - 2 * x * np.abs(x - 0.2)) * np.exp(-(x**2))

    own = inf.Activation.from_callable("own", f, derivatives=[slope], kinks=[0.2])
    value, error = NeuronTable([own], 1e-12)(np.array([0.64]), np.array([0.1]), 6)
    assert error < 1e-11
    c = inf.hermite_coefficients(own, 5, 0.8, 0.1)
    from_c = c * np.sqrt([math.factorial(p) for p in range(6)]) / 0.8 ** np.arange(6)
    np.testing.assert_allclose(value[0], from_c, atol=1e-10)


def test_without_noise():
    table = NeuronTable([resolve("relu"), resolve("tanh")], 1e-12)
    value = table(np.zeros(2), np.array([0.5, 0.5]), 5).value
    np.testing.assert_allclose(value[0], [0.5, 1, 0, 0, 0])
    derivatives = [float(resolve("tanh").derivative(0.5, p)) for p in range(5)]
    np.testing.assert_allclose(value[1], derivatives, rtol=1e-9)
    value = table(np.zeros(2), np.zeros(2), 5).value
    assert value[0, 1] == 0.5
    assert np.isinf(value[0, 2:]).all()
    np.testing.assert_allclose(inf.hermite_coefficients("elu", 2, 0.0, -1.0), [np.expm1(-1), 0, 0])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nonsense", 3), UnknownNameError),
        (("relu", -1), InvalidValueError),
        (("relu", 10**9), InvalidValueError),
        (("relu", 2.5), InvalidTypeError),
        (("relu", 3, -1.0), InvalidValueError),
        (("relu", 3, 1.0, np.nan), InvalidValueError),
        (("exp", 3, 100.0), InvalidValueError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error):
        inf.hermite_coefficients(*arguments)
