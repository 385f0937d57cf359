"""One-step integrators as data: explicit, diagonally implicit, and Rosenbrock methods.

Every tableau proves its order, the order of its error estimate and that of its dense output when it
is created. The methods themselves are in ``coefficients.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._validation import Array
from ..errors import TableauError
from .order_conditions import check_order, order_conditions

_FRACTIONS = (0.1, 0.3, 0.55, 0.8, 1.0)


def dense_weights(coefficients: Array, theta: float) -> Array:
    """Weights b_i(theta) = sum_k coefficients[i, k] theta^(k+1), shape (s,)."""
    return coefficients @ theta ** np.arange(1, coefficients.shape[1] + 1)


def _check_dense(tableau: ExplicitTableau | ImplicitTableau) -> None:
    """The order of the dense output of a Runge-Kutta method, and that it ends at the new point."""
    for theta in _FRACTIONS:
        weights = dense_weights(tableau.dense, theta)
        name = f"{tableau.name}, dense output,"
        check_order(name, weights, tableau.a, tableau.a, tableau.dense_order, theta=theta)
    if not np.allclose(dense_weights(tableau.dense, 1.0), tableau.a[-1], rtol=0, atol=1e-12):
        raise TableauError(f"{tableau.name}: the dense output does not end at the new point.")


@dataclass(frozen=True, eq=False)
class ExplicitTableau:
    """An explicit Runge-Kutta method whose last stage lies at the new point (first same as last).

    Attributes
    ----------
    a : (s, s) array
        Strictly lower triangular stage coefficients; the last row holds the weights b of the step.
    e : (s,) array or None
        The error estimate is h sum_i e_i k_i; None for a method of fixed step.
    order, error_order : int
        Order of the step and of the embedded solution.
    dense : (s, q) array
        Dense output y(theta) = y0 + h sum_ik dense[i, k] theta^(k+1) k_i.
    dense_order : int
        Order of the conditions that the dense output satisfies; its values are then accurate to
        h^(dense_order + 1).
    """

    name: str
    a: Array
    e: Array | None
    order: int
    error_order: int
    dense: Array
    dense_order: int

    def __post_init__(self) -> None:
        stages = len(self.a)
        if self.a.shape != (stages, stages) or np.triu(self.a).any():
            raise TableauError(
                f"{self.name}: the stage coefficients must be strictly lower triangular."
            )
        if self.dense.shape[0] != stages or (self.e is not None and self.e.shape != (stages,)):
            raise TableauError(
                f"{self.name}: error and dense output need one row for each of the {stages} stages."
            )
        check_order(self.name, self.b, self.a, self.a, self.order)
        if self.e is not None:
            check_order(
                f"{self.name}, embedded solution,",
                self.b - self.e,
                self.a,
                self.a,
                self.error_order,
            )
        _check_dense(self)

    @property
    def b(self) -> Array:
        """Weights of the step, shape (s,)."""
        return self.a[-1]


@dataclass(frozen=True, eq=False)
class ImplicitTableau:
    """A stiffly accurate diagonally implicit Runge-Kutta method with explicit first stage (ESDIRK).

    Stage i solves U_i = y0 + h sum_(j<i) a_ij k_j + h gamma f(U_i) with k_i = f(U_i); the first
    stage is y0, the last one the new point.

    Attributes
    ----------
    a : (s, s) array
        Lower triangular, with 0 and then gamma on the diagonal; the last row holds the weights of
        the step.
    e : (s,) array
        The error estimate is h sum_i e_i k_i.
    order, error_order : int
        Order of the step and of the embedded solution.
    dense, dense_order
        As in :class:`ExplicitTableau`.
    """

    name: str
    a: Array
    e: Array
    order: int
    error_order: int
    dense: Array
    dense_order: int

    def __post_init__(self) -> None:
        diagonal = np.diagonal(self.a)
        if np.triu(self.a, 1).any() or diagonal[0] != 0.0 or (diagonal[1:] != self.gamma).any():
            raise TableauError(
                f"{self.name}: the stage coefficients must be lower triangular with diagonal 0, "
                "gamma, ..., gamma."
            )
        check_order(self.name, self.a[-1], self.a, self.a, self.order)
        check_order(
            f"{self.name}, embedded solution,",
            self.a[-1] - self.e,
            self.a,
            self.a,
            self.error_order,
        )
        _check_dense(self)

    @property
    def gamma(self) -> float:
        """Coefficient of the implicit part."""
        return float(self.a[-1, -1])

    @property
    def c(self) -> Array:
        """Abscissae of the stages, shape (s,)."""
        return self.a.sum(axis=1)


@dataclass(frozen=True, eq=False)
class RosenbrockTableau:
    """A Rosenbrock method in the form without products with the Jacobian.

    For y' = f(y) with Jacobian J the stages solve
    (I/(gamma h) - J) u_i = f(y0 + sum_j a_ij u_j) + sum_j (c_ij/h) u_j and y1 = y0 + sum_i m_i u_i
    (Hairer and Wanner II, section IV.7, eq. 7.25).

    Attributes
    ----------
    a, c : (s, s) arrays
        Strictly lower triangular.
    m, e : (s,) arrays
        Weights of the step and of the error estimate.
    dense : (q, s) array
        With w_k = sum_i dense[k, i] u_i the dense output is
        (1-x) y0 + x (y1 + (1-x) (w_1 + x (w_2 + x w_3))), x in [0, 1].
    """

    name: str
    gamma: float
    a: Array
    c: Array
    m: Array
    e: Array
    order: int
    error_order: int
    dense: Array
    dense_order: int

    def __post_init__(self) -> None:
        if np.triu(self.a).any() or np.triu(self.c).any():
            raise TableauError(f"{self.name}: a and c must be strictly lower triangular.")
        # back to the classical coefficients: Gamma^-1 = 1/gamma - c, alpha = a Gamma, b = m Gamma
        gammas = np.linalg.inv(np.eye(len(self.a)) / self.gamma - self.c)
        alpha = self.a @ gammas
        beta = alpha + gammas
        # the published coefficients carry 16 digits and reach 165: residuals of 1e-11 are rounding
        for weights, order, what in (
            (self.m, self.order, ""),
            (self.m - self.e, self.error_order, " embedded"),
        ):
            check_order(f"{self.name}{what}", weights @ gammas, alpha, beta, order, tolerance=1e-11)
        for x in _FRACTIONS:
            weights = self.dense_in_stages(x) @ gammas
            check_order(
                f"{self.name} dense",
                weights,
                alpha,
                beta,
                self.dense_order,
                theta=x,
                tolerance=1e-10,
            )

    @cached_property
    def rows(self) -> list[Array]:
        """For every stage i the rows a_i and c_i, shape (2, i), and at last m and e, shape
        (2, s).
        """
        pairs = [np.stack([self.a[i, :i], self.c[i, :i]]) for i in range(len(self.a))]
        return [*pairs, np.stack([self.m, self.e])]

    @cached_property
    def padded_rows(self) -> Array:
        """The same in one array (s + 1, 2, s), with zeros at the end of the rows."""
        stages = len(self.a)
        padded = np.zeros((stages + 1, 2, stages))
        for i, pair in enumerate(self.rows):
            padded[i, :, : pair.shape[1]] = pair
        return padded

    def dense_in_stages(self, x: float) -> Array:
        """Weights of the u_i in y(x) - y0, shape (s,)."""
        inner = np.zeros(len(self.m))
        for row in self.dense[::-1]:
            inner = row + x * inner
        return x * (self.m + (1.0 - x) * inner)


def hermite_dense(a: Array, middle: int | None = None) -> Array:
    """Hermite interpolant through start, end and, with a stage there, the middle of the step.

    Parameters
    ----------
    a : (s, s) array
        Stage coefficients, first stage at the start, last stage at the end.
    middle : int, optional
        Index of a stage at half of the step.

    Returns
    -------
    (s, 3) or (s, 5) array
        As ``ExplicitTableau.dense``: matches slopes and values, of degree 3 or 5.
    """
    stages = np.eye(len(a))
    points = [(0.0, stages[0], None), (1.0, stages[-1], a[-1])]
    if middle is not None:
        points.append((0.5, stages[middle], a[middle]))
    degree = 2 * len(points) - 1
    powers = np.arange(1, degree + 1)
    rows = []
    values = []
    for theta, slope, value in points:
        rows.append(powers * theta ** (powers - 1.0))
        values.append(slope)
        if value is not None:
            rows.append(theta**powers)
            values.append(value)
    return np.linalg.solve(np.array(rows), np.array(values)).T


def least_dense(a: Array, order: int) -> Array:
    """The smallest dense output of a given order: least sum of squares among all that satisfy the
    conditions.

    Parameters
    ----------
    a : (s, s) array
        Stage coefficients of a stiffly accurate method of at least this order.
    order : int
        Order q of the conditions, and degree of the polynomials.

    Returns
    -------
    (s, q) array
        As ``ExplicitTableau.dense``; ends at the new point.
    """
    stages = len(a)
    conditions, vertices, values = order_conditions(a, order)
    blocks = [np.kron(conditions, np.eye(order)), np.kron(np.eye(stages), np.ones(order))]
    powers = np.arange(1, order + 1)
    targets = [np.where(vertices[:, None] == powers, values[:, None], 0.0).ravel(), a[-1]]
    return np.linalg.lstsq(np.vstack(blocks), np.concatenate(targets), rcond=1e-11)[0].reshape(
        stages, order
    )


def step_doubled(name: str, base: ExplicitTableau) -> ExplicitTableau:
    """Two half steps of ``base`` as one step, with one full step of ``base`` as error estimate.

    The value that is propagated is that of the two half steps, without extrapolation; the estimate
    is its difference from the full step over 2^p - 1 (Hairer, Norsett and Wanner I, section II.4).
    """
    s = len(base.a) - 1  # stages without the one at the new point
    half = base.a[:s, :s] / 2
    b = base.b[:s]
    first = np.arange(s)
    second = s + np.arange(s)
    full = np.r_[0, 2 * s + np.arange(s - 1)]
    a = np.zeros((3 * s, 3 * s))
    a[np.ix_(first, first)] = half
    a[np.ix_(second, second)] = half
    a[np.ix_(second, first)] = b / 2
    a[np.ix_(full[1:], full)] = base.a[1:s, :s]
    a[-1, first] = a[-1, second] = b / 2
    b_full = np.zeros(3 * s)
    b_full[full] = b
    e = (a[-1] - b_full) / (2**base.order - 1)
    return ExplicitTableau(name, a, e, base.order, base.order, hermite_dense(a, s), base.order)
