r"""Gaussian moments of up to four ramps, steps, delta functions and powers, by Stein's lemma.

For zero-mean Gaussian x with covariance C the moment E[g_1(x_1) ... g_k(x_k)] is wanted, where each
factor is x^m or a member of the ladder rho^(1) = step, rho^(p)' = rho^(p+1): ramps x^(1-p) step(x)
/ (1-p)! for p <= 1, and delta functions of derivative order p - 2 for p >= 2. All of them obey x
rho^(p+1) = (1-p) rho^(p), so that Stein's lemma E[x_r G] = sum_q C_rq E[d_q G] becomes one
identity, which is used in both directions:

    (1-p) E[rho^(p)_r G] = C_rr E[rho^(p+2)_r G] + sum_(q != r) C_rq E[rho^(p+1)_r d_q G].

Downwards it removes derivatives of delta functions, upwards ramps; a delta function is removed by
conditioning. What is left are orthant probabilities, elementary in up to three dimensions; in four
dimensions one integral remains (Plackett, Biometrika 41, 351, 1954).

Factors are coded by integers: ``p`` for rho^(p), ``POWER + m`` for x^m.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler import njit

POWER = 100

#: Conditional variances below this fraction of the variance are rounding noise.
_SMALLEST = 1e-14


def _tanh_sinh(step: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1); they crowd at the ends, where degenerate integrands have
    square-root singularities.
    """
    k = step * np.arange(-count, count + 1)
    u = np.pi * np.sinh(k)
    nodes = 1.0 / (1.0 + np.exp(-u))
    return nodes, step * np.pi * np.cosh(k) * nodes / (1.0 + np.exp(u))


_NODES, _WEIGHTS = _tanh_sinh(0.08, 39)
#: Gauss-Legendre rules on (0, 1), one after the other, and the canonical correlations up to which
#: they have an error below 1e-16
_SIZES = (10, 17, 27, 50)
_FOR_CORRELATION = np.array([0.3, 0.6, 0.85, 0.96])
_ENDS = np.array([0, *np.cumsum(_SIZES)])
_GAUSS = [np.polynomial.legendre.leggauss(size) for size in _SIZES]
_GAUSS_NODES = np.concatenate([(1.0 + x) / 2.0 for x, _ in _GAUSS])
_GAUSS_WEIGHTS = np.concatenate([w / 2.0 for _, w in _GAUSS])


@njit(cache=True)
def _angle(covariance, variance1, variance2):
    """Arcsine of a correlation, clipped to [-1, 1] against rounding."""
    return math.asin(min(1.0, max(-1.0, covariance / math.sqrt(variance1 * variance2))))


@njit(cache=True)
def _paired(C):
    """Correlations R (4, 4) of C in the order in which the pairs 0, 1 and 2, 3 are strongest."""
    s = np.empty(4)
    for r in range(4):
        s[r] = 1.0 / math.sqrt(C[r, r])
    best = -1.0
    b = 1
    for q in range(1, 4):
        u, w = 1 + (q == 1), 3 - (q == 3)
        strength = max(abs(C[0, q]) * s[0] * s[q], abs(C[u, w]) * s[u] * s[w])
        if strength > best:
            best = strength
            b = q
    order = (0, b, 1 + (b == 1), 3 - (b == 3))
    R = np.empty((4, 4))
    for r in range(4):
        for q in range(4):
            R[r, q] = C[order[r], order[q]] * s[order[r]] * s[order[q]] if r != q else 1.0
    return R


@njit(cache=True)
def _canonical_correlation(R):
    """The larger canonical correlation of the pairs 0, 1 and 2, 3, at most 1."""
    a, d = R[0, 1], R[2, 3]
    size = (1.0 - a * a) * (1.0 - d * d)
    if size < 1e-6:
        return 1.0
    # trace and determinant of R11^-1 R12 R22^-1 R21
    x, y, z, w = R[0, 2], R[0, 3], R[1, 2], R[1, 3]
    p, q = x - a * z, y - a * w
    r, t = z - a * x, w - a * y
    trace = (p * (x - d * y) + q * (y - d * x) + r * (z - d * w) + t * (w - d * z)) / size
    determinant = (x * w - y * z) ** 2 / size
    square = 0.5 * trace + math.sqrt(max(0.25 * trace * trace - determinant, 0.0))
    return math.sqrt(min(square, 1.0))


