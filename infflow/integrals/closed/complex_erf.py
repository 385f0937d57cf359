"""Real and imaginary part of erf(x + i y) as sympy functions of two real numbers.

``sympy.re`` of an error function is written as half a sum of conjugates, whose imaginary parts do
not cancel exactly when it is evaluated.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr, Integer, exp, pi, sqrt

__all__ = ["ErfImaginaryPart", "ErfRealPart"]


class _Part(sympy.Function):
    """Common base of both parts: real values, and evaluation to any number of digits."""

    nargs = 2

    def _eval_is_extended_real(self) -> bool | None:
        return True if all(argument.is_extended_real for argument in self.args) else None

    def _eval_evalf(self, prec: int) -> Expr | None:
        import mpmath

        if not all(argument.is_number for argument in self.args):
            return None
        digits = int(prec * 0.302) + 15
        with mpmath.workprec(prec + 20):
            x, y = (mpmath.mpf(argument.evalf(digits)) for argument in self.args)
            part = self._of(mpmath.erf(mpmath.mpc(x, y)))
        return Expr._from_mpmath(part, prec)

    @staticmethod
    def _of(number: Any) -> Any:
        """The part of a complex number."""
        raise NotImplementedError

    def _slopes(self) -> tuple[Expr, Expr]:
        """Real and imaginary part of erf', 2/sqrt(pi) exp(-(x + iy)^2)."""
        x, y = self.args
        size = 2 / sqrt(pi) * exp(y**2 - x**2)
        return size * sympy.cos(2 * x * y), -size * sympy.sin(2 * x * y)


class ErfRealPart(_Part):
    """``Re erf(x + i y)``."""

    @classmethod
    def eval(cls, x: Expr, y: Expr) -> Expr | None:
        """On the axes it is elementary."""
        if x.is_zero:
            return Integer(0)
        return sympy.erf(x) if y.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """By the equations of Cauchy and Riemann."""
        real, imaginary = self._slopes()
        return real if argindex == 1 else -imaginary

    @staticmethod
    def _of(number: Any) -> Any:
        return number.real


class ErfImaginaryPart(_Part):
    """``Im erf(x + i y)``."""

    @classmethod
    def eval(cls, x: Expr, y: Expr) -> Expr | None:
        """On the axes it is elementary."""
        if y.is_zero:
            return Integer(0)
        return sympy.erfi(y) if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """By the equations of Cauchy and Riemann."""
        real, imaginary = self._slopes()
        return imaginary if argindex == 1 else real

    @staticmethod
    def _of(number: Any) -> Any:
        return number.imag
