"""What stiff solvers do on neural networks: the questions of Klausmeier's letter, measured.

Four gradient flows: softmax classifiers of scikit-learn's digits (16 principal components) and of
its two-class breast cancer data, both with a ridge of 1e-3 so that there is a minimum to find, and
two teacher-student regressions, with finite and with infinite data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import Array
from ...compile_time import running_time
from ...plotting.style import PAGE_WIDTH, style, tidy
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from .ode_codes import CODES
from .panels import draw_errors, draw_losses, draw_stiffness
from .runs import PROBLEMS, descend, reference, solve, tightening

#: part of the way from the loss at the start to that at the end of the flow that may be left
_TARGET = 1e-2

#: ending of each picture, and the function that draws it
_PANELS = {"": draw_stiffness, "-errors": draw_errors, "-losses": draw_losses}


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study.

    Attributes
    ----------
    problems : tuple of str
        Out of "digits", "two classes", "finite regression", "infinite regression".
    tolerances : tuple of float
        Relative and absolute, loosest first.
    t_end : float
        Length of the flows.
    limit : float
        Seconds for one run.
    step_sizes : tuple of float
        Of gradient descent with momentum 0.9 and of Adam.
    """

    problems: tuple[str, ...] = PROBLEMS
    tolerances: tuple[float, ...] = (1e-2, 1e-4, 1e-6, 1e-8)
    t_end: float = 1000.0
    limit: float = 15.0
    step_sizes: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)


