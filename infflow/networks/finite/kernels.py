"""Jitted passes over one block of samples.

Arrays of neurons have the sample as last index: ``z`` is ``(width, B)``. ``w`` ``(B,)`` are the
weights of the samples, which sum to one over all blocks. Reassociation of sums is allowed, so that
reductions run on vectors.
"""

from __future__ import annotations

import numpy as np

from ...compiler import njit

_FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True)
def affine_row(xt, weights, shift, row):
    """``row = shift + weights' x`` ``(B,)`` for few ``weights`` ``(D,)``."""
    dim = weights.size
    size = row.size
    x = xt[0]
    factor = weights[0]
    if dim == 2:
        x2 = xt[1]
        factor2 = weights[1]
        for n in range(size):
            row[n] = shift + factor * x[n] + factor2 * x2[n]
        return
    for n in range(size):
        row[n] = shift + factor * x[n]
    for q in range(1, dim):
        x = xt[q]
        factor = weights[q]
        for n in range(size):
            row[n] += factor * x[n]


@njit(cache=True)
def affine_from_rows(X, W, b, xt, h):
    """``xt[:D] = X'`` and ``h = W X' + b`` for ``X`` ``(B, D)`` with few columns; ``xt``
    ``(D + 1, B)``.
    """
    size, dim = X.shape
    for q in range(dim):
        for n in range(size):
            xt[q, n] = X[n, q]
    for j in range(h.shape[0]):
        affine_row(xt, W[j], b[j], h[j])


@njit(cache=True, fastmath=_FAST)
def first_layer_gradient(e, d1, xt, gW, gb):
    """Add the gradient of the first layer, with few inputs: ``sum_n e_j d1_j x`` and, unless ``gb``
    is empty, of its bias.

    ``e`` ``(H, B)`` is the gradient with respect to its outputs, ``d1`` the derivative of its
    activations.
    """
    size = d1.shape[1]
    t = np.empty(size)
    for j in range(d1.shape[0]):
        error = e[j]
        slope = d1[j]
        total = 0.0
        for n in range(size):
            t[n] = error[n] * slope[n]
            total += t[n]
        if len(gb):
            gb[j] += total
        for q in range(gW.shape[1]):
            x = xt[q]
            total = 0.0
            for n in range(size):
                total += t[n] * x[n]
            gW[j, q] += total


@njit(cache=True)
def tangent_rows(z, d1, xt, w, a, bias1, bias2, rows):
    """Rows of the scaled Jacobian of one output of a one-hidden-layer net with output weights ``a``
    ``(H,)``.

    In the order of theta: ``a_j d1_j x_q`` (row ``j D + q``), ``a_j d1_j`` if ``bias1``, ``z_j``, 1
    if ``bias2``, all times ``sqrt(2 w)``; ``rows`` is ``(H D + H bias1 + H + bias2, B)``.
    """
    hidden, size = z.shape
    dim = xt.shape[0] - 1
    b1 = hidden * dim
    w2 = b1 + hidden * bias1
    t = np.empty(size)
    root = np.empty(size)
    for n in range(size):
        root[n] = np.sqrt(2.0 * w[n])
    for j in range(hidden):
        slope = d1[j]
        factor = a[j]
        for n in range(size):
            t[n] = factor * slope[n] * root[n]
        for q in range(dim):
            x = xt[q]
            row = rows[j * dim + q]
            for n in range(size):
                row[n] = t[n] * x[n]
        if bias1:
            row = rows[b1 + j]
            for n in range(size):
                row[n] = t[n]
        value = z[j]
        row = rows[w2 + j]
        for n in range(size):
            row[n] = value[n] * root[n]
    if bias2:
        row = rows[w2 + hidden]
        for n in range(size):
            row[n] = root[n]


@njit(cache=True, fastmath=_FAST)
def error_moments(c, z, d1, xt, slopes, values, totals):
    """Add ``sum_n c_i d1_j x_q`` to ``slopes`` ``(K, H, d)``, ``sum c_i z_j`` to ``values``
    ``(K, H)``, ``sum c_i`` to ``totals``.

    The first ``d`` rows of ``xt`` count.
    """
    size = d1.shape[1]
    t = np.empty(size)
    for i in range(c.shape[0]):
        error = c[i]
        total = 0.0
        for n in range(size):
            total += error[n]
        totals[i] += total
        for j in range(d1.shape[0]):
            slope = d1[j]
            value = z[j]
            total = 0.0
            if slopes.shape[2] == 3:  # as with two inputs and a bias: one pass
                first = 0.0
                second = 0.0
                third = 0.0
                x1 = xt[0]
                x2 = xt[1]
                x3 = xt[2]
                for n in range(size):
                    total += error[n] * value[n]
                    product = error[n] * slope[n]
                    first += product * x1[n]
                    second += product * x2[n]
                    third += product * x3[n]
                values[i, j] += total
                slopes[i, j, 0] += first
                slopes[i, j, 1] += second
                slopes[i, j, 2] += third
                continue
            for n in range(size):
                t[n] = error[n] * slope[n]
                total += error[n] * value[n]
            values[i, j] += total
            for q in range(slopes.shape[2]):
                x = xt[q]
                total = 0.0
                for n in range(size):
                    total += t[n] * x[n]
                slopes[i, j, q] += total


