"""Mixtures: sigmoid, tanh, softplus, silu and g as sums of smoothed ramps,
uniformly in r, u and b.
"""

from __future__ import annotations

import itertools
import warnings

import mpmath
import numpy as np
import pytest
from scipy import special

import infflow as inf
from infflow.activations import Activation, Atom, logistic_mixture, resolve
from infflow.errors import AccuracyWarning, MethodError
from infflow.integrals import jets
from infflow.integrals.closed import pairs as closed
from infflow.integrals.evaluator import Points
from infflow.integrals.registry import EVALUATORS

MIXTURES = ("sigmoid", "tanh", "softplus", "silu", "g")
PARTNERS = (*MIXTURES, "relu", "step", "erf", "gelu", "gaussian")
ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]


# -- the rule --------------------------------------------------------------------------------------


def mixture_derivative(order, x, widths, weights):
    """Derivative of sum_k weights_k Phi(x / widths_k) with mpmath."""
    total = mpmath.mpf(0)
    for s, w in zip(widths, weights, strict=True):
        z = x / mpmath.mpf(float(s))
        hermite = (
            mpmath.hermite(order - 1, z / mpmath.sqrt(2)) / mpmath.sqrt(2) ** (order - 1)
            if order
            else 0
        )
        term = (
            mpmath.ncdf(z)
            if order == 0
            else mpmath.npdf(z) * hermite * (-1) ** (order - 1) / mpmath.mpf(float(s)) ** order
        )
        total += mpmath.mpf(float(w)) * term
    return total


def sigmoid_derivative(order, x):
    t = 1 / (1 + mpmath.exp(-x))
    polynomials = [t, t * (1 - t), t * (1 - t) * (1 - 2 * t), t * (1 - t) * (1 - 6 * t + 6 * t**2)]
    return [*polynomials, t * (1 - t) * (1 - 2 * t) * (1 - 12 * t + 12 * t**2)][order]


@pytest.mark.parametrize("order", range(5))
def test_rule_is_the_logistic_distribution(order):
    with mpmath.workdps(30):
        for x in (0.0, -0.3, -1.0, -2.5, -5.0, -10.0, -15.0, -20.0):
            error = mixture_derivative(
                order, mpmath.mpf(x), *logistic_mixture.nodes()
            ) - sigmoid_derivative(order, mpmath.mpf(x))
            bound = logistic_mixture.relative_error(order, np.array(x), 0.0) * np.exp(-abs(x))
            assert abs(error) <= bound * [1, 1, 1, 2, 8][order], (
                x
            )  # 8: sup of |f''''| and its like over exp(-|x|)
            assert abs(error) < 1e-12 * np.exp(-abs(x)) or abs(x) > 12


@pytest.mark.parametrize("order", range(5))
def test_root_mean_squares_of_the_error_of_the_rule(order):
    """Where the error no longer falls with |x|, but sigmoid does: over narrow and wide neurons."""
    x = np.arange(0.0, 50.1, 0.5)
    with mpmath.workdps(40):
        rule = logistic_mixture.nodes()
        found = [mixture_derivative(order, mpmath.mpf(-t), *rule) for t in x]
        error = np.array(
            [
                float(e - sigmoid_derivative(order, mpmath.mpf(-t)))
                for e, t in zip(found, x, strict=True)
            ]
        )
    both = np.concatenate([-x[:0:-1], x])
    square = np.concatenate([error[:0:-1], error]) ** 2
    for mean, deviation in itertools.product(
        (0.0, -8.0, -13.0, -20.0, -37.0), (0.5, 1.0, 4.0, 9.0)
    ):
        weight = np.exp(-0.5 * ((both - mean) / deviation) ** 2)
        weight /= weight.sum()
        size = np.sqrt(weight @ np.exp(-2.0 * np.abs(both)))
        bound = logistic_mixture.relative_error(order, np.array(mean), np.array(deviation))
        assert np.sqrt(weight @ square) <= bound * size


