"""Deep linear networks with scalar output: does flow, and does descent, find the global minimum
from random near-zero starts?
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._validation import Array
from ...networks.finite.net import Net
from ...training import train

INPUTS = 4
WIDTH = 4
SAMPLES = 40
# excess over the least-squares loss, as a fraction of the loss of a network that gives zero
_REACHED = 1e-6


def build(depth: int, seed: int) -> tuple[Net, float, float]:
    """A network of ``depth`` linear layers on whitened data with noise; the least-squares loss, and
    the loss at zero.
    """
    rng = np.random.default_rng([seed, 1])
    X = np.linalg.qr(rng.normal(size=(SAMPLES, INPUTS)))[0] * np.sqrt(SAMPLES)
    y = X @ rng.normal(size=INPUTS) + 0.3 * rng.normal(size=SAMPLES)
    layers = [(WIDTH, "identity", False)] * (depth - 1) + [(1, "identity", False)]
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return Net(layers=layers, input=X, target=y), float(np.mean(residual**2)), float(np.mean(y**2))


def near_zero(net: Net, scale: float, seed: int) -> Array:
    """Weights of standard deviation ``scale``."""
    return scale * np.random.default_rng([seed, 2]).normal(size=net.num_params)


def converge(depth: int, scale: float, step: float, t_end: float, seed: int) -> dict[str, Any]:
    """Flow and descent from the same start: whether each reached the global minimum, when, and how
    near they stayed.
    """
    net, lowest, at_zero = build(depth, seed)
    theta = near_zero(net, scale, seed)
    found: dict[str, Any] = {}
    options: dict[str, Any] = {
        "max_steps_newton": 0,
        "progress": False,
        "min_gradient_norm": 1e-7,
        "t_end": t_end,
    }
    descent: dict[str, Any] = {"solver": "gd", "step_size": step, "max_steps_flow": 10**7}
    for name, choice in (("flow", {}), ("descent", descent)):
        result = train(net, theta, num_trajectory=200, **choice, **options)
        excess = (result.trajectory.loss - lowest) / at_zero
        found[f"{name}_reached"] = bool(excess[-1] < _REACHED)
        found[f"{name}_time"] = (
            float(result.trajectory.t[np.argmax(excess < _REACHED)])
            if excess[-1] < _REACHED
            else t_end
        )
        found[f"{name}_excess"] = float(excess[-1])
        found[f"{name}_steps"] = int(result.flow.steps)
    return found
