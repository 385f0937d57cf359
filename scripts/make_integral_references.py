"""Write the reference values of Gaussian integrals that the tests compare against.

    python scripts/make_integral_references.py

One-dimensional quadrature by mpmath with 30 digits, from the definitions; nothing here is shared
with infflow. All arguments are float64 numbers, written so that they read back exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import mpmath as mp
import numpy as np

DATA = Path(__file__).parents[1] / "tests" / "data"
DIGITS = 30
FAR = 42  # the standard normal density beyond is 1e-384


def integrate(
    f: Callable[[mp.mpf], mp.mpf],
    lower: mp.mpf,
    upper: mp.mpf,
    features: list[tuple[mp.mpf, mp.mpf]],
) -> mp.mpf:
    """Quadrature on [lower, upper], split around every feature (place, width)."""
    if lower >= upper:
        return mp.mpf(0)
    steps = (-32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32)
    points = {
        place + width * j for place, width in [*features, (mp.mpf(0), mp.mpf(1))] for j in steps
    }
    return mp.quad(f, sorted({lower, upper, *(p for p in points if lower < p < upper)}))


def bivariate_normal_cdf(h: float, k: float, u: float) -> mp.mpf:
    """P(X < h, Y < k) = integral of phi(x) Phi((k - u x)/sqrt(1 - u^2)) over x < h."""
    h = mp.mpf(h)
    k = mp.mpf(k)
    u = mp.mpf(u)
    if abs(u) == 1:
        return mp.ncdf(min(h, k)) if u > 0 else max(mp.mpf(0), mp.ncdf(h) - mp.ncdf(-k))
    s = mp.sqrt(1 - u * u)
    features = [(k / u, s / abs(u))] if abs(u) > mp.mpf("0.01") else []
    return integrate(lambda x: mp.npdf(x) * mp.ncdf((k - u * x) / s), mp.mpf(-FAR), h, features)


def bivariate_normal_cases() -> Iterator[tuple[float, float, float]]:
    rng = np.random.default_rng(20)
    for i in range(120):
        distance = 10.0 ** rng.uniform(-16, 0)
        u = float((1.0 - distance) * rng.choice([-1, 1])) if i % 3 else float(rng.uniform(-1, 1))
        h, k = (float(v) for v in rng.normal(size=2) * rng.choice([0.1, 1.0, 3.0, 10.0], size=2))
        if i % 4 == 0:  # in the boundary layer of strong correlation
            k = float(h * np.sign(u) + rng.normal() * np.sqrt(1 - u * u))
        yield h, k, u
    for u in (-1.0, -0.999, -0.8, -0.3, 0.0, 1e-9, 0.3, 0.8, 0.801, 0.999, 1.0 - 2.0**-53, 1.0):
        yield from (
            (h, k, u) for h, k in ((0.0, 1.0), (-40.0, 1.0), (40.0, -1.0), (-6.0, -6.0), (0.0, 0.0))
        )


def upper_moments(t: mp.mpf) -> list[mp.mpf]:
    """E[y^n; y > t] of a standard normal y, n = 0, 1, 2, 3."""
    p, d = mp.ncdf(-t), mp.npdf(t)
    return [p, d, p + t * d, (t * t + 2) * d]


def ramp_hessian(a: float, s: float, b1: float, b2: float) -> list[list[mp.mpf]]:
    """Hessian of E[relu(x + b1) relu(a x + s y + b2)] in (w1, b1, w2, b2), 6 x 6, at w1 = (1, 0),
    w2 = (a, s).

    With X = (x, y, 1) the blocks are E[delta(h1) relu(h2) X X'], E[step(h1) step(h2) X X'],
    E[relu(h1) delta(h2) X X'].
    """
    a = mp.mpf(a)
    s = mp.mpf(s)
    b1 = mp.mpf(b1)
    b2 = mp.mpf(b2)
    powers = [
        (2, 0),
        (1, 1),
        (1, 0),
        (0, 2),
        (0, 1),
        (0, 0),
    ]  # of x and y in the upper triangle of X X'

    def both_above(i: int, j: int) -> mp.mpf:
        features = [(-b2 / a, s / abs(a))]
        inner = lambda x: x**i * mp.npdf(x) * upper_moments(-(a * x + b2) / s)[j]  # noqa: E731
        return integrate(inner, -b1, mp.mpf(FAR), features)

    def first_at_zero(i: int, j: int) -> mp.mpf:
        x = -b1
        mean = b2 - a * b1
        moments = upper_moments(-mean / s)
        return mp.npdf(x) * x**i * (mean * moments[j] + s * moments[j + 1])

    def second_at_zero(i: int, j: int) -> mp.mpf:
        r = mp.sqrt(a * a + s * s)  # (x, y) = -b2/r e + t n with e = (a, s)/r, n = (s, -a)/r
        mean = b1 - a * b2 / r**2

        def line(t: mp.mpf) -> mp.mpf:
            x = -a * b2 / r**2 + s * t / r
            y = -s * b2 / r**2 - a * t / r
            return mp.npdf(t) * (mean + s / r * t) * x**i * y**j

        return (
            mp.npdf(b2 / r) / r * integrate(line, max(-mean * r / s, mp.mpf(-FAR)), mp.mpf(FAR), [])
        )

    def block(entry: Callable[[int, int], mp.mpf]) -> list[list[mp.mpf]]:
        xx, xy, x, yy, y, one = (entry(i, j) for i, j in powers)
        return [[xx, xy, x], [xy, yy, y], [x, y, one]]

    first = block(first_at_zero)
    mixed = block(both_above)
    second = block(second_at_zero)
    return [[*p, *q] for p, q in zip(first, mixed, strict=True)] + [
        [*p, *q] for p, q in zip(mixed, second, strict=True)
    ]


def ramp_cases() -> Iterator[tuple[float, float, float, float]]:
    for s in (1.0, 1e-3, 1e-5, 1e-8, 1e-10):
        for a in (1.0, 0.75, -0.5):
            for b1, t in ((0.0, 0.0), (0.5, 0.0), (-1.25, 0.7)):
                yield a, s, b1, a * b1 + t * s


def text(value: mp.mpf) -> str:
    return mp.nstr(value, DIGITS)


def main() -> None:
    mp.mp.dps = DIGITS + 10
    tables = {
        "bivariate_normal_references": [
            [h, k, u, text(bivariate_normal_cdf(h, k, u))] for h, k, u in bivariate_normal_cases()
        ],
        "ramp_hessian_references": [
            {
                "a": a,
                "s": s,
                "b1": b1,
                "b2": b2,
                "hessian": [[text(v) for v in row] for row in ramp_hessian(a, s, b1, b2)],
            }
            for a, s, b1, b2 in ramp_cases()
        ],
    }
    for name, rows in tables.items():
        lines = ",\n".join(json.dumps(row) for row in rows)
        (DATA / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        print(f"wrote {name}.json, {len(rows)} rows")


if __name__ == "__main__":
    main()
