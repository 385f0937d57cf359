"""Points on kinks that meet samples, where the gradient jumps: critical in the sense of Clarke.

Zero lies in the convex hull of the gradients around such a point if the gradient below the kinks,
and jumps of it, add up to zero,

    g + sum_k mu_k n_k = 0  with  0 <= mu_k <= delta_k.

Where all mu_k are inside of their bounds, the loss grows to first order across the kinks, to both
sides. What is left is the loss on the planes of the kinks, which is smooth: its Hessian decides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..flow.kinks import Cell, Field
from ..flow.problem import FlowProblem
from ..networks.finite.net import Net
from ..networks.finite.pieces import Pieces
from ..objective import Evaluation

#: directions (d,) of length one in the planes have at least this length there
_TANGENT = 0.5


class OnKinks(NamedTuple):
    """A point on kinks, and the loss on their planes."""

    cell: Cell
    pieces: Pieces
    touched: int  #: kinks that meet the point and do not hold it
    margin: float  #: how far multipliers are inside of their bounds, relative to the jumps

    @property
    def kinks(self) -> tuple[tuple[int, int], ...]:
        """Neuron and sample of each of them."""
        return tuple(self.pieces.neuron_and_sample(int(kink)) for kink in self.cell.held)

    @property
    def tangents(self) -> Array:
        """Orthonormal basis (n, d) of the planes."""
        assert self.cell.basis is not None
        return self.cell.basis

    def flat(self, directions: Array) -> Array:
        """Orthonormal flat directions (n, k) in the coordinates (d, k) of the planes."""
        inside = self.tangents.T @ directions
        vectors, sizes, _ = np.linalg.svd(inside, full_matrices=False)
        return np.asarray(vectors[:, sizes > _TANGENT], dtype=np.float64)


class TangentLoss:
    """The loss of one piece on the planes of kinks, as an objective of d parameters."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.num_params = len(cell.origin)

    def evaluate(self, y: Array, order: int = 0) -> Evaluation:
        """Value and derivatives at y (d,)."""
        found = self.cell.evaluate(y, max(order, 1))
        return Evaluation(found.value, found.gradient, found.hessian)

    def hvp(self, y: Array, v: Array) -> Array:
        """The Hessian times v, (d,) or (d, m)."""
        found: Array = self.evaluate(y, 2).H @ v
        return found


def on_kinks(net: Net, theta: Array, free: NDArray[np.intp]) -> OnKinks | None:
    """The point ``theta`` (P,) where it is on kinks that hold it; None elsewhere."""
    pieces = net.pieces
    if pieces is None:
        return None
    moves = np.zeros(len(theta))
    moves[free] = 1.0
    field = Field(FlowProblem(net, theta, moves, 1e-6, 1e-6))
    z = field.problem.z_of(theta)
    sides = np.sign(field.values(z))
    none = np.empty(0, dtype=np.intp)
    near = field.near(z, sides, none)
    if not len(near):
        return None
    cell = Cell(field, z, field.sides_at(z, sides, near, none))
    held = len(cell.held)
    return OnKinks(cell, pieces, len(near) - held, cell.margin(z)) if held else None
