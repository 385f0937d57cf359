"""Tables smoothed by a Gaussian in closed form: polynomials, and polynomials with one kink.

Where a Gaussian of deviation sigma about m stays in the window of a piece, the mean of R_q is

    exp(sigma^2/2 d^2/dm^2) P_q(m),

a sum of even derivatives of the polynomial P_q. Where it reaches over one kink k into the next
piece, the difference D_q of both polynomials is added on the other side. Its Taylor series about k
ends, and with t = (m - k)/sigma

    E[D_q(m + sigma z) 1(m + sigma z > k)] = sum_j D_q^(j)(k) sigma^j / j! I_j(t),
    I_j(t) = E (t + z)_+^j,     I_0 = ndtr(t),   I_1 = t I_0 + phi(t),
    I_j = t I_j-1 + (j - 1) I_j-2.

Seen from the side where the mean is, t is negative, and the addition falls like the density.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from ..._validation import Array
from .panels import density
from .table import DERIVATIVE, FEW, Index, Table, vandermonde

__all__ = ["beyond_kinks", "smoothed_polynomials", "widest_at_kinks"]

# Terms of exp(sigma^2/2 d^2/dm^2), all that polynomials of a table have; and of a difference.
_TERMS = 12
_TERMS_BEYOND = 12
# What is left out, relative to the largest term.
_LEFT_OUT = 1e-17
# Terms that grow above the function by more than this lose digits.
_GROWTH = 8.0
# Deviations that are tried for each kink, in widths of its windows.
_TRIED = 2.0 ** -np.arange(0.0, 40.0, 0.5)
# Tables whose derivatives are kept.
_MOST_KEPT = 32


class _Even(NamedTuple):
    """Coefficients of d^2k/dt^2k of all pieces, k = 1, 2, ..., and the largest size of each term
    relative to that of the piece, over 2^k k!.
    """

    coefficients: tuple[Array, ...]
    sizes: tuple[float, ...]


class _Beyond(NamedTuple):
    """``terms`` (k, j, LEVELS): D_q^(j)/j! at the kinks; ``widest`` (k,): the largest sigma for
    which the sums keep their digits.
    """

    terms: Array
    widest: Array


class _Kept:
    """Derivatives of the tables that were used last."""

    def __init__(self, find: Any) -> None:
        self._find = find
        self._found: dict[int, tuple[Array, Any]] = {}

    def __call__(self, g: Table) -> Any:
        key = id(g.coefficients)
        found = self._found.get(key)
        if found is None or found[0] is not g.coefficients:
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            found = (g.coefficients, self._find(g))
            self._found[key] = found
        return found[1]


# -- polynomials -----------------------------------------------------------------------------------


def smoothed_polynomials(g: Table, mean: Array, sigma: Array) -> Array:
    """G (n, Q, LEVELS) at means (n, Q) of n panels that each lie in one piece of g."""
    piece = g.piece(mean[:, mean.shape[1] // 2])
    low, high = g.windows[piece].T
    half = 0.5 * (high - low)
    t = (mean - (0.5 * (low + high))[:, None]) / half[:, None]
    ratio = (sigma / half) ** 2
    coefficients = g.coefficients[piece]
    terms: _Even = _even(g)
    factor = np.ones(len(piece))
    largest = float(ratio.max(initial=0.0))
    for k in range(1, _TERMS):
        if largest == 0.0 or terms.sizes[k] * largest**k < 1e-18:
            break
        factor = factor * (0.5 * ratio / k)
        coefficients = coefficients + factor[:, None, None] * terms.coefficients[k - 1][piece]
    result: Array = vandermonde(t, g.degree) @ coefficients
    return result


def _find_even(g: Table) -> _Even:
    """Even derivatives of all pieces."""
    size = np.abs(g.coefficients).sum(axis=1)
    found = []
    sizes = [1.0]
    factor = 1.0
    current = g.coefficients
    twice = (DERIVATIVE @ DERIVATIVE)[: g.degree, : g.degree]
    for k in range(1, _TERMS):
        current = twice @ current
        factor *= 0.5 / k
        found.append(current)
        ratio = np.abs(current).sum(axis=1) / np.where(size > 0.0, size, 1.0)
        sizes.append(float(ratio.max(initial=0.0)) * factor)
    return _Even(tuple(found), tuple(sizes))


_even = _Kept(_find_even)


# -- kinks -----------------------------------------------------------------------------------------


def widest_at_kinks(g: Table) -> Array:
    """The largest deviations (k,) for which :func:`beyond_kinks` keeps its digits."""
    found: _Beyond = _beyond(g)
    return found.widest


def beyond_kinks(g: Table, mean: Array, sigma: Array, kink: Index) -> Array:
    """What the polynomial beyond one kink adds (n, Q, LEVELS) to that on the side of the means.

    Parameters
    ----------
    g : Table
    mean : (n, Q) array
        On one side of the kink in each row.
    sigma : (n,) array
        Positive, at most :func:`widest_at_kinks`.
    kink : (n,) integer array
        Numbers of the kinks.
    """
    terms = _beyond(g).terms
    distance = (mean - g.kinks[kink][:, None]) / sigma[:, None]
    side = np.where(distance[:, mean.shape[1] // 2] < 0.0, 1.0, -1.0)
    count = _needed(terms, float(sigma.max(initial=0.0)))
    # powers of the signed deviation, and the sign of the difference seen from the other side
    powers = (side * sigma)[:, None] ** np.arange(count) * side[:, None]
    weights = terms[kink, :count] * powers[..., None]
    result: Array = _ramps(side[:, None] * distance, count) @ weights
    return result


def _ramps(t: Array, count: int) -> Array:
    """I_j(t) = E (t + z)_+^j (*t.shape, count) for t up to about 0."""
    out = np.empty((*t.shape, count))
    out[..., 0] = ndtr(t)
    if count > 1:
        np.multiply(t, out[..., 0], out=out[..., 1])
        out[..., 1] += density(t)
    for j in range(2, count):
        out[..., j] = t * out[..., j - 1] + (j - 1) * out[..., j - 2]
    return out


def _needed(terms: Array, sigma: float) -> int:
    """How many terms of the differences matter at this deviation."""
    sizes = np.abs(terms).max(axis=(0, 2)) * _at_zero(terms.shape[1])
    sizes = sizes * sigma ** np.arange(len(sizes))
    matter = np.flatnonzero(sizes > _LEFT_OUT * sizes.max(initial=0.0))
    return int(matter.max(initial=0)) + 1


def _at_zero(count: int) -> Array:
    """I_j(0) for j < count."""
    result: Array = _ramps(np.zeros(1), count)[0]
    return result


def _find_beyond(g: Table) -> _Beyond:
    """Taylor coefficients of the differences at all kinks.

    Those of each derivative are of its own polynomials, since these are what was smoothed.
    """
    terms = np.zeros((len(g.kinks), g.degree, g.levels))
    after = np.clip(np.searchsorted(g.edges, g.kinks), 1, len(g.edges) - 2)
    differentiate = DERIVATIVE[: g.degree, : g.degree]
    for sign, piece in ((1.0, after), (-1.0, after - 1)):
        low, high = g.windows[piece].T
        half = 0.5 * (high - low)
        basis = vandermonde((g.kinks - 0.5 * (low + high)) / half, g.degree)
        current = g.coefficients[piece]
        for j in range(1, g.degree):
            current = differentiate @ current / (j * half)[:, None, None]
            terms[:, j] += sign * (basis[:, None] @ current)[:, 0]
    # differences within the errors are none
    terms[:, 0] = g.jumps
    return _Beyond(terms[:, :_TERMS_BEYOND], _widest(g, after, terms))


def _widest(g: Table, after: Index, terms: Array) -> Array:
    """The largest of the tried deviations at each kink for which all sums keep their digits."""
    if g.degree <= FEW:
        return np.full(len(g.kinks), np.inf)
    zero = _at_zero(g.degree)
    even: _Even = _even(g)
    out = np.zeros(len(g.kinks))
    for k, piece in enumerate(after):
        sides = [piece - 1, piece]
        half = 0.5 * (g.windows[sides, 1] - g.windows[sides, 0])
        size = np.abs(g.coefficients[sides]).sum(axis=1)  # (2, LEVELS)
        for sigma in _TRIED * half.min():
            sums = np.abs(terms[k]) * (zero * sigma ** np.arange(g.degree))[:, None]
            good = (sums[_TERMS_BEYOND:].sum(axis=0) <= _LEFT_OUT * size.max(axis=0)).all()
            good &= (sums[1:].sum(axis=0) <= _GROWTH * size.max(axis=0)).all()
            factor = 1.0
            grown = np.zeros_like(size)
            for n, part in enumerate(even.coefficients, start=1):
                factor *= 0.5 / n
                ratio = (sigma / half) ** (2 * n)
                grown += factor * ratio[:, None] * np.abs(part[sides]).sum(axis=1)
            good &= (grown <= _GROWTH * size).all()
            if good:
                out[k] = sigma
                break
    return out


_beyond = _Kept(_find_beyond)
