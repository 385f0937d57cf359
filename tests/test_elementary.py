"""Exponentials, sines and cosines: closed forms against quadrature, limits, overflow, and which
pairs have one.
"""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest

from infflow.activations import Activation, names, polynomial, resolve
from infflow.errors import MethodError
from infflow.integrals import jets
from infflow.integrals.closed import pairs as closed
from infflow.integrals.closed import waves as elementary

WAVES = ("exp", "sin", "cos")
SMOOTH = (*WAVES, "gaussian", "cube", "square", "identity")
KINKED = ("relu", "step", "erf", "gelu", "tanh", "softplus", "leaky_relu")
ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]
INDEX = np.array([0])


def arguments(r1, r2, u, b1, b2):
    return [
        np.array([float(v)])
        for v in (r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, (r1 * r2) ** 2 * (1 - u) * (1 + u))
    ]


def moment(f, g, point, p, q):
    table = closed.AtomTable([resolve(f), resolve(g)])
    return closed.pair_moments(table, INDEX, INDEX + 1, np.array(arguments(*point)), p, q)[0]


def function_jet(name, h):
    """Value and four derivatives by numpy alone."""
    zero = np.zeros_like(h)
    if name in ("sin", "cos"):
        return np.array([np.sin(h + (k + (name == "cos")) * np.pi / 2) for k in range(5)])
    if name == "exp":
        return np.array([np.exp(h)] * 5)
    if name == "gaussian":
        return np.exp(-h * h / 2) * np.array(
            [zero + 1, -h, h * h - 1, 3 * h - h**3, h**4 - 6 * h * h + 3]
        )
    power = {
        "cube": [h**3, 3 * h * h, 6 * h, zero + 6, zero],
        "square": [h * h / 2, h, zero + 1, zero, zero],
    }
    return np.array({**power, "identity": [h, zero + 1, zero, zero, zero]}[name])


def quadrature(f, g, r1, r2, u, b1, b2):
    """All E[f^(p) g^(q)] and E|f^(p) g^(q)| by a product Gauss rule, exact to rounding for these
    entire functions.
    """
    x, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    s = np.sqrt((1 - u) * (1 + u))
    h1 = b1 + r1 * x[:, None] + 0 * x
    h2 = b2 + r2 * (u * x[:, None] + s * x)
    product = np.einsum("pxy,qxy->pqxy", function_jet(f, h1), function_jet(g, h2))
    weights = w[:, None] * w
    return (product * weights).sum((-1, -2)), np.sqrt((product**2 * weights).sum((-1, -2)))


@pytest.mark.parametrize(("f", "g"), list(itertools.product(WAVES, SMOOTH)))
def test_all_orders_against_quadrature(f, g):
    rng = np.random.default_rng([WAVES.index(f), SMOOTH.index(g)])
    for _ in range(4):
        point = (*rng.uniform(0.2, 1.8, 2), rng.uniform(-1, 1), *rng.normal(size=2))
        expected, size = quadrature(f, g, *point)
        for p, q in ORDERS:
            tolerance = 2e-14 * (1 + size[p, q])
            assert abs(moment(f, g, point, p, q) - expected[p, q]) < tolerance, (point, p, q)
            swapped = (point[1], point[0], point[2], point[4], point[3])
            assert abs(moment(g, f, swapped, q, p) - expected[p, q]) < tolerance


@pytest.mark.parametrize("g", KINKED)
def test_exponential_with_kinks_and_mixtures(g):
    """E exp(h1) g(h2) given h2 is one integral over h2; derivatives from differences of a smooth
    function.
    """
    r1 = 0.8
    r2 = 1.1
    u = -0.6
    b1 = 0.2
    b2 = 0.3
    f = resolve(g)
    value = moment("exp", g, (r1, r2, u, b1, b2), 0, 0)
    with mpmath.workdps(20):
        density = lambda y: mpmath.npdf(y) * mpmath.exp(b1 + r1 * u * y + r1 * r1 * (1 - u * u) / 2)  # noqa: E731
        direct = mpmath.quad(
            lambda y: density(y) * float(f(np.array(b2 + r2 * float(y)))),
            [-12, -4, -b2 / r2, 0, 4, 12],
        )
    assert value == pytest.approx(float(direct), rel=1e-13)
    for p, q in ORDERS:
        assert moment("exp", g, (r1, r2, u, b1, b2), p, q) == pytest.approx(
            moment("exp", g, (r1, r2, u, b1, b2), 0, q), rel=1e-15
        )
    h = 1e-3
    for q in range(4):
        at = [moment("exp", g, (r1, r2, u, b1, b2 + k * h), 0, q) for k in (-2, -1, 1, 2)]
        slope = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * h)
        assert moment("exp", g, (r1, r2, u, b1, b2), 0, q + 1) == pytest.approx(
            slope, rel=1e-9, abs=1e-9
        )  # h^4


