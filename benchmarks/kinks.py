"""How far flows on finite data get in a given time where activations have kinks.

    python -m benchmarks kinks

Written to ``docs/benchmarks/kinks.md``.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "kinks.md"
SOLVERS = ("filippov", "gear", "tsit5", "cvode_bdf", "rodas3")
CASES = [("relu", samples, noise) for noise in (0.0, 0.1) for samples in (30, 300, 3000, 10_000)]
CASES += [(name, 300, 0.1) for name in ("leaky_relu", "abs", "selu", "elu")]
STARTS = (0, 1)
SECONDS = 4.0  # of every flow
WHOLE = 180.0  # of flows to their end
ENDS = [(samples, seed) for samples in (300, 2000) for seed in STARTS]
UNTIL = 20.0  # time to which solvers are compared at equal accuracy


def sampled(activation: str, samples: int, noise: float, seed: int) -> inf.Net:
    """Four students of three teachers with three inputs, all with biases."""
    student, teacher = (
        inf.Net([(width, activation, True), (1, "identity", True)], input_dim=3) for width in (4, 3)
    )
    theta = inf.random_params(teacher, 500 + seed, init="standard_normal")
    return inf.NetI(student, inf.Teacher(teacher, theta, noise=noise)).sample(samples, rng=seed)


def row(activation: str, samples: int, noise: float, seed: int) -> str:
    """Time and loss that every solver reaches; the one that is taken by default is bold."""
    net = sampled(activation, samples, noise, seed)
    theta = inf.random_params(net, seed)
    default = inf.train(
        net, theta, max_steps_flow=1, max_steps_newton=0, progress=False
    ).flow.method
    cells = []
    for solver in SOLVERS:
        inf.train(
            net, theta, solver=solver, max_steps_flow=20, max_steps_newton=0, progress=False
        )  # compiles
        found = inf.train(
            net, theta, solver=solver, max_time_flow=SECONDS, max_steps_newton=0, progress=False
        )
        cell = f"t = {found.trajectory.t[-1]:.1e}, {found.trajectory.loss[-1]:.4g}"
        cells.append(f"**{cell}**" if solver == default else cell)
    line = f"| {activation} | {samples} | {noise:g} | {seed} | {' | '.join(cells)} |"
    print(line, flush=True)
    return line


def end_row(samples: int, seed: int) -> str:
    """What ``inf.train`` does by default with noisy labels, and what the point is."""
    net = sampled("relu", samples, 0.1, seed)
    theta = inf.random_params(net, seed)
    began = time.process_time()
    found = inf.train(net, theta, max_time_flow=WHOLE, progress=False)
    seconds = time.process_time() - began
    kind = inf.classify(net, found, progress=False)
    held = len(kind.kinks)
    line = (
        f"| {samples} | {seed} | {seconds:.1f} s | {found.flow.steps} | {found.flow.note} | "
        f"{found.status.name}, t = {found.flow.t:.1e} | {found.loss:.6g} | "
        f"{found.gradient_norm:.0e} | {kind.kind.name}, {held} kink{'s' * (held != 1)} |"
    )
    print(line, flush=True)
    return line


def accuracy_rows(samples: int, seed: int) -> list[str]:
    """Largest error of theta at a time, and processor time, at several tolerances."""
    net = sampled("relu", samples, 0.1, seed)
    theta = inf.random_params(net, seed)

    def run(solver: str, tolerance: float) -> tuple[inf.Result, float]:
        began = time.process_time()
        found = inf.train(
            net, theta, solver=solver, t_end=UNTIL, rtol=tolerance, atol=tolerance,
            max_time_flow=WHOLE, max_steps_newton=0, progress=False,
        )  # fmt: skip
        return found, time.process_time() - began

    exact, _ = run("filippov", 1e-11)
    rows = []
    for solver in ("filippov", "tsit5"):
        for tolerance in (1e-4, 1e-6):
            found, seconds = run(solver, tolerance)
            error = abs(found.theta_flow - exact.theta_flow).max()
            rows.append(
                f"| {samples} | {solver} | {tolerance:.0e} | {error:.1e} | "
                f"{found.flow.gradients} | {seconds:.2f} s |"
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    inf.set_num_threads(1)
    inf.train(sampled("relu", 30, 0.1, 0), inf.random_params(sampled("relu", 30, 0.1, 0)), t_end=1)
    text = [
        "# Speed: flows on finite data with kinks",
        "",
        (
            f"Time of the flow and loss that a solver reaches in {SECONDS:g} s, one thread "
            f"({platform.machine()}), tolerances 1e-6; bold: what `solver=\"auto\"` takes. Four"
        ),
        (
            "students of three teachers, three inputs, biases, random starts. Made by `python -m "
            "benchmarks kinks`."
        ),
        "",
        "| activation | samples | label noise | start | " + " | ".join(SOLVERS) + " |",
        "|---|---|---|---|" + "---|" * len(SOLVERS),
    ]  # fmt: skip
    text += [row(*case, seed) for case in CASES for seed in STARTS]
    text += [
        "",
        "## To the end",
        "",
        "By default (`filippov`), label noise 0.1: processor time, steps, and where runs end.",
        "",
        "| samples | start | time | steps | kinks | status | loss | gradient norm | kind |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    text += [end_row(*case) for case in ENDS]
    text += [
        "",
        "## At equal accuracy",
        "",
        f"Largest error of theta at t = {UNTIL:g}, against `filippov` at 1e-11; start 0.",
        "",
        "| samples | solver | rtol = atol | error | gradients | processor time |",
        "|---|---|---|---|---|---|",
    ]
    text += [line for samples in (30, 300) for line in accuracy_rows(samples, 0)]
    TARGET.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
