"""Ends of paths at infinity: the loss there, the way to it, and what train and classify say."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

import infflow as inf
from infflow.channels import EndKind, EndUnit, Limit, Verdict, find_limit, units_at
from infflow.channels.asymptotes import kinked, side_of
from infflow.channels.chart import chart_of, tangent, unit_rows_of, view_of
from infflow.channels.stencil import central_weights, stencil_of
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError
from infflow.stopping import StopReason, StopRules

SMOOTH = ["erf", "tanh", "sigmoid", "softplus", "gelu", "silu", "sin", "gaussian", "cube"]


def derivatives(function, z, step=1e-5):
    """Gradient by central differences."""
    steps = step * np.eye(len(z))
    return np.array([(function(z + e) - function(z - e)) / (2.0 * step) for e in steps])


def finite_net(activation="softplus", neurons=3, outputs=1, seed=0, **options):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 2))
    y = np.sin(X @ rng.normal(size=(2, outputs)))
    layers = [(neurons, activation, True), (outputs, "identity", True)]
    return inf.Net(layers, input=X, target=y, **options)


def infinite_net(activation="erf", outputs=1):
    student = inf.Net([(3, activation, True), (outputs, "identity", True)], input_dim=2)
    teacher = inf.Teacher(student, inf.random_params(student, 5, init="standard_normal"))
    return inf.NetI(student, teacher)


# --------------------------------------------------------------------------------------------------
# stencils and asymptotes


def test_central_weights_differentiate_polynomials():
    weights = central_weights(4)
    nodes = np.arange(-4, 5)
    for power in range(9):
        assert weights @ nodes**power == pytest.approx(float(power == 1), abs=1e-11)


@pytest.mark.parametrize("name", SMOOTH)
def test_stencils_are_derivatives(name):
    f = inf.activation(name)
    nodes, value, slope, error = stencil_of(f, 5)
    assert error < 1e-12
    h = np.linspace(-3.0, 3.0, 41)
    d = 0.73  # a direction narrower than the one that it was measured with
    found = f(h[:, None] + nodes * d) @ slope
    assert found == pytest.approx(d * f.derivative(h, 1), abs=1e-11)
    assert f(h[:, None] + nodes * d) @ value == pytest.approx(f(h), abs=1e-14)


def test_asymptotes():
    softplus = inf.activation("softplus")
    above, below = side_of(softplus, 1), side_of(softplus, -1)
    assert (above.slope, above.intercept, above.rate, above.factor) == (1.0, 0.0, 1.0, 1.0)
    assert (below.slope, below.intercept, below.rate, below.factor) == (0.0, 0.0, 1.0, 1.0)
    assert side_of(inf.activation("erf"), 1).rate == 0.0  # the tail of erf is no exponential
    assert side_of(inf.activation("sin"), 1) is None
    narrow = inf.Activation.from_callable("narrow", lambda x: np.array([math.exp(v) for v in x]))
    assert side_of(narrow, 1) is None and kinked(narrow) is None  # math.exp raises OverflowError
    h = np.linspace(-2.0, 2.0, 5)
    scale = 1e9
    for name in ("softplus", "gelu", "log_cosh"):
        f = inf.activation(name)
        assert kinked(f)(h) == pytest.approx(f(scale * h) / scale, abs=1e-8)
    for name in ("erf", "sigmoid", "tanh"):
        f = inf.activation(name)
        assert kinked(f)(h + 0.1) == pytest.approx(f(scale * (h + 0.1)), abs=1e-12)


# --------------------------------------------------------------------------------------------------
# the loss at infinity


def by_hand(net, z):
    """Loss and its gradient with neurons 0 and 1 merged, from f, f' and f'' on the samples."""
    f = net.layers[0].activations[0]
    U, A, c = view_of(net, z)
    X = np.column_stack([net.input, np.ones(len(net.input))])
    H = X @ U.T
    d = H[:, 1]
    F, F1, F2 = (f.derivative(H, n) for n in range(3))
    out = F[:, [0]] * A[:, 0] + (F1[:, 0] * d)[:, None] * A[:, 1] + F[:, 2:] @ A[:, 2:].T + c
    e = out - net.target
    N = len(X)
    first, second = e @ A[:, 0], e @ A[:, 1]
    rows = [
        2.0 / N * (first * F1[:, 0] + second * F2[:, 0] * d) @ X,
        2.0 / N * (second * F1[:, 0]) @ X,
        2.0 / N * ((e @ A[:, 2]) * F1[:, 2]) @ X,
    ]
    units = np.column_stack([F[:, 0], F1[:, 0] * d, F[:, 2]])
    g = net.pack(
        [
            (np.array(rows)[:, :-1], np.array(rows)[:, -1]),
            (2.0 / N * e.T @ units, 2.0 / N * e.sum(axis=0)),
        ]
    )
    return float((e * e).sum() / N), g


