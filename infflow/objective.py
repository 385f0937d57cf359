"""What a solver sees of a network: value, gradient, Hessian and Hessian-vector products.

Nothing in ``flow/`` or ``fixedpoints/`` knows more than this file, so the same solvers drive
finite-data networks, infinite-data networks and anything a user writes.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ._validation import Array, shown
from .errors import InvalidTypeError, MethodError


class Evaluation(NamedTuple):
    """Value and, as far as the requested order goes, gradient ``(P,)`` and Hessian ``(P, P)``."""

    value: float
    gradient: Array | None = None
    hessian: Array | None = None

    @property
    def g(self) -> Array:
        """The gradient, where order 1 or 2 was asked for."""
        return _evaluated("gradient", self.gradient)

    @property
    def H(self) -> Array:
        """The Hessian, where order 2 was asked for."""
        return _evaluated("hessian", self.hessian)


def _evaluated(name: str, found: Array | None) -> Array:
    if found is None:
        raise MethodError(
            f"evaluate(theta, order) left out the {name}; return Evaluation(value, gradient, hessian) as far as order asks for."
        )
    return found


class Objective(Protocol):
    """A twice differentiable function of a flat parameter vector ``theta`` of shape ``(P,)``."""

    @property
    def num_params(self) -> int:
        """Number of parameters P."""

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Value (order 0), and gradient (order 1), and Hessian (order 2) at ``theta``."""

    def hvp(self, theta: Array, v: Array) -> Array:
        """Hessian times ``v`` of shape ``(P,)`` or ``(P, m)``, without forming the Hessian."""


def as_objective(net: Any) -> Objective:
    """Anything that has what solvers need, or an error."""
    if isinstance(net, type) or not (hasattr(net, "evaluate") and hasattr(net, "num_params")):
        raise InvalidTypeError(
            f"net is {shown(net)}; a Net with data, a NetI, or an object with num_params and evaluate(theta, order) is needed."
        )
    return net
