"""SciPy's implicit integrators, stepped one by one, with the exact Jacobian of the flow."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..stopping import StopReason
from .control import initial_step
from .integrator import Step, StepFailed, is_finite, restored
from .problem import FlowEvaluation, FlowProblem

#: LSODA needs a finite end; nothing moves that long
_FOREVER = 1e300


class _UndefinedHessian(Exception):
    """A Jacobian outside of the domain, which SciPy would pass on to LAPACK."""


class SciPyState(NamedTuple):
    """Enough for a restart at low order: SciPy's history is not kept."""

    t: float
    z: Array  #: the last point, (n,)
    step: float = 0.0  #: size of the last step; 0 before the first one
    #: LU decompositions so far, of two matrices each for Radau; None for LSODA, which does not tell
    factorizations: int | None = None
    rejected: int | None = None  #: SciPy does not tell


class SciPySolver:
    """One of ``scipy.integrate``'s ``LSODA``, ``Radau``, ``BDF``.

    Parameters
    ----------
    problem : FlowProblem
        The flow.
    z, evaluation : (n,) array, FlowEvaluation
        Start, with value and gradient.
    name : {"LSODA", "Radau", "BDF"}
        The class in ``scipy.integrate``.
    first_step, max_step : float
        0 for a choice of its own; no limit by default.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        name: str,
        first_step: float = 0.0,
        max_step: float = math.inf,
    ) -> None:
        self.problem = problem
        self.name = name
        self.state = SciPyState(0.0, z)
        self.evaluation = evaluation
        self._evaluated_at = z
        self._left_domain = False
        self._reached = 0.0  # latest time of an evaluation
        self._first = first_step or initial_step(problem, z, evaluation.gradient, 1, None)
        self._max_step = max_step
        self._solver: Any = None

    def _rhs(self, t: float, z: Array) -> Array:
        self.evaluation, self._evaluated_at = self.problem.evaluate(np.array(z), 1), np.array(z)
        self._left_domain |= not is_finite(self.evaluation)
        self._reached = max(self._reached, t)
        return -self.evaluation.gradient

    def _jacobian(self, t: float, z: Array) -> Array:
        hessian = self.problem.evaluate(np.array(z), 2).hessian
        assert hessian is not None
        if not np.isfinite(hessian).all():
            raise _UndefinedHessian
        return -hessian

    def _start(self, t_end: float) -> None:
        import scipy.integrate

        bound = min(t_end, _FOREVER)
        options = {
            "rtol": max(self.problem.rtol, 3e-14),
            "atol": self.problem.atol,
            "jac": self._jacobian,
        }
        options |= {
            "first_step": min(self._first, bound - self.state.t),
            "max_step": self._max_step,
        }
        try:
            self._solver = getattr(scipy.integrate, self.name)(
                self._rhs, self.state.t, self.state.z, bound, **options
            )
        except _UndefinedHessian:
            raise StepFailed(StopReason.SOLVER_FAILED, "the Hessian is not finite") from None

    def advance(self, t_end: float) -> Step:
        """One internal step; ``t_end`` is the same at every call."""
        t0 = self.state.t
        fresh = self._solver is None
        if fresh:
            self._start(t_end)
        while (message := self._try_step()) is not None:
            # SciPy's solvers give up where a trial point left the domain: start again with a
            # shorter step
            self._first = (self._reached - t0) / 4
            if not self._left_domain or fresh or self._first <= 16 * np.finfo(float).eps * t0:
                raise self._failure(StopReason.SOLVER_FAILED, f": {self.name}: {message}")
            self._reached = t0
            self._start(t_end)
        solver = self._solver
        t = float(solver.t)
        z = np.array(solver.y)
        if t - t0 <= 16 * np.finfo(float).eps * t0:
            raise self._failure(StopReason.STEP_UNDERFLOW)
        evaluation, exact = self.problem.accepted(z, self.evaluation, self._evaluated_at)
        if not is_finite(evaluation):
            raise self._failure(StopReason.NON_FINITE)
        self._left_domain = False
        self.state = SciPyState(t, z, t - t0, self._count())
        return Step(t0, t, z, evaluation, lambda time: np.array(solver.dense_output()(time)), exact)

    def _count(self) -> int | None:
        return None if self.name == "LSODA" else int(self._solver.nlu)

    def _try_step(self) -> str | None:
        """Step; what went wrong, or None."""
        try:
            message = self._solver.step()
        except _UndefinedHessian:
            self._left_domain = True
            return "the Hessian is not finite"
        if self._solver.status == "failed":
            return str(message)
        return None if np.isfinite(self._solver.y).all() else "the new point is not finite"

    def restore(self, saved: dict[str, Any]) -> None:
        """Start again at the last point, with a short step of low order."""
        self.state = restored(self.state, saved, self.problem.size)
        if self.state.step > 0.0:  # else it was stopped before the first one
            self._first = 0.1 * self.state.step
        self._reached = self.state.t
        self._evaluated_at = self.state.z
        self.evaluation = self.problem.evaluate(self.state.z, 1)

    def _failure(self, reason: StopReason, message: str = "") -> StepFailed:
        if self._left_domain:
            reason = StopReason.NON_FINITE
        self.state = self.state._replace(factorizations=self._count())
        where = self.problem.where(self.state.t, self.state.z)
        return StepFailed(reason, f"{where}{message}. {self.problem.outside}".strip())
