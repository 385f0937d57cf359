"""Jitted estimates of what rounding does to the moments of ``atom_kernels``.

Errors are in units of eps. They follow the formulas of the kernels, with the notation of
``symbolic.py``: what is computed directly has the relative error of its own evaluation and of the
rounding of its arguments, and sums add the absolute errors of their terms, so that a difference of
nearly equal terms is known to be one.

* A density ``d1`` has the relative error of its exponent, ``(b1/sd1)^2``; ``K(2, n)``, which is d1
  times a function of the conditional mean m1, the error of m1 = b2 - g1 b1 times ``K(2, n+1)``.
* The sums K(0,0), K(1,0), K(0,1), K(1,1) have the errors of their terms, or those of a positive
  integral.
* The others follow by ``K(m+1, n) = -i1 (b1 K(m, n) + (m-2) K(m-1, n)) - g1 K(m, n+1)``.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler import njit
from .atom_mean_kernels import gaussian_at_zero, ramp_mean, reciprocal
from .bivariate_normal_kernels import PLACKETT_LIMIT
from .slots import COEFFICIENT_COUNT, FIRST, SHIFT, WIDTH_COUNT
from .stein_kernels import stein_sums
from .two_atoms_kernels import sides

EPS = 2.220446049250313e-16
OWN = 4.0  # roundings of an evaluation whose arguments are exact
HIGHEST = 12  # rows of the tables of errors

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy")


# ---------------------------------------------------------------- one dimension


@_kernel
def _atom_error(k, j, b, V, shift):
    """Error of the mean of derivative j of a ramp, step or density (k = 0, 1, 2) at N(b, V)."""
    inverse = reciprocal(V)
    density, probability = gaussian_at_zero(b, inverse, shift if k == 1 else 0.0)
    distance = b * b * inverse
    if k + j == 0:
        ramp = ramp_mean(b, V, inverse, probability, density)
        return OWN * ramp + (OWN + distance) * min(ramp, V * density) + abs(b) * probability
    if k + j == 1:
        return OWN * abs(probability) + abs(b) * density
    # sizes of the derivatives of the density
    previous = 0.0
    current = density
    for n in range(k + j - 2):
        previous, current = current, (abs(b) * current + n * previous) * inverse
    return (OWN + distance) * current


@_kernel
def _polynomial_size(table, f, j, b, C):
    """Mean of derivative j of the polynomial of f, all terms taken positive."""
    total = 0.0
    previous = 0.0
    power = 1.0
    for n in range(int(table[f, COEFFICIENT_COUNT]) - j):
        falling = 1.0
        for i in range(j):
            falling *= n + j - i
        total += abs(table[f, FIRST + n + j]) * falling * power
        previous, power = power, abs(b) * power + n * C * previous
    return total


@_kernel
def _mean_error(table, f, j, b, C):
    """Error of the mean of derivative j of the atoms of f."""
    error = 0.0
    start = FIRST + int(table[f, COEFFICIENT_COUNT])
    count = int(table[f, WIDTH_COUNT])
    for a in range(start, start + count):
        for k in range(3):
            weight = abs(table[f, a + (k + 1) * count])
            if weight != 0.0:
                error += weight * _atom_error(k, j, b, C + table[f, a], table[f, SHIFT])
    return error


@_kernel
def _polynomial_error(table, f, g, p, q, C11, C12, C22, b1, b2):
    """Error of the products with a polynomial: of the terms of a Mehler series."""
    size_f = int(table[f, COEFFICIENT_COUNT])
    size_g = int(table[g, COEFFICIENT_COUNT])
    total = 0.0
    power = 1.0
    for j in range(max(size_f - p, size_g - q)):
        if j < size_f - p:
            other = _mean_error(table, g, j + q, b2, C22) + OWN * _polynomial_size(
                table, g, j + q, b2, C22
            )
            total += power * _polynomial_size(table, f, j + p, b1, C11) * other
        if j < size_g - q:
            other = _mean_error(table, f, j + p, b1, C11)
            total += power * _polynomial_size(table, g, j + q, b2, C22) * other
        power *= abs(C12) / (j + 1)
    return total


# ---------------------------------------------------------------- two atoms


@_kernel
def _row(F, last, h2, E, d, R, P, q, m, s, r):
    """Errors of K(2, n) = d1 times a function of m1, n = 0 ... last, into the row 2 of F.

    ``E`` is the error of m, ``h2`` that of the exponent of d.
    """
    before = d * R
    now = d * abs(P)
    after = d * q
    then = abs(m) * r * d * q
    for n in range(last + 1):
        # in the third place errors of second order, and what s is wrong by
        F[2, n] = (OWN + h2) * before + E * now + (EPS * E * E + OWN * s) * after
        before = now
        now = after
        after = then
        then = r * (abs(m) * after + (n + 1.0) * now)


@_kernel
def _recursion(F, m, n, b, i, g):
    """The error of K(m, n), m >= 2, from those of K(2, n) in F."""
    for k in range(2, m):
        for j in range(n + m - k):
            before = (k - 2.0) * F[k - 1, j] if k > 2 else 0.0
            F[k + 1, j] = i * (abs(b) * F[k, j] + before) + abs(g) * F[k, j + 1]
    return F[m, n]


@_kernel
def _term_error(m, n, widths, shifts, gaussian, F):
    """The error of K(m, n) of the atoms with these squared widths; what it follows is in
    ``two_atoms_kernels``.
    """
    C12 = gaussian[1]
    first, second, D, parallel = sides(gaussian, *widths, *shifts)
    b1, V1, i1, g1, m1, s1, r1, d1, F1, q1, P1 = first
    b2, V2, i2, g2, m2, s2, r2, d2, F2, q2, P2 = second
    shift1, shift2 = shifts
    E1 = 0.0 if parallel else abs(b2) + abs(g1 * b1)
    E2 = 0.0 if parallel else abs(b1) + abs(g2 * b2)
    x1, x2 = b1 * b1 * i1, b2 * b2 * i2
    R1 = ramp_mean(m1, s1, r1, P1, q1)
    R2 = ramp_mean(m2, s2, r2, P2, q2)
    if m >= 2:
        _row(F, n + m - 2, x1, E1, d1, abs(R1), P1, q1, m1, s1, r1)
        return _recursion(F, m, n, b1, i1, g1)
    if n >= 2:
        _row(F, n + m - 2, x2, E2, d2, abs(R2), P2, q2, m2, s2, r2)
        return _recursion(F, n, m, b2, i2, g2)
    A00, A10, A01, L, lost = stein_sums(first, second, C12, shift1, shift2, R1, R2)
    step1 = d1 * abs(P1)
    step2 = d2 * abs(P2)
    if lost:
        steps = (step1, step2)
        ramps = (d1 * R1, d2 * R2)
        sums = (A00, A10, A01, L)
        own = OWN + (x1 if b1 * math.sqrt(i1) < b2 * math.sqrt(i2) else x2)
        return _tail_error(
            m, n, own, (b1, b2), (V1, V2), (shift1, shift2), (E1, E2), steps, ramps, sums
        )
    terms = abs(L)
    if i1 > 0.0 and i2 > 0.0 and (b1 != 0.0 or b2 != 0.0):
        if abs(C12) * math.sqrt(i1 * i2) <= PLACKETT_LIMIT:
            terms = abs(F1 * F2) + abs(L - F1 * F2) * (1.0 + min(x1, x2))
        else:
            terms = max(terms, 0.5 * (abs(F1) + abs(F2) + shift1 + shift2))
    error = OWN * terms + E1 * step2 + E2 * step1
    if m + n == 2:
        return error
    _row(F, 0, x1, E1, d1, abs(R1), P1, q1, m1, s1, r1)
    ramp1 = F[2, 0]
    # P1 and P2 share the error of m1, as m2 is made of m1: in K(1,0) its parts cancel, in K(0,1)
    # all but s2 d1 q1
    joint = d2 * q2 * (abs(b1) * D * i1 * i2 + abs(g2 * m1))
    error1 = (OWN + x1) * step1 + OWN * abs(m1) * d1 * q1
    error2 = (OWN + x2) * step2 + OWN * abs(m2) * d2 * q2 + joint
    if n == 1:
        return abs(b1) * error + abs(C12) * error2 + V1 * error1 + s2 * E1 * d1 * q1
    one = abs(b2) * error + abs(C12) * error1 + V2 * error2
    if m == 1:
        return one
    return abs(b1) * one + V1 * ramp1 + abs(C12) * error


@_kernel
def _tail_error(m, n, own, b, V, shifts, E, steps, ramps, sums):
    """The same for integrals of positive functions: their exponents, and the rounding of their
    arguments.

    ``own`` is the relative error of the exponential; ``steps`` and ``ramps`` are K(2,1), K(1,2) and
    K(2,0), K(0,2).
    """
    A00, A10, A01, L = sums
    if m == 0 and n == 0:
        return own * A00 + A01 * E[0] + A10 * E[1]
    if m == 1 and n == 1:
        error = own * abs(L) + steps[1] * E[0] + steps[0] * E[1]
        return (
            error + _shift_error(1, shifts[1], b[0], V[0]) + _shift_error(1, shifts[0], b[1], V[1])
        )
    if m == 1:
        return (
            own * abs(A10)
            + abs(L) * E[0]
            + abs(ramps[0]) * E[1]
            + _shift_error(0, shifts[0], b[1], V[1])
        )
    return (
        own * abs(A01)
        + abs(ramps[1]) * E[0]
        + abs(L) * E[1]
        + _shift_error(0, shifts[1], b[0], V[0])
    )


@_inline
def _shift_error(k, shift, b, V):
    """Error of the mean that a shift subtracts, and of the difference."""
    if shift == 0.0:
        return 0.0
    return shift * _atom_error(0, k, b, V, 0.0)


@_kernel
def pair_error_loop(table, f, g, C11, C12, C22, b1, b2, det, p, q, out):
    """Estimates of the errors of ``atom_kernels.pair_moments_loop`` in units of eps."""
    F = np.zeros((HIGHEST, HIGHEST))
    for i in range(f.size):
        start1 = FIRST + int(table[f[i], COEFFICIENT_COUNT])
        start2 = FIRST + int(table[g[i], COEFFICIENT_COUNT])
        n1 = int(table[f[i], WIDTH_COUNT])
        n2 = int(table[g[i], WIDTH_COUNT])
        total = _polynomial_error(table, f[i], g[i], p, q, C11[i], C12[i], C22[i], b1[i], b2[i])
        for a in range(start1, start1 + n1):
            for b in range(start2, start2 + n2):
                for k1 in range(3):
                    for k2 in range(3):
                        w = abs(table[f[i], a + (k1 + 1) * n1] * table[g[i], b + (k2 + 1) * n2])
                        if w == 0.0:
                            continue
                        shift1 = table[f[i], SHIFT] if k1 == 1 else 0.0
                        shift2 = table[g[i], SHIFT] if k2 == 1 else 0.0
                        C = C11[i], C12[i], C22[i], b1[i], b2[i], max(det[i], 0.0)
                        widths = table[f[i], a], table[g[i], b]
                        total += w * _term_error(k1 + p, k2 + q, widths, (shift1, shift2), C, F)
        out[i] = total


@_kernel
def single_error_loop(table, f, C, b, order, out):
    """Estimates of the errors of ``atom_mean_kernels.single_moments_loop`` in units of eps."""
    for i in range(f.size):
        polynomial = _polynomial_size(table, f[i], order, b[i], C[i])
        out[i] = _mean_error(table, f[i], order, b[i], C[i]) + OWN * polynomial
