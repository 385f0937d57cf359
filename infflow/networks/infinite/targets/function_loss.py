"""The population loss against a target that is no network: the student's own terms exactly, the
cross terms from the integrals of that target.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from ...._validation import Array, user_level
from ....activations import Activation
from ....errors import AccuracyWarning
from ....integrals.surrogate.evaluator import SurrogateMethod
from ..correlation_loss import CorrelationLoss, CorrelationState
from ..population_loss import PopulationLoss, State, Units
from . import function_kernels as kernels
from .cross import Cross, Curvature, TargetIntegrals


class FunctionState(NamedTuple):
    """State of the student alone, its output vectors and constant, the cross terms, and their
    second derivatives where they are wanted.
    """

    base: State | CorrelationState
    B: Array
    c: Array
    cross: Cross
    second: Curvature | None

    @property
    def jets(self) -> Array:
        """Jets of pairs of students."""
        return self.base.jets

    @property
    def norms(self) -> Array:
        """Squared lengths of the weights."""
        return self.base.norms


class FunctionLoss(PopulationLoss):
    """``E |student(x) - y(x)|^2`` over one Gaussian component; the interface of
    :class:`PopulationLoss`.

    Parameters
    ----------
    student : list of Activation
    integrals : TargetIntegrals
        The integrals of students with the target.
    input_dim : int
    method, rtol
        How the student's own integrals are evaluated, as in :class:`PopulationLoss`.
    """

    def __init__(
        self,
        student: list[Activation],
        integrals: TargetIntegrals,
        input_dim: int,
        method: str | SurrogateMethod,
        rtol: float,
    ) -> None:
        O = len(integrals.mean)
        nobody = Units(np.zeros((0, input_dim)), np.zeros(0), np.zeros((0, O)), np.zeros(O))
        super().__init__(student, [], nobody, method, rtol)
        self.rtol = rtol
        self._warned = False
        self.integrals = integrals

    def state(self, student: Units, order: int) -> FunctionState:  # type: ignore[override]
        """The student's jets and the cross terms, for derivatives up to ``order``.

        Warns
        -----
        AccuracyWarning
            Once, if the error estimate of the cross terms does not meet rtol.
        """
        base = super().state(student, order)
        cross = self.integrals.neurons(student.W, student.b, order)
        error = max(cross.error, self.integrals.error)
        if error > self.rtol and np.isfinite(cross.value).all() and not self._warned:
            self._warned = True
            warnings.warn(
                f"The cross terms of student and target have the error estimate {error:.1e}, "
                "relative to sqrt(E y^2 E f^2), and do not meet "
                f"rtol={self.rtol:g}. Pass the lines on which F or its derivatives jump as "
                "kinks of FunctionTeacher, or increase rtol.",
                AccuracyWarning,
                stacklevel=user_level(),
            )
        second = self.integrals.curvature(cross, student.B) if order == 2 else None
        return FunctionState(base, student.B, student.c, cross, second)

    def value(self, state: FunctionState) -> tuple[float, float]:  # type: ignore[override]
        """The loss, and the sum of its absolute terms."""
        value, scale = super().value(state.base)  # type: ignore[arg-type]
        to = self.integrals
        own, terms = kernels.cross_value(state.B, state.c, state.cross.value, to.mean, to.square)
        return value + own, scale + terms

    def gradient(self, state: FunctionState, hidden_bias: bool, output_bias: bool) -> Array:  # type: ignore[override]
        """Gradient in the order W, b (if wanted), output weights output by output, output bias (if
        wanted).
        """
        gradient = super().gradient(state.base, hidden_bias, output_bias)  # type: ignore[arg-type]
        kernels.subtract_cross(
            state.B,
            state.cross.value,
            state.cross.first,
            self.integrals.mean,
            hidden_bias,
            output_bias,
            gradient,
        )
        return gradient

    def hessian(self, state: FunctionState, hidden_bias: bool, output_bias: bool) -> Array:  # type: ignore[override]
        """Hessian in the order of :meth:`gradient`."""
        H = super().hessian(state.base, hidden_bias, output_bias)  # type: ignore[arg-type]
        assert state.second is not None
        # infinite entries are reported by NetI
        kernels.subtract_cross_hessian(state.second.blocks(), state.cross.first, hidden_bias, H)
        return H

    def product(self, state: FunctionState, direction: Units) -> Array:  # type: ignore[override]
        """Hessian times one direction, in the order of :meth:`gradient` with all biases."""
        assert state.second is not None
        V = np.column_stack([direction.W, direction.b])
        with np.errstate(invalid="ignore"):
            moved = state.second.times(V) + np.einsum("io,iod->id", direction.B, state.cross.first)
        outputs = np.einsum("iod,id->oi", state.cross.first, V)
        constant = np.zeros(len(self.integrals.mean))
        cross = np.concatenate([moved[:, :-1].ravel(), moved[:, -1], outputs.ravel(), constant])
        return super().product(state.base, direction) - 2.0 * cross  # type: ignore[arg-type]


class FunctionCorrelationLoss(FunctionLoss, CorrelationLoss):  # type: ignore[misc]
    """``E |y|^2 - 2 E[y.student]``: the cross terms alone."""
