"""Values and derivatives of polynomials: the kernel of those activations that are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._validation import Array
from . import kernels
from .data import MAX_ORDER, Kernel

__all__ = ["PolynomialKernel", "polynomial_kernel"]


@dataclass(frozen=True)
class PolynomialKernel:
    table: Array

    def __call__(self, x: Array, out: Array) -> None:
        kernels.polynomial(x, out, self.table)


def polynomial_kernel(coefficients: Sequence[float]) -> Kernel:
    """The kernel of c0 + c1 x + c2 x^2 + ..."""
    return PolynomialKernel(_derivative_table(coefficients))


def _derivative_table(coefficients: Sequence[float]) -> Array:
    """Coefficients of the derivatives 0 to 4 as the rows of a table."""
    table = np.zeros((MAX_ORDER + 1, len(coefficients)))
    row = np.array(coefficients, dtype=np.float64)
    for k in range(MAX_ORDER + 1):
        table[k, : row.size] = row
        row = row[1:] * np.arange(1, row.size)
    return table
