"""Fourth moments of own activations: closed or sampled, errors of Sobol and of random points.

    python scripts/sampled_moments.py [--samples 100000] [--seeds 12] [--table FILE]

Moments E[f_i' f_k' e_i e_k] of two students and two teachers in random positions. The error of
sampled ones is their root mean square distance, relative to the largest, from the closed form, or
from the mean of all seeds with 16 times as many Sobol points. Times are processor time: of one
evaluation, of drawing the points (which a run does once), and of an evaluation with so many random
points that their error is that of the Sobol points. The table goes to docs/order_parameters.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import infflow as inf
from infflow.errors import InfflowError
from infflow.online.equations.fourth_moments import ClosedFourthMoments, SampledFourthMoments

PAGE = Path(__file__).parents[1] / "docs" / "order_parameters.md"
START = "<!-- table of scripts/sampled_moments.py -->"
END = "<!-- end of table -->"
STUDENTS, NEURONS = 2, 4
ACTIVATIONS = (
    "relu",
    "leaky_relu(0.2)",
    "relu_power(2)",
    "hard_tanh",
    "hard_swish",
    "mish",
    "softsign",
)
LONGER = 16  # points of the reference


def evaluated(evaluator, C, S):
    """The moments, and milliseconds of processor time."""
    evaluator(C, S, False)  # compiled, and in the cache
    start = time.process_time()
    value = evaluator(C, S, False).value
    return value, 1e3 * (time.process_time() - start)


def sampled(activation, samples, seed, random):
    """An evaluator on Sobol points, or on as many independent random ones; milliseconds to draw."""
    rng = np.random.default_rng(seed)
    start = time.process_time()
    found = SampledFourthMoments([activation] * NEURONS, STUDENTS, samples, rng)
    if random:
        start = time.process_time()
        found._z = [rng.standard_normal(z.shape) for z in found._z]
    return found, 1e3 * (time.process_time() - start)


def row(name, samples, seeds):
    """One line of the table."""
    activation = inf.activation(name)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((NEURONS, 2 * NEURONS))
    C = A @ A.T / (2 * NEURONS)
    S = rng.standard_normal((STUDENTS, NEURONS))
    try:
        exact, closed_time = evaluated(ClosedFourthMoments([activation] * NEURONS, STUDENTS), C, S)
        closed = f"closed | {closed_time:.1f}"
    except InfflowError:
        many = [sampled(activation, LONGER * samples, 100 + s, False)[0] for s in range(4)]
        exact = np.mean([evaluated(each, C, S)[0] for each in many], axis=0)
        closed = "sampled | "
    errors, drawing, evaluating = np.zeros((3, 2))
    for way, random in enumerate((True, False)):
        drawn = [sampled(activation, samples, seed, random) for seed in range(seeds)]
        found = [evaluated(evaluator, C, S) for evaluator, _ in drawn]
        gap = np.array([value for value, _ in found]) - exact
        errors[way] = np.sqrt((gap**2).mean()) / np.abs(exact).max()
        drawing[way] = np.median([t for _, t in drawn])
        evaluating[way] = np.median([t for _, t in found])
    ratio = errors[0] / errors[1]
    cells = [
        name,
        closed,
        *(f"{errors[way]:.1e} | {drawing[way]:.0f} | {evaluating[way]:.0f}" for way in (0, 1)),
        f"{ratio:.0f}",
        f"{evaluating[0] * ratio**2:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--table", type=Path, default=PAGE, help="page with the table")
    options = parser.parse_args()
    if options.samples < 1000 or options.seeds < 2:
        parser.error("--samples must be at least 1000 and --seeds at least 2")
    lines = [
        f"| activation | `auto` takes | closed, ms | error, {options.samples:,} random points | "
        "draw, ms | evaluate, ms | error, Sobol points | draw, ms | evaluate, ms | ratio | "
        "random points with the error of Sobol, ms |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    for name in ACTIVATIONS:
        lines.append(row(name, options.samples, options.seeds))
        print(lines[-1], flush=True)
    text = options.table.read_text() if options.table.exists() else f"{START}\n{END}\n"
    before, rest = text.split(START)
    _, after = rest.split(END, 1)
    options.table.write_text(f"{before}{START}\n" + "\n".join(lines) + f"\n{END}{after}")


if __name__ == "__main__":
    main()
