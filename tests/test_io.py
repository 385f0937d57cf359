"""Results of MLPGradientFlow.jl: what comes back is the run that went in, and damaged or hostile files are refused."""

import contextlib
import os
import pickle

import numpy as np
import pytest
from julia_files import JuliaPickler, julia_result, thsave

import infflow as inf
from infflow.errors import InfflowError, MissingPackageError, StorageError
from infflow.exchange.mlpgradientflow import read_mlpgradientflow
from infflow.stopping import StopReason

LAYERS = ((3, "softplus", True), (2, "tanh_fast", False), (1, "identity", True))


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    layers = [(3, "softplus", True), (2, "tanh", False), (1, "identity", True)]
    net = inf.Net(layers, input=X, target=np.sin(X[:, :1]))
    return net, inf.train(
        net, inf.random_params(net, 1), t_end=40.0, num_trajectory=8, max_steps_newton=30, progress=False
    )


@pytest.fixture(scope="module")
def found(run):
    return julia_result(*run, LAYERS)


def test_read(run, found, tmp_path):
    net, result = run
    read = read_mlpgradientflow(thsave(tmp_path / "run.pt", found), time_scale=30.0)
    for name in ("theta", "theta0", "theta_flow", "loss", "gradient_norm"):
        np.testing.assert_array_equal(getattr(read, name), getattr(result, name))
    np.testing.assert_allclose(read.trajectory.t, result.trajectory.t, rtol=1e-15)
    np.testing.assert_array_equal(read.trajectory.theta, result.trajectory.theta)
    np.testing.assert_array_equal(read.trajectory.loss, result.trajectory.loss)
    # not in the file, but computed from the input and target that are
    np.testing.assert_allclose(read.trajectory.gradient_norm, result.trajectory.gradient_norm, rtol=1e-12)
    assert read.flow.stop_reason is StopReason.MAX_TIME and read.flow.steps == 15527
    assert read.status is StopReason.MIN_GRADIENT_NORM and read.newton.wall_time == 20.0002
    again = inf.Net(read.settings["layers"], read.settings["input_dim"])
    assert again.layers == net.layers and again.input_dim == 2
    assert inf.loss(again.with_data(net.data.X, net.data.target), read.theta) == result.loss
    read.save(tmp_path / "kept.npz")
    kept = inf.Result.load(tmp_path / "kept.npz")
    np.testing.assert_array_equal(kept.theta, read.theta)
    assert kept.settings["optim_stopped_by"] == "mingradnorm" and "maxtime_ode > 20.0s" in repr(kept)


def test_infinite_data(tmp_path):
    student = inf.Net([(3, "erf", True), (1, "identity", False)], input_dim=2)
    teacher = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=2)
    net = inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 0)))
    result = inf.train(net, inf.random_params(net, 1), t_end=5.0, num_trajectory=5, progress=False)
    spec = ((3, "MLPGradientFlow.sigmoid2", True), (1, "identity", False))
    path = thsave(tmp_path / "run.pt", julia_result(net.student, result, spec) | {"ode_stopped_by": ""})
    read = read_mlpgradientflow(path)
    np.testing.assert_array_equal(read.theta, result.theta)
    assert read.flow.stop_reason is StopReason.T_END
    assert np.isnan(read.trajectory.gradient_norm).all() and "pass net" in read.flow.note
    read.save(tmp_path / "kept.npz")
    assert np.isnan(inf.Result.load(tmp_path / "kept.npz").trajectory.gradient_norm).all()
    with_net = read_mlpgradientflow(path, net=net)
    np.testing.assert_allclose(with_net.trajectory.gradient_norm, result.trajectory.gradient_norm, rtol=1e-10)
    np.testing.assert_array_equal(with_net.trajectory.t, result.trajectory.t)
    other = inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 5)))
    with pytest.raises(StorageError, match="the file says"):
        read_mlpgradientflow(path, net=other)
    with pytest.raises(InfflowError, match="parameters"):
        read_mlpgradientflow(path, net=inf.Net([(1, "tanh", True)], input=[[1.0]], target=[1.0]))


