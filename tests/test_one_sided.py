"""Integrals of elu and selu: against cubature, against quadrature over the other argument, and at
degenerate points.
"""

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from scipy import special

import infflow as inf
from infflow.activations import polynomial, resolve
from infflow.errors import MethodError
from infflow.integrals.choice import Choice
from infflow.integrals.closed import elu as one_sided
from infflow.integrals.closed import elu_kernels as kernels
from infflow.integrals.cubature import distributions
from infflow.integrals.cubature import pairs as cubature
from infflow.integrals.cubature.evaluator import squared
from infflow.integrals.evaluator import Arguments
from infflow.integrals.jets import COLUMNS, EXCHANGE

PARTNERS = ("elu", "selu", "relu", "erf", "tanh", "identity", "square", "step")
KINK = {"elu": 2, "selu": 1, "relu": 1, "step": 0}  # first derivative that jumps
ORDERS = cubature.ORDERS


def moments(f, g, r1, r2, u, b1, b2):
    """u is a correlation or a pair (correlation, 1 - its magnitude)."""
    u, rest = u if isinstance(u, tuple) else (u, 1 - abs(u))
    numbers = (r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, (r1 * r2) ** 2 * rest * (1 + abs(u)))
    f, g = (resolve(a) if isinstance(a, str) else a for a in (f, g))
    return one_sided.pair_moments(f, g, np.array(numbers)[:, None])[0]


@pytest.mark.parametrize(
    "g", [*PARTNERS, "leaky_relu", "sign", "gelu", "gaussian", "cube", "silu", "g"]
)
def test_all_orders_against_cubature(g):
    for f, point in (("elu", (1.1, 0.8, 0.3, 0.2, -0.4)), ("selu", (0.7, 1.5, -0.9, -0.5, 0.6))):
        r1, r2, u, b1, b2 = point
        det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
        reference = cubature.pair_moments(
            resolve(f), resolve(g), (r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det), 2, 1e-12
        )
        values = moments(f, g, *point)
        mirrored = moments(g, f, r2, r1, u, b2, b1)
        for k, (p, q) in enumerate(ORDERS):
            size = (
                reference.scale[k] + abs(reference.value[k]) + 0.1
            )  # the terms of the delta functions cancel
            assert abs(values[p, q] - reference.value[k]) <= 4e-15 * size, (f, p, q)
            assert abs(mirrored[q, p] - reference.value[k]) <= 4e-15 * size, (f, p, q)
        assert all(values[p, q] == 0.0 for p in range(5) for q in range(5) if p + q > 4)


# ---------------------------------------------------------------- regular parts over a wide range


def regular_jet(g, x):
    """Derivatives away from kinks."""
    return np.array([resolve(g).derivative(x, q) for q in range(5)])


def conditional_means(f, nu, s):
    """E R_p(nu + s e), p = 0, 1, 2, of elu or selu."""
    S, A = one_sided.sides(resolve(f))
    z = nu / s
    a = z + s
    with np.errstate(over="ignore", invalid="ignore"):
        t = np.where(
            a > 0,
            0.5 * np.exp(-0.5 * z * z) * special.erfcx(np.maximum(a, 0) / np.sqrt(2)),
            np.exp(np.minimum(nu + 0.5 * s * s, 0)) * special.ndtr(-a),
        )
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    # what would cancel for small arguments is an integral of (exp(h) - 1 - h) over h < 0 there
    low = t - special.ndtr(-z)
    small = np.abs(nu) + 9 * s < 1
    if small.any():
        x, w = np.polynomial.legendre.leggauss(40)
        edge = np.minimum(-z, 9.0)
        e = -9.0 + (edge + 9.0)[:, None] * (x + 1) / 2
        h = np.minimum(nu[:, None] + s * e, 0.0)
        near = (
            (np.expm1(h) * np.exp(-0.5 * e * e) * w).sum(1) * (edge + 9.0) / 2 / np.sqrt(2 * np.pi)
        )
        low = np.where(small, np.where(edge > -9.0, near, 0.0), low)
    return np.array(
        [S * (nu * special.ndtr(z) + s * density) + A * low, S * special.ndtr(z) + A * t, A * t]
    )


