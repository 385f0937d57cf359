r"""Means ``E f^(p)(h)`` of single neurons, h ~ N(b, C), for any order p at once.

Polynomials of Gaussian variables need derivatives of any order (Stein's lemma); networks alone need
four, which ``closed/`` and ``cubature/`` have. Where f is a polynomial, a few smoothed ramps, or a
sum of waves, all orders are elementary:

    d^p/db^p E relu(h + tau z) = v^((1 - p)/2) R_p(b / sqrt(v)),    v = C + tau^2,
    R_0 = t Phi(t) + phi(t),    R_1 = Phi(t),    R_p = (-1)^p He_(p-2)(t) phi(t) for p >= 2.

Other functions are differentiated as often as they can be, and what is left is moved onto the
density: E f^(p)(h) = E[f^(m)(h) He_(p-m)(x)] / r^(p-m) with h = b + r x. Jumps of the derivatives
below m add values of derivatives of the density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import MAX_ORDER, Activation
from . import neuron_means_kernels as kernels
from .cubature.distributions import derivatives, jumps, places, reach
from .cubature.panels import Index, density, integrate, panels_between
from .jets import SMALLEST_VARIANCE

_SMALLEST_RTOL = 1e-14
#: Panels of equal width at the start; nodes of one neuron at most.
_PANELS = 8
_MOST_NODES = 200_000


class NeuronMeans(NamedTuple):
    """``value`` (n, orders) of E f^(p)(h), and an estimate of the largest error, relative to the
    scale.

    The scale of an order is that of its integrand, sqrt(E f^(m)^2 (p-m)!) / r^(p-m). Closed forms
    have the error 0, which stands for rounding.
    """

    value: Array
    error: float


def is_elementary(f: Activation) -> bool:
    """Whether all orders have closed forms: polynomials with smoothed ramps, and waves."""
    return bool(f.atoms or f.polynomial or f.waves)


class NeuronTable:
    """Means of the derivatives of a fixed list of neurons.

    Parameters
    ----------
    activations : sequence of Activation, n of them
    rtol : float
        Tolerance where quadrature is needed.
    """

    def __init__(self, activations: Sequence[Activation], rtol: float) -> None:
        self.activations = list(activations)
        self.rtol = max(rtol, _SMALLEST_RTOL)
        atoms = [activation.atoms for activation in self.activations]
        flat = [atom for each in atoms for atom in each]
        self._start = np.concatenate([[0], np.cumsum([len(each) for each in atoms])])
        self._weight = np.array([float(atom.weight) for atom in flat])
        self._order = np.array([atom.order for atom in flat], dtype=np.int64)
        self._width2 = np.array([float(atom.width) ** 2 for atom in flat])
        longest = max(len(activation.polynomial) for activation in self.activations)
        self._polynomial = np.zeros((len(atoms), longest))
        for row, activation in zip(self._polynomial, self.activations, strict=True):
            row[: len(activation.polynomial)] = activation.polynomial
        self._waves = [k for k, f in enumerate(self.activations) if f.waves]
        self._others = [k for k, f in enumerate(self.activations) if not is_elementary(f)]

    def __call__(self, C: Array, b: Array, orders: int) -> NeuronMeans:
        """Means of the derivatives 0 to ``orders - 1`` for variances C and means b, both (n,).

        Infinite where a kink meets a variance of zero.
        """
        value = np.empty((len(C), orders))
        kernels.elementary_means(
            self._start,
            self._weight,
            self._order,
            self._width2,
            self._polynomial,
            C,
            b,
            value,
        )
        for k in self._waves:
            value[k] += _of_waves(self.activations[k], C[k], b[k], orders)
        error = 0.0
        for k in self._others:
            f = self.activations[k]
            value[k], own = _by_quadrature(f, float(C[k]), float(b[k]), orders, self.rtol)
            error = max(error, own)
        return NeuronMeans(value, error)


def _of_waves(f: Activation, C: float, b: float, orders: int) -> Array:
    """Means (orders,) of a sum of waves."""
    out = np.zeros(orders)
    for wave in f.waves:
        factor = wave.weight * np.exp(wave.rate * b + 0.5 * wave.rate**2 * C)
        out += (factor * wave.rate ** np.arange(orders)).real
    return out


def _by_quadrature(
    f: Activation, C: float, b: float, orders: int, rtol: float
) -> tuple[Array, float]:
    """Means (orders,) of one neuron by adaptive quadrature, and the relative error."""
    levels = min(f.max_order, MAX_ORDER, orders - 1)
    if C <= SMALLEST_VARIANCE:
        return _at_a_point(f, b, levels, orders), 0.0
    r = math.sqrt(C)
    R = reach(f, np.array([r]), np.array([b]), levels, rtol) + math.sqrt(2.0 * orders)
    breaks = np.clip((places(f, r) - b) / r, -R, R)
    breaks = np.unique(np.concatenate([breaks, np.linspace(-R, R, _PANELS + 1)]))
    panels = panels_between(breaks[None])

    def values(x: Array, row: Index) -> Array:
        F = derivatives(f, b + r * x, levels).T * density(x)[:, None]
        he = hermite_values(x, orders - levels)[:, 1:] / r ** np.arange(1, orders - levels)
        return np.concatenate([F, F[:, -1:] * he], axis=1)

    def squares(x: Array, row: Index) -> Array:
        return values(x, row) ** 2 / density(x)[:, None]

    loose = np.full(orders, np.inf)
    scale = np.sqrt(integrate(squares, panels, 1, loose, max_work=0).value[0])
    scale = np.maximum(scale, 1e-300)
    found = integrate(values, panels, 1, rtol * scale, max_work=_MOST_NODES)
    error = float((found.error[0] / scale).max())
    return found.value[0] + _from_jumps(f, b, r, levels, orders), error


def _from_jumps(f: Activation, b: float, r: float, levels: int, orders: int) -> Array:
    """What jumps of f, f', ... below the last derivative taken add to the means."""
    total = np.zeros(orders)
    for place, jump, _ in jumps(f, levels):
        ladder = np.zeros(orders + 1)
        kernels.add_ramp(r * r, b - place, 1.0, 0, ladder)
        for k in range(levels):
            # the derivative p of a step at the place: that of order p + 1 of the ramp
            total[k + 1 :] += jump[k] * ladder[2 : orders + 1 - k]
    return total


def _at_a_point(f: Activation, b: float, levels: int, orders: int) -> Array:
    """Derivatives at b, as without noise; orders that f lacks are 0, as w = 0 cancels them."""
    out = np.zeros(orders)
    out[: levels + 1] = derivatives(f, np.array([b]), levels)[:, 0]
    for place, jump, mean in jumps(f, levels):
        if place == b:
            out[: levels + 1] = mean[: levels + 1]
            first = int(np.flatnonzero(jump)[0]) if jump.any() else orders
            out[first + 1 :] = np.inf
    return out


def hermite_values(x: Array, count: int) -> Array:
    """Probabilists' polynomials He_0 ... He_(count - 1), shape (n, count)."""
    out = np.ones((len(x), count))
    if count > 1:
        out[:, 1] = x
    for k in range(1, count - 1):
        out[:, k + 1] = x * out[:, k] - k * out[:, k - 1]
    return out
