r"""Cubature: ``I(p, q) = E[f^(p)(h1) g^(q)(h2)]`` of any two activations, all orders p + q <= 4 at
once.

A derivative of an activation with kinks is a function plus delta functions: with ``J_m(c)`` the
jump of ``f^(m)`` at the kink c and ``R_p`` the derivative away from the kinks,

    f^(p) = R_p + sum_c sum_{m < p} J_m(c) delta^(p-1-m)(x - c).

The delta functions are integrated by parts against the density, which leaves means of one variable,

    E[delta^(k)(h1 - c) g(h2)] = d^k/db1^k { density of h1 at c  x  E[g(h2) | h1 = c] },

and the double integral of ``R_p(h1) R_q(h2)`` over cells that end at the kinks goes to
``scipy.integrate.cubature``. Its coordinates are the standardised h1 and the part e of h2 that is
independent of it, h2 = b2 + C12/C11 (h1 - b1) + sqrt(det/C11) e; the inner limits follow the kinks
of g, so that the integrand is smooth in each cell, up to |u| = 1. Derivatives that an activation
does not have (``max_order`` of a user's callable) are moved onto the density altogether, which
costs digits where the density is narrow and is not possible where it is degenerate.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import comb, factorial
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from ...activations import Activation, names, resolve
from ..resolution import oscillation
from .distributions import (
    SMALLEST_RTOL,
    bump,
    derivatives,
    jumps,
    mark_infinite,
    places,
    reach,
    root_mean_squares,
    row_breaks,
    single_moments,
    smoothed,
    usable_order,
)
from .panels import Index, density, integrate, panels_between, tail

__all__ = ["ORDERS", "PairMoments", "nquad_moment", "pair_moments", "single_moments"]

#: Orders (p, q) of the moments, by their sum: the first 1, 6, 15 are what values, gradients and
#: Hessians need.
ORDERS = tuple((n - q, q) for n in range(5) for q in range(n + 1))
_COUNTS = (1, 6, 15)
_EPS = float(np.finfo(np.float64).eps)
_MAX_SUBDIVISIONS = 400
# Estimates for functions that may oscillate between the nodes are so many times larger than the
# difference of two rules.
_CAUTION = 4.0
# The rule of 21 nodes resolves oscillations on cells up to so many of their lengths. On wider ones
# the two rules agree by accident, and to one part in hundreds in the best of hundreds of cells.
_RESOLVED = 24.0
_ACCIDENT = 400.0


class PairMoments(NamedTuple):
    """Moments in the order of :data:`ORDERS`, estimates of their errors, what rtol refers to;
    points evaluated.
    """

    value: Array
    error: Array
    scale: Array
    work: int


class Gaussian(NamedTuple):
    """Covariance and means of the two arguments, and ``det = C11 C22 - C12^2``, accurate also where
    it is small; 0 for parallel neurons.
    """

    C11: float
    C12: float
    C22: float
    b1: float
    b2: float
    det: float


class _Pair(NamedTuple):
    """Standard deviations, means, slopes of the regressions and conditional standard deviations of
    a pair of arguments.
    """

    s: tuple[float, float]
    b: tuple[float, float]
    slope: tuple[float, float]
    left: tuple[float, float]
    C12: float


class _Regular(NamedTuple):
    """What the integrals of regular parts are of: moments of some orders and scales, and the range
    of the first argument in standard deviations.
    """

    f: Activation
    g: Activation
    pair: _Pair
    orders: tuple[tuple[int, int], ...]
    scale: Array
    X: float
    rtol: float


def pair_moments(
    f: Activation, g: Activation, gaussian: Gaussian, order: int = 2, rtol: float = 1e-10
) -> PairMoments:
    """``E[f^(p)(h1) g^(q)(h2)]`` of one pair of neurons, arguments not checked.

    Parameters
    ----------
    f, g : Activation
    gaussian : Gaussian
    order : {0, 1, 2}
        The first 1, 6 or 15 of :data:`ORDERS`.
    rtol : float
        Tolerance relative to ``scale``, the product of the root mean squares of R_p and R_q.

    Returns
    -------
    PairMoments
        Infinite moments (kinks that coincide) are ``inf``.

    Raises
    ------
    InvalidValueError
        If an activation grows too fast for its argument, returns NaN, or lacks a derivative at a
        degenerate point.
    """
    C11, C12, C22, b1, b2, det = gaussian
    rtol = max(rtol, SMALLEST_RTOL)
    orders = ORDERS[: _COUNTS[order]]
    highest = 2 * order
    s1 = float(np.sqrt(C11))
    s2 = float(np.sqrt(C22))
    if s1 == 0.0 or s2 == 0.0:
        return _product(f, g, (s1, s2), (b1, b2), orders, rtol)
    det = max(det, 0.0)
    pair = _Pair(
        (s1, s2),
        (b1, b2),
        (C12 / C11, C12 / C22),
        (float(np.sqrt(det)) / s1, float(np.sqrt(det)) / s2),
        C12,
    )
    regular = _regular_moments(f, g, pair, orders, rtol)
    value, error, scale, work = regular
    with np.errstate(invalid="ignore"):  # infinities of both signs
        for place, (inner, outer) in enumerate(((f, g), (g, f))):
            add = _delta_moments(inner, outer, pair, place, orders, highest, rtol)
            value = value + add.value
            error = error + add.error
            work = work + add.work
    return PairMoments(mark_infinite(value), error, scale, work)


def _product(
    f: Activation,
    g: Activation,
    s: tuple[float, ...],
    b: tuple[float, ...],
    orders: tuple[tuple[int, int], ...],
    rtol: float,
) -> PairMoments:
    """A neuron without variance is a constant."""
    highest = max(p for p, _ in orders)
    one, two = (
        single_moments(a, np.array([t * t]), np.array([c]), highest, rtol)
        for a, t, c in zip((f, g), s, b, strict=True)
    )
    p, q = np.array(orders).T
    a, c = one.value[0, p], two.value[0, q]
    with np.errstate(invalid="ignore"):
        value = a * c
        error = np.abs(a) * two.error[0, q] + np.abs(c) * one.error[0, p]
    error = np.where(np.isfinite(error), error, 0.0)
    return PairMoments(
        mark_infinite(value), error, one.scale[0, p] * two.scale[0, q], one.work + two.work
    )


def _delta_moments(
    f: Activation,
    g: Activation,
    pair: _Pair,
    place: int,
    orders: tuple[tuple[int, int], ...],
    highest: int,
    rtol: float,
) -> PairMoments:
    """The contribution of the delta functions of f, argument number ``place``.

    Delta functions of the first activation meet the whole of the second; those of the second
    meet the regular part of the first only. Every product is counted once.
    """
    count = len(orders)
    levels = usable_order(f, highest)
    value = np.zeros(count)
    error = np.zeros(count)
    kinks = jumps(f, levels) if highest else ()
    if not kinks:
        return PairMoments(value, error, error, 0)
    s = pair.s[place]
    b = pair.b[place]
    slope = pair.slope[place]
    left = pair.left[place]
    c = np.array([c for c, _, _ in kinks])
    mean = pair.b[1 - place] + slope * (c - b)
    # the mean is a sum of terms of this size
    size = abs(pair.b[1 - place]) + abs(slope) * (np.abs(c) + abs(b))
    if (
        left == 0.0
    ):  # the other argument is a function of this one: does its kink coincide with this one?
        for k in g.kinks:
            mean = np.where(np.abs(mean - k) <= 8 * _EPS * (size + abs(k)), k, mean)
    means = smoothed(g, np.full(len(c), left), mean, highest, rtol)
    for column, pq in enumerate(orders):
        p, q = pq if place == 0 else pq[::-1]
        start = 0 if place == 0 else q
        for row, (_, jump, _) in enumerate(kinks):
            for m in range(min(p, levels)):
                if jump[m] == 0.0:
                    continue
                for j in range(p - m):
                    factor = jump[m] * comb(p - 1 - m, j) * (-slope) ** j
                    factor *= float(bump(p - 1 - m - j, c[row] - b, np.array(s)))
                    if factor != 0.0:
                        value[column] += (
                            factor * means.partial(min(start, usable_order(g, highest)), q + j)[row]
                        )
                        rounding = _rounding(g, left, mean[row], 8 * _EPS * size[row], q + j)
                        error[column] += abs(factor) * (means.error[row, q + j] + rounding)
    error += 8 * _EPS * np.abs(np.where(np.isfinite(value), value, 0.0))
    return PairMoments(value, error, error, means.work)


def _rounding(g: Activation, s: float, mean: float, uncertainty: float, order: int) -> float:
    """How far the rounding of a mean moves ``E g^(order)`` where kinks of g nearly coincide with
    it.
    """
    total = 0.0
    for k, jump, _ in jumps(g, usable_order(g, order)) if s > 0.0 else ():
        for m in np.flatnonzero(jump[: order + 1]):
            n = order - int(m)
            total += (
                abs(jump[m])
                * np.sqrt(factorial(n))
                / s ** (n + 1)
                * np.exp(-0.25 * ((k - mean) / s) ** 2)
            )
    return uncertainty * float(total)


def _regular_moments(
    f: Activation, g: Activation, pair: _Pair, orders: tuple[tuple[int, int], ...], rtol: float
) -> PairMoments:
    """``E[R_p(h1) R_q(h2)]``."""
    highest = max(p for p, _ in orders)
    lf = usable_order(f, highest)
    lg = usable_order(g, highest)
    s = np.array(pair.s)
    b = np.array(pair.b)
    X = reach(f, s[:1], b[:1], lf, rtol)
    reach(g, s[1:], b[1:], lg, rtol)  # E g^2 must exist; the range of e does not depend on it
    rms = []
    for a, i, levels in ((f, 0, lf), (g, 1, lg)):
        breaks = row_breaks(a, s[i : i + 1], b[i : i + 1], tail(rtol) if i else X, 16)
        column = slice(i, i + 1)
        rms.append(
            root_mean_squares(_plain_values(a, s[column], b[column], levels), breaks, levels + 1)[0]
        )
    scale = np.array(
        [
            _density_scale(pair, p - lf, q - lg) * rms[0][min(p, lf)] * rms[1][min(q, lg)]
            for p, q in orders
        ]
    )
    value = np.zeros(len(orders))
    error = np.zeros(len(orders))
    used = np.flatnonzero(scale)
    if not len(used):
        return PairMoments(value, error, scale, 0)
    some = tuple(orders[k] for k in used)
    integrals = _parallel if pair.left[0] == 0.0 else _cells
    found, gap, work = integrals(_Regular(f, g, pair, some, scale[used], X, rtol))
    value[used] = found
    error[used] = gap + (1e-2 * rtol + 8 * _EPS) * scale[used]
    # Derivatives of the density of nearly parallel neurons are large, what they stand for is not:
    # users' tolerances are relative to functions and powers of the standard deviations.
    sine = pair.left[1] / pair.s[0]
    moved = np.array([max(p - lf, 0) + max(q - lg, 0) for p, q in orders])
    return PairMoments(value, error, scale * sine**moved, work)


def _plain_values(
    f: Activation, s: Array, b: Array, levels: int
) -> Callable[[Array, Index], Array]:
    return lambda x, row: derivatives(f, b[row] + s[row] * x, levels).T


def _density_scale(pair: _Pair, k: int, l: int) -> float:
    """Size of the derivatives of the density that stand for k and l derivatives that are not
    available.
    """
    k, l = max(k, 0), max(l, 0)
    if k + l == 0:
        return 1.0
    if pair.left[0] == 0.0:
        return np.inf
    return float(np.sqrt(factorial(k + l)) / (pair.left[1] ** k * pair.left[0] ** l))


def _parallel(regular: _Regular) -> tuple[Array, Array, int]:
    """One-dimensional integrals for correlation 1 or -1: values, errors, points."""
    f, g, pair, orders, scale, X, rtol = regular
    for a, needed in ((f, max(p for p, _ in orders)), (g, max(q for _, q in orders))):
        if needed > a.max_order:
            a.derivative(0.0, needed)  # raises the error that says which derivative is needed
    s1, s2 = pair.s
    b1, b2 = pair.b
    s2 = s2 if pair.C12 >= 0 else -s2
    X = max(X, reach(g, np.array([abs(s2)]), np.array([b2]), max(q for _, q in orders), rtol))
    breaks = [(places(f, s1) - b1) / s1, (places(g, abs(s2)) - b2) / s2, np.linspace(-X, X, 5)]
    row = np.unique(np.clip(np.concatenate(breaks), -X, X))[None, :]

    def values(x: Array, _: Index) -> Array:
        return _products(f, g, b1 + s1 * x, b2 + s2 * x, orders, None) * (
            density(x)[:, None] / scale
        )

    found = integrate(values, panels_between(row), 1, np.full(len(orders), rtol))
    return found.value[0] * scale, found.error[0] * scale, found.work


def _products(
    f: Activation,
    g: Activation,
    h1: Array,
    h2: Array,
    orders: tuple[tuple[int, int], ...],
    scores: Callable[[int, int], Array] | None,
) -> Array:
    """``R_p(h1) R_q(h2)`` for every order, shape (n, orders), times scores where derivatives are
    missing.
    """
    lf = usable_order(f, max(p for p, _ in orders))
    lg = usable_order(g, max(q for _, q in orders))
    F = derivatives(f, h1, lf)
    G = derivatives(g, h2, lg)
    out = np.empty((len(h1), len(orders)))
    for column, (p, q) in enumerate(orders):
        out[:, column] = F[min(p, lf)] * G[min(q, lg)]
        if scores is not None and (p > lf or q > lg):
            out[:, column] *= scores(max(p - lf, 0), max(q - lg, 0))
    return out


def _cells(regular: _Regular) -> tuple[Array, Array, int]:
    """The double integral, cell by cell: x between breaks of f, e between the curves on which g
    breaks.
    """
    from scipy.integrate import cubature

    f, g, pair, orders, scale, X, rtol = regular
    s1, s2 = pair.s
    b1, b2 = pair.b
    s = pair.left[0]
    slope = pair.slope[0] * s1
    R = tail(rtol)
    curves = places(g, s2)

    def at(x: Array, k: int) -> Array:
        """The curve number k, from the lower to the upper end of the range of e."""
        if k == 0 or k == len(curves) + 1:
            return np.full_like(x, -R if k == 0 else R)
        return np.clip((curves[k - 1] - b2 - slope * x) / s, -R, R)

    x = _outer_breaks(f, pair, curves, X, R)
    cells = [
        (a, b, k)
        for a, b in pairwise(x)
        for k in range(len(curves) + 1)
        if (at(np.array([a, b]), k + 1) > at(np.array([a, b]), k)).any()
    ]
    value = np.zeros(len(orders))
    error = np.zeros(len(orders))
    work = 0
    caution = 1.0 if _is_registered(f) and _is_registered(g) else _CAUTION
    # lengths of x and e on which the functions oscillate
    along = 1.0 / max(s1 / oscillation(f), abs(slope) / oscillation(g), 1e-300)
    across = oscillation(g) / s
    for a, b, k in cells:

        def integrand(point: Array, k: int = k) -> Array:
            nonlocal work
            x = point[:, 0]
            low = at(point[:, 0], k)
            high = at(point[:, 0], k + 1)
            e = low + (high - low) * point[:, 1]
            weight = density(x) * density(e) * (high - low)
            work += len(x)
            products = _products(
                f, g, b1 + s1 * x, b2 + slope * x + s * e, orders, _scores(pair, x, e)
            )
            return products * (weight[:, None] / scale)

        found = cubature(
            integrand,
            [a, 0.0],
            [b, 1.0],
            rtol=0.0,
            atol=rtol / (caution * len(cells)),
            max_subdivisions=_MAX_SUBDIVISIONS,
        )
        value += found.estimate
        # a running difference: its rounding may be negative
        error += caution * np.maximum(found.error, 0.0)
        for region in found.regions if min(along, across) < np.inf else ():
            (low, bottom), (high, top) = region.a, region.b
            height = (top - bottom) * (at(np.array([low, high]), k + 1) - at(region.a[:1], k)).max()
            if high - low > _RESOLVED * along or height > _RESOLVED * across:
                error += _ACCIDENT * np.maximum(region.error, 0.0)
    return value * scale, error * scale, work


def _is_registered(f: Activation) -> bool:
    """Whether it is no function of a user's own."""
    return f.name in names() and resolve(f.name) is f


