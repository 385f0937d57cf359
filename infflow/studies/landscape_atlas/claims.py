"""An atlas of the critical points of small students of orthonormal teachers.

M teacher neurons with orthonormal weights and output weights one, K student neurons, infinitely
many standard normal inputs, no biases. Where all student neurons copy teacher neurons or average
groups of them, and the activation is erf(x/sqrt 2), the loss is a sum of the losses of single
neurons: the best average of m teacher neurons has the output weight m, input weights of length
1/sqrt(2m - 1), and the loss m/3 - (2/pi) m^2 arcsin(1/(2m)).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array, as_integer
from ...compile_time import running_time
from ...critical_points.entries import (
    FLOW_LIMITS,
    Entry,
    escape,
    find_entry,
    is_smooth,
    make_entries,
)
from ...critical_points.search import find_critical_point
from ...landscape.teacher_symmetry import TeacherSymmetry
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.teacher import Teacher
from ...training import train
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid

_BLOCK = 10  # starts for each run that is stored


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; ``seeds`` is the number of starts for each network, rounded up to
    blocks of 10.

    Attributes
    ----------
    teachers : int
        Teacher neurons M of the atlas, also the input dimension.
    students : int
        Student neurons: 1 to this number.
    one_neuron : tuple of int
        Numbers M at which the optimum of one erf neuron is compared with the formula.
    """

    seeds: int = 200
    activations: tuple[str, ...] = ("erf", "relu")
    teachers: int = 4
    students: int = 3
    one_neuron: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("teachers", self.teachers, minimum=2, maximum=6)
        as_integer("students", self.students, minimum=1, maximum=self.teachers)


QUICK = Setting(seeds=10, teachers=3, students=2, one_neuron=(1, 2, 3, 8))


def build(activation: str, teachers: int, students: int) -> NetI:
    """Student and orthonormal teacher in as many dimensions as there are teacher neurons."""
    net = Net([(teachers, activation, False), (1, "identity", False)], input_dim=teachers)
    teacher = Teacher(net, net.pack([(np.eye(teachers), None), (np.ones((1, teachers)), None)]))
    return NetI(
        Net([(students, activation, False), (1, "identity", False)], input_dim=teachers), teacher
    )


def average_loss(m: int) -> float:
    """Loss of one erf neuron at its best average of m orthonormal teacher neurons, with those
    alone.
    """
    return float(m / 3 - 2 / np.pi * m**2 * np.arcsin(1 / (2 * m)))


