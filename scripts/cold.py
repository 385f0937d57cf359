"""What the first use costs: wall time and compiled functions in an empty kernel cache, as a table.

    python scripts/cold.py [--functions N]

Each case runs in a process of its own with an empty folder for compiled kernels, then once more
with the filled one. The unit is a process that imports numba and compiles one small function. Times
are wall times: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

UNIT = """
import numba
import numpy as np

@numba.njit(cache=True)
def norm2(x):
    total = 0.0
    for i in range(x.size):
        total += x[i] * x[i]
    return total

norm2(np.ones(3))
"""
EXAMPLE = """
import infflow as inf

teacher_net = inf.Net([(4, "{name}", True), (1, "identity", False)], input_dim=5)
teacher = inf.Teacher(teacher_net, inf.random_params(teacher_net, rng=1, init="standard_normal"))
student = inf.Net([(3, "{name}", True), (1, "identity", False)], input_dim=5)
net = inf.NetI(student, teacher)
res = inf.train(net, inf.random_params(net, rng=2), progress=False)
inf.hessian_spectrum(net, res.theta)
"""
FINITE = """
finite = net.sample(10_000, rng=3)
res_N = inf.train(finite, res.theta, progress=False)
inf.finite_data_prediction(net, res.theta, 10_000)
"""
CASES = {
    "one small function": UNIT,
    "README, erf": EXAMPLE.format(name="erf"),
    "README, tanh": EXAMPLE.format(name="tanh"),
    "README, erf and finite data": EXAMPLE.format(name="erf") + FINITE,
}
# Compile events nest; what a function's own compilation took is the rest.
LISTENER = """
import json, sys, time
from numba.core import event

class Listener(event.Listener):
    def __init__(self):
        self.open, self.rows = [], []

    def on_start(self, e):
        self.open.append([time.perf_counter(), 0.0])

    def on_end(self, e):
        start, inner = self.open.pop()
        took = time.perf_counter() - start
        if self.open:
            self.open[-1][1] += took
        function = e.data["dispatcher"].py_func
        self.rows.append((f"{function.__module__}.{function.__qualname__}", took - inner))

listener = Listener()
event.register("numba:compile", listener)
"""
REPORT = """
print(json.dumps(listener.rows))
"""


class Cold(NamedTuple):
    """One run in an empty cache, and one in the filled cache."""

    seconds: float
    again: float
    functions: list[tuple[str, float]]


def run(code: str, cache: str) -> tuple[float, str]:
    """Wall time and output of a new process."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
    script = Path(cache) / "case.py"  # numba keeps nothing of code that is in no file
    script.write_text(code)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"cold: a case failed:\n{done.stderr}")
    return time.perf_counter() - start, done.stdout


def measure(code: str) -> Cold:
    """Times in an empty and in a filled cache, and what was compiled."""
    with tempfile.TemporaryDirectory() as cache:
        seconds, _ = run(code, cache)
        again, _ = run(code, cache)
    with tempfile.TemporaryDirectory() as cache:
        _, output = run(LISTENER + code + REPORT, cache)
    return Cold(seconds, again, [tuple(row) for row in json.loads(output.splitlines()[-1])])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--functions", type=int, default=10, help="how many of the dearest functions to list"
    )
    limit = parser.parse_args().functions
    found = {name: measure(code) for name, code in CASES.items()}
    unit = found["one small function"].seconds
    print(
        "| case | empty cache, s | ratio to one function | filled cache, s | functions compiled |"
    )
    print("|---|---:|---:|---:|---:|")
    for name, cold in found.items():
        print(
            f"| {name} | {cold.seconds:.1f} | {cold.seconds / unit:.1f} | {cold.again:.2f} | "
            f"{len(cold.functions)} |"
        )
    for name, cold in list(found.items())[1:]:
        print(f"\n{name}: seconds of the dearest functions by themselves")
        for function, seconds in sorted(cold.functions, key=lambda row: -row[1])[:limit]:
            print(f"  {seconds:6.2f}  {function}")


if __name__ == "__main__":
    main()
