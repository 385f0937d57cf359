"""Depth of random wide networks: what becomes of variances and correlations, layer after layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._validation import as_number, public
from ..activations import Activation, resolve
from ..errors import InvalidValueError, SingularMomentError
from ..integrals.moments import gaussian_moment
from .kernels import LARGEST_STD

__all__ = ["MeanField", "mean_field"]

#: Variances outside of this range count as zero and as infinite.
_SMALLEST = 1e-60
_LARGEST = 1e60
#: Factor between variances where the map is looked at on the way to its next fixed point.
_STRIDE = 1.1
#: Correlations at which the map is looked at on the way down from one.
_CORRELATIONS = 65
#: Correlations this close to one are not told from it.
_APART = 1e-12


class MeanField(NamedTuple):
    r"""Fixed points of the maps of variance and correlation through a hidden layer.

    Attributes
    ----------
    variance : float
        :math:`q_*`, where :math:`q = \sigma_w^2\, \E f(\sqrt q\, z)^2 + \sigma_b^2` with
        ``weight_std`` and ``bias_std``: 0 or infinite where variances vanish or grow without end.
    correlation : float
        :math:`c_*`, the stable fixed point of the correlation of two inputs of variance
        :math:`q_*`.
    chi : float
        :math:`\sigma_w^2\, \E f'(\sqrt{q_*}\, z)^2`, the slope of the map of correlations at 1 and
        the mean growth of squared gradients. Below 1 is order, above 1 chaos.
    variance_depth, correlation_depth : float
        Layers over which distances from :math:`q_*` and :math:`c_*` fall by :math:`e`: -1 / log of
        the slope of the map. Infinite at slope 1.
    """

    variance: float
    correlation: float
    chi: float
    variance_depth: float
    correlation_depth: float


@public
def mean_field(
    activation: str | Activation,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    start: float = 1.0,
) -> MeanField:
    """Fixed points and depth scales of random networks of infinite width.

    Parameters
    ----------
    activation : str or Activation
    weight_std, bias_std : float
        Standard deviations, as in :func:`infflow.nngp_kernel`.
    start : float
        Variance of the pre-activations of the first layer, from which q* is approached.

    Returns
    -------
    MeanField

    Raises
    ------
    InvalidValueError
        If a standard deviation is negative, or ``weight_std`` or ``start`` zero.

    See Also
    --------
    nngp_kernel : the covariances themselves.

    References
    ----------
    Schoenholz et al., Deep information propagation, ICLR 2017, arXiv:1611.01232.

    Examples
    --------
    >>> found = mean_field("tanh", 1.5, 0.2)
    >>> round(found.variance, 6), found.chi > 1
    (0.870899, True)
    """
    f = resolve(activation)
    weight = as_number("weight_std", weight_std, minimum=0.0, maximum=LARGEST_STD) ** 2
    bias = as_number("bias_std", bias_std, minimum=0.0, maximum=LARGEST_STD) ** 2
    q = as_number("start", start, minimum=0.0, maximum=_LARGEST)
    if weight == 0.0 or q == 0.0:
        name = "weight_std" if weight == 0.0 else "start"
        raise InvalidValueError(f"{name} is 0; it must be positive.")
    q = _next_fixed_point(lambda v: weight * _moment(f, v, 1.0, (0, 0)) + bias, q)
    if not _SMALLEST < q < _LARGEST:
        return MeanField(q, 1.0, *_at_the_end(f, q, weight))
    try:
        chi = weight * _moment(f, q, 1.0, (1, 1))
    except SingularMomentError:  # a jump: any two inputs drift apart
        chi = math.inf
    c = _correlation(f, q, weight, bias, chi)
    slope = weight * _slope_of_variance(f, q)
    chi_c = chi if c == 1.0 else weight * _moment(f, q, c, (1, 1))
    return MeanField(q, c, chi, _depth(slope), _depth(chi_c))


def _moment(f: Activation, q: float, c: float, orders: tuple[int, int]) -> float:
    r = math.sqrt(q)
    found: float = gaussian_moment(f, f, r, r, c, orders=orders)
    return found


def _next_fixed_point(step: Callable[[float], float], q: float) -> float:
    """The fixed point that repeated steps from q come to: the next one in their direction, since
    the map of variances rises.
    """
    from scipy.optimize import brentq

    direction = step(q) - q
    if abs(direction) <= 1e-14 * q:
        return q
    factor = _STRIDE if direction > 0 else 1.0 / _STRIDE
    while _SMALLEST < q < _LARGEST:
        further = q * factor
        if (step(further) - further) * direction <= 0.0:
            low, high = sorted((q, further))
            found: float = brentq(lambda v: step(v) - v, low, high, xtol=1e-300, rtol=1e-14)
            return found
        q = further
    return 0.0 if direction < 0 else math.inf


def _at_the_end(f: Activation, q: float, weight: float) -> tuple[float, float, float]:
    """Growth and depths where the variance vanishes or grows without end."""
    edge = _SMALLEST if q == 0.0 else _LARGEST
    chi = weight * _moment(f, edge, 1.0, (1, 1))
    return chi, _depth(chi if q == 0.0 else 1.0 / chi), _depth(chi)


def _correlation(f: Activation, q: float, weight: float, bias: float, chi: float) -> float:
    """The stable fixed point: 1 in order, the one below in chaos."""
    from scipy.optimize import brentq

    if chi <= 1.0:
        return 1.0

    def drift(c: float) -> float:
        return (weight * _moment(f, q, c, (0, 0)) + bias) / q - c

    high = 1.0 - _APART
    if drift(high) >= 0.0:  # at the edge of chaos, below rounding
        return 1.0
    for low in np.linspace(high, -1.0, _CORRELATIONS).tolist()[1:]:
        if drift(low) >= 0.0:
            found: float = brentq(drift, low, high, xtol=1e-15)
            return found
        high = low
    return -1.0


def _slope_of_variance(f: Activation, q: float) -> float:
    """The slope d E f(sqrt(q) z)^2 / dq = E f'^2 + E f f'', from a central difference in log q.

    (Both terms are infinite for jumps, where their sum is not.)
    """
    step = 1e-4
    up = _moment(f, q * math.exp(step), 1.0, (0, 0))
    down = _moment(f, q * math.exp(-step), 1.0, (0, 0))
    return (up - down) / (2.0 * step * q)


def _depth(slope: float) -> float:
    """-1 / log(slope); infinite from slope 1 on."""
    if slope >= 1.0 - 1e-9:
        return math.inf
    return 0.0 if slope <= 0.0 else -1.0 / math.log(slope)
