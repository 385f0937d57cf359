"""The public functions, gradient covariance, and bounds on memory."""

import tracemalloc

import numpy as np
import pytest

from infflow import memory
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    TooLargeError,
)
from infflow.networks.eigenvalues import hessian_spectrum
from infflow.networks.finite import readable
from infflow.networks.finite.covariance import GradientMoments, gradient_covariance
from infflow.networks.finite.net import Net
from infflow.networks.functions import gradient, hessian, hvp, loss
from infflow.networks.parameters import random_params

MEGABYTE = 2**20


def make_net(layers, dim, samples, loss="mse", **options):
    rng = np.random.default_rng(3)
    outputs = layers[-1][0]
    y = (
        rng.standard_normal((samples, outputs))
        if loss == "mse"
        else rng.integers(0, outputs, samples)
    )
    return Net(layers, input=rng.standard_normal((samples, dim)), target=y, loss=loss, **options)


def small_net(**options):
    return make_net([(3, "softplus", True), (1, "identity", True)], 2, 30, **options)


def test_functions_agree_with_evaluate():
    net = small_net(ridge=0.1)
    theta = random_params(net, rng=1)
    result = net.evaluate(theta, 2)
    assert isinstance(loss(net, theta), float)
    assert loss(net, theta) == net.evaluate(theta).value
    np.testing.assert_allclose(gradient(net, theta), result.gradient, rtol=1e-13)
    np.testing.assert_array_equal(hessian(net, theta), result.hessian)
    np.testing.assert_array_equal(hvp(net, theta, theta), net.hvp(theta, theta))
    assert loss(net, list(theta)) == loss(net, theta)


def test_loss_on_other_data():
    net = small_net(ridge=0.1)
    theta = random_params(net, rng=1)
    X = np.zeros((2, 2))
    y = np.array([1.0, 2.0])
    z = net.predict(theta, X)[:, 0]
    ridge = 0.05 * theta @ theta
    assert loss(net, theta, X, y) == pytest.approx(np.mean((z - y) ** 2) + ridge, rel=1e-14)
    assert loss(net, theta, X, y, [1, 3]) == pytest.approx(
        ((z - y) ** 2) @ [0.25, 0.75] + ridge, rel=1e-14
    )


def test_spectrum_diagonalises_the_hessian():
    net = small_net()
    theta = random_params(net, rng=1)
    values, vectors = spectrum = hessian_spectrum(net, theta)
    assert spectrum.values is values
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(
        vectors @ np.diag(values) @ vectors.T, hessian(net, theta), atol=1e-13 * values[-1]
    )


class Quadratic:
    """Any objective will do: the functions see only ``evaluate`` and ``hvp``."""

    num_params = 2

    def evaluate(self, theta, order=0):
        from infflow.objective import Evaluation

        return Evaluation(theta @ theta, 2 * theta, 2 * np.eye(2))

    def hvp(self, theta, v):
        return 2 * v


def test_functions_take_any_objective():
    theta = np.array([1.0, 2.0])
    assert loss(Quadratic(), theta) == 5.0
    np.testing.assert_array_equal(gradient(Quadratic(), theta), [2, 4])
    np.testing.assert_array_equal(hessian_spectrum(Quadratic(), theta).values, [2, 2])
    np.testing.assert_array_equal(hvp(Quadratic(), theta, theta), [2, 4])


def test_theta_for_any_objective_may_be_a_list_and_is_checked():
    assert loss(Quadratic(), [1, 2]) == 5.0 and gradient(Quadratic(), (1, 2)).tolist() == [2.0, 4.0]
    assert hvp(Quadratic(), [1, 2], [1, 0]).tolist() == [2.0, 0.0]
    assert hvp(Quadratic(), [1, 2], [[1, 0, 3], [0, 1, 3]]).tolist() == [
        [2.0, 0.0, 6.0],
        [0.0, 2.0, 6.0],
    ]
    for function in (
        loss,
        gradient,
        hessian,
        hessian_spectrum,
        lambda net, theta: hvp(net, theta, [1.0, 0.0]),
    ):
        with pytest.raises(ShapeError, match=r"theta has shape \(3,\); \(2,\) is needed"):
            function(Quadratic(), [1, 2, 3])
        with pytest.raises(InvalidValueError, match="theta contains nan"):
            function(Quadratic(), [1, np.nan])
        with pytest.raises(InvalidTypeError, match="theta has dtype object"):
            function(Quadratic(), [1, None])
    for v in ([1.0], np.eye(3), 1.0):
        with pytest.raises(ShapeError, match="v has shape"):
            hvp(Quadratic(), [1, 2], v)


def test_what_an_objective_leaves_out():
    class ValueOnly(Quadratic):
        def evaluate(self, theta, order=0):
            return super().evaluate(theta, order)._replace(gradient=None, hessian=None)

    assert loss(ValueOnly(), [1, 2]) == 5.0
    for function, name in ((gradient, "gradient"), (hessian, "Hessian")):
        with pytest.raises(MethodError, match=f"of ValueOnly left out the {name}"):
            function(ValueOnly(), [1, 2])


