"""Jitted moments of two activations of which one has many widths: sums over atoms before
derivatives.

With the notation of ``symbolic.py``, K(2, n) is a density of h1 times a function of
``m1 = b2 - g1 b1``, so that

    K(m+1, n) = -i1 (b1 K(m, n) + (m - 2) K(m-1, n)) - g1 K(m, n+1),       m >= 2.

The coefficients know nothing of the second width: K(2, n) is summed over all widths of g by
straight loops that the compiler vectorises, and the recursion runs on sums, once per width of f.
The same with the indices exchanged gives K(m, n >= 2), and Stein's lemma the rest from L = K(1, 1),
or integrals of positive functions in the tails. All derivatives here are plain ones.
"""

from __future__ import annotations

import math

import numpy as np

from ...activations.vector_math import clipped_magnitude, erf_scaled, exp_, normal_tail, ramp_tail
from ...compiler import njit
from .. import jets
from .atom_mean_kernels import INV_SQRT_2PI, work_rows
from .bivariate_normal_kernels import DEAD, FAR, INV_2PI, NODES, PLACKETT_LIMIT, WEIGHTS, sine_
from .polynomial_kernels import add_in_frame, add_polynomials
from .slots import (
    COEFFICIENT_COUNT,
    EXCHANGED,
    FIRST,
    PLAIN,
    SHIFT,
    SLOT_P,
    SLOT_Q,
    SLOTS,
    WIDTH_COUNT,
)
from .stein_kernels import ENOUGH, tail_sums

# rows of the arrays over the widths of g that depend on g only, and on the width of f as well
V2, I2, X2, D2, F2, TAIL2 = range(6)
S2, R2, M2, CROSS, SINE = range(5)
# K(1,1), K(1,0), K(0,1), K(0,0) of all pairs of widths
A11, A10, A01, A00 = range(4)
FEW = 8  # widths of an activation that is no mixture
DISTANT = (
    -3.0
)  # standard deviations from a kink where the terms of the mean of a ramp begin to cancel
HIGHEST = 9  # most K(2, n) that a pair of silu neurons needs

#: Up to this correlation a rule of 8 nodes gives L to 3e-17.
WEAKEST_LIMIT = 0.4
_LOWER = [0.019855071751231884, 0.10166676129318664, 0.2372337950418355, 0.4082826787521751]
_WEIGHT = [0.05061426814518813, 0.11119051722668724, 0.15685332293894363, 0.181341891689181]
FEW_NODES = np.array(_LOWER + [1.0 - x for x in reversed(_LOWER)])
FEW_WEIGHTS = np.array(_WEIGHT + _WEIGHT[::-1])

_kernel = njit(
    cache=True, optimised=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
)
_inline = njit(optimised=True, forceinline=True, error_model="numpy", fastmath={"contract"})


@_inline
def _density_and_probability(x, shift):
    """exp(-x^2/2) and Phi(x) - shift, without cancellation for shifts of 0 and 1/2."""
    twice, density = erf_scaled(x)
    tail = normal_tail(clipped_magnitude(x))[1]
    upper = 1.0 - tail if x > 0.0 else tail
    return density, 0.5 * twice if shift != 0.0 else upper


@_kernel
def _prepare(t, C, b, shift, one):
    """Numbers that depend on the widths of one activation alone."""
    for j in range(t.size):
        variance = C + t[j]
        inverse = 1.0 / variance
        root = math.sqrt(inverse)
        density, probability = _density_and_probability(b * root, shift)
        one[V2, j] = variance
        one[I2, j] = inverse
        one[X2, j] = b * root
        one[D2, j] = INV_SQRT_2PI * root * density
        one[F2, j] = probability
        one[TAIL2, j] = normal_tail(clipped_magnitude(b * root))[1]


