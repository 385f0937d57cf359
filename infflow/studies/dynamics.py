"""What replaces gradient flow for large steps, momentum, noise and natural gradients? The closing
question of the blog post, on one network.

Each discrete method stands beside the flow that models it, solved to 1e-10, and beside gradient
flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from .._validation import Array, as_integer
from ..compile_time import running_time
from ..dynamics import HeavyBall, ModifiedFlow, NaturalGradient, SGDDiffusion
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.parameters import random_params
from ..networks.teacher import Teacher
from ..plotting.style import PAGE_WIDTH, color, style, tidy
from ..training import train
from .objectives import heavy_ball_descent
from .study import Claim, StudyResult, StudySetting, markdown_table, run_grid

_FLOW: dict[str, Any] = {
    "max_steps_newton": 0,
    "progress": False,
    "min_loss": -np.inf,
    "min_gradient_norm": 0.0,
}
_TIGHT: dict[str, Any] = {**_FLOW, "rtol": 1e-10, "atol": 1e-12}
_FRICTION = 1.0
#: damping of the Fisher matrix: of steps, which would be too long without it; of the flow alone
_DAMPING = 1e-3
_LITTLE = 1e-6
#: loss, relative to the first one, whose time is compared
_SMALL = 1e-6


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; ``seeds`` is the number of paths of the diffusion for each step.

    Attributes
    ----------
    descents : int
        Runs of stochastic gradient descent for each step.
    steps : tuple of float
        Steps of descent, and of the time of momentum and natural gradient.
    noisy_steps : tuple of float
        Steps of stochastic gradient descent.
    batch_size, samples : int
        Its minibatches, and all samples.
    t_end : float
        Length of the paths.
    """

    seeds: int = 400
    descents: int = 20_000
    steps: tuple[float, ...] = (0.1, 0.05, 0.025, 0.0125)
    noisy_steps: tuple[float, ...] = (0.2, 0.1, 0.05)
    batch_size: int = 10
    samples: int = 1000
    t_end: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seeds", "descents"):
            as_integer(name, getattr(self, name), minimum=10)
        for name in ("batch_size", "samples"):
            as_integer(name, getattr(self, name), minimum=1)


QUICK = Setting(seeds=40, descents=2000, steps=(0.05, 0.025), noisy_steps=(0.2,))


def build(seed: int) -> tuple[NetI, Array]:
    """Three students of two teachers (erf, three inputs, no biases), and the start."""
    student = Net([(3, "erf", False), (1, "identity", False)], input_dim=3)
    teacher = Net([(2, "erf", False), (1, "identity", False)], input_dim=3)
    theta = random_params(teacher, rng=seed + 1, init="standard_normal")
    return NetI(student, Teacher(teacher, theta)), random_params(student, rng=seed + 2)


def _path(net: Any, theta: Array, times: Array, dynamics: Any) -> Array:
    """Points (T, P) of a flow, to 1e-10."""
    end = float(times[-1])
    found: Array = train(
        net, theta, t_eval=times, t_end=end, dynamics=dynamics, **_TIGHT
    ).trajectory.theta
    return found


def _farthest(first: Array, second: Array) -> float:
    return float(np.linalg.norm(first - second, axis=1).max())


# --------------------------------------------------------------------------------------------------
# the runs


def discrete(method: str, step: float, t_end: float, seed: int) -> dict[str, Any]:
    """Largest distances of a discrete method from gradient flow and from the flow that models it.

    ``method`` is "large steps", "momentum" (steps step^2 and momentum 1 - friction step, so that a
    step takes the time ``step``) or "natural gradient".
    """
    net, theta = build(seed)
    count = round(t_end / step)
    t: Array = step * np.arange(count + 1.0)
    model: Any
    if method == "large steps":
        path = heavy_ball_descent(net, theta, step, 0.0, count)
        model = ModifiedFlow(step)
    elif method == "momentum":
        path = heavy_ball_descent(net, theta, step**2, 1.0 - _FRICTION * step, count)
        model = HeavyBall(_FRICTION)
    else:
        path = natural_descent(net, theta, step, count)
        model = NaturalGradient(_DAMPING)
    flow = _path(net, theta, t, None)
    return {
        "from_flow": _farthest(path, flow),
        "from_model": _farthest(path, _path(net, theta, t, model)),
        "moved": _farthest(path, np.tile(theta, (len(path), 1))),
    }


def natural_descent(net: NetI, theta: Array, step: float, count: int) -> Array:
    """Points (count + 1, P) of natural gradient descent."""
    path = np.empty((count + 1, len(theta)))
    path[0] = theta
    for k in range(count):
        F = net.fisher(path[k]) + _DAMPING * np.eye(len(theta))
        path[k + 1] = path[k] - step * np.linalg.solve(F, net.evaluate(path[k], 1).g)
    return path


