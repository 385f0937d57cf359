"""How the gradient changes with the parameter, at fixed theta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_vector

#: spacings of differences, relative to the range of the parameter
_SPACINGS = (1e-3, 1e-4, 1e-5)
#: an error below this fraction of the derivative is small enough
_ACCURATE = 1e-8
#: central differences of order 6 and 4 on the points -3 to 3
_CENTRAL = (
    np.array([-1.0, 9.0, -45.0, 0.0, 45.0, -9.0, 1.0]) / 60.0,
    np.array([0.0, 1.0, -8.0, 0.0, 8.0, -1.0, 0.0]) / 12.0,
)
#: one-sided ones of order 6 and 5 on the points 0 to 6
_ONE_SIDED = (
    np.array([-147.0, 360.0, -450.0, 400.0, -225.0, 72.0, -10.0]) / 60.0,
    np.array([-137.0, 300.0, -300.0, 200.0, -75.0, 12.0, 0.0]) / 60.0,
)


class Slope(NamedTuple):
    """A derivative in the parameter and its estimated error; 0 where it is analytic."""

    value: Array
    error: float


def analytic(problem: Any) -> Callable[[Array, float], Array] | None:
    """``problem.parameter_derivative``, where the problem offers it."""
    found: Callable[[Array, float], Array] | None = getattr(problem, "parameter_derivative", None)
    return found if callable(found) else None


def offered(function: Callable[[Array, float], Array], theta: Array, parameter: float) -> Slope:
    """The derivative that the problem offers, (P,)."""
    value = function(theta.copy(), parameter)
    return Slope(as_vector("parameter_derivative(theta, parameter)", value, len(theta)), 0.0)


def difference(
    function: Callable[[float], Array | None], parameter: float, width: float
) -> Slope | None:
    """The derivative of ``function`` by differences over points near ``parameter``.

    Parameters
    ----------
    function : callable
        Of the parameter; None outside of its domain.
    parameter : float
    width : float
        Range of the parameter.

    Returns
    -------
    Slope or None
        Of order 6; its error is estimated by the difference from the next lower order. Where that
        is large the points move together. None where the function is defined on neither side.
    """
    best: Slope | None = None
    for spacing in _SPACINGS:
        found = _with_spacing(function, parameter, spacing * width)
        if found is None:
            continue
        if best is None or found.error < best.error:
            best = found
        if best.error <= _ACCURATE * float(np.abs(best.value).max(initial=0.0)):
            break
    return best


def _with_spacing(
    function: Callable[[float], Array | None], parameter: float, h: float
) -> Slope | None:
    """Central differences, or one-sided ones at the end of the domain."""
    for sign, first, rules in ((1.0, -3, _CENTRAL), (1.0, 0, _ONE_SIDED), (-1.0, 0, _ONE_SIDED)):
        values = [function(parameter + sign * h * (first + k)) for k in range(7)]
        if any(each is None for each in values):
            continue
        table = np.array(values)
        high, low = (sign / h * np.tensordot(rule, table, axes=1) for rule in rules)
        return Slope(high, float(np.abs(high - low).max(initial=0.0)))
    return None
