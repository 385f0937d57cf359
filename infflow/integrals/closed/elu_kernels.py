"""Jitted Gaussian integrals of elu and selu with polynomials, atoms and each other: one integral
over one variable.

A one-sided exponential is ``S h`` for h > 0 and ``A (exp(h) - 1)`` for h < 0 (elu: S = A = 1). A
derivative is a function R_p plus delta functions, ``f^(p) = R_p + sum_{m < p} J_m delta^(p-1-m)``
with the jumps J_m of f^(m) at 0, and

    I(p, q) = E[R_p(h1) Q_q(mu)] + delta functions of f against all of g^(q) + R_p against delta
    functions of g.

Q_q(mu) is the mean of the regular part of g^(q) given h1: h2 is then normal with mean
``mu = b2 + C12/C11 (h1 - b1)`` and variance ``s^2 = det/C11``, and Q_q is a sum of normal
distribution functions, densities and, for elu, of
``E exp(h) 1[h < 0] = exp(mu + s^2/2) Phi(-(mu/s + s))``. It stays bounded for s -> 0: all powers of
1/s are in the terms of the delta functions, which are closed (``E[delta^(k)(h1) g(h2)]`` is a
derivative of density times conditional mean).

The one integral runs over the standardised h1 on Gauss-Legendre panels that end at the kink of f,
where ``mu = 0``, and at fixed multiples of the lengths on which n(x), exp(h1) and Q_q change
(``_panels``). A row of the table of ``slots.py`` describes the polynomial and the atoms of g.
"""

from __future__ import annotations

import math

from ...activations.vector_math import (
    clipped_magnitude,
    erf_scaled,
    exp_,
    exp_pair,
    normal_tail,
    ramp_tail,
)
from ...compiler import njit
from .bivariate_normal_kernels import NODES, WEIGHTS
from .slots import COEFFICIENT_COUNT, FIRST, SHIFT, WIDTH_COUNT

INV_SQRT_2PI = 0.3989422804014327
SMALLEST_VARIANCE = 1e-100  # below, a variance counts as 0: its inverse powers must not overflow
ROUNDING = 1e-15
ORDERS = 5
SMOOTH = 9  # number of the first jump of a function without kinks
REACH = 12.0  # standard deviations: exp(-12^2/4) = 2e-16, for partners that are large in the tail
BEYOND = 9.0  # standard deviations beyond a distant kink: exp(-9^2/2) = 3e-18
FAR = 38.5  # exp(-FAR^2/2) = 0
DISTANT = (
    -3.0
)  # standard deviations from a kink where the terms of the mean of a ramp begin to cancel
DISTANCE = 4.0  # standard deviations from which on LONGEST_PANEL is too long
LONGEST_PANEL = 3.0
MIXTURE_WIDTHS = 8  # a logistic mixture has at least as many
# sigmoid(x/t) is a mixture of widths from 0.36 t to 9.9 t; its tail is exp(-x/t)
NARROWEST = 0.36
WIDEST = 9.9

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
_sums = njit(
    cache=True, error_model="numpy", fastmath={"contract", "reassoc"}
)  # lets sums over widths be vectorised


# ---------------------------------------------------------------- means of one variable


@_inline
def _scaled_tail(a):
    """(1 - Phi(a)) exp(a^2/2) for a >= 0; beyond 30 by its asymptotic series."""
    if a <= 30.0:
        density, tail = normal_tail(a)
        return tail / density
    y = 1.0 / a
    z = y * y
    q = 1.0 - z * (1.0 - z * (3.0 - z * (15.0 - z * (105.0 - z * (945.0 - z * 10395.0)))))
    return INV_SQRT_2PI * y * q


@_inline
def _below_zero(mu, s, density, tail):
    """``E[(exp(h) - 1) 1[h < 0]]`` of small arguments by the moments of h below 0; density
    exp(-z^2/2), tail Phi(-z).
    """
    before = tail
    moment = mu * tail - s * INV_SQRT_2PI * density
    total = moment
    factor = 1.0
    for k in range(2, 13):
        before, moment = moment, mu * moment + (k - 1) * s * s * before
        factor /= k
        total += factor * moment
    return total


