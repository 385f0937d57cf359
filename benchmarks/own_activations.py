"""What a network with an activation of one's own costs, next to registered ones.

    python -m benchmarks own_activations

Written to ``docs/benchmarks/own_activations.md``.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np
import sympy

import infflow as inf
from infflow.integrals.choice import METHODS

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "own_activations.md"
WIDTH = 5
INPUTS = 8
NEAR = 1e-3
SECONDS = 0.4  # of repetitions of each case
STARTS = 5

X = sympy.Symbol("x", real=True)


def from_formula(name: str, text: str) -> inf.Activation:
    return inf.Activation.from_sympy(name, sympy.sympify(text, locals={"x": X}))


#: name in the table, activation, registered one to compare with, milliseconds of version 0.1.0
#: before sums of terms had closed forms: random weights, and next to the teacher
CASES = (
    ("tanh", "tanh", None, (0.2, 0.2)),
    ("relu", "relu", None, (0.1, 0.1)),
    ("erf", "erf", None, None),
    ("silu", "silu", None, None),
    ("elu", "elu", None, None),
    ("leaky relu, slope 0.2", from_formula("leaky", "Max(x/5, x)"), "relu", (12_000, 111_000)),
    ("relu^2", from_formula("relu2", "Max(0, x)**2"), "relu", (5_200, 79_000)),
    ("hard tanh", from_formula("clip", "Max(-1, Min(1, x))"), "relu", (8_800, 127_000)),
    ("relu6", from_formula("clip6", "Max(0, Min(6, x))"), "relu", (5_600, 76_000)),
    ("hard swish", "hard_swish", "relu", None),
    ("erf(x)", from_formula("erf_x", "erf(x)"), "erf", (1.1, 5_500)),
    ("tanh(2x)", from_formula("tanh2", "tanh(2*x)"), "tanh", (49, 9_600)),
    ("x sigmoid(2x)", from_formula("swish2", "x/(1 + exp(-2*x))"), "silu", (2.1, 14_000)),
    ("tanh(2x - 1)", inf.activation("tanh").affine(2, -1), "tanh", None),
    ("tanh + relu/2 - 1", inf.activation("tanh") + inf.activation("relu") / 2 - 1, "tanh", None),
    ("celu(2)", "celu(2)", "elu", None),
    ("exp(-|x|)", from_formula("laplace", "exp(-Abs(x))"), "elu", None),
    ("mish", from_formula("my_mish", "x*tanh(log(1 + exp(x)))"), "tanh", (2.3, 14_000)),
    ("arctan", from_formula("my_arctan", "atan(x)"), "tanh", None),
    ("softsign", "softsign", "tanh", None),
)  # fmt: skip


def network(activation: object, near: float | None) -> tuple[inf.NetI, np.ndarray]:
    """As many students as teachers, biases, weights of length about 1.4."""
    net = inf.Net([(WIDTH, activation, True), (1, "identity", False)], input_dim=INPUTS)
    rng = np.random.default_rng(0)
    target = 0.5 * rng.standard_normal(net.num_params)
    theta = 0.5 * rng.standard_normal(net.num_params)
    if near is not None:
        theta = target + near * rng.standard_normal(net.num_params)
    return inf.NetI(net, inf.Teacher(net, target)), theta


def milliseconds(activation: object, near: float | None) -> tuple[float, str]:
    """Least time of value, gradient and Hessian, and the methods that were taken."""
    loss, theta = network(activation, near)
    loss.evaluate(theta, 2)
    best = np.inf
    end = time.perf_counter() + SECONDS
    k = 0
    while time.perf_counter() < end or k < 3:
        k += 1
        start = time.process_time()
        loss.evaluate(theta * (1 + 1e-9 * k), 2)
        best = min(best, time.process_time() - start)
    codes = np.unique(loss._components[0].loss.examined.jets.method)
    names = {"mixture": "closed", "one-sided": "closed"}
    methods = dict.fromkeys(names.get(METHODS[c], METHODS[c]) for c in codes)
    return 1e3 * best, ", ".join(methods)


def trained(activation: object) -> str:
    """How many starts end at a gradient of 1e-10, and the time that they take together."""
    loss, _ = network(activation, None)
    done = 0
    start = time.process_time()
    for seed in range(STARTS):
        theta = inf.random_params(loss, seed)
        found = inf.train(loss, theta, max_time_flow=120, max_time_newton=120, progress=False)
        done += found.gradient_norm <= 1e-10
    return f"{done}/{STARTS}, {time.process_time() - start:.0f} s"


def row(case: tuple, base: dict[str, tuple[float, float]]) -> str:
    name, activation, reference, before = case
    far, method = milliseconds(activation, None)
    near, _ = milliseconds(activation, NEAR)
    base[name] = far, near
    ratios = (
        [f"{a / b:.1f}" for a, b in zip((far, near), base[reference], strict=True)]
        if reference
        else ["", ""]
    )
    old = [f"{t:,g}" for t in before] if before else ["", ""]
    known = inf.activation(activation)
    cells = [
        name.replace("|", r"\|"),
        method,
        old[0],
        f"{far:.2f}",
        ratios[0],
        old[1],
        f"{near:.2f}",
        ratios[1],
        trained(known),
    ]
    line = f"| {' | '.join(cells)} |"
    print(line, flush=True)
    return line


def main() -> None:
    inf.set_num_threads(1)
    text = [
        "# Speed: networks with activations of one's own",
        "",
        (
            "Milliseconds of processor time of one value, gradient and Hessian on infinite data, "
            f"one thread ({platform.machine()}): {WIDTH} students and {WIDTH} teachers with "
            f"{INPUTS} inputs and biases."
        ),
        (
            f"Weights are random, or within about {NEAR:g} of the teacher's (*near*), where losses "
            "are evaluated without cancellation."
        ),
        (
            "*Before*: when only registered activations had closed forms. *Ratio*: to the "
            "registered activation of the kind, in the same run. *Trained*:"
        ),
        (
            f"`inf.train` from {STARTS} random starts, how many end with a gradient below 1e-10, "
            "and the time of all. Made by `python -m benchmarks own_activations`."
        ),
        (
            f"The first five rows are registered. Times are the least within {SECONDS:g} s; they "
            "were taken on a busy machine, whose caches are shared: ratios say more than times."
        ),
        "",
        (
            "| activation | method | before | now | ratio | before, near | now, near | ratio | "
            "trained |"
        ),
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    base: dict[str, tuple[float, float]] = {}
    text += [row(case, base) for case in CASES]
    TARGET.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
