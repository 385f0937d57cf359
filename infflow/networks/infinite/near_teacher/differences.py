"""The loss next to a teacher from Hermite series of differences.

With f_i the neurons at the teacher, and df_i what they change by on the way to the student, the
residual is the sum of g_i = dB_i f_i + (B_i + dB_i) df_i. All g_i are of the size of the result, so
nothing cancels in E[g_i.g_j] if the moments of f_i and df_i are evaluated without a difference:

* As a function of h_i, df_i = f((r + dr) x + b + db) - f(r x + b) has Hermite coefficients dc_i of
  its own. It is a Taylor series at the nodes of a rule, or a plain difference where the move is so
  long that this series is not exact to rounding.
* The products of coefficients are multiplied by powers of cosines u of four angles. Differences of
  these powers follow from those of u by recursion, without a subtraction.
* Neurons that are one at the teacher, a neuron with itself above all, have u near 1. They are
  functions of one x and of the perpendicular moves, which are short: moments are integrals over x
  of a few Hermite coefficients in the perpendicular coordinates.

Lengths of series and rules are those that meet the tolerance with all derivatives, by the profiles
of the teacher's neurons. Pairs for which they do not suffice, and pairs with kinks, are left to the
points of :mod:`.segment`.
"""

from __future__ import annotations

from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array
from ....activations import Activation
from ....integrals.hermite import kernels as hermite_kernels
from ....integrals.hermite import series as hermite
from . import differences_kernels
from .differences_kernels import DEGREES

Flags = NDArray[np.bool_]
Index = NDArray[np.int64]

_kernels: Any = differences_kernels  # mypy does not spread tuples into jitted functions

# Series are summed on to this fraction of the tolerance: sums over pairs may cancel.
_FINER = 1e-5
# Taylor's series is taken where the next term is below this.
_TAYLOR = 1e-12
# Coefficients in the perpendicular coordinate suffice where the next one is below this.
_NEXT = 1e-6


def _gauss_hermite() -> tuple[Array, Array]:
    """Nodes y (q,), and weights times He_k(y)/sqrt(k!), shape (DEGREES, q)."""
    y, w = np.polynomial.hermite_e.hermegauss(DEGREES)
    powers = np.polynomial.hermite_e.hermevander(y, DEGREES - 1).T
    roots = np.sqrt([float(factorial(k)) for k in range(DEGREES)])
    return y, powers * (w / w.sum()) / roots[:, None]


_Y, _HERMITE = _gauss_hermite()


class _Moves(NamedTuple):
    """What :func:`.differences_kernels.geometry` finds."""

    r: Array
    growth: Array
    along: Array
    u: Array
    turn: Array
    both: Array
    far: Array
    coincident: NDArray[np.int64]


class _Group(NamedTuple):
    """Neurons that share a rule: ``members`` (m,), derivatives (5, m, Q) on its nodes, and places
    of the nodes -x.
    """

    members: Index
    rule: hermite.Rule
    jets: Array
    mirror: Index


class _Teacher(NamedTuple):
    """Expansions of the neurons at the teacher, for lengths r, biases b and levels of rules."""

    key: bytes
    groups: list[_Group]
    coefficients: Array


