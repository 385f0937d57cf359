"""The panels of the study ``descent-vs-flow``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...plotting.style import color

#: divisors of the largest step size
DIVISORS = (1, 2, 5, 10, 20)


def case(row: dict[str, Any]) -> str:
    """Name of a network."""
    return f"{row['activation']}, {row['data']} data"


def draw_losses(study: Any, ax: Any) -> None:
    """Losses of descent with every step size, and of the flow."""
    row = study.follows[0]
    for divisor, loss in zip(DIVISORS, row["loss"], strict=True):
        ax.semilogy(row["t"], loss, label=f"step {study.setting.step / divisor:g}")
    ax.semilogy(row["t"], row["flow_loss"], "k:", label="flow")
    ax.set(title=case(row), xlabel="t", ylabel="loss")
    ax.legend()


def draw_distances(study: Any, ax: Any) -> None:
    """Distances of descent from the flow, and the bounds for the smallest step."""
    row = study.follows[0]
    for k, divisor in enumerate(DIVISORS):
        ax.semilogy(
            row["t"][1:],
            row["distance"][k][1:],
            color=color(k),
            label=f"step {study.setting.step / divisor:g}",
        )
    ax.semilogy(
        row["t"][1:],
        row["bound"][-1][1:],
        "--",
        color=color(len(DIVISORS) - 1),
        label="bound, smallest step",
    )
    ax.semilogy(
        row["t"][1:],
        row["theorem1"][-1][1:],
        ":",
        color=color(len(DIVISORS) - 1),
        label="theorem 1",
    )
    ax.set(title=case(row), xlabel="t", ylabel="distance of descent from flow")
    ax.set_ylim(top=300 * ax.get_ylim()[1])  # room for the legend
    ax.legend(loc="upper left", ncols=2)


def draw_figure2(study: Any, ax: Any) -> None:
    """The post's figure 2: largest against smallest step."""
    for k, row in enumerate(study.follows):
        ax.loglog(row["moved"][1:], row["from_smallest_step"][1:], color=color(k), label=case(row))
    ax.set(
        title=f"step {study.setting.step:g} against a twentieth of it",
        xlabel="distance from the start",
        ylabel="distance between the two",
    )
    ax.legend()


def draw_eigenvalues(study: Any, ax: Any) -> None:
    """Smallest eigenvalue along flows from weights of every size."""
    name = study.flows[-1]["network"]
    for k, row in enumerate(row for row in study.flows if row["network"] == name):
        ax.semilogx(
            row["t"][1:], row["lowest"][1:], color=color(k), label=f"weights {row['scale']:g}"
        )
    ax.set(title=name, xlabel="t", ylabel="smallest eigenvalue")
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set_ylim(top=1e3)  # room for the legend
    ax.legend(loc="upper left", ncols=2)


def draw_large_steps(study: Any, ax: Any) -> None:
    """Distances of descent and of momentum from their flows."""
    h = [row["step"] for row in study.steps]
    names = {
        "plain": "descent, flow",
        "modified": "descent, modified flow",
        "ball_plain": "momentum, flow",
        "ball": "momentum, heavy ball",
    }
    for key, label in names.items():
        ax.loglog(h, [row[key] for row in study.steps], "o-", label=label)
    ax.set(title="large steps and momentum", xlabel="step", ylabel="largest distance")
    ax.set_ylim(top=1e3 * ax.get_ylim()[1])  # room for the legend
    ax.legend(loc="upper left")


def draw_saddle(study: Any, ax: Any) -> None:
    """The step that a saddle needs, and the formula."""
    for k, m in enumerate((1.0, 2.0)):
        rows = [row for row in study.saddles if row["m"] == m]
        t = np.array([row["t"] for row in rows])
        ax.semilogy(t, [row["step"] for row in rows], "o", color=color(k), label=f"m = {m:g}")
        ax.semilogy(t, np.exp(-m * t) / (m**2 * t), "-", color=color(k), lw=1)
    ax.set(
        title="saddle: step for a distance of 1/2",
        xlabel="t",
        ylabel="largest step (lines: first order)",
    )
    ax.legend()


PANELS = (
    draw_losses,
    draw_distances,
    draw_figure2,
    draw_eigenvalues,
    draw_large_steps,
    draw_saddle,
)
