"""PyTorch: the same outputs and derivatives on both sides, and clear errors for
what has no equal.
"""

import builtins
import warnings

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InfflowError, InvalidTypeError, InvalidValueError, MissingPackageError

NAMES = [
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "sigmoid",
    "tanh",
    "softplus",
    "silu",
    "gelu",
]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_without_torch(monkeypatch):
    original = builtins.__import__

    def without(name, *details, **more):
        if name == "torch":
            raise ImportError(name)
        return original(name, *details, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    net = inf.Net([(1, "identity", False)], input_dim=1)
    calls = {
        "to_torch": lambda: inf.to_torch(net, [1.0]),
        "from_torch": lambda: inf.from_torch(None),
    }
    for name, call in calls.items():
        message = rf"inf\.{name} needs torch.* pip install 'infflow\[torch\]'"
        with pytest.raises(MissingPackageError, match=message):
            call()


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(torch, name):
    net = inf.Net([(4, name, True), (3, "tanh", False), (2, name, True)], input_dim=3)
    theta = inf.random_params(net, 0, init="standard_normal")
    module = inf.to_torch(net, theta)
    X = 3.0 * np.random.default_rng(1).standard_normal((200, 3))
    outputs = module(torch.tensor(X)).detach().numpy()
    scale = np.abs(outputs).max()
    np.testing.assert_allclose(outputs, net.predict(theta, X), rtol=1e-12, atol=1e-12 * scale)
    vector = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    np.testing.assert_array_equal(vector, theta)
    back, again = inf.from_torch(module)
    np.testing.assert_array_equal(again, theta)
    assert back.layers == net.layers and back.input_dim == 3
    with torch.no_grad():
        module[0].weight.zero_()  # copies on both sides
    np.testing.assert_array_equal(net.unpack(theta)[0][0], back.unpack(again)[0][0])
    assert again[0] != 0


def test_gradient_equals_autograd(torch):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((50, 2))
    y = rng.standard_normal((50, 2))
    module = torch.nn.Sequential(
        torch.nn.Linear(2, 5),
        torch.nn.GELU(),
        torch.nn.Sequential(torch.nn.Linear(5, 4, bias=False), torch.nn.SiLU()),
        torch.nn.Linear(4, 3),
        torch.nn.Linear(3, 2),
    ).double()
    net, theta = inf.from_torch(module, input=X, target=y)
    assert [layer.activations[0].name for layer in net.layers] == [
        "gelu",
        "silu",
        "identity",
        "identity",
    ]
    assert [layer.bias for layer in net.layers] == [True, False, True, True]
    loss = ((module(torch.tensor(X)) - torch.tensor(y)) ** 2).sum(dim=1).mean()
    loss.backward()
    gradient = np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])
    assert inf.loss(net, theta) == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(inf.gradient(net, theta), gradient, rtol=1e-11, atol=1e-14)


def test_cross_entropy_and_single_precision(torch):
    X = np.random.default_rng(3).standard_normal((20, 2))
    labels = np.arange(20) % 3
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 3))
    net, theta = inf.from_torch(module, input=X, target=labels, loss="cross_entropy")
    expected = torch.nn.functional.cross_entropy(
        module.double()(torch.tensor(X)), torch.tensor(labels)
    )
    assert inf.loss(net, theta) == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize("parametrization", ["ntk", "mean_field"])
