"""Flows of losses whose gradient jumps: from kink to kink, along kinks, and to their end."""

from __future__ import annotations

import numpy as np
import pytest

import infflow as inf
from infflow.classification.classify import PointKind
from infflow.flow import SOLVERS, automatic_solver
from infflow.flow.kinks import Field
from infflow.flow.problem import FlowProblem
from infflow.objective import HasPieces
from infflow.stopping import StopReason


def sampled(N, activation="relu", noise=0.1, seed=0, K=2, D=2):
    """Students of as many teachers, with biases."""
    layers = [(K, activation, True), (1, "identity", True)]
    net = inf.Net(layers, input_dim=D)
    teacher = inf.Teacher(net, inf.random_params(net, 50 + seed, init="standard_normal"), noise)
    return inf.NetI(net, teacher).sample(N, rng=seed)


rng = np.random.default_rng(1)
X = rng.normal(size=(11, 3))
VARIANTS = {
    "plain": {},
    "ntk": {"parametrization": "ntk", "ridge": 0.1},
    "weights": {"weights": np.append(rng.uniform(size=10), 0.0)},
    "labels": {"loss": "cross_entropy", "maxnorm": 1.0},
    "mixed": {"activation": ["relu", "tanh", "abs", "leaky_relu(0.3)"]},
}


def variant(options):
    options = dict(options)
    f = options.pop("activation", "relu")
    labels = rng.integers(2, size=11)
    y = labels if "loss" in options else rng.normal(size=(11, 2))
    bias = "ridge" not in options
    return inf.Net([(4, f, bias), (2, "identity", bias)], input=X, target=y, **options)


# ---------------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_pieces_are_the_loss(options):
    net = variant(options)
    theta = inf.random_params(net, 3, init="standard_normal")
    pieces = net.pieces
    assert pieces.size == (10 if "weights" in options else 11) * (
        3 if "activation" in options else 4
    )
    sides = np.sign(pieces.values(theta))
    found = pieces.evaluate(theta, sides, 2)
    expected = net.evaluate(theta, 2)
    assert found.value == pytest.approx(expected.value, rel=1e-13)
    np.testing.assert_allclose(found.g, expected.g, atol=1e-14)
    np.testing.assert_allclose(found.H, expected.H, atol=1e-13)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_jumps_across_kinks(options):
    net = variant(options)
    theta = inf.random_params(net, 3, init="standard_normal")
    pieces = net.pieces
    kink = np.array([pieces.size - 3])
    (normal,) = pieces.normals(kink)
    theta = theta - pieces.values(theta)[kink] * normal / (normal @ normal)
    assert abs(pieces.values(theta)[kink[0]]) <= pieces.rounding(theta)[kink[0]]
    neuron, sample = pieces.neuron_and_sample(int(kink[0]))
    (W, b), _ = net.unpack(net.scaled(theta))
    assert abs(W[neuron] @ X[sample] + (0.0 if b is None else b[neuron])) < 1e-14
    step = 1e-9 * normal
    above, below = (net.evaluate(theta + s * step, 1).g for s in (1, -1))
    jump = pieces.jumps(theta, kink)[0] * normal
    np.testing.assert_allclose(above - below, jump, atol=1e-6)


def test_who_has_pieces():
    assert isinstance(sampled(5), HasPieces)
    deep = inf.Net([(2, "relu", True)] * 2 + [(1, "identity", True)], input=X, target=X[:, 0])
    hard = inf.Net([(2, "hard_tanh", True), (1, "identity", True)], input=X, target=X[:, 0])
    smooth = inf.Net([(2, "tanh", True), (1, "identity", True)], input=X, target=X[:, 0])
    sphere = sampled(5).replace(parametrization="spherical")
    assert not any(isinstance(net, HasPieces) for net in (deep, hard, smooth, sphere))
    assert automatic_solver(10, True, True)[0] == "filippov"
    assert automatic_solver(10, True, False)[0] == automatic_solver(10**4, True, True)[0] == "tsit5"
    assert SOLVERS["filippov"].ends_itself


