import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from infflow import errors
from infflow.integrals.closed import bivariate_normal_kernels as kernels
from infflow.integrals.closed.bivariate_normal import bivariate_normal_cdf

REFERENCES = np.array(
    [
        [float(v) for v in row]
        for row in json.loads(
            (Path(__file__).parent / "data" / "bivariate_normal_references.json").read_text()
        )
    ]
)


def test_thirty_digit_references():
    h, k, u, expected = REFERENCES.T
    values = bivariate_normal_cdf(h, k, u)
    np.testing.assert_allclose(values, expected, rtol=0, atol=4e-16)  # the public promise is 1e-15
    # Plackett's formula adds positive terms for u >= 0: the lower tail is relatively accurate, too
    tail = (u >= 0) & (u <= kernels.PLACKETT_LIMIT) & (expected > 0)
    assert expected[tail].min() < 1e-20
    # sums and products of h and k near 100 in an exponent cost two digits
    np.testing.assert_allclose(values[tail], expected[tail], rtol=3e-14)


def tail_cases(n, seed=5):
    """Limits of both signs, nearly equal and nearly opposite ones, tiny ones; correlations up to
    1 - 3e-16.
    """
    rng = np.random.default_rng(seed)
    h, k = rng.uniform(-1, 1, (2, n)) * rng.choice([3.0, 12.0, 38.0], n)
    near = rng.random(n) < 0.35
    k[near] = (
        h * rng.choice([-1, 1], n) * (1 + rng.normal(size=n) * 10 ** rng.uniform(-9, -0.5, n))
    )[near]
    small = rng.random(n) < 0.2
    h[small] = h[small] * 1e-5
    k[small] = k[small] * 1e-5
    u = np.where(rng.random(n) < 0.5, rng.uniform(-1, 1, n), 1 - 10 ** rng.uniform(-15.5, -0.7, n))
    return h, k, u * rng.choice([-1, 1], n)


def test_relative_accuracy_in_the_tails():
    """The statement of the docstring, wherever the probability is at least 1e-290."""
    reference = pytest.importorskip("arb_reference", exc_type=ImportError)
    stated = float(
        re.search(r"relative\s+error\s+below\s+(\S+)\s", bivariate_normal_cdf.__doc__).group(1)
    )
    h, k, u = tail_cases(400)
    values = bivariate_normal_cdf(h, k, u)
    seen = []
    for a, b, c, value in zip(h, k, u, values, strict=True):
        a, b, c = map(reference.arb, (a, b, c))
        with reference.ctx.workprec(reference.PRECISION):
            sine = ((1 - c) * (1 + c)).sqrt()
        exact = reference.orthant(a, b, c, sine)
        if exact > 1e-290:
            seen.append(float(exact))
            assert exact.rel_accuracy_bits() > 60
            assert abs(float(value / exact - 1)) <= stated, (a, b, c)
    assert len(seen) > 300 and sum(x < 1e-20 for x in seen) > 50


def test_never_negative():
    rng = np.random.default_rng(0)
    h, k = rng.normal(size=(2, 100_000)) * 4
    assert (bivariate_normal_cdf(h, k, rng.uniform(-1, 1, 100_000)) >= 0).all()
    h, k, u = tail_cases(20_000, 6)
    assert (bivariate_normal_cdf(h, k, u) >= 0).all()


@pytest.mark.parametrize(
    ("h", "k", "u", "expected"),  # by arb with 2,500 bits
    [(-7.03, -7.03, -0.707, 2.161375613e-77), (-11.46, -11.46, -0.287, 6.440762895e-84)],
)
def test_known_tails(h, k, u, expected):
    assert bivariate_normal_cdf(h, k, u) == pytest.approx(expected, rel=1e-9)


def twin(h, k, u):
    """Owen's formula with SciPy's T function."""
    s = np.sqrt(1 - u * u)
    t = special.owens_t(h, (k / h - u) / s) + special.owens_t(k, (h / k - u) / s)
    return (special.ndtr(h) + special.ndtr(k)) / 2 - t - np.where(h * k > 0, 0.0, 0.5)


def test_slow_twin():
    rng = np.random.default_rng(1)
    h, k = rng.normal(size=(2, 3000)) * rng.choice([0.3, 1.0, 3.0], size=3000)
    u = rng.uniform(-0.999, 0.999, size=3000)
    np.testing.assert_allclose(bivariate_normal_cdf(h, k, u), twin(h, k, u), rtol=0, atol=1e-14)


def test_owen_t_against_scipy():
    h, a = np.meshgrid(np.linspace(0.01, 9, 40), np.logspace(-6, 6, 40))
    values = [kernels.owen_t(x, x * y) for x, y in zip(h.ravel(), a.ravel(), strict=True)]
    np.testing.assert_allclose(values, special.owens_t(h, a).ravel(), rtol=0, atol=2e-16)


