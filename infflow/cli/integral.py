"""``infflow integral``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ._common import JsonOutput, UnusedSeed, finite, reports_errors, write_report


@reports_errors
def integral(
    f: Annotated[str, typer.Argument(help="First activation.")],
    g: Annotated[str, typer.Argument(help="Second activation.")],
    r1: Annotated[float, typer.Option(help="Standard deviation of the first argument.")] = 1.0,
    r2: Annotated[float, typer.Option(help="Standard deviation of the second argument.")] = 1.0,
    u: Annotated[float, typer.Option(help="Correlation.")] = 0.0,
    b1: Annotated[float, typer.Option(help="Mean of the first argument.")] = 0.0,
    b2: Annotated[float, typer.Option(help="Mean of the second argument.")] = 0.0,
    p: Annotated[
        int, typer.Option(min=0, help="Order of the derivative of the first activation.")
    ] = 0,
    q: Annotated[
        int, typer.Option(min=0, help="Order of the derivative of the second activation.")
    ] = 0,
    method: Annotated[
        str, typer.Option(help="auto, or the name of one; a wrong name gets the list of them.")
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for integral.json.", show_default=False)
    ] = None,
    seed: UnusedSeed = None,
    json_output: JsonOutput = False,
) -> None:
    """E[f^(p)(r1 x + b1) g^(q)(r2 y + b2)] of standard normal x, y with correlation u.

    Example: infflow integral erf relu --r1 0.5 --r2 2 --u 0.3
    """
    from ..integrals.moments import gaussian_moment

    moment = gaussian_moment(
        f, g, r1, r2, u, b1, b2, orders=(p, q), method=method, full_output=True
    )
    value = float(moment.value)
    bound = float(moment.error_bound)
    used = str(moment.method)
    asked = {"f": f, "g": g, "r1": r1, "r2": r2, "u": u, "b1": b1, "b2": b2, "orders": [p, q]}
    found = {"value": value, "method": used, "error_bound": finite(bound)}
    file = write_report(out, "integral.json", {**asked, **found})
    if json_output:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{value:.17g}  ({used}, error below {bound:.1e})")
    if file is not None:
        typer.echo(f"wrote {file}")
