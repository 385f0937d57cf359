"""A run in the inputs that the weights span, which its user sees in all parameters.

| what | where |
|---|---|
| whether a run can be reduced, and why not | ``plan`` |
| the run itself | ``training.py``, as any other: it sees a network with few inputs |
| points, gradients and trajectories in all parameters | ``ReducedRun`` |
| the callback of the user | ``FullView`` |
| the way down from where the whole network has a saddle | ``ReducedRun.outward`` |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._validation import Array, counted
from .errors import InvalidValueError
from .flow import Losses, Trajectory, resolve_observable
from .flow.problem import Dynamics
from .networks.eigenvalues import spectrum_by_parts
from .networks.infinite.reduction import Reduction, obstacle, smallest
from .objective import LEFT_DOMAIN, Objective
from .rotation import Lift
from .spectrum import largest_magnitude
from .stopping import Progress

#: methods that treat single weights in their own way, so that they do not commute with rotations
ONE_BY_ONE = {
    "solver": ("adam",),
    "optimizer": ("slsqp",),
}
#: an eigenvalue of J below this part of the largest one of the Hessian, and below zero, is a way
#: down
_DOWN = 1e-8
#: up to so many hidden neurons it is looked for: all eigenvalues of J are
_LOOKED_AT = 1000
#: first step along it, relative to the longest row of W; and by how many halvings it may shrink
_FIRST_STEP = 0.1
_HALVINGS = 40


class Plan(NamedTuple):
    """How a run is to be done: in few inputs, or in all of them and why."""

    run: ReducedRun | None
    note: str


@dataclass(frozen=True, eq=False)
class ReducedRun:
    """A run in few inputs."""

    reduction: Reduction
    lift: Lift
    free: NDArray[np.bool_]  #: (P_n,) parameters that may move

    @property
    def net(self) -> Objective:
        """The network that is run."""
        return self.reduction.net

    def gradient_norm(self, gradient: Array) -> float:
        """Infinity norm of the whole gradient, frozen parameters left out, from a short one."""
        return self.reduction.rotation.largest(np.where(self.free, gradient, 0.0))

    def gradient_norm_at(self, objective: Any, theta: Array, otherwise: float) -> float:
        """The same at a point (P_n,); ``otherwise`` outside of the domain."""
        with np.errstate(all="ignore"):
            try:
                found = self.gradient_norm(objective.evaluate(theta, 1).g)
            except LEFT_DOMAIN:
                return otherwise
        return found if np.isfinite(found) else otherwise

    @property
    def bound_factor(self) -> float:
        """By how much the norm of the whole gradient can exceed that of the short one."""
        sums = np.zeros(len(self.reduction.basis))
        for column in self.reduction.basis.T:
            sums += np.abs(column)
        return max(1.0, float(sums.max()))

    def trajectory(self, kept: Trajectory, objective: Any) -> Trajectory:
        """A trajectory in few inputs as one in all parameters."""
        return kept.lifted(self.lift, Losses(objective, kept.points, self.gradient_norm))

    def observables(self, given: Any) -> dict[str, Callable[[Array], Any]]:
        """Functions of short parameters in the place of those of the user."""
        if given is None:
            return {}
        if isinstance(given, dict):
            return {name: self._of_full(function) for name, function in given.items()}
        return {
            name: self._lowest if name == "lambda_min" else resolve_observable(self.net, name)
            for name in given
        }

    def _of_full(self, function: Callable[[Array], Any]) -> Callable[[Array], Any]:
        return lambda theta: function(self.lift(theta))

    def _lowest(self, theta: Array) -> float:
        return float(spectrum_by_parts(self.reduction, theta).values[0])

    def outward(self, objective_of: Callable[[Objective], Objective], theta: Array) -> Way | None:
        """The way down from ``theta`` (P_n,) along an input that the weights do not span.

        There the loss is even, so that its gradient is zero, and a search in the span cannot see
        that the critical point is a saddle.

        Parameters
        ----------
        objective_of : callable
            What is minimised, from a network: the same, or with its integrals exact.
        theta : (P_n,) array
            Where a search ended.

        Returns
        -------
        Way or None
            None where no eigenvalue of J is negative on the rows that may move.
        """
        red = self.reduction
        rows = self.free[: red.rotation.num_weights[1] : red.input_dim]
        best: tuple[float, int, Array] | None = None
        if len(rows) > _LOOKED_AT or not rows.any():
            return None
        for group in range(len(red.multiplicities)):
            J = red.perpendicular(theta, group)[np.ix_(rows, rows)]
            values, vectors = np.linalg.eigh(J)
            if best is None or values[0] < best[0]:
                direction = np.zeros(len(rows))
                direction[rows] = vectors[:, 0]
                best = (float(values[0]), group, direction)
        if best is None or best[0] >= 0.0:
            return None
        curvature, group, direction = best
        if curvature > -_DOWN * largest_magnitude(partial(red.net.hvp, theta), len(theta), 0.1):
            return None
        wider = red.outward(group, theta)
        multiplicity = red.multiplicities[group]
        start = _lower(objective_of(wider.net), wider, direction, curvature)
        if start is None:
            return None
        short_start = red.widened(self.lift.short_start, np.zeros((len(rows), 1)))
        run = ReducedRun(
            wider,
            Lift(wider.rotation, self.lift.start, short_start),
            red.widened(self.free, rows[:, None]),
        )
        note = (
            f"left a saddle along an input outside of the span (eigenvalue {curvature:.3g} of the "
            f"Hessian, {counted(multiplicity, 'time')})"
        )
        return Way(run, start, note)


class Way(NamedTuple):
    """A run with one more input, where it begins, and what led there."""

    run: ReducedRun
    start: Array
    note: str


def _lower(
    objective: Objective, wider: Reduction, direction: Array, curvature: float
) -> Array | None:
    """A point with a lower loss along a direction (K,) of the last input, or None."""
    theta = wider.theta
    n = wider.input_dim
    few = wider.rotation.num_weights[1]
    value = objective.evaluate(theta, 0).value
    W = theta[:few].reshape(-1, n)
    length = _FIRST_STEP * max(float(np.linalg.norm(W, axis=1).max()), 1e-3)
    for _ in range(_HALVINGS):
        moved = theta.copy()
        moved[n - 1 : few : n] = length * direction
        try:
            found = objective.evaluate(moved, 0).value
        except LEFT_DOMAIN:
            found = np.inf
        if found < value + 0.25 * curvature * length * length:
            return moved
        length = length / 2
    return None


class FullView:
    """The callback of a user, who sees all parameters.

    It costs a gradient per step: solvers know only the norm of that in few inputs.
    """

    def __init__(self, user: Callable[[Progress], Any], run: ReducedRun) -> None:
        self.user = user
        self.run = run
        #: objective of a stage, where it is not the network
        self.objectives: dict[str, Objective] = {}
        self.steps_before = 0  #: steps of a search that goes on

    def __call__(self, now: Progress) -> Any:
        """What the user answers, who is shown all parameters."""
        objective = self.objectives.get(now.stage, self.run.net)
        norm = self.run.gradient_norm_at(objective, now.theta, now.gradient_norm)
        seen = now._replace(
            step=self.steps_before + now.step,
            theta=self.run.lift(now.theta),
            gradient_norm=norm,
        )
        return self.user(seen)


def plan(
    net: Any,
    theta0: Array,
    eta: float | Array,
    reduce: str | bool,
    methods: dict[str, Any],
    dynamics: Dynamics | None = None,
) -> Plan:
    """Whether a run is done in few inputs.

    Parameters
    ----------
    net : Objective
    theta0 : (P,) array
    eta : float or (P,) array
    reduce : {"auto", True, False}
    methods : dict
        ``solver`` and ``optimizer``: names, or functions of the user.
    dynamics : Dynamics, optional
        What the flow is, where it is not that of the gradient.

    Raises
    ------
    InvalidValueError
        If a reduction is asked for where it is not exact.
    """
    if reduce is False:
        return Plan(None, "not reduced: reduce is False" if not obstacle(net) else "")
    why = obstacle(net) or _not_exact(net, eta, methods, dynamics)
    if why:
        if reduce is True:
            raise InvalidValueError(
                f"reduce is True, but a run in fewer inputs would not be exact: {why}. "
                "Leave it 'auto', or change that."
            )
        return Plan(None, "" if obstacle(net) else f"not reduced: {why}")
    red = smallest(net, theta0)
    if not red.is_smaller:
        return Plan(None, "not reduced: the weights span all inputs")
    free = short_rates(eta, red, net.num_params) > 0.0
    run = ReducedRun(red, Lift(red.rotation, theta0, red.theta), free)
    return Plan(run, f"reduced to the span of weights: {red}")


def _not_exact(
    net: Any, eta: float | Array, methods: dict[str, Any], dynamics: Dynamics | None
) -> str:
    """What does not commute with rotations of the input; empty if everything does."""
    if dynamics is not None and not dynamics.commutes:
        return f"the path of {dynamics!r} leaves the span of the weights"
    for argument, names in ONE_BY_ONE.items():
        if callable(methods[argument]):
            return f"{argument} is a function, which may treat single weights in their own way"
        if methods[argument] in names:
            return f"{argument} {methods[argument]!r} treats single weights in their own way"
    if np.ndim(eta):
        K = net.layout.blocks[0].width
        rows = np.asarray(eta)[: K * net.input_dim].reshape(K, -1)
        differs = np.flatnonzero((rows != rows[:, :1]).any(axis=1))
        if len(differs):
            return (
                f"eta differs among the input weights of neuron {differs[0]}, and a rotation "
                "needs one rate per row of W"
            )
    return ""


def short_rates(eta: float | Array, red: Reduction, num_params: int) -> Array:
    """Rates (P_n,) of short parameters, from those of all."""
    if np.ndim(eta) == 0:
        return np.full(red.net.num_params, float(eta))
    full = red.rotation.num_weights[0]
    given = np.asarray(eta)
    rows = given[: full : len(red.basis)]
    return np.concatenate([np.repeat(rows, red.input_dim), given[full:num_params]])
