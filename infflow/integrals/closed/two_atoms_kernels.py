"""Jitted moments of two atoms: what they share, and the calls of the generated functions."""

from __future__ import annotations

from typing import NamedTuple

from ...compiler import njit
from .. import jets
from ._generated import atoms_00, atoms_01, atoms_02, atoms_11, atoms_12, atoms_22
from .atom_mean_kernels import gaussian_at_zero, ramp_mean, reciprocal
from .slots import (
    EXCHANGED,
    FOURTH_BITS,
    S13,
    S31,
    SECOND_BITS,
    SLOT_P,
    SLOT_Q,
    SLOTS,
    THIRD_BITS,
)
from .stein_kernels import centred_joint, stein_sums

ROUNDING = 1e-15

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
# also for functions of functions: numba keeps no code on disk in which an argument is a function
_uncontracted = njit(forceinline=True, error_model="numpy")


class Side(NamedTuple):
    """What belongs to one of two neurons, in the notation of ``symbolic.py`` without its index.

    Mean b and inflated variance V of its argument, i = 1/V, the slope g of the other one, whose
    mean and variance are m and s where this one is on its kink, r = 1/s; the density d at the kink,
    the mean F of the step; q and P are both for the other one where this one is on its kink.
    """

    b: float
    V: float
    i: float
    g: float
    m: float
    s: float
    r: float
    d: float
    F: float
    q: float
    P: float


class Arguments(NamedTuple):
    """What generated functions take of one of two neurons, see ``symbolic.py``."""

    b: float
    i: float
    g: float
    e: float
    m: float
    r: float
    d: float
    R: float
    P: float
    q: float
    A: float


@_uncontracted
def sides(gaussian, t1, t2, shift1, shift2):
    """Both neurons as :class:`Side`, the inflated determinant, and whether kinks coincide.

    ``gaussian`` are C11, C12, C22, b1, b2 and the determinant, not negative; t1, t2 squared widths.
    """
    C11, C12, C22, b1, b2, det = gaussian
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
    parallel = i1 > 0.0 and i2 > 0.0 and r1 == 0.0 and abs(m1) <= ROUNDING * abs(b2)
    if parallel:
        m1 = m2 = 0.0
    d1, F1 = gaussian_at_zero(b1, i1, shift1)
    d2, F2 = gaussian_at_zero(b2, i2, shift2)
    q1, P1 = gaussian_at_zero(m1, r1, shift2)
    q2, P2 = gaussian_at_zero(m2, r2, shift1)
    first = Side(b1, V1, i1, g1, m1, s1, r1, d1, F1, q1, P1)
    second = Side(b2, V2, i2, g2, m2, s2, r2, d2, F2, q2, P2)
    return first, second, D, parallel


@_uncontracted
def add_atoms(kind_sums, add_kind, out, order, a, b, shift1, shift2, gaussian, plain, scratch):
    """Add the atoms ``a`` of one width of f times those ``b`` of one width of g; returns the
    infinite slots.

    ``a`` and ``b`` hold a squared width and the weights of its ramp, step and density. The
    first two arguments are the functions of the kind of atoms, see below.
    """
    C11, C12, C22, b1, b2, _ = gaussian
    t1, t2 = a[0], b[0]
    first, second, _, parallel = sides(gaussian, t1, t2, shift1, shift2)
    R1, R2, A00, A10, A01, L = kind_sums(a, b, first, second, C12, shift1, shift2)
    _, _, i1, g1, m1, _, r1, d1, _, q1, P1 = first
    _, _, i2, g2, m2, _, r2, d2, _, q2, P2 = second
    e1 = _slope_gap(g1, t1, C11, plain)
    e2 = _slope_gap(g2, t2, C22, plain)
    own = Arguments(b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10)
    other = Arguments(b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01)
    add_kind(out, order, a, b, own, other, A00, L, scratch)
    vertex1 = t1 == 0.0 and i1 == 0.0 and b1 == 0.0
    vertex2 = t2 == 0.0 and i2 == 0.0 and b2 == 0.0
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


