"""Many starts: train them side by side, and see which solutions were found how often."""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pickle import PicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import summary, threads
from ._validation import (
    Array,
    as_flag,
    as_items,
    as_jobs,
    as_number,
    counted,
    package,
    public,
    shown,
    unknown_keyword,
)
from .channels import Limit
from .errors import InfflowError, InvalidTypeError, InvalidValueError, ShapeError
from .landscape.distance import Function, function_distance, function_of
from .landscape.teacher_symmetry import TeacherSymmetry
from .networks.finite.net import Net
from .networks.infinite.neti import NetI
from .objective import as_objective
from .result import Result
from .settings import FIELDS, TrainSettings, check_theta
from .stopping import StopReason
from .terminal import Bar
from .training import train


@dataclass(frozen=True, eq=False)
class FailedRun:
    """A start from which :func:`train` raised an error, in the place of its result.

    ``loss`` is infinite and ``converged`` False, so that failures sort behind results.
    """

    theta0: Any  #: the start, as it was given
    error: str  #: name of the exception
    message: str
    traceback: str = ""
    loss: float = math.inf
    converged: bool = False

    def __repr__(self) -> str:
        return f"FailedRun({self.error}: {self.message})"


@summary.as_table
class Runs(list["Result | FailedRun"]):
    """Outcomes in the order of the starts: a list that also knows the network, and gives columns of
    numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False)], input=np.eye(2), target=[1.0, 2.0])
    >>> runs = inf.train_many(net, [[0.0, 0.0], [3.0, 3.0]], progress=False)
    >>> len(runs), runs.losses.shape, runs.thetas.round(6).tolist()
    (2, (2,), [[1.0, 2.0], [1.0, 2.0]])
    """

    def __init__(self, net: Any, outcomes: Iterable[Result | FailedRun]) -> None:
        super().__init__(outcomes)
        self.net = net

    def __getitem__(self, index: Any) -> Any:
        """One outcome; or the runs of a slice, of a mask such as ``converged``, or of an array of
        numbers.
        """
        if isinstance(index, slice):
            return Runs(self.net, super().__getitem__(index))
        if isinstance(index, np.ndarray) and index.ndim == 1:
            return Runs(self.net, [list.__getitem__(self, k) for k in self._numbers(index)])
        return super().__getitem__(index)

    def _numbers(self, index: NDArray[Any]) -> NDArray[np.integer[Any]]:
        """The numbers of the runs that a mask or an array of numbers means."""
        if index.dtype != bool and not np.issubdtype(index.dtype, np.integer):
            raise InvalidTypeError(
                f"the index of runs has dtype {index.dtype}; booleans or integers are needed."
            )
        if index.dtype == bool and len(index) != len(self):
            raise ShapeError(
                f"the mask of runs has length {len(index)}; {len(self)} is needed, one entry per "
                "run."
            )
        numbers: NDArray[np.integer[Any]] = np.arange(len(self))[index]
        return numbers

    def __add__(self, other: Any) -> Any:
        """The runs and those of ``other``; a plain list where they belong to another network."""
        both = super().__add__(other)
        return (
            both if isinstance(other, Runs) and other.net is not self.net else Runs(self.net, both)
        )

    def copy(self) -> Runs:
        """A shallow copy."""
        return self[:]

    @property
    def results(self) -> list[Result]:
        """Outcomes of the starts that did not fail."""
        return [run for run in self if isinstance(run, Result)]

    @property
    def failures(self) -> list[FailedRun]:
        """The starts that failed."""
        return [run for run in self if isinstance(run, FailedRun)]

    @property
    def losses(self) -> Array:
        """Losses (n,); infinite for starts that failed."""
        return np.array([run.loss for run in self])

    @property
    def gradient_norms(self) -> Array:
        """Gradient norms (n,); NaN for starts that failed."""
        return np.array([getattr(run, "gradient_norm", math.nan) for run in self])

    @property
    def statuses(self) -> NDArray[np.str_]:
        """Names of the :class:`~infflow.stopping.StopReason` of each run (n,), "FAILED" for starts
        that failed.
        """
        return np.array(
            [run.status.name if isinstance(run, Result) else "FAILED" for run in self],
            dtype=np.str_,
        )

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which runs converged (n,)."""
        return np.array([run.converged for run in self], dtype=bool)

    @property
    def thetas(self) -> Array:
        """The points that were found (n, P); NaN for starts that failed."""
        found = np.full((len(self), self.net.num_params), math.nan)
        for row, run in zip(found, self, strict=True):
            if isinstance(run, Result):
                row[:] = run.theta
        return found

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row per start.

        Returns
        -------
        pandas.DataFrame
            Columns ``loss``, ``gradient_norm``, ``status``, ``converged``, of both stages ``steps``
            and ``wall_time``, ``t_end`` of the flow, and for starts that failed ``error`` and
            ``message`` (empty for the others).

        Raises
        ------
        MissingPackageError
            If pandas is not installed.
        """
        pandas = package("pandas", "to_pandas", "pandas")
        return pandas.DataFrame([_row(run) for run in self], columns=_COLUMNS)

    def __repr__(self) -> str:
        best = min((run.loss for run in self), default=math.nan)
        converged = sum(run.converged for run in self)
        return (
            f"Runs: {counted(len(self), 'start')}, {converged} converged, {len(self.failures)} "
            f"failed, lowest loss {best:.6g}"
        )

    def _summary(self) -> summary.Summary:
        order = summary.cut(np.argsort(self.losses, kind="stable"))
        rows = [_row(list.__getitem__(self, k)) for k in order]
        cells = tuple(
            (int(k), *(row[name] for name in _SHOWN)) for k, row in zip(order, rows, strict=True)
        )
        what = [("the lowest", f"{len(cells)} of {len(self)}")] * (len(cells) < len(self))
        return summary.Summary(repr(self), what, ("start", *_SHOWN), cells)


