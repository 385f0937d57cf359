"""Write docs/gallery.md: formulas, evaluators, measured errors and costs of every activation.

    python scripts/make_gallery.py [--out DIR]

Errors are measured against ``tests/data/gaussian_moments.json``, those of the section on uniformity
against Arb through ``make_test_vectors.py``. Times are those of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import make_test_vectors as reference
import numpy as np
import sympy

import infflow as inf
from infflow.activations import Activation, names, resolve
from infflow.activations.naming import NAMED
from infflow.errors import AccuracyWarning, MethodError
from infflow.integrals.choice import Choice
from infflow.integrals.closed import elu as one_sided
from infflow.integrals.cubature import pairs as cubature
from infflow.integrals.evaluator import Arguments, Points
from infflow.integrals.registry import EVALUATORS

ROOT = Path(__file__).parents[1]
RTOL = 1e-10
METHODS = ("closed", "hermite", "cubature")
CUBATURE_POINTS = (0, 1, 4, 7)


# -- errors against the test vectors ---------------------------------------------------------------


class Errors(NamedTuple):
    """Largest relative errors of moments whose bound meets RTOL, of order 0 and of all; share of
    those moments.
    """

    value: float
    derivatives: float
    share: float


def load() -> tuple[list[tuple[int, int]], dict[tuple[str, str], list[list[Any]]]]:
    data = json.loads((ROOT / "tests/data/gaussian_moments.json").read_text(encoding="utf-8"))
    rows: dict[tuple[str, str], list[list[Any]]] = {}
    for f, g, *rest in data["moments"]:
        rows.setdefault((f, g), []).append(rest)
    return [(p, q) for p, q in data["orders"]], rows


def distance(value: float, exact: str) -> float:
    with localcontext() as context:
        context.prec = 60
        return float(abs(Decimal(float(value)) - Decimal(exact)))


def errors(
    f: str, method: str, orders: list[tuple[int, int]], rows: dict[tuple[str, str], list[list[Any]]]
) -> Errors:
    """Of all pairs that have f in first place; of cubature, which takes its time, of f with itself
    at a few points.
    """
    found: list[tuple[bool, float]] = []
    reached = []
    for pair, some in rows.items():
        if pair[0] != f or not EVALUATORS[method].defined(*map(resolve, pair)):
            continue
        if method == "cubature":
            if pair != (f, f):
                continue
            some = [some[k] for k in CUBATURE_POINTS]
        points = Points.at(*np.array([row[:5] for row in some]).T.copy())
        for k, (value, bound, scale) in enumerate(_estimates(method, pair, points, orders)):
            for i, row in enumerate(some):
                size = max(scale[i], abs(value[i]))
                met = bool(bound[i] <= RTOL * size)
                reached.append(met)
                if met and size > 0:
                    found.append((orders[k] == (0, 0), distance(value[i], row[5][k]) / size))
    largest = max((e for first, e in found if first), default=0.0)
    return Errors(largest, max((e for _, e in found), default=0.0), float(np.mean(reached)))


def _estimates(
    method: str, pair: tuple[str, str], points: Points, orders: list[tuple[int, int]]
) -> Iterator[tuple[Any, Any, Any]]:
    """Values, error bounds and scales at all points, order by order."""
    f, g = map(resolve, pair)
    if method == "cubature":  # all orders at once
        found = []
        for r1, r2, u, b1, b2 in zip(*(x.tolist() for x in points.scales), strict=True):
            det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
            gaussian = cubature.Gaussian(r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, det)
            moments = cubature.pair_moments(f, g, gaussian, 2, RTOL)
            found.append(np.stack([moments.value, moments.error, moments.scale]))
        for pq in orders:
            yield tuple(np.stack(found)[:, :, cubature.ORDERS.index(pq)].T)
        return
    for pq in orders:
        with np.errstate(all="ignore"):
            estimate = EVALUATORS[method].moment(f, g, points, pq, RTOL)
        yield estimate.value, estimate.error_bound, estimate.scale


# -- cost ------------------------------------------------------------------------------------------


def cost(f: Activation, method: str, neurons: int = 15, repetitions: int = 20) -> float:
    """Microseconds per pair for value, gradient and Hessian of the pairs among neurons of 20
    inputs, r about 1.
    """
    if method == "cubature":
        neurons = 3
        repetitions = 1
    rng = np.random.default_rng(0)
    i, j = np.triu_indices(neurons, 1)
    evaluator = Choice([f] * neurons, i, j, method, RTOL)

    def arguments() -> (
        Arguments
    ):  # new ones each time: neurons that do not move cost a series nothing
        W = rng.normal(size=(neurons, 20)) / np.sqrt(20)
        b = rng.normal(size=neurons)
        C = W @ W.T
        C11 = C[i, i]
        C12 = C[i, j]
        C22 = C[j, j]
        return Arguments(
            np.stack([C11, C12, C22, b[i], b[j], C11 * C22 - C12**2]), np.diag(C).copy(), b
        )

    best = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        evaluator(arguments(), 2)
        for _ in range(repetitions):
            args = arguments()
            start = time.perf_counter()
            evaluator(args, 2)
            best = min(best, time.perf_counter() - start)
    return best / len(i) * 1e6


# -- uniformity ------------------------------------------------------------------------------------

UNIFORM = ("tanh", "softplus", "gelu")
VARIANCES = (1.0, 25.0, 100.0, 1e4)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {name: resolve(name) for name in UNIFORM}


def gauss_hermite(f: Callable[[Any], Any], r: float, u: float, n: int) -> float:
    """E[f(r x) f(r y)] by the product rule with n points per axis."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    w = w / w.sum()
    y = u * x[:, None] + np.sqrt(1 - u * u) * x
    return float((w * f(r * x)) @ (f(r * y) @ w))


