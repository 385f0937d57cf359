"""What ``train`` can be asked: one field per argument, with default, check and sentence.

Who reads the fields:

======================================  ===========================================================
``training.train``                      makes a :class:`TrainSettings` of its arguments
``many.train_many``                     makes one before any run, so that errors come at once
tables of TOML files                    default, check, sentence and example of each setting
``Result.settings``                     the fields that are recorded, as they were given
a checkpoint                            must agree in the fields that decide the path
the docstring of ``train``              each entry begins with the sentence of its field
======================================  ===========================================================

Checks of single values are in the fields. :meth:`TrainSettings.job` makes these, and those that
need the objective, the start or several arguments.
"""
# ruff: noqa: RUF009  setting() makes a new field with each call

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validation import (
    Array,
    as_choice,
    as_flag,
    as_function,
    as_items,
    as_number,
    as_real_array,
    counted,
    shown,
)
from .dynamics import as_dynamics
from .errors import InvalidTypeError, InvalidValueError, ShapeError
from .fixedpoints import OPTIMIZERS, Optimizer, own_optimizer
from .fixedpoints.methods import OPTIMIZER_OPTIONS
from .flow import SOLVERS, FlowSettings, automatic_solver, own_solver, resolve_observable
from .flow.methods import SOLVER_OPTIONS, Method
from .flow.problem import Seeded
from .objective import (
    ChecksParameters,
    ChoosesMethod,
    HasJumps,
    HasMetric,
    HasPieces,
    Objective,
    as_objective,
    require_samples,
)
from .options import choice, integer, number, positive, setting
from .own_step import OwnStep, method_or_step, name_of
from .reduced_run import FullView, ReducedRun, plan, short_rates
from .result import plain
from .seeds import seed_of_run
from .stopping import Progress
from .storage import as_path

#: Shortest flow and smallest step: shorter times have no relative precision.
SHORTEST = 1e-300
#: Smallest tolerances: the inverse squares of these do not overflow.
SMALLEST_TOLERANCE = 1e-100
#: Most points of a trajectory.
MOST_POINTS = 10**6


# -- checks of single values ----------------------------------------------------------------------


def _time(name: str, value: Any) -> float:
    found = as_number(name, value, minimum=0.0, strict=True, infinite=True)
    return as_number(name, found, minimum=SHORTEST, infinite=True)


def _tolerance(name: str, value: Any) -> float:
    return as_number(name, positive(name, value), minimum=SMALLEST_TOLERANCE)


def _step_size(name: str, value: Any) -> float:
    return as_number(name, positive(name, value), minimum=SHORTEST)


def _eta(name: str, value: Any) -> Array:
    found = as_real_array(name, value)
    if (found < 0).any():
        raise InvalidValueError(
            f"{name} must not be negative; its smallest entry is {found.min():g}. 0 freezes a "
            "parameter."
        )
    return found


def _times(name: str, value: Any) -> Array:
    return as_real_array(name, value, ndim=1)


