"""Jitted functions phi_k of exponential integrators at real arguments."""

from __future__ import annotations

import math

import numpy as np

from .._validation import Array
from ..compiler import njit

#: below this modulus the recursion of phi_k loses digits to cancellation, and the Taylor series
#: takes over
_SERIES = 2.0
_TERMS = 24


@njit(cache=True)
def phi_functions(z: Array, largest: int) -> Array:
    """phi_k(z) = integral over s in [0, 1] of exp((1-s) z) s^(k-1)/(k-1)! for k = 1 to ``largest``.

    phi_0 = exp and phi_(k+1)(z) = (phi_k(z) - 1/k!)/z; near 0 the series sum_j z^j/(j+k)!, from
    which the lower ones follow by phi_k = 1/k! + z phi_(k+1) without cancellation.

    Parameters
    ----------
    z : (n,) array
        Real arguments; large positive ones overflow to infinity.
    largest : int
        At least 1.

    Returns
    -------
    (largest, n) array
    """
    phi = np.empty((largest, len(z)))
    factorial = np.ones(largest + 1)
    for k in range(1, largest + 1):
        factorial[k] = factorial[k - 1] * k
    for i in range(len(z)):
        x = z[i]
        if abs(x) < _SERIES:
            term = 1.0 / factorial[largest]
            total = term
            for j in range(1, _TERMS):
                term *= x / (largest + j)
                total += term
            phi[largest - 1, i] = total
            for k in range(largest - 1, 0, -1):
                phi[k - 1, i] = 1.0 / factorial[k] + x * phi[k, i]
        else:
            value = math.expm1(x) / x
            phi[0, i] = value
            for k in range(1, largest):
                value = (value - 1.0 / factorial[k]) / x
                phi[k, i] = value
    return phi


def phi_functions_reference(z: Array, largest: int) -> Array:
    """The readable twin of :func:`phi_functions`: the integrals by a Gauss rule of 60 nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s = (nodes + 1) / 2
    return np.array(
        [
            (np.exp(np.outer(z, 1 - s)) * s ** (k - 1)) @ weights / 2 / math.factorial(k - 1)
            for k in range(1, largest + 1)
        ]
    )