def uniformity(variances: Any) -> dict[str, dict[str, list[float]]]:
    """Relative errors of E[f(h1) f(h2)] at correlation 1/2 and equal variances; ``series bound`` is
    the bound of Hermite.
    """
    result: dict[str, dict[str, list[float]]] = {}
    for name in UNIFORM:
        f = FUNCTIONS[name]
        columns: dict[str, list[float]] = {}
        for v in variances:
            r = float(np.sqrt(v))
            exact = (
                reference.moments(name, name, (r, r, 0.5, 0.0, 0.0))[0, 0][0]
                .mid()
                .str(30, radius=False)
            )
            size = float(exact)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AccuracyWarning)
                found = {
                    m: inf.gaussian_moment(name, name, r, r, 0.5, method=m, full_output=True)
                    for m in METHODS[:2]
                }
            row = {m: distance(x.value, exact) / size for m, x in found.items()}
            row["series bound"] = found["hermite"].error_bound / size
            for n in (50, 100):
                row[f"Gauss-Hermite {n}"] = distance(gauss_hermite(f, r, 0.5, n), exact) / size
            for key, error in row.items():
                columns.setdefault(key, []).append(error)
        result[name] = columns
    return result


def draw(path: Path) -> None:
    """Error against variance."""
    from matplotlib.figure import Figure

    from infflow.plotting.style import COLORS, PAGE_WIDTH, sparse_log_ticks
    from infflow.plotting.style import style as look

    variances = np.logspace(-1, 4, 16)
    data = uniformity(variances)
    labels = {
        "Gauss-Hermite 50": ("Gauss-Hermite rule, 50 × 50", COLORS[3], "--"),
        "Gauss-Hermite 100": ("Gauss-Hermite rule, 100 × 100", COLORS[1], "--"),
        "hermite": ("Hermite series", COLORS[0], "-"),
        "series bound": ("Hermite series, its bound", COLORS[0], ":"),
        "closed": ("closed form", COLORS[2], "-"),
    }
    with look():
        figure = Figure(figsize=(PAGE_WIDTH, 3.6), layout="constrained")
        axes = figure.subplots(1, len(UNIFORM), sharey=True)
        for axis, (name, columns) in zip(axes, data.items(), strict=True):
            for key, (label, color, style) in labels.items():
                error = np.maximum(columns[key], 1e-17)
                marker = "." if style == "-" else None
                axis.loglog(variances, error, style, color=color, label=label, marker=marker)
            axis.set(title=name, xlabel="variance of both", ylim=(5e-18, 10.0))
            sparse_log_ticks(axis.xaxis)
        axes[0].set_ylabel("relative error of E[f(h1) f(h2)]")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=100)


# -- the page --------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """What was measured of one activation."""

    activation: Activation
    errors: dict[str, Errors]
    costs: dict[str, float]


