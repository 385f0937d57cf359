"""Panels on which a table times a normal density is integrated by Gauss's rule.

All functions work on many neurons at once. Panels are flat arrays: one entry for each panel, with
the number of the neuron (row) that it belongs to.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._validation import Array
from .table import Index, Table, values

__all__ = ["NODES", "WEIGHTS", "Panels", "cover", "density", "sums"]

#: Gauss-Legendre on [-1, 1] for products of a table and a density.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
#: Panels are at most this wide in standard deviations. Gauss's rule of 16 nodes then integrates a
#: normal density times a polynomial of the table to rounding.
WIDEST = 3.0
_ROOT = float(np.sqrt(2.0 * np.pi))


class Panels(NamedTuple):
    """Intervals [low, high] in standard deviations, within one piece of the table each; (n,)."""

    row: Index
    piece: Index
    low: Array
    high: Array


def density(x: Array) -> Array:
    """Standard normal density."""
    y: Array = np.exp(-0.5 * x * x) / _ROOT
    return y


def spread(counts: Index) -> tuple[Index, Index]:
    """For runs of these lengths, one after another: number of the run, place in the run."""
    run = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    return run, np.arange(len(run)) - start[run]


def cover(
    found: Table, r: Array, b: Array, low: Array, high: Array, widest: float = WIDEST
) -> Panels:
    """Panels of f(b + r x) for ``low <= x <= high``, all (n,) arrays, r > 0."""
    first = found.piece(b + r * low)
    last = found.piece(b + r * high)
    row, place = spread(last - first + 1)
    piece = first[row] + place
    left, right = ((found.edges[piece + k] - b[row]) / r[row] for k in (0, 1))
    left = np.where(place == 0, low[row], np.clip(left, low[row], high[row]))
    right = np.where(piece == last[row], high[row], np.clip(right, low[row], high[row]))
    parts = np.maximum(np.ceil((right - left) / widest), 0.0).astype(np.int64)
    run, place = spread(parts)
    step = (right - left)[run] / parts[run]
    start = left[run] + place * step
    end = np.where(place == parts[run] - 1, right[run], start + step)
    return Panels(row[run], piece[run], start, end)


def points(panels: Panels) -> tuple[Array, Array]:
    """Nodes and weights (n, Q) of all panels."""
    half = 0.5 * (panels.high - panels.low)
    x = 0.5 * (panels.high + panels.low)[:, None] + half[:, None] * NODES
    return x, half[:, None] * WEIGHTS


def sums(columns: Array, row: Index, rows: int) -> Array:
    """Sums (rows, m) of the columns (n, m) over the panels of each row."""
    out = np.zeros((rows, columns.shape[1]))
    for k in range(columns.shape[1]):
        out[:, k] = np.bincount(row, weights=columns[:, k], minlength=rows)
    return out


def table_values(found: Table, panels: Panels, r: Array, b: Array, x: Array) -> Array:
    """Function and derivatives (n, Q, LEVELS) at the nodes x of the panels."""
    h = b[panels.row, None] + r[panels.row, None] * x
    return values(found, panels.piece, h)
