"""Steepest descent in the metric of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.linalg.lapack import dpocon, dpotrf, dpotrs

from .._validation import Array, as_number, public, shown
from ..deadline import asking
from ..errors import InvalidTypeError, InvalidValueError
from ..flow.factorization import Factors
from ..flow.methods import Method
from ..flow.problem import FlowEvaluation, FlowProblem
from ..memory import require_memory
from ..objective import LEFT_DOMAIN, HasFisher, Objective
from .solvers import chosen

_SINGULAR = (
    "The Fisher matrix is singular{where}: parameters can change without the outputs. Give "
    "inf.NaturalGradient a damping, e.g. 1e-6, or freeze what is redundant with eta = 0."
)
#: solvers for which an approximate Jacobian is not enough
_EXACT = ("rodas5p", "rodas3", "exprb", "gear")


class NaturalGradient:
    r"""The natural gradient flow :math:`\dot\theta = -\eta (F + \delta 1)^{-1} \nabla L`.

    :math:`F = \E[\nabla f\, \nabla f^\T]`, summed over outputs, is the Fisher matrix
    :func:`infflow.fisher`: over the samples of a ``Net``, exactly over the input of a ``NetI``.
    Without damping the path of the outputs does not depend on how the network is parametrised. Next
    to a solution that fits all targets every error then decays as :math:`e^{-2 \eta t}`, since a
    squared loss without factor 1/2 has :math:`H = 2 F` there.

    Parameters
    ----------
    damping : float
        :math:`\delta`, not negative. It is needed where :math:`F` is singular.

    Notes
    -----
    Every velocity takes one Fisher matrix and its factorisation. The Jacobian would need third
    derivatives; implicit solvers that iterate (``kencarp58``, ``trbdf2``, those of libraries) get
    :math:`(F + \delta 1)^{-1} H`, which is exact at fixed points, and all their errors are
    controlled. Rosenbrock and exponential methods need more, and ``gear`` a symmetric matrix. The
    flow is seldom stiff: "auto" takes ``tsit5``.

    Raises
    ------
    InfflowError
        If the damping is negative.
    InvalidValueError, InvalidTypeError
        By ``train``, where F is singular at the start and there is no damping, or the objective has
        no Fisher matrix.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False)], input=[[3.0]], target=[0.0])  # L = 9 theta^2
    >>> run = inf.train(net, [1.0], dynamics=inf.NaturalGradient(), t_end=1.0)
    >>> run.theta_flow.round(4)  # exp(-2)
    array([0.1353])

    See Also
    --------
    infflow.fisher : the matrix.
    """

    name = "natural_gradient"
    commutes = True
    endless = False

    @public
    def __init__(self, damping: float = 0.0) -> None:
        self.damping = as_number("damping", damping, minimum=0.0)

    def __repr__(self) -> str:
        return f"NaturalGradient({self.damping!r})"

    @property
    def identity(self) -> dict[str, Any]:
        """The damping."""
        return {"damping": self.damping}

    def check(self, objective: Objective, theta0: Array, eta: float | Array) -> None:
        """It needs a Fisher matrix that is regular at the start."""
        if not isinstance(objective, HasFisher):
            raise InvalidTypeError(
                f"{self!r} needs a Fisher matrix, and {type(objective).__name__} has none: an "
                "inf.Net with data, an inf.NetI, or an object with fisher(theta) is needed."
            )
        problem = NaturalProblem(objective, theta0, eta, 1.0, 1.0, self.damping)
        problem.require_regular()

    def method(
        self, solver: str, num_free: int, gradient_jumps: bool
    ) -> tuple[Method, dict[str, Any]]:
        """Explicit methods, and those that iterate with a Jacobian that need not be exact."""
        why = "its exact Jacobian would need third derivatives"
        return chosen(f"the natural gradient ({self!r})", solver, "tsit5", _EXACT, why)

    def problem(
        self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float
    ) -> FlowProblem:
        """The same variables with another velocity."""
        return NaturalProblem(objective, theta0, eta, rtol, atol, self.damping)


class NaturalProblem(FlowProblem):
    """The natural gradient flow as an integrator sees it.

    In x = theta/sqrt(eta) the velocity is -sqrt(eta) (F + damping 1)^-1 grad_theta L.
    """

    def __init__(
        self,
        objective: Objective,
        theta0: Array,
        eta: float | Array,
        rtol: float,
        atol: float,
        damping: float,
    ) -> None:
        super().__init__(objective, theta0, eta, rtol, atol)
        require_memory(len(theta0), "the Fisher matrix")
        assert isinstance(objective, HasFisher)
        self._fisher = objective.fisher
        self._damping = damping

    def require_regular(self) -> None:
        """Raise where the Fisher matrix is singular at the start."""
        if self.size and self._inverse(self.z_of(self.theta0)) is None:
            raise InvalidValueError(_SINGULAR.format(where=" at theta0"))

    def _inverse(self, z: Array) -> Callable[[Array], Array] | None:
        """Solves with F + damping 1 of the free parameters, in theta; None where that is
        singular or not finite.
        """
        try:
            with asking(self.require_time):
                full = np.asarray(self._fisher(np.array(self.theta_of(z))), dtype=float)
        except LEFT_DOMAIN as error:
            self.outside = str(error)
            return None
        matrix = full if self.all_free else full[np.ix_(self.free, self.free)]
        if matrix.shape != (len(self.free),) * 2:
            raise InvalidTypeError(
                f"fisher(theta) returned {shown(full)}; an array (P, P) is needed."
            )
        if not matrix.size:  # everything is frozen
            return lambda b: b
        matrix = matrix + self._damping * np.eye(len(matrix))
        size = float(np.abs(matrix).sum(axis=0).max(initial=0.0))
        factor, info = dpotrf(matrix, lower=1) if np.isfinite(size) else (matrix, 1)
        if info == 0:
            condition, info = dpocon(factor, size, uplo="L")
            info = info or condition <= len(matrix) * np.finfo(float).eps
        if info != 0:
            self.outside = _SINGULAR.format(where="")
            return None
        return lambda b: dpotrs(factor, b, lower=1)[0]

    def evaluate(self, z: Array, order: int, objective: Objective | None = None) -> FlowEvaluation:
        """Loss, the natural gradient and, at order 2, roughly its Jacobian."""
        value, g, hessian, _ = self.evaluate_loss(z, order, objective)
        inverse = self._inverse(z) if np.isfinite(value) and np.isfinite(g).all() else None
        scale = self.scale
        if inverse is None:
            nowhere = self.nowhere(order)
            return FlowEvaluation(value, nowhere.g, nowhere.hessian, g)
        rate = scale * np.ravel(inverse(g / scale))
        if hessian is not None:
            hessian = scale[:, None] * inverse(hessian / scale[:, None])
        return FlowEvaluation(value, rate, hessian, g)

    def factorize(self, hessian: Array, shift: float) -> Factors | None:
        """By LU: the matrix is not symmetric."""
        shifted = hessian.copy()
        shifted.ravel()[:: len(shifted) + 1] += shift
        if not np.isfinite(shifted).all():
            return None
        factors = lu_factor(shifted, check_finite=False)
        if not np.diagonal(factors[0]).all():
            return None
        return Factors(lambda b: lu_solve(factors, b, check_finite=False))

    def linearize(self, z: Array) -> Callable[[Array], Array]:
        """Roughly the Jacobian as a function of a vector."""
        times = self.linearize_loss(z)
        inverse = self._inverse(z)
        nowhere = np.full(self.size, np.nan)
        scale = self.scale
        if inverse is None:
            return lambda v: nowhere
        return lambda v: scale * np.ravel(inverse(times(v) / scale))
