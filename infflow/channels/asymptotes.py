"""What activations tend to far from zero: a straight line on each side, with what is left
falling exponentially.

They are read off the function itself, so that functions of a user have them, too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import REGISTRY, Activation

#: where a function has to be on its straight line, and a second place to see that it is one
_FAR = 200.0
_FARTHER = 500.0
_TOLERANCE = 1e-12
#: where an exponential is read off
_TAILS = (16.0, 10.0, 5.0, 2.5)
_BEFORE = np.array([0.8, 0.9, 1.0])
_EPS = float(np.finfo(float).eps)


class Side(NamedTuple):
    """f(h) = slope h + intercept + factor exp(-rate |h|) (1 + o(1)) on one side."""

    sign: int  #: 1 for h -> infinity, -1 for h -> -infinity
    slope: float
    intercept: float
    rate: float  #: 0 where what is left is no exponential
    factor: float

    def line(self, h: Array) -> Array:
        """The straight line."""
        return self.slope * h + self.intercept

    def tail(self, h: Array) -> Array:
        """What is left, to leading order."""
        found: Array = self.factor * np.exp(-self.rate * self.sign * h)
        return found


@lru_cache(maxsize=64)
def side_of(f: Activation, sign: int) -> Side | None:
    """The straight line that a smooth activation tends to on one side; None where there is none,
    or where a function of a user cannot be evaluated that far away.
    """
    middle = 0.5 * (_FAR + _FARTHER)
    try:
        with np.errstate(all="ignore"):
            far, centre, farther = f(sign * np.array([_FAR, middle, _FARTHER]))
            slope = float((farther - far) / (sign * (_FARTHER - _FAR)))
            intercept = float(far - slope * sign * _FAR)
            gap = abs(float(centre) - (slope * sign * middle + intercept))
    except (ArithmeticError, ValueError):
        return None
    if not np.isfinite([slope, intercept]).all() or gap > _TOLERANCE * middle:
        return None
    slope = _rounded(slope)
    intercept = _rounded(intercept)
    rate, factor = _tail(f, sign, slope, intercept)
    return Side(sign, slope, intercept, rate, factor)


def _rounded(number: float) -> float:
    """A number that is whole up to rounding as a whole number."""
    whole = float(np.round(number))
    return whole if abs(number - whole) <= 1e-11 else number


def _tail(f: Activation, sign: int, slope: float, intercept: float) -> tuple[float, float]:
    """Rate and factor of what is left, read off as far outside as rounding allows; zeros where it
    is no exponential.
    """
    for far in _TAILS:
        places = far * _BEFORE
        points = sign * places
        left = f(points) - (slope * points + intercept)
        noise = 1e6 * _EPS * np.abs(left[-1]) if intercept == slope == 0.0 else 1e3 * _EPS
        if (np.abs(left) <= noise).any() or (np.sign(left) != np.sign(left[0])).any():
            continue
        rates = -np.diff(np.log(np.abs(left))) / np.diff(places)
        if rates[0] <= 0.0 or abs(rates[1] / rates[0] - 1.0) > 1e-3:
            return 0.0, 0.0
        rate = float(np.round(rates[1], 3))
        factor = float(left[-1] * np.exp(rate * far))
        whole = float(np.round(factor))
        return rate, whole if abs(factor - whole) <= 1e-5 * abs(factor) else factor
    return 0.0, 0.0


def kinked(f: Activation) -> Activation | None:
    """The limit of f(c x)/c for c -> infinity where it has a kink, else that of f(c x), a step;
    None where there are no straight lines, or one.
    """
    above = side_of(f, 1)
    below = side_of(f, -1)
    if above is None or below is None:
        return None
    jump = above.slope - below.slope
    if jump != 0.0:
        return _sum(below.slope, "identity", jump, "relu")
    if above.slope == 0.0 and above.intercept != below.intercept:
        step = (above.intercept - below.intercept) * REGISTRY["step"]
        return step if below.intercept == 0.0 else step + below.intercept
    return None


def _sum(a: float, first: str, b: float, second: str) -> Activation:
    """A sum of two registered activations, without what is zero."""
    summand = REGISTRY[second] if b == 1.0 else b * REGISTRY[second]
    return summand if a == 0.0 else a * REGISTRY[first] + summand


def exponential(side: Side) -> Activation:
    """exp(-rate |h|) on the side."""
    found = REGISTRY["exp"]
    scale = -side.sign * side.rate
    return found if scale == 1.0 else found.affine(scale)


def straight() -> Activation:
    """The activation of a unit that is linear in the limit."""
    return REGISTRY["identity"]
