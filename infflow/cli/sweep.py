"""``infflow sweep``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidValueError
from ..terminal import on_terminal
from ._common import JsonOutput, finite, make_folder, reports_errors
from ._events import say

if TYPE_CHECKING:
    from ..sweeps.table import Sweep


@reports_errors
def sweep(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="SWEEP", help="A TOML file with config and grid.", show_default=False
        ),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a commented file.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder, instead of the file's.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the starts, if the grid has none.", show_default=False),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Worker processes; -1: all cores.")] = -1,
    backend: Annotated[str, typer.Option(help="loky (processes), dask or sequential.")] = "loky",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler.", show_default=False)
    ] = None,
    slot: Annotated[int, typer.Option(help="Of an array job: which part, from 0.")] = 0,
    slots: Annotated[int, typer.Option(help="Of an array job: how many parts.")] = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat runs that failed.")
    ] = False,
    recompute_damaged: Annotated[
        bool,
        typer.Option("--recompute-damaged", help="Repeat runs whose .npz is damaged or missing."),
    ] = False,
    json_output: JsonOutput = False,
) -> None:
    """Train all combinations of a grid over keys of a configuration: runs.db, runs.db.d and
    table.csv.

    Whatever stops it, the same command goes on; runs that are done are not repeated. Exit code 1 if
    a run failed.

    Example: infflow sweep sweep.toml --jobs 4 --out out/widths
    """
    from ..sweeps.run import sweep
    from .files import train_configuration
    from .files.sweep_file import SweepFile, example_sweep

    if example:
        typer.echo(example_sweep(), nl=False)
        return
    if file is None:
        raise InvalidValueError(
            "SWEEP is missing. 'infflow sweep --example > sweep.toml' writes one."
        )
    plan = SweepFile.load(file)
    if seed is not None:
        if "seed" in plan.grid or seed < 0:
            raise InvalidValueError(
                f"--seed is {seed}; a seed >= 0, and a grid without seed, are needed."
            )
        plan.config["seed"] = seed
    folder = Path(plan.folder) if out is None else out
    make_folder(folder)
    table = sweep(
        train_configuration,
        plan.grid,
        folder / "runs.db",
        fixed={"config": plan.config},
        backend=backend,
        n_jobs=jobs,
        scheduler=scheduler,
        retry_failed=retry_failed,
        recompute_damaged=recompute_damaged,
        slot=slot,
        slots=slots,
        callback=None if on_terminal() else _Lines(list(plan.grid)),
    )
    name = "table.csv" if slots == 1 else f"table.slot{slot}of{slots}.csv"
    _write_csv(table, folder / name)
    if json_output:
        typer.echo(json.dumps([_finite(row) for row in table]))
    else:
        typer.echo(f"{table}\nwrote {folder / name}")
    for row in table.failures:
        say(f"failed: {_settings(row, list(plan.grid))}: {row['error']}")
    if table.failures:
        raise typer.Exit(1)


class _Lines:
    """One line for every run that ends."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._count = 0

    def __call__(self, row: dict[str, Any]) -> None:
        self._count += 1
        what = (
            f"loss {row['loss']:.6g}, {row['stop_reason']}"
            if row["status"] == "done"
            else row["error"]
        )
        say(f"{row['status']} {self._count}: {_settings(row, self._names)}: {what}")


def _settings(row: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name}={row[name]}" for name in names)


def _write_csv(table: Sweep, path: Path) -> None:
    from ..storage import write_atomically

    names = list(dict.fromkeys(name for row in table for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    write_atomically(path, text.getvalue().encode())


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {key: finite(value) if isinstance(value, float) else value for key, value in row.items()}
