"""QR factorisation of a tall matrix, some rows at a time.

The rows are taken in blocks: the triangle of those before is stacked on the next block and
factorised again, so that every call of LAPACK is short (one looks at the clock between them) and
works on what fits into the cache. It is as stable as one factorisation of all rows, and twice as
fast where they are many. The orthogonal factor is never formed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg.lapack import dgeqrf, dormqr

from .._validation import Array

#: blocks have at least so many numbers, and at least twice as many rows as columns
_BLOCK = 2**21
_WORK = 64  # columns of workspace that LAPACK's blocked routines use


class TallQR:
    """J = Q R with R (n, n) upper triangular.

    Parameters
    ----------
    matrix : (m, n) array
        With m >= n >= 1; is not changed.
    between : callable
        Called before every block; what it raises ends the factorisation.
    """

    def __init__(self, matrix: Array, between: Callable[[], None] = lambda: None) -> None:
        rows, self._n = matrix.shape
        step = max(2 * self._n, _BLOCK // self._n)
        self._starts = range(0, rows, step)
        self._rows = rows
        self._step = step
        self._factors: list[tuple[Array, Array]] = []
        top = np.empty((0, self._n))
        for start in self._starts:
            between()
            block = np.asfortranarray(np.vstack([top, matrix[start : start + step]]))
            factored, scales, _, _ = dgeqrf(block, lwork=_WORK * self._n, overwrite_a=1)
            self._factors.append((factored, scales))
            top = np.triu(factored[: self._n])
        #: the triangle (n, n)
        self.R = top

    def project(self, v: Array) -> Array:
        """Q' v (n,) of a vector (m,)."""
        top = np.empty(0)
        for start, (factored, scales) in zip(self._starts, self._factors, strict=True):
            part = np.concatenate([top, v[start : start + self._step]])
            top = _multiply(factored, scales, part, "T")[: self._n]
        return top

    def expand(self, v: Array) -> Array:
        """Q v (m,) of a vector (n,)."""
        found = np.empty(self._rows)
        top = v
        for start, (factored, scales) in zip(
            reversed(self._starts), reversed(self._factors), strict=True
        ):
            above = self._n if start else 0
            padded = np.zeros(len(factored))
            padded[: len(top)] = top
            part = _multiply(factored, scales, padded, "N")
            found[start : start + self._step] = part[above:]
            top = part[:above]
        return found


def _multiply(factored: Array, scales: Array, v: Array, transposed: str) -> Array:
    """The square orthogonal factor of one block, or its transpose, times v."""
    product, _, _ = dormqr("L", transposed, factored, scales, v[:, None], lwork=_WORK)
    found: Array = product[:, 0]
    return found
