"""A fixed-point problem as an optimizer sees it, and what can be said at one of its points."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import DivergedError, MethodError, TooLargeError
from ..free_view import FreeView
from ..objective import Evaluation, Freezable, HasMetric, Objective
from ..rounding import loss_rounding

#: largest number of free parameters for which Hessians are formed
DENSE = 2000
#: a decrease by this part of the loss, and so many rounding errors of it, is no rounding
CLEAR_PART = 1e-3
CLEAR_NOISE = 1e3
#: a search that does not move has converged if its gradient is at most so many rounding errors
GRADIENT_FLOOR = 1e2
#: and at most so many where the loss, which may be a sum that cancels, is zero to rounding:
#: nothing below can be found by it
ZERO_LOSS_FLOOR = 1e4


class FixedPointProblem(FreeView):
    """The objective as a function of the parameters that are not frozen, in their own units.

    Searches set ``require_time`` when they have evaluated their start.

    Parameters
    ----------
    objective : Objective
        Loss with derivatives.
    theta0 : (P,) array
        Start; the entries where ``free`` is False stay there.
    free : (P,) boolean array
        Which parameters may move.
    """

    def __init__(self, objective: Objective, theta0: Array, free: NDArray[np.bool_]) -> None:
        super().__init__(objective, theta0, free, lengths(objective))
        self._freezable = objective if isinstance(objective, Freezable) else None

    def evaluate(self, x: Array, order: int) -> Evaluation:
        """Value, gradient (n,) and Hessian (n, n); NaN outside of the domain of the objective."""
        self.begin(order)
        return self.value_and_derivatives(x, order)

    def require_finite(self, x: Array, start: Evaluation) -> None:
        """An error where what was evaluated at the start of a search is not finite."""
        if is_finite(start):
            return
        outside = self.outside
        loss = self.evaluate(x, 0).value  # derivatives may be infinite where the loss is not
        raise DivergedError(
            "loss, gradient or Hessian at the start of the search is not finite "
            f"(loss {loss}). {outside or self.outside}"
        )

    def frozen(self, x: Array) -> FixedPointProblem:
        """The problem with the objective that the present one offers for a search from ``x``, if it
        does; a frozen one stays as it is.
        """
        if self._freezable is None:
            return self
        theta = self.theta_of(x)
        other = FixedPointProblem(self._freezable.frozen(theta), self.theta0, self.is_free)
        other._freezable = None
        return other

    def linearize(self, x: Array) -> Callable[[Array], Array]:
        """The Hessian at ``x`` as a function of a vector (n,), for many products."""
        return self.products(x)


def lengths(objective: Objective) -> Array | None:
    """Scales of the variables of a search, where parameters stand for several of a whole."""
    return objective.multiplicities**-0.5 if isinstance(objective, HasMetric) else None


def is_finite(evaluation: Evaluation) -> bool:
    """Whether everything that was evaluated is finite."""
    arrays = (evaluation.gradient, evaluation.hessian)
    return math.isfinite(evaluation.value) and all(
        a is None or bool(np.isfinite(a).all()) for a in arrays
    )


def curvature_at(problem: FixedPointProblem, x: Array) -> Evaluation | None:
    """Value, gradient and Hessian where they can be had and are finite."""
    if len(x) > DENSE:
        return None
    try:
        found = problem.evaluate(x, 2)
    except (MethodError, TooLargeError, MemoryError):
        return None
    return found if found.hessian is not None and is_finite(found) else None


def promises_more(found: Evaluation, x: Array) -> bool:
    """Whether the parabola along a coordinate lies clearly below the loss somewhere, however far:
    then this is no minimum.

    A search whose steps are small compared with that distance sees losses that do not change
    (targets of 1e100).
    """
    curvatures = np.diagonal(found.H)
    up = curvatures > 0.0
    promised = 0.5 * np.abs(found.g[up]) * (np.abs(found.g[up]) / curvatures[up])
    noise = loss_rounding(found.value, curvatures, x)
    return bool(promised.max(initial=0.0) > max(CLEAR_PART * abs(found.value), CLEAR_NOISE * noise))
