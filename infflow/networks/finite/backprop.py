"""Value and gradient of a multilayer perceptron by backpropagation over blocks of samples.

Everything here works on the scaled parameters ``phi = factors * theta``, for which every layer is
``h = W z + b``; the parametrization is applied by the caller (:mod:`.net`). Arrays of neurons are
``(width, B)``, the sample last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array, counted
from ...activations import Activation
from ...deadline import ask
from ...errors import InvalidValueError
from ..parameters import Layer, Layout, Pair
from . import kernels
from .losses.loss import Loss

FEW_INPUTS = 16
"""Up to this input dimension the first layer is done by loops instead of BLAS."""

CACHE_BYTES = 2**20
"""A block of samples of value and gradient is meant to stay in this much cache."""

MEMORY_BYTES = 24 * 2**20
"""No workspace is larger, unless that of a single sample is."""

NOTHING = np.empty(0)
"""In the place of the gradient of a bias that a layer does not have."""


@dataclass(frozen=True)
class Data:
    """Samples of a net: ``X`` ``(N, D)``, the checked target, weights (None: all 1/N), the loss.

    The weights sum to one, those of a subset to one on average.
    """

    X: Array
    target: NDArray[Any]
    weights: Array | None
    loss: Loss


class Architecture:
    """Layers, layout and how the activations of each layer are evaluated; keeps the workspaces for
    reuse.
    """

    def __init__(self, layers: tuple[Layer, ...], input_dim: int) -> None:
        self.layers = layers
        self.layout = Layout(input_dim, [(layer.width, layer.bias) for layer in layers])
        self.groups = tuple(_group(layer.activations) for layer in layers)
        self.linear = tuple(
            len(groups) == 1 and _is_identity(groups[0][0]) for groups in self.groups
        )
        self.widths = tuple(layer.width for layer in layers)
        self.num_neurons = sum(self.widths)
        self.max_order = min(f.max_order for groups in self.groups for f, _ in groups)
        self.few_inputs = input_dim <= FEW_INPUTS
        self.plain = len(layers) == 2 and self.linear[1] and self.few_inputs and self.widths[1] == 1
        self._pool: dict[tuple[Any, ...], list[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": {}}

    def borrow(self, kind: Any, block: int, *arguments: Any) -> Any:
        """A workspace ``kind(self, block, *arguments)``, used before or new; give it back after
        use.

        Taking from and adding to a list are atomic, so threads that share a net get different
        workspaces.
        """
        shelf = self._pool.setdefault((kind, block, *arguments), [])
        try:
            return shelf.pop()
        except IndexError:
            if len(self._pool) > 8:  # many block sizes: forget the workspaces of the others
                self._pool = {(kind, block, *arguments): shelf}
            return kind(self, block, *arguments)

    def give_back(self, workspace: Any, block: int, *arguments: Any) -> None:
        """Keep a workspace for the next call."""
        self._pool.setdefault((type(workspace), block, *arguments), []).append(workspace)

    def require_derivatives(self, order: int) -> None:
        """Raise if an activation has fewer than ``order`` derivatives."""
        if order <= self.max_order:
            return
        for groups in self.groups:
            for activation, _ in groups:
                if activation.max_order < order:
                    raise InvalidValueError(
                        f"activation {activation.name!r} has "
                        f"{counted(activation.max_order, 'derivative')}, but {order} are "
                        "needed here. Give them in Activation.from_callable, or use "
                        "Activation.from_sympy."
                    )


def _is_identity(activation: Activation) -> bool:
    return (
        activation.has_closed_form and activation.polynomial == (0.0, 1.0) and not activation.atoms
    )


def _group(activations: tuple[Activation, ...]) -> tuple[tuple[Activation, NDArray[np.intp]], ...]:
    """The different activations of a layer, each with the indices of its neurons."""
    members: dict[int, list[int]] = {}
    for index, activation in enumerate(activations):
        members.setdefault(id(activation), []).append(index)
    return tuple((activations[found[0]], np.array(found)) for found in members.values())


class Workspace:
    """Arrays for one block of ``B`` samples: pre-activations ``h``, ``z``, derivatives ``d1``,
    ``d2``, errors ``delta``.

    ``jets[l]`` is ``(order + 1, width, B)`` and holds z, d1, d2; for layers of identity activations
    z is h, d1 is one and d2 zero. ``xt`` ``(D + 1, B)`` holds the transposed inputs and a row of
    ones.
    """

    def __init__(self, arch: Architecture, block: int, order: int) -> None:
        dim = arch.layout.input_dim
        self.order = order
        self.w = np.empty(block)
        self.transposed = arch.few_inputs or order == 2
        self.xt = np.ones((dim + 1 if self.transposed else 0, block))
        self.no_bias = np.zeros(arch.widths[0])
        self.h = []
        self.jets = []
        self.delta = []
        for width, linear in zip(arch.widths, arch.linear, strict=True):
            jet = np.zeros((order + 1, width, block))
            if linear and order > 0:
                jet[1] = 1.0
            self.h.append(jet[0] if linear else np.empty((width, block)))
            self.jets.append(jet)
            self.delta.append(np.empty((width, block)))
        self.z = [jet[0] for jet in self.jets]
        self.d1 = [jet[1] for jet in self.jets] if order > 0 else []
        self.d2 = [jet[2] for jet in self.jets] if order > 1 else []

    @staticmethod
    def floats_per_sample(arch: Architecture, order: int) -> int:
        """Numbers stored per sample."""
        return (order + 3) * arch.num_neurons + arch.layout.input_dim + 2


@lru_cache
def block_size(num_samples: int, floats_per_sample: int, cache: int = CACHE_BYTES) -> int:
    """Samples per block: what fits into the cache, but at least 128 where memory allows, evenly
    divided.
    """
    largest = min(
        max(cache // (8 * floats_per_sample), 128), MEMORY_BYTES // (8 * floats_per_sample), 4096
    )
    largest = max(largest, 1)
    return -(-num_samples // -(-num_samples // largest))


def blocks(data: Data, block: int, w: Array) -> Iterator[tuple[Array, NDArray[Any]]]:
    """Inputs and targets of each block, all of the same size, after writing the weights of its
    samples to ``w``.

    The last block overlaps the one before it; the samples that both contain get weight zero in the
    last. Between blocks the clock is asked, see :mod:`infflow.deadline`.
    """
    num = len(data.X)
    for done in range(0, num, block):
        if done:
            ask()
        start = min(done, num - block)
        if data.weights is None:
            w[:] = 1.0 / num
        else:
            w[:] = data.weights[start : start + block]
        w[: done - start] = 0.0
        yield data.X[start : start + block], data.target[start : start + block]


def forward(arch: Architecture, params: list[Pair], X: Array, work: Workspace) -> None:
    """Fill ``h`` and ``jets`` of all layers for the inputs ``X`` ``(B, D)``."""
    z = X.T
    for index, (W, b) in enumerate(params):
        h = work.h[index]
        if index == 0 and arch.few_inputs:
            kernels.affine_from_rows(X, W, work.no_bias if b is None else b, work.xt, h)
        else:
            np.matmul(W, z, out=h)
            if b is not None:
                h += b[:, None]
        if not arch.linear[index]:
            activate(arch.groups[index], h, work.jets[index])
        z = work.z[index]
    if work.transposed and not arch.few_inputs:
        work.xt[:-1] = X.T


def activate(groups: tuple[tuple[Activation, NDArray[np.intp]], ...], h: Array, jet: Array) -> None:
    """Value and derivatives of every neuron with its own activation."""
    if len(groups) == 1:
        groups[0][0].jet(h, jet)
        return
    for activation, members in groups:
        part = np.empty((len(jet), len(members), h.shape[1]))
        activation.jet(h[members], part)
        jet[:, members] = part


def output_error(arch: Architecture, data: Data, target: NDArray[Any], work: Workspace) -> float:
    """Loss of the block; ``delta`` of the last layer becomes the gradient with respect to its
    *outputs*.
    """
    return data.loss.value_and_gradient(work.z[-1], target, work.w, work.delta[-1])


def backward(
    arch: Architecture, params: list[Pair], X: Array, work: Workspace, grads: list[Pair]
) -> None:
    """Turn ``delta`` of the last layer into pre-activation errors of all layers and add the
    gradient to ``grads``.

    The first layer's ``delta`` is left undefined where it has few inputs.
    """
    last = len(params) - 1
    if not arch.linear[last]:
        work.delta[last] *= work.d1[last]
    for index in range(last, 0, -1):
        W = params[index][0]
        delta = work.delta[index]
        gW, gb = grads[index]
        gW += delta @ work.z[index - 1].T
        if gb is not None:
            gb += delta.sum(axis=1)
        if index == 1 and arch.few_inputs:
            break
        np.matmul(W.T, delta, out=work.delta[index - 1])
        if not arch.linear[index - 1]:
            work.delta[index - 1] *= work.d1[index - 1]
    _first_layer(arch, params, X, work, grads)


def errors(arch: Architecture, params: list[Pair], work: Workspace) -> None:
    """Turn ``delta`` of the last layer from output errors into pre-activation errors of
    all layers.
    """
    for index in range(len(params) - 1, -1, -1):
        if not arch.linear[index]:
            work.delta[index] *= work.d1[index]
        if index > 0:
            np.matmul(params[index][0].T, work.delta[index], out=work.delta[index - 1])


def _first_layer(
    arch: Architecture, params: list[Pair], X: Array, work: Workspace, grads: list[Pair]
) -> None:
    gW, gb = grads[0]
    if not arch.few_inputs:
        gW += work.delta[0] @ X
        if gb is not None:
            gb += work.delta[0].sum(axis=1)
        return
    error = work.delta[0]
    slope = work.d1[0]
    if len(params) == 1:
        slope = np.ones_like(error)  # delta holds the slope already
    else:
        np.matmul(params[1][0].T, work.delta[1], out=error)
    kernels.first_layer_gradient(error, slope, work.xt, gW, NOTHING if gb is None else gb)


def value_and_gradient(
    arch: Architecture, phi: Array, data: Data, order: int
) -> tuple[float, Array | None]:
    """Loss and, for order 1, its gradient ``(P,)``, both with respect to the scaled parameters
    ``phi``.
    """
    arch.require_derivatives(order)
    block = block_size(len(data.X), Workspace.floats_per_sample(arch, order))
    work: Workspace = arch.borrow(Workspace, block, order)
    params = arch.layout.views(phi)
    gradient = np.zeros(len(phi)) if order else None
    grads = [] if gradient is None else arch.layout.views(gradient)
    value = 0.0
    for X, target in blocks(data, block, work.w):
        forward(arch, params, X, work)
        value += output_error(arch, data, target, work)
        if order:
            backward(arch, params, X, work, grads)
    arch.give_back(work, block, order)
    return value, gradient


def predict(arch: Architecture, phi: Array, X: Array) -> Array:
    """Outputs ``(N, K)`` for the inputs ``X`` ``(N, D)``."""
    out = np.empty((len(X), arch.widths[-1]))
    block = block_size(len(X), Workspace.floats_per_sample(arch, 0))
    work: Workspace = arch.borrow(Workspace, block, 0)
    params = arch.layout.views(phi)
    for done in range(0, len(X), block):
        start = min(done, len(X) - block)
        forward(arch, params, X[start : start + block], work)
        out[start : start + block] = work.z[-1].T
    arch.give_back(work, block, 0)
    return out
