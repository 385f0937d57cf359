"""The numeric evaluator: tables of activations, conditional rules, series of kinked functions.

References: 30-digit test vectors (``tests/data/gaussian_moments.json``), closed forms of the same
functions, which share no code with tables, and cubature.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

import infflow as inf
from infflow.activations import Activation, names, resolve
from infflow.errors import AccuracyWarning, InvalidValueError
from infflow.integrals.choice import METHODS, Choice
from infflow.integrals.cubature import pairs as cubature
from infflow.integrals.evaluator import Arguments, Points
from infflow.integrals.jets import COLUMNS
from infflow.integrals.numeric import conditional, series, smoothed
from infflow.integrals.numeric.means import _neurons, neurons, products
from infflow.integrals.numeric.pairs import pair_moments, square_derivatives
from infflow.integrals.numeric.table import LEVELS, table, values
from infflow.integrals.registry import EVALUATORS

NUMERIC = EVALUATORS["numeric"]
CLOSED = EVALUATORS["closed"]
#: All orders (p, q) of moments.
ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]
#: What underflows is not an error.
TINY = 1e-270


def zero(x):
    return 0.0 * x


def as_callables(name: str) -> Activation:
    """A registered activation as a user would pass it: functions and kinks, no closed form."""
    a = resolve(name)
    functions = [lambda x, n=n: a.derivative(x, n) for n in range(5)]
    return Activation.from_callable(f"my {name}", functions[0], functions[1:], a.kinks)


def hard_tanh() -> Activation:
    return Activation.from_callable(
        "my hard tanh",
        lambda x: np.clip(x, -1.0, 1.0),
        [lambda x: (np.abs(x) < 1.0) * 1.0, zero, zero, zero],
        kinks=[-1.0, 1.0],
    )


def softsign() -> Activation:
    return Activation.from_callable(
        "my softsign",
        lambda x: x / (1 + np.abs(x)),
        [
            lambda x: (1 + np.abs(x)) ** -2.0,
            lambda x: -2 * np.sign(x) * (1 + np.abs(x)) ** -3.0,
            lambda x: 6 * (1 + np.abs(x)) ** -4.0,
            lambda x: -24 * np.sign(x) * (1 + np.abs(x)) ** -5.0,
        ],
        kinks=[0.0],
    )


def mish() -> Activation:
    return Activation.from_sympy("my mish", "x*tanh(log(1 + exp(x)))")


def scatter(n: int, seed: int) -> Points:
    """Points in the whole range: r from 1e-3 to 30, |b| to 8, correlations to 1 - 1e-12 and 1."""
    rng = np.random.default_rng(seed)
    r1, r2 = 10.0 ** rng.uniform(-3, np.log10(30), (2, n))
    b1, b2 = rng.uniform(-8, 8, (2, n))
    b1[::7] = b2[::7] = 0.0
    b1[1::7] = b2[1::7] = np.round(b1[1::7])
    r2[::5] = r1[::5] * (1 + 1e-5 * rng.normal(size=len(r1[::5])))
    u = rng.choice([-1.0, 1.0], n) * (1 - 10.0 ** rng.uniform(-12, 0, n))
    u[3::20] = 1.0
    u[4::20] = -1.0
    u[5::20] = 0.0
    return Points.at(r1, r2, u, b1, b2)


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in names() if name != "exp"])
@pytest.mark.parametrize("fine", [False, True])
def test_tables_are_as_exact_as_they_say(name, fine):
    a = resolve(name)
    found = table(a, 64.0, fine)
    h = np.sort(np.random.default_rng(0).uniform(-60, 60, 3000))
    piece = found.piece(h)
    exact = np.empty((LEVELS, h.size))
    a.jet(h, exact)
    error = np.abs(values(found, piece, h[:, None])[:, 0] - exact.T)
    assert (error <= found.errors[piece]).all(), (error - found.errors[piece]).max(axis=0)
    # and what they say is little
    assert (found.errors[piece] <= 1e-13 * (1 + np.abs(exact)).max()).all()


def test_jumps_of_a_table():
    found = table(hard_tanh(), 64.0)
    np.testing.assert_allclose(found.kinks, [-1, 1])
    np.testing.assert_allclose(found.jumps[:, :2], [[0, 1], [0, -1]], atol=1e-14)
    assert (found.jumps[:, 2:] == 0.0).all()
    found = table(softsign(), 64.0)
    np.testing.assert_allclose(found.jumps, [[0, 0, -4, 0, -48]], rtol=1e-13, atol=1e-13)


def test_a_kink_that_is_none_does_no_harm():
    with_kink = Activation.from_callable(
        "tanh",
        np.tanh,
        [lambda x, n=n: resolve("tanh").derivative(x, n) for n in range(1, 5)],
        [0.3],
    )
    assert (table(with_kink, 64.0).jumps == 0.0).all()
    for orders in ORDERS:
        point = (1.2, 0.7, 0.9, 0.3, -0.1)
        assert inf.gaussian_moment(
            with_kink, "relu", *point, orders=orders, method="numeric"
        ) == pytest.approx(inf.gaussian_moment("tanh", "relu", *point, orders=orders), abs=1e-12)


def test_tables_of_piecewise_polynomials_have_few_coefficients():
    assert table(resolve("hard_tanh"), 32.0).degree == 2
    assert table(resolve("relu_power(3)"), 32.0).degree == 4
    assert table(resolve("mish"), 32.0).degree > 10


def test_a_table_is_made_once():
    calls = []

    def f(x):
        calls.append(x.size)
        return np.log1p(x * x)

    a = Activation.from_callable("log", f)
    inf.gaussian_moment(a, a, 1.0, 1.1, 0.5, method="numeric", rtol=1e-8)
    calls.clear()
    inf.gaussian_moment(a, a, [0.9, 0.4], 1.0, -0.7, 0.2, method="numeric", rtol=1e-8)
    assert not calls


# -- moments ---------------------------------------------------------------------------------------


def vectors() -> dict[tuple[str, str], list]:
    path = Path(__file__).parent / "data" / "gaussian_moments.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = defaultdict(list)
    for f, g, *rest in data["moments"]:
        rows[f, g].append(rest)
    return {"orders": [tuple(pq) for pq in data["orders"]], **rows}


def all_moments(f, g, points):
    """Values, bounds and scales (n, 5, 5); `NumericRule.moment` gives one order of them."""
    n = np.arange(len(points.u))
    first = neurons(f, points.r1, points.b1)
    second = neurons(g, points.r2, points.b2)
    s = np.sqrt((1 - points.u) * (1 + points.u))
    found = pair_moments(first, second, n, n, points.u, s)
    from infflow.integrals.numeric.evaluator import _with_corners

    value = _with_corners(found, points.r1, points.r2, points.u)
    return value, found.error + found.rounding + 2e-15 * np.abs(value), found.scale


@pytest.mark.parametrize("f", names())
def test_bounds_hold_on_the_test_vectors(f):
    """All pairs, points and orders; where nothing is singular the bound meets 1e-10."""
    data = vectors()
    for pair in (key for key in data if key != "orders" and key[0] == f):
        points = Points.at(*np.array([row[:5] for row in data[pair]]).T.copy())
        value, bound, scale = all_moments(*map(resolve, pair), points)
        for k, (p, q) in enumerate(data["orders"]):
            exact = np.array([float(row[5][k]) for row in data[pair]])
            with np.errstate(invalid="ignore"):
                error = np.abs(value[:, p, q] - exact)
            finite = np.isfinite(exact)
            assert (np.isfinite(value[:, p, q]) == finite).all(), (pair, p, q)
            assert (error <= bound[:, p, q])[finite].all(), (pair, (p, q), error, bound[:, p, q])
            plain = finite & (np.abs(points.u) <= 0.95)
            assert (bound[:, p, q] <= 1e-10 * scale[:, p, q])[plain].all(), (pair, (p, q))


# Closed forms of mixtures (tanh, softplus) have bounds of their own of some 1e-13.
CLOSED_PAIRS = [
    ("relu", "relu"),
    ("relu", "gelu"),
    ("step", "relu"),
    ("erf", "erf"),
    ("abs", "leaky_relu"),
    ("sign", "step"),
    ("gelu", "normal_cdf"),
    ("gaussian", "relu"),
    ("cube", "relu"),
    ("elu", "elu"),
    ("sin", "relu"),
]


@pytest.mark.parametrize("f,g", CLOSED_PAIRS)
def test_bounds_hold_anywhere(f, g):
    points = scatter(60, seed=len(f) + 10 * len(g))
    value, bound, _ = all_moments(resolve(f), resolve(g), points)
    for p, q in ORDERS:
        with np.errstate(all="ignore"):
            exact = CLOSED.moment(resolve(f), resolve(g), points, (p, q), 1e-12)
            error = np.abs(value[:, p, q] - exact.value)
        finite = np.isfinite(value[:, p, q]) & np.isfinite(exact.value)
        assert (error <= bound[:, p, q] + exact.error_bound + TINY)[finite].all(), (p, q)
        seen = exact.scale > TINY
        assert (np.isfinite(value[:, p, q]) == np.isfinite(exact.value))[seen].all(), (p, q)


@pytest.mark.parametrize("seed", range(4))
def test_own_activations_against_cubature(seed):
    """Functions without a closed form at 1e-12, also nearly parallel and far out."""
    rng = np.random.default_rng(seed)
    f, g = [(hard_tanh, softsign), (mish, hard_tanh), (softsign, softsign), (mish, mish)][seed]
    f, g = f(), g()
    for u in (0.3, -0.97, 1 - 1e-7, -1 + 1e-12):
        r1 = 10.0 ** rng.uniform(-2, 1)
        r2 = 10.0 ** rng.uniform(-2, 1)
        b1, b2 = rng.uniform(-3, 3, 2)
        points = Points.at(*(np.array([x]) for x in (r1, r2, u, b1, b2)))
        value, bound, _ = all_moments(f, g, points)
        det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
        exact = cubature.pair_moments(f, g, (r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det), 2, 1e-12)
        for k, (p, q) in enumerate(cubature.ORDERS):
            error = abs(value[0, p, q] - exact.value[k])
            assert error <= bound[0, p, q] + exact.error[k], (u, (p, q))


@pytest.mark.parametrize("name", ["relu", "elu", "gelu", "abs", "step"])
def test_means(name):
    a = resolve(name)
    points = scatter(40, seed=1)
    r = np.append(points.r1, [0.0, 0.0])
    b = np.append(points.b1, [0.7, -3.0])
    for order in range(5):
        exact = CLOSED.mean(a, r, b, order, 1e-12) if a.atoms else None
        if exact is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AccuracyWarning)
                exact = EVALUATORS["cubature"].mean(a, r, b, order, 1e-12)
        found = NUMERIC.mean(a, r, b, order, 1e-12)
        error = np.abs(found.value - exact.value)
        allowed = found.error_bound + exact.error_bound + TINY
        assert (error <= allowed).all(), (order, (error / allowed).max())


@pytest.mark.parametrize("kinks", [(-1.0, 1.0), (0.0, 6.0)])
def test_work_is_bounded_wherever_kinks_meet(kinks):
    """Images of kinks within rounding of zones of others must not leave wide panels to an inner
    rule.
    """
    a = Activation.from_callable(
        "clip",
        lambda x: np.clip(x, *kinks),
        [lambda x: ((x > kinks[0]) & (x < kinks[1])) * 1.0, zero, zero, zero],
        kinks=kinks,
    )
    rng = np.random.default_rng(0)
    n = 300
    s = 10.0 ** rng.uniform(-9, -1, n)
    r = rng.uniform(0.5, 4, n)
    b = rng.normal(size=n)
    first = neurons(a, r, b)
    second = neurons(a, r * (1 + s * rng.normal(size=n)), b + s * rng.normal(size=n))
    i = np.arange(n)
    found = pair_moments(first, second, i, i, np.sqrt((1 - s) * (1 + s)), s)
    assert found.work.max() < 4000


@pytest.mark.parametrize(
    "f", [hard_tanh(), softsign(), resolve("elu"), resolve("relu_power(3)"), resolve("step")]
)
def test_kinks_smoothed_in_closed_form(f):
    """Against the inner rule, which shares the table only; also at the widest Gaussian."""
    found = table(f, 64.0)
    # nothing but the pieces on both sides is in reach
    after = np.searchsorted(found.edges, found.kinks)
    width = np.minimum(np.diff(found.valid)[after - 1, 0], np.diff(found.valid)[after, 0])
    widest = np.minimum(smoothed.widest_at_kinks(found), width / 16)
    assert (widest > 0.005).all()
    for kink, sigma in [(k, w * s) for k, w in enumerate(widest) for s in (1e-7, 1e-3, 0.1, 1.0)]:
        for side in (-1.0, 1.0):
            offset = side * sigma * np.linspace(0.0, 7.0, 15).reshape(3, 5)
            mean = found.kinks[kink] + offset
            sigmas = np.full(3, sigma)
            closed = smoothed.smoothed_polynomials(found, mean, sigmas)
            closed += smoothed.beyond_kinks(found, mean, sigmas, np.full(3, kink))
            ruled = conditional._by_inner_rule(found, mean, sigmas, np.full(3, 12.0))
            # the values next to the kink are known to the rounding of the pieces
            size = np.abs(ruled).max(axis=(0, 1)) + 0.02
            assert (np.abs(closed - ruled) <= 1e-13 * size).all(), (kink, sigma, side)


@pytest.mark.parametrize("f", [hard_tanh(), softsign(), resolve("elu"), resolve("relu_power(2)")])
def test_closed_kinks_and_inner_rule_agree(f, monkeypatch):
    """Nearly parallel pairs whose kinks are anywhere, dead ones too."""
    rng = np.random.default_rng(5)
    n = 150
    s = 10.0 ** rng.uniform(-10, -0.5, n)
    r = 10.0 ** rng.uniform(-2, 1, n)
    b = rng.uniform(-6, 6, n)
    first = neurons(f, r, b)
    second = neurons(f, r * np.exp(s * rng.normal(size=n)), b + s * r * rng.normal(size=n))
    args = first, second, np.sqrt((1 - s) * (1 + s)), s
    closed = conditional.regular_moments(*args)
    monkeypatch.setattr(conditional, "_STEEPEST", -1.0)
    ruled = conditional.regular_moments(*args)
    assert (closed.work < ruled.work).any() or (closed.value != ruled.value).any()
    scale = first.scale[:, :, None] * second.scale[:, None, :]
    for p, q in ORDERS:
        known = np.isfinite(scale[:, p, q])
        error = np.abs(closed.value - ruled.value)[:, p, q]
        allowed = (closed.error + ruled.error)[:, p, q]
        # x^2/2 is rounded
        allowed += (4e-15 + 5e-16 * first.reach**2) * scale[:, p, q]
        assert (error <= allowed)[known].all(), (p, q)


@pytest.mark.parametrize("r,rest", [(1e-7, 1e-14), (1e-7, 1e-12), (1e-5, 1e-15), (1e-3, 1e-15)])
def test_kinks_of_small_parallel_neurons_are_not_passed_over(r, rest):
    """Both at the kink, the Gaussian far narrower than the piece: the chance that signs agree."""
    f = Activation.from_callable(
        "hat",
        lambda x: np.maximum(1.0 - np.abs(x), 0.0),
        [lambda x: -np.sign(x) * (np.abs(x) < 1.0), zero, zero, zero],
        kinks=[-1.0, 0.0, 1.0],
    )
    u = 1.0 - rest
    exact = 1.0 - 2.0 / np.pi * np.arctan2(np.sqrt((1.0 - u) * (1.0 + u)), u)
    points = Points.at(*(np.array([x]) for x in (r, 1.1 * r, u, 0.0, 0.0)))
    value, bound, _ = all_moments(f, f, points)
    assert abs(value[0, 1, 1] - exact) <= bound[0, 1, 1] <= 1e-12


def test_rounding_of_small_neurons_next_to_a_kink_is_in_the_bound():
    """The argument is rounded relative to b, a kink of 1 is met within r: the share is eps/r."""
    f = as_callables("hard_tanh")
    rng = np.random.default_rng(0)
    n = 400
    r1, r2 = 10.0 ** rng.uniform(-8, -3, (2, n))
    u = np.where(rng.random(n) < 0.5, 1.0, -1.0) * (1.0 - 10.0 ** rng.uniform(-10, 0, n))
    side = rng.choice([-1.0, 1.0], (2, n))
    b1, b2 = side * (1.0 + rng.uniform(-2, 2, (2, n)) * (r1, r2))
    value, bound, _ = all_moments(f, f, Points.at(r1, r2, u, b1, b2))
    # the slope is one inside of the kinks
    t1, t2 = (1.0 - np.abs((b1, b2))) / (r1, r2)
    exact = inf.bivariate_normal_cdf(t1, t2, side[0] * side[1] * u)
    error = np.abs(value[:, 1, 1] - exact)
    assert (error <= bound[:, 1, 1] + 1e-14).all()
    assert (error > 1e-12).any()  # it matters


def test_functions_that_rise_beyond_the_window_of_a_piece():
    """A Gaussian of deviation 6 on a flat piece of erf, seven deviations from where erf rises."""
    erf = resolve("erf")
    points = Points.at(*(np.array([x]) for x in (26.57, 20.43, 0.9518, 3.571, -32.54)))
    coarse, _, _ = all_moments(erf, erf, points)
    s = np.sqrt((1 - points.u) * (1 + points.u))
    fine = [
        _neurons(erf, r, b, LEVELS, fine=True)
        for r, b in ((points.r1, points.b1), (points.r2, points.b2))
    ]
    found = conditional.regular_moments(*fine, points.u, s)
    for p, q in ORDERS:
        error = np.abs(found.value - coarse)[0, p, q]
        assert error <= 1e-15 * fine[0].scale[0, p] * fine[1].scale[0, q] + 1e-17, (p, q)


def test_polynomials_go_on_over_pieces():
    found = table(hard_tanh(), 64.0)
    np.testing.assert_array_equal(found.joints, [-64, -1, 1, 64])
    assert (found.valid[found.piece(np.array([5.0]))] == [[1.0, 64.0]]).all()
    found = table(softsign(), 64.0)
    np.testing.assert_array_equal(found.joints, found.edges)


def test_series_and_conditional_rule_agree():
    """Two rules that share the table only, at correlations between theirs."""
    for f in (hard_tanh(), softsign(), resolve("relu"), resolve("sign")):
        r = np.array([0.5, 1.5, 6.0])
        some = neurons(f, r, np.array([0.0, 1.0, -0.4]))
        i = np.array([0, 0, 1, 2])
        j = np.array([1, 2, 2, 1])
        u = np.array([0.6, -0.5, 0.05, 0.55])
        expanded = series.expansions(some, 128)
        value, error = series.series(expanded, expanded, i, j, u)
        Z = 8.5 + np.sqrt(1 - u * u) * 6
        from infflow.integrals.numeric.jumps import corner_moments, deltas

        first = some.take(i)
        second = some.take(j)
        regular = conditional.regular_moments(first, second, u, np.sqrt(1 - u * u))
        jumps = deltas(first, second, u, np.sqrt(1 - u * u), (Z, Z))
        c1 = r[j] * u / r[i]
        c2 = r[i] * u / r[j]
        whole = regular.value + jumps.value + corner_moments(jumps.corners, c1, c2)
        scale = first.scale[:, :, None] * second.scale[:, None, :]
        for p, q in ORDERS:
            assert (np.abs(value - whole)[:, p, q] <= 1e-12 * scale[:, p, q]).all()
            assert (error[:, p, q] <= 1e-11 * scale[:, p, q]).all()


def test_remainders_of_series_hold():
    """A series that ends too early says so."""
    some = neurons(softsign(), np.array([1.0, 3.0]), np.array([0.2, -1.0]))
    i = np.array([0, 0, 1])
    j = np.array([1, 0, 1])
    u = np.array([0.7, 0.8, -0.75])
    exact, _ = series.series(*[series.expansions(some, 256)] * 2, i, j, u)
    for count in (8, 16, 32, 48):
        value, error = series.series(*[series.expansions(some, count)] * 2, i, j, u)
        for p, q in ORDERS:
            assert (np.abs(value - exact)[:, p, q] <= error[:, p, q]).all()
    # and the bound is no more than some thousand times too large
    assert (error[:, 0, 0] <= 1e4 * np.abs(value - exact)[:, 0, 0] + 1e-13).all()


def test_missing_derivatives_come_from_the_table():
    """A function alone: errors of differentiation are in the bound."""
    a = Activation.from_callable("my sigmoid", expit)
    for orders, tolerance in (((1, 0), 1e-10), ((1, 1), 1e-9), ((2, 1), 1e-7)):
        point = (1.3, 0.8, 0.6, 0.2, -0.5)
        exact = inf.gaussian_moment("sigmoid", "sigmoid", *point, orders=orders)
        found = inf.gaussian_moment(
            a, a, *point, orders=orders, method="numeric", rtol=1.0, full_output=True
        )
        assert abs(found.value - exact) <= found.error_bound <= tolerance


def test_jumps_that_were_not_named_are_found():
    """To the last bit where a function that was given jumps; the warning says so."""
    with pytest.warns(AccuracyWarning, match="x = 0.7, which is none of the kinks: it is taken"):
        box = Activation.from_callable("box", lambda x: (x > 0.7) * 1.0 + np.tanh(x))
    assert box.kinks == (0.7,)
    with pytest.warns(AccuracyWarning, match="derivative 1"):
        corner = Activation.from_callable(
            "corner",
            lambda x: np.maximum(x, np.pi),
            [lambda x: (x > np.pi) * 1.0, zero, zero, zero],
        )
    assert corner.kinks[0] == pytest.approx(np.pi, rel=1e-15)
    exact = inf.gaussian_moment("relu", "relu", 1.1, 0.9, 0.95, -np.pi, -np.pi, orders=(1, 1))
    found = inf.gaussian_moment(corner, corner, 1.1, 0.9, 0.95, orders=(1, 1))
    assert found == pytest.approx(exact, rel=1e-9)


def test_a_kink_whose_place_is_not_known_is_in_the_bound():
    with pytest.warns(AccuracyWarning, match="integrals would be wrong"):
        corner = Activation.from_callable("corner", lambda x: np.abs(x - 0.7) + np.tanh(x))
    assert corner.kinks == ()
    found = NUMERIC.mean(corner, np.array([0.9]), np.array([0.3]), 0, 1e-10)
    exact = inf.gaussian_mean("abs", 0.9, -0.4) + inf.gaussian_mean("tanh", 0.9, 0.3)
    assert abs(found.value[0] - exact) <= found.error_bound[0]


def test_a_jump_in_the_table_is_in_the_bound():
    a = Activation("box", lambda x, out: np.copyto(out[0], (x > 0.7) + np.tanh(x)), max_order=0)
    for r in (0.5, 2.0):
        found = NUMERIC.mean(a, np.array([r]), np.array([0.3]), 0, 1e-10)
        from scipy.special import ndtr

        exact = ndtr(-0.4 / r) + inf.gaussian_mean("tanh", r, 0.3)
        assert abs(found.value[0] - exact) <= found.error_bound[0]


def test_growth_beyond_the_gaussian_is_refused():
    steep = Activation.from_callable("steep", lambda x: np.exp(x * x))
    with warnings.catch_warnings(), pytest.raises(InvalidValueError, match="grows too fast"):
        warnings.simplefilter("ignore", AccuracyWarning)
        inf.gaussian_moment(steep, "tanh", 1.0, 1.0, 0.2)


def test_nan_far_out_matters_to_wide_neurons_only():
    def f(x):
        return np.where(np.abs(x) > 50.0, np.nan, np.tanh(x))

    a = Activation.from_callable("short", f)
    near = inf.gaussian_moment(a, "relu", 1.0, 1.0, 0.4)
    assert near == pytest.approx(inf.gaussian_moment("tanh", "relu", 1.0, 1.0, 0.4), abs=1e-10)
    found = NUMERIC.mean(a, np.array([30.0]), np.array([0.0]), 0, 1e-10)
    assert not found.error_bound[0] < 1e-3


def test_dead_neurons_take_no_cubature():
    """Their moments leave the range of float64: 0 is as good as any method can say."""
    f = hard_tanh()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for r, b, orders in ((0.01, 8.0, (1, 1)), (0.02, -3.0, (2, 0)), (0.05, 5.0, (1, 3))):
            found = inf.gaussian_moment(f, f, r, 2.0, 0.999, b, 0.3, orders, full_output=True)
            assert found.method == "numeric"
            assert found.value == 0.0
            assert found.error_bound <= TINY


# -- networks --------------------------------------------------------------------------------------


def jets(f, g, method, points, order=2):
    """Jets of pairs of different neurons."""
    n = len(points.u)
    args = Arguments(
        np.stack(points[:6]),
        np.concatenate([points.C11, points.C22]),
        np.concatenate([points.b1, points.b2]),
    )
    evaluator = Choice([f] * n + [g] * n, np.arange(n), n + np.arange(n), method, 1e-8)
    return evaluator(args, order), evaluator


@pytest.mark.parametrize(
    "f,g", [("relu", "relu"), ("elu", "relu"), ("erf", "gelu"), ("abs", "tanh")]
)
def test_jets_in_the_frame_keep_their_digits(f, g):
    """Plain moments of order four grow like 1/s and cancel; jets must not notice."""
    s = np.array([0.5, 1e-2, 1e-4, 1e-6, 1e-8])
    n = len(s)
    points = Points.at(
        np.full(n, 1.3),
        np.full(n, 0.9),
        np.sqrt((1 - s) * (1 + s)),
        np.full(n, 0.4),
        np.full(n, 0.2769),
    )
    found, _ = jets(resolve(f), resolve(g), "numeric", points)
    exact, _ = jets(resolve(f), resolve(g), "closed", points)
    where = [COLUMNS.index(name) for name in COLUMNS if name not in ("F22", "F11")]
    np.testing.assert_allclose(found[:, where], exact[:, where], rtol=1e-11, atol=1e-11)
    size = 1 + np.abs(exact[:, [COLUMNS.index("F22")]])
    error = np.abs(found - exact)
    # F22 is the density itself: it moves with the rounding of b over s
    assert (error <= 1e-11 * size + 1e-14 * size / s[:, None]).all()


@pytest.mark.parametrize("name", ["relu", "elu", "tanh", "abs", "step", "leaky_relu"])
def test_a_neuron_with_itself(name):
    a = resolve(name)
    r = np.array([0.3, 1.0, 5.0])
    b = np.array([0.0, -0.7, 2.0])
    found, error, scale = square_derivatives(neurons(a, r, b))
    h = 0.02
    squares = [products(neurons(a, r, b + k * h))[0][:, 0, 0] for k in range(-2, 3)]
    slope = (squares[0] - 8 * squares[1] + 8 * squares[3] - squares[4]) / (12 * h)
    np.testing.assert_allclose(found[:, 0], squares[2], rtol=1e-14)
    np.testing.assert_allclose(found[:, 1], slope, rtol=2e-4, atol=1e-5)
    assert (error[:, :3] <= 1e-11 * scale[:, :3]).all()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs", "elu"])
@pytest.mark.parametrize("near", [False, True])
def test_a_network_of_callables_is_the_built_in_one(name, near):
    """Value, gradient and Hessian, also next to the teacher, and no pair takes cubature."""
    found = []
    for activation in (name, as_callables(name)):
        net = inf.Net([(3, activation, True), (1, "identity", True)], input_dim=3)
        star = inf.random_params(net, rng=1)
        star += 0.3 * np.random.default_rng(0).normal(size=star.size)
        theta = star + 1e-3 * np.random.default_rng(1).normal(size=star.size)
        if not near:
            theta = inf.random_params(net, rng=2)
        neti = inf.NetI(net, inf.Teacher(net, star))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.append(neti.evaluate(theta, order=2))
        assert "cubature" not in neti.explain(theta)
    one, other = found
    assert other.value == pytest.approx(one.value, rel=1e-9, abs=1e-15)
    np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-11 * np.abs(one.hessian).max())
    np.testing.assert_allclose(other.hessian, one.hessian, atol=1e-9 * np.abs(one.hessian).max())


@pytest.mark.parametrize("make", [hard_tanh, softsign, mish])
def test_gradient_and_hessian_are_derivatives_of_the_loss(make):
    net = inf.Net([(2, make(), True), (1, "identity", True)], input_dim=2)
    star = inf.random_params(net, rng=1)
    neti = inf.NetI(net, inf.Teacher(net, star))
    theta = inf.random_params(net, rng=2)
    direction = np.random.default_rng(0).normal(size=theta.size)
    h = 1e-4
    at = [neti.evaluate(theta + k * h * direction, order=1) for k in (-1, 1)]
    middle = neti.evaluate(theta, order=2)
    slope = (at[1].value - at[0].value) / (2 * h)
    assert slope == pytest.approx(middle.gradient @ direction, rel=1e-6)
    change = (at[1].gradient - at[0].gradient) / (2 * h)
    np.testing.assert_allclose(middle.hessian @ direction, change, rtol=1e-5, atol=1e-6)


def test_a_network_at_its_teacher():
    """Kinks coincide; the loss vanishes with its gradient and the Hessian is finite."""
    net = inf.Net([(3, hard_tanh(), True), (1, "identity", True)], input_dim=4)
    star = inf.random_params(net, rng=3)
    found = inf.NetI(net, inf.Teacher(net, star)).evaluate(star, order=2)
    assert abs(found.value) < 1e-14
    assert np.abs(found.gradient).max() < 1e-13
    assert np.isfinite(found.hessian).all()
    assert np.linalg.eigvalsh(found.hessian).min() > -1e-12


@pytest.mark.parametrize("distance", [1.0, 1e-3])
def test_a_network_of_a_function_without_derivatives(distance):
    """Derivatives are those of tables, with a warning; cubature would take a second a pair."""
    mish = Activation.from_callable("bare", lambda x: x * np.tanh(np.logaddexp(0.0, x)))
    found = []
    for activation in ("mish", mish):
        net = inf.Net([(1, activation, True), (1, "identity", True)], input_dim=2)
        star = inf.random_params(net, rng=0)
        neti = inf.NetI(net, inf.Teacher(net, star))
        theta = star + distance * np.random.default_rng(1).normal(size=star.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            found.append(neti.evaluate(theta, order=2))
            assert "cubature" not in str(neti.explain(theta))
    one, other = found
    assert other.value == pytest.approx(one.value, rel=1e-8)
    np.testing.assert_allclose(other.gradient, one.gradient, rtol=1e-7)
    np.testing.assert_allclose(other.hessian, one.hessian, atol=1e-7 * np.abs(one.hessian).max())


def test_values_without_derivatives_are_exact():
    """Coefficients that fall slowly on a wide piece are not taken for noise."""
    mish = Activation.from_callable("bare", lambda x: x * np.tanh(np.logaddexp(0.0, x)))
    found = inf.gaussian_mean(mish, 2.0, 0.0, method="numeric", full_output=True)
    assert abs(found.value - inf.gaussian_mean("mish", 2.0, 0.0)) <= found.error_bound <= 1e-12


def test_neurons_without_weights():
    """w = 0: constants, also on a kink of the function."""
    net = inf.Net([(2, as_callables("relu"), True), (1, "identity", False)], input_dim=2)
    same = inf.Net([(2, "relu", True), (1, "identity", False)], input_dim=2)
    star = inf.random_params(net, rng=0)
    for b in (0.7, -0.4):
        theta = net.pack(
            [(np.array([[0.0, 0.0], [1.0, -0.3]]), np.array([b, 0.2])), (np.ones((1, 2)), None)]
        )
        one, other = (
            inf.NetI(n, inf.Teacher(n, star)).evaluate(theta, order=1) for n in (net, same)
        )
        assert one.value == pytest.approx(other.value, rel=1e-13)
        np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-13)


def test_the_method_can_be_asked_for():
    net = inf.Net([(2, "tanh", True), (1, "identity", True)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, rng=0)), method="numeric")
    theta = inf.random_params(net, rng=1)
    exact = neti.replace(method="auto").evaluate(theta, order=2)
    found = neti.evaluate(theta, order=2)
    np.testing.assert_allclose(found.hessian, exact.hessian, atol=1e-11)
    assert "numeric" in neti.explain()
    assert "numeric" in METHODS
