"""Thermal equilibrium of matched committees at high temperature: ``inf.Equilibrium``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_integer, as_number, as_vector, public
from ..activations import Activation, resolve
from ..errors import InvalidValueError, SolverFailedError
from ..integrals.moments import gaussian_moment
from ..objective import Evaluation

#: Newton steps, and what counts as zero
_STEPS = 200
_ZERO = 1e-12
_NEARLY_ZERO = 1e-7
#: largest load that is looked at for a transition
_LARGEST = 1e6


class Transition(NamedTuple):
    """Where students specialise; see :meth:`Equilibrium.transition`."""

    alpha: float  #: load at which the unspecialised state loses its stability
    z: Array  #: R, S, C there
    generalization_error: float  #: e_g there


class Equilibrium:
    r"""Free energy of a committee that learns a committee of its own size from data, in equilibrium
    at high temperature.

    K students and K teachers with weights of length one, output weights 1 and outputs divided by
    the root of K; overlaps R of a student with its own teacher, S with the others, C of two
    students. With the load :math:`\alpha = \beta P/(K D)`, for :math:`P` samples at the temperature
    :math:`1/\beta \to \infty`,

    .. math::

        \beta f = \alpha K e_g - \tfrac12 \log\det(Q - R\, T^{-1} R^\top), \qquad
        e_g = \tfrac12 E\, (\text{student} - \text{teacher})^2

    per input dimension (Oostwal, Straat and Biehl, Physica A 564, 125517, 2021). Its minima are the
    states of learning: unspecialised (R = S) and specialised (R > S).

    An ``Objective``: ``inf.train``, Newton's method and ``inf.continuation`` take it.

    Parameters
    ----------
    activation : str or Activation
    K : float
        Number of students and teachers, at least 2; any real number. Differences of free energies
        lose digits like :math:`K^2`: transitions are found up to some hundred (relu), some tens
        (erf).
    alpha : float
        Load, >= 0.

    Raises
    ------
    InvalidTypeError, InvalidValueError, UnknownNameError
        If an argument cannot be used.

    See Also
    --------
    OrderParameters : learning, in the place of equilibrium.
    continuation : branches of states.

    Examples
    --------
    >>> Equilibrium("relu", 2, 1.0).transition().alpha.__round__(1)
    6.1
    """

    num_params = 3

    @public
    def __init__(self, activation: str | Activation, K: float, alpha: float) -> None:
        self.activation = resolve(activation)
        self.K = as_number("K", K, minimum=2.0)
        self.alpha = as_number("alpha", alpha, minimum=0.0)

    def with_alpha(self, alpha: float) -> Equilibrium:
        """The same at another load."""
        return Equilibrium(self.activation, self.K, alpha)

    def _moment(self, c: float, order: int) -> float:
        """Derivative ``order`` in c of E[g(x) g(y)] for standard normal x, y of correlation c."""
        orders = (order, order)
        return float(gaussian_moment(self.activation, self.activation, 1.0, 1.0, c, orders=orders))

    def generalization_error(self, z: Any) -> float:
        r""":math:`e_g = \tfrac12 \E (\text{student} - \text{teacher})^2` at z = (R, S, C), outputs
        over the root of K.
        """
        R, S, C = self._checked(z)
        G = self._moment
        own = 2.0 * G(1.0, 0) - 2.0 * G(R, 0)
        others = G(C, 0) + G(0.0, 0) - 2.0 * G(S, 0)
        return 0.5 * (own + (self.K - 1.0) * others)

    def evaluate(self, z: Any, order: int = 0) -> Evaluation:
        """Beta f, its gradient (3,) and its Hessian (3, 3) in z = (R, S, C).

        Infinite where no weights have these overlaps.
        """
        R, S, C = self._checked(z)
        order = as_integer("order", order, minimum=0, maximum=2)
        n, G = self.K - 1.0, self._moment
        # the two eigenvalues of Q - R R', and their derivatives: u = R + n S, v = R - S
        u, v = R + n * S, R - S
        whole = 1.0 + n * C - u * u
        parts = 1.0 - C - v * v
        outside = whole <= 0.0 or parts <= 0.0 or max(abs(R), abs(S), abs(C)) >= 1.0
        if outside:
            nothing = np.full(3, np.nan), np.full((3, 3), np.nan)
            return Evaluation(math.inf, *(x if order > k else None for k, x in enumerate(nothing)))
        load = self.alpha * self.K
        entropy = 0.5 * (math.log(whole) + n * math.log(parts))
        value = load * self.generalization_error((R, S, C)) - entropy
        if order == 0:
            return Evaluation(value, None, None)
        first = load * np.array([-G(R, 1), -n * G(S, 1), 0.5 * n * G(C, 1)])
        in_whole = np.array([-2.0 * u, -2.0 * n * u, n])
        in_parts = np.array([-2.0 * v, 2.0 * v, -1.0])
        gradient = first - 0.5 * (in_whole / whole + n * in_parts / parts)
        if order == 1:
            return Evaluation(value, gradient, None)
        H = np.diag(load * np.array([-G(R, 2), -n * G(S, 2), 0.5 * n * G(C, 2)]))
        a = np.array([1.0, n, 0.0])
        b = np.array([1.0, -1.0, 0.0])
        H -= 0.5 * (-2.0 * np.outer(a, a) / whole - np.outer(in_whole, in_whole) / whole**2)
        H -= 0.5 * n * (-2.0 * np.outer(b, b) / parts - np.outer(in_parts, in_parts) / parts**2)
        return Evaluation(value, gradient, H)

    def _checked(self, z: Any) -> tuple[float, float, float]:
        R, S, C = as_vector("z", z, 3, "the overlaps R, S, C").tolist()
        return R, S, C

    def unspecialised(self) -> Array:
        """The stationary state (R, S, C) with R = S, by Newton's method.

        Raises
        ------
        SolverFailedError
            If it was not found.
        """
        # in u = K R and (K - 1) C, which stay of order one for large K
        onto = np.array([[1.0 / self.K, 0.0], [1.0 / self.K, 0.0], [0.0, 1.0 / (self.K - 1.0)]])
        x = np.zeros(2)
        value, g, H = self._along(onto, x)
        for _ in range(_STEPS):
            if np.abs(g).max() <= _ZERO * (1.0 + self.alpha):
                return onto @ x
            values, vectors = np.linalg.eigh(H)
            step = -vectors @ ((vectors.T @ g) / np.maximum(np.abs(values), 1e-8))
            size = 1.0
            while size > 1e-12:
                # next to the minimum rounding hides how the value falls
                found = self._along(onto, x + size * step)
                if found[0] < value or np.abs(found[1]).max() < np.abs(g).max():
                    break
                size /= 2.0
            if size <= 1e-12:
                break
            x = x + size * step
            value, g, H = found
        if np.abs(g).max() <= _NEARLY_ZERO * (1.0 + self.alpha):  # rounding ended it
            return onto @ x
        raise SolverFailedError(
            f"no unspecialised state was found for K = {self.K:g}, alpha = {self.alpha:g}."
        )

    def _along(self, onto: Array, x: Array) -> tuple[float, Array, Array]:
        """Value, gradient and Hessian in coordinates x with z = onto x."""
        found = self.evaluate(onto @ x, 2)
        assert found.gradient is not None and found.hessian is not None
        return found.value, onto.T @ found.gradient, onto.T @ found.hessian @ onto

    def curvature(self, z: Any) -> float:
        r"""Second derivative of :math:`\beta f` along specialisation, :math:`dR = 1`,
        :math:`dS = -1/(K - 1)`.
        """
        along = np.array([1.0, -1.0 / (self.K - 1.0), 0.0])
        H = self.evaluate(z, 2).hessian
        assert H is not None
        return float(along @ H @ along)

    def transition(self) -> Transition:
        """The load at which the unspecialised state becomes unstable against specialisation.

        For K = 2 the transition is continuous there, and so it is for relu with any K; for larger
        committees of sigmoidal units it is where a metastable state ends, and specialisation is
        favourable before (a first-order transition).

        Returns
        -------
        Transition

        Raises
        ------
        InvalidValueError
            If the unspecialised state is stable up to a load of :math:`10^6`.
        """
        from scipy.optimize import brentq

        def at(alpha: float) -> float:
            here = self.with_alpha(alpha)
            return here.curvature(here.unspecialised())

        low = 1e-3
        high = 1.0
        while at(high) > 0.0:
            low = high
            high = 2.0 * high
            if high > _LARGEST:
                raise InvalidValueError(
                    f"the unspecialised state of {self.K:g} units of {self.activation.name} is "
                    f"stable up to alpha = {_LARGEST:g}; there is no transition."
                )
        alpha = float(brentq(at, low, high, xtol=1e-10, rtol=1e-12))
        here = self.with_alpha(alpha)
        z = here.unspecialised()
        return Transition(alpha, z, here.generalization_error(z))

    def __repr__(self) -> str:
        return f"Equilibrium({self.activation.name!r}, K={self.K:g}, alpha={self.alpha:g})"
