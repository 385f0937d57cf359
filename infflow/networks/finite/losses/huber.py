"""Huber's loss: the squared error, which goes on linearly where it is large.

P. J. Huber, Ann. Math. Statist. 35 (1964) 73-101, times two, so that small errors count as in the
squared error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array, as_number
from ....compiler import njit
from .loss import Loss


@dataclass(frozen=True)
class Huber(Loss):
    """Squared errors up to delta, linear beyond, summed over outputs.

    ``e^2`` where ``|e| <= delta`` and ``2 delta |e| - delta^2`` elsewhere, with ``e = z - y``.

    The gradient is continuous. The curvature jumps at ``|e| = delta``; it is that of the inner side
    there.

    Parameters
    ----------
    delta : float
        Largest error that counts as in the squared error.

    Raises
    ------
    InfflowError
        If ``delta`` is not a positive number.
    """

    delta: float = 1.0

    is_zero_at_target = True
    is_compiled = True

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "delta", as_number("delta of huber", self.delta, minimum=0.0, strict=True)
        )

    @property
    def name(self) -> str:  # type: ignore[override]  # depends on delta
        """``"huber(1.0)"``, with delta to the last digit."""
        return f"huber({self.delta!r})"

    def value_and_gradient(self, z: Array, target: Array, w: Array, gradient: Array) -> float:
        """Value; the gradient is ``2 w e``, cut off at ``2 w delta`` on both sides."""
        return float(_residual(z, target, w, self.delta, gradient))

    def curvature(self, z: Array, target: Array, w: Array, out: Array) -> None:
        """``2 w`` on the diagonal where ``|e| <= delta``, and zero elsewhere."""
        out[:] = 0.0
        for i in range(len(z)):
            out[i, i] = 2.0 * w * self._is_small(z[i], target[:, i])

    def directional(self, z: Array, target: Array, w: Array, rz: Array, out: Array) -> None:
        """``2 w rz`` where ``|e| <= delta``, and zero elsewhere."""
        np.multiply(rz, (2.0 * w * self._is_small(z, target.T))[:, None], out=out)

    def readable(self, z: Array, target: Array) -> tuple[float, Array, Array]:
        """Output by output, case by case."""
        value = 0.0
        gradient = np.zeros(len(z))
        hessian = np.zeros((len(z), len(z)))
        for i, error in enumerate(z - target):
            if abs(error) <= self.delta:
                value += error**2
                gradient[i] = 2.0 * error
                hessian[i, i] = 2.0
            else:
                value += 2.0 * self.delta * abs(error) - self.delta**2
                gradient[i] = 2.0 * self.delta * np.sign(error)
        return float(value), gradient, hessian

    def _is_small(self, z: Array, y: Array) -> NDArray[np.bool_]:
        """Where the error counts as in the squared error."""
        return np.abs(z - y) <= self.delta


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _residual(z: Array, y: Array, w: Array, delta: float, c: Array) -> float:
    """``sum w l(z - y)``; ``c`` ``(K, B)`` is its gradient in ``z``; ``y`` is ``(B, K)``."""
    total = 0.0
    for i in range(z.shape[0]):
        for n in range(z.shape[1]):
            e = z[i, n] - y[n, i]
            size = abs(e)
            cut = min(size, delta)
            total += w[n] * cut * (2.0 * size - cut)  # both cases: cut is size, or delta
            c[i, n] = 2.0 * w[n] * np.copysign(cut, e)
    return total
