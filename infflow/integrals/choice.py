"""Jets of the pairs of a network: the cheapest evaluator whose error bound meets the tolerance,
pair by pair.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, user_level
from ..activations import Activation, resolve
from ..compile_time import running_time
from ..errors import AccuracyWarning, MethodError
from . import from_moments
from .closed import elu as one_sided
from .closed import error_bounds as rounding
from .closed import pairs as closed
from .growth import check_growth
from .hermite import series as hermite
from .jets import F11, F22, J00, SIZES, write_jets
from .numeric.evaluator import NumericPairs, sine_squared
from .registry import EVALUATORS, in_order, is_cheap

Index = NDArray[np.integer]

#: Methods of the registry that have no code of their own here.
_OWN = ("closed", "hermite", "numeric", "cubature")
_OTHERS = tuple(name for name in EVALUATORS if name not in _OWN)
#: Methods in the order of a report's codes; "mixture" and "one-sided" (elu, selu) are closed forms
#: that cost more.
METHODS = (
    "closed",
    "hermite",
    "mixture",
    "one-sided",
    "cubature",
    "surrogate",
    "numeric",
    *_OTHERS,
)
_CLOSED = ("closed", "mixture", "one-sided")
# Series are summed on to this fraction of rtol where the terms are there anyway: sums over pairs
# that nearly cancel, next to a teacher, then do so to rounding.
_FINER = 1e-5
# Series that are as accurate as this take the place of closed forms.
_AS_CLOSED = 1e-13
#: Error of closed forms relative to sqrt(E f^2 E g^2), measured in the tests.
CLOSED_BOUND = 1e-14
#: Mixtures stay below this for |b| <= 10; a smaller rtol does not make them hand over.
MIXTURE_BOUND = 1e-12

# Squared lengths of equal neurons differ by this at most, relatively: they are summed in different
# orders.
_SAME = 1e-14

# A neuron with itself: only T_n = d^n/db^n E f(h)^2 is defined, since both places hold the same h.
# The assembly adds 2^n columns per order n, so each moment I(p, q) with p + q = n gets T_n/2^n.
# With D = d1 + d2 the frame has F40 = D^2 d1^2 = 4 I, F31 = 2 I, F22 = I, F11 = 4 I.
_SELF_ORDER = np.array([0, 2, 2, 2, 1, 1, *[2] * 3, *[3] * 6, *[4] * 6])
_SELF_SHARE = 0.5**_SELF_ORDER * np.array([1.0] * 15 + [4.0, 2.0, 1.0, 2.0, 4.0, 4.0])


class Arguments(NamedTuple):
    """Where jets are wanted: rows C11, C12, C22, b1, b2, det of ``pairs`` (6, pairs), and r^2, b of
    the neurons (n,).
    """

    pairs: Array
    C: Array
    b: Array


@dataclass
class Report:
    """Methods, bounds and work of the last evaluation of each pair.

    Code of the method, relative error bound, work (pairs of atoms, terms of the series, or nodes);
    ``missed`` is the bound of a cheaper method that was tried and did not meet the tolerance (0:
    none). ``seconds`` for all pairs of a method.
    """

    method: NDArray[np.int8]
    bound: Array
    work: NDArray[np.int64]
    missed: Array
    seconds: dict[str, float]


def empty_report(pairs: int) -> Report:
    """A report of nothing evaluated yet."""
    return Report(
        np.zeros(pairs, np.int8), np.zeros(pairs), np.zeros(pairs, np.int64), np.zeros(pairs), {}
    )


class _Kept(NamedTuple):
    """Jets, bounds and methods of some rows as another method left them."""

    jets: Array
    bound: Array
    method: NDArray[np.int8]


class _SeriesPairs(NamedTuple):
    """Pairs (n,) as series see them: rows, places of both neurons among those that are expanded,
    correlation, and whether both are one neuron.
    """

    rows: Index
    i: Index
    j: Index
    u: Array
    same: NDArray[np.bool_]

    def some(self, which: NDArray[np.bool_]) -> _SeriesPairs:
        """Those of a mask (n,)."""
        rows, i, j, u, same = self
        return _SeriesPairs(rows[which], i[which], j[which], u[which], same[which])


def candidates(f: Activation, g: Activation, method: str = "auto") -> tuple[str, ...]:
    """Methods that are defined for a pair of activations, in the order in which they are tried.

    Raises
    ------
    MethodError
        If the method that was asked for is not defined for the pair.
    """
    of_closed = "one-sided"
    if closed.is_defined(f, g):
        of_closed = "closed" if is_cheap(f, g) or method == "closed" else "mixture"
    found = [of_closed if name == "closed" else name for name in in_order(f, g)]
    if method == "closed" and of_closed in found:
        return (of_closed,)
    if method == "auto":
        mixture = max(len(f.atoms), len(g.atoms)) >= closed.MANY_WIDTHS
        return ("closed",) if found[0] == "closed" and not mixture else tuple(found)
    if method not in found:
        names = " and ".join(dict.fromkeys(repr(a.name) for a in (f, g)))
        defined = dict.fromkeys("closed" if name in _CLOSED else name for name in candidates(f, g))
        raise MethodError(
            f"the method {method!r} is not defined for {names}; defined are "
            f"{', '.join(map(repr, defined))}. Use method='auto'."
        )
    return (method,)


class PairEvaluator:
    """Jets of a fixed list of pairs among a fixed list of neurons.

    Parameters
    ----------
    activations : list of Activation
        One per neuron.
    i, j : integer arrays (pairs,)
        Neurons of each pair; i = j stands for a neuron with itself.
    method : str
        "auto", or the one method to use.
    rtol : float
        Tolerance relative to sqrt(E f^(p)^2 E g^(q)^2).
    """

    def __init__(
        self,
        activations: list[Activation],
        i: Index,
        j: Index,
        method: str = "auto",
        rtol: float = 1e-10,
    ) -> None:
        self.activations = activations
        self.i, self.j = np.asarray(i, dtype=np.int64), np.asarray(j, dtype=np.int64)
        self.method = method
        self.rtol = rtol
        kinds = list(dict.fromkeys(activations))
        self._kind = np.array([kinds.index(a) for a in activations], dtype=np.int64)
        self._groups = self._plan(kinds)
        # rows of pairs that a closed form can take from a series
        self._has_closed_form = np.zeros(len(self.i), dtype=np.bool_)
        for names, rows in self._groups.items():
            self._has_closed_form[rows] = "hermite" in names and not set(_CLOSED).isdisjoint(names)
        used = [k for k, a in enumerate(kinds) if closed.is_defined(a)]
        self._table = closed.AtomTable([kinds[k] for k in used])
        place = np.full(len(kinds), -1, dtype=np.int64)  # -1: has no closed form
        place[used] = np.arange(len(used))
        self._f, self._g = place[self._kind[self.i]], place[self._kind[self.j]]
        step = np.array([_is_step(a) for a in activations], dtype=bool)
        self._steps = np.flatnonzero((self.i == self.j) & step[self.i])
        atoms = np.array([max(1, len(a.atoms)) for a in activations], dtype=np.int64)
        self._atoms = atoms[self.i] * atoms[self.j]
        self._mixtures = {
            f: np.flatnonzero(self._kind == k)
            for k, f in enumerate(kinds)
            if len(f.atoms) >= closed.MANY_WIDTHS
        }
        self._waves = {
            f: np.flatnonzero(self._kind == k)
            for k, f in enumerate(kinds)
            if any(wave.rate.imag != 0.0 for wave in f.waves)
        }
        self._hermite = self._hermite_neurons()
        self._tables = NumericPairs(activations)
        self.report = empty_report(len(self.i))
        self._frozen: dict[str, Index] | None = None
        self._is_copy = False  # made by :meth:`frozen`, where choices are kept from call to call
        self._last: Arguments | None = None
        self._limit = np.empty(0)  # bounds above which a frozen evaluator chooses anew
        self._tolerance = rtol
        # With cheap closed forms only, the report never changes: it is written once.
        self._only_atoms = (
            set(self._groups) == {("closed",)} and self._table.only_atoms and not self._mixtures
        )
        if self._only_atoms:
            self.report.bound[:], self.report.work[:] = CLOSED_BOUND, self._atoms

    def _plan(self, kinds: list[Activation]) -> dict[tuple[str, ...], Index]:
        """Rows of the pairs that share a list of candidates."""
        pair_kind = self._kind[self.i] * len(kinds) + self._kind[self.j]
        groups: dict[tuple[str, ...], list[Index]] = {}
        for kind in np.unique(pair_kind):
            f = kinds[kind // len(kinds)]
            g = kinds[kind % len(kinds)]
            groups.setdefault(candidates(f, g, self.method), []).append(
                np.flatnonzero(pair_kind == kind)
            )
        return {names: np.sort(np.concatenate(rows)) for names, rows in groups.items()}

    def _hermite_neurons(self) -> hermite.HermiteEvaluator | None:
        """The Hermite evaluator of the neurons that may need one."""
        rows = [rows for names, rows in self._groups.items() if "hermite" in names]
        if not rows:
            return None
        every = np.concatenate(rows)
        self._neurons = np.unique(np.concatenate([self.i[every], self.j[every]]))
        self._place = np.full(len(self.activations), -1, dtype=np.int64)
        self._place[self._neurons] = np.arange(len(self._neurons))
        first = np.isin(self._neurons, self.i)  # a network's students move, its teachers don't
        batches = [batch for batch in (np.flatnonzero(first), np.flatnonzero(~first)) if len(batch)]
        return hermite.HermiteEvaluator(
            [self.activations[k] for k in self._neurons], self.rtol / 4, batches
        )

    # ----------------------------------------------------------------------------------------------
    # evaluation

    def __call__(self, args: Arguments, order: int) -> Array:
        """Jets ``(pairs, 1 | 6 | 21)``.

        Warns
        -----
        AccuracyWarning
            If an error bound misses the tolerance with every method that is allowed.
        """
        out = np.empty((len(self.i), SIZES[order]))
        self._last = args
        if self._only_atoms:
            start = running_time()
            closed.pair_jets(self._table, self._f, self._g, args.pairs, order, out)
            self.report.seconds["closed"] = running_time() - start
        elif self._frozen is not None:
            for _ in range(2):
                for name, rows in self._frozen.items():
                    self._apply(name, rows, args, order, out)
                if (self.report.bound <= self._limit).all():
                    break
                self._choose(args)
        else:
            for names, rows in self._groups.items():
                self.report.missed[rows] = 0.0
                for name in names:
                    before = None
                    if name != names[0]:
                        before = _Kept(out[rows], self.report.bound[rows], self.report.method[rows])
                    left = self._apply(name, rows, args, order, out)
                    if before is not None and len(left):
                        self._keep_better(before, np.searchsorted(rows, left), left, out)
                    rows = left
                    if not len(rows):
                        break
                    self.report.missed[rows] = self.report.bound[rows]
                else:
                    self._warn(rows, out[rows, J00])
        if len(self._steps):
            neurons = self.i[self._steps]
            out[self._steps] = steps_with_themselves(
                [self.activations[k] for k in neurons], args.C[neurons], args.b[neurons], order
            )
        return out

    def _keep_better(self, before: _Kept, place: Index, rows: Index, out: Array) -> None:
        """Take back rows whose bound was smaller with the method before; ``place`` is where they
        are in ``before``.
        """
        jets, bounds, methods = before
        better = bounds[place] < self.report.bound[rows]
        rows = rows[better]
        place = place[better]
        out[rows] = jets[place]
        self.report.bound[rows] = bounds[place]
        self.report.method[rows] = methods[place]

    def bounds(self) -> Array:
        """Relative error bounds (pairs,) of the last evaluation.

        Those of closed forms are rounding; where the kinks of two nearly parallel neurons nearly
        coincide, it is amplified by up to the square of |b|/(r s), s the sine of the angle, since
        the kinks' distance is known to the rounding of b only.
        """
        found = self.report.bound.copy()
        if self._last is None:
            return found
        kinked = np.array([bool(a.kinks) for a in self.activations])
        sharp = [METHODS.index(name) for name in (*_CLOSED, "numeric")]
        exact = np.isin(self.report.method, sharp)
        rows = np.flatnonzero(exact & kinked[self.i] & kinked[self.j])
        C11, _, C22, b1, b2, det = self._last.pairs[:, rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.maximum(np.abs(b1) / np.sqrt(C11), np.abs(b2) / np.sqrt(C22))
            growth = distance**2 * C11 * C22 / det
        found[rows] *= 1.0 + np.where(np.isfinite(growth), growth, 0.0)
        return found

    def frozen(self, args: Arguments, rtol: float) -> PairEvaluator:
        """A copy whose jets are, next to ``args``, one smooth function of their arguments.

        Every pair keeps one method, with rules of fixed length: the first that meets ``rtol`` at
        ``args``, or else the one with the smallest bound (cubature only where nothing else meets
        the tolerance of this evaluator). They are chosen anew where a bound grows tenfold. A copy
        never warns.
        """
        other = copy.copy(self)
        other.rtol = rtol
        other._tolerance = self.rtol
        other._is_copy = True
        other.report = empty_report(len(self.i))
        if self._hermite is not None:
            other._hermite = self._hermite.searching(rtol / 4)
        other._choose(args)
        return other

    @property
    def is_smooth(self) -> bool:
        """Whether nothing is chosen by tolerances, so that freezing changes nothing."""
        return all(names[0] in ("closed", "one-sided") for names in self._groups)

    def _choose(self, args: Arguments) -> None:
        """Fix the methods for :meth:`frozen`."""
        self._frozen = None
        out = np.empty((len(self.i), SIZES[2]))
        codes = np.zeros(len(self.i), dtype=np.int8)
        bounds = np.full(len(self.i), np.inf)
        for names, rows in self._groups.items():
            for name in names:
                if name == "cubature":
                    rows = rows[~(bounds[rows] <= max(self._tolerance, self.rtol))]
                if not len(rows):
                    break
                self._apply(name, rows, args, 2, out)
                better = rows[(self.report.bound[rows] < bounds[rows]) | (name == names[0])]
                codes[better] = METHODS.index(name)
                bounds[better] = self.report.bound[better]
                rows = rows[~(bounds[rows] <= self.rtol)]
        self._limit = np.maximum(10.0 * bounds, self.rtol)
        self._frozen = {
            name: np.flatnonzero(codes == k) for k, name in enumerate(METHODS) if (codes == k).any()
        }

    def _apply(self, name: str, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        """Fill the rows by one method; returns those whose bound it misses."""
        start = running_time()
        if name in _OTHERS:
            left = self._from_moments(name, rows, args, order, out)
        else:
            left = {
                "closed": self._closed,
                "mixture": self._closed,
                "one-sided": self._one_sided,
                "hermite": self._series,
                "numeric": self._numeric,
                "cubature": self._cubature,
            }[name](rows, args, order, out)
        self.report.method[rows] = METHODS.index(name)
        self.report.seconds[name] = running_time() - start
        return left

    def _closed(self, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        whole = len(rows) == len(self.i)
        pick: slice | Index = slice(None) if whole else rows
        jets = closed.pair_jets(
            self._table,
            self._f[pick],
            self._g[pick],
            args.pairs[:, pick],
            order,
            out if whole else None,
        )
        if not whole:
            out[rows] = jets
        return self._report_closed(rows, args, order)

    def _report_closed(self, rows: Index, args: Arguments, order: int) -> Index:
        """Bounds of closed forms, which are those of rounding but for mixtures; returns rows whose
        bound misses the tolerance.
        """
        bound = self._closed_bounds(rows, args, order)
        self.report.work[rows] = self._atoms[rows]
        self.report.bound[rows] = bound
        return rows[:0] if self._frozen is not None else rows[bound > max(self.rtol, MIXTURE_BOUND)]

    def _closed_bounds(self, rows: Index, args: Arguments, order: int) -> Array:
        """Bounds of closed forms of some rows."""
        bound = np.full(len(rows), CLOSED_BOUND)
        if self._mixtures or self._waves:
            errors = np.zeros(len(self.activations))
            for f, neurons in self._mixtures.items():
                errors[neurons] = rounding.mixture_error(
                    f, np.sqrt(args.C[neurons]), args.b[neurons], 2 * order
                )
            for f, neurons in self._waves.items():
                phase = rounding.phase_error(f, np.sqrt(args.C[neurons]), args.b[neurons])
                errors[neurons] = CLOSED_BOUND * phase
            bound += errors[self.i[rows]] + errors[self.j[rows]]
        return bound

    def _one_sided(self, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        kinds = self._kind[self.i[rows]] * len(self.activations) + self._kind[self.j[rows]]
        itself = self.i[rows] == self.j[rows]
        for kind in np.unique(kinds):
            some = rows[(kinds == kind) & ~itself]
            if len(some):
                f = self.activations[self.i[some[0]]]
                g = self.activations[self.j[some[0]]]
                C11, C12, C22, b1, b2, det = np.ascontiguousarray(args.pairs[:, some])
                out[some] = one_sided.pair_jets(f, g, C11, C12, C22, b1, b2, det, order)
            some = rows[(kinds == kind) & itself]
            if len(some):
                neurons = self.i[some]
                found = one_sided.squares(
                    self.activations[neurons[0]], args.C[neurons], args.b[neurons]
                )
                out[some] = _from_squares(found.derivatives, order)
        return self._report_closed(rows, args, order)

    def _series(self, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        assert self._hermite is not None
        series = self._hermite
        every = rows
        r = np.sqrt(args.C[self._neurons])
        b = args.b[self._neurons]
        pairs = self._series_pairs(rows, args)
        goals = self._series_goals(pairs, args, r, b)
        left = (goals < self.rtol) & (order == 2)
        if left.any():
            self._foresee(pairs.some(left))
            pairs = pairs.some(~left)
            goals = goals[~left]
        rows, i, j, u, same = pairs
        # closed forms cost less than more terms
        widened = goals == self.rtol
        while True:
            expansion = series.expand(r, b, 2 * order + 1)
            tolerance = 0.0 if self._frozen is not None else _FINER * self.rtol
            moments, bounds, terms = series.pairs(expansion, i, j, u, tolerance)
            bounds[same] = expansion.product_errors[i[same]] + hermite.ROUNDING
            if self._frozen is not None or not series.can_widen(
                expansion, i, j, u, np.where(widened, bounds, 0.0), self.rtol
            ):
                break
        moments[same] = expansion.products[i[same]]
        C11, C12, C22, _, _, det = (x[rows] for x in args.pairs)
        write_jets(moments, C11, C12, C22, det, rows, out)
        self.report.bound[rows] = bounds
        self.report.work[rows] = terms
        if self._frozen is not None:
            return rows[:0]
        left[~left] = ~(bounds <= goals)
        return every[left]

    def _series_pairs(self, rows: Index, args: Arguments) -> _SeriesPairs:
        C11, C12, C22, _, _, _ = (x[rows] for x in args.pairs)
        sizes = np.sqrt(C11 * C22)
        u = np.clip(np.divide(C12, sizes, out=np.zeros_like(C12), where=sizes > 0), -1.0, 1.0)
        i = self._place[self.i[rows]]
        j = self._place[self.j[rows]]
        return _SeriesPairs(rows, i, j, u, self._coincident(rows, args))

    def _series_goals(self, pairs: _SeriesPairs, args: Arguments, r: Array, b: Array) -> Array:
        """Bounds that series have to meet, after choosing their rules and lengths.

        They are small for pairs that closed forms evaluate at order 2, since series may miss the
        tolerance there: at the lower orders a series takes their place only if it is as accurate.
        Otherwise values of one point would differ from order to order by the tolerance.
        """
        assert self._hermite is not None
        goals = np.full(len(pairs.rows), self.rtol)
        if self._is_copy:
            return goals
        missed = self._hermite.choose(r, b, *pairs[1:], self.rtol)
        missed &= self._has_closed_form[pairs.rows]
        if missed.any():
            missed &= self._closed_bounds(pairs.rows, args, 2) <= max(self.rtol, MIXTURE_BOUND)
            goals[missed] = min(_AS_CLOSED, 0.5 * self.rtol)
        return goals

    def _foresee(self, pairs: _SeriesPairs) -> None:
        """Report what series would miss, large enough that nobody prefers them."""
        assert self._hermite is not None
        least = max(self.rtol, MIXTURE_BOUND)
        self.report.bound[pairs.rows] = np.maximum(self._hermite.foreseen(*pairs[1:]), least)
        self.report.work[pairs.rows] = hermite.MAX_TERMS

    def _coincident(self, rows: Index, args: Arguments) -> NDArray[np.bool_]:
        """Pairs of a neuron with itself or with one that is equal: their moments cancel in the
        gradient next to a teacher.
        """
        i, j = self.i[rows], self.j[rows]
        C11, C12, C22, b1, b2, det = args.pairs[:, rows]
        equal = (self._kind[i] == self._kind[j]) & (b1 == b2) & (det == 0.0) & (C12 > 0.0)
        close: NDArray[np.bool_] = (i == j) | (equal & (np.abs(C11 - C22) <= _SAME * C22))
        return close

    def _numeric(self, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        found = self._tables.moments(
            self.i[rows], self.j[rows], args.pairs[:, rows], args.C, args.b, order
        )
        C11, C12, C22, _, _, det = (x[rows] for x in args.pairs)
        with np.errstate(invalid="ignore"):  # infinities of both signs
            write_jets(found.value, C11, C12, C22, det, rows, out)
        jets = out[rows]
        if order == 2:
            jets[:, F22] += found.corners
            jets[:, F11] += found.corners * sine_squared(C11, C22, det)
        jets[found.itself] = _from_squares(found.squares, order)
        # as everywhere, infinite second derivatives stay, infinite first ones are left out
        jets[:, 6:][~np.isfinite(jets[:, 6:])] = np.inf
        jets[:, :6][~np.isfinite(jets[:, :6])] = 0.0
        out[rows] = jets
        self.report.bound[rows] = found.bound
        self.report.work[rows] = found.work
        return rows[:0] if self._frozen is not None else rows[~(found.bound <= self._tolerance)]

    def _cubature(self, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        rtol = self._tolerance  # a frozen evaluator does not ask more of it, which would take long
        for row in rows:
            i = int(self.i[row])
            j = int(self.j[row])
            if i == j:
                jet, bound, work = _cubature_itself(
                    self.activations[i], args.C[i], args.b[i], order, rtol
                )
            else:
                pair = args.pairs[:, row]
                jet, bound, work = _cubature_pair(
                    self.activations[i], self.activations[j], pair, order, rtol
                )
            out[row] = jet
            self.report.bound[row] = bound
            self.report.work[row] = work
        return rows[self.report.bound[rows] > rtol]

    def _from_moments(
        self, name: str, rows: Index, args: Arguments, order: int, out: Array
    ) -> Index:
        evaluator = EVALUATORS[name]
        rtol = self._tolerance
        itself = self.i[rows] == self.j[rows]
        kinds = self._kind[self.i[rows]] * len(self.activations) + self._kind[self.j[rows]]
        for kind in np.unique(kinds):
            f, g = (self.activations[k[rows[kinds == kind][0]]] for k in (self.i, self.j))
            for some in (rows[(kinds == kind) & ~itself], rows[(kinds == kind) & itself]):
                if not len(some):
                    continue
                if self.i[some[0]] == self.j[some[0]]:
                    C = args.C[self.i[some]]
                    b = args.b[self.i[some]]
                    found = from_moments.square_derivatives(evaluator, f, C, b, order, rtol)
                    out[some] = _from_squares(found.values, order)
                else:
                    found = from_moments.pair_jets(
                        evaluator, f, g, args.pairs[:, some], order, rtol
                    )
                    out[some] = found.values
                self.report.bound[some], self.report.work[some] = (
                    found.bound,
                    found.work // len(some),
                )
        return rows[~(self.report.bound[rows] <= rtol)]

    def _warn(self, rows: Index, values: Array) -> None:
        """Warn of the rows, but for those that have overflown: they end in an error of the
        network.
        """
        finite = np.isfinite(values)
        if self._last is not None:
            finite &= np.isfinite(self._last.pairs[:, rows]).all(axis=0)
        rows = rows[finite]
        if not len(rows):
            return
        worst = rows[int(np.argmax(self.report.bound[rows]))]
        f, g = (self.activations[k[worst]].name for k in (self.i, self.j))
        if not self.report.bound[worst] < 1.0 and self._last is not None:
            for k in (self.i[worst], self.j[worst]):
                check_growth(self.activations[k], self._last.C[k : k + 1], self._last.b[k : k + 1])
        remedy = "" if self.method == "auto" else " or use method='auto'"
        warnings.warn(
            f"the error bound {self.report.bound[worst]:.1e} of the Gaussian integrals of {f} "
            f"and {g} misses rtol={self.rtol:g}. Raise rtol{remedy}.",
            AccuracyWarning,
            stacklevel=user_level(),
        )


def _cubature_pair(
    f: Activation, g: Activation, pair: Array, order: int, rtol: float
) -> tuple[Array, float, int]:
    """Jet, relative error bound and nodes of one pair with the arguments C11, C12, C22, b1, b2,
    det.
    """
    from .cubature import pairs as cubature  # scipy.integrate is loaded where it is needed only

    C11, C12, C22, b1, b2, det = (float(x) for x in pair)
    found = cubature.pair_moments(f, g, C11, C12, C22, b1, b2, det, order, rtol)
    moments = np.zeros((1, 5, 5))
    for (p, q), value in zip(cubature.ORDERS, found.value, strict=False):
        moments[0, p, q] = value
    jet = np.empty((1, SIZES[order]))
    entries = [np.array([x]) for x in (C11, C12, C22, det)]
    write_jets(
        moments, entries[0], entries[1], entries[2], entries[3], np.zeros(1, dtype=np.int64), jet
    )
    return jet[0], _relative(found.error, found.scale), found.work


def _cubature_itself(
    f: Activation, C: float, b: float, order: int, rtol: float
) -> tuple[Array, float, int]:
    """The same for a neuron with itself, from the derivatives of E f(h)^2."""
    from .cubature import distributions

    found = distributions.single_moments(squared(f), np.array([C]), np.array([b]), 2 * order, rtol)
    derivatives = np.zeros((1, 5))
    derivatives[:, : 2 * order + 1] = found.value
    return (
        _from_squares(derivatives, order)[0],
        _relative(found.error, found.scale),
        int(np.sum(found.work)),
    )


def _relative(error: Array, scale: Array) -> float:
    """Largest error over its scale, infinite moments (which have none) left out."""
    ratio = np.divide(
        error, scale, out=np.zeros(np.shape(error)), where=(scale > 0) & np.isfinite(error)
    )
    return float(ratio.max())


def squared(f: Activation) -> Activation:
    """The activation f(x)^2 with its derivatives by Leibniz' rule."""

    def kernel(x: Array, out: Array) -> None:
        jet = np.empty_like(out)
        f.jet(x, jet)
        for n in range(len(out)):
            out[n] = sum(comb(n, k) * jet[k] * jet[n - k] for k in range(n + 1))

    return Activation(f"{f.name}^2", kernel, kinks=f.kinks, max_order=f.max_order)


