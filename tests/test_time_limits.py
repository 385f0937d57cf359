"""Limits of time are kept to within one evaluation, and do not count what numba compiles."""

import time

import numpy as np
import pytest
from analytic_objectives import TanhNetwork
from numba import njit

import infflow as inf
from infflow import stopping
from infflow.compile_time import compile_seconds
from infflow.fixedpoints import OPTIMIZERS
from infflow.flow import SOLVERS
from infflow.objective import Evaluation
from infflow.stopping import StopReason
from infflow.training import train

LIMIT = 6.5


class Slow(TanhNetwork):
    """Every evaluation, product, vector of residuals and Jacobian takes a second of a clock that
    only they move.
    """

    now = 0.0

    def evaluate(self, theta, order=0):
        self.now += 1.0
        return super().evaluate(theta, order)

    def hvp(self, theta, v):
        self.now += 1.0
        return super().hvp(theta, v)


class SlowSquares(Slow):
    """|A theta - b + c theta^3|^2."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.A, self.b, self.num_params = rng.standard_normal((9, 4)), rng.standard_normal(9), 4
        self.start = rng.standard_normal(4)

    def residuals(self, theta):
        self.now += 1.0
        return self.A @ (theta + 0.3 * theta**3) - self.b

    def jacobian(self, theta):
        self.now += 1.0
        return self.A * (1.0 + 0.9 * theta**2)

    def evaluate(self, theta, order=0):
        self.now += 1.0
        r = self.A @ (theta + 0.3 * theta**3) - self.b
        J = self.A * (1.0 + 0.9 * theta**2)
        hessian = 2.0 * J.T @ J + np.diag(3.6 * theta * (r @ self.A)) if order == 2 else None
        return Evaluation(float(r @ r), 2.0 * r @ J, hessian)


@pytest.fixture
def clock(monkeypatch):
    def start(net):
        net.now = 0.0
        monkeypatch.setattr(stopping, "running_time", lambda: net.now)
        return net

    return start


CASES = [(name, {}) for name in SOLVERS] + [
    ("cvode_bdf", {"linear_solver": "gmres"}),
    ("cvode_bdf", {"linear_solver": "switch"}),
    ("rk4", {"step": 0.01}),
]


@pytest.mark.parametrize(("solver", "options"), CASES)
def test_a_flow_ends_within_one_evaluation(solver, options, clock):
    net = clock(Slow())
    more = {"step_size": 0.01} if SOLVERS[solver].discrete else {}
    call = {
        "solver": solver,
        "solver_options": options,
        "t_end": 1e3,
        "max_steps_newton": 0,
        **more,
    }
    result = train(net, net.start, max_time_flow=LIMIT, progress=False, **call)
    assert result.status is StopReason.MAX_TIME
    assert LIMIT <= result.flow.wall_time <= LIMIT + 1.0
    assert (
        net.now <= LIMIT + 3.0
    )  # the end and the best point are evaluated where the solver did so only nearby
    assert np.isfinite([result.loss, result.gradient_norm]).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", [Slow, SlowSquares])
def test_a_search_ends_within_one_evaluation(optimizer, kind, clock):
    net = clock(kind())
    if OPTIMIZERS[optimizer].needs == "residuals" and kind is Slow:
        pytest.skip("no sum of squares")
    call = {"optimizer": optimizer, "max_steps_flow": 0, "min_gradient_norm": 0.0}
    before = inf.loss(net, net.start)
    net.now = 0.0
    result = train(net, net.start, max_time_newton=LIMIT, progress=False, **call)
    assert result.status is StopReason.MAX_TIME
    # the stage begins after the start was evaluated for the flow; one may be needed to know the
    # loss of the last step
    assert result.newton.wall_time <= LIMIT + 1.0 + (optimizer == "gauss_newton")
    assert result.loss < before or optimizer == "slsqp"  # its first steps may go uphill


def test_conjugate_gradients_that_are_cut_short_still_make_a_step(clock):
    net = clock(Slow())
    call = {
        "optimizer": "newton",
        "optimizer_options": {"linear_solver": "cg"},
        "max_steps_flow": 0,
    }
    result = train(net, net.start, max_time_newton=2.5, progress=False, **call)
    assert result.status is StopReason.MAX_TIME and result.newton.steps == 1
    assert result.loss < inf.loss(net, net.start)


class Compiling(TanhNetwork):
    """Compiles a kernel in its fourth evaluation, which takes longer than the limit of time."""

    calls = 0
    seconds = 0.0

    def evaluate(self, theta, order=0):
        self.calls += 1
        if self.calls == 4:
            before = compile_seconds()
            begin = time.perf_counter()

            @njit
            def kernel(x):
                return x.sum()

            kernel(np.eye(3))
            self.seconds = compile_seconds() - before
            assert self.seconds <= time.perf_counter() - begin
        return super().evaluate(theta, order)


def test_compilation_is_not_counted():
    plain = TanhNetwork()
    for _ in range(2):
        usual = train(
            plain, plain.start, t_end=1.0, max_steps_newton=0, progress=False
        ).flow.wall_time
    net = Compiling()
    limit = 10 * usual
    result = train(
        net, net.start, t_end=1.0, max_time_flow=limit, max_steps_newton=0, progress=False
    )
    assert net.seconds > limit, "compile something larger"
    assert result.status is StopReason.T_END and result.flow.wall_time < limit


@pytest.mark.parametrize("solver", ["gear", "rodas5p", "kencarp58", "adam"])
@pytest.mark.parametrize("limit", [20.5, 33.5, 34.5, 35.5])
def test_a_step_that_was_left_unfinished_is_repeated_as_a_whole(solver, limit, clock, tmp_path):
    """So a run that was stopped by its limit of time goes on bit for bit."""
    net = clock(Slow())
    call = {"solver": solver, "t_end": 3.0, "max_steps_newton": 0, "progress": False}
    if solver == "adam":
        call["step_size"] = 0.05
    stopped = train(net, net.start, max_time_flow=limit, checkpoint=tmp_path / "run", **call)
    assert stopped.status is StopReason.MAX_TIME
    call["max_time_flow"] = np.inf
    resumed = train(net, net.start, checkpoint=tmp_path / "run", **call)
    whole = train(net, net.start, **call)
    np.testing.assert_array_equal(resumed.trajectory.theta, whole.trajectory.theta)
    assert resumed.flow.steps == whole.flow.steps and resumed.flow.rejected == whole.flow.rejected