_COLUMNS = ["loss", "gradient_norm", "status", "converged", "flow_steps", "newton_steps", "t_end"]
_COLUMNS += ["flow_wall_time", "newton_wall_time", "error", "message"]
#: columns that a notebook shows
_SHOWN = _COLUMNS[:6]


def _row(run: Result | FailedRun) -> dict[str, Any]:
    if isinstance(run, FailedRun):
        nothing = dict.fromkeys(_COLUMNS, math.nan)
        steps = {"flow_steps": 0, "newton_steps": 0}
        known = {
            "loss": run.loss,
            "status": "FAILED",
            "converged": False,
            "error": run.error,
            "message": run.message,
        }
        return {**nothing, **steps, **known}
    return {
        "loss": run.loss,
        "gradient_norm": run.gradient_norm,
        "status": run.status.name,
        "converged": run.converged,
        "flow_steps": run.flow.steps,
        "newton_steps": run.newton.steps,
        "t_end": float(run.trajectory.t[-1]) if len(run.trajectory) else 0.0,
        "flow_wall_time": run.flow.wall_time,
        "newton_wall_time": run.newton.wall_time,
        "error": "",
        "message": "",
    }


@public
def train_many(
    net: Any, thetas: Any, *, n_jobs: int = 1, progress: bool = True, **arguments: Any
) -> Runs:
    """Train from many starts, in parallel processes with one BLAS and one numba thread each.

    Parameters
    ----------
    net : Net, NetI or any objective that can be pickled
    thetas : (n, P) array or iterable of (P,) arrays
        The starts.
    n_jobs : int
        Number of processes; 1 works in this one, -1 takes all cores, -2 all but one.
    progress : bool
        Show a progress bar on a terminal or in a notebook.
    **arguments
        Of :func:`train`, the same for all starts. Random numbers, those of minibatches and of
        :class:`SGDDiffusion`, are independent from start to start: their seeds come from the one
        that is given and from the number of the start. The first start keeps that seed.
        ``settings`` of each result has the seed with which :func:`train` makes the run again.

    Returns
    -------
    Runs
        A list with a :class:`Result` per start, in order. Where :func:`train` raised an error there
        is a :class:`FailedRun`; the other starts go on, also where a process dies (error
        "WorkerDied"). After Ctrl-C the starts that have not ended are failures with the error
        "KeyboardInterrupt".

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If ``thetas`` or ``n_jobs`` cannot be used, an argument of ``train`` is not known, or
        something cannot be sent to other processes.
    InfflowError
        Before any run, if an argument of ``train`` cannot be used; and if several starts all fail
        with the same error.

    See Also
    --------
    train : one start.
    unique_solutions : which found the same.
    sweep : a grid of settings.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> starts = [inf.random_params(net, rng=seed) for seed in range(3)]
    >>> runs = inf.train_many(neti, starts, progress=False)
    >>> runs.converged.tolist()
    [True, True, True]
    """
    starts = _check_starts(thetas)
    n_jobs = as_jobs("n_jobs", n_jobs)
    progress = as_flag("progress", progress)
    _check_names(arguments)
    settings = TrainSettings(**arguments, progress=False)
    _check_values(net, starts, settings)
    outcomes: dict[int, Result | FailedRun] = {}
    errors: set[tuple[str, str]] = set()
    last: InfflowError | None = None
    with Bar(progress, total=len(starts), unit=" starts") as bar:
        try:
            with closing(_run_all(net, starts, n_jobs, settings)) as ended:
                for number, outcome, error in ended:
                    outcomes[number] = outcome
                    if isinstance(outcome, Result) and outcome.status is StopReason.INTERRUPTED:
                        break
                    if isinstance(outcome, FailedRun):
                        errors.add((outcome.error, outcome.message))
                        last = error
                    bar.update()
        except KeyboardInterrupt:
            pass
    if (
        last is not None
        and len(starts) == len(outcomes) > 1
        and len(errors) == 1
        and _all_failed(outcomes.values())
    ):
        raise last
    for number, theta in enumerate(starts):
        outcomes.setdefault(
            number, FailedRun(theta, "KeyboardInterrupt", "interrupted before it ended")
        )
    return Runs(net, [outcomes[number] for number in range(len(starts))])


