"""Functions of the user that a run calls: they cannot change the run, and what they return is
checked.
"""

import numpy as np
import pytest
from analytic_objectives import rosenbrock

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError

X = np.random.default_rng(0).standard_normal((30, 2))
NET = inf.Net([(3, "tanh", True), (1, "identity", True)], input=X, target=np.sin(X[:, 0]))
START = inf.random_params(NET, 0)
SOLVERS = [
    ("gear", {}),
    ("rodas5p", {}),
    ("exprb", {}),
    ("kencarp58", {}),
    ("tsit5", {}),
    ("lsoda", {}),
    ("radau", {}),
    ("cvode_bdf", {}),
    ("gd", {"step_size": 0.01}),
    ("adam", {"step_size": 0.01}),
]
OPTIMIZERS = ["newton", "levenberg_marquardt", "gauss_newton", "bfgs", "lbfgs", "slsqp"]


def overwrite(now):
    now.theta.fill(7.0)


def assert_undisturbed(**options):
    options = {"progress": False, "num_trajectory": 5} | options
    found = inf.train(NET, START, callback=overwrite, **options)
    expected = inf.train(NET, START, callback=lambda now: None, **options)
    np.testing.assert_array_equal(found.theta, expected.theta)
    np.testing.assert_array_equal(found.theta_flow, expected.theta_flow)
    np.testing.assert_array_equal(found.trajectory.theta, expected.trajectory.theta)
    # evaluated together with its derivatives, the loss may round differently
    assert found.loss == pytest.approx(inf.loss(NET, found.theta), rel=1e-13)
    assert found.flow.steps == expected.flow.steps and found.newton.steps == expected.newton.steps


@pytest.mark.parametrize(("solver", "options"), SOLVERS)
def test_a_callback_that_writes_to_theta_does_not_change_the_flow(solver, options):
    assert_undisturbed(solver=solver, max_steps_flow=15, max_steps_newton=0, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_callback_that_writes_to_theta_does_not_change_the_search(optimizer):
    assert_undisturbed(optimizer=optimizer, max_steps_flow=0, max_steps_newton=8)


def test_frozen_parameters_and_checkpoints_do_not_see_what_a_callback_writes(tmp_path):
    eta = np.where(np.arange(len(START)) % 2, 0.0, 1.0)
    assert_undisturbed(eta=eta, max_steps_flow=10, max_steps_newton=3)
    options = {"progress": False, "max_steps_flow": 10, "max_steps_newton": 3}
    inf.train(NET, START, callback=overwrite, checkpoint=tmp_path / "run.npz", **options)
    expected = inf.train(NET, START, callback=lambda now: None, **options)
    resumed = inf.train(NET, START, checkpoint=tmp_path / "run.npz", **options)
    np.testing.assert_array_equal(resumed.theta, expected.theta)


def test_what_a_callback_keeps_stays_as_it_was():
    kept = []
    losses = []

    def keep(now):
        kept.append(now.theta)
        losses.append(now.loss)

    inf.train(
        rosenbrock(), [-1.2, 1.0], callback=keep, solver="tsit5", max_steps_flow=20, progress=False
    )
    np.testing.assert_allclose(
        [inf.loss(rosenbrock(), theta) for theta in kept], losses, rtol=1e-13
    )
    assert len({tuple(theta) for theta in kept}) > 20


def test_what_a_callback_returns_is_true_or_false():
    options = {"progress": False, "max_steps_flow": 5, "max_steps_newton": 0}
    with pytest.raises(
        InvalidTypeError,
        match=r"callback returned array\(\[1., 1.\]\); True \(stop\), False or None",
    ):
        inf.train(NET, START, callback=lambda now: np.ones(2), **options)
    for answer, status in (
        (np.True_, "CALLBACK"),
        (1, "CALLBACK"),
        (np.zeros(1), "MAX_STEPS"),
        (None, "MAX_STEPS"),
    ):
        assert (
            inf.train(NET, START, callback=lambda now, a=answer: a, **options).status.name == status
        )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, InvalidTypeError),
        (1j + 1, InvalidTypeError),
        ("a", InvalidTypeError),
        (object(), InvalidTypeError),
        ([1.0, None], InvalidTypeError),
        ([[1.0], [1.0, 2.0]], InvalidValueError),
        (np.ma.masked, InvalidValueError),
    ],
)
def test_observables_that_are_no_real_numbers(value, error):
    with pytest.raises(error, match="what observable 'x' returned"):
        inf.train(
            NET, START, observables={"x": lambda theta: value}, max_steps_flow=3, progress=False
        )


def test_observables_may_be_infinite_and_write_to_their_argument():
    def overwriting(theta):
        theta.fill(7.0)
        return np.inf

    options = {"solver": "tsit5", "max_steps_flow": 5, "max_steps_newton": 0, "progress": False}
    found = inf.train(
        NET, START, observables={"x": overwriting, "y": lambda theta: theta[0]}, **options
    )
    expected = inf.train(NET, START, **options)
    np.testing.assert_array_equal(found.trajectory.theta, expected.trajectory.theta)
    np.testing.assert_array_equal(found.trajectory.loss, expected.trajectory.loss)
    np.testing.assert_array_equal(
        found.trajectory.observables["y"], expected.trajectory.theta[:, 0]
    )
    assert np.isposinf(found.trajectory.observables["x"]).all()
