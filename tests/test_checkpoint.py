"""Checkpoints: a killed run goes on where it was."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from analytic_objectives import Quadratic, TanhNetwork, quartic
from test_flow import LeastSquares

import infflow as inf
from infflow.errors import StorageError
from infflow.flow import checkpoint, gear, switching
from infflow.stopping import StopReason
from infflow.storage import load_archive, save_archive
from infflow.training import train

EXACT = {
    "rodas5p": {},
    "exprb": {},
    "kencarp58": {},
    "tsit5": {},
    "gear": {},
    "adam": {"step_size": 0.02},
    "batches": {"solver": "adam", "step_size": 0.02, "batch_size": 7},
}
SEARCH = {"solver": "rodas5p", "max_steps_flow": 30, "optimizer": "newton"}
WITHIN_TOLERANCES = {
    "cvode_bdf": {},
    "switch": {"solver": "cvode_bdf", "solver_options": {"linear_solver": "switch"}},
    "bdf": {},
    "lsoda": {},
}


def problem_of(name):
    if name != "batches":
        net = TanhNetwork()
        return net, net.start
    rng = np.random.default_rng(1)
    return LeastSquares(rng.normal(size=(20, 3)), rng.normal(size=20)), np.zeros(3)


def arguments(name, path=None):
    options = {**EXACT, **WITHIN_TOLERANCES}[name]
    return {
        "solver": name,
        "t_end": 20.0,
        "num_trajectory": 30,
        "max_steps_newton": 0,
        "checkpoint": path,
        **options,
    }


def killed(names, folder):
    """Start every run in a process that kills itself in the middle, without warning."""
    code = """
import os, signal, sys
sys.path.insert(0, 'tests')
import test_checkpoint as here
here.checkpoint.INTERVAL = here.checkpoint.SHARE = 0
kill = lambda now: now.step == 13 and os.kill(os.getpid(), signal.SIGKILL)
for name in sys.argv[2:]:
    child = os.fork()  # the imports once for all
    if not child:
        net, start = here.problem_of(name)
        here.train(net, start, callback=kill, **here.arguments(name, f'{sys.argv[1]}/{name}.npz'))
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
"""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    subprocess.run([sys.executable, "-c", code, folder, *names], cwd=root, check=True, timeout=600)
    return {name: folder / f"{name}.npz" for name in names}


def test_a_killed_run_goes_on_to_the_same_trajectory(tmp_path):
    names = [*EXACT, *WITHIN_TOLERANCES]
    path = killed(names, tmp_path)
    for name in names:
        net, start = problem_of(name)
        saved = load_archive(path[name], "infflow.Checkpoint")[1]
        assert saved["state"]["run"]["steps"] == 12
        resumed = train(net, start, **arguments(name, path[name]))
        whole = train(net, start, **arguments(name))
        np.testing.assert_array_equal(resumed.trajectory.t, whole.trajectory.t)
        if name in EXACT:
            np.testing.assert_array_equal(resumed.trajectory.theta, whole.trajectory.theta)
            # where losses belong to points nearby, the callback that kills asks for those at the 12
            # points
            more = {"gradients": whole.flow.gradients + 12} if name == "gear" else {}
            assert {**resumed.flow.to_dict(), "wall_time": 0} == {
                **whole.flow.to_dict(),
                "wall_time": 0,
                **more,
            }
            assert resumed.loss == whole.loss and (resumed.theta == whole.theta).all()
        else:  # a restart at low order: equal within a multiple of the tolerances
            np.testing.assert_allclose(resumed.trajectory.theta, whole.trajectory.theta, atol=1e-3)


@pytest.mark.parametrize("solver", ["gear", "rodas5p", "tsit5", "exprb"])
def test_networks_with_integrals_by_series_go_on_bit_for_bit(tmp_path, solver):
    """Expansions that were kept from step to step are not in the file, and need not be."""
    student, teacher = (
        inf.Net([(K, "softplus", True), (1, "identity", True)], input_dim=2) for K in (3, 4)
    )
    true = inf.Teacher(teacher, np.random.default_rng(0).standard_normal(teacher.num_params))
    start = inf.random_params(student, rng=1)
    settings = {"solver": solver, "t_end": 50.0, "max_steps_newton": 0, "progress": False}
    path = tmp_path / "run.npz"
    whole = train(inf.NetI(student, true), start, **settings)
    for steps in (6, 15):
        train(inf.NetI(student, true), start, checkpoint=path, max_steps_flow=steps, **settings)
    resumed = train(inf.NetI(student, true), start, checkpoint=path, **settings)
    assert whole.flow.steps > 25
    np.testing.assert_array_equal(resumed.trajectory.theta, whole.trajectory.theta)
    np.testing.assert_array_equal(resumed.theta_flow, whole.theta_flow)


def test_a_killed_search_goes_on_from_its_last_point(tmp_path):
    code = """
