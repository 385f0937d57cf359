"""What an evaluator of Gaussian integrals is: points in, estimates or jets with error bounds out.

An :class:`Evaluator` gives single moments. For the pairs of a network it makes a
:class:`PairIntegrals`, which gives jets, and may keep what does not move from call to call;
:class:`FromMoments` is the one that every evaluator has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import comb
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from .jets import SIZES, from_squares, write_jets

Index = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: A relative bound that meets every tolerance: who could go on to another method for a smaller one
#: would find none. Mixtures stay below it for |b| <= 10.
GOOD_ENOUGH = 1e-12


class Points(NamedTuple):
    """Where a moment is wanted: arrays of shape (n,).

    ``C11, C12, C22`` are covariances and ``b1, b2`` means of the two arguments, ``det`` is
    ``C11 C22 - C12^2``, accurate also where it is small, and ``u`` the correlation.
    """

    C11: Array
    C12: Array
    C22: Array
    b1: Array
    b2: Array
    det: Array
    u: Array

    @staticmethod
    def at(r1: Array, r2: Array, u: Array, b1: Array, b2: Array) -> Points:
        """From standard deviations and correlations."""
        det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
        return Points(r1**2, r1 * r2 * u, r2**2, b1, b2, det, u)

    @staticmethod
    def of_pairs(pairs: Array) -> Points:
        """From the rows ``C11, C12, C22, b1, b2, det`` of a network's pairs (6, n)."""
        C11, C12, C22, b1, b2, det = pairs
        sizes = np.sqrt(C11 * C22)
        u = np.divide(C12, sizes, out=np.zeros_like(C12), where=sizes > 0)
        return Points(C11, C12, C22, b1, b2, det, np.clip(u, -1.0, 1.0))

    @property
    def r1(self) -> Array:
        """Standard deviations of the first argument; ``sqrt(r * r)`` is r to the last bit."""
        r: Array = np.sqrt(self.C11)
        return r

    @property
    def r2(self) -> Array:
        """Standard deviations of the second argument."""
        r: Array = np.sqrt(self.C22)
        return r

    @property
    def scales(self) -> tuple[Array, Array, Array, Array, Array]:
        """``r1, r2, u, b1, b2``, of which :meth:`at` makes them."""
        return self.r1, self.r2, self.u, self.b1, self.b2


class Estimate(NamedTuple):
    """Values, bounds, scales: each (n,). Infinite moments are ``inf``; rtol refers to ``scale``."""

    value: Array
    error_bound: Array
    scale: Array
    work: int


class Arguments(NamedTuple):
    """Where jets are wanted: rows C11, C12, C22, b1, b2, det of ``pairs`` (6, pairs), and r^2, b of
    the neurons (n,).
    """

    pairs: Array
    C: Array
    b: Array


class Pairs(NamedTuple):
    """The pairs of a network.

    ``activations`` of the n neurons; neurons ``i``, ``j`` (pairs,), where i = j stands for a neuron
    with itself. ``kinds`` are the distinct activations, ``kind`` (n,) says which of them each
    neuron has, and ``names`` what errors call the neurons.
    """

    activations: list[Activation]
    i: Index
    j: Index
    kinds: list[Activation]
    kind: Index
    names: Sequence[str] = ()

    @staticmethod
    def of(activations: list[Activation], i: Index, j: Index, names: Sequence[str] = ()) -> Pairs:
        """With kinds in the order in which they first come."""
        kinds = list(dict.fromkeys(activations))
        number = {f: k for k, f in enumerate(kinds)}
        kind = np.array([number[f] for f in activations], dtype=np.int64)
        first = np.asarray(i, dtype=np.int64)
        second = np.asarray(j, dtype=np.int64)
        return Pairs(activations, first, second, kinds, kind, names)

    def by_kinds(self, rows: Index) -> list[tuple[Activation, Activation, Index]]:
        """The rows that share both activations, with these."""
        first = self.kind[self.i[rows]]
        second = self.kind[self.j[rows]]
        both = first * len(self.kinds) + second
        found = []
        for key in np.unique(both).tolist():
            f, g = divmod(key, len(self.kinds))
            found.append((self.kinds[f], self.kinds[g], rows[both == key]))
        return found