def test_classification(tmp_path):
    X, labels = np.random.default_rng(0).standard_normal((20, 2)), np.arange(20) % 3
    net = inf.Net([(3, "relu", False), (3, "identity", False)], input=X, target=labels, loss="cross_entropy")
    result = inf.train(net, inf.random_params(net, 2), t_end=2.0, num_trajectory=4, max_steps_newton=0, progress=False)
    spec = ((3, "relu", False), (3, "softmax", False))
    one_hot = np.eye(3)[:, labels].copy()
    expected = result.trajectory.gradient_norm
    for target in ([int(label) + 1 for label in labels], one_hot):
        more = {"input": X.T.copy(), "target": target}
        found = julia_result(_Bare(net), result, spec)
        read = read_mlpgradientflow(thsave(tmp_path / "run.pt", found | more))
        np.testing.assert_allclose(read.trajectory.gradient_norm, expected, rtol=1e-12)


class _Bare:
    """A net that shows its parameters only."""

    def __init__(self, net):
        self.unpack = net.unpack


@pytest.mark.parametrize(
    "without", ["layerspec", "trajectory", "loss_curve", "ode_x", "gnorm", "input", "optim_stopped_by"]
)
def test_excluded_entries(run, found, tmp_path, without):
    """``pickle(filename, result, exclude = [...])`` leaves entries out."""
    _, result = run
    kept = {key: value for key, value in found.items() if key != without}
    path = thsave(tmp_path / "run.pt", kept)
    if without == "layerspec":
        with pytest.raises(StorageError, match="pass layers="):
            read_mlpgradientflow(path)
    layers = [(3, "softplus", True), (2, "tanh", False), (1, "identity", True)] if without == "layerspec" else None
    read = read_mlpgradientflow(path, layers=layers)
    np.testing.assert_array_equal(read.theta, result.theta)
    track = read.trajectory
    assert len(track) == {"trajectory": 0, "optim_stopped_by": 9}.get(without, 8)
    if without == "loss_curve":
        np.testing.assert_allclose(track.loss, result.trajectory.loss, rtol=1e-12)
    if without == "gnorm":
        assert read.gradient_norm == pytest.approx(result.gradient_norm, rel=1e-6, abs=1e-15)
    read.save(tmp_path / "kept.npz")
    inf.Result.load(tmp_path / "kept.npz")
    assert repr(read)


def test_written_by_torch(run, found, tmp_path):
    torch = pytest.importorskip("torch")
    _, result = run
    path = thsave(tmp_path / "julia.pt", found)
    seen = torch.load(path, weights_only=True)  # PyTorch reads the files of the fixture as well
    np.testing.assert_array_equal(seen["x"]["w1"].numpy(), found["x"]["w1"])
    assert seen["x"]["w1"].stride() == (1, 3)
    for legacy in (True, False):
        torch.save(seen, path, _use_new_zipfile_serialization=not legacy)
        assert (path.read_bytes()[:2] == b"PK") is not legacy
        read = read_mlpgradientflow(path)
        np.testing.assert_array_equal(read.theta, result.theta)
        np.testing.assert_array_equal(read.trajectory.theta, result.trajectory.theta)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(StorageError, match=r"julia\.pt"):
        read_mlpgradientflow(path)


def test_a_zip_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    np.savez(tmp_path / "run.pt.npz", x=np.ones(3))
    with pytest.raises(MissingPackageError, match="pip install torch"):
        read_mlpgradientflow(tmp_path / "run.pt.npz")


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("hostile",)


def test_hostile_files_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = (
        JuliaPickler().dump(0x1950A86A20F9469CFC6C)
        + JuliaPickler().dump(1001)
        + JuliaPickler().dump({"little_endian": True})
    )
    path = tmp_path / "evil.pt"
    bodies = [
        pickle.dumps(_Evil(), 2),
        pickle.dumps({"x": _Evil()}, 4),
        b"\x80\x02cbuiltins\neval\nX\x02\x00\x00\x0011\x85R.",
        # state set on the stand-in for PyTorch's function
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
        # a dictionary that contains itself
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    ]
    for body in bodies:
        path.write_bytes(head + body + JuliaPickler().dump([]))
        with pytest.raises(StorageError, match=r"evil\.pt"):
            read_mlpgradientflow(path)
    path.write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(StorageError, match=r"evil\.pt"):
        read_mlpgradientflow(path)
    assert not (tmp_path / "hostile").exists()


