"""A finite-data loss as a sum of squares: residuals in compensated arithmetic, and their Jacobian.

Next to a solution with loss zero the residuals are small differences of outputs and targets of
order one. Affine maps are summed with their rounding errors, so that what is left is the rounding
of activations and targets themselves, about 1e-16, and the loss is meaningful down to 1e-32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._validation import Array
from ...deadline import ask
from ...errors import MethodError, TooLargeError
from ...memory import shortage
from . import sum_of_squares_kernels as kernels
from .backprop import Data, Workspace, activate, block_size, blocks, errors, forward
from .covariance import CovarianceWorkspace, sample_gradients

if TYPE_CHECKING:
    from .net import Net

_EPS = float(np.finfo(float).eps)


def residuals(net: Net, theta: Array) -> Array:
    """The vector r with ``|r|^2`` the loss, sample by sample and output by output, then those of
    the regularisation.

    Its length is the same for every theta.
    """
    data = _squares(net)
    root = _roots(data)
    phi = net.scaled(theta)
    arch = net.architecture
    params = arch.layout.views(phi)
    out = np.empty((len(data.X), net.output_dim))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(data.X), 1024):
            ask()
            high = np.ascontiguousarray(data.X[start : start + 1024].T)
            low = np.zeros_like(high)
            for index, (W, b) in enumerate(params):
                h, h_low = (np.empty((len(W), high.shape[1])) for _ in range(2))
                kernels.affine(W, np.zeros(len(W)) if b is None else b, high, low, h, h_low)
                if arch.linear[index]:
                    high = h
                    low = h_low
                    continue
                jet = np.empty((2, *h.shape))
                activate(arch.groups[index], h, jet)
                high = jet[0]
                low = jet[1] * h_low
            out[start : start + 1024] = ((high - data.target[start : start + 1024].T) + low).T
    out *= root[:, None]
    return np.concatenate([out.ravel(), net.regularization.residuals(net.normalized(theta))])


def jacobian(net: Net, theta: Array) -> Array:
    """The Jacobian ``(M, P)`` of :func:`residuals`.

    Raises
    ------
    TooLargeError
        If it would not fit in memory.
    """
    data = _squares(net)
    arch = net.architecture
    N = len(data.X)
    O = net.output_dim
    arch.require_derivatives(1)
    rows = N * O + net.regularization.num_residuals(len(theta))
    _require_memory(rows, len(theta))
    J = np.zeros((rows, len(theta)))
    by_sample = J[: N * O].reshape(N, O, len(theta))
    phi = net.scaled(theta)
    root = _roots(data)
    block = block_size(N, Workspace.floats_per_sample(arch, 1) + len(phi))
    work: CovarianceWorkspace = arch.borrow(CovarianceWorkspace, block)
    params = arch.layout.views(phi)
    with np.errstate(over="ignore", invalid="ignore"):
        for number, (X, _) in enumerate(blocks(data, block, work.w)):
            start = min(number * block, N - block)
            forward(arch, params, X, work)
            for o in range(O):
                work.delta[-1][:] = 0.0
                work.delta[-1][o] = 1.0
                errors(arch, params, work)
                sample_gradients(arch, X, work)
                by_sample[start : start + block, o] = work.rows.T
        by_sample *= root[:, None, None]
        if net.factors is not None:
            J *= net.factors
        net.regularization.fill_jacobian(net.normalized(theta), J[N * O :])
        if net.unit_rows is not None:
            J = np.ascontiguousarray(net.unit_rows.times_jacobian(theta, J.T).T)
    arch.give_back(work, block)
    return J


def loss_rounding(net: Net, theta: Array, value: float) -> float | None:
    """Rounding error to expect of a loss ``value``: small if the loss is, since a sum of squares
    does not cancel.

    Errors of the residuals are taken from the terms of the outputs on the first samples. None for
    other losses.
    """
    if not net.loss.is_sum_of_squares:
        return None
    data = net.data
    arch = net.architecture
    block = min(len(data.X), 128)
    work: Workspace = arch.borrow(Workspace, block, 0)
    params = arch.layout.views(net.scaled(theta))
    forward(arch, params, data.X[:block], work)
    A, c = params[-1]
    inner = work.z[-2] if len(params) > 1 else data.X[:block].T
    terms = np.abs(A) @ np.abs(inner) + np.abs(data.target[:block].T)
    if c is not None:
        terms += np.abs(c)[:, None]
    arch.give_back(work, block, 0)
    scale = _EPS * len(params) * float(np.sqrt((terms**2).sum(axis=0).mean()))
    return 4.0 * _EPS * abs(value) + 2.0 * scale * abs(value) ** 0.5 + scale * scale


def _squares(net: Net) -> Data:
    if not net.loss.is_sum_of_squares:
        raise MethodError(
            "levenberg_marquardt needs a sum of squares, loss 'mse'; this net has "
            f"{net.loss_name!r}. "
            "Use optimizer='newton'."
        )
    return net.data


def _roots(data: Data) -> Array:
    """Roots of the normalised weights (N,)."""
    N = len(data.X)
    return np.full(N, 1.0 / np.sqrt(N)) if data.weights is None else np.sqrt(data.weights)


def _require_memory(rows: int, num_params: int) -> None:
    needed = 8 * rows * num_params
    available = shortage(needed, share=3)  # the factorisation takes a copy
    if available is not None:
        raise TooLargeError(
            f"the Jacobian of {rows} residuals and {num_params} parameters takes "
            f"{needed / 2**30:.1f} GiB, more than a third of the "
            f"{available / 2**30:.1f} GiB available. Use optimizer='newton' or 'lbfgs'."
        )
