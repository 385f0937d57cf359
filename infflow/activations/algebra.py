"""The algebra of activations: sums of terms ``coefficient * primitive(scale x + shift)``.

Expectations of products are bilinear, and an affine change of the argument only changes weight and
bias of a neuron. So whatever evaluates the terms evaluates the sum. :func:`pieces` brings a list of
terms into the shape in which evaluators want it:

* Polynomials and functions with few atoms (ramps, steps, truncated powers, erf and its relatives)
  that share a knot become one function, since one pair of functions costs less than all pairs of
  their terms. Where the only knot is 0 the sum has a closed form like those of the registry.
* Everything else (tanh, exp, elu, ...) stays a piece of its own. Evaluators see it with the scale
  and shift of the piece, so that it costs and rounds like the registered one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import comb, factorial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._validation import Array
from . import kernels
from .data import Atom, Sides

if TYPE_CHECKING:
    from .activation import Activation

#: An activation of at least as many atoms is a mixture, which is not merged with others.
MANY_ATOMS = 8
#: Number of derivatives of a kernel, with the value.
DERIVATIVES = 5
_EPS = float(np.finfo(np.float64).eps)
# Knots that differ by less than this are one: -shift/scale is rounded.
_SAME_KNOT = 4.0 * _EPS
# Weights that are left over by cancellation are rounding below this part of what was added.
_CANCELLED = 8.0 * _EPS


class Term(NamedTuple):
    """``coefficient * primitive(scale x + shift)``."""

    coefficient: float
    scale: float
    shift: float
    primitive: Activation


class Piece(NamedTuple):
    """A polynomial plus few atoms, or a one-sided exponential, of the argument scale x + shift."""

    scale: float
    shift: float
    polynomial: tuple[float, ...]
    atoms: tuple[Atom, ...]
    sides: Sides | None = None


def collected(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Terms of equal primitive, scale and shift as one; those that cancel are left out.

    Even and odd primitives get positive scales.
    """
    found: dict[tuple[Any, float, float], list[float]] = {}
    for coefficient, scale, shift, primitive in terms:
        if scale < 0.0 and primitive.parity:
            coefficient = primitive.parity * coefficient
            scale = -scale
            shift = -shift
        found.setdefault((primitive, scale, shift + 0.0), []).append(coefficient)
    kept = []
    for (primitive, scale, shift), parts in found.items():
        total = sum(parts)
        if abs(total) > _CANCELLED * max(map(abs, parts)):
            kept.append(Term(total, scale, shift, primitive))
    return tuple(kept)


def parity(terms: Sequence[Term]) -> int:
    """1 for even, -1 for odd sums: f(-x) - f(x), or their sum, cancels term by term."""
    mirrored = [Term(c, -s, h, f) for c, s, h, f in terms]
    for sign in (1, -1):
        opposite = [Term(-sign * c, s, h, f) for c, s, h, f in terms]
        found, others = pieces(collected([*mirrored, *opposite]))
        if not others and not any(p.polynomial or p.atoms or p.sides for p in found):
            return sign
    return 0


def pieces(terms: Sequence[Term]) -> tuple[tuple[Piece, ...], tuple[Term, ...]]:
    """What the terms make together: pieces, and the terms that stay as they are."""
    polynomial = [0.0]
    atoms: dict[float, list[Atom]] = {}
    sides: dict[tuple[float, float], Sides] = {}
    others = []
    for term in terms:
        f = term.primitive
        if f.sides is not None:
            key = (term.scale, term.shift)
            before = sides.get(key, Sides(0.0, 0.0))
            slope = before.slope + term.coefficient * f.sides.slope
            sides[key] = Sides(slope, before.factor + term.coefficient * f.sides.factor)
        elif f.has_closed_form and len(f.atoms) < MANY_ATOMS:
            polynomial = _add_few_atoms(term, polynomial, atoms)
        else:
            others.append(term)
    merged = {knot: merged_atoms(parts) for knot, parts in atoms.items()}
    knots = {knot: list(parts) for knot, parts in merged.items() if parts}
    polynomial = _mirrored_ramps(trimmed(polynomial), sides, knots)
    _take_ramps(sides, knots)
    found = _by_knot(trimmed(polynomial), knots)
    found += [Piece(s, c, (), (), own) for (s, c), own in sides.items() if own.factor != 0.0]
    return tuple(found), tuple(others)


def _add_few_atoms(
    term: Term, polynomial: list[float], atoms: dict[float, list[Atom]]
) -> list[float]:
    """Put the atoms of a term to their knot; returns the polynomial with its own added."""
    coefficient, scale, shift, f = term
    total = added(polynomial, moved(f.polynomial, scale, shift), coefficient)
    for atom in f.atoms:
        knot = _known(-shift / scale + 0.0, atoms)
        scaled, rest = scaled_atom(atom, scale)
        own = Atom(coefficient * scaled.weight, scaled.order, scaled.width)
        atoms.setdefault(knot, []).append(own)
        total = added(total, moved(rest, 1.0, -knot), coefficient)
    return total


