"""Order parameters against simulated online SGD, published formulas, plateaus and final errors.

All rates are those of Saad and Solla (1995) and Goldt et al. (2019): for half of the squared error,
in the time t = steps / D.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import Array, as_integer
from ...compile_time import running_time
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.teacher import Teacher
from ...online.order_parameters import OnlineResult, OrderParameters
from ...plotting.style import PAGE_WIDTH, color, style, tidy
from ...training import train
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from . import published

_NOISE = 0.1
_LIMIT = 1e-6  # rate that stands for zero
#: rate x time up to which plateaus are shown
_SHOWN = 500
_SPECIALISED = 0.3  # difference of a student's overlaps with two teachers that ends the plateau
_SIMULATED_RATE = 1.0


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; ``seeds`` is the number of simulations for each dimension.

    Attributes
    ----------
    dimensions : tuple of int
        Input dimensions of the simulations.
    t_end : float
        Their length, in steps over dimension.
    rates : tuple of float
        Learning rates at which plateaus are measured.
    asymmetries : tuple of float
        Differences between the students at the start of a plateau.
    networks : tuple of (students, teachers)
        For the final errors, with label noise 0.1.
    final_rates : tuple of float
        Their learning rates, falling.
    """

    seeds: int = 16
    dimensions: tuple[int, ...] = (125, 250, 500, 1000, 2000)
    t_end: float = 60.0
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0)
    asymmetries: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
    networks: tuple[tuple[int, int], ...] = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1))
    final_rates: tuple[float, ...] = (0.2, 0.1, 0.05, 0.02, 0.01)

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("seeds", self.seeds, minimum=2)


QUICK = Setting(
    seeds=4,
    dimensions=(50, 200, 800),
    t_end=10.0,
    rates=(0.1, 0.3, 1.0, 2.0, 3.0),
    asymmetries=(1e-3, 1e-5),
    networks=((2, 2), (3, 2)),
    final_rates=(0.1, 0.02),
)


def build(activation: str, students: int, teachers: int, noise: float = 0.0) -> NetI:
    """Students of orthonormal teachers of unit output weight, with room for weights of any
    overlaps.
    """
    D = students + teachers
    student = Net([(students, activation, False), (1, "identity", False)], input_dim=D)
    teacher = Net([(teachers, activation, False), (1, "identity", False)], input_dim=D)
    star = teacher.pack([(np.eye(teachers, D), None), (np.ones((1, teachers)), None)])
    return NetI(student, Teacher(teacher, star, noise=noise))


def _committee(neti: NetI, W: Array) -> Array:
    """Parameters of a student with the given weights and output weights one."""
    return neti.pack([(W, None), (np.ones((1, len(W))), None)])


# --------------------------------------------------------------------------------------------------
# the runs


def compare_formulas(students: int, teachers: int, seed: int) -> dict[str, Any]:
    """Largest difference of dQ/dt, dR/dt and dv/dt from the published ones at a random point,
    relative to the largest of them.
    """
    rng = np.random.default_rng([seed, students, teachers])
    neti = build("erf", students, teachers, _NOISE)
    W = rng.normal(size=(students, students + teachers))
    v = rng.normal(size=(1, students))
    theta = neti.pack([(W, None), (v, None)])
    op = OrderParameters(neti, 0.7, 0.4, half_loss=True)
    state = op.state(theta)
    ours = op.derivative(state)
    theirs = published.derivative(
        state.Q, state.R, op.T, state.v[0], np.ones(teachers), 0.7, 0.4, _NOISE
    )
    pairs = zip((ours.Q, ours.R, ours.v[0]), theirs, strict=True)
    return {"difference": float(max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))}


def _start(neti: NetI) -> Array:
    rng = np.random.default_rng(0)
    return _committee(neti, 0.2 * rng.standard_normal((2, 4)))


def integrate_equations(t_end: float, points: int) -> dict[str, Any]:
    """Overlaps along the equations and along the gradient flow, for the network that is
    simulated.
    """
    neti = build("erf", 2, 2)
    t = np.linspace(0.0, t_end, points)
    exact = OrderParameters(neti, _SIMULATED_RATE, 0.0, half_loss=True).solve(
        _start(neti), t_eval=t
    )
    slow = OrderParameters(neti, _LIMIT * _SIMULATED_RATE, 0.0, half_loss=True)
    flow = slow.solve(_start(neti), t_eval=t / _LIMIT)
    return {"t": t, "R": exact.R, "flow": flow.R}


