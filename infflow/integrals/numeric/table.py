"""An activation as a table of polynomials: found once, then its integrals are linear algebra.

The line is cut into pieces that end at the kinks. On each piece the function and its four
derivatives are Chebyshev sums. They are interpolated on the *window* of the piece, which is twice
as wide where no kink is in the way: so a piece can also be smoothed by a Gaussian that reaches
somewhat beyond it. Pieces are halved until the last coefficients are rounding. What remains is the
error of the table, which the bounds of all integrals contain.

Derivatives that a user's callable does not have are those of its interpolants. Each
differentiation costs digits; the error of the table says how many.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...errors import InfflowError
from ..resolution import narrow_places

__all__ = ["DEGREE", "FEW", "LEVELS", "Table", "smallest_reach", "table", "values"]

Index = NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)
#: Coefficients of each polynomial.
DEGREE = 24
#: Function and derivatives that are tabulated.
LEVELS = 5
# The last coefficients of a resolved polynomial, relative to its largest value.
_RESOLVED = 2e-15
# Rounding of a sum of so many terms, relative to its largest value.
_ROUNDING = 20 * _EPS
# How many coefficients count as last.
_LAST = 3
# Rounding of the function, relative to its largest value on the piece: where coefficients are level
# and below this, halving does not help.
_NOISE = 1e-9
# Coefficients are level where the last are so large beside those that stand 6 to 12 places before
# them: such as fall steadily have not come down to the noise then.
_LEVEL = 0.05
# Noise relative to the largest values near 0, for pieces below this width (relative as below).
_ABSOLUTE = 1e-12
_FINE = 0.125
# Values below this fraction of the largest one are not resolved to their own size: in a coarse
# table, and in a fine one, which neurons need that are saturated or nearly dead.
_NEGLIGIBLE = (1e-17, 1e-30)
# In a fine table pieces are halved where the function varies by more than this factor, as next to
# its zeros: neurons of small variance there see nothing else.
_GRADED = 1e-2
# Pieces are not halved below this width, relative to their distance from 0 (at least 1).
_NARROWEST = 2.0**-12
#: Polynomials of so many coefficients may be those of the next pieces, too, which is so where
#: values agree within so many units of rounding.
FEW = 8
_AGREE = 64 * _EPS
# A table with more pieces than this is not made.
_MOST = 1 << 14
# Activations must be finite within this.
_DEFINED = 40.0
# Tables reach as far as one of these.
_REACHES = tuple(2.0**k for k in (5, 6, 7, 8, 9, 12, 16, 20, 26, 34, 44, 60))


class Table(NamedTuple):
    """Pieces of one activation.

    Attributes
    ----------
    edges : (P + 1,) array
        Ends of the pieces, ascending.
    windows : (P, 2) array
        Where the polynomials interpolate.
    valid : (P, 2) array
        How far the polynomial of each piece goes on to be the function: the windows, or for
        polynomials all pieces up to the next kink.
    joints : (j,) array
        Those of the edges where the polynomial changes.
    between : (P, 2) array
        Kinks next to each piece, infinite where there is none.
    coefficients : (P, degree, LEVELS) array
        Chebyshev coefficients on the windows; at most DEGREE, fewer where all others are 0.
    errors : (P, LEVELS) array
        Absolute errors on the pieces.
    kinks : (k,) array
    left, right : (k, LEVELS) arrays
        Limits at the kinks, equal where there is no jump.
    uncertain : (k, LEVELS) array
        Errors of the jumps.
    """

    edges: Array
    windows: Array
    valid: Array
    joints: Array
    between: Array
    coefficients: Array
    errors: Array
    kinks: Array
    left: Array
    right: Array
    uncertain: Array

    @property
    def jumps(self) -> Array:
        """Jumps (k, LEVELS) of function and derivatives at the kinks."""
        return self.right - self.left

    @property
    def levels(self) -> int:
        """The number of function and derivatives; LEVELS, or less in :meth:`upto`."""
        return self.coefficients.shape[2]

    @property
    def degree(self) -> int:
        """The number of coefficients of each polynomial."""
        return self.coefficients.shape[1]

    def upto(self, levels: int) -> Table:
        """The table of fewer derivatives."""
        return self._replace(
            coefficients=np.ascontiguousarray(self.coefficients[..., :levels]),
            errors=self.errors[:, :levels],
            left=self.left[:, :levels],
            right=self.right[:, :levels],
            uncertain=self.uncertain[:, :levels],
        )

    def piece(self, h: Array) -> Index:
        """The number of the piece that contains each h."""
        found = np.searchsorted(self.edges, h, side="right") - 1
        return np.clip(found, 0, len(self.edges) - 2)


# Chebyshev points of the first kind, descending, and the matrix from values to coefficients. Angles
# are reduced as integers, lest large ones be rounded.
_ODD = 2 * np.arange(DEGREE) + 1
_POINTS = np.cos(0.5 * np.pi * _ODD / DEGREE)
_REDUCED = np.arange(DEGREE)[:, None] * _ODD % (4 * DEGREE)
_TO_COEFFICIENTS = 2.0 / DEGREE * np.cos(0.5 * np.pi * _REDUCED / DEGREE)
_TO_COEFFICIENTS[0] *= 0.5


def _differentiation() -> Array:
    """The matrix of d/dt on Chebyshev coefficients."""
    matrix = np.zeros((DEGREE, DEGREE))
    for k in range(1, DEGREE):
        found = chebyshev.chebder(np.eye(DEGREE)[k])
        matrix[: len(found), k] = found
    return matrix


DERIVATIVE = _differentiation()


def vandermonde(t: Array, degree: int) -> Array:
    """The first ``degree`` >= 2 Chebyshev polynomials ``(*t.shape, degree)``."""
    out = np.empty((degree, *t.shape))
    out[0] = 1.0
    out[1] = t
    twice = 2.0 * t
    for k in range(2, degree):
        np.multiply(twice, out[k - 1], out=out[k])
        out[k] -= out[k - 2]
    return np.moveaxis(out, 0, -1)


def smallest_reach(largest: float) -> float:
    """The reach of the smallest table that covers |h| <= ``largest``; the last one at most."""
    return next((reach for reach in _REACHES if reach >= largest), _REACHES[-1])


def values(found: Table, piece: Index, h: Array) -> Array:
    """Function and derivatives ``(n, Q, LEVELS)`` at the points h (n, Q) of n pieces."""
    low, high = found.windows[piece].T
    t = (h - (0.5 * (low + high))[:, None]) / (0.5 * (high - low))[:, None]
    result: Array = vandermonde(t, found.degree) @ found.coefficients[piece]
    return result


@lru_cache(maxsize=256)
def table(activation: Activation, reach: float, fine: bool = False, levels: int = LEVELS) -> Table:
    """The table of an activation for |h| <= ``reach``.

    Pieces are resolved relative to the largest values of each derivative, or, in a ``fine`` table,
    to the values on the piece itself.
    A piece on which the function is not finite has an infinite error.
    """
    if levels < LEVELS:
        return table(activation, reach, fine).upto(levels)
    kinks = np.array(activation.kinks)
    low, high = _roots(activation, kinks, reach)
    ends = low[0], high[-1]
    size = _sizes(activation)
    negligible = _NEGLIGIBLE[fine] * size
    done: list[tuple[Array, ...]] = []
    count = 0
    while len(low):
        windows = np.clip(_windows(low, high, kinks), *ends)
        coefficients, errors, good = _interpolate(
            activation, (low, high), windows, size, negligible, fine
        )
        narrow = high - low <= _NARROWEST * np.maximum(1.0, np.abs(low + high) / 2)
        count += len(low)
        good |= narrow | (count > _MOST)
        done.append((low[good], high[good], windows[good], coefficients[good], errors[good]))
        middle = 0.5 * (low[~good] + high[~good])
        low = np.concatenate([low[~good], middle])
        high = np.concatenate([middle, high[~good]])
    lows, highs, windows, coefficients, errors = (
        np.concatenate(parts) for parts in zip(*done, strict=True)
    )
    # piecewise polynomials need few of them
    used = max(2, int(np.flatnonzero(coefficients.any(axis=(0, 2))).max(initial=0)) + 1)
    coefficients = np.ascontiguousarray(coefficients[:, :used])
    order = np.argsort(lows)
    edges = np.append(lows[order], highs[order][-1:])
    windows = windows[order]
    coefficients = coefficients[order]
    return Table(
        edges,
        windows,
        *_runs(edges, windows, coefficients, kinks),
        np.stack(_neighbours(edges[:-1], kinks), axis=1),
        coefficients,
        errors[order],
        kinks,
        *_sides(edges, windows, coefficients, errors[order], kinks),
    )


def _roots(activation: Activation, kinks: Array, reach: float) -> tuple[Array, Array]:
    """Ends of the intervals to start from: kinks, narrow places, powers of two."""
    powers = 2.0 ** np.arange(0.0, np.log2(reach) + 0.5)
    even = np.concatenate([-powers, [0.0], powers])
    hard = np.unique(np.concatenate([kinks, narrow_places(activation)]))
    if len(hard):
        distance = np.abs(even[:, None] - hard).min(axis=1)
        even = even[distance > 0.25 * np.maximum(1.0, 0.5 * np.abs(even))]
    ends = np.unique(np.concatenate([hard, even, [-reach, reach]]))
    ends = ends[np.abs(ends) <= max(reach, np.abs(hard).max(initial=0.0))]
    return ends[:-1], ends[1:]


def _windows(low: Array, high: Array, kinks: Array) -> Array:
    """Windows (n, 2) of pieces: twice as wide, but not beyond kinks."""
    width = high - low
    left = low - 0.5 * width
    right = high + 0.5 * width
    before, after = _neighbours(low, kinks)
    return np.stack([np.maximum(left, before), np.minimum(right, after)], axis=1)


def _neighbours(low: Array, kinks: Array) -> tuple[Array, Array]:
    """The kinks before and after pieces that begin at ``low``."""
    place = np.searchsorted(kinks, low, side="right")
    padded = np.concatenate([[-np.inf], kinks, [np.inf]])
    return padded[place], padded[place + 1]


def _sizes(activation: Activation) -> Array:
    """The largest values of the derivatives that are given, between -40 and 40."""
    points = np.linspace(-40.0, 40.0, 1601) + 0.0123
    out = np.empty((min(activation.max_order, LEVELS - 1) + 1, points.size))
    with np.errstate(all="ignore"):
        activation.jet(points, out)
    found = np.abs(out)
    return np.where(np.isfinite(found), found, 0.0).max(axis=1)


def _interpolate(
    activation: Activation,
    ends: tuple[Array, Array],
    windows: Array,
    size: Array,
    negligible: Array,
    graded: bool,
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Coefficients (n, DEGREE, LEVELS), errors (n, LEVELS), and which are as good as they get."""
    half = 0.5 * (windows[:, 1] - windows[:, 0])
    centre = 0.5 * (windows[:, 1] + windows[:, 0])
    points = centre[:, None] + half[:, None] * _POINTS
    margin = 1.0 - (np.maximum(ends[1] - centre, centre - ends[0]) / half) ** 2
    given = len(size)
    jet = np.empty((given, *points.shape))
    with np.errstate(all="ignore"):
        _evaluate(activation, points, jet)
        jet = np.moveaxis(jet, 0, -1)  # (n, DEGREE, given)
        coefficients = np.zeros((len(half), DEGREE, LEVELS))
        coefficients[..., :given] = _TO_COEFFICIENTS @ jet
        largest = np.abs(jet).max(axis=1)
        # trailing coefficients that are rounding are left out
        beyond = np.maximum.accumulate(np.abs(coefficients[:, ::-1, :given]), axis=1)[:, ::-1]
        coefficients[..., :given][beyond <= 2 * _EPS * largest[:, None]] = 0.0
        last = np.abs(coefficients[:, -_LAST:, :given]).max(axis=1)
        before = np.abs(coefficients[:, -4 * _LAST : -2 * _LAST, :given]).max(axis=1)
        allowed = np.maximum(_RESOLVED * largest, negligible)
        level = (last > _LEVEL * before) & (last <= _NOISE * largest)
        fine = half <= _FINE * np.maximum(1.0, np.abs(windows).max(axis=1))
        level |= (last > _LEVEL * before) & (last <= _ABSOLUTE * size) & fine[:, None]
        good = ((last <= allowed) | level).all(axis=1)
        if graded:
            smallest = np.abs(jet).min(axis=1)
            good &= ~((smallest < _GRADED * largest) & (largest > negligible)).any(axis=1)
        errors = np.zeros((len(half), LEVELS))
        noisy = (level & (last > allowed)).any(axis=1)[:, None]
        errors[:, :given] = np.where(noisy, DEGREE, _LAST) * last + _ROUNDING * largest
        # the argument is rounded too
        distance = np.abs(windows).max(axis=1)
        slope = np.append(largest[:, 1:], largest[:, -1:] ** 2, axis=1)
        if given > 1:
            slope[:, -1] /= np.maximum(largest[:, -2], 1e-300)
            slope[:, -1] = np.minimum(slope[:, -1], DEGREE / half * largest[:, -1])
            errors[:, :given] += 2 * _EPS * distance[:, None] * slope
        if given < LEVELS:
            _differentiate(coefficients, errors, half, margin, given)
        bad = ~np.isfinite(coefficients).all(axis=1) | ~np.isfinite(errors)
        errors[bad] = np.inf
        coefficients[~np.isfinite(coefficients).all(axis=(1, 2))] = 0.0
    return coefficients, errors, good