@pytest.mark.parametrize(("name", "outputs"), [("erf", 1), ("softplus", 2), ("tanh", 1)])
def test_merged_neurons_on_data_by_hand(name, outputs):
    net = finite_net(name, outputs=outputs)
    chart = chart_of(net, [EndUnit(EndKind.MERGING, (0, 1))])
    z = chart.normalised(inf.random_params(net, 3, init="standard_normal"))
    found = chart.evaluate(z, 2)
    loss, gradient = by_hand(net, z)
    assert found.value == pytest.approx(loss, rel=1e-12)
    assert found.gradient == pytest.approx(gradient, abs=1e-11)
    step = 1e-6
    rows = [
        (by_hand(net, z + step * e)[1] - by_hand(net, z - step * e)[1]) / (2.0 * step)
        for e in np.eye(len(z))
    ]
    assert found.hessian == pytest.approx(np.array(rows), abs=1e-6)
    v = np.arange(len(z)) / len(z)
    assert chart.hvp(z, v) == pytest.approx(found.hessian @ v, abs=1e-9)
    assert chart.residuals(z) @ chart.residuals(z) == pytest.approx(loss, rel=1e-12)
    assert 2.0 * chart.jacobian(z).T @ chart.residuals(z) == pytest.approx(gradient, abs=1e-10)


@pytest.mark.parametrize("parametrization", ["standard", "ntk", "mean_field"])
def test_the_loss_approaches_its_limit_as_the_square_of_the_distance(parametrization):
    net = finite_net("erf", parametrization=parametrization)
    chart = chart_of(net, [EndUnit(EndKind.MERGING, (0, 1))])
    z = chart.normalised(inf.random_params(net, 3, init="standard_normal"))
    limit = chart.evaluate(z).value
    excess = [net.evaluate(chart.point(z, [s])).value - limit for s in (30.0, 60.0)]
    assert excess[0] / excess[1] == pytest.approx(4.0, rel=2e-2)
    norms = [np.linalg.norm(net.evaluate(chart.point(z, [s]), 2).H, 2) for s in (300.0, 600.0)]
    assert norms[1] / norms[0] == pytest.approx(4.0, rel=5e-2)
    assert chart.coordinates(chart.point(z, [1e3])) == pytest.approx(z, abs=1e-6)


