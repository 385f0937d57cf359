"""Value, gradient and Hessian of a perceptron with one hidden layer, few inputs and one output.

With an identity output, and for the Hessian a loss of constant curvature, such a network may be so
small that Python matters: a call of a kernel, or of a NumPy function, takes as long as ten neurons
on ten samples. So five kernels pass over a block of samples, on arrays that were laid out before.
The formulas are those of :mod:`.backprop` and :mod:`.hessian`, which serve all other networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from ..._validation import Array
from ...memory import require_memory
from . import kernels as net_kernels
from . import one_output_kernels as kernels
from .backprop import CACHE_BYTES, Architecture, Data, Workspace, activate, block_size, blocks
from .losses.loss import Loss

FEW_PRODUCTS = 2**15
"""Up to so many samples times parameters squared a loop multiplies the Jacobian with itself as
quickly as BLAS, and needs no look at the number of threads before.
"""

FEW_SAMPLES = 128
"""So many are always in one block."""

NOTHING = np.empty((0, 0))
"""In the place of the Hessian, or of the rows of the Jacobian, where there are none."""


def applies(arch: Architecture, order: int, loss: Loss) -> bool:
    """Whether derivatives up to ``order`` are to be had here."""
    return arch.plain and (order < 2 or loss.curvature_is_constant)


def is_compiled(arch: Architecture, loss: Loss) -> bool:
    """Whether all orders are to be had here, from machine code that never warns of overflow."""
    groups = arch.groups[0]
    return (
        applies(arch, 2, loss)
        and loss.is_compiled
        and all(activation.is_compiled for activation, _ in groups)
    )


def is_small(arch: Architecture, num_samples: int, order: int) -> bool:
    """Whether no product is large enough for BLAS, and for order 2 all samples are in one block."""
    if order < 2:
        return True
    few = num_samples <= FEW_SAMPLES
    return few and num_samples * arch.layout.num_params**2 <= FEW_PRODUCTS


class OneOutputWorkspace(Workspace):
    """Adds what the kernels pass on.

    ``rows`` ``(P, B)`` is empty where BLAS is not needed, ``slopes`` ``(H, d)`` are those of a
    block, and ``equal`` ``(B,)`` holds the weights of samples that are all in this block.
    ``flat_h`` and ``flat_jet`` are views of the hidden layer as its activation wants them.
    """

    def __init__(self, arch: Architecture, block: int, order: int, small: bool) -> None:
        super().__init__(arch, block, order)
        hidden, out = arch.layout.blocks
        self.biases = (hidden.bias, out.bias)
        self.rows = NOTHING if small else np.empty((arch.layout.num_params, block))
        self.slopes = np.empty((hidden.width, hidden.fan_in + hidden.bias))
        self.equal = np.full(block, 1.0 / block)
        self.flat_h = self.h[0].reshape(-1)
        self.flat_jet = self.jets[0].reshape(order + 1, -1)


def derivatives(
    arch: Architecture, phi: Array, data: Data, order: int
) -> tuple[float, Array | None, Array | None]:
    """Loss, gradient ``(P,)`` from order 1, Hessian ``(P, P)`` for order 2, with respect to the
    scaled parameters ``phi``.
    """
    arch.require_derivatives(order)
    num_params = len(phi)
    num_samples = len(data.X)
    gradient = hessian = None
    if order > 0:
        gradient = np.zeros(num_params)
    if order == 2:
        require_memory(num_params)
        hessian = np.empty((num_params, num_params))
    small = is_small(arch, num_samples, order)
    block = _block_size(arch, num_samples, order)
    work: OneOutputWorkspace = arch.borrow(OneOutputWorkspace, block, order, small)
    if block == num_samples:
        w = work.equal
        if data.weights is not None:
            w = work.w
            w[:] = data.weights
        elif not data.loss.is_compiled:  # one of the user's may write to it
            w = work.w
            w[:] = work.equal
        value = _errors(arch, phi, data, data.X, data.target, w, work)
        _add(phi, w, work, gradient, hessian, beta=0.0)
    else:
        value = 0.0
        beta = 0.0
        for X, target in blocks(data, block, work.w):
            value += _errors(arch, phi, data, X, target, work.w, work)
            _add(phi, work.w, work, gradient, hessian, beta)
            beta = 1.0
    if hessian is not None and not small:
        net_kernels.mirror(hessian)
    arch.give_back(work, block, order, small)
    return value, gradient, hessian


def _block_size(arch: Architecture, num_samples: int, order: int) -> int:
    """Samples of a block, as in :mod:`.backprop` and :mod:`.hessian`."""
    floats = Workspace.floats_per_sample(arch, order)
    if order < 2:
        return block_size(num_samples, floats)
    return block_size(num_samples, floats + arch.layout.num_params, 2 * CACHE_BYTES)


def _errors(
    arch: Architecture,
    phi: Array,
    data: Data,
    X: Array,
    target: NDArray[np.float64],
    w: Array,
    work: OneOutputWorkspace,
) -> float:
    """Loss of a block; ``delta`` of the output becomes its gradient with respect to the outputs."""
    bias1, bias2 = work.biases
    h, out = work.h
    kernels.hidden_layer(phi, X, bias1, work.xt, h)
    if not arch.linear[0]:
        groups = arch.groups[0]
        if len(groups) == 1:
            groups[0][0].jet(work.flat_h, work.flat_jet)
        else:
            activate(groups, h, work.jets[0])
    kernels.output_layer(phi, work.z[0], bias2, out)
    return data.loss.value_and_gradient(out, target, w, work.delta[1])


def _add(
    phi: Array,
    w: Array,
    work: OneOutputWorkspace,
    gradient: Array | None,
    hessian: Array | None,
    beta: float,
) -> None:
    """Add a block to the gradient, and to the lower triangle of ``beta`` times the Hessian; if it
    is small write the whole.
    """
    if gradient is None:
        return
    bias1, bias2 = work.biases
    jet = work.jets[0]
    xt = work.xt
    error = work.delta[1]
    slopes = work.slopes
    rows = work.rows
    if hessian is not None and not len(rows):
        kernels.small_derivatives(phi, jet, xt, error, w, bias1, bias2, slopes, gradient, hessian)
        return
    kernels.add_gradient(phi, jet, xt, error, bias1, bias2, slopes, gradient)
    if hessian is None:
        return
    a = phi[len(phi) - len(jet[0]) - bias2 :]
    net_kernels.tangent_rows(jet[0], jet[1], xt, w, a, bias1, bias2, rows)
    # the upper triangle of the transpose
    dsyrk(1.0, rows.T, beta=beta, c=hessian.T, trans=1, overwrite_c=1)
    kernels.add_residual_part(phi, jet, xt, error, bias2, slopes, hessian)
