"""Moments of pairs, regular parts: E[R_p(h1) R_q(h2)], one Gaussian variable after the other.

With h1 = b1 + r1 x, h2 = b2 + r2 (u x + s z), s = sqrt(1 - u^2), the inner integral over z is a
function of the conditional mean m = b2 + r2 u x alone,

    G_q(m) = E R_q(m + sigma z),      sigma = r2 s,

the function R_q smoothed by a Gaussian. The outer rule is Gauss's on panels that end at the kinks
of f, at the images of the pieces of g, and so far from the images of its kinks as the Gaussian
reaches. There are two ways to G:

* Where the Gaussian stays in the window of a piece, R_q is a polynomial, and smoothing it is
  ``exp(sigma^2/2 d^2/dm^2)``: a sum of even derivatives of the piece. So nearly parallel neurons,
  for which sigma is small, cost no inner rule at all but next to the kinks of g.
* Elsewhere outer panels are at most four sigma wide, and the inner rule is Gauss's on panels within
  pieces of g.

Both are exact for the table up to rounding. The outer rule is compared with what the last Legendre
coefficients of its integrand say.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from .means import Neurons
from .panels import NODES as INNER_NODES
from .panels import cover, density, points, spread, sums, table_values
from .table import DERIVATIVE, Index, Table, values, vandermonde

__all__ = ["Regular", "regular_moments"]


_EPS = float(np.finfo(np.float64).eps)
# Outer panels are at most so wide, in standard deviations of x, and of z where an inner rule is
# needed; up to the width of the short one they take the short rule.
_WIDEST = 2.0
_WIDEST_INNER = 3.0
_SHORT = 0.6
# Error of a panel, relative, above which it is halved, and how often.
_ALLOWED = 1e-13
_HALVINGS = 3
# How far a Gaussian reaches, in standard deviations.
_REACH = 8.5
# How far it has to stay in the window of a piece: the polynomial goes on to be accurate beyond for
# a while, where little of the Gaussian is left.
_REACH_OF_WINDOWS = 4.5
# Breaks nearer to a harder one than this part of the piece are left out.
_NEAR = 0.02
# Terms of exp(sigma^2/2 d^2/dm^2).
_TERMS = 12
# Outer panels and kernel entries that are held at a time.
_PANELS = 1000
_ENTRIES = 1 << 17


class _Rule(NamedTuple):
    """Gauss's rule on [-1, 1], and the rows of the last Legendre coefficients on its nodes."""

    nodes: Array
    weights: Array
    telltale: Array


def _rule(Q: int, last: int = 3) -> _Rule:
    nodes, weights = np.polynomial.legendre.leggauss(Q)
    degrees = np.arange(Q - last, Q)
    polynomials = np.polynomial.legendre.legvander(nodes, Q - 1)[:, degrees]
    return _Rule(nodes, weights, ((2 * degrees + 1) / 2)[:, None] * polynomials.T * weights)


# Outer rules, for short panels and for others.
_RULES = (_rule(12), _rule(18))


@cache
def _orders(levels: int) -> tuple[Index, Index]:
    """Orders p and q of the moments with p + q < levels."""
    p, q = np.array([(p, q) for p in range(levels) for q in range(levels - p)]).T
    return p, q


class Regular(NamedTuple):
    """Moments (n, LEVELS, LEVELS), errors of the outer rule alike, nodes of each pair (n,)."""

    value: Array
    error: Array
    work: Index


class _Outer(NamedTuple):
    """Outer panels [low, high] of the pairs (row); ``poly``: G is a smoothed polynomial there."""

    row: Index
    low: Array
    high: Array
    poly: NDArray[np.bool_]

    def take(self, which: NDArray[Any]) -> _Outer:
        """Some of the panels."""
        return _Outer(*(column[which] for column in self))


class _Pairs(NamedTuple):
    """Arguments (n,) of pairs: deviations, correlation and sine, means, reaches in x and z."""

    r1: Array
    r2: Array
    u: Array
    s: Array
    b1: Array
    b2: Array
    X: Array
    Z: Array


