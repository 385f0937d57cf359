"""CVODE's backward differentiation formulas (SUNDIALS, through scikit-sundae) as an integrator."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_choice
from ..objective import no_products
from ..stopping import StopReason
from .control import initial_step
from .integrator import Step, StepFailed, is_finite, restored
from .problem import FlowEvaluation, FlowProblem

#: above this number of parameters LAPACK's LU is faster than the unblocked one of SUNDIALS
_LAPACK_ABOVE = 100
LINEAR_SOLVERS = ("dense", "gmres")


@contextmanager
def _silent_sundials() -> Iterator[None]:
    """SUNDIALS made in this context prints no warnings; its logger knows only environment
    variables.
    """
    name = "SUNLOGGER_WARNING_FILENAME"
    if name in os.environ:  # the user wants to see them
        yield
        return
    os.environ[name] = os.devnull
    try:
        yield
    finally:
        del os.environ[name]


class _WithoutErrors:
    """Standard output without the errors that scikit-sundae prints; they come back as status and
    message too.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._dropped = False

    def write(self, text: str) -> int:
        """Pass on what objectives print."""
        if self._dropped and text == "\n":  # the end of the line that was dropped
            self._dropped = False
            return 1
        self._dropped = re.match(r"\n\[\w+, Error: -?\d+\] ", text) is not None
        return len(text) if self._dropped or self._stream is None else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class CvodeState(NamedTuple):
    """Enough for a restart at low order: the history of CVODE cannot be read."""

    t: float
    z: Array  #: the last point, (n,)
    step: float  #: size of the last step
    linear_solver: str
    factorizations: int | None = None
    rejected: int | None = None  #: scikit-sundae does not tell


