"""The numeric evaluator: any activation whose kinks are known, at the speed of linear algebra.

An activation is tabulated once (:mod:`.table`). Moments of neurons and pairs are then sums over the
nodes of Gauss's rules, for all pairs of a network in the same arrays: a user's function is not
called any more, and nothing is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from ...activations import Activation
from ..evaluator import (
    Arguments,
    Estimate,
    Evaluator,
    Filled,
    PairIntegrals,
    Pairs,
    Points,
    Request,
)
from ..jets import F11, F22, from_squares, write_jets
from .jumps import corner_moments, mean_derivatives
from .means import Means, Neurons, neurons, products
from .pairs import PairMoments, pair_moments, square_derivatives
from .table import LEVELS, Index

__all__ = ["Moments", "NumericPairs", "NumericRule", "TablePairs", "sine_squared"]

_EPS = float(np.finfo(np.float64).eps)
# Moments below this may be lost.
_UNDERFLOW = 1e-280
# Pairs whose panels are held at a time.
_PAIRS = 1000


class Moments(NamedTuple):
    """Moments of pairs of neurons.

    ``value`` (n, 5, 5): I(p, q) without ``corners`` (n,), see :mod:`.jumps`, which belongs to F22
    of the jets. ``squares`` (n, 5) are derivatives of E f(h)^2 for the pairs ``itself``, which have
    no moments: a neuron with kinks and itself. ``bound`` (n,) is relative, ``work`` (n,) nodes.
    """

    value: Array
    corners: Array
    squares: Array
    itself: Index
    bound: Array
    work: Index


class NumericPairs:
    """Moments of pairs among the neurons of a network.

    Parameters
    ----------
    activations : list of Activation
        One per neuron.
    """

    def __init__(self, activations: list[Activation]) -> None:
        self._kinds = list(dict.fromkeys(activations))
        number = {activation: place for place, activation in enumerate(self._kinds)}
        self._kind = np.array([number[a] for a in activations], dtype=np.int64)

    def moments(self, i: Index, j: Index, pairs: Array, C: Array, b: Array, order: int) -> Moments:
        """Moments of the pairs i, j.

        Parameters
        ----------
        i, j : (n,) integer arrays
            Neurons; i = j is a neuron with itself.
        pairs : (6, n) array
            C11, C12, C22, b1, b2, det; see :class:`infflow.integrals.evaluator.Arguments`.
        C, b : arrays
            Variances and means of all neurons.
        order : {0, 1, 2}
            Moments p + q <= 2 order enter the bound.
        """
        n = len(i)
        smooth = np.array([not a.kinks for a in self._kinds])
        same = i == j
        itself = np.flatnonzero(same & ~smooth[self._kind[i]])
        levels = 2 * order + 1
        out = Moments(
            np.zeros((n, levels, levels)),
            np.zeros(n),
            np.zeros((len(itself), LEVELS)),
            itself,
            np.zeros(n),
            np.ones(n, dtype=np.int64),
        )
        known: dict[int, tuple[Neurons, Index]] = {}
        needed = np.unique(np.concatenate([i, j]))
        for kind in np.unique(self._kind[needed]):
            rows = needed[self._kind[needed] == kind]
            place = np.full(len(C), -1, dtype=np.int64)
            place[rows] = np.arange(len(rows))
            some = neurons(self._kinds[kind], np.sqrt(C[rows]), b[rows], levels)
            known[int(kind)] = some, place
        keys = self._kind[i] * len(self._kinds) + self._kind[j]
        for key in np.unique(keys):
            (first, where), (second, other) = (
                known[int(k)] for k in divmod(int(key), len(self._kinds))
            )
            rows = np.flatnonzero((keys == key) & ~same)
            for start in range(0, len(rows), _PAIRS):
                part = rows[start : start + _PAIRS]
                found = pair_moments(
                    first, second, where[i[part]], other[j[part]], *_correlation(pairs[:, part])
                )
                _put(found, part, out)
            rows = np.flatnonzero((keys == key) & same)
            if len(rows):
                _put_itself(first.take(where[i[rows]]), rows, out)
        return out


def _put_itself(some: Neurons, rows: Index, out: Moments) -> None:
    """Neurons with themselves."""
    if not len(some.found.kinks):
        value, error = products(some)
        out.value[rows] = value
        scale = some.scale[:, :, None] * some.scale[:, None, :]
        out.bound[rows] = _largest(error, scale)
        return
    derivatives, error, scale = square_derivatives(some)
    place = np.searchsorted(out.itself, rows)
    out.squares[place, : some.levels] = derivatives
    out.bound[rows] = _ratio(error, scale).max(axis=1)


def _put(found: PairMoments, rows: Index, out: Moments) -> None:
    """Copy moments of different neurons into the rows of the result."""
    out.value[rows] = found.value
    # kinks that coincide make moments infinite, but not the jets
    out.corners[rows] = np.where(np.isfinite(found.corners), found.corners, 0.0)
    out.bound[rows] = _largest(found.error, found.scale)
    out.work[rows] = found.work


def sine_squared(C11: Array, C22: Array, det: Array) -> Array:
    """1 - u^2 (n,); 1 for constant neurons."""
    sizes = C11 * C22
    return np.divide(np.maximum(det, 0.0), sizes, out=np.ones_like(det), where=sizes > 0.0)


def _correlation(pairs: Array) -> tuple[Array, Array]:
    """Correlation and sine (n,) of pairs with the rows C11, C12, C22, b1, b2, det."""
    C11, C12, C22, _, _, det = pairs
    sizes = C11 * C22
    u = np.divide(C12, np.sqrt(sizes), out=np.zeros_like(C12), where=sizes > 0.0)
    s = np.sqrt(sine_squared(C11, C22, det))
    return np.clip(u, -1.0, 1.0), np.minimum(s, 1.0)


def _ratio(error: Array, scale: Array) -> Array:
    """Errors relative to their scales; no error is none, whatever the scale."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0.0, 0.0, error / scale)


