"""Jitted evaluation of E[f(h1) g(h2)] and its derivatives for polynomials plus atoms.

Inside, a pair has 15 slots: ``I00 | I20 I11 I02 I10 I01 | I30 I21 I12 I03 S40 S31 S22 S13 S04``,
where I(p, q) is the derivative d^p/db1^p d^q/db2^q and the S are D1^2 d1^2, D1 d1^2 d2, d1^2 d2^2,
D2 d1 d2^2, D2^2 d2^2 with D1 = d1 + c1 d2, D2 = d2 + c2 d1: plain derivatives for c1 = c2 = 0,
those of ``jets.py`` for c1 = C12/C11, c2 = C12/C22. Activations come as rows of a table, one array
(seven would cost more to hand over than a pair takes to evaluate): the number of polynomial
coefficients, the number of widths, the shift, the coefficients, then all squared widths in
ascending order, then the weights of their ramps, of their steps and of their densities. The shift
is 1/2 if the steps of the activation mean step minus 1/2 (sign, erf: the constant is then taken out
of the polynomial, and small arguments lose no digits), otherwise 0.

A bit mask says which slots are infinite; there the slot itself holds the finite rest (the
subgradient).
"""

from __future__ import annotations

import math

import numpy as np

from ...activations.vector_math import clipped_magnitude, erf_scaled, normal_tail, ramp_tail
from ...compiler import njit
from .. import jets
from ._generated import atoms_00, atoms_01, atoms_02, atoms_11, atoms_12, atoms_22
from .bivariate_normal_kernels import (
    DEAD,
    PLACKETT_LIMIT,
    centred_orthant,
    joint_probability,
    orthant_at_zero,
    plackett,
    tail_moments,
)

INV_SQRT_2PI = 0.3989422804014327
ROUNDING = 1e-15
# Share of a difference that must be left, ten digits, unless a neuron is far from its kink.
ENOUGH = 1e-6
FAR_FROM_KINK = 9.0  # squared distance in standard deviations
MAX_ORDER = 4

SLOTS = (1, 6, 15)
I00, I20, I11, I02, I10, I01, I30, I21, I12, I03, S40, S31, S22, S13, S04 = range(15)
SLOT_P = np.array([0, 2, 1, 0, 1, 0, 3, 2, 1, 0, 4, 3, 2, 1, 0])
SLOT_Q = np.array([0, 0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 1, 2, 3, 4])
EXCHANGED = np.array([I00, I02, I11, I20, I01, I10, I03, I12, I21, I30, S04, S13, S22, S31, S40])
SECOND_BITS = (1 << I20) | (1 << I11) | (1 << I02)
THIRD_BITS = (1 << I30) | (1 << I21) | (1 << I12) | (1 << I03)
FOURTH_BITS = (1 << S40) | (1 << S31) | (1 << S22) | (1 << S13) | (1 << S04)
MIXED_BITS = (1 << S31) | (1 << S22) | (1 << S13)

# columns of a table row
COEFFICIENT_COUNT, WIDTH_COUNT, SHIFT, FIRST = range(4)


# Rows of the work array of a pair. The first four hold means of derivatives of order j:
# polynomial part of f, that of g, atoms of f, all of g. The last holds plain derivatives.
POLYNOMIAL_F, POLYNOMIAL_G, ATOMS_F, ALL_G, PLAIN = range(5)

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
# for functions of functions: numba keeps no code on disk in which an argument is a function
_of_functions = njit(forceinline=True, error_model="numpy")
_once = _of_functions(jets.along_once)
_twice = _of_functions(jets.along_twice)


# ---------------------------------------------------------------- one dimension


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


# ---------------------------------------------------------------- two atoms


