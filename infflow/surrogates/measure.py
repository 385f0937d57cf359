"""How far a surrogate is from the exact integrals, as networks feel it.

Phi(w1, w2) = E[f(w1.x) f(w2.x)] is a function of two weight vectors in D = 6 inputs. The errors of
its value, of its gradient (Euclidean norm) and of its Hessian with respect to both (Frobenius norm)
say what a surrogate does to a network, where derivatives in r or u would say what it does to
coordinates: the largest of them, in u near |u| = 1, has no weight there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation
from ..integrals.choice import Choice
from ..integrals.closed import pairs as closed
from ..integrals.evaluator import Arguments
from ..integrals.surrogate.evaluator import SurrogateMethod, pair_jets
from ..integrals.surrogate.files import Surrogate
from ..integrals.surrogate.form import SIZE, SurrogateForm
from ..networks.infinite.population_loss import PopulationLoss, Units
from .training import points as training_points
from .training.points import INPUT_DIM, WEIGHT_SIZE, PointSet

#: Quantities in the order of the columns of errors.
QUANTITIES = ("value", "gradient", "hessian")
#: Points and networks of a card, for activations with a closed form and, since exact integrals
#: take longer, for others; the seed.
HELD_OUT = (20_000, 2_000)
NETWORKS = (100, 10)
HELD_OUT_SEED = 20_240
#: Students and teachers of each network.
STUDENTS = 4
TEACHERS = 5
_CHUNK = 2000


class Points(NamedTuple):
    """Standard deviations and correlations (n,); where ``own``, the neuron with itself is meant."""

    r1: Array
    r2: Array
    u: Array
    own: Array


def sample_points(n: int, r_min: float, r_max: float, rng: np.random.Generator) -> Points:
    """Points of the whole domain, crowded where it is hard, and like those of networks.

    r1, r2 are log-uniform from 0.05, for a sixth of the points from 1e-6. Of ten points four have
    an angle arccos(u) uniform; one has it log-uniform next to 0 or pi; one has u = 1 or -1; one has
    r1 = r2; two come from weights 0.7 x standard normal in 6 dimensions; one is a neuron with
    itself. One of thirty has r1 = 0 (and u = 0, which means nothing there).
    """
    low = np.minimum(
        np.where(rng.random((2, n)) < 1 / 6, max(r_min, 1e-6), max(r_min, 0.05)), r_max
    )
    r1, r2 = low * (r_max / low) ** rng.random((2, n))
    angle = rng.uniform(0.0, np.pi, n)
    kind = np.arange(n) % 10
    near = 10.0 ** rng.uniform(-8.0, 0.0, n)
    angle = np.where(kind == 4, np.where(rng.random(n) < 0.5, near, np.pi - near), angle)
    u = np.cos(angle)
    u = np.where(kind == 5, rng.choice([-1.0, 1.0], n), u)
    r2 = np.where(kind == 6, r1, r2)
    w1, w2 = WEIGHT_SIZE * rng.normal(size=(2, n, INPUT_DIM))
    network = (kind == 7) | (kind == 8)
    lengths = np.linalg.norm(w1, axis=1), np.linalg.norm(w2, axis=1)
    r1, r2 = (
        np.where(network, np.clip(a, r_min, r_max), r)
        for a, r in zip(lengths, (r1, r2), strict=True)
    )
    u = np.where(network, np.einsum("nd,nd->n", w1, w2) / (lengths[0] * lengths[1]), u)
    zero = np.arange(n) % 30 == 3
    r1 = np.where(zero, 0.0, r1)
    u = np.where(zero, 0.0, u)
    own = kind == 9
    return Points(r1, np.where(own, r1, r2), np.clip(np.where(own, 1.0, u), -1.0, 1.0), own)


def domain(form: SurrogateForm) -> tuple[float, float]:
    """Smallest and largest standard deviation: 0, where the formula is smooth, and the largest of
    the training.
    """
    return 0.0, float(form.settings["r"][1])


def pointwise_errors(form: SurrogateForm, activation: Activation, points: Points) -> Array:
    """Errors ``(n, 3)`` of value, gradient and Hessian of Phi(w1, w2) at each point."""
    parts = [
        _errors(form, activation, Points(*(x[k : k + _CHUNK] for x in points)))
        for k in range(0, len(points.u), _CHUNK)
    ]
    return np.concatenate(parts)


def _errors(form: SurrogateForm, activation: Activation, points: Points) -> Array:
    r1, r2, u, own = points
    pairs = PointSet(r1, r2, u, np.sqrt((1.0 - u) * (1.0 + u)))
    C11, C12, C22, det = pairs.covariances()
    found = pair_jets(form, C11, C12, C22, 2, det)
    difference = found[:, training_points.FRAME].T - exact_frames(activation, pairs)
    out = np.array(training_points.errors(pairs, difference).T)
    out[own] = own_errors(r1[own], difference[:, own])
    return out


def exact_frames(activation: Activation, pairs: PointSet) -> Array:
    """Frame entries ``(10, n)`` of the exact integrals: closed forms where there are, without a
    series for each neuron.
    """
    if not closed.is_defined(activation):
        return training_points.exact_frames(activation, pairs)[0]
    n = len(pairs.u)
    C11, C12, C22, det = pairs.covariances()
    zeros = np.zeros(n)
    i = np.arange(n)
    evaluator = Choice([activation] * (2 * n), i, i + n, "closed")
    jets = evaluator(
        Arguments(
            np.stack([C11, C12, C22, zeros, zeros, det]), np.append(C11, C22), np.zeros(2 * n)
        ),
        2,
    )
    return jets[:, training_points.FRAME].T


class ExactForm:
    """The exact integrals in the shape of a form, for activations without a closed form."""

    def __init__(self, activation: Activation) -> None:
        self.exact = activation
        self.activation = activation.name
        self.arrays: dict[str, Array] = {}

    def jet(
        self, C11: Array, C12: Array, C22: Array, rows: int = SIZE, det: Array | None = None
    ) -> Array:
        """Jet ``(rows, n)``, as that of
        :class:`~infflow.integrals.surrogate.form.SurrogateForm`.
        """
        r1, r2 = np.sqrt(C11), np.sqrt(C22)
        assert det is not None
        points = PointSet(r1, r2, np.clip(C12 / (r1 * r2), -1.0, 1.0), np.sqrt(det) / (r1 * r2))
        frames = training_points.exact_frames(self.exact, points)[0]
        found = np.linalg.solve(training_points.to_frame(points), frames.T[:, :, None])[
            :, :rows, 0
        ].T
        return np.ascontiguousarray(found)


def own_errors(r: Array, frames: Array) -> Array:
    """Sizes ``(n, 3)`` of T(w.w), its gradient 2 T' w and its Hessian 2 T' 1 + 4 T'' w w' in D
    inputs, from frame entries ``(10, n)``.
    """
    T, J20, J11, J02, F40, _, _, _, F04, F11 = frames
    slope = J20 + 2.0 * J11 + J02  # 2 T', of which evaluators define the sum only
    curvature = (F40 + 2.0 * F11 + F04) * r**2  # 4 T'' r^2
    hessian = np.sqrt((INPUT_DIM - 1) * slope**2 + (slope + curvature) ** 2)
    return np.stack([np.abs(T), np.abs(slope) * r, hessian], axis=1)


def summary(errors: Array) -> dict[str, dict[str, float]]:
    """Median, 99 % and maximum of each quantity from errors ``(n, 3)``."""
    return {
        name: {
            "median": float(np.median(column)),
            "99%": float(np.quantile(column, 0.99)),
            "maximum": float(column.max()),
        }
        for name, column in zip(QUANTITIES, errors.T, strict=True)
    }


def measure(
    form: SurrogateForm, activation: Activation, r_min: float, r_max: float, n: int, rng: Any
) -> dict[str, Any]:
    """Summary of the errors at n random points of the domain.

    Points with r1 = 0 are left out where the integrals have no derivatives there: those of a
    function with a kink at 0 that has no closed form.
    """
    points = sample_points(n, r_min, r_max, rng)
    if 0.0 in activation.kinks and not closed.is_defined(activation):
        points = Points(*(x[points.r1 > 0.0] for x in points))
    return summary(pointwise_errors(form, activation, points))


def network_errors(
    form: SurrogateForm, activation: Activation, n: int, rng: np.random.Generator
) -> Array:
    """The paper's measure ``(n, 3)``: distances of loss, gradient and Hessian to the exact ones for
    n random networks.

    Gradient and Hessian are with respect to hidden and output weights, their sizes Euclidean norms.
    """
    methods: list[Any] = [SurrogateMethod(given=Surrogate(form, {}, 0.0, np.inf, Path()))]
    if closed.is_defined(activation):
        methods.append("closed")
    else:
        exact: Any = ExactForm(activation)
        methods.append(SurrogateMethod(given=Surrogate(exact, {}, 0.0, np.inf, Path())))
    none = np.zeros(1)
    found = []
    for _ in range(n):
        student, teacher = (
            Units(
                WEIGHT_SIZE * rng.normal(size=(k, INPUT_DIM)),
                np.zeros(k),
                WEIGHT_SIZE * rng.normal(size=(k, 1)),
                none,
            )
            for k in (STUDENTS, TEACHERS)
        )
        results = []
        for method in methods:
            loss = PopulationLoss(
                [activation] * STUDENTS, [activation] * TEACHERS, teacher, method, 1e-10
            )
            state = loss.state(student, 2)
            gradient = loss.gradient(state, False, False)
            hessian = loss.hessian(state, False, False)
            results.append((loss.value(state)[0], gradient, hessian))
        found.append([np.linalg.norm(a - b) for a, b in zip(*results, strict=True)])
    return np.array(found).reshape(n, 3)


def measure_networks(
    form: SurrogateForm, activation: Activation, n: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Median and maximum of the errors of n random networks."""
    found = network_errors(form, activation, n, rng)
    return {
        name: {"median": float(np.median(column)), "maximum": float(column.max())}
        for name, column in zip(QUANTITIES, found.T, strict=True)
    }
