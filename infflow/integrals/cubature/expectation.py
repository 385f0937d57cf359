"""Expectation of any function of up to three jointly Gaussian variables."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..._validation import (
    Array,
    as_flag,
    as_number,
    as_real_array,
    public,
    refuse_masked,
    shown,
    user_level,
)
from ...errors import AccuracyWarning, InvalidTypeError, InvalidValueError, ShapeError
from .panels import KRONROD, NODES, Index, Quadrature, density, integrate, panels_between, tail

__all__ = [
    "Expectation",
    "ExpectationDetails",
    "Integrand",
    "covariance_root",
    "gaussian_expectation",
    "radius",
]

_MAX_DIM = 3
_SMALLEST_RTOL = 1e-13
_FURTHEST = 40.0
_INNER_SHARE = 5e-3  # inner over whole tolerance: larger noise looks like structure
_MAX_WORK = 30_000_000
_RULES = {2: ("gk21", 60), 3: ("gk15", 40)}  # rule, highest number of subdivisions
_PANELS = {1: (128, 181), 2: (20, 27), 3: (4, 7)}  # panels of each variable, in two subdivisions
_SPACING = {2: 0.1, 3: 0.25}  # spacing of the lattice by dimension
_MOST_LATTICE_POINTS = 500_000
_SHIFTS = np.array([2.0, 3.0, 5.0]) ** 0.5 % 1.0
_SCATTER = 10.0  # times the scatter of sublattices: more is no accident
_MAX_RESCALINGS = 3
_CHUNK = 1 << 17  # points in one call of the function
_INFINITE = (
    "function takes infinite values where the density is not small; its expectation is infinite."
)
_ZERO_VARIANCE = 1e-14  # relative to the largest: directions below are constant


class Expectation(NamedTuple):
    """``E function(x)``: a float, or an array (k,), and the estimate of its absolute error in the
    same shape.
    """

    value: Any
    error: Any


class ExpectationDetails(NamedTuple):
    """Result with ``full_output=True``: points evaluated, rank of cov, whether rtol was met."""

    value: Any
    error: Any
    work: int
    rank: int
    converged: bool


class Integrand:
    """A user's function of points ``(n, d)``, checked at every call; returns ``(n, k)``."""

    def __init__(self, name: str, function: Callable[[Array], Any], dim: int) -> None:
        if not callable(function):
            raise InvalidTypeError(
                f"{name} is {shown(function)}; a callable is needed that takes points of shape "
                f"(n, {dim})."
            )
        self.name = name
        self.function = function
        probe = self._call(np.zeros((2, dim)), None)
        self.scalar = probe.ndim == 1
        self.outputs = 1 if self.scalar else probe.shape[1]

    def __call__(self, points: Array) -> Array:
        """Values ``(n, k)``; infinite ones are passed on."""
        values = self._call(points, self.outputs)
        return values.reshape(len(points), self.outputs)

    def _call(self, points: Array, outputs: int | None) -> Array:
        try:
            with np.errstate(all="ignore"):
                found = self.function(points)
                values = np.asarray(found)
        except (TypeError, ValueError, IndexError) as error:
            raise InvalidTypeError(
                f"{self.name} failed on points of shape {points.shape}: {error}. It must take an "
                f"array (n, {points.shape[1]}), "
                "one point per row, and return (n,) or (n, k)."
            ) from error
        except Exception as error:
            low = points.min(axis=0).tolist()
            high = points.max(axis=0).tolist()
            error.add_note(
                f"Raised by {self.name}, called on {len(points)} points between {low} and {high}."
            )
            raise
        refuse_masked(f"what {self.name} returned", found)
        wanted = values.ndim in (1, 2) and values.shape[0] == len(points) and values.size > 0
        if not wanted or (outputs is not None and values.size != outputs * len(points)):
            columns = "(n,) or (n, k)" if outputs is None else f"({len(points)}, {outputs})"
            raise ShapeError(
                f"{self.name} returned shape {values.shape} for points of shape {points.shape}; "
                f"{columns} is needed, one row per point."
            )
        if values.dtype.kind not in "fiub":
            raise InvalidTypeError(
                f"{self.name} returned dtype {values.dtype}; real numbers are needed."
            )
        bad = np.isnan(values.reshape(len(points), -1)).any(axis=1)
        if bad.any():
            raise InvalidValueError(
                f"{self.name} returned NaN at x = {points[bad][0].tolist()}; it must be defined "
                "everywhere."
            )
        return values.astype(np.float64, copy=False)


