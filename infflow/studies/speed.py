"""Speed of exact gradients and Hessians of a finite-data network against PyTorch and JAX (the
paper's figure 3).

One hidden layer of softplus neurons with biases, two inputs, one output, squared error, float64,
one thread, one process. All libraries get the same data and parameters, and take turns, so that all
see the same machine; compilation is not counted. PyTorch and JAX are used where they are installed.
"""

from __future__ import annotations

import math
import os
import timeit
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._validation import Array, as_integer
from ..compile_time import running_time
from ..networks.finite.net import Net
from ..networks.functions import gradient, hessian
from .study import Claim, StudyResult, StudySetting, markdown_table, run_grid

Function = Callable[[], Any]
#: library -> derivatives it has here
LIBRARIES = {
    "infflow": ("gradient", "hessian"),
    "torch": ("gradient", "hessian", "func_hessian"),
    "jax": ("gradient", "hessian"),
}
_BIGGEST = 2.0  # GB that the second derivatives of all samples of another library may take
_ROUNDS = 9


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study.

    Attributes
    ----------
    hidden : tuple of int
        Hidden neurons; four parameters each, and one.
    samples : tuple of int
        Numbers of samples, rising.
    longest : float
        A function that is expected to take more seconds a call, from its time for fewer samples, is
        not measured.
    """

    hidden: tuple[int, ...] = (10, 50, 100)
    samples: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    longest: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for number in (*self.hidden, *self.samples):
            as_integer("hidden and samples", number, minimum=1)


QUICK = Setting(hidden=(10,), samples=(10, 100), longest=0.1)

#: order of colours in the picture
_LIBRARIES = ("infflow", "torch", "jax", "torch.func")


# -------------------------------------------------------------------------------------------------
# three libraries


def _infflow_functions(hidden: int, X: Array, y: Array, theta: Array) -> dict[str, Function]:
    net = Net([(hidden, "softplus", True), (1, "identity", True)], input=X, target=y)
    return {"gradient": lambda: gradient(net, theta), "hessian": lambda: hessian(net, theta)}


def _torch_functions(hidden: int, X: Array, y: Array, theta: Array) -> dict[str, Function]:
    import torch

    torch.set_num_threads(1)
    inputs, target, parameters = (torch.from_numpy(a) for a in (X, y, theta.copy()))

    def loss(p: Any) -> Any:
        W, b, a, c = p.split([2 * hidden, hidden, hidden, 1])
        z = torch.nn.functional.softplus(inputs @ W.view(hidden, 2).T + b)
        return ((z @ a + c - target) ** 2).mean()

    leaf = parameters.clone().requires_grad_()
    func_hessian = torch.func.hessian(loss)
    return {
        "gradient": lambda: torch.autograd.grad(loss(leaf), leaf)[0].numpy(),
        "hessian": lambda: torch.autograd.functional.hessian(loss, parameters).numpy(),
        "func_hessian": lambda: func_hessian(parameters).detach().numpy(),
    }


def _jax_functions(hidden: int, X: Array, y: Array, theta: Array) -> dict[str, Function]:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    inputs, target, parameters = (jnp.asarray(a) for a in (X, y, theta))

    def loss(p: Any, inputs: Any, target: Any) -> Any:
        W, b, a, c = jnp.split(p, [2 * hidden, 3 * hidden, 4 * hidden])
        z = jax.nn.softplus(inputs @ W.reshape(hidden, 2).T + b)
        return jnp.mean((z @ a + c - target) ** 2)

    value = jax.jit(jax.grad(loss))
    second = jax.jit(jax.hessian(loss))
    return {
        "gradient": lambda: value(parameters, inputs, target).block_until_ready(),
        "hessian": lambda: second(parameters, inputs, target).block_until_ready(),
    }


_BUILD = {"infflow": _infflow_functions, "torch": _torch_functions, "jax": _jax_functions}


def installed() -> list[str]:
    """Libraries that can be measured here."""
    from importlib.util import find_spec

    return [name for name in LIBRARIES if name == "infflow" or find_spec(name) is not None]


# --------------------------------------------------------------------------------------------------
# the runs


def best_times(functions: dict[str, Function]) -> dict[str, float]:
    """Milliseconds of the best call of each function over rounds in which they take turns.

    Nine rounds of loops of 30 ms; two for functions that take more than 0.3 s a call; a single call
    above 2 s.
    """
    for f in functions.values():  # compilation
        f()
    once = {name: timeit.timeit(f, number=1) for name, f in functions.items()}
    best = dict(once)
    for turn in range(_ROUNDS):
        for name, f in functions.items():
            rounds = 0 if once[name] > 2.0 else 2 if once[name] > 0.3 else _ROUNDS
            if turn < rounds:
                number = max(1, int(0.03 / once[name]))
                best[name] = min(best[name], timeit.timeit(f, number=number) / number)
    return {name: 1e3 * seconds for name, seconds in best.items()}


def difference(one: Any, other: Any) -> float:
    """Largest difference relative to the largest entry."""
    one = np.asarray(one)
    other = np.asarray(other)
    return float(np.max(np.abs(one - other)) / np.max(np.abs(other)))


def measure(hidden: int, samples: list[int], longest: float, seed: int) -> dict[str, Any]:
    """Milliseconds of every derivative of every library, ``(number of samples,)``, and its largest
    difference from infflow's; NaN: not measured.
    """
    rng = np.random.default_rng([seed, hidden])
    keys = [f"{library} {what}" for library in installed() for what in LIBRARIES[library]]
    found = {
        f"{kind} {key}": np.full(len(samples), math.nan)
        for key in keys
        for kind in ("ms", "difference")
    }
    for k, N in enumerate(samples):
        X = rng.standard_normal((N, 2))
        y = rng.standard_normal(N)
        theta = rng.standard_normal(4 * hidden + 1) / np.sqrt(hidden)
        functions: dict[str, Function] = {}
        for library in installed():
            with suppress(ImportError):
                functions |= {
                    f"{library} {what}": f
                    for what, f in _BUILD[library](hidden, X, y, theta).items()
                }
        feasible = {
            key: f
            for key, f in functions.items()
            if _expected(found, key, samples, k) < longest and _fits(key, N, len(theta))
        }
        for derivative in (("gradient",), ("hessian", "func_hessian")):
            group = {key: f for key, f in feasible.items() if key.split()[1] in derivative}
            if group:
                for key, ms in best_times(group).items():
                    found[f"ms {key}"][k] = ms
                    found[f"difference {key}"][k] = difference(
                        group[key](), functions[f"infflow {derivative[0]}"]()
                    )
    return found


def _expected(found: dict[str, Array], key: str, samples: list[int], k: int) -> float:
    """Seconds of a call by the times for fewer samples; infinite where those took too
    long already.
    """
    if k == 0:
        return 0.0
    ms = found[f"ms {key}"][k - 1]
    return math.inf if math.isnan(ms) else 1e-3 * ms * samples[k] / samples[k - 1]


def _fits(key: str, N: int, P: int) -> bool:
    """Whether forward-mode Hessians, which carry P tangents of all hidden activations, stay within
    memory.
    """
    return (
        not key.endswith("hessian")
        or key.startswith("infflow")
        or 8e-9 * N * P * (P - 1) / 4 < _BIGGEST
    )


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> SpeedStudy:
    """All measurements, one after the other whatever ``jobs`` is: neighbours would share the memory
    bus.
    """
    started = running_time()
    common = {"samples": list(setting.samples), "longest": setting.longest, "seed": setting.seed}
    cases = [{"hidden": hidden, **common} for hidden in setting.hidden]
    rows = run_grid(measure, cases, folder=folder, jobs=1, progress=progress)
    return SpeedStudy(setting, rows, running_time() - started)


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class SpeedStudy(StudyResult):
    """Outcome of the study ``speed``; one row for each network, see :func:`measure`."""

    name = "speed"
    setting: Setting

    def ratios(self, key: str) -> Array:
        """How many times longer a library's derivative takes than infflow's, (networks, samples);
        NaN where not measured.
        """
        what = "gradient" if key.endswith("gradient") else "hessian"
        return np.array(
            [
                row[f"ms {key}"] / row[f"ms infflow {what}"]
                for row in self.rows
                if f"ms {key}" in row
            ]
        )

    def keys(self) -> list[str]:
        """Names of the measurements, such as "torch gradient"."""
        return [key.removeprefix("ms ") for key in self.rows[0] if key.startswith("ms ")]

    def claims(self) -> list[Claim]:
        """The paper's comparison, and equal results."""
        claims = []
        for what, sentence in (
            ("gradient", "Gradients are faster than those of PyTorch and JAX at every size."),
            ("hessian", "Hessians are faster than those of PyTorch and JAX at every size."),
        ):
            others = [
                key for key in self.keys() if key.endswith(what) and not key.startswith("infflow")
            ]
            values = {key: self.ratios(key)[~np.isnan(self.ratios(key))] for key in others}
            ranges = {key: [float(v.min()), float(v.max())] for key, v in values.items() if v.size}
            held = bool(ranges) and min(low for low, _ in ranges.values()) > 1
            note = (
                "smallest and largest ratio of times"
                if ranges
                else "neither PyTorch nor JAX is installed here"
            )
            claims.append(Claim(sentence, "paper, figure 3", ranges, held, note))
        gap = max(
            float(np.nanmax(row[f"difference {key}"])) for row in self.rows for key in self.keys()
        )
        note = (
            "largest relative difference"
            if len(installed()) > 1
            else "only infflow is installed here; against itself"
        )
        claims.append(
            Claim("All libraries give the same derivatives.", "infflow", gap, gap < 1e-12, note)
        )
        return claims

    def table(self) -> str:
        """Milliseconds, and how many times infflow's time."""
        keys = self.keys()
        header = [
            "parameters",
            "samples",
            *(key.replace("_", ".") for key in keys),
            "largest difference",
        ]
        rows = []
        for row in self.rows:
            for k, N in enumerate(self.setting.samples):
                cells = [_cell(row, key, k) for key in keys]
                gap = np.nanmax([row[f"difference {key}"][k] for key in keys])
                rows.append([4 * row["hidden"] + 1, N, *cells, f"{gap:.0e}"])
        note = (
            f"Milliseconds a call, in brackets the ratio to infflow's; {_versions()}; load "
            f"{_load()} at the end."
        )
        return f"{note}\n\n{markdown_table(header, rows)}\n"

    def numbers(self) -> dict[str, Any]:
        """All milliseconds."""
        return {
            "milliseconds": [
                {key: row[key] for key in row if key == "hidden" or key.startswith("ms ")}
                for row in self.rows
            ]
        }

    def plot(self, picture: str = "") -> Any:
        """Milliseconds against samples, a panel for each number of parameters."""
        from matplotlib.figure import Figure

        from ..plotting.style import PAGE_WIDTH, style, tidy

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 5.2), layout="constrained")
            panels = figure.subplots(2, len(self.rows), squeeze=False, sharex=True)
            for row, column in zip(self.rows, panels.T, strict=True):
                for ax, what in zip(column, ("gradient", "hessian"), strict=True):
                    self._draw(row, what, ax)
                column[-1].set_xlabel("samples")
            for ax, what in zip(panels[:, 0], ("gradient", "Hessian"), strict=True):
                ax.set_ylabel(f"milliseconds, {what}")
            names = dict(zip(*panels[1, 0].get_legend_handles_labels()[::-1], strict=True))
            figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=4)
            tidy(figure)
        return figure

    def _draw(self, row: dict[str, Any], what: str, ax: Any) -> None:
        """Milliseconds of one size; a library has one colour in all panels."""
        from ..plotting.style import color

        for key in (key for key in self.keys() if key.endswith(what)):
            library = key.removesuffix(what).replace(" func_", ".func").strip()
            ax.loglog(
                self.setting.samples,
                row[f"ms {key}"],
                "o-",
                ms=3,
                color=color(_LIBRARIES.index(library)),
                label=library,
            )
        ax.set_title(f"{4 * row['hidden'] + 1} parameters")


def _cell(row: dict[str, Any], key: str, k: int) -> str | None:
    ms = row[f"ms {key}"][k]
    own = row[f"ms infflow {'gradient' if key.endswith('gradient') else 'hessian'}"][k]
    if math.isnan(ms):
        return None
    return f"{ms:.3g}" if key.startswith("infflow") else f"{ms:.3g} ({ms / own:.3g}x)"


def _load() -> str:
    return (
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        if hasattr(os, "getloadavg")
        else "unknown"
    )


def _versions() -> str:
    from importlib.metadata import version

    return ", ".join(
        f"{name} {version(name)}" for name in ("numpy", "scipy", "numba", *installed()[1:])
    )
