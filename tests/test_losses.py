"""Every loss of the registry, and one written by a user, keeps what the base class promises."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import huber as scipy_huber

import infflow as inf
from infflow.classification.classify import PointKind
from infflow.cli.files.config import Configuration
from infflow.errors import InfflowError, MethodError, StorageError
from infflow.exchange.sklearn import GradientFlowClassifier, GradientFlowRegressor
from infflow.networks.finite import readable
from infflow.networks.finite.losses import LOSSES, Loss, resolve_loss


class LogCosh(Loss):
    """As the docstring of the base class has it."""

    name = "log_cosh"
    is_zero_at_target = True

    def value_and_gradient(self, z, target, w, gradient):
        error = z - target.T
        gradient[:] = w * np.tanh(error)
        size = np.abs(error)
        return float(np.sum(w * (size + np.log1p(np.expm1(-2 * size) / 2))))

    def curvature(self, z, target, w, out):
        out[:] = 0.0
        for i, error in enumerate(z - target.T):
            out[i, i] = w / np.cosh(error) ** 2

    def readable(self, z, target):
        error = z - target
        return np.sum(np.log(np.cosh(error))), np.tanh(error), np.diag(1.0 / np.cosh(error) ** 2)


class Projection(Loss):
    """The squared error without |y|^2, which is no sum of squares but has its curvature."""

    name = "projection"
    curvature_is_constant = True

    def value_and_gradient(self, z, target, w, gradient):
        gradient[:] = 2.0 * w * (z - target.T)
        return float(np.sum(w * (z * z - 2.0 * z * target.T)))

    def curvature(self, z, target, w, out):
        out[:] = 2.0 * w * np.eye(len(z))[:, :, None]

    def readable(self, z, target):
        return z @ z - 2.0 * z @ target, 2.0 * (z - target), 2.0 * np.eye(len(z))


EVERY = [
    *(resolve_loss(name) for name in LOSSES),
    resolve_loss("huber(0.3)"),
    LogCosh(),
    Projection(),
]
every = pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.name)
K = 3
B = 40
M = 4


def block(loss, seed=0):
    """Outputs, checked target, weights of which some are zero; errors from small to large, none
    within 0.01 of a kink.
    """
    rng = np.random.default_rng(seed)
    z = 2.0 * rng.standard_normal((K, B))
    if loss.needs_labels:
        target = rng.integers(0, K, B)
    else:
        error = rng.choice([-1, 1], (B, K)) * rng.choice([0.05, 0.2, 0.4, 0.9, 1.2, 3.0], (B, K))
        target = z.T - error
    w = rng.random(B) * (rng.random(B) > 0.2)
    return z, loss.check_target(target, B, K), w / w.sum()


def value(loss, z, y, w):
    return loss.value_and_gradient(z, y, w, np.empty_like(z))


def gradient(loss, z, y, w):
    out = np.full(z.shape, np.nan)
    loss.value_and_gradient(z, y, w, out)
    return out


def curvature(loss, z, y, w):
    out = np.full((K, *z.shape), np.nan)
    loss.curvature(z, y, w, out)
    return out


@every
def test_block_methods_agree_with_the_readable_twin(loss):
    z, y, w = block(loss)
    twins = [loss.readable(z[:, n], y[n]) for n in range(B)]
    assert value(loss, z, y, w) == pytest.approx(
        sum(w[n] * twins[n][0] for n in range(B)), rel=1e-14
    )
    slopes = np.array([w[n] * twins[n][1] for n in range(B)]).T
    np.testing.assert_allclose(gradient(loss, z, y, w), slopes, rtol=0, atol=1e-16)
    hessians = np.stack([w[n] * twins[n][2] for n in range(B)], axis=-1)
    np.testing.assert_allclose(curvature(loss, z, y, w), hessians, rtol=0, atol=1e-16)


@every
def test_derivatives_are_those_of_the_value(loss):
    z, y, w = block(loss)
    step = 1e-5
    first = np.empty((K, B))
    second = np.empty((K, K, B))
    for i in range(K):
        shift = np.zeros((K, 1))
        shift[i] = step
        for n in range(B):
            one = np.zeros(B)
            one[n] = w[n]
            first[i, n] = (value(loss, z + shift, y, one) - value(loss, z - shift, y, one)) / (
                2 * step
            )
        second[i] = (gradient(loss, z + shift, y, w) - gradient(loss, z - shift, y, w)) / (2 * step)
    np.testing.assert_allclose(gradient(loss, z, y, w), first, rtol=0, atol=1e-10)
    np.testing.assert_allclose(curvature(loss, z, y, w), second, rtol=0, atol=1e-10)


@every
def test_directional_is_the_curvature_times_directions(loss):
    z, y, w = block(loss)
    rz = np.random.default_rng(1).standard_normal((K, M, B))
    out = np.full((K, M, B), np.nan)
    loss.directional(z, y, w, rz, out)
    np.testing.assert_allclose(
        out, np.einsum("ijn,jmn->imn", curvature(loss, z, y, w), rz), rtol=0, atol=1e-15
    )


@every
def test_what_a_loss_says_of_itself_is_true(loss):
    z, y, w = block(loss)
    twice = 2.0 * w * np.eye(K)[:, :, None]
    assert loss.curvature_is_constant == np.allclose(
        curvature(loss, z, y, w), twice, rtol=1e-14, atol=0
    )
    shifted = value(loss, z + 0.7, y, w)
    assert loss.is_shift_invariant == (abs(shifted - value(loss, z, y, w)) < 1e-13)
    assert loss.needs_labels == (y.dtype.kind == "i" and y.shape == (B,))
    if loss.needs_labels:
        assert not loss.is_sum_of_squares and not loss.is_zero_at_target
        return
    squares = np.sum(w * (z - y.T) ** 2)
    assert loss.is_sum_of_squares == (abs(value(loss, z, y, w) - squares) < 1e-13)
    there = np.ascontiguousarray(y.T)
    near = [value(loss, there + h, y, w) / (K * h**2) for h in (1e-3, 1e-4)]
    vanishes = value(loss, there, y, w) == 0.0 and near[0] > 0.1 and abs(near[1] - near[0]) < 1e-6
    assert loss.is_zero_at_target == vanishes


@every
def test_a_loss_is_equal_to_its_copy_and_known_by_its_name(loss):
    copy = pickle.loads(pickle.dumps(loss))
    assert copy.name == loss.name
    if type(loss) in LOSSES.values():
        assert copy == loss == resolve_loss(loss.name)
    assert resolve_loss(loss) is loss


# --- in networks


def make_net(loss, hidden=(3,), outputs=3, out="identity", samples=30, **options):
    rng = np.random.default_rng(3)
    names = ["tanh", "gelu", "softplus", "erf", "sigmoid"]
    layers = [(width, names[:width], True) for width in hidden]
    X = rng.standard_normal((samples, 2))
    y = (
        rng.integers(0, outputs, samples)
        if loss.needs_labels
        else 1.5 * rng.standard_normal((samples, outputs))
    )
    return inf.Net([*layers, (outputs, out, True)], input=X, target=y, loss=loss, **options)


SHAPES = [
    ((), 2, "identity"),
    ((3,), 2, "identity"),
    ((4,), 3, "tanh"),
    ((3, 2), 2, "identity"),
    ((2, 3, 2), 2, "erf"),
]


@every
@pytest.mark.parametrize(("hidden", "outputs", "out"), SHAPES)
def test_networks_agree_with_the_readable_twin(loss, hidden, outputs, out):
    weights = np.random.default_rng(0).random(30)
    net = make_net(loss, hidden, outputs, out, weights=weights, ridge=0.1, parametrization="ntk")
    theta = inf.random_params(net, rng=5)
    expected = readable.derivatives(net, theta)
    found = net.evaluate(theta, 2)
    assert found.value == pytest.approx(expected[0], rel=1e-13)
    for one, two in ((found.gradient, expected[1]), (found.hessian, expected[2])):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-12 * np.abs(two).max())
    directions = np.eye(net.num_params)
    scale = np.abs(expected[2]).max()
    np.testing.assert_allclose(net.hvp(theta, directions), expected[2], rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        net.linearize(theta)(directions), expected[2], rtol=0, atol=1e-12 * scale
    )
    covariance = readable.covariance(net.replace(ridge=0.0), theta)
    found = inf.gradient_covariance(net, theta)
    np.testing.assert_allclose(found, covariance, rtol=0, atol=1e-12 * np.abs(covariance).max())


@every
def test_blocks_minibatches_and_other_data(loss):
    """Blocks overlap for 9001 samples; the loss of all is the mean over parts."""
    net = make_net(loss, (5,), samples=9001)
    theta = inf.random_params(net, rng=1)
    parts = [
        net.subset(np.arange(start, min(start + 1000, 9001))) for start in range(0, 9001, 1000)
    ]
    again = [net.with_data(part.input, part.target) for part in parts]
    v = np.random.default_rng(2).standard_normal(net.num_params)
    whole = net.evaluate(theta, 2)
    for some in (parts, again):
        mean = np.average(
            [part.hvp(theta, v) for part in some],
            axis=0,
            weights=[len(part.input) for part in some],
        )
        np.testing.assert_allclose(mean, whole.hessian @ v, rtol=0, atol=1e-12)
        mean = np.average(
            [inf.loss(part, theta) for part in some], weights=[len(part.input) for part in some]
        )
        assert mean == pytest.approx(whole.value, rel=1e-13)
    copy = pickle.loads(pickle.dumps(net.replace(ridge=0.1))).replace(ridge=0.0)
    assert copy.loss_name == loss.name and inf.loss(copy, theta) == whole.value


@pytest.mark.parametrize("loss", EVERY[:-1], ids=lambda loss: loss.name)  # the last one is negative
def test_trains_to_a_minimum_of_its_own(loss):
    """Data with noise, a loss that any activation meets: from the flow to a point that classify
    knows.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    f = np.tanh(X[:, 0] - X[:, 1])
    y = (
        (f + 0.3 * rng.standard_normal(200) > 0).astype(int)
        if loss.needs_labels
        else f + 0.3 * rng.standard_t(2, 200)
    )
    layers = [(1, "tanh", False), (2 if loss.needs_labels else 1, "identity", False)]
    net = inf.Net(
        layers, input=X, target=y, loss=loss, ridge=0.01 if loss.is_shift_invariant else 0.0
    )
    found = inf.train(net, inf.random_params(net, rng=0), progress=False)
    assert found.converged and found.gradient_norm < 1e-12
    assert inf.classify(net, found.theta).kind is PointKind.MINIMUM


