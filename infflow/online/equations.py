r"""The differential equations of the order parameters and their Jacobian.

Neurons are counted students first, then teachers with negative output vectors, as in
``networks.infinite``; C is the covariance of all pre-activations, B their output vectors, S = B B',
and the residual of output o is sum_a B_ao f_a. With the rates eta_w, eta_v of the squared error (no
factor 1/2), t = steps / D, and all expectations over the pre-activations,

    V_im     = sum_a S_ia E[f_i' f_a h_m] = sum_a S_ia (C_im I_ia(2,0) + C_am I_ia(1,1))
    dR_im/dt = -2 eta_w V_im - eta_w ridge R_im
    dQ_ik/dt = -2 eta_w (V_ik + V_ki) - 2 eta_w ridge Q_ik
               + 4 eta_w^2 (A_ik + noise^2 S_ik E[f_i' f_k'])
    dB_io/dt = -2 eta_v sum_a B_ao E[f_i f_a] - eta_v ridge B_io
    A_ik     = E[f_i' f_k' e_i e_k],   e_i = sum_a S_ia f_a

(Saad and Solla, Phys. Rev. E 52, 4225, 1995; Goldt et al., NeurIPS 2019, where eta = 2 eta_w.)
Derivatives of I(p,q) in C follow from the heat equation; those of the terms linear in eta are
written in the frame of ``integrals.jets``, which keeps them finite as kinked neurons become
parallel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation
from ..integrals.choice import Arguments, Index
from ..integrals.jets import F13, F22, F31, F40, J00, J02, J11, J20
from ..integrals.terms import pair_evaluator
from .fourth_moments import FourthMoments

#: Smallest eigenvalue of the covariance of kinked neurons, relative to the largest.
CONE = 1e-10
#: Rate at which points outside are drawn back, in units of the learning rate.
PULL = 10.0


class OrderState(NamedTuple):
    """Order parameters: Q (K, K), R (K, M), and the second layer v (O, K)."""

    Q: Array
    R: Array
    v: Array


class Rates(NamedTuple):
    """Rates of the two layers for the squared error without a factor 1/2, label noise, ridge."""

    w: float
    v: float
    noise: float
    ridge: float


class Coordinates:
    """The vector of variables: upper triangle of Q, then R, then v, all row by row."""

    def __init__(self, K: int, M: int, O: int) -> None:
        self.K = K
        self.M = M
        self.O = O
        i, k = np.triu_indices(K)
        row, column = (x.ravel() for x in np.indices((K, M)))
        self.q = (i, k)
        self.u = np.r_[i, row]
        self.v = np.r_[k, column + K]
        """Entries of C that the variables of Q and R are, u <= v."""
        self.num_q, self.num_c = len(i), len(i) + K * M
        self.size = self.num_c + O * K

    def pack(self, state: OrderState) -> Array:
        """The variables (size,) of a state."""
        return np.concatenate([state.Q[self.q], state.R.ravel(), state.v.ravel()])

    def unpack(self, z: Array) -> OrderState:
        """The state of variables (..., size)."""
        shape = z.shape[:-1]
        Q = np.empty((*shape, self.K, self.K))
        Q[..., self.q[0], self.q[1]] = Q[..., self.q[1], self.q[0]] = z[..., : self.num_q]
        R = z[..., self.num_q : self.num_c].reshape(*shape, self.K, self.M)
        return OrderState(Q, R.copy(), z[..., self.num_c :].reshape(*shape, self.O, self.K).copy())


class _Point(NamedTuple):
    """What value and Jacobian share at one point."""

    C: Array
    B: Array
    S: Array
    jets: Array


def _arguments(C: Array, i: Index, j: Index) -> Arguments:
    """Where the jets of the pairs (i, j) are wanted, for zero means and covariance C."""
    args = np.zeros((6, len(i)))
    args[:3] = C[i, i], C[i, j], C[j, j]
    args[5] = np.where(i == j, 0.0, np.maximum(args[0] * args[2] - args[1] ** 2, 0.0))
    return Arguments(args, np.ascontiguousarray(np.diagonal(C)), np.zeros(len(C)))


class _Cone(NamedTuple):
    """A covariance moved inside the cone of positive definite matrices, and what its derivative
    needs.
    """

    C: Array
    vectors: Array
    quotients: Array


def _inside_cone(C: Array) -> _Cone | None:
    """Nearest matrix with eigenvalues of at least ``CONE`` times the largest; None where C is one.

    Moments of kinked neurons have second derivatives that grow towards singular C, and are not
    defined beyond. A student that has met its teacher is there, and a solver's errors would put it
    beyond. The price: the error of such students levels off at about 10 to 100 times ``CONE``.
    """
    if not np.isfinite(C).all():
        return None
    values, vectors = np.linalg.eigh(C)
    clipped = np.maximum(values, CONE * values[-1])
    if values[0] == clipped[0]:
        return None
    gap = values[:, None] - values
    inside = (values == clipped).astype(float)
    mean = 0.5 * (inside[:, None] + inside)  # where eigenvalues coincide
    safe = np.where(np.abs(gap) > 1e-14 * values[-1], gap, 1.0)
    quotients = np.where(safe == gap, (clipped[:, None] - clipped) / safe, mean)
    return _Cone((vectors * clipped) @ vectors.T, vectors, quotients)


class Equations:
    """Right-hand side and Jacobian for given activations, teachers and rates.

    Parameters
    ----------
    students, teachers : list of Activation
    fourth : FourthMoments or None
        None where the rate of the first layer is zero.
    T : (M, M) array
    output : (M, O) array
        The teachers' output vectors.
    rates : Rates
    method, rtol
        How the integrals of pairs are evaluated: see
        :class:`~infflow.integrals.choice.PairEvaluator`.
    """

    def __init__(
        self,
        students: list[Activation],
        teachers: list[Activation],
        fourth: FourthMoments | None,
        T: Array,
        output: Array,
        rates: Rates,
        method: str = "auto",
        rtol: float = 1e-10,
    ) -> None:
        K = len(students)
        M, O = output.shape
        self.coordinates = Coordinates(K, M, O)
        self.T = T
        self.output = output
        self.rates = rates
        self._fourth = fourth
        self._kinked = any(activation.kinks for activation in students)
        self.evaluations = self.jacobians = 0
        self._i, self._j = (x.ravel() for x in np.indices((K, K + M)))
        self._pairs = pair_evaluator([*students, *teachers], self._i, self._j, method, rtol)
        k, m = np.triu_indices(M)
        moments = pair_evaluator(teachers, k, m, method, rtol)(_arguments(T, k, m), 0)[:, 0]
        self._teacher = float((output @ output.T)[k, m] * np.where(k == m, 1.0, 2.0) @ moments)

    def _point(self, z: Array, order: int) -> _Point:
        K = self.coordinates.K
        n = self.coordinates.K + self.coordinates.M
        Q, R, v = self.coordinates.unpack(z)
        C = np.block([[Q, R], [R.T, self.T]])
        B = np.vstack([v.T, -self.output])
        jets = self._pairs(_arguments(C, self._i, self._j), order)
        return _Point(C, B, B[:K] @ B.T, jets.reshape(K, n, -1))

    def error(self, z: Array) -> float:
        """E |student - teacher|^2 without label noise; never less than the rounding error of the
        sum that it is.
        """
        C, _, S, jets = self._point(z, 0)
        K = self.coordinates.K
        terms = S * jets[..., J00] * np.r_[np.ones(K), np.full(len(C) - K, 2.0)]
        resolution = np.finfo(np.float64).eps * (np.abs(terms).sum() + self._teacher)
        return float(np.maximum(terms.sum() + self._teacher, resolution))

    def fourth_error(self, z: Array) -> float:
        """Standard error of dQ/dt from sampling, the largest entry; 0 for closed forms."""
        if self._fourth is None:
            return 0.0
        C, _, S, _ = self._point(z, 0)
        return 4.0 * self.rates.w**2 * float(self._fourth(C, S, False).standard_error.max())

    def _cone(self, z: Array) -> _Cone | None:
        if not self._kinked:
            return None
        Q, R, _ = self.coordinates.unpack(z)
        return _inside_cone(np.block([[Q, R], [R.T, self.T]]))

    def _with_covariance(self, z: Array, C: Array) -> Array:
        """The variables with Q and R taken from C."""
        where = self.coordinates
        return np.concatenate([C[where.u, where.v], z[where.num_c :]])

    def value(self, z: Array) -> Array:
        """dz/dt (size,) at z (size,).

        With kinked students and a covariance outside of the cone (see ``_inside_cone``) it is that
        of the nearest point inside, plus a pull towards that point.
        """
        self.evaluations += 1
        cone = self._cone(z)
        if cone is None:
            return self._inner_value(z)
        inside = self._with_covariance(z, cone.C)
        return self._inner_value(inside) + PULL * self.rates.w * (inside - z)

    def _inner_value(self, z: Array) -> Array:
        eta_w, eta_v, noise, ridge = self.rates
        C, B, S, jets = self._point(z, 1)
        K = self.coordinates.K
        out_Q = np.zeros((K, K))
        out_R = np.zeros((K, self.coordinates.M))
        if eta_w > 0.0:
            V = (S * jets[..., J20]).sum(axis=1)[:, None] * C[:K] + (S * jets[..., J11]) @ C
            V += 0.5 * ridge * C[:K]
            out_R = -2.0 * eta_w * V[:, K:]
            out_Q = -2.0 * eta_w * (V[:, :K] + V[:, :K].T)
            assert self._fourth is not None
            out_Q += 4.0 * eta_w**2 * self._fourth(C, S, False).value
            out_Q += 4.0 * eta_w**2 * noise**2 * S[:, :K] * self._slopes(jets)
        out_v = -2.0 * eta_v * (jets[..., J00] @ B) - eta_v * ridge * B[:K]
        return self.coordinates.pack(OrderState(out_Q, out_R, out_v.T))

    def _slopes(self, jets: Array) -> Array:
        """E[f_i' f_k'] (K, K) among students."""
        K = self.coordinates.K
        J: Array = jets[:, :K, J11]
        return (J + J.T) / 2

    # ----------------------------------------------------------------------------------------------
    # Jacobian

    def jacobian(self, z: Array) -> Array:
        """Derivative (size, size) of :meth:`value`.

        Outside of the cone the small change of T by the projection is neglected in it.
        """
        self.jacobians += 1
        cone = self._cone(z)
        if cone is None:
            return self._inner_jacobian(z)
        J = self._inner_jacobian(self._with_covariance(z, cone.C))
        where = self.coordinates
        pull = PULL * self.rates.w
        P = np.zeros((where.num_c, where.num_c))
        for c, (u, v) in enumerate(zip(where.u, where.v, strict=True)):
            E = np.outer(cone.vectors[u], cone.vectors[v])
            E = E if u == v else E + E.T
            change = cone.vectors @ (cone.quotients * E) @ cone.vectors.T
            P[:, c] = change[where.u, where.v]
        J[:, : where.num_c] = J[:, : where.num_c] @ P
        J[: where.num_c, : where.num_c] += pull * (P - np.eye(where.num_c))
        return J

    def _inner_jacobian(self, z: Array) -> Array:
        eta_w, eta_v, noise, ridge = self.rates
        at = self._point(z, 2)
        where = self.coordinates
        K, O = where.K, where.O
        in_C, in_v = self._second_layer(at)
        v_rows = np.concatenate([in_C, in_v], axis=-1)  # (K, O, size)
        v_rows *= -2.0 * eta_v
        for i in range(K):
            for o in range(O):
                v_rows[i, o, where.num_c + o * K + i] -= eta_v * ridge
        J = np.zeros((where.size, where.size))
        J[where.num_c :] = v_rows.transpose(1, 0, 2).reshape(O * K, where.size)
        if eta_w == 0.0:
            return J
        dV = self._first_layer(at)  # (K, n, size)
        n = len(at.C)
        for c, (u, v) in enumerate(zip(where.u, where.v, strict=True)):
            dV[u, v, c] += 0.5 * ridge
            if v < K and u != v:
                dV[v, u, c] += 0.5 * ridge
        J[where.num_q : where.num_c] = -2.0 * eta_w * dV[:, K:n].reshape(-1, where.size)
        dQ = -2.0 * eta_w * (dV[:, :K] + dV[:, :K].transpose(1, 0, 2))
        dQ += 4.0 * eta_w**2 * (self._fourth_order(at) + noise**2 * self._noise_term(at))
        J[: where.num_q] = dQ[where.q]
        return J

    def _in_coordinates(self, in_C: Array) -> Array:
        """Pick the entries u <= v of derivatives (..., n, n) that belong to variables: (...,
        num_c).
        """
        picked: Array = in_C[..., self.coordinates.u, self.coordinates.v]
        return picked

    def _from_S(self, in_S: Array, B: Array) -> Array:
        """Derivatives (..., K, O) in the students' output vectors, from those (..., K, n) in S_ia =
        B_i.B_a, as (..., O K).
        """
        K = self.coordinates.K
        in_B = in_S @ B
        in_B += np.swapaxes(in_S[..., :K], -1, -2) @ B[:K]
        return np.swapaxes(in_B, -1, -2).reshape(*in_B.shape[:-2], -1)

    def _second_layer(self, at: _Point) -> tuple[Array, Array]:
        """Derivatives of sum_a B_a E[f_i f_a] (K, O) in Q and R (K, O, num_c) and in v (K,
        O, O K).
        """
        where = self.coordinates
        K = where.K
        O = where.O
        n = len(at.C)
        J = at.jets
        in_C = np.zeros((K, O, n, n))
        for i in range(K):
            others = np.arange(n) != i
            own = 0.5 * np.where(others, J[i, :, J20], 2.0 * (J[i, :, J20] + J[i, :, J11]))
            in_C[i, :, i, i] += at.B.T @ own
            for a in (int(a) for a in np.flatnonzero(others)):
                in_C[i, :, min(i, a), max(i, a)] += at.B[a] * J[i, a, J11]
                in_C[i, :, a, a] += at.B[a] * 0.5 * J[i, a, J02]
        in_v = np.einsum("ik,op->iopk", J[:, :K, J00], np.eye(O)).reshape(K, O, O * K)
        return self._in_coordinates(in_C), in_v

    def _frame(self, at: _Point) -> tuple[Array, Array, Array]:
        """Derivatives of C_im I_ia(2,0) + C_am I_ia(1,1) in C_ii, C_ia, C_aa, each (K, n, n) over
        (i, a, m).
        """
        K = self.coordinates.K
        C, J = at.C, at.jets
        own = np.diagonal(C)[:K, None]
        variance = np.diagonal(C)[None, :]
        c1 = np.divide(C[:K], own, out=np.zeros_like(C[:K]), where=own > 0)
        c2 = np.divide(C[:K], variance, out=np.zeros_like(C[:K]), where=variance > 0)
        i, a = C[:K, None, :], C[None, :, :]  # C_im, C_am
        f40, f31, f22, f13 = (J[..., c, None] for c in (F40, F31, F22, F13))
        c1, c2 = c1[..., None], c2[..., None]
        y = a - c1 * i
        in_ii = 0.5 * (i * (f40 - c1 * f31) + y * (f31 - c1 * f22))
        in_ia = i * f31 + y * f22
        in_aa = 0.5 * ((i - c2 * a) * f22 + a * f13)
        for s in range(K):  # with itself everything is a function of C_ii
            in_ii[s, s] = 0.5 * C[s] * (J[s, s, F40] + J[s, s, F31] + J[s, s, F13])
            in_ia[s, s] = in_aa[s, s] = 0.0
        return in_ii, in_ia, in_aa

    def _first_layer(self, at: _Point) -> Array:
        """Derivatives (K, n, size) of V."""
        where = self.coordinates
        K, n = where.K, len(at.C)
        C, S = at.C, at.S
        J20_ = at.jets[..., J20]
        J11_ = at.jets[..., J11]
        in_ii, in_ia, in_aa = self._frame(at)
        in_C = np.zeros((K, n, n, n))
        total = (S * J20_).sum(axis=1)
        for i in range(K):
            in_C[i, :, i, i] += np.einsum("a,am->m", S[i], in_ii[i])
            for a in range(n):
                in_C[i, :, min(i, a), max(i, a)] += S[i, a] * in_ia[i, a]
                in_C[i, :, a, a] += S[i, a] * in_aa[i, a]
                for m in range(n):  # C_im and C_am themselves
                    in_C[i, m, min(a, m), max(a, m)] += S[i, a] * J11_[i, a]
            for m in range(n):
                in_C[i, m, min(i, m), max(i, m)] += total[i]
        in_S = np.zeros((K, n, K, n))
        for i in range(K):
            in_S[i, :, i, :] = (C[i][None, :] * J20_[i][:, None] + C * J11_[i][:, None]).T
        return np.concatenate([self._in_coordinates(in_C), self._from_S(in_S, at.B)], axis=-1)

    def _fourth_order(self, at: _Point) -> Array:
        """Derivatives (K, K, size) of A."""
        assert self._fourth is not None
        K, n = self.coordinates.K, len(at.C)
        found = self._fourth(at.C, at.S, True)
        assert found.slope is not None
        in_S = np.zeros((K, K, K, n))
        for i in range(K):
            in_S[i, :, i] += found.projected[i]
            in_S[:, i, i] += found.projected[i]
        return np.concatenate(
            [self._in_coordinates(found.slope), self._from_S(in_S, at.B)], axis=-1
        )

    def _noise_term(self, at: _Point) -> Array:
        """Derivatives (K, K, size) of S_ik E[f_i' f_k']."""
        K, n = self.coordinates.K, len(at.C)
        if self.rates.noise == 0.0:
            return np.zeros((K, K, self.coordinates.size))
        in_C = np.zeros((K, K, n, n))
        in_S = np.zeros((K, K, K, n))
        slopes = self._slopes(at.jets)
        for i in range(K):
            for k in range(K):
                J = at.jets[i, k]
                in_S[i, k, i, k] = slopes[i, k]
                if i == k:
                    in_C[i, i, i, i] = at.S[i, i] * 0.5 * (J[F31] + J[F13])
                    continue
                c1 = at.C[i, k] / at.C[i, i]
                c2 = at.C[i, k] / at.C[k, k]
                in_C[i, k, i, i] = at.S[i, k] * 0.5 * (J[F31] - c1 * J[F22])
                in_C[i, k, min(i, k), max(i, k)] = at.S[i, k] * J[F22]
                in_C[i, k, k, k] = at.S[i, k] * 0.5 * (J[F13] - c2 * J[F22])
        return np.concatenate([self._in_coordinates(in_C), self._from_S(in_S, at.B)], axis=-1)
