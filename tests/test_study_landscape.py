"""Searches for critical points, and the atlas that is made of them."""

import numpy as np
import pytest

import infflow as inf
from infflow.critical_points.entries import balanced, find_entry, is_smooth, make_entries
from infflow.critical_points.search import find_critical_point, morse_index
from infflow.landscape.teacher_symmetry import TeacherSymmetry
from infflow.studies.landscape_atlas.claims import (
    _partitions,
    average_loss,
    build,
    relu_average_loss,
)


@pytest.fixture(scope="module")
def erf2():
    return build("erf", 3, 2)


def copies_and_averages(neti, *groups):
    """Students that each average a group of teacher neurons as well as they can."""
    M = neti.input_dim
    K = neti.student.layers[0].width
    W = np.zeros((K, M))
    a = np.zeros((1, K))
    for i, group in enumerate(groups):
        m = len(group)
        W[i, list(group)] = 1 / np.sqrt(m * (2 * m - 1))
        a[0, i] = m
    return neti.student.pack([(W, None), (a, None)])


def test_formula_of_averages(erf2):
    """Copy and average of two are critical, with the sum of the losses of single neurons."""
    theta = copies_and_averages(erf2, [0], [1, 2])
    assert inf.loss(erf2, theta) == pytest.approx(average_loss(1) + average_loss(2), abs=1e-15)
    assert np.abs(inf.gradient(erf2, theta)).max() < 1e-14
    assert average_loss(1) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_formula_of_the_relu_average(m):
    """w = (1, ..., 1)/sqrt(m) with the output weight that is best for it."""
    neti = build("relu", m, 1) if m > 1 else build("relu", 2, 1)
    W = np.zeros(neti.input_dim)
    W[:m] = 1 / np.sqrt(m)
    if m == 1:  # with another teacher neuron, which is independent of neither
        neti = inf.NetI(neti.student, inf.Teacher(*one_teacher(neti)))
    theta = np.append(W, 0.0)
    found = neti.evaluate(theta, 2)
    theta[-1] = -found.g[-1] / found.H[-1, -1]
    assert inf.loss(neti, theta) == pytest.approx(relu_average_loss(m), abs=1e-14)
    assert np.abs(inf.gradient(neti, theta)).max() < 1e-13


def one_teacher(neti):
    net = inf.Net([(1, "relu", False), (1, "identity", False)], input_dim=neti.input_dim)
    return net, net.pack([(np.eye(1, neti.input_dim), None), (np.ones((1, 1)), None)])


def test_search_finds_saddles_of_the_index_that_was_asked_for():
    neti = build("erf", 3, 1)
    rng = np.random.default_rng(0)
    found = {0: [], 1: []}
    for index in found:
        for _ in range(6):
            point = find_critical_point(neti, rng.normal(size=4), index)
            if point.converged:
                assert np.abs(inf.gradient(neti, point.theta)).max() <= 1e-12
                assert point.loss == inf.loss(neti, point.theta)
                assert point.index == morse_index(inf.hessian(neti, point.theta))
                found[index].append(point)
    assert {point.index for point in found[0]} == {0} and {point.index for point in found[1]} == {1}
    assert all(point.loss == pytest.approx(average_loss(3), abs=1e-14) for point in found[0])


def test_morse_index():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    assert morse_index(rotation @ np.diag([-2.0, -1e-3, 1e-12, 1.0, 50.0]) @ rotation.T) == 2


def test_entries_are_modulo_symmetries_of_students_and_teachers(erf2):
    """Order and sign of the students, and which of the teachers is copied, make no difference; the
    rest does.
    """
    W, a = (part for part, _ in erf2.unpack(copies_and_averages(erf2, [0], [1, 2])))
    flipped = erf2.student.pack([(-W[::-1], None), (-a[:, ::-1], None)])
    other = copies_and_averages(erf2, [0, 2], [1])
    both = copies_and_averages(erf2, [0, 1, 2], [0, 1, 2])
    half = both.copy()
    half[-2:] = 1.5, 1.5  # two equal neurons share the output weight 3
    searched = [copies_and_averages(erf2, [0], [1, 2]), flipped, half]
    assert len(make_entries(erf2, searched, [other])) == 3  # teachers told apart
    entries = make_entries(erf2, searched, [other], TeacherSymmetry(erf2))
    assert [(entry.count, entry.trained) for entry in entries] == [(2, 1), (1, 0)]
    assert entries[0].structure == "average of 2, copy"
    assert entries[1].structure == "average of 3, average of 3 (2 equal)"
    assert entries[0].index == 0 and entries[0].escape is None
    assert find_entry(erf2, entries, flipped) == 0
    assert find_entry(erf2, entries, np.zeros(8)) is None


def test_zero_functions_are_one_kind(erf2):
    """Output weights zero, and input weights that make it a critical point: sum_j
    arcsin(...) = 0.
    """
    points = [
        erf2.student.pack([(W, None), (np.zeros((1, 2)), None)])
        for W in (np.array([[1.0, -1, 0], [0, 2, -2]]), np.array([[0.5, 0, -0.5], [3, -3, 0]]))
    ]
    assert all(np.abs(inf.gradient(erf2, theta)).max() < 1e-14 for theta in points)
    entries = make_entries(erf2, points, [])
    assert {entry.structure for entry in entries} == {"zero function"}
    assert len(entries) == len({entry.index for entry in entries})


def test_balance_keeps_function_and_index():
    neti = build("relu", 3, 2)
    theta = np.array([1e4, 2e4, 0.5e4, -1.0, 0.3, 0.2, 1e-4, 2.0])
    even = balanced(neti, theta)
    (W, _), (a, _) = neti.unpack(even)
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), np.abs(a[0]), rtol=1e-14)
    assert inf.solution_distance(neti, theta, even) < 1e-12
    assert inf.loss(neti, even) == pytest.approx(inf.loss(neti, theta), rel=1e-14)
    erf = build("erf", 3, 2)
    np.testing.assert_array_equal(balanced(erf, theta), theta)


def test_kinks():
    relu = build("relu", 3, 2)
    erf = build("erf", 3, 2)
    theta = np.array([1.0, 1, 0, 0, 0, 1e-6, 1, 1])
    assert not is_smooth(relu, theta) and is_smooth(erf, theta)
    theta[4] = 1.0
    assert is_smooth(relu, theta)


def test_partitions():
    assert _partitions(4, 2) == [(3, 1), (2, 2)]
    assert _partitions(5, 3) == [(3, 1, 1), (2, 2, 1)]
    assert _partitions(3, 4) == []
