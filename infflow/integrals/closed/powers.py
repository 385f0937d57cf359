"""Closed forms of truncated powers with each other, polynomials and smoothed ramps.

Truncated powers ``T_n(x) = max(x, 0)^n/n!`` are atoms of order 1 - n, integrals of the ramp. Their
kernels (``power_*kernels.py``) are compiled only where an activation has one. Partners are all
activations that are a polynomial plus atoms, mixtures included.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, factorial
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...activations import Atom
from ...errors import MethodError
from ..jets import SIZES, SMALLEST_VARIANCE
from . import atom_kernels
from .slots import SLOTS

__all__ = [
    "HIGHEST",
    "add_single_moments",
    "has_powers",
    "low_part",
    "mean_errors",
    "pair_errors",
    "pair_slots",
]

#: The highest power; an atom of it has order 1 - HIGHEST.
HIGHEST = 5

_ORDERS = range(1 - HIGHEST, 3)
#: Column of the weights of the squares, the first ones that are powers.
_SQUARE = 3
#: Relative errors of values in tails: sums that lose more are replaced by integrals. Networks get
#: along with less, since their integrals are wanted relative to the sizes of the neurons.
LOST = 1e-10
LOST_IN_JETS = 1e-8
# Roundings of an evaluation whose arguments are exact.
_OWN = 8.0
#: A ramp as a row of the table of ``slots.py``.
_RAMP = np.array([[0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]])


class _Row(NamedTuple):
    """Coefficients of the polynomial; weights (widths, 7) of density, step, ramp, powers 2 to 5;
    squared widths, that of the powers, 0, first.
    """

    polynomial: Array
    weights: Array
    widths: Array


class LowPart(NamedTuple):
    """What is left of an activation without its powers, for the kernels that don't know these."""

    name: str
    polynomial: tuple[float, ...]
    atoms: tuple[Atom, ...]
    has_closed_form: bool = True
    waves: tuple[()] = ()
    sides: None = None


def has_powers(f: Any) -> bool:
    """Whether f is a polynomial plus atoms with a truncated power of degree 2 or more."""
    return any(atom.order < 0 for atom in f.atoms)


def low_part(f: Any) -> LowPart:
    """The polynomial of f and its atoms that are no powers."""
    for atom in f.atoms:
        if atom.order not in _ORDERS or (atom.order < 0 and atom.width > 0.0):
            raise MethodError(
                f"{f.name} contains an atom that the closed forms do not cover; truncated powers "
                f"up to {HIGHEST}, ramps, steps and smoothed delta functions are."
            )
    return LowPart(f.name, f.polynomial, tuple(atom for atom in f.atoms if atom.order >= 0))


@lru_cache(maxsize=128)
def _row(f: Any) -> _Row:
    widths = sorted({0.0, *(atom.width for atom in f.atoms)})
    weights = np.zeros((len(widths), len(_ORDERS)))
    for atom in f.atoms:
        weights[widths.index(atom.width), 2 - atom.order] += atom.weight
    polynomial = np.array(f.polynomial or (), dtype=np.float64)
    return _Row(polynomial, weights, np.array(widths) ** 2)


def pair_slots(f: Any, g: Any, gaussian: tuple[Array, ...], order: int, plain: bool) -> Array:
    """Moments of one pair at n points, in the slots of ``slots.py``, shape (n, 15).

    All products of which at least one factor is a power, for the others to be added.
    ``gaussian`` are C11, C12, C22, b1, b2, det; infinite moments are ``inf``.
    """
    from . import power_kernels  # compiled only where it is needed

    kernels: Any = power_kernels
    first = _row(f)
    second = _row(g)
    arguments = np.array(gaussian)
    found = np.zeros((gaussian[0].size, SLOTS[2]))
    frames = np.zeros((gaussian[0].size, 5))
    if first.polynomial.size or second.polynomial.size:
        kernels.polynomials_loop(
            first.polynomial,
            first.weights[0],
            second.polynomial,
            second.weights[0],
            arguments,
            order,
            found,
        )
    for wf, tf in zip(first.weights, first.widths, strict=True):
        for wg, tg in zip(second.weights, second.widths, strict=True):
            if wf.any() and wg.any() and (wf[_SQUARE:].any() or wg[_SQUARE:].any()):
                lost = LOST if plain else LOST_IN_JETS
                tables, _ = _tables(wf, tf, wg, tg, arguments, lost)
                kernels.slots_loop(wf, tf, wg, tg, arguments, tables, plain, order, found, frames)
    if plain:
        return found
    out = np.zeros_like(found)
    kernels.frame_loop(found, frames, arguments, order, out)
    return out


