"""Information and leap exponents: how hard a target is to find for online gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...._validation import Array, as_number, public
from ....activations import Activation, resolve
from ....errors import InvalidTypeError, InvalidValueError
from ....integrals.hermite_coefficients import hermite_coefficients
from .hermite_table import HermiteTable
from .polynomial_teacher import PolynomialTeacher

#: Hermite coefficients of an activation that are looked at.
_LAST = 64


@public
def information_exponent(f: str | Activation | PolynomialTeacher, rtol: float = 1e-9) -> int:
    r"""The lowest order :math:`k \ge 1` of a Hermite coefficient that is not zero.

    Online gradient descent on a sphere finds a single direction after about :math:`D` samples for
    :math:`k = 1`, :math:`D \log D` for :math:`k = 2` and :math:`D^{k-1}` for :math:`k \ge 3` (Ben
    Arous, Gheissari and Jagannath, J. Mach. Learn. Res. 22, 106, 2021).

    Parameters
    ----------
    f : str, Activation or PolynomialTeacher
        Of an activation the coefficients are those of f(x), x standard normal, up to order 64; of a
        teacher the orders are total degrees of its terms in orthonormal directions, for standard
        normal input.
    rtol : float
        Coefficients below ``rtol`` times the standard deviation of the target count as zero. Those
        that vanish by parity are zero whatever it is.

    Returns
    -------
    int

    Raises
    ------
    InvalidValueError
        If no coefficient but that of the constant differs from zero.

    See Also
    --------
    hermite_coefficients : where it comes from.
    leap_exponent : of several directions.

    Examples
    --------
    >>> import infflow as inf
    >>> information_exponent("relu"), information_exponent("cos")
    (1, 2)
    >>> information_exponent(inf.polynomial([0, -3, 0, 1]))
    3
    """
    rtol = as_number("rtol", rtol, minimum=0.0)
    sizes = _teacher_sizes(f) if isinstance(f, PolynomialTeacher) else _activation_sizes(f)
    found = np.flatnonzero(sizes[1:] > rtol * np.sqrt((sizes[1:] ** 2).sum()))
    if not found.size:
        raise InvalidValueError(
            "the target is a constant as far as can be seen, which has no exponent: its Hermite "
            f"coefficients of order 1 to {len(sizes) - 1} are zero."
        )
    return int(found[0]) + 1


def _activation_sizes(f: Any) -> Array:
    """Sizes of the Hermite coefficients of an activation."""
    activation = resolve(f)
    sizes = np.abs(hermite_coefficients(activation, _LAST))
    if activation.parity:
        sizes[int(activation.parity > 0) :: 2] = 0.0
    return sizes


def _teacher_sizes(teacher: PolynomialTeacher) -> Array:
    """Root of the energy of every total degree."""
    table = teacher.table()
    energy = (table.sizes[:, None] * table.coefficients**2).sum(axis=1)
    degree = table.exponents.sum(axis=1)
    return np.sqrt(np.bincount(degree, weights=energy, minlength=int(degree.max()) + 1))


@public
def leap_exponent(teacher: PolynomialTeacher, rtol: float = 1e-9) -> int:
    r"""The largest leap that learning a polynomial of several directions has to take.

    Terms :math:`\prod_i \He_{a_i}(v_i \cdot x)` are learned one after the other. The leap to a term
    is the sum of its exponents over directions that no earlier term has; the exponent is the
    largest leap on the best way through all terms (Abbe, Boix-Adsera and Misiakiewicz, COLT 2023).
    For one direction it is the information exponent. A staircase
    :math:`z_1 + z_1 z_2 + z_1 z_2 z_3` has 1, the parity :math:`z_1 z_2 z_3` has 3.

    Parameters
    ----------
    teacher : PolynomialTeacher
        With orthogonal directions. The exponent belongs to its table in these directions; other
        axes in the same space can have another one.
    rtol : float
        Terms below ``rtol`` times the standard deviation of the target count as zero.

    Returns
    -------
    int

    Raises
    ------
    InvalidTypeError
        If something else is given, e.g. an activation: see :func:`information_exponent`.
    InvalidValueError
        If the directions are not orthogonal, or all terms but the constant are zero.

    See Also
    --------
    information_exponent : of one direction.
    PolynomialTeacher : what it takes.

    Examples
    --------
    >>> import numpy as np, infflow as inf
    >>> staircase = {(1, 0, 0): 1.0, (1, 1, 0): 1.0, (1, 1, 1): 1.0}
    >>> leap_exponent(inf.PolynomialTeacher(staircase, np.eye(3, 10)))
    1
    """
    if not isinstance(teacher, PolynomialTeacher):
        raise InvalidTypeError(
            f"teacher is a {type(teacher).__name__}; an inf.PolynomialTeacher is needed. Of an "
            "activation take inf.information_exponent."
        )
    rtol = as_number("rtol", rtol, minimum=0.0)
    gram = teacher.V @ teacher.V.T
    off = np.abs(gram - np.diag(np.diagonal(gram))).max()
    if off > 1e-10 * np.abs(gram).max():
        raise InvalidValueError(
            f"the directions are not orthogonal (largest scalar product {off:.3g}), and the leap "
            "exponent depends on the axes. Give the polynomial in orthonormal directions."
        )
    terms = _terms(teacher.table(), rtol)
    known = np.zeros(terms.shape[1], dtype=bool)
    largest = 0
    while len(terms):
        leaps = terms[:, ~known].sum(axis=1)
        best = int(leaps.argmin())
        largest = max(largest, int(leaps[best]))
        known |= terms[best] > 0
        terms = terms[(terms[:, ~known] > 0).any(axis=1)]
    return largest


def _terms(table: HermiteTable, rtol: float) -> Array:
    """Exponents of the terms that are not zero, the constant left out."""
    size = np.sqrt(table.sizes[:, None] * table.coefficients**2).max(axis=1)
    size[table.exponents.sum(axis=1) == 0] = 0.0
    used = size > rtol * np.sqrt((size**2).sum())
    if not used.any():
        raise InvalidValueError(
            "the target is a constant: all terms of order 1 and more are zero, and there is no "
            "exponent."
        )
    found: Array = table.exponents[used]
    return found