NARROW = np.polynomial.legendre.leggauss(60)


def mean_given(name, b, u, x):
    """E[g(h2) | x] for h2 = b + u x + sqrt(1 - u^2) z."""
    m = b + u * x
    v = 1.0 - u * u
    if name == "relu":
        density = np.exp(-0.5 * m * m / v) / np.sqrt(2.0 * np.pi)
        return m * special.ndtr(m / np.sqrt(v)) + np.sqrt(v) * density
    return special.ndtr(m / np.sqrt(v + (name == "normal_cdf")))


def exact_with_partner(f, p, r, u, b1, name, b2):
    """E[f^(p)(h1) g(h2)] and E|f^(p)(h1) g(h2)| by Gauss's rule, h2 of variance 1."""
    ends = np.linspace(-12.0, 12.0, 49)
    x = (ends[:-1, None] + 0.25 * (NARROW[0] + 1.0)).ravel()
    w = np.tile(0.25 * NARROW[1], 48) * np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    jet = np.empty((5, x.size))
    f.jet(b1 + r * x, jet)
    terms = w * jet[p] * mean_given(name, b2, u, x)
    return terms.sum(), np.abs(terms).sum()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "silu", "g", "log_cosh"])
def test_bounds_in_tails(name):
    """Including b = -6.5, r = 0.05, order 3 of tanh against relu, where a bound was too small."""
    rng = np.random.default_rng(3)
    f = resolve(name)
    closed_forms = EVALUATORS["closed"]
    for partner in ("relu", "step", "normal_cdf"):
        n = 24
        r = 10 ** rng.uniform(-1.5, 0.7, n)
        b1 = -rng.uniform(2.0, 22.0, n) * (0.5 if name in ("tanh", "log_cosh") else 1.0)
        u = rng.uniform(-0.99, 0.99, n)
        b2 = rng.uniform(-3.0, 6.0, n)
        r[0], b1[0], u[0], b2[0] = 0.05, -6.5, 0.3, 4.0
        points = Points.at(r, np.ones(n), u, b1, b2)
        for p in range(5):
            found = closed_forms.moment(f, resolve(partner), points, (p, 0), 1e-10)
            for k in range(n):
                exact, size = exact_with_partner(f, p, r[k], u[k], b1[k], partner, b2[k])
                error = abs(found.value[k] - exact)
                assert error <= found.error_bound[k] + 3e-15 * size, (partner, p, k)
        assert (found.error_bound <= 1e-10 * found.scale)[np.abs(b1) < 8.0].all()


def test_rule_is_small_and_positive():
    widths, weights = logistic_mixture.nodes()
    assert widths.size == 32
    assert (np.diff(widths) > 0).all() and (weights > 0).all()
    assert abs(weights.sum() - 1) < 4e-16
    k = np.linspace(0.2, 4, 2001)
    density = logistic_mixture.kolmogorov_density(k)
    assert np.trapezoid(density, k) == pytest.approx(
        1, abs=1e-6
    )  # trapezoidal in k, truncated at 0.2
    np.testing.assert_allclose(
        density, np.gradient(special.kolmogorov(k), k, edge_order=2) * -1, atol=2e-4
    )  # second differences of spacing 2e-3
    assert (
        len({a.width for a in resolve("g").atoms}) == 45
    )  # sigmoid(4x) shares 19 widths with softplus


# -- sums of atoms, one pair at a time: the slow twin ----------------------------------------------


def single_atoms(activation):
    """The activation as a list of activations of one atom each; steps stay centred."""
    centred = closed.is_centred(activation)
    parts = [] if centred or not activation.polynomial else [inf.polynomial(activation.polynomial)]
    for atom in activation.atoms:
        constant = (-0.5 * atom.weight,) if centred else ()
        parts.append(Activation("part", lambda x, out: None, polynomial=constant, atoms=[atom]))
    return parts


