"""One objective as a function of the parameters that may move, in the units of a solver.

Flow and search see an objective through this: free parameters, scales, counters, limits of time
and capabilities are said here once. What differs between them, such as what is done outside of
the domain, stands in ``flow/problem.py`` and ``fixedpoints/problem.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._validation import Array
from .deadline import asking
from .memory import require_memory
from .objective import LEFT_DOMAIN, Evaluation, KnowsRounding, Objective, linearizer


class Counts(NamedTuple):
    """Evaluations so far; a gradient that came with a Hessian counts as both."""

    gradients: int
    hessians: int
    hvps: int  #: Hessian-vector products


class FreeView:
    """An objective in the variables z = theta_free / scale of a solver.

    Parameters
    ----------
    objective : Objective
        Loss with derivatives.
    theta0 : (P,) array
        Start; entries that are not free stay there.
    free : (P,) boolean array
        Which parameters may move.
    scale : (P,) array, optional
        Positive where a parameter is free; ones if not given.

    Attributes
    ----------
    is_free : (P,) boolean array
    free : (n,) integer array
        Indices of the free parameters.
    size : int
        Their number n.
    scale : (n,) array
        Scales of the free parameters.
    gradients, hessians, hvps : int
        Evaluations so far.
    outside : str
        The last message of an evaluation that left the domain.
    require_time : callable
        Called before every evaluation and product, and between blocks of samples; raises
        :class:`~infflow.stopping.TimeIsUp` where there is no time left.
    """

    def __init__(
        self,
        objective: Objective,
        theta0: Array,
        free: NDArray[np.bool_],
        scale: Array | None = None,
    ) -> None:
        self.objective = objective
        self.theta0 = theta0
        self.is_free = free
        self.free = np.flatnonzero(free)
        self.size = len(self.free)
        self.all_free = self.size == len(theta0)
        self.scale = np.ones(self.size) if scale is None else np.ascontiguousarray(scale[self.free])
        self._unscaled = scale is None or bool((self.scale == 1.0).all())
        self._plain = self.all_free and self._unscaled  # z is theta
        self._start = self.z_of(theta0)
        # asked once: an answer costs half a microsecond
        self._linearize = linearizer(objective)
        self._knows_rounding = objective if isinstance(objective, KnowsRounding) else None
        self.gradients = self.hessians = self.hvps = 0
        self.outside = ""
        self.require_time: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------------------- variables

    def z_of(self, theta: Array) -> Array:
        """Free parameters in the variables of the solver: (P,) to (n,)."""
        return theta[self.free] / self.scale

    def theta_of(self, z: Array) -> Array:
        """Parameters, those that are not free included: (n,) to (P,), or (m, n) to (m, P).

        Entries that have not moved are those of the start to the last bit, which division and
        multiplication by a scale need not give.
        """
        if self._plain:
            return z
        chosen = z
        if not self._unscaled:
            chosen = np.where(z == self._start, self.theta0[self.free], z * self.scale)
        if z.ndim == 1:
            theta = self.theta0.copy()
            theta[self.free] = chosen
        else:
            theta = np.tile(self.theta0, (len(z), 1))
            theta[:, self.free] = chosen
        return theta

    def columns(self, jacobian: Array) -> Array:
        """A Jacobian (M, P) with respect to the variables of the solver: (M, n)."""
        chosen = jacobian if self.all_free else jacobian[:, self.free]
        return chosen if self._unscaled else chosen * self.scale

    # ----------------------------------------------------------------------------- evaluations

    def begin(self, order: int) -> None:
        """Count an evaluation, and raise where there is no time or memory for it."""
        self.require_time()
        self.gradients += order >= 1
        if order == 2:
            self.hessians += 1
            require_memory(len(self.theta0))

    def value_and_derivatives(
        self, z: Array, order: int, objective: Objective | None = None
    ) -> Evaluation:
        """Evaluation at z (n,), after :meth:`begin`; NaN outside of the domain, and no error.

        With ``objective`` (a minibatch) of that one, otherwise of the one that is seen.
        """
        chosen = self.objective if objective is None else objective
        try:
            with asking(self.require_time):
                found = chosen.evaluate(z if self._plain else self.theta_of(z), order)
        except LEFT_DOMAIN as error:
            self.outside = str(error)
            return self.nowhere(order)
        if self._plain or order == 0:
            return found
        value, gradient, hessian = found
        if gradient is not None:
            gradient = gradient if self.all_free else gradient[self.free]
            gradient = gradient if self._unscaled else gradient * self.scale
        if hessian is not None:
            hessian = hessian if self.all_free else hessian[np.ix_(self.free, self.free)]
            hessian = hessian if self._unscaled else hessian * self.scale * self.scale[:, None]
        return Evaluation(value, gradient, hessian)

    def nowhere(self, order: int) -> Evaluation:
        """What stands for an evaluation outside of the domain."""
        n = len(self.free)
        gradient = np.full(n, math.nan)
        return Evaluation(math.nan, gradient, np.full((n, n), math.nan) if order == 2 else None)

    def products(self, z: Array) -> Callable[[Array], Array]:
        """The Hessian at ``z`` as a function of v, both (n,), for many products.

        Made by ``linearize`` of the objective where it is :class:`Linearizable`, else from its
        ``hvp``. The errors of the objective are not caught.

        Raises
        ------
        MethodError
            If the objective has neither.
        """
        with asking(self.require_time):
            times = self._linearize(self.theta_of(z))

        def product(v: Array) -> Array:
            self.require_time()
            self.hvps += 1
            if self._plain:
                with asking(self.require_time):
                    return times(v)
            full = np.zeros(len(self.theta0))
            full[self.free] = v if self._unscaled else v * self.scale
            with asking(self.require_time):
                found = times(full)[self.free]
            return found if self._unscaled else found * self.scale

        return product

    def loss_noise(self, z: Array, value: float) -> float | None:
        """Rounding error of the loss, where the objective knows it."""
        if self._knows_rounding is None:
            return None
        return self._knows_rounding.loss_rounding(self.theta_of(z), value)

    def counts(self) -> Counts:
        """Evaluations so far."""
        return Counts(self.gradients, self.hessians, self.hvps)

    def count_from(self, counts: Counts) -> None:
        """Go on from these."""
        self.gradients, self.hessians, self.hvps = counts
