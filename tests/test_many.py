"""Many starts: order, failures, processes, and the solutions that were found."""

import functools
import inspect
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from analytic_objectives import Function

import infflow as inf
from infflow import many
from infflow.errors import InfflowError, InvalidTypeError, InvalidValueError, UnknownNameError
from infflow.many import FailedRun, Runs, train_many, unique_solutions
from infflow.result import Result
from infflow.stopping import StopReason


def teacher_student(K=2, M=2, activation="erf", D=3):
    teacher, student = (
        inf.Net([(n, activation, False), (1, "identity", False)], input_dim=D) for n in (M, K)
    )
    theta = teacher.pack([(np.eye(M, D), None), (np.array([[1.0, -0.7, 0.5]])[:, :M], None)])
    return inf.NetI(student, inf.Teacher(teacher, theta))


def starts(net, n, seed=0):
    return [inf.random_params(net, seed + k) for k in range(n)]


def double_well():
    return Function(
        2,
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2,
        lambda x: [4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]],
        lambda x: [[12 * x[0] ** 2 - 4, 0], [0, 2]],
    )


NOISY = {
    "diffusion": {"dynamics": inf.SGDDiffusion(0.1, 5, rng=7)},
    "table": {"dynamics": {"kind": "sgd_diffusion", "step_size": 0.1, "batch_size": 5, "rng": 7}},
    "minibatches": {
        "solver": "gd",
        "step_size": 0.1,
        "batch_size": 5,
        "solver_options": {"seed": 7},
    },
}


@pytest.mark.parametrize("case", NOISY)
def test_random_numbers_are_independent_from_start_to_start(case):
    """One seed gives every start a path of its own, the same again, and the first as alone."""
    data = teacher_student().sample(40, rng=0)
    start = inf.random_params(data, rng=3)
    noise = {**NOISY[case], "t_end": 2.0, "max_steps_newton": 0, "progress": False}
    runs = train_many(data, [start] * 3, **noise)
    ends = np.array([run.theta_flow for run in runs])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(ends[i] - ends[j]).max() > 1e-3
    again = train_many(data, [start] * 3, n_jobs=2, **noise)
    np.testing.assert_array_equal(ends, [run.theta_flow for run in again])
    np.testing.assert_array_equal(ends[0], inf.train(data, start, **noise).theta_flow)


def test_settings_tell_how_to_make_one_of_many_runs_again():
    data = teacher_student().sample(40, rng=0)
    start = inf.random_params(data, rng=3)
    given = {"t_end": 1.0, "max_steps_newton": 0, "progress": False}
    for noise in (NOISY["diffusion"], NOISY["minibatches"]):
        run = train_many(data, [start] * 2, **noise, **given)[1]
        kept = {name: run.settings[name] for name in noise}
        if "dynamics" in kept:
            kept["dynamics"] = eval(kept["dynamics"], {"SGDDiffusion": inf.SGDDiffusion})
        np.testing.assert_array_equal(
            inf.train(data, start, **kept, **given).theta_flow, run.theta_flow
        )


def test_results_come_in_order_and_failures_are_recorded():
    net = teacher_student()
    thetas = starts(net, 3)
    thetas.insert(1, np.full(net.num_params, np.nan))
    thetas.insert(3, np.zeros(2))
    runs = train_many(net, thetas)
    assert isinstance(runs, Runs) and len(runs) == 5 and runs.net is net
    for k in (0, 2, 4):
        assert isinstance(runs[k], Result)
        np.testing.assert_array_equal(runs[k].theta0, thetas[k])
        alone = inf.train(net, thetas[k], progress=False)
        np.testing.assert_array_equal(runs[k].theta, alone.theta)
    assert isinstance(runs[1], FailedRun) and isinstance(runs[3], FailedRun)
    assert (
        runs[1].error == "InvalidValueError"
        and "nan" in runs[1].message
        and "train" in runs[1].traceback
    )
    assert runs[3].error == "ShapeError" and runs[3].theta0.shape == (2,)
    assert runs.failures == [runs[1], runs[3]] and len(runs.results) == 3
    assert isinstance(min(runs, key=lambda run: run.loss), Result)
    assert "5 starts, 3 converged, 2 failed" in repr(runs)