import os, signal, sys
sys.path.insert(0, 'tests')
import test_checkpoint as here
here.checkpoint.INTERVAL = here.checkpoint.SHARE = 0
kill = lambda now: now.stage == 'newton' and now.step == 4 and os.kill(os.getpid(), signal.SIGKILL)
net, start = here.problem_of('')
here.train(net, start, callback=kill, checkpoint=sys.argv[1], **here.SEARCH)
"""
    path = tmp_path / "run.npz"
    net = TanhNetwork()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ended = subprocess.run([sys.executable, "-c", code, path], cwd=root, timeout=600, check=False)
    assert ended.returncode == -signal.SIGKILL
    arrays, metadata = load_archive(path, "infflow.Checkpoint")
    assert (
        metadata["state"]["search"]["steps"] == 4
    )  # the point is saved before the callback sees it
    point = arrays["/state/search/theta"]
    whole = train(net, net.start, **SEARCH)
    assert (whole.theta_flow != point).any() and whole.newton.steps > 6
    seen = []
    resumed = train(net, net.start, checkpoint=path, callback=seen.append, **SEARCH)
    assert [now.step for now in seen if now.stage == "flow"] == [30]  # only its end is looked at
    first = next(now for now in seen if now.stage == "newton")
    assert (first.theta == point).all()
    assert (resumed.theta_flow == whole.theta_flow).all()
    np.testing.assert_array_equal(resumed.trajectory.theta, whole.trajectory.theta)
    assert resumed.converged and whole.converged and resumed.newton.steps > 4
    np.testing.assert_allclose(resumed.theta, whole.theta, atol=1e-6)
    again = train(net, net.start, checkpoint=path, max_steps_newton=resumed.newton.steps, **SEARCH)
    assert again.newton.steps == resumed.newton.steps and again.loss == resumed.loss
    # a flow that goes on makes the search from its old end obsolete
    longer = train(net, net.start, checkpoint=path, **{**SEARCH, "max_steps_flow": 60})
    assert longer.flow.steps == 60 and (longer.theta_flow != whole.theta_flow).any()


def test_a_search_without_a_flow_is_saved_too(tmp_path):
    net = TanhNetwork()
    call = {"checkpoint": tmp_path / "run", "max_steps_flow": 0}
    part = train(net, net.start, max_steps_newton=3, **call)
    assert part.flow.stop_reason is StopReason.SKIPPED and part.newton.steps == 3
    seen = []
    train(net, net.start, max_steps_newton=5, callback=seen.append, **call)
    assert [now.step for now in seen if now.stage == "newton"] == [0, 1, 2]
    assert (seen[1].theta == part.theta).all()
    flow = train(net, net.start, checkpoint=tmp_path / "run", max_steps_flow=5, max_steps_newton=0)
    assert flow.flow.steps == 5


@pytest.mark.parametrize("name", ["predict", "correct", "rescale"])
@pytest.mark.parametrize("call", [7, 12, 13])
def test_ctrl_c_within_a_step_of_gear(tmp_path, monkeypatch, name, call):
    net = TanhNetwork()
    kernel = getattr(gear, name)
    calls = []

    def interrupted(*args):
        kernel(*args)
        calls.append(None)
        if len(calls) == call:
            raise KeyboardInterrupt

    given = {"solver": "gear", "t_end": 20.0, "max_steps_newton": 0}
    with monkeypatch.context() as context:
        context.setattr(gear, name, interrupted)
        context.setattr(checkpoint, "INTERVAL", 0)
        context.setattr(checkpoint, "SHARE", 0)
        stopped = train(net, net.start, checkpoint=tmp_path / "run", **given)
        assert stopped.status is StopReason.INTERRUPTED
    resumed = train(net, net.start, checkpoint=tmp_path / "run", **given)
    whole = train(net, net.start, **given)
    np.testing.assert_array_equal(resumed.theta, whole.theta)


def test_arrays_of_wrong_sizes_in_a_checkpoint_of_gear(tmp_path):
    net = TanhNetwork()
    path = tmp_path / "run.npz"
    call = {"solver": "gear", "t_end": 20.0, "max_steps_newton": 0, "checkpoint": path}
    train(net, net.start, max_steps_flow=9, **call)
    arrays, metadata = load_archive(path, "infflow.Checkpoint")
    for name in ("history", "hessian", "change"):
        (key,) = (k for k in arrays if k.endswith(f"/{name}"))
        damaged = {**arrays, key: arrays[key][..., :-1]}
        save_archive(path, "infflow.Checkpoint", damaged, metadata)
        with pytest.raises(StorageError, match=r"run\.npz"):
            train(net, net.start, **call)


@pytest.mark.parametrize("max_order", [2, 5])
def test_a_run_that_had_switched_to_gear_goes_on_with_it(tmp_path, monkeypatch, max_order):
    monkeypatch.setattr(switching, "_WATCHED", 5)
    monkeypatch.setattr(switching, "_PRODUCTS", 0)
    net = TanhNetwork()
    options = {"linear_solver": "switch", "max_order": max_order}
    call = {"solver": "cvode_bdf", "solver_options": options, "t_end": 20.0, "max_steps_newton": 0}
    part = train(net, net.start, checkpoint=tmp_path / "run", max_steps_flow=15, **call)
    assert part.flow.hessians > 0 and part.flow.hvps > 0
    resumed = train(net, net.start, checkpoint=tmp_path / "run", **call)
    whole = train(net, net.start, **call)
    np.testing.assert_array_equal(resumed.trajectory.theta, whole.trajectory.theta)
    assert resumed.flow.steps == whole.flow.steps
    # one that was stopped just where products are looked at does so when it goes on
    part = train(net, net.start, checkpoint=tmp_path / "other", max_steps_flow=5, **call)
    assert part.flow.hessians == 0
    assert (
        train(net, net.start, checkpoint=tmp_path / "other", max_steps_flow=7, **call).flow.hessians
        > 0
    )


@pytest.mark.parametrize("name", ["rodas5p", "gear", "cvode_bdf"])
def test_ctrl_c_writes_the_last_point(tmp_path, name):
    net, start = problem_of(name)

    def interrupt(now):
        if now.step == 13:
            raise KeyboardInterrupt

    given = arguments(name, tmp_path / "run")
    stopped = train(net, start, callback=interrupt, **given)
    assert stopped.status is StopReason.INTERRUPTED and stopped.flow.steps == 13
    again = train(net, start, **given)
    whole = train(net, start, **arguments(name))
    assert again.flow.stop_reason is StopReason.T_END
    assert np.array_equal(again.trajectory.t, whole.trajectory.t)
    # cvode_bdf starts again with a short step: both paths have errors of the tolerances, 1e-6
    np.testing.assert_allclose(
        again.theta_flow, whole.theta_flow, atol=0 if name in EXACT else 2e-5, rtol=0
    )
    assert name not in EXACT or again.flow.steps == whole.flow.steps


def test_limits_may_be_raised_and_a_finished_flow_is_not_repeated(tmp_path):
    net = TanhNetwork()
    call = {
        "solver": "rodas5p",
        "checkpoint": tmp_path / "run",
        "t_end": 20.0,
        "max_steps_newton": 0,
    }
    assert train(net, net.start, max_steps_flow=0, **call).flow.stop_reason is StopReason.SKIPPED
    assert train(net, net.start, max_steps_flow=5, **call).flow.stop_reason is StopReason.MAX_STEPS
    assert train(net, net.start, max_steps_flow=0, **call).flow.steps == 5
    done = train(net, net.start, **call)
    plain = train(net, net.start, solver="rodas5p", t_end=20.0, max_steps_newton=0)
    np.testing.assert_array_equal(done.trajectory.theta, plain.trajectory.theta)
    again = train(net, net.start, **call)
    assert (
        again.flow.stop_reason is StopReason.T_END and again.flow.gradients == done.flow.gradients
    )
    np.testing.assert_array_equal(again.trajectory.theta, plain.trajectory.theta)


def test_without_t_end_and_with_the_second_stage(tmp_path):
    net = TanhNetwork()
    call = {"solver": "rodas5p", "checkpoint": tmp_path / "run"}
    part = train(net, net.start, max_steps_flow=20, max_steps_newton=0, **call)
    assert part.flow.steps == 20
    # whether Newton follows is no part of what has to agree: the flow up to here is the same
    done = train(net, net.start, **call)
    plain = train(net, net.start, solver="rodas5p")
    assert done.flow.stop_reason is StopReason.HANDOVER and done.converged
    np.testing.assert_array_equal(done.trajectory.theta[-1], plain.trajectory.theta[-1])
    np.testing.assert_array_equal(done.theta, plain.theta)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rtol": 1e-5}, "rtol differs"),
        ({"solver": "tsit5"}, "solver differs"),
        ({"theta0": 2.0}, "gradient at theta0, loss at theta0, theta0 differ"),
        ({"net": quartic(3)}, "loss at theta0, objective differ"),
        ({"t_end": 5.0}, "t_end differs"),
        ({"eta": [1.0, 2.0, 1.0]}, "eta"),
    ],
)
def test_a_checkpoint_of_another_run(tmp_path, changes, message):
    given = {"net": Quadratic([1.0, 2.0, 3.0]), "theta0": 1.0, "solver": "rodas5p", "t_end": 9.0}

    def call(**more):
        arguments = {**given, **more}
        return train(arguments.pop("net"), np.full(3, arguments.pop("theta0")), **arguments)

    call(checkpoint=tmp_path / "run")
    with pytest.raises(StorageError, match=message) as caught:
        call(checkpoint=tmp_path / "run", **changes)
    assert "run.npz is the checkpoint of another run" in str(caught.value)


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "run.npz"
    net = TanhNetwork()
    result = train(net, net.start, t_end=1.0, checkpoint=path)
    content = path.read_bytes()
    for bad in (b"hello", content[: len(content) // 2], b""):
        path.write_bytes(bad)
        with pytest.raises(StorageError, match=r"run\.npz"):
            train(net, net.start, t_end=1.0, checkpoint=path)
    result.save(path)
    with pytest.raises(StorageError, match=r"holds 'infflow.Result'"):
        train(net, net.start, t_end=1.0, checkpoint=path)
    path.write_bytes(content)
    for change in (
        lambda meta: meta["state"].pop("run"),
        lambda meta: meta["state"].pop("recorder"),
        lambda meta: meta["state"].update(stop="NO_SUCH"),
        lambda meta: meta.pop("identity"),
        lambda meta: meta.update(format=99),
    ):
        path.write_bytes(content)
        arrays, metadata = load_archive(path, "infflow.Checkpoint")
        change(metadata)
        save_archive(path, metadata.pop("kind"), arrays, metadata)
        with pytest.raises(StorageError, match=r"run\.npz"):
            train(net, net.start, t_end=1.0, checkpoint=path)


def test_a_checkpoint_of_an_earlier_version_says_what_to_do(tmp_path):
    path = tmp_path / "run.npz"
    net = TanhNetwork()
    train(net, net.start, t_end=1.0, checkpoint=path)
    arrays, metadata = load_archive(path, "infflow.Checkpoint")
    save_archive(path, metadata.pop("kind"), arrays, {**metadata, "format": 2})
    with pytest.raises(StorageError, match=r"has format 2; .* with the version .* that began it"):
        train(net, net.start, t_end=1.0, checkpoint=path)


@pytest.mark.parametrize(
    "solver", ["bdf", "radau", "lsoda", "gear", "cvode_bdf", "rodas5p", "tsit5"]
)
def test_interrupted_before_the_first_step(solver, tmp_path):
    class Interrupted(TanhNetwork):
        def evaluate(self, theta, order=0):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().evaluate(theta, order)

    arguments = {
        "solver": solver,
        "t_end": 3.0,
        "max_steps_newton": 0,
        "checkpoint": tmp_path / "run.npz",
    }
    net = Interrupted()
    net.left = 3
    first = train(net, net.start, **arguments)
    assert first.status is StopReason.INTERRUPTED and first.flow.steps <= 1
    assert train(net, net.start, **arguments).status is StopReason.T_END


def test_checkpoints_cost_little(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    written = []
    write = checkpoint.save_archive
    monkeypatch.setattr(
        checkpoint, "save_archive", lambda *given: written.append(1) or write(*given)
    )
    net = TanhNetwork()
    result = train(
        net, net.start, solver="tsit5", t_end=200.0, max_steps_newton=0, checkpoint=tmp_path / "run"
    )
    assert (
        1 <= len(written) < result.flow.steps / 3
    )  # at least 20 times as long as one takes lies between two
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
