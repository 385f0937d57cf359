"""Closed forms as an evaluator: moments with the bounds of rounding, and jets of a network's
pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation, resolve
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
from ..jets import from_squares
from . import elu, error_bounds
from . import pairs as closed

__all__ = ["CLOSED_BOUND", "ClosedForms", "ClosedPairs", "steps_with_themselves"]

#: Error of closed forms relative to sqrt(E f^2 E g^2), measured in the tests.
CLOSED_BOUND = 1e-14
#: Closed forms with at most this many pairs of atoms cost less than a Hermite series.
CHEAP = 16
_NONE = np.zeros(0, dtype=np.int64)


def is_cheap(f: Activation, g: Activation) -> bool:
    """Whether the closed form of a pair costs less than a series."""
    return _pieces(f) * _pieces(g) <= CHEAP


def _pieces(f: Activation) -> int:
    """The number of its atoms; a sine or cosine, for which all atoms of the partner have complex
    means, is one.
    """
    return len(f.atoms) or int(_oscillates(f))


def _oscillates(f: Activation) -> bool:
    return any(wave.rate.imag != 0.0 for wave in f.waves)


class ClosedForms(Evaluator):
    """Polynomials plus smoothed ramps, exponentials, elu and selu, exact up to rounding.

    Reports call those that cost more than a series "mixture", and pairs with elu or selu, which are
    one integral over panels, "one-sided".
    """

    omits_kinks = True

    def defined(self, *activations: Activation) -> bool:
        """Whether the activation, or the pair, has a closed form."""
        return closed.is_defined(*activations) or (
            len(activations) == 2 and elu.is_defined(*activations)
        )

    def rank(self, *activations: Activation) -> int:
        """Those of many terms come after series; means of one activation are closed first."""
        return 0 if len(activations) == 1 or is_cheap(*activations) else 2

    def label(self, name: str, f: Activation, g: Activation, is_named: bool = False) -> str:
        """Which of the three kinds it is."""
        if not closed.is_defined(f, g):
            return "one-sided"
        return name if is_named or is_cheap(f, g) else "mixture"

    def is_final(self, f: Activation, g: Activation) -> bool:
        """Whether the bound is that of rounding."""
        widths = max(len(f.atoms), len(g.atoms))
        return closed.is_defined(f, g) and is_cheap(f, g) and widths < closed.MANY_WIDTHS

    def is_smooth(self, label: str) -> bool:
        """Mixtures may miss a tolerance, and then go elsewhere."""
        return label != "mixture"

    def squares_are_pairs(self, label: str) -> bool:
        """Those of elu and selu are not."""
        return label != "one-sided"

    def unit(self, label: str) -> str:
        """What ``work`` counts."""
        return "atoms on panels" if label == "one-sided" else "pairs of atoms"

    def reason(self, label: str, activations: Sequence[Activation]) -> str:
        """Why a closed form is taken."""
        if label == "mixture":
            return "a kink, for which no series converges"
        if label == "one-sided":
            return "closed means of one argument, one integral over the other"
        return "closed form"

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair."""
        value, changes = error_bounds.values_and_changes(f, g, np.array(points[:6]), orders)
        size1, scale1 = error_bounds.size_and_scale(f, points.r1, points.b1, orders[0])
        size2, scale2 = error_bounds.size_and_scale(g, points.r2, points.b2, orders[1])
        bound = error_bounds.pair_bound(f, g, points, orders, (size1, size2), value, changes)
        work = value.size * max(1, len(f.atoms) * len(g.atoms))
        return Estimate(value, bound, scale1 * scale2, work)

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        table = closed.AtomTable([f])
        zeros = np.zeros(r.size, dtype=np.int64)
        value = closed.single_moments(table, zeros, r**2, b, order)[:, order]
        size, scale = error_bounds.size_and_scale(f, r, b, order)
        bound = error_bounds.mean_bound(f, r, b, order, size, value)
        return Estimate(value, bound, scale, value.size * max(1, len(f.atoms)))

    def on_pairs(self, pairs: Pairs, rows: Index, rtol: float) -> PairIntegrals:
        """All pairs of a network in one loop."""
        return ClosedPairs(pairs, rows, rtol)


