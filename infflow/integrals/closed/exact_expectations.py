"""Expressions of Gaussian integrals of activations with exact coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial

import sympy
from sympy import Expr, Integer, exp, pi, sqrt

from . import symbolic
from .complex_erf import ErfImaginaryPart, ErfRealPart
from .exact_activations import Exact
from .gaussian_sums import DETERMINANT, Gaussian, Sum, ramp_mean, ramp_pair
from .normal_functions import BivariateNormalCDF

__all__ = ["mean_sum", "pair_sum", "triple_sum"]


def _polynomial_mean(coefficients: Sequence[Expr], order: int, i: int, gaussian: Gaussian) -> Expr:
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


def _atoms_mean(f: Exact, order: int, i: int, gaussian: Gaussian) -> Sum:
    """E of the ``order``-th derivative of the atoms of f at h_i."""
    result = Sum(gaussian)
    b = gaussian.mean(i)
    for weight, k, width in f.atoms:
        v = gaussian.variance(i, width)
        p, n = (part.subs({symbolic.V1: v, symbolic.b1: b}) for part in ramp_mean(k + order))
        result.add(weight * p / 2)
        result.add(weight * p / 2, inner=sympy.erf(b / sqrt(2 * v)))
        result.add(weight * n, outer=_density(b, v))
    return result


def _density(b: Expr, v: Expr) -> Expr:
    return exp(-(b**2) / (2 * v)) / sqrt(2 * pi * v)


def _atoms_pair(
    f: Exact, g: Exact, i: int, j: int, orders: tuple[int, int], gaussian: Gaussian
) -> Sum:
    """E of derivatives of the atoms of f at h_i times those of g at h_j."""
    result = Sum(gaussian)
    c = gaussian.cov(i, j)
    b1 = gaussian.mean(i)
    b2 = gaussian.mean(j)
    for weight1, k1, width1 in f.atoms:
        for weight2, k2, width2 in g.atoms:
            v1 = gaussian.variance(i, width1)
            v2 = gaussian.variance(j, width2)
            d = gaussian.determinant(i, j, (width1, width2))
            arguments = (
                symbolic.V1,
                symbolic.V2,
                symbolic.C12,
                DETERMINANT,
                symbolic.b1,
                symbolic.b2,
            )
            values = dict(zip(arguments, (v1, v2, c, d, b1, b2), strict=True))
            span = ramp_pair(k1 + orders[0], k2 + orders[1])
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


class _Shifted(Gaussian):
    """The Gaussian variables after multiplication with exp(rate h_i): means move by rate times
    covariances.
    """

    def __init__(self, gaussian: Gaussian, i: int, rate: Expr) -> None:
        self.__dict__.update(gaussian.__dict__)  # keeps the abbreviations of the original
        self.biases = True
        self.original = gaussian
        self.i = i
        self.rate = rate

    def mean(self, i: int) -> Expr:
        return self.original.mean(i) + self.rate * self.cov(self.i, i)


def _add_real_part(
    result: Sum, coefficient: Expr, exponent: Expr, argument: Expr | None = None
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


def _wave_mean(f: Exact, order: int, i: int, gaussian: Gaussian) -> Sum:
    result = Sum(gaussian)
    for weight, rate in f.waves:
        exponent = rate * gaussian.mean(i) + rate**2 * gaussian.cov(i, i) / 2
        _add_real_part(result, weight * rate**order, exponent)
    return result


def _wave_and_atoms(
    f: Exact, g: Exact, i: int, j: int, orders: tuple[int, int], gaussian: Gaussian
) -> Sum:
    """Waves of h_i against a polynomial plus atoms of h_j."""
    result = Sum(gaussian)
    p, q = orders
    for weight, rate in f.waves:
        amplitude = weight * rate**p
        shifted = _Shifted(gaussian, i, rate)
        exponent = rate * gaussian.mean(i) + rate**2 * gaussian.cov(i, i) / 2
        if rate.is_real:
            for outer, group in mean_sum(g, q, j, shifted).groups.items():
                for inner, coefficient in group.items():
                    result.add(amplitude * coefficient, outer * exp(exponent), inner)
            continue
        _add_real_part(result, amplitude * _polynomial_mean(g.polynomial, q, j, shifted), exponent)
        mean = shifted.mean(j)
        for atom_weight, k, width in g.atoms:
            v = gaussian.variance(j, width)
            p_above, n = (
                part.subs({symbolic.V1: v, symbolic.b1: mean}) for part in ramp_mean(k + q)
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
    f: Exact, g: Exact, i: int, j: int, orders: tuple[int, int], gaussian: Gaussian
) -> Sum:
    """Product of real parts: half the real part of the product and of the product with the
    conjugate.
    """
    result = Sum(gaussian)
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


def _pieces(f: Exact, order: int) -> list[tuple[int, Exact, int]]:
    """``f^(order)`` as a sum of exp(rate h) times a derivative of a polynomial plus atoms or waves:
    rate, these, order.

    Elu and selu are ``S ramp + A (step - 1) + A exp(h) (1 - step)``, and
    ``(exp(h) (1 - step))^(p)`` is itself minus all derivatives 1 to p of the step.
    """
    if f.sides is None:
        return [(0, f, order)]
    S, A = f.sides
    tilted = Exact((A,), ((-A, 1, Integer(0)),))
    if order == 0:
        return [(0, Exact((-A,), ((S, 0, Integer(0)), (A, 1, Integer(0)))), 0), (1, tilted, 0)]
    deltas = tuple((-A, 1 + k, Integer(0)) for k in range(1, order))
    return [(0, Exact((), ((S, order, Integer(0)), *deltas)), 0), (1, tilted, 0)]


def _tilt(rate: int, i: int, gaussian: Gaussian) -> tuple[Expr, Gaussian]:
    """The factor that multiplication by exp(rate h_i) brings, and the shifted variables."""
    if rate == 0:
        return Integer(1), gaussian
    return exp(gaussian.mean(i) + gaussian.cov(i, i) / 2), _Shifted(gaussian, i, Integer(1))


def _add_tilted(result: Sum, factor: Expr, other: Sum) -> None:
    for outer, group in other.groups.items():
        for inner, coefficient in group.items():
            result.add(coefficient, outer * factor, inner)


def mean_sum(f: Exact, order: int, i: int, gaussian: Gaussian) -> Sum:
    """``E f^(p)(h_i)``."""
    result = Sum(gaussian)
    for rate, piece, p in _pieces(f, order):
        factor, shifted = _tilt(rate, i, gaussian)
        _add_tilted(result, factor, _plain_mean(piece, p, i, shifted))
    return result


def pair_sum(
    f: Exact, g: Exact, i: int, j: int, orders: tuple[int, int], gaussian: Gaussian
) -> Sum:
    """``E[f^(p)(h_i) g^(q)(h_j)]``."""
    result = Sum(gaussian)
    for rate1, piece1, p in _pieces(f, orders[0]):
        factor1, shifted = _tilt(rate1, i, gaussian)
        for rate2, piece2, q in _pieces(g, orders[1]):
            factor2, both = _tilt(rate2, j, shifted)
            _add_tilted(result, factor1 * factor2, _plain_pair(piece1, piece2, i, j, (p, q), both))
    return result


def _plain_mean(f: Exact, order: int, i: int, gaussian: Gaussian) -> Sum:
    if f.waves:
        return _wave_mean(f, order, i, gaussian)
    result = _atoms_mean(f, order, i, gaussian)
    result.add(_polynomial_mean(f.polynomial, order, i, gaussian))
    return result


def _plain_pair(
    f: Exact, g: Exact, i: int, j: int, orders: tuple[int, int], gaussian: Gaussian
) -> Sum:
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
        result.add_scaled(factor, mean_sum(g, q + n, j, gaussian))
    for n in range(len(g.polynomial)):
        factor = c**n / factorial(n) * _polynomial_mean(g.polynomial, q + n, j, gaussian)
        result.add_scaled(factor, _atoms_mean(f, p + n, i, gaussian))
    return result


def triple_sum(f: Exact, g: Exact, gaussian: Gaussian) -> Sum:
    """``E[f'(h1) h2 g(h3)]`` by Stein's lemma for h2."""
    result = Sum(gaussian)
    result.add_scaled(gaussian.cov(1, 2), pair_sum(f, g, 1, 3, (2, 0), gaussian))
    result.add_scaled(gaussian.cov(2, 3), pair_sum(f, g, 1, 3, (1, 1), gaussian))
    result.add_scaled(gaussian.mean(2), pair_sum(f, g, 1, 3, (1, 0), gaussian))
    return result
