"""Jitted sums of the Hermite evaluator: see :mod:`infflow.integrals.hermite.series`."""

from __future__ import annotations

import math

import numpy as np

from ...compiler import njit

_kernel = njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})

# Tails are known to this, relative: the sum of squares of a few hundred coefficients, and E f^2,
# are rounded.
TAIL_ROUNDING = 4e-15
# How often the remainder is looked at: every term would cost as much as the term itself.
_STRIDE = 4
# The grid on which the lengths of series are known: steps per factor of two of r, and of b in units
# of max(1, r).
_R_STEPS = 4
_B_STEPS = 4
_LEAST = -4 * _R_STEPS
_MOST = 12 * _R_STEPS


@_kernel
def has_moved(r, b, before, grid):
    """Put the numbers (k, 2) of the points of the grid that stand for r, which is rounded up, and b
    into ``grid``; whether any is another.
    """
    moved = False
    for k in range(r.size):
        step = _LEAST
        if r[k] > 2.0 ** (_LEAST / _R_STEPS):
            step = math.ceil(_R_STEPS * math.log2(min(r[k], 2.0 ** (_MOST / _R_STEPS))))
        center = b[k] * _B_STEPS / max(1.0, 2.0 ** (step / _R_STEPS))
        place = round(center) if abs(center) < 1e15 else 0
        moved = moved or before[k, 0] != step or before[k, 1] != place
        grid[k, 0] = step
        grid[k, 1] = place
    return moved


def grid_point(r_step, b_step):
    """Lengths r and biases b that the numbers of a point of the grid stand for."""
    r = 2.0 ** (r_step / _R_STEPS)
    return r, b_step / _B_STEPS * max(1.0, r)


@_kernel
def needed_terms(tail, i, j, u, wanted, goal, reach, counts):
    """The first place in ``counts`` where the remainders of all wanted pairs are below the goal,
    but for those that stay far above it.

    ``tail`` (k, N) as in :func:`tails`; pairs that are above ``reach`` times the goal with all
    terms are left out. The order of the pairs does not matter.
    """
    place = 0
    last = counts.size - 1
    for r in range(i.size):
        if not wanted[r]:
            continue
        f = tail[i[r]]
        g = tail[j[r]]
        a = abs(u[r])
        n = counts[place]
        if a**n * f[n - 1] * g[n - 1] <= goal:
            continue
        n = counts[last]
        if a**n * f[n - 1] * g[n - 1] > reach * goal:
            continue
        while place < last:
            n = counts[place]
            if a**n * f[n - 1] * g[n - 1] <= goal:
                break
            place += 1
    return place


@_kernel
def tails(coefficients, energies, energy_errors, out):
    """Square root of the relative energy beyond term n, the largest over the orders p: ``out`` (k,
    N).

    ``coefficients`` (k, N, m) are those of the m derivatives, ``energies`` (k, m) = E f^(p)^2.
    """
    k, N, m = coefficients.shape
    for i in range(k):
        for n in range(N):
            out[i, n] = 0.0
        for p in range(m):
            energy = energies[i, p]
            if energy <= 0.0:
                continue
            floor = TAIL_ROUNDING + energy_errors[i, p] / energy
            rest = 0.0
            for n in range(N):
                rest += coefficients[i, n, p] ** 2
            missing = max(energy - rest, 0.0)  # beyond the last term
            beyond = missing
            for n in range(N - 1, -1, -1):
                out[i, n] = max(out[i, n], math.sqrt(beyond / energy + floor))
                beyond += coefficients[i, n, p] ** 2


@_kernel
def pair_sums(coefficients, tail, i, j, u, tolerance, moments, bounds, terms):
    """Mehler series of many pairs: ``moments`` (pairs, m, m) with I(p, q) at [p, q], p + q < m.

    A series ends when its remainder, |u|^(n+1) tail_i(n) tail_j(n) relative to sqrt(E f^(p)^2 E
    g^(q)^2), is below the tolerance, or after all terms; the remainder goes into ``bounds``, the
    number of terms into ``terms``.
    """
    N = coefficients.shape[1]
    m = coefficients.shape[2]
    for r in range(i.size):
        c = coefficients[i[r]]
        d = coefficients[j[r]]
        sums = moments[r]
        sums[:] = 0.0
        power = 1.0
        n = 0
        while True:
            for p in range(m):
                cp = power * c[n, p]
                for q in range(m - p):
                    sums[p, q] += cp * d[n, q]
            power *= u[r]
            n += 1
            if n == N or n % _STRIDE == 0:
                remainder = abs(power) * tail[i[r], n - 1] * tail[j[r], n - 1]
                if remainder <= tolerance or n == N:
                    bounds[r] = remainder
                    terms[r] = n
                    break


