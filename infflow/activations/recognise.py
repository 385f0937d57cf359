"""Sympy expressions as sums of terms with a closed form: what :meth:`Activation.from_sympy` sees.

A term is ``coefficient * primitive(scale x + shift)`` with a name of the registry. Recognised are

* everything that is a polynomial between finitely many kinks (Piecewise, Max, Min, Abs, sign,
  Heaviside, nested as one likes): jumps of the pieces are truncated powers at the kinks;
* exponentials between kinks (elu, ``exp(-Abs(x))``): one-sided exponentials;
* erf, erfc, tanh, exp, sin, cos, sinh, cosh, atan, ``log(1 + exp)``, the logistic function,
  ``log(cosh)`` and Gaussians of affine arguments, products of x with those that have an integral
  of the kind (erf, tanh, the logistic function), and their sums.

A result is compared with the expression at some points; what disagrees is not recognised.
Imported only with sympy, by ``from_sympy.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import mpmath
import sympy
from sympy.core.relational import Relational

X = sympy.Symbol("x", real=True)
_SWITCHES = (sympy.Abs, sympy.sign, sympy.Heaviside, sympy.Max, sympy.Min, sympy.Piecewise)
_MOST_KINKS = 12
_HIGHEST_POWER = 5
_PROBES = (-9.37, -3.113, -1.219, -0.577, -0.0931, 0.119, 0.713, 1.417, 4.331, 11.7)
_DIGITS = 30


class NamedTerm(NamedTuple):
    """``coefficient * primitive(scale x + shift)``, the primitive by its name; exact numbers."""

    coefficient: Any
    scale: Any
    shift: Any
    primitive: str


@dataclass
class Found:
    """Terms, and the coefficients of a polynomial."""

    terms: list[NamedTerm] = field(default_factory=list)
    polynomial: list[Any] = field(default_factory=list)

    def add(self, coefficient: Any, name: str, scale: Any = 1, shift: Any = 0) -> None:
        """Add a term."""
        self.terms.append(NamedTerm(coefficient, scale, shift, name))

    def add_polynomial(self, expression: Any) -> None:
        """Add a polynomial in x."""
        for k, c in enumerate(reversed(sympy.Poly(expression, X).all_coeffs())):
            while len(self.polynomial) <= k:
                self.polynomial.append(sympy.Integer(0))
            self.polynomial[k] += c


class _NotRecognisedError(Exception):
    """The expression has a part that is no term."""


def _expand(expression: Any) -> Any:
    """Sums multiplied out; exponents and logarithms stay as they are."""
    return sympy.expand(expression, power_exp=False, log=False)


def recognise(expression: Any) -> Found | None:
    """Terms of an expression in the real symbol x, or None."""
    found = Found()
    # Squares are completed and kinks moved in exact numbers: decimals would cancel.
    expression = expression.xreplace({n: sympy.Rational(n) for n in expression.atoms(sympy.Float)})
    try:
        if expression.has(*_SWITCHES):
            _add_piecewise(found, expression)
        else:
            _add_smooth(found, _expand(expression))
    except (_NotRecognisedError, sympy.PolynomialError, TypeError, ValueError):
        return None
    numbers = [n for term in found.terms for n in term[:3]] + found.polynomial
    if not all(sympy.sympify(n).is_real for n in numbers):
        return None
    return found if _agrees(found, expression) else None


# --------------------------------------------------------------------------------------------------
# piecewise


def _switches(expression: Any) -> Iterator[Any]:
    """Arguments whose zeros are where some part of the expression switches."""
    for part in expression.atoms(sympy.Abs, sympy.sign, sympy.Heaviside):
        yield part.args[0]
    for part in expression.atoms(sympy.Max, sympy.Min):
        for k, a in enumerate(part.args):
            for b in part.args[k + 1 :]:
                yield a - b
    for part in expression.atoms(sympy.Piecewise):
        for relation in part.atoms(Relational):
            yield relation.lhs - relation.rhs


def _kinks(expression: Any) -> list[Any]:
    """All places where a switch may turn, ascending."""
    places: set[Any] = set()
    for argument in set(_switches(expression)):
        if not argument.has(X):
            continue
        if argument.has(*_SWITCHES):
            # those of the inner switches first, then the zeros between them
            inner = _kinks(argument)
            places |= set(inner)
            for piece in _branches(argument, inner):
                places |= _zeros(piece)
        else:
            places |= _zeros(argument)
    if len(places) > _MOST_KINKS:
        raise _NotRecognisedError
    return sorted(places, key=lambda place: sympy.N(place, _DIGITS))


def _zeros(argument: Any) -> set[Any]:
    """Real zeros of an expression without switches, if sympy knows all."""
    if not argument.has(X):
        return set()
    zeros = sympy.solveset(argument, X, sympy.S.Reals)
    if not isinstance(zeros, sympy.FiniteSet):
        if zeros is sympy.S.EmptySet:
            return set()
        raise _NotRecognisedError
    return set(zeros)


def _branches(expression: Any, kinks: Sequence[Any]) -> list[Any]:
    """What the expression is between the kinks, from left to right."""
    if not kinks:
        return [_resolved(expression, sympy.Integer(0))]
    ends = [kinks[0] - 1, *kinks, kinks[-1] + 1]
    middles = [(a + b) / 2 for a, b in pairwise(ends)]
    return [_resolved(expression, middle) for middle in middles]


def _resolved(expression: Any, place: Any) -> Any:
    """The expression with all switches as they stand at a place."""
    if not expression.has(*_SWITCHES):
        return expression
    if isinstance(expression, sympy.Piecewise):
        for branch, condition in expression.args:
            if condition is sympy.true or bool(condition.subs(X, place)):
                return _resolved(branch, place)
        raise _NotRecognisedError
    arguments = [_resolved(each, place) for each in expression.args]
    values = [sympy.N(each.subs(X, place), _DIGITS) for each in arguments]
    if isinstance(expression, sympy.Abs):
        return arguments[0] if values[0] >= 0 else -arguments[0]
    if isinstance(expression, sympy.sign):
        return sympy.sign(values[0]) if values[0] != 0 else sympy.Integer(0)
    if isinstance(expression, sympy.Heaviside):
        return sympy.Integer(1 if values[0] > 0 else 0)
    if isinstance(expression, (sympy.Max, sympy.Min)):
        pick = max if isinstance(expression, sympy.Max) else min
        return arguments[values.index(pick(values))]
    return expression.func(*arguments)


def _add_piecewise(found: Found, expression: Any) -> None:
    """The leftmost piece everywhere, and at each kink the difference of the next one."""
    kinks = _kinks(expression)
    branches = [_expand(branch) for branch in _branches(expression, kinks)]
    _add_smooth(found, branches[0])
    for kink, (left, right) in zip(kinks, pairwise(branches), strict=True):
        change = _expand(right - left)
        if change == 0:
            continue
        polynomial, exponentials = _with_exponentials(change)
        _add_jump(found, expression, kink, left, right)
        # around the kink; the constant is a jump, which stands already
        local = sympy.Poly(_expand(polynomial.subs(X, X + kink)), X).all_coeffs()[::-1]
        if len(local) - 1 > _HIGHEST_POWER:
            raise _NotRecognisedError
        for n, c in enumerate(local):
            if n > 0 and c != 0:
                found.add(c, f"relu_power({n})", 1, -kink)
        for coefficient, rate in exponentials:
            _add_tail(found, coefficient * sympy.exp(rate * kink), rate, kink)


def _with_exponentials(expression: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """A polynomial, and coefficients and rates of exponentials, that sum to an expression."""
    polynomial: Any = sympy.Integer(0)
    exponentials = []
    for part in sympy.Add.make_args(expression):
        coefficient, rest = part.as_independent(X, as_Add=False)
        if isinstance(rest, sympy.exp):
            rate, shift = _affine(rest.args[0])
            exponentials.append((coefficient * sympy.exp(shift), rate))
        elif part.is_polynomial(X):
            polynomial += part
        else:
            raise _NotRecognisedError
    return polynomial, exponentials


def _add_jump(found: Found, expression: Any, kink: Any, left: Any, right: Any) -> None:
    """The jump of the value as a step that has the expression's value at the kink."""
    before, after = (_simplified(branch.subs(X, kink)) for branch in (left, right))
    jump = _simplified(after - before)
    if jump == 0:
        return
    here = _simplified(expression.subs(X, kink) - before)
    if here == 0:
        found.add(jump, "step", 1, -kink)
    elif _simplified(here - jump) == 0:
        found.add(-jump, "step", -1, kink)
        found.add_polynomial(jump)
    elif _simplified(2 * here - jump) == 0:
        found.add(jump / 2, "sign", 1, -kink)
        found.add_polynomial(jump / 2)
    else:
        raise _NotRecognisedError