@_of_functions
def _atoms(
    kind_sums,
    add_kind,
    out,
    order,
    a,
    b,
    shift1,
    shift2,
    C11,
    C12,
    C22,
    b1,
    b2,
    det,
    plain,
    scratch,
):
    """Add the atoms ``a`` of one width of f times those ``b`` of one width of g; returns the
    infinite slots.

    ``a`` and ``b`` hold a squared width and the weights of its ramp, step and density. The
    first two arguments are the functions of the kind of atoms, see below.
    """
    t1, t2 = a[0], b[0]
    V1, V2 = C11 + t1, C22 + t2
    i1, i2 = reciprocal(V1), reciprocal(V2)
    g1, g2 = C12 * i1, C12 * i2
    D = det + t1 * C22 + t2 * C11 + t1 * t2
    m1 = b2 - g1 * b1
    # b1 - g2 b2, with the rounding error of m1, which for nearly parallel neurons is large in units
    # of s but cancels between the terms with m1 and with m2
    m2 = b1 * (D * i1 * i2) - g2 * m1 if i1 > 0.0 and i2 > 0.0 else b1 - g2 * b2
    s1 = D * i1 if i1 > 0.0 else V2
    s2 = D * i2 if i2 > 0.0 else V1
    r1, r2 = reciprocal(s1), reciprocal(s2)
    vertex1 = t1 == 0.0 and i1 == 0.0 and b1 == 0.0
    vertex2 = t2 == 0.0 and i2 == 0.0 and b2 == 0.0
    parallel = i1 > 0.0 and i2 > 0.0 and r1 == 0.0 and abs(m1) <= ROUNDING * abs(b2)
    if parallel:
        m1 = m2 = 0.0
    d1, F1 = gaussian_at_zero(b1, i1, shift1)
    d2, F2 = gaussian_at_zero(b2, i2, shift2)
    q1, P1 = gaussian_at_zero(m1, r1, shift2)
    q2, P2 = gaussian_at_zero(m2, r2, shift1)
    means = (m1, m2, s1, s2, r1, r2, q1, q2, P1, P2)
    R1, R2, A00, A10, A01, L = kind_sums(
        a, b, b1, b2, C12, V1, V2, i1, i2, shift1, shift2, d1, d2, F1, F2, means
    )
    e1 = _slope_gap(g1, t1, C11, plain)
    e2 = _slope_gap(g2, t2, C22, plain)
    args = (
        b1,
        b2,
        i1,
        i2,
        g1,
        g2,
        e1,
        e2,
        m1,
        m2,
        r1,
        r2,
        d1,
        d2,
        R1,
        R2,
        P1,
        P2,
        q1,
        q2,
        A00,
        A10,
        A01,
        L,
    )
    add_kind(out, order, a, b, args, scratch)
    return (
        _infinite_slots(a, b, vertex1, vertex2, parallel, b1 != 0.0, plain)
        if vertex1 or vertex2 or parallel
        else 0
    )


@_inline
def _only_density(a):
    """Whether the atoms of a width are a smooth function, for which no joint
    probability is needed.
    """
    return a[3] != 0.0 and a[1] == 0.0 and a[2] == 0.0


@_inline
def _slope_gap(g, t, C, plain):
    """The gap ``e = c - g``, without cancellation."""
    return -g if plain or C <= jets.SMALLEST_VARIANCE else g * (t / C)


@_kernel
def _add_any(out, order, a, b, args, scratch):
    """Call the generated functions, which are for the orders k1 <= k2, of all pairs of atoms.

    Not in a loop over the orders: the compiler would move what they compute out of it, and compute
    all of them always.
    """
    if a[1] * b[1] != 0.0:
        atoms_00(out, a[1] * b[1], order, *args)
    if a[2] * b[2] != 0.0:
        atoms_11(out, a[2] * b[2], order, *args)
    if a[3] * b[3] != 0.0:
        atoms_22(out, a[3] * b[3], order, *args)
    _add_unequal(out, order, a, b, args)
    if a[2] * b[1] == 0.0 and a[3] * b[1] == 0.0 and a[3] * b[2] == 0.0:
        return
    for slot in range(SLOTS[order]):
        scratch[slot] = 0.0
    (
        b1,
        b2,
        i1,
        i2,
        g1,
        g2,
        e1,
        e2,
        m1,
        m2,
        r1,
        r2,
        d1,
        d2,
        R1,
        R2,
        P1,
        P2,
        q1,
        q2,
        A00,
        A10,
        A01,
        L,
    ) = args
    swapped = (
        b2,
        b1,
        i2,
        i1,
        g2,
        g1,
        e2,
        e1,
        m2,
        m1,
        r2,
        r1,
        d2,
        d1,
        R2,
        R1,
        P2,
        P1,
        q2,
        q1,
        A00,
        A01,
        A10,
        L,
    )
    _add_unequal(scratch, order, b, a, swapped)
    for slot in range(SLOTS[order]):
        out[EXCHANGED[slot]] += scratch[slot]