@public
def gaussian_expectation(
    function: Callable[[Array], Any],
    mean: ArrayLike,
    cov: Any,
    rtol: float = 1e-8,
    full_output: bool = False,
) -> Expectation | ExpectationDetails:
    r""":math:`\E f(x)` for :math:`x \sim \mathcal{N}(\text{mean}, \text{cov})` in up to 3
    dimensions, by adaptive cubature.

    Parameters
    ----------
    function : callable
        Takes points ``(n, d)``, returns ``(n,)`` or ``(n, k)``.
        Jumps and kinks are allowed and found by bisection, but cost time.
        In two dimensions jumps on curves, and in three dimensions all of them, also cost accuracy.
    mean : (d,) array, or a number for d = 1
    cov : (d, d) array, or a number for d = 1
        Symmetric positive semidefinite; a singular one leaves an integral over its range.
    rtol : float
        Tolerance relative to :math:`\sqrt{\E f^2}`, component by component.
    full_output : bool
        Return :class:`ExpectationDetails`.

    Returns
    -------
    Expectation
        Named tuple (value, error); floats if the function returns ``(n,)``. The error is an
        estimate, from rules of different position. What lies between the points of all of them is
        not seen: two jumps should be further apart, and a bump wider, than 0.01 standard deviations
        in one dimension, 0.1 in two and 0.5 in three.

    Raises
    ------
    ShapeError, InvalidTypeError, InvalidValueError
        If arguments do not fit, cov is not a covariance, or the function returns NaN, another
        shape, or grows so fast that its expectation is infinite.

    Warns
    -----
    AccuracyWarning
        If the error estimate does not meet ``rtol``.

    See Also
    --------
    gaussian_moment : of two activations, exact.
    gaussian_mean : of one activation.

    Examples
    --------
    >>> cov = [[1, 0.5], [0.5, 1]]
    >>> value, error = gaussian_expectation(lambda x: x[:, 0] ** 2 * x[:, 1] ** 2, [0, 0], cov)
    >>> round(value, 12)  # 1 + 2 * 0.5**2
    1.5
    """
    mean = np.atleast_1d(as_real_array("mean", mean, ndim=(0, 1)))
    dim = len(mean)
    if not 1 <= dim <= _MAX_DIM:
        raise ShapeError(
            f"mean has {dim} entries; 1 to {_MAX_DIM} are possible. Use Monte Carlo in higher "
            "dimensions."
        )
    full_output = as_flag("full_output", full_output)
    rtol = min(max(as_number("rtol", rtol, minimum=0.0, strict=True), _SMALLEST_RTOL), 1.0)
    root = covariance_root("cov", np.atleast_2d(as_real_array("cov", cov, ndim=(0, 2))), dim)
    integrand = Integrand("function", function, dim)
    value, error, scale, work = _integrate(
        lambda t: integrand(mean + t @ root.T), root.shape[1], rtol
    )
    if not np.isfinite(value).all():
        raise InvalidValueError(_INFINITE)
    converged = bool((error <= rtol * scale).all())
    if not converged:
        worst = float(np.max(error / np.maximum(scale, 1e-300)))
        warnings.warn(
            f"The error estimate of gaussian_expectation is {worst:.1e} of sqrt(E function^2) "
            f"and does not meet rtol={rtol:g}. "
            "If the function has jumps or kinks, integrate the pieces between its kinks one by "
            "one, or increase rtol; "
            "FunctionTeacher takes a list of kinks.",
            AccuracyWarning,
            stacklevel=user_level(),
        )
    first, second = (float(value[0]), float(error[0])) if integrand.scalar else (value, error)
    if full_output:
        return ExpectationDetails(first, second, work, root.shape[1], converged)
    return Expectation(first, second)


