"""Jets of pairs from a method that gives single moments: how any entry of ``registry.EVALUATORS``
serves a network.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation
from .evaluator import Estimate, Evaluator, Points
from .jets import SIZES, write_jets


class Jets(NamedTuple):
    """Jets or derivatives, one row per pair; their relative error bounds (pairs,); the
    work of all.
    """

    values: Array
    bound: Array
    work: int


def pair_jets(
    evaluator: Evaluator, f: Activation, g: Activation, pairs: Array, order: int, rtol: float
) -> Jets:
    """Jets ``(pairs, 1 | 6 | 21)`` from the rows C11, C12, C22, b1, b2, det of ``pairs``: all I(p,
    q) with p + q <= 2 order.
    """
    C11, C12, C22, b1, b2, det = pairs
    sizes = np.sqrt(C11 * C22)
    u = np.clip(np.divide(C12, sizes, out=np.zeros_like(C12), where=sizes > 0), -1.0, 1.0)
    points = Points(np.sqrt(C11), np.sqrt(C22), u, b1, b2)
    moments = np.zeros((len(u), 5, 5))
    bound = np.zeros(len(u))
    work = 0
    for p in range(2 * order + 1):
        for q in range(2 * order + 1 - p):
            estimate = evaluator.moment(f, g, points, (p, q), rtol)
            moments[:, p, q] = estimate.value
            bound = np.maximum(bound, _relative(estimate))
            work = work + estimate.work
    jets = np.empty((len(u), SIZES[order]))
    with np.errstate(invalid="ignore"):  # infinite moments have an infinite bound
        write_jets(moments, C11, C12, C22, det, np.arange(len(u)), jets)
    return Jets(jets, bound, work)


def square_derivatives(
    evaluator: Evaluator, f: Activation, C: Array, b: Array, order: int, rtol: float
) -> Jets:
    """Derivatives ``(neurons, 5)`` of E f(h)^2 in the mean of h up to 2 order: sums of moments at
    correlation one.
    """
    points = Points(np.sqrt(C), np.sqrt(C), np.ones_like(C), b, b)
    values = np.zeros((len(C), 5))
    bound = np.zeros(len(C))
    work = 0
    for n in range(2 * order + 1):
        for p in range(n + 1):
            estimate = evaluator.moment(f, f, points, (p, n - p), rtol)
            values[:, n] += comb(n, p) * estimate.value
            bound = np.maximum(bound, _relative(estimate))
            work = work + estimate.work
    return Jets(values, bound, work)


def _relative(estimate: Estimate) -> Array:
    """Error bounds over their scales; infinite where the moment or its scale is."""
    scale = estimate.scale
    finite = np.isfinite(estimate.value) & np.isfinite(estimate.scale)
    ratio = np.divide(
        estimate.error_bound, scale, out=np.zeros_like(scale), where=finite & (scale > 0)
    )
    return np.where(finite, ratio, np.inf)
