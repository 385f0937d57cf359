"""Fourth moments of error functions, given that some of them are differentiated.

Neurons are G_u = 2 Phi(h_u / width_u) - 1 of zero-mean pre-activations h. G_u is the mean of
sign(y_u), y_u = h_u + width_u z with a standard normal z of its own, and G_u' is twice the density
of y_u at 0: derivatives condition on zeros, and what is left are arcsines.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler import njit
from .orthant_kernels import sign_moment

#: Conditional variances below this fraction of the variance are rounding noise.
_SMALLEST = 1e-14


@njit(cache=True)
def _given_two(C, width2, i, k, weights, variance):
    """Condition on zeros of neurons i and k: c -> c - weights, variances with noise; the density.

    ``weights[:, 0]`` and ``weights[:, 1]`` are the coefficients of both zeros.
    """
    vi = C[i, i] + width2[i]
    vk = C[k, k] + width2[k]
    c = C[i, k]
    det = vi * vk - c * c
    for a in range(len(C)):
        weights[a, 0] = (vk * C[a, i] - c * C[a, k]) / det
        weights[a, 1] = (vi * C[a, k] - c * C[a, i]) / det
        full = C[a, a] + width2[a]
        left = full - weights[a, 0] * C[a, i] - weights[a, 1] * C[a, k]
        variance[a] = max(left, _SMALLEST * full)
    return 2.0 / (math.pi * math.sqrt(det))


@njit(cache=True)
def two_differentiated(C, width2, S, value, first, second):
    """Moments with two derivatives, and their sums with derivatives in the pre-activations.

    Parameters
    ----------
    C : (n, n), width2 : (n,)
    S : (K, n + 1)
        Products of output vectors of the first K neurons with all, and with the constant.
    value : (K, n, n, n)
        Receives E[G_i' G_k' G_a G_b], where k is any neuron.
    first : (K, K, n), second : (K, K, n, n)
        Receive, for i <= k, the means given both zeros and times their density of the first and
        second derivatives of e_i e_k, e_i = sum_a S_ia G_a + S_in.
    """
    K, n, _, _ = value.shape
    weights = np.empty((n, 2))
    variance = np.empty(n)
    root = np.empty(n)
    for i in range(K):
        for k in range(i, n):
            density = _given_two(C, width2, i, k, weights, variance)
            scale = 2.0 / math.pi * density
            for a in range(n):
                root[a] = 1.0 / math.sqrt(variance[a])
            for a in range(n):
                for b in range(a, n):
                    c = C[a, b] - weights[a, 0] * C[b, i] - weights[a, 1] * C[b, k]
                    u = c * root[a] * root[b]
                    u = min(1.0, max(-1.0, u))
                    found = scale * math.asin(u)
                    value[i, k, a, b] = found
                    value[i, k, b, a] = found
                    if k >= K:
                        continue
                    flat = max(1.0 - u * u, _SMALLEST)
                    slope = scale * root[a] * root[b] / math.sqrt(flat)
                    one = slope * S[i, a] * S[k, b]
                    two = slope * S[i, b] * S[k, a]
                    both = one + two if a != b else one
                    second[i, k, a, b] += both
                    second[i, k, b, a] += both
                    second[i, k, a, a] -= both * c * root[a] * root[a]
                    second[i, k, b, b] -= both * c * root[b] * root[b]
            if k >= K:
                continue
            for a in range(n):
                mean = S[i, a] * S[k, n] + S[i, n] * S[k, a]
                first[i, k, a] = density * math.sqrt(2.0 / math.pi) * root[a] * mean
    for i in range(K):
        for k in range(i):
            value[i, k] = value[k, i]


@njit(cache=True)
def none_differentiated(C, width2, value):
    """E[G_i G_k G_a G_b] into ``value`` (K, K, n, n), each value of four neurons once."""
    K, _, n, _ = value.shape
    D = np.empty((4, 4))
    for i in range(K):
        for k in range(i, K):
            for a in range(k, n):
                for b in range(a, n):
                    at = (i, k, a, b)
                    for x in range(4):
                        for y in range(4):
                            D[x, y] = C[at[x], at[y]]
                        D[x, x] += width2[at[x]]
                    _spread(value, at, sign_moment(D))


@njit(cache=True)
def _spread(value, at, found):
    """Write a moment to all places with the same four neurons."""
    K = len(value)
    for x in range(4):
        for y in range(4):
            if x == y or at[x] >= K or at[y] >= K:
                continue
            u = 0
            while u in (x, y):
                u += 1
            w = 6 - x - y - u
            value[at[x], at[y], at[u], at[w]] = found
            value[at[x], at[y], at[w], at[u]] = found
