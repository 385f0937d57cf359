"""Search for critical points of any index: high-index saddle dynamics, then damped Newton steps on
the gradient.

Minimisers cannot find saddles. Here a point first moves uphill along the k lowest eigenvectors of
the Hessian and downhill along the others (Yin, Zhang and Zhang, SIAM J. Sci. Comput. 41, A3576,
2019), which converges to saddles of index k; then Newton's method for grad L = 0 with
Levenberg-Marquardt damping converges quadratically to a critical point, whatever its index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._validation import Array
from ..errors import SingularMomentError

# Rounding noise of gradients is 1e-16 to 1e-15 of terms of order one.
_CONVERGED = 1e-13
# An eigenvalue below this fraction of the largest has no sign.
_FLAT = 1e-7


@dataclass(frozen=True, eq=False)
class SearchEnd:
    """Where a search ended."""

    theta: Array
    loss: float
    gradient_norm: float  #: infinity norm
    index: int  #: eigenvalues of the Hessian that are clearly negative
    converged: bool  #: whether the gradient is zero to rounding


def find_critical_point(
    net: Any, theta: Array, index: int, walk: int = 60, steps: int = 300
) -> SearchEnd:
    """Search a critical point from ``theta`` (P,), preferably one of the given index.

    Parameters
    ----------
    net : Net or NetI
    theta : (P,) array
    index : int
        Of the saddle dynamics; a negative one leaves it out, and the nearest critical point of any
        index attracts.
    walk, steps : int
        Steps of the saddle dynamics and of Newton's method.
    """
    if index >= 0:
        theta = _saddle_dynamics(net, theta, index, walk)
    theta, value, g, H = _newton_root(net, theta, steps)
    norm = float(np.abs(g).max())
    return SearchEnd(
        theta, value, norm, morse_index(H), norm <= _CONVERGED * (1.0 + float(np.abs(H).max()))
    )


def morse_index(hessian: Array) -> int:
    """Number of eigenvalues that are clearly negative."""
    values = np.linalg.eigvalsh(hessian)
    return int((values < -_FLAT * np.abs(values).max()).sum())


def _evaluate(net: Any, theta: Array) -> tuple[float, Array, Array]:
    value, g, H = net.evaluate(theta, 2)
    return value, g, H


def _saddle_dynamics(net: Any, theta: Array, index: int, walk: int) -> Array:
    """Newton-like steps with the signs of a saddle of the given index, at most a tenth of |theta|
    long.
    """
    for _ in range(walk):
        try:
            _, g, H = _evaluate(net, theta)
        except SingularMomentError:
            return theta
        values, vectors = np.linalg.eigh(H)
        c = vectors.T @ g
        signs = np.where(np.arange(len(c)) < index, 1.0, -1.0)
        step = vectors @ (signs * c / np.maximum(np.abs(values), 1e-3 * np.abs(values).max()))
        longest = 0.1 * (0.1 + float(np.linalg.norm(theta)))
        length = float(np.linalg.norm(step))
        theta = theta + step * min(1.0, longest / max(length, 1e-300))
        if length < 1e-3 * longest:
            break
    return theta


def _newton_root(net: Any, theta: Array, steps: int) -> tuple[Array, float, Array, Array]:
    """Levenberg-Marquardt for grad L = 0: the Jacobian of the gradient is the Hessian."""
    value, g, H = _evaluate(net, theta)
    damping = 1e-2
    for _ in range(steps):
        values, vectors = np.linalg.eigh(H)
        c = vectors.T @ g
        size = float(g @ g)
        while True:
            # damped by a multiple of |g|, so that convergence is quadratic along directions with
            # curvature, flat ones or not
            step = vectors @ (values * c / (values**2 + damping * np.sqrt(size) + 1e-300))
            try:
                trial = _evaluate(net, theta - step)
                better = float(trial[1] @ trial[1]) < size
            except SingularMomentError:
                better = False
            if better:
                break
            damping *= 4.0
            if damping > 1e10:
                return theta, value, g, H
        theta = theta - step
        value, g, H = trial
        damping = max(damping / 5.0, 1e-12)
    return theta, value, g, H
