"""Adaptive Gauss-Kronrod quadrature of many vector-valued integrals at once, and where a Gaussian
integral ends.

The rule is the pair of 10 and 21 nodes; its coefficients are those of QUADPACK (Piessens et al.
1983, dqk21). A third rule has the ends of the panel among its nodes. A jump between the last
Kronrod node and the end, a fifth of a per cent of the panel, is seen by no other, and bisection
brings a jump there once in some hundred times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array

__all__ = ["Panels", "Quadrature", "density", "integrate", "panels_between", "tail"]

Index = NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)
_POSITIVE_NODES = (
    *(
        0.14887433898163122,
        0.2943928627014602,
        0.4333953941292472,
        0.5627571346686047,
        0.6794095682990244,
    ),
    *(
        0.7808177265864169,
        0.8650633666889845,
        0.9301574913557082,
        0.9739065285171717,
        0.9956571630258081,
    ),
)
_KRONROD = (
    *(
        0.14773910490133849,
        0.14277593857706009,
        0.13470921731147334,
        0.12349197626206584,
        0.10938715880229764,
    ),
    *(
        0.0931254545836976,
        0.07503967481091996,
        0.054755896574351995,
        0.032558162307964725,
        0.011694638867371874,
    ),
)
_GAUSS = (
    0.2955242247147533,
    0.26926671930999674,
    0.21908636251598224,
    0.14945134915058053,
    0.06667134430868714,
)
_GAUSS_PADDED = tuple(weight for pair in zip(_GAUSS, (0.0,) * 5, strict=True) for weight in pair)

_END = 1.0 - 1e-10  # just inside, since panels end at jumps that are known

#: Nodes on [-1, 1] and the weights of the two rules, all of shape (23,); the ends have no weight.
NODES = np.array([-_END, *(-x for x in reversed(_POSITIVE_NODES)), 0.0, *_POSITIVE_NODES, _END])
KRONROD = np.array([0.0, *reversed(_KRONROD), 0.1494455540029169, *_KRONROD, 0.0])
GAUSS = np.array([0.0, *reversed(_GAUSS_PADDED), 0.0, *_GAUSS_PADDED, 0.0])


def _interpolatory(used: Array) -> Array:
    """Weights (23,) of the interpolatory rule on a subset of the nodes."""
    weights = np.zeros(NODES.size)
    powers = np.polynomial.legendre.legvander(NODES[used], len(used) - 1).T
    weights[used] = np.linalg.solve(powers, np.eye(len(used))[0] * 2.0)
    return weights


# This symmetric subset of the 15 nodes with the ends sees jumps and kinks best. Wherever one lies
# in the panel, the error of the Kronrod rule is at most 1.3 times (kinks: 3 times) the larger one
# of both differences. The difference of the two classical rules alone vanishes for kinks in unlucky
# places.
ENDS = _interpolatory(np.array([0, 3, 4, 5, 6, 8, 9, 11, 13, 14, 16, 17, 18, 19, 22]))

_RULES = np.stack([KRONROD, KRONROD - GAUSS, KRONROD - ENDS])

# A panel may have this share of the tolerance: few panels come near it, since the difference of the
# two rules is far above the error of the better one.
_SHARE = 0.05
_CHUNK = 1 << 17  # points in one call of the integrand


class Panels(NamedTuple):
    """Intervals [a, b] and the integral (row) that each belongs to, all of shape (panels,)."""

    row: Index
    a: Array
    b: Array


_NO_PANELS = Panels(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))


class Quadrature(NamedTuple):
    """Values and error estimates ``(rows, m)``, the number of points evaluated, and the panels it
    took.
    """

    value: Array
    error: Array
    work: int
    panels: Panels = _NO_PANELS


def density(x: Array) -> Array:
    """Standard normal density."""
    y: Array = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    return y


def tail(rtol: float) -> float:
    """``R`` beyond which a standard normal variable lies with a probability below
    ``(rtol / 100)^2``.

    By the inequality of Cauchy and Schwarz, what lies beyond contributes less than
    ``rtol / 100 sqrt(E f^2 E g^2)`` to E f g if f does not depend on that variable.
    """
    return 2.0 * float(np.sqrt(np.log(100.0 / rtol)))


def panels_between(breaks: Array) -> Panels:
    """Panels between neighbouring breaks: ``(rows, m)`` sorted along the second axis; those of no
    width are left out.
    """
    row = np.broadcast_to(np.arange(len(breaks))[:, None], (len(breaks), breaks.shape[1] - 1))
    keep = breaks[:, 1:] > breaks[:, :-1]
    return Panels(row[keep], breaks[:, :-1][keep], breaks[:, 1:][keep])


def integrate(
    function: Callable[[Array, Index], Array],
    panels: Panels,
    rows: int,
    atol: Array,
    max_work: int = 2_000_000,
    exhausted: Callable[[], bool] = lambda: False,
) -> Quadrature:
    """Integrals of ``function`` over the panels of each row, by bisection of all panels that are
    not good enough.

    Parameters
    ----------
    function : callable
        ``function(x, row)`` with x, row of shape (n,) returns (n, m).
    panels : Panels
        Where to start: panels end where the integrand is not smooth.
    rows : int
    atol : (rows, m) or (m,) array
        Absolute tolerances of the components.
    max_work : int
        About how many points are evaluated at most; what is not good enough by then is counted in
        the error estimate.
    exhausted : callable
        Another reason to stop, asked after every pass.

    Returns
    -------
    Quadrature
        The error is the sum of the differences between the two rules, and at least rounding.
    """
    m = np.shape(atol)[-1]
    allowed = _SHARE * np.broadcast_to(atol, (rows, m))
    value = np.zeros((rows, m))
    error = np.zeros((rows, m))
    work = 0
    accepted = []
    while len(panels.row):
        fine, gap, size = _apply(function, panels, m)
        work += NODES.size * len(panels.row)
        middle = 0.5 * (panels.a + panels.b)
        bad = (gap > np.maximum(allowed[panels.row], 32 * _EPS * size)).any(axis=1)
        bad &= (panels.b - panels.a > 8 * _EPS * np.maximum(np.abs(panels.a), np.abs(panels.b))) & (
            work < max_work and not exhausted()
        )
        good = ~bad
        np.add.at(value, panels.row[good], fine[good])
        np.add.at(error, panels.row[good], np.maximum(gap, 4 * _EPS * size)[good])
        accepted.append(Panels(panels.row[good], panels.a[good], panels.b[good]))
        row = panels.row[bad]
        a = panels.a[bad]
        b = panels.b[bad]
        middle = middle[bad]
        panels = Panels(
            np.concatenate([row, row]), np.concatenate([a, middle]), np.concatenate([middle, b])
        )
    used = (
        Panels(*(np.concatenate(parts) for parts in zip(*accepted, strict=True)))
        if accepted
        else panels
    )
    return Quadrature(value, error, work, used)


def _apply(
    function: Callable[[Array, Index], Array], panels: Panels, m: int
) -> tuple[Array, Array, Array]:
    """Both rules on every panel: value, difference and integral of the absolute value, each
    (panels, m).
    """
    n = len(panels.row)
    fine = np.empty((n, m))
    gap = np.empty((n, m))
    size = np.empty((n, m))
    step = max(1, _CHUNK // NODES.size)
    for first in range(0, n, step):
        part = slice(first, first + step)
        half = 0.5 * (panels.b[part] - panels.a[part])
        x = 0.5 * (panels.a[part] + panels.b[part])[:, None] + half[:, None] * NODES
        y = function(x.ravel(), np.repeat(panels.row[part], NODES.size)).reshape(
            len(half), NODES.size, m
        )
        rules = _RULES @ y  # one product for all rules
        fine[part] = half[:, None] * rules[:, 0]
        gap[part] = half[:, None] * np.abs(rules[:, 1:]).max(axis=1)
        size[part] = half[:, None] * (KRONROD @ np.abs(y, out=y))
    return fine, gap, size
