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
from .features import (
    ZERO_OF_SAMPLES,
    LayerSignals,
    cut,
    null_space,
    null_space_of_sums,
    nullity,
)
from .hidden import HiddenLayer

# From so many rows for a column on, sums of rows are looked at.
_TALL = 1.5


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

        Of many samples random sums are looked at. They have the null space of all samples but in
        rare cases, in which a random direction of it shows that it is too large.
        """
        if not self._is_tall(outputs):
            return null_space(
                np.vstack([self._fixed(outputs, fixed), self._rows(slice(None), outputs)])
            )
        first, second = (
            np.vstack([self._fixed(outputs, fixed), self._sums(outputs, seed)]) for seed in (0, 1)
        )
        null = null_space_of_sums(first, second, self.scalings * outputs)
        if null.shape[1] <= self.scalings * outputs or self._vanish(null, outputs):
            return null  # more samples cannot show less
        parts = len(self.acting) * len(self.gains) // (2 * self._columns(outputs)) + 1
        for start in range(parts):
            null = cut(null, self._rows(slice(start, None, parts), outputs))
        return null

    def has_nullity(self, nulls: int) -> bool:
        """Whether the null space with outputs has this dimension, which it cannot exceed."""
        if self._is_tall(True):
            return nulls == self.null_space(True, np.zeros((0, 0))).shape[1]
        table = self._rows(slice(None), True)
        least = table.shape[1] - int(table.any(axis=1).sum())
        return nulls == least or nulls == nullity(table)

    def _is_tall(self, outputs: bool) -> bool:
        """Whether there are many more rows than columns."""
        return len(self.acting) * len(self.gains) > _TALL * self._columns(outputs)

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

    def _sums(self, outputs: bool, seed: int) -> Array:
        """Rows of the Jacobian with random weights, summed over groups of samples; as many as there
        are columns, or a few more.
        """
        rng = np.random.default_rng(seed)
        (N, m) = self.acting.shape
        (O, k) = self.gains.shape
        weights = rng.standard_normal((N, O)) * self.counts
        groups = np.array_split(rng.permutation(N), -(-self._columns(outputs) // O))
        rows = np.zeros((len(groups), O, self._columns(outputs)))
        values = self._values() if outputs else np.zeros((N, k))
        own = np.arange(O)
        for row, group in zip(rows, groups, strict=True):
            slopes = self.slopes[group]
            sums = (weights[group, :, None] * slopes[:, None]).reshape(len(group), O * k)
            row[:, : k * m] = (sums.T @ self.acting[group]).reshape(O, k * m)
            row[:, : k * m] *= np.repeat(self.gains, m, axis=1)
            if outputs:
                places = k * m + own[:, None] * k + np.arange(k)
                row[own[:, None], places] = self.out_factor * (weights[group].T @ values[group])
            if self.next_bias:
                row[own, rows.shape[2] - O + own] = weights[group].sum(axis=0)
        return rows.reshape(-1, rows.shape[2])

    def _vanish(self, null: Array, outputs: bool) -> bool:
        """Whether the sums do not change along two random directions of a space (columns, d)."""
        (_, m) = self.acting.shape
        (O, k) = self.gains.shape
        directions = null @ np.random.default_rng(2).standard_normal((null.shape[1], 2))
        largest = 0.0
        values = self._values()
        for v in directions.T:
            inner = v[: k * m].reshape(k, m)
            rest = v[k * m :]
            change = (self.slopes * (self.acting @ inner.T)) @ self.gains.T
            if outputs:
                change += self.out_factor * values @ rest[: O * k].reshape(O, k).T
            if self.next_bias:
                change += rest[len(rest) - O :]
            largest = max(largest, float(np.linalg.norm(change * self.counts)))
        # lengths of the columns of the Jacobian
        inner = (self.counts @ self.gains**2 * self.slopes**2).T @ self.acting**2
        size = float(inner.max(initial=0.0))
        if outputs:
            squares = self.out_factor**2 * self.counts.T.astype(float) @ values**2
            size = max(size, float(squares.max(initial=0.0)))
        return largest <= ZERO_OF_SAMPLES * np.sqrt(size)

    def _values(self) -> Array:
        """Outputs (N, k) of the neurons."""
        found: Array = self.slopes * (self.acting @ self.entries.T) + self.offsets
        return found

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
