"""Affine maps in compensated arithmetic (Ogita, Rump and Oishi, SIAM J. Sci. Comput. 26, 1955
(2005)).
"""

from ...compiler import njit

_SPLIT = 134217729.0  # 2^27 + 1: splits a double into two halves of 26 bits (Dekker 1971)


@njit(cache=True, inline="always")
def _two_product(a, b):
    p = a * b
    c = _SPLIT * a
    a1 = c - (c - a)
    a2 = a - a1
    c = _SPLIT * b
    b1 = c - (c - b)
    b2 = b - b1
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


@njit(cache=True)
def affine(W, b, high, low, out_high, out_low):
    """``out = W z + b`` for ``z = high + low`` (fan_in, B), as the unevaluated sum of two doubles
    (width, B).
    """
    width, fan_in = W.shape
    for n in range(high.shape[1]):
        for i in range(width):
            total = b[i]
            error = 0.0
            for k in range(fan_in):
                p, e = _two_product(W[i, k], high[k, n])
                s = total + p
                t = s - total
                error += ((total - (s - t)) + (p - t)) + e + W[i, k] * low[k, n]
                total = s
            out_high[i, n] = total + error
            out_low[i, n] = error - (out_high[i, n] - total)
