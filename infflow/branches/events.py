"""Folds, branch points and changes of the index between two points of a branch, located."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..networks.infinite.families.orbit_spectrum import SymmetryType
from .curve import Curve, CurvePoint, Failed

#: where the arc between two points is cut, relative to its length
_ARC = 1e-13
#: a branch point of the curve itself is left to interpolation from here on, over so much
_NEAR = 1e-6
_ASIDE = 5e-3
#: events are one where they are nearer than this, relative to 1 + |y|
_SAME = 1e-7
#: eigenvalues that count as zero at an event, relative to the largest
_NULL = 1e-5


class Found(NamedTuple):
    """What happens at a point of the curve."""

    kind: str  #: "fold" or "branch point"
    symmetry: SymmetryType  #: without name that of the curve
    y: Array  #: (n + 1,)
    value: float
    null_space: Array  #: (n, q) of the Hessian of that type, orthonormal


def between(curve: Curve, first: CurvePoint, last: CurvePoint) -> list[Found]:
    """All events between two neighbouring points, in their order along the curve.

    Raises
    ------
    Failed
        If they are too many to be told apart, or one cannot be located: the step was too long.
    """
    found = []
    turns = first.tangent[-1] * last.tangent[-1] < 0.0
    arc = _Arc(curve, first, last)
    before = negative_numbers(first)
    after = negative_numbers(last)
    if turns:
        if abs(after[""] - before[""]) != 1:
            raise Failed("a fold and a branch point are between two points.")
        found.append(_fold(arc))
        before[""] = after[""]
    for name in before.keys() & after.keys():  # small blocks have fewer types
        lowest, highest = sorted((before[name], after[name]))
        for eigenvalue in range(lowest, highest):
            event = _crossing(arc, name, eigenvalue)
            if not any(_is_same(event, other) for other in found):
                found.append(event)
    order = np.argsort([arc.position(each.y) for each in found])
    return [found[k] for k in order]


def negative_numbers(point: CurvePoint) -> dict[str, int]:
    """Negative eigenvalues of each symmetry type by name, without repetitions."""
    return {
        each.name: int((values < 0.0).sum())
        for each, values in zip(point.types, point.levels, strict=True)
    }


def _is_same(a: Found, b: Found) -> bool:
    near = np.linalg.norm(a.y - b.y) <= _SAME * (1.0 + np.linalg.norm(a.y))
    return a.symmetry.name == b.symmetry.name and bool(near)


class _Arc:
    """The curve between two points, by position from 0 to 1."""

    def __init__(self, curve: Curve, first: CurvePoint, last: CurvePoint) -> None:
        self.curve = curve
        self.first = first
        self.last = last
        self.chord = last.y - first.y
        self.length = float(np.linalg.norm(self.chord))
        self._kept: dict[float, CurvePoint] = {0.0: first, 1.0: last}

    def position(self, y: Array) -> float:
        """Projection on the chord."""
        return float((y - self.first.y) @ self.chord) / self.length**2

    def guess(self, at: float) -> Array:
        """Hermite's interpolation, on the plane of points whose projection is ``at``."""
        h00 = (1.0 + 2.0 * at) * (1.0 - at) ** 2
        h10 = at * (1.0 - at) ** 2 * self.length
        h01 = at * at * (3.0 - 2.0 * at)
        h11 = at * at * (at - 1.0) * self.length
        y = h00 * self.first.y + h10 * self.first.tangent
        y = y + h01 * self.last.y + h11 * self.last.tangent
        return y + (at - self.position(y)) * self.chord

    def __call__(self, at: float) -> CurvePoint:
        """The point of the curve whose projection on the chord is ``at``."""
        if at not in self._kept:
            self._kept[at] = self.curve.correct(self.guess(at), self.chord / self.length)
        return self._kept[at]

    def root(self, function: Callable[[float], float], tolerance: float) -> float:
        """Where a function of the position that changes its sign is zero."""
        from scipy.optimize import brentq

        return float(brentq(function, 0.0, 1.0, xtol=tolerance, rtol=1e-14))


def _fold(arc: _Arc) -> Found:
    point = arc(arc.root(lambda at: float(arc(at).tangent[-1]), _ARC))
    own = point.types[0]
    return Found("fold", own, point.y, point.value, _sorted_by_size(own.hessian)[1][:, :1])


def _crossing(arc: _Arc, name: str, eigenvalue: int) -> Found:
    """Where an eigenvalue of one symmetry type is zero."""

    def level(at: float) -> float:
        return float(arc(at).levels[_number(arc(at), name)][eigenvalue])

    if name:
        point = arc(arc.root(level, _ARC))
        symmetry = point.types[_number(point, name)]
        null = null_space(symmetry.hessian)
        return Found("branch point", symmetry, point.y, point.value, null)

    def nearly(at: float) -> float:
        try:
            return level(at)
        except Failed:  # the bordered system is singular at the root, and only there
            return 0.0

    return _own_branch_point(arc, arc.root(nearly, _NEAR), eigenvalue)


def _own_branch_point(arc: _Arc, at: float, eigenvalue: int) -> Found:
    """A branch point of the curve itself, next to position ``at``.

    There the bordered system is singular, and the other branches are near. Two points at some
    distance are regular, and Hermite's interpolation between them is the curve to rounding.
    """
    curve = arc.curve
    short = _Arc(curve, arc(at - _ASIDE), arc(at + _ASIDE))

    def level(at: float) -> float:
        return float(np.linalg.eigvalsh(curve.evaluate(short.guess(at))[2])[eigenvalue])

    if level(0.0) * level(1.0) >= 0.0:
        raise Failed("two branch points are too near to each other to be told apart.")
    y = short.guess(short.root(level, _ARC))
    value, _, H = curve.evaluate(y)
    return Found("branch point", curve.types(y, H)[0], y, value, null_space(H))


def _number(point: CurvePoint, name: str) -> int:
    return [each.name for each in point.types].index(name)


def _sorted_by_size(H: Array) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(H)
    order = np.argsort(np.abs(values))
    return values[order], vectors[:, order]


def null_space(H: Array) -> Array:
    """Orthonormal vectors (n, q) without curvature, at least one."""
    values, vectors = _sorted_by_size(H)
    count = int((np.abs(values) <= _NULL * np.abs(values).max()).sum())
    return vectors[:, : max(count, 1)]
