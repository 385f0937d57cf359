"""Hermite series as an evaluator: single moments, and jets of a network's pairs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ..evaluator import (
    GOOD_ENOUGH,
    Arguments,
    Estimate,
    Evaluator,
    Filled,
    Flags,
    Index,
    PairIntegrals,
    Pairs,
    Points,
    Request,
)
from ..jets import write_jets
from . import series as hermite

__all__ = ["HermiteSeries", "SeriesPairs"]

# Points that are summed at a time, and neurons whose coefficients are held meanwhile.
_POINTS = 100_000
_NEURONS = 20_000
# Series are summed on to this fraction of rtol where the terms are there anyway: sums over pairs
# that nearly cancel, next to a teacher, then do so to rounding.
_FINER = 1e-5
# Series that are as accurate as this take the place of closed forms.
_AS_CLOSED = 1e-13
# Squared lengths of equal neurons differ by this at most, relatively: they are summed in different
# orders.
_SAME = 1e-14


class HermiteSeries(Evaluator):
    """Hermite series of smooth activations.

    Parameters
    ----------
    check_growth : function of (activation, C, b)
        Refuses neurons whose second moment is infinite; asked where a series tells nothing.
    """

    def __init__(self, check_growth: Callable[[Activation, Array, Array], None]) -> None:
        self._check_growth = check_growth

    def defined(self, *activations: Activation) -> bool:
        """Whether all are smooth."""
        return all(hermite.is_defined(activation) for activation in activations)

    def rank(self, *activations: Activation) -> int:
        """After closed forms of few terms."""
        return 1

    def squares_are_pairs(self, label: str) -> bool:
        """They are."""
        return True

    def unit(self, label: str) -> str:
        """What ``work`` counts."""
        return "terms"

    def reason(self, label: str, activations: Sequence[Activation]) -> str:
        """Why the bound holds."""
        terms = [f for f in activations if not f.parts]
        terms += [part.primitive for f in activations for part in f.parts]
        if all(f.strip is not None for f in terms):
            return "analytic activations, series converges"
        return (
            "smooth activations, series converges; the bound is an estimate from rules of "
            "different position"
        )

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair; equal neurons, as those of a kernel matrix, are expanded once."""
        size = len(points.u)
        r1, r2 = points.r1, points.r2
        firsts, i = _distinct(r1, points.b1)
        seconds, j = _distinct(r2, points.b2)
        if len(firsts) + len(seconds) > _NEURONS and size > _NEURONS // 2:
            step = _NEURONS // 2
            chunks = [Points(*(x[k : k + step] for x in points)) for k in range(0, size, step)]
            return _joined([self.moment(f, g, chunk, orders, rtol) for chunk in chunks])
        series = hermite.HermiteEvaluator([f] * len(firsts) + [g] * len(seconds), rtol / 4)
        neurons = np.concatenate([firsts, seconds])
        r = np.ascontiguousarray(neurons.real)
        b = np.ascontiguousarray(neurons.imag)
        j += len(firsts)
        parts = [
            _summed(
                series,
                r,
                b,
                i[k : k + _POINTS],
                j[k : k + _POINTS],
                points.u[k : k + _POINTS],
                orders,
                rtol,
            )
            for k in range(0, size, _POINTS)
        ]
        found = _joined(parts)
        useless = ~(found.error_bound <= found.scale)
        if useless.any():
            worst = slice(int(np.argmax(useless)), int(np.argmax(useless)) + 1)
            self._check_growth(f, r1[worst] ** 2, points.b1[worst])
            self._check_growth(g, r2[worst] ** 2, points.b2[worst])
        return found

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        series = hermite.HermiteEvaluator([f] * len(r), rtol)
        series.terms = 1
        expansion = series.expand(r, b, order + 1)
        scale = np.sqrt(expansion.products[:, order, order])
        value = expansion.coefficients[:, 0, order].copy()
        if not (expansion.errors < 1.0).all():
            worst = int(np.argmax(expansion.errors))
            self._check_growth(f, r[worst : worst + 1] ** 2, b[worst : worst + 1])
        return Estimate(value, _absolute(expansion.errors + hermite.ROUNDING, scale), scale, len(r))

    def on_pairs(self, pairs: Pairs, rows: Index, rtol: float) -> PairIntegrals:
        """All pairs of a network from one expansion of each neuron."""
        return SeriesPairs(pairs, rows, rtol)


