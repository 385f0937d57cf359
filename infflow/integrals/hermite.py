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
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from . import hermite_kernels as kernels

Index = NDArray[np.integer]

#: Most terms of a series; more would cost more than the closed forms of mixtures.
MAX_TERMS = 256
_FIRST_TERMS = 24
# Half width of the trapezoidal rule in standard deviations: Hermite functions carry the root of the density, 4e-19 there.
_WIDTH = 13.0
# Spacings of the rules: a factor sqrt(1/2) from level to level.
_SPACINGS = 0.45 * 0.5 ** (0.5 * np.arange(12))
_MAX_LEVEL = len(_SPACINGS) - 1
#: What the sums themselves lose.
ROUNDING = 2e-15


class Rule(NamedTuple):
    """Nodes (Q,) with those of the rule of twice the spacing first, weights (Q,), Hermite functions (N, Q) with weights."""

    nodes: Array
    even: int
    weights: Array
    functions: Array


@lru_cache(maxsize=32)
def rule(level: int, terms: int) -> Rule:
    """Trapezoidal rule of the given level for standard normal x, and the first Hermite functions on it."""
    spacing = _SPACINGS[level]
    half = int(_WIDTH / spacing)
    even = spacing * np.arange(-(half // 2) * 2, half + 1, 2)
    odd = spacing * np.arange(-((half - 1) // 2) * 2 - 1, half + 1, 2)
    nodes = np.concatenate([even, odd])
    functions = np.empty((terms, len(nodes)))
    kernels.hermite_functions(nodes, terms, functions)
    return Rule(nodes, len(even), spacing * functions[0] ** 2, functions * (spacing * functions[0]))


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


class HermiteEvaluator:
    """Expansions of a fixed list of neurons, kept from call to call for those that did not move.

    Rules and number of terms are searched once and then kept; every call certifies them anew and widens them
    where the bound fails.

    Parameters
    ----------
    activations : list of Activation
        One per neuron, all with :func:`is_defined`.
    rtol : float
        Tolerance of the quadrature, relative.
    """

    def __init__(self, activations: list[Activation], rtol: float) -> None:
        self.activations = activations
        self.rtol = max(rtol, ROUNDING)
        self.terms = _FIRST_TERMS
        k = len(activations)
        self._levels = np.zeros(k, dtype=np.int64)
        self._at = np.full((2, k), np.nan)  # r and b of the neurons as they are expanded
        self._expansion: Expansion | None = None

    def expand(self, r: Array, b: Array, orders: int) -> Expansion:
        """Expansions of the neurons f(r x + b) with ``orders`` = m derivatives; unmoved ones are kept."""
        now = np.stack([r, b])
        old = self._expansion
        if old is None or old.coefficients.shape[1:] != (self.terms, orders):
            moved = np.arange(len(r))
            old = self._expansion = _empty(len(r), self.terms, orders)
        else:
            moved = np.flatnonzero((now != self._at).any(axis=0))
        self._at = now
        while len(moved):
            self._expand(old, moved, r, b)
            failed = (old.errors[moved] > self.rtol) | (old.product_errors[moved] > self.rtol)
            moved = moved[failed & (self._levels[moved] < _MAX_LEVEL)]
            self._levels[moved] += 1
        return old

    def _expand(self, out: Expansion, neurons: Index, r: Array, b: Array) -> None:
        """Expand the given neurons by the rules of their present levels."""
        groups: dict[tuple[int, Activation], list[int]] = {}
        for i in neurons:
            groups.setdefault((int(self._levels[i]), self.activations[i]), []).append(int(i))
        for (level, activation), members in groups.items():
            index = np.array(members)
            for name, part in zip(
                Expansion._fields,
                expand(activation, r[index], b[index], level, *out.coefficients.shape[1:]),
                strict=True,
            ):
                getattr(out, name)[index] = part

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
        self.terms = min(MAX_TERMS, max(N + 8, int(1.1 * reachable.max()) + 4))
        return True


def _empty(k: int, terms: int, orders: int) -> Expansion:
    return Expansion(
        np.empty((k, terms, orders)), np.empty((k, terms)), np.empty((k, orders, orders)), np.empty(k), np.empty(k)
    )


def expand(activation: Activation, r: Array, b: Array, level: int, terms: int, orders: int) -> Expansion:
    """Hermite coefficients of f(r x + b) and its derivatives for k neurons of one activation by one rule."""
    nodes, even, weights, functions = rule(level, terms)
    k, Q = len(r), len(nodes)
    values = np.empty((orders, k, Q))
    with np.errstate(over="ignore", invalid="ignore"):
        activation.jet(r[:, None] * nodes + b[:, None], values)
        flat = values.reshape(orders * k, Q)
        first = flat[:, :even] @ functions[:, :even].T
        second = flat[:, even:] @ functions[:, even:].T
        products, product_errors = np.empty((k, orders, orders)), np.empty((k, orders, orders))
        kernels.products(values, weights, even, products, product_errors)
        energies = np.ascontiguousarray(np.einsum("kpp->kp", products))
        sizes = np.sqrt(energies)
        safe = np.where(sizes > 0, sizes, 1.0)
        coefficients = np.ascontiguousarray((first + second).reshape(orders, k, terms).transpose(1, 2, 0))
        errors = np.linalg.norm((first - second).reshape(orders, k, terms), axis=2).T / safe
        errors += _cut_off(values, nodes, functions[0]) / safe
        relative = product_errors / (safe[:, :, None] * safe[:, None, :])
        tail = np.empty((k, terms))
        kernels.tails(coefficients, energies, np.einsum("kpp->kp", product_errors).copy(), tail)
    finite = np.isfinite(flat).reshape(orders, k, Q).all(axis=(0, 2))
    return Expansion(
        coefficients,
        tail,
        products,
        np.where(finite, errors.max(axis=1), np.inf),
        np.where(finite, relative.max(axis=(1, 2)), np.inf),
    )


def _cut_off(values: Array, nodes: Array, ground: Array) -> Array:
    """What lies beyond the nodes, (k, m): the integrand at the ends times a length of one."""
    ends = [int(nodes.argmin()), int(nodes.argmax())]
    spacing = 2.0 * _WIDTH / len(nodes)
    density = ground[ends] / spacing  # the density; Hermite functions carry its root
    edge: Array = (np.abs(values[:, :, ends]) * np.sqrt(density)).max(axis=2).T
    return edge
