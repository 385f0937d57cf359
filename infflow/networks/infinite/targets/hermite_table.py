"""Polynomials of Gaussian variables as tables: Hermite products in orthonormal directions."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array
from ....errors import TooLargeError

#: More terms than this take seconds for one loss.
MAX_TERMS = 100_000
#: Entries of a rotation below this, relative to the largest, are rounding.
_ROUNDING = 1e-14

Terms = dict[tuple[int, ...], Array]


class HermiteTable(NamedTuple):
    """``sum_t coefficients[t] prod_i He_{exponents[t, i]}(Q[:, i].z)``, z standard normal.

    ``exponents`` (terms, k), ``coefficients`` (terms, O) of plain probabilists' polynomials, and
    orthonormal ``directions`` (D, k).
    """

    exponents: NDArray[np.int64]
    coefficients: Array
    directions: Array

    @property
    def sizes(self) -> Array:
        """E (prod He)^2 of every term, (terms,)."""
        rows = self.exponents.tolist()
        return np.array([float(math.prod(map(math.factorial, row))) for row in rows])

    @property
    def mean(self) -> Array:
        """Mean (O,) of the polynomial."""
        constant = self.exponents.sum(axis=1) == 0
        total: Array = self.coefficients[constant].sum(axis=0)
        return total

    @property
    def square(self) -> Array:
        """Mean of its square (O,)."""
        found: Array = self.sizes @ self.coefficients**2
        return found


def hermite_to_monomials(terms: Terms) -> Terms:
    """Products of Hermite polynomials, by exponents, as products of powers."""
    found: Terms = {}
    for exponents, coefficient in terms.items():
        factors = [list(enumerate(_hermite_polynomial(a))) for a in exponents]
        for choice in product(*(_nonzero(factor) for factor in factors)):
            key = tuple(power for power, _ in choice)
            value = math.prod(c for _, c in choice)
            found[key] = found.get(key, 0.0) + value * coefficient
        _check_size(found)
    return found


def expand(monomials: Terms, origin: Array, V: Array) -> HermiteTable:
    """The table of a polynomial of y = origin + V z, given by its monomials in y."""
    rows, Q = _triangular(V)
    k = Q.shape[1]
    powers: list[list[Terms]] = []
    one = {(0,) * k: np.ones(1)}
    highest = np.array(list(monomials)).max(axis=0)
    for row, offset, most in zip(rows, origin, highest, strict=True):
        line = {
            tuple(np.eye(k, dtype=int)[j].tolist()): row[j : j + 1] for j in np.flatnonzero(row)
        }
        if offset != 0.0:
            line[(0,) * k] = np.array([offset])
        of_row = [one]
        for _ in range(most):
            of_row.append(_times(of_row[-1], line))
        powers.append(of_row)
    total: Terms = {}
    for exponents, coefficient in monomials.items():
        term: Terms = one
        for of_row, a in zip(powers, exponents, strict=True):
            term = _times(term, of_row[a]) if a else term
        for key, value in term.items():
            total[key] = total.get(key, 0.0) + value * coefficient
        _check_size(total)
    table = _monomials_to_hermite(total)
    outputs = len(next(iter(monomials.values())))
    if not table:
        return HermiteTable(np.zeros((1, k), dtype=np.int64), np.zeros((1, outputs)), Q)
    rows_of_terms = np.array(list(table), dtype=np.int64).reshape(len(table), k)
    return HermiteTable(rows_of_terms, np.array(list(table.values())), Q)


def _triangular(V: Array) -> tuple[Array, Array]:
    """V = rows Q' with orthonormal columns Q (D, k); rows that are orthogonal stay themselves."""
    Q, R = np.linalg.qr(V.T)
    rows = R.T.copy()
    rows[np.abs(rows) <= _ROUNDING * max(float(np.abs(rows).max()), 1e-300)] = 0.0
    return rows, Q


def _times(a: Terms, b: Terms) -> Terms:
    out: Terms = {}
    for one, x in a.items():
        for two, y in b.items():
            key = tuple(map(sum, zip(one, two, strict=True)))
            out[key] = out.get(key, 0.0) + x * y
    _check_size(out)
    return out


def _monomials_to_hermite(terms: Terms) -> Terms:
    """``x^n = sum_j n! / (2^j j! (n - 2j)!) He_(n - 2j)(x)`` in every variable."""
    found: Terms = {}
    for exponents, coefficient in terms.items():
        for choice in product(*(_power(a) for a in exponents)):
            key = tuple(order for order, _ in choice)
            found[key] = found.get(key, 0.0) + math.prod(c for _, c in choice) * coefficient
        _check_size(found)
    return found


def _power(n: int) -> list[tuple[int, float]]:
    f = math.factorial
    return [(n - 2 * j, f(n) / (2**j * f(j) * f(n - 2 * j))) for j in range(n // 2 + 1)]


def _hermite_polynomial(n: int) -> list[float]:
    """Coefficients of He_n by powers."""
    f = math.factorial
    out = [0.0] * (n + 1)
    for j in range(n // 2 + 1):
        out[n - 2 * j] = (-1.0) ** j * f(n) / (2**j * f(j) * f(n - 2 * j))
    return out


def _nonzero(factor: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [(power, c) for power, c in factor if c != 0.0]


def _check_size(terms: Terms) -> None:
    if len(terms) > MAX_TERMS:
        raise TooLargeError(
            f"the polynomial has more than {MAX_TERMS} terms in orthonormal directions of this "
            "input. Take fewer directions or a lower degree, or orthonormal rows of V."
        )
