"""Gear's method: backward differentiation formulas of variable order and step, for symmetric
Jacobians.

C. W. Gear, Numerical Initial Value Problems in Ordinary Differential Equations (Prentice-Hall
1971), chapter 9, with the step and order selection of K. Radhakrishnan and A. C. Hindmarsh, LLNL
report UCRL-ID-113855 (1993). The last steps are kept as the Taylor polynomial at the last point
(Nordsieck's form), which changes of the step size rescale.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..stopping import StopReason
from .control import initial_step
from .factorization import Factors
from .gear_kernels import correct, difference, moved, newton_residual, predict, rescale
from .integrator import Step, StepFailed, check_time, is_finite, restored, underflows
from .problem import FlowEvaluation, FlowProblem

MAX_ORDER = 5
#: a factorisation is used while its shift differs by at most this part from the one that is needed
_SAME_STEP = 0.3
#: a Hessian of this age, in steps, is renewed when there is something to factorise anyway
_YOUNG = 20
#: a Hessian of this age is renewed in any case; where Newton's method fails with a younger one,
#: that age becomes the limit, which grows again with every Hessian that reaches it
_OLD = 50
#: a Hessian with its factorisation costs about one gradient per so many parameters: the dearer it
#: is, the milder are the limits of its age and of Newton iterations
_DEAR = 100
#: negative eigenvalues smaller than this part of the largest do not limit the step: along a valley,
#: curvatures have errors of both signs
_WEAK = 1e-9
#: Newton iterations end when their remaining error is this part of the error that a step may have,
#: or when there is no hope for that
_NEWTON_PART = 0.05
_MOST_ITERATIONS = 4
#: expected rate of convergence with a new factorisation
_FIRST_RATE = 0.1
#: how much of the last rate is believed to be left
_FORGET = 0.2
#: divisors of the step sizes that the errors allow, for the same, a lower and a higher order
_SAME = 1.2
_LOWER = 1.3
_HIGHER = 1.4
#: steps become longer by at least this factor, or keep their size
_LEAST_GROWTH = 1.2
#: larger factors save no steps on smooth paths, and Newton's method fails after them in curved
#: valleys
_MOST_GROWTH = 1.5
#: the first steps begin very short, and may grow by more
_FIRST_GROWTH = 1e4
_FIRST_STEPS = 10


class _Formula(NamedTuple):
    """Backward differentiation formula in Nordsieck's form."""

    #: how a change of the new point changes the polynomial, (order + 1,): the coefficients of
    #: prod_i (1 + x/i)
    shape: Array
    lead: float  #: how much h y' changes with the new point
    error: float  #: local error per difference of corrected and predicted point


def _formula(order: int) -> _Formula:
    shape = np.ones(1)
    for i in range(1, order + 1):
        shape = np.convolve(shape, [1.0, 1.0 / i])
    return _Formula(shape, float(shape[1]), 1.0 / (order + 1))


_FORMULAS = {order: _formula(order) for order in range(1, MAX_ORDER + 1)}


class NewtonState(NamedTuple):
    """Matrix and history of Newton's method."""

    hessian: Array | None = None  #: Hessian in use, (n, n)
    made: int = 0  #: steps before the Hessian was made
    shift: float = math.nan  #: shift of the factorisation in use
    factorizations: int = 0
    age_limit: float = float(_OLD)  #: steps after which the Hessian is renewed
    extra: int = 0  #: iterations beyond one per step since the Hessian was made
    rate: float = _FIRST_RATE  #: rate of convergence


class GearState(NamedTuple):
    """All that later steps depend on."""

    t: float
    h: float  #: size of the next step
    order: int  #: order of the next step
    #: rows up to ``order``: the Taylor polynomial at the last point in powers of (time - t)/h,
    #: shape (MAX_ORDER + 1, n)
    history: Array
    change: Array | None = None  #: corrected minus predicted point of the last step, (n,)
    before: Array | None = None  #: the change before, if size and order are the same
    error: float = 0.0  #: norm of the error estimate of the last step
    wait: int = 2  #: steps until size and order are looked at
    steps: int = 0
    rejected: int = 0
    newton: NewtonState = NewtonState()

    @property
    def factorizations(self) -> int:
        """Factorisations so far."""
        return self.newton.factorizations


#: solution by Newton's method: the point, and the last evaluation with its own point
_Solution = tuple[Array, FlowEvaluation, Array]


