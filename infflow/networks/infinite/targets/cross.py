"""What a loss needs to know of the integrals of students with a target that is no network."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ...._validation import Array


class Cross(NamedTuple):
    """Integrals E[f_i y_o] of K neurons with O outputs.

    Attributes
    ----------
    value : (K, O) array
    first : (K, O, D + 1) array
        Derivatives in (w_i, b_i), the last entry that of b.
    error : float
        Estimate of the errors of the values, and of the derivatives in units of their scale.
    rest : Any
        What its maker needs for second derivatives.
    """

    value: Array
    first: Array
    error: float
    rest: Any = None


class Curvature(Protocol):
    """Second derivatives of ``sum_o B_io E[f_i y_o]`` in (w_i, b_i)."""

    def blocks(self) -> Array:
        """The matrices (K, D + 1, D + 1)."""
        ...

    def times(self, V: Array) -> Array:
        """Each matrix times its row of V (K, D + 1)."""
        ...


class DenseCurvature:
    """The matrices themselves, (K, D + 1, D + 1)."""

    def __init__(self, matrices: Array) -> None:
        self._matrices = matrices

    def blocks(self) -> Array:
        """The matrices themselves."""
        return self._matrices

    def times(self, V: Array) -> Array:
        """Each matrix times its row of V."""
        found: Array = np.einsum("ide,ie->id", self._matrices, V)
        return found


class TargetIntegrals(Protocol):
    """Integrals of students with a target over one Gaussian input.

    ``mean`` and ``square`` (O,) are E y and E y^2, ``error`` the relative error of the latter.
    """

    mean: Array
    square: Array
    error: float

    def neurons(self, W: Array, b: Array, order: int) -> Cross:
        """All integrals of the students, weights (K, D) and biases (K,), up to this order."""
        ...

    def curvature(self, cross: Cross, B: Array) -> Curvature:
        """Second derivatives for output vectors B (K, O), from what order 2 found."""
        ...