def dense_nodes(places, lengths):
    """Nodes in a standard normal variable, graded around places down to 1e-6 of the lengths."""
    steps = np.concatenate([length * 2.0 ** np.arange(-20.0, 9.0) for length in lengths])
    ends = [
        np.linspace(-38.0, 38.0, 77),
        *([p + s * steps for p in places for s in (-1, 1)]),
        np.array(places),
    ]
    ends = np.unique(np.clip(np.concatenate(ends), -38.0, 38.0))
    x, w = np.polynomial.legendre.leggauss(20)
    half = np.diff(ends) / 2
    middle = (ends[1:] + ends[:-1]) / 2
    nodes = middle[:, None] + half[:, None] * x
    return nodes.ravel(), (half[:, None] * w * np.exp(-0.5 * nodes**2) / np.sqrt(2 * np.pi)).ravel()


def reference_integrals(f, g, r1, r2, u, b1, b2):
    """``E[R_p(h1) R_q(h2)]`` with the integral over h2, and the root mean squares of both."""
    correlation, rest = u
    s = r1 * np.sqrt(rest * (1 + abs(correlation)))
    slope = r1 * correlation
    places = [-b2 / r2] + ([-b1 / slope] if slope else [])
    lengths = {1.0, 1 / r2} | ({min(s / abs(slope), 1e9), 1 / abs(slope)} if slope else set())
    x, w = dense_nodes(places, sorted(lengths))
    G = regular_jet(g, b2 + r2 * x)
    F = conditional_means(f, b1 + slope * x, s)
    y, v = dense_nodes([-b1 / r1], [1.0, 1 / r1])
    squares = (regular_jet(f, b1 + r1 * y)[:3] ** 2 * v).sum(1), (G**2 * w).sum(1)
    return np.einsum("px,qx,x->pq", F, G, w), np.sqrt(np.outer(*squares))


def wide_points(rng, count, largest_bias=10.0):
    for _ in range(count):
        r1, r2 = 10.0 ** rng.uniform(-3, 2, 2)
        rest = 10.0 ** rng.uniform(-10, 0)
        b1, b2 = rng.uniform(-1, 1, 2) * rng.choice([largest_bias, 3.0, 1.0, 1e-2, 0.0], 2)
        yield r1, r2, (float(rng.choice([-1, 1])) * (1 - rest), rest), b1, b2


@pytest.mark.parametrize(("f", "g"), list(itertools.product(("elu", "selu"), PARTNERS)))
def test_wide_range_of_regular_parts(f, g):
    """Norms from 1e-3 to 1e2, biases to 10, 1 - |u| down to 1e-10: 2e-14 of the product of root
    mean squares.
    """
    rng = np.random.default_rng([len(f), PARTNERS.index(g)])
    # the mixture that stands for tanh has relative errors of 1e-13 down to tails of exp(-10), and x
    # = 5
    bias, tolerance = (4.0, 1e-13) if g == "tanh" else (10.0, 2e-14)
    for point in wide_points(rng, 12, bias):
        values = regular_values(f, g, point)
        expected, scale = reference_integrals(f, g, *point)
        assert (np.abs(values - expected) <= tolerance * scale + 1e-290).all(), (
            point,
            (values - expected) / scale,
        )


