"""Jitted bivariate normal distribution function.

``L(h, k; u) = P(X < h, Y < k)`` of standard normals with correlation u. The caller passes the sine
``s = sqrt(1 - u^2)`` along, since it often knows it better than u tells (u = 1 - 1e-20 is 1 in
float64).

Two formulas for the ordinary range, one Gauss-Legendre rule of 16 nodes:

* ``|u| <= 0.8``: ``L - Phi(h) Phi(k)`` is the integral of the joint density over the correlation
  (Plackett, Biometrika 41, 1954) in the variable ``asin u`` (Drezner and Wesolowsky, J. Stat.
  Comput. Simul. 35, 1990). It keeps relative accuracy for small u, which centred moments such as
  E[erf erf] of small weights need.
* otherwise two T functions (Owen, Ann. Math. Stat. 27, 1956): one per leg of the wedge
  ``X < h, Y < k``. The corner of the wedge has the coordinates (h, y) along one leg and (k, z)
  along the other; the second pair is computed by rotating the first, so that rounding errors of
  size eps/s in y, which are unavoidable, cancel between the T's.

Both keep absolute accuracy. Below -4.5, and where their terms cancel, the probability is one
integral of a positive function (``tail_moments``), which keeps relative accuracy and gives the
means of ramps as well.
"""

from __future__ import annotations

import math

import numpy as np

from ...activations.vector_math import (
    clipped_magnitude,
    erf_scaled,
    exp_,
    normal_cdf_,
    normal_tail,
    ramp_tail,
)
from ...compiler import njit

FAR = 40.0  # the distribution function of -40 is zero in float64
PLACKETT_LIMIT = 0.8
DEAD = -4.5  # below this limit both formulas lose relative accuracy
KEPT = 0.01  # a difference that is smaller than this part of its terms is computed otherwise
SMALLEST_SINE = 1e-120  # squares of its inverse do not overflow
INV_2PI = 0.15915494309189535
INV_SQRT_2PI = 0.3989422804014327

# Gauss-Legendre rule on [0, 1]; both integrands reach 1e-16 with 14 nodes, 16 fill the vector
# registers. The digits come from mpmath: numpy's weights have relative errors of 1e-14.
_LOWER = [0.005299532504175033, 0.02771248846338371, 0.06718439880608412, 0.12229779582249849]
_LOWER += [0.19106187779867811, 0.2709916111713863, 0.35919822461037054, 0.4524937450811813]
_WEIGHT = [0.013576229705877048, 0.031126761969323947, 0.04757925584124639, 0.06231448562776694]
_WEIGHT += [0.07479799440828837, 0.08457825969750127, 0.09130170752246179, 0.09472530522753425]
NODES = np.array(_LOWER + [1.0 - x for x in reversed(_LOWER)])
WEIGHTS = np.array(_WEIGHT + _WEIGHT[::-1])

_inline = njit(optimised=True, forceinline=True, error_model="numpy", fastmath={"contract"})
_quadrature = njit(
    cache=True, error_model="numpy", fastmath={"contract", "reassoc"}
)  # lets the sum be vectorised


@_inline
def sine_(x):
    """sin(x) for |x| <= 0.93 by its Taylor series, truncation 2e-18."""
    z = x * x
    q = z / 355687428096000.0 - 1.0 / 1307674368000.0
    q = q * z + 1.0 / 6227020800.0
    q = q * z - 1.0 / 39916800.0
    q = q * z + 1.0 / 362880.0
    q = q * z - 1.0 / 5040.0
    q = q * z + 1.0 / 120.0
    q = q * z - 1.0 / 6.0
    return x + x * z * q


@_inline
def normal_cdf_minus(x, shift):
    """Phi(x) - shift for a shift of 0 or 1/2, without cancellation in either case."""
    return normal_cdf_(x) if shift == 0.0 else 0.5 * erf_scaled(x)[0]


@_quadrature
def plackett(h, k, u):
    """L(h, k; u) - Phi(h) Phi(k), |u| <= 0.8."""
    angle = math.asin(u)
    squares = -0.5 * (h * h + k * k)
    product = h * k
    total = 0.0
    for i in range(NODES.size):
        sine = sine_(angle * NODES[i])
        total += WEIGHTS[i] * exp_((squares + product * sine) / (1.0 - sine * sine))
    return INV_2PI * angle * total


@_quadrature
def _owen_t_direct(h, a):
    """Owen's T(h, a), 0 <= a <= 1."""
    half = -0.5 * h * h
    total = 0.0
    for i in range(NODES.size):
        x = a * NODES[i]
        t = 1.0 + x * x
        total += WEIGHTS[i] * exp_(half * t) / t
    return INV_2PI * a * total