# --------------------------------------------------------------------------- closed-form solutions


class Wedge:
    """``1 + x^2/2 - beta x y + (y - c)^2/2 + delta max(x, 0)``: a kink at x = 0."""

    num_params = 2

    def __init__(self, beta, c, delta):
        self.beta, self.c, self.delta = beta, c, delta

    size = 1

    @property
    def pieces(self):
        return _WedgePieces(self)

    def evaluate(self, theta, order=0):
        return self.pieces.evaluate(theta, np.sign(theta[:1]), order)


class _WedgePieces:
    size = 1

    def __init__(self, wedge):
        self.wedge = wedge

    def values(self, theta):
        return theta[:1].copy()

    def rounding(self, theta):
        return np.array([1e-14])

    def normals(self, kinks):
        return np.array([[1.0, 0.0]])[: len(kinks)]

    def jumps(self, theta, kinks):
        return np.full(len(kinks), self.wedge.delta)

    def evaluate(self, theta, sides, order):
        x, y = theta
        own = self.wedge
        above = own.delta * (sides[0] > 0)
        value = 1.0 + x * x / 2 - own.beta * x * y + (y - own.c) ** 2 / 2 + above * x
        gradient = np.array([x - own.beta * y + above, y - own.c - own.beta * x])
        hessian = np.array([[1.0, -own.beta], [-own.beta, 1.0]])
        return inf.Evaluation(value, gradient, hessian)


def flow(net, theta, t_end=np.inf, **options):
    settings = {"solver": "filippov", "rtol": 1e-9, "atol": 1e-9, "max_steps_newton": 0}
    return inf.train(net, theta, t_end=t_end, progress=False, **{**settings, **options})


def test_sliding_begins_where_both_sides_push():
    """x = 0 is met at -1 + beta y(t) ..., and left where beta y = delta."""
    beta, c, delta = 0.5, 4.0, 1.0
    leaves = np.log((c - 1.0) / (c - delta / beta))
    times = np.array([0.5 * leaves, leaves, leaves + 0.1])
    res = flow(Wedge(beta, c, delta), [0.0, 1.0], 1.0, t_eval=times)
    x, y = res.trajectory.theta.T
    np.testing.assert_allclose(x[:2], 0.0, atol=1e-12)
    np.testing.assert_allclose(y[:2], c + (1.0 - c) * np.exp(-times[:2]), rtol=1e-9)
    matrix = np.array([[-1.0, beta], [beta, -1.0]])
    values, vectors = np.linalg.eigh(matrix)
    at_rest = -np.linalg.solve(matrix, [-delta, c])
    moved = vectors @ (np.exp(0.1 * values) * (vectors.T @ ([0.0, delta / beta] - at_rest)))
    np.testing.assert_allclose(res.trajectory.theta[2], at_rest + moved, atol=1e-8)
    assert "0 kinks crossed, 1 met to slide along, 1 of these left" in res.flow.note


def test_a_kink_that_holds():
    res = flow(Wedge(0.5, 1.0, 1.0), [-1.0, 0.2])
    assert res.status is StopReason.KINK and res.converged
    np.testing.assert_allclose(res.theta, [0.0, 1.0], atol=1e-14)
    assert res.gradient_norm < 1e-14


def test_a_ridge_is_crossed_once():
    res = flow(Wedge(0.5, 1.0, -1.0), [-0.4, 1.0])
    assert res.flow.note.startswith("1 kink crossed, 0 met")
    assert res.status in (StopReason.ROUNDING_FLOOR, StopReason.MIN_GRADIENT_NORM)
    np.testing.assert_allclose(
        res.theta, np.linalg.solve([[1, -0.5], [-0.5, 1]], [1, 1]), atol=1e-8
    )


