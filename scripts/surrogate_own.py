"""Surrogates of one's own functions against exact pairs: a table of docs/surrogates.md.

    python scripts/surrogate_own.py [arctan mish softsign hard_tanh] [--steps 750] [--write]

Trains each in a temporary folder and states the processor time of data, fit and card, errors at
held-out points with and without the perceptron, and the processor time of value, gradient and
Hessian of a network of 10 students and 10 teachers in 6 inputs, by the surrogate and exactly.
``--write`` puts the table into docs/surrogates.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import infflow as inf
from infflow.surrogates import save
from infflow.surrogates.training import Recipe, train_surrogate

PAGE = Path(__file__).parents[1] / "docs" / "surrogates.md"
BEGIN = "<!-- table of scripts/surrogate_own.py -->"
END = "<!-- end of table -->"
NAMES = ("arctan", "mish", "softsign", "hard_tanh")
SIZE, INPUTS = 10, 6
REPEATS = 7


def milliseconds(net, theta):
    """Least processor time of value, gradient and Hessian near a point."""
    net.evaluate(theta, 2)
    found = []
    for k in range(1, REPEATS + 1):
        start = time.process_time()
        net.evaluate(theta * (1.0 + 1e-9 * k), 2)
        found.append(time.process_time() - start)
    return 1e3 * min(found)


def networks(name, folder):
    """The network by its surrogate and exactly, and points away from the teacher and near it."""
    net = inf.Net([(SIZE, name, False), (1, "identity", False)], input_dim=INPUTS)
    rng = np.random.default_rng(0)
    star = 0.7 * rng.standard_normal(net.num_params)
    teacher = inf.Teacher(net, star)
    away = 0.7 * rng.standard_normal(star.size)
    near = star + 1e-3 * rng.standard_normal(star.size)
    fast = inf.NetI(net, teacher, method="surrogate", surrogates_dir=folder, outside="exact")
    return fast, inf.NetI(net, teacher), away, near


def row(name, recipe):
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        form, info = train_surrogate(name, recipe=recipe, progress=False)
        save(form, info, folder)
        seconds = time.process_time() - start
        fast, exact, away, near = networks(name, folder)
        times = [milliseconds(net, at) for at in (away, near) for net in (fast, exact)]
    cells = []
    for what in ("value", "gradient", "hessian"):
        cells.append(f"{info['held_out'][what]['median']:.0e}")
        cells[-1] += f" ({info['held_out'][what]['99%']:.0e})"
    alone = info["held_out_without_perceptron"]["value"]["median"]
    kept = [p for p in info["parts"].values() if p.get("left_by_perceptron", 1.0) <= 0.8]
    cells += [f"{alone:.0e}", "yes" if kept else "no", f"{seconds:.0f}"]
    return f"| {name} | {' | '.join(cells)} | {' | '.join(f'{t:.1f}' for t in times)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--points", type=int, default=Recipe.points)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    recipe = Recipe(steps=options.steps, points=options.points)
    lines = [
        "| activation | value | gradient | Hessian | value, no perceptron | perceptron kept | "
        "training, s | surrogate, ms | exact | near the teacher: surrogate | exact |",
        "|---|---|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    for name in options.names:
        lines.append(row(name, recipe))
        print(lines[-1], flush=True)
    if options.write:
        before, rest = PAGE.read_text().split(BEGIN)
        _, after = rest.split(END, 1)
        PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


if __name__ == "__main__":
    main()
