"""Scatter of single runs of online learning: 64 simulations against van Kampen's expansion.

Prints the table of docs/order_parameters.md as JSON: python scripts/fluctuations.py [--runs 64]
"""

import argparse
import json
import time

import numpy as np
from order_parameters import CASES


def measure(case, D, runs, parts):
    """Root of the mean variance of the overlaps R, and the scatter of the error at the end."""
    op, theta = case.build()
    times = np.linspace(0.0, case.t_end / parts, 11)
    start = time.perf_counter()
    expected = op.fluctuations(theta, D, t_eval=times)
    seconds = time.perf_counter() - start
    simulated = [op.simulate(theta, D, times, rng=seed) for seed in range(1000, 1000 + runs)]
    R = np.array([run.R[1:] for run in simulated])
    error = np.array([run.generalization_error[-1] for run in simulated])
    return {
        "case": case.title,
        "dimension": D,
        "runs": runs,
        "t_end": times[-1],
        "R_measured": float(np.sqrt(R.var(axis=0, ddof=1).mean())),
        "R_expected": float(np.sqrt((expected.R[1:] ** 2).mean())),
        "error_measured": float(error.std(ddof=1)),
        "error_expected": float(expected.generalization_error[-1]),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[500, 2000])
    parser.add_argument(
        "--parts", type=float, default=24.0, help="share of t_end to look at: 1 / it"
    )
    given = parser.parse_args()
    rows = [measure(case, D, given.runs, given.parts) for case in CASES for D in given.dimensions]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
