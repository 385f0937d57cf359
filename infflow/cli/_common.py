"""Shared by all commands: errors as one line, exit codes, JSON.

Exit codes: 0 done, 1 failed, 2 bad usage.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import (
    ClusterError,
    DivergedError,
    InfflowError,
    InvalidValueError,
    SolverFailedError,
    StorageError,
)
from ..interrupts import interrupted_by_sigterm

JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
#: Commands that draw no random numbers have it too, so that all can be called alike.
UnusedSeed = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, help="Changes nothing: nothing here is random.", show_default=False
    ),
]

# errors of the computation; all others are errors of the arguments
_FAILURES = (
    ClusterError,
    DivergedError,
    SolverFailedError,
    StorageError,
)


_CANNOT_WRITE = tuple(
    getattr(errno, name, None)  # not all systems have all
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EPIPE", "EBADF", "EROFS")
)


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print an error as one line; 1 if the computation failed, 2 if an argument was bad. SIGTERM is
    Ctrl-C.
    """

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with interrupted_by_sigterm():
                command(*args, **kwargs)
        except InfflowError as error:
            complain(str(error))
            raise typer.Exit(1 if isinstance(error, _FAILURES) else 2) from error
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(1) from None
        except OSError as error:
            report_system_error(error)
            raise typer.Exit(1) from error

    return wrapped


def complain(text: str) -> None:
    """One line to the standard error, if there is one."""
    with suppress(OSError, ValueError):
        typer.echo(f"infflow: {text}", err=True)


def report_system_error(error: OSError) -> None:
    """One line about what the operating system refused: a full device, a pipe that nobody reads."""
    for stream in (sys.stdout, sys.stderr):
        _discard_unwritten(stream)
    reason = error.strerror or str(error)
    if error.errno in _CANNOT_WRITE:
        complain(
            f"cannot write {error.filename or 'the output'}: {reason}. Make room, or choose "
            "another place."
        )
    else:
        complain(f"{error.filename}: {reason}" if error.filename else reason)


def _discard_unwritten(stream: Any) -> None:
    """Send what cannot be written to nowhere, since Python would try again at its end, and
    complain.
    """
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except AttributeError:  # there is none
        pass


def finite(value: float) -> float | None:
    """The number, None where it is not finite: JSON has no infinity."""
    return value if math.isfinite(value) else None


def write_report(folder: Path | None, name: str, report: dict[str, Any]) -> Path | None:
    """Write a report as JSON into a folder, which is made; None where none is wanted. The file that
    was written.
    """
    if folder is None:
        return None
    from ..storage import write_json

    make_folder(folder)
    write_json(folder / name, report)
    return folder / name


def make_folder(folder: Path) -> None:
    """Make a folder for output, at once and not after minutes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _CANNOT_WRITE:
            raise
        reason = (
            "there is a file of that name" if isinstance(error, FileExistsError) else error.strerror
        )
        raise InvalidValueError(
            f"cannot make the folder {folder}: {reason}. Give another one with --out."
        ) from error