def _known(knot: float, atoms: dict[float, list[Atom]]) -> float:
    """The knot that is there already, if it is the same up to rounding."""
    for other in atoms:
        if abs(other - knot) <= _SAME_KNOT * max(abs(other), abs(knot)):
            return other
    return knot


def scaled_atom(atom: Atom, scale: float) -> tuple[Atom, tuple[float, ...]]:
    """``atom(scale y)`` as an atom of y and a polynomial.

    With s > 0 ramps obey rho_t(s y) = s rho_(t/s)(y), and so on for derivatives and integrals of
    them. Reflection has ``relu(-y)^n = (-1)^n (y^n - relu(y)^n)`` for n >= 0, in the mean over
    the smoothing as well, and leaves a normal density as it is.
    """
    size = abs(scale)
    n = 1 - atom.order
    weight = atom.weight * size**n
    width = atom.width / size
    if scale > 0.0 or n < 0:
        return Atom(weight, atom.order, width), ()
    sign = -1.0 if n % 2 else 1.0
    # only ramps and steps are smoothed, whose powers of y are their own means
    powers = [0.0] * n + [sign * weight / factorial(n)]
    return Atom(-sign * weight, atom.order, width), tuple(powers)


def moved(coefficients: Sequence[float], scale: float, shift: float) -> list[float]:
    """Coefficients of ``p(scale x + shift)``."""
    found = [0.0] * len(coefficients)
    for n, c in enumerate(coefficients):
        if c == 0.0:
            continue
        for k in range(n + 1):
            found[k] += c * comb(n, k) * scale**k * shift ** (n - k)
    return found


def added(p: Sequence[float], q: Sequence[float], factor: float) -> list[float]:
    """Coefficients of ``p + factor q``; what is left of a cancellation is 0."""
    total = [0.0] * max(len(p), len(q))
    for k in range(len(total)):
        a = p[k] if k < len(p) else 0.0
        b = factor * q[k] if k < len(q) else 0.0
        total[k] = 0.0 if abs(a + b) <= _CANCELLED * min(abs(a), abs(b)) else a + b
    return total


def trimmed(coefficients: Sequence[float]) -> tuple[float, ...]:
    """Without zeros at the end; ``()`` for the polynomial 0."""
    kept = list(coefficients)
    while kept and kept[-1] == 0.0:
        kept.pop()
    return tuple(kept)


def merged_atoms(atoms: Sequence[Atom]) -> tuple[Atom, ...]:
    """Atoms of equal order and width as one; those that cancel are left out."""
    weights: dict[tuple[int, float], list[float]] = {}
    for atom in atoms:
        weights.setdefault((atom.order, atom.width), []).append(atom.weight)
    found = []
    for (order, width), parts in weights.items():
        total = sum(parts)
        if abs(total) > _CANCELLED * max(map(abs, parts)):
            found.append(Atom(total, order, width))
    return tuple(found)


def _mirrored_ramps(
    polynomial: Sequence[float],
    sides: dict[tuple[float, float], Sides],
    knots: dict[float, list[Atom]],
) -> list[float]:
    """The polynomial, its linear term given to a reflected one-sided exponential if that saves it.

    With h = s (x - k) and s < 0, ``x - k = relu(x - k) - relu(h)/|s|``: so exp(-|x|) is a constant
    plus two functions that end at 0, instead of ramps that cancel.
    """
    if len(polynomial) != 2:
        return list(polynomial)
    slope = polynomial[1]
    for (scale, shift), own in sides.items():
        if scale > 0.0 or own.factor == 0.0:
            continue
        knot = _known(-shift / scale + 0.0, knots)
        ramps = merged_atoms([*knots.get(knot, []), Atom(slope, 0)])
        partner = any(s > 0.0 and _known(-h / s + 0.0, {knot: []}) == knot for s, h in sides)
        if ramps and not (partner and [(a.order, a.width) for a in ramps] == [(0, 0.0)]):
            continue
        sides[scale, shift] = Sides(own.slope + slope / scale, own.factor)
        knots.pop(knot, None)
        if ramps:
            knots[knot] = list(ramps)
        return added(polynomial[:1], [slope * knot], 1.0)
    return list(polynomial)


def _take_ramps(sides: dict[tuple[float, float], Sides], knots: dict[float, list[Atom]]) -> None:
    """Let one-sided exponentials take the ramps at their knots, where they are alone there."""
    for (scale, shift), own in list(sides.items()):
        knot = _known(-shift / scale + 0.0, knots)
        parts = knots.get(knot)
        if parts is None or scale < 0.0 or own.factor == 0.0:
            continue
        if len(parts) == 1 and (parts[0].order, parts[0].width) == (0, 0.0):
            sides[scale, shift] = Sides(own.slope + parts[0].weight / scale, own.factor)
            del knots[knot]
    for (scale, shift), own in sides.items():
        if own.factor == 0.0 and own.slope != 0.0:  # the exponentials have cancelled
            knot = _known(-shift / scale + 0.0, knots)
            atom, _ = scaled_atom(Atom(own.slope, 0), scale)
            knots.setdefault(knot, []).append(atom)