@njit(cache=True, error_model="numpy")
def owen_t(h, y):
    """Owen's T(h, y/h) for h, y >= 0, not both 0, also where y/h overflows."""
    if y <= h:
        return _owen_t_direct(h, y / h)
    tail_h = normal_tail(clipped_magnitude(h))[1]
    tail_y = normal_tail(clipped_magnitude(y))[1]
    return 0.5 * (tail_h + tail_y) - tail_h * tail_y - _owen_t_direct(y, h / y)


@njit(cache=True, error_model="numpy")
def _wedge(h, k, u, s):
    """L(h, k; u), s > 0, by two T functions."""
    y = (k - u * h) / s
    z = s * h - u * y
    t_h = owen_t(abs(h), abs(y))
    t_k = owen_t(abs(k), abs(z))
    t_h = t_h if (h < 0.0) == (y < 0.0) else -t_h
    t_k = t_k if (k < 0.0) == (z < 0.0) else -t_k
    if (h < 0.0) == (k < 0.0):
        mean = 0.5 * (normal_cdf_(h) + normal_cdf_(k))
    elif h < 0.0:
        mean = 0.5 * (normal_cdf_(h) - normal_cdf_(-k))
    else:
        mean = 0.5 * (normal_cdf_(k) - normal_cdf_(-h))
    return min(max(mean - t_h - t_k, 0.0), 1.0)


# ---------------------------------------------------------------- tails


@_inline
def _root(a, b, c):
    """The positive solution of a t^2 + 2 b t = c, for a, c > 0."""
    root = math.sqrt(b * b + a * c)
    return c / (b + root) if b > 0.0 else (root - b) / a


@_inline
def reach(drop, h, z, c):
    """Where exp(-(t - h)^2/2) Phi(z + c t) has fallen from its value at t = 0 by some
    exp(-drop/2).
    """
    if z < 0.0:
        t = _root(1.0 + c * c, c * z - h, drop)
        return _root(1.0, -h, drop + z * z) if z + c * t > 0.0 else t
    t = _root(1.0, -h, drop)
    if z + c * t >= 0.0:
        return t
    bend = -z / c  # Phi falls beyond this point, too
    return bend + _root(1.0 + c * c, bend - h, drop - bend * (bend - 2.0 * h))


@_quadrature
def _tail_panel(h, mean, u, inverse, start, length):
    """Integrals over one panel of exp(h t - t^2/2) times Phi(z), psi(z), t Phi(z), t psi(z).

    ``z = (mean + u t) inverse``, and psi(z) = phi(z) + z Phi(z) is the integral of Phi.
    """
    total = 0.0
    ramp2 = 0.0
    ramp1 = 0.0
    ramps = 0.0
    for i in range(NODES.size):
        t = start + length * NODES[i]
        z = (mean + u * t) * inverse
        tail, ramp = ramp_tail(clipped_magnitude(z))[1:]
        above = 1.0 - tail if z > 0.0 else tail
        whole = z + ramp if z > 0.0 else ramp
        weight = WEIGHTS[i] * exp_(t * (h - 0.5 * t))
        total += weight * above
        ramp2 += weight * whole
        ramp1 += weight * t * above
        ramps += weight * t * whole
    return length * total, length * ramp2, length * ramp1, length * ramps


@njit(cache=True, error_model="numpy")
def tail_moments(h, k, u, s):
    """``P(U > 0, V > 0)``, ``E[1(U > 0) V_+]``, ``E[U_+ 1(V > 0)]``, ``E[U_+ V_+]`` of U = h + X, V
    = k + Y.

    X, Y are standard normal with correlation u, and ``s = sqrt(1 - u^2)``. All are integrals of
    positive functions over the argument that is more rarely positive, so that they keep their
    digits however small they are. The panels end where exponent and sign of the integrand change.
    """
    if h > k:
        joint, ramp1, ramp2, ramps = tail_moments(k, h, u, s)
        return joint, ramp2, ramp1, ramps
    h = max(h, -FAR)
    mean = k - u * h
    if abs(u) > PLACKETT_LIMIT:  # without the rounding error of u, which 1/s would enlarge
        sign = math.copysign(1.0, u)
        gap = s * s / (1.0 + abs(u))
        u = sign * (1.0 - gap)
        mean = (k - sign * h) + sign * gap * h
    s = max(s, SMALLEST_SINE)
    inverse = 1.0 / s
    z, c = mean * inverse, u * inverse
    first = reach(18.0, h, z, c)
    second = reach(42.0, h, z, c)
    last = reach(84.0, h, z, c)
    joint = 0.0
    ramp2 = 0.0
    ramp1 = 0.0
    ramps = 0.0
    start = 0.0
    while start < last:
        end = last
        for edge in (first, second, (-5.0 - z) / c, -z / c, (5.0 - z) / c, (9.0 - z) / c):
            if start < edge < end:
                end = edge
        a, b, c1, d = _tail_panel(h, mean, u, inverse, start, end - start)
        joint = joint + a
        ramp2 = ramp2 + b
        ramp1 = ramp1 + c1
        ramps = ramps + d
        start = end
    density = INV_SQRT_2PI * (
        exp_(-0.5 * h * h) if h > 0.0 else normal_tail(-h if h > -39.0 else 39.0)[0]
    )
    return density * joint, density * s * ramp2, density * ramp1, density * s * ramps


