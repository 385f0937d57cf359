"""Sweeps: the grid, the store, the table, and what happens when something is wrong."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sweep_functions as functions

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, StorageError, UnknownNameError
from infflow.sweeps import owners
from infflow.sweeps.grid import make_runs
from infflow.sweeps.owners import Owner
from infflow.sweeps.store import Store

GRID = {"seed": range(3), "scale": [1.0, 2.0]}


def run(function, grid, store, **options):
    return inf.sweep(function, grid, store, **{"backend": "sequential", **options})


def equal(a, b):
    """Rows and, bit for bit, arrays."""
    assert a.rows == b.rows
    for k, row in enumerate(a):
        if row["status"] == "done":
            first = a.arrays(k)
            second = b.arrays(k)
            assert first.keys() == second.keys()
            for name in first:
                assert (
                    first[name].dtype == second[name].dtype
                    and first[name].tobytes() == second[name].tobytes()
                )


@pytest.fixture
def store(tmp_path):
    return tmp_path / "runs.db"


# --------------------------------------------------------------------------------------------------
# table


def test_rows_hold_settings_and_results_in_the_order_of_the_grid(store):
    table = run(functions.draw, GRID, store)
    assert len(table) == 6 and "6 runs" in repr(table) and "6 done" in repr(table)
    assert [(row["seed"], row["scale"]) for row in table] == [
        (s, c) for s in range(3) for c in (1.0, 2.0)
    ]
    for k, row in enumerate(table):
        expected = functions.draw(row["seed"], row["scale"])
        assert list(row) == [
            "seed",
            "scale",
            "mean",
            "count",
            "name",
            "positive",
            "nothing",
            "status",
            "error",
        ]
        assert row["mean"] == expected["mean"] and row["count"] == 6 and row["nothing"] is None
        assert row["status"] == "done" and row["error"] is None
        for found in (table.arrays(row), table.arrays(k), table.arrays(dict(row))):
            np.testing.assert_array_equal(found["values"], expected["values"])
            assert found["signs"].dtype == np.int8
    details = table.details(0)
    assert (
        details["version"] == inf.__version__
        and details["wall_time"] >= 0
        and details["traceback"] is None
    )
    equal(table, inf.Sweep.load(store))


def test_results_of_train_are_kept_whole(store):
    table = run(functions.train_one, {"seed": [1], "width": [1, 2]}, store)
    for k, row in enumerate(table):
        expected = functions.train_one(1, row["width"])
        found = table.result(row)
        np.testing.assert_array_equal(found.theta, expected.theta)
        np.testing.assert_array_equal(
            table.arrays(k)["trajectory_theta"], expected.trajectory.theta
        )
        assert found.status is expected.status and row["stop_reason"] == expected.status.name
        assert (
            row["loss"] == expected.loss
            and row["converged"]
            and row["t_flow"] == expected.trajectory.t[-1]
        )
    with pytest.raises(InvalidTypeError, match="no Result"):
        run(functions.draw, [{"seed": 1}], store).result(0)


def test_processes_give_the_same_bits(tmp_path):
    grid = [{"width": 2, "seed": 1}, {"width": 2, "seed": 2}, {"n": 400, "seed": 1}]
    alone = run(functions.train_or_multiply, grid, tmp_path / "alone.db")
    equal(alone, inf.sweep(functions.train_or_multiply, grid, tmp_path / "processes.db", n_jobs=2))


def test_to_pandas(store):
    frame = run(functions.draw, GRID, store).to_pandas()
    assert list(frame.columns[:3]) == ["seed", "scale", "mean"] and len(frame) == 6
    assert (
        (frame.groupby("seed")["mean"].max() / frame.groupby("seed")["mean"].min())
        .abs()
        .isin([2.0, 0.5])
        .all()
    )


def test_to_xarray_has_one_dimension_per_setting(store):
    table = run(functions.draw, {"seed": [2, 0, 1], "scale": [2.0, 1.0]}, store)
    data = table.to_xarray(arrays=["values"])
    assert dict(data.sizes) == {"seed": 3, "scale": 2, "values_0": 2, "values_1": 3}
    for k, row in enumerate(table):
        here = data.sel(seed=row["seed"], scale=row["scale"])
        assert here["mean"].item() == row["mean"] and here["positive"].item() is row["positive"]
        np.testing.assert_array_equal(here["values"], table.arrays(k)["values"])
    with pytest.raises(InvalidValueError, match="'nonsense' cannot be stacked"):
        table.to_xarray(arrays=["nonsense"])


def test_to_xarray_of_points_that_are_no_product(store):
    (store.parent / "log.broken").touch()
    grid = [{"path": str(store.parent / "log"), "seed": k, "fail_below": 1} for k in (0, 1)]
    grid.append({"path": str(store.parent / "log"), "seed": 5})
    data = run(functions.log_call, grid, store).to_xarray()
    assert dict(data.sizes) == {"run": 3}
    np.testing.assert_array_equal(data["square"], [np.nan, 1, 25])
    np.testing.assert_array_equal(data["fail_below"], [1, 1, np.nan])
    assert data["error"].values[0].startswith("ValueError") and data["error"].values[1] == ""


# --------------------------------------------------------------------------------------------------
# grid


def test_settings_of_numpy_types_are_the_same_as_plain_ones(store):
    first = run(
        functions.echo, [{"a": 1, "b": 0.5, "c": [1, 2], "d": True, "e": {"x": np.inf}}], store
    )
    same = {
        "e": {"x": np.float64(np.inf)},
        "d": np.bool_(True),
        "c": np.array([1, 2]),
        "b": np.float64(0.5),
    }
    second = run(functions.echo, [{**same, "a": np.int64(1)}], store)
    assert (
        first[0]["text"]
        == second[0]["text"]
        == "{'a': 1, 'b': 0.5, 'c': [1, 2], 'd': True, 'e': {'x': inf}}"
    )
    assert len(inf.Sweep.load(store)) == 1
    assert (
        len(
            {
                key.key
                for key in make_runs(
                    functions.echo, {"a": [1, 1.0, True, "1", [1], None]}, None, 0, 1
                )
            }
        )
        == 6
    )


def nested():
    def inside(seed):
        return {}

    return inside


@pytest.mark.parametrize(
    ("function", "grid", "error", "message"),
    [
        (functions.echo, {"a": [inf.Net]}, InvalidTypeError, "'a' is <class .*cannot be stored"),
        (functions.echo, {"a": [np.nan]}, InvalidValueError, "'a' is nan"),
        (functions.echo, {"a": [{1: 2}]}, InvalidTypeError, "cannot be stored"),
        (
            functions.echo,
            {"a": 3},
            InvalidTypeError,
            r"grid\['a'\] is 3; a list of values, e.g. \[3\], is needed",
        ),
        (functions.echo, {"a": "abc"}, InvalidTypeError, "a list of values"),
        (functions.echo, {"a": []}, InvalidValueError, r"grid\['a'\] is empty"),
        (functions.echo, {}, InvalidValueError, "no points"),
        (functions.echo, [], InvalidValueError, "no points"),
        (functions.echo, 3, InvalidTypeError, "a dictionary of lists"),
        (functions.echo, [{"a": 1}, 2], InvalidTypeError, r"grid\[1\] is 2"),
        (functions.echo, {3: [1]}, InvalidTypeError, "names of settings are strings"),
        (functions.echo, {"status": [1]}, InvalidValueError, "'status', which is a column"),
        (functions.echo, {"a": [1, np.int32(1)]}, InvalidValueError, "a=1 twice"),
        (
            functions.draw,
            {"seeds": [1]},
            InvalidTypeError,
            "cannot be called with grid.*'seed'.*takes",
        ),
        (lambda seed: {}, {"seed": [1]}, InvalidTypeError, "top of a module"),
        (nested(), {"seed": [1]}, InvalidTypeError, "top of a module"),
        ("draw", {"seed": [1]}, InvalidTypeError, "top of a module"),
    ],
)
def test_bad_grids(store, function, grid, error, message):
    with pytest.raises(error, match=message):
        run(function, grid, store)
    assert not store.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"slot": 2, "slots": 2}, InvalidValueError, "slot"),
        ({"slots": 0}, InvalidValueError, "slots"),
        ({"backend": "locky"}, UnknownNameError, "'loky'"),
        ({"backend": "loky", "n_jobs": 0}, InvalidValueError, "n_jobs is 0"),
        ({"scheduler": 3}, InvalidTypeError, "scheduler is 3"),
        ({"scheduler": "tcp://x"}, InvalidValueError, "scheduler is for"),
        ({"callback": 3}, InvalidTypeError, "callback is 3"),
        ({"fixed": {"seed": 3}}, InvalidValueError, "seed stands both in"),
        ({"fixed": [3]}, InvalidTypeError, "fixed is"),
        ({"store": 3}, InvalidTypeError, "store is 3"),
    ],
)
def test_bad_options(store, options, error, message):
    with pytest.raises(error, match=message):
        run(functions.draw, {"seed": [1]}, **{"store": store, **options})


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("number", "returned 3; a dictionary"),
        ("list", "'x' of type list"),
        ("object", "dtype object"),
        ("complex", "of type complex"),
        ("reserved", "the name 'status'"),
        ("clash", "'value', which is the name of a setting"),
        ("slash", "cannot be stored under the name 'a/b'"),
    ],
)
def test_results_that_cannot_be_stored_are_failures(store, what, message):
    (row,) = run(functions.return_it, {"value": [1], "what": [what]}, store)
    assert row["status"] == "failed" and message in row["error"]


# --------------------------------------------------------------------------------------------------
# rerun


def calls(path):
    return [int(line) for line in Path(path).read_text().split()] if Path(path).exists() else []


@pytest.mark.parametrize("n_jobs,backend", [(1, "sequential"), (2, "loky")])
@pytest.mark.parametrize(
    "how,error", [("exit", "SystemExit: 3"), ("argparse", "SystemExit: 2"), ("raise", "Generator")]
)
def test_a_run_that_leaves_is_a_failed_run(store, capfd, n_jobs, backend, how, error):
    for _ in range(2):
        table = inf.sweep(
            functions.leave, {"seed": range(4), "how": [how]}, store, n_jobs=n_jobs, backend=backend
        )
        assert [row["status"] for row in table] == ["done", "failed", "done", "done"]
        assert table[1]["error"].startswith(error)
    assert "leave" in table.details(1)["traceback"]


@pytest.mark.parametrize("name", ["settings", "fixed", "columns"])
@pytest.mark.parametrize("cell", ["{bad", "[1]", "3", b"\xff\xfe", 7])
def test_a_damaged_cell_names_the_file_and_the_run(store, name, cell):
    def run():
        return inf.sweep(
            functions.draw, {"seed": [1, 2]}, store, backend="sequential", progress=False
        )

    whole = run().rows
    database = sqlite3.connect(store)
    key = database.execute("SELECT key FROM runs ORDER BY rowid").fetchone()[0]
    database.execute(f"UPDATE runs SET {name} = ? WHERE key = ?", (cell, key))
    database.commit()
    for what in (lambda: inf.Sweep.load(store), run):
        with pytest.raises(
            StorageError,
            match=rf"runs\.db is damaged: '{name}' of the run '{key}' is no dictionary",
        ):
            what()
    database.execute("DELETE FROM runs WHERE key = ?", (key,))  # as the message advises
    database.commit()
    assert run().rows == whole
    database.close()


def test_a_rerun_skips_what_is_done_and_retries_failures_when_asked(store, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "log.broken").touch()
    fixed = {"path": str(log), "fail_below": 1}
    table = run(functions.log_call, {"seed": [0, 1]}, store, fixed=fixed)
    assert [row["status"] for row in table] == ["failed", "done"] and table.failures == [table[0]]
    assert table[0]["error"] == "ValueError: seed 0 is too small" and "square" not in table[0]
    assert "log_call" in table.details(0)["traceback"]
    with pytest.raises(InvalidValueError, match="run 0 has no arrays: it is failed"):
        table.arrays(0)
    run(
        functions.log_call, {"seed": [0, 1, 2]}, store, fixed=fixed
    )  # a larger grid: only what is new
    assert calls(log) == [0, 1, 2]
    (tmp_path / "log.broken").unlink()
    table = run(functions.log_call, {"seed": [0, 1, 2]}, store, fixed=fixed, retry_failed=True)
    assert calls(log) == [0, 1, 2, 0] and [row["square"] for row in table] == [0, 1, 4]
    assert table[0]["error"] is None and table.details(0)["traceback"] is None
    run(
        functions.log_call, {"seed": [0]}, store, fixed={**fixed, "fail_below": 0}
    )  # other arguments: another run
    assert calls(log) == [0, 1, 2, 0, 0]


def test_callback_sees_every_new_row(store):
    seen = []
    run(functions.draw, {"seed": [1]}, store)
    table = run(functions.draw, {"seed": [1, 2, 3]}, store, callback=seen.append)
    assert seen == table.rows[1:]


def test_damaged_arrays_are_named_and_recomputed_when_asked(store):
    table = run(functions.draw, GRID, store)
    files = sorted((store.parent / "runs.db.d").iterdir())
    assert len(files) == 6
    content = files[0].read_bytes()
    files[0].write_bytes(content[:-30] + b"x" + content[-29:])
    files[1].unlink()
    with pytest.raises(StorageError) as caught:
        run(functions.draw, GRID, store)
    message = str(caught.value)
    assert (
        "2 of 6 runs" in message
        and f"{files[0]} is damaged" in message
        and f"{files[1]} is missing" in message
    )
    assert "recompute_damaged=True" in message and message.count("scale=") == 2
    broken = inf.Sweep.load(store)
    with pytest.raises(StorageError, match=r"is damaged|is missing"):
        [broken.arrays(k) for k in range(6)]
    equal(run(functions.draw, GRID, store, recompute_damaged=True), table)


# --------------------------------------------------------------------------------------------------
# the store


def test_a_store_of_another_version_or_program_is_refused(store, tmp_path):
    run(functions.draw, {"seed": [1]}, store)
    with sqlite3.connect(store) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.execute("PRAGMA user_version = 99")
    database.close()
    for attempt in (
        lambda: run(functions.draw, {"seed": [2]}, store),
        lambda: inf.Sweep.load(store),
    ):
        with pytest.raises(
            StorageError, match=r"runs.db has schema 99; infflow .* reads and writes schema 1"
        ):
            attempt()
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE recipes (name TEXT)")
    database.close()
    with pytest.raises(StorageError, match="of another program"):
        run(functions.draw, {"seed": [1]}, other)
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 20)
    with pytest.raises(StorageError, match=r"text.db: file is not a database"):
        run(functions.draw, {"seed": [1]}, tmp_path / "text.db")
    with pytest.raises(StorageError, match=r"the folder .* does not exist"):
        run(functions.draw, {"seed": [1]}, tmp_path / "none" / "runs.db")
    with pytest.raises(StorageError, match="does not exist"):
        inf.Sweep.load(tmp_path / "none.db")


def test_a_disk_that_is_full_when_arrays_are_written(store, tmp_path, monkeypatch):
    expected = run(functions.draw, GRID, tmp_path / "undisturbed.db")
    count = 0

    def fsync(handle):
        nonlocal count
        count += 1
        if count > 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("infflow.storage.os.fsync", fsync)
        with pytest.raises(
            StorageError, match=r"\.npz: No space left on device\..*the same call goes on"
        ):
            run(functions.draw, GRID, store)
    assert [row["status"] for row in inf.Sweep.load(store)] == ["done"] * 2 + ["pending"] * 4
    assert not list((tmp_path / "runs.db.d").glob(".*")), "no parts of files are left"
    equal(run(functions.draw, GRID, store), expected)


def test_a_disk_that_is_full_when_rows_are_written(store, tmp_path, monkeypatch):
    grid = {"seed": range(40)}
    expected = run(functions.draw, grid, tmp_path / "undisturbed.db")
    run(functions.draw, {"seed": range(8)}, store)
    connect = Store._connect

    def small(self):
        database = connect(self)
        database.execute(
            f"PRAGMA max_page_count = {store.stat().st_size // 4096 + 1}"
        )  # SQLite's own limit: SQLITE_FULL
        return database

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_connect", small)
        with pytest.raises(StorageError, match=r"database or disk is full\. Free some space"):
            run(functions.draw, grid, store)
    with sqlite3.connect(store) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert [row["status"] for row in inf.Sweep.load(store)][:8] == ["done"] * 8
    equal(run(functions.draw, grid, store), expected)


def test_a_row_of_a_dead_process_is_taken_again(store, monkeypatch):
    (run_,) = make_runs(functions.draw, {"seed": [1]}, None, 0, 1)
    first = Store(store)
    second = Store(store)
    first.enter([run_])
    assert first.claim(run_.key) and not second.claim(run_.key), "the first one lives"
    mine = first._owner
    # another process, with a pid that is in use again
    first._execute(
        "UPDATE owners SET pid = 1, started = 'once', token = 'x' WHERE token = ?", mine.token
    )
    first._execute("UPDATE runs SET owner = 'x'")
    assert second.claim(run_.key), "process 1 started at another time"
    for host, age, free in (("elsewhere", 5.0, False), ("elsewhere", 100.0, True)):
        second._execute(
            "UPDATE owners SET host = ?, heartbeat = heartbeat - ? WHERE token = 'x'", host, age
        )
        second._execute("UPDATE runs SET owner = 'x', status = 'running'")
        assert second.claim(run_.key) is free
    second.close()
    assert first.claim(run_.key), "given back when closed"
    first.close()
    assert not Owner(mine.token, mine.host, mine.pid, mine.started).is_alive(0.0), (
        "ended in this process"
    )


def test_a_process_knows_when_it_started():
    import os

    assert owners._start_of(os.getpid()) == owners._start_of(os.getpid()) is not None
    assert owners._start_of(2**22 + 1) is None  # above the largest pid of Linux
    assert owners._start_by_ps(os.getpid()) and owners._start_by_ps(2**22 + 1) is None


def test_heartbeats_are_written(store, monkeypatch):
    monkeypatch.setattr("infflow.sweeps.store.HEARTBEAT", 0.01)
    import time

    database = Store(store)
    database.enter(make_runs(functions.draw, {"seed": [1]}, None, 0, 1))
    database.claim(database.read_rows()[0]["key"])
    (before,) = database._execute("SELECT heartbeat FROM owners").fetchone()
    deadline = time.monotonic() + 10
    while (
        database._execute("SELECT heartbeat FROM owners").fetchone() == (before,)
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert database._execute("SELECT heartbeat FROM owners").fetchone()[0] > before
    database.close()


# --------------------------------------------------------------------------------------------------
# slots, Ctrl-C


def test_slots_are_collected(store, tmp_path):
    log = str(tmp_path / "log")
    for slot in range(3):
        part = run(
            functions.log_call, {"seed": range(7)}, store, fixed={"path": log}, slot=slot, slots=3
        )
        assert [row["seed"] for row in part] == list(range(7))[slot::3]
    assert not store.exists() and sorted(p.name for p in tmp_path.glob("*.db*")) == [
        f"runs.db.slot{k}of3" for k in range(3)
    ]
    table = run(functions.log_call, {"seed": range(7)}, store, fixed={"path": log})
    assert sorted(calls(log)) == list(range(7)), "nothing is done twice"
    assert [row["square"] for row in table] == [k**2 for k in range(7)]
    run(functions.log_call, {"seed": range(8)}, store, fixed={"path": log}, slot=1, slots=2)
    assert sorted(calls(log)) == list(range(8)), "slots see what is done"


def test_slots_share_arrays(store):
    for slot in range(2):
        run(functions.draw, GRID, store, slot=slot, slots=2)
    equal(
        run(functions.draw, GRID, store),
        run(functions.draw, GRID, store.with_name("undisturbed.db")),
    )


@pytest.mark.parametrize(
    ("function", "bad"), [(functions.interrupted, 2), (functions.interrupted_training, 1)]
)
def test_what_was_interrupted_does_not_count(store, function, bad):
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            run(function, {"seed": range(4)}, store)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [row["status"] for row in inf.Sweep.load(store)] == ["done"] * bad + ["pending"] * (
        4 - bad
    )


def test_the_tables_are_documented_by_their_schema(store):
    run(functions.draw, {"seed": [1]}, store)
    database = sqlite3.connect(store)
    ((settings, status, columns),) = database.execute(
        "SELECT settings, status, columns FROM runs"
    ).fetchall()
    database.close()
    assert (
        json.loads(settings) == {"seed": 1}
        and status == "done"
        and json.loads(columns)["count"] == 6
    )


def test_the_script_of_the_documentation(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "sweeps.md").read_text()
    (tmp_path / "my_sweep.py").write_text(re.search(r"```py\n(.*?)```", text, flags=re.S)[1])
    command = [sys.executable, "-W", "error", "my_sweep.py"]
    first, second = (
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second and "width" in first and "Result: loss" in first
    table = inf.Sweep.load(tmp_path / "runs.db")
    assert len(table) == 8 and table.details(0)["function"] == "my_sweep.train_one", (
        "a script is named as a module"
    )
