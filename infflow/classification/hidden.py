"""Hidden layers as the symmetries see them: neurons with what comes in and goes out, and where it
lies in theta.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI

Index = NDArray[np.intp]

# Rounding of a cosine near 1.
_COSINE = 1e-13
#: where the outer pieces of an activation are probed, from their kinks
_BESIDE = np.array([0.1203, 0.7071, 2.4142])


@dataclass(frozen=True)
class HiddenLayer:
    """One hidden layer at a point theta."""

    number: int  #: 0 for the first hidden layer
    activations: tuple[Activation, ...]
    incoming: (
        Array  #: (width, fan_in + 1): weights with their factor, and bias (0 without), as they act
    )
    outgoing: Array  #: (next width, width): entries of theta, normalized
    in_index: Index  #: (width, fan_in or fan_in + 1): where weights and bias lie in theta
    out_index: Index  #: (next width, width)
    in_factors: Array  #: (fan_in or fan_in + 1,): factor of each of them
    bias: bool
    next_bias: Index | None  #: (next width,) biases of the next layer
    out_factor: float  #: with which outgoing weights act
    unit_rows: bool  #: whether incoming weights, without the bias, have length one

    @property
    def width(self) -> int:
        """Number of neurons."""
        return len(self.activations)


def hidden_layers(net: Net | NetI, theta: Array) -> list[HiddenLayer]:
    """All hidden layers of a net, or of the student of an infinite-data net, at ``theta`` (P,)."""
    student = net.student if isinstance(net, NetI) else net
    theta = student.normalized(theta)
    blocks = net.layout.blocks
    found = []
    index = np.arange(net.num_params)
    for number, (block, after) in enumerate(pairwise(blocks)):
        rows = index[block.weights].reshape(block.width, block.fan_in)
        factors = np.full(block.fan_in, student.weight_factors[number])
        bias = theta[block.biases] if block.bias else np.zeros(block.width)
        incoming = np.column_stack([theta[rows] * factors, bias])
        if block.bias:
            rows = np.column_stack([rows, index[block.biases]])
            factors = np.append(factors, 1.0)
        out = index[after.weights].reshape(after.width, after.fan_in)
        found.append(
            HiddenLayer(
                number,
                student.layers[number].activations,
                incoming,
                theta[out],
                rows,
                out,
                factors,
                block.bias,
                index[after.biases] if after.bias else None,
                student.weight_factors[number + 1],
                student.unit_rows is not None,
            )
        )
    return found


def homogeneity(f: Activation) -> int | None:
    """The degree d with f(c x) = c^d f(x) for all c > 0, or None."""
    if f.homogeneous:
        return 1
    powers = [n for n, c in enumerate(f.polynomial) if c != 0.0]
    if f.has_closed_form and not f.atoms:
        return powers[0] if len(powers) == 1 and powers[0] > 0 else None
    orders = {atom.order for atom in f.atoms}
    if len(orders) == 1 and all(atom.width == 0.0 for atom in f.atoms):
        degree = 1 - orders.pop()  # truncated powers have one degree each
        if degree >= 1:
            return degree if powers in ([], [degree]) else None
    steps = all(atom.order == 1 and atom.width == 0.0 for atom in f.atoms)
    return 0 if f.atoms and steps and powers in ([], [0]) else None


def is_monomial(f: Activation, degree: int) -> bool:
    """Whether f(x) = c x^degree."""
    return (
        f.has_closed_form
        and not f.atoms
        and [n for n, c in enumerate(f.polynomial) if c != 0.0] == [degree]
    )


def is_piecewise_linear(f: Activation) -> bool:
    """Whether f is linear between its kinks: the second derivative is exactly zero at points of
    every piece.
    """
    ends = np.sort(f.kinks if f.kinks else (0.0,))
    inner = ends[:-1] + np.diff(ends) * np.array([[0.31], [0.72]])
    points = np.concatenate([ends[0] - _BESIDE, inner.ravel(), ends[-1] + _BESIDE])
    return f.max_order >= 2 and not f.derivative(points, 2).any()


def same_function(f: Activation, g: Activation) -> bool:
    """Whether two activations are known to be the same function."""
    if f.parts or g.parts:
        return f.parts == g.parts
    closed = f.has_closed_form and g.has_closed_form
    return f is g or (closed and (f.polynomial, f.atoms) == (g.polynomial, g.atoms))


class Copy(NamedTuple):
    """Neuron ``second`` computes ``factor`` times what ``first`` computes, up to a relative ``gap``
    of weights.
    """

    first: int
    second: int
    factor: float
    gap: float


def copies(layer: HiddenLayer, rtol: float) -> list[Copy]:
    """Neurons that repeat an earlier one, up to sign (odd and even activations) and scale
    (homogeneous ones).
    """
    found: list[Copy] = []
    leaders: list[int] = []
    near = _nearly_parallel(layer.incoming, rtol)
    for j in range(layer.width):
        candidates = [i for i in leaders if near[i, j]]
        own = next((c for i in candidates if (c := _compare(layer, i, j)) and c.gap <= rtol), None)
        if own is not None:
            found.append(own)
        elif np.any(layer.incoming[j]):
            leaders.append(j)
    return found


def _nearly_parallel(rows: Array, rtol: float) -> NDArray[np.bool_]:
    """Pairs of rows whose sine may be below ``rtol``, which is at most their gap."""
    lengths = np.linalg.norm(rows, axis=1)
    units = rows / np.where(lengths > 0.0, lengths, 1.0)[:, None]
    near: NDArray[np.bool_] = 1.0 - np.abs(units @ units.T) <= rtol * rtol + _COSINE
    return near


def _compare(layer: HiddenLayer, i: int, j: int) -> Copy | None:
    """How neuron j repeats neuron i, with the gap of the weights; None for different activations or
    zero weights.
    """
    f = layer.activations[i]
    u = layer.incoming[i]
    v = layer.incoming[j]
    size_u = float(np.linalg.norm(u))
    size_v = float(np.linalg.norm(v))
    if size_u == 0.0 or size_v == 0.0 or not same_function(f, layer.activations[j]):
        return None
    degree = homogeneity(f)
    scale = 1.0 if degree is None else size_v / size_u
    sign = -1.0 if f.parity and u @ v < 0 else 1.0
    factor = scale ** (degree or 0) * (f.parity if sign < 0 else 1.0)
    return Copy(i, j, factor, float(np.linalg.norm(v - sign * scale * u)) / size_v)
