"""Loss, gradient and Hessian of a symmetric family from the jets of its orbits of pairs.

Notation: orbit r stands for ``weight[r]`` ordered pairs (x, y) of neurons that a permutation
exchanges. The coordinates of x and y that are equal for all pairs of the orbit are one *class* of
``sizes[r, c]`` coordinates, so that with the entries x_c and y_c

    x.y = sum_c sizes_c x_c y_c.

Sizes are real, and may be negative in the finer partitions of small blocks: no root is taken of
them. Entries are looked up in ``values``, the P parameters followed by 0 and 1, at ``first[r, c]``
and ``second[r, c]``; derivatives go to the same places, so that sums have two entries more than
there are parameters.

Many pairs are nearly orthogonal, and their share in the loss cancels: the sum of k^2 terms of order
one is of order one. So Phi is split into its Hermite terms of order 0 and 1 and a remainder,

    Phi = T_0 T_0 + C12 T_1 T_1 + R,    T_m(C) = E f^(m)(h),  h ~ N(0, C),

of which the first two make squares of sums over neurons (``add_square``), and R is of order C12^2:
the sum of its series C12^n/n! T_n T_n from n = 2 on.
"""

from __future__ import annotations

import math

import numpy as np

from ....compiler import njit
from ....integrals.jets import (
    F04,
    F11,
    F13,
    F22,
    F31,
    F40,
    J00,
    J02,
    J11,
    J20,
    SMALLEST_VARIANCE,
    along_once,
    along_twice,
    slope,
)

INV_SQRT_2PI = 0.3989422804014327
#: correlations below which remainders are summed as a series, and its number of terms
SMALL = 0.25
TERMS = 28
#: how many T_m r^m the series and its derivatives need
MEANS = TERMS + 5
#: how many T_m the squares and the low orders of jets need
LOW = 6

# A perpendicular part below this fraction of the neuron's length is rounding.
_PARALLEL = 4 * np.finfo(np.float64).eps
# Above this 1 - u^2, C11 C22 - C12^2 loses less than a digit.
_OBLIQUE = 0.1

_inline = njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
_once = _inline(along_once)
_twice = _inline(along_twice)


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def perpendicular_part(x, y, sizes, cxx, cxy, a):
    """Write the part of ``y`` perpendicular to ``x`` into ``a``; return its squared length."""
    c = cxy / cxx if cxx > 0.0 else 0.0
    along = 0.0
    for d in range(x.size):
        a[d] = y[d] - c * x[d]
        along += sizes[d] * a[d] * x[d]
    along = along / cxx if cxx > 0.0 else 0.0
    squared = 0.0
    for d in range(x.size):
        a[d] -= along * x[d]
        squared += sizes[d] * a[d] * a[d]
    return squared


@njit(cache=True, error_model="numpy")
def pair_arguments(values, first, second, sizes, itself, args, A, B):
    """Arguments C11, C12, C22, b1, b2, det of all orbits, rows of ``args`` (6, R).

    ``A`` and ``B`` (R, C) receive the frames: the parts of y perpendicular to x, and of x
    perpendicular to y.
    """
    R, C = sizes.shape
    x = np.empty(C)
    y = np.empty(C)
    for r in range(R):
        cxx = 0.0
        cxy = 0.0
        cyy = 0.0
        for c in range(C):
            x[c] = values[first[r, c]]
            y[c] = values[second[r, c]]
            cxx += sizes[r, c] * x[c] * x[c]
            cxy += sizes[r, c] * x[c] * y[c]
            cyy += sizes[r, c] * y[c] * y[c]
        det = 0.0
        if itself[r]:
            for c in range(C):
                A[r, c] = 0.0
                B[r, c] = 0.0
        else:
            squared = perpendicular_part(x, y, sizes[r], cxx, cxy, A[r])
            perpendicular_part(y, x, sizes[r], cyy, cxy, B[r])
            det = cxx * cyy - cxy * cxy
            if abs(det) <= _OBLIQUE * cxx * cyy:
                det = 0.0 if abs(squared) <= _PARALLEL * _PARALLEL * cyy else cxx * squared
        args[0, r] = cxx
        args[1, r] = cxy
        args[2, r] = cyy
        args[3, r] = 0.0
        args[4, r] = 0.0
        args[5, r] = det


# ---------------------------------------------------------------------------------- Hermite terms


