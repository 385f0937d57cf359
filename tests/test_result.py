"""Result: what is written is read back, and nothing else is."""

import dataclasses
import json
import os
import pickle
import platform

import numpy as np
import pytest
from analytic_objectives import TanhNetwork

import infflow as inf
from infflow.errors import InfflowError, InvalidTypeError, InvalidValueError, StorageError
from infflow.result import Result, trajectory_distance
from infflow.stopping import StopReason
from infflow.storage import load_archive, save_archive, write_json
from infflow.training import train


@pytest.fixture(scope="module")
def result():
    net = TanhNetwork()
    eta = np.ones(net.num_params)
    eta[0] = 0.0
    return train(
        net, net.start, t_end=20.0, eta=eta, num_trajectory=12, observables={"two": lambda x: x[:2]}
    )


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return np.array_equal(a, b)


def test_round_trip(result, tmp_path):
    result.save(tmp_path / "run")
    loaded = Result.load(tmp_path / "run.npz")
    assert same(result.to_dict(), loaded.to_dict())
    assert loaded.status is result.status and isinstance(loaded.status, StopReason)
    assert loaded.converged == result.converged and repr(loaded) == repr(result)
    assert loaded.settings["t_end"] == 20.0 and loaded.settings["eta"][0] == 0.0
    assert loaded.flow == result.flow and loaded.newton == result.newton
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]  # no temporary files are left


def test_the_file_has_no_pickles_and_readable_metadata(result, tmp_path):
    result.save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        metadata = json.loads(str(archive["metadata"]))
    assert (
        metadata["kind"] == "infflow.Result"
        and metadata["version"]
        and metadata["status"] == result.status.name
    )
    assert (
        platform.python_version() in metadata["platform"] and np.__version__ in metadata["platform"]
    )
    assert (
        metadata["settings"]["t_end"] == 20.0 and metadata["seed"] is None
    )  # the run has no random choice
    assert (
        os.stat(tmp_path / "run.npz").st_mode & 0o044
    )  # like any other new file, not only for the owner


def test_settings_may_be_added_to_and_hold_the_seed(tmp_path):
    net = inf.Net(
        [(2, "tanh", True), (1, "identity", True)], input=np.eye(4), target=np.arange(4.0)
    )
    options = {
        "solver": "gd",
        "step_size": 0.01,
        "batch_size": 2,
        "max_steps_flow": 5,
        "max_steps_newton": 0,
    }
    result = train(
        net, inf.random_params(net, 7), solver_options={"seed": 3}, progress=False, **options
    )
    result.settings["seed of theta0"] = 7
    result.save(tmp_path / "run")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        assert json.loads(str(archive["metadata"]))["seed"] == 3
    settings = Result.load(tmp_path / "run.npz").settings
    assert settings["seed of theta0"] == 7 and settings["net"] == repr(net)


def test_settings_of_numpy_are_saved_as_numbers_and_lists(result, tmp_path):
    added = {
        "seed": np.int64(3),
        "seeds": np.arange(3),
        "scales": [np.float32(0.5), (np.bool_(True), np.eye(2))],
        "nested": {1: {"flag": np.True_}},
        "other": 1 + 2j,
    }
    changed = dataclasses.replace(result, settings=result.settings | added)
    changed.save(tmp_path / "run.npz")
    settings = Result.load(tmp_path / "run.npz").settings
    assert (
        settings["seed"] == 3
        and settings["seeds"] == [0, 1, 2]
        and settings["nested"] == {"1": {"flag": True}}
    )
    assert (
        settings["scales"] == [0.5, [True, [[1.0, 0.0], [0.0, 1.0]]]]
        and settings["other"] == "(1+2j)"
    )
    assert settings["t_end"] == 20.0
    assert changed.settings["seeds"] is added["seeds"]  # the result itself keeps what it was given


@pytest.mark.parametrize("name", ["a\0b", "~no such user/run", "/", b"run.npz", "", 3])
def test_names_that_are_no_files(result, name):
    for call in (result.save, Result.load):
        with pytest.raises((InvalidTypeError, InvalidValueError), match="path is"):
            call(name)