def covariance_root(name: str, cov: Array, dim: int) -> Array:
    """``A`` of shape (dim, rank) with A A' = cov: triangular where cov has full rank, so that jumps
    in x_1 are jumps in t_1.
    """
    if cov.shape != (dim, dim):
        raise ShapeError(f"{name} has shape {cov.shape}; ({dim}, {dim}) is needed to fit the mean.")
    scale = float(np.abs(cov).max(initial=0.0))
    if float(np.abs(cov - cov.T).max(initial=0.0)) > 1e-12 * scale:
        raise InvalidValueError(
            f"{name} is not symmetric; pass a covariance matrix, e.g. (C + C.T) / 2."
        )
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    if values[0] < -1e-12 * scale * dim:
        raise InvalidValueError(
            f"{name} is not positive semidefinite (smallest eigenvalue {values[0]:.3g}); pass a "
            "covariance matrix."
        )
    if values[0] > 1e-10 * scale:
        triangular: Array = np.asarray(np.linalg.cholesky((cov + cov.T) / 2), dtype=np.float64)
        return triangular
    keep = np.flatnonzero(values > _ZERO_VARIANCE * scale)[::-1]
    root: Array = vectors[:, keep] * np.sqrt(values[keep])
    return root


def radius(function: Callable[[Array], Array], dim: int, rtol: float) -> float:
    """How far to integrate: beyond, ``function(t)^2`` times the standard normal density has fallen
    below ``(rtol/100)^2``.

    Raises
    ------
    InvalidValueError
        If it does not fall off.
    """
    corners = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * dim), axis=-1).reshape(-1, dim)
    corners = corners[np.abs(corners).sum(axis=1) > 0]
    directions = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    r = np.linspace(0.0, _FURTHEST, 81)[1:]
    points = (r[:, None, None] * directions).reshape(-1, dim)
    values = np.abs(function(points)).reshape(len(r), len(directions), -1)
    with np.errstate(divide="ignore"):
        L = 2.0 * np.log(values).max(axis=1) - 0.5 * (r * r)[:, None]
    inside = np.greater(L, L[r <= 10.0].max(axis=0) - 4.0 * np.log(100.0 / rtol))
    if np.isposinf(L).any() or (inside[-1] & (L[-1] > -700.0)).any():
        raise InvalidValueError(
            "The function grows too fast for a Gaussian expectation: its square times the "
            "density has not fallen off "
            f"within {_FURTHEST:g} standard deviations. Rescale the problem, or use a function "
            "that grows more slowly."
        )
    furthest = r[inside.any(axis=1)].max(initial=0.0)
    return max(tail(rtol), float(furthest) + 0.5)


