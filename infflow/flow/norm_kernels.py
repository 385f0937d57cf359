"""Jitted norms of the step-size control."""

from __future__ import annotations

import numpy as np

from .._validation import Array
from ..compiler import njit


@njit(cache=True)
def weighted_rms(error: Array, z0: Array, z1: Array, atol: Array, rtol: float) -> float:
    """Root mean square of error_i / (atol_i + rtol max(|z0_i|, |z1_i|)); all arrays (n,)."""
    total = 0.0
    for i in range(len(error)):
        size = max(abs(z0[i]), abs(z1[i]))
        total += (error[i] / (atol[i] + rtol * size)) ** 2
    if not 0.0 < total < np.inf:  # squares may have left the range of numbers
        return _weighted_rms_in_range(error, z0, z1, atol, rtol)
    return np.sqrt(total / len(error))


@njit(cache=True)
def _weighted_rms_in_range(error: Array, z0: Array, z1: Array, atol: Array, rtol: float) -> float:
    """The same, relative to the largest component."""
    most = 0.0
    for i in range(len(error)):
        part = abs(error[i]) / (atol[i] + rtol * max(abs(z0[i]), abs(z1[i])))
        if not part <= most:
            most = part
    if most == 0.0 or not np.isfinite(most):
        return most
    total = 0.0
    for i in range(len(error)):
        total += (error[i] / (atol[i] + rtol * max(abs(z0[i]), abs(z1[i]))) / most) ** 2
    return most * np.sqrt(total / len(error))


@njit(cache=True)
def largest(x: Array) -> float:
    """Largest absolute value in ``x`` (n,); NaN where there is one."""
    found = 0.0
    for i in range(len(x)):
        size = abs(x[i])
        if not size <= found:
            if np.isnan(size):
                return size
            found = size
    return found


def weighted_rms_reference(error: Array, z0: Array, z1: Array, atol: Array, rtol: float) -> float:
    """The readable twin of :func:`weighted_rms`."""
    return float(np.sqrt(np.mean((error / (atol + rtol * np.maximum(abs(z0), abs(z1)))) ** 2)))
