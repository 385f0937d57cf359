"""Write the public test vectors of Gaussian moments, ``tests/data/gaussian_moments.json``.

    python scripts/make_test_vectors.py [--out FILE]

Thirty digits of ``E[f^(p)(r1 x + b1) g^(q)(r2 y + b2)]`` by composite Gauss-Legendre quadrature in
ball arithmetic of 53 digits (Arb, through python-flint), from the definitions of the activations;
nothing here is shared with infflow.

* If one of the two activations has an elementary mean under Gaussian noise (all but the logistic
  family), the integral over its argument is done by hand (``MEANS``) and the other one by
  quadrature.
* For two logistic ones a tensor grid carries the bivariate density, or, where that is narrow, its
  factors.
* Derivatives of kinked activations are functions plus delta functions, whose integrals are
  elementary.

Panels end at kinks and shrink towards the poles of logistic functions. The rounding of the sums is
in the radii of the balls. The truncation of the rules is checked against finer panels with more
nodes on every case that counts for a sample, and both formulas of ``MEANS`` and two-dimensional
values against ``mpmath.quad``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import mpmath as mp
from flint import arb, arb_mat, ctx

DATA = Path(__file__).parents[1] / "tests" / "data" / "gaussian_moments.json"
DIGITS = 30
ctx.prec = 180  # bits
TRUSTED = arb("1e-35")  # error of the quadrature relative to E |f^(p) g^(q)|
TOLERANCE = arb("1e-34")  # of the checks
REACH = 14.0  # the density beyond is 1e-43

ALL_ORDERS = tuple((p, q) for p in range(5) for q in range(5 - p))
ORDERS = ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (2, 1), (0, 3), (2, 2), (3, 1), (4, 0))
#: r1, r2, u, b1, b2: float64 numbers.
POINTS = (
    (1.0, 1.0, 0.5, 0.0, 0.0),
    (1.2, 0.7, -0.6, 0.3, -1.1),
    (0.001, 0.5, 0.9, 0.2, -0.4),
    (0.05, 0.002, -0.3, -3.0, 2.0),
    (3.0, 2.0, 0.0, 1.0, -2.0),
    (20.0, 15.0, 0.7, -1.0, 3.0),
    (20.0, 0.01, -0.95, 3.0, 0.5),
    (5.0, 8.0, 0.999, -0.5, 0.7),
    (10.0, 10.0, -0.999, 0.0, 0.0),
    (1.0, 1.0, 0.9999999, 0.0, 0.0005),
    (2.0, 0.8, -0.9999999, 2.5, -1.0),
    (1.5, 2.0, 1.0, 0.5, -0.8),
    (0.7, 3.0, -1.0, 0.25, 2.0),
)
PARTNERS = ("erf", "relu", "tanh")
LARGEST_R_OF_EXP = 4.0

PI = arb.pi()
LOG10 = arb(10).log()
Jet = list[Any]

# -- activations: means under Gaussian noise, values and derivatives -------------------------------


def density(x: arb, variance: arb, n: int = 5) -> Jet:
    """Derivatives 0 ... n - 1 of the normal density at x."""
    inverse = 1 / variance
    jet = [(-x * x * inverse / 2).exp() * (inverse / (2 * PI)).sqrt()]
    for k in range(n - 1):
        jet.append(-(x * jet[k] + (k * jet[k - 1] if k else 0)) * inverse)
    return jet


def normal_cdf(x: arb) -> arb:
    return (-x / arb(2).sqrt()).erfc() / 2


def step_mean(m: arb, v: arb) -> Jet:
    return [normal_cdf(m / v.sqrt()), *density(m, v)]


def relu_mean(m: arb, v: arb) -> Jet:
    step = step_mean(m, v)
    return [m * step[0] + v * step[1], *step[:4]]


def negative_exp_mean(m: arb, v: arb) -> Jet:
    """Of exp(h) for h < 0, otherwise 0."""
    jet = [(m + v / 2).exp() * normal_cdf(-(m + v) / v.sqrt())]
    for d in density(m, v, 4):
        jet.append(jet[-1] - d)
    return jet


def elu_mean(m: arb, v: arb) -> Jet:
    ramp = relu_mean(m, v)
    low = negative_exp_mean(m, v)
    step = step_mean(m, v)
    return [r + e + s - (k == 0) for k, (r, e, s) in enumerate(zip(ramp, low, step, strict=False))]


def cycle_mean(start: Sequence[arb], v: arb) -> Jet:
    damping = (-v / 2).exp()
    return [
        damping * start[0],
        damping * start[1],
        -damping * start[0],
        -damping * start[1],
        damping * start[0],
    ]


def affine(jet: Jet, scale: Any, constant: Any = 0) -> Jet:
    return [scale * x + (constant if k == 0 else 0) for k, x in enumerate(jet)]


def plus(first: Jet, second: Jet) -> Jet:
    return [x + y for x, y in zip(first, second, strict=False)]


def gelu_mean(m: arb, v: arb) -> Jet:
    """E (m + s e) Phi(m + s e) = m Phi(m/t) + (v/t^2) t phi(m/t), t^2 = 1 + v, and derivatives."""
    w = 1 + v
    cdf = [normal_cdf(m / w.sqrt()), *density(m, w)]
    bell = density(m, w)
    return [m * cdf[k] + (k * cdf[k - 1] if k else 0) + v * bell[k] for k in range(5)]


SCALE = arb("1.0507009873554805")
ALPHA = arb("1.6732632423543772")
#: E f(m + sqrt(v) e) and its derivatives 0 ... 4 in m.
MEANS: dict[str, Callable[[arb, arb], Jet]] = {
    "identity": lambda m, v: [m, arb(1), arb(0), arb(0), arb(0)],
    "square": lambda m, v: [(m * m + v) / 2, m, arb(1), arb(0), arb(0)],
    "cube": lambda m, v: [m * (m * m + 3 * v), 3 * (m * m + v), 6 * m, arb(6), arb(0)],
    "relu": relu_mean,
    "leaky_relu": lambda m, v: plus(
        affine(relu_mean(m, v), arb(99) / 100), affine(MEANS["identity"](m, v), arb(1) / 100)
    ),
    "abs": lambda m, v: plus(affine(relu_mean(m, v), 2), affine(MEANS["identity"](m, v), -1)),
    "step": lambda m, v: step_mean(m, v)[:5],
    "sign": lambda m, v: affine(step_mean(m, v)[:5], 2, -1),
    "erf": lambda m, v: [(m / (2 * (1 + v)).sqrt()).erf(), *affine(density(m, 1 + v, 4), 2)],
    "normal_cdf": lambda m, v: step_mean(m, 1 + v)[:5],
    "gelu": gelu_mean,
    "gaussian": lambda m, v: affine(density(m, 1 + v), (2 * PI).sqrt()),
    "elu": elu_mean,
    "selu": lambda m, v: plus(
        affine(relu_mean(m, v), SCALE * (1 - ALPHA)), affine(elu_mean(m, v), SCALE * ALPHA)
    ),
    "exp": lambda m, v: [(m + v / 2).exp()] * 5,
    "sin": lambda m, v: cycle_mean((m.sin(), m.cos()), v),
    "cos": lambda m, v: cycle_mean((m.cos(), -m.sin()), v),
}


def sigmoid(x: arb) -> Jet:
    s = 1 / (1 + (-x).exp()) if x < 0 else 1 - 1 / (1 + x.exp())
    e = (-abs(x)).exp()
    p = e / (1 + e) ** 2
    odd = (-x / 2).tanh()
    return [s, p, p * odd, p * (1 - 6 * p), p * odd * (1 - 12 * p)]


def softplus(x: arb) -> Jet:
    return [(-abs(x)).exp().log1p() + (x if x > 0 else 0), *sigmoid(x)[:4]]


def silu(x: arb) -> Jet:
    s = sigmoid(x)
    return [x * s[k] + (k * s[k - 1] if k else 0) for k in range(5)]


def compress(jet: Jet, scale: int, weight: int) -> Jet:
    return [weight * x * scale**k for k, x in enumerate(jet)]


LOGISTIC: dict[str, Callable[[arb], Jet]] = {
    "sigmoid": sigmoid,
    "tanh": lambda x: affine(compress(sigmoid(2 * x), 2, 2), 1, -1),
    "softplus": softplus,
    "silu": silu,
    "g": lambda x: plus(compress(sigmoid(4 * x), 4, 1), softplus(x)),
}
#: The two branches, each continued to the whole line.
LINE: dict[str, tuple[Callable[[arb], Jet], Callable[[arb], Jet]]] = {
    "relu": (lambda x: [arb(0)] * 5, lambda x: MEANS["identity"](x, arb(0))),
    "leaky_relu": (
        lambda x: affine(MEANS["identity"](x, arb(0)), arb(1) / 100),
        lambda x: MEANS["identity"](x, arb(0)),
    ),
    "abs": (
        lambda x: affine(MEANS["identity"](x, arb(0)), -1),
        lambda x: MEANS["identity"](x, arb(0)),
    ),
    "step": (lambda x: [arb(0)] * 5, lambda x: [arb(1)] + [arb(0)] * 4),
    "sign": (lambda x: [arb(-1)] + [arb(0)] * 4, lambda x: [arb(1)] + [arb(0)] * 4),
    "elu": (lambda x: affine([x.exp()] * 5, 1, -1), lambda x: MEANS["identity"](x, arb(0))),
    "selu": (
        lambda x: affine(affine([x.exp()] * 5, 1, -1), SCALE * ALPHA),
        lambda x: affine(MEANS["identity"](x, arb(0)), SCALE),
    ),
}
NAMES = (*MEANS, *LOGISTIC)
#: Distance in h over which panels must be this short: poles, or the width of a bell; none for
#: entire functions without one.
FEATURES = {"tanh": 1.25, "sigmoid": 2.5, "softplus": 2.5, "silu": 2.5, "g": 0.62} | dict.fromkeys(
    ("erf", "normal_cdf", "gelu", "gaussian"), 1.5
)
WAVES = ("exp", "sin", "cos", "elu", "selu")


def jet(name: str, x: arb) -> Jet:
    """Value and four derivatives away from the kink."""
    if name in LINE:
        return LINE[name][bool(x > 0)](x)
    return LOGISTIC[name](x) if name in LOGISTIC else MEANS[name](x, arb(0))


def jumps(name: str) -> Jet:
    """Jumps at 0 of the function and its derivatives."""
    if name not in LINE:
        return [arb(0)] * 5
    left, right = (branch(arb(0)) for branch in LINE[name])
    return [b - a for a, b in zip(left, right, strict=True)]


DEFINITIONS = {
    "identity": "x",
    "square": "x^2/2",
    "cube": "x^3",
    "relu": "max(0, x)",
    "leaky_relu": "max(x/100, x)",
    "abs": "|x|",
    "step": "0 for x < 0, 1 for x > 0",
    "sign": "-1 for x < 0, 1 for x > 0",
    "erf": "erf(x/sqrt(2))",
    "normal_cdf": "Phi(x) = (1 + erf(x/sqrt(2)))/2",
    "gelu": "x Phi(x)",
    "gaussian": "exp(-x^2/2)",
    "elu": "x for x > 0, exp(x) - 1 for x < 0",
    "selu": "1.0507009873554805 (x for x > 0, 1.6732632423543772 (exp(x) - 1) for x < 0)",
    "exp": "exp(x)",
    "sin": "sin(x)",
    "cos": "cos(x)",
    "sigmoid": "1/(1 + exp(-x))",
    "tanh": "tanh(x)",
    "softplus": "log(1 + exp(x))",
    "silu": "x/(1 + exp(-x))",
    "g": "1/(1 + exp(-4x)) + log(1 + exp(x))",
}


# -- quadrature ------------------------------------------------------------------------------------


@cache
def gauss_legendre(n: int) -> list[tuple[arb, arb]]:
    return [arb.legendre_p_root(n, k, weight=True) for k in range(n)]


class Rule:
    """How fine: ``nodes`` per panel, lengths of panels in units of the features."""

    def __init__(self, nodes: int = 44, fineness: float = 1.0) -> None:
        self.nodes = nodes
        self.fineness = fineness

    def __call__(
        self,
        features: Sequence[tuple[float, float]],
        longest: float = 4.0,
        shift: float = 0.0,
        splits: Sequence[arb] = (),
    ) -> list[tuple[arb, arb]]:
        """Nodes and weights, density of x included; panels grow from features (place, length) by a
        factor of 3.
        """
        low = min(shift, 0.0) - REACH
        high = max(shift, 0.0) + REACH
        count = math.ceil((high - low) / (longest * self.fineness))
        edges = {low + (high - low) * k / count for k in range(count + 1)}
        for place, length in features:
            step = 2 * length * self.fineness
            while step < high - low:
                edges |= {place - step, place, place + step}
                step *= 3
        exact = [s for s in splits if low < s < high]
        inner = [
            arb(e) for e in edges if low < e < high and all(abs(arb(e) - s) > 1e-12 for s in exact)
        ]
        ordered = sorted([arb(low), *inner, *exact, arb(high)], key=lambda e: e.mid())
        result = []
        for a, b in pairwise(ordered):
            half = (b - a) / 2
            middle = (a + b) / 2
            for t, w in gauss_legendre(self.nodes):
                x = middle + half * t
                result.append((x, w * half * density(x, arb(1), 1)[0]))
        return result


FINE = Rule(60, 0.8)
Moments = dict[tuple[int, int], tuple[Any, Any]]  # value, E |f^(p) g^(q)|


def features_of(
    name: str, r: float, b: float, slope: float = 1.0, noise: float = 0.0
) -> list[tuple[float, float]]:
    """Features in x of ``f(b + r (slope x + noise e))`` averaged over e."""
    if name not in FEATURES and not (noise and name in LINE):
        return []
    length = (
        math.hypot(FEATURES.get(name, 0.0), 0.7 * r * noise) / abs(r * slope) if slope else math.inf
    )
    return [(-b / (r * slope), length)] if length < REACH else []


def moments_by_conditioning(f: str, g: str, point: Sequence[float], rule: Rule) -> Moments:
    """The mean over the argument of g by hand, over that of f by quadrature; |u| < 1."""
    r1, r2, u, b1, b2 = (arb(x) for x in point)
    v = r2 * r2 * (1 - u) * (1 + u)
    slope = r2 * u / r1
    R1, R2, U, B1, B2 = point
    noise = math.sqrt((1 - U) * (1 + U))
    shift = R1 * (f == "exp") + U * R2 * (g == "exp")
    waves = max(R1 * (f in WAVES), R2 * abs(U) * (g in WAVES))
    longest = min(4.0, 20.0 / waves) if waves else 4.0
    features = features_of(f, R1, B1) + features_of(g, R2, B2, U, noise)
    splits = [-b1 / r1] if f in LINE else []
    nodes = rule(features, longest, shift, splits)
    F = [jet(f, r1 * x + b1) for x, _ in nodes]
    G = [[w * y for y in MEANS[g](b2 + r2 * u * x, v)] for x, w in nodes]
    result = products(F, G)
    J = jumps(f)
    if any(J):
        bump = density(-b1, r1 * r1)
        inner = MEANS[g](b2 - slope * b1, v)
        for p, q in ALL_ORDERS:
            terms = at_jumps(J, (p, q), slope, inner, bump)
            result[p, q] = with_terms(result[p, q], terms)
    return result


def at_jumps(J: Jet, orders: tuple[int, int], slope: arb, inner: Jet, bump: Jet) -> list[arb]:
    """Terms of E[f^(p)(h) H(h)] from jumps J of f, f', ... at h = 0, with the density ``bump``.

    H has the derivatives slope^j inner[q + j], and E delta^(k)(h) H(h) = (-1)^k (n H)^(k)(0).
    """
    p, q = orders
    terms = []
    for m in range(p):
        k = p - 1 - m
        parts = (math.comb(k, j) * slope**j * inner[q + j] * bump[k - j] for j in range(k + 1))
        terms.append((-1) ** k * J[m] * sum(parts, arb(0)))
    return terms


def with_terms(moment: tuple[arb, arb], terms: list[arb]) -> tuple[arb, arb]:
    """A value and the sum of the absolute terms that it consists of, with more terms."""
    value, size = moment
    for term in terms:
        value = value + term
        size = size + abs(term)
    return value, size


def products(F: list[Jet], G: list[Jet]) -> Moments:
    """Sums over nodes of F_p G_q."""
    M = arb_mat(F).transpose() * arb_mat(G)
    A = arb_mat([[abs(x) for x in row] for row in F]).transpose() * arb_mat(
        [[abs(x) for x in row] for row in G]
    )
    return {(p, q): (M[p, q], A[p, q]) for p, q in ALL_ORDERS}


def moments_in_parallel(f: str, g: str, point: Sequence[float], rule: Rule) -> Moments:
    """Correlation 1 or -1: one variable."""
    r1, r2, u, b1, b2 = (arb(x) for x in point)
    R1, R2, U, B1, B2 = point
    waves = max(R1 * (f in WAVES), R2 * (g in WAVES))
    longest = min(4.0, 20.0 / waves) if waves else 4.0
    splits = [-b1 / r1] * (f in LINE) + [-u * b2 / r2] * (g in LINE)
    features = features_of(f, R1, B1) + features_of(g, R2, B2, U)
    nodes = rule(features, longest, R1 * (f == "exp") + U * R2 * (g == "exp"), splits)
    F = [jet(f, r1 * x + b1) for x, _ in nodes]
    G = [[w * y for y in jet(g, r2 * u * x + b2)] for x, w in nodes]
    result = products(F, G)
    for p, q in ALL_ORDERS:
        for a, order, one, other, other_order, (ra, ba, rb, bb) in (
            (f, p, r1, g, q, (r1, b1, r2 * u, b2)),
            (g, q, r2, f, p, (r2 * u, b2, r1, b1)),
        ):
            J = jumps(a)
            if not any(J):
                continue
            bump = density(-ba, one * one)
            inner = jet(other, bb - rb * ba / ra)
            slope = rb / ra
            terms = at_jumps(J, (order, other_order), slope, inner, bump)
            result[p, q] = with_terms(result[p, q], terms)
    return result


def moments_on_grid(f: str, g: str, point: Sequence[float], rule: Rule) -> Moments:
    """Two smooth activations without elementary means: a grid of two variables; |u| < 1."""
    R1, R2, U, B1, B2 = point
    noise = math.sqrt((1 - U) * (1 + U))
    if noise < 0.5:
        if R1 < R2:  # the argument that varies less goes inside
            exchanged = _grid_of_factors(g, f, (R2, R1, U, B2, B1), noise, rule)
            return {(p, q): exchanged[q, p] for p, q in ALL_ORDERS}
        return _grid_of_factors(f, g, point, noise, rule)
    r1, r2, u, b1, b2 = (arb(x) for x in point)
    s2 = (1 - u) * (1 + u)
    X, Y = (rule(features_of(n, r, b), 4.0 * noise) for n, r, b in ((f, R1, B1), (g, R2, B2)))
    F = [[w * z for z in jet(f, r1 * x + b1)] for x, w in X]
    G = [[w * z for z in jet(g, r2 * y + b2)] for y, w in Y]
    # n(x, y) / (n(x) n(y)) = exp(-(u^2 x^2 - 2 u x y + u^2 y^2)/(2 s^2)) / s
    right = arb_mat(G)
    A = arb_mat([[abs(z) for z in row] for row in G])
    inner = []
    sizes = []
    rows = [(-((u * y) ** 2) / (2 * s2), y) for y, _ in Y]
    for x, _ in X:
        c = -((u * x) ** 2) / (2 * s2)
        d = u * x / s2
        kernel = arb_mat([[(c + e + d * y).exp() for e, y in rows]])
        inner.append((kernel * right).entries())
        sizes.append((kernel * A).entries())
    s = s2.sqrt()
    M = arb_mat(F).transpose() * arb_mat(inner)
    size = arb_mat([[abs(z) for z in row] for row in F]).transpose() * arb_mat(sizes)
    return {(p, q): (M[p, q] / s, size[p, q] / s) for p, q in ALL_ORDERS}


def _grid_of_factors(f: str, g: str, point: Sequence[float], noise: float, rule: Rule) -> Moments:
    """y = u x + s e: the density factorises; g is evaluated on the whole grid."""
    R1, R2, U, B1, B2 = point
    r1, r2, u, b1, b2 = (arb(x) for x in point)
    s = ((1 - u) * (1 + u)).sqrt()
    X = rule(features_of(f, R1, B1) + features_of(g, R2, B2, U, noise if noise * R2 > 0.5 else 0.0))
    E = rule([], min(7.0, 1.6 * FEATURES[g] / (R2 * noise)))
    F = [[w * z for z in jet(f, r1 * x + b1)] for x, w in X]
    weights = arb_mat([[w for _, w in E]])
    inner = []
    sizes = []
    for x, _ in X:
        m = b2 + r2 * u * x
        values = [jet(g, m + r2 * s * e) for e, _ in E]
        inner.append((weights * arb_mat(values)).entries())
        sizes.append((weights * arb_mat([[abs(z) for z in row] for row in values])).entries())
    M = arb_mat(F).transpose() * arb_mat(inner)
    size = arb_mat([[abs(z) for z in row] for row in F]).transpose() * arb_mat(sizes)
    return {(p, q): (M[p, q], size[p, q]) for p, q in ALL_ORDERS}


def moments(f: str, g: str, point: Sequence[float], rule: Rule = Rule()) -> Moments:  # noqa: B008
    """All orders at one point."""
    if abs(point[2]) == 1.0:
        return moments_in_parallel(f, g, point, rule)
    if g in MEANS:
        return moments_by_conditioning(f, g, point, rule)
    if f in MEANS:
        r1, r2, u, b1, b2 = point
        exchanged = moments_by_conditioning(g, f, (r2, r1, u, b2, b1), rule)
        return {(p, q): exchanged[q, p] for p, q in ALL_ORDERS}
    return moments_on_grid(f, g, point, rule)


# -- checks ----------------------------------------------------------------------------------------


def check_means() -> None:
    """The elementary means against mpmath.quad, at two places."""
    mp.mp.dps = 40
    for name, mean in MEANS.items():
        for m, v in (("0.4", "0.7"), ("-1.3", "2.5")):
            found = mean(arb(m), arb(v))
            kink = -mp.mpf(m) / mp.sqrt(mp.mpf(v))
            values = [
                mp.quad(
                    lambda e, name=name, m=m, v=v, k=k: (
                        mp.npdf(e) * mp.mpf(jet_text(name, mp.mpf(m) + mp.sqrt(mp.mpf(v)) * e, k))
                    ),
                    [-14, -6, -2, kink, 2, 6, 14] if -2 < kink < 2 else [-14, -6, -2, 2, 6, 14],
                )
                for k in range(2)
            ]
            delta = jumps(name)[0] * density(-arb(m), arb(v), 1)[0]
            for k, value in enumerate(values):
                expected = arb(mp.nstr(value, 36)) + (delta if k == 1 else 0)
                _require(
                    found[k], expected, abs(expected) + 1, f"the mean of {name}, derivative {k}"
                )


def jet_text(name: str, x: Any, k: int) -> str:
    return str(jet(name, arb(mp.nstr(x, 45)))[k].mid().str(45, radius=False))


def check_against_mpmath(f: str, g: str, point: Sequence[float]) -> None:
    """Values by two-dimensional quadrature of mpmath, 25 digits."""
    mp.mp.dps = 30
    r1, r2, u, b1, b2 = (mp.mpf(x) for x in point)
    s = mp.sqrt((1 - u) * (1 + u))
    functions = {
        "tanh": mp.tanh,
        "softplus": lambda x: mp.log1p(mp.exp(x)),
        "erf": lambda x: mp.erf(x / mp.sqrt(2)),
    }
    h = mp.mpf(
        "0.125"
    )  # trapezoidal rule: the error falls like exp(-2 pi (distance of the pole) / (r h))
    total = mp.mpf(0)
    for i in range(-96, 97):
        x = i * h
        inner = mp.fsum(
            functions[g](r2 * (u * x + s * j * h) + b2) * mp.npdf(j * h) for j in range(-96, 97)
        )
        total += inner * functions[f](r1 * x + b1) * mp.npdf(x)
    _require(
        arb(mp.nstr(total * h * h, 28)),
        moments(f, g, point)[0, 0][0],
        arb(10) ** 10,
        f"E {f} {g} of mpmath",
    )


def _require(value: arb, expected: arb, scale: Any, what: str) -> None:
    if not abs(value - expected) < TOLERANCE * scale + arb("1e-400"):
        raise RuntimeError(f"{what}: {value} against {expected}")


def check_truncation(f: str, g: str, point: Sequence[float], found: Moments) -> None:
    """The same with shorter panels and more nodes."""
    other = moments(f, g, point, FINE)
    for pq, (value, size) in found.items():
        _require(value, other[pq][0], size, f"E {f} {g} {pq} at {point}")


# -- the file --------------------------------------------------------------------------------------


def pairs() -> Iterator[tuple[str, str]]:
    """Every activation with itself and with the partners, each pair once."""
    seen = set()
    for name in NAMES:
        for other in (name, *PARTNERS):
            if frozenset((name, other)) not in seen:
                seen.add(frozenset((name, other)))
                yield name, other


def points(f: str, g: str) -> list[tuple[float, ...]]:
    limits = [LARGEST_R_OF_EXP if name == "exp" else math.inf for name in (f, g)]
    return [(min(r1, limits[0]), min(r2, limits[1]), *rest) for r1, r2, *rest in POINTS]


def text(value: arb, size: arb) -> str:
    """Thirty digits, fewer where integrands cancel; "0" below 1e-400 or where nothing is left."""
    absolute = abs(value.mid())
    if absolute < arb("1e-400"):
        return "0"
    digits = DIGITS
    if value.rad() > 0 or absolute < size:
        error = max(
            float((value.rad() / absolute).log() / LOG10) if value.rad() > 0 else -99.0,
            float((TRUSTED * size / absolute).log() / LOG10),
        )
        digits = min(DIGITS, math.floor(-error))
    return value.mid().str(digits, radius=False) if digits > 0 else "0"


HEADER = {
    "title": (
        "Gaussian moments E[f^(p)(r1 x + b1) g^(q)(r2 y + b2)] of activation functions, 30 digits"
    ),
    "licence": "MIT, as infflow; the numbers are facts",
    "conventions": [
        "x and y are standard normal with correlation u.",
        (
            "Arguments are float64 numbers; 0.9999999 stands for the nearest one, and 1 - u^2 is "
            "that of this number."
        ),
        (
            "f^(p) is the derivative of order p. For kinked functions it includes delta functions: "
            "the moment is the derivative d^p/db1^p d^q/db2^q of E[f g]."
        ),
        (
            "Values are decimal strings with 30 significant digits, fewer where the integrand "
            "cancels; all digits but the last are right."
        ),
        "A value is 0 if it vanishes, is below 1e-400, or is below 1e-35 of E|f^(p) g^(q)|.",
        "Floating point results are best compared relative to sqrt(E f^(p)^2 E g^(q)^2).",
    ],
    "how": (
        "Gauss-Legendre panels in ball arithmetic (Arb) with 53 digits: "
        "scripts/make_test_vectors.py of infflow. A sample was checked by finer panels and by "
        "mpmath."
    ),
    "columns": ["f", "g", "r1", "r2", "u", "b1", "b2", "values in the order of 'orders'"],
    "activations": DEFINITIONS,
    "orders": ORDERS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument(
        "--check-every",
        type=int,
        default=11,
        help="cases from one check of the truncation to the next",
    )
    arguments = parser.parse_args()
    check_means()
    check_against_mpmath("tanh", "softplus", POINTS[1])
    check_against_mpmath("erf", "tanh", POINTS[1])
    rows = []
    start = time.process_time()
    for f, g in pairs():
        for point in points(f, g):
            found = moments(f, g, point)
            if len(rows) % arguments.check_every == 0:
                check_truncation(f, g, point, found)
            rows.append([f, g, *point, [text(*found[pq]) for pq in ORDERS]])
        print(f"{f} {g} {time.process_time() - start:.0f} s", flush=True)
    head = json.dumps(HEADER, indent=1)[:-2]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    arguments.out.write_text(f'{head},\n "moments": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{arguments.out}: {len(rows)} rows, {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
