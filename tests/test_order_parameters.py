"""Order parameters of online learning against published formulas, simulation, gradient flow and
quadrature.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import orthant_reference
import pytest

import infflow as inf
from infflow.activations import resolve
from infflow.integrals.fourth.orthant_kernels import moment, sign_moment
from infflow.online import integration, order_parameters
from infflow.online.equations.fourth_moments import ClosedFourthMoments, SampledFourthMoments
from infflow.online.integration import OnlineStop
from infflow.online.times import default_times


def make(f, g, K, M, O=1, noise=0.0, ridge=0.0, seed=0, D=20, **options):
    """A student with random weights and a teacher with almost orthogonal ones."""
    rng = np.random.default_rng(seed)
    student = inf.Net([(K, f, False), (O, "identity", False)], input_dim=D)
    teacher = inf.Net([(M, g, False), (O, "identity", False)], input_dim=D)
    V = np.linalg.qr(rng.standard_normal((D, M)))[0].T + 0.1 * rng.standard_normal(
        (M, D)
    ) / np.sqrt(D)
    theta_star = teacher.pack([(V, None), (1.0 + 0.3 * rng.standard_normal((O, M)), None)])
    neti = inf.NetI(student, inf.Teacher(teacher, theta_star, noise=noise), ridge=ridge, **options)
    theta = student.pack(
        [(rng.standard_normal((K, D)) / np.sqrt(D), None), (rng.standard_normal((O, K)), None)]
    )
    return neti, theta


def random_covariance(rng, n):
    A = rng.standard_normal((n, n + 1)) / 1.5
    return A @ A.T


# ----------------------------------------------------------------------- formulas of Saad and Solla
# (1995), Goldt et al. (2019)


def I2(C):
    return 2 / np.pi * np.arcsin(C[0, 1] / np.sqrt((1 + C[0, 0]) * (1 + C[1, 1])))


def I3(C):
    L3 = (1 + C[0, 0]) * (1 + C[2, 2]) - C[0, 2] ** 2
    return 2 / np.pi / np.sqrt(L3) * (C[1, 2] * (1 + C[0, 0]) - C[0, 1] * C[0, 2]) / (1 + C[0, 0])


def J2(C):
    return 2 / np.pi / np.sqrt(1 + C[0, 0] + C[1, 1] - C[0, 1] ** 2 + C[0, 0] * C[1, 1])


def I4(C):
    (c11, c12, c13, c14), (_, c22, c23, c24), (_, _, c33, c34), (_, _, _, c44) = C
    L4 = (1 + c11) * (1 + c22) - c12**2
    L0 = (
        L4 * c34 - c23 * c24 * (1 + c11) - c13 * c14 * (1 + c22) + c12 * c13 * c24 + c12 * c14 * c23
    )
    L1 = L4 * (1 + c33) - c23**2 * (1 + c11) - c13**2 * (1 + c22) + 2 * c12 * c13 * c23
    L2 = L4 * (1 + c44) - c24**2 * (1 + c11) - c14**2 * (1 + c22) + 2 * c12 * c14 * c24
    return 4 / np.pi**2 / np.sqrt(L4) * np.arcsin(L0 / np.sqrt(L1 * L2))


def published_erf(op, state):
    """dQ, dR, dv by sums over the published integrals; for one output."""
    rates = op.equations.rates
    eta_w = rates.w[0]
    eta_v = rates.v[0]
    noise = rates.noise
    Q, R, v = state
    K = len(Q)
    C = np.block([[Q, R], [R.T, op.T]])
    s = np.concatenate([v[0], -op.neti.teacher_units.B[:, 0]])
    n = len(C)

    def pick(*i):
        return C[np.ix_(i, i)]

    V = np.array(
        [
            [s[i] * sum(s[a] * I3(pick(i, m, a)) for a in range(n)) for m in range(n)]
            for i in range(K)
        ]
    )
    A = np.zeros((K, K))
    for i, k in itertools.product(range(K), repeat=2):
        fourth = sum(s[a] * s[b] * I4(pick(i, k, a, b)) for a in range(n) for b in range(n))
        A[i, k] = s[i] * s[k] * (fourth + noise**2 * J2(pick(i, k)))
    dQ = -2 * eta_w * (V[:, :K] + V[:, :K].T) + 4 * eta_w**2 * A
    dv = [-2 * eta_v * sum(s[a] * I2(pick(i, a)) for a in range(n)) for i in range(K)]
    return dQ, -2 * eta_w * V[:, K:], np.array([dv])


@pytest.mark.parametrize(("K", "M", "noise"), [(1, 1, 0.0), (2, 3, 0.4), (3, 2, 0.1)])
def test_erf_equations_are_the_published_ones(K, M, noise):
    neti, theta = make("erf", "erf", K, M, noise=noise, seed=K)
    op = inf.OrderParameters(neti, 0.7, 0.3)
    state = op.state(theta)
    for found, expected in zip(op.derivative(state), published_erf(op, state), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


def all_moments(activations, C):
    """E[f_i' f_k' f_a f_b] of all neurons."""
    n = len(activations)
    evaluate = ClosedFourthMoments(activations, n)
    return np.stack(
        [evaluate(C, np.tile(np.eye(n)[b], (n, 1)), False).projected for b in range(n)], axis=-1
    )


def test_erf_I4_with_repeated_and_parallel_neurons():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4, 3))  # four neurons in three dimensions
    A[3] = -2.0 * A[0]
    C = A @ A.T
    M = all_moments([resolve("erf")] * 4, C)
    for quadruple in itertools.product(range(4), repeat=4):
        assert M[quadruple] == pytest.approx(
            I4(C[np.ix_(quadruple, quadruple)]), abs=1e-14, rel=1e-13
        )


def test_published_I4_by_sampling():
    rng = np.random.default_rng(1)
    C = random_covariance(rng, 4)
    h = np.linalg.cholesky(C) @ rng.standard_normal((4, 400_000))
    erf = resolve("erf")
    sample = erf.derivative(h[0]) * erf.derivative(h[1]) * erf(h[2]) * erf(h[3])
    assert abs(sample.mean() - I4(C)) < 4 * sample.std() / np.sqrt(sample.size)


# --------------------------------------------------------------------------------------------------
# fourth moments


@pytest.mark.parametrize(
    "p", [(1, 1, 0, 0), (1, 0, -1), (-1, -1), (0, -2, 1), (2, 1, 0, 0), (2, 2, 0, 0)]
)
def test_ramps_and_steps_against_thirty_digits(p):
    rng = np.random.default_rng(2)
    C = random_covariance(rng, 4)
    with mp.workdps(30):
        exact = orthant_reference.moment(p, mp.matrix(C.tolist())[: len(p), : len(p)])
    codes = np.array([*p, *[1] * (4 - len(p))])
    assert moment(codes, C, len(p)) == pytest.approx(float(exact), rel=2e-14)


@pytest.mark.parametrize("correlation", [0.1, 0.4, 0.7, 0.9, 0.97])
def test_every_rule_of_the_orthants(correlation):
    """Canonical correlations from 0.18 to 0.985: each of the five rules is used."""
    C = np.full((4, 4), correlation) + np.diag([1.0, 1.2, 0.9, 1.1]) * (1.0 - correlation)
    C[0, 2] -= 0.3 * (1.0 - correlation)
    C[2, 0] = C[0, 2]
    with mp.workdps(20):
        exact = float(orthant_reference.orthant(mp.matrix(C.tolist())))
    probability = moment(np.array([1, 1, 1, 1]), C, 4)
    assert probability == pytest.approx(exact, rel=1e-14)
    scale = 1.0 / np.sqrt(np.diagonal(C))
    correlations = (C * np.outer(scale, scale))[np.triu_indices(4, 1)]
    pairs = np.arcsin(correlations).sum() * 2.0 / np.pi
    assert (1.0 + pairs + sign_moment(C)) / 16.0 == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("distance", [1e-1, 1e-3])
@pytest.mark.parametrize("where", ["next to teachers", "in one plane"])
def test_relu_moment_next_to_linear_dependence(where, distance):
    """The stated loss of accuracy, which information in C alone does not explain but its evaluation
    does.
    """
    rng = np.random.default_rng(3)
    W = rng.standard_normal((4, 6))
    if where == "in one plane":
        W[:, 2:] *= distance
    else:
        W[2:] = W[:2] + distance * W[2:]
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    C = W @ W.T
    with mp.workdps(30):
        exact = float(orthant_reference.moment((1, 1, 0, 0), mp.matrix(C.tolist())))
    assert abs(moment(np.array([1, 1, 0, 0]), C, 4) - exact) < 1e-16 + 1e-17 / distance**2


MIXES = [
    ["relu"] * 4,
    ["leaky_relu", "abs", "relu", "step"],
    ["gelu", "erf", "normal_cdf", "sign"],
    ["gaussian", "relu", "gelu", "identity"],
    ["identity", "square", "relu", "erf"],
    ["relu_power(2)", "leaky_relu(0.2)", "relu_power(2)", "erf"],
]


@pytest.mark.parametrize("names", MIXES, ids="-".join)
def test_closed_forms_agree_with_samples(names):
    activations = [resolve(name) for name in names]
    rng = np.random.default_rng(4)
    C = random_covariance(rng, 4) / 2
    S = rng.standard_normal((2, 4))
    exact = ClosedFourthMoments(activations, 2)(C, S, True)
    sampled = SampledFourthMoments(activations, 2, 200_000, rng)(C, S, True)
    kinked = any(activation.kinks for activation in activations[:2])
    # samples smooth the jumps of f', which costs a tenth of a percent
    allowed = 5 * sampled.standard_error + (3e-3 if kinked else 0.0) * np.abs(exact.value).max()
    assert (np.abs(exact.value - sampled.value) < allowed).all()
    assert (exact.standard_error == 0).all() and (sampled.standard_error > 0).all()
    slopes = (
        exact.slope[:, :, :2],
        sampled.slope[:, :, :2],
    )  # covariances with students: those of teachers do not change
    assert np.abs(slopes[0] - slopes[1]).max() < 0.1 * np.abs(slopes[0]).max()


@pytest.mark.parametrize("name", ["hard_tanh", "mish", "relu_power(2)", "hard_swish"])
def test_fourth_moments_of_own_activations(name):
    """One student and one teacher against a fine grid; how "auto" gets them."""
    f = resolve(name)
    rng = np.random.default_rng(1)
    C = random_covariance(rng, 2) / 2
    S = np.array([[1.0, -0.7]])
    r = np.sqrt(C[0, 0])
    ends = np.sort([-9.0, 9.0, *(kink / r for kink in f.kinks), -3.0, 0.5, 4.0])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    half = np.diff(ends)[:, None] / 2
    x = (ends[:-1, None] + half * (nodes + 1)).ravel()
    w = (half * weights).ravel() * np.exp(-x * x / 2)
    z = np.linspace(-9.0, 9.0, 2001)[:, None]
    h2 = C[0, 1] / r * x + np.sqrt(C[1, 1] - (C[0, 1] / r) ** 2) * z
    squares = np.exp(-z * z / 2) * f.derivative(r * x) ** 2 * (f(r * x) - 0.7 * f(h2)) ** 2
    exact = float((squares * w).sum() * 18.0 / 2000 / (2 * np.pi))
    neti = make(name, name, 1, 1)[0]
    op = inf.OrderParameters(neti, 0.3, samples=1000)
    closed = name == "relu_power(2)"
    assert op.fourth_moments == ("closed" if closed else "sampling")
    evaluator = (
        ClosedFourthMoments([f, f], 1) if closed else SampledFourthMoments([f, f], 1, 20_000, rng)
    )
    found = evaluator(C, S, False)
    smoothing = 0.0 if closed or name == "mish" else 2e-3 * exact
    allowed = 5 * found.standard_error[0, 0] + 1e-5 * exact + smoothing
    assert abs(found.value[0, 0] - exact) <= allowed
    result = op.solve(inf.random_params(neti.student, rng=2), t_end=1.0)
    assert result.generalization_error[-1] < result.generalization_error[0]


def test_standard_error_is_honest():
    """Over 40 seeds the scatter of the estimates is what they state."""
    activations = [resolve("erf")] * 3
    rng = np.random.default_rng(5)
    C = random_covariance(rng, 3)
    S = rng.standard_normal((1, 3))
    exact = ClosedFourthMoments(activations, 1)(C, S, False).value[0, 0]
    found = [
        SampledFourthMoments(activations, 1, 2000, np.random.default_rng(s))(C, S, False)
        for s in range(40)
    ]
    scores = np.array([(r.value[0, 0] - exact) / r.standard_error[0, 0] for r in found])
    assert abs(scores.mean()) < 4 / np.sqrt(40)
    assert 0.75 < scores.std() < 1.45  # chi-square of 40 times Student's t: 95 % lie well inside


# --------------------------------------------------------------------------------------------------
# Jacobian


def differences(function, z, h=1e-4):
    def column(j):
        def at(e):
            y = z.copy()
            y[j] += e
            return function(y)

        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    return np.stack([column(j) for j in range(len(z))], axis=1)


CASES = [
    ("erf", "erf", 2, 2, 1, 0.3, 0.0, {}),
    ("relu", "relu", 2, 2, 1, 0.3, 0.1, {}),
    (["erf", "relu", "gelu"], ["step", "abs"], 3, 2, 2, 0.2, 0.05, {}),
    ("relu", "erf", 1, 3, 2, 0.0, 0.0, {"second_layer_rate": 0.0}),
    ("identity", "square", 2, 2, 1, 0.1, 0.0, {}),
    ("tanh", "erf", 2, 2, 1, 0.2, 0.0, {"samples": 4000}),
    ("erf", "tanh", 2, 1, 2, 0.2, 0.1, {"fourth_moments": "sampling", "samples": 4000}),
]


@pytest.mark.parametrize(("f", "g", "K", "M", "O", "noise", "ridge", "options"), CASES)
def test_jacobian(f, g, K, M, O, noise, ridge, options):
    neti, theta = make(f, g, K, M, O, noise, ridge)
    op = inf.OrderParameters(neti, 0.3, **options)
    equations = op.equations
    z = equations.coordinates.pack(op.state(theta))
    J = equations.jacobian(z)
    # fourth-order differences: h^4 times a fifth derivative, and rounding / h
    assert np.abs(J - differences(equations.value, z)).max() < 1e-10 * max(1.0, np.abs(J).max())


def test_jacobian_with_smoothed_jumps():
    neti, theta = make("relu", "relu", 2, 2)
    op = inf.OrderParameters(neti, 0.3, fourth_moments="sampling", samples=4000)
    z = op.equations.coordinates.pack(op.state(theta))
    J = op.equations.jacobian(z)
    # the sampled relus have kinks, which differences average over: jumps of size 1/samples
    assert np.abs(J - differences(op.equations.value, z, 1e-6)).max() < 2e-4


# -------------------------------------------------------------------------------------------------
# exact solutions


def test_linear_network_has_the_known_solution():
    """One linear neuron, v = 1 fixed: e = Q - 2R + T obeys de/dt = -4 eta (1 - eta) e + 4 eta^2
    noise^2.
    """
    eta = 0.3
    noise = 0.5
    neti, theta = make("identity", "identity", 1, 1, noise=noise)
    op = inf.OrderParameters(neti, eta, 0.0)
    Q, R, _ = op.state(theta)
    star = float(neti.teacher_units.B[0, 0])
    t = np.array([0.0, 0.3, 1.0, 5.0])
    res = op.solve((Q, R, [star]), t_eval=t, rtol=1e-10, atol=1e-12)
    rate = 4 * eta * star**2 * (1 - eta * star**2)
    floor = eta * noise**2 * star**2 / (star**2 * (1 - eta * star**2))
    e0 = star**2 * float(Q[0, 0] - 2 * R[0, 0] + op.T[0, 0])
    expected = floor * star**2 + (e0 - floor * star**2) * np.exp(-rate * t)
    np.testing.assert_allclose(res.generalization_error, expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("f", "g", "rate_v"), [("erf", "relu", 1.0), ("relu", "relu", 0.3), ("tanh", "softplus", 0.0)]
)
def test_small_rates_give_the_gradient_flow(f, g, rate_v):
    """To solver tolerance, with flow time = learning_rate * t and eta of the second layer in units
    of the first's.
    """
    neti, theta = make(f, g, 2, 2, noise=0.2, ridge=0.01)
    rate = 1e-11  # the term of second order is that much smaller
    op = inf.OrderParameters(neti, rate, rate_v * rate, samples=2000)
    times = np.array([0.0, 0.3, 2.0, 10.0])
    online = op.solve(theta, t_eval=times / rate, rtol=1e-10, atol=1e-12)
    lifted = op.lift(theta, D=9, rng=1)
    eta = np.ones(lifted.neti.num_params)
    eta[2 * 9 :] = rate_v
    flow = inf.train(
        *lifted,
        eta=eta,
        t_eval=times,
        t_end=10.0,
        max_steps_newton=0,
        rtol=1e-10,
        atol=1e-12,
        progress=False,
    )
    for k in range(4):
        Q, R, _ = inf.overlaps(lifted.neti, flow.trajectory.theta[k])
        # two solvers at rtol 1e-10 over a flow that spreads errors
        np.testing.assert_allclose(online.Q[k], Q, atol=2e-8)
        np.testing.assert_allclose(online.R[k], R, atol=2e-8)
        np.testing.assert_allclose(
            online.v[k], lifted.neti.unpack(flow.trajectory.theta[k])[1][0], atol=2e-8
        )


# --------------------------------------------------------------------------------------------------
# simulation

SIMULATED = [
    ("erf", "erf", 0.3, {"noise": 0.3, "seed": 1}, {}),
    ("erf", "erf", 0.6, {}, {"second_layer_rate": 0.0}),
    ("relu", "relu", 0.3, {"noise": 0.2, "ridge": 0.02, "seed": 3}, {}),
    (
        "relu",
        "relu",
        0.3,
        {"noise": 0.2, "seed": 3},
        {"fourth_moments": "sampling", "samples": 20_000},
    ),
    ("tanh", "relu", 0.4, {"O": 2, "noise": 0.3}, {"samples": 20_000}),
]


@pytest.mark.parametrize(("f", "g", "rate", "network", "options"), SIMULATED)
def test_simulation(f, g, rate, network, options):
    """Mean of eight runs at D = 500 within its standard error and 1/sqrt(D)-corrections; the flow
    alone is far off.
    """
    neti, theta = make(f, g, 2, 2, **network)
    op = inf.OrderParameters(neti, rate, **options)
    times = np.array([0.0, 1.0, 3.0, 6.0])
    # sampled relus are not smooth: a tolerance below their noise is in vain
    expected = op.solve(theta, t_eval=times, rtol=1e-6, atol=1e-8)
    runs = [op.simulate(theta, D=500, t_eval=times, rng=seed) for seed in range(8)]
    assert all(run.status is OnlineStop.SIMULATED and (run.t == times).all() for run in runs)

    def distances(result):
        scores = []
        for name in ("Q", "R", "v"):
            values = np.array([getattr(run, name)[1:] for run in runs])
            error = np.sqrt(values.var(axis=0, ddof=1).mean() / 8 + (1.0 / 500) ** 2)
            scores.append(np.abs(values.mean(axis=0) - getattr(result, name)[1:]).max() / error)
        return max(scores)

    assert distances(expected) < 4.5  # the largest of up to 24 numbers in units of a standard error
    slow = inf.OrderParameters(
        neti, rate * 1e-6, 1e-6 * options.get("second_layer_rate", rate), samples=2000
    )
    assert distances(slow.solve(theta, t_eval=times * 1e6)) > 6.0


def test_simulation_is_plain_gradient_descent_on_single_samples():
    neti, theta = make("tanh", "erf", 2, 2, O=2, noise=0.1, ridge=0.1, D=12)
    op = inf.OrderParameters(neti, 0.5, 0.2, samples=2000)
    lifted = op.lift(theta, 12, np.random.default_rng(7))
    found = op.simulate(theta, 12, [0.0, 5 / 12], rng=7)
    rng = np.random.default_rng(7)
    op.lift(theta, 12, rng)  # draws what simulate drew
    X = rng.standard_normal((6, 12))
    y = lifted.neti.teacher.predict(X)
    point = lifted.theta.copy()
    step = np.r_[np.full(24, 0.5 / 12), np.full(4, 0.2 / 12)]
    for k in range(5):
        label = y[k : k + 1] + 0.1 * rng.standard_normal((2, 1)).T
        net = inf.Net(lifted.neti.layers, input=X[k : k + 1], target=label, ridge=0.1)
        point -= step * inf.gradient(net, point)
    Q, R, _ = inf.overlaps(lifted.neti, point)
    np.testing.assert_allclose(found.Q[1], Q, rtol=1e-12)
    np.testing.assert_allclose(found.R[1], R, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.v[1], lifted.neti.unpack(point)[1][0], rtol=1e-12)
    assert found.steps == 5


# --------------------------------------------------------------------------------------------------
# the interface


def test_lift_and_back():
    neti, theta = make("erf", "relu", 3, 2, O=2, noise=0.3, ridge=0.1)
    op = inf.OrderParameters(neti, 0.1)
    state = op.state(theta)
    for D in (5, 40):
        lifted = op.lift(state, D, rng=3)
        Q, R, T = inf.overlaps(*lifted)
        np.testing.assert_allclose(Q, state.Q, atol=1e-14)
        np.testing.assert_allclose(R, state.R, atol=1e-14)
        np.testing.assert_allclose(T, op.T, atol=1e-14)
        assert inf.loss(*lifted) == pytest.approx(inf.loss(neti, theta), rel=1e-13)
        error = op.generalization_error(state) + 2 * 0.3**2
        assert inf.loss(*lifted) == pytest.approx(
            error + 0.05 * lifted.theta @ lifted.theta, rel=1e-13
        )
    singular = op.state(neti.pack([(np.zeros((3, 20)), None), (np.ones((2, 3)), None)]))
    assert np.abs(inf.overlaps(*op.lift(singular, 5)).Q).max() < 1e-15


def test_rates_for_half_of_the_loss():
    neti, theta = make("erf", "erf", 2, 2, noise=0.2)
    ours = inf.OrderParameters(neti, 0.4, 0.1)
    theirs = inf.OrderParameters(neti, 0.8, 0.2, half_loss=True)
    for a, b in zip(ours.derivative(theta), theirs.derivative(theta), strict=True):
        np.testing.assert_array_equal(a, b)


def test_solvers_agree_and_report():
    neti, theta = make("erf", "erf", 2, 2, noise=0.2)
    op = inf.OrderParameters(neti, 0.5)
    results = [
        op.solve(theta, 20.0, solver=name, num_trajectory=8)
        for name in ("cvode_bdf", "radau", "bdf")
    ]
    for res in results:
        assert res.status is OnlineStop.T_END and len(res) == 8
        assert res.t[0] == 0.0 and res.t[-1] == 20.0
        np.testing.assert_array_equal(res.Q[0], op.state(theta).Q)
        np.testing.assert_allclose(
            res.generalization_error[-1], op.generalization_error(res.state()), rtol=1e-13
        )
        assert 0 < res.jacobians < res.steps <= res.evaluations
        assert res.fourth_moments == "closed" and res.sampling_error == 0.0
        # global errors at rtol 1e-8
        np.testing.assert_allclose(res.R, results[0].R, atol=2e-6)
    assert "The dynamics reached t_end." in repr(results[0])


def test_sampling_states_its_error():
    neti, theta = make("tanh", "tanh", 2, 1)
    runs = [
        inf.OrderParameters(neti, 0.5, samples=4000, rng=seed).solve(theta, 2.0)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(runs[0].Q, runs[1].Q)
    assert runs[0].fourth_moments == "sampling" and runs[0].sampling_error > 0.0
    difference = np.abs(runs[0].Q[-1] - runs[2].Q[-1]).max()
    assert (
        0.0 < difference < 10 * 2.0 * runs[0].sampling_error
    )  # error of dQ/dt times time, as a scale


@pytest.mark.parametrize("rate", [0.2, 2.0])
def test_relu_students_meet_their_teachers(rate):
    """Without noise Q, R run into the boundary of what overlaps can be; the solver must neither
    stall nor leave.
    """
    neti, theta = make("relu", "relu", 3, 2, seed=1)
    res = inf.OrderParameters(neti, rate).solve(theta, 1e4)
    assert res.status is OnlineStop.T_END and res.steps < 3000
    assert 0 < res.generalization_error[-1] < 1e-6
    smallest = [
        np.linalg.eigvalsh(np.block([[Q, R], [R.T, res.T]]))[0]
        for Q, R in zip(res.Q, res.R, strict=True)
    ]
    assert min(smallest) > -1e-8  # the tolerances


def test_perfect_student_stays():
    neti, _ = make("erf", "erf", 2, 2)
    op = inf.OrderParameters(neti, 0.5)
    units = neti.teacher_units
    state = (op.T, op.T, units.B.T)
    assert max(np.abs(x).max() for x in op.derivative(state)) < 1e-14


def test_stops():
    neti, theta = make("erf", "erf", 2, 2)
    op = inf.OrderParameters(neti, 0.5)
    reached = op.solve(theta, 1e4, min_error=0.01)
    assert (
        reached.status is OnlineStop.MIN_ERROR and 0.005 < reached.generalization_error[-1] <= 0.01
    )
    assert reached.t[-1] < 1e4
    few = op.solve(theta, 1e4, max_steps=5)
    assert few.status is OnlineStop.MAX_STEPS and few.steps == 5
    assert op.solve(theta, 1e4, max_time=1e-9).status is OnlineStop.MAX_TIME
    linear, start = make("identity", "identity", 1, 1)
    for solver in ("cvode_bdf", "radau"):
        far = inf.OrderParameters(linear, 3.0, 0.0).solve(start, 100.0, solver=solver)
        assert far.status is OnlineStop.DIVERGED and "too high" in far.status.message
        assert np.isfinite(far.generalization_error).all()


@pytest.mark.parametrize("solver", ["cvode_bdf", "radau", "bdf"])
def test_a_divergence_in_finite_time_is_called_one(solver):
    """The step size falls to rounding in front of the pole, where errors are of the order of 1e9 to
    1e14.
    """
    hermite = inf.polynomial([0.0, -3.0, 0.0, 1.0])
    student = inf.Net([(1, hermite, False), (1, "identity", False)], input_dim=4)
    teacher = inf.Teacher(student, inf.random_params(student, rng=1, init="standard_normal"))
    op = inf.OrderParameters(inf.NetI(student, teacher), 0.1)
    found = op.solve(inf.random_params(student, rng=2), 100.0, solver=solver)
    assert found.status is OnlineStop.DIVERGED and "learning_rate" in found.status.message
    assert "double within" in found.note and found.t[-1] < 100.0
    assert np.isfinite(found.generalization_error).all()


def test_a_failure_that_is_no_divergence_stays_one(monkeypatch):
    neti, theta = make("erf", "erf", 2, 2)
    op = inf.OrderParameters(neti, 0.5)

    def singular(z):
        raise inf.errors.SingularMomentError("no derivative here")

    monkeypatch.setattr(op.equations, "jacobian", singular)
    assert op.solve(theta, 10.0).status is OnlineStop.SOLVER_FAILED


@pytest.mark.parametrize("solver", ["cvode_bdf", "radau", "bdf"])
def test_the_limit_of_time_is_kept_to_within_one_evaluation(solver, monkeypatch):
    """Evaluations take a second of a clock that only they move; sampling errors of the kept points
    end with it, too.
    """
    neti, theta = make("tanh", "tanh", 2, 2)
    op = inf.OrderParameters(neti, 0.1)
    now = [0.0]

    def slow(name):
        function = getattr(op.equations, name)

        def wrapped(z):
            now[0] += 1.0
            return function(z)

        monkeypatch.setattr(op.equations, name, wrapped)

    for name in ("value", "jacobian", "fourth_error"):
        slow(name)
    for module in (order_parameters, integration):
        monkeypatch.setattr(module, "running_time", lambda: now[0])
    found = op.solve(theta, 1e4, solver=solver, max_time=12.5)
    assert found.status is OnlineStop.MAX_TIME and found.wall_time == 13.0
    assert now[0] == 14.0 and found.sampling_error > 0.0


def net(*layers, **options):
    return inf.Net([*layers], input_dim=4, **options)


def neti_of(student, teacher=None, **options):
    teacher = teacher or net((2, "erf", False), (1, "identity", False))
    return inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 1)), **options)


PLAIN = net((2, "erf", False), (1, "identity", False))


@pytest.mark.parametrize(
    ("neti", "message"),
    [
        (PLAIN, "neti is a Net; an inf.NetI"),
        (neti_of(net((2, "erf", True), (1, "identity", False))), "the student has biases"),
        (neti_of(PLAIN, net((2, "erf", False), (1, "identity", True))), "the teacher has biases"),
        (
            neti_of(net((2, "erf", False), (1, "identity", False), parametrization="ntk")),
            "'standard' is needed",
        ),
        (neti_of(PLAIN, input=inf.Gaussian(np.ones(4), np.eye(4))), "has a mean of length 2"),
        (
            neti_of(
                PLAIN, input=inf.GaussianMixture([0.5, 0.5], np.zeros((2, 4)), [np.eye(4)] * 2)
            ),
            "is a mixture of 2 Gaussians",
        ),
        (neti_of(PLAIN, maxnorm=3.0), "maxnorm is finite"),
        (
            neti_of(net((2, "step", False), (1, "identity", False))),
            "variance of its gradients is infinite",
        ),
    ],
)
def test_networks_that_are_refused(neti, message):
    with pytest.raises(inf.InfflowError, match=message):
        inf.OrderParameters(neti, 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -0.1}, "learning_rate is -0.1; it must be at least 0"),
        ({"learning_rate": np.nan}, "learning_rate is nan"),
        ({"learning_rate": 0.1, "second_layer_rate": -1.0}, "second_layer_rate is -1"),
        ({"learning_rate": 0.0}, "Both rates are 0"),
        ({"learning_rate": 0.1, "fourth_moments": "samplign"}, "Did you mean 'sampling'"),
        ({"learning_rate": 0.1, "samples": 10}, "samples is 10"),
        ({"learning_rate": 0.1, "half_loss": 1}, "half_loss is 1; True or False"),
        ({"learning_rate": 0.1, "rng": -1}, "must not be negative"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(inf.InfflowError, match=message):
        inf.OrderParameters(neti_of(PLAIN), **arguments)


def test_closed_fourth_moments_of_tanh_do_not_exist():
    neti, _ = make("tanh", "erf", 1, 1)
    with pytest.raises(inf.InfflowError, match="use fourth_moments='sampling'"):
        inf.OrderParameters(neti, 0.1, fourth_moments="closed")


def test_bad_states_and_times():
    op = inf.OrderParameters(neti_of(PLAIN), 0.1)
    Q = np.eye(2)
    R = np.zeros((2, 2))
    v = np.ones(2)
    good = op.check((Q, R, v))
    assert good.v.shape == (1, 2)
    bad = [
        ((Q, R), "tuple \\(Q, R, v\\) is needed"),
        ((Q, np.zeros((2, 3)), v), "R has shape"),
        ((np.array([[1.0, 0.3], [0.0, 1.0]]), R, v), "Q is not symmetric"),
        ((-Q, R, v), "has the eigenvalue"),
        ((Q, 10 + R, v), "no weights have these overlaps"),
        ((Q, R, np.array([np.inf, 0])), "v contains inf"),
        (np.ones(3), "theta has shape"),
    ]
    for state, message in bad:
        with pytest.raises(inf.InfflowError, match=message):
            op.solve(state, 1.0)
    for options, message in [
        ({}, "neither t_end nor t_eval"),
        ({"t_end": -1.0}, "t_end is -1"),
        ({"t_eval": [1.0, 0.5]}, "increasing times"),
        ({"t_end": 1.0, "t_eval": [0.0, 2.0]}, "after t_end"),
        ({"t_end": 1.0, "solver": "euler"}, "not known"),
        ({"t_end": 1.0, "rtol": 0.0}, "rtol is 0"),
    ]:
        with pytest.raises(inf.InfflowError, match=message):
            op.solve(good, **options)
    with pytest.raises(inf.InfflowError, match="D is 3"):
        op.lift(good, 3)
    relu = inf.OrderParameters(make("relu", "erf", 2, 2)[0], 0.1)
    with pytest.raises(inf.SingularMomentError, match="start from weights that are not zero"):
        relu.derivative((np.zeros((2, 2)), R, v))


def test_order_parameters_of_a_function_teacher_are_refused(monkeypatch):
    neti = neti_of(PLAIN)
    monkeypatch.setattr(neti, "teacher", object())
    with pytest.raises(inf.InfflowError, match="need a network or a polynomial as teacher"):
        order_parameters.OrderParameters(neti, 0.1)


# --------------------------------------------------------------------------------------------------
# fixed points


def committee(K=2, M=2, activation="erf", rate=0.5, second=0.0, noise=0.0):
    """Students that start small, orthonormal teachers with output weights one."""
    student = inf.Net([(K, activation, False), (1, "identity", False)], input_dim=K + M)
    teacher = inf.Net([(M, activation, False), (1, "identity", False)], input_dim=K + M)
    star = teacher.pack([(np.eye(M, K + M), None), (np.ones((1, M)), None)])
    neti = inf.NetI(student, inf.Teacher(teacher, star, noise=noise))
    return inf.OrderParameters(neti, rate, second)


def alike(op, gap=0.0):
    """Both students almost equal, on their way to the plateau."""
    Q = np.full((2, 2), 0.1)
    Q[0, 1] = Q[1, 0] = 0.09
    R = np.full((2, 2), 0.1) + gap * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return Q, R, np.ones(2)


def test_the_plateau_is_a_fixed_point_that_is_left_at_the_rate_of_its_eigenvalue():
    """Independent: the equations themselves, and how a small difference of the students grows when
    they are solved.
    """
    op = committee()
    found = op.fixed_point(op.solve(alike(op), t_end=200.0).state())
    assert found.converged and found.unstable == 1 and found.note == ""
    assert max(np.abs(part).max() for part in op.derivative(tuple(found.state))) < 1e-14
    # the symmetric solution of Saad and Solla: both students alike, and alike to both teachers
    assert found.state.Q[0, 0] == pytest.approx(found.state.Q[1, 1], abs=1e-12)
    assert np.ptp(found.state.R) < 1e-12
    Q, R, v = found.state
    t = np.linspace(0.0, 3.0 / found.eigenvalues[0].real, 13)
    gap = 1e-7 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    run = op.solve((Q, R + gap, v), t_eval=t, rtol=1e-11, atol=1e-14)
    apart = np.abs(run.R[:, 0, 0] - run.R[:, 0, 1])
    late = slice(4, None)
    rate = np.polyfit(t[late], np.log(apart[late]), 1)[0]
    assert rate == pytest.approx(found.eigenvalues[0].real, rel=1e-4)


def test_where_learning_ends():
    op = committee(rate=0.3, second=0.3, noise=0.2)
    run = op.solve(alike(op, 0.01), t_end=2000.0)
    found = op.fixed_point(run.state())
    assert found.converged and found.unstable == 0
    assert op.generalization_error(tuple(found.state)) == pytest.approx(
        run.generalization_error[-1], rel=1e-4
    )
    assert "fixed point" in repr(found) and "0 of 9 directions unstable" in repr(found)


def test_eigenvalues_of_a_linear_network():
    """One linear neuron: R relaxes at 2 eta, Q - 2 R + 1 at 4 eta (1 - eta), to Q = 1 + eta
    noise^2/(1 - eta), R = 1.
    """
    eta = 0.3
    noise = 0.5
    op = committee(1, 1, "identity", eta, 0.0, noise)
    found = op.fixed_point(([[0.5]], [[0.2]], [1.0]))
    np.testing.assert_allclose(
        sorted(found.eigenvalues.real), [-4 * eta * (1 - eta), -2 * eta], rtol=1e-12
    )
    assert found.state.R[0, 0] == pytest.approx(1.0, rel=1e-12) and found.state.v[0, 0] == 1.0
    assert found.state.Q[0, 0] == pytest.approx(1.0 + eta * noise**2 / (1.0 - eta), rel=1e-12)


@pytest.mark.parametrize(("activation", "second"), [("erf", 0.2), ("relu", 0.2), ("gelu", 0.0)])
def test_public_jacobian_is_the_derivative(activation, second):
    op = committee(2, 2, activation, 0.4, second)
    state = op.state(0.4 * np.random.default_rng(2).standard_normal(op.neti.num_params))
    J = op.jacobian(state)
    names = op.variables
    assert (
        names[:3] == ("Q[0,0]", "Q[0,1]", "Q[1,1]")
        and names[3] == "R[0,0]"
        and names[-1] == "v[0,1]"
    )
    pack = op.equations.coordinates.pack
    h = 1e-5
    z = pack(state)
    for k in range(len(names)):
        ahead, behind = (
            op.equations.coordinates.unpack(z + s * h * np.eye(len(z))[k]) for s in (1.0, -1.0)
        )
        change = (pack(op.derivative(tuple(ahead))) - pack(op.derivative(tuple(behind)))) / (2 * h)
        np.testing.assert_allclose(J[:, k], change, rtol=1e-6, atol=1e-8)


def test_parameters_may_be_a_list():
    op = committee(1, 1)
    theta = [0.5, 0.5, 1.0]
    np.testing.assert_array_equal(op.derivative(theta).R, op.derivative(np.array(theta)).R)
    np.testing.assert_array_equal(
        op.lift(theta, 3, rng=0).theta, op.lift(np.array(theta), 3, rng=0).theta
    )


def test_no_fixed_point_is_said():
    op = committee(rate=20.0, noise=1.0)  # learning diverges
    found = op.fixed_point(alike(op))
    assert not found.converged and found.note and "not converged" in repr(found)
    assert "unstable" not in repr(found)  # stability is that of fixed points
    with pytest.raises(inf.InfflowError, match="no weights have these overlaps"):
        op.fixed_point((np.eye(2), 10 * np.ones((2, 2)), np.ones(2)))
    with pytest.raises(inf.InfflowError, match="theta has shape"):
        op.jacobian(np.ones(3))


# ------------------------------------------------------------------------------------------- times,
# files, datasets


@pytest.mark.parametrize("num", [2, 3, 8, 100, 101])
@pytest.mark.parametrize("end", [1e-200, 1.0, 160.0, 1e7])
def test_default_times(num, end):
    t = default_times(end, num)
    assert len(t) == num and t[0] == 0.0 and t[-1] == end and (np.diff(t) > 0.0).all()


def test_default_points_show_the_plateau_on_a_linear_axis():
    """Lines between the default points are within two per cent of the curves that 4000
    points draw.
    """
    op = committee()
    start = alike(op, 1e-3)
    end = 300.0
    few = op.solve(start, end)
    many = op.solve(start, t_eval=np.linspace(0.0, end, 4001))
    for drawn, curve in ((few.R, many.R), (few.Q, many.Q), (few.v, many.v)):
        flat = drawn.reshape(len(few), -1)
        truth = curve.reshape(len(many), -1)
        lines = np.array([np.interp(many.t, few.t, column) for column in flat.T]).T
        assert np.abs(lines - truth).max() < 0.02
    level = op.generalization_error(
        tuple(op.fixed_point(op.solve(alike(op), t_end=200.0).state()).state)
    )
    plateau = np.abs(many.generalization_error / level - 1.0) < 0.05
    share = plateau.mean()
    there = np.abs(few.generalization_error / level - 1.0) < 0.05
    assert share > 0.1 and there.sum() > 0.5 * share * len(few)
    assert (few.t < 0.01 * end).sum() > 20  # the beginning, on a logarithmic axis


@pytest.fixture(scope="module")
def online_run():
    neti, theta = make("erf", "relu", 3, 2, O=2, noise=0.1)
    return inf.OrderParameters(neti, 0.2).solve(theta, 5.0, num_trajectory=9)


def test_files_of_online_results(online_run, tmp_path):
    online_run.save(tmp_path / "run")
    again = type(online_run).load(tmp_path / "run.npz")
    for name, value in vars(online_run).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert again.status is online_run.status and repr(again) == repr(online_run)
    assert again.settings["learning_rate"] == 0.2 and again.settings["noise"] == 0.1
    assert "metadata" in np.load(tmp_path / "run.npz", allow_pickle=False)
    again.settings["note"] = object()
    with pytest.raises(inf.InfflowError, match="what JSON cannot"):
        again.save(tmp_path / "run.npz")
    assert (
        type(again).load(tmp_path / "run.npz").settings == online_run.settings
    )  # what was there is unchanged


def test_files_of_runs_that_diverged(tmp_path):
    linear, start = make("cube", "cube", 1, 1)
    dynamics = inf.OrderParameters(linear, 3.0, 0.0)
    for number, run in enumerate(
        (dynamics.solve(start, 100.0), dynamics.simulate(start, 4, [0.0, 0.5, 1.0, 50.0]))
    ):
        assert run.status in (OnlineStop.DIVERGED, OnlineStop.SOLVER_FAILED)
        run.save(tmp_path / f"{number}.npz")
        again = type(run).load(tmp_path / f"{number}.npz")
        np.testing.assert_array_equal(again.generalization_error, run.generalization_error)


def test_damaged_files_of_online_results(online_run, tmp_path):
    from infflow.online import record
    from infflow.storage import load_archive, save_archive

    file = tmp_path / "run.npz"
    online_run.save(file)
    arrays, known = load_archive(file, "infflow.OnlineResult")
    known.pop("kind")

    def broken(change_arrays=None, change_metadata=None):
        save_archive(
            file,
            "infflow.OnlineResult",
            arrays | (change_arrays or {}),
            known | (change_metadata or {}),
        )
        return file

    for name in record._ARRAYS:
        with pytest.raises(inf.errors.StorageError, match="damaged"):
            type(online_run).load(broken({name: arrays[name][..., :-1]}))
    for metadata, message in (
        ({"format": 3}, "format 3"),
        ({"status": "HAPPY"}, "HAPPY"),
        ({"steps": "many"}, "damaged"),
        ({"settings": None}, "damaged"),
    ):
        with pytest.raises(inf.errors.StorageError, match=message):
            type(online_run).load(broken(None, metadata))
    with pytest.raises(inf.errors.StorageError, match="not finite"):
        type(online_run).load(broken({"Q": np.full_like(arrays["Q"], np.nan)}))
    with pytest.raises(inf.errors.StorageError, match="increase"):
        type(online_run).load(broken({"t": arrays["t"][::-1].copy()}))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(inf.errors.StorageError, match="damaged"):
        type(online_run).load(file)
    with pytest.raises(inf.errors.StorageError, match="does not exist"):
        type(online_run).load(tmp_path / "none.npz")
    online_run.save(file)
    with pytest.raises(inf.errors.StorageError, match=r"of kind 'infflow\.Result' is needed"):
        inf.Result.load(file)


def test_datasets_of_online_results(online_run, tmp_path):
    pytest.importorskip("xarray")
    found = online_run.to_xarray()
    np.testing.assert_array_equal(found["R"].sel(teacher=1), online_run.R[:, :, 1])
    assert dict(found.sizes) == {
        "t": 9,
        "student": 3,
        "student_2": 3,
        "teacher": 2,
        "teacher_2": 2,
        "output": 2,
    }
    assert found.attrs["status"] == "T_END" and '"learning_rate": 0.2' in found.attrs["settings"]
    empty = type(online_run)(**{**vars(online_run), "t": np.zeros(0), "Q": np.zeros((0, 3, 3))})
    with pytest.raises(inf.InfflowError, match="no points"):
        empty.plot()


def test_pictures_of_online_results(online_run):
    from matplotlib.colors import to_hex

    ax = online_run.plot()
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == len(online_run)]
    shown = [
        *online_run.R.reshape(9, -1).T,
        *np.array([online_run.Q[:, i, k] for i in range(3) for k in range(i, 3)]),
    ]
    for curve in [*shown, online_run.generalization_error]:
        assert any(np.array_equal(curve, y) for y in drawn)
    assert len(drawn) == 13 and ax.get_xscale() == ax.get_yscale() == "linear"
    assert ax.get_legend() is not None and online_run.plot(ax=ax) is ax
    with pytest.raises(inf.InfflowError, match="OnlineResult"):
        inf.plotting.plot_order_parameters(object())
    neti, theta = make("erf", "erf", 12, 1)  # more students than colours of the style
    many = inf.OrderParameters(neti, 0.2).solve(theta, 0.1, num_trajectory=2)
    assert len({to_hex(line.get_color()) for line in many.plot().lines}) >= 12


def test_script(tmp_path):
    root = Path(__file__).parents[1]
    command = [
        sys.executable,
        "-W",
        "error",
        "scripts/order_parameters.py",
        "--quick",
        "--dimension",
        "50",
        "--runs",
        "2",
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, cwd=root, timeout=300
    )
    assert done.returncode == 0, done.stderr
    erf, relu = json.loads((tmp_path / "order_parameters.json").read_text())
    assert erf["dimension"] == 50 and relu["runs"] == 2
    for row in (erf, relu):
        assert (
            row["largest_R_difference"] < 5 * row["R_scatter_of_one_run"] + 0.2
        )  # two runs in 50 dimensions
    assert (tmp_path / "order_parameters.png").read_bytes().startswith(b"\x89PNG")
    bad = subprocess.run(
        [*command, "--runs", "1", "--out", str(tmp_path)], capture_output=True, text=True, cwd=root
    )
    assert bad.returncode == 2 and "--runs at least 2" in bad.stderr
