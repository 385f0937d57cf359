"""Moments of polynomials plus atoms in ball arithmetic, for points where float64 has no digits
left.

``K(m, n) = d^m/db1^m d^n/db2^n E[relu(h1) relu(h2)]`` at inflated variances, by Stein's lemma and
recursion at 50 digits, with the orthant probability by Gauss-Legendre panels over a positive
integrand. Used by several test modules.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import factorial, sqrt

import numpy as np
from flint import arb, ctx

PRECISION = 200  # bits
NODES = 32

#: polynomial and atoms (weight, order, squared width), written independently of infflow.activations
ACTIVATIONS: dict[str, tuple[tuple[float, ...], tuple[tuple[float, int, int], ...]]] = {
    "identity": ((0, 1), ()),
    "square": ((0, 0, 0.5), ()),
    "cube": ((0, 0, 0, 1), ()),
    "relu": ((), ((1, 0, 0),)),
    "leaky_relu": ((0, 0.01), ((0.99, 0, 0),)),
    "abs": ((0, -1), ((2, 0, 0),)),
    "step": ((), ((1, 1, 0),)),
    "sign": ((-1,), ((2, 1, 0),)),
    "erf": ((-1,), ((2, 1, 1),)),
    "normal_cdf": ((), ((1, 1, 1),)),
    "gelu": ((), ((1, 0, 1), (-1, 2, 1))),
    "gaussian": ((), ((sqrt(2 * np.pi), 2, 1),)),
}
KINKED = ("relu", "leaky_relu", "abs", "step", "sign")


def density(x):
    """Standard normal density."""
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def probability(x):
    """Standard normal distribution function."""
    return (-x / arb(2).sqrt()).erfc() / 2


@cache
def _rule() -> list[tuple[arb, arb]]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes = [arb.legendre_p_root(NODES, k, weight=True) for k in range(NODES)]
    return [((1 + x) / 2, w / 2) for x, w in nodes]


def _edges(h: float, z: float, c: float) -> list[float]:
    """Panels over t > 0 for exp(-(t - h)^2/2) Phi(z + c t), which falls from t = max(h, 0) at the
    latest.
    """

    def exponent(t: float) -> float:
        return (t - h) ** 2 / 2 + min(z + c * t, 0.0) ** 2 / 2

    top = exponent(max(h, 0.0)) if z + c * max(h, 0.0) > 0 else exponent(0.0)
    low = max(h, 0.0)
    high = max(h, 0.0) + 1.0
    while exponent(high) < top + 85:
        high *= 2
    for _ in range(60):
        low, high = (
            (low, (low + high) / 2)
            if exponent((low + high) / 2) > top + 85
            else ((low + high) / 2, high)
        )
    edges = {0.0, high} | {high * 0.5**k for k in range(1, 7)}
    if c != 0.0:
        edges |= {
            (x - z) / c for x in (-30, -20, -14, -10, -7, -5, -3, -1.5, 0, 1.5, 3, 5, 7, 9, 12)
        }
    edges |= {max(h, 0.0) + x for x in (-3, -1.5, 0, 1.5, 3, 5, 8)}
    return sorted(t for t in edges if 0.0 <= t <= high)


def orthant(h: arb, k: arb, u: arb, s: arb) -> arb:
    """P(h + X > 0, k + Y > 0) for correlation u, s = sqrt(1 - u^2) > 0."""
    with ctx.workprec(PRECISION):  # whatever was evaluated before
        return _orthant(h, k, u, s)


def _orthant(h: arb, k: arb, u: arb, s: arb) -> arb:
    if h > k:
        h, k = k, h
    z, c = (k - u * h) / s, u / s
    total = arb(0)
    edges = _edges(float(h), float(z), float(c))
    for start, end in pairwise(edges):
        length = arb(end) - arb(start)
        for x, w in _rule():
            t = arb(start) + length * x
            total += w * length * density(t - h) * probability(z + c * t)
    return total


def table(V1: arb, C12: arb, V2: arb, b1: arb, b2: arb, highest: int) -> dict[tuple[int, int], arb]:
    """K(m, n) for m, n <= highest."""
    K: dict[tuple[int, int], arb] = {}
    for side in (0, 1):
        V, W, b, o = (V1, V2, b1, b2) if side == 0 else (V2, V1, b2, b1)
        g = C12 / V
        m = o - g * b
        s = (W - C12 * C12 / V).sqrt()
        d = density(b / V.sqrt()) / V.sqrt()
        z = m / s
        q = d * density(z) / s
        row = [d * (m * probability(z)) + q * s * s, d * probability(z), q]
        for n in range(2, 2 * highest):
            row.append(-(m * row[n] + (n - 2) * row[n - 1]) / (s * s))
        rows = {2: row}
        for k in range(2, highest):
            before = rows.get(k - 1, [arb(0)] * len(row))
            rows[k + 1] = [
                -(b * rows[k][n] + (k - 2) * before[n]) / V - g * rows[k][n + 1]
                for n in range(len(rows[k]) - 1)
            ]
        for k, values in rows.items():
            for n in range(highest + 1):
                K.setdefault((k, n) if side == 0 else (n, k), values[n])
    r1, r2 = V1.sqrt(), V2.sqrt()
    K[1, 1] = L = orthant(b1 / r1, b2 / r2, C12 / (r1 * r2), (1 - C12 * C12 / (V1 * V2)).sqrt())
    K[1, 0] = b2 * L + C12 * K[2, 1] + V2 * K[1, 2]
    K[0, 1] = b1 * L + C12 * K[1, 2] + V1 * K[2, 1]
    K[0, 0] = b1 * K[1, 0] + V1 * K[2, 0] + C12 * L
    return K


def _polynomial_mean(coefficients: tuple[float, ...], j: int, b: arb, C: arb) -> arb:
    """Mean of derivative j of a polynomial at N(b, C)."""
    total = arb(0)
    previous = arb(0)
    power = arb(1)
    for n in range(len(coefficients) - j):
        total += arb(coefficients[n + j]) * (factorial(n + j) // factorial(n)) * power
        previous, power = power, b * power + n * C * previous
    return total


def _atom_mean(order: int, b: arb, V: arb) -> arb:
    """Mean of derivative ``order`` of a ramp at N(b, V)."""
    r = V.sqrt()
    n = density(b / r) / r
    if order == 0:
        return b * probability(b / r) + V * n
    if order == 1:
        return probability(b / r)
    previous = arb(0)
    current = n
    for k in range(order - 2):
        previous, current = current, -(b * current + k * previous) / V
    return current


class Point:
    """All moments at one point (r1, r2, u, b1, b2) of float64 numbers, which are taken as exact.

    For use within ``ctx.workprec(PRECISION)``.
    """

    def __init__(self, r1: float, r2: float, u: float, b1: float, b2: float) -> None:
        self.r1, self.r2, self.u, self.b1, self.b2 = map(arb, (r1, r2, u, b1, b2))
        self.C11, self.C12, self.C22 = self.r1**2, self.r1 * self.r2 * self.u, self.r2**2
        self._tables: dict[tuple[int, int], dict[tuple[int, int], arb]] = {}

    def atoms(self, t1: int, t2: int) -> dict[tuple[int, int], arb]:
        """The table of two atoms of these squared widths."""
        if (t1, t2) not in self._tables:
            C = self.C11 + t1, self.C12, self.C22 + t2
            self._tables[t1, t2] = table(*C, self.b1, self.b2, 6)
        return self._tables[t1, t2]

    def moment(self, f: str, g: str, p: int, q: int) -> arb:
        """E[f^(p)(h1) g^(q)(h2)]."""
        poly1, atoms1 = ACTIVATIONS[f]
        poly2, atoms2 = ACTIVATIONS[g]
        total = arb(0)
        for w1, k1, t1 in atoms1:
            for w2, k2, t2 in atoms2:
                total += arb(w1) * arb(w2) * self.atoms(t1, t2)[k1 + p, k2 + q]
        for j in range(max(len(poly1) - p, len(poly2) - q, 0)):
            factor = self.C12**j / factorial(j)
            mean1 = _polynomial_mean(poly1, j + p, self.b1, self.C11)
            mean2 = _polynomial_mean(poly2, j + q, self.b2, self.C22)
            own1 = sum(
                (arb(w) * _atom_mean(k + p + j, self.b1, self.C11 + t) for w, k, t in atoms1),
                arb(0),
            )
            own2 = sum(
                (arb(w) * _atom_mean(k + q + j, self.b2, self.C22 + t) for w, k, t in atoms2),
                arb(0),
            )
            total += factor * (mean1 * mean2 + mean1 * own2 + own1 * mean2)
        return total