class GearBdf:
    """Variable-order BDF (orders 1 to 5) with Cholesky factorisations of the shifted Hessian.

    Parameters
    ----------
    problem : FlowProblem
        The flow.
    z, evaluation : (n,) array, FlowEvaluation
        Start, with value and gradient.
    max_order : int
        Highest order of the formulas.
    first_step, max_step : float
        0 for a choice of its own; no limit by default.
    t : float
        Time at the start.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        max_order: int = MAX_ORDER,
        first_step: float = 0.0,
        max_step: float = math.inf,
        t: float = 0.0,
    ) -> None:
        self.problem = problem
        self._max_order = max_order
        self._max_step = max_step
        self._first = min(
            first_step or initial_step(problem, z, evaluation.gradient, 1, None), max_step
        )
        history = np.zeros((MAX_ORDER + 1, problem.size))
        history[0] = z
        history[1] = -self._first * evaluation.gradient
        self.state = GearState(t, self._first, 1, history)
        dear = problem.size / _DEAR
        self._allowed_extra = 1.0 + dear
        self._aging = 1.02 + 0.06 * dear
        self._factors: Factors | None = None  # shift I + H of the state; None: to be made
        # within a step
        self._ahead = np.empty_like(history)
        self._failures = 0
        self._left_domain = False

    def advance(self, t_end: float) -> Step:
        """One accepted step; size and order for it are chosen from the last one."""
        state = self.state
        t0 = state.t
        if state.wait <= 0 and state.change is not None:
            state = self._chosen(state, state.change)
        self._failures = 0
        self._left_domain = False
        while True:
            state, t = _aimed(state, t_end)
            predict(state.history, state.order, self._ahead)
            state, solution = self._solve(state)
            if solution is None:
                continue
            formula = _FORMULAS[state.order]
            point, nearby, at = solution
            change, error = difference(point, self._ahead, self.problem.atol, self.problem.rtol)
            error *= formula.error
            if not error <= 1.0:
                state = self._after_error(state, error)
                continue
            evaluation, exact = self.problem.accepted(point, nearby, at)
            if is_finite(evaluation):
                break
            self._left_domain = True
            state = self._shortened(state, 0.25)
        history = np.zeros(state.history.shape)
        correct(self._ahead, state.order, formula.shape, change, history)
        _, h, order, _, before, _, _, wait, steps, rejected, newton = state
        self.state = state = GearState(
            t, h, order, history, change, before, error, wait - 1, steps + 1, rejected, newton
        )
        return Step(t0, t, point, evaluation, partial(_interpolated, state), exact)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there, with the same factorisation."""
        state = restored(self.state, saved, self.problem.size)
        if state.order not in _FORMULAS:
            raise ValueError("order")
        newton = state.newton
        if newton.hessian is not None and math.isfinite(newton.shift):
            self._factors = self.problem.factorize(newton.hessian, newton.shift)
        self.state = state

    # ------------------------------------------------------------------------------------------
    # Newton's method

    def _solve(self, state: GearState) -> tuple[GearState, _Solution | None]:
        """The point that the formula defines; None after a failure, with a state to try again from.

        Its slope y' differs from the predicted one by shift = lead / h times what y differs from
        the predicted point.
        """
        problem = self.problem
        h = state.h
        formula = _FORMULAS[state.order]
        shift = formula.lead / h
        state, evaluation = self._prepared(state, shift)
        if self._factors is None:
            return self._after_failure(state), None
        solve = self._factors.solve
        # with a factorisation for another step this is the best factor for fast and slow components
        # together
        newton = state.newton
        damping = 2.0 / (1.0 + shift / newton.shift)
        rate = newton.rate
        at = self._ahead[0].copy()
        before = math.inf
        for iteration in range(_MOST_ITERATIONS):
            if evaluation is None:
                evaluation = problem.evaluate(at, 1)
            change = solve(newton_residual(self._ahead, at, evaluation.gradient, shift, h))
            point, size = moved(at, change, damping, problem.atol, problem.rtol)
            size *= formula.error
            if iteration:
                rate = max(_FORGET * rate, size / before)
            if size * min(1.0, rate) <= _NEWTON_PART:
                if iteration:
                    newton = newton._replace(extra=newton.extra + iteration, rate=rate)
                    state = state._replace(newton=newton)
                return state, (point, evaluation, at)
            if (
                not size < before
                or size * (size / before) ** (_MOST_ITERATIONS - 1 - iteration) > _NEWTON_PART
            ):
                break
            at = point
            before = size
            evaluation = None
        self._left_domain |= not math.isfinite(size)
        return self._after_failure(state), None

    def _prepared(self, state: GearState, shift: float) -> tuple[GearState, FlowEvaluation | None]:
        """Hessian and factorisation renewed where they are too old; the evaluation if there was
        one.
        """
        newton = state.newton
        age = state.steps - newton.made
        aged = age >= round(newton.age_limit)
        old = newton.hessian is None or aged or newton.extra > self._allowed_extra
        same = abs(newton.shift / shift - 1.0) <= _SAME_STEP  # False at the start
        if self._factors is not None and same and not old:
            return state, None
        evaluation = None
        if old or age >= _YOUNG:
            evaluation = self.problem.evaluate(self._ahead[0].copy(), 2)
            limit = min(self._aging * newton.age_limit, _OLD) if aged else newton.age_limit
            newton = newton._replace(
                hessian=evaluation.hessian, made=state.steps, age_limit=limit, extra=0
            )
        if newton.hessian is None:
            raise StepFailed(StopReason.SOLVER_FAILED, "the objective gives no Hessian")
        self._factors = None
        if np.isfinite(newton.hessian).all():
            self._factors = self._factorized(newton.hessian, shift)
            count = newton.factorizations + 1
            newton = newton._replace(shift=shift, rate=_FIRST_RATE, factorizations=count)
        else:
            self._left_domain = True
            newton = newton._replace(hessian=None)
        return state._replace(newton=newton), evaluation

    def _factorized(self, hessian: Array, shift: float) -> Factors | None:
        """Factors of shift I + H; None where negative eigenvalues of H forbid so long a step.

        With a longer one the formula damps what grows along these directions, and the path would
        stay on a saddle that it has to leave.
        """
        self.problem.require_time()
        factors = self.problem.factorize(hessian, shift)
        if (
            factors is None
            or factors.definite
            or shift <= _WEAK * len(hessian) * np.abs(hessian).max()
        ):
            return factors
        return None

    def _after_failure(self, state: GearState) -> GearState:
        """The formula could not be solved: again with a new Hessian, or with a shorter step if it
        was new.
        """
        self._factors = None
        age = state.steps - state.newton.made
        if age > 0:
            newton = state.newton._replace(hessian=None, age_limit=float(age))
            return state._replace(newton=newton)
        return self._shortened(state, 0.25)

    # ------------------------------------------------------------------------------------------
    # step size and order

    def _shortened(self, state: GearState, ratio: float) -> GearState:
        """With a shorter step after a failure, or the end."""
        state = _resized(state, ratio)._replace(rejected=state.rejected + 1, wait=state.order + 2)
        if underflows(state.h, state.t, self._first):
            reason = StopReason.NON_FINITE if self._left_domain else StopReason.STEP_UNDERFLOW
            where = self.problem.where(state.t, state.history[0])
            self.state = self.state._replace(rejected=state.rejected, newton=state.newton)
            raise StepFailed(reason, f"{where}. {self.problem.outside}".strip())
        return state

    def _after_error(self, state: GearState, error: float) -> GearState:
        """The error was too large: a shorter step, after repeated failures also a new Hessian and
        the lowest order.
        """
        self._failures += 1
        ratio = min(max(_allowed(error, state.order, _SAME), 0.2), 0.9)
        if self._failures >= 2:
            ratio = min(ratio, 0.3)
            state = state._replace(newton=state.newton._replace(hessian=None))
        if self._failures >= 3:
            state = state._replace(order=1)
        return self._shortened(state, ratio)

    def _chosen(self, state: GearState, change: Array) -> GearState:
        """With the size and order of the longest step that the estimated errors allow."""
        k = state.order
        z = state.history[0]
        candidates = {k: _allowed(state.error, k, _SAME)}
        if k > 1:
            lower = math.factorial(k) * state.history[k]
            error = _FORMULAS[k - 1].error * self.problem.error_norm(lower, z, z)
            candidates[k - 1] = _allowed(error, k - 1, _LOWER)
        if k < self._max_order and state.before is not None:
            higher = change - state.before
            error = _FORMULAS[k + 1].error * self.problem.error_norm(higher, z, z)
            candidates[k + 1] = _allowed(error, k + 1, _HIGHER)
        best = max(candidates, key=lambda order: candidates[order])
        most = _MOST_GROWTH if state.steps > _FIRST_STEPS else _FIRST_GROWTH
        ratio = min(candidates[best], most, self._max_step / state.h)
        # at max_step the order may still change
        if (ratio if best == k else candidates[best]) < _LEAST_GROWTH:
            return state._replace(wait=2)
        top = change / math.factorial(best) if best > k else None
        return _resized(state, ratio, best, top)


