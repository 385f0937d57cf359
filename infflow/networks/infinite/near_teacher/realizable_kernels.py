"""The loss next to a realizable solution on plain arrays: matching, and the double integral.

Notation: neuron i of the segment has weights ``w_i + s dw_i``, bias ``b_i + s db_i`` and output
vector ``B_i + s dB_i``, 0 <= s <= 1 from the teacher to the student. ``G`` (2 n, 2 n) are the
products of all ``w`` and ``dw``, in this order; every covariance on the way is made of its entries.
"""

from __future__ import annotations

import math

import numpy as np

from ....compiler import njit
from ....integrals.jets import (
    B11,
    F11,
    F13,
    F22,
    F31,
    J00,
    J01,
    J02,
    J10,
    J11,
    J20,
    M12,
    M12B,
    M21,
    M21B,
    slope,
)
from ..kernels import perpendicular_part

# Above this 1 - u^2 products of vectors lose less than a digit in the perpendicular parts.
_OBLIQUE = 0.1
# Kinks of nearly parallel neurons are apart beyond so many conditional deviations.
_APART = 9.0
# A kink at h moves by 1 + |h| times the relative distance of its neuron, and derivatives of its
# density bring powers of about 4 + |h|.
_FAR_KINK = 0.25
# A perpendicular part below this fraction of the neuron's length is rounding: the two are parallel.
_PARALLEL = 4 * np.finfo(np.float64).eps


@njit(cache=True, error_model="numpy")
def match(
    W,
    b,
    B,
    c,
    V,
    vb,
    VB,
    vc,
    alike,
    homogeneous,
    parity,
    near,
    source,
    ends_W,
    ends_b,
    ends_B,
    ends_c,
):
    """Write the teacher (V, vb, VB, vc) with the neurons of the student (W, b, B, c).

    Fills the first rows of ``ends_W`` (2, K + M, D), ``ends_b``, ``ends_B``, ``ends_c`` (2, O),
    teacher first, and their ``source``: the student k, or K plus the number of a teacher neuron
    that no student matches. Returns the number of rows, and whether both networks are the same, and
    close.
    """
    W0 = ends_W[0]
    b0 = ends_b[0]
    B0 = ends_B[0]
    W1 = ends_W[1]
    b1 = ends_b[1]
    B1 = ends_B[1]
    K = W.shape[0]
    M = V.shape[0]
    D = W.shape[1]
    O = B.shape[1]
    factor = np.empty(K)
    gauge = np.empty(K)
    nearest = np.empty(K, dtype=np.int64)
    count = np.zeros(M)
    missing = VB.copy()
    sizes = np.empty(M)
    for j in range(M):
        sizes[j] = _length(V[j], vb[j])
    n = 0
    for k in range(K):
        length = _length(W[k], b[k])
        if homogeneous[k] and length == 0.0:  # it gives zero
            continue
        nearest[n], factor[n], gauge[n] = _nearest(
            W[k], b[k], length, V, vb, sizes, alike[k], homogeneous[k], parity[k], near
        )
        source[n] = k
        j = nearest[n]
        if j >= 0:
            count[j] += 1.0
            for o in range(O):
                missing[j, o] -= B[k, o] / gauge[n]
        n += 1
    for r in range(n):
        k, j = source[r], nearest[r]
        b1[r] = b[k]
        b0[r] = factor[r] * vb[j] if j >= 0 else b[k]
        for d in range(D):
            W1[r, d] = W[k, d]
            W0[r, d] = factor[r] * V[j, d] if j >= 0 else W[k, d]
        for o in range(O):
            B1[r, o] = B[k, o]
            B0[r, o] = gauge[r] * (B[k, o] / gauge[r] + missing[j, o] / count[j]) if j >= 0 else 0.0
    for j in range(M):
        if count[j] == 0.0:
            source[n] = K + j
            b0[n] = b1[n] = vb[j]
            for d in range(D):
                W0[n, d] = W1[n, d] = V[j, d]
            for o in range(O):
                B0[n, o] = VB[j, o]
                B1[n, o] = 0.0
            n += 1
    size = 0.0
    gap = 0.0
    for o in range(O):
        ends_c[0, o] = vc[o]
        ends_c[1, o] = c[o]
        size = max(size, abs(vc[o]))
        gap = max(gap, abs(c[o] - vc[o]))
    exact = gap == 0.0
    for r in range(n):
        for o in range(O):
            size = max(size, abs(B0[r, o]))
            gap = max(gap, abs(B1[r, o] - B0[r, o]))
            exact = exact and B1[r, o] == B0[r, o]
        for d in range(D):
            exact = exact and W1[r, d] == W0[r, d]
        exact = exact and b1[r] == b0[r]
    return n, exact, gap <= near * size


