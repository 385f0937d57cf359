r"""Minibatch Gauss-Newton with momentum: a least-squares method for many parameters and few samples
at a time.

With residuals r and Jacobian J of a minibatch, m rows and P parameters, a step is

    p = argmin |r + J p|^2 + damping |p - momentum p_before|^2
      = momentum p_before - J' (J J' + damping)^-1 (r + momentum J p_before),

so that only the Gram matrix J J' of the rows (m, m) is factorised, never anything of size P.
Directions that the present minibatch does not see go on from the steps before: with momentum 0 it
is Kaczmarz's method, with momentum near one it approaches Gauss-Newton on all samples (G.
Goldshlager, N. Abrahamsen and L. Lin, J. Comput. Phys. 516, 113351 (2024)). The damping, relative
to the mean square of a row of J, follows the ratio of the actual to the predicted decrease on the
minibatch (Levenberg-Marquardt).

The objective is seen through :class:`Linearisation` only. One that knows the structure of its
Jacobian can give Gram matrix and products without forming it; :class:`DenseLinearisation` takes any
residuals and Jacobian, those of a :class:`~infflow.Net` with data included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, as_rng
from ..deadline import asking
from ..interrupts import plain_interrupts
from ..objective import LEFT_DOMAIN, LeastSquares, Sampled, require_samples
from ..options import Option, Options, fraction, integer, positive
from ..stopping import Progress, Statistics, StopReason, StopRules, TimeIsUp
from .least_squares import require_squares
from .problem import FixedPointProblem, curvature_at, promises_more
from .trust_region import SearchOutcome

Index = NDArray[np.integer]

#: Bounds of the ratio of the actual to the predicted decrease below and above which the damping
#: grows and falls, and by what.
SHRINK_BELOW = 0.25
GROW_ABOVE = 0.75
RAISE = 2.0
LOWER = 0.8
SMALLEST_DAMPING = 1e-14
LARGEST_DAMPING = 1e6
#: Factor of the damping after good steps that see all samples, where it need not average over
#: minibatches.
LOWER_ALL = 0.2
#: Samples of a step, and momentum, of :func:`search` where none are given.
DEFAULT_BATCH = 200
DEFAULT_MOMENTUM = 0.9
_EPS = float(np.finfo(float).eps)


class Linearisation(Protocol):
    """Residuals r (m,) of some samples at one point, and products with their Jacobian J (m, P)."""

    residuals: Array

    def gram(self) -> Array:
        """J J' (m, m)."""

    def product(self, step: Array) -> Array:
        """J times a step (P,)."""

    def transposed_product(self, weights: Array) -> Array:
        """J' times weights (m,)."""


class SampledLeastSquares(Protocol):
    """A sum of squares over samples."""

    num_samples: int

    def linearise(self, theta: Array, samples: Index) -> Linearisation:
        """Residuals and Jacobian of these samples."""

    def residuals(self, theta: Array, samples: Index) -> Array:
        """Residuals (m,) alone."""


@dataclass
class DenseLinearisation:
    """Residuals (m,) and their Jacobian (m, P) as arrays."""

    residuals: Array
    jacobian: Array

    def gram(self) -> Array:
        """J J' (m, m)."""
        gram: Array = self.jacobian @ self.jacobian.T
        return gram

    def product(self, step: Array) -> Array:
        """J times a step (P,)."""
        return self.jacobian @ step

    def transposed_product(self, weights: Array) -> Array:
        """J' times weights (m,)."""
        return weights @ self.jacobian


class SubsetLeastSquares:
    """An objective that is :class:`LeastSquares` and, for minibatches, :class:`Sampled`.

    Parameters
    ----------
    problem : FixedPointProblem
        The objective, and which of its parameters may move. Without samples it counts as one.

    Raises
    ------
    MethodError
        If the objective is no sum of squares.
    """

    def __init__(self, problem: FixedPointProblem) -> None:
        self._problem = problem
        self._all = require_squares(problem.objective, "gauss_newton")
        self._sampled = problem.objective if isinstance(problem.objective, Sampled) else None
        self.num_samples = 1 if self._sampled is None else int(self._sampled.num_samples)
        self.require_time: Callable[[], None] = lambda: None

    def _part(self, samples: Index) -> LeastSquares:
        if self._sampled is None or len(samples) == self.num_samples:
            return self._all
        return cast(LeastSquares, self._sampled.subset(samples))  # as the whole is

    def linearise(self, theta: Array, samples: Index) -> DenseLinearisation:
        """Residuals and Jacobian of these samples with respect to the free parameters."""
        self.require_time()
        part = self._part(samples)
        problem = self._problem
        full = problem.theta_of(theta)
        with asking(self.require_time):
            J = problem.columns(part.jacobian(full))
            return DenseLinearisation(part.residuals(full), J)

    def residuals(self, theta: Array, samples: Index) -> Array:
        """Residuals (m,) alone."""
        self.require_time()
        return self._part(samples).residuals(self._problem.theta_of(theta))


