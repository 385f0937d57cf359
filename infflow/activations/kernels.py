"""Value and first four derivatives of every registered activation, for arrays.

Each activation is one scalar function that returns the five numbers ``(f, f', f'', f''', f'''')``
at a point, written so that they share their exponential and nothing cancels in the tails, and one
array kernel ``name(x, out)``: ``x`` of shape ``(n,)``, ``out`` of shape ``(m, n)`` receives the
derivatives 0 to m - 1, 1 <= m <= 5. What a loop does not store, the compiler does not compute.

At a kink the derivatives are those from the left, except that sign and the derivative of abs are 0
at 0.
"""

from __future__ import annotations

import numpy as np

from ..compiler import njit
from .vector_math import (
    INV_SQRT_2PI,
    LN2,
    clipped_magnitude,
    erf_scaled,
    exp_,
    exp_pair,
    expm1_,
    log1p_unit,
    normal_tail,
    scalar,
)

kernel = njit(cache=True, error_model="numpy")

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


@scalar
def _store1(f, x, f0):
    for i in range(x.size):
        f0[i] = f(x[i])[0]


@scalar
def _store2(f, x, f0, f1):
    for i in range(x.size):
        v = f(x[i])
        f0[i] = v[0]
        f1[i] = v[1]


@scalar
def _store3(f, x, f0, f1, f2):
    for i in range(x.size):
        v = f(x[i])
        f0[i] = v[0]
        f1[i] = v[1]
        f2[i] = v[2]


@scalar
def _store4(f, x, f0, f1, f2, f3):
    for i in range(x.size):
        v = f(x[i])
        f0[i] = v[0]
        f1[i] = v[1]
        f2[i] = v[2]
        f3[i] = v[3]


@scalar
def _store5(f, x, f0, f1, f2, f3, f4):
    for i in range(x.size):
        v = f(x[i])
        f0[i] = v[0]
        f1[i] = v[1]
        f2[i] = v[2]
        f3[i] = v[3]
        f4[i] = v[4]


@scalar
def _sweep(f, x, out):
    """One loop per number of derivatives, so that each vectorises and computes only
    what it stores.
    """
    m = out.shape[0]
    if m == 1:
        _store1(f, x, out[0])
    elif m == 2:
        _store2(f, x, out[0], out[1])
    elif m == 3:
        _store3(f, x, out[0], out[1], out[2])
    elif m == 4:
        _store4(f, x, out[0], out[1], out[2], out[3])
    else:
        _store5(f, x, out[0], out[1], out[2], out[3], out[4])


# ----------------------------------------------------------------------------------------------
# piecewise linear


@scalar
def _relu(x):
    on = x > 0.0
    return x if on else 0.0, 1.0 if on else 0.0, 0.0, 0.0, 0.0


@kernel
def relu(x, out):
    """max(x, 0)."""
    _sweep(_relu, x, out)


@scalar
def _leaky_relu(x):
    slope = 1.0 if x > 0.0 else 0.01
    return slope * x, slope, 0.0, 0.0, 0.0


@kernel
def leaky_relu(x, out):
    """Slope 1 above 0; below: 0.01 x."""
    _sweep(_leaky_relu, x, out)


@scalar
def _sign_of(x):
    return (1.0 if x > 0.0 else 0.0) - (1.0 if x < 0.0 else 0.0)


@scalar
def _absolute(x):
    return abs(x), _sign_of(x), 0.0, 0.0, 0.0


@kernel
def absolute(x, out):
    """|x|."""
    _sweep(_absolute, x, out)


@scalar
def _sign(x):
    return _sign_of(x), 0.0, 0.0, 0.0, 0.0


@kernel
def sign(x, out):
    """1 above 0, -1 below, 0 at 0."""
    _sweep(_sign, x, out)


@scalar
def _step(x):
    return 1.0 if x > 0.0 else 0.0, 0.0, 0.0, 0.0, 0.0


@kernel
def step(x, out):
    """1 above 0, else 0."""
    _sweep(_step, x, out)


# ------------------------------------------------------------------------- the normal distribution
# and its relatives phi' = -x phi, so that derivatives are phi times Hermite polynomials; x is
# clipped where phi is zero, which keeps the polynomials finite.


@scalar
def _clip(x):
    return np.copysign(clipped_magnitude(x), x)


@scalar
def _erf(x):
    y, e = erf_scaled(x)
    c = _clip(x)
    f1 = 2.0 * INV_SQRT_2PI * e
    return y, f1, -c * f1, (c * c - 1.0) * f1, c * (3.0 - c * c) * f1


@kernel
def erf(x, out):
    """erf(x/sqrt 2)."""
    _sweep(_erf, x, out)


