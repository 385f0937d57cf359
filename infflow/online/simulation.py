"""Online stochastic gradient descent itself, sample by sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..networks.infinite.neti import NetI

#: Inputs that are drawn at once.
_BLOCK = 512


def simulate(
    neti: NetI,
    theta: Array,
    steps: NDArray[np.int64],
    step_w: float,
    step_v: float,
    rng: np.random.Generator,
) -> list[tuple[Array, Array, Array]]:
    """Order parameters (Q, R, v) after the given numbers of steps, each with one fresh sample.

    Parameters
    ----------
    neti : NetI
        Without biases, with standard normal input and standard parametrization.
    theta : (P,) array
        Start.
    steps : (T,) int array
        Not decreasing.
    step_w, step_v : float
        Step sizes of the two layers for the squared error.
    rng : numpy.random.Generator

    Returns
    -------
    list of (Q, R, v)
        Shorter than ``steps`` if the weights became infinite.
    """
    (W, _), (v, _) = ((x.copy(), None) for x, _ in neti.unpack(theta))
    V = neti.teacher_units.W
    activations = neti.layers[0].activations
    groups = [
        (f, np.array([i for i, g in enumerate(activations) if g == f]))
        for f in dict.fromkeys(activations)
    ]
    ridge = neti.regularization.ridge
    shrink_w = 1.0 - step_w * ridge
    shrink_v = 1.0 - step_v * ridge
    f = np.empty(len(W))
    df = np.empty(len(W))
    jet = np.empty((2, len(W)))
    kept: list[tuple[Array, Array, Array]] = []
    X = np.empty((0, W.shape[1]))
    y = np.empty((0, len(v)))
    used = 0
    for step in range(int(steps[-1]) + 1):
        while len(kept) < len(steps) and steps[len(kept)] == step:
            kept.append((W @ W.T, W @ V.T, v.copy()))
            if not np.isfinite(kept[-1][0]).all():
                return kept[:-1]
        if used == len(X):
            X = rng.standard_normal((_BLOCK, W.shape[1]))
            y = neti.teacher.label(X, rng)
            used = 0
        x = X[used]
        h = W @ x
        for activation, rows in groups:
            out = jet[:, : len(rows)].copy()
            activation.jet(h[rows], out)
            f[rows], df[rows] = out
        residual = v @ f - y[used]
        change = (v.T @ residual) * df
        if step_v > 0.0:
            v *= shrink_v
            v -= (2.0 * step_v) * np.outer(residual, f)
        if step_w > 0.0:
            W *= shrink_w
            W -= np.outer((2.0 * step_w) * change, x)
        used += 1
    return kept
