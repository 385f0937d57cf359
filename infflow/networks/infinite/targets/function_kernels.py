"""Cross terms of students and a target in loss and gradient, on plain arrays."""

from __future__ import annotations

from ....compiler import njit


@njit(cache=True)
def cross_value(B, c, value, mean, square):
    """``E |y|^2 - 2 E[y.student]`` and the sum of its absolute terms.

    B (K, O) and c (O,) are output vectors and bias of the student, value (K, O) the integrals E[f_i
    y_o], mean and square (O,) those of the target.
    """
    total = 0.0
    scale = 0.0
    for o in range(c.size):
        term = 2.0 * c[o] * mean[o]
        total += square[o] - term
        scale += square[o] + abs(term)
        for i in range(B.shape[0]):
            term = 2.0 * B[i, o] * value[i, o]
            total -= term
            scale += abs(term)
    return total, scale


@njit(cache=True)
def subtract_cross(B, value, first, mean, hidden_bias, output_bias, out):
    """Subtract twice the derivatives of E[y.student] from a gradient in the order of ``kernels``.

    ``first`` (K, O, D + 1) holds the derivatives of E[f_i y_o] in (w_i, b_i).
    """
    K, O = value.shape
    D = first.shape[2] - 1
    ob = K * D
    oA = ob + (K if hidden_bias else 0)
    for i in range(K):
        for o in range(O):
            twice = 2.0 * B[i, o]
            for d in range(D):
                out[i * D + d] -= twice * first[i, o, d]
            if hidden_bias:
                out[ob + i] -= twice * first[i, o, D]
            out[oA + o * K + i] -= 2.0 * value[i, o]
    if output_bias:
        for o in range(O):
            out[oA + O * K + o] -= 2.0 * mean[o]


@njit(cache=True)
def subtract_cross_hessian(blocks, first, hidden_bias, H):
    """Subtract twice the second derivatives of E[y.student] from a Hessian in that order.

    ``blocks`` (K, D + 1, D + 1) are those of sum_o B_io E[f_i y_o] in (w_i, b_i).
    """
    K, O = first.shape[:2]
    D = first.shape[2] - 1
    ob = K * D
    oA = ob + (K if hidden_bias else 0)
    for i in range(K):
        for d in range(D):
            for e in range(D):
                H[i * D + d, i * D + e] -= 2.0 * blocks[i, d, e]
            if hidden_bias:
                H[i * D + d, ob + i] -= 2.0 * blocks[i, d, D]
                H[ob + i, i * D + d] -= 2.0 * blocks[i, D, d]
        if hidden_bias:
            H[ob + i, ob + i] -= 2.0 * blocks[i, D, D]
        for o in range(O):
            row = oA + o * K + i
            for d in range(D):
                H[row, i * D + d] -= 2.0 * first[i, o, d]
                H[i * D + d, row] -= 2.0 * first[i, o, d]
            if hidden_bias:
                H[row, ob + i] -= 2.0 * first[i, o, D]
                H[ob + i, row] -= 2.0 * first[i, o, D]
