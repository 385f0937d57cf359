"""Discrete descent: gradient descent and Adam, with all data or minibatches, and time t = k
step_size.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..stopping import StopReason
from .batches import Batches, Position
from .integrator import Step, StepFailed, is_finite, restored
from .problem import FlowEvaluation, FlowProblem


class Moments(NamedTuple):
    """Means of gradients and of their squares, both (n,), as Adam keeps them."""

    mean: Array
    square: Array


class DescentState(NamedTuple):
    """All that the next steps depend on."""

    k: int  #: steps so far
    z: Array  #: the point, (n,)
    evaluation: FlowEvaluation  #: there, or at the end of the last epoch
    position: Position = Position()  #: among the minibatches
    moments: Moments | None = None  #: None for gradient descent
    rejected: int = 0
    factorizations: int = 0


class GradientDescent:
    """Gradient descent, theta <- theta - step_size eta grad L: Euler's method for the flow.

    Between its iterates the path is a straight line; a last step that would pass ``t_end`` is
    shortened. With minibatches every step uses the gradient on one of them; loss and gradient on
    all data are evaluated after every epoch, and in between the last ones stand for them.
    """

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
        self.state = DescentState(0, z, evaluation)

    def velocity(
        self, gradient: Array, k: int, moments: Moments | None
    ) -> tuple[Array, Moments | None]:
        """Displacement (n,) per unit of time in step number k, and the moments after it."""
        return -gradient, moments

    def advance(self, t_end: float) -> Step:
        """One step."""
        before = self.state
        z0 = before.z
        t0 = before.k * self.step_size
        k = before.k + 1
        t = k * self.step_size
        # one part in 1e10 more than t_end is the rounding of k * step_size, not another step
        t = t_end if t >= t_end * (1 - 1e-10) else t
        position = before.position
        if self.batches is None:
            used = before.evaluation
            exact = True
        else:
            batch, position = self.batches.take(position)
            used = self.problem.evaluate(z0, 1, batch)
            exact = self.batches.is_last(position) or t == t_end
        velocity, moments = self.velocity(used.gradient, k, before.moments)
        z = z0 + (t - t0) * velocity
        evaluation = self.problem.evaluate(z, 1) if exact else before.evaluation
        if not (is_finite(evaluation) and is_finite(used)):
            note = (
                f"{self.problem.where(t0, z0)}: step_size {self.step_size:g} is probably too large"
            )
            raise StepFailed(StopReason.NON_FINITE, note)
        self.state = DescentState(k, z, evaluation, position, moments)
        return Step(t0, t, z, evaluation, lambda time: z0 + (time - t0) * velocity, exact)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.state = restored(self.state, saved, self.problem.size)


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
        self.state = self.state._replace(moments=Moments(np.zeros_like(z), np.zeros_like(z)))

    def velocity(
        self, gradient: Array, k: int, moments: Moments | None
    ) -> tuple[Array, Moments | None]:
        """Displacement (n,) per unit of time in step number k, and the moments after it."""
        assert moments is not None
        scale = self.problem.scale  # gradient in z = sqrt(eta) gradient in theta
        g = gradient / scale
        mean = moments.mean + (1 - self.beta1) * (g - moments.mean)
        square = moments.square + (1 - self.beta2) * (g * g - moments.square)
        corrected = math.sqrt(1 - self.beta2**k)
        velocity = (
            -scale * (mean / (1 - self.beta1**k)) / (np.sqrt(square) / corrected + self.epsilon)
        )
        return velocity, Moments(mean, square)
