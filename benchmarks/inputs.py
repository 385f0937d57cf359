"""How cost grows with the numbers of inputs and of neurons.

    python -m benchmarks inputs
    python -m benchmarks.inputs [--largest 1000000] [--widest 1000] [--out PAGE]

Students and teachers of erf neurons on standard normal input, weights of variance 1/D. The first
table trains 10 students on 10 teachers to a gradient norm of 1e-12, for D from 10 to 10^6; each
number of inputs has a process of its own, whose highest memory is shown. The second one evaluates
the loss of K students for K from 2 to 1,000, in all inputs and in those that the weights span. The
page is written to ``docs/benchmarks/inputs.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "inputs.md"
TEACHERS = 10
STUDENTS = 10
GRADIENT = 1e-12
#: up to this many inputs a run in all parameters is made for comparison
WHOLE = 1000
#: inputs of the second table
SPACE = 2000


def problem(D, K, M=TEACHERS, seed=0):
    """A network, and a start with output weights one."""
    generator = np.random.default_rng(seed)
    t = inf.Net([(M, "erf", False), (1, "identity", False)], input_dim=D)
    s = inf.Net([(K, "erf", False), (1, "identity", False)], input_dim=D)
    V, W = (generator.standard_normal((k, D)) / np.sqrt(D) for k in (M, K))
    teacher = inf.Teacher(t, t.pack([(V, None), (np.ones((1, M)), None)]))
    return inf.NetI(s, teacher), s.pack([(W, None), (np.ones((1, K)), None)])


class Clock:
    """Processor seconds since it was last read: on one thread those of an idle machine."""

    def __init__(self):
        self._last = time.process_time()

    def __call__(self):
        now = time.process_time()
        taken = now - self._last
        self._last = now
        return taken


def peak():
    """Highest resident set of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def run(D):
    """One row of the first table, in this process."""
    small, start = problem(30, STUDENTS)
    settings = {"min_gradient_norm": GRADIENT, "progress": False}
    inf.classify(small, inf.train(small, start, **settings), progress=False)  # compiles
    clock = Clock()
    neti, theta = problem(D, STUDENTS)
    row = {"D": D, "parameters": neti.num_params, "set up": clock()}
    red = inf.reduce(neti, theta)
    row |= {"short": red.net.num_params, "rotate": clock()}
    del red
    clock()
    found = inf.train(neti, theta, **settings)
    row |= {"train": clock(), "loss": found.loss, "gradient": found.gradient_norm}
    row["status"] = found.status.name
    kind = inf.classify(neti, found, progress=False)
    row |= {"classify": clock(), "kind": kind.kind.name.lower(), "memory": peak()}
    if D <= WHOLE:
        clock()
        whole = inf.train(neti, theta, reduce=False, **settings)
        row |= {"whole": clock(), "whole gradient": whole.gradient_norm}
    return row


def in_process(D):
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.inputs", "--row", str(D)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def seconds(work, least=0.2):
    """Processor seconds of one call, the mean over several."""
    work()
    calls = 0
    start = time.process_time()
    while time.process_time() - start < least:
        work()
        calls += 1
    return (time.process_time() - start) / calls


def evaluation(K, D=SPACE):
    """One row of the second table."""
    neti, theta = problem(D, K)
    red = inf.reduce(neti, theta)
    row = {"K": K, "parameters": neti.num_params, "short": red.net.num_params}
    for name, net, point in (("whole", neti, theta), ("span", red.net, red.theta)):
        moved = [point, point * (1.0 + 1e-9)]  # points that were evaluated are remembered
        row[f"gradient {name}"] = seconds(lambda net=net, p=moved: [net.evaluate(x, 1) for x in p])
        v = np.ones(net.num_params)
        row[f"product {name}"] = seconds(lambda net=net, p=moved, v=v: [net.hvp(x, v) for x in p])
        row[f"gradient {name}"] /= 2
        row[f"product {name}"] /= 2
    return row


def number(x):
    return f"{x:,}"


def ms(x):
    return f"{1e3 * x:,.2f}" if x < 0.1 else f"{1e3 * x:,.0f}"


def first_table(rows):
    lines = [
        "| D | parameters | in the span | set up s | rotate s | train s | in all parameters s | "
        "gradient norm | classify s | point | memory MB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        whole = f"{row['whole']:.2f}" if "whole" in row else ""
        lines.append(
            f"| {number(row['D'])} | {number(row['parameters'])} | {number(row['short'])} | "
            f"{row['set up']:.2f} | {row['rotate']:.2f} | {row['train']:.2f} | {whole} | "
            f"{row['gradient']:.1e} | {row['classify']:.2f} | {row['kind']} | "
            f"{row['memory']:,.0f} |"
        )
    return lines


def second_table(rows):
    lines = [
        "| K | parameters | in the span | loss and gradient ms | in the span ms | "
        "Hessian-vector product ms | in the span ms |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        times = [ms(row[f"{what} {where}"]) for what in ("gradient", "product") for where in PLACES]
        lines.append(
            f"| {number(row['K'])} | {number(row['parameters'])} | {number(row['short'])} | "
            + " | ".join(times)
            + " |"
        )
    return lines


PLACES = ("whole", "span")


def page(first, second):
    load = os.getloadavg()[0]
    text = [
        "# Speed: how cost grows with inputs and neurons",
        "",
        "The loss of Gaussian input depends on weights through few products, and the gradient flow "
        "never leaves the span",
        "of the rows of students and teachers ([mathematics](../mathematics.md)). So "
        "`inf.train` runs in n = min(D, K + M + 1) inputs whatever D is;",
        "what grows with D is drawing the weights, the rotation into the span (once), and the "
        "results, which have all parameters.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, NumPy {np.__version__}; "
        f"processor seconds (load average at the end {load:.1f}). Made by "
        "`python -m benchmarks inputs`.",
        "",
        f"## Inputs: {STUDENTS} students, {TEACHERS} teachers",
        "",
        f"Erf, output weights trained too, to a gradient norm of {GRADIENT:g} in all parameters. "
        "`set up` draws weights and",
        "makes the network, `rotate` is `inf.reduce` alone (a part of `train`), `in all "
        f"parameters` is `train(reduce=False)` up to D = {WHOLE}.",
        "`memory` is the highest resident set of the process, libraries and compiled kernels "
        "included.",
        "",
        *first_table(first),
        "",
        "With as many inputs as weights span, or fewer, nothing is saved.",
        "",
        f"## Neurons: K students, {TEACHERS} teachers, {number(SPACE)} inputs",
        "",
        "A gradient takes an integral for each of the K (K + 2 M + 1)/2 pairs, and products of "
        "their coefficients with the weights;",
        "in the span the latter have K + M columns in the place of D.",
        "",
        *second_table(second),
        "",
    ]
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=10**6, help="most inputs")
    parser.add_argument("--widest", type=int, default=1000, help="most students")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--row", type=int, help="only print one row of the first table")
    given = parser.parse_args()
    if given.row is not None:
        print(json.dumps(run(given.row)))
        return 0
    inputs = [D for D in (10, 30, 100, 300, 1000, 10**4, 10**5, 10**6) if given.largest >= D]
    first = []
    for D in inputs:
        first.append(in_process(D))
        print(first[-1], flush=True)
    second = []
    for K in (k for k in (2, 10, 30, 100, 300, 1000) if k <= given.widest):
        second.append(evaluation(K))
        print(second[-1], flush=True)
    given.out.write_text(page(first, second))
    return 0


if __name__ == "__main__":
    sys.exit(main())
