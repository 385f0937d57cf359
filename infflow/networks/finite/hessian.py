"""The exact Hessian of a multilayer perceptron over blocks of samples.

One hidden layer, identity output, a loss of constant curvature (:class:`ShallowWorkspace`): the
Gauss-Newton part is a rank-k update with the Jacobian rows of *one* output of unit output weights,
which any number of outputs share; the residual part is a small matrix per hidden neuron and the
coupling of its two layers, whose coefficients are the sums of the gradient.

Everything else (:class:`DeepWorkspace`): with ``S_m = d2L/dh_m dh_m'`` of one sample,

    S_m = diag(d1_m) W' S_{m+1} W diag(d1_m) + diag(e_m d2_m),     W = W_{m+1},  e_m = dL/dz_m,
    C_{m,l} = d delta_m / dh_l = C_{m,l+1} W_{l+1} diag(d1_l),     C_{m,m} = S_m,
    V_{m,l} = dz_m / dh_l = V_{m,l+1} W_{l+1} diag(d1_l),          V_{m,m} = diag(d1_m),
    d2L / dW_m[i,k] dW_l[j,q] = (C_{m,l}[i,j] z_{m-1}[k] + delta_m[i] V_{m-1,l}[k,j]) z_{l-1}[q],

so that the outer products with the inputs of the two layers, which dominate, are N P^2 operations
of BLAS for any depth and any number of outputs (after Bishop, Neural Comput. 4, 1992, with matrices
in the place of his sums). S_m is formed for a few rows at a time, since it would not fit in memory
for wide layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from ..._validation import Array
from ...memory import require_memory
from ..parameters import Pair
from . import kernels
from .backprop import (
    CACHE_BYTES,
    NOTHING,
    Architecture,
    Data,
    Workspace,
    block_size,
    blocks,
    errors,
    forward,
    output_error,
)

FEW_MOMENTS = 4
"""Layers with at most this many inputs (bias included) multiply the inputs of both layers before
the neurons.
"""

GRAM_BYTES = 36 * 2**20
"""Memory of the sums of a one-hidden-layer net beside its Hessian; larger ones take the general
way.
"""

STRIP_BYTES = 2**19
"""Memory of the products of a few rows of a layer with its inputs."""


def derivatives(arch: Architecture, phi: Array, data: Data) -> tuple[float, Array, Array]:
    """Loss, gradient ``(P,)`` and Hessian ``(P, P)`` with respect to the scaled
    parameters ``phi``.
    """
    arch.require_derivatives(2)
    require_memory(len(phi))
    hessian: Array = np.empty((len(phi), len(phi)))
    gradient = np.zeros(len(phi))
    if _is_shallow(arch, data):
        value = _shallow(arch, phi, data, gradient, hessian)
    else:
        value = _deep(arch, phi, data, gradient, hessian)
    kernels.mirror(hessian)
    return value, gradient, hessian


# --------------------------------------------------------------------------------------------------
# one hidden layer


def _num_rows(arch: Architecture) -> int:
    """Parameters of the net if it had one output."""
    hidden, out = arch.layout.blocks
    return hidden.width * (hidden.fan_in + hidden.bias + 1) + out.bias


def _is_shallow(arch: Architecture, data: Data) -> bool:
    """Whether the moments of one output give the Hessian, and fit in memory beside it."""
    if len(arch.layers) != 2 or not arch.linear[1] or not data.loss.curvature_is_constant:
        return False
    rows = _num_rows(arch)
    hidden = arch.layout.blocks[0]
    extra = (rows**2 if arch.widths[1] > 1 else 0) + hidden.width * (hidden.fan_in + 1) ** 2
    return 8 * extra <= GRAM_BYTES


class ShallowWorkspace(Workspace):
    """Adds the scaled Jacobian ``rows`` ``(M, B)`` of one output whose weights are ``ones``."""

    def __init__(self, arch: Architecture, block: int) -> None:
        super().__init__(arch, block, order=2)
        self.rows = np.empty((_num_rows(arch), block))
        self.ones = np.ones(arch.widths[0])


class ShallowSums:
    """Gradient of a net with one hidden layer and identity outputs, one pass over the hidden layer.

    ``slopes`` ``(K, H, d)`` are the sums of ``c_i d1_j x_q`` with the output errors c, the bias (x
    = 1) last if there is one. They give the first layer's gradient and couple the two layers in the
    Hessian.
    """

    def __init__(self, arch: Architecture) -> None:
        hidden, out = arch.layout.blocks
        self.slopes = np.zeros((out.width, hidden.width, hidden.fan_in + hidden.bias))
        self._unused = np.zeros(out.width)

    def add(self, work: Workspace, grads: list[Pair]) -> None:
        """Add the sums of a block, and to ``grads`` the gradient of the output layer."""
        gA, gb = grads[1]
        totals = self._unused if gb is None else gb
        kernels.error_moments(
            work.delta[1], work.z[0], work.d1[0], work.xt, self.slopes, gA, totals
        )

    def finish(self, A: Array, grads: list[Pair]) -> None:
        """Add the gradient of the first layer for the output weights ``A`` ``(K, H)``."""
        gW, gb = grads[0]
        kernels.first_layer_from_slopes(A, self.slopes, gW, NOTHING if gb is None else gb)


def _shallow(arch: Architecture, phi: Array, data: Data, gradient: Array, hessian: Array) -> float:
    """Fill the lower triangle of ``hessian`` and ``gradient``."""
    floats = Workspace.floats_per_sample(arch, 2) + _num_rows(arch)
    block = block_size(len(data.X), floats, cache=2 * CACHE_BYTES)
    work: ShallowWorkspace = arch.borrow(ShallowWorkspace, block)
    params = arch.layout.views(phi)
    grads = arch.layout.views(gradient)
    A = params[1][0]
    outputs = arch.widths[1]
    first, second = arch.layout.blocks
    d = first.fan_in + first.bias
    sums = ShallowSums(arch)
    curvatures = np.zeros((first.width, d, d))
    gram = hessian if outputs == 1 else np.empty((len(work.rows), len(work.rows)))
    value = 0.0
    beta = 0.0
    for X, target in blocks(data, block, work.w):
        forward(arch, params, X, work)
        value += output_error(arch, data, target, work)
        sums.add(work, grads)
        if not arch.linear[0]:
            _curvatures(arch, A, work, curvatures)
        kernels.tangent_rows(
            work.z[0], work.d1[0], work.xt, work.w, work.ones, first.bias, second.bias, work.rows
        )
        dsyrk(
            1.0, work.rows.T, beta=beta, c=gram.T, trans=1, overwrite_c=1
        )  # upper of the transpose
        beta = 1.0
    if outputs == 1:
        curvatures *= A.reshape(-1, 1, 1)
    sums.finish(A, grads)
    kernels.expand_gram(
        gram, A, sums.slopes, curvatures, first.fan_in, first.bias, second.bias, hessian
    )
    arch.give_back(work, block)
    return value


def _curvatures(arch: Architecture, A: Array, work: Workspace, out: Array) -> None:
    """Add ``sum e_j d2_j x_q x_r`` to ``out`` ``(H, d, d)``; with one output e_j lacks its factor
    A_j.
    """
    error = work.delta[1]
    d2 = work.d2[0]
    e = error if len(A) == 1 else np.matmul(A.T, error, out=work.delta[0])
    if arch.few_inputs:
        kernels.curvature_moments(e, d2, work.xt, out)
        return
    inputs = work.xt[: out.shape[1]]
    for j, row in enumerate(e * d2):
        out[j] += (inputs * row) @ inputs.T


# --------------------------------------------------------------------------------------------------
# any other net


class DeepWorkspace(Workspace):
    """Adds ``inputs``: for every layer the values that feed it with a row of ones
    ``(fan_in + 1, B)``.
    """

    def __init__(self, arch: Architecture, block: int) -> None:
        super().__init__(arch, block, order=2)
        self.inputs = [self.xt] + [np.ones((width + 1, block)) for width in arch.widths[:-1]]
        self.strip = np.empty(STRIP_BYTES // 8)

    @staticmethod
    def matrices_per_sample(arch: Architecture) -> int:
        """Numbers per sample in the matrices C, V and rows of S that are held at the same time."""
        widths = arch.widths
        pairs = [m * l for m, l in zip(widths[1:], widths[:-1], strict=True)]
        return 3 * max(pairs, default=0) + 2 * max(widths) * min(max(widths), 32) + widths[-1] ** 2


def _deep(arch: Architecture, phi: Array, data: Data, gradient: Array, hessian: Array) -> float:
    """Fill the lower triangle of ``hessian`` and ``gradient``."""
    floats = (
        Workspace.floats_per_sample(arch, 2)
        + sum(arch.widths)
        + DeepWorkspace.matrices_per_sample(arch)
    )
    block = block_size(len(data.X), floats, cache=4 * CACHE_BYTES)
    work: DeepWorkspace = arch.borrow(DeepWorkspace, block)
    params = arch.layout.views(phi)
    grads = arch.layout.views(gradient)
    hessian[:] = 0.0
    value = 0.0
    last = len(params) - 1
    for X, target in blocks(data, block, work.w):
        forward(arch, params, X, work)
        for inputs, z in zip(work.inputs[1:], work.z[:-1], strict=True):
            inputs[:-1] = z
        value += output_error(arch, data, target, work)
        bends = _bends(arch, params, work)
        errors(arch, params, work)
        for (gW, gb), delta, inputs in zip(grads, work.delta, work.inputs, strict=True):
            gW += delta @ inputs[:-1].T
            if gb is not None:
                gb += delta.sum(axis=1)
        below = _output_curvature(data, target, bends[last], work)
        for m in range(last, -1, -1):
            below = _layer(arch, params, work, bends, m, below, hessian)
    arch.give_back(work, block)
    for m, block_ in enumerate(arch.layout.blocks):
        if block_.bias:
            _complete_bias_rows(arch, m, hessian)
    return value


def _bends(arch: Architecture, params: list[Pair], work: DeepWorkspace) -> list[Array | None]:
    """``e_m d2_m`` ``(w_m, B)`` of every layer (None: identity), from the output errors in
    ``delta`` of the last layer.
    """
    bends: list[Array | None] = [None] * len(params)
    e = work.delta[-1]
    for m in range(len(params) - 1, -1, -1):
        bends[m] = None if arch.linear[m] else e * work.d2[m]
        if m > 0:
            e = params[m][0].T @ (e if arch.linear[m] else e * work.d1[m])
    return bends


def _output_curvature(
    data: Data, target: NDArray[Any], bend: Array | None, work: Workspace
) -> Array:
    """``S`` of the last layer, ``(K, K, B)``."""
    outputs, size = work.z[-1].shape
    S = np.empty((outputs, outputs, size))
    data.loss.curvature(work.z[-1], target, work.w, S)
    if bend is not None:
        S *= work.d1[-1][:, None] * work.d1[-1]
        S[np.arange(outputs), np.arange(outputs)] += bend
    return S


def _layer(
    arch: Architecture,
    params: list[Pair],
    work: DeepWorkspace,
    bends: list[Array | None],
    m: int,
    above: Array,
    hessian: Array,
) -> Array:
    """All blocks of layer m with itself and the layers below it.

    ``above`` is S of the last layer, and for the others ``C_{m+1,m}`` ``(w_{m+1}, w_m, B)``.
    Returns ``C_{m,m-1}``.
    """
    width = arch.widths[m]
    size = len(work.w)
    last = m == len(params) - 1
    top = work.d1[m]
    lower = np.empty((width, arch.widths[m - 1], size)) if m > 0 else above
    chunk = max(1, min(width, STRIP_BYTES // (8 * size * max(arch.widths[: m + 1]))))
    tangents = _tangents(arch, params, work, m)
    for start in range(0, width, chunk):
        stop = min(start + chunk, width)
        if last:
            C = above[start:stop]
        else:
            W = params[m + 1][0][:, start:stop]
            C = (W.T @ above.reshape(len(above), -1)).reshape(stop - start, width, size)
            if not arch.linear[m]:
                C *= top[start:stop, None]
            bend = bends[m]
            if bend is not None:
                C[np.arange(stop - start), np.arange(start, stop)] += bend[start:stop]
        _diagonal_strip(arch, work, m, start, C, hessian)
        for l in range(m - 1, -1, -1):
            C = params[l + 1][0].T @ C
            if not arch.linear[l]:
                C *= work.d1[l]
            if l == m - 1:
                lower[start:stop] = C
            _lower_strip(arch, work, m, l, start, C, tangents[l], hessian)
    return lower


def _tangents(arch: Architecture, params: list[Pair], work: Workspace, m: int) -> dict[int, Array]:
    """``V_{m-1,l}`` ``(w_{m-1}, w_l, B)`` for l < m - 1; for l = m - 1 its diagonal
    ``(w_{m-1}, B)``.
    """
    if m == 0:
        return {}
    V: Array = work.d1[m - 1]
    found = {m - 1: V}
    for l in range(m - 2, -1, -1):
        W = params[l + 1][0]
        V = W[:, :, None] * V[:, None] if l == m - 2 else W.T @ V
        if not arch.linear[l]:
            V *= work.d1[l]
        found[l] = V
    return found


def _diagonal_strip(
    arch: Architecture, work: DeepWorkspace, m: int, start: int, C: Array, hessian: Array
) -> None:
    """Add ``sum S_m[i,j] z[q] z[k]`` for the rows i of ``C`` ``(I, w_m, B)`` and all j up to the
    last of them.
    """
    count = len(C)
    size = C.shape[2]
    stop = start + count
    Z = work.inputs[m][: arch.layout.blocks[m].fan_in + arch.layout.blocks[m].bias]
    d = len(Z)
    target = _Pair(arch, m, m, hessian)
    moments: Array
    if d <= FEW_MOMENTS:
        products = (Z[:, None] * Z).reshape(d * d, size)
        moments = (C[:, :stop].reshape(-1, size) @ products.T).reshape(count, stop, d, d)
        target.add(slice(start, stop), slice(stop), moments.transpose(0, 2, 1, 3))
        return
    for i, columns in _tiles(count, stop, d * size):
        j = slice(
            columns.start, min(columns.stop, start + i.stop)
        )  # the rest is above the diagonal
        weighted = _product(C[i, j, None], Z, work.strip)
        moments = (weighted.reshape(-1, size) @ Z.T).reshape((*weighted.shape[:3], d))
        target.add(_shift(i, start), j, moments.transpose(0, 3, 1, 2))


def _lower_strip(
    arch: Architecture,
    work: DeepWorkspace,
    m: int,
    l: int,
    start: int,
    C: Array,
    V: Array,
    hessian: Array,
) -> None:
    """Add the block of layers m > l for the rows i of ``C = C_{m,l}`` ``(I, w_l, B)``."""
    upper = arch.layout.blocks[m]
    lower = arch.layout.blocks[l]
    Zm = work.inputs[m][: upper.fan_in + upper.bias]
    Zl = work.inputs[l][: lower.fan_in + lower.bias]
    count, width, size = C.shape
    target = _Pair(arch, m, l, hessian)
    sums: Array
    rows = slice(start, start + count)
    if len(Zl) <= len(Zm):  # first term: C times the shorter inputs, then BLAS with the longer ones
        for i, j in _tiles(count, width, len(Zl) * size):
            part = _product(C[i, j, None], Zl, work.strip)
            sums = (part.reshape(-1, size) @ Zm.T).reshape((*part.shape[:3], len(Zm)))
            target.add(_shift(i, start), j, sums.transpose(0, 3, 1, 2))
    else:
        for i, k in _tiles(count, len(Zm), width * size):
            part = _product(C[i, None], Zm[k, None], work.strip)
            sums = (part.reshape(-1, size) @ Zl.T).reshape((*part.shape[:3], len(Zl)))
            target.add(_shift(i, start), slice(width), sums, k)
    delta = work.delta[m][rows, None] * Zl  # (I, d_l, B)
    if l == m - 1:
        target.add_diagonal(rows, (delta.reshape(-1, size) @ V.T).reshape(count, len(Zl), width))
    else:
        sums = (delta.reshape(-1, size) @ V.reshape(-1, size).T).reshape(
            count, len(Zl), upper.fan_in, width
        )
        target.add(rows, slice(width), sums.transpose(0, 2, 3, 1), slice(upper.fan_in))


def _tiles(rows: int, columns: int, floats: int) -> Iterator[tuple[slice, slice]]:
    """Cover rows x columns, ``floats`` numbers each, by tiles that fit into the strip: several
    rows, or part of one.
    """
    capacity = max(1, STRIP_BYTES // (8 * floats))
    height = max(1, capacity // columns)
    width = min(columns, capacity)
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))


def _product(a: Array, b: Array, strip: Array) -> Array:
    """``a * b``, in the memory of ``strip`` where it fits."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    size = math.prod(shape)
    return np.multiply(a, b, out=strip[:size].reshape(shape) if size <= len(strip) else None)