def test_tensors_outside_their_storage_are_refused(tmp_path):
    matrix = np.arange(6.0).reshape(2, 3)
    good = thsave(tmp_path / "run.pt", {"x": matrix}).read_bytes()
    changes = {  # shape and strides in the stream of opcodes
        "shape": (b"K\x02K\x03\x86", b"K\x02K\x09\x86"),
        "strides": (b"K\x01K\x02\x86", b"K\x01K\x09\x86"),
        "negative": (b"K\x01K\x02\x86", b"J\xff\xff\xff\xffK\x02\x86"),
    }
    for name, (old, new) in changes.items():
        assert good.count(old) == 1, name
        (tmp_path / "run.pt").write_bytes(good.replace(old, new))
        with pytest.raises(StorageError, match="does not fit"):
            read_mlpgradientflow(tmp_path / "run.pt")
    (tmp_path / "run.pt").write_bytes(good[:-8])
    with pytest.raises(StorageError, match="does not have its 6 numbers"):
        read_mlpgradientflow(tmp_path / "run.pt")


def test_every_truncation_and_many_flipped_bytes_are_storage_errors(run, found, tmp_path):
    path = thsave(tmp_path / "run.pt", found)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for stop in rng.choice(len(content), 60, replace=False):
        path.write_bytes(content[:stop])
        with pytest.raises(StorageError, match=r"run\.pt"):
            read_mlpgradientflow(path)
    start = len(content) - sum(v.nbytes for v in found["x"].values())
    for position in rng.choice(start, 150, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(InfflowError):  # the format has no checksums: a changed number may pass
            read_mlpgradientflow(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "no entry 'x'"),
        ({"x": {"w1": np.ones((3, 3))}}, "3 matrices w1, w2"),
        ({"layerspec": ((4, "softplus", True), (2, "tanh", False), (1, "identity", True))}, "w1 has shape"),
        ({"layerspec": ((3, "softplus", True), (2, "tanh", True), (1, "identity", True))}, "w2 has shape"),
        ({"init": {"w1": np.ones((3, 4)), "w2": np.ones((2, 3)), "w3": np.ones((1, 3))}}, "w1 has shape"),
        ({"loss_curve": np.ones(3)}, "loss_curve"),
        ({"loss": "small"}, "could not convert"),
        ({"x": 3}, "is not a result|int"),
    ],
)
def test_wrong_content(found, tmp_path, change, message):
    content = {key: value for key, value in {**found, **change}.items() if value is not None}
    with pytest.raises(StorageError, match=message) as caught:
        read_mlpgradientflow(thsave(tmp_path / "run.pt", content))
    assert "run.pt" in str(caught.value)


def test_data_that_do_not_give_the_loss_are_not_used(found, tmp_path):
    path = thsave(tmp_path / "run.pt", {**found, "target": found["target"] + 1.0})
    read = read_mlpgradientflow(path)
    assert np.isnan(read.trajectory.gradient_norm).all() and "rebuilt from the file" in read.flow.note


def test_bad_arguments(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        read_mlpgradientflow(tmp_path / "nothing.pt")
    with pytest.raises(StorageError, match="cannot be read"):
        read_mlpgradientflow(tmp_path)
    with pytest.raises(TypeError, match="file name"):
        read_mlpgradientflow(3)
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(StorageError, match=r"empty\.pt"):
        read_mlpgradientflow(tmp_path / "empty.pt")
    thsave(tmp_path / "list.pt", [1.0])
    with pytest.raises(StorageError, match="holds a list"):
        read_mlpgradientflow(tmp_path / "list.pt")
    with pytest.raises(InfflowError, match="time_scale"):
        read_mlpgradientflow(tmp_path / "list.pt", time_scale=0)
