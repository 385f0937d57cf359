"""The runs of the study ``convergence``: one infinite-data problem, and what N samples make of it.

To leading order the minimum theta_N of the loss over N samples is theta* - H^+ grad L_N(theta*),
run by run, with the Hessian H of the infinite-data loss at its minimum theta*; with the covariance
C of single-sample gradients, E |theta_N - theta*|^2 = tr(H^+ C H^+)/N and E L(theta_N) - L(theta*)
= tr(H^+ C)/(2N).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array, as_rng
from ...compile_time import running_time
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.parameters import random_params
from ...networks.statistics import FiniteDataPrediction, finite_data_prediction, gradient_covariance
from ...networks.teacher import Teacher
from ...training import train

# Eigenvalues of the Hessian below this fraction of the largest belong to directions that a symmetry
# makes flat.
_FLAT = 1e-10
# Solutions with kinks often lie on one, where the gradient jumps past zero by terms of order 1/N.
# This fraction of the gradient of the finite data at theta* may be left; the displacement is known
# to the same fraction.
_SOLVED_AT_KINK = 0.1
# Runs with few samples may go on forever, to weights without bound; all others take less than a
# tenth of this.
_LIMITS: dict[str, Any] = {"max_steps_flow": 5_000, "max_steps_newton": 1_000}
# Solutions that agree to this fraction of their distance from theta* are the same.
_SAME = 0.1
# A Gaussian fluctuation exceeds 25 times the mean of its square with a probability below 1e-6.
_FAR = 25.0


@dataclass(frozen=True)
class Case:
    """A teacher, a student, and numbers of samples.

    Attributes
    ----------
    name : str
    kind : str
        What it is for: "law", "kinks", "realizable", "dimension" or "few".
    N : tuple of int
    activation, input_dim, teacher_width, student_width, noise
        As in :class:`infflow.studies.finite_vs_infinite.convergence.Setting`.
    teacher_dim : int or None
        Of how many inputs the teacher's function depends; None: on all.
    teacher_seed : int
        Of teacher and initial student.
    """

    name: str
    kind: str
    N: tuple[int, ...]
    activation: str = "softplus"
    input_dim: int = 9
    teacher_width: int = 8
    student_width: int = 3
    noise: float = 0.0
    teacher_dim: int | None = None
    teacher_seed: int = 2

    @property
    def problem(self) -> dict[str, Any]:
        """Arguments of :func:`solve_infinite`."""
        names = (
            "activation",
            "input_dim",
            "teacher_width",
            "student_width",
            "noise",
            "teacher_dim",
            "teacher_seed",
        )
        return {name: getattr(self, name) for name in names}


class Problem(NamedTuple):
    """An infinite-data problem and its solution."""

    neti: NetI
    theta0: Array
    theta: Array
    range: Array  #: orthonormal columns: directions with curvature
    inverse: Array  #: H^+
    seconds: float
    smooth: bool
    prediction: FiniteDataPrediction


def build(
    activation: str,
    input_dim: int,
    teacher_width: int,
    student_width: int,
    noise: float,
    teacher_dim: int | None,
    teacher_seed: int,
) -> tuple[NetI, Array]:
    """Network and start; with ``teacher_dim = None`` those of the demo."""
    rng = as_rng(teacher_seed)
    output = (1, "identity", False)
    relevant = input_dim if teacher_dim is None else teacher_dim
    narrow = Net([(teacher_width, activation, False), output], input_dim=relevant)
    (W, _), (a, _) = narrow.unpack(random_params(narrow, rng, init="standard_normal"))
    wide = Net([(teacher_width, activation, False), output], input_dim=input_dim)
    theta = wide.pack([(np.pad(W, ((0, 0), (0, input_dim - relevant))), None), (a, None)])
    student = Net([(student_width, activation, False), output], input_dim=input_dim)
    return NetI(student, Teacher(wide, theta, noise)), random_params(student, rng)


@lru_cache(maxsize=16)
def _problem(**settings: Any) -> Problem:
    """The solution for infinite data; kept, since many runs of one process need it."""
    neti, theta0 = build(**settings)
    result = train(neti, theta0, progress=False)
    if not result.converged:
        result = train(neti, result.theta, progress=False)
    values, vectors = np.linalg.eigh(neti.evaluate(result.theta, 2).H)
    keep = values > _FLAT * values[-1]
    basis = vectors[:, keep]
    return Problem(
        neti,
        theta0,
        result.theta,
        basis,
        (basis / values[keep]) @ basis.T,
        result.flow.wall_time + result.newton.wall_time,
        not any(f.kinks for f in neti.student.layers[0].activations),
        finite_data_prediction(neti, result.theta, 1, rng=settings["teacher_seed"]),
    )


def solve_infinite(**settings: Any) -> dict[str, Any]:
    """The infinite-data solution of a case, what it predicts, and the seconds that it took.

    With kinks also what the Hessian of finite data would predict.
    """
    problem = _problem(**settings)
    neti = problem.neti
    theta = problem.theta
    predicted = problem.prediction
    again = train(neti, problem.theta0, progress=False)  # the first call may have compiled
    found = neti.evaluate(theta, 2)
    values = np.linalg.eigvalsh(found.H)
    without_kinks = (
        {} if problem.smooth else {"prefactor_without_kinks": _prefactor_of_finite_hessian(problem)}
    )
    return {
        "theta": theta,
        "loss": found.value,
        "gradient_norm": float(np.abs(found.g).max()),
        "flat": len(theta) - predicted.rank,
        "smallest": float(values[len(theta) - predicted.rank]),
        "lowest": float(values[0]),
        "largest": float(values[-1]),
        "seconds": min(problem.seconds, again.flow.wall_time + again.newton.wall_time),
        "prefactor": predicted.squared_distance,
        "prefactor_error": predicted.squared_distance_error,
        "gap": predicted.loss_gap,
        "gap_error": predicted.loss_gap_error,
        **without_kinks,
    }


def predict_spread(**settings: Any) -> dict[str, Any]:
    """Standard deviations over data sets of N |theta_N - theta*|^2 and of N times the loss gap, for
    Gaussian displacements.

    For d ~ N(0, S/N), S = H^+ C H^+, they are sqrt(2 tr S^2) and sqrt(tr (S H)^2 / 2).
    """
    problem = _problem(**settings)
    C = gradient_covariance(problem.neti, problem.theta, rng=settings["teacher_seed"])
    S = problem.inverse @ C @ problem.inverse
    SH = problem.inverse @ C
    return {
        "distance_spread": float(np.sqrt(2.0 * np.sum(S * S))),
        "gap_spread": float(np.sqrt(0.5 * np.sum(SH * SH.T))),
    }


def _prefactor_of_finite_hessian(problem: Problem, samples: int = 100_000) -> float:
    """tr(H^+ C H^+) with the second derivatives of a finite-data loss, which are zero at kinks."""
    net = problem.neti.sample(samples, np.random.default_rng(0))
    H = net.evaluate(problem.theta, 2).H
    C = gradient_covariance(net, problem.theta)
    Z = problem.range
    inverse = Z @ np.linalg.pinv(Z.T @ H @ Z, hermitian=True) @ Z.T
    return float(np.trace(inverse @ C @ inverse))


def solve_finite(N: int, data_seed: int, base: int, **settings: Any) -> dict[str, Any]:
    """One finite-data run from the same start: displacement, its prediction, loss gap, and whether
    it stayed in the basin.
    """
    problem = _problem(**settings)
    neti = problem.neti
    theta = problem.theta
    net = neti.sample(N, np.random.default_rng([base, N, data_seed]))
    g = net.evaluate(theta, 1).g
    shift = -problem.inverse @ g
    if problem.smooth:
        end = train(net, problem.theta0, solver="cvode_bdf", progress=False, **_LIMITS)
        found = end.theta
        seconds = end.flow.wall_time + end.newton.wall_time
        converged = end.converged
        again = train(net, theta, progress=False, **{**_LIMITS, "max_steps_flow": 0}).theta
    else:
        found, seconds = _solve_with_kinks(problem, net, problem.theta0)
        converged = bool(
            np.linalg.norm(net.evaluate(found, 1).g) <= _SOLVED_AT_KINK * np.linalg.norm(g)
        )
        again, _ = _solve_with_kinks(problem, net, theta)
    project = problem.range @ problem.range.T
    moved = project @ (found - theta)
    squared = float(moved @ moved)
    same = float(np.linalg.norm(project @ (found - again))) <= _SAME * np.sqrt(
        squared
    ) + 1e-8 * float(np.linalg.norm(theta))
    near = squared <= _FAR * problem.prediction.squared_distance / N + 1e-16 * float(theta @ theta)
    return {
        "squared_distance": squared,
        "predicted_squared": float(shift @ shift),
        "shift_error": float(np.linalg.norm(moved - shift)),
        "gradient_norm": float(np.abs(net.evaluate(found, 1).g).max()),
        "loss_gap": neti.evaluate(found, 0).value - neti.evaluate(theta, 0).value,
        "same_basin": bool(converged and same and near),
        "seconds": seconds,
    }


def measure_seconds(N: int, repeats: int, base: int, **settings: Any) -> dict[str, Any]:
    """Processor seconds of infinite- and finite-data runs, in turns; medians."""
    problem = _problem(**settings)
    infinite = []
    finite = []
    for k in range(repeats):
        net = problem.neti.sample(N, np.random.default_rng([base, N, k]))
        begin = time.process_time()
        train(problem.neti, problem.theta0, progress=False)
        middle = time.process_time()
        train(net, problem.theta0, solver="cvode_bdf", progress=False, **_LIMITS)
        infinite.append(middle - begin)
        finite.append(time.process_time() - middle)
    return {
        "infinite_seconds": float(np.median(infinite)),
        "finite_seconds": float(np.median(finite)),
    }


def _solve_with_kinks(problem: Problem, net: Net, start: Array) -> tuple[Array, float]:
    """Gradient descent, which kinks do not stop as they stop integrators with error control,
    then :func:`_chord`.
    """
    step = 1.0 / float(np.linalg.eigvalsh(problem.neti.evaluate(problem.theta, 2).H)[-1])
    options: dict[str, Any] = {
        "solver": "gd",
        "step_size": step,
        "max_steps_flow": 5000,
        "max_steps_newton": 0,
    }
    end = train(net, start, progress=False, **options)
    begin = running_time()
    found = _chord(problem, net, end.theta_flow)
    return found, end.flow.wall_time + running_time() - begin


def _chord(problem: Problem, net: Net, theta: Array, steps: int = 30) -> Array:
    """Newton's method with the infinite-data Hessian, in which kinks are averaged; the point with
    the smallest gradient.
    """
    best = theta
    smallest = np.inf
    for _ in range(steps):
        g = net.evaluate(theta, 1).g
        size = float(np.linalg.norm(g))
        if size < smallest:
            best = theta
            smallest = size
        values, vectors = np.linalg.eigh(problem.neti.evaluate(theta, 2).H)
        keep = values > 1e-6 * values[-1]
        theta = theta - vectors[:, keep] @ ((vectors[:, keep].T @ g) / values[keep])
    return best
