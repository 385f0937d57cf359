"""Sums of terms as text, and as sympy expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .algebra import Term

__all__ = ["expression", "sum_name"]


def sum_name(terms: Sequence[Term]) -> str:
    """A sum of terms as one writes it."""
    parts: list[str] = []
    for coefficient, scale, shift, primitive in terms:
        if primitive.has_closed_form and not primitive.has_atoms:
            parts += _powers(primitive.polynomial)
            continue
        inner = _joined(_powers((shift, scale))[::-1])
        name = primitive.name if primitive.name.isidentifier() else f"[{primitive.name}]"
        parts.append(_signed(coefficient, f"{name}({inner})"))
    return _joined(parts)


def _powers(coefficients: Sequence[float]) -> list[str]:
    names = ["", "x", *(f"x^{n}" for n in range(2, len(coefficients)))]
    return [_signed(c, names[n]) for n, c in enumerate(coefficients) if c != 0.0]


def _signed(coefficient: float, what: str) -> str:
    """A sign, and the product of the absolute number and what it multiplies."""
    sign = "- " if coefficient < 0.0 else "+ "
    size = repr(abs(coefficient)).removesuffix(".0")
    if not what:
        return sign + size
    return sign + (what if size == "1" else f"{size}*{what}")


def _joined(parts: Sequence[str]) -> str:
    text = " ".join(parts) or "0"
    return text.removeprefix("+ ") if text.startswith("+ ") else text.replace("- ", "-", 1)


def expression(terms: Sequence[Term]) -> Any:
    """The sympy expression of a sum, its decimal numbers as they are written."""
    import sympy

    x = sympy.Symbol("x", real=True)
    total = sympy.Integer(0)
    for coefficient, scale, shift, primitive in terms:
        c, s, h = (sympy.Rational(repr(number)) for number in (coefficient, scale, shift))
        total += c * primitive.expression.subs(x, s * x + h)
    return total