@_kernel
def _add_unequal(out, order, a, b, args):
    """The orders k1 < k2."""
    if a[1] * b[2] != 0.0:
        atoms_01(out, a[1] * b[2], order, *args)
    if a[1] * b[3] != 0.0:
        atoms_02(out, a[1] * b[3], order, *args)
    if a[2] * b[3] != 0.0:
        atoms_12(out, a[2] * b[3], order, *args)


# The two functions of a kind of atoms, so that loops compile no other kind: the sums R1, R2, A00,
# A10, A01, L of ``symbolic.py`` as far as the kind needs them, and the calls of generated
# functions. They are handed down one by one: numba would make pointers of a tuple of functions.


@_inline
def _any_sums(a, b, b1, b2, C12, V1, V2, i1, i2, shift1, shift2, d1, d2, F1, F2, means):
    """For all kinds: what the weights need."""
    m1, m2, s1, s2, r1, r2, q1, q2, P1, P2 = means
    R1 = ramp_mean(m1, s1, r1, P1, q1) if b[1] != 0.0 else 0.0  # for K(m, 0)
    R2 = ramp_mean(m2, s2, r2, P2, q2) if a[1] != 0.0 else 0.0
    L = A00 = A10 = A01 = 0.0
    if not (_only_density(a) or _only_density(b)):
        A00, A10, A01, L, _ = stein_sums(
            b1, b2, C12, V1, V2, i1, i2, s1, shift1, shift2, F1, F2, d1, d2, R1, R2, P1, P2
        )
    return R1, R2, A00, A10, A01, L


@_kernel
def _add_ramps(out, order, a, b, args, scratch):
    """For ramps (relu)."""
    atoms_00(out, a[1] * b[1], order, *args)


@_inline
def _centred_sums(a, b, b1, b2, C12, V1, V2, i1, i2, shift1, shift2, d1, d2, F1, F2, means):
    """For steps minus 1/2 (erf): no ramps, and nothing that loses digits in the tails."""
    return 0.0, 0.0, 0.0, 0.0, 0.0, _centred_joint(b1, b2, C12, i1, i2, means[2], F1, F2)


@_kernel
def _add_steps(out, order, a, b, args, scratch):
    """For steps."""
    atoms_11(out, a[2] * b[2], order, *args)


@_kernel
def _infinite_slots(a, b, vertex1, vertex2, parallel, biased, plain):
    """Which slots are infinite where a neuron is constant and sits on its kink, or two are parallel
    and their kinks coincide.
    """
    infinite = 0
    for k1 in range(3):
        for k2 in range(3):
            if a[k1 + 1] * b[k2 + 1] != 0.0:
                if vertex1:
                    infinite |= _vertex_bits(k1, SLOT_P)
                if vertex2:
                    infinite |= _vertex_bits(k2, SLOT_Q)
                if parallel:
                    infinite |= _parallel_bits(k1 + k2, biased, plain)
    return infinite