def regular_moments(first: Neurons, second: Neurons, u: Array, s: Array) -> Regular:
    """E[R_p(h1) R_q(h2)] of n pairs with r1, r2 > 0.

    ``s`` is the sine sqrt(1 - u^2), which has to be accurate where it is small.
    """
    n = len(u)
    levels = first.levels
    # beyond Z the mean square of g is out of reach, see `means`
    Z = _REACH + s * np.maximum(second.reach - _REACH, 0.0)
    # neither argument goes beyond its reach
    with np.errstate(divide="ignore"):
        X = np.minimum(first.reach, (second.reach + s * Z) / np.abs(u))
    pairs = _Pairs(first.r, second.r, u, s, first.b, second.b, X, Z)
    out = Regular(
        np.zeros((n, levels, levels)), np.zeros((n, levels, levels)), np.zeros(n, dtype=np.int64)
    )
    p, q = _orders(levels)
    scale = first.scale[:, p] * second.scale[:, q]
    allowed = np.where(np.isfinite(scale), _ALLOWED * scale, np.inf)
    panels = _outer_panels(first.found, second.found, pairs)
    for halvings in range(_HALVINGS + 1):
        if not len(panels.row):
            break
        rest = []
        short = panels.poly & (panels.high - panels.low <= _SHORT)
        for rule, chosen in zip(_RULES, (short, ~short), strict=True):
            which = np.flatnonzero(chosen)
            for start in range(0, len(which), _PANELS):
                part = panels.take(which[start : start + _PANELS])
                products = _products(first.found, second.found, pairs, part, rule)
                errors = _outer_errors(products, rule)
                good = np.full(len(part.row), halvings == _HALVINGS)
                good |= ~(errors > allowed[part.row]).any(axis=1)
                _add(part.row, products, errors, rule, good, out)
                rest.append(part.take(~good))
        panels = _halved(rest)
    return out


def _halved(parts: list[_Outer]) -> _Outer:
    """The halves of these panels."""
    row, low, high, poly = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    middle = 0.5 * (low + high)
    return _Outer(
        np.concatenate([row, row]),
        np.concatenate([low, middle]),
        np.concatenate([middle, high]),
        np.concatenate([poly, poly]),
    )


# -- outer panels ----------------------------------------------------------------------------------


def _outer_panels(f: Table, g: Table, pairs: _Pairs) -> _Outer:
    """The outer panels."""
    breaks = _breaks(f, g, pairs)
    row = np.repeat(np.arange(len(breaks)), breaks.shape[1] - 1)
    low = breaks[:, :-1].ravel()
    high = breaks[:, 1:].ravel()
    keep = high > low
    row = row[keep]
    low = low[keep]
    high = high[keep]
    slope = pairs.r2[row] * pairs.u[row]
    sigma = pairs.r2[row] * pairs.s[row]
    mean = pairs.b2[row, None] + slope[:, None] * np.stack([low, 0.5 * (low + high), high], axis=1)
    piece = g.piece(mean[:, 1])
    lowest = mean.min(axis=1)
    highest = mean.max(axis=1)
    # breaks are exact to this only, which decides where they stand at a kink
    rounding = 16 * _EPS * (np.abs(pairs.b2) + pairs.r2 * np.abs(pairs.u) * pairs.X)[row]
    poly: NDArray[np.bool_] = np.ones(len(row), dtype=bool)
    for limits, reach in ((g.windows, _REACH_OF_WINDOWS), (g.between, pairs.Z[row])):
        left, right = limits[piece].T
        slack = np.where(np.isfinite(right - left), 1e-12 * (right - left), 0.0) + rounding
        poly &= (lowest - reach * sigma >= left - slack) & (
            highest + reach * sigma <= right + slack
        )
    poly |= sigma == 0.0
    with np.errstate(divide="ignore"):
        inner = np.where(poly | (slope == 0.0), np.inf, _WIDEST_INNER * sigma / np.abs(slope))
    parts = np.ceil((high - low) / np.minimum(_WIDEST, inner))
    parts = np.maximum(parts, 1.0).astype(np.int64)
    run, place = spread(parts)
    step = (high - low)[run] / parts[run]
    start = low[run] + place * step
    end = np.where(place == parts[run] - 1, high[run], start + step)
    return _Outer(row[run], start, end, poly[run])


