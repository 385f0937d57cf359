"""Minibatch Gauss-Newton: the step against its definition, finite-data nets, any sum of squares,
bad input.
"""

import numpy as np
import pytest
from analytic_objectives import rosenbrock

import infflow as inf
from infflow.errors import InfflowError, MethodError
from infflow.fixedpoints import OPTIMIZERS, FixedPointProblem
from infflow.fixedpoints.gauss_newton import (
    DenseLinearisation,
    GaussNewtonSteps,
    SubsetLeastSquares,
    epochs,
)
from infflow.stopping import StopReason, StopRules


class Linear:
    """Residuals A theta - y of some rows."""

    def __init__(self, A, y):
        self.A, self.y, self.num_samples = A, y, len(y)

    def residuals(self, theta, samples):
        return self.A[samples] @ theta - self.y[samples]

    def linearise(self, theta, samples):
        return DenseLinearisation(self.residuals(theta, samples), self.A[samples])


def student(width=6, samples=400, noise=0.0):
    rng = np.random.default_rng(0)
    layers = [(width, "tanh", True), (1, "identity", True)]
    teacher = inf.Net(layers=[(3, "tanh", True), (1, "identity", True)], input_dim=3)
    X = rng.normal(size=(samples, 3))
    y = teacher.predict(rng.normal(size=teacher.num_params), X)[:, 0] + noise * rng.normal(
        size=samples
    )
    net = inf.Net(layers=layers, input_dim=3, input=X, target=y)
    return net, inf.random_params(net, rng=1)


def search(net, theta, max_steps=200, options=None, **rules):
    limits = {
        "max_time": 600.0,
        "min_loss": 0.0,
        "min_gradient_norm": 0.0,
        "patience": 10**6,
        **rules,
    }
    problem = FixedPointProblem(net, theta, np.ones(len(theta), bool))
    checked = OPTIMIZERS["gauss_newton"].check_options(options)
    return OPTIMIZERS["gauss_newton"].run(
        problem, theta, StopRules(max_steps=max_steps, **limits), **checked
    )


@pytest.mark.parametrize(("rows", "momentum"), [(5, 0.0), (5, 0.9), (30, 0.9)])
def test_a_step_minimises_the_damped_model(rows, momentum):
    rng = np.random.default_rng(rows)
    A = rng.normal(size=(rows, 12))
    y = rng.normal(size=rows)
    steps = GaussNewtonSteps(Linear(A, y), rng.normal(size=12), momentum, 0.3)
    steps.last = rng.normal(size=12)
    theta = steps.theta.copy()
    start = momentum * steps.last
    damping = 0.3 * np.mean((A**2).sum(axis=1))
    report = steps.step(np.arange(rows))
    # the same by a least-squares solver: |r + A p|^2 + damping |p - start|^2
    stacked = np.vstack([A, np.sqrt(damping) * np.eye(12)])
    right = np.concatenate([y - A @ theta, np.sqrt(damping) * start])
    p = np.linalg.lstsq(stacked, right, rcond=None)[0]
    assert report.accepted == (report.after <= report.before)
    taken = p if report.accepted else np.zeros(12)
    np.testing.assert_allclose(steps.theta - theta, taken, atol=1e-12)
    np.testing.assert_allclose(report.after, np.sum((A @ (theta + p) - y) ** 2), rtol=1e-11)


def test_subsets_of_a_net_are_its_residuals_and_jacobian():
    net, theta = student()
    problem = FixedPointProblem(net, theta, np.arange(len(theta)) != 4)
    squares = SubsetLeastSquares(problem)
    samples = np.array([3, 77, 200])
    x = theta[problem.free]
    here = squares.linearise(x, samples)
    J = net.jacobian(theta)[samples][:, problem.free] * np.sqrt(
        400 / 3
    )  # the mean is over three samples now
    np.testing.assert_allclose(here.jacobian, J, rtol=1e-13)
    np.testing.assert_allclose(here.gram(), J @ J.T, rtol=1e-12)
    v = np.cos(np.arange(len(x)))
    w = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(here.product(v), J @ v, rtol=1e-12)
    np.testing.assert_allclose(here.transposed_product(w), J.T @ w, atol=1e-13)


def test_minibatches_find_a_teacher_and_momentum_helps():
    net, theta = student()
    found = search(net, theta, 500, {"batch_size": 20})
    plain = search(net, theta, 500, {"batch_size": 20, "momentum": 0.0})
    assert found.loss < 1e-7 < 1e-3 < inf.loss(net, theta)
    assert found.loss < plain.loss
    assert found.loss == inf.loss(net, found.theta)
    assert found.statistics.steps == 500 and found.statistics.stop_reason is StopReason.MAX_STEPS


def test_the_seed_decides_the_order():
    net, theta = student(width=3, samples=60)
    first, again, other = (
        search(net, theta, 12, {"batch_size": 10, "seed": s}).theta for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_every_pass_takes_each_sample_once():
    batches = epochs(7, 3, np.random.default_rng(0))
    for _ in range(2):
        taken = [next(batches) for _ in range(3)]
        assert [len(b) for b in taken] == [3, 3, 1]
        assert sorted(np.concatenate(taken)) == list(range(7))


def test_all_samples_at_once_converge_to_rounding():
    net, theta = student(width=3, samples=50)
    result = inf.train(
        net, theta, max_steps_flow=0, optimizer="gauss_newton", max_steps_newton=300, progress=False
    )
    assert result.newton.method == "gauss_newton" and result.converged
    assert result.loss < 1e-27 < 1e-3 < inf.loss(net, theta)


def test_a_step_that_raises_the_squares_is_not_taken():
    class Trap(Linear):
        def residuals(self, theta, samples):
            return np.full(len(samples), np.inf)

        def linearise(self, theta, samples):
            return DenseLinearisation(np.ones(len(samples)), self.A[samples])

    steps = GaussNewtonSteps(Trap(np.eye(3), np.zeros(3)), np.zeros(3), 0.9, 1e-3)
    report = steps.step(np.arange(3))
    assert (
        not report.accepted
        and not steps.theta.any()
        and not steps.last.any()
        and report.damping > 1e-3
    )


def test_bad_input():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 2))
    labels = rng.integers(0, 2, size=20)
    net = inf.Net(
        layers=[(2, "identity", True)], input_dim=2, input=X, target=labels, loss="cross_entropy"
    )
    with pytest.raises(MethodError, match="gauss_newton needs a sum of squares"):
        inf.train(net, np.zeros(6), optimizer="gauss_newton")
    with pytest.raises(InfflowError, match="no samples to choose from"):
        search(rosenbrock(), np.zeros(2), options={"batch_size": 3})
    for options in (
        {"momentum": 1.0},
        {"damping": 0.0},
        {"batch_size": 0},
        {"seed": -1},
        {"batch": 3},
    ):
        with pytest.raises(InfflowError, match=next(iter(options))):
            OPTIMIZERS["gauss_newton"].check_options(options)