def _all_failed(outcomes: Iterable[Result | FailedRun]) -> bool:
    return all(isinstance(outcome, FailedRun) for outcome in outcomes)


def _check_starts(thetas: Any) -> list[Any]:
    starts = as_items("thetas", thetas, "a list of start vectors (P,) or an array (n, P)")
    if not starts:
        raise InvalidValueError("thetas is empty; at least one start is needed.")
    if all(isinstance(theta, (int, float, np.generic)) for theta in starts):
        raise InvalidTypeError(
            "thetas is one vector of numbers; a list of vectors or an array (n, P) is needed."
        )
    return starts


def _check_names(arguments: dict[str, Any]) -> None:
    """Reject misspelled arguments before any process starts."""
    known = [name for name in FIELDS if name != "progress"]
    for name in arguments:
        if name not in known:
            raise unknown_keyword("train", name, known)


def _check_values(net: Any, starts: list[Any], settings: TrainSettings) -> None:
    """Raise what is wrong with the network or an argument, whatever the starts are like."""
    if len(starts) > 1 and settings.checkpoint is not None:
        raise InvalidValueError(
            f"checkpoint is {shown(settings.checkpoint)}, but there are {len(starts)} starts "
            "and a file holds one run. Leave it None, or call train."
        )
    as_objective(net)
    for theta in starts:
        try:
            check_theta(net, theta)
        except InfflowError as error:
            unusable = error
            continue
        settings.job(net, theta)
        return
    raise unusable


# number of the start, its outcome, and the error if there was one
_Outcome = tuple[int, "Result | FailedRun", "InfflowError | None"]
_Outcomes = Generator[_Outcome, None, None]