@scalar
def _normal_cdf(x):
    e, tail = normal_tail(clipped_magnitude(x))
    c = _clip(x)
    f1 = INV_SQRT_2PI * e
    return 1.0 - tail if x > 0.0 else tail, f1, -c * f1, (c * c - 1.0) * f1, c * (3.0 - c * c) * f1


@kernel
def normal_cdf(x, out):
    """Standard normal distribution function."""
    _sweep(_normal_cdf, x, out)


@scalar
def _gelu(x):
    e, tail = normal_tail(clipped_magnitude(x))
    cdf = 1.0 - tail if x > 0.0 else tail
    c = _clip(x)
    z = c * c
    pdf = INV_SQRT_2PI * e
    return x * cdf, cdf + c * pdf, (2.0 - z) * pdf, c * (z - 4.0) * pdf, (z * (7.0 - z) - 4.0) * pdf


@kernel
def gelu(x, out):
    """Product of x and the standard normal distribution function."""
    _sweep(_gelu, x, out)


@scalar
def _gaussian(x):
    e = normal_tail(clipped_magnitude(x))[0]
    c = _clip(x)
    z = c * c
    return e, -c * e, (z - 1.0) * e, c * (3.0 - z) * e, (z * (z - 6.0) + 3.0) * e


@kernel
def gaussian(x, out):
    """exp(-x^2/2)."""
    _sweep(_gaussian, x, out)


# --------------------------------------------------------------------------- the logistic function
# and its relatives With p = sigmoid' and t = tanh(x/2) = 2 sigmoid - 1:  p' = -p t,  t' = 2 p,  t^2
# = 1 - 4 p.


@scalar
def _logistic(x):
    """``(exp(-|x|), sigmoid, sigmoid', sigmoid'', sigmoid''', sigmoid'''')``."""
    e, em = exp_pair(-abs(x))
    q = 1.0 / (1.0 + e)
    p = e * q * q
    t = np.copysign(em * q, x)
    return e, q if x >= 0.0 else e * q, p, -p * t, p * (1.0 - 6.0 * p), p * t * (12.0 * p - 1.0)


@scalar
def _sigmoid(x):
    _, f, f1, f2, f3, f4 = _logistic(x)
    return f, f1, f2, f3, f4


@kernel
def sigmoid(x, out):
    """1/(1 + exp(-x))."""
    _sweep(_sigmoid, x, out)


@scalar
def _softplus(x):
    e, f1, f2, f3, f4, _ = _logistic(x)
    return (x if x > 0.0 else 0.0) + log1p_unit(e), f1, f2, f3, f4


@kernel
def softplus(x, out):
    """log(1 + exp(x))."""
    _sweep(_softplus, x, out)


@scalar
def _silu(x):
    _, s, s1, s2, s3, s4 = _logistic(x)
    c = np.copysign(
        750.0 if abs(x) > 750.0 else abs(x), x
    )  # the derivatives of sigmoid are zero beyond
    return x * s, s + c * s1, 2.0 * s1 + c * s2, 3.0 * s2 + c * s3, 4.0 * s3 + c * s4


@kernel
def silu(x, out):
    """x/(1 + exp(-x))."""
    _sweep(_silu, x, out)


@scalar
def _g(x):
    a = _sigmoid(4.0 * x)
    b = _softplus(x)
    return (
        a[0] + b[0],
        4.0 * a[1] + b[1],
        16.0 * a[2] + b[2],
        64.0 * a[3] + b[3],
        256.0 * a[4] + b[4],
    )


@kernel
def g(x, out):
    """sigmoid(4x) + softplus(x)."""
    _sweep(_g, x, out)


@scalar
def _tanh(x):
    e, em = exp_pair(-2.0 * abs(x))
    q = 1.0 / (1.0 + e)
    t = np.copysign(em * q, x)
    s = 4.0 * e * q * q  # 1 - t^2 without cancellation
    return t, s, -2.0 * t * s, s * (4.0 - 6.0 * s), 8.0 * t * s * (3.0 * s - 1.0)


@kernel
def tanh(x, out):
    """tanh(x)."""
    _sweep(_tanh, x, out)


# ----------------------------------------------------------------------------------- exponential
# and trigonometric


@scalar
def _exp(x):
    e = exp_(x)
    return e, e, e, e, e


@kernel
def exp(x, out):
    """exp(x)."""
    _sweep(_exp, x, out)


@scalar
def _elu(x):
    on = x > 0.0
    y = 0.0 if on else x
    e = exp_(y)
    d = 0.0 if on else e
    return x if on else expm1_(y), 1.0 if on else e, d, d, d


@kernel
def elu(x, out):
    """Slope 1 above 0; below: exp(x) - 1."""
    _sweep(_elu, x, out)


