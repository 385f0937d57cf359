"""Subspaces of the input that the gradient flow of a network cannot leave.

The gradient of ``w_i`` is a combination of the means of the input and of ``Sigma_c w_j`` and
``Sigma_c v_j`` over students, teachers and components c of the input. So W(t) stays in any subspace
that contains W(0), V and the means, and that each covariance maps into itself.

The inputs are taken apart into *blocks*: subspaces on which every covariance is a number. Of a
block the invariant subspace needs the projections of the rows; what is in no block belongs to it as
a whole. For a single Gaussian blocks are eigenspaces, and the subspace is the smallest there is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import qr

from ..._validation import Array
from ..inputs import Gaussian, GaussianMixture, InputDistribution, Multiple, StandardNormal

#: eigenvalues that differ by less, relative to the largest, are the same: covariances are products
SAME = 1e-12
#: a part of a row below so many roundings of its length is rounding
_ROUNDINGS = 16
_EPS = float(np.finfo(float).eps)


class Block(NamedTuple):
    """Inputs on which every component of the input has a multiple of the identity as covariance."""

    basis: Array | None  #: (D, d) orthonormal columns; None where the block is all of the input
    variances: Array  #: (C,) one for each component
    dimension: int  #: d

    def project(self, rows: Array) -> Array:
        """Coordinates (r, d) of rows (r, D)."""
        return rows if self.basis is None else rows @ self.basis

    def lift(self, columns: Array) -> Array:
        """Vectors (D, m) of coordinates (d, m)."""
        return columns if self.basis is None else self.basis @ columns


class Blocks(NamedTuple):
    """All inputs, taken apart."""

    blocks: list[Block]
    rest: Array  #: (D, k) orthonormal basis of what is in no block


class Span(NamedTuple):
    """An invariant subspace, and what is left of each block."""

    basis: Array  #: (D, n) orthonormal columns
    left: list[Left]


class Left(NamedTuple):
    """What an invariant subspace leaves of a block."""

    block: Block
    used: Array  #: (d, k) orthonormal coordinates of what belongs to the subspace
    multiplicity: int  #: d - k

    def vector(self) -> Array:
        """One direction (D,) outside of the subspace, of length one, always the same."""
        used = self.used
        start = int(np.argmin(np.einsum("dk,dk->d", used, used)))  # the axis with the largest part
        found = -used @ used[start]
        found[start] += 1.0
        for _ in range(2):  # twice is enough
            found -= used @ (used.T @ found)
            found /= np.linalg.norm(found)
        return self.block.lift(found[:, None])[:, 0]

    def complement(self) -> Array:
        """Orthonormal basis (D, multiplicity) of it."""
        whole: Array = qr(self.used, check_finite=False)[0]
        return self.block.lift(whole[:, self.used.shape[1] :])


def covariances(inputs: InputDistribution) -> list[Any] | None:
    """Covariance (D, D) of each component, perhaps a :class:`~infflow.networks.inputs.Multiple`;
    None for standard normal input.
    """
    if isinstance(inputs, StandardNormal):
        return None
    return [inputs._cov] if isinstance(inputs, Gaussian) else list(inputs.covs)


def is_known(inputs: object) -> bool:
    """Whether the blocks of such an input are known."""
    return isinstance(inputs, (StandardNormal, Gaussian, GaussianMixture))


def take_apart(inputs: InputDistribution) -> Blocks:
    """The blocks of an input."""
    D = inputs.input_dim
    matrices = covariances(inputs)
    if matrices is None:
        return Blocks([Block(None, np.ones(1), D)], np.zeros((D, 0)))
    if isinstance(matrices[0], Multiple):
        return Blocks([Block(None, np.array([matrices[0].factor]), D)], np.zeros((D, 0)))
    diagonals = np.array([np.diagonal(matrix)[0] for matrix in matrices])
    if all(_is_multiple(matrix, x) for matrix, x in zip(matrices, diagonals, strict=True)):
        return Blocks([Block(None, diagonals, D)], np.zeros((D, 0)))
    scales = [max(float(np.abs(np.diagonal(matrix)).max()), _TINY) for matrix in matrices]
    # A combination without accidents: eigenspaces that all of them share are eigenspaces of it.
    shares = 1.0 / (np.sqrt(2.0) + np.arange(len(matrices)))
    mixed = sum(
        (c / s * matrix for c, s, matrix in zip(shares, scales, matrices, strict=True)),
        np.zeros((D, D)),
    )
    values, vectors = np.linalg.eigh(mixed)
    borders = np.flatnonzero(np.diff(values) > SAME * float(np.abs(values).max())) + 1
    blocks = []
    rest = []
    for columns in np.split(vectors, borders, axis=1):
        found = _as_block(columns, matrices, scales)
        if found is None:
            rest.append(columns)
        else:
            blocks.append(found)
    return Blocks(blocks, np.hstack([np.zeros((D, 0)), *rest]))


_TINY = float(np.finfo(float).tiny)


def _is_multiple(matrix: Array, x: float) -> bool:
    """Whether a matrix is x times the identity."""
    if np.count_nonzero(matrix) > len(matrix):
        return False
    return bool((np.diagonal(matrix) == x).all() and np.count_nonzero(matrix) == len(matrix))


def _as_block(columns: Array, matrices: list[Array], scales: list[float]) -> Block | None:
    """The block with this basis (D, d), where each covariance is a number on it."""
    variances = []
    for matrix, scale in zip(matrices, scales, strict=True):
        image = matrix @ columns
        x = float(np.einsum("dk,dk->", columns, image)) / columns.shape[1]
        if float(np.linalg.norm(image - x * columns, axis=0).max()) > SAME * scale:
            return None
        variances.append(max(x, 0.0))
    return Block(columns, np.array(variances), columns.shape[1])


def span(parts: Blocks, rows: Array) -> Span:
    """The invariant subspace of rows (r, D): students, teachers and means; it overwrites them."""
    sizes = np.array([np.abs(row).max() for row in rows])
    if not sizes.all():
        rows = rows[sizes > 0.0]
        sizes = sizes[sizes > 0.0]
    rows /= sizes[:, None]  # first, since squares of small entries underflow
    rows /= _lengths(rows)[:, None]
    bases = [parts.rest]
    left = []
    for block in parts.blocks:
        inside = block.project(rows)
        has_part = _lengths(inside) > _ROUNDINGS * _EPS
        if not has_part.all():
            inside = inside[has_part]
        if len(inside) >= block.dimension:
            bases.append(block.lift(np.eye(block.dimension)))
            continue
        used = _orthonormal(inside)
        bases.append(block.lift(used))
        left.append(Left(block, used, block.dimension - used.shape[1]))
    basis = bases[-1] if len(bases) == 2 and not bases[0].shape[1] else np.hstack(bases)
    return Span(basis, left)


def _lengths(rows: Array) -> Array:
    found: Array = np.sqrt(np.einsum("rd,rd->r", rows, rows))
    return found


def _orthonormal(rows: Array) -> Array:
    """Orthonormal columns (d, r) that span rows (r, d), whose memory they take."""
    if not len(rows):
        return np.zeros((rows.shape[1], 0))
    columns: Array = qr(rows.T, overwrite_a=True, mode="economic", check_finite=False)[0]
    return columns
