"""Branches of critical points: normal forms with known folds and branch points, and networks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

import infflow as inf
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    SolverFailedError,
    UnknownNameError,
)

A = np.array([[1.0, 0.4, -0.2], [0.1, 1.2, 0.3], [-0.3, 0.2, 0.9]])


class Bent:
    """A function of one variable u and a parameter c in bent coordinates of three dimensions.

    u = (A theta)_0 + (A theta)_1^2, and a paraboloid in the rest, shifted by sin c.
    """

    num_params = 3

    def __init__(self, c):
        self.c = c

    def parts(self, u):
        raise NotImplementedError

    def evaluate(self, theta, order=0):
        c = self.c
        y = A @ np.asarray(theta)
        u = y[0] + y[1] ** 2
        du = np.array([1.0, 2 * y[1], 0.0])
        f, df, ddf = self.parts(u)
        rest = y[1:] - np.sin(c)
        value = f + rest @ rest
        gradient = df * du + np.array([0.0, *(2 * rest)])
        hessian = ddf * np.outer(du, du) + np.diag([0.0, 2 * df + 2, 2.0])
        return inf.Evaluation(value, A.T @ gradient, A.T @ hessian @ A)

    @staticmethod
    def point(u, c):
        return np.linalg.solve(A, [u - np.sin(c) ** 2, np.sin(c), np.sin(c)])


class Fold(Bent):
    def parts(self, u):
        return u**4 / 4 - u**2 / 2 + self.c * u, u**3 - u + self.c, 3 * u**2 - 1


class Pitchfork(Bent):
    def parts(self, u):
        c = self.c - 0.3
        return u**4 / 4 - c * u**2 / 2, u**3 - c * u, 3 * u**2 - c


class Transcritical(Bent):
    def parts(self, u):
        c = self.c - 0.3
        return u**3 / 3 - c * u**2 / 2, u**2 - c * u, 2 * u - c


def test_folds():
    start = Fold.point(np.roots([1, 0, -1, -1]).real.max(), -1.0)
    branch = inf.continuation(Fold, start, -1.0, 1.0)
    assert [event.kind for event in branch.events] == ["fold", "fold", "end"]
    place = 2 / np.sqrt(27)
    for event, sign in zip(branch.events[:2], (1.0, -1.0), strict=True):
        assert event.parameter == pytest.approx(sign * place, abs=1e-12)
        u = -sign / np.sqrt(3) * -1.0
        np.testing.assert_allclose(event.theta, Fold.point(u, event.parameter), atol=1e-7)
        H = Fold(event.parameter).evaluate(event.theta, 2).hessian
        assert np.linalg.norm(event.null_vector) == pytest.approx(1.0)
        assert np.abs(H @ event.null_vector).max() < 1e-6
    assert branch.parameter[0] == -1.0 and branch.parameter[-1] == 1.0
    assert set(branch.index) == {0, 1}
    middle = branch.index == 1
    assert np.abs(branch.parameter[middle]).max() < place
    for c, theta, loss in zip(branch.parameter, branch.theta, branch.loss, strict=True):
        found = Fold(c).evaluate(theta, 1)
        assert found.value == pytest.approx(loss) and np.abs(found.gradient).max() < 1e-11
    assert (np.linalg.norm(np.diff(branch.theta, axis=0), axis=1) < 0.3).all()
    assert branch.slope_error < 1e-10
    assert "fold at 0.3849" in str(branch)


def test_a_pitchfork_and_its_other_branch():
    branch = inf.continuation(Pitchfork, Pitchfork.point(0.0, -1.0), -1.0, 1.0)
    event, end = branch.events
    assert (event.kind, end.kind) == ("branch point", "end")
    assert event.parameter == pytest.approx(0.3, abs=1e-11)
    np.testing.assert_allclose(event.theta, Pitchfork.point(0.0, 0.3), atol=1e-9)
    assert branch.index[0] == 0 and branch.index[-1] == 1
    other = branch.switch(event)
    assert [each.kind for each in other.events] == ["end", "end"]
    assert other.parameter[0] == other.parameter[-1] == 1.0
    assert set(other.index) == {0}
    ends = [(A @ other.theta[k])[0] + np.sin(1.0) ** 2 for k in (0, -1)]
    np.testing.assert_allclose(sorted(ends), [-np.sqrt(0.7), np.sqrt(0.7)], atol=1e-10)
    half = branch.switch(event, side="along")
    assert np.linalg.norm(half.theta[-1] - other.theta[-1]) < 1e-9


def test_a_transcritical_point():
    branch = inf.continuation(Transcritical, Transcritical.point(0.0, -1.0), -1.0, 1.0)
    assert [each.kind for each in branch.events] == ["branch point", "end"]
    event = branch.events[0]
    assert event.parameter == pytest.approx(0.3, abs=1e-10)
    other = branch.switch(event)
    u = (other.theta @ A.T)[:, 0] + (other.theta @ A.T)[:, 1] ** 2
    np.testing.assert_allclose(u, other.parameter - 0.3, atol=1e-9)
    assert {other.parameter[0], other.parameter[-1]} == {-1.0, 1.0}


def test_the_derivative_that_a_problem_offers():
    class Problem:
        def __call__(self, c):
            return Fold(c)

        def parameter_derivative(self, theta, c):
            y = A @ theta
            du = np.array([1.0, 2 * y[1], 0.0])
            return A.T @ (du - 2 * np.cos(c) * np.array([0.0, 1.0, 1.0]))

    start = Fold.point(np.roots([1, 0, -1, -1]).real.max(), -1.0)
    branch = inf.continuation(Problem(), start, -1.0, 1.0)
    assert branch.slope_error == 0.0
    place = 2 / np.sqrt(27)
    np.testing.assert_allclose(
        [each.parameter for each in branch.events[:2]], [place, -place], atol=1e-12
    )
    with pytest.raises(MethodError, match="multiplicities"):
        fam = inf.SymmetricNetI("relu", [1, 6])
        sized = Problem()
        sized.__class__.__call__ = lambda self, k: fam
        inf.continuation(sized, fam.random(0), 1.0, 2.0)


# --------------------------------------------------------------------------- links on the sphere


class Links:
    """-sum_j (v_j.w)^p of a unit vector w = theta/|theta|, whose length is held by a square.

    Its minimum is that of a student and teachers with He_p links and unit index vectors v_j at
    mutual overlap beta, under the correlation loss (B. Simsek, A. Bendjeddou, D. Hsu 2025).
    """

    def __init__(self, k, p, beta):
        self.num_params = k
        self.p = p
        gram = (1 - beta) * np.eye(k) + beta * np.ones((k, k))
        values, vectors = np.linalg.eigh(gram)
        self.V = (vectors * np.sqrt(values)) @ vectors.T

    def evaluate(self, theta, order=0):
        r = np.linalg.norm(theta)
        w = theta / r
        s = self.V @ w
        p, n = self.p, len(theta)
        F = -(s**p).sum()
        g = -p * self.V.T @ s ** (p - 1)
        H = -p * (p - 1) * self.V.T @ (s[:, None] ** (p - 2) * self.V)
        P = np.eye(n) - np.outer(w, w)
        value = F + (r**2 - 1) ** 2
        gradient = P @ g / r + 4 * (r**2 - 1) * theta
        Pg = P @ g
        hessian = (P @ H @ P - (w @ g) * P - np.outer(Pg, w) - np.outer(w, Pg)) / r**2
        hessian = hessian + 4 * (r**2 - 1) * np.eye(n) + 8 * np.outer(theta, theta)
        return inf.Evaluation(value, gradient, hessian)


@pytest.mark.parametrize(("k", "p"), [(2, 3), (2, 4), (3, 4), (5, 3), (4, 6)])
def test_the_average_of_index_vectors_turns(k, p):
    threshold = (p - 2) / (k + p - 2)
    average = np.ones(k) / np.sqrt(k)
    branch = inf.continuation(lambda beta: Links(k, p, beta), average, 0.9, 0.02)
    event = branch.events[0]
    assert event.kind == "branch point"
    assert event.parameter == pytest.approx(threshold, abs=1e-10)
    assert event.null_space.shape == (k, k - 1)
    assert np.abs(event.null_space.sum(axis=0)).max() < 1e-7
    assert branch.index[0] == 0 and branch.index[-1] == k - 1
    if k == 2:
        other = branch.switch(event, side="along")
        assert other.index[-1] in (0, 1)
    else:
        with pytest.raises(InvalidValueError, match="several null vectors"):
            branch.switch(event)


# -------------------------------------------------------------------------------------- families


def spurious(k=7):
    fam = inf.SymmetricNetI("relu", [1, k - 1])
    start = fam.pack([-0.6, 1.0], [0.0, 0.0], [[0.0, 0.2], [0.3, 0.0]])
    return fam, inf.train(fam, start, max_steps_flow=0, progress=False).theta


def test_spurious_minima_turn_into_saddles_in_real_k():
    """Near k = 5.58, found by Arjevani and Field."""
    fam, z = spurious()

    def sized(k):
        return fam.resized([1, k - 1])

    branch = inf.continuation(sized, z, 7.0, 4.5)
    event, end = branch.events
    assert event.kind == "branch point" and event.symmetry == "standard of block 1"
    assert event.parameter == pytest.approx(5.58, abs=0.01)
    assert end.parameter == 4.5
    lowest = sized(event.parameter).spectrum(event.theta)
    assert abs(lowest.values[0]) < 1e-12
    assert lowest.multiplicities[0] == pytest.approx(event.parameter - 2)

    def level(k):
        near = inf.train(sized(k), event.theta, max_steps_flow=0, progress=False)
        return sized(k).spectrum(near.theta).values[0]

    assert event.parameter == pytest.approx(brentq(level, 5.4, 5.7, xtol=1e-12), abs=1e-10)
    after = branch.parameter < event.parameter
    np.testing.assert_allclose(branch.index[after], branch.parameter[after] - 2)
    assert (branch.index[~after] == 0).all()
    assert (np.sign(branch.smallest) == np.where(after, -1, 1)).all()


@pytest.mark.parametrize(("apart", "index"), [(1, 1), (2, 2)])
def test_the_branch_that_breaks_the_symmetry(apart, index):
    """Members of a block leave the others: the critical points are those of a whole network."""
    fam, z = spurious(8)
    branch = inf.continuation(lambda k: fam.resized([1, k - 1]), z, 8.0, 4.5)
    event = branch.events[0]
    other = branch.switch(event, apart=apart)
    distance = np.abs(other.parameter - event.parameter)
    assert distance.min() < 0.1
    assert other.parameter.max() == 8.0
    at = int(np.argmax(other.parameter))
    finer = inf.SymmetricNetI("relu", [1, apart, 7 - apart])
    own = finer.unpack(other.theta[at]).own
    assert abs(own[1] - own[2]) > 0.02  # they left
    neti, theta = finer.lift(other.theta[at])
    free = ~finer.whole_frozen
    assert np.abs(inf.gradient(neti, theta)[free]).max() < 1e-12
    values = np.linalg.eigvalsh(inf.hessian(neti, theta)[np.ix_(free, free)])
    assert (values < 0).sum() == other.index[at] == index
    with pytest.raises(InvalidValueError, match="apart"):
        branch.switch(event, apart=9)
    with pytest.raises(InvalidValueError, match="no other branch"):
        branch.switch(branch.events[-1])


def test_the_index_along_a_branch_is_that_of_the_whole():
    fam, z = spurious()
    for k, index in ((7, 0), (6, 0), (5, 3)):
        branch = inf.continuation(lambda s: fam.resized([1, s - 1]), z, 7.0, k - 1e-9)
        there = fam.resized([1, k - 1])
        theta = inf.train(there, branch.theta[-1], max_steps_flow=0, progress=False).theta
        neti, whole = there.lift(theta)
        free = ~there.whole_frozen
        values = np.linalg.eigvalsh(inf.hessian(neti, whole)[np.ix_(free, free)])
        assert (values < 0).sum() == index == round(branch.index[-1])


def test_output_weights_of_relu_have_to_be_held():
    fam, z = spurious()
    both = fam.replace(train_second_layer=True)
    start = np.append(z, [1.0, 1.0])
    settled = inf.train(both, start, max_steps_flow=0, progress=False)

    def sized(k):
        return both.resized([1, k - 1])

    with pytest.raises(InvalidValueError, match="Hessian is singular"):
        inf.continuation(sized, settled.theta, 7.0, 6.0)
    frozen = np.arange(7) > 4
    branch = inf.continuation(sized, settled.theta, 7.0, 6.5, frozen=frozen)
    assert branch.events[-1].parameter == 6.5
    assert (branch.theta[:, 5:] == settled.theta[5:]).all()
    with pytest.raises(InvalidValueError, match="all output weights"):
        inf.continuation(sized, settled.theta, 7.0, 6.5, frozen=np.arange(7) % 5 == 0)


def test_families_without_a_number_of_parameters_that_lasts():
    fam, z = spurious()
    branch = inf.continuation(lambda k: fam.resized([1, k - 1]), z, 7.0, 1.0)
    assert branch.events[-1].kind == "end"
    assert "steps became too short" in branch.events[-1].reason
    assert branch.parameter[-1] >= 3.0


# ------------------------------------------------------------------------------------- networks


def small_net():
    net = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    teacher = inf.Teacher(net, [1.0, 0.3, -0.2, 0.9, 1.0, 0.7])
    return inf.NetI(net, teacher, ridge=0.02)


def test_ridge_of_an_infinite_data_network():
    neti = small_net()
    found = inf.train(neti, inf.random_params(neti, 1), progress=False)

    class Ridge:
        def __call__(self, ridge):
            return neti.replace(ridge=ridge)

        def parameter_derivative(self, theta, ridge):
            return theta

    offered = inf.continuation(Ridge(), found, 0.02, 0.05)
    differences = inf.continuation(lambda r: neti.replace(ridge=r), found.theta, 0.02, 0.05)
    assert offered.slope_error == 0.0 and differences.slope_error < 1e-8
    np.testing.assert_allclose(offered.theta[-1], differences.theta[-1], atol=1e-10)
    assert offered.loss[-1] == pytest.approx(inf.loss(neti.replace(ridge=0.05), offered.theta[-1]))
    direct = inf.train(neti.replace(ridge=0.05), offered.theta[-1], progress=False)
    np.testing.assert_allclose(direct.theta, offered.theta[-1], atol=1e-9)


def test_the_average_of_two_teachers_loses_stability_in_their_overlap():
    """One erf student of two teachers: the average is a minimum while these overlap."""

    def problem(overlap):
        angle = np.arccos(overlap) / 2
        V = np.array([[np.cos(angle), np.sin(angle)], [np.cos(angle), -np.sin(angle)]])
        student = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
        teacher = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
        return inf.NetI(student, inf.Teacher(teacher, [*V.ravel(), 1.0, 1.0]))

    found = inf.train(problem(0.9), [0.9, 0.0, 1.9], progress=False)
    assert abs(found.theta[1]) < 1e-12
    branch = inf.continuation(problem, found.theta, 0.9, -0.9)
    assert branch.parameter[-1] == -0.9
    for event in branch.events[:-1]:
        H = inf.hessian(problem(event.parameter), event.theta)
        assert np.abs(H @ event.null_vector).max() < 1e-9
    index = [
        (np.linalg.eigvalsh(inf.hessian(problem(c), theta)) < 0).sum()
        for c, theta in zip(branch.parameter, branch.theta, strict=True)
    ]
    np.testing.assert_array_equal(branch.index, index)


# ------------------------------------------------------------------------------------- pictures


def test_pictures():
    start = Fold.point(np.roots([1, 0, -1, -1]).real.max(), -1.0)
    ax = inf.continuation(Fold, start, -1.0, 1.0).plot()
    styles = [line.get_linestyle() for line in ax.lines]
    assert styles.count("-") == 2 and styles.count("--") == 1
    labels = [each.get_text() for each in ax.get_legend().get_texts()]
    assert sorted(labels) == ["fold", "minimum", "saddle"]
    with pytest.raises(InvalidTypeError, match="continuation"):
        inf.plotting.plot_branch(3)


# ------------------------------------------------------------------------------------- bad input


def test_a_start_that_is_none():
    start = Fold.point(np.roots([1, 0, -1, -1]).real.max(), -1.0)
    with pytest.raises(InvalidValueError, match="gradient is not zero"):
        inf.continuation(Fold, start + 0.1, -1.0, 1.0)
    with pytest.raises(InvalidValueError, match="Hessian is singular"):
        inf.continuation(Pitchfork, Pitchfork.point(0.0, 0.3), 0.3, 1.0)
    with pytest.raises(InvalidValueError, match="gradient is not zero"):
        inf.continuation(lambda c: Singular(), np.zeros(2), 0.0, 1.0)


class Singular:
    """Its Hessian is singular and its gradient is not zero."""

    num_params = 2

    def evaluate(self, theta, order=0):
        return inf.Evaluation(theta[0], np.array([1.0, 0.0]), np.diag([0.0, 1.0]))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"problem": 3}, InvalidTypeError, "problem is 3"),
        ({"problem": lambda c: 3}, InvalidTypeError, "num_params and evaluate"),
        ({"theta": np.zeros(2)}, ShapeError, "theta has shape"),
        ({"stop": -1.0}, InvalidValueError, "must differ"),
        ({"stop": np.nan}, InvalidValueError, "stop"),
        ({"step": 0.0}, InvalidValueError, "step"),
        ({"step": 0.5, "max_step": 0.1}, InvalidValueError, "max_step"),
        ({"max_points": 1}, InvalidValueError, "max_points"),
        ({"frozen": [1, 0, 0]}, InvalidTypeError, "frozen"),
    ],
)
def test_arguments_that_cannot_be_used(changes, error, words):
    start = Pitchfork.point(0.0, -1.0)
    arguments = {"problem": Pitchfork, "theta": start, "start": -1.0, "stop": 1.0, **changes}
    with pytest.raises(error, match=words):
        inf.continuation(**arguments)


def test_where_no_other_branch_begins():
    branch = inf.continuation(Pitchfork, Pitchfork.point(0.0, -1.0), -1.0, 1.0)
    event, end = branch.events
    with pytest.raises(InvalidValueError, match="no other branch"):
        branch.switch(end)
    with pytest.raises(InvalidTypeError, match="one of branch"):
        branch.switch(0)
    with pytest.raises(UnknownNameError, match="side"):
        branch.switch(event, side="left")


def test_a_problem_that_ends():
    def problem(c):
        if c > 0.5:
            raise SolverFailedError("beyond 0.5 there is none.")
        return Pitchfork(c)

    branch = inf.continuation(problem, Pitchfork.point(0.0, -1.0), -1.0, 1.0)
    assert branch.events[-1].kind == "end"
    assert "beyond 0.5" in branch.events[-1].reason
    assert 0.4 < branch.parameter[-1] <= 0.5
    few = inf.continuation(Pitchfork, Pitchfork.point(0.0, -1.0), -1.0, 1.0, max_points=4)
    assert len(few) == 4 and "max_points=4" in few.events[-1].reason
