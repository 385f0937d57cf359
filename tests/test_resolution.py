"""Rules that cannot see: strips of analyticity, sharp and oscillating neurons, and one loss at all
orders.
"""

from __future__ import annotations

import time
import warnings

import mpmath
import numpy as np
import pytest
import sympy

import infflow as inf
from infflow.activations import Activation, Strip, names, resolve
from infflow.errors import AccuracyWarning
from infflow.integrals import resolution
from infflow.integrals.choice import METHODS, Choice, candidates
from infflow.integrals.evaluator import Arguments, Points
from infflow.integrals.hermite import series as hermite
from infflow.integrals.registry import EVALUATORS, in_order

SMOOTH = [name for name in names() if hermite.is_defined(resolve(name))]
CLOSED = [name for name in SMOOTH if name != "exp" and EVALUATORS["closed"].defined(resolve(name))]
OWN = {
    "sin(x)**2": lambda h: np.sin(h) ** 2,
    "cos(3*x)": lambda h: np.cos(3 * h),
    "sin(x**2/4)": lambda h: np.sin(h * h / 4),
    "sin(x)*exp(-x**2/8)": lambda h: np.sin(h) * np.exp(-h * h / 8),
    "tanh(5*x)": lambda h: np.tanh(5 * h),
    "exp(-50*(x-1)**2)": lambda h: np.exp(-50 * (h - 1) ** 2),
    "sin(x)+tanh(x)": lambda h: np.sin(h) + np.tanh(h),
}


def growth(strip: Strip, y: float, order: int) -> float:
    """The factor that a row states."""
    found = np.exp(strip.rate * y + strip.curvature * y * y / 2) * (1 + y) ** strip.degree
    found *= (1 - y / strip.half_width) ** -(order + 1)
    return found * ((1 + y) ** order if strip.curvature else 1.0)


@pytest.mark.parametrize("name", SMOOTH)
def test_strips_are_true(name):
    """Derivatives of the expression at complex points against what the row states."""
    f = resolve(name)
    assert f.strip is not None
    x = sympy.Symbol("x", real=True)
    z = sympy.Symbol("z")
    top = 0.97 * f.strip.half_width if np.isfinite(f.strip.half_width) else 6.0
    places = np.array([-9.0, -4.0, -2.1, -1.0, -0.4, 0.0, 0.3, 0.8, 1.6, 2.5, 5.0, 9.0])
    near = places[:, None] + np.linspace(-1, 1, 41)
    for order in range(5):
        expression = sympy.diff(f.expression.subs(x, z), z, order)
        function = sympy.lambdify(z, expression, "mpmath")
        sizes = np.abs(f.derivative(near, order)).max(axis=1)
        for place, size in zip(places, sizes, strict=True):
            for y in top * np.array([0.1, 0.4, 0.7, 0.9, 1.0]):
                value = abs(function(mpmath.mpc(place, y)))
                assert value <= 4.0 * size * growth(f.strip, y, order) * (1 + 1e-9), (
                    order,
                    place,
                    y,
                )


def test_kinks_and_strips_exclude_each_other():
    for name in names():
        assert (resolve(name).strip is None) == bool(resolve(name).kinks)
    assert inf.polynomial([1.0, 0.0, 2.0]).strip == Strip(degree=2)
    assert Activation.from_sympy("own", "sin(x)").strip is None


