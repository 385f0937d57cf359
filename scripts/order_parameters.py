"""Online gradient descent against its order parameters: the picture and the table of
docs/order_parameters.md.

    python scripts/order_parameters.py [--dimension 1000] [--runs 8] [--out out/order_parameters]
    [--quick]

Two cases: erf with a fixed second layer, where students first all look alike (the plateau of Saad
and Solla), and relu with label noise, both layers learning. Simulations in ``--dimension`` inputs
start from weights with the same order parameters. Writes ``order_parameters.png`` and
``order_parameters.json``, and prints a table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import infflow as inf
from infflow.plotting.style import BLUE, ORANGE, PAGE_WIDTH, color, style


@dataclass(frozen=True)
class Case:
    """One student and teacher, its rates, and how long to look."""

    title: str
    activation: str
    students: int
    rate: float
    second_layer_rate: float
    noise: float
    t_end: float
    overlap: float

    def build(self):
        """The order parameters and the initial state: small random-looking overlaps, teacher of two
        orthogonal neurons.
        """
        K, M = self.students, 2
        student = inf.Net([(K, self.activation, False), (1, "identity", False)], input_dim=K + M)
        teacher = inf.Net([(M, self.activation, False), (1, "identity", False)], input_dim=K + M)
        star = teacher.pack([(np.eye(M, K + M), None), (np.ones((1, M)), None)])
        neti = inf.NetI(student, inf.Teacher(teacher, star, noise=self.noise))
        rng = np.random.default_rng(0)
        W = self.overlap * rng.standard_normal((K, K + M))
        theta = student.pack([(W, None), (np.ones((1, K)), None)])
        return inf.OrderParameters(neti, self.rate, self.second_layer_rate), theta


CASES = [
    Case("erf, first layer only", "erf", 2, 0.5, 0.0, 0.0, 120.0, 0.2),
    Case("relu, both layers, label noise 0.2", "relu", 3, 0.2, 0.2, 0.2, 60.0, 0.4),
]


def measure(case, D, runs, quick):
    op, theta = case.build()
    scale = 0.1 if quick else 1.0
    dense = np.linspace(0.0, scale * case.t_end, 201)
    sparse = dense[::20]
    exact = op.solve(theta, t_eval=dense)
    small = 1e-6
    slow = inf.OrderParameters(op.neti, small * case.rate, small * case.second_layer_rate)
    flow = slow.solve(theta, t_eval=dense / small)
    simulated = [op.simulate(theta, D, sparse, rng=seed) for seed in range(runs)]
    return exact, flow, simulated


def summary(case, D, exact, flow, simulated):
    """Numbers for the table: distances in units of one standard deviation of a run, and in absolute
    terms.
    """
    pick = slice(20, None, 20)
    R = np.array([run.R[1:] for run in simulated])
    error = np.array([run.generalization_error[1:] for run in simulated])
    return {
        "case": case.title,
        "dimension": D,
        "runs": len(simulated),
        "largest_R_difference": float(np.abs(R.mean(axis=0) - exact.R[pick]).max()),
        "largest_R_difference_of_the_flow": float(np.abs(R.mean(axis=0) - flow.R[pick]).max()),
        "R_scatter_of_one_run": float(np.sqrt(R.var(axis=0, ddof=1).mean())),
        "final_error": [float(exact.generalization_error[-1]), float(error[:, -1].mean())],
        "final_error_scatter": float(error[:, -1].std(ddof=1)),
        "final_error_of_the_flow": float(flow.generalization_error[-1]),
        "steps": exact.steps,
        "seconds": exact.wall_time,
        "seconds_of_one_simulation": float(np.mean([run.wall_time for run in simulated])),
    }


def draw(axes, case, exact, flow, simulated):
    left, right = axes
    t = simulated[0].t
    R = np.array([run.R for run in simulated])
    error = np.array([run.generalization_error for run in simulated])
    for i in range(R.shape[2]):
        for m in range(R.shape[3]):
            colour = color(i)
            label = f"student {i + 1}" if m == 0 else None
            dashes = "-" if m == 0 else "--"
            left.plot(exact.t, exact.R[:, i, m], dashes, color=colour, label=label)
            left.errorbar(
                t, R[:, :, i, m].mean(0), R[:, :, i, m].std(0, ddof=1), fmt="o", ms=3, color=colour
            )
    for m, dashes in enumerate(("-", "--")):
        left.plot([], [], dashes, color="0.4", label=f"teacher {m + 1}")
    left.set(title=case.title, xlabel="t = steps / D", ylabel="overlaps R")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    right.plot(exact.t, exact.generalization_error, color=BLUE, label="order parameters")
    right.plot(
        flow.t * 1e-6,
        flow.generalization_error,
        ":",
        color="0.4",
        label="gradient flow (rate to 0)",
    )
    right.errorbar(
        t, error.mean(0), error.std(0, ddof=1), fmt="o", ms=3, color=ORANGE, label="simulation"
    )
    right.set(title=case.title, xlabel="t = steps / D", ylabel="generalization error", yscale="log")
    right.legend()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("out/order_parameters"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the time")
    options = parser.parse_args()
    if options.dimension < 5 or options.runs < 2:
        parser.error("--dimension must be at least 5 and --runs at least 2")
    from matplotlib.figure import Figure

    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with style():
        figure = Figure(figsize=(PAGE_WIDTH, 6.6), layout="constrained")
        axes = figure.subplots(2, 2)
        for case, pair in zip(CASES, axes, strict=True):
            found = measure(case, options.dimension, options.runs, options.quick)
            draw(pair, case, *found)
            rows.append(summary(case, options.dimension, *found))
        figure.savefig(options.out / "order_parameters.png", dpi=100)
    (options.out / "order_parameters.json").write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