@njit(cache=True)
def _switched(R, offset):
    """Integral over the path that switches two pairs together.

    The integrand is singular where the matrix of the path is, at 1 over a canonical correlation,
    and not nearer: this decides how many nodes are enough.
    """
    canonical = _canonical_correlation(R)
    nodes, weights = _NODES, _WEIGHTS
    for rule in range(_FOR_CORRELATION.size):
        if canonical <= _FOR_CORRELATION[rule]:
            nodes = _GAUSS_NODES[_ENDS[rule] : _ENDS[rule + 1]]
            weights = _GAUSS_WEIGHTS[_ENDS[rule] : _ENDS[rule + 1]]
            break
    a, d = R[0, 1], R[2, 3]
    total = 0.0
    for x in range(2):
        for y in range(2, 4):
            if R[x, y] == 0.0:
                continue
            u, w = 1 - x, 5 - y
            for n in range(nodes.shape[0]):
                t = nodes[n]
                # the others given x = y = 0; u has the correlation a with x, w has d with y
                r = t * R[x, y]
                uy = t * R[u, y]
                wx = t * R[w, x]
                uw = t * R[u, w]
                det = max(1.0 - r * r, _SMALLEST)
                vu = max(1.0 - (a * a + uy * uy - 2 * r * a * uy) / det, _SMALLEST)
                vw = max(1.0 - (wx * wx + d * d - 2 * r * wx * d) / det, _SMALLEST)
                cov = uw - (a * wx + uy * d - r * (a * d + uy * wx)) / det
                density = R[x, y] / (2 * math.pi * math.sqrt(det))
                total += weights[n] * density * (offset + _angle(cov, vu, vw) / (2 * math.pi))
    return total


@njit(cache=True)
def _orthant4(C):
    """P(x > 0) in four dimensions: Plackett's derivative along the path that switches two pairs
    together.
    """
    # the strongest correlations stay fixed
    R = _paired(C)
    first = 0.25 + _angle(R[0, 1], 1.0, 1.0) / (2 * math.pi)
    second = 0.25 + _angle(R[2, 3], 1.0, 1.0) / (2 * math.pi)
    return first * second + _switched(R, 0.25)


@njit(cache=True)
def sign_moment(C):
    """E[sign(x_1) sign(x_2) sign(x_3) sign(x_4)], by the same path."""
    R = _paired(C)
    first = _angle(R[0, 1], 1.0, 1.0) / (2 * math.pi)
    second = _angle(R[2, 3], 1.0, 1.0) / (2 * math.pi)
    return 16.0 * (first * second + _switched(R, 0.0))


@njit(cache=True)
def orthant_probability(C, k):
    """P(x_1 > 0, ..., x_k > 0) for the leading k <= 4 variables of covariance C."""
    if k == 0:
        return 1.0
    if k == 1:
        return 0.5
    if k == 4:
        return _orthant4(C)
    angles = _angle(C[0, 1], C[0, 0], C[1, 1])
    if k == 2:
        return 0.25 + angles / (2 * math.pi)
    angles += _angle(C[0, 2], C[0, 0], C[2, 2]) + _angle(C[1, 2], C[1, 1], C[2, 2])
    return 0.125 + angles / (4 * math.pi)


@njit(cache=True)
def _without(p, C, k, r, condition):
    """Codes and covariance of the other variables, given x_r = 0 if ``condition``."""
    rest = np.empty(4, np.int64)
    D = np.empty((4, 4))
    m = 0
    for q in range(k):
        if q == r:
            continue
        rest[m] = p[q]
        n = 0
        for s in range(k):
            if s != r:
                D[m, n] = C[q, s] - C[q, r] * C[s, r] / C[r, r] if condition else C[q, s]
                n += 1
        if condition:
            D[m, m] = max(D[m, m], _SMALLEST * C[q, q])
        m += 1
    return rest, D


@njit(cache=True)
def moment(p, C, k):
    """E[product of the factors coded by p[:k]] for zero-mean Gaussian variables of covariance
    C[:k, :k], k <= 4.
    """
    if k == 0:
        return 1.0
    delta = -1
    power = -1
    ramp = -1
    for r in range(k):
        if p[r] == POWER:  # the constant 1
            rest, D = _without(p, C, k, r, False)
            return moment(rest, D, k - 1)
        if p[r] > POWER:
            power = r
        elif p[r] >= 2 and (delta < 0 or p[r] < p[delta]):
            delta = r
        elif p[r] <= 0:
            ramp = r
    if delta >= 0 and p[delta] == 2:
        rest, D = _without(p, C, k, delta, True)
        return moment(rest, D, k - 1) / math.sqrt(2 * math.pi * C[delta, delta])
    if delta >= 0:  # the identity solved for rho^(p), p >= 3
        r = delta
        by_parts = p[delta] - 1
        own = p[delta] - 2
        weight = p[delta] - 3.0
        factor = -1.0 / C[r, r]
    elif power >= 0:
        r = power
        by_parts = p[power] - 1
        own = p[power] - 2
        weight = C[power, power] * (p[power] - POWER - 1.0)
        factor = 1.0
    elif ramp >= 0:
        r = ramp
        by_parts = p[ramp] + 1
        own = p[ramp] + 2
        weight = C[ramp, ramp]
        factor = 1.0 / (1.0 - p[ramp])
    else:
        return orthant_probability(C, k)
    changed = p.copy()
    total = 0.0
    if weight != 0.0:
        changed[r] = own
        total += weight * moment(changed, C, k)
    changed[r] = by_parts
    for q in range(k):
        if q == r or C[r, q] == 0.0:
            continue
        multiplicity = 1.0
        if p[q] > POWER:
            multiplicity = p[q] - POWER
            changed[q] = p[q] - 1
        else:
            changed[q] = p[q] + 1
        total += C[r, q] * multiplicity * moment(changed, C, k)
        changed[q] = p[q]
    return factor * total
