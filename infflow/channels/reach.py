"""How far pre-activations of the first hidden layer go on the input of a network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI

#: standard deviations of Gaussian input that count
_SIGMAS = 5.0


class Reach(NamedTuple):
    """Of some rows of weights and biases."""

    low: Array  #: (n,) lowest value on the samples, or five standard deviations below the mean
    high: Array  #: (n,)
    rms: Array  #: (n,) root mean square


def reach(net: Net | NetI, rows: Array) -> Reach:
    """Of the affine functions ``rows[:, :-1] @ x + rows[:, -1]``.

    Parameters
    ----------
    net : Net with data, or NetI
    rows : (n, D + 1) array
    """
    W = rows[:, :-1]
    b = rows[:, -1]
    if isinstance(net, Net):
        H = net.data.X @ W.T + b
        weights = net.data.weights
        squares = np.average(H * H, axis=0, weights=weights)
        return Reach(H.min(axis=0), H.max(axis=0), np.sqrt(squares))
    lows, highs, square = [], [], np.zeros(len(rows))
    for part in net.input.components():
        mean = b if part.mean is None else b + W @ part.mean
        deviation = np.linalg.norm(W if part.root is None else W @ part.root, axis=1)
        lows.append(mean - _SIGMAS * deviation)
        highs.append(mean + _SIGMAS * deviation)
        square += part.weight * (mean * mean + deviation * deviation)
    return Reach(np.min(lows, axis=0), np.max(highs, axis=0), np.sqrt(square))