@_kernel
def _both_sides(t1, t2, C11, C12, C22, b1, b2, det, shift1, shift2, V1, d1, one, pair, K2, J2):
    """K(2, 0 ... 2) into K2 and K(0 ... 2, 2) into J2 for one width of f and all of g."""
    i1 = 1.0 / V1
    g1 = C12 * i1
    m1 = b2 - g1 * b1
    for j in range(t2.size):
        D = det + t1 * C22 + t2[j] * C11 + t1 * t2[j]
        inverse = 1.0 / D
        r1 = V1 * inverse
        r2 = one[V2, j] * inverse
        root1 = math.sqrt(r1)
        root2 = math.sqrt(r2)
        s1, s2 = D * i1, D * one[I2, j]
        m2 = b1 * (s2 * i1) - C12 * one[I2, j] * m1
        density, P1 = _density_and_probability(m1 * root1, shift2)
        P2 = _density_and_probability(m2 * root2, shift1)[1]
        joint = INV_SQRT_2PI * d1 * root1 * density
        pair[S2, j] = s2
        pair[R2, j] = r2
        pair[M2, j] = m2
        pair[CROSS, j] = r1
        K2[0, j] = d1 * m1 * P1 + s1 * joint
        K2[1, j] = d1 * P1
        K2[2, j] = joint
        J2[0, j] = one[D2, j] * m2 * P2 + s2 * joint
        J2[1, j] = one[D2, j] * P2
        J2[2, j] = joint
        pair[SINE, j] = math.sqrt(D * i1 * one[I2, j])
    for j in range(t2.size):
        x1 = m1 * math.sqrt(pair[CROSS, j])
        x2 = pair[M2, j] * math.sqrt(pair[R2, j])
        if x1 < DISTANT:
            K2[0, j] = d1 * math.sqrt(1.0 / pair[CROSS, j]) * ramp_tail(clipped_magnitude(x1))[2]
        if x2 < DISTANT:
            J2[0, j] = one[D2, j] * math.sqrt(pair[S2, j]) * ramp_tail(clipped_magnitude(x2))[2]


@_kernel
def _higher(m1, pair, last_row, last_column, K2, J2):
    """K(2, n) and K(n, 2) for n = 3 and higher: derivatives of the joint density."""
    n = K2.shape[1]
    for k in range(3, last_row + 1):
        for j in range(n):
            rest = (k - 3.0) * K2[k - 2, j] if k > 3 else 0.0
            K2[k, j] = -(m1 * K2[k - 1, j] + rest) * pair[CROSS, j]
    for k in range(3, last_column + 1):
        for j in range(n):
            rest = (k - 3.0) * J2[k - 2, j] if k > 3 else 0.0
            J2[k, j] = -(pair[M2, j] * J2[k - 1, j] + rest) * pair[R2, j]


# ---------------------------------------------------------------- orthant probabilities


@_kernel
def _weak(h, shifted1, k, shifted2, u, L, nodes, weights):
    """L for correlations up to 0.8 in descending order: the integral of the density over the
    correlation.
    """
    top = u[0] if u[0] != 0.0 else 1e-300
    angle = math.asin(top)
    for j in range(L.size):
        L[j] = 0.0
    for i in range(nodes.size):
        sine = sine_(angle * nodes[i])
        fraction = sine / top
        weight = INV_2PI * weights[i] * (angle / top) * math.sqrt(1.0 - sine * sine)
        for j in range(L.size):
            c = u[j] * fraction
            inverse = 1.0 / (1.0 - c * c)
            L[j] += (
                weight
                * math.sqrt(inverse)
                * exp_((h * k[j] * c - 0.5 * (h * h + k[j] * k[j])) * inverse)
            )
    for j in range(L.size):
        L[j] = u[j] * L[j] + shifted1 * shifted2[j]


@_kernel
def _centred(pair, u, L):
    """L where both means are 0, minus 1/4."""
    for j in range(L.size):
        L[j] = INV_2PI * math.atan2(u[j], pair[SINE, j])


@_kernel
def _owen(large, small, T):
    """T(large, small/large) by quadrature, 0 <= small <= large."""
    n = T.size
    for j in range(n):
        T[j] = 0.0
    for i in range(NODES.size):
        square = NODES[i] * NODES[i]
        for j in range(n):
            x = 1.0 + square * small[j] * small[j]
            T[j] += WEIGHTS[i] * exp_(-0.5 * large[j] * large[j] * x) / x
    for j in range(n):
        T[j] *= INV_2PI * small[j]


@_kernel
def _legs(h, tail_h, count, one, u, s, buffer):
    """Arguments of Owen's T of both legs: the larger coordinate, the ratio; signs and what the
    exchange adds.
    """
    for j in range(count):
        k = one[X2, j]
        y = (k - u[j] * h) / s[j]
        z = s[j] * h - u[j] * y
        tail_y = normal_tail(clipped_magnitude(y))[1]
        tail_z = normal_tail(clipped_magnitude(z))[1]
        a, b = abs(h), abs(y)
        large = max(a, b)
        small = min(a, b)
        sign = 1.0 if (h < 0.0) == (y < 0.0) else -1.0
        buffer[0, j] = large
        buffer[1, j] = small / large
        buffer[2, j] = -sign if b > a else sign
        rest = sign * (0.5 * (tail_h + tail_y) - tail_h * tail_y) if b > a else 0.0
        a, b = abs(k), abs(z)
        large = max(a, b)
        small = min(a, b)
        sign = 1.0 if (k < 0.0) == (z < 0.0) else -1.0
        buffer[3, j] = large
        buffer[4, j] = small / large
        buffer[5, j] = -sign if b > a else sign
        rest += sign * (0.5 * (one[TAIL2, j] + tail_z) - one[TAIL2, j] * tail_z) if b > a else 0.0
        buffer[6, j] = rest


