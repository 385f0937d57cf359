"""Closed forms at regular points: every pair of activations against quadrature, differences and
textbook formulas.
"""

import itertools

import gaussian_reference as reference
import numpy as np
import pytest

from infflow import errors
from infflow.activations import Activation, polynomial, resolve
from infflow.integrals import jets
from infflow.integrals.closed import pairs as closed

POLYNOMIALS = {"constant": [1.0], "quartic": [0.3, -1.0, 0.25, 0.5, -0.125]}
REGISTERED = [
    "identity",
    "relu",
    "leaky_relu",
    "abs",
    "step",
    "sign",
    "erf",
    "normal_cdf",
    "gelu",
    "gaussian",
    "square",
    "cube",
]
NAMES = [*REGISTERED, *POLYNOMIALS]
TABLE = closed.AtomTable(
    [resolve(n) for n in REGISTERED] + [polynomial(c) for c in POLYNOMIALS.values()]
)
ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]
INDEX = {name: np.array([i]) for i, name in enumerate(NAMES)}
NOISE = np.random.default_rng(11).normal


@pytest.fixture(autouse=True)
def _more_activations(monkeypatch):
    for name, c in POLYNOMIALS.items():
        monkeypatch.setitem(reference.ACTIVATIONS, name, (np.polynomial.Polynomial(c), ()))


def arguments(cov, mean, det=None):
    """The array arguments for one pair."""
    det = cov[0][0] * cov[1][1] - cov[0][1] ** 2 if det is None else det
    return [np.array([float(v)]) for v in (cov[0][0], cov[0][1], cov[1][1], *mean, det)]


def jet(f, g, args, order=2):
    return closed.pair_jets(TABLE, INDEX[f], INDEX[g], np.array(args), order)[0]


def moment(f, g, args, p, q):
    return closed.pair_moments(TABLE, INDEX[f], INDEX[g], np.array(args), p, q)[0]


def random_case(seed, biased=True):
    rng = np.random.default_rng(seed)
    r = rng.uniform(0.4, 1.6, size=2)
    u = rng.uniform(-0.9, 0.9)
    cov = np.outer(r, r) * np.array([[1, u], [u, 1]])
    return cov, rng.normal(size=2) * biased


@pytest.mark.parametrize(("i", "f"), list(enumerate(NAMES)))
def test_all_moments_of_all_pairs_against_quadrature(i, f):
    for j, g in enumerate(NAMES[i:], start=i):
        cov, mean = random_case([i, j], biased=(i + j) % 4 != 0)
        args = arguments(cov, mean)
        scale = np.sqrt(np.diag(cov))
        basic = {f, g} <= {"relu", "erf", "step", "square"}
        for p, q in (
            ORDERS if basic else ORDERS[(i + j) % 3 :: 3]
        ):  # a third of them keeps the test short
            expected = reference.pair_moment(f, g, cov, mean, (p, q))
            # by parts, the reference integrates f g times Hermite polynomials of y/s: it loses
            # digits with |u| and p + q
            tolerance = (
                1e-12
                * (1 + abs(expected))
                / (
                    scale[0] ** p
                    * scale[1] ** q
                    * np.linalg.det(cov / np.outer(scale, scale)) ** ((p + q) / 2)
                )
            )
            assert moment(f, g, args, p, q) == pytest.approx(expected, abs=tolerance, rel=0), (
                f,
                g,
                p,
                q,
            )


