"""Gear's method: backward differentiation formulas of variable order and step, for symmetric
Jacobians.

C. W. Gear, Numerical Initial Value Problems in Ordinary Differential Equations (Prentice-Hall
1971), chapter 9, with the step and order selection of K. Radhakrishnan and A. C. Hindmarsh, LLNL
report UCRL-ID-113855 (1993). The last steps are kept as the Taylor polynomial at the last point
(Nordsieck's form), which changes of the step size rescale.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..stopping import StopReason
from .control import initial_step
from .factorization import Factors, factorize_shifted
from .gear_kernels import correct, difference, moved, newton_residual, predict, rescale
from .onestep import Step, StepFailed, check_time, is_finite, underflows
from .problem import FlowEvaluation, FlowProblem

MAX_ORDER = 5
#: a factorisation is used while its shift differs by at most this part from the one that is needed
_SAME_STEP = 0.3
#: a Hessian is used for so many steps when there is something to factorise anyway, and for so many
#: at most. Where Newton's method fails with a Hessian of some age, later ones are not used that
#: long; this limit grows with every Hessian that reaches it. It is also renewed when the Newton
#: iterations beyond one per step have become many. Both are milder the more gradients a Hessian and
#: its factorisation cost: one for every so many parameters, more or less
_YOUNG = 20
_OLD = 50
_DEAR = 100
#: negative eigenvalues smaller than this part of the largest do not limit the step: along a
#: valley, curvatures have errors of both signs
_WEAK = 1e-9
#: Newton iterations end when their remaining error is this part of the error that a step may have,
#: or there is no hope for that
_NEWTON_PART = 0.05
_MOST_ITERATIONS = 4
#: expected rate of convergence with a new factorisation, and how much of the last rate is believed
#: to be left
_FIRST_RATE = 0.1
_FORGET = 0.2
#: divisors of the step sizes that the errors allow, for the same, a lower and a higher order
_SAME = 1.2
_LOWER = 1.3
_HIGHER = 1.4
#: steps become longer by at least and at most this factor; the first ones, which begin very short,
#: by more. Larger factors save no steps on smooth paths and lead to failures of Newton's method in
#: curved valleys
_LEAST_GROWTH = 1.2
_MOST_GROWTH = 1.5
_FIRST_GROWTH = 1e4
_FIRST_STEPS = 10


class _Formula(NamedTuple):
    """Backward differentiation formula in Nordsieck's form."""

    #: how a change of the new point changes the polynomial, (order + 1,): prod_i (1 + x/i) by
    #: powers of x
    shape: Array
    lead: float  #: how much h y' changes with the new point
    error: float  #: local error per difference of corrected and predicted point


def _formula(order: int) -> _Formula:
    shape = np.ones(1)
    for i in range(1, order + 1):
        shape = np.convolve(shape, [1.0, 1.0 / i])
    return _Formula(shape, float(shape[1]), 1.0 / (order + 1))