def _breaks(f: Table, g: Table, pairs: _Pairs) -> Array:
    """Sorted breaks (n, m) in x; those that were left out stand at the upper end."""
    r1, r2, u, s, b1, b2, X, Z = (column[:, None] for column in pairs)
    n = len(pairs.u)
    ends = np.concatenate([-X, X], axis=1)
    hard = (f.kinks - b1) / r1
    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = (g.kinks - b2) / (r2 * u)
        width = Z * s / np.abs(u)
        zones = np.concatenate([kinks - width, kinks + width], axis=1)
        images = (g.edges - b2) / (r2 * u)
        gaps = _gaps(g.edges) / (r2 * np.abs(u))
    pieces = (f.edges - b1) / r1
    own = _gaps(f.edges) / r1
    groups = (
        (ends, np.zeros_like(ends)),
        (hard, np.zeros_like(hard)),
        (kinks, np.zeros_like(kinks)),
        (zones, np.zeros_like(zones)),
        (pieces, _NEAR * own),
        (images, _NEAR * gaps),
    )
    x = np.concatenate([group[0] for group in groups], axis=1)
    near = np.concatenate([np.broadcast_to(group[1], group[0].shape) for group in groups], axis=1)
    outside = ~((x > -X) & (x < X))
    # G does not vary on the length of pieces that the Gaussian is wider than
    wide = 3.0 * r2 * s >= _gaps(g.edges)
    outside[:, -wide.shape[1] :] |= wide
    outside[:, :2] = False
    x = np.where(outside, X, x)
    # columns that no pair uses
    used = ~outside.all(axis=0)
    x = x[:, used]
    near = near[:, used]
    outside = outside[:, used]
    for k in range(2, x.shape[1]):
        beside = np.abs(x[:, :k] - x[:, k, None]) <= near[:, k, None]
        outside[:, k] |= (beside & ~outside[:, :k]).any(axis=1)
        x[:, k] = np.where(outside[:, k], X[:, 0], x[:, k])
    assert x.shape[0] == n
    return np.sort(x, axis=1)


def _gaps(edges: Array) -> Array:
    """The smaller one of the widths of the pieces on both sides of each edge."""
    width = np.diff(edges)
    return np.minimum(np.append(width, width[-1]), np.append(width[0], width))


# -- moments ---------------------------------------------------------------------------------------