def regular_values(f, g, point):
    """The regular parts alone, by the kernel."""
    r1, r2, (u, rest), b1, b2 = point
    f, g = resolve(f), resolve(g)
    row = one_sided._row(g)
    S2, A2 = one_sided.sides(g) or (0.0, 0.0)
    s = r2 * math.sqrt(rest * (1 + abs(u)))
    out = np.empty((3, 5))
    work = np.zeros((4, max(len(row), 1)))
    ends = np.empty(64 + 6 * len(row))
    kernels.prepare(row, s, work)
    kernels.regular_integrals(
        out,
        np.empty((2, 5)),
        row,
        *one_sided.sides(f),
        S2,
        A2,
        r1,
        b1,
        b2,
        r2 * u,
        s,
        work,
        ends,
        np.empty(5),
    )
    return out


# ---------------------------------------------------------------- delta functions


def mp_mean(name, mu, s, whole_order):
    """E g^(whole_order)(mu + s e) for whole_order 0, of elu, selu, relu and step; 1, 2: E R of elu
    and selu.
    """
    z = mu / s
    ramp = mu * mp.ncdf(z) + s * mp.npdf(z)
    above = mp.ncdf(z)
    if name in ("relu", "step"):
        return ramp if name == "relu" else above
    S, A = (mp.mpf(v) for v in one_sided.sides(resolve(name)))
    t = mp.exp(mu + s * s / 2) * mp.ncdf(-z - s)
    return (S * ramp + A * (t - mp.ncdf(-z)), S * above + A * t, A * t)[min(whole_order, 2)]


def mp_jumps(name):
    if name in ("relu", "step"):
        return [1.0 * (name == "step"), 1.0 * (name == "relu"), 0.0, 0.0]
    S, A = one_sided.sides(resolve(name))
    return [0.0, S - A, -A, -A]


def delta_terms(f, g, p, q, r1, r2, u, rest, b1, b2):
    """The part of a moment with delta functions, by numerical differentiation with 50 digits; with
    the sum of magnitudes.
    """
    with mp.workdps(50):
        r1, r2, b1, b2, u, rest = (mp.mpf(v) for v in (r1, r2, b1, b2, u, rest))
        sine = mp.sqrt(rest * (1 + abs(u)))
        terms = [mp.mpf(0)]
        for m, jump in enumerate(mp_jumps(f)[:p]):
            if jump:

                def first(y, t):
                    return (
                        mp.npdf((y - b1) / r1)
                        / r1
                        * mp_mean(g, b2 + u * r2 / r1 * (y - b1) + t, r2 * sine, 0)
                    )

                terms.append(jump * (-1) ** (p - 1 - m) * mp.diff(first, (0, 0), (p - 1 - m, q)))
        for m, jump in enumerate(mp_jumps(g)[:q]):
            if jump:

                def second(y):
                    return (
                        mp.npdf((y - b2) / r2)
                        / r2
                        * mp_mean(f, b1 + u * r1 / r2 * (y - b2), r1 * sine, p)
                    )

                terms.append(jump * (-1) ** (q - 1 - m) * mp.diff(second, 0, q - 1 - m))
        return float(sum(terms)), float(sum(abs(t) for t in terms))


@pytest.mark.parametrize(
    ("f", "g"), [("elu", "selu"), ("selu", "relu"), ("elu", "step"), ("selu", "selu")]
)
def test_delta_functions_with_50_digits(f, g):
    rng = np.random.default_rng(7)
    for rest in (1.0, 0.3, 1e-2, 1e-4):
        r1, r2 = 10.0 ** rng.uniform(-3, 2, 2)
        u = float(rng.choice([-1, 1])) * (1 - rest)
        b1, b2 = rng.normal(size=2) * (r1, r2)
        point = (r1, r2, u, rest, b1, b2)
        found = moments(f, g, r1, r2, (u, rest), b1, b2)
        regular = regular_values(f, g, (r1, r2, (u, rest), b1, b2))
        for p, q in ORDERS:
            expected, size = delta_terms(f, g, p, q, *point)
            moved = [
                delta_terms(f, g, p, q, *(x * (1 + 1e-10 * (k == i)) for k, x in enumerate(point)))[
                    0
                ]
                for i in (4, 5)
            ]
            conditioning = 1e-5 * sum(
                abs(x - expected) for x in moved
            )  # of b1 and b2, for relative changes by 1e-15
            tolerance = 1e-14 * (size + abs(regular[min(p, 2), q])) + conditioning
            assert abs(found[p, q] - regular[min(p, 2), q] - expected) <= tolerance, (point, p, q)


