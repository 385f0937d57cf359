"""Layout of the parameter vector, initial parameters, parametrizations."""

import numpy as np
import pytest

from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError, UnknownNameError
from infflow.networks.finite.net import Net
from infflow.networks.parameters import Layout, random_params, weight_factors

LAYERS = [(4, "softplus", True), (3, "tanh", False), (2, "identity", True)]


@pytest.fixture
def net():
    return Net(LAYERS, input_dim=5)


def test_order_is_layer_by_layer_weights_row_major_then_bias(net):
    theta = np.arange(float(net.num_params))
    (W1, b1), (W2, b2), (W3, b3) = net.unpack(theta)
    np.testing.assert_array_equal(W1, np.arange(20.0).reshape(4, 5))
    np.testing.assert_array_equal(b1, [20, 21, 22, 23])
    np.testing.assert_array_equal(W2, np.arange(24.0, 36.0).reshape(3, 4))
    assert b2 is None
    np.testing.assert_array_equal(W3, np.arange(36.0, 42.0).reshape(2, 3))
    np.testing.assert_array_equal(b3, [42, 43])
    assert net.num_params == 44
    np.testing.assert_array_equal(net.pack(net.unpack(theta)), theta)


def test_unpack_gives_views(net):
    theta = np.zeros(net.num_params)
    net.unpack(theta)[2][1][1] = 7.0
    assert theta[-1] == 7.0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda pairs: pairs[:2], "list of 3 pairs"),
        (
            lambda pairs: [(pairs[0][0].T, pairs[0][1]), *pairs[1:]],
            r"W of layer 0 has shape \(5, 4\)",
        ),
        (lambda pairs: [(pairs[0][0], None), *pairs[1:]], "layer 0 has a bias, but None"),
        (lambda pairs: [pairs[0], (pairs[1][0], np.zeros(3)), pairs[2]], "layer 1 has no bias"),
        (lambda pairs: [pairs[0][0], *pairs[1:]], "entry 0 of pack is not a pair"),
    ],
)
def test_pack_refuses(net, change, text):
    with pytest.raises(ShapeError, match=text):
        net.pack(change(net.unpack(np.zeros(net.num_params))))


def test_pack_refuses_nan(net):
    pairs = net.unpack(np.zeros(net.num_params).copy())
    pairs[0] = (np.full((4, 5), np.nan), pairs[0][1])
    with pytest.raises(InvalidValueError, match="W of layer 0 contains nan"):
        net.pack(pairs)


def test_check_passes_good_vectors_through_and_converts_others(net):
    theta = np.ones(net.num_params)
    assert net.layout.check(theta) is theta
    assert net.layout.check(list(theta)).dtype == np.float64
    assert net.layout.check(theta.astype(np.float32)).dtype == np.float64
    strided = np.ones(2 * net.num_params)[::2]
    assert net.layout.check(strided).flags.c_contiguous
    huge = np.full(net.num_params, 1e200)  # the square overflows, the vector is finite
    np.testing.assert_array_equal(net.layout.check(huge), huge)
    theta.setflags(write=False)
    assert net.layout.check(theta).flags.writeable


@pytest.mark.parametrize("size", [0, 43, 45])
def test_check_refuses_wrong_length(net, size):
    with pytest.raises(ShapeError, match=r"\(44,\) is needed"):
        net.layout.check(np.zeros(size))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_check_refuses_non_finite(net, bad):
    theta = np.zeros(net.num_params)
    theta[3] = bad
    with pytest.raises(InvalidValueError, match=r"theta contains .* at index \(3,\)"):
        net.layout.check(theta)


def test_check_refuses_other_types(net):
    with pytest.raises(InvalidTypeError):
        net.layout.check("theta")
    with pytest.raises(InvalidTypeError):
        net.layout.check(np.zeros(44, dtype=complex))


def test_glorot_variances_and_zero_biases():
    big = Net([(300, "relu", True), (200, "identity", True)], input_dim=100)
    for init in ("glorot_normal", "glorot_uniform"):
        (W1, b1), (W2, b2) = big.unpack(random_params(big, rng=1, init=init))
        # standard error of a variance from 3e4 and 6e4 draws: below 1 %
        assert W1.var() == pytest.approx(2 / 400, rel=0.04)
        assert W2.var() == pytest.approx(2 / 500, rel=0.04)
        assert abs(W1.mean()) < 4 * W1.std() / np.sqrt(W1.size)
        assert not b1.any()
        assert not b2.any()
    assert abs(W2).max() <= np.sqrt(6 / 500)  # uniform
    (W1, b1), _ = big.unpack(random_params(big, rng=1, init="standard_normal"))
    assert W1.var() == pytest.approx(1.0, rel=0.04)
    assert 0.7 < b1.var() < 1.3


def test_random_params_is_reproducible_and_takes_generators(net):
    np.testing.assert_array_equal(random_params(net), random_params(net, rng=0))
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(random_params(net, rng=generator), random_params(net, rng=0))
    assert (random_params(net, rng=generator) != random_params(net, rng=0)).any()


def test_callable_init_sees_every_shape_in_order(net):
    shapes = []

    def init(rng, shape):
        shapes.append(shape)
        return np.full(shape, len(shapes))

    theta = random_params(net, init=init)
    assert shapes == [(4, 5), (4,), (3, 4), (2, 3), (2,)]
    np.testing.assert_array_equal(theta, np.repeat([1.0, 2, 3, 4, 5], [20, 4, 12, 6, 2]))
    with pytest.raises(ShapeError, match="result of init has shape"):
        random_params(net, init=lambda rng, shape: np.zeros(3))


def test_random_params_refuses(net):
    with pytest.raises(UnknownNameError, match="Did you mean 'glorot_normal'"):
        random_params(net, init="glorot-norm")
    with pytest.raises(InvalidTypeError):
        random_params(net, init=3)
    with pytest.raises(InvalidTypeError):
        random_params(net, rng="seed")
    with pytest.raises(InvalidValueError):
        random_params(net, rng=-1)
    with pytest.raises(InvalidTypeError, match="needs a Net or a NetI"):
        random_params(np.zeros(3))


def test_weight_factors():
    layout = Layout(9, [(4, True), (16, True), (1, False)])
    assert repr(layout) == "Layout(W 4x9 and b 4, W 16x4 and b 16, W 1x16; 136 parameters)"
    assert weight_factors(layout, "standard") == (1.0, 1.0, 1.0)
    assert weight_factors(layout, "ntk") == (1 / 3, 1 / 2, 1 / 4)
    assert weight_factors(layout, "mean_field") == (1.0, 1 / 4, 1 / 16)
    with pytest.raises(UnknownNameError, match="mean_field"):
        weight_factors(layout, "mean-field")


@pytest.mark.parametrize("number", [10**400, 2**62, 10**9], ids=["10^400", "2^62", "10^9"])
def test_widths_beyond_any_memory_are_refused(number):
    with pytest.raises(
        InvalidValueError, match=r"width of layers\[0\] is .*; it must be at most 100000000"
    ):
        Net([(number, "relu", True), (1, "identity", True)], input_dim=2)
    with pytest.raises(InvalidValueError, match=r"input_dim is .*; it must be at most 100000000"):
        Net([(3, "relu", True), (1, "identity", True)], input_dim=number)
