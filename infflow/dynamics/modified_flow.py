"""The flow that gradient descent with large steps follows more closely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._validation import Array, public
from ..flow.methods import FALLBACK, Method, automatic_solver
from ..flow.problem import FlowEvaluation, FlowProblem
from ..objective import HessianProducts, Linearizable, Objective, no_products
from ..options import positive
from .solvers import chosen

#: distance of the two Hessians of the difference quotient, relative to the parameters: the root of
#: the third order of rounding
_APART = float(np.finfo(float).eps) ** (1 / 3)


class ModifiedFlow:
    r"""The flow of :math:`L + \tfrac{h}{4} |\nabla L|^2`:
    :math:`\dot\theta = -\nabla L - \tfrac{h}{2} H \nabla L`.

    Gradient descent with this step size follows it up to an error of the second order in the step,
    and the gradient flow up to one of the first order (Barrett and Dherin, ICLR 2021).

    Parameters
    ----------
    step_size : float
        :math:`h` of the descent that is modelled, positive.

    Notes
    -----
    Velocities take one Hessian-vector product. Implicit solvers get the Jacobian
    :math:`H + \tfrac{h}{2} (H^2 + T)`, with :math:`T` the derivative of the Hessian along the
    gradient, as a difference of two Hessians: it is good to nine digits or so, and exact at fixed
    points. Losses and stopping rules are those of L. With rates ``eta`` it is the flow of descent
    with these rates.

    Raises
    ------
    InfflowError
        If the step size is not positive.
    MethodError
        By ``train``, where the objective has no Hessian-vector products.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False)], input=[[1.0]], target=[0.0])  # L = theta^2
    >>> run = inf.train(net, [1.0], dynamics=inf.ModifiedFlow(0.1), t_end=1.0)
    >>> run.theta_flow.round(4)  # exp(-2.2), and descent with ten steps gives 0.8^10 = 0.1074
    array([0.1108])

    See Also
    --------
    infflow.SGDDiffusion : with the noise of minibatches.
    """

    name = "modified_flow"
    commutes = True
    endless = False

    @public
    def __init__(self, step_size: float) -> None:
        self.step_size = positive("step_size", step_size)

    def __repr__(self) -> str:
        return f"ModifiedFlow({self.step_size!r})"

    @property
    def identity(self) -> dict[str, Any]:
        """The step that is modelled."""
        return {"modified step": self.step_size}

    def check(self, objective: Objective, theta0: Array, eta: float | Array) -> None:
        """It needs Hessian-vector products."""
        if not isinstance(objective, HessianProducts | Linearizable):
            raise no_products(objective, repr(self))

    def method(
        self, solver: str, num_free: int, gradient_jumps: bool
    ) -> tuple[Method, dict[str, Any]]:
        """All that follow the gradient flow."""
        name, options = (FALLBACK, {}) if gradient_jumps else automatic_solver(num_free)
        method, _ = chosen(repr(self), solver, name, (), "")
        return method, options if solver == "auto" else {}

    def problem(
        self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float
    ) -> FlowProblem:
        """The same variables with another velocity."""
        return ModifiedProblem(objective, theta0, eta, rtol, atol, self.step_size)


class ModifiedProblem(FlowProblem):
    """The modified flow as an integrator sees it."""

    def __init__(
        self,
        objective: Objective,
        theta0: Array,
        eta: float | Array,
        rtol: float,
        atol: float,
        step_size: float,
    ) -> None:
        super().__init__(objective, theta0, eta, rtol, atol)
        self._half = 0.5 * step_size

    def evaluate(self, z: Array, order: int, objective: Objective | None = None) -> FlowEvaluation:
        """Loss, grad L + step/2 H grad L and, at order 2, its Jacobian."""
        value, g, hessian, _ = self.evaluate_loss(z, order, objective)
        if hessian is None:
            bent = self.linearize_loss(z)(g)
            return FlowEvaluation(value, g + self._half * bent, None, g)
        bend = hessian @ hessian
        ahead, behind, distance = self._around(z, g)
        if distance > 0.0:
            difference = self._hessian(ahead) - self._hessian(behind)
            bend += (difference + difference.T) / (2.0 * distance)
        jacobian = hessian + self._half * bend
        return FlowEvaluation(value, g + self._half * (hessian @ g), jacobian, g)

    def linearize(self, z: Array) -> Callable[[Array], Array]:
        """The Jacobian as a function of a vector, by products with three Hessians."""
        times = self.linearize_loss(z)
        g = self.evaluate_loss(z, 1).gradient
        ahead, behind, distance = self._around(z, g)
        if distance == 0.0:
            return lambda v: times(v) + self._half * times(times(v))
        before = self.linearize_loss(behind)
        after = self.linearize_loss(ahead)

        def product(v: Array) -> Array:
            first = times(v)
            third = (after(v) - before(v)) / distance
            return first + self._half * (times(first) + third)

        return product

    def _hessian(self, z: Array) -> Array:
        found = self.evaluate_loss(z, 2).hessian
        assert found is not None
        return found

    def _around(self, z: Array, g: Array) -> tuple[Array, Array, float]:
        """Two points along the gradient, and their distance in units of it; 0 where it is 0."""
        size = float(np.linalg.norm(g))
        if not 0.0 < size < np.inf:
            return z, z, 0.0
        reach = _APART * max(1.0, float(np.linalg.norm(z))) / size
        return z + reach * g, z - reach * g, 2.0 * reach
