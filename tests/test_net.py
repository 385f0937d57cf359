"""Values and derivatives of ``Net``: against slow readable twins, differences, and sums written
out.
"""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from infflow.activations import Activation
from infflow.errors import ShapeError
from infflow.networks.finite import hvp as net_hvp
from infflow.networks.finite import readable
from infflow.networks.finite.net import Net
from infflow.networks.parameters import random_params

# Relative to the largest entry; sums of some hundred terms of both signs leave a few hundred
# roundings.
TWIN = 1e-12

SMOOTH = ("tanh", "softplus", "gelu", "sigmoid")


def make_net(
    hidden,
    outputs=1,
    loss="mse",
    dim=2,
    bias=True,
    samples=6,
    out="identity",
    mixed=False,
    **options,
):
    """A net with random data; ``bias`` True, False or one per layer; ``mixed``: another activation
    per neuron.
    """
    rng = np.random.default_rng(7)
    biases = [bias] * (len(hidden) + 1) if isinstance(bias, bool) else list(bias)
    layers = [
        (width, [SMOOTH[(l + j) % 4] for j in range(width)] if mixed else SMOOTH[l % 4], has)
        for l, (width, has) in enumerate(zip(hidden, biases, strict=False))
    ]
    layers.append((outputs, out, biases[len(hidden)]))
    X = rng.standard_normal((samples, dim))
    y = (
        rng.standard_normal((samples, outputs))
        if loss == "mse"
        else rng.integers(0, outputs, samples)
    )
    return Net(layers, input=X, target=y, loss=loss, **options)


def largest_error(found, expected):
    return np.max(np.abs(found - expected)) / np.max(np.abs(expected))


def assert_like_twin(net, theta):
    value, gradient, hessian = readable.derivatives(net, theta)
    for order in range(3):
        result = net.evaluate(theta, order)
        assert result.value == pytest.approx(value, rel=TWIN)
        assert (result.gradient is None) == (order < 1)
        assert (result.hessian is None) == (order < 2)
        if order >= 1:
            assert largest_error(result.gradient, gradient) < TWIN
    assert largest_error(result.hessian, hessian) < TWIN
    np.testing.assert_array_equal(result.hessian, result.hessian.T)
    assert largest_error(net.hvp(theta, np.eye(net.num_params)), hessian) < TWIN


DEPTHS = [(), (3,), (4, 3), (3, 2, 4), (2, 3, 2, 3)]
HEADS = [
    (1, "mse", "identity"),
    (3, "mse", "identity"),
    (3, "cross_entropy", "identity"),
    (2, "mse", "tanh"),
]
BIASES = [(1, 1, 1, 1, 1), (0, 0, 0, 0, 0), (1, 0, 1, 0, 1), (0, 1, 0, 1, 0)]


@pytest.mark.parametrize(("hidden", "head"), list(itertools.product(DEPTHS, HEADS)))
def test_derivatives_against_twin(hidden, head):
    """Depth, outputs, losses, biases per layer, input dimension (loops, BLAS), activations per
    neuron.
    """
    outputs, loss, out = head
    for bias, dim in itertools.product(BIASES, (2, 5, 18)):
        if dim == 18 and len(hidden) > 1:
            continue
        net = make_net(hidden, outputs, loss, dim, [bool(b) for b in bias], out=out, mixed=True)
        assert_like_twin(net, random_params(net, rng=3, init="standard_normal"))


@pytest.mark.parametrize("parametrization", ["standard", "ntk", "mean_field"])
@pytest.mark.parametrize(
    ("hidden", "loss"), [((3,), "mse"), ((4, 3), "mse"), ((3, 3), "cross_entropy")]
)
def test_parametrization_weights_and_regularisation_against_twin(hidden, loss, parametrization):
    outputs = 1 if loss == "mse" else 3
    weights = np.array([0.5, 0.0, 2.0, 1.0, 3.0, 0.25])
    for maxnorm, ridge in [(np.inf, 0.0), (np.inf, 0.3), (2.0, 0.0), (1e3, 0.0), (0.0, 0.1)]:
        net = make_net(
            hidden,
            outputs,
            loss,
            weights=weights,
            parametrization=parametrization,
            maxnorm=maxnorm,
            ridge=ridge,
        )
        assert_like_twin(net, random_params(net, rng=5, init="standard_normal"))


