"""Jitted parts of Gear's method: the Taylor polynomial of the last steps, moved, scaled and
corrected.
"""

from __future__ import annotations

import numpy as np

from .._validation import Array
from ..compiler import njit


@njit(cache=True)
def predict(history: Array, order: int, ahead: Array) -> None:
    """The polynomial one step later: ``ahead[j] = sum_i binomial(i, j) history[i]``, all rows (n,),
    by additions.
    """
    for j in range(order + 1):
        for k in range(ahead.shape[1]):
            ahead[j, k] = history[j, k]
    for first in range(order):
        for j in range(order - 1, first - 1, -1):
            for k in range(ahead.shape[1]):
                ahead[j, k] += ahead[j + 1, k]


@njit(cache=True)
def correct(ahead: Array, order: int, shape: Array, error: Array, history: Array) -> None:
    """``history[j] = ahead[j] + shape[j] error`` for all rows up to ``order``; ``error`` (n,),
    ``shape`` (order + 1,).
    """
    for j in range(order + 1):
        for k in range(len(error)):
            history[j, k] = ahead[j, k] + shape[j] * error[k]


@njit(cache=True)
def rescale(history: Array, order: int, ratio: float) -> None:
    """Change the step size, in whose powers the polynomial is given, by this factor."""
    power = 1.0
    for j in range(1, order + 1):
        power *= ratio
        for k in range(history.shape[1]):
            history[j, k] *= power


@njit(cache=True)
def newton_residual(ahead: Array, point: Array, gradient: Array, shift: float, h: float) -> Array:
    """What is missing in the slope at ``point`` (n,): -gradient - y', where y' goes with the point
    by the formula.

    ``ahead`` is the predicted polynomial, whose rows 0 and 1 are the point and h times the slope.
    """
    residual = np.empty_like(point)
    for k in range(len(point)):
        residual[k] = shift * (ahead[0, k] - point[k]) - ahead[1, k] / h - gradient[k]
    return residual


@njit(cache=True)
def moved(
    point: Array, change: Array, damping: float, atol: Array, rtol: float
) -> tuple[Array, float]:
    """``point + damping change`` (n,), and the error norm of the difference."""
    new = np.empty_like(point)
    total = 0.0
    for k in range(len(point)):
        step = damping * change[k]
        new[k] = point[k] + step
        total += (step / (atol[k] + rtol * abs(new[k]))) ** 2
    return new, np.sqrt(total / len(point))


@njit(cache=True)
def difference(point: Array, ahead: Array, atol: Array, rtol: float) -> tuple[Array, float]:
    """What ``point`` (n,) differs by from the predicted one, ``ahead[0]``, and the error norm of
    it.
    """
    change = np.empty_like(point)
    total = 0.0
    for k in range(len(point)):
        change[k] = point[k] - ahead[0, k]
        total += (change[k] / (atol[k] + rtol * max(abs(point[k]), abs(ahead[0, k])))) ** 2
    return change, np.sqrt(total / len(point))
