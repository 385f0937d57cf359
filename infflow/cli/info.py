"""``infflow info``."""

from __future__ import annotations

import json
from typing import Any

import typer

from ._common import JsonOutput, reports_errors

_NEEDED = (
    "numpy",
    "scipy",
    "numba",
    "sympy",
    "scikit-learn",
    "matplotlib",
    "scikit-sundae",
    "joblib",
)
_OPTIONAL = ("python-flint", "dask", "pandas", "xarray", "nlopt", "torch")


@reports_errors
def info(
    json_output: JsonOutput = False,
) -> None:
    """Versions, threads, and the folder with compiled code.

    Example: infflow info --json
    """
    report = _report()
    if json_output:
        typer.echo(json.dumps(report))
        return
    for name, value in report.items():
        typer.echo(f"{name:<16} {'-' if value is None else value}")


def _report() -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def found(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    import numba

    from .._version import __version__
    from ..activations import kernels as activation_kernels

    return {
        "infflow": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "numba_threads": numba.get_num_threads(),
        "blas_threads": _blas_threads(),
        "cache": _cache_of(activation_kernels),
        **{name: found(name) for name in (*_NEEDED, *_OPTIONAL)},
    }


def _blas_threads() -> int | None:
    import numpy  # noqa: F401  brings its BLAS
    from threadpoolctl import threadpool_info

    return max(
        (library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"),
        default=None,
    )


def _cache_of(module: Any) -> str | None:
    """Where numba keeps the code that it compiled from a module; None if it keeps none."""
    from numba.core.dispatcher import Dispatcher

    paths = (
        value.stats.cache_path for value in vars(module).values() if isinstance(value, Dispatcher)
    )
    return next((str(path) for path in paths if path is not None), None)
