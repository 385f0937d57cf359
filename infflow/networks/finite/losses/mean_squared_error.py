"""The squared error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...._validation import Array
from ....compiler import njit
from .loss import Loss


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """``|z - y|^2``, summed over outputs, without a factor 1/2."""

    name = "mse"
    is_sum_of_squares = True
    curvature_is_constant = True
    is_zero_at_target = True
    is_compiled = True

    def value_and_gradient(self, z: Array, target: Array, w: Array, gradient: Array) -> float:
        """Value; the gradient is ``2 w (z - y)``."""
        return float(_residual(z, target, w, gradient))

    def curvature(self, z: Array, target: Array, w: Array, out: Array) -> None:
        """``2 w 1``."""
        out[:] = 0.0
        for i in range(len(z)):
            np.multiply(w, 2.0, out=out[i, i])

    def directional(self, z: Array, target: Array, w: Array, rz: Array, out: Array) -> None:
        """``2 w rz``."""
        np.multiply(rz, 2.0 * w, out=out)

    def readable(self, z: Array, target: Array) -> tuple[float, Array, Array]:
        """``|z - y|^2`` with gradient and Hessian."""
        return float(np.sum((z - target) ** 2)), 2.0 * (z - target), 2.0 * np.eye(len(z))


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _residual(z: Array, y: Array, w: Array, c: Array) -> float:
    """``sum w |z - y|^2``; ``c = 2 w (z - y)`` ``(K, B)``, its gradient; ``y`` is ``(B, K)``."""
    total = 0.0
    for i in range(z.shape[0]):
        for n in range(z.shape[1]):
            r = z[i, n] - y[n, i]
            total += w[n] * r * r
            c[i, n] = 2.0 * w[n] * r
    return total