def _tables(
    wf: Array, tf: float, wg: Array, tg: float, arguments: Array, lost: float
) -> tuple[Array, Array]:
    """Tables (n, 6, 6) of G(i, j) for these weights and squared widths, and of their errors."""
    from . import power_table_kernels

    kernels: Any = power_table_kernels
    ramp_kernels: Any = atom_kernels
    tables = np.zeros((2, arguments.shape[1], HIGHEST + 1, HIGHEST + 1))
    top1, top2 = (int(np.flatnonzero(w)[-1]) - 1 for w in (wf, wg))
    if min(top1, top2) >= 0:  # not densities alone
        smoothed = _smoothed(arguments, tf, tg)
        V1, C12, V2, b1, b2, D = smoothed
        zeros = np.zeros(b1.size, dtype=np.int64)
        ramps = np.empty((b1.size, SIZES[1]))
        ramp_kernels.pair_jets_loop(_RAMP, zeros, zeros, smoothed, 1, ramps)
        tops = max(top1, 1), max(top2, 1)
        kernels.tables_loop(V1, C12, V2, D, b1, b2, ramps, *tops, lost, *tables)
    return tables[0], tables[1]


def _smoothed(arguments: Array, tf: float, tg: float) -> Array:
    """The arguments with variances that are inflated by squared widths, and their determinant."""
    C11, C12, C22, b1, b2, det = arguments
    D = np.maximum(det, 0.0) + tf * C22 + tg * C11 + tf * tg
    return np.array([C11 + tf, C12, C22 + tg, b1, b2, D])


def pair_errors(f: Any, g: Any, gaussian: tuple[Array, ...], orders: tuple[int, int]) -> Array:
    """What rounding does to the moments of :func:`pair_slots` (n,), in units of eps.

    The errors that the recursion adds up, and those of the arguments: a moment changes by its
    derivatives in means and covariance times these.
    """
    first = _row(f)
    second = _row(g)
    arguments = np.array(gaussian)
    total = np.zeros(arguments.shape[1])
    p, q = orders
    for wf, tf in zip(first.weights, first.widths, strict=True):
        for wg, tg in zip(second.weights, second.widths, strict=True):
            if not (wf.any() and wg.any() and (wf[_SQUARE:].any() or wg[_SQUARE:].any())):
                continue
            sizes = _Sizes(wf, tf, wg, tg, arguments)
            for a, b in zip(*np.nonzero(np.outer(wf, wg)), strict=True):
                if max(a, b) >= _SQUARE:
                    total += abs(wf[a] * wg[b]) * sizes.error(a - 1 - p, b - 1 - q)
    count = max(first.polynomial.size, second.polynomial.size)
    for j in range(count):
        factor = np.abs(arguments[1]) ** j / factorial(j)
        C11, _, C22, b1, b2, _ = arguments
        own = _polynomial_size(first.polynomial, C11, b1, p + j)
        total += factor * own * mean_errors(g, C22, b2, q + j)
        own = _polynomial_size(second.polynomial, C22, b2, q + j)
        total += factor * own * mean_errors(f, C11, b1, p + j)
    return total


def _polynomial_size(coefficients: Array, C: Array, b: Array, order: int) -> Array:
    """Mean of a derivative of a polynomial at N(b, C), all terms taken positive."""
    derivative = np.polynomial.polynomial.polyder(np.abs(coefficients), order)
    total = np.zeros_like(b)
    previous = np.zeros_like(b)
    power = np.ones_like(b)
    for n, coefficient in enumerate(derivative):
        total += coefficient * power
        previous, power = power, np.abs(b) * power + n * C * previous
    return total


def mean_errors(f: Any, C: Array, b: Array, order: int) -> Array:
    """What rounding does to E f^(order)(h) of the powers of f, in units of eps."""
    weights = _row(f).weights[0]
    A = _conditional(b, C)
    densities = _densities(b, C, order + 1)
    total = np.zeros_like(b)
    relative = _OWN + np.divide(b * b, C, out=np.zeros_like(b), where=C > SMALLEST_VARIANCE)
    for column in range(_SQUARE, weights.size):
        i = column - 1 - order
        if weights[column] == 0.0:
            continue
        if i < 0:
            size = relative * densities[-1 - i]
        else:
            size = relative * A[i] + np.abs(b) * (A[i - 1] if i > 0 else densities[0])
        total += abs(weights[column]) * size
    return total


