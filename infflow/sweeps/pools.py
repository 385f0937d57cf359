"""Where runs are executed: in this process, in processes of joblib, on a Dask cluster.

A pool gives futures, so that every run ends for itself: what joblib's ``Parallel`` does not, it
gives up all runs when one worker dies, and with its Dask backend waits forever for a run whose
workers keep dying.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .._validation import as_choice, as_jobs, package, shown
from ..errors import ClusterError, InvalidTypeError, InvalidValueError, StorageError
from .grid import Run
from .outcome import Outcome, execute, execute_elsewhere

BACKENDS = ("loky", "dask", "sequential")
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


class WorkerDiedError(RuntimeError):
    """The process that executed a run is gone; it may have been another run's fault."""


class Pool(ABC):
    """Executes runs of one function."""

    repeats = False  #: whether it has repeated a run itself before it reports a dead worker

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @abstractmethod
    def capacity(self) -> int:
        """How many runs to have in flight."""

    @abstractmethod
    def submit(self, run: Run) -> Future[Outcome]:
        """Start a run. Its future raises :class:`WorkerDiedError` if the worker died, and only for
        that.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop at once, without waiting for runs in flight."""


class SequentialPool(Pool):
    """In this process."""

    def capacity(self) -> int:  # noqa: D102
        return 1

    def submit(self, run: Run) -> Future[Outcome]:  # noqa: D102
        future: Future[Outcome] = Future()
        future.set_result(execute(self._function, run.settings, run.fixed))
        return future

    def close(self) -> None:  # noqa: D102
        pass


class LokyPool(Pool):
    """In processes of joblib, started afresh after one of them died."""

    def __init__(self, function: Callable[..., Any], n_jobs: int) -> None:
        from joblib import effective_n_jobs, parallel_config

        super().__init__(function)
        with parallel_config(backend="loky"):
            self._workers = effective_n_jobs(n_jobs)
        self._executor: Any = None
        self._last: Any = None

    def capacity(self) -> int:  # noqa: D102
        return self._workers

    def submit(self, run: Run) -> Future[Outcome]:  # noqa: D102
        from joblib.externals.loky import ProcessPoolExecutor
        from joblib.externals.loky.process_executor import BrokenProcessPool

        for _ in range(2):
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    self._workers,
                    env=_ONE_THREAD,
                    initializer=_obey_parent,
                    initargs=(os.getpid(),),
                )
            try:
                inner = self._executor.submit(
                    execute_elsewhere, self._function, run.settings, run.fixed
                )
                self._last = inner
                return _translated(inner, lambda error: isinstance(error, BrokenProcessPool))
            except BrokenProcessPool:  # between two runs
                self.close()
        raise StorageError(
            "worker processes die as soon as they start. Look at the memory and limits of this "
            "machine."
        )

    def close(self) -> None:  # noqa: D102
        if self._executor is not None:
            # a run on its way to the workers' queue would end loky's thread with a KeyError and its
            # traceback
            patience = time.monotonic() + 1.0
            while (
                self._last is not None
                and not (self._last.running() or self._last.done())
                and time.monotonic() < patience
            ):
                time.sleep(0.001)
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None


def _obey_parent(parent: int) -> None:
    """Let a worker end when the process that it works for was killed, rather than finish for
    nobody; leave Ctrl-C to that process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="infflow parent").start()


class DaskPool(Pool):
    """On a Dask cluster, which itself repeats a run whose worker died, on three further workers."""

    repeats = True

    def __init__(self, function: Callable[..., Any], scheduler: str | None) -> None:
        distributed = package("distributed", "the backend 'dask'", "'infflow[sweep]'")
        super().__init__(function)
        self._killed = distributed.scheduler.KilledWorker
        self._own = scheduler is not None
        try:
            self._client = (
                distributed.Client(scheduler, set_as_default=False)
                if self._own
                else distributed.get_client()
            )
            self._client.wait_for_workers(1, timeout=60)
        except (OSError, ValueError, TimeoutError) as error:
            if self._own and hasattr(self, "_client"):
                self._client.close()
            wanted = f"the scheduler {scheduler!r}" if self._own else "a Dask client"
            raise InvalidValueError(
                f"cannot use {wanted}: {error}. Start a scheduler and at least one worker, and "
                "give its address, "
                "e.g. scheduler='tcp://127.0.0.1:8786', or make a distributed.Client first."
            ) from error
        self._executor = self._client.get_executor(pure=False)

    def capacity(self) -> int:  # noqa: D102
        return max(1, sum(self._client.nthreads().values()))

    def submit(self, run: Run) -> Future[Outcome]:  # noqa: D102
        inner = self._executor.submit(execute_elsewhere, self._function, run.settings, run.fixed)
        return _translated(inner, lambda error: isinstance(error, self._killed))

    def close(self) -> None:  # noqa: D102
        self._executor.shutdown(wait=False)
        if self._own:
            self._client.close()


def check_pool(backend: Any, n_jobs: Any, scheduler: Any) -> tuple[str, int]:
    """Backend and number of processes, also where nothing is left to run."""
    if scheduler is not None and not isinstance(scheduler, str):
        raise InvalidTypeError(
            f"scheduler is {shown(scheduler)}; an address such as 'tcp://127.0.0.1:8786' is needed."
        )
    n_jobs = as_jobs("n_jobs", n_jobs)
    backend = as_choice("backend", backend, BACKENDS)
    if scheduler is None:
        return backend, n_jobs
    if backend == "sequential":
        raise InvalidValueError("scheduler is for backend='dask'; leave it None.")
    return ("dask" if backend == "loky" else backend), n_jobs


def make_pool(function: Callable[..., Any], backend: str, n_jobs: int, scheduler: Any) -> Pool:
    """The pool for checked arguments of :func:`infflow.sweep`."""
    match backend:
        case "dask":
            return DaskPool(function, scheduler)
        case "loky":
            return LokyPool(function, n_jobs)
        case _:
            return SequentialPool(function)


def _translated(inner: Any, died: Callable[[BaseException], bool]) -> Future[Outcome]:
    """The same future with the error of a dead worker under one name, whatever the pool
    calls it.
    """
    outer: Future[Outcome] = Future()

    def copy(done: Any) -> None:
        if done.cancelled():
            error: BaseException | None = ClusterError(
                "the cluster gave up the run: the connection to its scheduler is lost. Start it "
                "again; the same call goes on."
            )
        else:
            error = done.exception()
        if error is None:
            outer.set_result(done.result())
        else:
            outer.set_exception(WorkerDiedError(str(error)) if died(error) else error)

    inner.add_done_callback(copy)
    return outer