@pytest.mark.parametrize("name", NAMES)
def test_single_moments_against_quadrature(name):
    for seed, biased in ((1, True), (2, True), (3, False)):
        rng = np.random.default_rng(seed)
        variance = rng.uniform(0.2, 2)
        mean = rng.normal() * biased
        values = closed.single_moments(
            TABLE, INDEX[name], np.array([variance]), np.array([mean]), 4
        )[0]
        expected = [reference.single_moment(name, variance, mean, p) for p in range(5)]
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("f", "g"), list(itertools.product(NAMES, repeat=2)))
def test_jets_against_differences_and_moments(f, g):
    cov, mean = random_case([NAMES.index(f), NAMES.index(g), 5])
    x = np.array([cov[0, 0], cov[0, 1], cov[1, 1], *mean])
    values = dict(zip(jets.COLUMNS, jet(f, g, arguments(cov, mean)), strict=True))

    def gradient(y):
        j = jet(f, g, arguments([[y[0], y[1]], [y[1], y[2]]], y[3:]), 1)
        return np.array([j[jets.J20] / 2, j[jets.J11], j[jets.J02] / 2, j[jets.J10], j[jets.J01]])

    def value(y):
        return np.array(jet(f, g, arguments([[y[0], y[1]], [y[1], y[2]]], y[3:]), 0)[0])

    def differences(function, h=5e-4):
        # 4th order in h
        return np.array(
            [
                (
                    8 * (function(x + e) - function(x - e))
                    - (function(x + 2 * e) - function(x - 2 * e))
                )
                / (12 * h)
                for e in np.eye(5) * h
            ]
        )

    tolerance = {
        "rel": 2e-8,
        "abs": 2e-8,
    }  # truncation h^4 times a fifth derivative at |u| up to 0.9
    np.testing.assert_allclose(gradient(x), differences(value), rtol=2e-8, atol=2e-8)
    P = differences(gradient)
    c1 = x[1] / x[0]
    c2 = x[1] / x[2]
    expected = {
        "B20": P[3, 3],
        "B11": P[3, 4],
        "B02": P[4, 4],
        "M30": 2 * P[0, 3],
        "M21": P[1, 3],
        "M12b": 2 * P[2, 3],
        "M21b": 2 * P[0, 4],
        "M12": P[1, 4],
        "M03": 2 * P[2, 4],
        "F40": 4 * P[0, 0] + 4 * c1 * P[0, 1] + c1**2 * P[1, 1],
        "F31": 2 * P[0, 1] + c1 * P[1, 1],
        "F22": P[1, 1],
        "F13": 2 * P[1, 2] + c2 * P[1, 1],
        "F04": 4 * P[2, 2] + 4 * c2 * P[1, 2] + c2**2 * P[1, 1],
        "F11": 4 * P[0, 2] + 2 * c2 * P[0, 1] + 2 * c1 * P[1, 2] + c1 * c2 * P[1, 1],
    }
    for name, v in expected.items():
        assert values[name] == pytest.approx(v, **tolerance), name
    # the heat equation
    args = arguments(cov, mean)
    for name in (
        "J00",
        "J20",
        "J11",
        "J02",
        "J10",
        "J01",
        "B20",
        "M30",
        "M21",
        "M12",
        "M03",
        "F22",
    ):
        p, q = int(name[1]), int(name[2])
        assert values[name] == pytest.approx(moment(f, g, args, p, q), rel=1e-12, abs=1e-14), name


@pytest.mark.parametrize(("f", "g"), list(itertools.combinations_with_replacement(NAMES, 2)))
def test_exchange_and_lower_orders(f, g):
    cov, mean = random_case([NAMES.index(f), NAMES.index(g), 6])
    args = arguments(cov, mean)
    values = jet(f, g, args)
    swapped = jet(g, f, [args[2], args[1], args[0], args[4], args[3], args[5]])
    np.testing.assert_allclose(swapped[list(jets.EXCHANGE)], values, rtol=1e-11, atol=1e-13)
    for order, size in enumerate(jets.SIZES):
        # the last bit may differ: loops of other lengths are contracted to other fused operations
        np.testing.assert_allclose(jet(f, g, args, order), values[:size], rtol=1e-15, atol=1e-15)


def test_many_pairs_at_once():
    rng = np.random.default_rng(7)
    n = 200
    f, g = rng.integers(len(NAMES), size=(2, n))
    w1 = rng.normal(size=(n, 4))
    w2 = rng.normal(size=(n, 4))
    b = rng.normal(size=(2, n))
    C11 = (w1**2).sum(1)
    C12 = (w1 * w2).sum(1)
    C22 = (w2**2).sum(1)
    args = [C11, C12, C22, *b, C11 * C22 - C12**2]
    out = np.full((n, 21), np.nan)
    assert closed.pair_jets(TABLE, f, g, np.array(args), 2, out) is out
    for k in range(n):
        one = closed.pair_jets(TABLE, f[k : k + 1], g[k : k + 1], np.array(args)[:, k : k + 1], 2)[
            0
        ]
        np.testing.assert_array_equal(out[k], one)