def test_processes_give_the_same_results():
    net = teacher_student()
    thetas = np.array(starts(net, 4))
    thetas[2, 0] = np.inf
    one = train_many(net, thetas)
    two = train_many(net, thetas, n_jobs=2)
    assert [type(run) for run in two] == [Result, Result, FailedRun, Result]
    for a, b in zip(one.results, two.results, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)
    assert two[2].message == one[2].message


def count_threads(theta):
    import numba
    from threadpoolctl import threadpool_info

    blas = max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    return np.array([blas, numba.get_num_threads(), os.getpid()], dtype=float)


def test_workers_use_one_thread():
    net = teacher_student()
    runs = train_many(
        net, starts(net, 2), n_jobs=2, observables={"threads": count_threads}, max_steps_flow=2
    )
    for run in runs:
        seen = run.trajectory.observables["threads"]
        assert (seen[:, :2] == 1).all() and (seen[:, 2] != os.getpid()).all()


def test_no_more_processes_than_starts(monkeypatch):
    import joblib

    asked = []

    class Recorder(joblib.Parallel):
        def __init__(self, n_jobs, **options):
            asked.append(n_jobs)
            super().__init__(n_jobs=1, return_as="generator")

    monkeypatch.setattr(joblib, "Parallel", Recorder)
    net = teacher_student()
    assert (
        len(train_many(net, starts(net, 2), n_jobs=10**6, max_steps_flow=2, max_steps_newton=0))
        == 2
    )
    assert asked == [2]


def test_errors_of_arguments_are_raised():
    net = teacher_student()
    with pytest.raises(UnknownNameError, match="Did you mean 'rodas5p'"):
        train_many(net, starts(net, 2), solver="rodas5")
    with pytest.raises(InvalidTypeError, match="Did you mean 'optimizer'"):
        train_many(net, starts(net, 2), optimiser="newton")
    with pytest.raises(InvalidTypeError, match="one vector"):
        train_many(net, starts(net, 1)[0])
    with pytest.raises(InvalidTypeError, match="list of start vectors"):
        train_many(net, 3)
    with pytest.raises(InvalidValueError, match="empty"):
        train_many(net, [])
    with pytest.raises(InvalidValueError, match="n_jobs is 0"):
        train_many(net, starts(net, 1), n_jobs=0)


class Wrong:
    """No value of any argument of train."""


@pytest.mark.parametrize(
    "name",
    [n for n in inspect.signature(inf.train).parameters if n not in ("net", "theta0", "progress")],
)
def test_a_wrong_argument_is_raised_before_any_run(name, monkeypatch):
    monkeypatch.setattr(
        many, "train", functools.wraps(inf.train)(lambda *_, **__: pytest.fail("a run was started"))
    )
    net = teacher_student()
    broken = np.full(net.num_params, np.nan)
    solver = {"solver": "gd", "step_size": 0.1} if name == "batch_size" else {}
    for thetas in (starts(net, 1), [broken, *starts(net, 1)]):
        with pytest.raises(InfflowError, match=name):
            train_many(net, thetas, **{**solver, name: Wrong()})


def test_a_network_that_is_none_and_one_file_for_many_runs_are_raised():
    with pytest.raises(InvalidTypeError, match="num_params"):
        train_many("net", [[1.0, 2.0]])
    net = teacher_student()
    with pytest.raises(InvalidValueError, match="a file holds one run"):
        train_many(net, starts(net, 2), checkpoint="run.npz")


