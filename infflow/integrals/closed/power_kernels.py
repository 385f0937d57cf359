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

from ...activations.vector_math import clipped_magnitude, exp_, normal_tail
from ...compiler import njit
from .. import jets
from .atom_kernels import (
    ENOUGH,
    INV_SQRT_2PI,
    PLAIN,
    ROUNDING,
    S40,
    SLOT_P,
    SLOT_Q,
    SLOTS,
    add_in_frame,
    gaussian_at_zero,
    reciprocal,
)
from .bivariate_normal_kernels import (
    DEAD,
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
STEP = 1
SQUARE = 3
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
        before = INV_SQRT_2PI * density
        now = 1.0 - tail
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
    out[0] = scale * p0
    out[1] = scale * p1
    out[2] = scale * p2
    out[3] = scale * p3
    out[4] = scale
    out[5] = scale * p5
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
    before = INV_SQRT_2PI * density / s
    now = 1.0 - tail
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
    steps are integrals of positive functions, by the rules of ``atom_kernels``.
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
def conditional_means_loop(mean, variance, out):
    """``A_j``, j = 0 ... 5, of n means and variances into ``out`` (n, 6)."""
    for n in range(mean.size):
        power_means(mean[n], variance[n], out[n])


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


# ---------------------------------------------------------------- one activation


@_kernel
def _polynomial_means(polynomial, C, b, count, out):
    """``E p^(j)(h)``, j = 0 ... count - 1, of the polynomial."""
    for p in range(count):
        out[p] = 0.0
    # E h^n
    previous = 0.0
    power = 1.0
    for n in range(polynomial.size):
        falling = 1.0
        for p in range(min(polynomial.size - n, count)):
            out[p] += polynomial[n + p] * falling * power
            falling *= n + p + 1.0
        previous, power = power, b * power + n * C * previous


@_kernel
def _power_means(w, C, b, count, out, work):
    """``E f^(j)(h)``, j = 0 ... count - 1, of the powers with weights ``w``."""
    A = work[0]
    densities = work[1]
    inverse = reciprocal(C)
    power_means(b, C if inverse > 0.0 else 0.0, A)
    density_derivatives(b, inverse, count, densities)
    for p in range(count):
        out[p] = 0.0
        for column in range(SQUARE, COLUMNS):
            i = column - 1 - p
            if w[column] != 0.0:
                out[p] += w[column] * (A[i] if i >= 0 else densities[-1 - i])


@_kernel
def single_moments_loop(w, C, b, max_order, out):
    """Add ``E f^(p)(h)``, p = 0 ... max_order, of the powers; infinite ones as inf."""
    work = np.empty((2, 16))
    found = np.empty(max_order + 1)
    for n in range(b.size):
        _power_means(w, C[n], b[n], max_order + 1, found, work)
        at_kink = C[n] <= jets.SMALLEST_VARIANCE and b[n] == 0.0
        for p in range(max_order + 1):
            out[n, p] += np.inf if at_kink and _is_delta(w, p) else found[p]


@_inline
def _is_delta(w, p):
    """Whether a derivative of order p of a power of degree 2 or more has a delta function."""
    found = False
    for column in range(SQUARE, min(p, COLUMNS - 1) + 1):
        found = found or w[column] != 0.0
    return found


@_kernel
def _add_polynomials(plain, order, pf, wf, pg, wg, gaussian, work):
    """Add powers times polynomials: the Mehler series in C12, which ends."""
    C11, C12, C22, b1, b2, _ = gaussian
    count = max(pf.size, pg.size) + 2 * order
    polynomial1 = work[0]
    powers1 = work[1]
    polynomial2 = work[2]
    powers2 = work[3]
    _polynomial_means(pf, C11, b1, count, polynomial1)
    _polynomial_means(pg, C22, b2, count, polynomial2)
    _power_means(wf, C11, b1, count, powers1, work[4:])
    _power_means(wg, C22, b2, count, powers2, work[4:])
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
    if is_plain and _is_delta(w, p):
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
        c1 = jets.slope(gaussian[1, n], gaussian[0, n])
        c2 = jets.slope(gaussian[1, n], gaussian[2, n])
        add_in_frame(out[n], order, rows, c1, c2)
        if order == 2:
            for k in range(5):
                out[n, S40 + k] += frames[n, k]
        for slot in range(SLOTS[order]):
            if np.isinf(plain[n, slot]):
                out[n, slot] = np.inf
