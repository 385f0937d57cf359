"""Training: the gradient flow from a start, then a fixed-point search from where it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._validation import Array, public
from .channels import Lookout, Verdict, ended_at
from .errors import DivergedError, OutsideDomainError, SingularMomentError
from .fixedpoints import (
    FixedPointProblem,
    Optimizer,
    SearchOutcome,
    choose_optimizer,
    counting_on,
    search_in_turns,
    turns_of,
)
from .flow import FlowOutcome, SearchFile, integrate
from .interrupts import saving_before_termination
from .objective import Freezable, Objective
from .own_step import OwnStep
from .reduced_run import FullView, ReducedRun
from .result import Result
from .settings import Job, TrainSettings
from .stopping import Progress, Statistics, StopReason, StopRules
from .terminal import Bar
from .threads import limit_for

#: after these a search has found what it can in the inputs that it has
_SETTLED = (StopReason.MIN_GRADIENT_NORM, StopReason.ROUNDING_FLOOR)
#: part of the loss by which a point ahead has to be lower for a search to go on from there
CLEARLY_LOWER = 1e-6
#: how often it may do so
_LEAPS = 5
#: after these the second stage does not begin
_FINAL = (
    StopReason.INTERRUPTED,
    StopReason.CALLBACK,
    StopReason.NON_FINITE,
    StopReason.FROZEN,
    StopReason.KINK,
)


@public
def train(
    net: Objective,
    theta0: ArrayLike,
    *,
    solver: str | OwnStep = "auto",
    t_end: float = np.inf,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    eta: Any = 1.0,
    step_size: float | None = None,
    solver_options: Mapping[str, Any] | None = None,
    dynamics: Any = None,
    num_trajectory: int = 100,
    t_eval: Any = None,
    observables: Any = None,
    max_time_flow: float = 180.0,
    max_steps_flow: int = 10**6,
    optimizer: str | OwnStep = "auto",
    optimizer_options: Mapping[str, Any] | None = None,
    polish: str | None = None,
    max_time_newton: float = 120.0,
    max_steps_newton: int = 10**5,
    min_loss: float = 2e-32,
    min_gradient_norm: float = 1e-15,
    patience: int = 10**6,
    batch_size: int | None = None,
    progress: bool = True,
    callback: Callable[[Progress], Any] | None = None,
    checkpoint: Any = None,
    reduce: str | bool = "auto",
) -> Result:
    r"""Follow the gradient flow :math:`\dot\theta = -\eta \nabla L` from ``theta0``, then search
    the fixed point.

    Most runs need the first six arguments and no other; the rest is sorted by what it decides.

    Parameters
    ----------
    net : Net, NetI or any object with ``num_params``, ``evaluate(theta, order)``, ``hvp(theta, v)``
        What to train.
    theta0 : (P,) array
        Start.
    t_end : float
        Time at which the flow ends. With infinity it ends where nothing more is to be gained.
        The notes have the rules.
    solver : str
        Integrator of the flow. Stiff, with exact Hessians: ``gear`` (BDF made for symmetric
        Jacobians), ``rodas5p``, ``rodas3``, ``exprb`` (exponential), ``kencarp58``, ``trbdf2``,
        ``lsoda``, ``radau``, ``bdf``, ``cvode_bdf`` (by an option with Hessian-vector products
        only). Explicit: ``tsit5``, ``dopri5``, ``rk4``. Discrete: ``gd``, ``adam``. ``"auto"``
        takes ``gear`` up to 1000 parameters and ``cvode_bdf`` above. Where activations have kinks
        and samples are few it takes ``filippov``, which goes from kink to kink and slides along
        them, or ``tsit5``, as :doc:`measured </solvers>`. ``rodas5p`` has smaller errors at the
        same tolerances. Or a function ``(theta, gradient, state) -> theta, state``
        that makes one step, such as one of optax or torch.optim (:doc:`/ecosystem`). ``state`` is
        None at first, then what it returned; arrays are copies, of all parameters.
    eta : float or (P,) array
        Time scale, or one for each parameter; 0 freezes it in flow and search. With zeros only
        nothing moves, and the status is ``FROZEN``.
        Where parameters stand for several (:class:`infflow.SymmetricNetI`), a number is divided by
        their multiplicities, so that the flow is that of the whole network. An array is taken as it
        is.
    progress : bool
        Whether a terminal or a notebook shows a progress bar.

    The path
    --------
    dynamics : HeavyBall, NaturalGradient, ModifiedFlow, SGDDiffusion, optional
        What the flow is, instead of the gradient flow :math:`\dot\theta = -\eta \nabla L`:
        momentum, the natural gradient, large steps, or the noise of minibatches. Each class says
        more, and which solvers can follow it. Losses, stopping rules and the search are those of
        ``net``.
    rtol : float
        Relative tolerance of the path, for adaptive solvers: errors count in units of
        :math:`\text{atol} + \text{rtol}\, |\theta_i|`, root mean square.
    atol : float
        Absolute tolerance of the path.
    step_size : float, optional
        Step of gd, adam and functions as solver, where time is ``t = k * step_size``. For functions
        it is only a unit of time, 1 unless given.
    batch_size : int, optional
        Samples per step of gd, adam and functions as solver, which are reshuffled in every epoch
        (the last batch of an epoch may be smaller). Loss and gradient norm are those on all
        samples, evaluated after every epoch, and the stopping rules wait for that; a minibatch
        counts as one gradient.
    solver_options : dict, optional
        Options of the solver that is named, e.g. ``{"step": 0.01}`` for fixed steps of ``rk4``.
        :doc:`/solvers` has a table of all, and so has the error for one that is not known.

    The search
    ----------
    optimizer : str
        Method of the search: ``newton`` (trust region; exact Hessian up to 2000 parameters,
        Hessian-vector products above), ``levenberg_marquardt`` (least squares on finite data),
        ``gauss_newton`` (the same by minibatches), ``bfgs``, ``lbfgs``, ``slsqp``. ``"auto"``
        chooses where the flow ends: ``levenberg_marquardt`` for sums of squares that are nearly
        zero, else ``newton`` up to 2000 parameters (on sums of squares in turns with
        ``levenberg_marquardt``, from 500 steps on) and ``lbfgs`` above. Or a function, as for
        ``solver``; its steps go on until a limit ends them.
    optimizer_options : dict, optional
        Options of the optimizer that is named, e.g. ``{"linear_solver": "cg"}`` for ``newton``.
        :doc:`/solvers` has a table of all.
    polish : {None, "exact"}
        With method surrogate, exact searches the fixed point of the exact loss: the flow follows
        the surrogate's loss, whichever sign it has. ``Result.loss`` is then exact,
        ``Result.surrogate_loss`` not.

    When it stops
    -------------
    max_time_flow : float
        Seconds for the flow, kept to within one evaluation or factorisation. What numba compiles
        does not count.
    max_steps_flow : int
        Accepted steps of the flow; 0 skips it.
    max_time_newton : float
        Seconds for the search, as for the flow.
    max_steps_newton : int
        Accepted steps of the search; 0 skips it.
    min_loss : float
        Loss that is small enough: both stages stop there.
    min_gradient_norm : float
        Gradient that is small enough (infinity norm, frozen parameters left out): both stages stop.
    patience : int
        Steps without a new lowest loss, after which both stages stop.
    callback : callable, optional
        Function that is called after every accepted step, with an
        :class:`infflow.stopping.Progress`; a true value stops the run. Loss and gradient norm are
        those of its ``theta`` (with minibatches of the last epoch). ``gear``, ``cvode_bdf``,
        ``lsoda`` and ``bdf`` need one more gradient per step for it, which they save without a
        callback (and with ``patience`` beyond ``max_steps_flow``).

    What is kept
    ------------
    num_trajectory : int
        Number of points that are kept along the flow, spaced logarithmically in t; the first is t =
        0, the last the end. On the way, up to twice as many are in memory. Where they take more
        than 32 MiB (8 num_trajectory P bytes), not more than these are, and a flow that ends before
        ``t_end``, or has none, leaves between half and all of them.
    t_eval : increasing array of times >= 0, optional
        Exactly these times instead, whenever the flow ends, so that runs can be stacked. Behind its
        end theta stays where the flow ended, if it met ``min_loss`` or ``min_gradient_norm`` or
        came to rest (``t_end`` infinite). Where it was cut off by another limit, failed or was left
        for a search on a path that goes on, these points are not known, and are NaN.
    observables : dict or list, optional
        Recorded along the path: ``{"name": function of theta}``, or names (``"lambda_min"``;
        further ones where ``net`` knows them). Where one raises an error it is NaN, with one
        :class:`~infflow.errors.IncompleteWarning` per run; only a function that is wrong already at
        ``theta0`` (no numbers, a name that does not exist) raises, before the flow.
    checkpoint : str or path-like, optional
        File from which a stopped run goes on (``.npz``), by a later call with the same arguments.
        It is replaced atomically every ten seconds and when the flow ends. With the one-step
        solvers, ``gear`` and the discrete ones the resumed run takes the same steps as one that was
        never stopped, bit for bit on the same machine. ``cvode_bdf``, ``lsoda``, ``radau`` and
        ``bdf`` cannot give out their history and start again at the last point, so that the path
        agrees within the tolerances. A function as solver or optimizer starts again at the last
        point with the state None, since a file can't keep its state. Limits (times, steps, losses)
        may be changed between calls. A search that was stopped goes on from its last point.

    How it runs
    -----------
    reduce : {"auto", True, False}
        Whether to run in the inputs that the weights span. With a NetI they never leave the span
        of the rows of W and V and the means of the input (see :func:`infflow.reduce`), so that the
        run needs no others. "auto" does so where it is exact and there are fewer of them. It is
        not with ``adam``, ``slsqp`` and functions, nor with rates ``eta`` that differ within a row
        of W. What is returned, recorded and handed to functions has all parameters;
        ``Result.reduction`` says what was done. ``rtol`` and ``atol`` then refer to the parameters
        in the span, and allow no longer errors than they do for all parameters;
        ``min_gradient_norm`` holds for the norm in all of them. A search that ends on a saddle
        which it can't see in the span goes on below it. True raises an error where a reduction is
        not exact.

    Returns
    -------
    Result
        A path that runs off to infinity, while the loss falls to a minimum there, ends with the
        status ``CHANNEL``; ``Result.limit`` tells which neurons run off and what they become.
        Ctrl-C ends a run early with the best point so far and the status ``INTERRUPTED``. Where
        integrals are evaluated to a tolerance, loss and gradient norm after a search are those of
        ``net.frozen``, as accurate as they get; ``inf.loss`` agrees within the tolerance.

    Raises
    ------
    InfflowError
        A subclass that is also ``ValueError`` or ``TypeError``, for every argument that cannot be
        used.

    See Also
    --------
    train_many : many starts.
    classify : what kind of point was found.
    certify : a proof of it.
    trajectory_distance : compare two paths.

    Notes
    -----
    A flow without an end, ``t_end`` infinite, ends by one of three rules.

    - An optimizer follows, and the last step and the rest of the path are shorter than the
      tolerances: root mean square of :math:`\Delta_i/(\text{atol} + \text{rtol}\, |\theta_i|)` at
      most 1, with the displacement :math:`\Delta`. The rest of the path is the Newton step of the
      quadratic model, if that has no negative curvature.
    - The gradient is below its own rounding error, with or without an optimizer.
    - No optimizer follows, there are more than 2,000 parameters, the loss is at rest to rounding,
      and the rest of the path is that short.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> res = inf.train(neti, [0.5, 0.1, 0.8], progress=False)
    >>> res.converged, res.theta.round(6).tolist()
    (True, [1.0, -0.0, 1.0])
    >>> path = inf.train(neti, [0.5, 0.1, 0.8], t_end=1.0, max_steps_newton=0, progress=False)
    >>> path.status.name, float(path.trajectory.t[-1])
    ('T_END', 1.0)
    """
    settings = TrainSettings(
        solver=solver,
        t_end=t_end,
        rtol=rtol,
        atol=atol,
        eta=eta,
        step_size=step_size,
        solver_options=solver_options,
        dynamics=dynamics,
        num_trajectory=num_trajectory,
        t_eval=t_eval,
        observables=observables,
        max_time_flow=max_time_flow,
        max_steps_flow=max_steps_flow,
        optimizer=optimizer,
        optimizer_options=optimizer_options,
        polish=polish,
        max_time_newton=max_time_newton,
        max_steps_newton=max_steps_newton,
        min_loss=min_loss,
        min_gradient_norm=min_gradient_norm,
        patience=patience,
        batch_size=batch_size,
        progress=progress,
        callback=callback,
        checkpoint=checkpoint,
        reduce=reduce,
    )
    return _run(settings.job(net, theta0), {"net": repr(net), **settings.record()})


def _run(job: Job, record: dict[str, Any]) -> Result:
    """Both stages, within what surrounds a run."""
    if job.flow.method.family == "CVODE":
        # It brings a BLAS of its own, which the limit on threads must see.
        import sksundae.cvode  # noqa: F401
    watch = _Watch(job.settings.progress, job.settings.callback)
    saving = nullcontext() if job.flow.checkpoint is None else saving_before_termination()
    with saving, limit_for(len(job.theta0)), watch:
        flow = _run_flow(job, watch)
        search = _run_search(job, flow, watch)
        if job.reduced is None:
            return _make_result(job, flow, search, record)
        return _reduced_result(job, job.reduced, flow, search, watch, record)


def _reduced_result(
    job: Job,
    run: ReducedRun,
    flow: FlowOutcome,
    search: SearchOutcome | None,
    watch: _Watch,
    record: dict[str, Any],
) -> Result:
    """The result of a run in few inputs, in all parameters.

    Where a search ended on a saddle of the whole network, it goes on from below, in one more input.
    """
    theta_flow = run.lift(flow.theta)
    flow.trajectory = run.trajectory(flow.trajectory, job.objective)
    while search is not None and search.statistics.stop_reason in _SETTLED:
        found = _searched_outward(job, flow, search, watch)
        if found is None:
            break
        job, flow, search = found
    last = job.reduced
    assert last is not None
    found_at = _make_result(job, flow, search, record)
    objective: Objective = job.polished or job.objective
    if search is not None and isinstance(objective, Freezable):
        objective = objective.frozen(found_at.theta)
    found_at.gradient_norm = last.gradient_norm_at(
        objective, found_at.theta, found_at.gradient_norm
    )
    found_at.theta = last.lift(found_at.theta)
    if found_at.limit is not None:
        found_at.limit = replace(found_at.limit, coordinates=last.lift(found_at.limit.coordinates))
    found_at.theta0 = run.lift.start
    found_at.theta_flow = theta_flow
    return found_at


def _searched_outward(
    job: Job, flow: FlowOutcome, search: SearchOutcome, watch: _Watch
) -> tuple[Job, FlowOutcome, SearchOutcome] | None:
    """Job, flow and search with one more input, or None where no way leads down."""
    run = job.reduced
    assert run is not None
    given = job.settings
    exact = job.polished is not None

    def minimised(net: Any) -> Objective:
        return net.with_method("auto") if exact else net

    way = run.outward(minimised, search.theta)
    if way is None:
        return None
    red = run.reduction
    column = np.zeros((red.rotation.width, 1))
    settings = replace(
        given,
        max_steps_newton=given.max_steps_newton - search.statistics.steps,
        max_time_newton=max(given.max_time_newton - search.statistics.wall_time, 0.0),
    )
    wider = replace(
        job,
        objective=way.run.net,
        theta0=red.widened(job.theta0, column),
        free=way.run.free,
        settings=settings,
        polished=minimised(way.run.net) if exact else None,
        reduced=way.run,
    )
    begin = replace(
        flow,
        theta=way.start,
        best_theta=red.widened(flow.best_theta, column),
        search_file=None,
    )
    watch.goes_on(way.run, wider.polished, search.statistics.steps)
    more = _run_search(wider, begin, watch)
    if more is None:  # no steps are left
        search.statistics.stop_reason = StopReason.MAX_STEPS
        return None
    more.statistics.add(search.statistics, way.note)
    return wider, begin, more


def _rules(job: Job, watch: _Watch, max_time: float, max_steps: int, min_loss: float) -> StopRules:
    given = job.settings
    return StopRules(
        max_time,
        max_steps,
        min_loss=min_loss,
        min_gradient_norm=given.min_gradient_norm,
        patience=given.patience,
        callback=watch.callback(),
        exact=given.callback is not None or given.patience < max_steps,
    )


def _run_flow(job: Job, watch: _Watch) -> FlowOutcome:
    given = job.settings
    # A surrogate's loss may be negative.
    min_loss = given.min_loss if job.polished is None else -math.inf
    rules = _rules(job, watch, given.max_time_flow, given.max_steps_flow, min_loss)
    if given.max_steps_flow == 0:
        # The driver checks the start and makes the trajectory of one point; then it stops at once.
        outcome = integrate(job.objective, job.theta0, job.flow, rules)
        if outcome.statistics.stop_reason is StopReason.MAX_STEPS:
            outcome.statistics.stop_reason = StopReason.SKIPPED
        return outcome
    settings = replace(job.flow, hand_over=given.max_steps_newton > 0)
    return integrate(job.objective, job.theta0, settings, rules)


def _run_search(job: Job, flow: FlowOutcome, watch: _Watch) -> SearchOutcome | None:
    given = job.settings
    if given.max_steps_newton == 0 or flow.statistics.stop_reason in _FINAL:
        return None
    rules = _rules(job, watch, given.max_time_newton, given.max_steps_newton, given.min_loss)
    file = flow.search_file
    last = None if file is None else file.last(len(flow.theta))
    theta, before = (flow.theta, 0) if last is None else last[:2]
    if last is not None:
        rules.started -= last[2]
        rules.max_steps = max(rules.max_steps - before, 0)
    if file is not None:
        rules.callback = _saving(file, rules, before)
    problem = FixedPointProblem(job.polished or job.objective, theta, job.free)
    x = problem.z_of(theta)
    optimizer = job.optimizer
    try:
        optimizer = optimizer or choose_optimizer(problem, x)
        problem = problem.frozen(x)
        methods = (optimizer,) if job.optimizer else turns_of(problem, x, optimizer)
        found = _searched(job, methods, problem, x, rules)
    except (
        DivergedError,
        SingularMomentError,
    ) as error:  # infinite derivatives, e.g. of a neuron at zero
        if flow.statistics.stop_reason is StopReason.SKIPPED or job.polished is not None:
            raise
        return _no_search(flow, "" if optimizer is None else optimizer.name, str(error))
    found.statistics.steps += before
    if job.polished is None and problem.objective is not job.objective:
        _evaluate_as_search(flow, problem)
        found.statistics.gradients += 1
    if file is not None:
        file.write(found.theta, found.statistics.steps, rules.elapsed())
    return found


def _searched(
    job: Job,
    methods: tuple[Optimizer, ...],
    problem: FixedPointProblem,
    x: Array,
    rules: StopRules,
) -> SearchOutcome:
    """A search, which ends with the status ``CHANNEL`` where its path ends at infinity, and goes on
    from a lower point where a look ahead has found one.
    """
    objective = job.polished or job.objective
    before: Statistics | None = None
    most = rules.max_steps
    leaps = 0
    user = rules.callback
    while True:
        lookout = Lookout(objective, job.free, rules)
        rules.lookout = lookout
        found = search_in_turns(methods, problem, x, rules, **job.optimizer_options)
        ahead = lookout.after(found)
        rules.lookout = None
        if before is not None:
            wall_time = found.statistics.wall_time  # the rules count for all
            found.statistics.add(before, "leapt ahead on a path towards infinity")
            found.statistics.wall_time = wall_time
        if ahead is not None and ahead.verdict is Verdict.AT_INFINITY:
            return ended_at(found, ahead, objective, job.free)
        steps = found.statistics.steps
        if (
            ahead is None
            or ahead.verdict is Verdict.OPEN
            or leaps == _LEAPS
            or found.statistics.stop_reason.converged
            or ahead.loss >= (1.0 - CLEARLY_LOWER) * found.loss
            or steps >= most
        ):
            if found.statistics.stop_reason is StopReason.CHANNEL:
                found.statistics.stop_reason = StopReason.MAX_STEPS
            return found
        leaps += 1
        before = found.statistics
        rules.max_steps = most - steps
        rules.callback = counting_on(user, steps)
        rules.best_step -= steps
        x = problem.z_of(ahead.theta)
        if job.optimizer is None:
            methods = turns_of(problem, x, choose_optimizer(problem, x))


def _no_search(flow: FlowOutcome, method: str, why: str) -> SearchOutcome:
    """The outcome of a search that cannot begin where the flow ended, whose point is kept."""
    statistics = Statistics(method, stop_reason=StopReason.NON_FINITE, note=why)
    return SearchOutcome(flow.theta, math.inf, math.inf, 0.0, statistics)


def _evaluate_as_search(flow: FlowOutcome, problem: FixedPointProblem) -> None:
    """Loss and gradient at the best point of the flow by the objective of the search, which may be
    more accurate.
    """
    found = problem.evaluate(problem.z_of(flow.best_theta), 1)
    flow.best_loss, flow.best_gradient_norm = found.value, float(np.abs(found.g).max())
    if not np.isfinite(
        [flow.best_loss, flow.best_gradient_norm]
    ).all():  # then any result of the search is better
        flow.best_loss = flow.best_gradient_norm = math.inf


def _saving(file: SearchFile, rules: StopRules, before: int) -> Callable[[Progress], Any]:
    """The callback of the rules, with the checkpoint written before it where it is time."""
    user = rules.callback

    def callback(now: Progress) -> Any:
        if file.due():
            file.write(now.theta, before + now.step, rules.elapsed())
        return None if user is None else user(now)

    return callback


def _make_result(
    job: Job,
    flow: FlowOutcome,
    search: SearchOutcome | None,
    settings: dict[str, Any],
) -> Result:
    best = (flow.best_theta, flow.best_loss, flow.best_gradient_norm)
    newton = Statistics("" if job.optimizer is None else job.optimizer.name)
    status = flow.statistics.stop_reason
    if search is not None:
        newton = search.statistics
        flow_status = status
        status = search.statistics.stop_reason
        # losses that agree to rounding say nothing: then the smaller gradient decides
        equal = abs(flow.best_loss - search.loss) <= 4 * max(
            search.loss_noise, 2.0**-52 * abs(search.loss)
        )
        if (
            search.gradient_norm <= flow.best_gradient_norm
            if equal
            else search.loss <= flow.best_loss
        ):
            best = (search.theta, search.loss, search.gradient_norm)
        elif status is StopReason.NON_FINITE and flow_status.converged:
            status = flow_status  # the flow was there already
        elif status is StopReason.CHANNEL:
            status = StopReason.LOWER_BEFORE  # the point that is returned is not on that path
        elif status.converged and _is_clearly_above(search, flow):
            status = StopReason.LOWER_BEFORE
    surrogate_loss = None
    if job.polished is not None:
        best, surrogate_loss = _polished(job, search, best[0])
    theta, loss, norm = best
    return Result(
        theta=theta,
        loss=float(loss),
        gradient_norm=float(norm),
        status=status,
        trajectory=flow.trajectory,
        flow=flow.statistics,
        newton=newton,
        theta0=job.theta0,
        theta_flow=flow.theta,
        settings=settings,
        surrogate_loss=surrogate_loss,
        reduction=job.note,
        limit=None if search is None or best[0] is not search.theta else search.limit,
    )


def _is_clearly_above(search: SearchOutcome, flow: FlowOutcome) -> bool:
    """Whether the search rests at a clearly higher loss than that of the best point of the flow,
    which does not.
    """
    higher = search.loss - flow.best_loss > 1e-6 * abs(search.loss)
    return higher and flow.best_gradient_norm > max(1e-13, 10.0 * search.gradient_norm)


def _polished(
    job: Job, search: SearchOutcome | None, theta: Array
) -> tuple[tuple[Array, float, float], float]:
    """Where the exact search ended (or else ``theta``), exact loss and gradient norm there, and the
    surrogate's loss.
    """
    assert job.polished is not None
    if search is not None:
        best = (search.theta, search.loss, search.gradient_norm)
    else:
        found = job.polished.evaluate(theta, 1)
        best = (theta, found.value, float(np.abs(found.gradient[job.free]).max(initial=0.0)))  # type: ignore[index]
    try:
        return best, float(job.objective.evaluate(best[0], 0).value)
    except OutsideDomainError:
        return best, math.nan


class _Watch:
    """The progress bar, shown where a person watches, and the callback of the user behind it."""

    def __init__(self, wanted: bool, callback: Callable[[Progress], Any] | None) -> None:
        self._user = callback
        self._bar = Bar(
            wanted,
            unit=" steps",
            bar_format="{desc}: {n_fmt} steps [{elapsed}, {rate_fmt}]{postfix}",
        )

    def __enter__(self) -> _Watch:
        self._bar.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.__exit__(*details)

    def callback(self) -> Callable[[Progress], Any] | None:
        """The function that the stop rules call after every step."""
        return self._show if self._bar.is_shown else self._user

    def goes_on(self, run: ReducedRun, polished: Objective | None, before: int) -> None:
        """A search goes on with one more input, after so many steps."""
        user = self._user
        if not isinstance(user, FullView):
            return
        user.run = run
        user.steps_before = before
        if polished is not None:
            user.objectives["newton"] = polished

    def _show(self, now: Progress) -> Any:
        self._bar.update()
        if self._bar.is_due():
            when = f", t {now.t:.3g}" if now.stage == "flow" else ""
            self._bar.say(now.stage, f"loss {now.loss:.4g}, |grad| {now.gradient_norm:.2g}{when}")
        return self._user(now) if self._user is not None else None
