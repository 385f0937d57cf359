"""What jumps add to moments: derivatives of activations with kinks contain delta functions.

With J_m(k) the jump of f^(m) at the kink k,

    f^(p) = R_p + sum_k sum_{m < p} J_m(k) delta^(p-1-m)(h - k),

and a delta function leaves one integral over the conditional density of the other argument,

    E[delta^(j)(h1 - k) R_q(h2)] = d^j/db1^j { n1(k) E[R_q(h2) | h1 = k] }.

Its derivatives in the conditional mean m = b2 + c1 (k - b1), c1 = C12/C11, meet jumps of g, too.
All products of two delta functions, which grow without limit as |u| -> 1, are collected apart from
the others: they are derivatives of the bivariate density. Of those, the product of two corners (J_1
of both) belongs to the moments of order four alone, and in the frame of `jets.py` to F22 and F11
alone. It is returned by itself, so that the others keep their digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, factorial
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from .means import Means, Neurons, means
from .panels import density
from .table import LEVELS, Table

__all__ = ["Jumps", "bumps", "corner_moments", "deltas", "mean_derivatives", "moved_kinks"]

_EPS = float(np.finfo(np.float64).eps)
# Kinks nearer to each other than this, in units of rounding, coincide.
_SAME = 8 * _EPS


class Jumps(NamedTuple):
    """Contributions (n, LEVELS, LEVELS), and their errors.

    ``rounding`` is apart from ``error``: how far rounding of the arguments moves the result, and
    what products of two delta functions have wrong relative to their own size.
    ``corners`` (n,) is the sum over kinks of J_1 J_1' times the bivariate density, which is *not*
    part of ``value``; infinite where kinks of parallel neurons coincide.
    """

    value: Array
    error: Array
    rounding: Array
    corners: Array


def bumps(distance: Array, s: Array, count: int) -> Array:
    """``E delta^(k)(h - c)`` (count, n), k = 0, 1, ..., of h with deviation s.

    ``distance`` is c - E h. For s = 0 they are infinite at distance 0, and else 0.
    """
    out = np.empty((count, len(s)))
    wide = s > 0.0
    inverse = np.divide(1.0, s, out=np.ones_like(s), where=wide)
    z = distance * inverse
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.multiply(density(z), inverse, out=out[0])
        if count > 1:
            out[1] = z * out[0] * inverse
        for k in range(2, count):
            out[k] = (z * out[k - 1] - (k - 1) * out[k - 2] * inverse) * inverse
    out[:, ~(wide & (np.abs(z) < 38.0))] = 0.0
    out[:, ~wide & (distance == 0.0)] = np.inf
    return out


def corner_moments(corners: Array, c1: Array, c2: Array) -> Array:
    """What ``corners`` adds to the moments (n, LEVELS, LEVELS)."""
    out = np.zeros((len(corners), LEVELS, LEVELS))
    with np.errstate(invalid="ignore"):
        out[:, 4, 0] = c1**2 * corners
        out[:, 3, 1] = -c1 * corners
        out[:, 2, 2] = corners
        out[:, 1, 3] = -c2 * corners
        out[:, 0, 4] = c2**2 * corners
    return np.where(corners[:, None, None] == 0.0, 0.0, out)


def mean_derivatives(found: Table, r: Array, b: Array, part: Means) -> tuple[Array, Array]:
    """``d^p/db^p E f(b + r x)`` (n, LEVELS) and errors: the regular means plus those of jumps."""
    value = part.value.copy()
    error = part.error.copy()
    jumps = found.jumps
    for k in np.flatnonzero((jumps[:, :-1] != 0.0).any(axis=1)):
        bump = bumps(found.kinks[k] - b, r, found.levels - 1)
        for p in range(1, found.levels):
            for m in range(p):
                if jumps[k, m] != 0.0:
                    share = 8 * _EPS * abs(jumps[k, m]) + found.uncertain[k, m]
                    value[:, p] += jumps[k, m] * bump[p - 1 - m]
                    error[:, p] += share * np.abs(bump[p - 1 - m])
    return value, error


def deltas(first: Neurons, second: Neurons, u: Array, s: Array, Z: tuple[Array, Array]) -> Jumps:
    """All that contains delta functions, for n pairs with r1, r2 > 0.

    ``Z`` are the reaches of the conditional distributions of h2 and of h1.
    """
    n = len(u)
    levels = first.levels
    out = _none(n, levels)
    if levels == 1:
        return out
    _one_side(first, second, u, s, Z[0], out)
    swapped = _none(n, levels)
    _one_side(second, first, u, s, Z[1], swapped)
    for whole, part in zip(out[:3], swapped[:3], strict=True):
        whole += part.transpose(0, 2, 1)
    _both_sides(first, second, u, s, out)
    return out


def _none(n: int, levels: int) -> Jumps:
    """No contribution."""
    value, error, rounding = np.zeros((3, n, levels, levels))
    return Jumps(value, error, rounding, np.zeros(n))


def _conditional(
    first: Neurons, second: Neurons, u: Array, kink: float
) -> tuple[Array, Array, Array]:
    """Slope of h2 on h1, conditional mean of h2 at h1 = kink, and how far rounding moves it."""
    slope = second.r * u / first.r
    mean = second.b + slope * (kink - first.b)
    size = np.abs(second.b) + np.abs(slope) * (abs(kink) + np.abs(first.b))
    return slope, mean, _SAME * size


def _one_side(first: Neurons, second: Neurons, u: Array, s: Array, Z: Array, out: Jumps) -> None:
    """Delta functions of f with the regular part of g."""
    jumps = first.found.jumps
    uncertain = first.found.uncertain
    active = np.flatnonzero((jumps[:, :-1] != 0.0).any(axis=1))
    if not len(active):
        return
    n = len(u)
    sigma = second.r * s
    slope = second.r * u / first.r
    kinks = first.found.kinks[active]
    shape = (len(active), n)
    centre = np.empty(shape)
    rounding = np.empty(shape)
    for k, kink in enumerate(kinks):
        _, mean, rounding[k] = _conditional(first, second, u, kink)
        centre[k] = _snapped(mean, rounding[k], sigma, second.found)
    sigmas = np.tile(sigma, len(active))
    part = means(second.found, sigmas, centre.ravel(), np.tile(Z, len(active)))
    rms = np.sqrt(part.square)
    moved = _moved(second.found, sigmas, centre.ravel(), rounding.ravel(), rms)
    # derivatives first, then kinks and pairs
    M, error, moved = (x.T.reshape(-1, *shape) for x in (part.value, part.error, moved))
    A = bumps(
        (kinks[:, None] - first.b).ravel(), np.tile(first.r, len(active)), first.levels - 1
    ).reshape(-1, *shape)
    powers = [(-slope) ** i for i in range(first.levels)]
    for m in np.flatnonzero((jumps[active] != 0.0).any(axis=0)):
        jump = jumps[active, m][:, None]
        some = jump != 0.0
        share = np.divide(uncertain[active, m][:, None], np.abs(jump), where=some, out=0 * jump)
        share += 16 * _EPS
        # errors that belong to each derivative of E R_q
        wrong = error + share * np.abs(M)
        for p in range(m + 1, first.levels):
            j = p - 1 - m
            for i in range(j + 1):
                factor = comb(j, i) * powers[i] * jump * A[j - i]
                size = np.abs(factor)
                for q in range(first.levels - p):
                    out.value[:, p, q] += (factor * M[q + i]).sum(axis=0)
                    out.error[:, p, q] += (size * wrong[q + i]).sum(axis=0)
                    out.rounding[:, p, q] += (size * moved[q + i]).sum(axis=0)


def _snapped(mean: Array, rounding: Array, sigma: Array, g: Table) -> Array:
    """Conditional means; those of parallel neurons within rounding of a kink are on it."""
    for kink in g.kinks:
        at = (sigma == 0.0) & (np.abs(mean - kink) <= rounding + _SAME * abs(kink))
        mean = np.where(at, kink, mean)
    return mean


def _moved(g: Table, sigma: Array, mean: Array, rounding: Array, rms: Array) -> Array:
    """How far rounding of the mean moves E R_q (n, LEVELS)."""
    out = np.zeros((len(mean), g.levels))
    # the derivative of E R_q in the mean is E R_q+1, and jumps
    out[:, :-1] = rounding[:, None] * rms[:, 1:]
    for k, jump in zip(g.kinks, g.jumps, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            near = np.where(sigma > 0.0, density((k - mean) / sigma) / sigma, 0.0)
        out += (rounding * near)[:, None] * np.abs(jump)
    return out


def moved_kinks(first: Neurons, second: Neurons) -> Array:
    """How far rounding of h2 moves regular parts (n, levels, levels) at the kinks of g.

    The kinks of f stand at (k - b1)/r1, which is exact to rounding of itself. Those of g are met
    where h2 = b2 + r2 (u x + s z) passes k, which is rounded relative to b2: small neurons next to
    a kink other than 0 lose digits.
    """
    rounding = _SAME * (np.abs(second.b) + second.r)
    found = second.found
    moved = np.zeros((len(second.r), found.levels))
    for k, jump in zip(found.kinks, found.jumps, strict=True):
        near = bumps(k - second.b, second.r, 1)[0]
        moved += (rounding * near)[:, None] * np.abs(jump)
    result: Array = first.rms[:, :, None] * moved[:, None, :]
    return result


def _both_sides(first: Neurons, second: Neurons, u: Array, s: Array, out: Jumps) -> None:
    """Products of delta functions of f and g, and of delta functions with jumps of the other."""
    c1 = second.r * u / first.r
    c2 = first.r * u / second.r
    for kink, J, dJ in _kinks(first.found):
        for other, K, dK in _kinks(second.found):
            orders = [
                (m, l)
                for m in range(3)
                for l in range(3 - m)
                if m + l < first.levels - 2 and J[m] != 0.0 and K[l] != 0.0
            ]
            if not orders:
                continue
            alone = orders == [(1, 1)]
            A, B, uncertain = _densities(first, second, u, s, (kink, other), 1 if alone else 4)
            if not alone:
                C, D, _ = _densities(second, first, u, s, (other, kink), 4)
            for m, l in orders:
                weight = J[m] * K[l]
                share = 16 * _EPS + dJ[m] / abs(J[m]) + dK[l] / abs(K[l])
                if (m, l) == (1, 1):
                    with np.errstate(invalid="ignore"):
                        found = A[0] * B[0]
                    out.corners[:] += weight * np.where(A[0] == 0.0, 0.0, found)
                    size = np.abs(weight) * A[0] * uncertain[0]
                    out.rounding[:] += np.abs(corner_moments(size, c1, c2))
                    size = np.where(np.isfinite(found), share * np.abs(weight * found), 0.0)
                    out.rounding[:] += np.abs(corner_moments(size, c1, c2))
                    continue
                _products(weight, m, l, (c1, A, B), (c2, C, D), (uncertain, share), out)


def _kinks(found: Table) -> Iterator[tuple[float, Array, Array]]:
    """Place of each kink, jumps there and their errors."""
    return zip(found.kinks, found.jumps, found.uncertain, strict=True)


def _densities(
    first: Neurons, second: Neurons, u: Array, s: Array, kinks: tuple[float, float], count: int
) -> tuple[Array, Array, Array]:
    """Density of h1 at its kink, conditional density of h2 at its own, derivatives (count, n).

    And how far rounding of the conditional mean moves the latter.
    """
    kink, other = kinks
    _, mean, rounding = _conditional(first, second, u, kink)
    sigma = second.r * s
    distance = other - mean
    coincide = (sigma == 0.0) & (np.abs(distance) <= rounding + _SAME * abs(other))
    distance = np.where(coincide, 0.0, distance)
    A = bumps(kink - first.b, first.r, count)
    B = bumps(distance, sigma, count)
    uncertain = np.zeros_like(B)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        envelope = np.exp(-0.25 * (distance / sigma) ** 2)
        for k in range(count):
            size = np.sqrt(factorial(k + 1)) * envelope / sigma ** (k + 2)
            uncertain[k] = np.where(sigma > 0.0, (rounding + _SAME * abs(other)) * size, 0.0)
    return A, B, uncertain


def _products(
    weight: float,
    m: int,
    l: int,
    along: tuple[Array, Array, Array],
    across: tuple[Array, Array, Array],
    errors: tuple[Array, float],
    out: Jumps,
) -> None:
    """Add ``weight`` times the derivatives of the bivariate density that jumps m and l make."""
    uncertain, share = errors
    levels = out.value.shape[1]
    for p in range(levels):
        for q in range(levels - p):
            j, k = p - 1 - m, q - 1 - l
            if j >= 0:
                slope, A, B = along
                terms = [(comb(j, i), i, j - i, k + i) for i in range(j + 1) if k + i >= 0]
            elif k >= 0:
                slope, A, B = across
                terms = [(comb(k, i), i, k - i, j + i) for i in range(k + 1) if j + i >= 0]
            else:
                continue
            for count, i, a, b in terms:
                with np.errstate(invalid="ignore"):
                    factor = weight * count * (-slope) ** i * A[a]
                    term = np.where(factor == 0.0, 0.0, factor * B[b])
                    out.value[:, p, q] += term
                    finite = np.where(np.isfinite(term), np.abs(term), 0.0)
                    out.rounding[:, p, q] += share * finite
                    out.rounding[:, p, q] += np.abs(factor) * uncertain[b]
