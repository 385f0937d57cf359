"""Where to go: local models of the loss that a trust region can minimise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from .._validation import Array
from ..objective import Evaluation
from ..rounding import gradient_rounding
from .subproblem import solve_subproblem

_EPS = float(np.finfo(float).eps)
# curvature, over the multiplier of a step, from which the radius leaves a direction alone
STEEP = 100.0


class TrialStep(NamedTuple):
    """A step (n,) within the radius, the decrease that the model predicts, and whether the radius
    bounds it.
    """

    step: Array
    predicted: float
    on_boundary: bool
    #: gives an addition to the step, from the gradient at its end
    correction: Callable[[Array], Array] | None = None


class Model(Protocol):
    """A model of the loss around one point; solving it again with a smaller radius is cheap."""

    lowest: float  #: lowest curvature, 0 where it is rounding

    @property
    def curvatures(self) -> Array:
        """Along the coordinates (n,), or an estimate of their size."""

    def solve(self, radius: float) -> TrialStep:
        """The minimiser of the model within the radius."""


class Direction(Protocol):
    """Makes a model from what was evaluated."""

    order: int  #: order of the evaluations that it needs
    factorizations: int

    def model(self, x: Array, evaluation: Evaluation) -> Model:
        """The model at ``x`` of shape (n,)."""


class QuadraticModel:
    """The Taylor polynomial of order two, on the eigendecomposition of the Hessian.

    A direction in which neither slope nor curvature can be told from rounding (a flat direction of
    a symmetry) is left alone.
    """

    def __init__(self, x: Array, evaluation: Evaluation) -> None:
        values, self._vectors = np.linalg.eigh(evaluation.H)
        self._largest = float(np.abs(values[[0, -1]]).max())
        self.curvatures = np.diagonal(evaluation.H)
        components = evaluation.g @ self._vectors
        slope_noise = (
            8 * gradient_rounding(evaluation.value, self.curvatures, x) @ np.abs(self._vectors)
        )
        flat = np.abs(values) <= len(x) * _EPS * self._largest
        flat &= np.abs(components) <= slope_noise
        self._values = np.where(flat, 0.0, values)
        self._components = np.where(flat, 0.0, components)
        self.lowest = min(0.0, float(self._values[0])) if flat.any() else float(values[0])

    def solve(self, radius: float) -> TrialStep:
        """The exact solution of the trust-region subproblem."""
        order = np.argsort(self._values, kind="stable")
        found = solve_subproblem(self._values[order], self._components[order], radius)
        correction = partial(
            self._correction, max(STEEP * found.multiplier, len(order) * _EPS * self._largest)
        )
        return TrialStep(
            self._vectors[:, order] @ found.step, found.predicted, found.on_boundary, correction
        )

    def _correction(self, bound: float, gradient: Array) -> Array:
        """Newton's step from the end of a step, with the gradient there, in the directions of
        curvature above ``bound``.

        A step along the curved floor of a canyon ends on its wall, and this leads down from there
        (a second-order correction: A. Conn, N. Gould and P. Toint, Trust-Region Methods, section
        15.3.2.3). Along the floor, where the radius bounds the step, the model has nothing to say
        beyond it.
        """
        steep = self._values > bound
        walls = self._vectors[:, steep]
        correction: Array = -walls @ ((gradient @ walls) / self._values[steep])
        return correction


class ExactNewton:
    """Newton's direction from the exact Hessian."""

    order = 2

    def __init__(self) -> None:
        self.factorizations = 0

    def model(self, x: Array, evaluation: Evaluation) -> QuadraticModel:
        """The quadratic model at ``x``; one eigendecomposition."""
        self.factorizations += 1
        return QuadraticModel(x, evaluation)
