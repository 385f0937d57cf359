"""Cubature as an evaluator: any activation, point by point."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from ..._validation import Array
from ...activations import Activation
from ..evaluator import (
    Arguments,
    Estimate,
    Evaluator,
    Filled,
    Index,
    PairIntegrals,
    Pairs,
    Points,
    Request,
)
from ..jets import SIZES, from_squares, write_jets

__all__ = ["Cubature", "CubaturePairs", "squared"]

# A derivative that is moved onto a density of this relative width costs a digit.
_NARROW = 0.1
# Derivatives that are not given cost cubature a second a pair. No solver needs more digits of
# second derivatives than this, which tables of the function have in microseconds.
_ENOUGH = 1e-6


class Cubature(Evaluator):
    """Adaptive integration, for any activation; scipy.integrate is loaded when it is first used."""

    is_last_resort = True

    def defined(self, *activations: Activation) -> bool:
        """Always: what is missing is derived by moving derivatives onto the density."""
        return True

    def rank(self, *activations: Activation) -> int:
        """Last of all."""
        return 5

    def unit(self, label: str) -> str:
        """What ``work`` counts."""
        return "nodes"

    def reason(self, label: str, activations: Sequence[Activation]) -> str:
        """Why nothing else does."""
        return "a kink, for which no series converges"

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair, point by point."""
        from . import pairs as cubature

        slot = cubature.ORDERS.index(orders)
        order = (sum(orders) + 1) // 2
        found = []
        for point in np.array(points[:6]).T.tolist():
            found.append(cubature.pair_moments(f, g, cubature.Gaussian(*point), order, rtol))
        columns = [[x.value for x in found], [x.error for x in found], [x.scale for x in found]]
        value, error, scale = (np.array([moment[slot] for moment in column]) for column in columns)
        return Estimate(value, error, scale, sum(x.work for x in found))

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        from . import pairs as cubature

        found = cubature.single_moments(f, r**2, b, order, rtol)
        value, error, scale = (
            np.ascontiguousarray(x[:, order]) for x in (found.value, found.error, found.scale)
        )
        return Estimate(value, error, scale, int(np.sum(found.work)))

    def on_pairs(self, pairs: Pairs, rows: Index, rtol: float) -> PairIntegrals:
        """Pair by pair, all moments at once."""
        return CubaturePairs(pairs, rtol)


class CubaturePairs(PairIntegrals):
    """Jets of a network's pairs, one after the other.

    It never asks more than its tolerance, also where rules are fixed: that would take long.
    """

    def __init__(self, pairs: Pairs, rtol: float) -> None:
        self._pairs = pairs
        self._rtol = rtol

    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """See :meth:`PairIntegrals.fill`."""
        bound = np.empty(len(rows))
        work = np.empty(len(rows), dtype=np.int64)
        for k, row in enumerate(rows.tolist()):
            i = int(self._pairs.i[row])
            j = int(self._pairs.j[row])
            f = self._pairs.activations[i]
            g = self._pairs.activations[j]
            before = None if request.before is None else request.before[k]
            if before is not None and _is_worse(f, g, args.pairs[:, row], order, before):
                found = np.zeros(out.shape[1]), np.inf, 0
            elif i == j:
                found = _itself(f, args.C[i], args.b[i], order, self._rtol)
            else:
                found = _pair(f, g, args.pairs[:, row], order, self._rtol)
            out[row], bound[k], work[k] = found
        return Filled(bound, work, np.flatnonzero(bound > self._rtol))


def _is_worse(f: Activation, g: Activation, pair: Array, order: int, before: float) -> bool:
    """Whether another evaluator's bound is good enough for functions without derivatives, or these
    would have to be those of a narrow conditional density.
    """
    if order == 0 or not (f.lacks_derivatives or g.lacks_derivatives):
        return False
    C11, _, C22, _, _, det = pair
    return before <= _ENOUGH or bool(det < _NARROW**2 * C11 * C22)


def _pair(
    f: Activation, g: Activation, pair: Array, order: int, rtol: float
) -> tuple[Array, float, int]:
    """Jet, relative error bound and nodes of one pair with the arguments C11, C12, C22, b1, b2,
    det.
    """
    from . import pairs as cubature  # scipy.integrate is loaded where it is needed only

    gaussian = cubature.Gaussian(*(float(x) for x in pair))
    found = cubature.pair_moments(f, g, gaussian, order, rtol)
    moments = np.zeros((1, 5, 5))
    for (p, q), value in zip(cubature.ORDERS, found.value, strict=False):
        moments[0, p, q] = value
    jet = np.empty((1, SIZES[order]))
    entries = [np.array([x]) for x in (*gaussian[:3], gaussian.det)]
    write_jets(moments, *entries, np.zeros(1, dtype=np.int64), jet)
    return jet[0], _relative(found.error, found.scale), found.work


def _itself(f: Activation, C: float, b: float, order: int, rtol: float) -> tuple[Array, float, int]:
    """The same for a neuron with itself, from the derivatives of E f(h)^2."""
    from . import distributions

    found = distributions.single_moments(squared(f), np.array([C]), np.array([b]), 2 * order, rtol)
    derivatives = np.zeros((1, 5))
    derivatives[:, : 2 * order + 1] = found.value
    jet = from_squares(derivatives, order)[0]
    return jet, _relative(found.error, found.scale), int(np.sum(found.work))


def _relative(error: Array, scale: Array) -> float:
    """Largest error over its scale, infinite moments (which have none) left out."""
    ratio = np.divide(
        error, scale, out=np.zeros(np.shape(error)), where=(scale > 0) & np.isfinite(error)
    )
    return float(ratio.max())


def squared(f: Activation) -> Activation:
    """The activation f(x)^2 with its derivatives by Leibniz' rule."""

    def kernel(x: Array, out: Array) -> None:
        jet = np.empty_like(out)
        f.jet(x, jet)
        for n in range(len(out)):
            out[n] = sum(comb(n, k) * jet[k] * jet[n - k] for k in range(n + 1))

    return Activation(f"{f.name}^2", kernel, kinks=f.kinks, max_order=f.max_order)
