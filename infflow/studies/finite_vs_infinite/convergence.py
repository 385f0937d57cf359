"""Finite against infinite data: the paper's figure 4 and the prefactor that theory predicts.

For a non-degenerate minimum theta* of the infinite-data loss with Hessian H, and the
covariance C of the gradients of single samples, the minimum theta_N of the loss over N
samples satisfies E |theta_N - theta*|^2 = tr(H^+ C H^+)/N to leading order (the sandwich
formula of M-estimation; van der Vaart, Asymptotic Statistics, 1998, theorem 5.21).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from ..._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_items,
    as_number,
    as_rng,
    public,
    shown,
)
from ...errors import DivergedError, InvalidTypeError, InvalidValueError
from ...networks.eigenvalues import hessian_spectrum
from ...networks.finite.net import Net
from ...networks.functions import gradient, loss
from ...networks.infinite.neti import NetI
from ...networks.parameters import random_params
from ...networks.statistics import FiniteDataPrediction, finite_data_prediction
from ...networks.teacher import Teacher
from ...storage import make_folder, plain, write_json
from ...terminal import Bar
from ...training import train

# Two solutions that agree to this fraction of their norm are the same minimum; Newton's method
# leaves 1e-13, and different minima of the demo lie 0.1 and more apart.
_SAME = 1e-5
# A Gaussian fluctuation exceeds 25 times the mean of its square with a probability below 1e-6.
_FAR = 25.0
# Smallest eigenvalue, relative to the largest, of a minimum without flat directions.
_NON_DEGENERATE = 1e-8
_BOOTSTRAP = 2000
# Squared distance of two solutions, relative to the squared length, that is rounding.
_ZERO_DISTANCE = 1e-16
# With this many samples a Hessian costs many gradients, so that a method without it is faster at
# equal tolerance.
_SOLVER = "cvode_bdf"
# Samples of a run that is there to compile kernels.
_FEW = 100
#: with fewer runs in the basin of the infinite-data solution, a mean over them is that of a
#: selection, and no slope is reported
ENOUGH = 0.8


@dataclass(frozen=True)
class Setting:
    """Settings of the study: a random teacher, a random student, numbers of samples, data seeds."""

    activation: str = "softplus"
    input_dim: int = 9
    teacher_width: int = 8
    student_width: int = 3
    N: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000, 100_000)
    seeds: int = 20
    seed: int = 2
    noise: float = 0.0


class Run(NamedTuple):
    """One finite-data run: squared distance to the infinite-data solution, and the loss
    gap there.
    """

    N: int
    seed: int
    squared_distance: float
    loss_gap: float
    gradient_norm: float
    same_basin: bool
    wall_time: float


class Fit(NamedTuple):
    """Power law mean_squared_distance = exp(intercept) N^slope with the 95 % interval
    of the slope.
    """

    slope: float
    intercept: float
    slope_ci: tuple[float, float]


@dataclass(eq=False, repr=False)
class ConvergenceResult:
    """Outcome of :func:`convergence`.

    Attributes
    ----------
    setting : Setting
    theta : ndarray (P,)
        The infinite-data solution, ``infinite_loss`` its loss, ``infinite_time`` the seconds it
        took.
    prediction : FiniteDataPrediction
        For one sample; divide by N.
    runs : list of Run
        All runs, those in another basin included.
    """

    setting: Setting
    theta: Array
    infinite_loss: float
    infinite_gradient_norm: float
    infinite_time: float
    prediction: FiniteDataPrediction
    runs: list[Run] = field(default_factory=list)

    def __repr__(self) -> str:
        return self.table()

    @property
    def N(self) -> Array:
        """Numbers of samples ``(n,)``."""
        return np.array(self.setting.N, dtype=float)

    def used(self, N: float) -> list[Run]:
        """Runs with ``N`` samples in the basin of the infinite-data solution."""
        return [run for run in self.runs if run.N == N and run.same_basin]

    @property
    def excluded(self) -> list[Run]:
        """Runs that went to another basin."""
        return [run for run in self.runs if not run.same_basin]

    def mean_squared_distance(self) -> Array:
        """Mean over the runs that are used, ``(n,)``; NaN where there is none."""
        return self._mean("squared_distance")

    def standard_error(self) -> Array:
        """Standard error of :meth:`mean_squared_distance`, ``(n,)``."""
        groups = [np.array([run.squared_distance for run in self.used(N)]) for N in self.N]
        return np.array([d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan for d in groups])

    def mean_loss_gap(self) -> Array:
        r"""Mean of :math:`L(\theta_N) - L(\theta_*)` over the runs that are used, ``(n,)``."""
        return self._mean("loss_gap")

    def _mean(self, what: str) -> Array:
        groups = [[getattr(run, what) for run in self.used(N)] for N in self.N]
        return np.array([np.mean(group) if group else np.nan for group in groups])

    def predicted(self) -> Array:
        r""":math:`\tr(H^+ C H^+)/N`, ``(n,)``."""
        return self.prediction.squared_distance / self.N

    def fit(self) -> Fit:
        """Least-squares line through the logarithms; its interval by resampling the seeds.

        Raises
        ------
        DivergedError
            If fewer than 80 % of the runs stayed in the basin of the infinite-data solution, if
            fewer than two values of N have two or more runs there, or if all distances are zero to
            rounding (a realizable case without noise, to which no power law applies).
        """
        stayed = len(self.runs) - len(self.excluded)
        if stayed < ENOUGH * len(self.runs):
            raise DivergedError(
                f"{stayed} of {len(self.runs)} runs stayed in the basin of the infinite-data "
                f"solution: no slope with fewer than {ENOUGH:.0%}, since "
                "the mean would be that of a selection. Use larger N, or another seed."
            )
        largest = max((run.squared_distance for run in self.runs if run.same_basin), default=0.0)
        if largest <= _ZERO_DISTANCE * float(self.theta @ self.theta):
            raise DivergedError(
                "the finite-data solutions are the infinite-data solution to rounding: the "
                "student matches the teacher and there is no "
                "noise, so that the law of 1/N does not apply. Use label noise or a smaller "
                "student."
            )
        groups = {N: np.array([run.squared_distance for run in self.used(N)]) for N in self.N}
        groups = {N: d for N, d in groups.items() if len(d) >= 2}
        if len(groups) < 2:
            raise DivergedError(
                "a slope needs at least two values of N with two runs in the basin of the "
                "infinite-data solution. Use more seeds or larger N."
            )
        x = np.log(list(groups))
        rng = np.random.default_rng(0)
        slope, intercept = np.polyfit(x, np.log([d.mean() for d in groups.values()]), 1)
        draws = [
            np.log([rng.choice(d, len(d)).mean() for d in groups.values()])
            for _ in range(_BOOTSTRAP)
        ]
        slopes = np.polyfit(x, np.array(draws).T, 1)[0]
        low, high = np.percentile(slopes, [2.5, 97.5])
        return Fit(float(slope), float(intercept), (float(low), float(high)))

    def fit_or_reason(self) -> tuple[Fit | None, str | None]:
        """:meth:`fit`, or None and why there is none."""
        try:
            return self.fit(), None
        except DivergedError as error:
            return None, str(error)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, with the keys of ``convergence.json``; None for means over
        no runs, and for a slope that is refused.
        """
        fit, refused = self.fit_or_reason()
        return {
            "N": list(self.setting.N),
            "mean_squared_distance": plain(self.mean_squared_distance(), nan=False),
            "standard_error": plain(self.standard_error(), nan=False),
            "predicted": self.predicted().tolist(),
            "measured_over_predicted": plain(
                self.mean_squared_distance() / self.predicted(), nan=False
            ),
            "slope": None if fit is None else fit.slope,
            "slope_ci": None if fit is None else list(fit.slope_ci),
            "slope_refused": refused,
            "mean_loss_gap": plain(self.mean_loss_gap(), nan=False),
            "predicted_loss_gap": (self.prediction.loss_gap / self.N).tolist(),
            "prefactor": self.prediction.squared_distance,
            "prefactor_standard_error": self.prediction.squared_distance_error,
            "seeds": self.setting.seeds,
            "seeds_used": [len(self.used(N)) for N in self.N],
            "excluded": [{"N": run.N, "seed": run.seed} for run in self.excluded],
            "infinite_loss": self.infinite_loss,
            "infinite_gradient_norm": self.infinite_gradient_norm,
            "infinite_seconds": self.infinite_time,
            "finite_seconds": [
                float(np.mean([run.wall_time for run in self.runs if run.N == N])) for N in self.N
            ],
            "settings": {**asdict(self.setting), "N": list(self.setting.N)},
        }

    def table(self) -> str:
        """The numbers as text, one row for each N."""
        head = (
            f"{'N':>8} {'used':>7} {'measured':>11} {'+-':>9} {'predicted':>11} {'ratio':>7} "
            f"{'loss gap':>10} {'predicted':>10}"
        )
        rows = [head]
        measured = self.mean_squared_distance()
        predicted = self.predicted()
        columns = (
            measured,
            self.standard_error(),
            predicted,
            measured / predicted,
            self.mean_loss_gap(),
        )
        for N, distance, error, law, ratio, gap in zip(self.setting.N, *columns, strict=True):
            rows.append(
                f"{N:>8} {len(self.used(N)):>3}/{self.setting.seeds:<3} {distance:>11.4g} "
                f"{error:>9.2g} {law:>11.4g} "
                f"{ratio:>7.3f} {gap:>10.3g} {self.prediction.loss_gap / N:>10.3g}"
            )
        fit, refused = self.fit_or_reason()
        if fit is None:
            rows.append(f"no slope: {refused}")
        else:
            low, high = fit.slope_ci
            rows.append(f"slope {fit.slope:.3f}, 95 % interval [{low:.3f}, {high:.3f}]; theory: -1")
        if self.excluded:
            which = ", ".join(f"N={run.N} seed {run.seed}" for run in self.excluded)
            rows.append(f"left out, {len(self.excluded)} runs in another basin: {which}")
        return "\n".join(rows)

    def plot(self, ax: Any = None) -> Any:
        """Measured points, fit and predicted line; returns the matplotlib ``Axes``."""
        from ...plotting import plot_convergence

        return plot_convergence(self, ax=ax)

    def save(self, directory: str | Path) -> None:
        """Write ``convergence.json`` and ``convergence.png``; raises StorageError if the folder
        cannot be made.
        """
        from ...plotting import new_axes

        directory = make_folder(directory)
        write_json(directory / "convergence.json", self.to_dict())
        figure = self.plot(ax=new_axes()).figure
        figure.savefig(directory / "convergence.png", dpi=150)


