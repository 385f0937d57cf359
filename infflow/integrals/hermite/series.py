"""Gaussian integrals of smooth activations by Hermite series, with error bounds.

With f^(p)(r x + b) = sum_n c_n He_n(x)/sqrt(n!) and d_n likewise for g^(q), Mehler's formula gives

    I(p, q) = E[f^(p)(r1 x + b1) g^(q)(r2 y + b2)] = sum_n u^n c_n d_n

for standard normal x, y of correlation u: one-dimensional work for every neuron, a power series for
every pair, all orders at once. Two errors, both relative to sqrt(E f^(p)^2 E g^(q)^2), make the
bound.

* The remainder after n terms is at most |u|^(n+1) t_f(n) t_g(n), by Cauchy and Schwarz, where t^2
  is the share of E f^(p)^2 that the first n coefficients do not explain.
* Coefficients and E f^(p)^2 come from the trapezoidal rule, which converges exponentially for
  analytic functions. Which spacing can be taken at all is not asked of samples, which cannot see
  what lies between them: registered activations state their strip of analyticity and their growth,
  and the error of the rule is bounded by them (:mod:`infflow.integrals.resolution`). Finer errors,
  relative to neurons that are small or saturated, are the difference from the rule of twice the
  spacing, an overestimate. (It is independent of the length of the series: with one Gauss rule for
  both, discrete Parseval would hold identically.)
* Activations of a user's own state nothing. Their spacing stays below the length on which they
  vary, and a third rule, of twice the spacing and shifted by the golden section of it, sees every
  alias that the first two have in common. Four times the difference is their error: an estimate.
  Where it exceeds 1e-4 they count as not resolved, with an infinite error.

Kinked activations, correlations near one at large r, and fast growing functions do not converge in
this way; they are reported as not done, for another evaluator.

How fine a rule and how many terms are needed is known at the points of a coarse grid of r and b,
where it is measured when a neuron first comes there. So the choice, and with it every bit of the
result, is a function of the arguments and not of what was evaluated before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from .. import resolution
from . import kernels

Index = NDArray[np.integer]

#: Most terms of a series; more would cost more than the closed forms of mixtures.
MAX_TERMS = 256
#: Numbers of terms that are used.
COUNTS = np.array([24, 32, 40, 48, 64, 80, 96, 128, 160, 192, MAX_TERMS])
# A pair may need more than MAX_TERMS at its point of the grid and less where it is: remainders
# differ by up to this factor.
_REACH = 1e4
# Half width of the trapezoidal rule in standard deviations: Hermite functions carry the root of the
# density, 4e-19 there.
_WIDTH = 13.0
# Spacings of the rules: a factor sqrt(1/2) from level to level.
_SPACINGS: Array = np.array([0.45 * 0.5 ** (0.5 * level) for level in range(12)])
_MAX_LEVEL = len(_SPACINGS) - 1
# Extra refinements allowed beyond the level stored for the grid point.
_FINER_THAN_GRID = 2
# Moments have at most this many derivatives of each function.
_ORDERS = 5
# Cache size: 2 series lengths times 3 orders (values, gradients, Hessians).
_KEPT = 6
# Aliases of registered activations stay below this fraction of the tolerance, relative to their
# size near by: so much smaller than that size a neuron may be.
_ALIASING = 1e-7
# Shift of the third rule for a user's own activations, in units of its spacing: multiples of it
# stay far from integers.
_GOLDEN = 0.5 * (3.0 - 5.0**0.5)
# Factor of the difference from the third rule; size from which on nothing is resolved.
_CAUTION = 4.0
_UNRESOLVED = 1e-4
# Neurons whose values on the nodes are held at a time.
_BLOCK = 256
#: Relative rounding error of the sums themselves.
ROUNDING = 2e-15


class Rule(NamedTuple):
    """Nodes (Q,) with those of the rule of twice the spacing first, weights (Q,), Hermite functions
    (N, Q) with weights.

    ``ends``, the first and the last node, and there the root of the density.
    """

    nodes: Array
    even: int
    weights: Array
    functions: Array
    ends: NDArray[np.int64]
    roots: Array


@cache
def rule(level: int) -> Rule:
    """Trapezoidal rule of the given level for standard normal x, and the first MAX_TERMS Hermite
    functions on it.
    """
    spacing = _SPACINGS[level]
    half = int(_WIDTH / spacing)
    even = spacing * np.arange(-(half // 2) * 2, half + 1, 2)
    odd = spacing * np.arange(-((half - 1) // 2) * 2 - 1, half + 1, 2)
    nodes = np.concatenate([even, odd])
    functions = np.empty((MAX_TERMS, len(nodes)))
    kernels.hermite_functions(nodes, MAX_TERMS, functions)
    ends = np.array([nodes.argmin(), nodes.argmax()])
    weighted = functions * (spacing * functions[0])
    return Rule(nodes, len(even), spacing * functions[0] ** 2, weighted, ends, functions[0, ends])


@cache
def shifted_rule(level: int) -> Rule:
    """The rule of twice the spacing whose nodes are shifted by the golden section of that."""
    spacing = 2.0 * _SPACINGS[level]
    half = int(_WIDTH / spacing)
    nodes = spacing * (np.arange(-half, half) + _GOLDEN)
    functions = np.empty((MAX_TERMS, len(nodes)))
    kernels.hermite_functions(nodes, MAX_TERMS, functions)
    ends = np.array([0, len(nodes) - 1])
    return Rule(
        nodes,
        len(nodes),
        spacing * functions[0] ** 2,
        functions * (spacing * functions[0]),
        ends,
        functions[0, ends],
    )


def least_levels(
    activation: Activation, r: Array, terms: int, tolerance: float
) -> NDArray[np.int64]:
    """The coarsest levels that may be used at each r (k,); one above the last where none may be.

    Parameters
    ----------
    tolerance : float
        That of the quadrature.
    """
    limits = _scales(activation, terms, _ALIASING * tolerance)
    found: NDArray[np.int64] = np.searchsorted(limits, r, side="left").astype(np.int64)
    return found


@lru_cache(maxsize=1024)
def _scales(activation: Activation, terms: int, tolerance: float) -> Array:
    """The largest r of each level, ascending."""
    scales: Array = resolution.largest_scales(activation, _SPACINGS, terms, tolerance)
    return np.maximum.accumulate(scales)


class Expansion(NamedTuple):
    """Hermite coefficients of neurons.

    ``coefficients`` (k, N, m), ``tail`` (k, N) the relative energy beyond each term, ``products``
    (k, m, m) moments E f^(p) f^(q) of each neuron with itself; ``errors`` and ``product_errors``
    (k,) of the quadrature, relative.
    """

    coefficients: Array
    tail: Array
    products: Array
    errors: Array
    product_errors: Array


def is_defined(activation: Activation) -> bool:
    """Whether the activation is smooth, as far as is known, with the four derivatives that moments
    need.
    """
    return not activation.kinks and activation.max_order >= 4


class Profile(NamedTuple):
    """Needs of one neuron: ``levels`` of its rule for each of :data:`COUNTS`, with the errors of
    its coefficients and of its ``products`` with itself; ``tail`` (MAX_TERMS,).
    """

    levels: NDArray[np.int64]
    errors: Array
    products: Array
    tail: Array


@lru_cache(maxsize=8192)
def profile(activation: Activation, rtol: float, r_step: int, b_step: int) -> Profile:
    """Profile at a point of the grid of r and b, see :func:`kernels.has_moved`.

    The levels are the coarsest that meet ``rtol`` with all derivatives, or else the most accurate
    ones.
    """
    r, b = (np.array([x]) for x in kernels.grid_point(r_step, b_step))
    levels = np.zeros(len(COUNTS), dtype=np.int64)
    least = np.full(len(COUNTS), np.inf)
    parts = np.full((2, len(COUNTS)), np.inf)
    coarsest = np.array([least_levels(activation, r, int(n), rtol)[0] for n in COUNTS])
    tail = np.ones((1, MAX_TERMS))
    for level in range(int(coarsest.min()), _MAX_LEVEL + 1):
        found, by_term = _expansion_by_term(activation, r, b, level, MAX_TERMS, _ORDERS)
        both = np.stack(np.broadcast_arrays(by_term[COUNTS - 1], found.product_errors))
        errors = np.where(coarsest > level, np.inf, both.max(axis=0))
        better = (least > rtol) & (errors < least)
        levels[better] = level
        least[better] = errors[better]
        parts[:, better] = both[:, better]
        if better[-1] or level == coarsest.min():
            tail = found.tail
        if (least <= rtol).all():
            break
    return Profile(levels, parts[0], parts[1], tail[0])


class HermiteEvaluator:
    """Expansions of a fixed list of neurons, kept from call to call.

    After :meth:`choose`, rules and number of terms are functions of the arguments. Without it they
    are searched once and then kept; every call finds their errors anew and widens them where these
    miss the tolerance.

    Parameters
    ----------
    activations : list of Activation
        One per neuron, all with :func:`is_defined`.
    rtol : float
        Tolerance of the quadrature, relative.
    batches : list of integer arrays, optional
        Neurons that move together, e.g. those of student and teacher. A batch is expanded as a
        whole (the last bits depend on which neurons are expanded together) unless none of its
        neurons moved.
    """

    def __init__(
        self, activations: list[Activation], rtol: float, batches: Sequence[Index] | None = None
    ) -> None:
        k = len(activations)
        self.activations = activations
        self._kinds = list(dict.fromkeys(activations))
        number = {activation: place for place, activation in enumerate(self._kinds)}
        self._kind = np.array([number[activation] for activation in activations], dtype=np.int64)
        self.rtol = max(rtol, ROUNDING)
        self.terms = int(COUNTS[0])
        self.levels = np.zeros(k, dtype=np.int64)  #: levels of the rules that are tried first
        self._batches = [np.arange(k)] if batches is None else batches
        self._chosen = False
        self._grid = np.full((k, 2), np.iinfo(np.int64).min)
        self._profiles = Profile(
            np.zeros((k, len(COUNTS)), dtype=np.int64),
            np.zeros((k, len(COUNTS))),
            np.zeros((k, len(COUNTS))),
            np.zeros((k, MAX_TERMS)),
        )
        self._kept: dict[tuple[int, int], tuple[Array, Expansion]] = {}
        self._largest: dict[int, Array] = {}  # r of the neurons at each level, by number of terms

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def searching(self, rtol: float) -> HermiteEvaluator:
        """Another one for the same neurons, which searches rules and number of terms."""
        return HermiteEvaluator(self.activations, rtol, self._batches)

    def choose(
        self,
        r: Array,
        b: Array,
        i: Index,
        j: Index,
        u: Array,
        same: NDArray[np.bool_],
        rtol: float,
    ) -> NDArray[np.bool_]:
        """Rules for the neurons and a number of terms for the pairs, to meet ``rtol`` with all
        derivatives where that is possible.

        Parameters
        ----------
        same : (pairs,) boolean array
            Pairs of a neuron with itself, which need no series.

        Returns
        -------
        (pairs,) boolean array
            Which pairs may miss ``rtol`` with all derivatives, whichever of them are wanted.
        """
        grid = np.empty_like(self._grid)
        if kernels.has_moved(r, b, self._grid, grid):
            self._look_up(grid)
        tail = self._profiles.tail
        place = kernels.needed_terms(tail, i, j, u, ~same, rtol / 4, _REACH, COUNTS)
        self.terms, self.levels = int(COUNTS[place]), self._profiles.levels[:, place]
        self._chosen = True
        missed: NDArray[np.bool_] = ~same & (self._remainder(i, j, u) > rtol / 4)
        coarse, uncertain = (
            each[:, place] > self._goal for each in (self._profiles.errors, self._profiles.products)
        )
        if coarse.any():
            missed |= ~same & (coarse[i] | coarse[j])
        if uncertain.any():
            missed |= same & uncertain[i]
        return missed

    def _remainder(self, i: Index, j: Index, u: Array) -> Array:
        """That of the profiles after the chosen number of terms."""
        tail = self._profiles.tail[:, self.terms - 1]
        found: Array = np.abs(u) ** self.terms * tail[i] * tail[j]
        return found

    def foreseen(self, i: Index, j: Index, u: Array, same: NDArray[np.bool_]) -> Array:
        """Error bounds of pairs to expect with all derivatives, after :meth:`choose`."""
        errors, products = (each[:, -1] for each in self._profiles[1:3])
        return np.where(same, products[i], self._remainder(i, j, u) + errors[i] + errors[j])

    @property
    def _goal(self) -> float:
        """The errors of quadrature that rules are chosen for."""
        return max(self.rtol / 2, ROUNDING)

    def _look_up(self, grid: NDArray[np.int64]) -> None:
        """Put the profiles at these grid points in the place of the present ones."""
        found = [
            profile(f, self._goal, *steps)
            for f, steps in zip(self.activations, grid.tolist(), strict=True)
        ]
        self._profiles = Profile(*(np.array(column) for column in zip(*found, strict=True)))
        self._grid = grid  # last: Ctrl-C comes after it, when all is done

    def expand(self, r: Array, b: Array, orders: int) -> Expansion:
        """Expansions of the neurons f(r x + b) with ``orders`` = m derivatives; those of batches
        that did not move are kept.
        """
        key = (self.terms, orders)
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = np.full((len(r), 3), np.nan), _empty(len(r), *key)
        at, found = self._kept[key]
        now = np.empty_like(at)
        now[:, 0] = r
        now[:, 1] = b
        now[:, 2] = self.levels
        for batch in self._batches:
            if not (now[batch] == at[batch]).all():
                at[batch] = np.nan  # Ctrl-C on the way leaves a mixture of expansions
                self._expand(found, batch, r, b)
                now[batch, 2] = self.levels[batch]
                at[batch] = now[batch]
        return found

    def _expand(self, out: Expansion, neurons: Index, r: Array, b: Array) -> None:
        """Expand the given neurons by the rules of their levels, or by finer ones where these miss
        the tolerance.
        """
        levels = (
            self.levels.copy() if self._chosen else self.levels
        )  # without a choice, the search keeps the levels that it finds
        neurons = self._admit(out, neurons, r, levels)
        finest = np.minimum(levels + (_FINER_THAN_GRID if self._chosen else _MAX_LEVEL), _MAX_LEVEL)
        while len(neurons):
            groups: dict[tuple[int, int], list[int]] = {}
            for i, level, kind in zip(
                neurons.tolist(),
                levels[neurons].tolist(),
                self._kind[neurons].tolist(),
                strict=True,
            ):
                groups.setdefault((level, kind), []).append(i)
            for (level, kind), members in groups.items():
                for start in range(0, len(members), _BLOCK):
                    index = np.array(members[start : start + _BLOCK])
                    parts = expand(
                        self._kinds[kind], r[index], b[index], level, *out.coefficients.shape[1:]
                    )
                    for whole, part in zip(out, parts, strict=True):
                        whole[index] = part
            failed = np.maximum(out.errors[neurons], out.product_errors[neurons]) > self.rtol
            neurons = neurons[failed & (levels < finest)[neurons]]
            levels[neurons] += 1

    def _admit(self, out: Expansion, neurons: Index, r: Array, levels: NDArray[np.int64]) -> Index:
        """Raise ``levels`` to those that may be used; the neurons that have one, while the others
        are refused.
        """
        terms = out.tail.shape[1]
        if terms not in self._largest:
            scales = [_scales(f, terms, _ALIASING * self.rtol) for f in self._kinds]
            self._largest[terms] = np.array(scales)[self._kind]
        if (r[neurons] <= self._largest[terms][neurons, levels[neurons]]).all():
            return neurons
        admitted = []
        for kind, activation in enumerate(self._kinds):
            members = neurons[self._kind[neurons] == kind]
            least = least_levels(activation, r[members], terms, self.rtol)
            fits = least <= _MAX_LEVEL
            levels[members[fits]] = np.maximum(levels[members[fits]], least[fits])
            admitted.append(members[fits])
            refused = members[~fits]
            if len(refused):
                out.coefficients[refused] = 0.0
                out.tail[refused] = 1.0
                out.products[refused] = 1.0
                out.errors[refused] = out.product_errors[refused] = np.inf
        return np.sort(np.concatenate(admitted))

    def pairs(
        self, expansion: Expansion, i: Index, j: Index, u: Array, tolerance: float
    ) -> tuple[Array, Array, NDArray[np.int64]]:
        """Moments (pairs, m, m), relative error bounds (pairs,) and numbers of terms (pairs,) of
        the pairs i, j.
        """
        m = expansion.coefficients.shape[2]
        moments = np.empty((len(i), m, m))
        bounds = np.empty(len(i))
        terms = np.empty(len(i), dtype=np.int64)
        kernels.pair_sums(
            expansion.coefficients, expansion.tail, i, j, u, tolerance, moments, bounds, terms
        )
        bounds += expansion.errors[i] + expansion.errors[j] + ROUNDING
        return moments, bounds, terms

    def can_widen(
        self, expansion: Expansion, i: Index, j: Index, u: Array, bounds: Array, rtol: float
    ) -> bool:
        """Adapt the number of terms; whether more terms would bring a pair that misses ``rtol``
        there.

        The remainder is extrapolated by its fall over the second half of the series.
        """
        missed = (bounds > rtol) & (i != j)
        missed &= expansion.errors[i] + expansion.errors[j] <= rtol / 2
        N = self.terms
        if not missed.any() or N == MAX_TERMS:
            return False
        i = i[missed]
        j = j[missed]
        u = np.abs(u[missed])
        tail = expansion.tail
        last = u**N * tail[i, N - 1] * tail[j, N - 1]
        half = u ** (N // 2) * tail[i, N // 2 - 1] * tail[j, N // 2 - 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = N + np.log(rtol / last) / np.log(last / half) * (N - N // 2)
        reachable = needed[
            np.isfinite(needed) & (needed <= MAX_TERMS)
        ]  # -inf: the remainder does not fall
        if not len(reachable):
            return False
        self.terms = int(
            COUNTS[
                np.searchsorted(COUNTS, min(MAX_TERMS, max(N + 8, int(1.1 * reachable.max()) + 4)))
            ]
        )
        return True


def _empty(k: int, terms: int, orders: int) -> Expansion:
    return Expansion(
        np.empty((k, terms, orders)),
        np.empty((k, terms)),
        np.empty((k, orders, orders)),
        np.empty(k),
        np.empty(k),
    )


def expand(
    activation: Activation, r: Array, b: Array, level: int, terms: int, orders: int
) -> Expansion:
    """Hermite coefficients of f(r x + b) and its derivatives for k neurons of one activation by one
    rule.
    """
    by = rule(level)
    values, first, second = _sums(activation, r, b, by, terms, orders)
    found = _with_errors(by, values, first, second)
    if activation.strip is None:
        _compare(activation, r, b, level, first + second, found)
    return found


def _expansion_by_term(
    activation: Activation, r: Array, b: Array, level: int, terms: int, orders: int
) -> tuple[Expansion, Array]:
    """The same for one neuron, and the errors (N,) of its first n + 1 coefficients."""
    by = rule(level)
    values, first, second = _sums(activation, r, b, by, terms, orders)
    found = _with_errors(by, values, first, second)
    errors = np.empty(terms)
    kernels.errors_by_term(values, first, second, by.ends, by.roots, found.products, errors)
    if activation.strip is None:
        errors = np.maximum(errors, _compare(activation, r, b, level, first + second, found)[0])
    return found, errors


def _sums(
    activation: Activation, r: Array, b: Array, by: Rule, terms: int, orders: int
) -> tuple[Array, Array, Array]:
    """Values (m, k, Q) on the nodes, and the sums (m, k, N) over the even and the odd nodes that
    make the coefficients.
    """
    k, Q = len(r), len(by.nodes)
    values = np.empty((orders, k, Q))
    with np.errstate(over="ignore", invalid="ignore"):
        activation.jet(r[:, None] * by.nodes + b[:, None], values)
        flat = values.reshape(orders * k, Q)
        first = flat[:, : by.even] @ by.functions[:terms, : by.even].T
        second = flat[:, by.even :] @ by.functions[:terms, by.even :].T
    return values, first.reshape(orders, k, terms), second.reshape(orders, k, terms)


def _with_errors(by: Rule, values: Array, first: Array, second: Array) -> Expansion:
    """The expansion from what :func:`_sums` returns; its errors are differences of the halves of
    the rule.
    """
    m, k, terms = first.shape
    found = _empty(k, terms, m)
    kernels.expansions(values, first, second, by.even, by.weights, by.ends, by.roots, *found)
    return found


def _compare(
    activation: Activation, r: Array, b: Array, level: int, coefficients: Array, found: Expansion
) -> Array:
    """Put the errors that the shifted rule finds into ``found``; returns those by term, (k, N).

    ``coefficients`` (m, k, N) are those of the rule of this level.
    """
    m, _, terms = coefficients.shape
    by = shifted_rule(level)
    values, shifted, _ = _sums(activation, r, b, by, terms, m)
    with np.errstate(all="ignore"):
        moments = np.einsum("pkt,qkt,t->kpq", values, values, by.weights, optimize=True)
        energies = np.maximum(np.einsum("kpp->kp", moments), np.einsum("kpp->kp", found.products))
        sizes = np.sqrt(energies)
        sizes[sizes == 0.0] = 1.0
        distance = np.sqrt(np.cumsum((shifted - coefficients) ** 2, axis=2))
        by_term = _cautious((distance / sizes.T[:, :, None]).max(axis=0))
        relative = np.abs(moments - found.products) / (sizes[:, :, None] * sizes[:, None, :])
        uncertain = np.einsum("kpp->kp", relative).max(axis=1)
        found.tail[:] = np.sqrt(found.tail**2 + uncertain[:, None])
    found.errors[:] = np.maximum(found.errors, by_term[:, -1])
    found.product_errors[:] = np.maximum(found.product_errors, _cautious(relative.max(axis=(1, 2))))
    return by_term


def _cautious(difference: Array) -> Array:
    """The error that a difference of rules stands for."""
    return np.where(difference <= _UNRESOLVED, _CAUTION * difference, np.inf)
