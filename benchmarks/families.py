"""Value, gradient and Hessian of families of symmetric networks, whatever their number of neurons.

    python -m benchmarks families
    python -m benchmarks.families [--repeat 200] [--out PAGE]

Four blocks of students that shadow four blocks of teachers: 20 parameters, from 80 neurons to
10^9. Times are the smallest of seven means; the page is written to docs/benchmarks/families.md.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np

import infflow as inf

from . import _page

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "families.md"
SHARES = np.array([0.1, 0.2, 0.3, 0.4])
SIZES = (80, 1000, 10**6, 10**9)
ACTIVATIONS = ("relu", "erf", "gelu", "sin", "tanh")
DENSE = 40  # neurons of the whole network beside


def seconds(function, repeat):
    """The smallest of seven means over ``repeat`` calls."""
    function()
    found = []
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(repeat):
            function()
        found.append((time.perf_counter() - begin) / repeat)
    return min(found)


def family(activation, k):
    """Four blocks, and a point where each student is near its teacher."""
    fam = inf.SymmetricNetI(activation, [round(float(s) * k) for s in SHARES])
    own = np.array([-0.9, 1.0, 1.0, 0.9])
    return fam, fam.pack(own, np.full(4, 0.3 / k), np.full((4, 4), 0.5 / k))


def rows(repeat):
    """Lines of the table."""
    for activation in ACTIVATIONS:
        cells = [activation]
        for k in SIZES:
            fam, z = family(activation, k)
            times = [
                seconds(lambda order=order, z=z, fam=fam: fam.evaluate(z, order), repeat)
                for order in (1, 2)
            ]
            cells.append(" / ".join(f"{1e3 * each:.3f}" for each in times))
        fam, z = family(activation, SIZES[-1])
        cells.append(f"{1e3 * seconds(lambda z=z, fam=fam: fam.spectrum(z), repeat // 20 + 1):.1f}")
        fam, z = family(activation, DENSE)
        neti, theta = fam.lift(z)
        cells.append(f"{1e3 * seconds(lambda t=theta, n=neti: n.evaluate(t, 2), 2):.1f}")
        yield "| " + " | ".join(cells) + " |"


def page(repeat):
    """The page in markdown."""
    header = ["activation", *(f"k = {k:,}" for k in SIZES)]
    header += [f"spectrum, k = {SIZES[-1]:,}", f"whole network, k = {DENSE}"]
    table = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *rows(repeat)]
    machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
    lines = (
        "# Speed: families of symmetric networks",
        "",
        "Made by `python -m benchmarks families` on one thread: " + machine + ".",
        "",
        "Milliseconds of value and gradient / value, gradient and Hessian in the 20 parameters of "
        "four blocks that shadow four blocks of k teachers in all. The column before the last has "
        "all k^2 eigenvalues of the whole network by symmetry types, the last one value, gradient "
        "and Hessian of a whole network.",
        "",
        *table,
        "",
    )
    return "\n".join(lines)


def main() -> None:
    _page.write(page, TARGET, __doc__, 200)


if __name__ == "__main__":
    main()
