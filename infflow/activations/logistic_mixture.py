r"""The logistic distribution as a mixture of normals.

If Z is standard normal and K has Kolmogorov's distribution, 2 K Z is logistic (Andrews and Mallows,
J. R. Stat. Soc. B 36, 1974), so that

    sigmoid(x) = E Phi(x/s) = int Phi(x/s) p(s) ds,        s = 2 K,

and softplus, its integral, is the same mixture of smoothed ramps. In log s the integrand decays
double-exponentially on both sides and is analytic in a strip, so that the trapezoidal rule
converges like exp(-pi^2/(2 spacing)): one fixed rule gives sigmoid, softplus and their derivatives
to rounding for small arguments, and to 1e-13 relative to exp(-|x|) for |x| <= 10.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .._validation import Array

#: Nodes per factor of 4 in s, so that the widths of sigmoid(4x) are among those of softplus(x),
#: except at the end.
_PER_FACTOR_4 = 13
# 32 nodes, which fill vector registers, with K from 0.18 (its density is exp(-37) there) to 4.95:
# more than the density alone asks for, exp(-2 K^2), since at x = -10 half of sigmoid(x) comes from
# K > 1.6.
_FIRST = -16
_LAST = 15
_ROOT_2_PI = float(np.sqrt(2.0 * np.pi))


@cache
def nodes() -> tuple[Array, Array]:
    """Widths and weights of ``sigmoid(x) = sum_k weights[k] Phi(x / widths[k])``, ascending."""
    power, rest = np.divmod(np.arange(_FIRST, _LAST + 1), _PER_FACTOR_4)
    k = 4.0 ** (rest / _PER_FACTOR_4) * 4.0**power  # the second factor is exact
    spacing = np.log(4.0) / _PER_FACTOR_4
    return 2.0 * k, spacing * k * kolmogorov_density(k)


def kolmogorov_density(k: Array) -> Array:
    """Density of Kolmogorov's distribution, by the one of its two theta series that
    converges fast.
    """
    k = np.asarray(k, dtype=np.float64)[..., None]
    j = np.arange(1.0, 9.0)
    large = 8.0 * (-1.0) ** (j - 1) * j**2 * k * np.exp(-2.0 * (j * k) ** 2)
    a = (2.0 * j - 1.0) ** 2 * np.pi**2 / 8.0
    small = np.sqrt(2.0 * np.pi) * np.exp(-a / k**2) * (2.0 * a / k**2 - 1.0) / k**2
    density: Array = np.where(k[..., 0] > 1.0, large.sum(-1), small.sum(-1))
    return density


# Errors of the derivatives 0 to 4 of sigmoid are below ``_ERRORS exp(-|x|) + _ALIASING``, for all
# x; measured with 45 digits. At x the integrand is a Gaussian in log s of variance 1/(4 |x|), which
# the rule samples at its fixed spacing: aliasing does not fall with |x| before |x| = 25, while
# sigmoid does.
_ERRORS = (1e-14, 1e-14, 1e-14, 2e-14, 1e-13)
_ALIASING = (4e-19, 4e-19, 4e-19, 8e-19, 4e-18)


def relative_error(order: int, mean: Array, deviation: Array, growth: Array | float = 1.0) -> Array:
    """Root mean square of the error of a derivative of sigmoid at N(mean, deviation^2), relative to
    that of exp(-|x|); aliasing is multiplied by ``growth``.
    """
    k = min(max(order, 0), 4)
    with np.errstate(over="ignore"):
        aliasing: Array = _ALIASING[k] * growth / np.exp(0.5 * _log_square(mean, deviation))
    return _ERRORS[k] + aliasing


def _log_square(mean: Array, deviation: Array) -> Array:
    """A lower bound of log E exp(-2 |x|) at N(mean, deviation^2).

    The side towards 0 alone: with z = |mean|/s it is ``exp(2 s^2 - 2 |mean|) Phi(z - 2 s)``, and
    Phi(-a) is at least the density times ``2/(a + sqrt(a^2 + 4))`` (Birnbaum).
    """
    m = np.abs(np.asarray(mean, dtype=np.float64))
    s = np.asarray(deviation, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(s > 0.0, m / s, np.inf)
        a = np.maximum(2.0 * s - z, 0.0)
        wide = -0.5 * z * z - np.log(_ROOT_2_PI) + np.log(2.0 / (a + np.hypot(a, 2.0)))
    half = np.where(s > 0.0, np.log(0.5), 0.0)
    found: Array = np.where(z < 2.0 * s, wide, 2.0 * s * s - 2.0 * m + half)
    return np.maximum(found, -1400.0)  # of which the root is a number