# --------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("activation", ["relu", "abs"])
def test_against_short_steps(activation):
    """Euler's method converges to Filippov's solution as its step; its error halves with it."""
    net = sampled(12, activation)
    start = inf.random_params(net, 1)
    found = flow(net, start, 4.0)
    assert any(int(number) for number in found.flow.note.split() if number.isdigit())
    errors = []
    for step in (2e-3, 5e-4):
        theta = start.copy()
        for _ in range(round(4.0 / step)):
            theta -= step * net.evaluate(theta, 1).g
        errors.append(np.abs(theta - found.theta_flow).max())
    assert errors[1] < 0.4 * errors[0] and errors[1] < 2e-3


@pytest.mark.parametrize("noise", [0.1, 0.0])
def test_runs_end(noise):
    net = sampled(100, noise=noise, K=3)
    res = inf.train(net, inf.random_params(net, 2), progress=False)
    assert res.converged and res.flow.method == "filippov"
    if not noise:
        return
    assert res.status is StopReason.KINK
    found = inf.classify(net, res)
    assert found.kind is PointKind.KINK_MINIMUM
    (W, b), _ = net.unpack(res.theta)
    for neuron, sample in found.kinks:
        assert abs(W[neuron] @ net.input[sample] + b[neuron]) < 1e-13
    assert found.flat_dimension + len(found.eigenvalues) + len(found.kinks) == net.num_params
    directions = np.random.default_rng(0).normal(size=(300, net.num_params))
    directions *= 1e-4 / np.linalg.norm(directions, axis=1, keepdims=True)
    assert min(net.evaluate(res.theta + d).value for d in directions) > res.loss


def test_losses_fall():
    net = sampled(40)
    res = flow(net, inf.random_params(net, 3), 50.0, num_trajectory=400)
    assert (np.diff(res.trajectory.loss) <= 1e-15).all()


def test_tolerances_and_frozen_parameters():
    net = sampled(30)
    theta = inf.random_params(net, 4)
    eta = np.ones(net.num_params)
    eta[[0, 5]] = 0.0
    eta[3] = 2.0
    loose, tight = (
        flow(net, theta, 5.0, rtol=r, atol=r, eta=eta).theta_flow for r in (1e-5, 1e-11)
    )
    np.testing.assert_array_equal(loose[[0, 5]], theta[[0, 5]])
    assert np.abs(loose - tight).max() < 1e-4
    slow = inf.train(
        net, theta, solver="tsit5", t_end=5.0, rtol=1e-8, atol=1e-8, eta=eta, max_steps_newton=0,
        progress=False,
    )  # fmt: skip
    assert np.abs(slow.theta_flow - tight).max() < 1e-5


def test_a_run_goes_on_bit_for_bit(tmp_path):
    net = sampled(40)
    theta = inf.random_params(net, 5)
    whole = flow(net, theta, 20.0)
    path = tmp_path / "run.npz"
    first = flow(net, theta, 20.0, checkpoint=path, max_steps_flow=whole.flow.steps // 2)
    assert first.status is StopReason.MAX_STEPS
    second = flow(net, theta, 20.0, checkpoint=path)
    np.testing.assert_array_equal(second.theta_flow, whole.theta_flow)
    assert second.flow.note == whole.flow.note


def test_a_start_on_kinks():
    net = sampled(10)
    theta = inf.random_params(net, 6)
    (W, b), _ = net.unpack(theta)
    b[:] = -W @ net.input[0]  # both neurons, the same sample
    res = flow(net, theta, 1.0)
    assert res.loss < net.evaluate(theta).value


def test_equal_samples_share_their_kinks():
    """Multipliers of equal planes are not unique; the path is that of weights twice as large."""
    net = sampled(15)
    X, y = net.input, net.target
    twice = net.replace(input=np.vstack([X, X]), target=np.vstack([y, y]))
    theta = inf.random_params(net, 7)
    one, two = (flow(each, theta, 30.0) for each in (net, twice))
    assert "0 met" not in one.flow.note
    np.testing.assert_allclose(two.theta_flow, one.theta_flow, atol=1e-6)


# ------------------------------------------------------------------------------ vanishing neurons


def on_sine(N, K, ridge=0.0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 2))
    y = np.sin(X.sum(1)) + 0.1 * rng.standard_normal(N)
    layers = [(K, "relu", True), (1, "identity", True)]
    return inf.Net(layers, input=X, target=y, ridge=ridge)


