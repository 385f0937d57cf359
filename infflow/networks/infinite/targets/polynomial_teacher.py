"""Teachers that are polynomials of any number of projections of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...._validation import (
    Array,
    as_choice,
    as_number,
    as_real_array,
    as_rng,
    counted,
    public,
    shown,
)
from ....errors import InvalidTypeError, InvalidValueError, ShapeError, TooLargeError
from ...finite.net import check_columns
from ...parameters import finite
from .hermite_table import HermiteTable, expand, hermite_to_monomials

BASES = ("hermite", "monomial")
#: Highest degree of a term: moments of higher order have no digits left.
MAX_DEGREE = 24
#: By how much the rows of V may miss orthonormality.
_ORTHONORMAL = 1e-10


class PolynomialTeacher:
    r"""Targets that are a polynomial of projections ``z = V x``, in any number of directions.

    By Stein's lemma :math:`\E[f(w \cdot x + b) \prod_i \He_{a_i}(v_i \cdot x)]` is
    :math:`\E f^{(|a|)}(w \cdot x + b)` times :math:`\prod_i (w \cdot v_i)^{a_i}` for orthonormal
    directions. So value, gradient and Hessian of a :class:`NetI` with such a teacher need one
    number per neuron and order.

    Parameters
    ----------
    terms : dict
        Coefficients by exponents: ``{(1, 1, 1): 1.0, (3, 0, 0): 0.5}``, one exponent per direction.
        With one direction a number may stand for its tuple. A coefficient is a number, or one
        number per output.
    V : (k, D) or (D,) array
        The directions; orthonormal rows for ``basis="hermite"``, any rows for ``"monomial"``.
    basis : {"hermite", "monomial"}
        A term is :math:`c \prod_i \He_{a_i}(v_i \cdot x) / \sqrt{a_i!}` with probabilists'
        polynomials, or :math:`c \prod_i (v_i \cdot x)^{a_i}`.
    noise : float
        Standard deviation of Gaussian label noise; adds ``noise**2`` per output to the
        infinite-data loss.

    Attributes
    ----------
    exponents : (terms, k) int array
    coefficients : (terms, O) array
    V, basis, noise
        As given.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If an argument cannot be used: no terms, exponents that are negative or do not fit V, a
        degree above 24, rows of V that are not orthonormal.

    See Also
    --------
    FunctionTeacher : any function of one or two projections.
    leap_exponent : how hard it is to learn.

    Examples
    --------
    >>> import numpy as np
    >>> parity = PolynomialTeacher({(1, 1, 1): 1.0}, np.eye(3, 10))
    >>> parity.predict(np.full((1, 10), 2.0))
    array([[8.]])
    >>> parity.degree
    3
    """

    @public
    def __init__(
        self,
        terms: Mapping[Any, Any],
        V: ArrayLike,
        basis: str = "hermite",
        noise: float = 0.0,
    ) -> None:
        self.V = np.atleast_2d(as_real_array("V", V, ndim=(1, 2))).copy()
        k, D = self.V.shape
        if not k or not D:
            raise ShapeError(
                f"V has shape {self.V.shape}; one row per direction and one column per input are "
                "needed."
            )
        self.basis = as_choice("basis", basis, BASES)
        self.exponents, self.coefficients = _terms(terms, k)
        self.noise = as_number("noise", noise, minimum=0.0)
        if self.basis == "hermite":
            _check_orthonormal(self.V)
            roots = [math.sqrt(math.prod(map(math.factorial, a))) for a in self.exponents.tolist()]
            self._plain = self.coefficients / np.array(roots)[:, None]
        else:
            self._plain = self.coefficients
        self._monomials: dict[tuple[int, ...], Array] | None = None

    @property
    def input_dim(self) -> int:
        """Number D of inputs."""
        return self.V.shape[1]

    @property
    def output_dim(self) -> int:
        """Number O of outputs."""
        return self.coefficients.shape[1]

    @property
    def degree(self) -> int:
        """The highest total degree of a term whose coefficients are not all 0."""
        used = self.coefficients.any(axis=1)
        return int(self.exponents[used].sum(axis=1).max(initial=0))

    def predict(self, X: Any) -> Array:
        """Noise-free outputs ``(N, O)`` for inputs ``(N, D)``; raises DivergedError on overflow."""
        X = as_real_array("X", X, ndim=2)
        check_columns("X", X, self.input_dim)
        with np.errstate(over="ignore", invalid="ignore"):
            return finite("the outputs are", self.of_projections(X @ self.V.T))

    def of_projections(self, z: Array) -> Array:
        """Outputs ``(N, O)`` for projections z ``(N, k)``, without checks."""
        highest = int(self.exponents.max(initial=0))
        table = np.ones((highest + 1, *z.shape))
        for n in range(highest):
            table[n + 1] = z * table[n]
            if self.basis == "hermite" and n:
                table[n + 1] -= n * table[n - 1]
        y = np.zeros((len(z), self.output_dim))
        for exponents, coefficient in zip(self.exponents, self._plain, strict=True):
            product = np.ones(len(z))
            for direction in np.flatnonzero(exponents):
                product *= table[exponents[direction], :, direction]
            y += product[:, None] * coefficient
        return y

    def label(self, X: Any, rng: Any) -> Array:
        """Targets ``(N, O)``: the outputs with fresh label noise."""
        y = self.predict(X)
        return y + self.noise * as_rng(rng).standard_normal(y.shape) if self.noise > 0 else y

    def table(self, mean: Array | None = None, root: Array | None = None) -> HermiteTable:
        r"""The polynomial as Hermite products of standard normal numbers,
        :math:`x = \text{mean} + \text{root}\, z`.

        Arguments are not checked.

        Parameters
        ----------
        mean : (D,) array, optional
            None stands for zero.
        root : (D, D) array, optional
            None stands for the identity.

        Returns
        -------
        HermiteTable

        Raises
        ------
        TooLargeError
            If the polynomial has too many terms in these coordinates.
        """
        if mean is None and root is None and self.basis == "hermite":
            return HermiteTable(self.exponents, self._plain, self.V.T)
        V = self.V if root is None else self.V @ root
        origin = np.zeros(len(V)) if mean is None else self.V @ mean
        return expand(self.monomials(), origin, V)

    def monomials(self) -> dict[tuple[int, ...], Array]:
        """Coefficients ``(O,)`` of products of powers of the projections, by exponents."""
        if self._monomials is None:
            given = zip(map(tuple, self.exponents.tolist()), self._plain, strict=True)
            terms = dict(given)
            self._monomials = hermite_to_monomials(terms) if self.basis == "hermite" else terms
        return self._monomials

    def __repr__(self) -> str:
        return (
            f"PolynomialTeacher({counted(len(self.exponents), 'term')} of degree {self.degree} in "
            f"{counted(len(self.V), 'direction')}, basis={self.basis!r}, "
            f"input_dim={self.input_dim}, output_dim={self.output_dim}, noise={self.noise:g})"
        )


class _Term(NamedTuple):
    exponents: tuple[int, ...]
    coefficients: Array


def _terms(terms: Any, k: int) -> tuple[Any, Array]:
    """Exponents (terms, k) and coefficients (terms, O), checked."""
    if not isinstance(terms, Mapping):
        raise InvalidTypeError(
            f"terms is {shown(terms)}; a dictionary {{exponents: coefficient}} is needed, e.g. "
            "{(1, 1): 1.0}."
        )
    if not terms:
        raise InvalidValueError(
            "terms is empty; a polynomial needs at least one, e.g. {(1, 1): 1.0}."
        )
    found = [_term(key, value, k) for key, value in terms.items()]
    outputs = {len(term.coefficients) for term in found}
    if len(outputs) > 1:
        raise ShapeError(
            f"terms has coefficients of {sorted(outputs)} outputs; all need the same number."
        )
    exponents = np.array([term.exponents for term in found], dtype=np.int64)
    if len({term.exponents for term in found}) < len(found):
        raise InvalidValueError("terms has the same exponents twice; add their coefficients.")
    return exponents, np.array([term.coefficients for term in found])


def _term(key: Any, value: Any, k: int) -> _Term:
    exponents = (key,) if isinstance(key, Integral) else key
    if not isinstance(exponents, tuple) or not all(_is_count(a) for a in exponents):
        raise InvalidTypeError(
            f"terms has the exponents {shown(key)}; a tuple of integers >= 0 is needed, one per "
            "row of V."
        )
    if len(exponents) != k:
        raise ShapeError(
            f"terms has the exponents {shown(key)}; {counted(k, 'integer')} must stand there, one "
            "per row of V."
        )
    degree = sum(int(a) for a in exponents)
    if degree > MAX_DEGREE:
        raise TooLargeError(
            f"terms has the exponents {shown(key)} of degree {degree}; {MAX_DEGREE} is the "
            "highest. Use a FunctionTeacher for one or two directions."
        )
    coefficients = np.atleast_1d(as_real_array(f"the coefficient of {shown(key)}", value))
    if coefficients.ndim != 1 or not len(coefficients):
        raise ShapeError(
            f"the coefficient of {shown(key)} has shape {coefficients.shape}; a number, or one "
            "number per output, is needed."
        )
    return _Term(tuple(int(a) for a in exponents), coefficients)


def _is_count(a: Any) -> bool:
    return isinstance(a, Integral) and not isinstance(a, bool) and int(a) >= 0


def _check_orthonormal(V: Array) -> None:
    off = np.abs(V @ V.T - np.eye(len(V)))
    if off.max() > _ORTHONORMAL:
        i, j = np.unravel_index(int(off.argmax()), off.shape)
        wanted = int(i == j)
        raise InvalidValueError(
            f"the rows of V are not orthonormal: v_{i}.v_{j} misses {wanted} by {off[i, j]:.3g}. "
            "Take orthonormal rows, e.g. numpy.linalg.qr(V.T)[0].T, or basis='monomial'."
        )