@pytest.mark.parametrize(("f", "g"), list(itertools.product(PARTNERS, MIXTURES)))
def test_equals_sum_over_pairs_of_atoms(f, g):
    rng = np.random.default_rng([PARTNERS.index(f), MIXTURES.index(g)])
    n = 4
    r1, r2 = 10 ** rng.uniform(-0.5, 1.3, (2, n))
    u = rng.uniform(-1, 1, n)
    b1 = rng.normal(size=n)
    b2 = rng.normal(size=n)
    u[1] = 1 - 1e-6
    b1[2] = 0.0
    b2[2] = 0.0
    args = (r1**2, r1 * r2 * u, r2**2, b1, b2, (r1 * r2) ** 2 * (1 - u) * (1 + u))
    parts1 = single_atoms(resolve(f))
    parts2 = single_atoms(resolve(g))
    table = closed.AtomTable([*parts1, *parts2, resolve(f), resolve(g)])
    i, j = (k.ravel() for k in np.indices((len(parts1), len(parts2))))
    wide = [np.tile(a, i.size) for a in args]
    twin = closed.pair_jets(
        table, np.repeat(i, n), np.repeat(j + len(parts1), n), np.array(wide), 2
    ).reshape(i.size, n, 21)
    last = np.full(n, len(parts1) + len(parts2))
    for first, second, exchange in ((last, last + 1, False), (last + 1, last, True)):
        swapped = [args[k] for k in (2, 1, 0, 4, 3, 5)] if exchange else args
        for order, size in enumerate(jets.SIZES):
            fast = closed.pair_jets(table, first, second, np.array(swapped), order)
            expected = twin.sum(0)[:, list(jets.EXCHANGE)] if exchange else twin.sum(0)
            terms = np.abs(twin).sum(0)[:, list(jets.EXCHANGE)] if exchange else np.abs(twin).sum(0)
            # by plain derivatives: those of the frame lose a factor r^2
            tolerance = 1e-13 * terms[:, :size] + (1e-15 * 20**2 if order == 2 else 1e-16)
            assert (np.abs(fast - expected[:, :size]) <= tolerance).all()


# -- uniform accuracy ------------------------------------------------------------------------------


def sigmoid_jet(x):
    t = special.expit(x)
    m = special.expit(-x)
    d = t * m
    return np.array([t, d, d * (m - t), d * (1 - 6 * d), d * (m - t) * (1 - 12 * d)])


def jet(name, x):
    """Value and four derivatives, written independently of infflow."""
    if name == "sigmoid":
        return sigmoid_jet(x)
    if name == "tanh":
        scaled = 2 * sigmoid_jet(2 * x) * 2.0 ** np.arange(5)[:, None].reshape(-1, *[1] * x.ndim)
        scaled[0] = np.tanh(x)
        return scaled
    s = sigmoid_jet(x)
    softplus = np.array([np.logaddexp(0, x), *s[:4]])
    if name == "softplus":
        return softplus
    if name == "silu":
        return np.array([x * s[0], *(x * s[k] + k * s[k - 1] for k in range(1, 5))])
    return softplus + sigmoid_jet(4 * x) * 4.0 ** np.arange(5).reshape(-1, *[1] * x.ndim)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
STEPS = np.concatenate([[0], *([2.0**k, -(2.0**k)] for k in range(-2, 8))])