def _conditional(mean: Array, variance: Array) -> Array:
    """Means (6, n) of T_j at N(mean, variance)."""
    from . import power_mean_kernels

    kernels: Any = power_mean_kernels
    out = np.empty((mean.size, HIGHEST + 1))
    kernels.conditional_means_loop(mean, variance, out)
    return np.ascontiguousarray(out.T)


def _densities(mean: Array, variance: Array, count: int) -> Array:
    """Sizes (count, n) of the derivatives of the density at 0 in the mean, all terms positive."""
    regular = variance > SMALLEST_VARIANCE
    V = np.where(regular, variance, 1.0)
    now = np.where(regular, np.exp(-0.5 * mean * mean / V) / np.sqrt(2.0 * np.pi * V), 0.0)
    previous = np.zeros_like(now)
    found = np.empty((count, mean.size))
    for k in range(count):
        found[k] = now
        previous, now = now, (np.abs(mean) * now + k * previous) / V
    return found


class _Sizes:
    """Sizes of the terms of G(i, j), and its errors in units of eps, at n points."""

    def __init__(self, wf: Array, tf: float, wg: Array, tg: float, arguments: Array) -> None:
        self.tables, self.errors = _tables(wf, tf, wg, tg, arguments, LOST)
        V1, C12, V2, b1, b2, D = _smoothed(arguments, tf, tg)
        self._arguments = V1, C12, V2, b1, b2
        i1, i2 = (np.where(V > SMALLEST_VARIANCE, 1.0 / V, 0.0) for V in (V1, V2))
        m1 = b2 - C12 * i1 * b1
        m2 = np.where(i1 * i2 > 0.0, b1 * (D * i1 * i2) - C12 * i2 * m1, b1 - C12 * i2 * b2)
        s1 = np.where(i1 > 0.0, D * i1, V2)
        s2 = np.where(i2 > 0.0, D * i2, V1)
        parallel = (D * i1 * i2 <= 0.0) & (np.abs(m1) <= 1e-15 * np.abs(b2))
        m1 = np.where(parallel, 0.0, m1)
        m2 = np.where(parallel, 0.0, m2)
        count = 2 * HIGHEST
        self._sides = (
            (np.abs(C12 * i1), _densities(b1, V1, count), _conditional(m1, s1), m1, s1),
            (np.abs(C12 * i2), _densities(b2, V2, count), _conditional(m2, s2), m2, s2),
        )
        self._bumps = _densities(m1, s1, count), _densities(m2, s2, count)
        self._relative = tuple(_OWN + b * b * i for b, i in ((b1, i1), (b2, i2)))

    def size(self, i: int, j: int) -> Array:
        """The sum of the terms of G(i, j), all taken positive."""
        if i >= 0 and j >= 0:
            return np.abs(self.tables[:, i, j])
        side, k, index = (0, -1 - i, j) if i < 0 else (1, -1 - j, i)
        g, densities, A, _, _ = self._sides[side]
        total = np.zeros_like(g)
        for l in range(k + 1):
            left = index - l
            own = A[left] if left >= 0 else self._bumps[side][-1 - left]
            total += comb(k, l) * g**l * densities[k - l] * own
        return total

    def error(self, i: int, j: int) -> Array:
        """The error of G(i, j) in units of eps."""
        V1, C12, V2, b1, b2 = self._arguments
        moved = np.abs(b1) * self.size(i - 1, j) + np.abs(b2) * self.size(i, j - 1)
        moved += np.abs(C12) * self.size(i - 1, j - 1)
        moved += V1 * self.size(i - 2, j) + V2 * self.size(i, j - 2)
        if i >= 0 and j >= 0:
            return self.errors[:, i, j] + moved
        return self._relative[0 if i < 0 else 1] * self.size(i, j) + moved


def add_single_moments(f: Any, C: Array, b: Array, out: Array) -> None:
    """Add those of the powers of f to ``out`` (n, m): ``E f^(p)(h)``; ``inf`` where infinite."""
    from . import power_mean_kernels  # compiled only where it is needed

    kernels: Any = power_mean_kernels
    kernels.single_moments_loop(_row(f).weights[0], C, b, out.shape[1] - 1, out)
