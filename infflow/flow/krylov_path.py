"""Curvature and the rest of a path from Hessian-vector products, where a Hessian is too large.

Everything is measured in units of the tolerances: with the weights w_i = atol_i + rtol |z_i| and z
= w y, the gradient is w g and the Hessian w H w, whose negative eigenvalues are as many as those of
H (Sylvester's law of inertia).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh_tridiagonal

from .._validation import Array
from .problem import FlowEvaluation, FlowProblem

#: products with random signs that tell the diagonal of the Hessian and its norm
_PROBES = 10
#: iterations of conjugate gradients at most, and so many before the rounding error of the gradient
#: is asked for
MOST_ITERATIONS = 300
_BEGINNING = 8
#: steps of Lanczos' method. Among eigenvalues of all sizes it sees a negative one of a
#: ten-thousandth of the largest, one that is isolated at a millionth and below
LANCZOS_STEPS = 300
_EPS = float(np.finfo(float).eps)


class KrylovModel:
    """The quadratic model at one point.

    Parameters
    ----------
    problem : FlowProblem
        Whose products are taken.
    evaluation : FlowEvaluation
        At the point.
    z : (n,) array
        The point.
    """

    def __init__(self, problem: FlowProblem, evaluation: FlowEvaluation, z: Array) -> None:
        self.problem = problem
        self.evaluation = evaluation
        self.z = z
        self._product = problem.linearize_loss(z)
        self._weights = problem.loss_atol + problem.rtol * np.abs(z)
        self._probed: tuple[Array, float] | None = None

    @property
    def diagonal(self) -> Array:
        """Size of the diagonal of the Hessian (n,), estimated (M. Hutchinson, Comm. Statist. Simul.
        18 (1989) 1059).
        """
        return self._probe()[0]

    @property
    def norm(self) -> float:
        """Frobenius norm of the Hessian, estimated likewise."""
        return self._probe()[1]

    def _probe(self) -> tuple[Array, float]:
        if self._probed is None:
            rng = np.random.default_rng(0)
            n = len(self.z)
            total = np.zeros(n)
            squares = 0.0
            for _ in range(_PROBES):
                signs = rng.choice([-1.0, 1.0], n)
                product = self._product(signs)
                total += signs * product
                squares += float(product @ product)
            self._probed = np.abs(total) / _PROBES, math.sqrt(squares / _PROBES)
        return self._probed

    def rest(self, noise: Callable[[], Array], longest: float) -> tuple[Array, bool]:
        """The Newton step (n,) in the directions of positive curvature that the gradient has, by
        conjugate gradients.

        Parameters
        ----------
        noise : callable
            Gives the rounding error (n,) of the gradient; where nothing but that is left, the step
            is complete.
        longest : float
            The step is given up when it is longer than this, in units of the tolerances (root mean
            square).

        Returns
        -------
        step, complete : (n,) array, bool
            Not complete: it is longer, or meets curvature that is not positive, or cannot be had
            in :data:`MOST_ITERATIONS`.
        """
        w, n = self._weights, len(self.z)
        y = np.zeros(n)
        residual = -w * self.evaluation.gradient
        direction = residual.copy()
        square = float(residual @ residual)
        steepest = 0.0
        floor = -1.0  # rounding of the norm of the residual; unknown at first
        for iteration in range(MOST_ITERATIONS):
            if iteration == _BEGINNING:
                floor = 4.0 * float(np.linalg.norm(w * noise()))
            if math.sqrt(square) <= floor or square == 0.0:
                return w * y, True
            bent = w * self._product(w * direction)
            curvature = float(direction @ bent)
            length = float(direction @ direction)
            steepest = max(steepest, curvature / length)
            if not curvature > n * _EPS * steepest * length:
                return w * y, False
            y += square / curvature * direction
            residual -= square / curvature * bent
            if not np.linalg.norm(y) <= longest * math.sqrt(n):
                return w * y, False
            before = square
            square = float(residual @ residual)
            direction = residual + square / before * direction
        return w * y, False

    def is_saddle(self) -> bool:
        """Whether there is negative curvature beyond rounding, as far as Lanczos' method from a
        random vector sees; True if undefined.
        """
        w, n = self._weights, len(self.z)
        v = np.random.default_rng(1).standard_normal(n)
        v /= np.linalg.norm(v)
        last = np.zeros(n)
        beta = 0.0
        alphas: list[float] = []
        betas: list[float] = []
        for _ in range(min(LANCZOS_STEPS, n)):
            image = w * self._product(w * v) - beta * last
            alpha = float(image @ v)
            image -= alpha * v
            alphas.append(alpha)
            beta = float(np.linalg.norm(image))
            if not math.isfinite(alpha + beta):
                return True
            if beta <= n * _EPS * max(map(abs, alphas)):
                break
            betas.append(beta)
            last = v
            v = image / beta
        values = eigh_tridiagonal(alphas, betas[: len(alphas) - 1], eigvals_only=True)
        return bool(values[0] < -n * _EPS * np.abs(values).max())
