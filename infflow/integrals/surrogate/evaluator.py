"""Surrogates as evaluators: pair jets from the derivatives of one potential, and moments by the
heat equation.

A surrogate gives G(C11, C12, C22), an approximation of E[f(h1) f(h2)] for centred h, with its own
first and second derivatives. They fill the jets of :mod:`infflow.integrals.jets` as they are, so
that gradient and Hessian of a network are those of the surrogate's loss. An exact evaluator has
d2/dC12^2 = 4 d2/dC11 dC22; a surrogate does not, and both are used where they belong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...compile_time import running_time
from ...errors import InvalidValueError, MethodError, OutsideDomainError
from .. import terms
from ..choice import METHODS, Arguments, PairEvaluator, candidates
from ..jets import F04, F11, F13, F22, F31, F40, J00, J02, J11, J20, SIZES, in_frame
from ..registry import Estimate, Points
from . import files as surrogate_files
from .files import Surrogate
from .form import SurrogateForm

Index = NDArray[np.integer]

#: Treatments of pairs that no surrogate covers.
OUTSIDE = ("error", "exact")
_CODE = METHODS.index("surrogate")
_NOT_NEEDED = -1
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
        frame = in_frame(4.0 * d11, 2.0 * d12, d22, 2.0 * d23, 4.0 * d33, c1, c2)
        for column, values in zip((F40, F31, F22, F13, F04), frame, strict=True):
            jets[:, column] = values
        jets[:, F11] = 4.0 * d13 + 2.0 * c2 * d12 + 2.0 * c1 * d23 + c1 * c2 * d22
    return jets


# --------------------------------------------------------------------------------------------------
# pairs of a network


@dataclass(frozen=True)
class SurrogateMethod:
    """The method "surrogate" of a network with what it needs to know.

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

    def find(self, activation: Activation) -> Surrogate | None:
        """The surrogate of an activation, or None."""
        if self.given is not None and self.given.name == activation.name:
            return self.given
        return surrogate_files.find(activation, self.directory)