@pytest.mark.parametrize("w", [1.0, 2.2])
def test_one_input_and_infinite_data_by_quadrature(w):
    """Teacher erf(5x - 2.5) + erf(5x + 2.5), a merged pair of erf students: the optimum over both
    output weights.
    """
    neti = bumps()
    f = inf.activation("erf")

    def mean(function):
        values = [
            quad(lambda x: function(x) * np.exp(-x * x / 2.0), a, b, epsabs=1e-13, epsrel=1e-13)[0]
            for a, b in ((-9.0, -0.5), (-0.5, 0.5), (0.5, 9.0))
        ]
        return sum(values) / np.sqrt(2.0 * np.pi)

    chart = chart_of(neti, [EndUnit(EndKind.MERGING, (0, 1))])
    delta = view_of(neti, chart.normalised(np.array([w, 1.0, 1.0, 1.0]))).U[1, 0]

    def units(x):
        return np.array([f(w * x), float(f.derivative(w * x)) * delta * x])

    def teacher(x):
        return float(f(5.0 * x - 2.5) + f(5.0 * x + 2.5))

    G = np.array(
        [[mean(lambda x, i=i, j=j: units(x)[i] * units(x)[j]) for j in (0, 1)] for i in (0, 1)]
    )
    t = np.array([mean(lambda x, i=i: units(x)[i] * teacher(x)) for i in (0, 1)])
    best = np.linalg.solve(G, t)
    lowest = mean(lambda x: teacher(x) ** 2) - t @ best
    z = np.array([w, delta, *best])
    found = chart.evaluate(z, 2)
    assert found.value == pytest.approx(lowest, abs=1e-11)
    assert found.gradient[2:] == pytest.approx(np.zeros(2), abs=1e-10)
    assert found.hessian[2:, 2:] == pytest.approx(2.0 * G, abs=1e-10)


def bumps():
    student = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=1)
    net = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=1)
    theta = net.pack([(np.full((2, 1), 5.0), np.array([-2.5, 2.5])), (np.ones((1, 2)), None)])
    return inf.NetI(student, inf.Teacher(net, theta))


@pytest.mark.parametrize("name", ["erf", "softplus"])
def test_infinite_data_is_the_limit_of_many_samples(name):
    neti = infinite_net(name)
    unit = EndUnit(EndKind.MERGING, (0, 1))
    chart = chart_of(neti, [unit])
    z = chart.normalised(inf.random_params(neti, 3, init="standard_normal"))
    sampled = chart_of(neti.sample(2**14, 0, method="sobol"), [unit])
    tolerance = 3e-3
    assert sampled.evaluate(z).value == pytest.approx(chart.evaluate(z).value, rel=tolerance)
    found = chart.evaluate(z, 1)
    assert sampled.evaluate(z, 1).gradient == pytest.approx(found.gradient, abs=10 * tolerance)
    assert derivatives(lambda x: chart.evaluate(x).value, z) == pytest.approx(
        found.gradient, abs=1e-6
    )


@pytest.mark.parametrize(
    ("name", "unit", "near", "far", "ratio"),
    [
        ("softplus", EndUnit(EndKind.LINEAR, (1,), 1), 6.0, 8.0, np.exp(2.0)),
        ("sigmoid", EndUnit(EndKind.EXPONENTIAL, (1,), -1), 6.0, 8.0, np.exp(2.0)),
        ("tanh", EndUnit(EndKind.EXPONENTIAL, (1,), 1), 4.0, 5.0, np.exp(2.0)),
    ],
)
def test_single_neurons_approach_their_limit(name, unit, near, far, ratio):
    net = finite_net(name)
    chart = chart_of(net, [unit])
    z = inf.random_params(net, 4, init="standard_normal")
    z[chart.held] = 0.0
    limit = chart.evaluate(z).value
    excess = [net.evaluate(chart.point(z, [s])).value - limit for s in (near, far)]
    assert excess[0] / excess[1] == pytest.approx(ratio, rel=3e-2)
    assert chart.coordinates(chart.point(z, [far])) == pytest.approx(z, abs=1e-9)


@pytest.mark.parametrize(("name", "kind"), [("gelu", EndKind.KINK), ("erf", EndKind.STEP)])
def test_kinks_and_steps_of_infinite_data(name, kind):
    neti = infinite_net(name)
    chart = chart_of(neti, [EndUnit(kind, (0,))])
    z = chart.normalised(inf.random_params(neti, 3, init="standard_normal"))
    limit = chart.evaluate(z).value
    excess = [abs(neti.evaluate(chart.point(z, [s])).value - limit) for s in (100.0, 1000.0)]
    assert excess[1] < 0.11 * excess[0] < 0.01 * limit


