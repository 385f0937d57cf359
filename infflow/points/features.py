"""Linear dependences on the data: null inputs, and neurons whose outputs depend on each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..networks.net import Net
from ..networks.neti import NetI

# Singular values of unit columns below this are zero: from samples; from expectations, which give their squares.
_ZERO_OF_SAMPLES = 1e-10
_ZERO_OF_EXPECTATIONS = 1e-13


def input_null_space(net: Net | NetI, bias: bool) -> Array:
    """Orthonormal columns (D, or D + 1 with ``bias``; d) of combinations of inputs (and 1) that vanish on all inputs."""
    if isinstance(net, NetI):
        rows = []
        for _, mean, root in net.input.components():
            spread = np.eye(net.input_dim) if root is None else root.T
            rows += [np.column_stack([spread, np.zeros(len(spread))])]
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
    for layer, (W, b) in zip(net.layers[: number + 1], net.layout.views(net.scaled(theta)), strict=False):
        inputs, h = Z, np.ascontiguousarray((Z @ W.T + (0.0 if b is None else b)).T)
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
    G[K, :K], G[K, K] = G[:K, K], 1.0
    return G if bias else G[:K, :K]


def _samples(net: Net) -> Array:
    """Inputs of the samples that count."""
    data = net.data
    return data.X if data.weights is None else data.X[data.weights > 0.0]


def null_space(table: Array) -> Array:
    """Orthonormal columns of the null space of the rows, judged after scaling columns to length one."""
    size = np.sqrt(np.einsum("nd,nd->d", table, table))
    scaled = table / np.where(size > 0.0, size, 1.0)
    triangle = np.linalg.qr(scaled, mode="r") if len(scaled) > scaled.shape[1] else scaled
    _, values, rows = np.linalg.svd(triangle)
    values = np.append(values, np.zeros(len(rows) - len(values)))
    null = _unscale(rows[values <= _ZERO_OF_SAMPLES].T, size)
    if null.shape[1]:  # columns of very different lengths spoil some
        _, values, rows = np.linalg.svd(triangle @ (size[:, None] * null), full_matrices=False)
        null = null @ rows[values <= _ZERO_OF_SAMPLES * size.max(initial=0.0)].T
    return null


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
