"""Train a softmax network on scikit-learn's digits: the gradient flow by CVODE next to Adam, at
equal wall time.

    python scripts/train_digits.py [--seconds 20] [--hidden 50] [--out out/digits] [--seed 0]
    [--clock wall|cpu] [--quick]

One network and one start for all runs: full-batch Adam with three step sizes, CVODE's BDF with
GMRES on Hessian-vector products with three tolerances, and L-BFGS as a third party. Losses and
accuracies are evaluated after the runs, at points that were kept on the way, so that looking costs
no method any time. Prints a table, writes ``digits.png`` and ``digits.json``. On a machine that
others use, ``--clock cpu`` is the fair clock: with one thread, the processor time of a run is the
wall time that it takes on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import infflow as inf
from infflow.plotting import new_axes
from infflow.plotting.style import BLUE, ORANGE, PAGE_WIDTH, color, tidy

LEVELS = (1e-1, 1e-2)
"""The table says when the loss first fell to these."""

SPACING = 1.1
"""Points are kept when the time has grown by this factor."""

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Method:
    """One run: its name in the table and the arguments of ``inf.train``."""

    name: str
    arguments: dict
    colour: str
    dashes: str = "-"

    @property
    def is_flow(self):
        return self.arguments.get("solver") == "cvode_bdf"

    @property
    def is_adam(self):
        return self.arguments.get("solver") == "adam"


def flow(tolerance, dashes="-"):
    options = {
        "solver": "cvode_bdf",
        "solver_options": {"linear_solver": "gmres"},
        "rtol": tolerance,
        "atol": tolerance,
    }
    return Method(
        f"CVODE, tolerance {tolerance:.0e}", options | {"max_steps_newton": 0}, BLUE, dashes
    )


def adam(step_size, dashes="-"):
    options = {"solver": "adam", "step_size": step_size, "max_steps_newton": 0}
    return Method(f"Adam, step size {step_size:g}", options, ORANGE, dashes)


LBFGS = Method("L-BFGS", {"optimizer": "lbfgs", "max_steps_flow": 0}, color(2))
METHODS = [
    flow(1e-2, ":"),
    flow(1e-4),
    flow(1e-6, "--"),
    adam(1e-3),
    adam(3e-3, "--"),
    adam(1e-2, ":"),
    LBFGS,
]
QUICK = [flow(1e-4), adam(1e-3), LBFGS]


class Stopwatch:
    """The network as solvers see it, with the time that they spend in it."""

    def __init__(self, net, clock):
        self.net = net
        self.num_params = net.num_params
        self.clock = clock
        self.gradient_time = self.hvp_time = 0.0

    def evaluate(self, theta, order=0):
        begin = self.clock()
        found = self.net.evaluate(theta, order)
        self.gradient_time += self.clock() - begin
        return found

    def hvp(self, theta, v):
        begin = self.clock()
        found = self.net.hvp(theta, v)
        self.hvp_time += self.clock() - begin
        return found


class Recorder:
    """The callback: keeps time and parameters at geometrically spaced times; stops the run when
    ``seconds`` are over.
    """

    def __init__(self, clock, seconds):
        self.clock = clock
        self.seconds = seconds
        self.points = []
        self.begin = clock()

    def __call__(self, progress):
        now = self.elapsed()
        over = now >= self.seconds
        if over or not self.points or now > SPACING * self.points[-1][0]:
            self.points.append((now, progress.step, progress.theta.copy()))
        return over

    def elapsed(self):
        return self.clock() - self.begin


@dataclass
class Run:
    """What came of one run. ``loss`` and the accuracies belong to the best point that it saw."""

    name: str
    arguments: dict
    loss: float
    last_loss: float  #: where the run ended
    train_accuracy: float
    test_accuracy: float
    steps: int
    gradients: int
    hvps: int
    seconds: float  #: by the clock of the comparison, as all times here
    gradient_time: float  #: within gradients
    hvp_time: float  #: within Hessian-vector products
    half_square_norm: float  #: |theta|^2/2, to be compared with maxnorm
    stop_reason: str
    seconds_to: dict = field(
        default_factory=dict
    )  #: level of the loss: time at which it was first reached, or None
    curve: dict = field(
        default_factory=dict
    )  #: seconds, steps, loss, test_accuracy at the points kept

    @property
    def own_share(self):
        """Fraction of the time that was spent outside of gradients and products: the method's own
        work.
        """
        return 1.0 - (self.gradient_time + self.hvp_time) / self.seconds


def load(seed):
    """Training and test images, scaled to [0, 1], with their labels: three quarters and one
    quarter.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16.0, y, test_size=0.25, stratify=y, random_state=seed)