class Differences:
    """Sums over pairs of neurons, kept with the expansions of the teacher.

    Parameters
    ----------
    activations : list of Activation
        Of the n neurons.
    rtol : float
        Tolerance relative to sqrt(E f^(p)^2 E g^(q)^2).
    """

    def __init__(self, activations: list[Activation], rtol: float) -> None:
        n = len(activations)
        self._activations = activations
        self._rtol = rtol
        self._goal = max(rtol / 8, hermite.ROUNDING)
        self._is_smooth = np.array([hermite.is_defined(f) for f in activations])
        kinds = list(dict.fromkeys(activations))
        self._kind = np.array([kinds.index(f) for f in activations], dtype=np.int64)
        self._grid = np.full((n, 2), np.iinfo(np.int64).min)
        self._first, self._second = np.triu_indices(n, 1)
        self._profiles: hermite.Profile
        self._teacher: _Teacher | None = None

    def __call__(
        self, ends: tuple[Array, ...], products: Array, done: Flags
    ) -> tuple[float, float]:
        """Sum of E[g_i.g_j], and of absolute terms, over the pairs (n, n) that become ``done``.

        Parameters
        ----------
        ends : W, b, B, dW, db, dB
        products : (2 n, 2 n) array
            Of the rows of W and dW.
        done : (n, n) array of bool
            Receives which pairs are part of the sum.
        """
        W, b, B, _, db, dB = ends
        n = len(W)
        moves = _moves(W, b, products, self._kind)
        place = self._choose(moves, b, done)
        teacher = self._expansions(moves, b, place)
        # products of the perpendicular moves
        across = products[n:, n:] - moves.coincident * np.outer(moves.along, moves.along)
        changes = np.zeros((n, hermite.COUNTS[place]))
        total = size = 0.0
        for group in teacher.groups:
            parts = self._changes(group, moves, across, b, db, changes, done)
            found = _kernels.coincident_sums(
                group.members,
                group.jets[0],
                parts,
                group.rule.weights,
                group.mirror,
                across,
                moves.coincident,
                done,
                B,
                dB,
            )
            total += found[0]
            size += found[1]
        found = _kernels.series_sums(
            teacher.coefficients,
            changes,
            self._profiles.tail,
            *moves[3:],
            done,
            _FINER * self._rtol,
            B,
            dB,
        )
        return total + found[0], size + found[1]

    def _choose(self, moves: _Moves, b: Array, done: Flags) -> int:
        """Place in the numbers of terms that pairs need; which pairs can be ``done`` with it."""
        grid = np.empty_like(self._grid)
        if hermite_kernels.has_moved(moves.r, b, self._grid, grid):
            self._look_up(grid)
        i, j = self._first, self._second
        wanted = (moves.coincident[i, j] == 0) & self._is_smooth[i] & self._is_smooth[j]
        far = moves.far[i, j]
        tail = self._profiles.tail
        goal = self._rtol / 4
        place: int = hermite_kernels.needed_terms(
            tail, i, j, far, wanted, goal, 1.0, hermite.COUNTS
        )
        terms = int(hermite.COUNTS[place])
        missed = far**terms * tail[i, terms - 1] * tail[j, terms - 1] > goal
        fine = self._is_smooth & (self._profiles.errors[:, place] <= self._goal)
        sure = self._is_smooth & (self._profiles.products[:, place] <= self._goal)
        done[:] = np.where(moves.coincident != 0, sure[:, None] & sure, fine[:, None] & fine)
        missed &= wanted
        done[i[missed], j[missed]] = done[j[missed], i[missed]] = False
        return place

    def _look_up(self, grid: Index) -> None:
        """Profiles of the smooth neurons at these points of the grid."""
        nothing = hermite.Profile(
            np.zeros(len(hermite.COUNTS), dtype=np.int64),
            np.full(len(hermite.COUNTS), np.inf),
            np.full(len(hermite.COUNTS), np.inf),
            np.ones(hermite.MAX_TERMS),
        )
        found = [
            hermite.profile(f, self._goal, *steps) if smooth else nothing
            for f, steps, smooth in zip(
                self._activations, grid.tolist(), self._is_smooth.tolist(), strict=True
            )
        ]
        self._profiles = hermite.Profile(*(np.array(each) for each in zip(*found, strict=True)))
        self._grid = grid  # last: Ctrl-C comes after it, when all is done

    def _expansions(self, moves: _Moves, b: Array, place: int) -> _Teacher:
        """Those at the teacher, which are evaluated where it has changed only."""
        # neurons that are one at the teacher share their nodes
        levels = np.where(moves.coincident != 0, self._profiles.levels[:, place], 0).max(axis=1)
        key = moves.r.tobytes() + b.tobytes() + levels.tobytes()
        if self._teacher is None or self._teacher.key != key:
            self._teacher = self._expanded(key, moves.r, b, levels)
        return self._teacher

    def _expanded(self, key: bytes, r: Array, b: Array, levels: Index) -> _Teacher:
        coefficients = np.zeros((len(r), hermite.MAX_TERMS))
        groups = []
        for level in np.unique(levels[self._is_smooth]).tolist():
            members = np.flatnonzero((levels == level) & self._is_smooth)
            rule = hermite.rule(level)
            jets = np.empty((5, len(members), len(rule.nodes)))
            for place, i in enumerate(members.tolist()):
                arguments = (r[i] * rule.nodes + b[i])[None]
                self._activations[i].jet(arguments, jets[:, place : place + 1])
            coefficients[members] = jets[0] @ rule.functions.T
            groups.append(_Group(members, rule, jets, _mirror(rule)))
        return _Teacher(key, groups, coefficients)

    def _changes(
        self,
        group: _Group,
        moves: _Moves,
        across: Array,
        b: Array,
        db: Array,
        changes: Array,
        done: Flags,
    ) -> Array:
        """Fill ``changes`` of the coefficients; returns those (m, DEGREES, Q) in the perpendicular
        coordinate. Neurons that move too far are taken out of ``done``.
        """
        members, rule, jets, _ = group
        Q = len(rule.nodes)
        series = np.empty((len(members), Q))
        parts = np.empty((len(members), DEGREES, Q))
        left = np.empty(len(members))
        squares = np.maximum(across[members, members], 0.0)
        _kernels.shifts(
            jets,
            rule.nodes,
            rule.weights,
            moves.growth[members],
            moves.along[members],
            squares,
            db[members],
            series,
            parts,
            left,
        )
        for place in np.flatnonzero(~(left <= _TAYLOR)).tolist():
            i = int(members[place])
            f = self._activations[i]
            before = jets[0, place]
            longer = (moves.r[i] + moves.growth[i]) * rule.nodes
            series[place] = _values(f, longer + (b[i] + db[i])) - before
            center = (moves.r[i] + moves.along[i]) * rule.nodes + (b[i] + db[i])
            length = float(np.sqrt(squares[place]))
            parts[place] = _perpendicular(f, center, length, before)
            if not _is_resolved(parts[place], length, rule.weights):
                done[i] = done[:, i] = False
        N = changes.shape[1]
        changes[members] = series @ rule.functions[:N].T
        return parts


