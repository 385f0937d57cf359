"""Scatter of single runs around the order parameters, against simulations."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov
from test_online_extensions import D, network, system

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError
from infflow.online.runs.fluctuations import Fluctuations


@pytest.mark.parametrize("name", ["batches", "coloured erf", "sphere", "polynomial", "correlation"])
def test_scatter_of_simulations(name):
    """Standard deviations of 40 runs are known to 11 per cent each, and less on average."""
    rate = 0.05 if name == "polynomial" else 0.3
    dynamics, theta = system(name, rate=rate)
    times = np.array([0.0, 1.0, 3.0])
    expected = dynamics.fluctuations(theta, 300, t_eval=times)
    runs = [dynamics.simulate(theta, 300, times, seed) for seed in range(40)]
    for what in ("Q", "R", "v", "Q_groups", "generalization_error"):
        known = getattr(expected, what)
        assert not known[0].any()
        found = np.std([getattr(run, what) for run in runs], axis=0, ddof=1)
        moving = known[1:] > 1e-9 * max(known.max(), 1e-300)
        ratio = found[1:][moving] / known[1:][moving]
        assert 0.8 < np.mean(ratio) < 1.25, what
        assert (ratio > 0.5).all() and (ratio < 1.8).all(), what
    assert expected.settings["standard_deviations_in"] == 300


def test_scatter_of_the_page(monkeypatch):
    """The two networks of docs/order_parameters.md, with the scatter of 8 runs in 1,000
    dimensions that was measured there.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "scripts"))
    cases = importlib.import_module("order_parameters").CASES
    for case, measured in zip(cases, (0.0027, 0.011), strict=True):
        dynamics, theta = case.build()
        times = np.linspace(0.0, case.t_end, 21)
        scatter = dynamics.fluctuations(theta, 1000, t_eval=times).R[1:]
        assert np.sqrt((scatter**2).mean()) == pytest.approx(measured, rel=0.35)


def test_it_scales_with_the_dimension():
    dynamics, theta = system("batches")
    one, four = (dynamics.fluctuations(theta, d, t_eval=[0.0, 2.0]) for d in (100, 400))
    np.testing.assert_allclose(one.Q, 2 * four.Q, rtol=1e-12)


def test_covariance_of_one_step():
    """B against the changes of 20,000 single steps in 600 dimensions."""
    from infflow.online.runs.simulation import Descent, simulate
    from infflow.online.runs.weights import overlaps

    dynamics, theta = system("noisy students")
    state = dynamics.state(theta)
    big = 600
    lifted = dynamics.lift(state, big, rng=0)
    model = dynamics.equations.model
    where = dynamics.equations.coordinates
    descent = Descent(lifted.neti, None, model, dynamics._schedule)
    V = lifted.neti.teacher_units.W
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(6000):
        ((W, v),) = simulate(descent, lifted.theta, np.array([1]), rng)
        changes.append(where.pack(overlaps(W, V, v, [])))
    found = np.cov(np.array(changes).T) * big**2
    z = where.pack(state)
    B = Fluctuations(dynamics.equations, 2**15, np.random.default_rng(1)).step_covariance(z)
    size = np.sqrt(np.outer(np.diagonal(B), np.diagonal(B)))
    # heavy tails: squares of products of four Gaussians
    np.testing.assert_allclose(found / size, B / size, atol=0.2)


def test_stationary_scatter():
    """Long after all has been learned, Sigma solves J Sigma + Sigma J' + B = 0."""
    net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=D)
    star = np.r_[np.eye(1, D)[0], 1.0]
    neti = inf.NetI(net, inf.Teacher(net, star, noise=0.5), ridge=0.0)
    dynamics = inf.OrderParameters(neti, 0.2, 0.0)
    rest = dynamics.fixed_point(star)
    assert rest.converged
    z = dynamics.equations.coordinates.pack(rest.state)[:2]
    system_ = Fluctuations(dynamics.equations, 8192, np.random.default_rng(0))
    B = system_.step_covariance(np.r_[z, 1.0])[:2, :2]
    J = dynamics.jacobian(rest.state)[:2, :2]
    Sigma = solve_continuous_lyapunov(J, -B)
    found = dynamics.fluctuations(rest.state, 100, t_eval=[0.0, 60.0], rng=0)
    expected = np.sqrt(np.diagonal(Sigma) / 100)
    np.testing.assert_allclose([found.Q[1, 0, 0], found.R[1, 0, 0]], expected, rtol=1e-4)


def test_schedules():
    """Noise that is switched off leaves the scatter to decay."""
    neti, theta = network(noise=0.5)
    dynamics = inf.OrderParameters(neti, 0.3, schedule={"noise": [(0, 0.5), (20, 0.0)]})
    scatter = dynamics.fluctuations(theta, 100, t_eval=[0.0, 20.0, 80.0])
    constant = inf.OrderParameters(neti, 0.3).fluctuations(theta, 100, t_eval=[0.0, 20.0, 80.0])
    np.testing.assert_allclose(scatter.R[1], constant.R[1], rtol=1e-4)
    assert scatter.R[2].max() < 0.75 * constant.R[2].max()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"D": 3}, InvalidValueError, "D is 3; it must be at least 4"),
        ({"D": 2.5}, InvalidTypeError, "D"),
        ({"samples": 3}, InvalidValueError, "samples"),
        ({"t_end": None}, InvalidValueError, "neither t_end nor t_eval"),
        ({"max_time": 0.0}, InvalidValueError, "max_time"),
    ],
)
def test_bad_arguments(options, error, message):
    dynamics, theta = system("batches")
    with pytest.raises(error, match=message):
        dynamics.fluctuations(theta, **{"D": 100, "t_end": 1.0, **options})
