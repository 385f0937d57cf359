"""Step-size control of the adaptive one-step methods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._validation import Array
from .problem import FlowProblem

#: shortest first step: times below have no relative precision
SMALLEST = 1e-300


@dataclass(frozen=True)
class ControlGains:
    """Gains of a digital filter for the step size (Soderlind, ACM Trans. Math. Software 29 (2003)
    1-26).

    With error norm err (1 is allowed) and k = order of the error estimate, h_new = h
    (safety/err_n)^(b1/k) (safety/err_(n-1))^(b2/k) (h_n/h_(n-1))^(-a). (b1, b2, a) = (0.7, -0.4, 0)
    is the PI controller of explicit methods, which calms the step at the border of stability (no
    rejections there, where the plain rule (1, 0, 0) wastes every fifth step). Late in a gradient
    flow the steps of implicit methods grow steadily; Gustafsson's predictive controller (2, -1, -1)
    follows that, the PI controller lags behind (30 % more steps), and half way between plain and
    predictive gave the fewest attempts on networks.
    """

    b1: float
    b2: float
    a: float
    safety: float = 0.6
    smallest: float = 0.2
    largest: float = 8.0


PI = ControlGains(0.7, -0.4, 0.0)
PREDICTIVE = ControlGains(1.5, -0.5, -0.5)


class ControlState(NamedTuple):
    """History on which the size of the next step depends."""

    h: float  #: the next step
    previous_error: float  #: error norm of the last accepted step
    previous_h: float  #: its size
    rejected: bool  #: whether an attempt failed since then


class StepControl:
    """The size of the next step from the error of the last ones.

    Parameters
    ----------
    gains : ControlGains
        What to react to.
    k : int
        The error estimate shrinks as h^k.
    first, largest : float
        First step and upper limit of all steps.
    """

    def __init__(self, gains: ControlGains, k: int, first: float, largest: float) -> None:
        self.gains = gains
        self.k = k
        self.largest = largest
        self.first = min(first, largest)

    def start(self) -> ControlState:
        """Before the first step: no growth beyond the plain rule while there is no history."""
        return ControlState(self.first, self.gains.safety, self.first, rejected=True)

    def accepted(self, state: ControlState, h: float, error: float) -> ControlState:
        """After a step of size ``h`` was accepted with this error norm."""
        gains = self.gains
        k = self.k
        error = max(error, 1e-10)
        if state.rejected:  # after a rejection: the elementary rule, and no growth
            factor = (gains.safety / error) ** (1 / k)
            if state.previous_h != state.h:
                factor = min(factor, 1.0)
        else:
            factor = (
                (gains.safety / error) ** (gains.b1 / k)
                * (gains.safety / state.previous_error) ** (gains.b2 / k)
                * (h / state.previous_h) ** (-gains.a)
            )
        next_h = min(h * min(max(factor, gains.smallest), gains.largest), self.largest)
        return ControlState(next_h, error, h, rejected=False)

    def rejected(self, state: ControlState, h: float, error: float) -> ControlState:
        """After an attempt of size ``h`` failed; an undefined error quarters the step."""
        factor = 0.25
        if math.isfinite(error):
            factor = min(max((self.gains.safety / error) ** (1 / self.k), self.gains.smallest), 0.9)
        return state._replace(h=h * factor, rejected=True)


def initial_step(
    problem: FlowProblem, z: Array, gradient: Array, order: int, curvature: Array | None
) -> float:
    """First step size (Hairer, Norsett and Wanner I, section II.4).

    Parameters
    ----------
    problem : FlowProblem
        For norms, and for one gradient where no Hessian is given.
    z, gradient : (n,) arrays
        Start and gradient there.
    order : int
        Order of the method.
    curvature : (n, n) array or None
        The Hessian at ``z`` where it is known: then the second derivative of the path costs
        nothing.
    """
    zero = np.zeros_like(z)
    size = problem.error_norm(z, z, zero)
    speed = problem.error_norm(gradient, z, zero)
    h0 = max(0.01 * size / speed, SMALLEST) if size > 1e-5 and speed > 1e-5 else 1e-6
    if curvature is not None:
        bend = problem.error_norm(curvature @ gradient, z, zero)
    else:
        moved = problem.evaluate(z - h0 * gradient, 1).gradient
        bend = problem.error_norm(moved - gradient, z, zero) / h0
    if not math.isfinite(bend):
        return 1e-3 * h0
    steepest = max(speed, bend)
    h1 = (0.01 / steepest) ** (1 / (order + 1)) if steepest > 1e-15 else max(1e-6, 1e-3 * h0)
    return min(100 * h0, h1)