@_inline
def stein_sums(b1, b2, C12, V1, V2, i1, i2, s1, shift1, shift2, F1, F2, d1, d2, R1, R2, P1, P2):
    """K(0,0), K(1,0), K(0,1) and K(1,1) of ``symbolic.py``, less the shifts; and whether they are
    tail integrals.

    F1, F2 are the means of the steps.
    """
    L, lost = _joint(b1, b2, C12, i1, i2, s1, shift1, shift2, F1, F2)
    if lost:
        root1 = math.sqrt(i1)
        root2 = math.sqrt(i2)
        u = C12 * root1 * root2
        s = math.sqrt(s1 * i2)
        A00, A10, A01, L = tail_sums(
            b1 * root1, b2 * root2, u, s, V1 * root1, V2 * root2, shift1, shift2
        )
        return A00, A10, A01, L, True
    step1 = d1 * P1
    step2 = d2 * P2
    A10 = b2 * L + C12 * step1 + V2 * step2
    A01 = b1 * L + C12 * step2 + V1 * step1
    return b1 * A10 + V1 * (d1 * R1) + C12 * L, A10, A01, L, False


@_inline
def _joint(b1, b2, C12, i1, i2, s1, shift1, shift2, F1, F2):
    """E[(step(h1) - shift1) (step(h2) - shift2)], and whether digits are lost; F1, F2 are the means
    of the factors.
    """
    if i1 == 0.0 or i2 == 0.0:  # a constant
        return F1 * F2, False
    if shift1 != 0.0 and shift2 != 0.0:
        return _centred_joint(b1, b2, C12, i1, i2, s1, F1, F2), False
    root1 = math.sqrt(i1)
    root2 = math.sqrt(i2)
    h = b1 * root1
    k = b2 * root2
    u = C12 * root1 * root2
    if min(h, k) < DEAD:
        return 0.0, True
    if (h != 0.0 or k != 0.0) and abs(u) <= PLACKETT_LIMIT:
        product = F1 * F2
        L = plackett(h, k, u) + product
        return L, u < 0.0 and shift1 == 0.0 and shift2 == 0.0 and ENOUGH * product > L
    s = math.sqrt(s1 * i2)
    if h == 0.0 and k == 0.0:
        return orthant_at_zero(u, s, shift1, shift2), False
    joint, lost = joint_probability(h, k, u, s, ENOUGH)
    if shift1 != 0.0 or shift2 != 0.0:
        joint -= shift2 * F1 + shift1 * F2
    return joint, lost


@_inline
def _centred_joint(b1, b2, C12, i1, i2, s1, F1, F2):
    """E[(step(h1) - 1/2) (step(h2) - 1/2)]; F1, F2 are the means of the factors."""
    if i1 == 0.0 or i2 == 0.0:  # a constant
        return F1 * F2
    root1 = math.sqrt(i1)
    root2 = math.sqrt(i2)
    h = b1 * root1
    k = b2 * root2
    u = C12 * root1 * root2
    if (h != 0.0 or k != 0.0) and abs(u) <= PLACKETT_LIMIT:
        return plackett(h, k, u) + F1 * F2
    return centred_orthant(h, k, u, math.sqrt(s1 * i2))


@_kernel
def tail_sums(h, k, u, s, r1, r2, shift1, shift2):
    """The same by integrals of positive functions; h, k are the means in units of the standard
    deviations r1, r2.
    """
    joint, ramp2, ramp1, ramps = tail_moments(h, k, u, s)
    if shift2 != 0.0:
        step, ramp = _standard_means(h)
        joint -= shift2 * step
        ramp1 -= shift2 * ramp
    if shift1 != 0.0:
        step, ramp = _standard_means(k)
        joint -= shift1 * step
        ramp2 -= shift1 * ramp
    return r1 * r2 * ramps, r2 * ramp2, r1 * ramp1, joint


@_inline
def _standard_means(h):
    """P(h + x > 0) and E (h + x)_+ of standard normal x."""
    tail, ramp = ramp_tail(clipped_magnitude(h))[1:]
    return (1.0 - tail, h + ramp) if h > 0.0 else (tail, ramp)


@_kernel
def _vertex_bits(k, derivative_order):
    """Infinite slots where one neuron is the constant 0 and sits on its kink."""
    infinite = 0
    for slot in range(SLOTS[2]):
        if k + derivative_order[slot] >= 2:
            infinite |= 1 << slot
    return infinite


