"""Which neurons run off to infinity, what becomes of them, and the way there and back.

A unit at infinity has coordinates in the place of the parameters of its neurons, so that a vector
of coordinates has the shape of theta:

| kind | row of the neuron | output weights | theta at distance s |
|---|---|---|---|
| merging i, j | i: w; j: Delta | i: c; j: a | w +- Delta/s, c/2 +- a s/2 |
| linear | w, bias 0 | a slope | bias beyond the input by s |
| kink | w | a | s w, a/s |
| step | w | a | s w, a |
| exponential | w, bias 0 | a | bias in the tail by s, output weight grown |

What these add to the outputs as a constant is in the coordinates of the next bias. Where rows enter
with length one (see ``networks/unit_rows.py``), w is the row of length one, Delta is tangent to the
sphere, and there are no kinks and steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from .asymptotes import Side, exponential, kinked, side_of, straight
from .reach import Reach, reach
from .stencil import stencil_of

#: difference of the pre-activations of a pair, and sum of its output weights, relative to each
_CLOSE = 0.3
#: largest deviation from a straight line on the input, relative to the pre-activation
_STRAIGHT = 1e-2
#: root mean square of the pre-activation from which a neuron may have become a kink, and what is
#: left of that
_LARGE = 20.0
_KINKED = 0.05
#: pre-activation from which a tail is one
_TAIL = 3.0
_EXPONENTIAL = 0.1


class EndKind(Enum):
    """What happens at infinity; the value is the sentence that the user reads."""

    MERGING = (
        "two neurons merge while their output weights run off with opposite signs, which leaves "
        "c f(h) + a f'(h) d"
    )
    LINEAR = "the bias runs off to where the activation is straight, which leaves a linear unit"
    KINK = "input weights run off while output weights vanish, which leaves a piecewise linear unit"
    STEP = "input weights run off, which leaves a step"
    EXPONENTIAL = (
        "the bias runs off into the tail of the activation while output weights run off, which "
        "leaves an exponential unit"
    )


class View(NamedTuple):
    """Weights of a network with one hidden layer as they act, or coordinates; to be changed."""

    U: Array  #: (K, D + 1), the bias last (0 without)
    A: Array  #: (outputs, K)
    c: Array  #: (outputs,) bias of the output layer (0 without)


class Part(NamedTuple):
    """A neuron of the limit network: a combination of rows, and of columns, of coordinates."""

    activation: Activation
    incoming: tuple[tuple[int, float], ...]
    outgoing: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class EndUnit:
    """One unit at infinity.

    Attributes
    ----------
    kind : EndKind
    neurons : tuple of int
        The pair that merges, or the neuron that runs off.
    sign : int
        The side to which a bias runs off; for a pair, -1 where the second neuron takes part by its
        mirror image (odd and even activations).
    """

    kind: EndKind
    neurons: tuple[int, ...]
    sign: int = 1

    def __str__(self) -> str:
        who = " and ".join(map(str, self.neurons))
        plural = "s" * (len(self.neurons) > 1)
        return f"neuron{plural} {who}: {self.kind.value}"

    @property
    def distances(self) -> tuple[float, ...]:
        """At which the loss is compared with its limit, from near to far."""
        return _WAYS[self.kind].distances

    def parts(self, f: Activation, side: int) -> list[Part]:
        """The neurons of the limit network that make up the unit."""
        return _WAYS[self.kind].parts(self, f, side)

    def enter(self, view: View, f: Activation, net: Net | NetI) -> None:
        """Put coordinates in the place of parameters."""
        _WAYS[self.kind].enter(self, view, f, net)

    def leave(self, view: View, f: Activation, net: Net | NetI, distance: float) -> None:
        """Put parameters at a distance in the place of coordinates."""
        _WAYS[self.kind].leave(self, view, f, net, distance)

    def suits(self, net: Net | NetI) -> bool:
        """Whether the first layer of a network has such neurons."""
        activations = net.layers[0].activations
        if max(self.neurons) >= len(activations):
            return False
        f, *others = (activations[k] for k in self.neurons)
        if f.kinks or any(g is not f for g in others):
            return False
        if self.kind is EndKind.MERGING:
            return self.sign > 0 or f.parity != 0
        if self.holds_bias:
            line = side_of(f, self.sign) if net.layers[0].bias and net.layers[1].bias else None
            scale = None if line is None else line.slope if self.has_scale else line.rate
            return bool(scale)
        limit = kinked(f) if net.unit_rows is None else None
        is_step = limit is not None and side_of(f, 1).slope == 0.0  # type: ignore[union-attr]
        return limit is not None and is_step == (self.kind is EndKind.STEP)

    def rescale(self, view: View, net: Net | NetI) -> None:
        """Bring coordinates to the width, or length, that they have after :meth:`enter`."""
        _WAYS[self.kind].rescale(self, view, net)

    @property
    def holds_bias(self) -> bool:
        """Whether the bias of the neuron is no coordinate."""
        return self.kind in (EndKind.LINEAR, EndKind.EXPONENTIAL)

    @property
    def has_scale(self) -> bool:
        """Whether a factor can go from the input to the output weights of the limit."""
        return self.kind is EndKind.LINEAR


class _Merging:
    """c f(h) + a f'(h) d, as a stencil of neurons."""

    distances = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)

    @staticmethod
    def parts(unit: EndUnit, f: Activation, side: int) -> list[Part]:
        i, j = unit.neurons
        nodes, value, slope, _ = stencil_of(f, side)
        return [
            Part(f, ((i, 1.0), (j, float(t))), ((i, float(v)), (j, float(s))))
            for t, v, s in zip(nodes, value, slope, strict=True)
        ]

    @staticmethod
    def enter(unit: EndUnit, view: View, f: Activation, net: Net | NetI) -> None:
        i, j = unit.neurons
        if unit.sign < 0:
            view.U[j] *= -1.0
            view.A[:, j] *= f.parity
        middle = 0.5 * (view.U[i] + view.U[j])
        half = 0.5 * (view.U[i] - view.U[j])
        both = view.A[:, i] + view.A[:, j]
        view.A[:, j] = view.A[:, i] - view.A[:, j]
        view.A[:, i] = both
        view.U[i] = middle
        view.U[j] = half

    @staticmethod
    def rescale(unit: EndUnit, view: View, net: Net | NetI) -> None:
        _, j = unit.neurons
        length = width_of(net, view.U[j])
        if net.unit_rows is not None:
            length = max(length, float(np.linalg.norm(view.U[j, :-1])) / _ARC)
        view.U[j] /= length
        view.A[:, j] *= length

    @staticmethod
    def leave(unit: EndUnit, view: View, f: Activation, net: Net | NetI, distance: float) -> None:
        i, j = unit.neurons
        middle, step = view.U[i].copy(), view.U[j] / distance
        both, apart = view.A[:, i].copy(), view.A[:, j] * distance
        view.U[i] = middle + step
        view.U[j] = middle - step
        view.A[:, i] = 0.5 * (both + apart)
        view.A[:, j] = 0.5 * (both - apart)
        if unit.sign < 0:
            view.U[j] *= -1.0
            view.A[:, j] *= f.parity


