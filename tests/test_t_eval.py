"""``t_eval`` keeps exactly its points, and an observable that fails costs no run."""

import math

import numpy as np
import pytest
from analytic_objectives import Quadratic, TanhNetwork

import infflow as inf
from infflow.errors import IncompleteWarning, InfflowError, SingularMomentError
from infflow.flow import SOLVERS
from infflow.result import trajectory_distance
from infflow.stopping import StopReason
from infflow.training import train

FLOW = {"max_steps_newton": 0, "progress": False}
BOWL = Quadratic([1.0, 3.0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_behind_a_bound_the_flow_stays(solver):
    """min_loss and min_gradient_norm end a flow before the last point."""
    times = np.array([0.0, 0.5, 1.0, 50.0, 60.0])
    more = {"step_size": 0.1} if SOLVERS[solver].discrete else {}
    for bound in ({"min_loss": 1e-3}, {"min_gradient_norm": 0.05}):
        found = train(
            BOWL, [1.0, 1.0], solver=solver, t_end=60.0, t_eval=times, **bound, **FLOW, **more
        )
        assert (
            found.status in (StopReason.MIN_LOSS, StopReason.MIN_GRADIENT_NORM)
            and found.flow.t < 60.0
        )
        np.testing.assert_array_equal(found.trajectory.t, times)
        late = times > found.flow.t
        assert late[-2:].all()
        np.testing.assert_array_equal(
            found.trajectory.theta[late], np.tile(found.theta_flow, (late.sum(), 1))
        )
        assert np.isfinite(found.trajectory.loss).all() and found.trajectory.loss[-1] == found.loss


def test_a_start_at_rest_and_runs_that_stack():
    times = [0.0, 1.0, 5.0]
    starts = [[0.0, 0.0], [1.0, 2.0], [1e-3, 0.0]]
    runs = [train(BOWL, start, t_end=5.0, t_eval=times, min_loss=1e-6, **FLOW) for start in starts]
    stacked = np.stack([run.trajectory.theta for run in runs])
    assert stacked.shape == (3, 3, 2) and np.isfinite(stacked).all()
    assert (stacked[0] == 0.0).all()
    assert all((run.trajectory.t == times).all() for run in runs)


def test_a_path_that_is_handed_over_rests_at_its_end():
    net = TanhNetwork()
    times = np.geomspace(1.0, 1e12, 7)
    found = train(net, net.start, t_eval=times, progress=False)
    assert found.flow.stop_reason is StopReason.HANDOVER and found.flow.t < 1e12
    np.testing.assert_array_equal(found.trajectory.t, times)
    np.testing.assert_array_equal(found.trajectory.theta[-1], found.theta_flow)


LIMITS = [
    ({"max_steps_flow": 5}, StopReason.MAX_STEPS),
    ({"max_steps_flow": 0}, StopReason.SKIPPED),
    ({"max_time_flow": 0.0}, StopReason.MAX_TIME),
    ({"callback": lambda now: now.step == 3}, StopReason.CALLBACK),
]


@pytest.mark.parametrize(("limit", "reason"), LIMITS)
def test_what_a_flow_did_not_reach_is_not_invented(limit, reason, tmp_path):
    net = TanhNetwork()
    times = [0.0, 1e-6, 5.0, 9.0]
    eta = np.ones(net.num_params)
    eta[0] = 0.0
    call = {
        "eta": eta,
        "observables": {"first": lambda theta: theta[:2]},
        "t_end": 9.0,
        "t_eval": times,
    }
    found = train(net, net.start, **call, **limit, **FLOW)
    assert found.flow.stop_reason is reason
    track = found.trajectory
    known = np.array(times) <= found.flow.t
    np.testing.assert_array_equal(track.t, times)
    assert known[0] and not known[2:].any()
    for values in (track.theta, track.loss, track.gradient_norm, track.observables["first"]):
        assert np.isfinite(values[known]).all() and np.isnan(values[~known]).all()
    assert len(track.reached()) == known.sum()
    assert trajectory_distance(found, found) == 0.0
    found.save(tmp_path / "run")
    again = inf.Result.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(again.trajectory.theta, track.theta)
    np.testing.assert_array_equal(again.trajectory.loss, track.loss)
    assert again.flow == found.flow and f"t = {found.flow.t:.6g}" in repr(again)


def test_a_failed_flow():
    """The loss is not defined beyond x = 2, where the flow goes."""

    class Wall(Quadratic):
        def evaluate(self, theta, order=0):
            if theta[0] > 2.0:
                raise inf.errors.DivergedError("x is above 2")
            found = super().evaluate(theta - [4.0, 0.0], order)
            return found

    times = [0.0, 0.1, 50.0]
    found = train(Wall([1.0, 1.0]), [0.0, 1.0], t_end=50.0, t_eval=times, **FLOW)
    assert found.status is StopReason.NON_FINITE
    np.testing.assert_array_equal(found.trajectory.t, times)
    assert (
        np.isfinite(found.trajectory.theta[:2]).all() and np.isnan(found.trajectory.theta[2]).all()
    )
    assert np.isfinite(found.trajectory.loss[:2]).all() and np.isnan(found.trajectory.loss[2])


# --------------------------------------------------------------------------------------------------
# observables

SINGULAR = [
    SingularMomentError("infinite here"),
    ZeroDivisionError("division"),
    np.linalg.LinAlgError("not positive definite"),
    ValueError("of the user"),
    KeyError("of the user"),
]


@pytest.mark.parametrize("error", SINGULAR, ids=repr)
def test_an_observable_that_fails_at_some_points(error):
    times = np.linspace(0.0, 2.0, 5)

    def half(theta):
        if 0.1 < theta[0] < 0.5:
            raise error
        return theta

    call = {"t_end": 2.0, "t_eval": times, "observables": {"half": half, "sum": np.sum}}
    with pytest.warns(
        IncompleteWarning, match=r"'half' at 2 of 5 points \(t = 0.5, 1\): \w*Error"
    ) as caught:
        found = train(BOWL, [1.0, 1.0], **call, **FLOW)
    assert len(caught) == 1 and caught[0].filename == __file__
    inside = (found.trajectory.theta[:, 0] > 0.1) & (found.trajectory.theta[:, 0] < 0.5)
    assert inside.sum() == 2
    assert np.isnan(found.trajectory.observables["half"][inside]).all()
    np.testing.assert_array_equal(
        found.trajectory.observables["half"][~inside], found.trajectory.theta[~inside]
    )
    np.testing.assert_array_equal(
        found.trajectory.observables["sum"], found.trajectory.theta.sum(axis=1)
    )


def test_an_observable_of_another_shape_at_some_points_and_one_that_never_has_a_value():
    def undefined(theta):
        raise ArithmeticError("nowhere")

    observables = {"ragged": lambda theta: theta[: 1 + (theta[0] < 0.5)], "undefined": undefined}
    with pytest.warns(
        IncompleteWarning, match=r"'ragged' at 2 of 4 .* shape .*; 'undefined' at 4 of 4"
    ):
        found = train(
            BOWL,
            [1.0, 1.0],
            t_end=2.0,
            t_eval=[0.0, 0.1, 1.0, 2.0],
            observables=observables,
            **FLOW,
        )
    ragged = found.trajectory.observables["ragged"]
    assert ragged.shape == (4, 1) and np.isnan(ragged[2:]).all() and np.isfinite(ragged[:2]).all()
    assert np.isnan(found.trajectory.observables["undefined"]).all()


def test_ctrl_c_in_an_observable_keeps_the_run():
    calls = []

    def slow(theta):
        calls.append(theta)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return theta

    found = train(
        BOWL, [1.0, 1.0], t_end=2.0, num_trajectory=9, observables={"slow": slow}, progress=False
    )
    assert found.status is StopReason.INTERRUPTED and found.flow.t == 2.0 and len(calls) == 4
    assert (
        np.isnan(found.trajectory.observables["slow"]).all()
        and np.isfinite(found.trajectory.loss).all()
    )


def test_a_function_that_is_wrong_is_told_before_the_flow():
    calls = []

    class Counting(Quadratic):
        def evaluate(self, theta, order=0):
            calls.append(order)
            return super().evaluate(theta, order)

    def wrong(theta):
        return theta.no_such_attribute

    with pytest.raises(AttributeError):
        train(Counting([1.0, 2.0]), [1.0, 1.0], observables={"wrong": wrong}, **FLOW)
    assert len(calls) == 1


def test_the_smallest_eigenvalue_where_the_hessian_is_infinite_at_the_start():
    """Steps with zero biases: both thresholds start at the same place."""
    net = inf.Net([(2, "step", True), (1, "identity", True)], input_dim=1)
    neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, rng=4, init="standard_normal")))
    theta = inf.random_params(net, rng=1)
    options = {"t_end": 1.0, "num_trajectory": 9, **FLOW}
    with pytest.warns(
        IncompleteWarning, match="'lambda_min' at 1 of 9 points .t = 0.: SingularMomentError"
    ):
        found = inf.train(neti, theta, observables=["lambda_min"], **options)
    values = found.trajectory.observables["lambda_min"]
    assert math.isnan(values[0]) and np.isfinite(values[1:]).all()
    assert found.status is inf.train(neti, theta, **options).status


