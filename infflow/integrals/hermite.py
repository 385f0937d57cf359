"""Gaussian integrals of smooth activations by Hermite series, with error bounds.

With f^(p)(r x + b) = sum_n c_n He_n(x)/sqrt(n!) and d_n likewise for g^(q), Mehler's formula gives

    I(p, q) = E[f^(p)(r1 x + b1) g^(q)(r2 y + b2)] = sum_n u^n c_n d_n

for standard normal x, y of correlation u: one-dimensional work for every neuron, a power series for
every pair, all orders at once. Two errors, both relative to sqrt(E f^(p)^2 E g^(q)^2), make the bound.

* The remainder after n terms is at most |u|^(n+1) t_f(n) t_g(n), by Cauchy and Schwarz, where t^2 is the share of
  E f^(p)^2 that the first n coefficients do not explain.
* Coefficients and E f^(p)^2 come from the trapezoidal rule, which converges exponentially for analytic functions. Its spacing is
  refined until it agrees with the rule of twice the spacing, independently of the length of the series (with one
  Gauss rule for both, discrete Parseval would hold identically and certify nothing). The difference, an
  overestimate, is taken as the error of the finer rule.

Kinked activations, correlations near one at large r, and fast growing functions do not converge in this way; they
are reported as not done, for another evaluator.

How fine a rule and how many terms are needed is known at the points of a coarse grid of r and b, where it is measured when a neuron first
comes there. So the choice, and with it every bit of the result, is a function of the arguments and not of what was evaluated before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from . import hermite_kernels as kernels

Index = NDArray[np.integer]

#: Most terms of a series; more would cost more than the closed forms of mixtures.
MAX_TERMS = 256
#: Numbers of terms that are used.
COUNTS = np.array([24, 32, 40, 48, 64, 80, 96, 128, 160, 192, MAX_TERMS])
# A pair may need more than MAX_TERMS at its point of the grid and less where it is: remainders differ by up to this factor.
_REACH = 1e4
# Half width of the trapezoidal rule in standard deviations: Hermite functions carry the root of the density, 4e-19 there.
_WIDTH = 13.0
# Spacings of the rules: a factor sqrt(1/2) from level to level.
_SPACINGS = 0.45 * 0.5 ** (0.5 * np.arange(12))
_MAX_LEVEL = len(_SPACINGS) - 1
# Levels that a rule may be finer than the grid of r and b says, where it has to.
_FINER_THAN_GRID = 2
# Moments have at most this many derivatives of each function.
_ORDERS = 5
# Expansions that are kept: of two numbers of terms for values, gradients and Hessians.
_KEPT = 6
#: What the sums themselves lose.
ROUNDING = 2e-15


class Rule(NamedTuple):
    """Nodes (Q,) with those of the rule of twice the spacing first, weights (Q,), Hermite functions (N, Q) with weights.

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
    """Trapezoidal rule of the given level for standard normal x, and the first MAX_TERMS Hermite functions on it."""
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


class Expansion(NamedTuple):
    """Hermite coefficients of neurons.

    ``coefficients`` (k, N, m), ``tail`` (k, N) the relative energy beyond each term, ``products`` (k, m, m) moments
    E f^(p) f^(q) of each neuron with itself; ``errors`` and ``product_errors`` (k,) of the quadrature, relative.
    """

    coefficients: Array
    tail: Array
    products: Array
    errors: Array
    product_errors: Array


def is_defined(activation: Activation) -> bool:
    """Whether the activation is smooth, as far as is known, with the four derivatives that moments need."""
    return not activation.kinks and activation.max_order >= 4


class Profile(NamedTuple):
    """What one neuron needs: ``levels`` of the rule for each of :data:`COUNTS`, and ``tail`` (MAX_TERMS,) of its series."""

    levels: NDArray[np.int64]
    tail: Array


