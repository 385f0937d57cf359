"""A function of the user in the place of an integrator: one step of ``step_size`` at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import Array
from ..own_step import OwnStep, moved
from ..stopping import StopReason
from .batches import Batches
from .descent import DescentState
from .integrator import Step, StepFailed, is_finite, restored
from .problem import FlowEvaluation, FlowProblem


class OwnMethod:
    """Steps of a function; time is t = k step_size, and the path between two points is straight.

    A last step that would pass ``t_end`` is cut on the straight line. Minibatches are those of
    gradient descent. What the function remembers is not in ``state``, since a file can't keep it:
    after a restart it gets None, at the point where the run had been.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        step: OwnStep,
        step_size: float,
        batches: Batches | None = None,
    ) -> None:
        self.problem = problem
        self.step = step
        self.step_size = step_size
        self.batches = batches
        self.state = DescentState(0, z, evaluation)
        self._remembered: Any = None

    def advance(self, t_end: float) -> Step:
        """One step."""
        before = self.state
        z0 = before.z
        t0 = before.k * self.step_size
        t = (before.k + 1) * self.step_size
        whole = t < t_end * (1 - 1e-10)  # the rest is rounding of k step_size
        t = t if whole else t_end
        position = before.position
        used = before.evaluation
        exact = True
        if self.batches is not None:
            batch, position = self.batches.take(position)
            used = self.problem.evaluate(z0, 1, batch)
            exact = self.batches.is_last(position) or not whole
        self._require_finite(used, t0, z0)
        z, remembered = moved(self.step, self.problem, z0, used.gradient, self._remembered)
        share = (t - t0) / self.step_size
        if share < 1 - 1e-9:
            z = z0 + share * (z - z0)
        evaluation = self.problem.evaluate(z, 1) if exact else before.evaluation
        self._require_finite(evaluation, t, z0, bool(np.isfinite(z).all()))
        self._remembered = remembered
        self.state = DescentState(before.k + 1, z, evaluation, position)

        def dense(time: float) -> Array:
            return z0 + (time - t0) / (t - t0) * (z - z0)

        return Step(t0, t, z, evaluation, dense, exact)

    def _require_finite(
        self, evaluation: FlowEvaluation, t: float, z: Array, moved_well: bool = True
    ) -> None:
        if not (moved_well and is_finite(evaluation)):
            note = f"{self.problem.where(t, z)}: the steps of the function are probably too long"
            raise StepFailed(StopReason.NON_FINITE, note)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there, without what the function remembered."""
        self.state = restored(self.state, saved, self.problem.size)
