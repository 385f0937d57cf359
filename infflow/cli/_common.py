"""What all commands share: errors as one line, exit codes, JSON.

Exit codes: 0 done, 1 failed, 2 bad usage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ClusterError, DivergedError, InfflowError, InvalidValueError, SolverFailedError, StorageError

JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
#: of commands that draw no random numbers, so that all can be called alike
UnusedSeed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Changes nothing: nothing here is random.", show_default=False)
]

_FAILURES = (
    ClusterError,
    DivergedError,
    SolverFailedError,
    StorageError,
)  # of the computation; other errors are of the arguments


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print an infflow error as one line; 1 if the computation failed, 2 if an argument was bad."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except InfflowError as error:
            typer.echo(f"infflow: {error}", err=True)
            raise typer.Exit(1 if isinstance(error, _FAILURES) else 2) from error
        except KeyboardInterrupt:
            typer.echo("infflow: interrupted", err=True)
            raise typer.Exit(1) from None

    return wrapped


def finite(value: float) -> float | None:
    """The number, None where it is not finite: JSON has no infinity."""
    return value if math.isfinite(value) else None


def write_report(folder: Path | None, name: str, report: dict[str, Any]) -> Path | None:
    """Write a report as JSON into a folder, which is made; None where none is wanted. The file that was written."""
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
        raise InvalidValueError(
            f"cannot make the folder {folder}: {error.strerror}. Give another one with --out."
        ) from error
