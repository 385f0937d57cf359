"""Committees in equilibrium at high temperature, against published transitions and the loss."""

import math

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
@pytest.mark.parametrize("K", [2.0, 3.7, 6.0])
def test_derivatives(activation, K):
    free = inf.Equilibrium(activation, K, 2.0)
    z, h = np.array([0.3, 0.05, 0.1]), 1e-5
    steps = h * np.eye(3)
    found = free.evaluate(z, 2)
    gradient = [(free.evaluate(z + e).value - free.evaluate(z - e).value) / (2 * h) for e in steps]
    np.testing.assert_allclose(found.gradient, gradient, atol=1e-7)
    H = [(free.evaluate(z + e, 1).g - free.evaluate(z - e, 1).g) / (2 * h) for e in steps]
    np.testing.assert_allclose(found.hessian, H, atol=1e-6)


def test_error_and_entropy_are_those_of_a_network():
    """e_g is half of the loss over K, the entropy half of log det of the overlaps."""
    K = 3
    R = 0.5
    S = 0.1
    C = 0.2
    D = 9
    Q = np.full((K, K), C) + (1 - C) * np.eye(K)
    overlaps = np.full((K, K), S) + (R - S) * np.eye(K)
    net = inf.Net([(K, "erf", False), (1, "identity", False)], input_dim=D)
    star = net.pack([(np.eye(K, D), None), (np.ones((1, K)), None)])
    dynamics = inf.OrderParameters(inf.NetI(net, inf.Teacher(net, star)), 0.1)
    loss = dynamics.generalization_error((Q, overlaps, np.ones(K)))
    free = inf.Equilibrium("erf", K, 1.7)
    z = (R, S, C)
    assert free.generalization_error(z) == pytest.approx(loss / (2 * K), rel=1e-12)
    _, entropy = np.linalg.slogdet(Q - overlaps @ overlaps.T)
    expected = 1.7 * K * loss / (2 * K) - 0.5 * entropy
    assert free.evaluate(z).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("activation", "K", "alpha", "digits"),
    [
        ("relu", 2.0, 6.1, 0.05),  # Oostwal, Straat and Biehl (2021)
        ("relu", 100.0, 2 * math.pi, 1e-3),  # 2 pi for many neurons
        ("erf", 2.0, 23.7, 0.05),  # the same, sigmoidal units
    ],
)
def test_published_transitions(activation, K, alpha, digits):
    found = inf.Equilibrium(activation, K, 1.0).transition()
    assert found.alpha == pytest.approx(alpha, abs=digits)
    R, S, _ = found.z
    assert pytest.approx(S, rel=1e-12) == R


def test_students_specialise_beyond_the_transition():
    alpha = inf.Equilibrium("relu", 2.0, 1.0).transition().alpha
    for load, specialised in ((0.95 * alpha, False), (1.05 * alpha, True)):
        free = inf.Equilibrium("relu", 2.0, load)
        start = free.unspecialised() + np.array([0.05, -0.05, 0.0])
        result = inf.train(free, start, min_loss=-np.inf, progress=False)
        R, S, _ = result.theta
        assert (R - S > 0.05) == specialised
        if specialised:
            assert result.loss < free.evaluate(free.unspecialised()).value


def test_the_branch_of_specialised_states():
    """Continuation in the load comes to the transition from above."""
    start = inf.train(
        inf.Equilibrium("relu", 2.0, 9.0), [0.7, 0.2, 0.05], min_loss=-np.inf, progress=False
    )
    branch = inf.continuation(
        lambda alpha: inf.Equilibrium("relu", 2.0, alpha), start.theta, 9.0, 6.2
    )
    gap = branch.theta[:, 0] - branch.theta[:, 1]
    assert gap[0] > 0.4 and gap[-1] < gap[0] and branch.parameter[-1] == pytest.approx(6.2)


def test_nothing_is_learned_without_data():
    free = inf.Equilibrium("erf", 4.0, 0.0)
    np.testing.assert_allclose(free.unspecialised(), 0.0, atol=1e-12)
    assert free.evaluate([1.1, 0.0, 0.0]).value == math.inf


def test_bad_arguments():
    with pytest.raises(InvalidValueError, match="K"):
        inf.Equilibrium("relu", 1.0, 1.0)
    with pytest.raises(InvalidValueError, match="alpha"):
        inf.Equilibrium("relu", 2.0, -1.0)
    with pytest.raises(InvalidTypeError):
        inf.Equilibrium(3, 2.0, 1.0)
    with pytest.raises(ShapeError, match="overlaps R, S, C"):
        inf.Equilibrium("relu", 2.0, 1.0).evaluate([0.1, 0.2])
    with pytest.raises(InvalidValueError, match="no transition"):
        inf.Equilibrium("identity", 2.0, 1.0).transition()
