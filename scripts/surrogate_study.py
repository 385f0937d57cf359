"""The numbers and the picture of docs/surrogates.md.

    python scripts/surrogate_study.py [--dir surrogates] [--out docs/images] [--part accuracy speed
    flow terms]

Prints the tables as Markdown. Times are ratios of processor time, all evaluators interleaved in one
process on one thread.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

import infflow as inf
from infflow.activations import resolve
from infflow.integrals.choice import METHODS as CODES
from infflow.integrals.surrogate.evaluator import SurrogateMethod
from infflow.integrals.surrogate.form import PARITIES, Part, SurrogateForm
from infflow.networks.infinite.population_loss import PopulationLoss, Units
from infflow.plotting.style import BLUE, ORANGE, PAGE_WIDTH, color, style
from infflow.surrogates import measure as errors
from infflow.surrogates.training import base
from infflow.threads import one_thread

PAPER = {"value": 1e-5, "gradient": 1e-5, "hessian": 1e-3}
NAMES = {"value": "loss", "gradient": "gradient", "hessian": "Hessian"}


# --------------------------------------------------------------------------------------------------
# accuracy


def accuracy(folder):
    """Errors on the cards."""
    print(
        (
            "\n| activation | loss | gradient | Hessian | pairs: value | gradient | Hessian | "
            "numbers | training |\n|"
        )
        + "---|" * 9
    )
    found = {}
    for name in inf.surrogates.available(folder):
        card = inf.surrogates.card(name, folder)
        found[name] = card["networks"]
        networks = " | ".join(
            f"{e['median']:.0e} ({e['maximum']:.0e})" for e in card["networks"].values()
        )
        pairs = " | ".join(
            f"{e['median']:.0e} ({e['maximum']:.0e})" for e in card["errors"].values()
        )
        seconds = card["training"].get("processor_seconds", float("nan"))
        print(
            f"| {name} | {networks} | {pairs} | {card['parameters']:,} | {seconds / 60:.1f} min |"
        )
    return found


# --------------------------------------------------------------------------------------------------
# speed


def speed(folder, neurons, repeats):
    """Microseconds per pair for value, gradient and Hessian, of as many students as teachers."""
    print(
        f"\n| {neurons} students and teachers | {' | '.join(METHODS)} | auto is |\n|"
        + "---|" * (len(METHODS) + 2)
    )
    for name in inf.surrogates.available(folder):
        f = resolve(name)
        losses = {}
        for method in METHODS:
            how = SurrogateMethod(directory=folder) if method == "surrogate" else method
            try:
                losses[method] = PopulationLoss(
                    [f] * neurons, [f] * neurons, units(neurons, 0), how, 1e-10
                )
            except inf.InfflowError:
                continue
        times = {method: [] for method in losses}
        for repeat in range(repeats + 2):
            student = units(neurons, repeat + 1)  # new points: evaluators keep what did not move
            for method, loss in losses.items():
                with warnings.catch_warnings():
                    # series alone miss the tolerance for the longest, nearly parallel neurons of
                    # tanh: errors up to 1e-6
                    warnings.simplefilter("ignore", inf.AccuracyWarning)
                    start = time.process_time()
                    loss.state(student, 2)
                if repeat >= 2:
                    times[method].append(time.process_time() - start)
        pairs = len(losses["auto"]._i)
        columns = [
            f"{1e6 * np.median(times[m]) / pairs:.2f}" if m in times else "-" for m in METHODS
        ]
        used = np.bincount(losses["auto"].examined.jets.method)
        print(f"| {name} | {' | '.join(columns)} | {CODES[int(np.argmax(used))]} |", flush=True)


METHODS = ("surrogate", "auto", "closed", "hermite")


def units(n, seed, inputs=100):
    """Neurons of length about 1.7 in many inputs, at all angles: drawn in 6 dimensions."""
    rng = np.random.default_rng(seed)
    W = np.zeros((n, inputs))
    W[:, :6] = 0.7 * rng.normal(size=(n, 6))
    return Units(W, np.zeros(n), rng.normal(size=(n, 1)), np.zeros(1))


# --------------------------------------------------------------------------------------------------
# flow


def flow(folder, name, seeds=3, t_end=1e3):
    """A flow on the surrogate next to the exact one, and the fixed point before and after
    polishing.
    """
    columns = (
        "seed | largest distance of the paths | d | surrogate's loss | exact loss there | "
        "gradient norm | polished: exact loss | gradient norm | moved by"
    )
    print(f"\n| {columns} |\n|" + "---|" * 9)
    first = None
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        student, teacher = (
            inf.Net([(n, name, False), (1, "identity", False)], input_dim=6) for n in (4, 5)
        )
        theta = 0.7 * rng.normal(size=student.num_params)
        given = inf.Teacher(teacher, 0.7 * rng.normal(size=teacher.num_params))
        surrogate = inf.NetI(student, given, method="surrogate", surrogates_dir=folder)
        exact = surrogate.with_method("auto")
        times = np.concatenate([[0.0], np.geomspace(1e-2, t_end, 60)])
        paths = [
            inf.train(
                net,
                theta,
                solver="rodas5p",
                rtol=1e-9,
                atol=1e-9,
                t_end=t_end,
                t_eval=times,
                max_steps_newton=0,
                progress=False,
            ).trajectory
            for net in (surrogate, exact)
        ]
        n = min(len(path.t) for path in paths)
        distance = np.linalg.norm(paths[0].theta[:n] - paths[1].theta[:n], axis=1)
        plain, polished = (
            inf.train(surrogate, theta, polish=polish, progress=False) for polish in (None, "exact")
        )
        at = exact.evaluate(plain.theta, 1)
        moved = np.linalg.norm(plain.theta - polished.theta)
        d = inf.trajectory_distance(*paths)
        cells = [
            f"{distance.max():.0e}",
            f"{d:.0e}",
            f"{plain.loss:.12g}",
            f"{at.value:.12g}",
            f"{np.abs(at.gradient).max():.0e}",
        ]
        cells += [f"{polished.loss:.12g}", f"{polished.gradient_norm:.0e}", f"{moved:.0e}"]
        print(f"| {seed} | {' | '.join(cells)} |", flush=True)
        if first is None:
            first = paths[0].t[1:n], distance[1:]
    return first


# --------------------------------------------------------------------------------------------------
# terms


def fitted(name, terms):
    """A few smoothed ramps and steps that fit an activation, each with its exact integrals: no
    network.
    """
    from scipy.optimize import least_squares

    f = resolve(name)
    x = np.linspace(0.0, 12.0, 600)[1:]
    r = np.geomspace(0.3, 4.0, 12)[:, None]
    root = np.sqrt((np.exp(-0.5 * (x / r) ** 2) / r).mean(axis=0))
    rows = root * np.array([1.0, 1.0, 0.5])[:, None]
    parts = {}
    for part, parity in PARITIES.items():
        target = base.parity_parts(f, x)[part]
        polynomial = np.zeros_like(target)
        polynomial[:2] = [x, np.ones_like(x)] if parity else [np.ones_like(x), np.zeros_like(x)]

        def solve(log_widths, target=target, polynomial=polynomial, parity=parity):
            columns = [polynomial, *(base.unit(parity, x, float(w)) for w in np.exp(log_widths))]
            matrix = np.stack([(c * rows).ravel() for c in columns], axis=1)
            weights = np.linalg.lstsq(matrix, (target * rows).ravel(), rcond=1e-13)[0]
            return weights, matrix @ weights - (target * rows).ravel()

        best = None
        for scale in (0.4, 0.8, 1.6):
            start = np.log(scale) + 0.5 * (np.arange(terms) - 0.5 * (terms - 1))
            fit = least_squares(
                lambda w: solve(w)[1],
                start,
                bounds=(np.log(0.05), np.log(30.0)),
                xtol=1e-12,
                max_nfev=200,
            )
            if best is None or fit.cost < best.cost:
                best = fit
        weights = solve(best.x)[0]
        if np.abs(target).max() > 1e-14:
            parts[part] = Part(parity, np.exp(best.x), weights[1:], float(weights[0]))
    return SurrogateForm.of_parts(name, parts, {"r": [0.0, 10.0]})


def terms(names, largest=6):
    """Errors of closed forms of fitted terms, by the measure of networks."""
    print("\n| activation | terms | loss | gradient | Hessian |\n|" + "---|" * 5)
    found = {}
    for name in names:
        f = resolve(name)
        rows = []
        for k in range(2, largest + 1):
            measured = errors.measure_networks(fitted(name, k), f, 20, np.random.default_rng(1))
            rows.append([measured[what]["median"] for what in NAMES])
            print(
                f"| {name} | {k} | " + " | ".join(f"{e:.0e}" for e in rows[-1]) + " |", flush=True
            )
        found[name] = np.array(rows)
    return found


# --------------------------------------------------------------------------------------------------
# picture


def draw(measured, path, fits, example, out):
    """Accuracy, the flow, and how far a few terms get."""
    from matplotlib.figure import Figure

    colours = dict(zip(NAMES, (BLUE, ORANGE, color(2)), strict=True))
    with style():
        figure = Figure(figsize=(PAGE_WIDTH, 3.0), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for k, what in enumerate(NAMES):
            at = np.arange(len(measured)) + 0.18 * (k - 1)
            medians, largest = (
                [each[what][s] for each in measured.values()] for s in ("median", "maximum")
            )
            left.vlines(at, medians, largest, color=colours[what], linewidth=1.0)
            left.plot(at, medians, "o", color=colours[what], markersize=4, label=NAMES[what])
            left.axhline(
                PAPER[what] * (1.25 if what == "gradient" else 1.0),
                color=colours[what],
                linestyle=":",
                linewidth=1.0,
            )
        left.set(
            yscale="log",
            ylabel="distance to the exact value",
            title="random networks (dotted: paper)",
        )
        left.set_xticks(range(len(measured)), measured, rotation=30)
        left.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.93),
            ncols=3,
            columnspacing=1.0,
            handletextpad=0.1,
        )
        middle.plot(*path, color=BLUE)
        middle.set(
            xscale="log",
            yscale="log",
            xlabel="t",
            ylabel=r"$|\theta_s(t) - \theta(t)|$",
            title=f"flow on the surrogate, {example}",
        )
        for k, what in enumerate(NAMES):
            right.plot(
                range(2, 2 + len(fits[example])),
                fits[example][:, k],
                "o-",
                color=colours[what],
                markersize=4,
            )
            right.axhline(
                measured[example][what]["median"],
                color=colours[what],
                linestyle="--",
                linewidth=1.0,
            )
        right.set_xticks(range(2, 2 + len(fits[example])))
        right.set(
            yscale="log",
            xlabel="terms of a fitted closed form",
            title=f"no network, {example} (dashed: surrogate)",
        )
        figure.savefig(out / "surrogates.png", dpi=100)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dir", type=Path, default=None, help="folder of surrogates; default: the shipped ones"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "images"
    )
    parser.add_argument("--part", nargs="*", default=["accuracy", "speed", "flow", "terms"])
    parser.add_argument(
        "--example", default="tanh", help="activation of the flow and of the picture"
    )
    given = parser.parse_args()
    with one_thread():
        measured = accuracy(given.dir)
        if "speed" in given.part:
            speed(given.dir, neurons=40, repeats=15)
            speed(given.dir, neurons=4, repeats=40)
        path = flow(given.dir, given.example) if "flow" in given.part else None
        fits = terms([given.example, "softplus", "silu"]) if "terms" in given.part else None
    if path is not None and fits is not None:
        draw(measured, path, fits, given.example, given.out)


if __name__ == "__main__":
    main()
