"""Exponents of online learning: power-law input, plateaus, spheres, tasks one after the other.

All curves come from order parameters, so that there is no scatter; batches are large where a claim
is about the flow. Rates are those of infflow: for the squared error without a factor 1/2, in the
time t = steps / D.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import as_integer
from ...compile_time import running_time
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from .runs import plateau, power_law, sphere, tasks

_EXPONENT = 0.02  # by which measured exponents may differ
_RATE = 0.1  # learning rate of students on the sphere
_RANGE = 10.0  # largest over smallest eigenvalue where their number varies


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; nothing in it is random but the start of the two tasks.

    Attributes
    ----------
    betas : tuple of float
        Eigenvalues of the input are l^-(1 + beta).
    ratios : tuple of float
        Largest over smallest eigenvalue, for ``count`` of them.
    count : int
    counts : tuple of int
        Numbers of eigenvalues over one decade.
    exponents : tuple of int
        Information exponents k of targets He_k.
    starts : tuple of float
        Overlaps at the start, falling; 1/sqrt(D) in D dimensions.
    overlaps : tuple of float
        Of the teachers of two tasks, rising from 0 to 1.
    """

    betas: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5, 2.0)
    ratios: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
    count: int = 8
    counts: tuple[int, ...] = (1, 2, 3, 4, 8, 16)
    exponents: tuple[int, ...] = (2, 3, 4)
    starts: tuple[float, ...] = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
    overlaps: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("count", self.count, minimum=2)


QUICK = Setting(
    betas=(0.5, 1.0),
    ratios=(1.0, 100.0),
    count=4,
    counts=(1, 2),
    exponents=(2, 3),
    starts=(1e-2, 1e-3, 1e-4),
    overlaps=(0.0, 0.5, 1.0),
)


