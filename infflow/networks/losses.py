"""The two losses of finite data, per block of samples: value and derivatives with respect to the outputs.

Both are means over samples, or with weights ``sum w l / sum w``. Outputs ``z`` are ``(K, B)``, weights ``w`` ``(B,)``
sum to one over all blocks.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, as_choice, as_real_array, counted
from ..errors import InvalidValueError, ShapeError
from . import net_kernels as kernels


class Loss(Protocol):
    """A sum over samples of a twice differentiable function of the outputs and the target."""

    name: str

    def check_target(self, target: Any, num_samples: int, outputs: int) -> NDArray[Any]:
        """The target as the array that the kernels read, its first index the sample."""

    def residual(self, z: Array, target: NDArray[Any], w: Array, c: Array) -> float:
        """The sum; writes its gradient with respect to ``z`` to ``c`` ``(K, B)``."""

    def curvature(self, z: Array, w: Array, out: Array) -> None:
        """Write the Hessian with respect to ``z`` to ``out`` ``(K, K, B)``."""

    def directional(self, z: Array, w: Array, rz: Array, out: Array) -> None:
        """Write that Hessian times the directions ``rz`` ``(K, m, B)`` to ``out``, of the same shape."""


class MeanSquaredError:
    """``|z - y|^2``, summed over outputs, without a factor 1/2."""

    name = "mse"

    def check_target(self, target: Any, num_samples: int, outputs: int) -> Array:
        """``(N, K)`` float64; ``(N,)`` is accepted for one output."""
        y = as_real_array("target", target)
        if y.shape == (num_samples,) and outputs == 1:
            y = y.reshape(-1, 1)
        if y.shape != (num_samples, outputs):
            also = f" or ({num_samples},)" if outputs == 1 else ""
            raise ShapeError(
                f"target has shape {y.shape}; ({num_samples}, {outputs}){also} is needed for {counted(num_samples, 'sample')} and {counted(outputs, 'output')}."
            )
        return y

    def residual(self, z: Array, target: Array, w: Array, c: Array) -> float:
        """Value; ``c = 2 w (z - y)``."""
        return kernels.mse_residual(z, target, w, c)

    def curvature(self, z: Array, w: Array, out: Array) -> None:
        """``2 w 1``."""
        out[:] = 0.0
        for i in range(len(z)):
            np.multiply(w, 2.0, out=out[i, i])

    def directional(self, z: Array, w: Array, rz: Array, out: Array) -> None:
        """``2 w rz``."""
        np.multiply(rz, 2.0 * w, out=out)


class CrossEntropy:
    """Negative log-likelihood of the softmax of the outputs, ``log sum exp z - z[label]``."""

    name = "cross_entropy"

    def check_target(self, target: Any, num_samples: int, outputs: int) -> NDArray[np.int64]:
        """``(N,)`` labels in 0..K-1 as int64."""
        if outputs < 2:
            raise InvalidValueError(
                "cross_entropy needs at least two outputs, one per class; widen the output layer, or use loss='mse'."
            )
        labels = as_real_array("target", target)
        if labels.shape != (num_samples,):
            raise ShapeError(
                f"target has shape {labels.shape}; cross_entropy needs one integer label per sample, ({num_samples},). "
                "Of rows with a single one take target.argmax(axis=1)."
            )
        if (labels != np.floor(labels)).any():
            raise InvalidValueError("target has labels that are not integers; cross_entropy needs classes 0, 1, ...")
        if labels.min() < 0 or labels.max() >= outputs:
            raise InvalidValueError(
                f"target has labels from {labels.min():g} to {labels.max():g}; {outputs} outputs need labels in 0..{outputs - 1}."
            )
        return labels.astype(np.int64)

    def residual(self, z: Array, target: NDArray[np.int64], w: Array, c: Array) -> float:
        """Value; ``c = w (p - onehot)``."""
        return kernels.cross_entropy_residual(z, target, w, c)

    def curvature(self, z: Array, w: Array, out: Array) -> None:
        """``w (diag(p) - p p')``."""
        kernels.cross_entropy_curvature(z, w, np.empty_like(z), out)

    def directional(self, z: Array, w: Array, rz: Array, out: Array) -> None:
        """``w (p rz - p (p . rz))``."""
        kernels.cross_entropy_directional(z, w, np.empty_like(z), rz, out)


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (MeanSquaredError(), CrossEntropy())}


def resolve_loss(name: Any) -> Loss:
    """The loss of that name."""
    return LOSSES[as_choice("loss", name, LOSSES)]