# ---------------------------------------------------------------- degenerate points


@pytest.mark.parametrize(("f", "g"), list(itertools.product(("elu", "selu"), PARTNERS)))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_neurons_against_cubature(f, g, sign):
    r1 = 0.9
    r2 = 1.6
    b1 = 0.4
    b2 = -0.3
    reference = cubature.pair_moments(
        resolve(f), resolve(g), (r1**2, sign * r1 * r2, r2**2, b1, b2, 0.0), 2, 1e-12
    )
    found = moments(f, g, r1, r2, sign, b1, b2)
    for k, (p, q) in enumerate(ORDERS):
        assert abs(found[p, q] - reference.value[k]) <= 1e-14 * (
            reference.scale[k] + abs(reference.value[k])
        ), (p, q)


@pytest.mark.parametrize(("f", "g"), list(itertools.product(("elu", "selu"), PARTNERS)))
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_kinks_that_coincide(f, g, bias):
    """Infinite from order m + m' + 2 on; below, nearly parallel neurons approach the values of
    parallel ones.
    """
    parallel = moments(f, g, 1.1, 2.2, 1.0, bias, 2 * bias)
    near = moments(f, g, 1.1, 2.2, (1.0, 1e-22), bias, 2 * bias)
    for p, q in ORDERS:
        infinite = g in KINK and p + q >= KINK[f] + KINK[g] + 2
        assert np.isinf(parallel[p, q]) == infinite, (p, q)
        # a step at its place counts 1/2 for parallel neurons; with a bias rounding decides where
        # nearby ones are
        if not infinite and (bias == 0.0 or g not in KINK or p + q <= KINK[f] + KINK[g]):
            assert abs(near[p, q] - parallel[p, q]) <= 1e-9 * (1 + abs(parallel[p, q])), (p, q)


@pytest.mark.parametrize(("f", "g"), list(itertools.product(("elu", "selu"), PARTNERS)))
def test_constant_neurons_against_cubature(f, g):
    for r1, r2, b1, b2 in (
        (0.0, 1.3, -0.7, 0.2),
        (0.8, 0.0, 0.3, -0.4),
        (0.8, 0.0, 0.3, 0.4),
        (0.0, 0.0, -0.3, 0.6),
    ):
        reference = cubature.pair_moments(
            resolve(f), resolve(g), (r1**2, 0.0, r2**2, b1, b2, 0.0), 2, 1e-12
        )
        found = moments(f, g, r1, r2, 0.0, b1, b2)
        for k, (p, q) in enumerate(ORDERS):
            assert abs(found[p, q] - reference.value[k]) <= 1e-14 * (
                reference.scale[k] + abs(reference.value[k])
            ), (
                p,
                q,
            )


def test_constant_on_its_kink():
    """Mean of the limits at a jump, infinite beyond."""
    S, A = one_sided.sides(resolve("selu"))
    column = moments("selu", "square", 0.0, 1.0, 0.0, 0.0, 1.0)[:, 2]
    np.testing.assert_allclose(column[:2], [0.0, (S + A) / 2], rtol=1e-15)
    column = moments("elu", "identity", 0.0, 1.0, 0.0, 0.0, 2.0)[:, 0]
    np.testing.assert_array_equal(column, [0.0, 2.0, 1.0, np.inf, np.inf])
    row = moments("elu", "relu", 1.0, 0.0, 0.0, 0.0, 0.0)[0]
    assert row[1] == moments("elu", "step", 1.0, 0.0, 0.0, 0.0, 0.0)[0, 0] != 0.0
    assert np.isinf(row[2:]).all()


