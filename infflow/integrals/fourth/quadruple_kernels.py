"""Moments of quadruples of neurons with their derivatives, on plain arrays."""

from __future__ import annotations

import numpy as np

from ...compiler import njit
from .orthant_kernels import POWER, moment


@njit(cache=True)
def row_covariance(unit, width2, k, C, D):
    """Covariance of the variables of a row, smoothing included."""
    for x in range(k):
        for y in range(k):
            D[x, y] = C[unit[x], unit[y]]
        D[x, x] += width2[x]


@njit(cache=True)
def lowered(code, x, factor):
    """The factor of the derivative of variable x, and its code in place; 0 for constants."""
    if code[x] == POWER:
        return 0.0
    if code[x] > POWER:
        factor *= code[x] - POWER
        code[x] -= 1
    else:
        code[x] += 1
    return factor


@njit(cache=True)
def second_derivative(code, x, y, factor, D, k):
    """The factor times E[d_x d_y G] of a row."""
    changed = code.copy()
    factor = lowered(changed, x, factor)
    if factor != 0.0:
        factor = lowered(changed, y, factor)
    return factor * moment(changed, D, k) if factor != 0.0 else 0.0


@njit(cache=True)
def place_of(unit, quadruple):
    """The first place of a neuron in a quadruple."""
    for s in range(4):
        if quadruple[s] == unit:
            return s
    return 0


@njit(cache=True)
def quadruple_moments(
    coefficient, count, code, unit, width2, owner, quadruples, C, order, value, first, second
):
    """Moments of all quadruples, and means of their derivatives in the pre-activations.

    Parameters
    ----------
    coefficient (rows,), count (rows,), code (rows, 4), unit (rows, 4), width2 (rows, 4), owner
        Rows, each with the quadruple to which it belongs.
    quadruples : (Q, 4)
    C : (n, n)
    order : int
        1 for means of first derivatives, 2 for those of second ones.
    value : (Q,), first : (Q, 4), second : (Q, 4, 4)
        Zero at the start. ``first[q, s]`` is E[d/dh_u G] for the neuron u at place s, where the
        same neuron comes first; ``second`` likewise for ordered pairs.
    """
    D = np.empty((4, 4))
    for row in range(coefficient.size):
        q = owner[row]
        m = count[row]
        c = coefficient[row]
        row_covariance(unit[row], width2[row], m, C, D)
        value[q] += c * moment(code[row], D, m)
        for x in range(m):
            if order == 1:
                changed = code[row].copy()
                factor = lowered(changed, x, c)
                if factor != 0.0:
                    s = place_of(unit[row, x], quadruples[q])
                    first[q, s] += factor * moment(changed, D, m)
            if order != 2:
                continue
            s = place_of(unit[row, x], quadruples[q])
            for y in range(x, m):
                part = second_derivative(code[row], x, y, c, D, m)
                if part != 0.0:
                    t = place_of(unit[row, y], quadruples[q])
                    second[q, s, t] += part
                    if y != x:
                        second[q, t, s] += part
