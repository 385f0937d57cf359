"""What every integrator offers to the driver, and the one-step methods as such an integrator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from .._validation import Array
from ..errors import SolverFailedError
from ..stopping import StopReason
from .control import SMALLEST, ControlGains, StepControl, initial_step
from .explicit import Attempt
from .problem import FlowEvaluation, FlowProblem

_LARGEST_TIME = 1e300
_EPS = float(np.finfo(float).eps)


def check_time(t: float) -> None:
    """End a flow, as if at ``t_end``, where nothing moves any more."""
    if t >= _LARGEST_TIME:
        raise StepFailed(StopReason.T_END, "t reached 1e300; nothing moves any more")


def underflows(h: float, t: float, first: float) -> bool:
    """Whether a step of size ``h`` hardly changes the time, or is out of proportion to the first
    one.
    """
    return h <= 8 * _EPS * t or h < 1e-90 * first or h < SMALLEST


class StepFailed(SolverFailedError):
    """No further step is possible, for the given reason."""

    def __init__(self, reason: StopReason, note: str) -> None:
        super().__init__(note)
        self.reason = reason


class Step(NamedTuple):
    """One accepted step from ``t0`` to ``t``; ``dense`` is valid until the next one."""

    t0: float
    t: float
    z: Array  #: new point, shape (n,)
    evaluation: FlowEvaluation  #: value and gradient there
    dense: Callable[[float], Array]  #: the point (n,) at a time in [t0, t]
    #: False: loss and gradient come from a point nearby (minibatches: of an earlier epoch)
    exact: bool = True


class Integrator(Protocol):
    """What the driver needs: one accepted step at a time."""

    @property
    def t(self) -> float:
        """Time of the last accepted point."""

    @property
    def rejected(self) -> int | None:
        """Rejected steps so far; None where a library does not tell."""

    @property
    def factorizations(self) -> int | None:
        """Factorisations so far; None where a library does not tell."""

    def advance(self, t_end: float) -> Step:
        """One accepted step that does not pass ``t_end``; raises :class:`StepFailed`."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: arrays, numbers, None and dictionaries of these."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; before the first step only."""


class Family(Protocol):
    """A stepper bound to one problem."""

    uses_hessian: bool
    factorizations: int

    def attempt(self, z: Array, evaluation: FlowEvaluation, h: float) -> Attempt:
        """One attempted step."""

    def interpolate(self, z: Array, z1: Array, h: float, fraction: float) -> Array:
        """A point within the last step."""

    def state(self) -> dict[str, Any]:
        """What later steps depend on, beyond point, evaluation and step size."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


def is_finite(evaluation: FlowEvaluation) -> bool:
    """Whether value and gradient are finite."""
    return math.isfinite(evaluation.value) and math.isfinite(
        float(evaluation.gradient @ evaluation.gradient)
    )


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
        self.t = 0.0
        self.z = z
        self.evaluation = evaluation
        self.rejected = 0
        self._left_domain = False

    @property
    def factorizations(self) -> int:
        """Factorisations so far."""
        return self.family.factorizations

    def advance(self, t_end: float) -> Step:
        """One accepted step; rejected ones are counted and keep the Hessian."""
        t0, z0 = self.t, self.z
        while True:
            planned = self.fixed if self.control is None else self.control.h
            h, t = self._clip(planned, t_end)
            attempt = self.family.attempt(z0, self.evaluation, h)
            error = 0.0
            if attempt.error is not None and self.control is not None:
                error = self.problem.error_norm(attempt.error, z0, attempt.z)
            accepted = error <= 1.0  # False where the error is undefined
            if accepted:
                evaluation = attempt.evaluation or self._evaluate(attempt.z, last=t >= t_end)
                accepted = is_finite(evaluation)
            self._left_domain = not accepted and not 1.0 < error < math.inf
            if accepted:
                break
            self._reject(h, math.inf if self._left_domain else error)
        # a step that was cut short to end at t_end says nothing about the next one
        if self.control is not None and h >= planned * 0.5:
            self.control.accept(h, error)
        self.t = t
        self.z = attempt.z
        self.evaluation = evaluation

        def dense(time: float) -> Array:
            return self.family.interpolate(z0, attempt.z, h, (time - t0) / h)

        return Step(t0, t, attempt.z, evaluation, dense)

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on; the Hessian is evaluated again."""
        return {
            "t": self.t,
            "z": self.z,
            "value": self.evaluation.value,
            "gradient": self.evaluation.gradient,
            "rejected": self.rejected,
            "control": None if self.control is None else self.control.state(),
            "family": {"factorizations": self.family.factorizations, **self.family.state()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.t, self.z, self.rejected = state["t"], state["z"], int(state["rejected"])
        hessian = self.problem.evaluate(self.z, 2).hessian if self.family.uses_hessian else None
        self.evaluation = FlowEvaluation(state["value"], state["gradient"], hessian)
        if self.control is not None:
            self.control.restore(state["control"])
        self.family.factorizations = int(state["family"]["factorizations"])
        self.family.restore(state["family"])

    def _evaluate(self, z: Array, last: bool) -> FlowEvaluation:
        return self.problem.evaluate(z, 2 if self.family.uses_hessian and not last else 1)

    def _clip(self, h: float, t_end: float) -> tuple[float, float]:
        """Step size and new time; the last steps end exactly at ``t_end``."""
        left = t_end - self.t
        if h * (1 + 1e-10) >= left:
            return left, t_end
        if self.control is not None and 2 * h > left:
            h = left / 2  # no tiny last step
        check_time(self.t + h)
        return h, self.t + h

    def _reject(self, h: float, error: float) -> None:
        self.rejected += 1
        where = self.problem.where(self.t, self.z)
        if self.control is None:
            raise StepFailed(
                StopReason.NON_FINITE,
                f"{where}, with the fixed step {h:g}. {self.problem.outside}".strip(),
            )
        self.control.reject(h, error)
        if underflows(self.control.h, self.t, self.control.first):
            reason = StopReason.NON_FINITE if self._left_domain else StopReason.STEP_UNDERFLOW
            raise StepFailed(reason, f"{where}. {self.problem.outside}".strip())


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
