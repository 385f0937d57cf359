"""One-step methods as integrators: a stepper attempts, error control accepts or rejects."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple, Protocol

from .._validation import Array
from ..stopping import StopReason
from .control import ControlGains, ControlState, StepControl, initial_step
from .integrator import Step, StepFailed, check_time, is_finite, restored, underflows
from .problem import FlowEvaluation, FlowProblem


class NoMemory(NamedTuple):
    """Memory of a stepper whose attempts depend on their start alone."""


class Attempt(NamedTuple):
    """Outcome of one attempted step of size h."""

    z: Array  #: new point, shape (n,)
    error: Array | None  #: estimated error of it, shape (n,); None with a fixed step
    #: value and gradient at the new point, where the method has them
    evaluation: FlowEvaluation | None = None
    memory: Any = NoMemory()  #: for the next attempt, whether this one is rejected or not


class Family(Protocol):
    """A stepper bound to one problem.

    ``memory`` is what the first attempt gets: a named tuple of what may serve from attempt to
    attempt, such as an old Hessian. It goes into checkpoints.
    """

    uses_hessian: bool
    factorizations: int
    memory: Any

    def attempt(self, z: Array, evaluation: FlowEvaluation, h: float, memory: Any) -> Attempt:
        """One attempted step of size ``h`` from ``z`` (n,) with the evaluation there."""

    def interpolate(self, z: Array, z1: Array, h: float, fraction: float) -> Array:
        """The point (n,) at a fraction of the last attempted step, which led from z to z1."""


class OneStepState(NamedTuple):
    """All that the next steps depend on."""

    t: float
    z: Array  #: the point, (n,)
    evaluation: FlowEvaluation  #: there, with the Hessian where the stepper uses it
    control: ControlState | None  #: None with a fixed step
    memory: Any  #: memory of the stepper
    rejected: int = 0
    factorizations: int = 0


class OneStepIntegrator:
    """A one-step method with step-size control, or with a fixed step.

    Parameters
    ----------
    problem : FlowProblem
        The flow.
    family : Family
        The stepper.
    z, evaluation : (n,) array, FlowEvaluation
        Start, with the evaluation there at the order that the stepper uses.
    control : StepControl or None
        None for a fixed step.
    fixed : float
        The fixed step, where there is no control.
    """

    def __init__(
        self,
        problem: FlowProblem,
        family: Family,
        z: Array,
        evaluation: FlowEvaluation,
        control: StepControl | None,
        fixed: float = math.nan,
    ) -> None:
        self.problem = problem
        self.family = family
        self.control = control
        self.fixed = fixed
        start = None if control is None else control.start()
        self.state = OneStepState(0.0, z, evaluation, start, family.memory)

    def advance(self, t_end: float) -> Step:
        """One accepted step; rejected ones are counted and keep the Hessian."""
        t0, z0, evaluation0, control, memory, rejected, _ = self.state
        while True:
            planned = self.fixed if control is None else control.h
            h, t = self._clip(planned, t0, t_end)
            attempt = self.family.attempt(z0, evaluation0, h, memory)
            memory = attempt.memory
            error = 0.0
            if attempt.error is not None and control is not None:
                error = self.problem.error_norm(attempt.error, z0, attempt.z)
            if error <= 1.0:  # False where the error is undefined
                evaluation = attempt.evaluation or self._evaluate(attempt.z, last=t >= t_end)
                if is_finite(evaluation):
                    break
            rejected += 1
            control = self._after_rejection(control, h, error, rejected)
        # a step that was cut short to end at t_end says nothing about the next one
        if self.control is not None and control is not None and h >= planned * 0.5:
            control = self.control.accepted(control, h, error)
        factorizations = self.family.factorizations
        self.state = OneStepState(
            t, attempt.z, evaluation, control, memory, rejected, factorizations
        )
        return Step(t0, t, attempt.z, evaluation, partial(self._dense, t0, z0, attempt.z, h))

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.state = restored(self.state, saved, self.problem.size)
        self.family.factorizations = self.state.factorizations

    def _evaluate(self, z: Array, last: bool) -> FlowEvaluation:
        return self.problem.evaluate(z, 2 if self.family.uses_hessian and not last else 1)

    def _dense(self, t0: float, z0: Array, z1: Array, h: float, time: float) -> Array:
        return self.family.interpolate(z0, z1, h, (time - t0) / h)

    def _clip(self, h: float, t: float, t_end: float) -> tuple[float, float]:
        """Step size and new time; the last steps end exactly at ``t_end``."""
        left = t_end - t
        if h * (1 + 1e-10) >= left:
            return left, t_end
        if self.control is not None and 2 * h > left:
            h = left / 2  # no tiny last step
        check_time(t + h)
        return h, t + h

    def _after_rejection(
        self, control: ControlState | None, h: float, error: float, rejected: int
    ) -> ControlState:
        """The control for a shorter attempt, or the end."""
        if self.control is None or control is None:
            raise self._failure(StopReason.NON_FINITE, rejected, f", with the fixed step {h:g}")
        # an allowed error, and yet rejected: the new point is outside of the domain
        left_domain = not 1.0 < error < math.inf
        control = self.control.rejected(control, h, math.inf if left_domain else error)
        if underflows(control.h, self.state.t, self.control.first):
            reason = StopReason.NON_FINITE if left_domain else StopReason.STEP_UNDERFLOW
            raise self._failure(reason, rejected)
        return control

    def _failure(self, reason: StopReason, rejected: int, note: str = "") -> StepFailed:
        self.state = self.state._replace(
            rejected=rejected, factorizations=self.family.factorizations
        )
        where = self.problem.where(self.state.t, self.state.z)
        return StepFailed(reason, f"{where}{note}. {self.problem.outside}".strip())


def build_one_step(
    problem: FlowProblem,
    family: Family,
    gains: ControlGains,
    k: int,
    z: Array,
    evaluation: FlowEvaluation,
    options: dict[str, float],
) -> OneStepIntegrator:
    """The integrator of a stepper.

    Parameters
    ----------
    problem, family : FlowProblem, Family
        The flow, and the stepper bound to it.
    gains : ControlGains
        Of the step-size control.
    k : int
        The error estimate shrinks as h^k.
    z, evaluation : (n,) array, FlowEvaluation
        Start.
    options : dict
        May hold ``step``, ``first_step`` and ``max_step``.
    """
    if "step" in options:
        return OneStepIntegrator(problem, family, z, evaluation, None, options["step"])
    first = options.get("first_step") or initial_step(
        problem, z, evaluation.gradient, k - 1, evaluation.hessian
    )
    control = StepControl(gains, k, first, options.get("max_step", math.inf))
    return OneStepIntegrator(problem, family, z, evaluation, control)
