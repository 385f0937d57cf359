"""A point of an infinite-data network, judged in the inputs that its weights span.

Outside of the span the Hessian is the same K x K matrix along every input (of one eigenvalue of the
covariance). So the point is judged in the span and one input for each eigenvalue outside of it, and
what is found there is counted with its multiplicity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.infinite.reduction import Reduction, obstacle, smallest
from .point_kind import Classification


@dataclass(frozen=True)
class InFewInputs:
    """A point in the inputs that the weights span, and one more for each eigenvalue outside."""

    reduction: Reduction
    free: NDArray[np.intp]  #: free parameters of the extended network

    @classmethod
    def of(cls, net: Net | NetI, theta: Array, free: NDArray[np.intp]) -> InFewInputs | None:
        """The point ``theta`` (P,); None where nothing is saved, or rows are frozen in part."""
        if not isinstance(net, NetI) or obstacle(net):
            return None
        K = net.layout.blocks[0].width
        full = K * net.input_dim
        mask = np.zeros(net.num_params, dtype=bool)
        mask[free] = True
        rows = mask[:full].reshape(K, -1)
        if (rows != rows[:, :1]).any():
            return None
        red = smallest(net, theta)
        if not red.is_smaller:
            return None
        inputs = red.extended.input_dim
        return cls(red, np.flatnonzero(np.r_[np.repeat(rows[:, 0], inputs), mask[full:]]))

    @property
    def net(self) -> NetI:
        """The extended network."""
        return self.reduction.extended

    @property
    def theta(self) -> Array:
        """The point in it."""
        return self.reduction.extend(self.reduction.theta)

    @property
    def weights(self) -> Array:
        """How many parameters each free one stands for."""
        return self.reduction.weights[self.free]

    def whole(self, found: Classification) -> Classification:
        """What was found, with gradient and Newton step in all parameters."""
        rotation = self.reduction.extended_rotation()
        gradient = np.zeros(self.net.num_params)
        gradient[self.free] = self.net.evaluate(self.theta, 1).g[self.free]
        return replace(
            found,
            gradient_norm=rotation.largest(gradient),
            newton=replace(found.newton, step=rotation.lift(found.newton.step)),
            reduction=f"the span of weights: {self.reduction}",
        )