def simulate(D: int, t_end: float, points: int, seed: int) -> dict[str, Any]:
    """Overlaps along one run of online SGD in ``D`` dimensions."""
    neti = build("erf", 2, 2)
    op = OrderParameters(neti, _SIMULATED_RATE, 0.0, half_loss=True)
    return {"R": op.simulate(_start(neti), D, np.linspace(0.0, t_end, points), rng=seed).R}


def _plateau_start(neti: NetI, asymmetry: float) -> Array:
    W = np.zeros((2, 4))
    W[:, :2], W[:, 2:] = 0.05, 0.3 * np.eye(2)
    W[0, 0] += asymmetry
    return _committee(neti, W)


def _length(run: OnlineResult) -> float:
    """Time at which the students have specialised; NaN if they have not."""
    split = np.abs(run.R[:, 0, 0] - run.R[:, 0, 1])
    after = int(np.argmax(split > _SPECIALISED))
    if not after:
        return float("nan")
    part = (_SPECIALISED - split[after - 1]) / (split[after] - split[after - 1])
    return float(run.t[after - 1] + part * (run.t[after] - run.t[after - 1]))


def plateau(rate: float, asymmetry: float) -> dict[str, Any]:
    """How long two students that start almost alike stay so, and the rate at which the plateau is
    left.
    """
    neti = build("erf", 2, 2)
    op = OrderParameters(neti, rate, 0.0, half_loss=True)
    t_end = 1000.0 / rate if rate < 1.5 else 4000.0
    run = op.solve(_plateau_start(neti, asymmetry), t_eval=np.linspace(0.0, t_end, 4001))
    # flows get slowly to where both students are alike, and alike to both teachers; Newton's method
    # does not
    symmetric = op.fixed_point(op.solve(_plateau_start(neti, 0.0), t_end=100.0 / rate).state())
    keep = np.unique(np.linspace(0, np.sum(rate * run.t <= _SHOWN) - 1, 301).astype(int))
    return {
        "length": _length(run),
        "growth": float(symmetric.eigenvalues[0].real),
        "plateau_error": op.generalization_error(symmetric.state) / 2,
        "t": run.t[keep],
        "errors": run.generalization_error[keep] / 2,
    }


def final_error(students: int, teachers: int, rate: float, seed: int) -> dict[str, Any]:
    """Generalization error long after a start near the teacher, with label noise."""
    neti = build("erf", students, teachers, _NOISE)
    rng = np.random.default_rng([seed, students, teachers])
    W = 0.05 * rng.standard_normal((students, students + teachers))
    W[:teachers, :teachers] += np.eye(teachers)
    op = OrderParameters(neti, rate, 0.0, half_loss=True)
    run = op.solve(_committee(neti, W), t_eval=np.array([0.0, 4000.0 / rate, 8000.0 / rate]))
    later, last = run.generalization_error[1:] / 2
    return {"final": float(last), "still_moving": float(abs(later / last - 1))}


