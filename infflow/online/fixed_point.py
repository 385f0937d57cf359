"""Fixed points of the equations of order parameters, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import SingularMomentError
from .equations.right_hand_side import Equations
from .state import OrderState

#: Newton steps, and halvings of one
_STEPS = 100
_HALVINGS = 30
#: a right-hand side below this, relative to what its terms can be, and a step below this, relative
#: to the state, are zero
_RESIDUAL = 1e-12
_STEP = 1e-7
#: singular values below this, relative to the largest, take no part in a step
_SINGULAR = 1e-13
#: by how much, relative to its trace, a covariance may miss semidefiniteness
_OUTSIDE = 1e-8


@dataclass(frozen=True, eq=False)
class OnlineFixedPoint:
    """What :meth:`OrderParameters.fixed_point` found.

    Attributes
    ----------
    state : OrderState
        Q, R and v.
    converged : bool
        Whether Newton's method ended at a fixed point that weights can have.
    residual : float
        Largest time derivative of an order parameter there.
    eigenvalues : (n,) complex array
        Of the Jacobian over the order parameters that move (not of a layer with rate 0), by falling
        real part. They are rates of stability at a fixed point only.
    steps : int
        Newton steps.
    note : str
        Why it did not converge, or empty.
    """

    state: OrderState
    converged: bool
    residual: float
    eigenvalues: NDArray[np.complex128]
    steps: int
    note: str

    @property
    def unstable(self) -> int:
        """Number of eigenvalues with a positive real part; learning leaves a fixed point along
        their directions. It says nothing where the point is none (``converged``).
        """
        return int((self.eigenvalues.real > 0.0).sum())

    def __repr__(self) -> str:
        found = "fixed point" if self.converged else "not converged"
        text = (
            f"OnlineFixedPoint: {found}, largest derivative {self.residual:.2g}, {self.steps} steps"
        )
        if self.converged and len(self.eigenvalues):
            text += (
                f"; {self.unstable} of {len(self.eigenvalues)} directions unstable, fastest at "
                f"{self.eigenvalues[0].real:.4g}"
            )
        return text + (f"\n  {self.note}" if self.note else "")


def find_fixed_point(equations: Equations, z: Array) -> OnlineFixedPoint:
    """Newton's method with halved steps from the variables ``z`` (n,); layers with rate 0 stay as
    they are.
    """
    moving = _moving(equations)
    f = equations.value(z)[moving]
    steps = 0
    length = np.inf
    while steps < _STEPS:
        J = equations.jacobian(z)[np.ix_(moving, moving)]
        step: Array = np.asarray(np.linalg.lstsq(J, -f, rcond=_SINGULAR)[0], dtype=np.float64)
        length = float(np.linalg.norm(step))
        found = _shortened(equations, z, f, step, moving)
        if found is None:  # rounding, or the end of the way
            break
        z, f = found
        steps += 1
    J = equations.jacobian(z)[np.ix_(moving, moving)]
    eigenvalues = np.linalg.eigvals(J).astype(np.complex128)
    eigenvalues = eigenvalues[np.argsort(-eigenvalues.real, kind="stable")]
    residual = float(np.abs(f).max())
    size = 1.0 + float(np.linalg.norm(z))
    at_rest = residual <= _RESIDUAL * size * float(np.linalg.norm(J, 2)) and length <= _STEP * size
    inside = _is_covariance(equations, equations.coordinates.grouped(z))
    state = equations.coordinates.unpack(z)
    note = (
        ""
        if at_rest
        else (
            "Newton's method stopped before a fixed point; start nearer, e.g. from a point of "
            "solve."
        )
    )
    if not inside:
        note = (
            "No weights have the overlaps that were found: the covariance of all "
            "pre-activations has a negative eigenvalue."
        )
    return OnlineFixedPoint(state, at_rest and inside, residual, eigenvalues, steps, note)


def _moving(equations: Equations) -> NDArray[np.intp]:
    """Indices of the variables that can move."""
    where = equations.coordinates
    rates = equations.rates
    w = rates.w > 0.0
    q = w[where.q[0]] | w[where.q[1]]
    if equations.model.sphere and where.G == 1:  # lengths are kept
        q &= where.q[0] != where.q[1]
    first = np.tile(np.concatenate([q, np.repeat(w, where.M)]), where.G)
    return np.flatnonzero(np.concatenate([first, np.tile(rates.v > 0.0, where.O)]))


def _shortened(
    equations: Equations, z: Array, f: Array, step: Array, moving: NDArray[np.intp]
) -> tuple[Array, Array] | None:
    """The point after the longest part of the step that lessens the right-hand side, and that; None
    if no part does.
    """
    size = float(np.linalg.norm(f))
    part = 1.0
    for _ in range(_HALVINGS):
        there = z.copy()
        there[moving] += part * step
        try:
            found = equations.value(there)[moving]
        except (SingularMomentError, FloatingPointError):
            found = np.full_like(f, np.nan)
        if np.linalg.norm(found) < (1.0 - 1e-4 * part) * size:  # not so where it is NaN
            return there, found
        part /= 2.0
    return None


def _is_covariance(equations: Equations, state: OrderState) -> bool:
    X = equations.gram(state)
    size = np.abs(np.einsum("gii", X)).sum()
    return bool(np.linalg.eigvalsh(X).min() >= -_OUTSIDE * size)
