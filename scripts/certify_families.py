"""Certify spurious minima of relu networks of up to a million neurons.

    python scripts/certify_families.py [--write]

k students of k orthonormal teachers, output weights one; one student is off, all others are equal
up to permutations. ``inf.certify`` proves the minimum in the five parameters of the family, with
the signs of all k^2 eigenvalues of the whole network. ``--write`` puts the table into
docs/families.md. Takes some seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import infflow as inf
from infflow.studies.families.runs import search

PAGE = Path(__file__).parent.parent / "docs" / "families.md"
BEGIN = "<!-- table of scripts/certify_families.py -->"
END = "<!-- end of table -->"
SIZES = (6, 10, 100, 1000, 10**4, 10**5, 10**6)
HEADER = "| k | loss | smallest eigenvalue | eigenvalues | within | unique within | proof, s |"


def rows(sizes=SIZES):
    """A line of the table for each number of neurons."""
    for k in sizes:
        fam, z, _, _ = search(k, 1)
        begin = time.perf_counter()
        proof = inf.certify(fam, z)
        seconds = time.perf_counter() - begin
        in_any = f"has {k} positive and 0 negative eigenvalues" in str(proof)  # further inputs
        if not (proof.is_minimum and in_any):
            raise SystemExit(f"k = {k}: {proof}")
        lowest = fam.spectrum(z).values[0]
        middle = (proof.loss.lower + proof.loss.upper) / 2
        yield (
            f"| {k:,} | {middle:.15g} | {lowest:.6f} | {proof.positive:,} positive "
            f"| {proof.radius:.1e} | {proof.uniqueness_radius:.1e} | {seconds:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/families.md")
    write = parser.parse_args().write
    search(10, 1)  # compile
    table = "\n".join([HEADER, "|" + "---|" * 7, *rows()])
    print(table)
    if write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    main()