def losses(method: str, t_end: float, seed: int) -> dict[str, Any]:
    """The loss along gradient flow or the natural gradient flow, and when it is small."""
    net, theta = build(seed)
    dynamics = NaturalGradient(_LITTLE) if method == "natural gradient" else None
    flow = {**_FLOW, "rtol": 1e-8, "atol": 1e-10}
    found = train(net, theta, t_end=t_end, dynamics=dynamics, num_trajectory=200, **flow)
    track = found.trajectory
    small = np.flatnonzero(track.loss <= _SMALL * track.loss[0])
    return {
        "t": track.t,
        "loss": track.loss,
        "time": float(track.t[small[0]]) if len(small) else float("nan"),
        "steps": found.flow.steps,
    }


def noise(
    step: float,
    batch_size: int,
    samples: int,
    t_end: float,
    seeds: int,
    descents: int,
    seed: int,
) -> dict[str, Any]:
    """Mean and scatter of stochastic gradient descent and of the diffusion."""
    neti, theta = build(seed)
    net = neti.sample(samples, seed)
    count = round(t_end / step)
    t: Array = step * np.arange(count + 1.0)
    found = many_descents(net, theta, step, batch_size, count, descents, seed)
    paths = np.array(
        [
            train(
                net,
                theta,
                t_eval=t,
                t_end=float(t[-1]),
                dynamics=SGDDiffusion(step, batch_size, 10**6 * seed + k, modified=True),
                **_FLOW,
            ).trajectory.theta
            for k in range(seeds)
        ]
    )
    mean = paths.mean(axis=0)
    squares = ((paths - mean) ** 2).sum(axis=2) * (seeds / (seeds - 1.0))
    flow = _path(net, theta, t, None)
    modified = _path(net, theta, t, ModifiedFlow(step))
    return {
        "t": t,
        "variance": found["variance"],
        "variance_of_diffusion": squares.mean(axis=0),
        "error_of_diffusion": squares.std(axis=0, ddof=1) / np.sqrt(seeds),
        "error_of_descent": found["error"],
        "mean_from_flow": np.linalg.norm(found["mean"] - flow, axis=1),
        "mean_from_modified": np.linalg.norm(found["mean"] - modified, axis=1),
        "mean_from_diffusion": np.linalg.norm(found["mean"] - mean, axis=1),
    }


def many_descents(
    net: Net, theta: Array, step: float, batch_size: int, count: int, runs: int, seed: int
) -> dict[str, Array]:
    """Mean (T, P) of many runs at once, the trace of their covariance (T,), and its error.

    Samples are drawn with replacement.
    """
    rng = np.random.default_rng([seed, 1])
    X, y = net.data.X, net.data.target[:, 0]
    K = net.layers[0].width
    W, a = (np.repeat(each[None], runs, axis=0) for each in (net.unpack(theta)[0][0], theta[-K:]))
    mean = [theta]
    variance = [0.0]
    error = [0.0]
    for _ in range(count):
        chosen = rng.integers(len(X), size=(runs, batch_size))
        x = X[chosen]
        h = np.einsum("rbd,rkd->rbk", x, W)
        f = erf(h / np.sqrt(2.0))
        e = 2.0 / batch_size * (np.einsum("rbk,rk->rb", f, a) - y[chosen])
        slope = np.sqrt(2.0 / np.pi) * np.exp(-0.5 * h * h) * a[:, None, :] * e[:, :, None]
        W = W - step * np.einsum("rbk,rbd->rkd", slope, x)
        a = a - step * np.einsum("rb,rbk->rk", e, f)
        points = np.hstack([W.reshape(runs, -1), a])
        mean.append(points.mean(axis=0))
        squares = ((points - mean[-1]) ** 2).sum(axis=1)
        variance.append(float(squares.mean()))
        error.append(float(squares.std() / np.sqrt(runs)))
    return {"mean": np.array(mean), "variance": np.array(variance), "error": np.array(error)}


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> DynamicsStudy:
    """All runs of the study."""
    started = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    same: dict[str, Any] = {"t_end": setting.t_end, "seed": setting.seed}
    pairs = run_grid(
        discrete,
        [{"method": m, "step": h, **same} for m in METHODS for h in setting.steps],
        **options,
    )
    tracks = run_grid(
        losses,
        [
            {"method": m, "t_end": end, "seed": setting.seed}
            for m, end in (("gradient flow", 1e5), ("natural gradient", 12.0))
        ],
        **options,
    )
    noisy = run_grid(
        noise,
        [
            {
                "step": h,
                "batch_size": setting.batch_size,
                "samples": setting.samples,
                "seeds": setting.seeds,
                "descents": setting.descents,
                **same,
            }
            for h in setting.noisy_steps
        ],
        **options,
    )
    rows = [*pairs, *tracks, *noisy]
    return DynamicsStudy(setting, rows, running_time() - started, pairs, tracks, noisy)