class _Single:
    """What units of one neuron have in common."""

    @staticmethod
    def part(unit: EndUnit, activation: Activation) -> list[Part]:
        (i,) = unit.neurons
        return [Part(activation, ((i, 1.0),), ((i, 1.0),))]

    @staticmethod
    def rescale(unit: EndUnit, view: View, net: Net | NetI) -> None:
        """The bias, which runs off, means nothing."""
        view.U[list(unit.neurons), -1] = 0.0


class _Linear(_Single):
    distances = (2.0, 4.0, 8.0, 14.0, 30.0)

    @classmethod
    def parts(cls, unit: EndUnit, f: Activation, side: int) -> list[Part]:
        return cls.part(unit, straight())

    @classmethod
    def enter(cls, unit: EndUnit, view: View, f: Activation, net: Net | NetI) -> None:
        (i,) = unit.neurons
        line = _side(f, unit.sign)
        view.c[:] += view.A[:, i] * line.line(view.U[i, -1])
        view.A[:, i] *= line.slope
        cls.rescale(unit, view, net)

    @staticmethod
    def leave(unit: EndUnit, view: View, f: Activation, net: Net | NetI, distance: float) -> None:
        (i,) = unit.neurons
        line = _side(f, unit.sign)
        view.U[i, -1] = _beyond(unit, view, net, distance)
        view.A[:, i] /= line.slope
        view.c[:] -= view.A[:, i] * line.line(view.U[i, -1])


