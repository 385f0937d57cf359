"""The gradient flow as an integrator sees it: symmetric variables, counters, tolerances.

The flow d theta/dt = -eta grad L is solved in z = theta_free / sqrt(eta_free), where it is
dz/dt = -grad_z L with the symmetric Jacobian -sqrt(eta) H sqrt(eta). Parameters with eta = 0 are
no part of z.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..errors import DivergedError, SingularMomentError
from ..memory import require_memory
from ..objective import Objective
from .norm_kernels import largest, weighted_rms

#: a loss is carried over to a point nearby where it changes by at most this part. Measured on networks, it is then off by
#: 5e-5 of itself at tolerances of 1e-6, by 4e-3 at most at 1e-2 (without this rule by 1e-4 and 1.6, near minima by 1e3)
_CARRIED = 1e-3

#: errors by which an objective says that a point lies outside of its domain
LEFT_DOMAIN = (DivergedError, SingularMomentError, FloatingPointError, OverflowError)


class FlowEvaluation(NamedTuple):
    """Value, gradient (n,) and, at order 2, Hessian (n, n), in the variables of the integrator."""

    value: float
    gradient: Array
    hessian: Array | None = None


class FlowProblem:
    """The flow of one objective from one start.

    Parameters
    ----------
    objective : Objective
        Loss with gradient, Hessian and Hessian-vector products.
    theta0 : (P,) array
        Start; its entries stay where eta is 0.
    eta : float or (P,) array
        Time scales, not negative.
    rtol, atol : float
        An error of theta_i counts in units of atol + rtol |theta_i|.

    Attributes
    ----------
    size : int
        Number n of free parameters.
    gradients, hessians, hvps : int
        Evaluations so far.
    wants_exact : callable
        Whether loss and gradient at an accepted point have to be those of this very point, given nearly those; see :meth:`accepted`.
    require_time : callable
        Called before every evaluation and product; raises :class:`~infflow.stopping.TimeIsUp` where there is no time for one.
    """

    def __init__(self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float) -> None:
        self.objective = objective
        self.theta0 = theta0
        scales = np.broadcast_to(np.sqrt(np.asarray(eta, dtype=float)), theta0.shape)
        self.free = np.flatnonzero(scales > 0)
        self.size = len(self.free)
        self._all_free = self.size == len(theta0)
        self._plain = self._all_free and bool((scales == 1.0).all())
        self.scale = np.ascontiguousarray(scales[self.free])
        self._z0 = self.z_of(theta0)
        self.rtol = rtol
        self.atol = atol / self.scale  # per component of z
        self.gradients = self.hessians = self.hvps = 0
        self.outside = ""  # the last message of an evaluation that left the domain
        self.wants_exact: Callable[[FlowEvaluation], bool] = lambda evaluation: False
        self.require_time: Callable[[], None] = lambda: None

    def z_of(self, theta: Array) -> Array:
        """Free parameters in the variables of the integrator: (P,) to (n,)."""
        return theta[self.free] / self.scale

    def theta_of(self, z: Array) -> Array:
        """Parameters, frozen ones included: (n,) to (P,), or (m, n) to (m, P).

        Entries that have not moved are those of the start to the last bit, which division and multiplication by a scale need not give.
        """
        if self._plain:
            return z
        theta = np.empty((*z.shape[:-1], len(self.theta0)))
        theta[...] = self.theta0
        theta[..., self.free] = np.where(z == self._z0, self.theta0[self.free], z * self.scale)
        return theta

    def evaluate(self, z: Array, order: int, objective: Objective | None = None) -> FlowEvaluation:
        """Evaluation of order 1 or 2 at z (n,); outside of the domain everything is NaN, and no error is raised.

        With ``objective`` (a minibatch) of that one, otherwise of the one of the flow.
        """
        self.require_time()
        chosen = self.objective if objective is None else objective
        self.gradients += 1
        self.hessians += order >= 2
        if not largest(z) < math.inf:  # a stage that builds on one outside of the domain
            return self._nowhere(order)
        if order == 2:
            require_memory(len(self.theta0))
        try:
            value, gradient, hessian = chosen.evaluate(z if self._plain else self.theta_of(z), order)
        except LEFT_DOMAIN as error:
            self.outside = str(error)
            return self._nowhere(order)
        assert gradient is not None  # order >= 1
        if not math.isfinite(value):
            self.outside = self.outside or f"The loss is {value}."
        if self._plain:
            return FlowEvaluation(value, gradient, hessian)
        if not self._all_free:
            gradient = gradient[self.free]
            hessian = None if hessian is None else hessian[np.ix_(self.free, self.free)]
        if hessian is not None:
            hessian = hessian * self.scale * self.scale[:, None]
        return FlowEvaluation(value, gradient * self.scale, hessian)

    def _nowhere(self, order: int) -> FlowEvaluation:
        n = self.size
        return FlowEvaluation(math.nan, np.full(n, math.nan), np.full((n, n), math.nan) if order == 2 else None)

    def accepted(self, z: Array, evaluation: FlowEvaluation, at: Array) -> tuple[FlowEvaluation, bool]:
        """Loss and gradient at an accepted point from an evaluation nearby, and whether they are exact.

        Multistep methods evaluate at the last iterates of Newton's method, and accept the point after them. The loss falls by
        half of what the gradient says (all of it on a line, half at the minimum of a parabola), which is taken where it is at most
        a thousandth of the loss. Otherwise, and where :attr:`wants_exact`, the accepted point is evaluated.
        """
        change = float(evaluation.gradient @ (z - at))
        near = evaluation._replace(value=evaluation.value + change / 2)
        if change == 0.0 and (z == at).all():
            return evaluation, True
        if abs(change) <= _CARRIED * abs(near.value) and not self.wants_exact(near):
            return near, False
        return self.evaluate(z, 1), True

    def linearize(self, z: Array) -> Callable[[Array], Array]:
        """The Hessian in z as a function of v, both (n,), for many products; NaN outside of the domain.

        Made by the optional method ``linearize(theta)`` of the objective, where there is one; else from its ``hvp``.
        """
        nowhere = np.full(self.size, math.nan)
        if not np.isfinite(z).all():
            return lambda v: nowhere
        theta, make = self.theta_of(z), getattr(self.objective, "linearize", None)
        try:
            times = make(theta) if make is not None else lambda v: self.objective.hvp(theta, v)
        except LEFT_DOMAIN as error:
            self.outside = str(error)
            return lambda v: nowhere

        def product(v: Array) -> Array:
            self.require_time()
            self.hvps += 1
            try:
                if self._plain:
                    return times(v)
                full = np.zeros(len(self.theta0))
                full[self.free] = v * self.scale
                return times(full)[self.free] * self.scale
            except LEFT_DOMAIN as error:
                self.outside = str(error)
                return nowhere

        return product

    def gradient_norm(self, gradient: Array) -> float:
        """Infinity norm of the gradient in theta, from the gradient in z."""
        return largest(gradient if self._plain else gradient / self.scale)

    def where(self, t: float, z: Array) -> str:
        """Time and size of the parameters, for messages."""
        return f"at t = {t:.6g}, |theta|_inf = {np.abs(self.theta_of(z)).max():.4g}"

    def error_norm(self, error: Array, z0: Array, z1: Array) -> float:
        """Root mean square of error_i / (atol + rtol max(|z0_i|, |z1_i|)) in theta; all (n,)."""
        return weighted_rms(error, z0, z1, self.atol, self.rtol)

    def counts(self) -> dict[str, int]:
        """Evaluations so far."""
        return {"gradients": self.gradients, "hessians": self.hessians, "hvps": self.hvps}
