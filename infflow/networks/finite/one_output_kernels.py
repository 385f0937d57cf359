"""Jitted passes over a block of samples: one hidden layer, few inputs, one identity output.

``theta`` ``(P,)`` is ``W`` ``(H, D)``, then ``b`` ``(H,)`` if ``bias1``, ``a`` ``(H,)``, and the
bias of the output if ``bias2``. Arrays of neurons are ``(H, B)``, the sample last; ``xt``
``(D + 1, B)`` are the transposed inputs with a row of ones. ``jet`` ``(order + 1, H, B)`` holds
values and derivatives of the hidden neurons; ``error`` ``(1, B)`` is the gradient of the loss with
respect to the outputs, and ``slopes`` ``(H, D + bias1)`` are ``sum_n error d1_j x_q`` of a
block.

Arrays are filled by loops: an assignment to a slice makes numba compile ten functions of its own.
"""

from __future__ import annotations

import numpy as np

from ...compiler import njit
from .kernels import affine_row, curvature_moments, mirror, tangent_rows

_FAST = {"reassoc", "contract", "nsz"}  # sums run on vectors


@njit(cache=True)
def hidden_layer(theta, X, bias1, xt, h):
    """``h = W x + b`` for ``X`` ``(B, D)``; fills the inputs of ``xt`` as well."""
    size, dim = X.shape
    for q in range(dim):
        x = xt[q]
        for n in range(size):
            x[n] = X[n, q]
    hidden = h.shape[0]
    for j in range(hidden):
        shift = theta[hidden * dim + j] if bias1 else 0.0
        affine_row(xt, theta[j * dim : (j + 1) * dim], shift, h[j])


@njit(cache=True)
def output_layer(theta, z, bias2, out):
    """Outputs ``(1, B)`` for hidden values ``z`` ``(H, B)``."""
    hidden, size = z.shape
    first = len(theta) - hidden - bias2
    row = out[0]
    for n in range(size):
        row[n] = 0.0
    for j in range(hidden):
        factor = theta[first + j]
        value = z[j]
        for n in range(size):
            row[n] += factor * value[n]
    if bias2:
        shift = theta[first + hidden]
        for n in range(size):
            row[n] += shift


@njit(cache=True, fastmath=_FAST)
def add_gradient(theta, jet, xt, error, bias1, bias2, slopes, gradient):
    """Add the gradient of a block, and write its ``slopes``."""
    _, hidden, size = jet.shape
    dim = xt.shape[0] - 1
    first = len(theta) - hidden - bias2
    e = error[0]
    t = np.empty(size)
    for j in range(hidden):
        value = jet[0, j]
        slope = jet[1, j]
        total = 0.0
        for n in range(size):
            total += e[n] * value[n]
            t[n] = e[n] * slope[n]
        gradient[first + j] += total
        for q in range(dim + bias1):
            x = xt[q]
            total = 0.0
            for n in range(size):
                total += t[n] * x[n]
            slopes[j, q] = total
            place = j * dim + q if q < dim else hidden * dim + j
            gradient[place] += theta[first + j] * total
    if bias2:
        total = 0.0
        for n in range(size):
            total += e[n]
        gradient[first + hidden] += total


@njit(cache=True)
def add_residual_part(theta, jet, xt, error, bias2, slopes, hessian):
    """Add the sum of errors times second derivatives of the output to the lower triangle."""
    hidden = jet.shape[1]
    dim = xt.shape[0] - 1
    d = slopes.shape[1]
    first = len(theta) - hidden - bias2
    curvatures = np.empty((hidden, d, d))
    for j in range(hidden):
        for q in range(d):
            for r in range(q + 1):
                curvatures[j, q, r] = 0.0
    curvature_moments(error, jet[2], xt, curvatures)
    for j in range(hidden):
        a = theta[first + j]
        bias = hidden * dim + j
        for q in range(d):
            row = j * dim + q if q < dim else bias
            hessian[first + j, row] += slopes[j, q]
            for r in range(q + 1):
                column = j * dim + r if r < dim else bias
                hessian[row, column] += a * curvatures[j, q, r]


@njit(cache=True)
def small_derivatives(theta, jet, xt, error, w, bias1, bias2, slopes, gradient, hessian):
    """Add the gradient of the only block, and write the Hessian ``(P, P)``; ``w`` ``(B,)`` are the
    weights of the samples.
    """
    hidden = jet.shape[1]
    first = len(theta) - hidden - bias2
    add_gradient(theta, jet, xt, error, bias1, bias2, slopes, gradient)
    rows = np.empty((len(theta), len(w)))
    tangent_rows(jet[0], jet[1], xt, w, theta[first : first + hidden], bias1, bias2, rows)
    _gram(rows, hessian)
    add_residual_part(theta, jet, xt, error, bias2, slopes, hessian)
    mirror(hessian)


@njit(cache=True, fastmath={"contract"})
def _gram(rows, out):
    """Lower triangle of ``rows rows'``, for few samples."""
    count, size = rows.shape
    columns = np.empty((size, count))
    for i in range(count):
        for n in range(size):
            columns[n, i] = rows[i, n]
    for i in range(count):
        target = out[i]
        for k in range(i + 1):
            target[k] = 0.0
        for n in range(0, size - 3, 4):  # four at a time: fewer loads and stores of the sums
            c0 = columns[n]
            c1 = columns[n + 1]
            c2 = columns[n + 2]
            c3 = columns[n + 3]
            f0 = c0[i]
            f1 = c1[i]
            f2 = c2[i]
            f3 = c3[i]
            for k in range(i + 1):
                target[k] += f0 * c0[k] + f1 * c1[k] + (f2 * c2[k] + f3 * c3[k])
        for n in range(size - size % 4, size):
            column = columns[n]
            factor = column[i]
            for k in range(i + 1):
                target[k] += factor * column[k]
