"""Where a surrogate is trained and tested: points (r1, r2, u), exact integrals there, and what an
error of a derivative costs.

An error is measured as a network feels it. For two neurons in D = 6 inputs, the Euclidean distances
of the gradient of G(w1, w2) = E[f(h1) f(h2)] and of its Hessian with respect to both weight vectors
are quadratic forms in the errors of the ten *frame entries*

    G, J20, J11, J02, F40, F31, F22, F13, F04, F11

of the two-neuron jet (see ``infflow.integrals.jets``); :func:`row_weights` gives their roots.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...errors import AccuracyWarning
from ...integrals import jets
from ...integrals.choice import Choice
from ...integrals.closed import pairs as closed
from ...integrals.evaluator import Arguments as PairArguments
from ...integrals.terms import pair_evaluator
from .base import LARGEST_R, SMALLEST_R

#: Columns of a pair jet that are frame entries, and the signs that C12 -> -C12 gives them.
FRAME = [
    jets.J00,
    jets.J20,
    jets.J11,
    jets.J02,
    jets.F40,
    jets.F31,
    jets.F22,
    jets.F13,
    jets.F04,
    jets.F11,
]
FRAME_SIGNS = np.array([1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0])
#: Dimension of the input in the measure of errors, and standard deviation of the weights, as in
#: the paper.
INPUT_DIM = 6
WEIGHT_SIZE = 0.7
_TOLERANCE = 1e-12


class PointSet(NamedTuple):
    """Standard deviations and correlation ``(n,)`` of two neurons; ``s`` is sqrt(1 - u^2), accurate
    for u near 1.
    """

    r1: Array
    r2: Array
    u: Array
    s: Array

    def covariances(self) -> tuple[Array, Array, Array, Array]:
        """C11, C12, C22 and the determinant."""
        r1, r2, u, s = self
        return r1**2, r1 * r2 * u, r2**2, (r1 * r2 * s) ** 2

    def take(self, index: NDArray[np.integer]) -> PointSet:
        """Some of the points."""
        return PointSet(*(x[index] for x in self))


# Shares of the kinds of points.
_SHARES = {
    "networks": 0.42,
    "broad": 0.25,
    "large": 0.15,
    "near one": 0.1,
    "u = 1": 0.04,
    "r1 = r2, u = 1": 0.04,
}


def sample_points(n: int, rng: np.random.Generator) -> PointSet:
    """Points with u in [0, 1], shuffled; negative u follow from the parity of each part.

    Four of ten are pairs of neurons of random networks with 2 to 10 inputs; of the others some have
    r log-uniform from 1e-6 to 10, some r uniform up to 10, which fills the corner of two large
    neurons, both with u crowding at 0 and at 1; the rest lies close to or at u = 1, and r1 = r2.
    """
    counts = [round(share * n) for share in _SHARES.values()]
    counts[1] += n - sum(counts)
    networks, _, large, near, parallel, same = counts
    r1, r2, u, s = (np.empty(n) for _ in range(4))
    ends = np.cumsum(counts)
    r1[: ends[0]], r2[: ends[0]], u[: ends[0]], s[: ends[0]] = _network_pairs(networks, rng)
    rest = n - networks
    low = np.where(rng.random((2, rest)) < 0.15, SMALLEST_R, 0.05)
    r1[ends[0] :], r2[ends[0] :] = low * (LARGEST_R / low) ** rng.random((2, rest))
    corner = slice(ends[1], ends[2])
    r1[corner], r2[corner] = np.minimum(1.06 * LARGEST_R * rng.random((2, large)), LARGEST_R)
    angle = 0.5 * np.pi * rng.random(n - networks)  # u = cos(angle): density 1/sqrt(1 - u^2)
    third = np.arange(rest) % 3
    angle = np.where(third == 0, 0.5 * np.pi * 10.0 ** (-4.0 * rng.random(rest)), angle)
    angle = np.where(third == 1, 0.5 * np.pi * (1.0 - 10.0 ** (-3.0 * rng.random(rest))), angle)
    u[ends[0] :], s[ends[0] :] = np.cos(angle), np.sin(angle)
    close = slice(ends[2], ends[3])
    angle = 10.0 ** rng.uniform(-4.0, -0.3, near)
    r2[close] = np.minimum(r1[close] * np.exp(angle * rng.normal(size=near)), LARGEST_R)
    u[close], s[close] = np.cos(angle), np.sin(angle)
    u[ends[3] :] = 1.0
    s[ends[3] :] = 0.0
    r2[ends[4] :] = r1[ends[4] :]
    order = rng.permutation(n)
    assert parallel + same == n - ends[3]
    return PointSet(r1, r2, u, s).take(order)


def _network_pairs(n: int, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Pairs of random weight vectors in 2 to 10 inputs, with the sizes of 6 inputs and half to
    twice those.
    """
    dim = rng.integers(2, 11, size=n)
    size = WEIGHT_SIZE * np.sqrt(INPUT_DIM / dim) * 2.0 ** rng.uniform(-1.0, 0.7, n)
    w = rng.normal(size=(2, n, 10)) * (np.arange(10) < dim[:, None]) * size[:, None]
    r = np.minimum(np.linalg.norm(w, axis=2), LARGEST_R)
    u = np.abs((w[0] * w[1]).sum(axis=1)) / np.linalg.norm(w, axis=2).prod(axis=0)
    u = np.minimum(u, 1.0)
    return r[0], r[1], u, np.sqrt((1.0 - u) * (1.0 + u))


