"""An activation as a function plus delta functions, and its means over one Gaussian variable.

With ``J_m(c)`` the jump of ``f^(m)`` at the kink c and ``R_p`` the derivative away from the kinks,
``f^(p) = R_p + sum_c sum_{m < p} J_m(c) delta^(p-1-m)(x - c)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...errors import InvalidValueError
from ..resolution import narrow_places
from .panels import Index, density, integrate, panels_between, tail

__all__ = ["Means", "SingleMoments", "bump", "jumps", "reach", "single_moments", "smoothed"]

#: Tolerances below this one are beyond float64.
SMALLEST_RTOL = 1e-14
_EPS = float(np.finfo(np.float64).eps)
_FURTHEST = 40.0  # standard deviations
_NEGLIGIBLE = -700.0  # logarithm of what underflows
_FEATURES = np.array([0.3 * 5.0**k for k in range(9)])


class SingleMoments(NamedTuple):
    """``E f^(p)(h)``, p = 0 ... max_order, error estimates and ``sqrt(E f^(p)^2)`` without delta
    functions; (n, p).
    """

    value: Array
    error: Array
    scale: Array
    work: int


# -- activations as functions plus delta functions -------------------------------------------------


def usable_order(f: Activation, highest: int) -> int:
    """Derivatives up to this order are taken as functions, those above are moved onto
    the density.
    """
    return min(f.max_order, highest)


def derivatives(f: Activation, h: Array, levels: int) -> Array:
    """Pointwise derivatives ``(levels + 1, *h.shape)``."""
    h = np.ascontiguousarray(h)
    out = np.empty((levels + 1, *h.shape))
    f.jet(h, out)
    return out


@lru_cache(maxsize=256)
def jumps(f: Activation, levels: int) -> tuple[tuple[float, Array, Array], ...]:
    """For every kink: its place, the jumps of the derivatives 0 to ``levels``, and their means of
    both sides.
    """
    found = []
    for c in f.kinks:
        sides = (
            np.array([c - 1e-300, c + 1e-300]) if c == 0.0 else np.nextafter(c, [-np.inf, np.inf])
        )
        left, right = derivatives(f, sides, levels).T
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            raise InvalidValueError(
                f"Activation {f.name!r} or a derivative of it is infinite at its kink {c:g}; "
                "finite limits from both sides are needed."
            )
        slope = np.abs(np.append(left[1:], 0.0)) + np.abs(np.append(right[1:], 0.0))
        noise = (
            16 * _EPS * (np.abs(left) + np.abs(right) + abs(c) * slope)
            + 4 * np.abs(sides - c).max() * slope
        )
        jump = np.where(np.abs(right - left) > noise, right - left, 0.0)
        found.append((c, jump, 0.5 * (left + right)))
    return tuple(found)


def hermite(k: int, x: Array) -> Array:
    """Probabilists' Hermite polynomial."""
    below = np.zeros_like(x)
    value = np.ones_like(x)
    for n in range(k):
        below, value = value, x * value - n * below
    return value


def bump(k: int, distance: Array, s: Array) -> Array:
    """``E delta^(k)(h - c)`` of h with standard deviation s > 0 whose mean lies ``distance`` below
    c.
    """
    z = distance / s
    return hermite(k, z) * density(z) / s ** (k + 1)


# -- range and breaks ------------------------------------------------------------------------------


def reach(f: Activation, s: Array, b: Array, levels: int, rtol: float) -> float:
    """``X`` such that ``E[f^2; |x| > X]`` is below ``(rtol/100)^2 E f^2`` for f(b + s x), and for
    its derivatives.

    Raises
    ------
    InvalidValueError
        If f grows so fast that E f^2 is infinite, or out of reach for quadrature.
    """
    start = tail(rtol)
    drop = 4.0 * np.log(100.0 / rtol)
    x = np.linspace(-_FURTHEST, _FURTHEST, 161)
    h = b[:, None] + s[:, None] * x
    with np.errstate(divide="ignore", over="ignore"):
        L = 2.0 * np.log(np.abs(derivatives(f, h, levels))) - 0.5 * x * x
    floor = L.max(axis=-1, keepdims=True) - drop
    inside: NDArray[np.bool_] = np.greater(L, floor)
    _check_growth(f, L, inside, h, s)
    return max(start, float(np.abs(x)[inside.any(axis=(0, 1))].max(initial=0.0)) + 0.5)


def _check_growth(f: Activation, L: Array, inside: NDArray[np.bool_], h: Array, s: Array) -> None:
    """Refuse a function whose square times the density does not fall off within the range of
    float64.
    """
    outer = np.isposinf(L)
    outer[..., [0, -1]] |= inside[..., [0, -1]] & (L[..., [0, -1]] > _NEGLIGIBLE)
    if outer.any():
        _, i, j = np.argwhere(outer)[0]
        raise InvalidValueError(
            f"Activation {f.name!r} grows too fast for a Gaussian argument of standard deviation "
            f"{s[i]:g}: the density times the square "
            f"of the function or of a derivative has not fallen off at h = {h[i, j]:g}, within "
            f"{_FURTHEST:g} standard deviations; E f^2 is infinite, "
            "or out of reach for quadrature. Use smaller weights or a function that grows more "
            "slowly."
        )


