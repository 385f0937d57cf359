"""Every bad argument of ``Net`` raises one clear error."""

import numpy as np
import pytest

from infflow import errors
from infflow.activations import Activation
from infflow.networks.eigenvalues import hessian_spectrum
from infflow.networks.finite.covariance import gradient_covariance
from infflow.networks.finite.net import Net
from infflow.networks.functions import gradient, hessian, hvp, loss

X = np.arange(6.0).reshape(3, 2)
Y = np.ones(3)
LAYERS = [(2, "tanh", True), (1, "identity", True)]


@pytest.fixture
def net():
    return Net(LAYERS, input=X, target=Y)


BAD_DATA = [
    ({"input": [[1.0, np.nan]], "target": [1.0]}, errors.InvalidValueError, "input contains nan"),
    ({"input": [[1.0, np.inf]], "target": [1.0]}, errors.InvalidValueError, "input contains inf"),
    ({"input": X, "target": [1, np.nan, 0]}, errors.InvalidValueError, "target contains nan"),
    ({"input": np.empty((0, 2)), "target": []}, errors.ShapeError, "input is empty"),
    ({"input": np.empty((3, 0)), "target": Y}, errors.ShapeError, "input is empty"),
    ({"input": [[1.0, 2.0], [3.0]], "target": [1, 2]}, errors.ShapeError, "rows differ"),
    ({"input": "data", "target": Y}, errors.InvalidTypeError, "input is a string"),
    ({"input": [["a", "b"]], "target": [1]}, errors.InvalidTypeError, "dtype"),
    ({"input": X + 0j, "target": Y}, errors.InvalidTypeError, "complex"),
    ({"input": X.astype(object), "target": Y}, errors.InvalidTypeError, "object"),
    ({"input": X.ravel(), "target": Y}, errors.ShapeError, r"\(N, input_dim\)"),
    ({"input": X, "target": np.ones(2)}, errors.ShapeError, r"target has shape \(2,\)"),
    ({"input": X, "target": np.ones((3, 2))}, errors.ShapeError, r"\(3, 1\)"),
    ({"input": X}, errors.InvalidValueError, "without target"),
    ({"input_dim": 2, "target": Y}, errors.InvalidValueError, "without input"),
    ({"input_dim": 2, "weights": Y}, errors.InvalidValueError, "without input"),
    ({}, errors.InvalidValueError, "needs input_dim"),
    ({"input": X, "target": Y, "input_dim": 3}, errors.ShapeError, "2 columns"),
    ({"input_dim": 0}, errors.InvalidValueError, "at least 1"),
    ({"input_dim": 2.0}, errors.InvalidTypeError, "integer"),
    ({"input": X, "target": Y, "weights": [1, -1, 1]}, errors.InvalidValueError, "negative"),
    ({"input": X, "target": Y, "weights": [0, 0, 0]}, errors.InvalidValueError, "all zero"),
    ({"input": X, "target": Y, "weights": [1, 1]}, errors.ShapeError, r"\(3,\)"),
    ({"input": X, "target": Y, "weights": [1, np.nan, 1]}, errors.InvalidValueError, "nan"),
    ({"input": X, "target": Y, "weights": "equal"}, errors.InvalidTypeError, "string"),
    ({"input": X, "target": Y, "maxnorm": -1.0}, errors.InvalidValueError, "maxnorm"),
    ({"input": X, "target": Y, "maxnorm": np.nan}, errors.InvalidValueError, "maxnorm"),
    ({"input": X, "target": Y, "ridge": -0.1}, errors.InvalidValueError, "ridge"),
    ({"input": X, "target": Y, "ridge": np.inf}, errors.InvalidValueError, "ridge"),
    ({"input": X, "target": Y, "ridge": "big"}, errors.InvalidTypeError, "ridge"),
    ({"input": X, "target": Y, "loss": "mae"}, errors.UnknownNameError, "mse"),
    ({"input": X, "target": Y, "loss": None}, errors.InvalidTypeError, "loss"),
    (
        {"input": X, "target": Y, "parametrization": "mup"},
        errors.UnknownNameError,
        "parametrization",
    ),
    (
        {"input": X, "target": [0, 0, 0], "loss": "cross_entropy"},
        errors.InvalidValueError,
        "at least two outputs",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD_DATA)
def test_data_and_options(arguments, error, text):
    with pytest.raises(error, match=text) as caught:
        Net(LAYERS, **arguments)
    assert isinstance(caught.value, errors.InfflowError)


BAD_LABELS = [
    ([0, 1, 3], errors.InvalidValueError, "0..2"),
    ([0, -1, 1], errors.InvalidValueError, "0..2"),
    ([0, 0.5, 1], errors.InvalidValueError, "not integers"),
    ([0, 1], errors.ShapeError, r"\(3,\)"),
    (np.eye(3), errors.ShapeError, "one integer label per sample"),
    (["cat", "dog", "cat"], errors.InvalidTypeError, "dtype"),
    ([0, np.nan, 1], errors.InvalidValueError, "nan"),
]


@pytest.mark.parametrize(("labels", "error", "text"), BAD_LABELS)
def test_labels(labels, error, text):
    with pytest.raises(error, match=text):
        Net([(3, "identity", True)], input=X, target=labels, loss="cross_entropy")


BAD_LAYERS = [
    ([], errors.InvalidTypeError, "list of"),
    ("softplus", errors.InvalidTypeError, "list of"),
    (3, errors.InvalidTypeError, "list of"),
    ([(2, "tanh")], errors.InvalidTypeError, "triple"),
    ([5], errors.InvalidTypeError, "triple"),
    ([(0, "tanh", True)], errors.InvalidValueError, "at least 1"),
    ([(-3, "tanh", True)], errors.InvalidValueError, "at least 1"),
    ([(2.5, "tanh", True)], errors.InvalidTypeError, "integer"),
    ([(2, "tahn", True)], errors.UnknownNameError, "'tanh'"),
    ([(2, 7, True)], errors.InvalidTypeError, "7"),
    ([(2, ["tanh"], True)], errors.ShapeError, "1 activation for 2 neurons"),
    ([(2, ["tanh", "sofplus"], True)], errors.UnknownNameError, "'softplus'"),
    ([(2, "tanh", 1)], errors.InvalidTypeError, "True or False"),
    ([(2, "tanh", None)], errors.InvalidTypeError, "True or False"),
]


@pytest.mark.parametrize(("layers", "error", "text"), BAD_LAYERS)
def test_layers(layers, error, text):
    with pytest.raises(error, match=text):
        Net(layers, input_dim=2)


@pytest.mark.parametrize(
    "function", [loss, gradient, hessian, hessian_spectrum, lambda n, t: hvp(n, t, np.ones(9))]
)
@pytest.mark.parametrize(
    ("theta", "error", "text"),
    [
        (np.zeros(8), errors.ShapeError, r"\(9,\) is needed"),
        (np.zeros((9, 1)), errors.ShapeError, r"\(9,\) is needed"),
        (np.full(9, np.nan), errors.InvalidValueError, "theta contains nan"),
        ("theta", errors.InvalidTypeError, "string"),
    ],
)
def test_theta(net, function, theta, error, text):
    with pytest.raises(error, match=text):
        function(net, theta)


@pytest.mark.parametrize(
    ("v", "error"),
    [
        (np.zeros(8), errors.ShapeError),
        (np.zeros((8, 2)), errors.ShapeError),
        (np.zeros((9, 2, 2)), errors.ShapeError),
        (np.float64(1.0), errors.ShapeError),
        (np.full(9, np.nan), errors.InvalidValueError),
        ("v", errors.InvalidTypeError),
    ],
)
def test_directions(net, v, error):
    with pytest.raises(error, match="v "):
        hvp(net, np.zeros(9), v)


def test_no_data():
    empty = Net(LAYERS, input_dim=2)
    for function in (loss, gradient, hessian, hessian_spectrum, lambda n, t: hvp(n, t, t)):
        with pytest.raises(errors.InvalidValueError, match="no data"):
            function(empty, np.zeros(9))
    with pytest.raises(errors.InvalidValueError, match="no data"):
        empty.subset(np.arange(2))


def test_not_a_network():
    with pytest.raises(errors.InvalidTypeError, match="a Net with data, a NetI, or an object"):
        loss(np.zeros(3), np.zeros(3))


def test_predict_and_other_data(net):
    with pytest.raises(errors.ShapeError, match="3 columns"):
        net.predict(np.zeros(9), np.zeros((4, 3)))
    with pytest.raises(errors.ShapeError, match="one sample per row"):
        net.predict(np.zeros(9), np.zeros(2))
    with pytest.raises(errors.InvalidValueError, match="both X and y"):
        loss(net, np.zeros(9), X)
    with pytest.raises(errors.ShapeError, match="3 columns"):
        loss(net, np.zeros(9), np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(errors.ShapeError, match="target has shape"):
        loss(net, np.zeros(9), np.zeros((4, 2)), np.zeros(3))


@pytest.mark.parametrize("order", [-1, 3, "two", None, True, 1.0])
def test_order(net, order):
    with pytest.raises((errors.InvalidValueError, errors.InvalidTypeError), match="order is"):
        net.evaluate(np.zeros(9), order)


def test_missing_derivatives():
    once = Activation.from_callable("once", np.sin, derivatives=[np.cos])
    net = Net([(2, once, True), (1, "identity", True)], input=X, target=Y)
    assert np.isfinite(gradient(net, np.ones(9))).all()
    assert np.isfinite(gradient_covariance(net, np.ones(9))).all()
    for function in (hessian, lambda n, t: hvp(n, t, t)):
        with pytest.raises(errors.InvalidValueError, match="'once' has 1 derivative"):
            function(net, np.ones(9))


def test_overflow_raises_in_the_public_functions():
    net = Net([(2, "tanh", True), (1, "exp", True)], input=X, target=Y)
    for function in (loss, gradient, hessian, lambda n, t: hvp(n, t, t)):
        with pytest.raises(errors.DivergedError, match="not finite at this theta"):
            function(net, np.full(9, 1e3))
