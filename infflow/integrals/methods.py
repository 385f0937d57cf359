"""The methods that evaluate Gaussian moments: closed forms, Hermite series, cubature.

A method is an object with the three functions of :class:`Evaluator` and one entry in :data:`EVALUATORS`; single moments, networks and
the command line then know it by its name (networks through ``from_moments.py``, where ``evaluators.py`` has no faster way).
"""

from __future__ import annotations

import numpy as np

from .._validation import Array
from ..activations import Activation
from . import closed, hermite, one_sided, rounding
from .estimates import Estimate, Evaluator, Points
from .growth import check_growth


class ClosedForms:
    """Polynomials plus smoothed ramps, exponentials, elu and selu, exact up to rounding."""

    def defined(self, *activations: Activation) -> bool:
        """Whether the activation, or the pair, has a closed form."""
        return closed.is_defined(*activations) or (len(activations) == 2 and one_sided.is_defined(*activations))

    def moment(self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float) -> Estimate:
        """Moments of a pair."""
        r1, r2, u, b1, b2 = points
        gaussian = (r1**2, r1 * r2 * u, r2**2, b1, b2, (r1 * r2) ** 2 * (1 - u) * (1 + u))
        value, changes = rounding.values_and_changes(f, g, *gaussian, orders)
        size1, scale1 = rounding.size_and_scale(f, r1, b1, orders[0])
        size2, scale2 = rounding.size_and_scale(g, r2, b2, orders[1])
        bound = rounding.pair_bound(f, g, points, gaussian, orders, (size1, size2), value, changes)
        return Estimate(value, bound, scale1 * scale2, value.size * max(1, len(f.atoms) * len(g.atoms)))

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        table, zeros = closed.AtomTable([f]), np.zeros(r.size, dtype=np.int64)
        value = closed.single_moments(table, zeros, r**2, b, order)[:, order]
        size, scale = rounding.size_and_scale(f, r, b, order)
        bound = rounding.mean_bound(f, r, b, order, size, value)
        return Estimate(value, bound, scale, value.size * max(1, len(f.atoms)))


# A chunk of points whose Hermite coefficients take some 20 MB.
_CHUNK = 1000


class HermiteSeries:
    """Hermite series of smooth activations."""

    def defined(self, *activations: Activation) -> bool:
        """Whether all are smooth."""
        return all(hermite.is_defined(activation) for activation in activations)

    def moment(self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float) -> Estimate:
        """Moments of a pair."""
        chunks = [Points(*(x[k : k + _CHUNK] for x in points)) for k in range(0, len(points.u), _CHUNK)]
        parts = [self._moment(f, g, chunk, orders, rtol) for chunk in chunks]
        value, bound, scale = (np.concatenate([part[k] for part in parts]) for k in range(3))
        return Estimate(value, bound, scale, sum(part.work for part in parts))

    def _moment(self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float) -> Estimate:
        n = len(points.u)
        series = hermite.HermiteEvaluator([f] * n + [g] * n, rtol / 4)
        r, b = np.concatenate([points.r1, points.r2]), np.concatenate([points.b1, points.b2])
        i, j = np.arange(n), np.arange(n, 2 * n)
        while True:
            expansion = series.expand(r, b, sum(orders) + 1)
            values, bounds, terms = series.pairs(expansion, i, j, points.u, rtol / 4)
            if not series.can_widen(expansion, i, j, points.u, bounds, rtol):
                break
        p, q = orders
        scale = np.sqrt(expansion.products[i, p, p] * expansion.products[j, q, q])
        if not (bounds < 1.0).all():
            worst = int(np.argmax(bounds))
            check_growth(f, points.r1[worst : worst + 1] ** 2, points.b1[worst : worst + 1])
            check_growth(g, points.r2[worst : worst + 1] ** 2, points.b2[worst : worst + 1])
        return Estimate(values[:, p, q].copy(), bounds * scale, scale, int(terms.sum()))

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        series = hermite.HermiteEvaluator([f] * len(r), rtol)
        series.terms = 1
        expansion = series.expand(r, b, order + 1)
        scale = np.sqrt(expansion.products[:, order, order])
        value = expansion.coefficients[:, 0, order].copy()
        if not (expansion.errors < 1.0).all():
            worst = int(np.argmax(expansion.errors))
            check_growth(f, r[worst : worst + 1] ** 2, b[worst : worst + 1])
        return Estimate(value, (expansion.errors + hermite.ROUNDING) * scale, scale, len(r))


class Cubature:
    """Adaptive integration, for any activation; scipy.integrate is loaded when it is first used."""

    def defined(self, *activations: Activation) -> bool:
        """Always: what is missing is derived by moving derivatives onto the density."""
        return True

    def moment(self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float) -> Estimate:
        """Moments of a pair, point by point."""
        from . import cubature

        slot, order = cubature.ORDERS.index(orders), (sum(orders) + 1) // 2
        found = []
        for r1, r2, u, b1, b2 in zip(*(x.tolist() for x in points), strict=True):
            det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
            found.append(cubature.pair_moments(f, g, r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det, order, rtol))
        columns = [[x.value for x in found], [x.error for x in found], [x.scale for x in found]]
        value, error, scale = (np.array([moment[slot] for moment in column]) for column in columns)
        return Estimate(value, error, scale, sum(x.work for x in found))

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        from . import cubature

        found = cubature.single_moments(f, r**2, b, order, rtol)
        value, error, scale = (np.ascontiguousarray(x[:, order]) for x in (found.value, found.error, found.scale))
        return Estimate(value, error, scale, int(np.sum(found.work)))


#: The methods that exist, the one to be tried first first.
EVALUATORS: dict[str, Evaluator] = {"closed": ClosedForms(), "hermite": HermiteSeries(), "cubature": Cubature()}
