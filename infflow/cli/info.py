"""``infflow info``."""

from __future__ import annotations

import json

import typer

from ._common import JsonOutput, reports_errors


@reports_errors
def info(
    json_output: JsonOutput = False,
) -> None:
    """Versions and threads.

    Example: infflow info --json
    """
    import platform
    from importlib.metadata import version

    import numba

    packages = ("numpy", "scipy", "numba", "sympy", "scikit-learn", "matplotlib", "scikit-sundae")
    report = {
        "infflow": version("infflow"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numba_threads": numba.get_num_threads(),
        **{name: version(name) for name in packages},
    }
    if json_output:
        typer.echo(json.dumps(report))
    else:
        for name, value in report.items():
            typer.echo(f"{name:<14} {value}")
