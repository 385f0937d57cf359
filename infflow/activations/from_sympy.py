"""What a sympy expression says about an activation: derivatives, kinks, polynomial part, symmetry.

Imported only by :meth:`infflow.Activation.from_sympy`, because it imports sympy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from numbers import Real
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy.core.relational import Relational

from .._validation import Array, as_number, shown
from ..errors import InfflowError, InvalidTypeError, InvalidValueError
from . import recognise as recognition

X = recognition.X
MAX_ORDER = 4
_DIGITS = 50
_PROBES = (
    "-7.31",
    "-2.17",
    "-0.83",
    "-0.29",
    "0.41",
    "1.13",
    "3.77",
    "9.19",
)  # away from likely kinks
_POINTS = np.array([-(2.0**0.5), 3.0**0.5])


@dataclass(frozen=True)
class Analysis:
    """Everything that :class:`infflow.Activation` needs to know about an expression."""

    expression: Any
    kernel: Callable[[Array, Array], None]
    kinks: tuple[float, ...]
    polynomial: tuple[float, ...]
    parity: int
    homogeneous: bool


def recognise(name: str, expr: Any) -> tuple[Any, list[tuple[float, float, float, str]]] | None:
    """The expression, and the terms that it is the sum of: coefficient, scale, shift and the name
    of the primitive, ``"x^n"`` for powers of x. None if it is none.
    """
    expression = _as_expression(name, expr)
    found = recognition.recognise(expression)
    if found is None:
        return None
    terms = [
        (float(sympy.N(c)), float(sympy.N(scale)), float(sympy.N(shift)), primitive)
        for c, scale, shift, primitive in found.terms
    ]
    powers = [(float(sympy.N(c)), 1.0, 0.0, f"x^{n}") for n, c in enumerate(found.polynomial)]
    return expression, terms + powers


def analyse(name: str, expr: Any) -> Analysis:
    """Derive an :class:`Analysis` from an expression in one symbol, or say why it is none."""
    expression = _as_expression(name, expr)
    kernel = _as_kernel(name, expression)
    polynomial = _polynomial(expression)
    return Analysis(
        expression,
        kernel,
        () if polynomial else _kinks(name, expression, kernel),
        polynomial,
        _parity(kernel),
        _is_homogeneous(kernel),
    )


def _as_expression(name: str, expr: Any) -> Any:
    """The expression with its one symbol replaced by the real symbol x."""
    if not isinstance(expr, (str, Real, sympy.Basic)) or isinstance(expr, bool):
        raise InvalidTypeError(
            f"The expression of activation {name!r} is {shown(expr)}; a sympy expression or a "
            "text is needed."
        )
    if not isinstance(expr, (str, sympy.Basic)):
        expr = as_number("the expression", expr)
    try:
        expr = sympy.sympify(expr)
    except Exception as error:  # a text is run as code
        reason = " ".join(str(error).split())[:200]
        raise InvalidTypeError(
            f"The expression of activation {name!r} cannot be read by sympy "
            f"({type(error).__name__}: {reason})."
        ) from error
    if not isinstance(expr, sympy.Expr):
        raise InvalidTypeError(
            f"The expression of activation {name!r} is {shown(expr)} of type "
            f"{type(expr).__name__}; a sympy expression in one symbol is needed."
        )
    if len(expr.free_symbols) > 1:
        found = ", ".join(sorted(map(str, expr.free_symbols)))
        raise InvalidValueError(
            f"The expression of activation {name!r} contains {len(expr.free_symbols)} symbols "
            f"({found}); it must depend on one. Substitute numbers for the others."
        )
    if expr.has(sympy.zoo, sympy.oo, sympy.nan):
        raise InvalidValueError(
            f"The expression of activation {name!r} is {expr}; it must be finite."
        )
    return expr.subs(dict.fromkeys(expr.free_symbols, X))


def _pointwise_derivatives(expression: Any) -> list[Any]:
    """Derivatives 0 to 4 away from the kinks; at a kink a step that differentiation made counts as
    0.
    """
    result = [expression]
    for _ in range(MAX_ORDER):
        derivative = sympy.diff(result[-1], X).replace(
            sympy.DiracDelta, lambda *_: sympy.Integer(0)
        )
        result.append(derivative.replace(sympy.Heaviside, lambda a, *_: sympy.Heaviside(a, 0)))
    return result


class ExpressionKernel:
    """Evaluates an expression and its derivatives with numpy, and with mpmath where
    float64 fails.
    """

    def __init__(self, name: str, expression: Any) -> None:
        self.name = name
        self.derivatives = _pointwise_derivatives(expression)
        self.fast = [
            sympy.lambdify(X, d, modules=["scipy", "numpy"], cse=True) for d in self.derivatives
        ]
        self._exact: dict[int, Callable[[Any], Any]] = {}

    def __call__(self, x: Array, out: Array) -> None:
        """Derivatives 0 to m - 1 at ``x`` of shape (n,) into ``out`` of shape (m, n)."""
        for k, row in enumerate(out):
            with np.errstate(all="ignore"):
                row[:] = np.real_if_close(self.fast[k](x))
            for i in np.flatnonzero(~np.isfinite(row)):
                row[i] = self._rescue(k, x[i])

    def _rescue(self, order: int, x: float) -> float:
        """The value at a point where float64 arithmetic overflows on the way; inf only if it is too
        large itself.
        """
        value = self.exact(order, x)
        if not mpmath.isfinite(value):
            what = f"derivative {order} of activation" if order else "activation"
            raise InvalidValueError(
                f"The {what} {self.name!r} is {value} at x = {x!r}; it must be defined for all "
                "real numbers."
            )
        return float(value)

    def exact(self, order: int, x: Any) -> Any:
        """The derivative at one point with 50 digits; NaN where it is not real."""
        if order not in self._exact:
            self._exact[order] = sympy.lambdify(X, self.derivatives[order], modules="mpmath")
        with mpmath.workdps(_DIGITS):
            try:
                value = mpmath.mpmathify(self._exact[order](mpmath.mpf(x)))
            except (ZeroDivisionError, ValueError):
                return mpmath.nan
            return (
                value
                if isinstance(value, mpmath.mpf)
                else value.real
                if value.imag == 0
                else mpmath.nan
            )


def _as_kernel(name: str, expression: Any) -> ExpressionKernel:
    """The kernel of an expression that it can evaluate."""
    try:
        kernel = ExpressionKernel(name, expression)
        _check_real(name, kernel)
        kernel(_POINTS, np.empty((MAX_ORDER + 1, len(_POINTS))))
    except InfflowError:
        raise
    except (
        Exception
    ) as error:  # sympy's printers, and the functions that they print, raise many kinds
        first = str(error).partition("\n")[0]
        raise InvalidValueError(
            f"The expression of activation {name!r} ({expression}), or one of its {MAX_ORDER} "
            f"derivatives, cannot be evaluated: {first}"
            " Use other functions, or Activation.from_callable."
        ) from error
    return kernel


def _check_real(name: str, kernel: ExpressionKernel) -> None:
    for probe in ("0", *_PROBES):
        value = kernel.exact(0, probe)
        if not mpmath.isfinite(value):
            raise InvalidValueError(
                f"The expression of activation {name!r} ({kernel.derivatives[0]}) is not a real "
                f"number at x = {probe};"
                " it must be defined for all real numbers."
            )


def _polynomial(expression: Any) -> tuple[float, ...]:
    """Coefficients c0, c1, ... if the expression is a polynomial, else ()."""
    if not expression.is_polynomial(X):
        return ()
    return tuple(float(c) for c in reversed(sympy.Poly(expression, X).all_coeffs()))


# --------------------------------------------------------------------------------------------------
# kinks


def _switches(expression: Any) -> Iterator[Any]:
    """Arguments whose zeros are where some part of the expression switches."""
    for part in expression.atoms(sympy.Abs, sympy.sign, sympy.Heaviside):
        yield part.args[0]
    for part in expression.atoms(sympy.Max, sympy.Min):
        for a, b in combinations(part.args, 2):
            yield a - b
    for part in expression.atoms(sympy.Piecewise):
        for relation in part.atoms(Relational):
            yield relation.lhs - relation.rhs


def _zeros(name: str, argument: Any) -> set[Any]:
    zeros = sympy.solveset(argument, X, sympy.S.Reals)
    if isinstance(zeros, sympy.FiniteSet):
        return set(zeros)
    if zeros is sympy.S.EmptySet:
        return set()
    if isinstance(
        zeros, (sympy.ConditionSet, sympy.Intersection, sympy.Complement)
    ):  # sympy cannot solve it
        return _zeros_by_bisection(argument)
    raise InvalidValueError(
        f"Activation {name!r} switches where {argument} = 0, that is on {zeros}; only finitely "
        "many kinks are allowed."
    )


def _zeros_by_bisection(argument: Any, half_width: float = 100.0, cells: int = 4001) -> set[Any]:
    """Simple zeros in [-100, 100], where sympy finds none."""
    f = sympy.lambdify(X, argument, modules="mpmath")
    grid = [mpmath.mpf(2 * half_width * (i + 0.5) / cells - half_width) for i in range(cells)]
    with mpmath.workdps(_DIGITS):
        pairs = [(a, b) for a, b in pairwise(grid) if f(a) * f(b) < 0]
        return {
            mpmath.findroot(f, pair, solver="anderson", tol=1e-60, verify=False) for pair in pairs
        }


def _kinks(name: str, expression: Any, kernel: ExpressionKernel) -> tuple[float, ...]:
    """The zeros of the switches at which the function or a derivative up to order 3
    really jumps.
    """
    candidates = {
        zero
        for argument in set(_switches(expression))
        if argument.has(X)
        for zero in _zeros(name, argument)
    }
    with mpmath.workdps(_DIGITS):
        points = [
            mpmath.mpf(c) if isinstance(c, mpmath.mpf) else mpmath.mpmathify(sympy.N(c, _DIGITS))
            for c in candidates
        ]
        return tuple(
            sorted({float(p) for p in points if any(_jumps(kernel, k, p) for k in range(4))})
        )


def _jumps(kernel: ExpressionKernel, order: int, point: Any) -> bool:
    step = mpmath.mpf(10) ** -25
    left = kernel.exact(order, point - step)
    right = kernel.exact(order, point + step)
    return not abs(right - left) <= mpmath.mpf(10) ** -15 * (1 + abs(left))


# --------------------------------------------------------------------------------------------------
# symmetry


def _agree(pairs: Sequence[tuple[Any, Any]]) -> bool:
    return all(abs(a - b) <= mpmath.mpf(10) ** -35 * (abs(a) + abs(b)) for a, b in pairs)


def _parity(kernel: ExpressionKernel) -> int:
    """1 or -1 if f(-x) = +-f(x) to 35 digits at every probe."""
    with mpmath.workdps(_DIGITS):
        pairs = [(kernel.exact(0, p), kernel.exact(0, -mpmath.mpf(p))) for p in _PROBES]
        if _agree(pairs):
            return 1
        return -1 if _agree([(a, -b) for a, b in pairs]) else 0


def _is_homogeneous(kernel: ExpressionKernel) -> bool:
    """Whether f(c x) = c f(x) to 35 digits at every probe, for three factors c."""
    with mpmath.workdps(_DIGITS):
        factors = [mpmath.mpf(c) for c in ("0.37", "2.9", "11.3")]
        points = [mpmath.mpf(p) for p in _PROBES]
        return _agree(
            [(kernel.exact(0, c * p), c * kernel.exact(0, p)) for c in factors for p in points]
        )
