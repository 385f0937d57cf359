"""The picture on the front page of the documentation: what infflow is for.

    python scripts/make_overview.py [--out docs/images/overview.png]

Two inputs, a teacher of four and a student of three erf neurons without biases. Takes about a
minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import infflow as inf
from infflow import plotting
from infflow.plotting.style import BLUE, ORANGE, PAGE_WIDTH, color, sparse_log_ticks

SIZES = (300, 1_000, 3_000, 10_000, 30_000)
QUIET = {"progress": False, "num_trajectory": 300}


def problem():
    """The infinite-data network and the start of all runs."""
    teacher_net = inf.Net([(4, "erf", False), (1, "identity", False)], input_dim=2)
    V = np.array([[2.0, 0.3], [-0.4, 1.8], [-1.6, -1.2], [0.9, -0.9]])
    teacher = inf.Teacher(
        teacher_net, teacher_net.pack([(V, None), ([[1.0, 1.0, 1.0, 0.6]], None)])
    )
    student = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=2)
    W = np.array([[0.15, 0.5], [-0.55, 0.2], [0.3, -0.45]])
    return inf.NetI(student, teacher), student.pack([(W, None), ([[0.5, 0.5, -0.5]], None)])


def paths(net, theta0, result, samples, ax):
    """Weights of the students along the flow, for infinitely many samples and for some finite data
    sets.
    """
    for run, style in [
        *((run, {"lw": 0.5, "alpha": 0.6}) for run in samples),
        (result, {"lw": 1.8}),
    ]:
        for k in range(3):
            x = run.trajectory.theta[:, 2 * k]
            y = run.trajectory.theta[:, 2 * k + 1]
            ax.plot(x, y, color=color(k), **style)
    for k in range(3):
        ax.plot(*theta0[2 * k : 2 * k + 2], "o", mfc="white", color=color(k))
        ax.plot(*result.theta[2 * k : 2 * k + 2], "o", color=color(k))
    stars = net.teacher.net.unpack(net.teacher.theta)[0][0]
    ax.plot(*stars.T, "*", color="black", ms=7, zorder=5)
    ax.set_aspect("equal")
    ax.set_ylim(-2.6, 3.6)
    ax.set(title="1  Follow the flow", xlabel="weight of input 1", ylabel="weight of input 2")
    ax.text(
        0.98,
        0.98,
        "thick: infinite data\nthin: 300 samples\nstars: teacher",
        transform=ax.transAxes,
        va="top",
        ha="right",
        fontsize=8,
    )


def descent(net, result, ax):
    """Gradient norm along the flow, and where Newton's method takes it."""
    t = result.trajectory.t[1:]
    norms = [np.abs(inf.gradient(net, theta)).max() for theta in result.trajectory.theta[1:]]
    ax.loglog(t, norms, color=BLUE)
    ax.annotate(
        "",
        (t[-1] * 1.5, result.gradient_norm),
        (t[-1] * 1.5, norms[-1]),
        arrowprops={"arrowstyle": "->", "color": ORANGE},
    )
    ax.plot(t[-1] * 1.5, result.gradient_norm, "o", color=ORANGE)
    ax.text(t[-1] * 0.5, result.gradient_norm, "Newton", color=ORANGE, ha="right", va="center")
    ax.text(
        t[3],
        1e-8,
        f"certified: one minimum\nwithin {inf.certify(net, result.theta).radius:.0e}",
        fontsize=8,
    )
    ax.set(title="2  Find the fixed point", xlabel="time", ylabel="gradient norm")
    sparse_log_ticks(ax.yaxis)


def distances(net, result, ax):
    """Squared distance of finite-data solutions to the infinite-data one, and its prediction."""
    measured = []
    for N in SIZES:
        found = [
            inf.train(net.sample(N, rng=seed), result.theta, progress=False).theta
            for seed in range(20)
        ]
        measured.append([((theta - result.theta) ** 2).sum() for theta in found])
    for N, values in zip(SIZES, measured, strict=True):
        ax.plot(np.full(len(values), N), values, ".", color="0.7", ms=2.5)
    ax.plot(SIZES, np.mean(measured, axis=1), "o", color=BLUE, label="mean of 20 data sets")
    predicted = inf.finite_data_prediction(net, result.theta, 1).squared_distance
    ax.plot(
        SIZES, predicted / np.array(SIZES), color=ORANGE, label="predicted, tr(H$^{+}$CH$^{+}$)/N"
    )
    ax.set(xscale="log", yscale="log", title="3  Compare finite data")
    ax.set(xlabel="samples N", ylabel="squared distance of solutions")
    ax.legend(loc="upper right")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent.parent / "docs" / "images" / "overview.png",
    )
    out = parser.parse_args().out
    net, theta0 = problem()
    result = inf.train(net, theta0, **QUIET)
    samples = [inf.train(net.sample(300, rng=seed), theta0, **QUIET) for seed in range(6)]
    with plotting.style():
        figure = Figure(figsize=(PAGE_WIDTH, 2.8), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        paths(net, theta0, result, samples, left)
        descent(net, result, middle)
        distances(net, result, right)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=100)
    print(result)
    print(out)


if __name__ == "__main__":
    main()