@_inline
def _parallel_bits(k, biased, plain):
    """Infinite slots where the kinks (of total order k) of two fully correlated neurons
    coincide.
    """
    infinite = FOURTH_BITS if plain else 0
    if k == 1:
        infinite |= THIRD_BITS
        if biased:
            infinite |= (1 << S31) | (1 << S13)
    elif k == 2:
        infinite |= SECOND_BITS | THIRD_BITS | FOURTH_BITS
    return infinite


# ---------------------------------------------------------------- polynomials against anything


@_kernel
def add_polynomials(out, order, table, f, g, C11, C12, C22, b1, b2, c1, c2, work):
    """Add everything that has a polynomial factor, by the Mehler series in C12, which ends.

    E[p(h1) g(h2)] = sum_j C12^j/j! E p^(j)(h1) E g^(j)(h2). Returns the infinite slots.
    """
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
    add_in_frame(out, order, work, c1, c2)
    return infinite


@_kernel
def _add_constants(out, order, table, f, g, C11, C12, C22, b1, b2, c1, c2, work):
    """:func:`add_polynomials` for polynomials that are constants."""
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
def add_in_frame(out, order, work, c1, c2):
    """Add plain derivatives, those of fourth order along D1 and D2."""
    for slot in range(min(SLOTS[order], S40)):
        out[slot] += work[PLAIN, slot]
    if order == 2:
        i31 = work[PLAIN, S31]
        i22 = work[PLAIN, S22]
        i13 = work[PLAIN, S13]
        out[S40] += _twice(work[PLAIN, S40], i31, i22, c1)
        out[S31] += _once(i31, i22, c1)
        out[S22] += i22
        out[S13] += _once(i13, i22, c2)
        out[S04] += _twice(work[PLAIN, S04], i13, i22, c2)


# ---------------------------------------------------------------- pairs


