"""How low, and how near to a fixed point, every method gets in a given time; what the end points
are (the paper's figure 2).

Part A and B: final loss of six methods from the same start at equal time. Part C: students of
random teachers that can reach loss zero, with each end point labelled by :func:`infflow.classify`.
Last, quasi-Newton on a loss that is scaled up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._validation import Array, as_integer
from ..classification.classify import classify
from ..classification.point_kind import PointKind
from ..compile_time import running_time
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.parameters import random_params
from ..networks.teacher import Teacher
from ..objective import Evaluation
from ..plotting.style import PAGE_WIDTH, color, style, tidy
from ..training import train
from .objectives import WithProducts
from .study import Claim, StudyResult, StudySetting, markdown_table, run_grid

#: label -> the part of ``train`` that is used, and how it is asked for
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("flow", {"solver": "adam", "step_size": 1e-3}),
    "lbfgs": ("newton", {"optimizer": "lbfgs"}),
    "kencarp58": ("flow", {"solver": "kencarp58"}),
    "newton": ("newton", {"optimizer": "newton"}),
    "bfgs": ("newton", {"optimizer": "bfgs"}),
    "slsqp": ("newton", {"optimizer": "slsqp"}),
    "levenberg_marquardt": ("newton", {"optimizer": "levenberg_marquardt"}),
    "flow, then newton": ("both", {}),
}
_ZERO = 1e-25  # losses below this are those of exact solutions; rounding leaves about 1e-32
_BOUNDS = (1e-8, 0.0)  # on the gradient of BFGS: a common default, and none
# losses between the two are searched on, to see whether the verdict on them was right
_SMALL = 1e-8
#: of points, a marker for each number of students over teachers
_MARKERS = "os^D"
_COLOURS = ("lowest eigenvalue below -1e-8", "-1e-8 to 0", "0 to 1e-8", "above 1e-8")


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; ``seeds`` is the number of data sets, teachers, starts of each kind.

    Attributes
    ----------
    hidden : tuple of int
        Hidden neurons of parts A and B: 33 and 1,153 parameters.
    seconds : tuple of float
        Wall time of every method, for each of them.
    dimensions : tuple of int
        Input dimensions of part C, which are also the numbers of teacher neurons.
    widths : tuple of int
        Student neurons over teacher neurons.
    samples : int
        Number of samples.
    flow_steps, newton_seconds : int, float
        Limits of part C.
    """

    seeds: int = 3
    hidden: tuple[int, ...] = (8, 288)
    seconds: tuple[float, ...] = (2.0, 10.0)
    dimensions: tuple[int, ...] = (2, 4, 8)
    widths: tuple[int, ...] = (1, 2, 4)
    samples: int = 1000
    flow_steps: int = 2000
    newton_seconds: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("samples", self.samples, minimum=10)


QUICK = Setting(
    seeds=1,
    hidden=(8,),
    seconds=(0.3,),
    dimensions=(2,),
    widths=(1, 2),
    samples=300,
    flow_steps=300,
    newton_seconds=1.0,
)


def build(inputs: int, teachers: int, hidden: int, samples: int, seed: int) -> tuple[Net, Array]:
    """Data of a random teacher with normal parameters, and a start; softplus with biases."""
    student = Net([(hidden, "softplus", True), (1, "identity", True)], input_dim=inputs)
    teacher = Net([(teachers, "softplus", True), (1, "identity", True)], input_dim=inputs)
    theta = random_params(teacher, rng=np.random.default_rng([seed, 1]), init="standard_normal")
    net = NetI(student, Teacher(teacher, theta)).sample(
        samples, rng=np.random.default_rng([seed, 2])
    )
    return net, random_params(net, rng=np.random.default_rng([seed, 3]))