def accuracy(net, theta, X, y):
    return float((net.predict(theta, X).argmax(axis=1) == y).mean())


def run(method, net, theta0, seconds, clock, test):
    """Train for ``seconds`` and evaluate what was kept."""
    few = {"max_steps_flow": 2, "max_steps_newton": 2} | method.arguments
    inf.train(
        net, theta0, progress=False, **few
    )  # everything is compiled and loaded before the clock starts
    watch = Stopwatch(net, clock)
    record = Recorder(clock, seconds)
    result = inf.train(
        watch,
        theta0,
        max_time_flow=np.inf,
        max_time_newton=np.inf,
        num_trajectory=2,
        progress=False,
        callback=record,
        **method.arguments,
    )
    used = record.elapsed()
    stage = result.newton if method is LBFGS else result.flow
    seconds_at, steps, points = zip(*record.points, strict=True)
    losses = [net.evaluate(theta).value for theta in points]
    first = {
        level: [s for s, loss in zip(seconds_at, losses, strict=True) if loss <= level][:1]
        for level in LEVELS
    }
    return Run(
        name=method.name,
        arguments=method.arguments,
        loss=result.loss,
        last_loss=losses[-1],
        train_accuracy=accuracy(net, result.theta, net.data.X, net.data.target),
        test_accuracy=accuracy(net, result.theta, *test),
        steps=stage.steps,
        gradients=stage.gradients,
        hvps=stage.hvps,
        seconds=used,
        gradient_time=watch.gradient_time,
        hvp_time=watch.hvp_time,
        half_square_norm=0.5 * float(result.theta @ result.theta),
        stop_reason=stage.stop_reason.name,
        seconds_to={str(level): found[0] if found else None for level, found in first.items()},
        curve={
            "seconds": list(seconds_at),
            "steps": list(steps),
            "loss": losses,
            "test_accuracy": [accuracy(net, theta, *test) for theta in points],
        },
    )


def table(runs):
    """A table in Markdown."""
    levels = " | ".join(f"s to {level:g}" for level in LEVELS)
    lines = [
        (
            f"| method | lowest loss | last loss | train | test | {levels} | steps | gradients | "
            "products | ms/gradient | ms/product | own time |"
        ),
        "|---|" + "---:|" * (10 + len(LEVELS)),
    ]
    for r in runs:
        per_product = f"{1e3 * r.hvp_time / r.hvps:.2f}" if r.hvps else "-"
        reached = " | ".join("-" if s is None else f"{s:.2f}" for s in r.seconds_to.values())
        lines.append(
            f"| {r.name} | {r.loss:.3e} | {r.last_loss:.3e} | {r.train_accuracy:.2%} | "
            f"{r.test_accuracy:.2%} | {reached} | {r.steps} | "
            f"{r.gradients} | {r.hvps} | {1e3 * r.gradient_time / r.gradients:.2f} | "
            f"{per_product} | {r.own_share:.0%} |"
        )
    return "\n".join(lines)


