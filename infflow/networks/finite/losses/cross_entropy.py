"""Cross-entropy of a softmax and labels of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array, as_real_array
from ....activations.vector_math import exp_, log1p_
from ....compiler import njit
from ....errors import InvalidValueError, ShapeError
from .loss import Loss


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Negative log-likelihood of the softmax of the outputs, ``log sum exp z - z[label]``."""

    name = "cross_entropy"
    needs_labels = True
    is_shift_invariant = True

    def check_outputs(self, outputs: int) -> None:
        """At least two."""
        if outputs < 2:
            raise InvalidValueError(
                "cross_entropy needs at least two outputs, one per class; widen the output layer."
            )

    def check_target(self, target: Any, num_samples: int, outputs: int) -> NDArray[np.int64]:
        """``(N,)`` labels in 0..K-1 as int64."""
        labels = as_real_array("target", target)
        if labels.shape != (num_samples,):
            raise ShapeError(
                f"target has shape {labels.shape}; cross_entropy needs one integer label per "
                f"sample, ({num_samples},). "
                "Of rows with a single one take target.argmax(axis=1)."
            )
        if (labels != np.floor(labels)).any():
            raise InvalidValueError(
                "target has labels that are not integers; cross_entropy needs classes 0, 1, ..."
            )
        if labels.min() < 0 or labels.max() >= outputs:
            raise InvalidValueError(
                f"target has labels from {labels.min():g} to {labels.max():g}; "
                f"{outputs} outputs need labels in 0..{outputs - 1}."
            )
        return labels.astype(np.int64)

    def value_and_gradient(
        self, z: Array, target: NDArray[np.int64], w: Array, gradient: Array
    ) -> float:
        """Value; the gradient is ``w (p - onehot)``."""
        return float(_residual(z, target, w, gradient))

    def curvature(self, z: Array, target: NDArray[np.int64], w: Array, out: Array) -> None:
        """``w (diag(p) - p p')``."""
        _curvature(z, w, np.empty_like(z), out)

    def directional(
        self, z: Array, target: NDArray[np.int64], w: Array, rz: Array, out: Array
    ) -> None:
        """``w (p rz - p (p . rz))``."""
        _directional(z, w, np.empty_like(z), rz, out)

    def readable(self, z: Array, target: int) -> tuple[float, Array, Array]:
        """With exponentials that may overflow."""
        p = np.exp(z) / np.sum(np.exp(z))
        value = np.log(np.sum(np.exp(z))) - z[target]
        return float(value), p - np.eye(len(p))[target], np.diag(p) - np.outer(p, p)


@njit(cache=True)
def _largest_output(z: Array, top: Array, which: NDArray[np.int64]) -> None:
    """Largest entry of each column of ``z`` ``(K, B)``, and its row, the first of several."""
    for n in range(z.shape[1]):
        top[n] = z[0, n]
        which[n] = 0
    for i in range(1, z.shape[0]):
        for n in range(z.shape[1]):
            above = z[i, n] > top[n]
            top[n] = z[i, n] if above else top[n]
            which[n] = i if above else which[n]


@njit(cache=True, fastmath={"contract"})
def _softmax(z: Array, p: Array) -> None:
    """``p = softmax(z)`` over the first index of ``z`` ``(K, B)``; returns nothing."""
    outputs, size = z.shape
    top = np.empty(size)
    which = np.empty(size, np.int64)
    total = np.zeros(size)
    _largest_output(z, top, which)
    for i in range(outputs):
        for n in range(size):
            e = exp_(z[i, n] - top[n])
            p[i, n] = e
            total[n] += e
    total = 1.0 / total
    for i in range(outputs):
        for n in range(size):
            p[i, n] *= total[n]


@njit(cache=True, fastmath={"contract"})
def _residual(z: Array, labels: NDArray[np.int64], w: Array, c: Array) -> float:
    """``sum w (log sum exp z - z[label])`` and ``c = w (softmax(z) - onehot)`` ``(K, B)``."""
    outputs, size = z.shape
    top = np.empty(size)
    which = np.empty(size, np.int64)
    _largest_output(z, top, which)
    # sum of exp(z - top) without the largest: log1p keeps losses far below 1e-16
    rest = np.zeros(size)
    for i in range(outputs):
        for n in range(size):
            e = exp_(z[i, n] - top[n])
            c[i, n] = 1.0 if which[n] == i else e
            rest[n] += 0.0 if which[n] == i else e
    # 1 - p[label], summed from the other entries without cancellation
    others = np.zeros(size)
    scale = w / (1.0 + rest)
    for i in range(outputs):
        for n in range(size):
            c[i, n] *= scale[n]
            others[n] += 0.0 if labels[n] == i else c[i, n]
    value = 0.0
    for n in range(size):
        value += w[n] * ((top[n] - z[labels[n], n]) + log1p_(rest[n]))
        c[labels[n], n] = -others[n]
    return value


@njit(cache=True)
def _curvature(z: Array, w: Array, p: Array, out: Array) -> None:
    """``out`` ``(K, K, B)``: ``w (diag(p) - p p')``, the Hessian with respect to ``z``."""
    _softmax(z, p)
    for i in range(z.shape[0]):
        for j in range(i + 1):
            for n in range(z.shape[1]):
                out[i, j, n] = -w[n] * p[i, n] * p[j, n]
                out[j, i, n] = out[i, j, n]
    for n in range(z.shape[1]):
        for i in range(z.shape[0]):
            out[i, i, n] = 0.0
            for j in range(z.shape[0]):  # rows sum to zero: no cancellation in p (1 - p)
                if j != i:
                    out[i, i, n] -= out[i, j, n]


@njit(cache=True)
def _directional(z: Array, w: Array, p: Array, rz: Array, out: Array) -> None:
    """``out = w (p rz - p (p . rz))`` for directions ``rz`` ``(K, m, B)``."""
    _softmax(z, p)
    outputs, count, size = rz.shape
    mean = np.empty(size)
    for a in range(count):
        mean[:] = 0.0
        for i in range(outputs):
            for n in range(size):
                mean[n] += p[i, n] * rz[i, a, n]
        for i in range(outputs):
            for n in range(size):
                out[i, a, n] = w[n] * p[i, n] * (rz[i, a, n] - mean[n])
