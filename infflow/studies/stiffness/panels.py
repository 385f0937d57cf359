"""The panels of the study ``stiffness``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...plotting.style import color
from .ode_codes import CODES

#: dashes that stand for a Jacobian; colours stand for codes
DASHES = {"exact": "-", "differences": "--", "products": ":"}


def look(label: str) -> dict[str, Any]:
    """Colour of the code and dashes of the Jacobian of a line's label."""
    code, _, jacobian = label.partition(", ")
    return {"color": color(list(CODES).index(code)), "linestyle": DASHES.get(jacobian, "-")}


def lines(study: Any, problem: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Label and runs of each code and Jacobian, by falling tolerance."""
    return [
        (f"{code}, {jacobian}", study.pick(problem, code, jacobian))
        for code, jacobians in CODES.items()
        for jacobian in jacobians
        if jacobian != "fixed point"
    ]


def draw_stiffness(study: Any, problem: str, ax: Any) -> None:
    """Stiffness and the largest eigenvalue along the reference."""
    reference = study.of(problem)
    ax.loglog(reference["t"][1:], reference["stiffness"][1:], label="stiffness")
    ax.loglog(reference["t"][1:], reference["largest"][1:], label="largest eigenvalue")
    ax.set(xlabel="t")


def draw_errors(study: Any, problem: str, ax: Any) -> None:
    """Distance of the end point against seconds, a line for each code."""
    for label, rows in lines(study, problem):
        done = [r for r in rows if r["complete"]]
        if done:
            ax.loglog(
                [r["total_seconds"] for r in done],
                [study.distance(r) for r in done],
                marker="o",
                ms=3,
                label=label,
                **look(label),
            )
    ax.set(xlabel="seconds", ylabel="distance from the reference")


def draw_losses(study: Any, problem: str, ax: Any) -> None:
    """Excess loss against seconds at the middle tolerance, and where descent reached the goal."""
    lowest = study.of(problem)["loss"][-1]
    for label, rows in lines(study, problem):
        if rows:
            row = rows[len(rows) // 2]
            excess = np.maximum(np.asarray(row["record_loss"]) - lowest, 1e-12)
            ax.loglog(
                row["record_seconds"], excess, label=f"{label}, {row['tol']:g}", **look(label)
            )
    for name, marker in (("momentum", "x"), ("adam", "+")):
        seconds = study.best(problem, name, "seconds")
        if np.isfinite(seconds):
            ax.loglog(
                seconds,
                study.goal(problem) - lowest,
                marker,
                color="k",
                label=f"{name}, best step size",
            )
    ax.set(xlabel="seconds", ylabel="excess loss", ylim=(1e-8, None))
