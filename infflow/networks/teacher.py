"""The teacher: a network with fixed parameters that labels the input, with or without noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, as_number, as_rng, public
from ..errors import InvalidTypeError
from .finite.net import Net
from .parameters import finite


class Teacher:
    """A network and its parameters; ``noise`` is the standard deviation of independent label noise.

    Parameters
    ----------
    net : Net
        Architecture of the teacher (data in it is not used).
    theta : array (P,)
        Its parameters.
    noise : float
        Standard deviation of Gaussian noise added to every output of every sample; it adds
        ``noise**2`` per output to the infinite-data loss.

    See Also
    --------
    NetI : takes it.
    FunctionTeacher : a function in its place.
    PolynomialTeacher : a polynomial in its place.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> teacher = inf.Teacher(net, [1.0, 0.0, 1.0], noise=0.1)
    >>> round(inf.loss(inf.NetI(net, teacher), [1.0, 0.0, 1.0]), 6)
    0.01
    """

    @public
    def __init__(self, net: Net, theta: ArrayLike, noise: float = 0.0) -> None:
        if not isinstance(net, Net):
            raise InvalidTypeError(
                f"the teacher's net is a {type(net).__name__}; an inf.Net is needed."
            )
        self.net = net
        self.theta: Array = net.layout.check(theta).copy()
        self.noise = as_number("noise", noise, minimum=0.0)

    @property
    def input_dim(self) -> int:
        """Number of inputs."""
        return self.net.input_dim

    @property
    def output_dim(self) -> int:
        """Number of outputs."""
        return self.net.output_dim

    def predict(self, X: Any) -> Array:
        """Noise-free outputs ``(N, D_out)`` for inputs ``(N, D_in)``; raises DivergedError where
        numbers overflow.
        """
        return self.net.predict(self.theta, X)

    def label(self, X: Any, rng: Any) -> Array:
        """Targets ``(N, D_out)``: the outputs with fresh label noise; raises DivergedError where
        numbers overflow.
        """
        y = self.predict(X)
        if self.noise == 0.0:
            return y
        with np.errstate(over="ignore"):
            return finite("the labels are", y + self.noise * as_rng(rng).standard_normal(y.shape))

    def __repr__(self) -> str:
        return f"Teacher({self.net!r}, noise={self.noise:g})"
