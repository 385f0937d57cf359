"""Write the reference values that the tests compare against.

    python scripts/make_references.py [TABLE ...]

Every table is one function below and one JSON file in ``tests/data``. The definitions here are
written for mpmath and share nothing with infflow; derivatives are mpmath's own. Numbers are strings
of 30 significant digits; arguments are the float64 numbers that their decimal strings denote.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp

DATA = Path(__file__).parents[1] / "tests" / "data"
DIGITS = 30
# Tails are differences of numbers of order one: softplus''(700) = exp(-700) takes 304 digits more
# than are written.
WORKING_DIGITS = 450


def text(value: Any) -> str:
    """Thirty digits; what is far below the smallest float64 number (and may be
    rounding) is zero.
    """
    return (
        "0" if abs(value) < mp.mpf("1e-400") else mp.nstr(value, DIGITS, min_fixed=-5, max_fixed=5)
    )


# --------------------------------------------------------------------------------------------------
# activations


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def normal_cdf(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


# of selu, decimal
SCALE = "1.0507009873554805"
ALPHA = "1.6732632423543772"
SMOOTH: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "square": lambda x: x**2 / 2,
    "cube": lambda x: x**3,
    "erf": lambda x: mp.erf(x / mp.sqrt(2)),
    "normal_cdf": normal_cdf,
    "gelu": lambda x: x * normal_cdf(x),
    "gaussian": lambda x: mp.exp(-(x**2) / 2),
    "sigmoid": sigmoid,
    "tanh": mp.tanh,
    "softplus": softplus,
    "silu": lambda x: x * sigmoid(x),
    "g": lambda x: sigmoid(4 * x) + softplus(x),
    "exp": mp.exp,
    "sin": mp.sin,
    "cos": mp.cos,
}
KINKED: dict[str, Callable[[Any], Any]] = {  # at 0
    "relu": lambda x: x if x > 0 else mp.mpf(0),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "abs": lambda x: abs(x),
    "step": lambda x: mp.mpf(x > 0),
    "sign": lambda x: mp.sign(x),
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "selu": lambda x: mp.mpf(SCALE) * (x if x > 0 else mp.mpf(ALPHA) * mp.expm1(x)),
}
POSITIVE = (
    1e-10,
    1e-3,
    0.1,
    0.3,
    0.5,
    0.8,
    1.0,
    1.3,
    2.0,
    3.7,
    5.0,
    7.3,
    10.0,
    15.2,
    20.0,
    30.0,
    36.6,
    40.0,
    100.0,
    700.0,
)


def activations() -> dict[str, Any]:
    """Value and four derivatives of every registered activation."""
    signed = [s * x for x in POSITIVE for s in (-1.0, 1.0)]
    table = {}
    for name, f in (SMOOTH | KINKED).items():
        points = sorted(signed + ([] if name in KINKED else [0.0]))
        values = [[text(mp.diff(f, mp.mpf(x), order)) for x in points] for order in range(5)]
        table[name] = {"x": [repr(x) for x in points], "derivatives": values}
    return {"digits": DIGITS, "functions": table}


TABLES: dict[str, Callable[[], dict[str, Any]]] = {"activation_references": activations}


def main(names: list[str]) -> None:
    mp.mp.dps = WORKING_DIGITS
    for name in names or TABLES:
        path = DATA / f"{name}.json"
        path.write_text(json.dumps(TABLES[name](), indent=0) + "\n")
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main(sys.argv[1:])
