"""What ``inf.train`` takes to the end of a path, with its defaults and with every other solver.

    python -m benchmarks defaults

erf networks without biases and teachers of the same size, 10 to 10,000 parameters, on infinite data
and on 2,000 samples: the flow from random starts and the search of the fixed point, as by default
but for the solver and for a limit of the time. The table is written to
``docs/benchmarks/defaults.md``.
"""

from __future__ import annotations

import platform
import time
import warnings
from pathlib import Path

import numpy as np

import infflow as inf
from infflow.flow import automatic_solver

from .solvers import OURS, SIZES, sized

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "defaults.md"
STARTS = {10: 4, 100: 4, 1000: 2, 10_000: 1}
LIMIT = {10: 30.0, 100: 30.0, 1000: 60.0, 10_000: 60.0}  # seconds of the flow, and of the search
SMALL = (
    "gear",
    "cvode_bdf, dense",
    "cvode_bdf, switch",
    "cvode_bdf, GMRES",
    "lsoda",
    "rodas5p",
    "exprb",
    "kencarp58",
    "tsit5",
)
LARGE = ("gear", "cvode_bdf, dense", "cvode_bdf, switch", "cvode_bdf, GMRES", "tsit5")
HUGE = ("cvode_bdf, GMRES", "tsit5")
CANDIDATES = {10: SMALL, 100: SMALL, 1000: LARGE, 10_000: HUGE}


def _limits() -> str:
    return ", ".join(f"{limit:g} s at {n:,} parameters" for n, limit in LIMIT.items())


def to_the_end(net, theta: np.ndarray, name: str, limit: float) -> tuple[float, inf.Result]:
    """Processor time and result of a whole run."""
    solver, options = OURS[name]
    begin = time.process_time()
    found = inf.train(
        net,
        theta,
        solver=solver,
        solver_options=options,
        max_time_flow=limit,
        max_time_newton=limit,
        progress=False,
        reduce=False,  # sizes are those of the problem
    )
    return time.process_time() - begin, found


def rows(parameters: int, data: int | None) -> list[str]:
    """One row per solver; the one that is taken by default is bold."""
    net, _ = sized(parameters, data)
    lines = []
    for name in CANDIDATES[parameters]:
        runs = [to_the_end(net, inf.random_params(net, 2), name, 1.0)]  # compiles
        starts = (inf.random_params(net, seed) for seed in range(2, 2 + STARTS[parameters]))
        runs = [to_the_end(net, theta, name, LIMIT[parameters]) for theta in starts]
        seconds = ", ".join(f"{seconds:.2f}" for seconds, _ in runs)
        losses = ", ".join(f"{found.loss:.1e}" for _, found in runs)
        norm = max(found.gradient_norm for _, found in runs)
        steps = ", ".join(str(found.flow.steps) for _, found in runs)
        times = ", ".join(f"{found.trajectory.t[-1]:.0e}" for _, found in runs)
        shown = f"**{name}**" if OURS[name] == automatic_solver(parameters) else name
        what = "infinite" if data is None else f"{data} samples"
        lines.append(
            f"| {parameters} | {what} | {shown} | {seconds} | {steps} | {times} | {losses} | "
            f"{norm:.0e} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    warnings.filterwarnings("ignore")
    inf.set_num_threads(1)
    text = [
        "# Speed: whole runs of `inf.train` by size",
        "",
        (
            "Flow and search of the fixed point with every solver, one thread "
            f"({platform.machine()}), start by start; bold: what `solver=\"auto\"` takes. The"
        ),
        f"flow was given {_limits()}, the search the same. erf networks without biases, teachers",
        "of the same size; in all parameters (`reduce=False`). Made by "
        "`python -m benchmarks defaults`.",
        "",
        (
            "| parameters | data | solver | processor time, s | steps of the flow | end of the "
            "flow "
            "| loss | gradient norm at most |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for parameters in SIZES:
        for data in (None, 2000):
            text += rows(parameters, data)
    TARGET.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