def places(f: Activation, s: float) -> Array:
    """Kinks and narrow places; for a wide distribution points around 0, lest a panel miss what
    happens at |h| of order one.
    """
    kinks = np.array([*f.kinks, *narrow_places(f)])
    if s <= 1.5:
        return np.unique(kinks)
    far = _FEATURES[: np.searchsorted(_FEATURES, _FURTHEST * s)]
    return np.unique(np.concatenate([kinks, far, -far]))


def row_breaks(f: Activation, s: Array, b: Array, X: float, parts: int) -> Array:
    """Sorted breaks (rows, m) of f(b + s x) on [-X, X]."""
    places_f = places(f, float(s.max(initial=0.0)))
    x = np.clip((places_f - b[:, None]) / s[:, None], -X, X)
    even = np.broadcast_to(np.linspace(-X, X, parts + 1), (len(s), parts + 1))
    return np.sort(np.concatenate([x, even], axis=1), axis=1)


# -- one variable ----------------------------------------------------------------------------------


class Means(NamedTuple):
    """Means of one activation at n points: ``regular[:, p]`` of R_p, ``delta[:, m, p]`` of what
    jumps of f^(m) add to f^(p).
    """

    regular: Array
    delta: Array
    error: Array
    rms: Array
    work: int

    def partial(self, start: int, order: int) -> Array:
        """``d^(order - start)/db^(order - start)`` of the mean of R_start."""
        value: Array = self.regular[:, order] + self.delta[:, start:order, order].sum(axis=1)
        return value


def smoothed(f: Activation, s: Array, b: Array, highest: int, rtol: float) -> Means:
    """Means of f(b + s x) and its derivatives up to ``highest``, s >= 0."""
    n = len(s)
    levels = usable_order(f, highest)
    regular, error, rms = np.zeros((3, n, highest + 1))
    delta = np.zeros((n, highest + 1, highest + 1))
    work = 0
    wide = s > 0.0
    if not wide.all():
        _point_means(f, b[~wide], highest, regular, delta, ~wide)
        rms[~wide] = np.abs(regular[~wide])
    if wide.any():
        sw, bw = s[wide], b[wide]
        X = reach(f, sw, bw, levels, rtol)

        def values(x: Array, row: Index) -> Array:
            jet = derivatives(f, bw[row] + sw[row] * x, levels)
            columns = [
                jet[min(p, levels)] * (hermite(p - levels, x) if p > levels else 1.0)
                for p in range(highest + 1)
            ]
            return np.stack(columns, axis=1)

        rms[wide] = root_mean_squares(values, row_breaks(f, sw, bw, X, 12), highest + 1)
        found = integrate(
            lambda x, row: values(x, row) * density(x)[:, None],
            panels_between(row_breaks(f, sw, bw, X, 4)),
            len(sw),
            rtol * rms[wide] + 1e-300,
        )
        factor = 1.0 / sw[:, None] ** np.maximum(np.arange(highest + 1) - levels, 0)
        rms[wide] *= factor
        regular[wide] = found.value * factor
        error[wide] = found.error * factor + 1e-2 * rtol * rms[wide]
        work = found.work
        for c, jump, _ in jumps(f, levels):
            for p in range(1, highest + 1):
                for m in range(min(p, levels)):
                    delta[wide, m, p] += jump[m] * bump(p - 1 - m, c - bw, sw) if jump[m] else 0.0
    return Means(regular, delta, error, rms, work)


def _point_means(
    f: Activation, b: Array, highest: int, regular: Array, delta: Array, where: NDArray[np.bool_]
) -> None:
    """The limits for s = 0: values, halfway at jumps, and infinite delta functions."""
    if highest > f.max_order:
        f.derivative(0.0, highest)  # raises the error that says which derivative is needed
    values = derivatives(f, b, highest).T
    deltas = np.zeros((len(b), highest + 1, highest + 1))
    for c, jump, middle in jumps(f, highest):
        at = np.abs(b - c) <= 8 * _EPS * abs(c)
        values[at] = middle
        for m in np.flatnonzero(jump):
            deltas[at, m, m + 1 :] = np.inf
    regular[where] = values
    delta[where] = deltas


def root_mean_squares(values: Callable[[Array, Index], Array], breaks: Array, m: int) -> Array:
    """``sqrt(E v^2)`` by one pass over the panels: a scale, not a result."""
    panels = panels_between(breaks)
    found = integrate(
        lambda x, row: values(x, row) ** 2 * density(x)[:, None],
        panels,
        len(breaks),
        np.full(m, np.inf),
        max_work=0,
    )
    return np.sqrt(np.maximum(found.value, 0.0))


def single_moments(
    f: Activation, C: Array, b: Array, max_order: int, rtol: float = 1e-10
) -> SingleMoments:
    """``E f^(p)(h)`` with h ~ N(b, C) for p = 0 ... max_order <= 4, at n points; infinite ones are
    ``inf``.

    Parameters
    ----------
    f : Activation
    C, b : (n,) arrays
    max_order : int
    rtol : float
        Tolerance relative to ``sqrt(E f^(p)^2)``.

    Raises
    ------
    InvalidValueError
        If f grows too fast, or (C = 0) lacks a derivative.
    """
    rtol = max(rtol, SMALLEST_RTOL)
    means = smoothed(f, np.sqrt(C), b, max_order, rtol)
    value = np.stack([means.partial(0, p) for p in range(max_order + 1)], axis=1)
    return SingleMoments(mark_infinite(value), means.error, means.rms, means.work)


def mark_infinite(value: Array) -> Array:
    """Infinite moments of either sign, and sums of them, are reported as ``inf``."""
    return np.where(np.isfinite(value), value, np.inf)
