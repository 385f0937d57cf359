"""Gaussian moments of exponentials, sines and cosines, in elementary functions.

A wave is ``Re(a exp(k x))`` with k real (exp) or imaginary (sin, cos). Multiplying by exp(k h1) shifts the mean of h2
by k C12 (Cameron and Martin):

    E[exp(k h1) g(h2)] = exp(k b1 + k^2 C11/2) E[g(h2 + k C12)],

for real k with every g that has a closed form of its own, for imaginary k where E g is known at complex means:
polynomials and Gaussian bumps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import MethodError
from .closed_kernels import S04, S13, S22, S31, S40, SLOT_P, SLOT_Q, SLOTS
from .jets import SMALLEST_VARIANCE

if TYPE_CHECKING:
    from ..activations import Activation, Wave

Complex = NDArray[Any]
Gaussian = tuple[Array, Array, Array, Array, Array]  # C11, C12, C22, b1, b2


def is_defined(f: Activation, g: Activation) -> bool:
    """Whether a pair with a wave among them has a closed form."""
    if f.waves and g.waves:
        return True
    first, second = (f, g) if f.waves else (g, f)
    if not first.waves:
        return False
    from . import closed  # which imports this module

    if all(wave.rate.imag == 0.0 for wave in first.waves):
        return closed.is_defined(second)
    return second.has_closed_form and all(atom.order == 2 and atom.width > 0.0 for atom in second.atoms)


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
    """Moments of one pair of activations at n points, in the slots of ``closed_kernels``, shape (n, 15).

    Where a value overflows it is ``inf``.

    Raises
    ------
    MethodError
        If the pair has no closed form.
    """
    if not is_defined(f, g):
        raise MethodError(
            f"The pair {f.name}, {g.name} has no closed form: sines and cosines have one with polynomials, exp, sin, cos"
            " and gaussian. Use method='auto'."
        )
    out = np.zeros((gaussian[0].size, SLOTS[2]))
    with np.errstate(over="ignore", invalid="ignore"):
        for slot in range(SLOTS[order]):
            out[:, slot] = _moment(f, g, gaussian, int(SLOT_P[slot]), int(SLOT_Q[slot]))
        if order == 2 and not plain:
            _to_frame(out, gaussian)
    out[~np.isfinite(out)] = np.inf
    return out


def _to_frame(slots: Array, gaussian: Gaussian) -> None:
    """Fourth derivatives along D1 and D2 of ``jets.py``."""
    C11, C12, C22 = gaussian[:3]
    c1 = np.divide(C12, C11, out=np.zeros_like(C12), where=C11 > SMALLEST_VARIANCE)
    c2 = np.divide(C12, C22, out=np.zeros_like(C12), where=C22 > SMALLEST_VARIANCE)
    i31, i22, i13 = (slots[:, k].copy() for k in (S31, S22, S13))
    slots[:, S40] += c1 * (2.0 * i31 + c1 * i22)
    slots[:, S31] += c1 * i22
    slots[:, S13] += c2 * i22
    slots[:, S04] += c2 * (2.0 * i13 + c2 * i22)


def _moment(f: Activation, g: Activation, gaussian: Gaussian, p: int, q: int) -> Array:
    """``E[f^(p)(h1) g^(q)(h2)]``."""
    if not f.waves:
        C11, C12, C22, b1, b2 = gaussian
        return _moment(g, f, (C22, C12, C11, b2, b1), q, p)
    total = np.zeros_like(gaussian[0])
    for wave in f.waves:
        if g.waves:
            for other in g.waves:
                total += _two_waves(wave, other, gaussian, p, q)
        else:
            total += _wave_and_atoms(wave, g, gaussian, p, q)
    return total


def _two_waves(v: Wave, w: Wave, gaussian: Gaussian, p: int, q: int) -> Array:
    """``E Re(a exp(k h1)) Re(c exp(l h2))``."""
    C11, C12, C22, b1, b2 = gaussian
    a, c = v.weight * v.rate**p, w.weight * w.rate**q
    if v.rate.imag and w.rate.imag:
        return _two_oscillations(a, c, v.rate.imag, w.rate.imag, gaussian)
    # one is real, so that the product of the real parts is the real part of a product
    product = a.real * c if not v.rate.imag else a * c.real
    exponent = v.rate * b1 + w.rate * b2 + 0.5 * (v.rate**2 * C11 + w.rate**2 * C22) + v.rate * w.rate * C12
    value: Array = (product * np.exp(exponent)).real
    return value


def _two_oscillations(a: complex, c: complex, k: float, l: float, gaussian: Gaussian) -> Array:
    """Sines and cosines: E sin sin = A (cosh(t) sin sin + sinh(t) cos cos) with t = k l C12, without cancellation at small t."""
    C11, C12, C22, b1, b2 = gaussian
    t, damping = k * l * C12, -0.5 * (k * k * C11 + l * l * C22)
    outer = 0.5 * np.exp(damping + np.abs(t))
    cosh, sinh = outer * (1.0 + np.exp(-2.0 * np.abs(t))), np.sign(t) * outer * -np.expm1(-2.0 * np.abs(t))
    # Re(a exp(i k x)) = Re a cos(k x) - Im a sin(k x) = A and its quarter turn
    cos1, sin1, cos2, sin2 = np.cos(k * b1), np.sin(k * b1), np.cos(l * b2), np.sin(l * b2)
    even1, odd1 = a.real * cos1 - a.imag * sin1, a.real * sin1 + a.imag * cos1
    even2, odd2 = c.real * cos2 - c.imag * sin2, c.real * sin2 + c.imag * cos2
    value: Array = cosh * even1 * even2 + sinh * odd1 * odd2
    return value


def _wave_and_atoms(wave: Wave, g: Activation, gaussian: Gaussian, p: int, q: int) -> Array:
    """One wave of h1 against a polynomial plus atoms of h2."""
    C11, C12, C22, b1, b2 = gaussian
    a, exponent = wave.weight * wave.rate**p, wave.rate * b1 + 0.5 * wave.rate**2 * C11
    if wave.rate.imag == 0.0:
        from . import closed  # which imports this module

        zeros = np.zeros(C22.size, dtype=np.int64)
        shifted = b2 + wave.rate.real * C12
        means = closed.single_moments(closed.AtomTable([g]), zeros, C22, shifted, q)[:, q]
        value: Array = a.real * np.exp(exponent.real) * means
        return value
    mean = b2 + wave.rate * C12
    total = np.exp(exponent) * _polynomial_mean(g.polynomial, C22, mean, q)
    for atom in g.atoms:
        total = total + atom.weight * _bump_mean(C22 + atom.width**2, mean, q, exponent)
    result: Array = (a * total).real
    return result


def _polynomial_mean(coefficients: tuple[float, ...], C: Array, mean: Complex, order: int) -> Complex:
    """E p^(order)(h) at a complex mean."""
    derivative = np.polynomial.polynomial.polyder(np.array(coefficients or (0.0,)), order)
    total, previous, power = np.zeros_like(mean), np.zeros_like(mean), np.ones_like(mean)
    for n, coefficient in enumerate(derivative):
        total = total + coefficient * power
        previous, power = power, mean * power + n * C * previous
    return total


def _bump_mean(V: Array, mean: Complex, order: int, exponent: Complex) -> Complex:
    """``exp(exponent)`` times a derivative of the normal density of variance V at a complex mean."""
    previous, density = np.zeros_like(mean), np.exp(exponent - mean**2 / (2.0 * V)) / np.sqrt(2.0 * np.pi * V)
    for n in range(order):
        previous, density = density, -(mean * density + n * previous) / V
    return density
