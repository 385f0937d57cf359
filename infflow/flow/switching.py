"""GMRES as long as it takes few products, then Gear's method with Cholesky factorisations."""

from __future__ import annotations

from typing import Any

from .._validation import Array
from .cvode import CvodeBdf
from .gear import GearBdf
from .onestep import Step
from .problem import FlowEvaluation, FlowProblem

#: GMRES is given up when so many steps took more than so many Hessian-vector products each
_WATCHED = 25
_PRODUCTS = 4
#: first step of Gear's method, of order 1, as a part of the last step before
_FIRST = 0.01


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

    rejected = None  # scikit-sundae does not tell

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
        self._steps = self._products = 0  # since the last look, and products before it
        self._last: Step | None = None

    @property
    def t(self) -> float:
        """Time of the last accepted point."""
        return self._method.t

    @property
    def factorizations(self) -> int:
        """Factorisations so far."""
        return self._method.factorizations or 0

    def advance(self, t_end: float) -> Step:
        """One accepted step of the method that is in use."""
        if (
            self._last is not None and self._steps >= _WATCHED
        ):  # more than that after a restart, which has no last step
            if self.problem.hvps - self._products > _PRODUCTS * _WATCHED:
                self._go_on_with_gear(self._last)
            self._steps, self._products = 0, self.problem.hvps
        step = self._method.advance(t_end)
        if isinstance(self._method, CvodeBdf):
            self._last = step
            self._steps += 1
        return step

    def _go_on_with_gear(self, last: Step) -> None:
        start = last.evaluation if last.exact else self.problem.evaluate(last.z, 1)
        options = {**self._options, "first_step": _FIRST * (last.t - last.t0)}
        self._method = GearBdf(self.problem, last.z, start, **options, t=last.t)
        self._last = None

    def state(self) -> dict[str, Any]:
        """Which method is in use, and its state."""
        name = "gear" if isinstance(self._method, GearBdf) else "gmres"
        return {
            "method": name,
            "steps": self._steps,
            "products": self._products,
            "state": self._method.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if state["method"] == "gear" and isinstance(
            self._method, CvodeBdf
        ):  # made at the start, then moved on
            options = {**self._options, "first_step": state["state"]["h"]}
            self._method = GearBdf(self.problem, self._method.z, self._method.evaluation, **options)
        self._method.restore(state["state"])
        self._steps = state["steps"]
        self._products = state["products"]
