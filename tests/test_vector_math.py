"""The vectorised elementary functions against mpmath, and at the edges of float64."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import mpmath as mp
import numba
import numpy as np
import pytest

from infflow.activations import vector_math

UNIT = 2.0**-53


@cache
def on_arrays(name):
    """The function on arrays, compiled once."""
    f = getattr(vector_math, name)

    @numba.njit
    def run(x, out):
        for i in range(x.size):
            out[i] = f(x[i])

    def call(x):
        x = np.atleast_1d(np.asarray(x, dtype=float))
        out = np.empty_like(x)
        run(x, out)
        return out

    return call


def both_signs(rng, low, high, n=300):
    magnitude = 10.0 ** rng.uniform(low, high, n)
    return np.concatenate([magnitude, -magnitude])


# function: its definition for mpmath, and points at which the result is a normal number
CASES = {
    "exp_": (
        mp.exp,
        lambda r: np.concatenate([r.uniform(-708, 709.7, 300), both_signs(r, -8, 0.5)]),
    ),
    "expm1_": (
        mp.expm1,
        lambda r: np.concatenate([r.uniform(-60, 709.7, 300), both_signs(r, -12, 1)]),
    ),
    "log_": (
        mp.log,
        lambda r: np.concatenate([10 ** r.uniform(-320, 308, 300), r.uniform(0.5, 2, 600)]),
    ),
    "log1p_": (
        mp.log1p,
        lambda r: np.concatenate([10 ** r.uniform(-15, 300, 300), r.uniform(-0.99, 2, 600)]),
    ),
    "log1p_unit": (
        mp.log1p,
        lambda r: np.concatenate([10 ** r.uniform(-15, 0, 300), r.uniform(0, 1, 300)]),
    ),
    "normal_cdf_": (
        mp.ncdf,
        lambda r: np.concatenate([r.uniform(-37.5, 9, 600), both_signs(r, -8, 1)]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_error_is_what_the_docstring_states(name):
    exact, points = CASES[name]
    stated = int(re.search(r"error (\d+) units", getattr(vector_math, name).__doc__).group(1))
    x = points(np.random.default_rng(1))
    with mp.workprec(200):
        relative = [
            abs(mp.mpf(y) / exact(mp.mpf(a)) - 1)
            for a, y in zip(x, on_arrays(name)(x), strict=True)
        ]
        worst = int(np.argmax([float(e) for e in relative]))
        assert relative[worst] <= stated * UNIT, (
            f"{float(relative[worst]) / UNIT:.2f} units at x = {x[worst]!r}"
        )


EDGES = [  # function, argument, result
    ("exp_", 0.0, 1.0),
    ("exp_", 709.782712893384, 1.7976931348622732e308),
    ("exp_", 709.79, np.inf),
    ("exp_", 1e308, np.inf),
    ("exp_", np.inf, np.inf),
    ("exp_", -745.1, 5e-324),
    ("exp_", -746.0, 0.0),
    ("exp_", -np.inf, 0.0),
    ("expm1_", -1e308, -1.0),
    ("expm1_", 5e-324, 5e-324),
    ("expm1_", 1e3, np.inf),
    ("log_", 0.0, -np.inf),
    ("log_", np.inf, np.inf),
    ("log_", -1.0, np.nan),
    ("log_", 1.0, 0.0),
    ("log1p_", 5e-324, 5e-324),
    ("log1p_", -1.0, -np.inf),
    ("log1p_", np.inf, np.inf),
    ("normal_cdf_", -1e308, 0.0),
    ("normal_cdf_", 1e308, 1.0),
    ("normal_cdf_", -38.0, 2.8854277e-316),
]


@pytest.mark.parametrize(("name", "x", "expected"), EDGES)
def test_edges_of_float64(name, x, expected):
    # one part in 1e9, or the last bit of a subnormal number: these check the range, the errors are
    # checked above
    np.testing.assert_allclose(
        on_arrays(name)(x)[0], expected, rtol=1e-9 if abs(expected) > 1e-300 else 0.02, atol=5e-324
    )


@pytest.mark.parametrize("name", CASES)
def test_nan_is_kept(name):
    assert np.isnan(on_arrays(name)(np.nan)[0])


def test_pair_of_exponential_and_its_difference_from_one():
    @numba.njit
    def pair(x):
        return vector_math.exp_pair(x)

    for x in (-1e-12, -0.2, -0.34, -0.36, -3.0, -40.0, -700.0, -0.0):
        e, em = pair(x)
        assert abs(mp.mpf(e) / mp.exp(x) - 1) <= 2 * UNIT
        assert abs(mp.mpf(em) - mp.expm1(x)) <= 2 * UNIT * abs(mp.expm1(x))


def test_scaled_erf_with_its_density():
    @numba.njit
    def both(x):
        return vector_math.erf_scaled(x)

    assert "errors 3 and 2 units" in vector_math.erf_scaled.__doc__
    with mp.workprec(200):
        for x in both_signs(np.random.default_rng(2), -12, 1.5):
            a = mp.mpf(x)
            erf, density = both(x)
            assert abs(erf / mp.erf(a / mp.sqrt(2)) - 1) <= 3 * UNIT
            assert abs(density / mp.exp(-a * a / 2) - 1) <= 2 * UNIT
    assert both(1e308) == (1.0, 0.0)
    assert both(-np.inf) == (-1.0, 0.0)
    assert both(1e-310)[0] == pytest.approx(7.978845608e-311, rel=1e-9)
    assert np.isnan(both(np.nan)[0])


def test_tail_with_the_mean_of_a_ramp():
    @numba.njit
    def tail(x):
        return vector_math.ramp_tail(x)

    stated = [
        int(n)
        for n in re.findall(r"(\d+)(?=,| and \d+ units| units)", vector_math.ramp_tail.__doc__)[-3:]
    ]
    assert stated == [2, 8, 12]
    with mp.workprec(200):
        for a in np.concatenate([np.linspace(0, 37, 300), 10.0 ** np.linspace(-9, 0.5, 60)]):
            a = mp.mpf(a)
            upper = mp.erfc(a / mp.sqrt(2)) / 2
            exact = mp.exp(-a * a / 2), upper, mp.npdf(a) - a * upper
            for found, value, units in zip(tail(float(a)), exact, stated, strict=True):
                assert abs(found / value - 1) <= units * UNIT


def test_coefficients_are_those_of_the_script(monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(str(root / "scripts"))
    import make_coefficients

    source = Path(vector_math.__file__).read_text()
    missing = [
        c
        for row in make_coefficients.coefficients().values()
        for c in row
        if repr(abs(c)) not in source
    ]
    sys.modules.pop("make_coefficients")
    assert missing == []
