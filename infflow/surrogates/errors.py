"""How far a surrogate is from the exact integrals, as it enters networks.

Phi(w1, w2) = E[f(w1.x) f(w2.x)] is a function of two weight vectors in their plane. The errors of its value, of its gradient
(4 numbers, Euclidean norm) and of its Hessian (4 x 4, Frobenius norm) say what a surrogate does to a network, where derivatives
in r or u would say what it does to coordinates: the largest of them, in u near |u| = 1, has no weight there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation
from ..integrals import closed
from ..integrals.evaluators import Arguments, PairEvaluator
from ..integrals.jets import F04, F11, F13, F22, F31, F40, J00, J02, J11, J20
from ..integrals.surrogate import SurrogateMethod, own_jets, pair_jets
from ..integrals.surrogate_files import Surrogate
from ..integrals.surrogate_form import SurrogateForm
from ..networks.infinite import PopulationLoss, Units

#: What is measured, in the order of the columns of errors.
QUANTITIES = ("value", "gradient", "hessian")
#: Points and seed of the held-out set of a card.
HELD_OUT, HELD_OUT_SEED = 20_000, 20_240
#: Networks of a card: 4 students, 5 teachers, 6 inputs, all weights 0.7 x standard normal.
NETWORKS, STUDENTS, TEACHERS, INPUTS, SIZE = 100, 4, 5, 6, 0.7
# Tolerance of the exact integrals, far below the errors of surrogates.
_RTOL = 1e-12
_CHUNK = 2000


class Points(NamedTuple):
    """Standard deviations and correlations (n,); where ``own``, the neuron with itself is meant."""

    r1: Array
    r2: Array
    u: Array
    own: Array


def sample_points(n: int, r_min: float, r_max: float, rng: np.random.Generator) -> Points:
    """Points of the whole domain, crowded where it is hard, and like those of networks.

    Of ten points four have r1, r2 log-uniform and an angle arccos(u) uniform; one has the angle log-uniform next to 0 or pi; one
    has u = 1 or -1; one has r1 = r2; two come from weights 0.7 x standard normal in 6 dimensions; one is a neuron
    with itself.
    """
    low, high = np.log([max(r_min, 1e-6), r_max])
    r1, r2 = np.exp(rng.uniform(low, high, (2, n)))
    angle = rng.uniform(0.0, np.pi, n)
    kind = np.arange(n) % 10
    near = 10.0 ** rng.uniform(-8.0, 0.0, n)
    angle = np.where(kind == 4, np.where(rng.random(n) < 0.5, near, np.pi - near), angle)
    u = np.cos(angle)
    u = np.where(kind == 5, rng.choice([-1.0, 1.0], n), u)
    r2 = np.where(kind == 6, r1, r2)
    w1, w2 = SIZE * rng.normal(size=(2, n, INPUTS))
    network = (kind == 7) | (kind == 8)
    lengths = np.linalg.norm(w1, axis=1), np.linalg.norm(w2, axis=1)
    r1, r2 = (np.where(network, np.clip(a, r_min, r_max), r) for a, r in zip(lengths, (r1, r2), strict=True))
    u = np.where(network, np.einsum("nd,nd->n", w1, w2) / (lengths[0] * lengths[1]), u)
    own = kind == 9
    return Points(r1, np.where(own, r1, r2), np.clip(np.where(own, 1.0, u), -1.0, 1.0), own)


def domain(form: SurrogateForm) -> tuple[float, float]:
    """Smallest and largest standard deviation that a form was trained for."""
    low, high = form.settings["r"]
    return float(low), float(high)


def pointwise_errors(form: SurrogateForm, activation: Activation, points: Points) -> Array:
    """Errors ``(n, 3)`` of value, gradient and Hessian of Phi(w1, w2) at each point."""
    parts = [
        _errors(form, activation, Points(*(x[k : k + _CHUNK] for x in points))) for k in range(0, len(points.u), _CHUNK)
    ]
    return np.concatenate(parts)


def _errors(form: SurrogateForm, activation: Activation, points: Points) -> Array:
    r1, r2, u, own = points
    C11, C12, C22 = r1 * r1, r1 * r2 * u, r2 * r2
    det = (r1 * r2) ** 2 * (1.0 - u) * (1.0 + u)
    found = pair_jets(form, C11, C12, C22, 2, det)
    found[own] = own_jets(form, C11[own], 2)
    n = len(u)
    i, j = np.arange(n), np.where(own, np.arange(n), np.arange(n, 2 * n))
    zeros = np.zeros(n)
    exact = PairEvaluator([activation] * (2 * n), i, j, _exact_method(activation), _RTOL)
    args = Arguments(np.stack([C11, C12, C22, zeros, zeros, det]), np.concatenate([C11, C22]), np.zeros(2 * n))
    return in_weights(found - exact(args, 2), points)


def _exact_method(activation: Activation) -> str:
    """Closed forms where there are, which need no series for neurons that occur once."""
    return "closed" if closed.is_defined(activation) else "auto"


def in_weights(jets: Array, points: Points) -> Array:
    """Size ``(n, 3)`` of value, gradient and Hessian with respect to two weights in their plane, from jets ``(n, 21)``.

    Of a neuron with itself there is one weight only, and with it the gradient (2 numbers) and the Hessian (2 x 2).
    """
    r1, r2, u, own = points
    s = np.sqrt((1.0 - u) * (1.0 + u))
    zero = np.zeros_like(u)
    w1, w2 = np.stack([r1, zero], 1), np.stack([r2 * u, r2 * s], 1)
    a, b = np.stack([zero, r2 * s], 1), np.stack([r1 * s * s, -r1 * u * s], 1)

    def outer(x: Array, y: Array) -> Array:
        return x[:, :, None] * y[:, None, :]

    def times(column: int, matrix: Array) -> Array:
        return jets[:, column, None, None] * matrix

    one = np.broadcast_to(np.eye(2), (len(u), 2, 2))
    first = jets[:, [J20]] * w1 + jets[:, [J11]] * w2
    second = jets[:, [J02]] * w2 + jets[:, [J11]] * w1
    ww = times(J20, one) + times(F40, outer(w1, w1)) + times(F31, outer(w1, a) + outer(a, w1)) + times(F22, outer(a, a))
    vv = times(J02, one) + times(F04, outer(w2, w2)) + times(F13, outer(w2, b) + outer(b, w2)) + times(F22, outer(b, b))
    wv = (
        times(J11, one)
        + times(F11, outer(w1, w2))
        + times(F31, outer(w1, b))
        + times(F13, outer(a, w2))
        + times(F22, outer(a, b))
    )
    gradient = np.linalg.norm(np.concatenate([first, second], axis=1), axis=1)
    hessian = np.sqrt(sum(weight * (block**2).sum(axis=(1, 2)) for weight, block in ((1.0, ww), (1.0, vv), (2.0, wv))))
    # w1 = w2 = w: d/dw = first + second, and all four blocks in one
    gradient = np.where(own, np.linalg.norm(first + second, axis=1), gradient)
    together = ww + vv + wv + wv.transpose(0, 2, 1)
    hessian = np.where(own, np.sqrt((together**2).sum(axis=(1, 2))), hessian)
    return np.stack([np.abs(jets[:, J00]), gradient, hessian], axis=1)


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
    """Summary of the errors at n random points of the domain."""
    return summary(pointwise_errors(form, activation, sample_points(n, r_min, r_max, rng)))


def network_errors(form: SurrogateForm, activation: Activation, n: int, rng: np.random.Generator) -> Array:
    """The paper's measure ``(n, 3)``: distances of loss, gradient and Hessian to the exact ones for n random networks.

    Gradient and Hessian are with respect to hidden and output weights, their sizes Euclidean norms.
    """
    given = Surrogate(form, {}, *domain(form), Path())
    methods = (SurrogateMethod(given=given), _exact_method(activation))
    none = np.zeros(1)
    found = []
    for _ in range(n):
        student, teacher = (
            Units(SIZE * rng.normal(size=(k, INPUTS)), np.zeros(k), SIZE * rng.normal(size=(k, 1)), none)
            for k in (STUDENTS, TEACHERS)
        )
        results = []
        for method in methods:
            loss = PopulationLoss([activation] * STUDENTS, [activation] * TEACHERS, teacher, method, _RTOL)
            state = loss.state(student, 2)
            grad_W, _, grad_B = loss.gradient(state)
            hessian = loss.hessian(state, False, False)
            results.append((loss.value(state)[0], np.append(grad_W.ravel(), grad_B[:-1].ravel()), hessian))
        found.append([np.linalg.norm(a - b) for a, b in zip(*results, strict=True)])
    return np.array(found).reshape(n, 3)


def measure_networks(form: SurrogateForm, activation: Activation, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Median and maximum of the errors of n random networks."""
    found = network_errors(form, activation, n, rng)
    return {
        name: {"median": float(np.median(column)), "maximum": float(column.max())}
        for name, column in zip(QUANTITIES, found.T, strict=True)
    }
