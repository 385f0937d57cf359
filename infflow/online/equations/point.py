"""What the equations and their Jacobian share at one point."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._validation import Array
from ...integrals.evaluator import Arguments, Index
from ...integrals.jets import J11
from ..state import OrderState


class Point(NamedTuple):
    """What value and Jacobian share at one point.

    The state has an axis of groups; ``Y`` (G, n, K + M) overlaps, ``C`` (n, n) covariance, ``B``
    (n, O) output vectors, ``S`` (K, n) = sum_o weight_o B_io B_ao of the loss, ``own`` (K, K) that
    of label noise, with squared weights; ``jets`` (K, n, slots).
    """

    state: OrderState
    Y: Array
    C: Array
    B: Array
    S: Array
    own: Array
    jets: Array


def pair_arguments(C: Array, i: Index, j: Index) -> Arguments:
    """Where the jets of the pairs (i, j) are wanted, for zero means and covariance C."""
    args = np.zeros((6, len(i)))
    args[:3] = C[i, i], C[i, j], C[j, j]
    args[5] = np.where(i == j, 0.0, np.maximum(args[0] * args[2] - args[1] ** 2, 0.0))
    return Arguments(args, np.ascontiguousarray(np.diagonal(C)), np.zeros(len(C)))


def slopes(at: Point) -> Array:
    """E[f_i' f_k'] (K, K) among students."""
    K = len(at.own)
    J: Array = at.jets[:, :K, J11]
    return (J + J.T) / 2
