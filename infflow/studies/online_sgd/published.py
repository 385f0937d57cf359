"""Equations of online learning as they were published for erf(x/sqrt 2): an independent reference
for ``OrderParameters``.

Saad and Solla (1995), Phys. Rev. E 52, 4225; Goldt et al. (2019), NeurIPS, whose names I2, I3, I4
and J2 are kept. Loops over neurons and formulas as printed, nothing else: zero means, loss with a
factor 1/2, weights scaled so that overlaps are of order one.
"""

from __future__ import annotations

import numpy as np

from ..._validation import Array


def I2(C: Array, i: int, j: int) -> float:
    """E[g(h_i) g(h_j)]."""
    return float(2 / np.pi * np.arcsin(C[i, j] / np.sqrt((1 + C[i, i]) * (1 + C[j, j]))))


def I3(C: Array, i: int, j: int, k: int) -> float:
    """E[g'(h_i) h_j g(h_k)]."""
    L3 = (1 + C[i, i]) * (1 + C[k, k]) - C[i, k] ** 2
    return float(
        2 / np.pi / np.sqrt(L3) * (C[j, k] * (1 + C[i, i]) - C[i, j] * C[i, k]) / (1 + C[i, i])
    )


def J2(C: Array, i: int, j: int) -> float:
    """E[g'(h_i) g'(h_j)]."""
    return float(2 / np.pi / np.sqrt(1 + C[i, i] + C[j, j] + C[i, i] * C[j, j] - C[i, j] ** 2))


def I4(C: Array, i: int, j: int, k: int, l: int) -> float:
    """E[g'(h_i) g'(h_j) g(h_k) g(h_l)]."""
    L4 = (1 + C[i, i]) * (1 + C[j, j]) - C[i, j] ** 2
    L0 = (
        L4 * C[k, l]
        - C[j, k] * C[j, l] * (1 + C[i, i])
        - C[i, k] * C[i, l] * (1 + C[j, j])
        + C[i, j] * (C[i, k] * C[j, l] + C[i, l] * C[j, k])
    )

    def L(m: int) -> float:
        last = 2 * C[i, j] * C[i, m] * C[j, m]
        return float(
            L4 * (1 + C[m, m]) - C[j, m] ** 2 * (1 + C[i, i]) - C[i, m] ** 2 * (1 + C[j, j]) + last
        )

    return float(4 / np.pi**2 / np.sqrt(L4) * np.arcsin(L0 / np.sqrt(L(k) * L(l))))


def derivative(
    Q: Array, R: Array, T: Array, v: Array, teacher_v: Array, eta: float, eta_v: float, noise: float
) -> tuple[Array, Array, Array]:
    """dQ/dt (K, K), dR/dt (K, M) and dv/dt (K,) of students with second layer ``v`` (K,) and
    teachers with ``teacher_v`` (M,).
    """
    K, M = R.shape
    C = np.block([[Q, R], [R.T, T]])
    a = np.concatenate([v, -teacher_v])  # the error is sum_a a_a g(h_a)
    pair = [
        [float(sum(a[c] * I3(C, i, m, c) for c in range(K + M))) for m in range(K + M)]
        for i in range(K)
    ]
    slope = v[:, None] * np.array(pair)
    dR = -eta * slope[:, K:]
    dQ = -eta * (slope[:, :K] + slope[:, :K].T)
    for i in range(K):
        for k in range(K):
            variance = sum(
                a[c] * a[d] * I4(C, i, k, c, d) for c in range(K + M) for d in range(K + M)
            )
            dQ[i, k] += eta**2 * v[i] * v[k] * (variance + noise**2 * J2(C, i, k))
    dv = -eta_v * np.array([sum(a[c] * I2(C, i, c) for c in range(K + M)) for i in range(K)])
    return dQ, dR, dv


def committee_error(students: int, teachers: int, noise: float, eta: float) -> float:
    """Final generalization error (with a factor 1/2) of a soft committee machine at a small rate,
    second layer fixed at one.

    noise^2 eta (L + M / sqrt 3) / (2 pi) for L = K - M superfluous students of M orthonormal
    teachers (Goldt et al. 2019).
    """
    return float(noise**2 * eta * (students - teachers + teachers / np.sqrt(3)) / (2 * np.pi))
