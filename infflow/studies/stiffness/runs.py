"""The flows of the study ``stiffness``, and what is run on them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..._validation import Array
from ...compile_time import running_time
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.parameters import random_params
from ...networks.teacher import Teacher
from ...training import train
from ..objectives import heavy_ball_descent
from .ode_codes import integrate

_CLASSIFICATION = ("digits", "two classes")
PROBLEMS = (*_CLASSIFICATION, "finite regression", "infinite regression")
_RIDGE = 1e-3


@lru_cache(maxsize=4)
def build(problem: str, seed: int = 0) -> tuple[Any, Array]:
    """Network and start."""
    if problem in _CLASSIFICATION:
        net: Any = _classifier(problem)
    else:
        student = Net([(6, "softplus", True), (1, "identity", True)], input_dim=4)
        teacher = Net([(8, "softplus", True), (1, "identity", True)], input_dim=4)
        neti = NetI(
            student, Teacher(teacher, random_params(teacher, rng=seed + 1, init="standard_normal"))
        )
        net = neti.sample(2000, rng=seed) if problem == "finite regression" else neti
    return net, random_params(net, rng=seed + 2)


@lru_cache(maxsize=2)
def _data(problem: str) -> tuple[Array, Any]:
    """Standardised inputs and class labels."""
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.decomposition import PCA

    X, labels = (load_digits if problem == "digits" else load_breast_cancer)(return_X_y=True)
    if problem == "digits":
        X = PCA(16, random_state=0).fit_transform(X)
    return (X - X.mean(axis=0)) / X.std(axis=0), labels


def _classifier(problem: str) -> Net:
    X, labels = _data(problem)
    hidden, classes = (12, 10) if problem == "digits" else (5, 2)
    layers = [(hidden, "tanh", True), (classes, "identity", True)]
    return Net(layers=layers, input=X, target=labels, loss="cross_entropy", ridge=_RIDGE)


def accuracy(problem: str, theta: Array) -> float:
    """Share of the training samples that are classified correctly; NaN for a regression."""
    if problem not in _CLASSIFICATION:
        return math.nan
    X, labels = _data(problem)
    return float(np.mean(build(problem)[0].predict(theta, X).argmax(axis=1) == labels))


# --------------------------------------------------------------------------------------------------
# the runs


def reference(problem: str, t_end: float, seed: int) -> dict[str, Any]:
    """The flow to 1e-10, and how stiff it is along the way."""
    net, theta = build(problem, seed)
    times = np.concatenate([[0.0], np.geomspace(1e-3, t_end, 60)])
    run = train(
        net,
        theta,
        solver="rodas5p",
        rtol=1e-10,
        atol=1e-10,
        t_end=t_end,
        t_eval=times,
        max_steps_newton=0,
        progress=False,
        min_gradient_norm=0.0,
        max_time_flow=1800.0,
    )
    top = []
    bottom = []
    pace = []
    for x in run.trajectory.theta:
        _, g, H = net.evaluate(x, 2)
        values = np.linalg.eigvalsh(H)
        top.append(values[-1])
        bottom.append(values[0])
        # 1 / time scale of the solution: |theta''| / |theta'|
        pace.append(np.linalg.norm(H @ g) / np.linalg.norm(g))
    return {
        "t": run.trajectory.t,
        "loss": run.trajectory.loss,
        "end": run.trajectory.theta[-1],
        "largest": np.array(top),
        "smallest": np.array(bottom),
        "stiffness": np.array(top) / np.array(pace),
        "accuracy": np.array([accuracy(problem, x) for x in run.trajectory.theta]),
    }


def solve(
    problem: str,
    code: str,
    jacobian: str,
    tol: float,
    max_order: int,
    t_end: float,
    limit: float,
    seed: int,
) -> dict[str, Any]:
    """One run of an ODE code, thinned to 200 steps, and the minimum that Newton's method finds from
    its end.
    """
    net, theta = build(problem, seed)
    end, record, complete = integrate(
        net, theta, t_end, code, jacobian, tol, max_order=max_order, seconds=limit
    )
    polished = train(
        net, end, max_steps_flow=0, max_steps_newton=200, max_time_newton=20.0, progress=False
    )
    keep = np.unique(
        np.concatenate(
            [np.geomspace(1, len(record["t"]), 200).astype(int) - 1, [len(record["t"]) - 1]]
        )
    )
    return {
        "end": end,
        "minimum": polished.theta,
        "minimum_loss": polished.loss,
        "minimum_converged": polished.converged,
        "complete": complete,
        **{f"record_{name}": value[keep] for name, value in record.items()},
        **{f"total_{name}": float(value[-1]) for name, value in record.items()},
    }


def tightening(problem: str, t_end: float, limit: float, seed: int, floor: float) -> dict[str, Any]:
    """CVODE, started anew with a tenth of the tolerance whenever the excess of the loss has fallen
    by ten, from 1e-2 down to ``floor``.
    """
    net, theta = build(problem, seed)
    lowest = train(
        net, theta, t_end=t_end, rtol=1e-6, atol=1e-6, max_steps_newton=0, progress=False
    ).trajectory.loss[-1]
    t = 0.0
    tol = 1e-2
    totals = np.zeros(3)
    excess = net.evaluate(theta, 0).value - lowest
    while t < t_end and totals[2] < limit:
        goal = 0.1 * excess
        start = t
        _, record, _ = integrate(
            net, theta, t_end - start, "cvode", "exact", tol, seconds=limit - totals[2]
        )
        below = np.flatnonzero(record["loss"] - lowest < goal)
        last = int(below[0]) if len(below) and tol > floor else len(record["t"]) - 1
        totals += [record["steps"][last], record["gradients"][last], record["seconds"][last]]
        t = start + record["t"][last]
        if last == len(record["t"]) - 1:
            theta = integrate(net, theta, record["t"][last], "cvode", "exact", tol, seconds=limit)[
                0
            ]
            break
        theta = integrate(net, theta, record["t"][last], "cvode", "exact", tol, seconds=limit)[0]
        tol = max(floor, 0.1 * tol)
        excess = goal
    return {"steps": totals[0], "gradients": totals[1], "seconds": totals[2], "end": theta}


def descend(
    problem: str, method: str, step_size: float, goal: float, limit: float, seed: int
) -> dict[str, Any]:
    """Iterations and seconds of gradient descent with momentum 0.9, or of Adam, to a loss of
    ``goal``; NaN where it was not reached.
    """
    net, theta = build(problem, seed)
    started = running_time()
    done = 0
    block = 200
    if method == "adam":
        run = train(
            net,
            theta,
            solver="adam",
            step_size=step_size,
            min_loss=goal,
            max_time_flow=limit,
            max_steps_flow=10**7,
            max_steps_newton=0,
            progress=False,
            num_trajectory=2,
        )
        reached = run.trajectory.loss[-1] <= goal
        return {
            "iterations": float(run.flow.steps) if reached else math.nan,
            "seconds": run.flow.wall_time if reached else math.nan,
        }
    previous = theta
    with np.errstate(all="ignore"):
        while running_time() - started < limit and np.isfinite(theta).all():
            path = heavy_ball_descent(net, theta, step_size, 0.9, block, previous)
            if not np.isfinite(path).all():
                break
            done = done + block
            previous = path[-2]
            theta = path[-1]
            if net.evaluate(theta, 0).value <= goal:
                return {"iterations": float(done), "seconds": running_time() - started}
    return {"iterations": math.nan, "seconds": math.nan}