def _simplified(number: Any) -> Any:
    """A number, 0 if it is zero as far as 30 digits tell."""
    return sympy.Integer(0) if abs(sympy.N(number, _DIGITS)) < mpmath.mpf(10) ** -25 else number


def _add_tail(found: Found, coefficient: Any, rate: Any, kink: Any) -> None:
    """``c (exp(rate (x - k)) - 1)`` for x > k; the step of height c stands already.

    With e(y) = exp(y) - 1 below 0 and 0 above: e(rate (x - k)) if the rate is negative, else what
    is left of the exponential on the whole line without e(rate (x - k)).
    """
    shift = -rate * kink
    if sympy.N(rate) > 0:
        found.add(coefficient * sympy.exp(shift), "exp", rate, 0)
        found.add_polynomial(-coefficient)
        coefficient = -coefficient
    found.add(coefficient, "elu", rate, shift)
    found.add(-coefficient, "relu", rate, shift)


# --------------------------------------------------------------------------------------------------
# smooth


def _add_smooth(found: Found, expression: Any) -> None:
    for part in sympy.Add.make_args(expression):
        if part.is_polynomial(X):
            found.add_polynomial(part)
        else:
            _add_product(found, part)


def _affine(argument: Any) -> tuple[Any, Any]:
    """Slope and constant of an affine expression with real numbers."""
    if not argument.is_polynomial(X):
        raise _NotRecognisedError
    coefficients = sympy.Poly(argument, X).all_coeffs()[::-1]
    if len(coefficients) != 2 or not all(c.is_real for c in coefficients):
        raise _NotRecognisedError
    return coefficients[1], coefficients[0]