def _largest(error: Array, scale: Array) -> Array:
    """The largest relative error (n,) of the moments that were asked for."""
    levels = error.shape[1]
    p, q = np.indices((levels, levels))
    used = p + q < levels
    found: Array = _ratio(error[:, used], scale[:, used]).max(axis=1) + 8 * _EPS
    return found


class TablePairs(PairIntegrals):
    """Jets of a network's pairs from the moments of :class:`NumericPairs`."""

    def __init__(self, pairs: Pairs, rtol: float) -> None:
        self._pairs = pairs
        self._rtol = rtol
        self._tables = NumericPairs(pairs.activations)

    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """See :meth:`PairIntegrals.fill`."""
        i = self._pairs.i[rows]
        j = self._pairs.j[rows]
        found = self._tables.moments(i, j, args.pairs[:, rows], args.C, args.b, order)
        C11, C12, C22, _, _, det = (x[rows] for x in args.pairs)
        with np.errstate(invalid="ignore"):  # infinities of both signs
            write_jets(found.value, C11, C12, C22, det, rows, out)
        jets = out[rows]
        if order == 2:
            jets[:, F22] += found.corners
            jets[:, F11] += found.corners * sine_squared(C11, C22, det)
        jets[found.itself] = from_squares(found.squares, order)
        # as everywhere, infinite second derivatives stay, infinite first ones are left out
        jets[:, 6:][~np.isfinite(jets[:, 6:])] = np.inf
        jets[:, :6][~np.isfinite(jets[:, :6])] = 0.0
        out[rows] = jets
        left = np.flatnonzero(~(found.bound <= self._rtol))
        return Filled(found.bound, found.work, left)


class NumericRule(Evaluator):
    """Single moments by the same rules; see :class:`infflow.integrals.evaluator.Evaluator`."""

    omits_kinks = True

    def defined(self, *activations: Activation) -> bool:
        """Always: kinks are known, and derivatives that are not given come from the table."""
        return True

    def rank(self, *activations: Activation) -> int:
        """After series and closed forms."""
        return 3

    def squares_are_pairs(self, label: str) -> bool:
        """They are."""
        return True

    def unit(self, label: str) -> str:
        """What ``work`` counts."""
        return "nodes"

    def reason(self, label: str, activations: Sequence[Activation]) -> str:
        """What it is."""
        return "table of the activation, Gauss's rules"

    def on_pairs(self, pairs: Pairs, rows: Index, rtol: float) -> PairIntegrals:
        """All pairs of a network in the same arrays."""
        return TablePairs(pairs, rtol)

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair; equal neurons are looked at once."""
        p, q = orders
        first, i = _distinct(f, points.r1, points.b1)
        second, j = _distinct(g, points.r2, points.b2)
        n = len(points.u)
        value, bound, scale = np.zeros((3, n))
        work = 0
        for start in range(0, n, _PAIRS):
            part = slice(start, start + _PAIRS)
            u = points.u[part]
            s = np.sqrt((1.0 - u) * (1.0 + u))
            found = pair_moments(first, second, i[part], j[part], u, s)
            whole = _with_corners(found, points.r1[part], points.r2[part], u)
            value[part] = whole[:, p, q]
            # where E f^2 is out of reach no moment is known, be it infinite or not
            unknown = ~np.isfinite(found.error[:, p, q])
            value[part] = np.where(unknown, 0.0, value[part])
            finite = np.isfinite(value[part]) & ~unknown
            errors = (found.error + found.rounding)[:, p, q] + 8 * _EPS * np.abs(value[part])
            errors += _UNDERFLOW
            bound[part] = np.where(finite, errors, np.inf)
            known = ~unknown & ~np.isnan(found.scale[:, p, q])
            scale[part] = np.where(known, found.scale[:, p, q], 0.0)
            work += int(found.work.sum())
        return Estimate(value, bound, scale, work)

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        some = neurons(f, r, b)
        value, error = mean_derivatives(some.found, r, b, Means(some.mean, some.error, some.rms**2))
        known = np.isfinite(some.error[:, order])
        mean = np.where(known & np.isfinite(value[:, order]), value[:, order], np.inf)
        bound = np.where(known, error[:, order] + _UNDERFLOW, np.inf)
        scale = np.where(known, some.scale[:, order], 0.0)
        return Estimate(np.where(known, mean, 0.0), bound, scale, len(r))


def _distinct(f: Activation, r: Array, b: Array) -> tuple[Neurons, Index]:
    """The distinct neurons, and which of them each is."""
    pairs, place = np.unique(r + 1j * b, return_inverse=True)
    some = neurons(f, np.ascontiguousarray(pairs.real), np.ascontiguousarray(pairs.imag))
    return some, place.reshape(-1).astype(np.int64)


def _with_corners(found: PairMoments, r1: Array, r2: Array, u: Array) -> Array:
    """All of I(p, q); infinite ones are ``inf``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        c1 = np.where(r1 > 0.0, r2 * u / r1, 0.0)
        c2 = np.where(r2 > 0.0, r1 * u / r2, 0.0)
        whole = found.value + corner_moments(found.corners, c1, c2)
    result: Array = np.where(np.isfinite(whole), whole, np.inf)
    return result