@dataclass
class StepReport:
    """Outcome of one step: squares of the residuals before and after it, whether it was taken,
    damping of the next one.
    """

    before: float
    after: float
    accepted: bool
    damping: float


class GaussNewtonSteps:
    """The iteration: point, momentum and damping.

    Parameters
    ----------
    objective : SampledLeastSquares
    theta : (P,) array
        Start.
    momentum : float
        Fraction of the last step that the next one starts from, in [0, 1).
    damping : float
        First damping, relative to the mean square of the rows of the Jacobian.
    lower : float
        Factor of the damping after a step that the model predicted well.
    """

    def __init__(
        self,
        objective: SampledLeastSquares,
        theta: Array,
        momentum: float,
        damping: float,
        lower: float = LOWER,
    ) -> None:
        self.objective, self.theta = objective, np.array(theta)
        self.momentum = momentum
        self.damping = damping
        self._lower = lower
        self.last = np.zeros_like(self.theta)

    def step(self, samples: Index) -> StepReport:
        """One step on the given samples; not taken where the sum of their squares would grow."""
        here = self.objective.linearise(self.theta, samples)
        start = self.momentum * self.last
        target = here.residuals + here.product(start)
        weights = self._solve(here.gram(), target)
        step = start - here.transposed_product(weights)
        before = float(here.residuals @ here.residuals)
        model = here.residuals + here.product(step)
        trial = self.theta + step
        residuals = self._residuals(trial, samples, len(target))
        after = float(residuals @ residuals)
        accepted = after <= before
        self._adapt(before, after, before - float(model @ model))
        self.theta, self.last = (trial, step) if accepted else (self.theta, np.zeros_like(step))
        return StepReport(before, after, accepted, self.damping)

    def _solve(self, gram: Array, target: Array) -> Array:
        """(gram + damping)^-1 target, with more damping where rounding makes the matrix
        indefinite.
        """
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        diagonal = gram.ravel()[:: len(gram) + 1]
        size = float(diagonal.mean())
        while self.damping < LARGEST_DAMPING:
            shifted = gram.copy()
            shifted.ravel()[:: len(gram) + 1] += self.damping * size
            try:
                found: Array = cho_solve(
                    cho_factor(shifted, overwrite_a=True, check_finite=False), target
                )
            except LinAlgError:
                self.damping = max(10.0 * self.damping, SMALLEST_DAMPING)
                continue
            return found
        return np.zeros_like(target)

    def _residuals(self, theta: Array, samples: Index, rows: int) -> Array:
        try:
            return self.objective.residuals(theta, samples)
        except LEFT_DOMAIN:
            return np.full(rows, math.inf)

    def _adapt(self, before: float, after: float, predicted: float) -> None:
        ratio = (
            (before - after) / predicted if predicted > 0.0 and math.isfinite(after) else -math.inf
        )
        if ratio < SHRINK_BELOW:
            self.damping = min(self.damping * (RAISE if ratio > 0.0 else RAISE**2), LARGEST_DAMPING)
        elif ratio > GROW_ABOVE:
            self.damping = max(self.damping * self._lower, SMALLEST_DAMPING)


def epochs(num_samples: int, batch_size: int, rng: np.random.Generator) -> Any:
    """Minibatches without end: every pass takes each sample once, in a new order; the last
    minibatch of a pass may be smaller.
    """
    while True:
        order = rng.permutation(num_samples)
        for start in range(0, num_samples, batch_size):
            yield order[start : start + batch_size]


