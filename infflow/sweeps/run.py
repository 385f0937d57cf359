"""Running a sweep: claim a run, execute it, save it, until all are done."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from .._validation import as_flag, as_function, public
from ..errors import ClusterError, StorageError
from ..terminal import Bar
from .grid import Run, make_runs
from .outcome import Outcome
from .pools import Pool, WorkerDiedError, check_pool, make_pool
from .store import Store
from .table import Sweep, make_row

#: a run on which so many workers have died is executed alone, to see whether it is to blame
_DEATHS = 2
_POLL = 0.5  #: seconds between two looks at what other processes do


@public
def sweep(
    function: Callable[..., Any],
    grid: Any,
    store: Any = "runs.db",
    *,
    fixed: Mapping[str, Any] | None = None,
    backend: str = "loky",
    n_jobs: int = -1,
    scheduler: str | None = None,
    retry_failed: bool = False,
    recompute_damaged: bool = False,
    slot: int = 0,
    slots: int = 1,
    progress: bool = True,
    callback: Callable[[dict[str, Any]], Any] | None = None,
) -> Sweep:
    """Call a function at all points of a grid, once each, and keep what it returns.

    Results go to ``store`` as they come. Whatever is killed, this process or a worker, nothing that
    was finished is lost, and the same call goes on from there: runs that are done are not repeated.
    Several processes of one machine may work on one store at the same time; each run is given to
    one of them.

    Parameters
    ----------
    function : callable
        Defined at the top of a module; called with the settings as keyword arguments. Returns a
        dictionary of numbers, strings and arrays, or a :class:`Result`. It has to be determined by
        its settings (give seeds), and runs on one thread of BLAS and numba.
    grid : dict of name -> list, or list of dicts
        A Cartesian product, the last name varying fastest, or the points themselves. Settings are
        numbers, strings, booleans, None, and lists and dictionaries of these; NumPy numbers and
        arrays arrive as plain numbers and lists.
    store : str or path-like
        An SQLite file, made if it does not exist; arrays go to one ``.npz`` per run in the folder
        ``STORE.d``. It must lie on a disk of this machine, see ``slots``. A run is found again by
        its settings, ``fixed`` and the qualified name of the function; after a change of the
        function itself take another store.
    fixed : dict, optional
        Further arguments that all runs share; no columns of the table.
    backend : str
        ``"loky"``: processes of joblib; ``"dask"``: a cluster; ``"sequential"``: this process.
    n_jobs : int
        Number of processes for ``"loky"``; -1 takes all cores, -2 all but one.
    scheduler : str, optional
        Address of a Dask scheduler. Without it the current client is used.
    retry_failed : bool
        Repeat runs whose function raised an error or whose worker died.
    recompute_damaged : bool
        Repeat runs whose ``.npz`` is damaged or missing; else this is an error that names them.
    slot, slots : int
        Do only every ``slots``-th run from ``slot`` on, in a store ``STORE.slotIofN`` of its own:
        for array jobs on machines that share a folder. When all have ended, the call without slots
        collects them.
    progress : bool
        Show a progress bar on a terminal or in a notebook.
    callback : callable, optional
        Called in this process with the row of every run that has ended.

    Returns
    -------
    Sweep
        The table, in the order of the grid.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an argument cannot be used.
    StorageError
        If the store is no store or that of another version, the disk is full, or arrays are
        damaged.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.

    ClusterError
        If the connection to the cluster is lost; the same call goes on.

    See Also
    --------
    Sweep : what it returns.
    train_many : many starts of one problem.

    Examples
    --------
    :doc:`/sweeps` has a whole one.

    >>> settings = {"seed": range(20), "width": [3, 4, 5]}
    >>> table = sweep(train_one, settings, "runs.db")  # doctest: +SKIP
    >>> table.to_pandas().groupby("width").loss.min()  # doctest: +SKIP
    """
    if callback is not None:
        as_function("callback", callback, "a function of one argument (a row)")
    backend, n_jobs = check_pool(backend, n_jobs, scheduler)
    retry_failed = as_flag("retry_failed", retry_failed)
    recompute_damaged = as_flag("recompute_damaged", recompute_damaged)
    progress = as_flag("progress", progress)
    runs = make_runs(function, grid, fixed, slot, slots)
    keys = [run.key for run in runs]
    database = Store(store, slot=slot, slots=slots)
    try:
        database.enter(runs)
        database.absorb(keys)
        _reset(database, keys, retry_failed, recompute_damaged)
        statuses = database.statuses()
        todo = [run for run in runs if statuses[run.key] in ("pending", "running")]
        if todo:
            pool = make_pool(function, backend, n_jobs, scheduler)
            try:
                with _Report(len(runs), len(todo), progress, callback) as report:
                    _Loop(database, pool, todo, report).run()
            finally:
                pool.close()
        return Sweep(database, keys)
    finally:
        database.close()


def _reset(database: Store, keys: list[str], retry_failed: bool, recompute_damaged: bool) -> None:
    """Make pending again what shall be repeated."""
    rows = database.read_rows(keys)
    if retry_failed:
        database.reset([row["key"] for row in rows if row["status"] == "failed"])
    done = [(row, database.damage(row)) for row in rows if row["status"] == "done"]
    damaged = [(row, damage) for row, damage in done if damage is not None]
    if damaged and not recompute_damaged:
        lines = "\n".join(
            f"  {damage} ({', '.join(f'{k}={v!r}' for k, v in row['settings'].items())})"
            for row, damage in damaged
        )
        raise StorageError(
            f"{len(damaged)} of {len(rows)} runs have lost their arrays:\n{lines}\nRestore these "
            "files, or pass recompute_damaged=True."
        )
    database.reset([row["key"] for row, _ in damaged])


class _Loop:
    """Runs that are to be done, in flight, and with other processes."""

    def __init__(self, database: Store, pool: Pool, todo: list[Run], report: _Report) -> None:
        self._database = database
        self._pool = pool
        self._report = report
        self._todo = deque(todo)
        self._suspects: deque[Run] = deque()  #: executed alone, after all others
        self._elsewhere: list[Run] = []
        self._flying: dict[Future[Outcome], Run] = {}
        self._deaths: Counter[str] = Counter()
        self._next_look = 0.0

    def run(self) -> None:
        """Until all runs have ended, here or elsewhere."""
        while self._todo or self._suspects or self._elsewhere or self._flying:
            self._launch()
            if self._flying:
                landed = wait(
                    self._flying, _POLL if self._elsewhere else None, FIRST_COMPLETED
                ).done
                alone = len(self._flying) == 1
                for future in landed:
                    self._land(future, alone)
            elif self._elsewhere:
                time.sleep(_POLL)
            self._look_elsewhere()

    def _launch(self) -> None:
        capacity = self._pool.capacity()
        while self._todo and len(self._flying) < capacity:
            self._start(self._todo.popleft())
        if self._suspects and not self._todo and not self._flying:
            self._start(self._suspects.popleft())

    def _start(self, run: Run) -> None:
        if self._database.claim(run.key):
            self._flying[self._pool.submit(run)] = run
        else:
            self._elsewhere.append(run)

    def _land(self, future: Future[Outcome], alone: bool) -> None:
        run = self._flying.pop(future)
        try:
            outcome = future.result()
        except ClusterError:
            raise
        except WorkerDiedError as error:
            self._deaths[run.key] += 1
            deaths = self._deaths[run.key]
            if not self._pool.repeats and (deaths < _DEATHS or not alone):
                self._database.release(run.key)
                (self._todo if deaths < _DEATHS else self._suspects).append(run)
                return
            outcome = Outcome(
                error=f"WorkerDiedError: every process that executed this run died: {error}"
            )
        except Exception as error:  # arguments or results that cannot be sent
            outcome = Outcome(error=f"{type(error).__name__}: {error}")
        self._database.save(run.key, outcome)
        self._report.ended(run, outcome)

    def _look_elsewhere(self) -> None:
        """Count what other processes have ended, and try again to get the rest."""
        if not self._elsewhere or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _POLL
        statuses = self._database.statuses()
        waiting = self._elsewhere
        self._elsewhere = []
        for run in waiting:
            if statuses[run.key] in ("done", "failed"):
                self._report.ended_elsewhere()
            else:
                self._todo.append(run)


class _Report:
    """A bar where a person watches, and the callback."""

    def __init__(
        self, total: int, remaining: int, progress: bool, callback: Callable[..., Any] | None
    ) -> None:
        self._callback = callback
        self._bar = Bar(progress, total=total, initial=total - remaining, unit=" runs")

    def __enter__(self) -> _Report:
        self._bar.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.__exit__(*details)

    def ended(self, run: Run, outcome: Outcome) -> None:
        """Show the end of a run of this process."""
        self._bar.update()
        if self._callback is not None:
            status = "done" if outcome.error is None else "failed"
            self._callback(make_row(run.settings, outcome.columns, status, outcome.error))

    def ended_elsewhere(self) -> None:
        """Show the end of a run of another process."""
        self._bar.update()
