"""``infflow surrogates list|verify|train``."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidValueError
from ._common import JsonOutput, UnusedSeed, make_folder, reports_errors, write_report

if TYPE_CHECKING:
    from ..activations import Activation

# The errors on the card take a fifth of the integrals of a training, or less.
_TRAINING_SHARE = 0.85

app = typer.Typer(
    no_args_is_help=True,
    help="Perceptrons that stand in for Gaussian integrals.",
)

_Dir = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Folder of your own surrogates; default: INFFLOW_SURROGATES.",
        show_default=False,
    ),
]
_From = Annotated[
    str | None,
    typer.Option(
        "--activation-from",
        help="Where the activation is defined, e.g. my_module:my_activation (imported, so run as "
        "code); default: registered.",
        show_default=False,
    ),
]


@app.command("list", short_help="Cards of all surrogates: domains and errors.")
@reports_errors
def list_(
    directory: _Dir = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for surrogates.json.", show_default=False)
    ] = None,
    seed: UnusedSeed = None,
    json_output: JsonOutput = False,
) -> None:
    """The cards of all surrogates as a table: domain, errors on held-out points, size.

    Example: infflow surrogates list
    """
    from .. import surrogates

    cards = {name: surrogates.card(name, directory) for name in surrogates.available(directory)}
    file = write_report(out, "surrogates.json", cards)
    if json_output:
        typer.echo(json.dumps(cards))
        return
    if not cards:
        typer.echo("no surrogates found; train one with `infflow surrogates train NAME`")
        return
    typer.echo(
        f"{'activation':<12} {'r':<12} {'value':>17} {'gradient':>17} {'hessian':>17} "
        f"{'networks: loss, gradient, hessian':>34} {'kB':>5}"
    )
    for name, card in cards.items():
        low, high = card["domain"]["r"]
        pairs = [f"{e['median']:.0e} .. {e['maximum']:.0e}" for e in card["errors"].values()]
        medians = "  ".join(f"{e['median']:.1e}" for e in card["networks"].values())
        columns = " ".join(f"{pair:>17}" for pair in pairs)
        typer.echo(
            f"{name:<12} {f'{low:g} .. {high:g}':<12} {columns} {medians:>34} "
            f"{card['bytes'] / 1000:>5.0f}"
        )
    typer.echo(
        "errors: median .. maximum on held-out points, absolute; networks: median over random "
        "students and teachers"
    )
    if file is not None:
        typer.echo(f"wrote {file}")


@app.command(short_help="Compute the errors on the cards again.")
@reports_errors
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which; default: all.", show_default=False)
    ] = None,
    points: Annotated[int, typer.Option(min=100, help="Number of fresh points.")] = 2000,
    networks: Annotated[int, typer.Option(min=0, help="Number of random networks; 0: none.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of points and networks.")] = 0,
    activation_from: _From = None,
    directory: _Dir = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for verification.json.", show_default=False)
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Compute the errors on the cards again, with exact integrals at fresh points; exit code 1 if
    they do not hold.

    Example: infflow surrogates verify tanh --points 5000
    """
    from .. import surrogates

    chosen = names or list(surrogates.available(directory))
    if not chosen:
        raise InvalidValueError(
            "there are no surrogates to verify. Train one with `infflow surrogates train NAME`."
        )
    if activation_from is not None and len(chosen) != 1:
        raise InvalidValueError(
            f"--activation-from is for one surrogate, and {len(chosen)} are to be verified. Name "
            "one."
        )
    activation = None if activation_from is None else _imported(activation_from)
    if out is not None:
        make_folder(out)
    found = [
        surrogates.verify(
            name, points, seed, networks=networks, surrogates_dir=directory, activation=activation
        )
        for name in chosen
    ]
    report = {each.name: each.to_dict() for each in found}
    file = write_report(out, "verification.json", report)
    if json_output:
        typer.echo(json.dumps(report))
    else:
        for each in found:
            typer.echo(each.table())
        if file is not None:
            typer.echo(f"wrote {file}")
    if not all(each.holds for each in found):
        raise typer.Exit(1)


@app.command()
@reports_errors
def train(
    name: Annotated[str, typer.Argument(help="Name of the activation.")],
    activation_from: _From = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.npz and NAME.json.")] = Path(
        "out/surrogates"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of points and weights.")] = 0,
    max_time: Annotated[
        float, typer.Option(help="Seconds of processor time for all stages.")
    ] = 900.0,
    resume: Annotated[
        bool, typer.Option(help="Keep a checkpoint in the folder, and go on from it.")
    ] = True,
    json_output: JsonOutput = False,
) -> None:
    """Train a surrogate, measure its errors and write it with its card.

    Example: infflow surrogates train tanh --out out/surrogates
    """
    from .. import surrogates
    from ..activations import resolve
    from ..surrogates.training import train_surrogate

    activation = resolve(name) if activation_from is None else _imported(activation_from)
    if activation.name != name:
        raise InvalidValueError(
            f"the activation is called {activation.name!r}, not {name!r}. Give one name to both."
        )
    make_folder(out)
    checkpoint = out / f".{name}.checkpoint.npz" if resume else None
    try:
        form, info = train_surrogate(
            activation,
            seed=seed,
            max_time=_TRAINING_SHARE * max_time,
            checkpoint=checkpoint,
            progress=not json_output,
        )
    except KeyboardInterrupt:
        if checkpoint is not None and checkpoint.exists():
            typer.echo(f"the same command goes on from {checkpoint}", err=True)
        raise
    if not json_output:
        typer.echo(f"{name}, card: errors at fresh points and of random networks", err=True)
    found = surrogates.save(form, info, out, activation)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    if json_output:
        typer.echo(json.dumps(found.card))
        return
    for quantity, errors in found.card["errors"].items():
        typer.echo(
            f"{quantity:<9} median {errors['median']:.1e}, 99% {errors['99%']:.1e}, maximum "
            f"{errors['maximum']:.1e}"
        )
    typer.echo(f"wrote {found.path} and {found.path.with_suffix('.json')}")


def _imported(place: str) -> Activation:
    """The activation that ``module:object`` names; modules of the working folder are found."""
    from ..activations import Activation

    module, separator, attribute = place.partition(":")
    if not (module and separator and attribute):
        raise InvalidValueError(
            f"--activation-from is {place!r}; module:object is needed, e.g. "
            "my_module:my_activation."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidValueError(
            f"--activation-from {place!r} cannot be imported: {error}."
        ) from error
    if not isinstance(found, Activation):
        raise InvalidValueError(f"{place} is {found!r}; an inf.Activation is needed.")
    return found
