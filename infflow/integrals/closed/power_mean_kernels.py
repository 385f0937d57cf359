"""Jitted means of truncated powers and of their derivatives, of one argument.

``psi_j(z) = E (z + x)_+^j/j!`` obeys j psi_j = z psi_(j-1) + psi_(j-2), which is stable upwards for
z >= 0 and downwards for z < 0. Downwards it starts from the ratio of the last two, a polynomial.
"""

from __future__ import annotations

import math

import numpy as np

from ...activations.vector_math import clipped_magnitude, normal_tail
from ...compiler import njit
from .. import jets
from .atom_mean_kernels import INV_SQRT_2PI, gaussian_at_zero, reciprocal

TOP = 5  # highest power
ENTRIES = TOP + 1
#: Columns of the weights of an activation: density, step, ramp, powers 2 to 5.
COLUMNS = TOP + 2
STEP = 1
SQUARE = 3

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


@_kernel
def conditional_means_loop(mean, variance, out):
    """``A_j``, j = 0 ... 5, of n means and variances into ``out`` (n, 6)."""
    for n in range(mean.size):
        power_means(mean[n], variance[n], out[n])


@_inline
def is_delta(w, p):
    """Whether a derivative of order p of a power of degree 2 or more has a delta function."""
    found = False
    for column in range(SQUARE, min(p, COLUMNS - 1) + 1):
        found = found or w[column] != 0.0
    return found


@_kernel
def means_of_polynomial(polynomial, C, b, count, out):
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
def means_of_powers(w, C, b, count, out, work):
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
        means_of_powers(w, C[n], b[n], max_order + 1, found, work)
        at_kink = C[n] <= jets.SMALLEST_VARIANCE and b[n] == 0.0
        for p in range(max_order + 1):
            out[n, p] += np.inf if at_kink and is_delta(w, p) else found[p]