def test_arcsine_and_arccosine_kernels():
    u = np.linspace(-1, 1, 41)
    r1, r2 = 0.7, 1.9
    one = np.ones_like(u)
    zero = np.zeros_like(u)
    args = [r1**2 * one, r1 * r2 * u, r2**2 * one, zero, zero, (r1 * r2) ** 2 * (1 - u) * (1 + u)]

    def phi(f, g):
        return closed.pair_jets(
            TABLE, np.repeat(INDEX[f], u.size), np.repeat(INDEX[g], u.size), np.array(args), 0
        )[:, 0]

    erf = 2 / np.pi * np.arcsin(r1 * r2 * u / np.sqrt((1 + r1**2) * (1 + r2**2)))
    np.testing.assert_allclose(phi("erf", "erf"), erf, rtol=1e-14, atol=1e-16)
    # arcsin amplifies the rounding of its argument near 1
    np.testing.assert_allclose(
        phi("sign", "sign"), 2 / np.pi * np.arcsin(u), rtol=2e-14, atol=1e-16
    )
    relu = r1 * r2 / (2 * np.pi) * (np.sqrt((1 - u) * (1 + u)) + u * (np.pi - np.arccos(u)))
    np.testing.assert_allclose(phi("relu", "relu"), relu, rtol=0, atol=5e-16)
    np.testing.assert_allclose(
        phi("step", "step"), 0.25 + np.arcsin(u) / (2 * np.pi), rtol=0, atol=5e-16
    )


def test_erf_of_small_weights_keeps_its_digits():
    # E[erf erf] = (2/pi) E[h1 h2] + higher order: 17 digits below the constant of the atoms
    r = 1e-8
    for bias in (0.0, 3e-9):
        args = arguments([[r * r, 0.3 * r * r], [0.3 * r * r, r * r]], (bias, -bias))
        value = jet("erf", "erf", args, 0)[0]
        assert value == pytest.approx(2 / np.pi * (0.3 * r * r - bias * bias), rel=1e-13)
        assert moment("erf", "erf", args, 1, 0) == pytest.approx(
            -2 / np.pi * bias, rel=1e-13, abs=1e-30
        )


def test_constant_times_anything_is_a_mean():
    for name in NAMES:
        args = arguments([[0.0, 0.0], [0.0, 1.3]], (0.0, 0.4), 0.0)
        values = jet("constant", name, args)
        means = closed.single_moments(TABLE, INDEX[name], np.array([1.3]), np.array([0.4]), 4)[0]
        for column, order in (("J00", 0), ("J01", 1), ("J02", 2), ("M03", 3), ("F04", 4)):
            assert values[jets.COLUMNS.index(column)] == pytest.approx(
                means[order], rel=1e-14, abs=1e-16
            )
        rest = [i for i, c in enumerate(jets.COLUMNS) if c[1] != "0"]
        np.testing.assert_array_equal(values[rest], 0.0)


def test_independent_neurons_factorise():
    for f, g in itertools.product(NAMES, repeat=2):
        args = arguments([[0.8, 0.0], [0.0, 1.3]], (-0.3, 0.4))
        for p, q in ((0, 0), (1, 2), (3, 1)):
            single = [
                closed.single_moments(TABLE, INDEX[name], np.array([v]), np.array([b]), 4)[0]
                for name, v, b in ((f, 0.8, -0.3), (g, 1.3, 0.4))
            ]
            assert moment(f, g, args, p, q) == pytest.approx(
                single[0][p] * single[1][q], rel=1e-13, abs=1e-15
            )


def test_without_closed_form():
    bump = Activation.from_callable("bump", lambda x: 1 / (1 + x * x))
    with pytest.raises(errors.MethodError, match="bump has no closed form"):
        closed.AtomTable([bump])
    with pytest.raises(errors.MethodError, match="max_order is 5"):
        closed.single_moments(TABLE, INDEX["relu"], np.ones(1), np.ones(1), 5)


@pytest.mark.parametrize("name", ["erf", "step", "relu", "gaussian"])
def test_pairs_without_biases_are_the_limit_of_pairs_with(name):
    """Those of single atoms have a shorter way of their own; biases of 1e-200 take the
    general one.
    """
    rng = np.random.default_rng(3)
    r1, r2 = 10.0 ** rng.uniform(-3, 2, (2, 100))
    u = rng.uniform(-1, 1, 100)
    table = closed.AtomTable([resolve(name)])
    index = np.zeros(100, np.int64)
    args = np.array([r1**2, r1 * r2 * u, r2**2, 0 * u, 0 * u, (r1 * r2) ** 2 * (1 - u) * (1 + u)])
    for order in range(3):
        short = closed.pair_jets(table, index, index, args, order)
        args[3:5] = 1e-200
        general = closed.pair_jets(table, index, index, args, order)
        args[3:5] = 0.0
        # order 0 of relu cancels for u near -1; its L is by the T functions in one way, by the
        # arctangent in the other
        np.testing.assert_allclose(short[:, 1:], general[:, 1:], rtol=2e-14, atol=1e-150)
        np.testing.assert_allclose(
            short[:, 0] / (r1 * r2), general[:, 0] / (r1 * r2), rtol=2e-14, atol=1e-15
        )
