r"""The Sobolev objective of one part of a surrogate: a sum of squares over points with ten rows
each.

A row is a weighted combination of the errors of value, first and second derivatives of the
potential; the perceptron enters by its own exact derivatives (jets). Its Jacobian in the parameters
is a sum of outer products,

    d(jet row b of the output) / dW_l = sum_c D_l[b, c] (x) z_(l-1)[c],

c over the rows of the jet from which row b is made: 28 pairs (b, c). So the Gram matrix of the rows
of the Jacobian comes from the Gram matrices of D and z, entry by entry, at a hundredth of the
memory and a tenth of the operations of the Jacobian itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...integrals.surrogate.form import PAIRS, SIZE, compose

Index = NDArray[np.integer]

#: Row b of the jet of a function of h depends on row c of the jet of h: pairs (b, c) sorted by b.
_ROWS: list[tuple[int, int]] = [(0, 0)]
for _a in (1, 2, 3):
    _ROWS += [(_a, 0), (_a, _a)]
for _row, (_i, _j) in enumerate(PAIRS, start=4):
    _ROWS += [(_row, 0), (_row, _row), *dict.fromkeys([(_row, _i), (_row, _j)])]
DEPENDENCES = tuple(_ROWS)
_PLACE = {pair: k for k, pair in enumerate(DEPENDENCES)}


class Layer:
    """A hidden layer of tanh neurons at n points: jets of its sums h ``(10, n, w)`` and outputs z,
    and how rows depend on rows.
    """

    def __init__(self, z: Array, W: Array, b: Array) -> None:
        self.h = z @ W.T
        self.h[0] += b
        y = np.tanh(self.h[0])
        self._s1 = 1.0 - y * y
        self._s2 = -2.0 * y * self._s1
        self._s3 = -2.0 * self._s1 * (1.0 - 3.0 * y * y)
        self.z = compose((y, self._s1, self._s2), self.h)

    @cached_property
    def slopes(self) -> Array:
        """dz[b]/dh[c] ``(28, n, w)`` for the pairs (b, c) in :data:`DEPENDENCES`."""
        h = self.h
        out = np.empty((len(DEPENDENCES), *self._s1.shape))
        for k, (b, c) in enumerate(DEPENDENCES):
            if b == c:
                out[k] = self._s1
            elif b < 4:
                out[k] = self._s2 * h[b]
            else:
                i, j = PAIRS[b - 4]
                if c == 0:
                    out[k] = self._s2 * h[b] + self._s3 * h[i] * h[j]
                else:
                    out[k] = self._s2 * h[i + j - c] * (2.0 if i == j else 1.0)
        return out


def chain(outer: Array, inner: Array) -> Array:
    """Dependences (28, n, w) of a composition: sum over rows c of outer[b, c] inner[c, d]."""
    out = np.zeros_like(inner)
    for k, (b, c) in enumerate(DEPENDENCES):
        for d in range(SIZE):
            if (c, d) in _PLACE:
                out[_PLACE[b, d]] += outer[k] * inner[_PLACE[c, d]]
    return out


class JetLinearisation:
    """Residuals of n points (10 n rows, row b of point k at b n + k) and products with their
    Jacobian.

    Parameters
    ----------
    network : list of (W, b)
        Three layers, one output.
    features : (10, n, d) array
        Jets of the inputs.
    rows : (n, 10, 10) array
        Residuals are ``rows @ jet of the output - targets``.
    targets : (n, 10) array
    """

    def __init__(
        self, network: list[tuple[Array, Array]], features: Array, rows: Array, targets: Array
    ) -> None:
        (W1, b1), (W2, b2), (W3, b3) = network
        self.network = network
        self.features = features
        self.rows = rows
        self.first = Layer(features, W1, b1)
        self.second = Layer(self.first.z, W2, b2)
        output = (self.second.z @ W3.T)[..., 0]
        output[0] += b3
        self.residuals = self._weighted(output) - targets.T.ravel()

    def _weighted(self, jet: Array) -> Array:
        """Rows (10 n,) of jets (10, n) of the output."""
        weighted: Array = np.einsum("nab,bn->an", self.rows, jet).ravel()
        return weighted

    @cached_property
    def _sensitivities(self) -> tuple[Array, Array]:
        """D of the two hidden layers, each (28, n, w)."""
        W2 = self.network[1][0]
        W3 = self.network[2][0]
        second = self.second.slopes * W3[0]
        return chain(second @ W2, self.first.slopes), second

    def gram(self) -> Array:
        """J J' (10 n, 10 n)."""
        n = self.features.shape[1]
        z1, z2 = self.first.z, self.second.z
        total = _inner(z2, 0.5)
        total[:n, :n] += np.triu(np.ones((n, n))) - 0.5 * np.eye(n)
        first, second = self._sensitivities
        _add_products(total, first, _inner(self.features), n)
        _add_products(total, second, _inner(z1), n)
        total += total.T
        # from jets of the output to weighted rows, on both sides
        for _ in range(2):
            by_row = total.reshape(SIZE, n, SIZE * n).transpose(1, 0, 2)
            total = (self.rows @ by_row).transpose(1, 0, 2).reshape(SIZE * n, SIZE * n).T
        return np.ascontiguousarray(total)

    def product(self, step: Array) -> Array:
        """J times a step (P,)."""
        (V1, c1), (V2, c2), (V3, c3) = self._split(step)
        output = (self.second.z @ V3.T)[..., 0]
        output[0] += c3
        first, second = self._sensitivities
        for D, z, V, c in ((first, self.features, V1, c1), (second, self.first.z, V2, c2)):
            change = z @ V.T
            change[0] += c
            for k, (b, row) in enumerate(DEPENDENCES):
                output[b] += np.einsum("nw,nw->n", D[k], change[row])
        return self._weighted(output)

    def transposed_product(self, weights: Array) -> Array:
        """J' times weights (10 n,)."""
        n = self.features.shape[1]
        jet = np.einsum("nab,an->bn", self.rows, weights.reshape(SIZE, n))
        parts = []
        for D, z in zip(self._sensitivities, (self.features, self.first.z), strict=True):
            back = np.zeros((SIZE, *D.shape[1:]))
            for k, (b, row) in enumerate(DEPENDENCES):
                back[row] += jet[b][:, None] * D[k]
            parts += [np.tensordot(back, z, ((0, 1), (0, 1))).ravel(), back[0].sum(axis=0)]
        parts += [np.tensordot(jet, self.second.z, ((0, 1), (0, 1))), np.array([jet[0].sum()])]
        return np.concatenate(parts)

    def _split(self, step: Array) -> list[tuple[Array, Array]]:
        """The parts of a step in the shapes of the layers."""
        return split(step, [W.shape for W, _ in self.network])


