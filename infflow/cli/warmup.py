"""``infflow warmup``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ..errors import ClusterError
from ..terminal import Bar
from ._common import reports_errors
from ._events import say


@reports_errors
def warmup(
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
) -> None:
    """Compile kernels ahead of their first use: once per machine, 40 seconds on two idle cores.

    Example: infflow warmup --jobs 2
    """
    from concurrent.futures.process import BrokenProcessPool

    from ..warmup import WORKLOADS, warm_up

    start = time.monotonic()
    try:
        bar = Bar(total=len(WORKLOADS), desc="compiling", unit=" parts")
        for name in bar.over(warm_up(jobs)):
            if not bar.is_shown:
                say(f"compiled: {name}")
    except BrokenProcessPool as error:
        raise ClusterError(
            "a process that compiled has died, perhaps for lack of memory. Try --jobs 1."
        ) from error
    typer.echo(f"kernels are compiled ({time.monotonic() - start:.0f} s)")