def test_a_bug_in_the_objective_is_recorded_too():
    def value(x):
        if x[0] < 0:
            raise ZeroDivisionError("a bug")
        return (x[0] - 2) ** 2

    objective = Function(1, value, lambda x: 2 * (x - 2), lambda x: [[2.0]])
    runs = train_many(objective, [[-1.0], [3.0]])
    assert runs[0].error == "ZeroDivisionError" and isinstance(runs[1], Result)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_callback_that_leaves_is_a_failure(n_jobs):
    net = teacher_student()
    runs = train_many(net, starts(net, 2), n_jobs=n_jobs, callback=leave, progress=False)
    assert [(run.error, run.message) for run in runs] == [("SystemExit", "4")] * 2


def leave(now):
    sys.exit(4)


def test_ctrl_c_ends_all_starts():
    calls = []

    def interrupt(now):
        calls.append(now)
        if len(calls) == 5:
            raise KeyboardInterrupt

    runs = train_many(double_well(), [[0.5, 1.0], [-0.5, 1.0], [2.0, 1.0]], callback=interrupt)
    assert (
        len(runs) == 3 and isinstance(runs[0], Result) and runs[0].status is StopReason.INTERRUPTED
    )
    assert [run.error for run in runs.failures] == ["KeyboardInterrupt"] * 2


def square(value):
    return Function(1, value, lambda x: 2 * (x - 2), lambda x: [[2.0]])


def test_ctrl_c_keeps_what_has_ended():
    """Also where the first start is the slowest."""

    def value(x):
        if x[0] > 50:
            time.sleep(60)
        return (x[0] - 2) ** 2

    waiting = threading.Timer(40.0, os.kill, (os.getpid(), signal.SIGINT))
    ended = []

    def counting(bar):
        ended.append(1)
        if len(ended) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    # Shells start programs in the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    waiting.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(many.Bar, "update", counting)
            runs = train_many(square(value), [[60.0], [3.0], [4.0], [5.0]], n_jobs=2)
    finally:
        waiting.cancel()
        signal.signal(signal.SIGINT, before)
    assert [type(run) for run in runs] == [FailedRun, Result, Result, Result] and runs[
        0
    ].error == "KeyboardInterrupt"


def test_a_worker_that_dies_is_recorded():
    def value(x):
        if x[0] < 0:
            os._exit(1)
        return (x[0] - 2) ** 2

    runs = train_many(square(value), [[3.0], [-1.0], [4.0], [5.0]], n_jobs=2)
    assert [type(run) for run in runs] == [Result, FailedRun, Result, Result]
    assert runs[1].error == "WorkerDied" and "memory" in runs[1].message


def test_what_cannot_be_sent_to_processes():
    lock = threading.Lock()

    def value(x):
        with lock:
            return (x[0] - 2) ** 2

    with pytest.raises(InvalidTypeError, match=r"cannot be sent to other processes.*n_jobs=1"):
        train_many(square(value), [[3.0], [4.0]], n_jobs=2)
    assert len(train_many(square(value), [[3.0], [4.0]]).failures) == 0


def test_unique_solutions_of_a_teacher():
    # erf, two students, two teachers: all starts end at the teacher, in one of 2! 2^2 copies
    net = teacher_student()
    runs = train_many(net, starts(net, 8))
    assert len({tuple(np.sign(run.theta)) for run in runs}) > 1
    groups = unique_solutions(runs)
    assert len(groups) == 1 and groups[0].count == 8 and groups[0].members == tuple(range(8))
    assert groups[0].num_neurons == 2 and groups[0].converged and groups[0].loss < 1e-25
    assert unique_solutions(list(runs), net)[0].members == groups[0].members


def test_results_do_not_depend_on_the_number_of_processes():
    """Also where integrals are evaluated to a tolerance: the second of two runs of a process finds
    nothing that the first one kept.
    """
    student, teacher = (
        inf.Net([(K, "softplus", True), (1, "identity", True)], input_dim=2) for K in (2, 3)
    )
    net = inf.NetI(
        student, inf.Teacher(teacher, np.random.default_rng(0).standard_normal(teacher.num_params))
    )
    settings = {"max_steps_flow": 60, "max_steps_newton": 5}
    alone, together = (train_many(net, starts(net, 3), n_jobs=n, **settings) for n in (1, 2))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.theta, other.theta)
        np.testing.assert_array_equal(one.theta_flow, other.theta_flow)
        assert one.loss == other.loss


