"""Moments of pairs, regular parts: E[R_p(h1) R_q(h2)], one Gaussian variable after the other.

With h1 = b1 + r1 x, h2 = b2 + r2 (u x + s z), s = sqrt(1 - u^2), the inner integral over z is a
function of the conditional mean m = b2 + r2 u x alone,

    G_q(m) = E R_q(m + sigma z),      sigma = r2 s,

the function R_q smoothed by a Gaussian. The outer rule is Gauss's on panels that end at the kinks
of f, at the images of the pieces of g, and so far from the images of its kinks as the Gaussian
reaches. There are three ways to G:

* Where the Gaussian stays in the window of a piece, R_q is a polynomial, which is smoothed in
  closed form (:mod:`.smoothed`).
* Where it also reaches over one kink, there is a closed form, too. Outer panels are some sigma
  wide. So nearly parallel neurons, for which sigma is small, cost no inner rule at all.
* Elsewhere outer panels are some sigma wide, and the inner rule is Gauss's on panels within pieces
  of g.

All are exact for the table up to rounding. The outer rule is compared with what the last Legendre
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
from .smoothed import beyond_kinks, smoothed_polynomials, widest_at_kinks
from .table import Index, Table, values

__all__ = ["Regular", "regular_moments"]


_EPS = float(np.finfo(np.float64).eps)
# Outer panels are at most so wide, in standard deviations of x, and of z where a kink is in reach
# or an inner rule is needed; up to the width of the short one they take the short rule.
_WIDEST = 4.0
_WIDEST_KINK = 4.3
_WIDEST_INNER = 3.0
# Where the density falls by more than a factor of exp of this within a standard deviation of z, the
# closed form next to kinks would lose digits that matter.
_STEEPEST = 0.5
# Ways to G other than the number of a kink.
_SMOOTH = -1
_INNER = -2
_SHORT = 0.6
# Error of a panel, relative, above which it is halved, and how often.
_ALLOWED = 1e-13
_HALVINGS = 3
# How far a Gaussian reaches, in standard deviations.
_REACH = 8.5
# How far it has to stay in the window of a piece. The function may vary by orders of magnitude
# beyond, so that little of the Gaussian may be left there.
_REACH_OF_WINDOWS = 8.0
# Breaks nearer to a harder one than this part of the piece are left out.
_NEAR = 0.02
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
    """Outer panels [low, high] of the pairs (row).

    ``way`` to G: ``_SMOOTH`` for a smoothed polynomial, the number of the kink in reach, ``_INNER``
    for the inner rule.
    """

    row: Index
    low: Array
    high: Array
    way: Index

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
        short = (panels.way == _SMOOTH) & (panels.high - panels.low <= _SHORT)
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
    row, low, high, way = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    middle = 0.5 * (low + high)
    return _Outer(
        np.concatenate([row, row]),
        np.concatenate([low, middle]),
        np.concatenate([middle, high]),
        np.concatenate([way, way]),
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
    way = _ways(g, pairs, row, low, high)
    slope = np.abs(pairs.r2 * pairs.u)[row]
    widest = np.select([way == _SMOOTH, way == _INNER], [np.inf, _WIDEST_INNER], _WIDEST_KINK)
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = np.where(slope == 0.0, np.inf, widest * (pairs.r2 * pairs.s)[row] / slope)
    inner = np.where(way == _SMOOTH, np.inf, inner)
    parts = np.ceil((high - low) / np.minimum(_WIDEST, inner))
    parts = np.maximum(parts, 1.0).astype(np.int64)
    run, place = spread(parts)
    step = (high - low)[run] / parts[run]
    start = low[run] + place * step
    end = np.where(place == parts[run] - 1, high[run], start + step)
    return _Outer(row[run], start, end, way[run])


def _ways(g: Table, pairs: _Pairs, row: Index, low: Array, high: Array) -> Index:
    """The ways to G (n,) between the ends of these panels."""
    slope = pairs.r2[row] * pairs.u[row]
    sigma = pairs.r2[row] * pairs.s[row]
    mean = pairs.b2[row, None] + slope[:, None] * np.stack([low, 0.5 * (low + high), high], axis=1)
    piece = g.piece(mean[:, 1])
    lowest = mean.min(axis=1)
    highest = mean.max(axis=1)
    # breaks are exact to this only, which decides where they stand at a kink
    rounding = 16 * _EPS * (np.abs(pairs.b2) + pairs.r2 * np.abs(pairs.u) * pairs.X)[row]
    below = lowest - _REACH_OF_WINDOWS * sigma
    above = highest + _REACH_OF_WINDOWS * sigma
    left, right = g.valid[piece].T
    slack = np.where(np.isfinite(right - left), 1e-12 * (right - left), 0.0) + rounding
    smooth = (below >= left - slack) & (above <= right + slack)
    # a kink that is passed over is an error of the order of this distance
    left, right = g.between[piece].T
    slack = rounding
    below_all = lowest - pairs.Z[row] * sigma
    above_all = highest + pairs.Z[row] * sigma
    smooth &= (below_all >= left - slack) & (above_all <= right + slack)
    smooth |= sigma == 0.0
    way: Index = np.where(smooth, _SMOOTH, _INNER)
    if len(g.kinks):
        first = np.searchsorted(g.kinks, below_all + slack)
        last = np.searchsorted(g.kinks, above_all - slack)
        number = np.minimum(first, len(g.kinks) - 1)
        after = np.searchsorted(g.edges, g.kinks)
        inside = (after >= 1) & (after < len(g.edges) - 1)
        after = np.where(inside, after, 1)
        steep = pairs.s[row] * np.maximum(np.abs(low), np.abs(high))
        closed = (last - first == 1) & inside[number] & (sigma <= widest_at_kinks(g)[number])
        closed &= (below >= g.valid[after - 1, 0][number]) & (above <= g.valid[after, 1][number])
        # panels lie on one side
        k = g.kinks[number]
        closed &= (lowest >= k - slack) | (highest <= k + slack)
        closed &= steep <= _STEEPEST * np.abs(pairs.u[row])
        way[closed & ~smooth] = number[closed & ~smooth]
    return way


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
        images = (g.joints - b2) / (r2 * u)
        gaps = _gaps(g.joints) / (r2 * np.abs(u))
    pieces = (f.joints - b1) / r1
    own = _gaps(f.joints) / r1
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
    wide = 3.0 * r2 * s >= _gaps(g.joints)
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
    row, low, high, way = panels
    half = 0.5 * (high - low)
    centre = 0.5 * (high + low)
    x = centre[:, None] + half[:, None] * rule.nodes
    h1 = pairs.b1[row, None] + pairs.r1[row, None] * x
    F = values(f, f.piece(pairs.b1[row] + pairs.r1[row] * centre), h1)
    mean = pairs.b2[row, None] + (pairs.r2 * pairs.u)[row, None] * x
    sigma = (pairs.r2 * pairs.s)[row]
    closed = way != _INNER
    if closed.all():
        G = _by_closed_forms(g, mean, sigma, way)
    else:
        G = np.empty((len(row), len(rule.nodes), g.levels))
        some = np.flatnonzero(closed)
        if len(some):
            G[some] = _by_closed_forms(g, mean[some], sigma[some], way[some])
        some = np.flatnonzero(~closed)
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


def _by_closed_forms(g: Table, mean: Array, sigma: Array, way: Index) -> Array:
    """G (n, Q, LEVELS) of smoothed polynomials, with a kink in reach or not."""
    G = smoothed_polynomials(g, mean, sigma)
    some = np.flatnonzero(way != _SMOOTH)
    if len(some):
        G[some] += beyond_kinks(g, mean[some], sigma[some], way[some])
    return G


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
