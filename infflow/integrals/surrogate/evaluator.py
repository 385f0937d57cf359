"""Surrogates as evaluators: pair jets from the derivatives of one potential, and moments by the
heat equation.

A surrogate gives G(C11, C12, C22), an approximation of E[f(h1) f(h2)] for centred h, with its own
first and second derivatives. They fill the jets of :mod:`infflow.integrals.jets` as they are, so
that gradient and Hessian of a network are those of the surrogate's loss. An exact evaluator has
d2/dC12^2 = 4 d2/dC11 dC22; a surrogate does not, and both are used where they belong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...errors import InvalidValueError, MethodError, OutsideDomainError
from ..evaluator import (
    Arguments,
    Estimate,
    Evaluator,
    Filled,
    PairIntegrals,
    Pairs,
    Points,
    Request,
)
from ..jets import (
    F04,
    F11,
    F13,
    F22,
    F31,
    F40,
    J00,
    J02,
    J11,
    J20,
    SIZES,
    along_once,
    along_twice,
)
from . import files as surrogate_files
from .files import Surrogate
from .form import SurrogateForm

Index = NDArray[np.integer]

#: Treatments of pairs that no surrogate covers.
OUTSIDE = ("error", "exact")
_ROWS = (1, 4, 10)  # rows of a form's jet up to each order of derivatives
_ROUNDING = 1e-12  # relative, of r at the border of the domain


# --------------------------------------------------------------------------------------------------
# jets


def pair_jets(
    form: SurrogateForm, C11: Array, C12: Array, C22: Array, order: int, det: Array | None = None
) -> Array:
    """Jets ``(n, 1 | 6 | 21)`` of n pairs of neurons without biases; the columns of the biases are
    0.

    Parameters
    ----------
    form : SurrogateForm
    C11, C12, C22 : (n,) arrays
    order : {0, 1, 2}
    det : (n,) array, optional
        C11 C22 - C12^2, where it is known without cancellation.
    """
    jets = np.zeros((len(C11), SIZES[order]))
    found = form.jet(C11, C12, C22, rows=_ROWS[order], det=det)
    jets[:, J00] = found[0]
    if order >= 1:
        jets[:, J20] = 2.0 * found[1]
        jets[:, J11] = found[2]
        jets[:, J02] = 2.0 * found[3]
    if order == 2:
        d11, d12, d13, d22, d23, d33 = found[4:]
        c1 = np.divide(C12, C11, out=np.zeros_like(C12), where=C11 > 0)
        c2 = np.divide(C12, C22, out=np.zeros_like(C12), where=C22 > 0)
        jets[:, F40] = along_twice(4.0 * d11, 2.0 * d12, d22, c1)
        jets[:, F31] = along_once(2.0 * d12, d22, c1)
        jets[:, F22] = d22
        jets[:, F13] = along_once(2.0 * d23, d22, c2)
        jets[:, F04] = along_twice(4.0 * d33, 2.0 * d23, d22, c2)
        jets[:, F11] = 4.0 * d13 + 2.0 * c2 * d12 + 2.0 * c1 * d23 + c1 * c2 * d22
    return jets


# --------------------------------------------------------------------------------------------------
# pairs of a network


class SurrogatePairs(PairIntegrals):
    """Jets of a network's pairs from surrogates, all pairs of an activation in one batch."""

    def __init__(self, method: SurrogateMethod, pairs: Pairs) -> None:
        self._method = method
        self._pairs = pairs
        self._surrogates = [method.find(kind) for kind in pairs.kinds]

    def fill(
        self, rows: Index, args: Arguments, order: int, out: Array, request: Request
    ) -> Filled:
        """See :meth:`PairIntegrals.fill`; pairs outside of the domain are left, or refused.

        Raises
        ------
        OutsideDomainError
            If a pair lies outside of the domain, unless ``outside="exact"``.
        """
        bound = np.full(len(rows), np.inf)
        work = np.zeros(len(rows), dtype=np.int64)
        kind = self._pairs.kind[self._pairs.i[rows]]
        for k in np.unique(kind):
            found = self._surrogates[k]
            assert found is not None
            mine = np.flatnonzero(kind == k)
            inside = _inside(found, args.pairs[:, rows[mine]])
            if self._method.outside == "error" and not inside.all():
                raise self._refusal(found, int(rows[mine[np.argmin(inside)]]), args)
            mine = mine[inside]
            # a neuron with itself is a pair of equal ones, of whose columns only sums over both
            # places are used
            C11, C12, C22, _, _, det = args.pairs[:, rows[mine]]
            out[rows[mine]] = pair_jets(found.form, C11, C12, C22, order, det)
            bound[mine] = found.largest_error("value")
            work[mine] = found.parameters
        return Filled(bound, work, np.flatnonzero(np.isinf(bound)))

    def _refusal(self, found: Surrogate, row: int, args: Arguments) -> OutsideDomainError:
        """The error that names the pair and says what is wrong with it."""
        C11, C12, C22, b1, b2, _ = (float(x) for x in args.pairs[:, row])
        r1, r2 = np.sqrt(C11), np.sqrt(C22)
        u = float(np.clip(C12 / (r1 * r2), -1.0, 1.0)) if r1 * r2 > 0 else 0.0
        pairs = self._pairs
        who = " and ".join(dict.fromkeys(pairs.names[k[row]] for k in (pairs.i, pairs.j)))
        verb = "lie" if pairs.i[row] != pairs.j[row] else "lies"
        where = f"r1 = {r1:.6g}, r2 = {r2:.6g}, u = {u:.6g}"
        if b1 or b2:
            where += f", b1 = {b1:.6g}, b2 = {b2:.6g}"
        return OutsideDomainError(
            f"{who} {verb} outside of the domain of the surrogate for {found.name} "
            f"({found.r_min:g} <= r <= {found.r_max:g}, no biases): "
            f"{where}. Use outside='exact' to evaluate such pairs exactly, or method='auto'."
        )


