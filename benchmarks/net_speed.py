"""Gradient and Hessian of a one-hidden-layer net against PyTorch and JAX, on one core and in one
process.

    python -m benchmarks net_speed

The study ``speed`` with all that the bench extra installs, kept on one core whatever the libraries'
own settings are. Writes ``out/speed`` and prints the table.
"""

from __future__ import annotations

import os
from pathlib import Path


def one_core() -> None:
    """Must precede the import of the libraries."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    one_core()
    from infflow.studies.registry import run_study

    result = run_study("speed", out=Path("out/speed"))
    print(result.report())


if __name__ == "__main__":
    main()
