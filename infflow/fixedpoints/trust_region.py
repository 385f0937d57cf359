"""How far to go: a trust region around any model of the loss.

Far from the fixed point a step is judged by the decrease of the loss. Where the predicted decrease
is below the rounding errors of the loss, differences of losses say nothing any more; there a step
is judged by the gradient, whose mean over the step gives the decrease without cancellation (as in
the approximate Wolfe conditions of Hager and Zhang, SIAM J. Optim. 16 (2005) 170-192).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._validation import Array
from ..interrupts import plain_interrupts
from ..objective import Evaluation
from ..rounding import is_hidden, loss_rounding
from ..stopping import Progress, Statistics, StopReason, StopRules, TimeIsUp
from .directions import Direction, Model, TrialStep
from .problem import GRADIENT_FLOOR, ZERO_LOSS_FLOOR, FixedPointProblem, is_finite

# limits of the ratio of actual to predicted decrease
ACCEPT = 0.1
SHRINK_BELOW = 0.25
GROW_ABOVE = 0.75
# decrease over rounding error from which a second attempt is not a second chance for rounding
CLEAR = 1e3
MAX_CORRECTION = 0.75  # length of a correction over that of the step
MAX_STALLED = 25  # attempts at the rounding floor without progress before the search ends
MAX_STALLED_REJECTIONS = 5


@dataclass
class SearchOutcome:
    """The best point of a search, and where rounding hides differences of its losses."""

    theta: Array  #: shape (P,)
    loss: float
    gradient_norm: float  #: infinity norm over the free parameters
    loss_noise: float  #: estimated rounding error of the loss
    statistics: Statistics
    limit: Any = None  #: where a path that runs off to infinity ends, see ``channels``


@dataclass
class _Point:
    x: Array
    evaluation: Evaluation
    norm: float

    @classmethod
    def at(cls, x: Array, evaluation: Evaluation) -> _Point:
        return cls(x, evaluation, float(np.abs(evaluation.g).max()))


class TrustRegion:
    """Minimisation by steps that stay where a model can be trusted.

    Parameters
    ----------
    problem : FixedPointProblem
        What to minimise.
    direction : Direction
        Makes the models.
    rules : StopRules
        When to stop.
    radius : float
        First radius; small enough that the search stays in the basin that a flow has reached.
    """

    def __init__(
        self,
        problem: FixedPointProblem,
        direction: Direction,
        rules: StopRules,
        radius: float = 1.0,
    ) -> None:
        self.problem = problem
        self.direction = direction
        self.rules = rules
        self.radius = radius
        self.steps = self.rejected = 0
        self._stalled = self._stalled_rejections = 0
        self._noise = 0.0  # estimated rounding error of the loss
        self._factor = 1.0  # observed over estimated rounding error
        # the loss may be a sum of large terms; otherwise the lower of two losses is the better one
        self._cancels = True

    def run(self, name: str, x: Array) -> SearchOutcome:
        """Search from ``x`` of shape (n,) until a rule stops it."""
        statistics = Statistics(name)
        with np.errstate(all="ignore"):
            self.point = self.best = _Point.at(x, self._evaluate_start(x))
            self.problem.require_time = self.rules.require_time
            try:
                with plain_interrupts():
                    stop = self.rules.check(self._progress()) or self._search()
            except KeyboardInterrupt:
                stop = StopReason.INTERRUPTED
            except TimeIsUp:
                stop = StopReason.MAX_TIME
            self.problem.require_time = lambda: None
        statistics.stop_reason = stop
        statistics.steps = self.steps
        statistics.rejected = self.rejected
        statistics.gradients = self.problem.gradients
        statistics.hessians = self.problem.hessians
        statistics.hvps = self.problem.hvps
        statistics.factorizations = self.direction.factorizations
        statistics.wall_time = self.rules.elapsed()
        if stop is StopReason.MIN_GRADIENT_NORM and self.best.norm > self.rules.min_gradient_norm:
            # the search only descends, so a lower loss seen earlier was rounding
            self.best = self.point
        best = self.best
        theta = np.array(self.problem.theta_of(best.x))
        return SearchOutcome(theta, best.evaluation.value, best.norm, self._noise, statistics)

    def _evaluate_start(self, x: Array) -> Evaluation:
        start = self.problem.evaluate(x, self.direction.order)
        self.problem.require_finite(x, start)
        return start

    def _search(self) -> StopReason:
        while True:
            model = self.direction.model(self.point.x, self.point.evaluation)
            known = self.problem.loss_noise(self.point.x, self.point.evaluation.value)
            self._cancels = known is None
            if known is None:
                known = loss_rounding(self.point.evaluation.value, model.curvatures, self.point.x)
            self._noise = self._factor * known
            stop = self._step(model)
            if stop is None:
                stop = self.rules.check(self._progress())
            if stop is not None:
                return stop

    def _step(self, model: Model) -> StopReason | None:
        """Shrink the radius until a step is accepted, or say why none can be."""
        while True:
            trial = model.solve(self.radius)
            resolved = trial.predicted > self._noise
            x = self.point.x + trial.step
            if trial.predicted == 0.0 or (x == self.point.x).all():
                return self._end(model)
            found = self.problem.evaluate(x, 1)
            length = float(np.sqrt(trial.step @ trial.step))
            ratio = (
                self._ratio(found, trial.step, trial.predicted, resolved)
                if is_finite(found)
                else -math.inf
            )
            if (
                trial.predicted > CLEAR * self._noise
                and trial.on_boundary
                and -math.inf < ratio < GROW_ABOVE
            ):
                x, found, ratio = self._corrected(trial, length, x, found, ratio)
            good = ratio >= ACCEPT or (not resolved and self._halves_the_gradient(found))
            accepted = good and (resolved or self._credible(found, model))
            self._adapt_radius(ratio if accepted else min(ratio, 0.0), length, trial.on_boundary)
            if accepted:
                found = self._complete(x, found)
                accepted = is_finite(found)
            if accepted:
                self._move(_Point.at(x, found), resolved)
            else:
                self.rejected += 1
            if self._has_stalled(resolved, accepted, found):
                return self._end(model)
            if accepted:
                return None
            if self.rules.elapsed() >= self.rules.max_time:
                return StopReason.MAX_TIME

    def _corrected(
        self, trial: TrialStep, length: float, x: Array, found: Evaluation, ratio: float
    ) -> tuple[Array, Evaluation, float]:
        """The end of the step, its evaluation and ratio: with the correction of the model where
        that makes it a good step.

        A poor one would only be longer than the radius should be, and lead on along a flat valley.
        """
        if trial.correction is None:
            return x, found, ratio
        change = trial.correction(found.g)
        if change @ change > (MAX_CORRECTION * length) ** 2:
            return x, found, ratio
        other = self.problem.evaluate(x + change, 1)
        better = (
            (self.point.evaluation.value - other.value) / trial.predicted
            if is_finite(other)
            else -math.inf
        )
        return (
            (x + change, other, better) if better > max(ratio, SHRINK_BELOW) else (x, found, ratio)
        )

    def _complete(self, x: Array, found: Evaluation) -> Evaluation:
        return found if self.direction.order < 2 else self.problem.evaluate(x, self.direction.order)

    def _ratio(self, found: Evaluation, step: Array, predicted: float, resolved: bool) -> float:
        """Actual over predicted decrease."""
        here = self.point.evaluation
        if resolved:
            return (here.value - found.value) / predicted
        decrease = -0.5 * float((here.g + found.g) @ step)
        # the change of the gradient along the step explains a difference of up to this size; the
        # rest is rounding
        explained = 0.5 * float(np.linalg.norm(found.g - here.g) * np.linalg.norm(step))
        self._learn_noise(abs(here.value - found.value - decrease) - explained)
        return decrease / predicted

    def _learn_noise(self, error: float) -> None:
        """Raise the estimate when a loss differs by more than it from what the gradients say, at
        most a hundredfold.
        """
        factor = (
            min(max(1.0, error / self._noise), 100.0 / self._factor) if self._noise > 0.0 else 1.0
        )
        self._factor *= factor
        self._noise *= factor

    def _credible(self, found: Evaluation, model: Model) -> bool:
        """Below the rounding of the loss: the gradient must shrink, except on the way out of a
        saddle.
        """
        here = self.point.evaluation
        if found.value > here.value + 2 * self._noise:
            return False
        shrinks = float(found.g @ found.g) < float(here.g @ here.g)
        return shrinks or model.lowest < 0.0 or found.value < here.value

    def _halves_the_gradient(self, found: Evaluation) -> bool:
        """Below the rounding of the loss that is progress, whatever weak curvature, which may be
        rounding too, has promised.
        """
        here = self.point.evaluation
        return 4.0 * float(found.g @ found.g) <= float(here.g @ here.g)

    def _adapt_radius(self, ratio: float, length: float, on_boundary: bool) -> None:
        if not ratio >= SHRINK_BELOW:
            self.radius = 0.25 * length
        elif ratio > GROW_ABOVE and on_boundary:
            self.radius = min(2.0 * self.radius, 1e100)

    def _move(self, point: _Point, resolved: bool) -> None:
        """Go to the new point; remember it as the best unless a loss or gradient says otherwise."""
        self.steps += 1
        best = self.best
        loss = point.evaluation.value
        improved = point.norm < 0.9 * best.norm or 0.0 < loss < 0.9 * best.evaluation.value
        self._stalled = 0 if resolved or improved else self._stalled + 1
        lower = loss < best.evaluation.value - (self._noise if self._cancels else 0.0)
        if lower or (
            loss <= best.evaluation.value + self._noise and (resolved or point.norm <= best.norm)
        ):
            self.best = point
        self.point = point

    def _has_stalled(self, resolved: bool, accepted: bool, found: Evaluation) -> bool:
        """Whether attempts at the rounding floor lead nowhere.

        Where the gradient has grown by the step, the radius is merely too large for the higher
        derivatives.
        """
        here = self.point.evaluation
        too_far = not float(found.g @ found.g) <= 4.0 * float(here.g @ here.g)
        self._stalled_rejections = (
            0 if accepted or resolved else self._stalled_rejections + (not too_far)
        )
        return self._stalled_rejections >= MAX_STALLED_REJECTIONS or self._stalled >= MAX_STALLED

    def _end(self, model: Model) -> StopReason:
        """Nothing moves any more: at a fixed point only if this, or the best point, which is
        returned, is one.
        """
        if self.point.norm <= self.rules.min_gradient_norm:
            return StopReason.MIN_GRADIENT_NORM
        if self._is_at_floor(self.point, model):
            return StopReason.ROUNDING_FLOOR
        best = self.best
        if best is self.point:
            return StopReason.STEP_UNDERFLOW
        # attempts at the floor, along directions that are flat but for rounding, have led away from
        # it
        found = self.problem.evaluate(best.x, self.direction.order)
        at_floor = self._is_at_floor(best, self.direction.model(best.x, found))
        return StopReason.ROUNDING_FLOOR if at_floor else StopReason.STEP_UNDERFLOW

    def _is_at_floor(self, point: _Point, model: Model) -> bool:
        """Whether steps of the size of x promise no more than rounding, and the gradient is not far
        above its own rounding error.
        """
        x = point.x
        here = point.evaluation
        reach = max(1.0, float(np.sqrt(x @ x)))
        factor = (
            ZERO_LOSS_FLOOR if self._cancels and abs(here.value) <= self._noise else GRADIENT_FLOOR
        )
        hidden = is_hidden(here.value, here.g, model.curvatures, x, factor, self._noise)
        return hidden and model.solve(reach).predicted <= 1e3 * self._noise

    def _progress(self) -> Progress:
        point = self.point
        theta = self.problem.theta_of(point.x)
        return Progress("newton", self.steps, math.nan, theta, point.evaluation.value, point.norm)