def _by_knot(polynomial: tuple[float, ...], knots: dict[float, list[Atom]]) -> list[Piece]:
    """One piece for each knot, steps apart from other atoms; the polynomial joins one of them.

    Steps have jets with themselves that are singular, and are evaluated in a way of their own.
    """
    split: list[tuple[float, tuple[Atom, ...]]] = []
    for knot, parts in knots.items():
        steps = tuple(a for a in parts if (a.order, a.width) == (1, 0.0))
        rest = tuple(a for a in parts if (a.order, a.width) != (1, 0.0))
        split += [(knot, own) for own in (rest, steps) if own]
    split.sort(key=lambda part: (abs(part[0]), part[0]))
    place = -1
    if polynomial:
        for k, (_, own) in enumerate(split):
            if len(polynomial) == 1 or own[0].order != 1 or own[0].width > 0.0:
                place = k
                break
    found = [] if place >= 0 or not polynomial else [Piece(1.0, 0.0, polynomial, ())]
    for k, (knot, own) in enumerate(split):
        here = tuple(moved(polynomial, 1.0, knot)) if k == place else ()
        found.append(Piece(1.0, -knot + 0.0, here, own))
    return found


# --------------------------------------------------------------------------------------------------
# values


class SumKernel:
    """Values and derivatives of a sum of terms, by the kernels of their primitives."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)

    def __call__(self, x: Array, out: Array) -> None:
        """Derivatives 0 to m - 1 at ``x`` of shape (n,) into ``out`` of shape (m, n)."""
        work = np.empty_like(out)
        out[:] = 0.0
        for coefficient, scale, shift, primitive in self.terms:
            y = x if (scale, shift) == (1.0, 0.0) else scale * x + shift
            primitive.jet(y, work)
            factor = coefficient
            for row, own in zip(out, work, strict=True):
                row += factor * own
                factor *= scale


class PiecewiseKernel:
    """Values and derivatives of a piecewise polynomial, free of cancellation between its terms.

    Parameters
    ----------
    atoms : sequence of (knot, Atom)
        Truncated powers, steps and ramps.
    polynomial : sequence of float
    terms : sequence of Term
        The same function, which says what value and derivatives are at a knot.
    """

    def __init__(
        self,
        atoms: Sequence[tuple[float, Atom]],
        polynomial: Sequence[float],
        terms: Sequence[Term] = (),
    ) -> None:
        knots = sorted({knot for knot, _ in atoms})
        self.knots = np.array(knots)
        self.terms = tuple(terms)
        degree = max([len(polynomial) - 1, *(1 - atom.order for _, atom in atoms), 0])
        table = np.zeros((len(knots) + 1, DERIVATIVES, degree + 1))
        own = list(polynomial) or [0.0]
        size = [abs(c) for c in own]
        for k in range(len(knots) + 1):
            if k > 0:
                for knot, atom in atoms:
                    if knot == knots[k - 1]:
                        n = 1 - atom.order
                        power = [0.0] * n + [atom.weight / factorial(n)]
                        moved_power = moved(power, 1.0, -knot)
                        own = added(own, moved_power, 1.0)
                        size = added(size, [abs(c) for c in moved_power], 1.0)
                # what rounding leaves of a coefficient that cancels
                own = [
                    0.0 if abs(c) <= _CANCELLED * s else c for c, s in zip(own, size, strict=True)
                ]
            row = np.zeros(degree + 1)
            row[: len(own)] = own
            for n in range(DERIVATIVES):
                table[k, n, : row.size] = row
                row = row[1:] * np.arange(1, row.size)
        self.table = table

    @cached_property
    def at_knots(self) -> Array:
        """Value and derivatives at the knots: those from the left, or of the terms."""
        found = np.empty((DERIVATIVES, self.knots.size))
        if self.terms:
            SumKernel(self.terms)(self.knots, found)
            return found
        for piece, knot in enumerate(self.knots):
            for k, row in enumerate(self.table[piece]):
                found[k, piece] = np.polynomial.polynomial.polyval(knot, row)
        return found

    def __call__(self, x: Array, out: Array) -> None:
        """Derivatives 0 to m - 1 at ``x`` of shape (n,) into ``out`` of shape (m, n)."""
        kernels.piecewise(x, out, self.knots, self.table, self.at_knots)


def kinks(piece: Piece) -> list[float]:
    """Where a derivative of a piece jumps."""
    if piece.sides is not None:
        return [-piece.shift / piece.scale + 0.0]
    sharp = any(atom.width == 0.0 for atom in piece.atoms)
    return [-piece.shift / piece.scale + 0.0] if sharp else []