def test_parametrizations_give_the_same_outputs(torch, parametrization):
    net = inf.Net(
        [(4, "erf", True), (1, "identity", True)], input_dim=2, parametrization=parametrization
    )
    with pytest.raises(InvalidValueError, match="'erf' of layer 0 has no equal in PyTorch"):
        inf.to_torch(net, inf.random_params(net, 0))
    net = inf.Net(
        [(4, "tanh", True), (1, "identity", True)], input_dim=2, parametrization=parametrization
    )
    theta = inf.random_params(net, 0)
    X = np.random.default_rng(1).standard_normal((30, 2))
    outputs = inf.to_torch(net, theta)(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(outputs, net.predict(theta, X), rtol=1e-12, atol=1e-14)


def test_softplus_of_large_arguments(torch):
    net = inf.Net([(1, "softplus", False)], input_dim=1)
    X = np.linspace(-50, 800, 500)[:, None]
    outputs = inf.to_torch(net, [1.0])(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(outputs, net.predict([1.0], X), rtol=1e-15, atol=0)


def test_modules_without_an_equal(torch):
    nn = torch.nn
    cases = {
        "approximate='tanh'": nn.GELU(approximate="tanh"),
        "beta=2": nn.Softplus(beta=2),
        "threshold of at least 20": nn.Softplus(threshold=5),
        "negative_slope=0.2": nn.LeakyReLU(0.2),
        "alpha=2.0": nn.ELU(alpha=2.0),
        "Dropout": nn.Dropout(),
        "BatchNorm1d": nn.BatchNorm1d(3),
        "Hardtanh": nn.Hardtanh(),
        "ReLU6": nn.ReLU6(),
    }
    for message, module in cases.items():
        with pytest.raises(InfflowError, match=message) as caught:
            inf.from_torch(nn.Sequential(nn.Linear(2, 3), module))
        assert "module 1" in str(caught.value)
    with pytest.raises(InvalidValueError, match="module 1"):
        inf.from_torch(nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Tanh()))
    with pytest.raises(InvalidValueError, match="does not follow a Linear"):
        inf.from_torch(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)))
    with pytest.raises(InvalidValueError, match="no Linear"):
        inf.from_torch(nn.Sequential())
    with pytest.raises(InvalidValueError, match="takes 4 inputs"):
        inf.from_torch(nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 1)))
    with pytest.raises(InvalidTypeError, match=r"torch\.nn\.Sequential is needed"):
        inf.from_torch(nn.Linear(2, 3))
    with pytest.raises(InvalidTypeError, match="float16"):
        inf.from_torch(nn.Sequential(nn.Linear(2, 3, dtype=torch.float16)))
    with pytest.raises(InfflowError, match="finite"):
        broken = nn.Linear(2, 3)
        broken.weight.data.fill_(float("nan"))
        inf.from_torch(nn.Sequential(broken))


def test_modules_that_occur_twice(torch):
    nn = torch.nn
    activation = nn.Tanh()
    module = nn.Sequential(
        nn.Linear(2, 2), activation, nn.Linear(2, 2), activation, nn.Linear(2, 1)
    ).double()
    net, theta = inf.from_torch(module)
    X = np.random.default_rng(0).standard_normal((10, 2))
    np.testing.assert_allclose(
        net.predict(theta, X), module(torch.tensor(X)).detach().numpy(), rtol=1e-12, atol=1e-14
    )
    linear = nn.Linear(2, 2)
    with pytest.raises(InvalidValueError, match=r"module 2 .* shares parameters"):
        inf.from_torch(nn.Sequential(linear, activation, linear))
    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(InvalidTypeError, match="hooks"):
        inf.from_torch(hooked)
    with pytest.raises(InvalidTypeError, match="LazyLinear"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about lazy modules
        inf.from_torch(nn.Sequential(nn.LazyLinear(2)))


def test_nets_without_an_equal(torch):
    mixed = inf.Net([(2, ["tanh", "relu"], True)], input_dim=2)
    with pytest.raises(InvalidValueError, match="per neuron"):
        inf.to_torch(mixed, np.ones(6))
    own = inf.Activation.from_callable(
        "relu", lambda x: x**2, derivatives=[lambda x: 2 * x, lambda x: 2 + 0 * x]
    )
    with pytest.raises(InvalidValueError, match="no equal"):
        inf.to_torch(inf.Net([(2, own, True)], input_dim=2), np.ones(6))
    net = inf.Net([(2, "tanh", True), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, np.ones(8)))
    with pytest.raises(InvalidTypeError, match=r"net\.student"):
        inf.to_torch(neti, np.ones(8))
    with pytest.raises(InfflowError, match="shape"):
        inf.to_torch(net, np.ones(7))