@pytest.mark.parametrize("name", ["tanh", "softplus", "g", "gaussian", "gelu", "sin", "cube"])
def test_aliasing_is_a_bound(name):
    """Coefficients and moments of coarse rules against those of a fine one; all
    aliases, at all b.
    """
    f = resolve(name)
    rng = np.random.default_rng(1)
    fine = hermite.rule(11)
    for level in range(7):
        for r in 10.0 ** rng.uniform(-0.7, 0.8, 8):
            b = np.array([rng.uniform(-2, 2)])
            spacing = hermite._SPACINGS[level : level + 1]
            rated = resolution.aliasing(f.strip, np.array([r]), spacing, 24)[0]
            if (
                rated > 1.0
                or resolution.aliasing(f.strip, np.array([r]), hermite._SPACINGS[11:], 24)[0]
                > 1e-15
            ):
                continue
            by = hermite.rule(level)
            coarse, true = (
                np.add(*hermite._sums(f, np.array([r]), b, rule, 24, 5)[1:])[:, 0]
                for rule in (by, fine)
            )
            points = r * fine.nodes + b
            near = np.max(
                [np.abs(f.derivative(points + d, p)) for d in (-1, -0.5, 0, 0.5, 1) for p in [0]],
                axis=0,
            )
            sizes = [near] + [
                np.max([np.abs(f.derivative(points + d, p)) for d in (-1, -0.5, 0, 0.5, 1)], axis=0)
                for p in range(1, 5)
            ]
            for p in range(5):
                size = np.sqrt((fine.weights * sizes[p] ** 2).sum())
                assert np.linalg.norm(coarse[p] - true[p]) <= rated * size + 1e-13 * size, (
                    level,
                    r,
                    p,
                )


def dense(f, r, b, order=0):
    """E f^2 and E f by a rule of another spacing, at most 1/200 of the argument, or 1/30 where r is
    large.
    """
    count = int(min(2e6, max(40_001, 26.0 * r * (200 if r < 100.0 else 30))))
    spacing = 26.0 / count
    x = -13.0 + spacing * (np.arange(count) + 0.31)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * spacing
    return float((density * f(r * x + b) ** 2).sum()), float((density * f(r * x + b)).sum())


