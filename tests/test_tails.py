"""Moments where kinks lie in the tail of the Gaussian: values keep their digits, and stated bounds
are true.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

pytest.importorskip("flint")
import arb_reference as reference
from flint import arb

import infflow as inf
from infflow.activations import resolve
from infflow.integrals import jets
from infflow.integrals.closed import error_bounds as rounding
from infflow.integrals.closed import pairs as closed
from infflow.integrals.evaluator import Points
from infflow.integrals.registry import EVALUATORS

CLOSED = EVALUATORS["closed"]
ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]
NAMES = tuple(reference.ACTIVATIONS)


@pytest.fixture(autouse=True)
def precise():
    """The precision of flint is global, and tests come in any order."""
    with reference.ctx.workprec(reference.PRECISION):
        yield


def tail_points(rng, n, farthest=12.0):
    """(r1, r2, u, b1, b2): kinks up to ``farthest`` standard deviations out, some nearly parallel,
    some with equal kinks.
    """
    r = 10 ** rng.uniform(-1.5, 1.0, (2, n))
    b = rng.uniform(-farthest, farthest, (2, n)) * r
    u = np.where(rng.random(n) < 0.4, rng.uniform(-1, 1, n), 1 - 10 ** rng.uniform(-10, -1, n))
    u *= rng.choice([-1, 1], n)
    same = rng.random(n) < 0.3
    b[1, same] = (
        np.sign(u) * b[0] / r[0] * r[1] * (1 + rng.choice([0, 1e-4, 1e-2], n) * rng.normal(size=n))
    )[same]
    return Points.at(*r, u, *b)


def of_rows(points, rows):
    return Points(*(x[rows] for x in points))


# -- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_bounds_of_all_pairs_and_orders(seed):
    """5 x 4,320 moments of all kinked and smooth pairs of few atoms; no bound is below
    the error.
    """
    rng = np.random.default_rng(seed)
    points = tail_points(rng, 100)
    exact = [reference.Point(*point) for point in zip(*points.scales, strict=True)]
    useful = 0
    count = 0
    for f, g in itertools.product(NAMES, NAMES):
        for orders in ORDERS:
            rows = rng.choice(100, 2, replace=False)
            found = CLOSED.moment(resolve(f), resolve(g), of_rows(points, rows), orders, 1e-10)
            for row, value, bound, scale in zip(
                rows, found.value, found.error_bound, found.scale, strict=True
            ):
                error = abs(value - exact[row].moment(f, g, *orders))
                assert error <= bound + 1e-290, (f, g, orders, [x[row] for x in points.scales])
                useful += bound <= 1e-10 * max(scale, abs(value))
                count += 1
    assert count == 4320 and useful > 0.99 * count


@pytest.mark.parametrize("name", NAMES)
def test_bounds_of_means(name):
    rng = np.random.default_rng(NAMES.index(name))
    r = 10 ** rng.uniform(-1.5, 1.0, 60)
    b = r * rng.uniform(-12, 12, 60)
    polynomial, atoms = reference.ACTIVATIONS[name]
    for order in range(5):
        found = CLOSED.mean(resolve(name), r, b, order, 1e-10)
        for k in range(60):
            C = arb(r[k]) ** 2
            mean = arb(b[k])
            exact = reference._polynomial_mean(polynomial, order, mean, C)
            for w, own, t in atoms:
                exact += arb(w) * reference._atom_mean(own + order, mean, C + t)
            assert abs(found.value[k] - exact) <= found.error_bound[k] + 1e-290, (order, r[k], b[k])


@pytest.mark.parametrize("distance", [-12.0, -9.0, -5.0, -4.5, -3.0, 0.0, 3.0, 9.0])
@pytest.mark.parametrize("r", [1.0, 0.37])
def test_a_neuron_with_itself(distance, r):
    """E relu^2 is what rtol is relative to."""
    b = distance * r
    C = arb(r) ** 2
    mean = arb(b)
    step = reference.probability(mean / arb(r))
    density = reference.density(mean / arb(r)) / arb(r)
    exact = {
        (0, 0): (mean**2 + C) * step + mean * C * density,
        (1, 0): mean * step + C * density,
        (1, 1): step,
    }
    for orders, value in exact.items():
        for u in (1.0, 1 - 2.0**-53):
            found = inf.gaussian_moment(
                "relu", "relu", r, r, u, b1=b, b2=b, orders=orders, full_output=True
            )
            assert found.method == "closed"
            assert abs(found.value - value) <= found.error_bound + 1e-6 * (u != 1.0) * abs(value)
            assert found.error_bound <= 1e-10 * abs(value)


def test_positive_functions_have_positive_means():
    rng = np.random.default_rng(7)
    points = tail_points(rng, 5000, 9.0)
    for f, g in itertools.product(("relu", "step", "normal_cdf", "gaussian"), repeat=2):
        assert (CLOSED.moment(resolve(f), resolve(g), points, (0, 0), 1e-10).value >= 0).all()


# -- partners that are no sums of few atoms --------------------------------------------------------

_X, _W = np.polynomial.legendre.leggauss(40)


def panels(edges):
    half = np.diff(edges) / 2
    middle = (edges[1:] + edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * _X).ravel(), (half[:, None] * _W).ravel()


def smooth_mean(name, q, m, s):
    """E g^(q)(m + s z) by Gauss-Legendre panels."""
    f = resolve(name)
    z, w = panels(np.linspace(-9.5, 9.5, max(39, int(19 * s) + 2)))
    h = m[:, None] + s * z
    return (f.derivative(h, q) if q else f(h)) @ (w * np.exp(-z * z / 2) / np.sqrt(2 * np.pi))


def elu_mean(name, q, m, s):
    """E elu^(q)(m + s z), q <= 2."""
    z = m / s
    below = np.exp(m + s * s / 2 + log_ndtr(-(z + s)))
    ramp = m * ndtr(z) + s * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return (ramp + below - ndtr(-z), ndtr(z) + below, below)[q]


def with_ramp(mean, name, p, q, r1, r2, u, b1, b2):
    """E[relu^(p)(h1) g^(q)(h2)], p <= 2: over h1 > 0, or at the kink."""
    s = r2 * np.sqrt((1 - u) * (1 + u))
    slope = r2 * u
    h = b1 / r1
    if p == 2:
        return (
            np.exp(-h * h / 2)
            / np.sqrt(2 * np.pi)
            / r1
            * mean(name, q, np.array([b2 - slope * h]), s)[0]
        )
    end = 1000 / (abs(h) + np.sqrt(h * h + 1000)) if h < 0 else h + 32
    place = h - b2 / slope
    edges = np.linspace(-20, 20, 41)
    edges = np.concatenate(
        [end * 0.5 ** np.arange(6), np.linspace(0, end, 20), place + edges / slope / 2]
    )
    edges = np.append(edges, place + np.linspace(-20, 20, 41) * s / slope / 2)
    t, w = panels(np.unique(edges[(edges >= 0) & (edges <= end)]))
    w = w * np.exp(-((t - h) ** 2) / 2) / np.sqrt(2 * np.pi)
    return float(np.sum(w * (r1 * t if p == 0 else 1) * mean(name, q, b2 + slope * (t - h), s)))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "silu", "elu"])
def test_mixtures_and_elu_with_a_dead_ramp(name):
    """Also relative to the value, where the partner is alive."""
    rng = np.random.default_rng(11)
    mean = elu_mean if name == "elu" else smooth_mean
    for case in range(60):
        r1, r2 = 10 ** rng.uniform(-1, 0.5, 2)
        b1 = r1 * rng.uniform(-10, -4)
        b2 = r2 * rng.uniform(-3, 3)
        u = rng.choice([-1, 1]) * rng.choice(
            [rng.uniform(0.05, 0.95), 1 - 10 ** rng.uniform(-4, -1)]
        )
        orders = ((0, 0), (1, 0), (2, 0), (1, 1))[case % 4]
        exact = with_ramp(mean, name, *orders, r1, r2, u, b1, b2)
        points = Points.at(*(np.array([x]) for x in (r1, r2, u, b1, b2)))
        found = CLOSED.moment(resolve("relu"), resolve(name), points, orders, 1e-10)
        error = abs(found.value[0] - exact)
        assert error <= found.error_bound[0] + 1e-12 * abs(exact), (orders, r1, r2, u, b1, b2)
        if abs(b2 + r2 * u * abs(b1) / r1) < 3.0:  # the partner at the kink of the ramp
            assert error <= 1e-8 * abs(exact), (orders, r1, r2, u, b1, b2)


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("g", ["relu", "abs", "erf", "gelu", "step", "square"])
def test_jets_of_dead_neurons(g):
    """All columns, in the frame of ``jets.py``, relative to the terms that they are made of."""
    rng = np.random.default_rng(NAMES.index(g))
    table = closed.AtomTable([resolve("relu"), resolve(g)])
    one = np.ones(1, dtype=np.int64)
    slots = {
        "J00": (0, 0), "J20": (2, 0), "J11": (1, 1), "J02": (0, 2), "J10": (1, 0), "J01": (0, 1),
        "M30": (3, 0), "M21": (2, 1), "M12": (1, 2), "M03": (0, 3), "F22": (2, 2),
    }  # fmt: skip
    for _ in range(12):
        r1, r2 = 10 ** rng.uniform(-1, 0.5, 2)
        b1 = r1 * rng.uniform(-11, -5)
        b2 = r2 * rng.uniform(-11, 3)
        u = rng.uniform(-0.95, 0.95)
        point = reference.Point(r1, r2, u, b1, b2)
        C = [r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, (r1 * r2) ** 2 * (1 - u) * (1 + u)]
        jet = closed.pair_jets(table, 0 * one, one, np.array(C)[:, None], 2)[0]
        c1 = point.C12 / point.C11
        c2 = point.C12 / point.C22
        for column, orders in slots.items():
            exact = point.moment("relu", g, *orders)
            assert abs(jet[jets.COLUMNS.index(column)] - exact) <= 1e-9 * abs(exact) + 1e-290, (
                column
            )
        I40, I31, I22, I13, I04 = (point.moment("relu", g, p, 4 - p) for p in (4, 3, 2, 1, 0))
        for column, terms in {
            "F40": (I40, 2 * c1 * I31, c1 * c1 * I22),
            "F31": (I31, c1 * I22),
            "F13": (I13, c2 * I22),
            "F04": (I04, 2 * c2 * I13, c2 * c2 * I22),
        }.items():
            size = sum((abs(x) for x in terms), arb(0))
            assert (
                abs(jet[jets.COLUMNS.index(column)] - sum(terms, arb(0))) <= 1e-9 * size + 1e-290
            ), column


def dead_network(teacher, seed):
    """Three relu students 6 to 10 standard deviations below their kinks, one of them always on in a
    third of the cases.
    """
    rng = np.random.default_rng(seed)
    student = inf.Net([(3, "relu", True), (1, "identity", False)], input_dim=3)
    target = inf.Net([(2, teacher, True), (1, "identity", False)], input_dim=3)
    W, V, a, c = (rng.normal(size=shape) for shape in ((3, 3), (2, 3), (1, 3), (1, 2)))
    b = -rng.uniform(6, 10, 3) * np.linalg.norm(W, axis=1)
    d = rng.normal(size=2)
    if seed % 3 == 0:  # a dead teacher, nearly parallel
        V[0] = W[0] * (1 + 1e-3)
        d[0] = 0.9 * b[0]
    if seed % 3 == 1:
        b[0] *= -1
    if seed % 4 == 0:
        W[1] = -W[0] + 1e-2 * rng.normal(size=3)
    net = inf.NetI(student, inf.Teacher(target, target.pack(((V, d), (c, None)))))
    return net, student.pack(((W, b), (a, None))), (W, b, a[0], V, d, c[0])


def exact_gradient(teacher, W, b, a, V, d, c):
    """By ball arithmetic, in the order (W, b) row by row, then a."""
    neurons = [("relu", *row) for row in zip(W, b, a, strict=True)]
    neurons += [(teacher, *row) for row in zip(V, d, -c, strict=True)]
    gW = [[arb(0)] * 3 for _ in b]
    gb = [arb(0)] * 3
    ga = [arb(0)] * 3
    for i, (_, w1, b1, a1) in enumerate(neurons[:3]):
        for j, (g, w2, b2, a2) in enumerate(neurons):
            point = reference.Point(1.0, 1.0, 0.0, b1, b2)
            point.C11, point.C12, point.C22 = (
                sum((arb(x) * arb(y) for x, y in zip(v, w, strict=True)), arb(0))
                for v, w in ((w1, w1), (w1, w2), (w2, w2))
            )
            if i == j:
                C = point.C11
                mean = arb(b1)
                step = reference.probability(mean / C.sqrt())
                density = reference.density(mean / C.sqrt()) / C.sqrt()
                J10 = mean * step + C * density
                J20 = step / 2
                J11 = step / 2
                J00 = mean * J10 + C * step
            else:
                J00, J10, J20, J11 = (
                    point.moment("relu", g, *o) for o in ((0, 0), (1, 0), (2, 0), (1, 1))
                )
            factor = 2 * arb(a1) * arb(a2)
            ga[i] += 2 * arb(a2) * J00
            gb[i] += factor * J10
            gW[i] = [
                x + factor * (J20 * arb(y) + J11 * arb(z))
                for x, y, z in zip(gW[i], w1, w2, strict=True)
            ]
    return gW, gb, ga


@pytest.mark.parametrize("teacher", ["relu", "abs", "erf", "gelu", "step", "normal_cdf", "square"])
def test_gradient_of_dead_neurons(teacher):
    """Every component to 1e-8 of itself, however small it is."""
    for seed in range(6):
        net, theta, parts = dead_network(teacher, seed)
        (W, b), (a, _) = net.unpack(net.evaluate(theta, 1).gradient.copy())
        gW, gb, ga = exact_gradient(teacher, *parts)
        exact = [x for row in gW for x in row] + gb + ga
        for value, x in zip([*W.ravel(), *b, *a.ravel()], exact, strict=True):
            assert abs(value - x) <= 1e-8 * abs(x), (teacher, seed)


# -- kernel matrices -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "gelu", "elu"])
def test_kernel_matrices_expand_every_neuron_once(name, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 5))
    K = X @ X.T
    r = np.sqrt(np.diag(K))
    b = np.repeat([-9.0, 0.3], 6)
    u = np.clip(K / np.outer(r, r), -1, 1)
    sizes = []
    original = rounding._size_and_scale
    monkeypatch.setattr(
        rounding, "_size_and_scale", lambda f, r, b, p: sizes.append(r.size) or original(f, r, b, p)
    )
    whole = inf.gaussian_moment(name, name, r[:, None], r, u, b1=b[:, None], b2=b, full_output=True)
    assert sizes == [12, 12]
    for i, j in ((0, 0), (3, 8), (11, 2)):
        single = inf.gaussian_moment(
            name, name, r[i], r[j], u[i, j], b1=b[i], b2=b[j], full_output=True
        )
        assert (single.value, single.error_bound) == (whole.value[i, j], whole.error_bound[i, j])