def _distinct(r: Array, b: Array) -> tuple[NDArray[np.complex128], NDArray[np.int64]]:
    """The distinct neurons as r + ib, and which of them each is."""
    neurons, place = np.unique(r + 1j * b, return_inverse=True)
    return neurons, place.reshape(-1).astype(np.int64)


def _summed(
    series: hermite.HermiteEvaluator,
    r: Array,
    b: Array,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    u: Array,
    orders: tuple[int, int],
    rtol: float,
) -> Estimate:
    """The series of the pairs i, j of neurons, with as many terms as bring them to the
    tolerance.
    """
    while True:
        expansion = series.expand(r, b, sum(orders) + 1)
        values, bounds, terms = series.pairs(expansion, i, j, u, rtol / 4)
        if not series.can_widen(expansion, i, j, u, bounds, rtol):
            break
    p, q = orders
    scale = np.sqrt(expansion.products[i, p, p] * expansion.products[j, q, q])
    return Estimate(values[:, p, q].copy(), _absolute(bounds, scale), scale, int(terms.sum()))


def _absolute(bounds: Array, scale: Array) -> Array:
    """Absolute bounds from relative ones; infinite ones stay so at a scale of 0."""
    return np.where(np.isinf(bounds), np.inf, np.where(np.isinf(bounds), 0.0, bounds) * scale)


def _joined(parts: list[Estimate]) -> Estimate:
    """The estimates of successive points as one."""
    if not parts:
        return Estimate(np.empty(0), np.empty(0), np.empty(0), 0)
    value, bound, scale = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return Estimate(value, bound, scale, sum(part.work for part in parts))


# --------------------------------------------------------------------------------------------------
# pairs of a network


class _Series(NamedTuple):
    """Pairs (n,) as series see them: rows, places of both neurons among those that are expanded,
    correlation, and whether both are one neuron.
    """

    rows: Index
    i: Index
    j: Index
    u: Array
    same: Flags

    def some(self, which: Flags) -> _Series:
        """Those of a mask (n,)."""
        rows, i, j, u, same = self
        return _Series(rows[which], i[which], j[which], u[which], same[which])


