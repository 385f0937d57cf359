"""Moments ``E[f^(p)(r1 x + b1) g^(q)(r2 y + b2)]`` of standard normal x, y with correlation u, by
any method.

The methods themselves are in :mod:`infflow.integrals.registry`.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_items,
    as_number,
    as_real_array,
    public,
    shown,
    user_level,
)
from ..activations import Activation, resolve
from ..errors import (
    AccuracyWarning,
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    SingularMomentError,
)
from . import terms
from .evaluator import Estimate, Points
from .growth import check_growth
from .registry import EVALUATORS

__all__ = [
    "MAX_ORDER",
    "METHODS",
    "GaussianMoment",
    "available_methods",
    "gaussian_mean",
    "gaussian_moment",
]

#: Highest total order of differentiation.
MAX_ORDER = 4
#: Names that ``method`` can take beside "auto".
METHODS = tuple(EVALUATORS)
_PAIR = "a pair of integers such as (1, 0)"
_EPS = float(np.finfo(np.float64).eps)
# Errors below this meet any tolerance: the moments of dead neurons leave the range of float64.
_LOST = 1e-270
#: Standard deviations other than 0 lie in this range, so that fourth powers neither underflow nor
#: overflow.
SCALE_RANGE = (1e-70, 1e70)
#: Beyond this size of r or b a result that is not finite is put down to overflow.
_HUGE = 1e35


class GaussianMoment(NamedTuple):
    """Result with ``full_output=True``.

    Attributes
    ----------
    value : float or ndarray
    method : str
        The method that was used.
    error_bound : float or ndarray
        Bound of the absolute error.
    work : int
        Integrals of single terms (pairs of atoms, for "closed") or nodes that were evaluated.
    """

    value: Any
    method: str
    error_bound: Any
    work: int


# -- arguments -------------------------------------------------------------------------------------


def _points(**arguments: Any) -> tuple[tuple[int, ...], list[Array]]:
    """Common shape and flat arrays; standard deviations start with r, correlations are called u."""
    arrays = {name: as_real_array(name, value) for name, value in arguments.items()}
    try:
        broadcast = np.broadcast_arrays(*arrays.values())
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ShapeError(
            f"The arguments do not broadcast: {shapes}. Give them equal shapes or make them "
            "scalars."
        ) from error
    for name, array in arrays.items():
        if name.startswith("r") and (array < 0).any():
            raise InvalidValueError(
                f"{name} contains {array[array < 0][0]:g}; it is a standard deviation and must "
                "not be negative. "
                "A negative weight is a positive one with the sign of u reversed."
            )
        outside = (array != 0) & ((array < SCALE_RANGE[0]) | (array > SCALE_RANGE[1]))
        if name.startswith("r") and outside.any():
            raise InvalidValueError(
                f"{name} contains {array[outside][0]:g}; standard deviations must be 0 or lie "
                f"between {SCALE_RANGE[0]:g} "
                f"and {SCALE_RANGE[1]:g}. Rescale the problem."
            )
        if name == "u" and (np.abs(array) > 1).any():
            raise InvalidValueError(
                f"u contains {float(array[np.abs(array) > 1][0])!r}; it is a correlation and "
                "must lie between -1 and 1."
            )
    return broadcast[0].shape, [np.ascontiguousarray(array).reshape(-1) for array in broadcast]


def _orders(orders: Any) -> tuple[int, int]:
    pair = as_items("orders", orders, _PAIR)
    if len(pair) != 2:
        raise InvalidTypeError(f"orders is {shown(orders)}; {_PAIR} is needed.")
    p, q = pair
    p = as_integer("orders[0]", p, minimum=0)
    q = as_integer("orders[1]", q, minimum=0)
    if p + q > MAX_ORDER:
        raise InvalidValueError(
            f"orders is ({p}, {q}), of total order {p + q}; at most {MAX_ORDER} is available."
        )
    return p, q


# -- choice of the method --------------------------------------------------------------------------


def _candidates(method: str, *activations: Activation) -> list[str]:
    """Names of the evaluators to try, cheapest first."""
    as_choice("method", method, ("auto", *METHODS))
    if method in _named_only(*activations):
        return [method]
    defined = list(terms.in_order(*activations))
    what = " and ".join(dict.fromkeys(repr(activation.name) for activation in activations))
    if method == "auto":
        return defined
    if method not in defined:
        raise MethodError(
            f"The method {method!r} is not defined for {what}. Defined: "
            f"{', '.join(map(repr, defined))}; or use 'auto'."
        )
    return [method]


def _named_only(*activations: Activation) -> tuple[str, ...]:
    """The methods that are defined, and that "auto" does not take."""
    return tuple(
        name
        for name, evaluator in EVALUATORS.items()
        if not evaluator.automatic and evaluator.defined(*activations)
    )


def _choose(
    method: str, rtol: float, activations: tuple[Activation, ...], compute: Any
) -> tuple[str, Estimate]:
    """The first estimate whose bound meets rtol, otherwise the best one and a warning."""
    best: tuple[str, Estimate] | None = None
    for name in _candidates(method, *activations):
        estimate = compute(name, EVALUATORS[name])
        if best is None or np.sum(estimate.error_bound) < np.sum(best[1].error_bound):
            best = (name, estimate)
        tolerance = rtol * np.maximum(estimate.scale, np.abs(estimate.value)) + _LOST
        if (estimate.error_bound <= tolerance).all() or not np.isfinite(estimate.value).all():
            return name, estimate
    assert best is not None  # _candidates is never empty
    bound = float(np.max(best[1].error_bound))
    warnings.warn(
        f"The error bound {bound:.1e} of method {best[0]!r} does not meet rtol={rtol:g}. "
        "Increase rtol or try another method.",
        AccuracyWarning,
        stacklevel=user_level(),
    )
    return best


def _raise_unless_finite(value: Array, what: str, points: dict[str, Array]) -> None:
    bad = np.flatnonzero(~np.isfinite(value))
    if not bad.size:
        return
    at = {name: float(array[bad[0]]) for name, array in points.items()}
    place = ", ".join(f"{name}={number!r}" for name, number in at.items())
    if np.isnan(value[bad[0]]) or max(map(abs, at.values())) > _HUGE:
        raise InvalidValueError(
            f"{what} leaves the range of float64 at {place}; use smaller arguments."
        )
    raise SingularMomentError(
        f"{what} is infinite at {place}: kinks or jumps of the activations coincide there. "
        "Move the point or lower the order of differentiation."
    )


def _output(name: str, estimate: Estimate, shape: tuple[int, ...], full_output: bool) -> Any:
    value, bound = (_shaped(array, shape) for array in (estimate.value, estimate.error_bound))
    return GaussianMoment(value, name, bound, estimate.work) if full_output else value


def _shaped(array: Array, shape: tuple[int, ...]) -> Any:
    return float(array[0]) if shape == () else array.reshape(shape)


# -- the public functions --------------------------------------------------------------------------


@public
def gaussian_moment(
    f: str | Activation,
    g: str | Activation,
    r1: ArrayLike,
    r2: ArrayLike,
    u: ArrayLike,
    b1: ArrayLike = 0.0,
    b2: ArrayLike = 0.0,
    orders: tuple[int, int] = (0, 0),
    method: str = "auto",
    rtol: float = 1e-10,
    full_output: bool = False,
) -> Any:
    r""":math:`\E[f^{(p)}(r_1 x + b_1)\, g^{(q)}(r_2 y + b_2)]` for standard normal x, y with
    correlation u.

    Parameters
    ----------
    f, g : str or Activation
    r1, r2 : array_like
        Standard deviations of the two arguments, not negative.
    u : array_like
        Correlation, between -1 and 1.
    b1, b2 : array_like
        Means of the two arguments. All five broadcast.
    orders : (int, int)
        Orders p, q of differentiation, p + q <= 4. For kinked activations the result is the
        derivative of the moment with respect to b1, b2 (in the sense of distributions).
    method : {"auto", "closed", "hermite", "numeric", "cubature", "surrogate"}
        "auto" takes the cheapest exact one that is defined for the pair and whose error bound meets
        ``rtol``. "surrogate" gives p + q even, without biases, and the largest error on its card as
        the bound.
    rtol : float
        Tolerance, relative to :math:`\sqrt{\E f^2\, \E g^2}` of the differentiated functions (where
        that is infinite: of lower derivatives over powers of r; or to the value itself if that is
        larger). Errors below 1e-270 always meet it.
    full_output : bool
        Return a :class:`GaussianMoment`: value, method, error bound, work.

    Returns
    -------
    float or ndarray or GaussianMoment
        An array of the broadcast shape, a float if all arguments are scalars.

    Raises
    ------
    SingularMomentError
        If a moment is infinite (kinks that coincide, at a correlation of 1 or -1 or at r = 0).
    MethodError
        If the method is not defined for the pair; see :func:`available_methods`.
    InvalidValueError, InvalidTypeError, ShapeError
        If an argument is out of range, or the arguments do not broadcast.

    Warns
    -----
    AccuracyWarning
        If the error bound does not meet ``rtol``.

    See Also
    --------
    gaussian_mean : of one activation.
    closed_form : the expression.
    gaussian_expectation : of any function.

    Examples
    --------
    >>> gaussian_moment("relu", "relu", 1.0, 1.0, 0.0)  # 1 / (2 pi)
    0.15915494309189535
    """
    first = resolve(f)
    second = resolve(g)
    p, q = _orders(orders)
    rtol = as_number("rtol", rtol, minimum=0.0)
    full_output = as_flag("full_output", full_output)
    shape, arrays = _points(r1=r1, r2=r2, u=u, b1=b1, b2=b2)
    points = Points.at(*arrays)
    with np.errstate(over="ignore", invalid="ignore"):
        name, estimate = _choose(
            method,
            rtol,
            (first, second),
            partial(terms.moment, f=first, g=second, points=points, orders=(p, q), rtol=rtol),
        )
    what = f"E[{_differentiated(first, p)}(r1 x + b1) {_differentiated(second, q)}(r2 y + b2)]"
    if np.isinf(estimate.value).any():
        check_growth(first, points.C11, points.b1)
        check_growth(second, points.C22, points.b2)
    given = dict(zip(("r1", "r2", "u", "b1", "b2"), arrays, strict=True))
    _raise_unless_finite(estimate.value, what, given)
    return _output(name, estimate, shape, full_output)


@public
def gaussian_mean(
    f: str | Activation,
    r: ArrayLike,
    b: ArrayLike = 0.0,
    order: int = 0,
    method: str = "auto",
    rtol: float = 1e-10,
    full_output: bool = False,
) -> Any:
    r""":math:`\E f^{(p)}(r x + b)` for standard normal x, :math:`p` = ``order`` <= 4.

    Parameters, result and errors are those of :func:`gaussian_moment`; ``rtol`` is relative to
    :math:`\sqrt{\E f^2}`.

    See Also
    --------
    gaussian_moment : of two activations.
    gaussian_expectation : of any function.

    Examples
    --------
    >>> gaussian_mean("relu", [0.0, 1.0], 1.0)
    array([1.        , 1.08331547])
    """
    activation = resolve(f)
    order = as_integer("order", order, minimum=0, maximum=MAX_ORDER)
    rtol = as_number("rtol", rtol, minimum=0.0)
    full_output = as_flag("full_output", full_output)
    shape, (scales, means) = _points(r=r, b=b)
    with np.errstate(over="ignore", invalid="ignore"):
        name, estimate = _choose(
            method,
            rtol,
            (activation,),
            partial(terms.mean, f=activation, r=scales, b=means, order=order, rtol=rtol),
        )
    _raise_unless_finite(
        estimate.value,
        f"E {_differentiated(activation, order)}(r x + b)",
        {"r": scales, "b": means},
    )
    return _output(name, estimate, shape, full_output)


@public
def available_methods(f: str | Activation, g: str | Activation) -> tuple[str, ...]:
    """The methods that are defined for a pair: the exact ones in the order of ``method="auto"``,
    and "surrogate" if one is found.

    See Also
    --------
    gaussian_moment : takes one of them.
    closed_form : the expression.

    Examples
    --------
    >>> available_methods("relu", "erf")
    ('closed', 'numeric', 'cubature')
    """
    pair = resolve(f), resolve(g)
    return (*terms.in_order(*pair), *_named_only(*pair))


def _differentiated(activation: Activation, order: int) -> str:
    return activation.name + "'" * order
