"""The verdict on a point, from Newton's numbers, the spectrum and slopes that are left."""

from __future__ import annotations

import math

import numpy as np

from .._validation import Array
from ..rounding import gradient_rounding, loss_rounding
from .kantorovich import NewtonNumbers
from .point_kind import PointKind

#: rounding error of Hessians, relative to their norm
HESSIAN_NOISE = 1e-13
#: slopes up to so many rounding errors are zero
_SLOPE = 50.0


def is_level(
    value: float, gradient: Array, curvatures: Array, x: Array, directions: Array, allowance: float
) -> bool:
    """Whether the loss has no slope along orthonormal directions (n, k), but for rounding and an
    allowance.

    Rounding of the gradient, or slopes that change the loss by no more than its rounding over a
    distance as long as x.
    """
    reach = max(1.0, float(np.linalg.norm(x)))
    harmless = _SLOPE * loss_rounding(value, curvatures, x) / reach + allowance
    noise = _SLOPE * gradient_rounding(value, curvatures, x) @ np.abs(directions)
    return bool((np.abs(gradient @ directions) <= noise + harmless).all())


def verdict(
    newton: NewtonNumbers, index: int, unexplained: int, at_rest: bool, level: bool, flat: bool
) -> tuple[PointKind, str]:
    """Kind and reason.

    ``at_rest``: the gradient has no part in the unexplained directions without curvature;
    ``level``: nor in those of symmetries.
    """
    if unexplained and not (
        index and at_rest
    ):  # negative curvature decides, whatever the others do
        return PointKind.NOT_CONVERGED, (
            f"{unexplained} direction(s) have no curvature and no known symmetry explains them, "
            "so second derivatives "
            "cannot decide. Train longer or with Newton's method; if it stays so, look at the "
            "loss along them."
        )
    if not level:
        return PointKind.NOT_CONVERGED, (
            "The loss has a slope along directions that a symmetry would leave flat, e.g. "
            "neurons that are nearly but not quite equal "
            "move along a channel. Train longer."
        )
    if math.isinf(newton.beta):
        return PointKind.NOT_CONVERGED, (
            "Lanczos's method found no positive eigenvalue beside those that are zero or "
            "negative, so that how regular the "
            'Hessian is on the other directions is not known. Use method="dense" where matrices '
            "fit in memory."
        )
    if not newton.h <= 0.5:
        return PointKind.NOT_CONVERGED, (
            "The Newton-Kantorovich test fails: this may be a slow stretch of the path. Train "
            "longer "
            f"(Newton's method proposes a step of length {newton.length:.3g})."
        )
    if index:
        return PointKind.SADDLE, ""
    return (PointKind.DEGENERATE_MINIMUM if flat else PointKind.MINIMUM), ""
