"""What closed forms and error bounds know of an activation, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array

Kernel = Callable[[Array, Array], Any]
"""``kernel(x, out)``: derivatives 0 to m - 1 at ``x`` of shape ``(n,)`` into ``out`` of shape
``(m, n)``.
"""

MAX_ORDER = 4
"""Highest derivative of the registered activations."""


@dataclass(frozen=True)
class Atom:
    """``weight * d^order/dx^order E_z[relu(x + width z)]`` with a standard normal ``z``.

    Order 0 is a ramp, 1 a step, 2 a Dirac delta; a positive width smooths them (order 2: a normal
    density). Order 1 - n below 0 is the truncated power ``relu(x)^n/n!``.
    """

    weight: float
    order: int
    width: float = 0.0


@dataclass(frozen=True)
class Wave:
    """``Re(weight * exp(rate x))`` with a real or an imaginary rate: exponentials, sines and
    cosines.
    """

    weight: complex
    rate: complex


@dataclass(frozen=True)
class Strip:
    """Where a smooth function is analytic, and how it grows beside the real line.

    For |y| < half_width and p <= 4, ``|f^(p)(x + iy)|`` is at most 4 times the largest ``|f^(p)|``
    within 1 of x on the real line, times

        exp(rate |y| + curvature y^2/2) (1 + |y|)^degree (1 - |y|/half_width)^-(p + 1),

    times ``(1 + |y|)^p`` where the curvature is not 0. ``degree`` is that of the polynomial like
    which the function grows.
    """

    half_width: float = np.inf
    rate: float = 0.0
    curvature: float = 0.0
    degree: int = 0


class Sides(NamedTuple):
    """``slope h`` for h > 0 and ``factor (exp(h) - 1)`` for h < 0.

    elu has (1, 1), selu (1.05, 1.76), and ``exp(-|x|) = 1 + e(x) + e(-x)`` with e of (0, 1).
    """

    slope: float
    factor: float
