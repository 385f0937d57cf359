"""What a plain regression gives: scikit-learn's MLPRegressor of the same size, fitted to the same integrals, values only."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from ..._validation import Array
from .points import PointSet

#: Passes over the points.
PASSES = 100


def regression_baseline(
    points: PointSet, values: Array, held_out: PointSet, exact: Array, hidden: int, seed: int
) -> dict[str, Any]:
    """Errors of the values ``exact`` (n,) of the held-out points by a regressor fitted to ``values`` (N,) at ``points``.

    Inputs are r1 + r2, r1 r2 and u, standardised; so are the values.

    Returns
    -------
    dict
        ``value``: median, 99 % and maximum of the absolute error; ``processor_seconds``; ``passes``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    start = time.process_time()
    mean, size = float(values.mean()), float(values.std()) or 1.0
    regressor = MLPRegressor(
        hidden_layer_sizes=(hidden, hidden), activation="tanh", max_iter=PASSES, tol=0.0, random_state=seed
    )
    model = make_pipeline(StandardScaler(), regressor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is what it is
        model.fit(_inputs(points), (values - mean) / size)
    error = np.abs(mean + size * model.predict(_inputs(held_out)) - exact)
    found = {"median": float(np.median(error)), "99%": float(np.quantile(error, 0.99)), "maximum": float(error.max())}
    return {"value": found, "passes": PASSES, "processor_seconds": time.process_time() - start}


def _inputs(points: PointSet) -> Array:
    return np.stack([points.r1 + points.r2, points.r1 * points.r2, points.u], axis=1)
