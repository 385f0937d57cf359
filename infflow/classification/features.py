"""Linear dependences on the data: null inputs, and neurons whose outputs depend on each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from .curvature import Complement

#: Singular values of unit columns below this are zero: from samples; from expectations, which give
# their squares.
ZERO_OF_SAMPLES = 1e-10
_ZERO_OF_EXPECTATIONS = 1e-13
# Rows and columns of a border beyond those that are sure to be needed; reciprocal of the condition
# from which on a border does not suffice.
_BORDER = 48
_SINGULAR = 1e-14
# Pivots above this belong to singular values that are not zero.
_PIVOT = 1e-7
# Columns whose lengths do not differ by more than this keep their digits together.
_SIMILAR = 1e-3


def input_null_space(net: Net | NetI, bias: bool) -> Array:
    """Orthonormal columns (D, or D + 1 with ``bias``; d) of combinations of inputs (and 1) that
    vanish on all inputs.
    """
    if isinstance(net, NetI):
        if any(
            root is None for _, _, root in net.input.components()
        ):  # they spread in all directions
            return np.zeros((net.input_dim + bias, 0))
        rows = []
        for _, mean, root in net.input.components():
            assert root is not None
            rows += [np.column_stack([root.T, np.zeros(len(root.T))])]
            rows += [np.append(np.zeros(net.input_dim) if mean is None else mean, 1.0)[None]]
        table = np.vstack(rows)
        return null_space(table if bias else table[:, :-1])
    X = _samples(net)
    return null_space(np.column_stack([X, np.ones(len(X))]) if bias else X)


def neuron_null_space(net: Net | NetI, theta: Array, number: int, bias: bool) -> Array:
    """The same for the outputs of hidden layer ``number`` (and 1)."""
    if isinstance(net, NetI):
        return _gram_null_space(neuron_moments(net, theta, bias))
    Z = layer_signals(net, theta, number).values
    return null_space(np.column_stack([Z, np.ones(len(Z))]) if bias else Z)


class LayerSignals(NamedTuple):
    """What a hidden layer does on the N samples that count."""

    inputs: Array  #: (N, fan_in)
    sums: Array  #: (N, width) before the activations
    values: Array  #: (N, width) outputs
    slopes: Array  #: (N, width) derivatives of the activations
    on_kink: NDArray[np.bool_]  #: (N, width) whether a sum is a kink, to rounding

    @property
    def is_active(self) -> NDArray[np.bool_]:
        """Neurons (width,) of which output or slope is not zero on all data."""
        return np.asarray((self.values != 0.0).any(axis=0) | (self.slopes != 0.0).any(axis=0))


def layer_signals(net: Net, theta: Array, number: int) -> LayerSignals:
    """Signals of hidden layer ``number``."""
    Z = _samples(net)
    for layer, (W, b) in zip(
        net.layers[: number + 1], net.layout.views(net.scaled(theta)), strict=False
    ):
        inputs = Z
        h = np.ascontiguousarray((Z @ W.T + (0.0 if b is None else b)).T)
        jets = np.empty((2, *h.shape))
        for i, f in enumerate(layer.activations):
            f.jet(h[i], jets[:, i])
        Z = jets[0].T
    rounding = 1e-14 * (np.abs(inputs) @ np.abs(W).T + (0.0 if b is None else np.abs(b)))
    on_kink = [
        (np.abs(h[i][:, None] - np.array(f.kinks)) <= rounding[:, i, None]).any(axis=1)
        for i, f in enumerate(layer.activations)
    ]
    return LayerSignals(inputs, h.T, jets[0].T, jets[1].T, np.array(on_kink).T)


def neuron_moments(net: NetI, theta: Array, bias: bool) -> Array:
    """Second moments E f_i f_j of the students, and of the constant 1 with ``bias``."""
    K = net.layers[0].width
    G = np.zeros((K + 1, K + 1))
    for part, state in zip(net._components, net._states(theta, 0), strict=True):
        G[:K] += part.weight * state.jets[:, : K + 1, 0]
    G[K, :K] = G[:K, K]
    G[K, K] = 1.0
    return G if bias else G[:K, :K]


def _samples(net: Net) -> Array:
    """Inputs of the samples that count."""
    data = net.data
    return data.X if data.weights is None else data.X[data.weights > 0.0]


class _Pivoted(NamedTuple):
    """A table after scaling its columns to length one, by a QR decomposition with pivoting.

    That takes a tenth of the time of a singular value decomposition. Right singular vectors of
    values below ``_PIVOT`` lie, but for the part of a small value over ``_PIVOT``, in the null
    space of the first rows.
    """

    #: (N, m) scaled, or with fewer rows a triangle with the same inner products of columns
    table: Array
    size: Array  #: (m,) lengths of the columns
    triangle: Array  #: (rank, m) first rows, columns in order of their pivots
    order: NDArray[np.intp]
    left: float  #: norm of the other rows

    @classmethod
    def of(cls, table: Array) -> _Pivoted:
        from scipy.linalg import qr

        size = np.sqrt(np.einsum("nd,nd->d", table, table))
        scaled = table / np.where(size > 0.0, size, 1.0)
        if len(scaled) > len(size):  # faster without pivoting, which then works on fewer rows
            scaled = np.asarray(np.linalg.qr(scaled, mode="r"))
        triangle, order = qr(scaled, mode="r", pivoting=True, check_finite=False)
        rank = int((np.abs(np.diagonal(triangle)) > _PIVOT).sum())
        return cls(scaled, size, triangle[:rank], order, float(np.linalg.norm(triangle[rank:])))

    def null_space(self) -> Array:
        """Null space (m, d) of the first rows as they were before scaling, orthonormal."""
        rank, columns = self.triangle.shape
        lengths = self.size[self.size > 0.0]
        if 2 * rank < columns and lengths.min(initial=np.inf) > _SIMILAR * lengths.max(initial=0.0):
            rows = np.empty((rank, columns))
            rows[:, self.order] = self.triangle
            return Complement((rows * self.size).T).lift(np.eye(columns - rank))
        return _unscale(self._candidates(), self.size)

    def _candidates(self) -> Array:
        """Null vectors of the first rows with a unit matrix at the last pivots."""
        from scipy.linalg import solve_triangular

        rank, columns = self.triangle.shape
        found = np.zeros((columns, columns - rank))
        found[self.order[:rank]] = -solve_triangular(
            self.triangle[:, :rank], self.triangle[:, rank:]
        )
        found[self.order[rank:]] = np.eye(columns - rank)
        return found


def null_space(table: Array) -> Array:
    """Orthonormal columns of the null space of the rows, judged after scaling columns to length
    one.
    """
    found = _Pivoted.of(table)
    null = (
        found.null_space()
        if len(found.triangle) < len(found.size)
        else np.zeros((len(found.size), 0))
    )
    # columns of very different lengths spoil some, and the last pivots need not be small
    return within(
        null,
        found.table @ (found.size[:, None] * null),
        ZERO_OF_SAMPLES * found.size.max(initial=0.0),
    )


def null_space_of_sums(sums: Array, others: Array, least: int) -> Array:
    """Orthonormal columns (m, d) of the null space of random sums of rows of a tall table.

    With a border of q >= d random rows and columns the first m ``sums`` are a regular matrix, and
    the null space is within the solutions for unit vectors in the border: the null vector v is
    their combination with what the border makes of v. That takes a third of the time of a QR
    decomposition. ``others`` choose from the q solutions.

    Parameters
    ----------
    sums, others : (m or more, m) arrays
        Two independent tables of sums.
    least : int
        The smallest dimension that is possible.
    """
    m = sums.shape[1]
    size = np.sqrt(np.einsum("nd,nd->d", sums, sums))
    scale = np.where(size > 0.0, size, 1.0)
    largest = ZERO_OF_SAMPLES * size.max(initial=0.0)
    q = least + _BORDER
    while 2 * q < m:
        solutions, missing = _bordered(sums[:m] / scale, q)
        if not missing:
            basis = np.linalg.qr(solutions / scale[:, None])[0]
            null = within(basis, np.vstack([sums, others]) @ basis, largest)
            if null.shape[1] < q:
                return null
        q += max(q, missing)
    return null_space(np.vstack([sums, others]))


def _bordered(square: Array, q: int) -> tuple[Array, int]:
    """Solutions (m, q) of a matrix (m, m) with a border of q random rows and columns, and how many
    pivots are zero all the same.
    """
    from scipy.linalg.lapack import dgecon, dgetrf, dgetrs

    m = len(square)
    rng = np.random.default_rng(0)
    whole = np.zeros((m + q, m + q), order="F")
    whole[:m, :m] = square
    whole[:m, m:] = rng.standard_normal((m, q)) / np.sqrt(m)
    whole[m:, :m] = rng.standard_normal((q, m)) / np.sqrt(m)
    norm = float(np.abs(whole).sum(axis=0).max())
    factors, pivots, info = dgetrf(whole, overwrite_a=1)
    if info or dgecon(factors, norm)[0] < _SINGULAR:
        sizes = np.abs(np.diagonal(factors))
        return np.zeros((m, 0)), max(1, int((sizes <= _SINGULAR * m * sizes.max()).sum()))
    right = np.zeros((m + q, q), order="F")
    right[m:] = np.eye(q)
    found = dgetrs(factors, pivots, right, overwrite_b=1)[0][:m]
    return np.asarray(found), 0


def nullity(table: Array) -> int:
    """Dimension of the null space, by pivots where these leave no doubt."""
    found = _Pivoted.of(table)
    if found.left <= ZERO_OF_SAMPLES:
        return len(found.size) - len(found.triangle)
    return null_space(table).shape[1]


def within(basis: Array, images: Array, largest: float) -> Array:
    """Orthonormal basis of those combinations of orthonormal columns whose images are at most
    ``largest`` long.
    """
    if np.linalg.norm(images) <= largest:
        return basis
    number = images.shape[1]
    triangle = np.linalg.qr(images, mode="r") if len(images) > number else images
    _, values, rows = np.linalg.svd(triangle, full_matrices=False)
    if len(rows) == number:
        return np.asarray(basis @ rows[values <= largest].T)
    long = rows[values > largest].T
    return np.asarray(basis @ Complement(long).lift(np.eye(number - long.shape[1])))


def cut(null: Array, rows: Array) -> Array:
    """What is left of a null space (m, d) when more rows (n, m) are looked at."""
    lengths = np.sqrt(np.einsum("nd,nd->d", rows, rows))
    return within(null, rows @ null, ZERO_OF_SAMPLES * lengths.max(initial=0.0))


def _gram_null_space(G: Array) -> Array:
    size = np.sqrt(np.diagonal(G))
    size = np.where(size > 1e-10 * size.max(initial=0.0), size, 0.0)
    divisor = np.where(size > 0.0, size, 1.0)
    scaled = np.where(np.outer(size, size) > 0.0, G / np.outer(divisor, divisor), 0.0)
    values, vectors = np.linalg.eigh(scaled)
    return _unscale(vectors[:, values <= _ZERO_OF_EXPECTATIONS], size)


def _unscale(vectors: Array, size: Array) -> Array:
    """Null vectors of the table before its columns were scaled to length one, orthonormal."""
    return np.linalg.qr(vectors / np.where(size > 0.0, size, 1.0)[:, None])[0]
