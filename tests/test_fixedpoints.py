"""The trust-region subproblem, Newton's method at every kind of point, quasi-Newton adapters."""

import numpy as np
import pytest
from analytic_objectives import (
    Function,
    Quadratic,
    Squares,
    TanhNetwork,
    Wrapped,
    quartic,
    raise_at,
    rosenbrock,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import infflow as inf
from infflow.errors import DivergedError, InvalidValueError
from infflow.fixedpoints import OPTIMIZERS, FixedPointProblem, automatic_optimizer
from infflow.fixedpoints.subproblem import solve_subproblem
from infflow.stopping import StopReason, StopRules


def search(objective, x, name="newton", free=None, **changes):
    x = np.asarray(x, dtype=float)
    values = {
        "max_time": 600.0,
        "max_steps": 10**5,
        "min_loss": 2e-32,
        "min_gradient_norm": 1e-15,
        "patience": 10**6,
    }
    free = np.ones(len(x), bool) if free is None else np.asarray(free)
    problem = FixedPointProblem(objective, x, free)
    return OPTIMIZERS[name].run(problem, x[problem.free], StopRules(**{**values, **changes}))


# --- the subproblem: conditions of More and Sorensen, necessary and sufficient for a global
# solution


def check_optimal(lam, c, radius):
    found = solve_subproblem(lam, c, radius)
    p, mu = found.step, found.multiplier
    length = np.linalg.norm(p)
    scale = np.abs(lam).max() * max(length, 1e-300) + np.abs(c).max()
    assert length <= radius * (1 + 1e-9)
    assert mu >= 0 and lam.min() + mu >= -1e-12 * max(np.abs(lam).max(), 1e-300)
    np.testing.assert_allclose((lam + mu) * p, -c, rtol=0, atol=1e-9 * scale)
    assert mu == 0 or abs(length - radius) <= 1e-9 * radius
    np.testing.assert_allclose(
        found.predicted, -(c @ p + p @ (lam * p) / 2), rtol=1e-9, atol=1e-15 * scale * length
    )
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.floats(-6, 3),
    st.floats(-8, 8),
)
def test_subproblem_is_solved_exactly(n, seed, log_radius, spread):
    rng = np.random.default_rng(seed)
    lam = np.sort(rng.normal(size=n) * 10 ** (rng.uniform(-1, 1, size=n) * abs(spread) / 2))
    c = rng.normal(size=n) * 10 ** (rng.uniform(-1, 1) * 4)
    check_optimal(lam, c, 10.0**log_radius)


def test_subproblem_hard_case():
    # no slope along the lowest eigenvector: the step still goes there, as far as the radius allows
    lam = np.array([-2.0, 1.0, 3.0])
    c = np.array([0.0, 0.3, 0.5])
    found = check_optimal(lam, c, 5.0)
    np.testing.assert_allclose(found.multiplier, 2.0, rtol=1e-14)
    np.testing.assert_allclose(found.step[1:], [-0.1, -0.1], rtol=1e-14)
    assert abs(found.step[0]) > 4.9
    # the same with a small radius is no hard case
    assert check_optimal(lam, c, 0.05).multiplier > 2.0
    # a slope of rounding size changes nothing
    nearly = solve_subproblem(lam, np.array([1e-18, 0.3, 0.5]), 5.0)
    np.testing.assert_allclose(np.abs(nearly.step), np.abs(found.step), rtol=1e-12)


def test_subproblem_saddle_without_slope_and_flat_directions():
    found = check_optimal(np.array([-1.0, 2.0]), np.zeros(2), 3.0)
    np.testing.assert_allclose(np.abs(found.step), [3.0, 0.0])
    np.testing.assert_allclose(found.predicted, 4.5)
    flat = solve_subproblem(np.array([0.0, 2.0]), np.array([0.0, 1.0]), 3.0)
    np.testing.assert_allclose(flat.step, [0.0, -0.5])
    assert not flat.on_boundary
    nothing = solve_subproblem(np.array([0.0, 2.0]), np.zeros(2), 3.0)
    assert nothing.predicted == 0.0 and not nothing.step.any()
    linear = check_optimal(np.zeros(2), np.array([3.0, 4.0]), 1.0)
    np.testing.assert_allclose(linear.step, [-0.6, -0.8], rtol=1e-9)


