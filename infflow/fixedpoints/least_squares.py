"""Levenberg-Marquardt: the Gauss-Newton model of a sum of squares in a trust region.

With residuals r and Jacobian J the model of L = |r|^2 around x is |r + J p|^2. It is solved on the
singular values of J, never on J'J, which would square the condition number: directions are resolved
down to eps times the largest singular value, eps^2 times the largest eigenvalue of the Hessian. (J.
More, in Numerical Analysis, Lecture Notes in Mathematics 630 (1978) 105-116.)

Overparametrised networks descend through narrow curved canyons: flat along the floor, steep across.
There a step v along the floor is corrected by its geodesic acceleration, which takes out the
curvature of the residuals along v, and may be longer by an order of magnitude (M. Transtrum and J.
Sethna, arXiv:1201.5885).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, shown
from ..deadline import asking
from ..errors import MethodError
from ..objective import LEFT_DOMAIN, ChoosesLoss, Evaluation, LeastSquares, Objective, lacking
from .directions import TrialStep
from .problem import FixedPointProblem
from .subproblem import solve_subproblem
from .tall_qr import TallQR

_EPS = float(np.finfo(float).eps)
_PROBE = 0.1  # fraction of a step over which the second derivative along it is measured
_MAX_ACCELERATION = 0.75  # |a| / |v| up to which the correction a/2 is used


def require_squares(objective: Objective, name: str = "levenberg_marquardt") -> LeastSquares:
    """The objective as a sum of squares.

    Raises
    ------
    MethodError
        If it is none, or does not offer residuals and Jacobian.
    """
    if not isinstance(objective, LeastSquares):
        missing = " and ".join(lacking(objective, LeastSquares))
        raise MethodError(
            f"{name} needs a finite sum of squares, that is {missing} of the objective; "
            f"{type(objective).__name__} has none. Use optimizer='newton'."
        )
    if isinstance(objective, ChoosesLoss) and not objective.is_sum_of_squares:
        loss = shown(objective.loss_name)
        raise MethodError(
            f"{name} needs a sum of squares; the loss is {loss}. Use optimizer='newton'."
        )
    return objective


class LeastSquaresProblem(FixedPointProblem):
    """A problem whose loss and gradient come from residuals and Jacobian.

    Raises
    ------
    MethodError
        If the objective does not offer them.
    """

    def __init__(self, objective: Objective, theta0: Array, free: NDArray[np.bool_]) -> None:
        super().__init__(objective, theta0, free)
        self._squares = require_squares(objective)
        self.residuals: Array = np.empty(0)
        self.jacobian: Array = np.empty((0, 0))

    @classmethod
    def of(cls, problem: FixedPointProblem) -> LeastSquaresProblem:
        """The same problem, seen as a sum of squares."""
        return cls(problem.objective, problem.theta0, problem.is_free)

    def residuals_at(self, x: Array) -> Array:
        """Residuals (M,) alone; NaN outside of the domain."""
        self.require_time()
        try:
            with asking(self.require_time):
                found = self._squares.residuals(self.theta_of(x))
        except LEFT_DOMAIN as error:
            self.outside = str(error)
            found = np.full(max(1, len(self.residuals)), np.nan)
        return found

    def evaluate(self, x: Array, order: int) -> Evaluation:
        """Value, and gradient (n,) where ``order`` is 1; keeps residuals and Jacobian."""
        self.gradients += order >= 1
        r = self.residuals_at(x)
        if order == 0 or not np.isfinite(r).all():
            return Evaluation(float(r @ r), np.full(len(self.free), np.nan) if order else None)
        self.require_time()
        with asking(self.require_time):
            J = self._squares.jacobian(self.theta_of(x))
        self.residuals = r
        self.jacobian = self.columns(J)
        return Evaluation(float(r @ r), 2.0 * (r @ self.jacobian))


class GaussNewtonModel:
    """|r + J p|^2 on the singular value decomposition of J (M, n).

    Parameters
    ----------
    residuals, jacobian : (M,), (M, n) arrays
    residuals_at : callable
        Residuals (M,) after a step (n,) from here.
    between : callable
        Called between the parts of the factorisation; what it raises ends it.
    """

    lowest = 0.0

    def __init__(
        self,
        residuals: Array,
        jacobian: Array,
        residuals_at: Callable[[Array], Array],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._residuals = residuals
        self._jacobian = jacobian
        self._residuals_at = residuals_at
        M, n = jacobian.shape
        self._wide = n > M
        self._outer = TallQR(jacobian.T if self._wide else jacobian, between)
        between()
        self._left, s, self._right = np.linalg.svd(self._outer.R.T if self._wide else self._outer.R)
        s = np.where(s <= min(M, n) * _EPS * s[0], 0.0, s)
        self._singular = s
        self.curvatures = 2.0 * np.einsum("ij,ij->j", jacobian, jacobian)
        self._values, self._components = 2.0 * s * s, 2.0 * s * self._of_residuals(residuals)

    def _of_residuals(self, v: Array) -> Array:
        """Components along the left singular vectors of a vector (M,)."""
        found: Array = (v if self._wide else self._outer.project(v)) @ self._left
        return found

    def _to_parameters(self, components: Array) -> Array:
        """The vector (n,) with these components along the right singular vectors."""
        found: Array = components @ self._right
        return self._outer.expand(found) if self._wide else found

    def solve(self, radius: float) -> TrialStep:
        """The minimiser within the radius, with its acceleration; the damping is half the
        multiplier.
        """
        found = solve_subproblem(self._values[::-1], self._components[::-1], radius)
        step = self._to_parameters(found.step[::-1])
        return TrialStep(
            step + self._correction(step, 0.5 * found.multiplier),
            found.predicted,
            found.on_boundary,
        )

    def _correction(self, step: Array, damping: float) -> Array:
        """Half the acceleration -(J'J + damping)^-1 J' r_vv, r_vv the second derivative of the
        residuals along the step.
        """
        if not step.any():
            return step
        change = (self._residuals_at(_PROBE * step) - self._residuals) / _PROBE
        second = 2.0 / _PROBE * (change - self._jacobian @ step)
        weight = np.divide(
            self._singular,
            self._singular**2 + damping,
            out=np.zeros_like(self._singular),
            where=self._singular > 0.0,
        )
        acceleration = -self._to_parameters(weight * self._of_residuals(second))
        size = float(acceleration @ acceleration)
        return (
            0.5 * acceleration
            if size <= _MAX_ACCELERATION**2 * float(step @ step)
            else np.zeros_like(step)
        )


class GaussNewton:
    """The Gauss-Newton direction of a least-squares problem."""

    order = 1

    def __init__(self, problem: LeastSquaresProblem) -> None:
        self.problem = problem
        self.factorizations = 0

    def model(self, x: Array, evaluation: Evaluation) -> GaussNewtonModel:
        """The model at ``x``, where the problem was evaluated last."""
        self.factorizations += 1
        problem = self.problem
        return GaussNewtonModel(
            problem.residuals,
            problem.jacobian,
            lambda step: problem.residuals_at(x + step),
            problem.require_time,
        )
