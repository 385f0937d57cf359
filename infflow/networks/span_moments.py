"""Second moments of gradients of single samples in the span of all weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from .infinite.population_loss import Units
from .inputs import Component

#: Weights beyond this fraction of the largest are in the span.
_RANK = 1e-13


class SpanMoments(NamedTuple):
    """Second moment ``M`` of gradients in the order W (K, n), b (K,), A (O, K), c (O,), and their
    mean, in n standard normal inputs along the orthonormal columns of ``basis`` (D, n).
    """

    M: Array
    mean: Array
    basis: Array


class Mapped(NamedTuple):
    """Students and teacher over one Gaussian, in standard normal inputs z, x = mean + root z."""

    students: Units
    teachers: Units | None
    component: Component


def mapped(units: Units, component: Component) -> Units:
    """Units in the standard normal coordinates of a component of the input."""
    _, mean, root = component
    b = units.b if mean is None else units.b + units.W @ mean
    W = units.W if root is None else units.W @ root
    return Units(W, b, units.B, units.c)


def span_basis(rows: Array) -> Array:
    """Orthonormal columns (D, n) of the span of rows (m, D)."""
    m, D = rows.shape
    if m >= D:
        return np.eye(D)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    rank = int((sizes > _RANK * max(float(sizes.max(initial=0.0)), 1e-300)).sum())
    return np.ascontiguousarray(directions[: max(rank, 1)].T)


def in_one_matrix(ww: Array, bw: Array, bb: Array, aw: Array, ab: Array, aa: Array) -> Array:
    """The symmetric matrix of the blocks, in the order W, b, second layer."""
    return np.block([[ww, bw.T, aw.T], [bw, bb, ab.T], [aw, ab, aa]])


def output_order(K: int, O: int) -> NDArray[np.integer]:
    """From (neuron, output), the constant last, to A (O, K) and c (O,)."""
    index = np.arange((K + 1) * O).reshape(K + 1, O)
    return np.concatenate([index[:K].T.ravel(), index[K]])