@pytest.mark.parametrize("u", [-kernels.PLACKETT_LIMIT, kernels.PLACKETT_LIMIT])
def test_both_formulas_agree_where_they_meet(u):
    rng = np.random.default_rng(2)
    for h, k in rng.normal(size=(200, 2)) * 2:
        s = np.sqrt((1 - u) * (1 + u))
        by_plackett = kernels.plackett(h, k, u) + special.ndtr(h) * special.ndtr(k)
        assert abs(by_plackett - kernels._wedge(h, k, u, s)) < 5e-16


def test_sine_beyond_the_resolution_of_u():
    # u rounds to 1, s does not: in the boundary layer k - h = t s, L = integral over x < h of
    # phi(x) Phi(t + (h - x)/s)
    h, s = 0.4, 1e-9
    for t in (-2.0, 0.0, 1.5):
        k = h + t * s
        layer = (
            s
            * np.exp(-h * h / 2)
            / np.sqrt(2 * np.pi)
            * (special.ndtr(-t) * t - np.exp(-t * t / 2) / np.sqrt(2 * np.pi))
        )
        value = kernels.orthant(h, k, 1.0, s, 0.0, 0.0)
        expected = special.ndtr(h) + layer
        assert abs(value - expected) < 4e-16


def test_symmetries_and_limits():
    rng = np.random.default_rng(3)
    h, k = rng.normal(size=(2, 500)) * 2
    u = rng.uniform(-1, 1, size=500)
    value = bivariate_normal_cdf(h, k, u)
    np.testing.assert_allclose(value, bivariate_normal_cdf(k, h, u), rtol=0, atol=5e-16)
    np.testing.assert_allclose(
        value + bivariate_normal_cdf(h, -k, -u), special.ndtr(h), rtol=0, atol=5e-16
    )
    # SciPy's ndtr rounds x/sqrt 2, which costs x^2 units in the tail
    np.testing.assert_allclose(
        bivariate_normal_cdf(h, k, 0.0), special.ndtr(h) * special.ndtr(k), rtol=2e-14
    )
    np.testing.assert_allclose(
        bivariate_normal_cdf(h, k, 1.0), special.ndtr(np.minimum(h, k)), rtol=2e-14
    )
    np.testing.assert_allclose(
        bivariate_normal_cdf(0.0, 0.0, u), 0.25 + np.arcsin(u) / (2 * np.pi), rtol=0, atol=3e-16
    )
    np.testing.assert_allclose(
        bivariate_normal_cdf(h, np.inf, u), special.ndtr(h), rtol=0, atol=3e-16
    )
    np.testing.assert_array_equal(bivariate_normal_cdf(h, -np.inf, u), 0.0)
    assert bivariate_normal_cdf(np.inf, [np.inf], -1) == 1.0


def test_centred_orthant_keeps_relative_accuracy_for_small_arguments():
    # E[(1[X<h] - 1/2)(1[Y<k] - 1/2)] = (h k + u)/(2 pi) + higher order
    for h, k, u in ((1e-9, 2e-9, 3e-12), (1e-9, -2e-9, 0.0), (-1e-8, 1e-10, -1e-13)):
        value = kernels.orthant(h, k, u, np.sqrt(1 - u * u), 0.5, 0.5)
        assert value == pytest.approx((h * k + u) / (2 * np.pi), rel=1e-14)


def test_centred_orthant_is_the_difference():
    rng = np.random.default_rng(4)
    for h, k, u in zip(*rng.normal(size=(2, 100)), rng.uniform(-1, 1, 100), strict=True):
        s = np.sqrt((1 - u) * (1 + u))
        plain = kernels.orthant(h, k, u, s, 0.0, 0.0)
        for a, b in ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5)):
            expected = plain - b * special.ndtr(h) - a * special.ndtr(k) + a * b
            assert abs(kernels.orthant(h, k, u, s, a, b) - expected) < 5e-16


def test_broadcasting():
    value = bivariate_normal_cdf(np.zeros((3, 1)), [1.0, 2.0], 0.5)
    assert value.shape == (3, 2)
    assert bivariate_normal_cdf(1, 2, 0).shape == ()


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((np.nan, 0.0, 0.0), errors.InvalidValueError, "h contains nan"),
        ((0.0, [1.0, np.nan], 0.0), errors.InvalidValueError, "k contains nan"),
        ((0.0, 0.0, np.nan), errors.InvalidValueError, "u contains nan"),
        ((0.0, 0.0, [0.0, -1.5]), errors.InvalidValueError, "-1.5"),
        (("a", 0.0, 0.0), errors.InvalidTypeError, "string"),
        ((0.0, 1j, 0.0), errors.InvalidTypeError, "real numbers are needed"),
        (([1.0, 2.0], [1.0, 2.0, 3.0], 0.0), errors.ShapeError, "broadcast"),
    ],
)
def test_bad_input(args, error, words):
    with pytest.raises(error, match=words):
        bivariate_normal_cdf(*args)