def _moves(W: Array, b: Array, products: Array, kind: Index) -> _Moves:
    n = len(W)
    r, growth, along = np.empty((3, n))
    u, turn, both, far = np.empty((4, n, n))
    found = _Moves(r, growth, along, u, turn, both, far, np.empty((n, n), dtype=np.int64))
    _kernels.geometry(W, b, products, kind, *found)
    return found


def _mirror(rule: hermite.Rule) -> Index:
    """Places of the nodes -x: even and odd ones are symmetric, in ascending order each."""
    even = np.arange(rule.even)
    odd = np.arange(rule.even, len(rule.nodes))
    return np.concatenate([even[::-1], odd[::-1]])


def _values(f: Activation, x: Array) -> Array:
    """Values of f at the points x (..., Q)."""
    out = np.empty((1, *np.atleast_2d(x).shape))
    f.jet(np.atleast_2d(x), out)
    return out[0].reshape(x.shape)


def _perpendicular(f: Activation, center: Array, length: float, before: Array) -> Array:
    """Coefficients (DEGREES, Q) of f(center + length y) - before, as :func:`.shifts` gives them."""
    if length == 0.0:
        found = np.zeros((DEGREES, len(center)))
        found[0] = _values(f, center) - before
        return found
    change = _values(f, center + length * _Y[:, None]) - before
    return (_HERMITE @ change) / (length ** np.arange(DEGREES))[:, None]


def _is_resolved(parts: Array, length: float, weights: Array) -> bool:
    """Whether the coefficient after the last one is small; extrapolated from the last two."""
    sizes = np.sqrt(parts**2 @ weights) * length ** np.arange(DEGREES)
    if not np.isfinite(sizes).all():
        return False
    following = sizes[-1] * (sizes[-1] / sizes[-2] if sizes[-2] > 0.0 else 1.0)
    return bool(following <= _NEXT * np.linalg.norm(sizes))