def test_nothing_is_nan():
    rng = np.random.default_rng(3)
    sizes = [0.0, 1e-200, 1e-60, 1e-20, 1e-5, 1.0, 30.0, 1e4]
    biases = [0.0, 1e-300, -1e-30, 0.1, -5.0, 40.0, -1e3]
    for f, g in itertools.product(("elu", "selu"), PARTNERS):
        for r1, r2 in itertools.product(sizes, sizes):
            b1, b2 = rng.choice(biases, 2)
            rest = rng.choice([1.0, 0.1, 1e-8, 1e-40, 1e-180, 0.0])
            u = rng.choice([-1.0, 1.0]) * (1.0 - rest)
            assert not np.isnan(moments(f, g, r1, r2, (u, rest), b1, b2)).any(), (
                f,
                g,
                r1,
                r2,
                u,
                rest,
                b1,
                b2,
            )


# ---------------------------------------------------------------- jets

# F40, F31, F13, F04 of nearly parallel neurons, from moments of 30 digits
# (scripts/make_test_vectors.py) by their definition in jets.py. Norms, means and correlations are
# exact in float64.
NEARLY_PARALLEL = [
    (
        "selu",
        "relu",
        (1.0, 2.0, 0.9999999999999858, 0.25, 0.5),
        (3.4493617311101726e-08, 0.03419103779137657, -0.03393979491687592, 2.1558507989198514e-09),
    ),
    (
        "selu",
        "selu",
        (1.0, 2.0, 0.9999999999999858, 0.25, 0.5),
        (-0.022697293049665307, -0.07947733107995328, -0.06374761653914428, 0.00563103068276607),
    ),
    (
        "selu",
        "selu",
        (0.5, 4.0, -0.9999999999990905, 0.0, 0.0),
        (3.113895650840761, -0.828052906532882, -0.009836403972135383, -0.0008974927408680824),
    ),
    (
        "relu",
        "selu",
        (1.0, 2.0, 0.9999999990686774, 0.5, 1.000244140625),
        (-6.772263961534853e-05, -0.18524891291155687, 7.282316152279353e-05, 6.96707421115065e-10),
    ),
    (
        "elu",
        "step",
        (8.0, 4.0, 0.9999999999999858, 1.0, 0.5),
        (
            -4.094798413423341e-10,
            -0.000773120475813575,
            -0.0029958419469628375,
            0.012176641044767476,
        ),
    ),
    (
        "selu",
        "step",
        (0.5, 4.0, -0.9999999999990905, 0.0, 0.0),
        (0.3407502811455303, -1.8868973066971505e-07, -0.008754287740202498, -0.001094285967524317),
    ),
    (
        "elu",
        "elu",
        (1.0, 2.0, 0.9999999999999858, 0.25, 0.5),
        (-0.0073432239932399, -0.05678358939607829, -0.02839179469803802, 0.0018218020615008346),
    ),
    (
        "selu",
        "erf",
        (2.0, 1.0, 0.9999999999990905, 0.5, 0.25),
        (0.0022101596533584135, -0.038744046218065174, -0.18595431463414547, -0.14282758396627593),
    ),
]


def jets(f, g, r1, r2, u, b1, b2, order=2):
    numbers = (r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, (r1 * r2) ** 2 * (1 - u) * (1 + u))
    return one_sided.pair_jets(resolve(f), resolve(g), np.array(numbers)[:, None], order)[0]