@public
def convergence(
    setting: Setting | None = None, *, jobs: int = 2, progress: bool = True, **changes: Any
) -> ConvergenceResult:
    """Compare finite-data solutions with the infinite-data solution from the same initial
    condition.

    The infinite-data flow is solved to its fixed point and polished by Newton's method, then the
    same is done for every N and data seed. A run counts as *in the basin* of the infinite-data
    solution if it converged to the point where Newton's method ends that starts at the
    infinite-data solution on the same finite data. This point has to lie within five times the
    predicted root mean square distance. Other runs are left out of means and fit, and listed.

    Parameters
    ----------
    setting : Setting, optional
        Defaults to the paper's figure 4; single fields can be changed by keyword.
    jobs : int
        Worker processes; -1: as many as there are cores.
    progress : bool
        Show a bar on a terminal.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an argument cannot be used.
    DivergedError
        If the infinite-data run does not end in a minimum without flat directions.

    See Also
    --------
    finite_data_prediction : the prediction alone.
    train : one run.

    Examples
    --------
    >>> import infflow as inf
    >>> setting = dict(activation="erf", input_dim=2, teacher_width=1, student_width=1)
    >>> study = inf.convergence(**setting, N=(200, 800), seeds=2, seed=0, jobs=1, progress=False)
    >>> len(study.N)
    2
    """
    setting = _checked(Setting() if setting is None else setting, changes)
    jobs = as_integer("jobs", jobs, minimum=-1, maximum=2**15)
    if jobs == 0:
        raise InvalidValueError("jobs is 0; a number of processes is needed, or -1 for all cores.")
    progress = as_flag("progress", progress)
    neti, theta0 = build(setting)
    elsewhere = _compile_elsewhere(neti, theta0, jobs)
    infinite = train(neti, theta0, progress=progress)
    list(elsewhere)
    _check_minimum(neti, infinite.theta)
    result = ConvergenceResult(
        setting,
        infinite.theta,
        loss(neti, infinite.theta),
        float(np.abs(gradient(neti, infinite.theta)).max()),
        infinite.flow.wall_time + infinite.newton.wall_time,
        finite_data_prediction(neti, infinite.theta, 1, rng=setting.seed),
    )
    result.runs = sorted(_all_runs(neti, theta0, result, jobs, progress))
    return result


