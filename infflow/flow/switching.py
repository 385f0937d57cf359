"""GMRES as long as it takes few products, then Gear's method with Cholesky factorisations."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._validation import Array
from .cvode import CvodeBdf, CvodeState
from .gear import GearBdf, GearState
from .integrator import Step
from .problem import FlowEvaluation, FlowProblem

#: GMRES is given up when so many steps took more than so many Hessian-vector products each
_WATCHED = 25
_PRODUCTS = 4
#: first step of Gear's method, of order 1, as a part of the last step before
_FIRST = 0.01


class SwitchingState(NamedTuple):
    """The state of the method that is in use, and when it is to be looked at."""

    inner: CvodeState | GearState
    steps: int = 0  #: since the last look
    products: int = 0  #: before the last look
    factorizations: int = 0
    rejected: int | None = None  #: scikit-sundae does not tell


class SwitchingBdf:
    """BDF that begins as :class:`CvodeBdf` with GMRES and goes on as :class:`GearBdf` where that
    needs many products.

    Early in a flow a few products solve the linear systems of a large network, which is far cheaper
    than a Hessian. Later the number of iterations grows with the condition of the Hessian.

    Parameters
    ----------
    problem : FlowProblem
        The flow.
    z, evaluation : (n,) array, FlowEvaluation
        Start, with value and gradient.
    krylov_dim : int
        Dimension of the Krylov space of GMRES.
    **options
        Those that both methods have.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        krylov_dim: int = 20,
        **options: Any,
    ) -> None:
        self.problem = problem
        self._options = options
        self._method: CvodeBdf | GearBdf = CvodeBdf(
            problem, z, evaluation, "gmres", krylov_dim, **options
        )
        self.state = SwitchingState(self._method.state)
        self._last: Step | None = None  # None before the first one, also after a restart

    def advance(self, t_end: float) -> Step:
        """One accepted step of the method that is in use."""
        _, steps, products, *_ = self.state
        # the steps may be more than that after a restart, which has no last step
        if self._last is not None and steps >= _WATCHED:
            if self.problem.hvps - products > _PRODUCTS * _WATCHED:
                self._go_on_with_gear(self._last)
            steps = 0
            products = self.problem.hvps
        step = self._method.advance(t_end)
        if isinstance(self._method, CvodeBdf):
            self._last = step
            steps += 1
        inner = self._method.state
        self.state = SwitchingState(inner, steps, products, inner.factorizations or 0)
        return step

    def _go_on_with_gear(self, last: Step) -> None:
        start = last.evaluation if last.exact else self.problem.evaluate(last.z, 1)
        options = {**self._options, "first_step": _FIRST * (last.t - last.t0)}
        self._method = GearBdf(self.problem, last.z, start, **options, t=last.t)
        self._last = None

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        inner = saved["inner"]
        if "history" in inner and isinstance(self._method, CvodeBdf):
            # made at the start, and changed to Gear's method before the checkpoint
            options = {**self._options, "first_step": inner["h"]}
            z = self._method.state.z
            self._method = GearBdf(self.problem, z, self._method.evaluation, **options)
        self._method.restore(inner)
        steps, products, count = (
            int(saved[name]) for name in ("steps", "products", "factorizations")
        )
        self.state = SwitchingState(self._method.state, steps, products, count)
