"""``infflow train``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidValueError
from ..terminal import on_terminal
from ._common import JsonOutput, finite, make_folder, reports_errors
from ._events import Watcher, say

if TYPE_CHECKING:
    from ..result import Result
    from .files import Configuration

_FAILED = ("NON_FINITE", "STEP_UNDERFLOW", "SOLVER_FAILED")  # the run could not go on
# the next call may go on, with higher limits
_LIMITS = (
    "CALLBACK",
    "INTERRUPTED",
    "MAX_TIME",
    "MAX_STEPS",
)


@reports_errors
def train(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration, a TOML file.", show_default=False)
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented configuration that works.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the start, instead of the file's.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder, instead of output.folder.", show_default=False)
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Gradient flow, then Newton's method, as a configuration file says: result.npz, summary.json
    and loss.png.

    After Ctrl-C, or a limit of time or steps, the same command goes on where the run stopped.

    Example: infflow train --example > config.toml; infflow train config.toml --out out/first
    """
    from .files import Configuration, example_configuration

    if example:
        typer.echo(example_configuration(), nl=False)
        return
    if config is None:
        raise InvalidValueError(
            "CONFIG is missing. 'infflow train --example > config.toml' writes one."
        )
    settings = Configuration.load(config)
    if seed is not None:
        if seed < 0:
            raise InvalidValueError(f"--seed is {seed}; a seed must not be negative.")
        settings = replace(settings, seed=seed)
    folder = Path(settings.output.folder) if out is None else out
    make_folder(folder)
    result, interrupted = _run(settings, folder)
    report = _write(settings, result, folder, interrupted)
    typer.echo(
        json.dumps(report)
        if json_output
        else f"{result}\nwrote {', '.join(report['files'])} in {folder}"
    )
    if interrupted:
        say(f"infflow: interrupted; the same command goes on from {folder / 'checkpoint.npz'}")
    if interrupted or report["status"] in _FAILED:
        raise typer.Exit(1)


def _run(settings: Configuration, folder: Path) -> tuple[Result, bool]:
    from ..training import train

    net = settings.problem()
    start = settings.start(net)
    bar = on_terminal()
    checkpoint = folder / "checkpoint.npz" if settings.output.checkpoint else None
    if not bar:
        again = (
            "going on from a checkpoint"
            if checkpoint is not None and checkpoint.exists()
            else "training"
        )
        say(f"{again}: {net!r}, {len(start)} parameters, seed {settings.seed}")
    with Watcher(quiet=bar) as watcher:
        result = train(
            net,
            start,
            progress=bar,
            callback=watcher,
            checkpoint=checkpoint,
            **settings.train_arguments(),
        )
    if not bar:
        say(f"flow: {result.flow}")
        say(f"newton: {result.newton}")
    return result, watcher.interrupted and result.status.name in _LIMITS


def _write(
    settings: Configuration, result: Result, folder: Path, interrupted: bool
) -> dict[str, Any]:
    """Files of the run, and what summary.json says."""
    from .._version import __version__
    from ..storage import write_json

    result.save(folder / "result.npz")
    files = ["result.npz", "summary.json"]
    if settings.output.plot and len(result.trajectory.t) > 1:
        from ..plotting import new_axes, plot_loss

        plot_loss(result, ax=new_axes()).figure.savefig(folder / "loss.png")
        files.append("loss.png")
    checkpoint = folder / "checkpoint.npz"
    if result.status.name not in _LIMITS and settings.output.checkpoint:
        checkpoint.unlink(missing_ok=True)
    elif checkpoint.exists():
        files.append(checkpoint.name)
    report = {
        "loss": finite(result.loss),
        "gradient_norm": finite(result.gradient_norm),
        "converged": result.converged,
        "status": result.status.name,
        "message": result.status.message,
        "interrupted": interrupted,
        "t_flow": float(result.flow.t),
        "flow_steps": result.flow.steps,
        "newton_steps": result.newton.steps,
        "seed": settings.seed,
        "parameters": len(result.theta),
        "version": __version__,
        "files": files,
    }
    write_json(folder / "summary.json", report)
    return report
