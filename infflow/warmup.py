"""Compile kernels ahead of their first use: small problems that between them call nearly all of
them.

Compiled code is kept on disk (``compile_cache.py``), so this pays once per machine and version. The
problems run in processes of their own, side by side.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import numpy as np

__all__ = ["WORKLOADS", "warm_up"]


def _pair(student: str, teacher: str, bias: bool = True) -> Any:
    """A small infinite-data network and a start."""
    import infflow as inf

    net = inf.Net([(2, student, bias), (1, "identity", bias)], input_dim=3)
    other = inf.Net([(3, teacher, bias), (1, "identity", bias)], input_dim=3)
    neti = inf.NetI(net, inf.Teacher(other, inf.random_params(other, rng=1)))
    return neti, inf.random_params(net, rng=2)


def _next_to_teacher(net: Any, theta: Any) -> None:
    """The loss of a network beside itself."""
    import infflow as inf

    inf.loss(inf.NetI(net, inf.Teacher(net, theta)), theta + 1e-6)


def _closed_forms() -> None:
    """Loss, gradient, Hessian and flow of networks with cheap closed forms."""
    import infflow as inf

    for student, teacher in (("erf", "erf"), ("relu", "gelu")):
        neti, theta = _pair(student, teacher)
        inf.train(neti, theta, progress=False, max_steps_flow=50, max_steps_newton=5)
        inf.hvp(neti, theta, theta)
        _next_to_teacher(neti.student, theta)
        product = inf.PolynomialTeacher({(1, 1): 1.0}, np.eye(2, 3))
        inf.hessian(neti.replace(teacher=product), theta)
    relu = inf.Net([(2, "relu", False), (1, "identity", False)], input_dim=3)
    one = inf.Net([(1, "relu", False), (1, "identity", False)], input_dim=3)
    parting = inf.NetI(relu, inf.Teacher(one, np.array([1.0, 0.5, -0.5, 1.0])))
    inf.loss(parting, np.array([1.0, 0.5, -0.49, 1.0, 0.5, -0.51, 0.5, 0.5]))
    family = inf.SymmetricNetI("erf", [1, 3])
    inf.hessian(family, family.random(0))
    inf.gaussian_moment("relu", "erf", 1.0, 2.0, 0.3)
    inf.gaussian_mean("relu", 1.0, 0.5)
    inf.bivariate_normal_cdf(0.1, 0.2, 0.3)


def _series() -> None:
    """Networks that take Hermite series, and mixtures where neurons are nearly parallel."""
    import infflow as inf

    for name in ("tanh", "softplus"):
        neti, theta = _pair(name, name)
        inf.train(neti, theta, progress=False, max_steps_flow=50, max_steps_newton=5)
        inf.hessian(neti.with_method("closed"), theta)
        _next_to_teacher(neti.student, theta)
        inf.gaussian_moment(name, name, 1.0, 1.0, 0.9999)


def _elu() -> None:
    import infflow as inf

    for partner in ("elu", "erf"):
        neti, theta = _pair("elu", partner)
        inf.hessian(neti, theta)
        inf.gaussian_moment("elu", partner, 1.0, 2.0, 0.3)
    inf.gaussian_mean("elu", 1.0, 0.5)


def _finite_data() -> None:
    """Perceptrons on data: value, gradient, Hessian, products, all losses, every registered
    activation.
    """
    import infflow as inf
    from infflow.activations import names

    X = np.random.default_rng(0).normal(size=(40, 3))
    y = np.sin(X[:, :2])
    for layers in (
        [(3, "softplus", True), (2, "identity", True)],
        [(3, "tanh", True), (3, "erf", False), (2, "identity", True)],
    ):
        net = inf.Net(layers, input=X, target=y)
        theta = inf.random_params(net, rng=1)
        inf.train(net, theta, progress=False, max_steps_flow=50, max_steps_newton=5)
        inf.train(
            net,
            theta,
            progress=False,
            max_steps_flow=0,
            max_steps_newton=3,
            optimizer="levenberg_marquardt",
        )
        inf.hvp(net, theta, theta)
        inf.gradient_covariance(net, theta)
    labels = inf.Net(
        [(3, "softplus", True), (2, "identity", True)],
        input=X,
        target=(y[:, 0] > 0).astype(int),
        loss="cross_entropy",
    )
    start = inf.random_params(labels, rng=1)
    inf.hessian(labels, start)
    inf.hvp(labels, start, start)
    scaled = labels.replace(parametrization="ntk")
    inf.hessian(scaled, start)
    robust = inf.Net(
        [(3, "softplus", True), (2, "identity", True)], input=X, target=y, loss="huber"
    )
    inf.hessian(robust, inf.random_params(robust, rng=1))
    for name in names():
        net = inf.Net([(2, name, True), (2, "identity", True)], input=X, target=y)
        inf.hessian(net, 0.1 * inf.random_params(net, rng=1))


def _solvers() -> None:
    """Every integrator of the registry."""
    import infflow as inf
    from infflow.flow import SOLVERS

    neti, theta = _pair("erf", "erf")
    for name in SOLVERS:
        step = 0.01 if name in ("gd", "adam") else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inf.train(
                neti,
                theta,
                solver=name,
                progress=False,
                t_end=1.0,
                max_steps_newton=0,
                step_size=step,
            )


def _order_parameters() -> None:
    import infflow as inf

    for name in ("erf", "relu", "gelu"):
        neti, theta = _pair(name, name, bias=False)
        inf.OrderParameters(neti, 0.1).solve(theta, 0.1)
        inf.gradient_covariance(neti, theta)
    neti, theta = _pair("tanh", "tanh", bias=False)
    inf.OrderParameters(neti, 0.1, samples=1000).solve(theta, 0.1)  # sampled fourth moments


#: Problems by name; those that stand first take longest.
WORKLOADS: dict[str, Callable[[], None]] = {
    "series and mixtures": _series,
    "finite data": _finite_data,
    "closed forms": _closed_forms,
    "order parameters": _order_parameters,
    "elu": _elu,
    "integrators": _solvers,
}


def _run(name: str) -> str:
    WORKLOADS[name]()
    return name


def warm_up(jobs: int = 2, names: tuple[str, ...] = tuple(WORKLOADS)) -> Iterator[str]:
    """Run the workloads in ``jobs`` processes; yields the name of each when it has ended."""
    context = multiprocessing.get_context(
        "spawn"
    )  # a forked process would inherit locks of numba's compiler
    with ProcessPoolExecutor(min(jobs, len(names)), mp_context=context) as pool:
        for done in as_completed([pool.submit(_run, name) for name in names]):
            yield done.result()


if __name__ == "__main__":
    for finished in warm_up():
        print(finished, file=sys.stderr)
