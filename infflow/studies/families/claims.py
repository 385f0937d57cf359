"""Families of symmetric networks, in their number of neurons: spurious minima of relu, copies and
averages of erf.

Students and teachers are as many, with orthonormal teachers and output weights one, and infinitely
many standard normal inputs. At a spurious minimum some students are *off*: their weight on their
own teacher is near -1. The others, and these, are equal up to permutations, so that the whole
network is a point of a family with five or six parameters.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import Array, as_integer
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from .runs import erf_branch, more_students, proof, relu_branch, relu_family

#: blocks, loss without a factor 1/2, lowest eigenvalue with it: Safran, Yehudai and Shamir 2020
PUBLISHED = (
    ((1, 6), 0.04640543, 0.0140590),
    ((3, 17), 0.064303240, 0.0385127),
    ((32, 68), 0.161618388, 0.0447870),
)
#: half a unit in the last digit that was published
_LOSS = 5e-9
_LOWEST = 5e-8
#: where the family with one student off turns, and in which digit that is known
_TURN = 5.58
_TURN_DIGIT = 0.01


@dataclass(frozen=True)
class Setting(StudySetting):
    """What is computed; nothing is random.

    Attributes
    ----------
    k : tuple of int
        Numbers of relu neurons.
    shares : int
        For each of them so many numbers of students that are off, between 1 and k/2.
    off : tuple of int
        Students that are off, of families continued in k.
    begin : int
        The k at which they begin.
    more : tuple of int
        Numbers of teachers of networks with one student more.
    proofs : tuple of int
        Numbers of neurons of the certificates.
    copies : int
        Erf students that copy, beside one that averages.
    """

    k: tuple[int, ...] = (5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    shares: int = 6
    off: tuple[int, ...] = (1, 2, 3, 4)
    begin: int = 30
    more: tuple[int, ...] = (6, 7, 10, 20, 50, 100)
    proofs: tuple[int, ...] = (10, 100, 1000, 10**4, 10**5, 10**6)
    copies: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("begin", self.begin, minimum=12)
        as_integer("copies", self.copies, minimum=2)


QUICK = Setting(k=(5, 6, 7, 20), shares=2, off=(1,), begin=12, more=(7,), proofs=(10, 10**6))


def average_loss(m: Any) -> Any:
    """Loss of one erf neuron at its best average of m orthonormal teachers, for real m."""
    return m / 3 - 2 / np.pi * m**2 * np.arcsin(1 / (2 * m))


@dataclass
class FamiliesResult(StudyResult):
    """Outcome of the study.

    Attributes
    ----------
    branches, more, averages, proofs : list of dict
        Rows of the other runs; ``rows`` are single critical points.
    """

    name = "families"
    setting: Setting
    branches: list[dict[str, Any]]
    more: list[dict[str, Any]]
    averages: list[dict[str, Any]]
    proofs: list[dict[str, Any]]

    def claims(self) -> list[Claim]:
        """Published values, where minima are and end, one student more, and erf."""
        return [
            self._published(),
            self._exist(),
            self._several_off(),
            self._turn(),
            self._decay(),
            self._proved(),
            *self._one_more(),
            *self._erf(),
        ]

    def _minima(self, off: int | None = None) -> list[dict[str, Any]]:
        """Spurious critical points of the grid, of one number of students that are off or all."""
        return [
            row for row in self.rows if row["is_spurious"] and (off is None or row["off"] == off)
        ]

    def _row(self, k: int, off: int) -> dict[str, Any]:
        return next(row for row in self.rows if (row["k"], row["off"]) == (k, off))

    def _published(self) -> Claim:
        value = {}
        held = True
        for (off, rest), loss, lowest in PUBLISHED:
            row = self._row(off + rest, off)
            deviations = [row["loss"] - loss, row["lowest"] / 2 - lowest]
            value[f"({off}, {rest})"] = [abs(each) for each in deviations]
            held &= abs(deviations[0]) <= _LOSS and abs(deviations[1]) <= _LOWEST
            held &= row["index"] == 0
        return Claim(
            "The minima of blocks (1, 6), (3, 17) and (32, 68) have the published losses and "
            "lowest eigenvalues.",
            "Safran, Yehudai and Shamir 2020, their data",
            value,
            held,
            "deviations of loss and of half the lowest eigenvalue; within the digits that were "
            "published, and index 0",
        )

    def _exist(self) -> Claim:
        rows = {row["k"]: row for row in self._minima(off=1)}
        value = {f"k = {k}": row["lowest"] / 2 for k, row in rows.items()}
        asked = [k for k in self.setting.k if k >= 6]
        held = all(k in rows and rows[k]["index"] == 0 and rows[k]["loss"] > 0 for k in asked)
        return Claim(
            "Relu networks have spurious minima from 6 neurons on.",
            "Safran and Shamir 2018",
            value,
            held and all(row["index"] > 0 for k, row in rows.items() if k < 6),
            "half the lowest eigenvalue of the whole network with one student off; all from 6 on "
            "positive and that of 5 negative asked",
        )

    def _several_off(self) -> Claim:
        value = {}
        for k in self.setting.k:
            tried = [row for row in self._minima() if row["k"] == k]
            value[f"k = {k}"] = f"{sum(row['index'] == 0 for row in tried)} of {len(tried)}"
        largest = max(self.setting.k)
        rows = [row for row in self._minima() if row["k"] == largest]
        held = len(rows) > 1 and all(row["index"] == 0 for row in rows)
        return Claim(
            "In large relu networks every number of students up to half of them can be off at a "
            "spurious minimum.",
            "infflow",
            value,
            held,
            "minima among the numbers of students that were tried; all of the largest k asked",
        )

    def _turn(self) -> Claim:
        value = {f"{row['off']} off": row["turn"] for row in self.branches}
        first = next(row for row in self.branches if row["off"] == 1)
        return Claim(
            "The family with one student off turns from a minimum into a saddle near k = 5.58 in "
            "the real number k of neurons.",
            "Arjevani and Field 2021",
            value,
            abs(first["turn"] - _TURN) <= _TURN_DIGIT,
            f"where an eigenvalue of the whole network is zero; within {_TURN_DIGIT} asked. Its "
            f"symmetry type is {first['symmetry']!r}: the point itself goes on as a saddle",
        )

    def _decay(self) -> Claim:
        losses = {row["k"]: row["loss"] for row in self.proofs}
        largest = max(losses)
        limit = 1.0 - 4.0 / math.pi**2
        gaps = {k: limit - k * loss for k, loss in losses.items()}
        return Claim(
            "The loss of the spurious minimum with one student off falls as (1 - 4/pi^2)/k.",
            "Arjevani and Field 2021",
            {f"k = {k}": k * loss for k, loss in losses.items()},
            all(0.0 < gap < 0.7 / math.sqrt(k) for k, gap in gaps.items()) and largest >= 1e6,
            f"k times the loss, which tends to {limit:.6f}; a gap of less than 0.7/sqrt(k) asked",
        )

    def _proved(self) -> Claim:
        value = {
            f"k = {row['k']}": {"within": row["radius"], "unique within": row["unique"]}
            for row in self.proofs
        }
        missing = any(math.isnan(row["proved"]) for row in self.proofs)
        return Claim(
            "Spurious minima of up to a million relu neurons are proved in ball arithmetic.",
            "infflow",
            value,
            all(row["proved"] == 1.0 for row in self.proofs),
            "not measured: python-flint is not installed"
            if missing
            else "largest distance of a parameter, and length of the difference to another "
            "symmetric critical point; index 0 over all symmetry types",
        )

    def _one_more(self) -> list[Claim]:
        split = {f"k = {row['k']}": row["split_lowest"] for row in self.more}
        ends = {
            f"k = {row['k']}": {
                "before": row["spurious_loss"],
                "after": row["end_loss"],
                "index": row["end_index"],
            }
            for row in self.more
        }
        return [
            Claim(
                "With one student more than teachers, splitting the student that is off makes the "
                "minimum a saddle.",
                "Safran, Yehudai and Shamir 2020",
                split,
                all(row["split_index"] > 0 for row in self.more),
                "lowest eigenvalue where both halves are parallel; negative asked",
            ),
            Claim(
                "Gradient flow from that saddle reaches loss zero.",
                "infflow",
                ends,
                all(row["end_loss"] < 1e-12 for row in self.more),
                "along the steepest descent within the family; loss at the spurious minimum and "
                "where the flow ends, with the index of the whole network there",
            ),
        ]

    def _erf(self) -> list[Claim]:
        (row,) = self.averages
        deviation = float(np.abs(row["loss"] - average_loss(row["parameter"])).max())
        low = float(row["parameter"].min())
        high = float(row["parameter"].max())
        return [
            Claim(
                "Copies and one average of m erf teachers have the loss m/3 - (2/pi) m^2 "
                "arcsin(1/(2m)) for real m.",
                "theory",
                deviation,
                deviation < 1e-12,
                f"largest deviation for {row['copies']} copies and m from {low:g} to {high:g}",
            ),
            Claim(
                "Copies and one average of erf teachers are minima for all m.",
                "infflow",
                {"largest index": float(row["index"].max()), "events": row["events"]},
                bool((row["index"] == 0).all()),
                f"index of the whole network for m from {low:g} to {high:g}",
            ),
        ]

    def table(self) -> str:
        """Critical points, turning points and proofs."""
        header = ("k", "students off", "loss", "lowest eigenvalue", "index")
        points = [
            (row["k"], row["off"], f"{row['loss']:.10f}", f"{row['lowest']:.8f}", int(row["index"]))
            for row in self._minima()
        ]
        turns = [(row["off"], f"{row['turn']:.10f}", row["symmetry"]) for row in self.branches]
        proofs = [
            (f"{row['k']:,}", row.get("digits", "-"), row["radius"], row["unique"])
            for row in self.proofs
        ]
        return "\n\n".join(
            [
                "### Spurious critical points",
                "Losses without a factor 1/2, and eigenvalues of the same loss.",
                markdown_table(header, points),
                "### Where they turn into saddles",
                markdown_table(("students off", "k", "symmetry type"), turns),
                "### Proofs, one student off",
                markdown_table(("k", "loss", "within", "unique within"), proofs),
            ]
        )

    def numbers(self) -> dict[str, Any]:
        """All points and branches."""
        return {
            "points": self.rows,
            "branches": self.branches,
            "more": self.more,
            "averages": self.averages,
            "proofs": self.proofs,
        }

    def plot(self, picture: str = "") -> Any:
        """Losses and lowest eigenvalues along branches in k, and the averages of erf."""
        from matplotlib.figure import Figure

        from ...plotting.style import PAGE_WIDTH, style

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 6.0), layout="constrained")
            (left, middle), (right, key) = figure.subplots(2, 2)
            for row in self.branches:
                label = f"{row['off']} off"
                _draw(left, row["parameter"], row["loss"], row["index"], label)
                middle.plot(row["parameter"], row["smallest"], label=label)
                if not math.isnan(row["turn"]):
                    middle.plot(row["turn"], 0.0, "o", color="black", markersize=3.5, zorder=3)
            for row in self.more[-1:]:
                order = np.argsort(row["parameter"])
                k = row["parameter"][order]
                label = "1 off, one student more"
                _draw(left, k, row["loss"][order], row["index"][order], label)
                middle.plot(k, row["smallest"][order], label=label)
            middle.axhline(0.0, color="0.6", linewidth=0.8)
            for ax, ylabel in ((left, "loss"), (middle, "lowest eigenvalue of the whole network")):
                ax.set(xlabel="number k of teachers, real", ylabel=ylabel)
                ax.set_xlim(4, self.setting.begin)
            left.set_ylim(bottom=0.0)
            left.plot([], [], "--", color="0.4", label="saddle")
            left.plot([], [], "o", color="black", markersize=3.5, label="turns into a saddle")
            key.set_axis_off()
            key.legend(*left.get_legend_handles_labels(), loc="center", title="upper panels")
            (row,) = self.averages
            right.plot(row["parameter"], row["loss"], label="branch")
            m = np.arange(math.ceil(row["parameter"].min()), row["parameter"].max() + 0.5)
            right.plot(m, average_loss(m), "o", markersize=3.5, label="formula")
            right.set(xlabel="averaged teachers m, real", ylabel="loss, erf")
            right.legend()
        return figure


def _draw(ax: Any, x: Array, y: Array, index: Array, label: str) -> None:
    """A branch: minima solid, saddles dashed."""
    is_saddle = index > 0
    (line,) = ax.plot(x, np.where(is_saddle, np.nan, y), label=label)
    joined = is_saddle.copy()  # with the minimum beside, so that no gap is drawn
    joined[1:] |= is_saddle[:-1]
    joined[:-1] |= is_saddle[1:]
    ax.plot(x, np.where(joined, y, np.nan), "--", color=line.get_color())


def _numbers_off(k: int, count: int) -> list[int]:
    """Numbers of students between 1 and k/2, about ``count`` of them, and published ones."""
    half = k // 2
    chosen = {1, *np.unique(np.linspace(1, half, count).astype(int)).tolist()}
    chosen |= {off for (off, rest), _, _ in PUBLISHED if off + rest == k}
    return sorted(chosen)


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> FamiliesResult:
    """Search, continue and prove; see :func:`infflow.studies.run_study` for the arguments."""
    begin = time.perf_counter()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    published = [{"k": off + rest, "off": off} for (off, rest), _, _ in PUBLISHED]
    points = [{"k": k, "off": off} for k in setting.k for off in _numbers_off(k, setting.shares)]
    points += [each for each in published if each not in points]
    rows = run_grid(relu_family, points, **options)
    branches = [{"off": off, "start": setting.begin, "stop": off + 3.5} for off in setting.off]
    more = [{"k": k, "stop": 5.5} for k in setting.more]
    averages = [{"copies": setting.copies, "start": 2.0, "stop": 10.0}]
    return FamiliesResult(
        setting,
        rows,
        time.perf_counter() - begin,
        run_grid(relu_branch, branches, label="branches", **options),
        run_grid(more_students, more, label="more", **options),
        run_grid(erf_branch, averages, label="averages", **options),
        run_grid(proof, [{"k": k} for k in setting.proofs], label="proofs", **options),
    )
