"""Stiff integration of a small system of differential equations with an exact Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np

from .._validation import Array
from ..compile_time import running_time
from ..errors import SingularMomentError
from ..stopping import TimeIsUp
from ..terminal import Bar

SOLVERS = ("cvode_bdf", "radau", "bdf")


class OnlineStop(Enum):
    """Why the integration ended; the value is the sentence that the user reads."""

    T_END = "The dynamics reached t_end."
    MIN_ERROR = "The generalization error fell to min_error."
    MAX_TIME = "The allowed wall time is used up; raise max_time to go on from here."
    MAX_STEPS = "The allowed number of steps is used up; raise max_steps to go on from here."
    DIVERGED = (
        "The order parameters grow beyond all bounds: the learning rate is too high for this "
        "network. Lower learning_rate; "
        "activations that grow faster than linearly diverge from large weights at any rate."
    )
    SOLVER_FAILED = (
        "The solver gave up (see the note for its own message); take another solver or other "
        "tolerances."
    )
    INTERRUPTED = "Interrupted from the keyboard; the points up to here are kept."
    SIMULATED = "The simulation made all steps."

    @property
    def message(self) -> str:
        """The sentence that says what happened and what can be done."""
        return self.value


class System(Protocol):
    """What is integrated: dz/dt = value(z), with Jacobian and the error that ``min_error`` refers
    to.
    """

    def value(self, z: Array) -> Array:
        """Right-hand side (n,)."""
        ...

    def jacobian(self, z: Array) -> Array:
        """Its derivative (n, n)."""
        ...

    def error(self, z: Array) -> float:
        """What is compared with ``min_error``."""
        ...


class Settings(NamedTuple):
    """What is asked for, already checked."""

    solver: str
    rtol: float
    atol: float
    min_error: float
    max_time: float
    max_steps: int


class Path(NamedTuple):
    """Times and points that were reached, steps taken, and why it ended."""

    t: Array
    z: Array
    steps: int
    status: OnlineStop
    note: str


#: Variables larger than this count as divergence.
_HUGE = 1e12
#: So do variables that would double within this part of the time so far; where a solver gives up,
#: within the second one.
_SOON = 1e-10
_SOON_AND_FAILED = 1e-4


class Stepper(Protocol):
    """One step at a time, with dense output over the last one."""

    t: float
    z: Array

    def step(self) -> None:
        """Advance by one internal step."""
        ...

    def at(self, time: float) -> Array:
        """Interpolate within the last step."""
        ...


class StepperFailed(Exception):
    """The library could not take a step."""


class _Cvode:
    """Backward differentiation formulas of SUNDIALS with dense exact Jacobian."""

    def __init__(
        self, system: _Timed, t0: float, z0: Array, t_end: float, rtol: float, atol: float
    ) -> None:
        from sksundae.cvode import CVODE

        self.t = 0.0
        self.z = z0
        self._t_end = t_end
        self._error: BaseException | None = None
        self._looked_back = False

        def rhs(t: float, z: Array, out: Array) -> None:
            self._guard(system.value, t, z, out)

        def jacobian(t: float, z: Array, f: Array, out: Array) -> None:
            self._guard(system.jacobian, t, z, out)

        self._solver = CVODE(
            rhs, rtol=rtol, atol=atol, method="BDF", linsolver="dense", jacfn=jacobian
        )
        self._call(lambda: self._solver.init_step(t0, z0))

    def _guard(
        self, function: Callable[[float, Array], Array], t: float, z: Array, out: Array
    ) -> None:
        """Keep an exception, to raise it again outside of CVODE."""
        try:
            out[...] = function(t, np.array(z))
        except BaseException as error:
            self._error = error
            raise

    def _call(self, function: Callable[[], object]) -> object:
        try:
            found = function()
        except Exception as error:
            if self._error is not None:
                raise self._error from None
            raise StepperFailed(f"CVODE: {error}") from error
        if self._error is not None:
            raise self._error
        return found

    def _advance(self) -> tuple[float, Array]:
        found = self._call(lambda: self._solver.step(self._t_end, "onestep", self._t_end))
        if found.status < 0:  # type: ignore[attr-defined]
            raise StepperFailed(f"CVODE: {found.message}")  # type: ignore[attr-defined]
        return float(found.t), np.array(found.y)  # type: ignore[attr-defined]

    def step(self) -> None:
        t, z = self._advance()
        if (
            t == self.t and self._looked_back
        ):  # after dense output CVODE first returns the point it had reached
            t, z = self._advance()
        self._looked_back = False
        if t <= self.t:
            raise StepperFailed(
                "CVODE: the step size fell below the spacing of floating point numbers"
            )
        self.t = t
        self.z = z

    def at(self, time: float) -> Array:
        self._looked_back = True
        found = self._call(lambda: self._solver.step(time, "normal", None))
        return np.array(found.y)  # type: ignore[attr-defined]


class _Scipy:
    """Radau IIA or BDF of SciPy with exact Jacobian."""

    def __init__(
        self,
        name: str,
        system: _Timed,
        t0: float,
        z0: Array,
        t_end: float,
        rtol: float,
        atol: float,
    ) -> None:
        from scipy import integrate

        method = {"radau": integrate.Radau, "bdf": integrate.BDF}[name]
        self._solver = method(
            system.value,
            t0,
            z0,
            t_end,
            rtol=rtol,
            atol=atol,
            jac=system.jacobian,
        )
        self.t = t0
        self.z = z0

    def step(self) -> None:
        message = self._solver.step()
        if self._solver.status == "failed":
            raise StepperFailed(f"SciPy: {message}")
        self.t, self.z = float(self._solver.t), self._solver.y

    def at(self, time: float) -> Array:
        found: Array = self._solver.dense_output()(time)
        return found


class Clock(NamedTuple):
    """Equations that change in time: where they jump, and what sets their time."""

    jumps: tuple[float, ...]
    set: Callable[[float], None]


class _Timed:
    """A system that looks at the clock on the wall before every evaluation, and sets its own.

    ``end`` is where the present segment ends: at a jump the limit from the left counts.
    """

    def __init__(self, system: System, max_time: float, clock: Clock | None) -> None:
        self._system, self._until = system, running_time() + max_time
        self._clock = clock
        self.end = math.inf

    def _set(self, t: float) -> None:
        if self._clock is not None:
            self._clock.set(min(t, self.end))

    def _require_time(self) -> None:
        if running_time() >= self._until:
            raise TimeIsUp

    def value(self, t: float, z: Array) -> Array:
        """Right-hand side (n,)."""
        self._require_time()
        self._set(t)
        return self._system.value(z)

    def jacobian(self, t: float, z: Array) -> Array:
        """Its derivative (n, n)."""
        self._require_time()
        self._set(t)
        return self._system.jacobian(z)

    def error(self, z: Array) -> float:
        """What is compared with ``min_error``."""
        return self._system.error(z)


def integrate(
    system: System,
    z0: Array,
    times: Array,
    settings: Settings,
    clock: Clock | None = None,
    bar: Bar | None = None,
) -> Path:
    """Integrate from t = 0 and keep the given times (increasing, >= 0); the last one ends it.

    With a clock the solver starts anew at every jump. The limit of time holds to within one
    evaluation and does not count what numba compiles. A bar is told the time after every step.
    """
    steps = 0
    t_end = float(times[-1])
    timed = _Timed(system, settings.max_time, clock)
    ends = [jump for jump in (clock.jumps if clock is not None else ()) if jump < t_end] + [t_end]
    at_start = int(times[0] == 0.0)
    kept_t = [0.0] * at_start
    kept_z = [z0] * at_start
    status = OnlineStop.T_END
    note = ""
    index = len(kept_t)
    t_reached = 0.0
    z = z0
    growth = 0.0
    try:
        stepper: Stepper | None = None
        while index < len(times):
            if stepper is None or t_reached >= ends[0]:
                if stepper is not None:
                    ends.pop(0)
                timed.end = float(np.nextafter(ends[0], 0.0)) if len(ends) > 1 else math.inf
                stepper = _stepper(timed, t_reached, z, ends[0], settings)
            stepper.step()
            steps += 1
            growth = _growth(t_reached, z, stepper.t, stepper.z)
            t_reached = stepper.t
            z = stepper.z
            if bar is not None:
                bar.move_to(min(t_reached, t_end))
            while index < len(times) and times[index] <= t_reached:
                kept_z.append(z if times[index] == t_reached else stepper.at(float(times[index])))
                kept_t.append(float(times[index]))
                index += 1
            found = _check(timed, z, growth, steps, settings)
            if found is not None and index < len(times):
                status = found
                break
    except KeyboardInterrupt:
        status = OnlineStop.INTERRUPTED
    except TimeIsUp:
        status = OnlineStop.MAX_TIME
    except (StepperFailed, SingularMomentError, ZeroDivisionError) as error:
        diverged = not np.abs(z).max() < math.sqrt(_HUGE) or growth > 1.0 / _SOON_AND_FAILED
        status = OnlineStop.DIVERGED if diverged else OnlineStop.SOLVER_FAILED
        note = f"at t = {t_reached:.6g}: {error}"
    if status is OnlineStop.DIVERGED:
        note = _where(t_reached, z, growth)
    if t_reached > (kept_t[-1] if kept_t else -1.0) and status is not OnlineStop.T_END:
        kept_t.append(t_reached)  # where it ended
        kept_z.append(z)
    return Path(
        np.array(kept_t), np.array(kept_z).reshape(len(kept_t), len(z0)), steps, status, note
    )


def _growth(t0: float, z0: Array, t: float, z: Array) -> float:
    """Relative growth of |z| per step, in units of the time so far: its inverse is how soon, as a
    part of that, |z| doubles.
    """
    before = float(np.linalg.norm(z0))
    now = float(np.linalg.norm(z))
    return (now - before) / now * (t / (t - t0)) if now > before else 0.0


def _where(t: float, z: Array, growth: float) -> str:
    note = f"at t = {t:.6g}, where the largest is {np.abs(z).max():.3g}"
    return note + (f" and they double within {t / growth:.2g}" if growth > 1.0 else "")


def _stepper(system: _Timed, t0: float, z0: Array, t_end: float, settings: Settings) -> Stepper:
    if settings.solver == "cvode_bdf":
        return _Cvode(system, t0, z0, t_end, settings.rtol, settings.atol)
    return _Scipy(settings.solver, system, t0, z0, t_end, settings.rtol, settings.atol)


def _check(
    system: _Timed, z: Array, growth: float, steps: int, settings: Settings
) -> OnlineStop | None:
    if not np.abs(z).max() < _HUGE or growth > 1.0 / _SOON:
        return OnlineStop.DIVERGED
    if settings.min_error > 0.0 and system.error(z) <= settings.min_error:
        return OnlineStop.MIN_ERROR
    return OnlineStop.MAX_STEPS if steps >= settings.max_steps else None