def panels(features):
    """Standard normal nodes and weights on panels graded towards features (place, width) of shape
    (..., 1).
    """
    edges = [np.broadcast_to(np.linspace(-12, 12, 13), (*features[0][0].shape[:-1], 13))]
    edges += [place + width * STEPS for place, width in features]
    grid = np.sort(np.clip(np.concatenate(edges, -1), -12, 12), axis=-1)
    middle = (grid[..., 1:] + grid[..., :-1]) / 2
    half = np.diff(grid, axis=-1) / 2
    x = (middle[..., None] + half[..., None] * NODES).reshape(*grid.shape[:-1], -1)
    w = (half[..., None] * WEIGHTS).reshape(x.shape)
    return x, w * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def reference(f, g, r1, r2, u, b1, b2):
    """All E[f^(p) g^(q)] and the scales sqrt(E f^(p)^2), sqrt(E g^(q)^2)."""
    s = r2 * np.sqrt((1 - u) * (1 + u))
    features = [(np.array([-b1 / r1]), 1 / r1)]
    if abs(r2 * u) > 1e-3:
        features.append((np.array([-b2 / (r2 * u)]), max(1.0, s) / abs(r2 * u)))
    x, w = panels(features)
    outer = jet(f, b1 + r1 * x)
    mean = b2 + r2 * u * x
    if s < 1e-9:
        inner = jet(g, mean)
    else:
        z, wz = panels([(-mean[:, None] / s, 1 / s)])
        inner = (jet(g, mean[:, None] + s * z) * wz).sum(-1)
    scales = []
    for name, r, b in ((f, r1, b1), (g, r2, b2)):
        y, wy = panels([(np.array([-b / r]), 1 / r)])
        scales.append(np.sqrt((jet(name, b + r * y) ** 2 * wy).sum(-1)))
    return np.einsum("px,qx,x->pq", outer, inner, w), *scales


