"""Coordinates that stay regular where units are at infinity, and the loss in them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from .._validation import Array
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..objective import Evaluation
from .units import EndUnit, Part, View

#: nodes of stencils on each side; the loss of infinite data is a sum that cancels, so that wide
#: stencils lose fewer digits
_SIDE_FINITE = 5
_SIDE_INFINITE = 8


class Chart:
    """The loss of a network some of whose units are at infinity, as a function of coordinates.

    The limit is itself a network: units of merging neurons are stencils, others have another
    activation (see ``units.py``). Its parameters are a linear function of the coordinates, which
    the shape of theta have, so that loss, gradient and Hessian are those of a network between the
    transposed and the plain matrix of that function.

    Parameters
    ----------
    net : Net with data, or NetI
        With one hidden layer.
    units : sequence of EndUnit
        At infinity; no neuron is in two of them.

    Attributes
    ----------
    limit : Net or NetI
        The network of the limit.
    matrix : sparse array
        Its parameters from the coordinates.
    held : (P,) boolean array
        Coordinates that mean nothing: biases that have run off.
    directions : (P,) boolean array
        Coordinates that are differences of input weights of two neurons.
    """

    def __init__(self, net: Net | NetI, units: Sequence[EndUnit]) -> None:
        self.net = net
        self.units = tuple(units)
        self.activations = net.layers[0].activations
        self.side = _SIDE_INFINITE if isinstance(net, NetI) else _SIDE_FINITE
        parts = self._parts()
        self.limit = _with_neurons(net, [part.activation for part in parts])
        self.matrix = _matrix(net, self.limit, parts)
        self.held = np.zeros(net.num_params, dtype=bool)
        self.directions = np.zeros(net.num_params, dtype=bool)
        rows = _Places(net).incoming
        for unit in self.units:
            self.directions[rows[list(unit.neurons[1:])]] = True
        if net.layers[0].bias:
            biases = np.arange(net.num_params)[net.layout.blocks[0].biases]
            for unit in self.units:
                self.held[biases[list(unit.neurons)]] |= unit.holds_bias

    def _parts(self) -> list[Part]:
        by_first = {unit.neurons[0]: unit for unit in self.units}
        others = {k for unit in self.units for k in unit.neurons[1:]}
        parts: list[Part] = []
        for k, f in enumerate(self.activations):
            if k in by_first:
                parts += by_first[k].parts(f, self.side)
            elif k not in others:
                parts.append(Part(f, ((k, 1.0),), ((k, 1.0),)))
        return parts

    # ----------------------------------------------------------------------------------------------
    # the objective

    @property
    def num_params(self) -> int:
        """Number of coordinates, that of the parameters."""
        return self.net.num_params

    def parameters(self, z: Array) -> Array:
        """Those of the limit network at coordinates ``z`` (P,)."""
        found: Array = self.matrix @ z
        return found

    def evaluate(self, z: Array, order: int = 0) -> Evaluation:
        """Loss at infinity, and its derivatives with respect to the coordinates."""
        value, g, H = self.limit.evaluate(self.parameters(z), order)
        if H is not None:
            half = self.matrix.T @ H
            H = np.ascontiguousarray((self.matrix.T @ half.T).T)
            H = 0.5 * (H + H.T)
        return Evaluation(value, None if g is None else self.matrix.T @ g, H)

    def hvp(self, z: Array, v: Array) -> Array:
        """Hessian times ``v`` (P,) or (P, m)."""
        found: Array = self.matrix.T @ self.limit.hvp(self.parameters(z), self.matrix @ v)
        return found

    # ----------------------------------------------------------------------------------------------
    # the way there and back

    def coordinates(self, theta: Array) -> Array:
        """Where the path that has come to ``theta`` (P,) would end if it went straight on."""
        view = view_of(self.net, theta)
        if self.net.unit_rows is not None:
            running = [k for unit in self.units for k in unit.neurons]
            view.U[running, :-1] /= np.linalg.norm(view.U[running, :-1], axis=1)[:, None]
        for unit in self.units:
            unit.enter(view, self.activations[unit.neurons[0]], self.net)
        return self.normalised(theta_of(self.net, view))

    def point(self, z: Array, distances: Sequence[float], scales: Sequence[float] = ()) -> Array:
        """Parameters (P,) at some distance of each unit on the way to coordinates ``z``; scales
        go from the input to the output weights of those units for which that makes no difference.
        """
        view = view_of(self.net, z)
        self._to_spheres(view)
        for k, unit in enumerate(self.units):
            if scales and self.has_scale(unit):
                view.U[list(unit.neurons)] *= scales[k]
                view.A[:, list(unit.neurons)] /= scales[k]
            unit.leave(view, self.activations[unit.neurons[0]], self.net, distances[k])
        return theta_of(self.net, view)

    def normalised(self, z: Array) -> Array:
        """The same limit with directions of stencils of unit width, and rows of units of unit
        length where only their directions count.
        """
        view = view_of(self.net, z)
        self._to_spheres(view)
        for unit in self.units:
            unit.rescale(view, self.net)
        return theta_of(self.net, view)

    def has_scale(self, unit: EndUnit) -> bool:
        """Whether a factor can go from the input to the output weights of the limit."""
        return unit.has_scale and self.net.unit_rows is None

    def _to_spheres(self, view: View) -> None:
        """Of units whose rows enter with length one: w/|w| in the place of w, and the derivative
        of w/|w| along Delta in the place of Delta.
        """
        if self.net.unit_rows is None:
            return
        for unit in self.units:
            first, *others = unit.neurons
            length = np.linalg.norm(view.U[first, :-1])
            view.U[first, :-1] /= length
            u = view.U[first, :-1]
            for k in others:
                along = view.U[k, :-1]
                view.U[k, :-1] = (along - u * (u @ along)) / length


def view_of(net: Net | NetI, theta: Array) -> View:
    """Weights as they act; copies."""
    student = net.student if isinstance(net, NetI) else net
    (W, b), (A, c) = net.unpack(np.array(theta))
    first, second = student.weight_factors
    bias = np.zeros(len(W)) if b is None else b
    return View(
        np.column_stack([W * first, bias]), A * second, np.zeros(len(A)) if c is None else c.copy()
    )


def theta_of(net: Net | NetI, view: View) -> Array:
    """The inverse."""
    student = net.student if isinstance(net, NetI) else net
    first, second = student.weight_factors
    hidden, output = net.layers
    packed: Array = net.pack(
        [
            (view.U[:, :-1] / first, view.U[:, -1] if hidden.bias else None),
            (view.A / second, view.c if output.bias else None),
        ]
    )
    return packed


def _with_neurons(net: Net | NetI, activations: list) -> Net | NetI:
    """The same network with other hidden neurons."""
    if isinstance(net, NetI):
        return net.replace(student=_with_neurons(net.student, activations))
    hidden, output = net.layers
    return net.replace(layers=[(len(activations), activations, hidden.bias), output])


def _matrix(net: Net | NetI, limit: Net | NetI, parts: list[Part]) -> csr_matrix:
    """Parameters of the limit network from coordinates."""
    here, there = _places(net), _places(limit)
    rows: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    values: list[Array] = []

    def add(row: NDArray[np.intp], column: NDArray[np.intp], value: float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(np.full(len(row), value))

    ratio = here.out_factor / there.out_factor
    for k, part in enumerate(parts):
        for neuron, value in part.incoming:
            add(there.incoming[k], here.incoming[neuron], value)
        for neuron, value in part.outgoing:
            add(there.outgoing[:, k], here.outgoing[:, neuron], value * ratio)
    add(there.constant, here.constant, 1.0)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_matrix(entries, shape=(limit.num_params, net.num_params))


class _Places:
    """Where the weights of a network lie in theta."""

    def __init__(self, net: Net | NetI) -> None:
        student = net.student if isinstance(net, NetI) else net
        first, second = net.layout.blocks
        index = np.arange(net.num_params)
        rows = index[first.weights].reshape(first.width, first.fan_in)
        if first.bias:
            rows = np.column_stack([rows, index[first.biases]])
        self.incoming = rows
        self.outgoing = index[second.weights].reshape(second.width, second.fan_in)
        self.constant = index[second.biases]
        self.out_factor = student.weight_factors[1]


def _places(net: Net | NetI) -> _Places:
    return _Places(net)


def pinned(chart: Chart, neuron: int, samples: Array) -> tuple[Chart, csr_matrix]:
    """The chart in which the pre-activation of a neuron is zero on some samples, and the matrix
    that gives coordinates of the former from its own.

    The row of the neuron is turned into an orthonormal basis that begins with the samples, whose
    coordinates are held.

    Parameters
    ----------
    chart : Chart
    neuron : int
    samples : (m, D + 1) array
        Inputs, with 1 behind them where there is a bias.
    """
    size = chart.num_params
    rank = int(np.linalg.matrix_rank(samples))
    basis = np.linalg.svd(samples)[2].T
    place = _Places(chart.net).incoming[neuron]
    frame = np.eye(size)
    frame[np.ix_(place, place)] = basis
    other = copy.copy(chart)
    other.matrix = csr_matrix(chart.matrix @ frame)
    other.held = chart.held.copy()
    other.held[place[:rank]] = True
    return other, csr_matrix(frame)


def tangent(
    chart: Chart, z: Array, free: NDArray[np.bool_]
) -> tuple[Chart, NDArray[np.bool_], csr_matrix]:
    """The chart without directions that change nothing, what may move in it, and the matrix that
    gives coordinates of the former from its own.

    The directions are the length of Delta, which goes to the output weights, and where rows enter
    with length one also that of w and the part of Delta along w. Rows are turned into an
    orthonormal basis that begins with these, and what belongs to them is held. Rows with frozen
    entries stay as they are.

    Parameters
    ----------
    chart : Chart
    z : (P,) array
        Where the tangents are taken.
    free : (P,) boolean array
        Coordinates that may move.
    """
    net = chart.net
    rows = _Places(net).incoming
    weights = rows[:, : net.layout.blocks[0].fan_in]
    leaders = {k: unit.neurons[0] for unit in chart.units for k in unit.neurons[1:]}
    other = copy.copy(chart)
    other.held = chart.held.copy()
    frame = csr_matrix((np.ones(len(z)), (np.arange(len(z)),) * 2)).tolil()
    for k in range(len(rows)):
        place = rows[k] if k in leaders else weights[k]
        axes = []
        if net.unit_rows is not None and free[place].all():
            u = np.zeros(len(place))
            u[: weights.shape[1]] = z[weights[leaders.get(k, k)]]
            axes.append(u)
        if k in leaders and z[place].any():
            axes.append(z[place])
        if axes:
            frame[np.ix_(place, place)] = _basis(np.array(axes).T)
            other.held[place[: len(axes)]] = True
    found = csr_matrix(frame)
    other.matrix = csr_matrix(chart.matrix @ found)
    return other, free & ~other.held, found


def _basis(axes: Array) -> Array:
    """Orthonormal columns (n, n), the first of which span some vectors (n, m)."""
    Q: Array = np.linalg.qr(np.column_stack([axes, np.eye(len(axes))]))[0]
    return Q


def unit_rows_of(net: Net | NetI, theta: Array, free: NDArray[np.bool_]) -> Array:
    """The same network with rows of length one where they enter so; rows with frozen weights stay
    as they are.
    """
    if net.unit_rows is None:
        return theta
    found = theta.copy()
    for each, units, _ in net.unit_rows.split(theta):
        moves = free[each.entries].reshape(units.shape).all(axis=1)
        found[each.entries].reshape(units.shape)[moves] = units[moves]
    return found


class SquaresChart(Chart):
    """The same where the loss is a sum of squares, whose terms can be had."""

    limit: Net

    def residuals(self, z: Array) -> Array:
        """Vector (M,) with the loss as its sum of squares."""
        return self.limit.residuals(self.parameters(z))

    def jacobian(self, z: Array) -> Array:
        """Its Jacobian (M, P)."""
        return np.ascontiguousarray((self.matrix.T @ self.limit.jacobian(self.parameters(z)).T).T)

    def loss_rounding(self, z: Array, value: float) -> float | None:
        """Rounding error to expect of a loss."""
        return self.limit.loss_rounding(self.parameters(z), value)


def chart_of(net: Net | NetI, units: Sequence[EndUnit]) -> Chart:
    """The chart with all that its network can do."""
    squares = isinstance(net, Net) and net.is_sum_of_squares
    return (SquaresChart if squares else Chart)(net, units)
