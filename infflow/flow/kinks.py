"""A loss in pieces, in the variables of a flow: kinks, what slides on them, and what is left free.

:class:`~infflow.objective.HasPieces` says what an objective gives; ``filippov.py`` follows flows
from kink to kink, and ``classification/kinks.py`` judges where they end.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..objective import HasPieces, PiecewiseSmooth
from .problem import FlowEvaluation, FlowProblem

Kinks = NDArray[np.intp]

#: a point is on a kink within so many rounding errors
_MET = 4.0
#: a multiplier within this part of its bounds is at them
BOUND = 1e-9
#: directions in which a way out of a point where many kinks meet is looked for
_DIRECTIONS = 20


class Smooth:
    """A loss without kinks, as one piece."""

    size = 0

    def __init__(self, problem: FlowProblem) -> None:
        self._problem = problem

    def values(self, theta: Array) -> Array:
        """None."""
        return np.empty(0)

    rounding = values

    def normals(self, kinks: Any) -> Array:
        """None."""
        return np.empty((0, len(self._problem.theta0)))

    def jumps(self, theta: Array, kinks: Any) -> Array:
        """None."""
        return np.empty(0)


class Cell:
    """The loss on one piece and the planes on which the path slides, around a point z (n,).

    Its variables are y = T' z (d,), the columns of T an orthonormal basis of the planes.
    """

    def __init__(self, field: Field, z: Array, sides: Array) -> None:
        self.field = field
        self.z = z
        self.sides = sides
        self.held = np.flatnonzero(sides == 0)
        self.normals = field.normals(self.held)
        self.basis: Array | None = None  # all of the space
        if len(self.held):
            _, values, rows = np.linalg.svd(self.normals)
            rank = int((values > 1e-12 * values.max(initial=0.0)).sum())
            self.basis = np.ascontiguousarray(rows[rank:].T)
        self.rtol = field.problem.rtol
        #: y of the point
        self.origin: Array = z if self.basis is None else self.basis.T @ z

    @cached_property
    def start(self) -> FlowEvaluation:
        """Value, gradient and Hessian in y at the point itself."""
        return self._restricted(self.field.evaluate(self.z, self.sides, 2))

    def evaluate(self, y: Array, order: int) -> FlowEvaluation:
        """The same at y (d,)."""
        return self._restricted(self.field.evaluate(self.lift(y), self.sides, order))

    #: End rules ask for this; the flow here is the one of the loss.
    evaluate_loss = evaluate

    def _restricted(self, found: FlowEvaluation) -> FlowEvaluation:
        if self.basis is None:
            return found
        T = self.basis
        hessian = None if found.hessian is None else T.T @ found.hessian @ T
        return FlowEvaluation(found.value, T.T @ found.gradient, hessian)

    def lift(self, y: Array) -> Array:
        """The point (n,)."""
        if self.basis is None:
            return y
        found: Array = self.z + self.basis @ (y - self.origin)
        return found

    def direction(self, y: Array) -> Array:
        """A vector (n,)."""
        found: Array = y if self.basis is None else self.basis @ y
        return found

    def margin(self, z: Array) -> float:
        """How far multipliers at ``z`` are from their bounds, relative to the jumps; negative
        beyond.
        """
        if not len(self.held):
            return math.inf
        gradient = self.field.evaluate(z, self.sides, 1).gradient
        delta = self.field.jumps(z, self.held)
        if len(self.origin) + len(self.held) > len(self.z):  # multipliers are not unique
            shares = _shares(self.normals, delta, gradient)
            left = self.normals @ (gradient + self.normals.T @ (shares * delta))
            size = np.abs(self.normals @ gradient).max() + np.abs(delta).max()
            return 0.0 if np.abs(left).max() <= BOUND * size else -1.0
        mu = np.linalg.lstsq(self.normals.T, -gradient, rcond=None)[0]
        scale = np.maximum(np.abs(delta), np.abs(mu)) + 1e-300
        return float((np.minimum(mu, delta - mu) / scale).min())


class Field:
    """The pieces in the variables of the flow."""

    def __init__(self, problem: FlowProblem) -> None:
        self.problem = problem
        objective = problem.objective
        known = objective.pieces if isinstance(objective, HasPieces) else None
        self.pieces: PiecewiseSmooth | Smooth = Smooth(problem) if known is None else known
        self.size = self.pieces.size

    def evaluate(self, z: Array, sides: Array, order: int) -> FlowEvaluation:
        """Value, gradient (n,) and Hessian (n, n) of one piece, at any point."""
        if isinstance(self.pieces, Smooth):
            return self.problem.evaluate(z, order)
        problem = self.problem
        problem.begin(order)
        value, gradient, hessian = self.pieces.evaluate(problem.theta_of(z), sides, order)
        assert gradient is not None
        free = problem.free
        own = gradient[free] * problem.scale
        if hessian is not None:
            hessian = hessian[np.ix_(free, free)] * problem.scale * problem.scale[:, None]
        return FlowEvaluation(value, own, hessian)

    def values(self, z: Array) -> Array:
        """(m,) functions whose zeros are the kinks."""
        return self.pieces.values(self.problem.theta_of(z))

    def rounding(self, z: Array) -> Array:
        """Their rounding errors (m,)."""
        return self.pieces.rounding(self.problem.theta_of(z))

    def noise(self, z: Array) -> Array:
        """The same (m,), but at least the error of the largest: where a neuron vanishes next to
        others, its kinks are not known better than that.
        """
        rounding = self.rounding(z)
        return np.full_like(rounding, rounding.max(initial=0.0))

    def normals(self, kinks: Kinks) -> Array:
        """Their gradients (k, n)."""
        return self.pieces.normals(kinks)[:, self.problem.free] * self.problem.scale

    def jumps(self, z: Array, kinks: Kinks) -> Array:
        """(k,) jumps of the gradient across them, in normals."""
        return self.pieces.jumps(self.problem.theta_of(z), kinks)

    def near(self, z: Array, sides: Array, crossed: Kinks) -> Kinks:
        """The kinks on which ``z`` lies to rounding; ``crossed`` are known to be among them."""
        near = np.abs(self.values(z)) <= _MET * self.rounding(z)
        near[crossed] = True
        near |= sides == 0
        return np.flatnonzero(near)

    def meets(self, z: Array) -> Kinks:
        """The kinks on which ``z`` lies as far as they are known, with all of a vanished neuron."""
        met = np.flatnonzero(np.abs(self.values(z)) <= _MET * self.noise(z))
        return met[self.normals(met).any(axis=1)]

    def is_corner(self, z: Array) -> bool:
        """Whether more kinks meet in ``z`` than are independent: there a neuron has vanished."""
        normals = self.normals(self.meets(z))
        return len(normals) > 0 and len(normals) > np.linalg.matrix_rank(normals)

    def way_out(self, z: Array, sides: Array, length: float) -> tuple[Array, Array]:
        """The point and the sides from which a path goes on where more kinks meet than it can tell
        apart, such as all of a neuron that passes through zero.

        The loss is homogeneous to first order around the point in which they meet, so that a path
        that is once lower never comes back. It is looked for at this distance: straight on, or
        above all kinks, then along the force that is met there. Where nothing lower is found the
        path rests on all of these kinks.
        """
        kinks = self.meets(z)
        center = self.onto(z, kinks)
        _, values, rows = np.linalg.svd(self.normals(kinks), full_matrices=False)
        span = rows[values > 1e-12 * values.max(initial=0.0)]
        for begin in (sides[kinks], 1.0):
            out = sides.copy()
            out[kinks] = begin
            for _ in range(_DIRECTIONS):
                force = -(span @ self.evaluate(center, out, 1).gradient)
                size = np.linalg.norm(force)
                if not size > 0.0:
                    break
                point = center + length * (span.T @ (force / size))
                out[kinks] = np.where(self.values(point)[kinks] > 0.0, 1, -1)
                slope = span @ self.evaluate(center, out, 1).gradient
                if slope @ force < -BOUND * size * size:
                    return point, out
        out[kinks] = 0
        return center, out

    def onto(self, z: Array, kinks: Kinks) -> Array:
        """The point on these planes next to ``z``, which lies on them to rounding."""
        if not len(kinks):
            return z
        moved = np.linalg.lstsq(self.normals(kinks), -self.values(z)[kinks], rcond=1e-9)[0]
        return np.asarray(z + moved, dtype=np.float64)

    def sides_at(self, z: Array, sides: Array, kinks: Kinks, crossed: Kinks) -> Array:
        """On which sides of the kinks that ``z`` lies on the path goes on.

        ``sides`` are those from which it came, ``crossed`` the kinks that it has met.
        """
        found = sides.copy()
        if not len(kinks):
            return found
        normals = self.normals(kinks)
        delta = self.jumps(z, kinks)
        moves = np.einsum("kn,kn->k", normals, normals) > 0.0
        valley = (delta > 0.0) & moves
        ridge = kinks[~valley]
        flipped = np.isin(ridge, crossed)
        found[ridge[flipped]] = -sides[ridge[flipped]]
        undecided = found[ridge] == 0
        found[kinks[valley]] = 0
        gradient = self.evaluate(z, found, 1).gradient
        shares = _shares(normals[valley], delta[valley], gradient)
        velocity = -gradient - normals[valley].T @ (shares * delta[valley])
        found[kinks[valley]] = np.where(shares <= BOUND, -1, np.where(shares >= 1 - BOUND, 1, 0))
        along = normals[~valley][undecided] @ velocity
        found[ridge[undecided]] = np.where(along > 0.0, 1, -1)
        return found


def _shares(normals: Array, delta: Array, gradient: Array) -> Array:
    """The s in [0, 1] (k,) that make |gradient + sum_k s_k delta_k n_k| least."""
    if not len(delta):
        return np.empty(0)
    A = normals.T * delta
    if len(delta) == 1:
        return np.clip(-(A.T @ gradient) / (A.T @ A)[0], 0.0, 1.0)
    free = np.linalg.lstsq(A, -gradient, rcond=None)[0]
    if free.min() >= 0.0 and free.max() <= 1.0:
        return np.asarray(free, dtype=np.float64)
    from scipy.optimize import lsq_linear

    found = lsq_linear(A, -gradient, bounds=(0.0, 1.0), method="bvls", tol=1e-14)
    return np.asarray(found.x, dtype=np.float64)
