"""The command line: one module per command, registered here.

Exit codes: 0 done, 1 failed, 2 bad usage.
"""

from __future__ import annotations

import typer

from . import converge, info, integral, study, surrogates, sweep, train

app = typer.Typer(
    help="Teacher-student neural networks in the limit of infinite Gaussian data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # else the brackets of E[f g] are taken for markup
)

for command in (  # in the order of --help
    train.train,
    sweep.sweep,
    converge.converge,
    study.study,
    integral.integral,
    info.info,
):
    app.command()(command)
app.add_typer(surrogates.app, name="surrogates")
