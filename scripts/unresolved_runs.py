"""Which share of runs ends unresolved: random problems of the size of the paper's figure 2.

Softplus students with biases on 1,000 samples of random teachers that they can copy (D0 inputs,
D1* = D0 teachers, D1 students), from Glorot starts: the flow, then the search of the fixed point.
Limits are steps, not seconds, so that a busy machine finds the same. A run is unresolved if
:func:`infflow.classify` says NOT_CONVERGED of where it ended. Tables in docs/fixed_points.md.

    python scripts/unresolved_runs.py --seeds 80 --out unresolved.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import infflow as inf
from infflow.studies.fixed_points import build

SIZES = ((2, 1), (2, 2), (4, 1), (4, 2))


def one(inputs: int, width: int, seed: int, steps: tuple[int, int]) -> dict[str, Any]:
    """One run, and what was found."""
    net, theta = build(inputs, inputs, width * inputs, 1000, seed)
    run = inf.train(
        net,
        theta,
        max_steps_flow=steps[0],
        max_steps_newton=steps[1],
        max_time_flow=600.0,
        max_time_newton=600.0,
        num_trajectory=2,
        progress=False,
    )
    found = inf.classify(net, run, progress=False)
    limit = getattr(found, "limit", None)
    return {
        "inputs": inputs,
        "width": width,
        "seed": seed,
        "status": run.status.name,
        "kind": found.kind.name,
        "units": [] if limit is None else [unit.kind.name for unit in limit.units],
        "loss": run.loss,
        "gradient_norm": run.gradient_norm,
        "flow_steps": run.flow.steps,
        "newton_steps": run.newton.steps,
        "newton": run.newton.method,
        "theta": run.theta.tolist(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Kinds of end points, and how the runs ended, by size."""
    kinds = sorted({row["kind"] for row in rows})
    lines = [
        f"| D0 = D1* | D1 | runs | {' | '.join(kinds)} | unresolved | median steps of the search |",
        "|" + "---|" * (len(kinds) + 5),
    ]
    groups = [[r for r in rows if (r["inputs"], r["width"]) == size] for size in SIZES]
    for size, group in zip([*SIZES, None], [*groups, rows], strict=True):
        counts = Counter(row["kind"] for row in group)
        name = f"{size[0]} | {size[0] * size[1]}" if size else "all | "
        share = counts["NOT_CONVERGED"] / max(len(group), 1)
        steps = np.median([row["newton_steps"] for row in group]) if group else np.nan
        cells = " | ".join(str(counts[kind]) for kind in kinds)
        lines.append(f"| {name} | {len(group)} | {cells} | {share:.1%} | {steps:g} |")
    ends = Counter("+".join(sorted(row["units"])) for row in rows if row["units"])
    lines += ["", "at infinity: " + ", ".join(f"{k} {n}" for k, n in ends.most_common())]
    stops = Counter(row["status"] for row in rows)
    lines += ["ended by: " + ", ".join(f"{k} {n}" for k, n in stops.most_common())]
    return "\n".join(lines)


def main() -> None:
    """Run all problems, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=80)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs=2, default=(2000, 3000), metavar="N")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for inputs, width in SIZES:
            rows.append(one(inputs, width, seed, tuple(arguments.steps)))
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