def _inside(found: Surrogate, pairs: Array) -> NDArray[np.bool_]:
    """Which pairs (6, n) lie in the domain."""
    C11, _, C22, b1, b2, _ = pairs
    low = (found.r_min * (1 - _ROUNDING)) ** 2
    high = (found.r_max * (1 + _ROUNDING)) ** 2
    smaller = np.minimum(C11, C22)
    larger = np.maximum(C11, C22)
    inside: NDArray[np.bool_] = (smaller >= low) & (larger <= high) & (b1 == 0.0) & (b2 == 0.0)
    return inside


# --------------------------------------------------------------------------------------------------
# the method

#: Orders of moments that follow from the potential by the heat equation: column of form.pair,
#: factor, entry of the card's errors.
MOMENTS: dict[tuple[int, int], tuple[int, float, str]] = {
    (0, 0): (0, 1.0, "value"),
    (2, 0): (1, 2.0, "gradient"),
    (1, 1): (2, 1.0, "gradient"),
    (0, 2): (3, 2.0, "gradient"),
    (4, 0): (4, 4.0, "hessian"),
    (3, 1): (5, 2.0, "hessian"),
    (2, 2): (7, 1.0, "hessian"),
    (1, 3): (8, 2.0, "hessian"),
    (0, 4): (9, 4.0, "hessian"),
}


