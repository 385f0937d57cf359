"""The loss of a symmetric family as a sum over orbits of pairs, for blocks of any real size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...._validation import Array
from ....activations import Activation
from ....integrals.evaluator import Arguments
from ....integrals.jets import J02, J11, J20
from ....integrals.terms import PairChoice, pair_evaluator
from . import orbit_kernels
from .orbit_pairs import list_orbits, list_rows, multiplicities, place_parameters

_kernels: Any = orbit_kernels  # mypy does not spread tuples into jitted functions
_NONE = np.empty((0, 0))


class MeanTable:
    """An activation packed for the means T_m = E f^(m)(h) of all orders.

    ``is_complete`` says whether its terms give them: polynomials, atoms and waves do.
    """

    def __init__(self, f: Activation) -> None:
        self.is_complete = f.has_closed_form or bool(f.waves)
        self.polynomial = np.array(f.polynomial, dtype=np.float64)
        self.atoms = np.array(
            [(a.weight, a.order, a.width**2) for a in f.atoms], dtype=np.float64
        ).reshape(-1, 3)
        self.waves = np.array([wave.weight for wave in f.waves], dtype=np.complex128)
        self.rates = np.array([wave.rate for wave in f.waves], dtype=np.complex128)

    def __call__(self, C: float, low: Array, scaled: Array) -> None:
        """Fill ``low`` and ``scaled``, see :func:`~.orbit_kernels.means`."""
        _kernels.means(C, self.polynomial, self.atoms, self.waves, self.rates, low, scaled)


class Across(NamedTuple):
    """The Hessian along a further input, in orthonormal bases of student blocks, (B, B) each.

    ``trivial`` where weights are equal within blocks, ``standard`` where they sum to zero: there
    blocks couple that shadow the same teachers.
    """

    trivial: Array
    standard: Array


class OrbitLoss:
    """E |student(x) - teacher(x)|^2 as a function of the parameters z of a symmetric family.

    Parameters
    ----------
    activation : Activation
        Of students and teachers.
    sizes : sequence of float
        Of the teacher blocks; any numbers but 0, so that finer partitions of small blocks are
        polynomials in the size like all others.
    students : sequence of int or None
        The teacher block that each student block shadows.
    second_layer : bool
        Whether output weights are parameters.
    method, rtol
        Of the integrals, see :class:`~infflow.integrals.choice.Choice`.
    """

    def __init__(
        self,
        activation: Activation,
        sizes: Sequence[float],
        students: Sequence[int | None],
        second_layer: bool,
        method: str,
        rtol: float,
    ) -> None:
        self.places = place_parameters(sizes, students, second_layer)
        self.orbits = list_orbits(sizes, students, self.places)
        self.rows = list_rows(sizes, students, self.places)
        self.multiplicities = multiplicities(sizes, students, self.places)
        self.sizes = np.array(sizes, dtype=np.float64)
        self._students = tuple(students)
        self._alike = np.array([[i == j and i is not None for j in students] for i in students])
        self.num_params = self.places.num_params
        self._activation = activation
        self._method = method
        self._rtol = rtol
        B = len(students)
        i, j = self.orbits.neurons.T
        self.evaluator: PairChoice = pair_evaluator([activation] * (2 * B + 1), i, j, method, rtol)
        self._table = MeanTable(activation)
        self._low = np.zeros((B + 1, orbit_kernels.LOW))
        self._scaled = np.zeros((B + 1, orbit_kernels.MEANS))
        if self._table.is_complete:
            self._table(1.0, self._low[B], self._scaled[B])
        self._constant = self._teacher_square()

    def _teacher_square(self) -> float:
        """What the teacher adds: all of E teacher^2, or what the squares leave of it."""
        f = self._activation
        at = Arguments(
            np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0] * 2, [0.0] * 2, [0.0, 1.0]]),
            np.ones(2),
            np.zeros(2),
        )
        first = np.array([0, 0])
        second = np.array([0, 1])
        own, other = pair_evaluator([f, f], first, second, self._method, self._rtol)(at, 0)[:, 0]
        k = float(self.sizes.sum())
        if not self._table.is_complete:
            return k * float(own) + k * (k - 1.0) * float(other)
        mean, slope = self._low[-1, :2]
        return k * float(own - mean * mean - slope * slope)

    @property
    def is_smooth(self) -> bool:
        """Whether nothing is chosen by tolerances."""
        return self.evaluator.is_smooth

    def frozen(self, z: Array, rtol: float) -> OrbitLoss:
        """A copy whose evaluators do not change near ``z``."""
        other = copy.copy(self)
        other.evaluator = self.evaluator.frozen(self._arguments(self._values(z))[0], rtol)
        return other

    def _values(self, z: Array) -> Array:
        return np.concatenate([z, (0.0, 1.0)])

    def _arguments(self, values: Array) -> tuple[Arguments, Array, Array]:
        """What the evaluator gets, and the frames of all orbits."""
        orbits = self.orbits
        R, C = orbits.sizes.shape
        args = np.empty((6, R))
        A = np.empty((R, C))
        B = np.empty((R, C))
        _kernels.pair_arguments(
            values, orbits.first, orbits.second, orbits.sizes, orbits.itself, args, A, B
        )
        variances = np.ones(2 * len(self.rows.counts) + 1)
        variances[orbits.neurons[:, 0]] = args[0]
        variances[orbits.neurons[:, 1]] = args[2]
        return Arguments(args, variances, np.zeros_like(variances)), A, B

    def across(self, z: Array) -> Across:
        """The Hessian along an input on which no neuron has a weight.

        With C_ij the derivative of Phi in C12 and so on, its quadratic form of the weights d_i of
        the students is sum s_ij (J20 d_i^2 + J02 d_j^2 + 2 J11 d_i d_j) over pairs.
        """
        values = self._values(z)
        at, _, _ = self._arguments(values)
        jets = self.evaluator(at, 1)
        low = self._low
        if self._table.is_complete:
            low = self._means(at, jets, 1)
        orbits = self.orbits
        counts = self.rows.counts
        B = len(counts)
        roots = np.sqrt(np.append(counts, 1.0))
        trivial = np.zeros((B + 1, B + 1))
        standard = np.zeros((B + 1, B + 1))
        for r in range(len(orbits.weight)):
            x, y = orbits.blocks[r]
            s = orbits.weight[r] * values[orbits.outputs[r, 0]] * values[orbits.outputs[r, 1]]
            for i, column in ((x, J20), (y, J02)):
                trivial[i, i] += s * jets[r, column] / roots[i] ** 2
                standard[i, i] += s * jets[r, column] / roots[i] ** 2
            mixed = s * jets[r, J11]
            # t with sum zero: sum of t_i t_j over all pairs i != j of a block is -|t|^2
            pairs = roots[x] ** 2 * (roots[x] ** 2 - 1.0 if orbits.spread[r] else -1.0)
            share = -1.0 / pairs if y < B and self._alike[x, y] else 0.0
            for i, j in ((x, y), (y, x)):
                trivial[i, j] += mixed / (roots[x] * roots[y])
                standard[i, j] += mixed * share
        trivial = trivial[:B, :B]
        standard = standard[:B, :B]
        if self._table.is_complete:
            own, outer = self._squares_across(values, low)
            trivial += np.diag(own) + 2.0 * np.outer(outer, outer)
            standard += np.diag(own)
        return Across(trivial, standard)

    def _squares_across(self, values: Array, low: Array) -> tuple[Array, Array]:
        """What the squares add: to both diagonals, and half of the outer product of the trivial."""
        rows = self.rows
        a = values[rows.outputs]
        mean, slope = low[-1, :2]
        residual = float(rows.counts @ (a * low[:-1, 0]) - mean * self.sizes.sum())
        weights = values[rows.entries]
        sums = np.einsum("mic,ic->mi", rows.columns, weights)
        linear = sums @ (a * low[:-1, 1]) - slope  # (B_teachers,), for one coordinate each
        shadowed = [-1 if j is None else j for j in self._students]
        along = (rows.sizes[:, :-1] * weights[:, :-1]) @ linear
        along += np.where(np.array(shadowed) >= 0, weights[:, -1] * linear[shadowed], 0.0)
        own = 2.0 * a * (residual * low[:-1, 2] + low[:-1, 3] * along)
        return own, a * low[:-1, 1] * np.sqrt(rows.counts)

    def _means(self, at: Arguments, jets: Array, order: int) -> Array:
        """T_m of all neurons (B + 1, LOW), after their share is taken out of the jets."""
        low = self._low.copy()
        scaled = self._scaled.copy()
        for i in range(len(low) - 1):
            self._table(at.C[i], low[i], scaled[i])
        orbits = self.orbits
        _kernels.remainders(at.pairs, orbits.blocks, orbits.spread, low, scaled, order, jets)
        return low

    def evaluate(self, z: Array, order: int) -> tuple[float, float, Array | None, Array | None]:
        """Value, the sum of the absolute terms that it is made of, gradient and Hessian."""
        orbits = self.orbits
        P = self.num_params
        values = self._values(z)
        at, A, B = self._arguments(values)
        jets = self.evaluator(at, order)
        low = self._low
        if self._table.is_complete:
            low = self._means(at, jets, order)
        value, scale = _kernels.value(values, orbits.weight, orbits.outputs, jets)
        value += self._constant
        scale += abs(self._constant)
        gradient = np.zeros(P + 2 if order else 0)
        H = np.zeros((P + 2, P + 2)) if order == 2 else _NONE
        pairs = (values, orbits.first, orbits.second, orbits.sizes, orbits.weight, orbits.outputs)
        if order:
            _kernels.add_gradient(*pairs, jets, gradient)
        if order == 2:
            _kernels.add_hessian(*pairs, jets, A, B, H)
        if self._table.is_complete:
            added = self._add_squares(values, low, gradient, H)
            value += added
            scale += added
        return (
            value,
            scale,
            gradient[:P] if order else None,
            H[:P, :P].copy() if order == 2 else None,
        )

    def _add_squares(self, values: Array, low: Array, gradient: Array, H: Array) -> float:
        """E e^2 of the Hermite terms of order 0 and 1 of the residual e, and their derivatives."""
        rows = self.rows
        mean, slope = low[-1, :2]
        counts = np.zeros_like(rows.sizes)
        counts[:, 0] = rows.counts
        block = (values, rows.entries, rows.sizes, rows.outputs)
        total = _kernels.add_square(
            *block, counts, low, 0, mean * self.sizes.sum(), 1.0, gradient, H
        )
        for columns, size in zip(rows.columns, self.sizes, strict=True):
            total += _kernels.add_square(*block, columns, low, 1, slope, size, gradient, H)
        return float(total)
