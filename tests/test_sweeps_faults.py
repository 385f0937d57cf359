"""Sweeps of which workers, or the whole process, are killed; and two processes on one store."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import pytest
import sweep_functions as functions
from test_sweeps import equal, run

import infflow as inf
from infflow.errors import InvalidValueError
from infflow.sweeps.grid import make_runs
from infflow.sweeps.outcome import Outcome
from infflow.sweeps.pools import LokyPool, Pool, WorkerDiedError

TESTS = Path(__file__).parent
GRID = {"seed": range(8), "width": [1, 2]}

# Kills a sweep several times at random moments, and prints after each how many runs are done.
KILLER = """
import os, random, signal, sys, time
import infflow as inf, sweep_functions as functions
store, backend = sys.argv[1:3]
times, seeds = map(int, sys.argv[3:])
random.seed(3)
functions.train_briefly(0, 1)  # everything is loaded
grid = {"seed": range(seeds), "width": [1, 2]}

def child(*arguments):
    pid = os.fork()
    if not pid:
        inf.sweep(functions.train_briefly, *arguments, backend=backend, n_jobs=2)
        os._exit(0)
    return pid

start = time.perf_counter()
os.waitpid(child({"seed": range(4), "width": [1, 2]}, store + ".clock"), 0)
longest = time.perf_counter() - start
killed = 0
while killed < times:
    pid = child(grid, store)
    time.sleep(random.uniform(0.0, longest))
    os.kill(pid, signal.SIGKILL)
    ended = not os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    if os.path.exists(store):
        print(sum(row["status"] == "done" for row in inf.Sweep.load(store)), flush=True)
    if ended:
        break
    killed += 1
