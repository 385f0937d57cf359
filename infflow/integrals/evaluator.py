"""The protocol of evaluators of Gaussian moments: points in, estimates with error bounds out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .._validation import Array
from ..activations import Activation


class Points(NamedTuple):
    """Where a moment is wanted: arrays of shape (n,)."""

    r1: Array
    r2: Array
    u: Array
    b1: Array
    b2: Array


class Estimate(NamedTuple):
    """Values, bounds, scales: each (n,). Infinite moments are ``inf``; rtol refers to ``scale``."""

    value: Array
    error_bound: Array
    scale: Array
    work: int


class Evaluator(Protocol):
    """A method: which activations it is defined for, moments of pairs and of single activations."""

    def defined(self, *activations: Activation) -> bool:
        """Whether the method covers these activations."""
        ...

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """``E[f^(p) g^(q)]``."""
        ...

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """``E f^(order)(r x + b)``."""
        ...
