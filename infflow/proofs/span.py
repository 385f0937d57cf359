"""Proofs in the inputs that the weights span, for any number of inputs.

The loss of standard normal input depends on products of weights alone. Let E be an orthonormal
basis of the span of n rows, those of the teacher and, where students leave them, of students. In
coordinates of E the teacher is the Cholesky factor of the Gram matrix of its rows, which is
enclosed in balls: so the proof is about the very float64 numbers of the teacher.

With K more inputs every network with K students has its place: the parts of its weights outside of
the span lie in K dimensions, and only their products count. Krawczyk's test there thus tells of all
critical points near theta, with D inputs. By the reflection of an input outside of the span the one
critical point that it finds has no weights on it, so that the Hessian consists of that on the
span, and of one K x K matrix for each of the D - n other inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from .._validation import Array
from ..networks.infinite.invariant import Block, Left, Span
from ..networks.infinite.neti import NetI
from ..networks.infinite.reduction import Reduction
from ..networks.inputs import StandardNormal
from ..networks.teacher import Teacher
from ..terminal import Bar
from .ball import Ball, flint, magnitude, total, upper
from .krawczyk import Outcome, Proof, float_matrix, inertia
from .network import BallNetwork
from .pairs import BallMatrix

#: up to this many parameters the proof is about all of them at once
_WHOLE = 150
#: students with a part outside of the span of the teacher, relative to the longest row, enlarge it
_OUTSIDE = 1e-8
#: teachers with a smaller part outside of the span of others have no basis
_DEPENDENT = 1e-6
#: columns of the basis that are enclosed at once
_CHUNK = 1000


@dataclass(frozen=True, eq=False)
class ShortProblem:
    """A point in the inputs that weights span, and one more for each student.

    Attributes
    ----------
    net : NetI
        The network in n + K inputs.
    theta : array
        The point in it.
    rows : (n, D) array
        Exact rows whose span it is; those of the teacher first.
    full : NetI
        The whole network.
    """

    net: NetI
    full: NetI
    theta: Array
    rows: Array

    def __str__(self) -> str:
        n = len(self.rows)
        M = len(self.full.teacher_units.W)
        rows = "the teacher's rows" + (f" and {n - M} of the students'" if n > M else "")
        return (
            f"proved in the span of {rows} and {self.width} further inputs, {n + self.width} of "
            f"{self.full.input_dim:,}; index and numbers of eigenvalues count all inputs"
        )

    @property
    def dimension(self) -> int:
        """Number n of inputs of the span."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number K of students."""
        return self.net.layout.blocks[0].width

    def short(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Places of output weights in ``net``, from those in the whole network."""
        return index - self.full.num_params + self.net.num_params

    def whole(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """The inverse of :meth:`short`."""
        return index + self.full.num_params - self.net.num_params

    def free(self, free: NDArray[np.intp]) -> NDArray[np.intp]:
        """Free parameters of ``net`` from those of the whole network, all rows of W among them."""
        weights = self.net.layout.blocks[1].start
        outputs = free[free >= self.full.layout.blocks[1].start]
        return np.concatenate([np.arange(weights), self.short(outputs)])


def short_problem(net: NetI, theta: Array, free: NDArray[np.intp]) -> ShortProblem | None:
    """The point in few inputs; None where that saves nothing, or has no exact basis."""
    K = net.layout.blocks[0].width
    D = net.input_dim
    W = theta[: K * D].reshape(K, D)
    rows_free = np.isin(np.arange(K * D), free).all() if len(free) < len(theta) else True
    covered = (
        isinstance(net.input, StandardNormal)
        and isinstance(net.teacher, Teacher)
        and net.student.parametrization == "standard"
    )
    if not covered or not rows_free or net.num_params <= _WHOLE:
        return None
    rows = _spanning(net.teacher_units.W, W)
    if rows is None or len(rows) + K >= D:
        return None
    n = len(rows)
    basis = np.linalg.qr(rows.T)[1]
    E = solve_triangular(basis, rows, trans="T")  # the orthonormal rows that Cholesky's factor has
    E *= np.sign(np.diagonal(basis))[:, None]
    red = Reduction(net, Span(E.T, [Left(Block(None, np.ones(1), D), E.T, D - n)]))
    red.theta = red.rotation.restrict(theta)
    for _ in range(K):
        red = red.outward(0, red.theta)
    return ShortProblem(red.net, net, red.theta, rows)


def _spanning(V: Array, W: Array) -> Array | None:
    """Rows that are independent and span all others but for rounding; None without such."""
    Q = np.zeros((0, V.shape[1]))
    chosen = []
    longest = max(np.linalg.norm(rows, axis=1).max() for rows in (V, W))
    for row in V:
        left = _outside(Q, row)
        if not np.linalg.norm(left) > _DEPENDENT * np.linalg.norm(row):
            return None
        chosen.append(row)
        Q = np.vstack([Q, left / np.linalg.norm(left)])
    for row in W:
        left = _outside(Q, row)
        if np.linalg.norm(left) > _OUTSIDE * longest:
            chosen.append(row)
            Q = np.vstack([Q, left / np.linalg.norm(left)])
    return np.array(chosen)


def _outside(Q: Array, row: Array) -> Array:
    for _ in range(2):  # twice is enough
        row = row - (row @ Q.T) @ Q
    return row


class ShortProof(Proof):
    """The proof in few inputs; its outcome is about all of them."""

    def __init__(
        self, problem: ShortProblem, keep: NDArray[np.intp], bar: Bar | None = None
    ) -> None:
        self.problem = problem
        self.factor = _cholesky(_gram(problem.rows))
        network = BallNetwork(problem.net)
        M = len(network.g)
        zeros = [flint().arb(0)] * problem.width
        coordinates = self.factor.tolist()[:M]
        network.teacher_weights = [
            flint().arb_mat(len(row) + len(zeros), 1, [*row, *zeros]) for row in coordinates
        ]
        super().__init__(network, problem.theta, keep, bar)

    def run(self) -> Outcome:
        """The outcome of the test, with radii in the parameters of the whole network."""
        found = super().run()
        if found.reason:
            return found
        D = self.problem.full.input_dim
        gaps, sums = self._distances()
        radius = max(found.radius, upper(gaps + flint().arb(found.radius) * sums))
        largest = flint().arb(found.uniqueness_radius) - self._longest_gap
        unique = float(np.nextafter(float((largest / flint().arb(D).sqrt()).lower()), -np.inf))
        if unique <= radius:
            return Outcome(
                "The critical point exists, but theta is too far from the span of the weights to "
                "say that it is the only one. Search it with inf.train."
            )
        return replace(found, radius=radius, uniqueness_radius=unique)

    def inertia(self, H: BallMatrix) -> tuple[int, int] | None:
        """Negative and positive eigenvalues of the whole Hessian, block by block."""
        n = self.problem.dimension
        K = self.problem.width
        inputs = n + K
        place = {parameter: at for at, parameter in enumerate(self.keep)}
        outside = [place[i * inputs + n] for i in range(K)]
        weights = K * inputs
        within = [
            at for parameter, at in place.items() if parameter >= weights or parameter % inputs < n
        ]
        rows = H.tolist()
        counts = []
        for chosen in (within, outside):
            block = flint().arb_mat([[rows[i][j] for j in chosen] for i in chosen])
            middle = np.array([[float(x) for x in row] for row in block.tolist()])
            counts.append(inertia(block, np.linalg.eigh((middle + middle.T) / 2)[1]))
        own, each = counts
        if own is None or each is None:
            return None
        others = self.problem.full.input_dim - n
        return own[0] + others * each[0], own[1] + others * each[1]

    def _distances(self) -> tuple[Ball, Ball]:
        """Largest difference of an input weight of theta and of the centre of the box, and largest
        sum of the absolute entries of a column of the basis; the length of the longest difference
        of a row is kept.
        """
        problem = self.problem
        n, K = problem.dimension, problem.width
        D = problem.full.input_dim
        arb = flint().arb
        inverse = self.factor.inv()
        centre = float_matrix(problem.theta[: K * (n + K)].reshape(K, n + K)[:, :n])
        short = self._given.reshape(K, D)
        largest = sums = arb(0)
        squares = [arb(0)] * K
        for start in range(0, D, _CHUNK):
            part = slice(start, start + _CHUNK)
            E = inverse * float_matrix(problem.rows[:, part])
            gaps = (centre * E - float_matrix(short[:, part])).tolist()
            largest = _maximum([largest, *(abs(x) for row in gaps for x in row)])
            columns = E.transpose().tolist()
            sums = _maximum([sums, *(total(abs(x) for x in column) for column in columns)])
            squares = [
                square + total(x * x for x in row)
                for square, row in zip(squares, gaps, strict=True)
            ]
        self._longest_gap = _maximum([square.nonnegative_part().sqrt() for square in squares])
        return largest, sums

    _longest_gap: Ball
    _given: Array


def prove(
    problem: ShortProblem, theta: Array, keep: NDArray[np.intp], bar: Bar | None = None
) -> Outcome:
    """Run the proof about the point ``theta`` (P,), on the parameters of ``net`` that are kept."""
    proof = ShortProof(problem, keep, bar)
    proof._given = theta[: problem.width * problem.full.input_dim]
    return proof.run()


def _gram(rows: Array) -> BallMatrix:
    """Products of rows, each to the working precision."""
    n = len(rows)
    found = flint().arb_mat(n, n)
    for start in range(0, rows.shape[1], _CHUNK):
        part = float_matrix(rows[:, start : start + _CHUNK])
        found += part * part.transpose()
    return found


def _cholesky(G: BallMatrix) -> BallMatrix:
    """The lower triangular L with L L' = G."""
    n = G.nrows()
    arb = flint().arb
    L: list[list[Ball]] = [[arb(0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(i):
            L[i][j] = (G[i, j] - total(L[i][k] * L[j][k] for k in range(j))) / L[j][j]
        L[i][i] = (G[i, i] - total(x * x for x in L[i][:i])).sqrt()
    return flint().arb_mat(L)


def _maximum(balls: list[Ball]) -> Ball:
    """A number that is not below any of the balls, none of which is negative."""
    return flint().arb(max((magnitude(x) for x in balls), default=math.inf))
