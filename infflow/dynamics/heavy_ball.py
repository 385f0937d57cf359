"""Descent with momentum, as a flow: a ball with friction on the landscape of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._validation import Array, as_number, public, shown
from ..errors import InfflowError, InvalidTypeError, InvalidValueError
from ..flow.factorization import Factors, factorize_shifted
from ..flow.methods import Method
from ..flow.problem import FlowEvaluation, FlowProblem
from ..objective import Objective
from .solvers import chosen

#: friction of Nesterov's method (Su, Boyd and Candes, J. Mach. Learn. Res. 17, 1 (2016))
NESTEROV = "nesterov"
#: times at which checkpoints compare frictions that are functions
_COMPARED = (1e-3, 0.1, 1.0, 10.0, 1e3)
#: relative distance of the points of the fourth-order difference quotient of a friction
_APART = 1e-3
#: the clock counts no errors: it is exact
_NO_ERROR = 1e30
#: part of the tolerances that a friction which is infinite at the start may cost
_PART = 0.1
_LOGARITHM = 30.0


class HeavyBall:
    r"""The heavy ball with friction: :math:`\ddot\theta = -\gamma \dot\theta - \eta \nabla L`, from
    rest.

    It is what descent with momentum follows. With the step :math:`h` and the momentum :math:`m`
    these are the points :math:`\theta_{k+1} = \theta_k - h \nabla L + m (\theta_k - \theta_{k-1})`.
    They are those of the ball at times :math:`k \sqrt h` with the friction
    :math:`\gamma = (1 - m)/\sqrt h`, up to an error of first order in :math:`\sqrt h`.

    Parameters
    ----------
    friction : float, function of t, or "nesterov"
        :math:`\gamma`, not negative. Nesterov's accelerated method is the friction :math:`3/t`,
        which a function may say, too. One that is infinite at :math:`t = 0` like :math:`c/t` has
        the regular start, :math:`\ddot\theta = -\nabla L/(1 + c)`: it is taken at
        :math:`\sqrt{t^2 + s^2}`, with :math:`s` so short that the path differs by a tenth of the
        tolerances at most.

    Notes
    -----
    The state is theta and its velocity. Stiff solvers eliminate the velocity: each of their linear
    systems takes one factorisation of :math:`(s^2 + s \gamma) 1 + H`, as large as that of the
    gradient flow. The loss may rise on the way; ``Result.theta`` is the lowest point seen.

    Raises
    ------
    InfflowError
        If the friction is negative, or nothing of the kind.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False)], input=[[1.0]], target=[0.0])  # L = theta^2
    >>> ball = inf.HeavyBall(0.0)  # theta = cos(sqrt(2) t)
    >>> run = inf.train(net, [1.0], dynamics=ball, t_end=2.0, rtol=1e-9, atol=1e-9)
    >>> run.theta_flow.round(6)
    array([-0.951363])

    See Also
    --------
    infflow.ModifiedFlow : large steps without momentum.
    """

    name = "heavy_ball"
    commutes = True

    @public
    def __init__(self, friction: Any) -> None:
        self.friction: float | str | Callable[[float], float]
        if isinstance(friction, str):
            if friction != NESTEROV:
                raise InvalidValueError(
                    f"friction is {shown(friction)}; a number, a function of t, or {NESTEROV!r} "
                    "(3/t) is needed."
                )
            self.friction = friction
        elif callable(friction):
            self.friction = friction
            for t in _COMPARED:
                self.at(t)
        else:
            self.friction = as_number("friction", friction, minimum=0.0)

    def __repr__(self) -> str:
        return f"HeavyBall({self.friction!r})"

    @property
    def is_constant(self) -> bool:
        """Whether the friction is a number."""
        return isinstance(self.friction, float)

    @property
    def identity(self) -> dict[str, Any]:
        """The friction, as checkpoints compare it."""
        return {"friction": np.array([self.at(t) for t in _COMPARED])}

    @property
    def endless(self) -> bool:
        """Without friction it never comes to rest."""
        return self.friction == 0.0

    def at(self, t: float) -> float:
        """The friction at a time above zero."""
        if isinstance(self.friction, float):
            return self.friction
        if isinstance(self.friction, str):
            return 3.0 / t
        try:
            return as_number("friction", self.friction(t), minimum=0.0)
        except InfflowError as error:
            raise type(error)(f"at t = {t:g}, {error}") from None
        except Exception as error:
            raise InvalidTypeError(
                f"friction raised {type(error).__name__} at t = {t:g}: {error}. A function of one "
                "number t that returns a number is needed."
            ) from error

    def is_infinite_at_start(self) -> bool:
        """Whether it is infinite at t = 0, or has no value there."""
        if not callable(self.friction):
            return isinstance(self.friction, str)
        try:
            with np.errstate(all="ignore"):
                return not math.isfinite(self.friction(0.0))
        except (ArithmeticError, ValueError):
            return True

    def slope_at(self, t: float) -> float:
        """Derivative of the friction, by differences of the fourth order."""
        d = _APART * t
        near = self.at(t + d) - self.at(t - d)
        far = self.at(t + 2 * d) - self.at(t - 2 * d)
        return (8.0 * near - far) / (12.0 * d)

    def check(self, objective: Objective, theta0: Array, eta: float | Array) -> None:
        """Every objective has what a heavy ball needs."""

    def method(
        self, solver: str, num_free: int, gradient_jumps: bool
    ) -> tuple[Method, dict[str, Any]]:
        """All but the exponential method, which needs a symmetric Jacobian."""
        explicit = gradient_jumps or num_free > _FEW
        return chosen(
            f"a heavy ball ({self!r})",
            solver,
            "tsit5" if explicit else "rodas5p",
            ("exprb",),
            "its Jacobian is not symmetric",
        )

    def problem(
        self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float
    ) -> FlowProblem:
        """Position, velocity and, where the friction depends on time, a clock."""
        return HeavyBallProblem(objective, theta0, eta, rtol, atol, self)


#: up to so many parameters a Hessian per step pays
_FEW = 300


class HeavyBallProblem(FlowProblem):
    """The heavy ball as an integrator sees it.

    The state is z = (x, v, clock), of length 2n + 1, or 2n with a constant friction. With a
    clock time is a variable, so that every method keeps its order for frictions that change.
    """

    def __init__(
        self,
        objective: Objective,
        theta0: Array,
        eta: float | Array,
        rtol: float,
        atol: float,
        ball: HeavyBall,
    ) -> None:
        super().__init__(objective, theta0, eta, rtol, atol)
        self._ball = ball
        self._n = n = self.size
        self.size = 2 * n + (not ball.is_constant)
        self.atol = np.concatenate(
            [self.loss_atol, self.loss_atol, np.full(self.size - 2 * n, _NO_ERROR)]
        )
        self._soft = 0.0  # time that keeps the friction finite at the start

    # ------------------------------------------------------------------------------------ the state

    def initial(self) -> Array:
        """At rest."""
        x = self.z_of(self.theta0)
        if self._ball.is_infinite_at_start():
            speed = self.loss_norm(self.evaluate_loss(x, 1).gradient, x, x)
            if math.isfinite(speed):
                self._soft = min(1e-3, _PART / math.sqrt(_LOGARITHM * max(speed, 1e-30)))
        return np.concatenate([x, np.zeros(self.size - self._n)])

    def position(self, z: Array) -> Array:
        """The parameters."""
        return z[: self._n]

    def theta_of(self, z: Array) -> Array:
        """All parameters of one state (size,), or of several (m, size)."""
        return super().theta_of(np.ascontiguousarray(z[..., : self._n]))

    def _friction(self, z: Array) -> tuple[float, float]:
        """Friction, and its derivative in time."""
        ball = self._ball
        if ball.is_constant:
            return ball.at(0.0), 0.0
        clock = float(z[-1])
        t = math.hypot(clock, self._soft)
        if not 0.0 < t < math.inf:  # at the start nothing moves, and before it nothing is defined
            return (ball.at(0.0), 0.0) if t == 0.0 else (math.nan, math.nan)
        return ball.at(t), ball.slope_at(t) * clock / t

    # ----------------------------------------------------------------------------------- dynamics

    def evaluate(self, z: Array, order: int, objective: Objective | None = None) -> FlowEvaluation:
        """Loss, (-v, grad L + friction v, -1) and, at order 2, its Jacobian."""
        n = self._n
        found = self.evaluate_loss(z[:n], order, objective)
        friction, slope = self._friction(z)
        v = z[n : 2 * n]
        rate = np.empty(self.size)
        rate[:n] = -v
        rate[n : 2 * n] = found.gradient + friction * v
        rate[2 * n :] = -1.0
        if found.hessian is None:
            return FlowEvaluation(found.value, rate, None, found.gradient)
        jacobian = np.zeros((self.size, self.size))
        index = np.arange(n)
        jacobian[index, n + index] = -1.0
        jacobian[n : 2 * n, :n] = found.hessian
        jacobian[n + index, n + index] = friction
        jacobian[n : 2 * n, 2 * n :] = (slope * v)[:, None]
        return FlowEvaluation(found.value, rate, jacobian, found.gradient)

    def factorize(self, hessian: Array, shift: float) -> Factors | None:
        """By one factorisation of shift (shift + friction) 1 + H: rows of the position give the
        velocities, w = shift x - a.
        """
        n = self._n
        friction = hessian[n, n]
        slope = hessian[n : 2 * n, 2 * n :].sum(axis=1)
        inner = factorize_shifted(hessian[n : 2 * n, :n], shift * (shift + friction))
        if inner is None:
            return None

        def solve(right: Array) -> Array:
            out = np.empty_like(right)
            clock = right[2 * n :] / shift
            a = right[:n]
            b = right[n : 2 * n] - slope * clock.sum() + (shift + friction) * a
            out[:n] = inner.solve(b)
            out[n : 2 * n] = shift * out[:n] - a
            out[2 * n :] = clock
            return out

        return Factors(solve, definite=inner.definite)

    def linearize(self, z: Array) -> Callable[[Array], Array]:
        """Minus the Jacobian as a function of a vector."""
        n = self._n
        times = self.linearize_loss(z[:n])
        friction, slope = self._friction(z)
        bent = slope * z[n : 2 * n]

        def product(u: Array) -> Array:
            force = times(u[:n]) + friction * u[n : 2 * n] + bent * u[2 * n :].sum()
            return np.concatenate([-u[n : 2 * n], force, np.zeros(self.size - 2 * n)])

        return product

    def excursion(self, z: Array, hessian: Array | None) -> Array | None:
        """Amplitudes v/sqrt(lambda) along the eigenvectors of the Hessian; v/friction at most."""
        v = z[self._n : 2 * self._n]
        friction, _ = self._friction(z)
        stopping = math.inf if friction == 0.0 else 1.0 / friction
        if hessian is None:
            return np.where(v == 0.0, 0.0, np.abs(v) * stopping)
        values, vectors = np.linalg.eigh(hessian)
        periods = np.full(len(values), math.inf)
        np.divide(1.0, np.sqrt(np.abs(values)), out=periods, where=values > 0.0)
        speeds = np.abs(vectors.T @ v)
        amplitudes = np.where(speeds == 0.0, 0.0, speeds * np.minimum(periods, stopping))
        reach: Array = np.abs(vectors) @ amplitudes
        return reach