def test_to_xarray(result, tmp_path):
    xarray = pytest.importorskip("xarray")
    data = result.to_xarray()
    track = result.trajectory
    assert data.theta.dims == ("t", "parameter") and data.two.dims == ("t", "two_0")
    np.testing.assert_array_equal(data.theta, track.theta)
    np.testing.assert_array_equal(data.loss.sel(t=track.t[3]), track.loss[3])
    np.testing.assert_array_equal(data.two, track.observables["two"])
    np.testing.assert_array_equal(data.theta_best, result.theta)
    assert (
        data.attrs["status"] == result.status.name
        and json.loads(data.attrs["settings"])["t_end"] == 20.0
    )
    net = inf.Net([(2, "tanh", True), (1, "identity", False)], input_dim=2)
    run = train(
        net.with_data(np.eye(2), [0.0, 1.0]), inf.random_params(net, 0), t_end=1.0, progress=False
    )
    named = run.to_xarray(net)
    W, b = net.unpack(run.theta)[0]
    assert (
        named.theta_best.sel(parameter="W1[1,0]") == W[1, 0]
        and named.theta_best.sel(parameter="b1[1]") == b[1]
    )
    named.to_netcdf(tmp_path / "run.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "run.nc", engine="scipy") as kept:
        assert kept.identical(named)
    assert list(named.parameter.values[-2:]) == ["W2[0,0]", "W2[0,1]"]
    with pytest.raises(InfflowError, match="8 parameters"):
        run.to_xarray(inf.Net([(1, "tanh", True)], input_dim=1))


def test_missing_foreign_and_damaged_files(result, tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(StorageError, match=r"run\.npz does not exist"):
        Result.load(path)
    result.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match=r"run\.npz is damaged"):
        Result.load(path)
    path.write_bytes(b"hello")
    with pytest.raises(StorageError, match=r"run\.npz"):
        Result.load(path)
    path.write_bytes(b"")
    with pytest.raises(StorageError, match=r"run\.npz"):
        Result.load(path)
    np.savez(path, theta=np.ones(3))
    with pytest.raises(StorageError, match="not written by infflow"):
        Result.load(path)
    save_archive(path, "infflow.Other", {"theta": np.ones(3)}, {})
    with pytest.raises(StorageError, match=r"kind 'infflow\.Result' is needed"):
        Result.load(path)
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(StorageError, match=r"run\.npz"):
        Result.load(path)


def test_every_flipped_byte_is_noticed_or_harmless(result, tmp_path):
    path = tmp_path / "run.npz"
    result.save(path)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.choice(len(content), 60, replace=False):
        damaged = content.copy()
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = Result.load(path)
        except StorageError as error:
            assert "run.npz" in str(error)
        else:  # a byte that zip does not need, such as a date
            assert same(loaded.to_dict(), result.to_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, meta: arrays.pop("theta_flow"), "theta_flow"),
        (lambda arrays, meta: arrays.update(theta=np.ones(3)), "theta0"),
        (lambda arrays, meta: arrays["theta"].fill(np.nan), "theta"),
        (lambda arrays, meta: arrays.update(trajectory_loss=np.ones(3)), "trajectory loss"),
        (
            lambda arrays, meta: arrays.update({"observable:two": np.ones((1, 2))}),
            "observable 'two'",
        ),
        (lambda arrays, meta: arrays.update(theta=arrays["theta"].astype(np.float32)), "float32"),
        (lambda arrays, meta: meta.update(status="NO_SUCH"), "NO_SUCH"),
        (lambda arrays, meta: meta.pop("flow"), "flow"),
        (lambda arrays, meta: meta["flow"].update(extra=1), "extra"),
        (lambda arrays, meta: meta.update(format=99), "format 99"),
    ],
)
def test_content_is_checked_at_once(result, tmp_path, change, message):
    path = tmp_path / "run.npz"
    result.save(path)
    arrays, metadata = load_archive(path, "infflow.Result")
    change(arrays, metadata)
    kind = metadata.pop("kind")
    save_archive(path, kind, arrays, metadata)
    with pytest.raises(StorageError, match=message) as caught:
        Result.load(path)
    assert "run.npz" in str(caught.value)


def test_writing_is_atomic(result, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    result.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda a, b: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(StorageError, match="disk full"):
        result.save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    with pytest.raises(StorageError, match="does not exist"):
        result.save(tmp_path / "nowhere" / "run.npz")
    with pytest.raises(TypeError, match="file name"):
        result.save(3)


def test_write_json(tmp_path):
    write_json(tmp_path / "a.json", {"x": np.arange(3), "y": np.float64(0.5), "z": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [0, 1, 2], "y": 0.5, "z": None}
    with pytest.raises(ValueError, match="infinite"):
        write_json(tmp_path / "a.json", {"x": np.inf})
    with pytest.raises(InfflowError, match="cannot be written"):
        write_json(tmp_path / "a.json", {"x": object()})


def test_repr_tells_the_story(result):
    text = repr(result)
    for part in (f"loss {result.loss:.6g}", "gear", "newton", result.status.message, "t = 20"):
        assert part in text


def test_plot(result, tmp_path):
    axes = result.plot()
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["loss"].get_ydata(), result.trajectory.loss[1:])
    np.testing.assert_array_equal(lines["gradient norm"].get_xdata(), result.trajectory.t[1:])
    axes.figure.savefig(tmp_path / "figure.png")


def test_trajectory_distance():
    a = np.array([[0.0, 0.0], [1.0, 0.0]])
    b = np.array([[0.0, 3.0], [1.0, 1.0], [5.0, 5.0]])
    # nearest to (0, 0) is (1, 1): 2; nearest to (1, 0) is (1, 1): 1
    assert trajectory_distance(a, b) == 1.5
    assert trajectory_distance(b, a) == (9 + 1 + 41) / 3
    assert trajectory_distance(a, a) == 0.0


def test_trajectory_distance_of_runs():
    net = TanhNetwork()
    runs = [
        train(
            net,
            net.start,
            t_end=10.0,
            max_steps_newton=0,
            rtol=tol,
            atol=tol,
            t_eval=np.geomspace(0.01, 10, n),
        )
        for tol, n in ((1e-3, 50), (1e-6, 50), (1e-10, 20001))
    ]
    coarse = trajectory_distance(runs[0], runs[2])
    fine = trajectory_distance(runs[1].trajectory, runs[2])
    assert (
        0 < fine < coarse / 10 and coarse < 1e-4
    )  # fine is limited by the spacing of the reference
    with pytest.raises(InfflowError, match="must agree"):
        trajectory_distance(runs[0], np.ones((3, 2)))
    with pytest.raises(InfflowError, match="dimension 2"):
        trajectory_distance(runs[0], np.ones(3))


def test_stop_reasons_are_pickled_by_name():
    for reason in StopReason:
        content = pickle.dumps(reason)
        assert reason.name.encode() in content and reason.value.encode() not in content
        assert pickle.loads(content) is reason
