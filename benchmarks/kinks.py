"""How far flows on finite data get in a given time where activations have kinks.

    python -m benchmarks kinks

Written to ``docs/benchmarks/kinks.md``.
"""

from __future__ import annotations

import platform
from pathlib import Path

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "kinks.md"
SOLVERS = ("gear", "tsit5", "cvode_bdf", "rodas3")
CASES = [("relu", samples, noise) for noise in (0.0, 0.1) for samples in (30, 300, 3000, 10_000)]
CASES += [(name, 300, 0.1) for name in ("leaky_relu", "abs", "selu", "elu")]
STARTS = (0, 1)
SECONDS = 4.0  # of every flow


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


def main() -> None:
    inf.set_num_threads(1)
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
    TARGET.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
