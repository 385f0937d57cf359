"""Which points of a flow are kept, and the trajectory made of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, as_real_numbers, counted, user_level
from ..errors import IncompleteWarning, InvalidValueError, MethodError, ShapeError
from ..objective import LEFT_DOMAIN, Observes
from ..rotation import Lift
from ..threads import limit_for
from .integrator import Step
from .problem import FlowProblem

#: default trajectories with a finite t_end begin at the smaller of these: absolute, and relative
#: to t_end
FIRST_TIME = 1e-3
FIRST_FRACTION = 1e-6
#: ten to the power of this and more is no time any more
LAST_EXPONENT = 308.0
#: bytes of a trajectory above which no more is kept on the way than the trajectory will hold
LARGE = 2**25


class Trajectory:
    """Points along a gradient flow.

    Loss and gradient norm are evaluated when one of them is asked for, also by saving, copying or
    pickling: a flow itself does not need them at its recorded points.

    Attributes
    ----------
    t : (T,) array
        Times; the first is 0. With ``train(t_eval=...)`` exactly these.
    theta : (T, P) array
        Parameters. At times of ``t_eval`` behind the end of the flow those of its end, where it had
        come to rest; where it was cut off or failed they are not known, and everything about these
        points is NaN.
    loss, gradient_norm : (T,) arrays
        Loss, and infinity norm of its gradient over the parameters that are not frozen.
    observables : dict of name to array of first dimension T
        What was asked for in ``train(observables=...)``.
    points : (T, m) array
        What is kept of ``theta``: itself, or for runs in the inputs that the weights span (see
        ``train(reduce=...)``) the parameters of these, which are lifted when ``theta`` is looked
        at. ``point(k)`` lifts one.
    lift : Lift or None
        How.
    """

    def __init__(
        self,
        t: Array,
        theta: Array,
        loss: Array,
        gradient_norm: Array,
        observables: dict[str, Array] | None = None,
        lift: Lift | None = None,
    ) -> None:
        self.t = t
        self.points = theta
        self.lift = lift
        self._theta: Array | None = None  # lifted, where that is small
        self.observables = {} if observables is None else observables
        self._losses: tuple[Array, Array] | Callable[[], tuple[Array, Array]] = (
            loss,
            gradient_norm,
        )

    @classmethod
    def unevaluated(
        cls,
        t: Array,
        theta: Array,
        losses: Callable[[], tuple[Array, Array]],
        observables: dict[str, Array],
    ) -> Trajectory:
        """One whose losses and gradient norms are found by ``losses()`` when they are asked for."""
        track = cls(t, theta, t, t, observables)
        track._losses = losses
        return track

    def lifted(self, lift: Lift, losses: Callable[[], tuple[Array, Array]]) -> Trajectory:
        """The same points, which stand for others; ``losses()`` finds loss and gradient norm."""
        track = Trajectory(self.t, self.points, self.t, self.t, self.observables, lift)
        track._losses = losses
        return track

    @property
    def theta(self) -> Array:
        """Parameters at every point, shape (T, P)."""
        if self.lift is None:
            return self.points
        if self._theta is not None:
            return self._theta
        theta = self.lift(self.points)
        if theta.nbytes <= LARGE:
            self._theta = theta
        return theta

    def point(self, k: int) -> Array:
        """Parameters (P,) of one point, without those of the others."""
        return self.points[k] if self.lift is None else self.lift(self.points[k])

    def _evaluated(self) -> tuple[Array, Array]:
        if callable(self._losses):
            self._losses = self._losses()
        return self._losses

    @property
    def loss(self) -> Array:
        """Loss at every point, shape (T,)."""
        return self._evaluated()[0]

    @property
    def gradient_norm(self) -> Array:
        """Infinity norm of the gradient at every point, shape (T,)."""
        return self._evaluated()[1]

    def reached(self) -> Trajectory:
        """The same without the points that the flow did not reach."""
        known = ~np.isnan(self.points).any(axis=1)
        if known.all():
            return self
        observables = {name: values[known] for name, values in self.observables.items()}
        return Trajectory(
            self.t[known],
            self.points[known],
            self.loss[known],
            self.gradient_norm[known],
            observables,
            self.lift,
        )

    def __len__(self) -> int:
        return len(self.t)

    def __repr__(self) -> str:
        return (
            f"Trajectory({counted(len(self), 'point')}, t = {self.t[0]:.6g} to {self.t[-1]:.6g})"
            if len(self)
            else "Trajectory()"
        )

    def __getstate__(self) -> dict[str, Any]:
        self._evaluated()
        return {**self.__dict__, "_theta": None}


class GridRecorder:
    """Points at prescribed times, by dense output.

    Parameters
    ----------
    times : (m,) array
        Increasing, positive.
    """

    def __init__(self, times: Array) -> None:
        self._times = [float(t) for t in times] + [math.inf]
        self._next = 0
        self.points: list[Array] = []

    def record(self, step: Step) -> None:
        """Keep what this step passes."""
        while self._times[self._next] <= step.t:
            time = self._times[self._next]
            self.points.append(np.array(step.z if time == step.t else step.dense(time)))
            self._next += 1

    def take_out(self) -> tuple[Array, list[Array]]:
        """Times and points so far, which are not kept any longer."""
        points = self.points
        self.points = []
        return np.array(self._times[: self._next]), points

    def state(self) -> dict[str, Any]:
        """The points so far, for a checkpoint."""
        return {"points": np.array(self.points)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.points = list(state["points"])
        self._next = len(self.points)


def _time(index: int, m: int) -> float:
    """10^(index 2^-m), infinite where that overflows."""
    exponent = index * 2.0**-m
    return 10.0**exponent if exponent < LAST_EXPONENT else math.inf


class GeometricRecorder:
    """About ``num`` points at geometrically spaced times, without knowing where the flow will end.

    Times are 10^(j 2^-m) for integer j, so that runs of the same length share them. The spacing
    begins fine, and every other point is dropped whenever there are more than ``most``.

    Parameters
    ----------
    num : int
        Most points in the end.
    most : int
        Most points on the way: 2 ``num`` to end with ``num``, ``num`` to save memory and end with
        half as many or more.
    """

    def __init__(self, num: int, most: int) -> None:
        self.num = num
        self.most = most
        self._points: dict[int, Array] = {}
        self._m: int | None = None
        self._index = 0
        self._next = -math.inf

    def _start(self, step: Step) -> None:
        first = min(FIRST_TIME, step.t / 100)
        decades = math.log10(step.t / first)
        self._m = math.ceil(math.log2(self.most / decades)) - 1
        self._index = math.ceil(math.log10(first) * 2.0**self._m)
        self._next = _time(self._index, self._m)

    def record(self, step: Step) -> None:
        """Keep what this step passes."""
        if step.t < self._next:
            return
        if self._m is None:
            self._start(step)
        assert self._m is not None
        while self._next <= step.t:
            self._points[self._index] = np.array(step.dense(self._next))
            if len(self._points) > self.most:
                self._points = {j // 2: z for j, z in self._points.items() if j % 2 == 0}
                self._m -= 1
                self._index = self._index // 2
            self._index += 1
            self._next = _time(self._index, self._m)

    def state(self) -> dict[str, Any]:
        """Spacing and points so far, for a checkpoint."""
        indices = sorted(self._points)
        points = np.array([self._points[j] for j in indices])
        return {
            "m": self._m,
            "index": self._index,
            "indices": np.array(indices, dtype=float),
            "points": points,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._m, self._index = state["m"], int(state["index"])
        self._points = {int(j): z for j, z in zip(state["indices"], state["points"], strict=True)}
        self._next = -math.inf if self._m is None else _time(self._index, self._m)

    def take_out(self) -> tuple[Array, list[Array]]:
        """At most ``num`` times and points, evenly chosen; they are not kept any longer."""
        if self._m is None or self.num == 0:
            return np.empty(0), []
        indices = sorted(self._points)
        chosen = np.unique(
            np.linspace(0, len(indices) - 1, min(self.num, len(indices))).round().astype(int)
        )
        picked = [indices[i] for i in chosen]
        points = [self._points[j] for j in picked]
        self._points = {}
        return 10.0 ** (np.array(picked) * 2.0**-self._m), points


class Recorder:
    """The recorders that one run needs, chosen by ``t_eval``, ``num_trajectory`` and ``t_end``.

    With ``t_eval`` exactly these times are kept. Otherwise t = 0, log-spaced times and the end of
    the flow: for finite ``t_end`` a grid from min(1e-3, 1e-6 t_end) to ``t_end``; if the flow ends
    earlier, or ``t_end`` is infinite, a geometric set that is thinned as the flow goes on. If
    ``num`` points of ``size`` numbers take more than :data:`LARGE` bytes, a flow that ends early
    leaves what it has passed of the grid, and the geometric set has num/2 to num points.
    """

    def __init__(
        self, t_end: float, num: int, t_eval: Array | None, first_time: float, size: int
    ) -> None:
        self.t_end = t_end
        self.num = num
        self.t_eval = t_eval
        self._grid = self._online = None
        if t_eval is not None:
            self._grid = GridRecorder(t_eval[t_eval > 0])
            return
        if math.isfinite(t_end) and num > 2:
            first = max(min(FIRST_TIME, FIRST_FRACTION * t_end), first_time)
            if first < t_end:
                self._grid = GridRecorder(np.geomspace(first, t_end, num - 1)[:-1])
        large = 8 * num * size > LARGE
        if num > 2 and not (large and self._grid is not None):
            self._online = GeometricRecorder(num - 2, (num - 2) * (1 if large else 2))

    def record(self, step: Step) -> None:
        """Keep what this step passes."""
        if self._grid is not None:
            self._grid.record(step)
        if self._online is not None:
            self._online.record(step)

    def state(self) -> dict[str, Any]:
        """Points of both recorders, for a checkpoint."""
        both = {"grid": self._grid, "online": self._online}
        return {
            name: None if recorder is None else recorder.state() for name, recorder in both.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self._grid is not None:
            self._grid.restore(state["grid"])
        if self._online is not None:
            self._online.restore(state["online"])

    def finish(self, z0: Array, z_end: Array, t_end: float, rests: bool) -> tuple[Array, Array]:
        """Times (T,) and points (T, n) of the trajectory of a flow that ended at ``t_end``, and
        whether it rests there.

        Points of ``t_eval`` behind the end are the end itself where it rests; otherwise they are
        not known, and NaN.
        """
        if self.t_eval is not None:
            assert self._grid is not None
            _, points = self._grid.take_out()
            if self.t_eval[0] == 0.0:
                points = [z0, *points]
            behind = z_end if rests else np.full(len(z0), math.nan)
            points += [behind] * (len(self.t_eval) - len(points))
            return self.t_eval, _stack(points, len(z0))
        reached = t_end == self.t_end or self._online is None
        recorder = self._grid if reached and self._grid is not None else self._online
        times, points = (np.empty(0), []) if recorder is None else recorder.take_out()
        inside = (times > 0) & (times < t_end)
        points = [
            z0,
            *(point for point, keep in zip(points, inside, strict=True) if keep),
            *([z_end] * (t_end > 0)),
        ]
        return np.r_[0.0, times[inside], [t_end] * (t_end > 0)], _stack(points, len(z0))


def _stack(points: list[Array], size: int) -> Array:
    """One array of points that are dropped from the list while they are copied, so that there is
    one copy in memory.
    """
    array = np.empty((len(points), size))
    for k in reversed(range(len(points))):
        array[k] = points.pop()
    return array


Observable = str | Callable[[Array], Any]


def make_trajectory(
    problem: FlowProblem,
    t: Array,
    z: Array,
    observables: Mapping[str, Observable],
    keep_all: bool = False,
) -> Trajectory:
    """Observables at the recorded points; loss and gradient norm there are left for later.

    Where the flow met the border of the domain, they are evaluated now: points that the
    interpolation put outside of it are left out, or with ``keep_all`` have the loss NaN.
    """
    theta = problem.theta_of(z)
    unknown = np.isnan(z).any(axis=1)
    if unknown.any():
        theta[unknown] = math.nan  # frozen parameters, too
    losses = Losses(problem.objective, theta, partial(_largest_free, problem.free))
    if not problem.outside:
        return Trajectory.unevaluated(
            t, theta, losses, _observe_all(problem, observables, t, theta)
        )
    loss, norm = losses()
    if not keep_all:
        kept = np.isfinite(loss)
        t = t[kept]
        theta = theta[kept]
        loss = loss[kept]
        norm = norm[kept]
    return Trajectory(t, theta, loss, norm, _observe_all(problem, observables, t, theta))


def _largest_free(free: NDArray[np.intp], gradient: Array) -> float:
    return float(np.abs(gradient[free]).max(initial=0.0))


@dataclass(frozen=True)
class Losses:
    """Evaluates loss and gradient norm at recorded points."""

    objective: Any
    theta: Array
    norm: Callable[[Array], float]  #: norm of a gradient

    def __call__(self) -> tuple[Array, Array]:
        """Loss and gradient norm, each (T,); NaN outside of the domain."""
        losses, norms = np.full((2, len(self.theta)), math.nan)
        with np.errstate(all="ignore"), limit_for(self.theta.shape[1]):
            for k, point in enumerate(self.theta):
                if np.isnan(point).any():
                    continue
                try:
                    value, gradient, _ = self.objective.evaluate(point, 1)
                except LEFT_DOMAIN:
                    continue
                norm = self.norm(gradient)
                if math.isfinite(value) and math.isfinite(norm):
                    losses[k] = value
                    norms[k] = norm
        return losses, norms


def check_observables(objective: Any, observables: Mapping[str, Observable], theta: Array) -> None:
    """Raise what is wrong with a function at the start, before a flow that takes its time.

    That it is not defined there is no fault of it: the Hessian at a start with equal neurons may be
    infinite.
    """
    for name, observable in observables.items():
        function = (
            resolve_observable(objective, observable) if isinstance(observable, str) else observable
        )
        try:
            _real(name, function(theta.copy()))
        except _UNDEFINED:
            continue


#: errors by which an observable says that it has no value at a point
_UNDEFINED = (*LEFT_DOMAIN, ArithmeticError, np.linalg.LinAlgError)


def _real(name: str, value: Any) -> Array:
    return as_real_numbers(f"what observable {name!r} returned", value)


def _observe_all(
    problem: FlowProblem, observables: Mapping[str, Observable], t: Array, theta: Array
) -> dict[str, Array]:
    """Every observable at the points theta (T, P): arrays with first dimension T.

    Where one has no value, or fails, it is NaN, with one warning for all of them.
    """
    found: dict[str, Array] = {}
    failures: list[str] = []
    for name, observable in observables.items():
        function = (
            resolve_observable(problem.objective, observable)
            if isinstance(observable, str)
            else observable
        )
        found[name], failed, why = _observe(name, function, theta)
        if failed:
            shown = ", ".join(f"{t[k]:.6g}" for k in failed[:5]) + (
                ", ..." if len(failed) > 5 else ""
            )
            failures.append(f"{name!r} at {len(failed)} of {len(t)} points (t = {shown}): {why}")
    if failures:
        text = "some observables could not be evaluated everywhere and are NaN there: " + "; ".join(
            failures
        )
        warnings.warn(text, IncompleteWarning, stacklevel=user_level())
    return found


def _observe(
    name: str, function: Callable[[Array], Any], theta: Array
) -> tuple[Array, list[int], str]:
    """Values (T, ...) of one observable, the points where it failed, and how it failed first."""
    values: dict[int, Array] = {}
    failed: list[int] = []
    why = ""
    for k, point in enumerate(theta):
        if np.isnan(point).any():  # the flow did not get there
            continue
        try:
            # a copy, since the function may write to its argument
            value = _real(name, function(point.copy()))
            shape = next(iter(values.values())).shape if values else value.shape
            if value.shape != shape:
                raise ShapeError(
                    f"its shape is {value.shape}, and {shape} elsewhere; it must always be the same"
                )
            values[k] = value
        except Exception as error:  # the run is worth more than one of its observables
            failed.append(k)
            why = why or f"{type(error).__name__}: {error}"
    shape = next(iter(values.values())).shape if values else ()
    found = np.full((len(theta), *shape), math.nan)
    for k, value in values.items():
        found[k] = value
    return found, failed, why


def resolve_observable(objective: Any, name: str) -> Callable[[Array], Any]:
    """The function of theta behind the name of an observable, or an error that lists the known
    names.

    ``"lambda_min"`` is the smallest eigenvalue of the Hessian; other names are asked of
    ``objective.observable(name)``, where the objective has such a method.
    """
    if name == "lambda_min":
        return lambda theta: np.linalg.eigvalsh(_hessian(objective, theta))[0]
    if isinstance(objective, Observes):
        return objective.observable(name)
    raise InvalidValueError(
        f"observable {name!r} is not known for {type(objective).__name__}. "
        "Known: 'lambda_min'; or pass a dictionary {name: function of theta}."
    )


def _hessian(objective: Any, theta: Array) -> Array:
    found: Array | None = objective.evaluate(theta, 2).hessian
    if found is None:
        raise MethodError(
            f"'lambda_min' needs the Hessian, which {type(objective).__name__} does not give at "
            "order 2."
        )
    return found
