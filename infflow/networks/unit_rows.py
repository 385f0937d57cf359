"""Rows of unit length: the parametrization in which hidden weights enter as w/|w|.

With n = |w|, u = w/n and the projector P = 1 - u u' the map w -> u has the symmetric Jacobian P/n.
Of a loss L(u) with gradient g and Hessian H that makes

    gradient  P g/n,
    Hessian   (P H P - (g.u) P - P g u' - u (P g)')/n^2,

which is the Riemannian Hessian of the sphere, P H P - (g.u) P, where the gradient vanishes.
(P.-A. Absil, R. Mahony, R. Sepulchre, Optimization Algorithms on Matrix Manifolds, Princeton 2008,
section 5.5.) The gradient has no part along w, so that the flow keeps |w|, and the loss does not
depend on |w|.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..errors import InvalidValueError
from ..objective import Evaluation


class Rows(NamedTuple):
    """Where rows of weights lie one after the other in a vector, and what they are called."""

    start: int
    width: int
    fan_in: int
    name: str

    @property
    def entries(self) -> slice:
        """All of them."""
        return slice(self.start, self.start + self.width * self.fan_in)


class UnitRows:
    """The map of parameters theta (P,) that divides some rows of weights by their lengths.

    Parameters
    ----------
    rows : sequence of Rows
        One entry for each weight matrix; all other parameters stay as they are.
    """

    def __init__(self, rows: Sequence[Rows]) -> None:
        self.rows = tuple(rows)

    def shifted(self, start: int) -> list[Rows]:
        """The rows in a vector in which the parameters begin at ``start``."""
        return [each._replace(start=each.start + start) for each in self.rows]

    # --------------------------------------------------------------------------------- the map

    def split(self, theta: Array) -> list[tuple[Rows, Array, Array]]:
        """Unit vectors (width, fan_in) and lengths (width,) of all rows.

        Raises
        ------
        InvalidValueError
            If a row is zero.
        """
        found = []
        for each in self.rows:
            W = theta[each.entries].reshape(each.width, each.fan_in)
            largest = np.abs(W).max(axis=1)
            if not largest.all():
                row = int(np.argmin(largest))
                raise InvalidValueError(
                    f"row {row} of {each.name} is zero, and parametrization='spherical' divides "
                    "rows by their lengths. Start from rows that have a direction, as those of "
                    "inf.random_params."
                )
            scaled = W / largest[:, None]  # squares of large and small numbers stay in range
            size = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
            found.append((each, scaled / size[:, None], largest * size))
        return found

    def apply(self, theta: Array) -> Array:
        """The parameters (P,) with rows of length one."""
        phi = theta.copy()
        for each, units, _ in self.split(theta):
            phi[each.entries] = units.ravel()
        return phi

    def times_jacobian(self, theta: Array, v: Array) -> Array:
        """The Jacobian (P, P) of the map, which is symmetric, times v, (P,) or (P, m)."""
        out = v.copy()
        for each, units, lengths in self.split(theta):
            part = v[each.entries].reshape(each.width, each.fan_in, -1)
            radial = np.einsum("ij,ijm->im", units, part)
            part = (part - units[:, :, None] * radial[:, None, :]) / lengths[:, None, None]
            out[each.entries] = part.reshape(out[each.entries].shape)
        return out

    # ---------------------------------------------------------------- derivatives of a loss of it

    def pull(self, theta: Array, found: Evaluation) -> Evaluation:
        """Derivatives in theta from those in the parameters with rows of length one."""
        if found.gradient is None:
            return found
        gradient = self.times_jacobian(theta, found.gradient)
        if found.hessian is None:
            return Evaluation(found.value, gradient, None)
        half = self.times_jacobian(theta, found.hessian)
        hessian = self.times_jacobian(theta, np.ascontiguousarray(half.T))
        hessian = (hessian + hessian.T) / 2  # both products round differently
        for each, units, lengths in self.split(theta):
            g = found.gradient[each.entries].reshape(each.width, each.fan_in)
            for i, (u, n, own) in enumerate(zip(units, lengths, g, strict=True)):
                first = each.start + i * each.fan_in
                block = slice(first, first + each.fan_in)
                hessian[block, block] += _curvature(u, n, own)
        return Evaluation(found.value, gradient, hessian)

    def product(
        self, theta: Array, gradient: Array, times: Callable[[Array], Array]
    ) -> Callable[[Array], Array]:
        """The Hessian in theta times v, (P,) or (P, m), from gradient and products in the
        parameters with rows of length one.
        """
        parts = self.split(theta)
        slopes = []
        for each, units, _ in parts:
            g = gradient[each.entries].reshape(each.width, each.fan_in)
            radial = np.einsum("ij,ij->i", g, units)
            slopes.append((g - units * radial[:, None], radial))

        def product(v: Array) -> Array:
            out = self.times_jacobian(theta, times(self.times_jacobian(theta, v)))
            for (each, units, lengths), (tangent, radial) in zip(parts, slopes, strict=True):
                own = v[each.entries].reshape(each.width, each.fan_in, -1)
                along = np.einsum("ij,ijm->im", units, own)
                flat = own - units[:, :, None] * along[:, None, :]
                bent = radial[:, None, None] * flat + tangent[:, :, None] * along[:, None, :]
                bent += units[:, :, None] * np.einsum("ij,ijm->im", tangent, own)[:, None, :]
                bent /= np.square(lengths)[:, None, None]
                out[each.entries] -= bent.reshape(out[each.entries].shape)
            return out

        return product

    def radial_slopes(self, theta: Array, gradient: Array) -> Array:
        """(g.u)/|w|^2 of all rows, one after the other: what curvature of the sphere takes away."""
        found = []
        for each, units, lengths in self.split(theta):
            g = gradient[each.entries].reshape(each.width, each.fan_in)
            found.append(np.einsum("ij,ij->i", g, units) / np.square(lengths))
        return np.concatenate(found)


def _curvature(u: Array, n: float, g: Array) -> Array:
    """What second derivatives of w/|w| add to the Hessian of one row."""
    radial = float(g @ u)
    mixed = np.outer(g - radial * u, u)
    P = np.eye(len(u)) - np.outer(u, u)
    found: Array = -(radial * P + (mixed + mixed.T)) / (n * n)
    return found
