r"""Gaussian moments of exponentials, sines and cosines, in elementary functions.

A wave is ``Re(a exp(k x))`` with k real (exp) or imaginary (sin, cos). Multiplying by exp(k h1)
shifts the mean of h2 by k C12 (Cameron and Martin):

    E[exp(k h1) g(h2)] = exp(k b1 + k^2 C11/2) E[g(h2 + k C12)],

for real k with every g that has a closed form of its own, for imaginary k by continuation: E g of a
polynomial is a polynomial of the mean, of a smoothed ramp of width tau

    s (phi(z) + z Phi(z)),      s^2 = tau^2 + C22,      z = mean/s,

and of its derivatives Phi(z), phi(z)/s, ... At complex z the normal distribution function is
Faddeeva's function w, which is bounded in the upper half-plane. Growth of phi(z) and decay of
exp(k^2 C11/2) are one exponent,

    -k^2 (C11 - C12^2/s^2)/2 - b2^2/(2 s^2) <= 0,

so that nothing overflows. Below 0, elu and selu have exp(h2), one more shift of the mean, by C22.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...errors import MethodError
from ..jets import SMALLEST_VARIANCE, along_once, along_twice
from .atoms import AtomTable, has_means, is_centred
from .means import means_without_waves
from .powers import has_powers
from .slots import S04, S13, S22, S31, S40, SLOT_P, SLOT_Q, SLOTS

if TYPE_CHECKING:
    from ...activations import Activation, Wave

Complex = NDArray[Any]
Gaussian = tuple[Array, Array, Array, Array, Array, Array]  # C11, C12, C22, b1, b2, det

_ROOT_2PI = float(np.sqrt(2.0 * np.pi))
#: Kinked neurons of a smaller variance count as constant.
SMALLEST_WIDTH2 = 1e-100
# An asymptotic series gives 1 + z Phi(z)/phi(z) beyond this modulus; its number of terms.
_FAR = 12.0
_TERMS = 14
# Rounding of the phase of the partner's mean in units of the bound.
_PHASE = 1.0 / 16.0
# Beyond this the density is 0.
_FARTHEST = 1e8


def is_defined(f: Activation, g: Activation) -> bool:
    """Whether a pair with a wave among them has a closed form: the partner has one of its own."""
    first, second = (f, g) if f.waves else (g, f)
    if not first.waves:
        return False
    return has_means(second) and not (_oscillates(first) and has_powers(second))


def single_moments(f: Activation, C: Array, b: Array, max_order: int) -> Array:
    """``E f^(p)(h)``, p = 0 ... max_order, shape (n, max_order + 1)."""
    out = np.zeros((C.size, max_order + 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for wave in f.waves:
            value = np.exp(wave.rate * b + 0.5 * wave.rate**2 * C)
            for p in range(max_order + 1):
                out[:, p] += (wave.weight * wave.rate**p * value).real
    return out


def pair_slots(f: Activation, g: Activation, gaussian: Gaussian, order: int, plain: bool) -> Array:
    """Moments of one pair of activations at n points, in the slots of ``slots.py``, shape (n,
    15).

    Infinite moments are ``inf``. Where a value overflows it is ``nan``, or ``inf`` as well unless
    ``plain``.

    Raises
    ------
    MethodError
        If the pair has no closed form.
    """
    if not is_defined(f, g):
        raise MethodError(
            f"The pair {f.name}, {g.name} has no closed form: exponentials, sines and cosines "
            "have one with activations"
            " that have one of their own. Use method='auto'."
        )
    out = np.zeros((gaussian[0].size, SLOTS[2]))
    used = [(slot, int(SLOT_P[slot]), int(SLOT_Q[slot])) for slot in range(SLOTS[order])]
    with np.errstate(all="ignore"):
        if f.waves and not g.waves:
            _fill(out, f, g, gaussian, used)
        elif g.waves and not f.waves:
            _fill(out, g, f, _exchanged(gaussian), [(slot, q, p) for slot, p, q in used])
        else:
            for slot, p, q in used:
                for wave in f.waves:
                    for other in g.waves:
                        out[:, slot] += _two_waves(wave, other, gaussian, p, q)
        if order == 2 and not plain:
            _to_frame(out, gaussian)
    singular = np.isinf(out)
    out[~np.isfinite(out)] = np.nan if plain else np.inf
    if (_oscillates(f) and g.kinks) or (_oscillates(g) and f.kinks):
        out[singular] = np.inf
    return out


def _exchanged(gaussian: Gaussian) -> Gaussian:
    """The arguments with the places of h1 and h2 exchanged."""
    C11, C12, C22, b1, b2, det = gaussian
    return C22, C12, C11, b2, b1, det


def _oscillates(f: Activation) -> bool:
    return any(wave.rate.imag != 0.0 for wave in f.waves)


def _fill(
    out: Array, f: Activation, g: Activation, gaussian: Gaussian, used: list[tuple[int, int, int]]
) -> None:
    """Add E[f^(p)(h1) g^(q)(h2)], f waves and g none, to the slots ``used`` (slot, p, q) of
    ``out``.
    """
    highest = max(q for _, _, q in used)
    for wave in f.waves:
        if wave.rate.imag == 0.0:
            means = _tilted_means(wave, g, gaussian, highest)
        else:
            means = _oscillating_means(wave.rate.imag, g, gaussian, highest)
        for slot, p, q in used:
            a = wave.weight * wave.rate**p
            out[:, slot] += a.real * means[q].real
            if a.imag != 0.0:
                out[:, slot] -= a.imag * means[q].imag


def _to_frame(slots: Array, gaussian: Gaussian) -> None:
    """Fourth derivatives along D1 and D2 of ``jets.py``."""
    C11, C12, C22 = gaussian[:3]
    c1 = np.divide(C12, C11, out=np.zeros_like(C12), where=C11 > SMALLEST_VARIANCE)
    c2 = np.divide(C12, C22, out=np.zeros_like(C12), where=C22 > SMALLEST_VARIANCE)
    i31, i22, i13 = (slots[:, k].copy() for k in (S31, S22, S13))
    slots[:, S40] = along_twice(slots[:, S40], i31, i22, c1)
    slots[:, S31] = along_once(i31, i22, c1)
    slots[:, S13] = along_once(i13, i22, c2)
    slots[:, S04] = along_twice(slots[:, S04], i13, i22, c2)


def _two_waves(v: Wave, w: Wave, gaussian: Gaussian, p: int, q: int) -> Array:
    """``E Re(a exp(k h1)) Re(c exp(l h2))``."""
    C11, C12, C22, b1, b2, _ = gaussian
    a = v.weight * v.rate**p
    c = w.weight * w.rate**q
    if v.rate.imag and w.rate.imag:
        return _two_oscillations(a, c, v.rate.imag, w.rate.imag, gaussian)
    # one is real, so that the product of the real parts is the real part of a product
    product = a.real * c if not v.rate.imag else a * c.real
    exponent = (
        v.rate * b1
        + w.rate * b2
        + 0.5 * (v.rate**2 * C11 + w.rate**2 * C22)
        + v.rate * w.rate * C12
    )
    value: Array = (product * np.exp(exponent)).real
    return value


def _two_oscillations(a: complex, c: complex, k: float, l: float, gaussian: Gaussian) -> Array:
    """Sines and cosines: E sin sin = A (cosh(t) sin sin + sinh(t) cos cos) with t = k l C12,
    without cancellation at small t.

    The exponent -(k^2 C11 + l^2 C22)/2 + |t| is summed from parts of one sign.
    """
    C11, C12, C22, b1, b2, det = gaussian
    t = k * l * C12
    r1 = np.sqrt(C11)
    r2 = np.sqrt(C22)
    whole = r1 * r2 + np.abs(C12)
    apart = np.divide(det, whole, out=np.zeros_like(whole), where=whole > 0.0)
    outer = 0.5 * np.exp(-0.5 * (abs(k) * r1 - abs(l) * r2) ** 2 - abs(k * l) * apart)
    cosh = outer * (1.0 + np.exp(-2.0 * np.abs(t)))
    sinh = np.sign(t) * outer * -np.expm1(-2.0 * np.abs(t))
    # Re(a exp(i k x)) = Re a cos(k x) - Im a sin(k x) = A and its quarter turn
    cos1 = np.cos(k * b1)
    sin1 = np.sin(k * b1)
    cos2 = np.cos(l * b2)
    sin2 = np.sin(l * b2)
    even1 = a.real * cos1 - a.imag * sin1
    odd1 = a.real * sin1 + a.imag * cos1
    even2 = c.real * cos2 - c.imag * sin2
    odd2 = c.real * sin2 + c.imag * cos2
    value: Array = cosh * even1 * even2 + sinh * odd1 * odd2
    return value


def _tilted_means(wave: Wave, g: Activation, gaussian: Gaussian, highest: int) -> Array:
    """``E[exp(k h1) g^(q)(h2)]`` for real k and q = 0 ... highest, shape (highest + 1, n)."""
    C11, C12, C22, b1, b2, _ = gaussian
    k = wave.rate.real
    zeros = np.zeros(C22.size, dtype=np.int64)
    means = means_without_waves(AtomTable([g]), zeros, C22, b2 + k * C12, highest)
    found: Array = np.exp(k * b1 + 0.5 * k * k * C11) * means.T
    return found


def _oscillating_means(k: float, g: Activation, gaussian: Gaussian, highest: int) -> Complex:
    """``E[exp(i k h1) g^(q)(h2)]``, q = 0 ... highest, for every g without waves that has a closed
    form.
    """
    C11, C12, C22, b1, b2, _ = gaussian
    mean = b2 + 1j * k * C12
    plain = np.exp(-0.5 * k * k * C11 + 1j * k * b1)
    sides = g.sides
    out = np.zeros((highest + 1, C11.size), dtype=np.complex128)
    if sides is not None:
        ramps = _ramps(k, np.zeros(1), gaussian, highest + 1, False)[:, :, 0]
        _one_sided_means(*sides, ramps, _half_exponential(k, gaussian), plain, out)
        return out
    polynomial = list(g.polynomial)
    centred = is_centred(g)
    if centred:
        polynomial[0] = 0.0
    for q in range(highest + 1):
        out[q] = plain * _polynomial_mean(tuple(polynomial), C22, mean, q)
    widths = np.array(sorted({atom.width for atom in g.atoms}))
    if not len(widths):
        return out
    weights = np.zeros((3, len(widths)))
    for atom in g.atoms:
        weights[atom.order, np.searchsorted(widths, atom.width)] += atom.weight
    orders = [order for order in range(3) if weights[order].any()]
    ramps = _ramps(k, widths, gaussian, orders[-1] + highest, centred)
    for q in range(highest + 1):
        for order in orders:
            used = weights[order] != 0.0  # 0 times an infinite derivative, at a kink, would be NaN
            out[q] += ramps[order + q][:, used] @ weights[order, used]
    return out


def _ramps(k: float, widths: Array, gaussian: Gaussian, highest: int, centred: bool) -> Complex:
    """``E[exp(i k h1) rho_w^(j)(h2)]``, j = 0 ... highest, for smoothed ramps of the widths w:
    shape (j, n, w).

    A centred step (j = 1) is the step minus 1/2.
    """
    C11, C12, C22, b1, b2, det = (x[:, None] for x in gaussian)
    constant = (widths == 0.0) & (C22 <= SMALLEST_WIDTH2)
    V = np.where(constant, 1.0, C22 + widths**2)
    s = np.sqrt(V)
    x = np.clip(b2 / s, -_FARTHEST, _FARTHEST)
    y = k * C12 / s
    decay = -0.5 * k * k * (det + C11 * widths**2) / V - 0.5 * x * x
    density = np.where(decay > -745.0, np.exp(decay + 1j * (k * b1 - x * y)), 0.0) / _ROOT_2PI
    plain = np.exp(-0.5 * k * k * C11 + 1j * k * b1)
    z = x + 1j * y
    above = x > 0.0
    ratio, ramp = _mills(np.where(above, -z, z))
    out = np.empty((highest + 1, *z.shape), dtype=np.complex128)
    out[0] = s * density * ramp + np.where(above, (b2 + 1j * k * C12) * plain, 0.0)
    if highest >= 1:
        tail = density * ratio
        if centred:
            out[1] = np.where(above, 0.5 * plain - tail, tail - 0.5 * plain)
            out[1] = np.where(np.abs(z) < 1.0, 0.5 * plain * _erf(z / np.sqrt(2.0)), out[1])
        else:
            out[1] = np.where(above, plain - tail, tail)
    before = np.zeros_like(z)
    here = density / s
    for j in range(2, highest + 1):
        out[j] = here
        before, here = here, -(z * here / s + (j - 2) * before / V)
    _of_constants(out, constant, b2 + 0.0 * V, plain, centred)
    return out


def _of_constants(
    out: Complex, constant: NDArray[np.bool_], b: Array, plain: Complex, centred: bool
) -> None:
    """Put the values of ramps of constant neurons in place; at the kink derivatives of the step are
    infinite.
    """
    if not constant.any():
        return
    step = np.heaviside(b, 0.5) - (0.5 if centred else 0.0)
    values = [np.maximum(b, 0.0) * plain, step * plain]
    for j in range(out.shape[0]):
        value = values[j] if j < 2 else np.where(b == 0.0, np.inf, 0.0)
        out[j] = np.where(constant, value, out[j])


def _mills(z: Complex) -> tuple[Complex, Complex]:
    """``Phi(z)/phi(z)`` and ``1 + z Phi(z)/phi(z)`` for real parts that are not positive."""
    ratio = np.sqrt(0.5 * np.pi) * _faddeeva(-1j * z / np.sqrt(2.0))
    ramp = 1.0 + z * ratio
    far = np.abs(z) > _FAR
    if far.any():
        t = 1.0 / z[far] ** 2
        total = np.zeros(int(far.sum()), dtype=np.complex128)
        for n in range(_TERMS, 0, -1):  # 1/z^2 - 3/z^4 + 15/z^6 - ...
            total = t * (1.0 - (2 * n + 1) * total)
        ramp[far] = total
    return ratio, ramp


def _faddeeva(z: Complex) -> Complex:
    from scipy.special import wofz

    found: Complex = wofz(z)
    return found


def _erf(z: Complex) -> Complex:
    from scipy.special import erf

    found: Complex = erf(z)
    return found


def _half_exponential(k: float, gaussian: Gaussian) -> Complex:
    """``E[exp(i k h1) exp(h2) (1 - step(h2))]``."""
    C11, C12, C22, b1, b2, det = gaussian
    constant = C22 <= SMALLEST_WIDTH2
    V = np.where(constant, 1.0, C22)
    s = np.sqrt(V)
    x = np.clip(b2 / s, -_FARTHEST, _FARTHEST)
    y = k * C12 / s
    decay = -0.5 * k * k * det / V - 0.5 * x * x
    density = np.where(decay > -745.0, np.exp(decay + 1j * (k * b1 - x * y)), 0.0) / _ROOT_2PI
    z = x + s + 1j * y
    below = x + s < 0.0
    tail = density * _mills(np.where(below, z, -z))[0]
    exponent = np.where(below, -0.5 * k * k * C11 + b2 + 0.5 * C22 + 1j * k * (b1 + C12), 0.0)
    value = np.where(below, np.exp(exponent) - tail, tail)
    plain = np.exp(-0.5 * k * k * C11 + 1j * k * b1)
    at_constant = plain * np.exp(np.minimum(b2, 0.0)) * (1.0 - np.heaviside(b2, 0.5))
    found: Complex = np.where(constant, at_constant, value)
    return found


def _one_sided_means(
    S: float, A: float, ramps: Complex, below: Complex, plain: Complex, out: Complex
) -> None:
    """Elu and selu, S ramp + A (exp(h) (1 - step) - (1 - step)), and their derivatives, into
    ``out`` (q, n).

    ``(exp(h) (1 - step))^(q)`` is itself minus the derivatives 1 to q of the step.
    """
    out[0] = S * ramps[0] + A * (below - plain + ramps[1])
    for q in range(1, out.shape[0]):
        out[q] = A * below + (S * ramps[1] if q == 1 else 0.0)
        for j in range(2, q + 1):
            factor = (S if j == q else 0.0) - A
            if factor != 0.0:
                out[q] += factor * ramps[j]


def amplification(
    f: Activation, g: Activation, gaussian: Gaussian, p: int, q: int
) -> tuple[Array, Array]:
    """The part of ``error_bounds.amplification`` for pairs with a sine or cosine.

    The mean of the partner is complex, with an imaginary part of y standard deviations: derivatives
    of kinks grow with powers of it, and their phase is rounded as it is.
    """
    growth = np.ones_like(gaussian[0])
    error = np.ones_like(gaussian[0])
    for first, second, turned, order in ((f, g, gaussian, q), (g, f, _exchanged(gaussian), p)):
        for wave in first.waves:
            for atom_order, width in _kinds(second) if wave.rate.imag != 0.0 else ():
                C11, C12, C22, _, b2, det = turned
                k = abs(wave.rate.imag)
                V = C22 + width**2
                with np.errstate(all="ignore"):
                    y = np.where(V > SMALLEST_WIDTH2, k * np.abs(C12) / np.sqrt(V), 0.0)
                    decay = np.where(
                        V > SMALLEST_WIDTH2, np.exp(-0.5 * k * k * (det + C11 * width**2) / V), 1.0
                    )
                    small = np.sqrt(C22 + b2 * b2)
                growth = np.maximum(growth, decay * (1.0 + y) ** max(atom_order + order - 1, 0))
                error = np.maximum(error, 1.0 + _PHASE * y * decay)
                if not second.atoms and order == 0:  # exp(h) - 1 of elu and selu
                    error = np.maximum(error, 1.0 + 1.0 / np.maximum(small, 1e-300))
    return growth, error


def damping(f: Activation, g: Activation, gaussian: Gaussian, p: int, q: int) -> Array:
    """Factor (n,), at most 1, by which errors are smaller where a sine or cosine averages out.

    All terms of a moment are at most exp(-E) times powers of the imaginary mean. Half of E is left
    for the rounding of phase and exponent.
    """
    exponent = np.zeros_like(gaussian[0])
    powers = np.ones_like(exponent)
    for first, second, turned, order in ((f, g, gaussian, q), (g, f, _exchanged(gaussian), p)):
        if not _oscillates(first) or any(
            wave.rate.imag == 0.0 for wave in (*first.waves, *second.waves)
        ):
            continue
        C11, C12, C22, _, _, det = turned
        k = min(abs(wave.rate) for wave in first.waves)
        if second.waves:
            r1 = np.sqrt(C11)
            r2 = np.sqrt(C22)
            l = min(abs(wave.rate) for wave in second.waves)
            if len(first.waves) > 1 or len(second.waves) > 1:
                continue
            whole = r1 * r2 + np.abs(C12)
            apart = np.divide(det, whole, out=np.zeros_like(whole), where=whole > 0.0)
            return np.asarray(np.exp(-0.25 * (k * r1 - l * r2) ** 2 - 0.5 * k * l * apart))
        width = min((width for _, width in _kinds(second)), default=np.inf)
        V = C22 + width**2
        with np.errstate(all="ignore"):
            left = np.where(np.isinf(V) | (V <= SMALLEST_WIDTH2), C11, (det + C11 * width**2) / V)
        highest = max((atom_order for atom_order, _ in _kinds(second)), default=0) + order
        fastest = max(abs(wave.rate) for wave in first.waves)
        exponent = 0.25 * k * k * left
        powers = (1.0 + fastest * np.sqrt(C11)) ** (highest + len(second.polynomial) + 1)
    found: Array = np.minimum(1.0, np.exp(-exponent) * powers)
    return found


def _kinds(g: Activation) -> set[tuple[int, float]]:
    """Orders and widths of the atoms, with those of elu and selu."""
    if g.kinks and not g.atoms:
        return {(0, 0.0), (1, 0.0)}
    return {(atom.order, atom.width) for atom in g.atoms}


def _polynomial_mean(
    coefficients: tuple[float, ...], C: Array, mean: Complex, order: int
) -> Complex:
    """E p^(order)(h) at a complex mean."""
    derivative = np.polynomial.polynomial.polyder(np.array(coefficients or (0.0,)), order)
    total = np.zeros_like(mean)
    previous = np.zeros_like(mean)
    power = np.ones_like(mean)
    for n, coefficient in enumerate(derivative):
        total = total + coefficient * power
        previous, power = power, mean * power + n * C * previous
    return total