# --------------------------------------------------------------------------------------------------
# paths


def test_a_channel_of_infinite_data(tmp_path):
    neti = bumps()
    runs = [inf.train(neti, inf.random_params(neti, s), progress=False) for s in (0, 1, 2, 3)]
    ends = [run.status for run in runs]
    assert ends[0] is ends[2] is StopReason.CHANNEL
    run = runs[0]
    assert not run.converged
    (unit,) = run.limit.units
    assert unit.kind is EndKind.MERGING and unit.neurons == (0, 1)
    assert unit.sign == -1  # the odd neurons come with opposite signs
    assert run.loss_at_infinity == pytest.approx(0.0423721519589, abs=1e-11)
    assert 0.0 < run.loss - run.loss_at_infinity < 1e-7
    assert all(excess > 0.0 for _, excess in run.limit.excess)
    assert "infinity" in repr(run) and "merge" in repr(run)

    limit, theta = run.limit.network(neti)
    assert inf.loss(limit, theta) == pytest.approx(run.loss_at_infinity, abs=1e-12)
    x = np.linspace(-2.0, 2.0, 9)[:, None]
    far = neti.predict(run.limit.theta(neti, [1e4]), x)
    assert limit.predict(theta, x) == pytest.approx(far, abs=1e-6)

    run.save(tmp_path / "run.npz")
    again = inf.Result.load(tmp_path / "run.npz")
    assert again.limit.units == run.limit.units
    assert (again.limit.coordinates == run.limit.coordinates).all()
    assert again.loss_at_infinity == run.loss_at_infinity

    for given in (run, run.theta):
        found = inf.classify(neti, given, progress=False)
        assert found.kind.name == "AT_INFINITY" and found.index == 0
        assert found.expected_loss == pytest.approx(run.loss_at_infinity, abs=1e-12)
        assert "merge" in str(found)
    groups = inf.unique_solutions(runs, neti)
    assert [group.count for group in groups] == [2, 2]
    assert groups[0].limit is not None and groups[1].limit is None
    assert groups[0].loss == pytest.approx(run.loss_at_infinity, abs=1e-11)


def test_a_channel_in_few_inputs():
    """The run takes place in the span of the weights; its limit has all inputs."""
    small = bumps()
    student = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=5)
    net = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=5)
    axis = np.array([[0.6, 0.0, 0.8, 0.0, 0.0]])
    theta = net.pack([(5.0 * np.repeat(axis, 2, 0), [-2.5, 2.5]), (np.ones((1, 2)), None)])
    neti = inf.NetI(student, inf.Teacher(net, theta))
    W = inf.random_params(small, 0)
    start = np.r_[(W[:2, None] * axis).ravel(), W[2:]]
    run = inf.train(neti, start, progress=False)
    assert run.status is StopReason.CHANNEL and "reduced" in run.reduction
    assert run.loss_at_infinity == pytest.approx(0.0423721519589, abs=1e-10)
    limit, at = run.limit.network(neti)
    assert inf.loss(limit, at) == pytest.approx(run.loss_at_infinity, abs=1e-11)
    rows = run.limit.coordinates[:10].reshape(2, 5)
    assert rows - (rows @ axis.T) * axis == pytest.approx(np.zeros((2, 5)), abs=1e-10)


def linear_end():
    """Softplus neurons on samples of a line and a bump: one neuron has to become linear."""
    x = np.linspace(-2.0, 2.0, 41)[:, None]
    y = 0.7 * x[:, 0] + inf.activation("softplus")(2.0 * x[:, 0] - 1.0)
    layers = [(2, "softplus", True), (1, "identity", True)]
    return inf.Net(layers, input=x, target=y + 0.1 * np.sin(3.0 * x[:, 0]))


