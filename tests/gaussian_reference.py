"""Reference values of Gaussian integrals by quadrature that knows nothing of closed forms.

``E[f^(p)(h1) g^(q)(h2)]`` is computed from f and g alone: the derivatives are moved onto the
density by parts, and composite Gauss-Legendre panels end at the kinks. Used by several test
modules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

STD_NORMAL_RANGE = 12.0  # the density beyond is 2e-32

#: value and kinks, written independently of infflow.activations
ACTIVATIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], tuple[float, ...]]] = {
    "identity": (lambda x: x, ()),
    "relu": (lambda x: np.maximum(x, 0.0), (0.0,)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), (0.0,)),
    "abs": (np.abs, (0.0,)),
    "sign": (np.sign, (0.0,)),
    "step": (lambda x: (x > 0) * 1.0, (0.0,)),
    "erf": (lambda x: special.erf(x / np.sqrt(2)), ()),
    "normal_cdf": (special.ndtr, ()),
    "gelu": (lambda x: x * special.ndtr(x), ()),
    "gaussian": (lambda x: np.exp(-(x**2) / 2), ()),
    "square": (lambda x: x**2 / 2, ()),
    "cube": (lambda x: x**3, ()),
}

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def _panels(breaks: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal nodes and weights, shape (..., nodes), on ``count`` panels between sorted
    ``breaks`` (..., m).
    """
    fractions = np.linspace(0, 1, count + 1)
    edges = breaks[..., :-1, None] + np.diff(breaks, axis=-1)[..., None] * fractions
    middle = (edges[..., 1:] + edges[..., :-1]) / 2
    half = np.diff(edges, axis=-1) / 2
    x = middle[..., None] + half[..., None] * _NODES
    w = half[..., None] * _WEIGHTS * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    shape = (*breaks.shape[:-1], -1)
    return x.reshape(shape), w.reshape(shape)


def score_polynomial(
    p: int, q: int, y1: np.ndarray, y2: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    """``(-1)^(p+q) (d1^p d2^q density) / density`` with ``y = precision (h - b)``."""
    if p < 0 or q < 0:
        return np.zeros_like(y1)
    if p == q == 0:
        return np.ones_like(y1)
    if p == 0:
        return score_polynomial(q, 0, y2, y1, precision[::-1, ::-1])
    lower = score_polynomial(p - 1, q, y1, y2, precision)
    lower2 = score_polynomial(p - 2, q, y1, y2, precision)
    cross = score_polynomial(p - 1, q - 1, y1, y2, precision)
    return y1 * lower - (p - 1) * precision[0, 0] * lower2 - q * precision[0, 1] * cross


def _nodes(
    f: str, g: str, cov: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes h1, h2 and the weights of ``E[f(h1) g(h2) ...]``, which include f and g; non-degenerate
    covariance.
    """
    fun1, kinks1 = ACTIVATIONS[f]
    fun2, kinks2 = ACTIVATIONS[g]
    s1 = np.sqrt(cov[0, 0])
    slope = cov[0, 1] / s1
    s2 = np.sqrt(np.linalg.det(cov)) / s1
    ends = [-STD_NORMAL_RANGE, STD_NORMAL_RANGE]
    # where the second activation's kink crosses, the inner integral varies fastest: outer panels
    # are fine enough
    x, wx = _panels(
        np.sort(np.array(ends + [(k - mean[0]) / s1 for k in kinks1])), 8 if kinks1 else 16
    )
    kinks = [np.clip((k - mean[1] - slope * x) / s2, *ends) for k in kinks2]
    z, wz = _panels(
        np.sort(np.stack([np.full_like(x, ends[0]), *kinks, np.full_like(x, ends[1])], -1)),
        4 if kinks2 else 8,
    )
    h1 = mean[0] + s1 * x[:, None] + 0 * z
    h2 = mean[1] + slope * x[:, None] + s2 * z
    return h1, h2, wx[:, None] * wz * fun1(h1) * fun2(h2)


def pair_moments(
    f: str, g: str, cov: np.ndarray, mean: np.ndarray, orders: Sequence[tuple[int, int]]
) -> list[tuple[float, float]]:
    """``E[f^(p)(h1) g^(q)(h2)]`` for each (p, q), derivatives with respect to the means; and the
    sum of absolute terms.
    """
    h1, h2, weights = _nodes(f, g, cov, mean)
    precision = np.linalg.inv(cov)
    y1, y2 = np.tensordot(precision, np.stack([h1 - mean[0], h2 - mean[1]]), 1)
    terms = (weights * score_polynomial(p, q, y1, y2, precision) for p, q in orders)
    return [(float(np.sum(term)), float(np.sum(np.abs(term)))) for term in terms]


def pair_moment(
    f: str, g: str, cov: np.ndarray, mean: np.ndarray, orders: tuple[int, int] = (0, 0)
) -> float:
    """One of :func:`pair_moments`."""
    return pair_moments(f, g, cov, mean, [orders])[0][0]


def single_moment(f: str, variance: float, mean: float, order: int = 0) -> float:
    """``E f^(p)(h)``."""
    fun, kinks = ACTIVATIONS[f]
    s = np.sqrt(variance)
    ends = [-STD_NORMAL_RANGE, STD_NORMAL_RANGE]
    x, w = _panels(np.sort(np.array(ends + [(k - mean) / s for k in kinks])), 24)
    return float(np.sum(w * fun(mean + s * x) * special.eval_hermitenorm(order, x)) / s**order)


def order_parameter_integral(f: str, g: str, cov: np.ndarray, mean: np.ndarray) -> float:
    """``E[f'(h1) h2 g(h3)]``: h2 by its conditional mean given (h1, h3), f' by parts."""
    outer = np.ix_([0, 2], [0, 2])
    precision = np.linalg.inv(cov[outer])
    slopes = precision @ cov[[0, 2], 1]

    h1, h3, weights = _nodes(f, g, cov[outer], mean[[0, 2]])
    d1, d3 = h1 - mean[0], h3 - mean[2]
    h2 = mean[1] + slopes[0] * d1 + slopes[1] * d3
    return float(np.sum(weights * (h2 * (precision[0, 0] * d1 + precision[0, 1] * d3) - slopes[0])))


def degenerate_pair(
    f: str, g: str, scales: Sequence[float], sign: float, mean: Sequence[float]
) -> float:
    """``E[f(r1 x + b1) g(sign r2 x + b2)]``: fully correlated arguments."""
    fun1, kinks1 = ACTIVATIONS[f]
    fun2, kinks2 = ACTIVATIONS[g]
    crossings = [(k - mean[0]) / scales[0] for k in kinks1] + [
        sign * (k - mean[1]) / scales[1] for k in kinks2
    ]
    ends = [-STD_NORMAL_RANGE, STD_NORMAL_RANGE]
    x, w = _panels(np.sort(np.array(ends + crossings)), 24)
    return float(np.sum(w * fun1(mean[0] + scales[0] * x) * fun2(mean[1] + sign * scales[1] * x)))
