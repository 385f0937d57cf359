"""One network of finite width: its gradient flow, and what kernels predict of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...exchange.kernels import ntk_kernel
from ...networks.finite.net import Net
from ...networks.parameters import random_params
from ...training import train

#: tolerances of the flow, far below the gaps that are measured
_RTOL = 1e-9


class Problem(NamedTuple):
    """Samples, labels and new inputs."""

    X: Array  #: (n, D)
    y: Array  #: (n,)
    new: Array  #: (m, D)

    @property
    def inputs(self) -> Array:
        """Samples, then new inputs."""
        return np.vstack([self.X, self.new])


def problem(samples: int, dimension: int, seed: int) -> Problem:
    """Standard normal inputs, of which each half has ``samples``, and labels sin(2 x_1)."""
    X = np.random.default_rng([seed, 1]).standard_normal((2 * samples, dimension))
    return Problem(X[:samples], np.sin(2.0 * X[:samples, 0]), X[samples:])


def predicted(kernel: Array, start: Array, y: Array, t: float) -> Array:
    """Outputs (n + m,) at time t of a model that is linear in its parameters.

    The flow of the mean of squared errors of n samples moves its outputs f by df/dt = -(2/n)
    K(., X) (f(X) - y), with the constant kernel K.

    Parameters
    ----------
    kernel : (n + m, n + m) array
        The samples come first.
    start : (n + m,) array
        Outputs at time 0.
    y : (n,) array
    t : float
    """
    n = len(y)
    values, vectors = np.linalg.eigh(kernel[:n, :n])
    rates = 2.0 * values / n
    passed = -np.expm1(-t * rates) / values
    return start + kernel[:, :n] @ (vectors @ (passed * (vectors.T @ (y - start[:n]))))


def tangent_kernel(net: Net, theta: Array) -> Array:
    """Inner products (n + m, n + m) of the gradients of outputs, at the inputs of ``net``."""
    rows = net.jacobian(theta)  # residuals over the root of their number
    found: Array = len(rows) * (rows @ rows.T)
    return found


def run_network(
    activation: str,
    depth: int,
    width: int,
    seed: int,
    samples: int,
    dimension: int,
    t: float,
    base: int,
) -> dict[str, Any]:
    """One network in the "ntk" parametrisation from standard normal parameters.

    Returns
    -------
    dict
        Root mean squares over new inputs of the distance of its outputs at time t to those that the
        kernel of infinite width predicts (``gap``) and to those of its own linearisation
        (``own_gap``), both from its initial outputs; of the tangent kernel at the start and of its
        change until t, relative to that of infinite width (``fluctuation``, ``movement``); the
        tangent kernel itself.
    """
    where = problem(samples, dimension, base)
    hidden = [(width, activation, False)] * depth
    net = Net(
        [*hidden, (1, "identity", False)], input=where.X, target=where.y, parametrization="ntk"
    )
    theta = random_params(net, rng=1000 * base + seed, init="standard_normal")
    result = train(
        net,
        theta,
        solver="dopri5",
        rtol=_RTOL,
        atol=_RTOL,
        t_end=t,
        max_steps_newton=0,
        num_trajectory=2,
        max_time_flow=np.inf,
        progress=False,
    )
    everywhere = net.with_data(where.inputs, np.zeros(len(where.inputs)))
    start = net.predict(theta, where.inputs)[:, 0]
    end = net.predict(result.theta_flow, where.inputs)[:, 0]
    limit = ntk_kernel([activation] * depth, where.inputs)
    own = tangent_kernel(everywhere, theta)
    later = tangent_kernel(everywhere, result.theta_flow)
    size = float(np.linalg.norm(limit))

    def distance(kernel: Array) -> float:
        gap = (end - predicted(kernel, start, where.y, t))[samples:]
        return float(np.sqrt(np.mean(gap**2)))

    return {
        "gap": distance(limit),
        "own_gap": distance(own),
        "fluctuation": float(np.linalg.norm(own - limit)) / size,
        "movement": float(np.linalg.norm(later - own)) / size,
        "kernel": own,
        "steps": float(result.flow.steps),
    }
