"""How accurately, and how far, every integrator follows the gradient flow in a given time (the
paper's figure 1).

Networks of 33 and 601 parameters (2 inputs, one hidden layer of softplus neurons with biases) learn
a teacher of four neurons from 10,000 samples. Every method gets the same wall time. With the points
theta_m(t_i) of a method and the reference theta*(t):

    distance d_m = mean over i of min_t |theta*(t) - theta_m(t_i)|^2,
    progress t_m = argmin_t |theta*(t) - theta_m(T)|^2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_integer
from ..compile_time import running_time
from ..flow import automatic_solver
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.parameters import random_params
from ..networks.teacher import Teacher
from ..plotting.style import PAGE_WIDTH, color, style, tidy
from ..training import train
from .study import Claim, StudyResult, StudySetting, markdown_table, run_grid

#: label -> how ``train`` is asked for it
METHODS: dict[str, dict[str, Any]] = {
    **{
        name: {"solver": name}
        for name in ("rodas5p", "kencarp58", "trbdf2", "exprb", "rodas3", "rk4", "tsit5", "dopri5")
    },
    "gear": {"solver": "gear"},
    "cvode_bdf": {"solver": "cvode_bdf"},
    "cvode_bdf, gmres": {"solver": "cvode_bdf", "solver_options": {"linear_solver": "gmres"}},
    "cvode_bdf, switch": {"solver": "cvode_bdf", "solver_options": {"linear_solver": "switch"}},
    **{name: {"solver": name} for name in ("lsoda", "radau", "bdf")},
    **{f"descent({h:g})": {"solver": "gd", "step_size": h} for h in (0.01, 0.001)},
    **{f"adam({h:g})": {"solver": "adam", "step_size": h} for h in (0.001, 0.0001)},
}
HIGH_ORDER = ("rodas5p", "kencarp58")
_SECOND_ORDER = (
    "rodas5p",
    "kencarp58",
    "trbdf2",
    "exprb",
    "rodas3",
    "gear",
    "cvode_bdf",
    "cvode_bdf, gmres",
    "cvode_bdf, switch",
    "lsoda",
    "radau",
    "bdf",
)
_FIRST_ORDER = tuple(name for name in METHODS if name.startswith(("descent", "adam")))


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; ``seeds`` is the number of data sets and starts.

    Attributes
    ----------
    hidden : tuple of int
        Hidden neurons, four parameters each, and one.
    seconds : tuple of float
        Wall time of every method, for each of them.
    samples : int
        Number of samples.
    t_end : float
        Where the reference ends, and every method that gets there.
    points : int
        Points of a trajectory.
    reference_seconds : float
        Time limit of a reference.
    """

    seeds: int = 3
    hidden: tuple[int, ...] = (8, 150)
    seconds: tuple[float, ...] = (2.0, 8.0)
    samples: int = 10_000
    t_end: float = 1e5
    points: int = 1000
    reference_seconds: float = 150.0
    methods: tuple[str, ...] = tuple(METHODS)

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("samples", self.samples, minimum=10)
        as_integer("points", self.points, minimum=10)


QUICK = Setting(
    seeds=1,
    hidden=(8,),
    seconds=(0.3,),
    samples=500,
    t_end=100.0,
    points=100,
    reference_seconds=10.0,
    methods=("rodas5p", "kencarp58", "gear", "cvode_bdf", "rk4", "descent(0.01)", "adam(0.001)"),
)


def default_method(hidden: int) -> str:
    """The label of what ``train`` takes by default."""
    name, options = automatic_solver(4 * hidden + 1)
    asked = {"solver": name, **({"solver_options": options} if options else {})}
    return next(label for label, arguments in METHODS.items() if arguments == asked)


def build(hidden: int, samples: int, seed: int) -> tuple[Net, Array]:
    """Data of a random teacher of four neurons, and a start."""
    student = Net([(hidden, "softplus", True), (1, "identity", True)], input_dim=2)
    teacher = Net([(4, "softplus", True), (1, "identity", True)], input_dim=2)
    teacher_theta = random_params(
        teacher, rng=np.random.default_rng([seed, 1]), init="standard_normal"
    )
    net = NetI(student, Teacher(teacher, teacher_theta)).sample(
        samples, rng=np.random.default_rng([seed, 2])
    )
    return net, random_params(net, rng=np.random.default_rng([seed, 3]))


