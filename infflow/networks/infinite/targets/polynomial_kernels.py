"""Cross terms of students and a polynomial teacher, on plain arrays.

A term t of the table is ``c_t prod_j He_{a_tj}(t_j)`` of total degree n. With alpha = Q'w and F_p
the mean of the derivative p of the activation, E[f(h) y] = sum_t c_t F_n m_t, where m_t = prod_j
alpha_j^{a_tj}. Derivatives of F_n in w are F_(n+2) w, those in b are F_(n+1).
"""

from __future__ import annotations

import numpy as np

from ....compiler import njit


@njit(cache=True)
def power(x, n):
    """x^n for small integers n >= 0."""
    y = 1.0
    for _ in range(n):
        y *= x
    return y


@njit(cache=True)
def product_without(alpha, directions, exponents, first, last, one, two):
    """Product of alpha_j^{a_j} over the entries first ... last - 1 but one and two."""
    y = 1.0
    for s in range(first, last):
        if s != one and s != two:
            y *= power(alpha[directions[s]], exponents[s])
    return y


@njit(cache=True)
def cross_first(
    F, alpha, start, directions, exponents, degree, c, W, Q, order, value, first_derivative
):
    """Value and first derivatives of E[f_i y_o].

    Parameters
    ----------
    F : (K, p)
        Means of the derivatives of the students; highest degree + 1 + 2 order of them.
    alpha : (K, k)
        Overlaps of the students with the directions.
    start : (terms + 1,), directions, exponents : (entries,)
        Term t has the powers ``exponents`` of ``directions`` from start[t] to start[t + 1].
    degree : (terms,), c : (terms, O)
    W (K, D), Q (D, k)
        Weights and directions.
    order : int
        With 0 there are no derivatives.
    value : (K, O), first_derivative : (K, O, D + 1)
        Zero at the start. Receive E[f y] and its derivatives in (w_i, b_i).
    """
    K, D = W.shape
    k = alpha.shape[1]
    O = c.shape[1]
    along = np.zeros((O, k))
    own = np.zeros(O)
    bias = np.zeros(O)
    for i in range(K):
        a = alpha[i]
        along[:] = 0.0
        own[:] = 0.0
        bias[:] = 0.0
        at_rest = not np.isfinite(F[i, F.shape[1] - 1])
        for t in range(degree.size):
            n = degree[t]
            first = start[t]
            last = start[t + 1]
            m = product_without(a, directions, exponents, first, last, -1, -1)
            for o in range(O):
                value[i, o] += c[t, o] * times(F[i, n], m)
            if order == 0:
                continue
            for o in range(O):
                bias[o] += c[t, o] * times(F[i, n + 1], m)
                own[o] += c[t, o] * times(F[i, n + 2], m)
            for s in range(first, last):
                d = directions[s]
                m = exponents[s] * power(a[d], exponents[s] - 1)
                m *= product_without(a, directions, exponents, first, last, s, -1)
                for o in range(O):
                    along[o, d] += c[t, o] * times(F[i, n], m)
        if order == 0:
            continue
        if at_rest:  # a kink with w = 0: a mean over directions
            for o in range(O):
                own[o] = 0.0
        for o in range(O):
            for d in range(D):
                total = own[o] * W[i, d]
                for j in range(k):
                    total += along[o, j] * Q[d, j]
                first_derivative[i, o, d] = total
            first_derivative[i, o, D] = bias[o]


@njit(cache=True)
def times(x, y):
    """The product, where zero times infinity is zero: a kink at w = 0 has no part along any."""
    return 0.0 if y == 0.0 else x * y


@njit(cache=True)
def dense_blocks(Q, W, M, N, scalars, out):
    """Second derivatives (K, D + 1, D + 1) from the parts of :func:`cross_second`."""
    K, D = W.shape
    k = Q.shape[1]
    QM = np.empty((D, k))
    QN = np.empty(D)
    for i in range(K):
        identity = scalars[i, 0]
        for d in range(D):
            QN[d] = 0.0
            mixed = scalars[i, 2] * W[i, d]
            for j in range(k):
                QN[d] += Q[d, j] * N[0, i, j]
                mixed += Q[d, j] * N[1, i, j]
                total = 0.0
                for m in range(k):
                    total += Q[d, m] * M[i, m, j]
                QM[d, j] = total
            out[i, d, D] = mixed
            out[i, D, d] = mixed
        out[i, D, D] = identity
        for d in range(D):
            for e in range(d + 1):
                total = scalars[i, 1] * W[i, d] * W[i, e] + QN[d] * W[i, e] + W[i, d] * QN[e]
                for j in range(k):
                    total += QM[d, j] * Q[e, j]
                out[i, d, e] = total
                out[i, e, d] = total
            out[i, d, d] += identity


@njit(cache=True)
def cross_second(F, alpha, start, directions, exponents, degree, c, B, M, N, scalars):
    """Second derivatives of sum_o B_io E[f_i y_o].

    ``M`` (K, k, k) receives the part Q M Q', ``N`` (K, k) that of Q N w' and its transpose,
    ``scalars`` (K, 4) those of the identity (and of b with b), w w', w with b along w; the part
    of w with b along Q is written to ``N`` of the second half, (K, k), so N is (2, K, k).
    """
    K = F.shape[0]
    O = c.shape[1]
    for i in range(K):
        a = alpha[i]
        for t in range(degree.size):
            weight = 0.0
            for o in range(O):
                weight += B[i, o] * c[t, o]
            if weight == 0.0:
                continue
            n = degree[t]
            first = start[t]
            last = start[t + 1]
            m = weight * product_without(a, directions, exponents, first, last, -1, -1)
            scalars[i, 0] += F[i, n + 2] * m
            scalars[i, 1] += F[i, n + 4] * m
            scalars[i, 2] += F[i, n + 3] * m
            for s in range(first, last):
                d = directions[s]
                e = exponents[s]
                rest = weight * product_without(a, directions, exponents, first, last, s, -1)
                m = rest * e * power(a[d], e - 1)
                N[0, i, d] += F[i, n + 2] * m
                N[1, i, d] += F[i, n + 1] * m
                if e > 1:
                    M[i, d, d] += F[i, n] * rest * e * (e - 1) * power(a[d], e - 2)
                for q in range(s + 1, last):
                    g = directions[q]
                    m = weight * product_without(a, directions, exponents, first, last, s, q)
                    m *= e * power(a[d], e - 1) * exponents[q] * power(a[g], exponents[q] - 1)
                    M[i, d, g] += F[i, n] * m
                    M[i, g, d] += F[i, n] * m
