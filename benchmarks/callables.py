"""Networks with functions of one's own beside built-in ones: time of value, gradient and Hessian,
and flows to their ends.

    python -m benchmarks callables

Written to ``docs/benchmarks/callables.md``. Piecewise polynomials are given as callables here, of
which nothing is known but their kinks, and not as the expressions that have closed forms.
"""

from __future__ import annotations

import platform
import time
import warnings
from pathlib import Path

import numpy as np

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "callables.md"
#: Sizes of the timed networks and of those that are trained: neurons, inputs.
TIMED = (5, 8)
TRAINED = (2, 3)
REPEATS = 9
STARTS = range(5)
GRADIENT = 1e-10
SECONDS = 30.0  # of every flow, and of every search
# Milliseconds with adaptive cubature, away from the teacher and next to it, measured before there
# were tables.
BEFORE = {
    "leaky relu of slope 0.2": (12_000, 111_000),
    "relu^2": (5_200, 79_000),
    "hard tanh": (8_800, 127_000),
    "relu6": (5_600, 76_000),
    "erf(x)": (1.1, 5_500),
    "tanh(2x)": (49, 9_600),
    "mish": (2.3, 14_000),
    "x sigmoid(2x)": (2.1, 14_000),
}


def zero(x: np.ndarray) -> np.ndarray:
    """The derivative of what is constant between kinks."""
    return 0.0 * x


def activations() -> dict[str, str | inf.Activation]:
    """Built-in ones, then callables with kinks, then expressions."""
    make = inf.Activation.from_callable
    derive = inf.Activation.from_sympy
    return {
        "tanh (built in)": "tanh",
        "relu (built in)": "relu",
        "leaky relu of slope 0.2": make(
            "my leaky relu",
            lambda x: np.where(x > 0, x, 0.2 * x),
            [lambda x: np.where(x > 0, 1.0, 0.2), zero, zero, zero],
            kinks=[0.0],
        ),
        "relu^2": make(
            "my relu^2",
            lambda x: np.maximum(x, 0) ** 2,
            [lambda x: 2 * np.maximum(x, 0), lambda x: 2.0 * (x > 0), zero, zero],
            kinks=[0.0],
        ),
        "hard tanh": make(
            "my hard tanh",
            lambda x: np.clip(x, -1.0, 1.0),
            [lambda x: (np.abs(x) < 1) * 1.0, zero, zero, zero],
            kinks=[-1.0, 1.0],
        ),
        "relu6": make(
            "my relu6",
            lambda x: np.clip(x, 0.0, 6.0),
            [lambda x: ((x > 0) & (x < 6)) * 1.0, zero, zero, zero],
            kinks=[0.0, 6.0],
        ),
        "softsign": derive("my softsign", "x/(1 + Abs(x))"),
        "erf(x)": derive("my erf", "erf(x)"),
        "tanh(2x)": derive("my tanh(2x)", "tanh(2*x)"),
        "mish": derive("my mish", "x*tanh(log(1 + exp(x)))"),
        "mish, no derivatives": make("plain mish", lambda x: x * np.tanh(np.logaddexp(0.0, x))),
        "x sigmoid(2x)": derive("my x sigmoid(2x)", "x/(1 + exp(-2*x))"),
        "arctan": derive("my arctan", "atan(x)"),
    }


def network(activation: str | inf.Activation, size: tuple[int, int]) -> tuple[inf.NetI, np.ndarray]:
    """As many students as teachers, with biases, and the parameters of the teacher."""
    neurons, inputs = size
    net = inf.Net([(neurons, activation, True), (1, "identity", True)], input_dim=inputs)
    star = inf.random_params(net, rng=1)
    star += 0.3 * np.random.default_rng(0).normal(size=star.size)
    return inf.NetI(net, inf.Teacher(net, star)), star


def milliseconds(net: inf.NetI, theta: np.ndarray) -> float:
    """Median processor time of value, gradient and Hessian, each at another point."""
    net.evaluate(theta, order=2)
    found = []
    for k in range(1, REPEATS + 1):
        start = time.process_time()
        net.evaluate(theta + 1e-9 * k, order=2)
        found.append(time.process_time() - start)
    return 1e3 * float(np.median(found))


def times() -> list[str]:
    """Rows of the table of times."""
    rows = []
    built_in: dict[str, float] = {}
    for name, activation in activations().items():
        net, star = network(activation, TIMED)
        away = inf.random_params(net.student, rng=2)
        near = star + 1e-3 * np.random.default_rng(1).normal(size=star.size)
        found = milliseconds(net, away), milliseconds(net, near)
        built_in.setdefault("away", found[0])
        built_in.setdefault("near", found[1])
        methods = [
            m for m in ("closed", "hermite", "numeric", "cubature") if m in net.explain(near)
        ]
        before = " | ".join(f"{x:,}" for x in BEFORE[name]) if name in BEFORE else " | "
        rows.append(
            f"| {name} | {before} | {found[0]:.2f} | {found[1]:.2f} | "
            f"{found[0] / built_in['away']:.0f} | {found[1] / built_in['near']:.0f} | "
            f"{', '.join(methods)} |"
        )
        print(rows[-1], flush=True)
    return rows


def flows() -> list[str]:
    """Rows of the table of flows."""
    rows = []
    for name, activation in activations().items():
        net, _ = network(activation, TRAINED)
        losses = []
        norms = []
        seconds = []
        for seed in STARTS:
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = inf.train(
                    net,
                    inf.random_params(net.student, rng=10 + seed),
                    max_time_flow=SECONDS,
                    max_time_newton=SECONDS,
                    min_gradient_norm=GRADIENT,
                    progress=False,
                )
            seconds.append(time.process_time() - start)
            losses.append(found.loss)
            norms.append(found.gradient_norm)
        rows.append(
            f"| {name} | {', '.join(f'{x:.0e}' for x in losses)} | {max(norms):.0e} | "
            f"{', '.join(f'{x:.1f}' for x in seconds)} |"
        )
        print(rows[-1], flush=True)
    return rows


HEAD = """# Speed: functions of one's own

Networks whose activation is a callable (the piecewise polynomials) or an expression that is not
recognised as a sum of registered ones, beside built-in ones; processor time on one thread
({machine}). Made by `python -m benchmarks callables`.

## Value, gradient and Hessian

{neurons} students, {neurons} teachers, {inputs} inputs, biases, `rtol` 1e-10; next to the teacher
means weights within 1e-3 of it. "Before" is adaptive cubature where it was needed, in wall time of
an idle machine. The columns of ratios refer to tanh in the same run.

| activation | before, ms | before, near, ms | now, ms | now, near, ms | ratio | ratio, near | \
methods |
|---|---|---|---|---|---|---|---|
"""
FLOWS = """

## Flows

`inf.train` from five starts to a gradient of {gradient:g}; {neurons} students, {neurons} teachers,
{inputs} inputs, biases.
A run with a larger gradient was on its way to a minimum at infinity, or its time was over. Losses
are those where it stopped.

| activation | losses | largest gradient | seconds |
|---|---|---|---|
"""


def main() -> None:
    """Measure, and write the page."""
    head = HEAD.format(machine=platform.machine(), neurons=TIMED[0], inputs=TIMED[1])
    middle = FLOWS.format(gradient=GRADIENT, neurons=TRAINED[0], inputs=TRAINED[1])
    TARGET.write_text(head + "\n".join(times()) + middle + "\n".join(flows()) + "\n")


if __name__ == "__main__":
    main()
