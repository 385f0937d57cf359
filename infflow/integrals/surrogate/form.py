r"""The formula of a surrogate: one scalar potential G(C11, C12, C22) = E[f(h1) f(h2)] of plain
arrays.

The even and the odd part of an activation are uncorrelated, E[f_e(h1) f_o(h2)] = 0, so that G is a
sum of a part that is even and one that is odd in C12. Each of them, with the parity p = 0 or 1, is

    base(C11, C12, C22) + C12^p (m(C11) m(C22) - m0(C11) m0(C22)) + v^(p+2) N(features).

* ``base`` is the integral of a few smoothed ramps |x|/2 (even) or steps (odd) and a constant or x,
  in closed form; m0(C) = E f0^(p)(h) is its Hermite coefficient of order p.
* m(C) = E f^(p)(h) is a Chebyshev series in log(C + c), exact to rounding, and with it all of G at
  C12 = 0, its slope there included.
* N is a perceptron with two hidden layers, v = C12 / sqrt((C11 + c)(C22 + c)).

All of it is a smooth function of the three covariances, down to C11 = 0, and features and base are
symmetric in the two neurons. A *jet* below is the array ``(10, n)`` of a function of (C11, C12,
C22) at n points: value, first derivatives in that order, second derivatives 11, 12, 13, 22, 23, 33;
of a function of one variable ``(3, n)``. Without second derivatives these are ``(4, n)`` and
``(2, n)``; the value alone is ``(1, n)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..._validation import Array

#: The two parts; their names are the prefixes of their arrays.
PARITIES = {"even": 0, "odd": 1}
#: Number and order of the derivatives of a jet.
SIZE = 10
PAIRS = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3))

_TWO_PI = 2.0 * np.pi


# --------------------------------------------------------------------------------------------------
# arithmetic of jets


def separable(a: Array, b: Array, x: Array, power: int = 0) -> Array:
    """Jet of ``a(C11) C12^power b(C22)`` from the jets of a and b in one variable; ``x`` (n,) is
    C12.
    """
    c0 = x**power
    if len(a) == 1:
        return a * b * c0
    c1 = power * x ** max(power - 1, 0)
    rows = [a[0] * b[0] * c0, a[1] * b[0] * c0, a[0] * b[0] * c1, a[0] * b[1] * c0]
    if len(a) == 2:
        return np.stack(rows)
    c2 = power * (power - 1) * x ** max(power - 2, 0)
    rows += [
        a[2] * b[0] * c0,
        a[1] * b[0] * c1,
        a[1] * b[1] * c0,
        a[0] * b[0] * c2,
        a[0] * b[1] * c1,
        a[0] * b[2] * c0,
    ]
    return np.stack(rows)


def product(a: Array, b: Array) -> Array:
    """Jet of a product; trailing axes broadcast."""
    out = a * b[0]
    if len(a) == 1:
        return out
    out[1:] += a[0] * b[1:]
    for row, (i, j) in _second_rows(out):
        out[row] += a[i] * b[j] + a[j] * b[i]
    return out


def _second_rows(jet: Array) -> list[tuple[int, tuple[int, int]]]:
    """Rows of second derivatives, where the jet has them, and which they are."""
    return list(enumerate(PAIRS, start=4)) if len(jet) == SIZE else []


def compose(f: tuple[Array, ...], a: Array) -> Array:
    """Jet of f(a) from f, f' and f'' at ``a[0]``."""
    if len(a) == 1:
        return np.stack([f[0]])
    out = np.empty(np.broadcast_shapes(a.shape, f[0].shape))
    out[0] = f[0]
    np.multiply(f[1], a[1:], out=out[1:])
    for row, (i, j) in _second_rows(out):
        out[row] += f[2] * a[i] * a[j]
    return out


def power_jet(C: Array, shift: float, exponent: float, rows: int) -> Array:
    """Jet ``(rows, n)`` of (C + shift)^exponent in one variable."""
    value = (C + shift) ** exponent
    if rows == 1:
        return value[None]
    first = exponent * value / (C + shift)
    return np.stack([value, first, (exponent - 1.0) * first / (C + shift)][:rows])


def log_jet(C: Array, shift: float, rows: int) -> Array:
    """Jet of log(1 + C/shift)."""
    value = np.log1p(C / shift)
    return (
        value[None]
        if rows == 1
        else np.stack([value, 1.0 / (C + shift), -1.0 / (C + shift) ** 2][:rows])
    )


def arcsine(v: Array, rest: Array) -> tuple[Array, Array, Array]:
    """asin(v) and two derivatives; ``rest`` is 1 - v^2."""
    root = 1.0 / np.sqrt(rest)
    return np.arctan2(v, rest * root), root, v * root**3