@_kernel
def _strong(h, tail_h, shifted1, shift1, shift2, count, one, pair, u, L, buffer):
    """L for correlations beyond 0.8, those before ``count``: two T functions."""
    _legs(h, tail_h, count, one, u, pair[SINE], buffer)
    _owen(buffer[0, :count], buffer[1, :count], buffer[7, :count])
    _owen(buffer[3, :count], buffer[4, :count], buffer[8, :count])
    for j in range(count):
        k = one[X2, j]
        tail_k = one[TAIL2, j]
        cdf_k = tail_k if k < 0.0 else 1.0 - tail_k
        if (h < 0.0) == (k < 0.0):
            mean = 0.5 * (tail_h + tail_k) if h < 0.0 else 1.0 - 0.5 * (tail_h + tail_k)
        else:
            mean = 0.5 * (tail_h - tail_k) if h < 0.0 else 0.5 * (tail_k - tail_h)
        joint = mean - buffer[6, j] - buffer[2, j] * buffer[7, j] - buffer[5, j] * buffer[8, j]
        joint = min(max(joint, 0.0), 1.0)
        L[j] = joint - (shift2 * shifted1 + shift1 * cdf_k)


@_kernel
def _count(u, limit):
    """How many correlations are beyond the limit; they descend, as widths ascend."""
    count = 0
    while count < u.size and abs(u[count]) > limit:
        count += 1
    return count


@_kernel
def _orthants(h, shift1, shift2, C12, root1, one, pair, u, L, buffer):
    """E[(step(h1) - shift1) (step(h2) - shift2)] for one width of f and all of g."""
    n = L.size
    for j in range(n):
        u[j] = C12 * root1 * math.sqrt(one[I2, j])
    shifted1 = _density_and_probability(h, shift1)[1]
    if h == 0.0 and one[X2, 0] == 0.0:
        _centred(pair, u, L)
        for j in range(n):
            L[j] += (0.5 - shift1) * (0.5 - shift2)
        return
    strong = _count(u, PLACKETT_LIMIT)
    weakest = _count(u, WEAKEST_LIMIT)
    if strong > 0:
        tail_h = normal_tail(clipped_magnitude(h))[1]
        h = min(max(h, -FAR), FAR)
        _strong(h, tail_h, shifted1, shift1, shift2, strong, one, pair, u, L, buffer)
    k = one[X2]
    shifted2 = one[F2]
    if strong < weakest:
        part = slice(strong, weakest)
        _weak(h, shifted1, k[part], shifted2[part], u[part], L[part], NODES, WEIGHTS)
    if weakest < n:
        part = slice(weakest, n)
        _weak(h, shifted1, k[part], shifted2[part], u[part], L[part], FEW_NODES, FEW_WEIGHTS)


@_kernel
def _stein(C12, V1, b1, b2, one, K2, J2, A):
    """K(1,0), K(0,1) and K(0,0) from L = K(1,1), for one width of f and all of g."""
    for j in range(A.shape[1]):
        A[A10, j] = b2 * A[A11, j] + C12 * K2[1, j] + one[V2, j] * J2[1, j]
        A[A01, j] = b1 * A[A11, j] + C12 * J2[1, j] + V1 * K2[1, j]
        A[A00, j] = b1 * A[A10, j] + V1 * K2[0, j] + C12 * A[A11, j]