@_kernel
def products(values, weights, even, out, errors):
    """Moments of functions with themselves: ``out`` (k, m, m) = E f^(p) f^(q).

    ``values`` (m, k, Q) are taken on the nodes, the first ``even`` of which are those of the rule
    of twice the spacing; ``errors`` (k, m, m) receives the difference of the two rules.
    """
    m, k, Q = values.shape
    for i in range(k):
        for p in range(m):
            for q in range(p, m):
                first = 0.0
                for t in range(even):
                    first += weights[t] * values[p, i, t] * values[q, i, t]
                second = 0.0
                for t in range(even, Q):
                    second += weights[t] * values[p, i, t] * values[q, i, t]
                out[i, p, q] = out[i, q, p] = first + second
                errors[i, p, q] = errors[i, q, p] = abs(first - second)


@_kernel
def errors_by_term(values, first, second, ends, roots, moments, out):
    """Largest error of the first n + 1 coefficients of the one neuron over the orders, ``out``
    (N,); infinite where it is not finite.
    """
    m, _, N = first.shape
    out[:] = 0.0
    for p in range(m):
        size = math.sqrt(moments[0, p, p])
        size = size if size > 0.0 else 1.0
        beyond = max(abs(values[p, 0, ends[0]]) * roots[0], abs(values[p, 0, ends[1]]) * roots[1])
        total = 0.0
        for n in range(N):
            total += (first[p, 0, n] - second[p, 0, n]) ** 2
            error = (math.sqrt(total) + beyond) / size
            if not error <= out[n]:
                out[n] = error if error < math.inf else math.inf


@_kernel
def expansions(
    values,
    first,
    second,
    even,
    weights,
    ends,
    roots,
    coefficients,
    tail,
    moments,
    errors,
    product_errors,
):
    """Coefficients and moments of neurons from the sums over both halves of the nodes, and their
    errors.

    ``values`` (m, k, Q), ``first`` and ``second`` (m, k, N); the results are the fields of an
    ``Expansion``. What lies beyond the nodes is the integrand at the ``ends`` times a length of
    one. Errors are infinite where anything is not finite.
    """
    m, k, N = first.shape
    differences = np.empty((k, m, m))
    products(values, weights, even, moments, differences)
    energies = np.empty((k, m))
    uncertain = np.empty((k, m))
    sizes = np.empty(m)
    for i in range(k):
        worst = 0.0
        for p in range(m):
            energies[i, p] = moments[i, p, p]
            uncertain[i, p] = differences[i, p, p]
            sizes[p] = math.sqrt(energies[i, p]) if energies[i, p] > 0.0 else 1.0
            total = 0.0
            for n in range(N):
                a, b = first[p, i, n], second[p, i, n]
                coefficients[i, n, p] = a + b
                total += (a - b) ** 2
            beyond = max(
                abs(values[p, i, ends[0]]) * roots[0], abs(values[p, i, ends[1]]) * roots[1]
            )
            error = (math.sqrt(total) + beyond) / sizes[p]
            worst = max(worst, error if error < math.inf else math.inf)
        errors[i] = worst
        worst = 0.0
        for p in range(m):
            for q in range(m):
                error = differences[i, p, q] / (sizes[p] * sizes[q])
                worst = max(worst, error if error < math.inf else math.inf)
        product_errors[i] = worst
    tails(coefficients, energies, uncertain, tail)


@_kernel
def hermite_functions(x, N, out):
    """Normalised Hermite polynomials He_n(x)/sqrt(n!) times the root of the normal density, ``out``
    (N, Q).
    """
    for t in range(x.size):
        out[0, t] = math.exp(-0.25 * x[t] * x[t]) / (2.0 * math.pi) ** 0.25
    for n in range(1, N):
        here = out[n - 1]
        before = out[max(n - 2, 0)]
        scale = math.sqrt(n - 1.0)
        size = math.sqrt(n)
        for t in range(x.size):
            out[n, t] = (x[t] * here[t] - scale * before[t]) / size