QUICK = Setting(
    problems=("two classes",),
    tolerances=(1e-2, 1e-4, 1e-6),
    t_end=100.0,
    limit=2.0,
    step_sizes=(1e-2, 1e-1),
)


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> StiffnessStudy:
    """All runs of the study."""
    started = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    common = {"t_end": setting.t_end, "seed": setting.seed}
    references = run_grid(
        reference, [{"problem": p, **common} for p in setting.problems], **options
    )
    cases = [
        {
            "problem": p,
            "code": code,
            "jacobian": jacobian,
            "tol": tol,
            "max_order": order,
            "limit": setting.limit,
            **common,
        }
        for p in setting.problems
        for code, jacobians in CODES.items()
        for jacobian in jacobians
        for tol in setting.tolerances
        for order in ((5, 2) if (code, jacobian) == ("cvode", "exact") else (5,))
    ]
    runs = run_grid(solve, cases, **options)
    floor = 1e-6
    adaptive = run_grid(
        tightening,
        [
            {"problem": p, "limit": setting.limit, "floor": floor, **common}
            for p in setting.problems
        ],
        **options,
    )
    goals = {
        row["problem"]: float(row["loss"][-1] + _TARGET * (row["loss"][0] - row["loss"][-1]))
        for row in references
    }
    descents = run_grid(
        descend,
        [
            {
                "problem": p,
                "method": m,
                "step_size": h,
                "goal": goals[p],
                "limit": setting.limit / 2,
                "seed": setting.seed,
            }
            for p in setting.problems
            for m in ("momentum", "adam")
            for h in setting.step_sizes
        ],
        **options,
    )
    rows = [*references, *runs, *adaptive, *descents]
    return StiffnessStudy(
        setting, rows, running_time() - started, references, runs, adaptive, descents
    )


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class StiffnessStudy(StudyResult):
    """Outcome of the study ``stiffness``; the runs by kind, see the functions that made them."""

    name = "stiffness"
    pictures = tuple(_PANELS)
    setting: Setting
    references: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    adaptive: list[dict[str, Any]]
    descents: list[dict[str, Any]]

    def pick(
        self, problem: str, code: str, jacobian: str, max_order: int = 5
    ) -> list[dict[str, Any]]:
        """Runs of one code on one problem, by falling tolerance."""
        wanted = (problem, code, jacobian, max_order)
        rows = [
            r
            for r in self.runs
            if (r["problem"], r["code"], r["jacobian"], r["max_order"]) == wanted
        ]
        return sorted(rows, key=lambda r: -r["tol"])

    def of(self, problem: str) -> dict[str, Any]:
        """The reference of a problem."""
        return next(row for row in self.references if row["problem"] == problem)

    def distance(self, row: dict[str, Any]) -> float:
        """Distance of the end from that of the reference, relative to its length."""
        end = np.asarray(self.of(row["problem"])["end"])
        return float(np.linalg.norm(row["end"] - end) / np.linalg.norm(end))

    def goal(self, problem: str) -> float:
        """Loss that counts as trained: one hundredth of the way left."""
        loss = self.of(problem)["loss"]
        return float(loss[-1] + _TARGET * (loss[0] - loss[-1]))

    def to_goal(self, row: dict[str, Any], what: str) -> float:
        """Steps, gradients or seconds of a run until the loss reaches the goal; NaN if it
        does not.
        """
        there = np.flatnonzero(np.asarray(row["record_loss"]) <= self.goal(row["problem"]))
        return float(row[f"record_{what}"][there[0]]) if len(there) else math.nan

    def best(self, problem: str, method: str, what: str) -> float:
        """Smallest count over the step sizes that reached the goal."""
        values = [
            row[what]
            for row in self.descents
            if (row["problem"], row["method"]) == (problem, method)
        ]
        return float(np.nanmin([*values, np.inf]))

    def claims(self) -> list[Claim]:
        """The letter's questions in its order, then the study's own."""
        return [
            self._iterations(),
            self._wall_time(),
            self._loose(),
            self._orders(),
            self._stiff(),
            self._explicit(),
            self._late(),
            self._exact_jacobian(),
            self._fixed_point(),
            self._minima(),
            self._hyperparameters(),
            self._tightening(),
        ]

    def _fastest(self, problem: str, what: str) -> tuple[float, str]:
        """Fewest of something to the goal over all implicit runs, and which one that was."""
        stiff = [
            r
            for r in self.runs
            if r["problem"] == problem and r["code"] in ("zvode", "lsoda", "cvode", "rodas5p")
        ]
        values = [
            (self.to_goal(r, what), f"{r['code']}, {r['jacobian']}, {r['tol']:g}")
            for r in stiff
            if r["jacobian"] != "fixed point"
        ]
        return min((v for v in values if not math.isnan(v[0])), default=(math.nan, "none"))

    def _gains(self, what: str, counted: str) -> dict[str, Any]:
        found = {}
        for problem in self.setting.problems:
            value, which = self._fastest(problem, what)
            descent = {m: self.best(problem, m, counted) / value for m in ("momentum", "adam")}
            found[problem] = {**{f"{m} / stiff": r for m, r in descent.items()}, "stiff": which}
        return found

    def _iterations(self) -> Claim:
        found = self._gains("steps", "iterations")
        ratios = [min(row["momentum / stiff"], row["adam / stiff"]) for row in found.values()]
        return Claim(
            "Stiff solvers need 2 to 1,000 times fewer iterations than gradient descent.",
            "letter (after Owens and Filkin 1989)",
            found,
            all(r >= 2 for r in ratios),
            "iterations to one hundredth of the way left, descent at its best step size, over "
            "steps of the best stiff run; at least 2 asked of both (infinite: the goal was not "
            "reached)",
        )

    def _wall_time(self) -> Claim:
        found = self._gains("seconds", "seconds")
        ratios = [min(row["momentum / stiff"], row["adam / stiff"]) for row in found.values()]
        return Claim(
            "In run time stiff solvers are slower than gradient descent.",
            "letter",
            found,
            all(r < 1 for r in ratios),
            "the same in seconds; held if descent was faster on every problem",
        )

    def _loose(self) -> Claim:
        found = {}
        fewer = []
        for problem in self.setting.problems:
            rows = self.pick(problem, "cvode", "exact")
            loose, strict = (_nearest(rows, tol) for tol in (1e-4, 1e-6))
            steps = {f"{r['tol']:g}": r["total_steps"] for r in rows}
            found[problem] = {
                "steps": steps,
                "distance": {f"{r['tol']:g}": self.distance(r) for r in rows},
            }
            fewer.append(strict["total_steps"] / loose["total_steps"])
        return Claim(
            "Looser tolerances need fewer steps.",
            "letter",
            found,
            min(fewer) > 1.2,
            "CVODE with the exact Jacobian; 1e-6 over 1e-4 by more than 1.2 asked; distance of "
            "the end from the reference, relative",
        )

    def _orders(self) -> Claim:
        found = {}
        for problem in self.setting.problems:
            five = self.pick(problem, "cvode", "exact")
            two = self.pick(problem, "cvode", "exact", 2)
            found[problem] = {
                f"{a['tol']:g}": b["total_steps"] / a["total_steps"]
                for a, b in zip(five, two, strict=True)
            }
        ratios = [x for row in found.values() for x in row.values()]
        return Claim(
            "High orders of the BDF are not stable enough: order 2 needs fewer steps.",
            "letter",
            found,
            max(ratios) < 1,
            "steps with orders up to 2 over steps with orders up to 5; below one asked",
        )

    def _stiff(self) -> Claim:
        found = {
            p: {
                f"t = {t:g}": float(np.interp(t, self.of(p)["t"], self.of(p)["stiffness"]))
                for t in self._moments()
            }
            for p in self.setting.problems
        }
        mild = all(max(row.values()) < 100 for row in found.values())
        note = (
            "largest eigenvalue times the time scale |theta'|/|theta''| of the solution: "
            "explicit steps for one such time; mild if below 100 throughout"
        )
        return Claim("The problem is only very mildly stiff.", "letter", found, mild, note)

    def _moments(self) -> tuple[float, ...]:
        return tuple(t for t in (0.01, 1.0, 10.0, 100.0, 1000.0) if t <= self.setting.t_end)

    def _explicit(self) -> Claim:
        found = {}
        for problem in self.setting.problems:
            explicit = self.pick(problem, "dopri5", "none")
            implicit = self.pick(problem, "cvode", "exact")
            found[problem] = {
                f"{a['tol']:g}": _if_complete(a, a["total_steps"] / b["total_steps"])
                for a, b in zip(explicit, implicit, strict=True)
            }
        ratios = [x for row in found.values() for x in row.values() if not math.isnan(x)]
        note = (
            "steps of dopri5 over steps of CVODE by tolerance, to the end of the flow; more "
            "than three times as many everywhere asked; a dash where the time limit came first"
        )
        return Claim(
            "A non-stiff code such as dopri5 needs many more steps, which shows stiffness.",
            "letter",
            found,
            bool(ratios) and min(ratios) > 3,
            note,
        )

    def _late(self) -> Claim:
        found = {}
        shares = []
        for problem in self.setting.problems:
            reference = self.of(problem)
            if np.isnan(reference["accuracy"]).any():
                continue
            good = np.flatnonzero(np.asarray(reference["accuracy"]) > 0.8)
            t = float(reference["t"][good[0]]) if len(good) else self.setting.t_end
            row = _nearest(self.pick(problem, "zvode", "exact"), 1e-6)
            k = int(np.searchsorted(row["record_t"], t))
            k = min(k, len(row["record_t"]) - 1)
            names = ("steps", "jacobians", "factorizations", "newton_failures", "rejected")
            late = {name: float(row[f"total_{name}"] - row[f"record_{name}"][k]) for name in names}
            found[problem] = {
                "80 % at t": t,
                **{f"{name} later": value for name, value in late.items()},
            }
            shares.append(late["newton_failures"] / max(late["steps"], 1.0))
        return Claim(
            "The many steps above an accuracy of 80 % come with rejected steps due to Newton "
            "convergence failures.",
            "letter",
            found,
            bool(shares) and min(shares) > 0.1,
            "zvode with the exact Jacobian at the tolerance nearest 1e-6, counts after the "
            "reference reaches 80 %; failures in more than a tenth of the steps asked",
        )

    def _exact_jacobian(self) -> Claim:
        found = {}
        ratios = []
        for problem in self.setting.problems:
            exact = self.pick(problem, "cvode", "exact")
            differenced = self.pick(problem, "cvode", "differences")
            pairs = [
                (a, b)
                for a, b in zip(exact, differenced, strict=True)
                if a["complete"] and b["complete"]
            ]
            found[problem] = {
                f"{a['tol']:g}": {
                    "gradients": b["total_gradients"] / a["total_gradients"],
                    "seconds": b["total_seconds"] / a["total_seconds"],
                }
                for a, b in pairs
            }
            ratios += [b["total_seconds"] / a["total_seconds"] for a, b in pairs]
        return Claim(
            "Exact Jacobians make stiff solvers faster than differences do.",
            "letter",
            found,
            bool(ratios) and min(ratios) > 1,
            "CVODE: differenced over exact, gradients and seconds, by tolerance",
        )

    def _fixed_point(self) -> Claim:
        found = {}
        ratios = []
        for problem in self.setting.problems:
            newton = self.pick(problem, "zvode", "exact")
            fixed = self.pick(problem, "zvode", "fixed point")
            found[problem] = {
                f"{a['tol']:g}": {
                    "steps": b["total_steps"] / a["total_steps"],
                    "complete": bool(b["complete"]),
                }
                for a, b in zip(newton, fixed, strict=True)
            }
            ratios += [
                b["total_steps"] / a["total_steps"] for a, b in zip(newton, fixed, strict=True)
            ]
        return Claim(
            "Called with method='bdf' alone, SciPy's VODE codes iterate without a Jacobian and "
            "take many times more steps.",
            "infflow",
            found,
            min(ratios) > 2,
            "steps without over steps with the exact Jacobian, as far as each got within its limit",
        )

    def _minima(self) -> Claim:
        found = {}
        several = []
        for problem in self.setting.problems:
            rows = [
                r
                for r in self.runs
                if r["problem"] == problem and r["complete"] and r["minimum_converged"]
            ]
            for tol in (self.setting.tolerances[0], self.setting.tolerances[-1]):
                ends = [np.asarray(r["minimum"]) for r in rows if r["tol"] == tol]
                kinds = _distinct(ends)
                found[f"{problem}, {tol:g}"] = f"{kinds} from {len(ends)} runs"
                several.append(kinds > 1)
        return Claim(
            "Different methods iterate to different local minima.",
            "letter",
            found,
            any(several),
            "distinct end points after Newton's method from the end of each complete run, at "
            "the loosest and the strictest tolerance; held if there were several anywhere",
        )

    def _hyperparameters(self) -> Claim:
        found = {}
        worst = []
        for problem in self.setting.problems:
            rows = self.pick(problem, "cvode", "exact")
            seconds = [self.to_goal(r, "seconds") for r in rows]
            spread = max(seconds) / min(seconds) if not any(map(math.isnan, seconds)) else math.inf
            descents = [r for r in self.descents if r["problem"] == problem]
            reached = sum(not math.isnan(r["seconds"]) for r in descents)
            times = [r["seconds"] for r in descents if not math.isnan(r["seconds"])]
            found[problem] = {
                "slowest / fastest tolerance": spread,
                "step sizes that reached the goal": f"{reached} of {len(descents)}",
                "slowest / fastest of these": max(times) / min(times) if times else math.nan,
            }
            worst.append(spread)
        note = (
            "seconds of CVODE to one hundredth of the way left, over all tolerances; every "
            "tolerance reaching it within a factor of ten asked. A tolerance remains to be "
            "chosen"
        )
        return Claim("ODE solvers need no hyperparameters.", "letter", found, max(worst) < 10, note)

    def _tightening(self) -> Claim:
        found = {}
        gains = []
        for row in self.adaptive:
            fixed = _nearest(self.pick(row["problem"], "cvode", "exact"), row["floor"])
            found[row["problem"]] = {
                "steps": row["steps"],
                "steps at fixed 1e-6": fixed["total_steps"],
                "distance": self.distance(row),
                "distance at fixed 1e-6": self.distance(fixed),
            }
            gains.append(fixed["total_steps"] / row["steps"])
        return Claim(
            "A tolerance that tightens as the loss falls takes fewer steps than a strict one "
            "from the start.",
            "letter",
            found,
            min(gains) > 1.1,
            "CVODE from 1e-2 down to 1e-6, a tenth for each tenth of the excess loss; ten per "
            "cent fewer asked",
        )

    def table(self) -> str:
        """Every run: what it counted, its error, and the time to the goal."""
        header = (
            "code | Jacobian | order | tolerance | steps | rejected | Newton failures | "
            "Jacobians | factorizations | gradients | products | distance | seconds to "
            "the goal | seconds"
        )
        parts = []
        for problem in self.setting.problems:
            rows = [
                (
                    r["code"],
                    r["jacobian"],
                    r["max_order"],
                    r["tol"],
                    *(
                        int(x) if not math.isnan(x) else None
                        for x in (
                            r[f"total_{n}"]
                            for n in (
                                "steps",
                                "rejected",
                                "newton_failures",
                                "jacobians",
                                "factorizations",
                                "gradients",
                                "products",
                            )
                        )
                    ),
                    self.distance(r) if r["complete"] else None,
                    self.to_goal(r, "seconds"),
                    r["total_seconds"],
                )
                for r in self.runs
                if r["problem"] == problem
            ]
            descents = [
                (
                    m,
                    f"{h:g}",
                    *(self._descent(problem, m, h, what) for what in ("iterations", "seconds")),
                )
                for m in ("momentum", "adam")
                for h in self.setting.step_sizes
            ]
            title = (
                f"### {problem}, {len(self.of(problem)['end'])} parameters, flow to t = "
                f"{self.setting.t_end:g}, goal {self.goal(problem):.4g}"
            )
            flows = markdown_table(header, rows)
            steps = markdown_table(
                "method | step size | iterations to the goal | seconds", descents
            )
            parts.append(f"{title}\n\n{flows}\n\n{steps}\n")
        return "\n".join(parts)

    def _descent(self, problem: str, method: str, step: float, what: str) -> float:
        return next(
            r[what]
            for r in self.descents
            if (r["problem"], r["method"], r["step_size"]) == (problem, method, step)
        )

    def numbers(self) -> dict[str, Any]:
        """Stiffness along the references, and all totals."""
        keys = ("problem", "code", "jacobian", "max_order", "tol", "complete")
        return {
            "stiffness": {
                r["problem"]: {"t": r["t"], "stiffness": r["stiffness"], "largest": r["largest"]}
                for r in self.references
            },
            "runs": [
                {
                    **{k: r[k] for k in keys},
                    **{k: v for k, v in r.items() if k.startswith("total_")},
                    "distance": self.distance(r),
                }
                for r in self.runs
            ],
        }

    def plot(self, picture: str = "") -> Any:
        """Stiffness along the flows; error against seconds; loss against seconds: one panel for
        each problem.
        """
        from matplotlib.figure import Figure

        rows = (len(self.setting.problems) + 1) // 2
        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 2.9 * rows + 0.6), layout="constrained")
            panels = figure.subplots(rows, 2, squeeze=False).ravel()
            handles: dict[str, Any] = {}
            for ax in panels:
                ax.set_axis_off()
            for ax, problem in zip(panels, self.setting.problems, strict=False):
                ax.set_axis_on()
                _PANELS[picture](self, problem, ax)
                ax.set_title(problem)
                found = ax.get_legend_handles_labels()
                handles |= dict(zip(found[1], found[0], strict=True))
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
            tidy(figure)
        return figure


def _nearest(rows: list[dict[str, Any]], tol: float) -> dict[str, Any]:
    return min(rows, key=lambda row: abs(math.log(row["tol"] / tol)))


def _if_complete(row: dict[str, Any], value: float) -> float:
    return value if row["complete"] else math.nan


def _distinct(points: list[Array], rtol: float = 1e-4) -> int:
    """Number of points that differ by more than a part of their length."""
    kinds: list[Array] = []
    for x in points:
        if all(np.linalg.norm(x - y) > rtol * np.linalg.norm(y) for y in kinds):
            kinds.append(x)
    return len(kinds)