@dataclass
class ExponentsResult(StudyResult):
    """Outcome of the study ``online-exponents``."""

    name = "online-exponents"
    setting: Setting
    spreads: list[dict[str, Any]]
    numbers_of_eigenvalues: list[dict[str, Any]]
    escapes: list[dict[str, Any]]
    sequences: list[dict[str, Any]]

    def claims(self) -> list[Claim]:
        """Published exponents and plateaus against the curves."""
        return [
            self._power_laws(),
            self._spread(),
            self._number(),
            *(self._escape(k) for k in self.setting.exponents),
            self._forgetting(),
        ]

    def _power_laws(self) -> Claim:
        found = {row["beta"]: row["exponent"] for row in self.rows}
        expected = {beta: -beta / (1.0 + beta) for beta in found}
        return Claim(
            "The error of a linear student of inputs with eigenvalues l^-(1 + beta) falls as "
            "t^(-beta/(1 + beta)).",
            "Worschech and Rosenow 2024",
            {
                f"beta = {beta:g}": {"exponent": found[beta], "expected": expected[beta]}
                for beta in found
            },
            all(abs(found[beta] - expected[beta]) <= _EXPONENT for beta in found),
            f"while the directions 10 to 300 are learned, batches without noise; {_EXPONENT} "
            "asked. 100,000 eigenvalues are few for small beta",
        )

    def _spread(self) -> Claim:
        found = {row["ratio"]: row["decades"] for row in self.spreads}
        lengths = list(found.values())
        return Claim(
            "Dispersed eigenvalues of the input make the plateau of two erf students "
            "inconspicuous.",
            "Yoshida and Okada 2019",
            {f"largest/smallest = {ratio:g}": length for ratio, length in found.items()},
            lengths[-1] < 0.5 * lengths[0] and lengths[0] == max(lengths),
            f"decades of time on the plateau with {self.setting.count} eigenvalues of mean 1; less "
            "than half of that for equal ones asked at the largest ratio",
        )

    def _number(self) -> Claim:
        found = {row["count"]: row["decades"] for row in self.numbers_of_eigenvalues}
        first, *others = found.values()
        return Claim(
            "Over one decade of eigenvalues the plateau is shorter with two or more of them than "
            "with one.",
            "Yoshida and Okada 2019",
            {f"G = {count}": length for count, length in found.items()},
            all(length < first for length in others),
            "decades of time by the number G. Two have the shortest: with equal shares they are "
            "the most dispersed",
        )

    def _escape(self, k: int) -> Claim:
        rows = sorted((r for r in self.escapes if r["k"] == k), key=lambda r: -r["start"])
        starts = np.array([row["start"] for row in rows])
        times = np.array([row["time"] for row in rows])
        if k == 2:
            rise = float((times[-1] - times[-2]) / math.log(starts[-2] / starts[-1]))
            expected = 1.0 / (4.0 * _RATE)
            return Claim(
                "A student on the sphere finds a direction with information exponent 2 in a time "
                "that grows as log(1/R0) with the overlap R0 at the start.",
                "Ben Arous, Gheissari and Jagannath 2021",
                {"time per log(1/R0)": rise, "1/(4 rate)": expected},
                abs(rise / expected - 1.0) < 0.01 and all(r["exponent"] == 2 for r in rows),
                "from the two smallest R0; R0 is 1/sqrt(D) in D dimensions. Within 1 % asked",
            )
        slope = float(np.log(times[-1] / times[-2]) / math.log(starts[-2] / starts[-1]))
        return Claim(
            f"With information exponent {k} the time grows as R0^-{k - 2}.",
            "Ben Arous, Gheissari and Jagannath 2021",
            {"exponent": slope},
            abs(slope - (k - 2)) < _EXPONENT and all(r["exponent"] == k for r in rows),
            f"from the two smallest R0; {_EXPONENT} asked",
        )

    def _forgetting(self) -> Claim:
        found = {row["overlap"]: row["forgotten"] for row in self.sequences}
        worst = max(found, key=lambda overlap: found[overlap])
        return Claim(
            "Of two tasks one after the other the first is forgotten most if the teachers are "
            "neither alike nor orthogonal.",
            "Lee, Goldt and Saxe 2021",
            {
                "worst overlap": worst,
                **{f"overlap {overlap:g}": rise for overlap, rise in found.items()},
            },
            min(found) < worst < max(found),
            "rise of the first error; two erf students, a head for each task, one erf neuron a "
            "teacher",
        )

    def table(self) -> str:
        """Times on the sphere, and errors of both tasks."""
        starts = sorted({row["start"] for row in self.escapes}, reverse=True)
        times = {(row["k"], row["start"]): row["time"] for row in self.escapes}
        escapes = [(f"{s:g}", *(times[k, s] for k in self.setting.exponents)) for s in starts]
        sequences = [
            (f"{row['overlap']:g}", row["learned"], row["forgotten"], row["second_end"])
            for row in self.sequences
        ]
        return "\n\n".join(
            [
                "### Time to the overlap 1/2 on the sphere, rate 0.1",
                markdown_table(("R0", *(f"k = {k}" for k in self.setting.exponents)), escapes),
                "### Two tasks",
                markdown_table(
                    ("overlap of the teachers", "first error", "its rise", "second error"),
                    sequences,
                ),
            ]
        )

    def numbers(self) -> dict[str, Any]:
        """Lengths of plateaus, times, forgetting."""

        def scalars(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{k: v for k, v in row.items() if not isinstance(v, np.ndarray)} for row in rows]

        return {
            "power_laws": scalars(self.rows),
            "spreads": scalars(self.spreads),
            "numbers_of_eigenvalues": scalars(self.numbers_of_eigenvalues),
            "escapes": scalars(self.escapes),
            "sequences": scalars(self.sequences),
        }

    def plot(self, picture: str = "") -> Any:
        """Power laws, plateaus, times on the sphere, forgetting."""
        from matplotlib.figure import Figure

        from ...plotting.style import PAGE_WIDTH, style, tidy

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 5.8), layout="constrained")
            panels = figure.subplots(2, 2).ravel()
            draw = (self._draw_laws, self._draw_plateaus, self._draw_escapes, self._draw_forgetting)
            for function, ax in zip(draw, panels, strict=True):
                function(ax)
            tidy(figure)
        return figure

    def _draw_laws(self, ax: Any) -> None:
        for row in self.rows:
            t = row["t"] / row["t"][0]
            (line,) = ax.loglog(t, row["curve"], label=rf"$\beta$ = {row['beta']:g}")
            law = row["curve"][0] * t ** (-row["beta"] / (1 + row["beta"]))
            ax.loglog(t, law, ":", color=line.get_color())
        ax.plot([], [], ":", color="0.4", label=r"$t^{-\beta/(1+\beta)}$")
        ax.set(title="power laws", xlabel="time, over that of direction 10", ylabel="error")
        ax.legend()

    def _draw_plateaus(self, ax: Any) -> None:
        for row in self.spreads:
            ax.loglog(row["t"], row["curve"], label=f"{row['ratio']:g}")
        ax.set(title="plateaus", xlabel="t = steps / D", ylabel="error")
        ax.set(xlim=(0.1, 2e3), ylim=(1e-4, 1.5))
        ax.legend(title="largest/smallest eigenvalue", loc="lower left")

    def _draw_escapes(self, ax: Any) -> None:
        for k in self.setting.exponents:
            rows = [row for row in self.escapes if row["k"] == k]
            starts = [1.0 / row["start"] for row in rows]
            ax.loglog(starts, [row["time"] for row in rows], "o-", label=f"k = {k}")
        ax.set(title="escape on the sphere", xlabel="$1/R_0$", ylabel="time to R = 1/2")
        ax.legend()

    def _draw_forgetting(self, ax: Any) -> None:
        overlaps = [row["overlap"] for row in self.sequences]
        ax.plot(overlaps, [row["forgotten"] for row in self.sequences], "o-")
        ax.set(title="forgetting", xlabel="overlap of the two teachers")
        ax.set_ylabel("rise of the first error")


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> ExponentsResult:
    """Integrate all curves; see :func:`infflow.studies.run_study` for the arguments."""
    clock = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    end = 3e4
    rows = run_grid(power_law, {"beta": setting.betas}, **options)
    spreads = [{"count": setting.count, "ratio": r, "t_end": end} for r in setting.ratios]
    counts = [{"count": c, "ratio": _RANGE, "t_end": end} for c in setting.counts]
    spheres = {"k": setting.exponents, "start": setting.starts, "rate": [_RATE]}
    sequences = {"overlap": setting.overlaps, "switch": [200.0], "t_end": [400.0]}
    spread_rows = run_grid(plateau, spreads, label="spreads", **options)
    count_rows = run_grid(plateau, counts, label="counts", **options)
    escapes = run_grid(sphere, spheres, label="spheres", **options)
    sequence_rows = run_grid(tasks, sequences, label="tasks", **options)
    return ExponentsResult(
        setting, rows, running_time() - clock, spread_rows, count_rows, escapes, sequence_rows
    )