@pytest.mark.parametrize("hidden", [(3,), (4, 3), (2, 3, 2)])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_derivatives_against_central_differences(hidden, loss):
    net = make_net(
        hidden,
        1 if loss == "mse" else 3,
        loss,
        samples=20,
        maxnorm=1.0,
        ridge=0.1,
        parametrization="ntk",
    )
    theta = random_params(net, rng=2, init="standard_normal")
    # fourth-order differences: truncation of order h^4 = 1e-12, rounding 1e-16/h, both times
    # derivatives <~ 1e2
    h = 1e-3
    steps = h * np.eye(net.num_params)

    def difference(f):
        return np.array(
            [
                8 * (f(theta + s) - f(theta - s)) - (f(theta + 2 * s) - f(theta - 2 * s))
                for s in steps
            ]
        ) / (12 * h)

    exact = net.evaluate(theta, 2)
    assert largest_error(difference(lambda t: net.evaluate(t).value), exact.gradient) < 1e-9
    assert largest_error(difference(lambda t: net.evaluate(t, 1).gradient), exact.hessian) < 1e-9


def test_kinked_activations_against_twin():
    rng = np.random.default_rng(0)
    for names in (["relu", "abs", "leaky_relu"], ["elu", "relu", "identity"]):
        net = Net(
            [(3, names, True), (2, "identity", True)],
            input=rng.standard_normal((9, 4)),
            target=np.ones((9, 2)),
        )
        assert_like_twin(net, random_params(net, rng=1))


def test_linear_hidden_layers_against_twin():
    rng = np.random.default_rng(0)
    for hidden in (
        [(3, "identity", True)],
        [(3, "tanh", True), (2, "linear", False)],
        [(2, "linear", True)] * 2,
    ):
        for outputs in (1, 2):
            net = Net(
                [*hidden, (outputs, "identity", True)],
                input=rng.standard_normal((5, 3)),
                target=np.ones((5, outputs)),
            )
            assert_like_twin(net, random_params(net, rng=1, init="standard_normal"))


def test_wide_layers_take_the_other_ways_of_the_hessian():
    """Tiles of part of a row, thick first layers, chunks of rows: sizes that the small nets above
    don't reach.
    """
    for hidden, outputs, loss, dim in [
        ((40, 30), 1, "mse", 3),
        ((30, 8), 3, "cross_entropy", 70),
        ((9,), 3, "mse", 20),
    ]:
        net = make_net(hidden, outputs, loss, dim=dim, samples=300)
        theta = random_params(net, rng=1, init="standard_normal")
        exact = net.evaluate(theta, 2)
        v = np.random.default_rng(0).standard_normal((net.num_params, 5))
        assert largest_error(exact.hessian @ v, net.hvp(theta, v)) < TWIN
        assert largest_error(exact.gradient, net.evaluate(theta, 1).gradient) < TWIN


def test_mse_written_out():
    X = np.array([[1.0, 2.0], [3.0, -1.0]])
    y = np.array([[1.0, 0.0], [0.0, 2.0]])
    W = np.array([[1.0, -1.0], [0.5, 2.0]])
    b = np.array([0.1, -0.2])
    net = Net([(2, "identity", True)], input=X, target=y, weights=[1, 3])
    theta = net.pack([(W, b)])
    errors = np.sum((X @ W.T + b - y) ** 2, axis=1)
    assert net.evaluate(theta).value == pytest.approx((errors[0] + 3 * errors[1]) / 4, rel=1e-15)
    np.testing.assert_allclose(net.predict(theta, X), X @ W.T + b, rtol=1e-15)


def test_cross_entropy_written_out_and_stable():
    X = np.eye(3)
    net = Net([(3, "identity", False)], input=X, target=[0, 1, 2], loss="cross_entropy")
    z = np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0], [2.0, 2.0, 2.0]])
    expected = np.mean([np.log(np.exp(row).sum()) - row[k] for k, row in enumerate(z)])
    assert net.evaluate(net.pack([(z.T, None)])).value == pytest.approx(expected, rel=1e-15)
    far = net.evaluate(
        net.pack([(-1e3 * np.eye(3), None)]), 2
    )  # the worst label by 1e3: softmax underflows
    assert far.value == pytest.approx(1e3 + np.log(2), rel=1e-15)
    assert np.isfinite(far.gradient).all()
    right = net.evaluate(
        net.pack([(50 * np.eye(3), None)]), 1
    )  # loss 2 exp(-50), far below the spacing of 1.0
    assert right.value == pytest.approx(2 * np.exp(-50), rel=1e-13)
    assert right.gradient[0] == pytest.approx(-2 * np.exp(-50) / 3, rel=1e-13)