def _evaluate(activation: Activation, points: Array, jet: Array) -> None:
    """The activation on the points (n, DEGREE) of n pieces.

    Far out, where it may leave the range of float64, an error of its own leaves NaN.
    """
    try:
        activation.jet(np.ascontiguousarray(points), jet)
    except InfflowError:
        far = (np.abs(points) > _DEFINED).any(axis=1)
        if not far.any():
            raise
        near = np.empty((len(jet), int((~far).sum()), DEGREE))
        activation.jet(np.ascontiguousarray(points[~far]), near)
        jet[:, ~far] = near
        for n in np.flatnonzero(far):
            row = np.full((len(jet), 1, DEGREE), np.nan)
            with contextlib.suppress(InfflowError):
                activation.jet(np.ascontiguousarray(points[n : n + 1]), row)
            jet[:, n] = row[:, 0]


def _differentiate(
    coefficients: Array, errors: Array, half: Array, margin: Array, given: int
) -> None:
    """Fill the derivatives that are not given, and their errors by Bernstein's inequality.

    Coefficients below the error are rounding, and left out: they would grow most. The factor of
    a derivative is the degree over ``sqrt(1 - t^2)`` inside of the window (``margin`` of t), and
    at most the square of the degree.
    """
    last = coefficients[..., given - 1]
    noise = errors[:, given - 1, None] / DEGREE
    beyond = np.maximum.accumulate(np.abs(last[:, ::-1]), axis=1)[:, ::-1]
    kept = np.where(beyond > noise, last, 0.0)
    degree = np.maximum((beyond > noise).sum(axis=1), 2.0)
    factor = np.minimum(degree**2, degree / np.sqrt(np.maximum(margin, 1e-6))) / half
    for p in range(given, LEVELS):
        kept = (kept @ DERIVATIVE.T) / half[:, None]
        coefficients[..., p] = kept
        errors[:, p] = errors[:, p - 1] * factor


