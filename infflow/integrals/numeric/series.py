"""Hermite series of functions with kinks, for pairs of moderate correlation.

With f^(p)(b + r x) = sum_n c_n He_n(x)/sqrt(n!), delta functions included, Mehler's formula gives
I(p, q) = sum_n u^n c_n d_n. The regular part of c_n is integrated on panels that end at the kinks;
a delta function contributes the value of the next Hermite functions at its place,

    E[delta^(j)(h - k) He_n(x)] = He_n+j(x) phi(x)/r^(j+1),      x = (k - b)/r.

What is left out after N terms is bounded by Cauchy and Schwarz, with the share of
E R_p^2 that the coefficients do not explain, and for delta functions by Cramer's inequality, |He_n|
exp(-x^2/4) <= 1.0865 sqrt(n!): powers of n against |u|^n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._validation import Array
from .means import Neurons
from .panels import cover, density, points, table_values
from .table import Index

__all__ = ["Expansions", "expansions", "longest", "series"]

_EPS = float(np.finfo(np.float64).eps)
#: Numbers of terms, and the correlation up to which pairs may be meant for series.
COUNTS = (24, 32, 48, 64, 96, 128)
LARGEST = 0.8
# Expanding a neuron into so many terms costs as much as one pair by the conditional rule.
_TERMS_A_PAIR = 128
# What a series leaves out, relative.
_LEFT_OUT = 1e-12
# Gauss's rule of 16 nodes resolves a Hermite function of degree n on panels of this width over
# sqrt(n).
_PHASE = 10.0
_CRAMER = 1.0865
# Nodes times terms that are held at a time.
_ENTRIES = 1 << 20


class Expansions(NamedTuple):
    """Coefficients (k, N, LEVELS) of k neurons, delta functions included.

    ``tail`` (k, LEVELS): root of the energy of the regular parts beyond the last term; ``delta``
    (k, LEVELS): bound of the coefficients of the delta functions there.
    """

    coefficients: Array
    tail: Array
    delta: Array


def longest(u: Array, neurons: int) -> int:
    """The number of terms that costs least for pairs with these correlations of so many neurons.

    Pairs whose correlation is too large for it are left to the conditional rule.
    """
    counts = np.array(COUNTS)
    limits = _LEFT_OUT ** (1.0 / counts)
    beyond = (np.abs(u)[:, None] > limits).sum(axis=0)
    return int(counts[np.argmin(neurons * (counts / _TERMS_A_PAIR) ** 1.5 + beyond)])


def expansions(neurons: Neurons, count: int) -> Expansions:
    """Expansions of neurons with r > 0; those with r = 0 are their mean."""
    k = len(neurons.r)
    levels = neurons.levels
    coefficients = np.zeros((k, count, levels))
    tail = np.zeros((k, levels))
    delta = np.zeros((k, levels))
    moving = np.flatnonzero(neurons.r > 0.0)
    if len(moving):
        some = neurons.take(moving)
        regular = _regular(some, count)
        explained = np.einsum("knp,knp->kp", regular, regular)
        square = some.rms**2
        missing = np.maximum(square - explained, 0.0) + 4e-15 * square
        tail[moving] = np.sqrt(missing)
        coefficients[moving] = regular
        coefficients[moving], delta[moving] = _with_deltas(some, regular, count)
    coefficients[neurons.r <= 0.0, 0] = neurons.mean[neurons.r <= 0.0]
    return Expansions(coefficients, tail, delta)


def _regular(some: Neurons, count: int) -> Array:
    """E[R_p He_n]/sqrt(n!) (k, N, LEVELS)."""
    k = len(some.r)
    panels = cover(
        some.found, some.r, some.b, -some.reach, some.reach, min(3.0, _PHASE / np.sqrt(count))
    )
    x, w = points(panels)
    jet = table_values(some.found, panels, some.r, some.b, x)
    # sqrt(density) goes with the Hermite functions, the other root with the jet
    root = np.sqrt(density(x))
    jet *= (w * root)[..., None]
    counts = np.bincount(panels.row, minlength=k) * x.shape[1]
    most = int(counts.max())
    place = np.arange(len(panels.row)) - np.searchsorted(panels.row, panels.row)
    columns = (place * x.shape[1])[:, None] + np.arange(x.shape[1])
    nodes = np.zeros((k, most))
    values = np.zeros((k, most, some.levels))
    rows = np.broadcast_to(panels.row[:, None], columns.shape)
    nodes[rows, columns] = x
    values[rows, columns] = jet
    out = np.empty((k, count, some.levels))
    step = max(1, _ENTRIES // (most * count))
    for start in range(0, k, step):
        part = slice(start, start + step)
        functions = hermite_functions(nodes[part], count)
        out[part] = functions.transpose(1, 0, 2) @ values[part]
    return out


def hermite_functions(x: Array, count: int) -> Array:
    """He_n(x)/sqrt(n!) times the root of the normal density, (count, *x.shape)."""
    out = np.empty((count, *x.shape))
    out[0] = np.sqrt(density(x))
    np.multiply(x, out[0], out=out[1])
    older = np.empty_like(x)
    for n in range(2, count):
        np.multiply(out[n - 2], np.sqrt(n - 1.0), out=older)
        np.multiply(x, out[n - 1], out=out[n])
        out[n] -= older
        out[n] *= 1.0 / np.sqrt(n)
    return out


def _with_deltas(some: Neurons, regular: Array, count: int) -> tuple[Array, Array]:
    """Coefficients with delta functions, and the bound of the latter at the last term."""
    found = some.found
    coefficients = regular.copy()
    bound = np.zeros((len(some.r), some.levels))
    for kink, jumps in zip(found.kinks, found.jumps, strict=True):
        if not jumps[:-1].any():
            continue
        x = (kink - some.b) / some.r
        near = np.abs(x) < 38.0
        x = np.where(near, x, 0.0)
        weight = np.where(near, np.sqrt(density(x)), 0.0)
        functions = hermite_functions(x, count + some.levels) * weight
        for p in range(1, some.levels):
            for m in range(p):
                if jumps[m] == 0.0:
                    continue
                j = p - 1 - m
                n = np.arange(count, dtype=float)
                growth = np.ones(count)
                last = 1.0
                for i in range(1, j + 1):
                    growth *= np.sqrt(n + i)
                    last *= np.sqrt(count + i)
                scaled = jumps[m] / some.r ** (j + 1)
                coefficients[:, :, p] += scaled[:, None] * growth * functions[j : j + count].T
                envelope = _CRAMER * np.exp(-0.25 * x * x) / np.sqrt(2 * np.pi)
                bound[:, p] += np.where(near, np.abs(scaled) * last * envelope, 0.0)
    return coefficients, bound


def series(
    first: Expansions, second: Expansions, i: Index, j: Index, u: Array
) -> tuple[Array, Array]:
    """Moments (n, LEVELS, LEVELS) of the pairs i, j with correlation u, and bounds of what is left
    out.
    """
    count = first.coefficients.shape[1]
    powers = u[:, None] ** np.arange(count)
    left = first.coefficients[i] * powers[..., None]
    right = second.coefficients[j]
    value = left.transpose(0, 2, 1) @ right
    size = np.abs(u)
    ratio = size * (1.0 + 4.0 / count) ** 3
    with np.errstate(divide="ignore"):
        sums = np.where(ratio < 1.0, 1.0 / np.sqrt(np.maximum(1.0 - ratio, 0.0)), np.inf)[:, None]
    with np.errstate(invalid="ignore"):  # 0 times infinity is refused below
        f = first.tail[i] + np.where(first.delta[i] > 0.0, first.delta[i] * sums, 0.0)
        g = second.tail[j] + np.where(second.delta[j] > 0.0, second.delta[j] * sums, 0.0)
        error = (size**count)[:, None, None] * f[:, :, None] * g[:, None, :]
    rounding = np.sqrt(np.einsum("knp,knp->kp", left, left))[:, :, None]
    rounding = rounding * np.sqrt(np.einsum("knp,knp->kp", right, right))[:, None, :]
    return value, np.where(np.isnan(error), np.inf, error) + 16 * _EPS * rounding