def test_unique_solutions_tells_minima_apart():
    # one erf student, two orthogonal teachers: it copies one or the other, or sits between
    net = teacher_student(K=1)
    runs = train_many(net, starts(net, 12))
    groups = unique_solutions(runs)
    losses = [group.loss for group in groups]
    assert losses == sorted(losses) and sum(group.count for group in groups) == sum(
        run.converged for run in runs
    )
    for group in groups:
        for k in group.members:
            np.testing.assert_allclose(runs[k].loss, group.loss, rtol=1e-6)
    assert len(groups) == len({round(loss, 8) for loss in losses})


def test_unique_solutions_ignores_dead_and_duplicated_neurons():
    # three students for two teachers, put together by hand: split, or with a neuron without effect
    net = teacher_student(K=3)
    W = np.eye(2, 3)
    thetas = [
        net.pack([(np.vstack([W, W[0]]), None), (np.array([[0.3, -0.7, 0.7]]), None)]),
        net.pack([(np.vstack([W[1], -W[1], W[0]]), None), (np.array([[0.5, 1.2, 1.0]]), None)]),
        net.pack([(np.vstack([W, [1.0, 2.0, 3.0]]), None), (np.array([[1.0, -0.7, 0.0]]), None)]),
        net.pack([(np.vstack([W, W[0] + W[1]]), None), (np.array([[1.0, -0.7, 0.1]]), None)]),
    ]
    runs = train_many(net, thetas, max_steps_flow=0, max_steps_newton=0)
    groups = unique_solutions(runs, converged_only=False)
    assert [group.members for group in groups] == [(0, 1, 2), (3,)]
    assert [group.num_neurons for group in groups] == [2, 3]
    assert [group.members for group in unique_solutions(runs)] == [
        (0, 1, 2)
    ]  # loss zero: converged
    with pytest.raises(InvalidTypeError, match="pass it as net"):
        unique_solutions(list(runs))
    with pytest.raises(InvalidValueError, match="rtol"):
        unique_solutions(runs, rtol=-1.0)


# ------------------------------------------------------------------------------------------
# symmetries of the teacher


def symmetric_teacher(M=3, D=5, K=2, activation="erf", output=1.0, cov=None, T=None):
    """Teachers with unit vectors (or the Gram matrix T) as weights, and equal output weights."""
    teacher, student = (
        inf.Net([(n, activation, False), (1, "identity", False)], input_dim=D) for n in (M, K)
    )
    V = np.zeros((M, D))
    V[:, :M] = np.eye(M) if T is None else np.linalg.cholesky(T)
    theta = teacher.pack([(V, None), (np.broadcast_to(output, (1, M)), None)])
    return inf.NetI(
        student,
        inf.Teacher(teacher, theta),
        input=None if cov is None else inf.Gaussian(np.zeros(D), cov),
    )


def moved(net, theta, U):
    """The student after an orthogonal map of its inputs."""
    (W, _), (a, _) = net.unpack(theta)
    return net.pack([(W @ U.T, None), (a, None)])


def permutation(order, signs, D):
    U = np.eye(D)
    n = len(order)
    U[:n, :n] = 0.0
    U[order, np.arange(n)] = signs
    return U


def grouped(net, thetas, **options):
    runs = train_many(net, thetas, max_steps_flow=0, max_steps_newton=0, progress=False)
    return [group.members for group in unique_solutions(runs, converged_only=False, **options)]