class Request(NamedTuple):
    """How jets are wanted.

    ``is_fixed``: by rules that do not depend on tolerances, as accurate as these go, for a function
    that is smooth. ``covered(rows)`` says for which rows (mask) another evaluator is sure to meet
    the tolerance with all derivatives; whoever might miss it at a higher order can leave them.
    ``before``: the bounds of the rows by another evaluator, which missed the tolerance; what can't
    be evaluated better, or only at a price that nobody would pay, is left with an infinite bound.
    """

    is_fixed: bool = False
    covered: Callable[[Index], Flags] | None = None
    before: Array | None = None


class Filled(NamedTuple):
    """What is known of rows that were filled.

    Relative error bounds and work, (rows,) each; ``left`` (k,) are the places in ``rows`` of those
    that miss the tolerance, and are left for another evaluator.
    """

    bound: Array
    work: NDArray[np.int64]
    left: Index


class PairIntegrals(ABC):
    """The integrals of a network's pairs by one method; see :meth:`Evaluator.on_pairs`."""

    @abstractmethod
    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """Write jets (see ``jets.py``) of some pairs into their rows of ``out``.

        Parameters
        ----------
        rows : (m,) integer array
            Numbers of the pairs; in ascending order, none twice.
        args : Arguments
            Of all pairs and neurons.
        order : {0, 1, 2}
        out : (pairs, 1 | 6 | 21) array
            Infinite second derivatives are ``inf``, infinite first ones left out.
        request : Request
        """

    def meets(self, rows: Index, args: Arguments) -> Flags:
        """For which rows the tolerance is sure to be met with all derivatives, known beforehand."""
        return np.zeros(len(rows), dtype=np.bool_)

    def frozen(self, rtol: float) -> PairIntegrals:
        """One whose rules, once chosen, stay as they are, chosen to meet ``rtol``.

        It is this one itself where nothing is chosen.
        """
        return self


class Evaluator(ABC):
    """A method for Gaussian integrals: the base class of the entries of ``registry.EVALUATORS``.

    1. Write :meth:`defined`: which activations the method is for.
    2. Write :meth:`moment` and :meth:`mean`. Their bounds must be true, since every choice rests on
       them.
    3. Set ``automatic = False`` if the method is only for those who name it, and overwrite
       :meth:`rank` if it is cheaper than tables.
    4. Write :meth:`on_pairs` if jets can be had in a quicker way than moment by moment.

    Attributes
    ----------
    automatic : bool
        Whether ``method="auto"`` may take it.
    is_last_resort : bool
        It is so slow that searches take it only where nothing else meets their network's tolerance.
    omits_kinks : bool
        Error bounds leave out that the distance of two kinks is known to the rounding of b only.
    """

    automatic: ClassVar[bool] = True
    is_last_resort: ClassVar[bool] = False
    omits_kinks: ClassVar[bool] = False

    @abstractmethod
    def defined(self, *activations: Activation) -> bool:
        """Whether the method covers an activation, or a pair."""

    @abstractmethod
    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """``E[f^(p) g^(q)]`` of orders (p, q)."""

    @abstractmethod
    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """``E f^(order)(r x + b)``."""

    def rank(self, *activations: Activation) -> int:
        """The place in the order of trial, the smallest first.

        Closed forms of few terms have 0, series 1, closed forms of many terms 2, tables 3, cubature
        5; equal ones are tried in the order of the registry.
        """
        return 4

    def is_final(self, f: Activation, g: Activation) -> bool:
        """Whether nothing that comes later is tried, since this is as good as it gets."""
        return False

    def label(self, name: str, f: Activation, g: Activation, is_named: bool = False) -> str:
        """What reports call the method for a pair: its ``name`` in the registry, or a part of it.

        ``is_named`` where the user asks for it.
        """
        return name

    def is_smooth(self, label: str) -> bool:
        """Whether pairs of that label stay with the method whatever their arguments are."""
        return False

    def squares_are_pairs(self, label: str) -> bool:
        """Whether a neuron with itself gets the moments of a pair.

        Other methods know only the derivatives of E f(h)^2 in the mean that both places share.
        """
        return False

    def unit(self, label: str) -> str:
        """What ``work`` counts for pairs of that label."""
        return "evaluations"

    def reason(self, label: str, activations: Sequence[Activation]) -> str:
        """Why it is taken for pairs of these activations; for ``NetI.explain``."""
        return "of the registry"

    def on_pairs(self, pairs: Pairs, rows: Index, rtol: float) -> PairIntegrals:
        """The jets of those ``rows`` of the pairs that may come to this method."""
        return FromMoments(self, pairs, rtol)


