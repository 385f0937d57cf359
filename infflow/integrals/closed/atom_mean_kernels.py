"""Jitted means of one activation that is a polynomial plus atoms, and of one atom."""

from __future__ import annotations

import math

import numpy as np

from ...activations.vector_math import clipped_magnitude, erf_scaled, normal_tail, ramp_tail
from ...compiler import njit
from .. import jets
from .slots import (
    COEFFICIENT_COUNT,
    FIRST,
    MAX_ORDER,
    PLAIN,
    POLYNOMIAL_F,
    SHIFT,
    SLOTS,
    WIDTH_COUNT,
)

INV_SQRT_2PI = 0.3989422804014327
FAR_FROM_KINK = 9.0  # squared distance in standard deviations

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})


@_inline
def gaussian_at_zero(mean, inverse, shift):
    """Density at 0 and P(h > 0) - shift of h ~ N(mean, 1/inverse).

    ``inverse = 0`` stands for variance 0: density 0, a probability of 1/2 at mean 0.
    """
    if mean == 0.0:
        return INV_SQRT_2PI * math.sqrt(inverse), 0.5 - shift
    if inverse == 0.0:
        return 0.0, (1.0 if mean > 0.0 else 0.0) - shift
    root = math.sqrt(inverse)
    x = mean * root
    if shift != 0.0:
        twice, density = erf_scaled(x)
        return INV_SQRT_2PI * root * density, 0.5 * twice
    density, tail = normal_tail(clipped_magnitude(x))
    return INV_SQRT_2PI * root * density, 1.0 - tail if x > 0.0 else tail


@_inline
def ramp_mean(mean, variance, inverse, probability, density):
    """E h_+ of h ~ N(mean, variance), from P(h > 0) and the density at 0."""
    if mean < 0.0 and mean * mean * inverse > FAR_FROM_KINK:  # the two terms cancel
        return math.sqrt(variance) * ramp_tail(clipped_magnitude(mean * math.sqrt(inverse)))[2]
    return mean * probability + variance * density


@_inline
def reciprocal(variance):
    """1/variance; 0 for a variance so small that it counts as 0."""
    return 1.0 / variance if variance > jets.SMALLEST_VARIANCE else 0.0


@_kernel
def polynomial_means(table, f, b, C, out):
    """``out[j] = E p^(j)(h)`` of the polynomial of f for all j up to its degree, h ~ N(b, C);
    returns their number.
    """
    size = int(table[f, COEFFICIENT_COUNT])
    for j in range(size):
        out[j] = 0.0
    # E h^n, by E h^(n+1) = b E h^n + n C E h^(n-1)
    previous = 0.0
    power = 1.0
    for n in range(size):
        falling = 1.0  # (n + j)!/n!, which the j-th derivative brings down
        for j in range(size - n):
            out[j] += table[f, FIRST + n + j] * falling * power
            falling *= n + j + 1
        previous, power = power, b * power + n * C * previous
    return size


@_kernel
def atom_means(table, f, b, C, last, out):
    """``out[j] = E`` of the j-th derivative of the atoms of f for j = 0 ... last, h ~ N(b, C).

    Returns a bit mask of the infinite ones (kinks at h = b = 0), whose infinite parts are left out.
    """
    for j in range(last + 1):
        out[j] = 0.0
    infinite = 0
    start = FIRST + int(table[f, COEFFICIENT_COUNT])
    count = int(table[f, WIDTH_COUNT])
    for a in range(start, start + count):
        for k in range(3):
            weight = table[f, a + (k + 1) * count]
            if weight != 0.0:
                infinite |= _add_atom_means(
                    weight, k, table[f, SHIFT], b, C + table[f, a], last, out
                )
    return infinite


@_kernel
def _add_atom_means(weight, k, shift, b, V, last, out):
    """Add weight times ramp, step, density and its derivatives (orders k ... k + last) at mean b,
    variance V.
    """
    inverse = reciprocal(V)
    density, probability = gaussian_at_zero(b, inverse, shift if k == 1 else 0.0)
    if k == 0:
        out[0] += weight * ramp_mean(b, V, inverse, probability, density)
    if k <= 1 and 1 - k <= last:
        out[1 - k] += weight * probability
    previous = 0.0  # derivatives of the density N: N^(n+1) = -(b N^(n) + n N^(n-1))/V
    for n in range(k + last - 1):
        if n + 2 >= k:
            out[n + 2 - k] += weight * density
        previous, density = density, -(b * density + n * previous) * inverse
    infinite = 0
    if inverse == 0.0 and b == 0.0:  # the delta function and its even derivatives, at 0
        for j in range(last + 1):
            if k + j >= 2 and (k + j) % 2 == 0:
                infinite |= 1 << j
    return infinite


@_kernel
def work_rows(table):
    """Rows for the means of polynomials and atoms of one pair."""
    longest = 0.0
    for f in range(table.shape[0]):
        longest = max(longest, table[f, COEFFICIENT_COUNT])
    return np.empty((PLAIN + 1, max(int(longest) + MAX_ORDER + 1, SLOTS[2])))


@_kernel
def single_moments_loop(table, f, C, b, max_order, out):
    """E f^(p)(h), p = 0 ... max_order, for n neurons; infinite ones as inf."""
    work = work_rows(table)
    for n in range(f.size):
        infinite = atom_means(table, f[n], b[n], C[n], max_order, out[n])
        size = polynomial_means(table, f[n], b[n], C[n], work[POLYNOMIAL_F])
        for j in range(min(size, max_order + 1)):
            out[n, j] += work[POLYNOMIAL_F, j]
        for j in range(max_order + 1):
            if infinite & (1 << j):
                out[n, j] = np.inf
