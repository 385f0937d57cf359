"""Heavy ball, natural gradient, modified flow and diffusion: paths, orders, solvers, refusals."""

import math

import numpy as np
import pytest
from analytic_objectives import Function, Quadratic, TanhNetwork
from numpy.polynomial.hermite_e import hermegauss
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import j1

import infflow as inf
from infflow.cli.files import Configuration
from infflow.dynamics import DYNAMICS, as_dynamics, heavy_ball
from infflow.dynamics.splitting import Splitting, noise_step
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    StorageError,
    UnknownNameError,
)
from infflow.flow import SOLVERS
from infflow.objective import CAPABILITIES
from infflow.stopping import StopReason

FLOW_ONLY = {"max_steps_newton": 0, "min_gradient_norm": 0.0, "progress": False}
TWO = [(2, "erf", True), (1, "identity", True)]


def teacher_student(dim=3):
    net = inf.Net(TWO, input_dim=dim)
    start = inf.random_params(net, 3)
    return inf.NetI(net, inf.Teacher(net, inf.random_params(net, 1, init="standard_normal"))), start


def follow(net, theta, dynamics, t_end=3.0, **settings):
    return inf.train(net, theta, dynamics=dynamics, t_end=t_end, **{**FLOW_ONLY, **settings})


def reference(velocity, start, t_end):
    """By another library, to 1e-12."""
    found = solve_ivp(velocity, (0.0, t_end), start, method="DOP853", rtol=1e-13, atol=1e-14)
    return found.y[:, -1]


def ball_reference(net, theta, friction, t_end, eta=1.0):
    P = len(theta)

    def velocity(t, z):
        return np.r_[z[P:], -eta * net.evaluate(z[:P], 1).gradient - friction(t) * z[P:]]

    return reference(velocity, np.r_[theta, np.zeros(P)], t_end)[:P]


@pytest.fixture(scope="module")
def network():
    return TanhNetwork()


# ------------------------------------------------------------------------------------- heavy ball


BALLS = {
    "light": (0.7, lambda t: 0.7),
    "heavy": (40.0, lambda t: 40.0),
    "changing": (lambda t: 1 + math.sin(t) / 2, lambda t: 1 + math.sin(t) / 2),
}
LEFT_OUT = ("exprb", "gd", "adam", "filippov", "rodas3", "trbdf2")
USABLE = [name for name in SOLVERS if name not in LEFT_OUT]


@pytest.fixture(scope="module", params=BALLS)
def ball(request, network):
    friction, function = BALLS[request.param]
    end = ball_reference(network, network.start, function, 3.0)
    return inf.HeavyBall(friction), end


@pytest.mark.parametrize("solver", USABLE)
def test_every_solver_follows_the_heavy_ball(solver, ball, network):
    dynamics, end = ball
    found = follow(network, network.start, dynamics, solver=solver, rtol=1e-8, atol=1e-8)
    assert found.flow.method == solver and found.flow.stop_reason is StopReason.T_END
    assert np.abs(found.theta_flow - end).max() < 3e-7


@pytest.mark.parametrize("solver", ["tsit5", "rodas5p", "dopri5"])
def test_the_heavy_ball_at_the_tightest_tolerance(solver, ball, network):
    dynamics, end = ball
    found = follow(network, network.start, dynamics, solver=solver, rtol=1e-12, atol=1e-12)
    assert np.abs(found.theta_flow - end).max() < 2e-11


@pytest.mark.parametrize("name", ["rodas5p", "kencarp58", "tsit5", "rk4", "trbdf2"])
def test_orders_hold_for_frictions_that_change(name, network):
    """Time is a variable of the state."""
    friction, function = BALLS["changing"]
    end = ball_reference(network, network.start, function, 2.0)
    steps = 2.0 / np.array([8, 16, 32])
    errors = []
    for h in steps:
        options = {"solver": name, "solver_options": {"step": h}, "rtol": 1e-13, "atol": 1e-13}
        found = follow(network, network.start, inf.HeavyBall(friction), 2.0, **options)
        errors.append(np.abs(found.theta_flow - end).max())
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert SOLVERS[name].order - 0.3 < order < SOLVERS[name].order + 1.1


def test_gmres_has_the_products_of_the_whole_state(ball, network):
    dynamics, end = ball
    options = {"solver": "cvode_bdf", "solver_options": {"linear_solver": "gmres"}}
    found = follow(network, network.start, dynamics, rtol=1e-8, atol=1e-8, **options)
    assert found.flow.hessians == 0 and found.flow.hvps > 0
    assert np.abs(found.theta_flow - end).max() < 3e-7