class CvodeBdf:
    """Variable-order BDF (orders 1 to 5) with modified Newton iterations.

    With ``linear_solver="dense"`` CVODE gets the exact Jacobian -H, with ``"gmres"``
    Hessian-vector products only. CVODE does not evaluate at the points that it accepts;
    see :meth:`FlowProblem.accepted`.

    Parameters
    ----------
    problem : FlowProblem
        The flow.
    z, evaluation : (n,) array, FlowEvaluation
        Start, with value and gradient.
    linear_solver : {"dense", "gmres"}
        How the linear systems are solved.
    krylov_dim : int
        Dimension of the Krylov space of GMRES.
    max_order : int
        Highest order of the formulas.
    first_step, max_step : float
        0 for a choice of its own, and for no limit.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        linear_solver: str = "dense",
        krylov_dim: int = 20,
        max_order: int = 5,
        first_step: float = 0.0,
        max_step: float = 0.0,
    ) -> None:
        if linear_solver == "gmres" and not problem.has_products:
            raise no_products(problem.objective, "cvode_bdf with GMRES")
        self.problem = problem
        self._first = first_step or initial_step(problem, z, evaluation.gradient, 1, None)
        factorizations = None if linear_solver == "gmres" else 0
        self.state = CvodeState(0.0, z, self._first, linear_solver, factorizations)
        # the last evaluation, and where it was made
        self.evaluation = evaluation
        self._at = z
        # a point, and the Hessian there as a function of a vector
        self._product: tuple[Array, Any] = (np.empty(0), None)
        self._error: BaseException | None = None  # raised by a callback
        self._left_domain = False  # whether a trial point since the last step was not finite
        self._looked_back = False  # whether dense output was asked for since the last step
        self._options = (krylov_dim, max_order, max_step)
        self._earlier = 0  # factorisations before a restart
        self._start()

    def _start(self) -> None:
        try:
            with _silent_sundials():
                self._solver = self._create(self.state.linear_solver, *self._options)
                self._solver.init_step(self.state.t, self.state.z)
        except (RuntimeError, ImportError) as error:
            if self._error is not None:
                raise self._error from None
            raise StepFailed(StopReason.SOLVER_FAILED, f"CVODE: {error}") from error

    def _create(self, linear_solver: str, krylov_dim: int, max_order: int, max_step: float) -> Any:
        from sksundae.cvode import CVODE, CVODEJacTimes

        options: dict[str, Any] = {
            "rtol": self.problem.rtol,
            "atol": self.problem.atol,
            "max_order": max_order,
        }
        options |= {"first_step": self._first, "max_step": max_step, "method": "BDF"}
        if linear_solver == "dense":
            options |= {
                "linsolver": "lapackdense" if self.problem.size > _LAPACK_ABOVE else "dense",
                "jacfn": self._jacobian,
            }
        else:
            options |= {
                "linsolver": "gmres",
                "krylov_dim": krylov_dim,
                "jactimes": CVODEJacTimes(None, self._jacobian_times),
            }
        return CVODE(self._rhs, **options)

    # The three callbacks. An exception (Ctrl-C, a bug in an objective) is kept and raised again
    # outside of CVODE.

    def _rhs(self, t: float, z: Array, out: Array) -> None:
        try:
            self._at = np.array(z)  # CVODE reuses the memory of z
            self.evaluation = self.problem.evaluate(self._at, 1)
            self._left_domain |= not is_finite(self.evaluation)
            np.negative(self.evaluation.gradient, out=out)
        except BaseException as error:
            self._error = error
            raise

    def _jacobian(self, t: float, z: Array, rhs: Array, out: Array) -> None:
        try:
            hessian = self.problem.evaluate(np.array(z), 2).hessian
            assert hessian is not None
            np.negative(hessian, out=out)
        except BaseException as error:
            self._error = error
            raise

    def _jacobian_times(self, t: float, z: Array, rhs: Array, v: Array, out: Array) -> None:
        try:
            at, product = self._product
            if not np.array_equal(at, z):
                at = np.array(z)
                product = self.problem.linearize(at)
                self._product = at, product
            np.negative(product(np.array(v)), out=out)
        except BaseException as error:
            self._error = error
            raise

    def _step(self, t: float, method: str, t_stop: float | None) -> Any:
        try:
            with redirect_stdout(_WithoutErrors(sys.stdout)):
                found = self._solver.step(t, method, t_stop)
        except Exception as error:
            if self._error is not None:
                raise self._error from None
            raise StepFailed(StopReason.SOLVER_FAILED, f"CVODE {self._where()}: {error}") from error
        if self._error is not None:
            raise self._error
        return found

    def advance(self, t_end: float) -> Step:
        """One internal step of CVODE."""
        t0 = self.state.t
        found = self._one_step(t_end)
        # after dense output CVODE first returns the point it had reached
        if found.t == t0 and self._looked_back:
            found = self._one_step(t_end)
        self._looked_back = False
        if found.status < 0:
            raise self._failure(StopReason.SOLVER_FAILED, f": CVODE: {found.message.rstrip('.')}")
        if found.t - t0 <= 16 * np.finfo(float).eps * t0:
            raise self._failure(StopReason.STEP_UNDERFLOW)
        t = float(found.t)
        evaluation, exact = self.problem.accepted(found.y, self.evaluation, self._at)
        if not is_finite(evaluation):
            raise self._failure(StopReason.NON_FINITE)
        self._left_domain = False
        linear_solver = self.state.linear_solver
        count = self._earlier + int(found.njev) if linear_solver == "dense" else None
        self.state = CvodeState(t, found.y, t - t0, linear_solver, count)
        return Step(t0, t, found.y, evaluation, self._interpolate, exact)

    def _one_step(self, t_end: float) -> Any:
        # the target only gives the direction
        target = self.state.t + max(self._first, self.state.t)
        return self._step(target, "onestep", None if math.isinf(t_end) else t_end)

    def _interpolate(self, time: float) -> Array:
        self._looked_back = True
        return self._step(time, "normal", None).y

    def restore(self, saved: dict[str, Any]) -> None:
        """Start again at the last point, with a short step of order 1."""
        self.state = restored(self.state, saved, self.problem.size)
        as_choice("linear_solver", self.state.linear_solver, LINEAR_SOLVERS)
        self._first = 0.1 * self.state.step
        self._earlier = self.state.factorizations or 0
        self._at = self.state.z
        self.evaluation = self.problem.evaluate(self._at, 1)
        self._start()

    def _where(self) -> str:
        return self.problem.where(self.state.t, self.state.z)

    def _failure(self, reason: StopReason, message: str = "") -> StepFailed:
        if self._left_domain:
            reason = StopReason.NON_FINITE
        return StepFailed(reason, f"{self._where()}{message}. {self.problem.outside}".strip())
