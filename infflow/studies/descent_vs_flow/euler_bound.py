"""How far Euler's method (gradient descent) can be from the flow: the Fundamental Lemma, evaluated
along both.

The distance e between the Euler polygon y and the solution x of x' = g(x) satisfies

    e(t) <= integral_0^t delta(s) exp(integral_s^t mu) ds,

where delta(s) bounds the defect |y'(s) - g(y(s))| and mu(s) the logarithmic norm of the Jacobian of
g on the segment between x(s) and y(s) (Hairer, Norsett and Wanner, Solving Ordinary Differential
Equations I, theorem I.10.6). For g = -grad L the logarithmic norm is minus the smallest eigenvalue
of the Hessian, and the defect of a step of size eta is at most eta sup|H| |grad L|. Both suprema
are sampled here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array

_ON_SEGMENT = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


class Curvature(NamedTuple):
    """Input of the bounds, at the times of a trajectory; sampled on segments from the flow to
    descent.
    """

    lowest: Array  #: smallest eigenvalue of the Hessian on the flow itself, (T,)
    lowest_between: Array  #: smallest one on the segment, (T,)
    defect: Array  #: sup |H| sup |grad L| on the segment, the defect for a step size of one, (T,)


def sample_curvature(net: Any, flow: Array, descent: Array) -> Curvature:
    """Eigenvalues and norms at five points of each segment between two trajectories ``(T, P)``."""
    lowest, between, defect = np.empty((3, len(flow)))
    for k, (x, y) in enumerate(zip(flow, descent, strict=True)):
        values = []
        norms = []
        for part in _ON_SEGMENT:
            _, g, H = net.evaluate(x + part * (y - x), 2)
            values.append(np.linalg.eigvalsh(H))
            norms.append(np.linalg.norm(g))
        lowest[k] = values[0][0]
        between[k] = min(v[0] for v in values)
        defect[k] = max(np.abs(v).max() for v in values) * max(norms)
    return Curvature(lowest, between, defect)


def cumulative(t: Array, y: Array) -> Array:
    """Integral of ``y`` from t[0] to every t, by the trapezoidal rule, ``(T,)``."""
    return np.concatenate([[0.0], np.cumsum(0.5 * np.diff(t) * (y[1:] + y[:-1]))])


def fundamental_bound(t: Array, defect: Array, lowest: Array) -> Array:
    """integral_0^t defect(s) exp(-integral_s^t lowest) ds at all times ``(T,)``; times the step
    size it bounds the distance.
    """
    exponent = cumulative(t, lowest)
    found = np.zeros(len(t))
    for k in range(1, len(t)):
        found[k] = np.trapezoid(
            defect[: k + 1] * np.exp(exponent[: k + 1] - exponent[k]), t[: k + 1]
        )
    return found


def theorem1_factor(t: Array, lowest: Array) -> Array:
    """exp(-integral of the negative part of ``lowest``) t, which times the step size and a constant
    bounds the distance (theorem 1 of the post).
    """
    return np.exp(-cumulative(t, np.minimum(lowest, 0.0))) * t