def flow_limit(activation: str) -> dict[str, Any]:
    """Distance of order parameters at a vanishing rate from the gradient flow of the infinite-data
    network, both layers moving.
    """
    neti = build(activation, 2, 2)
    rng = np.random.default_rng(1)
    theta = 0.5 * rng.standard_normal(neti.num_params)
    t = np.linspace(0.0, 20.0, 21)
    slow = OrderParameters(neti, _LIMIT).solve(theta, t_eval=t / _LIMIT, rtol=1e-9, atol=1e-11)
    flow = train(neti, theta, t_eval=t, rtol=1e-9, atol=1e-11, max_steps_newton=0, progress=False)
    teacher = np.eye(2, 4)
    R = np.array([neti.unpack(x)[0][0] @ teacher.T for x in flow.trajectory.theta])
    return {"difference": float(np.abs(R - slow.R).max())}


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> OnlineStudy:
    """All runs of the study."""
    started = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    points = 61
    base = setting.seed
    seeds = range(base, base + setting.seeds)
    formulas = run_grid(
        compare_formulas,
        [
            {"students": K, "teachers": M, "seed": s}
            for K, M in ((1, 1), (2, 2), (3, 2), (2, 4))
            for s in range(base, base + 5)
        ],
        **options,
    )
    (equations,) = run_grid(
        integrate_equations, [{"t_end": setting.t_end, "points": points}], **options
    )
    simulations = run_grid(
        simulate,
        {"D": setting.dimensions, "t_end": [setting.t_end], "points": [points], "seed": seeds},
        **options,
    )
    plateaus = run_grid(
        plateau, {"rate": setting.rates, "asymmetry": setting.asymmetries}, **options
    )
    finals = run_grid(
        final_error,
        [
            {"students": K, "teachers": M, "rate": rate, "seed": base}
            for K, M in setting.networks
            for rate in setting.final_rates
        ],
        **options,
    )
    limits = run_grid(flow_limit, {"activation": ["erf", "relu", "gelu"]}, **options)
    rows = [*formulas, *simulations, *plateaus, *finals, *limits]
    wall = running_time() - started
    return OnlineStudy(
        setting, rows, wall, equations, formulas, simulations, plateaus, finals, limits
    )


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class OnlineStudy(StudyResult):
    """Outcome of the study ``online-sgd``; the runs by kind, see the functions that made them."""

    name = "online-sgd"
    setting: Setting
    equations: dict[str, Any]
    formulas: list[dict[str, Any]]
    simulations: list[dict[str, Any]]
    plateaus: list[dict[str, Any]]
    finals: list[dict[str, Any]]
    limits: list[dict[str, Any]]

    def scatter(self) -> Array:
        """Root mean square distance of the overlaps R of one run from the equations, for each
        dimension ``(n,)``.
        """
        return np.array(
            [
                np.sqrt(np.mean((self._overlaps(D) - self.equations["R"]) ** 2))
                for D in self.setting.dimensions
            ]
        )

    def _overlaps(self, D: int) -> Array:
        return np.array([row["R"] for row in self.simulations if row["D"] == D])

    def scaled_lengths(self, asymmetry: float) -> Array:
        """Rate times length of the plateau, for each rate ``(n,)``."""
        return np.array(
            [row["rate"] * row["length"] for row in self.plateaus if row["asymmetry"] == asymmetry]
        )

    def claims(self) -> list[Claim]:
        """Published formulas, simulations, the limit of small rates, plateaus, final errors."""
        return [
            self._formulas(),
            *self._simulations(),
            self._limit(),
            *self._plateaus(),
            *self._finals(),
        ]

    def _formulas(self) -> Claim:
        worst = max(row["difference"] for row in self.formulas)
        sentence = (
            "For erf, the right-hand side of the order parameters is the one that the published "
            "I2, I3, I4 and J2 give."
        )
        note = (
            f"largest relative difference over {len(self.formulas)} random states of up to 4 "
            "neurons a side; 1e-12 asked"
        )
        return Claim(sentence, "Saad and Solla 1995; Goldt et al. 2019", worst, worst < 1e-12, note)

    def _simulations(self) -> list[Claim]:
        slope = float(np.polyfit(np.log(self.setting.dimensions), np.log(self.scatter()), 1)[0])
        D = self.setting.dimensions[-1]
        mean = self._overlaps(D).mean(axis=0)
        exact, flow = (
            float(np.sqrt(np.mean((mean - self.equations[key]) ** 2))) for key in ("R", "flow")
        )
        return [
            Claim(
                "Runs of online SGD approach the equations as 1/sqrt(D).",
                "Goldt et al. 2019",
                {"slope": slope, f"distance at D = {D}": float(self.scatter()[-1])},
                abs(slope + 0.5) < 0.15,
                "exponent of the distance in D; within 0.15 of -1/2 asked",
            ),
            Claim(
                "At finite rates the equations describe online SGD, and gradient flow does not.",
                "Saad and Solla 1995",
                {"distance from the equations": exact, "from gradient flow": flow},
                exact < flow / 3,
                f"root mean square distance of the mean overlaps of {self.setting.seeds} runs at "
                f"D = {D}, rate {_SIMULATED_RATE:g}",
            ),
        ]

    def _limit(self) -> Claim:
        found = {row["activation"]: row["difference"] for row in self.limits}
        sentence = (
            "As the rate tends to zero, order parameters follow the gradient flow of the "
            "infinite-data network."
        )
        return Claim(
            sentence,
            "theory",
            found,
            max(found.values()) < 2e-5,
            f"largest difference of an overlap up to flow time 20 at the rate {_LIMIT:g}",
        )

    def _plateaus(self) -> list[Claim]:
        setting = self.setting
        first = setting.asymmetries[0]
        lengths = self.scaled_lengths(first)
        small = np.array([rate <= 0.3 for rate in setting.rates])
        spread = float(np.ptp(lengths[small]) / lengths[small].mean())
        ratios = [
            (b["length"] - a["length"]) * a["growth"] / np.log(a["asymmetry"] / b["asymmetry"])
            for rate in setting.rates
            for a, b in zip(*(self._at(rate, x) for x in setting.asymmetries[-2:]), strict=True)
        ]
        actual = np.array([row["length"] for row in self.plateaus if row["asymmetry"] == first])
        best = setting.rates[int(np.argmin(np.where(np.isnan(actual), np.inf, actual)))]
        deviation = float(np.max(np.abs(np.array(ratios) - 1)))
        return [
            Claim(
                "At small rates the length of the symmetric plateau is inversely proportional "
                "to the learning rate.",
                "Saad and Solla 1995",
                {
                    "rate x length": dict(
                        zip(map(str, setting.rates), lengths.tolist(), strict=True)
                    ),
                    "spread up to 0.3": spread,
                },
                spread < 0.02,
                "rate x length constant within 2 % up to the rate 0.3 asked",
            ),
            Claim(
                "The plateau grows with the logarithm of the inverse asymmetry at the start, "
                "over the unstable eigenvalue at the plateau.",
                "theory",
                {"largest deviation of the ratio from one": deviation},
                deviation < 0.05,
                f"from asymmetry {setting.asymmetries[-2]:g} to {setting.asymmetries[-1]:g}, "
                "eigenvalue of the exact Jacobian at the symmetric fixed point",
            ),
            Claim(
                "There is a best learning rate: above it the plateau becomes longer in steps as "
                "well.",
                "Saad and Solla 1995",
                {"shortest at the rate": best},
                bool(setting.rates[0] < best < setting.rates[-1]),
            ),
        ]

    def _at(self, rate: float, asymmetry: float) -> list[dict[str, Any]]:
        return [
            row for row in self.plateaus if row["rate"] == rate and row["asymmetry"] == asymmetry
        ]

    def _finals(self) -> list[Claim]:
        smallest = [row for row in self.finals if row["rate"] == self.setting.final_rates[-1]]
        ratio = {
            f"K = {row['students']}, M = {row['teachers']}": row["final"] / self._law(row)
            for row in smallest
        }
        moving = max(row["still_moving"] for row in smallest)
        return [
            Claim(
                "Trained on noisy labels, a soft committee machine with L superfluous students "
                "ends at the error sigma^2 eta (L + M/sqrt 3) / (2 pi) for small eta.",
                "Goldt et al. 2019",
                {"measured / formula": ratio},
                max(abs(x - 1) for x in ratio.values()) < 0.03,
                f"at eta = {self.setting.final_rates[-1]:g}; the next order is proportional to "
                f"eta; the error changed by at most {moving:.0e} over the second half",
            )
        ]

    def _law(self, row: dict[str, Any]) -> float:
        return published.committee_error(row["students"], row["teachers"], _NOISE, row["rate"])

    def table(self) -> str:
        """Scatter by dimension, plateaus by rate, final errors by network."""
        first = self.setting.asymmetries[0]
        dimensions = markdown_table(
            "D | rms distance of R, one run",
            zip(self.setting.dimensions, self.scatter(), strict=True),
        )
        plateaus = markdown_table(
            (
                "rate | plateau length | rate x length | unstable eigenvalue / rate | "
                "error on the plateau"
            ),
            [
                (
                    r["rate"],
                    r["length"],
                    r["rate"] * r["length"],
                    r["growth"] / r["rate"],
                    r["plateau_error"],
                )
                for r in self.plateaus
                if r["asymmetry"] == first
            ],
        )
        finals = markdown_table(
            "students | teachers | rate | final error | measured / formula",
            [
                (r["students"], r["teachers"], r["rate"], r["final"], r["final"] / self._law(r))
                for r in self.finals
            ],
        )
        return (
            f"### Simulations\n\n{dimensions}\n\n### Plateaus, asymmetry "
            f"{first:g}\n\n{plateaus}\n\n### Final errors, label noise {_NOISE:g}\n\n{finals}\n"
        )

    def numbers(self) -> dict[str, Any]:
        """Numbers of the tables."""
        keys = ("rate", "asymmetry", "length", "growth", "plateau_error")
        return {
            "scatter": dict(zip(map(str, self.setting.dimensions), self.scatter(), strict=True)),
            "plateaus": [{key: row[key] for key in keys} for row in self.plateaus],
            "finals": self.finals,
            "limits": self.limits,
        }

    def plot(self, picture: str = "") -> Any:
        """Overlaps, their scatter, plateaus over the scaled time, plateau lengths, final errors."""
        from matplotlib.figure import Figure

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 8.4), layout="constrained")
            panels = figure.subplots(3, 2).ravel()
            for draw, ax in zip(
                (_overlaps, _scatter, _errors, _lengths, _asymmetries, _finals), panels, strict=True
            ):
                draw(self, ax)
            tidy(figure)
        return figure