def verdict(runs, methods):
    """Who won, one line per question."""
    pairs = list(zip(runs, methods, strict=True))
    lines = []
    for what, loss in (("lowest loss", lambda r: r.loss), ("last loss", lambda r: r.last_loss)):
        best_flow = min((r for r, m in pairs if m.is_flow), key=loss)
        best_adam = min((r for r, m in pairs if m.is_adam), key=loss)
        first, second = sorted((best_flow, best_adam), key=loss)
        winner = min(runs, key=loss)
        lines.append(
            f"{what}: of flow and Adam {first.name} wins, {loss(first):.3e} against "
            f"{loss(second):.3e} of {second.name}; "
            f"of all {winner.name}, {loss(winner):.3e}"
        )
    highest = max(r.test_accuracy for r in runs)
    winners = ", ".join(r.name for r in runs if r.test_accuracy == highest)
    return "\n".join([*lines, f"highest test accuracy: {winners}, {highest:.2%}"])


def plot(runs, methods, clock, path):
    """Loss against time, log-log."""
    ax = new_axes(PAGE_WIDTH, 4.2)
    for r, method in zip(runs, methods, strict=True):
        seconds = np.maximum(r.curve["seconds"], 5e-3)
        ax.loglog(
            seconds,
            r.curve["loss"],
            method.dashes,
            color=method.colour,
            label=r.name,
            linewidth=1.3,
        )
    ax.set_xlabel({"wall": "wall time (s)", "cpu": "processor time (s), one thread"}[clock])
    ax.set_ylabel("training loss, barrier included")
    ax.legend()
    tidy(ax.figure)
    ax.figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--seconds", type=_positive(float), default=20.0, help="time of each run (20)"
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="what seconds are: wall, or processor time (wall)",
    )
    parser.add_argument(
        "--hidden", type=_positive(int), default=50, help="hidden neurons (50: 3,760 parameters)"
    )
    parser.add_argument("--activation", default="softplus", help="of the hidden neurons (softplus)")
    parser.add_argument(
        "--maxnorm", type=_positive(float), default=200.0, help="barrier beyond |theta|^2/2 (200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the start (0)")
    parser.add_argument("--threads", type=_positive(int), default=1, help="threads of BLAS (1)")
    parser.add_argument("--out", type=Path, default=Path("out/digits"), help="folder (out/digits)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="three runs of at most a second with at most 10 neurons",
    )
    given = parser.parse_args(argv)
    if given.seed < 0:
        parser.error(f"argument --seed: {given.seed} is negative; give an integer of at least 0")
    if given.quick:
        given.seconds, given.hidden = min(given.seconds, 1.0), min(given.hidden, 10)
    return parser, given


def _positive(kind):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a positive {'integer' if kind is int else 'number'}"
            )
        return value

    return parse


def main(argv=None):
    parser, given = arguments(argv)
    X, X_test, y, y_test = load(given.seed)
    layers = [(given.hidden, given.activation, True), (10, "identity", True)]
    try:
        net = inf.Net(layers, input=X, target=y, loss="cross_entropy", maxnorm=given.maxnorm)
    except inf.InfflowError as error:
        parser.error(str(error))
    inf.set_num_threads(given.threads)
    theta0 = inf.random_params(net, rng=given.seed)
    methods = QUICK if given.quick else METHODS
    given.out.mkdir(parents=True, exist_ok=True)
    print(
        f"{net}, |theta0|^2/2 = {0.5 * theta0 @ theta0:.1f}, maxnorm {given.maxnorm:g}, "
        f"{given.seconds:g} s of {given.clock} time per run"
    )
    runs = []
    for method in methods:
        runs.append(run(method, net, theta0, given.seconds, CLOCKS[given.clock], (X_test, y_test)))
        print(
            f"  {method.name}: loss {runs[-1].loss:.3e} after {runs[-1].seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    print(table(runs))
    print(verdict(runs, methods))
    setting = {k: v for k, v in vars(given).items() if k not in ("out", "quick")}
    setting |= {"parameters": net.num_params, "samples": len(X), "test_samples": len(X_test)}
    report = {
        "setting": setting,
        "initial_loss": net.evaluate(theta0).value,
        "runs": [asdict(r) for r in runs],
    }
    (given.out / "digits.json").write_text(json.dumps(report, indent=1))
    plot(runs, methods, given.clock, given.out / "digits.png")
    print(f"wrote {given.out / 'digits.png'} and {given.out / 'digits.json'}")


if __name__ == "__main__":
    main()
