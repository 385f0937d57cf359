"""Order parameters and the vector of variables that solvers see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._validation import Array


class OrderState(NamedTuple):
    """Order parameters: overlaps Q (K, K) of students, R (K, M) with teachers, second layer v (O,
    K).

    For coloured input Q (G, K, K) and R (G, K, M) hold the overlaps in each group of eigenvalues.
    """

    Q: Array
    R: Array
    v: Array


class Coordinates:
    """The vector of variables: of each group the upper triangle of Q, then R; v at the end.

    All are stored row by row.

    Parameters
    ----------
    K, M, O : int
        Students, directions of the teacher, outputs.
    G : int
        Groups of eigenvalues.
    """

    def __init__(self, K: int, M: int, O: int, G: int = 1) -> None:
        self.K = K
        self.M = M
        self.O = O
        self.G = G
        self.q = np.triu_indices(K)
        self.num_q = len(self.q[0])
        self.num_c = self.num_q + K * M
        """Variables of one group."""
        self.first_v = G * self.num_c
        self.size = self.first_v + O * K
        #: index of the variable Q_ik in its group, symmetric, and that of R_im
        self.index_q = np.empty((K, K), dtype=np.int64)
        self.index_q[self.q] = np.arange(self.num_q)
        self.index_q.T[self.q] = np.arange(self.num_q)
        self.index_r = self.num_q + np.arange(K * M).reshape(K, M)

    def pack(self, state: OrderState) -> Array:
        """The variables (size,) of a state, with or without an axis of groups."""
        Q = state.Q.reshape(self.G, self.K, self.K)
        R = state.R.reshape(self.G, -1)
        grouped = np.concatenate([Q[:, self.q[0], self.q[1]], R], axis=1)
        return np.concatenate([grouped.ravel(), state.v.ravel()])

    def unpack(self, z: Array) -> OrderState:
        """The state of variables (..., size); with an axis of groups if there are several."""
        Q, R, v = self.grouped(z)
        return (
            OrderState(Q, R, v) if self.G > 1 else OrderState(Q[..., 0, :, :], R[..., 0, :, :], v)
        )

    def grouped(self, z: Array) -> OrderState:
        """The same with an axis of groups always."""
        shape = z.shape[:-1]
        c = z[..., : self.first_v].reshape(*shape, self.G, self.num_c)
        Q = np.empty((*shape, self.G, self.K, self.K))
        Q[..., self.q[0], self.q[1]] = c[..., : self.num_q]
        Q[..., self.q[1], self.q[0]] = c[..., : self.num_q]
        R = c[..., self.num_q :].reshape(*shape, self.G, self.K, self.M).copy()
        v = z[..., self.first_v :].reshape(*shape, self.O, self.K).copy()
        return OrderState(Q, R, v)

    def names(self) -> tuple[str, ...]:
        """Names of the variables."""
        found: list[str] = []
        for g in range(self.G):
            mark = f"[{g}]" if self.G > 1 else ""
            found += [f"Q{mark}[{i},{k}]" for i, k in zip(*self.q, strict=True)]
            found += [f"R{mark}[{i},{m}]" for i in range(self.K) for m in range(self.M)]
        return (*found, *(f"v[{o},{i}]" for o in range(self.O) for i in range(self.K)))
