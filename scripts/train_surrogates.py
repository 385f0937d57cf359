"""Train the surrogates that infflow ships:
``python scripts/train_surrogates.py [NAME ...] [--out surrogates]``.

One after the other on one core, resumable: an interrupted run goes on from its checkpoints, and
what is finished is left alone unless ``--again`` is given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infflow import surrogates
from infflow.surrogates.training import train_surrogate

SHIPPED = ("tanh", "sigmoid", "softplus", "gelu", "g", "silu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"activations; default: {', '.join(SHIPPED)}")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent.parent / "surrogates"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--max-time", type=float, default=900.0, help="processor seconds of steps for each"
    )
    parser.add_argument("--again", action="store_true", help="train those that exist already, too")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names or SHIPPED:
        if (given.out / f"{name}.npz").exists() and not given.again:
            print(f"{name}: there already", flush=True)
            continue
        checkpoint = given.out / f".{name}.checkpoint.npz"
        form, info = train_surrogate(
            name, seed=given.seed, max_time=given.max_time, checkpoint=checkpoint
        )
        card = surrogates.save(form, info, given.out).card
        checkpoint.unlink()
        medians = ", ".join(
            f"{what} {found['median']:.1e}" for what, found in card["networks"].items()
        )
        print(
            f"{name}: {info['processor_seconds']:.0f} s of processor time; networks, medians: "
            f"{medians}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