def _method(f: Activation) -> str:
    """The first method for the integrals of one activation."""
    if closed.is_defined(f, f) or f.parts:
        return "auto"
    return "numeric" if f.kinks or f.max_order < 4 else "hermite"


def exact_frames(f: Activation, points: PointSet, sign: float = 1.0) -> tuple[Array, Array]:
    """Frame entries ``(10, n)`` of the exact integrals at (r1, r2, sign u), and their relative
    error bounds (n,).
    """
    C11, C12, C22, det = points.covariances()
    n = len(C11)
    zero = np.zeros(n)
    method = _method(f)
    out = np.empty((len(FRAME), n))
    bounds = np.empty(n)
    for start in range(0, n, 1000):  # expansions of a block of neurons take some 20 MB
        k = slice(start, start + 1000)
        m = len(C11[k])
        i = np.arange(m)
        evaluator = pair_evaluator([f] * (2 * m), i, i + m, method, _TOLERANCE)
        args = PairArguments(
            np.array([C11[k], sign * C12[k], C22[k], zero[k], zero[k], det[k]]),
            np.concatenate([C11[k], C22[k]]),
            np.zeros(2 * m),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)  # bounds are returned and reported
            jets = evaluator.evaluate(args, 2)
        found = jets.values
        bounds[k] = evaluator.bounds(args, jets)
        missed = np.flatnonzero(~(bounds[k] <= _TOLERANCE)) if method == "hermite" else i[:0]
        if len(missed):
            # tables have no length of a series to exhaust
            tables = Choice([f] * (2 * m), missed, missed + m, "numeric", _TOLERANCE)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AccuracyWarning)
                some = args._replace(pairs=args.pairs[:, missed])
                jets = tables.evaluate(some, 2)
            found[missed] = jets.values
            bounds[start + missed] = tables.bounds(some, jets)
        out[:, k] = found[:, FRAME].T
    return out, bounds


def exact_parts(f: Activation, points: PointSet) -> tuple[dict[str, Array], Array]:
    """Frame entries ``(10, n)`` of the even and the odd part in C12, and relative error bounds
    (n,).
    """
    plus, error_plus = exact_frames(f, points)
    minus, error_minus = exact_frames(f, points, -1.0)
    minus *= FRAME_SIGNS[:, None]
    return {"even": 0.5 * (plus + minus), "odd": 0.5 * (plus - minus)}, np.maximum(
        error_plus, error_minus
    )


