"""Kinks at infinity that rest on samples.

On finite data the minimum of a network with a kink may lie where the kink is on some samples: the
loss has a corner there. With the smooth activation, these samples stay within a distance of order
1/s of the kink while the input weights run off as s, and meet any slope between those of both
sides. So the limit is stationary if slopes theta_n between 0 and 1 make the gradient zero (Clarke's
condition), and regular where the pre-activations of these samples are held at zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..networks.finite.net import Net
from .asymptotes import side_of
from .chart import Chart, view_of
from .units import EndKind

#: samples whose pre-activation is below this part of its root mean square rest on the kink
_RESTS = 1e-5
#: largest gradient of a corner at rest, relative to the largest share of one sample
_LEFT = 1e-6


def resting(chart: Chart, z: Array) -> tuple[int, NDArray[np.intp]] | None:
    """A neuron whose kink rests on samples, and which; None where there is none.

    Only for squared errors on samples, and one such neuron.
    """
    net = chart.net
    kinks = [unit.neurons[0] for unit in chart.units if unit.kind is EndKind.KINK]
    if not isinstance(net, Net) or not net.is_sum_of_squares or len(kinks) != 1:
        return None
    h = inputs_of(net) @ view_of(net, z).U[kinks[0]]
    found = np.flatnonzero(np.abs(h) <= _RESTS * np.sqrt(np.mean(h * h)))
    return (kinks[0], found) if 0 < len(found) <= net.input_dim else None


def inputs_of(net: Net) -> Array:
    """Samples, with 1 behind them for the bias, (N, D + 1)."""
    return np.column_stack([net.data.X, np.ones(len(net.data.X))])


def is_stationary(chart: Chart, z: Array, neuron: int, samples: NDArray[np.intp]) -> bool:
    """Whether slopes between those of both sides make the gradient of the neuron zero."""
    from scipy.optimize import lsq_linear

    net, limit = chart.net, chart.limit
    assert isinstance(net, Net) and isinstance(limit, Net)
    f = chart.activations[neuron]
    above, below = side_of(f, 1), side_of(f, -1)
    assert above is not None and below is not None
    view = view_of(net, z)
    X = inputs_of(net)
    N = len(X)
    weights = np.full(N, 1.0 / N) if net.data.weights is None else net.data.weights
    error = limit.predict(chart.parameters(z), net.data.X) - net.data.target.reshape(N, -1)
    shares = 2.0 * (weights * (error @ view.A[:, neuron]))[:, None] * X
    slopes = np.where(X @ view.U[neuron] > 0.0, above.slope, below.slope)
    slopes[samples] = below.slope
    rest = slopes @ shares
    columns = ((above.slope - below.slope) * shares[samples]).T
    found = lsq_linear(columns, -rest, bounds=(0.0, 1.0), tol=1e-14)
    left = float(np.abs(columns @ found.x + rest).max())
    return left <= _LEFT * float(np.abs(columns).max())
