"""Jitted sums of :mod:`infflow.networks.infinite.near_teacher.differences`.

Notation: neuron i has weights ``w_i`` and bias ``b_i`` at the teacher, ``w_i + dw_i`` and
``b_i + db_i`` at the student. ``G`` (2 n, 2 n) are the products of all ``w`` and ``dw``, in this
order. ``n_i`` is the unit vector along ``w_i``, and zero without weights.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_kernel = njit(cache=True, error_model="numpy")

# Coefficients in the perpendicular coordinate: Hermite functions up to this degree, with the roots
# of the factorials.
DEGREES = 5
_ROOTS = (1.0, 1.0, math.sqrt(2.0), math.sqrt(6.0), math.sqrt(24.0))
# How often the remainder of a series is looked at.
_STRIDE = 4


@_kernel
def geometry(W, b, G, kind, r, growth, along, u, turn, both, far, coincident):
    """Lengths and angles of the neurons and of their moves.

    Fills ``r`` (n,), the lengths at the teacher, ``growth`` (n,), by how much they grow, ``along``
    (n,), the part of the move along the neuron; products of unit vectors at the teacher, ``u``
    (n, n), of changes (rows) with them, ``turn``, and of changes, ``both``; ``far``, the largest
    |cos| of the angle between any ends of two neurons; ``coincident``: 1 or -1 where two neurons
    are one at the teacher, up to this sign of their argument, else 0.
    """
    n = W.shape[0]
    ends = np.empty(n)
    for i in range(n):
        own = G[i, i]
        change = 2.0 * G[i, n + i] + G[n + i, n + i]
        r[i] = math.sqrt(own)
        ends[i] = math.sqrt(max(own + change, 0.0))
        growth[i] = change / (r[i] + ends[i]) if ends[i] > 0.0 or r[i] > 0.0 else 0.0
        along[i] = G[i, n + i] / r[i] if r[i] > 0.0 else 0.0
    for i in range(n):
        # n_i changes by dw_i / |w_i + dw_i| - shrink w_i
        scale_i = 1.0 / ends[i] if ends[i] > 0.0 else 0.0
        unit_i = 1.0 / r[i] if r[i] > 0.0 else 0.0
        shrink_i = growth[i] * scale_i * unit_i
        for j in range(n):
            scale_j = 1.0 / ends[j] if ends[j] > 0.0 else 0.0
            unit_j = 1.0 / r[j] if r[j] > 0.0 else 0.0
            shrink_j = growth[j] * scale_j * unit_j
            u[i, j] = G[i, j] * unit_i * unit_j
            turn[i, j] = (G[n + i, j] * scale_i - G[i, j] * shrink_i) * unit_j
            both[i, j] = (
                G[n + i, n + j] * scale_i * scale_j
                - G[n + i, j] * scale_i * shrink_j
                - G[i, n + j] * shrink_i * scale_j
                + G[i, j] * shrink_i * shrink_j
            )
    for i in range(n):
        for j in range(n):
            largest = max(abs(u[i, j]), abs(u[i, j] + turn[i, j]))
            largest = max(largest, abs(u[i, j] + turn[j, i]))
            last = abs(u[i, j] + turn[i, j] + turn[j, i] + both[i, j])
            far[i, j] = min(max(largest, last), 1.0)
            coincident[i, j] = _sign(W, b, i, j) if kind[i] == kind[j] else 0


@_kernel
def _sign(W, b, i, j):
    """1 or -1 where (w_i, b_i) is that multiple of (w_j, b_j), else 0."""
    plus = b[i] == b[j]
    minus = b[i] == -b[j]
    for d in range(W.shape[1]):
        plus = plus and W[i, d] == W[j, d]
        minus = minus and W[i, d] == -W[j, d]
    if plus:
        return 1
    return -1 if minus else 0


@_kernel
def shifts(jets, x, weights, growth, along, across, db, series, parts, left):
    """What m neurons change by, by Taylor's series at the nodes ``x`` (Q,) of one rule.

    Parameters
    ----------
    jets : (5, m, Q) array
        f and its derivatives at r x + b.
    growth, along, across, db : (m,) arrays
        Growth of r, part of the move along the neuron, square of the rest, change of b.
    series : (m, Q) array
        Receives f((r + growth) x + b + db) - f(r x + b).
    parts : (m, DEGREES, Q) array
        Receives the coefficients k of f(r x + b + move) - f(r x + b) in He_k(y)/sqrt(k!), over
        the power k of the length of the perpendicular move; y is standard normal.
    left : (m,) array
        Receives what the next term would be relative to the first.
    """
    _, m, Q = jets.shape
    sizes = np.empty(5)
    for i in range(m):
        sizes[:] = 0.0
        length = math.sqrt(across[i])
        for t in range(Q):
            f1 = jets[1, i, t]
            f2 = jets[2, i, t]
            f3 = jets[3, i, t]
            f4 = jets[4, i, t]
            e = growth[i] * x[t] + db[i]
            series[i, t] = e * (f1 + e / 2.0 * (f2 + e / 3.0 * (f3 + e / 4.0 * f4)))
            v = along[i] * x[t] + db[i]
            s = across[i]
            a = parts[i]
            a[0, t] = (
                v * (f1 + v / 2.0 * (f2 + v / 3.0 * (f3 + v / 4.0 * f4)))
                + s / 2.0 * (f2 + v * (f3 + v / 2.0 * f4))
                + s * s / 8.0 * f4
            )
            a[1, t] = f1 + v * (f2 + v / 2.0 * (f3 + v / 3.0 * f4)) + s / 2.0 * (f3 + v * f4)
            a[2, t] = (f2 + v * (f3 + v / 2.0 * f4) + s / 2.0 * f4) / _ROOTS[2]
            a[3, t] = (f3 + v * f4) / _ROOTS[3]
            a[4, t] = f4 / _ROOTS[4]
            q = abs(v) + length
            term = q * f1
            sizes[1] += weights[t] * term * term
            term = q * q / 2.0 * f2
            sizes[2] += weights[t] * term * term
            term = q * q * q / 6.0 * f3
            sizes[3] += weights[t] * term * term
            term = q * q * q * q / 24.0 * f4
            sizes[4] += weights[t] * term * term
        fall = 0.0
        for k in range(1, 4):
            if sizes[k] > 0.0:
                fall = max(fall, sizes[k + 1] / sizes[k])
        left[i] = math.sqrt(sizes[4] * fall / sizes[1]) if sizes[1] > 0.0 else 0.0


@_kernel
def coincident_sums(members, values, parts, weights, mirror, across, sign, done, B, dB):
    """Sum of the products of all neurons that are one at the teacher, and of their sizes.

    ``values`` (m, Q) and ``parts`` (m, DEGREES, Q) belong to the neurons ``members`` (m,) on the
    nodes of one rule, ``mirror`` (Q,) has the places of the nodes -x; ``across`` (n, n) are the
    products of the perpendicular moves.
    """
    total = 0.0
    size = 0.0
    Q = weights.size
    for p in range(members.size):
        i = members[p]
        for q in range(p, members.size):
            j = members[q]
            if sign[i, j] == 0 or not done[i, j]:
                continue
            plain = 0.0
            first = 0.0
            second = 0.0
            moves = 0.0
            for t in range(Q):
                o = t if sign[i, j] > 0 else mirror[t]
                plain += weights[t] * values[p, t] * values[q, o]
                first += weights[t] * parts[p, 0, t] * values[q, o]
                second += weights[t] * values[p, t] * parts[q, 0, o]
            power = 1.0
            for k in range(DEGREES):
                own = 0.0
                for t in range(Q):
                    o = t if sign[i, j] > 0 else mirror[t]
                    own += weights[t] * parts[p, k, t] * parts[q, k, o]
                moves += power * own
                power *= across[i, j]
            own = _assembled(B, dB, i, j, plain, first, second, moves)
            own *= 1.0 if i == j else 2.0
            total += own
            size += abs(own)
    return total, size


@_kernel
def _assembled(B, dB, i, j, plain, first, second, moves):
    """E[g_i.g_j], g_i = dB_i f_i + (B_i + dB_i) df_i, from the moments of f_i and df_i.

    Those of f_i f_j, df_i f_j, f_i df_j and df_i df_j.
    """
    found = 0.0
    for o in range(B.shape[1]):
        end_i = B[i, o] + dB[i, o]
        end_j = B[j, o] + dB[j, o]
        found += dB[i, o] * (dB[j, o] * plain + end_j * second)
        found += end_i * (dB[j, o] * first + end_j * moves)
    return found


@_kernel
def series_sums(coefficients, changes, tail, u, turn, both, far, sign, done, tolerance, B, dB):
    """Sum of the products of all neurons that are not one at the teacher, and of their sizes.

    ``coefficients`` (n, N) are those at the teacher, ``changes`` (n, N) by how much they change.
    Differences of powers of the cosine are carried from power to power, none is subtracted:
    with d1, d2 the differences in the places of the first and the second neuron,
    d1 d2 (u p) = (d1 d2 u) p_11 + (d1 u)_0 (d2 p)_1 + (d2 u)_0 (d1 p)_1 + u_00 d1 d2 p.
    """
    total = 0.0
    size = 0.0
    n, N = changes.shape
    for i in range(n):
        for j in range(i + 1, n):
            if sign[i, j] != 0 or not done[i, j]:
                continue
            u00 = u[i, j]
            first0 = turn[i, j]
            second0 = turn[j, i]
            last = both[i, j]
            first1 = first0 + last
            second1 = second0 + last
            u10 = u00 + first0
            u01 = u00 + second0
            u11 = u10 + second1
            p00 = 1.0
            p10 = 1.0
            p01 = 1.0
            p11 = 1.0
            d1_0 = 0.0
            d1_1 = 0.0
            d2_0 = 0.0
            d2_1 = 0.0
            d12 = 0.0
            plain = 0.0
            first = 0.0
            second = 0.0
            moves = 0.0
            farthest = 1.0
            for k in range(N):
                c = coefficients[i, k]
                d = coefficients[j, k]
                dc, dd = changes[i, k], changes[j, k]
                plain += c * d * p00
                first += d * (dc * p10 + c * d1_0)
                second += c * (dd * p01 + d * d2_0)
                moves += dc * (dd * p11 + d * d2_1) + c * (dd * d1_1 + d * d12)
                farthest *= far[i, j]
                if k % _STRIDE == 0 and farthest * tail[i, k] * tail[j, k] <= tolerance:
                    break
                d12 = last * p11 + first0 * d2_1 + second0 * d1_1 + u00 * d12
                d1_0 = first0 * p10 + u00 * d1_0
                d2_0 = second0 * p01 + u00 * d2_0
                d1_1 = first1 * p11 + u01 * d1_1
                d2_1 = second1 * p11 + u10 * d2_1
                p00 *= u00
                p10 *= u10
                p01 *= u01
                p11 *= u11
            own = 2.0 * _assembled(B, dB, i, j, plain, first, second, moves)
            total += own
            size += abs(own)
    return total, size
