"""What all commands share: errors as one line, exit codes, JSON.

Exit codes: 0 done, 1 failed, 2 bad usage.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from ..errors import DivergedError, InfflowError, SolverFailedError, StorageError

JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

_FAILURES = (DivergedError, SolverFailedError, StorageError)  # of the computation; other errors are of the arguments


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