@njit(cache=True, error_model="numpy")
def means(C, polynomial, atoms, waves, rates, low, scaled):
    """E f^(m)(h), h ~ N(0, C): plain ones in ``low`` (LOW,), times C^(m/2) in ``scaled`` (MEANS,).

    ``atoms`` has the rows weight, order, squared width. Infinite ones, of kinks at variance 0, are
    left out.
    """
    r = math.sqrt(C) if C > 0.0 else 0.0
    for m in range(MEANS):
        scaled[m] = 0.0
    for m in range(low.size):
        low[m] = 0.0
    _polynomial_means(C, r, polynomial, low, scaled)
    for k in range(atoms.shape[0]):
        _atom_means(C, r, atoms[k, 0], int(atoms[k, 1]), atoms[k, 2], low, scaled)
    for k in range(waves.size):
        term = waves[k] * np.exp(0.5 * rates[k] * rates[k] * C)
        long = term
        for m in range(MEANS):
            if m < low.size:
                low[m] += term.real
                term *= rates[k]
            scaled[m] += long.real
            long *= rates[k] * r


@njit(cache=True, error_model="numpy")
def _atom_means(C, r, weight, order, square, low, scaled):
    """The share of an atom: of order n = m + order the mean is a ramp's, a step's, or from 2 on a
    derivative of the normal density at zero, of which odd ones vanish.
    """
    V = C + square
    inverse = 1.0 / math.sqrt(V) if V > SMALLEST_VARIANCE else 0.0
    for n in range(order, 2):
        value = weight * (INV_SQRT_2PI * math.sqrt(V) if n == 0 else 0.5)
        low[n - order] += value
        scaled[n - order] += value * r ** (n - order)
    if inverse == 0.0:
        return
    first = max(2, order + order % 2)
    value = weight * INV_SQRT_2PI * inverse ** (order - 1)
    plain = value * inverse ** (first - order)
    long = value * (r * inverse) ** (first - order)
    for n in range(first, MEANS + order, 2):
        m = n - order
        if m < low.size:
            low[m] += plain
            plain *= -(n - 1.0) * inverse * inverse
        scaled[m] += long
        long *= -(n - 1.0) * (r * inverse) ** 2


@njit(cache=True, error_model="numpy")
def _polynomial_means(C, r, polynomial, low, scaled):
    """The share of the polynomial: E h^n = (n - 1)!! C^(n/2) for even n."""
    for m in range(min(polynomial.size, MEANS)):
        moment = 1.0
        mean = 0.0
        for n in range(0, polynomial.size - m, 2):
            falling = 1.0
            for j in range(m):
                falling *= n + m - j
            mean += polynomial[n + m] * falling * moment
            moment *= (n + 1) * C
        if m < low.size:
            low[m] += mean
        scaled[m] += mean * r**m


@njit(cache=True, error_model="numpy")
def remainders(args, kinds, spread, low, scaled, order, jets):
    """Take the Hermite terms of order 0 and 1 out of the jets (R, 1 | 6 | 21), in place.

    ``kinds`` (R, 2): rows of ``low`` and ``scaled`` of the two neurons. Where ``spread`` says that
    an orbit holds many pairs, and these are nearly orthogonal, jets are replaced by the series.
    """
    for r in range(kinds.shape[0]):
        cxx = args[0, r]
        cxy = args[1, r]
        cyy = args[2, r]
        f = low[kinds[r, 0]]
        g = low[kinds[r, 1]]
        if spread[r] and cxx > 0.0 and cyy > 0.0 and abs(cxy) <= SMALL * math.sqrt(cxx * cyy):
            _series(cxx, cxy, cyy, scaled[kinds[r, 0]], scaled[kinds[r, 1]], order, jets[r])
            continue
        jets[r, J00] -= f[0] * g[0] + cxy * f[1] * g[1]
        if order >= 1:
            jets[r, J20] -= f[2] * g[0] + cxy * f[3] * g[1]
            jets[r, J11] -= f[1] * g[1]
            jets[r, J02] -= f[0] * g[2] + cxy * f[1] * g[3]
        if order == 2:
            c1 = slope(cxy, cxx)
            c2 = slope(cxy, cyy)
            i31 = f[3] * g[1]
            i13 = f[1] * g[3]
            jets[r, F40] -= f[4] * g[0] + cxy * f[5] * g[1] + 2.0 * c1 * i31
            jets[r, F04] -= f[0] * g[4] + cxy * f[1] * g[5] + 2.0 * c2 * i13
            jets[r, F31] -= i31
            jets[r, F13] -= i13
            jets[r, F11] -= f[2] * g[2] + cxy * f[3] * g[3] + c2 * i31 + c1 * i13


