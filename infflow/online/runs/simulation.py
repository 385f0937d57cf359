"""Online stochastic gradient descent itself, sample by sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...networks.infinite.neti import NetI
from ...terminal import Bar
from ..equations.right_hand_side import Model
from ..rates import Rates, Schedule

#: Inputs that are drawn at once.
_BLOCK = 512


class Descent(NamedTuple):
    """What is simulated: the network in D dimensions, variances (D,) of the inputs, and how it
    learns.
    """

    neti: NetI
    variances: Array | None
    model: Model
    schedule: Schedule


def simulate(
    descent: Descent,
    theta: Array,
    steps: NDArray[np.int64],
    rng: np.random.Generator,
    bar: Bar | None = None,
) -> list[tuple[Array, Array]]:
    """Weights (W, v) after the given numbers of steps, each with one fresh batch.

    Parameters
    ----------
    descent : Descent
    theta : (P,) array
        Start.
    steps : (T,) int array
        Not decreasing.
    rng : numpy.random.Generator
    bar : Bar, optional
        Is told the time, steps / D.

    Returns
    -------
    list of (W, v)
        Shorter than ``steps`` if the weights became infinite.
    """
    neti, _, model, schedule = descent
    W, v = (x.copy() for x, _ in neti.unpack(theta))
    D = W.shape[1]
    constant = schedule.is_constant
    lengths = np.linalg.norm(W, axis=1)
    draw = _Inputs(descent, min(_BLOCK, (int(steps[-1]) + 1) * model.batch_size), rng)
    one_step = _Step(neti, model, rng)
    rates = schedule.at(0.0)
    kept: list[tuple[Array, Array]] = []
    for step in range(int(steps[-1]) + 1):
        while len(kept) < len(steps) and steps[len(kept)] == step:
            if not np.isfinite(W).all():
                return kept
            kept.append((W.copy(), v.copy()))
            if bar is not None:
                bar.move_to(step / D)
        if bar is not None and step % _BLOCK == 0:
            bar.move_to(step / D)
        if not constant:
            rates = schedule.at(step / D)
        change_w, change_v = one_step(W, v, *draw(model.batch_size), rates)
        v -= change_v / D
        W -= change_w / D
        if model.sphere:
            W *= (lengths / np.linalg.norm(W, axis=1))[:, None]
    return kept


class _Inputs:
    """Fresh inputs and labels without noise, drawn in blocks."""

    def __init__(self, descent: Descent, block: int, rng: np.random.Generator) -> None:
        self._block = block
        self._neti, self._variances, _, _ = descent
        self._rng = rng
        self._X, self._y, self._used = np.empty((0, 0)), np.empty((0, 0)), 0

    def __call__(self, count: int) -> tuple[Array, Array]:
        """Inputs (count, D) and labels (count, O)."""
        if self._used + count > len(self._X):
            block = max(self._block, count)
            X = self._rng.standard_normal((block, self._neti.input_dim))
            if self._variances is not None:
                X *= np.sqrt(self._variances)
            self._X, self._y, self._used = X, self._neti.teacher.predict(X), 0
        chosen = slice(self._used, self._used + count)
        self._used += count
        return self._X[chosen], self._y[chosen]


class _Step:
    """Changes of the two layers times D."""

    def __init__(self, neti: NetI, model: Model, rng: np.random.Generator) -> None:
        activations = neti.layers[0].activations
        self._groups = [
            (f, np.array([i for i, g in enumerate(activations) if g == f]))
            for f in dict.fromkeys(activations)
        ]
        self._model = model
        self._rng = rng

    def __call__(self, W: Array, v: Array, X: Array, y: Array, rates: Rates) -> tuple[Array, Array]:
        model = self._model
        b = len(X)
        h = W @ X.T
        if model.input_noise:
            h += model.input_noise * self._rng.standard_normal(h.shape)
        f = np.empty_like(h)
        df = np.empty_like(h)
        for activation, rows in self._groups:
            out = np.empty((2, len(rows), b))
            activation.jet(h[rows], out)
            f[rows], df[rows] = out
        target = y.T
        if rates.noise:
            target = target + rates.noise * self._rng.standard_normal(target.shape)
        residual = (-target if model.correlation else v @ f - target) * rates.outputs[:, None]
        back = (v.T @ residual) * df
        change_w = 2.0 * rates.w[:, None] * (back @ X) / b + rates.ridge * rates.w[:, None] * W
        change_v = 2.0 * rates.v * (residual @ f.T) / b + rates.ridge * rates.v * v
        return change_w, change_v