@pytest.mark.parametrize(("f", "g", "point", "expected"), NEARLY_PARALLEL)
def test_frame_of_nearly_parallel_neurons(f, g, point, expected):
    """At angles down to 2e-7; sums of plain moments lose nine digits there."""
    # F40 is divided by C11 = 1/4 in the worst case
    found = jets(f, g, *point)
    columns = [COLUMNS.index(name) for name in ("F40", "F31", "F13", "F04")]
    np.testing.assert_allclose(found[columns], expected, rtol=1e-14, atol=1e-15)
    r1, r2, u, b1, b2 = point
    exchanged = jets(g, f, r2, r1, u, b2, b1)[np.array(EXCHANGE)]
    np.testing.assert_allclose(exchanged[columns], expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("f", "g"), list(itertools.product(("elu", "selu"), PARTNERS)))
def test_jets_are_made_of_moments(f, g):
    for point in ((1.1, 0.7, 0.4, 0.2, -0.5), (0.9, 0.0, 0.0, 0.3, 0.6)):
        r1, r2, u = point[:3]
        I = moments(f, g, *point)
        jet = jets(f, g, *point)
        c1, c2 = (u * r2 / r1, u * r1 / r2) if r2 else (0.0, 0.0)
        F31 = I[3, 1] + c1 * I[2, 2]
        F13 = I[1, 3] + c2 * I[2, 2]
        expected = {
            "J00": I[0, 0],
            "J20": I[2, 0],
            "J11": I[1, 1],
            "J02": I[0, 2],
            "J10": I[1, 0],
            "J01": I[0, 1],
            "B20": I[2, 0],
            "B11": I[1, 1],
            "B02": I[0, 2],
            "M30": I[3, 0],
            "M21": I[2, 1],
            "M21b": I[2, 1],
            "M12": I[1, 2],
            "M12b": I[1, 2],
            "M03": I[0, 3],
            "F40": I[4, 0] + c1 * (2 * I[3, 1] + c1 * I[2, 2]),
            "F31": F31,
            "F22": I[2, 2],
            "F13": F13,
            "F04": I[0, 4] + c2 * (2 * I[1, 3] + c2 * I[2, 2]),
            "F11": c2 * F31 + c1 * F13 + (1 - u * u) * I[2, 2],
        }
        np.testing.assert_allclose(
            jet, [expected[name] for name in COLUMNS], rtol=1e-13, atol=1e-14
        )
        np.testing.assert_array_equal(jets(f, g, *point, order=1), jet[:6])


@pytest.mark.parametrize("f", ["elu", "selu"])
@pytest.mark.parametrize(
    ("r", "b"), [(1.2, 0.3), (0.01, -0.02), (30.0, 5.0), (0.7, -9.0), (0.0, 0.4), (0.0, -0.4)]
)
def test_squares_against_quadrature(f, r, b):
    """Derivatives of E f(h)^2, relative to E f^2 and its like: small arguments do not cancel."""
    C = np.array([r * r])
    found = one_sided.squares(resolve(f), C, np.array([b]))
    reference = distributions.single_moments(squared(resolve(f)), C, np.array([b]), 4, 1e-13)
    np.testing.assert_allclose(
        found.derivatives[0], reference.value[0], rtol=1e-12, atol=1e-13 * found.derivatives[0, 2]
    )
    np.testing.assert_allclose(found.regular[0, 0], found.derivatives[0, 0], rtol=1e-15)


def test_a_constant_elu_has_a_hessian_and_a_constant_selu_has_none():
    for name, finite in (("elu", True), ("selu", False)):
        one = np.array([0])
        pair = Arguments(np.zeros((6, 1)), np.zeros(1), np.zeros(1))
        for g in ("identity", "square", name):
            args = pair._replace(
                pairs=np.array([[0.0], [0.0], [1.0], [0.0], [0.3], [0.0]]),
                C=np.array([0.0, 1.0]),
                b=np.array([0.0, 0.3]),
            )
            jet = Choice([resolve(name), resolve(g)], one, one + 1)(args, 2)
            assert np.isfinite(jet).all() == finite
            assert np.isfinite(jet[:, :6]).all()
        assert np.isfinite(Choice([resolve(name)], one, one)(pair, 2)).all() or not finite