@scalar
def _selu(x):
    f, f1, f2, f3, f4 = _elu(x)
    on = x > 0.0
    a = SELU_SCALE if on else SELU_SCALE * SELU_ALPHA
    return a * f, a * f1, a * f2, a * f3, a * f4


@kernel
def selu(x, out):
    """1.05... times x for x > 0, else times 1.67... (exp(x) - 1)."""
    _sweep(_selu, x, out)


@scalar
def _sin(x):
    s = np.sin(x)
    c = np.cos(x)
    return s, c, -s, -c, s


@kernel
def sin(x, out):
    """sin(x)."""
    _sweep(_sin, x, out)


@scalar
def _cos(x):
    s = np.sin(x)
    c = np.cos(x)
    return c, -s, -c, s, c


@kernel
def cos(x, out):
    """cos(x)."""
    _sweep(_cos, x, out)


@scalar
def _log_cosh(x):
    a = abs(x)
    e, em = exp_pair(-a)
    # 1 + 2 sinh(x/2)^2 where cosh is next to 1
    near = log1p_unit(0.5 * em * em / (1.0 + em)) if a < 1.25 else 0.0
    far = a + log1p_unit(e * e) - LN2
    t, s, s1, s2, _ = _tanh(x)
    return near if a < 1.25 else far, t, s, s1, s2


@kernel
def log_cosh(x, out):
    """log(cosh(x))."""
    _sweep(_log_cosh, x, out)


@scalar
def _mish(x):
    """``x (1 - 2 g)`` with ``g = 1/(n^2 + 1)``, n = 1 + exp(x), by Leibniz' rule for the product of
    g and its inverse; both sides are scaled so that nothing overflows.
    """
    above = x > 0.0
    e = exp_(-abs(x))
    low, high = (e * e, 1.0) if above else (1.0, e * e)
    d = high + 2.0 * e + 2.0 * low
    r1 = 2.0 * (high + e) / d
    r2 = (4.0 * high + 2.0 * e) / d
    r3 = (8.0 * high + 2.0 * e) / d
    r4 = (16.0 * high + 2.0 * e) / d
    g = low / d
    g1 = -r1 * g
    g2 = -(r2 * g + 2.0 * r1 * g1)
    g3 = -(r3 * g + 3.0 * (r2 * g1 + r1 * g2))
    g4 = -(r4 * g + 4.0 * (r3 * g1 + r1 * g3) + 6.0 * r2 * g2)
    w = (high + 2.0 * e) / d
    return (
        x * w,
        w - 2.0 * x * g1,
        -2.0 * (2.0 * g1 + x * g2),
        -2.0 * (3.0 * g2 + x * g3),
        -2.0 * (4.0 * g3 + x * g4),
    )


@kernel
def mish(x, out):
    """X tanh(log(1 + exp(x)))."""
    _sweep(_mish, x, out)


@scalar
def _arctan(x):
    d = 1.0 / (1.0 + x * x)
    p = x * d  # stays finite where x * x does not
    return (
        np.arctan(x),
        d,
        -2.0 * p * d,
        (6.0 * p * p - 2.0 * d * d) * d,
        24.0 * (p * d * d - p * p * p) * d,
    )


@kernel
def arctan(x, out):
    """arctan(x)."""
    _sweep(_arctan, x, out)


@scalar
def _softsign(x):
    d = 1.0 / (1.0 + abs(x))
    d2 = d * d
    odd = -d if x > 0.0 else d
    return x * d, d2, 2.0 * d2 * odd, 6.0 * d2 * d2, 24.0 * d2 * d2 * odd


@kernel
def softsign(x, out):
    """x/(1 + |x|)."""
    _sweep(_softsign, x, out)


# --------------------------------------------------------------------------------------------------
# polynomials


@kernel
def polynomial(x, out, table):
    """Row k of ``table`` (rows of one length) has the coefficients of the k-th derivative, constant
    term first.
    """
    last = table.shape[1] - 1
    for k in range(out.shape[0]):
        row = out[k]
        row[:] = table[k, last]
        for j in range(last - 1, -1, -1):
            c = table[k, j]
            for i in range(x.size):
                row[i] = row[i] * x[i] + c


@kernel
def piecewise(x, out, knots, table, at_knots):
    """Row k of ``table[piece]`` has the coefficients of the k-th derivative between two knots.

    ``at_knots[k]`` has the k-th derivatives at the knots themselves.
    """
    size = table.shape[2]
    for i in range(x.size):
        piece = 0
        while piece < knots.size and x[i] > knots[piece]:
            piece += 1
        if piece < knots.size and x[i] == knots[piece]:
            for k in range(out.shape[0]):
                out[k, i] = at_knots[k, piece]
            continue
        for k in range(out.shape[0]):
            value = 0.0
            for j in range(size - 1, -1, -1):
                value = value * x[i] + table[piece, k, j]
            out[k, i] = value
