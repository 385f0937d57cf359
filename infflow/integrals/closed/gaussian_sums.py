"""Derivatives of E[relu(h1) relu(h2)] as expressions, and sums of such in their shortest form."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import sympy
from sympy import Expr, Integer

from . import symbolic
from .exact_activations import symbols

__all__ = ["DETERMINANT", "Gaussian", "Sum", "ramp_mean", "ramp_pair"]

DETERMINANT = sympy.Symbol("D", positive=True)
_SUBSTITUTIONS = {  # the primitives of symbolic.py in terms of V, C12, D, b
    symbolic.m1: symbolic.b2 - symbolic.C12 / symbolic.V1 * symbolic.b1,
    symbolic.m2: symbolic.b1 - symbolic.C12 / symbolic.V2 * symbolic.b2,
    symbolic.g1: symbolic.C12 / symbolic.V1,
    symbolic.g2: symbolic.C12 / symbolic.V2,
    symbolic.s1: DETERMINANT / symbolic.V1,
    symbolic.s2: DETERMINANT / symbolic.V2,
    symbolic.r1: symbolic.V1 / DETERMINANT,
    symbolic.r2: symbolic.V2 / DETERMINANT,
    symbolic.i1: 1 / symbolic.V1,
    symbolic.i2: 1 / symbolic.V2,
}


@cache
def ramp_pair(m: int, n: int) -> tuple[Expr, Expr, Expr, Expr]:
    """``d^m/db1^m d^n/db2^n E[relu(h1) relu(h2)]`` as coefficients of (L, A, B, N)."""
    moment = sympy.expand(symbolic.moment(m, n))
    side1 = moment.coeff(symbolic.d1)
    side2 = moment.coeff(symbolic.d2)
    parts = (
        moment.coeff(symbolic.L),
        side1.coeff(symbolic.P1),
        side2.coeff(symbolic.P2),
        side1.coeff(symbolic.q1) + side2.coeff(symbolic.q2),  # d1 q1 = d2 q2, the joint density
    )
    l, a, b, n_ = (sympy.expand(part.subs(_SUBSTITUTIONS)) for part in parts)
    return l, a, b, n_


@cache
def ramp_mean(m: int) -> tuple[Expr, Expr]:
    """``d^m/db^m E relu(h)`` as coefficients of P(h > 0) and of the density of h at 0."""
    b, v = symbolic.b1, symbolic.V1
    if m == 0:
        return b, v
    if m < 0:  # truncated powers, by Stein's lemma
        (p, n) = ramp_mean(m + 1)
        (q, k) = ramp_mean(m + 2)
        return sympy.expand((b * p + v * q) / (1 - m)), sympy.expand((b * n + v * k) / (1 - m))
    p, n = ramp_mean(m - 1)
    return sympy.diff(p, b), sympy.expand(sympy.diff(n, b) + p - b / v * n)


class Gaussian:
    """One choice of Gaussian variables: symbols, and the special functions of each pair
    of atoms.
    """

    def __init__(self, biases: bool, one_dimensional: bool = False) -> None:
        self.biases = biases
        self.one_dimensional = one_dimensional
        self.meaning: dict[sympy.Symbol, Expr] = {}  # V and D, written out
        self.squares: dict[sympy.Symbol, Expr] = {}  # C_ij^2 by V and D

    def mean(self, i: int) -> Expr:
        """The mean of variable i."""
        if not self.biases:
            return Integer(0)
        return symbols.b if self.one_dimensional else getattr(symbols, f"b{i}")

    def cov(self, i: int, j: int) -> sympy.Symbol:
        """The covariance of two variables."""
        return symbols.C if self.one_dimensional else getattr(symbols, f"C{min(i, j)}{max(i, j)}")

    def variance(self, i: int, width: Expr) -> sympy.Symbol:
        """``C_ii + width^2``, as an abbreviation unless the width is 0."""
        if width == 0:
            return self.cov(i, i)
        return self._abbreviation(f"V{i}_{width}", self.cov(i, i) + width**2)

    def determinant(self, i: int, j: int, widths: tuple[Expr, Expr]) -> sympy.Symbol:
        """``V_i V_j - C_ij^2``, an abbreviation."""
        v1 = self.variance(i, widths[0])
        v2 = self.variance(j, widths[1])
        d = self._abbreviation(f"D{i}{j}_{widths}", v1 * v2 - self.cov(i, j) ** 2)
        self.squares[self.cov(i, j)] = v1 * v2 - d
        return d

    def _abbreviation(self, name: str, meaning: Expr) -> sympy.Symbol:
        symbol = sympy.Symbol(name, positive=True)
        self.meaning[symbol] = meaning
        return symbol

    def spell_out(self, expression: Expr, only: str = "") -> Expr:
        """Replace the abbreviations (``only`` those of one letter) by what they stand for, D before
        V.
        """
        for symbol in sorted(self.meaning, key=str):
            if symbol.name.startswith(only):
                expression = expression.subs(symbol, self.meaning[symbol])
        return expression

    def without_squares(self, expression: Expr) -> Expr:
        """Replace ``C_ij^2`` by ``V_i V_j - D`` in the expanded expression."""
        for c, square in self.squares.items():
            powers = {c**n: c ** (n % 2) * square ** (n // 2) for n in range(2, 9)}
            expression = sympy.expand(sympy.expand(expression).xreplace(powers))
        return expression


#: An expression of more operations than this has no short way of writing, and sympy takes seconds
#: to look for one.
LONG = 60


class Sum:
    """A sum of ``coefficient * outer * inner``: outer an exponential density, inner erf, asin or a
    cdf.
    """

    def __init__(self, gaussian: Gaussian) -> None:
        self.gaussian = gaussian
        self.groups: dict[Expr, dict[Expr, Expr]] = defaultdict(
            lambda: defaultdict(lambda: Integer(0))
        )

    def add(self, coefficient: Expr, outer: Expr = sympy.S.One, inner: Expr = sympy.S.One) -> None:
        """Add one term."""
        if inner != 0 and coefficient != 0:
            self.groups[outer][inner] += coefficient

    def add_scaled(self, factor: Expr, other: Sum) -> None:
        """Add a multiple of another sum."""
        for outer, group in other.groups.items():
            for inner, coefficient in group.items():
                self.add(factor * coefficient, outer, inner)

    def expression(self) -> Expr:
        """The simplified sum."""
        return sympy.Add(*(self._group(outer, group) for outer, group in self.groups.items()))

    def _group(self, outer: Expr, group: dict[Expr, Expr]) -> Expr:
        if outer != 1:
            stand_in = {inner: sympy.Dummy() for inner in group if inner != 1}
            total = sum(
                coefficient * stand_in.get(inner, inner) for inner, coefficient in group.items()
            )
            return self._tidy(total, outer, {dummy: inner for inner, dummy in stand_in.items()})
        common: dict[Expr, Expr] = defaultdict(
            lambda: Integer(0)
        )  # terms that differ by a number share a bracket
        for inner, coefficient in group.items():
            number, factor = self._tidy(coefficient).as_coeff_Mul(rational=True)
            common[factor] += number * self.gaussian.spell_out(inner)
        return sympy.Add(*(factor * bracket for factor, bracket in common.items()))

    def _tidy(
        self, coefficient: Expr, outer: Expr = sympy.S.One, back: dict[Expr, Expr] | None = None
    ) -> Expr:
        """The shortest of a few ways to write ``coefficient * outer``."""
        gaussian = self.gaussian
        ways = [coefficient, sympy.factor(coefficient)]
        determinants = [symbol for symbol in gaussian.meaning if symbol.name.startswith("D")]
        covariances = [symbols.C12, symbols.C13, symbols.C23]
        spelled = (gaussian.spell_out(coefficient, only="D"), gaussian.spell_out(coefficient))
        for way in (coefficient, gaussian.without_squares(coefficient), *spelled):
            if way.count_ops() < LONG:
                expanded = sympy.expand(way)
                ways += [way, sympy.factor(way), sympy.collect(expanded, covariances, sympy.factor)]
                ways.append(sympy.collect(expanded, determinants, sympy.factor))
        written = [
            sympy.factor_terms(gaussian.spell_out(way * outer)) for way in dict.fromkeys(ways)
        ]
        shortest = min(written, key=lambda way: (way.count_ops(), len(str(way))))
        return gaussian.spell_out(shortest.subs(back)) if back else shortest
