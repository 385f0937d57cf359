"""The stepper of the Rosenbrock family, for the symmetric Jacobian of a gradient flow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._validation import Array
from .factorization import Factors
from .onestep import Attempt, NoMemory
from .problem import FlowEvaluation, FlowProblem
from .step_kernels import rosenbrock_stage
from .tableaus import RosenbrockTableau


def rosenbrock_step(
    tableau: RosenbrockTableau,
    gradient: Callable[[Array], Array],
    z: Array,
    gradient0: Array,
    factors: Factors,
    h: float,
    stages: Array,
) -> Attempt:
    """One Rosenbrock step of dz/dt = -gradient(z).

    Parameters
    ----------
    tableau : RosenbrockTableau
        With s stages.
    gradient : callable
        Gradient (n,) at a point (n,).
    z, gradient0 : (n,) arrays
        Start of the step and gradient there.
    factors : Factors
        Of I/(gamma h) + H(z).
    h : float
        Step size.
    stages : (s, n) array
        Overwritten with the stage increments u_i.
    """
    per_step = 1.0 / h
    if factors.upper is not None:
        point = rosenbrock_stage(
            tableau.padded_rows, 0, z, gradient0, per_step, factors.upper, stages
        )
        for i in range(1, len(stages)):
            point = rosenbrock_stage(
                tableau.padded_rows, i, z, gradient(point), per_step, factors.upper, stages
            )
        return Attempt(point, tableau.rows[-1][1] @ stages)
    solve = factors.solve
    stages[0] = solve(-gradient0)
    for i in range(1, len(stages)):
        shift, right = tableau.rows[i] @ stages[:i]
        shift += z
        right *= per_step
        right -= gradient(shift)
        stages[i] = solve(right)
    displacement, error = tableau.rows[-1] @ stages
    return Attempt(z + displacement, error)


class RosenbrockFamily:
    """A Rosenbrock method on one problem: owns the stages and counts the factorisations."""

    uses_hessian = True
    memory = NoMemory()

    def __init__(self, problem: FlowProblem, tableau: RosenbrockTableau) -> None:
        self.tableau = tableau
        self.factorizations = 0
        self._factorize = problem.factorize
        self._gradient = lambda z: problem.evaluate(z, 1).gradient
        self._stages = np.empty((len(tableau.a), problem.size))

    def attempt(self, z: Array, evaluation: FlowEvaluation, h: float, memory: NoMemory) -> Attempt:
        """One step of size ``h`` from ``z`` with gradient and Hessian there; NaN where the matrix
        is singular.
        """
        assert evaluation.hessian is not None
        self.factorizations += 1
        factors = self._factorize(evaluation.hessian, 1.0 / (self.tableau.gamma * h))
        if factors is None:
            failed = np.full_like(z, np.nan)
            return Attempt(failed, failed)
        return rosenbrock_step(
            self.tableau, self._gradient, z, evaluation.gradient, factors, h, self._stages
        )

    def interpolate(self, z: Array, z1: Array, h: float, fraction: float) -> Array:
        """The point at this fraction of the last step from ``z``, shape (n,)."""
        return z + self.tableau.dense_in_stages(fraction) @ self._stages