def _aimed(state: GearState, t_end: float) -> tuple[GearState, float]:
    """With a step that does not pass ``t_end``, and the time of the next point."""
    h = state.h
    left = t_end - state.t
    if h >= left * (1.0 - 1e-10):
        if h != left:
            state = _resized(state, left / h)._replace(h=left)
        return state, t_end
    t = state.t + h
    check_time(t)
    return state, t


def _resized(
    state: GearState, ratio: float, order: int | None = None, top: Array | None = None
) -> GearState:
    """With another step size, or another order, too; ``top`` is the new row of a higher one.

    Differences of steps of the old size say nothing about the order any more.
    """
    t, h, same, history, _, before, error, _, steps, rejected, newton = state
    order = order or same
    history = history.copy()
    if top is not None:
        history[order] = top
    rescale(history, order, ratio)
    return GearState(
        t, h * ratio, order, history, None, before, error, order + 1, steps, rejected, newton
    )


def _interpolated(state: GearState, time: float) -> Array:
    """The point (n,) of the last polynomial at this time."""
    powers = ((time - state.t) / state.h) ** np.arange(state.order + 1)
    found: Array = powers @ state.history[: state.order + 1]
    return found


def _allowed(error: float, order: int, divisor: float) -> float:
    """By what the step size may be multiplied, given the error of this order."""
    return 1.0 / (divisor * error ** (1.0 / (order + 1)) + 1e-6)
