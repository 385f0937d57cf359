"""The paper's largest case in time and memory: 784-100-10, relu, softmax: 79,510 parameters, 70,000
samples.

    python -m benchmarks large python -m benchmarks.large [--seconds 90] [--clock wall|cpu]
    [--threads 1] [--samples 70000] [--out PAGE]

The data are synthetic, of the size of the paper's MNIST run: Gaussian clusters, one per class.
After single gradients and Hessian-vector products, ``train`` runs for ``--seconds`` with CVODE
(BDF, GMRES on Hessian-vector products) and with L-BFGS. Memory is the highest resident set so far,
above the process with data and libraries loaded. The page is written to
``docs/benchmarks/large.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "large.md"
INPUTS = 784
HIDDEN = 100
CLASSES = 10
MAXNORM = 400.0  # the Glorot start has |theta|^2/2 = 100
TOLERANCE = 1e-3
# expected length of a cluster's mean, in units of the noise: 2 % of the best possible labels are
# wrong
SEPARATION = 4.0
CLOCKS = ("wall", "cpu")
FLOW = {
    "solver": "cvode_bdf",
    "solver_options": {"linear_solver": "gmres"},
    "rtol": TOLERANCE,
    "atol": TOLERANCE,
    "max_steps_newton": 0,
}
LBFGS = {"optimizer": "lbfgs", "max_steps_flow": 0}


def clusters(samples, rng):
    """Inputs ``(N, 784)`` and labels ``(N,)``; made in place, so that the data are all the memory
    that is used.
    """
    labels = rng.integers(CLASSES, size=samples)
    means = SEPARATION / np.sqrt(INPUTS) * rng.standard_normal((CLASSES, INPUTS))
    X = np.empty((samples, INPUTS))
    for start in range(0, samples, 1000):
        part = X[start : start + 1000]
        rng.standard_normal(out=part)
        part += means[labels[start : start + 1000]]
    return X, labels


def network(X, labels, hidden=HIDDEN):
    layers = [(hidden, "relu", True), (CLASSES, "identity", True)]
    return inf.Net(layers, input=X, target=labels, loss="cross_entropy", maxnorm=MAXNORM)


def peak():
    """Highest resident set of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Meter:
    """Wall and processor time since it was made."""

    def __init__(self):
        self._begin = time.perf_counter(), time.process_time()

    def read(self):
        return time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]


def single(name, call, baseline, repeats=3):
    """A row for one kind of evaluation, the mean over some repetitions."""
    call()
    meter = Meter()
    for _ in range(repeats):
        call()
    wall, cpu = (t / repeats for t in meter.read())
    return {"what": name, "wall": wall, "cpu": cpu, "memory": peak() - baseline}


def training(name, net, theta0, seconds, clock, arguments, baseline):
    """A row for one run of ``train``, which the callback ends after ``seconds`` of ``clock``."""
    meter = Meter()
    result = inf.train(
        net,
        theta0,
        max_time_flow=np.inf,
        max_time_newton=np.inf,
        num_trajectory=2,  # a recorded trajectory of 100 points would take 64 MB or more
        progress=False,
        callback=lambda _: meter.read()[CLOCKS.index(clock)] >= seconds,
        **arguments,
    )
    wall, cpu = meter.read()
    memory = peak() - baseline
    stage = result.newton if stage_is_second(arguments) else result.flow
    return {
        "what": name,
        "steps": stage.steps,
        "gradients": stage.gradients,
        "hvps": stage.hvps,
        "loss": result.loss,
        "accuracy": accuracy(net, result.theta),
        "wall": wall,
        "cpu": cpu,
        "memory": memory,
    }


def accuracy(net, theta):
    """On the training data, a part at a time, so that little memory is needed."""
    X = net.data.X
    labels = net.data.target
    parts = range(0, len(X), 1000)
    return sum(
        (net.predict(theta, X[k : k + 1000]).argmax(1) == labels[k : k + 1000]).sum() for k in parts
    ) / len(X)


def stage_is_second(arguments):
    return arguments.get("max_steps_flow") == 0


def warm_up():
    """Compile and load everything on a problem so small that it leaves no memory behind in which
    the measured one could hide.
    """
    net = network(*clusters(200, np.random.default_rng(1)), hidden=2)
    theta = inf.random_params(net, rng=0)
    for arguments in (FLOW, LBFGS):
        inf.train(
            net,
            theta,
            progress=False,
            num_trajectory=2,
            **{"max_steps_flow": 2, "max_steps_newton": 2} | arguments,
        )