def test_a_neuron_becomes_linear():
    net = linear_end()
    start = net.pack([(np.array([[0.7], [2.0]]), [3.0, -1.0]), (np.ones((1, 2)), [-3.0])])
    run = inf.train(net, start, progress=False)
    if run.status is StopReason.CHANNEL:
        assert [unit.kind for unit in run.limit.units] == [EndKind.LINEAR]
        chart = chart_of(net, run.limit.units)
        assert np.abs(chart.evaluate(run.limit.coordinates, 1).g).max() < 1e-10
    assert run.status is StopReason.CHANNEL


def test_minima_are_no_ends_at_infinity():
    neti = bumps()
    run = inf.train(neti, inf.random_params(neti, 1), progress=False)
    assert run.converged and run.limit is None and run.loss_at_infinity is None
    assert units_at(neti, run.theta) == []
    free = np.ones(neti.num_params, dtype=bool)
    rules = StopRules(10.0, 100, -np.inf, 1e-15, 100)
    assert find_limit(neti, run.theta, free, rules) is None
    # opposite output weights at a finite distance, where the loss is lower before infinity
    z = np.array([0.2, 0.4, 0.5, 0.5])
    chart = chart_of(neti, [EndUnit(EndKind.MERGING, (0, 1))])
    found = find_limit(neti, chart.point(z, [20.0]), free, rules)
    assert found is not None and isinstance(found.verdict, Verdict)


def test_frozen_neurons_and_regularised_losses_have_no_such_ends():
    neti = bumps()
    run = inf.train(neti, inf.random_params(neti, 0), progress=False)
    free = np.ones(neti.num_params, dtype=bool)
    assert len(units_at(neti, run.theta, free)) == 1
    free[0] = False
    assert units_at(neti, run.theta, free) == []
    ridge = neti.replace(ridge=1e-6)
    there = inf.train(ridge, inf.random_params(ridge, 0), progress=False)
    assert there.limit is None and there.converged


def test_newton_kantorovich_in_the_norm_of_the_hessian():
    """An input in other units makes theta's own numbers too large, and no difference to the
    minimum.
    """
    net = finite_net("erf", neurons=1)
    run = inf.train(net, inf.random_params(net, 1), progress=False)
    assert run.converged
    factor = 1e-4
    scaled = net.replace(input=net.input * np.array([1.0, factor]))
    (W, b), out = net.unpack(run.theta)
    theta = net.pack([(W / np.array([1.0, factor]), b), out])
    theta *= 1.0 + 1e-7
    plain, other = (
        inf.classify(n, t, progress=False) for n, t in ((net, run.theta), (scaled, theta))
    )
    assert plain.kind.name == "MINIMUM" and other.kind.name == "MINIMUM"
    assert other.newton.plain > 0.5 >= other.newton.invariant
    # far from the minimum neither is small
    away = inf.classify(net, run.theta * 1.3, progress=False)
    assert away.kind.name == "NOT_CONVERGED" and away.newton.invariant > 0.5


# --------------------------------------------------------------------------------------------------
# turns


def test_methods_take_turns():
    net = finite_net("softplus", neurons=4)
    start = inf.random_params(net, 2)
    seen = []
    options = {"max_steps_flow": 20, "progress": False, "callback": lambda now: seen.append(now)}
    run = inf.train(net, start, max_steps_newton=700, **options)
    steps = [now.step for now in seen if now.stage == "newton"]
    assert steps == list(range(len(steps)))  # a callback sees one search
    if run.newton.steps > 500:
        assert run.newton.method == "newton, levenberg_marquardt"
    assert run.newton.steps - len(steps) in (0, -1)  # it may end without a call
    assert run.newton.gradients > run.newton.steps
    alone = inf.train(net, start, max_steps_newton=50, optimizer="newton", **options)
    assert alone.newton.method == "newton"