def test_eight_runs_in_one_spurious_minimum_make_one_group():
    net = symmetric_teacher(M=4, K=3)
    runs = train_many(net, starts(net, 30), progress=False)
    best = unique_solutions(runs, teacher_symmetry=True)
    apart = unique_solutions(runs)
    losses = runs.losses[runs.converged]
    levels = np.unique(np.round(losses, 9))
    assert len(apart) > len(best) == len(levels)
    assert sum(group.count for group in best) == sum(group.count for group in apart) == len(losses)
    for group in best:
        np.testing.assert_allclose(runs.losses[list(group.members)], group.loss, rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "flips"), [("erf", False), ("relu", False), ("square", True), ("cos", True)]
)
def test_symmetries_of_a_teacher(activation, flips):
    """Every signed permutation that keeps the teacher joins its images; one that does not leaves
    them apart.
    """
    net = symmetric_teacher(M=4, D=6, K=3, activation=activation)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(net.num_params)
    signs = np.ones(4)
    thetas = [theta]
    for _ in range(5):
        if flips:
            signs = rng.choice([-1.0, 1.0], size=4)
        thetas.append(moved(net, theta, permutation(rng.permutation(4), signs, 6)))
    np.testing.assert_allclose(
        [inf.loss(net, each) for each in thetas], inf.loss(net, theta), rtol=1e-12
    )
    thetas.append(rng.standard_normal(net.num_params))
    assert grouped(net, thetas, teacher_symmetry=True, loss_atol=1e9) in (
        [tuple(range(6)), (6,)],
        [(6,), tuple(range(6))],
    )
    assert len(grouped(net, thetas, loss_atol=1e9)) > 2
    beyond = permutation(np.arange(4), np.ones(4), 6)
    beyond[4:, 4:] = [
        [0.6, -0.8],
        [0.8, 0.6],
    ]  # not searched: a rotation of what the teacher does not see
    assert len(grouped(net, [theta, moved(net, theta, beyond)], teacher_symmetry=True)) == 2


def test_odd_teachers_with_opposite_output_weights():
    net = symmetric_teacher(M=2, D=3, output=[[1.0, -1.0]])
    theta = np.random.default_rng(0).standard_normal(net.num_params)
    U = permutation([1, 0], [-1.0, -1.0], 3)
    assert inf.loss(net, moved(net, theta, U)) == pytest.approx(inf.loss(net, theta), rel=1e-12)
    assert grouped(net, [theta, moved(net, theta, U)], teacher_symmetry=True) == [(0, 1)]
    plain = permutation([1, 0], [1.0, 1.0], 3)  # changes the teacher's sign
    assert (
        len(grouped(net, [theta, moved(net, theta, plain)], teacher_symmetry=True, loss_atol=1e9))
        == 2
    )


@pytest.mark.parametrize("what", ["covariance", "gram", "outputs"])
def test_maps_that_are_no_symmetries(what):
    """Of three teachers the first two can be exchanged, the third with none of them."""
    options = {
        "covariance": {"cov": np.diag([2.0, 2.0, 0.5, 1.0])},
        "gram": {"T": np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3], [0.3, 0.3, 1.0]])},
        "outputs": {"output": np.array([[1.0, 1.0, 2.0]])},
    }[what]
    net = symmetric_teacher(M=3, D=4, **options)
    theta = np.random.default_rng(1).standard_normal(net.num_params)
    V = net.teacher_units.W
    inverse = np.linalg.pinv(V)
    P = np.eye(4) - inverse @ V
    good, bad = ((inverse @ V[list(order)]).T + P for order in ([1, 0, 2], [2, 1, 0]))
    np.testing.assert_allclose(good @ good.T, np.eye(4), atol=1e-14)
    assert grouped(net, [theta, moved(net, theta, good)], teacher_symmetry=True, loss_atol=1e9) == [
        (0, 1)
    ]
    assert (
        len(grouped(net, [theta, moved(net, theta, bad)], teacher_symmetry=True, loss_atol=1e9))
        == 2
    )


def test_many_equal_teachers_are_matched_without_trying_all_permutations():
    net = symmetric_teacher(M=12, D=14, K=10)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(net.num_params)
    image = moved(net, theta, permutation(rng.permutation(12), np.ones(12), 14))
    assert grouped(net, [theta, image], teacher_symmetry=True) == [(0, 1)]


