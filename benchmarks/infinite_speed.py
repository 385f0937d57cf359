"""The infinite-data network: time of value, gradient and Hessian together, beside two peers.

    python -m benchmarks infinite_speed

10 students, 10 teachers, 20 inputs, biases in both layers, Glorot weights and biases of unit
variance. The peers, in the same run:

* the two-dimensional Gauss-Hermite rule of the paper's package: 600 nodes per axis, weights below
  1e-18 pruned, 13,448 nodes, one integral at a time, in numba with infflow's vectorised
  activations. Its time is that of one pair's 15 integrals times the number of pairs;
* the same network on 10,000 samples, by infflow's finite-data ``Net``; beside it stands the error
  of its gradient.

Accuracy beside time: the largest error of a pair's moments, relative to the largest moment, against
a rule of 800 x 800 nodes in the plane (for the random pairs of the benchmark). The table is written
to ``docs/benchmarks/infinite_speed.md``.
"""

from __future__ import annotations

import platform
import resource
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from scipy.special import roots_hermitenorm

import infflow as inf
from infflow.activations import resolve

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "infinite_speed.md"
ACTIVATIONS = ("erf", "relu", "gelu", "tanh", "softplus", "sigmoid", "silu", "g")
STUDENTS = 10
TEACHERS = 10
INPUTS = 20
SAMPLES = 10_000
PAIRS = STUDENTS * (STUDENTS + 1) // 2 + STUDENTS * TEACHERS


def milliseconds(function: Callable[[], Any]) -> float:
    """Least of seven medians' worth: best of seven loops of about 50 ms, on a machine that others
    may use.
    """
    number = max(1, int(0.05 / timeit.timeit(function, number=3) * 3))
    return 1e3 * min(timeit.repeat(function, number=number, repeat=7)) / number


def problem(activation: str) -> tuple[Any, list[Any]]:
    """The network and two points, so that evaluations in turn meet no memo."""
    rng = np.random.default_rng(0)

    def init(_: Any, shape: tuple[int, ...]) -> Any:
        return rng.standard_normal(shape) * (np.sqrt(2 / sum(shape)) if len(shape) == 2 else 1.0)

    net = inf.Net([(TEACHERS, activation, True), (1, "identity", True)], input_dim=INPUTS)
    student = inf.Net([(STUDENTS, activation, True), (1, "identity", True)], input_dim=INPUTS)
    neti = inf.NetI(student, inf.Teacher(net, inf.random_params(net, init=init)))
    return neti, [inf.random_params(neti, init=init) for _ in range(2)]


def gauss_hermite() -> tuple[Any, Any, Any]:
    """Nodes (x, z) and weights of the pruned product rule for two independent standard normals."""
    x, w = roots_hermitenorm(600)  # numpy's hermegauss overflows at this size
    w = w / np.sqrt(2 * np.pi)
    i, j = np.nonzero(np.outer(w, w) > 1e-18)
    return x[i], x[j], w[i] * w[j]


@njit(fastmath=True)
def weighted_sum(f: Any, g: Any, w: Any) -> float:
    """sum w f g."""
    total = 0.0
    for i in range(w.size):
        total += w[i] * f[i] * g[i]
    return total


class PairByRule:
    """All moments of one pair by a product rule, one integral at a time as the paper's package does
    it.
    """

    def __init__(self, activation: str, rule: tuple[Any, Any, Any]) -> None:
        self.f = resolve(activation)
        self.x, self.z, self.w = rule
        self.values = np.empty((2, 5, self.w.size))

    def __call__(self, r1: float, r2: float, u: float, b1: float, b2: float) -> Any:
        moments = np.zeros((5, 5))
        h1 = r1 * self.x + b1
        h2 = r2 * (u * self.x + np.sqrt(1 - u * u) * self.z) + b2
        for p in range(5):
            for q in range(5 - p):
                self.f.jet(h1, self.values[0, : p + 1])
                self.f.jet(h2, self.values[1, : q + 1])
                moments[p, q] = weighted_sum(self.values[0, p], self.values[1, q], self.w)
        return moments


