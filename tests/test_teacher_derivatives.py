"""Derivatives in the teacher's parameters against differences, and fixed points that move."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InfflowError
from infflow.networks.infinite.joint import JointLoss

INPUTS = {
    "standard": None,
    "coloured": inf.Gaussian(0.2 * np.ones(3), np.diag([1.0, 2.0, 0.5])),
    "mixture": inf.GaussianMixture([0.3, 0.7], [np.ones(3), -np.ones(3)], [np.eye(3), np.eye(3)]),
}


def problem(parametrization="standard", input=None, **options):
    rng = np.random.default_rng(1)
    student = inf.Net(
        [(3, ["erf", "tanh", "relu"], True), (2, "identity", True)],
        input_dim=3,
        parametrization=parametrization,
    )
    net = inf.Net(
        [(2, "gelu", True), (2, "identity", True)], input_dim=3, parametrization=parametrization
    )
    teacher = inf.Teacher(net, rng.standard_normal(net.num_params), noise=0.3)
    neti = inf.NetI(student, teacher, input=input, **options)
    return neti, rng.standard_normal(student.num_params)


def with_teacher(neti, theta_teacher):
    teacher = neti.teacher
    return neti.replace(teacher=inf.Teacher(teacher.net, theta_teacher, noise=teacher.noise))


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
@pytest.mark.parametrize("input", INPUTS)
def test_differences(input, parametrization):
    neti, theta = problem(parametrization, INPUTS[input], ridge=0.1)
    at = neti.teacher.theta
    step = 1e-5
    slopes = []
    rows = []
    for e in step * np.eye(len(at)):
        up, down = (with_teacher(neti, at + s * e) for s in (1, -1))
        slopes.append((inf.loss(up, theta) - inf.loss(down, theta)) / (2 * step))
        rows.append((inf.gradient(up, theta) - inf.gradient(down, theta)) / (2 * step))
    found = inf.gradient(neti, theta, wrt="teacher")
    np.testing.assert_allclose(found, slopes, atol=1e-8)
    np.testing.assert_allclose(inf.mixed_hessian(neti, theta), np.transpose(rows), atol=1e-8)


def test_the_joint_loss_is_the_loss_of_the_network():
    neti, theta = problem(ridge=0.1, maxnorm=1.0)
    joint = JointLoss(neti)
    z = np.concatenate([theta, neti.teacher.theta])
    found = joint.evaluate(z, 2)
    own = neti.evaluate(theta, 2)
    P = len(theta)
    assert found.value == own.value
    np.testing.assert_allclose(found.gradient[:P], own.gradient, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.hessian[:P, :P], own.hessian, rtol=1e-12, atol=1e-13)
    assert (found.hessian == found.hessian.T).all()
    v = np.random.default_rng(2).standard_normal((joint.num_params, 3))
    np.testing.assert_allclose(joint.hvp(z, v), found.hessian @ v, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(joint.hvp(z, v[:, 0]), found.hessian @ v[:, 0], atol=1e-12)


def test_a_fixed_point_moves_with_its_teacher():
    """The implicit function theorem against training with a teacher that has moved."""
    net = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    big = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=2)
    rng = np.random.default_rng(4)
    at = rng.standard_normal(big.num_params)
    neti = inf.NetI(net, inf.Teacher(big, at), ridge=1e-2)
    options = {"progress": False, "min_gradient_norm": 1e-14}
    theta = inf.train(neti, inf.random_params(net, rng=1), **options).theta
    direction = rng.standard_normal(len(at))
    move = -np.linalg.solve(inf.hessian(neti, theta), inf.mixed_hessian(neti, theta) @ direction)
    step = 1e-4
    ends = []
    for s in (1, -1):
        moved = neti.replace(teacher=inf.Teacher(big, at + s * step * direction))
        ends.append(inf.train(moved, theta, max_steps_flow=0, **options).theta)
    np.testing.assert_allclose(move, (ends[0] - ends[1]) / (2 * step), atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: inf.gradient(problem()[0], problem()[1], wrt="teachers"), "teacher"),
        (lambda: inf.gradient(problem()[0].student, problem()[1], wrt="teacher"), "NetI"),
        (lambda: inf.mixed_hessian(problem()[0], problem()[1][1:]), "shape"),
        (lambda: inf.mixed_hessian(problem(loss="correlation")[0], problem()[1]), "squared"),
        (lambda: inf.mixed_hessian(function(), np.zeros(2)), "no parameters"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InfflowError, match=message):
        call()


def function():
    net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=1)
    return inf.NetI(net, inf.FunctionTeacher(lambda z: z[:, 0] ** 2, np.eye(1)))
