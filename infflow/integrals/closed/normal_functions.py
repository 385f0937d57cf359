"""The bivariate normal distribution function as a sympy function."""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr, Integer, Rational, exp, pi, sqrt

from ...errors import InvalidValueError

__all__ = ["BivariateNormalCDF"]


class BivariateNormalCDF(sympy.Function):
    r"""``P(x < h, y < k)`` of standard normal x, y with correlation rho, as a sympy function.

    It differentiates with respect to all three arguments, is evaluated by ``evalf`` to any number
    of digits, and reduces to elementary functions where it can (``h = k = 0``, ``rho = 0``,
    infinite arguments).
    """

    nargs = 3

    @classmethod
    def eval(cls, h: Expr, k: Expr, rho: Expr) -> Expr | None:
        """Special values that are elementary."""
        if h is sympy.S.NegativeInfinity or k is sympy.S.NegativeInfinity:
            return Integer(0)
        if h is sympy.S.Infinity:
            return normal_cdf(k)
        if k is sympy.S.Infinity:
            return normal_cdf(h)
        if rho.is_zero:
            return normal_cdf(h) * normal_cdf(k)
        if h.is_zero and k.is_zero:
            return Rational(1, 4) + sympy.asin(rho) / (2 * pi)
        if rho == 1:
            return normal_cdf(sympy.Min(h, k))
        if rho == -1:
            return normal_cdf(h) - normal_cdf(sympy.Min(h, -k))
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Derivatives: a density times a conditional normal cdf; the joint density for rho."""
        h, k, rho = self.args
        s = sqrt(1 - rho**2)
        if argindex == 1:
            return exp(-(h**2) / 2) / sqrt(2 * pi) * normal_cdf((k - rho * h) / s)
        if argindex == 2:
            return exp(-(k**2) / 2) / sqrt(2 * pi) * normal_cdf((h - rho * k) / s)
        if argindex == 3:
            return exp(-(h**2 - 2 * rho * h * k + k**2) / (2 * s**2)) / (2 * pi * s)
        raise sympy.function.ArgumentIndexError(self, argindex)

    def _eval_is_extended_real(self) -> bool | None:
        return True if all(argument.is_extended_real for argument in self.args) else None

    def _eval_evalf(self, prec: int) -> Expr | None:
        import mpmath

        if not all(argument.is_number for argument in self.args):
            return None
        digits = int(prec * 0.302) + 15
        with mpmath.workprec(prec + 20):
            value = _bivariate_normal_cdf(
                *(mpmath.mpf(argument.evalf(digits)) for argument in self.args)
            )
        return Expr._from_mpmath(value, prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        h, k, rho = (printer._print(argument) for argument in self.args)
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi_2{power}\left({h}, {k}; {rho}\right)"


def normal_cdf(x: Expr) -> Expr:
    return (1 + sympy.erf(x / sqrt(2))) / 2


def _bivariate_normal_cdf(h: Any, k: Any, rho: Any) -> Any:
    """Bivariate normal cdf at mpmath's working precision: Price's theorem, integrated from rho =
    -1.

    Both terms are positive, so that small probabilities keep their digits.
    """
    from mpmath import asin, cos, exp, mp, mpf, ncdf, pi, quad, sin

    if abs(rho) > 1:
        raise InvalidValueError(
            f"The correlation of BivariateNormalCDF is {rho}; it must lie between -1 and 1."
        )

    def exponent(theta: Any) -> Any:
        # (h^2 - 2 h k sin + k^2) / (2 cos^2), written without cancellation at both ends
        sine = sin(theta)
        cosine = cos(theta)
        sign = 1 if theta > 0 else -1
        return (h - sign * k) ** 2 / (2 * cosine**2) + sign * h * k / (1 + sign * sine)

    with mp.extraprec(20):
        # the integrand is largest where sin(theta) = h/k or k/h, or at the end; scaled to 1 there
        ratio = (h / k if abs(h) < abs(k) else k / h) if h or k else mpf(0)
        end = asin(rho)
        top = asin(min(ratio, rho))
        points = sorted({-pi / 2, top, (top + end) / 2, end})
        least = exponent(top)
        integral = quad(lambda theta: exp(least - exponent(theta)), points, maxdegree=10)
        start = ncdf(h) - ncdf(-k) if h + k > 0 else mpf(0)
        return start + exp(-least) * integral / (2 * pi)
