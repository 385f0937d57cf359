"""The stepper of the explicit Runge-Kutta family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._validation import Array
from .onestep import Attempt, NoMemory
from .problem import FlowEvaluation, FlowProblem
from .tableaus import ExplicitTableau, dense_weights


def explicit_step(
    tableau: ExplicitTableau,
    evaluate: Callable[[Array], FlowEvaluation],
    z: Array,
    h: float,
    slopes: Array,
) -> Attempt:
    """One explicit Runge-Kutta step of dz/dt = -gradient(z).

    Parameters
    ----------
    tableau : ExplicitTableau
        With s stages.
    evaluate : callable
        Value and gradient at a point of shape (n,).
    z : (n,) array
        Start of the step.
    h : float
        Step size.
    slopes : (s, n) array
        Row 0 holds the gradient at ``z``; the other rows are overwritten with those of the stages.
    """
    evaluation = None
    stage = z
    for i in range(1, len(slopes)):
        stage = z - (h * tableau.a[i, :i]) @ slopes[:i]
        evaluation = evaluate(stage)
        slopes[i] = evaluation.gradient
    return Attempt(stage, None if tableau.e is None else (h * tableau.e) @ slopes, evaluation)


class ExplicitFamily:
    """An explicit Runge-Kutta method on one problem: owns the array of the stage slopes."""

    uses_hessian = False
    factorizations = 0
    memory = NoMemory()

    def __init__(self, problem: FlowProblem, tableau: ExplicitTableau) -> None:
        self.tableau = tableau
        self._evaluate = lambda z: problem.evaluate(z, 1)
        self._slopes = np.empty((len(tableau.a), problem.size))

    def attempt(self, z: Array, evaluation: FlowEvaluation, h: float, memory: NoMemory) -> Attempt:
        """One step of size ``h`` from ``z`` with the evaluation there."""
        self._slopes[0] = evaluation.gradient
        return explicit_step(self.tableau, self._evaluate, z, h, self._slopes)

    def interpolate(self, z: Array, z1: Array, h: float, fraction: float) -> Array:
        """The point at this fraction of the last step from ``z`` to ``z1``, shape (n,)."""
        return z - (h * dense_weights(self.tableau.dense, fraction)) @ self._slopes