def _add_product(found: Found, part: Any) -> None:
    """One addend: a number, at most one x, and a function."""
    coefficient, rest = part.as_independent(X, as_Add=False)
    if not coefficient.is_real:
        raise _NotRecognisedError
    factors = list(sympy.Mul.make_args(rest))
    with_x = X in factors
    if with_x:
        factors.remove(X)
    logistic = _logistic(factors)
    if logistic is not None:
        factor, scale, shift = logistic
        _add_logistic(found, coefficient * factor, scale, shift, with_x)
        return
    if len(factors) != 1:
        raise _NotRecognisedError
    _add_function(found, coefficient, factors[0], with_x)


def _add_function(found: Found, c: Any, function: Any, with_x: bool) -> None:
    """``c f(affine)``, or ``c x f(affine)``."""
    kind = type(function)
    if isinstance(function, sympy.exp):
        if with_x:
            raise _NotRecognisedError
        _add_exponential(found, c, function.args[0])
    elif isinstance(function, (sympy.erf, sympy.erfc)):
        scale, shift = _affine(function.args[0])
        sign = 1 if isinstance(function, sympy.erf) else -1
        if sign < 0:
            found.add_polynomial(c * X if with_x else c)
        _add_erf(found, sign * c, scale, shift, with_x)
    elif isinstance(function, sympy.tanh):
        _add_tanh(found, c, function.args[0], with_x)
    elif with_x:
        raise _NotRecognisedError
    elif kind in (sympy.sin, sympy.cos, sympy.atan):
        name = {sympy.sin: "sin", sympy.cos: "cos", sympy.atan: "arctan"}[kind]
        found.add(c, name, *_affine(function.args[0]))
    elif kind in (sympy.sinh, sympy.cosh):
        scale, shift = _affine(function.args[0])
        found.add(c * sympy.exp(shift) / 2, "exp", scale)
        sign = -1 if kind is sympy.sinh else 1
        found.add(sign * c * sympy.exp(-shift) / 2, "exp", -scale)
    elif isinstance(function, sympy.log):
        _add_logarithm(found, c, function.args[0])
    else:
        raise _NotRecognisedError


