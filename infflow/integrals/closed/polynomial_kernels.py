"""Jitted moments of pairs with a polynomial factor: series that end."""

from __future__ import annotations

from ...compiler import njit
from .. import jets
from .atom_mean_kernels import atom_means, polynomial_means
from .slots import (
    ALL_G,
    ATOMS_F,
    COEFFICIENT_COUNT,
    FIRST,
    I00,
    PLAIN,
    POLYNOMIAL_F,
    POLYNOMIAL_G,
    S04,
    S13,
    S22,
    S31,
    S40,
    SLOT_P,
    SLOT_Q,
    SLOTS,
)

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy")
along_once = _inline(jets.along_once)
along_twice = _inline(jets.along_twice)


@_kernel
def add_polynomials(out, order, table, f, g, gaussian, slopes, work):
    """Add everything that has a polynomial factor, by the Mehler series in C12, which ends.

    E[p(h1) g(h2)] = sum_j C12^j/j! E p^(j)(h1) E g^(j)(h2). ``gaussian`` are C11, C12, C22, b1, b2
    and the determinant, ``slopes`` c1 and c2. Returns the infinite slots.
    """
    C11, C12, C22, b1, b2, _ = gaussian
    size_f = polynomial_means(table, f, b1, C11, work[POLYNOMIAL_F])
    size_g = polynomial_means(table, g, b2, C22, work[POLYNOMIAL_G])
    infinite_f = infinite_g = 0
    if size_g > 0:
        infinite_f = atom_means(table, f, b1, C11, size_g - 1 + 2 * order, work[ATOMS_F])
    if size_f > 0:
        last = size_f - 1 + 2 * order
        infinite_g = atom_means(table, g, b2, C22, last, work[ALL_G])
        for j in range(min(size_g, last + 1)):
            work[ALL_G, j] += work[POLYNOMIAL_G, j]
    infinite = 0
    for slot in range(SLOTS[order]):
        p, q = SLOT_P[slot], SLOT_Q[slot]
        total = 0.0
        power = 1.0
        for j in range(max(size_f - p, size_g - q)):
            if j < size_f - p:
                total += power * work[POLYNOMIAL_F, j + p] * work[ALL_G, j + q]
            if j < size_g - q:
                total += power * work[ATOMS_F, j + p] * work[POLYNOMIAL_G, j + q]
            power *= C12 / (j + 1)
        work[PLAIN, slot] = total
        # infinite means belong to constant neurons, for which C12 = 0 and the series is its first
        # term
        if p < size_f and infinite_g & (1 << q) and work[POLYNOMIAL_F, p] != 0.0:
            infinite |= 1 << slot
        if q < size_g and infinite_f & (1 << p) and work[POLYNOMIAL_G, q] != 0.0:
            infinite |= 1 << slot
    add_in_frame(out, order, work, slopes)
    return infinite


@_kernel
def add_constants(out, order, table, f, g, gaussian, slopes, work):
    """:func:`add_polynomials` for polynomials that are constants."""
    C11, _, C22, b1, b2, _ = gaussian
    constant_f = table[f, FIRST] if table[f, COEFFICIENT_COUNT] > 0.0 else 0.0
    constant_g = table[g, FIRST] if table[g, COEFFICIENT_COUNT] > 0.0 else 0.0
    infinite_f = atom_means(table, f, b1, C11, 2 * order, work[ATOMS_F])
    infinite_g = atom_means(table, g, b2, C22, 2 * order, work[ALL_G])
    out[I00] += constant_f * constant_g
    infinite = 0
    for slot in range(SLOTS[order]):
        p, q = SLOT_P[slot], SLOT_Q[slot]
        if p == 0 and constant_f != 0.0:
            out[slot] += constant_f * work[ALL_G, q]
            if infinite_g & (1 << q):
                infinite |= 1 << slot
        if q == 0 and constant_g != 0.0:
            out[slot] += constant_g * work[ATOMS_F, p]
            if infinite_f & (1 << p):
                infinite |= 1 << slot
    return infinite


@_kernel
def add_in_frame(out, order, work, slopes):
    """Add plain derivatives, those of fourth order along D1 and D2."""
    for slot in range(min(SLOTS[order], S40)):
        out[slot] += work[PLAIN, slot]
    if order == 2:
        c1, c2 = slopes
        i31 = work[PLAIN, S31]
        i22 = work[PLAIN, S22]
        i13 = work[PLAIN, S13]
        out[S40] += along_twice(work[PLAIN, S40], i31, i22, c1)
        out[S31] += along_once(i31, i22, c1)
        out[S22] += i22
        out[S13] += along_once(i13, i22, c2)
        out[S04] += along_twice(work[PLAIN, S04], i13, i22, c2)
