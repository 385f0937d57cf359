"""Jitted tables of ``G(i, j) = E[T_i(h1) T_j(h2)]`` of truncated powers; ``power_kernels.py`` says
how.
"""

from __future__ import annotations

import math

import numpy as np

from ...activations.vector_math import exp_
from ...compiler import njit
from .. import jets
from .atom_mean_kernels import INV_SQRT_2PI, gaussian_at_zero, reciprocal
from .bivariate_normal_kernels import (
    DEAD,
    NODES,
    PLACKETT_LIMIT,
    SMALLEST_SINE,
    WEIGHTS,
    reach,
)
from .power_mean_kernels import ENTRIES, power_means
from .stein_kernels import ENOUGH

# Relative errors of products and of integrals, in units of eps.
OWN = 8.0
INTEGRATED = 32.0
EPS = 2.220446049250313e-16
# Panels end where the integrand has fallen by exp(-drop/2), the largest first; at multiples of a
# length around the middle of the density; around the place where the second mean changes sign.
DROPS = np.array([130.0, 10.0, 30.0, 60.0, 90.0])
LONGEST_PANEL = 4.0
MIDDLE = 2
LAYER = np.array([-10.0, -6.0, -2.0, 2.0, 6.0, 10.0])

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})


@_inline
def _insert(ends, n, x, last):
    """Put x at its place among the n sorted ends, if it lies between 0 and the last."""
    if not 0.0 < x < last:
        return n
    k = n
    while k > 0 and ends[k - 1] > x:
        ends[k] = ends[k - 1]
        k -= 1
    ends[k] = x
    return n + 1


@_kernel
def _edges(h, z, c, ends):
    """Sorted ends of panels in t, the distance of h1 from its kink in units of its deviation."""
    last = np.inf
    n = 0
    for drop in DROPS:
        x = reach(drop, h, z, c)
        if n == 0:
            ends[0] = 0.0
            ends[1] = x
            last = x
            n = 2
        else:
            n = _insert(ends, n, x, last)
    for k in range(2 * MIDDLE + 1 + LAYER.size):
        x = h + (k - MIDDLE) * LONGEST_PANEL
        if k > 2 * MIDDLE:
            x = (LAYER[k - 2 * MIDDLE - 1] - z) / c if c != 0.0 else 0.0
        n = _insert(ends, n, x, last)
    return n


@_kernel
def positive_table(h, k, u, s, top1, top2, G, work):
    """``E[T_i(h + x) T_j(k + y)]`` of correlation u by integrals of positive functions, h <= k.

    ``s = sqrt(1 - u^2)``.
    """
    ends = work[0]
    A = work[1]
    for i in range(top1 + 1):
        for j in range(top2 + 1):
            G[i, j] = 0.0
    mean = k - u * h
    if abs(u) > PLACKETT_LIMIT:  # without the rounding error of u, which 1/s would enlarge
        sign = math.copysign(1.0, u)
        gap = s * s / (1.0 + abs(u))
        u = sign * (1.0 - gap)
        mean = (k - sign * h) + sign * gap * h
    s = max(s, SMALLEST_SINE)
    count = _edges(h, mean / s, u / s, ends)
    for panel in range(count - 1):
        start = ends[panel]
        length = ends[panel + 1] - ends[panel]
        if length <= 0.0:
            continue
        for node in range(NODES.size):
            t = start + length * NODES[node]
            x = t - h
            weight = INV_SQRT_2PI * length * WEIGHTS[node] * exp_(-0.5 * x * x)
            if weight == 0.0:
                continue
            power_means(mean + u * t, s * s, A)
            for i in range(top1 + 1):
                for j in range(top2 + 1):
                    G[i, j] += weight * A[j]
                weight *= t / (i + 1.0)


@_kernel
def _recursion(gaussian, d1, d2, A1, A2, top1, top2, lost, G, E):
    """G(i, j) from G(0, 0), G(0, 1), G(1, 0), G(1, 1), and errors E; whether they are small."""
    V1, C12, V2, b1, b2 = gaussian
    for i in range(top1 + 1):
        for j in range(top2 + 1):
            if i + j == 0 or (i <= 1 and j <= 1):
                continue
            if i >= j:
                down1 = G[i - 1, j]
                down2 = G[i - 2, j] if i >= 2 else d1 * A1[j]
                cross = G[i - 1, j - 1] if j >= 1 else d2 * A2[i - 1]
                own = b1
                other = V1
                k = i
                e1 = E[i - 1, j]
                e2 = E[i - 2, j] if i >= 2 else 0.0
            else:
                down1 = G[i, j - 1]
                down2 = G[i, j - 2] if j >= 2 else d2 * A2[i]
                cross = G[i - 1, j - 1] if i >= 1 else d1 * A1[j - 1]
                own = b2
                other = V2
                k = j
                e1 = E[i, j - 1]
                e2 = E[i, j - 2] if j >= 2 else 0.0
            e3 = E[i - 1, j - 1] if i >= 1 and j >= 1 else 0.0
            G[i, j] = (own * down1 + other * down2 + C12 * cross) / k
            size = abs(own * down1) + abs(other * down2) + abs(C12 * cross)
            E[i, j] = (abs(own) * e1 + other * e2 + abs(C12) * e3 + 2.0 * size) / k
            if not EPS * E[i, j] <= lost * G[i, j]:
                return False
    return True


