"""Every evaluator, every activation: the stated error bound holds, and all that are accurate agree.

The truth are the test vectors of ``tests/data/gaussian_moments.json`` (30 digits,
``scripts/make_test_vectors.py``). The loops run over the registry, so that a new activation or
evaluator cannot go untested.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from infflow.activations import Activation, names, resolve
from infflow.errors import AccuracyWarning, InvalidValueError
from infflow.integrals.choice import Choice
from infflow.integrals.cubature import pairs as cubature
from infflow.integrals.evaluator import Arguments, Estimate, Points
from infflow.integrals.jets import COLUMNS
from infflow.integrals.moments import gaussian_mean, gaussian_moment
from infflow.integrals.registry import EVALUATORS

AGREEMENT = 1e-11
DATA = Path(__file__).parent / "data" / "gaussian_moments.json"


class Vectors(NamedTuple):
    """Test vectors of one pair: points (n,) each, exact values as decimal strings,
    [point][order].
    """

    points: Points
    values: list[list[str]]


@cache
def vectors() -> tuple[list[tuple[int, int]], dict[tuple[str, str], Vectors]]:
    """Orders, and the vectors of every pair."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    rows: dict[tuple[str, str], list[list]] = {}
    for f, g, *rest in data["moments"]:
        rows.setdefault((f, g), []).append(rest)
    table = {
        pair: Vectors(
            Points.at(*np.array([row[:5] for row in some]).T.copy()), [row[5] for row in some]
        )
        for pair, some in rows.items()
    }
    return [tuple(pq) for pq in data["orders"]], table


ORDERS, VECTORS = vectors()


def distance(values: np.ndarray, exact: list[str]) -> np.ndarray:
    """Distance of float64 numbers from decimal ones, without the rounding of either."""
    with localcontext() as context:
        context.prec = 60
        return np.array(
            [float(abs(Decimal(float(v)) - Decimal(e))) for v, e in zip(values, exact, strict=True)]
        )


def estimates(
    method: str, f: str, g: str, points: Points, rtol: float
) -> Iterator[tuple[int, Estimate]]:
    """Estimates of all orders, numbered."""
    for number, orders in enumerate(ORDERS):
        with np.errstate(over="ignore", invalid="ignore"):
            yield number, EVALUATORS[method].moment(resolve(f), resolve(g), points, orders, rtol)


def accurate(estimate: Estimate, rtol: float) -> np.ndarray:
    """Where the bound meets the tolerance."""
    return estimate.error_bound <= rtol * np.maximum(estimate.scale, np.abs(estimate.value))


def test_vectors_cover_the_registry():
    assert {f for pair in VECTORS for f in pair} == set(names())
    for name in names():
        assert (name, name) in VECTORS
        assert all(
            (name, partner) in VECTORS or (partner, name) in VECTORS
            for partner in ("erf", "relu", "tanh")
        )


@pytest.mark.parametrize("method", ["closed", "hermite"])
@pytest.mark.parametrize("f", names())
def test_error_bounds_hold(f, method):
    """On all pairs, points and orders; a bound below the true error is a defect."""
    for pair in (pair for pair in VECTORS if pair[0] == f):
        if not EVALUATORS[method].defined(*map(resolve, pair)):
            continue
        points, exact = VECTORS[pair]
        for k, estimate in estimates(method, *pair, points, AGREEMENT):
            assert not np.isnan(estimate.error_bound).any()
            error = distance(estimate.value, [row[k] for row in exact])
            wrong = np.flatnonzero(~(error <= estimate.error_bound))
            assert not wrong.size, (
                pair,
                ORDERS[k],
                [x[wrong] for x in points.scales],
                error[wrong],
                estimate.error_bound[wrong],
            )


@pytest.mark.parametrize("f", [name for name in names() if resolve(name).has_closed_form])
def test_closed_forms_reach_the_default_tolerance(f):
    """For an activation with itself at correlations up to 0.95; bounds that are too large would
    pass all other tests.
    """
    points, _ = VECTORS[f, f]
    regular = np.abs(points.u) <= 0.95
    for orders in ((0, 0), (1, 1), (0, 2)):
        estimate = EVALUATORS["closed"].moment(resolve(f), resolve(f), points, orders, 1e-10)
        assert accurate(estimate, 1e-10)[regular].all(), (orders, estimate)