@pytest.mark.parametrize("friction", ["nesterov", lambda t: 3.0 / t])
@pytest.mark.parametrize("solver", ["tsit5", "rodas5p", "gear", "kencarp58", "radau"])
def test_nesterov_on_a_parabola_is_a_bessel_function(friction, solver):
    """theta_i = 2 J_1(t sqrt(lambda_i))/(t sqrt(lambda_i)): Su, Boyd and Candes, section 3.1."""
    net = Quadratic([0.5, 4.0, 30.0])
    theta = np.array([1.0, -2.0, 0.5])
    found = follow(net, theta, inf.HeavyBall(friction), 5.0, solver=solver, rtol=1e-8, atol=1e-8)
    x = 5.0 * np.sqrt(net.eigenvalues)
    exact = net.basis @ (2.0 * j1(x) / x * (net.basis.T @ theta))
    assert np.abs(found.theta_flow - exact).max() < 2e-6


def test_the_velocity_is_eliminated(monkeypatch, network):
    sizes = []
    plain = heavy_ball.factorize_shifted

    def counted(hessian, shift):
        sizes.append(hessian.shape)
        return plain(hessian, shift)

    monkeypatch.setattr(heavy_ball, "factorize_shifted", counted)
    P = network.num_params
    for solver in ("rodas5p", "gear", "kencarp58"):
        sizes.clear()
        found = follow(network, network.start, inf.HeavyBall(BALLS["changing"][0]), solver=solver)
        assert sizes == [(P, P)] * found.flow.factorizations


@pytest.mark.parametrize("name", ["changing", "light"])
def test_jacobian_and_linear_solve_of_the_heavy_ball(name, network):
    dynamics = inf.HeavyBall(BALLS[name][0])
    problem = dynamics.problem(network, network.start, 0.3, 1e-6, 1e-6)
    z = problem.initial() + 0.3 * np.random.default_rng(0).normal(size=problem.size)
    z[-1] = abs(z[-1])
    compare_jacobian(problem, z, 1e-8)
    jacobian = problem.evaluate(z, 2).hessian
    right = np.random.default_rng(1).normal(size=problem.size)
    for shift in (1e-3, 1.0, 1e6):
        matrix = jacobian + shift * np.eye(problem.size)
        x = problem.factorize(jacobian, shift).solve(right)
        np.testing.assert_allclose(matrix @ x, right, atol=1e-8 * max(1.0, np.abs(x).max()))


def compare_jacobian(problem, z, tolerance):
    jacobian = problem.evaluate(z, 2).hessian
    times = problem.linearize(z)
    h = 1e-5
    for k, direction in enumerate(np.eye(problem.size)):
        ahead = problem.evaluate(z + h * direction, 1).gradient
        column = (ahead - problem.evaluate(z - h * direction, 1).gradient) / (2 * h)
        np.testing.assert_allclose(jacobian[:, k], column, atol=tolerance)
        np.testing.assert_allclose(times(direction), jacobian[:, k], atol=tolerance)


def test_descent_with_momentum_follows_the_ball_to_first_order(network):
    distances = []
    steps = (0.1, 0.05, 0.025)
    for s in steps:  # a step of size s^2 takes the time s
        before = theta = network.start
        for _ in range(round(4.0 / s)):
            g = network.evaluate(theta, 1).gradient
            before, theta = theta, theta - s * s * g + (1.0 - s) * (theta - before)
        end = follow(network, network.start, inf.HeavyBall(1.0), 4.0).theta_flow
        distances.append(np.abs(theta - end).max())
    order = np.polyfit(np.log(steps), np.log(distances), 1)[0]
    assert 0.8 < order < 1.2 and distances[-1] < 0.02


def test_the_rest_of_a_heavy_ball_is_left_to_newton(network):
    """It oscillates through the minimum long before it rests."""
    found = inf.train(network, network.start, dynamics=inf.HeavyBall(0.3), progress=False)
    assert found.flow.stop_reason in (StopReason.HANDOVER, StopReason.MIN_GRADIENT_NORM)
    assert found.converged
    fast = Quadratic([1.0, 2.0])
    hit = inf.train(fast, [1.0, 1.0], dynamics=inf.HeavyBall(0.05), progress=False)
    assert hit.flow.t > 100.0  # amplitudes of the tolerances: 2 log(1e6)/0.05 = 553
    assert hit.converged