def accuracy(
    activation: str, neti: Any, theta: Any, rule: tuple[Any, Any, Any]
) -> tuple[float, float]:
    """Largest relative errors of infflow's and of the rule's moments over a few pairs of the
    network.
    """
    x = np.linspace(-10, 10, 800)
    w = np.exp(-x * x / 2) * (x[1] - x[0]) / np.sqrt(2 * np.pi)
    fine = PairByRule(
        activation,
        tuple(np.ascontiguousarray(a.ravel()) for a in (*np.meshgrid(x, x), np.outer(w, w))),
    )
    coarse = PairByRule(activation, rule)
    units = neti.student_units(theta)
    errors = np.zeros(2)
    for i in range(3):
        W = units.W[i : i + 2]
        b = units.b[i : i + 2]
        r1, r2 = np.linalg.norm(W, axis=1)
        args = (r1, r2, W[0] @ W[1] / r1 / r2, b[0], b[1])
        if resolve(activation).kinks:
            return np.nan, np.nan
        exact = fine(*args)
        own = np.zeros((5, 5))
        for p in range(5):
            for q in range(5 - p):
                own[p, q] = inf.gaussian_moment(activation, activation, *args, orders=(p, q))
        errors = np.maximum(
            errors, [np.abs(m - exact).max() / np.abs(exact).max() for m in (own, coarse(*args))]
        )
    return float(errors[0]), float(errors[1])


def measure(activation: str, rule: tuple[Any, Any, Any]) -> str:
    """One row of the table."""
    neti, points = problem(activation)
    turn = iter(range(10**9))
    times = [
        milliseconds(lambda order=order: neti.evaluate(points[next(turn) % 2], order))
        for order in range(3)
    ]
    pair = PairByRule(activation, rule)
    by_rule = PAIRS * milliseconds(lambda: pair(1.1, 0.9, 0.2, 0.3, -0.4))
    data = neti.sample(SAMPLES, 4)
    sampled = milliseconds(lambda: data.evaluate(points[0], 2))
    exact = neti.evaluate(points[0], 1).gradient
    error = np.linalg.norm(data.evaluate(points[0], 1).gradient - exact) / np.linalg.norm(exact)
    own, rules = accuracy(activation, neti, points[0], rule)
    quality = "- | -" if np.isnan(own) else f"{own:.0e} | {rules:.0e}"
    return (
        f"| {activation} | {times[0]:.3f} | {times[1]:.3f} | {times[2]:.3f} | {by_rule:.0f} "
        f"({by_rule / times[2]:.0f}x) | "
        f"{quality} | {sampled:.1f} ({sampled / times[2]:.0f}x) | {error:.0e} |"
    )


def large(activation: str, width: int = 1000, inputs: int = 10_000) -> str:
    """Value and gradient of a large network: seconds of one evaluation and the peak memory of the
    process.
    """
    net = inf.Net([(width, activation, False), (1, "identity", False)], input_dim=inputs)
    neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, 1)))
    theta = inf.random_params(net, 2)
    wall = time.perf_counter()
    processor = time.process_time()
    neti.evaluate(theta, 1)
    wall = time.perf_counter() - wall
    processor = time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return f"| {activation} | {wall:.1f} | {processor:.1f} | {memory:.2f} |"


def main() -> None:
    inf.set_num_threads(1)
    rule = gauss_hermite()
    lines = [
        "# Speed: infinite-data networks",
        "",
        (
            f"{STUDENTS} students, {TEACHERS} teachers, {INPUTS} inputs, biases in both layers, "
            f'`method="auto"`, `rtol=1e-10`; milliseconds, one thread, {platform.machine()}.'
        ),
        (
            "*Rule*: the two-dimensional Gauss-Hermite rule of the paper's package "
            f"({rule[2].size:,} nodes), one integral at a time, for all {PAIRS} pairs and the 15 "
            "integrals that a Hessian needs."
        ),
        (
            f"*Samples*: value, gradient and Hessian of the same network on {SAMPLES:,} samples, "
            "and "
            "the relative error of that gradient. In brackets: times infflow's time."
        ),
        (
            "Errors of moments are relative to the largest of a pair (a dash: kinked, no rule in "
            "the plane is exact enough to tell)."
        ),
        "Made by `python -m benchmarks infinite_speed`.",
        "",
        (
            "| activation | value | + gradient | + Hessian | rule | error | error of the rule | "
            "samples | error of sampling |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for activation in ACTIVATIONS:
        lines.append(measure(activation, rule))
        print(lines[-1], flush=True)
    lines += [
        "",
        (
            "Size: value and gradient with 1,000 students, 1,000 teachers and 10,000 inputs (1.5 "
            "million pairs, 10 million parameters), one thread. Wall time includes waiting for a "
            "core on a shared machine."
        ),
        "",
        "| activation | wall s | processor s | peak memory GB |",
        "|---|---:|---:|---:|",
    ]
    for activation in ("erf", "relu"):
        lines.append(large(activation))
        print(lines[-1], flush=True)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
