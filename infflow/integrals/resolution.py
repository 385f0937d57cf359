r"""How fine a trapezoidal rule has to be for f(r x + b), said by the activation and not by samples.

The rule of spacing h replaces the integral of F by the sum of its Fourier transform over all
multiples of 2 pi/h (Poisson), so that what it misses is bounded by the growth of F beside the real
line: for every y inside the strip where F is analytic,

    |error| <= 2 q/(1 - q) int |F(x + iy)| dx,      q = exp(-2 pi y/h).

With |f^(p)(x + iy)| <= K(y) times its size near x (:class:`infflow.activations.Strip`), S that size
in the mean square under the normal density, and Mehler's sum for the Hermite functions, the first N
coefficients of f^(p)(r x + b) and the moments E f^(p) f^(q) are off by at most

    S 2q/(1 - q) K(r y) t^(-N/2) (1 - t)^(-1/2) exp(y^2/(2 (1 - t)))      for every 0 < t < 1,
    S S' 2q/(1 - q) K(r y)^2 exp(y^2/2).

Both grow with r, so that a spacing serves all r up to some largest one. Activations of a user's own
state no strip. They vary on some length, seen once on a grid of their own argument, which a rule
may not step over; whether it resolves them is for a rule of shifted nodes to find
(:mod:`infflow.integrals.hermite.series`), and the result is an estimate.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .._validation import Array
from ..activations import Activation, Strip
from ..errors import InfflowError

__all__ = ["aliasing", "largest_scales", "length", "narrow_places", "oscillation"]

# Narrow places of a user's function are looked for on a grid of this step, by second differences of
# ``_LAG`` steps that are a larger share of the range of values within 1. There are at most so many.
_FINE = 1.0 / 512.0
_LAG = 8
_SHARE = 0.002
_MOST = 6
# A function with more extrema than this within 16 oscillates.
_FEW = 24

# |f^(p)| beside the real line is at most this many times K and its size near by, see the tests.
_CONSTANT = 4.0
# Derivatives up to this order are expanded.
_ORDER = 4
# Ranges of r that are searched, and the number of bisections of its logarithm.
_SMALLEST = 1e-3
_LARGEST = 1e12
_BISECTIONS = 14
# Heights in units of the largest one, and t of Mehler's sum, among which the best are taken.
_HEIGHTS = np.concatenate([np.geomspace(1e-8, 0.018, 24), np.linspace(0.02, 0.99, 36)])
_T = 1.0 / (1.0 + np.exp(-np.linspace(-8.0, 6.0, 22)))[:, None, None]

# A user's function is looked at up to here, more closely next to 0; nothing is known beyond.
_REACH = 16.0
_STEP = 1.0 / 64.0
# If it is not defined there: up to here.
_SHORT_REACH = 8.0


def aliasing(strip: Strip, r: Array, spacings: Array, terms: int) -> Array:
    """Bounds (n,) of the relative errors of coefficients and moments at r by rules of these
    spacings.
    """
    top = np.minimum(strip.half_width / r, 4.0 * math.pi / spacings)
    y = top[:, None] * _HEIGHTS
    periods = 2.0 * math.pi * y / spacings[:, None]
    damping = math.log(2.0) - periods - np.log(-np.expm1(-periods))
    growth = _log_growth(strip, r[:, None] * y, y)
    functions = 0.5 * y * y / (1.0 - _T) - 0.5 * terms * np.log(_T) - 0.5 * np.log1p(-_T)
    coefficients = (damping + growth + functions.min(axis=0)).min(axis=1)
    moments = (damping + 2.0 * growth + 0.5 * y * y).min(axis=1)
    found: Array = np.exp(np.minimum(np.maximum(coefficients, moments), 700.0))
    return found


def _log_growth(strip: Strip, height: Array, y: Array) -> Array:
    """Logarithm of the factor at ``height`` = r y that
    :class:`infflow.activations.Strip` states.
    """
    found = math.log(_CONSTANT) + strip.rate * height + strip.degree * np.log1p(y)
    if strip.curvature > 0.0:
        found = found + 0.5 * strip.curvature * height**2 + _ORDER * np.log1p(height)
    if math.isfinite(strip.half_width):
        found = found - (_ORDER + 1) * np.log1p(-height / strip.half_width)
    return np.asarray(found)


def largest_scales(activation: Activation, spacings: Array, terms: int, tolerance: float) -> Array:
    """The largest r (n,) at which the rules of these spacings may be used; 0 if there is none.

    By the bound for activations that state a strip, else by the length on which they vary.
    """
    strip = activation.strip
    if strip is None:
        return length(activation) / spacings
    low, high = (np.full(len(spacings), math.log(r)) for r in (_SMALLEST, _LARGEST))
    at_least, at_most = (aliasing(strip, np.exp(x), spacings, terms) for x in (low, high))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        fits = aliasing(strip, np.exp(middle), spacings, terms) <= tolerance
        low = np.where(fits, middle, low)
        high = np.where(fits, high, middle)
    found = np.where(at_least <= tolerance, np.exp(low), 0.0)
    return np.where(at_most <= tolerance, np.inf, found)


@lru_cache(maxsize=256)
def length(activation: Activation) -> float:
    """The length on which a user's function varies: the least ratio of its largest derivatives."""
    for reach in (_REACH, _SHORT_REACH):
        near = np.geomspace(1e-6, 0.1, 81)
        far = np.arange(-reach, reach, _STEP) + 0.381966 * _STEP
        points = np.concatenate([far, near, -near])
        values = np.empty((_ORDER + 1, points.size))
        try:
            with np.errstate(all="ignore"):
                activation.jet(points, values)
        except InfflowError:
            continue
        finite = np.isfinite(values).all(axis=0)
        if not finite.any():
            continue
        sizes = np.abs(values[:, finite]).max(axis=1)
        if sizes[1] <= 0.0:
            return math.inf  # a constant
        used = sizes[1:] > 1e-12 * sizes[1]
        return float((sizes[:-1][used] / sizes[1:][used]).min())
    return 0.0


