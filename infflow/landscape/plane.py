"""Sections of the loss: over a plane of two directions, and minimised over everything orthogonal to
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_number,
    as_real_array,
    as_vector,
    counted,
    public,
)
from ..errors import InvalidTypeError, InvalidValueError
from ..fixedpoints import OPTIMIZERS, FixedPointProblem, choose_optimizer
from ..objective import (
    Evaluation,
    Freezable,
    HessianProducts,
    KnowsRounding,
    LeastSquares,
    Linearizable,
    Objective,
    as_objective,
)
from ..stopping import StopReason, StopRules
from ..threads import limit_for


class SectionMinimum(NamedTuple):
    """Outcome of :func:`minimise_orthogonal`."""

    theta: Array  #: the lowest point, shape (P,)
    loss: float
    #: infinity norm of the gradient within the section, in its orthonormal coordinates
    gradient_norm: float
    status: StopReason


class Section:
    """The objective on theta + (complement of two directions), in orthonormal coordinates y (P -
    2,).

    The basis is that of the Householder reflections H1 H2 that map the first two unit vectors to
    the plane of the directions; it is applied, never formed. A section has a capability exactly
    where the objective has it: a member is None where it has not.
    """

    def __init__(self, objective: Objective, origin: Array, d1: Array, d2: Array) -> None:
        self.objective = objective
        self._d1 = d1
        self._d2 = d2
        self.origin = origin
        self.num_params = len(origin) - 2
        reflectors, self._tau = np.linalg.qr(np.column_stack([d1, d2]), mode="raw")
        self._v = np.array(reflectors)
        self._v[0, 0] = self._v[1, 1] = 1.0
        self._v[1, 0] = 0.0

    def _reflect(self, vectors: Array, order: tuple[int, int]) -> Array:
        for k in order:
            vectors = vectors - np.multiply.outer(self._tau[k] * self._v[k], self._v[k] @ vectors)
        return vectors

    def outside(self, y: Array) -> Array:
        """A displacement (P,) or (P, m) from coordinates (P - 2,) or (P - 2, m)."""
        return self._reflect(np.concatenate([np.zeros((2, *y.shape[1:])), y]), (1, 0))

    def inside(self, vectors: Array) -> Array:
        """Coordinates of the part of (P,) or (P, m) that is orthogonal to the directions."""
        return self._reflect(vectors, (0, 1))[2:]

    def point(self, y: Array) -> Array:
        """All parameters (P,)."""
        return self.origin + self.outside(y)

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Value and derivatives with respect to the coordinates."""
        value, gradient, hessian = self.objective.evaluate(self.point(theta), order)
        if gradient is not None:
            gradient = self.inside(gradient)
        if hessian is not None:
            hessian = self.inside(self.inside(hessian).T)
            hessian = (hessian + hessian.T) / 2  # the two products round differently
        return Evaluation(value, gradient, hessian)

    @property
    def hvp(self) -> Callable[[Array, Array], Array] | None:
        """Hessian of the section times a vector, of :class:`HessianProducts`."""
        full = self.objective
        if not isinstance(full, HessianProducts):
            return None
        multiply = full.hvp
        return lambda theta, v: self.inside(multiply(self.point(theta), self.outside(v)))

    @property
    def linearize(self) -> Callable[[Array], Callable[[Array], Array]] | None:
        """Hessian of the section as a function of a vector, of :class:`Linearizable`."""
        full = self.objective
        if not isinstance(full, Linearizable):
            return None
        make = full.linearize

        def linearize(theta: Array) -> Callable[[Array], Array]:
            product = make(self.point(theta))
            return lambda v: self.inside(product(self.outside(v)))

        return linearize

    @property
    def frozen(self) -> Callable[[Array], Section] | None:
        """The section of the frozen objective, of :class:`Freezable`."""
        full = self.objective
        if not isinstance(full, Freezable):
            return None
        freeze = full.frozen
        return lambda theta: Section(freeze(self.point(theta)), self.origin, self._d1, self._d2)

    @property
    def residuals(self) -> Callable[[Array], Array] | None:
        """Residuals on the section, of :class:`LeastSquares`."""
        full = self.objective
        if not isinstance(full, LeastSquares):
            return None
        residuals = full.residuals
        return lambda theta: residuals(self.point(theta))

    @property
    def jacobian(self) -> Callable[[Array], Array] | None:
        """Their Jacobian with respect to the coordinates, of :class:`LeastSquares`."""
        full = self.objective
        if not isinstance(full, LeastSquares):
            return None
        jacobian = full.jacobian
        return lambda theta: self.inside(jacobian(self.point(theta)).T).T

    @property
    def loss_rounding(self) -> Callable[[Array, float], float | None] | None:
        """Rounding error of the loss, of :class:`KnowsRounding`."""
        full = self.objective
        if not isinstance(full, KnowsRounding):
            return None
        rounding = full.loss_rounding
        return lambda theta, value: rounding(self.point(theta), value)