class Iterated:
    """Integrals over standard normal variables one inside the other, for functions with jumps.

    Bisection finds a jump in every inner integral to rounding, along whatever curve it lies; the
    outer integral sees only where such curves meet or turn.

    Parameters
    ----------
    function : callable
        Takes (n, dim), returns (n, m).
    dim : int
    R : float
        Range of each variable.
    max_work : int
        About how many points are evaluated at most.
    """

    def __init__(
        self, function: Callable[[Array], Array], dim: int, R: float, max_work: int | None = None
    ) -> None:
        self.function = function
        self.dim = dim
        self.R = R
        self.max_work = _MAX_WORK if max_work is None else max_work
        self.start = np.array([-R, R])
        self.work = 0

    def total(self, atol: Array) -> Quadrature:
        """``E function(t)``, from two subdivisions, whose difference counts as error.

        Between two jumps that are closer than the points of a panel the inner integral sees
        nothing; the second subdivision misses other things than the first.
        """
        found = []
        for breaks in subdivisions(self.R, *_PANELS[self.dim]):
            self.start = breaks
            self.max_work += self.work
            found.append(self.given(np.zeros((1, 0)), atol))
        value, error = _agreed(*found)
        return Quadrature(value, error, self.work)

    def given(self, fixed: Array, atol: Array) -> Quadrature:
        """Expectations over the last variables, given the first ones: ``fixed`` (rows, number of
        fixed variables).
        """
        rows = len(fixed)
        last = fixed.shape[1] + 1 == self.dim
        inner_error = np.zeros((rows, len(atol)))

        def along(t: Array, row: Index) -> Array:
            points = np.column_stack([fixed[row], t])
            if last:
                self.work += len(t)
                return self.function(points) * density(t)[:, None]
            inner = self.given(points, _INNER_SHARE * atol)
            np.maximum.at(inner_error, row, inner.error)
            return inner.value * density(t)[:, None]

        start = panels_between(np.broadcast_to(self.start, (rows, len(self.start))))
        exhausted = (lambda: False) if last else self._exhausted
        found = integrate(
            along,
            start,
            rows,
            atol,
            max_work=max(self.max_work - self.work, 0),
            exhausted=exhausted,
        )
        return Quadrature(found.value, found.error + inner_error, found.work)

    def _exhausted(self) -> bool:
        return self.work >= self.max_work


def subdivisions(R: float, first: int, second: int) -> tuple[Array, Array]:
    """Breaks of two subdivisions of [-R, R]: equal panels, and panels that share only the ends with
    them.
    """
    moved = np.linspace(-R, R, second + 1)
    moved[1:-1] += _SHIFTS[0] * (moved[1] - moved[0])
    return np.linspace(-R, R, first + 1), moved


def _agreed(first: Quadrature, second: Quadrature) -> tuple[Array, Array]:
    """Value and error of one row that two subdivisions give; their difference counts tenfold."""
    difference = np.abs(second.value[0] - first.value[0])
    return second.value[0], np.maximum(first.error[0], second.error[0]) + 10.0 * difference


def _root_mean_square(values: Array, weights: Array) -> Array:
    """Roots ``(k,)`` of the sums of ``weights`` (n,) times squares of ``values`` ``(n, k)``.

    1 where all are 0; the squares do not overflow.
    """
    largest = np.abs(values).max(axis=0)
    if np.isinf(largest).any():
        raise InvalidValueError(_INFINITE)
    root = largest * np.sqrt(weights @ (values / np.where(largest > 0, largest, 1.0)) ** 2)
    return np.where(root > 0, root, 1.0)


class _Lattice(NamedTuple):
    """Sums over a lattice: ``E f`` (k,), how far its sublattices scatter,
    ``sqrt(E f^2)``; points.
    """

    value: Array
    scatter: Array
    root: Array
    work: int


