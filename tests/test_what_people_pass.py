"""Arrays of other packages, and layers as other packages write them: converted, or one clear error.

The first half needs none of the packages: stand-ins show NumPy what these show it.
"""

import sys
import types

import numpy as np
import pytest
from fuzz_values import DetachedTensor, DynamicJaxprTracer, Tensor

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, UnknownNameError

X = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, -1.0]])
Y = np.array([0.0, 1.0, 0.0])
LAYERS = [(3, "tanh", True), (1, "identity", True)]
NET = inf.Net(LAYERS, input=X, target=Y)
THETA = inf.random_params(NET, 0)


class Frame:
    """What NumPy and messages see of a data frame."""

    def __init__(self, columns):
        self.columns = columns
        self.dtypes = {name: np.asarray(values).dtype for name, values in columns.items()}

    def __array__(self, dtype=None, copy=None):
        table = np.array(list(self.columns.values()), dtype=object).T
        numbers = all(kind.kind in "fiub" for kind in self.dtypes.values())
        return table.astype(float if numbers else object)


def same(net, theta=THETA):
    assert inf.loss(net, theta) == inf.loss(NET, THETA)
    np.testing.assert_array_equal(inf.gradient(net, theta), inf.gradient(NET, THETA))


def test_what_is_converted():
    frame = Frame({"height": X[:, 0], "weight": X[:, 1]})
    same(inf.Net(LAYERS, input=frame, target=DetachedTensor(Y)))
    same(inf.Net(LAYERS, input=X.tolist(), target=Y.tolist()), list(THETA))
    same(NET, DetachedTensor(THETA))
    same(NET, tuple(np.float64(x) for x in THETA))
    small = THETA.astype(np.float32)
    assert inf.loss(NET, small) == inf.loss(NET, small.astype(float))
    start = DetachedTensor(THETA)
    assert inf.train(NET, start, max_steps_flow=2, max_steps_newton=1, progress=False).flow.steps
    kernel = inf.nngp_kernel(["erf"], frame)
    np.testing.assert_array_equal(kernel, inf.nngp_kernel(["erf"], X))


@pytest.mark.parametrize("value", [Tensor(), [Tensor()] * 3])
def test_tensors_that_record_gradients(value):
    for call in (
        lambda: inf.loss(NET, value),
        lambda: inf.train(NET, value),
        lambda: inf.Net(LAYERS, input=value, target=Y),
    ):
        with pytest.raises(InvalidTypeError, match=r"inf\.torch_loss\(net\)"):
            call()


def test_tracers():
    for call in (lambda: inf.gradient(NET, DynamicJaxprTracer()),):
        with pytest.raises(InvalidTypeError, match=r"inf\.jax_loss\(net\)"):
            call()


def test_columns_without_numbers():
    frame = Frame({"height": X[:, 0], "colour": np.array(["red", "blue", "red"])})
    with pytest.raises(InvalidTypeError, match=r"because of the columns 'colour' \(<U4\)"):
        inf.Net(LAYERS, input=frame, target=Y)


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [
        "((3, tanh, true), (1, identity, true))",
        "((3, tanh_fast, true), (1, identity, true),)",
        "[(3, 'tanh', True), (1, 'identity', True)]",
        " ( (3,:tanh,true) ,(1,:identity,true) ) ",
        ((3, np.tanh, np.True_), (1, "linear", True)),
        [[np.int64(3), [np.tanh, "tanh", inf.activation("tanh")], True], [1, "identity", True]],
    ],
)
def test_layers_as_others_write_them(layers):
    net = inf.Net(layers, input=X, target=Y)
    same(net)
    assert net.layers == NET.layers


def test_layers_with_parameters():
    net = inf.Net("((4, leaky_relu(0.2), false), (1, identity, false))", input_dim=2)
    assert [f.name for f in net.layers[0].activations] == ["leaky_relu(0.2)"] * 4
    assert net.num_params == 12
    assert inf.Net("((2, \u03c3, true), (1, identity, true))", input_dim=2) is not None


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        ("((3, tanh), (1, identity))", InvalidTypeError),
        ("((3, tanh, 1),)", InvalidTypeError),
        ("((3, thanh, true), (1, identity, true))", UnknownNameError),
        ("__import__('os')", InvalidTypeError),
        ("((3, relu_power(9), true), (1, identity, true))", InvalidValueError),
        ("", InvalidTypeError),
    ],
)
def test_texts_that_are_no_layers(layers, error):
    with pytest.raises(error):
        inf.Net(layers, input_dim=2)


def test_functions_of_julia():
    """juliacall hands over objects that print the name of the function."""
    value = type("AnyValue", (), {"__str__": lambda self: self.name, "__call__": lambda self: None})
    value.__module__ = "juliacall"
    for name, wanted in (
        ("tanh", "tanh"),
        ("MLPGradientFlow.sigmoid2", "erf"),
        ("\u03c3", "sigmoid"),
    ):
        function = value()
        function.name = name
        assert inf.activation(function) is inf.activation(wanted)
    function.name = "my_function"
    with pytest.raises(UnknownNameError):
        inf.activation(function)


def test_functions_of_jax_nn(monkeypatch):
    nn = types.ModuleType("jax.nn")
    nn.softplus = lambda x: x
    monkeypatch.setitem(sys.modules, "jax.nn", nn)
    assert inf.activation(nn.softplus) is inf.activation("softplus")


# -- with the packages -----------------------------------------------------------------------------


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b"])
    same(inf.Net(LAYERS, input=frame, target=pandas.Series(Y)), pandas.Series(THETA))
    mixed = frame.assign(b=frame.b.astype("Float64"), a=frame.a.astype(np.float32))
    same(inf.Net(LAYERS, input=mixed, target=frame.assign(y=Y)[["y"]]))
    with pytest.raises(InvalidTypeError, match="'c'"):
        inf.Net(LAYERS, input=frame.assign(c=["x", "y", "z"]), target=Y)
    hole = frame.astype("Float64")
    hole.iloc[1, 0] = pandas.NA
    with pytest.raises(InvalidValueError, match=r"nan at index \(1, 0\)"):
        inf.Net(LAYERS, input=hole, target=Y)


def test_torch():
    torch = pytest.importorskip("torch")
    same(inf.Net(LAYERS, input=torch.tensor(X), target=torch.tensor(Y)), torch.tensor(THETA))
    assert inf.loss(NET, torch.tensor(THETA).float()) == pytest.approx(inf.loss(NET, THETA), 1e-6)
    with pytest.raises(InvalidTypeError, match="torch_loss"):
        inf.loss(NET, torch.tensor(THETA, requires_grad=True))
    with pytest.raises(InvalidTypeError, match="BFloat16"):
        inf.loss(NET, torch.tensor(THETA).bfloat16())
    for function in (torch.tanh, torch.nn.Tanh(), torch.nn.functional.tanh):
        same(inf.Net([(3, function, True), (1, torch.nn.Identity(), True)], input=X, target=Y))


def test_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    same(inf.Net(LAYERS, input=jnp.array(X), target=jnp.array(Y)), jnp.array(THETA))
    with pytest.raises(InvalidTypeError, match="jax_loss"):
        jax.grad(lambda theta: inf.loss(NET, theta))(jnp.array(THETA))
    with pytest.raises(InvalidTypeError, match="jax_loss"):
        jax.jit(lambda theta: inf.loss(NET, theta))(jnp.array(THETA))
    for function in (jnp.tanh, jax.nn.tanh):
        same(inf.Net([(3, function, True), (1, "identity", True)], input=X, target=Y))
