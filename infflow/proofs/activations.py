"""Activations in ball arithmetic: the functions about which proofs speak.

The closed forms of :mod:`infflow.activations` have float64 weights, so that some are rounded (the
root of 2 pi, 1/100 and 99/100), and those of sigmoid, tanh, softplus, silu and g are mixtures that
approximate the function. A proof must be about the function that the documentation names; this
table has the exact weights, at the working precision, and an activation that it does not list is
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from ..activations import REGISTRY, Activation
from ..errors import MethodError
from .ball import Ball, flint


class BallAtom(NamedTuple):
    """``weight * d^order/dx^order E_z[relu(x + width z)]``, as
    :class:`infflow.activations.Atom`.
    """

    weight: Ball
    order: int
    width: int | Ball

    @property
    def is_ramp(self) -> bool:
        """A ramp without width."""
        return bool(self.order == 0 and self.width == 0)


class BallActivation(NamedTuple):
    """A polynomial plus atoms with exact weights."""

    formula: str  #: which function it is
    polynomial: tuple[Ball, ...]
    atoms: tuple[BallAtom, ...]


def _root_of_two_pi() -> Ball:
    return (2 * flint().arb.pi()).sqrt()


_Number = int | Fraction | Callable[[], Ball]
#: formula, coefficients of the polynomial, weights, orders and widths of the atoms
_EXACT: dict[str, tuple[str, tuple[_Number, ...], tuple[tuple[_Number, int, int], ...]]] = {
    "identity": ("x", (0, 1), ()),
    "square": ("x^2/2", (0, 0, Fraction(1, 2)), ()),
    "cube": ("x^3", (0, 0, 0, 1), ()),
    "relu": ("max(0, x)", (), ((1, 0, 0),)),
    "leaky_relu": (
        "max(x/100, x), 1/100 exactly",
        (0, Fraction(1, 100)),
        ((Fraction(99, 100), 0, 0),),
    ),
    "abs": ("|x|", (0, -1), ((2, 0, 0),)),
    "erf": ("erf(x/sqrt(2))", (-1,), ((2, 1, 1),)),
    "normal_cdf": ("(1 + erf(x/sqrt(2)))/2", (), ((1, 1, 1),)),
    "gelu": ("x (1 + erf(x/sqrt(2)))/2", (), ((1, 0, 1), (-1, 2, 1))),
    "gaussian": ("exp(-x^2/2)", (), ((_root_of_two_pi, 2, 1),)),
}


def exact_activation(f: Activation) -> BallActivation:
    """The function ``f`` with weights that are balls of the working precision.

    Polynomials of a user's own have the float64 coefficients ``f.polynomial``, by definition.

    Raises
    ------
    MethodError
        If f is none of those whose moments are elementary.
    """
    if REGISTRY.get(f.name) is f:
        if f.name in ("step", "sign"):
            raise MethodError(
                f"certify does not cover {f.name}: its Hessian is not continuous. Use a smooth "
                "activation or a ramp."
            )
        if f.name in _EXACT:
            formula, polynomial, atoms = _EXACT[f.name]
            weighted = tuple(
                BallAtom(_ball(weight), order, width) for weight, order, width in atoms
            )
            return BallActivation(
                f"{f.name}(x) = {formula}", tuple(_ball(c) for c in polynomial), weighted
            )
    elif f.polynomial and not f.atoms:
        powers = " + ".join(f"{c!r} x^{n}" for n, c in enumerate(f.polynomial) if c) or "0"
        coefficients = tuple(flint().arb(c) for c in f.polynomial)
        return BallActivation(f"{f.name}(x) = {powers}, these float64 numbers", coefficients, ())
    elif _is_scaled_sum(f):
        return _of_terms(f)
    raise MethodError(
        "certify covers polynomials and "
        f"{', '.join(name for name, row in _EXACT.items() if row[2])}, whose integrals are "
        "elementary, and sums of these at scaled arguments; those of "
        f"{f.name} are only known by number. inf.classify(net, theta) covers it, with evidence "
        "in the place of a proof."
    )


def _is_scaled_sum(f: Activation) -> bool:
    """Whether f is a sum of functions of the table, and of polynomials, at arguments without a
    shift.
    """
    return all(
        shift == 0.0
        and (
            (REGISTRY.get(p.name) is p and p.name in _EXACT)
            or (p.has_closed_form and not p.has_atoms)
        )
        for _, _, shift, p in f.terms
    )


def _of_terms(f: Activation) -> BallActivation:
    """A sum whose coefficients and scales are float64 numbers by definition."""
    arb = flint().arb
    polynomial: list[Ball] = []
    atoms: list[BallAtom] = []
    for coefficient, scale, _, primitive in f.terms:
        own = exact_activation(primitive)
        c = arb(coefficient)
        s = arb(scale)
        size = abs(s)
        polynomial += [arb(0)] * (max(len(own.polynomial), 2) - len(polynomial))
        for n, each in enumerate(own.polynomial):
            polynomial[n] += c * each * s**n
        for atom in own.atoms:
            n = 1 - atom.order
            weight = c * atom.weight * size**n
            if scale < 0.0 and n >= 0:  # ramps and steps of -x
                sign = -1 if n else 1
                polynomial[n] += sign * weight
                weight = -sign * weight
            atoms.append(BallAtom(weight, atom.order, atom.width / size if atom.width else 0))
    formula = f"{f.name}(x), its numbers these float64 ones"
    return BallActivation(formula, tuple(polynomial), tuple(atoms))


def _ball(x: _Number) -> Ball:
    if isinstance(x, Fraction):
        return flint().arb(x.numerator) / x.denominator
    return flint().arb(x) if isinstance(x, int) else x()
