"""Branches of critical points in a parameter by pseudo-arclength continuation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, as_function, as_integer, as_number, as_vector, public
from ..errors import InvalidValueError, MethodError
from ..networks.frozen import free_parameters
from ..objective import (
    ChecksParameters,
    HasMetric,
    HasSymmetryTypes,
    Objective,
    as_objective,
)
from .branch import Branch, assemble
from .curve import Curve, CurvePoint, Failed
from .slopes import analytic
from .walk import Steps, walk

#: steps of the position s = (parameter - start)/(stop - start), by default
_FIRST_STEP = 0.02
_LONGEST_STEP = 0.05
#: a Newton step at the start longer than this, relative to 1 + |x|, is from no critical point
_NEAR = 1e-5
#: the Hessian at the start is singular where an eigenvalue is below this fraction of the largest
_SINGULAR = 1e-9


@public
def continuation(
    problem: Callable[[float], Objective],
    theta: Any,
    start: float,
    stop: float,
    *,
    frozen: ArrayLike | None = None,
    step: float | None = None,
    max_step: float | None = None,
    max_points: int = 1000,
) -> Branch:
    """Follow a critical point as a parameter changes, around folds, with all that happens to it.

    Parameters
    ----------
    problem : callable
        Takes the parameter, a float, and returns an objective (a NetI, a family, one of your own)
        whose gradient depends on it smoothly; always with the same number P of parameters. It may
        be any number: an overlap or output weight of the teacher, ridge, an eigenvalue of the
        input, a slope of the activation, the size of a block of a :class:`SymmetricNetI`. If it has
        a method ``parameter_derivative(theta, parameter)``, that is the derivative of the gradient
        in the parameter, (P,); else differences of order 6 are taken, and ``slope_error`` of the
        branch says how accurate they are.
    theta : (P,) array or Result
        A critical point at ``start``, as :func:`infflow.train` finds it.
    start, stop : float
        Range of the parameter. The branch begins at ``start``, and ends where it leaves the range
        at either side.
    frozen : (P,) boolean array, optional
        Parameters that are held at their values, for example to fix the scaling of homogeneous
        neurons, which leaves the Hessian singular everywhere.
    step, max_step : float, optional
        Length of the first and of the longest step, of the parameter relative to stop - start and
        of theta relative to 1 + |theta|. By default 0.02 and 0.05.
    max_points : int
        Most points of the branch.

    Returns
    -------
    Branch
        Points, the index along them, and events: folds and branch points, located to about 1e-10 in
        the parameter, with null vectors.

    Raises
    ------
    InvalidValueError
        If theta is no critical point at ``start``, or the Hessian there is singular, so that no
        single branch begins; the message says which.
    InfflowError
        If another argument cannot be used.

    See Also
    --------
    Branch : what it returns.
    SymmetricNetI : families with a real size.

    Notes
    -----
    Pseudo-arclength continuation (H. B. Keller 1977) with the exact Hessian: steps go along the
    tangent, and Newton's method for the bordered system brings them back. Their length follows its
    contraction and the angle of the tangents. Folds are zeros of the parameter's share in the
    tangent, and changes of the index zeros of an eigenvalue along the curve, which next to a branch
    point is interpolated between regular points on both sides, to rounding. An event that begins
    and ends within one step, two changes of sign of one eigenvalue, is not seen: make ``max_step``
    smaller.

    For families the index is that of the whole network, over all symmetry types, and lengths are
    those of the whole. A branch point of another type breaks the symmetry of the family.

    Examples
    --------
    A pitchfork: x = 0 of x^4/4 - c x^2/2 turns from a minimum to a saddle at c = 0.

    >>> import numpy as np
    >>> import infflow as inf
    >>> class Quartic:
    ...     num_params = 1
    ...     def __init__(self, c):
    ...         self.c = c
    ...     def evaluate(self, theta, order=0):
    ...         x, c = theta[0], self.c
    ...         value = x**4 / 4 - c * x**2 / 2
    ...         gradient = np.array([x**3 - c * x])
    ...         return inf.Evaluation(value, gradient, np.array([[3 * x**2 - c]]))
    >>> branch = inf.continuation(Quartic, [0.0], -1.0, 1.0)
    >>> [event.kind for event in branch.events], bool(abs(branch.events[0].parameter) < 1e-12)
    (['branch point', 'end'], True)
    >>> other = branch.switch(branch.events[0], side="along")
    >>> round(abs(float(other.theta[-1, 0])), 9)
    1.0
    """
    problem = as_function("problem", problem, "a function of the parameter that gives an objective")
    start = as_number("start", start)
    stop = as_number("stop", stop)
    if start == stop:
        raise InvalidValueError(f"start and stop are both {start:g}; they must differ.")
    first = _FIRST_STEP if step is None else as_number("step", step, minimum=0.0, strict=True)
    longest = (
        max(_LONGEST_STEP, first)
        if max_step is None
        else as_number("max_step", max_step, minimum=first)
    )
    steps = Steps(first, longest, as_integer("max_points", max_points, minimum=2))
    objective = as_objective(problem(start))
    theta = _checked(objective, getattr(theta, "theta", theta))
    if isinstance(objective, HasMetric) and analytic(problem) is not None:
        raise MethodError(
            "parameter_derivative is for objectives without multiplicities; leave it out, and "
            "differences are taken."
        )
    free = np.zeros(len(theta), dtype=bool)
    free[free_parameters(frozen, len(theta))] = True
    if isinstance(objective, HasSymmetryTypes):
        objective.symmetry_types(theta, ~free)  # raises where it has none
    curve = Curve(problem, theta, start, stop, free)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return assemble(curve, steps, [walk(curve, _begin(curve, theta), steps)])


def _checked(objective: Objective, theta: Any) -> Array:
    if isinstance(objective, ChecksParameters):
        return np.array(objective.check(theta))
    return np.array(as_vector("theta", theta, objective.num_params))


def _begin(curve: Curve, theta: Array) -> CurvePoint:
    """The first point, or an error where it is none or does not determine a branch."""
    y = curve.y_of(theta, 0.0)
    try:
        _, g, H = curve.evaluate(y)
    except Failed as error:
        raise InvalidValueError(
            f"the loss at theta and start={curve.start:g} cannot be differentiated: {error}"
        ) from error
    values = np.linalg.eigvalsh(H)
    smallest = values[np.argmin(np.abs(values))]
    remedy = "Search one with theta = inf.train(problem(start), theta).theta first."
    size = 1.0 + float(np.linalg.norm(y))
    if abs(smallest) <= _SINGULAR * np.abs(values).max():
        if np.linalg.norm(g) > _NEAR * np.abs(values).max() * size:
            raise InvalidValueError(
                f"the gradient is not zero at theta and start={curve.start:g}: its largest entry "
                f"is {np.abs(g).max():.2g}. {remedy}"
            )
        raise InvalidValueError(
            f"the Hessian is singular at theta and start={curve.start:g}: its eigenvalues are "
            f"between {values[0]:.2g} and {values[-1]:.2g}, one of them {smallest:.2g}, so that no "
            "single branch begins here. Begin at another value of the parameter; if it is singular "
            "everywhere, freeze a parameter along each symmetry that inf.classify names."
        )
    newton = float(np.linalg.norm(np.linalg.solve(H, g)))
    if newton > _NEAR * size:
        raise InvalidValueError(
            f"the gradient is not zero at theta and start={curve.start:g}: its largest entry is "
            f"{np.abs(g).max():.2g}, and Newton's step has length {newton:.2g}. {remedy}"
        )
    forward = np.zeros_like(y)
    forward[-1] = 1.0
    try:
        return curve.correct(y, forward, fixed=True)
    except Failed as error:
        raise InvalidValueError(
            f"theta is near a critical point at start={curve.start:g}, but {error} {remedy}"
        ) from error
