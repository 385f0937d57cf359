"""The correlation loss ``E |y|^2 - 2 E[y.student]`` over one Gaussian input.

It is the squared loss without the pairs of students, and so linear in the second layer: what theory
of single- and multi-index models studies, in which neurons do not see each other. The kernels are
those of the squared loss. They get jets of zero for pairs of students, and output vectors of the
residual in which the students have none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...integrals.evaluator import Arguments
from ...integrals.jets import SIZES
from .population_loss import PopulationLoss, State, Units


class CorrelationState(NamedTuple):
    """State whose pairs of students are 0, and the student's output bias (O,)."""

    base: State
    c: Array

    @property
    def jets(self) -> Array:
        """Jets of all pairs, 0 for those of students."""
        return self.base.jets

    @property
    def norms(self) -> Array:
        """Squared lengths of the weights."""
        return self.base.norms


class CorrelationLoss(PopulationLoss):
    """The interface of :class:`PopulationLoss`; arguments as there."""

    def _needed(self, second: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of a student with the constant or a teacher."""
        return np.flatnonzero(second >= self.K)

    def _arguments(self, student: Units) -> tuple[Array, Array, Array, Array, Arguments]:
        """As for the squared loss, with the pairs of students left out."""
        W, B, gram, norms, (args, norms_, b) = super()._arguments(student)
        kept = np.ascontiguousarray(args[:, self._pairs])
        B[: self.K] = 0.0
        B[self.K] = self._B[self.K]
        return W, B, gram, norms, Arguments(kept, norms_, b)

    def state(self, student: Units, order: int) -> CorrelationState:  # type: ignore[override]
        """Gram entries and jets at the given students, for derivatives up to ``order``."""
        W, B, gram, norms, args = self._arguments(student)
        K, m = self.K, SIZES[order]
        jets = np.zeros((K, self.n, m))
        jets[:, K:] = self._evaluate(args, order).reshape(K, self.n - K, m)
        S = student.B @ B.T
        return CorrelationState(State(W, B, S, gram, norms, jets), student.c)

    def value(self, state: CorrelationState) -> tuple[float, float]:  # type: ignore[override]
        """The loss, and the sum of the absolute terms that it is the sum of."""
        value, scale = super().value(state.base)
        constant = 2.0 * state.c * (self._B[self.K] + self._teacher_mean)
        return value + float(constant.sum()), scale + float(np.abs(constant).sum())

    def gradient(self, state: CorrelationState, hidden_bias: bool, output_bias: bool) -> Array:  # type: ignore[override]
        """Gradient in the order W, b (if wanted), output weights output by output, output bias (if
        wanted).
        """
        return super().gradient(state.base, hidden_bias, output_bias)

    def hessian(self, state: CorrelationState, hidden_bias: bool, output_bias: bool) -> Array:  # type: ignore[override]
        """Hessian in the order of :meth:`gradient`; the output bias has none."""
        H = super().hessian(state.base, hidden_bias, output_bias)
        if output_bias:
            O = len(state.c)
            H[-O:] = 0.0
            H[:, -O:] = 0.0
        return H

    def product(self, state: CorrelationState, direction: Units) -> Array:  # type: ignore[override]
        """Hessian times one direction, in the order of :meth:`gradient` with all biases."""
        O = len(state.c)
        found = super().product(state.base, direction._replace(c=np.zeros(O)))
        found[-O:] = 0.0
        return found
