"""``infflow study``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import JsonOutput, make_folder, reports_errors


@reports_errors
def study(
    name: Annotated[
        str | None, typer.Argument(help="Which one; without it all are listed.", show_default=False)
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small version, at most 25 seconds.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Repetitions; default: the study's.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Base of all random numbers; default: the study's.", show_default=False),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Worker processes; -1: all cores.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; default: out/studies/NAME (quick: NAME-quick).", show_default=False
        ),
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Measure claims about teacher-student networks: summary.json, a picture, the text of a page.

    Finished runs are stored at once in the folder, and the same command continues a stopped study.

    Example: infflow study convergence --quick --out out/quick
    """
    from ..studies import STUDIES, run_study

    if name is None:
        for each in STUDIES.values():
            typer.echo(f"{each.name:<16} {each.title}")
        return
    folder = Path("out/studies") / (f"{name}-quick" if quick else name) if out is None else out
    if name in STUDIES:
        make_folder(folder)  # a bad name of a folder is bad usage
    changes: dict[str, Any] = {
        key: value for key, value in (("seeds", seeds), ("seed", seed)) if value is not None
    }
    result = run_study(name, quick=quick, jobs=jobs, out=folder, **changes)
    if json_output:
        typer.echo(json.dumps(result.to_dict()))
        return
    for claim in result.claims():
        typer.echo(f"{'held    ' if claim.held else 'NOT HELD'}  {claim.sentence}")
    typer.echo(
        f"{result.wall_seconds:.1f} s; wrote summary.json, {result.name}.png and "
        f"{result.name}.md in {folder}"
    )
