"""Jitted sums that belong to two ramps or steps: K(0,0), K(1,0), K(0,1), K(1,1) of ``symbolic.py``.

They come from the joint probability of two steps by Stein's lemma, and from integrals of positive
functions where its terms cancel.
"""

from __future__ import annotations

import math

from ...activations.vector_math import clipped_magnitude, ramp_tail
from ...compiler import njit
from .bivariate_normal_kernels import (
    DEAD,
    PLACKETT_LIMIT,
    centred_orthant,
    joint_probability,
    orthant_at_zero,
    plackett,
    tail_moments,
)

# Share of a difference that must be left, ten digits, unless a neuron is far from its kink.
ENOUGH = 1e-6

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})


@_inline
def stein_sums(first, second, C12, shift1, shift2, R1, R2):
    """K(0,0), K(1,0), K(0,1) and K(1,1) of ``symbolic.py``, less the shifts; and whether they are
    tail integrals.

    ``first`` and ``second`` are of :class:`.two_atoms_kernels.Side`; R1, R2 the means of the ramps
    given that the other neuron is on its kink.
    """
    b1, V1, i1, _, _, s1, _, d1, F1, _, P1 = first
    b2, V2, i2, _, _, _, _, d2, F2, _, P2 = second
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
        return centred_joint(b1, b2, C12, i1, i2, s1, F1, F2), False
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
def centred_joint(b1, b2, C12, i1, i2, s1, F1, F2):
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
