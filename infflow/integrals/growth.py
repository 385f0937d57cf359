"""The check that a neuron's second moment exists."""

from __future__ import annotations

import numpy as np

from .._validation import Array
from ..activations import Activation


def check_growth(f: Activation, C: Array, b: Array) -> None:
    """Refuse neurons of an activation whose E f(h)^2 is infinite or beyond float64; for results
    that tell nothing.
    """
    from .cubature import distributions  # scipy.integrate is loaded where it is needed only

    distributions.reach(f, np.sqrt(C), b, 0, 1e-10)