def split(theta: Array, shapes: Sequence[tuple[int, ...]]) -> list[tuple[Array, Array]]:
    """Layers (W, b) as views of the flat vector."""
    layers = []
    start = 0
    for fan_out, fan_in in shapes:
        middle = start + fan_out * fan_in
        layers.append(
            (theta[start:middle].reshape(fan_out, fan_in), theta[middle : middle + fan_out])
        )
        start = middle + fan_out
    return layers


def _inner(z: Array, diagonal: float = 1.0) -> Array:
    """Upper triangle, the diagonal times ``diagonal``, of the Gram matrix of z (rows, n, w); for
    ``diagonal`` 1 the full one.
    """
    from scipy.linalg.blas import dsyrk

    flat = np.ascontiguousarray(z.reshape(-1, z.shape[-1]))
    upper: Array = dsyrk(1.0, flat.T, trans=1)
    if diagonal == 1.0:
        return flat @ flat.T
    upper.ravel(order="K")[:: len(upper) + 1] *= diagonal
    return upper


def _add_products(total: Array, D: Array, inputs: Array, n: int) -> None:
    """Add the part of one layer to the upper half of the Gram matrix of the jets of the output; the
    bias is an input of one.
    """
    inner = _inner(D, 0.5)
    inputs[:n, :n] += 1.0
    for p, (b1, c1) in enumerate(DEPENDENCES):
        left = inner[p * n : (p + 1) * n]
        factor = inputs[c1 * n : (c1 + 1) * n]
        for q in range(p, len(DEPENDENCES)):
            b2, c2 = DEPENDENCES[q]
            block = left[:, q * n : (q + 1) * n] * factor[:, c2 * n : (c2 + 1) * n]
            total[b1 * n : (b1 + 1) * n, b2 * n : (b2 + 1) * n] += block


class SobolevObjective:
    """Errors of a surrogate at fixed points, as a least-squares problem for
    ``infflow.fixedpoints.gauss_newton``.

    Parameters
    ----------
    features : (10, N, d) array
        Jets of the inputs at all points.
    rows : (N, 10, 10) array
        From the jet of the output to weighted errors; the prefactor is contained.
    targets : (N, 10) array
        What is to be learnt, in the same rows.
    shapes : list of (int, int)
        Shapes of the weights of the three layers.
    """

    def __init__(
        self, features: Array, rows: Array, targets: Array, shapes: list[tuple[int, int]]
    ) -> None:
        self.features = features
        self.rows = rows
        self.targets = targets
        self.shapes = shapes
        self.num_samples = len(rows)

    def linearise(self, theta: Array, samples: Index) -> JetLinearisation:
        """Residuals of these points and products with their Jacobian, all divided by the root of
        the number of points.
        """
        root = 1.0 / np.sqrt(len(samples))
        network = split(theta, self.shapes)
        features = np.ascontiguousarray(self.features[:, samples])
        return JetLinearisation(
            network, features, root * self.rows[samples], root * self.targets[samples]
        )

    def residuals(self, theta: Array, samples: Index) -> Array:
        """Residuals alone."""
        return self.linearise(theta, samples).residuals
