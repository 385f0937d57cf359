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
"""

from __future__ import annotations

import numpy as np

from ...compiler import njit
from .. import jets
from .atom_mean_kernels import reciprocal
from .polynomial_kernels import add_in_frame
from .power_mean_kernels import (
    COLUMNS,
    ENTRIES,
    SQUARE,
    STEP,
    TOP,
    density_derivatives,
    is_delta,
    means_of_polynomial,
    means_of_powers,
    power_means,
)
from .slots import PLAIN, S40, SLOT_P, SLOT_Q, SLOTS
from .two_atoms_kernels import ROUNDING

_kernel = njit(cache=True, error_model="numpy")


@_kernel
def _derivative(k, j, g, first, space):
    """``d^k`` of a density times A_j, along the mean of the density, which moves m by -g.

    Rows ``first``, first + 1, first + 2 of ``space`` have A, the derivatives of the density, and
    those of the conditional density, which are A_(-1), A_(-2), ...
    """
    A = space[first]
    density = space[first + 1]
    Q = space[first + 2]
    total = 0.0
    binomial = 1.0
    power = 1.0
    for l in range(k + 1):
        own = A[j - l] if j - l >= 0 else Q[l - j - 1]
        total += binomial * power * density[k - l] * own
        binomial *= (k - l) / (l + 1.0)
        power *= -g
    return total


@_kernel
def _add_widths(plain, frame, order, wf, tf, wg, tg, gaussian, is_plain, G, space):
    """Add the atoms of one width of f and one of g to the slots ``plain``, but for pairs without
    a power of degree 2 or more.

    For T_2 against a step the fourth derivatives along D1 and D2 go to ``frame``, since the plain
    ones grow as neurons become parallel. Returns whether kinks coincide.
    """
    C11, C12, C22, b1, b2, det = gaussian
    D = det + tf * C22 + tg * C11 + tf * tg
    V = (C11 + tf, C22 + tg)
    i1 = reciprocal(V[0])
    i2 = reciprocal(V[1])
    g = (C12 * i1, C12 * i2)
    m1 = b2 - g[0] * b1
    m2 = b1 * (D * i1 * i2) - g[1] * m1 if i1 > 0.0 and i2 > 0.0 else b1 - g[1] * b2
    s = (D * i1 if i1 > 0.0 else V[1], D * i2 if i2 > 0.0 else V[0])
    parallel = i1 > 0.0 and i2 > 0.0 and reciprocal(s[0]) == 0.0 and abs(m1) <= ROUNDING * abs(b2)
    if parallel:
        m1 = m2 = 0.0
    for side in range(2):
        A = space[3 * side]
        density = space[3 * side + 1]
        Q = space[3 * side + 2]
        power_means(m2 if side else m1, s[side], A)
        density_derivatives(b2 if side else b1, i2 if side else i1, TOP, density)
        density_derivatives(m2 if side else m1, reciprocal(s[side]), TOP, Q)
    sharp = order == 2 and not is_plain and tf == 0.0 and tg == 0.0
    for a in range(COLUMNS):
        for b in range(COLUMNS):
            w = wf[a] * wg[b]
            if w == 0.0 or max(a, b) < SQUARE:
                continue
            framed = sharp and min(a, b) == STEP and max(a, b) == SQUARE
            for slot in range(S40 if framed else SLOTS[order]):
                i = a - 1 - SLOT_P[slot]
                j = b - 1 - SLOT_Q[slot]
                if i >= 0 and j >= 0:
                    plain[slot] += w * G[i, j]
                    continue
                side = 0 if i < 0 else 1
                k = -1 - (j if side else i)
                own = _derivative(k, i if side else j, g[side], 3 * side, space)
                plain[slot] += w * own
            if framed:
                # the side of the step is the second one
                second = 1 if b == STEP else 0
                sine2 = D / V[1 - second] / V[second] if min(i1, i2) > 0.0 else 1.0
                c1 = g[1 - second]
                _add_steps(frame, w, c1, g[second], sine2, space, second)
    return parallel


@_kernel
def _add_steps(frame, w, c1, g2, sine2, space, second):
    """Fourth derivatives in the frame of T_2(h1) against a step of h2, both without width.

    Slots S40 ... S04 are 0 ... 4 of ``frame``, in the opposite order if ``second`` is 0. D1 leaves
    m1 and changes m2 by the square of the sine; D2 leaves m2.
    """
    A1 = space[3 * (1 - second)]
    dd1 = space[3 * (1 - second) + 1]
    A2 = space[3 * second]
    dd2 = space[3 * second + 1]
    Q2 = space[3 * second + 2]
    joint = dd2[0] * Q2[0]
    rise = c1 * dd2[1] * A2[0] + sine2 * joint
    last, sign = (0, 1) if second else (4, -1)
    frame[last] += w * (dd1[1] * A1[0] + c1 * rise)
    frame[last + sign] += w * rise
    frame[2] += w * (dd2[1] * A2[0] - g2 * joint)
    frame[last + 3 * sign] += w * (dd2[2] * A2[1] - g2 * dd2[1] * A2[0])
    frame[last + 4 * sign] += w * (dd2[3] * A2[2] - g2 * dd2[2] * A2[1])


@_kernel
def _add_polynomials(plain, order, pf, wf, pg, wg, gaussian, work):
    """Add powers times polynomials: the Mehler series in C12, which ends."""
    C11, C12, C22, b1, b2, _ = gaussian
    count = max(pf.size, pg.size) + 2 * order
    polynomial1 = work[0]
    powers1 = work[1]
    polynomial2 = work[2]
    powers2 = work[3]
    means_of_polynomial(pf, C11, b1, count, polynomial1)
    means_of_polynomial(pg, C22, b2, count, polynomial2)
    means_of_powers(wf, C11, b1, count, powers1, work[4:])
    means_of_powers(wg, C22, b2, count, powers2, work[4:])
    for slot in range(SLOTS[order]):
        p, q = SLOT_P[slot], SLOT_Q[slot]
        power = 1.0
        for j in range(max(pf.size - p, pg.size - q)):
            if j < pf.size - p:
                plain[slot] += power * polynomial1[j + p] * powers2[j + q]
            if j < pg.size - q:
                plain[slot] += power * powers1[j + p] * polynomial2[j + q]
            power *= C12 / (j + 1.0)


@_kernel
def _mark_infinite(row, order, wf, wg, kinked, coincide, is_plain):
    """Put ``inf`` into infinite slots.

    ``kinked``: which of the two neurons are constant and lie on the kink.
    """
    squares = wf[SQUARE] * wg[STEP] != 0.0 or wf[STEP] * wg[SQUARE] != 0.0
    for slot in range(SLOTS[order]):
        p, q = SLOT_P[slot], SLOT_Q[slot]
        infinite = coincide and squares and p + q == 4
        # in jets third derivatives of a constant neuron multiply its weights, which are 0
        if kinked[0]:
            infinite = infinite or _infinite_at_kink(wf, wg, p, is_plain)
        if kinked[1]:
            infinite = infinite or _infinite_at_kink(wg, wf, q, is_plain)
        if infinite:
            row[slot] = np.inf


@_kernel
def _infinite_at_kink(w, other, p, is_plain):
    """Whether derivative p of the neuron at its kink is infinite, in products with powers."""
    if is_plain and is_delta(w, p):
        return True
    partner = False
    for column in range(SQUARE, COLUMNS):
        partner = partner or other[column] != 0.0
    return partner and ((w[STEP] != 0.0 and p >= 1) or (w[STEP + 1] != 0.0 and p >= 2))


@_kernel
def polynomials_loop(pf, wf, pg, wg, gaussian, order, out):
    """Add powers of one activation times the polynomial of the other to the plain slots (n, 15)."""
    longest = max(pf.size, pg.size) + 8
    work = np.empty((6, max(longest, 16)))
    for n in range(gaussian.shape[1]):
        _add_polynomials(out[n], order, pf, wf, pg, wg, gaussian[:, n], work)


@_kernel
def slots_loop(wf, tf, wg, tg, gaussian, tables, is_plain, order, out, frames):
    """Add all products of the atoms of two widths, one of them a power of degree 2 or more.

    ``w`` (:data:`COLUMNS`,): weights of density, step, ramp, T_2 ... T_5; ``t`` squared widths;
    ``gaussian`` (6, n) the arguments C11, C12, C22, b1, b2, det; ``tables`` by
    :func:`tables_loop`. ``out`` (n, 15) receives plain slots, ``frames`` (n, 5) what is in the
    frame already. Infinite slots are ``inf``.
    """
    space = np.empty((6, ENTRIES))
    for n in range(gaussian.shape[1]):
        at = (
            gaussian[0, n],
            gaussian[1, n],
            gaussian[2, n],
            gaussian[3, n],
            gaussian[4, n],
            max(gaussian[5, n], 0.0),
        )
        parallel = _add_widths(
            out[n], frames[n], order, wf, tf, wg, tg, at, is_plain, tables[n], space
        )
        kinked1 = tf == 0.0 and at[0] <= jets.SMALLEST_VARIANCE and at[3] == 0.0
        kinked2 = tg == 0.0 and at[2] <= jets.SMALLEST_VARIANCE and at[4] == 0.0
        coincide = parallel and tf == 0.0 and tg == 0.0
        if coincide or kinked1 or kinked2:
            _mark_infinite(out[n], order, wf, wg, (kinked1, kinked2), coincide, is_plain)


@_kernel
def frame_loop(plain, frames, gaussian, order, out):
    """Slots of the frame from plain ones, which infinite ones survive, and ``frames``."""
    rows = np.empty((PLAIN + 1, SLOTS[2]))
    for n in range(gaussian.shape[1]):
        rows[PLAIN] = plain[n]
        C12 = gaussian[1, n]
        slopes = (jets.slope(C12, gaussian[0, n]), jets.slope(C12, gaussian[2, n]))
        add_in_frame(out[n], order, rows, slopes)
        if order == 2:
            for k in range(5):
                out[n, S40 + k] += frames[n, k]
        for slot in range(SLOTS[order]):
            if np.isinf(plain[n, slot]):
                out[n, slot] = np.inf
