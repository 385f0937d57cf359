"""A function of the user in the place of a search, under the same stop rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import Array
from ..interrupts import plain_interrupts
from ..own_step import OwnStep, moved
from ..stopping import Progress, Statistics, StopReason, StopRules, TimeIsUp
from .problem import FixedPointProblem, is_finite
from .trust_region import SearchOutcome

_EPS = float(np.finfo(float).eps)


class OwnSearch:
    """One run of a function ``(theta, gradient, state) -> theta, state``.

    Parameters
    ----------
    problem : FixedPointProblem
        What to minimise.
    step : callable
        See :mod:`infflow.own_step`.
    rules : StopRules
        When to stop; the method has no rule of its own.
    """

    def __init__(self, problem: FixedPointProblem, step: OwnStep, rules: StopRules) -> None:
        self.problem = problem
        self.step = step
        self.rules = rules
        self.steps = 0
        self.best: tuple[float, Array, float] = (math.inf, np.empty(0), math.inf)

    def run(self, name: str, x: Array) -> SearchOutcome:
        """Search from ``x`` of shape (n,) until a rule stops."""
        statistics = Statistics(name, rejected=None)
        with np.errstate(all="ignore"):
            try:
                with plain_interrupts():
                    stop = self._search(x)
            except KeyboardInterrupt:
                stop = StopReason.INTERRUPTED
            except TimeIsUp:
                stop = StopReason.MAX_TIME
            self.problem.require_time = lambda: None
        if stop is StopReason.NON_FINITE:
            statistics.note = "the steps of the function are probably too long"
        statistics.stop_reason = stop
        statistics.steps = self.steps
        statistics.gradients = self.problem.gradients
        statistics.wall_time = self.rules.elapsed()
        loss, best, norm = self.best
        theta = np.array(self.problem.theta_of(best))
        return SearchOutcome(theta, loss, norm, 4 * _EPS * abs(loss), statistics)

    def _search(self, x: Array) -> StopReason:
        found = self.problem.evaluate(x, 1)
        self.problem.require_finite(x, found)
        self.problem.require_time = self.rules.require_time
        state: Any = None
        while True:
            norm = float(np.abs(found.g).max())
            if found.value < self.best[0]:
                self.best = (found.value, np.array(x), norm)
            theta = np.array(self.problem.theta_of(x))
            now = Progress("newton", self.steps, math.nan, theta, found.value, norm)
            stop = self.rules.check(now)
            if stop is not None:
                return stop
            x, state = moved(self.step, self.problem, x, found.g, state)
            found = self.problem.evaluate(x, 1)
            if not (np.isfinite(x).all() and is_finite(found)):
                return StopReason.NON_FINITE
            self.steps += 1