def _products(f: Table, g: Table, pairs: _Pairs, panels: _Outer, rule: _Rule) -> Array:
    """R_p(h1) G_q times the density and half the width of the panels, (panels, Q, orders)."""
    row, low, high, poly = panels
    half = 0.5 * (high - low)
    centre = 0.5 * (high + low)
    x = centre[:, None] + half[:, None] * rule.nodes
    h1 = pairs.b1[row, None] + pairs.r1[row, None] * x
    F = values(f, f.piece(pairs.b1[row] + pairs.r1[row] * centre), h1)
    mean = pairs.b2[row, None] + (pairs.r2 * pairs.u)[row, None] * x
    sigma = (pairs.r2 * pairs.s)[row]
    if poly.all():
        G = smoothed_polynomials(g, mean, sigma)
    else:
        G = np.empty((len(row), len(rule.nodes), g.levels))
        some = np.flatnonzero(poly)
        if len(some):
            G[some] = smoothed_polynomials(g, mean[some], sigma[some])
        some = np.flatnonzero(~poly)
        G[some] = _by_inner_rule(g, mean[some], sigma[some], pairs.Z[row[some]])
    F *= (density(x) * half[:, None])[..., None]
    levels = f.levels
    out = np.empty((len(row), len(rule.nodes), levels * (levels + 1) // 2))
    place = 0
    for p in range(levels):
        count = levels - p
        np.multiply(F[..., p : p + 1], G[..., :count], out=out[..., place : place + count])
        place += count
    return out


def _add(
    row: Index,
    products: Array,
    errors: Array,
    rule: _Rule,
    good: NDArray[np.bool_],
    out: Regular,
) -> None:
    """Add what the good ones of these panels contribute."""
    n = len(out.work)
    found = rule.weights @ products  # (panels, orders)
    if not good.all():
        found = found[good]
        errors = errors[good]
    p, q = _orders(out.value.shape[1])
    out.value[:, p, q] += sums(found, row[good], n)
    out.error[:, p, q] += sums(errors, row[good], n)
    out.work[:] += np.bincount(row, minlength=n) * len(rule.nodes)


def _outer_errors(products: Array, rule: _Rule) -> Array:
    """Errors (panels, orders) of the outer rule.

    Coefficients of a function that is analytic fall geometrically. The last of Q ones, over the
    largest value, is about rho^-Q, and the error of the rule rho^-2Q: ten times its square is a
    bound with room to spare. Where the coefficients do not fall, the last one is the error.
    """
    last = np.abs(rule.telltale @ products).max(axis=1)
    largest = np.abs(products).max(axis=1)
    share = np.divide(last, largest, out=np.zeros_like(last), where=largest > 0.0)
    found: Array = 2.0 * largest * (share * np.minimum(10.0 * share, 1.0) + 4 * _EPS)
    return found


def smoothed_polynomials(g: Table, mean: Array, sigma: Array) -> Array:
    """G (n, Q, LEVELS) at means (n, Q) of n panels that each lie in one piece of g."""
    piece = g.piece(mean[:, mean.shape[1] // 2])
    low, high = g.windows[piece].T
    half = 0.5 * (high - low)
    t = (mean - (0.5 * (low + high))[:, None]) / half[:, None]
    ratio = (sigma / half) ** 2
    coefficients = g.coefficients[piece]
    terms = _even_derivatives(g)
    factor = np.ones(len(piece))
    largest = float(ratio.max(initial=0.0))
    for k in range(1, _TERMS):
        if largest == 0.0 or terms.sizes[k] * largest**k < 1e-18:
            break
        factor = factor * (0.5 * ratio / k)
        coefficients = coefficients + factor[:, None, None] * terms.coefficients[k - 1][piece]
    result: Array = vandermonde(t, g.degree) @ coefficients
    return result


class _Even(NamedTuple):
    """Coefficients of d^2k/dt^2k of all pieces, k = 1, 2, ..., and the largest size of each term
    relative to that of the piece, over 2^k k!.
    """

    coefficients: tuple[Array, ...]
    sizes: tuple[float, ...]


def _even_derivatives(g: Table) -> _Even:
    key = id(g.coefficients)
    found = _KEPT.get(key)
    if found is None or found[0] is not g.coefficients:
        if len(_KEPT) > 32:
            _KEPT.clear()
        found = (g.coefficients, _find_even_derivatives(g.coefficients))
        _KEPT[key] = found
    return found[1]


_KEPT: dict[int, tuple[Array, _Even]] = {}
_TWICE = DERIVATIVE @ DERIVATIVE


def _find_even_derivatives(coefficients: Array) -> _Even:
    size = np.abs(coefficients).sum(axis=1)
    found = []
    sizes = [1.0]
    factor = 1.0
    current = coefficients
    degree = coefficients.shape[1]
    twice = _TWICE[:degree, :degree]
    for k in range(1, _TERMS):
        current = twice @ current
        factor *= 0.5 / k
        found.append(current)
        ratio = np.abs(current).sum(axis=1) / np.where(size > 0.0, size, 1.0)
        sizes.append(float(ratio.max(initial=0.0)) * factor)
    return _Even(tuple(found), tuple(sizes))


def _by_inner_rule(g: Table, mean: Array, sigma: Array, Z: Array) -> Array:
    """G (n, Q, LEVELS) at means (n, Q) of n narrow panels by Gauss's rule in z."""
    n, Q = mean.shape
    out = np.zeros((n, Q, g.levels))
    lowest = mean.min(axis=1)
    highest = mean.max(axis=1)
    centre = 0.5 * (lowest + highest)
    spread_of_means = 0.5 * (highest - lowest) / sigma
    panels = cover(g, sigma, centre, -Z - spread_of_means, Z + spread_of_means)
    z, w = points(panels)
    jet = table_values(g, panels, sigma, centre, z)
    jet *= w[..., None]
    counts = np.bincount(panels.row, minlength=n)
    start = np.cumsum(counts) - counts
    offset = (mean - centre[:, None]) / sigma[:, None]
    K = len(INNER_NODES)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        step = max(1, _ENTRIES // (Q * K * int(count)))
        for k in range(0, len(rows), step):
            some = rows[k : k + step]
            which = start[some, None] + np.arange(count)
            at = z[which].reshape(len(some), 1, -1)
            kernel = density(at - offset[some, :, None])
            out[some] = kernel @ jet[which].reshape(len(some), -1, g.levels)
    return out
