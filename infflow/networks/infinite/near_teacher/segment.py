"""Points on the segment from a teacher to a student, and evaluators of the integrals of pairs."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array
from ....activations import Activation, polynomial
from ....integrals.choice import METHODS, Choice, candidates, evaluator_of
from ....integrals.closed import pairs as closed
from ....integrals.evaluator import Arguments
from . import realizable_kernels

#: The activation of a constant, which is linear in its output weight alone.
ONE = polynomial([1.0])

Flags = NDArray[np.bool_]
Index = NDArray[np.int64]

_kernels: Any = realizable_kernels  # mypy does not spread tuples into jitted functions

# Relative error of the rules: rounding where all integrals are closed forms, else a fraction of the
# tolerance of the series.
_ROUNDING = 1e-15
_FRACTION = 1e-3
# Derivative n of the integrand is about the power n of this, in units of the distance of
# :func:`.realizable_kernels.survey`.
_VARIATION = 4.0
# Movements in units of the angle between two kinks from which on they get the rule for corners,
# which costs more than the last of the others.
_CORNER = 0.1
_CORNER_OF_SERIES = 0.02
# Methods that give a point with itself the moments of a pair.
_PLAIN = np.array([evaluator_of(label).squares_are_pairs(label) for label in METHODS])

#: Places of the flags of :class:`Segment`.
CORNER, NARROW, DONE = range(3)
# Pairs at the teacher, pairs with one point that moves, pairs of nearly parallel neurons.
_FIXED, _MOVING, _CLOSED = range(3)


class Rule(NamedTuple):
    """Nodes and weights on (0, 1); the error is derivative ``power`` of the integrand over
    ``constant``.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    power: int
    constant: float


def _gauss(n: int, constant: float) -> Rule:
    """Gauss-Legendre."""
    x, w = np.polynomial.legendre.leggauss(n)
    return Rule(tuple(((1 + x) / 2).tolist()), tuple((w / 2).tolist()), 2 * n, constant)


_ROOT_6 = 6.0**0.5
#: For closed forms, which cost the same everywhere.
RULES = (
    _gauss(1, 24.0),
    _gauss(2, 4320.0),
    _gauss(3, 2016000.0),
    _gauss(4, 1778112000.0),
    _gauss(5, 2534876467200.0),
)
#: For series. Radau's rules have the teacher among their nodes, which does not move: it is expanded
#: once.
RULES_OF_SERIES = (
    RULES[0],
    Rule((0.0, 2 / 3), (1 / 4, 3 / 4), 3, 216.0),
    Rule(
        (0.0, (6 - _ROOT_6) / 10, (6 + _ROOT_6) / 10),
        (1 / 9, (16 + _ROOT_6) / 36, (16 - _ROOT_6) / 36),
        5,
        72000.0,
    ),
)


class Traits:
    """Properties of n activations on which the choice of rules rests.

    ``kinked`` (n,) says which have kinks, ``farthest`` (n,) how far these are from 0 at most;
    ``needs_series`` whether series are the first choice for one. ``corner``: two neurons with kinks
    that move by more than this part of the angle between them get the rule for corners.
    """

    def __init__(self, activations: list[Activation]) -> None:
        self.activations = activations
        self.kinked = np.array([bool(f.kinks) for f in activations])
        self.farthest = np.array([max(map(abs, f.kinks), default=0.0) for f in activations])
        self.needs_series = any(candidates(f, f)[0] != "closed" for f in dict.fromkeys(activations))
        self.corner = _CORNER_OF_SERIES if self.needs_series else _CORNER


def rule_for(traits: Traits, distance: float, rtol: float) -> Rule:
    """The first rule that is accurate enough for neurons that move by this distance."""
    rules: tuple[Rule, ...] = RULES
    tolerance = _ROUNDING
    if traits.needs_series:
        rules = RULES_OF_SERIES
        tolerance = max(_FRACTION * rtol, _ROUNDING)
    step = _VARIATION * distance
    return next(
        (rule for rule in rules if step**rule.power <= tolerance * rule.constant), rules[-1]
    )


class Path(NamedTuple):
    """Neurons from the teacher to the student.

    ``ends`` are W, b, B of the teacher and the differences to the student; ``products`` those of
    the rows of W and dW.
    """

    ends: tuple[Array, ...]
    products: Array
    activations: list[Activation]


Pairs = tuple[Index, Array, Index, Index, Array]
"""Neuron and position of the points (p,); first, second point and weight of the pairs (m,)."""


