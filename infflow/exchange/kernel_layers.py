"""One hidden layer of a kernel of infinite width: from covariances of inputs to those of outputs.

A pair of inputs is a pair of centred Gaussian variables with variances V1, V2 and covariance K. A
layer maps K to

    K'     = weight_variance N + bias_variance,           N = E[f(h1) f(h2)],
    Theta' = K' + weight_variance M Theta,                M = E[f'(h1) f'(h2)].

Tangents pass through the same layer. By the heat equation, with I(p, q) = E[f^(p)(h1) f^(q)(h2)],

    dN = I(1,1) dK + I(2,0) dV1 / 2 + I(0,2) dV2 / 2,
    dM = I(2,2) dK + I(3,1) dV1 / 2 + I(1,3) dV2 / 2,

the latter in the frame of :mod:`infflow.integrals.jets`, where the terms that grow as two inputs
come close are summed before they are multiplied.

Kinked activations see the angle theta between nearly parallel inputs: M has a term linear in it.
K alone, known to rounding eps, gives theta to eps / theta only. So the determinant V1 V2 - K^2 is
carried along as a number of its own, see :func:`_next_determinant`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from ..errors import InvalidValueError, SingularMomentError
from ..integrals.evaluator import Arguments
from ..integrals.jets import F13, F22, F31, J00, J02, J11, J20
from ..integrals.terms import pair_evaluator

#: Squared sines below this are carried on with a relative accuracy of their own.
NEARLY_PARALLEL = 1e-8
#: Squared sines below this count as zero where a tangent asks for the direction of the difference.
_COINCIDENT = 1e-14
_EPS = float(np.finfo(np.float64).eps)
# Gauss rules: three nodes integrate M from the pair to the line, where it is linear in the angle;
# panels of twelve nodes integrate squared differences of one variable.
_ANGLES = np.polynomial.legendre.leggauss(3)
_NODES = np.polynomial.legendre.leggauss(12)
# Half width of the line in standard deviations, panels on it for arguments of variance one, and
# panels at most; nodes of all pairs that are held at a time.
_LINE = 10.0
_PANELS = 16
_MOST_PANELS = 2048
_HELD = 2**21


class Weights(NamedTuple):
    """Variances of weights and biases of one layer."""

    weight: float
    bias: float


class Diagonal(NamedTuple):
    """Inputs of a layer: variances (n,), and their tangents (T, n)."""

    V: Array
    tangent: Array


class Pairs(NamedTuple):
    """Pairs of inputs of a layer, each field (n,) or, for tangents, (T, n).

    ``i`` and ``j`` are the places of both inputs in the :class:`Diagonal`. ``determinant`` is
    V1 V2 - K^2. ``Theta`` is empty unless the tangent kernel is wanted.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    K: Array
    determinant: Array
    Theta: Array
    K_tangent: Array
    Theta_tangent: Array


def next_diagonal(
    f: Activation, diagonal: Diagonal, weights: Weights, sources: Array, rtol: float
) -> Diagonal:
    """Variances behind the layer; ``sources`` (T, 2) are the tangents of both variances."""
    V = diagonal.V
    n = len(V)
    order = 1 if len(diagonal.tangent) else 0
    itself = np.arange(n)
    evaluate = pair_evaluator([f] * n, itself, itself, "auto", rtol)
    zeros = np.zeros(n)
    jets = evaluate(Arguments(np.stack([V, V, V, zeros, zeros, zeros]), V, zeros), order)
    N = jets[:, J00]
    tangent = np.outer(sources[:, 0], N) + sources[:, 1:]
    if order:
        tangent += weights.weight * (jets[:, J20] + jets[:, J11]) * diagonal.tangent
    return Diagonal(weights.weight * N + weights.bias, tangent)


def next_pairs(
    f: Activation,
    diagonal: Diagonal,
    pairs: Pairs,
    weights: Weights,
    sources: Array,
    after: Diagonal,
    rtol: float,
) -> Pairs:
    """The pairs behind the layer, whose variances are ``after``."""
    wants_theta = len(pairs.Theta) > 0
    tangents = len(sources)
    order = int(wants_theta) + int(tangents > 0)
    evaluate = pair_evaluator([f] * len(diagonal.V), pairs.i, pairs.j, "auto", rtol)
    V1 = diagonal.V[pairs.i]
    V2 = diagonal.V[pairs.j]
    zeros = np.zeros(len(V1))
    arguments = np.stack([V1, pairs.K, V2, zeros, zeros, pairs.determinant])
    jets = evaluate(Arguments(arguments, diagonal.V, np.zeros(len(diagonal.V))), order)
    N = jets[:, J00]
    _raise_unless_finite(f, N)
    if wants_theta:
        _raise_where_infinite(f, pairs)
    K = weights.weight * N + weights.bias
    determinant = _next_determinant(f, diagonal, pairs, N, weights, after, rtol)
    K_tangent = np.zeros((tangents, len(K)))
    Theta_tangent = np.zeros((tangents if wants_theta else 0, len(K)))
    Theta = pairs.Theta
    if tangents:
        dV1 = diagonal.tangent[:, pairs.i]
        dV2 = diagonal.tangent[:, pairs.j]
        slope = jets[:, J11] * pairs.K_tangent
        slope += 0.5 * jets[:, J20] * dV1 + 0.5 * jets[:, J02] * dV2
        K_tangent = weights.weight * slope + np.outer(sources[:, 0], N) + sources[:, 1:]
    if wants_theta:
        M = jets[:, J11]
        Theta = K + weights.weight * M * pairs.Theta
        if tangents:
            dM = _slope_of_product(f, diagonal, pairs, jets)
            Theta_tangent = K_tangent + np.outer(sources[:, 0], M * pairs.Theta)
            Theta_tangent += weights.weight * (dM * pairs.Theta + M * pairs.Theta_tangent)
    return pairs._replace(
        K=K,
        determinant=determinant,
        Theta=Theta,
        K_tangent=K_tangent,
        Theta_tangent=Theta_tangent,
    )


