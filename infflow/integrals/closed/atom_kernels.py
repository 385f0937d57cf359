"""Jitted evaluation of E[f(h1) g(h2)] and its derivatives for polynomials plus atoms: pairs, and
loops over them.

``slots.py`` says where the numbers of a pair and of an activation stand.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler import njit
from .. import jets
from .atom_mean_kernels import INV_SQRT_2PI, reciprocal, work_rows
from .bivariate_normal_kernels import orthant_at_zero
from .polynomial_kernels import add_constants, add_polynomials
from .slots import (
    COEFFICIENT_COUNT,
    FIRST,
    I02,
    I03,
    I11,
    I12,
    I20,
    I21,
    I30,
    MIXED_BITS,
    S13,
    S22,
    S31,
    S40,
    SHIFT,
    SLOT_P,
    SLOT_Q,
    SLOTS,
    WIDTH_COUNT,
)
from .two_atoms_kernels import (
    Arguments,
    add_any,
    add_atoms,
    add_ramps,
    add_steps,
    any_sums,
    centred_sums,
)

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
# for functions of functions: numba keeps no code on disk in which an argument is a function
_of_functions = njit(forceinline=True, error_model="numpy")


# ---------------------------------------------------------------- one pair


@_of_functions
def _pair_slots(
    kind_sums, add_kind, add_polynomial, out, order, table, f, g, gaussian, slopes, plain, space
):
    """The slots of one pair up to the order; returns the infinite ones as a bit mask.

    The first three arguments are the functions of the kind of atoms, and of its polynomials.
    ``gaussian`` are C11, C12, C22, b1, b2 and the determinant, ``slopes`` c1 and c2; ``space`` is
    room for means (``work_rows``) and for slots.
    """
    work, scratch = space
    C11, C12, C22, b1, b2, det = gaussian
    for slot in range(SLOTS[order]):
        out[slot] = 0.0
    infinite = 0
    if table[f, COEFFICIENT_COUNT] > 0.0 or table[g, COEFFICIENT_COUNT] > 0.0:
        infinite |= add_polynomial(out, order, table, f, g, gaussian, slopes, work)
    regular = (C11, C12, C22, b1, b2, max(det, 0.0))
    shift1 = table[f, SHIFT]
    shift2 = table[g, SHIFT]
    start1 = FIRST + int(table[f, COEFFICIENT_COUNT])
    start2 = FIRST + int(table[g, COEFFICIENT_COUNT])
    n1 = int(table[f, WIDTH_COUNT])
    n2 = int(table[g, WIDTH_COUNT])
    for k in range(start1, start1 + n1):
        a = (table[f, k], table[f, k + n1], table[f, k + 2 * n1], table[f, k + 3 * n1])
        for l in range(start2, start2 + n2):
            b = (table[g, l], table[g, l + n2], table[g, l + 2 * n2], table[g, l + 3 * n2])
            infinite |= add_atoms(
                kind_sums, add_kind, out, order, a, b, shift1, shift2, regular, plain, scratch
            )
    return infinite


@_inline
def _only_atom(table, f):
    """The order of the atom of an activation that is one atom and nothing else, -1 for others."""
    if table[f, COEFFICIENT_COUNT] != 0.0 or table[f, WIDTH_COUNT] != 1.0:
        return -1
    ramp = table[f, FIRST + 1] != 0.0
    step = table[f, FIRST + 2] != 0.0
    density = table[f, FIRST + 3] != 0.0
    return int(step) + 2 * int(density) if int(ramp) + int(step) + int(density) == 1 else -1


@_inline
def _centred_slots(add_kind, out, order, table, f, g, gaussian, scratch):
    """``_pair_slots`` for means 0 and one atom each (erf, relu), twice as fast; False elsewhere."""
    C11, C12, C22, _, _, det = gaussian
    k1 = _only_atom(table, f)
    k2 = _only_atom(table, g)
    if k1 != k2 or k1 < 0:
        return False
    t1 = table[f, FIRST]
    t2 = table[g, FIRST]
    V1, V2 = C11 + t1, C22 + t2
    i1, i2 = reciprocal(V1), reciprocal(V2)
    D = max(det, 0.0) + t1 * C22 + t2 * C11 + t1 * t2
    s1, s2 = D * i1, D * i2
    regular = (
        s1 > jets.SMALLEST_VARIANCE
        and s2 > jets.SMALLEST_VARIANCE
        and min(C11, C22) > jets.SMALLEST_VARIANCE
    )
    if not regular:
        return False
    r1, r2 = 1.0 / s1, 1.0 / s2
    root1 = math.sqrt(i1)
    root2 = math.sqrt(i2)
    d1 = INV_SQRT_2PI * root1
    d2 = INV_SQRT_2PI * root2
    q1 = INV_SQRT_2PI * math.sqrt(r1)
    q2 = INV_SQRT_2PI * math.sqrt(r2)
    shift1 = table[f, SHIFT]
    shift2 = table[g, SHIFT]
    P1, P2 = 0.5 - shift2, 0.5 - shift1
    L = 0.0 if k2 == 2 else orthant_at_zero(C12 * root1 * root2, math.sqrt(s1 * i2), shift1, shift2)
    R1, R2 = s1 * q1, s2 * q2
    step1 = d1 * P1
    step2 = d2 * P2
    A10 = C12 * step1 + V2 * step2
    A01 = C12 * step2 + V1 * step1
    A00 = V1 * (d1 * R1) + C12 * L
    g1, g2 = C12 * i1, C12 * i2
    e1 = g1 * (t1 / C11)
    e2 = g2 * (t2 / C22)
    for slot in range(SLOTS[order]):
        out[slot] = 0.0
    first = Arguments(0.0, i1, g1, e1, 0.0, r1, d1, R1, P1, q1, A10)
    second = Arguments(0.0, i2, g2, e2, 0.0, r2, d2, R2, P2, q2, A01)
    a = (t1, table[f, FIRST + 1], table[f, FIRST + 2], table[f, FIRST + 3])
    b = (t2, table[g, FIRST + 1], table[g, FIRST + 2], table[g, FIRST + 3])
    add_kind(out, order, a, b, first, second, A00, L, scratch)
    return True


@_kernel
def _write_jet(out, n, order, slots, infinite, slopes, sine2):
    """Row n of the columns of ``jets.py`` from the slots; ``sine2 = 1 - c1 c2``."""
    c1, c2 = slopes
    for slot in range(SLOTS[min(order, 1)]):
        out[n, slot] = slots[slot]
    if order < 2:
        return
    if infinite:
        for slot in range(SLOTS[2]):
            if infinite & (1 << slot):
                slots[slot] = np.inf
    out[n, jets.B20] = slots[I20]
    out[n, jets.B11] = slots[I11]
    out[n, jets.B02] = slots[I02]
    out[n, jets.M30] = slots[I30]
    out[n, jets.M03] = slots[I03]
    out[n, jets.M21] = out[n, jets.M21B] = slots[I21]
    out[n, jets.M12] = out[n, jets.M12B] = slots[I12]
    for i in range(5):
        out[n, jets.F40 + i] = slots[S40 + i]
    if infinite & MIXED_BITS:
        out[n, jets.F11] = np.inf
    else:
        out[n, jets.F11] = c2 * slots[S31] + c1 * slots[S13] + sine2 * slots[S22]


# ---------------------------------------------------------------- loops


@_kernel
def pair_jets_loop(table, f, g, pairs, order, out):
    """Jets of n pairs with the arguments C11, C12, C22, b1, b2, det (6, n) into ``out`` of shape
    (n, 1 | 6 | 21).
    """
    _jets_loop(any_sums, add_any, add_polynomials, table, f, g, pairs, order, out)


@_kernel
def ramp_jets_loop(table, f, g, pairs, order, out):
    """The same for a table of ramps and constants, with less to compile."""
    _jets_loop(any_sums, add_ramps, add_constants, table, f, g, pairs, order, out)


@_kernel
def centred_jets_loop(table, f, g, pairs, order, out):
    """The same for a table of steps minus 1/2 and constants."""
    _jets_loop(centred_sums, add_steps, add_constants, table, f, g, pairs, order, out)


@_of_functions
def _jets_loop(kind_sums, add_kind, add_polynomial, table, f, g, pairs, order, out):
    """The loop of all kinds."""
    slots = np.empty(SLOTS[2])
    scratch = np.empty(SLOTS[2])
    space = (work_rows(table), scratch)
    plain = order < 0  # False; as a literal it would make numba compile everything once more
    for n in range(f.size):
        gaussian = (pairs[0, n], pairs[1, n], pairs[2, n], pairs[3, n], pairs[4, n], pairs[5, n])
        C11, C12, C22, b1, b2, det = gaussian
        slopes = (jets.slope(C12, C11), jets.slope(C12, C22))
        infinite = 0
        centred = b1 == 0.0 and b2 == 0.0
        done = centred and _centred_slots(
            add_kind, slots, order, table, f[n], g[n], gaussian, scratch
        )
        if not done:
            infinite = _pair_slots(
                kind_sums,
                add_kind,
                add_polynomial,
                slots,
                order,
                table,
                f[n],
                g[n],
                gaussian,
                slopes,
                plain,
                space,
            )
        regular = C11 > jets.SMALLEST_VARIANCE and C22 > jets.SMALLEST_VARIANCE
        sine2 = det / C11 / C22 if regular else 1.0
        _write_jet(out, n, order, slots, infinite, slopes, sine2)


@_kernel
def jets_from_slots(slots, pairs, order, out):
    """Jets of n pairs from their finite slots; ``pairs`` (6, n) as above."""
    for n in range(pairs.shape[1]):
        C11 = pairs[0, n]
        C12 = pairs[1, n]
        C22 = pairs[2, n]
        slopes = (jets.slope(C12, C11), jets.slope(C12, C22))
        regular = C11 > jets.SMALLEST_VARIANCE and C22 > jets.SMALLEST_VARIANCE
        sine2 = pairs[5, n] / C11 / C22 if regular else 1.0
        _write_jet(out, n, order, slots[n], 0, slopes, sine2)


@_kernel
def pair_moments_loop(table, f, g, C11, C12, C22, b1, b2, det, p, q, out):
    """I(p, q) of n pairs; infinite ones as inf."""
    slots = np.empty(SLOTS[2])
    space = (work_rows(table), np.empty(SLOTS[2]))
    plain = p >= 0  # True
    order = (p + q + 1) // 2
    slot = 0
    while SLOT_P[slot] != p or SLOT_Q[slot] != q:
        slot += 1
    if slot >= SLOTS[order]:
        order += 1
    slopes = (0.0, 0.0)
    for n in range(f.size):
        gaussian = (C11[n], C12[n], C22[n], b1[n], b2[n], det[n])
        infinite = _pair_slots(
            any_sums,
            add_any,
            add_polynomials,
            slots,
            order,
            table,
            f[n],
            g[n],
            gaussian,
            slopes,
            plain,
            space,
        )
        out[n] = np.inf if infinite & (1 << slot) else slots[slot]