_FORMULAS = {order: _formula(order) for order in range(1, MAX_ORDER + 1)}


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
        self.t = t
        self.rejected = self.factorizations = 0
        self._max_order = max_order
        self._max_step = max_step
        self.order = 1
        self.h = self._first = min(
            first_step or initial_step(problem, z, evaluation.gradient, 1, None), max_step
        )
        self._history = np.zeros((MAX_ORDER + 1, problem.size))
        self._history[0], self._history[1] = z, -self.h * evaluation.gradient
        self._ahead = np.empty_like(self._history)
        self._change: Array | None = None  # corrected minus predicted point of the last step
        self._before: Array | None = None  # of the step before, if of the same size and order
        self._error = 0.0  # norm of the error estimate of the last step
        self._wait = 2  # steps until size and order are looked at
        self._steps = self._failures = 0
        self._hessian: Array | None = None
        self._factors: Factors | None = None
        self._shift = math.nan
        self._hessian_age = self._extra = 0
        self._age_limit = float(_OLD)
        dear = problem.size / _DEAR
        self._allowed_extra = 1.0 + dear
        self._aging = 1.02 + 0.06 * dear
        self._rate = _FIRST_RATE
        self._left_domain = False

    def advance(self, t_end: float) -> Step:
        """One accepted step; size and order for it are chosen from the last one."""
        if self._change is not None and self._wait <= 0:
            self._choose()
        t0 = self.t
        self._failures = 0
        self._left_domain = False
        while True:
            t = self._aim(t_end)
            predict(self._history, self.order, self._ahead)
            solved = self._solve()
            if solved is None:
                continue
            point, nearby, at = solved
            formula = _FORMULAS[self.order]
            change, error = difference(point, self._ahead, self.problem.atol, self.problem.rtol)
            error *= formula.error
            if error <= 1.0:
                evaluation, exact = self.problem.accepted(point, nearby, at)
                if is_finite(evaluation):
                    break
                self._left_domain = True
                self._shorten(0.25)
            else:
                self._reject(error)
        self.t = t  # before the rest: so a checkpoint can tell that Ctrl-C fell in between
        correct(self._ahead, self.order, formula.shape, change, self._history)
        self._before = self._change
        self._change = change
        self._error = error
        self._steps += 1
        self._wait -= 1
        self._hessian_age += 1
        return Step(t0, t, point, evaluation, self._interpolate, exact)

    # ------------------------------------------------------------------------------------------
    # Newton's method

    def _solve(self) -> tuple[Array, FlowEvaluation, Array] | None:
        """The point that the formula defines, and the last evaluation with its point; None after a
        failure that was dealt with.

        Its slope y' differs from the predicted one by shift = lead / h times what y differs from
        the predicted point.
        """
        formula = _FORMULAS[self.order]
        shift = formula.lead / self.h
        evaluation = self._prepare(shift)
        if self._factors is None:
            self._failed()
            return None
        solve = self._factors.solve
        problem = self.problem
        # with a factorisation for another step this is the best factor for fast and slow components
        # together
        damping = 2.0 / (1.0 + shift / self._shift)
        at = self._ahead[0].copy()
        before = math.inf
        for iteration in range(_MOST_ITERATIONS):
            if evaluation is None:
                evaluation = problem.evaluate(at, 1)
            change = solve(newton_residual(self._ahead, at, evaluation.gradient, shift, self.h))
            point, size = moved(at, change, damping, problem.atol, problem.rtol)
            size *= formula.error
            if iteration:
                self._rate = max(_FORGET * self._rate, size / before)
            if size * min(1.0, self._rate) <= _NEWTON_PART:
                self._extra += iteration
                return point, evaluation, at
            if (
                not size < before
                or size * (size / before) ** (_MOST_ITERATIONS - 1 - iteration) > _NEWTON_PART
            ):
                break
            at = point
            before = size
            evaluation = None
        self._left_domain |= not math.isfinite(size)
        self._failed()
        return None

    def _prepare(self, shift: float) -> FlowEvaluation | None:
        """Hessian and factorisation, where they are too old; the evaluation if there was one."""
        aged = self._hessian_age >= round(self._age_limit)
        old = self._hessian is None or aged or self._extra > self._allowed_extra
        same = abs(self._shift / shift - 1.0) <= _SAME_STEP  # False at the start
        if self._factors is not None and same and not old:
            return None
        evaluation = None
        if old or self._hessian_age >= _YOUNG:
            evaluation = self.problem.evaluate(self._ahead[0].copy(), 2)
            self._hessian = evaluation.hessian
            self._hessian_age = 0
            self._extra = 0
            if aged:
                self._age_limit = min(self._aging * self._age_limit, _OLD)
        if self._hessian is None:
            raise StepFailed(StopReason.SOLVER_FAILED, "the objective gives no Hessian")
        self._shift = shift
        self._rate = _FIRST_RATE
        self._factors = None
        if np.isfinite(self._hessian).all():
            self._factors = self._factorize(self._hessian, shift)
        else:
            self._hessian = None
            self._left_domain = True
        return evaluation

    def _factorize(self, hessian: Array, shift: float) -> Factors | None:
        """Factors of shift I + H; None where negative eigenvalues of H forbid so long a step.

        With a longer one the formula damps what grows along these directions, and the path would
        stay on a saddle that it has to leave.
        """
        self.problem.require_time()
        self.factorizations += 1
        factors = factorize_shifted(hessian, shift)
        if (
            factors is None
            or factors.definite
            or shift <= _WEAK * len(hessian) * np.abs(hessian).max()
        ):
            return factors
        return None

    def _failed(self) -> None:
        """The formula could not be solved: again with a new Hessian, or with a shorter step if it
        was new.
        """
        if self._hessian_age > 0:
            self._hessian, self._age_limit = None, float(self._hessian_age)
        else:
            self._shorten(0.25)
        self._factors = None

    # ----------------------------------------------------------------------------------------- step
    # size and order

    def _aim(self, t_end: float) -> float:
        """The time of the next point; shortens the step to end exactly at ``t_end``."""
        left = t_end - self.t
        if self.h >= left * (1.0 - 1e-10):
            if self.h != left:
                self._resize(left / self.h)
                self.h = left
            return t_end
        t = self.t + self.h
        check_time(t)
        return t

    def _resize(self, ratio: float) -> None:
        """Change the step size; differences of steps of another size say nothing about the order
        any more.
        """
        self.h *= ratio
        self._change = None
        self._wait = self.order + 1
        rescale(self._history, self.order, ratio)  # last: Ctrl-C comes after it, when all is done

    def _shorten(self, ratio: float) -> None:
        """A shorter step after a failure, or the end."""
        self.rejected += 1
        self._resize(ratio)
        self._wait += 1
        if underflows(self.h, self.t, self._first):
            reason = StopReason.NON_FINITE if self._left_domain else StopReason.STEP_UNDERFLOW
            raise StepFailed(
                reason,
                f"{self.problem.where(self.t, self._history[0])}. {self.problem.outside}".strip(),
            )

    def _reject(self, error: float) -> None:
        """The error was too large: a shorter step, after repeated failures also a new Hessian and
        the lowest order.
        """
        self._failures += 1
        ratio = min(max(_allowed(error, self.order, _SAME), 0.2), 0.9)
        if self._failures >= 2:
            ratio = min(ratio, 0.3)
            self._hessian = None
        if self._failures >= 3:
            self.order = 1
        self._shorten(ratio)

    def _choose(self) -> None:
        """Size and order of the next step: those of the longest step that the estimated errors
        allow.
        """
        k = self.order
        problem = self.problem
        z = self._history[0]
        assert self._change is not None
        norm = lambda error: problem.error_norm(error, z, z)  # noqa: E731
        candidates = {k: _allowed(self._error, k, _SAME)}
        if k > 1:
            lower = math.factorial(k) * self._history[k]
            candidates[k - 1] = _allowed(_FORMULAS[k - 1].error * norm(lower), k - 1, _LOWER)
        if k < self._max_order and self._before is not None:
            higher = self._change - self._before
            candidates[k + 1] = _allowed(_FORMULAS[k + 1].error * norm(higher), k + 1, _HIGHER)
        best = max(candidates, key=lambda order: candidates[order])
        most = _MOST_GROWTH if self._steps > _FIRST_STEPS else _FIRST_GROWTH
        ratio = min(candidates[best], most, self._max_step / self.h)
        # steps at their upper limit still come to the order that would allow the longest ones
        if (ratio if best == k else candidates[best]) < _LEAST_GROWTH:
            self._wait = 2
            return
        if best > k:
            self._history[best] = self._change / math.factorial(best)
        self.order = best
        self._resize(ratio)

    def _interpolate(self, time: float) -> Array:
        powers = ((time - self.t) / self.h) ** np.arange(self.order + 1)
        found: Array = powers @ self._history[: self.order + 1]
        return found

    # ----------------------------------------------------------------------------------------------
    # checkpoints

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on; steps change only one of these arrays
        in place.
        """
        return {name: getattr(self, name) for name in _STATE} | {"_history": self._history.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there; the kernels check no bounds, so the sizes are checked here."""
        n = self.problem.size
        shapes = {
            "_history": (MAX_ORDER + 1, n),
            "_change": (n,),
            "_before": (n,),
            "_hessian": (n, n),
        }
        for name, shape in shapes.items():
            if np.shape(state[name]) != shape and (state[name] is not None or name == "_history"):
                raise ValueError(name)
        if state["order"] not in _FORMULAS:
            raise ValueError("order")
        vars(self).update({name: state[name] for name in _STATE})
        if self._hessian is not None and math.isfinite(self._shift):
            self._factors = factorize_shifted(self._hessian, self._shift)


def _allowed(error: float, order: int, divisor: float) -> float:
    """By what the step size may be multiplied, given the error of this order."""
    return 1.0 / (divisor * error ** (1.0 / (order + 1)) + 1e-6)


_STATE = (
    "t",
    "h",
    "order",
    "rejected",
    "factorizations",
    "_history",
    "_change",
    "_before",
    "_error",
    "_wait",
    "_steps",
    "_hessian",
    "_shift",
    "_hessian_age",
    "_age_limit",
    "_extra",
    "_rate",
)
