"""train: flow, then Newton; every argument checked at once."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from analytic_objectives import (
    Function,
    Quadratic,
    TanhNetwork,
    Wrapped,
    quartic,
    raise_at,
    rosenbrock,
)

import infflow as inf
from infflow import training
from infflow.errors import InfflowError
from infflow.fixedpoints import SearchOutcome
from infflow.flow import FlowOutcome, Trajectory
from infflow.objective import Evaluation
from infflow.settings import TrainSettings
from infflow.stopping import Statistics, StopReason
from infflow.training import train


@pytest.fixture(scope="module")
def network():
    return TanhNetwork()


def test_defaults_end_at_a_fixed_point(network):
    result = train(network, network.start)
    assert result.converged and result.flow.method == "gear" and result.newton.method == "newton"
    assert result.flow.stop_reason is StopReason.HANDOVER
    value, gradient, hessian = network.evaluate(result.theta, 2)
    assert result.loss == value and result.gradient_norm == np.abs(gradient).max() < 1e-14
    assert np.linalg.eigvalsh(hessian)[0] > -1e-14
    # Newton only polishes: it stays where the flow was
    assert np.abs(result.theta - result.theta_flow).max() < 1e-4
    assert (result.theta0 == network.start).all() and (
        result.trajectory.theta[0] == network.start
    ).all()
    assert (result.trajectory.theta[-1] == result.theta_flow).all() and len(
        result.trajectory
    ) == 100


def test_all_solvers_lead_to_the_same_point():
    objective = rosenbrock()
    start = [-1.2, 1.0]
    for solver in ("rodas5p", "cvode_bdf", "tsit5", "rk4"):
        result = train(objective, start, solver=solver)
        np.testing.assert_allclose(result.theta, [1.0, 1.0], atol=1e-12)
        assert result.loss < 1e-28 and result.converged and result.flow.method == solver
    for solver in ("gd", "adam"):
        result = train(objective, start, solver=solver, step_size=1e-3, max_steps_flow=1000)
        assert result.flow.stop_reason is StopReason.MAX_STEPS
        np.testing.assert_allclose(result.theta, [1.0, 1.0], atol=1e-12)


def test_stages_can_be_skipped(network):
    only_flow = train(network, network.start, t_end=3.0, max_steps_newton=0)
    assert only_flow.status is StopReason.T_END and not only_flow.converged
    assert only_flow.newton.stop_reason is StopReason.SKIPPED
    assert only_flow.trajectory.t[-1] == 3.0 and (only_flow.theta == only_flow.theta_flow).all()
    only_newton = train(network, network.start, max_steps_flow=0)
    assert only_newton.flow.stop_reason is StopReason.SKIPPED and only_newton.flow.steps == 0
    assert only_newton.newton.steps > 0 and len(only_newton.trajectory) == 1
    neither = train(network, network.start, max_steps_flow=0, max_steps_newton=0)
    assert (neither.theta == network.start).all() and neither.status is StopReason.SKIPPED


def test_flow_alone_descends_to_the_floor(network):
    result = train(Quadratic([1e-3, 1.0, 1e3]), [1.0, 1.0, 1.0], max_steps_newton=0)
    assert result.converged and result.loss < 1e-26


def test_best_point_is_returned_when_the_flow_rises():
    # gradient descent with a step that is too large: the start is the best point
    result = train(
        Quadratic([1.0, 1.0]),
        [1.0, 0.0],
        solver="gd",
        step_size=2.5,
        max_steps_flow=50,
        max_steps_newton=0,
    )
    assert (result.theta == [1.0, 0.0]).all() and result.loss == pytest.approx(0.5)
    assert np.abs(result.theta_flow).max() > 1e6


def test_of_losses_that_agree_to_rounding_the_smaller_gradient_decides():
    theta = np.zeros(2)
    statistics = Statistics("made up")
    track = Trajectory(np.zeros(1), np.zeros((1, 2)), np.ones(1), np.ones(1))
    job = TrainSettings().job(Quadratic([1.0, 1.0]), theta)

    def chosen(flow_loss, flow_norm, search_loss, search_norm, noise):
        flow = FlowOutcome(
            theta, 1.0, flow_loss, flow_norm, theta, flow_loss, flow_norm, track, statistics
        )
        search = SearchOutcome(theta + 1.0, search_loss, search_norm, noise, statistics)
        return "search" if training._make_result(job, flow, search, {}).theta[0] else "flow"

    assert (
        chosen(1.0, 1e-8, 1.0 + 5e-16, 1e-15, 1e-15) == "search"
    )  # the flow's loss is lower by rounding only
    assert (
        chosen(1.0, 1e-8, 1.0 + 2e-15, 1e-15, 1e-15) == "search"
    )  # estimates of rounding may be too low
    assert chosen(1.0, 1e-15, 1.0 - 5e-16, 1e-8, 1e-15) == "flow"
    assert chosen(1.0, 1e-8, 1.0 + 1e-9, 1e-15, 1e-15) == "flow"
    assert chosen(1.0, 1e-15, 1.0 - 1e-9, 1e-8, 1e-15) == "search"
    assert chosen(1.0, 1e-8, np.nan, np.nan, 1e-15) == "flow"


def test_realizable_problems_end_at_losses_of_rounding_size():
    losses = []
    for seed in range(4):
        net = TanhNetwork(K=4, M=2, seed=seed)
        losses.append(train(net, net.start, max_time_flow=5.0, min_gradient_norm=0.0).loss)
    assert min(losses) < 1e-31


@pytest.mark.parametrize("solver", ["rodas5p", "cvode_bdf", "tsit5"])
def test_frozen_parameters(network, solver):
    eta = np.ones(network.num_params)
    eta[:4] = 0.0
    eta[5] = 3.0
    result = train(network, network.start, solver=solver, t_end=50.0, eta=eta)
    assert (result.theta[:4] == network.start[:4]).all() and result.converged
    gradient = network.evaluate(result.theta, 1).gradient
    assert result.gradient_norm == np.abs(gradient[4:]).max() < 1e-13 < np.abs(gradient[:4]).max()


def test_scalar_eta_rescales_time(network):
    fast = train(
        network, network.start, t_end=1.0, eta=4.0, max_steps_newton=0, rtol=1e-9, atol=1e-9
    )
    slow = train(network, network.start, t_end=4.0, max_steps_newton=0, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fast.theta_flow, slow.theta_flow, atol=1e-7)


def test_t_eval_and_observables(network):
    network_with_hook = Wrapped(network, lambda count, theta: None)
    network_with_hook.observable = lambda name: {"twice": lambda theta: 2 * theta}[name]
    times = [0.0, 0.5, 2.0]
    result = train(
        network_with_hook,
        network.start,
        t_end=2.0,
        t_eval=times,
        observables=["twice", "lambda_min"],
    )
    np.testing.assert_array_equal(result.trajectory.t, times)
    np.testing.assert_array_equal(
        result.trajectory.observables["twice"], 2 * result.trajectory.theta
    )
    assert result.trajectory.observables["lambda_min"].shape == (3,)


def test_callback_sees_both_stages_and_stops_the_run(network):
    seen = []
    result = train(
        network, network.start, solver="rodas5p", t_end=1.0, callback=lambda now: seen.append(now)
    )
    assert {now.stage for now in seen} == {"flow", "newton"}
    flow = [now for now in seen if now.stage == "flow"]
    assert [now.step for now in flow] == list(range(result.flow.steps + 1))
    assert flow[-1].t == 1.0 and flow[-1].loss == network.evaluate(flow[-1].theta).value
    stopped = train(network, network.start, callback=lambda now: now.step == 4)
    assert stopped.status is StopReason.CALLBACK and stopped.flow.steps == 4
    assert stopped.newton.stop_reason is StopReason.SKIPPED


@pytest.mark.parametrize("count", [30, 2000])
def test_ctrl_c_in_either_stage(network, count):
    # evaluation 30 is in the flow; with the flow skipped, number 2000 would never come: interrupt
    # Newton at its 30th
    skip = {"max_steps_flow": 0} if count == 2000 else {}
    result = train(Wrapped(network, raise_at(30, KeyboardInterrupt)), network.start, **skip)
    assert result.status is StopReason.INTERRUPTED and not result.converged
    assert (
        result.loss == network.evaluate(result.theta).value < network.evaluate(network.start).value
    )
    assert "Interrupted" in repr(result)


def test_a_flow_that_leaves_the_domain_says_where():
    wall = Function(
        1, lambda x: 5 - x[0] if x[0] < 1 else math.nan, lambda x: [-1.0], lambda x: [[0.0]]
    )
    result = train(wall, [0.0])
    assert result.status is StopReason.NON_FINITE and "t = 1" in result.flow.note
    assert result.newton.stop_reason is StopReason.SKIPPED


def test_degenerate_minimum():
    result = train(quartic(2), [1.0, -2.0])
    assert result.converged and np.abs(result.theta).max() < 2e-5


def test_time_limits_are_kept(network):
    result = train(network, network.start, max_time_flow=0.0, max_time_newton=0.0)
    assert result.flow.stop_reason is StopReason.MAX_TIME and result.status is StopReason.MAX_TIME


# --- bad input

BAD = [
    ({"solver": "rodas5"}, ValueError, "Did you mean 'rodas5p'"),
    ({"solver": "xyz"}, ValueError, "Known: auto, rodas5p"),
    ({"solver": 3}, TypeError, "solver is 3"),
    ({"optimizer": "neuton"}, ValueError, "Did you mean 'newton'"),
    ({"t_end": -1.0}, ValueError, "t_end is -1; it must be above 0"),
    ({"t_end": 0.0}, ValueError, "it must be above 0"),
    ({"t_end": 1e-320}, ValueError, "at least 1e-300"),
    ({"num_trajectory": 10**400}, ValueError, "at most 1000000"),
    ({"t_end": "1"}, TypeError, "t_end"),
    ({"t_end": math.nan}, ValueError, "t_end"),
    ({"rtol": -1e-6}, ValueError, "rtol"),
    ({"atol": 0.0}, ValueError, "atol"),
    ({"eta": -1.0}, ValueError, "eta must not be negative"),
    ({"eta": [1.0, -1.0]}, ValueError, "eta must not be negative"),
    ({"eta": [1.0, 1.0, 1.0]}, ValueError, r"eta has shape \(3,\)"),
    ({"eta": math.nan}, ValueError, "eta contains nan"),
    ({"eta": "fast"}, TypeError, "eta is a string"),
    ({"solver": "gd"}, ValueError, "needs a step_size"),
    ({"solver": "adam", "step_size": 0.0}, ValueError, "step_size is 0"),
    ({"step_size": 0.1}, ValueError, "step_size is for gd and adam"),
    ({"solver": "rk4", "step_size": 0.1}, ValueError, r"solver_options=\{'step': h\}"),
    ({"solver": "rk4", "solver_options": {"stepp": 0.1}}, ValueError, "Did you mean 'step'"),
    (
        {"solver": "gd", "step_size": 0.1, "solver_options": {"step": 0.1}},
        ValueError,
        "Known: seed",
    ),
    ({"solver": "rk4", "solver_options": {"step": -0.1}}, ValueError, "step"),
    (
        {"solver": "cvode_bdf", "solver_options": {"linear_solver": "lu"}},
        ValueError,
        "Known: dense, gmres",
    ),
    ({"solver": "cvode_bdf", "solver_options": {"max_order": 6}}, ValueError, "at most 5"),
    ({"solver": "adam", "step_size": 0.1, "solver_options": {"beta1": 1.0}}, ValueError, "beta1"),
    ({"solver_options": 0.1}, TypeError, "a dictionary"),
    ({"t_eval": [0.0, 2.0, 1.0]}, ValueError, "increasing"),
    ({"t_eval": [-1.0, 2.0]}, ValueError, "increasing times between 0"),
    ({"t_eval": [1.0, 1.0]}, ValueError, "increasing"),
    ({"t_eval": [1.0, 3.0], "t_end": 2.0}, ValueError, "t_end = 2"),
    ({"t_eval": []}, ValueError, "t_eval"),
    ({"t_eval": [1.0, math.inf]}, ValueError, "t_eval contains inf"),
    ({"num_trajectory": 1}, ValueError, "at least 2"),
    ({"num_trajectory": 1.5}, TypeError, "num_trajectory"),
    ({"observables": "lambda"}, ValueError, "'lambda_min'"),
    ({"observables": {"norm": 3}}, TypeError, "function of theta"),
    ({"observables": 3}, TypeError, "observables is 3"),
    ({"observables": {"word": lambda x: "a"}, "t_end": 1.0}, TypeError, "real numbers"),
    ({"max_time_flow": -1.0}, ValueError, "max_time_flow"),
    ({"max_steps_flow": -1}, ValueError, "max_steps_flow"),
    ({"max_steps_flow": 1.5}, TypeError, "max_steps_flow"),
    ({"max_time_newton": math.nan}, ValueError, "max_time_newton"),
    ({"max_steps_newton": -1}, ValueError, "max_steps_newton"),
    ({"min_loss": math.nan}, ValueError, "min_loss"),
    ({"min_gradient_norm": -1.0}, ValueError, "min_gradient_norm"),
    ({"patience": 0}, ValueError, "patience"),
    ({"callback": 3}, TypeError, "callback"),
    ({"batch_size": 10}, ValueError, "batch_size is for gd and adam"),
    ({"solver": "gd", "step_size": 0.1, "batch_size": 10}, TypeError, "no samples to choose from"),
    ({"solver": "gd", "step_size": 0.1, "solver_options": {"seed": -1}}, ValueError, "seed"),
    ({"checkpoint": 3}, TypeError, "checkpoint is 3"),
    ({"checkpoint": "no/such/folder/file"}, ValueError, "does not exist"),
    ({"theta0": [1.0]}, ValueError, r"\(2,\) is needed"),
    ({"theta0": [[1.0, 2.0]]}, ValueError, r"\(2,\) is needed"),
    ({"theta0": [1.0, math.nan]}, ValueError, "nan"),
    ({"theta0": "ab"}, TypeError, "string"),
    ({"theta0": [1e200, 1.0]}, ValueError, "theta0 is not finite"),
    ({"net": 3}, TypeError, "net is 3"),
]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    BAD,
    ids=lambda value: None if isinstance(value, type) else str(value)[:40],
)
def test_bad_input_raises_at_once(changes, kind, message):
    arguments = {"net": rosenbrock(), "theta0": [1.5, 1.0], **changes}
    with pytest.raises(kind, match=message) as caught:
        train(arguments.pop("net"), arguments.pop("theta0"), **arguments)
    assert isinstance(caught.value, InfflowError)


def test_the_net_checks_theta_itself(network):
    checked = Wrapped(network, lambda count, theta: None)
    checked.check = lambda theta: network.start
    result = train(checked, "anything", max_steps_flow=1, max_steps_newton=0)
    assert (result.theta0 == network.start).all()


def test_arguments_after_theta0_are_named(network):
    with pytest.raises(TypeError, match="positional"):
        train(network, network.start, "rodas5p")


def test_no_heavy_imports_and_no_bar_without_a_terminal():
    code = (
        "import sys, numpy as np; sys.path.insert(0, 'tests'); from analytic_objectives import "
        "rosenbrock\n"
        "from infflow.training import train\n"
        "r = train(rosenbrock(), np.array([-1.2, 1.0]), solver='rodas5p')\n"
        "heavy = {'scipy.integrate', 'scipy.optimize', 'sksundae', 'tqdm', 'matplotlib', "
        "'sympy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout == ""


def test_progress_bar_on_a_terminal(network, monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    train(network, network.start)
    assert (
        "loss" in screen.getvalue()
        and "steps" in screen.getvalue()
        and "|grad|" in screen.getvalue()
    )
    screen.truncate(0)
    train(network, network.start, progress=False)
    assert not screen.getvalue().strip("\0")


def test_optimizer_options_and_choice():
    """Options reach the optimizer; least squares near zero go to Levenberg-Marquardt, a NetI is
    refused there at once.
    """
    import infflow as inf
    from infflow.errors import InfflowError

    layers = [(2, "tanh", True), (1, "identity", True)]
    teacher = inf.Net(layers, input_dim=2)
    truth = inf.random_params(teacher, 1, init="standard_normal")
    neti = inf.NetI(inf.Net(layers, input_dim=2), inf.Teacher(teacher, truth))
    net = neti.sample(200, 0)
    near = truth + 1e-5
    found = inf.train(net, near, max_steps_flow=0, progress=False)
    assert found.newton.method == "levenberg_marquardt" and found.loss < 1e-29
    found = inf.train(
        net,
        near,
        max_steps_flow=0,
        optimizer="newton",
        optimizer_options={"linear_solver": "cg"},
        progress=False,
    )
    assert found.newton.hvps > 0
    for arguments in (
        {"optimizer": "newton", "optimizer_options": {"scal": 1.0}},
        {"optimizer_options": {"scale": 1.0}},
        {"optimizer": "levenberg_marquardt"},
    ):
        with pytest.raises(InfflowError):
            inf.train(neti, near, **arguments)


def test_a_run_does_not_depend_on_those_before_with_the_same_network():
    """Flow and search of a network whose integrals are series, to the last bit; and the loss at the
    end is that of the network.
    """
    student, teacher = (
        inf.Net([(K, "softplus", True), (1, "identity", True)], input_dim=2) for K in (2, 3)
    )
    true = inf.Teacher(teacher, np.random.default_rng(0).standard_normal(teacher.num_params))
    start, elsewhere = (inf.random_params(student, rng=k) for k in (1, 2))
    used = inf.NetI(student, true)
    limits = {"max_steps_flow": 60, "max_steps_newton": 30, "progress": False}
    inf.train(used, elsewhere, **limits)
    inf.hessian(used, 3.0 * elsewhere)
    runs = [inf.train(net, start, **limits) for net in (used, inf.NetI(student, true), used)]
    for run in runs:
        assert run.flow.steps == 60 and run.newton.steps > 5
        np.testing.assert_array_equal(run.theta_flow, runs[0].theta_flow)
        np.testing.assert_array_equal(run.theta, runs[0].theta)
        assert (run.loss, run.gradient_norm) == (runs[0].loss, runs[0].gradient_norm)


class Rough:
    """1 + a parabola, by integrals that are off by as much as their tolerance allows; frozen, they
    are right.
    """

    def __init__(self, error):
        self.num_params = 3
        self.error = error
        self.matrix = np.diag([1.0, 10.0, 1000.0])

    def evaluate(self, theta, order=0):
        gradient = self.matrix @ theta
        return Evaluation(
            1.0 + self.error + theta @ gradient / 2, gradient, self.matrix if order == 2 else None
        )

    def hvp(self, theta, v):
        return self.matrix @ v

    def frozen(self, theta):
        return Rough(0.0)


@pytest.mark.parametrize("error", [-1e-9, 1e-9])
def test_the_best_point_of_the_flow_and_that_of_the_search_are_compared_by_the_search(error):
    """Else the flow's, with a loss that is too low by the error of its integrals, hides the fixed
    point that was found.
    """
    found = train(Rough(error), [1.0, -2.0, 0.5], optimizer="newton", progress=False)
    assert found.status is StopReason.MIN_GRADIENT_NORM and found.newton.steps > 0
    assert found.gradient_norm <= 1e-15 and found.loss == 1.0
    np.testing.assert_array_equal(
        found.gradient_norm, np.abs(Rough(0.0).evaluate(found.theta, 1).g).max()
    )


def test_a_network_with_series_ends_where_its_status_says():
    rng = np.random.default_rng(44)
    student, teacher = (
        inf.Net([(K, f, True), (1, "identity", True)], input_dim=2)
        for K, f in ((2, "sin"), (3, "tanh"))
    )
    net = inf.NetI(student, inf.Teacher(teacher, rng.standard_normal(13)))
    found = train(net, inf.random_params(student, rng=44), progress=False)
    assert found.status is StopReason.MIN_GRADIENT_NORM
    assert found.gradient_norm <= 1e-15
    assert abs(found.loss - inf.loss(net, found.theta)) < 1e-10


def test_time_scales_leave_the_start_as_it_is():
    """To the last bit, which division and multiplication by their roots do not; nor do other values
    change the search.
    """
    net = Quadratic([1.0, 3.0, 5.0, 7.0])
    start = np.array([0.1, -0.7, 1.3, 0.3])
    eta = np.array([0.3, 1.7, 0.0, 2.9])
    assert (start[eta > 0] / np.sqrt(eta[eta > 0]) * np.sqrt(eta[eta > 0]) != start[eta > 0]).any()
    found, plain = (
        train(net, start, eta=e, max_steps_flow=0, progress=False) for e in (eta, (eta > 0) * 1.0)
    )
    np.testing.assert_array_equal(found.theta_flow, start)
    np.testing.assert_array_equal(found.theta, plain.theta)
    moved = train(net, start, eta=eta, max_steps_flow=5, max_steps_newton=0, progress=False)
    np.testing.assert_array_equal(moved.trajectory.theta[0], start)
    assert (moved.theta[eta > 0] != start[eta > 0]).all() and moved.theta[2] == start[2]


@pytest.mark.parametrize(
    "name", ["solver", "solver_options", "optimizer", "optimizer_options", "polish"]
)
@pytest.mark.parametrize("value", [np.array(["auto", "gear"]), np.zeros(3), np.zeros(0), [1]])
def test_arrays_and_lists_are_no_names_and_no_options(name, value):
    with pytest.raises(InfflowError, match=f"^{name} is "):
        train(Quadratic([1.0]), [1.0], **{name: value})


@pytest.mark.parametrize(
    ("activation", "samples", "solver"),
    [
        ("relu", 50, "filippov"),
        ("relu", 5001, "gear"),
        ("relu", 0, "gear"),
        ("elu", 50, "gear"),
        ("tanh", 50, "gear"),
    ],
)
def test_the_automatic_solver_looks_at_kinks(activation, samples, solver):
    student = inf.Net([(2, activation, True), (1, "identity", True)], input_dim=2)
    neti = inf.NetI(student, inf.Teacher(student, inf.random_params(student, 0)))
    net = neti.sample(samples, rng=1) if samples else neti
    result = train(
        net, inf.random_params(student, 2), t_end=0.1, max_steps_newton=0, progress=False
    )
    assert result.flow.method == solver


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "slsqp"])
def test_quasi_newton_methods_look_at_the_gradient_when_they_stop(optimizer):
    student = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=2)
    for seed in (20, 21):
        net = inf.NetI(
            student, inf.Teacher(student, inf.random_params(student, seed, init="standard_normal"))
        )
        found = train(
            net, net.teacher.theta + 0.05, optimizer=optimizer, max_steps_flow=0, progress=False
        )
        assert found.gradient_norm < 1e-13 and found.converged, found


@pytest.mark.filterwarnings("ignore::infflow.errors.SolverWarning")
@pytest.mark.parametrize("optimizer", ["auto", "newton"])
def test_a_flow_is_kept_where_no_search_can_begin(optimizer):
    student = inf.Net([(2, "abs", False), (1, "identity", True)], input_dim=3)
    net = inf.NetI(
        student, inf.Teacher(student, inf.random_params(student, 1, init="standard_normal"))
    )
    found = train(
        net, np.zeros(9), t_end=5.0, optimizer=optimizer, progress=False
    )  # neurons stay at zero
    assert found.flow.stop_reason is StopReason.T_END and found.loss < inf.loss(net, np.zeros(9))
    assert found.status is StopReason.NON_FINITE and not found.converged
    assert f"(loss {found.loss}" in found.newton.note and "lies at w = b = 0" in found.newton.note
    with pytest.raises(InfflowError, match="lies at w = b = 0"):
        train(net, np.zeros(9), max_steps_flow=0, optimizer=optimizer, progress=False)


def test_a_flow_that_has_converged_needs_no_search():
    student = inf.Net([(2, "step", False), (1, "identity", False)], input_dim=3)
    net = inf.NetI(
        student, inf.Teacher(student, inf.random_params(student, 1, init="standard_normal"))
    )
    found = train(net, net.teacher.theta, progress=False)  # infinite Hessian
    assert found.status is StopReason.MIN_LOSS and found.newton.stop_reason is StopReason.NON_FINITE


@pytest.mark.parametrize("reason", [StopReason.MIN_GRADIENT_NORM, StopReason.CHANNEL])
def test_a_search_that_ends_above_the_flow_says_nothing_of_its_best_point(reason):
    def outcome(loss):
        best = (np.array([1.0]), 0.5, 0.3)
        trajectory = Trajectory(np.zeros(1), np.ones((1, 1)), {}, lambda theta: 1.0)
        return FlowOutcome(np.array([2.0]), 1.0, loss, 0.3, *best, trajectory, Statistics("gd"))

    def search(loss):
        return SearchOutcome(
            np.array([3.0]), loss, 1e-16, 1e-17, Statistics("newton", stop_reason=reason)
        )

    job = training.Job(None, np.zeros(1), np.ones(1, dtype=bool), None, None, None, {}, None)
    above, below = (
        training._make_result(job, outcome(0.8), search(loss), {}) for loss in (0.7, 0.4)
    )
    assert above.theta == 1.0 and above.status is StopReason.LOWER_BEFORE and not above.converged
    assert below.theta == 3.0 and below.status is reason


@pytest.mark.parametrize("activation", ["tanh", "gelu", "silu"])
def test_extreme_scales_do_not_warn(activation):
    student = inf.Net([(2, activation, False), (1, "identity", False)], input_dim=3)
    net = inf.NetI(
        student, inf.Teacher(student, inf.random_params(student, 1, init="standard_normal"))
    )
    for scale in (1e80, 1e100, 1e150, 1e200):
        theta = inf.random_params(student, 2) * scale
        for function in (net.frozen, net.explain, lambda theta: inf.classify(net, theta)):
            try:
                function(theta)
            except InfflowError:  # that is a clear end
                continue
