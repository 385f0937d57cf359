"""Jitted moments and jets of pairs with elu and selu: the integrals of ``elu_kernels``, and
the delta functions' closed terms.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiler import njit
from .. import jets
from .elu_kernels import (
    ORDERS,
    ROUNDING,
    SMALLEST_VARIANCE,
    bumps,
    jumps,
    prepare,
    regular_integrals,
    regular_means,
    whole_means,
)
from .polynomial_kernels import along_once, along_twice
from .slots import COEFFICIENT_COUNT, FIRST, WIDTH_COUNT

BINOMIAL = np.array(
    [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 2.0, 1.0, 0.0], [1.0, 3.0, 3.0, 1.0]]
)

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})


# ---------------------------------------------------------------- pairs


class Deltas(NamedTuple):
    """What belongs to the delta functions of a pair, each four numbers.

    Jumps of the derivatives of f and g; densities of h1 and h2 at 0 with their derivatives, and the
    one of h1 given h2 = 0.
    """

    jump1: Any
    jump2: Any
    bump1: Any
    bump2: Any
    conditional1: Any


@_kernel
def _constant(I, infinite, means1, means2, infinite1, infinite2):
    """Products of means; the mean of order p is infinite from ``infinite1`` on."""
    for p in range(ORDERS):
        for q in range(ORDERS - p):
            I[p, q] = means1[p] * means2[q]
            first = p >= infinite1 and (q >= infinite2 or means2[q] != 0.0)
            infinite[p, q] = first or (q >= infinite2 and means1[p] != 0.0)


@_kernel
def _delta_terms(out, deltas, c1, c2, regular1, whole2):
    """Add delta functions of f against all of g, and those of g against the regular part of f.

    ``regular1``: means of the regular parts of f given h2 = 0, ``whole2``: of all of g given
    h1 = 0.
    """
    jump1, jump2, bump1, bump2, conditional1 = deltas
    for p in range(ORDERS):
        for q in range(ORDERS - p):
            total = 0.0
            for m in range(p):
                k = p - 1 - m
                for j in range(k + 1):
                    if jump1[m] != 0.0:
                        total += (
                            jump1[m] * BINOMIAL[k, j] * bump1[k - j] * (-c1) ** j * whole2[q + j]
                        )
            for m in range(q):
                k = q - 1 - m
                for j in range(k + 1):
                    if jump2[m] != 0.0:
                        mean = regular1[p + j]
                        for i in range(j):
                            mean += jump1[p + i] * conditional1[j - 1 - i]
                        total += jump2[m] * BINOMIAL[k, j] * bump2[k - j] * (-c2) ** j * mean
            out[p, q] += total


@_kernel
def _plain_frame(F, sizes, I, c1, c2):
    """Fourth derivatives along D1 = d1 + c1 d2 and D2 = d2 + c2 d1 (``jets.py``) as sums of
    moments, and of magnitudes.
    """
    F[0] = along_twice(I[4, 0], I[3, 1], I[2, 2], c1)
    F[1] = along_once(I[3, 1], I[2, 2], c1)
    F[2] = I[2, 2]
    F[3] = along_once(I[1, 3], I[2, 2], c2)
    F[4] = along_twice(I[0, 4], I[1, 3], I[2, 2], c2)
    sizes[0] = abs(I[4, 0]) + abs(c1) * (2.0 * abs(I[3, 1]) + abs(c1 * I[2, 2]))
    sizes[1] = abs(I[3, 1]) + abs(c1 * I[2, 2])
    sizes[3] = abs(I[1, 3]) + abs(c2 * I[2, 2])
    sizes[4] = abs(I[0, 4]) + abs(c2) * (2.0 * abs(I[1, 3]) + abs(c2 * I[2, 2]))


@_inline
def _take(F, sizes, k, a, b, c, d, e, magnitude):
    """Replace entry k by a + b + c + d + e if these terms are smaller than those that it is made
    of.
    """
    if abs(a) + abs(b) + abs(c) + abs(d) + magnitude < sizes[k]:
        F[k] = a + b + c + d + e


@_kernel
def _direct_frame(F, sizes, integrals, frame, r1, slopes, sine2, deltas, means1, whole2):
    """The same for nearly parallel neurons, without moments that grow like 1/s and cancel.

    D1 leaves the mean of g given h1 as it is and acts on the density of h1 only, D2 likewise, and
    D2 = sine2 d2 + c2 D1. With w_p the mean of f^(p) given h2 = 0, delta functions of g''
    contribute derivatives of ``N(b2) w(b1 - c2 b2)``.
    """
    c1, c2 = slopes
    jump1, jump2, bump1, bump2, conditional1 = deltas
    v, m = frame[0], frame[1]
    N = bump2[0]
    N1 = bump2[1]
    N2 = bump2[2]
    N3 = bump2[3]
    w0 = means1[0]
    w1 = means1[1]
    w2 = means1[2]
    rise2 = w2 + jump1[1] * conditional1[0]  # slope of w1
    rise3 = means1[3] + jump1[2] * conditional1[0]  # slope of the mean of R_2
    # D1^2 d1^2 and D1 d1^2 d2: f'' = R_2 + J_1 delta
    i1 = 1.0 / (r1 * r1)
    _take(F, sizes, 0, jump1[1] * bump1[2] * whole2[0], 0.0, 0.0, 0.0, v[0] * i1, m[0] * i1)
    step = jump2[0] * (c1 * N1 * w2 + sine2 * N * rise3)
    _take(F, sizes, 1, jump1[1] * bump1[1] * whole2[1], step, 0.0, 0.0, v[1] / r1, m[1] / r1)
    # D2 d1 d2^2 and D2^2 d2^2: g'' = Q_2 + J_1 delta + J_0 delta'
    c = c2 / r1
    last = jump2[0] * (N2 * w1 - c2 * N1 * rise2)
    first = sine2 * (integrals[1, 3] + jump2[2] * N * w1)
    _take(F, sizes, 3, first, jump2[1] * N1 * w1, last, 0.0, c * v[2], abs(c) * m[2])
    last = jump2[0] * (N3 * w0 - c2 * N2 * w1) + jump2[1] * N2 * w0
    moved = 2.0 * c2 * (c1 * N1 * w0 + sine2 * N * w1) + sine2 * (N1 * w0 - c2 * N * w1)
    first = sine2 * (sine2 * (integrals[0, 4] + jump2[3] * N * w0) + jump2[2] * moved)
    middle = 2.0 * sine2 * c
    _take(F, sizes, 4, first, last, middle * v[3], 0.0, c * c * v[4], c * c * m[4])


@_kernel
def workspace(row):
    """Arrays of one pair."""
    return (
        np.zeros((4, max(int(row[COEFFICIENT_COUNT]), int(row[WIDTH_COUNT]), 1))),
        np.empty(64 + 6 * int(row[WIDTH_COUNT])),
        np.empty(ORDERS),
        np.empty((3, ORDERS)),
        np.empty((2, ORDERS)),
        np.empty((6, 4)),
        np.empty((4, ORDERS)),
    )


@_kernel
def _pair(row, sides, gaussian, I, F, infinite, space):
    """I(p, q), p + q <= 4, and fourth derivatives in the frame, both without their infinite parts.

    ``sides`` are S1, A1, S2, A2, ``gaussian`` C11, C12, C22, b1, b2 and the determinant.
    ``infinite`` (5, 5) says which moments are infinite. Returns the sum of the orders of the kinks
    if they coincide, otherwise -1.
    """
    S1, A1, S2, A2 = sides
    C11, C12, C22, b1, b2, det = gaussian
    work = space[0]
    ends = space[1]
    Q = space[2]
    integrals = space[3]
    frame = space[4]
    jump1 = space[5][0]
    jump2 = space[5][1]
    bump1 = space[5][2]
    bump2 = space[5][3]
    conditional1 = space[5][4]
    conditional2 = space[5][5]
    means1 = space[6][0]
    whole1 = space[6][1]
    whole2 = space[6][2]
    sizes = space[6][3]
    empty = np.zeros(FIRST)
    I[:] = 0.0
    infinite[:] = False
    first1 = jumps(empty, S1, A1, jump1)
    first2 = jumps(row, S2, A2, jump2)
    r1 = math.sqrt(C11) if C11 > SMALLEST_VARIANCE else 0.0
    r2 = math.sqrt(C22) if C22 > SMALLEST_VARIANCE else 0.0
    bumps(b1, r1, bump1)
    bumps(b2, r2, bump2)
    constant = A2 == 0.0 and S2 == 0.0 and row[WIDTH_COUNT] == 0.0 and row[COEFFICIENT_COUNT] <= 1.0
    if constant or r1 == 0.0 or r2 == 0.0:
        prepare(row, r2, work)
        regular_means(row, S2, A2, b2, r2, work, Q)
        whole_means(Q, jump2, bump2, whole2)
        regular_means(empty, S1, A1, b1, r1, work, means1)
        whole_means(means1, jump1, bump1, whole1)
        infinite1 = first1 + 1 if r1 == 0.0 and b1 == 0.0 else ORDERS
        infinite2 = first2 + 1 if r2 == 0.0 and b2 == 0.0 else ORDERS
        _constant(I, infinite, whole1, whole2, infinite1, infinite2)
        _plain_frame(F, sizes, I, jets.slope(C12, C11), jets.slope(C12, C22))
        return -1
    left = max(det, 0.0)
    c1, c2 = C12 / C11, C12 / C22
    s1 = math.sqrt(left / C22)
    s2 = math.sqrt(left / C11)
    if s1 * s1 <= SMALLEST_VARIANCE or s2 * s2 <= SMALLEST_VARIANCE:
        s1 = s2 = 0.0
    m2 = b2 - c1 * b1
    coincide = s2 == 0.0 and abs(m2) <= ROUNDING * abs(b2)
    if coincide:
        m2 = 0.0
    sine2 = (s2 / r2) ** 2
    m1 = b1 * sine2 - c2 * m2  # b1 - c2 b2 with the rounding error of m2, as in two_atoms_kernels
    prepare(row, s2, work)
    regular_integrals(
        integrals, frame, row, S1, A1, S2, A2, r1, b1, b2, C12 / r1, s2, work, ends, Q
    )
    bumps(m1, s1, conditional1)
    bumps(m2, s2, conditional2)
    regular_means(row, S2, A2, m2, s2, work, Q)
    whole_means(Q, jump2, conditional2, whole2)
    regular_means(empty, S1, A1, m1, s1, work, means1)
    for p in range(ORDERS):
        for q in range(ORDERS - p):
            I[p, q] = integrals[min(p, 2), q]
            infinite[p, q] = coincide and p + q >= first1 + first2 + 2
    deltas = Deltas(jump1, jump2, bump1, bump2, conditional1)
    _delta_terms(I, deltas, c1, c2, means1, whole2)
    _plain_frame(F, sizes, I, c1, c2)
    if coincide:
        sizes[:] = np.inf
    _direct_frame(F, sizes, integrals, frame, r1, (c1, c2), sine2, deltas, means1, whole2)
    return first1 + first2 if coincide else -1


@_kernel
def pair_moments_loop(row, S1, A1, S2, A2, C11, C12, C22, b1, b2, det, out):
    """I(p, q), p + q <= 4, of n pairs into ``out`` (n, 5, 5); f is one-sided (S1, A1), g the row
    plus (S2, A2).
    """
    space = workspace(row)
    F = np.empty(ORDERS)
    infinite = np.empty((ORDERS, ORDERS), dtype=np.bool_)
    for n in range(b1.size):
        gaussian = (C11[n], C12[n], C22[n], b1[n], b2[n], det[n])
        _pair(row, (S1, A1, S2, A2), gaussian, out[n], F, infinite, space)
        for p in range(ORDERS):
            for q in range(ORDERS - p):
                if infinite[p, q]:
                    out[n, p, q] = np.inf


@_kernel
def pair_jets_loop(row, S1, A1, S2, A2, C11, C12, C22, b1, b2, det, out):
    """Jets of n pairs into ``out`` of shape (n, 1 | 6 | 21)."""
    space = workspace(row)
    I = np.empty((ORDERS, ORDERS))
    F = np.empty(ORDERS)
    infinite = np.empty((ORDERS, ORDERS), dtype=np.bool_)
    scratch = np.empty(4)
    smooth1 = jumps(np.zeros(FIRST), S1, A1, scratch) > 1
    smooth2 = jumps(row, S2, A2, scratch) > 1
    for n in range(b1.size):
        gaussian = (C11[n], C12[n], C22[n], b1[n], b2[n], det[n])
        kinks = _pair(row, (S1, A1, S2, A2), gaussian, I, F, infinite, space)
        jet = out[n]
        jet[jets.J00] = I[0, 0]
        if jet.size == 1:
            continue
        jet[jets.J20] = I[2, 0]
        jet[jets.J11] = I[1, 1]
        jet[jets.J02] = I[0, 2]
        jet[jets.J10] = I[1, 0]
        jet[jets.J01] = I[0, 1]
        if jet.size == 6:
            continue
        regular = C11[n] > jets.SMALLEST_VARIANCE and C22[n] > jets.SMALLEST_VARIANCE
        sine2 = max(det[n], 0.0) / C11[n] / C22[n] if regular else 1.0
        F11 = jets.slope(C12[n], C22[n]) * F[1] + jets.slope(C12[n], C11[n]) * F[3] + sine2 * F[2]
        for p in range(ORDERS):
            for q in range(ORDERS - p):
                # third and fourth derivatives of a constant elu multiply its weights, which are 0
                if infinite[p, q] and not (p >= 3 and smooth1) and not (q >= 3 and smooth2):
                    if p + q < 4:
                        I[p, q] = np.inf
                    elif kinks < 0:
                        F[q] = F11 = np.inf
        if kinks == 1 and b1[n] != 0.0:
            F[1] = F[3] = F11 = np.inf
        _write_second_order(jet, I, F)
        jet[jets.F11] = F11


@_inline
def _write_second_order(jet, I, F):
    """Columns of order 2 but F11."""
    jet[jets.B20] = I[2, 0]
    jet[jets.B11] = I[1, 1]
    jet[jets.B02] = I[0, 2]
    jet[jets.M30] = I[3, 0]
    jet[jets.M03] = I[0, 3]
    jet[jets.M21] = jet[jets.M21B] = I[2, 1]
    jet[jets.M12] = jet[jets.M12B] = I[1, 2]
    for k in range(ORDERS):
        jet[jets.F40 + k] = F[k]


# ---------------------------------------------------------------- one neuron


@_kernel
def single_moments_loop(S, A, C, b, out):
    """E f^(p)(h), p = 0 ... 4, of n neurons into ``out`` (n, 5); infinite ones as inf."""
    empty = np.zeros(FIRST)
    work = np.zeros((4, 1))
    jump = np.empty(4)
    bump = np.empty(4)
    regular = np.empty(ORDERS)
    first = jumps(empty, S, A, jump)
    for n in range(b.size):
        r = math.sqrt(C[n]) if C[n] > SMALLEST_VARIANCE else 0.0
        bumps(b[n], r, bump)
        regular_means(empty, S, A, b[n], r, work, regular)
        whole_means(regular, jump, bump, out[n])
        if r == 0.0 and b[n] == 0.0:
            out[n, first + 1 :] = np.inf


@_kernel
def squares_loop(S, A, C, b, out, regular):
    """Derivatives 0 ... 4 of E f(h)^2 in the mean into ``out`` (n, 5), without infinite parts;
    ``regular`` (n, 3): E R_p^2, p = 0 ... 2.
    """
    empty = np.zeros(FIRST)
    work, ends, Q, integrals, frame = workspace(empty)[:5]
    bump = np.empty(4)
    point = np.empty(ORDERS)
    for n in range(b.size):
        r = math.sqrt(C[n]) if C[n] > SMALLEST_VARIANCE else 0.0
        if r > 0.0:
            regular_integrals(
                integrals, frame, empty, S, A, S, A, r, b[n], b[n], r, 0.0, work, ends, Q
            )
        else:  # the mean of both limits at the kink
            integrals[:] = 0.0
            for side in (b[n] - 5e-324, b[n] + 5e-324):
                regular_means(empty, S, A, side, 0.0, work, point)
                for p in range(3):
                    for q in range(ORDERS):
                        integrals[p, q] += 0.5 * point[p] * point[q]
        bumps(b[n], r, bump)
        for p in range(3):
            regular[n, p] = integrals[p, p]
        out[n, 0] = integrals[0, 0]
        out[n, 1] = 2.0 * integrals[0, 1]
        out[n, 2] = 2.0 * (integrals[0, 2] + integrals[1, 1])
        # jumps of the second and third derivative of f^2 at 0
        bend = 2.0 * (S * S - A * A)
        twist = -6.0 * A * A
        out[n, 3] = 2.0 * integrals[0, 3] + 6.0 * integrals[1, 2] + bend * bump[0]
        out[n, 4] = (
            2.0 * integrals[0, 4]
            + 8.0 * integrals[1, 3]
            + 6.0 * integrals[2, 2]
            + bend * bump[1]
            + twist * bump[0]
        )