# --- Newton's method


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimizer_finds_the_minimum_of_rosenbrock(name):
    found = search(rosenbrock(), [-1.2, 1.0], name)
    np.testing.assert_allclose(found.theta, [1.0, 1.0], atol=1e-12)
    assert found.loss < 1e-28 and found.statistics.stop_reason.converged
    assert found.statistics.steps < 100 and found.statistics.gradients < 200
    assert (found.statistics.hessians > 0) == OPTIMIZERS[name].needs_hessian
    value, gradient, _ = rosenbrock().evaluate(found.theta, 1)
    assert value == found.loss and np.abs(gradient).max() == found.gradient_norm


def test_newton_solves_a_quadratic_over_twelve_decades():
    q = Quadratic(np.geomspace(1e-6, 1e6, 33))
    found = search(q, np.random.default_rng(1).normal(size=33))
    assert found.statistics.stop_reason.converged and found.statistics.steps < 12
    assert found.loss < 1e-18


def test_newton_leaves_saddles():
    # x^4/4 - x^2/2 + y^2/2: the gradient at the start has no part along the way down (hard case)
    double_well = Function(
        2,
        lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2,
        lambda x: [x[0] ** 3 - x[0], x[1]],
        lambda x: np.diag([3 * x[0] ** 2 - 1, 1.0]),
    )
    for start in ([0.0, 0.3], [1e-12, 0.0]):
        found = search(double_well, start)
        np.testing.assert_allclose(np.abs(found.theta), [1.0, 0.0], atol=1e-12)
        assert found.statistics.stop_reason is StopReason.MIN_GRADIENT_NORM


def test_newton_at_a_shallow_saddle_below_the_rounding_of_the_loss():
    # the loss 1e3 + ... hides decreases of 1e-14, the gradient shows the way out
    shallow = Function(
        2,
        lambda x: 1e3 + 1e-9 * (x[0] ** 4 / 4 - x[0] ** 2 / 2) + x[1] ** 2 / 2,
        lambda x: [1e-9 * (x[0] ** 3 - x[0]), x[1]],
        lambda x: np.diag([1e-9 * (3 * x[0] ** 2 - 1), 1.0]),
    )
    found = search(shallow, [1e-3, 1.0])
    np.testing.assert_allclose(found.theta, [1.0, 0.0], atol=1e-6)


def test_newton_at_a_degenerate_minimum_converges_linearly():
    found = search(quartic(3), [1.0, -0.5, 2.0])
    # Newton's factor is 2/3 per step; x^3 <= 1e-15 is reached after about 30 steps
    # and as the loss goes on to fall, min_gradient_norm does not stop it before min_loss
    assert found.statistics.stop_reason is StopReason.MIN_LOSS
    assert found.statistics.steps < 55 and np.abs(found.theta).max() <= 1.7e-8
    coarse = search(quartic(3), [1.0, -0.5, 2.0], min_gradient_norm=1e-12)
    assert coarse.statistics.stop_reason is StopReason.MIN_GRADIENT_NORM
    assert coarse.statistics.steps < 30 and np.abs(coarse.theta).max() <= 1.01e-4


def test_newton_in_a_degenerate_valley_whose_curvature_is_rounding():
    """The first steps, of length one along z, are six decades too long; the loss shows differences
    above 1e-15 only.
    """
    valley = Function(
        3,
        lambda x: 1.0 + 50 * x[0] ** 2 + 5e-7 * x[1] ** 2 + 1e6 * x[2] ** 4,
        lambda x: [100 * x[0], 1e-6 * x[1], 4e6 * x[2] ** 3],
        lambda x: np.diag([100.0, 1e-6, 12e6 * x[2] ** 2 - 1e-11]),
    )
    found = search(valley, [1e-15, 1e-6, 0.0])
    assert (
        found.statistics.stop_reason is StopReason.MIN_GRADIENT_NORM and abs(found.theta[1]) <= 1e-9
    )


