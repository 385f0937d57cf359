"""The closed part of a surrogate: a few smoothed ramps or steps that are close to the activation,
and its exact mean or slope.
"""

from __future__ import annotations

import numpy as np

from ..._validation import Array
from ...activations import Activation
from ...integrals.moments import gaussian_mean
from ...integrals.surrogate.form import PARITIES, Part

#: Most smoothed ramps or steps of a base. One that errs by more than :data:`COARSE` with these gets
#: more, until it errs by :data:`FINE`: functions with slow tails, such as arctan, have more scales
#: than a perceptron learns.
MAX_TERMS = 4
MOST_TERMS = 8
COARSE = 1e-3
FINE = 3e-5
#: Range of the standard deviations r; what a card states.
SMALLEST_R = 1e-6
LARGEST_R = 10.0
_EXACT = 1e-12  # a part that its base meets this closely needs no perceptron
_DEGREE = 80
# on the weights, relative: two ramps of nearly equal widths with large opposite weights would lose
# digits
_RIDGE = 1e-5
_ROW_WEIGHTS = (1.0, 1.0, 0.3)  # value, slope and curvature


def parity_parts(f: Activation, x: Array, orders: int = 3) -> dict[str, Array]:
    """Derivatives ``(orders, n)`` at x > 0 of the even and the odd part of f."""
    right = np.empty((orders, len(x)))
    left = np.empty((orders, len(x)))
    f.jet(np.ascontiguousarray(x), right)
    f.jet(np.ascontiguousarray(-x), left)
    left *= (-1.0) ** np.arange(orders)[:, None]
    return {"even": 0.5 * (right + left), "odd": 0.5 * (right - left)}


def grows_at_most_linearly(f: Activation) -> bool:
    """Whether |f| about doubles at most from 40 to 80, both beyond what r up to 10 sees much of."""
    values = np.empty((1, 4))
    with np.errstate(over="ignore", invalid="ignore"):
        f.jet(4.0 * LARGEST_R * np.array([-2.0, -1.0, 1.0, 2.0]), values)
    far = np.abs(values[0, [0, 3]]).max()
    near = np.abs(values[0, 1:3]).max()
    return bool(np.isfinite(far) and far <= 2.5 * max(near, 1.0))


def unit(parity: int, x: Array, width: float) -> Array:
    """Value and two derivatives ``(3, n)`` of |x|/2 (parity 0) or of the unit step minus 1/2
    (parity 1) after smoothing.
    """
    from scipy.special import erf

    t = x / width
    density = np.exp(-0.5 * t * t) / np.sqrt(2.0 * np.pi)
    step = 0.5 * erf(t / np.sqrt(2.0))
    if parity:
        return np.stack([step, density / width, -t * density / width**2])
    return np.stack([x * step + width * density, step, density / width])


def _grid() -> tuple[Array, Array]:
    """Points x > 0 and roots of their weights: the mean of normal densities of standard deviations
    0.1 to 2 LARGEST_R.
    """
    x = np.concatenate(
        [np.linspace(0.0, 6.0, 601)[1:], np.geomspace(6.0, 4.0 * LARGEST_R, 201)[1:]]
    )
    r = np.geomspace(0.1, 2.0 * LARGEST_R, 24)[:, None]
    density = (np.exp(-0.5 * (x / r) ** 2) / r).mean(axis=0)
    return x, np.sqrt(density * np.gradient(x))


def fit_base(f: Activation, parity_name: str) -> Part:
    """The closed part for one parity of an activation: widths, weights and polynomial by least
    squares on value, slope and curvature.

    The smallest number of terms that meets the part to rounding, at most :data:`MAX_TERMS`, or
    :data:`MOST_TERMS`.
    """
    from scipy.optimize import least_squares

    parity = PARITIES[parity_name]
    x, roots = _grid()
    rows = roots * np.array(_ROW_WEIGHTS)[:, None]
    target = parity_parts(f, x)[parity_name] * rows
    ridge = _RIDGE * float(np.linalg.norm(target))
    polynomial = np.zeros((3, len(x)))
    polynomial[:2] = [x, np.ones_like(x)] if parity else [np.ones_like(x), np.zeros_like(x)]

    def solve(log_widths: Array) -> tuple[Array, Array]:
        columns = [polynomial, *(unit(parity, x, float(w)) for w in np.exp(log_widths))]
        matrix = np.stack([(c * rows).ravel() for c in columns], axis=1)
        penalty = (
            ridge * np.eye(len(columns))[1:] if len(columns) > 2 else np.empty((0, len(columns)))
        )
        matrix = np.vstack([matrix, penalty])
        right = np.append(target.ravel(), np.zeros(len(penalty)))
        found = np.linalg.lstsq(matrix, right, rcond=1e-14)[0]
        return found, matrix @ found - right

    size = max(float(np.linalg.norm(target)), 1e-300)
    best = (np.empty(0), solve(np.empty(0))[0])
    best_error = float(np.linalg.norm(solve(np.empty(0))[1])) / size
    for terms in range(1, MOST_TERMS + 1):
        enough = _EXACT if terms <= MAX_TERMS else COARSE if terms == MAX_TERMS + 1 else FINE
        if best_error <= enough:
            break
        for scale in (0.25, 0.5, 1.0, 2.0):
            start = np.log(scale) + 0.6 * (np.arange(terms) - 0.5 * (terms - 1))
            fit = least_squares(
                lambda w: solve(w)[1], start, bounds=(np.log(0.02), np.log(50.0)), xtol=1e-10
            )
            error = float(np.linalg.norm(fit.fun)) / size
            if error < 0.5 * best_error or (error < best_error and terms == len(best[0])):
                best = (fit.x, solve(fit.x)[0])
                best_error = error
    order = np.argsort(best[0])
    widths = np.exp(best[0])[order]
    weights = best[1][1:][order]
    return Part(parity, widths, weights, float(best[1][0]))


def exact_series(f: Activation, part: Part) -> tuple[Array, float, float]:
    """Chebyshev coefficients of m(C) = E f_part^(p)(h) in log(C + shift), the shift, and the
    largest error at other points.
    """
    shift = 0.3 * float(part.widths[0]) ** 2
    C_max = LARGEST_R**2 * (1.0 + 1e-9)
    span = np.log1p(C_max / shift)

    def moment(t: Array) -> Array:
        r = np.sqrt(np.maximum(shift * np.expm1(0.5 * (t + 1.0) * span), 0.0))
        mean = np.asarray(gaussian_mean(f, r, order=part.parity, rtol=1e-13))
        return mean

    chebyshev = np.polynomial.chebyshev
    nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    coefficients: Array = np.asarray(
        chebyshev.chebfit(nodes, moment(nodes), _DEGREE), dtype=np.float64
    )
    other = np.cos(np.pi * np.arange(1, _DEGREE) / _DEGREE)
    error = float(np.abs(chebyshev.chebval(other, coefficients) - moment(other)).max())
    size = np.abs(coefficients)
    kept = int(np.flatnonzero(size > 2e-15 * size.max())[-1]) + 1
    return coefficients[:kept], shift, error


def is_exact(f: Activation, part: Part, name: str) -> bool:
    """Whether the base of a part is the part itself, to rounding."""
    x, _ = _grid()
    target = parity_parts(f, x)[name][0]
    value = part.polynomial * (x if part.parity else np.ones_like(x))
    for width, weight in zip(part.widths, part.weights, strict=True):
        value = value + weight * unit(part.parity, x, float(width))[0]
    return float(np.abs(value - target).max()) <= 10.0 * _EXACT * max(
        1.0, float(np.abs(target).max())
    )