class _Exponential(_Single):
    distances = (3.0, 6.0, 9.0, 12.0)

    @classmethod
    def parts(cls, unit: EndUnit, f: Activation, side: int) -> list[Part]:
        return cls.part(unit, exponential(_side(f, unit.sign)))

    @classmethod
    def enter(cls, unit: EndUnit, view: View, f: Activation, net: Net | NetI) -> None:
        (i,) = unit.neurons
        line = _side(f, unit.sign)
        view.c[:] += view.A[:, i] * line.intercept
        view.A[:, i] *= line.tail(view.U[i, -1])
        cls.rescale(unit, view, net)

    @staticmethod
    def leave(unit: EndUnit, view: View, f: Activation, net: Net | NetI, distance: float) -> None:
        (i,) = unit.neurons
        line = _side(f, unit.sign)
        view.U[i, -1] = _beyond(unit, view, net, distance)
        view.A[:, i] /= line.tail(view.U[i, -1])
        view.c[:] -= view.A[:, i] * line.intercept


class _Kink(_Single):
    distances = (30.0, 100.0, 300.0, 1000.0, 10000.0)

    @classmethod
    def parts(cls, unit: EndUnit, f: Activation, side: int) -> list[Part]:
        limit = kinked(f)
        assert limit is not None
        return cls.part(unit, limit)

    @staticmethod
    def enter(unit: EndUnit, view: View, f: Activation, net: Net | NetI) -> None:
        """Coordinates are parameters but for their length."""

    @staticmethod
    def rescale(unit: EndUnit, view: View, net: Net | NetI) -> None:
        (i,) = unit.neurons
        length = width_of(net, view.U[i])
        view.U[i] /= length
        if unit.kind is EndKind.KINK:
            view.A[:, i] *= length

    @staticmethod
    def leave(unit: EndUnit, view: View, f: Activation, net: Net | NetI, distance: float) -> None:
        (i,) = unit.neurons
        factor = distance / width_of(net, view.U[i])
        view.U[i] *= factor
        if unit.kind is EndKind.KINK:
            view.A[:, i] /= factor


_WAYS: dict[EndKind, type[_Merging | _Linear | _Exponential | _Kink]] = {
    EndKind.MERGING: _Merging,
    EndKind.LINEAR: _Linear,
    EndKind.EXPONENTIAL: _Exponential,
    EndKind.KINK: _Kink,
    EndKind.STEP: _Kink,
}
#: width of a direction in units of its root mean square on Gaussian input; on samples it is the
#: largest value
_WIDE = 2.5
#: length of a direction where rows enter with length one: nodes of stencils lie on an arc, and
#: their derivative has errors below 1e-13 up to here
_ARC = 0.2


def width_of(net: Net | NetI, row: Array) -> float:
    """By how much a row (D + 1,) changes pre-activations."""
    found = reach(net, row[None, :])
    if isinstance(net, NetI):
        return _WIDE * float(found.rms[0])
    return float(max(-found.low[0], found.high[0]))


def _side(f: Activation, sign: int) -> Side:
    found = side_of(f, sign)
    assert found is not None
    return found


def _beyond(unit: EndUnit, view: View, net: Net | NetI, distance: float) -> float:
    """The bias that brings a neuron whose bias is 0 beyond the input by a distance."""
    (i,) = unit.neurons
    found = reach(net, view.U[i][None, :])
    if unit.sign > 0:
        return distance - float(found.low[0])
    return -distance - float(found.high[0])


# --------------------------------------------------------------------------------------------------
# recognition