def _shift(part: slice, start: int) -> slice:
    return slice(start + part.start, start + part.stop)


class _Pair:
    """Views of the Hessian's block of layers m and l: weights and biases of both, units and inputs
    as own indices.
    """

    def __init__(self, arch: Architecture, m: int, l: int, hessian: Array) -> None:
        upper = arch.layout.blocks[m]
        lower = arch.layout.blocks[l]
        shape = (upper.width, upper.fan_in, lower.width, lower.fan_in)
        self.weights = hessian[upper.weights, lower.weights].reshape(shape)
        self.right = (
            hessian[upper.weights, lower.biases].reshape(*shape[:2], -1) if lower.bias else None
        )
        self.left = (
            hessian[upper.biases, lower.weights].reshape(upper.width, *shape[2:])
            if upper.bias
            else None
        )
        self.both = hessian[upper.biases, lower.biases] if upper.bias and lower.bias else None
        self.fan_in = upper.fan_in
        self.lower_fan_in = lower.fan_in

    def add(self, i: slice, j: slice, sums: Array, k: slice | None = None) -> None:
        """Add ``sums[i, k, j, q]``, where the last k and q are the biases; ``k`` restricts the
        inputs of layer m.
        """
        first, stop = (0, self.fan_in + 1) if k is None else (k.start or 0, k.stop)
        dim = min(stop, self.fan_in) - first
        q = self.lower_fan_in
        if dim > 0:
            self.weights[i, first : first + dim, j] += sums[:, :dim, :, :q]
            if self.right is not None:
                self.right[i, first : first + dim, j] += sums[:, :dim, :, q]
        if self.left is not None and sums.shape[1] > dim:
            self.left[i, j] += sums[:, dim, :, :q]
            if self.both is not None:
                self.both[i, j] += sums[:, dim, :, q]

    def add_diagonal(self, i: slice, sums: Array) -> None:
        """Add ``sums[i, q, j]`` where the input k of layer m is the neuron j of the layer below."""
        both = np.arange(self.fan_in)
        self.weights[i][:, both, both] += sums[:, : self.lower_fan_in].transpose(0, 2, 1)
        if self.right is not None:
            self.right[i][:, both, both] += sums[:, -1]


def _complete_bias_rows(arch: Architecture, m: int, hessian: Array) -> None:
    """Rows of biases i and columns of weights of neurons j > i, which were summed as their mirror
    images.
    """
    block = arch.layout.blocks[m]
    shape = (block.width, block.fan_in)
    rows = hessian[block.biases, block.weights].reshape(block.width, *shape)
    columns = hessian[block.weights, block.biases].reshape(*shape, block.width)
    for i in range(block.width):
        rows[i, i + 1 :] = columns[i + 1 :, :, i]