class Scaled:
    """An objective times a factor."""

    def __init__(self, net: WithProducts, factor: float) -> None:
        self.net = net
        self.factor = factor

    @property
    def num_params(self) -> int:
        """Number of parameters."""
        return self.net.num_params

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Value and derivatives, all times the factor."""
        value, g, H = self.net.evaluate(theta, order)
        return Evaluation(
            self.factor * value,
            None if g is None else self.factor * g,
            None if H is None else self.factor * H,
        )

    def hvp(self, theta: Array, v: Array) -> Array:
        """Hessian times ``v``."""
        return self.factor * self.net.hvp(theta, v)


# --------------------------------------------------------------------------------------------------
# the runs


def minimise(method: str, hidden: int, samples: int, seconds: float, seed: int) -> dict[str, Any]:
    """Loss and gradient that one method reaches in the given time."""
    net, theta = build(2, 4, hidden, samples, seed)
    stage, choice = METHODS[method]
    options: dict[str, Any] = {
        "progress": False,
        "max_time_flow": seconds,
        "max_time_newton": seconds,
        **choice,
    }
    options |= {
        "max_steps_flow": 10**8 if stage != "newton" else 0,
        "max_steps_newton": 10**6 if stage != "flow" else 0,
    }
    if stage == "both":
        options |= {"max_time_flow": 0.5 * seconds, "max_time_newton": 0.5 * seconds}
    # this call compiles
    train(
        net,
        theta,
        **{**options, "max_steps_flow": min(1, options["max_steps_flow"]), "max_steps_newton": 0},
    )
    started = running_time()
    result = train(net, theta, num_trajectory=2, **options)
    return {
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "steps": result.flow.steps + result.newton.steps,
        "seconds_used": running_time() - started,
        "stop": result.status.name,
    }


def resolve(
    inputs: int, width: int, samples: int, flow_steps: int, newton_seconds: float, seed: int
) -> dict[str, Any]:
    """Flow and Newton's method on a student that can copy its teacher; what was found."""
    net, theta = build(inputs, inputs, width * inputs, samples, seed)
    result = train(
        net,
        theta,
        max_steps_flow=flow_steps,
        max_time_flow=newton_seconds,
        max_time_newton=newton_seconds,
        num_trajectory=2,
        progress=False,
    )
    before = net.evaluate(result.theta_flow, 1)
    after = net.evaluate(result.theta, 2)
    assert before.gradient is not None and after.hessian is not None
    found = classify(net, result.theta)
    later = result.loss
    if _ZERO < later < _SMALL:
        later = train(
            net, result.theta, max_steps_flow=0, max_time_newton=2 * newton_seconds, progress=False
        ).loss
    return {
        "later_loss": later,
        "flow_loss": before.value,
        "flow_gradient": float(np.abs(before.gradient).max()),
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "lowest": float(np.linalg.eigvalsh(after.hessian)[0]),
        "kind": found.kind.name,
        "index": found.index,
        "flat": found.flat_dimension,
        "expected_loss": found.expected_loss,
        "reason": found.reason,
        "stop": result.status.name,
    }