def _raise_unless_finite(f: Activation, values: Array) -> None:
    if not np.isfinite(values).all():
        raise InvalidValueError(
            f"E[f f] of {f.name!r} leaves the range of float64. Use smaller deviations or inputs."
        )


def _raise_where_infinite(f: Activation, pairs: Pairs) -> None:
    """M is infinite at parallel inputs if the activation jumps."""
    beside = np.array(f.kinks)[:, None] + [-1e-9, 1e-9]
    jumps = np.abs(np.diff(f(beside), axis=1)) > 1e-6
    if jumps.any() and (pairs.determinant == 0.0).any():
        raise SingularMomentError(
            f"The tangent kernel of {f.name!r} is infinite where two inputs are parallel, since "
            "the activation jumps. Leave such inputs out, or take one without jumps."
        )


def _slope_of_product(f: Activation, diagonal: Diagonal, pairs: Pairs, jets: Array) -> Array:
    """Tangents (T, n) of M, in the frame.

    M of a kinked activation has a cusp where inputs coincide. Its symmetric derivative is taken
    there: that without I(2, 2), which has no direction.
    """
    V1 = diagonal.V[pairs.i]
    V2 = diagonal.V[pairs.j]
    dV1 = diagonal.tangent[:, pairs.i]
    dV2 = diagonal.tangent[:, pairs.j]
    slope1 = np.divide(pairs.K, V1, out=np.zeros_like(V1), where=V1 > 0)
    slope2 = np.divide(pairs.K, V2, out=np.zeros_like(V2), where=V2 > 0)
    bend = jets[:, F22]
    if f.kinks:
        bend = np.where(pairs.determinant > _COINCIDENT * V1 * V2, bend, 0.0)
    across = pairs.K_tangent - 0.5 * (slope1 * dV1 + slope2 * dV2)
    moved: Array = bend * across + 0.5 * (jets[:, F31] * dV1 + jets[:, F13] * dV2)
    return moved


# -- determinants ----------------------------------------------------------------------------------


