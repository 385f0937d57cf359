"""Ends of paths of large networks: curvature by products against eigendecompositions, and plateaus
that are not cut.
"""

import math

import numpy as np
import pytest
from analytic_objectives import Function

import infflow as inf
from infflow.flow import end_rules as handover
from infflow.flow import krylov_path
from infflow.flow.krylov_path import KrylovModel
from infflow.flow.problem import FlowProblem
from infflow.objective import Evaluation
from infflow.stopping import StopReason
from infflow.training import train


class Parabola:
    """g.x + x.H x/2 with a dense H that only products see."""

    def __init__(self, values, gradient, seed=0):
        n = len(values)
        Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
        self.H = (Q * values) @ Q.T
        self.g = gradient
        self.num_params = n

    def evaluate(self, theta, order=0):
        assert order < 2
        return Evaluation(
            float(self.g @ theta + theta @ self.H @ theta / 2), self.g + self.H @ theta
        )

    def hvp(self, theta, v):
        return self.H @ v


def model(objective, z, rtol=1e-6, atol=1e-6, eta=1.0):
    problem = FlowProblem(objective, z, eta, rtol, atol)
    z = problem.z_of(z)
    return problem, KrylovModel(problem, problem.evaluate(z, 1), z)


def nothing():
    return np.zeros(60)


@pytest.mark.parametrize("seed", range(4))
def test_the_rest_of_a_path_is_the_newton_step(seed):
    rng = np.random.default_rng(seed)
    objective = Parabola(10.0 ** rng.uniform(-3, 1, 60), rng.standard_normal(60) * 1e-9, seed)
    z = rng.standard_normal(60)
    objective.g -= objective.H @ z  # so that the gradient at z is small
    problem, local = model(objective, z)
    gradient = local.evaluation.gradient
    exact = -np.linalg.solve(objective.H, gradient)
    step, complete = local.rest(lambda: np.full(60, 1e-20), math.inf)
    assert complete
    np.testing.assert_allclose(step, exact, atol=1e-8 * np.abs(exact).max())
    length = problem.error_norm(exact, z, z)
    for bound in (0.5 * length, 2.0 * length):
        assert local.rest(lambda: np.full(60, 1e-16), bound)[1] == (bound > length)
    # where all that is left is rounding, nothing is solved for
    assert not local.rest(lambda: np.full(60, 1.0), math.inf)[0].any() or krylov_path._BEGINNING > 0
    products = problem.hvps
    local.rest(lambda: np.full(60, 1.0), math.inf)
    assert problem.hvps - products == krylov_path._BEGINNING


