"""Integrals of sums of terms, from those of the parts.

An activation with parts is ``f(h) = sum_t a_t p_t(s_t h + c_t)``. Moments are bilinear, and
``s h + c`` is as Gaussian as h is: of variance ``s^2 C`` and mean ``s b + c``, with the covariances
times s. A derivative with respect to b brings a factor s, so that every moment, and every column of
a jet, of two sums is

    I(p, q) = sum_tu a_t a_u s_t^p s_u^q I_tu(p, q).

This holds for the frame of ``jets.py`` too: c1 = C12/C11 becomes (s_u/s_t) c1, and
D1 = d1 + c1 d2 becomes s_t D1. Errors add up with the sizes of the parts; their sum relative to the
size of the whole is the bound, so it knows where parts cancel.
"""

from __future__ import annotations

import copy
import warnings
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._validation import Array, user_level
from ..activations import Activation, Term
from ..errors import AccuracyWarning
from . import registry
from .choice import Choice, FrozenChoice, Jets, PairEvaluation
from .evaluator import Arguments, Estimate, Evaluator, Index, Points
from .jets import COLUMN_ORDERS, EXCHANGE, J00, SIZES
from .surrogate.evaluator import SurrogateMethod

# Parts are evaluated to this part of the tolerance, since a sum of them may be smaller than each.
_SHARE = 1.0 / 8.0
# Methods that evaluate parts; the others take a sum as a whole.
_BY_PARTS = ("closed", "hermite")
_ORDERS = np.array(COLUMN_ORDERS)
_SWAP = np.array(EXCHANGE)


def parts(f: Activation) -> tuple[Term, ...]:
    """The parts of f, or f as its own part."""
    return f.parts or (Term(1.0, 1.0, 0.0, f),)


def in_order(*activations: Activation) -> tuple[str, ...]:
    """As :func:`.registry.in_order`: the methods for an activation or a pair, cheapest first.

    A method that works by parts is defined where it is for all pairs of parts.
    """
    if not any(f.parts for f in activations):
        return registry.in_order(*activations)
    every: list[tuple[Activation, ...]] = [()]
    for f in activations:
        every = [(*before, part.primitive) for before in every for part in parts(f)]
    orders = [registry.in_order(*some) for some in every]
    common = set(orders[0]).intersection(*orders[1:])
    # the order of the dearest pair, whose closed form comes late
    longest = max(orders, key=lambda names: names.index("closed") if "closed" in names else 0)
    found = [name for name in longest if name in common or name not in _BY_PARTS]
    whole = registry.in_order(*activations)
    return tuple(name for name in found if name in common or name in whole)


# --------------------------------------------------------------------------------------------------
# single moments


def moment(
    name: str,
    evaluator: Evaluator,
    f: Activation,
    g: Activation,
    points: Points,
    orders: tuple[int, int],
    rtol: float,
) -> Estimate:
    """``E[f^(p) g^(q)]`` by one method, part by part where it works by parts."""
    if not (f.parts or g.parts) or name not in _BY_PARTS:
        return evaluator.moment(f, g, points, orders, rtol)
    p, q = orders
    value = np.zeros_like(points.u)
    bound = np.zeros_like(points.u)
    work = 0
    infinite = np.zeros(points.u.shape, dtype=np.bool_)
    for a in parts(f):
        for b in parts(g):
            found = evaluator.moment(a.primitive, b.primitive, _moved(points, a, b), orders, rtol)
            factor = a.coefficient * b.coefficient * a.scale**p * b.scale**q
            infinite |= np.isinf(found.value)
            value += factor * found.value
            bound += abs(factor) * found.error_bound
            work += found.work
    value[infinite] = np.inf
    scale = _size(name, evaluator, f, points.r1, points.b1, p, rtol)
    scale = scale * _size(name, evaluator, g, points.r2, points.b2, q, rtol)
    return Estimate(value, bound, scale, work)


def mean(
    name: str, evaluator: Evaluator, f: Activation, r: Array, b: Array, order: int, rtol: float
) -> Estimate:
    """``E f^(order)(r x + b)`` by one method, part by part where it works by parts."""
    if not f.parts or name not in _BY_PARTS:
        return evaluator.mean(f, r, b, order, rtol)
    value = np.zeros_like(b)
    bound = np.zeros_like(b)
    work = 0
    infinite = np.zeros(b.shape, dtype=np.bool_)
    for a in f.parts:
        found = evaluator.mean(a.primitive, abs(a.scale) * r, a.scale * b + a.shift, order, rtol)
        factor = a.coefficient * a.scale**order
        infinite |= np.isinf(found.value)
        value += factor * found.value
        bound += abs(factor) * found.error_bound
        work += found.work
    value[infinite] = np.inf
    return Estimate(value, bound, _size(name, evaluator, f, r, b, order, rtol), work)


def _moved(points: Points, a: Term, b: Term) -> Points:
    """The arguments of the two parts."""
    r1, r2, u, b1, b2 = points.scales
    sign = 1.0 if a.scale * b.scale > 0.0 else -1.0
    return Points.at(
        abs(a.scale) * r1,
        abs(b.scale) * r2,
        sign * u,
        a.scale * b1 + a.shift,
        b.scale * b2 + b.shift,
    )