@_kernel
def add_one_sided(S, A, mu, s, out):
    """Add E R_q(h), q = 0 ... 4, of S h for h > 0, A (exp(h) - 1) for h < 0, h ~ N(mu, s^2)."""
    if s == 0.0:
        e, em = exp_pair(min(mu, 0.0))
        above = 0.5 if mu == 0.0 else (1.0 if mu > 0.0 else 0.0)
        ramp = max(mu, 0.0)
        low = em
        t = (1.0 - above) * e
    else:
        z = mu / s
        density, tail = normal_tail(clipped_magnitude(z))
        above, under = (1.0 - tail, tail) if z > 0.0 else (tail, 1.0 - tail)
        ramp = mu * above + s * INV_SQRT_2PI * density
        a = z + s
        # both forms of exp(mu + s^2/2) Phi(-a); the first has no large factor, the second no small
        # one
        t = (
            density * _scaled_tail(a)
            if a > 0.0
            else exp_(mu + 0.5 * s * s) * (1.0 - normal_tail(clipped_magnitude(a))[1])
        )
        low = _below_zero(mu, s, density, under) if abs(mu) + 8.0 * s < 0.25 else t - under
    out[0] += S * ramp + A * low
    out[1] += S * above + A * t
    for q in range(2, ORDERS):
        out[q] += A * t


