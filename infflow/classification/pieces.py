"""Flat directions of piecewise linear layers on finite data.

As long as no sample meets a kink, the sums of the next layer (where it has a slope, the others have
no effect) are linear in weights and biases, and bilinear together with the output weights: a
polynomial map F of (w, b, a, c) with coefficients that depend on the data and on who is active.
Where its Jacobian J has the rank that it has almost everywhere, the constant rank theorem says that
F is constant on a manifold with the null space of J as tangent space, and that J has the same range
all over it: near a critical point all its points are critical, and the null space is flat without
more ado. In deeper layers the Hessian must agree, as the weights of the layers before see products
of w and a and not only F. Elsewhere (two neurons with parallel output weights, say) F is still
constant along the null space in (w, b, c) alone, where it is linear, but the loss may gain a
gradient with respect to a; there as well the Hessian has to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from .features import LayerSignals, cut, null_space, nullity
from .hidden import HiddenLayer


@dataclass(frozen=True)
class _Map:
    """F at a point: k neurons with m weights and biases each, O sums of the next layer,
    N samples.
    """

    acting: Array  #: (N, m) what weights and biases multiply
    slopes: Array  #: (N, k)
    offsets: Array  #: (N, k): outputs are slopes * sums + offsets
    entries: Array  #: (k, m) weights and biases
    gains: Array  #: (O, k) output weights as they act
    out_factor: float
    next_bias: bool
    counts: NDArray[np.bool_]  #: (N, O) whether a sum of the next layer matters

    def null_space(self, outputs: bool, fixed: Array) -> Array:
        """Null space of the Jacobian in (w, b), a if ``outputs``, c, and of additional rows for (w,
        b).
        """
        N = len(self.acting)
        parts = self._parts(outputs)
        null = null_space(
            np.vstack([self._fixed(outputs, fixed), self._rows(slice(0, N, parts), outputs)])
        )
        for start in range(1, parts):
            if null.shape[1] <= self.scalings * outputs:
                break  # more samples cannot show less
            null = cut(null, self._rows(slice(start, N, parts), outputs))
        return null

    def has_nullity(self, nulls: int) -> bool:
        """Whether the null space with outputs has this dimension, which it cannot exceed."""
        if self._parts(True) > 1:
            return nulls == self.null_space(True, np.zeros((0, 0))).shape[1]
        table = self._rows(slice(None), True)
        least = table.shape[1] - int(table.any(axis=1).sum())
        return nulls == least or nulls == nullity(table)

    def _parts(self, outputs: bool) -> int:
        """In how many parts samples are looked at, for twice as many rows as columns in the
        first.
        """
        return max(1, len(self.acting) * len(self.gains) // (2 * self._columns(outputs)))

    def _columns(self, outputs: bool) -> int:
        k, m = self.entries.shape
        O = len(self.gains)
        return k * m + O * k * outputs + O * self.next_bias

    def _fixed(self, outputs: bool, fixed: Array) -> Array:
        rows = np.zeros((len(fixed), self._columns(outputs)))
        rows[:, : fixed.shape[1]] = fixed
        return rows

    @property
    def scalings(self) -> int:
        """Number of neurons that can be scaled against their output weights: so large is the null
        space at least.
        """
        return int((self.offsets == 0.0).all(axis=0).sum())

    def _rows(self, part: slice, outputs: bool) -> Array:
        """Rows of the Jacobian for some samples."""
        acting = self.acting[part]
        slopes = self.slopes[part]
        O = len(self.gains)
        one = np.broadcast_to(np.eye(O), (len(acting), O, O))
        found = [
            np.einsum("oi,ni,nd->noid", self.gains, slopes, acting).reshape(len(acting), O, -1)
        ]
        if outputs:
            values = slopes * (acting @ self.entries.T) + self.offsets[part]
            found.append(
                (self.out_factor * one[..., None] * values[:, None, None, :]).reshape(
                    len(acting), O, -1
                )
            )
        rows = np.concatenate([*found, one] if self.next_bias else found, axis=2)
        return np.asarray((rows * self.counts[part, :, None]).reshape(-1, rows.shape[2]))

    def elsewhere(self) -> _Map:
        """The same map at a random point."""
        rng = np.random.default_rng(0)
        scale = np.sqrt(np.mean(self.entries**2, axis=1, keepdims=True))
        scale[scale == 0.0] = 1.0
        size = np.sqrt(np.mean(self.gains**2, axis=0))
        entries = rng.standard_normal(self.entries.shape)
        gains = rng.standard_normal(self.gains.shape)
        return replace(self, entries=scale * entries, gains=size * gains)


def cancelling_changes(
    layer: HiddenLayer, signals: LayerSignals, neurons: list[int], counts: NDArray[np.bool_], P: int
) -> tuple[Array, bool]:
    """Changes of piecewise linear neurons that cancel in the next layer.

    Parameters
    ----------
    counts : (N, O) boolean array
        False where a sum of the next layer has no effect, nor would have nearby.

    Returns
    -------
    directions : (P, d) array
        In entries of theta.
    exact : bool
        Whether they are flat without a look at the Hessian.
    """
    Z = signals.inputs
    acting = (np.column_stack([Z, np.ones(len(Z))]) if layer.bias else Z) * layer.in_factors
    slopes = signals.slopes[:, neurons]
    sums = signals.sums[:, neurons]
    entries = (layer.incoming if layer.bias else layer.incoming[:, :-1])[neurons] / layer.in_factors
    offsets = signals.values[:, neurons] - slopes * sums
    offsets[np.abs(offsets) <= 1e-14 * np.abs(sums)] = 0.0
    gains = layer.outgoing[:, neurons] * layer.out_factor
    F = _Map(
        acting,
        slopes,
        offsets,
        entries,
        gains,
        layer.out_factor,
        layer.next_bias is not None,
        counts,
    )
    fixed = np.vstack(list(_kink_rows(signals, neurons, acting)))
    where = [layer.in_index[neurons].ravel(), layer.out_index[:, neurons].ravel(), layer.next_bias]
    generic = False
    null = np.zeros((0, 0))
    if not len(fixed):
        null = F.null_space(True, fixed)
        generic = null.shape[1] == F.scalings or F.elsewhere().has_nullity(null.shape[1])
    if not generic:
        null = F.null_space(False, fixed)
        del where[1]
    directions = np.zeros((P, null.shape[1]))
    directions[np.concatenate([each for each in where if each is not None])] = null
    return directions, generic and layer.number == 0


def _kink_rows(signals: LayerSignals, neurons: list[int], acting: Array) -> Iterator[Array]:
    """Rows (., k m) whose null space keeps the sums of samples that lie on a kink."""
    m, k = acting.shape[1], len(neurons)
    for place, i in enumerate(neurons):
        yield np.pad(acting[signals.on_kink[:, i]], ((0, 0), (place * m, (k - place - 1) * m)))
