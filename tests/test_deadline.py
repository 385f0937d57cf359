"""Limits of time within one evaluation: loops over blocks of samples ask the clock."""

import numpy as np
import pytest

import infflow as inf
from infflow import compile_time, stopping
from infflow.deadline import ask, asking
from infflow.stopping import StopReason, TimeIsUp


def network(layers=((6, "tanh", True), (1, "identity", True)), samples=10000):
    X = np.random.default_rng(0).normal(size=(samples, 30))
    return inf.Net(list(layers), input=X, target=np.sin(X[:, 0]))


class Clock:
    """Raises at the n-th question."""

    def __init__(self, n):
        self.left = n

    def __call__(self):
        self.left -= 1
        if self.left < 0:
            raise TimeIsUp


DEEP = ((6, "tanh", True), (5, "relu", True), (1, "identity", True))


@pytest.mark.parametrize("layers", [((6, "tanh", True), (1, "identity", True)), DEEP])
@pytest.mark.parametrize(
    "evaluate",
    [
        lambda net, theta: net.evaluate(theta, 1),
        lambda net, theta: net.evaluate(theta, 2),
        lambda net, theta: net.hvp(theta, theta),
        lambda net, theta: net.linearize(theta),
        lambda net, theta: net.residuals(theta),
        lambda net, theta: net.jacobian(theta),
    ],
    ids=["gradient", "Hessian", "product", "linearization", "residuals", "Jacobian"],
)
def test_every_evaluation_asks_between_blocks_and_is_right_afterwards(layers, evaluate):
    net = network(layers)
    theta = inf.random_params(net, 1)
    before = inf.hessian(net, theta)
    with pytest.raises(TimeIsUp), asking(Clock(0)):
        evaluate(net, theta)
    evaluate(net, theta)  # nobody asks outside of the block
    np.testing.assert_array_equal(inf.hessian(net, theta), before)


def test_questions_go_to_the_innermost():
    with asking(Clock(0)):
        with asking(lambda: None):
            ask()
        with pytest.raises(TimeIsUp):
            ask()
    ask()


@pytest.mark.parametrize(
    ("options", "stage"),
    [
        ({"solver": "rodas5p", "max_steps_newton": 0}, "flow"),
        ({"solver": "gear", "max_steps_newton": 0}, "flow"),
        ({"solver": "tsit5", "max_steps_newton": 0}, "flow"),
        ({"optimizer": "newton", "max_steps_flow": 0}, "newton"),
        ({"optimizer": "levenberg_marquardt", "max_steps_flow": 0}, "newton"),
        ({"optimizer": "bfgs", "max_steps_flow": 0}, "newton"),
    ],
)
def test_a_limit_ends_a_run_within_an_evaluation(options, stage, monkeypatch):
    """With a clock that a question moves by a second, evaluations of many blocks do not end."""
    now = [0.0]

    def tick():
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(stopping, "running_time", tick)
    net = network()
    theta = inf.random_params(net, 1)
    limit = 12.0
    run = inf.train(
        net, theta, max_time_flow=limit, max_time_newton=limit, progress=False, **options
    )
    assert getattr(run, stage).stop_reason is StopReason.MAX_TIME
    assert now[0] < 4 * limit
    assert run.loss == pytest.approx(inf.loss(net, run.theta), rel=1e-12)
    assert run.loss <= inf.loss(net, theta)
    assert compile_time.running_time() > 0.0
