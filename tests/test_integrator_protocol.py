"""A method with history, written from the instructions of ``Integrator`` alone."""

from typing import NamedTuple

import numpy as np
import pytest
from analytic_objectives import TanhNetwork
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from infflow.errors import StorageError
from infflow.flow import SOLVERS, FlowSettings, Method, integrate
from infflow.flow.integrator import Step, StepFailed, check_time, is_finite, restored
from infflow.flow.methods import STEP_OPTIONS
from infflow.flow.problem import FlowProblem
from infflow.stopping import StopReason, StopRules
from infflow.storage import load_archive, save_archive


class AdamsState(NamedTuple):
    """All that later steps depend on."""

    t: float
    z: NDArray  # (n,)
    times: NDArray  # (3,), those of the slopes, the last one first
    slopes: NDArray  # (3, n)
    known: int = 1  # how many of them there are
    rejected: int = 0
    factorizations: int = 0


def moved(z, t0, t, times, slopes):
    """Where the polynomial through the slopes leads from z at t0: Adams' formula for any steps."""
    if t == t0:
        return z
    h = t - t0
    powers = np.arange(len(times))
    weights = np.linalg.solve(((times - t0) / h)[None, :] ** powers[:, None], h / (powers + 1))
    return z + weights @ slopes


class AdamsBashforth:
    """The formula of three steps, with a fixed step; Ralston's Runge-Kutta method begins."""

    def __init__(self, problem, z, evaluation, step=0.01):
        self.problem = problem
        self.step = step
        slopes = np.zeros((3, problem.size))
        slopes[0] = -evaluation.gradient
        self.state = AdamsState(0.0, z, np.zeros(3), slopes)

    def advance(self, t_end):
        t0, z0, times, slopes, known, *_ = self.state
        t = t0 + self.step
        if t >= t_end * (1 - 1e-10):
            t = t_end
        check_time(t)
        if known == 3:
            used = times, slopes
        else:
            second = -self.problem.evaluate(z0 + 0.5 * (t - t0) * slopes[0], 1).gradient
            third = -self.problem.evaluate(z0 + 0.75 * (t - t0) * second, 1).gradient
            # the slopes of a quadratic with the same integral, so that both formulas are one
            mean = (2 * slopes[0] + 3 * second + 4 * third) / 9
            middle = second
            end = 6 * mean - slopes[0] - 4 * middle
            used = np.array([t0, (t0 + t) / 2, t]), np.array([slopes[0], middle, end])
        z = moved(z0, t0, t, *used)
        evaluation = self.problem.evaluate(z, 1)
        if not is_finite(evaluation):
            raise StepFailed(StopReason.NON_FINITE, self.problem.where(t0, z0))
        newest = -evaluation.gradient
        self.state = AdamsState(
            t,
            z,
            np.r_[t, times[:2]],
            np.vstack([newest, slopes[:2]]),
            min(known + 1, 3),
        )
        return Step(t0, t, z, evaluation, lambda time: moved(z0, t0, time, *used))

    def restore(self, saved):
        self.state = restored(self.state, saved, self.problem.size)


AB3 = Method(
    "ab3",
    "Adams-Bashforth",
    order=3,
    dense_order=3,
    build=lambda problem, z, start, options: AdamsBashforth(problem, z, start, **options),
    options={"step": STEP_OPTIONS["step"]},
    reference="Bashforth and Adams 1883",
    adaptive=False,
)


def run(net, step, *, max_steps=10**6, **more):
    rules = StopRules(600.0, max_steps, 2e-32, 1e-15, 10**6)
    return integrate(net, net.start, FlowSettings(AB3, {"step": step}, **more), rules)


@pytest.mark.parametrize("times", [np.arange(0.25, 4.1, 0.25), np.arange(0.03, 4.0, 0.11)])
def test_order_of_a_multistep_method(times):
    """At the steps, and between them."""
    net = TanhNetwork()
    exact = solve_ivp(
        lambda t, x: -net.evaluate(x, 1).gradient,
        (0, 4),
        net.start,
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        t_eval=times,
    ).y.T
    steps = 1.0 / np.array([16, 32, 64, 128])
    runs = [run(net, h, t_end=4.0, t_eval=times) for h in steps]
    assert [each.statistics.steps for each in runs] == list((4 / steps).astype(int))
    errors = [np.abs(each.trajectory.theta - exact).max() for each in runs]
    assert 2.8 < np.polyfit(np.log(steps), np.log(errors), 1)[0] < 3.8


def test_the_last_step_ends_at_t_end():
    net = TanhNetwork()
    found = run(net, 0.01, t_end=1.001)
    assert found.trajectory.t[-1] == 1.001 and found.statistics.steps == 101
    exact = solve_ivp(
        lambda t, x: -net.evaluate(x, 1).gradient, (0, 1.001), net.start, rtol=1e-9, atol=1e-9
    )
    # a step of another length would show at 1e-3
    np.testing.assert_allclose(found.theta, exact.y[:, -1], atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, steps):
    net = TanhNetwork()
    file = tmp_path / "run.npz"
    run(net, 0.1, t_end=2.0, checkpoint=file, max_steps=steps)
    resumed = run(net, 0.1, t_end=2.0, checkpoint=file)
    whole = run(net, 0.1, t_end=2.0)
    np.testing.assert_array_equal(resumed.trajectory.theta, whole.trajectory.theta)
    without_time = {"wall_time": 0}
    assert resumed.statistics.to_dict() | without_time == whole.statistics.to_dict() | without_time


def absent(metadata, arrays):
    metadata["state"]["run"]["integrator"].pop("known")


def text(metadata, arrays):
    metadata["state"]["run"]["integrator"]["known"] = "three"


def missing(metadata, arrays):
    metadata["state"]["run"]["integrator"]["slopes"] = None


def short(metadata, arrays):
    key = metadata["state"]["run"]["integrator"]["slopes"].removeprefix("array:")
    arrays[key] = arrays[key][:, :-1]


@pytest.mark.parametrize("damage", [absent, text, missing, short])
def test_a_state_that_does_not_fit_is_one_clear_error(tmp_path, damage):
    net = TanhNetwork()
    path = tmp_path / "run.npz"
    run(net, 0.1, t_end=2.0, checkpoint=path, max_steps=3)
    arrays, metadata = load_archive(path, "infflow.Checkpoint")
    damage(metadata, arrays)
    save_archive(path, metadata.pop("kind"), arrays, metadata)
    with pytest.raises(StorageError, match=r"run\.npz is damaged"):
        run(net, 0.1, t_end=2.0, checkpoint=path)


def test_states_are_not_written_to():
    """A state that was kept is worth the same after further steps: for every method."""
    net = TanhNetwork()
    for name, method in SOLVERS.items():
        problem = FlowProblem(net, net.start, 1.0, 1e-6, 1e-6)
        z = problem.z_of(net.start)
        options = {"step_size": 1e-3} if method.discrete else {}
        integrator = method.build(problem, z, problem.evaluate(z, 2), options)
        integrator.advance(50.0)
        kept = integrator.state
        before = [np.copy(value) for value in leaves(kept)]
        for _ in range(12):
            integrator.advance(50.0)
        assert integrator.state is not kept, name
        for now, then in zip(leaves(kept), before, strict=True):
            np.testing.assert_array_equal(now, then, err_msg=name)


def leaves(state):
    """Arrays and numbers within named tuples."""
    for value in state:
        if isinstance(value, tuple):
            yield from leaves(value)
        elif value is not None and not isinstance(value, str):
            yield value