def _run_all(net: Any, starts: list[Any], n_jobs: int, settings: TrainSettings) -> _Outcomes:
    """Outcomes as they come."""
    if n_jobs == 1:
        for number, theta in enumerate(starts):
            yield _run(number, net, theta, settings)
        return
    from joblib import effective_n_jobs, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # no more processes than have something to do
    n_jobs = min(effective_n_jobs(n_jobs), len(starts))
    waiting = dict(enumerate(starts))
    with parallel_config(backend="loky", inner_max_num_threads=1):
        try:
            with closing(_in_processes(net, waiting, n_jobs, settings)) as ended:
                for outcome in ended:
                    del waiting[outcome[0]]
                    yield outcome
        except TerminatedWorkerError:
            # a process for each start shows which of them is to blame
            for number, theta in waiting.items():
                try:
                    yield from _in_processes(net, {number: theta}, 2, settings)
                except TerminatedWorkerError as error:
                    why = (
                        "the process that worked on this start died, perhaps for lack of "
                        f"memory: {error}"
                    )
                    yield number, FailedRun(theta, "WorkerDied", why), None


def _in_processes(
    net: Any, starts: dict[int, Any], n_jobs: int, settings: TrainSettings
) -> _Outcomes:
    from joblib import Parallel, delayed

    jobs = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="3*n_jobs")
    ended = jobs(
        delayed(_run_alone)(number, net, theta, settings) for number, theta in list(starts.items())
    )
    try:
        for outcome in ended:  # noqa: UP028 ("yield from" would close it before the warning is silenced)
            yield outcome
    except PicklingError as error:
        why = str(error.__cause__ or error).strip('"\n').splitlines()[-1]
        raise InvalidTypeError(
            f"net or an argument cannot be sent to other processes ({why}). Make it one that can "
            "be pickled, or take n_jobs=1."
        ) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib's advice not to stop it early
            ended.close()


def _run_alone(number: int, net: Any, theta: Any, settings: TrainSettings) -> _Outcome:
    """One start in a process of its own."""
    import numba

    threads.set_num_threads(1)
    numba.set_num_threads(1)
    return _run(number, net, theta, settings)


def _run(number: int, net: Any, theta: Any, settings: TrainSettings) -> _Outcome:
    try:
        return number, train(net, theta, **vars(settings.of_run(number))), None
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # whatever it is, sys.exit in a callback too: the other starts go on
        failed = FailedRun(theta, type(error).__name__, str(error), traceback.format_exc())
        return number, failed, error if isinstance(error, InfflowError) else None


# --------------------------------------------------------------------------------------------------
# solutions


@dataclass(frozen=True, eq=False)
class SolutionGroup:
    """Runs that ended at the same solution, modulo symmetries."""

    theta: Array  #: parameters of the member with the smallest gradient norm
    loss: float
    count: int
    members: tuple[int, ...]  #: indices into the list that was given
    converged: bool  #: whether all members are
    #: neurons that are left without dead and duplicated ones; at infinity all
    num_neurons: int
    limit: Limit | None = None  #: where the runs end at infinity, if they do

    def __repr__(self) -> str:
        where = "" if self.limit is None else ", at infinity"
        return (
            f"SolutionGroup(loss {self.loss:.9g}{where}, {counted(self.count, 'run')}, "
            f"{counted(self.num_neurons, 'neuron')})"
        )


