"""A few times that are measured at every run of the benchmarks, as a history of the package.

    python -m benchmarks history [--page-only]

Each run appends one line to ``docs/benchmarks/history.jsonl``: commit, date, class of the machine,
how busy it was, and microseconds of processor time of each case on one thread (best of several
loops; others on the machine disturb its wall clock more). A loop of NumPy, which no commit changes,
is measured beside them: its time says how fast the machine was, and the page shows cases as
multiples of it. The page is ``docs/benchmarks/history.md``.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import infflow as inf

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
HISTORY = FOLDER / "history.jsonl"
PAGE = FOLDER / "history.md"
#: rows of the page: the last so many runs
SHOWN = 30

SENTENCES = {
    "numpy": "the loop of NumPy: a product of two 200 x 200 matrices, and exp of 10^5 numbers",
    "moment": "`inf.gaussian_moment` of relu and erf at 1,000 points, closed form",
    "series": "`inf.gaussian_moment` of mish with itself at 100 points, Hermite series",
    "neti gradient": "gradient of a `NetI`: erf, 10 students, 10 teachers, 20 inputs",
    "neti hessian": "its Hessian",
    "net gradient": "gradient of a `Net`: 2-20-1 softplus, 1,000 samples",
    "net hessian": "its Hessian",
    "ntk": "`inf.ntk_kernel`: tanh, two layers, 100 x 100 inputs",
    "train": "`inf.train` of 3 erf students of 4 teachers, flow and Newton's method",
}


def cases() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(200, 200))
    x = rng.normal(size=100_000)
    yield "numpy", lambda: (A @ A, np.exp(x))
    r = rng.uniform(0.5, 2.0, (2, 1000))
    u = rng.uniform(-0.9, 0.9, 1000)
    yield "moment", lambda: inf.gaussian_moment("relu", "erf", r[0], r[1], u, method="closed")
    few = (r[0, :100], r[1, :100], 0.5 * u[:100])
    yield "series", lambda: inf.gaussian_moment("mish", "mish", *few, method="hermite")
    student = inf.Net([(10, "erf", True), (1, "identity", True)], input_dim=20)
    neti = inf.NetI(student, inf.Teacher(student, inf.random_params(student, 1)))
    yield from derivatives("neti", neti)
    X = rng.normal(size=(1000, 2))
    layers = [(20, "softplus", True), (1, "identity", True)]
    yield from derivatives("net", inf.Net(layers, input=X, target=np.sin(X[:, 0])))
    inputs = rng.normal(size=(100, 10))
    yield "ntk", lambda: inf.ntk_kernel(["tanh", "tanh"], inputs, weight_std=1.5, bias_std=0.1)
    few_students = inf.Net([(3, "erf", True), (1, "identity", False)], input_dim=5)
    teacher = inf.Net([(4, "erf", True), (1, "identity", False)], input_dim=5)
    small = inf.NetI(few_students, inf.Teacher(teacher, inf.random_params(teacher, 1)))
    start = inf.random_params(few_students, 2)
    yield "train", lambda: inf.train(small, start, progress=False)


def derivatives(name: str, net: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Gradient and Hessian at two points in turn, so that nothing is remembered."""
    points = [inf.random_params(net, seed) for seed in (2, 3)]
    yield f"{name} gradient", lambda: [inf.gradient(net, theta) for theta in points]
    yield f"{name} hessian", lambda: [inf.hessian(net, theta) for theta in points]


def microseconds(function: Callable[[], Any]) -> float:
    """Processor time of one call; the best of seven loops of about 50 ms."""
    function()
    timer = time.process_time
    number = max(1, int(0.05 / max(timeit.timeit(function, number=1, timer=timer), 1e-6)))
    return 1e6 * min(timeit.repeat(function, number=number, repeat=7, timer=timer)) / number


def measured() -> dict[str, Any]:
    """One line of the history."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "version": inf.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "microseconds": {name: float(f"{microseconds(call):.4g}") for name, call in cases()},
    }


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=FOLDER, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../../infflow")
    return git("rev-parse", "--short=9", "HEAD") + "+" * bool(changed)


def read(path: Path = HISTORY) -> list[dict[str, Any]]:
    """All lines of a history, the oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def page(history: list[dict[str, Any]]) -> str:
    """The page of a history."""
    names = [name for name in SENTENCES if name != "numpy"]
    lines = [
        "# Speed: history of the timed cases",
        "",
        "`make bench` measures these cases, on one thread, and appends a line to",
        "[history.jsonl](history.jsonl) (`python -m benchmarks history` does so alone). A case is",
        "shown as a multiple of a loop of NumPy in the same run, since machines and their load",
        "differ; the loop's own time is in milliseconds. Times are processor time. Load is that of",
        "the last minute, in processes: caches suffer where it is above the number of cores.",
        "",
        "| case | what is timed |",
        "|---|---|",
        *(f"| {name} | {sentence} |" for name, sentence in SENTENCES.items()),
        "",
        f"| commit | date | machine | load | numpy, ms | {' | '.join(names)} |",
        "|---|---|---|" + "---:|" * (len(names) + 2),
    ]
    for row in reversed(history[-SHOWN:]):
        times = row["microseconds"]
        unit = times["numpy"]
        cells = [row["commit"], row["date"], row["machine"], str(row["load"]), f"{unit / 1e3:.2f}"]
        cells += [f"{times[name] / unit:.3g}" if name in times else "-" for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> None:
    if "--page-only" not in arguments:
        row = measured()
        with HISTORY.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))
    PAGE.write_text(page(read(HISTORY)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