def test_newton_with_a_flat_valley_does_not_drift():
    # (x y - 1)^2: a curve of minima, one eigenvalue 0 along it
    valley = Function(
        2,
        lambda x: (x[0] * x[1] - 1) ** 2,
        lambda x: 2 * (x[0] * x[1] - 1) * x[::-1],
        lambda x: [[2 * x[1] ** 2, 4 * x[0] * x[1] - 2], [4 * x[0] * x[1] - 2, 2 * x[0] ** 2]],
    )
    found = search(valley, [1.5, 0.7])
    assert found.loss < 1e-31
    assert (
        np.linalg.norm(found.theta - [1.5, 0.7]) < 0.3
    )  # the valley is 0.03 away, but nearly flat along itself
    again = search(valley, found.theta + 1e-9)
    # slope and curvature along the valley are both proportional to the distance from it: only their
    # ratio is known
    assert np.linalg.norm(again.theta - found.theta) < 1e-4


@pytest.mark.parametrize(("steepness", "most"), [(1.0, 200), (10.0, 600)])
def test_newton_follows_the_floor_of_a_curved_canyon(steepness, most):
    # the floor is the helix (t, sin 3t, cos 3t); uncorrected steps end on its walls, and 349 and
    # 1,441 are needed
    def residuals(x):
        walls = steepness * np.array([x[1] - np.sin(3 * x[0]), x[2] - np.cos(3 * x[0])])
        return np.append(0.01 * (x[0] - 4), walls)

    def jacobian(x):
        s = 3 * steepness * np.sin(3 * x[0])
        c = 3 * steepness * np.cos(3 * x[0])
        return np.array([[0.01, 0, 0], [-c, steepness, 0], [s, 0, steepness]])

    def hessian(x):
        J, r = jacobian(x), residuals(x)
        bending = 9 * steepness * (r[1] * np.sin(3 * x[0]) + r[2] * np.cos(3 * x[0]))
        return 2 * J.T @ J + 2 * np.diag([bending, 0, 0])

    canyon = Function(
        3, lambda x: residuals(x) @ residuals(x), lambda x: 2 * residuals(x) @ jacobian(x), hessian
    )
    found = search(canyon, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(found.theta, [4, np.sin(12), np.cos(12)], atol=1e-13)
    assert found.loss < 1e-28 and found.statistics.steps < most


def test_newton_reaches_the_rounding_floor_of_a_realizable_problem():
    for seed in range(4):
        net = TanhNetwork(K=3, M=3, seed=seed)
        teacher_like = search(net, net.start, max_steps=1000)
        if teacher_like.loss > 1e-20:
            continue  # another minimum
        strict = search(net, teacher_like.theta, min_gradient_norm=0.0, min_loss=0.0)
        assert strict.loss < 1e-31
        assert strict.statistics.stop_reason is StopReason.ROUNDING_FLOOR
        break
    else:
        raise AssertionError("no start led to the teacher")


@pytest.mark.parametrize("noise", [1e-14, 1e-11])
def test_newton_is_not_stopped_by_a_loss_that_cancels(noise):
    # rounding errors of the loss as sums of large terms have them, in the second case larger than
    # estimated; exact gradients
    rng = np.random.default_rng(0)
    base = rosenbrock()
    noisy = Function(2, lambda x: base.value(x) + noise * rng.normal(), base.gradient, base.hessian)
    for start in ([-1.2, 1.0], [1.0 + 1e-7, 1.0]):
        found = search(noisy, start)
        assert np.abs(found.theta - 1).max() < 1e-14
        assert found.statistics.stop_reason.converged and found.gradient_norm < 1e-12


def test_newton_minimum_that_is_not_zero():
    shifted = Function(
        2,
        lambda x: 1 + np.cosh(x[0]) + (x[1] - 3) ** 2,
        lambda x: [np.sinh(x[0]), 2 * (x[1] - 3)],
        lambda x: np.diag([np.cosh(x[0]), 2.0]),
    )
    found = search(shifted, [2.0, -1.0])
    np.testing.assert_allclose(found.theta, [0.0, 3.0], atol=1e-15)
    strict = search(shifted, [2.0, -1.0 / 3], min_gradient_norm=0.0)
    assert strict.statistics.stop_reason.converged and strict.statistics.steps < 60


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_frozen_parameters_stay(name):
    q = Quadratic([1.0, 2.0, 3.0])
    found = search(q, [1.0, 1.0, 1.0], name, free=[True, False, True])
    assert found.theta[1] == 1.0
    gradient = q.evaluate(found.theta, 1).gradient
    assert np.abs(gradient[[0, 2]]).max() < 1e-7 and abs(gradient[1]) > 1e-3
    np.testing.assert_allclose(
        found.gradient_norm, np.abs(gradient[[0, 2]]).max(), rtol=1e-9, atol=1e-15
    )


# --- why a search ends


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_loss": 1.0}, StopReason.MIN_LOSS),
        ({"min_gradient_norm": 1e-2}, StopReason.MIN_GRADIENT_NORM),
        ({"max_steps": 4}, StopReason.MAX_STEPS),
        ({"max_time": 0.0}, StopReason.MAX_TIME),
        ({"callback": lambda now: now.step == 3 and now.stage == "newton"}, StopReason.CALLBACK),
    ],
    ids=lambda value: value.name if isinstance(value, StopReason) else "",
)
def test_stop_rules(name, changes, reason):
    found = search(rosenbrock(), [-1.2, 1.0], name, **changes)
    assert found.statistics.stop_reason is reason
    assert found.loss <= 24.2


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_ctrl_c_returns_the_best_point(name):
    found = search(Wrapped(rosenbrock(), raise_at(15, KeyboardInterrupt)), [-1.2, 1.0], name)
    assert found.statistics.stop_reason is StopReason.INTERRUPTED
    assert found.loss == rosenbrock().evaluate(found.theta).value < 24.2


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_errors_of_the_objective_get_through(name):
    with pytest.raises(ZeroDivisionError, match="a bug"):
        search(Wrapped(rosenbrock(), raise_at(8, ZeroDivisionError("a bug"))), [-1.2, 1.0], name)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_step_out_of_the_domain_is_taken_back(name):
    # (x - 1)^2/x: minimum at 1, undefined for x <= 0
    def residuals(x):
        if x[0] <= 0:
            raise DivergedError("root of a negative number")
        return (x - 1) / np.sqrt(x)

    barrier = Squares(
        1,
        lambda x: residuals(x)[0] ** 2,
        lambda x: 1 - x**-2.0,
        lambda x: np.diag(2 * x**-3.0),
        residuals,
        lambda x: np.diag((x + 1) / (2 * x**1.5)),
    )
    found = search(barrier, [3.0], name)
    np.testing.assert_allclose(found.theta, 1.0, atol=1e-7)
    with pytest.raises(InvalidValueError, match="root of a negative"):
        search(barrier, [-1.0], name)


