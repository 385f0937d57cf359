"""Sums of terms as activations: each sum once, its pieces of one kink, truncated powers.

The class of activations is below this file, and the registered ones are too, since pieces consist
of them. So :class:`.activation.Activation` cannot import what its operators need: it is entered
there at the end of this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InvalidValueError
from . import algebra
from .activation import Activation, Kernel, Sums, from_sympy, polynomial
from .algebra import Term
from .data import Atom
from .registry import REGISTRY, registered
from .sum_text import sum_name

__all__ = ["of_terms", "relu_power"]

_ROOT_2_PI = math.sqrt(2.0 * math.pi)


def of_terms(terms: Sequence[Term], name: str | None = None) -> Activation:
    """The sum of the terms, the same object for the same sum; ``name`` in the place of its own."""
    rest = [0.0]
    flat: list[Term] = []
    for coefficient, scale, shift, primitive in terms:
        if primitive.has_closed_form and not primitive.has_atoms:
            own = algebra.moved(primitive.polynomial, scale, shift)
            rest = algebra.added(rest, own, coefficient)
        else:
            flat.append(Term(coefficient, scale, shift, primitive))
    found = list(algebra.collected(flat))
    coefficients = algebra.trimmed(rest)
    if not found:
        return _known_polynomial(coefficients or (0.0,), name)
    if coefficients:
        found.append(Term(1.0, 1.0, 0.0, _known_polynomial(coefficients, None)))
    for number in (number for term in found for number in term[:3]):
        if not np.isfinite(number):
            raise InvalidValueError(
                f"A sum of activations has the number {number}; its numbers must be finite."
            )
    only = found[0]
    if len(found) == 1 and only[:3] == (1.0, 1.0, 0.0) and name in (None, only.primitive.name):
        return only.primitive
    return _summed(tuple(found), name)


@lru_cache(maxsize=256)
def _known_polynomial(coefficients: tuple[float, ...], name: str | None) -> Activation:
    found = polynomial(coefficients)
    found.name = name or found.name
    found._recipe = (_known_polynomial, (coefficients, name))
    return found


@lru_cache(maxsize=1024)
def _summed(terms: tuple[Term, ...], name: str | None) -> Activation:
    """The sum of distinct terms, polynomials last and at most one."""
    groups, others = algebra.pieces(terms)
    if not groups and not others:
        return polynomial([0.0])
    whole = groups[0] if len(groups) == 1 and not others else None
    if whole is not None and (whole.scale, whole.shift) != (1.0, 0.0):
        whole = None
    kinks = sorted({kink for group in groups for kink in algebra.kinks(group)})
    kinks = sorted({*kinks, *((k - h) / s for _, s, h, f in others for k in f.kinks)})
    found = Activation(
        name or sum_name(terms),
        _sum_kernel(terms, groups, others),
        kinks=kinks,
        polynomial=whole.polynomial if whole else (),
        atoms=whole.atoms if whole else (),
        parity=algebra.parity(terms),
        homogeneous=all(f.homogeneous and h == 0.0 for _, _, h, f in terms),
        max_order=min(f.max_order for _, _, _, f in terms),
        recipe=(_summed, (terms, name)),
    )
    found._terms = terms
    if whole is not None:
        found.sides = whole.sides
    else:
        own = [Term(1.0, g.scale, g.shift, _of_piece(g)) for g in groups]
        found.parts = (*own, *others)
    return found


def _of_names(
    name: str, expression: Any, terms: Sequence[tuple[float, float, float, str]]
) -> Activation:
    """The sum of terms whose primitives are names; "1" and "x^n" are the polynomial."""
    found = []
    for coefficient, scale, shift, primitive in terms:
        if primitive.startswith("relu_power"):
            f = relu_power(int(primitive[11:-1]))
        elif primitive.startswith("x^"):
            f = polynomial([0.0] * int(primitive[2:]) + [1.0])
        else:
            f = registered(primitive)
        found.append(Term(coefficient, scale, shift, f))
    known = of_terms(found, name)
    whole = Activation.__new__(Activation)  # the other one serves all equal sums
    vars(whole).update(vars(known))
    whole.name = name
    whole._source = expression
    whole._recipe = (from_sympy, (name, expression))
    return whole


def _sum_kernel(
    terms: Sequence[Term], groups: Sequence[algebra.Piece], others: Sequence[Term]
) -> Kernel:
    """Piece by piece for piecewise polynomials of several knots, whose terms would cancel."""
    pieces = [(-g.shift, atom) for g in groups for atom in g.atoms]
    if len({knot for knot, _ in pieces}) < 2 or others or any(g.sides for g in groups):
        return algebra.SumKernel(terms)
    if any(atom.width > 0.0 or atom.order > 1 for _, atom in pieces):
        return algebra.SumKernel(terms)
    rest = [0.0]
    for group in groups:
        rest = algebra.added(rest, algebra.moved(group.polynomial, 1.0, group.shift), 1.0)
    return algebra.PiecewiseKernel(pieces, rest, terms)


@lru_cache(maxsize=1024)
def _of_piece(piece: algebra.Piece) -> Activation:
    """The function of a piece, of the argument that its scale and shift make."""
    bare = piece._replace(scale=1.0, shift=0.0)
    if bare != piece:
        return _of_piece(bare)
    if piece.sides is not None:
        slope, factor = piece.sides
        elu = Term(factor, 1.0, 0.0, REGISTRY["elu"])
        return of_terms([elu, Term(slope - factor, 1.0, 0.0, REGISTRY["relu"])])
    terms = [Term(1.0, 1.0, 0.0, polynomial(piece.polynomial or (0.0,)))]
    for atom in piece.atoms:
        terms += _of_atom(atom)
    return of_terms(terms)


def _of_atom(atom: Atom) -> list[Term]:
    """An atom as terms of registered activations."""
    weight = atom.weight
    order = atom.order
    width = atom.width
    if width == 0.0:
        n = 1 - order
        return [Term(weight / math.factorial(n), 1.0, 0.0, relu_power(n))]
    normal = [REGISTRY[name] for name in ("gelu", "normal_cdf", "gaussian")]
    bump = Term(weight / (width * _ROOT_2_PI), 1.0 / width, 0.0, normal[2])
    if order == 2:
        return [bump]
    if order == 1:
        return [Term(weight, 1.0 / width, 0.0, normal[1])]
    return [
        Term(weight * width, 1.0 / width, 0.0, normal[0]),
        bump._replace(coefficient=weight * width / _ROOT_2_PI),
    ]


@lru_cache(maxsize=8)
def relu_power(n: int) -> Activation:
    """``max(x, 0)^n`` for n = 0 to 5: step, relu, and truncated powers."""
    if n < 2:
        return REGISTRY[("step", "relu")[n]]
    atom = Atom(float(math.factorial(n)), 1 - n)
    return Activation(
        f"relu_power({n})",
        algebra.PiecewiseKernel([(0.0, atom)], ()),
        source=f"Max(0, x)**{n}",
        kinks=[0.0],
        atoms=[atom],
        recipe=(relu_power, (n,)),
    )


Activation._sums = Sums(of_terms, _of_names)