def _overlaps(study: OnlineStudy, ax: Any) -> None:
    D = study.setting.dimensions[-1]
    t = study.equations["t"]
    runs = study._overlaps(D)
    for i in range(2):
        for m in range(2):
            label = f"$R_{{{i + 1}{m + 1}}}$"
            ax.plot(t, study.equations["R"][:, i, m], color=color(2 * i + m), label=label)
            ax.plot(t, study.equations["flow"][:, i, m], ":", color=color(2 * i + m), lw=1)
            ax.errorbar(
                t[::6],
                runs[:, ::6, i, m].mean(0),
                runs[:, ::6, i, m].std(0, ddof=1),
                fmt="o",
                ms=3,
                color=color(2 * i + m),
            )
    ax.set(
        title=f"equations, flow (dotted), D = {D} (dots)",
        xlabel="t = steps / D",
        ylabel="overlaps R",
    )
    ax.legend(loc="center right", ncols=2)


def _scatter(study: OnlineStudy, ax: Any) -> None:
    D = np.array(study.setting.dimensions, dtype=float)
    y = study.scatter()
    ax.loglog(D, y, "o", label="one run")
    ax.loglog(D, y[-1] * np.sqrt(D[-1] / D), "-", color="0.5", label=r"$D^{-1/2}$")
    ax.set(title="simulation against equations", xlabel="D", ylabel="rms distance of R")
    ax.legend()


