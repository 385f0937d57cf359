"""Second moments of the gradients of outputs over data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dsyrk

from ..._validation import Array
from . import kernels
from .backprop import Workspace, block_size, blocks, errors, forward
from .covariance import CovarianceWorkspace, sample_gradients

if TYPE_CHECKING:
    from .net import Net


def fisher_of_data(net: Net, theta: Array) -> Array:
    """``sum_n w_n sum_o grad f_o grad f_o'`` (P, P) with weights that add up to one."""
    data = net.data
    arch = net.architecture
    arch.require_derivatives(1)
    phi = net.scaled(theta)
    total: Array = np.zeros((len(theta), len(theta)))  # lower triangle
    block = block_size(len(data.X), Workspace.floats_per_sample(arch, 1) + len(phi))
    work: CovarianceWorkspace = arch.borrow(CovarianceWorkspace, block)
    params = arch.layout.views(phi)
    with np.errstate(over="ignore", invalid="ignore"):
        for X, _ in blocks(data, block, work.w):
            np.sqrt(work.w, out=work.root)
            forward(arch, params, X, work)
            for o in range(net.output_dim):
                work.delta[-1][:] = 0.0
                work.delta[-1][o] = 1.0
                errors(arch, params, work)
                sample_gradients(arch, X, work)
                rows = net.pulled(theta, work.rows) * work.root
                dsyrk(1.0, rows.T, beta=1.0, c=total.T, trans=1, overwrite_c=1)
    arch.give_back(work, block)
    kernels.mirror(total)
    return total
