"""Spectra of the covariance of the input: ``inf.Spectrum``."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import Array, as_integer, as_number, as_real_array, counted, public
from ..errors import InvalidValueError, ShapeError

#: Shares may miss the sum 1 by the rounding of float32.
_SUM = 1e-6
#: Eigenvalues that differ by less, relative to the largest, are one.
SAME = 1e-9


class Spectrum:
    """Eigenvalues of the covariance of the input and the share of dimensions that each has.

    It stands for a covariance in the limit of many inputs: ``inf.OrderParameters(neti, rate,
    spectrum=...)``.

    Parameters
    ----------
    eigenvalues : (G,) array
        Not negative, not all 0.
    shares : (G,) array
        Positive, adding up to one.

    Attributes
    ----------
    eigenvalues, shares : (G,) arrays
        Sorted by falling eigenvalue; eigenvalues that agree to 1e-9 of themselves are one group.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If eigenvalues are negative, or shares are not positive or don't add up to one.

    See Also
    --------
    OrderParameters : takes it.

    Examples
    --------
    >>> Spectrum([0.5, 2.0], [2 / 3, 1 / 3])
    Spectrum(2 eigenvalues from 0.5 to 2, mean 1)
    """

    @public
    def __init__(self, eigenvalues: ArrayLike, shares: ArrayLike) -> None:
        values = as_real_array("eigenvalues", eigenvalues, ndim=1)
        given = as_real_array("shares", shares, ndim=1)
        if len(values) != len(given) or not len(values):
            raise ShapeError(
                f"eigenvalues and shares have {len(values)} and {len(given)} entries; one share "
                "per eigenvalue is needed, and at least one of both."
            )
        shares = given
        if (values < 0.0).any() or not values.any():
            raise InvalidValueError(
                f"eigenvalues has {values.min():g} as the smallest and {values.max():g} as the "
                "largest; none may be negative, and not all zero: they are variances of inputs."
            )
        if (shares <= 0.0).any() or abs(shares.sum() - 1.0) > _SUM:
            raise InvalidValueError(
                f"shares are {shares} and add up to {shares.sum():.6g}; positive numbers that add "
                "up to 1 are needed. Divide them by their sum."
            )
        order = np.argsort(-values, kind="stable")
        self.eigenvalues, self.shares = _grouped(values[order], (shares / shares.sum())[order])

    @classmethod
    def power_law(cls, beta: float, levels: int, nodes: int | None = None) -> Spectrum:
        r"""Eigenvalues :math:`l^{-(1 + \beta)}` for :math:`l = 1 \dots` ``levels``, with equal
        shares and the mean 1.

        The spectrum of data with a hierarchy of scales (Worschech and Rosenow, arXiv:2410.09005).

        Parameters
        ----------
        beta : float
            Positive, at most 20.
        levels : int
            Number L of eigenvalues.
        nodes : int, optional
            Fewer groups in the place of all: the nodes of the Gauss rule for log l, which gives the
            means of all polynomials in log l up to degree 2 nodes - 1 exactly.

        Examples
        --------
        >>> Spectrum.power_law(0.5, 1000, nodes=8)
        Spectrum(8 eigenvalues from 0.0143 to 384, mean 1)
        """
        beta = as_number("beta", beta, minimum=0.0, maximum=20.0, strict=True)
        levels = as_integer("levels", levels, minimum=1, maximum=10**7)
        l = np.arange(1.0, levels + 1.0)
        mean = float(np.mean(l ** -(1.0 + beta)))
        if nodes is None:
            return cls(l ** -(1.0 + beta) / mean, np.full(levels, 1.0 / levels))
        nodes = as_integer("nodes", nodes, minimum=1, maximum=min(levels, 200))
        places, weights = _gauss(np.log(l), nodes)
        values = np.exp(-(1.0 + beta) * places)
        return cls(values / (weights @ values), weights)

    @property
    def mean(self) -> float:
        """Mean eigenvalue."""
        return float(self.eigenvalues @ self.shares)

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def __repr__(self) -> str:
        low = self.eigenvalues[-1]
        high = self.eigenvalues[0]
        return (
            f"Spectrum({counted(len(self), 'eigenvalue')} from {low:.3g} to {high:.3g}, mean "
            f"{self.mean:.3g})"
        )


def _grouped(values: Array, shares: Array) -> tuple[Array, Array]:
    """Groups of falling values that agree to ``SAME``, relative to themselves."""
    group = _groups(values, SAME * values)
    total: Array = np.bincount(group, weights=shares).astype(np.float64)
    return np.bincount(group, weights=shares * values) / total, total


def _groups(values: Array, tolerance: Array) -> NDArray[np.int64]:
    """Number of the group of each of the falling values: within a tolerance of its first."""
    group = np.zeros(len(values), dtype=np.int64)
    first = 0
    for k in range(1, len(values)):
        new = values[first] - values[k] > tolerance[first]
        group[k] = group[k - 1] + new
        first = k if new else first
    return group


def _gauss(x: Array, n: int) -> tuple[Array, Array]:
    """Gauss rule of the measure with equal weights on the points x, by Lanczos's method."""
    centre = float(x.mean())
    width = max(float(np.ptp(x)) / 2.0, 1.0)
    y = (x - centre) / width
    basis = np.full((1, len(x)), 1.0 / math.sqrt(len(x)))
    alpha = np.zeros(n)
    beta = np.zeros(max(n - 1, 0))
    for k in range(n):
        v = y * basis[k]
        alpha[k] = basis[k] @ v
        for _ in range(2):  # keeps the vectors orthogonal
            v = v - basis.T @ (basis @ v)
        if k + 1 < n:
            beta[k] = np.linalg.norm(v)
            basis = np.vstack([basis, v / beta[k]])
    T = np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)
    nodes, vectors = np.linalg.eigh(T)
    return centre + width * nodes, vectors[0] ** 2


class Groups(NamedTuple):
    """Groups of eigenvalues of one covariance.

    ``eigenvalues`` (G,), ``shares`` (G,) of the dimensions, and for a matrix the orthonormal
    ``vectors`` (D, n_g) of each group; None in the limit of many inputs, where weights are spread
    over all groups alike.
    """

    eigenvalues: Array
    shares: Array
    vectors: tuple[Array, ...] | None

    def gram(self, A: Array, B: Array) -> Array:
        """A P_g B' of every group, (G, m, n), for rows of weights A (m, D) and B (n, D)."""
        if self.vectors is None:
            return self.shares[:, None, None] * (A @ B.T)
        return np.array([(A @ E) @ (B @ E).T for E in self.vectors])


#: standard normal input: one group
WHITE = Groups(np.ones(1), np.ones(1), None)


def groups_of_covariance(cov: Array) -> Groups:
    """Groups of the eigenvalues of a covariance; those that agree to 1e-9 are one."""
    values, vectors = np.linalg.eigh(cov)
    values = np.maximum(values[::-1], 0.0)
    vectors = vectors[:, ::-1]
    D = len(values)
    group = _groups(values, np.full(D, SAME * values[0]))
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [D]])
    parts = [vectors[:, a:b] for a, b in pairwise(cuts)]
    means = np.array([values[a:b].mean() for a, b in pairwise(cuts)])
    return Groups(means, np.diff(cuts) / D, tuple(np.ascontiguousarray(E) for E in parts))