def relu_average_loss(m: int) -> float:
    """Loss of one relu neuron at its best average of m orthonormal teacher neurons, with those
    alone.
    """
    c = 1 / np.sqrt(m)
    # E relu(x) relu(y) at correlation c
    overlap = (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / (2 * np.pi)
    return float(m / 2 + m * (m - 1) / (2 * np.pi) - 2 * (m * overlap) ** 2)


# --------------------------------------------------------------------------------------------------
# the runs


class Atlas(NamedTuple):
    """All entries of one network, by loss, and how the searches went.

    ``converged`` searches and ``flows_converged`` flows ended at points without gradient where the
    loss is smooth.
    """

    activation: str
    teachers: int
    students: int
    entries: list[Entry]
    searches: int
    converged: int
    flows: int
    flows_converged: int
    flows_at_kink: int  #: converged flows that ended where a neuron has lost its input weights
    #: for each entry those where flows along both sides of its steepest escape direction end
    ends: list[list[int | None]]
    end_losses: list[list[float]]

    @property
    def seen_once(self) -> int:
        """Entries found once; their number over that of all searches estimates the chance that the
        next one is new (Good 1953).
        """
        return sum(entry.count + entry.trained == 1 for entry in self.entries)


def _start(neti: NetI, rng: np.random.Generator) -> Array:
    """Input weights of random directions and log-normal lengths, with the output weights that are
    best for them.
    """
    K = neti.student.layers[0].width
    D = neti.input_dim
    W = rng.normal(size=(K, D)) * np.exp(rng.normal(size=(K, 1))) / np.sqrt(D)
    theta = np.concatenate([W.ravel(), np.zeros(K)])
    found = neti.evaluate(theta, 2)
    theta[-K:] = -np.linalg.lstsq(found.H[-K:, -K:], found.g[-K:], rcond=None)[0]
    return theta


def explore(activation: str, teachers: int, students: int, block: int, seed: int) -> dict[str, Any]:
    """A block of starts: a search for critical points from each, and gradient flow from a random
    start of train's kind.
    """
    neti = build(activation, teachers, students)
    rng = np.random.default_rng([seed, teachers, students, block])
    found = []
    good = []
    wanted = []
    ends = []
    trained = []
    smooth = []
    for _ in range(_BLOCK):
        index = int(rng.integers(-1, 2 * students + 1))
        point = find_critical_point(neti, _start(neti, rng), index)
        found.append(point)
        good.append(float(point.converged and is_smooth(neti, point.theta)))
        wanted.append(index)
        end = train(neti, rng.normal(size=neti.num_params), **FLOW_LIMITS)
        ends.append(end.theta)
        trained.append(float(end.converged))
        smooth.append(float(is_smooth(neti, end.theta)))
    return {
        "theta": np.array([point.theta for point in found]),
        "converged": np.array(good),
        "index": np.array([float(point.index) for point in found]),
        "wanted": np.array(wanted, dtype=float),
        "trained_theta": np.array(ends),
        "trained_converged": np.array(trained),
        "trained_smooth": np.array(smooth),
    }


def best_single(activation: str, teachers: int, seed: int) -> dict[str, Any]:
    """The lowest loss of one neuron from ten random starts."""
    neti = build(activation, teachers, 1)
    rng = np.random.default_rng([seed, teachers])
    runs = [train(neti, _start(neti, rng), **FLOW_LIMITS) for _ in range(10)]
    best = min(runs, key=lambda run: run.loss)
    (W, _), (a, _) = neti.unpack(best.theta)
    return {
        "output_weight": float(a[0, 0] * np.sign(W.sum())),
        "weights": W[0] * np.sign(W.sum()),
        "loss": best.loss,
    }


def _atlas(activation: str, teachers: int, students: int, rows: list[dict[str, Any]]) -> Atlas:
    searched = [
        t for row in rows for t, ok in zip(row["theta"], row["converged"], strict=True) if ok
    ]
    ends = [
        end
        for row in rows
        for end in zip(
            row["trained_theta"], row["trained_converged"], row["trained_smooth"], strict=True
        )
    ]
    trained = [theta for theta, converged, smooth in ends if converged and smooth]
    at_kink = sum(not smooth for _, _, smooth in ends)
    neti = build(activation, teachers, students)
    entries = make_entries(neti, searched, trained, TeacherSymmetry(neti))
    starts = len(rows) * _BLOCK
    return Atlas(
        activation,
        teachers,
        students,
        entries,
        starts,
        len(searched),
        starts,
        len(trained),
        at_kink,
        [[] for _ in entries],
        [[] for _ in entries],
    )


def follow(activation: str, teachers: int, theta: list[float], sign: float) -> dict[str, Any]:
    """The flow from one side of a saddle."""
    neti = build(activation, teachers, len(theta) // (teachers + 1))
    end = escape(neti, np.array(theta), sign)
    return {
        "end": end.theta,
        "loss": end.loss,
        "converged": bool(end.converged and is_smooth(neti, end.theta)),
    }


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class LandscapeResult(StudyResult):
    """Outcome of the study ``landscape``: an :class:`Atlas` per network, and the best single
    neurons.
    """

    name = "landscape"
    setting: Setting
    atlases: list[Atlas]
    singles: list[dict[str, Any]]

    def atlas(self, activation: str, students: int) -> Atlas:
        """The atlas of one network."""
        return next(a for a in self.atlases if (a.activation, a.students) == (activation, students))

    def claims(self) -> list[Claim]:
        """The formulas for erf, and what every atlas should show."""
        return [
            *self._single_neuron(),
            *self._single_relu(),
            *self._copies_and_averages(),
            *self._flows(),
        ]

    def _single_neuron(self) -> list[Claim]:
        deviations: dict[str, float] = {}
        for row in self.singles:
            M = row["teachers"]
            weights = np.abs(np.asarray(row["weights"]) * np.sqrt(M * (2 * M - 1)) - 1).max()
            loss = abs(row["loss"] - average_loss(M))
            deviations[f"M = {M}"] = float(max(weights, abs(row["output_weight"] / M - 1), loss))
        return [
            Claim(
                "The optimum of one erf neuron is the average of all M orthonormal teacher "
                "neurons, with output weight M and norm 1/sqrt(2M-1).",
                "theory",
                deviations,
                max(deviations.values()) < 1e-9,
                "largest relative deviation of a weight, or absolute one of the loss, for the "
                "best of ten starts; below 1e-9 asked",
            )
        ]

    def _single_relu(self) -> list[Claim]:
        atlases = [
            a for a in self.atlases if (a.activation, a.students) == ("relu", 1) and a.entries
        ]
        law = relu_average_loss(self.setting.teachers)
        sentence = (
            f"The lowest loss that one relu neuron found for {self.setting.teachers} orthonormal "
            "teacher neurons is that of the average of all."
        )
        return [
            Claim(
                sentence,
                "theory",
                {"lowest loss": a.entries[0].loss, "formula": law},
                abs(a.entries[0].loss - law) < 1e-12,
            )
            for a in atlases
        ]

    def _copies_and_averages(self) -> list[Claim]:
        claims = []
        M = self.setting.teachers
        for atlas in (a for a in self.atlases if a.activation == "erf" and a.entries):
            K = atlas.students
            lowest = atlas.entries[0].loss
            law = average_loss(M - K + 1)
            copies = (
                ("one average of all", "one copy and one average of the rest")[K - 1]
                if K < 3
                else f"{K - 1} copies and one average of the rest"
            )
            claims.append(
                Claim(
                    f"The lowest loss that {K} erf neuron{'s' * (K > 1)} found for {M} "
                    f"orthonormal teacher neurons is that of {copies}.",
                    "theory",
                    {"lowest loss": lowest, "formula": law},
                    abs(lowest - law) < 1e-12,
                )
            )
            missing = []
            for parts in _partitions(M, K):
                loss = sum(average_loss(m) for m in parts)
                if not any(abs(entry.loss - loss) < 1e-10 for entry in atlas.entries):
                    missing.append("+".join(map(str, parts)))
            claims.append(
                Claim(
                    f"Every way of sharing {M} teacher neurons among {K} erf "
                    f"neuron{'s' * (K > 1)}, each copying or averaging its group, is a critical "
                    "point of the atlas.",
                    "theory",
                    "all found" if not missing else f"not found: {', '.join(missing)}",
                    not missing,
                )
            )
        return claims

    def _flows(self) -> list[Claim]:
        escapes = [
            (e, k, loss)
            for a in self.atlases
            for e, ends, losses in zip(a.entries, a.ends, a.end_losses, strict=True)
            for k, loss in zip(ends, losses, strict=True)
        ]
        lower = sum(loss < e.loss for e, _, loss in escapes)
        known = sum(k is not None for _, k, _ in escapes)
        flows = sum(e.trained for a in self.atlases for e in a.entries)
        at_saddles = sum(e.trained for a in self.atlases for e in a.entries if e.index)
        kinks = sum(a.flows_at_kink for a in self.atlases)
        return [
            Claim(
                "Gradient flow from either side of a saddle along its steepest escape direction "
                "ends lower.",
                "theory",
                {"flows": len(escapes), "lower": lower, "at an entry of the atlas": known},
                bool(escapes) and lower == len(escapes),
                "the others ended at a kink, were not done after 300 steps, or found something new",
            ),
            Claim(
                "Gradient flow from random starts never ends at a saddle.",
                "theory",
                {
                    "flows that ended where the loss is smooth": flows,
                    "at saddles": at_saddles,
                    "at a kink": kinks,
                },
                flows > 0 and not at_saddles,
            ),
        ]

    def table(self) -> str:
        """One row for each entry of each atlas."""
        parts = []
        for atlas in self.atlases:
            parts.append(
                f"### {atlas.students} {atlas.activation} neuron{'s' * (atlas.students > 1)}, "
                f"{atlas.teachers} teacher neurons\n\n"
                f"{atlas.searches} searches, {atlas.converged} of them ended at a critical "
                f"point; {atlas.flows} gradient flows, {atlas.flows_converged} ended at one, "
                f"{atlas.flows_at_kink} at a kink. "
                f"{len(atlas.entries)} kinds of critical points, {atlas.seen_once} of them seen "
                "once.\n"
            )
            rows = (
                (
                    f"{k}",
                    f"{e.loss:.10f}",
                    e.index,
                    e.count,
                    e.trained,
                    e.structure,
                    e.escape,
                    _ends(atlas.ends[k]),
                )
                for k, e in enumerate(atlas.entries)
            )
            header = (
                " | loss | index | searches | flows | structure | lowest eigenvalue | escapes to"
            )
            parts.append(markdown_table(header, rows) + "\n")
        return "\n".join(parts)

    def numbers(self) -> dict[str, Any]:
        """All entries of all atlases."""
        return {
            "atlases": [
                {
                    **a._asdict(),
                    "entries": [e.to_dict() for e in a.entries],
                    "seen_once": a.seen_once,
                }
                for a in self.atlases
            ]
        }

    def plot(self, picture: str = "") -> Any:
        """Loss of every entry against its index, one panel for each activation."""
        from matplotlib.figure import Figure

        from ...plotting.style import PAGE_WIDTH, style, tidy

        activations = list(dict.fromkeys(a.activation for a in self.atlases))
        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 3.6), layout="constrained")
            panels = np.atleast_1d(figure.subplots(1, len(activations)))
            for ax, activation in zip(panels, activations, strict=True):
                for atlas in (a for a in self.atlases if a.activation == activation):
                    _draw(ax, atlas)
                ax.set(
                    title=f"{activation}, {self.setting.teachers} teacher neurons",
                    xlabel="index",
                    ylabel="loss",
                    yscale="log",
                )
                ax.xaxis.get_major_locator().set_params(integer=True)
                ax.legend(title="student neurons")
            tidy(figure)
        return figure


