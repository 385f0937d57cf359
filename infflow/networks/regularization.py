"""Terms of a loss that depend on theta alone.

The barrier of the paper (eq. 6), ridge, and pairs of neurons to merge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, as_integer, as_number, shown
from ..errors import InvalidTypeError, InvalidValueError
from .parameters import Layout

Index = NDArray[np.intp]

MERGE_KEYS = ("layer", "pair", "lambda")
MERGE_EXAMPLE = '{"layer": 1, "pair": (0, 1), "lambda": 0.1}'


@dataclass(frozen=True)
class Merge:
    """``strength/2 |w_i - w_j|^2`` of two neurons of a layer; w includes the bias if there is one.

    Layers count from 1, as in ``W1, b1``, and neurons from 0.
    """

    layer: int
    pair: tuple[int, int]
    strength: float

    @classmethod
    def from_argument(cls, name: str, given: Any, layout: Layout) -> Merge:
        """Check ``{"layer": 1, "pair": (0, 1), "lambda": 0.1}`` against the layers of a network."""
        if isinstance(given, Merge):
            given = dict(zip(MERGE_KEYS, (given.layer, given.pair, given.strength), strict=True))
        if not isinstance(given, Mapping) or set(given) != set(MERGE_KEYS):
            raise InvalidTypeError(
                f"{name} is {shown(given)}; a dictionary {MERGE_EXAMPLE}, or a list of these, is "
                "needed."
            )
        last = len(layout.blocks)
        layer = as_integer(
            f"layer of {name}, counted from 1,", given["layer"], minimum=1, maximum=last
        )
        pair = _as_pair(f"pair of {name}", given["pair"])
        width = layout.blocks[layer - 1].width
        if pair[0] == pair[1] or not all(0 <= neuron < width for neuron in pair):
            raise InvalidValueError(
                f"pair of {name} is {pair}; two different neurons of layer {layer} are needed, "
                f"which are 0 to {width - 1}."
            )
        strength = as_number(f"lambda of {name}", given["lambda"], minimum=0.0)
        return cls(layer, pair, strength)

    def entries(self, layout: Layout) -> Index:
        """Where weights and bias of both neurons stand in theta, ``(2, m)``."""
        block = layout.blocks[self.layer - 1]
        neurons = np.array(self.pair)[:, None]
        weights = block.weights.start + neurons * block.fan_in + np.arange(block.fan_in)
        if not block.bias:
            return weights
        return np.hstack([weights, block.biases.start + neurons])

    def renumbered(self, neurons: Index) -> Merge | None:
        """For a layer whose neuron k was ``neurons[k]`` of this one (-1: it is new).

        It is None if one of the pair is gone.
        """
        places = [np.flatnonzero(neurons == neuron) for neuron in self.pair]
        if not all(len(place) for place in places):
            return None
        i, j = (int(place[0]) for place in places)
        return replace(self, pair=(i, j))


def _as_pair(name: str, given: Any) -> tuple[int, int]:
    if (
        isinstance(given, (str, bytes))
        or not isinstance(given, (Sequence, np.ndarray))
        or np.shape(given) != (2,)
    ):
        raise InvalidTypeError(f"{name} is {shown(given)}; two neurons, e.g. (0, 1), are needed.")
    return as_integer(name, given[0]), as_integer(name, given[1])


@dataclass(frozen=True)
class Regularization:
    """``R(theta) + ridge/2 |theta|^2 + sum lambda/2 |w_i - w_j|^2`` over the pairs of ``merge``.

    The barrier is ``R = (r - maxnorm)^2`` where ``r = |theta|^2/2 > maxnorm``.
    R is zero for ``r <= maxnorm``; it is continuous with its gradient ``2 (r - maxnorm) theta``,
    and its Hessian ``2 (r - maxnorm) 1 + 2 theta theta'`` jumps at ``r = maxnorm``, where the value
    0 is taken.
    """

    maxnorm: float = np.inf
    ridge: float = 0.0
    merge: tuple[Merge, ...] = ()
    #: One array (2, m) for each pair: places of its two neurons in theta.
    _entries: tuple[Index, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_arguments(cls, maxnorm: Any, ridge: Any, merge: Any, layout: Layout) -> Regularization:
        """Check the numbers, not negative (``maxnorm`` may be infinite), and the pairs.

        ``merge`` is None, one pair, or a list.
        """
        maxnorm = as_number("maxnorm", maxnorm, minimum=0.0, infinite=True)
        ridge = as_number("ridge", ridge, minimum=0.0)
        given = merge if isinstance(merge, (list, tuple)) else [] if merge is None else [merge]
        names = [f"merge[{k}]" if len(given) > 1 else "merge" for k in range(len(given))]
        pairs = tuple(
            Merge.from_argument(name, one, layout) for name, one in zip(names, given, strict=True)
        )
        return cls(maxnorm, ridge, pairs, tuple(pair.entries(layout) for pair in pairs))

    def arguments(self) -> dict[str, Any]:
        """The arguments of Net and NetI that make it."""
        return {"maxnorm": self.maxnorm, "ridge": self.ridge, "merge": self.merge}

    @property
    def active(self) -> bool:
        """False if it is zero everywhere."""
        return self.ridge != 0.0 or self.maxnorm != np.inf or self._merges

    def identity(self) -> dict[str, str]:
        """Its part of the ``identity`` of a network: its text, unless it is zero everywhere."""
        return {"regularization": str(self)} if self.active else {}

    @property
    def _merges(self) -> bool:
        return any(pair.strength for pair in self.merge)

    def acts_at(self, theta: Array) -> bool:
        """Whether it has a gradient or a Hessian at ``theta``."""
        return self.ridge > 0.0 or self._merges or self._excess(theta)[1] > 0.0

    def _excess(self, theta: Array) -> tuple[float, float]:
        """``r`` and ``max(r - maxnorm, 0)``."""
        r = 0.5 * float(theta @ theta)
        return r, max(r - self.maxnorm, 0.0)

    def value(self, theta: Array) -> float:
        """Value at ``theta``."""
        r, excess = self._excess(theta)
        value = excess * excess + self.ridge * r
        for pair, (first, second) in zip(self.merge, self._entries, strict=True):
            gap = theta[first] - theta[second]
            value += 0.5 * pair.strength * float(gap @ gap)
        return value

    def gradient(self, theta: Array) -> Array:
        """``(P,)`` gradient."""
        gradient = (2.0 * self._excess(theta)[1] + self.ridge) * theta
        self._add_merge_product(theta, gradient)
        return gradient

    def _add_merge_product(self, v: Array, out: Array) -> None:
        """Add the Hessian of the pairs times ``v`` of shape ``(P,)`` or ``(P, m)``.

        It does not depend on theta.
        """
        for pair, (first, second) in zip(self.merge, self._entries, strict=True):
            gap = pair.strength * (v[first] - v[second])
            out[first] += gap
            out[second] -= gap

    def add_hessian(self, theta: Array, hessian: Array) -> None:
        """Add the Hessian to ``hessian`` ``(P, P)``, without another matrix of that size."""
        _, excess = self._excess(theta)
        hessian.flat[:: len(theta) + 1] += 2.0 * excess + self.ridge
        if excess > 0.0:
            for row, entry in zip(hessian, theta, strict=True):
                row += (2.0 * entry) * theta
        for pair, (first, second) in zip(self.merge, self._entries, strict=True):
            hessian[first, first] += pair.strength
            hessian[second, second] += pair.strength
            hessian[first, second] -= pair.strength
            hessian[second, first] -= pair.strength

    def add_outside(self, theta: Array, J: Array) -> None:
        """Add the Hessian on weights of the first layer along an input that theta does not use.

        ``J`` has shape (K, K), one entry for each pair of hidden neurons.
        """
        J[np.diag_indices(len(J))] += 2.0 * self._excess(theta)[1] + self.ridge
        for pair in self.merge:
            if pair.layer == 1:
                i, j = pair.pair
                J[i, i] += pair.strength
                J[j, j] += pair.strength
                J[i, j] -= pair.strength
                J[j, i] -= pair.strength

    def hvp(self, theta: Array, v: Array) -> Array:
        """Hessian times ``v`` of shape ``(P,)`` or ``(P, m)``."""
        _, excess = self._excess(theta)
        product = (2.0 * excess + self.ridge) * v
        if excess > 0.0:
            projection = 2.0 * (theta @ v)
            product += theta * projection if v.ndim == 1 else theta[:, None] * projection
        self._add_merge_product(v, product)
        return product

    # -------------------------------------------------------------------------------- as a sum of
    # squares

    def num_residuals(self, num_params: int) -> int:
        """Length of :meth:`residuals`, the same for every theta."""
        ridge = num_params if self.ridge else 0
        return (self.maxnorm != np.inf) + ridge + sum(entries.shape[1] for entries in self._entries)

    def residuals(self, theta: Array) -> Array:
        """Vector whose sum of squares is the value.

        It holds the barrier (0 inside), ridge, and the gaps of the pairs.
        """
        parts = [np.empty(0)]
        if self.maxnorm != np.inf:
            parts.append(np.array([self._excess(theta)[1]]))
        if self.ridge:
            parts.append(math.sqrt(0.5 * self.ridge) * theta)
        for pair, (first, second) in zip(self.merge, self._entries, strict=True):
            parts.append(math.sqrt(0.5 * pair.strength) * (theta[first] - theta[second]))
        return np.concatenate(parts)

    def fill_jacobian(self, theta: Array, J: Array) -> None:
        """Write the Jacobian of :meth:`residuals` into the zeros ``J`` ``(num_residuals, P)``."""
        row = 0
        if self.maxnorm != np.inf:
            if self._excess(theta)[1] > 0.0:
                J[row] = theta
            row += 1
        if self.ridge:
            rows = np.arange(len(theta))
            J[row + rows, rows] = math.sqrt(0.5 * self.ridge)
            row += len(theta)
        for pair, (first, second) in zip(self.merge, self._entries, strict=True):
            rows = row + np.arange(len(first))
            J[rows, first] = math.sqrt(0.5 * pair.strength)
            J[rows, second] = -math.sqrt(0.5 * pair.strength)
            row += len(first)