@njit(cache=True, error_model="numpy")
def _series(cxx, cxy, cyy, f, g, order, jet):
    """The jet of sum_{n >= 2} C12^n/n! T_n T_n; ``f`` and ``g`` hold T_m r^m."""
    u = cxy / math.sqrt(cxx * cyy)
    i00 = i20 = i11 = i02 = i40 = i31 = i22 = i13 = i04 = a22 = 0.0
    power = 1.0  # u^n/n!
    for n in range(TERMS + 1):
        i22 += power * f[n + 2] * g[n + 2]
        if n >= 1:
            i11 += power * f[n + 1] * g[n + 1]
            i31 += power * f[n + 3] * g[n + 1]
            i13 += power * f[n + 1] * g[n + 3]
        if n >= 2:
            i00 += power * f[n] * g[n]
            i20 += power * f[n + 2] * g[n]
            i02 += power * f[n] * g[n + 2]
            i40 += power * f[n + 4] * g[n]
            i04 += power * f[n] * g[n + 4]
            a22 += power * f[n + 2] * g[n + 2]
        power *= u / (n + 1)
        if power == 0.0:
            break
    root = math.sqrt(cxx * cyy)
    jet[J00] = i00
    if order >= 1:
        jet[J20] = i20 / cxx
        jet[J11] = i11 / root
        jet[J02] = i02 / cyy
    if order == 2:
        c1 = cxy / cxx
        c2 = cxy / cyy
        i40 /= cxx * cxx
        i31 /= cxx * root
        i22 /= cxx * cyy
        i13 /= root * cyy
        i04 /= cyy * cyy
        jet[F40] = _twice(i40, i31, i22, c1)
        jet[F31] = _once(i31, i22, c1)
        jet[F22] = i22
        jet[F13] = _once(i13, i22, c2)
        jet[F04] = _twice(i04, i13, i22, c2)
        jet[F11] = a22 / (cxx * cyy) + c2 * i31 + c1 * i13 + c1 * c2 * i22


# --------------------------------------------------------------------------------------- assembly


@njit(cache=True)
def value(values, weight, outputs, jets):
    """The sum over orbits, and that of its absolute terms."""
    total = 0.0
    scale = 0.0
    for r in range(weight.size):
        term = weight[r] * values[outputs[r, 0]] * values[outputs[r, 1]] * jets[r, J00]
        total += term
        scale += abs(term)
    return total, scale


@njit(cache=True)
def add_gradient(values, first, second, sizes, weight, outputs, jets, out):
    """Add the gradient of the sum over orbits to ``out`` (P + 2,)."""
    for r in range(weight.size):
        a1 = values[outputs[r, 0]]
        a2 = values[outputs[r, 1]]
        s = weight[r] * a1 * a2
        for c in range(sizes.shape[1]):
            x = values[first[r, c]]
            y = values[second[r, c]]
            t = s * sizes[r, c]
            out[first[r, c]] += t * (jets[r, J20] * x + jets[r, J11] * y)
            out[second[r, c]] += t * (jets[r, J02] * y + jets[r, J11] * x)
        out[outputs[r, 0]] += weight[r] * a2 * jets[r, J00]
        out[outputs[r, 1]] += weight[r] * a1 * jets[r, J00]


