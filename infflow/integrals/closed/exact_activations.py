"""Activations with exact coefficients, and the symbols of expressions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import sympy
from sympy import Expr, Integer, Rational, pi, sqrt

from ...activations import REGISTRY, Activation, resolve
from ...activations.kernels import SELU_ALPHA, SELU_SCALE
from ...errors import MethodError
from . import elu as one_sided

__all__ = ["Exact", "exact_activation", "exact_number", "symbols"]


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


class Exact(NamedTuple):
    """An activation with exact coefficients: polynomial (ascending), atoms (weight, order, width),
    waves (weight, rate).

    ``sides``: of elu and selu the slope S above 0 and the factor A of exp(h) - 1 below, instead of
    all these.
    """

    polynomial: tuple[Expr, ...]
    atoms: tuple[tuple[Expr, int, Expr], ...]
    waves: tuple[tuple[Expr, Expr], ...] = ()
    sides: tuple[Expr, Expr] | None = None


def exact_number(value: Any) -> Expr:
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


def exact_complex(value: complex) -> Expr:
    number = complex(value)
    return exact_number(number.real) + sympy.I * exact_number(number.imag)


#: An activation of more atoms is a mixture that approximates another function.
MOST_ATOMS = 8


def exact_activation(name: str | Activation) -> Exact:
    """An activation with the exact coefficients that its own stand for."""
    activation = resolve(name)
    if one_sided.sides(activation) is not None:
        if activation is REGISTRY["selu"]:
            scale = exact_number(SELU_SCALE)
            alpha = exact_number(SELU_ALPHA)
            return Exact((), (), sides=(scale, scale * alpha))
        assert activation.sides is not None
        return Exact(
            (), (), sides=(exact_number(activation.sides[0]), exact_number(activation.sides[1]))
        )
    if activation.waves:
        return Exact(
            (),
            (),
            tuple((exact_complex(w.weight), exact_complex(w.rate)) for w in activation.waves),
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
    return Exact(
        tuple(exact_number(coefficient) for coefficient in polynomial),
        tuple(
            (exact_number(atom.weight), atom.order, exact_number(atom.width))
            for atom in activation.atoms
        ),
    )