def test_barrier_and_ridge_written_out():
    net = make_net((2,), maxnorm=1.5, ridge=0.2)
    bare = make_net((2,))
    theta = np.linspace(-1, 1, net.num_params) * 1.5
    r = theta @ theta / 2
    assert r > 1.5
    added = (r - 1.5) ** 2 + 0.1 * theta @ theta
    assert net.evaluate(theta).value == pytest.approx(bare.evaluate(theta).value + added, rel=1e-14)
    inside = 0.1 * theta
    assert net.evaluate(inside).value == pytest.approx(
        bare.evaluate(inside).value + 0.1 * inside @ inside, rel=1e-14
    )


def test_parametrization_scales_weights_not_biases():
    X = np.random.default_rng(0).standard_normal((4, 9))
    net = Net([(4, "tanh", True), (1, "identity", True)], input_dim=9, parametrization="ntk")
    theta = random_params(net, init="standard_normal")
    (W, b), (A, c) = net.unpack(theta)
    np.testing.assert_allclose(
        net.predict(theta, X), np.tanh(X @ W.T / 3 + b) @ A.T / 2 + c, rtol=1e-13
    )


@pytest.mark.parametrize(
    ("hidden", "outputs", "loss"),
    [((7,), 1, "mse"), ((4,), 3, "mse"), ((5, 4), 1, "mse"), ((5,), 3, "cross_entropy")],
)
def test_many_blocks_of_samples_give_the_mean_over_parts(hidden, outputs, loss):
    """9001 samples take several blocks, the last of which overlaps; the parts take fewer."""
    weights = np.random.default_rng(1).random(9001)
    for w in (None, weights):
        net = make_net(hidden, outputs, loss, samples=9001, weights=w)
        theta = random_params(net, rng=1, init="standard_normal")
        v = np.random.default_rng(0).standard_normal((net.num_params, 3))
        whole = net.evaluate(theta, 2)
        product = net.hvp(theta, v)
        expected = 0.0
        hvp_expected = 0.0
        gradient = 0.0
        hessian = 0.0
        for part in np.array_split(np.arange(9001), 61):
            some = net.subset(part)
            fraction = len(part) / 9001
            result = some.evaluate(theta, 2)
            expected += fraction * result.value
            gradient = gradient + fraction * result.gradient
            hessian = hessian + fraction * result.hessian
            hvp_expected = hvp_expected + fraction * some.hvp(theta, v)
        assert whole.value == pytest.approx(expected, rel=TWIN)
        assert largest_error(whole.gradient, gradient) < TWIN
        assert largest_error(net.evaluate(theta, 1).gradient, gradient) < TWIN
        assert largest_error(whole.hessian, hessian) < TWIN
        assert largest_error(product, hvp_expected) < TWIN
        np.testing.assert_allclose(
            net.predict(theta, net.data.X)[8990:], net.predict(theta, net.data.X[8990:]), rtol=1e-12
        )


def test_the_gradient_of_minibatches_is_unbiased_with_sample_weights():
    net = make_net((3,), samples=6, weights=[5.0, 0.0, 0.0, 1.0, 2.0, 0.5], ridge=0.1)
    theta = random_params(net, rng=1)
    pairs = itertools.combinations(range(6), 2)
    batches = [net.subset(np.array(pair)).evaluate(theta, 1) for pair in pairs]
    whole = net.evaluate(theta, 1)
    assert np.mean([batch.value for batch in batches]) == pytest.approx(whole.value, rel=1e-14)
    assert (
        largest_error(np.mean([batch.gradient for batch in batches], axis=0), whole.gradient) < TWIN
    )
    assert net.subset(np.array([1, 2])).evaluate(theta).value == pytest.approx(
        0.05 * theta @ theta, rel=1e-14
    )


@pytest.mark.parametrize("kept", [2**28, 0])
@pytest.mark.parametrize(
    ("hidden", "outputs", "loss"), [((7,), 1, "mse"), ((5, 4), 3, "cross_entropy")]
)
def test_linearization_is_the_hessian(hidden, outputs, loss, kept, monkeypatch):
    """With the passes over the data kept, and with more samples than are kept."""
    monkeypatch.setattr(net_hvp, "KEPT_BYTES", kept)
    weights = np.random.default_rng(1).random(9001)
    net = make_net(
        hidden, outputs, loss, samples=9001, weights=weights, ridge=0.1, parametrization="ntk"
    )
    theta = random_params(net, rng=1)
    v = np.random.default_rng(0).standard_normal((net.num_params, 300))
    product = net.linearize(theta)
    hessian = net.evaluate(theta, 2).hessian
    theta *= 2.0  # the operator keeps its own
    for _ in range(2):
        assert largest_error(product(v[:, 0]), hessian @ v[:, 0]) < TWIN
        assert largest_error(product(v), hessian @ v) < TWIN
    with pytest.raises(ShapeError):
        product(v[1:])


