"""Covariances of kinked neurons, held inside the cone of positive definite matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._validation import Array

#: Smallest eigenvalue of the covariance of kinked neurons, relative to the largest.
CONE = 1e-10
#: Rate at which points outside are drawn back, in units of the learning rate.
PULL = 10.0


class Cone(NamedTuple):
    """A covariance moved inside the cone, and what its derivative needs."""

    C: Array
    vectors: Array
    quotients: Array

    def derivative(self, E: Array) -> Array:
        """The change of the moved matrix with a symmetric change E."""
        V = self.vectors
        change: Array = V @ (self.quotients * (V.T @ E @ V)) @ V.T
        return change


def inside_cone(C: Array) -> Cone | None:
    """Nearest matrix with eigenvalues of at least ``CONE`` times the largest; None where C is one.

    Moments of kinked neurons have second derivatives that grow towards singular C, and are not
    defined beyond. A student that has met its teacher is there, and a solver's errors would put it
    beyond. The price: the error of such students levels off at about 10 to 100 times ``CONE``.
    """
    if not np.isfinite(C).all():
        return None
    values, vectors = np.linalg.eigh(C)
    clipped = np.maximum(values, CONE * values[-1])
    if values[0] == clipped[0]:
        return None
    gap = values[:, None] - values
    inside = (values == clipped).astype(float)
    mean = 0.5 * (inside[:, None] + inside)  # where eigenvalues coincide
    safe = np.where(np.abs(gap) > 1e-14 * values[-1], gap, 1.0)
    quotients = np.where(safe == gap, (clipped[:, None] - clipped) / safe, mean)
    return Cone((vectors * clipped) @ vectors.T, vectors, quotients)