"""


def python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=TESTS, **options
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(functions.train_briefly, GRID, tmp_path_factory.mktemp("undisturbed") / "runs.db")


@pytest.mark.parametrize(("backend", "times"), [("sequential", 5), ("loky", 2)])
def test_a_main_process_killed_at_random_moments(tmp_path, undisturbed, backend, times):
    store = tmp_path / "runs.db"
    killer = python(
        KILLER, store, backend, times, len(GRID["seed"]), stdout=subprocess.PIPE, text=True
    )
    done = [int(line) for line in killer.communicate(timeout=600)[0].split()]
    assert killer.returncode == 0
    assert done == sorted(done), "nothing that was finished is lost"
    seen = []
    table = run(functions.train_briefly, GRID, store, callback=seen.append)
    assert len(seen) == len(GRID["seed"]) * 2 - (done[-1] if done else 0), (
        "what was finished is not done again"
    )
    equal(table, undisturbed)


def test_workers_end_with_a_main_process_that_was_killed(tmp_path):
    code = (
        "import sys, infflow as inf, sweep_functions as f; inf.sweep(f.note_pid, {'folder': "
        "[sys.argv[1]], 'seed': range(40)}, sys.argv[1] + '/runs.db', n_jobs=2)"
    )
    main = python(code, tmp_path)
    wait_for(lambda: len(pids(tmp_path)) >= 2, 300)
    main.kill()
    main.wait()
    wait_for(lambda: not any(map(exists, pids(tmp_path))), 120)


def pids(folder):
    return {int(text) for file in folder.glob("*.pid") if (text := file.read_text())}


def exists(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_killed_worker_costs_only_its_runs(tmp_path):
    table = inf.sweep(
        functions.die_once,
        {"folder": [str(tmp_path)], "seed": range(6)},
        tmp_path / "runs.db",
        n_jobs=2,
    )
    assert (tmp_path / "died").exists() and all(row["status"] == "done" for row in table)
    for row in table:
        expected = np.random.default_rng(row["seed"]).normal(size=4)
        np.testing.assert_array_equal(table.arrays(row)["values"], expected)


def test_a_run_that_kills_its_worker_is_found(tmp_path):
    table = inf.sweep(functions.die_always, {"seed": range(1, 4)}, tmp_path / "runs.db", n_jobs=1)
    assert [row["status"] for row in table] == ["done", "failed", "done"]
    assert table[1]["error"].startswith("WorkerDiedError") and table[2]["square"] == 9


class FragilePool(Pool):
    """Three workers, of which all are lost when that of seed 2 dies."""

    def __init__(self):
        self.flying, self.deaths, self.lock = {}, 0, threading.Lock()

    def capacity(self):
        return 3

    def submit(self, run):
        future = Future()
        with self.lock:
            self.flying[future] = run
        threading.Timer(0.02, self.land, (future,)).start()
        return future

    def land(self, future):
        with self.lock:
            if future not in self.flying:
                return
            if any(run.settings["seed"] == 2 for run in self.flying.values()):
                self.deaths += 1
                for lost in self.flying:
                    lost.set_exception(WorkerDiedError("killed"))
                self.flying.clear()
            else:
                run = self.flying.pop(future)
                future.set_result(Outcome({"square": run.settings["seed"] ** 2}))

    def close(self):
        pass


def test_runs_beside_the_one_that_kills_workers_are_not_blamed(tmp_path, monkeypatch):
    pool = FragilePool()
    monkeypatch.setattr("infflow.sweeps.run.make_pool", lambda *_: pool)
    table = inf.sweep(functions.die_always, {"seed": range(9)}, tmp_path / "runs.db")
    assert [row["seed"] for row in table.failures] == [2] and pool.deaths == 3, (
        "beside others twice, then alone"
    )
    assert [row["square"] for row in table if row["status"] == "done"] == [
        k**2 for k in range(9) if k != 2
    ]


def test_two_processes_share_a_store(tmp_path):
    store = tmp_path / "runs.db"
    log = tmp_path / "log"
    code = (
        "import sys, infflow as inf, sweep_functions as f; print(inf.sweep(f.draw, {'seed': "
        "range(30), 'wait': [0.02]}, sys.argv[1], backend='sequential', callback=lambda row: "
        "open(sys.argv[2], 'a').write(f'{sys.argv[3]} {row[\"seed\"]}\\n')).rows)"
    )
    both = [python(code, store, log, name, stdout=subprocess.PIPE, text=True) for name in "ab"]
    tables = [process.communicate(timeout=300)[0] for process in both]
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(int(seed) for _, seed in lines) == list(range(30)), "each run is done once"
    assert (
        tables[0]
        == tables[1]
        == f"{run(functions.draw, {'seed': range(30), 'wait': [0.02]}, store).rows}\n"
    )


# --------------------------------------------------------------------------------------------------
# Dask


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": None,
    }
    with distributed.LocalCluster(
        **options, preload=[f"import sys; sys.path.insert(0, {str(TESTS)!r})"]
    ) as found:
        yield found


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # of the sockets of the worker that is killed
def test_a_killed_dask_worker(tmp_path, cluster):
    folder = str(tmp_path)
    grid = {"folder": [folder], "seed": range(10)}
    processes = set()
    killed = []

    def kill():
        wait_for(lambda: len(pids(tmp_path)) >= 2, 300)
        processes.update(pids(tmp_path))
        killed.append(max(processes))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    table = inf.sweep(
        functions.note_pid, grid, tmp_path / "runs.db", scheduler=cluster.scheduler_address
    )
    killer.join()
    assert len(processes) == 2 and killed and os.getpid() not in processes
    assert len(table) == 10 and all(row["status"] == "done" for row in table)
    equal(table, run(functions.note_pid, grid, tmp_path / "undisturbed.db"))


def test_the_current_dask_client_is_used(tmp_path, cluster):
    import distributed

    with distributed.Client(cluster):
        table = inf.sweep(functions.train_briefly, GRID, tmp_path / "runs.db", backend="dask")
    equal(table, run(functions.train_briefly, GRID, tmp_path / "undisturbed.db"))


def test_a_cluster_that_is_not_there(tmp_path):
    dask = pytest.importorskip("dask")
    for options in (
        {"scheduler": "tcp://127.0.0.1:9"},
        {"scheduler": "nonsense://x"},
        {"backend": "dask"},
    ):
        quick = dask.config.set({"distributed.comm.timeouts.connect": "0.5s"})  # default 30 s
        with quick, pytest.raises(InvalidValueError, match=r"cannot use .*Start a scheduler"):
            inf.sweep(functions.draw, {"seed": [1]}, tmp_path / "runs.db", **options)


def test_a_pool_closes_while_runs_are_on_their_way():
    """As Ctrl-C may do; loky's thread must not die with a traceback, which pytest makes
    an error.
    """
    runs = make_runs(functions.draw, {"seed": range(4)}, None, 0, 1)
    pool = LokyPool(functions.draw, 2)
    wait([pool.submit(each) for each in runs[:2]])
    for each in runs[2:]:
        pool.submit(each)
    pool.close()
    pool.close()
