r"""Gaussian integrals of elu and selu with polynomials plus atoms and with each other.

Both are ``S h`` for h > 0 and ``A (exp(h) - 1)`` for h < 0. Given the argument of the one-sided
function the mean over the other argument is closed, so that a moment is one integral over one
variable, on Gauss-Legendre panels chosen by rule, plus closed terms of the delta functions in the
derivatives (see ``elu_kernels.py``, ``elu_pair_kernels.py``). A formula without any integral exists
(tilted bivariate normal distribution functions) but cancels for large variances.

Where kinks coincide the conventions are those of ``pairs.py``, with the order m of the first
derivative that jumps (step 0, ramp and selu 1, elu 2): a derivative of order m counts with the mean
of its limits at its jump; for parallel neurons with the kinks in the same place a moment is ``inf``
for p + q >= m + m' + 2, and the derivatives of a constant neuron that sits on its kink are for p >
m. Jets leave infinite parts of order 1 out, and keep those of elu finite: the second derivatives of
a loss with a constant elu depend on the direction of approach, but are bounded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...errors import MethodError
from ..jets import EXCHANGE, SIZES
from . import elu_pair_kernels as one_sided_pair_kernels
from .atoms import AtomTable
from .powers import has_powers

if TYPE_CHECKING:
    from ...activations import Activation

__all__ = ["is_defined", "jumps", "pair_jets", "pair_moments", "sides", "single_moments", "squares"]

_kernels: Any = one_sided_pair_kernels  # mypy does not spread tuples into jitted functions
_SWAP = np.array(EXCHANGE)
_TURNED = [2, 1, 0, 4, 3, 5]  # rows of pairs with both arguments exchanged


def sides(f: Any) -> tuple[float, float] | None:
    """Slope S above 0 and factor A of exp(h) - 1 below 0; None if f is no such function."""
    return f.sides


def is_defined(f: Activation, g: Activation) -> bool:
    """Whether one of the two is elu or selu, and the other is too or is a polynomial plus atoms."""
    one = sides(f) is not None
    other = sides(g) is not None
    if has_powers(f) or has_powers(g):
        return False
    return (one and (other or g.has_closed_form)) or (other and f.has_closed_form)


@lru_cache(maxsize=64)
def _row(g: Activation) -> Array:
    """Polynomial and atoms of g, a row of the table of ``slots.py``; elu and selu have an empty
    one.
    """
    row: Array = AtomTable([g]).rows[0]
    return row


def pair_moments(f: Activation, g: Activation, pairs: Array) -> Array:
    """``E[f^(p)(h1) g^(q)(h2)]`` of n pairs of neurons, all orders p + q <= 4; arguments are not
    checked.

    Parameters
    ----------
    f, g : Activation
        A pair for which :func:`is_defined` is true.
    pairs : (6, n) array
        Rows C11, C12, C22, b1, b2 of the two Gaussian arguments, and ``det = C11 C22 - C12^2``,
        accurate also where it is small.

    Returns
    -------
    (n, 5, 5) array
        ``[:, p, q]``; infinite moments are ``inf``, entries with p + q > 4 are 0.

    Raises
    ------
    MethodError
        If :func:`is_defined` is false for the pair.
    """
    _require(f, g)
    outer = sides(f)
    if outer is None:
        return np.ascontiguousarray(pair_moments(g, f, pairs[_TURNED]).transpose(0, 2, 1))
    out = np.zeros((pairs.shape[1], 5, 5))
    inner = sides(g) or (0.0, 0.0)
    _kernels.pair_moments_loop(_row(g), *outer, *inner, *np.ascontiguousarray(pairs), out)
    return out


def pair_jets(f: Activation, g: Activation, pairs: Array, order: int) -> Array:
    """Jets ``(n, 1 | 6 | 21)`` (see ``jets.py``) of n pairs of neurons; arguments are those
    of :func:`pair_moments`.

    Infinite second derivatives are ``inf``.

    Raises
    ------
    MethodError
        If :func:`is_defined` is false for the pair.
    """
    _require(f, g)
    outer = sides(f)
    if outer is None:
        return pair_jets(g, f, pairs[_TURNED], order)[:, _SWAP[: SIZES[order]]]
    out = np.empty((pairs.shape[1], SIZES[order]))
    inner = sides(g) or (0.0, 0.0)
    _kernels.pair_jets_loop(_row(g), *outer, *inner, *np.ascontiguousarray(pairs), out)
    return out


def single_moments(f: Activation, C: Array, b: Array, max_order: int) -> Array:
    """``E f^(p)(h)`` of elu or selu with h ~ N(b, C) for p = 0 ... max_order <= 4, shape (n,
    max_order + 1); ``inf`` where infinite.
    """
    out = np.empty((b.size, 5))
    _kernels.single_moments_loop(*_sides(f), C, b, out)
    return out[:, : max_order + 1]


class Squares(NamedTuple):
    """``derivatives`` (n, 5) of E f(h)^2 in the mean, infinite parts left out; ``regular`` (n, 3):
    E R_p(h)^2, p = 0, 1, 2.
    """

    derivatives: Array
    regular: Array


def squares(f: Activation, C: Array, b: Array) -> Squares:
    """The square of elu or selu, for neurons with themselves and for scales."""
    found = Squares(np.empty((b.size, 5)), np.empty((b.size, 3)))
    _kernels.squares_loop(*_sides(f), C, b, *found)
    return found


def jumps(f: Activation) -> tuple[float, float, float, float]:
    """Jumps of the derivatives 0 to 3 of elu or selu at 0."""
    S, A = _sides(f)
    return 0.0, S - A, -A, -A


def _sides(f: Activation) -> tuple[float, float]:
    found = sides(f)
    if found is None:
        raise MethodError(f"{f.name} is neither elu nor selu. Use method='auto'.")
    return found


def _require(f: Activation, g: Activation) -> None:
    if not is_defined(f, g):
        raise MethodError(
            f"The pair {f.name}, {g.name} is not covered: elu or selu with one of the two, or "
            "with an activation that is a polynomial plus smoothed ramps, is needed. Use "
            "method='auto'."
        )