@public
def unique_solutions(
    results: Sequence[Result | FailedRun],
    net: Net | NetI | None = None,
    *,
    rtol: float = 1e-4,
    loss_rtol: float = 1e-6,
    loss_atol: float = 1e-14,
    converged_only: bool = True,
    teacher_symmetry: bool = False,
) -> list[SolutionGroup]:
    """Group runs by the solution that they found, modulo the symmetries of one hidden layer.

    Two runs belong together if their losses agree and their parameters do as functions, see
    :func:`infflow.solution_distance`: the order of neurons, signs of odd and even ones, scales of
    homogeneous ones, dead and duplicated ones make no difference.

    Parameters
    ----------
    results : Runs or list of Result
        Failed runs are left out.
    net : Net or NetI, optional
        Taken from ``results`` if that comes from :func:`train_many`.
    rtol : float
        Distance relative to the length of all parameters; neurons closer than this count as
        duplicates.
    loss_rtol, loss_atol : float
        How far losses may differ.
    converged_only : bool
        Leave out runs that did not converge, and whose path does not end at infinity either. Runs
        that end at infinity belong together if their limits do.
    teacher_symmetry : bool
        For a ``NetI`` with a network as teacher: solutions also belong together if an orthogonal
        map of the inputs takes one to the other. It exchanges teacher neurons with equal
        activations, biases and output weights (up to the signs of odd and even ones). It leaves
        what is orthogonal to the teacher's weights in place, and keeps the distribution of the
        input. All such maps are searched; others, such as rotations of the teacher's space that
        permute no neurons, are not.

    Returns
    -------
    list of SolutionGroup
        By ascending loss.

    Warns
    -----
    AccuracyWarning
        If there are too many permutations of teachers to try them all for a pair of solutions.

    Raises
    ------
    InvalidTypeError
        If the net is not known, or has no teacher neurons to exchange with ``teacher_symmetry``.
    InvalidValueError
        If it has more than one hidden layer, or a tolerance is negative.

    See Also
    --------
    train_many : makes the runs.
    solution_distance : how solutions are compared.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> starts = [inf.random_params(net, rng=seed) for seed in range(3)]
    >>> groups = inf.unique_solutions(inf.train_many(neti, starts, progress=False))
    >>> len(groups), groups[0].count
    (1, 3)
    """
    net = getattr(results, "net", None) if net is None else net
    if net is None:
        raise InvalidTypeError(
            "results does not know its network; pass it as net, or the list that train_many "
            "returned."
        )
    for name, value in (("rtol", rtol), ("loss_rtol", loss_rtol), ("loss_atol", loss_atol)):
        as_number(name, value, minimum=0.0)
    results = as_items("results", results, "a list of Result, as train_many returns it,")
    for run in results:
        if not isinstance(run, (Result, FailedRun)):
            raise InvalidTypeError(f"results contains {shown(run)}; results of train are needed.")
    converged_only = as_flag("converged_only", converged_only)
    symmetry = TeacherSymmetry(net) if as_flag("teacher_symmetry", teacher_symmetry) else None
    chosen = [
        k
        for k, run in enumerate(results)
        if isinstance(run, Result)
        and (run.converged or run.limit is not None or not converged_only)
    ]
    losses = {k: _loss_of(_result(results, k)) for k in chosen}
    chosen.sort(key=losses.__getitem__)
    groups: list[tuple[Function, list[int]]] = []
    for k in chosen:
        function = _function_of(net, _result(results, k), rtol)
        for representative, members in groups:
            first = _result(results, members[0])
            gap = losses[k] - losses[members[0]]
            ends_alike = (first.limit is None) == (_result(results, k).limit is None)
            if not ends_alike or gap > loss_rtol * abs(losses[k]) + loss_atol:
                continue
            near = rtol * representative.size
            if function_distance(representative, function) <= near or (
                symmetry is not None and symmetry.relates(function, representative, near)
            ):
                members.append(k)
                break
        else:
            groups.append((function, [k]))
    return [_group(net, results, function, members) for function, members in groups]


def _result(results: Sequence[Result | FailedRun], k: int) -> Result:
    found = results[k]
    assert isinstance(found, Result)
    return found


def _loss_of(run: Result) -> float:
    """Loss where a path ends, at infinity too."""
    return run.loss if run.limit is None else run.limit.loss_at_infinity


def _function_of(net: Net | NetI, run: Result, rtol: float) -> Function:
    """The function at the end of a path, at infinity too."""
    if run.limit is None:
        return function_of(net, run.theta, rtol)
    return function_of(*run.limit.network(net), rtol)


def _group(
    net: Net | NetI, results: Sequence[Result | FailedRun], function: Function, members: list[int]
) -> SolutionGroup:
    best = min((_result(results, k) for k in members), key=lambda run: run.gradient_norm)
    together = all(results[k].converged for k in members)
    return SolutionGroup(
        best.theta,
        _loss_of(best),
        len(members),
        tuple(sorted(members)),
        together,
        len(function.activations) if best.limit is None else net.layers[0].width,
        best.limit,
    )