class ClosedPairs(PairIntegrals):
    """Jets of a network's pairs by closed forms.

    Parameters
    ----------
    pairs : Pairs
    rows : integer array
        Those that may come.
    rtol : float
    """

    def __init__(self, pairs: Pairs, rows: Index, rtol: float) -> None:
        self._pairs = pairs
        self._limit = max(rtol, GOOD_ENOUGH)
        kinds = pairs.kinds
        used = [k for k, f in enumerate(kinds) if closed.is_defined(f)]
        self._table = closed.AtomTable([kinds[k] for k in used])
        place = np.full(len(kinds), -1, dtype=np.int64)  # -1: has no closed form
        place[used] = np.arange(len(used))
        self._f = place[pairs.kind[pairs.i]]
        self._g = place[pairs.kind[pairs.j]]
        one_sided = np.zeros(len(pairs.i), dtype=np.bool_)
        for f, g, some in pairs.by_kinds(rows):
            one_sided[some] = not closed.is_defined(f, g)
        self._one_sided = one_sided if one_sided.any() else None
        atoms = np.array([max(1, len(f.atoms)) for f in kinds], dtype=np.int64)[pairs.kind]
        self._work: NDArray[np.int64] = atoms[pairs.i] * atoms[pairs.j]
        neurons = {f: np.flatnonzero(pairs.kind == k) for k, f in enumerate(kinds)}
        self._mixtures = {f: n for f, n in neurons.items() if len(f.atoms) >= closed.MANY_WIDTHS}
        self._waves = {f: n for f, n in neurons.items() if _oscillates(f)}
        # atoms of few widths alone: one loop does all, and bounds are those of rounding
        self._is_one_loop = self._table.only_atoms and not self._mixtures
        self._is_one_loop &= self._one_sided is None
        #: what is known of all pairs, where that does not depend on their arguments
        self._constant = Filled(np.full(len(pairs.i), CLOSED_BOUND), self._work, _NONE)

    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """See :meth:`PairIntegrals.fill`."""
        table = self._table
        if self._is_one_loop and len(rows) == len(self._work):
            table.jets_loop(table.rows, self._f, self._g, args.pairs, order, out)
            return self._constant
        if self._one_sided is None:
            self._fill_atoms(rows, args, order, out)
        else:
            apart = self._one_sided[rows]
            self._fill_atoms(rows[~apart], args, order, out)
            self._fill_one_sided(rows[apart], args, order, out)
        bound = self._bounds(rows, args, order)
        return Filled(bound, self._work[rows], np.flatnonzero(bound > self._limit))

    def meets(self, rows: Index, args: Arguments) -> Flags:
        """Bounds are known beforehand."""
        met: Flags = self._bounds(rows, args, 2) <= self._limit
        return met

    def _fill_atoms(self, rows: Index, args: Arguments, order: int, out: Array) -> None:
        if len(rows) == len(self._work):
            closed.pair_jets(self._table, self._f, self._g, args.pairs, order, out)
        elif len(rows):
            f = self._f[rows]
            g = self._g[rows]
            out[rows] = closed.pair_jets(self._table, f, g, args.pairs[:, rows], order)

    def _fill_one_sided(self, rows: Index, args: Arguments, order: int, out: Array) -> None:
        itself = self._pairs.i[rows] == self._pairs.j[rows]
        for f, g, some in self._pairs.by_kinds(rows[~itself]):
            out[some] = elu.pair_jets(f, g, args.pairs[:, some], order)
        for f, _, some in self._pairs.by_kinds(rows[itself]):
            neurons = self._pairs.i[some]
            found = elu.squares(f, args.C[neurons], args.b[neurons])
            out[some] = from_squares(found.derivatives, order)

    def _bounds(self, rows: Index, args: Arguments, order: int) -> Array:
        """Those of rounding, but for mixtures and waves."""
        bound = np.full(len(rows), CLOSED_BOUND)
        if self._mixtures or self._waves:
            errors = np.zeros(len(self._pairs.kind))
            for f, neurons in self._mixtures.items():
                r = np.sqrt(args.C[neurons])
                errors[neurons] = error_bounds.mixture_error(f, r, args.b[neurons], 2 * order)
            for f, neurons in self._waves.items():
                phase = error_bounds.phase_error(f, np.sqrt(args.C[neurons]), args.b[neurons])
                errors[neurons] = CLOSED_BOUND * phase
            bound += errors[self._pairs.i[rows]] + errors[self._pairs.j[rows]]
        return bound


# --------------------------------------------------------------------------------------------------
# steps with themselves


def is_step(f: Activation) -> bool:
    """Whether f is a constant plus steps without width."""
    return (
        len(f.polynomial) <= 1
        and len(f.atoms) > 0
        and all(a.order == 1 and a.width == 0 for a in f.atoms)
    )


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
    return from_squares(T, order)
