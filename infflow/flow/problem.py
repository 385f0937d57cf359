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
from ..free_view import FreeView
from ..objective import LEFT_DOMAIN, HessianProducts, Linearizable, Objective, required
from .norm_kernels import largest, weighted_rms

#: a loss is carried over to a point nearby where it changes by at most this part. Measured on
#: networks, it is then off by 5e-5 of itself at tolerances of 1e-6, by 4e-3 at most at 1e-2
#: (without this rule by 1e-4 and 1.6, near minima by 1e3)
_CARRIED = 1e-3


class FlowEvaluation(NamedTuple):
    """Value, gradient (n,) and, at order 2, Hessian (n, n), in the variables of the integrator."""

    value: float
    gradient: Array
    hessian: Array | None = None


class FlowProblem(FreeView):
    """The flow of one objective from one start, as an integrator sees it.

    Parameters
    ----------
    objective : Objective
        Loss with gradient; with Hessian or Hessian-vector products where the integrator needs them.
    theta0 : (P,) array
        Start; its entries stay where eta is 0.
    eta : float or (P,) array
        Time scales, not negative.
    rtol, atol : float
        An error of theta_i counts in units of atol + rtol |theta_i|.

    Attributes
    ----------
    has_products : bool
        Whether the objective can multiply with its Hessian.
    wants_exact : callable
        Whether loss and gradient at an accepted point have to be those of this very point, given
        nearly those; see :meth:`accepted`.
    """

    def __init__(
        self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float
    ) -> None:
        scales = np.broadcast_to(np.sqrt(np.asarray(eta, dtype=float)), theta0.shape)
        super().__init__(objective, theta0, scales > 0, scales)
        self.has_products = isinstance(objective, HessianProducts | Linearizable)
        self.rtol = rtol
        self.atol = atol / self.scale  # per component of z
        self.wants_exact: Callable[[FlowEvaluation], bool] = lambda evaluation: False

    def evaluate(self, z: Array, order: int, objective: Objective | None = None) -> FlowEvaluation:
        """Evaluation of order 1 or 2 at z (n,); outside of the domain everything is NaN, and no
        error is raised.

        With ``objective`` (a minibatch) of that one, otherwise of the one of the flow.
        """
        self.begin(order)
        if not largest(z) < math.inf:  # a stage that builds on one outside of the domain
            value, gradient, hessian = self.nowhere(order)
        else:
            value, gradient, hessian = self.value_and_derivatives(z, order, objective)
            if not math.isfinite(value):
                self.outside = self.outside or f"The loss is {value}."
        return FlowEvaluation(value, required("gradient", gradient), hessian)

    def accepted(
        self, z: Array, evaluation: FlowEvaluation, at: Array
    ) -> tuple[FlowEvaluation, bool]:
        """Loss and gradient at an accepted point from an evaluation nearby, and whether they are
        exact.

        Multistep methods evaluate at the last iterates of Newton's method, and accept the point
        after them. The loss falls by half of what the gradient says (all of it on a line, half at
        the minimum of a parabola), which is taken where it is at most a thousandth of the loss.
        Otherwise, and where :attr:`wants_exact`, the accepted point is evaluated.
        """
        change = float(evaluation.gradient.dot(z - at))  # dot is a third of the price of @
        value, gradient, hessian = evaluation
        near = FlowEvaluation(value + change / 2, gradient, hessian)
        if change == 0.0 and (z == at).all():
            return evaluation, True
        if abs(change) <= _CARRIED * abs(near.value) and not self.wants_exact(near):
            return near, False
        return self.evaluate(z, 1), True

    def linearize(self, z: Array) -> Callable[[Array], Array]:
        """The Hessian in z as a function of v, both (n,); NaN outside of the domain."""
        nowhere = np.full(self.size, math.nan)
        if not np.isfinite(z).all():
            return lambda v: nowhere
        try:
            times = self.products(z)
        except LEFT_DOMAIN as error:
            self.outside = str(error)
            return lambda v: nowhere

        def product(v: Array) -> Array:
            try:
                return times(v)
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
