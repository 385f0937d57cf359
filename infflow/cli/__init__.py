"""The command line: one module per command, registered here.

Exit codes: 0 done, 1 failed, 2 bad usage.

| room or file | what it holds |
|---|---|
| `train.py`, `sweep.py` | runs from configuration files |
| `converge.py`, `study.py` | demo and studies |
| `integral.py`, `surrogates.py` | single integrals; files of surrogates |
| `info.py`, `warmup.py` | versions and threads; kernels compiled ahead |
| `files/` | configuration files |
| `_common.py`, `_events.py` | errors, exit codes, JSON; messages without a terminal |
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from . import converge, info, integral, study, surrogates, sweep, train, warmup
from ._common import complain, report_system_error


class _Application(typer.Typer):
    """The command ``infflow``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it; what cannot be written outside of a command, such as help, is reported as
        in one.
        """
        if sys.stdout is None:  # known now, and not after minutes
            complain(
                "cannot write the output: the standard output is closed. Send it to a file, or "
                "to /dev/null."
            )
            sys.exit(1)
        try:
            return super().__call__(*args, **kwargs)
        except OSError as error:
            report_system_error(error)
            sys.exit(1)


app = _Application(
    help="Teacher-student neural networks in the limit of infinite Gaussian data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # else the brackets of E[f g] are taken for markup
)

# In the order of --help. Lists of commands cut first sentences of docstrings at a line's end.
for command, summary in {
    train.train: "Train one network, as a configuration file says.",
    sweep.sweep: "Train all combinations of a grid of settings.",
    converge.converge: "The demo: finite against infinite data.",
    study.study: "Measure claims about teacher-student networks.",
    integral.integral: "One Gaussian integral of two activations.",
    info.info: "Versions, threads, and where compiled code is kept.",
    warmup.warmup: "Compile kernels ahead, once per machine.",
}.items():
    app.command(short_help=summary)(command)
app.add_typer(surrogates.app, name="surrogates")