class FromMoments(PairIntegrals):
    """Jets from single moments, for any evaluator: all I(p, q) with p + q <= 2 order."""

    def __init__(self, evaluator: Evaluator, pairs: Pairs, rtol: float) -> None:
        self._evaluator = evaluator
        self._pairs = pairs
        self._rtol = rtol

    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """See :meth:`PairIntegrals.fill`."""
        bound = np.empty(len(rows))
        work = np.empty(len(rows), dtype=np.int64)
        itself = self._pairs.i[rows] == self._pairs.j[rows]
        for each, fill in ((~itself, self._fill_pairs), (itself, self._fill_squares)):
            for f, g, some in self._pairs.by_kinds(rows[each]):
                place = np.searchsorted(rows, some)
                bound[place], total = fill(f, g, some, args, order, out)
                work[place] = total // len(some)
        return Filled(bound, work, np.flatnonzero(~(bound <= self._rtol)))

    def _fill_pairs(
        self, f: Activation, g: Activation, rows: Index, args: Arguments, order: int, out: Array
    ) -> tuple[Array, int]:
        """Bounds (rows,) and the work of all."""
        points = Points.of_pairs(args.pairs[:, rows])
        moments = np.zeros((len(rows), 5, 5))
        bound = np.zeros(len(rows))
        work = 0
        for p in range(2 * order + 1):
            for q in range(2 * order + 1 - p):
                found = self._evaluator.moment(f, g, points, (p, q), self._rtol)
                moments[:, p, q] = found.value
                bound = np.maximum(bound, _relative(found))
                work += found.work
        with np.errstate(invalid="ignore"):  # infinite moments have an infinite bound
            write_jets(moments, points.C11, points.C12, points.C22, points.det, rows, out)
        return bound, work

    def _fill_squares(
        self, f: Activation, _: Activation, rows: Index, args: Arguments, order: int, out: Array
    ) -> tuple[Array, int]:
        """The same for neurons with themselves: derivatives of E f(h)^2 are sums of moments at a
        correlation of one.
        """
        neurons = self._pairs.i[rows]
        C = args.C[neurons]
        b = args.b[neurons]
        points = Points(C, C, C, b, b, np.zeros_like(C), np.ones_like(C))
        derivatives = np.zeros((len(rows), 5))
        bound = np.zeros(len(rows))
        work = 0
        for n in range(2 * order + 1):
            for p in range(n + 1):
                found = self._evaluator.moment(f, f, points, (p, n - p), self._rtol)
                derivatives[:, n] += comb(n, p) * found.value
                bound = np.maximum(bound, _relative(found))
                work += found.work
        out[rows] = from_squares(derivatives, SIZES.index(out.shape[1]))
        return bound, work


def _relative(estimate: Estimate) -> Array:
    """Error bounds over their scales; infinite where the moment or its scale is."""
    scale = estimate.scale
    finite = np.isfinite(estimate.value) & np.isfinite(estimate.scale)
    ratio = np.divide(
        estimate.error_bound, scale, out=np.zeros_like(scale), where=finite & (scale > 0)
    )
    return np.where(finite, ratio, np.inf)