# ------------------------------------------------------------------------------- natural gradient


def natural_velocity(net, damping, eta=1.0):
    def velocity(t, theta):
        F = inf.fisher(net, theta) + damping * np.eye(len(theta))
        return -eta * np.linalg.solve(F, inf.gradient(net, theta))

    return velocity


@pytest.mark.parametrize("data", ["infinite", "finite"])
def test_the_natural_gradient(data):
    neti, theta = teacher_student(2)
    net = neti if data == "infinite" else neti.sample(40, 0)
    end = reference(natural_velocity(net, 0.01, 0.5), theta, 1.0)
    for solver in ("tsit5", "kencarp58", "lsoda", "cvode_bdf"):
        options = {"solver": solver, "eta": 0.5, "rtol": 1e-8, "atol": 1e-8}
        found = follow(net, theta, inf.NaturalGradient(0.01), 1.0, **options)
        assert np.abs(found.theta_flow - end).max() < 3e-6, solver
    tight = {"rtol": 1e-12, "atol": 1e-12, "eta": 0.5}
    found = follow(net, theta, inf.NaturalGradient(0.01), 1.0, **tight)
    assert found.flow.method == "tsit5"
    assert np.abs(found.theta_flow - end).max() < 1e-10


def test_the_natural_gradient_without_damping_forgets_the_parametrisation():
    """Outputs move alike; errors next to a solution fall as exp(-2 t), the loss as exp(-4 t)."""
    neti, _ = teacher_student(2)
    theta = neti.teacher.theta + 1e-3
    found = follow(neti, theta, inf.NaturalGradient(), 2.0, num_trajectory=3)
    rate = math.log(found.trajectory.loss[0] / found.trajectory.loss[-1]) / 2.0
    assert abs(rate - 4.0) < 0.01
    other = inf.NetI(neti.student.replace(parametrization="ntk"), neti.teacher)
    same = theta / other.student.factors
    end = follow(other, same, inf.NaturalGradient(), 2.0).theta_flow
    np.testing.assert_allclose(end * other.student.factors, found.theta_flow, atol=1e-6)


def test_the_jacobian_of_the_natural_gradient_is_exact_at_a_fixed_point():
    neti, _ = teacher_student(2)
    theta = neti.teacher.theta
    eta = np.linspace(0.5, 1.0, len(theta))
    problem = inf.NaturalGradient(1e-3).problem(neti, theta, eta, 1e-6, 1e-6)
    compare_jacobian(problem, problem.initial(), 1e-5)


def test_the_fisher_matrix_of_infinite_data_in_two_ways():
    """A block of two equal students, and the Hessian at a teacher that is the student."""
    bent = inf.Gaussian([0.1, 0.2, 0.0], np.diag([1.0, 2.0, 0.5]))
    for hidden in ("erf", ["mish", "sin"]):
        for style in ("standard", "ntk"):
            layers = [(2, hidden, True), (2, "identity", True)]
            net = inf.Net(layers, input_dim=3, parametrization=style)
            theta = inf.random_params(net, 0)
            neti = inf.NetI(net, inf.Teacher(net, theta), bent)
            expected = 0.5 * inf.hessian(neti, theta)
            np.testing.assert_allclose(inf.fisher(neti, theta), expected, atol=1e-9)


def test_frozen_parameters_and_rates():
    neti, theta = teacher_student(2)
    net = neti.sample(30, 0)
    eta = np.linspace(0.5, 1.0, len(theta))
    eta[2] = 0.0
    free = eta > 0

    def velocity(t, x):
        F = inf.fisher(net, x)[np.ix_(free, free)] + 0.01 * np.eye(free.sum())
        out = np.zeros(len(x))
        out[free] = -eta[free] * np.linalg.solve(F, inf.gradient(net, x)[free])
        return out

    tight = {"eta": eta, "rtol": 1e-10, "atol": 1e-10}
    found = follow(net, theta, inf.NaturalGradient(0.01), 1.0, **tight)
    assert np.abs(found.theta_flow - reference(velocity, theta, 1.0)).max() < 1e-8
    found = follow(net, theta, inf.HeavyBall(0.5), 1.0, **tight)
    end = ball_reference(net, theta, lambda t: 0.5, 1.0, eta)
    assert np.abs(found.theta_flow - end).max() < 1e-8
    assert found.theta_flow[2] == theta[2]


