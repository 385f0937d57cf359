"""When does gradient descent follow gradient flow? The questions and theorems of Elkabetz and Cohen
(NeurIPS 2021), measured.

Every flow is solved to 1e-10, so that all that is left of a distance belongs to descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import Array, as_integer
from ...compile_time import running_time
from ...dynamics import ModifiedFlow
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.parameters import random_params
from ...networks.teacher import Teacher
from ...objective import Objective
from ...training import train
from ..objectives import Saddle, heavy_ball_descent, heavy_ball_flow
from ..study import Claim, StudyResult, StudySetting, markdown_table, run_grid
from . import linear_networks
from .euler_bound import cumulative, fundamental_bound, sample_curvature, theorem1_factor
from .panels import DIVISORS, PANELS, case

_TIGHT: dict[str, Any] = {
    "rtol": 1e-10,
    "atol": 1e-12,
    "max_steps_newton": 0,
    "progress": False,
    "min_loss": -np.inf,
    "min_gradient_norm": 0.0,
}
_NEAR_ZERO = 0.03


@dataclass(frozen=True)
class Setting(StudySetting):
    """Settings of the study; ``seeds`` is the number of starts of the deep linear networks.

    Attributes
    ----------
    step : float
        The largest step size; the others are a half, a fifth, a tenth and a twentieth of it.
    t_end : float
        Length of the flows that are compared with descent.
    cases : tuple of (activation, "infinite" or "finite")
        Networks: 4 students, 3 teachers, 5 inputs; finite means 1,000 samples.
    scales : tuple of float
        Standard deviations of the weights at the start (theorem 2), the smallest first.
    depths : tuple of int
        Of the deep linear networks.
    homogeneous : tuple of str
        Activations of theorem 2, besides the linear one.
    """

    seeds: int = 100
    step: float = 0.1
    t_end: float = 50.0
    cases: tuple[tuple[str, str], ...] = (
        ("erf", "infinite"),
        ("erf", "finite"),
        ("relu", "infinite"),
        ("softplus", "finite"),
    )
    scales: tuple[float, ...] = (_NEAR_ZERO, 0.1, 0.5, 1.0, 2.0)
    depths: tuple[int, ...] = (2, 3, 4, 5)
    homogeneous: tuple[str, ...] = ("relu", "leaky_relu")

    def __post_init__(self) -> None:
        super().__post_init__()
        for depth in self.depths:
            as_integer("depths", depth, minimum=2)


QUICK = Setting(
    seeds=3,
    t_end=20.0,
    cases=(("erf", "infinite"), ("erf", "finite")),
    scales=(_NEAR_ZERO, 1.0),
    depths=(2, 3),
    homogeneous=("relu",),
)


def build(activation: str, data: str, seed: int = 0) -> Net | NetI:
    """Student and random teacher without biases; ``data`` is "infinite" or "finite" (1,000
    samples).
    """
    student = Net([(4, activation, False), (1, "identity", False)], input_dim=5)
    teacher = Net([(3, activation, False), (1, "identity", False)], input_dim=5)
    neti = NetI(
        student, Teacher(teacher, random_params(teacher, rng=seed + 1, init="standard_normal"))
    )
    return neti.sample(1000, rng=seed) if data == "finite" else neti


def _flow(net: Objective, theta: Array, times: Array, **options: Any) -> Array:
    """The flow at the given times ``(T, P)``, to 1e-10."""
    result = train(
        net,
        theta,
        t_eval=times,
        t_end=float(times[-1]),
        **{"solver": "rodas5p", **_TIGHT, **options},
    )
    path: Array = result.trajectory.theta
    return path


def _descent(net: Objective, theta: Array, step: float, steps: int, every: int) -> Array:
    """Every ``every``-th of ``steps`` points of gradient descent, the start included,
    ``(T, P)``.
    """
    path = heavy_ball_descent(net, theta, step, 0.0, steps)
    return path[::every]


# --------------------------------------------------------------------------------------------------
# the runs


def follow(activation: str, data: str, step: float, t_end: float, seed: int) -> dict[str, Any]:
    """Descent with five step sizes beside the flow, and what the Fundamental Lemma
    allows for each.
    """
    net = build(activation, data, seed)
    theta = random_params(net, rng=seed + 2)
    count = round(t_end / step)
    t: Array = step * np.arange(count + 1.0)
    flow = _flow(net, theta, t)
    found: dict[str, Any] = {"t": t, "moved": np.linalg.norm(flow - theta, axis=1)}
    losses = []
    distances = []
    bounds = []
    factors = []
    for divisor in DIVISORS:
        path = _descent(net, theta, step / divisor, count * divisor, divisor)
        curvature = sample_curvature(net, flow, path)
        losses.append([net.evaluate(x, 0).value for x in path])
        distances.append(np.linalg.norm(path - flow, axis=1))
        bounds.append(
            step / divisor * fundamental_bound(t, curvature.defect, curvature.lowest_between)
        )
        factors.append(
            step / divisor * curvature.defect.max() * theorem1_factor(t, curvature.lowest)
        )
        if divisor == 1:
            to_smaller = path
        found["lowest"] = curvature.lowest
    last = _descent(net, theta, step / DIVISORS[-1], count * DIVISORS[-1], DIVISORS[-1])
    found |= {
        "loss": np.array(losses),
        "flow_loss": np.array([net.evaluate(x, 0).value for x in flow]),
        "distance": np.array(distances),
        "bound": np.array(bounds),
        "theorem1": np.array(factors),
        "from_smallest_step": np.linalg.norm(to_smaller - last, axis=1),
        "negative_part": float(cumulative(t, np.minimum(found["lowest"], 0.0))[-1]),
    }
    return found


def homogeneous(network: str, scale: float, t_end: float, seed: int) -> dict[str, Any]:
    """Smallest and largest eigenvalue of the Hessian along the flow of a homogeneous network from
    weights of size ``scale``.
    """
    if network.startswith("linear"):
        net: Objective = linear_networks.build(int(network.split()[-1]), seed)[0]
    else:
        net = build(network.split(",")[0], "infinite", seed)
    theta = scale * np.random.default_rng([seed, 3]).normal(size=net.num_params)
    result = train(
        net,
        theta,
        t_end=t_end,
        num_trajectory=80,
        rtol=1e-8,
        atol=1e-12,
        max_steps_newton=0,
        progress=False,
    )
    spectra = np.array(
        [
            np.linalg.eigvalsh(np.asarray(net.evaluate(x, 2).hessian))
            for x in result.trajectory.theta
        ]
    )
    t = result.trajectory.t
    lowest = spectra[:, 0]
    return {
        "t": t,
        "lowest": lowest,
        "most_negative": float(lowest.min()),
        "largest": float(spectra[:, -1].max()),
        "negative_part": float(cumulative(t, np.minimum(lowest, 0.0))[-1]),
        "final_loss": float(result.trajectory.loss[-1]),
        "at_random": _random_eigenvalue(net, seed),
    }


def _random_eigenvalue(net: Objective, seed: int) -> Array:
    """Most negative eigenvalue at 20 random points of each of four scales: 1, 3, 10,
    30, ``(4,)``.
    """
    rng = np.random.default_rng([seed, 4])
    points = (scale * rng.normal(size=(20, net.num_params)) for scale in (1.0, 3.0, 10.0, 30.0))
    return np.array(
        [
            min(np.linalg.eigvalsh(np.asarray(net.evaluate(x, 2).hessian))[0] for x in block)
            for block in points
        ]
    )


def large_steps(step: float, t_end: float, seed: int) -> dict[str, Any]:
    """Largest distance of descent from the flow and from the flow of the modified loss; heavy ball
    from both of its flows.
    """
    net = build("erf", "infinite", seed)
    theta = random_params(net, rng=seed + 2)
    count = round(t_end / step)
    t: Array = step * np.arange(count + 1.0)
    path = _descent(net, theta, step, count, 1)
    modified = _flow(net, theta, t, solver="dopri5", dynamics=ModifiedFlow(step))
    far = {
        "plain": np.linalg.norm(path - _flow(net, theta, t), axis=1).max(),
        "modified": np.linalg.norm(path - modified, axis=1).max(),
    }
    # heavy ball with friction 1: step size h = step^2, so that a step takes the time sqrt(h) = step
    # on the same grid; the first step of descent moves by h |grad L|, twice as far as the flow from
    # rest, hence the velocity at the start
    momentum = heavy_ball_descent(net, theta, step**2, 1.0 - step, count)
    start: Any = net.evaluate(theta, 1).gradient
    ball = heavy_ball_flow(net, theta, 1.0, t, -0.5 * step * start)
    far |= {
        "ball": np.linalg.norm(momentum - ball, axis=1).max(),
        "ball_plain": np.linalg.norm(momentum - _flow(net, theta, t), axis=1).max(),
    }
    return {key: float(value) for key, value in far.items()}


def convex(step: float, t_end: float, seed: int) -> dict[str, Any]:
    """Descent beside the flow on a linear regression whose inputs have scales from 0.01 to 1."""
    rng = np.random.default_rng([seed, 5])
    X = rng.normal(size=(200, 6)) * np.geomspace(0.01, 1.0, 6)
    net = Net([(1, "identity", False)], input=X, target=rng.normal(size=200))
    theta = rng.normal(size=net.num_params)
    t: Array = step * np.arange(round(t_end / step) + 1.0)
    path = _descent(net, theta, step, len(t) - 1, 1)
    flow = _flow(net, theta, t)
    distance = np.linalg.norm(path - flow, axis=1)
    curvature = sample_curvature(net, flow[:: len(t) // 50], path[:: len(t) // 50])
    allowed = step * curvature.defect.max() * t
    return {"largest": float(distance.max()), "ratio": float((distance[1:] / allowed[1:]).max())}


def needed_step(m: float, t: float) -> dict[str, Any]:
    """The largest step size, by halving the distance to it sixty times over steps t/n, at which
    descent on the saddle stays within 1/2 of the flow.
    """
    exact = _flow(Saddle(m), np.array([1.0, 1.0]), np.array([0.0, t]))[-1]

    def near(n: int) -> bool:
        options: dict[str, Any] = {
            "solver": "gd",
            "step_size": t / n,
            "max_steps_newton": 0,
            "progress": False,
            "num_trajectory": 2,
        }
        end = train(
            Saddle(m),
            np.array([1.0, 1.0]),
            t_end=t,
            min_loss=-np.inf,
            min_gradient_norm=0.0,
            **options,
        )
        return bool(np.linalg.norm(end.trajectory.theta[-1] - exact) <= 0.5)

    low = 1
    high = 2
    while not near(high):
        low = high
        high = 2 * high
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if near(middle) else (middle, high)
    return {"step": t / high}


def run(
    setting: Setting, *, jobs: int = 1, folder: Path | None = None, progress: bool = True
) -> DescentStudy:
    """All runs of the study."""
    started = running_time()
    options: dict[str, Any] = {"folder": folder, "jobs": jobs, "progress": progress}
    seed = setting.seed
    follows = run_grid(
        follow,
        [
            {"activation": a, "data": d, "step": setting.step, "t_end": setting.t_end, "seed": seed}
            for a, d in setting.cases
        ],
        **options,
    )
    kinked = [f"{name}, infinite data" for name in setting.homogeneous]
    networks = [*kinked, *(f"linear, depth {depth}" for depth in setting.depths[:3])]
    flows = run_grid(
        homogeneous,
        [
            {"network": name, "scale": scale, "t_end": 300.0, "seed": seed}
            for name in networks
            for scale in setting.scales
        ],
        **options,
    )
    lengths = [{"step": step, "t_end": 10.0, "seed": seed} for step in (0.2, 0.1, 0.05, 0.025)]
    steps = run_grid(large_steps, lengths, **options)
    saddles = run_grid(
        needed_step,
        [{"m": m, "t": t / m} for m in (1.0, 2.0) for t in (2.0, 3.0, 4.0, 5.0, 6.0)],
        **options,
    )
    starts: dict[str, Any] = {"scale": 0.1, "step": 0.02, "t_end": 2000.0}
    linear = run_grid(
        linear_networks.converge,
        [
            {"depth": depth, **starts, "seed": seed + k}
            for depth in setting.depths
            for k in range(setting.seeds)
        ],
        **options,
    )
    regressions = run_grid(
        convex,
        [{"step": h, "t_end": 500.0, "seed": seed} for h in (0.4, 0.2, 0.1, 0.05)],
        **options,
    )
    rows = [*follows, *flows, *steps, *saddles, *linear, *regressions]
    wall = running_time() - started
    return DescentStudy(setting, rows, wall, follows, flows, steps, saddles, linear, regressions)


# --------------------------------------------------------------------------------------------------
# the result


@dataclass
class DescentStudy(StudyResult):
    """Outcome of the study ``descent-vs-flow``; the runs by kind, see the functions
    that made them.
    """

    name = "descent-vs-flow"
    setting: Setting
    follows: list[dict[str, Any]]
    flows: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    saddles: list[dict[str, Any]]
    linear: list[dict[str, Any]]
    regressions: list[dict[str, Any]]

    def claims(self) -> list[Claim]:
        """Figure 2, the three theorems and the two propositions of the post, and its closing
        question.
        """
        claims = [
            self._figure2(),
            self._first_order(),
            self._bound(),
            self._convex(),
            self._allowed(),
            *self._theorem2(),
        ]
        return [*claims, *self._linear(), self._proposition1(), *self._modified()]

    def _figure2(self) -> Claim:
        found = {
            case(row): float(row["from_smallest_step"].max() / row["moved"].max())
            for row in self.follows
        }
        return Claim(
            "Reducing the step size of descent changes its trajectory only slightly.",
            "blog, figure 2",
            found,
            max(found.values()) < 0.05,
            f"largest distance between the steps {self.setting.step:g} and "
            f"{self.setting.step / DIVISORS[-1]:g}, as a fraction of the way from the start; "
            "below 5 % asked",
        )

    def _first_order(self) -> Claim:
        found = {
            case(row): float(
                -np.polyfit(np.log(DIVISORS), np.log(row["distance"].max(axis=1)), 1)[0]
            )
            for row in self.follows
        }
        sentence = "The distance between descent and flow is proportional to the step size."
        return Claim(
            sentence,
            "blog, theorem 1",
            found,
            all(abs(x - 1) < 0.1 for x in found.values()),
            "exponent over five step sizes; within 0.1 of one asked",
        )

    def _bound(self) -> Claim:
        found = {
            case(row): float((row["distance"][:, 1:] / row["bound"][:, 1:]).max())
            for row in self.follows
        }
        sentence = (
            "Descent stays within the bound of the Fundamental Lemma at all times and for all "
            "step sizes."
        )
        note = (
            "largest distance / bound; eigenvalues and the defect are sampled at five points of "
            "each segment between descent and flow"
        )
        return Claim(sentence, "blog, theorem 1", found, max(found.values()) <= 1.0, note)

    def _convex(self) -> Claim:
        found = {
            f"step {row['step']:g}": {
                "largest distance": row["largest"],
                "over t step defect": row["ratio"],
            }
            for row in self.regressions
        }
        return Claim(
            "On a convex objective steps of order 1/t suffice.",
            "blog, after theorem 1",
            found,
            all(row["ratio"] <= 1 for row in self.regressions),
            "linear regression with eigenvalues over four orders of magnitude, t up to 500: the "
            "distance over t x step x largest defect is at most one",
        )

    def allowed_steps(self, row: dict[str, Any]) -> tuple[float, float, float]:
        """Step sizes for a distance of 1 % of the way: by theorem 1, by the Fundamental Lemma, and
        the one that was enough.
        """
        goal = 0.01 * row["moved"].max()
        smallest = self.setting.step / DIVISORS[-1]
        by = [
            float(smallest * goal / row[key][-1].max()) for key in ("theorem1", "bound", "distance")
        ]
        return by[0], by[1], by[2]

    def _allowed(self) -> Claim:
        found = {
            case(row): dict(
                zip(("theorem 1", "lemma", "enough"), self.allowed_steps(row), strict=True)
            )
            for row in self.follows
        }
        ratio = [row["enough"] / row["theorem 1"] for row in found.values()]
        return Claim(
            "Specifically over neural networks, a much larger step size than the bound for "
            "general objectives suffices.",
            "blog, TL;DR",
            found,
            min(ratio) > 10,
            "step sizes for a distance of 1 % of the way; a factor of ten between theorem 1 and "
            "what was enough asked",
        )

    def _theorem2(self) -> list[Claim]:
        claims = []
        across = {row["network"]: row["at_random"].tolist() for row in self.flows}
        falls = all(np.all(np.diff(x) < 0) and x[-1] < 10 * x[0] for x in across.values())
        claims.append(
            Claim(
                "The smallest eigenvalue of the Hessian is arbitrarily negative across space.",
                "blog, theorem 2",
                across,
                falls,
                "most negative of 20 random points with weights of size 1, 3, 10 and 30; a fall "
                "by ten times asked",
            )
        )
        near_zero = [row for row in self.flows if row["scale"] == self.setting.scales[0]]
        claims.append(self._bounded_in_time(near_zero))
        for row in near_zero:
            value = {
                "most negative": row["most_negative"],
                "largest": row["largest"],
                "integral of the negative part": row["negative_part"],
            }
            held = row["most_negative"] > -0.05 * row["largest"]
            note = (
                ""
                if held
                else (
                    ". The way leads past the saddle at zero, which is left along negative "
                    "curvature"
                )
            )
            claims.append(
                Claim(
                    "Along the flow from near-zero weights the smallest eigenvalue is almost "
                    f"non-negative: {row['network']}.",
                    "blog, theorem 2",
                    value,
                    held,
                    f"more than 5 % of the largest eigenvalue below zero counts as negative{note}",
                )
            )
        return claims

    def _bounded_in_time(self, rows: list[dict[str, Any]]) -> Claim:
        found = {}
        for row in rows:
            integral = cumulative(row["t"], np.minimum(row["lowest"], 0.0))
            found[row["network"]] = [
                float(np.interp(t, row["t"], integral)) for t in (30.0, 100.0, 300.0)
            ]
        return Claim(
            "From near-zero weights the integral of the negative part stays bounded, so that "
            "the step of theorem 1 does not fall exponentially in time.",
            "blog, theorems 1 and 2",
            found,
            all(abs(x[2] - x[1]) < 0.1 * abs(x[1]) for x in found.values()),
            "integrals up to t = 30, 100 and 300; a change below 10 % from 100 to 300 asked",
        )

    def rates(self, depth: int) -> tuple[float, float]:
        """Share of starts from which flow, and descent, reached the global minimum."""
        rows = [row for row in self.linear if row["depth"] == depth]
        return float(np.mean([r["flow_reached"] for r in rows])), float(
            np.mean([r["descent_reached"] for r in rows])
        )

    def _linear(self) -> list[Claim]:
        flow, descent = (
            {f"depth {d}": self.rates(d)[k] for d in self.setting.depths} for k in (0, 1)
        )
        note = (
            f"share of {self.setting.seeds} random starts of size 0.1 that came within 1e-6 of "
            "the least-squares loss by t = 2000"
        )
        return [
            Claim(
                "Gradient flow of deep linear networks with scalar output converges to the "
                "global minimum from random near-zero starts.",
                "blog, proposition 2",
                flow,
                min(flow.values()) == 1.0,
                note,
            ),
            Claim(
                "So does gradient descent.",
                "blog, theorem 3",
                descent,
                min(descent.values()) == 1.0,
                f"{note}, step 0.02",
            ),
        ]

    def _proposition1(self) -> Claim:
        slopes = {}
        for m in (1.0, 2.0):
            rows = [row for row in self.saddles if row["m"] == m]
            t = np.array([row["t"] for row in rows])
            slopes[f"m = {m:g}"] = float(
                np.polyfit(t, np.log([row["step"] * row["t"] for row in rows]), 1)[0]
            )
        return Claim(
            "There are objectives on which descent follows the flow up to time t only with "
            "steps of order exp(-m t).",
            "blog, proposition 1",
            slopes,
            all(abs(slopes[f"m = {m:g}"] / -m - 1) < 0.1 for m in (1.0, 2.0)),
            "slope of log(t x step) against t on (x_2^2 - m x_1^2)/2, largest step that stays "
            "within 1/2; within 10 % of -m asked",
        )

    def _orders(self) -> dict[str, float]:
        h = np.log([row["step"] for row in self.steps])
        keys = ("plain", "modified", "ball", "ball_plain")
        return {
            key: float(np.polyfit(h, np.log([row[key] for row in self.steps]), 1)[0])
            for key in keys
        }

    def _modified(self) -> list[Claim]:
        orders = self._orders()
        gain = {f"step {row['step']:g}": row["plain"] / row["modified"] for row in self.steps}
        ball = {f"step {row['step']:g}": row["ball_plain"] / row["ball"] for row in self.steps}
        return [
            Claim(
                "The flow of L + (eta/4)|grad L|^2 follows descent with large steps more "
                "closely than the flow of L, to second order.",
                "blog, closing question (Barrett and Dherin 2021)",
                {
                    "order of the flow": orders["plain"],
                    "of the modified flow": orders["modified"],
                    **gain,
                },
                min(gain.values()) > 1 and orders["modified"] > 1.8,
                "exponents of the largest distance in the step, and the ratio of distances",
            ),
            Claim(
                "Descent with momentum follows the heavy-ball flow, and not gradient flow.",
                "blog, closing question",
                {
                    "order of the heavy-ball flow": orders["ball"],
                    "order of the flow": orders["ball_plain"],
                    **ball,
                },
                min(ball.values()) > 3 and orders["ball"] > 0.8 and orders["ball_plain"] < 0.5,
                "friction 1, momentum 1 - s and step s^2; ratio of the distances from gradient "
                "flow and heavy-ball flow",
            ),
        ]

    def table(self) -> str:
        """Steps that are allowed and enough, eigenvalues along flows, deep linear networks."""
        first = markdown_table(
            (
                "network | integral of negative part | distance / way, largest step | "
                "step by theorem 1 | step by the lemma | step that was enough"
            ),
            [
                (
                    case(row),
                    row["negative_part"],
                    row["distance"][0].max() / row["moved"].max(),
                    *self.allowed_steps(row),
                )
                for row in self.follows
            ],
        )
        second = markdown_table(
            (
                "network | size of weights | most negative eigenvalue | largest | "
                "integral of negative part | final loss"
            ),
            [
                (
                    r["network"],
                    r["scale"],
                    r["most_negative"],
                    r["largest"],
                    r["negative_part"],
                    r["final_loss"],
                )
                for r in self.flows
            ],
        )
        third = markdown_table(
            (
                "depth | flow reached | descent reached | median time of the flow | of "
                "descent | median steps of the flow | of descent"
            ),
            [
                (
                    d,
                    *self.rates(d),
                    *(
                        self._median(d, key)
                        for key in ("flow_time", "descent_time", "flow_steps", "descent_steps")
                    ),
                )
                for d in self.setting.depths
            ],
        )
        return (
            f"### Steps for a distance of 1 % of the way\n\n{first}\n\n### Eigenvalues along "
            f"flows to t = 300\n\n{second}\n\n### Deep linear networks\n\n{third}\n"
        )

    def _median(self, depth: int, key: str) -> float:
        return float(np.median([row[key] for row in self.linear if row["depth"] == depth]))

    def numbers(self) -> dict[str, Any]:
        """Largest distances and orders."""
        return {
            "distance": {case(row): row["distance"].max(axis=1) for row in self.follows},
            "orders": self._orders(),
            "steps": self.steps,
            "saddles": self.saddles,
            "rates": {str(depth): self.rates(depth) for depth in self.setting.depths},
        }

    def plot(self, picture: str = "") -> Any:
        """Losses, distances and bounds, the post's figure 2, eigenvalues, large steps, the
        saddle.
        """
        from matplotlib.figure import Figure

        from ...plotting.style import PAGE_WIDTH, style, tidy

        with style():
            figure = Figure(figsize=(PAGE_WIDTH, 8.4), layout="constrained")
            panels = figure.subplots(3, 2).ravel()
            for draw, ax in zip(PANELS, panels, strict=True):
                draw(self, ax)
            tidy(figure)
        return figure
