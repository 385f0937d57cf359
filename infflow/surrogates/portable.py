"""The potential of a surrogate in the arithmetic of any array library; this file imports nothing of
infflow.

To use a surrogate without infflow, copy this file and ``NAME.npz``::

    import numpy as np
    from portable import potential
    arrays = dict(np.load("tanh.npz", allow_pickle=False))
    potential(arrays, 0.5, 1.2, 0.3, np)

The formula is explained in ``infflow/integrals/surrogate/form.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def potential(arrays: Mapping[str, Any], r1: Any, r2: Any, u: Any, xp: Any) -> Any:
    """Approximation of E[f(r1 x) f(r2 y)] for standard normal x, y of correlation u.

    Parameters
    ----------
    arrays : mapping
        The arrays of the archive; W1, b1, ... as arrays of the library.
    r1, r2, u : arrays of the library, or numbers for NumPy
        They broadcast and are not checked against the domain.
    xp : module
        ``numpy``, ``jax.numpy`` or ``torch``: sqrt, log1p, tanh, arctan2 and stack are used.
    """
    nothing = 0.0 * (r1 + r2 + u)
    r1 = r1 + nothing
    r2 = r2 + nothing
    u = u + nothing
    C = (r1 * r1, r1 * r2 * u, r2 * r2)
    det = C[0] * C[2] * (1.0 - u) * (1.0 + u)
    total = nothing
    for parity, name in enumerate(("even_", "odd_")):
        part = {key[len(name) :]: value for key, value in arrays.items() if key.startswith(name)}
        if part:
            total = total + _part(part, parity, *C, det, xp)
    return total


def _part(
    part: Mapping[str, Any], parity: int, C11: Any, C12: Any, C22: Any, det: Any, xp: Any
) -> Any:
    """The even or the odd part."""
    constant = float(part["polynomial"])
    ramps = [
        (float(s) ** 2, float(a)) for s, a in zip(part["widths"], part["weights"], strict=True)
    ]
    base1, base2 = (_base_moment(C, ramps, constant, parity) for C in (C11, C22))
    linear = constant * base2 + (base1 - constant) * constant
    if len(part["moment"]):
        m1, m2 = (_moment(part, C, xp) for C in (C11, C22))
        linear = linear + m1 * (m2 - base2) + (m1 - base1) * base2
    total = _base(C11, C12, C22, det, ramps, parity, xp) + C12**parity * linear
    if "W1" not in part:
        return total
    scales = [float(c) for c in part["scales"]]
    middle = scales[len(scales) // 2]
    v, _ = _correlation(C11, C12, C22, det, middle, middle)
    return total + v ** (parity + 2) * _perceptron(part, C11, C12, C22, det, scales, xp)


def _correlation(C11: Any, C12: Any, C22: Any, det: Any, s1: float, s2: float) -> tuple[Any, Any]:
    """Smoothed correlation C12 / sqrt((C11 + s1)(C22 + s2)), and 1 minus its square without
    cancellation.
    """
    size = (C11 + s1) * (C22 + s2)
    return C12 * size**-0.5, (det + s2 * C11 + s1 * C22 + s1 * s2) / size


def _base(C11: Any, C12: Any, C22: Any, det: Any, ramps: Any, parity: int, xp: Any) -> Any:
    """Integral of the smoothed ramps or steps of the base."""
    total = 0.0 * C12
    for s1, a1 in ramps:
        for s2, a2 in ramps:
            v, rest = _correlation(C11, C12, C22, det, s1, s2)
            root = xp.sqrt(rest)
            kernel = xp.arctan2(v, root)
            if not parity:
                kernel = ((C11 + s1) * (C22 + s2)) ** 0.5 * (root + v * kernel)
            total = total + a1 * a2 / (2.0 * math.pi) * kernel
    return total


def _base_moment(C: Any, ramps: Any, constant: float, parity: int) -> Any:
    """Hermite coefficient of order 0 or 1 of the base."""
    total = constant + 0.0 * C
    for s, a in ramps:
        total = total + a / math.sqrt(2.0 * math.pi) * (C + s) ** (0.5 - parity)
    return total


def _moment(part: Mapping[str, Any], C: Any, xp: Any) -> Any:
    """Hermite coefficient of the activation: a Chebyshev series in log(C + shift), by Clenshaw's
    recurrence.
    """
    shift = float(part["shift"])
    low = math.log(shift)
    high = math.log(float(part["C_max"]) + shift)
    t = 2.0 / (high - low) * xp.log1p(C / shift) - 1.0
    coefficients = [float(c) for c in part["moment"]]
    first = 0.0 * t
    second = 0.0 * t
    for c in coefficients[:0:-1]:
        first, second = c + 2.0 * t * first - second, first
    return coefficients[0] + t * first - second


def _perceptron(
    part: Mapping[str, Any], C11: Any, C12: Any, C22: Any, det: Any, scales: Any, xp: Any
) -> Any:
    """The network of symmetric features."""
    middle = scales[len(scales) // 2]
    a = xp.log1p(C11 / middle)
    b = xp.log1p(C22 / middle)
    features = [a + b, a * b]
    for c in scales:
        v, rest = _correlation(C11, C12, C22, det, c, c)
        features.append(xp.arctan2(v, xp.sqrt(rest)) ** 2)
    columns = [
        (feature - float(centre)) / float(spread)
        for feature, centre, spread in zip(features, part["centre"], part["spread"], strict=True)
    ]
    z = xp.stack(columns, -1)
    for layer in ("1", "2"):
        z = xp.tanh(z @ part["W" + layer].T + part["b" + layer])
    return (z @ part["W3"].T + part["b3"])[..., 0]
