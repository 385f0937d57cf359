"""The store of a sweep: an SQLite database with one row per run, and a folder with one ``.npz``
file per run.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .._validation import Array
from .._version import __version__
from ..errors import StorageError
from ..result import Result
from ..storage import as_path, read_arrays, write_atomically
from .grid import Run
from .outcome import Outcome
from .owners import HEARTBEAT, Owner

SCHEMA = 1
BUSY = 30.0  #: seconds to wait for another process that writes
_APPLICATION = 0x696E6666  # "inff", in the header of the file
_TABLES = """
CREATE TABLE owners (
    token TEXT PRIMARY KEY, host TEXT, pid INTEGER, started TEXT, heartbeat REAL
) WITHOUT ROWID;
CREATE TABLE runs (
    key TEXT PRIMARY KEY,       -- hash of function, settings and fixed arguments
    function TEXT NOT NULL,
    settings TEXT NOT NULL,     -- JSON
    fixed TEXT NOT NULL,        -- JSON, arguments that all runs of a sweep share
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'done', 'failed')),
    columns TEXT,               -- JSON, the numbers and strings of the result
    arrays TEXT CHECK (arrays IN ('arrays', 'result')),  -- what the run's file holds, or NULL
    checksum TEXT,              -- SHA-256 of the file
    error TEXT,
    traceback TEXT,
    wall_time REAL,             -- seconds
    finished REAL,              -- seconds since 1970
    version TEXT,               -- of infflow
    owner TEXT                  -- who runs it
);
"""
_FIELDS = (
    "key, function, settings, fixed, status, columns, arrays, checksum, error, traceback, "
    "wall_time, finished, version"
)


class Store:
    """A database file and the folder ``FILE.d`` beside it.

    One connection, guarded by a lock, as the heartbeat comes from another thread. All methods raise
    :class:`StorageError` if the disk is full or the file cannot be used.
    """

    def __init__(self, path: Any, *, slot: int = 0, slots: int = 1, frozen: bool = False) -> None:
        main = as_path("store", path)
        self._frozen = frozen  # nobody writes it, and this object only reads: takes no locks
        self.path = main if slots == 1 else main.with_name(f"{main.name}.slot{slot}of{slots}")
        self.folder = main.with_name(f"{main.name}.d")
        self._main = main
        self._alone = slots > 1
        self._lock = threading.RLock()
        self._owner: Owner | None = None
        self._ended = threading.Event()
        if not self.path.parent.is_dir():
            raise StorageError(
                f"cannot open {self.path}: the folder {self.path.parent} does not exist. Create "
                "it first."
            )
        with self._errors():
            self._database = self._connect()
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        name = f"{self.path.absolute().as_uri()}?{'immutable=1' if self._frozen else 'mode=rwc'}"
        database = sqlite3.connect(
            name, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        # needs no memory shared between processes, which file systems of clusters do not have
        if self._alone:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        return database

    def _prepare(self) -> None:
        """Make the tables in an empty file; refuse files of others and of other versions."""
        execute = self._database.execute
        application, schema = (
            execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        empty = not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if empty and not schema:
            execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                # no other process was faster
                if not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in _TABLES.split(";"):
                        execute(statement)
                    execute(f"PRAGMA application_id = {_APPLICATION}")
                    execute(f"PRAGMA user_version = {SCHEMA}")
        elif application != _APPLICATION:
            raise StorageError(
                f"{self.path} is a database of another program. Choose another file as store."
            )
        elif schema != SCHEMA:
            raise StorageError(
                f"{self.path} has schema {schema}; infflow {__version__} reads and writes schema "
                f"{SCHEMA}. Use the "
                "version of infflow that wrote it, or another file as store."
            )
        if not self._frozen:
            # a power cut may cost the last rows, which are then run again
            execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Give back unfinished runs and close the file."""
        if self._owner is not None:
            self._ended.set()
            self._owner.end()
        with self._lock:
            try:
                if self._owner is not None:
                    token = self._owner.token
                    self._execute(
                        "UPDATE runs SET status = 'pending', owner = NULL WHERE owner = ?", token
                    )
                    self._execute("DELETE FROM owners WHERE token = ?", token)
            except StorageError:
                pass  # a full disk: the owner has ended, which others see as well
            finally:
                self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason = str(error)
            remedy = "Restore the file, or choose another one as store."
            if "full" in reason or "disk I/O" in reason:
                remedy = (
                    "Free some space; what was finished is safe, and the same call goes on from "
                    "there."
                )
            elif "locked" in reason:
                remedy = "Another process keeps it busy; wait, or choose another file as store."
            elif "readonly" in reason or "unable to open" in reason:
                remedy = "Make the file and its folder writable, or choose another one as store."
            raise StorageError(f"cannot use the store {self.path}: {reason}. {remedy}") from error

    def _execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        with self._lock, self._errors():
            return self._database.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it already
                    self._database.execute("ROLLBACK")
                raise

    # -------------------------------------------------------------------------------------------
    # runs that are to be done

    def enter(self, runs: Sequence[Run]) -> None:
        """Add the runs that are not known yet, as pending."""
        statement = (
            "INSERT OR IGNORE INTO runs (key, function, settings, fixed, status) VALUES (?, ?, "
            "?, ?, 'pending')"
        )
        with self._transaction():
            for run in runs:
                self._execute(
                    statement,
                    run.key,
                    run.function,
                    json.dumps(run.settings),
                    json.dumps(run.fixed),
                )

    def reset(self, keys: Sequence[str]) -> None:
        """Make runs pending that are done or failed."""
        statement = (
            "UPDATE runs SET status = 'pending', owner = NULL WHERE key = ? AND status IN "
            "('done', 'failed')"
        )
        with self._transaction():
            for key in keys:
                self._execute(statement, key)

    def claim(self, key: str) -> bool:
        """Take a run that nobody works on; False if it is done, failed, or in the hands of a living
        process.
        """
        owner = self._work()
        with self._transaction():
            row = self._execute(
                "SELECT status, token, host, pid, started, heartbeat FROM runs LEFT JOIN owners "
                "ON owner = token WHERE key = ?",
                key,
            ).fetchone()
            status, token, *process, heartbeat = row
            free = status == "pending" or (
                status == "running"
                and (token is None or not Owner(token, *process).is_alive(heartbeat))
            )
            if free:
                self._execute(
                    "UPDATE runs SET status = 'running', owner = ? WHERE key = ?", owner.token, key
                )
        return bool(free)

    def release(self, key: str) -> None:
        """Give a run back that was claimed."""
        self._execute(
            "UPDATE runs SET status = 'pending', owner = NULL WHERE key = ? AND status = 'running'",
            key,
        )

    def statuses(self) -> dict[str, str]:
        """Status of every run by its key."""
        return dict(self._execute("SELECT key, status FROM runs"))

    def _work(self) -> Owner:
        """Register as an owner, with a heartbeat from now on."""
        if self._owner is None:
            owner = Owner.this()
            values = (owner.token, owner.host, owner.pid, owner.started, time.time())
            self._execute("INSERT INTO owners VALUES (?, ?, ?, ?, ?)", *values)
            self._owner = owner
            threading.Thread(
                target=self._beat, args=(owner.token,), daemon=True, name="infflow store"
            ).start()
        return self._owner

    def _beat(self, token: str) -> None:
        while not self._ended.wait(HEARTBEAT):
            with suppress(StorageError):  # busy or full: the main thread meets the same and says so
                self._execute("UPDATE owners SET heartbeat = ? WHERE token = ?", time.time(), token)

    # ---------------------------------------------------------------------------------------------
    # results of runs

    def file(self, key: str) -> Path:
        """Where the arrays of a run are."""
        return self.folder / f"{key}.npz"

    def save(self, key: str, outcome: Outcome) -> None:
        """Write the arrays, then mark the run as done or failed: a row that says done has
        its file.
        """
        checksum = (
            self._write(key, outcome) if outcome.result is not None or outcome.arrays else None
        )
        kind = None if checksum is None else ("arrays" if outcome.result is None else "result")
        self._execute(
            "UPDATE runs SET status = ?, columns = ?, arrays = ?, checksum = ?, error = ?, "
            "traceback = ?, wall_time = ?, "
            "finished = ?, version = ?, owner = NULL WHERE key = ?",
            "done" if outcome.error is None else "failed",
            json.dumps(outcome.columns),
            kind,
            checksum,
            outcome.error,
            outcome.traceback,
            outcome.wall_time,
            time.time(),
            __version__,
            key,
        )

    def _write(self, key: str, outcome: Outcome) -> str:
        path = self.file(key)
        try:
            self.folder.mkdir(exist_ok=True)
            # a process was killed while it wrote this
            for leftover in self.folder.glob(f".{key}.npz.*.tmp"):
                leftover.unlink(missing_ok=True)
            if outcome.result is not None:
                outcome.result.save(path)
            else:
                buffer = io.BytesIO()
                np.savez(buffer, allow_pickle=False, **outcome.arrays)
                write_atomically(path, buffer.getvalue())
            return _checksum(path)
        except (OSError, StorageError) as error:
            reason = (
                str(error)
                if isinstance(error, StorageError)
                else f"cannot write {path}: {error.strerror or error}."
            )
            raise StorageError(
                f"{reason} All runs that were finished are safe, and the same call goes on from "
                "there."
            ) from error

    def read_rows(self, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """All columns of the given runs in that order, or of all in the order in which they were
        entered.
        """
        found = {}
        for values in self._execute(f"SELECT {_FIELDS} FROM runs ORDER BY rowid"):
            row = dict(zip(_FIELDS.split(", "), values, strict=True))
            for name in ("settings", "fixed", "columns"):
                row[name] = self._parsed(row, name)
            found[row["key"]] = row
        return list(found.values()) if keys is None else [found[key] for key in keys]

    def _parsed(self, row: dict[str, Any], name: str) -> dict[str, Any]:
        """A cell of a row, a dictionary as JSON or nothing."""
        cell = row[name]
        try:
            value = json.loads(cell) if cell else {}
        except (ValueError, TypeError) as error:  # bytes that are no text, numbers
            problem = str(error)
        else:
            if isinstance(value, dict):
                return value
            problem = f"it is {value!r:.100}"
        raise StorageError(
            f"{self.path} is damaged: {name!r} of the run {row['key']!r} is no dictionary in "
            f"JSON ({problem}). "
            f"Restore the file, or remove the run, which is then done again: "
            f'sqlite3 {self.path} "DELETE FROM runs WHERE key = {row["key"]!r}"'
        )

    def absorb(self, keys: Sequence[str]) -> None:
        """Take over what other slots, or the sweep without slots, have finished of these runs."""
        wanted = set(keys)
        others = [
            self._main,
            *sorted(self._main.parent.glob(f"{glob.escape(self._main.name)}.slot*of*")),
        ]
        for path in others:
            if path == self.path or not path.exists() or path.name.endswith(("-wal", "-shm")):
                continue
            if self._alone and path.with_name(f"{path.name}-wal").exists():
                continue  # in use, maybe on another machine, where it must not be read
            self._take_over(Store(path, frozen=self._alone), wanted)

    def _take_over(self, other: Store, wanted: set[str]) -> None:
        try:
            finished = [
                row
                for row in other.read_rows()
                if row["key"] in wanted and row["status"] in ("done", "failed")
            ]
        finally:
            other.close()
        names = _FIELDS.split(", ")
        values = ", ".join(f"{name} = ?" for name in names)
        with self._transaction():
            for row in finished:
                stored = [
                    json.dumps(row[n]) if n in ("settings", "fixed", "columns") else row[n]
                    for n in names
                ]
                older = "'pending'" if row["status"] == "failed" else "'pending', 'failed'"
                self._execute(
                    f"UPDATE runs SET {values} WHERE key = ? AND status IN ({older})",
                    *stored,
                    row["key"],
                )

    # ----------------------------------------------------------------------------------------------
    # arrays

    def damage(self, row: dict[str, Any]) -> str | None:
        """Damage of the file of a run in words, None if there is none."""
        if row["checksum"] is None:
            return None
        path = self.file(row["key"])
        try:
            return None if _checksum(path) == row["checksum"] else f"{path} is damaged"
        except FileNotFoundError:
            return f"{path} is missing"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"


def read_file(path: Path, row: dict[str, Any]) -> Result | dict[str, Array]:
    """The arrays of a run, or its Result, after a look at the checksum."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != row["checksum"]:
            raise StorageError(
                f"{path} is damaged. Run the sweep again with recompute_damaged=True, or restore "
                "the file."
            )
        if row["arrays"] == "result":
            return Result.load(path)
        return read_arrays(io.BytesIO(content))
    except FileNotFoundError:
        raise StorageError(
            f"{path} is missing. Run the sweep again with recompute_damaged=True."
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be read: {error}. Restore the file.") from error


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