POINTS = [  # r1, r2, u, b1, b2
    (0.05, 0.05, 0.7, -10.0, -10.0),
    (0.05, 0.03, 1.0, -10.0, 0.5),
    (0.3, 2.0, -1.0, 10.0, -10.0),
    (1.0, 1.0, 0.9999, 0.0, 0.0),
    (1.0, 1.2, -0.6, -4.0, 1.0),
    (3.0, 0.5, 0.95, -10.0, -3.0),
    (10.0, 20.0, 0.999, 3.0, -10.0),
    (100.0, 100.0, 0.99999, 10.0, 10.0),
    (100.0, 100.0, 1.0, -10.0, 10.0),
    (100.0, 0.1, -0.3, 0.0, -10.0),
    (100.0, 60.0, -1.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("f", "g"), list(itertools.combinations_with_replacement(MIXTURES, 2)))
def test_uniformly_accurate(f, g):
    table = closed.AtomTable([resolve(f), resolve(g)])
    index = np.array([0])
    for r1, r2, u, b1, b2 in POINTS:
        expected, scale1, scale2 = reference(f, g, r1, r2, u, b1, b2)
        det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
        args = [np.array([v]) for v in (r1**2, r1 * r2 * u, r2**2, b1, b2, det)]
        for p, q in ORDERS:
            value = closed.pair_moments(table, index, index + 1, np.array(args), p, q)[0]
            # derivatives of tanh at b = -10 are 1e-8 of tanh there: the rule sees sigmoid at -20,
            # 1e-10 relative to those
            floor = 1e-17 * max(1.0, scale1[p], scale2[q]) if "tanh" in (f, g) else 0.0
            assert abs(value - expected[p, q]) <= 1e-12 * scale1[p] * scale2[q] + floor, (
                r1,
                r2,
                u,
                b1,
                b2,
                p,
                q,
            )


def test_error_bound():
    for f, g in (("sigmoid", "softplus"), ("tanh", "tanh"), ("tanh", "silu"), ("g", "sigmoid")):
        for point in POINTS[::2]:
            expected, _, _ = reference(f, g, *point)
            for p, q in ((0, 0), (3, 1), (0, 4)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", AccuracyWarning)
                    result = inf.gaussian_moment(
                        f, g, *point, orders=(p, q), method="closed", full_output=True
                    )
                assert abs(result.value - expected[p, q]) <= result.error_bound + 1e-14 * abs(
                    expected[p, q]
                ), (
                    f,
                    g,
                    point,
                    p,
                    q,
                )


def test_constant_neurons():
    for f, g in itertools.product(("relu", "step", "tanh"), MIXTURES):
        value = inf.gaussian_moment(f, g, 0.0, 1.3, 0.0, 0.7, -0.2, method="closed")
        assert value == pytest.approx(
            float(resolve(f)(0.7)) * inf.gaussian_mean(g, 1.3, -0.2), rel=1e-13
        )
        both = inf.gaussian_moment(f, g, 0.0, 0.0, 0.0, 0.7, -0.2, method="closed")
        assert both == pytest.approx(float(resolve(f)(0.7) * resolve(g)(-0.2)), rel=1e-13)


def test_odd_mixtures_keep_small_values():
    """E tanh tanh of small weights is C12 (1 + O(r^2)); its digits are relative to itself."""
    r = 1e-6
    assert inf.gaussian_moment("tanh", "tanh", r, r, 0.25, method="closed") == pytest.approx(
        0.25 * r * r, rel=1e-11
    )


# -- networks --------------------------------------------------------------------------------------


def make(f, g):
    student = inf.Net([(3, f, True), (1, "identity", True)], input_dim=4)
    teacher = inf.Net([(2, g, True), (1, "identity", True)], input_dim=4)
    teacher = inf.Teacher(teacher, inf.random_params(teacher, 1, init="standard_normal"))
    net = inf.NetI(student, teacher, method="closed")
    return net, inf.random_params(net, 2, init="standard_normal")


@pytest.mark.parametrize(
    ("f", "g"), [("tanh", "tanh"), ("softplus", "relu"), ("silu", "g"), ("sigmoid", "erf")]
)
def test_network_derivatives(f, g):
    net, theta = make(f, g)
    found = net.evaluate(theta, 2)
    h = 1e-3
    steps = np.eye(theta.size) * h
    for order, exact in ((0, found.gradient), (1, found.hessian)):
        value = (
            (lambda t: net.evaluate(t, 0).value)
            if order == 0
            else (lambda t: net.evaluate(t, 1).gradient)
        )
        differences = [
            (
                8 * (value(theta + e) - value(theta - e))
                - (value(theta + 2 * e) - value(theta - 2 * e))
            )
            / (12 * h)
            for e in steps
        ]
        np.testing.assert_allclose(
            exact, differences, rtol=1e-8, atol=1e-9
        )  # truncation h^4 = 1e-12, rounding 1e-12


@pytest.mark.parametrize("f", MIXTURES)
def test_network_at_its_teacher(f):
    net = inf.Net([(3, f, True), (1, "identity", True)], input_dim=4)
    theta = inf.random_params(net, 5, init="standard_normal")
    neti = inf.NetI(net, inf.Teacher(net, theta), method="closed")
    found = neti.evaluate(theta, 1)
    assert found.value < 1e-28
    assert np.abs(found.gradient).max() < 1e-14


def test_no_expression():
    with pytest.raises(
        MethodError, match=r"'tanh' is a finite mixture of 32 .* evaluated numerically"
    ):
        inf.closed_form("tanh")


def test_atoms_are_data():
    """A sum of smoothed ramps is a mixture from the moment its atoms are listed."""
    atoms = [Atom(0.1, 0, 0.5 + 0.25 * k) for k in range(9)]
    sums = Activation("sum", lambda x, out: None, atoms=atoms)
    value = sum(
        closed.pair_moments(
            closed.AtomTable([Activation("one", lambda x, out: None, atoms=[a]), resolve("relu")]),
            *(np.array([k]) for k in (0, 1)),
            np.array([[1.1], [0.4], [0.9], [0.3], [-0.2], [1.1 * 0.9 - 0.16]]),
            0,
            0,
        )[0]
        for a in atoms
    )
    table = closed.AtomTable([sums, resolve("relu")])
    args = np.array([[1.1], [0.4], [0.9], [0.3], [-0.2], [1.1 * 0.9 - 0.16]])
    assert closed.pair_moments(table, np.array([0]), np.array([1]), args, 0, 0)[0] == pytest.approx(
        value, rel=1e-14
    )
