"""The study ``convergence``: finite against infinite data, in more settings than figure 4 of the
paper has.

The demo :func:`infflow.convergence` measures one case; here are a realizable case without label
noise, to which the law of 1/N does not apply, and with noise, to which it does; relu students,
whose Hessian has a part from kinks that finite data do not show; inputs of more and more
dimensions; and numbers of samples that are too small for any law.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...compile_time import running_time
from ...networks.statistics import FiniteDataPrediction
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from . import convergence
from .runs import Case, measure_seconds, predict_spread, solve_finite, solve_infinite

#: a difference of this many standard errors has a probability of one in a thousand.
_ERRORS = 3.3
#: relative accuracy of a prefactor whose covariance is exact: the minimum is found to rounding
_EXACT = 1e-8
_BOOTSTRAP = 2000
#: relative accuracy of the parameters at which costs are compared.
_ACCURACY = 0.01


def _dimension(D: int, N: tuple[int, ...]) -> Case:
    return Case(f"{D} inputs", "dimension", N, "erf", D, 4, 2, teacher_dim=4, teacher_seed=5)


_REALIZABLE: dict[str, Any] = {
    "activation": "erf",
    "input_dim": 5,
    "teacher_width": 2,
    "student_width": 2,
    "teacher_seed": 2,
}
_RELU: dict[str, Any] = {
    "activation": "relu",
    "input_dim": 5,
    "teacher_width": 4,
    "student_width": 2,
    "teacher_seed": 3,
}

CASES = (
    Case("figure 4", "law", (1_000, 3_000, 10_000, 30_000, 100_000)),
    Case("relu", "kinks", (1_000, 3_000, 10_000, 30_000), **_RELU),
    Case("realizable", "realizable", (1_000, 3_000, 10_000), **_REALIZABLE),
    Case(
        "realizable with noise",
        "law",
        (1_000, 3_000, 10_000, 30_000, 100_000),
        noise=0.05,
        **_REALIZABLE,
    ),
    *(_dimension(D, (3_000, 10_000)) for D in (4, 8, 16, 32, 64)),
    Case("few samples", "few", (100, 300)),
)
QUICK_CASES = (
    Case("small", "law", (300, 1_000, 3_000), "erf", 3, 3, 1, teacher_seed=0),
    Case("relu", "kinks", (500, 1_000), **_RELU),
    Case("realizable", "realizable", (300, 1_000), **_REALIZABLE),
    Case("realizable with noise", "law", (1_000, 2_000), noise=0.05, **_REALIZABLE),
    *(_dimension(D, (1_000, 2_000)) for D in (4, 16)),
    Case("few samples", "few", (10, 30), "erf", 3, 3, 1, teacher_seed=0),
)


@dataclass(frozen=True)
class Setting(StudySetting):
    """Cases, data sets for each number of samples (``seeds``), and the base of the data's random
    numbers (``seed``).
    """

    seeds: int = 20
    cases: tuple[Case, ...] = CASES


QUICK = Setting(seeds=6, cases=QUICK_CASES)


class Comparison(NamedTuple):
    """Measured over predicted, the standard error of this, and the difference in
    standard errors.
    """

    ratio: float
    error: float
    deviation: float


@dataclass
class CaseResult:
    """One case: the infinite-data solution and the runs."""

    case: Case
    infinite: dict[str, Any]
    runs: list[dict[str, Any]]
    seeds: int
    #: seconds by :func:`measure_seconds` for each N; empty where costs are not compared
    costs: list[dict[str, Any]]

    @cached_property
    def summary(self) -> convergence.ConvergenceResult:
        """Means, predictions and slope, as the demo has them."""
        i, c = self.infinite, self.case
        names = ("activation", "input_dim", "teacher_width", "student_width")
        setting = convergence.Setting(
            **{n: getattr(c, n) for n in names},
            N=c.N,
            seeds=self.seeds,
            seed=c.teacher_seed,
            noise=c.noise,
        )
        rank = len(i["theta"]) - i["flat"]
        law = FiniteDataPrediction(
            i["prefactor"], i["prefactor_error"], i["gap"], i["gap_error"], rank
        )
        runs = [
            convergence.Run(
                r["N"],
                r["data_seed"],
                r["squared_distance"],
                r["loss_gap"],
                r["gradient_norm"],
                r["same_basin"],
                r["seconds"],
            )
            for r in self.runs
        ]
        return convergence.ConvergenceResult(
            setting, i["theta"], i["loss"], i["gradient_norm"], i["seconds"], law, runs
        )

    @cached_property
    def fit(self) -> tuple[convergence.Fit | None, str | None]:
        """The slope, or None and why there is none."""
        return self.summary.fit_or_reason()

    def used(self, N: int, what: str) -> Array:
        """A column of the runs with N samples that stayed in the basin."""
        return np.array([run[what] for run in self.runs if run["N"] == N and run["same_basin"]])

    def against_prediction(
        self, what: str, law: float, law_error: float, spread: float, N: tuple[int, ...]
    ) -> Comparison:
        """Mean of N times a column against ``law``, over the runs with these N.

        The standard error is that of the law, from the ``spread`` of single runs that it predicts:
        squares are so skewed that the scatter of twenty of them is small where their mean is.
        """
        values = np.concatenate([n * self.used(n, what) for n in N])
        if not len(values):
            return Comparison(np.nan, np.nan, np.inf)
        error = float(np.hypot(spread / np.sqrt(len(values)), law_error))
        mean = float(values.mean())
        return Comparison(mean / law, error / law, abs(mean - law) / error)

    def relative_shift_errors(self) -> dict[int, Array]:
        """|displacement - predicted| / |displacement| by N."""
        return {
            N: self.used(N, "shift_error") / np.sqrt(self.used(N, "squared_distance"))
            for N in self.case.N
        }

    def seconds(self) -> Array:
        """Processor seconds of a finite-data run, by N."""
        return np.array([cost["finite_seconds"] for cost in self.costs])

    def infinite_seconds(self) -> float:
        """Processor seconds of the infinite-data run."""
        return float(np.median([cost["infinite_seconds"] for cost in self.costs]))

    def cost_ratio(self) -> float:
        """Seconds of finite over those of infinite data for parameters to 1 % (root mean square).

        The number of samples is that of the law, the seconds are extrapolated linearly from the
        largest N. The infinite-data run goes on to rounding error, so that it is not favoured.
        """
        theta = self.infinite["theta"]
        needed = self.infinite["prefactor"] / (_ACCURACY**2 * float(theta @ theta))
        return float(self.seconds()[-1] * needed / max(self.case.N) / self.infinite_seconds())


@dataclass
class FiniteDataResult(StudyResult):
    """Outcome of the study ``convergence``."""

    name = "convergence"
    setting: Setting
    results: list[CaseResult]

    def of(self, *kinds: str) -> list[CaseResult]:
        """The cases of some kinds."""
        return [result for result in self.results if result.case.kind in kinds]

    # ----------------------------------------------------------------------------------------------
    # claims

    def claims(self) -> list[Claim]:
        """Paper and theory against the runs."""
        main = self.of("law")[0]
        lawful = self.of("law", "kinks", "dimension")
        claims = [self._slope(result) for result in self.of("law", "kinks")]
        claims += [self._prefactor(result) for result in lawful]
        claims += [self._gap(result) for result in self.of("law", "kinks")]
        claims += [self._shift(result, -0.5) for result in self.of("law", "kinks")]
        claims += [self._shift(result, -0.25) for result in self.of("kinks")]
        claims += [self._kinks(result) for result in self.of("kinks")]
        claims += [self._realizable(result) for result in self.of("realizable")]
        return [*claims, self._cost(main), *self._dimensions(), self._refusals()]

    def _slope(self, result: CaseResult) -> Claim:
        fit, refused = result.fit
        sentence = (
            "The squared distance of the finite-data solution to the infinite-data solution "
            f"falls as 1/N ({result.case.name})."
        )
        if fit is None:
            return Claim(sentence, "paper, figure 4", None, False, str(refused))
        low, high = fit.slope_ci
        value = {"slope": fit.slope, "95 % interval": [low, high]}
        return Claim(
            sentence,
            "paper, figure 4",
            value,
            low <= -1 <= high,
            "holds if the interval contains -1",
        )

    def _compared(self, sentence: str, result: CaseResult, what: str, law: str) -> Claim:
        i = result.infinite
        largest = max(result.case.N)
        spread = i["distance_spread" if what == "squared_distance" else "gap_spread"]
        found = result.against_prediction(what, i[law], i[f"{law}_error"], spread, (largest,))
        value = {"measured/predicted": found.ratio, "standard error": found.error, "N": largest}
        return Claim(
            sentence,
            "theory",
            value,
            found.deviation < _ERRORS,
            f"holds within {_ERRORS} standard errors",
        )

    def _prefactor(self, result: CaseResult) -> Claim:
        sentence = f"The mean squared distance is tr(H^+ C H^+)/N ({result.case.name})."
        return self._compared(sentence, result, "squared_distance", "prefactor")

    def _gap(self, result: CaseResult) -> Claim:
        return self._compared(
            f"The mean gap of the loss is tr(H^+ C)/(2N) ({result.case.name}).",
            result,
            "loss_gap",
            "gap",
        )

    def _shift(self, result: CaseResult, exponent: float) -> Claim:
        rate = {-0.5: "1/sqrt(N)", -0.25: "N^(-1/4)"}[exponent]
        sentence = (
            "Run by run the displacement is -H^+ grad L_N(theta*), up to a relative error that "
            f"falls as {rate} ({result.case.name})."
        )
        errors = {N: e for N, e in result.relative_shift_errors().items() if len(e)}
        medians = {f"median at N = {N}": float(np.median(e)) for N, e in errors.items()}
        if len(errors) < 2:
            return Claim(sentence, "theory", medians, False, "too few runs stayed in the basin")
        slope, low, high = _median_slope(errors)
        value = {**medians, "exponent": slope, "95 % interval": [low, high]}
        note = f"holds if the interval contains {exponent}"
        if result.case.kind == "kinks":
            note += (
                "; a solution of size 1/sqrt(N) crosses about sqrt(N) kinks, each of which "
                "moves the gradient by 1/N, at random: N^(-3/4) in all, as for quantiles "
                "(Bahadur 1966), so that the smooth rate cannot hold"
            )
        return Claim(sentence, "theory", value, low <= exponent <= high, note)

    def _kinks(self, result: CaseResult) -> Claim:
        i = result.infinite
        laws = {"with kinks": i["prefactor"], "without kinks": i["prefactor_without_kinks"]}
        found = {
            name: result.against_prediction(
                "squared_distance", law, i["prefactor_error"], i["distance_spread"], result.case.N
            )
            for name, law in laws.items()
        }
        ratios = {name: each.ratio for name, each in found.items()}
        errors = {name: each.deviation for name, each in found.items()}
        return Claim(
            f"With {result.case.activation} the Hessian of finite data misses the kinks and does "
            "not predict the distance; that of infinite data does.",
            "infflow",
            {"measured/predicted": ratios, "standard errors off": errors},
            bool(errors["without kinks"] > _ERRORS > errors["with kinks"]),
            f"all N together; holds if one is more than {_ERRORS} standard errors off and the "
            "other less",
        )

    def _realizable(self, result: CaseResult) -> Claim:
        fit, reason = result.fit
        theta = result.infinite["theta"]
        largest = max(
            (run["squared_distance"] for run in result.runs if run["same_basin"]), default=np.nan
        ) / float(theta @ theta)
        return Claim(
            "Where student and teacher match and labels have no noise, finite data give the "
            "infinite-data solution to rounding: the 1/N law does not apply.",
            "theory",
            {"largest squared distance / |theta*|^2": largest},
            largest < 1e-16 and fit is None,
            f"slope refused: {reason}" if reason else "a slope was reported",
        )

    def _cost(self, main: CaseResult) -> Claim:
        N = np.array(main.case.N, dtype=float)
        slope = float(np.polyfit(np.log(N[-3:]), np.log(main.seconds()[-3:]), 1)[0])
        value = {
            "exponent of N": slope,
            "finite/infinite seconds at the largest N": float(
                main.seconds()[-1] / main.infinite_seconds()
            ),
        }
        return Claim(
            "The cost of a finite-data run increases linearly with N.",
            "paper, conclusion of the section on infinite data",
            value,
            0.75 <= slope <= 1.25,
            "three largest N; holds if the exponent is within 1/4 of 1",
        )

    def _dimensions(self) -> list[Claim]:
        results = self.of("dimension")
        D = np.array([result.case.input_dim for result in results], dtype=float)
        prefactor = np.array([result.infinite["prefactor"] for result in results])
        sampled = np.array([result.infinite["prefactor_error"] for result in results])
        # an exact covariance has no error but that of the minimum
        error = np.maximum(sampled, _EXACT * prefactor)
        line = np.polyval(np.polyfit(D, prefactor, 1, w=1 / error), D)
        ratios = [result.cost_ratio() for result in results]
        named = {result.case.name: ratio for result, ratio in zip(results, ratios, strict=True)}
        return [
            Claim(
                "The prefactor tr(H^+ C H^+) grows linearly with inputs that the teacher ignores.",
                "theory",
                {
                    result.case.name: x
                    for result, x in zip(results, prefactor.tolist(), strict=True)
                },
                bool((np.abs(prefactor - line) < _ERRORS * error).all()),
                f"holds if all are within {_ERRORS} standard errors of a line; of exact values "
                f"{_EXACT:g} of themselves stands for these",
            ),
            Claim(
                "At equal accuracy infinite data are cheaper, the more so the more inputs there "
                "are.",
                "paper, conclusion of the section on infinite data",
                {"finite/infinite seconds for parameters to 1 %": named},
                ratios[-1] > 1 and ratios[-1] > ratios[0],
                "processor seconds at the largest N, extrapolated linearly to the N of the law; "
                "holds if the ratio is above 1 for the most inputs and higher than for the "
                "fewest",
            ),
        ]

    def _refusals(self) -> Claim:
        shares = {
            r.case.name: float(np.mean([run["same_basin"] for run in r.runs])) for r in self.results
        }
        right = [
            share >= convergence.ENOUGH or result.fit[0] is None
            for result, share in zip(self.results, shares.values(), strict=True)
        ]
        return Claim(
            "No slope is reported where fewer than 80 % of the runs stayed in the basin of the "
            "infinite-data solution.",
            "infflow",
            {"share that stayed": shares},
            all(right),
        )

    # ----------------------------------------------------------------------------------------------
    # outputs

    def table(self) -> str:
        """Each case and N: runs used, squared distance, loss gap, error of the predicted shift,
        seconds.
        """
        header = (
            "case | N | runs | squared distance | predicted | ratio | loss gap | "
            "predicted | error of the shift | seconds"
        )
        rows: list[tuple[Any, ...]] = []
        for result in self.results:
            s = result.summary
            i = result.infinite
            errors = result.relative_shift_errors()
            seconds = [cost["finite_seconds"] for cost in result.costs] or [None] * len(
                result.case.N
            )
            measured = s.mean_squared_distance()
            gaps = s.mean_loss_gap()
            for k, N in enumerate(result.case.N):
                law = i["prefactor"] / N
                gap = i["gap"] / N
                error = float(np.median(errors[N])) if len(errors[N]) else None
                used = f"{len(s.used(N))}/{result.seeds}"
                cells = (
                    float(measured[k]),
                    law,
                    float(measured[k]) / law,
                    float(gaps[k]),
                    gap,
                    error,
                    seconds[k],
                )
                rows.append((result.case.name, f"{N:,}", used, *cells))
        infinite = [
            (
                r.case.name,
                r.case.activation,
                f"{r.case.input_dim}-{r.case.student_width} ({r.case.teacher_width})",
                r.infinite["loss"],
                f"{r.infinite['smallest']:.2g} to {r.infinite['largest']:.2g}",
                r.infinite["flat"],
                r.infinite["prefactor"],
                r.infinite_seconds() if r.costs else None,
            )
            for r in self.results
        ]
        columns = (
            "case | activation | inputs-students (teachers) | loss | eigenvalues | flat "
            "| tr(H^+ C H^+) | seconds"
        )
        return (
            f"Infinite data:\n\n{markdown_table(columns, infinite)}\n\n"
            "Finite data, means over the runs in the basin, medians of the shift's relative "
            f"error and of processor seconds:\n\n{markdown_table(header, rows)}\n"
        )

    def numbers(self) -> dict[str, Any]:
        """The demo's numbers for each case."""
        return {
            result.case.name: {**result.summary.to_dict(), "costs": result.costs}
            for result in self.results
        }

    def plot(self, picture: str = "") -> Any:
        """Figure 4 with its prediction; measured against predicted displacement; relu with and
        without kinks; dimensions.
        """
        from matplotlib.figure import Figure

        from ...plotting import plot_convergence
        from ...plotting.style import PAGE_WIDTH, style, tidy

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 6.2), layout="constrained")
            panels = figure.subplots(2, 2).ravel()
            main = self.of("law")[0]
            plot_convergence(main.summary, ax=panels[0])
            panels[0].set_title(main.case.name)
            self._draw_shifts(panels[1])
            for result in self.of("kinks")[:1]:
                plot_convergence(result.summary, ax=panels[2])
                without = result.infinite["prefactor_without_kinks"] / np.array(result.case.N)
                panels[2].plot(
                    result.case.N, without, ":", color="0.4", label="predicted without kinks"
                )
                panels[2].set_title(result.case.activation)
                bottom = panels[2].get_ylim()[0]
                panels[2].set_ylim(bottom=1e-2 * bottom)  # room for the legend
                panels[2].legend(loc="lower left")
            self._draw_dimensions(panels[3])
            tidy(figure)
        return figure

    def _draw_shifts(self, ax: Any) -> None:
        from ...plotting.style import color

        for k, result in enumerate(self.of("law", "kinks")):
            used = [run for run in result.runs if run["same_basin"]]
            predicted, measured = (
                [run[name] for run in used] for name in ("predicted_squared", "squared_distance")
            )
            label = result.case.name
            ax.loglog(predicted, measured, ".", color=color(k), markersize=3, label=label)
        low, high = ax.get_xlim()
        ax.plot([low, high], [low, high], color="0.5", lw=0.8, zorder=0, label="equal")
        ax.set(
            xlabel=r"predicted $|H^+\nabla L_N(\theta^*)|^2$",
            ylabel=r"$|\theta_N - \theta^*|^2$",
            title="run by run",
        )
        ax.legend()

    def _draw_dimensions(self, ax: Any) -> None:
        from ...plotting.style import BLUE, ORANGE

        results = self.of("dimension")
        D = [result.case.input_dim for result in results]
        ax.plot(
            D,
            [result.infinite["prefactor"] for result in results],
            "--",
            color=ORANGE,
            label=r"$\mathrm{tr}(H^+CH^+)$",
        )
        measured = [
            result.summary.mean_squared_distance()[-1] * max(result.case.N) for result in results
        ]
        scatter = [result.summary.standard_error()[-1] * max(result.case.N) for result in results]
        ax.errorbar(
            D, measured, scatter, fmt="o", color=BLUE, label=r"$N\,|\theta_N - \theta^*|^2$"
        )
        ax.set(xlabel="inputs, of which the teacher uses 4", ylim=(0, None), title="dimension")
        ax.legend(loc="lower right")


