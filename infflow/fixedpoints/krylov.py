"""Newton's direction without the Hessian: conjugate gradients on Hessian-vector products.

T. Steihaug, SIAM J. Numer. Anal. 20 (1983) 626-637; P. Toint, in Sparse Matrices and their Uses
(1981) 57-88.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..objective import Evaluation
from ..stopping import StopRules
from .directions import TrialStep
from .problem import FixedPointProblem

_PATH_NUMBERS = 8_000_000  # points of the path that are kept: 64 MB


class _Segment(NamedTuple):
    """A piece of the path of conjugate gradients: from ``point`` along ``direction`` up to
    ``length`` times it.
    """

    point: Array
    direction: Array
    value: float  #: value of the model at the point
    slope: float  #: slope along the direction, <= 0
    curvature: float  #: curvature along the direction
    length: float  #: infinite where the curvature is not positive


class SteihaugModel:
    """The quadratic model, minimised along the path of conjugate gradients.

    The path is computed as far as the largest radius asked for and kept: its distance from the
    origin grows monotonically, so that a smaller radius ends on the part that is known.

    Parameters
    ----------
    product : callable
        Hessian times a vector (n,).
    gradient : (n,) array
    tolerance : float
        The path ends where the gradient of the model has fallen to this length.
    hurry : callable
        Whether the path shall end at once: the time is up. Its end is a step of descent wherever
        that is.

    Attributes
    ----------
    typical : float
        A typical curvature along the coordinates, where one is known.
    """

    def __init__(
        self,
        product: Callable[[Array], Array],
        gradient: Array,
        tolerance: float,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self._product = product
        self._tolerance = tolerance
        self._hurry = hurry
        self.lowest = self._largest = 0.0
        self.typical = math.inf
        n = len(gradient)
        self._limit = max(10, min(2 * n, _PATH_NUMBERS // (2 * n)))
        self._path: list[_Segment] = []
        # point, direction, gradient of the model there
        self._next = (
            np.zeros(n),
            -gradient,
            gradient.copy(),
        )
        self._value = 0.0
        self._complete = not gradient.any()
        self.solve(1.0)  # so that the extreme curvatures are known

    @property
    def curvatures(self) -> Array:
        """An estimate of their size (n,) along the coordinates: few directions have the largest
        one.
        """
        n = len(self._next[0])
        return np.full(n, min(self._largest / math.sqrt(n), self.typical))

    def solve(self, radius: float) -> TrialStep:
        """The point where the path ends or leaves the radius."""
        for number in range(self._limit):
            if number == len(self._path):
                if self._complete or (number and self._hurry()):
                    break
                self._extend()
            piece = self._path[number]
            end = (
                piece.point + piece.length * piece.direction
                if math.isfinite(piece.length)
                else None
            )
            if end is None or float(end @ end) >= radius * radius:
                return self._on_boundary(piece, radius)
        return TrialStep(self._next[0].copy(), max(-self._value, 0.0), False)

    def _extend(self) -> None:
        """One product with the Hessian, one segment."""
        point, direction, residual = self._next
        bent = self._product(direction)
        squared = float(direction @ direction)
        curvature = float(direction @ bent)
        slope = float(residual @ direction)
        ratio = curvature / squared if squared > 0.0 else 0.0
        self._largest, self.lowest = max(self._largest, abs(ratio)), min(self.lowest, ratio)
        if not curvature > 0.0:
            self._path.append(_Segment(point, direction, self._value, slope, curvature, math.inf))
            self._complete = True
            return
        old = float(residual @ residual)
        length = old / curvature
        self._path.append(_Segment(point, direction, self._value, slope, curvature, length))
        self._value += length * slope + 0.5 * length * length * curvature
        residual = residual + length * bent
        new = float(residual @ residual)
        self._next = (point + length * direction, -residual + (new / old) * direction, residual)
        self._complete = math.sqrt(new) <= self._tolerance or not new < math.inf

    def _on_boundary(self, piece: _Segment, radius: float) -> TrialStep:
        """Where the segment leaves the ball; the roots are taken without cancellation."""
        p, d = piece.point, piece.direction
        a = float(d @ d)
        b = float(p @ d)
        c = float(p @ p) - radius * radius
        root = math.sqrt(max(b * b - a * c, 0.0))
        t = -c / (b + root) if b > 0.0 else (root - b) / a
        change = t * piece.slope + 0.5 * t * t * piece.curvature
        return TrialStep(p + t * d, max(-(piece.value + change), 0.0), True)


class KrylovNewton:
    """Newton's direction from Hessian-vector products.

    Conjugate gradients end when the gradient of the model has fallen to min(1/10, sqrt(|g|/|g_0|))
    of g, with g_0 the first gradient: superlinear convergence (Dembo, Eisenstat and Steihaug, SIAM
    J. Numer. Anal. 19 (1982) 400).
    """

    order = 1

    def __init__(self, problem: FixedPointProblem, rules: StopRules) -> None:
        self.problem = problem
        self.rules = rules
        self.factorizations = 0
        self._first: float | None = None
        self._random = np.random.default_rng(0)

    def model(self, x: Array, evaluation: Evaluation) -> SteihaugModel:
        """The quadratic model at ``x``."""
        gradient = evaluation.g
        size = float(np.sqrt(gradient @ gradient))
        self._first = self._first or size
        forcing = min(0.1, math.sqrt(size / self._first)) if self._first else 0.1
        product = self.problem.linearize(x)
        model = SteihaugModel(product, gradient, forcing * size, self._is_late)
        if not self._is_late():
            model.typical = self._typical(product, x)
        return model

    def _typical(self, product: Callable[[Array], Array], x: Array) -> float:
        """sum_j |H_jj| x_j^2 over |x|^2, estimated with random signs.

        Where few large curvatures belong to small parameters, rounding errors are far smaller than
        the largest one says.
        """
        squared = float(x @ x)
        if squared == 0.0:
            return math.inf
        signed = np.where(self._random.random(len(x)) < 0.5, -x, x)
        return max(abs(float(signed @ product(signed))) / squared, np.finfo(float).tiny)

    def _is_late(self) -> bool:
        """Whether the time is up; then only the step that the path has led to is still
        evaluated.
        """
        late = self.rules.elapsed() >= self.rules.max_time
        if late:
            self.problem.require_time = lambda: None
        return late