def _outer_breaks(f: Activation, pair: _Pair, curves: Array, X: float, R: float) -> Array:
    """Breaks in x: those of f, and where a curve of g enters and leaves the range of e."""
    s1, _ = pair.s
    b1, b2 = pair.b
    s = pair.left[0]
    slope = pair.slope[0] * s1
    breaks = [(places(f, s1) - b1) / s1, np.array([-X, 0.0, X])]
    if slope != 0.0:
        crossings = np.concatenate([(curves - b2 - R * s) / slope, (curves - b2 + R * s) / slope])
        breaks += [crossings, (curves - b2) / slope if abs(slope) > 3 * s else crossings]
    return np.unique(np.clip(np.concatenate(breaks), -X, X))


def _scores(pair: _Pair, x: Array, e: Array) -> Callable[[int, int], Array]:
    """Derivatives of the density over the density, ``(-d1)^k (-d2)^l n / n``."""
    s = pair.left[0]
    slope = pair.slope[0]
    y2 = e / s
    y1 = x / pair.s[0] - slope * y2
    p11 = 1.0 / pair.left[1] ** 2
    p12 = -slope / s**2
    return lambda k, l: score(k, l, y1, y2, p11, p12, 1.0 / s**2)


def score(k: int, l: int, y1: Array, y2: Array, p11: float, p12: float, p22: float) -> Array:
    """``(-d1)^k (-d2)^l n / n`` of a Gaussian density n with precision p, y = precision (h - b)."""
    if k == 0 and l == 0:
        return np.ones_like(y1)
    if k == 0:
        return score(l, 0, y2, y1, p22, p12, p11)
    value = y1 * score(k - 1, l, y1, y2, p11, p12, p22)
    if k > 1:
        value = value - (k - 1) * p11 * score(k - 2, l, y1, y2, p11, p12, p22)
    if l > 0:
        value = value - l * p12 * score(k - 1, l - 1, y1, y2, p11, p12, p22)
    return value


