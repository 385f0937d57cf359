"""Newton's step and the Newton-Kantorovich number of a function at a point.

The theorem (L. Kantorovich 1948; P. Deuflhard, Newton Methods for Nonlinear Problems, 2004, section
2.1): if the inverse of the Hessian has norm beta, the Newton step has length eta, the Hessian has
the Lipschitz constant K on a ball of radius 2 eta, and h = beta eta K <= 1/2, then exactly one
critical point lies within (1 - sqrt(1 - 2h))/(beta K) <= 2 eta, and Newton's method converges to
it. Here K is *sampled*, so the conclusion is evidence and not a proof;
:func:`infflow.certify` proves.

The theorem holds in any linear coordinates. Where the number is too large in those of theta, it is
taken in those in which the Hessian is the identity up to signs: beta is 1, lengths are roots of
decrements, and K compares a change of the Hessian with the Hessian itself (Deuflhard, section 2.1:
affine invariance). So a weak direction counts by how much *its* curvature changes, and not by how
much that of a steep one does, as at minima with one neuron far away from the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import DivergedError, SingularMomentError
from ..objective import Objective
from ..spectrum import largest_magnitude
from .curvature import Product, products
from .rest import Rest

#: The Hessian is compared at points at least this far away, relative to 1 + |theta|: closer,
#: rounding hides K.
CLOSEST = 1e-5
#: relative accuracy of norms of differences of Hessians
_ACCURACY = 1e-2


@dataclass(frozen=True, eq=False)
class NewtonNumbers:
    """What Newton's method says about the nearest critical point."""

    step: Array  #: Newton step (P,)
    length: float  #: eta, its length
    decrement: float  #: sqrt(g' |H|^-1 g)
    #: decrease of the loss that the quadratic model predicts for the step (negative: increase)
    gain: float
    beta: float  #: norm of the inverse Hessian
    lipschitz: float  #: K, sampled
    radius: float  #: radius of the ball on which it was sampled
    #: the Newton-Kantorovich number in the norm of the Hessian; infinite where it was not needed
    invariant: float = math.inf

    @property
    def plain(self) -> float:
        """The Newton-Kantorovich number beta eta K in the coordinates of theta."""
        return 0.0 if self.length == 0.0 else self.beta * self.length * self.lipschitz

    @property
    def h(self) -> float:
        """The smaller one of the two."""
        return min(self.plain, self.invariant)

    @property
    def distance_bound(self) -> float:
        """Largest distance of the critical point, if h <= 1/2; otherwise infinite."""
        if not self.h <= 0.5:
            return math.inf
        plain = self.plain <= 0.5
        length = self.length if plain else self.decrement * math.sqrt(self.beta)
        return 2.0 * length / (1.0 + math.sqrt(1.0 - 2.0 * self.h))


def newton_numbers(
    net: Objective,
    theta: Array,
    free: NDArray[np.intp],
    rest: Rest,
    here: Product,
    samples: Samples,
) -> NewtonNumbers:
    """Newton's numbers in the affine space through ``theta`` (P,) on which the Hessian is regular.

    Parameters
    ----------
    free : (n,) indices
        Parameters that may move.
    rest : Rest
        What the Hessian is there.
    here : callable
        The Hessian at theta times vectors (n,).
    samples : Samples
        In how many random directions K is sampled, and where they come from.
    """
    if not rest.dimension:
        return NewtonNumbers(np.zeros_like(theta), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    step = np.zeros_like(theta)
    step[free] = rest.step
    radius = max(2.0 * rest.length, CLOSEST * (1.0 + float(np.linalg.norm(theta))))
    K = _sampled_lipschitz(net, theta, free, rest, here, radius, samples)
    found = NewtonNumbers(step, rest.length, rest.decrement, rest.gain, rest.beta, K, radius)
    if found.h <= 0.5 or rest.modes is None:
        return found
    return replace(found, invariant=_invariant_number(net, theta, free, rest, here, samples))


def _invariant_number(
    net: Objective,
    theta: Array,
    free: NDArray[np.intp],
    rest: Rest,
    here: Product,
    samples: Samples,
) -> float:
    """The Newton-Kantorovich number in the coordinates y with theta = modes |curvature|^(-1/2) y.

    The change of the Hessian is sampled at the distance 2 eta, along the step, along the weakest
    direction, and along random ones.
    """
    assert rest.modes is not None and rest.curvatures is not None
    roots = np.sqrt(np.abs(rest.curvatures))
    frame = rest.modes / roots
    directions = [roots * (rest.modes.T @ rest.step), (roots == roots.min()).astype(float)]
    directions += samples.directions(len(roots))
    distance = 2.0 * rest.decrement
    largest = 0.0
    for direction in directions:
        length = float(np.linalg.norm(direction))
        if length == 0.0:
            continue
        moved = theta.copy()
        moved[free] += frame @ (direction * (distance / length))
        try:
            there = products(net, moved, free, samples.report)
            change = partial(_change_in, frame, there, here)
            largest = max(largest, largest_magnitude(change, len(roots), _ACCURACY, floor=largest))
        except (SingularMomentError, DivergedError):
            return math.inf
    return 0.5 * largest  # eta K, from the change K 2 eta


def _change_in(frame: Array, there: Product, here: Product, v: Array) -> Array:
    inside = frame @ v
    found: Array = frame.T @ (there(inside) - here(inside))
    return found


class Samples(NamedTuple):
    """How K is sampled."""

    number: int  #: number of random directions
    seed: int
    report: Callable[[], object]  #: called after each product
    weights: Array | None = None  #: (n,) how many parameters each one stands for

    def directions(self, n: int) -> list[Array]:
        """Random directions (n,).

        Where parameters stand for many, every other direction has the share of these that one of
        the whole network would have.
        """
        rng = np.random.default_rng(self.seed)
        found = [rng.standard_normal(n) for _ in range(self.number)]
        if self.weights is not None and len(self.weights) == n:
            found[::2] = [np.sqrt(self.weights) * each for each in found[::2]]
        return found


def _sampled_lipschitz(
    net: Objective,
    theta: Array,
    free: NDArray[np.intp],
    rest: Rest,
    here: Product,
    radius: float,
    samples: Samples,
) -> float:
    """Largest |H(theta + u) - H(theta)|/|u| over random u of length ``radius``, one along the
    Newton step.

    Norms are those of Lanczos's method, to about one per cent.
    """
    directions = [rest.project(each) for each in samples.directions(len(free))]
    if np.linalg.norm(rest.step) > 0.0:  # squares of tiny steps can underflow
        directions.insert(0, rest.step)
    largest = 0.0
    for direction in directions:
        moved = theta.copy()
        moved[free] += radius * (direction / np.linalg.norm(direction))
        try:
            there = products(net, moved, free, samples.report)
            change = partial(_change, rest.project, there, here)
            largest = max(
                largest,
                largest_magnitude(change, len(free), _ACCURACY, floor=largest * radius) / radius,
            )
        except (SingularMomentError, DivergedError):
            return math.inf
    return largest


def _change(project: Product, there: Product, here: Product, v: Array) -> Array:
    inside = project(v)
    return project(there(inside) - here(inside))
