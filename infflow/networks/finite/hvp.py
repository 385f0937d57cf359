"""Hessian-vector products by Pearlmutter's R-operator (Neural Comput. 6, 147, 1994), several
directions at once.

``R f = d/dr f(phi + r v)`` at r = 0. Arrays of directions are ``(width, m, B)``, so that every
product with a weight matrix is one matrix product for all directions and samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ..parameters import Pair
from .backprop import (
    CACHE_BYTES,
    MEMORY_BYTES,
    Architecture,
    Data,
    Workspace,
    block_size,
    blocks,
    forward,
    output_error,
)

Directions = list[tuple[Array, Array | None]]
"""Per layer: directions of ``W`` ``(width, m, fan_in)`` and of ``b`` ``(width, m)`` or None."""


KEPT_BYTES = 2**28
"""Passes over the data are kept by :class:`HessianOperator` up to this size, and repeated for every
product beyond.
"""

Pass = tuple[Array, NDArray[Any], Workspace]
"""Inputs and targets of a block, and its workspace after :func:`_linearize`."""


class HessianOperator:
    """The Hessian at ``phi`` ``(P,)``, for many products with it: the passes over the data are made
    once and kept.

    May be shared by threads: a product changes nothing in it.
    """

    def __init__(self, arch: Architecture, phi: Array, data: Data) -> None:
        arch.require_derivatives(2)
        self._arch = arch
        self._phi = phi
        self._data = data
        floats = Workspace.floats_per_sample(arch, 2)
        self._kept: list[Pass] | None = None
        if 8 * floats * len(data.X) <= KEPT_BYTES:
            self._kept = []
            block = block_size(len(data.X), floats + 4 * sum(arch.widths), cache=2 * CACHE_BYTES)
            params = arch.layout.views(phi)
            w = np.empty(block)
            for X, target in blocks(data, block, w):
                work = Workspace(arch, block, 2)
                work.w[:] = w
                _linearize(arch, params, X, data, target, work)
                self._kept.append((X, target, work))

    def __call__(self, v: Array) -> Array:
        """The Hessian with respect to ``phi`` times the columns of ``v`` ``(P, m)``."""
        if self._kept is None:
            return hvp(self._arch, self._phi, self._data, v)
        samples = len(self._kept[0][-1].w)

        def passes(count: int) -> list[Pass]:
            assert self._kept is not None
            return self._kept

        return _in_chunks(self._arch, self._phi, self._data, v, samples, passes)


def hvp(arch: Architecture, phi: Array, data: Data, v: Array) -> Array:
    """Hessian with respect to ``phi`` ``(P,)`` times the columns of ``v`` ``(P, m)``."""
    arch.require_derivatives(2)
    params = arch.layout.views(phi)

    def passes(count: int) -> Iterator[Pass]:
        floats = Workspace.floats_per_sample(arch, 2) + 4 * count * sum(arch.widths)
        block = block_size(len(data.X), floats, cache=2 * CACHE_BYTES)
        work: Workspace = arch.borrow(Workspace, block, 2)
        for X, target in blocks(data, block, work.w):
            _linearize(arch, params, X, data, target, work)
            yield X, target, work
        arch.give_back(work, block, 2)

    return _in_chunks(arch, phi, data, v, 128, passes)


def _linearize(
    arch: Architecture,
    params: list[Pair],
    X: Array,
    data: Data,
    target: NDArray[Any],
    work: Workspace,
) -> None:
    """Forward and backward pass: ``delta`` becomes the errors of the pre-activations, ``d2`` that
    of the outputs times d2.
    """
    forward(arch, params, X, work)
    output_error(arch, data, target, work)
    for index in range(len(params) - 1, -1, -1):
        delta = work.delta[index]
        if not arch.linear[index]:
            work.d2[index] *= delta
            delta *= work.d1[index]
        if index > 0:
            np.matmul(params[index][0].T, delta, out=work.delta[index - 1])


def _in_chunks(
    arch: Architecture,
    phi: Array,
    data: Data,
    v: Array,
    samples: int,
    passes: Callable[[int], Iterable[Pass]],
) -> Array:
    """Products with as many directions at once as fit in memory; ``samples`` of each block are sure
    to do.
    """
    out = np.empty_like(v)
    per_direction = 8 * samples * 4 * sum(arch.widths)
    chunk = max(
        1, min(v.shape[1], MEMORY_BYTES // (8 * len(phi)) or 1, MEMORY_BYTES // per_direction or 1)
    )
    for start in range(0, v.shape[1], chunk):
        part = v[:, start : start + chunk]
        out[:, start : start + chunk] = _some_directions(
            arch, phi, data, part, passes(part.shape[1])
        )
    return out


def _some_directions(
    arch: Architecture, phi: Array, data: Data, v: Array, passes: Iterable[Pass]
) -> Array:
    params = arch.layout.views(phi)
    count = v.shape[1]
    directions = [
        (
            np.ascontiguousarray(v[k.weights].reshape(k.width, k.fan_in, count).transpose(0, 2, 1)),
            v[k.biases] if k.bias else None,
        )
        for k in arch.layout.blocks
    ]
    sums: Directions = [
        (np.zeros_like(V), None if u is None else np.zeros(u.shape)) for V, u in directions
    ]
    for X, target, work in passes:
        rz, rh = _forward(arch, params, directions, X, work)
        re = np.empty_like(rz[-1])  # R of the gradient with respect to z
        data.loss.directional(work.z[-1], target, work.w, rz[-1], re)
        _backward(arch, params, directions, X, work, rz, rh, re, sums)
    out = np.empty((len(phi), count))
    for k, (RW, Rb) in zip(arch.layout.blocks, sums, strict=True):
        out[k.weights] = RW.transpose(0, 2, 1).reshape(-1, count)
        if Rb is not None:
            out[k.biases] = Rb
    return out


def _forward(
    arch: Architecture, params: list[Pair], directions: Directions, X: Array, work: Workspace
) -> tuple[list[Array], list[Array]]:
    """``R z`` and ``R h`` of every layer, ``(width, m, B)``."""
    rz, rh = [], []
    z = X.T
    below = None
    for index, ((W, _), (V, u)) in enumerate(zip(params, directions, strict=True)):
        width, count, fan_in = V.shape
        r = (V.reshape(-1, fan_in) @ z).reshape(width, count, -1)
        if below is not None:
            r += (W @ below.reshape(fan_in, -1)).reshape(r.shape)
        if u is not None:
            r += u[:, :, None]
        below = r if arch.linear[index] else work.d1[index][:, None] * r
        rh.append(r)
        rz.append(below)
        z = work.z[index]
    return rz, rh


def _backward(
    arch: Architecture,
    params: list[Pair],
    directions: Directions,
    X: Array,
    work: Workspace,
    rz: list[Array],
    rh: list[Array],
    re: Array,
    sums: Directions,
) -> None:
    """Add R of the gradient to ``sums``; ``re`` is that of the gradient with respect to the
    outputs.
    """
    for index in range(len(params) - 1, -1, -1):
        rdelta = re
        delta = work.delta[index]
        if not arch.linear[index]:
            rdelta *= work.d1[index][:, None]
            rh[index] *= work.d2[index][:, None]
            rdelta += rh[index]
        width, count, size = rdelta.shape
        below = work.z[index - 1] if index > 0 else X.T
        RW, Rb = sums[index]
        RW += (rdelta.reshape(-1, size) @ below.T).reshape(RW.shape)
        if Rb is not None:
            Rb += rdelta.sum(axis=2)
        if index == 0:
            return
        RW += (
            (delta @ rz[index - 1].reshape(-1, size).T).reshape(width, -1, count).transpose(0, 2, 1)
        )
        W = params[index][0]
        V = directions[index][0]
        re = (W.T @ rdelta.reshape(width, -1)).reshape(-1, count, size)
        re += (V.transpose(2, 1, 0).reshape(-1, width) @ delta).reshape(re.shape)
