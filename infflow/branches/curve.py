"""The curve grad L(theta; parameter) = 0: points, tangents, and Newton's method across it.

Variables are x = sqrt(multiplicities) theta of the free parameters, and the position
s = (parameter - start)/(stop - start), together y = (x, s). With H the Hessian in x and f the
derivative of the gradient in s, steps solve the bordered system (H. B. Keller 1977)

    | H   f |
    | t_x' t_s |

for a direction t, which is regular at folds, where H is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..errors import InfflowError, InvalidTypeError, InvalidValueError
from ..free_view import FreeView
from ..networks.infinite.families.orbit_spectrum import SymmetryType
from ..networks.infinite.families.orbits import Divided, SymmetricNetI
from ..objective import (
    LEFT_DOMAIN,
    Freezable,
    HasMetric,
    HasSymmetryTypes,
    Objective,
    as_objective,
)
from . import slopes

#: Newton's method across the curve has converged where a step is below this, relative to 1 + |y|
_CONVERGED = 1e-11
#: steps that no longer shrink have met rounding below this
_ROUNDING = 1e-7
_MOST_ITERATIONS = 9
#: a step longer than this part of the one before it is no convergence
_SLOW = 0.5
#: objectives that are kept; the differences for a slope take seven
_KEPT = 16


class CurvePoint(NamedTuple):
    """A point of the curve with what belongs to it."""

    y: Array  #: (n + 1,)
    value: float
    H: Array  #: (n, n), in x
    slope: Array  #: (n,), derivative of the gradient in x by s
    slope_error: float
    tangent: Array  #: (n + 1,), of length one
    types: list[SymmetryType]
    levels: list[Array]  #: eigenvalues of each type, ascending
    contraction: float  #: ratio of the first two steps of Newton's method on the way


class Failed(Exception):
    """No point of the curve was found; the message says why."""


class Curve:
    """Evaluations along the curve.

    Parameters
    ----------
    problem : callable
        Parameter to objective.
    theta : (P,) array
        Entries that are not free stay as they are here.
    start, stop : float
        The parameter at s = 0 and s = 1.
    free : (P,) boolean array
    """

    def __init__(self, problem: Any, theta: Array, start: float, stop: float, free: Any) -> None:
        self.problem = problem
        self.start = start
        self.stop = stop
        self._theta = theta
        self._free = free
        self._offered = slopes.analytic(problem)
        self._outside = ""  # why an evaluation for a difference failed
        self._kept: dict[float, Objective] = {}  # the last objectives, by parameter

    # ----------------------------------------------------------------------------- coordinates

    def parameter(self, s: float) -> float:
        """The parameter at position s; ``start`` and ``stop`` exactly."""
        if s == 1.0:
            return self.stop
        return self.start + s * (self.stop - self.start)

    def objective_at(self, parameter: float) -> Objective:
        """The objective, with as many parameters as at the start."""
        if parameter in self._kept:
            return self._kept[parameter]
        objective = as_objective(self.problem(parameter))
        P = len(self._theta)
        if objective.num_params != P:
            raise InvalidValueError(
                f"problem({parameter:.12g}) has {objective.num_params} parameters, where theta has "
                f"{P}; a branch needs the same ones everywhere."
            )
        while len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[parameter] = objective
        return objective

    def _view(self, s: float, objective: Objective | None = None) -> FreeView:
        """The objective at s as a function of x."""
        found = self.objective_at(self.parameter(s)) if objective is None else objective
        scale = found.multiplicities**-0.5 if isinstance(found, HasMetric) else None
        return FreeView(found, self._theta, self._free, scale)

    def theta_of(self, y: Array) -> Array:
        """Parameters (P,) of a point (n + 1,)."""
        return np.array(self._view(y[-1]).theta_of(y[:-1]))

    def y_of(self, theta: Array, s: float) -> Array:
        """The point (n + 1,) of parameters (P,)."""
        return np.append(self._view(s).z_of(theta), s)

    def divided(self, block: int, apart: int) -> DividedCurve:
        """The curve of the family whose ``block`` is divided, see ``SymmetricNetI.divide``."""

        def divide(parameter: float, z: Array) -> Divided:
            family = self.objective_at(parameter)
            if not isinstance(family, SymmetricNetI):
                raise InvalidTypeError(
                    f"problem({parameter:g}) is a {type(family).__name__}; blocks of an "
                    "inf.SymmetricNetI can be divided."
                )
            return family.divide(z, block, apart)

        zero = np.zeros(len(self._theta))
        theta = divide(self.start, self._theta).z
        held = divide(self.start, (~self._free).astype(np.float64)).z
        finer = Curve(
            lambda parameter: divide(parameter, zero).family,
            theta,
            self.start,
            self.stop,
            held == 0.0,
        )

        def lifted(y: Array) -> Array:
            s = float(y[-1])
            return finer.y_of(divide(self.parameter(s), self.theta_of(y)).z, s)

        return DividedCurve(finer, lifted)

    # ----------------------------------------------------------------------------- evaluations

    def evaluate(self, y: Array, order: int = 2) -> tuple[float, Array, Array]:
        """Value, gradient (n,) and Hessian (n, n) in x; Failed outside of the domain."""
        try:
            view = self._view(y[-1])
            if isinstance(view.objective, Freezable):  # its choices by tolerance are fixed here
                theta = np.array(view.theta_of(y[:-1]))
                view = self._view(y[-1], view.objective.frozen(theta))
            found = view.value_and_derivatives(y[:-1], order)
        except (*LEFT_DOMAIN, InfflowError) as error:
            raise Failed(str(error)) from error
        parts = [found.g] if order == 1 else [found.g, found.H]
        if not (np.isfinite(found.value) and all(np.isfinite(each).all() for each in parts)):
            raise Failed(view.outside or "loss, gradient or Hessian is not finite.")
        return found.value, found.g, found.H if order == 2 else np.empty((0, 0))

    def slope(self, y: Array) -> slopes.Slope:
        """Derivative (n,) of the gradient in x by s, at fixed x.

        Where the metric changes with the parameter, x stays and theta changes with it.
        """
        s = float(y[-1])
        if self._offered is not None:
            return self._offered_slope(y)
        found = slopes.difference(lambda at: self._gradient_or_none(y, at), s, 1.0)
        if found is None:
            raise Failed(f"no derivative in the parameter: {self._outside}")
        return found

    def _gradient_or_none(self, y: Array, s: float) -> Array | None:
        try:
            return self.evaluate(np.append(y[:-1], s), 1)[1]
        except Failed as error:
            self._outside = str(error)
            return None

    def _offered_slope(self, y: Array) -> slopes.Slope:
        assert self._offered is not None
        view = self._view(y[-1])
        theta = np.array(view.theta_of(y[:-1]))
        value, error = slopes.offered(self._offered, theta, self.parameter(y[-1]))
        return slopes.Slope(value[view.free] * (self.stop - self.start), error)

    def types(self, y: Array, H: Array) -> list[SymmetryType]:
        """Symmetry types of the Hessian; one of all parameters for objectives without symmetry.

        The first is that of the curve itself, with the Hessian in x.
        """
        objective = self.objective_at(self.parameter(y[-1]))
        theta = self.theta_of(y)
        own = SymmetryType("", 1, H, np.empty((0, 0)))
        if not isinstance(objective, HasSymmetryTypes):
            return [own]
        return [own, *objective.symmetry_types(theta, ~self._free)[1:]]

    # ------------------------------------------------------------------------------- the curve

    def tangent(self, H: Array, slope: Array, along: Array) -> Array:
        """The direction (n + 1,) of the curve, of length one, that agrees with ``along``."""
        right = np.zeros(len(along))
        right[-1] = 1.0
        found = _solve(_bordered(H, slope, along), right)
        return found / np.linalg.norm(found)

    def correct(self, y: Array, normal: Array, fixed: bool = False) -> CurvePoint:
        """The point of the curve on the plane through ``y`` perpendicular to ``normal``.

        Parameters
        ----------
        y : (n + 1,) array
            A prediction.
        normal : (n + 1,) array
        fixed : bool
            Keep s as it is: then ``normal`` only orients the tangent.

        Raises
        ------
        Failed
            If Newton's method does not converge.
        """
        plane = normal
        if fixed:
            plane = np.zeros_like(normal)
            plane[-1] = 1.0
        start = y
        slope = self.slope(y)
        is_stale = False  # the slope belongs to the present point
        lengths: list[float] = []
        for _ in range(_MOST_ITERATIONS):
            _, g, H = self.evaluate(y)
            residual = np.append(g, plane @ (y - start))
            step = _solve(_bordered(H, slope.value, plane), -residual)
            y = y + step
            if fixed:
                y[-1] = start[-1]
            length = float(np.linalg.norm(step)) / (1.0 + float(np.linalg.norm(y)))
            lengths.append(length)
            if length <= _CONVERGED:
                return self._point(y, normal, lengths)
            if len(lengths) == 1 or length <= _SLOW * lengths[-2]:
                is_stale = True
                continue
            if length <= _ROUNDING:
                return self._point(y, normal, lengths)
            if not is_stale:
                break
            slope = self.slope(y)
            is_stale = False
        raise Failed("Newton's method across the branch does not converge.")

    def _point(self, y: Array, along: Array, lengths: list[float]) -> CurvePoint:
        value, _, H = self.evaluate(y)
        slope = self.slope(y)
        tangent = self.tangent(H, slope.value, along)
        ratio = lengths[1] / lengths[0] if len(lengths) > 1 and lengths[0] > _ROUNDING else 0.0
        try:
            types = self.types(y, H)
        except (*LEFT_DOMAIN, InfflowError) as error:
            raise Failed(str(error)) from error
        levels = [np.asarray(np.linalg.eigvalsh(each.hessian), np.float64) for each in types]
        return CurvePoint(y, value, H, slope.value, slope.error, tangent, types, levels, ratio)


class DividedCurve(NamedTuple):
    """The curve of a family with finer blocks, and points of the coarse one on it."""

    curve: Curve
    lifted: Callable[[Array], Array]  #: (n + 1,) to (n' + 1,)


def _bordered(H: Array, slope: Array, row: Array) -> Array:
    n = len(slope)
    M = np.empty((n + 1, n + 1))
    M[:n, :n] = H
    M[:n, n] = slope
    M[n] = row
    return M


def _solve(M: Array, right: Array) -> Array:
    try:
        found = np.asarray(np.linalg.solve(M, right), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise Failed("the bordered system is singular.") from error
    if not np.isfinite(found).all():
        raise Failed("the bordered system is singular to rounding.")
    return found


Problem = Callable[[float], Objective]
