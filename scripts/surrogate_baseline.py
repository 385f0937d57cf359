"""What a plain regression gives at the points of a surrogate's training.

``python scripts/surrogate_baseline.py [NAME ...]``, with ``--seed``, ``--points``, ``--held-out``
and ``--passes``,

scikit-learn's MLPRegressor of the same size is fitted to the values of the same integrals. The
errors at held-out points are those of the cards' ``held_out`` without slopes and curvatures.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from infflow.activations import resolve
from infflow.surrogates.training import Recipe
from infflow.surrogates.training.points import PointSet, exact_parts, sample_points
from infflow.surrogates.training.problem import WIDTH


def fit(points: PointSet, values: np.ndarray, passes: int, seed: int):
    """A function from points to values (n,), fitted to ``values`` (N,); inputs are r1 + r2, r1 r2
    and u.
    """
    mean = float(values.mean())
    size = float(values.std()) or 1.0
    regressor = MLPRegressor(
        hidden_layer_sizes=(WIDTH, WIDTH),
        activation="tanh",
        max_iter=passes,
        tol=0.0,
        random_state=seed,
    )
    model = make_pipeline(StandardScaler(), regressor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is what it is
        model.fit(_inputs(points), (values - mean) / size)
    return lambda where: mean + size * model.predict(_inputs(where))


def _inputs(points: PointSet) -> np.ndarray:
    return np.stack([points.r1 + points.r2, points.r1 * points.r2, points.u], axis=1)


def _values(name: str, points: PointSet) -> np.ndarray:
    """Exact integrals (n,)."""
    parts = exact_parts(resolve(name), points)[0]
    return (parts["even"] + parts["odd"])[0]


def main() -> None:
    recipe = Recipe()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=["tanh"], help="activations; default: tanh")
    parser.add_argument("--seed", type=int, default=0, help="that of the surrogate")
    parser.add_argument("--points", type=int, default=recipe.points)
    parser.add_argument("--held-out", type=int, default=recipe.held_out)
    parser.add_argument("--passes", type=int, default=100, help="passes over the points")
    given = parser.parse_args()
    points = sample_points(given.points, np.random.default_rng([given.seed, 0]))
    held_out = sample_points(given.held_out, np.random.default_rng([given.seed, 1]))
    for name in given.names:
        values = _values(name, points)
        exact = _values(name, held_out)
        start = time.process_time()
        model = fit(points, values, given.passes, given.seed)
        error = np.abs(model(held_out) - exact)
        seconds = time.process_time() - start
        found = (
            f"median {np.median(error):.2e}, 99% {np.quantile(error, 0.99):.2e}, maximum "
            f"{error.max():.2e}"
        )
        print(f"{name}: {found}; {seconds:.1f} s of processor time", flush=True)


if __name__ == "__main__":
    sys.exit(main())