def test_a_kink_that_rests_on_a_sample():
    x = np.linspace(-2.0, 2.0, 9)
    y = 1.3 * np.maximum(x, 0.0) + 0.3 * np.random.default_rng(8).normal(size=9)
    layers = [(1, "softplus", True), (1, "identity", True)]
    net = inf.Net(layers, input=x[:, None], target=y)

    def best(t):
        features = np.column_stack([np.maximum(x - t, 0.0), np.ones(9)])
        return np.mean((features @ np.linalg.lstsq(features, y, rcond=None)[0] - y) ** 2)

    places = np.linspace(-1.9, 1.9, 1521)
    lowest = places[np.argmin([best(t) for t in places])]
    t = float(x[np.argmin(np.abs(x - lowest))])
    assert abs(t - lowest) < 1e-3 and best(t) < min(best(t - 2e-3), best(t + 2e-3))
    theta = net.pack(
        [(np.array([[300.0]]), [-300.0 * (t + 1e-3)]), (np.array([[1.3 / 300]]), [0.0])]
    )
    free = np.ones(net.num_params, dtype=bool)
    found = find_limit(net, theta, free, StopRules(60.0, 400, -np.inf, 1e-15, 400))
    assert found.verdict is Verdict.AT_INFINITY
    assert found.limit.loss_at_infinity == pytest.approx(best(t), rel=1e-9)
    assert found.limit.resting == (int(np.argmin(np.abs(x - t))),)
    assert "rests on 1 sample" in str(found.limit)
    assert found.limit.gradient_norm < 1e-10


def test_ctrl_c_while_it_looks(monkeypatch):
    neti = bumps()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("infflow.channels.lookout.find_limit", interrupted)
    run = inf.train(neti, inf.random_params(neti, 0), progress=False)
    assert run.status is StopReason.INTERRUPTED and run.limit is None


# --------------------------------------------------------------------------------------------------
# rows that enter with length one


def with_lengths(net, theta, lengths):
    """The same network where rows enter with length one: rows times other lengths."""
    (W, b), second = net.unpack(theta)
    return net.pack([(np.reshape(lengths, (-1, 1)) * W, b), second])


@pytest.mark.parametrize(("name", "outputs"), [("erf", 1), ("softplus", 2)])
def test_merged_unit_rows_by_hand(name, outputs):
    """Against f'(h) times the derivative of h along the sphere, for any length of w and Delta."""
    net = finite_net(name, outputs=outputs, parametrization="spherical")
    chart = chart_of(net, [EndUnit(EndKind.MERGING, (0, 1))])
    given = with_lengths(net, inf.random_params(net, 3, init="standard_normal"), [30.0, 7.0, 0.1])
    z = chart.normalised(given)
    view = view_of(net, given)
    f = net.layers[0].activations[0]
    X = net.input
    w, other = view.U[0, :-1], view.U[2, :-1]
    size = np.linalg.norm(w)
    u = w / size
    along = (view.U[1, :-1] - u * (u @ view.U[1, :-1])) / size
    h, d = X @ u + view.U[0, -1], X @ along + view.U[1, -1]
    g = X @ (other / np.linalg.norm(other)) + view.U[2, -1]
    units = np.column_stack([f(h), f.derivative(h, 1) * d, f(g)])
    error = units @ view.A.T + view.c - net.target
    assert chart.evaluate(z).value == pytest.approx(np.sum(error**2) / len(X), rel=1e-11)
    assert chart.normalised(z) == pytest.approx(z, abs=1e-13)
    losses = [net.evaluate(chart.point(z, [s])).value for s in (30.0, 60.0)]
    excess = np.array(losses) - chart.evaluate(z).value
    assert excess[0] / excess[1] == pytest.approx(4.0, rel=2e-2)