def running_off(
    net: Net | NetI, view: View, may_move: NDArray[np.bool_]
) -> list[tuple[EndUnit, ...]]:
    """The neurons that look as if they were on their way to infinity: what may become of them,
    the likeliest first.

    Parameters
    ----------
    net : Net with data, or NetI
        With one hidden layer.
    view : View
        Its weights as they act.
    may_move : (K,) boolean array
        Neurons none of whose parameters is frozen.
    """
    found = reach(net, view.U)
    activations = net.layers[0].activations
    pairs = _pairs(net, view, found, may_move)
    taken = {k for pair in pairs for k in pair.neurons}
    biases = net.layers[0].bias and net.layers[1].bias
    options = [
        _singles(i, f, found, biases)
        for i, f in enumerate(activations)
        if i not in taken and may_move[i] and not f.kinks
    ]
    if net.unit_rows is not None:  # these rows have a length and cannot run off
        fixed = (EndKind.KINK, EndKind.STEP)
        options = [[unit for unit in each if unit.kind not in fixed] for each in options]
    options = [each for each in options if each]
    first = (*pairs, *(each[0] for each in options))
    others = [
        tuple(each[-1] if unit is each[0] else unit for unit in first)
        for each in options
        if len(each) > 1
    ]
    alone = [(unit,) for unit in first] if len(first) > 1 else []
    return [units for units in (first, *others, *alone) if units]


def _pairs(net: Net | NetI, view: View, found: Reach, may_move: NDArray[np.bool_]) -> list[EndUnit]:
    """Pairs of neurons that merge, the closest first."""
    activations = net.layers[0].activations
    candidates = []
    for i, j in zip(*np.triu_indices(len(view.U), 1), strict=True):
        f = activations[i]
        if not (may_move[i] and may_move[j]) or activations[j] is not f or f.kinks:
            continue
        a, b = view.A[:, i], view.A[:, j]
        for sign in (1, -1) if f.parity else (1,):
            other = b if sign > 0 else f.parity * b
            apart = float(np.linalg.norm(a - other))
            if not np.linalg.norm(a + other) <= _CLOSE * apart:
                continue
            rows = view.U[[i, j]]
            if net.unit_rows is not None and sign * float(rows[0, :-1] @ rows[1, :-1]) <= 0.0:
                continue  # no direction lies between them
            if np.linalg.norm(rows[0] - sign * rows[1]) > np.linalg.norm(rows):
                continue  # the pre-activations themselves are looked at only of few
            gap = float(reach(net, (view.U[i] - sign * view.U[j])[None, :]).rms[0])
            size = float(found.rms[i] + found.rms[j])
            if 0.0 < gap <= _CLOSE * size:
                candidates.append((gap / size, EndUnit(EndKind.MERGING, (int(i), int(j)), sign)))
    pairs: list[EndUnit] = []
    for _, pair in sorted(candidates, key=lambda each: each[0]):
        if not any(set(pair.neurons) & set(other.neurons) for other in pairs):
            pairs.append(pair)
    return pairs


def _singles(i: int, f: Activation, found: Reach, biases: bool) -> list[EndUnit]:
    """What may become of a neuron that runs off on its own."""
    low, high, rms = float(found.low[i]), float(found.high[i]), float(found.rms[i])
    points = np.linspace(low, high, 101)
    sign = 1 if low + high > 0.0 else -1
    line = side_of(f, sign) if biases and low * high > 0.0 else None
    units = []
    if line is not None and line.slope != 0.0:
        left = np.abs(f(points) - line.line(points)).max()
        if left <= _STRAIGHT * (high - low):
            units.append(EndUnit(EndKind.LINEAR, (i,), sign))
    elif line is not None and line.rate and min(abs(low), abs(high)) > _TAIL:
        exact = f(points) - line.intercept
        if np.abs(exact / line.tail(points) - 1.0).max() <= _EXPONENTIAL:
            units.append(EndUnit(EndKind.EXPONENTIAL, (i,), sign))
    limit = kinked(f) if rms > _LARGE else None
    if limit is not None:
        is_step = side_of(f, 1).slope == 0.0  # type: ignore[union-attr]
        size = 1.0 if is_step else rms
        if np.mean(np.abs(f(points) - limit(points))) <= _KINKED * size:
            units.append(EndUnit(EndKind.STEP if is_step else EndKind.KINK, (i,)))
    return units