def steps_with_themselves(steps: list[Activation], C: Array, b: Array, order: int) -> Array:
    """Jets ``(neurons, 1 | 6 | 21)`` of step neurons with themselves, where pairs of parallel steps
    are singular.

    The square of c + a step(x) is c^2 + (2 c a + a^2) step(x). At w = b = 0 columns of second order
    are infinite and infinite first derivatives are left out, as for all pairs.
    """
    c = np.array([sum(a.polynomial[:1]) for a in steps])
    a = np.array([sum(atom.weight for atom in a.atoms) for a in steps])
    T = closed.single_moments(
        closed.AtomTable([resolve("step")]), np.zeros(len(steps), np.int64), C, b, 4
    )
    factor = 2.0 * c * a + a * a
    T[factor == 0.0] = 0.0  # infinite derivatives too: the square of sign is 1
    T *= factor[:, None]
    T[:, 0] += c * c
    return _from_squares(T, order)


def _from_squares(T: Array, order: int) -> Array:
    """Jets of neurons with themselves from the derivatives ``T`` (neurons, 5) of E f(h)^2."""
    rows: Array = T[:, _SELF_ORDER[: SIZES[order]]] * _SELF_SHARE[: SIZES[order]]
    first = rows[:, :6]
    first[~np.isfinite(first)] = 0.0
    return rows


def _is_step(f: Activation) -> bool:
    """Whether f is a constant plus steps without width."""
    return (
        len(f.polynomial) <= 1
        and len(f.atoms) > 0
        and all(a.order == 1 and a.width == 0 for a in f.atoms)
    )
