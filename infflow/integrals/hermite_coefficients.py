"""Hermite coefficients of activations: ``hermite_coefficients``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .._validation import Array, as_integer, as_number, public
from ..activations import Activation, resolve
from ..errors import InvalidValueError
from .cubature.distributions import derivatives, places, reach
from .cubature.panels import Index, density, integrate, panels_between
from .neuron_means import is_elementary

#: Highest coefficient: a table of Hermite functions on all nodes has to fit in memory.
MAX_COEFFICIENT = 2000
_ROOT = math.sqrt(2.0 * math.pi)
_TOLERANCE = 1e-14


@public
def hermite_coefficients(f: str | Activation, n: int, r: float = 1.0, b: float = 0.0) -> Array:
    r"""Coefficients of :math:`f(r x + b)` in orthonormal Hermite polynomials of a standard normal
    x.

    :math:`\E[f(r x + b) \He_k(x)] / \sqrt{k!}` for :math:`k = 0 \dots n`, with probabilists'
    polynomials, so that their squares add up to :math:`\E f(r x + b)^2`.

    Parameters
    ----------
    f : str or Activation
    n : int
        The last coefficient, at most 2000.
    r : float
        Standard deviation of the argument, not negative.
    b : float
        Its mean.

    Returns
    -------
    ndarray (n + 1,)
        To rounding relative to :math:`\sqrt{\E f^2}` where f is made of polynomials, smoothed ramps
        or waves (sigmoid and its relatives: 1e-13); else by adaptive quadrature to 1e-14.

    Raises
    ------
    InvalidTypeError, InvalidValueError, UnknownNameError
        If an argument cannot be used, or f grows so fast that :math:`\E f^2` is infinite.

    See Also
    --------
    information_exponent : the first that is not zero.
    gaussian_mean : the coefficient of order 0.

    Examples
    --------
    >>> hermite_coefficients("relu", 2).round(4)
    array([0.3989, 0.5   , 0.2821])
    """
    activation = resolve(f)
    n = as_integer("n", n, minimum=0, maximum=MAX_COEFFICIENT)
    r = as_number("r", r, minimum=0.0)
    b = as_number("b", b)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if is_elementary(activation):
            found = _elementary(activation, n, r, b)
        else:
            found = _by_quadrature(activation, n, r, b)
    if not np.isfinite(found).all():
        raise InvalidValueError(
            f"the Hermite coefficients of {activation.name} leave the range of float64 at r = "
            f"{r:g}, b = {b:g}; use smaller arguments."
        )
    return found


def _elementary(f: Activation, n: int, r: float, b: float) -> Array:
    """Closed forms: coefficient k is r^k / sqrt(k!) times the mean of the derivative k."""
    out = np.zeros(n + 1)
    k = np.arange(n + 1, dtype=np.int64)
    c = np.asarray(f.polynomial, dtype=float)
    root_factorials = np.concatenate([[1.0], np.sqrt(np.cumprod(np.arange(1.0, max(len(c), 1))))])
    for degree in range(min(len(c), n + 1)):
        out[degree] += r**degree / root_factorials[degree] * _mean_of_polynomial(c, r, b)
        c = np.polynomial.polynomial.polyder(c)
    for wave in f.waves:
        factor = wave.weight * np.exp(wave.rate * b + 0.5 * wave.rate**2 * r * r)
        steps = np.concatenate([[1.0], wave.rate * r / np.sqrt(np.arange(1.0, n + 1))])
        out += (factor * np.cumprod(steps)).real
    for atom in f.atoms:
        out += atom.weight * _of_ramp(atom.order, r * r + atom.width**2, r, b, k)
    return out


def _mean_of_polynomial(c: Array, r: float, b: float) -> float:
    """E p(r x + b), by E h^m = b E h^(m-1) + (m - 1) r^2 E h^(m-2)."""
    total = 0.0
    before = 0.0
    power = 1.0
    for m, coefficient in enumerate(c):
        total += float(coefficient) * power
        before, power = power, b * power + m * r * r * before
    return total


def _of_ramp(order: int, v: float, r: float, b: float, k: NDArray[np.int64]) -> Array:
    """Coefficients of the derivative ``order`` of a ramp that is smoothed to the variance v."""
    if v == 0.0:  # a kink without noise: only the mean is not 0
        out = np.zeros(len(k))
        out[0] = (max(b, 0.0), float(b > 0.0), 0.0)[order]
        return out
    s = math.sqrt(v)
    t = b / s
    phi = math.exp(-0.5 * t * t) / _ROOT
    # e_j = (-1)^j He_j(t) phi(t) / sqrt(j!), scaled such that nothing overflows
    e = np.empty(len(k) + order)
    e[0] = phi
    if len(e) > 1:
        e[1] = -t * phi
    for j in range(1, len(e) - 1):
        e[j + 1] = (-t * e[j] - math.sqrt(j) * e[j - 1]) / math.sqrt(j + 1)
    # derivatives of the density, over sqrt(k!) instead of the root of their own factorial
    below = k + order - 2
    with np.errstate(divide="ignore"):
        ratio = (1.0 / np.sqrt(k * (k - 1.0)), 1.0 / np.sqrt(k), np.ones(len(k)))[order]
    inside = below >= 0
    out = np.zeros(len(k))
    out[inside] = e[below[inside]] * ratio[inside] * (r / s) ** k[inside] * s ** (1.0 - order)
    if order <= 1:  # the mean, and for ramps that of the step, times r
        cdf = float(ndtr(t))
        first = [b * cdf + s * phi, r * cdf] if order == 0 else [cdf]
        out[: len(first)] = first[: len(k)]
    return out


def _by_quadrature(f: Activation, n: int, r: float, b: float) -> Array:
    """Adaptive quadrature between kinks."""
    if r == 0.0:
        out = np.zeros(n + 1)
        out[0] = float(f(b))
        return out
    R = max(reach(f, np.array([r]), np.array([b]), 0, _TOLERANCE), 2.0 * math.sqrt(n) + 6.0)
    parts = 8 + 2 * int(math.sqrt(n))
    breaks = np.clip((places(f, r) - b) / r, -R, R)
    breaks = np.unique(np.concatenate([breaks, np.linspace(-R, R, parts + 1)]))

    def values(x: Array, row: Index) -> Array:
        root = np.sqrt(density(x))
        F = derivatives(f, b + r * x, 0)[0] * root
        return F[:, None] * _hermite_functions(x, n + 1, root)

    def square(x: Array, row: Index) -> Array:
        return (derivatives(f, b + r * x, 0)[0] ** 2 * density(x))[:, None]

    panels = panels_between(breaks[None])
    energy = integrate(square, panels, 1, np.array([np.inf]), max_work=0).value[0, 0]
    tolerance = np.full(n + 1, _TOLERANCE * math.sqrt(max(float(energy), 1e-300)))
    return integrate(values, panels, 1, tolerance).value[0]


def _hermite_functions(x: Array, count: int, root: Array) -> Array:
    """``He_k(x) / sqrt(k!)`` times ``root``, the root of the density; (n, count)."""
    out = np.empty((len(x), count))
    out[:, 0] = root
    if count > 1:
        out[:, 1] = x * root
    for k in range(1, count - 1):
        out[:, k + 1] = (x * out[:, k] - math.sqrt(k) * out[:, k - 1]) / math.sqrt(k + 1)
    return out