SPECTRA = {
    "uniform": lambda rng, n: rng.uniform(0.0, 1.0, n),
    "all sizes": lambda rng, n: 10.0 ** rng.uniform(-6, 0, n),
    "few large": lambda rng, n: np.r_[np.ones(9), 1e-3 * rng.uniform(0.0, 1.0, n - 9)],
    "flat": lambda rng, n: np.r_[rng.uniform(0.01, 1.0, 20), np.zeros(n - 20)],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_negative_curvature_is_seen_and_rounding_is_not(name):
    rng = np.random.default_rng(3)
    n = 400
    values = SPECTRA[name](rng, n)
    z = rng.standard_normal(n)
    assert not model(Parabola(values, np.zeros(n)), z)[1].is_saddle()
    for lowest in (-1e-1, -1e-2, -1e-3, -1e-4):
        values[-1] = lowest
        assert model(Parabola(values, np.zeros(n)), z)[1].is_saddle()
        assert model(Parabola(values, np.zeros(n)), z, eta=rng.uniform(0.1, 10.0, n))[1].is_saddle()


def test_what_is_not_a_number_is_a_saddle():
    class Undefined(Parabola):
        def hvp(self, theta, v):
            return np.full(len(v), math.nan)

    local = model(Undefined(np.ones(9), np.ones(9)), np.ones(9))[1]
    assert local.is_saddle() and not local.rest(lambda: np.zeros(9), 1.0)[1]


def test_diagonal_and_norm():
    rng = np.random.default_rng(5)
    objective = Parabola(rng.uniform(0.1, 1.0, 300), np.zeros(300))
    local = model(objective, rng.standard_normal(300))[1]
    assert local.norm == pytest.approx(np.linalg.norm(objective.H), rel=0.1)
    np.testing.assert_allclose(local.diagonal, np.diagonal(objective.H), atol=0.6)
    assert np.abs(local.diagonal - np.diagonal(objective.H)).mean() < 0.1


# -----------------------------------------------------------------------------------------------
# flows that are judged

LARGE = {"solver": "cvode_bdf", "solver_options": {"linear_solver": "gmres"}, "progress": False}


def network(activation, K, M, bias, seed):
    student = inf.Net([(K, activation, bias), (1, "identity", bias)], input_dim=4)
    teacher = inf.Net([(M, activation, bias), (1, "identity", bias)], input_dim=4)
    neti = inf.NetI(
        student, inf.Teacher(teacher, inf.random_params(teacher, 10 + seed, init="standard_normal"))
    )
    return neti, inf.random_params(student, 20 + seed)


CASES = [
    ("erf", 3, 3, False, 0),
    ("relu", 3, 3, True, 0),
    ("relu", 2, 4, False, 0),
    ("gelu", 2, 4, True, 0),
    ("erf", 2, 4, False, 1),
]


@pytest.mark.parametrize("case", CASES)
def test_products_and_eigenvalues_end_a_path_at_the_same_step(case, monkeypatch):
    neti, theta = network(*case)
    dense = train(neti, theta, **LARGE)
    monkeypatch.setattr(handover, "LARGEST", 1)
    krylov = train(neti, theta, **LARGE)
    assert dense.flow.stop_reason is krylov.flow.stop_reason is StopReason.HANDOVER
    # later is no fault: a rest that is not resolved goes on
    assert dense.flow.t <= krylov.flow.t <= 4 * dense.flow.t
    assert abs(krylov.loss - dense.loss) <= 1e-9 * dense.loss + 1e-20
    assert krylov.flow.hvps <= 1.5 * dense.flow.hvps + 400


def saddle(start):
    """(x^2 - 1)^2/4 + y^2/2: for a long time nothing seems to move but y."""
    return Function(
        2,
        lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2 / 2,
        lambda x: [x[0] ** 3 - x[0], x[1]],
        lambda x: np.diag([3 * x[0] ** 2 - 1, 1.0]),
    ), np.array([start, 1.0])


@pytest.mark.parametrize("start", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("solver", ["rodas5p", "gear", "tsit5"])
def test_no_handover_on_a_saddle(start, solver, monkeypatch):
    monkeypatch.setattr(handover, "LARGEST", 1)
    objective, theta = saddle(start)
    found = train(objective, theta, solver=solver, progress=False)
    assert abs(found.theta_flow[0] - 1.0) < 1e-4


def on_a_plateau(D, distance):
    """Three erf students that are equal but for ``distance``, between three orthogonal teachers."""
    rng = np.random.default_rng(0)
    net = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=D)
    V = np.linalg.qr(rng.standard_normal((D, 3)))[0].T
    W = np.tile(V.sum(axis=0) / 4, (3, 1)) + distance * rng.standard_normal((3, D)) / np.sqrt(D)
    ones = np.ones((1, 3))
    return inf.NetI(net, inf.Teacher(net, net.pack([(V, None), (ones, None)]))), net.pack(
        [(W, None), (ones, None)]
    )


@pytest.mark.parametrize("distance", [1e-3, 1e-9])
def test_a_network_of_2103_parameters_leaves_its_plateau_and_ends(distance):
    neti, theta = on_a_plateau(700, distance)
    assert neti.num_params > handover.LARGEST
    found = train(neti, theta, progress=False, max_time_flow=60.0)
    assert found.flow.stop_reason is StopReason.HANDOVER
    track = found.trajectory
    plateau = (track.loss > 0.04) & (track.loss < 0.041)
    times = track.t[plateau]
    assert times[-1] > 10 * times[0]  # it stays for more than a decade of time
    assert found.loss < 1e-28 and inf.loss(neti, found.theta_flow) < 1e-9


def test_a_relu_network_of_5005_parameters_ends():
    """It went on until the time was over, while the noise of the integrator made the loss grow."""
    net = inf.Net([(5, "relu", False), (1, "identity", False)], input_dim=1000)
    neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, 1)))
    theta = inf.random_params(net, 2)
    found = train(neti, theta, progress=False, reduce=False, max_steps_newton=1, max_time_flow=60.0)
    assert found.flow.stop_reason is StopReason.HANDOVER
    assert found.flow.steps < 300 and inf.loss(neti, found.theta_flow) < 1e-12
    alone = train(
        neti,
        theta,
        progress=False,
        reduce=False,
        max_steps_newton=0,
        max_time_flow=60.0,
        t_eval=[1.0, 1e14],
    )
    assert alone.status is StopReason.AT_REST and not alone.converged
    assert alone.flow.steps < 400 and inf.loss(neti, alone.theta_flow) < 1e-15
    np.testing.assert_array_equal(alone.trajectory.theta[-1], alone.theta_flow)


def test_a_large_network_with_a_loss_that_stays_ends_without_a_search():
    net, teacher = (
        inf.Net([(K, "erf", False), (1, "identity", False)], input_dim=1001) for K in (2, 3)
    )
    neti = inf.NetI(
        net, inf.Teacher(teacher, inf.random_params(teacher, 1, init="standard_normal") / 5)
    )
    theta = inf.random_params(net, 2)
    alone = train(neti, theta, progress=False, reduce=False, max_steps_newton=0, max_time_flow=60.0)
    whole = train(neti, theta, progress=False, reduce=False, max_time_flow=60.0)
    assert alone.status is StopReason.AT_REST and whole.flow.stop_reason is StopReason.HANDOVER
    assert alone.loss > 1e-4 and abs(alone.loss - whole.loss) < 1e-10
    assert inf.solution_distance(neti, alone.theta_flow, whole.theta) < 1e-4


def test_an_objective_without_products_goes_on():
    """Explicit solvers need none; the rules are left out."""

    class Gradients:
        num_params = 3000

        def evaluate(self, theta, order=0):
            return Evaluation(1.0 + float(theta @ theta), 2.0 * theta)

    found = train(
        Gradients(),
        np.ones(3000),
        solver="tsit5",
        optimizer="lbfgs",
        progress=False,
        max_steps_flow=40,
        max_steps_newton=3,
    )
    assert found.flow.stop_reason is StopReason.MAX_STEPS