def _draw(ax: Any, atlas: Atlas) -> None:
    """Points, larger the more searches ended there, and lines to where escapes end."""
    from ...plotting.style import COLORS

    color = COLORS[atlas.students - 1]
    shift = 0.12 * (atlas.students - 2)
    for entry, ends in zip(atlas.entries, atlas.ends, strict=True):
        for k in (k for k in ends if k is not None):
            other = atlas.entries[k]
            ax.plot(
                [entry.index + shift, other.index + shift],
                [entry.loss, other.loss],
                color=color,
                lw=0.5,
                alpha=0.4,
                zorder=1,
            )
    sizes = [12 + 12 * np.log1p(entry.count + entry.trained) for entry in atlas.entries]
    x = [entry.index + shift for entry in atlas.entries]
    ax.scatter(
        x,
        [entry.loss for entry in atlas.entries],
        s=sizes,
        color=color,
        alpha=0.8,
        lw=0,
        label=f"{atlas.students}",
        zorder=2,
    )


def _ends(ends: list[int | None]) -> str:
    return ", ".join(sorted({"elsewhere" if k is None else str(k) for k in ends})) or "-"


def _partitions(total: int, parts: int, largest: int | None = None) -> list[tuple[int, ...]]:
    """Ways of writing ``total`` as a sum of ``parts`` positive numbers in descending order."""
    largest = total if largest is None else largest
    if parts == 1:
        return [(total,)] if 1 <= total <= largest else []
    return [
        (m, *rest)
        for m in range(min(largest, total), 0, -1)
        for rest in _partitions(total - m, parts - 1, m)
    ]


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> LandscapeResult:
    """Make the atlases; see :func:`infflow.studies.run_study` for the arguments."""
    begin = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    grid = {
        "activation": setting.activations,
        "teachers": [setting.teachers],
        "students": range(1, setting.students + 1),
        "block": range(-(-setting.seeds // _BLOCK)),
        "seed": [setting.seed],
    }
    rows = run_grid(explore, grid, **options)
    singles = run_grid(
        best_single,
        {"activation": ["erf"], "teachers": setting.one_neuron, "seed": [setting.seed]},
        label="singles",
        **options,
    )
    atlases = [
        _atlas(
            f,
            setting.teachers,
            K,
            [row for row in rows if (row["activation"], row["students"]) == (f, K)],
        )
        for f in setting.activations
        for K in range(1, setting.students + 1)
    ]
    _follow_escapes(atlases, options)
    return LandscapeResult(setting, rows, running_time() - begin, atlases, singles)


def _follow_escapes(atlases: list[Atlas], options: dict[str, Any]) -> None:
    """Gradient flow from both sides of every saddle, and the entry where it ends."""
    saddles = [(a, k) for a in atlases for k, entry in enumerate(a.entries) if entry.index]
    points = [
        {
            "activation": a.activation,
            "teachers": a.teachers,
            "theta": a.entries[k].theta.tolist(),
            "sign": s,
        }
        for a, k in saddles
        for s in (1.0, -1.0)
    ]
    if not points:
        return
    ends = run_grid(follow, points, **options)
    for (atlas, k), pair in zip(saddles, zip(ends[::2], ends[1::2], strict=True), strict=True):
        neti = build(atlas.activation, atlas.teachers, atlas.students)
        symmetry = TeacherSymmetry(neti)
        for row in pair:
            found = find_entry(neti, atlas.entries, row["end"], symmetry)
            atlas.ends[k].append(found if row["converged"] else None)
            atlas.end_losses[k].append(row["loss"])