class SurrogateEvaluator(PairEvaluator):
    """Jets of pairs from surrogates, all pairs of an activation in one batch; the others by exact
    evaluators, if wanted.

    Parameters
    ----------
    activations, i, j, rtol
        As for :class:`~infflow.integrals.choice.PairEvaluator`.
    method : SurrogateMethod
    labels : list of str
        What errors call the neurons.

    Raises
    ------
    MethodError
        If a pair has no surrogate, unless ``outside="exact"``.
    StorageError
        If the files of a surrogate cannot be used.
    """

    def __init__(
        self,
        activations: list[Activation],
        i: Index,
        j: Index,
        method: SurrogateMethod,
        rtol: float,
        labels: list[str],
    ) -> None:
        self.surrogate_method = method
        self.labels = labels
        super().__init__(activations, i, j, "auto", rtol)

    def _plan(self, kinds: list[Activation]) -> dict[tuple[str, ...], Index]:
        """Rows of the pairs that share a list of candidates: a surrogate, then what takes what it
        leaves.
        """
        method = self.surrogate_method
        self._surrogates = [method.find(kind) for kind in kinds]
        first = self._kind[self.i]
        second = self._kind[self.j]
        groups: dict[tuple[str, ...], list[Index]] = {}
        for pair in np.unique(first * len(kinds) + second):
            a, b = divmod(int(pair), len(kinds))
            rows = np.flatnonzero((first == a) & (second == b))
            covered = a == b and self._surrogates[a] is not None
            if not method.constant and (_is_constant(kinds[a]) or _is_constant(kinds[b])):
                names: tuple[str, ...] = ("nothing",)
            elif method.outside == "exact":
                names = (*(["surrogate"] if covered else []), *candidates(kinds[a], kinds[b]))
            elif covered:
                names = ("surrogate",)
            else:
                raise self._no_surrogate(kinds[a], kinds[b], int(rows[0]))
            groups.setdefault(names, []).append(rows)
        return {names: np.sort(np.concatenate(rows)) for names, rows in groups.items()}

    def _no_surrogate(self, f: Activation, g: Activation, row: int) -> MethodError:
        if _is_constant(f) or _is_constant(g):
            return MethodError(
                "the networks have an output bias, and surrogates stand for pairs of hidden "
                "neurons only. Leave the output bias "
                "away (for the teacher also: set it to 0), or use outside='exact' or method='auto'."
            )
        if f == g:
            return surrogate_files.nothing_for(f.name, self.surrogate_method.directory)
        who = f"{self.labels[self.i[row]]} ({f.name}) and {self.labels[self.j[row]]} ({g.name})"
        return MethodError(
            f"{who} have different activations, and surrogates stand for pairs of equal ones. "
            "Use outside='exact' or method='auto'."
        )

    def frozen(self, args: Arguments, rtol: float) -> PairEvaluator:
        """Itself: a surrogate is a smooth function, and which pairs it covers does not depend on
        tolerances.
        """
        return self

    @property
    def is_smooth(self) -> bool:
        """Whether freezing changes nothing: always."""
        return True

    def _apply(self, name: str, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        """Fill the rows by one method; returns those which it does not cover."""
        if name == "nothing":
            out[rows] = 0.0
            self.report.method[rows] = _NOT_NEEDED
            self.report.bound[rows] = 0.0
            self.report.work[rows] = 0
            return rows[:0]
        if name != "surrogate":
            return super()._apply(name, rows, args, order, out)
        start = running_time()
        left = self._surrogate_rows(rows, args, order, out)
        self.report.method[rows] = _CODE
        self.report.seconds[name] = running_time() - start
        return left

    def _surrogate_rows(self, rows: Index, args: Arguments, order: int, out: Array) -> Index:
        left = []
        kind = self._kind[self.i[rows]]
        for k in np.unique(kind):
            found = self._surrogates[k]
            assert found is not None
            mine = rows[kind == k]
            inside = self._inside(found, mine, args)
            if not inside.all():
                if self.surrogate_method.outside == "error":
                    raise self._refusal(found, int(mine[np.argmin(inside)]), args)
                left.append(mine[~inside])
                mine = mine[inside]
            self._fill(found, mine, args, order, out)
        outside = np.sort(np.concatenate(left)) if left else rows[:0]
        self.report.bound[outside] = np.inf
        return outside

    def _fill(self, found: Surrogate, rows: Index, args: Arguments, order: int, out: Array) -> None:
        """One batch; a neuron with itself is a pair of equal ones, of whose columns only sums over
        both places are used.
        """
        C11, C12, C22, _, _, det = args.pairs[:, rows]
        out[rows] = pair_jets(found.form, C11, C12, C22, order, det)
        self.report.bound[rows] = found.largest_error("value")
        self.report.work[rows] = found.parameters

    def _inside(self, found: Surrogate, rows: Index, args: Arguments) -> NDArray[np.bool_]:
        """Which rows lie in the domain."""
        C11, _, C22, b1, b2, _ = args.pairs[:, rows]
        low = (found.r_min * (1 - _ROUNDING)) ** 2
        high = (found.r_max * (1 + _ROUNDING)) ** 2
        smaller = np.minimum(C11, C22)
        larger = np.maximum(C11, C22)
        inside: NDArray[np.bool_] = (smaller >= low) & (larger <= high) & (b1 == 0.0) & (b2 == 0.0)
        return inside

    def _refusal(self, found: Surrogate, row: int, args: Arguments) -> OutsideDomainError:
        """The error that names the pair and says what is wrong with it."""
        C11, C12, C22, b1, b2, _ = (float(x) for x in args.pairs[:, row])
        r1, r2 = np.sqrt(C11), np.sqrt(C22)
        u = float(np.clip(C12 / (r1 * r2), -1.0, 1.0)) if r1 * r2 > 0 else 0.0
        who = " and ".join(dict.fromkeys(self.labels[k[row]] for k in (self.i, self.j)))
        verb = "lie" if self.i[row] != self.j[row] else "lies"
        where = f"r1 = {r1:.6g}, r2 = {r2:.6g}, u = {u:.6g}"
        if b1 or b2:
            where += f", b1 = {b1:.6g}, b2 = {b2:.6g}"
        return OutsideDomainError(
            f"{who} {verb} outside of the domain of the surrogate for {found.name} "
            f"({found.r_min:g} <= r <= {found.r_max:g}, no biases): "
            f"{where}. Use outside='exact' to evaluate such pairs exactly, or method='auto'."
        )


def _is_constant(activation: Activation) -> bool:
    return activation.polynomial == (1.0,) and not activation.atoms


def pair_evaluator(
    activations: list[Activation],
    i: Index,
    j: Index,
    method: str | SurrogateMethod,
    rtol: float,
    labels: list[str],
) -> PairEvaluator | terms.TermsEvaluator:
    """The evaluator for a method; ``labels`` are the names of the neurons in error messages."""
    if isinstance(method, SurrogateMethod):
        return SurrogateEvaluator(activations, i, j, method, rtol, labels)
    return terms.pair_evaluator(activations, i, j, method, rtol)


# --------------------------------------------------------------------------------------------------
# single moments

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


class SurrogateMoments:
    """Moments of two neurons of one activation without biases, of even total order: I(2, 0) = 2
    dG/dC11, and so on.

    (2, 2) is d2G/dC12^2. The error bound is the largest error on the card's held-out points, which
    is no proof.
    """

    def defined(self, *activations: Activation) -> bool:
        """Whether there is a surrogate for the pair."""
        return (
            len(activations) == 2
            and activations[0] == activations[1]
            and _find(activations[0]) is not None
        )

    def moment(
        self, f: Activation, g: Activation, points: Points, orders: tuple[int, int], rtol: float
    ) -> Estimate:
        """Moments of a pair."""
        found = _find(f)
        assert found is not None
        if orders not in MOMENTS:
            known = ", ".join(map(str, MOMENTS))
            raise MethodError(f"orders is {orders}; a surrogate gives {known}. Use method='auto'.")
        if points.b1.any() or points.b2.any():
            raise MethodError(
                "b1 and b2 must be 0 for a surrogate, which was trained without biases. Use "
                "method='auto'."
            )
        _check_domain(found, points)
        r1 = points.r1
        r2 = points.r2
        u = points.u
        column, factor, what = MOMENTS[orders]
        det = (r1 * r2) ** 2 * (1.0 - u) * (1.0 + u)
        value = factor * found.form.jet(r1 * r1, r1 * r2 * u, r2 * r2, det=det)[column]
        scale = _size(found.form, r1, orders[0]) * _size(found.form, r2, orders[1])
        return Estimate(value, np.full_like(value, found.largest_error(what)), scale, value.size)

    def mean(self, f: Activation, r: Array, b: Array, order: int, rtol: float) -> Estimate:
        """Not defined."""
        raise MethodError(
            "a surrogate stands for pairs of neurons; E f(h) is not one of them. Use method='auto'."
        )


def _size(form: SurrogateForm, r: Array, order: int) -> Array:
    """Root of E f^(p)^2, of at most the second derivative."""
    C = r * r
    squares: Array = form.jet(C, C, C, det=np.zeros_like(C))[(0, 2, 7)[min(order, 2)]]
    return np.sqrt(np.maximum(squares, 0.0))


def _find(activation: Activation) -> Surrogate | None:
    return surrogate_files.find(activation)


def _check_domain(found: Surrogate, points: Points) -> None:
    for name, r in (("r1", points.r1), ("r2", points.r2)):
        bad = np.flatnonzero(
            (r < found.r_min * (1 - _ROUNDING)) | (r > found.r_max * (1 + _ROUNDING))
        )
        if bad.size:
            raise InvalidValueError(
                f"{name} contains {r[bad[0]]:.6g}, outside of the domain of the surrogate for "
                f"{found.name} "
                f"({found.r_min:g} <= r <= {found.r_max:g}). Use method='auto'."
            )
