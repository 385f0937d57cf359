"""Activations packed into arrays, for the kernels of closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...errors import MethodError
from . import atom_kernels, powers

if TYPE_CHECKING:
    from ...activations import Activation

__all__ = ["MANY_WIDTHS", "AtomTable", "has_means", "is_centred"]

Index = NDArray[np.int64]

_kernels: Any = atom_kernels  # mypy does not spread tuples into jitted functions

#: An activation of at least this many widths is a mixture, summed over widths before derivatives
#: are taken.
MANY_WIDTHS = 8
#: Kinked neurons of a smaller variance count as constant here; the kernel of mixtures does not
#: cover them.
SMALLEST_VARIANCE = 1e-100


def has_means(f: Activation) -> bool:
    """Whether the means of one activation, and of its derivatives, are closed."""
    return f.has_closed_form or bool(f.waves) or f.sides is not None


class AtomTable:
    """Activations packed into flat arrays for the jitted kernels.

    Parameters
    ----------
    activations : sequence of Activation
        The index of an activation in this sequence is its number in ``f`` and ``g`` below.

    Raises
    ------
    MethodError
        If an activation has no closed form.
    """

    def __init__(self, activations: Sequence[Activation]) -> None:
        self.activations = tuple(activations)
        self.waves = np.array([bool(a.waves) for a in activations], dtype=bool)
        self.powers = np.array([powers.has_powers(a) for a in activations], dtype=bool)
        self.one_sided = np.array([a.sides is not None for a in activations], dtype=bool)
        packed = [_pack(powers.low_part(a) if powers.has_powers(a) else a) for a in activations]
        longest = max((len(row) for row in packed), default=2)  # at least the two counts
        self.rows = np.array([row + [0.0] * (longest - len(row)) for row in packed]).reshape(
            len(packed), longest
        )
        self.widths = self.rows[:, 1].astype(np.int64)
        self.kinked = np.array(
            [any(atom.width == 0.0 for atom in a.atoms) for a in activations], dtype=bool
        )
        few = bool(self.widths.max(initial=0) < MANY_WIDTHS)
        self.only_atoms = few and not self.waves.any() and not self.powers.any()
        # Tables are pickled with networks, and a kernel that is pickled is compiled again in the
        # other process, without its cache. So its name is stored.
        self._loop = self._least_loop()

    @property
    def jets_loop(self) -> Any:
        """The loop over pairs that compiles least."""
        return getattr(_kernels, self._loop)

    def _least_loop(self) -> str:
        """The name of the loop over pairs that compiles least."""
        if self.powers.any():
            return "pair_jets_loop"
        orders = {atom.order for a in self.activations for atom in a.atoms}
        constant = all(row[0] <= 1.0 for row in self.rows)  # polynomials
        if constant and orders == {0}:
            return "ramp_jets_loop"
        centred = all(row[2] != 0.0 for row in self.rows if row[1] > 0.0)
        if constant and orders == {1} and centred:
            return "centred_jets_loop"
        return "pair_jets_loop"

    def mixtures(self, f: Index, g: Index, C11: Array, C22: Array) -> Index:
        """Which of the pairs are for ``mixture_kernels``."""
        n1, n2 = self.widths[f], self.widths[g]
        constant = (self.kinked[f] & (C11 <= SMALLEST_VARIANCE)) | (
            self.kinked[g] & (C22 <= SMALLEST_VARIANCE)
        )
        return np.flatnonzero(
            (np.maximum(n1, n2) >= MANY_WIDTHS) & (np.minimum(n1, n2) > 0) & ~constant
        )

    def with_powers(self, f: Index, g: Index) -> list[Index]:
        """The pairs to which products with truncated powers have to be added, if there are some."""
        if not self.powers.any():
            return []
        rows = np.flatnonzero((self.powers[f] | self.powers[g]) & ~(self.waves[f] | self.waves[g]))
        return [rows] if len(rows) else []

    def __len__(self) -> int:
        return self.rows.shape[0]


def is_centred(activation: Activation | powers.LowPart) -> bool:
    """Whether the constant of the polynomial makes steps into steps minus 1/2 (sign, erf, tanh)."""
    if not activation.polynomial or any(atom.order != 1 for atom in activation.atoms):
        return False
    steps = sum(atom.weight for atom in activation.atoms)  # a mixture's weights sum up to rounding
    return steps != 0.0 and abs(activation.polynomial[0] + 0.5 * steps) <= 1e-15 * abs(steps)


def _pack(activation: Activation | powers.LowPart) -> list[float]:
    """One row of the table, described in ``slots.py``."""
    if activation.waves or activation.sides is not None:
        return [0.0, 0.0, 0.0]  # waves.py and elu.py evaluate those
    if not activation.has_closed_form:
        raise MethodError(
            f"{activation.name} has no closed form: it is not given as a polynomial plus "
            "smoothed ramps. Use method='auto'."
        )
    atoms = [(float(a.weight), int(a.order), float(a.width)) for a in activation.atoms]
    if any(order not in (0, 1, 2) or (order == 2 and width == 0.0) for _, order, width in atoms):
        raise MethodError(
            f"{activation.name} contains an atom that the closed forms do not cover; ramps "
            "(order 0), steps (order 1) and smoothed delta functions (order 2, width > 0) are."
        )
    polynomial = [float(c) for c in activation.polynomial]
    shift = 0.0
    if is_centred(activation):
        shift = 0.5
        polynomial[0] = 0.0
    while polynomial and polynomial[-1] == 0.0:
        polynomial.pop()
    widths = sorted({width for _, _, width in atoms})
    if len(widths) >= MANY_WIDTHS:  # whole vector registers
        widths += [2.0 * widths[-1] + k for k in range(-len(widths) % 8)]
    weights = [
        sum(w for w, k, width in atoms if (k, width) == (order, t))
        for order in range(3)
        for t in widths
    ]
    return [
        float(len(polynomial)),
        float(len(widths)),
        shift,
        *polynomial,
        *(t**2 for t in widths),
        *map(float, weights),
    ]
