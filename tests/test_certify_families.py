"""Certificates of whole networks in the parameters of a family, against those of the networks."""

from __future__ import annotations

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidValueError, MethodError

flint = pytest.importorskip("flint")

from infflow.proofs.ball import working_precision  # noqa: E402
from infflow.proofs.families import BallOrbits  # noqa: E402

FAMILIES = (
    ([1, 6], [0, 1]),
    ([2, 3], [0, 1, 1]),
    ([3, 1, 2], [2, 0, None, 0]),
    ([4], [0, None]),
)


def numbers(rows):
    return np.array([[float(x.mid()) for x in row] for row in rows])


def minimum(k, **settings):
    fam = inf.SymmetricNetI("relu", [1, k - 1])
    start = fam.pack([-1.0, 1.0], [0, 0], [[0, 1.3 / k], [2.0 / k, 0]])
    return fam, inf.train(fam, start, max_steps_flow=0, progress=False, **settings)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "leaky_relu", "cube", "gaussian"])
@pytest.mark.parametrize("second", [False, True])
def test_balls_contain_what_the_family_evaluates(activation, second):
    for teachers, students in FAMILIES:
        fam = inf.SymmetricNetI(activation, teachers, students, train_second_layer=second)
        z = 0.6 * np.random.default_rng(3).normal(size=fam.num_params)
        found = fam.evaluate(z, 2)
        with working_precision(128):
            ball = BallOrbits(fam.activation, fam.teachers, fam.students, second)
            exact = ball.evaluate([flint.arb(float(x)) for x in z])
            assert float(exact.value.rad()) < 1e-25
            assert found.value == pytest.approx(float(exact.value.mid()), rel=1e-13)
            gradient = numbers([exact.gradient])[0]
            hessian = numbers(exact.hessian.tolist())
        scale = np.abs(hessian).max()
        np.testing.assert_allclose(found.gradient, gradient, atol=1e-14 * scale)
        np.testing.assert_allclose(found.hessian, hessian, atol=1e-14 * scale)


@pytest.mark.parametrize("k", [10**4, 10**6])
def test_floats_of_large_networks_are_right(k):
    """A million million pairs: sums of squares and series against balls of 200 bits."""
    fam = inf.SymmetricNetI("relu", [k // 3, k - k // 3])
    z = np.array([-0.99, 2.0 / k, 1.3 / k, 1.001, -0.7 / k, 1.9 / k])
    found = fam.evaluate(z, 2)
    roots = np.sqrt(fam.multiplicities)
    with working_precision(200):
        ball = BallOrbits(fam.activation, fam.teachers, fam.students, False)
        exact = ball.evaluate([flint.arb(float(x)) for x in z])
        value = float(exact.value.mid())
        gradient = numbers([exact.gradient])[0] / roots
        hessian = numbers(exact.hessian.tolist()) / roots / roots[:, None]
    assert found.value == pytest.approx(value, rel=2e-13)
    size = max(k, np.abs(gradient).max())
    np.testing.assert_allclose(found.gradient / roots, gradient, atol=2e-15 * size)
    scaled = found.hessian / roots / roots[:, None]
    np.testing.assert_allclose(scaled, hessian, atol=1e-14 * np.abs(hessian).max())


@pytest.mark.parametrize("k", [10, 100, 1000, 10**6])
def test_certified_spurious_minima(k):
    fam, found = minimum(k)
    proof = inf.certify(fam, found)
    assert proof and proof.is_minimum
    assert (proof.index, proof.positive) == (0, k * k)
    assert proof.radius < 1e-14
    assert 5e-3 / k < proof.uniqueness_radius < 1e-2
    assert 0.0 < proof.loss.lower <= proof.loss.upper
    assert proof.loss.upper - proof.loss.lower < 1e-15 * proof.loss.upper
    assert found.loss == pytest.approx(proof.loss.lower, abs=3e-16 * k)
    assert "symmetry types" in str(proof) and "reduction" in str(proof)
    # the point that was proved, from another one that is further away
    off = found.theta + 1e-3 / k / np.sqrt(fam.multiplicities)
    again = inf.certify(fam, off)
    assert again and again.radius >= np.abs(off - found.theta).max() - 1e-14


@pytest.mark.parametrize("k", [5, 6])
def test_the_whole_network_has_the_same_certificate(k):
    fam, found = minimum(k)
    own = inf.certify(fam, found)
    neti, theta = fam.lift(found.theta)
    whole = inf.certify(neti, theta, frozen=fam.whole_frozen)
    assert own and whole
    assert (own.index, own.positive) == (whole.index, whole.positive)
    assert own.index == (3 if k == 5 else 0)
    assert own.loss.lower <= whole.loss.upper and whole.loss.lower <= own.loss.upper


@pytest.mark.parametrize("k", [7, 1000])
def test_minima_in_any_number_of_inputs(k):
    fam, found = minimum(k)
    more = fam.replace(inputs=k + 5)
    proof = inf.certify(more, found.theta)
    assert proof.is_minimum and proof.positive == k * (k + 5)
    for each in (proof, inf.certify(fam, found)):
        assert f"each further input, on which the weights are zero, has {k} positive" in str(each)
    if k == 7:
        neti, theta = more.lift(found.theta)
        whole = inf.certify(neti, theta, frozen=more.whole_frozen)
        assert (whole.index, whole.positive) == (proof.index, proof.positive)


def test_trained_second_layers():
    for activation, teachers, gauge in (("erf", [1, 3], ()), ("relu", [1, 6], (5, 6))):
        fam = inf.SymmetricNetI(activation, teachers, train_second_layer=True)
        start = fam.pack([-0.6, 1.0], [0, 0], [[0, 0.2], [0.3, 0]])
        found = inf.train(fam, start, max_time_flow=5, progress=False)
        proof = inf.certify(fam, found)
        assert proof, proof.reason
        assert proof.gauge == gauge
        k = sum(teachers)
        assert proof.index + proof.positive == k * k + (k if not gauge else 0)
        values, multiplicities = fam.spectrum(found.theta)
        assert proof.index == multiplicities[values < -1e-9].sum()
        if gauge:
            assert not inf.certify(fam, found, gauge=None)
            mask = np.arange(7) > 4
            frozen = inf.certify(fam, found, frozen=mask)
            assert frozen and frozen.frozen == gauge
            assert frozen.positive == proof.positive


def test_what_is_not_proved():
    fam, found = minimum(7)
    far = inf.certify(fam, found.theta + 0.2)
    assert not far and far.reason
    assert far.index == -1
    zero = inf.certify(fam, np.zeros(5))
    assert not zero and "not finite" in zero.reason
    with pytest.raises(MethodError, match="integers"):
        inf.certify(fam.resized([1, 6.5]), found.theta)
    with pytest.raises(InvalidValueError, match="all output weights"):
        inf.certify(fam, found.theta, frozen=np.arange(5) == 0)
    with pytest.raises(MethodError, match="covers polynomials"):
        inf.certify(inf.SymmetricNetI("tanh", [1, 2]), np.ones(5))
