"""One run of the gradient flow: integrator, recorder and stop rules brought together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, user_level
from ..errors import InvalidValueError, SolverFailedError, SolverWarning, TooLargeError
from ..free_view import Counts
from ..interrupts import plain_interrupts
from ..objective import Identified, Objective
from ..stopping import Progress, Statistics, StopReason, StopRules, TimeIsUp
from .checkpoint import Checkpoint, SearchFile
from .end_rules import EndOfPath
from .filippov import Filippov
from .integrator import Integrator, Step, StepFailed, is_finite, restored
from .methods import FALLBACK, SOLVERS, Method
from .problem import Dynamics, FlowEvaluation, FlowProblem
from .recording import Observable, Recorder, Trajectory, check_observables, make_trajectory


@dataclass(frozen=True)
class FlowSettings:
    """Settings of a flow, already checked; meanings as in :func:`infflow.train`."""

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
    dynamics: Dynamics | None = None  #: None: the gradient flow


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
    StopReason.KINK,
    StopReason.ROUNDING_FLOOR,
    StopReason.FROZEN,
    StopReason.NON_FINITE,
    StopReason.STEP_UNDERFLOW,
    StopReason.SOLVER_FAILED,
)


def _identity(
    settings: FlowSettings, problem: FlowProblem, start: FlowEvaluation
) -> dict[str, Any]:
    """Entries in which a checkpoint has to agree: the problem as seen from its start, and the
    settings of the path.
    """
    dynamics = settings.dynamics
    names = ("t_end", "rtol", "atol", "eta", "num_trajectory", "t_eval")
    objective = problem.objective
    return {
        **(objective.identity if isinstance(objective, Identified) else {}),
        "objective": type(objective).__name__,
        "theta0": problem.theta0,
        "loss at theta0": start.value,
        "gradient at theta0": problem.force(start),
        "solver": settings.method.name,
        "solver_options": dict(settings.options),
        **{name: getattr(settings, name) for name in names},
        **({} if dynamics is None else {"dynamics": dynamics.name, **dynamics.identity}),
    }


class _Point(NamedTuple):
    """A point on the path, with what was evaluated there, or nearby where it is not exact."""

    z: Array  #: the state of the integrator
    loss: float
    gradient: Array  #: gradient of the loss, one entry per free parameter
    exact: bool = True


class _RunState(NamedTuple):
    """Where a run is between two steps. A step replaces it as a whole, so that a checkpoint can be
    written whenever Ctrl-C falls.
    """

    t: float
    steps: int
    here: _Point
    best: _Point  #: lowest loss so far
    counts: Counts  #: evaluations so far, where there is a checkpoint
    integrator: Any = None  #: state of the integrator, or the fields of one; None before it is made


class _Run:
    """One flow on its way: settings, the parts that do the work, and where they are (``now``)."""

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
            rules.exact or rules.near_bound(now.value, problem.gradient_norm(problem.force(now)))
        )
        self.statistics = Statistics(settings.method.name)
        self.integrator: Integrator | None = None
        self.file: Checkpoint | None = None
        if settings.checkpoint is not None:
            self.file = Checkpoint(settings.checkpoint, _identity(settings, problem, start))
        self.recorder = Recorder(
            settings.t_end, settings.num_trajectory, settings.t_eval, first_time, problem.size
        )
        self.end = (
            EndOfPath(problem, start, settings.hand_over, settings.method.ends_itself)
            if math.isinf(settings.t_end)
            else None
        )
        self.z0 = z
        here = _Point(z, start.value, problem.force(start))
        self.now = _RunState(0.0, 0, here, here, problem.counts())
        self.stepping = False  # between the states before and after a step
        self.recording = False  # while the recorder is between them, too

    def use(self, integrator: Integrator) -> None:
        """Go on with this integrator."""
        self.now = self.now._replace(integrator=integrator.state)
        self.integrator = integrator

    def advance(self) -> Step:
        """The next step of the integrator."""
        assert self.integrator is not None
        self.stepping = True
        return self.integrator.advance(self.settings.t_end)

    def take(self, step: Step) -> StopReason | None:
        """Remember an accepted step; a reason why the path ends here."""
        assert self.integrator is not None
        before = self.now
        self.recording = True
        self.recorder.record(step)
        force = self.problem.force(step.evaluation)
        here = _Point(step.z, step.evaluation.value, force, step.exact)
        best = here if here.loss < before.best.loss else before.best
        counts = before.counts if self.file is None else self.problem.counts()
        self.now = _RunState(step.t, before.steps + 1, here, best, counts, self.integrator.state)
        self.recording = self.stepping = False
        return None if self.end is None else self.end.reached(step, before.here.z)

    def rests(self, stop: StopReason) -> bool:
        """Whether the flow stays where it ended: at a bound, at rest, or within the tolerances of
        its end.
        """
        if stop in (StopReason.HANDOVER, StopReason.AT_REST):
            return self.end is not None and self.end.state.rests
        # T_END is reached before t_end where nothing moves any more
        return stop.converged or stop is StopReason.T_END

    def make_exact(self) -> None:
        """Evaluate at the very points that the run returns, where the integrator did so only
        nearby.
        """
        now = self.now
        here = self._exact(now.here)
        best = here if now.best is now.here else self._exact(now.best)
        self.now = now._replace(here=here, best=best if best.loss <= here.loss else here)

    def _exact(self, point: _Point) -> _Point:
        if point.exact:
            return point
        found = self.problem.evaluate_loss(self.problem.position(point.z), 1)
        return _Point(point.z, found.value, found.gradient)

    def prefer_end(self) -> None:
        """Return the end where only it has met the bound of the gradient: a flow only descends, the
        lower loss was rounding.
        """
        here, best = (
            self.problem.gradient_norm(each.gradient) for each in (self.now.here, self.now.best)
        )
        if best > self.rules.min_gradient_norm >= here:
            self.now = self.now._replace(best=self.now.here)

    def count(self) -> None:
        """Let the statistics say what the run has cost."""
        statistics = self.statistics
        statistics.gradients, statistics.hessians, statistics.hvps = self.problem.counts()
        if self.integrator is not None:
            statistics.rejected = self.integrator.state.rejected
            statistics.factorizations = self.integrator.state.factorizations

    def state(self, stop: StopReason | None) -> dict[str, Any]:
        """Everything that the rest of the run depends on, for a checkpoint."""
        now = self.now
        if not self.stepping:
            now = now._replace(counts=self.problem.counts())
        self.count()
        names = ("method", "note", "rejected", "factorizations")
        return {
            "stop": stop.name if stop in _FINAL else None,
            "run": now,
            "rules": {"best_loss": self.rules.best_loss, "best_step": self.rules.best_step},
            "elapsed": self.rules.elapsed(),
            "recorder": self.recorder.state(),
            "end": None if self.end is None else self.end.kept(),
            "statistics": {name: getattr(self.statistics, name) for name in names},
        }

    def restore(self, saved: dict[str, Any]) -> StopReason | None:
        """Go on from a state; the reason why there is nothing left to do, if that is so."""
        self.now = restored(self.now, saved["run"], self.problem.size)
        self.problem.count_from(self.now.counts)
        self.rules.best_loss = saved["rules"]["best_loss"]
        self.rules.best_step = saved["rules"]["best_step"]
        self.rules.started -= saved["elapsed"]
        self.statistics = replace(self.statistics, **saved["statistics"])
        self.recorder.restore(saved["recorder"])
        if self.end is not None:
            self.end.restore(saved["end"])
        return None if saved["stop"] is None else StopReason[saved["stop"]]

    def progress(self) -> Progress:
        """The last point, as rules and callback see it."""
        now = self.now
        norm = self.problem.gradient_norm(now.here.gradient)
        theta = self.problem.theta_of(now.here.z)
        return Progress("flow", now.steps, now.t, theta, now.here.loss, norm)


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
    dynamics = settings.dynamics
    view = FlowProblem if dynamics is None else dynamics.problem
    if dynamics is not None and dynamics.endless:
        # it passes through points where the gradient vanishes
        rules.min_loss = rules.min_gradient_norm = -math.inf
    problem = view(objective, theta0, settings.eta, settings.rtol, settings.atol)
    # overflow in a trial step rejects it; it is no reason for a warning
    with np.errstate(all="ignore"):
        z = problem.initial()
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
                    search = None  # it belongs to a point that the flow leaves now
                    problem.require_time = rules.require_time
                    _start(run, start, saved)
                    stop = _follow(run)
        except KeyboardInterrupt:
            stop = StopReason.INTERRUPTED
        except TimeIsUp:
            stop = StopReason.MAX_TIME
        if (
            run.file is not None
            and not run.recording
            and (run.integrator is not None or saved is None)
        ):
            state = run.state(stop)
            run.file.write(state)
        outcome = _outcome(run, stop)
        if run.file is not None and state is not None:
            outcome.search_file = SearchFile(run.file, state, search)
        return outcome


def _check_start(problem: FlowProblem, start: FlowEvaluation) -> None:
    if not is_finite(start):
        raise InvalidValueError(
            f"loss or gradient at theta0 is not finite. {problem.outside} "
            "Start from a point where both are finite, e.g. with smaller parameters."
        )


def _start(run: _Run, start: FlowEvaluation, saved: dict[str, Any] | None) -> None:
    """Make the integrator of the settings; an implicit one that fails at once is replaced."""
    if saved is not None and saved["run"]["integrator"] is None:
        saved = None  # no step was allowed
    method = run.settings.method
    problem = run.problem
    options = run.settings.options
    z = run.now.here.z
    if saved is not None and run.statistics.method != method.name:
        # it had been replaced
        method = SOLVERS[run.statistics.method]
        options = {}
    try:
        if method.needs_hessian and saved is None:
            start = problem.evaluate(z, 2)
            if start.hessian is None or not np.isfinite(start.hessian).all():
                raise StepFailed(StopReason.SOLVER_FAILED, "the Hessian is not finite")
        integrator = method.build(problem, z, start, options)
    except (SolverFailedError, MemoryError, TooLargeError) as error:
        if not method.implicit:
            raise
        integrator = _fall_back(run, start, str(error))
    if run.file is not None and saved is not None:
        with run.file.checked():
            integrator.restore(saved["run"]["integrator"])
        problem.count_from(run.now.counts)  # without what it took to go on
    run.use(integrator)


def _fall_back(run: _Run, start: FlowEvaluation, why: str) -> Integrator:
    """The integrator that takes the place of one that failed at the start."""
    statistics = run.statistics
    statistics.note = f"{statistics.method} failed at the start ({why}); {FALLBACK} took its place"
    statistics.method = FALLBACK
    warnings.warn(statistics.note, SolverWarning, stacklevel=user_level())
    z = run.now.here.z
    return SOLVERS[FALLBACK].build(run.problem, z, start._replace(hessian=None), {})


def _follow(run: _Run) -> StopReason:
    """Step until a rule says stop."""
    settings = run.settings
    rules = run.rules
    statistics = run.statistics
    while True:
        try:
            step = run.advance()
        except (StepFailed, MemoryError, TooLargeError) as failure:
            fresh = run.now.steps == 0 and settings.method.implicit
            if not fresh or statistics.method == FALLBACK:
                if not isinstance(failure, StepFailed):
                    raise
                statistics.note = "; ".join(filter(None, (statistics.note, str(failure))))
                return failure.reason
            start = run.problem.evaluate(run.now.here.z, 1)
            run.use(_fall_back(run, start, str(failure)))
            continue
        end = run.take(step)
        stop = rules.check(run.progress())
        if stop is StopReason.MIN_GRADIENT_NORM and _is_on_kinks(run):
            return StopReason.KINK  # says more
        if stop in (StopReason.MIN_LOSS, StopReason.MIN_GRADIENT_NORM) and not run.now.here.exact:
            run.make_exact()
            stop = rules.check(run.progress())
        if stop is not None and run.now.t < settings.t_end:
            return stop
        if run.now.t >= settings.t_end:
            rests = settings.hand_over and step.end is StopReason.KINK  # a search would fail there
            return StopReason.KINK if rests else StopReason.T_END
        if end is not None:
            return end
        if run.file is not None and run.file.due():
            run.file.write(run.state(None))


def _is_on_kinks(run: _Run) -> bool:
    return isinstance(run.integrator, Filippov) and run.integrator.on_kinks


def _outcome(run: _Run, stop: StopReason) -> FlowOutcome:
    problem = run.problem
    problem.require_time = lambda: None  # the result is evaluated, however late it is
    statistics = run.statistics
    statistics.stop_reason = stop
    statistics.steps = run.now.steps
    statistics.t = run.now.t
    statistics.wall_time = run.rules.elapsed()
    run.count()
    if isinstance(run.integrator, Filippov):
        statistics.note = "; ".join(filter(None, (run.integrator.remark, statistics.note)))
    try:
        with plain_interrupts():
            run.make_exact()
    except KeyboardInterrupt:
        statistics.stop_reason = StopReason.INTERRUPTED
        run.make_exact()
    if stop is StopReason.MIN_GRADIENT_NORM and not run.settings.method.discrete:
        run.prefer_end()
    if stop is StopReason.KINK:  # a loss that was lower before was so by rounding
        run.now = run.now._replace(best=run.now.here)
    _, _, here, best, *_ = run.now
    t, z = run.recorder.finish(run.z0, here.z, run.now.t, run.rests(stop))
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
    return FlowOutcome(
        theta=np.array(problem.theta_of(here.z)),
        t=run.now.t,
        loss=here.loss,
        gradient_norm=problem.gradient_norm(here.gradient),
        best_theta=np.array(problem.theta_of(best.z)),
        best_loss=best.loss,
        best_gradient_norm=problem.gradient_norm(best.gradient),
        trajectory=trajectory,
        statistics=statistics,
    )
