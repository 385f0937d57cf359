"""Compute the polynomial coefficients of ``infflow/activations/vector_math.py`` and print them.

    python scripts/make_coefficients.py

Each polynomial interpolates its function at the Chebyshev nodes of an interval, which is within a
small factor of the best approximation. Its degree is the smallest for which the neglected Chebyshev
coefficients sum to less than the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

Function = Callable[[Any], Any]
MANY = 40  # degree at which the coefficients are far below every tolerance


def chebyshev_coefficients(f: Function, degree: int) -> list[Any]:
    """Coefficients of the interpolant in T_0, ..., T_degree on [-1, 1]."""
    n = degree + 1
    angles = [mp.pi * (j + mp.mpf(1) / 2) / n for j in range(n)]
    values = [f(mp.cos(t)) for t in angles]
    c = [
        2 * mp.fsum(v * mp.cos(k * t) for v, t in zip(values, angles, strict=True)) / n
        for k in range(n)
    ]
    return [c[0] / 2, *c[1:]]


def monomials(c: list[Any], a: Any, b: Any) -> list[Any]:
    """The sum of c_k T_k(t), t = (2 z - a - b)/(b - a), as coefficients of 1, z, z^2, ..."""
    shift = -(a + b) / (b - a)
    slope = 2 / (b - a)
    previous = [mp.mpf(1)]
    current = [shift, slope]
    total = [mp.mpf(0)] * len(c)
    for coefficient in c:
        for i, p in enumerate(previous):
            total[i] += coefficient * p
        twice = [
            2 * (shift * u + slope * v) for u, v in zip([*current, 0], [0, *current], strict=True)
        ]
        padded = previous + [0] * (len(twice) - len(previous))
        previous = current
        current = [u - v for u, v in zip(twice, padded, strict=True)]
    return total


def fit(f: Function, a: Any, b: Any, tolerance: float) -> list[float]:
    """Coefficients of 1, z, z^2, ... of a polynomial that is within ``tolerance`` of f
    on [a, b].
    """
    a, b = mp.mpf(a), mp.mpf(b)

    def on_unit_interval(t: Any) -> Any:
        return f((b - a) / 2 * t + (a + b) / 2)

    c = chebyshev_coefficients(on_unit_interval, MANY)
    degree = next(n for n in range(MANY) if mp.fsum(abs(v) for v in c[n + 1 :]) < tolerance)
    return [float(v) for v in monomials(chebyshev_coefficients(on_unit_interval, degree), a, b)]


def exponential(r: Any) -> Any:
    """(exp(r) - 1 - r)/r^2."""
    return (mp.expm1(r) - r) / r**2 if abs(r) > 1e-8 else mp.mpf(1) / 2 + r / 6 + r * r / 24


def logarithm(z: Any) -> Any:
    """(2 atanh(s)/s - 2)/z with z = s^2."""
    return (
        (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z if z > 1e-12 else mp.mpf(2) / 3 + 2 * z / 5
    )


def error_function(z: Any) -> Any:
    """erf(x/sqrt 2)/x with z = x^2."""
    return mp.erf(mp.sqrt(z / 2)) / mp.sqrt(z) if z > 1e-25 else mp.sqrt(2 / mp.pi) * (1 - z / 6)


def mills_ratio(t: Any) -> Any:
    """(a + 5) (1 - Phi(a)) exp(a^2/2) at a = 5 (1 + t)/(1 - t)."""
    a = 5 * (1 + t) / (1 - t)
    if a < 60:
        tail = mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2
    else:
        tail = mp.hyp2f0(1, mp.mpf(1) / 2, -2 / a**2) / (a * mp.sqrt(2 * mp.pi))
    return (a + 5) * tail


def ramp_ratio(t: Any) -> Any:
    """(a + 5) (phi(a)/(1 - Phi(a)) - a) at a = 5 (1 + t)/(1 - t)."""
    a = 5 * (1 + t) / (1 - t)
    if a < 60:
        tail = mp.erfc(a / mp.sqrt(2)) / 2
        return (a + 5) * (mp.npdf(a) / tail - a)
    fraction = mp.mpf(0)  # Laplace's continued fraction 1/(a + 2/(a + 3/(a + ...)))
    for k in range(60, 1, -1):
        fraction = k / (a + fraction)
    return (a + 5) / (a + fraction)


def coefficients() -> dict[str, list[float]]:
    """All sets, constant term first."""
    with mp.workdps(50):
        half = mp.log(2) / 2 * (1 + mp.mpf(10) ** -6)
        largest = (3 - 2 * mp.sqrt(2)) ** 2 * (1 + mp.mpf(10) ** -3)  # s^2 at f = sqrt(2) - 1
        return {
            "exponential": fit(exponential, -half, half, 3e-17),
            "logarithm": fit(logarithm, 0, largest, 1e-16),
            "error function": fit(error_function, 0, 1, 1e-17),
            "Mills ratio": fit(mills_ratio, -1, 1, 2e-17),
            "ramp ratio": fit(ramp_ratio, -1, 1, 1e-16),
        }


if __name__ == "__main__":
    for name, values in coefficients().items():
        print(name, *values, sep="\n    ")