def _observables(name: str, value: Any) -> Mapping[str, Any] | list[str]:
    """Functions by their names, or a list of names, which the objective has to know."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        for key, function in value.items():
            if not isinstance(key, str) or not callable(function):
                raise InvalidTypeError(
                    f"{name}[{shown(key)}] is {shown(function)}; a function of theta is needed."
                )
        return dict(value)
    names = as_items(name, value, "a dictionary {name: function} or a list of names")
    for each in names:
        if not isinstance(each, str):
            raise InvalidTypeError(f"{name} contains {shown(each)}; names are needed.")
    return names


def _reduce(name: str, value: Any) -> str | bool:
    if isinstance(value, str):
        return as_choice(name, value, ("auto",))
    return as_flag(name, value)


def _callback(name: str, value: Any) -> Callable[..., Any]:
    return as_function(name, value, "a function of one argument (Progress)")


def _checkpoint(name: str, value: Any) -> Any:
    return as_path(name, value, ".npz")


# -- the settings ---------------------------------------------------------------------------------

#: A setting decides one of these: the path, which a checkpoint has to agree in; how long and how
#: far runs go; or only what is seen of them, which is not recorded.
PATH = "path"
REACH = "reach"
VIEW = "view"


@dataclass(frozen=True)
class TrainSettings:
    """Arguments of :func:`infflow.train` behind ``net`` and ``theta0``, as they are given there."""

    solver: str | OwnStep = setting(
        "auto",
        method_or_step("auto", *SOLVERS),
        f"integrator of the flow: auto, {', '.join(SOLVERS)}",
        decides=PATH,
    )
    t_end: float = setting(np.inf, _time, "time at which the flow ends", decides=PATH)
    rtol: float = setting(1e-6, _tolerance, "relative tolerance of the path", decides=PATH)
    atol: float = setting(1e-6, _tolerance, "absolute tolerance of the path", decides=PATH)
    eta: Any = setting(
        1.0,
        _eta,
        "time scale, or one for each parameter; 0 freezes it",
        decides=PATH,
    )
    step_size: float | None = setting(
        None,
        _step_size,
        "step of gd, adam and functions as solver",
        0.01,
        decides=PATH,
    )
    solver_options: Mapping[str, Any] | None = setting(
        None,
        SOLVER_OPTIONS.mapping,
        "options of the solver",
        {"max_order": 5},
        decides=PATH,
    )
    dynamics: Any = setting(
        None,
        as_dynamics,
        "what the flow is, instead of the gradient flow",
        {"kind": "heavy_ball", "friction": 0.5},
        decides=PATH,
    )
    num_trajectory: int = setting(
        100,
        integer(2, MOST_POINTS),
        "number of points that are kept along the flow",
        decides=PATH,
    )
    t_eval: Any = setting(
        None,
        _times,
        "exactly these times instead",
        [0.0, 1.0, 10.0],
        decides=PATH,
    )
    observables: Any = setting(
        None,
        _observables,
        "recorded along the path",
        ["lambda_min"],
        decides=VIEW,
    )
    max_time_flow: float = setting(
        180.0,
        number(0.0, infinite=True),
        "seconds for the flow",
        decides=REACH,
    )
    max_steps_flow: int = setting(
        10**6,
        integer(0),
        "accepted steps of the flow; 0 skips it",
        decides=REACH,
    )
    optimizer: str | OwnStep = setting(
        "auto",
        method_or_step("auto", *OPTIMIZERS),
        f"method of the search: auto, {', '.join(OPTIMIZERS)}",
        decides=REACH,
    )
    optimizer_options: Mapping[str, Any] | None = setting(
        None,
        OPTIMIZER_OPTIONS.mapping,
        "options of the optimizer",
        {"scale": 100.0},
        decides=REACH,
    )
    polish: str | None = setting(
        None,
        choice("exact"),
        "with method surrogate, exact searches the fixed point of the exact loss",
        "exact",
        decides=REACH,
    )
    max_time_newton: float = setting(
        120.0,
        number(0.0, infinite=True),
        "seconds for the search",
        decides=REACH,
    )
    max_steps_newton: int = setting(
        10**5,
        integer(0),
        "accepted steps of the search; 0 skips it",
        decides=REACH,
    )
    min_loss: float = setting(
        2e-32,
        number(infinite=True),
        "loss that is small enough",
        decides=REACH,
    )
    min_gradient_norm: float = setting(
        1e-15,
        number(0.0),
        "gradient that is small enough",
        decides=REACH,
    )
    patience: int = setting(
        10**6,
        integer(1),
        "steps without a new lowest loss",
        decides=REACH,
    )
    batch_size: int | None = setting(
        None,
        integer(1),
        "samples per step of gd, adam and functions as solver",
        100,
        decides=PATH,
    )
    progress: bool = setting(
        True,
        as_flag,
        "whether a terminal or a notebook shows a progress bar",
        decides=VIEW,
    )
    callback: Callable[[Progress], Any] | None = setting(
        None,
        _callback,
        "function that is called after every accepted step",
        decides=VIEW,
    )
    checkpoint: Any = setting(
        None,
        _checkpoint,
        "file from which a stopped run goes on",
        "run.npz",
        decides=REACH,
    )
    reduce: str | bool = setting(
        "auto",
        _reduce,
        "whether to run in the inputs that the weights span",
        decides=REACH,
    )

    def record(self) -> dict[str, Any]:
        """What ``Result.settings`` keeps of it, in a form that JSON can hold."""
        methods = {name: name_of(getattr(self, name)) for name in ("solver", "optimizer")}
        return {name: plain(methods.get(name, getattr(self, name))) for name in _RECORDED}

    def checked(self) -> TrainSettings:
        """The same with every value checked by itself, and converted."""
        found: dict[str, Any] = {}
        for name, (optional, check) in _CHECKS.items():
            value = getattr(self, name)
            found[name] = None if value is None and optional else check(name, value)
        return TrainSettings(**found)

    def of_run(self, number: int) -> TrainSettings:
        """Those of run ``number`` of many: its random numbers are independent of the others'."""
        if number == 0:
            return self
        changes: dict[str, Any] = {}
        dynamics = None if self.dynamics is None else as_dynamics("dynamics", self.dynamics)
        if isinstance(dynamics, Seeded):
            changes["dynamics"] = dynamics.of_run(number)
        if self.batch_size is not None:
            options = self.solver_options or {}
            seed = seed_of_run(options.get("seed", 0), number)
            changes["solver_options"] = {**options, "seed": seed}
        return replace(self, **changes)

    def job(self, net: Any, theta0: Any) -> Job:
        """What is to be done from one start, with everything checked.

        Raises
        ------
        InfflowError
            If an argument cannot be used, by itself or beside the others.
        """
        start = check_theta(net, theta0)
        now = self.checked()
        eta = _matching(now.eta, len(start))
        if isinstance(net, HasMetric) and isinstance(eta, float):
            eta = eta / net.multiplicities
        methods = {"solver": now.solver, "optimizer": now.optimizer}
        _require_no_rates(methods, now.eta)
        chosen = plan(net, start, eta, now.reduce, methods, now.dynamics)
        if chosen.run is None:
            return _job(net, start, eta, now, chosen.note)
        return _short_job(chosen.run, eta, now, chosen.note)


