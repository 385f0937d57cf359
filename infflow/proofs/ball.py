"""Ball arithmetic: python-flint's real balls, and derivatives of second order carried along with
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np

from .._validation import package

#: A real ball of python-flint, midpoint and radius, which contains the exact value.
Ball = Any


def flint() -> ModuleType:
    """python-flint, or an error that says how to install it."""
    found: ModuleType = package("flint", "certify (ball arithmetic)", "'infflow[proof]'")
    return found


def working_precision(bits: int) -> AbstractContextManager[Any]:
    """Ball arithmetic with this many bits in the ``with`` block."""
    context: AbstractContextManager[Any] = flint().ctx.workprec(bits)
    return context


def total(terms: Iterable[Ball]) -> Ball:
    """Sum of balls."""
    return sum(terms, flint().arb(0))


def square_root(x: Ball) -> Ball:
    """Root of a quantity that is known not to be negative, though its ball may reach below zero."""
    return x.nonnegative_part().sqrt()


def lower(x: Ball) -> float:
    """A number that is not above the ball."""
    return float(np.nextafter(float(x.lower()), -np.inf))


def upper(x: Ball) -> float:
    """A number that is not below the ball."""
    return float(np.nextafter(float(x.upper()), np.inf))


def magnitude(x: Ball) -> float:
    """A number that no element of the ball exceeds in modulus; infinite for an undefined ball."""
    bound = float(x.abs_upper())
    return float(np.nextafter(bound, np.inf)) if bound < np.inf else np.inf


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_POSITION = {pair: k for k, pair in enumerate(_PAIRS)} | {
    (j, i): k for k, (i, j) in enumerate(_PAIRS)
}


class Jet:
    """A function of three variables: value, first and second derivatives, each a ball.

    Sums, products and functions of one variable follow the chain rule, so that derivatives of a
    formula never have to be written down.
    """

    __slots__ = ("first", "second", "value")

    def __init__(self, value: Ball, first: Sequence[Ball], second: Sequence[Ball]) -> None:
        self.value = value
        self.first = list(first)  # d/dx_i
        self.second = list(second)  # d2/dx_i dx_j in the order 00, 01, 02, 11, 12, 22

    @classmethod
    def variables(cls, values: Sequence[Ball]) -> list[Jet]:
        """The three variables themselves."""
        zero = flint().arb(0)
        one = flint().arb(1)
        return [
            cls(x, [one if i == j else zero for j in range(3)], [zero] * 6)
            for i, x in enumerate(values)
        ]

    @classmethod
    def constant(cls, value: Any) -> Jet:
        """A constant."""
        zero = flint().arb(0)
        return cls(flint().arb(value), [zero] * 3, [zero] * 6)

    def derivative(self, i: int, j: int | None = None) -> Ball:
        """First or second derivative in the variables with these numbers."""
        return self.first[i] if j is None else self.second[_POSITION[i, j]]

    def __add__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.first, self.second)
        return Jet(
            self.value + other.value,
            [x + y for x, y in zip(self.first, other.first, strict=True)],
            [x + y for x, y in zip(self.second, other.second, strict=True)],
        )

    def __neg__(self) -> Jet:
        return self * -1

    def __sub__(self, other: Any) -> Jet:
        return self + (-other)

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(
                self.value * other,
                [x * other for x in self.first],
                [x * other for x in self.second],
            )
        u = self.value
        v = other.value
        du = self.first
        dv = other.first
        return Jet(
            u * v,
            [x * v + u * y for x, y in zip(du, dv, strict=True)],
            [
                x * v + du[i] * dv[j] + du[j] * dv[i] + u * y
                for (i, j), x, y in zip(_PAIRS, self.second, other.second, strict=True)
            ],
        )

    __radd__ = __add__
    __rmul__ = __mul__

    def apply(self, f: Ball, df: Ball, ddf: Ball) -> Jet:
        """A function of this jet, given by its value and derivatives at ``self.value``."""
        d = self.first
        second = [df * x + ddf * d[i] * d[j] for (i, j), x in zip(_PAIRS, self.second, strict=True)]
        return Jet(f, [df * x for x in d], second)

    def half_power(self, n: int) -> Jet:
        """``self**(n/2)`` for a positive self."""
        x, e = self.value, flint().arb(n) / 2
        return self.apply(x**e, e * x ** (e - 1), e * (e - 1) * x ** (e - 2))

    def power(self, n: int) -> Jet:
        """``self**n`` for n >= 0."""
        result = Jet.constant(1)
        for _ in range(n):
            result = result * self
        return result

    def arctan(self) -> Jet:
        """The arctangent."""
        x = self.value
        slope = 1 / (1 + x * x)
        return self.apply(x.atan(), slope, -2 * x * slope * slope)
