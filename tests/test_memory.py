"""One check for everything that makes a matrix of parameters by parameters."""

import numpy as np
import pytest

import infflow as inf
from infflow import memory
from infflow.errors import SolverWarning, TooLargeError
from infflow.objective import Evaluation

MILLION = 10**6


def large_neti(width=100, dim=30):
    net = inf.Net([(width, "erf", False), (1, "identity", False)], input_dim=dim)
    return inf.NetI(net, inf.Teacher(net, inf.random_params(net, rng=0))), inf.random_params(
        net, rng=1
    )


class Bowl:
    """An objective of a user, who forms Hessians without asking."""

    num_params = 3000

    def evaluate(self, theta, order=0):
        hessian = np.eye(len(theta)) if order == 2 else None
        return Evaluation(float(theta @ theta) / 2, np.array(theta), hessian)

    def hvp(self, theta, v):
        return np.array(v)


PLACES = {
    "hessian": lambda net, theta: inf.hessian(net, theta),
    "evaluate": lambda net, theta: net.evaluate(theta, 2),
    "spectrum": lambda net, theta: inf.hessian_spectrum(net, theta),
    "covariance": lambda net, theta: inf.gradient_covariance(net, theta, samples=40),
    "prediction": lambda net, theta: inf.finite_data_prediction(net, theta, 100, samples=40),
    "bfgs": lambda net, theta: inf.train(net, theta, optimizer="bfgs", progress=False),
    "slsqp": lambda net, theta: inf.train(net, theta, optimizer="slsqp", progress=False),
    "newton": lambda net, theta: inf.train(
        net, theta, optimizer="newton", optimizer_options={"linear_solver": "dense"}, progress=False
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_does_not_fit_is_refused_before_work_begins(place, monkeypatch):
    net, theta = large_neti()
    monkeypatch.setattr(memory, "available_memory", lambda: 100 * MILLION)
    with pytest.raises(
        TooLargeError,
        match=r"of 3100 parameters takes 73\.3 MiB.*more than .*95\.4 MiB available\. Use",
    ):
        PLACES[place](net, theta)


@pytest.mark.parametrize("place", ["hessian", "spectrum", "bfgs", "slsqp", "newton"])
def test_objectives_of_users_too(place, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 100 * MILLION)
    with pytest.raises(TooLargeError, match="3000 parameters"):
        PLACES[place](Bowl(), np.ones(3000))


def test_solvers_with_a_dense_jacobian_give_way(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 100 * MILLION)
    with pytest.warns(SolverWarning, match="3000 parameters"):
        found = inf.train(
            Bowl(), np.ones(3000), solver="gear", t_end=0.1, max_steps_newton=0, progress=False
        )
    np.testing.assert_allclose(found.theta_flow, np.exp(-0.1), rtol=1e-5)


def test_certificates(monkeypatch):
    pytest.importorskip("flint")
    net, theta = large_neti()
    monkeypatch.setattr(memory, "available_memory", lambda: 1000 * MILLION)
    with pytest.raises(TooLargeError, match=r"ball arithmetic.*inf\.classify"):
        inf.certify(net, theta)


def test_ten_million_parameters():
    net, theta = large_neti(1000, 9999)
    for place in ("hessian", "evaluate", "spectrum", "covariance"):
        with pytest.raises(TooLargeError, match=r"of 10000000 parameters takes 727\.6 TiB"):
            PLACES[place](net, theta)
    for place in ("prediction", "bfgs"):  # in the 2,001 inputs that the weights span
        with pytest.raises(TooLargeError, match=r"200\d000 parameters takes 2\d.\d TiB"):
            PLACES[place](net, theta)


def test_products_need_no_matrix(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1)
    net, theta = large_neti()
    assert np.isfinite(inf.hvp(net, theta, theta)).all()
    assert inf.extreme_eigenpairs(net, theta).bottom[0] < inf.extreme_eigenpairs(net, theta).top[0]


def test_limits_of_containers_count(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    free = memory.available_memory()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert memory.available_memory() == pytest.approx(free, rel=0.3)
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.available_memory() == 500


def test_sizes_are_readable():
    assert [memory._size(x) for x in (12, 1024, 3 * 2**20, 2**50)] == [
        "12.0 bytes",
        "1.0 KiB",
        "3.0 MiB",
        "1024.0 TiB",
    ]


def test_small_matrices_are_not_checked(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1)
    memory.require_memory(memory.CHECKED_SIZE)
    with pytest.raises(TooLargeError, match=r"30\.5 MiB, more than half of the 1\.0 bytes"):
        memory.require_memory(memory.CHECKED_SIZE + 1)


def test_pairs_of_very_many_neurons_are_refused():
    net = inf.Net([(300_000, "erf", False), (1, "identity", False)], input_dim=1)
    teacher = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=1)
    with pytest.raises(TooLargeError, match=r"pairs of 300002 neurons take 10\.\d TiB"):
        inf.NetI(net, inf.Teacher(teacher, [1.0, 1.0]))
