"""Closed forms of ``neuron_means.py`` for polynomials with smoothed ramps, on plain arrays."""

from __future__ import annotations

import math

import numpy as np

from ..compiler import njit
from .jets import SMALLEST_VARIANCE

_FAR = 39.0
_ROOT = math.sqrt(2.0 * math.pi)


@njit(cache=True, error_model="numpy")
def add_ramp(v, b, weight, order, out):
    """Add the derivatives ``order``, order + 1, ... of E relu(b + sqrt(v) z) times ``weight``."""
    orders = out.size
    narrow = v <= SMALLEST_VARIANCE
    root = 1.0 if narrow else math.sqrt(v)
    t = min(max(b / root, -_FAR), _FAR)
    if narrow:  # b / 0 without the division
        t = 0.0 if b == 0.0 else math.copysign(_FAR, b)
    far = abs(t) >= _FAR
    phi = 0.0 if far else math.exp(-0.5 * t * t) / _ROOT
    cdf = 0.5 * math.erfc(-t / math.sqrt(2.0))
    if order == 0:
        out[0] += weight * (max(b, 0.0) if narrow or far else b * cdf + root * phi)
    if order <= 1 and orders > 1 - order:
        step = (1.0 if b > 0.0 else 0.0) if far else cdf
        out[1 - order] += weight * step
    below = 0.0
    he = phi
    factor = 1.0 / root
    for p in range(2, orders + order):
        if p >= order:
            out[p - order] += weight * (np.inf if narrow and not far else he * factor)
        below, he = he, -t * he - (p - 2) * below
        factor /= root


@njit(cache=True)
def add_polynomial(c, C, b, powers, out):
    """Add the means of a polynomial and its derivatives; ``powers`` (c.size,) is overwritten."""
    if c.size == 0:
        return
    powers[0] = 1.0
    for m in range(1, c.size):
        powers[m] = b * powers[m - 1]
        if m > 1:
            powers[m] += (m - 1) * C * powers[m - 2]
    for p in range(min(out.size, c.size)):
        for m in range(p, c.size):
            falling = 1.0
            for q in range(p):
                falling *= m - q
            out[p] += c[m] * falling * powers[m - p]


@njit(cache=True)
def elementary_means(start, weight, order, width2, polynomial, C, b, out):
    """Means (n, orders) of neurons that are a polynomial plus atoms.

    Parameters
    ----------
    start : (n + 1,)
        Neuron k has the atoms start[k] to start[k + 1].
    weight, order, width2 : (atoms,)
    polynomial : (n, degree + 1)
    C, b : (n,)
    out : (n, orders)
        Overwritten.
    """
    powers = np.empty(polynomial.shape[1])
    for k in range(C.size):
        for p in range(out.shape[1]):
            out[k, p] = 0.0
        add_polynomial(polynomial[k], C[k], b[k], powers, out[k])
        for a in range(start[k], start[k + 1]):
            add_ramp(C[k] + width2[a], b[k], weight[a], order[a], out[k])