@_inline
def _ramp_errors(b1, b2, C12, i1, i2, L, F1, F2):
    """The error of P(h1 > 0, h2 > 0) in units of eps, and whether all four moments of ramps and
    steps are integrals of positive functions, by the rules of ``stein_kernels``.
    """
    h = b1 * math.sqrt(i1)
    k = b2 * math.sqrt(i2)
    if abs(C12) * math.sqrt(i1 * i2) <= PLACKETT_LIMIT:
        lost = C12 < 0.0 and ENOUGH * F1 * F2 > L
        return OWN * (L + F1 * F2) * (1.0 + min(h * h, k * k)), lost or min(h, k) < DEAD
    return F1 + F2, ENOUGH * (F1 + F2) > L or min(h, k) < DEAD


@_kernel
def tables_loop(V1, C12, V2, D, b1, b2, ramps, top1, top2, lost, out, errors):
    """``G(i, j)``, i <= top1, j <= top2, of n pairs into ``out`` (n, 6, 6), and what rounding does
    to them into ``errors`` (n, 6, 6), in units of eps. Sums that lose more than the part ``lost``
    of their value are replaced by integrals.

    V are variances with the smoothing of the atoms, ``D = V1 V2 - C12^2``; ``ramps`` (n, 6) are
    jets of two ramps there, which have G(i, j) for i, j <= 1.
    """
    A1 = np.empty(ENTRIES)
    A2 = np.empty(ENTRIES)
    work = np.empty((2, 32))
    scratch = np.empty((ENTRIES, ENTRIES))
    for n in range(b1.size):
        G = out[n]
        E = errors[n]
        i1 = reciprocal(V1[n])
        i2 = reciprocal(V2[n])
        if i1 == 0.0 or i2 == 0.0:  # a constant
            power_means(b1[n], V1[n], A1)
            power_means(b2[n], V2[n], A2)
            for i in range(top1 + 1):
                for j in range(top2 + 1):
                    G[i, j] = A1[i] * A2[j]
                    E[i, j] = OWN * G[i, j]
            continue
        m1 = b2[n] - C12[n] * i1 * b1[n]
        m2 = b1[n] * (D[n] * i1 * i2) - C12[n] * i2 * m1
        power_means(m1, D[n] * i1, A1)
        power_means(m2, D[n] * i2, A2)
        d1, F1 = gaussian_at_zero(b1[n], i1, 0.0)
        d2, F2 = gaussian_at_zero(b2[n], i2, 0.0)
        G[0, 0] = ramps[n, jets.J11]
        G[0, 1] = ramps[n, jets.J10]
        G[1, 0] = ramps[n, jets.J01]
        G[1, 1] = ramps[n, jets.J00]
        error, relative = _ramp_errors(b1[n], b2[n], C12[n], i1, i2, G[0, 0], F1, F2)
        E[0, 0] = error
        E[0, 1] = abs(b2[n]) * error + abs(C12[n]) * d1 * A1[0] + V2[n] * d2 * A2[0]
        E[1, 0] = abs(b1[n]) * error + abs(C12[n]) * d2 * A2[0] + V1[n] * d1 * A1[0]
        E[1, 1] = abs(b1[n]) * E[0, 1] + abs(C12[n]) * error + V1[n] * d1 * A1[1]
        if relative:
            E[:2, :2] = OWN * G[:2, :2]
        gaussian = (V1[n], C12[n], V2[n], b1[n], b2[n])
        if not _recursion(gaussian, d1, d2, A1, A2, top1, top2, lost, G, E):
            _by_integrals(gaussian, i1, i2, D[n], top1, top2, G, scratch, work)
            for i in range(top1 + 1):
                for j in range(top2 + 1):
                    E[i, j] = INTEGRATED * G[i, j]


@_kernel
def _by_integrals(gaussian, i1, i2, D, top1, top2, G, E, work):
    """The table by integrals of positive functions, over the neuron that is more rarely active."""
    V1, C12, V2, b1, b2 = gaussian
    root1 = math.sqrt(i1)
    root2 = math.sqrt(i2)
    h = b1 * root1
    k = b2 * root2
    u = C12 * root1 * root2
    s = math.sqrt(D * i1 * i2)
    exchanged = h > k
    if exchanged:
        h, k, top1, top2 = k, h, top2, top1
    positive_table(h, k, u, s, top1, top2, E, work)
    factor1 = 1.0
    for i in range(top1 + 1):
        factor = factor1
        for j in range(top2 + 1):
            if exchanged:
                G[j, i] = factor * E[i, j]
            else:
                G[i, j] = factor * E[i, j]
            factor *= V1 * root1 if exchanged else V2 * root2
        factor1 *= V2 * root2 if exchanged else V1 * root1