def test_newton_at_a_kink_says_that_the_loss_is_not_smooth():
    kink = Function(
        1, lambda x: abs(x[0] - 0.3) + 1, lambda x: np.where(x > 0.3, 1.0, -1.0), lambda x: [[0.0]]
    )
    found = search(kink, [1.0])
    assert found.statistics.stop_reason is StopReason.STEP_UNDERFLOW
    assert abs(found.theta[0] - 0.3) < 1e-10


def test_automatic_choice():
    assert automatic_optimizer(2000) == "newton" and automatic_optimizer(2001) == "lbfgs"


@pytest.mark.parametrize(
    ("activation", "students", "converged"), [("relu", 2, True), ("gelu", 3, False)]
)
def test_large_networks_end_by_gradients(activation, students, converged):
    """Losses stand still on the walls of a channel to infinity (gelu) long before it ends."""
    student = inf.Net([(students, activation, False), (1, "identity", False)], input_dim=1000)
    teacher = inf.Net([(3, activation, False), (1, "identity", False)], input_dim=1000)
    star = teacher.pack([(np.eye(3, 1000), None), (np.ones((1, 3)), None)])
    net = inf.NetI(student, inf.Teacher(teacher, star))
    options = {"max_time_flow": 20.0, "progress": False, "reduce": False}
    found = inf.train(net, inf.random_params(net, 2), **options)
    assert found.newton.method == "lbfgs" and "newton_cg took the last" in found.newton.note
    assert found.converged == converged, found
    assert found.gradient_norm <= 1e-14 or not converged
