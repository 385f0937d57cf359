"""The flow of a loss whose gradient jumps across planes that it can name, in Filippov's sense.

Where the gradient jumps, dz/dt lies in the convex hull of the limits of -gradient (A. Filippov,
Differential Equations with Discontinuous Righthand Array, Kluwer 1988, section 4). Along the
solutions of such a gradient flow it is the shortest element of that hull (D. Davis et al., Found.
Comput. Math. 20 (2020) 119-154, lemma 5.2). At a ridge that is the field of one side, and the
path crosses. At the bottom of a valley with a kink, where both sides push towards it, the path
*slides*: the gradient is that of the loss on the planes,

    g + sum_k mu_k n_k  with  0 <= mu_k <= delta_k,

g being the gradient below the planes, n_k their normals, and delta_k n_k the jumps. A path leaves
a plane where mu_k comes to one of its bounds.

Between two such events the loss is smooth, and so is the path: steps are those of the exponential
method of ``exponential.py``, in an orthonormal basis of what the planes leave free. The planes are
linear, so that this holds exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, counted
from ..stopping import StopReason
from .control import PREDICTIVE, ControlState, StepControl, initial_step
from .end_rules import remaining_path
from .exponential import ERROR_ORDER, ExponentialFamily
from .integrator import Step, StepFailed, check_time, is_finite, restored, underflows
from .kinks import BOUND, Cell, Field, Kinks
from .onestep import NoMemory
from .problem import FlowEvaluation, FlowProblem

Path = Callable[[float], Array]

#: fractions of a step at which it is asked whether kinks were crossed
_LOOKS = (0.25, 0.5, 0.75, 1.0)
#: a kink is crossed beyond twice its rounding error
_BEYOND = 2.0
#: changes of sides at one point, without a step between them
_CHANGES = 100
#: length of a way out of a point where these are too many, in units of atol
_WAY = 1e-3
#: a step up to this length, in units of the tolerances, may be the last one
_LAST = 2.0
#: Newton steps to the end of the path
_NEWTON = 8


class FilippovState(NamedTuple):
    """All that the next steps depend on."""

    t: float
    z: Array  #: the point, (n,)
    value: float
    gradient: Array  #: the shortest one there, (n,)
    sides: Array  #: (m,), 1 above a kink, -1 below, 0 sliding on it
    control: ControlState
    crossings: int = 0  #: kinks that were crossed
    slidings: int = 0  #: kinks on which sliding began
    departures: int = 0  #: and those that were left again
    rejected: int = 0
    factorizations: int = 0


class Filippov:
    """Exponential steps from kink to kink, and along kinks.

    Parameters
    ----------
    problem : FlowProblem
        The flow, of an objective with :class:`~infflow.objective.HasPieces`; another one is taken
        as smooth.
    z, evaluation : (n,) array, FlowEvaluation
        Start.
    first_step, max_step : float, optional
        First step, and longest one.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        first_step: float | None = None,
        max_step: float = math.inf,
    ) -> None:
        self.problem = problem
        self._field = Field(problem)
        sides = np.sign(self._field.values(z))
        none = np.empty(0, dtype=np.intp)
        sides = self._field.sides_at(z, sides, self._field.near(z, sides, none), none)
        self._cell = Cell(self._field, z, sides)
        start = self._cell.start
        gradient = self._cell.direction(start.gradient)
        first = first_step or initial_step(problem, z, gradient, ERROR_ORDER, None)
        self._control = StepControl(PREDICTIVE, ERROR_ORDER + 1, first, max_step)
        self.state = FilippovState(
            0.0, z, start.value, gradient, sides, self._control.start(), slidings=_held(sides)
        )

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.state = restored(self.state, saved, self.problem.size)
        self._cell = Cell(self._field, self.state.z, self.state.sides)

    @property
    def slides(self) -> bool:
        """Whether the path is on kinks now."""
        return _held(self.state.sides) > 0

    @property
    def on_kinks(self) -> bool:
        """Whether the path is on kinks now, or a neuron has vanished, whose kinks are there."""
        return self.slides or self._field.is_corner(self.state.z)

    @property
    def remark(self) -> str:
        """How often kinks were met."""
        now = self.state
        if not self._field.size:
            return ""
        return (
            f"{counted(now.crossings, 'kink')} crossed, {now.slidings} met to slide along, "
            f"{now.departures} of these left"
        )

    def advance(self, t_end: float) -> Step:
        """One accepted step: to the next kink, where one is met."""
        now = self.state
        for change in range(1, 2 * _CHANGES):
            cell = self._cell
            if not cell.start.gradient.size:
                return self._rest(now, t_end)
            attempt = self._attempt(cell, now, t_end)
            path, h, t, control = attempt.path, attempt.h, attempt.t, attempt.control
            fraction, met = self._first_event(cell, path)
            z = path(fraction)
            sides = now.sides
            if fraction < 1.0:
                t = now.t + fraction * h
                near = self._field.near(z, sides, met)
                z = self._field.onto(z, near)
                sides = self._field.sides_at(z, sides, near, met)
            now = _counting(now, sides)._replace(
                z=z, control=control, rejected=attempt.rejected, factorizations=attempt.number
            )
            if change == _CHANGES and t <= now.t:
                z, sides = self._field.way_out(z, sides, self._way(now))
                now = _counting(now, sides)._replace(z=z)
            self._cell = Cell(self._field, z, sides)
            if t > now.t:
                return self._accept(cell, now, t, path, h, t_end)
        raise StepFailed(
            StopReason.STEP_UNDERFLOW,
            f"sides of kinks change without end {self.problem.where(now.t, now.z)}",
        )

    def _accept(
        self, cell: Cell, now: FilippovState, t: float, path: Path, h: float, t_end: float
    ) -> Step:
        """The step from the present state to ``now``, whose time is still the old one."""
        t0 = now.t
        end = None
        asked = math.isinf(t_end) or t >= t_end
        if asked and self.problem.error_norm(now.z - cell.z, cell.z, now.z) <= _LAST:
            end, z = self._end(self._cell, t)
            if end is StopReason.HANDOVER and t >= t_end:
                end = None
            if end is not None:
                now = now._replace(z=z)
                self._cell = Cell(self._field, z, now.sides)
        found = self._cell.start
        if not is_finite(found):
            raise self._failure(StopReason.NON_FINITE, now)
        gradient = self._cell.direction(found.gradient)
        self.state = now._replace(t=t, value=found.value, gradient=gradient)
        evaluation = FlowEvaluation(found.value, gradient)
        return Step(t0, t, now.z, evaluation, lambda time: path((time - t0) / h), end=end)

    def _way(self, now: FilippovState) -> float:
        """A length that the tolerances don't see, but time and the values of kinks do."""
        smallest = _WAY * float(np.min(self.problem.atol))
        noise = self._field.noise(now.z).max(initial=0.0)
        unseen = noise + np.linalg.norm(now.gradient) * np.spacing(now.t)
        return max(smallest, float(unseen) / _WAY)

    def _rest(self, now: FilippovState, t_end: float) -> Step:
        """Nothing is free to move."""
        t = now.t + now.control.h if math.isinf(t_end) else t_end
        self.state = now._replace(t=t)
        evaluation = FlowEvaluation(now.value, now.gradient)
        return Step(now.t, t, now.z, evaluation, lambda time: now.z, end=StopReason.KINK)

    def _failure(self, reason: StopReason, now: FilippovState) -> StepFailed:
        return StepFailed(
            reason, f"{self.problem.where(now.t, now.z)}. {self.problem.outside}".strip()
        )

    # --------------------------------------------------------------------------------- smooth steps

    def _attempt(self, cell: Cell, now: FilippovState, t_end: float) -> _Accepted:
        """A step within the tolerances, as if the piece had no end."""
        family = ExponentialFamily(cell)  # type: ignore[arg-type]
        family.factorizations = now.factorizations
        origin = cell.origin
        control = now.control
        rejected = now.rejected
        while True:
            h = min(control.h, t_end - now.t)
            t = t_end if h >= t_end - now.t else now.t + h
            check_time(t)
            found = family.attempt(origin, cell.start, h, NoMemory())
            assert found.error is not None
            error = self.problem.error_norm(cell.direction(found.error), cell.z, cell.lift(found.z))
            if error <= 1.0:
                break
            rejected += 1
            control = self._control.rejected(control, h, error)
            if underflows(control.h, now.t, self._control.first):
                reason = StopReason.STEP_UNDERFLOW if error < math.inf else StopReason.NON_FINITE
                raise self._failure(reason, now)
        if h >= 0.5 * control.h:
            control = self._control.accepted(control, h, error)

        def path(fraction: float) -> Array:
            y = found.z if fraction == 1.0 else family.interpolate(origin, found.z, h, fraction)
            return cell.lift(y)

        return _Accepted(path, h, t, control, rejected, family.factorizations)

    # --------------------------------------------------------------------------------------- events

    def _first_event(self, cell: Cell, path: Path) -> tuple[float, Kinks]:
        """The fraction of the step at which a kink is met or left, 1 for none, and which is met."""
        nothing = np.empty(0, dtype=np.intp)
        if not self._field.size:
            return 1.0, nothing
        fraction, met = self._crossing(cell, path)
        if cell.margin(path(fraction)) >= -BOUND:
            return fraction, met
        if cell.margin(cell.z) < -BOUND:
            return 0.0, nothing
        left = _root(lambda x: cell.margin(path(x)) + BOUND, 0.0, fraction)
        return left, nothing

    def _crossing(self, cell: Cell, path: Path) -> tuple[float, Kinks]:
        sides = cell.sides
        noise = _BEYOND * self._field.noise(cell.z)
        before = 0.0
        for look in _LOOKS:
            signed = sides * self._field.values(path(look))
            beyond = np.flatnonzero(signed < -noise)
            if len(beyond):
                break
            before = look
        else:
            return 1.0, beyond
        normals = self._field.normals(beyond)
        at = sides[beyond] * self._field.values(cell.z)[beyond]

        def height(fraction: float) -> Array:
            moved: Array = sides[beyond] * (normals @ (path(fraction) - cell.z))
            return at + moved + 0.5 * noise[beyond]

        first = _root(lambda x: float(height(x).min()), before, look)
        return first, beyond[height(first) <= 0.5 * noise[beyond]]

    # ------------------------------------------------------------------------------------------ end

    def _end(self, cell: Cell, t: float) -> tuple[StopReason | None, Array]:
        """Why the path ends in this cell, and where; None where it goes on.

        The rest of the path is shorter than the tolerances, stays on the piece, keeps multipliers
        within their bounds, and leads to no saddle of the loss on the planes.
        """
        goes_on = None, cell.z
        here = cell.start
        y = cell.origin
        rest = remaining_path(cell, here, y, t)  # type: ignore[arg-type]
        if rest is None or self.problem.error_norm(cell.direction(rest), cell.z, cell.z) > 1.0:
            return goes_on
        for _ in range(_NEWTON):
            there = cell.evaluate_loss(y + rest, 2)
            if not _size(there.gradient) < _size(here.gradient):
                break
            y = y + rest
            here = there
            step = remaining_path(cell, here, y, 0.0)  # type: ignore[arg-type]
            if step is None:
                break
            rest = step
        z = cell.lift(y)
        if self._field.size:
            signed = cell.sides * self._field.values(z)
            if (signed < -_BEYOND * self._field.noise(z)).any() or cell.margin(z) < 0.0:
                return goes_on
        on_kinks = len(cell.held) > 0 or self._field.is_corner(z)
        return (StopReason.KINK if on_kinks else StopReason.HANDOVER), z


class _Accepted(NamedTuple):
    """A step within the tolerances."""

    path: Path  #: the point at a fraction of it
    h: float
    t: float
    control: ControlState
    rejected: int
    number: int  #: factorisations so far


def _size(gradient: Array) -> float:
    return float(np.abs(gradient).max(initial=0.0))


def _held(sides: Array) -> int:
    return int((sides == 0).sum())


def _counting(now: FilippovState, sides: Array) -> FilippovState:
    """The state with new sides, and what happened counted."""
    before, after = now.sides == 0, sides == 0
    crossed = int((sides * now.sides < 0).sum())
    return now._replace(
        sides=sides,
        crossings=now.crossings + crossed,
        slidings=now.slidings + int((after & ~before).sum()),
        departures=now.departures + int((before & ~after).sum()),
    )


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is positive at ``low`` and negative at ``high`` has a zero."""
    from scipy.optimize import brentq

    if not function(low) > 0.0:
        return low
    return float(brentq(function, low, high, xtol=1e-15, rtol=8.9e-16, disp=False))
