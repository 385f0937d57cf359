"""What JAX and PyTorch ask of a loss: values, gradients, products, for one point or many."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import Array, as_flag
from ..errors import InvalidTypeError
from ..networks import functions
from ..networks.infinite.joint import JointLoss
from ..networks.infinite.neti import NetI
from ..objective import HessianProducts, Objective

#: Step of differences relative to theta: the root of order three of the rounding.
_STEP = 6e-6


class Derivatives:
    """The loss of a network with its first and second derivatives.

    Parameters
    ----------
    net : Net or NetI
    teacher : bool
        Whether the parameters of the teacher are arguments, too.
    """

    def __init__(self, net: Any, teacher: bool) -> None:
        self.has_teacher = as_flag("teacher", teacher)
        if self.has_teacher and not isinstance(net, NetI):
            raise InvalidTypeError(
                f"net is a {type(net).__name__}, which has no teacher; an inf.NetI is needed."
            )
        self.objective: Objective = JointLoss(net) if self.has_teacher else net
        if not isinstance(self.objective, HessianProducts):
            raise InvalidTypeError(
                f"net is a {type(net).__name__}; an inf.Net with data or an inf.NetI is needed."
            )
        self.num_params = self.objective.num_params

    def value(self, theta: Any) -> Array:
        """The loss (), of theta (P,)."""
        return np.asarray(functions.loss(self.objective, _plain(theta)))

    def gradient(self, theta: Any) -> Array:
        """The gradient (P,)."""
        return functions.gradient(self.objective, _plain(theta))

    def hessian(self, theta: Any) -> Array:
        """The Hessian (P, P)."""
        return functions.hessian(self.objective, _plain(theta))

    def product(self, theta: Any, v: Any) -> Array:
        """The Hessian times v, for theta and v of shapes (P,) or (m, P), which broadcast."""
        theta = _plain(theta)
        v = _plain(v)
        if theta.ndim == 1 or len(theta) == 1:
            return functions.hvp(self.objective, theta.reshape(-1), v.T).T
        v = np.broadcast_to(v, theta.shape)
        pairs = zip(theta, v, strict=True)
        return np.stack([functions.hvp(self.objective, a, b) for a, b in pairs])

    def third(self, theta: Array, v: Array, w: Array) -> Array:
        """Third derivative in the directions v and w, (P,): the central difference of products."""
        size = float(np.linalg.norm(w))
        if size == 0.0:
            return np.zeros_like(theta)
        step = _STEP * max(1.0, float(np.linalg.norm(theta))) / size
        up, down = (self.product(theta + s * step * w, v) for s in (1, -1))
        return (up - down) / (2.0 * step)


def _plain(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)
