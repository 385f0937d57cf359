"""The derivative of a neuron along a direction, as a weighted sum of ordinary neurons.

With the central differences of order 2 p on 2 p + 1 equidistant nodes t_k,

    f'(h) d = sum_k slope_k f(h + t_k d) + O((|d| t)^(2 p) |d|),

a unit ``c f(h) + a f'(h) d`` of the limit is a network of 2 p + 1 neurons, whose weights
``w + t_k Delta`` and output weights ``c value_k + a slope_k`` are linear in (w, Delta, c, a). So
whatever evaluates networks, on samples or on Gaussian input, evaluates limits, with derivatives.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation

#: spacings that are tried, for directions that change the pre-activation by at most one
_SPACINGS = np.geomspace(0.4, 1e-3, 60)
#: where a spacing is judged
_POINTS = np.linspace(-12.0, 12.0, 481)


class Stencil(NamedTuple):
    """Weights of the value and of the derivative at the nodes."""

    nodes: Array  #: (m,), symmetric, for directions that change the pre-activation by at most one
    value: Array  #: (m,)
    slope: Array  #: (m,)
    #: largest error of the derivative on the points where it was measured, relative to max(1, |f'|)
    error: float


def central_weights(side: int) -> Array:
    """Weights (2 side + 1,) of the first derivative at nodes -side, ..., side.

    c_k = (-1)^(k+1) (side!)^2 / (k (side - k)! (side + k)!), exact for polynomials up to degree
    2 side (B. Fornberg, Math. Comp. 51 (1988) 699).
    """
    found = np.zeros(2 * side + 1)
    for k in range(1, side + 1):
        ratio = factorial(side) ** 2 / (k * factorial(side - k) * factorial(side + k))
        found[side + k] = (-1) ** (k + 1) * ratio
        found[side - k] = -found[side + k]
    return found


@lru_cache(maxsize=64)
def stencil_of(f: Activation, side: int) -> Stencil:
    """The stencil whose spacing gives the smallest error for an activation, as measured against
    its own derivative.

    Truncation falls with the spacing and rounding grows, and where they meet depends on the
    activation, and on the number of nodes on each ``side``.
    """
    steps = np.arange(-side, side + 1)
    weights = central_weights(side)
    exact = f.derivative(_POINTS, 1)
    scale = np.maximum(1.0, np.abs(exact))
    best: tuple[float, float] | None = None
    for spacing in _SPACINGS:
        values = f(_POINTS[:, None] + spacing * steps)
        error = float(np.abs((values @ (weights / spacing) - exact) / scale).max())
        if best is None or error < best[0]:
            best = (error, float(spacing))
    assert best is not None
    error, spacing = best
    value = np.zeros(len(steps))
    value[side] = 1.0
    nodes: Array = spacing * steps.astype(float)
    return Stencil(nodes, value, weights / spacing, error)
