"""Jets of the pairs of a network: the cheapest evaluator whose error bound meets the tolerance,
pair by pair.

A :class:`Choice` tries evaluators anew at every point; a :class:`FrozenChoice` keeps those that it
found at one. Both return :class:`Jets`: values, bounds, methods and work.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, user_level
from ..activations import Activation
from ..compile_time import running_time
from ..errors import AccuracyWarning, MethodError
from .closed.evaluator import is_step, steps_with_themselves
from .evaluator import Arguments, Evaluator, Flags, Index, PairIntegrals, Pairs, Request
from .growth import check_growth
from .jets import J00, SIZES
from .registry import EVALUATORS, in_order
from .surrogate.evaluator import SurrogateMethod

__all__ = [
    "METHODS",
    "Arguments",
    "Choice",
    "FrozenChoice",
    "Jets",
    "PairEvaluation",
    "candidates",
    "evaluator_of",
]

# What reports call the methods, in the order of their codes: of a sum of terms they name the last.
# "mixture" and "one-sided" are kinds of closed forms.
_LABELS = ("closed", "hermite", "mixture", "one-sided", "cubature", "surrogate", "numeric")
#: Labels of the methods; a code of :class:`Jets` is a place in it.
METHODS = (*_LABELS, *(name for name in EVALUATORS if name not in _LABELS))
_CODES = {label: code for code, label in enumerate(METHODS)}
_KINDS_OF_CLOSED = ("mixture", "one-sided")
#: Code of pairs that are not needed.
NOT_NEEDED = -1
# A frozen choice is made anew where a bound has grown by this factor.
_GROWTH = 10.0
_REQUEST = Request()


class Jets(NamedTuple):
    """Jets of all pairs, and what is known of each.

    ``values`` (pairs, 1 | 6 | 21) as in ``jets.py``; ``bound`` (pairs,) their relative error;
    ``method`` codes of :data:`METHODS`; ``work`` in the unit of the method; ``missed`` the bound of
    a cheaper method that was tried and did not meet the tolerance (0: none); ``seconds`` for all
    pairs of a method; ``parts`` those of the pairs of terms, for activations that are sums.
    """

    values: Array
    bound: Array
    method: NDArray[np.int8]
    work: NDArray[np.int64]
    missed: Array
    seconds: dict[str, float]
    parts: Jets | None = None

    @staticmethod
    def empty(pairs: int, order: int) -> Jets:
        """Nothing evaluated yet."""
        return Jets(
            np.empty((pairs, SIZES[order])),
            np.zeros(pairs),
            np.zeros(pairs, np.int8),
            np.zeros(pairs, np.int64),
            np.zeros(pairs),
            {},
        )


class Group(NamedTuple):
    """The rows of pairs that share a list of candidates, by their labels."""

    labels: tuple[str, ...]
    rows: Index


class _Only(NamedTuple):
    """The one method of all rows, and what results share: codes (pairs,) and zeros (pairs,)."""

    label: str
    rows: Index
    evaluator: PairIntegrals
    codes: NDArray[np.int8]
    nothing: Array


class _Kept(NamedTuple):
    """Jets, bounds and methods of some rows as another method left them."""

    values: Array
    bound: Array
    method: NDArray[np.int8]


def name_of(label: str) -> str:
    """The name in the registry of what reports call ``label``."""
    return "closed" if label in _KINDS_OF_CLOSED else label


def evaluator_of(label: str) -> Evaluator:
    """The evaluator that reports call ``label``."""
    return EVALUATORS[name_of(label)]


def candidates(f: Activation, g: Activation, method: str = "auto") -> tuple[str, ...]:
    """Labels of the methods for a pair of activations, in the order in which they are tried.

    Raises
    ------
    MethodError
        If the method that was asked for is not defined for the pair.
    """
    defined = in_order(f, g)
    if method == "auto":
        first = EVALUATORS[defined[0]]
        if first.is_final(f, g):
            defined = defined[:1]
        return tuple(EVALUATORS[name].label(name, f, g) for name in defined)
    if method not in defined:
        names = " and ".join(dict.fromkeys(repr(a.name) for a in (f, g)))
        raise MethodError(
            f"the method {method!r} is not defined for {names}; defined are "
            f"{', '.join(map(repr, defined))}. Use method='auto'."
        )
    return (EVALUATORS[method].label(method, f, g, is_named=True),)


class _Evaluators:
    """The evaluators of a network's pairs by name, and what filling rows by one of them means."""

    def __init__(self, pairs: Pairs, by_name: dict[str, PairIntegrals]) -> None:
        self.by_name = by_name
        self._pairs = pairs
        steps = np.array([is_step(f) for f in pairs.kinds], dtype=bool)
        self._steps = np.flatnonzero((pairs.i == pairs.j) & steps[pairs.kind[pairs.i]])
        self.has_steps = bool(len(self._steps))

    def frozen(self, rtol: float) -> _Evaluators:
        """With rules that stay as they are."""
        return _Evaluators(self._pairs, {k: own.frozen(rtol) for k, own in self.by_name.items()})

    def fill(
        self,
        label: str,
        rows: Index,
        args: Arguments,
        order: int,
        out: Jets,
        request: Request,
    ) -> Index:
        """Fill the rows by one method; the places of those that it leaves for another one."""
        start = running_time()
        found = self.by_name[name_of(label)].fill(rows, args, order, out.values, request)
        out.bound[rows] = found.bound
        out.work[rows] = found.work
        out.method[rows] = _CODES[label]
        out.seconds[label] = out.seconds.get(label, 0.0) + running_time() - start
        return found.left

    def fill_steps(self, args: Arguments, order: int, values: Array) -> None:
        """Neurons of steps with themselves have the square of one step, whatever the method is."""
        neurons = self._pairs.i[self._steps]
        steps = [self._pairs.activations[k] for k in neurons]
        C = args.C[neurons]
        values[self._steps] = steps_with_themselves(steps, C, args.b[neurons], order)

    def amplified(self, args: Arguments, jets: Jets) -> Array:
        """Error bounds with the rounding of the places of kinks; see :meth:`Choice.bounds`."""
        found = jets.bound.copy()
        pairs = self._pairs
        kinked = np.array([bool(f.kinks) for f in pairs.kinds], dtype=bool)[pairs.kind]
        sharp = [code for label, code in _CODES.items() if evaluator_of(label).omits_kinks]
        exact = np.isin(jets.method, sharp)
        rows = np.flatnonzero(exact & kinked[pairs.i] & kinked[pairs.j])
        C11, _, C22, b1, b2, det = args.pairs[:, rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.maximum(np.abs(b1) / np.sqrt(C11), np.abs(b2) / np.sqrt(C22))
            growth = distance**2 * C11 * C22 / det
        found[rows] *= 1.0 + np.where(np.isfinite(growth), growth, 0.0)
        return found


class PairEvaluation(ABC):
    """What a loss asks for the jets of its pairs."""

    @abstractmethod
    def evaluate(self, args: Arguments, order: int) -> Jets:
        """Jets of all pairs, and what is known of each."""

    def __call__(self, args: Arguments, order: int) -> Array:
        """The values of :meth:`evaluate`."""
        return self.evaluate(args, order).values


class Choice(PairEvaluation):
    """Jets of a fixed list of pairs among a fixed list of neurons.

    Nothing of it changes after it is made. Its evaluators may keep expansions of neurons that do
    not move, on which results do not depend.

    Parameters
    ----------
    activations : list of Activation
        One per neuron.
    i, j : integer arrays (pairs,)
        Neurons of each pair; i = j stands for a neuron with itself.
    method : str or SurrogateMethod
        "auto", or the one method to use.
    rtol : float
        Tolerance relative to sqrt(E f^(p)^2 E g^(q)^2).
    names : list of str
        What errors call the neurons, if surrogates are used.
    """

    def __init__(
        self,
        activations: list[Activation],
        i: Index,
        j: Index,
        method: str | SurrogateMethod = "auto",
        rtol: float = 1e-10,
        names: list[str] | None = None,
    ) -> None:
        self.activations = activations
        self.pairs = Pairs.of(activations, i, j, names or ())
        self.i = self.pairs.i
        self.j = self.pairs.j
        self.method = method
        self.rtol = rtol
        self.groups = self._plan()
        self.evaluators = _Evaluators(self.pairs, self._on_pairs())
        self._only = self._one_method()

    def _plan(self) -> tuple[Group, ...]:
        """Pairs that share a list of candidates."""
        groups: dict[tuple[str, ...], list[Index]] = {}
        for f, g, rows in self.pairs.by_kinds(np.arange(len(self.i))):
            if isinstance(self.method, SurrogateMethod):
                labels = self.method.candidates(f, g, partial(candidates, f, g), self._who(rows))
            else:
                labels = candidates(f, g, self.method)
            groups.setdefault(labels, []).append(rows)
        return tuple(
            Group(labels, np.sort(np.concatenate(rows))) for labels, rows in groups.items()
        )

    def _who(self, rows: Index) -> str:
        """What errors call the first of some pairs."""
        own = (int(k[rows[0]]) for k in (self.i, self.j))
        return " and ".join(f"{self.pairs.names[k]} ({self.activations[k].name})" for k in own)

    def _on_pairs(self) -> dict[str, PairIntegrals]:
        """The evaluators of all candidates, for the rows that may come to each."""
        rows: dict[str, list[Index]] = {}
        for group in self.groups:
            for label in group.labels:
                rows.setdefault(name_of(label), []).append(group.rows)
        found = {}
        for name, some in rows.items():
            chosen = isinstance(self.method, SurrogateMethod) and name == "surrogate"
            evaluator = self.method if chosen else EVALUATORS[name]
            assert isinstance(evaluator, Evaluator)
            found[name] = evaluator.on_pairs(self.pairs, np.sort(np.concatenate(some)), self.rtol)
        return found

    def _one_method(self) -> _Only | None:
        """The method of all pairs, if they have one."""
        if len(self.groups) != 1 or len(self.groups[0].labels) != 1:
            return None
        (label,) = self.groups[0].labels
        n = len(self.i)
        codes = np.full(n, _CODES[label], dtype=np.int8)
        evaluator = self.evaluators.by_name[name_of(label)]
        return _Only(label, self.groups[0].rows, evaluator, codes, np.zeros(n))

    @property
    def is_smooth(self) -> bool:
        """Whether nothing is chosen by tolerances, so that freezing changes nothing.

        Surrogates are smooth functions, and which pairs they cover does not depend on tolerances.
        """
        if isinstance(self.method, SurrogateMethod):
            return True
        first = (group.labels[0] for group in self.groups)
        return all(evaluator_of(label).is_smooth(label) for label in first)

    def evaluate(self, args: Arguments, order: int) -> Jets:
        """Jets of all pairs.

        Warns
        -----
        AccuracyWarning
            If an error bound misses the tolerance with every method that is allowed.
        """
        if self._only is not None:
            found = self._by_one_method(self._only, args, order)
        else:
            found = Jets.empty(len(self.i), order)
            for group in self.groups:
                self._evaluate_group(group, args, order, found)
        if self.evaluators.has_steps:
            self.evaluators.fill_steps(args, order, found.values)
        return found

    def _by_one_method(self, only: _Only, args: Arguments, order: int) -> Jets:
        """All pairs by their only method, with nothing to put together."""
        start = running_time()
        values = np.empty((len(only.rows), SIZES[order]))
        bound, work, left = only.evaluator.fill(only.rows, args, order, values, _REQUEST)
        seconds = {only.label: running_time() - start}
        found = Jets(values, bound, only.codes, work, only.nothing, seconds)
        if len(left):
            self._warn(only.rows[left], args, found)
        return found

    def _evaluate_group(self, group: Group, args: Arguments, order: int, out: Jets) -> None:
        labels, rows = group
        if not labels:
            out.values[rows] = 0.0
            out.method[rows] = NOT_NEEDED
            return
        for label in labels:
            before = None
            if label != labels[0]:
                before = _Kept(out.values[rows], out.bound[rows], out.method[rows])
                out.missed[rows] = out.bound[rows]
            request = Request(
                covered=self._covered(labels, label, args),
                before=None if before is None else before.bound,
            )
            left = self.evaluators.fill(label, rows, args, order, out, request)
            if before is not None:
                _keep_better(before, left, rows, out)
            rows = rows[left]
            if not len(rows):
                return
        self._warn(rows, args, out)

    def _covered(
        self, labels: tuple[str, ...], label: str, args: Arguments
    ) -> Callable[[Index], Flags]:
        """Which rows another method than ``label`` is sure to take."""

        def covered(rows: Index) -> Flags:
            found = np.zeros(len(rows), dtype=np.bool_)
            for other in labels:
                if other != label:
                    found |= self.evaluators.by_name[name_of(other)].meets(rows, args)
            return found

        return covered

    def bounds(self, args: Arguments, jets: Jets) -> Array:
        """Relative error bounds (pairs,) of an evaluation.

        Those of closed forms are rounding; where the kinks of two nearly parallel neurons nearly
        coincide, it is amplified by up to the square of |b|/(r s), s the sine of the angle, since
        the kinks' distance is known to the rounding of b only.
        """
        return self.evaluators.amplified(args, jets)

    def frozen(self, args: Arguments, rtol: float) -> Choice | FrozenChoice:
        """One whose jets are, next to ``args``, one smooth function of their arguments."""
        if isinstance(self.method, SurrogateMethod):
            return self
        return FrozenChoice(self, args, rtol)

    def _warn(self, rows: Index, args: Arguments, out: Jets) -> None:
        """Warn of the rows, but for those that have overflown: they end in an error of the
        network.
        """
        finite = np.isfinite(out.values[rows, J00])
        finite &= np.isfinite(args.pairs[:, rows]).all(axis=0)
        rows = rows[finite]
        if not len(rows):
            return
        worst = rows[int(np.argmax(out.bound[rows]))]
        f, g = (self.activations[k[worst]].name for k in (self.i, self.j))
        if not out.bound[worst] < 1.0:
            for k in (self.i[worst], self.j[worst]):
                check_growth(self.activations[k], args.C[k : k + 1], args.b[k : k + 1])
        is_free = self.method == "auto" or isinstance(self.method, SurrogateMethod)
        remedy = "" if is_free else " or use method='auto'"
        if any(self.activations[k[worst]].lacks_derivatives for k in (self.i, self.j)):
            remedy += ", or give the derivatives of the function to Activation.from_callable"
        warnings.warn(
            f"the error bound {out.bound[worst]:.1e} of the Gaussian integrals of {f} "
            f"and {g} misses rtol={self.rtol:g}. Raise rtol{remedy}.",
            AccuracyWarning,
            stacklevel=user_level(),
        )


def _keep_better(before: _Kept, left: Index, rows: Index, out: Jets) -> None:
    """Take back those of the rows that are left whose bound was smaller with the method before."""
    better = left[before.bound[left] < out.bound[rows[left]]]
    back = rows[better]
    out.values[back] = before.values[better]
    out.bound[back] = before.bound[better]
    out.method[back] = before.method[better]


class FrozenChoice(PairEvaluation):
    """The jets of a :class:`Choice` as one smooth function of their arguments, next to a point.

    Every pair keeps one method, with rules of fixed length: the first that meets ``rtol`` at the
    point, or else the one with the smallest bound (the last resort only where nothing else meets
    the tolerance of the choice). They are chosen anew, and kept from there on, where a bound grows
    tenfold. It never warns.

    Parameters
    ----------
    choice : Choice
    args : Arguments
        The point.
    rtol : float
    """

    def __init__(self, choice: Choice, args: Arguments, rtol: float) -> None:
        self.choice = choice
        self.activations = choice.activations
        self.i = choice.i
        self.j = choice.j
        self.method = choice.method
        self.rtol = rtol
        self.evaluators = choice.evaluators.frozen(rtol)
        self._methods, self._limit = self._choose(args)

    @property
    def methods(self) -> dict[str, Index]:
        """Labels of the methods, and the rows that each of them has now."""
        return self._methods

    @property
    def is_smooth(self) -> bool:
        """As that of the choice."""
        return self.choice.is_smooth

    def evaluate(self, args: Arguments, order: int) -> Jets:
        """Jets of all pairs."""
        found = self._fill(args, order)
        if not (found.bound <= self._limit).all():
            self._methods, self._limit = self._choose(args)
            found = self._fill(args, order)
        if self.evaluators.has_steps:
            self.evaluators.fill_steps(args, order, found.values)
        return found

    def _fill(self, args: Arguments, order: int) -> Jets:
        found = Jets.empty(len(self.i), order)
        for label, rows in self._methods.items():
            self.evaluators.fill(label, rows, args, order, found, Request(is_fixed=True))
        return found

    def _choose(self, args: Arguments) -> tuple[dict[str, Index], Array]:
        """The rows of each method, and the bounds above which they are chosen anew."""
        found = Jets.empty(len(self.i), 2)
        codes = np.zeros(len(self.i), dtype=np.int8)
        bounds = np.full(len(self.i), np.inf)
        for labels, rows in self.choice.groups:
            for label in labels:
                if evaluator_of(label).is_last_resort:
                    rows = rows[~(bounds[rows] <= max(self.choice.rtol, self.rtol))]
                if not len(rows):
                    break
                request = Request(before=None if label == labels[0] else bounds[rows])
                self.evaluators.fill(label, rows, args, 2, found, request)
                better = rows[(found.bound[rows] < bounds[rows]) | (label == labels[0])]
                codes[better] = _CODES[label]
                bounds[better] = found.bound[better]
                rows = rows[~(bounds[rows] <= self.rtol)]
        methods: dict[str, Index] = {}
        for label, code in _CODES.items():
            if (codes == code).any():
                methods[label] = np.flatnonzero(codes == code)
        limit: Array = np.maximum(_GROWTH * bounds, self.rtol)
        return methods, limit

    def bounds(self, args: Arguments, jets: Jets) -> Array:
        """Relative error bounds of an evaluation; see :meth:`Choice.bounds`."""
        return self.evaluators.amplified(args, jets)

    def frozen(self, args: Arguments, rtol: float) -> FrozenChoice:
        """The choice frozen at another point."""
        return FrozenChoice(self.choice, args, rtol)
