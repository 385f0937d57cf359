"""The population loss against a function of projections: the student's own terms exactly, the cross
terms by quadrature.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from ..._validation import Array, user_level
from ...activations import Activation
from ...errors import AccuracyWarning
from ...integrals.surrogate.evaluator import SurrogateMethod
from .function_integrals import Cross, FunctionIntegrals
from .function_teacher import FunctionTeacher
from .population_loss import PopulationLoss, State, Units


class FunctionState(NamedTuple):
    """State of the student alone, and the cross terms."""

    base: State
    cross: Cross
    second: Array

    @property
    def jets(self) -> Array:
        """Jets of pairs of students."""
        return self.base.jets

    @property
    def norms(self) -> Array:
        """Squared lengths of the weights."""
        return self.base.norms


class FunctionLoss(PopulationLoss):
    """``E |student(x) - F(V x)|^2`` over one Gaussian component; the interface
    of :class:`PopulationLoss`.
    """

    def __init__(
        self,
        student: list[Activation],
        teacher: FunctionTeacher,
        mean: Array | None,
        root: Array | None,
        method: str | SurrogateMethod,
        rtol: float,
    ) -> None:
        D = teacher.input_dim
        O = teacher.output_dim
        nobody = Units(np.zeros((0, D)), np.zeros(0), np.zeros((0, O)), np.zeros(O))
        super().__init__(student, [], nobody, method, rtol)
        self.activations = student
        self.rtol = rtol
        self._warned = False
        self.integrals = FunctionIntegrals(teacher, mean, root, rtol)

    def state(self, student: Units, order: int) -> FunctionState:  # type: ignore[override]
        """The student's jets and the cross terms, for derivatives up to ``order``.

        Warns
        -----
        AccuracyWarning
            Once, if the error estimate of the cross terms does not meet rtol.
        """
        base = super().state(student, order)
        cross = self.integrals.neurons(self.activations, student.W, student.b, order)
        error = max(cross.error, self.integrals.error)
        if error > self.rtol and np.isfinite(cross.value).all() and not self._warned:
            self._warned = True
            warnings.warn(
                f"The cross terms of student and F have the error estimate {error:.1e}, relative "
                "to sqrt(E F^2 E f^2), and do not meet "
                f"rtol={self.rtol:g}. Pass the lines on which F or its derivatives jump as kinks "
                "of FunctionTeacher, or increase rtol.",
                AccuracyWarning,
                stacklevel=user_level(),
            )
        return FunctionState(base, cross, np.einsum("io,iode->ide", student.B, cross.second))

    def value(self, state: FunctionState) -> tuple[float, float]:  # type: ignore[override]
        """The loss, and the sum of its absolute terms."""
        value, scale = super().value(state.base)
        terms = 2.0 * state.base.B[: self.K] * state.cross.value
        constant = 2.0 * state.base.B[self.K] * self.integrals.mean
        square = float(self.integrals.square.sum())
        value += square - terms.sum() - constant.sum()
        return float(value), float(scale + square + np.abs(terms).sum() + np.abs(constant).sum())

    def gradient(self, state: FunctionState, hidden_bias: bool, output_bias: bool) -> Array:  # type: ignore[override]
        """Gradient in the order W, b (if wanted), output weights output by output, output bias (if
        wanted).
        """
        first = np.einsum("io,iod->id", state.base.B[: self.K], state.cross.first)
        cross = [
            first[:, :-1].ravel(),
            *([first[:, -1]] if hidden_bias else []),
            state.cross.value.T.ravel(),
        ]
        cross += [self.integrals.mean] if output_bias else []
        return super().gradient(state.base, hidden_bias, output_bias) - 2.0 * np.concatenate(cross)

    def hessian(self, state: FunctionState, hidden_bias: bool, output_bias: bool) -> Array:  # type: ignore[override]
        """Hessian in the order of :meth:`gradient`."""
        H = super().hessian(state.base, hidden_bias, output_bias)
        K = state.cross.value.shape[0]
        O = state.cross.value.shape[1]
        m = state.second.shape[1]
        D = m - 1
        for i in range(K):
            own = [*range(i * D, i * D + D), *([K * D + i] if hidden_bias else [])]
            count = len(own)
            with np.errstate(invalid="ignore"):  # infinite entries are reported by NetI
                H[np.ix_(own, own)] -= 2.0 * state.second[i, :count, :count]
            for o in range(O):
                row = K * D + K * hidden_bias + o * K + i
                H[row, own] -= 2.0 * state.cross.first[i, o, :count]
                H[own, row] = H[row, own]
        return H

    def product(self, state: FunctionState, direction: Units) -> Array:  # type: ignore[override]
        """Hessian times one direction, in the order of :meth:`gradient` with all biases."""
        V = np.column_stack([direction.W, direction.b])
        with np.errstate(invalid="ignore"):
            moved = np.einsum("ide,ie->id", state.second, V) + np.einsum(
                "io,iod->id", direction.B, state.cross.first
            )
        outputs = np.einsum("iod,id->oi", state.cross.first, V)
        constant = np.zeros(len(self.integrals.mean))
        cross = np.concatenate([moved[:, :-1].ravel(), moved[:, -1], outputs.ravel(), constant])
        return super().product(state.base, direction) - 2.0 * cross
