"""One part of a surrogate as a training problem: closed base, features, exact targets, and the two
least-squares fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..._validation import Array
from ...activations import Activation
from ...integrals.surrogate.form import PAIRS, SIZE, Arguments, Part
from . import base
from .objective import SobolevObjective
from .points import PointSet, row_weights, to_frame

#: Neurons of each of the two hidden layers.
WIDTH = 96
#: Weights of value, gradient and Hessian in the objective, and in the last solve of the output
#: layer.
TRAINING_WEIGHTS = (1.0, 1.0, 0.3)
FINAL_WEIGHTS = (10.0, 3.0, 0.3)
#: Errors at a point count by 1/(1 + r1 r2/LARGE): twice the r1 r2 of the networks for which a
#: surrogate is made.
LARGE = 6.0


def arguments(points: PointSet) -> Arguments:
    """The points as the formula takes them."""
    return Arguments(*points.covariances(), SIZE)


def closed_part(f: Activation, name: str) -> tuple[Part, float]:
    """A part without its perceptron, and the largest error of its series; exact already if that is
    zero.
    """
    part = base.fit_base(f, name)
    if base.is_exact(f, part, name):
        return part, 0.0
    moment, shift, error = base.exact_series(f, part)
    c = part.widths**2
    return replace(
        part, moment=moment, shift=shift, C_max=base.LARGEST_R**2 * (1.0 + 1e-9), scales=c
    ), error


def with_scaled_features(part: Part, points: PointSet) -> Part:
    """The part with features standardised at the given points (scikit-learn's StandardScaler)."""
    from sklearn.preprocessing import StandardScaler

    d = len(part.scales) + 2
    raw = replace(part, centre=np.zeros(d), spread=np.ones(d)).features(arguments(points))[0]
    scaler = StandardScaler().fit(raw)
    return replace(part, centre=np.asarray(scaler.mean_), spread=np.asarray(scaler.scale_))


@dataclass
class PartProblem:
    """What the perceptron of one part has to learn at the given points.

    ``frames`` (10, n) are the exact frame entries of this part.
    """

    part: Part
    points: PointSet
    frames: Array

    def __post_init__(self) -> None:
        at = arguments(self.points)
        self.features = self.part.features(at)
        self._frame = to_frame(self.points)
        leading = np.einsum("nab,bn->an", self._frame, self.part.leading(at))
        self.difference = self.frames - leading  #: (10, n), what the closed formula leaves
        self._prefactor = _product_matrices(self.part.prefactor(at))

    def objective(self, weights: tuple[float, float, float], scale: float) -> SobolevObjective:
        """The Sobolev objective for a perceptron whose output is multiplied by ``scale``."""
        importance = 1.0 / (1.0 + self.points.r1 * self.points.r2 / LARGE)
        roots = row_weights(self.points, weights) * importance[:, None, None]
        rows = roots @ self._frame @ self._prefactor
        targets = np.einsum("nab,bn->na", roots, self.difference) / scale
        return SobolevObjective(self.features, rows, targets, shapes(self.features.shape[2]))

    def typical_output(self) -> float:
        """Root mean square of what the output has to be: the difference over the prefactor, where
        that is not small.
        """
        prefactor = np.abs(self._prefactor[:, 0, 0])
        large = prefactor > min(0.1, 0.2 * float(prefactor.max()))
        return float(np.sqrt(np.mean((self.difference[0, large] / prefactor[large]) ** 2)))


def shapes(inputs: int) -> list[tuple[int, int]]:
    """Shapes of the weights of the three layers."""
    return [(WIDTH, inputs), (WIDTH, WIDTH), (1, WIDTH)]


def _product_matrices(jet: Array) -> Array:
    """Matrices ``(n, 10, 10)`` that multiply a jet by the given one (10, n)."""
    n = jet.shape[1]
    out = np.zeros((n, SIZE, SIZE))
    out[:, range(SIZE), range(SIZE)] = jet[0][:, None]
    out[:, 1:, 0] = jet[1:].T
    for row, (i, j) in enumerate(PAIRS, start=4):
        out[:, row, i] += jet[j]
        out[:, row, j] += jet[i]
    return out


def start_parameters(inputs: int, rng: np.random.Generator) -> Array:
    """Parameters of a random perceptron in the layout of :class:`infflow.Net`: normal weights of
    variance 1/fan-in, output zero.
    """
    from ...networks.finite.net import Net

    net = Net(
        [(WIDTH, "tanh", True), (WIDTH, "tanh", True), (1, "identity", True)], input_dim=inputs
    )
    layers = [
        (rng.normal(size=s) / np.sqrt(s[1]), 0.3 * rng.normal(size=s[0]))
        for s in shapes(inputs)[:2]
    ]
    return net.pack([*layers, (np.zeros((1, WIDTH)), np.zeros(1))])