def measure() -> list[Entry]:
    orders, rows = load()
    entries = []
    for name in names():
        f = resolve(name)
        methods = [m for m in METHODS if m in inf.available_methods(f, f)]
        entries.append(
            Entry(
                f,
                {m: errors(name, m, orders, rows) for m in methods},
                {m: cost(f, m) for m in methods},
            )
        )
        print(name, {m: f"{c:.2f} us" for m, c in entries[-1].costs.items()}, flush=True)
    return entries


def digits(x: float) -> str:
    return "0" if x == 0 else f"{x:.0e}".replace("e-0", "e-")


def microseconds(x: float | None) -> str:
    return "-" if x is None else f"{x:.2f}" if x < 1 else f"{x:.1f}" if x < 100 else f"{x:,.0f}"


def table(entries: list[Entry]) -> list[str]:
    lines = [
        (
            "| activation | closed: error | derivatives | Hermite: error | derivatives | covers | "
            "cubature: error | µs closed | µs Hermite | µs cubature |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for f, found, costs in entries:
        cells = [f"[{f.name}](#{f.name})"]
        closed = found.get("closed")
        series = found.get("hermite")
        cells += [digits(closed.value), digits(closed.derivatives)] if closed else ["-", "-"]
        cells += (
            [digits(series.value), digits(series.derivatives), f"{series.share:.0%}"]
            if series
            else ["-"] * 3
        )
        cells += [digits(found["cubature"].derivatives)]
        cells += [microseconds(costs.get(m)) for m in METHODS]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def kind(f: Activation) -> str:
    """How the closed form is made, in words."""
    if f.waves:
        partners = ", ".join(n for n in names() if "closed" in inf.available_methods(f, n))
        return (
            "Closed form by a shift of the other mean (exp) or by Euler's formula, with "
            f"{partners}."
        )
    if one_sided.sides(f) is not None:
        return (
            "Closed form by normal distribution functions at shifted means; evaluated as one "
            "integral over closed conditional means, with"
            " all activations. Those with itself are in `inf.closed_form`; the mean above shows "
            "their kind."
        )
    if not f.has_closed_form:
        return "No closed form."
    parts = []
    if any(f.polynomial):
        x = sympy.Symbol("x")
        poly = sum(sympy.nsimplify(c, rational=True) * x**k for k, c in enumerate(f.polynomial))
        parts.append(f"polynomial ${sympy.latex(poly)}$")
    ordinary = f.atoms
    if len(ordinary) > 8:
        kinds = sorted({a.order for a in ordinary})
        what = " and ".join(("ramps", "steps", "bells")[k] for k in kinds)
        parts.append(
            f"a mixture of {len({a.width for a in ordinary})} widths of smoothed {what} "
            "(Kolmogorov's density)"
        )
    else:
        parts += [_atom(a) for a in ordinary]
    return "Closed form: " + ", ".join(parts) + "."


def _atom(a: Any) -> str:
    name = ("a ramp", "a step", "a bell")[a.order]
    return f"{name} of weight {a.weight:.6g}" + (f" and width {a.width:g}" if a.width else "")


def latex(expression: Any) -> str:
    """LaTeX with arcsin and decimal constants, and the step without its value at 0."""
    expression = expression.replace(
        lambda e: e.is_Mul and e.args[0].is_Rational and e.args[0].q > 10**6, spread
    )
    long = {n: sympy.Float(n, 17) for n in expression.atoms(sympy.Rational) if n.q > 10**6}
    return str(
        sympy.latex(expression.xreplace(long))
        .replace(r"\operatorname{asin}", r"\arcsin")
        .replace(r"\left(x, 0\right)", "(x)")
    )


def spread(product: Any) -> Any:
    """A tiny constant multiplied into the sum whose integers it makes small: 0.5 b + 0.9 instead of
    1e-16 (5e15 b + 9e15).
    """
    constant, rest = product.as_coeff_Mul()
    for factor in sympy.Mul.make_args(rest):
        if factor.is_Add and any(abs(n) > 10**6 for n in factor.atoms(sympy.Integer)):
            return sympy.Add(*(constant * term for term in factor.args)) * (rest / factor)
    return product


def generating_function(f: Activation) -> str | None:
    try:
        if one_sided.sides(f) is not None:  # that of a pair takes half a page
            return "E[f(h)] = " + latex(inf.closed_form(f, biases=True))
        return "E[f(h_1) f(h_2)] = " + latex(inf.closed_form(f, f))
    except MethodError:
        return None


def section(entry: Entry) -> list[str]:
    f, found, costs = entry
    lines = [f"### {f.name}", "", "$$ f(x) = " + latex(f.expression) + " $$", ""]
    formula = generating_function(f)
    if formula is not None:
        lines += ["$$ " + formula + " $$", ""]
    lines.append(kind(f))
    words = {"closed": "closed form", "hermite": "Hermite series", "cubature": "cubature"}
    for m, e in found.items():
        share = "" if e.share == 1.0 else f" where it reaches 1e-10 ({e.share:.0%} of the vectors)"
        lines.append(
            f"- {words[m]}: largest error {digits(e.value)} (value), {digits(e.derivatives)} "
            f"(with derivatives){share};"
            f" {microseconds(costs[m])} µs per pair"
        )
    lines.insert(-len(found), "")
    return [*lines, ""]


INTRODUCTION = """# Gallery of Gaussian integrals

For jointly Gaussian $h_1, h_2$ with covariance $C_{11}, C_{12}, C_{22}$, infflow evaluates $E[f^{(p)}(h_1)\\, g^{(q)}(h_2)]$, $p + q \\le 4$, of
any two activations by three independent methods: closed forms, Hermite series, and cubature, each with an error bound.
This page is written by `python scripts/make_gallery.py`. How the closed forms come about is told in
[mathematics](mathematics.md).

## Measured

- **Errors** against the [test vectors](#test-vectors) below, relative to $\\sqrt{E f^{(p)2}\\, E g^{(q)2}}$ (or the moment itself, if larger). Each is the largest over the
  pairs of the activation with itself, erf, relu and tanh at 13 points, with $r$ from 0.001 to 20, $|u|$ up to 1 and biases. The columns have that of the moment (*error*), and of the ten
  orders of differentiation up to four (*derivatives*). Only moments count whose error bound meets `rtol=1e-10`; *covers* is their share for the Hermite
  series (closed forms: see the sections). Every error lies within its bound, which the tests check. Cubature runs with `rtol=1e-10`, at four points.
- **Cost** in microseconds per pair of value, gradient and Hessian (21 numbers) at `rtol=1e-10`: 105 pairs of 15 neurons with 20 inputs, $r$ about 1, with biases, one thread.
"""

NOTATION = """A closed form is a polynomial plus *atoms*: ramps $E_z\\max(0, x + \\tau z)$ of width $\\tau$ (standard normal $z$), steps (their derivatives) and bells
(second derivatives, normal densities). Generating functions are given for zero means; `inf.closed_form(f, g, biases=True)` has the general ones. Errors are those of the table;
a percentage is the share of the test vectors whose bound meets 1e-10: the others are derivatives of sharp functions of nearly parallel neurons, or beyond a series' reach."""


VECTORS_SECTION = """## Test vectors

[`tests/data/gaussian_moments.json`](../tests/data/gaussian_moments.json) holds {rows:,} points with {orders} moments each, {digits} digits, for other
implementations to check themselves against (MIT licence):

```python
import json
from pathlib import Path

data = json.loads(Path("tests/data/gaussian_moments.json").read_text())
f, g, r1, r2, u, b1, b2, values = data["moments"][0]
dict(zip(map(tuple, data["orders"]), values, strict=True))[1, 1]  # E[f'(r1 x + b1) g'(r2 y + b2)], a decimal string
```

The header says what every activation is and which conventions hold. $x, y$ are standard normal with correlation $u$.
Arguments are float64 numbers, so $u$ = 0.9999999 is the nearest one. Derivatives of kinked functions include delta functions: they are
derivatives with respect to the means $b_1, b_2$. Values have fewer digits where the integrand cancels to less than 1e-5 of its size; all given digits but the last are right. They
were made by Gauss-Legendre quadrature in ball arithmetic of 53 digits, independently of the formulas of infflow
(`scripts/make_test_vectors.py`), and checked by a second rule and by mpmath.
"""


def uniformity_section() -> list[str]:
    data = uniformity(VARIANCES)
    labels = {
        "closed": "closed form",
        "hermite": "Hermite series",
        "series bound": "its bound",
        "Gauss-Hermite 50": "Gauss-Hermite, 50 x 50",
        "Gauss-Hermite 100": "Gauss-Hermite, 100 x 100",
    }
    lines = [
        "## Uniformity",
        "",
        (
            "Long flows lead to large weights, where quadrature in two dimensions fails: $E[f(h_1) "
            "f(h_2)]$ at correlation 1/2 and equal variances $v$,"
        ),
        (
            "relative error against 30 digits. Closed forms, mixtures included, keep 15 digits "
            "from "
            "one end to the other. The Hermite series of at most 256 terms says by its bound where"
        ),
        (
            "it stops being accurate, and infflow then takes the closed form. The product rule of "
            "Gauss and Hermite fails silently."
        ),
        "",
        "| | method | " + " | ".join(f"v = {v:g}" for v in VARIANCES) + " |",
        "|---|---|" + "---:|" * len(VARIANCES),
    ]
    for name, columns in data.items():
        for k, (key, label) in enumerate(labels.items()):
            cells = " | ".join(digits(x) for x in columns[key])
            lines.append(f"| {name if k == 0 else ''} | {label} | {cells} |")
    return [
        *lines,
        "",
        "![Relative error against variance: rules of Gauss and Hermite fail above a variance of ten, closed forms never](images/gallery_uniformity.png)",
        "",
    ]


PRIMITIVES = ("relu_power(2)", "relu_power(3)", "relu_power(4)", "relu_power(5)")


def displayed(f: inf.Activation) -> list[str]:
    """Mean and moment with itself as a formula, a line for each term."""
    rows = [latex(term) for term in sympy.Add.make_args(inf.closed_form(f, f))]
    moment = " \\\\\n&\\quad + ".join(rows)
    mean = latex(inf.closed_form(f))
    return ["$$", rf"E f(h) &= {mean}, \\", f"E[f(h_1) f(h_2)] &= {moment}", "$$"]


def with_fractions(name: str) -> str:
    """Decimals of thirds and the like as fractions."""
    return re.sub(
        r"\d+\.\d{6,}", lambda found: str(Fraction(found[0]).limit_denominator(1000)), name
    )


def primitives_section() -> list[str]:
    """Means and pair moments of primitives that sums of terms are made of, by their
    closed forms.
    """
    lines = [
        "## Further primitives",
        "",
        (
            "Sums of terms (`a.terms`) are made of the activations above and of these. Pairs with "
            "each other, with polynomials and with ramps, steps, erf, gelu and the mixtures"
        ),
        "are closed. Without biases:",
        "",
    ]  # fmt: skip
    for name in PRIMITIVES:
        f = inf.activation(name)
        lines += [f"**{name}**", "", *displayed(f), ""]
    half_line = inf.activation("elu") - inf.activation("relu")
    mean = latex(inf.closed_form(half_line))
    lines += [
        "**elu - relu**: the moment of a pair is an integral over one mean, and",
        "",
        f"$$ E f(h) = {mean} $$",
    ]
    return [*lines, "", *sums_section()]


def sums_section() -> list[str]:
    """What names beside the primitives stand for, and which methods they have."""
    lines = [
        "### Sums and functions with a name",
        "",
        "| name | sum | kinks | methods with itself |",
        "|---|---|---|---|",
    ]
    for name in NAMED:
        if name in names():
            continue
        f = inf.activation(name)
        terms = with_fractions((f + 0).name)
        methods = ", ".join(inf.available_methods(f, f))
        kinks = ", ".join(f"{k:g}" for k in f.kinks)
        lines.append(f"| `{name}` | `{terms}` | {kinks} | {methods} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs", help="folder of gallery.md and images/"
    )
    out = parser.parse_args().out
    orders, rows = load()
    entries = measure()
    count = sum(map(len, rows.values()))
    page = [INTRODUCTION, *table(entries), ""]
    page += uniformity_section()
    page += primitives_section()
    page += [
        VECTORS_SECTION.format(rows=count, orders=len(orders), digits=reference.DIGITS),
        "## Activations",
        "",
        NOTATION,
        "",
    ]
    for entry in entries:
        page += section(entry)
    draw(out / "images" / "gallery_uniformity.png")
    (out / "gallery.md").write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
