"""Networks of finite width beside the kernels of infinite width: which gap falls how fast.

Networks in the "ntk" parametrisation follow the gradient flow of the mean squared error on a few
samples, up to a fixed time. The kernel of infinite width predicts their outputs from those at the
start. Two things are not as at infinite width: the tangent kernel at the start is that of finitely
many random neurons, and it moves along the flow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array, as_integer, as_number
from ...exchange.kernels import ntk_kernel
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from .runs import problem, run_network

#: exponents of the width that theory gives, by quantity
THEORY = {"gap": -0.5, "own_gap": -1.0, "fluctuation": -0.5, "movement": -1.0}
#: an exponent is held to be that of theory where it is so near, or within its interval
_NEAR = 0.1
_RESAMPLED = 2000
#: largest deviation of a mean over networks, in standard errors, over some hundred entries
_DEVIATION = 4.5
_LABELS = {
    "gap": "kernel of infinite width",
    "own_gap": "tangent kernel of the network itself",
    "fluctuation": "tangent kernel at the start",
    "movement": "its change along the flow",
}


@dataclass(frozen=True)
class Setting(StudySetting):
    """What is computed.

    Attributes
    ----------
    activations : tuple of str
        Smooth ones: paths of small error across kinks take many steps.
    depths : tuple of int
        Hidden layers, for each of the activations.
    widths : tuple of int
        Of networks with one hidden layer.
    deep_widths : tuple of int
        Of those with more.
    seeds : int
        Networks of each width.
    samples, dimension : int
    t : float
        Time at which outputs are compared.
    """

    activations: tuple[str, ...] = ("erf", "gelu", "tanh")
    depths: tuple[int, ...] = (1, 1, 2)
    widths: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048)
    deep_widths: tuple[int, ...] = (64, 128, 256, 512)
    seeds: int = 40
    samples: int = 10
    dimension: int = 2
    t: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        as_integer("samples", self.samples, minimum=2)
        as_integer("dimension", self.dimension, minimum=1)
        as_number("t", self.t, minimum=0.0, strict=True)

    def widths_of(self, depth: int) -> tuple[int, ...]:
        """Widths of networks with so many hidden layers."""
        return self.widths if depth == 1 else self.deep_widths


QUICK = Setting(widths=(32, 128, 512), deep_widths=(16, 64), seeds=8)


class Exponent(NamedTuple):
    """A power of the width, with a 95 % interval from networks drawn again."""

    value: float
    low: float
    high: float

    def agrees(self, theory: float) -> bool:
        """Whether the interval holds what theory says, or the value is near."""
        return self.low <= theory <= self.high or abs(self.value - theory) <= _NEAR

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def exponent(widths: Array, values: Array, rng: np.random.Generator) -> Exponent:
    """The slope of log root mean square over networks against log width.

    Parameters
    ----------
    widths : (k,) array
    values : (k, n) array
        Of n networks of each width.
    rng : numpy.random.Generator
        Draws networks again, for the interval.
    """
    x = np.log(widths) - np.log(widths).mean()

    def slope(chosen: Array) -> Array:
        y = 0.5 * np.log(np.mean(chosen**2, axis=-1))
        found: Array = y @ x / (x @ x)
        return found

    k, n = values.shape
    drawn = rng.integers(n, size=(_RESAMPLED, k, n))
    low, high = np.quantile(slope(values[np.arange(k)[:, None], drawn]), (0.025, 0.975))
    return Exponent(float(slope(values)), float(low), float(high))


@dataclass
class InfiniteWidthResult(StudyResult):
    """Outcome of the study; ``rows`` are networks."""

    name = "infinite-width"
    setting: Setting

    @property
    def cases(self) -> list[tuple[str, int]]:
        """Activations with numbers of hidden layers."""
        return list(zip(self.setting.activations, self.setting.depths, strict=True))

    def values(self, case: tuple[str, int], quantity: str) -> Array:
        """A quantity of all networks of a case (widths, seeds)."""
        found = [
            [
                row[quantity]
                for row in self.rows
                if (row["activation"], row["depth"], row["width"]) == (*case, width)
            ]
            for width in self.setting.widths_of(case[1])
        ]
        return np.array(found)

    @cached_property
    def exponents(self) -> dict[tuple[str, int], dict[str, Exponent]]:
        """Of all cases and quantities."""
        rng = np.random.default_rng(self.setting.seed)
        return {
            case: {
                quantity: exponent(
                    np.array(self.setting.widths_of(case[1]), dtype=float),
                    self.values(case, quantity),
                    rng,
                )
                for quantity in THEORY
            }
            for case in self.cases
        }

    def claims(self) -> list[Claim]:
        """Exponents of the width, and the mean of tangent kernels."""
        return [
            self._exponents(
                "The gap between a network's outputs and the prediction of the kernel of infinite "
                "width falls as width^(-1/2), its square as 1/width.",
                "gap",
            ),
            self._exponents(
                "The gap to the linearisation of the same network falls as 1/width.", "own_gap"
            ),
            self._exponents(
                "The tangent kernel at the start deviates from its limit by width^(-1/2): this is "
                "what the first gap is made of.",
                "fluctuation",
            ),
            self._exponents("Along the flow the tangent kernel moves by 1/width.", "movement"),
            self._mean_kernel(),
        ]

    def _exponents(self, sentence: str, quantity: str) -> Claim:
        theory = THEORY[quantity]
        found = {_name(case): each[quantity] for case, each in self.exponents.items()}
        return Claim(
            sentence,
            "theory",
            {name: str(each) for name, each in found.items()},
            all(each.agrees(theory) for each in found.values()),
            f"power of the width with a 95 % interval; {theory} in the interval, or within "
            f"{_NEAR}, asked",
        )

    def _mean_kernel(self) -> Claim:
        where = problem(self.setting.samples, self.setting.dimension, self.setting.seed)
        deviations = {}
        for activation, depth in self.cases:
            if depth > 1:
                continue  # the mean has corrections of its own
            limit = ntk_kernel([activation], where.inputs)
            kernels = self.values((activation, depth), "kernel")
            weights = np.array(self.setting.widths_of(depth), dtype=float)
            # a network of width n is the mean of n neurons: each width counts as its neurons
            mean = np.tensordot(weights, kernels.mean(axis=1), 1) / weights.sum()
            spread = (kernels - limit) * np.sqrt(weights)[:, None, None, None]
            variance = np.mean(spread**2, axis=(0, 1))
            neurons = weights.sum() * kernels.shape[1]
            error = np.sqrt(variance / neurons)
            deviations[activation] = float(np.max(np.abs(mean - limit) / error))
        return Claim(
            "The mean of the tangent kernels of networks with one hidden layer is inf.ntk_kernel, "
            "at any width.",
            "infflow",
            deviations,
            all(each <= _DEVIATION for each in deviations.values()),
            f"largest deviation over pairs of inputs, in standard errors; at most {_DEVIATION} "
            "asked",
        )

    def table(self) -> str:
        """Gaps by width, and all exponents."""
        gaps = []
        for case in self.cases:
            columns = [
                np.sqrt(np.mean(self.values(case, quantity) ** 2, axis=1)) for quantity in THEORY
            ]
            for width, *cells in zip(self.setting.widths_of(case[1]), *columns, strict=True):
                gaps.append((_name(case), width, *map(float, cells)))
        powers = [
            (_name(case), *(str(found[quantity]) for quantity in THEORY))
            for case, found in self.exponents.items()
        ]
        header = ("network", *(_LABELS[quantity] for quantity in THEORY))
        return "\n\n".join(
            [
                "### Powers of the width",
                markdown_table(header, powers),
                "### Root mean squares",
                "Gaps of outputs to the predictions of two kernels, and relative distances of "
                "tangent kernels.",
                markdown_table((header[0], "width", *header[1:]), gaps),
            ]
        )

    def numbers(self) -> dict[str, Any]:
        """Exponents, and quantities of all networks."""
        powers = {
            _name(case): {quantity: list(each) for quantity, each in found.items()}
            for case, found in self.exponents.items()
        }
        rows = [{name: row[name] for name in row if name != "kernel"} for row in self.rows]
        return {"exponents": powers, "networks": rows}

    def plot(self, picture: str = "") -> Any:
        """Gaps of outputs on the left, distances of kernels on the right, against the width."""
        from matplotlib.figure import Figure

        from ...plotting.style import PAGE_WIDTH, style

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 3.6), layout="constrained")
            panels = np.atleast_1d(figure.subplots(1, len(self.cases), sharey=True))
            for ax, case in zip(panels, self.cases, strict=True):
                self._draw(ax, case)
            panels[0].set_ylabel("root mean square over networks")
            handles, labels = panels[0].get_legend_handles_labels()
            slope = panels[0].plot([], [], color="0.7", linewidth=0.8)[0]
            figure.legend(
                [*handles, slope],
                [*labels, "power of the theory"],
                loc="outside lower center",
                ncols=2,
            )
        return figure

    def _draw(self, ax: Any, case: tuple[str, int]) -> None:
        from ...plotting.style import BLUE, ORANGE

        widths = np.array(self.setting.widths_of(case[1]), dtype=float)
        styles = {"gap": "-", "own_gap": "-", "fluctuation": ":", "movement": ":"}
        for quantity, color in zip(THEORY, (BLUE, ORANGE, BLUE, ORANGE), strict=True):
            values = self.values(case, quantity)
            mean = np.sqrt(np.mean(values**2, axis=1))
            what = "outputs beside the " if quantity in ("gap", "own_gap") else ""
            label = f"{what}{_LABELS[quantity]} (width$^{{{THEORY[quantity]:g}}}$)"
            ax.loglog(widths, mean, styles[quantity], marker=".", color=color, label=label)
            middle = len(widths) // 2
            slope = mean[middle] * (widths / widths[middle]) ** THEORY[quantity]
            ax.loglog(widths, slope, color="0.7", linewidth=0.6, zorder=0)
        ax.set(xlabel="width", title=_name(case))
        ax.set_xticks(widths[::2], [f"{width:g}" for width in widths[::2]])
        ax.minorticks_off()


def _name(case: tuple[str, int]) -> str:
    activation, depth = case
    return f"{activation}, {depth} hidden layer" + "s" * (depth > 1)


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> InfiniteWidthResult:
    """Train all networks; see :func:`infflow.studies.run_study` for the arguments."""
    begin = time.perf_counter()
    grid = [
        {
            "activation": activation,
            "depth": depth,
            "width": width,
            "seed": seed,
            "samples": setting.samples,
            "dimension": setting.dimension,
            "t": setting.t,
            "base": setting.seed,
        }
        for activation, depth in zip(setting.activations, setting.depths, strict=True)
        for width in setting.widths_of(depth)
        for seed in range(setting.seeds)
    ]
    rows = run_grid(run_network, grid, folder=folder, jobs=jobs, progress=progress)
    return InfiniteWidthResult(setting, rows, time.perf_counter() - begin)