def _errors(study: OnlineStudy, ax: Any) -> None:
    rows = [row for row in study.plateaus if row["asymmetry"] == study.setting.asymmetries[0]]
    for k, row in enumerate(rows[:: max(1, len(rows) // 4)]):
        ax.semilogy(
            row["rate"] * row["t"], row["errors"], color=color(k), label=f"rate {row['rate']:g}"
        )
    ax.set(
        title="plateaus",
        xlabel="rate × t",
        ylabel="generalization error",
        xlim=(0, _SHOWN),
        ylim=(1e-6, None),
    )
    ax.legend()


def _lengths(study: OnlineStudy, ax: Any) -> None:
    for k, asymmetry in enumerate(study.setting.asymmetries):
        ax.loglog(
            study.setting.rates,
            study.scaled_lengths(asymmetry),
            "o-",
            color=color(k),
            label=f"asymmetry {asymmetry:g}",
        )
    ax.set(title="length of the plateau", xlabel="learning rate", ylabel="rate × length")
    ax.legend()


def _asymmetries(study: OnlineStudy, ax: Any) -> None:
    x = np.array(study.setting.asymmetries)
    for k, rate in enumerate(study.setting.rates[:: max(1, len(study.setting.rates) // 3)]):
        rows = [study._at(rate, a)[0] for a in x]
        y = np.array([rate * row["length"] for row in rows])
        line = y[0] + np.log(x[0] / x) * rate / rows[0]["growth"]
        ax.semilogx(x, y, "o", color=color(k), label=f"rate {rate:g}")
        ax.semilogx(x, line, "-", color=color(k), lw=1)
    ax.set(
        title="dots measured, lines by the eigenvalue",
        xlabel="asymmetry at the start",
        ylabel="rate × length",
    )
    ax.legend()


def _finals(study: OnlineStudy, ax: Any) -> None:
    for k, (K, M) in enumerate(study.setting.networks):
        rows = [row for row in study.finals if (row["students"], row["teachers"]) == (K, M)]
        ax.loglog(
            [r["rate"] for r in rows],
            [r["final"] for r in rows],
            "o",
            color=color(k),
            label=f"K = {K}, M = {M}",
        )
        ax.loglog(
            [r["rate"] for r in rows], [study._law(r) for r in rows], "-", color=color(k), lw=1
        )
    ax.set(
        title="final error, label noise; lines: formula",
        xlabel="learning rate",
        ylabel="generalization error",
    )
    ax.legend()
