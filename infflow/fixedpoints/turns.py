"""Newton's method and Levenberg-Marquardt in turns.

Newton's method converges quadratically, and is slow in curved canyons, where Levenberg-Marquardt
with its geodesic acceleration is fast; that one converges linearly where the loss is not small. So
where nobody has asked for one of them, each gets as many steps as the other until one arrives. Once
the loss is nearly zero, Levenberg-Marquardt goes on alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._validation import Array
from ..stopping import Progress, StopReason, StopRules
from .methods import OPTIMIZERS, Optimizer, choose_optimizer, squares_floor
from .problem import DENSE, FixedPointProblem
from .trust_region import SearchOutcome

#: steps of the first turn, which double whenever all have had theirs
_FIRST = 500


def turns_of(problem: FixedPointProblem, x: Array, chosen: Optimizer) -> tuple[Optimizer, ...]:
    """The methods that take turns where ``chosen`` is what "auto" takes at ``x`` (n,)."""
    if chosen.name != "newton" or len(x) > DENSE or squares_floor(problem, x) is None:
        return (chosen,)
    return (chosen, OPTIMIZERS["levenberg_marquardt"])


def search_in_turns(
    methods: tuple[Optimizer, ...],
    problem: FixedPointProblem,
    x: Array,
    rules: StopRules,
    **options: Any,
) -> SearchOutcome:
    """Search from ``x`` (n,) by one method, or by several that take turns.

    Options are those of the first, and several have none.
    """
    if len(methods) == 1:
        return methods[0].run(problem, x, rules, **options)
    user = rules.callback
    most = rules.max_steps
    steps = 0
    turn = 0
    found: SearchOutcome | None = None
    while True:
        now = FixedPointProblem(problem.objective, problem.theta0, problem.is_free)  # new counters
        method = methods[turn % len(methods)]
        left = most - steps
        length = _FIRST * 2 ** (turn // len(methods))
        if turn and choose_optimizer(now, x) is not methods[0]:
            method, length = methods[1], left
        rules.max_steps = min(length, left)
        rules.callback = counting_on(user, steps)
        before = found
        found = method.run(now, x, rules)
        if before is not None:
            _join(found, before)
        rules.best_step -= found.statistics.steps - steps
        steps = found.statistics.steps
        x = problem.z_of(found.theta)
        turn += 1
        if found.statistics.stop_reason is not StopReason.MAX_STEPS or steps >= most:
            rules.callback, rules.max_steps = user, most
            return found


def counting_on(
    user: Callable[[Progress], Any] | None, before: int
) -> Callable[[Progress], Any] | None:
    """The callback of a search that goes on after so many steps: it sees one search."""
    if user is None or not before:
        return user
    return lambda now: user(now._replace(step=before + now.step)) if now.step else None


def _join(found: SearchOutcome, before: SearchOutcome) -> None:
    """Count what earlier turns did, and keep their point where this one found no lower one."""
    statistics = found.statistics
    name = before.statistics.method
    if statistics.method not in name.split(", "):
        name = f"{name}, {statistics.method}"
    statistics.add(before.statistics, "")
    statistics.wall_time -= before.statistics.wall_time  # the rules count for all turns together
    statistics.method = name
    if before.loss < found.loss - max(found.loss_noise, before.loss_noise):
        found.theta, found.loss = before.theta, before.loss
        found.gradient_norm = before.gradient_norm