def ramps(v: Array, rest: Array) -> tuple[Array, Array, Array]:
    """sqrt(1 - v^2) + v asin(v) and two derivatives."""
    angle, root, _ = arcsine(v, rest)
    return rest * root + v * angle, angle, root


def squared_arcsine(v: Array, rest: Array) -> tuple[Array, Array, Array]:
    """asin(v)^2 and two derivatives."""
    angle, first, second = arcsine(v, rest)
    return angle**2, 2.0 * angle * first, 2.0 * (first**2 + angle * second)


@dataclass(frozen=True)
class Arguments:
    """Covariances ``(n,)`` of the points, their determinant, and how many rows of a jet are wanted
    (1, 4 or 10).
    """

    C11: Array
    C12: Array
    C22: Array
    det: Array
    rows: int

    @property
    def single_rows(self) -> int:
        """Rows of a jet in one variable."""
        return {1: 1, 4: 2, SIZE: 3}[self.rows]

    def correlation(self, shift1: float, shift2: float) -> tuple[Array, Array]:
        """Jet of v = C12 / sqrt((C11 + shift1)(C22 + shift2)), and 1 - v^2."""
        a = power_jet(self.C11, shift1, -0.5, self.single_rows)
        b = power_jet(self.C22, shift2, -0.5, self.single_rows)
        free = self.det + shift2 * self.C11 + shift1 * self.C22 + shift1 * shift2
        return separable(a, b, self.C12, 1), free * (a[0] * b[0]) ** 2


# --------------------------------------------------------------------------------------------------
# one part


