"""Critical points from many starts, and the flows that join them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import infflow as inf
from infflow.critical_points.links import FarEnds
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError, StorageError
from infflow.studies.landscape_atlas.claims import average_loss, build


@pytest.fixture(scope="module")
def found():
    return inf.atlas(build("erf", 3, 2), 20, progress=False)


def test_points_are_critical_and_known(found):
    """The best two neurons copy one teacher and average the others, or average all together."""
    losses = [each.loss for each in found.points]
    assert (np.diff(losses) > -1e-9).all()
    assert losses[0] == pytest.approx(average_loss(1) + average_loss(2), abs=1e-12)
    for k, each in enumerate(found.points):
        assert np.abs(inf.gradient(found.net, each.theta)).max() < 1e-12
        kind = inf.classify(found.net, each.theta)
        assert kind.kind is each.kind
        assert kind.index == each.index or k in found.unresolved
        assert found.find(each.theta) == k
    assert found.points[0].structure == "average of 2, copy" and found.points[0].index == 0
    assert found.minima and found.saddles and 0 in found.minima
    assert sorted(found.minima + found.saddles + found.unresolved) == list(range(len(found)))
    assert sum(each.count for each in found.points) == found.converged
    assert found.find(inf.random_params(found.net, 0)) is None


def test_symmetries_count_once(found):
    theta = found.points[0].theta
    (W, _), (a, _) = found.net.unpack(theta)
    turned = found.net.pack([(-W[::-1][:, [1, 2, 0]], None), (-a[:, ::-1], None)])
    assert found.find(turned) == 0
    apart = inf.atlas(found.net, np.stack([theta, turned]), links=False, teacher_symmetry=False)
    assert len(apart) == 2 and not apart.links and len(apart.minima) == 2 and not apart.saddles
    together = inf.atlas(found.net, np.stack([theta, turned]), links=False)
    assert len(together) == 1


def test_flows_leave_saddles_downhill(found):
    for saddle in found.saddles:
        own = [link for link in found.links if link.start == saddle]
        assert len(own) == 2 * found.points[saddle].index
        assert found.ends(saddle) == [link.end for link in own]
        for link in own:
            assert link.loss < found.points[saddle].loss
            np.testing.assert_array_equal(link.path[0], found.points[saddle].theta)
            if link.end is not None:
                assert found.points[link.end].loss == pytest.approx(link.loss, abs=1e-9)


def test_paths_of_least_energy(found):
    """Along them the gradient is a multiple of the tangent, and the saddle is the highest point."""
    path = found.path(0, 0)
    saddle = found.points[path.saddle]
    assert saddle.index == 1
    highest = int(np.argmax(path.loss))
    assert path.loss[highest] == pytest.approx(saddle.loss, abs=1e-14)
    assert (np.diff(path.loss[: highest + 1]) >= -1e-13).all()
    assert (np.diff(path.loss[highest:]) <= 1e-13).all()
    assert path.barrier == pytest.approx(saddle.loss - path.loss[0], abs=1e-9)
    for middle in np.searchsorted(path.length, [0.2 * path.length[-1], 0.7 * path.length[-1]]):
        tangent = path.theta[middle + 1] - path.theta[middle - 1]
        g = inf.gradient(found.net, path.theta[middle])
        assert abs(tangent @ g) > 0.98 * np.linalg.norm(tangent) * np.linalg.norm(g)
    lonely = next(k for k in range(len(found)) if k in found.saddles)
    with pytest.raises(InvalidValueError, match=r"no saddle of index 1 joins.*\(0, 0\)"):
        found.path(0, lonely)


def test_finite_data_and_given_starts():
    X = np.random.default_rng(0).normal(size=(20, 1))
    net = inf.Net([(1, "tanh", True), (1, "identity", False)], input=X, target=np.sin(X[:, 0]))
    starts = np.stack([inf.random_params(net, k, init="standard_normal") for k in range(3)])
    found = inf.atlas(net, starts, progress=False)
    assert found.searches == found.flows == 3 and found.minima
    assert found.points[0].structure == ""
    again = inf.atlas(net, starts, progress=False)
    np.testing.assert_array_equal(again.points[0].theta, found.points[0].theta)


@pytest.fixture(scope="module")
def far():
    """Two neurons without biases that are to make a bump: some flows run off to infinity."""
    student = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=1)
    net = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=1)
    theta = net.pack([(np.full((2, 1), 5.0), np.array([-2.5, 2.5])), (np.ones((1, 2)), None)])
    neti = inf.NetI(student, inf.Teacher(net, theta))
    starts = np.stack([inf.random_params(neti, seed) for seed in (0, 1, 2)])
    return inf.atlas(neti, starts, progress=False)


def test_ends_at_infinity_have_names(far):
    """The loss there is that of test_channels.py; flows from starts and saddles are counted."""
    losses = [each.limit.loss_at_infinity for each in far.limits]
    assert losses[0] == pytest.approx(0.0423721519589, abs=1e-10)
    assert far.limits[0].limit.units[0].kind.name == "MERGING"
    from_saddles = sum(link.limit is not None for link in far.links)
    assert sum(each.flows for each in far.limits) >= from_saddles + 2
    for link in far.links:
        assert link.end is None or link.limit is None
        if link.limit is not None:
            limit = far.limits[link.limit].limit
            assert link.loss == pytest.approx(limit.loss_at_infinity, abs=1e-6)
    text = str(far)
    assert "infinity 0: loss 0.042" in text and "merge" in text
    assert ("leads to infinity 0" in text) == any(link.limit == 0 for link in far.links)
    assert far.to_dict()["limits"][0]["flows"] == far.limits[0].flows


def test_ends_at_infinity_of_equal_loss_are_told_apart_by_their_functions(far):
    limit = far.limits[0].limit
    ends = FarEnds(far.net, None)
    other = replace(limit, coordinates=2.0 * limit.coordinates)
    found = [ends.add(each) for each in (limit, other, None, limit)]
    assert found == [0, 1, None, 0]
    assert [each.flows for each in ends.ends] == [2, 1]


@pytest.mark.parametrize("which", ["found", "far"])
def test_files(which, request, tmp_path):
    """What is read is what was written, and goes on finding its points."""
    atlas = request.getfixturevalue(which)
    atlas.save(tmp_path / "atlas")
    again = inf.Atlas.load(tmp_path / "atlas.npz", atlas.net)
    assert str(again) == str(atlas)
    np.testing.assert_equal(again.to_dict(), atlas.to_dict())
    for one, other in zip(again.links, atlas.links, strict=True):
        np.testing.assert_array_equal(one.path, other.path)
    for one, other in zip(again.limits, atlas.limits, strict=True):
        np.testing.assert_array_equal(one.limit.coordinates, other.limit.coordinates)
    for k, each in enumerate(atlas.points):
        assert again.find(each.theta) == k
    if which == "found":
        theta = atlas.points[0].theta
        (W, _), (a, _) = atlas.net.unpack(theta)
        turned = atlas.net.pack([(-W[::-1][:, [1, 2, 0]], None), (-a[:, ::-1], None)])
        assert again.find(turned) == 0  # the symmetry of the teacher is read as well


def test_bad_files(found, tmp_path):
    path = tmp_path / "atlas.npz"
    found.save(path)
    other = build("relu", 3, 2)
    for net, error, message in (
        (build("erf", 4, 2), InvalidValueError, "8 parameters"),
        (other, InvalidValueError, "a point of loss"),
        (None, InvalidTypeError, "NetI"),
    ):
        with pytest.raises(error, match=message):
            inf.Atlas.load(path, net)
    with np.load(path) as file:
        kept = dict(file)
    damaged = {
        "missing": {name: each for name, each in kept.items() if name != "paths"},
        "shorter": {**kept, "paths": kept["paths"][:-1]},
        "points": {**kept, "theta": kept["theta"][1:]},
        "NaN": {**kept, "theta": np.full_like(kept["theta"], np.nan)},
    }
    for arrays in damaged.values():
        np.savez(path, **arrays)
        with pytest.raises(StorageError, match="damaged"):
            inf.Atlas.load(path, found.net)
    with pytest.raises(StorageError, match="does not exist"):
        inf.Atlas.load(tmp_path / "none", found.net)


def test_what_it_shows(found):
    assert repr(found).startswith(f"Atlas(1 minimum, {len(found.saddles)} saddles, NetI(")
    text = str(found)
    assert "average of 2, copy" in text and "leads to 0" in text
    kept = found.to_dict()
    assert len(kept["points"]) == len(found) and len(kept["links"]) == len(found.links)
    assert kept["points"][0]["kind"] == found.points[0].kind.name
    ax = found.plot()
    assert ax.get_xlabel() == "index" and len(ax.texts) == len(found)
    lines = {(link.start, link.end) for link in found.links if link.end is not None}
    assert len(ax.lines) == len(lines)
    with pytest.raises(InvalidTypeError, match=r"inf\.atlas"):
        inf.plotting.plot_atlas(3)


def test_bad_input(found):
    net = found.net
    data = {"input": np.ones((3, 1)), "target": np.ones(3)}
    deep = inf.Net([(2, "tanh", True)] * 2 + [(1, "identity", True)], **data)
    kinked = inf.Net([(2, "relu", True), (1, "identity", True)], **data)
    for objective, starts, error, message in (
        (3, 1, InvalidTypeError, r"inf\.NetI"),
        (deep, 1, InvalidValueError, "2 hidden layers"),
        (kinked, 1, InvalidValueError, "kinks"),
        (net, 0, InvalidValueError, "starts"),
        (net, np.ones((2, 3)), ShapeError, r"\(n, 8\)"),
    ):
        with pytest.raises(error, match=message):
            inf.atlas(objective, starts)
    with pytest.raises(inf.InfflowError, match="teacher_symmetry"):
        inf.atlas(net, 1, teacher_symmetry="yes")