@_kernel
def _tails(h, r1, shift1, shift2, one, pair, u, A):
    """Replace the sums of widths at which a neuron is hardly ever active, or where their terms
    cancel.

    The conditions are those of ``stein_kernels``.
    """
    cdf_h = _density_and_probability(h, 0.0)[1]
    for j in range(A.shape[1]):
        k = one[X2, j]
        dead = min(h, k) < DEAD
        if not dead:
            cdf_k = one[TAIL2, j] if k < 0.0 else 1.0 - one[TAIL2, j]
            joint = A[A11, j] + shift2 * cdf_h + shift1 * cdf_k
            if abs(u[j]) > PLACKETT_LIMIT:
                dead = joint < ENOUGH * (cdf_h + cdf_k)
            elif shift1 == 0.0 and shift2 == 0.0:
                dead = u[j] < 0.0 and joint < ENOUGH * cdf_h * cdf_k
        if dead:
            r2 = one[V2, j] * math.sqrt(one[I2, j])
            sums = tail_sums(h, k, u[j], pair[SINE, j], r1, r2, shift1, shift2)
            A[A00, j], A[A10, j], A[A01, j], A[A11, j] = sums


# ---------------------------------------------------------------- assembly


@_kernel
def _dot(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@_kernel
def _kinds(W):
    """Which of ramps, steps and densities occur."""
    found = np.zeros(3, dtype=np.bool_)
    for k in range(3):
        for j in range(W[k].size):
            if W[k][j] != 0.0:
                found[k] = True
    return found


@_kernel
def _add_rows(out, count, W1, a, W2, kinds2, top, V1, g1, b1, K2, F):
    """Terms K(m, n) with m >= 2 of one width of f."""
    i1 = 1.0 / V1
    highest1 = 2
    while highest1 > 0 and W1[highest1][a] == 0.0:
        highest1 -= 1
    last = top + highest1 - 2
    if last < 0:
        return
    for q in range(last + 1):
        F[2, q] = 0.0
        for k in range(3):
            if kinds2[k]:
                F[2, q] += _dot(W2[k], K2[k + q])
    for m in range(2, last + 2):
        for q in range(last + 2 - m):
            before = (m - 2.0) * F[m - 1, q] if m > 2 else 0.0
            F[m + 1, q] = -i1 * (b1 * F[m, q] + before) - g1 * F[m, q + 1]
    for slot in range(count):
        p, q = SLOT_P[slot], SLOT_Q[slot]
        for k in range(3):
            if k + p >= 2 and W1[k][a] != 0.0:
                out[slot] += W1[k][a] * F[k + p, q]


@_kernel
def _add_columns(out, count, k1, sums, W2, kinds2, top, one, C12, b2, U):
    """Terms K(m, n) with m = k1 + p <= 1 and n >= 2, from ``sums[j] = sum_a w K(j, 2)``, for all
    widths of g.
    """
    n = W2[0].size
    for kind in range(3):
        if not kinds2[kind] or top + kind < 2:
            continue
        last = top + kind  # U[m - k1, n]: K(m, n)
        for m in range(last - 1):
            for j in range(n):  # a slice would compile error messages for a second
                U[m, 2, j] = sums[k1 + m, j]
        for order in range(2, last):
            for m in range(last - order):
                for j in range(n):
                    before = (order - 2.0) * U[m, order - 1, j] if order > 2 else 0.0
                    U[m, order + 1, j] = -one[I2, j] * (
                        b2 * U[m, order, j] + before + C12 * U[m + 1, order, j]
                    )
        for slot in range(count):
            p, q = SLOT_P[slot], SLOT_Q[slot]
            if k1 + p <= 1 and kind + q >= 2:
                out[slot] += _dot(W2[kind], U[p, kind + q])


@_kernel
def _add_sums(out, count, sums):
    """Terms K(m, n) with m, n <= 1."""
    for k1 in range(2):
        for k2 in range(2):
            for slot in range(count):
                m = k1 + SLOT_P[slot]
                n = k2 + SLOT_Q[slot]
                if m <= 1 and n <= 1:
                    out[slot] += sums[k1, k2, 3 - 2 * m - n if m + n < 2 else A11]


@_kernel
def add_mixture(out, order, t1, W1, t2, W2, shift1, shift2, C11, C12, C22, b1, b2, det):
    """Add the plain moments of all pairs of atoms to the slots of ``slots.py``.

    ``t`` (n,) are the squared widths in ascending order, those of g positive; ``W`` a tuple of the
    weights of ramps, steps and densities. C11 + t1 must be positive.
    """
    n = t2.size
    top = 2 * order
    count = SLOTS[order]
    kinds1 = _kinds(W1)
    kinds2 = _kinds(W2)
    highest1 = 2 if kinds1[2] else 1 if kinds1[1] else 0
    highest2 = 2 if kinds2[2] else 1 if kinds2[1] else 0
    last_row = max(top + highest1 + highest2 - 2, 2)
    last_column = max(top + highest2 - 1, 2)
    one = np.empty((6, n))
    pair = np.empty((5, n))
    buffer = np.empty((9, n))
    u, A = np.empty(n), np.zeros((4, n))
    K2 = np.empty((HIGHEST, n))
    J2 = np.empty((HIGHEST, n))
    F = np.empty((HIGHEST, HIGHEST))
    columns = np.zeros((2, HIGHEST, n))
    sums = np.zeros((2, 2, 4))
    _prepare(t2, C22, b2, shift2, one)
    uses_L = (kinds1[0] or kinds1[1]) and (kinds2[0] or kinds2[1])
    for a in range(t1.size):
        V1 = C11 + t1[a]
        root1 = math.sqrt(1.0 / V1)
        g1 = C12 / V1
        d1 = INV_SQRT_2PI * root1 * _density_and_probability(b1 * root1, 0.0)[0]
        _both_sides(
            t1[a], t2, C11, C12, C22, b1, b2, det, shift1, shift2, V1, d1, one, pair, K2, J2
        )
        _higher(b2 - g1 * b1, pair, last_row, last_column, K2, J2)
        _add_rows(out, count, W1, a, W2, kinds2, top, V1, g1, b1, K2, F)
        if uses_L:
            _orthants(b1 * root1, shift1, shift2, C12, root1, one, pair, u, A[A11], buffer)
            _stein(C12, V1, b1, b2, one, K2, J2, A)
            if t1.size < FEW and (shift1 == 0.0 or shift2 == 0.0) and (b1 != 0.0 or b2 != 0.0):
                _tails(b1 * root1, V1 * root1, shift1, shift2, one, pair, u, A)
        for k1 in range(2):
            w = W1[k1][a]
            if w == 0.0:
                continue
            for m in range(last_column + 1):
                for j in range(n):
                    columns[k1, m, j] += w * J2[m, j]
            for k2 in range(2):
                if not kinds2[k2]:
                    continue
                for i in range(4):
                    sums[k1, k2, i] += w * _dot(W2[k2], A[i])
    U = np.empty((HIGHEST, HIGHEST, n))
    for k1 in range(2):
        if kinds1[k1]:
            _add_columns(out, count, k1, columns[k1], W2, kinds2, top, one, C12, b2, U)
    _add_sums(out, count, sums)


@_kernel
def _widths_and_weights(row):
    """Squared widths, and the weights of ramps, steps and densities, of a row of the table."""
    start = FIRST + int(row[COEFFICIENT_COUNT])
    n = int(row[WIDTH_COUNT])
    W = (
        row[start + n : start + 2 * n],
        row[start + 2 * n : start + 3 * n],
        row[start + 3 * n : start + 4 * n],
    )
    return row[start : start + n], W


@_kernel
def mixture_slots_loop(table, f, g, C11, C12, C22, b1, b2, det, plain, order, out):
    """Slots of n pairs into ``out`` (n, 15), plain derivatives or those of the frame; the longer
    activation is summed first.
    """
    work = work_rows(table)
    for n in range(f.size):
        c1 = 0.0 if plain else jets.slope(C12[n], C11[n])
        c2 = 0.0 if plain else jets.slope(C12[n], C22[n])
        slopes = (c1, c2)
        for slot in range(SLOTS[order]):
            out[n, slot] = 0.0
        if table[f[n], COEFFICIENT_COUNT] > 0.0 or table[g[n], COEFFICIENT_COUNT] > 0.0:
            gaussian = (C11[n], C12[n], C22[n], b1[n], b2[n], det[n])
            add_polynomials(out[n], order, table, f[n], g[n], gaussian, slopes, work)
        exchanged = table[f[n], WIDTH_COUNT] > table[g[n], WIDTH_COUNT]
        i, j = (g[n], f[n]) if exchanged else (f[n], g[n])
        V1, V2 = (C22[n], C11[n]) if exchanged else (C11[n], C22[n])
        m1, m2 = (b2[n], b1[n]) if exchanged else (b1[n], b2[n])
        t1, W1 = _widths_and_weights(table[i])
        t2, W2 = _widths_and_weights(table[j])
        slots = np.zeros(SLOTS[2])
        add_mixture(
            slots,
            order,
            t1,
            W1,
            t2,
            W2,
            table[i, SHIFT],
            table[j, SHIFT],
            V1,
            C12[n],
            V2,
            m1,
            m2,
            max(det[n], 0.0),
        )
        for slot in range(SLOTS[order]):
            work[PLAIN, EXCHANGED[slot] if exchanged else slot] = slots[slot]
        add_in_frame(out[n], order, work, slopes)
