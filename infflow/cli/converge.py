"""``infflow converge``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ._common import JsonOutput, reports_errors


@reports_errors
def converge(
    out: Annotated[
        Path, typer.Option(help="Folder for convergence.png and convergence.json.")
    ] = Path("out/converge"),
    activation: Annotated[
        str, typer.Option(help="Activation of student and teacher.")
    ] = "softplus",
    input_dim: Annotated[int, typer.Option(min=1, help="Input dimension.")] = 9,
    teacher: Annotated[int, typer.Option(min=1, help="Hidden neurons of the teacher.")] = 8,
    student: Annotated[int, typer.Option(min=1, help="Hidden neurons of the student.")] = 3,
    n: Annotated[
        list[int] | None,
        typer.Option("--n", min=1, help="A number of samples; repeat for several."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Data sets for each number of samples.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of teacher, student and data.")] = 2,
    noise: Annotated[
        float, typer.Option(min=0.0, help="Standard deviation of the label noise.")
    ] = 0.0,
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    json_output: JsonOutput = False,
) -> None:
    """Finite against infinite data: the 1/N law, its slope and its predicted prefactor (the paper's
    figure 4).

    Example: infflow converge --input-dim 5 --teacher 4 --student 2 --n 1000 --n 10000 --out
    out/small
    """
    from ..storage import make_folder
    from ..studies.finite_vs_infinite.convergence import Setting, convergence

    numbers = tuple(sorted(set(n))) if n else Setting.N
    setting = Setting(activation, input_dim, teacher, student, numbers, seeds, seed, noise)
    make_folder(out)  # at once, not after minutes
    result = convergence(setting, jobs=jobs)
    result.save(out)
    if json_output:
        typer.echo(json.dumps(result.to_dict()))
        return
    typer.echo(
        f"infinite data: loss {result.infinite_loss:.10g}, gradient "
        f"{result.infinite_gradient_norm:.1e}, {result.infinite_time:.2f} s"
    )
    typer.echo(result.table())
    typer.echo(f"wrote {out / 'convergence.png'} and {out / 'convergence.json'}")