# ------------------------------------------------------------------------------------------------
# gradient covariance


@pytest.mark.parametrize("weights", [None, np.arange(7.0)])
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
@pytest.mark.parametrize(
    ("layers", "dim", "loss_name"),
    [
        ([(3, "softplus", True), (1, "identity", True)], 2, "mse"),
        ([(3, "tanh", False), (2, "identity", False)], 18, "mse"),
        ([(3, "tanh", True), (2, "gelu", False), (2, "tanh", True)], 2, "mse"),
        ([(3, "tanh", True), (3, "identity", True)], 4, "cross_entropy"),
        ([(3, "identity", True)], 4, "cross_entropy"),
    ],
)
def test_covariance_against_twin(layers, dim, loss_name, parametrization, weights):
    net = make_net(
        layers, dim, 7, loss_name, weights=weights, parametrization=parametrization, ridge=1.0
    )
    theta = random_params(net, rng=1, init="standard_normal")
    expected = readable.covariance(net, theta)
    found = gradient_covariance(net, theta)
    assert np.abs(found - expected).max() < 1e-12 * np.abs(expected).max()
    np.testing.assert_array_equal(found, found.T)


def test_moments_of_batches_are_those_of_all_samples():
    net = make_net([(3, "softplus", True), (1, "identity", True)], 2, 9000)
    theta = random_params(net, rng=1)
    moments = GradientMoments(net.num_params)
    for part in np.array_split(np.arange(9000), [100, 5000]):
        moments.add(net.subset(part), theta)
    whole = gradient_covariance(net, theta)
    assert moments.weight == 9000
    assert np.abs(moments.covariance() - whole).max() < 1e-12 * np.abs(whole).max()
    np.testing.assert_allclose(moments.mean(), gradient(net, theta), rtol=1e-11, atol=1e-14)
    np.testing.assert_array_equal(moments.covariance(), moments.finish())


def test_moments_refuse():
    net = small_net()
    with pytest.raises(InvalidValueError, match="no samples"):
        GradientMoments(5).covariance()
    with pytest.raises(ShapeError, match="13 parameters"):
        GradientMoments(5).add(net, random_params(net))
    with pytest.raises(InvalidValueError, match="no data"):
        gradient_covariance(Net(net.layers, input_dim=2), random_params(net))


# --------------------------------------------------------------------------------------------------
# memory


def peak(function, *arguments):
    function(*arguments)  # compilation
    arguments[0].architecture._pool.clear()
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SIZES = [
    ([(25, "softplus", True), (1, "identity", True)], 2, 200_000, "mse"),
    ([(600, "tanh", True), (1, "identity", True)], 1, 500, "mse"),
    ([(400, "tanh", True), (3, "identity", True)], 1, 300, "mse"),
    ([(30, "tanh", True), (10, "identity", True)], 40, 500, "cross_entropy"),
    ([(10, "tanh", True), (10, "tanh", True), (1, "identity", True)], 2, 20_000, "mse"),
    ([(40, "tanh", True), (30, "tanh", True), (2, "identity", True)], 2, 300, "mse"),
]


@pytest.mark.parametrize(("layers", "dim", "samples", "loss_name"), SIZES)
def test_memory_beyond_the_result_stays_below_64_megabytes(layers, dim, samples, loss_name):
    net = make_net(layers, dim, samples, loss_name)
    theta = random_params(net)
    square = 8 * net.num_params**2
    assert peak(gradient, net, theta) < 64 * MEGABYTE
    assert peak(hessian, net, theta) < square + 64 * MEGABYTE
    assert peak(hvp, net, theta, np.ones((net.num_params, 4))) < 64 * MEGABYTE
    assert peak(gradient_covariance, net, theta) < square + 64 * MEGABYTE


def test_memory_of_many_inputs():
    net = make_net([(100, "relu", True), (10, "identity", True)], 784, 3000, "cross_entropy")
    theta = random_params(net)
    assert peak(gradient, net, theta) < 64 * MEGABYTE
    assert peak(hvp, net, theta, theta) < 64 * MEGABYTE


def test_hessian_that_does_not_fit_names_the_alternatives(monkeypatch):
    net = make_net([(600, "tanh", True), (1, "identity", True)], 2, 10)
    theta = random_params(net)
    monkeypatch.setattr(memory, "available_memory", lambda: 80 * MEGABYTE)
    with pytest.raises(TooLargeError, match=r"2401 parameters.*hvp.*cvode_bdf.*gmres.*lbfgs"):
        hessian(net, theta)
    with pytest.raises(TooLargeError, match=r"2401 parameters.*subset"):
        gradient_covariance(net, theta)
    assert np.isfinite(hvp(net, theta, theta)).all()
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # unknown: try
    assert hessian(net, theta).shape == (2401, 2401)


def test_hessian_of_the_largest_case_is_refused():
    net = make_net(
        [(5000, "relu", True), (100, "relu", True), (10, "identity", True)], 784, 4, "cross_entropy"
    )
    with pytest.raises(TooLargeError, match="hvp"):
        hessian(net, random_params(net))


def test_available_memory_is_plausible():
    assert 2**20 < memory.available_memory() < 2**50
