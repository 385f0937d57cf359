"""The term of order learning_rate^2: sums over closed-form fourth moments, and pathwise derivatives
of samples.
"""

from __future__ import annotations

import numpy as np

from ...compiler import njit
from ...integrals.fourth.orthant_kernels import moment
from ...integrals.fourth.quadruple_kernels import row_covariance, second_derivative


@njit(cache=True)
def closed_sums(
    coefficient, count, code, unit, width2, quadruple, C, S, derivative, projected, slope
):
    """Sums over rows, each of them one product of four factors; see ``ClosedFourthMoments``.

    Parameters
    ----------
    coefficient (rows,), count (rows,), code (rows, 4), unit (rows, 4), width2 (rows, 4)
        Each row: its prefactor, its number of variables, and for each of them the factor, the
        neuron, the extra variance.
    quadruple : (rows, 4)
        Neurons i <= k, a <= b of the moment E[f_i' f_k' f_a f_b] to which the row belongs.
    C : (n, n)
    S : (K, n)
    derivative : bool
    projected : (K, K, n)
        Receives E[f_i' f_k' f_a e_k] with e_k = sum_b S_kb f_b.
    slope : (K, K, n, n)
        Receives, for i <= k, the derivative of E[f_i' f_k' e_i e_k] in C_uv = C_vu, u <= v.
    """
    D = np.empty((4, 4))
    for row in range(coefficient.shape[0]):
        i, k, a, b = quadruple[row]
        m = count[row]
        row_covariance(unit[row], width2[row], m, C, D)
        value = coefficient[row] * moment(code[row], D, m)
        projected[i, k, a] += S[k, b] * value
        if i != k:
            projected[k, i, a] += S[i, b] * value
        if a != b:
            projected[i, k, b] += S[k, a] * value
            if i != k:
                projected[k, i, b] += S[i, a] * value
        if not derivative:
            continue
        weight = coefficient[row] * (S[i, a] * S[k, b] + (S[i, b] * S[k, a] if a != b else 0.0))
        if weight == 0.0:
            continue
        for x in range(m):
            for y in range(x, m):  # Price: d/dC_xy = E[d_x d_y], half of that for x = y
                u = min(unit[row, x], unit[row, y])
                v = max(unit[row, x], unit[row, y])
                half = 0.5 if x == y else 1.0
                slope[i, k, u, v] += half * weight * second_derivative(code[row], x, y, 1.0, D, m)


#: Rows of ``F`` in ``sample_sums``: f, f', and with jumps smoothed f' and f'^2, each followed by
#: its derivatives in h and (at constant h, through the width of the smoothing) in the variance of
#: h.
VALUE, SLOPE, FACTOR, FACTOR_H, FACTOR_C, SQUARE, SQUARE_H, SQUARE_C = range(8)


@njit(cache=True)
def sample_sums(F, Z, S, derivative, projected, matrices, explicit):
    """Means over samples of the same quantities, for one batch.

    Parameters
    ----------
    F : (8, n, N)
        Functions of every neuron, see ``VALUE`` and the others; derivatives are used if
        ``derivative``.
    Z : (n, N)
        The standard normal numbers behind the pre-activations.
    S : (K, n)
    projected : (K, K, n)
        Receives the mean of f_i' f_k' f_a e_k.
    matrices : (K, K, n, n)
        Receives, for i <= k, the mean of dG/dh_u z_v with G = f_i' f_k' e_i e_k.
    explicit : (K, K, n)
        Receives, for i <= k, the mean of dG/dC_uu at constant h.
    """
    K, n = S.shape
    N = Z.shape[1]
    e, g = np.empty(K), np.empty(n)
    for s in range(N):
        for i in range(K):
            e[i] = 0.0
            for a in range(n):
                e[i] += S[i, a] * F[VALUE, a, s]
        for i in range(K):
            for k in range(K):
                w = F[SQUARE, i, s] if i == k else F[FACTOR, i, s] * F[FACTOR, k, s]
                for a in range(n):
                    projected[i, k, a] += w * e[k] * F[VALUE, a, s] / N
        if not derivative:
            continue
        for i in range(K):
            for k in range(i, K):
                w = F[SQUARE, i, s] if i == k else F[FACTOR, i, s] * F[FACTOR, k, s]
                for u in range(n):
                    g[u] = w / N * F[SLOPE, u, s] * (S[i, u] * e[k] + S[k, u] * e[i])
                both = e[i] * e[k] / N
                if i == k:
                    g[i] += F[SQUARE_H, i, s] * both
                    explicit[i, i, i] += F[SQUARE_C, i, s] * both
                else:
                    g[i] += F[FACTOR_H, i, s] * F[FACTOR, k, s] * both
                    g[k] += F[FACTOR, i, s] * F[FACTOR_H, k, s] * both
                    explicit[i, k, i] += F[FACTOR_C, i, s] * F[FACTOR, k, s] * both
                    explicit[i, k, k] += F[FACTOR, i, s] * F[FACTOR_C, k, s] * both
                for u in range(n):
                    for v in range(n):
                        matrices[i, k, u, v] += g[u] * Z[v, s]
