"""Newton's step and the Newton-Kantorovich number of a function at a point.

The theorem (L. Kantorovich 1948; P. Deuflhard, Newton Methods for Nonlinear Problems, 2004, section 2.1): if the inverse of
the Hessian has norm beta, the Newton step has length eta, the Hessian has the Lipschitz constant K on a ball of radius
2 eta, and h = beta eta K <= 1/2, then exactly one critical point lies within (1 - sqrt(1 - 2h))/(beta K) <= 2 eta,
and Newton's method converges to it. Here K is *sampled*, so the conclusion is evidence and not a proof;
:func:`infflow.certify` proves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .._validation import Array
from ..errors import DivergedError, SingularMomentError
from ..objective import Objective

#: The Hessian is compared at points at least this far away, relative to 1 + |theta|: closer, rounding hides K.
CLOSEST = 1e-5


@dataclass(frozen=True, eq=False)
class NewtonNumbers:
    """What Newton's method says about the nearest critical point."""

    step: Array  #: Newton step (P,)
    length: float  #: eta, its length
    decrement: float  #: sqrt(g' |H|^-1 g)
    gain: float  #: decrease of the loss that the quadratic model predicts for the step (negative: increase)
    beta: float  #: norm of the inverse Hessian
    lipschitz: float  #: K, sampled
    radius: float  #: of the ball on which it was sampled

    @property
    def h(self) -> float:
        """The Newton-Kantorovich number beta eta K."""
        return 0.0 if self.length == 0.0 else self.beta * self.length * self.lipschitz

    @property
    def distance_bound(self) -> float:
        """Largest distance of the critical point, if h <= 1/2; otherwise infinite."""
        return 2.0 * self.length / (1.0 + math.sqrt(1.0 - 2.0 * self.h)) if self.h <= 0.5 else math.inf


def newton_numbers(
    objective: Objective, theta: Array, gradient: Array, hessian: Array, space: Array, samples: int, seed: int
) -> NewtonNumbers:
    """Newton's numbers in the affine space through ``theta`` (P,) spanned by eigenvectors of the Hessian.

    Parameters
    ----------
    gradient, hessian : (P,) and (P, P) arrays
        At theta.
    space : (P, n) array
        Orthonormal columns, on which the Hessian is regular.
    samples, seed : int
        Number of random directions in which K is sampled, and where they come from.
    """
    if not space.shape[1]:
        return NewtonNumbers(np.zeros_like(theta), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    reduced = space.T @ hessian @ space
    values, vectors = np.linalg.eigh((reduced + reduced.T) / 2)
    components = vectors.T @ (space.T @ gradient)
    step = -components / values
    eta = float(np.linalg.norm(step))
    radius = max(2.0 * eta, CLOSEST * (1.0 + float(np.linalg.norm(theta))))
    basis = space @ vectors
    K = _sampled_lipschitz(objective, theta, hessian, basis, step, radius, samples, seed)
    return NewtonNumbers(
        basis @ step,
        eta,
        math.sqrt(float(components @ (components / np.abs(values)))),
        0.5 * float(components @ (components / values)),
        1.0 / float(np.abs(values).min()),
        K,
        radius,
    )


def _sampled_lipschitz(
    objective: Objective,
    theta: Array,
    hessian: Array,
    basis: Array,
    step: Array,
    radius: float,
    samples: int,
    seed: int,
) -> float:
    """Largest |H(theta + u) - H(theta)|/|u| over random u of length ``radius``, one along the Newton step."""
    rng = np.random.default_rng(seed)
    directions = list(rng.standard_normal((samples, len(step))))
    if np.linalg.norm(step) > 0.0:  # squares of tiny steps can underflow
        directions += [step]
    largest = 0.0
    for direction in directions:
        u = basis @ (radius * direction / np.linalg.norm(direction))
        try:
            there = objective.evaluate(theta + u, 2).H
        except (SingularMomentError, DivergedError):
            return math.inf
        if not np.isfinite(there).all():
            return math.inf
        change = np.linalg.eigvalsh(basis.T @ (there - hessian) @ basis)
        largest = max(largest, float(np.abs(change[[0, -1]]).max()) / radius)
    return largest