def _add_exponential(found: Found, c: Any, exponent: Any) -> None:
    """An exponential of a polynomial of degree 1, or a Gaussian."""
    if not exponent.is_polynomial(X):
        raise _NotRecognisedError
    coefficients = sympy.Poly(exponent, X).all_coeffs()[::-1]
    if len(coefficients) == 2:
        found.add(c * sympy.exp(coefficients[0]), "exp", coefficients[1])
        return
    if len(coefficients) != 3 or not sympy.N(coefficients[2]) < 0:
        raise _NotRecognisedError
    constant, slope, curvature = coefficients
    scale = sympy.sqrt(-2 * curvature)
    height = sympy.exp(constant - slope**2 / (4 * curvature))
    found.add(c * height, "gaussian", scale, -slope / scale)


def _add_erf(found: Found, c: Any, scale: Any, shift: Any, with_x: bool) -> None:
    scale = sympy.sqrt(2) * scale
    shift = sympy.sqrt(2) * shift
    if not with_x:
        found.add(c, "erf", scale, shift)
        return
    # x = (y - shift)/scale, and y erf(y/sqrt 2) = 2 gelu(y) - y
    found.add(2 * c / scale, "gelu", scale, shift)
    found.add_polynomial(-c / scale * (scale * X + shift))
    found.add(-c * shift / scale, "erf", scale, shift)


def _add_logistic(found: Found, c: Any, scale: Any, shift: Any, with_x: bool) -> None:
    if not with_x:
        found.add(c, "sigmoid", scale, shift)
        return
    found.add(c / scale, "silu", scale, shift)
    if shift != 0:
        found.add(-c * shift / scale, "sigmoid", scale, shift)


def _add_tanh(found: Found, c: Any, argument: Any, with_x: bool) -> None:
    if with_x and isinstance(argument, sympy.log):
        terms = _two_exponentials(argument.args[0])
        if terms is None or terms[0] != (1, 0, 0) or terms[1][0] != 1 or terms[1][2] != 0:
            raise _NotRecognisedError
        scale = terms[1][1]
        found.add(c / scale, "mish", scale)
        return
    scale, shift = _affine(argument)
    if not with_x:
        found.add(c, "tanh", scale, shift)
        return
    # tanh(y) = 2 sigmoid(2 y) - 1
    _add_logistic(found, 2 * c, 2 * scale, 2 * shift, True)
    found.add_polynomial(-c * X)


def _two_exponentials(expression: Any) -> list[tuple[Any, Any, Any]] | None:
    """``sum of c exp(a x + b)`` with two addends as (c, a, b), constants first; None for others."""
    parts = sympy.Add.make_args(_expand(expression.rewrite(sympy.exp)))
    if len(parts) != 2:
        return None
    found = []
    for part in parts:
        c, rest = part.as_independent(X, as_Add=False)
        if rest == 1:
            found.append((c, sympy.Integer(0), sympy.Integer(0)))
        elif isinstance(rest, sympy.exp) and rest.args[0].is_polynomial(X):
            a, b = _affine(rest.args[0])
            found.append((c, a, b))
        else:
            return None
    return sorted(found, key=lambda each: abs(sympy.N(each[1])))