def _runs(edges: Array, windows: Array, coefficients: Array, kinks: Array) -> tuple[Array, Array]:
    """How far the polynomial of each piece is valid (P, 2), and the edges where it changes."""
    degree = coefficients.shape[1]
    if degree > FEW:
        return windows, edges
    low, high = windows.T
    centre = 0.5 * (low + high)
    half = 0.5 * (high - low)
    # the next piece at its own points, by its own polynomial and by the one before
    points = centre[1:, None] + half[1:, None] * _POINTS
    t = (points - centre[:-1, None]) / half[:-1, None]
    before = vandermonde(t, degree)
    found = before @ coefficients[:-1]
    size = np.abs(before) @ np.abs(coefficients[:-1])
    own = vandermonde(np.broadcast_to(_POINTS, t.shape), degree) @ coefficients[1:]
    same = (np.abs(found - own) <= _AGREE * size).all(axis=(1, 2))
    same &= ~np.isin(edges[1:-1], kinks)
    start = np.concatenate([[True], ~same])
    run = np.cumsum(start) - 1
    first = np.flatnonzero(start)
    last = np.append(first[1:], len(start)) - 1
    valid = np.stack([low[first], high[last]], axis=1)[run]
    return valid, np.append(edges[:-1][start], edges[-1])


def _sides(
    edges: Array, windows: Array, coefficients: Array, errors: Array, kinks: Array
) -> tuple[Array, Array, Array]:
    """Limits (k, LEVELS) from both sides of the kinks, and errors of their differences.

    Differences within the error are none.
    """
    after = np.searchsorted(edges, kinks)
    inside = (after >= 1) & (after < len(edges) - 1)
    after = np.where(inside, after, 1)
    before = after - 1

    def at(piece: Index) -> Array:
        low, high = windows[piece].T
        t = (kinks - 0.5 * (low + high)) / (0.5 * (high - low))
        found: Array = np.einsum(
            "kd,kdp->kp", vandermonde(t, coefficients.shape[1]), coefficients[piece]
        )
        return found

    left = at(before)
    right = at(after)
    noise = errors[before] + errors[after]
    same = ~(np.abs(right - left) > 8.0 * noise) | ~inside[:, None]
    return left, np.where(same, left, right), np.where(same, 0.0, noise)