def to_frame(points: PointSet) -> Array:
    """Matrices ``(n, 10, 10)`` that make frame entries of the jets in (C11, C12, C22) of
    ``surrogate_form``.
    """
    r1, r2, u, _ = points
    c1, c2 = u * r2 / r1, u * r1 / r2
    out = np.zeros((len(r1), 10, 10))
    out[:, 0, 0] = out[:, 2, 2] = 1.0
    out[:, 1, 1] = out[:, 3, 3] = 2.0
    for row, entries in {
        4: ((4, 4.0), (5, 4.0 * c1), (7, c1**2)),
        5: ((5, 2.0), (7, c1)),
        6: ((7, 1.0),),
        7: ((8, 2.0), (7, c2)),
        8: ((9, 4.0), (8, 4.0 * c2), (7, c2**2)),
        9: ((6, 4.0), (5, 2.0 * c2), (8, 2.0 * c1), (7, c1 * c2)),
    }.items():
        for column, value in entries:
            out[:, row, column] = value
    return out


def error_forms(points: PointSet) -> tuple[Array, Array]:
    """Matrices of the gradient ``(n, m, 10)`` and the Hessian ``(n, m', 10)`` of G(w1, w2) as
    functions of the frame entries.
    """
    r1, r2, u, s = points
    n = len(r1)
    zero = np.zeros(len(r1))
    w1 = np.stack([r1, zero], 1)
    w2 = np.stack([r2 * u, r2 * s], 1)
    a = np.stack([zero, r2 * s], 1)  # w2 - c1 w1
    b = np.stack([r1 * s * s, -r1 * u * s], 1)  # w1 - c2 w2
    gradient = np.zeros((n, 4, 10))
    gradient[:, :2, 1] = w1
    gradient[:, :2, 2] = w2
    gradient[:, 2:, 3] = w2
    gradient[:, 2:, 2] = w1

    def outer(x: Array, y: Array) -> Array:
        return (x[:, :, None] * y[:, None, :]).reshape(n, 4)

    one = np.eye(2).ravel()
    hessian = np.zeros((n, 15, 10))
    hessian[:, :4, 1], hessian[:, :4, 4] = one, outer(w1, w1)
    hessian[:, :4, 5], hessian[:, :4, 6] = outer(w1, a) + outer(a, w1), outer(a, a)
    hessian[:, 4:8, 3], hessian[:, 4:8, 8] = one, outer(w2, w2)
    hessian[:, 4:8, 7], hessian[:, 4:8, 6] = outer(w2, b) + outer(b, w2), outer(b, b)
    root = np.sqrt(2.0)  # the mixed block counts twice
    hessian[:, 8:12, 2], hessian[:, 8:12, 9] = root * one, root * outer(w1, w2)
    hessian[:, 8:12, 5], hessian[:, 8:12, 7] = root * outer(w1, b), root * outer(a, w2)
    hessian[:, 8:12, 6] = root * outer(a, b)
    for row, (column, factor) in enumerate(
        ((1, 1.0), (2, root), (3, 1.0)), start=12
    ):  # inputs out of the plane
        hessian[:, row, column] = factor * np.sqrt(INPUT_DIM - 2.0)
    return gradient, hessian


def row_weights(points: PointSet, weights: tuple[float, float, float]) -> Array:
    """Triangular matrices ``(n, 10, 10)``: the squared length of their product with errors of frame
    entries is the squared error.

    That is, of value, gradient and Hessian times their weights.
    """
    gradient, hessian = error_forms(points)
    value = np.zeros((len(gradient), 1, 10))
    value[:, 0, 0] = weights[0]
    rows = np.concatenate([value, weights[1] * gradient, weights[2] * hessian], axis=1)
    return upper_triangle(rows)


def upper_triangle(rows: Array) -> Array:
    """R of the QR decomposition of one matrix, or of each of several."""
    found: Any = np.linalg.qr(rows, mode="r")
    triangle: Array = found
    return triangle


def errors(points: PointSet, difference: Array) -> Array:
    """Errors ``(3, n)`` of value, gradient and Hessian from differences ``(10, n)`` of frame
    entries.
    """
    gradient, hessian = error_forms(points)
    columns = difference.T[:, :, None]
    return np.stack(
        [
            np.abs(difference[0]),
            np.linalg.norm((gradient @ columns)[..., 0], axis=1),
            np.linalg.norm((hessian @ columns)[..., 0], axis=1),
        ]
    )