class Segment:
    """Points of neurons on the segment and the pairs of points that the double integral is made of.

    Pairs of neurons take the same rule in both directions. Where two neurons with kinks meet the
    integrand has a ridge: for each with itself at s = t, for those that start from one teacher
    neuron at or near a line from s = t = 0. So the triangle s < t is mapped to a square (s = x y,
    t = x), and y is split at the ridge; 3 nodes are taken in x and in each part of y.

    Parameters
    ----------
    activations : list of Activation
        Of the n neurons.
    flags : (3, n, n) array of bool
        Pairs of neurons that take the rule of the triangle (:data:`CORNER`), nearly parallel
        neurons (:data:`NARROW`), and pairs that are evaluated elsewhere (:data:`DONE`). Series of
        nearly parallel ones, if they end, are long, and all neurons would be expanded as far:
        closed forms are used where there are some.
    rule : Rule
        Of the others, in each direction.
    copies : bool
        Whether pairs of a point with itself are pairs of the point with a copy of it.
    method, rtol
        Of the integrals.
    """

    def __init__(
        self,
        activations: list[Activation],
        flags: Flags,
        rule: Rule,
        copies: bool,
        method: str,
        rtol: float,
    ) -> None:
        jobs = _Jobs(copies)
        rules = [RULES[0] if f is ONE else rule for f in activations]
        for i in range(len(activations)):
            for j in range(i, len(activations)):
                if flags[DONE, i, j]:
                    continue
                if not flags[CORNER, i, j]:
                    jobs.add_rectangle(i, rules[i], j, rules[j])
                elif i == j:
                    jobs.add_triangle(i)
                else:
                    jobs.add_split_triangle(i, j)
                    jobs.add_split_triangle(j, i)
        neuron, position = (np.array([point[k] for point in jobs.points]) for k in (0, 1))
        first, second = np.array(list(jobs.weights)).T
        part = np.where(
            position[first] == 0.0, _FIXED, _MOVING
        )  # the second is fixed if the first is
        itself = first == second
        for r in np.flatnonzero(
            flags[NARROW, neuron[first], neuron[second]] & (part == _MOVING) & ~itself
        ):
            f, g = (activations[neuron[index[r]]] for index in (first, second))
            if closed.is_defined(f, g) and candidates(f, g)[0] == "hermite":
                part[r] = _CLOSED
        order = np.argsort(part, kind="stable")
        first = first[order]
        second = second[order]
        weight = np.array(list(jobs.weights.values()))[order]
        #: neuron and position of the points (p,); first, second point and weight of the pairs (m,)
        self._pairs = (neuron, position, first, second, weight)
        place = {
            pair: r for r, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True))
        }
        #: pairs with a node in y, which depends on where the ridge is: number of the pair, its
        #: first point, x, part of y, node in it, weight before y is split
        split = [(place[pair], *rest) for pair, *rest in jobs.split]
        self._split = [np.array(column) for column in zip(*split, strict=True)]
        self._arguments = Arguments(
            np.empty((6, len(weight))), np.empty(len(neuron)), np.empty(len(neuron))
        )
        every = [activations[i] for i in neuron]
        ends = np.searchsorted(part[order], [_FIXED, _MOVING, _CLOSED, _CLOSED + 1])
        parts = [slice(start, stop) for start, stop in pairwise(ends)]
        self._parts: list[tuple[slice, _Series | _Mixtures]] = []
        for rows, kind in zip(parts, (_Fixed, _Series, _Mixtures), strict=True):
            if rows.stop > rows.start:
                self._parts.append((rows, kind(every, first[rows], second[rows], method, rtol)))

    def pairs(self, path: Path) -> Pairs:
        """Points and pairs for these neurons."""
        if self._split:
            neuron, position, first, second, weight = self._pairs
            _, b, _, _, db, _ = path.ends
            _kernels.split(
                b, db, path.products, neuron, first, second, *self._split, position, weight
            )
        return self._pairs

    def arguments(self, path: Path, wedge: Array) -> Arguments:
        """Arguments of the evaluators for the present pairs; every call fills the same arrays."""
        W, b, _, dW, db, _ = path.ends
        *points, _ = self._pairs
        _kernels.arguments(W, b, dW, db, path.products, wedge, *points, *self._arguments)
        return self._arguments

    def jets(self, args: Arguments) -> Array:
        """Jets (m, 21) of all pairs."""
        if len(self._parts) == 1:
            return self._parts[0][1](args)
        return np.concatenate(
            [part(args._replace(pairs=args.pairs[:, rows])) for rows, part in self._parts]
        )

    def is_plain(self) -> bool:
        """Whether the last evaluation gave moments of pairs to points with themselves."""
        return all(part.is_plain() for _, part in self._parts)