def measure(samples, seconds, clock, seed=0):
    """The rows of both tables, and what they were measured on.

    Returns
    -------
    singles, runs : list of dict
    setting : dict
    """
    warm_up()
    rng = np.random.default_rng(seed)
    X, labels = clusters(samples, rng)
    baseline = peak()
    meter = Meter()
    net = network(X, labels)
    wall, cpu = meter.read()
    singles = [
        {
            "what": "`Net(...)`: checks of the data",
            "wall": wall,
            "cpu": cpu,
            "memory": peak() - baseline,
        }
    ]
    theta = inf.random_params(net, rng=rng)
    v = rng.standard_normal(net.num_params)
    singles.append(single("loss", lambda: net.evaluate(theta, 0), baseline))
    singles.append(single("loss and gradient", lambda: net.evaluate(theta, 1), baseline))
    singles.append(single("Hessian-vector product", lambda: net.hvp(theta, v), baseline))
    runs = [
        training(
            f"`cvode_bdf`, GMRES, rtol = atol = {TOLERANCE:g}",
            net,
            theta,
            seconds,
            clock,
            FLOW,
            baseline,
        ),
        training("`lbfgs`", net, theta, seconds, clock, LBFGS, baseline),
    ]
    setting = {"net": repr(net), "data": X.nbytes / 1e6, "vector": theta.nbytes / 1e6, "seed": seed}
    return (
        singles,
        runs,
        setting | {"initial_loss": net.evaluate(theta).value, "load": os.getloadavg()[0]},
    )


def page(singles, runs, setting, threads):
    """The page in Markdown."""
    lines = [
        "# Speed: the paper's largest case",
        "",
        (
            f"`{setting['net']}`: relu, softmax with the cross-entropy, barrier beyond "
            "|theta|^2/2 = "
            f"{MAXNORM:g}; synthetic data,"
        ),
        (
            f"one Gaussian cluster per class, seed {setting['seed']}. The inputs take "
            f"{setting['data']:.0f} MB, a vector of parameters {setting['vector']:.2f} MB."
        ),
        (
            f"{threads} thread{'s' * (threads != 1)} of BLAS, {os.cpu_count()} cores, "
            f"{platform.machine()}, NumPy "
            f"{np.__version__}. Where wall time and processor time differ,"
        ),
        (
            f"others used the machine (load average at the end {setting['load']:.1f}); with one "
            "thread the processor time is the wall time of an idle machine."
        ),
        "",
        (
            "Memory is the highest resident set so far above the process with libraries and data "
            "loaded; each row includes what the ones before it left."
        ),
        "Made by `python -m benchmarks large`.",
        "",
        "| | wall s | processor s | memory MB |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r['what']} | {r['wall']:.2f} | {r['cpu']:.2f} | {r['memory']:.0f} |" for r in singles
    ]
    lines += [
        "",
        f"Training from Glorot's start, loss {setting['initial_loss']:.3f}:",
        "",
        (
            "| | steps | gradients | products | wall s | processor s | processor s per step | loss "
            "| training accuracy | memory MB |"
        ),
        "|---|" + "---:|" * 9,
    ]
    for r in runs:
        lines.append(
            f"| {r['what']} | {r['steps']} | {r['gradients']} | {r['hvps']} | {r['wall']:.0f} | "
            f"{r['cpu']:.0f} | "
            f"{r['cpu'] / max(r['steps'], 1):.2f} | {r['loss']:.3e} | {r['accuracy']:.2%} | "
            f"{r['memory']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=90.0, help="time of each run of train (90)"
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="what seconds are: wall, or processor time (wall)",
    )
    parser.add_argument("--samples", type=int, default=70_000, help="number of samples (70000)")
    parser.add_argument("--threads", type=int, default=1, help="threads of BLAS (1)")
    parser.add_argument("--seed", type=int, default=0, help="of data and start (0)")
    parser.add_argument(
        "--out", type=Path, default=TARGET, help="file for the page (docs/benchmarks/large.md)"
    )
    given = parser.parse_args(argv)
    inf.set_num_threads(given.threads)
    text = page(*measure(given.samples, given.seconds, given.clock, given.seed), given.threads)
    print(text, end="")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text)


if __name__ == "__main__":
    main()