@njit(cache=True, error_model="numpy")
def _length(w, b):
    total = b * b
    for d in range(w.size):
        total += w[d] * w[d]
    return math.sqrt(total)


@njit(cache=True, error_model="numpy")
def _nearest(w, b, length, V, vb, sizes, alike, homogeneous, parity, near):
    """The teacher neuron nearest to a student, -1 if none is near.

    And the factors of its (w, b) and of its output vector.
    """
    best = np.inf
    found = -1
    factor = 1.0
    gauge = 1.0
    for sign in (1.0, -1.0):
        if sign < 0.0 and parity == 0.0:
            break
        for j in range(V.shape[0]):
            if not alike[j]:
                continue
            scale = length / sizes[j] if homogeneous and sizes[j] > 0.0 else 1.0
            f = sign * scale
            gap = (b - f * vb[j]) ** 2
            for d in range(w.size):
                gap += (w[d] - f * V[j, d]) ** 2
            if gap < best:
                best = gap
                found = j
                factor = f
                gauge = (1.0 if sign > 0.0 else parity) / scale
    if math.sqrt(best) <= near * length:
        return found, factor, gauge
    return -1, 1.0, 1.0


@njit(cache=True, error_model="numpy")
def survey(W, b, dW, db, G, kinked, farthest, corner_above, narrow_below, flags, wedge):
    """The largest distance by which neurons of regular pairs move, and the largest mean.

    Distances are relative where scales do not matter (kinks), else absolute; with |b| far out they
    count more. Where two neurons with kinks move by more than ``corner_above`` of the angle between
    them, ``flags[0]`` (n, n) is set, unless their kinks, which are within ``farthest`` (n,) of 0,
    meet nowhere within reach; where the squared sine of that angle is below ``narrow_below``,
    ``flags[1]`` is. ``wedge`` (n,) receives the Gram determinants of w and dw.
    """
    n = W.shape[0]
    corner = flags[0]
    narrow = flags[1]
    move = np.empty(n)
    work = np.empty(W.shape[1])
    # the middle of the kinks in standard deviations, how far they are from it, and may move
    place = np.empty(n)
    around = np.empty(n)
    shift = np.empty(n)
    largest = 0.0
    mean = 0.0
    for i in range(n):
        own = G[i, i]
        change = G[n + i, n + i]
        mean = max(mean, abs(b[i]), abs(b[i] + db[i]))
        wedge[i] = own * perpendicular_part(W[i], dW[i], own, G[i, n + i], work)
        distance = math.sqrt(change + db[i] * db[i])
        deviation = math.sqrt(own)
        place[i] = b[i] / deviation if own > 0.0 else 0.0
        around[i] = farthest[i] / deviation if own > 0.0 else np.inf
        shift[i] = distance / deviation if own > 0.0 else np.inf
        if distance > 0.0:
            length = deviation if kinked[i] else max(1.0, deviation)
            far = abs(b[i]) / length
            distance *= (1.0 + far) * (1.0 + (_FAR_KINK if kinked[i] else 1.0) * far)
            if kinked[i]:
                distance /= length
        move[i] = distance
        corner[i, i] = kinked[i]
        narrow[i, i] = True
        if not kinked[i]:
            largest = max(largest, distance)
        for j in range(i):
            product = G[i, j]
            own_j = G[j, j]
            sine2 = 1.0 - product * product / (own * own_j) if own * own_j > 0.0 else 0.0
            narrow[i, j] = narrow[j, i] = sine2 < narrow_below
            ratio = max(distance, move[j])
            both = kinked[i] and kinked[j]
            if both and ratio > 0.0:
                if sine2 < _OBLIQUE:
                    sine2 = perpendicular_part(W[i], W[j], own, product, work) / own_j
                sine = math.sqrt(sine2)
                other = math.copysign(place[j], product * place[j])
                gap = abs(place[i] - other) - around[i] - around[j]
                most = max(abs(other), abs(place[i])) + max(around[i], around[j])
                if not _apart(gap, most, sine, shift[i] + shift[j]):
                    ratio /= sine
            is_corner = both and not ratio <= corner_above
            corner[i, j] = corner[j, i] = is_corner
            if not is_corner:
                largest = max(largest, ratio)
    return largest, mean