JET_COLUMNS = {(0, 0): "J00", (1, 0): "J10", (0, 1): "J01", (1, 1): "J11", (0, 2): "J02"}
JET_COLUMNS |= {(2, 1): "M21", (0, 3): "M03", (2, 2): "F22"}


@pytest.mark.parametrize("f", names())
def test_bounds_of_closed_jets_hold(f):
    """The networks' evaluator has one bound for all columns of a pair; u = 1, where jets follow
    conventions, is left out.
    """
    for pair in (
        pair
        for pair in VECTORS
        if pair[0] == f and EVALUATORS["closed"].defined(*map(resolve, pair))
    ):
        points, exact = VECTORS[pair]
        r1, r2, u, b1, b2 = points.scales
        n = len(points.u)
        evaluator = Choice(
            [resolve(a) for a in pair for _ in range(n)],
            np.arange(n),
            np.arange(n, 2 * n),
            "closed",
        )
        args = Arguments(
            np.stack(points[:6]), np.concatenate([r1, r2]) ** 2, np.concatenate([b1, b2])
        )
        found = evaluator.evaluate(args, 2)
        jet = found.values
        regular = np.abs(u) < 1
        for pq, column in JET_COLUMNS.items():
            scale = EVALUATORS["closed"].moment(*map(resolve, pair), points, pq, AGREEMENT).scale
            values = jet[:, COLUMNS.index(column)]
            error = distance(values, [row[ORDERS.index(pq)] for row in exact])
            allowed = evaluator.bounds(args, found) * np.maximum(scale, np.abs(values))
            assert (error <= allowed)[regular].all(), (pair, column, error, allowed)


