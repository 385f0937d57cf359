"""Input weights in an orthonormal basis of a few directions, and in all inputs again.

Linear algebra on flat parameter vectors, without a network: results and trajectories that were
found in few inputs keep it, to be looked at in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._validation import Array
from .errors import TooLargeError
from .memory import shortage

#: bytes of a result that are not checked against the memory of the machine
_LARGE = 2**28
#: inputs that are looked at together
_PART = 2**14


@dataclass(frozen=True, eq=False)
class Rotation:
    """Parameters of a one-hidden-layer network in n of D inputs.

    The first ``width * D`` entries of a parameter vector are the input weights, row by row. They
    are ``W = W_n basis'`` with ``W_n`` the first ``width * n`` entries of the short vector; all
    other entries are the same in both.

    Attributes
    ----------
    basis : (D, n) array
        Orthonormal columns.
    width : int
        Number K of hidden neurons.
    """

    basis: Array
    width: int

    @property
    def num_weights(self) -> tuple[int, int]:
        """Number of input weights, all of them and in the basis."""
        full, short = self.basis.shape
        return self.width * full, self.width * short

    def lift(self, short: Array) -> Array:
        """Full vectors (..., P) of short ones (..., P_n).

        Raises
        ------
        TooLargeError
            If they would not fit in memory.
        """
        full, few = self.num_weights
        above = short.shape[:-1]
        found = _room(above, full + short.shape[-1] - few)
        weights = short[..., :few].reshape(*above, self.width, -1)
        for at in np.ndindex(*above):  # one after the other: products need no second copy
            np.dot(weights[at], self.basis.T, out=found[at][:full].reshape(self.width, -1))
        found[..., full:] = short[..., few:]
        return found

    def largest(self, short: Array) -> float:
        """Infinity norm of the full vector of a short one (P_n,), which is not made as a whole."""
        _, few = self.num_weights
        rows = short[:few].reshape(self.width, -1)
        found = float(np.abs(short[few:]).max(initial=0.0))
        for start in range(0, len(self.basis), _PART):
            part = rows @ self.basis[start : start + _PART].T
            found = max(found, float(np.abs(part).max(initial=0.0)))
        return found

    def restrict(self, theta: Array) -> Array:
        """The short vector (P_n,) of a full one (P,), or of its projection on the span."""
        full, _ = self.num_weights
        weights = theta[:full].reshape(self.width, -1) @ self.basis
        return np.concatenate([weights.ravel(), theta[full:]])

    def outside(self, theta: Array) -> Array:
        """Lengths (K,) of the parts of the rows of W that lie outside of the span."""
        full, _ = self.num_weights
        weights = theta[:full].reshape(self.width, -1)
        return np.array(
            [np.linalg.norm(row - self.basis @ (row @ self.basis)) for row in weights], dtype=float
        )


@dataclass(frozen=True, eq=False)
class Lift:
    """Full parameters along a run in few inputs.

    Rows of weights that have not moved are those of the start, to the last bit.

    Attributes
    ----------
    rotation : Rotation
    start : (P,) array
        Where the run began.
    short_start : (P_n,) array
        The same in few inputs.
    """

    rotation: Rotation
    start: Array
    short_start: Array

    def __call__(self, short: Array) -> Array:
        """Full vectors (..., P) of short ones (..., P_n); NaN where these are."""
        full, few = self.rotation.num_weights
        found = self.rotation.lift(short)
        shape = (*short.shape[:-1], self.rotation.width, -1)
        still = short[..., :few].reshape(shape) == self.short_start[:few].reshape(shape[-2:])
        rows = found[..., :full].reshape(shape)
        start = self.start[:full].reshape(shape[-2:])
        for at in np.argwhere(still.all(axis=-1)):
            rows[tuple(at)] = start[at[-1]]
        return found


def _room(above: tuple[int, ...], size: int) -> Array:
    """An empty array (..., size), or an error where it does not fit in memory."""
    needed = 8 * size * int(np.prod(above, dtype=float))
    available = shortage(needed) if needed > _LARGE else None
    if available is not None:
        raise TooLargeError(
            f"{int(np.prod(above))} points of {size} parameters take {needed / 2**30:.1f} GiB, "
            f"and {available / 2**30:.1f} GiB are available. Lift one at a time, e.g. "
            "result.trajectory.point(k)."
        )
    return np.empty((*above, size))