@njit(cache=True, error_model="numpy")
def _apart(gap, most, sine, shift):
    """Whether the joint density of two kinks is nothing, also after they have moved and turned.

    They are ``gap`` apart and at most ``most`` from the mean, in standard deviations.
    """
    turned = sine + shift
    return gap - (shift + turned * turned) * (1.0 + most) > _APART * turned


@njit(cache=True, error_model="numpy")
def split(b, db, G, neuron, first, second, pair, point, x, part, node, whole, position, weight):
    """Nodes in y below and above the ridge for pairs of neurons with kinks, i at s = x y, j at t =
    x.

    The ridge is where the kinks of the two, which move by s e_i and t e_j from one place, are
    nearest: y = e_i.e_j/|e_i|^2. Moves are those of the unit normal of the kink and of its distance
    from 0.
    """
    for r in range(pair.size):
        i = neuron[first[pair[r]]]
        j = neuron[second[pair[r]]]
        n = b.size
        length = math.sqrt(G[i, i])
        other = math.sqrt(G[j, j])
        along_i = G[i, n + i] / length
        along_j = G[i, n + j] / length
        sign = 1.0 if G[i, j] > 0.0 else -1.0
        shift_i = (db[i] - b[i] / length * along_i) / length
        shift_j = (db[j] - b[j] / other * (G[j, n + j] / other)) / other
        square = (G[n + i, n + i] - along_i * along_i) / (length * length) + shift_i * shift_i
        product = (G[n + i, n + j] - along_i * along_j) / (length * other) + shift_i * shift_j
        y = sign * product / square
        if not 0.0 < y < 1.0:
            y = 0.5
        size = y if part[r] == 0 else 1.0 - y
        position[point[r]] = x[r] * (node[r] * size + (0.0 if part[r] == 0 else y))
        weight[pair[r]] = whole[r] * size


