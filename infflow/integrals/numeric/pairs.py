"""All moments of pairs of one activation with another: regular parts, jumps, constant neurons."""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from .conditional import regular_moments
from .jumps import bumps, deltas, mean_derivatives, moved_kinks
from .means import REACHES, Means, Neurons, products
from .series import LARGEST, expansions, longest, series
from .table import LEVELS, Index

__all__ = ["PairMoments", "pair_moments", "square_derivatives"]

_EPS = float(np.finfo(np.float64).eps)
# See `conditional.py`.
_REACH = 8.5
# Error of a series, relative, above which the pair goes to the conditional rule.
_ALLOWED = 4e-12
# Sums p + q.
_SUMS = np.add.outer(np.arange(LEVELS), np.arange(LEVELS))


class PairMoments(NamedTuple):
    """Moments of n pairs.

    ``value`` (n, LEVELS, LEVELS): I(p, q) but for ``corners`` (n,), see :mod:`.jumps`. ``error`` of
    the rules and tables, ``rounding`` of the arguments (which no method escapes); ``scale`` is what
    errors are relative to. ``work`` (n,): nodes.
    """

    value: Array
    corners: Array
    error: Array
    rounding: Array
    scale: Array
    work: Index


def pair_moments(
    first: Neurons, second: Neurons, i: Index, j: Index, u: Array, s: Array
) -> PairMoments:
    """I(p, q) of the pairs i, j of neurons.

    Parameters
    ----------
    first, second : Neurons
        Of one activation each.
    i, j : (n,) integer arrays
        Neurons of the pairs, in ``first`` and ``second``.
    u, s : (n,) arrays
        Correlation, and sqrt(1 - u^2), which has to be accurate where it is small.
    """
    n = len(u)
    levels = first.levels
    out = PairMoments(
        np.zeros((n, levels, levels)),
        np.zeros(n),
        np.zeros((n, levels, levels)),
        np.zeros((n, levels, levels)),
        first.scale[i][:, :, None] * second.scale[j][:, None, :],
        np.zeros(n, dtype=np.int64),
    )
    left = np.ones(n, dtype=bool)
    still = np.flatnonzero((first.r[i] <= 0.0) | (second.r[j] <= 0.0))
    if len(still):
        _product(first.take(i[still]), second.take(j[still]), still, out)
        left[still] = False
    moderate = np.flatnonzero(left & (np.abs(u) <= LARGEST))
    if len(moderate):
        done = _by_series(first, second, i[moderate], j[moderate], u[moderate], moderate, out)
        left[done] = False
    rest = np.flatnonzero(left)
    if len(rest):
        _joint(first.take(i[rest]), second.take(j[rest]), u[rest], s[rest], rest, out)
    # what the tables have wrong, relative to the functions
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.where(a.scale > 0.0, a.error / a.scale, 0.0) for a in (first, second)]
        table = (shares[0][i][:, :, None] + shares[1][j][:, None, :] + 32 * _EPS) * out.scale
        # and rounding of x^2 / 2 where all of the moments come from far out
        far = np.maximum(first.reach[i], second.reach[j])
        table += np.where(far > REACHES[0], _EPS * far**2, 0.0)[:, None, None] * out.scale
    out.error[:] += np.where(out.scale > 0.0, table, 0.0)
    return out


def _by_series(
    first: Neurons, second: Neurons, i: Index, j: Index, u: Array, rows: Index, out: PairMoments
) -> Index:
    """Pairs of moderate correlation; returns those whose series are long enough."""
    if first is second:
        needed, both = np.unique(np.concatenate([i, j]), return_inverse=True)
        i, j = both[: len(i)], both[len(i) :]
        count = longest(u, len(needed))
        left = right = expansions(first.take(needed), count)
    else:
        needed, i = np.unique(i, return_inverse=True)
        others, j = np.unique(j, return_inverse=True)
        count = longest(u, len(needed) + len(others))
        left = expansions(first.take(needed), count)
        right = expansions(second.take(others), count)
    value, error = series(left, right, i, j, u)
    levels = first.levels
    used = _SUMS[:levels, :levels] < levels
    scale = np.where(np.isfinite(out.scale[rows]), out.scale[rows], np.inf)
    good = ~(error > _ALLOWED * scale)[:, used].any(axis=1)
    done: Index = rows[good]
    out.value[done] = value[good]
    out.error[done] = error[good]
    out.work[done] = count
    return done


def _joint(
    first: Neurons, second: Neurons, u: Array, s: Array, rows: Index, out: PairMoments
) -> None:
    """Pairs of neurons that both vary."""
    regular = regular_moments(first, second, u, s)
    Z = tuple(_REACH + s * np.maximum(a.reach - _REACH, 0.0) for a in (second, first))
    jumps = deltas(first, second, u, s, (Z[0], Z[1]))
    with np.errstate(invalid="ignore"):
        out.value[rows] = regular.value + jumps.value
    out.corners[rows] = jumps.corners
    out.error[rows] = regular.error + jumps.error
    out.rounding[rows] = jumps.rounding + moved_kinks(first, second)
    out.work[rows] = regular.work


def _product(first: Neurons, second: Neurons, rows: Index, out: PairMoments) -> None:
    """Pairs with a neuron that is constant."""
    (a, da), (c, dc) = (
        mean_derivatives(x.found, x.r, x.b, Means(x.mean, x.error, x.rms**2))
        for x in (first, second)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        value = a[:, :, None] * c[:, None, :]
        value = np.where((a[:, :, None] == 0.0) | (c[:, None, :] == 0.0), 0.0, value)
        error = np.abs(a)[:, :, None] * dc[:, None, :] + da[:, :, None] * np.abs(c)[:, None, :]
    out.value[rows] = value
    out.error[rows] = np.where(np.isfinite(error), error, 0.0)
    out.work[rows] = 1


def square_derivatives(neurons: Neurons) -> tuple[Array, Array, Array]:
    """``d^n/db^n E f(b + r x)^2`` (neurons, LEVELS), errors, and what they are relative to."""
    regular, error = products(neurons)
    levels = neurons.levels
    value, bound, scale = np.zeros((3, len(neurons.r), levels))
    found = neurons.found
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(levels):
            for k in range(n + 1):
                value[:, n] += comb(n, k) * regular[:, k, n - k]
                bound[:, n] += comb(n, k) * error[:, k, n - k]
                scale[:, n] += comb(n, k) * neurons.scale[:, k] * neurons.scale[:, n - k]
        for kink, left, right in zip(found.kinks, found.left, found.right, strict=True):
            if levels == 1:
                break
            bump = bumps(kink - neurons.b, neurons.r, levels - 1)
            for m in range(levels - 1):
                jump = sum(
                    comb(m, k) * (right[k] * right[m - k] - left[k] * left[m - k])
                    for k in range(m + 1)
                )
                if jump == 0.0:
                    continue
                for n in range(m + 1, levels):
                    term = jump * bump[n - 1 - m]
                    value[:, n] += term
                    bound[:, n] += 8 * _EPS * np.where(np.isfinite(term), np.abs(term), 0.0)
    return value, bound, scale
