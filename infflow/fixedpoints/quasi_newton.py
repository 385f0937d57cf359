"""BFGS, L-BFGS and SLSQP: thin adapters of scipy.optimize and NLopt, under the same stop rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import Array
from ..interrupts import plain_interrupts
from ..rounding import is_hidden
from ..stopping import Progress, Statistics, StopReason, StopRules, TimeIsUp
from .problem import GRADIENT_FLOOR, FixedPointProblem, curvature_at, is_finite, promises_more
from .trust_region import SearchOutcome

_EPS = float(np.finfo(float).eps)
#: part of a loss that is taken to be rounding
_LOSS_ROUNDING = 4 * _EPS
_OPTIONS: dict[str, dict[str, Any]] = {
    "BFGS": {"gtol": 0.0, "xrtol": 0.0},
    "L-BFGS-B": {"ftol": 0.0, "gtol": 0.0, "maxls": 50, "maxcor": 20, "maxfun": 2**31 - 1},
    "SLSQP": {"ftol": 1e-300},
}

_FLOOR_OF_LOSSES = (
    "judged by losses alone; optimizer='newton' also goes by gradients and may come nearer"
)


class QuasiNewton:
    """One run of a quasi-Newton method of SciPy.

    Parameters
    ----------
    problem : FixedPointProblem
        What to minimise.
    method : {"BFGS", "L-BFGS-B", "SLSQP"}
        SciPy's name.
    rules : StopRules
        When to stop; they see the loss itself.
    scale : float
        The method sees the loss times this factor.
    """

    def __init__(
        self, problem: FixedPointProblem, method: str, rules: StopRules, scale: float = 1.0
    ) -> None:
        self.problem = problem
        self.method = method
        self.rules = rules
        self.scale = scale
        self.steps = 0
        self.stop: StopReason | None = None
        # the last evaluation: x, loss, gradient
        self._last: tuple[Array, float, Array] | None = None
        self._best: tuple[float, Array, float] = (math.inf, np.empty(0), math.inf)
        self._decrease = math.inf  # decrease of the loss in the last step
        self._promise = math.inf  # the most that another step as long could decrease it
        self._start_loss = math.nan
        self._where = np.empty(0)  # the last accepted point

    def run(self, name: str, x: Array) -> SearchOutcome:
        """Search from ``x`` of shape (n,) until a rule or the method itself stops."""
        statistics = Statistics(name, rejected=None)
        with np.errstate(all="ignore"):
            try:
                with plain_interrupts():
                    self._start(x)
                    self.problem.require_time = self.rules.require_time
                    self._accepted(x)
                    if self.stop is None:
                        message = self._minimise(x)
                        if self.stop is None:
                            self.stop = self._own_reason()
                            statistics.note = _FLOOR_OF_LOSSES if self.stop.converged else message
            except KeyboardInterrupt:
                self.stop = StopReason.INTERRUPTED
            except TimeIsUp:
                self.stop = StopReason.MAX_TIME
            self.problem.require_time = lambda: None
        statistics.stop_reason = self.stop or StopReason.SOLVER_FAILED
        statistics.steps = max(self.steps - 1, 0)
        statistics.gradients = self.problem.gradients
        statistics.wall_time = self.rules.elapsed()
        loss, best, norm = self._best
        theta = np.array(self.problem.theta_of(best))
        return SearchOutcome(theta, loss, norm, _LOSS_ROUNDING * abs(loss), statistics)

    def _minimise(self, x: Array) -> str:
        """Run the library's method from ``x``; returns its own message."""
        from scipy.optimize import minimize

        options = {**_OPTIONS[self.method], "maxiter": 2**31 - 1}
        found = minimize(
            self._function,
            x,
            jac=True,
            method=self.method,
            callback=self._callback,
            options=options,
        )
        return str(found.message)

    def _start(self, x: Array) -> None:
        start = self.problem.evaluate(x, 1)
        self.problem.require_finite(x, start)
        self._start_loss = start.value
        self._last = (np.array(x), start.value, np.array(start.g))

    def _function(self, x: Array) -> tuple[float, Array]:
        found = self.problem.evaluate(x, 1)
        # the line searches come back from a high loss, but not from an infinite one
        if not is_finite(found):
            return self.scale * (
                self._start_loss + 1e6 * (1.0 + abs(self._start_loss))
            ), np.zeros_like(x)
        self._last = (np.array(x), found.value, np.array(found.g))
        return self.scale * self._last[1], self.scale * self._last[2]

    def _callback(self, intermediate_result: Any) -> None:
        self._accepted(intermediate_result.x)
        if self.stop is not None:
            raise StopIteration

    def _accepted(self, x: Array) -> None:
        if self._last is None or not (self._last[0] == x).all():
            self._function(x)
        assert self._last is not None
        _, loss, gradient = self._last
        norm = float(np.abs(gradient).max())
        self._decrease = self._best[0] - loss
        self._promise = (
            float(np.linalg.norm(gradient) * np.linalg.norm(x - self._where))
            if self.steps
            else math.inf
        )
        self._where = np.array(x)
        if self._is_better(x, loss, norm):
            self._best = (loss, np.array(x), norm)
        theta = self.problem.theta_of(np.array(x))
        self.stop = self.rules.check(Progress("newton", self.steps, math.nan, theta, loss, norm))
        self.steps += 1

    def _is_better(self, x: Array, loss: float, norm: float) -> bool:
        """Whether this point is better than the best one: losses that agree to rounding say
        nothing, then the smaller gradient decides.
        """
        best, _, least = self._best
        if not math.isfinite(best):
            return True
        noise = max(_LOSS_ROUNDING * abs(best), self.problem.loss_noise(x, loss) or 0.0)
        return norm < least if abs(loss - best) <= noise else loss < best

    def _own_reason(self) -> StopReason:
        """SciPy stopped by itself: because the loss does not change any more, or because a line
        search failed.
        """
        loss, best, norm = self._best
        if norm <= self.rules.min_gradient_norm:
            return StopReason.MIN_GRADIENT_NORM
        noise = max(10 * _EPS * abs(loss), self.problem.loss_noise(best, loss) or 0.0)
        at_floor = abs(self._decrease) <= noise or self._promise <= noise
        found = curvature_at(self.problem, best)
        if found is not None:
            curvatures = np.diagonal(found.H)
            at_floor |= is_hidden(found.value, found.g, curvatures, best, GRADIENT_FLOOR, 0.0)
            at_floor &= not promises_more(found, best)
        return StopReason.ROUNDING_FLOOR if at_floor else StopReason.LINE_SEARCH