def test_too_many_permutations_are_said(monkeypatch):
    from infflow.landscape import teacher_symmetry

    monkeypatch.setattr(teacher_symmetry, "_NODES", 3)
    net = symmetric_teacher(M=4, D=6, K=3)
    theta = np.random.default_rng(0).standard_normal(net.num_params)
    image = moved(net, theta, permutation([3, 2, 1, 0], np.ones(4), 6))
    with pytest.warns(inf.AccuracyWarning, match="partial permutations"):
        assert len(grouped(net, [theta, image], teacher_symmetry=True)) == 2


def test_symmetries_need_a_teacher_with_neurons():
    net = teacher_student()
    runs = train_many(net.sample(20, 0), starts(net, 2), max_steps_flow=0, max_steps_newton=0)
    with pytest.raises(InvalidTypeError, match=r"inf\.Teacher"):
        unique_solutions(runs, teacher_symmetry=True)


# --------------------------------------------------------------------------------------------------
# columns


def test_runs_are_a_list_with_columns():
    net = teacher_student()
    runs = train_many(net, [*starts(net, 2), np.zeros(3)], progress=False)
    assert isinstance(runs, list) and runs[0] is next(iter(runs)) and len(runs[:2]) == 2
    np.testing.assert_array_equal(runs.losses, [runs[0].loss, runs[1].loss, np.inf])
    assert list(runs.statuses) == [runs[0].status.name, runs[1].status.name, "FAILED"]
    np.testing.assert_array_equal(runs.converged, [True, True, False])
    assert runs.thetas.shape == (3, net.num_params) and np.isnan(runs.thetas[2]).all()
    np.testing.assert_array_equal(runs.thetas[1], runs[1].theta)
    np.testing.assert_array_equal(runs.gradient_norms[:2], [run.gradient_norm for run in runs[:2]])
    assert Runs(net, []).thetas.size == 0 == len(Runs(net, []).losses)


def test_runs_as_a_table(monkeypatch):
    pandas = pytest.importorskip("pandas")
    net = teacher_student()
    runs = train_many(net, [*starts(net, 2), np.zeros(3)], progress=False)
    table = runs.to_pandas()
    assert isinstance(table, pandas.DataFrame) and len(table) == 3
    np.testing.assert_array_equal(table["loss"], runs.losses)
    assert table["status"].tolist() == list(runs.statuses) and table["error"].tolist() == [
        "",
        "",
        "ShapeError",
    ]
    assert table["flow_steps"].tolist() == [runs[0].flow.steps, runs[1].flow.steps, 0]
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(inf.errors.MissingPackageError, match="pip install pandas"):
        runs.to_pandas()


def test_parts_of_runs_are_runs():
    net = teacher_student()
    runs = train_many(net, starts(net, 4), max_steps_flow=5, max_steps_newton=0, progress=False)
    for part, numbers in (
        (runs[1:3], [1, 2]),
        (runs[::-1], [3, 2, 1, 0]),
        (runs[runs.losses < np.inf], [0, 1, 2, 3]),
        (runs[np.argsort(runs.losses)], np.argsort(runs.losses)),
        (runs + runs[:1], [0, 1, 2, 3, 0]),
        (runs.copy(), [0, 1, 2, 3]),
        (runs[:0], []),
    ):
        assert isinstance(part, Runs) and part.net is net
        np.testing.assert_array_equal(part.losses, runs.losses[np.asarray(numbers, dtype=int)])
        assert len(part.to_pandas()) == len(part) and part.thetas.shape == (
            len(part),
            net.num_params,
        )
    assert runs[1] is runs[:2][-1] and unique_solutions(runs[:0]) == []
    other = teacher_student()
    assert type(runs + Runs(other, runs)) is list  # nothing says which network is meant
    for index in (np.array([True]), np.array([0.0])):
        with pytest.raises(InfflowError, match=r"^the (mask|index) of runs has "):
            runs[index]
    with pytest.raises(IndexError):
        runs[4]