@_kernel
def smoothed_polynomial(row, variance, out):
    """Coefficients of ``E p(x + s e)`` as a polynomial in x into ``out``: the series exp(s^2/2
    d^2/dx^2), which ends.
    """
    size = int(row[COEFFICIENT_COUNT])
    for n in range(size):
        out[n] = 0.0
        factor = 1.0
        for k in range((size - 1 - n) // 2 + 1):
            out[n] += factor * row[FIRST + n + 2 * k]
            factor *= 0.5 * variance / (k + 1) * (n + 2 * k + 1) * (n + 2 * k + 2)


@_inline
def _add_polynomial(coefficients, size, x, out):
    """Add the derivatives 0 to 4 of a polynomial at x, by Horner's scheme."""
    d0 = d1 = d2 = d3 = d4 = 0.0
    for k in range(size - 1, -1, -1):
        d4 = d4 * x + d3
        d3 = d3 * x + d2
        d2 = d2 * x + d1
        d1 = d1 * x + d0
        d0 = d0 * x + coefficients[k]
    out[0] += d0
    out[1] += d1
    out[2] += 2.0 * d2
    out[3] += 6.0 * d3
    out[4] += 24.0 * d4


@_sums
def _add_atoms(row, first, count, start, shift, mu, variance, inverse, root, out):
    """Add the atoms of positive inflated variances, numbers ``start`` to ``count``, with their
    derivatives.
    """
    o0 = o1 = o2 = o3 = o4 = 0.0
    for k in range(start, count):
        i = inverse[k]
        x = mu * root[k]
        if shift != 0.0:
            twice, e = erf_scaled(x)
            above = 0.5 * twice
        else:
            e, tail = normal_tail(clipped_magnitude(x))
            above = 1.0 - tail if x > 0.0 else tail
        n0 = INV_SQRT_2PI * root[k] * e
        n1 = -mu * n0 * i
        n2 = -(mu * n1 + n0) * i
        n3 = -(mu * n2 + 2.0 * n1) * i
        n4 = -(mu * n3 + 3.0 * n2) * i
        ramp = row[first + count + k]
        step = row[first + 2 * count + k]
        bump = row[first + 3 * count + k]
        whole = above + shift  # a ramp has the whole distribution function as its derivative
        o0 += ramp * (mu * whole + variance[k] * n0) + step * above + bump * n0
        o1 += ramp * whole + step * n0 + bump * n1
        o2 += ramp * n0 + step * n1 + bump * n2
        o3 += ramp * n1 + step * n2 + bump * n3
        o4 += ramp * n2 + step * n3 + bump * n4
    out[0] += o0
    out[1] += o1
    out[2] += o2
    out[3] += o3
    out[4] += o4


@_inline
def _add_kinks(row, first, count, shift, mu, s, out):
    """Add the regular parts of a ramp and a step, the atoms number 0, of width 0."""
    ramp = row[first + count]
    step = row[first + 2 * count]
    if s == 0.0:
        density = 0.0
        above = (0.5 if mu == 0.0 else (1.0 if mu > 0.0 else 0.0)) - shift
    elif shift != 0.0:
        twice, density = erf_scaled(mu / s)
        above = 0.5 * twice
    else:
        density, tail = normal_tail(clipped_magnitude(mu / s))
        above = 1.0 - tail if mu > 0.0 else tail
    if mu < DISTANT * s:  # the two terms of the mean of the ramp cancel
        mean = s * ramp_tail(clipped_magnitude(mu / s))[2] if s > 0.0 else 0.0
    else:
        mean = mu * (above + shift) + s * INV_SQRT_2PI * density
    out[0] += ramp * mean + step * above
    out[1] += ramp * (above + shift)


@_kernel
def prepare(row, s, work):
    """Inflated variances of the atoms, their inverses and roots of these, and the smoothed
    polynomial, as rows of work.
    """
    first = FIRST + int(row[COEFFICIENT_COUNT])
    count = int(row[WIDTH_COUNT])
    for k in range(count):
        work[0, k] = row[first + k] + s * s
        work[1, k] = 1.0 / work[0, k] if work[0, k] > 0.0 else 0.0
        work[2, k] = math.sqrt(work[1, k])
    smoothed_polynomial(row, s * s, work[3])


@_kernel
def regular_means(row, S, A, mu, s, work, out):
    """``Q_q``, q = 0 ... 4: means of the regular parts of g^(q) at N(mu, s^2); ``work``
    by :func:`prepare`.
    """
    for q in range(ORDERS):
        out[q] = 0.0
    size = int(row[COEFFICIENT_COUNT])
    count = int(row[WIDTH_COUNT])
    first = FIRST + size
    start = 0
    if size > 0:
        _add_polynomial(work[3], size, mu, out)
    if count > 0 and row[first] == 0.0:
        _add_kinks(row, first, count, row[SHIFT], mu, s, out)
        start = 1
    if count > start:
        _add_atoms(row, first, count, start, row[SHIFT], mu, work[0], work[1], work[2], out)
    if A != 0.0:
        add_one_sided(S, A, mu, s, out)


@_kernel
def jumps(row, S, A, out):
    """Jumps of the derivatives 0 to 3 at 0 into ``out``; returns the number of the first."""
    first = FIRST + int(row[COEFFICIENT_COUNT])
    count = int(row[WIDTH_COUNT])
    out[0] = out[1] = 0.0
    if count > 0 and row[first] == 0.0:
        out[0] = row[first + 2 * count]
        out[1] = row[first + count]
    out[1] += S - A
    out[2] = out[3] = -A
    for m in range(4):
        if out[m] != 0.0:
            return m
    return SMOOTH


@_kernel
def bumps(mean, s, out):
    """``d^k/dmean^k`` of the density at 0 of N(mean, s^2), k = 0 ... 3; zeros for s = 0."""
    z = mean / s if s > 0.0 else FAR
    if abs(z) >= FAR:
        for k in range(4):
            out[k] = 0.0
        return
    i = 1.0 / s
    out[0] = INV_SQRT_2PI * normal_tail(abs(z))[0] * i
    out[1] = -z * out[0] * i
    out[2] = -(z * out[1] + out[0] * i) * i
    out[3] = -(z * out[2] + 2.0 * out[1] * i) * i


@_kernel
def whole_means(regular, jump, bump, out):
    """``E g^(q)``, q = 0 ... 4, from its regular part and its delta functions."""
    for q in range(ORDERS):
        out[q] = regular[q]
        for m in range(q):
            out[q] += jump[m] * bump[q - 1 - m]


# ---------------------------------------------------------------- panels


@_inline
def _layer(ends, n, place, length, low, high):
    """Breaks around a place where something changes like a normal distribution of this standard
    deviation.
    """
    for k in range(1, 4):
        for x in (place - 3.0 * k * length, place + 3.0 * k * length):
            if low < x < high:
                ends[n] = x
                n += 1
    return n


@_inline
def _descent(ends, n, place, low, high):
    """Breaks beyond a distant place, where the normal density falls as exp(-place x)."""
    if abs(place) > DISTANCE:
        for drop in (10.0, 25.0):
            x = place + drop / place
            if low < x < high:
                ends[n] = x
                n += 1
    return n


@_kernel
def _panels(ends, row, S1, A, K, r, b2, slope, s):
    """Sorted ends of panels in x = (h1 - b1)/r into ``ends``; returns their number.

    K is the kink of f, beyond which it is 0 if its slope S1 is; ``mu = b2 + slope x``. The range is
    what the squares of f and of its derivatives need: those of exp(h1) are largest at
    x = min(K, 2 r), and those of order 2 and higher end at K.
    """
    low = K - REACH if -FAR < K < 0.0 else -REACH
    high = REACH + min(2.0 * r, max(K, 0.0))
    if (
        b2 < 0.0 or A != 0.0
    ):  # g, or what is left of it, lives around this place if that is far away
        centre = -b2 * slope / (slope * slope + s * s) if slope != 0.0 else 0.0
        low = min(low, centre - BEYOND) if centre < BEYOND - REACH else low
        high = max(high, centre + BEYOND) if centre > REACH - BEYOND else high
    low = max(low, -FAR)
    high = min(high, FAR)
    if S1 == 0.0:
        high = max(min(high, K), low)
    ends[0] = low
    ends[1] = high
    n = 2
    for k in range(4):  # exp(h1) at 0, -8, -24, -40
        x = K - (0.0, 8.0, 24.0, 40.0)[k] / r
        if low < x < high:
            ends[n] = x
            n += 1
    n = _descent(ends, n, K, low, high)
    size = int(row[COEFFICIENT_COUNT])
    count = int(row[WIDTH_COUNT])
    first = FIRST + size
    steep = abs(slope)
    if steep > 0.0 and (count > 0 or A != 0.0):
        place = -b2 / slope
        if low < place < high:
            ends[n] = place
            n += 1
        n = _descent(ends, n, place, low, high)
        if count >= MIXTURE_WIDTHS:
            narrow = row[first] / NARROWEST**2
            widest = 0.0
            for k in range(count):
                if row[first + count + k] != 0.0 or row[first + 2 * count + k] != 0.0:
                    widest = row[first + k]
            length = 3.0 * math.sqrt(narrow + s * s)
            end = 48.0 * math.sqrt(widest) / WIDEST + 12.0 * s
            while length < 2.0 * end:
                for x in (place - length / steep, place + length / steep):
                    if low < x < high:
                        ends[n] = x
                        n += 1
                length *= 2.0
        else:
            for k in range(count):
                n = _layer(ends, n, place, math.sqrt(row[first + k] + s * s) / steep, low, high)
        if A != 0.0:
            n = _layer(ends, n, place, s / steep, low, high)
            for depth in (8.0, 24.0, 40.0):  # exp(mu)
                x = place - (depth + 9.0 * s) / slope
                if low < x < high:
                    ends[n] = x
                    n += 1
    ends[:n].sort()
    return n


@_kernel
def regular_integrals(out, frame, row, S1, A1, S2, A2, r, b1, b2, slope, s, work, ends, Q):
    """``out[p, q] = E[R_p(h1) Q_q(mu)]``, p = 0 ... 2 (those of p > 2 are the same), q = 0 ... 4.

    ``frame[0]``: means of ``R_2 Q_0 (x^2-1), R_2 Q_1 x, R_1 Q_2 x, R_0 Q_3 x, R_0 Q_2 (x^2-1)``;
    ``frame[1]``: of their magnitudes.
    """
    out[:] = 0.0
    frame[:] = 0.0
    K = -b1 / r
    count = _panels(ends, row, S1, A2, K, r, b2, slope, s)
    for i in range(count - 1):
        parts = max(math.ceil((ends[i + 1] - ends[i]) / LONGEST_PANEL), 1)
        length = (ends[i + 1] - ends[i]) / parts
        exponential = 0.5 * (ends[i] + ends[i + 1]) < K
        for part in range(parts):
            start = ends[i] + part * length
            for k in range(NODES.size):
                x = start + length * NODES[k]
                weight = INV_SQRT_2PI * length * WEIGHTS[k] * exp_(-0.5 * x * x)
                h = r * (x - K) if abs(K) < 2.0 * FAR else b1 + r * x
                regular_means(row, S2, A2, b2 + slope * x, s, work, Q)
                if exponential:
                    e, em = exp_pair(min(h, 0.0))
                    value = A1 * em * weight
                    tilt = A1 * e * weight
                    curved = A1 * e * weight
                else:
                    value = S1 * max(h, 0.0) * weight
                    tilt = S1 * weight
                    curved = 0.0
                for q in range(ORDERS):
                    out[0, q] += value * Q[q]
                    out[1, q] += tilt * Q[q]
                    out[2, q] += curved * Q[q]
                y = x * x - 1.0
                _add_in_frame(
                    frame,
                    curved * y * Q[0],
                    curved * x * Q[1],
                    tilt * x * Q[2],
                    value * x * Q[3],
                    value * y * Q[2],
                )


@_inline
def _add_in_frame(frame, t0, t1, t2, t3, t4):
    """Add five terms, and their magnitudes."""
    frame[0, 0] += t0
    frame[0, 1] += t1
    frame[0, 2] += t2
    frame[0, 3] += t3
    frame[0, 4] += t4
    frame[1, 0] += abs(t0)
    frame[1, 1] += abs(t1)
    frame[1, 2] += abs(t2)
    frame[1, 3] += abs(t3)
    frame[1, 4] += abs(t4)