@dataclass(frozen=True)
class Part:
    """The even or the odd part of a potential.

    Attributes
    ----------
    parity : int
        0 or 1.
    widths, weights : (K,) arrays
        Of the smoothed ramps |x|/2 or steps of the base.
    polynomial : float
        Coefficient of the constant (even) or of x (odd) of the base.
    moment : (M,) array
        Chebyshev coefficients of m(C) on [0, C_max] in the variable log(C + shift); empty if the
        base is exact.
    shift, C_max : float
    scales : (S,) array
        Constants c of the features asin(v)^2; the middle one is also that of the logarithms and of
        the prefactor.
    centre, spread : (S + 2,) arrays
        Features are taken relative to these.
    network : list of (W, b)
        Three layers; empty if the base is exact.
    """

    parity: int
    widths: Array
    weights: Array
    polynomial: float
    moment: Array = field(default_factory=lambda: np.empty(0))
    shift: float = 1.0
    C_max: float = 100.0
    scales: Array = field(default_factory=lambda: np.ones(1))
    centre: Array = field(default_factory=lambda: np.zeros(3))
    spread: Array = field(default_factory=lambda: np.ones(3))
    network: list[tuple[Array, Array]] = field(default_factory=list)

    def base(self, at: Arguments) -> Array:
        """Jet of the integral of the base."""
        rows = at.single_rows
        V = self.widths**2
        out = np.zeros((at.rows, len(at.C12)))
        for s1, a1 in zip(V, self.weights, strict=True):
            for s2, a2 in zip(V, self.weights, strict=True):
                v, rest = at.correlation(s1, s2)
                if self.parity:
                    out += a1 * a2 / _TWO_PI * compose(arcsine(v[0], rest), v)
                else:
                    size = separable(
                        power_jet(at.C11, s1, 0.5, rows), power_jet(at.C22, s2, 0.5, rows), at.C12
                    )  # jet of the product of both standard deviations
                    out += a1 * a2 / _TWO_PI * product(size, compose(ramps(v[0], rest), v))
        m1 = self.base_moment(at.C11, rows)
        m2 = self.base_moment(at.C22, rows)
        one = np.zeros_like(m1)
        one[0] = self.polynomial
        # (c + s1)(c + s2) with m = c + s: what is not in the sums above
        return (
            out
            + separable(one, m2, at.C12, self.parity)
            + separable(m1 - one, one, at.C12, self.parity)
        )

    def base_moment(self, C: Array, rows: int = 3) -> Array:
        """Jet of m0(C) in one variable."""
        out = np.zeros((rows, len(C)))
        out[0] = self.polynomial
        exponent = -0.5 if self.parity else 0.5
        for s, a in zip(self.widths**2, self.weights, strict=True):
            out += a / np.sqrt(_TWO_PI) * power_jet(C, float(s), exponent, rows)
        return out

    def exact_moment(self, C: Array, rows: int = 3) -> Array:
        """Jet of m(C) in one variable."""
        low = np.log(self.shift)
        high = np.log(self.C_max + self.shift)
        scale = 2.0 / (high - low)
        t = scale * log_jet(C, self.shift, rows)
        t[0] -= 1.0
        chebyshev = np.polynomial.chebyshev
        value = chebyshev.chebval(t[0], self.moment)
        if rows == 1:
            return value[None]
        d1 = chebyshev.chebval(t[0], chebyshev.chebder(self.moment))
        if rows == 2:
            return np.stack([value, d1 * t[1]])
        d2 = chebyshev.chebval(t[0], chebyshev.chebder(self.moment, 2))
        return np.stack([value, d1 * t[1], d1 * t[2] + d2 * t[1] ** 2])

    def leading(self, at: Arguments) -> Array:
        """Jet of base and moments: all but the perceptron."""
        out = self.base(at)
        if not len(self.moment):
            return out
        m1 = self.exact_moment(at.C11, at.single_rows)
        m2 = self.exact_moment(at.C22, at.single_rows)
        d1 = m1 - self.base_moment(at.C11, at.single_rows)
        d2 = m2 - self.base_moment(at.C22, at.single_rows)
        return (
            out
            + separable(m1, d2, at.C12, self.parity)
            + separable(d1, m2 - d2, at.C12, self.parity)
        )

    def features(self, at: Arguments) -> Array:
        """Jets ``(rows, n, S + 2)`` of the inputs of the perceptron, centred and scaled."""
        out = np.empty((at.rows, len(at.C12), len(self.scales) + 2))
        ones = np.zeros((at.single_rows, len(at.C12)))
        middle = float(self.scales[len(self.scales) // 2])
        ones[0] = 1.0
        a = log_jet(at.C11, middle, at.single_rows)
        b = log_jet(at.C22, middle, at.single_rows)
        out[..., 0] = separable(a, ones, at.C12) + separable(ones, b, at.C12)
        out[..., 1] = separable(a, b, at.C12)
        for k, c in enumerate(self.scales, start=2):
            v, rest = at.correlation(float(c), float(c))
            out[..., k] = compose(squared_arcsine(v[0], rest), v)
        out[0] -= self.centre
        out /= self.spread
        return out

    def prefactor(self, at: Arguments) -> Array:
        """Jet of v^(parity + 2)."""
        c = float(self.scales[len(self.scales) // 2])
        power = self.parity + 2
        a = power_jet(at.C11, c, -0.5 * power, at.single_rows)
        b = power_jet(at.C22, c, -0.5 * power, at.single_rows)
        return separable(a, b, at.C12, power)

    def jet(self, at: Arguments) -> Array:
        """Jet ``(rows, n)`` of this part of the potential."""
        out = self.leading(at)
        if self.network:
            out += product(self.prefactor(at), perceptron(self.network, self.features(at)))
        return out


def perceptron(network: list[tuple[Array, Array]], features: Array) -> Array:
    """Jet ``(rows, n)`` of a perceptron with tanh neurons and one output from the jets
    ``(rows, n, d)`` of its inputs.
    """
    z = features
    for W, b in network[:-1]:
        h = z @ W.T
        h[0] += b
        y = np.tanh(h[0])
        slope = 1.0 - y * y
        z = compose((y, slope, -2.0 * y * slope), h)
    W, b = network[-1]
    out: Array = (z @ W.T)[..., 0]
    out[0] += b
    return out


# --------------------------------------------------------------------------------------------------
# the whole


@dataclass(frozen=True)
class SurrogateForm:
    """A surrogate of one activation: everything that its file holds.

    Attributes
    ----------
    activation : str
        Its name.
    arrays : dict of arrays
        For each part ``even`` and ``odd`` with that prefix: ``widths``, ``weights``,
        ``polynomial``, ``moment``, ``shift``, ``C_max``, ``scales``, ``centre``, ``spread``
        (see :class:`Part`) and, where the part has a perceptron, ``W1``, ``b1``, ``W2``,
        ``b2``, ``W3``, ``b3``.
    settings : dict
        Name of the parametrisation, widths, ranges of r: anything JSON can hold.
    """

    activation: str
    arrays: dict[str, Array]
    settings: dict[str, Any]

    @classmethod
    def of_parts(
        cls, activation: str, parts: Mapping[str, Part], settings: dict[str, Any]
    ) -> SurrogateForm:
        """The form with these parts, by name."""
        arrays: dict[str, Array] = {}
        for name, part in parts.items():
            for key in _PART_KEYS:
                arrays[f"{name}_{key}"] = np.array(getattr(part, key), dtype=np.float64)
            for layer, (W, b) in enumerate(part.network, start=1):
                arrays[f"{name}_W{layer}"], arrays[f"{name}_b{layer}"] = np.array(W), np.array(b)
        return cls(activation, arrays, settings)

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The even and the odd part, as far as there are."""
        found = {}
        for name, parity in PARITIES.items():
            if f"{name}_widths" not in self.arrays:
                continue
            values = {key: self.arrays[f"{name}_{key}"] for key in _PART_KEYS}
            numbers = {key: float(values.pop(key)) for key in _NUMBERS}
            network = [
                (self.arrays[f"{name}_W{layer}"], self.arrays[f"{name}_b{layer}"])
                for layer in (1, 2, 3)
                if f"{name}_W{layer}" in self.arrays
            ]
            found[name] = Part(parity, network=network, **values, **numbers)  # type: ignore[arg-type]
        return found

    def jet(
        self, C11: Array, C12: Array, C22: Array, rows: int = SIZE, det: Array | None = None
    ) -> Array:
        """Jet ``(rows, n)`` with 1, 4 or 10 rows; ``det = C11 C22 - C12^2`` may be given where it
        is known without cancellation.
        """
        C11, C12, C22 = (np.asarray(c, dtype=np.float64) for c in (C11, C12, C22))
        det = (
            np.maximum(C11 * C22 - C12 * C12, 0.0)
            if det is None
            else np.asarray(det, dtype=np.float64)
        )
        out = np.zeros((rows, len(C12)))
        for start in range(0, len(C12), _BLOCK):
            block = slice(start, start + _BLOCK)
            at = Arguments(C11[block], C12[block], C22[block], det[block], rows)
            for part in self.parts.values():
                out[:, block] += part.jet(at)
        return out

    def pair(self, C11: Array, C12: Array, C22: Array) -> Array:
        """G and its derivatives in (C11, C12, C22), ``(n, 10)``: value, 1, 2, 3, then 11, 12, 13,
        22, 23, 33.

        Parameters
        ----------
        C11, C12, C22 : (n,) arrays
            Covariances of the two neurons of each pair. Nothing is checked here, the domain
            included.
        """
        return np.ascontiguousarray(self.jet(C11, C12, C22).T)

    def single(self, C11: Array) -> Array:
        """E f(h)^2 = G(C, C, C) of neurons of variance C and its two derivatives in C,
        ``(n, 3)``.
        """
        C = np.asarray(C11, dtype=np.float64)
        jet = self.jet(C, C, C, det=np.zeros(len(C)))
        second = jet[4] + jet[7] + jet[9] + 2.0 * (jet[5] + jet[6] + jet[8])
        return np.stack([jet[0], jet[1] + jet[2] + jet[3], second], axis=1)

    def potential(self, r1: Array, r2: Array, u: Array) -> Array:
        """G alone ``(n,)`` for the standard deviations r1, r2 and the correlation u of the two
        neurons.
        """
        r1, r2, u = (np.asarray(x, dtype=np.float64) for x in (r1, r2, u))
        return self.jet(
            r1**2, r1 * r2 * u, r2**2, rows=1, det=(r1 * r2) ** 2 * (1.0 - u) * (1.0 + u)
        )[0]


_NUMBERS = ("polynomial", "shift", "C_max")
_PART_KEYS = ("widths", "weights", "moment", "scales", "centre", "spread", *_NUMBERS)
# Points of one block: its arrays of the hidden layers, 10 x 96 numbers a point, stay in the cache.
_BLOCK = 256


def random_form(activation: str, rng: np.random.Generator, width: int = 96) -> SurrogateForm:
    """A form with random parameters, for tests of everything that does not depend on what was
    learnt.
    """
    parts = {}
    for name, parity in PARITIES.items():
        widths = np.sort(rng.uniform(0.5, 2.0, 3))
        shapes = [(width, 5), (width, width), (1, width)]
        network = [
            (rng.normal(size=s) / np.sqrt(s[1]), 0.1 * rng.normal(size=s[0])) for s in shapes
        ]
        parts[name] = Part(
            parity,
            widths,
            rng.normal(size=3),
            float(rng.normal()),
            moment=rng.normal(size=8) * 0.5 ** np.arange(8),
            shift=0.3,
            scales=widths**2,
            centre=rng.normal(size=5),
            spread=rng.uniform(1.0, 2.0, 5),
            network=network,
        )
    return SurrogateForm.of_parts(
        activation, parts, {"parametrisation": "parity parts", "hidden": [width, width]}
    )
