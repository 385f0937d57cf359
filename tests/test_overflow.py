"""Where numbers overflow, public functions raise DivergedError: no NaN, no infinity, and no warning
(they are errors here).
"""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import DivergedError

NET = inf.Net([(3, "relu", True), (1, "identity", True)], input_dim=2)
X = np.random.default_rng(0).standard_normal((20, 2))
LARGE = np.where(np.arange(NET.num_params) % 2, 1e200, -1e200)


@pytest.mark.parametrize("scale", [1e5, 1e150])  # inf - inf, and inf
@pytest.mark.parametrize("activation", ["relu", "cube"])
def test_predictions(scale, activation):
    net = inf.Net([(3, activation, True), (1, "identity", True)], input_dim=2)
    teacher = inf.Teacher(net, LARGE)
    neti = inf.NetI(net, inf.Teacher(net, np.ones(net.num_params)))
    calls = (
        lambda: net.predict(LARGE, scale * X),
        lambda: neti.predict(LARGE, scale * X),
        lambda: teacher.predict(scale * X),
        lambda: teacher.label(scale * X, 0),
    )
    for call in calls:
        with pytest.raises(DivergedError, match="outputs are not finite"):
            call()


def test_large_predictions_that_are_finite():
    theta = NET.pack([(np.full((3, 2), 1e150), np.zeros(3)), (np.full((1, 3), 1e150), np.zeros(1))])
    values = NET.predict(theta, np.ones((2, 2)))
    np.testing.assert_allclose(values, 6e300, rtol=1e-15)
    saturated = inf.Net(
        [(3, "tanh", True), (1, "identity", True)], input_dim=2
    )  # what overflows does not reach the outputs
    np.testing.assert_array_equal(
        saturated.predict(np.full(13, 1e200), np.full((1, 2), 1e200)), [[4e200]]
    )


def test_what_solvers_call_is_not_finite_without_a_warning():
    for ridge in (0.0, 1.0):
        net = inf.Net(NET.layers, input=1e150 * X, target=X[:, 0], ridge=ridge)
        found = [
            *net.evaluate(LARGE, 2),
            net.residuals(LARGE),
            net.jacobian(LARGE),
            net.hvp(LARGE, LARGE),
        ]
        found.append(net.linearize(LARGE)(LARGE))
        assert not any(np.isfinite(values).all() for values in found)


def test_label_noise():
    teacher = inf.Teacher(NET, np.zeros(NET.num_params), noise=1.7e308)
    with pytest.raises(DivergedError, match="labels are not finite"):
        teacher.label(X, 0)


def test_overlaps():
    neti = inf.NetI(NET, inf.Teacher(NET, np.ones(NET.num_params)))
    with pytest.raises(DivergedError, match="Q is not finite"):
        inf.overlaps(neti, LARGE)
    wide = inf.NetI(NET, neti.teacher, input=inf.Gaussian([0.0, 0.0], 1e100 * np.eye(2)))
    with pytest.raises(DivergedError, match="Q is not finite"):
        inf.overlaps(wide, LARGE / 1e80)
    assert np.isfinite(inf.overlaps(neti, LARGE / 1e50).Q).all()


@pytest.mark.parametrize(
    "scale", [1e60, 1e200]
)  # the products of gradients overflow, and the gradients
def test_gradient_covariance(scale):
    theta = np.full(NET.num_params, scale)
    neti = inf.NetI(NET, inf.Teacher(NET, np.ones(NET.num_params)))
    for net in (neti, neti.sample(50, 0)):
        with pytest.raises(DivergedError, match="covariance of the gradients is not finite"):
            inf.gradient_covariance(net, theta) if net is not neti else inf.gradient_covariance(
                net, theta, samples=100
            )


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "sin"])
def test_infinite_data(activation):
    student = inf.Net([(3, activation, True), (1, "identity", True)], input_dim=2)
    neti = inf.NetI(student, inf.Teacher(student, np.ones(student.num_params)))
    large = np.where(np.arange(student.num_params) % 2, 1e200, -1e200)
    for call in (inf.loss, inf.gradient):
        with pytest.raises(DivergedError, match="not finite"):
            call(neti, large)
    far = inf.NetI(student, inf.Teacher(student, large, noise=1e200))
    with pytest.raises(DivergedError, match="not finite"):
        inf.loss(far, np.ones(student.num_params))