def build(setting: Setting) -> tuple[NetI, Array]:
    """The infinite-data network and the student's initial parameters."""
    rng = as_rng(setting.seed)
    shape = (1, "identity", False)
    teacher_net = Net(
        [(setting.teacher_width, setting.activation, False), shape], input_dim=setting.input_dim
    )
    teacher = Teacher(
        teacher_net, random_params(teacher_net, rng, init="standard_normal"), setting.noise
    )
    student = Net(
        [(setting.student_width, setting.activation, False), shape], input_dim=setting.input_dim
    )
    return NetI(student, teacher), random_params(student, rng)


def _checked(setting: Setting, changes: dict[str, Any]) -> Setting:
    """The setting with the changes, all of its numbers checked."""
    if not isinstance(setting, Setting):
        raise InvalidTypeError(
            f"setting is {shown(setting)}; a Setting, or keywords such as N=(1000, 10000), are "
            "needed."
        )
    for name in changes:
        as_choice("the keyword", name, [f.name for f in fields(Setting)])
    setting = replace(setting, **changes)
    for name in ("input_dim", "teacher_width", "student_width"):
        as_integer(name, getattr(setting, name), minimum=1)
    as_integer("seeds", setting.seeds, minimum=2)
    as_integer("seed", setting.seed, minimum=0)
    as_number("noise", setting.noise, minimum=0.0)
    given = as_items("N", setting.N, "a list of numbers of samples")
    N = tuple(as_integer("N", n, minimum=1) for n in given)
    if len(N) < 2 or len(set(N)) < len(N):
        raise InvalidValueError(
            f"N is {N}; at least two different numbers of samples are needed, each once."
        )
    return replace(setting, N=N)