def search(
    problem: FixedPointProblem,
    x: Array,
    rules: StopRules,
    batch_size: int | None = None,
    momentum: float | None = None,
    damping: float = 1e-3,
    seed: int = 0,
) -> SearchOutcome:
    """Search from ``x`` (n,) of the free parameters, as ``train(optimizer="gauss_newton")`` does.

    Loss and gradient on all samples, by which the stop rules go, are evaluated after every pass
    over the samples.

    Parameters
    ----------
    batch_size : int, optional
        Samples of a step; all of them, up to :data:`DEFAULT_BATCH`, by default.
    momentum : float, optional
        See :class:`GaussNewtonSteps`; by default 0.9, and 0 where a step sees all samples.
    damping : float
        The first one.
    seed : int
        Of the order of the samples.
    """
    samples = SubsetLeastSquares(problem)
    samples.require_time = rules.require_time
    if batch_size is not None:
        require_samples(problem.objective, batch_size)
    size = min(samples.num_samples, DEFAULT_BATCH if batch_size is None else batch_size)
    whole = size == samples.num_samples
    if momentum is None:
        momentum = 0.0 if whole else DEFAULT_MOMENTUM
    steps = GaussNewtonSteps(samples, x, momentum, damping, lower=LOWER_ALL if whole else LOWER)
    return _Search(problem, steps, rules, size, as_rng(seed)).run()


class _Search:
    """Passes over the samples until a rule stops them."""

    def __init__(
        self,
        problem: FixedPointProblem,
        steps: GaussNewtonSteps,
        rules: StopRules,
        size: int,
        rng: np.random.Generator,
    ) -> None:
        self.problem = problem
        self.steps = steps
        self.rules = rules
        self.per_pass = -(-steps.objective.num_samples // size)
        self.batches = epochs(steps.objective.num_samples, size, rng)
        self.taken = self.rejected = 0
        self.best = (math.inf, steps.theta.copy(), math.inf)

    def run(self) -> SearchOutcome:
        """The best point of all passes."""
        stop = None
        with np.errstate(all="ignore"):
            try:
                with plain_interrupts():
                    while stop is None:
                        stop = self._look() or self._pass()
            except KeyboardInterrupt:
                stop = StopReason.INTERRUPTED
        statistics = Statistics("gauss_newton", self.taken, self.rejected, self.problem.gradients)
        statistics.factorizations = self.taken + self.rejected
        statistics.stop_reason = stop
        statistics.wall_time = self.rules.elapsed()
        value, x, norm = self.best
        return SearchOutcome(
            np.array(self.problem.theta_of(x)), value, norm, 4.0 * _EPS * abs(value), statistics
        )

    def _look(self) -> StopReason | None:
        """Loss and gradient on all samples, and what the rules say to them."""
        found = self.problem.evaluate(self.steps.theta, 1)
        norm = float(np.abs(found.gradient).max())  # type: ignore[arg-type]
        if not self.taken:
            self.problem.require_finite(self.steps.theta, found)
        if found.value < self.best[0]:
            self.best = (found.value, self.steps.theta.copy(), norm)
        theta = self.problem.theta_of(self.steps.theta)
        return self.rules.check(Progress("newton", self.taken, math.nan, theta, found.value, norm))

    def _pass(self) -> StopReason | None:
        """Steps on every sample once; ends early only where the numbers of steps or the time are
        used up.
        """
        before = self.steps.theta
        for _ in range(self.per_pass):
            try:
                report = self.steps.step(next(self.batches))
            except TimeIsUp:  # the steps before it are kept, and looked at
                return None
            self.taken += report.accepted
            self.rejected += not report.accepted
            if self.taken >= self.rules.max_steps or self.rules.elapsed() >= self.rules.max_time:
                return None
        still = np.abs(self.steps.theta - before).max() <= _EPS * np.abs(before).max()
        if still and (self.steps.last.any() or self.steps.damping >= LARGEST_DAMPING):
            found = curvature_at(self.problem, self.best[1])
            more = found is not None and promises_more(found, self.best[1])
            return StopReason.STEP_UNDERFLOW if more else StopReason.ROUNDING_FLOOR
        return None


#: Options of ``train(optimizer="gauss_newton", optimizer_options={...})``.
OPTIONS: Options = {
    "batch_size": Option(
        integer(1), f"samples of a step; all of them, up to {DEFAULT_BATCH}, unless given"
    ),
    "momentum": Option(
        fraction,
        f"part of the last step that goes on; unless given {DEFAULT_MOMENTUM}, and 0 where a "
        "step sees all samples",
    ),
    "damping": Option(
        positive,
        "first damping, relative to the mean square of a row of the Jacobian; 1e-3 unless given",
    ),
    "seed": Option(integer(0), "of the order of the samples; 0 unless given"),
}