def _size(
    name: str, evaluator: Evaluator, f: Activation, r: Array, b: Array, order: int, rtol: float
) -> Array:
    """``sqrt(E f^(order)(r x + b)^2)``; where that is infinite, the sum of those of the parts."""
    points = Points.at(r, r, np.ones_like(r), b, b)
    square = np.zeros_like(r)
    largest = np.zeros_like(r)
    for a in parts(f):
        for c in parts(f):
            factor = a.coefficient * c.coefficient * (a.scale * c.scale) ** order
            at = _moved(points, a, c)
            if order <= 2:
                found = evaluator.moment(a.primitive, c.primitive, at, (order, order), rtol)
                square = square + factor * found.value
                scale = found.scale
            else:
                single = evaluator.mean(a.primitive, at.r1, at.b1, order, rtol)
                scale = single.scale**2
            if a is c:
                largest += np.sqrt(np.abs(factor) * scale)
    if order > 2:
        return largest
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(square) & (square > 0.0), np.sqrt(np.abs(square)), largest)


# --------------------------------------------------------------------------------------------------
# pairs of a network


def pair_evaluator(
    activations: list[Activation],
    i: Index,
    j: Index,
    method: str | SurrogateMethod = "auto",
    rtol: float = 1e-10,
    names: list[str] | None = None,
) -> Choice | TermsChoice:
    """The evaluator of the pairs i, j: by parts if one of the activations has parts.

    Parameters are those of :class:`.choice.Choice`.
    """
    if any(f.parts for f in activations) and method in ("auto", *_BY_PARTS):
        assert isinstance(method, str)
        return TermsChoice(activations, i, j, method, rtol)
    return Choice(activations, i, j, method, rtol, names)


class _Expansion(NamedTuple):
    """Neurons of parts, and pairs of them.

    ``owner``, ``coefficient``, ``scale``, ``shift`` (t,) of the parts; ``first``, ``second`` (m,)
    parts of the pairs; ``pair`` (m,) to which pair of neurons each belongs, in ascending order;
    ``starts`` where each pair of neurons begins; ``mirrored`` which pairs stand for their exchange,
    too: those of two parts of one neuron.
    """

    activations: list[Activation]
    owner: Index
    coefficient: Array
    scale: Array
    shift: Array
    first: Index
    second: Index
    pair: Index
    starts: Index
    mirrored: Index


def _expanded(activations: list[Activation], i: Index, j: Index) -> _Expansion:
    every = [parts(f) for f in activations]
    counts = np.array([len(own) for own in every], dtype=np.int64)
    offset = np.concatenate([[0], np.cumsum(counts)])
    flat = [part for own in every for part in own]
    numbers = np.array([part[:3] for part in flat]).reshape(len(flat), 3)
    number = counts[i] * counts[j]
    pair = np.repeat(np.arange(len(i)), number)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(number) - number, number)
    row = within // counts[j[pair]]
    column = within % counts[j[pair]]
    itself = (i == j)[pair]
    kept = ~itself | (row <= column)
    pair = pair[kept]
    row = row[kept]
    column = column[kept]
    itself = itself[kept]
    starts = np.searchsorted(pair, np.arange(len(i)))
    return _Expansion(
        [part.primitive for part in flat],
        np.repeat(np.arange(len(activations)), counts),
        numbers[:, 0].copy(),
        numbers[:, 1].copy(),
        numbers[:, 2].copy(),
        offset[i[pair]] + row,
        offset[j[pair]] + column,
        pair,
        starts,
        np.flatnonzero(itself & (row != column)),
    )


