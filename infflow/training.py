"""Training: the gradient flow from a start, then a fixed-point search from where it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validation import (
    Array,
    as_choice,
    as_flag,
    as_function,
    as_integer,
    as_items,
    as_number,
    as_real_array,
    counted,
    public,
    shown,
)
from .errors import (
    DivergedError,
    InvalidTypeError,
    InvalidValueError,
    OutsideDomainError,
    ShapeError,
    SingularMomentError,
)
from .fixedpoints import OPTIMIZERS, FixedPointProblem, Optimizer, SearchOutcome, choose_optimizer
from .flow import SOLVERS, FlowOutcome, FlowSettings, SearchFile, automatic_solver, integrate, resolve_observable
from .interrupts import saving_before_termination
from .objective import Objective, as_objective
from .result import Result, plain
from .stopping import Progress, Statistics, StopReason, StopRules
from .storage import as_path
from .terminal import on_terminal
from .threads import limit_for

#: shortest flow (shorter times have no relative precision), and most points of a trajectory
_SHORTEST, _MOST_POINTS = 1e-300, 10**6
#: smallest tolerances, whose inverse squares do not overflow
_SMALLEST = 1e-100
#: after these the second stage does not begin
_FINAL = (StopReason.INTERRUPTED, StopReason.CALLBACK, StopReason.NON_FINITE, StopReason.FROZEN)


@public
def train(
    net: Objective,
    theta0: Any,
    *,
    solver: str = "auto",
    t_end: float = np.inf,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    eta: Any = 1.0,
    step_size: float | None = None,
    solver_options: Mapping[str, Any] | None = None,
    num_trajectory: int = 100,
    t_eval: Any = None,
    observables: Any = None,
    max_time_flow: float = 180.0,
    max_steps_flow: int = 10**6,
    optimizer: str = "auto",
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
) -> Result:
    """Follow the gradient flow d theta/dt = -eta grad L from ``theta0``, then search the fixed point.

    Parameters
    ----------
    net : Net, NetI or any object with ``num_params``, ``evaluate(theta, order)`` and ``hvp(theta, v)``
        What to train.
    theta0 : (P,) array
        Start.
    solver : str
        Stiff, with exact Hessians: ``gear`` (BDF made for symmetric Jacobians), ``rodas5p``, ``rodas3``, ``exprb`` (exponential),
        ``kencarp58``, ``trbdf2``, ``lsoda``, ``radau``, ``bdf``, ``cvode_bdf`` (``solver_options={"linear_solver": "dense"}``; ``"gmres"``
        with Hessian-vector products only; ``"switch"`` begins with these and goes on as ``gear`` when they become many);
        explicit: ``tsit5``, ``dopri5``, ``rk4`` (``solver_options={"step": h}`` fixes the step); discrete: ``gd``,
        ``adam``. ``"auto"`` takes ``gear`` up to 1000 parameters, ``cvode_bdf`` above: up to 2000 with ``"switch"``, beyond with
        ``"gmres"``, and ``tsit5`` where activations have kinks and samples are few, as measured (docs/solvers.md); ``rodas5p`` has smaller errors at the same tolerances.
    t_end : float
        Time at which the flow ends. With infinity, and an optimizer to follow, the flow also ends when its last step
        and the rest of its path (the Newton step of the quadratic model, if that has no negative
        curvature) are shorter than the tolerances: root mean square of displacement_i/(atol + rtol |theta_i|) at most 1;
        and, with or without optimizer, when the gradient is below its own rounding error. Above 2,000 parameters a flow without
        an optimizer also ends when its loss is at rest to rounding and the rest of its path is that short.
    rtol, atol : float
        Tolerances of the adaptive solvers: errors count in units of atol + rtol |theta_i|, root mean square.
    eta : float or (P,) array
        Time scale, or time scales >= 0 of each parameter. Entries 0 freeze a parameter in flow and search;
        with zeros only nothing moves, and the status is ``FROZEN``.
    step_size : float, optional
        For ``gd`` and ``adam``, where time is t = k step_size.
    solver_options : dict, optional
        Options of the solver: ``step``, ``first_step``, ``max_step`` (one-step methods; ``lsoda``, ``radau`` and ``bdf``
        without ``step``); ``max_order``, ``first_step``, ``max_step`` (``gear``, ``cvode_bdf``); ``linear_solver``, ``krylov_dim`` (``cvode_bdf``);
        ``seed`` (``gd``, ``adam``); ``beta1``, ``beta2``, ``epsilon`` (``adam``).
    num_trajectory : int
        Number of points kept along the flow, spaced logarithmically in t; the first is t = 0, the last the end. On the way, up to
        twice as many are in memory; where they take more than 32 MiB (8 num_trajectory P bytes), not more than these, and a flow
        that ends before ``t_end``, or has none, leaves between half and all of them.
    t_eval : increasing array of times >= 0, optional
        Keep exactly these points instead, whenever the flow ends, so that runs can be stacked. Behind its end theta stays where the
        flow ended, if it met ``min_loss`` or ``min_gradient_norm`` or came to rest (``t_end`` infinite); where it was cut off by
        another limit, failed or was left for a search on a path that goes on, these points are not known, and are NaN.
    observables : dict or list, optional
        ``{"name": function of theta}``, or names (``"lambda_min"``; further ones where ``net`` knows them), evaluated
        along the trajectory. Where one raises an error it is NaN, with one :class:`~infflow.errors.IncompleteWarning` per run; only
        a function that is wrong already at ``theta0`` (no numbers, a name that does not exist) raises, before the flow.
    max_time_flow, max_time_newton : float
        Seconds for each stage, kept to within one evaluation or factorisation. What numba compiles does not count.
    max_steps_flow, max_steps_newton : int
        Accepted steps for each stage; 0 skips it.
    optimizer : str
        ``newton`` (trust region; exact Hessian up to 2000 parameters, Hessian-vector products above),
        ``levenberg_marquardt`` (least squares on finite data), ``gauss_newton`` (the same by minibatches, with
        ``optimizer_options={"batch_size": 100, "momentum": 0.9}``), ``bfgs``, ``lbfgs``, ``slsqp``. ``"auto"`` chooses where the
        flow ends: ``levenberg_marquardt`` for sums of squares that are nearly zero, else ``newton`` up to 2000
        parameters and ``lbfgs`` above.
    optimizer_options : dict, optional
        Options of the optimizer that is named, e.g. ``{"scale": 1e4}`` for ``bfgs``, ``{"linear_solver": "cg"}`` for ``newton``.
    polish : {None, "exact"}
        "exact", for a ``NetI`` with ``method="surrogate"``: the flow follows the surrogate's loss, whichever sign it has, and the
        second stage searches the fixed point of the exact one. ``Result.loss`` is then exact, ``Result.surrogate_loss`` not.
    min_loss, min_gradient_norm : float
        Both stages stop when loss or gradient (infinity norm, frozen parameters left out) are this small.
    patience : int
        Both stages stop after this many steps without a new lowest loss.
    batch_size : int, optional
        For ``gd`` and ``adam``: every step uses the gradient on this many samples, which are reshuffled in every
        epoch (``solver_options={"seed": 0}``; the last batch of an epoch may be smaller). Loss and gradient norm are
        those on all samples, evaluated after every epoch, and the stopping rules wait for that; a minibatch counts as one gradient.
    checkpoint : str or path-like, optional
        A file (``.npz``) that is replaced atomically every ten seconds and when the flow ends, and from which a later call
        with the same arguments goes on. With the one-step solvers, ``gear`` and the discrete ones the resumed run takes the same steps as
        one that was never stopped, bit for bit on the same machine; ``cvode_bdf``, ``lsoda``, ``radau`` and ``bdf`` cannot
        give out their history and start again at the last point, so that the path agrees within the tolerances.
        Limits (times, steps, losses) may be changed between calls. A search that was stopped goes on from its last point.
    progress : bool
        Show a progress bar on a terminal.
    callback : callable, optional
        Called with an :class:`infflow.stopping.Progress` after every accepted step; a true value stops the run. Loss and gradient
        norm are those of its ``theta`` (with minibatches of the last epoch); ``gear``, ``cvode_bdf``, ``lsoda`` and ``bdf`` need one more
        gradient per step for it, which they save without a callback (and with ``patience`` beyond ``max_steps_flow``).

    Returns
    -------
    Result
        Ctrl-C ends a run early with the best point so far and the status ``INTERRUPTED``. Where integrals are evaluated to a tolerance, loss and
        gradient norm after a search are those of ``net.frozen``, as accurate as they get; ``inf.loss`` agrees within the tolerance.

    Raises
    ------
    InfflowError
        A subclass that is also ``ValueError`` or ``TypeError``, for every argument that cannot be used.
    """
    settings = {
        name: value
        for name, value in locals().items()
        if name not in ("net", "theta0", "progress", "callback", "observables")
    }
    job = _check_arguments(net, theta0, settings, observables)
    job.polished = _check_polish(net, polish, max_steps_newton)
    stages = {
        "flow": (
            _rules_number("max_time_flow", max_time_flow),
            as_integer("max_steps_flow", max_steps_flow, minimum=0),
        ),
        "newton": (
            _rules_number("max_time_newton", max_time_newton),
            as_integer("max_steps_newton", max_steps_newton, minimum=0),
        ),
    }
    common = {
        "min_loss": as_number("min_loss", min_loss, minimum=-math.inf, infinite=True),
        "min_gradient_norm": as_number("min_gradient_norm", min_gradient_norm, minimum=0.0),
        "patience": as_integer("patience", patience, minimum=1),
    }
    if callback is not None:
        as_function("callback", callback, "a function of one argument (Progress)")
    if job.flow.method.family == "CVODE":
        import sksundae.cvode  # noqa: F401  brings a BLAS of its own, which the limit on threads must see
    watch = _Watch(as_flag("progress", progress), callback)

    def rules(stage: str) -> StopRules:
        max_time, max_steps = stages[stage]
        exact = callback is not None or common["patience"] < max_steps
        limits = common
        if stage == "flow" and job.polished is not None:
            limits = common | {"min_loss": -math.inf}  # a surrogate's loss may be negative
        return StopRules(max_time, max_steps, callback=watch.callback(), exact=exact, **limits)  # type: ignore[arg-type]

    saving = nullcontext() if job.flow.checkpoint is None else saving_before_termination()
    with saving, limit_for(len(job.theta0)), watch:
        flow = _run_flow(job, rules("flow"), stages["flow"][1] == 0, stages["newton"][1] > 0)
        search = _run_search(job, flow, rules("newton"), stages["newton"][1] == 0)
    return _make_result(job, flow, search, {"net": repr(net), **plain(settings)})


@dataclass
class _Job:
    """Checked arguments."""

    objective: Objective
    theta0: Array
    free: NDArray[np.bool_]
    flow: FlowSettings
    optimizer: Optimizer | None  # None: chosen where the flow ends
    optimizer_options: dict[str, Any]
    polished: Objective | None = None  # of the second stage, where it is another one


def _rules_number(name: str, value: Any) -> float:
    return as_number(name, value, minimum=0.0, infinite=True)


def _check_arguments(net: Objective, theta0: Any, given: dict[str, Any], observables: Any) -> _Job:
    start = check_theta(net, theta0)
    eta = _check_eta(given["eta"], len(start))
    free = np.broadcast_to(np.asarray(eta) > 0, start.shape)
    t_end = as_number("t_end", given["t_end"], minimum=0.0, strict=True, infinite=True)
    as_number("t_end", t_end, minimum=_SHORTEST, infinite=True)
    name = given["solver"]
    defaults: dict[str, Any] = {}
    if _is_auto(name):
        name, defaults = automatic_solver(int(free.sum()), getattr(net, "gradient_jumps", False))
    method = SOLVERS[as_choice("solver", name, ["auto", *SOLVERS])]
    options = {**defaults, **method.check_options(given["solver_options"])}
    options |= _check_step_size(method.name, method.discrete, given["step_size"])
    options |= _check_batch_size(net, method.name, method.discrete, given["batch_size"])
    optimizer, search_options = _check_optimizer(net, given["optimizer"], given["optimizer_options"])
    if optimizer is not None:
        optimizer.check_size(int(free.sum()), search_options)
    flow = FlowSettings(
        method=method,
        options=options,
        t_end=t_end,
        rtol=_positive("rtol", given["rtol"], _SMALLEST),
        atol=_positive("atol", given["atol"], _SMALLEST),
        eta=eta,
        num_trajectory=as_integer("num_trajectory", given["num_trajectory"], minimum=2, maximum=_MOST_POINTS),
        t_eval=_check_t_eval(given["t_eval"], t_end),
        observables=_check_observables(net, observables),
        checkpoint=None if given["checkpoint"] is None else as_path("checkpoint", given["checkpoint"], ".npz"),
    )
    return _Job(net, start, free, flow, optimizer, search_options)


def _positive(name: str, value: Any, smallest: float) -> float:
    """A positive number that is not so small that its inverse, or the square of that, overflows."""
    return as_number(name, as_number(name, value, minimum=0.0, strict=True), minimum=smallest)


def _is_auto(name: Any) -> bool:
    """Whether a method is to be chosen; not so for anything else that compares with strings, as arrays do entry by entry."""
    return isinstance(name, str) and name == "auto"


def _check_optimizer(net: Objective, name: Any, options: Any) -> tuple[Optimizer | None, dict[str, Any]]:
    """The method for fixed points, None for "auto", and its checked options."""
    if _is_auto(name):
        if options is not None and (not isinstance(options, Mapping) or options):
            raise InvalidValueError(f"optimizer_options is {shown(options)}; name the optimizer that they are for.")
        return None, {}
    optimizer = OPTIMIZERS[as_choice("optimizer", name, ["auto", *OPTIMIZERS])]
    optimizer.check_objective(net)
    return optimizer, optimizer.check_options(options)


def _check_polish(net: Any, polish: Any, max_steps_newton: Any) -> Objective | None:
    """The exact objective that the second stage is to use, if any."""
    if polish is None:
        return None
    as_choice("polish", polish, ["exact"])
    if getattr(net, "method", None) != "surrogate":
        raise InvalidValueError(
            "polish='exact' is for a NetI with method='surrogate'; leave it None for other objectives."
        )
    if as_integer("max_steps_newton", max_steps_newton, minimum=0) == 0:
        raise InvalidValueError(
            "polish='exact' is what the second stage does, and max_steps_newton is 0. Allow some steps."
        )
    exact: Objective = net.with_method("auto")
    return exact


def check_theta(net: Any, theta: Any) -> Array:
    """A finite parameter vector of the right length, by ``net.check`` where there is one."""
    as_objective(net)
    if (
        isinstance(theta, (list, tuple))
        and len(theta) > 1
        and all(isinstance(each, (list, tuple, np.ndarray)) for each in theta)
    ):
        raise InvalidTypeError(
            f"theta0 is a list of {counted(len(theta), 'vector')}; train takes one start. inf.train_many(net, thetas) takes many."
        )
    check = getattr(net, "check", None)
    if check is not None:
        return np.array(check(theta))
    found = as_real_array("theta0", theta, advice="It is the start, a vector (P,): inf.random_params(net) draws one.")
    if found.shape != (net.num_params,):
        raise ShapeError(f"theta0 has shape {found.shape}; ({net.num_params},) is needed.")
    return np.array(found)


def _check_eta(eta: Any, num_params: int) -> float | Array:
    found = as_real_array("eta", eta)
    if found.shape not in ((), (num_params,)):
        raise ShapeError(f"eta has shape {found.shape}; a number or an array of shape ({num_params},) is needed.")
    if (found < 0).any():
        raise InvalidValueError(
            f"eta must not be negative; its smallest entry is {found.min():g}. 0 freezes a parameter."
        )
    return float(found) if found.ndim == 0 else found


def _check_step_size(name: str, discrete: bool, step_size: Any) -> dict[str, float]:
    if not discrete:
        if step_size is None:
            return {}
        hint = " Fix the step with solver_options={'step': h}." if "step" in SOLVERS[name].options else ""
        raise InvalidValueError(f"step_size is for gd and adam; solver {name!r} chooses its steps itself.{hint}")
    if step_size is None:
        raise InvalidValueError(f"solver {name!r} needs a step_size, e.g. step_size=0.01.")
    return {"step_size": _positive("step_size", step_size, _SHORTEST)}


def _check_batch_size(net: Any, name: str, discrete: bool, batch_size: Any) -> dict[str, int]:
    if batch_size is None:
        return {}
    if not discrete:
        raise InvalidValueError(
            f"batch_size is for gd and adam; solver {name!r} follows the flow of the full loss. Leave it None."
        )
    size = as_integer("batch_size", batch_size, minimum=1)
    if not hasattr(net, "subset"):
        raise InvalidTypeError(
            f"batch_size is {size}, but {type(net).__name__} has no samples to choose from: a Net with data, or an "
            "object with subset(indices) and num_samples, is needed."
        )
    samples = int(net.num_samples if hasattr(net, "num_samples") else len(net.data.X))
    if size > samples:
        raise InvalidValueError(f"batch_size is {size}, but there are only {samples} samples. Take {samples} or fewer.")
    return {"batch_size": size, "num_samples": samples}


def _check_t_eval(t_eval: Any, t_end: float) -> Array | None:
    if t_eval is None:
        return None
    times = as_real_array("t_eval", t_eval, ndim=1)
    if not len(times) or times[0] < 0 or (np.diff(times) <= 0).any() or times[-1] > t_end:
        raise InvalidValueError(f"t_eval must hold increasing times between 0 and t_end = {t_end:g}; it is {times}.")
    return times


def _check_observables(net: Any, observables: Any) -> dict[str, Any]:
    if observables is None:
        return {}
    if isinstance(observables, str):
        observables = [observables]
    if isinstance(observables, Mapping):
        for name, function in observables.items():
            if not isinstance(name, str) or not callable(function):
                raise InvalidTypeError(
                    f"observables[{shown(name)}] is {shown(function)}; a function of theta is needed."
                )
        return dict(observables)
    names = as_items("observables", observables, "a dictionary {name: function} or a list of names")
    for name in names:
        if not isinstance(name, str):
            raise InvalidTypeError(f"observables contains {shown(name)}; names are needed.")
    return {name: resolve_observable(net, name) for name in names}


def _run_flow(job: _Job, rules: StopRules, skip: bool, optimizer_follows: bool) -> FlowOutcome:
    settings = job.flow
    if skip:
        # the driver checks the start and makes the trajectory of one point; with no steps it stops at once
        outcome = integrate(job.objective, job.theta0, settings, rules)
        if outcome.statistics.stop_reason is StopReason.MAX_STEPS:
            outcome.statistics.stop_reason = StopReason.SKIPPED
        return outcome
    settings = FlowSettings(**{**settings.__dict__, "hand_over": optimizer_follows})
    return integrate(job.objective, job.theta0, settings, rules)


def _run_search(job: _Job, flow: FlowOutcome, rules: StopRules, skip: bool) -> SearchOutcome | None:
    if skip or flow.statistics.stop_reason in _FINAL:
        return None
    file = flow.search_file
    last = None if file is None else file.last(len(flow.theta))
    theta, before = (flow.theta, 0) if last is None else last[:2]
    if last is not None:
        rules.started -= last[2]
        rules.max_steps = max(rules.max_steps - before, 0)
    if file is not None:
        rules.callback = _saving(file, rules, before)
    problem = FixedPointProblem(job.polished or job.objective, theta, job.free)
    x, optimizer = theta[problem.free], job.optimizer
    try:
        optimizer = optimizer or choose_optimizer(problem, x)
        problem = problem.frozen(x)
        found = optimizer.run(problem, x, rules, **job.optimizer_options)
    except (DivergedError, SingularMomentError) as error:  # infinite derivatives, e.g. of a neuron at zero
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


def _no_search(flow: FlowOutcome, method: str, why: str) -> SearchOutcome:
    """The outcome of a search that cannot begin where the flow ended, whose point is kept."""
    statistics = Statistics(method, stop_reason=StopReason.NON_FINITE, note=why)
    return SearchOutcome(flow.theta, math.inf, math.inf, 0.0, statistics)


def _evaluate_as_search(flow: FlowOutcome, problem: FixedPointProblem) -> None:
    """Loss and gradient at the best point of the flow by the objective of the search, which may be more accurate."""
    found = problem.evaluate(flow.best_theta[problem.free], 1)
    flow.best_loss, flow.best_gradient_norm = found.value, float(np.abs(found.g).max())
    if not np.isfinite([flow.best_loss, flow.best_gradient_norm]).all():  # then any result of the search is better
        flow.best_loss = flow.best_gradient_norm = math.inf


def _saving(file: SearchFile, rules: StopRules, before: int) -> Callable[[Progress], Any]:
    """The callback of the rules, with the checkpoint written before it where it is time."""
    user = rules.callback

    def callback(now: Progress) -> Any:
        if file.due():
            file.write(now.theta, before + now.step, rules.elapsed())
        return None if user is None else user(now)

    return callback


def _make_result(job: _Job, flow: FlowOutcome, search: SearchOutcome | None, settings: dict[str, Any]) -> Result:
    best = (flow.best_theta, flow.best_loss, flow.best_gradient_norm)
    newton, status = Statistics("" if job.optimizer is None else job.optimizer.name), flow.statistics.stop_reason
    if search is not None:
        newton, flow_status, status = search.statistics, status, search.statistics.stop_reason
        # losses that agree to rounding say nothing: then the smaller gradient decides
        equal = abs(flow.best_loss - search.loss) <= 4 * max(search.loss_noise, 2.0**-52 * abs(search.loss))
        if search.gradient_norm <= flow.best_gradient_norm if equal else search.loss <= flow.best_loss:
            best = (search.theta, search.loss, search.gradient_norm)
        elif status is StopReason.NON_FINITE and flow_status.converged:
            status = flow_status  # the flow was there already
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
    )


def _is_clearly_above(search: SearchOutcome, flow: FlowOutcome) -> bool:
    """Whether the search rests at a clearly higher loss than that of the best point of the flow, which does not."""
    higher = search.loss - flow.best_loss > 1e-6 * abs(search.loss)
    return higher and flow.best_gradient_norm > max(1e-13, 10.0 * search.gradient_norm)


def _polished(job: _Job, search: SearchOutcome | None, theta: Array) -> tuple[tuple[Array, float, float], float]:
    """Where the exact search ended (or else ``theta``), exact loss and gradient norm there, and the surrogate's loss."""
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
    """The progress bar, shown on a terminal only, and the callback of the user behind it."""

    def __init__(self, wanted: bool, callback: Callable[[Progress], Any] | None) -> None:
        self._user = callback
        self._bar: Any = None
        self._wanted = wanted and on_terminal()

    def __enter__(self) -> _Watch:
        if self._wanted:
            from tqdm import tqdm

            self._bar = tqdm(unit=" steps", bar_format="{desc}: {n_fmt} steps [{elapsed}, {rate_fmt}]{postfix}")
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def callback(self) -> Callable[[Progress], Any] | None:
        """What the stop rules call after every step."""
        return self._user if not self._wanted else self._show

    def _show(self, now: Progress) -> Any:
        bar = self._bar
        bar.n += 1
        import time

        if time.time() - getattr(bar, "shown_at", 0.0) > 0.2:
            bar.shown_at = time.time()
            when = f", t {now.t:.3g}" if now.stage == "flow" else ""
            bar.set_description_str(now.stage, refresh=False)
            bar.set_postfix_str(f"loss {now.loss:.4g}, |grad| {now.gradient_norm:.2g}{when}", refresh=True)
        return self._user(now) if self._user is not None else None
