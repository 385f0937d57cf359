"""What studies put beside a network: a saddle, and descent and balls with momentum."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .._validation import Array
from ..objective import Evaluation, HessianProducts, Objective


class WithProducts(Objective, HessianProducts, Protocol):
    """An objective that multiplies with its Hessian."""


class Saddle:
    """(x_2^2 - m x_1^2) / 2: the flow leaves along x_1 as exp(m t)."""

    num_params = 2

    def __init__(self, m: float) -> None:
        self.curvature = np.array([-m, 1.0])

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Value, gradient and Hessian."""
        gradient = self.curvature * theta
        value = 0.5 * float(theta @ gradient)
        return Evaluation(
            value, gradient if order >= 1 else None, np.diag(self.curvature) if order >= 2 else None
        )

    def hvp(self, theta: Array, v: Array) -> Array:
        """Hessian times ``v``."""
        return (self.curvature * v.T).T


def heavy_ball_flow(
    net: Objective, theta: Array, friction: float, times: Array, velocity: Array
) -> Array:
    """Solution ``(T, P)`` of theta'' + friction theta' = -grad L, by an explicit method of order 8
    at 1e-10.
    """
    from scipy.integrate import solve_ivp

    P = len(theta)

    def rhs(_: float, z: Array) -> Array:
        g: Any = net.evaluate(z[:P], 1).gradient
        return np.concatenate([z[P:], -g - friction * z[P:]])

    found = solve_ivp(
        rhs,
        (0.0, times[-1]),
        np.concatenate([theta, velocity]),
        "DOP853",
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    )
    path: Array = found.y[:P].T
    return path


def heavy_ball_descent(
    net: Objective,
    theta: Array,
    step: float,
    momentum: float,
    steps: int,
    previous: Array | None = None,
) -> Array:
    """Points ``(steps + 1, P)`` of descent with momentum: theta - step grad L + momentum (theta -
    its predecessor).

    ``previous`` is the predecessor of the start, by default the start itself (at rest). A path that
    diverges is NaN from there on.
    """
    path = np.empty((steps + 1, len(theta)))
    path[0] = theta
    previous = theta if previous is None else previous
    for k in range(steps):
        g: Any = net.evaluate(path[k], 1).gradient
        path[k + 1] = path[k] - step * g + momentum * (path[k] - previous)
        previous = path[k]
        if not np.isfinite(path[k + 1]).all():
            path[k + 1 :] = np.nan
            break
    return path