class TermsChoice(PairEvaluation):
    """Jets of pairs of neurons whose activations are sums; used like :class:`.choice.Choice`.

    Parameters
    ----------
    activations, i, j, method, rtol
        As there.
    """

    def __init__(
        self, activations: list[Activation], i: Index, j: Index, method: str, rtol: float
    ) -> None:
        self.activations = activations
        self.i, self.j = np.asarray(i, dtype=np.int64), np.asarray(j, dtype=np.int64)
        self.method = method
        self.rtol = rtol
        self._parts = _expanded(activations, self.i, self.j)
        cancels = any(len(f.parts) > 1 for f in activations)
        share = _SHARE if cancels else 1.0
        self._inner: Choice | FrozenChoice = Choice(
            self._parts.activations, self._parts.first, self._parts.second, method, share * rtol
        )
        self._cancels = cancels
        #: whether bounds have to be followed through the sums: closed forms err by rounding only
        self._follows = cancels and not self._inner.is_smooth
        self._warns = self._follows
        first = self._parts.first
        second = self._parts.second
        scale = self._parts.scale
        coefficient = self._parts.coefficient
        #: factors (m, 21) of the columns of the jets of all pairs of parts
        self._factors = (coefficient[first] * coefficient[second])[:, None] * (
            scale[first, None] ** _ORDERS[:, 0] * scale[second, None] ** _ORDERS[:, 1]
        )
        s1, s2 = scale[first], scale[second]
        self._scales = np.array([s1 * s1, s1 * s2, s2 * s2, s1, s2, (s1 * s2) ** 2])
        self._shifts = np.zeros_like(self._scales)
        self._shifts[3], self._shifts[4] = self._parts.shift[first], self._parts.shift[second]

    @property
    def is_smooth(self) -> bool:
        """Whether nothing is chosen by tolerances, so that freezing changes nothing."""
        return self._inner.is_smooth

    def evaluate(self, args: Arguments, order: int) -> Jets:
        """Jets of all pairs.

        Warns
        -----
        AccuracyWarning
            If the error bound of a part, or that of a sum, misses the tolerance.
        """
        own = self._parts
        columns = SIZES[order]
        parts = self._inner.evaluate(self._moved(args), order)
        jets = parts.values
        jets *= self._factors[:, :columns]
        mirrored = own.mirrored
        if len(mirrored):
            jets[mirrored] += jets[np.ix_(mirrored, _SWAP[:columns])]
        largest: Array = np.maximum.reduceat(parts.bound, own.starts)
        found = Jets(
            np.add.reduceat(jets, own.starts, axis=0),
            self._amplified(args, parts.bound) if self._follows else largest,
            np.maximum.reduceat(parts.method, own.starts),
            np.add.reduceat(parts.work, own.starts),
            np.maximum.reduceat(parts.missed, own.starts),
            parts.seconds,
            parts,
        )
        if self._warns:
            self._warn(found, parts)
        return found

    def _moved(self, args: Arguments) -> Arguments:
        """The arguments of the parts."""
        own = self._parts
        pairs = args.pairs[:, own.pair] * self._scales + self._shifts
        scale = own.scale
        C = args.C[own.owner] * (scale * scale)
        return Arguments(pairs, C, args.b[own.owner] * scale + own.shift)

    def _warn(self, found: Jets, parts: Jets) -> None:
        """Warn of sums whose terms cancel; the evaluators of the parts warn of these."""
        if not (found.bound > self.rtol).any() or not (parts.bound <= self._inner.rtol).all():
            return
        worst = int(np.argmax(found.bound))
        f, g = (self.activations[k[worst]].name for k in (self.i, self.j))
        warnings.warn(
            f"the error bound {found.bound[worst]:.1e} of the Gaussian integrals of {f} "
            f"and {g} misses rtol={self.rtol:g}: their terms cancel. Raise rtol.",
            AccuracyWarning,
            stacklevel=user_level(),
        )

    def bounds(self, args: Arguments, jets: Jets) -> Array:
        """Relative error bounds (pairs,) of an evaluation; cancellation of parts included."""
        assert jets.parts is not None
        return self._amplified(args, self._inner.bounds(self._moved(args), jets.parts))

    @cached_property
    def _sizes(self) -> tuple[Choice, _Expansion]:
        """What gives the sizes of the sums, from the pairs of parts of each neuron."""
        neurons = np.arange(len(self.activations))
        own = _expanded(self.activations, neurons, neurons)
        return Choice(own.activations, own.first, own.second, self.method, self.rtol), own

    def _amplified(self, args: Arguments, bounds: Array) -> Array:
        """Bounds of the parts, with their sizes, relative to the sizes of the sums."""
        own = self._parts
        evaluator, expansion = self._sizes
        C = args.C[expansion.owner]
        b = args.b[expansion.owner]
        s, c = expansion.scale, expansion.shift
        C, b = C * (s * s), b * s + c
        first = expansion.first
        second = expansion.second
        cross = args.C[expansion.owner[first]] * s[first] * s[second]
        pairs = np.array([C[first], cross, C[second], b[first], b[second], np.zeros(len(first))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            squares = evaluator(Arguments(pairs, C, b), 0)[:, J00]
        sizes = np.zeros(len(s))
        alone = first == second
        sizes[first[alone]] = np.abs(expansion.coefficient[first[alone]]) * np.sqrt(
            np.maximum(squares[alone], 0.0)
        )
        weight = expansion.coefficient[first] * expansion.coefficient[second]
        weight *= np.where(alone, 1.0, 2.0)
        whole = np.sqrt(np.maximum(np.add.reduceat(weight * squares, expansion.starts), 0.0))
        terms = bounds * sizes[own.first] * sizes[own.second]
        terms[own.mirrored] *= 2.0
        total = np.add.reduceat(terms, own.starts)
        size = whole[self.i] * whole[self.j]
        least = np.maximum.reduceat(bounds, own.starts)
        ratio = np.divide(total, size, out=np.full(len(total), np.inf), where=size > 0.0)
        ratio[total == 0.0] = 0.0
        return np.maximum(ratio, least)

    def frozen(self, args: Arguments, rtol: float) -> TermsChoice:
        """One that keeps its methods, as :meth:`.choice.Choice.frozen`."""
        other = copy.copy(self)
        share = _SHARE if self._cancels else 1.0
        other._inner = self._inner.frozen(self._moved(args), share * rtol)
        other.rtol = rtol
        other._warns = False
        return other


#: What :func:`pair_evaluator` returns, and what its ``frozen`` does.
PairChoice = Choice | FrozenChoice | TermsChoice
