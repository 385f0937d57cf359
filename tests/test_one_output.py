"""Perceptrons with one hidden layer and one output, which have quick ways of their own."""

import subprocess
import sys

import numpy as np
import pytest

from infflow.activations import REGISTRY, Activation
from infflow.errors import DivergedError
from infflow.networks import functions
from infflow.networks.finite import one_output, readable
from infflow.networks.finite.losses.mean_squared_error import MeanSquaredError
from infflow.networks.finite.net import Net

# Relative to the largest entry, as in test_net.py.
TWIN = 1e-12


def make_net(hidden=3, dim=2, samples=6, bias=(True, True), name="softplus", **options):
    rng = np.random.default_rng(dim + samples)
    layers = [(hidden, name, bias[0]), (1, "identity", bias[1])]
    net = Net(
        layers,
        input=rng.standard_normal((samples, dim)),
        target=rng.standard_normal(samples),
        **options,
    )
    return net, 0.5 * rng.standard_normal(net.num_params)


def difference(found, wanted):
    return np.max(np.abs(found - wanted)) / max(1.0, np.max(np.abs(wanted)))


@pytest.mark.parametrize("bias", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("dim", [1, 2, 3, 16])
@pytest.mark.parametrize("products", [0, 2**40])
def test_loops_and_blas_against_twin(dim, bias, products, monkeypatch):
    monkeypatch.setattr(one_output, "FEW_PRODUCTS", products)
    net, theta = make_net(dim=dim, bias=bias)
    assert net.needs_no_blas(2) == (products > 0)
    value, gradient, hessian = readable.derivatives(net, theta)
    found = net.evaluate(theta, 2)
    assert difference(found.value, value) < TWIN
    assert difference(found.g, gradient) < TWIN
    assert difference(found.H, hessian) < TWIN
    assert (found.H == found.H.T).all()
    assert difference(net.evaluate(theta, 1).g, gradient) < TWIN
    assert net.evaluate(theta, 0).value == net.evaluate(theta, 1).value == found.value


@pytest.mark.parametrize("name", ["identity", ["tanh", "relu", "gelu"]])
@pytest.mark.parametrize("samples", [6, 150, 9001])  # loops, BLAS, several blocks
def test_weights_and_mixed_layers_against_twin(name, samples):
    weights = 1.0 + np.arange(samples) % 5
    net, theta = make_net(name=name, samples=samples, weights=weights)
    found = net.evaluate(theta, 2)
    for part in range(3):
        wanted = 0.0
        for start in range(0, samples, 500):
            part_net = net.subset(np.arange(start, min(start + 500, samples)))
            share = len(part_net.data.X) / samples  # subset scales its weights by the inverse
            wanted = wanted + share * readable.derivatives(part_net, theta)[part]
        assert difference(found[part], wanted) < TWIN


def test_what_is_called_small_is_one_block():
    for hidden in (1, 2, 5, 40):
        for dim in (1, 2, 16):
            arch = make_net(hidden=hidden, dim=dim, bias=(False, False))[0].architecture
            for samples in (1, 10, 127, 128, 129, 9000):
                if one_output.is_small(arch, samples, 2):
                    assert one_output._block_size(arch, samples, 2) == samples


def test_two_parameters_and_many_samples():
    net, theta = make_net(hidden=1, dim=1, samples=8000, bias=(False, False))
    halves = [net.subset(np.arange(start, start + 4000)) for start in (0, 4000)]
    wanted = sum(functions.hessian(half, theta) for half in halves) / 2
    assert difference(functions.hessian(net, theta), wanted) < TWIN


def test_other_losses_have_value_and_gradient_here():
    net, theta = make_net(loss="huber(0.3)", samples=20)
    assert not net.is_compiled  # its Hessian is not
    value, gradient, hessian = readable.derivatives(net, theta)
    found = net.evaluate(theta, 2)
    assert difference(found.H, hessian) < TWIN
    assert difference(net.evaluate(theta, 1).g, gradient) < TWIN
    assert difference(net.evaluate(theta, 0).value, value) < TWIN


class Overwrites(MeanSquaredError):
    """A squared error in Python that uses the array of weights as room of its own."""

    def value_and_gradient(self, z, target, w, gradient):
        error = z - target.T
        w *= 2.0
        np.multiply(w, error, out=gradient)
        return float(np.sum(gradient * error)) / 2.0


def test_weights_that_a_loss_overwrites_are_written_again():
    net, theta = make_net(loss=Overwrites())
    wanted = make_net()[0].evaluate(theta, 1)
    for order in (0, 1, 1):
        found = net.evaluate(theta, order)
        assert difference(found.value, wanted.value) < TWIN
    assert difference(found.g, wanted.g) < TWIN


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_compiled_activations_never_warn(name):
    activation = REGISTRY[name]
    assert activation.is_compiled
    points = np.array([-1e308, -1e5, -800.0, 0.0, 800.0, 1e5, 1e308])
    with np.errstate(all="raise"):
        activation.jet(points, np.empty((activation.max_order + 1, len(points))))


def test_what_is_not_compiled_is_told_apart():
    own = Activation.from_callable("own", np.tanh, derivatives=[lambda x: 1 - np.tanh(x) ** 2])
    assert not own.is_compiled
    assert make_net()[0].is_compiled
    for options in ({"name": own}, {"ridge": 0.1}, {"parametrization": "ntk"}):
        assert not make_net(**options)[0].is_compiled


@pytest.mark.parametrize("function", [functions.loss, functions.gradient, functions.hessian])
def test_public_functions_of_compiled_nets_raise_where_numbers_overflow(function):
    net, theta = make_net()
    with pytest.raises(DivergedError, match="not finite"), np.errstate(all="raise"):
        function(net, 1e200 * theta)


GRADIENT = """
import numpy as np
from infflow.networks.finite import one_output_kernels as kernels
from infflow.networks.finite.net import Net
net = Net([(2, "tanh", True), (1, "identity", True)], input=np.eye(2), target=np.ones(2))
net.evaluate(np.ones(net.num_params), 1)
assert kernels.add_gradient.signatures
assert not kernels.small_derivatives.signatures
assert not kernels.add_residual_part.signatures
"""


def test_gradients_compile_nothing_of_the_hessian():
    subprocess.run([sys.executable, "-c", GRADIENT], check=True)
