"""Directions that symmetries of the network leave flat.

A *family* spans tangent directions of a set of parameters on which the loss is constant. Exact
families (a group acts on the parameters, or the constant rank theorem holds, see :mod:`.pieces`)
are flat at every theta around; then gradient and Newton step have no part in them, and fixing the
component along them loses no critical point. The others (split and dead neurons) hold where neurons
coincide or vanish; moving along them must not switch on a gradient either, otherwise they belong to
a saddle, so they are accepted only as far as the Hessian annihilates them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..errors import TooLargeError
from ..memory import shortage
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.unit_rows import UnitRows
from ..spectrum import largest_magnitude
from .curvature import Complement, Curvature
from .features import input_null_space, layer_signals, neuron_null_space, within
from .hidden import (
    HiddenLayer,
    copies,
    hidden_layers,
    homogeneity,
    is_monomial,
    is_piecewise_linear,
)
from .pieces import cancelling_changes

#: relative distance of weights below which two neurons count as the same
DUPLICATE = 1e-5
#: weights below this, relative to the largest of their kind, count as zero
ZERO = 1e-10
#: A direction is not flat if the Hessian turns it into more than this fraction of the curvature of
#: the parameters which it moves, however large the slope: beyond, Newton's step is no longer short
#: against the output weights. The value hardly matters: on 77 split neurons, exact and up to 1e-6
#: away, 1e-1 to 1e-5 give the same kinds, but for points on the way where several tests fail.
_FLAT = 1e-3
#: bytes for which nobody asks how many there are
_UNCHECKED = 2**28
#: columns of length one are orthogonal to rounding
_ORTHOGONAL = 1e-14
#: a unit vector is a tangent of spheres if its part across them is below this
_TANGENT = 1e-10
# Directions are inside of a space if so much of them is outside, relative to their length.
_CONTAINED = 1e-8


class Symmetry(Enum):
    """Why a direction is flat; the value is the sentence that the user reads."""

    NULL_INPUT = "weights along inputs that are always zero, or combinations of inputs that are"
    SCALING = (
        "scaling of a homogeneous neuron: input weights times c, output weights divided by a "
        "power of c"
    )
    RADIAL = "lengths of input weights, which the spherical parametrization divides out"
    DUPLICATE = "neurons with the same function share their output weights in any proportion"
    DEAD = (
        "a neuron without effect: its output weights, or its input weights and bias, or its "
        "output on all data, are zero"
    )
    DEPENDENT = (
        "outputs of neurons are linearly dependent: output weights can be shifted among them"
    )
    MIXING = "linear or quadratic neurons can be mixed without changing their sum"
    PIECEWISE_LINEAR = (
        "between their kinks neurons are linear in weights and biases, changes of which cancel "
        "in the next layer until a kink meets a sample, "
        "e.g. neurons active on the same samples, a neuron active on all, or on few"
    )
    OUTPUT_SHIFT = "the softmax does not change if the same number is added to all outputs"
    ZERO_LOSS = (
        "the loss is zero and these directions leave all outputs unchanged to first order (more "
        "parameters than the "
        "solution needs, e.g. duplicated neurons that move apart): the loss grows with a higher "
        "than the second power, or not at all"
    )
    JOINT = (
        "several of these symmetries together leave the frozen parameters where they are, e.g. "
        "collinear neurons with frozen output weights share their lengths"
    )
    UNKNOWN = "no curvature, and no known symmetry behind it"


@dataclass(frozen=True)
class Family:
    """Directions (P, k) that a symmetry may leave flat."""

    symmetry: Symmetry
    layer: int  #: hidden layer, 0 the first
    neurons: tuple[int, ...]
    directions: Array
    exact: bool  #: flat at every theta around
    slack: float = 0.0  #: how far the Hessian may fail to annihilate them, in units of its norm
    gradient_slack: float = 0.0  #: the same, in units of the norm of the gradient
    together: bool = False  #: exact only if no parameter is frozen


def families(net: Net | NetI, theta: Array, matrices: bool = True) -> Iterator[Family]:
    """All families that are known, the more special ones first; without those that take matrices of
    P by P, on request.
    """
    if net.unit_rows is None:
        yield from _of_weights(net, theta, matrices)
        return
    yield _radial(net.unit_rows, theta)
    for family in _of_weights(net, theta, matrices):
        yield _on_spheres(net.unit_rows, theta, family)


def _radial(unit_rows: UnitRows, theta: Array) -> Family:
    """The lengths of all rows that enter with length one."""
    parts = unit_rows.split(theta)
    directions = _directions(len(theta), sum(len(lengths) for _, _, lengths in parts))
    column = 0
    for rows, units, _ in parts:
        for i, unit in enumerate(units):
            directions[rows.start + i * rows.fan_in :, column][: rows.fan_in] = unit
            column += 1
    shortest = min(float(lengths.min()) for _, _, lengths in parts)
    # the Hessian turns a unit vector along w into the gradient over |w|
    slack = 10.0 * max(1.0, 1.0 / shortest)
    return Family(Symmetry.RADIAL, -1, (), directions, True, 0.0, slack)


def _on_spheres(unit_rows: UnitRows, theta: Array, family: Family) -> Family:
    """Those directions of weights that leave the lengths of unit rows as they are, in theta.

    Where the set on which the loss is constant touches the spheres, the loss may change in higher
    order than the first, so that the Hessian has to confirm what remains of a family that changes
    lengths.
    """
    V = _orthonormal(family.directions)
    lengths = np.ones(len(theta))
    radial = []
    for rows, units, sizes in unit_rows.split(theta):
        own = V[rows.entries].reshape(rows.width, rows.fan_in, -1)
        radial.append(np.einsum("ij,ijk->ik", units, own))
        lengths[rows.entries] = np.repeat(sizes, rows.fan_in)
    images = np.vstack(radial)
    if np.abs(images).max(initial=0.0) <= _TANGENT:
        return replace(family, directions=lengths[:, None] * V)
    kept = lengths[:, None] * within(V, images, _TANGENT)
    slack = max(family.gradient_slack, 10.0)
    return replace(family, directions=kept, exact=False, gradient_slack=slack)


def _of_weights(net: Net | NetI, theta: Array, matrices: bool) -> Iterator[Family]:
    """The families of a network in its weights, with rows of length one where they enter so."""
    for layer in hidden_layers(net, theta):
        if layer.number == 0:
            yield from _null_inputs(net, layer)
        yield from _scalings(net.num_params, layer)
        yield from _mixings(net.num_params, layer)
        yield from _duplicates(net.num_params, layer)
        yield from _dead(net, theta, layer)
        yield from _dependent(net, theta, layer)
    if isinstance(net, Net):
        for layer in hidden_layers(net, theta) if matrices else ():
            yield from _piecewise_linear(net, theta, layer)
        if net.loss.is_shift_invariant:
            yield _output_shift(net)


def _directions(num_params: int, number: int) -> Array:
    """Zeros of shape (num_params, number); raises TooLargeError where they do not fit beside what
    they are used for.
    """
    needed = 4 * 8 * num_params * number
    if needed > _UNCHECKED and shortage(needed) is not None:
        raise TooLargeError(
            f"{number} directions that a symmetry leaves flat, of {num_params} parameters each, "
            "do not fit in memory. "
            "Remove dead and duplicated neurons by inf.shrink, and inputs that are always zero."
        )
    return np.zeros((num_params, number))


def _null_inputs(net: Net | NetI, layer: HiddenLayer) -> Iterator[Family]:
    null = input_null_space(net, layer.bias)
    if null.shape[1]:
        entries = null / layer.in_factors[:, None]
        directions = _directions(net.num_params, layer.width * null.shape[1])
        for i, rows in enumerate(layer.in_index):
            directions[rows, i * null.shape[1] : (i + 1) * null.shape[1]] = entries
        yield Family(Symmetry.NULL_INPUT, 0, tuple(range(layer.width)), directions, True)


def _scalings(num_params: int, layer: HiddenLayer) -> Iterator[Family]:
    for i, f in enumerate(layer.activations):
        degree = None if layer.unit_rows else homogeneity(f)
        direction = _directions(num_params, 1)
        if degree is not None:
            direction[layer.in_index[i], 0] = _entries(layer, i)
            direction[layer.out_index[:, i], 0] = -degree * layer.outgoing[:, i]
        if direction.any():
            yield Family(Symmetry.SCALING, layer.number, (i,), direction, True)


def _entries(layer: HiddenLayer, i: int) -> Array:
    """Weights and bias of a neuron as they stand in theta."""
    acting = layer.incoming[i] if layer.bias else layer.incoming[i, :-1]
    return acting / layer.in_factors


def _mixings(num_params: int, layer: HiddenLayer) -> Iterator[Family]:
    """Linear neurons: any invertible mixture. Quadratic ones with a single output: rotations among
    them.
    """
    A = layer.outgoing
    linear = [i for i, f in enumerate(layer.activations) if is_monomial(f, 1)]
    quadratic = (
        [i for i, f in enumerate(layer.activations) if is_monomial(f, 2)] if len(A) == 1 else []
    )
    slopes = [float(f.polynomial[-1]) if f.polynomial else 0.0 for f in layer.activations]
    rows = []
    for i in linear:
        for j in linear:
            t = np.zeros(num_params)
            t[layer.in_index[i]] = _entries(layer, j)
            t[layer.out_index[:, j]] -= A[:, i] * slopes[i] / slopes[j]
            rows += [t] if i != j else []
        if layer.bias and layer.next_bias is not None:
            t = np.zeros(num_params)
            t[layer.in_index[i, -1]] = 1.0
            t[layer.next_bias] = -slopes[i] * layer.out_factor * A[:, i]
            rows.append(t)
    for i in quadratic:
        for j in quadratic[quadratic.index(i) + 1 :]:
            t = np.zeros(num_params)
            t[layer.in_index[i]] = A[0, j] * slopes[j] * _entries(layer, j)
            t[layer.in_index[j]] = -A[0, i] * slopes[i] * _entries(layer, i)
            rows.append(t)
    if np.any(rows):
        yield Family(
            Symmetry.MIXING, layer.number, tuple(sorted(linear + quadratic)), np.array(rows).T, True
        )


def _duplicates(num_params: int, layer: HiddenLayer) -> Iterator[Family]:
    found = copies(layer, DUPLICATE)
    for leader in dict.fromkeys(c.first for c in found):
        group = [c for c in found if c.first == leader]
        members = (leader, *(c.second for c in group))
        columns = []
        for copy in group:
            for row in layer.out_index:
                t = np.zeros(num_params)
                t[row[copy.second]] = 1.0
                t[row[leader]] = -copy.factor
                columns.append(t)
        largest = float(np.abs(layer.outgoing[:, members]).max())
        # the gradient along (a1, a2) = (1, -1) changes by that of w over a
        slack = 10.0 * max(c.gap for c in group)
        gradient_slack = 10.0 * (1.0 + 1.0 / largest) if largest > 0.0 else 0.0
        yield Family(
            Symmetry.DUPLICATE,
            layer.number,
            members,
            np.array(columns).T,
            False,
            slack,
            gradient_slack,
        )


def _dead(net: Net | NetI, theta: Array, layer: HiddenLayer) -> Iterator[Family]:
    largest_out = float(np.abs(layer.outgoing).max())
    largest_in = float(np.abs(layer.incoming).max())
    active = np.ones(layer.width, dtype=bool)
    if isinstance(net, Net):
        active = layer_signals(net, theta, layer.number).is_active
    for i, f in enumerate(layer.activations):
        out = float(np.abs(layer.outgoing[:, i]).max())
        into = float(np.abs(layer.incoming[i]).max())
        incoming = layer.in_index[i]
        outgoing = layer.out_index[:, i]
        if not active[i]:
            yield Family(
                Symmetry.DEAD, layer.number, (i,), _units(net, np.append(incoming, outgoing)), True
            )
            continue
        if out <= ZERO * largest_out:
            slack = 10.0 * out / largest_out if largest_out > 0.0 else 0.0
            yield Family(Symmetry.DEAD, layer.number, (i,), _units(net, incoming), False, slack)
        if into <= ZERO * largest_in and float(f(0.0)) == 0.0:
            slack = 10.0 * into / largest_in if largest_in > 0.0 else 0.0
            yield Family(Symmetry.DEAD, layer.number, (i,), _units(net, outgoing), False, slack)


def _units(net: Net | NetI, index: NDArray[np.intp]) -> Array:
    """Unit vectors (P, k) of some entries of theta."""
    directions = _directions(net.num_params, len(index))
    directions[index, np.arange(len(index))] = 1.0
    return directions


def _dependent(net: Net | NetI, theta: Array, layer: HiddenLayer) -> Iterator[Family]:
    null = neuron_null_space(net, theta, layer.number, layer.next_bias is not None)
    if not null.shape[1]:
        return
    null[: layer.width] /= layer.out_factor
    columns = []
    for o, row in enumerate(layer.out_index):
        where = row if layer.next_bias is None else np.append(row, layer.next_bias[o])
        for vector in null.T:
            t = np.zeros(net.num_params)
            t[where] = vector
            columns.append(t)
    involved = np.flatnonzero(np.abs(null[: layer.width]).max(axis=1) > 1e-8)
    slack = _gradient_slack(layer, involved)
    neurons = tuple(int(i) for i in involved)
    yield Family(Symmetry.DEPENDENT, layer.number, neurons, np.array(columns).T, False, 0.0, slack)


def _gradient_slack(layer: HiddenLayer, neurons: NDArray[np.intp]) -> float:
    """Gradients along directions that these neurons share change by those of the input weights over
    output weights.
    """
    sizes = np.abs(layer.outgoing[:, neurons]).max(axis=0)
    sizes = sizes[sizes > ZERO * np.abs(layer.outgoing).max()]
    return 10.0 * (1.0 + 1.0 / float(sizes.min())) if len(sizes) else 0.0


def _piecewise_linear(net: Net, theta: Array, layer: HiddenLayer) -> Iterator[Family]:
    signals = layer_signals(net, theta, layer.number)
    sizes = np.abs(layer.outgoing).max(axis=0)
    alive = (sizes > ZERO * sizes.max()) & signals.is_active
    able = [i for i, f in enumerate(layer.activations) if alive[i] and is_piecewise_linear(f)]
    if not able:
        return
    after = layer_signals(net, theta, layer.number + 1)
    curved = np.array(
        [not is_piecewise_linear(f) for f in net.layers[layer.number + 1].activations]
    )
    counts = curved | (after.slopes != 0.0) | after.on_kink
    directions, exact = cancelling_changes(layer, signals, able, counts, net.num_params)
    if directions.shape[1]:
        moved = np.abs(directions).max(axis=1)
        involved = np.array(
            [i for i in able if moved[layer.in_index[i]].max() > 1e-8], dtype=np.intp
        )
        slack = _gradient_slack(layer, involved)
        neurons = tuple(int(i) for i in involved)
        yield Family(
            Symmetry.PIECEWISE_LINEAR, layer.number, neurons, directions, exact, 0.0, slack, True
        )


def _output_shift(net: Net) -> Family:
    last = net.layout.blocks[-1]
    index = np.arange(net.num_params)
    rows = index[last.weights].reshape(last.width, last.fan_in)
    if last.bias:
        rows = np.column_stack([rows, index[last.biases]])
    directions = _directions(net.num_params, rows.shape[1])
    directions[rows, np.arange(rows.shape[1])] = 1.0
    return Family(Symmetry.OUTPUT_SHIFT, len(net.layers) - 1, (), directions, True)


@dataclass(frozen=True)
class FlatDirections:
    """Flat directions at a point and the symmetry behind them."""

    symmetry: Symmetry
    layer: int  #: hidden layer, 0 the first; -1 if it is not about one
    neurons: tuple[int, ...]
    dimension: int  #: directions that none of the symmetries before it explains

    def __str__(self) -> str:
        about = ""
        if self.neurons and self.symmetry is not Symmetry.NULL_INPUT:
            about = f" (neuron{'s' * (len(self.neurons) > 1)} {', '.join(map(str, self.neurons))}"
            about += f" of hidden layer {self.layer})" if self.layer > 0 else ")"
        return f"{self.dimension}: {self.symmetry.value}{about}"


def flat_space(
    found: Iterator[Family],
    gradient: Array,
    curvature: Curvature,
    free: NDArray[np.intp],
    num_params: int,
    noise: float,
    exact: bool,
    weights: Array | None = None,
) -> tuple[Array, tuple[FlatDirections, ...]]:
    """Orthonormal basis (n, k) of the flat directions among the free parameters, and their
    symmetries.

    Parameters
    ----------
    found : families
    gradient : (n,) array
    curvature : Curvature
        The Hessian on the free parameters.
    free : (n,) indices
        Of them among all ``num_params`` parameters.
    noise : float
        Rounding error of the Hessian.
    exact : bool
        Whether exact families can be trusted (no regularisation breaks them).
    weights : (n,) array, optional
        How many parameters each one stands for; the dimensions count these.
    """
    basis = np.zeros((len(free), 0))
    flats: list[FlatDirections] = []
    slope = float(np.linalg.norm(gradient))
    for family in _with_joint(found) if len(free) < num_params else found:
        V = _within(family.directions, free)
        trusted = family.exact and exact and (len(free) == num_params or not family.together)
        if V.shape[1] and not trusted:
            V = within(V, curvature.times(V), noise + _tolerance(family, curvature, V, slope))
        V = _new_directions(V, basis)
        if V.shape[1]:
            basis = np.hstack([basis, V])
            count = V.shape[1] if weights is None else round(float(np.sum(V.T**2 @ weights)))
            flats.append(FlatDirections(family.symmetry, family.layer, family.neurons, count))
    return basis, tuple(_merged(flats))


def _tolerance(family: Family, curvature: Curvature, V: Array, slope: float) -> float:
    """How far the Hessian may fail to annihilate a family with the basis V.

    Slope over output weights is the curvature that a Newton step still removes, as long as that
    step is short against the weights. Where all weights tend to zero both do, and the quotient
    stays as large as the Hessian. Hence the bound by the norm of the Hessian on the parameters that
    V moves.
    """
    slack = family.slack * curvature.norm + family.gradient_slack * slope
    if not family.gradient_slack:
        return slack
    moved = np.linalg.norm(V, axis=1)

    def square(v: Array) -> Array:
        inside: Array = moved * curvature.times(curvature.times(moved * v))
        return inside

    local = math.sqrt(largest_magnitude(square, len(moved)))
    return min(slack, _FLAT * local)


def _with_joint(found: Iterator[Family]) -> Iterator[Family]:
    """The families, and all of them together in the end, unless one contains the others."""
    candidates = list(found)
    yield from candidates
    if candidates and not _contains_all(max(candidates, key=_dimension), candidates):
        yield _joint(candidates)


def _dimension(family: Family) -> int:
    return family.directions.shape[1]


def _contains_all(largest: Family, families: list[Family]) -> bool:
    """Whether a family with orthonormal directions spans those of all others, and is as lenient."""
    others = [family for family in families if family is not largest]
    if any(
        family.slack > largest.slack or family.gradient_slack > max(largest.gradient_slack, 10.0)
        for family in others
    ):
        return False
    V = largest.directions
    directions = np.hstack([np.zeros((len(V), 0)), *(family.directions for family in others)])
    left = directions - V @ (V.T @ directions)
    sizes = np.linalg.norm(directions, axis=0)
    return bool((np.linalg.norm(left, axis=0) <= _CONTAINED * sizes).all())


def _joint(candidates: list[Family]) -> Family:
    """All families together: with frozen parameters more than the sum of what each leaves flat."""
    neurons = sorted({i for family in candidates for i in family.neurons})
    return Family(
        Symmetry.JOINT,
        candidates[0].layer,
        tuple(neurons),
        np.hstack([family.directions for family in candidates]),
        False,
        max(family.slack for family in candidates),
        max(10.0, *(family.gradient_slack for family in candidates)),
    )


def _merged(flats: list[FlatDirections]) -> list[FlatDirections]:
    """One entry for all scalings of a layer, and for all its dead neurons."""
    merged: dict[object, FlatDirections] = {}
    for number, each in enumerate(flats):
        joint = each.symmetry in (Symmetry.SCALING, Symmetry.DEAD)
        key = (each.symmetry, each.layer) if joint else number
        if key in merged:
            other = merged[key]
            neurons = tuple(sorted({*other.neurons, *each.neurons}))
            each = FlatDirections(
                each.symmetry, each.layer, neurons, other.dimension + each.dimension
            )
        merged[key] = each
    return list(merged.values())


def _within(directions: Array, free: NDArray[np.intp]) -> Array:
    """Orthonormal basis (n, k) of those combinations that leave the frozen parameters where they
    are.
    """
    V = _orthonormal(directions)
    if len(free) == len(V):
        return V
    held = np.delete(V, free, axis=0)
    if V.shape[1]:
        V = within(V, held, 1e-10)
    return V[free]


def _orthonormal(V: Array) -> Array:
    """Orthonormal basis of the columns, each scaled to length one first; nearly dependent ones are
    left out.
    """
    from scipy.linalg import qr

    size = np.linalg.norm(V, axis=0)
    V = V[:, size > 0.0] / size[size > 0.0]
    if np.abs(V.T @ V - np.eye(V.shape[1])).max(initial=0.0) <= _ORTHOGONAL:
        return V
    U, triangle, _ = qr(V, mode="economic", pivoting=True, check_finite=False)
    pivots = np.abs(np.diagonal(triangle))
    found: Array = U[:, : len(pivots)][:, pivots > 1e-8 * pivots.max(initial=0.0)]
    return found


def _new_directions(V: Array, basis: Array) -> Array:
    """Orthonormal basis of what V adds to the space of ``basis``; both have orthonormal columns."""
    if not basis.shape[1] or not V.shape[1]:
        return V
    if V.shape[1] >= len(V) - basis.shape[1]:  # most of what is left
        outside = Complement(basis)
        coordinates = outside.restrict(V)
        squares, vectors = np.linalg.eigh(coordinates @ coordinates.T)
        return outside.lift(vectors[:, squares > 1e-12])
    inside = V.T @ basis
    if V.shape[1] > basis.shape[1] and np.linalg.norm(basis - V @ inside) <= _CONTAINED:
        return np.ascontiguousarray(Complement(inside).restrict(V.T).T)
    V = V - basis @ inside.T
    squares, vectors = np.linalg.eigh(V.T @ V)
    new = squares > 1e-12
    U = (V @ vectors[:, new]) / np.sqrt(squares[new])
    return np.linalg.qr(U - basis @ (basis.T @ U))[
        0
    ]  # parts along the basis that rounding left were scaled up as well