def test_hessian_of_networks_against_differences():
    """Also with an elu at w = b = 0 in the teacher's place of no weight, and parallel neurons."""
    for name in ("elu", "selu"):
        net = inf.Net(layers=[(3, name, True), (1, "identity", True)], input_dim=3)
        rng = np.random.default_rng(3)
        theta, star = rng.normal(size=(2, net.num_params))
        theta[3:6] = 2.0 * theta[:3]  # two students in parallel, with kinks apart
        neti = inf.NetI(net, inf.Teacher(net, star))
        v = rng.normal(size=net.num_params)
        h = 1e-4
        g = [inf.gradient(neti, theta + k * h * v) for k in (-2, -1, 1, 2)]
        slope = (g[0] - 8 * g[1] + 8 * g[2] - g[3]) / (12 * h)
        np.testing.assert_allclose(
            inf.hessian(neti, theta) @ v, slope, rtol=1e-8, atol=1e-8
        )  # truncation of differences


# ---------------------------------------------------------------- the interface


def test_a_polynomial_of_any_degree():
    """E f(h1) h2^n for independent arguments, and Stein's identity E f h2 = b2 E f + C12 E f'."""
    quintic = polynomial([1.0, -2.0, 0.5, 0.0, 0.3, 0.7])
    f_mean = moments("selu", "identity", 0.9, 1.0, 0.0, 0.2, 1.0)[0, 0]
    x, w = np.polynomial.hermite_e.hermegauss(20)
    mean = (quintic(0.4 + 0.6 * x) * w).sum() / w.sum()
    assert moments("selu", quintic, 0.9, 0.6, 0.0, 0.2, 0.4)[0, 0] == pytest.approx(
        f_mean * mean, rel=4e-15
    )
    I = moments("selu", "identity", 0.9, 0.6, 0.7, 0.2, 0.4)
    assert I[0, 0] == pytest.approx(0.4 * I[0, 1] + 0.9 * 0.6 * 0.7 * I[1, 1], rel=4e-15)


def test_many_pairs_are_evaluated_one_by_one():
    rng = np.random.default_rng(0)
    r1 = rng.uniform(0.2, 2, 6)
    r2 = rng.uniform(0.2, 2, 6)
    u = rng.uniform(-1, 1, 6)
    b1, b2 = rng.normal(size=(2, 6))
    f, g = resolve("selu"), resolve("tanh")
    det = (r1 * r2) ** 2 * (1 - abs(u)) * (1 + abs(u))
    pairs = np.array([r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det])
    together = one_sided.pair_moments(f, g, pairs)
    for k in range(6):
        np.testing.assert_allclose(
            together[k], moments("selu", "tanh", r1[k], r2[k], u[k], b1[k], b2[k]), rtol=1e-14
        )


def test_which_pairs_are_covered():
    assert all(one_sided.is_defined(resolve("elu"), resolve(g)) for g in PARTNERS)
    assert one_sided.is_defined(resolve("tanh"), resolve("selu"))
    for f, g in (("relu", "erf"), ("elu", "exp"), ("sin", "selu")):
        assert not one_sided.is_defined(resolve(f), resolve(g))
        with pytest.raises(MethodError, match=r"elu or selu"):
            moments(f, g, 1.0, 1.0, 0.0, 0.0, 0.0)


def test_products_with_a_constant_are_means():
    """Without an integral over two variables, to all orders."""
    f = resolve("elu")
    r, b = np.array([0.3, 1.0, 3.0]), np.array([-2.0, 0.5, 1.0])
    C12 = 0.4 * r
    pairs = np.array([r**2, C12, np.ones(3), b, np.zeros(3), r**2 - C12**2])
    out = one_sided.pair_moments(f, inf.polynomial([2.0]), pairs)
    assert out[:, :, 0] == pytest.approx(2.0 * one_sided.single_moments(f, r**2, b, 4), rel=1e-15)
    assert not out[:, :, 1:].any()