@every
def test_sums_of_squares_alone_have_residuals(loss):
    net = make_net(loss)
    theta = inf.random_params(net, rng=0)
    if loss.is_sum_of_squares:
        assert np.sum(net.residuals(theta) ** 2) == pytest.approx(inf.loss(net, theta), rel=1e-13)
        return
    assert net.loss_rounding(theta, 1.0) is None
    for call in (
        lambda: net.residuals(theta),
        lambda: net.jacobian(theta),
        *(
            lambda name=name: inf.train(
                net, theta, optimizer=name, max_steps_flow=0, progress=False
            )
            for name in ("levenberg_marquardt", "gauss_newton")
        ),
    ):
        with pytest.raises(MethodError, match=r"sum of squares"):
            call()
    with pytest.raises(InfflowError, match="needs 'mse'"):
        inf.NetI(net, inf.Teacher(make_net(resolve_loss("mse")), theta))


# --- huber


@pytest.mark.parametrize("delta", [1e-3, 0.5, 1.0, 7.0])
def test_huber_is_twice_that_of_scipy(delta):
    errors = np.concatenate(
        [np.linspace(-3, 3, 1001), delta * np.array([-1, 1, 1 - 1e-15, 1 + 1e-15]), [0, 1e150]]
    )
    loss = resolve_loss(f"huber({delta})")
    w = np.zeros(1)
    w[0] = 1.0
    found = [
        loss.value_and_gradient(np.array([[e]]), np.zeros((1, 1)), w, np.empty((1, 1)))
        for e in errors
    ]
    np.testing.assert_allclose(found, 2.0 * scipy_huber(delta, errors), rtol=1e-14, atol=0)


