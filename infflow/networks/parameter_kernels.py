"""Jitted checks of parameter vectors."""

from __future__ import annotations

from ..compiler import njit


@njit(cache=True, fastmath={"reassoc"})
def all_finite(x):
    """Whether all entries of ``x`` ``(n,)`` are finite: zero times infinity or NaN is NaN."""
    total = 0.0
    for i in range(len(x)):  # by index, since numba makes no vectors of "for entry in x"
        total += x[i] * 0.0
    return total == 0.0