class _Jobs:
    """Collects points and weights of pairs of points.

    A point is a neuron, its position, and what tells it from others there.
    """

    def __init__(self, copies: bool) -> None:
        self._copies = copies
        self.points: dict[tuple[int, float, Hashable], int] = {}
        self.weights: dict[tuple[int, int], float] = {}
        self.split: list[tuple[tuple[int, int], int, float, int, float, float]] = []

    def add_rectangle(self, i: int, first: Rule, j: int, second: Rule) -> None:
        """Neurons i and j, and j and i, whose terms are the same."""
        both = 1.0 if i == j else 2.0
        for s, u in zip(first.nodes, first.weights, strict=True):
            for t, v in zip(second.nodes, second.weights, strict=True):
                self._add(i, s, j, t, both * u * v)

    def add_triangle(self, i: int) -> None:
        """A neuron with itself, smooth for s < t only."""
        x, w, *_ = RULES[2]
        for p, u in zip(x, w, strict=True):
            for q, v in zip(x, w, strict=True):
                self._add(i, p * q, i, p, 2 * u * v * p)

    def add_split_triangle(self, i: int, j: int) -> None:
        """Neuron i at s = x y and j at t = x.

        Both parts of y get their nodes by :func:`.realizable_kernels.split`.
        """
        x, w, *_ = RULES[2]
        for p, u in zip(x, w, strict=True):
            t = self._point(j, p)
            for part in (0, 1):
                for q, v in zip(x, w, strict=True):
                    s = self._point(i, 0.5, (j, p, part, q))
                    self.weights[s, t] = 2 * u * v * p
                    self.split.append(((s, t), s, p, part, q, 2 * u * v * p))

    def _add(self, i: int, s: float, j: int, t: float, weight: float) -> None:
        p = self._point(i, s)
        q = self._point(j, t, "copy" if self._copies and (i, s) == (j, t) else None)
        # points at the teacher come second: series are kept apart for first and second places
        pair = (p, q) if (s == 0.0, p) <= (t == 0.0, q) else (q, p)
        self.weights[pair] = self.weights.get(pair, 0.0) + weight

    def _point(self, neuron: int, position: float, name: Hashable = None) -> int:
        return self.points.setdefault((neuron, position, name), len(self.points))


class _Series:
    """Pairs as the method says."""

    def __init__(
        self, activations: list[Activation], first: Index, second: Index, method: str, rtol: float
    ) -> None:
        self._evaluator = Choice(activations, first, second, method, rtol)
        self._methods = np.zeros(len(first), dtype=np.int8)
        #: pairs of a point with itself, where it is not known how they are evaluated
        self._itself = np.flatnonzero((first == second) & (not self._evaluator.is_smooth))

    def __call__(self, args: Arguments) -> Array:
        found = self._evaluator.evaluate(args, 2)
        self._methods = found.method
        return found.values

    def is_plain(self) -> bool:
        """See :meth:`Segment.is_plain`."""
        return not len(self._itself) or bool(_PLAIN[self._methods[self._itself]].all())


class _Fixed(_Series):
    """Pairs of points at the teacher, which are evaluated where one has changed only."""

    _last: tuple[Array, Array] | None = None

    def __call__(self, args: Arguments) -> Array:
        if self._last is None or not np.array_equal(self._last[0], args.pairs):
            self._last = args.pairs.copy(), super().__call__(args)
        return self._last[1]


class _Mixtures:
    """Pairs by closed forms."""

    def __init__(self, activations: list[Activation], first: Index, second: Index, *_: Any) -> None:
        kinds = list(dict.fromkeys(activations[p] for p in (*first, *second)))
        self._table = closed.AtomTable(kinds)
        places = [[kinds.index(activations[p]) for p in points] for points in (first, second)]
        self._f, self._g = np.array(places, dtype=np.int64)

    def __call__(self, args: Arguments) -> Array:
        return closed.pair_jets(self._table, self._f, self._g, args.pairs, 2)

    def is_plain(self) -> bool:
        """See :meth:`Segment.is_plain`."""
        return True