# ----------------------------------------------------------------------------------- modified flow


def test_the_modified_flow_with_every_solver(network):
    def velocity(t, theta):
        _, g, H = network.evaluate(theta, 2)
        return -g - 0.05 * H @ g

    end = reference(velocity, network.start, 2.0)
    for solver in SOLVERS:
        if solver in ("gd", "adam", "filippov", "rodas3", "trbdf2"):
            continue
        options = {"solver": solver, "rtol": 1e-8, "atol": 1e-8}
        found = follow(network, network.start, inf.ModifiedFlow(0.1), 2.0, **options)
        assert found.flow.method == solver
        assert np.abs(found.theta_flow - end).max() < 1e-6, solver
    for solver in ("tsit5", "rodas5p"):
        options = {"solver": solver, "rtol": 1e-12, "atol": 1e-12}
        found = follow(network, network.start, inf.ModifiedFlow(0.1), 2.0, **options)
        assert np.abs(found.theta_flow - end).max() < 2e-11
    problem = inf.ModifiedFlow(0.5).problem(network, network.start, 0.7, 1e-6, 1e-6)
    compare_jacobian(problem, problem.initial(), 1e-6)


def test_an_explicit_solver_takes_products_only(network):
    found = follow(network, network.start, inf.ModifiedFlow(0.1), solver="tsit5")
    assert found.flow.hessians == 0 and found.flow.hvps == found.flow.gradients


def test_large_steps_follow_the_modified_flow_to_second_order(network):
    steps = np.array([0.2, 0.1, 0.05])
    plain = follow(network, network.start, None, 4.0).theta_flow
    far = {"plain": [], "modified": []}
    for h in steps:
        options = {"solver": "gd", "step_size": h, "t_end": 4.0}
        end = inf.train(network, network.start, **options, **FLOW_ONLY).theta_flow
        modified = follow(network, network.start, inf.ModifiedFlow(h), 4.0).theta_flow
        far["plain"].append(np.abs(end - plain).max())
        far["modified"].append(np.abs(end - modified).max())
    order = {name: np.polyfit(np.log(steps), np.log(errors), 1)[0] for name, errors in far.items()}
    assert 0.8 < order["plain"] < 1.2
    assert 1.8 < order["modified"] < 2.3


# --------------------------------------------------------------------------------------- diffusion


def quadratic_noise():
    """A covariance whose root is linear, in two parameters that do not commute."""
    slopes = np.array([[[0.5, 0.3], [0.2, 0.1]], [[0.1, -0.4], [0.6, 0.2]]])
    origin = np.array([[1.0, 0.2], [-0.3, 0.8]])

    def covariance(z):
        part = origin + np.einsum("aij,a->ij", slopes, z)
        return part @ part.T

    return origin, slopes, covariance


def exact_moments(origin, slopes, z, time, degree=4):
    """E z_0^i z_1^j after a time: the generator maps polynomials to polynomials."""
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    place = {power: k for k, power in enumerate(powers)}
    linear = {(0, 0): origin, (1, 0): slopes[0], (0, 1): slopes[1]}
    generator = np.zeros((len(powers),) * 2)
    for (a, b), k in place.items():
        for p, left in linear.items():
            for q, right in linear.items():
                C = left @ right.T
                x = p[0] + q[0]
                y = p[1] + q[1]
                for i, j, factor in (
                    (a - 2 + x, b + y, a * (a - 1) * C[0, 0]),
                    (a - 1 + x, b - 1 + y, 2 * a * b * C[0, 1]),
                    (a + x, b - 2 + y, b * (b - 1) * C[1, 1]),
                ):
                    if factor:
                        generator[k, place[i, j]] += factor / 2
    values = expm(time * generator) @ [z[0] ** i * z[1] ** j for i, j in powers]
    return {power: values[k] for power, k in place.items()}