@njit(cache=True, error_model="numpy")
def arguments(W, b, dW, db, G, wedge, neuron, position, first, second, args, C, means):
    """Squared lengths ``C`` and ``means`` (p,) of all points, and arguments (6, m) of all pairs."""
    n = W.shape[0]
    for p in range(neuron.size):
        i, s = neuron[p], position[p]
        C[p] = G[i, i] + s * (2.0 * G[i, n + i] + s * G[n + i, n + i])
        means[p] = b[i] + s * db[i]
    x = np.empty(W.shape[1])
    y = np.empty(W.shape[1])
    work = np.empty(W.shape[1])
    for r in range(first.size):
        p, q = first[r], second[r]
        i = neuron[p]
        j = neuron[q]
        s = position[p]
        t = position[q]
        cij = G[i, j] + t * G[i, n + j] + s * G[n + i, j] + s * t * G[n + i, n + j]
        args[0, r] = C[p]
        args[1, r] = cij
        args[2, r] = C[q]
        args[3, r] = means[p]
        args[4, r] = means[q]
        if i == j:
            args[5, r] = (t - s) * (t - s) * wedge[i]
            continue
        plain = C[p] * C[q] - cij * cij
        if plain <= _OBLIQUE * C[p] * C[q]:
            for d in range(x.size):
                x[d] = W[i, d] + s * dW[i, d]
                y[d] = W[j, d] + t * dW[j, d]
            squared = perpendicular_part(x, y, C[p], cij, work)
            plain = 0.0 if squared <= _PARALLEL * _PARALLEL * C[q] else C[p] * squared
        args[5, r] = plain


@njit(cache=True, error_model="numpy")
def integral(W, b, B, dW, db, dB, G, wedge, neuron, position, first, second, weight, args, jets):
    """Sum over the pairs of points of weight d_i' [d2 (B_i.B_j Phi_ij) / di dj] d_j,
    and of sizes.
    """
    n, D = W.shape
    O = B.shape[1]
    x = np.empty(D)
    y = np.empty(D)
    a = np.empty(D)
    total = 0.0
    size = 0.0
    for r in range(first.size):
        p, q = first[r], second[r]
        i = neuron[p]
        j = neuron[q]
        s = position[p]
        t = position[q]
        cii = args[0, r]
        cij = args[1, r]
        cjj = args[2, r]
        det = args[5, r]
        wi_di = G[i, n + i] + s * G[n + i, n + i]
        wj_dj = G[j, n + j] + t * G[n + j, n + j]
        wj_di = G[j, n + i] + t * G[n + j, n + i]
        wi_dj = G[i, n + j] + s * G[n + i, n + j]
        # a = w_j - c w_i and b = w_i - c' w_j along d_i and d_j
        if i == j:
            a_di = (t - s) * wedge[i] / cii if cii > 0.0 else 0.0
            b_dj = (s - t) * wedge[i] / cjj if cjj > 0.0 else 0.0
        elif det > _OBLIQUE * cii * cjj:
            a_di = wj_di - slope(cij, cii) * wi_di
            b_dj = wi_dj - slope(cij, cjj) * wj_dj
        else:
            for d in range(D):
                x[d] = W[i, d] + s * dW[i, d]
                y[d] = W[j, d] + t * dW[j, d]
            perpendicular_part(x, y, cii, cij, a)
            a_di = 0.0
            for d in range(D):
                a_di += a[d] * dW[i, d]
            perpendicular_part(y, x, cjj, cij, a)
            b_dj = 0.0
            for d in range(D):
                b_dj += a[d] * dW[j, d]
        jet = jets[r]
        along_i = jet[J20] * wi_di + jet[J11] * wj_di + jet[J10] * db[i]
        along_j = jet[J02] * wj_dj + jet[J11] * wi_dj + jet[J01] * db[j]
        both = (
            jet[J11] * G[n + i, n + j]
            + wi_di * (jet[F11] * wj_dj + jet[F31] * b_dj)
            + a_di * (jet[F13] * wj_dj + jet[F22] * b_dj)
            + db[j] * (jet[M21B] * wi_di + jet[M12] * wj_di)
            + db[i] * (jet[M12B] * wj_dj + jet[M21] * wi_dj)
            + jet[B11] * db[i] * db[j]
        )
        own = 0.0
        for o in range(O):
            Bi = B[i, o] + s * dB[i, o]
            Bj = B[j, o] + t * dB[j, o]
            own += dB[i, o] * (dB[j, o] * jet[J00] + Bj * along_j)
            own += Bi * (dB[j, o] * along_i + Bj * both)
        total += weight[r] * own
        size += abs(weight[r] * own)
    return total, size
