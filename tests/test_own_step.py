"""Functions of the user as solver and optimizer: the same steps as the built-in ones, under the
same rules.
"""

import tomllib

import numpy as np
import pytest
from analytic_objectives import rosenbrock

import infflow as inf
from infflow.cli.files.config import Configuration
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    ShapeError,
    StorageError,
    UnknownNameError,
)
from infflow.stopping import StopReason

RATE = 0.05


@pytest.fixture(scope="module")
def net():
    X = np.random.default_rng(0).normal(size=(30, 2))
    layers = [(3, "tanh", True), (1, "identity", True)]
    return inf.Net(layers, input=X, target=np.sin(X[:, 0]))


@pytest.fixture(scope="module")
def theta0(net):
    return inf.random_params(net, 1)


def descend(theta, gradient, state):
    return theta - RATE * gradient, state


def adam(theta, gradient, state):
    """In place, as optimisers of other packages do it."""
    k, mean, square = state or (0, np.zeros_like(theta), np.zeros_like(theta))
    k += 1
    mean += 0.1 * (gradient - mean)
    square += 0.001 * (gradient**2 - square)
    theta -= RATE * mean / (1 - 0.9**k) / (np.sqrt(square / (1 - 0.999**k)) + 1e-8)
    return theta, (k, mean, square)


def flow(net, theta0, solver, **more):
    return inf.train(
        net, theta0, solver=solver, max_steps_newton=0, progress=False, **{"t_end": 3.02, **more}
    )


@pytest.mark.parametrize(
    ("function", "name"), [(descend, "gd"), (adam, "adam")], ids=["gd", "adam"]
)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_steps_are_those_of_built_in_solvers(net, theta0, function, name, batch_size):
    settings = {"step_size": RATE, "batch_size": batch_size, "num_trajectory": 20}
    own = flow(net, theta0, function, **settings)
    known = flow(net, theta0, name, **settings)
    assert own.status is known.status is StopReason.T_END
    assert own.flow.gradients == known.flow.gradients and own.flow.steps == known.flow.steps == 61
    np.testing.assert_array_equal(own.trajectory.t, known.trajectory.t)
    np.testing.assert_allclose(own.trajectory.theta, known.trajectory.theta, rtol=0, atol=1e-13)
    np.testing.assert_allclose(own.theta_flow, known.theta_flow, rtol=0, atol=1e-13)
    assert own.flow.method == f"{name if name != 'gd' else 'descend'} (a function)"


def test_time_counts_steps_unless_it_has_a_unit(net, theta0):
    assert flow(net, theta0, descend, t_end=12.0).flow.steps == 12
    half = flow(net, theta0, descend, t_end=2.5)
    whole = flow(net, theta0, descend, t_end=3.0)
    at_two = flow(net, theta0, descend, t_end=2.0).theta_flow
    np.testing.assert_allclose(half.theta_flow, (at_two + whole.theta_flow) / 2, atol=1e-15)


def test_search(net, theta0):
    seen = []
    found = inf.train(
        net,
        theta0,
        max_steps_flow=0,
        optimizer=adam,
        max_steps_newton=400,
        callback=lambda now: seen.append(now.loss),
        progress=False,
    )
    assert found.status is StopReason.MAX_STEPS and found.newton.steps == 400
    assert found.newton.gradients == 401 and found.newton.method == "adam (a function)"
    assert found.loss == min(seen) == inf.loss(net, found.theta) < 0.1 * seen[0]
    theta, state = theta0, None
    for _ in range(400):
        theta, state = adam(theta.copy(), inf.gradient(net, theta), state)
    assert inf.loss(net, theta) == pytest.approx(seen[-1], rel=1e-9)


def test_search_ends_by_the_rules():
    objective = rosenbrock()
    start = np.array([-1.2, 1.0])

    def newton(theta, gradient, state):
        return theta - np.linalg.solve(objective.evaluate(theta, 2).hessian, gradient), None

    def search(step, **more):
        return inf.train(objective, start, max_steps_flow=0, optimizer=step, progress=False, **more)

    found = search(newton)
    assert found.converged and found.newton.steps < 10
    np.testing.assert_allclose(found.theta, 1.0, atol=1e-14)
    assert search(lambda theta, g, s: (theta, s), patience=5).status is StopReason.PATIENCE
    away = search(lambda theta, g, s: (theta + 1e200 * g, s))
    assert away.status is StopReason.NON_FINITE and "too long" in away.newton.note
    assert (away.theta == start).all()


def test_a_flow_that_leaves_the_domain(net, theta0):
    away = flow(net, theta0, lambda theta, g, s: (theta * np.nan, s), batch_size=4)
    assert away.status is StopReason.NON_FINITE and away.flow.steps == 0
    assert (away.theta == theta0).all()


