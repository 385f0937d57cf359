"""Means of single activations in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._validation import Array
from ...errors import MethodError
from . import atom_mean_kernels, elu, powers
from .atoms import AtomTable, Index
from .slots import MAX_ORDER

__all__ = ["means_without_waves"]

_kernels: Any = atom_mean_kernels  # mypy does not spread tuples into jitted functions


def means_without_waves(table: AtomTable, f: Index, C: Array, b: Array, max_order: int) -> Array:
    """``E f^(p)(h)`` (n, max_order + 1) as :func:`.pairs.single_moments`, of activations without
    waves.
    """
    if not 0 <= max_order <= MAX_ORDER:
        raise MethodError(f"max_order is {max_order}; 0 to {MAX_ORDER} is needed.")
    out = np.empty((f.shape[0], max_order + 1))
    _kernels.single_moments_loop(table.rows, f, C, b, max_order, out)
    for k in np.unique(f[table.powers[f]]):
        rows = np.flatnonzero(f == k)
        own = out[rows]
        powers.add_single_moments(table.activations[k], C[rows], b[rows], own)
        out[rows] = own
    for k in np.unique(f[table.one_sided[f]]):
        rows = np.flatnonzero(f == k)
        out[rows] = elu.single_moments(table.activations[k], C[rows], b[rows], max_order)
    return out