@pytest.mark.parametrize(("f", "g"), list(itertools.product(WAVES, (*SMOOTH, *KINKED))))
def test_jets_are_moments_in_the_frame(f, g):
    point = (0.9, 1.3, 0.4, 0.3, -0.5)
    args = arguments(*point)
    table = closed.AtomTable([resolve(f), resolve(g)])
    values = closed.pair_jets(table, INDEX, INDEX + 1, np.array(args), 2)[0]
    c1 = args[1][0] / args[0][0]
    c2 = args[1][0] / args[2][0]
    I = {(p, q): moment(f, g, point, p, q) for p, q in ORDERS}
    expected = [
        *(I[0, 0], I[2, 0], I[1, 1], I[0, 2], I[1, 0], I[0, 1]),
        *(I[2, 0], I[1, 1], I[0, 2]),
        *(I[3, 0], I[2, 1], I[1, 2], I[2, 1], I[1, 2], I[0, 3]),
        I[4, 0] + 2 * c1 * I[3, 1] + c1**2 * I[2, 2],
        I[3, 1] + c1 * I[2, 2],
        I[2, 2],
        I[1, 3] + c2 * I[2, 2],
        I[0, 4] + 2 * c2 * I[1, 3] + c2**2 * I[2, 2],
        I[2, 2] + c2 * I[3, 1] + c1 * I[1, 3] + c1 * c2 * I[2, 2],
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-15)
    for order, size in enumerate(jets.SIZES):
        np.testing.assert_array_equal(
            closed.pair_jets(table, INDEX, INDEX + 1, np.array(args), order)[0], values[:size]
        )


def test_single_moments():
    C = np.array([0.7, 2.0])
    b = np.array([0.3, -1.0])
    table = closed.AtomTable([resolve(n) for n in WAVES])
    damping = np.exp(-C / 2)
    expected = {
        0: [np.exp(b + C / 2)] * 5,
        1: [damping * np.sin(b + k * np.pi / 2) for k in range(5)],
    }
    expected[2] = expected[1][1:] + expected[1][1:2]
    for k, columns in expected.items():
        values = closed.single_moments(table, np.array([k, k]), C, b, 4)
        np.testing.assert_allclose(values, np.array(columns).T, rtol=1e-14, atol=1e-15)


def test_small_weights_keep_their_digits():
    r = 1e-7
    assert moment("sin", "sin", (r, r, 0.25, 0, 0), 0, 0) == pytest.approx(
        0.25 * r * r, rel=1e-13, abs=0
    )
    assert moment("sin", "sin", (30.0, 30.0, 1.0, 0, 0), 0, 0) == pytest.approx(
        0.5, rel=1e-13
    )  # cosh(900) does not overflow
    assert moment("sin", "gaussian", (60.0, 60.0, 1.0, 0.5, 0), 0, 0) == pytest.approx(
        np.sin(0.5) * np.exp(-0.5 * 3600 / 3601) / np.sqrt(3601), rel=1e-12
    )


def test_overflow_is_not_silent():
    assert np.isnan(moment("exp", "exp", (40.0, 1.0, 0.5, 0, 0), 0, 0))
    table = closed.AtomTable([resolve("exp")])
    assert np.isinf(
        closed.pair_jets(table, INDEX, INDEX, np.array(arguments(40.0, 40.0, 0.5, 0, 0)), 0)[0, 0]
    )


def test_which_pairs_are_closed():
    for g in names():
        for wave in WAVES:
            assert closed.is_defined(resolve(wave), resolve(g))
            assert closed.is_defined(resolve(g), resolve(wave))
    assert closed.is_defined(resolve("sin"), polynomial([1.0, 2.0, 3.0]))
    bump = Activation.from_callable("bump", lambda x: 1 / (1 + x * x))
    for wave in WAVES:
        assert not closed.is_defined(resolve(wave), bump)
    with pytest.raises(MethodError, match="pair sin, bump has no closed form"):
        elementary.pair_slots(resolve("sin"), bump, (np.ones(1),) * 6, 0, True)
