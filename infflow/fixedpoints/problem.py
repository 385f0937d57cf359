"""A fixed-point problem as an optimizer sees it: the free parameters, counters, evaluations outside of the domain."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import DivergedError, MethodError, SingularMomentError, TooLargeError
from ..memory import require_memory
from ..objective import Evaluation, Objective
from ..rounding import loss_rounding

#: largest number of free parameters for which Hessians are formed
DENSE = 2000
#: a decrease by this part of the loss, and so many rounding errors of it, is no rounding
CLEAR_PART, CLEAR_NOISE = 1e-3, 1e3
#: a search that does not move has converged if its gradient is at most so many rounding errors
GRADIENT_FLOOR = 1e2
#: and at most so many where the loss, which may be a sum that cancels, is zero to rounding: nothing below can be found by it
ZERO_LOSS_FLOOR = 1e4


class FixedPointProblem:
    """The objective as a function of the parameters that are not frozen.

    Parameters
    ----------
    objective : Objective
        Loss with derivatives.
    theta0 : (P,) array
        Start; the entries where ``free`` is False stay there.
    free : (P,) boolean array
        Which parameters may move.

    Attributes
    ----------
    require_time : callable
        Called before every evaluation and product; raises :class:`~infflow.stopping.TimeIsUp` where there is no time for one.
        Searches set it when they have evaluated their start.
    """

    def __init__(self, objective: Objective, theta0: Array, free: NDArray[np.bool_]) -> None:
        self.objective = objective
        self.theta0 = theta0
        self.free = np.flatnonzero(free)
        self.all_free = len(self.free) == len(theta0)
        self.gradients = self.hessians = self.hvps = 0
        self.outside = ""
        self._is_frozen = False
        self.require_time: Callable[[], None] = lambda: None

    def theta_of(self, x: Array) -> Array:
        """All parameters (P,) from the free ones (n,)."""
        if self.all_free:
            return x
        theta = self.theta0.copy()
        theta[self.free] = x
        return theta

    def evaluate(self, x: Array, order: int) -> Evaluation:
        """Value, gradient (n,) and Hessian (n, n); NaN outside of the domain of the objective."""
        self.require_time()
        self.gradients += order >= 1
        self.hessians += order >= 2
        n = len(self.free)
        if order == 2:
            require_memory(len(self.theta0))
        try:
            found = self.objective.evaluate(self.theta_of(x), order)
        except (DivergedError, SingularMomentError, FloatingPointError, OverflowError) as error:
            self.outside = str(error)
            found = Evaluation(math.nan, np.full(n, np.nan), np.full((n, n), np.nan))
            return found if order == 2 else found._replace(hessian=None)
        if self.all_free or order == 0:
            return found
        hessian = None if found.hessian is None else found.hessian[np.ix_(self.free, self.free)]
        return Evaluation(found.value, found.g[self.free], hessian)

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
        """The problem with the objective that the present one offers for a search from ``x``, if it does; a frozen one stays as it is."""
        freeze = getattr(self.objective, "frozen", None)
        if freeze is None or self._is_frozen:
            return self
        free = np.zeros(len(self.theta0), dtype=bool)
        free[self.free] = True
        other = FixedPointProblem(freeze(self.theta_of(x)), self.theta0, free)
        other._is_frozen = True
        return other

    def linearize(self, x: Array) -> Callable[[Array], Array]:
        """The Hessian at ``x`` as a function of a vector (n,), for many products.

        Made by the optional method ``linearize(theta)`` of the objective, where there is one; else from its ``hvp``.
        """
        theta, make = self.theta_of(x), getattr(self.objective, "linearize", None)
        product = make(theta) if make is not None else lambda v: self.objective.hvp(theta, v)

        def counted(v: Array) -> Array:
            self.require_time()
            self.hvps += 1
            if self.all_free:
                return product(v)
            full = np.zeros(len(self.theta0))
            full[self.free] = v
            return product(full)[self.free]

        return counted

    def loss_noise(self, x: Array, value: float) -> float | None:
        """Rounding error of the loss, where the objective knows it (an optional ``loss_rounding(theta, value)``)."""
        known = getattr(self.objective, "loss_rounding", None)
        return None if known is None else known(self.theta_of(x), value)


def is_finite(evaluation: Evaluation) -> bool:
    """Whether everything that was evaluated is finite."""
    arrays = (evaluation.gradient, evaluation.hessian)
    return math.isfinite(evaluation.value) and all(a is None or bool(np.isfinite(a).all()) for a in arrays)


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
    """Whether the parabola along a coordinate lies clearly below the loss somewhere, however far: then this is no minimum.

    A search whose steps are small compared with that distance sees losses that do not change (targets of 1e100).
    """
    curvatures = np.diagonal(found.H)
    up = curvatures > 0.0
    promised = 0.5 * np.abs(found.g[up]) * (np.abs(found.g[up]) / curvatures[up])
    noise = loss_rounding(found.value, curvatures, x)
    return bool(promised.max(initial=0.0) > max(CLEAR_PART * abs(found.value), CLEAR_NOISE * noise))
