r"""A method of weak order 2 for d theta = -gradient dt + s C(theta)^(1/2) dW, from C alone.

Strang's splitting takes half a step of the drift (by the classical method of order 4), a step of
the noise, and half a step of the drift; it is of weak order 2 where its parts are. For the noise
alone, with delta = s sqrt(h), a step theta -> theta + Delta is, where

    E Delta = 0,      E Delta_i Delta_j = delta^2 C_ij + delta^4/4 sum_kl C_kl d_k d_l C_ij,
    E Delta_i Delta_j Delta_k = delta^4/2 sum_l (C_il d_l C_jk + C_jl d_l C_ik + C_kl d_l C_ij),

and the fourth moments are those of a Gaussian, all up to delta^6 (the Taylor series of exp(h L)
with the generator L = s^2/2 sum C_ij d_i d_j). With standard normal vectors xi and zeta,

    u = delta C(theta)^(1/2) xi / sqrt 2,
    Delta = u + delta (C(theta + u) - C(theta)/2)^(1/2) zeta

has these moments: given u the covariance of the second part is delta^2 (C(theta + u) -
C(theta)/2), whose mean gives the second moment, and whose product with u the third one. So a step
takes two covariances, however many directions the noise has, where methods that differentiate
C^(1/2) take one for each. The root does not have to be smooth, which it is not where C is
singular. For steps so long that C(theta + u) is less than half of C(theta) in a direction, or in
directions that C has at one of the points only, the root is that of the positive part; then there
is an error of the first order in h, times the square of s^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..flow.integrator import Step, StepFailed, check_time, is_finite, restored
from ..flow.problem import FlowEvaluation, FlowProblem
from ..objective import LEFT_DOMAIN
from ..stopping import StopReason


def root(matrix: Array) -> Array:
    """The symmetric root (n, n) of the positive part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    found: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return found


def noise_step(
    covariance: Callable[[Array], Array], z: Array, delta: float, xi: Array, zeta: Array
) -> Array:
    """The point (n,) after a step of the noise alone.

    Parameters
    ----------
    covariance : callable
        C (n, n) at a point (n,).
    z : (n,) array
        Start.
    delta : float
        Size of the noise times the root of the step.
    xi, zeta : (n,) arrays
        Standard normal.
    """
    here = covariance(z)
    first = delta * math.sqrt(0.5) * (root(here) @ xi)
    there = covariance(z + first)
    moved: Array = z + first + delta * (root(there - 0.5 * here) @ zeta)
    return moved


def drift_step(velocity: Callable[[Array], Array], z: Array, slope: Array, h: float) -> Array:
    """One step of the classical Runge-Kutta method, given the velocity (n,) at its start."""
    second = velocity(z + 0.5 * h * slope)
    third = velocity(z + 0.5 * h * second)
    fourth = velocity(z + h * third)
    moved: Array = z + h / 6.0 * (slope + 2.0 * second + 2.0 * third + fourth)
    return moved


class SplittingState(NamedTuple):
    """All that the next steps depend on."""

    k: int  #: steps so far
    z: Array  #: the point, (n,)
    evaluation: FlowEvaluation  #: there
    rejected: int = 0
    factorizations: int = 0  #: eigendecompositions


class Splitting:
    """Drift and noise in turn, with a fixed step.

    The random numbers of step k depend on the seed and k alone, so that a run can go on from any
    step. Between its points the path is a straight line.

    Parameters
    ----------
    problem : FlowProblem
        Its ``evaluate`` gives minus the drift.
    z, evaluation : (n,) array, FlowEvaluation
        Start.
    covariance : callable
        C (P, P) at theta (P,).
    scale : float
        The noise is scale C^(1/2) dW.
    seed : int
    step : float
        Length of a step.
    """

    def __init__(
        self,
        problem: FlowProblem,
        z: Array,
        evaluation: FlowEvaluation,
        covariance: Callable[[Array], Array],
        scale: float,
        seed: int,
        step: float,
    ) -> None:
        self.problem = problem
        self._given = covariance
        self._scale = scale
        self._seed = seed
        self._step = step
        self.state = SplittingState(0, z, evaluation)

    def advance(self, t_end: float) -> Step:
        """One step."""
        state = self.state
        t0 = state.k * self._step
        check_time(t0)
        t = (state.k + 1) * self._step
        # one part in 1e10 more than t_end is the rounding of the product, not another step
        t = t_end if t >= t_end * (1 - 1e-10) else t
        z0 = state.z
        try:
            z, evaluation = self._moved(state, t - t0)
        except LEFT_DOMAIN as error:
            raise self._failure(t0, str(error)) from None
        except np.linalg.LinAlgError:
            raise self._failure(t0, "the covariance of the gradients is not finite") from None
        if not is_finite(evaluation):
            raise self._failure(t0, self.problem.outside)
        count = state.factorizations + 2
        self.state = SplittingState(state.k + 1, z, evaluation, 0, count)
        return Step(t0, t, z, evaluation, lambda time: z0 + (time - t0) / (t - t0) * (z - z0))

    def _moved(self, state: SplittingState, h: float) -> tuple[Array, FlowEvaluation]:
        rng = np.random.default_rng([self._seed, state.k])
        xi, zeta = rng.standard_normal((2, len(state.z)))
        z = drift_step(self._velocity, state.z, -state.evaluation.gradient, 0.5 * h)
        z = noise_step(self._covariance, z, self._scale * math.sqrt(h), xi, zeta)
        z = drift_step(self._velocity, z, self._velocity(z), 0.5 * h)
        return z, self.problem.evaluate(z, 1)

    def _velocity(self, z: Array) -> Array:
        return -self.problem.evaluate(z, 1).gradient

    def _covariance(self, z: Array) -> Array:
        """C of the free parameters, in the variables of the integrator."""
        problem = self.problem
        problem.require_time()
        full = np.asarray(self._given(np.array(problem.theta_of(z))), dtype=float)
        chosen = full if problem.all_free else full[np.ix_(problem.free, problem.free)]
        scaled: Array = problem.scale[:, None] * chosen * problem.scale
        if not np.isfinite(scaled).all():
            raise FloatingPointError("the covariance of the gradients is not finite")
        return scaled

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.state = restored(self.state, saved, self.problem.size)

    def _failure(self, t: float, why: str) -> StepFailed:
        where = self.problem.where(t, self.state.z)
        note = f"{where}: the noise or the step {self._step:g} is probably too large. {why}".strip()
        return StepFailed(StopReason.NON_FINITE, note)