def scaled_bfgs(factor: float, bound: float, samples: int, seed: int) -> dict[str, Any]:
    """From a point beside the solution of loss zero: SciPy's BFGS, with a bound on the gradient, on
    the loss times a factor; infflow's BFGS and Newton's method on the loss.
    """
    from scipy.optimize import minimize

    net, _ = build(2, 2, 2, samples, seed)
    star = random_params(
        net, rng=np.random.default_rng([seed, 1]), init="standard_normal"
    )  # the teacher's
    start = star + 0.1 * np.random.default_rng([seed, 4]).normal(size=net.num_params)
    rules: dict[str, Any] = {
        "max_steps_flow": 0,
        "progress": False,
        "min_loss": 0.0,
        "min_gradient_norm": 0.0,
        "max_time_newton": 20.0,
    }
    scaled = Scaled(net, factor)
    found = minimize(
        lambda x: scaled.evaluate(x, 1)[:2],
        start,
        jac=True,
        method="BFGS",
        options={"gtol": bound, "maxiter": 20_000},
    )
    own, newton = (train(net, start, optimizer=name, **rules) for name in ("bfgs", "newton"))
    return {
        "loss": net.evaluate(found.x, 0).value,
        "own": own.loss,
        "newton": newton.loss,
        "stop": found.message,
    }


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> FixedPointStudy:
    """All runs of the study."""
    started = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    seeds = range(setting.seed, setting.seed + setting.seeds)
    races = run_grid(
        minimise,
        [
            {"method": m, "hidden": h, "samples": setting.samples, "seconds": seconds, "seed": s}
            for h, seconds in zip(setting.hidden, setting.seconds, strict=True)
            for s in seeds
            for m in METHODS
        ],
        **options,
    )
    limits = {
        "samples": setting.samples,
        "flow_steps": setting.flow_steps,
        "newton_seconds": setting.newton_seconds,
    }
    ends = run_grid(
        resolve,
        [
            {"inputs": d, "width": w, "seed": s, **limits}
            for d in setting.dimensions
            for w in setting.widths
            for s in seeds
        ],
        **options,
    )
    scaled = run_grid(
        scaled_bfgs,
        [
            {"factor": f, "bound": bound, "samples": setting.samples, "seed": s}
            for bound in _BOUNDS
            for s in seeds
            for f in (1.0, 1e4, 1e8, 1e12)
        ],
        **options,
    )
    wall = running_time() - started
    return FixedPointStudy(setting, [*races, *ends, *scaled], wall, races, ends, scaled)


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class FixedPointStudy(StudyResult):
    """Outcome of the study ``fixed-points``; the runs by kind, see the functions that made them."""

    name = "fixed-points"
    setting: Setting
    races: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    scaled: list[dict[str, Any]]

    def median(self, hidden: int, method: str, what: str = "loss") -> float:
        """Median over the seeds."""
        return float(
            np.median(
                [r[what] for r in self.races if (r["hidden"], r["method"]) == (hidden, method)]
            )
        )

    def claims(self) -> list[Claim]:
        """The paper's sentences about its figure 2, and what infflow adds."""
        return [*self._races(), *self._zeros(), self._resolved(), *self._labels(), *self._bfgs()]

    def _races(self) -> list[Claim]:
        claims = []
        for hidden in self.setting.hidden:
            found = {m: self.median(hidden, m) for m in METHODS}
            size = f"{4 * hidden + 1} parameters"
            second = min(found[m] for m in ("lbfgs", "newton", "bfgs", "slsqp"))
            flows = min(found[m] for m in ("adam", "kencarp58"))
            claims.append(
                Claim(
                    "For a low loss in a given time, approximate second-order optimizers beat "
                    f"differential equation solvers: {size}.",
                    "paper, figure 2",
                    found,
                    second < flows,
                    f"median of {self.setting.seeds} seeds",
                )
            )
            paper = ("adam", "lbfgs", "kencarp58", "newton", "bfgs", "slsqp")
            best = min(paper, key=found.__getitem__)
            winner = "slsqp" if hidden == self.setting.hidden[0] else "bfgs"
            claims.append(
                Claim(
                    f"{winner.upper()} typically finds the lowest loss: {size}.",
                    "paper, figure 2",
                    {"lowest": best, best: found[best], winner: found[winner]},
                    best == winner,
                    "among the paper's six methods",
                )
            )
        return claims

    def _zeros(self) -> list[Claim]:
        losses = np.array([row["loss"] for row in self.ends])
        lowest = float(losses.min())
        return [
            Claim(
                "Losses of order 1e-32 are reached in double precision.",
                "paper, p. 4",
                {"lowest": lowest, "share below 1e-28": float(np.mean(losses < 1e-28))},
                lowest < 1e-30,
                "realizable teacher-student runs, flow and then Newton's method",
            )
        ]

    def _resolved(self) -> Claim:
        nowhere = (PointKind.NOT_CONVERGED.name, PointKind.AT_INFINITY.name)
        kinds = [row["kind"] for row in self.ends]
        share = float(np.mean([kind in nowhere for kind in kinds]))
        by_width = {
            f"D1 = {w} D1*": float(
                np.mean([r["kind"] in nowhere for r in self.ends if r["width"] == w])
            )
            for w in self.setting.widths
        }
        ends = {
            "of these at infinity": kinds.count(PointKind.AT_INFINITY.name),
            "not resolved": kinds.count(PointKind.NOT_CONVERGED.name),
        }
        return Claim(
            "Almost 20 % of the runs are not resolved.",
            "paper, p. 4",
            {"share without a critical point": share, **by_width, **ends},
            0.1 < share < 0.3,
            f"share of {len(self.ends)} runs that classify finds at no critical point after "
            f"{self.setting.flow_steps} steps and {self.setting.newton_seconds:g} s, and how many "
            "of these run off to a minimum at infinity; between 10 and 30 % counts as almost 20 %",
        )

    def _labels(self) -> list[Claim]:
        kinds: dict[str, int] = {}
        for row in self.ends:
            kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
        small = [r for r in self.ends if _ZERO < r["loss"] < _SMALL]
        lower = [r for r in small if r["later_loss"] < 0.9 * r["loss"]]
        near = [r for r in small if r["kind"] != PointKind.NOT_CONVERGED.name]
        wrong = [
            r for r in near if abs(r["later_loss"] - max(r["expected_loss"], 0.0)) > 0.1 * r["loss"]
        ]
        gradients = [r["gradient_norm"] for r in lower]
        return [
            Claim(
                "Tiny gradients and smallest eigenvalues near zero do not imply that a fixed "
                "point is reached.",
                "paper, p. 4",
                {
                    "losses from 1e-25 to 1e-8": len(small),
                    "lowered by a search twice as long": len(lower),
                    "their gradients at most": max(gradients, default=math.nan),
                },
                bool(lower) and max(gradients) < 1e-8,
                "lowered by more than a tenth; gradients below 1e-8 count as tiny",
            ),
            Claim(
                "A test of Newton-Kantorovich type tells whether a fixed point is reached, and "
                "the loss there.",
                "infflow",
                {
                    **kinds,
                    "losses from 1e-25 to 1e-8": len(small),
                    "called critical": len(near),
                    "and wrong about the loss": len(wrong),
                },
                not wrong,
                "what classify says of the end points; where it calls a small loss near a "
                "critical point, its expected loss there is compared with what a search twice "
                "as long finds",
            ),
        ]

    def _bfgs(self) -> list[Claim]:
        solved = [row for row in self.scaled if row["newton"] < _ZERO]
        factors = list(dict.fromkeys(row["factor"] for row in self.scaled))

        def median(bound: float, factor: float) -> float:
            return float(
                np.median(
                    [r["loss"] for r in solved if (r["bound"], r["factor"]) == (bound, factor)]
                    or [np.nan]
                )
            )

        default, none = ([median(bound, f) for f in factors] for bound in _BOUNDS)
        newton, own = (
            float(np.median([r[key] for r in solved] or [np.nan])) for key in ("newton", "own")
        )
        found = {
            **{f"factor {f:g}": [a, b] for f, a, b in zip(factors, default, none, strict=True)},
            "infflow's bfgs": own,
            "newton": newton,
        }
        note = (
            "median loss of SciPy's BFGS with a bound of 1e-8 on the gradient, a common "
            f"default, and without a bound; {len(solved) // (2 * len(factors))} starts beside a "
            "solution of loss zero"
        )
        return [
            Claim(
                "BFGS stalls at losses around 1e-14.",
                "paper, p. 4",
                found,
                bool(solved) and 1e-18 < default[0] < 1e-10,
                f"{note}; with the bound, between 1e-18 and 1e-10 asked",
            ),
            Claim(
                "Scaled up, BFGS gets lower, and still not as low as Newton's method.",
                "paper, p. 4",
                found,
                bool(solved)
                and min(default[1:]) < 0.1 * default[0]
                and newton < 0.1 * min(default),
                f"{note}; a factor of ten asked of both, since losses of 1e-32 are rounding",
            ),
        ]

    def table(self) -> str:
        """Losses at equal time, end points by kind."""
        header = (
            "method",
            *(f"loss, {4 * h + 1} parameters" for h in self.setting.hidden),
            *(f"gradient, {4 * h + 1}" for h in self.setting.hidden),
            *(f"steps, {4 * h + 1}" for h in self.setting.hidden),
        )
        races = [
            (
                m,
                *(
                    self.median(h, m, what)
                    for what in ("loss", "gradient_norm", "steps")
                    for h in self.setting.hidden
                ),
            )
            for m in METHODS
        ]
        cells = []
        for d in self.setting.dimensions:
            for w in self.setting.widths:
                rows = [r for r in self.ends if (r["inputs"], r["width"]) == (d, w)]
                kinds = [sum(r["kind"] == kind.name for r in rows) for kind in PointKind]
                cells.append(
                    (
                        d,
                        d,
                        w * d,
                        *kinds,
                        sum(r["loss"] < _ZERO for r in rows),
                        float(np.median([r["loss"] for r in rows])),
                        float(np.median([r["flat"] for r in rows])),
                    )
                )
        kinds_header = (
            "D0",
            "D1*",
            "D1",
            *(kind.name.lower().replace("_", " ") for kind in PointKind),
            "loss zero",
            "median loss",
            "median flat directions",
        )
        seconds = ", ".join(
            f"{s:g} s for {4 * h + 1}"
            for h, s in zip(self.setting.hidden, self.setting.seconds, strict=True)
        )
        return (
            f"### Equal time ({seconds} parameters), medians of {self.setting.seeds} "
            f"seeds\n\n{markdown_table(header, races)}\n\n### End points of realizable "
            f"problems\n\n{markdown_table(kinds_header, cells)}\n"
        )

    def numbers(self) -> dict[str, Any]:
        """All runs."""
        return {"races": self.races, "ends": self.ends, "scaled": self.scaled}

    def plot(self, picture: str = "") -> Any:
        """Losses at equal time, and the map of end points by eigenvalue and by kind."""
        from matplotlib.figure import Figure

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 7.4), layout="constrained")
            top = figure.add_gridspec(2, 2)
            for k, hidden in enumerate(self.setting.hidden[:2]):
                _draw_race(self, hidden, figure.add_subplot(top[0, k]))
            _draw_eigenvalues(self, figure.add_subplot(top[1, 0]))
            _draw_kinds(self, figure.add_subplot(top[1, 1]))
            tidy(figure)
        return figure