# The two functions of a kind of atoms, so that loops compile no other kind: the sums R1, R2, A00,
# A10, A01, L of ``symbolic.py`` as far as the kind needs them, and the calls of generated
# functions. They are handed down one by one: numba would make pointers of a tuple of functions.


@_inline
def any_sums(a, b, first, second, C12, shift1, shift2):
    """For all kinds: what the weights need."""
    # for K(m, 0), and K(0, n)
    R1 = ramp_mean(first.m, first.s, first.r, first.P, first.q) if b[1] != 0.0 else 0.0
    R2 = ramp_mean(second.m, second.s, second.r, second.P, second.q) if a[1] != 0.0 else 0.0
    L = A00 = A10 = A01 = 0.0
    if not (_only_density(a) or _only_density(b)):
        A00, A10, A01, L, _ = stein_sums(first, second, C12, shift1, shift2, R1, R2)
    return R1, R2, A00, A10, A01, L


@_kernel
def add_any(out, order, a, b, first, second, A00, L, scratch):
    """Call the generated functions, which are for the orders k1 <= k2, of all pairs of atoms.

    Not in a loop over the orders: the compiler would move what they compute out of it, and compute
    all of them always.
    """
    if a[1] * b[1] != 0.0:
        atoms_00(out, a[1] * b[1], order, first, second, A00, L)
    if a[2] * b[2] != 0.0:
        atoms_11(out, a[2] * b[2], order, first, second, A00, L)
    if a[3] * b[3] != 0.0:
        atoms_22(out, a[3] * b[3], order, first, second, A00, L)
    _add_unequal(out, order, a, b, first, second, A00, L)
    if a[2] * b[1] == 0.0 and a[3] * b[1] == 0.0 and a[3] * b[2] == 0.0:
        return
    for slot in range(SLOTS[order]):
        scratch[slot] = 0.0
    _add_unequal(scratch, order, b, a, second, first, A00, L)
    for slot in range(SLOTS[order]):
        out[EXCHANGED[slot]] += scratch[slot]


@_kernel
def _add_unequal(out, order, a, b, first, second, A00, L):
    """The orders k1 < k2."""
    if a[1] * b[2] != 0.0:
        atoms_01(out, a[1] * b[2], order, first, second, A00, L)
    if a[1] * b[3] != 0.0:
        atoms_02(out, a[1] * b[3], order, first, second, A00, L)
    if a[2] * b[3] != 0.0:
        atoms_12(out, a[2] * b[3], order, first, second, A00, L)


@_kernel
def add_ramps(out, order, a, b, first, second, A00, L, scratch):
    """For ramps (relu)."""
    atoms_00(out, a[1] * b[1], order, first, second, A00, L)


@_inline
def centred_sums(a, b, first, second, C12, shift1, shift2):
    """For steps minus 1/2 (erf): no ramps, and nothing that loses digits in the tails."""
    L = centred_joint(first.b, second.b, C12, first.i, second.i, first.s, first.F, second.F)
    return 0.0, 0.0, 0.0, 0.0, 0.0, L


@_kernel
def add_steps(out, order, a, b, first, second, A00, L, scratch):
    """For steps."""
    atoms_11(out, a[2] * b[2], order, first, second, A00, L)


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
                    infinite |= FOURTH_BITS if plain else 0
                    if k1 + k2 == 1:
                        infinite |= THIRD_BITS
                        if biased:
                            infinite |= (1 << S31) | (1 << S13)
                    elif k1 + k2 == 2:
                        infinite |= SECOND_BITS | THIRD_BITS | FOURTH_BITS
    return infinite


@_kernel
def _vertex_bits(k, derivative_order):
    """Infinite slots where one neuron is the constant 0 and sits on its kink."""
    infinite = 0
    for slot in range(SLOTS[2]):
        if k + derivative_order[slot] >= 2:
            infinite |= 1 << slot
    return infinite