@dataclass(frozen=True)
class SurrogateMethod(Evaluator):
    """Surrogates as a method, with what it needs to know.

    Single moments are those of two neurons of one activation without biases, of even total order:
    I(2, 0) = 2 dG/dC11, and so on; (2, 2) is d2G/dC12^2. The error bound is the largest error on
    the card's held-out points, which is no proof.

    Attributes
    ----------
    outside : {"error", "exact"}
        What happens to pairs outside of the domain, with a bias, or of activations without a
        surrogate.
    directory : path, optional
        A user's own folder.
    constant : bool
        Whether the constant neuron, which carries the output biases, is used; if not, its pairs are
        left at 0.
    given : Surrogate, optional
        One that is in no file, for its activation.
    """

    outside: str = "error"
    directory: Any = None
    constant: bool = False
    given: Surrogate | None = None

    automatic = False

    def find(self, activation: Activation) -> Surrogate | None:
        """The surrogate of an activation, or None."""
        if self.given is not None and self.given.name == activation.name:
            return self.given
        return surrogate_files.find(activation, self.directory)

    def defined(self, *activations: Activation) -> bool:
        """Whether there is a surrogate for the pair."""
        return (
            len(activations) == 2
            and activations[0] == activations[1]
            and self.find(activations[0]) is not None
        )

    def unit(self, label: str) -> str:
        """What ``work`` counts."""
        return "weights"

    def reason(self, label: str, activations: Sequence[Activation]) -> str:
        """What its bound is."""
        return "largest value error on its card, absolute"

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair."""
        found = self.find(f)
        assert found is not None
        if orders not in MOMENTS:
            known = ", ".join(map(str, MOMENTS))
            raise MethodError(f"orders is {orders}; a surrogate gives {known}. Use method='auto'.")
        if points.b1.any() or points.b2.any():
            raise MethodError(
                "b1 and b2 must be 0 for a surrogate, which was trained without biases. Use "
                "method='auto'."
            )
        r1 = points.r1
        r2 = points.r2
        _check_domain(found, r1, r2)
        column, factor, what = MOMENTS[orders]
        jet = found.form.jet(points.C11, points.C12, points.C22, det=points.det)
        value = factor * jet[column]
        scale = _size(found.form, r1, orders[0]) * _size(found.form, r2, orders[1])
        return Estimate(value, np.full_like(value, found.largest_error(what)), scale, value.size)

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Not defined."""
        raise MethodError(
            "a surrogate stands for pairs of neurons; E f(h) is not one of them. Use method='auto'."
        )

    def candidates(
        self, f: Activation, g: Activation, exact: Callable[[], tuple[str, ...]], who: str
    ) -> tuple[str, ...]:
        """The methods that may take a pair of a network, in their order; none if it is not needed.

        ``exact`` gives those of ``method="auto"``, ``who`` is what errors call the pair.

        Raises
        ------
        MethodError
            If there is no surrogate for the pair, unless ``outside="exact"``.
        """
        is_covered = f == g and self.find(f) is not None
        if not self.constant and (_is_constant(f) or _is_constant(g)):
            return ()
        if self.outside == "exact":
            return (*(["surrogate"] if is_covered else []), *exact())
        if is_covered:
            return ("surrogate",)
        raise self._no_surrogate(f, g, who)

    def _no_surrogate(self, f: Activation, g: Activation, who: str) -> MethodError:
        if _is_constant(f) or _is_constant(g):
            return MethodError(
                "the networks have an output bias, and surrogates stand for pairs of hidden "
                "neurons only. Leave the output bias "
                "away (for the teacher also: set it to 0), or use outside='exact' or method='auto'."
            )
        if f == g:
            return surrogate_files.nothing_for(f.name, self.directory)
        return MethodError(
            f"{who} have different activations, and surrogates stand for pairs of equal ones. "
            "Use outside='exact' or method='auto'."
        )

    def on_pairs(self, pairs: Pairs, rows: Index, rtol: float) -> PairIntegrals:
        """All pairs of an activation at once."""
        return SurrogatePairs(self, pairs)


def _is_constant(activation: Activation) -> bool:
    return activation.polynomial == (1.0,) and not activation.atoms


def _size(form: SurrogateForm, r: Array, order: int) -> Array:
    """Root of E f^(p)^2, of at most the second derivative."""
    C = r * r
    squares: Array = form.jet(C, C, C, det=np.zeros_like(C))[(0, 2, 7)[min(order, 2)]]
    return np.sqrt(np.maximum(squares, 0.0))


def _check_domain(found: Surrogate, r1: Array, r2: Array) -> None:
    for name, r in (("r1", r1), ("r2", r2)):
        bad = np.flatnonzero(
            (r < found.r_min * (1 - _ROUNDING)) | (r > found.r_max * (1 + _ROUNDING))
        )
        if bad.size:
            raise InvalidValueError(
                f"{name} contains {r[bad[0]]:.6g}, outside of the domain of the surrogate for "
                f"{found.name} "
                f"({found.r_min:g} <= r <= {found.r_max:g}). Use method='auto'."
            )