METHODS = ("large steps", "momentum", "natural gradient")
#: the flow that models each, and the order in the step to which it does
MODELS = {
    "large steps": ("flow of L + step/4 |grad L|^2", 2),
    "momentum": ("heavy ball", 1),
    "natural gradient": ("natural gradient flow", 1),
}


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class DynamicsStudy(StudyResult):
    """Outcome of the study ``dynamics``; the runs by kind, see the functions that made them."""

    name = "dynamics"
    setting: Setting
    pairs: list[dict[str, Any]]
    tracks: list[dict[str, Any]]
    noisy: list[dict[str, Any]]

    def of(self, method: str) -> list[dict[str, Any]]:
        """The runs of one discrete method, the longest step first."""
        return [row for row in self.pairs if row["method"] == method]

    def orders(self, method: str) -> tuple[float, float]:
        """Exponents of the step in the distance from gradient flow, and from the model."""
        rows = self.of(method)
        h = np.log([row["step"] for row in rows])
        first, second = (
            float(np.polyfit(h, np.log([row[key] for row in rows]), 1)[0])
            for key in ("from_flow", "from_model")
        )
        return first, second

    def claims(self) -> list[Claim]:
        """Four answers to the closing question."""
        found = [self._order(method) for method in METHODS]
        return [*found, self._scatter(), self._mean(), self._rate()]

    def _order(self, method: str) -> Claim:
        model, order = MODELS[method]
        flow, own = self.orders(method)
        gain = {
            f"step {row['step']:g}": row["from_flow"] / row["from_model"] for row in self.of(method)
        }
        ordinal = {1: "first", 2: "second"}[order]
        return Claim(
            f"What replaces gradient flow for {method}: the {model}, to {ordinal} order.",
            "blog, closing question",
            {"order of gradient flow": flow, "order of the model": own, **gain},
            abs(own - order) < 0.2 and min(gain.values()) > 1.0,
            "exponents of the largest distance in the step, and the ratio of both distances; the "
            "order within 0.2 asked",
        )

    def ratios(self) -> dict[str, dict[str, float]]:
        """Total variance of descent over that of the diffusion: where it is farthest from one, and
        at the end, with standard errors.
        """
        found = {}
        for row in self.noisy:
            own, other = row["variance"][1:], row["variance_of_diffusion"][1:]
            parts = row["error_of_descent"][1:] / own, row["error_of_diffusion"][1:] / other
            ratio = own / other
            error = ratio * np.hypot(*parts)
            worst = int(np.abs(ratio - 1.0).argmax())
            found[f"step {row['step']:g}"] = {
                "farthest": float(ratio[worst]),
                "its error": float(error[worst]),
                "at the end": float(ratio[-1]),
                "the error there": float(error[-1]),
            }
        return found

    def _scatter(self) -> Claim:
        ratios = self.ratios()
        held = all(
            abs(x["farthest"] - 1.0) < 3.0 * x["its error"] + 2.0 * row["step"]
            for x, row in zip(ratios.values(), self.noisy, strict=True)
        )
        return Claim(
            "What replaces it for minibatches: a diffusion with the covariance of single-sample "
            "gradients, whose scatter is that of descent.",
            "blog, closing question",
            ratios,
            held,
            f"total variance of {self.setting.descents} runs of descent over that of "
            f"{self.setting.seeds} paths, where it is farthest from one, and at the end; within "
            "three standard errors and twice the step asked, since variances agree to first order",
        )

    def _mean(self) -> Claim:
        found = {
            f"step {row['step']:g}": {
                "flow": float(row["mean_from_flow"].max()),
                "modified flow": float(row["mean_from_modified"].max()),
            }
            for row in self.noisy
        }
        return Claim(
            "The mean of descent on minibatches is nearer to the modified flow than to gradient "
            "flow.",
            "theory",
            found,
            all(row["modified flow"] < row["flow"] for row in found.values()),
            "largest distances on the way; what is left is the drift that noise makes where the "
            "loss is no parabola",
        )

    def _rate(self) -> Claim:
        plain, natural = self.tracks
        fall = natural["loss"] / natural["loss"][0]
        use = (fall < 1e-3) & (fall > 1e-9)
        rate = float("nan")
        if use.sum() > 2:
            rate = -float(np.polyfit(natural["t"][use], np.log(fall[use]), 1)[0])
        ratio = plain["time"] / natural["time"]
        return Claim(
            "Along the natural gradient flow the loss falls as exp(-4 t), however flat its "
            "valleys are.",
            "theory",
            {
                "rate": rate,
                "time to a millionth of the loss": natural["time"],
                "of gradient flow, over that": ratio,
            },
            abs(rate - 4.0) < 0.2,
            "F is half of the Hessian where a student fits its teacher; fitted between 1e-3 and "
            "1e-9 of the first loss; within 0.2 asked",
        )

    def table(self) -> str:
        """Distances of all steps, and scatter."""
        first = markdown_table(
            "method | step | distance from gradient flow | from the model | way",
            [
                (r["method"], r["step"], r["from_flow"], r["from_model"], r["moved"])
                for r in self.pairs
            ],
        )
        second = markdown_table(
            (
                "step | variance of descent at the end | of the diffusion | standard error | "
                "mean from the diffusion"
            ),
            [
                (
                    r["step"],
                    r["variance"][-1],
                    r["variance_of_diffusion"][-1],
                    r["error_of_diffusion"][-1],
                    r["mean_from_diffusion"][-1],
                )
                for r in self.noisy
            ],
        )
        return f"### Distances\n\n{first}\n\n### Noise\n\n{second}\n"

    def numbers(self) -> dict[str, Any]:
        """Orders and ratios."""
        return {"orders": {m: self.orders(m) for m in METHODS}, "ratios": self.ratios()}

    def plot(self, picture: str = "") -> Any:
        """Large steps, momentum, noise, natural gradient."""
        from matplotlib.figure import Figure

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 6.2), layout="constrained")
            axes = figure.subplots(2, 2)
            self._draw_order(axes[0, 0], "large steps", "descent with large steps")
            self._draw_order(axes[0, 1], "momentum", "descent with momentum")
            self._draw_noise(axes[1, 0])
            self._draw_natural(axes[1, 1])
            tidy(figure)
        return figure

    def _draw_order(self, ax: Any, method: str, title: str) -> None:
        rows = self.of(method)
        h = np.array([row["step"] for row in rows])
        model, order = MODELS[method]
        flow = np.array([row["from_flow"] for row in rows])
        own = np.array([row["from_model"] for row in rows])
        ax.loglog(h, flow, "o-", label="from gradient flow")
        written = model.replace("|grad L|^2", r"$|\nabla L|^2$")
        ax.loglog(h, own, "s-", label=f"from the {written}")
        ax.loglog(h, own[0] * (h / h[0]) ** order, "k:", lw=1, label=f"order {order}")
        ax.set(xlabel="time of a step", ylabel="largest distance", title=title)
        ax.set_ylim(top=20.0 * flow.max())  # room for the legend above the lines
        ax.legend(loc="upper left")

    def _draw_noise(self, ax: Any) -> None:
        for k, row in enumerate(self.noisy):
            t = row["t"]
            own = np.sqrt(row["variance_of_diffusion"])
            width = row["error_of_diffusion"] / np.maximum(own, 1e-300)
            ax.fill_between(t, own - width, own + width, color=color(k), alpha=0.3, lw=0)
            ax.plot(t, own, color=color(k), lw=1)
            every = max(1, len(t) // 10)
            label = f"step {row['step']:g}"
            scatter = np.sqrt(row["variance"][::every])
            ax.plot(t[::every], scatter, "o", color=color(k), label=label)
        ax.plot([], [], "k-", lw=1, label="diffusion")
        ax.set(
            xlabel="time",
            ylabel="root mean square scatter",
            title=f"minibatches of {self.setting.batch_size}",
            ylim=(0.0, None),
        )
        ax.legend()

    def _draw_natural(self, ax: Any) -> None:
        plain, natural = self.tracks
        ax.loglog(plain["t"][1:], plain["loss"][1:], label="gradient flow")
        ax.loglog(natural["t"][1:], natural["loss"][1:], label="natural gradient flow")
        t = natural["t"][1:]
        middle = int(np.searchsorted(-natural["loss"][1:], -1e-3 * natural["loss"][0]))
        if middle < len(t):
            line = natural["loss"][1 + middle] * np.exp(-4.0 * (t - t[middle]))
            ax.loglog(t, np.minimum(line, 10 * plain["loss"][0]), "k:", lw=1, label="exp(-4 t)")
        ax.set(
            xlabel="time",
            ylabel="loss",
            title="natural gradient",
            xlim=(1e-2, None),
            ylim=(max(float(natural["loss"].min()), 1e-20), 1e8 * float(plain["loss"][0])),
        )
        ax.legend(loc="upper left")  # in the room above the lines