def test_frozen_parameters(net, theta0):
    eta = np.ones(net.num_params)
    eta[:4] = 0.0
    gradients = []

    def step(theta, gradient, state):
        gradients.append(gradient)
        assert (theta[:4] == theta0[:4]).all()
        return theta - RATE * (gradient + 1.0), state

    result = flow(net, theta0, step, t_end=5.0, eta=eta)
    assert (result.theta_flow[:4] == theta0[:4]).all()
    assert (result.theta_flow[4:] != theta0[4:]).all()
    assert all((g[:4] == 0.0).all() and (g[4:] != 0.0).all() for g in gradients)
    with pytest.raises(InvalidValueError, match="0 \\(frozen\\) or 1"):
        flow(net, theta0, step, eta=2.0)


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (lambda theta, g, s: theta, InvalidTypeError, "as a tuple"),
        (lambda theta, g, s: (theta[:2], s), ShapeError, r"shape \(2,\)"),
        (lambda theta, g, s: ("theta", s), InvalidTypeError, "string"),
        (dict, InvalidTypeError, "a function \\(theta, gradient, state\\)"),
        (3, InvalidTypeError, "a function \\(theta, gradient, state\\)"),
        ("muon", UnknownNameError, "not known"),
    ],
)
def test_what_is_no_step(net, theta0, step, error, message):
    with pytest.raises(error, match=message):
        flow(net, theta0, step)
    with pytest.raises(error, match=message):
        inf.train(net, theta0, max_steps_flow=0, optimizer=step, progress=False)


def test_options_and_files(net, theta0, tmp_path):
    with pytest.raises(UnknownNameError, match="seed"):
        flow(net, theta0, descend, solver_options={"momentum": 0.9})
    result = flow(net, theta0, descend, t_end=4.0)
    result.save(tmp_path / "run.npz")
    assert inf.Result.load(tmp_path / "run.npz").settings["solver"] == "descend (a function)"
    text = "[student]\nhidden = 2\ninput_dim = 2\n[flow]\nsolver = {a = 1}\n"
    with pytest.raises(inf.InfflowError, match="solver"):
        Configuration.from_dict(tomllib.loads(text))


def test_checkpoints(net, theta0, tmp_path):
    states = []

    def step(theta, gradient, state):
        states.append(state)
        return theta - RATE * gradient, (state or 0) + 1

    file = tmp_path / "run.npz"
    whole = flow(net, theta0, step, t_end=20.0)
    states.clear()
    flow(net, theta0, step, t_end=20.0, max_steps_flow=8, checkpoint=file)
    rest = flow(net, theta0, step, t_end=20.0, checkpoint=file)
    assert states == [None, *range(1, 8), None, *range(1, 12)]  # it begins anew with its memory
    assert (rest.theta_flow == whole.theta_flow).all() and rest.flow.steps == 20
    with pytest.raises(StorageError, match="solver"):
        flow(net, theta0, adam, t_end=20.0, checkpoint=file)


def test_inputs_are_not_reduced():
    student = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=30)
    neti = inf.NetI(student, inf.Teacher(student, inf.random_params(student, 1)))
    theta = inf.random_params(student, 2)
    result = flow(neti, theta, descend, t_end=3.0)
    assert "is a function" in result.reduction
    with pytest.raises(InvalidValueError, match="is a function"):
        flow(neti, theta, descend, reduce=True)


def test_many_starts(net, theta0):
    runs = inf.train_many(
        net, [theta0, -theta0], solver=descend, t_end=5.0, max_steps_newton=0, progress=False
    )
    assert [run.flow.steps for run in runs] == [5, 5]


# -- with the packages -----------------------------------------------------------------------------


def test_optax(net, theta0):
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    jax.config.update("jax_enable_x64", True)
    method = optax.contrib.muon(0.02) if hasattr(optax.contrib, "muon") else optax.adam(0.02)

    def step(theta, gradient, state):
        layers = net.unpack(theta)
        state = method.init(layers) if state is None else state
        change, state = method.update(net.unpack(gradient), state, layers)
        return net.pack(optax.apply_updates(layers, change)), state

    result = flow(net, theta0, step, t_end=200.0)
    assert result.loss < 0.1 * result.trajectory.loss[0]


def test_torch(net, theta0):
    torch = pytest.importorskip("torch")

    def step(theta, gradient, state):
        if state is None:
            point = torch.tensor(theta, requires_grad=True)
            state = point, torch.optim.Adam([point], lr=RATE)
        point, method = state
        point.grad = torch.from_numpy(gradient)
        method.step()
        return point.detach(), state

    result = flow(net, theta0, step, step_size=RATE)
    known = flow(net, theta0, "adam", step_size=RATE)
    np.testing.assert_allclose(result.trajectory.theta[:-1], known.trajectory.theta[:-1], atol=1e-9)


@pytest.mark.parametrize("step", [lambda theta: theta, lambda theta, g, state, more: (theta, g)])
@pytest.mark.parametrize("argument", ["solver", "optimizer"])
def test_functions_of_another_number_of_arguments(net, theta0, argument, step):
    with pytest.raises(InvalidTypeError, match=f"{argument} is a function .* three arguments"):
        inf.train(net, theta0, progress=False, **{argument: step})


def test_a_function_and_a_dynamics(net, theta0):
    with pytest.raises(InvalidValueError, match="Leave out one of them"):
        inf.train(net, theta0, solver=descend, dynamics=inf.HeavyBall(1.0), progress=False)