@njit(cache=True, error_model="numpy")
def _line(h, k, u):
    """L(h, k; +-1)."""
    if u > 0.0:
        return normal_cdf_(min(h, k))
    return max(
        normal_cdf_(h) - normal_cdf_(-k) if h <= 0.0 else normal_cdf_(k) - normal_cdf_(-h), 0.0
    )


@njit(cache=True, error_model="numpy")
def joint_probability(h, k, u, s, kept):
    """L(h, k; u), and whether it is less than the part ``kept`` of its terms; h, k finite and not
    both 0.
    """
    h = min(max(h, -FAR), FAR)
    k = min(max(k, -FAR), FAR)
    if abs(u) <= PLACKETT_LIMIT:
        product = normal_cdf_(h) * normal_cdf_(k)
        joint = plackett(h, k, u) + product
        return joint, u < 0.0 and joint < kept * product
    if s <= 0.0:
        return _line(h, k, u), False
    joint = _wedge(h, k, u, s)
    return joint, joint < kept * (normal_cdf_(h) + normal_cdf_(k))


@_inline
def orthant_at_zero(u, s, shift1, shift2):
    """:func:`orthant` for h = k = 0."""
    if shift1 == 0.0 and shift2 == 0.0:
        return INV_2PI * math.atan2(s, -u)  # relatively accurate also for u -> -1
    return INV_2PI * math.atan2(u, s) + (0.5 - shift1) * (0.5 - shift2)


@njit(cache=True, error_model="numpy")
def centred_orthant(h, k, u, s):
    """E[(1[X < h] - 1/2) (1[Y < k] - 1/2)], :func:`orthant` for two shifts of 1/2."""
    if h == 0.0 and k == 0.0:
        return orthant_at_zero(u, s, 0.5, 0.5)
    mean1 = normal_cdf_minus(h, 0.5)
    near1 = min(max(h, -FAR), FAR)
    near2 = min(max(k, -FAR), FAR)
    if abs(u) <= PLACKETT_LIMIT:
        return plackett(near1, near2, u) + mean1 * normal_cdf_minus(k, 0.5)
    joint = _wedge(near1, near2, u, s) if s > 0.0 else _line(near1, near2, u)
    return joint - (0.5 * mean1 + 0.5 * normal_cdf_(k))


@njit(cache=True, error_model="numpy")
def orthant(h, k, u, s, shift1, shift2):
    """E[(1[X < h] - shift1) (1[Y < k] - shift2)], the shifts 0 or 1/2; (0, 0) gives L(h, k; u).

    ``s = sqrt(1 - u^2)``; no NaN among the arguments, h and k may be infinite.
    """
    if h == 0.0 and k == 0.0:
        return orthant_at_zero(u, s, shift1, shift2)
    if shift1 != 0.0 and shift2 != 0.0:
        return centred_orthant(h, k, u, s)
    joint, lost = joint_probability(h, k, u, s, KEPT)
    if lost or min(h, k) < DEAD:
        joint = tail_moments(h, k, u, s)[0]
    if shift1 != 0.0 or shift2 != 0.0:
        joint -= shift2 * normal_cdf_minus(h, shift1) + shift1 * normal_cdf_(k)
    return joint


@njit(cache=True, error_model="numpy")
def bivariate_normal_cdf_loop(h, k, u, out):
    """L(h, k; u) for flat arrays of equal length."""
    for i in range(h.size):
        s = math.sqrt((1.0 - u[i]) * (1.0 + u[i]))
        out[i] = orthant(h[i], k[i], u[i], s, 0.0, 0.0)