@pytest.mark.parametrize("parametrization", ["standard", "ntk", "spherical"])
def test_directions_that_change_nothing_are_held(parametrization):
    net = finite_net("tanh", parametrization=parametrization)
    chart = chart_of(net, [EndUnit(EndKind.MERGING, (0, 2))])
    z = chart.normalised(inf.random_params(net, 3, init="standard_normal"))
    other, free, frame = tangent(chart, z, np.ones(len(z), dtype=bool))
    assert (frame @ frame.T).toarray() == pytest.approx(np.eye(len(z)), abs=1e-14)
    y = frame.T @ z
    found = other.evaluate(y, 2)
    slopes = derivatives(lambda at: other.evaluate(at).value, y, 1e-6)
    assert found.g == pytest.approx(slopes, abs=1e-7)
    lengths = [2, 1, 1] if parametrization == "spherical" else [1, 0, 0]
    assert (~free).sum() == sum(lengths)
    # what is held leaves no flat direction: with it the Hessian of the squares has this many more
    J = chart.jacobian(z)
    rank = np.linalg.matrix_rank(J, 1e-9 * np.linalg.norm(J))
    kept = other.jacobian(y)[:, free]
    assert rank == len(z) - sum(lengths) == np.linalg.matrix_rank(kept, 1e-9 * np.linalg.norm(J))


def unit_rows_run(seed):
    teacher = inf.Net([(3, "erf", True), (1, "identity", False)], input_dim=4)
    layers = [(2, "erf", True), (1, "identity", False)]
    student = inf.Net(layers, input_dim=4, parametrization="spherical")
    theta = inf.random_params(teacher, rng=100 + seed, init="standard_normal")
    neti = inf.NetI(student, inf.Teacher(teacher, theta))
    return neti, inf.train(neti, inf.random_params(neti, rng=seed), progress=False)


@pytest.mark.parametrize(("seed", "loss"), [(0, 0.00482784686), (17, 0.01951367171)])
def test_unit_rows_that_merge(seed, loss):
    neti, run = unit_rows_run(seed)
    assert run.status is StopReason.CHANNEL
    assert run.loss_at_infinity == pytest.approx(loss, abs=1e-10)
    assert all(excess > 0.0 for _, excess in run.limit.excess)
    far = run.limit.theta(neti, [1e3])
    assert inf.loss(neti, far) == pytest.approx(loss, abs=1e-8)
    for lengths in ([1e-3, 1e-3], [0.1, 10.0], [100.0, 100.0]):
        theta = with_lengths(neti, run.theta, lengths)
        assert units_at(neti, theta)[0] == run.limit.units
        found = inf.classify(neti, theta, progress=False)
        assert found.kind.name == "AT_INFINITY" and found.index == 0
        assert found.expected_loss == pytest.approx(run.loss_at_infinity, abs=1e-11)


def test_a_unit_row_becomes_linear():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = X @ [0.7, -0.4] + inf.activation("softplus")(2.0 * X @ [0.6, 0.8] - 1.0)
    layers = [(2, "softplus", True), (1, "identity", True)]
    target = y + 0.1 * np.sin(3.0 * X[:, 0])
    net = inf.Net(layers, input=X, target=target, parametrization="spherical")
    run = inf.train(net, inf.random_params(net, 0), progress=False)
    assert run.status is StopReason.CHANNEL
    assert [unit.kind for unit in run.limit.units] == [EndKind.LINEAR]
    chart, z = chart_of(net, run.limit.units), run.limit.coordinates
    assert chart.point(z, [8.0], [2.0]) == pytest.approx(chart.point(z, [8.0]))  # no factor to move
    for length in (1e-3, 0.1, 100.0):
        found = inf.classify(net, with_lengths(net, run.theta, [length] * 2), progress=False)
        assert found.kind.name == "AT_INFINITY"
        assert found.expected_loss == pytest.approx(run.loss_at_infinity, rel=1e-9)


