"""The gradient flow as an integrator sees it: symmetric variables, counters, tolerances.

The flow d theta/dt = -eta grad L is solved in x = theta_free / sqrt(eta_free), where it is
dx/dt = -grad_x L with the symmetric Jacobian -sqrt(eta) H sqrt(eta). Parameters with eta = 0 are
no part of x.

Other dynamics of the same loss (``infflow/dynamics/``) derive from :class:`FlowProblem`. Their
state z may hold more than x, such as velocities, and ``gradient`` of what they evaluate is minus
dz/dt, whatever that is; :class:`Dynamics` says what a dynamics gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .._validation import Array
from ..free_view import FreeView
from ..objective import LEFT_DOMAIN, HessianProducts, Linearizable, Objective, required
from .factorization import Factors, factorize_shifted
from .norm_kernels import largest, weighted_rms

if TYPE_CHECKING:
    from .methods import Method

#: a loss is carried over to a point nearby where it changes by at most this part. Measured on
#: networks, it is then off by 5e-5 of itself at tolerances of 1e-6, by 4e-3 at most at 1e-2
#: (without this rule by 1e-4 and 1.6, near minima by 1e3)
_CARRIED = 1e-3


class FlowEvaluation(NamedTuple):
    """Value, gradient (n,) and, at order 2, Hessian (n, n), in the variables of the integrator.

    Of dynamics other than the gradient flow, ``gradient`` is minus dz/dt, and ``hessian`` minus its
    Jacobian, exact or as :class:`Dynamics` says.
    """

    value: float
    gradient: Array
    hessian: Array | None = None
    #: gradient of the loss, one entry per free parameter, where ``gradient`` is something else
    force: Array | None = None


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
    size : int
        Number of variables of the integrator: as many as parameters are free, for the gradient
        flow.
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
        self.loss_atol = self.atol = atol / self.scale  # per component of x, and of z
        self.wants_exact: Callable[[FlowEvaluation], bool] = lambda evaluation: False

    # ------------------------------------------------------------------------------- the dynamics

    def initial(self) -> Array:
        """The state at the start."""
        return self.z_of(self.theta0)

    def position(self, z: Array) -> Array:
        """The parameters x in a state z."""
        return z

    def evaluate(self, z: Array, order: int, objective: Objective | None = None) -> FlowEvaluation:
        """Value, minus the velocity of z and, at order 2, minus its Jacobian; outside of the domain
        everything is NaN, and no error is raised.
        """
        return self.evaluate_loss(z, order, objective)

    def factorize(self, hessian: Array, shift: float) -> Factors | None:
        """Factors of shift I + ``hessian``, an array that :meth:`evaluate` gave; None where that is
        singular.
        """
        return factorize_shifted(hessian, shift)

    def linearize(self, z: Array) -> Callable[[Array], Array]:
        """Minus the Jacobian at z as a function of v, both (size,); NaN outside of the domain."""
        return self.linearize_loss(z)

    def excursion(self, z: Array, hessian: Array | None) -> Array | None:
        """How far (n,) the state would carry x beyond what the loss tells, where that has the
        Hessian (n, n), if that is known; None for dynamics without velocities.
        """
        return None

    # ------------------------------------------------------------------------------------ the loss

    def force(self, evaluation: FlowEvaluation) -> Array:
        """The gradient of the loss, (n,)."""
        return evaluation.gradient if evaluation.force is None else evaluation.force

    def loss_part(self, evaluation: FlowEvaluation) -> FlowEvaluation:
        """The same as one of the gradient flow."""
        if evaluation.force is None:
            return evaluation
        return FlowEvaluation(evaluation.value, evaluation.force)

    def evaluate_loss(
        self, z: Array, order: int, objective: Objective | None = None
    ) -> FlowEvaluation:
        """Loss, gradient and Hessian at x (n,), order 1 or 2; outside of the domain everything is
        NaN, and no error is raised.

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
        force = self.force(evaluation)
        moved = self.position(z - at)
        change = float(force.dot(moved))  # dot is a third of the price of @
        near = evaluation._replace(value=evaluation.value + change / 2)
        if change == 0.0 and (z == at).all():
            return evaluation, True
        if abs(change) <= _CARRIED * abs(near.value) and not self.wants_exact(near):
            return near, False
        return self.evaluate(z, 1), True

    def linearize_loss(self, z: Array) -> Callable[[Array], Array]:
        """The Hessian at x as a function of v, both (n,); NaN outside of the domain."""
        nowhere = np.full(len(self.free), math.nan)
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
        """Infinity norm of the gradient of the loss in theta, from that in x."""
        return largest(gradient if self._plain else gradient / self.scale)

    def where(self, t: float, z: Array) -> str:
        """Time and size of the parameters, for messages."""
        return f"at t = {t:.6g}, |theta|_inf = {np.abs(self.theta_of(z)).max():.4g}"

    def error_norm(self, error: Array, z0: Array, z1: Array) -> float:
        """Root mean square of error_i / (atol + rtol max(|z0_i|, |z1_i|)) in theta; all (n,)."""
        return weighted_rms(error, z0, z1, self.atol, self.rtol)

    def loss_norm(self, error: Array, x0: Array, x1: Array) -> float:
        """The same of an error in x, all (n,)."""
        return weighted_rms(error, x0, x1, self.loss_atol, self.rtol)


class Dynamics(Protocol):
    """Something else than the gradient flow that a loss may drive.

    1. ``check(objective, theta0, eta)`` raises where the objective cannot do what is needed, with
       the way out in the message.
    2. ``method(solver, num_free, gradient_jumps)`` is the integrator for ``train(solver=...)`` with
       the options that go with it, or an error that names those that can be used.
    3. ``problem(...)``, with the arguments of :class:`FlowProblem`, is one whose ``evaluate`` gives
       minus dz/dt as ``gradient``, minus the Jacobian as ``hessian`` and the gradient of the loss
       as ``force``. Where dz/dt has other variables than x it overrides ``size``, ``atol``,
       ``initial``, ``position`` and ``theta_of``, and where its Jacobian is not symmetric
       ``factorize`` and ``linearize``. Solvers that iterate (``gear``, ESDIRK, those of
       libraries) need the Jacobian roughly, Rosenbrock methods need it exactly.
    4. ``identity`` is what a checkpoint has to agree in, ``commutes`` whether a rotation of the
       input rotates the path, ``endless`` whether it never comes to rest.
    5. One with random numbers is :class:`Seeded` as well.
    """

    @property
    def name(self) -> str:
        """As the registry calls it."""

    @property
    def identity(self) -> dict[str, Any]:
        """Numbers, texts and arrays by name."""

    @property
    def commutes(self) -> bool:
        """Whether the path of rotated parameters is the rotated path."""

    @property
    def endless(self) -> bool:
        """Whether a flow needs a ``t_end``."""

    def check(self, objective: Objective, theta0: Array, eta: float | Array) -> None:
        """Raise where it cannot be run from this start."""

    def method(
        self, solver: str, num_free: int, gradient_jumps: bool
    ) -> tuple[Method, dict[str, Any]]:
        """The integrator, and options for it beside those of the user."""

    def problem(
        self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float
    ) -> FlowProblem:
        """What the integrator sees."""


@runtime_checkable
class Seeded(Protocol):
    """A dynamics with random numbers, which are those of a seed."""

    def of_run(self, number: int) -> Dynamics:
        """The same with the random numbers of run ``number`` of many; run 0 keeps the seed."""
