"""Looks for ends at infinity while a search of fixed points goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import counted
from ..fixedpoints import SearchOutcome
from ..fixedpoints.problem import DENSE
from ..stopping import Progress, StopReason, StopRules
from .limit import Found, Verdict, find_limit, is_covered, is_zero

#: steps of a search after which it is looked for the first time; then whenever they have doubled
_FIRST = 100
#: steps that one look may take, and not more than the search has taken
_STEPS = 150
#: a loss so much lower is worth a leap while a search goes on
_MUCH_LOWER = 0.1
#: ends of a search that are none of a path to infinity, or leave no time to look
_NO_LOOK = (
    StopReason.MIN_LOSS,
    StopReason.CALLBACK,
    StopReason.INTERRUPTED,
    StopReason.NON_FINITE,
    StopReason.MAX_TIME,
    StopReason.CHANNEL,
)


class Lookout:
    """Looks from the point of a search whether its path ends at infinity.

    Parameters
    ----------
    objective : Objective
        What is minimised; nothing is looked for where :func:`is_covered` says no.
    free : (P,) boolean array
        Parameters that may move.
    rules : StopRules
        Of the search.
    """

    def __init__(self, objective: Any, free: NDArray[np.bool_], rules: StopRules) -> None:
        self.objective = objective
        self.free = free
        self.rules = rules
        self.next = _FIRST
        self.steps = 0
        self.found: Found | None = None
        self.watches = bool(free.sum() <= DENSE) and is_covered(objective)

    def __call__(self, now: Progress) -> StopReason | None:
        """For the stop rules: the reason to stop, after so many steps that a look is due."""
        self.steps += 1
        if not self.watches or self.steps < self.next:
            return None
        self.next *= 2
        found = self._look(now.theta)
        if found is None:
            return None
        ends = found.verdict is Verdict.AT_INFINITY
        if ends or (found.verdict is Verdict.NEARER and found.loss < _MUCH_LOWER * now.loss):
            self.found = found
            return StopReason.CHANNEL
        return None

    def after(self, outcome: SearchOutcome) -> Found | None:
        """What is behind the end of a search, or None where there is no reason to look."""
        reason = outcome.statistics.stop_reason
        if self.found is None and self.watches and reason not in _NO_LOOK:
            if reason.converged and is_zero(self.objective, outcome.theta, outcome.loss):
                return None
            try:
                self.found = self._look(outcome.theta)
            except KeyboardInterrupt:
                outcome.statistics.stop_reason = StopReason.INTERRUPTED
        return self.found

    def _look(self, theta: NDArray[np.float64]) -> Found | None:
        given = self.rules
        limits = StopRules(
            max(given.max_time - given.elapsed(), 0.0),
            min(_STEPS, max(self.steps, _FIRST)),
            min_loss=-np.inf,
            min_gradient_norm=given.min_gradient_norm,
            patience=_STEPS,
        )
        return find_limit(self.objective, np.array(theta), self.free, limits)


def ended_at(outcome: SearchOutcome, found: Found, objective: Any, free: Any) -> SearchOutcome:
    """The outcome of a search whose path ends at infinity: the lowest point that was seen."""
    statistics = outcome.statistics
    statistics.stop_reason = StopReason.CHANNEL
    steps = counted(found.statistics.steps, "step")
    statistics.note = "; ".join(
        filter(None, (statistics.note, f"{found.limit}; {steps} in regular coordinates"))
    )
    statistics.gradients += found.statistics.gradients
    statistics.hessians += found.statistics.hessians
    here = objective.evaluate(found.theta, 1)
    norm = float(np.abs(here.g[free]).max(initial=0.0))
    return SearchOutcome(found.theta, here.value, norm, outcome.loss_noise, statistics, found.limit)
