"""The recipe: how a surrogate is trained, the same for every activation."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ... import threads
from ..._validation import Array, as_integer, as_number
from ..._version import __version__
from ...activations import Activation, resolve
from ...errors import MethodError
from ...fixedpoints.gauss_newton import GaussNewtonSteps
from ...flow.checkpoint import Checkpoint
from ...integrals.surrogate.form import PARITIES, SIZE, Part, SurrogateForm
from ...options import fraction
from ...storage import as_path
from .base import LARGEST_R, SMALLEST_R, grows_at_most_linearly
from .objective import Index, JetLinearisation, Layer, SobolevObjective, split
from .points import PointSet, errors, exact_parts, sample_points, to_frame, upper_triangle
from .problem import (
    FINAL_WEIGHTS,
    LARGE,
    TRAINING_WEIGHTS,
    WIDTH,
    PartProblem,
    closed_part,
    start_parameters,
    with_scaled_features,
)
from .progress import Stage

# Exact integrals are taken in so many blocks, and may use this share of the time.
_BLOCKS = 20
_DATA_SHARE = 0.5
# A perceptron that leaves more than this share of the error of the closed part is left out.
_HELPFUL = 0.8

PARAMETRISATION = "sum of parity parts: closed base, exact moment, perceptron"


@dataclass(frozen=True)
class Recipe:
    """Numbers that a training depends on, besides the seed.

    Attributes
    ----------
    points, held_out : int
        Points for training, and for the errors that are reported; each stands for 10 integrals.
    steps : int
        Gauss-Newton steps for each part.
    batch : int
        Points of a step.
    momentum, damping : float
        See :class:`~infflow.fixedpoints.gauss_newton.GaussNewtonSteps`.
    """

    points: int = 8000
    held_out: int = 2000
    steps: int = 750
    batch: int = 50
    momentum: float = 0.95
    damping: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("points", "held_out", "steps", "batch"):
            as_integer(name, getattr(self, name), minimum=1)
        as_number("damping", self.damping, minimum=0.0, strict=True)
        fraction("momentum", self.momentum)


def train_surrogate(
    activation: str | Activation,
    *,
    seed: int = 0,
    max_time: float = 900.0,
    checkpoint: Any = None,
    progress: bool = True,
    recipe: Recipe | None = None,
) -> tuple[SurrogateForm, dict[str, Any]]:
    """Train a surrogate for the integrals E[f(h1) f(h2)] of one activation.

    Parameters
    ----------
    activation : str or Activation
        With four derivatives, growing at most linearly. Kinks cost accuracy where neurons are
        nearly parallel; the card says how much.
    seed : int
        Of the points and of the first parameters. With the same seed and recipe the result is the
        same on the same machine, also after an interruption, unless ``max_time`` ends the training
        early.
    max_time : float
        Seconds of processor time for all stages. At most half of it goes to the exact integrals;
        points that are missing then are left out, and likewise the steps at the end.
    checkpoint : path, optional
        A file from which a later call with the same arguments goes on, replaced atomically every
        ten seconds, and when the training is interrupted.
    progress : bool
        Show progress bars on a terminal or in a notebook, and lines where there is none.
    recipe : Recipe, optional
        Other numbers than the default ones.

    Returns
    -------
    form : SurrogateForm
    info : dict
        Recipe, seed, times, exactness of the targets, and errors at held-out points, of the result
        and of its closed base alone.

    Raises
    ------
    MethodError
        If the activation has fewer than four derivatives, grows faster than linearly, jumps, or is
        homogeneous with kinks.
    StorageError
        If the checkpoint is damaged, or of another run.
    """
    f = resolve(activation)
    if f.max_order < 4:
        raise MethodError(
            f"a surrogate needs an activation with four derivatives; {f.name!r} has "
            f"{f.max_order}. Give them to from_callable (derivatives=[...]), or make it by "
            "from_sympy, which derives them."
        )
    if f.kinks and (f.homogeneous or _jumps(f)):
        raise MethodError(
            f"a surrogate needs an activation without jumps, and {f.name!r} has a jump or is "
            "homogeneous with kinks, so that its integrals depend on the angle alone. Use "
            "method='auto' for it."
        )
    if not grows_at_most_linearly(f):
        raise MethodError(
            f"a surrogate needs an activation that grows at most linearly; {f.name!r} grows "
            "faster. Use method='auto' for it."
        )
    seed = as_integer("seed", seed, minimum=0)
    max_time = as_number("max_time", max_time, minimum=0.0, strict=True, infinite=True)
    with threads.one_thread():
        return _Training(
            f, seed, max_time, Recipe() if recipe is None else recipe, checkpoint, progress
        ).run()


def _jumps(f: Activation) -> bool:
    """Whether the function itself jumps at a kink."""
    for kink in f.kinks:
        aside = 1e-9 * max(1.0, abs(kink))
        left, right = (float(f(kink + d)) for d in (-aside, aside))
        if abs(right - left) > 1e-6 * (1.0 + abs(left)):
            return True
    return False


class _Training:
    """One training."""

    def __init__(
        self,
        f: Activation,
        seed: int,
        max_time: float,
        recipe: Recipe,
        checkpoint: Any,
        progress: bool,
    ) -> None:
        self.f = f
        self.seed = seed
        self.max_time = max_time
        self.recipe = recipe
        self.progress = progress
        self.points = sample_points(recipe.points, np.random.default_rng([seed, 0]))
        self.held_out = sample_points(recipe.held_out, np.random.default_rng([seed, 1]))
        self.file: Checkpoint | None = None
        if checkpoint is not None:
            probes = np.empty((1, 5))
            f.jet(np.linspace(-2.0, 2.0, 5), probes)
            identity = {
                "activation": f.name,
                "values": probes,
                "seed": seed,
                "recipe": asdict(recipe),
            }
            self.file = Checkpoint(as_path("checkpoint", checkpoint, ".npz"), identity)
        self.state: dict[str, Any] = {"cpu": 0.0, "wall": 0.0, "parts": {}}
        self._clock = (time.process_time(), time.perf_counter())

    def run(self) -> tuple[SurrogateForm, dict[str, Any]]:
        """Integrals, parts, report."""
        saved = self.file.read() if self.file is not None else None
        if saved is not None:
            self.state = saved
        try:
            return self._run()
        except KeyboardInterrupt:
            self._save()
            raise

    def _run(self) -> tuple[SurrogateForm, dict[str, Any]]:
        self._integrals()
        self.points = self.points.take(np.arange(len(self.state["train"]["bounds"])))
        self.held_out = self.held_out.take(np.arange(len(self.state["held_out"]["bounds"])))
        parts = {}
        report = {}
        for name in PARITIES:
            parts[name], report[name] = self._part(name)
        form = SurrogateForm.of_parts(self.f.name, parts, self._settings())
        return form, self._info(form, report)

    def _settings(self) -> dict[str, Any]:
        return {
            "parametrisation": PARAMETRISATION,
            "hidden": [WIDTH, WIDTH],
            "hidden_activation": "tanh",
            "r": [SMALLEST_R, LARGEST_R],
        }

    def _integrals(self) -> None:
        """Exact integrals at both sets of points, block by block, in equal shares."""
        sets = {"train": self.points, "held_out": self.held_out}
        if "train" not in self.state:
            none = {"even": np.empty((10, 0)), "odd": np.empty((10, 0)), "bounds": np.empty(0)}
            self.state.update(dict.fromkeys(sets, none))
        total = sum(len(points.u) for points in sets.values())
        done = sum(len(self.state[key]["bounds"]) for key in sets)
        if done == total or self.state["parts"]:
            return
        with Stage(
            f"{self.f.name}, exact integrals", total, "points", done, self.progress
        ) as stage:
            for block in range(done * _BLOCKS // total, _BLOCKS):
                if block and self.state["cpu"] >= _DATA_SHARE * self.max_time:
                    break
                for key, points in sets.items():
                    known = self.state[key]
                    start = len(known["bounds"])
                    end = (block + 1) * len(points.u) // _BLOCKS
                    if end <= start:
                        continue
                    found, bounds = exact_parts(self.f, points.take(np.arange(start, end)))
                    new = {**found, "bounds": bounds}
                    self.state[key] = {
                        name: np.concatenate([known[name], new[name]], axis=-1) for name in known
                    }
                    stage.advance(end - start)
                self._clock_on()
                if self.file is not None and self.file.due():
                    self._save()
        self._save()

    def _clock_on(self) -> None:
        """Add the time since the last call."""
        now = (time.process_time(), time.perf_counter())
        self.state["cpu"] += now[0] - self._clock[0]
        self.state["wall"] += now[1] - self._clock[1]
        self._clock = now

    # ----------------------------------------------------------------------------------------------
    # one part

    def _part(self, name: str) -> tuple[Part, dict[str, Any]]:
        """The closed base of a part, and its perceptron unless the base is exact."""
        part, error = closed_part(self.f, name)
        if not len(part.moment):
            return part, {"base_terms": len(part.widths), "steps": 0, "exact": True}
        part = with_scaled_features(part, self.points)
        problem = PartProblem(part, self.points, self.state["train"][name])
        scale = problem.typical_output()
        theta, steps = self._descend(name, problem, scale)
        network = self._last_solve(problem, theta, scale)
        left = self._left(part, name, network)
        report = {
            "base_terms": len(part.widths),
            "steps": steps,
            "exact": False,
            "moment_error": error,
            "left_by_perceptron": left,
        }
        return replace(part, network=network if left <= _HELPFUL else []), report

    def _left(self, part: Part, name: str, network: list[tuple[Array, Array]]) -> float:
        """The root mean square error at held-out points, as the last solve weighs it, over that of
        the closed part alone.
        """
        problem = PartProblem(part, self.held_out, self.state["held_out"][name])
        objective = problem.objective(FINAL_WEIGHTS, 1.0)
        linearisation = JetLinearisation(
            network, problem.features, objective.rows, objective.targets
        )
        alone = float(np.linalg.norm(objective.targets))
        return float(np.linalg.norm(linearisation.residuals)) / max(alone, 1e-300)

    def _descend(self, name: str, problem: PartProblem, scale: float) -> tuple[Array, int]:
        """Gauss-Newton steps; returns the parameters and the number of steps."""
        objective = problem.objective(TRAINING_WEIGHTS, scale)
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, 2, PARITIES[name]])
        start = start_parameters(problem.features.shape[2], rng)
        steps = GaussNewtonSteps(objective, start, recipe.momentum, recipe.damping)
        own = self.state["parts"].get(name)
        if own is None:
            own = {
                "count": 0,
                "done": False,
                "theta": start,
                "last": steps.last,
                "damping": recipe.damping,
                "rms": 0.0,
            }
            self.state["parts"][name] = own
        steps.theta, steps.last, steps.damping = (
            own["theta"].copy(),
            own["last"].copy(),
            own["damping"],
        )
        what = f"{self.f.name}, {name} part"
        with Stage(what, recipe.steps, "steps", own["count"], self.progress) as stage:
            while own["count"] < recipe.steps and not own["done"]:
                before = steps.step(self._batch(name, own["count"])).before
                self._record(own, steps, before)
                stage.advance(1, f"rms {own['rms']:.2e}, damping {steps.damping:.0e}")
                if self.file is not None and self.file.due():
                    self._save()
        return steps.theta, own["count"]

    def _record(self, own: dict[str, Any], steps: GaussNewtonSteps, before: float) -> None:
        """Bookkeeping of one step: what the checkpoint needs, processor time."""
        count = own["count"] + 1
        rms = math.sqrt(before)
        self._clock_on()
        unfinished = 1 if own is self.state["parts"].get("odd") else 2
        share = self.state.setdefault("left", self.max_time - self.state["cpu"]) / 2
        limit = self.max_time - (share if unfinished == 2 else 0.0)
        own.update(  # at once, since Ctrl-C may come in between
            count=count,
            theta=steps.theta,
            last=steps.last,
            damping=steps.damping,
            rms=rms if count == 1 else 0.95 * own["rms"] + 0.05 * rms,
            done=bool(self.state["cpu"] >= limit),
        )

    def _batch(self, name: str, count: int) -> Index:
        """Points of a step: every pass takes each point once, in an order that depends on seed,
        part and pass only.
        """
        per_pass = max(1, len(self.points.u) // self.recipe.batch)
        turn, place = divmod(count, per_pass)
        order = np.random.default_rng([self.seed, 3, PARITIES[name], turn]).permutation(
            len(self.points.u)
        )
        chosen: Index = order[place * self.recipe.batch : (place + 1) * self.recipe.batch]
        return chosen

    def _last_solve(
        self, problem: PartProblem, theta: Array, scale: float
    ) -> list[tuple[Array, Array]]:
        """The output layer by one linear least-squares solve at all points."""
        objective = problem.objective(FINAL_WEIGHTS, scale)
        hidden = split(theta, objective.shapes)[:2]
        W, b = solve_output(objective, hidden)
        return [(W1.copy(), b1.copy()) for W1, b1 in hidden] + [(scale * W, scale * b)]

    # ----------------------------------------------------------------------------------------------
    # bookkeeping

    def _save(self) -> None:
        if self.file is not None:
            self.file.write(self.state)

    def _info(self, form: SurrogateForm, report: dict[str, Any]) -> dict[str, Any]:
        exact = self.state["held_out"]["even"] + self.state["held_out"]["odd"]
        closed = SurrogateForm.of_parts(
            form.activation, {k: replace(p, network=[]) for k, p in form.parts.items()}, {}
        )
        bounds = max(float(self.state[key]["bounds"].max()) for key in ("train", "held_out"))
        return {
            "infflow": __version__,
            "seed": self.seed,
            "recipe": {
                **asdict(self.recipe),
                "weights": list(TRAINING_WEIGHTS),
                "last_weights": list(FINAL_WEIGHTS),
                "large": LARGE,
            },
            "optimizer": "minibatch Gauss-Newton with momentum; output layer by least squares",
            "parts": report,
            "points_used": [len(self.points.u), len(self.held_out.u)],
            "processor_seconds": self.state["cpu"],
            "seconds": self.state["wall"],
            "largest_bound_of_targets": bounds,
            "held_out": held_out_errors(form, self.held_out, exact),
            "held_out_without_perceptron": held_out_errors(closed, self.held_out, exact),
        }


def solve_output(
    objective: SobolevObjective, hidden: list[tuple[Array, Array]]
) -> tuple[Array, Array]:
    """Weights (1, w) and bias (1,) of the output layer that minimise the objective for given hidden
    layers.
    """
    N = objective.num_samples
    w = len(hidden[-1][1])
    triangle = np.zeros(
        (w + 2, w + 2)
    )  # R of a QR decomposition of the rows, the targets as the last column
    for start in range(0, N, _BLOCK):
        k = slice(start, start + _BLOCK)
        z = objective.features[:, k]
        for W, b in hidden:
            z = Layer(z, W, b).z
        columns = np.zeros((*z.shape[:2], w + 1))
        columns[..., :w] = z
        columns[0, :, w] = 1.0
        rows = np.einsum("nab,bnw->naw", objective.rows[k], columns, optimize=True).reshape(
            -1, w + 1
        )
        block = np.column_stack([rows, objective.targets[k].ravel()])
        triangle = upper_triangle(np.vstack([triangle, block]))
    size = np.linalg.norm(triangle[:, :-1], axis=0)
    size[size == 0.0] = 1.0
    found = np.linalg.lstsq(triangle[:, :-1] / size, triangle[:, -1], rcond=1e-13)[0] / size
    return found[None, :w], found[w:]


_BLOCK = 500


def held_out_errors(
    form: SurrogateForm, points: PointSet, exact: Array
) -> dict[str, dict[str, float]]:
    """Median, 99 % and maximum of the errors of value, gradient and Hessian of G(w1, w2) in six
    inputs at the points.
    """
    C11, C12, C22, det = points.covariances()
    frames = np.einsum("nab,bn->an", to_frame(points), form.jet(C11, C12, C22, SIZE, det))
    found = errors(points, frames - exact)
    return {
        what: {
            "median": float(np.median(row)),
            "99%": float(np.quantile(row, 0.99)),
            "maximum": float(row.max()),
        }
        for what, row in zip(("value", "gradient", "hessian"), found, strict=True)
    }
