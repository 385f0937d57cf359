"""The stepper of the diagonally implicit Runge-Kutta family, for the symmetric Jacobian of a
gradient flow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._validation import Array
from .factorization import Factors
from .onestep import Attempt
from .problem import FlowEvaluation, FlowProblem
from .step_kernels import newton_iteration, stage_start
from .tableaus import ImplicitTableau, dense_weights

#: Newton iterations of a stage end when their remaining error is this part of the tolerance
_NEWTON_PART = 0.01
#: iterations that no longer shrink are at rounding if they are below this part
_ROUNDING = 0.1
_MOST_ITERATIONS = 10
#: a factorisation is used again while the step has changed by less than this factor
_SAME_STEP = 1.2
#: a Hessian is kept while the stages of the last step took at most this many iterations on average
_FEW_ITERATIONS = 1.5


class ImplicitMemory(NamedTuple):
    """The matrix of Newton's method, and whether it still serves."""

    hessian: Array | None = None  #: at the start of this attempt or of an earlier one, (n, n)
    shift: float = math.nan  #: shift of the factorisation in use
    iterations: int = 0  #: Newton iterations in all stages of the last attempt


class ImplicitFamily:
    """An ESDIRK method on one problem: owns Hessian, factorisation and stages, and counts.

    Stages are solved by simplified Newton iterations with I/(gamma h) + H. The Hessian is taken
    anew when the iterations of the last step were many, and the factorisation is used again while
    the step hardly changes.
    """

    uses_hessian = False  # it asks for one itself, when it needs it

    def __init__(self, problem: FlowProblem, tableau: ImplicitTableau) -> None:
        self.problem = problem
        self.tableau = tableau
        self.factorizations = 0
        self._slopes = np.empty((len(tableau.a), problem.size))
        self._points = np.empty_like(self._slopes)
        c = tableau.c
        self._nearest = [int(np.abs(c[:i] - c[i]).argmin()) if i else 0 for i in range(len(c))]
        self.memory = ImplicitMemory()
        self._factors: Factors | None = None  # shift I + hessian, factorised
        self._hessian_at: Array | None = None
        self._iterations = 0
        self._left_domain = False

    def attempt(
        self, z: Array, evaluation: FlowEvaluation, h: float, memory: ImplicitMemory
    ) -> Attempt:
        """One step of size ``h`` from ``z``; if its iterations fail with an old Hessian, again with
        a new one.
        """
        if self._factors is None and memory.hessian is not None and math.isfinite(memory.shift):
            # memory from a checkpoint
            self._factors = self.problem.factorize(memory.hessian, memory.shift)
        many = memory.iterations > _FEW_ITERATIONS * (len(self._slopes) - 1)
        fresh = memory.hessian is None or (many and self._hessian_at is not z)
        while True:
            memory = self._prepared(memory, z, h, fresh)
            found = False
            if self._factors is not None:
                found = self._stages(z, evaluation, h, memory.shift)
                memory = memory._replace(iterations=self._iterations)
            if found or self._hessian_at is z:
                break
            fresh = True
        if not found:
            # an undefined error, or one that asks for the strongest reduction of the step
            error = np.full_like(z, math.nan if self._left_domain else 1e100)
            return Attempt(z, error, memory=memory)
        assert self._factors is not None
        error = (h * self.tableau.e) @ self._slopes
        # through the inverse of I + gamma h H, which tames the estimate of the fast components
        tamed = self._factors.solve(error) * memory.shift
        return Attempt(self._points[-1].copy(), tamed, memory=memory)

    def _prepared(self, memory: ImplicitMemory, z: Array, h: float, fresh: bool) -> ImplicitMemory:
        """Hessian and factors for a step of size ``h``; no factors if the matrix is singular."""
        shift = 1.0 / (self.tableau.gamma * h)
        if fresh:
            hessian = self.problem.evaluate(z, 2).hessian
            assert hessian is not None
            memory = memory._replace(hessian=hessian)
            self._hessian_at = z
            self._left_domain = not np.isfinite(hessian).all()
            if self._left_domain:
                self._factors = None
                return memory
        ratio = shift / memory.shift
        if fresh or self._factors is None or not 1 / _SAME_STEP < ratio < _SAME_STEP:
            assert memory.hessian is not None
            self.factorizations += 1
            self._factors = self.problem.factorize(memory.hessian, shift)
            memory = memory._replace(shift=shift)
        return memory

    def _stages(self, z: Array, evaluation: FlowEvaluation, h: float, factorized: float) -> bool:
        """Fill slopes and points, with the factors of this shift; False if an iteration fails."""
        a = self.tableau.a
        c = self.tableau.c
        gamma = self.tableau.gamma
        np.negative(evaluation.gradient, out=self._slopes[0])
        self._points[0] = z
        self._iterations = 0
        self._left_domain = False
        for i in range(1, len(a)):
            near = self._nearest[i]  # start from the nearest point and its slope
            ahead = h * (c[i] - c[near])
            base, point = stage_start(z, a, i, h, self._slopes, self._points, near, ahead)
            if not self._newton(base, point, gamma * h, factorized):
                return False
            self._points[i] = point
            self._slopes[i] = (point - base) / (gamma * h)
        return True

    def _newton(self, base: Array, point: Array, gamma_h: float, factorized: float) -> bool:
        """Solve point = base - gamma_h gradient(point) in place; whether the iteration
        converged.
        """
        assert self._factors is not None
        solve, upper, _ = self._factors
        problem = self.problem
        shift = 1.0 / gamma_h
        # with a factorisation for another step this is the best factor for fast and slow components
        # together
        damping = 2.0 / (1.0 + shift / factorized)
        before = math.inf
        for _ in range(_MOST_ITERATIONS):
            gradient = problem.evaluate(point, 1).gradient
            if upper is not None:
                size = newton_iteration(
                    upper, base, point, gradient, shift, damping, problem.atol, problem.rtol, before
                )
            else:
                change = damping * solve(shift * (base - point) - gradient)
                size = problem.error_norm(change, point, point)
                if size < before:
                    point += change
            self._iterations += 1
            self._left_domain = not math.isfinite(size)
            if not size < before:  # divergence, rounding, or undefined
                return size <= _ROUNDING
            rate = size / before if math.isfinite(before) else 0.5
            if rate / (1.0 - rate) * size <= _NEWTON_PART:
                return True
            before = size
        return False

    def interpolate(self, z: Array, z1: Array, h: float, fraction: float) -> Array:
        """The point at this fraction of the last step from ``z``, shape (n,)."""
        return z + (h * dense_weights(self.tableau.dense, fraction)) @ self._slopes
