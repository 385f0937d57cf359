"""Jitted moments of pairs with truncated powers ``T_n(x) = max(x, 0)^n/n!``, n = 0 to 5.

The derivative of T_n is T_(n-1), down to the step T_0 and the delta function T_(-1). So with
``G(i, j) = E[T_i(h1) T_j(h2)]`` every moment E[T_m^(p) T_n^(q)] is G(m-p, n-q), and the powers of
one activation share one table. Smoothed atoms fit in: E_z T_j(h + tau z) is T_j at the variance
V + tau^2.

* ``i, j >= 0``: Stein's lemma for x T_(i-1)(x) = i T_i(x),

      i G(i, j) = b1 G(i-1, j) + V1 G(i-2, j) + C12 G(i-1, j-1),

  from L = G(0, 0), the ramps' G(1, 1), G(1, 0), G(0, 1) and the densities below. Rounding errors
  are followed; where less than ten digits would be left the table is an integral of positive
  functions over one variable instead, which keeps all of them however small the values are.
* ``i < 0``: a derivative of density times conditional mean, ``G(-1, j) = d1 A_j(m1)``, where
  A_j(m) = s^j psi_j(m/s) is the mean of T_j at N(m, s^2). The same for j < 0.

``psi_j(z) = E (z + x)_+^j/j!`` obeys j psi_j = z psi_(j-1) + psi_(j-2), which is stable upwards for
z >= 0 and downwards for z < 0. Downwards it starts from the ratio of the last two, a polynomial.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ...activations.vector_math import clipped_magnitude, exp_, normal_tail
from .. import jets
from .atom_kernels import (
    I00,
    INV_SQRT_2PI,
    PLAIN,
    ROUNDING,
    S40,
    SLOT_P,
    SLOT_Q,
    SLOTS,
    add_in_frame,
    gaussian_at_zero,
    ramp_mean,
    reciprocal,
    stein_sums,
)
from .bivariate_normal_kernels import (
    NODES,
    PLACKETT_LIMIT,
    SMALLEST_SINE,
    WEIGHTS,
    reach,
)

TOP = 5  # highest power
ENTRIES = TOP + 1
#: Columns of the weights of an activation: density, step, ramp, powers 2 to 5.
COLUMNS = TOP + 2
# Ten digits have to be left of what the recursion adds up.
KEPT = 1e-10
EPS = 2.220446049250313e-16
LONGEST_PANEL = 2.5

_kernel = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy", fastmath={"contract"})

# psi_5(-a)/psi_4(-a) times a + 4, with w = (a - 4)/(a + 4): a polynomial in 2 w + 1 for a <= 4, in
# 22/9 w - 1 above; relative errors are 3e-16.
NEAR = np.array(
    [
        1.7007121317317386,
        -0.06255686695203444,
        -0.07337492101312403,
        -0.011019402065604752,
        0.0025500021228748618,
        0.0015938308732533738,
        0.0002550423725744086,
        -6.51095841733537e-05,
        -4.534363834193484e-05,
        -8.885141229830599e-06,
        1.4486085395369741e-06,
        1.3997453266286899e-06,
        3.4756351683579204e-07,
        -1.984952173057479e-08,
        -4.354800668343676e-08,
        -1.362267418079376e-08,
        -9.580763280211003e-11,
        1.3193773364649996e-09,
        3.3153443758456015e-10,
    ]
)
FAR = np.array(
    [
        1.3370413602573836,
        -0.2452166245076523,
        -0.009061983940786163,
        0.015182533900692333,
        -0.0011959310757598566,
        -0.0011141052821002305,
        0.00021825400651899457,
        8.684462870405927e-05,
        -2.8996830155905954e-05,
        -6.867232013047081e-06,
        3.554150304705381e-06,
        5.351245846832858e-07,
        -4.223739920312986e-07,
        -3.996787494207691e-08,
        4.9105521464744524e-08,
        2.715367431013649e-09,
        -5.292768077105952e-09,
        -1.3479069531135368e-10,
        3.968680596365095e-10,
    ]
)
_SPLIT = 4.0
_END = 39.0


@_kernel
def psi(z, out):
    """``psi_0(z) ... psi_5(z)`` into ``out``; returns exp(-z^2/2)."""
    if z >= 0.0:
        density, tail = normal_tail(clipped_magnitude(z))
        before, now = INV_SQRT_2PI * density, 1.0 - tail
        out[0] = now
        for j in range(1, ENTRIES):
            before, now = now, (z * now + before) / j
            out[j] = now
        return density
    a = -z
    density = normal_tail(clipped_magnitude(a))[0]
    if a > _END:
        for j in range(ENTRIES):
            out[j] = 0.0
        return density
    w = (a - _SPLIT) / (a + _SPLIT)
    ratio = 0.0
    if a <= _SPLIT:
        v = 2.0 * w + 1.0
        for k in range(NEAR.size - 1, -1, -1):
            ratio = ratio * v + NEAR[k]
    else:
        v = w * (22.0 / 9.0) - 1.0
        for k in range(FAR.size - 1, -1, -1):
            ratio = ratio * v + FAR[k]
    p5 = ratio / (a + _SPLIT)
    p3 = 5.0 * p5 + a
    p2 = 4.0 + a * p3
    p1 = 3.0 * p3 + a * p2
    p0 = 2.0 * p2 + a * p1
    scale = INV_SQRT_2PI * density / (p1 + a * p0)
    out[0], out[1], out[2] = scale * p0, scale * p1, scale * p2
    out[3], out[4], out[5] = scale * p3, scale, scale * p5
    return density


@_kernel
def power_means(mean, variance, out):
    """``A_j``, j = 0 ... 5: means of T_j at N(mean, variance), a step at its place counting 1/2."""
    if variance <= jets.SMALLEST_VARIANCE:
        out[0] = 0.5 if mean == 0.0 else (1.0 if mean > 0.0 else 0.0)
        now = out[0]
        for j in range(1, ENTRIES):
            now = now * max(mean, 0.0) / j
            out[j] = now
        return
    s = math.sqrt(variance)
    z = mean / s
    if z < 0.0:
        psi(z, out)
        factor = 1.0
        for j in range(1, ENTRIES):
            factor *= s
            out[j] *= factor
        return
    density, tail = normal_tail(clipped_magnitude(z))
    before, now = INV_SQRT_2PI * density / s, 1.0 - tail
    out[0] = now
    for j in range(1, ENTRIES):
        before, now = now, (mean * now + variance * before) / j
        out[j] = now


@_kernel
def density_derivatives(mean, inverse, count, out):
    """``d^k/dmean^k`` of the density at 0 of N(mean, 1/inverse), k = 0 ... count - 1."""
    density = gaussian_at_zero(mean, inverse, 0.0)[0]
    previous = 0.0
    for k in range(count):
        out[k] = density
        previous, density = density, -(mean * density + k * previous) * inverse


# ---------------------------------------------------------------- tables


@_kernel
def _edges(h, z, c, ends):
    """Sorted ends of panels in t, the distance of h1 from its kink in units of its deviation."""
    last = reach(130.0, h, z, c)
    ends[0], ends[1] = 0.0, last
    n = 2
    for drop in (10.0, 30.0, 60.0, 90.0):
        x = reach(drop, h, z, c)
        if 0.0 < x < last:
            ends[n] = x
            n += 1
    for k in range(-4, 5):
        x = h + k * LONGEST_PANEL
        if 0.0 < x < last:
            ends[n] = x
            n += 1
    if c != 0.0:
        for place in (-9.0, -5.0, -2.5, 0.0, 2.5, 5.0, 9.0):
            x = (place - z) / c
            if 0.0 < x < last:
                ends[n] = x
                n += 1
    ends[:n].sort()
    return n


@_kernel
def positive_table(h, k, u, s, top1, top2, G, work):
    """``E[T_i(h + x) T_j(k + y)]`` of correlation u by integrals of positive functions, h <= k.

    ``s = sqrt(1 - u^2)``.
    """
    ends, A = work[0], work[1]
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
        start, length = ends[panel], ends[panel + 1] - ends[panel]
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
def _recursion(b1, b2, C12, V1, V2, d1, d2, A1, A2, top1, top2, G, E):
    """G(i, j) from G(0, 0), G(0, 1), G(1, 0), G(1, 1), and errors E; whether they are small."""
    for i in range(top1 + 1):
        for j in range(top2 + 1):
            if i + j == 0 or (i <= 1 and j <= 1):
                continue
            if i >= j:
                down1 = G[i - 1, j]
                down2 = G[i - 2, j] if i >= 2 else d1 * A1[j]
                cross = G[i - 1, j - 1] if j >= 1 else d2 * A2[i - 1]
                own, other, k = b1, V1, i
                e1 = E[i - 1, j]
                e2 = E[i - 2, j] if i >= 2 else 0.0
            else:
                down1 = G[i, j - 1]
                down2 = G[i, j - 2] if j >= 2 else d2 * A2[i]
                cross = G[i - 1, j - 1] if i >= 1 else d1 * A1[j - 1]
                own, other, k = b2, V2, j
                e1 = E[i, j - 1]
                e2 = E[i, j - 2] if j >= 2 else 0.0
            e3 = E[i - 1, j - 1] if i >= 1 and j >= 1 else 0.0
            G[i, j] = (own * down1 + other * down2 + C12 * cross) / k
            size = abs(own * down1) + abs(other * down2) + abs(C12 * cross)
            E[i, j] = (abs(own) * e1 + other * e2 + abs(C12) * e3 + 2.0 * EPS * size) / k
            if not E[i, j] <= KEPT * G[i, j]:
                return False
    return True


@_kernel
def table(b1, b2, C12, V1, V2, i1, i2, g1, g2, m1, m2, s1, s2, top1, top2, G, E, A1, A2, work):
    """``G(i, j)`` for i = 0 ... top1, j = 0 ... top2, not both neurons constant."""
    if i1 == 0.0 or i2 == 0.0:
        M1, M2 = work[2], work[3]
        power_means(b1, V1 if i1 > 0.0 else 0.0, M1)
        power_means(b2, V2 if i2 > 0.0 else 0.0, M2)
        for i in range(top1 + 1):
            for j in range(top2 + 1):
                G[i, j] = M1[i] * M2[j]
        return
    r1, r2 = reciprocal(s1), reciprocal(s2)
    d1, F1 = gaussian_at_zero(b1, i1, 0.0)
    d2, F2 = gaussian_at_zero(b2, i2, 0.0)
    q1, P1 = gaussian_at_zero(m1, r1, 0.0)
    q2, P2 = gaussian_at_zero(m2, r2, 0.0)
    R1, R2 = ramp_mean(m1, s1, r1, P1, q1), ramp_mean(m2, s2, r2, P2, q2)
    A00, A10, A01, L, lost = stein_sums(
        b1, b2, C12, V1, V2, i1, i2, s1, 0.0, 0.0, F1, F2, d1, d2, R1, R2, P1, P2
    )
    # A10 is E[step ramp]
    G[0, 0], G[0, 1], G[1, 0], G[1, 1] = L, A10, A01, A00
    e = 8.0 * EPS * L if lost else EPS * (F1 + F2)
    E[0, 0] = e
    E[0, 1] = abs(b2) * e + EPS * (abs(C12) * d1 * P1 + V2 * d2 * P2)
    E[1, 0] = abs(b1) * e + EPS * (abs(C12) * d2 * P2 + V1 * d1 * P1)
    E[1, 1] = abs(b1) * E[0, 1] + abs(C12) * e + EPS * V1 * d1 * abs(R1)
    if lost:
        E[0, 1], E[1, 0], E[1, 1] = 8.0 * EPS * A10, 8.0 * EPS * A01, 8.0 * EPS * A00
    if _recursion(b1, b2, C12, V1, V2, d1, d2, A1, A2, top1, top2, G, E):
        return
    root1, root2 = math.sqrt(i1), math.sqrt(i2)
    h, k, u, s = b1 * root1, b2 * root2, C12 * root1 * root2, math.sqrt(s1 * i2)
    if h <= k:
        positive_table(h, k, u, s, top1, top2, G, work)
    else:
        positive_table(k, h, u, s, top2, top1, E, work)
        for i in range(top1 + 1):
            for j in range(top2 + 1):
                G[i, j] = E[j, i]
    factor1 = 1.0
    for i in range(top1 + 1):
        factor = factor1
        for j in range(top2 + 1):
            G[i, j] *= factor
            factor *= V2 * root2
        factor1 *= V1 * root1


@_kernel
def _derivative(k, j, g, density, A, Q):
    """``d^k`` of density times A_j, along a mean of its own: m changes by -g; A_(-1-l) is Q[l]."""
    total, binomial, power = 0.0, 1.0, 1.0
    for l in range(k + 1):
        own = A[j - l] if j - l >= 0 else Q[l - j - 1]
        total += binomial * power * density[k - l] * own
        binomial *= (k - l) / (l + 1.0)
        power *= -g
    return total


@_kernel
def _add_widths(plain, frame, order, wf, tf, wg, tg, gaussian, is_plain, space):
    """Add the atoms of one width of f and one of g to the slots ``plain``.

    For T_n, n >= 2, against a step the fourth derivatives along D1 and D2 go to ``frame``, since
    the plain ones grow as neurons become parallel. Returns whether kinks coincide.
    """
    G, E, A1, A2, dd1, dd2, Q1, Q2, work = space
    C11, C12, C22, b1, b2, det = gaussian
    V1, V2 = C11 + tf, C22 + tg
    i1, i2 = reciprocal(V1), reciprocal(V2)
    g1, g2 = C12 * i1, C12 * i2
    D = det + tf * C22 + tg * C11 + tf * tg
    m1 = b2 - g1 * b1
    m2 = b1 * (D * i1 * i2) - g2 * m1 if i1 > 0.0 and i2 > 0.0 else b1 - g2 * b2
    s1 = D * i1 if i1 > 0.0 else V2
    s2 = D * i2 if i2 > 0.0 else V1
    r1, r2 = reciprocal(s1), reciprocal(s2)
    parallel = i1 > 0.0 and i2 > 0.0 and r1 == 0.0 and abs(m1) <= ROUNDING * abs(b2)
    if parallel:
        m1 = m2 = 0.0
    top1, top2 = _top(wf), _top(wg)
    power_means(m1, s1 if r1 > 0.0 else 0.0, A1)
    power_means(m2, s2 if r2 > 0.0 else 0.0, A2)
    density_derivatives(b1, i1, TOP, dd1)
    density_derivatives(b2, i2, TOP, dd2)
    density_derivatives(m1, r1, TOP, Q1)
    density_derivatives(m2, r2, TOP, Q2)
    if top1 >= 0 and top2 >= 0:
        table(
            b1, b2, C12, V1, V2, i1, i2, g1, g2, m1, m2, s1, s2, max(top1, 1), max(top2, 1),
            G, E, A1, A2, work,
        )  # fmt: skip
    for a in range(COLUMNS):
        if wf[a] == 0.0:
            continue
        for b in range(COLUMNS):
            w = wf[a] * wg[b]
            if w == 0.0:
                continue
            framed = order == 2 and not is_plain and min(a, b) == 1 and max(a, b) == 3
            for slot in range(S40 if framed else SLOTS[order]):
                i, j = a - 1 - SLOT_P[slot], b - 1 - SLOT_Q[slot]
                if i >= 0 and j >= 0:
                    plain[slot] += w * G[i, j]
                elif i < 0:
                    plain[slot] += w * _derivative(-1 - i, j, g1, dd1, A1, Q1)
                else:
                    plain[slot] += w * _derivative(-1 - j, i, g2, dd2, A2, Q2)
            if framed and b == 1:
                _add_steps(frame, w, C11, C12, C22, D, tg, dd1, dd2, A1, A2, Q1, Q2, g1, g2, 0)
            elif framed:
                _add_steps(frame, w, C22, C12, C11, D, tf, dd2, dd1, A2, A1, Q2, Q1, g2, g1, 4)
    return parallel


@_kernel
def _add_steps(frame, w, C11, C12, C22, D, t2, dd1, dd2, A1, A2, Q1, Q2, g1, g2, last):
    """Fourth derivatives in the frame of T_2(h1) against a step of h2 without width.

    Slots S40 ... S04 are 0 ... 4 of ``frame``, in the opposite order for last = 4. D1 changes m2
    by the square of the sine, and D2 leaves it as it is; D1 leaves m1.
    """
    c1 = jets.slope(C12, C11)
    sine2 = D / (C11 + 0.0) / (C22 + t2) if min(C11, C22) > jets.SMALLEST_VARIANCE else 1.0
    joint = dd2[0] * Q2[0]
    rise = c1 * dd2[1] * A2[0] + sine2 * joint
    sign = 1 if last == 0 else -1
    frame[last] += w * (dd1[1] * A1[0] + c1 * rise)
    frame[last + sign] += w * rise
    frame[2] += w * (dd2[1] * A2[0] - g2 * joint)
    frame[last + 3 * sign] += w * (dd2[2] * A2[1] - g2 * dd2[1] * A2[0])
    frame[last + 4 * sign] += w * (dd2[3] * A2[2] - g2 * dd2[2] * A2[1])


@_kernel
def _top(w):
    """The highest index of an atom."""
    for column in range(COLUMNS - 1, -1, -1):
        if w[column] != 0.0:
            return column - 1
    return -1


# ---------------------------------------------------------------- one activation


@_kernel
def means(polynomial, w, t, C, b, count, out, only_polynomial, work):
    """``E f^(p)(h)``, p = 0 ... count - 1, of polynomial and atoms (or of the polynomial alone)."""
    for p in range(count):
        out[p] = 0.0
    previous, power = 0.0, 1.0  # E h^n
    for n in range(polynomial.size):
        falling = 1.0
        for p in range(min(polynomial.size - n, count)):
            out[p] += polynomial[n + p] * falling * power
            falling *= n + p + 1.0
        previous, power = power, b * power + n * C * previous
    if only_polynomial:
        return False
    A, densities = work[0], work[1]
    vertex = False
    for a in range(t.size):
        V = C + t[a]
        inverse = reciprocal(V)
        power_means(b, V if inverse > 0.0 else 0.0, A)
        density_derivatives(b, inverse, count + 1, densities)
        vertex = vertex or (inverse == 0.0 and b == 0.0)
        for column in range(COLUMNS):
            if w[a, column] == 0.0:
                continue
            for p in range(count):
                i = column - 1 - p
                out[p] += w[a, column] * (A[i] if i >= 0 else densities[-1 - i])
    return vertex


@_kernel
def _infinite_order(w, t):
    """The lowest derivative of the unsmoothed atoms that has a delta function."""
    if t.size == 0 or t[0] > 0.0:
        return 99
    for column in range(COLUMNS):
        if w[0, column] != 0.0:
            return column
    return 99


@_kernel
def single_moments_loop(polynomial, w, t, C, b, max_order, out):
    """``E f^(p)(h)``, p = 0 ... max_order, of n neurons; infinite ones as inf."""
    work = np.empty((2, 16))
    first = _infinite_order(w, t)
    for n in range(b.size):
        vertex = means(polynomial, w, t, C[n], b[n], max_order + 1, out[n], False, work)
        if vertex and C[n] <= jets.SMALLEST_VARIANCE:
            for p in range(first, max_order + 1):
                out[n, p] = np.inf


@_kernel
def _add_polynomials(plain, order, pf, wf, tf, pg, wg, tg, gaussian, work):
    """Add everything with a polynomial factor: the Mehler series in C12, which ends."""
    C11, C12, C22, b1, b2, _ = gaussian
    count = max(pf.size, pg.size) + 2 * order
    own1, all1, own2, all2 = work[0], work[1], work[2], work[3]
    means(pf, wf, tf, C11, b1, count, own1, True, work[4:])
    means(pf, wf, tf, C11, b1, count, all1, False, work[4:])
    means(pg, wg, tg, C22, b2, count, own2, True, work[4:])
    means(pg, wg, tg, C22, b2, count, all2, False, work[4:])
    for slot in range(SLOTS[order]):
        p, q = SLOT_P[slot], SLOT_Q[slot]
        power = 1.0
        for j in range(max(pf.size - p, pg.size - q)):
            # polynomial of f against all of g, atoms of f against the polynomial of g
            if j < pf.size - p:
                plain[slot] += power * own1[j + p] * all2[j + q]
            if j < pg.size - q:
                plain[slot] += power * (all1[j + p] - own1[j + p]) * own2[j + q]
            power *= C12 / (j + 1.0)


@_kernel
def slots_loop(pf, wf, tf, pg, wg, tg, C11, C12, C22, b1, b2, det, is_plain, order, out):
    """Slots (n, 15) of n pairs of one pair of activations, plain ones or those of the frame.

    ``pf``, ``pg``: coefficients of the polynomials; ``t``: squared widths, ascending; ``w``
    (widths, :data:`COLUMNS`): weights of density, step, ramp, T_2 ... T_5. Infinite slots are
    ``inf``.
    """
    space = (
        np.empty((ENTRIES, ENTRIES)),
        np.empty((ENTRIES, ENTRIES)),
        np.empty(ENTRIES),
        np.empty(ENTRIES),
        np.empty(TOP),
        np.empty(TOP),
        np.empty(TOP),
        np.empty(TOP),
        np.empty((4, 32)),
    )
    longest = max(pf.size, pg.size) + 8
    work = np.empty((6, max(longest, 16)))
    rows = np.empty((PLAIN + 1, SLOTS[2]))
    plain, frame = rows[PLAIN], np.empty(5)
    first1, first2 = _infinite_order(wf, tf), _infinite_order(wg, tg)
    for n in range(C11.size):
        gaussian = (C11[n], C12[n], C22[n], b1[n], b2[n], max(det[n], 0.0))
        plain[:] = 0.0
        frame[:] = 0.0
        if pf.size > 0 or pg.size > 0:
            _add_polynomials(plain, order, pf, wf, tf, pg, wg, tg, gaussian, work)
        coincide = False
        for a in range(tf.size):
            for b in range(tg.size):
                parallel = _add_widths(
                    plain, frame, order, wf[a], tf[a], wg[b], tg[b], gaussian, is_plain, space
                )
                coincide = coincide or (parallel and tf[a] == 0.0 and tg[b] == 0.0)
        c1 = 0.0 if is_plain else jets.slope(C12[n], C11[n])
        c2 = 0.0 if is_plain else jets.slope(C12[n], C22[n])
        row = out[n]
        row[I00 : SLOTS[order]] = 0.0
        add_in_frame(row, order, rows, c1, c2)
        if order == 2:
            for k in range(5):
                row[S40 + k] += frame[k]
        constant1 = C11[n] <= jets.SMALLEST_VARIANCE and b1[n] == 0.0
        constant2 = C22[n] <= jets.SMALLEST_VARIANCE and b2[n] == 0.0
        if not (coincide or constant1 or constant2):
            continue
        for slot in range(SLOTS[order]):
            p, q = SLOT_P[slot], SLOT_Q[slot]
            # third and fourth derivatives multiply the weights of a constant neuron, which are 0,
            # and are finite along every direction if the second one is
            if constant1 and p >= first1 and (is_plain or p <= 2 or first1 <= 2):
                row[slot] = np.inf
            if constant2 and q >= first2 and (is_plain or q <= 2 or first2 <= 2):
                row[slot] = np.inf
            if coincide and p + q >= first1 + first2:
                row[slot] = np.inf
