"""A fixed-point problem as an optimizer sees it: the free parameters, counters, evaluations outside of the domain."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import DivergedError, SingularMomentError
from ..memory import require_memory
from ..objective import Evaluation, Objective

#: largest number of free parameters for which Hessians are formed
DENSE = 2000
#: a search that does not move has converged if its gradient is at most so many rounding errors
GRADIENT_FLOOR = 1e2


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
    """

    def __init__(self, objective: Objective, theta0: Array, free: NDArray[np.bool_]) -> None:
        self.objective = objective
        self.theta0 = theta0
        self.free = np.flatnonzero(free)
        self.all_free = len(self.free) == len(theta0)
        self.gradients = self.hessians = self.hvps = 0
        self.outside = ""
        self._is_frozen = False

    def theta_of(self, x: Array) -> Array:
        """All parameters (P,) from the free ones (n,)."""
        if self.all_free:
            return x
        theta = self.theta0.copy()
        theta[self.free] = x
        return theta

    def evaluate(self, x: Array, order: int) -> Evaluation:
        """Value, gradient (n,) and Hessian (n, n); NaN outside of the domain of the objective."""
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
