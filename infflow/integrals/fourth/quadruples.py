"""Moments E[f_i^(d1) f_k^(d2) f_a f_b] of many quadruples of neurons of mean zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from ...activations import Activation
from . import quadruple_kernels as kernels
from .rows import Index, make_rows


class QuadrupleMoments(NamedTuple):
    """``value`` (Q,); ``first`` (Q, 4), ``second`` (Q, 4, 4): means of the derivatives.

    They belong to the neurons at the four places; where a neuron comes twice, to its first place.
    """

    value: Array
    first: Array
    second: Array


class Quadruples:
    """Quadruples of fixed activations, some of them differentiated.

    Parameters
    ----------
    activations : sequence of Activation
    quadruples : (Q, 4) int array
    derivatives : four flags
        Places with f' in the place of f.
    order : int
        Up to which order means of derivatives in the pre-activations are wanted: 0, 1 (first ones)
        or 2 (second ones).
    """

    def __init__(
        self,
        activations: Sequence[Activation],
        quadruples: Index,
        derivatives: tuple[bool, bool, bool, bool],
        order: int,
    ) -> None:
        self.quadruples = quadruples
        self.order = order
        self._rows = make_rows(activations, quadruples, derivatives)

    def __call__(self, C: Array) -> QuadrupleMoments:
        """Moments at the covariance C (n, n) of all neurons."""
        Q = len(self.quadruples)
        found = QuadrupleMoments(np.zeros(Q), np.zeros((Q, 4)), np.zeros((Q, 4, 4)))
        kernels.quadruple_moments(*self._rows, self.quadruples, C, self.order, *found)
        return found