def test_huber_of_small_errors_is_the_squared_error():
    theta = inf.random_params(make_net(resolve_loss("mse")), rng=1)
    one, two = (make_net(resolve_loss(name)).evaluate(theta, 2) for name in ("mse", "huber(50)"))
    assert one.value == pytest.approx(two.value, rel=1e-14)
    np.testing.assert_allclose(one.hessian, two.hessian, rtol=0, atol=1e-13)


def test_huber_finds_what_scipy_finds_with_outliers():
    """A linear model: scipy.optimize.least_squares has the same loss, but for the mean."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((50, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(50)
    y[::7] += 20.0
    net = inf.Net([(1, "identity", True)], input=X, target=y, loss="huber(0.3)")
    found = inf.train(net, np.zeros(4), progress=False)
    other = least_squares(
        lambda p: X @ p[:3] + p[3] - y,
        np.zeros(4),
        loss="huber",
        f_scale=0.3,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-12,
    )
    np.testing.assert_allclose(
        found.theta, other.x, rtol=0, atol=1e-6
    )  # SciPy ends at gradients of 1e-7 or so
    assert found.loss == pytest.approx(2 * other.cost / 50, rel=1e-12)
    assert np.abs(found.theta[:3] - [1.0, -2.0, 0.5]).max() < 0.2
    kind = inf.classify(net, found.theta)
    assert kind.kind is PointKind.MINIMUM and kind.h < 1e-6
    assert found.gradient_norm < 1e-14


@pytest.mark.parametrize("delta", [0.01, 1.0])
def test_huber_near_zero_is_a_loss_of_zero(delta):
    """More parameters than samples: flat directions are explained by the loss, as for the squared
    error.
    """
    rng = np.random.default_rng(1)
    X = rng.standard_normal((4, 2))
    layers = [(4, "softplus", True), (1, "identity", True)]
    net = inf.Net(layers, input=X, target=rng.standard_normal(4), loss=f"huber({delta})")
    found = inf.train(net, inf.random_params(net, rng=0), progress=False)
    assert found.loss < 1e-24
    seen = inf.classify(net, found.theta)
    assert seen.kind is PointKind.DEGENERATE_MINIMUM
    assert {each.symmetry.name for each in seen.flat} == {
        "DEPENDENT",
        "ZERO_LOSS",
    }  # four neurons, a bias, four samples
    assert seen.flat_dimension == net.num_params - 4


def test_jumps_of_the_curvature_are_no_jumps_of_the_gradient():
    """So that "auto" keeps the implicit solver; corners of activations count as before."""
    huber = resolve_loss("huber(0.5)")
    net = make_net(huber)
    assert not net.gradient_jumps
    found = inf.train(
        net, inf.random_params(net, rng=0), max_steps_newton=0, progress=False, t_end=1.0
    )
    assert found.flow.method == "gear"
    rough = net.replace(layers=[(3, "relu", True), (3, "identity", True)])
    assert rough.gradient_jumps


def test_no_curvature_where_all_errors_are_large():
    net = inf.Net([(1, "identity", True)], input=[[0.0], [1.0]], target=[5.0, 5.0], loss="huber")
    np.testing.assert_array_equal(inf.hessian(net, [0.0, 0.0]), np.zeros((2, 2)))
    seen = inf.classify(net, [0.0, 0.0])
    assert seen.kind is PointKind.NOT_CONVERGED


def test_a_checkpoint_knows_delta(tmp_path):
    """At the start both losses, and their gradients, are equal."""
    net = inf.Net(
        [(1, "identity", True)], input=[[0.0], [1.0]], target=[0.5, -0.5], loss="huber(2)"
    )
    path = tmp_path / "run.npz"
    settings = {"checkpoint": path, "max_steps_flow": 5, "max_steps_newton": 0, "progress": False}
    first = inf.train(net, np.zeros(2), **settings)
    assert path.exists() and inf.train(net, np.zeros(2), **settings).loss == first.loss
    for other in ("huber(3)", "mse"):
        with pytest.raises(StorageError, match="loss differs"):
            inf.train(net.replace(loss=other), np.zeros(2), **settings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("huber(", r"huber\(delta\)"),
        ("huber(a)", r"huber\(delta\)"),
        ("huber(1, 2)", r"1 number in parentheses"),
        ("huber(0)", "must be above 0"),
        ("huber(inf)", "finite"),
        ("mse(2)", "mse has no parameter"),
        ("hubr", "Did you mean 'huber'"),
        ("smooth_l1", "Did you mean 'huber'"),
        (type("Nameless", (LogCosh,), {"name": None})(), r"set Nameless\.name"),
        (Loss, "an object of it is needed"),
        (3, r"or an inf\.Loss"),
    ],
)
def test_losses_that_are_none(given, said):
    with pytest.raises(InfflowError, match=said):
        inf.Net([(1, "identity", True)], input_dim=2, loss=given)


def test_a_loss_without_twin_says_so():
    class Own(LogCosh):
        readable = Loss.readable

    with pytest.raises(InfflowError, match=r"write Own\.readable"):
        readable.derivatives(make_net(Own()), np.zeros(21))


# --- files and estimators


def configuration(**data):
    student = {"hidden": 2, "input_dim": 3}
    return Configuration.from_dict({"student": student, "teacher": {"hidden": 3}, "data": data})


@pytest.mark.parametrize("hidden", [3, [2, 2]])
def test_configuration_with_samples(hidden):
    given = {"student": {"hidden": hidden, "input_dim": 3}, "teacher": {"hidden": 3}}
    one, two = (
        Configuration.from_dict({**given, "data": {"samples": 20, "loss": loss}}).problem()
        for loss in ("mse", "huber(0.1)")
    )
    assert two.loss == resolve_loss("huber(0.1)")
    np.testing.assert_array_equal(one.target, two.target)
    expected = inf.Net(two.layers, input=one.input, target=one.target, loss="huber(0.1)")
    theta = inf.random_params(one, rng=0)
    assert inf.loss(two, theta) == inf.loss(expected, theta) != inf.loss(one, theta)


def test_configuration_round_trip_and_errors(tmp_path):
    X = np.random.default_rng(0).standard_normal((10, 3))
    np.savez(tmp_path / "data.npz", X=X, y=X[:, 0])
    path = tmp_path / "run.toml"
    path.write_text('[student]\nhidden = 2\n[data]\nfile = "data.npz"\nloss = "huber(0.25)"\n')
    config = Configuration.load(path)
    assert config.data.loss == "huber(0.25)" and config.problem().loss_name == "huber(0.25)"
    for data, said in (
        ({"loss": "huber"}, r"needs data\.samples or data\.file"),
        ({"samples": 5, "loss": "cross_entropy"}, "needs labels from"),
        ({"samples": 5, "loss": "huber(x)"}, r"data\.loss is 'huber\(x\)'"),
        ({"samples": 5, "loss": 3}, r"data\.loss is 3"),
    ):
        with pytest.raises(InfflowError, match=said):
            configuration(**data)


def test_estimators():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 2))
    y = np.tanh(X[:, 0]) + 0.05 * rng.standard_normal(80)
    y[:6] += 30.0
    settings = {"activation": "tanh", "random_state": 0, "t_end": 100.0}
    plain = GradientFlowRegressor((3,), **settings).fit(X, y)
    robust = GradientFlowRegressor((3,), loss="huber(0.2)", **settings).fit(X, y)
    assert robust.net_.loss_name == "huber(0.2)" and robust.get_params()["loss"] == "huber(0.2)"
    truth = np.tanh(X[:, 0])
    assert np.abs(robust.predict(X) - truth).mean() < 0.1 < np.abs(plain.predict(X) - truth).mean()
    own = GradientFlowRegressor((3,), loss=LogCosh(), t_end=1.0, random_state=0).fit(X, y)
    assert own.net_.loss_name == "log_cosh"
    with pytest.raises(InfflowError, match="Leave it out, or take GradientFlowClassifier"):
        GradientFlowRegressor(loss="cross_entropy").fit(X, y)
    with pytest.raises(InfflowError, match="Leave it out, or take GradientFlowRegressor"):
        GradientFlowClassifier(loss="huber").fit(X, y > 0)


def test_the_page_lists_every_loss():
    page = (Path(__file__).parent.parent / "docs/howto/loss.md").read_text()
    for name in LOSSES:
        assert f'| `"{name}"' in page