class SeriesPairs(PairIntegrals):
    """Jets of a network's pairs by Hermite series; expansions are kept from call to call.

    Parameters
    ----------
    pairs : Pairs
    rows : integer array
        Those that may come; only their neurons are expanded.
    rtol : float
    """

    def __init__(self, pairs: Pairs, rows: Index, rtol: float) -> None:
        self._pairs = pairs
        self._rtol = rtol
        self._searches = False  # keeps rules from call to call; see :meth:`frozen`
        self._neurons = np.unique(np.concatenate([pairs.i[rows], pairs.j[rows]]))
        self._place = np.full(len(pairs.kind), -1, dtype=np.int64)
        self._place[self._neurons] = np.arange(len(self._neurons))
        # a network's students move, its teachers don't
        first = np.isin(self._neurons, pairs.i)
        batches = [batch for batch in (np.flatnonzero(first), np.flatnonzero(~first)) if len(batch)]
        activations = [pairs.activations[k] for k in self._neurons]
        self.series = hermite.HermiteEvaluator(activations, rtol / 4, batches)

    def frozen(self, rtol: float) -> SeriesPairs:
        """See :meth:`PairIntegrals.frozen`."""
        other = copy.copy(self)
        other._rtol = rtol
        other._searches = True
        other.series = self.series.searching(rtol / 4)
        return other

    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """See :meth:`PairIntegrals.fill`."""
        pairs = self._as_series(rows, args)
        goals = self._goals(pairs, request, args)
        left = (goals < self._rtol) & (order == 2)
        if not left.any():
            bound, work = self._sum(pairs, goals, args, order, out, request.is_fixed)
            return Filled(bound, work, np.flatnonzero(~(bound <= goals)))
        done = ~left
        bound = np.empty(len(rows))
        work = np.full(len(rows), hermite.MAX_TERMS)
        bound[left] = self._foreseen(pairs.some(left))
        found = self._sum(pairs.some(done), goals[done], args, order, out, request.is_fixed)
        bound[done], work[done] = found
        left[done] = ~(bound[done] <= goals[done])
        return Filled(bound, work, np.flatnonzero(left))

    def _sum(
        self,
        pairs: _Series,
        goals: Array,
        args: Arguments,
        order: int,
        out: Array,
        is_fixed: bool,
    ) -> tuple[Array, NDArray[np.int64]]:
        """Write the jets of these pairs; their bounds and numbers of terms."""
        series = self.series
        rows, i, j, u, same = pairs
        r = np.sqrt(args.C[self._neurons])
        b = args.b[self._neurons]
        # closed forms cost less than more terms
        widened = goals == self._rtol
        while True:
            expansion = series.expand(r, b, 2 * order + 1)
            tolerance = 0.0 if is_fixed else _FINER * self._rtol
            moments, bounds, terms = series.pairs(expansion, i, j, u, tolerance)
            bounds[same] = expansion.product_errors[i[same]] + hermite.ROUNDING
            if is_fixed or not series.can_widen(
                expansion, i, j, u, np.where(widened, bounds, 0.0), self._rtol
            ):
                break
        moments[same] = expansion.products[i[same]]
        C11, C12, C22, _, _, det = (x[rows] for x in args.pairs)
        write_jets(moments, C11, C12, C22, det, rows, out)
        return bounds, terms

    def _as_series(self, rows: Index, args: Arguments) -> _Series:
        C11, C12, C22, _, _, _ = (x[rows] for x in args.pairs)
        sizes = np.sqrt(C11 * C22)
        u = np.clip(np.divide(C12, sizes, out=np.zeros_like(C12), where=sizes > 0), -1.0, 1.0)
        i = self._place[self._pairs.i[rows]]
        j = self._place[self._pairs.j[rows]]
        return _Series(rows, i, j, u, self._coincident(rows, args))

    def _goals(self, pairs: _Series, request: Request, args: Arguments) -> Array:
        """Bounds that series have to meet, after choosing their rules and lengths.

        They are small for pairs that closed forms evaluate at order 2, since series may miss the
        tolerance there: at the lower orders a series takes their place only if it is as accurate.
        Otherwise values of one point would differ from order to order by the tolerance.
        """
        goals = np.full(len(pairs.rows), self._rtol)
        if self._searches:
            return goals
        r = np.sqrt(args.C[self._neurons])
        missed = self.series.choose(r, args.b[self._neurons], *pairs[1:], self._rtol)
        if request.covered is not None and missed.any():
            missed[missed] = request.covered(pairs.rows[missed])
            goals[missed] = min(_AS_CLOSED, 0.5 * self._rtol)
        return goals

    def _foreseen(self, pairs: _Series) -> Array:
        """What series would miss, large enough that nobody prefers them."""
        return np.maximum(self.series.foreseen(*pairs[1:]), max(self._rtol, GOOD_ENOUGH))

    def _coincident(self, rows: Index, args: Arguments) -> Flags:
        """Pairs of a neuron with itself or with one that is equal: their moments cancel in the
        gradient next to a teacher.
        """
        i = self._pairs.i[rows]
        j = self._pairs.j[rows]
        kind = self._pairs.kind
        C11, C12, C22, b1, b2, det = args.pairs[:, rows]
        equal = (kind[i] == kind[j]) & (b1 == b2) & (det == 0.0) & (C12 > 0.0)
        close: Flags = (i == j) | (equal & (np.abs(C11 - C22) <= _SAME * C22))
        return close