def test_errors_of_t_eval_stay_errors():
    with pytest.raises(InfflowError, match="increasing"):
        train(BOWL, [1.0, 1.0], t_eval=[1.0, 0.0], t_end=2.0, **FLOW)


# ------------------------------------------------------------------------------------------------
# nothing that moves


def frozen_cases():
    net = inf.Net([(2, "tanh", True), (1, "identity", True)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, 3, init="standard_normal")))
    return {"Net": neti.sample(20, 0), "NetI": neti}


@pytest.mark.parametrize("kind", ["Net", "NetI"])
@pytest.mark.parametrize("scalar", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"t_end": 5.0, "t_eval": [0.0, 1.0, 5.0], "observables": ["lambda_min"]},
        {"max_steps_flow": 0, "optimizer": "newton"},
        {"solver": "gd", "step_size": 0.1, "max_steps_newton": 0},
        {"optimizer": "lbfgs", "callback": lambda now: False},
    ],
)
def test_time_scales_of_zero_move_nothing(kind, scalar, options, tmp_path):
    net = frozen_cases()[kind]
    theta = inf.random_params(net, 5)
    eta = 0.0 if scalar else 0.0 * theta
    found = inf.train(net, theta, eta=eta, progress=False, checkpoint=tmp_path / "run", **options)
    assert (
        found.status is StopReason.FROZEN
        and found.converged
        and found.flow.steps == found.newton.steps == 0
    )
    for point in (found.theta, found.theta_flow, found.theta0, *found.trajectory.theta):
        np.testing.assert_array_equal(point, theta)
    assert found.loss == inf.loss(net, theta) and found.gradient_norm == 0.0
    np.testing.assert_array_equal(found.trajectory.t, options.get("t_eval", [0.0]))
    found.save(tmp_path / "result")
    assert inf.Result.load(tmp_path / "result.npz").status is StopReason.FROZEN
    again = inf.train(net, theta, eta=eta, progress=False, checkpoint=tmp_path / "run", **options)
    assert again.status is StopReason.FROZEN
    many = inf.train_many(net, [theta, -theta], eta=eta, progress=False, **options)
    assert [run.status for run in many] == [StopReason.FROZEN] * 2


def test_a_negative_time_scale():
    with pytest.raises(InfflowError, match="smallest entry is -1"):
        train(BOWL, [1.0, 1.0], eta=[1.0, -1.0], **FLOW)