def test_a_neuron_passes_through_zero():
    """All of its kinks meet there, at t = 33.4; errors go on to be those of the tolerances."""
    net = on_sine(60, 5)
    theta = inf.random_params(net, 10)
    before = flow(net, theta, 33.4)
    (W, b), _ = net.unpack(before.theta_flow)
    assert np.hypot(np.linalg.norm(W, axis=1), b).min() < 1e-3
    loose, tight = (flow(net, theta, 40.0, rtol=r, atol=r) for r in (1e-5, 1e-9))
    assert tight.status is StopReason.T_END and tight.loss < 0.95 * before.loss
    assert np.abs(loose.theta_flow - tight.theta_flow).max() < 1e-4


@pytest.mark.parametrize("seed", [0, 9])
def test_a_neuron_decays_by_ridge(seed):
    """Its kinks are not waited for: the rest of the network is at a minimum without it."""
    net = on_sine(30, 3, ridge=0.1)
    res = inf.train(net, inf.random_params(net, seed), progress=False)
    assert res.status is StopReason.KINK and res.converged
    (W, b), (a, _) = net.unpack(res.theta)
    size = np.sqrt((W**2).sum(axis=1) + b**2)
    gone = int(size.argmin())
    assert size[gone] < 1e-12 and abs(a[0, gone]) < 1e-12
    smaller = on_sine(30, 2, ridge=0.1)
    kept = np.arange(3) != gone
    (W2, b2), (a2, c2) = smaller.unpack(rest := np.empty(smaller.num_params))
    W2[:], b2[:], a2[:], c2[:] = W[kept], b[kept], a[:, kept], net.unpack(res.theta)[1][1]
    assert smaller.evaluate(rest).value == pytest.approx(res.loss, rel=1e-12)


@pytest.mark.parametrize(("target", "leaves"), [(1.0, True), (-1.0, False)])
def test_the_way_out_of_zero(target, leaves):
    """A neuron at zero with output weight 1 grows where samples ask for more, else it rests."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((20, 2))
    layers = [(1, "relu", False), (1, "identity", False)]
    net = inf.Net(layers, input=X, target=np.full(20, target))
    theta = np.array([0.0, 0.0, 1.0])
    field = Field(FlowProblem(net, theta, 1.0, 1e-6, 1e-6))
    assert field.is_corner(theta)
    point, sides = field.way_out(theta, -np.ones(20), 1e-6)
    if leaves:
        assert np.linalg.norm(point - theta) == pytest.approx(1e-6)
        assert net.evaluate(point).value < net.evaluate(theta).value
        np.testing.assert_array_equal(sides, np.sign(field.values(point)))
    else:
        np.testing.assert_array_equal(point, theta)
        assert (sides == 0).all()
        around = 1e-6 * rng.standard_normal((200, 2))
        assert all(net.evaluate([*w, 1.0]).value > net.evaluate(theta).value for w in around)


def test_one_kink_is_no_corner():
    net = sampled(10)
    theta = inf.random_params(net, 6)
    (W, b), _ = net.unpack(theta)
    b[0] = -W[0] @ net.input[0]
    field = Field(FlowProblem(net, theta, 1.0, 1e-6, 1e-6))
    assert len(field.meets(theta)) == 1 and not field.is_corner(theta)


@pytest.mark.parametrize("t_end", [1000.0, 1e6])
def test_rest_on_a_kink_before_t_end(t_end):
    """No search is started from there, which would fail on the kink."""
    net = on_sine(30, 3)
    theta = inf.random_params(net, 1)
    endless = inf.train(net, theta, progress=False)
    res = inf.train(net, theta, t_end=t_end, progress=False)
    assert endless.status is res.status is StopReason.KINK and res.converged
    assert res.newton.steps == 0
    np.testing.assert_allclose(res.theta, endless.theta, atol=1e-8)
    assert flow(net, theta, 5.0).status is StopReason.T_END