def _median_slope(errors: dict[int, Array]) -> tuple[float, float, float]:
    """Exponent of the medians in N, and its 95 % interval by resampling the runs."""
    rng = np.random.default_rng(0)
    x = np.log(list(errors))
    slope = np.polyfit(x, np.log([np.median(e) for e in errors.values()]), 1)[0]
    draws = [
        np.log(np.median(rng.choice(e, (_BOOTSTRAP, len(e))), axis=1)) for e in errors.values()
    ]
    low, high = np.percentile(np.polyfit(x, np.array(draws), 1)[0], [2.5, 97.5])
    return float(slope), float(low), float(high)


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> FiniteDataResult:
    """All cases; see :func:`infflow.studies.run_study` for the arguments."""
    begin = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    different = {tuple(case.problem.values()): case.problem for case in setting.cases}
    solutions, spreads = (
        run_grid(f, different.values(), **options) for f in (solve_infinite, predict_spread)
    )
    infinite = {
        key: {**spread, **solution}
        for key, solution, spread in zip(different, solutions, spreads, strict=True)
    }
    points = [
        {**case.problem, "N": N, "data_seed": k, "base": setting.seed}
        for case in setting.cases
        for N in case.N
        for k in range(setting.seeds)
    ]
    rows = run_grid(solve_finite, points, **options)
    timed = [setting.cases[0], *(case for case in setting.cases if case.kind == "dimension")]
    costs = run_grid(
        measure_seconds,
        [
            {**case.problem, "N": N, "repeats": 3, "base": setting.seed}
            for case in timed
            for N in case.N
        ],
        **options,
    )
    results = []
    start = 0
    for case in setting.cases:
        stop = start + len(case.N) * setting.seeds
        found = [costs.pop(0) for _ in case.N] if case in timed else []
        results.append(
            CaseResult(
                case, infinite[tuple(case.problem.values())], rows[start:stop], setting.seeds, found
            )
        )
        start = stop
    return FiniteDataResult(setting, rows, running_time() - begin, results)
