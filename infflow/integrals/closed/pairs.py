r"""Closed forms: moments of polynomials plus atoms of one kernel.

Every activation with a closed form is a polynomial plus atoms ``a rho_tau^(k)`` of the smoothed
ramp ``rho_tau(x) = E_z relu(x + tau z)``. Products of atoms are derivatives of E[relu(h1) relu(h2)]
at inflated variances (``symbolic.py``); products with a polynomial are finite Mehler series. This
module packs activations into arrays and evaluates many pairs in one jitted loop. Values keep their
digits where a neuron is hardly ever active.

Degenerate points
-----------------
``det = C11 C22 - C12^2`` is an argument of its own: computed from the perpendicular part of one
weight vector it is accurate for nearly parallel neurons, where the difference of products is
rounding noise. At ``det = 0`` or ``C11 = 0`` all values are limits, and where kinks coincide (two
kinked neurons fully correlated with the kinks in the same place, or a kinked neuron with w = b =
0), in words of the orders k1, k2 of the kinks (ramp 0, step 1):

* A step at its place counts 1/2 (the mean over directions of approach).
* Order 1 never returns an infinite number: the singular part (the joint density at the kinks, or
  the density of a constant neuron) is dropped from J20, J11, J02, J10, J01. That is the mean over
  directions where the directional limits are opposite, and 0 for the multiple of w = 0 in J20 w;
  for two steps it is a convention.
* Order 2: infinite columns are ``inf``; the caller raises :class:`SingularMomentError` if it needs
  them. Ramp against ramp in parallel has none: F22 is 0 there, since it multiplies a a' = 0.
* ``pair_moments`` and ``single_moments`` return every infinite moment as ``inf``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ..jets import SIZES
from . import atom_kernels, powers
from . import waves as elementary
from .atoms import MANY_WIDTHS, AtomTable, has_means, is_centred
from .means import means_without_waves
from .slots import SLOT_P, SLOT_Q, SLOTS

if TYPE_CHECKING:
    from ...activations import Activation

__all__ = [
    "MANY_WIDTHS",
    "AtomTable",
    "is_centred",
    "is_defined",
    "pair_jets",
    "pair_moments",
    "single_moments",
]

Index = NDArray[np.int64]

_kernels: Any = atom_kernels  # mypy does not spread tuples into jitted functions


def is_defined(*activations: Activation) -> bool:
    """Whether one activation, or a pair, has a closed form.

    Polynomials plus atoms have one with each other; exponentials, sines and cosines with these,
    with elu, selu and each other. Other pairs with elu and selu are for ``elu.py``.
    """
    if all(f.has_closed_form for f in activations):
        return True
    if len(activations) == 1:
        return has_means(activations[0])
    return elementary.is_defined(*activations)


def pair_jets(
    table: AtomTable,
    f: Index,
    g: Index,
    pairs: Array,
    order: int,
    out: Array | None = None,
) -> Array:
    """Jets (see ``jets.py``) of n pairs of neurons; arguments are not checked.

    Parameters
    ----------
    table : AtomTable
    f, g : (n,) int64 arrays
        Numbers of the activations in the table.
    pairs : (6, n) array
        Covariances C11, C12, C22 and means b1, b2 of the two Gaussian arguments, and
        ``det = C11 C22 - C12^2``, accurate also where it is small.
    order : {0, 1, 2}
    out : (n, 1 | 6 | 21) array, optional

    Returns
    -------
    (n, 1), (n, 6) or (n, 21) array
        For order 0, 1, 2; infinite second derivatives are ``inf``.
    """
    if out is None:
        out = np.empty((f.shape[0], SIZES[order]))
    parts = _parts(table, f, g, pairs[0], pairs[2])
    if parts is None:
        table.jets_loop(table.rows, f, g, np.ascontiguousarray(pairs), order, out)
        return out
    for part, kind in parts:
        picked = np.ascontiguousarray(pairs[:, part])  # one layout, so that kernels compile once
        jets = np.empty((len(part), SIZES[order]))
        if kind == "atoms":
            table.jets_loop(table.rows, f[part], g[part], picked, order, jets)
        else:
            slots = _slots(kind, table, (f[part], g[part], *picked), False, order)
            _kernels.jets_from_slots(slots, picked, order, jets)
            if kind == "waves":
                _leave_out_infinite(table, f[part], g[part], jets)
        out[part] = jets
    for rows in table.with_powers(f, g):
        picked = np.ascontiguousarray(pairs[:, rows])
        slots = _slots("powers", table, (f[rows], g[rows], *picked), False, order)
        jets = np.empty((len(rows), SIZES[order]))
        _kernels.jets_from_slots(slots, picked, order, jets)
        first = jets[:, :6]
        first[np.isinf(first)] = 0.0
        out[rows] += jets
    return out


def _parts(
    table: AtomTable, f: Index, g: Index, C11: Array, C22: Array
) -> list[tuple[Index, str]] | None:
    """Rows of mixtures, of pairs with waves and of other pairs; None if there are only the last."""
    if table.only_atoms:
        return None
    mixtures = table.mixtures(f, g, C11, C22)
    waves = np.flatnonzero(table.waves[f] | table.waves[g])
    others = np.setdiff1d(np.arange(f.size), np.concatenate([mixtures, waves]), assume_unique=True)
    found = ((mixtures, "mixture"), (waves, "waves"), (others, "atoms"))
    return [(rows, kind) for rows, kind in found if len(rows)]


def _slots(kind: str, table: AtomTable, args: Any, plain: bool, order: int) -> Array:
    """Slots (n, 15) of pairs of mixtures, with waves or with truncated powers."""
    slots = np.empty((args[0].size, SLOTS[2]))
    if kind == "mixture":
        from . import mixture_kernels  # compiled only where it is needed

        mixtures: Any = mixture_kernels
        mixtures.mixture_slots_loop(table.rows, *args, plain, order, slots)
        return slots
    pairs = args[0] * len(table) + args[1]
    for pair in np.unique(pairs):
        rows = np.flatnonzero(pairs == pair)
        f, g = (table.activations[k] for k in divmod(int(pair), len(table)))
        C11, C12, C22, b1, b2, det = (x[rows] for x in args[2:8])
        of_pairs = powers.pair_slots if kind == "powers" else elementary.pair_slots
        slots[rows] = of_pairs(f, g, (C11, C12, C22, b1, b2, det), order, plain)
    return slots


def _leave_out_infinite(table: AtomTable, f: Index, g: Index, jets: Array) -> None:
    """Make order 1 of sines and cosines with constant neurons on their kink finite; exponentials
    overflow instead.
    """
    waves = [any(wave.rate.imag != 0.0 for wave in a.waves) for a in table.activations]
    kinked = np.array([bool(a.kinks) for a in table.activations])
    oscillating = np.array(waves, dtype=bool)
    rows = (oscillating[f] & kinked[g]) | (kinked[f] & oscillating[g])
    first = jets[rows, :6]
    first[np.isinf(first)] = 0.0
    jets[rows, :6] = first


def pair_moments(table: AtomTable, f: Index, g: Index, pairs: Array, p: int, q: int) -> Array:
    """``E[f^(p)(h1) g^(q)(h2)]`` of n pairs, p + q <= 4; infinite ones are ``inf``; arguments as
    in :func:`pair_jets`.
    """
    out = np.empty(f.shape[0])
    args: Any = (f, g, *np.ascontiguousarray(pairs))
    parts = _parts(table, f, g, pairs[0], pairs[2])
    if parts is None:
        _kernels.pair_moments_loop(table.rows, *args, p, q, out)
        return out
    slot = int(np.flatnonzero((p == SLOT_P) & (q == SLOT_Q))[0])
    for part, kind in parts:
        picked: Any = tuple(np.ascontiguousarray(x[part]) for x in args)
        values = np.empty(len(part))
        if kind == "atoms":
            _kernels.pair_moments_loop(table.rows, *picked, p, q, values)
        else:
            values = _slots(
                kind, table, picked, True, int(np.searchsorted(SLOTS, slot, side="right"))
            )[:, slot]
        out[part] = values
    for rows in table.with_powers(f, g):
        picked = tuple(np.ascontiguousarray(x[rows]) for x in args)
        highest = int(np.searchsorted(SLOTS, slot, side="right"))
        out[rows] += _slots("powers", table, picked, True, highest)[:, slot]
    return out


def single_moments(table: AtomTable, f: Index, C: Array, b: Array, max_order: int) -> Array:
    """``E f^(p)(h)`` with h ~ N(b, C) for p = 0 ... max_order <= 4, shape (n, max_order + 1);
    ``inf`` where infinite.
    """
    out = means_without_waves(table, f, C, b, max_order)
    for k in np.unique(f[table.waves[f]]):
        rows = np.flatnonzero(f == k)
        out[rows] = elementary.single_moments(table.activations[k], C[rows], b[rows], max_order)
    return out
