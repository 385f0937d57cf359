"""Closed forms of truncated powers with each other, polynomials and smoothed ramps.

Truncated powers ``T_n(x) = max(x, 0)^n/n!`` are atoms of order 1 - n, integrals of the ramp. Their
kernels (``power_kernels.py``) are compiled only where an activation has one. Partners are all
activations that are a polynomial plus atoms, mixtures included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...errors import MethodError
from .atom_kernels import SLOTS

if TYPE_CHECKING:
    pass

__all__ = ["HIGHEST", "has_powers", "pair_slots", "single_moments"]

#: The highest power; an atom of it has order 1 - HIGHEST.
HIGHEST = 5

_ORDERS = range(1 - HIGHEST, 3)


class _Row(NamedTuple):
    """Coefficients of the polynomial; weights (widths, 7) of density, step, ramp, powers 2 to 5;
    squared widths, ascending.
    """

    polynomial: Array
    weights: Array
    widths: Array


def has_powers(f: Any) -> bool:
    """Whether f is a polynomial plus atoms with a truncated power of degree 2 or more."""
    return any(atom.order < 0 for atom in f.atoms)


@lru_cache(maxsize=128)
def _row(f: Any) -> _Row:
    widths = sorted({atom.width for atom in f.atoms})
    weights = np.zeros((len(widths), len(_ORDERS)))
    for atom in f.atoms:
        if atom.order not in _ORDERS or (atom.order < 0 and atom.width > 0.0):
            raise MethodError(
                f"{f.name} contains an atom that the closed forms do not cover; truncated powers "
                f"up to {HIGHEST}, ramps, steps and smoothed delta functions are."
            )
        weights[widths.index(atom.width), 2 - atom.order] += atom.weight
    polynomial = np.array(f.polynomial or (), dtype=np.float64)
    return _Row(polynomial, weights, np.array(widths) ** 2)


def pair_slots(f: Any, g: Any, gaussian: tuple[Array, ...], order: int, plain: bool) -> Array:
    """Moments of one pair at n points, in the slots of ``atom_kernels``, shape (n, 15).

    ``gaussian`` are C11, C12, C22, b1, b2, det; infinite moments are ``inf``.
    """
    from . import power_kernels  # compiled only where it is needed

    kernels: Any = power_kernels
    out = np.zeros((gaussian[0].size, SLOTS[2]))
    kernels.slots_loop(*_row(f), *_row(g), *gaussian, plain, order, out)
    return out


def single_moments(f: Any, C: Array, b: Array, max_order: int) -> Array:
    """``E f^(p)(h)``, p = 0 ... max_order, shape (n, max_order + 1); ``inf`` where infinite."""
    from . import power_kernels  # compiled only where it is needed

    kernels: Any = power_kernels
    out = np.empty((C.size, max_order + 1))
    kernels.single_moments_loop(*_row(f), C, b, max_order, out)
    return out
