"""Points of families are judged as the whole networks are."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidValueError

STARTS = {
    "minimum": ("relu", [1, 6], False, [-0.6, 0.2, 1.0, 0.0, 0.3]),
    "saddle": ("relu", [1, 4], False, [-0.6, 0.2, 1.0, 0.0, 0.3]),
    "second layer": ("relu", [1, 6], True, [-0.6, 0.2, 1.0, 0.0, 0.3, 1.0, 1.0]),
    "several off": ("relu", [2, 6], False, [-0.7, 0.2, 0.1, 1.0, 0.0, 0.2]),
    "teacher": ("erf", [1, 3], False, [0.9, 0.1, 0.9, 0.1, 0.1]),
    "teacher, second layer": ("erf", [1, 3], True, [0.9, 0.1, 0.9, 0.1, 0.1, 1.0, 1.0]),
}


@pytest.mark.parametrize("name", STARTS)
def test_the_whole_network_is_judged(name):
    activation, teachers, second, start = STARTS[name]
    fam = inf.SymmetricNetI(activation, teachers, train_second_layer=second)
    z = inf.train(fam, start, max_time_flow=5, progress=False)
    neti, theta = fam.lift(z.theta)
    own = inf.classify(fam, z)
    whole = inf.classify(neti, theta, frozen=fam.whole_frozen)
    assert own.kind is whole.kind
    assert own.index == whole.index
    assert own.flat_dimension == whole.flat_dimension
    found = np.repeat(own.eigenvalues, own.multiplicities)
    dense = np.repeat(whole.eigenvalues, whole.multiplicities)
    np.testing.assert_allclose(found, dense, atol=1e-11 * np.abs(dense).max())
    assert own.loss == pytest.approx(whole.loss, rel=1e-12, abs=1e-15)
    assert "SymmetricNetI" in own.reduction and "symmetry types" in str(own)
    assert own.to_dict()["reduction"] == own.reduction


def test_a_million_neurons():
    k = 10**6
    fam = inf.SymmetricNetI("relu", [1, k - 1])
    z = [-1.0, 1.27 / k, 1.0, -1.27 / k**2, 2.0 / k]
    found = inf.classify(fam, inf.train(fam, z, max_steps_flow=0, progress=False))
    assert found.index == 0 and found.multiplicities.sum() == k * k


def test_what_is_no_critical_point():
    fam = inf.SymmetricNetI("relu", [1, 6])
    found = inf.classify(fam, fam.random(0))
    assert found.kind.name == "NOT_CONVERGED" and "Newton" in found.reason


def test_output_weights_that_are_held():
    fam = inf.SymmetricNetI("relu", [1, 6], train_second_layer=True)
    held = np.arange(7) > 4
    eta = np.where(held, 0.0, fam.eta)
    z = inf.train(fam, [-0.6, 0.2, 1.0, 0.0, 0.3, 1.0, 1.0], eta=eta, progress=False)
    found = inf.classify(fam, z)  # a Result knows its eta
    assert found.kind.name == "MINIMUM" and found.multiplicities.sum() == 49
    plain = inf.SymmetricNetI("relu", [1, 6])
    other = inf.classify(plain, z.theta[:5])
    np.testing.assert_allclose(found.eigenvalues, other.eigenvalues, atol=1e-12)


def test_bad_input():
    fam = inf.SymmetricNetI("relu", [1, 6])
    z = fam.random(0)
    for changes, words in (
        ({"frozen": np.arange(5) == 1}, "all output weights"),
        ({"method": "lanczos"}, "lanczos"),
        ({"teacher": inf.Teacher(*one_teacher())}, "leave the argument out"),
    ):
        with pytest.raises(InvalidValueError, match=words):
            inf.classify(fam, z, **changes)
    with pytest.raises(InvalidValueError, match="integers"):
        inf.classify(fam.resized([1, 6.5]), z)


def one_teacher():
    net = inf.Net([(1, "relu", False), (1, "identity", False)], input_dim=7)
    return net, np.ones(8)
