"""Integrals over one Gaussian variable: E R_p(b + r x), root mean squares, and where neurons end.

``R_p`` is the derivative of order p away from kinks; see :mod:`infflow.integrals.numeric.delta` for
what the jumps add.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from .panels import Panels, cover, density, points, sums, table_values
from .table import LEVELS, Table, smallest_reach, table, values

__all__ = ["Means", "Neurons", "means", "neurons"]

#: Standard deviations to which the ranges of neurons go, and the share of E f^2 beyond that is
#: left out.
REACHES = (12.0, 14.0, 18.0, 24.0, 31.0, 38.0)
_LEFT_OUT = 1e-26
# The inner rule of a pair looks beyond the reach of a neuron, by so many standard deviations at
# most.
_MARGIN = 18.0
# Errors of a coarse table up to this are small enough, relative.
_ACCURATE = 1e-13
_EPS = float(np.finfo(np.float64).eps)


class Means(NamedTuple):
    """E R_p: ``value`` and ``error`` (n, LEVELS), from tables and rounding; ``square``: E R_p^2."""

    value: Array
    error: Array
    square: Array


class Neurons(NamedTuple):
    """Neurons f(b + r x) of one activation.

    ``reach`` (n,): standard deviations beyond which nothing matters. ``scale`` (n, LEVELS): what
    errors of the derivative of order p are relative to, sqrt(E R_p^2), and more where f has jumps
    of lower orders. ``error`` (n, LEVELS): root mean square error of the table.
    """

    found: Table
    r: Array
    b: Array
    reach: Array
    mean: Array
    rms: Array
    scale: Array
    error: Array

    @property
    def levels(self) -> int:
        """The number of function and derivatives."""
        return self.found.levels

    def take(self, rows: NDArray[Any]) -> Neurons:
        """Some of the neurons."""
        return Neurons(self.found, *(column[rows] for column in self[1:]))


def neurons(activation: Activation, r: Array, b: Array, levels: int = LEVELS) -> Neurons:
    """What the rules need to know of neurons, with ``levels`` - 1 derivatives.

    Where E f^2 is infinite or out of reach, the error is.
    """
    coarse = _neurons(activation, r, b, levels, fine=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(coarse.scale > 0.0, coarse.error / coarse.scale, 0.0)
    if (share <= _ACCURATE).all() and (coarse.scale[:, 0] > 0.0).all():
        return coarse
    return _neurons(activation, r, b, levels, fine=True)


def _neurons(activation: Activation, r: Array, b: Array, levels: int, fine: bool) -> Neurons:
    """Neurons by a coarse or a fine table."""
    n = len(r)
    reach = np.full(n, REACHES[0])
    mean, square, error = np.zeros((3, n, levels))
    left = np.arange(n)
    for longest in REACHES:
        largest = float((np.abs(b[left]) + longest * r[left]).max(initial=0.0))
        found = table(activation, smallest_reach(largest), fine, levels)
        part, ends = _moments(found, r[left], b[left], longest)
        mean[left], square[left], error[left] = part
        reach[left] = longest
        # nothing beyond matters where the ends are small beside the whole
        done = ends <= _LEFT_OUT * part[1]
        if not (part[1] > 0.0).all():
            done &= (part[1] > 0.0) | ~_appears(activation, r[left], b[left], levels)
        left = left[~(done.all(axis=1) | (r[left] <= 0.0))]
        if not len(left):
            break
    error[left[(square[left] > 0.0).any(axis=1)]] = np.inf
    rms = np.sqrt(square)
    largest = float((np.abs(b) + (reach + _MARGIN) * r).max(initial=0.0))
    found = table(activation, smallest_reach(largest), fine, levels)
    scale = _scale(found, r, rms)
    return Neurons(found, r, b, reach, mean, rms, scale, np.sqrt(error) + 4 * _EPS * rms)


def _appears(activation: Activation, r: Array, b: Array, levels: int) -> NDArray[np.bool_]:
    """Whether R_p (n, LEVELS) differs from 0 at all within the longest range."""
    longest = REACHES[-1] * r
    largest = float((np.abs(b) + longest).max(initial=0.0))
    found = table(activation, smallest_reach(largest), True, levels)
    pieces = np.abs(found.coefficients).max(axis=1) > 0.0
    count = np.concatenate([np.zeros((1, levels)), np.cumsum(pieces, axis=0)])
    result: NDArray[np.bool_] = (
        count[found.piece(b + longest) + 1] > count[found.piece(b - longest)]
    )
    return result


def _moments(found: Table, r: Array, b: Array, longest: float) -> tuple[Array, Array]:
    """E R_p, E R_p^2 and the mean square of the table's error, (3, n, LEVELS).

    And the squares times the density at the ends of the range, (n, LEVELS).
    """
    n = len(r)
    out = np.zeros((3, n, found.levels))
    still = r <= 0.0
    if still.any():
        piece = found.piece(b[still])
        jet = _at_points(found, b[still])
        out[0, still] = jet
        out[1, still] = jet**2
        out[2, still] = found.errors[piece] ** 2
    moving = np.flatnonzero(~still)
    ends = np.zeros((n, found.levels))
    if len(moving):
        s, c = r[moving], b[moving]
        limit = np.full(len(moving), longest)
        panels = cover(found, s, c, -limit, limit)
        x, w = points(panels)
        w = w * density(x)
        jet = table_values(found, panels, s, c, x)
        m = len(moving)
        with np.errstate(over="ignore", invalid="ignore"):
            out[0, moving] = sums(np.einsum("nq,nqp->np", w, jet), panels.row, m)
            out[1, moving] = sums(np.einsum("nq,nqp->np", w, jet**2), panels.row, m)
            mass = w.sum(axis=1)[:, None]
            squares = np.where(mass > 1e-60, found.errors[panels.piece] ** 2 * mass, 0.0)
            out[2, moving] = sums(squares, panels.row, m)
            ends[moving] = _ends(panels, x, jet, m)
    return out, ends


def _ends(panels: Panels, x: Array, jet: Array, n: int) -> Array:
    """R_p^2 times the density at the first and the last node of each row, the larger one."""
    out = np.zeros((n, jet.shape[2]))
    change = np.flatnonzero(np.diff(panels.row))
    for panel, node in (
        (np.concatenate([[0], change + 1]), 0),
        (np.concatenate([change, [len(panels.row) - 1]]), -1),
    ):
        found = jet[panel, node] ** 2 * density(x[panel, node])[:, None]
        np.maximum.at(out, panels.row[panel], found)
    return out


def _at_points(found: Table, b: Array) -> Array:
    """R_p(b), the mean of both sides at kinks."""
    aside = 1e-300
    right = values(found, found.piece(b), b[:, None])[:, 0]
    left = values(found, found.piece(np.nextafter(b - aside, -np.inf)), b[:, None])[:, 0]
    at = np.isin(b, found.kinks)
    return np.where(at[:, None], 0.5 * (left + right), right)


def _scale(found: Table, r: Array, rms: Array) -> Array:
    """Root mean squares; where a lower derivative jumps, also the lower ones over powers of r."""
    scale = rms.copy()
    jumping = np.abs(found.jumps).max(axis=0, initial=0.0) > 0.0
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for p in range(1, found.levels):
            if jumping[:p].any():
                below = np.where(r > 0.0, scale[:, p - 1] / r, np.inf)
                scale[:, p] = np.maximum(rms[:, p], below)
    return scale


def means(found: Table, r: Array, b: Array, reach: Array) -> Means:
    """E R_p at any (r, b), r >= 0, to ``reach`` (n,) standard deviations."""
    n = len(r)
    value, error, square = np.zeros((3, n, found.levels))
    still = r <= 0.0
    if still.any():
        jet = _at_points(found, b[still])
        value[still] = jet
        square[still] = jet**2
        error[still] = found.errors[found.piece(b[still])]
    moving = np.flatnonzero(~still)
    if len(moving):
        s = r[moving]
        c = b[moving]
        X = reach[moving]
        panels = cover(found, s, c, -X, X)
        x, w = points(panels)
        w = w * density(x)
        jet = table_values(found, panels, s, c, x)
        m = len(moving)
        value[moving] = sums(np.einsum("nq,nqp->np", w, jet), panels.row, m)
        square[moving] = sums(np.einsum("nq,nqp->np", w, jet**2), panels.row, m)
        mass = w.sum(axis=1)[:, None]
        uncertain = np.where(mass > 1e-60, found.errors[panels.piece] * mass, 0.0)
        error[moving] = sums(uncertain, panels.row, m)
        error[moving] += 4 * _EPS * np.sqrt(square[moving])
    return Means(value, error, square)


def products(neurons: Neurons) -> tuple[Array, Array]:
    """E R_p R_q of each neuron with itself (n, LEVELS, LEVELS), and errors of the table."""
    n = len(neurons.r)
    levels = neurons.levels
    out = np.zeros((n, levels, levels))
    still = neurons.r <= 0.0
    if still.any():
        jet = _at_points(neurons.found, neurons.b[still])
        out[still] = jet[:, :, None] * jet[:, None, :]
    moving = np.flatnonzero(~still)
    if len(moving):
        r = neurons.r[moving]
        b = neurons.b[moving]
        X = neurons.reach[moving]
        panels = cover(neurons.found, r, b, -X, X)
        x, w = points(panels)
        jet = table_values(neurons.found, panels, r, b, x)
        weighted = jet * (w * density(x))[..., None]
        per_panel = weighted.transpose(0, 2, 1) @ jet
        found = sums(per_panel.reshape(len(x), -1), panels.row, len(moving))
        out[moving] = found.reshape(-1, levels, levels)
    error = neurons.error[:, :, None] * neurons.rms[:, None, :]
    return out, error + error.transpose(0, 2, 1)