#: name -> field, in the order of the arguments of ``train``
FIELDS: Mapping[str, Field[Any]] = {item.name: item for item in fields(TrainSettings)}
_RECORDED = [name for name, item in FIELDS.items() if item.metadata["decides"] != VIEW]
_CHECKS = {name: (item.default is None, item.metadata["check"]) for name, item in FIELDS.items()}


@dataclass(frozen=True)
class Job:
    """What is to be done from one start; everything in it is checked."""

    objective: Objective
    theta0: Array
    free: NDArray[np.bool_]
    settings: TrainSettings
    flow: FlowSettings
    optimizer: Optimizer | None  #: None: chosen where the flow ends
    optimizer_options: dict[str, Any]
    polished: Objective | None  #: objective of the second stage, where it is another one
    reduced: ReducedRun | None = None  #: the run that it stands for, where it is one in few inputs
    note: str = ""  #: whether it is one, and why not


def _job(net: Any, start: Array, eta: float | Array, now: TrainSettings, note: str = "") -> Job:
    """The job of checked settings."""
    free = np.broadcast_to(np.asarray(eta) > 0, start.shape)
    if now.dynamics is not None:
        _require_an_end(now)
        now.dynamics.check(net, start, eta)
    method, options = _solver(net, now, int(free.sum()))
    optimizer, search_options = _optimizer(net, now)
    if optimizer is not None:
        optimizer.check_size(int(free.sum()), search_options)
    flow = FlowSettings(
        method=method,
        options=options,
        t_end=now.t_end,
        rtol=now.rtol,
        atol=now.atol,
        eta=eta,
        num_trajectory=now.num_trajectory,
        t_eval=_within(now.t_eval, now.t_end),
        observables=_functions(net, now.observables),
        checkpoint=now.checkpoint,
        dynamics=now.dynamics,
    )
    polished = _polished(net, now)
    return Job(net, start, free, now, flow, optimizer, search_options, polished, note=note)


def _short_job(run: ReducedRun, eta: float | Array, now: TrainSettings, note: str) -> Job:
    """The job in few inputs, whose user sees all of them."""
    red = run.reduction
    short = eta if np.ndim(eta) == 0 else short_rates(eta, red, len(run.lift.start))
    view = None if now.callback is None else FullView(now.callback, run)
    seen = replace(
        now,
        observables=run.observables(now.observables),
        callback=view,
        min_gradient_norm=now.min_gradient_norm / run.bound_factor,
    )
    job = _job(red.net, red.theta, short, seen, note)
    if view is not None and job.polished is not None:
        view.objectives["newton"] = job.polished
    return replace(job, reduced=run)


# -- checks that need the objective, the start or several settings --------------------------------


def check_theta(net: Any, theta: Any) -> Array:
    """A finite parameter vector of the right length, by ``net.check`` where there is one."""
    as_objective(net)
    if (
        isinstance(theta, (list, tuple))
        and len(theta) > 1
        and all(isinstance(each, (list, tuple, np.ndarray)) for each in theta)
    ):
        raise InvalidTypeError(
            f"theta0 is a list of {counted(len(theta), 'vector')}; train takes one start. "
            "inf.train_many(net, thetas) takes many."
        )
    if isinstance(net, ChecksParameters):
        return np.array(net.check(theta))
    advice = "It is the start, a vector (P,): inf.random_params(net) draws one."
    found = as_real_array("theta0", theta, advice=advice)
    if found.shape != (net.num_params,):
        raise ShapeError(f"theta0 has shape {found.shape}; ({net.num_params},) is needed.")
    return np.array(found)


def _matching(eta: Array, num_params: int) -> float | Array:
    if eta.shape not in ((), (num_params,)):
        raise ShapeError(
            f"eta has shape {eta.shape}; a number or an array of shape ({num_params},) is needed."
        )
    return float(eta) if eta.ndim == 0 else eta


