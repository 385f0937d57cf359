"""Time and error of the activation kernels: nanoseconds per number with 0 to 4 derivatives, one
thread.

    python benchmarks/activations.py [NAME ...]

The column numpy is the value alone, written with numpy and scipy.special; the error is the largest
one of value and first derivative at the points of ``tests/data/activation_references.json``,
relative, in units of 2**-53.
"""

from __future__ import annotations

import json
import sys
import timeit
from pathlib import Path

import mpmath as mp
import numpy as np
from scipy import special

from infflow.activations import names, resolve

SIZE = 8192  # with five results 393 kB: fits in L2
REFERENCES = Path(__file__).parents[1] / "tests" / "data" / "activation_references.json"
NUMPY = {
    "relu": lambda x: np.maximum(x, 0),
    "erf": lambda x: special.erf(x / np.sqrt(2)),
    "normal_cdf": special.ndtr,
    "gelu": lambda x: x * special.ndtr(x),
    "gaussian": lambda x: np.exp(-x * x / 2),
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "silu": lambda x: x * special.expit(x),
    "exp": np.exp,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "sin": np.sin,
    "cos": np.cos,
}


def nanoseconds(call, count):
    return 1e9 * min(timeit.repeat(call, number=20, repeat=15)) / 20 / count


def worst_error(name, table):
    x = np.array([float(p) for p in table["x"]])
    worst = 0.0
    with mp.workdps(40):
        for order in (0, 1):
            values = resolve(name).derivative(x, order)
            for v, s in zip(values, table["derivatives"][order], strict=True):
                if abs(mp.mpf(s)) > 1e-300:
                    worst = max(worst, float(abs(mp.mpf(float(v)) / mp.mpf(s) - 1)))
    return worst * 2.0**53


def main(selected):
    tables = json.loads(REFERENCES.read_text())["functions"]
    x = 3 * np.random.default_rng(0).normal(size=SIZE)
    print(
        f"{'':12}"
        + "".join(f"{f'm={m}':>7}" for m in range(1, 6))
        + f"{'numpy':>8}{'error':>8}{'call of 4':>12}"
    )
    for name in selected or names():
        a = resolve(name)
        times = []
        for m in range(1, 6):
            out = np.empty((m, SIZE))
            a.jet(x, out)
            times.append(nanoseconds(lambda a=a, out=out: a.jet(x, out), SIZE))
        numpy = nanoseconds(lambda name=name: NUMPY[name](x), SIZE) if name in NUMPY else np.nan
        few = x[:4].copy()
        out = np.empty((2, 4))
        call = nanoseconds(lambda a=a, few=few, out=out: a.jet(few, out), 1)
        row = "".join(f"{t:7.2f}" for t in times)
        print(f"{name:12}{row}{numpy:8.2f}{worst_error(name, tables[name]):8.1f}{call:9.0f} ns")


if __name__ == "__main__":
    main(sys.argv[1:])
