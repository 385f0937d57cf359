"""The Hessian as :func:`infflow.classify` sees it: a matrix, or products with vectors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import DivergedError, MethodError
from ..objective import Linearizable
from ..spectrum import largest_magnitude

#: accuracy of norms of Hessians, which only set the scale of tolerances
_NORM = 1e-2
#: products with random signs from which the diagonal is estimated
_PROBES = 8
#: numbers of work space that LAPACK gets for each column, for blocks of that size
_WORK = 64

Product = Callable[[Array], Array]


class Curvature(Protocol):
    """The Hessian on the n free parameters."""

    norm: float  #: largest eigenvalue in absolute value, to about one per cent
    diagonal: Array  #: (n,); for products an estimate from above, the lengths of the rows

    def times(self, V: Array) -> Array:
        """The Hessian times ``V`` of shape (n,) or (n, k)."""
        ...


class DenseCurvature:
    """A Hessian that was written down."""

    def __init__(self, matrix: Array) -> None:
        self.matrix, self.diagonal = matrix, np.diagonal(matrix)
        self.norm = largest_magnitude(self.times, len(matrix), _NORM)

    def times(self, V: Array) -> Array:
        """The Hessian times ``V``."""
        return self.matrix @ V


class ProductCurvature:
    """A Hessian that is only multiplied with."""

    def __init__(self, product: Product, n: int) -> None:
        self.times = product
        self.norm = largest_magnitude(product, n, _NORM)
        rng = np.random.default_rng(0)
        squares = sum(
            (product(rng.choice([-1.0, 1.0], size=n)) ** 2 for _ in range(_PROBES)), np.zeros(n)
        )
        self.diagonal: Array = np.sqrt(squares / _PROBES)


def products(
    net: Any, theta: Array, free: NDArray[np.intp], report: Callable[[], object]
) -> Product:
    """The Hessian at ``theta`` (P,) on the free parameters, as a function of vectors (n,) or (n,
    k).

    It raises DivergedError where the product is not finite; ``report`` is called after each
    product.
    """
    if isinstance(net, Linearizable):
        times = net.linearize(theta)
    else:
        own = copy.copy(net)  # remembers what belongs to its own point

        def times(v: Array) -> Array:
            return own.hvp(theta, v)

    def product(V: Array) -> Array:
        full = V
        if len(free) < len(theta):
            full = np.zeros((len(theta), *V.shape[1:]))
            full[free] = V
        found = times(np.ascontiguousarray(full))
        if not np.isfinite(found).all():
            raise DivergedError("the Hessian is not finite at this theta: numbers overflow.")
        report()
        return found[free] if len(free) < len(theta) else found

    return product


class Complement:
    """Coordinates on the complement (n - k dimensions) of orthonormal columns (n, k), by
    Householder reflectors.
    """

    def __init__(self, basis: Array) -> None:
        from scipy.linalg.lapack import dgeqrf

        self.n, self.k = basis.shape
        if self.k:
            self._reflectors, self._tau, _, info = dgeqrf(basis, lwork=_WORK * self.k)
            if info:
                raise MethodError(f"LAPACK's dgeqrf ended with the code {info}.")

    def lift(self, X: Array) -> Array:
        """Vectors (n, m) of coordinates (n - k, m)."""
        if not self.k:
            return X
        return self._apply("N", np.vstack([np.zeros((self.k, X.shape[1])), X]))

    def restrict(self, V: Array) -> Array:
        """Coordinates (n - k, m) of vectors (n, m)."""
        return self._apply("T", V)[self.k :] if self.k else V

    def matrix(self, H: Array) -> Array:
        """A symmetric matrix (n, n) in the coordinates."""
        if not self.k:
            return H
        half = self._apply("T", H)[self.k :]
        reduced: Array = self._apply("T", half.T)[self.k :]
        return (reduced + reduced.T) / 2

    def _apply(self, transposed: str, V: Array) -> Array:
        from scipy.linalg.lapack import dormqr

        work = max(1, _WORK * V.shape[1])
        found, _, info = dormqr("L", transposed, self._reflectors, self._tau, V, work)
        if info:
            raise MethodError(f"LAPACK's dormqr ended with the code {info}.")
        return np.asarray(found)