def _require_no_rates(methods: Mapping[str, Any], eta: Array) -> None:
    """Functions of the user have rates of their own: eta only says what is frozen."""
    if callable(methods["solver"]) and not np.isin(eta, (0.0, 1.0)).all():
        raise InvalidValueError(
            f"eta is {shown(eta)}; with a function as solver its entries are 0 (frozen) or 1. "
            "Scale the steps in the function."
        )


def _solver(net: Any, given: TrainSettings, num_free: int) -> tuple[Method, dict[str, Any]]:
    """The integrator and its checked options, with step and batches of discrete ones."""
    jumps = isinstance(net, HasJumps) and net.gradient_jumps
    chosen = given.solver
    defaults: dict[str, Any] = {}
    if given.dynamics is not None:
        if callable(chosen):
            raise InvalidValueError(
                f"solver is a function, and dynamics is {given.dynamics!r}: a function makes its "
                "own steps. Leave out one of them."
            )
        method, defaults = given.dynamics.method(chosen, num_free, jumps)
    elif chosen == "auto":
        chosen, defaults = automatic_solver(num_free, jumps, jumps and isinstance(net, HasPieces))
        method = SOLVERS[chosen]
    else:
        method = SOLVERS[chosen] if isinstance(chosen, str) else own_solver(chosen)
    options = {
        **defaults,
        **method.check_options(given.solver_options),
        **_step_option(method, given.step_size),
        **_batch_options(net, method, given.batch_size),
    }
    return method, options


def _require_an_end(given: TrainSettings) -> None:
    """Raise where a path that never rests has no end, and a search cannot begin."""
    dynamics = given.dynamics
    if dynamics is not None and dynamics.endless and np.isinf(given.t_end):
        raise InvalidValueError(
            f"{dynamics!r} never comes to rest, and t_end is infinite. Give a t_end."
        )


def _step_option(method: Method, step_size: float | None) -> dict[str, float]:
    if method.family == "own":
        return {"step_size": 1.0 if step_size is None else step_size}
    if method.discrete:
        if step_size is None:
            raise InvalidValueError(
                f"solver {method.name!r} needs a step_size, e.g. step_size=0.01."
            )
        return {"step_size": step_size}
    if step_size is None:
        return {}
    fixed = " Fix the step with solver_options={'step': h}."
    hint = fixed if "step" in method.options else ""
    raise InvalidValueError(
        f"step_size is for gd and adam; solver {method.name!r} chooses its steps itself.{hint}"
    )


def _batch_options(net: Any, method: Method, size: int | None) -> dict[str, int]:
    if size is None:
        return {}
    if not method.discrete:
        raise InvalidValueError(
            f"batch_size is for gd and adam; solver {method.name!r} follows the flow of the full "
            "loss. Leave it None."
        )
    samples = int(require_samples(net, size).num_samples)
    if size > samples:
        raise InvalidValueError(
            f"batch_size is {size}, but there are only {samples} samples. Take {samples} or fewer."
        )
    return {"batch_size": size, "num_samples": samples}


def _optimizer(net: Any, given: TrainSettings) -> tuple[Optimizer | None, dict[str, Any]]:
    """The method for fixed points, None for "auto", and its checked options."""
    if given.optimizer == "auto":
        if given.optimizer_options:
            raise InvalidValueError(
                f"optimizer_options is {shown(given.optimizer_options)}; name the optimizer that "
                "they are for."
            )
        return None, {}
    chosen = given.optimizer
    optimizer = OPTIMIZERS[chosen] if isinstance(chosen, str) else own_optimizer(chosen)
    optimizer.check_objective(net)
    return optimizer, optimizer.check_options(given.optimizer_options)


def _within(times: Array | None, t_end: float) -> Array | None:
    if times is None:
        return None
    if not len(times) or times[0] < 0 or (np.diff(times) <= 0).any() or times[-1] > t_end:
        raise InvalidValueError(
            f"t_eval must hold increasing times between 0 and t_end = {t_end:g}; it is {times}."
        )
    return times


def _functions(net: Any, observables: Any) -> dict[str, Any]:
    if observables is None:
        return {}
    if isinstance(observables, dict):
        return observables
    return {name: resolve_observable(net, name) for name in observables}


def _polished(net: Any, given: TrainSettings) -> Objective | None:
    """The exact objective that the second stage is to use, if any."""
    if given.polish is None:
        return None
    if not (isinstance(net, ChoosesMethod) and net.method == "surrogate"):
        raise InvalidValueError(
            "polish='exact' is for a NetI with method='surrogate'; leave it None for other "
            "objectives."
        )
    if given.max_steps_newton == 0:
        raise InvalidValueError(
            "polish='exact' is what the second stage does, and max_steps_newton is 0. Allow "
            "some steps."
        )
    return net.with_method("auto")
