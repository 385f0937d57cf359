"""Tangent kernels of infinite width beside neural-tangents and its rule of 25 points.

    python -m benchmarks width_kernels

One hidden layer, 100 x 100 inputs of dimension 10; each entry of the tangent kernel is two
integrals, E[f f] and E[f' f']. neural-tangents has closed forms for erf, gelu, relu and sin; for
other smooth activations it has ``ElementwiseNumerical``: a product of two Gauss-Hermite rules with
25 points each, in the arguments (x, rho x + sqrt(1 - rho^2) y). Where the package can be imported
it is measured; the rule is written out here in NumPy, too, so that its accuracy is known without
it.

Errors are the largest over pairs of three of the inputs, relative to the geometric mean of the two
variances; the reference is adaptive cubature, which no other column uses. Times are processor time.
The table is written to ``docs/benchmarks/width_kernels.md``.
"""

from __future__ import annotations

import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "width_kernels.md"
ACTIVATIONS = ("erf", "tanh", "softplus", "gelu")
SCALES = (1.0, 3.0)
POINTS = 25
INPUTS = 100
#: what an environment with an old JAX gave, on the machine of the table
SEPARATELY = (
    "In an environment of its own, with JAX 0.4.30 and without TensorFlow, neural-tangents 0.6.5 "
    "agreed with the rule of the table to 2e-15, and took 136 ms for tanh and 168 ms for softplus "
    "(jitted, processor time)."
)
FEW = 3
DIMENSION = 10


def seconds(function: Callable[[], Any]) -> float:
    """Processor time of the fastest of three calls, after one that compiles."""
    function()
    times = []
    for _ in range(3):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def by_rule(name: str, X: Any, scale: float) -> Any:
    """The tangent kernel (n, n) by the product rule."""
    f = inf.activation(name)
    x, w = np.polynomial.hermite_e.hermegauss(POINTS)
    w = w / w.sum()
    K = scale**2 * X @ X.T / X.shape[1]
    r = np.sqrt(np.diag(K))
    u = np.clip(K / np.outer(r, r), -1.0, 1.0)
    first = r[:, None, None, None] * x[:, None]  # (n, 1, points, 1)
    second = r[None, :, None, None] * (
        u[:, :, None, None] * x[:, None] + np.sqrt(1.0 - u * u)[:, :, None, None] * x
    )
    weights = np.outer(w, w)

    def mean(g: Callable[[Any], Any]) -> Any:
        return (g(first) * g(second) * weights).sum(axis=(2, 3))

    return scale**2 * (mean(f) + mean(lambda h: f.derivative(h, 1)) * K)


def reference(name: str, X: Any, scale: float) -> tuple[Any, Any]:
    """The tangent kernel (n, n) by adaptive cubature, and the variances that errors refer to."""
    K = scale**2 * X @ X.T / X.shape[1]
    r = np.sqrt(np.diag(K))
    found = np.zeros_like(K)
    for i in range(len(X)):
        for j in range(i, len(X)):
            u = float(np.clip(K[i, j] / (r[i] * r[j]), -1.0, 1.0))
            value, slope = (
                inf.gaussian_moment(
                    name, name, r[i], r[j], u, orders=orders, method="cubature", rtol=1e-10
                )
                for orders in ((0, 0), (1, 1))
            )
            found[i, j] = found[j, i] = scale**2 * (float(value) + float(slope) * K[i, j])
    return found, np.sqrt(np.outer(np.diag(found), np.diag(found)))


def neural_tangents(name: str, scale: float) -> Callable[[Any], Any] | None:
    """Its kernel as a jitted function of the inputs; None where it is not installed."""
    # this part of it needs TensorFlow, and nothing here needs it
    sys.modules.setdefault("neural_tangents.experimental", ModuleType("experimental"))
    try:
        import jax
        import neural_tangents
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    stax = neural_tangents.stax
    known = {"erf": lambda: stax.Erf(b=2**-0.5), "gelu": stax.Gelu}
    functions = {"tanh": jax.numpy.tanh, "softplus": jax.nn.softplus}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = (
            known[name]() if name in known else stax.ElementwiseNumerical(functions[name], POINTS)
        )
    dense = stax.Dense(1, W_std=scale, b_std=None)
    kernel = stax.serial(dense, layer, dense)[2]
    compiled = jax.jit(lambda X: kernel(X, None, "ntk"))
    return lambda X: np.asarray(compiled(X))


class Row(NamedTuple):
    """One activation at one scale: errors and seconds of infflow, the rule, neural-tangents."""

    name: str
    scale: float
    errors: tuple[float, float, float]
    times: tuple[float, float, float]


def measured(name: str, scale: float) -> Row:
    X = np.random.default_rng(0).standard_normal((INPUTS, DIMENSION))
    few = X[:FEW]
    exact, size = reference(name, few, scale)

    def own(X: Any) -> Any:
        return inf.ntk_kernel([name], X, weight_std=scale)

    def rule(X: Any) -> Any:
        return by_rule(name, X, scale)

    peers = (own, rule, neural_tangents(name, scale))
    nothing = float("nan")
    errors = [nothing if f is None else float(np.max(np.abs(f(few) - exact) / size)) for f in peers]
    times = [nothing if f is None else seconds(lambda f=f: f(X)) for f in peers]
    return Row(name, scale, tuple(errors), tuple(times))


def page(rows: list[Row]) -> str:
    there = not np.isnan(rows[0].times[2])
    peer = (
        "neural-tangents, jitted"
        if there
        else "neural-tangents could not be imported where this was made"
    )
    lines = [
        "# Speed: kernels of infinite width beside neural-tangents",
        "",
        "`python -m benchmarks width_kernels`. The tangent kernel of one hidden layer at 100 x 100",
        "inputs of dimension 10. neural-tangents evaluates erf and gelu by closed forms, and",
        "other smooth activations by a product of two Gauss-Hermite rules of 25 points, whose",
        "published tolerance is 2e-3. The rule is measured for all of them, written out in NumPy",
        "(so its time is that of 625 evaluations a pair; infflow evaluates half of the pairs, by",
        f"symmetry); {peer}. Errors are relative to the",
        "geometric mean of the variances, against adaptive cubature; times are processor time, in",
        "milliseconds. A weight_std of 3 stands for what long training makes of weights.",
        "",
        SEPARATELY,
        "",
        "| activation | weight_std | error: infflow | rule of 25 | neural-tangents | ms: infflow | "
        "rule of 25 | neural-tangents |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        errors = ["-" if np.isnan(e) else f"{e:.1e}" for e in row.errors]
        times = ["-" if np.isnan(t) else f"{1e3 * t:.1f}" for t in row.times]
        lines.append(f"| {row.name} | {row.scale:g} | {' | '.join([*errors, *times])} |")
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return "\n".join([*lines, "", f"{machine}, infflow {inf.__version__}, one thread.", ""])


def main() -> None:
    rows = []
    for scale in SCALES:
        for name in ACTIVATIONS:
            rows.append(measured(name, scale))
            print(rows[-1], flush=True)
    TARGET.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