@lru_cache(maxsize=256)
def oscillation(activation: Activation) -> float:
    """The length on which a user's function oscillates; infinite if it has few extrema.

    Two rules that both step over oscillations may agree by accident. What is flat but for a few
    narrow places is for :func:`narrow_places`.
    """
    if activation.strip is not None or activation.has_closed_form or activation.waves:
        return math.inf
    x = np.arange(-_REACH, _REACH, _FINE) + 0.381966 * _FINE
    values = np.empty((1, x.size))
    try:
        with np.errstate(all="ignore"):
            activation.jet(x, values)
    except InfflowError:
        return math.inf
    v = values[0][np.isfinite(values[0])]
    steps = np.diff(v)
    signs = np.sign(steps[steps != 0.0])
    if (signs[1:] != signs[:-1]).sum() <= _FEW:
        return math.inf
    return float(_FINE * np.ptp(v) / (2.0 * np.abs(steps).max()))


@lru_cache(maxsize=256)
def narrow_places(activation: Activation) -> tuple[float, ...]:
    """Where panels have to end lest they step over what a user's function does: bumps, jumps not
    named.

    Ends and middles of intervals on which it varies within about a third; none where these are
    many, as for oscillations, which no panel misses. Bumps narrower than 0.002 and those beyond 16
    stay unseen.
    """
    if activation.strip is not None or activation.has_closed_form or activation.waves:
        return ()
    x = np.arange(-_REACH, _REACH, _FINE) + 0.381966 * _FINE
    values = np.empty((1, x.size))
    try:
        with np.errstate(all="ignore"):
            activation.jet(x, values)
    except InfflowError:
        return ()
    v = values[0]
    if not np.isfinite(v).all():
        return ()
    near = 2 * round(1.0 / _FINE) + 1
    ranges = _sliding(np.maximum, v, near) - _sliding(np.minimum, v, near)
    change = np.zeros_like(v)
    change[_LAG:-_LAG] = np.abs(v[2 * _LAG :] - 2.0 * v[_LAG:-_LAG] + v[: -2 * _LAG])
    narrow = (change > _SHARE * ranges) & (ranges > 1e-10 * np.abs(v).max())
    for kink in activation.kinks:
        narrow &= np.abs(x - kink) > 2 * _LAG * _FINE
    found = np.flatnonzero(narrow)
    if not found.size:
        return ()
    groups = np.split(found, np.flatnonzero(np.diff(found) > 4 * _LAG) + 1)
    if len(groups) > _MOST:
        return ()
    ends = [
        (1.5 * x[[i[0], i[-1]]] - 0.5 * x[[i[-1], i[0]]]) for i in groups
    ]  # with the tails of bumps
    return tuple(float(place) for low, high in ends for place in (low, 0.5 * (low + high), high))


def _sliding(extreme: np.ufunc, values: Array, width: int) -> Array:
    """Largest or smallest of ``width`` (odd) values around each, by doubling."""
    padded = np.pad(values, width // 2, mode="edge")
    step = 1
    while 2 * step <= width:
        padded = extreme(padded[:-step], padded[step:])
        step *= 2
    rest = width - step
    found: Array = extreme(padded[: len(padded) - rest], padded[rest:]) if rest else padded
    return found
