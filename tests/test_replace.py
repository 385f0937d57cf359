"""Networks made from others: every argument of the constructor is kept, except those that are
changed.

The arguments are read from the signatures, so that a new one is tested as soon as it exists: it
needs a value here.
"""

import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError
from infflow.landscape.neurons import grow, shrink, split_neuron

LAYERS = [(2, ["tanh", "erf"], True), (1, "identity", True)]
X = np.random.default_rng(0).standard_normal((5, 3))
MERGE = {"layer": 1, "pair": (0, 1), "lambda": 0.3}
#: A value other than the default for every argument.
NET = {
    "layers": LAYERS,
    "input_dim": 3,
    "input": X,
    "target": X[:, 0],
    "weights": np.arange(1.0, 6.0),
    "loss": "mse",
    "maxnorm": 0.5,
    "ridge": 0.2,
    "parametrization": "ntk",
    "merge": MERGE,
}
TEACHER = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=3)
NETI = {
    "student": inf.Net(LAYERS, input_dim=3, parametrization="ntk"),
    "teacher": inf.Teacher(TEACHER, inf.random_params(TEACHER, rng=1), noise=0.1),
    "input": inf.Gaussian(np.zeros(3), 0.5 * np.eye(3)),
    "method": "surrogate",
    "rtol": 1e-8,
    "maxnorm": 0.5,
    "ridge": 0.2,
    "outside": "exact",
    "surrogates_dir": str(Path(__file__).parent),
    "merge": MERGE,
    "loss": "squared",  # surrogates stand for no other; see test_correlation_loss.py
}


def parameters(kind):
    return [name for name in inspect.signature(kind).parameters if name != "unknown"]


def test_all_arguments_are_tested():
    assert parameters(inf.Net) == list(NET) and parameters(inf.NetI) == list(NETI)


def same(a, b, theta):
    one = a.evaluate(theta, order=2)
    two = b.evaluate(theta, order=2)
    np.testing.assert_array_equal(one.value, two.value)
    np.testing.assert_array_equal(one.gradient, two.gradient)
    np.testing.assert_array_equal(one.hessian, two.hessian)


@pytest.mark.parametrize("name", NET)
def test_a_net_keeps_every_argument(name):
    net = inf.Net(**NET)
    theta = 0.4 * np.arange(1.0, 12.0)
    same(net.replace(), net, theta)
    default = inspect.signature(inf.Net).parameters[name].default
    others = {key: value for key, value in NET.items() if key != name}
    if name in ("layers", "input_dim", "input", "target"):
        return
    same(net.replace(**{name: default}), inf.Net(**others), theta)
    same(inf.Net(**others).replace(**{name: NET[name]}), net, theta)


def test_layers_and_data_of_a_net():
    net = inf.Net(**NET)
    other = net.replace(layers=[(3, "relu", False), (1, "identity", False)], merge=None)
    assert (
        other.num_params == 12 and other.data.X is net.data.X and other.regularization.ridge == 0.2
    )
    plain = net.replace(input=None, target=None, weights=None)
    assert not plain.has_data and plain.input_dim == 3 and plain.parametrization == "ntk"
    wider = net.replace(input=np.ones((2, 4)), target=np.ones(2), weights=None, input_dim=4)
    assert wider.input_dim == 4 and len(wider.data.X) == 2
    with pytest.raises(ShapeError, match="4 columns"):
        net.replace(input=np.ones((2, 4)), target=np.ones(2), weights=None)
    with pytest.raises(
        InvalidTypeError, match=r"Net\.replace got 'Ridge'; the arguments of Net are layers, "
    ):
        net.replace(Ridge=0.1)


def test_subsets_keep_their_weights_and_nets_no_old_data():
    net = inf.Net(**NET)
    theta = 0.4 * np.arange(1.0, 12.0)
    part = net.subset(np.array([0, 3]))
    same(part.replace(ridge=0.2), part, theta)
    assert inf.loss(part.replace(ridge=0.4), theta) == pytest.approx(
        inf.loss(part, theta) + 0.1 * theta @ theta
    )
    large = inf.Net(LAYERS, input=np.ones((10_000, 3)), target=np.ones(10_000))
    assert len(pickle.dumps(large.with_data(X, X[:, 0]))) < 20_000
    copied = pickle.loads(pickle.dumps(net)).replace(ridge=0.0)
    same(copied, net.replace(ridge=0.0), theta)


@pytest.mark.parametrize("name", NETI)
def test_an_infinite_net_keeps_every_argument(name):
    """Surrogates that are not there, and ``outside="exact"``: all integrals are exact."""
    net = inf.NetI(**NETI)
    theta = 0.4 * np.arange(1.0, 12.0)
    same(net.replace(), net, theta)
    if name in ("student", "teacher", "method", "outside"):
        return
    default = inspect.signature(inf.NetI).parameters[name].default
    without = net.replace(**{name: default})
    assert without.outside == "exact"
    same(without.replace(**{name: NETI[name]}), net, theta)
    same(without, inf.NetI(**{key: value for key, value in NETI.items() if key != name}), theta)


def test_methods_and_samples_of_an_infinite_net():
    net = inf.NetI(**NETI)
    theta = 0.4 * np.arange(1.0, 12.0)
    exact = net.with_method("auto")
    assert exact.outside == "error" and exact.surrogates_dir is None and exact.rtol == 1e-8
    assert inf.loss(exact, theta) == pytest.approx(inf.loss(net, theta), rel=1e-7)
    with pytest.raises(InvalidValueError, match="are for method='surrogate'"):
        net.replace(method="auto")
    data = net.sample(10, 0)
    assert (
        data.regularization == net.regularization
        and data.parametrization == "ntk"
        and data.layers == net.layers
    )


@pytest.mark.parametrize("change", [split_neuron, grow, shrink])
def test_other_widths_of_a_surrogate_network(change):
    """``outside`` and ``surrogates_dir`` were forgotten, so that the wider network could not be
    evaluated.
    """
    net = inf.NetI(**NETI)
    theta = 0.4 * np.arange(1.0, 12.0)
    new, start = change(net, theta, 1) if change is split_neuron else change(net, theta)
    kept = {
        name: value for name, value in new._arguments.items() if name not in ("student", "merge")
    }
    assert kept == {name: value for name, value in NETI.items() if name not in ("student", "merge")}
    barrier = [n.regularization.value(t) for n, t in ((net, theta), (new, start))]
    assert inf.loss(new, start) - barrier[1] == pytest.approx(
        inf.loss(net, theta) - barrier[0], rel=1e-9
    )


def test_order_parameters_lift_to_a_network_with_the_same_arguments():
    student = inf.Net([(2, "tanh", False), (1, "identity", False)], input_dim=3)
    net = inf.NetI(student, NETI["teacher"], rtol=1e-8, ridge=0.1)
    ode = inf.OrderParameters(net, 0.1)
    lifted = ode.lift(inf.random_params(student, rng=0), 7, 0).neti
    kept = {
        name: value
        for name, value in lifted._arguments.items()
        if name not in ("student", "teacher", "input")
    }
    assert kept == {"rtol": 1e-8, "ridge": 0.1}