@njit(cache=True)
def first_layer_from_slopes(A, slopes, gW, gb):
    """Add ``sum_i A_ij slopes[i, j, q]`` to the gradient of the first layer; ``gb`` may
    be empty.
    """
    dim = gW.shape[1]
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            for q in range(dim):
                gW[j, q] += A[i, j] * slopes[i, j, q]
            if len(gb):
                gb[j] += A[i, j] * slopes[i, j, dim]


@njit(cache=True, fastmath=_FAST)
def curvature_moments(e, d2, xt, out):
    """Add ``sum_n e_j d2_j x_q x_r``, ``r <= q``, to ``out`` ``(H, d, d)``; ``e`` is ``(H, B)`` or
    ``(1, B)``.
    """
    size = d2.shape[1]
    dim = out.shape[1]
    t = np.empty(size)
    u = np.empty(size)
    for j in range(d2.shape[0]):
        row = e[j] if e.shape[0] > 1 else e[0]
        for n in range(size):
            t[n] = row[n] * d2[j, n]
        for q in range(dim):
            x = xt[q]
            for n in range(size):
                u[n] = t[n] * x[n]
            for r in range(q + 1):
                x = xt[r]
                total = 0.0
                for n in range(size):
                    total += u[n] * x[n]
                out[j, q, r] += total


@njit(cache=True)
def expand_gram(gram, A, slopes, curvatures, dim, bias1, bias2, out):
    """Lower triangle of the Hessian of a one-hidden-layer net from its moments.

    ``gram`` ``(M, M)`` (lower triangle) is the sum over samples of the products
    of :func:`tangent_rows`, ``A`` ``(K, H)`` the output weights, ``slopes``
    ``(K, H, d)`` and ``curvatures`` ``(H, d, d)`` the residual moments with
    ``d = dim + bias1`` (the bias last). ``out`` ``(P, P)`` may be ``gram`` itself
    when there is one output: every entry is read before it is written.
    """
    outputs, hidden = A.shape
    b1 = hidden * dim
    w2 = b1 + hidden * bias1
    b2 = w2 + hidden * outputs
    products = np.empty(hidden)
    for j in range(hidden):
        for k in range(hidden):
            products[k] = 0.0
            for i in range(outputs):
                products[k] += A[i, j] * A[i, k]
        for q in range(dim):
            row = j * dim + q
            for k in range(j + 1):
                for r in range(dim if k < j else q + 1):
                    out[row, k * dim + r] = products[k] * gram[row, k * dim + r]
            for r in range(q + 1):
                out[row, j * dim + r] += curvatures[j, q, r]
        if bias1:
            row = b1 + j
            for k in range(hidden):
                for r in range(dim):
                    out[row, k * dim + r] = products[k] * gram[row, k * dim + r]
            for k in range(j + 1):
                out[row, b1 + k] = products[k] * gram[row, b1 + k]
            for r in range(dim):
                out[row, j * dim + r] += curvatures[j, dim, r]
            out[row, row] += curvatures[j, dim, dim]
    for i in range(outputs):
        for j in range(hidden):
            row = w2 + i * hidden + j
            source = w2 + j
            _row_of_output(gram[source], A[i], dim, bias1, out[row])
            for r in range(dim):
                out[row, j * dim + r] += slopes[i, j, r]
            if bias1:
                out[row, b1 + j] += slopes[i, j, dim]
            for k in range(j + 1):
                out[row, w2 + i * hidden + k] = gram[source, w2 + k]
            if i > 0:
                out[row, w2 : w2 + i * hidden] = 0.0
        if bias2:
            row = b2 + i
            source = w2 + hidden
            _row_of_output(gram[source], A[i], dim, bias1, out[row])
            for other in range(outputs):
                for k in range(hidden):
                    out[row, w2 + other * hidden + k] = gram[source, w2 + k] if other == i else 0.0
            out[row, b2:row] = 0.0
            out[row, row] = gram[source, source]


@njit(cache=True)
def _row_of_output(source, a, dim, bias1, target):
    """First-layer entries of one row: ``a_k source``."""
    hidden = len(a)
    for k in range(hidden):
        for r in range(dim):
            target[k * dim + r] = a[k] * source[k * dim + r]
        if bias1:
            target[hidden * dim + k] = a[k] * source[hidden * dim + k]


@njit(cache=True)
def mirror(matrix):
    """Copy the lower triangle to the upper one, tile by tile."""
    size = len(matrix)
    tile = 32
    for top in range(0, size, tile):
        for left in range(0, top + 1, tile):
            for i in range(top, min(top + tile, size)):
                for j in range(left, min(left + tile, i)):
                    matrix[j, i] = matrix[i, j]


@njit(cache=True)
def scale_symmetric(matrix, factors):
    """``matrix[i, j] *= factors[i] factors[j]`` in place."""
    for i in range(len(factors)):
        for j in range(len(factors)):
            matrix[i, j] *= factors[i] * factors[j]
