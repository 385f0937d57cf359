"""The Jacobian of the equations of the order parameters.

Derivatives of I(p,q) in C follow from the heat equation; those of the terms linear in the rates are
written in the frame of ``integrals.jets``, which keeps them finite as kinked neurons become
parallel. Every term depends on the variables through C, the same for all groups, through the output
vectors, and linearly through the overlaps of its own group. Derivatives in C are taken entry by
entry (u <= v, u a student), and turned into those in Q^g and R^g by C = sum_g lambda_g Y^g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._validation import Array
from ...integrals.jets import F13, F22, F31, F40, J00, J02, J11, J20
from .point import slopes

if TYPE_CHECKING:
    from .right_hand_side import Equations


class Jacobian:
    """All parts of the Jacobian at one point z (size,)."""

    def __init__(self, equations: Equations, z: Array) -> None:
        self.equations = equations
        self.where = equations.coordinates
        self.K = equations.K
        self.n = equations.n
        self.at = equations.point(z, 2)
        K, m = self.K, self.n - self.K
        self._num_e = self.where.num_q + K * m
        #: place of C_ua in the list of entries, for students u and all neurons a
        self._place = np.empty((K, self.n), dtype=np.int64)
        self._place[:, :K] = self.where.index_q
        self._place[:, K:] = self.where.num_q + np.arange(K * m).reshape(K, m)

    def matrix(self) -> Array:
        """The Jacobian (size, size)."""
        where = self.where
        rates = self.equations.rates
        K = self.K
        J = np.zeros((where.size, where.size))
        J[where.first_v :] = self._second_layer()
        if not rates.w.any():
            return J
        lambdas = self.equations.eigenvalues
        shares = self.equations.noise_shares
        w = rates.w
        ridge = rates.ridge
        direct = self._direct()
        spread = self._spread()
        first_C, first_v = self._drift_in_C_and_v()
        for g in range(where.G):
            own = slice(g * where.num_c, (g + 1) * where.num_c)
            dZ = self._spread_over_groups(first_C[g], first_v[g])
            dZ[..., own] += direct
            pulled = -2.0 * lambdas[g] * w[:, None, None] * dZ
            r_rows = pulled[:, K:].reshape(K * where.M, -1)
            r_rows[np.arange(K * where.M), own.start + where.index_r.ravel()] -= ridge * np.repeat(
                w, where.M
            )
            q = pulled[:, :K] + pulled[:, :K].transpose(1, 0, 2)
            q += (4.0 * shares[g] * np.outer(w, w))[..., None] * spread
            q_rows = q[where.q]
            decay = ridge * (w[where.q[0]] + w[where.q[1]])
            q_rows[np.arange(where.num_q), own.start + np.arange(where.num_q)] -= decay
            J[own] = np.concatenate([q_rows, r_rows])
        return self._on_sphere(J) if self.equations.model.sphere else J

    # ----------------------------------------------------------------------------- from C, S to z

    def _spread_over_groups(self, in_C: Array, in_v: Array) -> Array:
        """Derivatives (..., size) from those in the entries of C (..., num_e) and in v."""
        where = self.where
        U = self.equations.model.target.U
        K, m = self.K, self.n - self.K
        q = in_C[..., : where.num_q]
        r = in_C[..., where.num_q :].reshape(*in_C.shape[:-1], K, m) @ U
        one = np.concatenate([q, r.reshape(*in_C.shape[:-1], K * where.M)], axis=-1)
        parts = [value * one for value in self.equations.eigenvalues]
        return np.concatenate([*parts, in_v], axis=-1)

    def _from_S(self, in_S: Array) -> Array:
        """Derivatives (..., O K) in v from those (..., K, n) in S, the products of the loss."""
        K, at = self.K, self.at
        weights = self.equations.rates.outputs
        if self.equations.model.correlation:  # products of students are no part of it
            in_S = in_S.copy()
            in_S[..., :K] = 0.0
        in_B = in_S @ at.B
        in_B += np.swapaxes(in_S[..., :K], -1, -2) @ at.B[:K]
        in_B *= weights
        return np.swapaxes(in_B, -1, -2).reshape(*in_B.shape[:-2], -1)

    # ------------------------------------------------------------------------------ second layer

    def _second_layer(self) -> Array:
        """Rows (O K, size) of v."""
        where = self.where
        rates = self.equations.rates
        at = self.at
        K = self.K
        O = where.O
        J = self.at.jets
        correlation = self.equations.model.correlation
        B = at.B.copy()
        if correlation:
            B[:K] = 0.0
        in_C = np.zeros((K, O, self._num_e))
        for i in range(K):
            others = np.arange(self.n) != i
            own = 0.5 * np.where(others, J[i, :, J20], 2.0 * (J[i, :, J20] + J[i, :, J11]))
            in_C[i, :, self._place[i, i]] += B.T @ own
            in_C[i][:, self._place[i, others]] += (B * J[i, :, J11, None])[others].T
            students = np.flatnonzero(others[:K])
            diagonal = self._place[students, students]
            in_C[i][:, diagonal] += (0.5 * B[students] * J[i, students, J02, None]).T
        in_v = np.zeros((K, O, O * K))
        if not correlation:
            in_v = np.einsum("ik,op->iopk", J[:, :K, J00], np.eye(O)).reshape(K, O, O * K)
        rows = self._spread_over_groups(in_C, in_v)
        rows *= -2.0 * rates.v[:, None, None] * rates.outputs[:, None]
        for i in range(K):
            for o in range(O):
                rows[i, o, where.first_v + o * K + i] -= rates.v[i] * rates.ridge
        return rows.transpose(1, 0, 2).reshape(O * K, where.size)

    # ------------------------------------------------------------------------------- first layer

    def _frame(self, Y: Array) -> tuple[Array, Array, Array]:
        """Derivatives of I_ia(2,0) Y_im + I_ia(1,1) Y_am in C_ii, C_ia, C_aa, each (K, n, K + M)
        over (i, a, m).
        """
        K = self.K
        C = self.at.C
        J = self.at.jets
        own = np.diagonal(C)[:K, None]
        variance = np.diagonal(C)[None, :]
        c1 = np.divide(C[:K], own, out=np.zeros_like(C[:K]), where=own > 0)[..., None]
        c2 = np.divide(C[:K], variance, out=np.zeros_like(C[:K]), where=variance > 0)[..., None]
        i, a = Y[:K, None, :], Y[None, :, :]  # Y_im, Y_am
        f40, f31, f22, f13 = (J[..., c, None] for c in (F40, F31, F22, F13))
        y = a - c1 * i
        in_ii = 0.5 * (i * (f40 - c1 * f31) + y * (f31 - c1 * f22))
        in_ia = i * f31 + y * f22
        in_aa = 0.5 * ((i - c2 * a) * f22 + a * f13)
        for s in range(K):  # with itself everything is a function of C_ii
            in_ii[s, s] = 0.5 * Y[s] * (J[s, s, F40] + J[s, s, F31] + J[s, s, F13])
            in_ia[s, s] = in_aa[s, s] = 0.0
        return in_ii, in_ia, in_aa

    def _drift_in_C_and_v(self) -> tuple[list[Array], list[Array]]:
        """Derivatives of Z of every group (K, K + M, .) at constant overlaps of it."""
        K = self.K
        n = self.n
        S = self.at.S
        J = self.at.jets
        J20_ = J[..., J20]
        J11_ = J[..., J11]
        of_C = []
        of_v = []
        for Y in self.at.Y:
            in_ii, in_ia, in_aa = self._frame(Y)
            targets = Y.shape[1]
            in_C = np.zeros((K, targets, self._num_e))
            in_S = np.zeros((K, targets, K, n))
            for i in range(K):
                in_C[i, :, self._place[i, i]] += S[i] @ in_ii[i]
                in_C[i][:, self._place[i]] += (S[i, :, None] * in_ia[i]).T
                diagonal = self._place[np.arange(K), np.arange(K)]
                in_C[i][:, diagonal] += (S[i, :K, None] * in_aa[i, :K]).T
                in_S[i, :, i] = (Y[i] * J20_[i, :, None] + Y * J11_[i, :, None]).T
            of_C.append(in_C)
            of_v.append(self._from_S(in_S))
        return of_C, of_v

    def _direct(self) -> Array:
        """Derivatives (K, K + M, num_c) of Z in the overlaps of its own group, at constant C."""
        where = self.where
        K = self.K
        M = self.where.M
        S, J = self.at.S, self.at.jets
        alpha = (S * J[..., J20]).sum(axis=1)
        beta = S * J[..., J11]
        gamma = beta[:, K:] @ self.equations.model.target.U
        direct = np.zeros((K, K + M, where.num_c))
        students = np.arange(K)
        teachers = np.arange(M)
        Q, R = where.index_q, where.index_r
        for i in range(K):
            direct[i, students, Q[i]] += alpha[i]
            direct[i, K + teachers, R[i]] += alpha[i]
            for l in range(K):
                direct[i, students, Q[l]] += beta[i, l]
                direct[i, K + teachers, R[l]] += beta[i, l]
            for j in range(M):
                direct[i, students, R[:, j]] += gamma[i, j]
        return direct

    # -------------------------------------------------------------------------- noise of samples

    def _spread(self) -> Array:
        """Derivatives (K, K, size) of A_ik + noise^2 B_i.B_k E[f_i' f_k']."""
        at = self.at
        K = self.K
        n = self.n
        fourth = self.equations.model.fourth
        assert fourth is not None
        found = fourth(at.C, at.S, True)
        assert found.slope is not None
        in_S = np.zeros((K, K, K, n))
        for i in range(K):
            in_S[i, :, i] += found.projected[i]
            in_S[:, i, i] += found.projected[i]
        in_C = np.empty((K, K, self._num_e))
        rows, columns = self.where.q
        in_C[..., : self.where.num_q] = found.slope[..., rows, columns]
        in_C[..., self.where.num_q :] = found.slope[..., :K, K:].reshape(K, K, -1)
        total = self._spread_over_groups(in_C, self._from_S(in_S))
        noise = self.equations.rates.noise
        return total if noise == 0.0 else total + noise**2 * self._noise_term()

    def _noise_term(self) -> Array:
        """Derivatives (K, K, size) of B_i.B_k E[f_i' f_k']."""
        at, K = self.at, self.K
        in_C = np.zeros((K, K, self._num_e))
        in_v = np.zeros((K, K, self.where.O, K))
        mean = slopes(at)
        B = at.B[:K] * self.equations.rates.outputs**2
        C = at.C
        for i in range(K):
            for k in range(K):
                J = at.jets[i, k]
                size = at.own[i, k]
                in_v[i, k, :, i] += mean[i, k] * B[k]
                in_v[i, k, :, k] += mean[i, k] * B[i]
                if i == k:
                    in_C[i, i, self._place[i, i]] = size * 0.5 * (J[F31] + J[F13])
                    continue
                c1 = C[i, k] / C[i, i]
                c2 = C[i, k] / C[k, k]
                in_C[i, k, self._place[i, i]] = size * 0.5 * (J[F31] - c1 * J[F22])
                in_C[i, k, self._place[i, k]] = size * J[F22]
                in_C[i, k, self._place[k, k]] = size * 0.5 * (J[F13] - c2 * J[F22])
        return self._spread_over_groups(in_C, in_v.reshape(K, K, -1))

    # ------------------------------------------------------------------------------------ sphere

    def _on_sphere(self, J: Array) -> Array:
        """The Jacobian with all lengths kept, from that without."""
        where = self.where
        K = self.K
        state = self.at.state
        q, _, _ = self.equations.unconstrained(self.at)
        lengths = np.einsum("gii->i", state.Q)
        total = np.einsum("gii->i", q)
        shrink = total / (2.0 * lengths)
        diagonal = where.index_q[np.arange(K), np.arange(K)]
        groups = np.arange(where.G)[:, None] * where.num_c + diagonal
        in_shrink = J[groups].sum(axis=0) / (2.0 * lengths[:, None])  # (K, size)
        in_shrink[np.arange(K)[None], groups] -= (shrink / lengths)[None]
        out = J.copy()
        for g in range(where.G):
            start = g * where.num_c
            for c, (i, k) in enumerate(zip(*where.q, strict=True)):
                out[start + c] -= state.Q[g, i, k] * (in_shrink[i] + in_shrink[k])
                out[start + c, start + c] -= shrink[i] + shrink[k]
            for s in range(K):
                for m in range(where.M):
                    row = start + where.index_r[s, m]
                    out[row] -= state.R[g, s, m] * in_shrink[s]
                    out[row, row] -= shrink[s]
        return out
