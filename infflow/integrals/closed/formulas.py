"""Textbook closed forms of Gaussian integrals, derived and simplified by sympy.

An activation is a polynomial plus atoms ``a * rho_tau^(k)(x)`` of the smoothed ramp
``rho_tau(x) = E_z relu(x + tau z)``. The expectation of every pair of atoms is a derivative with
respect to the means of ``R = E[relu(h1) relu(h2)]``, and all these derivatives lie in the span of
four functions (``V_ii = C_ii + tau_i^2``, ``c = C_12``, ``D = V_11 V_22 - c^2``):

=====  ====================================================  ===================================
``L``  ``P(h1 > 0, h2 > 0)``                                 the bivariate normal cdf
``A``  ``dL/db1``: density of h1 at 0 times P(h2>0 | h1=0)   an exponential times a normal cdf
``B``  ``dL/db2``                                            the same with 1 and 2 exchanged
``N``  ``d2L/db1 db2``: joint density of (h1, h2) at (0, 0)  an exponential
=====  ====================================================  ===================================

with coefficients that are rational in ``V, c, D, b``, which come from ``symbolic.py``. Polynomials
are moved out by Price's theorem, whose series in c ends.

Importing this module imports sympy; ``infflow.closed_form`` does so when it is first used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from itertools import product
from math import factorial
from typing import Any, NamedTuple

import sympy
from sympy import Expr, Integer, Rational, exp, pi, sqrt

from ..._validation import as_flag, as_integer, as_items, counted, public, shown
from ...activations import REGISTRY, Activation, Term, resolve
from ...activations.kernels import SELU_ALPHA, SELU_SCALE
from ...errors import InvalidValueError, MethodError
from . import elu as one_sided
from . import symbolic
from .complex_erf import ErfImaginaryPart, ErfRealPart
from .normal_functions import BivariateNormalCDF

__all__ = ["BivariateNormalCDF", "closed_form", "symbols"]


class Symbols(NamedTuple):
    """The symbols of :func:`closed_form`: variances positive, covariances and means real."""

    C: sympy.Symbol
    b: sympy.Symbol
    C11: sympy.Symbol
    C12: sympy.Symbol
    C13: sympy.Symbol
    C22: sympy.Symbol
    C23: sympy.Symbol
    C33: sympy.Symbol
    b1: sympy.Symbol
    b2: sympy.Symbol
    b3: sympy.Symbol


def _symbol(name: str) -> sympy.Symbol:
    is_variance = name in ("C", "C11", "C22", "C33")
    return sympy.Symbol(name, positive=True) if is_variance else sympy.Symbol(name, real=True)


#: ``symbols.C12`` and so on; ``C`` and ``b`` belong to the one-dimensional integrals.
symbols = Symbols(*(_symbol(name) for name in Symbols._fields))


# -- activations as exact data ---------------------------------------------------------------------


class _Exact(NamedTuple):
    """An activation with exact coefficients: polynomial (ascending), atoms (weight, order, width),
    waves (weight, rate).

    ``sides``: of elu and selu the slope S above 0 and the factor A of exp(h) - 1 below, instead of
    all these.
    """

    polynomial: tuple[Expr, ...]
    atoms: tuple[tuple[Expr, int, Expr], ...]
    waves: tuple[tuple[Expr, Expr], ...] = ()
    sides: tuple[Expr, Expr] | None = None


def _exact(value: Any) -> Expr:
    """The rational number, or rational multiple of sqrt(2 pi), that a coefficient stands for."""
    if isinstance(value, Expr):
        return value
    number = float(value)
    for unit in (Integer(1), sqrt(2 * pi)):
        ratio = number / float(unit)
        simple = Fraction(ratio).limit_denominator(10_000)
        if abs(float(simple) - ratio) <= 4e-16 * abs(ratio):
            return Rational(simple.numerator, simple.denominator) * unit
    return Rational(repr(number))  # the shortest decimal


def _exact_complex(value: complex) -> Expr:
    number = complex(value)
    return _exact(number.real) + sympy.I * _exact(number.imag)


#: An activation of more atoms is a mixture that approximates another function.
MOST_ATOMS = 8


def _exact_activation(name: str | Activation) -> _Exact:
    activation = resolve(name)
    if one_sided.sides(activation) is not None:
        if activation is REGISTRY["selu"]:
            scale = _exact(SELU_SCALE)
            alpha = _exact(SELU_ALPHA)
            return _Exact((), (), sides=(scale, scale * alpha))
        assert activation.sides is not None
        return _Exact((), (), sides=(_exact(activation.sides[0]), _exact(activation.sides[1])))
    if activation.waves:
        return _Exact(
            (),
            (),
            tuple((_exact_complex(w.weight), _exact_complex(w.rate)) for w in activation.waves),
        )
    if not activation.has_closed_form:
        raise MethodError(
            f"The activation {activation.name!r} has no closed-form Gaussian integrals: it is "
            "not a polynomial plus "
            "smoothed ramps. Use the numerical functions gaussian_moment and gaussian_mean instead."
        )
    if len(activation.atoms) > MOST_ATOMS:
        raise MethodError(
            f"The closed form of {activation.name!r} is a finite mixture of "
            f"{len(activation.atoms)} smoothed ramps or their"
            " derivatives, which is evaluated numerically and has no short expression. Use the "
            "numerical functions"
            " gaussian_moment and gaussian_mean instead."
        )
    polynomial: Sequence[Any] = activation.polynomial
    if (
        polynomial and not activation.atoms
    ):  # irrational coefficients, as in from_sympy(..., sqrt(2)*x), stay exact
        expression = activation.expression
        exact = sympy.Poly(
            expression, *sympy.ordered(expression.free_symbols or {symbols.b})
        ).all_coeffs()[::-1]
        polynomial = [e if not e.is_Rational else e.p / e.q for e in exact]
    return _Exact(
        tuple(_exact(coefficient) for coefficient in polynomial),
        tuple((_exact(atom.weight), atom.order, _exact(atom.width)) for atom in activation.atoms),
    )


# -- the derivation --------------------------------------------------------------------------------

_D = sympy.Symbol("D", positive=True)
_SUBSTITUTIONS = {  # the primitives of symbolic.py in terms of V, C12, D, b
    symbolic.m1: symbolic.b2 - symbolic.C12 / symbolic.V1 * symbolic.b1,
    symbolic.m2: symbolic.b1 - symbolic.C12 / symbolic.V2 * symbolic.b2,
    symbolic.g1: symbolic.C12 / symbolic.V1,
    symbolic.g2: symbolic.C12 / symbolic.V2,
    symbolic.s1: _D / symbolic.V1,
    symbolic.s2: _D / symbolic.V2,
    symbolic.r1: symbolic.V1 / _D,
    symbolic.r2: symbolic.V2 / _D,
    symbolic.i1: 1 / symbolic.V1,
    symbolic.i2: 1 / symbolic.V2,
}


@cache
def _ramp_pair(m: int, n: int) -> tuple[Expr, Expr, Expr, Expr]:
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
def _ramp_mean(m: int) -> tuple[Expr, Expr]:
    """``d^m/db^m E relu(h)`` as coefficients of P(h > 0) and of the density of h at 0."""
    b, v = symbolic.b1, symbolic.V1
    if m == 0:
        return b, v
    if m < 0:  # truncated powers, by Stein's lemma
        (p, n) = _ramp_mean(m + 1)
        (q, k) = _ramp_mean(m + 2)
        return sympy.expand((b * p + v * q) / (1 - m)), sympy.expand((b * n + v * k) / (1 - m))
    p, n = _ramp_mean(m - 1)
    return sympy.diff(p, b), sympy.expand(sympy.diff(n, b) + p - b / v * n)


class _Gaussian:
    """One choice of Gaussian variables: symbols, and the special functions of each pair
    of atoms.
    """

    def __init__(self, biases: bool, one_dimensional: bool = False) -> None:
        self.biases = biases
        self.one_dimensional = one_dimensional
        self.meaning: dict[sympy.Symbol, Expr] = {}  # V and D, written out
        self.squares: dict[sympy.Symbol, Expr] = {}  # C_ij^2 by V and D

    def mean(self, i: int) -> Expr:
        if not self.biases:
            return Integer(0)
        return symbols.b if self.one_dimensional else getattr(symbols, f"b{i}")

    def cov(self, i: int, j: int) -> sympy.Symbol:
        return symbols.C if self.one_dimensional else getattr(symbols, f"C{min(i, j)}{max(i, j)}")

    def variance(self, i: int, width: Expr) -> sympy.Symbol:
        """``C_ii + width^2``, as an abbreviation unless the width is 0."""
        if width == 0:
            return self.cov(i, i)
        return self._abbreviation(f"V{i}_{width}", self.cov(i, i) + width**2)

    def determinant(self, i: int, j: int, widths: tuple[Expr, Expr]) -> sympy.Symbol:
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


class _Sum:
    """A sum of ``coefficient * outer * inner``: outer an exponential density, inner erf, asin or a
    cdf.
    """

    def __init__(self, gaussian: _Gaussian) -> None:
        self.gaussian = gaussian
        self.groups: dict[Expr, dict[Expr, Expr]] = defaultdict(
            lambda: defaultdict(lambda: Integer(0))
        )

    def add(self, coefficient: Expr, outer: Expr = sympy.S.One, inner: Expr = sympy.S.One) -> None:
        if inner != 0 and coefficient != 0:
            self.groups[outer][inner] += coefficient

    def add_scaled(self, factor: Expr, other: _Sum) -> None:
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


# -- expectations ----------------------------------------------------------------------------------


def _polynomial_mean(coefficients: Sequence[Expr], order: int, i: int, gaussian: _Gaussian) -> Expr:
    """``E p^(order)(h_i)``: the heat equation in C_ii, whose series ends."""
    x = sympy.Dummy()
    variance = gaussian.cov(i, i)
    polynomial = sympy.Poly(list(coefficients)[::-1] or [0], x)
    for _ in range(order):
        polynomial = polynomial.diff(x)
    total = Integer(0)
    mean = gaussian.mean(i)
    for n in range(polynomial.degree() // 2 + 1 if not polynomial.is_zero else 0):
        total += (variance / 2) ** n / factorial(n) * polynomial.eval(mean)
        polynomial = polynomial.diff(x).diff(x)
    return total


def _atoms_mean(f: _Exact, order: int, i: int, gaussian: _Gaussian) -> _Sum:
    """E of the ``order``-th derivative of the atoms of f at h_i."""
    result = _Sum(gaussian)
    b = gaussian.mean(i)
    for weight, k, width in f.atoms:
        v = gaussian.variance(i, width)
        p, n = (part.subs({symbolic.V1: v, symbolic.b1: b}) for part in _ramp_mean(k + order))
        result.add(weight * p / 2)
        result.add(weight * p / 2, inner=sympy.erf(b / sqrt(2 * v)))
        result.add(weight * n, outer=_density(b, v))
    return result


def _density(b: Expr, v: Expr) -> Expr:
    return exp(-(b**2) / (2 * v)) / sqrt(2 * pi * v)


def _atoms_pair(
    f: _Exact, g: _Exact, i: int, j: int, orders: tuple[int, int], gaussian: _Gaussian
) -> _Sum:
    """E of derivatives of the atoms of f at h_i times those of g at h_j."""
    result = _Sum(gaussian)
    c = gaussian.cov(i, j)
    b1 = gaussian.mean(i)
    b2 = gaussian.mean(j)
    for weight1, k1, width1 in f.atoms:
        for weight2, k2, width2 in g.atoms:
            v1 = gaussian.variance(i, width1)
            v2 = gaussian.variance(j, width2)
            d = gaussian.determinant(i, j, (width1, width2))
            arguments = (symbolic.V1, symbolic.V2, symbolic.C12, _D, symbolic.b1, symbolic.b2)
            values = dict(zip(arguments, (v1, v2, c, d, b1, b2), strict=True))
            span = _ramp_pair(k1 + orders[0], k2 + orders[1])
            l, a, b, n = (weight1 * weight2 * part.subs(values, simultaneous=True) for part in span)
            if gaussian.biases:
                result.add(
                    l, inner=BivariateNormalCDF(b1 / sqrt(v1), b2 / sqrt(v2), c / sqrt(v1 * v2))
                )
            else:
                result.add(l / 4)
                result.add(l / (2 * pi), inner=sympy.asin(c / sqrt(v1 * v2)))
            for part, b_on, v_on, b_off in ((a, b1, v1, b2), (b, b2, v2, b1)):
                conditional = sympy.erf((v_on * b_off - c * b_on) / sqrt(2 * v_on * d))
                result.add(part / 2, outer=_density(b_on, v_on))
                result.add(part / 2, outer=_density(b_on, v_on), inner=conditional)
            exponent = -(v2 * b1**2 - 2 * c * b1 * b2 + v1 * b2**2) / (2 * d)
            result.add(n, outer=exp(exponent) / (2 * pi * sqrt(d)))
    return result


class _Shifted(_Gaussian):
    """The Gaussian variables after multiplication with exp(rate h_i): means move by rate times
    covariances.
    """

    def __init__(self, gaussian: _Gaussian, i: int, rate: Expr) -> None:
        self.__dict__.update(gaussian.__dict__)  # keeps the abbreviations of the original
        self.biases = True
        self.original = gaussian
        self.i = i
        self.rate = rate

    def mean(self, i: int) -> Expr:
        return self.original.mean(i) + self.rate * self.cov(self.i, i)


def _add_real_part(
    result: _Sum, coefficient: Expr, exponent: Expr, argument: Expr | None = None
) -> None:
    """Add ``Re(coefficient exp(exponent))``, or that of the product with erf(argument)."""
    real, imaginary = sympy.expand(coefficient).as_real_imag()
    growth, phase = sympy.expand(exponent).as_real_imag()
    even = Integer(1)
    odd = Integer(0)
    if argument is not None:
        place = sympy.expand(argument).as_real_imag()
        even = ErfRealPart(*place)
        odd = ErfImaginaryPart(*place)
    result.add(real, outer=exp(growth), inner=even * sympy.cos(phase))
    result.add(-real, outer=exp(growth), inner=odd * sympy.sin(phase))
    result.add(-imaginary, outer=exp(growth), inner=even * sympy.sin(phase))
    result.add(-imaginary, outer=exp(growth), inner=odd * sympy.cos(phase))


def _wave_mean(f: _Exact, order: int, i: int, gaussian: _Gaussian) -> _Sum:
    result = _Sum(gaussian)
    for weight, rate in f.waves:
        exponent = rate * gaussian.mean(i) + rate**2 * gaussian.cov(i, i) / 2
        _add_real_part(result, weight * rate**order, exponent)
    return result


def _wave_and_atoms(
    f: _Exact, g: _Exact, i: int, j: int, orders: tuple[int, int], gaussian: _Gaussian
) -> _Sum:
    """Waves of h_i against a polynomial plus atoms of h_j."""
    result = _Sum(gaussian)
    p, q = orders
    for weight, rate in f.waves:
        amplitude = weight * rate**p
        shifted = _Shifted(gaussian, i, rate)
        exponent = rate * gaussian.mean(i) + rate**2 * gaussian.cov(i, i) / 2
        if rate.is_real:
            for outer, group in _mean(g, q, j, shifted).groups.items():
                for inner, coefficient in group.items():
                    result.add(amplitude * coefficient, outer * exp(exponent), inner)
            continue
        _add_real_part(result, amplitude * _polynomial_mean(g.polynomial, q, j, shifted), exponent)
        mean = shifted.mean(j)
        for atom_weight, k, width in g.atoms:
            v = gaussian.variance(j, width)
            p_above, n = (
                part.subs({symbolic.V1: v, symbolic.b1: mean}) for part in _ramp_mean(k + q)
            )
            density = n / sqrt(2 * pi * v)
            _add_real_part(
                result,
                amplitude * atom_weight * density,
                exponent - sympy.expand(mean**2) / (2 * v),
            )
            above = amplitude * atom_weight * p_above / 2
            _add_real_part(result, above, exponent)
            _add_real_part(result, above, exponent, mean / sqrt(2 * v))
    return result


def _two_waves(
    f: _Exact, g: _Exact, i: int, j: int, orders: tuple[int, int], gaussian: _Gaussian
) -> _Sum:
    """Product of real parts: half the real part of the product and of the product with the
    conjugate.
    """
    result = _Sum(gaussian)
    for weight1, rate1 in f.waves:
        for weight2, rate2 in g.waves:
            a = weight1 * rate1 ** orders[0]
            c = weight2 * rate2 ** orders[1]
            for factor, rate in (c, rate2), (sympy.conjugate(c), sympy.conjugate(rate2)):
                exponent = (
                    rate1 * gaussian.mean(i)
                    + rate * gaussian.mean(j)
                    + rate1 * rate * gaussian.cov(i, j)
                )
                exponent += (rate1**2 * gaussian.cov(i, i) + rate**2 * gaussian.cov(j, j)) / 2
                _add_real_part(result, a * factor / 2, exponent)
    return result


def _pieces(f: _Exact, order: int) -> list[tuple[int, _Exact, int]]:
    """``f^(order)`` as a sum of exp(rate h) times a derivative of a polynomial plus atoms or waves:
    rate, these, order.

    Elu and selu are ``S ramp + A (step - 1) + A exp(h) (1 - step)``, and
    ``(exp(h) (1 - step))^(p)`` is itself minus all derivatives 1 to p of the step.
    """
    if f.sides is None:
        return [(0, f, order)]
    S, A = f.sides
    tilted = _Exact((A,), ((-A, 1, Integer(0)),))
    if order == 0:
        return [(0, _Exact((-A,), ((S, 0, Integer(0)), (A, 1, Integer(0)))), 0), (1, tilted, 0)]
    deltas = tuple((-A, 1 + k, Integer(0)) for k in range(1, order))
    return [(0, _Exact((), ((S, order, Integer(0)), *deltas)), 0), (1, tilted, 0)]


def _tilt(rate: int, i: int, gaussian: _Gaussian) -> tuple[Expr, _Gaussian]:
    """The factor that multiplication by exp(rate h_i) brings, and the shifted variables."""
    if rate == 0:
        return Integer(1), gaussian
    return exp(gaussian.mean(i) + gaussian.cov(i, i) / 2), _Shifted(gaussian, i, Integer(1))


def _add_tilted(result: _Sum, factor: Expr, other: _Sum) -> None:
    for outer, group in other.groups.items():
        for inner, coefficient in group.items():
            result.add(coefficient, outer * factor, inner)


def _mean(f: _Exact, order: int, i: int, gaussian: _Gaussian) -> _Sum:
    result = _Sum(gaussian)
    for rate, piece, p in _pieces(f, order):
        factor, shifted = _tilt(rate, i, gaussian)
        _add_tilted(result, factor, _plain_mean(piece, p, i, shifted))
    return result


def _pair(
    f: _Exact, g: _Exact, i: int, j: int, orders: tuple[int, int], gaussian: _Gaussian
) -> _Sum:
    """``E[f^(p)(h_i) g^(q)(h_j)]``."""
    result = _Sum(gaussian)
    for rate1, piece1, p in _pieces(f, orders[0]):
        factor1, shifted = _tilt(rate1, i, gaussian)
        for rate2, piece2, q in _pieces(g, orders[1]):
            factor2, both = _tilt(rate2, j, shifted)
            _add_tilted(result, factor1 * factor2, _plain_pair(piece1, piece2, i, j, (p, q), both))
    return result


def _plain_mean(f: _Exact, order: int, i: int, gaussian: _Gaussian) -> _Sum:
    if f.waves:
        return _wave_mean(f, order, i, gaussian)
    result = _atoms_mean(f, order, i, gaussian)
    result.add(_polynomial_mean(f.polynomial, order, i, gaussian))
    return result


def _plain_pair(
    f: _Exact, g: _Exact, i: int, j: int, orders: tuple[int, int], gaussian: _Gaussian
) -> _Sum:
    """The same without elu and selu; polynomials by Price's series
    ``sum_n C_ij^n/n! E f^(p+n) E g^(q+n)``.
    """
    p, q = orders
    if f.waves:
        return (_two_waves if g.waves else _wave_and_atoms)(f, g, i, j, orders, gaussian)
    if g.waves:
        return _wave_and_atoms(g, f, j, i, (q, p), gaussian)
    result = _atoms_pair(f, g, i, j, orders, gaussian)
    c = gaussian.cov(i, j)
    for n in range(len(f.polynomial)):
        factor = c**n / factorial(n) * _polynomial_mean(f.polynomial, p + n, i, gaussian)
        result.add_scaled(factor, _mean(g, q + n, j, gaussian))
    for n in range(len(g.polynomial)):
        factor = c**n / factorial(n) * _polynomial_mean(g.polynomial, q + n, j, gaussian)
        result.add_scaled(factor, _atoms_mean(f, p + n, i, gaussian))
    return result


def _triple(f: _Exact, g: _Exact, gaussian: _Gaussian) -> _Sum:
    """``E[f'(h1) h2 g(h3)]`` by Stein's lemma for h2."""
    result = _Sum(gaussian)
    result.add_scaled(gaussian.cov(1, 2), _pair(f, g, 1, 3, (2, 0), gaussian))
    result.add_scaled(gaussian.cov(2, 3), _pair(f, g, 1, 3, (1, 1), gaussian))
    result.add_scaled(gaussian.mean(2), _pair(f, g, 1, 3, (1, 0), gaussian))
    return result


@public
def closed_form(
    *activations: str | Activation, biases: bool = False, derivatives: Iterable[int] | None = None
) -> Expr:
    r"""Sympy expression of a one-, two- or three-dimensional Gaussian integral.

    ``closed_form(f)`` is :math:`\E f(h)` for :math:`h` of variance ``C`` and mean ``b``;
    ``closed_form(f, g)`` is :math:`\E[f(h_1)\, g(h_2)]` for covariance ``C11, C12, C22`` and means
    ``b1, b2``; ``closed_form(f, "h", g)`` is :math:`\E[f'(h_1)\, h_2\, g(h_3)]`, the integral that
    drives order parameters.

    Parameters
    ----------
    *activations : str or Activation
        Activations with a closed form, and sums of such: polynomials, relu, leaky_relu, abs, step,
        sign, relu_power, erf, normal_cdf, gelu, gaussian, elu, selu, exp, sin, cos.
    biases : bool, default False
        False: all means are zero. True: the means are the symbols ``b``; ``b1, b2``;
        ``b1, b2, b3``.
    derivatives : sequence of int, optional
        Orders of differentiation of f, or of f and g (one- and two-dimensional integrals):
        :math:`\E[f^{(p)}(h_1)\, g^{(q)}(h_2)]`. For kinked activations in the sense of
        distributions.

    Returns
    -------
    sympy.Expr
        In the symbols of ``infflow.integrals.closed.formulas.symbols``; with biases it may contain
        :class:`BivariateNormalCDF`, and of sin and cos with kinks, erf or gelu the real and the
        imaginary part of erf at a complex number (``infflow.integrals.closed.complex_erf``).

    Raises
    ------
    MethodError
        If an activation has no closed form.
    UnknownNameError
        If an activation is not registered.

    See Also
    --------
    gaussian_moment : its value.
    available_methods : whether there is one.

    References
    ----------
    Saad and Solla, Phys. Rev. E 52, 4225 (1995) for erf; Cho and Saul, NeurIPS 22 (2009) for relu.

    Examples
    --------
    >>> closed_form("relu", "relu")
    C12*asin(C12/(sqrt(C11)*sqrt(C22)))/(2*pi) + C12/4 + sqrt(C11*C22 - C12**2)/(2*pi)
    """
    biases = as_flag("biases", biases)
    if not 1 <= len(activations) <= 3:
        raise InvalidValueError(
            "closed_form takes one, two or three activations, as in closed_form('relu', 'erf'); "
            f"{len(activations)} were given."
        )
    if len(activations) == 3:
        f, middle, g = activations
        if not (isinstance(middle, str) and middle == "h"):
            raise InvalidValueError(
                f"The second of three arguments is {shown(middle)}; it must be 'h', as in "
                "closed_form(f, 'h', g) for E[f'(h1) h2 g(h3)]."
            )
        if derivatives is not None:
            raise InvalidValueError(
                "derivatives is not defined for closed_form(f, 'h', g); leave it out."
            )
        return _sum_of_parts((resolve(f), resolve(g)), None, biases)
    orders = _derivative_orders(derivatives, len(activations))
    return _sum_of_parts(tuple(resolve(each) for each in activations), orders, biases)


def _sum_of_parts(
    activations: tuple[Activation, ...], orders: tuple[int, ...] | None, biases: bool
) -> Expr:
    """The integral, part by part where an activation is a sum: each with its own scale and mean."""
    if not any(f.parts for f in activations):
        return _expression(tuple(_exact_activation(f) for f in activations), orders, biases)
    places = (1, 3) if orders is None else (1, 2)[: len(activations)]
    total = Integer(0)
    for parts in product(*(f.parts or (Term(1.0, 1.0, 0.0, f),) for f in activations)):
        exact = tuple(_exact_activation(part.primitive) for part in parts)
        scales = dict(zip(places, (_exact(part.scale) for part in parts), strict=True))
        shifts = dict(zip(places, (_exact(part.shift) for part in parts), strict=True))
        factor = Integer(1)
        for part, place, order in zip(parts, places, orders or (1, 0), strict=True):
            factor *= _exact(part.coefficient) * scales[place] ** order
        # the means of all parts, although those of the neurons may be 0
        own = _expression(exact, orders, True)
        total += factor * own.subs(_moved(scales, shifts, len(activations) == 1), simultaneous=True)
    return total if biases else total.subs(dict.fromkeys((symbols[1], *symbols[-3:]), 0))


def _moved(
    scales: dict[int, Expr], shifts: dict[int, Expr], one_dimensional: bool
) -> dict[Expr, Expr]:
    """Covariances and means of scaled and shifted arguments, for the symbols of the plain ones."""
    if one_dimensional:
        s, c = scales[1], shifts[1]
        return {symbols.C: s**2 * symbols.C, symbols.b: s * symbols.b + c}
    found: dict[Expr, Expr] = {}
    for i in (1, 2, 3):
        mean = getattr(symbols, f"b{i}")
        found[mean] = scales.get(i, Integer(1)) * mean + shifts.get(i, Integer(0))
        for j in range(i, 4):
            covariance = getattr(symbols, f"C{i}{j}")
            found[covariance] = scales.get(i, Integer(1)) * scales.get(j, Integer(1)) * covariance
    return found


@lru_cache(maxsize=1024)
def _expression(
    activations: tuple[_Exact, ...], orders: tuple[int, ...] | None, biases: bool
) -> Expr:
    """The simplified integral; ``orders=None`` is the three-dimensional one."""
    f, g = activations[0], activations[-1]
    if orders is None:
        return _triple(f, g, _Gaussian(biases)).expression()
    if len(activations) == 1:
        return _mean(f, orders[0], 1, _Gaussian(biases, one_dimensional=True)).expression()
    return _pair(f, g, 1, 2, (orders[0], orders[1]), _Gaussian(biases)).expression()


def _derivative_orders(derivatives: Any, count: int) -> tuple[int, ...]:
    if derivatives is None:
        return (0,) * count
    given = as_items(
        "derivatives",
        derivatives,
        f"a list of {counted(count, 'integer')}, such as {(1,) * count},",
    )
    orders = tuple(as_integer("an entry of derivatives", order, minimum=0) for order in given)
    if len(orders) != count:
        raise InvalidValueError(
            f"derivatives has the length {len(orders)}; {count} is needed, one order per "
            "activation."
        )
    return orders