def test_a_step_of_the_noise_has_weak_order_two():
    """Means over the random numbers by quadrature: the error of one step is of order h^3."""
    origin, slopes, covariance = quadratic_noise()
    nodes, weights = hermegauss(8)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(*[nodes] * 4, indexing="ij"), -1).reshape(-1, 4)
    weight = np.einsum("i,j,k,l->ijkl", *[weights] * 4).ravel()
    kept = weight > 1e-13
    z = np.array([0.3, -0.2])
    steps = (0.1, 0.05)
    errors = []
    for h in steps:
        delta = 0.3 * math.sqrt(h)
        ends = np.array([noise_step(covariance, z, delta, q[:2], q[2:]) for q in grid[kept]])
        exact = exact_moments(origin, slopes, z, 0.09 * h)
        errors.append(
            [
                abs(weight[kept] @ (ends[:, 0] ** i * ends[:, 1] ** j) - exact[i, j])
                for i, j in [(2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (4, 0), (2, 2)]
            ]
        )
    orders = np.log2(np.divide(*errors))
    assert (orders > 2.8).all(), orders


def test_a_step_of_drift_and_noise_has_weak_order_two(monkeypatch):
    """dz = -z dt + s (1 + z^2)^(1/2) dW has linear equations for its moments."""
    net = Quadratic([1.0])
    nodes, weights = hermegauss(12)
    weights = weights / weights.sum()
    drawn = {}

    class Given:
        def standard_normal(self, shape):
            return np.array(drawn["normals"]).reshape(shape)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Given())
    problem = inf.ModifiedFlow(0.1).problem(net, np.ones(1), 1.0, 1e-6, 1e-6)
    problem.evaluate = problem.evaluate_loss
    errors = []
    for h in (0.2, 0.1):
        k, a = 0.09 - 2.0, 0.27 - 3.0
        second = -math.exp(k * h) - 0.09 / k * (math.exp(k * h) - 1.0)
        third = -math.exp(a * h) - 0.27 / (a + 1.0) * (math.exp(a * h) - math.exp(-h))
        for i, j in np.ndindex(12, 12):
            drawn["normals"] = [nodes[i], nodes[j]]
            start = problem.evaluate(np.ones(1), 1)
            one = Splitting(problem, np.ones(1), start, lambda x: np.outer(x, x) + 1.0, 0.3, 0, h)
            z = one.advance(1.0).z[0]
            second += weights[i] * weights[j] * z**2
            third += weights[i] * weights[j] * z**3
        errors.append([abs(second), abs(third)])
    assert (np.log2(np.divide(*errors)) > 2.7).all(), errors


def descent_on(net, theta, step, batch, steps, runs, seed):
    """Ends of many runs of SGD on a bias-free network of one tanh neuron with one input."""
    rng = np.random.default_rng(seed)
    x, y = net.input[:, 0], net.target[:, 0]
    w, a = np.tile(theta[:, None], runs)
    for _ in range(steps):
        chosen = rng.integers(len(x), size=(batch, runs))
        t = np.tanh(w * x[chosen])
        error = 2.0 * (a * t - y[chosen])
        move = (error * a * (1 - t * t) * x[chosen]).mean(axis=0)
        a = a - step * (error * t).mean(axis=0)
        w = w - step * move
    return np.array([w, a]).T