@public
def minimise_orthogonal(
    net: Objective,
    theta: ArrayLike,
    d1: ArrayLike,
    d2: ArrayLike,
    a1: float = 0.0,
    a2: float = 0.0,
    *,
    start: Any = None,
    optimizer: str = "auto",
    max_steps: int = 1000,
    max_time: float = 120.0,
    min_gradient_norm: float = 1e-12,
) -> SectionMinimum:
    """Minimise the loss over all points ``theta + a1 e1 + a2 e2 + y`` with y orthogonal to ``d1``
    and ``d2``.

    Parameters
    ----------
    net : Net, NetI or any objective
    theta : (P,) array
        Reference point.
    d1, d2 : (P,) arrays
        Two directions that are not parallel; e1 and e2 are the same at unit length.
    a1, a2 : float
        Where in the plane.
    start : (P,) array, optional
        Start of the search; of it only what is orthogonal to the directions counts. y = 0 if not
        given.
    optimizer : str
        As in :func:`infflow.train`.
    max_steps, max_time, min_gradient_norm : int, float, float
        When to stop.

    Returns
    -------
    SectionMinimum
        ``theta``, ``loss``, ``gradient_norm``, ``status``.

    Raises
    ------
    InvalidValueError, InvalidTypeError, ShapeError, UnknownNameError
        If an argument cannot be used; directions that are parallel or zero.

    See Also
    --------
    loss_on_plane : for a grid of points.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> found = inf.minimise_orthogonal(neti, [1.0, 0.0, 1.0], [1, 0, 0], [0, 1, 0], a1=0.5)
    >>> bool(found.theta[0] == 1.5), bool(found.theta[2] < 1.0)
    (True, True)
    """
    theta, e1, e2 = _check_plane(net, theta, d1, d2)
    origin = theta + as_number("a1", a1) * e1 + as_number("a2", a2) * e2
    section = Section(net, origin, e1, e2)
    P = len(theta)
    y = np.zeros(P - 2) if start is None else section.inside(as_vector("start", start, P) - origin)
    problem = FixedPointProblem(section, y, np.ones(P - 2, dtype=bool))
    method = OPTIMIZERS.get(as_choice("optimizer", optimizer, ["auto", *OPTIMIZERS]))
    rules = StopRules(
        max_time=as_number("max_time", max_time, minimum=0.0, infinite=True),
        max_steps=as_integer("max_steps", max_steps, minimum=0),
        min_loss=2e-32,
        min_gradient_norm=as_number("min_gradient_norm", min_gradient_norm, minimum=0.0),
        patience=10**6,
    )
    with limit_for(P):
        found = (method or choose_optimizer(problem, y)).run(problem, y, rules)
    return SectionMinimum(
        section.point(found.theta), found.loss, found.gradient_norm, found.statistics.stop_reason
    )


@public
def loss_on_plane(
    net: Objective,
    theta: ArrayLike,
    d1: ArrayLike,
    d2: ArrayLike,
    a1: Any,
    a2: Any,
    *,
    minimise: bool = False,
    **options: Any,
) -> Array:
    """The loss at ``theta + a1 e1 + a2 e2`` for all pairs of two lists.

    Parameters
    ----------
    net, theta, d1, d2
        As in :func:`minimise_orthogonal`.
    a1, a2 : (n1,), (n2,) arrays
        Coordinates along the unit vectors e1 and e2.
    minimise : bool
        Whether everything orthogonal to the plane is minimised at each point; every search starts
        where that of its neighbour ended.
    **options
        Of :func:`minimise_orthogonal`.

    Returns
    -------
    (n1, n2) array

    Raises
    ------
    InfflowError
        As :func:`minimise_orthogonal`.

    See Also
    --------
    minimise_orthogonal : the best point off the plane.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> inf.loss_on_plane(
    ...     neti, [1.0, 0.0, 1.0], [1, 0, 0], [0, 0, 1], [0.0, 0.5], [0.0]
    ... ).shape
    (2, 1)
    """
    theta, e1, e2 = _check_plane(net, theta, d1, d2)
    first = as_real_array("a1", a1, ndim=1)
    second = as_real_array("a2", a2, ndim=1)
    minimise = as_flag("minimise", minimise)
    if options and not minimise:
        raise InvalidTypeError(f"the options {', '.join(options)} are for minimise=True.")
    losses = np.empty((len(first), len(second)))
    row_start = theta
    for i, s in enumerate(first):
        start = row_start
        for j, t in enumerate(second):
            if not minimise:
                losses[i, j] = net.evaluate(theta + s * e1 + t * e2, 0).value
                continue
            found = minimise_orthogonal(
                net, theta, e1, e2, float(s), float(t), start=start, **options
            )
            losses[i, j] = found.loss
            start = found.theta
            row_start = start if j == 0 else row_start
    return losses


def _check_plane(net: Any, theta: Any, d1: Any, d2: Any) -> tuple[Array, Array, Array]:
    P = as_objective(net).num_params
    if P < 3:
        raise InvalidValueError(
            f"the net has {counted(P, 'parameter')}; at least 3 are needed to leave two "
            "directions out."
        )
    theta = as_vector("theta", theta, P)
    units = []
    for name, value in (("d1", d1), ("d2", d2)):
        direction = as_vector(name, value, P)
        length = float(np.linalg.norm(direction))
        if length == 0.0:
            raise InvalidValueError(f"{name} is zero; a direction is needed.")
        units.append(direction / length)
    if 1.0 - abs(float(units[0] @ units[1])) < 1e-12:
        raise InvalidValueError("d1 and d2 are parallel; two different directions are needed.")
    return theta, units[0], units[1]
