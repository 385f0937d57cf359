"""Discrete descent: gradient descent and Adam, with all data or minibatches, and time t = k
step_size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import Array
from ..stopping import StopReason
from .batches import Batches
from .onestep import Step, StepFailed, is_finite
from .problem import FlowEvaluation, FlowProblem


class GradientDescent:
    """Gradient descent, theta <- theta - step_size eta grad L: Euler's method for the flow.

    Between its iterates the path is a straight line; a last step that would pass ``t_end`` is
    shortened. With minibatches every step uses the gradient on one of them; loss and gradient on
    all data are evaluated after every epoch, and in between the last ones stand for them.
    """

    rejected = 0
    factorizations = 0

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        step_size: float,
        batches: Batches | None = None,
    ) -> None:
        self.problem = problem
        self.step_size = step_size
        self.batches = batches
        self.k = 0
        self.z = z
        self.evaluation = evaluation

    def direction(self, gradient: Array) -> Array:
        """The displacement per unit of time, shape (n,)."""
        return -gradient

    @property
    def t(self) -> float:
        """Time of the last step."""
        return self.k * self.step_size

    def advance(self, t_end: float) -> Step:
        """One step."""
        z0, t0 = self.z, self.k * self.step_size
        self.k += 1
        t = self.k * self.step_size
        # one part in 1e10 more than t_end is the rounding of k * step_size, not another step
        t = t_end if t >= t_end * (1 - 1e-10) else t
        used = (
            self.evaluation
            if self.batches is None
            else self.problem.evaluate(z0, 1, self.batches.take())
        )
        velocity = self.direction(used.gradient)
        z = z0 + (t - t0) * velocity
        exact = self.batches is None or self.batches.at_end or t == t_end
        evaluation = self.problem.evaluate(z, 1) if exact else self.evaluation
        if not (is_finite(evaluation) and is_finite(used)):
            note = (
                f"{self.problem.where(t0, z0)}: step_size {self.step_size:g} is probably too large"
            )
            raise StepFailed(StopReason.NON_FINITE, note)
        self.z = z
        self.evaluation = evaluation
        return Step(t0, t, z, evaluation, lambda time: z0 + (time - t0) * velocity, exact)

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        batches = None if self.batches is None else self.batches.state()
        return {
            "k": self.k,
            "z": self.z,
            "value": self.evaluation.value,
            "gradient": self.evaluation.gradient,
            "batches": batches,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.k = int(state["k"])
        self.z = state["z"]
        self.evaluation = FlowEvaluation(state["value"], state["gradient"])
        if self.batches is not None:
            self.batches.restore(state["batches"])


class Adam(GradientDescent):
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1); ``eta`` scales the step of each
    parameter.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        step_size: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        batches: Batches | None = None,
    ) -> None:
        super().__init__(problem, z, evaluation, step_size, batches)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self._mean = np.zeros_like(z)
        self._square = np.zeros_like(z)

    def direction(self, gradient: Array) -> Array:
        """The displacement per unit of time, shape (n,); updates the moments."""
        scale = self.problem.scale  # gradient in z = sqrt(eta) gradient in theta
        g = gradient / scale
        self._mean += (1 - self.beta1) * (g - self._mean)
        self._square += (1 - self.beta2) * (g * g - self._square)
        corrected = math.sqrt(1 - self.beta2**self.k)
        return (
            -scale
            * (self._mean / (1 - self.beta1**self.k))
            / (np.sqrt(self._square) / corrected + self.epsilon)
        )

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {**super().state(), "mean": self._mean.copy(), "square": self._square.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        super().restore(state)
        self._mean, self._square = state["mean"].copy(), state["square"].copy()