@_of_functions
def _pair_slots(
    kind_sums,
    add_kind,
    add_polynomial,
    out,
    order,
    table,
    f,
    g,
    C11,
    C12,
    C22,
    b1,
    b2,
    det,
    c1,
    c2,
    plain,
    work,
    scratch,
):
    """The slots of one pair up to the order; returns the infinite ones as a bit mask.

    The first three arguments are the functions of the kind of atoms, and of its polynomials.
    """
    for slot in range(SLOTS[order]):
        out[slot] = 0.0
    infinite = 0
    if table[f, COEFFICIENT_COUNT] > 0.0 or table[g, COEFFICIENT_COUNT] > 0.0:
        infinite |= add_polynomial(out, order, table, f, g, C11, C12, C22, b1, b2, c1, c2, work)
    det = max(det, 0.0)
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
            infinite |= _atoms(
                kind_sums,
                add_kind,
                out,
                order,
                a,
                b,
                shift1,
                shift2,
                C11,
                C12,
                C22,
                b1,
                b2,
                det,
                plain,
                scratch,
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
def _centred_slots(add_kind, out, order, table, f, g, C11, C12, C22, det, scratch):
    """``_pair_slots`` for means 0 and one atom each (erf, relu), twice as fast; False elsewhere."""
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
    args = (
        0.0,
        0.0,
        i1,
        i2,
        g1,
        g2,
        e1,
        e2,
        0.0,
        0.0,
        r1,
        r2,
        d1,
        d2,
        R1,
        R2,
        P1,
        P2,
        q1,
        q2,
        A00,
        A10,
        A01,
        L,
    )
    a = (t1, table[f, FIRST + 1], table[f, FIRST + 2], table[f, FIRST + 3])
    b = (t2, table[g, FIRST + 1], table[g, FIRST + 2], table[g, FIRST + 3])
    add_kind(out, order, a, b, args, scratch)
    return True


@_kernel
def _write_jet(out, n, order, slots, infinite, c1, c2, sine2):
    """Row n of the columns of ``jets.py`` from the slots; ``sine2 = 1 - c1 c2``."""
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


@_kernel
def work_rows(table):
    """Rows for the means of polynomials and atoms of one pair."""
    longest = 0.0
    for f in range(table.shape[0]):
        longest = max(longest, table[f, COEFFICIENT_COUNT])
    return np.empty((PLAIN + 1, max(int(longest) + MAX_ORDER + 1, SLOTS[2])))


@_kernel
def pair_jets_loop(table, f, g, pairs, order, out):
    """Jets of n pairs with the arguments C11, C12, C22, b1, b2, det (6, n) into ``out`` of shape
    (n, 1 | 6 | 21).
    """
    _jets_loop(_any_sums, _add_any, add_polynomials, table, f, g, pairs, order, out)


@_kernel
def ramp_jets_loop(table, f, g, pairs, order, out):
    """The same for a table of ramps and constants, with less to compile."""
    _jets_loop(_any_sums, _add_ramps, _add_constants, table, f, g, pairs, order, out)


@_kernel
def centred_jets_loop(table, f, g, pairs, order, out):
    """The same for a table of steps minus 1/2 and constants."""
    _jets_loop(_centred_sums, _add_steps, _add_constants, table, f, g, pairs, order, out)


@_of_functions
def _jets_loop(kind_sums, add_kind, add_polynomial, table, f, g, pairs, order, out):
    """The loop of all kinds."""
    work = work_rows(table)
    slots = np.empty(SLOTS[2])
    scratch = np.empty(SLOTS[2])
    plain = order < 0  # False; as a literal it would make numba compile everything once more
    for n in range(f.size):
        C11 = pairs[0, n]
        C12 = pairs[1, n]
        C22 = pairs[2, n]
        b1 = pairs[3, n]
        b2 = pairs[4, n]
        det = pairs[5, n]
        c1 = jets.slope(C12, C11)
        c2 = jets.slope(C12, C22)
        infinite = 0
        centred = b1 == 0.0 and b2 == 0.0
        done = centred and _centred_slots(
            add_kind, slots, order, table, f[n], g[n], C11, C12, C22, det, scratch
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
                C11,
                C12,
                C22,
                b1,
                b2,
                det,
                c1,
                c2,
                plain,
                work,
                scratch,
            )
        regular = C11 > jets.SMALLEST_VARIANCE and C22 > jets.SMALLEST_VARIANCE
        sine2 = det / C11 / C22 if regular else 1.0
        _write_jet(out, n, order, slots, infinite, c1, c2, sine2)


@_kernel
def jets_from_slots(slots, pairs, order, out):
    """Jets of n pairs from their finite slots; ``pairs`` (6, n) as above."""
    for n in range(pairs.shape[1]):
        C11 = pairs[0, n]
        C12 = pairs[1, n]
        C22 = pairs[2, n]
        det = pairs[5, n]
        c1 = jets.slope(C12, C11)
        c2 = jets.slope(C12, C22)
        regular = C11 > jets.SMALLEST_VARIANCE and C22 > jets.SMALLEST_VARIANCE
        _write_jet(out, n, order, slots[n], 0, c1, c2, det / C11 / C22 if regular else 1.0)


@_kernel
def pair_moments_loop(table, f, g, C11, C12, C22, b1, b2, det, p, q, out):
    """I(p, q) of n pairs; infinite ones as inf."""
    work = work_rows(table)
    slots = np.empty(SLOTS[2])
    scratch = np.empty(SLOTS[2])
    plain = p >= 0  # True
    order = (p + q + 1) // 2
    slot = 0
    while SLOT_P[slot] != p or SLOT_Q[slot] != q:
        slot += 1
    if slot >= SLOTS[order]:
        order += 1
    for n in range(f.size):
        infinite = _pair_slots(
            _any_sums,
            _add_any,
            add_polynomials,
            slots,
            order,
            table,
            f[n],
            g[n],
            C11[n],
            C12[n],
            C22[n],
            b1[n],
            b2[n],
            det[n],
            0.0,
            0.0,
            plain,
            work,
            scratch,
        )
        out[n] = np.inf if infinite & (1 << slot) else slots[slot]


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
