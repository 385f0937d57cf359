"""Integrals ``E[f(w.x + b) y(x)]`` with a polynomial y, by Stein's lemma: no cubature.

With the polynomial as Hermite products in orthonormal directions Q (``hermite_table.py``), alpha =
Q'w, P_n the homogeneous part of degree n in alpha, and F_p = E f^(p)(w.x + b),

    E[f y]  = sum_n F_n P_n
    d/dw    = sum_n F_n Q P_n' + F_(n+2) P_n w,                     d/db = sum_n F_(n+1) P_n
    d2/dw2  = sum_n F_n Q P_n'' Q' + F_(n+2) (Q P_n' w' + w P_n'' Q' + P_n 1) + F_(n+4) P_n w w'

and likewise for b. The second derivatives are a multiple of one plus rank k + 1.
"""

from __future__ import annotations

import numpy as np

from ...._validation import Array
from ....activations import Activation
from ....integrals.neuron_means import NeuronTable
from . import polynomial_kernels as kernels
from .cross import Cross
from .polynomial_teacher import PolynomialTeacher


class PolynomialIntegrals:
    """The integrals of one Gaussian input x = mean + root z.

    Parameters
    ----------
    teacher : PolynomialTeacher
    students : list of Activation
    mean, root : arrays or None
        None stands for zero and for the identity.
    rtol : float
        Tolerance of the means of neurons without a closed form.

    Attributes
    ----------
    mean, square : arrays (O,)
        ``E y`` and ``E y^2``.
    error : float
        Of ``square``: none beyond rounding.
    """

    error = 0.0

    def __init__(
        self,
        teacher: PolynomialTeacher,
        students: list[Activation],
        mean: Array | None,
        root: Array | None,
        rtol: float,
    ) -> None:
        table = teacher.table(mean, root)
        self.Q = np.ascontiguousarray(table.directions)
        self.mean = table.mean
        self.square = table.square
        self._means = NeuronTable(students, rtol)
        degree = table.exponents.sum(axis=1)
        self._highest = int(degree.max(initial=0))
        start = np.concatenate([[0], np.cumsum((table.exponents > 0).sum(axis=1))])
        term, directions = np.nonzero(table.exponents)
        exponents = table.exponents[term, directions]
        self._table = start, directions, exponents, degree, np.ascontiguousarray(table.coefficients)

    def neurons(self, W: Array, b: Array, order: int) -> Cross:
        """All integrals of the students, weights (K, D) and biases (K,), up to this order."""
        K, D = W.shape
        O = len(self.mean)
        C = np.einsum("id,id->i", W, W)
        F, error = self._means(C, b, self._highest + 1 + 2 * order)
        alpha = W @ self.Q
        value = np.zeros((K, O))
        first = np.zeros((K, O, D + 1))
        kernels.cross_first(F, alpha, *self._table, W, self.Q, order, value, first)
        return Cross(value, first, error, (F, alpha, W))

    def curvature(self, cross: Cross, B: Array) -> LowRankCurvature:
        """Second derivatives of ``sum_o B_io E[f_i y_o]`` in (w_i, b_i)."""
        F, alpha, W = cross.rest
        K, k = alpha.shape
        M = np.zeros((K, k, k))
        N = np.zeros((2, K, k))
        scalars = np.zeros((K, 3))
        kernels.cross_second(F, alpha, *self._table, np.ascontiguousarray(B), M, N, scalars)
        return LowRankCurvature(self.Q, W, M, N, scalars)


class LowRankCurvature:
    """Second derivatives (D + 1, D + 1) of each neuron: a multiple of one plus rank k + 1."""

    def __init__(self, Q: Array, W: Array, M: Array, N: Array, scalars: Array) -> None:
        self._Q = Q
        self._W = W
        self._M = M
        self._N = N
        self._scalars = scalars

    def blocks(self) -> Array:
        """The matrices (K, D + 1, D + 1)."""
        K, D = self._W.shape
        out = np.empty((K, D + 1, D + 1))
        kernels.dense_blocks(self._Q, self._W, self._M, self._N, self._scalars, out)
        return out

    def times(self, V: Array) -> Array:
        """Each matrix times its row of V (K, D + 1)."""
        U, ub = V[:, :-1], V[:, -1]
        W, Q = self._W, self._Q
        identity, outer, mixed = self._scalars.T
        w_u = np.einsum("id,id->i", W, U)
        q_u = U @ Q
        on_Q = np.einsum("ijk,ik->ij", self._M, q_u)
        on_Q += self._N[0] * w_u[:, None] + self._N[1] * ub[:, None]
        on_w = np.einsum("ij,ij->i", self._N[0], q_u) + outer * w_u + mixed * ub
        out = np.empty_like(V)
        out[:, :-1] = on_Q @ Q.T + on_w[:, None] * W + identity[:, None] * U
        out[:, -1] = np.einsum("ij,ij->i", self._N[1], q_u) + mixed * w_u + identity * ub
        return out