def _ratio(terms: list[tuple[Any, Any, Any]]) -> tuple[Any, Any]:
    """``log`` of the second term over the first, as slope and constant."""
    (c1, a1, b1), (c2, a2, b2) = terms
    quotient = c2 / c1
    if not (quotient.is_real and sympy.N(quotient) > 0):
        raise _NotRecognisedError
    return a2 - a1, b2 - b1 + sympy.log(quotient)


def _logistic(factors: list[Any]) -> tuple[Any, Any, Any] | None:
    """Coefficient, scale and shift of a product that is a logistic function; None for others."""
    below = [f for f in factors if isinstance(f, sympy.Pow) and f.exp == -1]
    above = [f for f in factors if f not in below]
    if len(below) != 1 or not all(isinstance(f, sympy.exp) for f in above):
        return None
    terms = _two_exponentials(below[0].base)
    if terms is None:
        return None
    slope, constant = _ratio(terms)
    exponent = _expand(sum(f.args[0] for f in above))
    for (c, a, b), sign in zip(terms, (-1, 1), strict=True):
        left = _expand(exponent - a * X - b)
        if not left.has(X):
            return sympy.exp(left) / c, sign * slope, sign * constant
    return None


def _add_logarithm(found: Found, c: Any, argument: Any) -> None:
    """Logarithms of sums of two exponentials."""
    if isinstance(argument, sympy.cosh):
        found.add(c, "log_cosh", *_affine(argument.args[0]))
        return
    terms = _two_exponentials(argument)
    if terms is None:
        raise _NotRecognisedError
    (c1, a1, b1), _ = terms
    if not sympy.N(c1) > 0:
        raise _NotRecognisedError
    found.add(c, "softplus", *_ratio(terms))
    found.add_polynomial(c * (a1 * X + b1 + sympy.log(c1)))


# --------------------------------------------------------------------------------------------------
# comparison


def _value(term: NamedTerm, x: Any) -> Any:
    """A term at one point."""
    y = _number(term.scale) * x + _number(term.shift)
    name = term.primitive
    if name.startswith("relu_power"):
        value = max(y, mpmath.mpf(0)) ** int(name[11:-1])
    else:
        value = _PRIMITIVES[name](y)
    return _number(term.coefficient) * value


def _number(value: Any) -> Any:
    return mpmath.mpmathify(sympy.N(value, _DIGITS))


_PRIMITIVES: dict[str, Any] = {
    "step": lambda y: mpmath.mpf(y > 0),
    "sign": mpmath.sign,
    "relu": lambda y: max(y, mpmath.mpf(0)),
    "elu": lambda y: y if y > 0 else mpmath.expm1(y),
    "exp": mpmath.exp,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "arctan": mpmath.atan,
    "tanh": mpmath.tanh,
    "erf": lambda y: mpmath.erf(y / mpmath.sqrt(2)),
    "gelu": lambda y: y * mpmath.ncdf(y),
    "gaussian": lambda y: mpmath.exp(-y * y / 2),
    "sigmoid": lambda y: 1 / (1 + mpmath.exp(-y)),
    "silu": lambda y: y / (1 + mpmath.exp(-y)),
    "softplus": lambda y: mpmath.log1p(mpmath.exp(y)),
    "log_cosh": lambda y: mpmath.log(mpmath.cosh(y)),
    "mish": lambda y: y * mpmath.tanh(mpmath.log1p(mpmath.exp(y))),
}


def _agrees(found: Found, expression: Any) -> bool:
    """Whether the terms are the expression at all probes, to twenty digits of their sizes."""
    with mpmath.workdps(_DIGITS):
        for probe in _PROBES:
            x = mpmath.mpf(probe)
            parts = [_value(term, x) for term in found.terms]
            parts += [_number(c) * x**k for k, c in enumerate(found.polynomial)]
            expected = _number(expression.subs(X, sympy.Float(probe, _DIGITS)))
            size = 1 + mpmath.fsum(map(abs, parts))
            if not abs(mpmath.fsum(parts) - expected) <= mpmath.mpf(10) ** -20 * size:
                return False
    return True
