"""Steps along a branch: prediction along the tangent, correction, and how long a step may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .._validation import Array
from . import events
from .curve import Curve, CurvePoint, Failed

#: the contraction of Newton's method that steps aim at, and the one that is too slow
_AIM = 0.1
#: a step grows and shrinks by this at most
_GROW = 1.7
_SHRINK = 0.3
#: smallest cosine of the angle between neighbouring tangents
_STRAIGHT = 0.85
#: a step below this part of the first one ends the branch
_SMALLEST = 1e-7
#: spacing of differences of Hessians at a branch point
_SPACING = 1e-4


class Steps(NamedTuple):
    """How a branch is walked."""

    first: float  #: length of the first step, in y
    longest: float  #: relative to 1 + |x|
    most_points: int


@dataclass
class Path:
    """Points of a branch in their order, what happens between them, and why it ends."""

    points: list[CurvePoint]
    found: list[tuple[int, events.Found]] = field(default_factory=list)  #: after point number
    reason: str = ""


def walk(curve: Curve, start: CurvePoint, steps: Steps) -> Path:
    """Follow the curve from a point along its tangent until s leaves [0, 1]."""
    path = Path([start])
    length = steps.first
    failure = ""
    while len(path.points) < steps.most_points:
        if length < _SMALLEST * steps.first:
            path.reason = f"steps became too short: {failure}"
            return path
        here = path.points[-1]
        try:
            there = curve.correct(here.y + length * here.tangent, here.tangent)
            if here.tangent @ there.tangent < _STRAIGHT:
                raise Failed("the branch turns too fast.")
            outside = not 0.0 < there.y[-1] < 1.0
            if outside:
                there = _last(curve, here, there)
            found = events.between(curve, here, there)
            path.found += [(len(path.points) - 1, each) for each in found]
        except Failed as error:
            failure = str(error)
            length *= _SHRINK
            continue
        path.points.append(there)
        if outside:
            end = "stop" if there.y[-1] == 1.0 else "start"
            path.reason = f"the parameter reached its {end} value."
            return path
        turn = float(np.arccos(np.clip(here.tangent @ there.tangent, -1.0, 1.0)))
        wanted = min(np.sqrt(_AIM / max(there.contraction, 1e-3)), 0.3 / max(turn, 1e-3))
        length *= float(np.clip(wanted, _SHRINK, _GROW))
        length = min(length, _longest(steps, there))
    path.reason = f"max_points={steps.most_points} were found."
    return path


def _longest(steps: Steps, point: CurvePoint) -> float:
    """The longest step from a point: of x, and of the parameter for smooth pictures."""
    of_x = steps.longest * (1.0 + float(np.linalg.norm(point.y[:-1])))
    return min(of_x, steps.longest / max(abs(float(point.tangent[-1])), 1e-300))


def _last(curve: Curve, here: CurvePoint, there: CurvePoint) -> CurvePoint:
    """The point at the end of the range between two points."""
    goal = 1.0 if there.y[-1] >= 1.0 else 0.0
    share = (goal - here.y[-1]) / (there.y[-1] - here.y[-1])
    guess = here.y + share * (there.y - here.y)
    guess[-1] = goal
    return curve.correct(guess, here.tangent, fixed=True)


def _other_tangent(curve: Curve, at: Array, null: Array, tangent: Array) -> Array:
    """The direction of the other branch, v + c t of the null vector v and the tangent t known.

    The bifurcation equation a/2 + b c = 0, with the third derivatives a = v D(v'Hv) along v and
    b along t, by central differences; c = 0 at a pitchfork (H. B. Keller 1977).
    """
    along = np.append(null, 0.0)

    def change(direction: Array) -> float:
        ahead, behind = (
            null @ curve.evaluate(at + sign * _SPACING * direction)[2] @ null
            for sign in (1.0, -1.0)
        )
        return float(ahead - behind) / (2.0 * _SPACING)

    b = change(tangent)
    found = along - (change(along) / (2.0 * b) if b else 0.0) * tangent
    return found / np.linalg.norm(found)


def beside(curve: Curve, at: Array, null: Array, tangent: Array, step: float) -> CurvePoint:
    """A point of the other branch through a branch point, a distance along ``null`` away.

    Parameters
    ----------
    at : (n + 1,) array
        The branch point.
    null : (n,) array
        Of its Hessian; the sign says to which side.
    tangent : (n + 1,) array
        Of the branch that is known, at the branch point.
    step : float
        The distance that is tried first.

    Raises
    ------
    Failed
        If no point is found.
    """
    across = _other_tangent(curve, at, null, tangent)
    error = Failed("")
    for share in (1.0, 0.3, 0.1, 0.03, 0.01):
        try:
            return curve.correct(at + share * step * across, across)
        except Failed as failed:
            error = failed
    raise Failed(f"no other branch was found beside the branch point: {error}")