@lru_cache(maxsize=8192)
def profile(activation: Activation, rtol: float, r_step: int, b_step: int) -> Profile:
    """Profile at a point of the grid of r and b, see :func:`hermite_kernels.has_moved`.

    The levels are the coarsest that meet ``rtol`` with all derivatives, or else the most accurate ones.
    """
    r, b = (np.array([x]) for x in kernels.grid_point(r_step, b_step))
    levels, least = np.zeros(len(COUNTS), dtype=np.int64), np.full(len(COUNTS), np.inf)
    tail = np.empty((1, MAX_TERMS))
    for level in range(_MAX_LEVEL + 1):
        by = rule(level)
        values, first, second = _sums(activation, r, b, by, MAX_TERMS, _ORDERS)
        found = _certified(by, values, first, second)
        errors = np.empty(MAX_TERMS)
        kernels.errors_by_term(values, first, second, by.ends, by.roots, found.products, errors)
        errors = np.maximum(errors[COUNTS - 1], found.product_errors[0])
        better = (least > rtol) & (errors < least)
        levels[better], least[better] = level, errors[better]
        if better[-1] or level == 0:
            tail = found.tail
        if (least <= rtol).all():
            break
    return Profile(levels, tail[0])


class HermiteEvaluator:
    """Expansions of a fixed list of neurons, kept from call to call.

    After :meth:`choose`, rules and number of terms are functions of the arguments. Without it they are searched once and then kept; every
    call certifies them anew and widens them where the bound fails.

    Parameters
    ----------
    activations : list of Activation
        One per neuron, all with :func:`is_defined`.
    rtol : float
        Tolerance of the quadrature, relative.
    batches : list of integer arrays, optional
        Neurons that move together, e.g. those of student and teacher. A batch is expanded as a whole (the last bits depend on which
        neurons are expanded together) unless none of its neurons moved.
    """

    def __init__(self, activations: list[Activation], rtol: float, batches: Sequence[Index] | None = None) -> None:
        k = len(activations)
        self.activations = activations
        self.rtol = max(rtol, ROUNDING)
        self.terms = int(COUNTS[0])
        self.levels = np.zeros(k, dtype=np.int64)  #: of the rules that are tried first
        self._batches = [np.arange(k)] if batches is None else batches
        self._chosen = False
        self._grid = np.full((k, 2), np.iinfo(np.int64).min)
        self._profiles = Profile(np.zeros((k, len(COUNTS)), dtype=np.int64), np.zeros((k, MAX_TERMS)))
        self._kept: dict[tuple[int, int], tuple[Array, Expansion]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def searching(self, rtol: float) -> HermiteEvaluator:
        """Another one for the same neurons, which searches rules and number of terms."""
        return HermiteEvaluator(self.activations, rtol, self._batches)

    def choose(self, r: Array, b: Array, i: Index, j: Index, u: Array, wanted: NDArray[np.bool_], rtol: float) -> None:
        """Rules for the neurons and a number of terms for the ``wanted`` ones of the pairs, to meet ``rtol`` where that is possible."""
        grid = np.empty_like(self._grid)
        if kernels.has_moved(r, b, self._grid, grid):
            self._look_up(grid)
        place = kernels.needed_terms(self._profiles.tail, i, j, u, wanted, rtol / 4, _REACH, COUNTS)
        self.terms, self.levels = int(COUNTS[place]), self._profiles.levels[:, place]
        self._chosen = True

    def _look_up(self, grid: NDArray[np.int64]) -> None:
        """Put the profiles at these grid points in the place of the present ones."""
        goal = max(self.rtol / 2, ROUNDING)
        found = [profile(f, goal, *steps) for f, steps in zip(self.activations, grid.tolist(), strict=True)]
        self._profiles = Profile(np.array([p.levels for p in found]), np.array([p.tail for p in found]))
        self._grid = grid  # last: Ctrl-C comes after it, when all is done

    def expand(self, r: Array, b: Array, orders: int) -> Expansion:
        """Expansions of the neurons f(r x + b) with ``orders`` = m derivatives; those of batches that did not move are kept."""
        key = (self.terms, orders)
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = np.full((len(r), 3), np.nan), _empty(len(r), *key)
        at, found = self._kept[key]
        now = np.empty_like(at)
        now[:, 0], now[:, 1], now[:, 2] = r, b, self.levels
        for batch in self._batches:
            if not (now[batch] == at[batch]).all():
                at[batch] = np.nan  # Ctrl-C on the way leaves expansions that are no longer those of before
                self._expand(found, batch, r, b)
                now[batch, 2] = self.levels[batch]
                at[batch] = now[batch]
        return found

    def _expand(self, out: Expansion, neurons: Index, r: Array, b: Array) -> None:
        """Expand the given neurons by the rules of their levels, or by finer ones where these miss the tolerance."""
        levels = self.levels.copy() if self._chosen else self.levels  # what is searched is kept
        finest = np.minimum(levels + (_FINER_THAN_GRID if self._chosen else _MAX_LEVEL), _MAX_LEVEL)
        while True:
            groups: dict[tuple[int, Activation], list[int]] = {}
            for i, level in zip(neurons.tolist(), levels[neurons].tolist(), strict=True):
                groups.setdefault((level, self.activations[i]), []).append(i)
            for (level, activation), members in groups.items():
                index = np.array(members)
                parts = expand(activation, r[index], b[index], level, *out.coefficients.shape[1:])
                for whole, part in zip(out, parts, strict=True):
                    whole[index] = part
            failed = np.maximum(out.errors[neurons], out.product_errors[neurons]) > self.rtol
            if not failed.any():
                return
            neurons = neurons[failed & (levels < finest)[neurons]]
            if not len(neurons):
                return
            levels[neurons] += 1

    def pairs(
        self, expansion: Expansion, i: Index, j: Index, u: Array, tolerance: float
    ) -> tuple[Array, Array, NDArray[np.int64]]:
        """Moments (pairs, m, m), relative error bounds (pairs,) and numbers of terms (pairs,) of the pairs i, j."""
        m = expansion.coefficients.shape[2]
        moments, bounds = np.empty((len(i), m, m)), np.empty(len(i))
        terms = np.empty(len(i), dtype=np.int64)
        kernels.pair_sums(expansion.coefficients, expansion.tail, i, j, u, tolerance, moments, bounds, terms)
        bounds += expansion.errors[i] + expansion.errors[j] + ROUNDING
        return moments, bounds, terms

    def can_widen(self, expansion: Expansion, i: Index, j: Index, u: Array, bounds: Array, rtol: float) -> bool:
        """Adapt the number of terms; whether more terms would bring a pair that misses ``rtol`` there.

        The remainder is extrapolated by its fall over the second half of the series.
        """
        missed = (bounds > rtol) & (i != j)
        missed &= expansion.errors[i] + expansion.errors[j] <= rtol / 2
        N = self.terms
        if not missed.any() or N == MAX_TERMS:
            return False
        i, j, u = i[missed], j[missed], np.abs(u[missed])
        tail = expansion.tail
        last = u**N * tail[i, N - 1] * tail[j, N - 1]
        half = u ** (N // 2) * tail[i, N // 2 - 1] * tail[j, N // 2 - 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = N + np.log(rtol / last) / np.log(last / half) * (N - N // 2)
        reachable = needed[np.isfinite(needed) & (needed <= MAX_TERMS)]  # -inf: the remainder does not fall
        if not len(reachable):
            return False
        self.terms = int(COUNTS[np.searchsorted(COUNTS, min(MAX_TERMS, max(N + 8, int(1.1 * reachable.max()) + 4)))])
        return True


def _empty(k: int, terms: int, orders: int) -> Expansion:
    return Expansion(
        np.empty((k, terms, orders)), np.empty((k, terms)), np.empty((k, orders, orders)), np.empty(k), np.empty(k)
    )


def expand(activation: Activation, r: Array, b: Array, level: int, terms: int, orders: int) -> Expansion:
    """Hermite coefficients of f(r x + b) and its derivatives for k neurons of one activation by one rule."""
    return _certified(rule(level), *_sums(activation, r, b, rule(level), terms, orders))


def _sums(activation: Activation, r: Array, b: Array, by: Rule, terms: int, orders: int) -> tuple[Array, Array, Array]:
    """Values (m, k, Q) on the nodes, and the sums (m, k, N) over the even and the odd nodes that make the coefficients."""
    k, Q = len(r), len(by.nodes)
    values = np.empty((orders, k, Q))
    with np.errstate(over="ignore", invalid="ignore"):
        activation.jet(r[:, None] * by.nodes + b[:, None], values)
        flat = values.reshape(orders * k, Q)
        first = flat[:, : by.even] @ by.functions[:terms, : by.even].T
        second = flat[:, by.even :] @ by.functions[:terms, by.even :].T
    return values, first.reshape(orders, k, terms), second.reshape(orders, k, terms)


def _certified(by: Rule, values: Array, first: Array, second: Array) -> Expansion:
    """The expansion from what :func:`_sums` returns."""
    m, k, terms = first.shape
    found = _empty(k, terms, m)
    kernels.certify(values, first, second, by.even, by.weights, by.ends, by.roots, *found)
    return found
