"""The methods that evaluate Gaussian moments: closed forms, Hermite series, tables, cubature.

A method is an object with the three functions of :class:`Evaluator` and one entry
in :data:`EVALUATORS`; single moments, networks and the command line then know it
by its name (networks through ``from_moments.py``, where ``choice.py`` has no
faster way).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from .closed import elu as one_sided
from .closed import error_bounds as rounding
from .closed import pairs as closed
from .evaluator import Estimate, Evaluator, Points
from .growth import check_growth
from .hermite import series as hermite
from .numeric.evaluator import NumericRule


class ClosedForms:
    """Polynomials plus smoothed ramps, exponentials, elu and selu, exact up to rounding."""

    def defined(self, *activations: Activation) -> bool:
        """Whether the activation, or the pair, has a closed form."""
        return closed.is_defined(*activations) or (
            len(activations) == 2 and one_sided.is_defined(*activations)
        )

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair."""
        r1, r2, u, b1, b2 = points
        gaussian = (r1**2, r1 * r2 * u, r2**2, b1, b2, (r1 * r2) ** 2 * (1 - u) * (1 + u))
        value, changes = rounding.values_and_changes(f, g, *gaussian, orders)
        size1, scale1 = rounding.size_and_scale(f, r1, b1, orders[0])
        size2, scale2 = rounding.size_and_scale(g, r2, b2, orders[1])
        bound = rounding.pair_bound(f, g, points, gaussian, orders, (size1, size2), value, changes)
        return Estimate(
            value, bound, scale1 * scale2, value.size * max(1, len(f.atoms) * len(g.atoms))
        )

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        table = closed.AtomTable([f])
        zeros = np.zeros(r.size, dtype=np.int64)
        value = closed.single_moments(table, zeros, r**2, b, order)[:, order]
        size, scale = rounding.size_and_scale(f, r, b, order)
        bound = rounding.mean_bound(f, r, b, order, size, value)
        return Estimate(value, bound, scale, value.size * max(1, len(f.atoms)))


# Points that are summed at a time, and neurons whose coefficients are held meanwhile.
_POINTS = 100_000
_NEURONS = 20_000