@pytest.mark.parametrize("f", ["sigmoid", "tanh", "softplus", "silu", "g"])
def test_bounds_of_mixtures_far_from_the_origin(f):
    """Where b is large and r small the mixture has fewer digits than the default tolerance: the
    bound says so, and a series takes over.
    """
    one = np.array([0])
    activation = resolve(f)
    rate = 2.0 if f == "tanh" else 1.0
    for b, r, exceeds in (
        (22.0, 0.1, True),
        (-22.0, 0.1, True),
        (14.0, 0.2, False),
        (-25.0, 8.0, False),
    ):
        b, r = b / rate, r / rate
        pair = Arguments(
            np.array([[r * r], [0.3 * r * r], [r * r], [b], [b], [0.91 * r**4]]),
            np.full(2, r * r),
            np.full(2, b),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            evaluators = {
                m: Choice([activation] * 2, one, one + 1, m) for m in ("closed", "hermite", "auto")
            }
            found = {m: evaluator.evaluate(pair, 2) for m, evaluator in evaluators.items()}
        jets = {m: each.values[0] for m, each in found.items()}
        bounds = {m: evaluators[m].bounds(pair, each)[0] for m, each in found.items()}
        assert (bounds["closed"] > 1e-10) == exceeds
        assert bounds["auto"] <= 1e-10
        if bounds["hermite"] > 1e-10:
            continue
        points = Points.at(*(np.array([x]) for x in (r, r, 0.3, b, b)))
        for pq, column in JET_COLUMNS.items():
            scale = EVALUATORS["hermite"].moment(activation, activation, points, pq, 1e-11).scale[0]
            k = COLUMNS.index(column)
            assert (
                abs(jets["closed"][k] - jets["hermite"][k])
                <= (bounds["closed"] + bounds["hermite"]) * scale
            )


@pytest.mark.parametrize("kinks", [(), (0.0,)])
def test_jets_of_pairs_without_closed_form(kinks):
    """Where no activation of a network has one, tanh of a user's own stands for its registered
    twin.
    """
    tanh = resolve("tanh")
    own = Activation.from_callable(
        "own", tanh, [lambda x, k=k: tanh.derivative(x, k) for k in range(1, 5)], kinks
    )
    one = np.array([0])
    pair = Arguments(
        np.array([[1.2], [0.4], [0.7], [0.3], [-0.5], [0.68]]),
        np.array([1.2, 0.7]),
        np.array([0.3, -0.5]),
    )
    jets = [Choice([a, a], one, one + 1)(pair, 2) for a in (own, tanh)]
    np.testing.assert_allclose(*jets, rtol=1e-9, atol=1e-10)  # the default tolerance


@pytest.mark.parametrize("f", names())
def test_error_estimates_of_cubature_hold(f):
    """Of an activation with itself and with one other, all orders at once, at a point that changes
    from name to name.
    """
    start = names().index(f)
    for place, pair in enumerate(pair for pair in VECTORS if pair[0] == f):
        if place not in (0, 1 + start % 3):
            continue
        points, exact = VECTORS[pair]
        row = (5 * start + 7 * place) % len(exact)
        r1, r2, u, b1, b2 = (float(x[row]) for x in points.scales)
        det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
        found = cubature.pair_moments(
            *map(resolve, pair), (r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det), 2, AGREEMENT
        )
        columns = [cubature.ORDERS.index(pq) for pq in ORDERS]
        error = distance(found.value[columns], exact[row])
        assert (error <= found.error[columns]).all(), (pair, points, error, found.error[columns])


# -- points drawn at random ------------------------------------------------------------------------

scales = st.floats(-3.0, np.log10(20.0)).map(lambda x: float(10.0**x))
biases = st.floats(-3.0, 3.0)
correlations = st.one_of(
    st.floats(-1.0, 1.0),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.tuples(st.floats(-12.0, -1.0), st.booleans()).map(
        lambda x: (1.0 - 10.0 ** x[0]) * (1 if x[1] else -1)
    ),
)
drawn = {
    "f": st.sampled_from(names()),
    "g": st.sampled_from(names()),
    "r": st.tuples(scales, scales),
    "u": correlations,
    "b": st.tuples(biases, biases),
    "orders": st.sampled_from(cubature.ORDERS),
}


def check_agreement(
    methods: tuple[str, ...], f: str, g: str, point: tuple[float, ...], orders: tuple[int, int]
) -> None:
    """All evaluators whose bound meets 1e-11 agree to 1e-11, and all others to within
    their bounds.
    """
    found = []
    for method in methods:
        if EVALUATORS[method].defined(resolve(f), resolve(g)):
            try:
                with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
                    warnings.simplefilter("ignore", AccuracyWarning)
                    points = Points.at(*(np.array([x]) for x in point))
                    estimate = EVALUATORS[method].moment(
                        resolve(f), resolve(g), points, orders, AGREEMENT
                    )
            except InvalidValueError:  # beyond float64: exp of a wide argument
                continue
            if np.isfinite(estimate.value[0]) and np.isfinite(estimate.error_bound[0]):
                found.append((method, estimate))
    assume(len(found) > 1)
    for k, (one, a) in enumerate(found):
        for other, b in found[:k]:
            gap = abs(a.value[0] - b.value[0])
            assert gap <= a.error_bound[0] + b.error_bound[0], (one, other, a, b)
            if accurate(a, AGREEMENT)[0] and accurate(b, AGREEMENT)[0]:
                assert gap <= AGREEMENT * max(a.scale[0], b.scale[0], abs(a.value[0])), (
                    one,
                    other,
                    a,
                    b,
                )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(**drawn)
def test_closed_forms_series_and_tables_agree_anywhere(f, g, r, u, b, orders):
    check_agreement(("closed", "hermite", "numeric"), f, g, (*r, u, *b), orders)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(**drawn)
def test_cubature_agrees_with_the_others(f, g, r, u, b, orders):
    check_agreement(("closed", "hermite", "numeric", "cubature"), f, g, (*r, u, *b), orders)


def test_a_series_of_a_function_that_grows_too_fast():
    """No number comes back, though the method was named: E exp(2 h^2) is infinite for a variance
    above 1/4.
    """
    f = Activation.from_sympy("fast", "exp(x**2)")
    for call in (
        lambda: gaussian_moment(f, "erf", 1.0, 1.0, 0.1, method="hermite"),
        lambda: gaussian_moment("erf", f, 1.0, 1.0, 0.1),
        lambda: gaussian_mean(f, 1.0, method="hermite"),
    ):
        with pytest.raises(InvalidValueError, match="'fast' grows too fast"):
            call()
    pair = Arguments(np.array([[1.0], [0.1], [1.0], [0.0], [0.0], [0.99]]), np.ones(2), np.zeros(2))
    with pytest.raises(InvalidValueError, match="'fast' grows too fast"):
        Choice([f, resolve("erf")], np.array([0]), np.array([1]), "hermite")(pair, 0)