def _lattice(function: Callable[[Array], Array], dim: int, R: float) -> _Lattice:
    """The trapezoidal rule in ``dim`` variables, shifted by irrational parts of its spacing.

    Its error falls as exp(-2 pi a/h) for f analytic in a strip of half-width a.
    It shares no point with the adaptive rules: what they overlook shows here if it is wider than h.
    """
    volume = R**dim * {2: np.pi, 3: 4.0 / 3.0 * np.pi}[dim]
    h = max(_SPACING[dim], (volume / _MOST_LATTICE_POINTS) ** (1.0 / dim))
    most = int(np.ceil(R / h))
    lines = np.arange(-most, most + 1)
    index = np.stack(np.meshgrid(*[lines] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    points = h * (index + _SHIFTS[:dim])
    inside = (points**2).sum(axis=1) <= R * R
    index = index[inside]
    points = points[inside]
    parts = [function(points[k : k + _CHUNK]) for k in range(0, len(points), _CHUNK)]
    values = np.concatenate(parts)
    weights = h**dim * density(points).prod(axis=1)
    root = _root_mean_square(values, weights)
    sublattice = (index % 2) @ (2 ** np.arange(dim))
    means = np.zeros((2**dim, values.shape[1]))
    np.add.at(means, sublattice, 2**dim * weights[:, None] * (values / root))
    return _Lattice(means.mean(axis=0) * root, means.std(axis=0, ddof=1) * root, root, len(points))


def _integrate(
    function: Callable[[Array], Array], dim: int, rtol: float
) -> tuple[Array, Array, Array, int]:
    """Value, error, root mean square of ``E function(t)`` over standard normal t, and the number of
    points.
    """
    if dim == 0:
        value = function(np.zeros((1, 0)))[0]
        return value, np.zeros_like(value), np.abs(value), 1
    R = radius(function, dim, rtol)
    value, error, unit, work = (_on_line if dim == 1 else _in_space)(function, dim, R, rtol)
    return value, error + (1e-2 * rtol + 1e-15) * unit, unit, work


def _on_line(
    function: Callable[[Array], Array], dim: int, R: float, rtol: float
) -> tuple[Array, Array, Array, int]:
    """One variable: panels that are narrow enough for what is promised, bisected where they have to
    be.
    """
    breaks = subdivisions(R, *_PANELS[dim])
    start = panels_between(breaks[0][None])
    half = 0.5 * (start.b - start.a)
    t = (0.5 * (start.a + start.b)[:, None] + half[:, None] * NODES).ravel()
    unit = _root_mean_square(function(t[:, None]), (half[:, None] * KRONROD).ravel() * density(t))
    work = len(t)
    k = len(unit)

    def both(t: Array, _: Index) -> Array:
        f = function(t[:, None]) / unit
        return np.concatenate([f, f * f], axis=1) * density(t)[:, None]

    atol = np.append(np.full(k, 0.5 * rtol), np.full(k, np.inf))
    for _ in range(_MAX_RESCALINGS):
        found = [integrate(both, panels_between(b[None]), 1, atol) for b in breaks]
        work += found[0].work + found[1].work
        value, error = _agreed(*found)
        square = found[1].value[0, k:]
        factor = np.sqrt(
            np.where(square > 0.0, square, 1.0)
        )  # the first panels may be coarse for the square
        value = value[:k] * unit
        error = error[:k] * unit
        unit = unit * factor
        if (np.abs(factor - 1.0) < 0.5).all():
            break
    return value, error, unit, work


def _in_space(
    function: Callable[[Array], Array], dim: int, R: float, rtol: float
) -> tuple[Array, Array, Array, int]:
    """Two or three variables: cubature if a lattice agrees with it, else one integral inside the
    other.
    """
    from scipy.integrate import cubature

    lattice = _lattice(function, dim, R)
    unit = lattice.root
    work = lattice.work

    def integrand(t: Array) -> Array:
        nonlocal work
        work += len(t)
        return function(t) * (density(t).prod(axis=1)[:, None] / unit)

    rule, most = _RULES[dim]
    # the centre as a point makes it a corner of all regions: jumps through the mean are common
    found = cubature(
        integrand,
        [-R] * dim,
        [R] * dim,
        rule=rule,
        rtol=0.0,
        atol=0.5 * rtol,
        max_subdivisions=most,
        points=[[0.0] * dim],
    )
    value = np.asarray(found.estimate)
    error = np.maximum(np.asarray(found.error), 0.0)
    error = np.maximum(error, np.abs(value - lattice.value / unit))
    if (error > 0.5 * rtol).any():
        again = Iterated(lambda t: function(t) / unit, dim, R).total(np.full(len(unit), 0.5 * rtol))
        work += again.work
        gap = np.abs(again.value - lattice.value / unit)
        nested = np.where(
            gap > _SCATTER * lattice.scatter / unit, np.maximum(again.error, gap), again.error
        )
        better = nested < error
        value = np.where(better, again.value, value)
        error = np.where(better, nested, error)
    return value * unit, error * unit, unit, work