# --------------------------------------------------------------------------------------------------
# the runs


class Curve(NamedTuple):
    """A reference trajectory as a polygon."""

    t: Array
    theta: Array


def nearest(curve: Curve, points: Array) -> tuple[Array, Array]:
    """Squared distances of points ``(n, P)`` from the polygon, and the times of the nearest points
    on it, ``(n,)`` both.

    The nearest corner is found by matrix products, whose rounding may miss it by a corner or two;
    the segments around it are then compared by differences.
    """
    corners = curve.theta
    products = points @ corners.T
    candidates = np.argmin((corners**2).sum(axis=1) - 2.0 * products, axis=1)
    found = [
        min(_on_segments(curve, point, k)) for point, k in zip(points, candidates, strict=True)
    ]
    squares, times = np.array(found).T
    return squares, times


def _on_segments(curve: Curve, point: Array, k: int) -> Iterator[tuple[float, float]]:
    """Squared distance and time of the nearest point of each segment within three corners of the
    k-th.
    """
    for a in range(max(0, k - 3), min(len(curve.t) - 1, k + 3)):
        side = curve.theta[a + 1] - curve.theta[a]
        way = point - curve.theta[a]
        part = float(np.clip(way @ side / max(side @ side, 1e-300), 0.0, 1.0))
        yield (
            float(((way - part * side) ** 2).sum()),
            float(curve.t[a] + part * (curve.t[a + 1] - curve.t[a])),
        )


def reference(hidden: int, samples: int, t_end: float, seconds: float, seed: int) -> dict[str, Any]:
    """The flow by CVODE at 1e-11, at up to 5,000 times, and its distance from the flow at 1e-9 as
    an estimate of its error.
    """
    net, theta = build(hidden, samples, seed)
    times = np.concatenate([[0.0], np.geomspace(1e-4, t_end, 4999)])
    options: dict[str, Any] = {
        "solver": "cvode_bdf",
        "t_end": t_end,
        "t_eval": times,
        "max_steps_newton": 0,
        "progress": False,
        "min_gradient_norm": 0.0,
        "max_time_flow": seconds,
    }
    fine = train(net, theta, rtol=1e-11, atol=1e-11, **options).trajectory
    coarse = train(net, theta, rtol=1e-9, atol=1e-9, **options).trajectory
    common = min(len(fine.t), len(coarse.t))
    error = float(np.linalg.norm(fine.theta[:common] - coarse.theta[:common], axis=1).max())
    return {"t": fine.t, "theta": fine.theta, "uncertainty": error, "lowest": float(fine.loss[-1])}


def follow(
    method: str, hidden: int, samples: int, t_end: float, seconds: float, points: int, seed: int
) -> dict[str, Any]:
    """The points of one method within the wall time; kernels are compiled before the clock runs."""
    net, theta = build(hidden, samples, seed)
    options: dict[str, Any] = {
        "max_steps_newton": 0,
        "progress": False,
        "min_gradient_norm": 0.0,
        **METHODS[method],
    }
    train(net, theta, max_steps_flow=2, num_trajectory=2, **options)
    result = train(
        net,
        theta,
        t_end=t_end,
        max_time_flow=seconds,
        max_steps_flow=10**8,
        num_trajectory=points,
        **options,
    )
    return {
        "theta": result.trajectory.theta,
        "t": result.trajectory.t,
        "loss": float(result.trajectory.loss[-1]),
        "steps": result.flow.steps,
        "gradients": result.flow.gradients,
        "hessians": result.flow.hessians,
        "seconds_used": result.flow.wall_time,
        "stop": result.flow.stop_reason.name,
    }


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> FlowAccuracyStudy:
    """All runs of the study; times are compared, so that ``jobs`` above the number of idle cores
    spoils it.
    """
    started = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    seeds = range(setting.seed, setting.seed + setting.seeds)
    common = {"samples": setting.samples, "t_end": setting.t_end}
    references = run_grid(
        reference,
        [
            {"hidden": h, "seconds": setting.reference_seconds, "seed": s, **common}
            for h in setting.hidden
            for s in seeds
        ],
        **options,
    )
    runs = run_grid(
        follow,
        [
            {
                "method": m,
                "hidden": h,
                "seconds": seconds,
                "points": setting.points,
                "seed": s,
                **common,
            }
            for h, seconds in zip(setting.hidden, setting.seconds, strict=True)
            for s in seeds
            for m in setting.methods
        ],
        **options,
    )
    for row in runs:
        row |= _judge(
            row,
            next(r for r in references if (r["hidden"], r["seed"]) == (row["hidden"], row["seed"])),
        )
    wall = running_time() - started
    return FlowAccuracyStudy(setting, [*references, *runs], wall, references, runs)