def first_determinant(inputs: Array, pairs: Pairs, V: Array) -> Array:
    """V1 V2 - K^2 of pairs of rows of ``inputs``, whose inner products V and K are.

    Of nearly parallel rows the squared sine of the angle comes from the difference or the sum of
    unit vectors.
    """
    product = V[pairs.i] * V[pairs.j]
    determinant = np.maximum(product - pairs.K**2, 0.0)
    near = np.flatnonzero(determinant < 1e-6 * product)
    unit = inputs / np.sqrt(np.where(V > 0, V, 1.0))[:, None]
    for rows in np.array_split(near, max(1, len(near) * inputs.shape[1] // 2**21)):
        sign = np.sign(pairs.K[rows])[:, None]
        chord = np.sum((unit[pairs.i[rows]] - sign * unit[pairs.j[rows]]) ** 2, axis=1)
        sine = chord * (1.0 - 0.25 * chord)
        # Unit vectors are known to rounding, so shorter chords are zero.
        sine[chord <= (4.0 * _EPS) ** 2] = 0.0
        determinant[rows] = product[rows] * sine
    return determinant


def _next_determinant(
    f: Activation,
    diagonal: Diagonal,
    pairs: Pairs,
    N: Array,
    weights: Weights,
    after: Diagonal,
    rtol: float,
) -> Array:
    """V1' V2' - K'^2 behind the layer.

    Of nearly parallel inputs h2 is close to a multiple of h1: with h2 = s r2 x opposite h1 = r1 x,
    s the sign of K, let P = E[f(r1 x) f(s r2 x)]. Then

        P - N  = integral of M over the covariance, from K to s r1 r2,
        N1 N2 - P^2 = N1 E[(f(s r2 x) - (P / N1) f(r1 x))^2]

    have no cancellation, and neither has

        det' = ww^2 (N1 N2 - N^2) + ww bw (N1 + N2 - 2 N)

    with the variances ww, bw of weights and biases, and
    N1 + N2 - 2 N = E[(f(s r2 x) - f(r1 x))^2] + 2 (P - N).
    """
    V1 = after.V[pairs.i]
    V2 = after.V[pairs.j]
    K = weights.weight * N + weights.bias
    plain = np.maximum(V1 * V2 - K**2, 0.0)
    v1 = diagonal.V[pairs.i]
    v2 = diagonal.V[pairs.j]
    near = np.flatnonzero(pairs.determinant < NEARLY_PARALLEL * v1 * v2)
    if not len(near):
        return plain
    i = pairs.i[near]
    j = pairs.j[near]
    K_near = pairs.K[near]
    few = pairs._replace(i=i, j=j, K=K_near, determinant=pairs.determinant[near])
    lost = _integral_to_line(f, diagonal, few, rtol)
    N1, P, ratio, difference = _in_parts(f, v1[near], v2[near], np.sign(K_near))
    spread = N1 * ratio + 2.0 * P * lost - lost**2
    gap = difference + 2.0 * lost
    found = weights.weight**2 * spread + weights.weight * weights.bias * gap
    nearly = found < NEARLY_PARALLEL * V1[near] * V2[near]
    plain[near[nearly]] = np.maximum(found[nearly], 0.0)
    return plain


def _integral_to_line(f: Activation, diagonal: Diagonal, pairs: Pairs, rtol: float) -> Array:
    """P - N: the integral of M over the covariance from K to s r1 r2.

    With K = s r1 r2 (1 - g) the covariance is s r1 r2 (1 - g t^2), t from 1 to 0, and M is smooth
    in t.
    """
    V1 = diagonal.V[pairs.i]
    V2 = diagonal.V[pairs.j]
    product = V1 * V2
    sine = pairs.determinant / np.where(product > 0, product, 1.0)
    g = sine / (1.0 + np.sqrt(1.0 - sine))
    end = np.sign(pairs.K) * np.sqrt(product)
    evaluate = pair_evaluator([f] * len(diagonal.V), pairs.i, pairs.j, "auto", rtol)
    zeros = np.zeros(len(V1))
    nodes, node_weights = _ANGLES
    total = np.zeros(len(V1))
    for t, w in zip(0.5 * (nodes + 1.0), 0.5 * node_weights, strict=True):
        small = g * t * t
        rows = np.stack([V1, end * (1 - small), V2, zeros, zeros, product * small * (2 - small)])
        jets = evaluate(Arguments(rows, diagonal.V, np.zeros(len(diagonal.V))), 1)
        M = np.where(g > 0, jets[:, J11], 0.0)
        total += w * 2.0 * t * M
    return end * g * total


def _in_parts(f: Activation, V1: Array, V2: Array, sign: Array) -> list[Array]:
    """What :func:`_on_the_line` gives, for as many pairs at a time as memory should hold.

    Panels become shorter as arguments f(r x) vary faster.
    """
    r = float(np.sqrt(max(V1.max(), V2.max())))
    panels = min(_MOST_PANELS, _PANELS * max(1, round(r)))
    step = max(1, _HELD // (panels * len(_NODES[0])))
    rows = [slice(k, k + step) for k in range(0, len(V1), step)]
    found = [_on_the_line(f, V1[row], V2[row], sign[row], panels) for row in rows]
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def _on_the_line(
    f: Activation, V1: Array, V2: Array, sign: Array, panels: int
) -> tuple[Array, ...]:
    """E f1^2, E[f1 f2], E[(f2 - a f1)^2] with a = E[f1 f2] / E f1^2, and E[(f2 - f1)^2].

    f1 = f(r1 x) and f2 = f(s r2 x) with one standard normal x; panels end at all kinks.
    """
    r1 = np.sqrt(V1)[:, None]
    r2 = (sign * np.sqrt(V2))[:, None]
    kinks = np.array(f.kinks)[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.concatenate([kinks / r1, kinks / r2], axis=1)
    ends = np.clip(np.nan_to_num(ends), -_LINE, _LINE)
    grid = np.linspace(-_LINE, _LINE, panels + 1)
    ends = np.concatenate([np.broadcast_to(grid, (len(V1), panels + 1)), ends], axis=1)
    ends.sort(axis=1)
    half = 0.5 * np.diff(ends, axis=1)[:, :, None]
    middle = 0.5 * (ends[:, 1:] + ends[:, :-1])[:, :, None]
    nodes, node_weights = _NODES
    x = (middle + half * nodes).reshape(len(V1), -1)
    density = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)
    weight = (half * node_weights).reshape(len(V1), -1) * density
    f1 = f(r1 * x)
    f2 = f(r2 * x)
    square = np.sum(weight * f1**2, axis=1)
    product = np.sum(weight * f1 * f2, axis=1)
    share = np.divide(product, square, out=np.zeros_like(square), where=square > 0)
    rest = np.sum(weight * (f2 - share[:, None] * f1) ** 2, axis=1)
    return square, product, rest, np.sum(weight * (f2 - f1) ** 2, axis=1)