def test_unit_rows_become_no_steps():
    """Their input weights have a length; on wide samples they look like steps all the same."""
    X = 1e4 * np.random.default_rng(0).normal(size=(50, 2))
    layers = [(2, "erf", True), (1, "identity", True)]
    for parametrization, kinds in (("standard", {EndKind.STEP}), ("spherical", set())):
        net = inf.Net(layers, input=X, target=np.ones(50), parametrization=parametrization)
        theta = inf.random_params(net, 0)
        found = {unit.kind for units in units_at(net, theta) for unit in units}
        assert found == kinds


def test_rows_with_frozen_weights_keep_their_length():
    net = finite_net("erf", parametrization="spherical")
    theta = with_lengths(net, inf.random_params(net, 3), [5.0, 5.0, 5.0])
    free = np.ones(net.num_params, dtype=bool)
    free[5] = False  # a weight of neuron 2
    lengths = np.linalg.norm(view_of(net, unit_rows_of(net, theta, free)).U[:, :-1], axis=1)
    assert lengths == pytest.approx([1.0, 1.0, 5.0])
    chart = chart_of(net, [EndUnit(EndKind.MERGING, (0, 1))])
    _, may_move, frame = tangent(chart, chart.coordinates(theta), free)
    assert not may_move[5] and may_move[4]
    assert frame[4:6].toarray() == pytest.approx(np.eye(net.num_params)[4:6])


# --------------------------------------------------------------------------------------------------
# bad input


def limit_by_hand():
    neti = bumps()
    units = (EndUnit(EndKind.MERGING, (0, 1), -1),)
    return neti, Limit(units, np.array([0.9, 0.4, 1.7, 3.7]), 0.04, 0.0, 0)


@pytest.mark.parametrize(
    ("distances", "error", "words"),
    [
        ([], ShapeError, "0 items; a sequence of 1 number"),
        ([10.0, 20.0], ShapeError, "2 items; a sequence of 1 number"),
        (["a"], InvalidTypeError, r"distances\[0\] is 'a'; a real number"),
        (10.0, InvalidTypeError, "distances is 10.0; a sequence"),
        ([0.0], InvalidValueError, "must be above 0"),
        ([-1.0], InvalidValueError, "must be above 0"),
        ([np.inf], InvalidValueError, "a finite number"),
        ([1e-320], InvalidValueError, "beyond the range"),
    ],
)
def test_distances_that_are_none(distances, error, words):
    neti, limit = limit_by_hand()
    with pytest.raises(error, match=words):
        limit.theta(neti, distances)


def test_limits_of_other_networks():
    neti, limit = limit_by_hand()
    assert np.isfinite(limit.theta(neti, np.array([10.0]))).all()
    relu = inf.Net([(2, "relu", False), (1, "identity", False)], input_dim=1)
    narrow = inf.Net([(1, "erf", True), (1, "identity", True)], input_dim=1)
    softplus = inf.Net([(2, "softplus", False), (1, "identity", False)], input_dim=1)
    for call in (limit.network, lambda net: limit.theta(net, [10.0])):
        with pytest.raises(
            ShapeError, match=r"net has \d+ parameters; the network that was trained"
        ):
            call(infinite_net())
        for net in (relu, narrow, softplus):  # softplus is neither odd nor even
            with pytest.raises(InvalidValueError, match="no such limit"):
                call(net)
        with pytest.raises(InvalidTypeError, match="net is 'net'"):
            call("net")


@pytest.mark.parametrize(
    ("kind", "sign", "suited"),
    [
        (EndKind.LINEAR, 1, {"softplus"}),
        (EndKind.EXPONENTIAL, -1, {"softplus", "tanh"}),
        (EndKind.KINK, 1, {"softplus"}),
        (EndKind.STEP, 1, {"erf", "tanh"}),
    ],
)
def test_which_activations_have_which_ends(kind, sign, suited):
    unit = EndUnit(kind, (1,), sign)
    names = ("softplus", "tanh", "erf", "sin", "relu")
    assert {name for name in names if unit.suits(finite_net(name))} == suited
