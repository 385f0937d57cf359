"""One run of the gradient flow: integrator, recorder and stop rules brought together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._validation import Array, user_level
from ..errors import InvalidValueError, SolverFailedError, SolverWarning, TooLargeError
from ..interrupts import plain_interrupts
from ..objective import Identified, Objective
from ..stopping import Progress, Statistics, StopReason, StopRules, TimeIsUp
from .checkpoint import Checkpoint, SearchFile
from .end_rules import EndOfPath
from .methods import FALLBACK, SOLVERS, Method
from .onestep import Integrator, Step, StepFailed, is_finite
from .problem import FlowEvaluation, FlowProblem
from .recording import Observable, Recorder, Trajectory, check_observables, make_trajectory


@dataclass(frozen=True)
class FlowSettings:
    """What is asked of a flow, already checked; meanings as in :func:`infflow.train`."""

    method: Method
    options: dict[str, Any]
    t_end: float = math.inf
    rtol: float = 1e-6
    atol: float = 1e-6
    eta: float | Array = 1.0
    num_trajectory: int = 100
    t_eval: Array | None = None
    observables: Mapping[str, Observable] = field(default_factory=dict)
    hand_over: bool = False  #: whether an optimizer follows that can take over at the end
    checkpoint: Path | None = None


@dataclass
class FlowOutcome:
    """Where a flow ended, the best point on it, and its trajectory."""

    theta: Array  #: end of the flow, shape (P,)
    t: float
    loss: float
    gradient_norm: float
    best_theta: Array  #: accepted point with the lowest loss, shape (P,)
    best_loss: float
    best_gradient_norm: float
    trajectory: Trajectory
    statistics: Statistics
    search_file: SearchFile | None = None  #: where a search that follows saves its points


#: after these a flow does not go on, whatever limits are raised
_FINAL = (
    StopReason.T_END,
    StopReason.HANDOVER,
    StopReason.AT_REST,
    StopReason.ROUNDING_FLOOR,
    StopReason.FROZEN,
    StopReason.NON_FINITE,
    StopReason.STEP_UNDERFLOW,
    StopReason.SOLVER_FAILED,
)
_RUN_STATE = (
    "z",
    "t",
    "steps",
    "loss",
    "gradient",
    "best_z",
    "best_loss",
    "best_gradient",
    "exact",
    "best_exact",
)
_STATISTICS_STATE = ("method", "note", "rejected", "factorizations")


def _identity(
    settings: FlowSettings, problem: FlowProblem, start: FlowEvaluation
) -> dict[str, Any]:
    """What a checkpoint has to agree in: the problem as seen from its start, and the settings of
    the path.
    """
    names = ("t_end", "rtol", "atol", "eta", "num_trajectory", "t_eval")
    objective = problem.objective
    return {
        **(objective.identity if isinstance(objective, Identified) else {}),
        "objective": type(objective).__name__,
        "theta0": problem.theta0,
        "loss at theta0": start.value,
        "gradient at theta0": start.gradient,
        "solver": settings.method.name,
        "solver_options": dict(settings.options),
        **{name: getattr(settings, name) for name in names},
    }


class _Run:
    """State of a run between its steps."""

    def __init__(
        self,
        problem: FlowProblem,
        settings: FlowSettings,
        rules: StopRules,
        z: Array,
        start: FlowEvaluation,
    ) -> None:
        first_time = float(settings.options.get("step_size", 0.0))
        self.problem = problem
        self.settings = settings
        self.rules = rules
        problem.wants_exact = lambda now: (
            rules.exact or rules.near_bound(now.value, problem.gradient_norm(now.gradient))
        )
        self.statistics = Statistics(settings.method.name)
        self.integrator: Integrator | None = None
        self._before: tuple[float, dict[str, Any], dict[str, int]] | None = None  # see remember
        self.file: Checkpoint | None = None
        if settings.checkpoint is not None:
            self.file = Checkpoint(settings.checkpoint, _identity(settings, problem, start))
        self.recorder = Recorder(
            settings.t_end, settings.num_trajectory, settings.t_eval, first_time, problem.size
        )
        self.end = (
            EndOfPath(problem, start, settings.hand_over) if math.isinf(settings.t_end) else None
        )
        self.z0 = self.z = self.best_z = z
        self.t = 0.0
        self.steps = 0
        self.loss = self.best_loss = start.value
        self.gradient = self.best_gradient = start.gradient
        self.exact = self.best_exact = True

    def remember(self) -> None:
        """Keep the state between two steps, where there is a checkpoint: the next step may be left
        unfinished.
        """
        if self.file is not None and self.integrator is not None:
            self._before = self.t, self.integrator.state(), self.problem.counts()

    def take(self, step: Step) -> StopReason | None:
        """Remember an accepted step; a reason why the path ends here."""
        previous = self.z
        self._before = None
        self.recorder.record(step)
        self.t, self.z, self.steps = step.t, step.z, self.steps + 1
        self.loss = step.evaluation.value
        self.gradient = step.evaluation.gradient
        self.exact = step.exact
        if self.loss < self.best_loss:
            self.take_end()
        return None if self.end is None else self.end.reached(step, previous)

    def rests(self, stop: StopReason) -> bool:
        """Whether the flow stays where it ended: at a bound, at rest, or within the tolerances of
        its end.
        """
        if stop in (StopReason.HANDOVER, StopReason.AT_REST):
            return self.end is not None and self.end.rests
        return (
            stop.converged or stop is StopReason.T_END
        )  # the latter before t_end where nothing moves any more

    @property
    def torn(self) -> bool:
        """Whether Ctrl-C fell between a step and what is kept of it; then the file of
        before stays.
        """
        return self._before is None and self.integrator is not None and self.integrator.t != self.t

    def take_end(self) -> None:
        """The present point is the best one."""
        self.best_z, self.best_loss, self.best_gradient, self.best_exact = (
            self.z,
            self.loss,
            self.gradient,
            self.exact,
        )

    def make_exact(self) -> None:
        """Evaluate at the very points that the run returns, where the integrator did so only
        nearby.
        """
        same = self.best_z is self.z
        if not self.exact:
            self.loss, self.gradient, _ = self.problem.evaluate(self.z, 1)
            self.exact = True
        if not (same or self.best_exact):
            self.best_loss, self.best_gradient, _ = self.problem.evaluate(self.best_z, 1)
            self.best_exact = True
        if same or not self.best_loss <= self.loss:
            self.take_end()

    def prefer_end(self) -> None:
        """Return the end where only it has met the bound of the gradient: a flow only descends, the
        lower loss was rounding.
        """
        best, end = (
            self.problem.gradient_norm(each) for each in (self.best_gradient, self.gradient)
        )
        if best > self.rules.min_gradient_norm >= end:
            self.take_end()

    def state(self, stop: StopReason | None) -> dict[str, Any]:
        """Everything that the rest of the run depends on, for a checkpoint."""
        statistics = self.statistics
        integrator = None
        counts = self.problem.counts()
        if self.integrator is not None:
            statistics.rejected = self.integrator.rejected
            statistics.factorizations = self.integrator.factorizations
            integrator = self.integrator.state() if self._before is None else self._before[1]
            counts = counts if self._before is None else self._before[2]
        return {
            "stop": stop.name if stop in _FINAL else None,
            "run": {name: getattr(self, name) for name in _RUN_STATE},
            "rules": {"best_loss": self.rules.best_loss, "best_step": self.rules.best_step},
            "elapsed": self.rules.elapsed(),
            "recorder": self.recorder.state(),
            "end": None if self.end is None else self.end.state(),
            "integrator": integrator,
            "counts": counts,
            "statistics": {name: getattr(statistics, name) for name in _STATISTICS_STATE},
        }

    def restore(self, saved: dict[str, Any]) -> StopReason | None:
        """Go on from a state; the reason why there is nothing left to do, if that is so."""
        vars(self).update(saved["run"])
        vars(self.rules).update(saved["rules"])
        vars(self.statistics).update(saved["statistics"])
        vars(self.problem).update(saved["counts"])
        self.rules.started -= saved["elapsed"]
        self.recorder.restore(saved["recorder"])
        if self.end is not None:
            self.end.restore(saved["end"])
        return None if saved["stop"] is None else StopReason[saved["stop"]]

    def progress(self) -> Progress:
        norm = self.problem.gradient_norm(self.gradient)
        return Progress("flow", self.steps, self.t, self.problem.theta_of(self.z), self.loss, norm)


def integrate(
    objective: Objective, theta0: Array, settings: FlowSettings, rules: StopRules
) -> FlowOutcome:
    """Follow the gradient flow from ``theta0`` until a rule stops it.

    Parameters
    ----------
    objective : Objective
        Loss with derivatives.
    theta0 : (P,) array
        Start, finite.
    settings : FlowSettings
        Method, tolerances, times, what to record.
    rules : StopRules
        When to stop.

    Raises
    ------
    InvalidValueError
        If loss or gradient at ``theta0`` are not finite.
    """
    problem = FlowProblem(objective, theta0, settings.eta, settings.rtol, settings.atol)
    with np.errstate(
        all="ignore"
    ):  # overflow in a trial step rejects it; it is no reason for a warning
        z = problem.z_of(theta0)
        start = problem.evaluate(z, 1)
        _check_start(problem, start)
        check_observables(objective, settings.observables, theta0)
        run = _Run(problem, settings, rules, z, start)
        saved = None if run.file is None else run.file.read()
        search: dict[str, Any] | None = None if saved is None else saved.get("search")
        state = saved
        try:
            with plain_interrupts():
                stop = None
                if run.file is not None and saved is not None:
                    with run.file.checked():
                        stop = run.restore(saved)
                stop = stop or (rules.check(run.progress()) if problem.size else StopReason.FROZEN)
                if stop is None:
                    search = None  # of where the flow had been
                    problem.require_time = rules.require_time
                    _start(run, start, saved)
                    stop = _follow(run)
        except KeyboardInterrupt:
            stop = StopReason.INTERRUPTED
        except TimeIsUp:
            stop = StopReason.MAX_TIME
        if run.file is not None and not run.torn and (run.integrator is not None or saved is None):
            state = run.state(stop)
            run.file.write(state)
        outcome = _outcome(run, stop)
        if run.file is not None and state is not None:
            outcome.search_file = SearchFile(run.file, state, search)
        return outcome


def _check_start(problem: FlowProblem, start: FlowEvaluation) -> None:
    if not is_finite(start):
        raise InvalidValueError(
            f"loss or gradient at theta0 is not finite (loss {start.value}). {problem.outside} "
            "Start from a point where both are finite, e.g. with smaller parameters."
        )


def _start(run: _Run, start: FlowEvaluation, saved: dict[str, Any] | None) -> None:
    """Make the integrator of the settings; an implicit one that fails at once is replaced."""
    if saved is not None and saved["integrator"] is None:
        saved = None  # no step was allowed
    method = run.settings.method
    problem = run.problem
    options = run.settings.options
    if saved is not None and run.statistics.method != method.name:
        # it had been replaced
        method = SOLVERS[run.statistics.method]
        options = {}
    try:
        if method.needs_hessian and saved is None:
            start = problem.evaluate(run.z, 2)
            if start.hessian is None or not np.isfinite(start.hessian).all():
                raise StepFailed(StopReason.SOLVER_FAILED, "the Hessian is not finite")
        run.integrator = method.build(problem, run.z, start, options)
    except (SolverFailedError, MemoryError, TooLargeError) as error:
        if not method.implicit:
            raise
        _fall_back(run, start, str(error))
    if run.file is not None and saved is not None and run.integrator is not None:
        with run.file.checked():
            run.integrator.restore(saved["integrator"])
        vars(problem).update(saved["counts"])  # without what it took to go on


def _fall_back(run: _Run, start: FlowEvaluation, why: str) -> None:
    statistics = run.statistics
    statistics.note = f"{statistics.method} failed at the start ({why}); {FALLBACK} took its place"
    statistics.method = FALLBACK
    warnings.warn(statistics.note, SolverWarning, stacklevel=user_level())
    run.integrator = SOLVERS[FALLBACK].build(run.problem, run.z, start._replace(hessian=None), {})


def _follow(run: _Run) -> StopReason:
    """Step until a rule says stop."""
    settings = run.settings
    rules = run.rules
    statistics = run.statistics
    while True:
        assert run.integrator is not None
        run.remember()
        try:
            step = run.integrator.advance(settings.t_end)
        except (StepFailed, MemoryError, TooLargeError) as failure:
            fresh = run.steps == 0 and settings.method.implicit and statistics.method != FALLBACK
            if not fresh:
                if not isinstance(failure, StepFailed):
                    raise
                statistics.note = "; ".join(filter(None, (statistics.note, str(failure))))
                return failure.reason
            _fall_back(run, run.problem.evaluate(run.z, 1), str(failure))
            continue
        end = run.take(step)
        stop = rules.check(run.progress())
        if stop in (StopReason.MIN_LOSS, StopReason.MIN_GRADIENT_NORM) and not run.exact:
            run.make_exact()
            stop = rules.check(run.progress())
        if stop is not None and run.t < settings.t_end:
            return stop
        if run.t >= settings.t_end:
            return StopReason.T_END
        if end is not None:
            return end
        if run.file is not None and run.file.due():
            run.file.write(run.state(None))


def _outcome(run: _Run, stop: StopReason) -> FlowOutcome:
    problem = run.problem
    statistics = run.statistics
    problem.require_time = lambda: None  # what is returned is evaluated, however late it is
    statistics.stop_reason, statistics.steps, statistics.wall_time = (
        stop,
        run.steps,
        run.rules.elapsed(),
    )
    vars(statistics).update(problem.counts())
    if run.integrator is not None:
        statistics.rejected = run.integrator.rejected
        statistics.factorizations = run.integrator.factorizations
    try:
        with plain_interrupts():
            run.make_exact()
    except KeyboardInterrupt:
        statistics.stop_reason = StopReason.INTERRUPTED
        run.make_exact()
    if stop is StopReason.MIN_GRADIENT_NORM and not run.settings.method.discrete:
        run.prefer_end()
    statistics.t = run.t
    t, z = run.recorder.finish(run.z0, run.z, run.t, run.rests(stop))
    keep_all = run.settings.t_eval is not None
    try:
        with plain_interrupts():
            trajectory = make_trajectory(problem, t, z, run.settings.observables, keep_all)
    except KeyboardInterrupt:  # the run is kept, without observables
        statistics.stop_reason = StopReason.INTERRUPTED
        trajectory = make_trajectory(problem, t, z, {}, keep_all)
        trajectory.observables = {
            name: np.full(len(trajectory), math.nan) for name in run.settings.observables
        }
    end = problem.theta_of(run.z)
    norm = problem.gradient_norm(run.gradient)
    best = problem.theta_of(run.best_z)
    best_norm = problem.gradient_norm(run.best_gradient)
    return FlowOutcome(
        np.array(end),
        run.t,
        run.loss,
        norm,
        np.array(best),
        run.best_loss,
        best_norm,
        trajectory,
        statistics,
    )