@pytest.mark.parametrize("expression", OWN)
def test_own_activations_up_to_ten_thousand(expression):
    """Energies and means by the series: a bound that is stated holds; what is not resolved is
    infinite.
    """
    own = Activation.from_sympy("own", expression)
    rng = np.random.default_rng(len(expression))
    resolved = 0
    for r in (0.3, 1.0, 3.0, 8.0, 20.0, 27.0, 55.85, 80.0, 137.0, 314.0, 1000.0, 1e4):
        for b in (0.0, float(rng.uniform(-1, 1)) * r, float(rng.normal())):
            square, mean = dense(OWN[expression], r, b)
            points = Points.at(*(np.array([x]) for x in (r, r, 1.0, b, b)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AccuracyWarning)
                pair = EVALUATORS["hermite"].moment(own, own, points, (0, 0), 1e-10)
                single = EVALUATORS["hermite"].mean(own, np.array([r]), np.array([b]), 0, 1e-10)
            assert abs(pair.value[0] - square) <= pair.error_bound[0] + 1e-13
            assert abs(single.value[0] - mean) <= single.error_bound[0] + 1e-13
            resolved += single.error_bound[0] <= 1e-10
    assert resolved >= 6  # it is no refusal of everything


@pytest.mark.parametrize("expression", OWN)
def test_own_activations_with_a_partner(expression):
    """E f(h1) cos(h2) is one integral over h1, since the mean of cos(h2) given h1 is elementary."""
    own = Activation.from_sympy("own", expression)
    rng = np.random.default_rng(len(expression))
    for k in range(16):
        r1 = 10.0 ** rng.uniform(-1, 4 if k % 2 else 1.3)
        r2 = 10.0 ** rng.uniform(-1, 1)
        u = rng.uniform(-1, 1)
        b1 = rng.normal() * (0, 1, r1)[k % 3]
        b2 = rng.normal()
        count = int(min(2e6, max(40_001, 26.0 * r1 * 400)))
        spacing = 26.0 / count
        x = -13.0 + spacing * (np.arange(count) + 0.77)
        density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * spacing
        given = np.exp(-r2 * r2 * (1 - u * u) / 2) * np.cos(b2 + r2 * u * x)
        exact = (density * OWN[expression](r1 * x + b1) * given).sum()
        points = Points.at(*(np.array([v]) for v in (r1, r2, u, b1, b2)))
        found = EVALUATORS["hermite"].moment(own, resolve("cos"), points, (0, 0), 1e-10)
        assert abs(found.value[0] - exact) <= found.error_bound[0] + 2e-13, (r1, r2, u, b1, b2)


@pytest.mark.parametrize("name", [n for n in SMOOTH if n != "exp"])
def test_registered_activations_up_to_ten_thousand(name):
    """Means and energies by the series against dense rules; bounds hold or are infinite."""
    f = resolve(name)
    rng = np.random.default_rng(names().index(name))
    for r in (0.3, 3.0, 20.0, 27.93, 80.0, 246.0, 900.0, 1e4):
        for b in (0.0, float(rng.uniform(-1, 1)) * r):
            square, mean = dense(f, r, b)
            points = Points.at(*(np.array([x]) for x in (r, r, 1.0, b, b)))
            pair = EVALUATORS["hermite"].moment(f, f, points, (0, 0), 1e-10)
            single = EVALUATORS["hermite"].mean(f, np.array([r]), np.array([b]), 0, 1e-10)
            assert abs(pair.value[0] - square) <= pair.error_bound[0] + 1e-13 * square
            assert abs(single.value[0] - mean) <= single.error_bound[0] + 1e-13 * np.sqrt(square)


@pytest.mark.parametrize("f", CLOSED)
def test_series_against_closed_forms(f):
    """Pairs with all others, r up to 1e4, u up to 1, far means: gaps stay within the bounds of
    both.
    """
    rng = np.random.default_rng([3, names().index(f)])
    n = 12
    for g in CLOSED:
        r1 = 10.0 ** rng.uniform(-2, (4, 1.6)[n % 2], n)
        r2 = 10.0 ** rng.uniform(-2, 1.3, n)
        u = rng.uniform(-1, 1, n)
        far = np.arange(n) % 3 == 0
        u[::5] = 1 - 10.0 ** rng.uniform(-8, -1)
        u[::7] = 1.0
        b1 = rng.normal(size=n) * np.where(far, r1, 1)
        b2 = rng.normal(size=n) * np.where(~far, 5 * r2, 1)
        for orders in ((0, 0), (1, 1), (0, 3)):
            found, exact = (
                EVALUATORS[method].moment(
                    resolve(f), resolve(g), Points.at(r1, r2, u, b1, b2), orders, 1e-10
                )
                for method in ("hermite", "closed")
            )
            assert (
                np.abs(found.value - exact.value) <= found.error_bound + exact.error_bound
            ).all(), (g, orders)


def test_an_alias_that_both_halves_share():
    """cos(3 x) where its frequency is a multiple of that of all nodes: the shifted rule sees it."""
    own = Activation.from_callable(
        "own",
        lambda x: np.cos(3 * x),
        [
            lambda x: -3 * np.sin(3 * x),
            lambda x: -9 * np.cos(3 * x),
            lambda x: 27 * np.sin(3 * x),
            lambda x: 81 * np.cos(3 * x),
        ],
    )
    for level in (2, 5, 8):
        for multiple in (1, 2, 3, 5, 8, 13):
            r = np.array([2 * np.pi * multiple / hermite._SPACINGS[level] / 3])
            found = hermite.expand(own, r, np.zeros(1), level, 24, 1)
            assert np.isinf(found.errors[0])
            assert abs(found.coefficients[0, 0, 0]) > 0.9  # aliased, where 0 is right


def test_the_length_on_which_a_function_varies():
    assert resolution.length(Activation.from_sympy("own", "cos(20*x)")) == pytest.approx(
        0.05, rel=0.01
    )
    assert resolution.length(Activation.from_sympy("own", "tanh(100*x)")) < 0.005
    assert (
        resolution.length(Activation.from_callable("own", np.ones_like, [np.zeros_like] * 4))
        == np.inf
    )


def test_a_series_that_is_refused_stays_one():
    """Frozen evaluators keep the method that was named, and say that its bound is infinite."""
    r = 1e3
    b = 300.0
    one = np.array([0])
    pair = Arguments(
        np.array([[r * r], [0.3 * r * r], [r * r], [b], [-b], [0.91 * r**4]]),
        np.full(2, r * r),
        np.array([b, -b]),
    )
    series = Choice([resolve("tanh")] * 2, one, one + 1, "hermite")
    with pytest.warns(AccuracyWarning, match="inf of the Gaussian integrals of tanh"):
        series(pair, 1)
    frozen = series.frozen(pair, 1e-12)
    assert list(frozen.methods) == ["hermite"]
    assert frozen.evaluate(pair, 2).bound[0] == np.inf
    found = [
        Choice([resolve("tanh")] * 2, one, one + 1, method)(pair, 2)
        for method in ("auto", "closed")
    ]
    np.testing.assert_allclose(*found, rtol=1e-12)
    net = inf.Net([(2, "tanh", True), (1, "identity", True)], input_dim=2)
    theta = 1e4 * inf.random_params(net, 1)
    assert "too sharp or oscillating" in inf.NetI(net, inf.Teacher(net, theta)).explain(2 * theta)


def test_explain_calls_estimates_so():
    own = Activation.from_sympy("own", "1/(1 + x**2)")
    for f, words in ((own, "the bound is an estimate"), ("tanh", "analytic activations")):
        net = inf.Net([(2, f, True), (1, "identity", True)], input_dim=3)
        theta = inf.random_params(net, 2)
        assert words in inf.NetI(net, inf.Teacher(net, inf.random_params(net, 1))).explain(theta)


# ------------------------------------------------------------------------------------------ one
# loss at all orders


@pytest.mark.parametrize("name", names())
def test_orders_agree_everywhere(name):
    """Value of orders 0, 1, 2 and inf.loss, at random, sharp, small, dead, coincident and near
    points.
    """
    net = inf.Net([(2, name, True), (1, "identity", True)], input_dim=2)
    star = inf.random_params(net, 3, init="standard_normal")
    rng = np.random.default_rng(names().index(name))
    points = []
    limit = 0.5 if name == "exp" else 1.0
    for scale in (1e-3, 1.0) if name == "exp" else (1e-3, 1.0, 30.0, 1e3, 1e4):
        theta = limit * inf.random_params(net, int(rng.integers(99)), init="standard_normal")
        theta[:6] *= scale
        points.append((star * limit, theta))
        sharp = star * limit
        sharp[:6] *= scale
        points.append((sharp, sharp * (1 + 1e-9 * rng.normal(size=len(star)))))
        points.append((sharp, sharp))
        points.append((sharp, theta))
    twin = limit * star.copy()
    twin[2:4], twin[5] = twin[:2], twin[4]
    dead = limit * star.copy()
    dead[4] = -8.0
    points += [(star * limit, twin), (star * limit, dead), (star * limit, 0.0 * star)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for teacher, theta in points:
            neti = inf.NetI(net, inf.Teacher(net, teacher))
            values = [neti.evaluate(theta, order).value for order in (0, 1)]
            try:
                values.append(neti.evaluate(theta, 2).value)
            except inf.SingularMomentError:
                assert resolve(name).kinks
            values.append(inf.loss(neti, theta))
            size = abs(inf.loss(neti, 0.0 * theta)) + abs(values[0])
            np.testing.assert_allclose(values, values[0], rtol=0.0, atol=1e-14 * size)


@pytest.mark.parametrize("name", ["g", "tanh", "silu"])
def test_orders_agree_where_series_and_mixtures_change_hands(name):
    """A series takes the place of a mixture at lower orders only where it is as accurate."""
    used = set()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        net = inf.Net([(3, name, True), (1, "identity", True)], input_dim=3)
        star, theta = (inf.random_params(net, rng, init="standard_normal") for _ in range(2))
        theta[:12] *= 10.0 ** rng.uniform(-1.0, 1.5)
        if seed % 3 == 0:  # nearly parallel neurons
            theta[3:6] = theta[:3] * (1.0 + 1e-3 * rng.normal(size=3))
        neti = inf.NetI(net, inf.Teacher(net, star))
        part = neti._components[0].loss
        values = []
        methods = []
        for order in (0, 1, 2):
            values.append(neti.evaluate(theta, order).value)
            methods.append(part.examined.jets.method.tolist())
            bounds = part.examined.jets.bound
            other = np.array(methods[-1]) != np.array(methods[0])
            assert (bounds[other] <= 1e-12).all()
            used.update(methods[-1])
        terms = part.value(neti._states(theta, 0)[0])[1]
        np.testing.assert_allclose(values, values[0], rtol=0.0, atol=1e-14 * terms)
    assert {METHODS.index("hermite"), METHODS.index("mixture")} <= used


@pytest.mark.parametrize(
    ("name", "scale"), [("tanh", 1e3), ("softplus", 1.0), ("gaussian", 300.0), ("cos", 40.0)]
)
def test_result_and_loss_agree(name, scale):
    net = inf.Net([(2, name, True), (1, "identity", True)], input_dim=2)
    star = inf.random_params(net, 1, init="standard_normal")
    star[:6] *= scale
    neti = inf.NetI(net, inf.Teacher(net, star))
    found = inf.train(
        neti,
        inf.random_params(net, 2),
        progress=False,
        max_steps_flow=60,
        max_steps_newton=10,
        max_time_flow=6,
    )
    values = [
        inf.loss(neti, found.theta),
        *(neti.evaluate(found.theta, k).value for k in (0, 1, 2)),
    ]
    size = inf.loss(neti, 0.0 * found.theta)
    np.testing.assert_allclose(values, found.loss, rtol=1e-10, atol=1e-14 * size)


# --------------------------------------------------------------------------------------------------
# order of trial


def test_one_order_for_moments_and_networks():
    """The networks' candidates are the single moments', with the closed form under its name of
    cost.
    """
    labels = {"mixture": "closed", "one-sided": "closed"}
    for f in names():
        for g in names():
            pair = resolve(f), resolve(g)
            found = tuple(labels.get(name, name) for name in candidates(*pair))
            order = in_order(*pair)
            assert inf.available_methods(f, g)[: len(order)] == order
            assert order[: len(found)] == found
            assert order[-1] == "cubature"


def test_moments_take_what_networks_take():
    for f, g in (
        ("tanh", "tanh"),
        ("softplus", "gelu"),
        ("sin", "relu"),
        ("cos", "tanh"),
        ("elu", "erf"),
        ("gelu", "erf"),
    ):
        first, second = (
            inf.Net([(1, x, False), (1, "identity", False)], input_dim=2) for x in (f, g)
        )
        net = inf.NetI(first, inf.Teacher(second, [0.4, 0.5, 1.0]))
        net.evaluate(np.array([0.8, -0.3, 1.0]), 0)
        found = inf.gaussian_moment(f, g, 0.85, 0.64, 0.3, full_output=True)
        line = next(
            line for line in net.explain().splitlines() if " x ".join(sorted((f, g))) in line
        )
        assert found.method in line or (found.method == "closed" and "mixture" in line)


def test_a_kernel_matrix_expands_each_neuron_once(monkeypatch):
    """Values are those of the pairs one by one, and the work is that of the neurons."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6))
    K = X @ X.T / 6
    r = np.sqrt(np.diag(K))
    u = np.clip(K / np.outer(r, r), -1, 1)
    counted = []
    plain = hermite.expand

    def expand(activation, r, b, *rest):
        counted.append(len(r))
        return plain(activation, r, b, *rest)

    monkeypatch.setattr(hermite, "expand", expand)
    start = time.perf_counter()
    found = inf.gaussian_moment(
        "tanh", "softplus", r[:, None], r[None, :], u, b2=0.3, method="hermite"
    )
    elapsed = time.perf_counter() - start
    assert sum(counted) <= 40 * 2 * 6  # some levels each
    assert elapsed < 5.0
    for i, j in rng.integers(0, 40, size=(20, 2)):
        one = inf.gaussian_moment("tanh", "softplus", r[i], r[j], u[i, j], b2=0.3, method="closed")
        assert found[i, j] == pytest.approx(one, abs=1e-10)


def test_many_different_neurons_in_chunks(monkeypatch):
    from infflow.integrals.hermite import evaluator as methods

    rng = np.random.default_rng(0)
    arguments = rng.uniform(0.2, 2, 50), rng.uniform(0.2, 2, 50), rng.uniform(-0.9, 0.9, 50)
    whole = inf.gaussian_moment("tanh", "gelu", *arguments, method="hermite")
    monkeypatch.setattr(methods, "_NEURONS", 20)
    monkeypatch.setattr(methods, "_POINTS", 7)
    np.testing.assert_allclose(
        inf.gaussian_moment("tanh", "gelu", *arguments, method="hermite"), whole, atol=1e-10
    )
