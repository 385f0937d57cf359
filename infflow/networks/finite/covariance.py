"""Covariance of the gradients of single samples, which sets how far finite data
moves a solution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dsyrk

from ..._validation import Array
from ...errors import InvalidValueError, ShapeError
from ...memory import require_memory
from ...threads import limit_for
from ..parameters import finite
from . import kernels
from .backprop import Architecture, Workspace, block_size, blocks, errors, forward, output_error

if TYPE_CHECKING:
    from .net import Net

#: how messages call it, and what to do where it does not fit
NAME = "the covariance of the gradients"
REMEDY = (
    "Use a network with fewer parameters, or gradients of your own on subsets: Net.subset and "
    "inf.gradient."
)


class CovarianceWorkspace(Workspace):
    """Adds ``rows`` ``(P, B)``, one gradient per column, and the roots of the samples' weights."""

    def __init__(self, arch: Architecture, block: int) -> None:
        super().__init__(arch, block, order=1)
        self.rows = np.empty((arch.layout.num_params, block))
        self.root = np.empty(block)


class GradientMoments:
    """Sums over samples of gradients and of their outer products, fed batch by batch.

    The regularisation is left out: ``g_n`` is the gradient of the loss of sample n alone.

    Parameters
    ----------
    num_params : int
        Number of parameters P.

    Raises
    ------
    TooLargeError
        If a ``(P, P)`` matrix would not fit in memory.
    """

    def __init__(self, num_params: int) -> None:
        require_memory(num_params, NAME, remedy=REMEDY)
        self.num_params = num_params
        self.weight = 0.0
        self._first = np.zeros(num_params)
        self._second: Array = np.zeros((num_params, num_params))  # lower triangle

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, net: Net, theta: Array) -> None:
        """Add all samples of ``net``, which count as ``len(X)`` in total, at ``theta``."""
        if net.num_params != self.num_params:
            raise ShapeError(f"net has {net.num_params} parameters; {self.num_params} are needed.")
        data = net.data
        theta = net.layout.check(theta)
        arch = net.architecture
        arch.require_derivatives(1)
        phi = net.scaled(theta)
        block = block_size(len(data.X), Workspace.floats_per_sample(arch, 1) + len(phi))
        work: CovarianceWorkspace = arch.borrow(CovarianceWorkspace, block)
        params = arch.layout.views(phi)
        total = float(len(data.X))
        for X, target in blocks(data, block, work.w):
            np.sqrt(work.w, out=work.root)
            work.w[:] = 1.0
            forward(arch, params, X, work)
            output_error(arch, data, target, work)
            errors(arch, params, work)
            sample_gradients(arch, X, work)
            rows = net.pulled(theta, work.rows) * work.root
            self._first += total * (rows @ work.root)
            dsyrk(total, rows.T, beta=1.0, c=self._second.T, trans=1, overwrite_c=1)
        arch.give_back(work, block)
        self.weight += total

    def mean(self) -> Array:
        """``(P,)`` mean gradient; infinite where numbers overflow, when :meth:`covariance` raises
        DivergedError.
        """
        if self.weight == 0.0:
            raise InvalidValueError("no samples were added; call add(net, theta) first.")
        return self._first / self.weight

    def covariance(self) -> Array:
        """``(P, P)`` covariance ``mean g g' - mean(g) mean(g)'``."""
        return _covariance(self._second.copy(), self.weight, self.mean())

    def finish(self) -> Array:
        """The same without another matrix of that size; nothing can be added afterwards."""
        second = self._second
        self._second = np.empty((0, 0))
        return _covariance(second, self.weight, self.mean())


@np.errstate(over="ignore", invalid="ignore")
def _covariance(second: Array, weight: float, mean: Array) -> Array:
    """Turn the lower triangle of the sum of outer products into the covariance, in place."""
    second /= weight
    for row, entry in zip(second, mean, strict=True):
        row -= entry * mean
    kernels.mirror(second)
    return finite("the covariance of the gradients is", second)


def sample_gradients(arch: Architecture, X: Array, work: CovarianceWorkspace) -> None:
    """``rows[:, n] =`` gradient of sample n: ``delta_i z_k`` for weights, ``delta_i``
    for biases.
    """
    z = X.T
    for index, block in enumerate(arch.layout.blocks):
        delta = work.delta[index]
        np.multiply(
            delta[:, None], z, out=work.rows[block.weights].reshape(block.width, block.fan_in, -1)
        )
        if block.bias:
            work.rows[block.biases] = delta
        z = work.z[index]


def gradient_covariance(net: Net, theta: Array) -> Array:
    """Covariance of the gradients ``g_n`` of single samples at ``theta``, weighted as the loss is.

    ``sum_n w_n g_n g_n' - gbar gbar'`` with weights that sum to one and ``gbar = sum_n w_n g_n``;
    the regularisation, which is the same for every sample, is left out.

    Parameters
    ----------
    net : Net
        A net with data.
    theta : ndarray (P,)

    Returns
    -------
    ndarray (P, P), symmetric positive semidefinite

    Raises
    ------
    ShapeError, InvalidValueError
        If ``theta`` cannot be used, or the net has no data.
    TooLargeError
        If the matrix would not fit in memory.
    DivergedError
        If numbers overflow.
    """
    moments = GradientMoments(net.num_params)
    with limit_for(net.num_params):
        moments.add(net, theta)
        return moments.finish()