def _judge(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """Distance and progress of a run."""
    curve = Curve(np.asarray(reference["t"]), np.asarray(reference["theta"]))
    squares, times = nearest(curve, np.asarray(row["theta"]))
    return {"distance": float(squares.mean()), "progress": float(times[-1])}


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class FlowAccuracyStudy(StudyResult):
    """Outcome of the study ``flow-accuracy``."""

    name = "flow-accuracy"
    setting: Setting
    references: list[dict[str, Any]]
    runs: list[dict[str, Any]]

    def median(self, hidden: int, method: str, what: str) -> float:
        """Median over the seeds."""
        return float(
            np.median(
                [r[what] for r in self.runs if (r["hidden"], r["method"]) == (hidden, method)]
            )
        )

    def _ranking(self, hidden: int, what: str) -> list[str]:
        """Methods from the best to the worst: far for progress, near for distance, low for loss."""
        sign = -1.0 if what == "progress" else 1.0
        return sorted(self.setting.methods, key=lambda m: sign * self.median(hidden, m, what))

    def _floor(self, hidden: int) -> float:
        """Square of the estimated error of the references, below which distances mean nothing."""
        return max(
            float(row["uncertainty"]) ** 2 for row in self.references if row["hidden"] == hidden
        )

    def _seconds(self, hidden: int) -> float:
        return dict(zip(self.setting.hidden, self.setting.seconds, strict=True))[hidden]

    def claims(self) -> list[Claim]:
        """Readings of the paper from its figure."""
        return [*self._reach(), *self._preferable(), *self._adam(), self._own()]

    def _reach(self) -> list[Claim]:
        claims = []
        for hidden in self.setting.hidden:
            second = [m for m in self.setting.methods if m in _SECOND_ORDER]
            first = [m for m in self.setting.methods if m in _FIRST_ORDER]
            far = {m: self.median(hidden, m, "progress") for m in self.setting.methods}
            ratio = max(far[m] for m in second) / max(max(far[m] for m in first), 1e-300)
            loss = {m: self.median(hidden, m, "loss") for m in self.setting.methods}
            claims.append(
                Claim(
                    "In a given time, methods that use second derivatives integrate the flow "
                    f"farther, and to lower losses, than descent and Adam: {4 * hidden + 1} "
                    "parameters.",
                    "paper, figure 1",
                    {
                        "progress, best over best": ratio,
                        "lowest loss": min(second, key=loss.__getitem__),
                        "its loss": min(loss.values()),
                    },
                    ratio > 1 and min(loss, key=loss.__getitem__) in second,
                    f"medians over {self.setting.seeds} seeds, {self._seconds(hidden):g} s each",
                )
            )
        return claims

    def _preferable(self) -> list[Claim]:
        smallest = self.setting.hidden[0]
        largest = self.setting.hidden[-1]
        order = self._ranking(smallest, "progress")
        others = [m for m in ("cvode_bdf", "rk4", "descent(0.01)", "adam(0.001)") if m in order]
        held = all(order.index(a) < order.index(b) for a in HIGH_ORDER for b in others)
        claims = [
            Claim(
                "Rodas5 and KenCarp58 are preferable over CVODE BDF, RK4, descent and Adam: "
                f"{4 * smallest + 1} parameters.",
                "paper, figure 1",
                {m: self.median(smallest, m, "progress") for m in order[:5]},
                held,
                "methods that got farthest, and how far (infflow's rodas5p stands for Rodas5)",
            )
        ]
        if largest != smallest:
            order = self._ranking(largest, "progress")
            claims.append(
                Claim(
                    f"CVODE BDF works best: {4 * largest + 1} parameters.",
                    "paper, figure 1",
                    {m: self.median(largest, m, "progress") for m in order[:5]},
                    order[0].startswith("cvode_bdf"),
                    "methods that got farthest, and how far",
                )
            )
        return claims

    def _adam(self) -> list[Claim]:
        names = [m for m in self.setting.methods if m.startswith("adam")]
        descents = [m for m in self.setting.methods if m.startswith("descent")]
        found = {
            f"{4 * h + 1} parameters": min(self.median(h, m, "distance") for m in names)
            / max(self.median(h, m, "distance") for m in descents)
            for h in self.setting.hidden
        }
        note = (
            "squared distance of the nearest Adam over that of the farthest descent; a hundred "
            "times asked"
        )
        return [
            Claim(
                "Adam does not follow the flow as descent does.",
                "paper, figure 1",
                found,
                min(found.values()) > 100,
                note,
            )
        ]

    def _own(self) -> Claim:
        found = {}
        held = True
        for hidden in self.setting.hidden:
            order = self._ranking(hidden, "progress")
            default = default_method(hidden)
            found[f"{4 * hidden + 1} parameters"] = (
                f"{default}: {order.index(default) + 1} of {len(order)}; first {order[0]}"
            )
            best = self.median(hidden, order[0], "progress")
            own = self.median(hidden, default, "progress")
            held &= own > 0.5 * best
        return Claim(
            "The default gets at least half as far as the best method.",
            "infflow",
            found,
            held,
            "rank by progress",
        )

    def table(self) -> str:
        """Medians for each size, from the farthest to the least far."""
        parts = []
        header = (
            "method | distance d_m | progress t_m | final loss | steps | gradients | "
            "Hessians | seconds"
        )
        for hidden, seconds in zip(self.setting.hidden, self.setting.seconds, strict=True):
            keys = (
                "distance",
                "progress",
                "loss",
                "steps",
                "gradients",
                "hessians",
                "seconds_used",
            )
            rows = [
                (m, *(self.median(hidden, m, key) for key in keys))
                for m in self._ranking(hidden, "progress")
            ]
            lowest = float(
                np.median([r["lowest"] for r in self.references if r["hidden"] == hidden])
            )
            end = float(np.median([r["t"][-1] for r in self.references if r["hidden"] == hidden]))
            parts.append(
                f"### {4 * hidden + 1} parameters, {seconds:g} s\n\nReferences end at t = "
                f"{end:.4g} with the loss {lowest:.3g}; squared error of their points about "
                f"{self._floor(hidden):.0e}.\n\n{markdown_table(header, rows)}\n"
            )
        return "\n".join(parts)

    def numbers(self) -> dict[str, Any]:
        """Every run without its points."""
        keys = (
            "method",
            "hidden",
            "seed",
            "distance",
            "progress",
            "loss",
            "steps",
            "gradients",
            "hessians",
            "stop",
        )
        return {"runs": [{key: row[key] for key in keys} for row in self.runs]}

    def plot(self, picture: str = "") -> Any:
        """Progress and final loss against distance, as in the paper's figure 1."""
        from matplotlib.figure import Figure

        with style():
            figure = Figure(
                figsize=(PAGE_WIDTH, 3.6 * len(self.setting.hidden)), layout="constrained"
            )
            panels = figure.subplots(len(self.setting.hidden), 2, squeeze=False)
            for hidden, (left, right) in zip(self.setting.hidden, panels, strict=True):
                for k, method in enumerate(self.setting.methods):
                    rows = [r for r in self.runs if (r["hidden"], r["method"]) == (hidden, method)]
                    x = [max(r["distance"], 1e-20) for r in rows]
                    look: dict[str, Any] = {
                        "color": color(k),
                        "ls": "",
                        "ms": 5,
                        "marker": "os^Dv<>pX"[k // 8 * 3 + k % 3],
                    }
                    left.loglog(x, [max(r["progress"], 1e-6) for r in rows], label=method, **look)
                    right.loglog(x, [r["loss"] for r in rows], **look)
                title = f"{4 * hidden + 1} parameters"
                left.set(title=title, xlabel="distance to reference $d_m$", ylabel="progress $t_m$")
                right.set(title=title, xlabel="distance to reference $d_m$", ylabel="final loss")
            figure.legend(
                *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4
            )
            tidy(figure)
        return figure