@njit(cache=True, fastmath={"contract"})
def add_hessian(values, first, second, sizes, weight, outputs, jets, A, B, H):
    """Add the Hessian of the sum over orbits to ``H`` (P + 2, P + 2)."""
    C = sizes.shape[1]
    for r in range(weight.size):
        jet = jets[r]
        o1 = outputs[r, 0]
        o2 = outputs[r, 1]
        a1 = values[o1]
        a2 = values[o2]
        s = weight[r] * a1 * a2
        for c in range(C):
            size = sizes[r, c]
            if size == 0.0:
                continue
            i = first[r, c]
            j = second[r, c]
            x = size * values[i]
            y = size * values[j]
            a = size * A[r, c]
            b = size * B[r, c]
            xx1 = s * (jet[F40] * x + jet[F31] * a)
            xx2 = s * (jet[F31] * x + jet[F22] * a)
            yy1 = s * (jet[F04] * y + jet[F13] * b)
            yy2 = s * (jet[F13] * y + jet[F22] * b)
            xy1 = s * (jet[F11] * x + jet[F13] * a)
            xy2 = xx2
            for d in range(C):
                k = first[r, d]
                l = second[r, d]
                u = sizes[r, d] * values[k]
                v = sizes[r, d] * values[l]
                p = sizes[r, d] * A[r, d]
                q = sizes[r, d] * B[r, d]
                H[i, k] += xx1 * u + xx2 * p
                H[j, l] += yy1 * v + yy2 * q
                mixed = xy1 * v + xy2 * q
                H[i, l] += mixed
                H[l, i] += mixed
            H[i, i] += s * size * jet[J20]
            H[j, j] += s * size * jet[J02]
            H[i, j] += s * size * jet[J11]
            H[j, i] += s * size * jet[J11]
            gx = weight[r] * (jet[J20] * x + jet[J11] * y)
            gy = weight[r] * (jet[J02] * y + jet[J11] * x)
            for at, g in ((i, gx), (j, gy)):
                H[o1, at] += a2 * g
                H[at, o1] += a2 * g
                H[o2, at] += a1 * g
                H[at, o2] += a1 * g
        H[o1, o2] += weight[r] * jet[J00]
        H[o2, o1] += weight[r] * jet[J00]


@njit(cache=True)
def add_square(values, rows, row_sizes, outputs, linear, low, order, constant, weight, gradient, H):
    """Add ``weight`` times the square of a sum over students, and its derivatives.

    The sum is F = sum_I a_I T_n(C_I) (l_I.z_I) - constant: n = 0 without the last factor, where
    ``linear`` (B, C) holds the number of neurons of a block in its first column; n = 1 with it.
    Returns the value.
    """
    n_blocks, C = rows.shape
    P = gradient.size
    g = np.zeros(P)
    F = -constant
    for I in range(n_blocks):
        F += values[outputs[I]] * _term(values, rows[I], linear[I], low[I], order)
    if H.shape[0] > 0 or gradient.size > 0:
        for I in range(n_blocks):
            o = outputs[I]
            a = values[o]
            T = low[I]
            along = _along(values, rows[I], linear[I]) if order == 1 else linear[I, 0]
            g[o] += T[order] * along
            for c in range(C):
                x = row_sizes[I, c] * values[rows[I, c]]
                g[rows[I, c]] += a * T[order + 2] * x * along
                if order == 1:
                    g[rows[I, c]] += a * T[1] * linear[I, c]
        for p in range(P):
            gradient[p] += 2.0 * weight * F * g[p]
    if H.shape[0] > 0:
        for p in range(P):
            for q in range(P):
                H[p, q] += 2.0 * weight * g[p] * g[q]
        for I in range(n_blocks):
            _add_curvature(
                values,
                rows[I],
                row_sizes[I],
                outputs[I],
                linear[I],
                low[I],
                order,
                2.0 * weight * F,
                H,
            )
    return weight * F * F


@njit(cache=True)
def _along(values, row, linear):
    total = 0.0
    for c in range(row.size):
        total += linear[c] * values[row[c]]
    return total


@njit(cache=True)
def _term(values, row, linear, low, order):
    """T_n(C) l.z of one block."""
    return low[order] * (_along(values, row, linear) if order == 1 else linear[0])


@njit(cache=True)
def _add_curvature(values, row, row_sizes, o, linear, low, order, factor, H):
    """Add ``factor`` times the second derivatives of a T_n(C) (l.z)."""
    along = _along(values, row, linear) if order == 1 else linear[0]
    a = values[o]
    t0 = low[order]
    t2 = low[order + 2]
    t4 = low[order + 4]
    for c in range(row.size):
        i = row[c]
        x = row_sizes[c] * values[i]
        lx = linear[c] if order == 1 else 0.0
        H[i, i] += factor * a * t2 * row_sizes[c] * along
        slope_a = factor * (t2 * x * along + t0 * lx)
        H[o, i] += slope_a
        H[i, o] += slope_a
        for d in range(row.size):
            y = row_sizes[d] * values[row[d]]
            ly = linear[d] if order == 1 else 0.0
            H[i, row[d]] += factor * a * (t4 * x * y * along + t2 * (x * ly + y * lx))