def _check_minimum(neti: NetI, theta: Array) -> None:
    """The prediction needs a minimum without flat directions."""
    values = hessian_spectrum(neti, theta).values
    if values[0] <= _NON_DEGENERATE * values[-1]:
        raise DivergedError(
            "the infinite-data run ended at a point with Hessian eigenvalues from "
            f"{values[0]:.3g} to {values[-1]:.3g}: not a minimum without flat directions, where "
            "a squared distance means something. Try another seed."
        )


def _compile_elsewhere(neti: NetI, theta0: Array, jobs: int) -> Iterable[None]:
    """Let a worker compile the kernels of finite data while this process solves the infinite-data
    problem; the workers of the runs to come are the same.
    """
    if jobs == 1:
        return ()
    started: Iterable[None] = _pool(jobs)([delayed(_small_run)(neti, theta0)])
    return started


def _small_run(neti: NetI, theta0: Array) -> None:
    """Call every kernel that a run on finite data calls."""
    net = neti.sample(_FEW, np.random.default_rng(0))
    train(net, theta0, solver=_SOLVER, max_steps_flow=1, max_steps_newton=1, progress=False)


def _pool(jobs: int) -> Parallel:
    """Workers whose outcomes arrive as they end."""
    return Parallel(n_jobs=jobs, return_as="generator_unordered", inner_max_num_threads=1)


def _all_runs(
    neti: NetI, theta0: Array, result: ConvergenceResult, jobs: int, progress: bool
) -> Iterator[Run]:
    """All finite-data runs, the long ones first."""
    setting = result.setting
    predicted = result.prediction.squared_distance
    tasks: Sequence[tuple[int, int]] = [
        (N, seed) for N in sorted(setting.N, reverse=True) for seed in range(setting.seeds)
    ]
    runs = _pool(jobs)(
        delayed(_run)(neti, theta0, result.theta, predicted, N, seed, setting.seed)
        for N, seed in tasks
    )
    yield from Bar(progress, total=len(tasks), desc="finite data", unit=" runs").over(runs)


def _run(
    neti: NetI, theta0: Array, solution: Array, predicted: float, N: int, seed: int, base: int
) -> Run:
    """Solve one finite-data problem, and see whether it ended in the basin of the infinite-data
    solution.
    """
    net = neti.sample(N, np.random.default_rng([base, N, seed]))
    result = train(net, theta0, solver=_SOLVER, progress=False)
    continued = train(net, solution, max_steps_flow=0, progress=False)
    same = np.linalg.norm(result.theta - continued.theta) <= _SAME * np.linalg.norm(continued.theta)
    distance = float(np.sum((result.theta - solution) ** 2))
    return Run(
        N,
        seed,
        distance,
        loss(neti, result.theta) - loss(neti, solution),
        result.gradient_norm,
        bool(same and result.converged and distance <= _FAR * predicted / N),
        result.flow.wall_time + result.newton.wall_time,
    )
