r"""Second moments of single-sample gradients where all neurons are error functions.

Then E[f_i' f_k' F] is a mean of F over another Gaussian, that of the input given two zeros, and
the moments of all pairs need one arcsine and its derivatives. With G_i = 2 Phi(h_i / s_i) - 1, the
residual e_i = sum_a S_ia G_a + S_in, and Sigma_ik the covariance of the input given both zeros,

    E[G_i' G_k' e_i e_k x x'] = A_ik Sigma_ik + Sigma_ik W' T_ik W Sigma_ik,

and Stein's lemma leads back to E[G_i' G_k' G_a G_b] where only one derivative stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation
from ..integrals.fourth import error_function_kernels as kernels
from .infinite.population_loss import Units
from .span_moments import Mapped, SpanMoments, in_one_matrix, span_basis

#: Larger tables of fourth moments take too much memory.
_LARGEST = 20_000_000


class Neurons(NamedTuple):
    """Activations amplitude * G + constant."""

    amplitude: Array
    constant: Array
    width2: Array


def as_error_functions(activations: Sequence[Activation], K: int) -> Neurons | None:
    """All activations as error functions, or None if one of them is another or tables too large."""
    n = len(activations)
    if K * n**3 > _LARGEST:
        return None
    rows = []
    for f in activations:
        if len(f.atoms) != 1 or len(f.polynomial) > 1 or not f.has_closed_form:
            return None
        (atom,) = f.atoms
        if atom.order != 1 or atom.width == 0.0:
            return None
        constant = float(sum(f.polynomial)) + 0.5 * atom.weight
        rows.append((0.5 * atom.weight, constant, float(atom.width) ** 2))
    return Neurons(*np.array(rows).T)


def error_function_moments(units: Mapped, neurons: Neurons) -> SpanMoments:
    """Moments in the span, without label noise; pre-activations have mean zero."""
    students, teachers, _ = units
    assert teachers is not None
    Q = span_basis(np.vstack([students.W, teachers.W]))
    X = np.vstack([students.W, teachers.W]) @ Q
    return _Assembly(students, teachers, neurons, X).moments(Q)


class _Assembly:
    """The blocks of the matrix; the second layer is in the order (neuron, output).

    Parameters
    ----------
    students, teachers : Units
    neurons : Neurons
        Students first.
    X : (n, m) array
        Weights of all neurons in the span.
    """

    def __init__(self, students: Units, teachers: Units, neurons: Neurons, X: Array) -> None:
        K = len(students.W)
        B = np.vstack([students.B, -teachers.B])
        self.neurons = neurons
        self.K = K
        self.X = X
        self.C = X @ X.T
        self.B = B * neurons.amplitude[:, None]
        self.c = students.c - teachers.c + neurons.constant @ B
        self.S = self.B[:K] @ np.vstack([self.B, self.c]).T
        v = np.diagonal(self.C) + neurons.width2
        root = np.sqrt(v)
        #: E[G_a G_b], (n, n)
        self.pairs = _arcsine(self.C / np.outer(root, root))
        self._condition_on_one(v)

    def _condition_on_one(self, v: Array) -> None:
        """Means given the zero of one student i, times its density.

        ``value1`` (K, n, n): E[G_i' G_a G_b]; ``slope1`` (K, n): E[G_i' G_a']; ``density1`` (K,).
        """
        K = self.K
        self.v = v
        self.density1 = math.sqrt(2.0 / math.pi) / np.sqrt(v[:K])
        own = self.C[:K]
        inner = self.C - own[:, :, None] * own[:, None, :] / v[:K, None, None]
        size = v - own**2 / v[:K, None]
        root = np.sqrt(np.maximum(size, 1e-14 * v))
        u = inner / (root[:, :, None] * root[:, None, :])
        self.value1 = self.density1[:, None, None] * _arcsine(u)
        self.slope1 = self.density1[:, None] * math.sqrt(2.0 / math.pi) / root

    def moments(self, basis: Array) -> SpanMoments:
        """Second moments and mean in the order W, b, A, c."""
        K, n = self.S.shape[0], len(self.C)
        value = np.empty((K, n, n, n))
        first = np.empty((K, K, n))
        second = np.zeros((K, K, n, n))
        kernels.two_differentiated(self.C, self.neurons.width2, self.S, value, first, second)
        ww, bw, bb = self._first_with_first(value, first, second)
        aw, ab = self._second_with_first(value)
        L = self._outer_layer()
        aa = L @ self._second_with_second() @ L.T
        M = 4.0 * in_one_matrix(ww, bw, bb, L @ aw, L @ ab, aa)
        return SpanMoments(M, self._mean(L), basis)

    def _first_with_first(
        self, value: Array, first: Array, second: Array
    ) -> tuple[Array, Array, Array]:
        """E[phi_i phi_k x x'], E[phi_i phi_k x'] and E[phi_i phi_k], over 4."""
        K = self.K
        m = self.X.shape[1]
        S = self.S
        A = np.einsum("ia,kb,ikab->ik", S[:, :-1], S[:, :-1], value[:, :K], optimize=True)
        ww = np.zeros((K, m, K, m))
        bw = np.zeros((K, K, m))
        for i in range(K):
            for k in range(i, K):
                density, Sigma = self._given(i, k)
                A[i, k] += S[i, -1] * S[k, -1] * density
                A[k, i] = A[i, k]
                across = self.X @ Sigma
                block = A[i, k] * Sigma + across.T @ second[i, k] @ across
                ww[i, :, k] = block
                ww[k, :, i] = block.T
                bw[i, k] = bw[k, i] = first[i, k] @ across
        return ww.reshape(K * m, K * m), bw.reshape(K, K * m), A

    def _given(self, i: int, k: int) -> tuple[float, Array]:
        """Density of two zeros, and the covariance (m, m) of the input given them."""
        at = [i, k]
        C = self.C[np.ix_(at, at)] + np.diag(self.neurons.width2[at])
        rows = self.X[at]
        Sigma = np.eye(rows.shape[1]) - rows.T @ np.linalg.solve(C, rows)
        return 2.0 / (math.pi * math.sqrt(C[0, 0] * C[1, 1] - C[0, 1] ** 2)), Sigma

    def _second_with_first(self, value: Array) -> tuple[Array, Array]:
        """E[e_o g_k phi_i x'] and E[e_o g_k phi_i] over 4, g = (G_1 .. G_K, 1); rows (k, o)."""
        K, n = self.S.shape[0], len(self.C)
        O = self.B.shape[1]
        B = self.B
        S = self.S[:, :-1]
        last = self.S[:, -1]
        # coefficients (i, k, o, u) of E[... x] in the weights of neuron u
        t = np.zeros((K, K + 1, O, n))
        with_S = np.einsum("iukb,ib->iuk", value[:, :, :K], S, optimize=True)
        with_B = np.einsum("iuka,ao->iuko", value[:, :, :K], B, optimize=True)
        t[:, :K] += np.einsum("uo,iuk->ikou", B, with_S)
        t[:, :K] += np.einsum("iu,iuko->ikou", S, with_B)
        own = np.einsum("ao,ib,ikab->iko", B, S, value[:, :K], optimize=True)
        own += np.einsum("ik,o,i->iko", self.slope1[:, :K], self.c, last)
        k = np.arange(K)
        t[:, k, :, k] += own.transpose(1, 0, 2)
        t[:, K] = self.slope1[:, None] * (B.T * last[:, None, None] + S[:, None] * self.c[:, None])
        ab = np.empty((K, K + 1, O))
        ab[:, :K] = np.einsum("ikb,ib,o->iko", self.value1[:, :K], S, self.c, optimize=True)
        ab[:, :K] += np.einsum("ika,ao,i->iko", self.value1[:, :K], B, last, optimize=True)
        ab[:, K] = np.einsum("iab,ao,ib->io", self.value1, B, S, optimize=True)
        ab[:, K] += np.outer(last * self.density1, self.c)
        X = self.X
        aw = np.empty((K + 1, O, K, X.shape[1]))
        for i in range(K):
            Sigma = np.eye(X.shape[1]) - np.outer(X[i], X[i]) / self.v[i]
            aw[:, :, i] = t[i] @ (X @ Sigma)
        rows = (K + 1) * O
        return aw.reshape(rows, -1), ab.transpose(1, 2, 0).reshape(rows, K)

    def _second_with_second(self) -> Array:
        """E[e_o g_k e_p g_l], rows (k, o), columns (l, p)."""
        K, n = self.S.shape[0], len(self.C)
        O = self.B.shape[1]
        B, c = self.B, self.c
        fourth = np.empty((K, K, n, n))
        kernels.none_differentiated(self.C, self.neurons.width2, fourth)
        aa = np.empty((K + 1, O, K + 1, O))
        aa[:K, :, :K] = np.einsum("ao,bp,klab->kolp", B, B, fourth, optimize=True)
        aa[:K, :, :K] += np.einsum("kl,o,p->kolp", self.pairs[:K, :K], c, c)
        mean = self.pairs[:K] @ B
        aa[:K, :, K] = mean[:, :, None] * c + c[:, None] * mean[:, None]
        aa[K, :, :K] = aa[:K, :, K].transpose(2, 0, 1)
        aa[K, :, K] = B.T @ self.pairs @ B + np.outer(c, c)
        return aa.reshape((K + 1) * O, (K + 1) * O)

    def _outer_layer(self) -> Array:
        """The linear map from rows (k, o) of G_k and 1 to A (O, K) and c (O,)."""
        K = self.K
        O = self.B.shape[1]
        L = np.zeros((O * K + O, K + 1, O))
        for o in range(O):
            for k in range(K):
                L[o * K + k, k, o] = self.neurons.amplitude[k]
                L[o * K + k, K, o] = self.neurons.constant[k]
            L[O * K + o, K, o] = 1.0
        return L.reshape(O * K + O, -1)

    def _mean(self, L: Array) -> Array:
        """The mean gradient."""
        S, X = self.S, self.X
        coefficients = S[:, :-1] * self.slope1
        along = np.einsum("ia,ia->i", coefficients, self.C[: self.K]) / self.v[: self.K]
        W = coefficients @ X - along[:, None] * X[: self.K]
        b = S[:, -1] * self.density1
        outer = np.vstack([self.pairs[: self.K] @ self.B, self.c])
        return 2.0 * np.concatenate([W.ravel(), b, L @ outer.ravel()])


def _arcsine(u: Array) -> Array:
    found: Array = (2.0 / math.pi) * np.arcsin(np.clip(u, -1.0, 1.0))
    return found
