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

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Any

from sympy import Expr, Integer

from ..._validation import as_flag, as_integer, as_items, counted, public, shown
from ...activations import Activation, Term, resolve
from ...errors import InvalidValueError
from .exact_activations import Exact, exact_activation, exact_number, symbols
from .exact_expectations import mean_sum, pair_sum, triple_sum
from .gaussian_sums import Gaussian
from .normal_functions import BivariateNormalCDF

__all__ = ["BivariateNormalCDF", "closed_form", "symbols"]


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
        return _expression(tuple(exact_activation(f) for f in activations), orders, biases)
    places = (1, 3) if orders is None else (1, 2)[: len(activations)]
    total = Integer(0)
    for parts in product(*(f.parts or (Term(1.0, 1.0, 0.0, f),) for f in activations)):
        exact = tuple(exact_activation(part.primitive) for part in parts)
        scales = dict(zip(places, (exact_number(part.scale) for part in parts), strict=True))
        shifts = dict(zip(places, (exact_number(part.shift) for part in parts), strict=True))
        factor = Integer(1)
        for part, place, order in zip(parts, places, orders or (1, 0), strict=True):
            factor *= exact_number(part.coefficient) * scales[place] ** order
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
    activations: tuple[Exact, ...], orders: tuple[int, ...] | None, biases: bool
) -> Expr:
    """The simplified integral; ``orders=None`` is the three-dimensional one."""
    f, g = activations[0], activations[-1]
    if orders is None:
        return triple_sum(f, g, Gaussian(biases)).expression()
    if len(activations) == 1:
        return mean_sum(f, orders[0], 1, Gaussian(biases, one_dimensional=True)).expression()
    return pair_sum(f, g, 1, 2, (orders[0], orders[1]), Gaussian(biases)).expression()


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