def _draw_race(study: FixedPointStudy, hidden: int, ax: Any) -> None:
    for k, method in enumerate(METHODS):
        losses = [r["loss"] for r in study.races if (r["hidden"], r["method"]) == (hidden, method)]
        ax.semilogy(np.full(len(losses), k), np.maximum(losses, 1e-34), "o", ms=4, color=color(k))
    ax.set_xticks(
        range(len(METHODS)),
        [m.replace("_", "\n").replace(", ", ",\n") for m in METHODS],
        rotation=90,
    )
    ax.set(title=f"{4 * hidden + 1} parameters", ylabel="mean squared error")


def _draw_eigenvalues(study: FixedPointStudy, ax: Any) -> None:
    edges = (-np.inf, -1e-8, 0.0, 1e-8, np.inf)
    for row in study.ends:
        path = (
            np.maximum([row["flow_loss"], row["loss"]], 1e-34),
            np.maximum([row["flow_gradient"], row["gradient_norm"]], 1e-19),
        )
        ax.loglog(*path, color="0.85", lw=0.8, zorder=0)
    for k, label in enumerate(_COLOURS):
        rows = [r for r in study.ends if edges[k] <= r["lowest"] < edges[k + 1]]
        ax.loglog(
            [max(r["loss"], 1e-34) for r in rows],
            [max(r["gradient_norm"], 1e-19) for r in rows],
            "o",
            ms=4,
            color=color(k),
            label=label,
        )
    crossed = [r for r in study.ends if r["kind"] == PointKind.NOT_CONVERGED.name]
    ax.loglog(
        [r["loss"] for r in crossed],
        [r["gradient_norm"] for r in crossed],
        "kx",
        label="not converged (classify)",
    )
    ax.set(
        title="end points by smallest eigenvalue",
        xlabel="mean squared error",
        ylabel="largest entry of the gradient",
    )
    _legend_below(ax)


def _draw_kinds(study: FixedPointStudy, ax: Any) -> None:
    found = {row["kind"] for row in study.ends}
    for k, kind in enumerate(kind for kind in PointKind if kind.name in found):
        ax.plot([], [], "o", ms=4, color=color(k), label=kind.name.lower().replace("_", " "))
        for marker, width in zip(_MARKERS, study.setting.widths, strict=False):
            rows = [r for r in study.ends if (r["kind"], r["width"]) == (kind.name, width)]
            ax.loglog(
                [max(r["loss"], 1e-34) for r in rows],
                [max(r["gradient_norm"], 1e-19) for r in rows],
                marker,
                ms=4,
                color=color(k),
            )
    for marker, width in zip(_MARKERS, study.setting.widths, strict=False):
        label = f"{width} student{'s' * (width > 1)} a teacher"
        ax.plot([], [], marker, ms=4, color="0.5", label=label)
    ax.set(
        title="end points by classify",
        xlabel="mean squared error",
        ylabel="largest entry of the gradient",
    )
    _legend_below(ax)


def _legend_below(ax: Any) -> None:
    """Points may be anywhere in the panel."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