def test_minibatch_descent_400_times():
    """Mean and covariance along the path agree within the errors of the runs."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 1))
    y = np.tanh(2.0 * X[:, 0]) + 0.5 * rng.normal(size=60)
    net = inf.Net([(1, "tanh", False), (1, "identity", False)], input=X, target=y)
    theta = np.array([0.5, 0.3])
    times = [0.5, 1.0]
    noises = [inf.SGDDiffusion(0.1, 4, k, modified=True) for k in range(120)]
    paths = np.array([follow(net, theta, n, 1.0, t_eval=times).trajectory.theta for n in noises])
    for k, steps in enumerate((5, 10)):
        ends = descent_on(net, theta, 0.1, 4, steps, 400, seed=9)
        difference = ends.mean(axis=0) - paths[:, k].mean(axis=0)
        C, D = (np.cov(each.T) for each in (ends, paths[:, k]))
        sizes = np.diagonal(C)
        share = 1.0 / 400 + 1.0 / 120
        assert (np.abs(difference) < 3.0 * np.sqrt(sizes * share)).all()
        allowed = 3.0 * np.sqrt(2.0 * np.outer(sizes, sizes) * share)
        assert (np.abs(C - D) < allowed).all()
        # half or twice the noise would be seen, and so would a drift without noise
        assert (np.diagonal(allowed) < 0.6 * sizes).all()


def test_the_diffusion_settles_where_it_is_known_to(tmp_path):
    """Over one long path on infinite data; and in bounded memory."""

    class Linear:
        """H = diag(2, 6, 1) with constant noise."""

        num_params = 3

        def evaluate(self, theta, order=0):
            H = np.diag([2.0, 6.0, 1.0])
            return inf.Evaluation(theta @ H @ theta / 2, H @ theta, H)

        def gradient_covariance(self, theta):
            return np.diag([1.0, 4.0, 0.0])

    noise = inf.SGDDiffusion(0.1, 2, rng=1)
    # it begins at the minimum, where a gradient flow would rest
    found = follow(Linear(), np.zeros(3), noise, 400.0, t_eval=np.arange(20.0, 400.1, 0.5))
    spread = found.trajectory.theta.var(axis=0)
    np.testing.assert_allclose(spread[:2], [0.05 * 1 / 4, 0.05 * 4 / 12], rtol=0.2)
    assert spread[2] == 0.0


def test_seeds_choose_the_path():
    neti, theta = teacher_student(2)
    net = neti.sample(20, 0)

    def end(rng):
        return follow(net, theta, inf.SGDDiffusion(0.1, 1, rng), 0.5).theta_flow

    np.testing.assert_array_equal(end(3), end(3))
    assert np.abs(end(3) - end(4)).max() > 1e-3
    generator = np.random.default_rng(0)
    assert inf.SGDDiffusion(0.1, 1, generator).seed != inf.SGDDiffusion(0.1, 1, generator).seed


def test_noise_of_infinite_data_is_that_of_fresh_samples():
    """The first step from one point: covariance step_size^2/batch_size C."""
    net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.5, 2.0], noise=0.3))
    theta = np.array([0.3, -0.4, 1.0])
    noises = [inf.SGDDiffusion(1e-4, 2, k) for k in range(30)]
    moved = np.array([follow(neti, theta, n, 1e-4).theta_flow - theta for n in noises])
    C = 1e-8 / 2 * inf.gradient_covariance(neti, theta, method="exact")
    white = np.linalg.solve(np.linalg.cholesky(C), (moved - moved.mean(axis=0)).T)
    assert abs(np.mean(white**2) - 1.0) < 4.0 * math.sqrt(2.0 / white.size)
    fixed = follow(neti, theta, inf.SGDDiffusion(0.1), 0.2, eta=[1.0, 0.0, 0.5]).theta_flow
    assert fixed[1] == theta[1] and fixed[0] != theta[0]


# ------------------------------------------------------------------------- what all have in common

ALL = {
    "heavy_ball": inf.HeavyBall(lambda t: 1.0 / (1.0 + t)),
    "natural_gradient": inf.NaturalGradient(0.01),
    "modified_flow": inf.ModifiedFlow(0.1),
    "sgd_diffusion": inf.SGDDiffusion(0.1, 2, 7),
}


def test_every_dynamics_is_tested_here():
    assert list(ALL) == list(DYNAMICS)
    assert all(kind.name == name for name, kind in DYNAMICS.items())
    assert {"HasFisher", "HasGradientCovariance"} <= set(CAPABILITIES)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("solver", ["auto", "tsit5"])
def test_a_stopped_run_goes_on_bit_for_bit(name, solver, tmp_path):
    if name == "sgd_diffusion" and solver != "auto":
        pytest.skip("it has one method")
    neti, theta = teacher_student(2)
    net = neti.sample(30, 0)
    call = {"solver": solver, "num_trajectory": 6, "eta": np.linspace(0.5, 1.0, len(theta))}
    whole = follow(net, theta, ALL[name], **call)
    file = tmp_path / "run.npz"
    first = follow(net, theta, ALL[name], checkpoint=file, max_steps_flow=4, **call)
    assert first.flow.stop_reason is StopReason.MAX_STEPS
    again = follow(net, theta, ALL[name], checkpoint=file, **call)
    np.testing.assert_array_equal(again.theta_flow, whole.theta_flow)
    np.testing.assert_array_equal(again.trajectory.theta, whole.trajectory.theta)
    assert again.flow.steps == whole.flow.steps
    assert again.flow.gradients == whole.flow.gradients
    others = [None, *(each for key, each in ALL.items() if key != name)]
    for other in others:
        with pytest.raises(StorageError, match=r"checkpoint of another run: .*dynamics"):
            follow(net, theta, other, checkpoint=file, **{**call, "solver": "auto"})


def test_checkpoints_tell_arguments_apart(tmp_path):
    net = Quadratic([1.0, 2.0])
    file = tmp_path / "run.npz"
    follow(net, [1.0, 1.0], inf.HeavyBall(1.0), checkpoint=file, max_steps_flow=2)
    with pytest.raises(StorageError, match="another run: friction"):
        follow(net, [1.0, 1.0], inf.HeavyBall(2.0), checkpoint=file)


@pytest.mark.parametrize("name", ["heavy_ball", "natural_gradient", "modified_flow"])
def test_runs_in_the_span_are_those_in_all_inputs(name):
    neti, theta = teacher_student(9)
    options = {"rtol": 1e-9, "atol": 1e-9, "num_trajectory": 5, "t_eval": [0.5, 3.0]}
    runs = [follow(neti, theta, ALL[name], reduce=each, **options) for each in (True, False)]
    assert runs[0].reduction.startswith("reduced")
    np.testing.assert_allclose(runs[0].theta_flow, runs[1].theta_flow, atol=3e-7)
    np.testing.assert_allclose(*(run.trajectory.theta for run in runs), atol=3e-7)
    np.testing.assert_allclose(*(run.trajectory.loss for run in runs), atol=1e-7)


def test_a_natural_gradient_in_many_inputs_needs_the_fisher_matrix_of_few():
    neti, theta = teacher_student(20_000)
    found = follow(neti, theta, inf.NaturalGradient(0.01), 0.1, max_steps_flow=2)
    assert found.reduction.startswith("reduced") and found.flow.steps == 2


def test_noise_leaves_the_span():
    neti, theta = teacher_student(9)
    noise = inf.SGDDiffusion(0.1, 100)
    found = follow(neti, theta, noise, 0.1)
    assert "leaves the span" in found.reduction
    W = found.theta_flow[:18].reshape(2, 9)
    span = np.vstack([theta[:18].reshape(2, 9), neti.teacher_units.W])
    rest = W - W @ np.linalg.pinv(span) @ span
    assert np.abs(rest).max() > 1e-3
    with pytest.raises(InvalidValueError, match="would not be exact: the path of SGDDiffusion"):
        follow(neti, theta, noise, 0.1, reduce=True)


def test_families_move_as_the_whole_network():
    family = inf.SymmetricNetI("erf", teachers=[3], students=[0])
    z = family.random(0)
    whole, theta = family.lift(z)
    tight = {"rtol": 1e-10, "atol": 1e-10}
    for dynamics in (inf.HeavyBall(0.5), inf.ModifiedFlow(0.2)):
        short = follow(family, z, dynamics, 2.0, **tight).theta_flow
        # the second layer of the family does not move
        eta = np.r_[np.ones(9), np.zeros(3)]
        long = follow(whole, theta, dynamics, 2.0, eta=eta, **tight).theta_flow
        np.testing.assert_allclose(family.lift(short).theta, long, atol=1e-8)
    with pytest.raises(InvalidTypeError, match=r"SymmetricNetI has none.*fisher\(theta\)"):
        follow(family, z, inf.NaturalGradient())


def test_newton_minimises_the_loss_after_every_dynamics():
    neti, theta = teacher_student(2)
    net = neti.sample(60, 1)
    for name, dynamics in ALL.items():
        found = inf.train(net, theta, dynamics=dynamics, t_end=5.0, progress=False)
        assert found.converged and found.gradient_norm < 1e-10, name
        assert "minimum" in str(inf.classify(net, found.theta))


def test_files_have_dynamics():
    table = {
        "student": {"hidden": 2, "input_dim": 2},
        "teacher": {"hidden": 2},
        "flow": {"dynamics": {"kind": "heavy_ball", "friction": "nesterov"}},
    }
    given = Configuration.from_dict(table).train_arguments()["dynamics"]
    assert repr(as_dynamics("dynamics", given)) == "HeavyBall('nesterov')"
    found = inf.train(Quadratic([1.0]), [1.0], dynamics=given, t_end=1.0, **FLOW_ONLY)
    assert found.settings["dynamics"] == given
    direct = inf.train(
        Quadratic([1.0]), [1.0], dynamics=inf.ModifiedFlow(0.1), t_end=1.0, **FLOW_ONLY
    )
    assert direct.settings["dynamics"] == "ModifiedFlow(0.1)"


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: inf.HeavyBall(-1.0), InvalidValueError, "friction is -1; it must be at least 0"),
        (lambda: inf.HeavyBall("light"), InvalidValueError, "'nesterov'"),
        (lambda: inf.HeavyBall(lambda t: -t), InvalidValueError, "at t = 0.001, friction is"),
        (lambda: inf.HeavyBall(lambda: 1.0), InvalidTypeError, "A function of one number t"),
        (lambda: inf.NaturalGradient(-0.1), InvalidValueError, "damping is -0.1"),
        (lambda: inf.ModifiedFlow(0.0), InvalidValueError, "step_size is 0; it must be above 0"),
        (lambda: inf.SGDDiffusion(0), InvalidValueError, "step_size is 0"),
        (lambda: inf.SGDDiffusion(0.1, 0), InvalidValueError, "batch_size is 0"),
        (lambda: inf.SGDDiffusion(0.1, 1, "a"), InvalidTypeError, "rng"),
        (lambda: as_dynamics("dynamics", 3), InvalidTypeError, r"inf.HeavyBall\(...\)"),
        (lambda: as_dynamics("dynamics", {"kind": "ball"}), UnknownNameError, "heavy_ball"),
        (
            lambda: as_dynamics("d", {"kind": "heavy_ball", "frction": 1.0}),
            InvalidTypeError,
            "friction",
        ),
    ],
)
def test_arguments_that_cannot_be_used(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_an_objective_cannot_do_is_said_at_once():
    net = Quadratic([1.0, 2.0])
    start = [1.0, 1.0]
    with pytest.raises(InvalidTypeError, match=r"Quadratic has none: .*gradient_covariance\(th"):
        follow(net, start, inf.SGDDiffusion(0.1))
    with pytest.raises(InvalidTypeError, match=r"Quadratic has none: .*fisher"):
        follow(net, start, inf.NaturalGradient(1.0))
    net.fisher = lambda theta: np.ones(2)
    with pytest.raises(InvalidTypeError, match=r"fisher\(theta\) returned .*\(P, P\) is needed"):
        follow(net, start, inf.NaturalGradient(1.0))
    plain = Function(1, lambda x: x[0] ** 2, lambda x: 2 * x, lambda x: [[2.0]])
    plain.hvp = None
    with pytest.raises(MethodError, match=r"ModifiedFlow\(0.1\) needs Hessian-vector products"):
        follow(plain, [1.0], inf.ModifiedFlow(0.1))
    neti, theta = teacher_student(2)
    with pytest.raises(MethodError, match="correlation"):
        follow(neti.replace(loss="correlation"), theta, inf.SGDDiffusion(0.1))
    data = neti.sample(5, 0)
    with pytest.raises(InvalidValueError, match="batch_size is 6, but there are only 5 samples"):
        follow(data, theta, inf.SGDDiffusion(0.1, 6))
    with pytest.raises(InvalidValueError, match=r"singular at theta0.*damping, e\.g\. 1e-6"):
        follow(data, theta, inf.NaturalGradient())  # nine parameters, five samples
    with pytest.raises(InvalidValueError, match="never comes to rest, and t_end is infinite"):
        follow(data, theta, inf.SGDDiffusion(0.1), np.inf)
    with pytest.raises(InvalidValueError, match="never comes to rest"):
        follow(data, theta, inf.HeavyBall(0), np.inf)


def test_a_fisher_matrix_that_becomes_singular_ends_the_flow():
    class Singular(Quadratic):
        def fisher(self, theta):
            return np.diag([1.0, max(theta[1] - 0.5, 0.0)])

    net = Singular([1.0, 1.0])
    found = follow(net, [1.0, 1.0], inf.NaturalGradient())
    assert found.flow.stop_reason is StopReason.NON_FINITE
    assert "The Fisher matrix is singular: parameters" in found.flow.note


@pytest.mark.parametrize("solver", ["gd", "exprb"])
def test_solvers_that_cannot_follow_are_refused_with_those_that_can(solver):
    net = Quadratic([1.0, 2.0])
    with pytest.raises(MethodError, match=f"{solver}.*Take one of rodas5p.*auto"):
        follow(net, [1.0, 1.0], inf.HeavyBall(1.0), solver=solver, step_size=0.1)
    neti, theta = teacher_student(2)
    with pytest.raises(MethodError, match="has a method of its own"):
        follow(neti.sample(5, 0), theta, inf.SGDDiffusion(0.1), solver="tsit5")


def test_nothing_moves_where_all_is_frozen(capfd):
    """Neither does a factorisation of an empty Fisher matrix complain."""
    layers = [(2, "tanh", True), (1, "identity", True)]
    net = inf.Net(layers, input=np.ones((4, 2)), target=np.ones(4))
    theta = inf.random_params(net, rng=0)
    found = follow(net, theta, inf.NaturalGradient(0.1), eta=np.zeros(len(theta)))
    assert found.status.name == "FROZEN"
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""
