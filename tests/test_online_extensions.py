"""Order parameters beyond single samples of standard normal input: spectra, spheres, schedules."""

import itertools
import math

import numpy as np
import pytest

import infflow as inf
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    TooLargeError,
    UnknownNameError,
)
from infflow.online.integration import OnlineStop

D = 12
SPIKES = np.array([3.0] * 3 + [1.0] * 5 + [0.25] * 4)


def network(f="erf", g="erf", K=2, M=2, O=1, seed=0, **options):
    rng = np.random.default_rng(seed)
    student = inf.Net([(K, f, False), (O, "identity", False)], input_dim=D)
    target = inf.Net([(M, g, False), (O, "identity", False)], input_dim=D)
    V = np.linalg.qr(rng.standard_normal((D, M)))[0].T
    star = target.pack([(V, None), (1.0 + 0.3 * rng.standard_normal((O, M)), None)])
    noise = options.pop("noise", 0.0)
    neti = inf.NetI(student, inf.Teacher(target, star, noise=noise), **options)
    W = rng.standard_normal((K, D)) / np.sqrt(D)
    return neti, student.pack([(W, None), (rng.standard_normal((O, K)), None)])


def coloured(seed=0):
    """A covariance with three distinct eigenvalues, in a random basis."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0]
    return inf.Gaussian(0.0, (Q * SPIKES) @ Q.T)


STAIRCASE = inf.PolynomialTeacher({(1, 0): 1.0, (1, 1): 0.7, (0, 3): 0.4}, np.eye(2, D), noise=0.1)


def differences(function, z, h=1e-4):
    """Central differences of fourth order."""
    columns = []
    for e in np.eye(len(z)):
        f = [function(z + s * h * e) for s in (-2, -1, 1, 2)]
        columns.append((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h))
    return np.array(columns).T


SYSTEMS = {
    "coloured erf": ({"input": coloured(), "noise": 0.2, "ridge": 0.1}, {}),
    "coloured relu": ({"f": "relu", "g": "relu", "input": coloured()}, {}),
    "coloured, smooth and kinked": ({"f": "erf", "g": "relu", "K": 3, "input": coloured()}, {}),
    "correlation": ({"loss": "correlation", "noise": 0.3}, {}),
    "correlation, coloured, two outputs": (
        {"loss": "correlation", "input": coloured(), "O": 2},
        {},
    ),
    "sphere": ({"noise": 0.1}, {"constraint": "sphere"}),
    "sphere, coloured": ({"input": coloured()}, {"constraint": "sphere"}),
    "batches": ({"noise": 0.2}, {"batch_size": 5}),
    "noisy students": ({"noise": 0.2}, {"input_noise": 0.4}),
    "one frozen student": ({"K": 3}, {"second_layer_rate": [0.2, 0.0, 0.1]}),
    "weights of outputs": ({"O": 2, "noise": 0.3}, {"schedule": {"outputs": [(0, [1.0, 0.3])]}}),
    "sampled": ({"f": "tanh", "input": coloured()}, {"samples": 2000}),
    "polynomial": ({"teacher": STAIRCASE}, {}),
    "polynomial, coloured": ({"teacher": STAIRCASE, "input": coloured(), "ridge": 0.1}, {}),
    "polynomial, correlation, sphere": (
        {"teacher": STAIRCASE, "loss": "correlation"},
        {"constraint": "sphere"},
    ),
}


def system(name, rate=0.4):
    given, options = SYSTEMS[name]
    given = dict(given)
    teacher = given.pop("teacher", None)
    neti, theta = network(**given)
    if teacher is not None:
        neti = neti.replace(teacher=teacher)
    if name == "one frozen student":
        rate = [rate, 0.0, rate / 2]
    return inf.OrderParameters(neti, rate, **options), theta


@pytest.mark.parametrize("name", SYSTEMS)
def test_jacobian(name):
    dynamics, theta = system(name)
    equations = dynamics.equations
    z = equations.coordinates.pack(dynamics.state(theta))
    J = equations.jacobian(z)
    scale = max(1.0, np.abs(J).max())
    np.testing.assert_allclose(J, differences(equations.value, z), atol=2e-9 * scale)
    assert len(dynamics.variables) == len(z)


@pytest.mark.parametrize("name", SYSTEMS)
def test_right_hand_side_is_that_of_many_single_steps(name):
    """The mean change of the overlaps over fresh steps from one point, at D times as many."""
    dynamics, theta = system(name, rate=0.3)
    big = 1200
    lifted = dynamics.lift(dynamics.state(theta), big, rng=0)
    start = dynamics.state(theta)
    expected = dynamics.equations.coordinates.pack(dynamics.derivative(start))
    from infflow.online.runs.simulation import Descent, simulate
    from infflow.online.runs.weights import group_sizes, overlaps

    sizes = group_sizes(dynamics.equations.model.groups.shares, big)
    variances = np.repeat(dynamics.equations.eigenvalues, sizes)
    descent = Descent(lifted.neti, variances, dynamics.equations.model, dynamics._schedule)
    V = lifted.neti.teacher_units.W
    cuts = np.cumsum(sizes)[:-1]
    where = dynamics.equations.coordinates
    rng = np.random.default_rng(1)
    first = where.pack(start)
    changes = []
    for _ in range(1500):
        ((W, v),) = simulate(descent, lifted.theta, np.array([1]), rng)
        changes.append((where.pack(overlaps(W, V, v, cuts)) - first) * big)
    mean = np.mean(changes, axis=0)
    error = np.std(changes, axis=0) / np.sqrt(len(changes))
    # five standard errors, and what is of order 1/D
    assert (np.abs(mean - expected) < 5 * error + 0.01 * np.abs(expected).max()).all()


def test_one_group_is_standard_normal_input():
    """Scaled input is scaled weights: lambda = 4 doubles all pre-activations."""
    neti, theta = network(noise=0.2)
    plain = inf.OrderParameters(neti, 0.4)
    spectrum = inf.OrderParameters(neti, 0.4, spectrum=inf.Spectrum([1.0], [1.0]))
    np.testing.assert_array_equal(
        plain.solve(theta, 5.0).Q, spectrum.solve(theta, 5.0).Q_groups[:, 0]
    )
    wide = inf.OrderParameters(neti.replace(input=inf.Gaussian(0.0, 4.0 * np.eye(D))), 0.4 / 4)
    student = neti.student
    (W, _), (v, _) = student.unpack(theta)
    halved = student.pack([(W / 2, None), (v, None)])
    star = neti.teacher.theta.copy()
    neti.teacher.net.unpack(star)[0][0][:] /= 2
    wide = inf.OrderParameters(
        neti.replace(
            input=inf.Gaussian(0.0, 4.0 * np.eye(D)),
            teacher=inf.Teacher(neti.teacher.net, star, noise=0.2),
        ),
        0.1,
        0.4,
    )
    np.testing.assert_allclose(
        wide.solve(halved, 5.0, rtol=1e-10, atol=1e-12).Q,
        plain.solve(theta, 5.0, rtol=1e-10, atol=1e-12).Q,
        atol=1e-8,
    )


def test_equal_spectra_are_equal_dynamics():
    """A spectrum, a matrix with weights that are spread alike, and groups that are split."""
    neti, theta = network()
    whole = inf.Spectrum([2.0, 0.5], [0.25, 0.75])
    dynamics = inf.OrderParameters(neti, 0.3, spectrum=whole)
    result = dynamics.solve(theta, 8.0)
    assert result.Q_groups.shape == (100, 2, 2, 2)
    np.testing.assert_allclose(
        np.einsum("g,tgik->tik", whole.eigenvalues, result.Q_groups), result.Q, rtol=1e-13
    )
    again = dynamics.solve(result.state(0), 8.0)
    np.testing.assert_allclose(again.Q, result.Q, rtol=1e-12)
    split = inf.Spectrum([2.0, 0.5, 0.5 + 1e-7], [0.25, 0.25, 0.5])
    other = inf.OrderParameters(neti, 0.3, spectrum=split).solve(theta, 8.0)
    assert other.Q_groups.shape[1] == 3
    np.testing.assert_allclose(other.Q, result.Q, atol=1e-6)


@pytest.mark.parametrize("f", ["erf", "relu"])
def test_small_rates_give_the_flow_of_the_same_covariance(f):
    neti, theta = network(f, f, input=coloured())
    rate = 1e-6
    times = np.array([0.0, 0.5, 2.0, 5.0])
    online = inf.OrderParameters(neti, rate).solve(
        theta, t_eval=times / rate, rtol=1e-10, atol=1e-12
    )
    flow = inf.train(
        neti,
        theta,
        t_eval=times,
        t_end=5.0,
        rtol=1e-10,
        atol=1e-12,
        max_steps_newton=0,
        observables=["overlaps"],
        progress=False,
    )
    overlaps = flow.trajectory.observables["overlaps"]
    # the noise of single samples is of order of the rate
    np.testing.assert_allclose(online.Q, overlaps[:, :, :2], atol=2e-5)
    np.testing.assert_allclose(online.R, overlaps[:, :, 2:], atol=2e-5)


SIMULATED = {
    "coloured erf": 0.3,
    "sphere": 0.3,
    "batches": 0.5,
    "noisy students": 0.3,
    "polynomial": 0.05,
    "polynomial, coloured": 0.03,
}


@pytest.mark.parametrize("name", SIMULATED)
def test_simulations(name):
    """Means of runs are the solutions, and their scatter falls like the root of the dimension."""
    dynamics, theta = system(name, rate=SIMULATED[name])
    times = np.array([0.0, 1.0, 3.0])
    expected = dynamics.solve(theta, t_eval=times)
    spread = []
    for size, count in ((120, 24), (480, 12)):
        runs = np.array([dynamics.simulate(theta, size, times, seed).Q for seed in range(count)])
        scatter = runs.std(axis=0, ddof=1)[1:]
        gap = np.abs(runs.mean(axis=0) - expected.Q)[1:]
        # four standard errors, and a bias of order 1/D
        assert (gap < 4 * scatter / np.sqrt(count) + 6.0 / size).all()
        spread.append(np.linalg.norm(scatter))
    if name != "sphere":  # whose lengths don't scatter at all
        assert 1.3 < spread[0] / spread[1] < 3.2  # 2 in the limit


def test_spheres_keep_lengths():
    for name in ("sphere", "sphere, coloured", "polynomial, correlation, sphere"):
        dynamics, theta = system(name)
        result = dynamics.solve(theta, 20.0)
        lengths = np.einsum("tgii->ti", result.Q_groups)
        np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), rtol=1e-6)
    run = dynamics.simulate(theta, 100, [0.0, 2.0], rng=0)
    np.testing.assert_allclose(np.einsum("tii->ti", run.Q)[1], lengths[0], rtol=1e-12)


def test_single_index_on_a_sphere():
    """He_2 with the correlation loss: dR/dt = c R (1 - R^2) - noise, in closed form.

    For f = g = He_2 and v = 1 the drift of w is 4 R v, so R' = 2 eta 4 R (1 - R^2) - R q/2 with
    the noise term q = 4 eta^2 E f'^2 y^2.
    """
    hermite = inf.polynomial([-1.0, 0.0, 1.0])
    student = inf.Net([(1, hermite, False), (1, "identity", False)], input_dim=D)
    teacher = inf.PolynomialTeacher({(2,): np.sqrt(2.0)}, np.eye(1, D))
    neti = inf.NetI(student, teacher, loss="correlation")
    eta = 0.01
    dynamics = inf.OrderParameters(neti, eta, 0.0, constraint="sphere")
    R = 0.3
    state = ([[1.0]], [[R]], [1.0])
    mean = 4 * R * (1 - R * R)  # of E[f'(h) y (v - R w).x] = 4 R (1 - R^2)
    z = np.random.default_rng(0).standard_normal((2_000_000, 2))
    h = z[:, 0]
    y = R * z[:, 0] + np.sqrt(1 - R * R) * z[:, 1]
    q = 4 * eta**2 * np.mean((2 * h * (y * y - 1)) ** 2)
    found = dynamics.derivative(state)
    assert found.Q[0, 0] == pytest.approx(0.0, abs=1e-14)
    assert found.R[0, 0] == pytest.approx(2 * eta * mean - R * q / 2, rel=1e-3)


def test_frozen_students_stay():
    dynamics, theta = system("one frozen student")
    result = dynamics.solve(theta, 10.0)
    np.testing.assert_array_equal(result.Q[:, 1, 1], result.Q[0, 1, 1])
    np.testing.assert_array_equal(result.R[:, 1], np.broadcast_to(result.R[0, 1], (100, 2)))
    assert np.abs(result.R[-1, 0] - result.R[0, 0]).max() > 0.1
    fixed = inf.OrderParameters(dynamics.neti, [0.4, 0.0, 0.4], 0.0).fixed_point(result.state())
    assert len(fixed.eigenvalues) == 5 + 4  # all but Q[1,1] and R[1]


def test_large_batches_are_the_flow():
    neti, theta = network(noise=0.5)
    times = np.array([0.0, 5.0])
    one, many = (
        inf.OrderParameters(neti, 0.2, batch_size=b).solve(theta, t_eval=times) for b in (1, 10**9)
    )
    slow = inf.OrderParameters(neti, 0.2e-6).solve(theta, t_eval=times * 1e6)
    np.testing.assert_allclose(many.Q, slow.Q, atol=1e-5)
    assert np.abs(one.Q - slow.Q).max() > 1e-2


# -------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("solver", ["cvode_bdf", "radau", "bdf"])
def test_piecewise_constant_rates_are_runs_one_after_the_other(solver):
    neti, theta = network(noise=0.3)
    schedule = {"learning_rate": [(0, 0.5), (4, 0.1)], "noise": [(0, 0.0), (2, 0.3)]}
    options = {"solver": solver, "rtol": 1e-10, "atol": 1e-12}
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    dynamics = inf.OrderParameters(neti, 0.5, 0.2, schedule=schedule)
    result = dynamics.solve(theta, t_eval=times, **options)
    assert result.status is OnlineStop.T_END
    silent = neti.replace(teacher=inf.Teacher(neti.teacher.net, neti.teacher.theta))
    state = dynamics.state(theta)
    parts = []
    for each, rate, span in ((silent, 0.5, 2.0), (neti, 0.5, 2.0), (neti, 0.1, 2.0)):
        run = inf.OrderParameters(each, rate, 0.2).solve(state, span, **options)
        state = run.state()
        parts.append(state.Q)
    np.testing.assert_allclose(result.Q[[2, 4, 5]], parts, atol=1e-8)


def test_smooth_schedules():
    """A rate that falls: time can be rescaled where there is no noise of samples."""
    neti, theta = network()
    dynamics = inf.OrderParameters(
        neti,
        1.0,
        schedule={name: lambda t: 0.1 / (1 + t) for name in inf_rates()},
        batch_size=10**9,
    )
    constant = inf.OrderParameters(neti, 0.1, batch_size=10**9)
    end = 20.0
    result = dynamics.solve(theta, t_eval=[0.0, end], rtol=1e-10, atol=1e-12)
    expected = constant.solve(theta, t_eval=[0.0, np.log1p(end)], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.Q, expected.Q, atol=1e-7)
    with pytest.raises(MethodError, match="schedule"):
        dynamics.fixed_point(theta)
    with pytest.raises(TooLargeError, match="1000000000 samples"):
        dynamics.simulate(theta, 60, [0.0, 1.0], rng=0)
    falling = inf.OrderParameters(neti, 1.0, schedule={"learning_rate": lambda t: 0.1 / (1 + t)})
    assert falling.simulate(theta, 60, [0.0, 1.0], rng=0).status is OnlineStop.SIMULATED


def inf_rates():
    return ("learning_rate", "second_layer_rate")


def test_tasks_with_a_head_each():
    """Two teachers one after the other: the first is forgotten while the second is learned."""
    student = inf.Net([(2, "erf", False), (2, "identity", False)], input_dim=D)
    target = inf.Net([(2, "erf", False), (2, "identity", False)], input_dim=D)
    neti = inf.NetI(
        student, inf.Teacher(target, target.pack([(np.eye(2, D), None), (np.eye(2), None)]))
    )
    schedule = {"outputs": [(0, [1.0, 0.0]), (60, [0.0, 1.0])]}
    dynamics = inf.OrderParameters(neti, 0.8, 0.4, schedule=schedule)
    theta = 0.3 * inf.random_params(student, rng=1)
    result = dynamics.solve(theta, t_eval=[0.0, 59.9, 120.0])
    first, second = result.output_errors.T
    assert first[1] < 0.01 * first[0] and first[2] > 5 * first[1]
    assert second[2] < 0.05 * second[1]
    np.testing.assert_allclose(result.output_errors.sum(axis=1), result.generalization_error)
    np.testing.assert_array_equal(result.v[1, 1], result.v[0, 1])  # the second head has not moved


# -------------------------------------------------------------------------------- linear networks


def test_linear_error_is_a_sum_of_exponentials():
    """Q^g and R^g of a linear student decay as exp(-2 eta lambda_g t) where batches are large."""
    net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    spectrum = inf.Spectrum.power_law(1.0, 30)
    dynamics = inf.OrderParameters(neti, 0.5, 0.0, spectrum=spectrum, batch_size=10**12)
    G = len(spectrum)
    zero = (np.zeros((G, 1, 1)), np.zeros((G, 1, 1)), [1.0])
    times = np.array([0.0, 0.3, 1.0, 10.0, 100.0])
    result = dynamics.solve(zero, t_eval=times, rtol=1e-11, atol=1e-14)
    weights = spectrum.eigenvalues * spectrum.shares
    decay = np.exp(-4 * 0.5 * np.outer(times, spectrum.eigenvalues))
    np.testing.assert_allclose(result.generalization_error, decay @ weights, rtol=1e-7)


def test_power_law_of_the_error():
    """Eigenvalues l^-(1 + beta): the error falls like t^(-beta/(1 + beta)) (Worschech, Rosenow)."""
    beta = 0.8
    spectrum = inf.Spectrum.power_law(beta, 10**5, nodes=60)
    t = np.geomspace(1e-1, 1e1, 20)
    full = inf.Spectrum.power_law(beta, 10**5)
    weights = full.eigenvalues * full.shares
    exact = np.exp(-2.0 * np.outer(t, full.eigenvalues)) @ weights
    net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    dynamics = inf.OrderParameters(neti, 0.5, 0.0, spectrum=spectrum, batch_size=10**12)
    G = len(spectrum)
    zero = (np.zeros((G, 1, 1)), np.zeros((G, 1, 1)), [1.0])
    result = dynamics.solve(zero, t_eval=np.r_[0.0, t], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(result.generalization_error[1:], exact, rtol=1e-3)
    slope = np.polyfit(np.log(t), np.log(result.generalization_error[1:]), 1)[0]
    assert slope == pytest.approx(-beta / (1 + beta), abs=0.03)


def test_plateaus_shrink_with_the_spread_of_eigenvalues():
    """Yoshida and Okada (2019), two erfs: lengths of 140, 86 and 70 were measured."""
    neti, _ = network("erf", "erf", K=2, M=2)
    target = neti.teacher.net
    neti = neti.replace(
        teacher=inf.Teacher(target, target.pack([(np.eye(2, D), None), (np.ones((1, 2)), None)]))
    )
    lengths = []
    for values in ([1.0], [1.8, 0.2], [2.4, 0.48, 0.12]):
        spectrum = inf.Spectrum(values, np.full(len(values), 1 / len(values)))
        dynamics = inf.OrderParameters(neti, 0.5, 0.0, spectrum=spectrum)
        q = np.array([[0.1, 0.0999], [0.0999, 0.1]])
        r = np.array([[0.01001, 0.00999], [0.00999, 0.01001]])
        if len(spectrum) > 1:
            q, r = (s[:, None, None] * x for x in (q, r) for s in [spectrum.shares])
        result = dynamics.solve((q, r, np.ones(2)), t_eval=np.linspace(0, 2000, 1001))
        half = 0.5 * result.generalization_error[10]
        lengths.append(result.t[np.flatnonzero(result.generalization_error < half)[0]])
    assert lengths[1] < 0.7 * lengths[0]
    assert lengths[2] < 0.9 * lengths[1]


def test_polynomials_and_networks_of_cubes():
    """z1 z2 z3 as a polynomial, and as its four cubes."""
    V = np.eye(3, D)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=2)))
    net = inf.Net([(4, "cube", False), (1, "identity", False)], input_dim=D)
    rows = V[0] + signs @ V[1:]
    cubes = inf.Teacher(net, net.pack([(rows, None), (signs.prod(axis=1)[None] / 24, None)]))
    parity = inf.PolynomialTeacher({(1, 1, 1): 1.0}, V)
    student = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=D)
    theta = inf.random_params(student, rng=3)
    one, two = (
        inf.OrderParameters(inf.NetI(student, each), 0.1).solve(theta, 3.0)
        for each in (parity, cubes)
    )
    np.testing.assert_allclose(one.Q, two.Q, rtol=1e-6)
    np.testing.assert_allclose(one.generalization_error, two.generalization_error, rtol=1e-6)
    assert one.R.shape[2] == 3  # overlaps with the directions
    neti = inf.NetI(student, parity)
    dynamics = inf.OrderParameters(neti, 0.1)
    assert dynamics.generalization_error(theta) == pytest.approx(inf.loss(neti, theta), rel=1e-12)
    lifted = dynamics.lift(dynamics.state(theta), 40)
    assert inf.loss(*lifted) == pytest.approx(inf.loss(neti, theta), rel=1e-12)


def test_lift_of_coloured_input():
    neti, theta = network(input=coloured())
    dynamics = inf.OrderParameters(neti, 0.1)
    lifted = dynamics.lift(theta, 48, rng=1)
    assert inf.loss(*lifted) == pytest.approx(inf.loss(neti, theta), rel=1e-12)
    with pytest.raises(InvalidValueError, match="one group of eigenvalues has"):
        dynamics.lift(theta, 6)


def test_results_with_groups_are_saved(tmp_path):
    pytest.importorskip("xarray")
    neti, theta = network(input=coloured())
    result = inf.OrderParameters(neti, [0.1, 0.2]).solve(theta, 1.0)
    result.save(tmp_path / "run.npz")
    again = type(result).load(tmp_path / "run.npz")
    np.testing.assert_array_equal(again.Q_groups, result.Q_groups)
    assert again.settings == result.settings
    assert result.to_xarray()["R_groups"].shape == result.R_groups.shape
    assert result.plot() is not None


# --------------------------------------------------------------------------------------- bad input


def test_spectra():
    with pytest.raises(InvalidValueError, match=r"-0\.5 as the smallest"):
        inf.Spectrum([1.0, -0.5], [0.5, 0.5])
    with pytest.raises(InvalidValueError, match=r"add up to 1\.1"):
        inf.Spectrum([1.0, 0.5], [0.5, 0.6])
    with pytest.raises(InvalidValueError, match="positive"):
        inf.Spectrum([1.0, 0.5], [1.0, 0.0])
    with pytest.raises(ShapeError, match="shares"):
        inf.Spectrum([1.0, 0.5], [1.0])
    with pytest.raises(InvalidValueError, match="beta"):
        inf.Spectrum.power_law(-1.0, 10)
    spectrum = inf.Spectrum([0.5, 2.0, 0.5], [0.25, 0.5, 0.25])
    assert spectrum.eigenvalues.tolist() == [2.0, 0.5] and spectrum.shares.tolist() == [0.5, 0.5]
    rule = inf.Spectrum.power_law(1.3, 500, nodes=20)
    full = inf.Spectrum.power_law(1.3, 500)
    for t in (0.01, 0.1, 1.0):
        means = [(s.shares * np.exp(-t * s.eigenvalues)).sum() for s in (rule, full)]
        assert means[0] == pytest.approx(means[1], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, InvalidValueError, "batch_size"),
        ({"batch_size": 1.5}, InvalidTypeError, "batch_size"),
        ({"constraint": "torus"}, UnknownNameError, "constraint"),
        ({"learning_rate": [0.1, 0.1, 0.1]}, ShapeError, "2 of them"),
        ({"learning_rate": [0.1, -0.1]}, InvalidValueError, "numbers >= 0"),
        ({"input_noise": -1.0}, InvalidValueError, "input_noise"),
        ({"spectrum": [1.0]}, InvalidTypeError, "inf.Spectrum"),
        ({"schedule": 3.0}, InvalidTypeError, "dictionary"),
        ({"schedule": {"speed": 1.0}}, UnknownNameError, "speed"),
        ({"schedule": {"noise": lambda t: np.nan}}, InvalidValueError, r"noise.* at t = 0"),
        ({"schedule": {"noise": lambda t: [1.0, 2.0]}}, InvalidTypeError, "noise"),
        ({"schedule": {"learning_rate": lambda t: [1.0] * 3}}, ShapeError, "2 of them"),
        ({"schedule": {"ridge": [(1, 0.5)]}}, InvalidValueError, "start at 0"),
        ({"schedule": {"ridge": [(0, 0.5), (0, 0.1)]}}, InvalidValueError, "increase"),
        ({"schedule": {"ridge": [0.5]}}, InvalidTypeError, "pairs"),
    ],
)
def test_bad_arguments(options, error, message):
    neti, _ = network()
    with pytest.raises(error, match=message):
        inf.OrderParameters(neti, **{"learning_rate": 0.1, **options})


def test_other_bad_input():
    neti, theta = network()
    with pytest.raises(InvalidValueError, match="spectrum and a coloured"):
        inf.OrderParameters(
            neti.replace(input=coloured()), 0.1, spectrum=inf.Spectrum([1.0], [1.0])
        )
    late = inf.OrderParameters(
        neti, 0.1, schedule={"noise": lambda t: 0.1 if t < 1 else float("nan")}
    )
    with pytest.raises(InvalidValueError, match="noise"):
        late.solve(theta, 5.0)
    groups = inf.OrderParameters(neti, 0.1, spectrum=inf.Spectrum([2.0, 1.0], [0.5, 0.5]))
    with pytest.raises(ShapeError, match="2 groups"):
        groups.check((np.eye(2), np.zeros((2, 2)), np.ones(2)))
    sphere = inf.OrderParameters(neti, 0.1, constraint="sphere")
    with pytest.raises(InvalidValueError, match="on no sphere"):
        sphere.derivative((np.zeros((2, 2)), np.zeros((2, 2)), np.ones(2)))
    with pytest.raises(inf.SingularMomentError, match="variance of its gradients"):
        inf.OrderParameters(network("sign")[0], 0.1)


@pytest.mark.parametrize(("k", "he"), [(2, [-1, 0, 1]), (3, [0, -3, 0, 1]), (4, [3, 0, -6, 0, 1])])
def test_exponents_of_the_sphere(k, he):
    """Without noise dR/dt = 2 eta k R^(k-1) (1 - R^2) for f = g = He_k: a known time."""
    f = inf.polynomial(np.array(he) / np.sqrt(math.factorial(k)))
    net = inf.Net([(1, f, False), (1, "identity", False)], input_dim=2)
    teacher = inf.PolynomialTeacher({(k,): 1.0}, np.eye(1, 2))
    eta = 0.1
    dynamics = inf.OrderParameters(
        inf.NetI(net, teacher, loss="correlation"),
        eta,
        0.0,
        constraint="sphere",
        batch_size=10**12,
    )
    assert inf.information_exponent(f) == k
    start = 0.05
    end = 0.9
    r = np.linspace(start, end, 200_001)
    time = np.trapezoid(1.0 / (2 * eta * k * r ** (k - 1) * (1 - r * r)), r)
    run = dynamics.solve(([[1.0]], [[start]], [1.0]), t_eval=[0.0, time], rtol=1e-10, atol=1e-12)
    assert run.R[-1, 0, 0] == pytest.approx(end, abs=1e-5)