class HermiteSeries:
    """Hermite series of smooth activations."""

    def defined(self, *activations: Activation) -> bool:
        """Whether all are smooth."""
        return all(hermite.is_defined(activation) for activation in activations)

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair; equal neurons, as those of a kernel matrix, are expanded once."""
        size = len(points.u)
        firsts, i = _distinct(points.r1, points.b1)
        seconds, j = _distinct(points.r2, points.b2)
        if len(firsts) + len(seconds) > _NEURONS and size > _NEURONS // 2:
            step = _NEURONS // 2
            chunks = [Points(*(x[k : k + step] for x in points)) for k in range(0, size, step)]
            return _joined([self.moment(f, g, chunk, orders, rtol) for chunk in chunks])
        series = hermite.HermiteEvaluator([f] * len(firsts) + [g] * len(seconds), rtol / 4)
        neurons = np.concatenate([firsts, seconds])
        r = np.ascontiguousarray(neurons.real)
        b = np.ascontiguousarray(neurons.imag)
        j += len(firsts)
        parts = [
            _summed(
                series,
                r,
                b,
                i[k : k + _POINTS],
                j[k : k + _POINTS],
                points.u[k : k + _POINTS],
                orders,
                rtol,
            )
            for k in range(0, size, _POINTS)
        ]
        found = _joined(parts)
        useless = ~(found.error_bound <= found.scale)
        if useless.any():
            worst = int(np.argmax(useless))
            check_growth(f, points.r1[worst : worst + 1] ** 2, points.b1[worst : worst + 1])
            check_growth(g, points.r2[worst : worst + 1] ** 2, points.b2[worst : worst + 1])
        return found

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
        return Estimate(value, _absolute(expansion.errors + hermite.ROUNDING, scale), scale, len(r))


def _distinct(r: Array, b: Array) -> tuple[NDArray[np.complex128], NDArray[np.int64]]:
    """The distinct neurons as r + ib, and which of them each is."""
    neurons, place = np.unique(r + 1j * b, return_inverse=True)
    return neurons, place.reshape(-1).astype(np.int64)


def _summed(
    series: hermite.HermiteEvaluator,
    r: Array,
    b: Array,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    u: Array,
    orders: tuple[int, int],
    rtol: float,
) -> Estimate:
    """The series of the pairs i, j of neurons, with as many terms as bring them to the
    tolerance.
    """
    while True:
        expansion = series.expand(r, b, sum(orders) + 1)
        values, bounds, terms = series.pairs(expansion, i, j, u, rtol / 4)
        if not series.can_widen(expansion, i, j, u, bounds, rtol):
            break
    p, q = orders
    scale = np.sqrt(expansion.products[i, p, p] * expansion.products[j, q, q])
    return Estimate(values[:, p, q].copy(), _absolute(bounds, scale), scale, int(terms.sum()))


def _absolute(bounds: Array, scale: Array) -> Array:
    """Absolute bounds from relative ones; infinite ones stay so at a scale of 0."""
    return np.where(np.isinf(bounds), np.inf, np.where(np.isinf(bounds), 0.0, bounds) * scale)


def _joined(parts: list[Estimate]) -> Estimate:
    """The estimates of successive points as one."""
    if not parts:
        return Estimate(np.empty(0), np.empty(0), np.empty(0), 0)
    value, bound, scale = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return Estimate(value, bound, scale, sum(part.work for part in parts))


class Cubature:
    """Adaptive integration, for any activation; scipy.integrate is loaded when it is first used."""

    def defined(self, *activations: Activation) -> bool:
        """Always: what is missing is derived by moving derivatives onto the density."""
        return True

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair, point by point."""
        from .cubature import pairs as cubature

        slot = cubature.ORDERS.index(orders)
        order = (sum(orders) + 1) // 2
        found = []
        for r1, r2, u, b1, b2 in zip(*(x.tolist() for x in points), strict=True):
            det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
            found.append(
                cubature.pair_moments(f, g, r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det, order, rtol)
            )
        columns = [[x.value for x in found], [x.error for x in found], [x.scale for x in found]]
        value, error, scale = (np.array([moment[slot] for moment in column]) for column in columns)
        return Estimate(value, error, scale, sum(x.work for x in found))

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Moments of one activation."""
        from .cubature import pairs as cubature

        found = cubature.single_moments(f, r**2, b, order, rtol)
        value, error, scale = (
            np.ascontiguousarray(x[:, order]) for x in (found.value, found.error, found.scale)
        )
        return Estimate(value, error, scale, int(np.sum(found.work)))


#: Registered methods by name; :func:`in_order` says in which order they are tried.
EVALUATORS: dict[str, Evaluator] = {
    "closed": ClosedForms(),
    "hermite": HermiteSeries(),
    "numeric": NumericRule(),
    "cubature": Cubature(),
}

#: Closed forms with at most this many pairs of atoms cost less than a Hermite series.
CHEAP = 16


def is_cheap(f: Activation, g: Activation) -> bool:
    """Whether the closed form of a pair costs less than a series."""
    return _pieces(f) * _pieces(g) <= CHEAP


def _pieces(f: Activation) -> int:
    """The number of its atoms; a sine or cosine, for which all atoms of the partner have complex
    means, is one.
    """
    return len(f.atoms) or int(any(wave.rate.imag != 0.0 for wave in f.waves))


def in_order(*activations: Activation) -> tuple[str, ...]:
    """The methods that are defined for an activation or a pair, in the order in which they are
    tried.

    Closed forms of few atoms, series, closed forms of mixtures, rules on tables, what was added to
    the registry, and cubature. Means of one activation are closed first.
    """
    names = [name for name in EVALUATORS if name != "cubature"]
    if len(activations) == 2 and not is_cheap(*activations):
        names.remove("closed")
        names.insert(names.index("hermite") + 1, "closed")
    names.append("cubature")
    return tuple(name for name in names if EVALUATORS[name].defined(*activations))