# -- the slow reference ----------------------------------------------------------------------------


def nquad_moment(
    f: Activation,
    g: Activation,
    gaussian: Gaussian,
    orders: tuple[int, int],
    rtol: float = 1e-9,
) -> tuple[float, float]:
    """One moment by ``scipy.integrate.nquad``, all derivatives moved onto the density: value and
    error estimate.

    Slow and, for nearly parallel neurons, inaccurate; it uses only values of f and g.
    """
    from scipy.integrate import nquad

    C11, C12, C22, b1, b2, det = gaussian
    s1 = np.sqrt(C11)
    s = np.sqrt(det / C11)
    slope = C12 / C11
    precision = C22 / det, -C12 / det, C11 / det

    def integrand(e: float, x: float) -> float:
        d1, d2 = s1 * x, slope * s1 * x + s * e
        y1 = precision[0] * d1 + precision[1] * d2
        y2 = precision[1] * d1 + precision[2] * d2
        weight = score(*orders, np.array(y1), np.array(y2), *precision)
        values = f(b1 + d1) * g(b2 + d2)
        return float(values * weight * np.exp(-0.5 * (x * x + e * e)) / (2 * np.pi))

    def inner(x: float) -> dict[str, object]:
        kinks = [(k - b2 - slope * s1 * x) / s for k in g.kinks]
        return {
            "epsabs": 0.1 * rtol,
            "epsrel": 0.1 * rtol,
            "limit": 200,
            "points": sorted([0.0, *(k for k in kinks if abs(k) < R)]),
        }

    R = tail(rtol)
    kinks = [(k - b1) / s1 for k in f.kinks]
    outer = {
        "epsabs": rtol,
        "epsrel": rtol,
        "limit": 200,
        "points": sorted([0.0, *(k for k in kinks if abs(k) < R)]),
    }
    value, error = nquad(integrand, [[-R, R], [-R, R]], opts=[inner, outer])
    return float(value), float(error)