class NloptSlsqp(QuasiNewton):
    """NLopt's SLSQP. It reports no steps: every evaluation with a new lowest loss counts as one."""

    def __init__(self, problem: FixedPointProblem, rules: StopRules, scale: float = 1.0) -> None:
        super().__init__(problem, "NLopt SLSQP", rules, scale)

    def _minimise(self, x: Array) -> str:
        import nlopt

        search = nlopt.opt(nlopt.LD_SLSQP, len(x))
        search.set_min_objective(self._nlopt_function)
        try:
            search.optimize(x)
        except nlopt.ForcedStop:
            return "stopped by a rule"
        except (
            nlopt.RoundoffLimited,
            RuntimeError,
        ) as error:  # RuntimeError: NLopt's generic failure
            if not str(error).startswith("nlopt"):
                raise
            return str(error)
        return f"NLopt's result {search.last_optimize_result()}"

    def _nlopt_function(self, x: Array, gradient: Array) -> float:
        import nlopt

        value, slope = self._function(np.array(x))
        if gradient.size:
            gradient[:] = slope
        if self._last is not None and self._last[1] < self._best[0] and (self._last[0] == x).all():
            self._accepted(self._last[0])
            if self.stop is not None:
                raise nlopt.ForcedStop
        if self.rules.elapsed() >= self.rules.max_time:
            self.stop = StopReason.MAX_TIME
            raise nlopt.ForcedStop
        return float(value)