def test_hvp_of_one_direction_and_of_many_chunks():
    net = make_net((5, 4), samples=50)
    theta = random_params(net, rng=1)
    hessian = net.evaluate(theta, 2).hessian
    v = np.random.default_rng(0).standard_normal(
        (net.num_params, 1500)
    )  # more than one chunk of directions
    assert net.hvp(theta, v[:, 0]).shape == (net.num_params,)
    assert largest_error(net.hvp(theta, v[:, 0]), hessian @ v[:, 0]) < TWIN
    assert largest_error(net.hvp(theta, v), hessian @ v) < TWIN


def test_weights_equal_repetition():
    net = make_net((3,), samples=4, weights=[1, 2, 0, 3])
    repeated = net.with_data(
        *(np.repeat(a, [1, 2, 0, 3], axis=0) for a in (net.data.X, net.data.target))
    )
    theta = random_params(net, rng=1)
    for a, b in zip(net.evaluate(theta, 2), repeated.evaluate(theta, 2), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_results_of_earlier_calls_are_not_overwritten():
    net = make_net((3,))
    a = random_params(net, rng=1)
    b = random_params(net, rng=2)
    first = net.evaluate(a, 2)
    copies = [np.copy(part) for part in first]
    net.evaluate(b, 2)
    net.hvp(b, b)
    for part, copy in zip(first, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_threads_share_a_net():
    net = make_net((6, 5), samples=2000)
    thetas = [random_params(net, rng=k) for k in range(8)]
    alone = [net.evaluate(theta, 2).hessian for theta in thetas]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda theta: net.evaluate(theta, 2).hessian, thetas))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_pickle_keeps_the_net_and_drops_workspaces():
    net = make_net((4,), samples=1000, ridge=0.1, parametrization="ntk", mixed=True)
    theta = random_params(net, rng=1)
    before = net.evaluate(theta, 2)
    data = pickle.dumps(net)
    assert len(data) < 2 * net.data.X.nbytes + net.data.target.nbytes + 5000
    after = pickle.loads(data).evaluate(theta, 2)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_properties():
    net = Net([(3, ["tanh", "relu", "erf"], True), (2, "identity", False)], input_dim=4)
    assert (net.num_params, net.input_dim, net.output_dim, net.has_data) == (21, 4, 2, False)
    assert [layer.width for layer in net.layers] == [3, 2]
    assert [a.name for a in net.layers[0].activations] == ["tanh", "relu", "erf"]
    assert [layer.bias for layer in net.layers] == [True, False]
    assert net.weight_factors == (1.0, 1.0)
    assert repr(net) == "Net(4-3-2, 21 parameters, mse)"
    full = net.with_data(np.zeros((7, 4)), np.zeros((7, 2)))
    assert full.has_data
    assert not net.has_data
    assert "7 samples" in repr(full)
    assert Net(full.layers, input_dim=4).num_params == 21  # layers can be reused


def test_data_is_not_copied_and_other_dtypes_are_converted():
    X = np.random.default_rng(0).standard_normal((5, 2))
    net = Net([(1, "identity", True)], input=X, target=np.arange(5))
    assert net.data.X is X
    assert net.data.target.dtype == np.float64
    single = Net([(1, "identity", True)], input=X.astype(np.float32), target=np.arange(5))
    assert single.data.X.dtype == np.float64
    X.setflags(write=False)
    read_only = Net([(2, "tanh", True), (1, "identity", True)], input=X, target=np.arange(5.0))
    assert np.isfinite(read_only.evaluate(np.ones(9), 2).hessian).all()


def test_user_activations():
    cubic = Activation.from_callable(
        "cubic", lambda x: x**3, derivatives=[lambda x: 3 * x**2, lambda x: 6 * x]
    )
    rng = np.random.default_rng(0)
    net = Net(
        [(3, [cubic, "cube", cubic], True), (1, "identity", True)],
        input=rng.standard_normal((6, 2)),
        target=np.ones(6),
    )
    assert_like_twin(net, random_params(net, rng=1))


def test_overflow_gives_a_value_that_is_not_finite_without_warnings():
    net = make_net((3,), out="exp")
    result = net.evaluate(np.full(net.num_params, 1e6), 1)
    assert not np.isfinite(result.value)
