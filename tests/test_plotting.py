"""Pictures: they show the data that they claim to, in the axes that they are given, and leave
matplotlib as it was.
"""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import infflow as inf
from infflow import plotting
from infflow.errors import InfflowError
from infflow.plotting.style import STYLE, short, tidy


@pytest.fixture(scope="module")
def run():
    student = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=3)
    teacher = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=3)
    net = inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 1)))
    return net, inf.train(
        net, inf.random_params(student, 2), t_end=30.0, num_trajectory=12, progress=False
    )


def new():
    return Figure().add_subplot()


def test_loss(run):
    _, result = run
    ax = plotting.plot_loss(result)
    lines = {line.get_label(): line for line in ax.lines}
    track = result.trajectory
    np.testing.assert_array_equal(lines["loss"].get_xdata(), track.t[1:])
    np.testing.assert_array_equal(lines["loss"].get_ydata(), track.loss[1:])
    np.testing.assert_array_equal(lines["gradient norm"].get_ydata(), track.gradient_norm[1:])
    assert lines["loss in the end"].get_ydata()[0] == result.loss
    assert ax.get_xscale() == ax.get_yscale() == "log" and ax.get_xlabel() == "time $t$"
    only = plotting.plot_loss(result.trajectory, gradient_norm=False)
    assert [line.get_label() for line in only.lines] == ["loss"] and only.get_ylabel() == "loss"
    assert ax.get_ylabel() == "loss and gradient norm"


def test_loss_without_positive_values(run):
    _, result = run
    track = type(result.trajectory)(
        np.zeros(1), result.theta0[None], np.zeros(1), np.full(1, np.nan)
    )
    assert not plotting.plot_loss(track).lines  # nothing to show, and no error


def test_neurons(run):
    net, result = run
    directions = np.eye(3)[:2]
    ax = plotting.plot_neurons(net, result, directions=directions)
    paths = [line for line in ax.lines if len(line.get_xdata()) == len(result.trajectory) + 1]
    assert len(paths) == 3
    for k, line in enumerate(paths):
        weights = [
            net.student.unpack(theta)[0][0][k] for theta in [*result.trajectory.theta, result.theta]
        ]
        np.testing.assert_array_equal(line.get_xydata(), np.array(weights)[:, :2])
    teacher = next(line for line in ax.lines if line.get_label() == "teacher")
    np.testing.assert_array_equal(teacher.get_xydata(), net.teacher_units.W[:, :2])
    # without directions the teachers, of which there are two, keep their lengths in the plane as
    # far as students let them
    free = plotting.plot_neurons(net, result)
    assert len(free.lines) == len(ax.lines) and free.get_xlabel() == "direction 1"
    vectors = np.vstack([net.student.unpack(result.theta)[0][0], net.teacher_units.W])
    shown = np.array(
        [
            line.get_xydata()[-1]
            for line in free.lines
            if len(line.get_xdata()) == len(result.trajectory) + 1
        ]
    )
    shown = np.vstack(
        [shown, next(line for line in free.lines if line.get_label() == "teacher").get_xydata()]
    )
    kept = np.linalg.svd(vectors, compute_uv=False)[:2]
    np.testing.assert_allclose(
        np.linalg.norm(shown) ** 2, (kept**2).sum(), rtol=1e-12
    )  # the best plane there is


def test_neurons_of_a_net_with_two_inputs():
    net = inf.Net([(2, "tanh", True), (1, "identity", True)], input=np.eye(2), target=[0.0, 1.0])
    result = inf.train(
        net, inf.random_params(net, 0), t_end=1.0, max_steps_newton=0, progress=False
    )
    ax = plotting.plot_neurons(net, result)
    assert ax.get_xlabel() == "$w_1$" and all(line.get_label() != "teacher" for line in ax.lines)


@pytest.mark.parametrize(("which", "rows"), [("Q", 6), ("R", 6), ("QR", 12)])
def test_overlaps(run, which, rows):
    net, result = run
    ax = plotting.plot_overlaps(net, result, which=which)
    values = ax.collections[0].get_array().reshape(rows, -1)
    assert len(ax.get_yticklabels()) == rows and values.shape[1] == len(result.trajectory) - 1
    last = inf.overlaps(net, result.trajectory.theta[-1])
    assert values[-1, -1] == (last.Q[2, 2] if which == "Q" else last.R[2, 1])
    assert values[1, -1] == (last.R[0, 1] if which == "R" else last.Q[0, 1])


def test_labels_of_overlaps_do_not_collide(run):
    net, result = run
    ax = plotting.plot_overlaps(net, result, ax=plotting.new_axes(3.6, 1.5))
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert 2 < len(boxes) < 15
    assert all(above.y0 > below.y1 for above, below in pairwise(boxes))
    assert all(label.get_fontsize() >= 8 for label in ax.get_yticklabels())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-3, "0.001"),
        (0.05, "0.05"),
        (2000.0, "2000"),
        (1e4, "$10^{4}$"),
        (3e-5, r"$3\times10^{-5}$"),
    ],
)
def test_numbers_of_ticks(value, text):
    assert short(value) == text


@pytest.mark.parametrize("high", [20.0, 500.0, 1e5, 1e15])
def test_ticks_of_logarithmic_axes_do_not_collide(high):
    ax = plotting.new_axes(3.0, 2.0)
    ax.loglog([1.0, high], [1.0, high])
    tidy(ax.figure)
    ax.figure.draw_without_rendering()
    low, top = ax.get_xlim()
    shown = [
        label.get_window_extent()
        for label in ax.get_xticklabels(which="both")
        if label.get_text() and low <= label.get_position()[0] <= top
    ]
    shown.sort(key=lambda box: box.x0)
    assert len(shown) >= 3
    assert all(left.x1 < right.x0 for left, right in pairwise(shown))


def test_spectrum(run):
    net, result = run
    ax = plotting.plot_spectrum(net, result, points=3)
    drawn = {line.get_label(): line for line in ax.lines}
    negative = drawn["negative"]
    positive = drawn["positive"]
    times = np.unique(np.concatenate([negative.get_xdata(), positive.get_xdata()]))
    assert (
        len(times) == 3
        and times[0] == result.trajectory.t[1]
        and times[-1] == result.trajectory.t[-1]
    )
    first = np.concatenate(
        [line.get_ydata()[line.get_xdata() == times[0]] for line in (negative, positive)]
    )
    np.testing.assert_allclose(
        np.sort(first), inf.hessian_spectrum(net, result.trajectory.theta[1]).values, rtol=1e-12
    )
    assert (
        (negative.get_ydata() < 0).all()
        and (positive.get_ydata() >= 0).all()
        and ax.get_yscale() == "symlog"
    )


def test_alignment(run):
    net, result = run
    ax = plotting.plot_alignment(net, result)
    shown = np.asarray(ax.images[0].get_array())
    expected = inf.cosine_similarity(net.student.unpack(result.theta)[0][0], net.teacher_units.W)
    order = [int(label.get_text()) - 1 for label in ax.get_yticklabels()]
    np.testing.assert_array_equal(shown, expected[order])
    assert sorted(order) == [0, 1, 2]
    nearest = np.abs(shown).argmax(axis=1)
    assert (np.diff(nearest) >= 0).all()
    assert plotting.plot_alignment(net, result.theta).images


def test_integral():
    ax = plotting.plot_integral("erf", "relu", r=(0.5, 2.0), points=9)
    surface = ax.collections[0]
    assert (
        ax.get_ylabel() == "standard deviation $r$"
        and ax.get_xlim() == (-1.0, 1.0)
        and ax.get_ylim() == (0.5, 2.0)
    )
    largest = inf.gaussian_moment("erf", "relu", 2.0, 2.0, 1.0)
    assert surface.levels[-2] <= largest <= surface.levels[-1]
    plotting.plot_integral(
        "relu", orders=(1, 1), points=9
    )  # derivatives of kinks: the ends of the axis are left out


def test_figures_are_written_and_the_style_stays_inside(run, tmp_path):
    net, result = run
    before = dict(mpl.rcParams)
    mine = new()
    mine.plot([1, 2], [1, 2])
    pictures = [
        plotting.plot_loss(result, ax=mine),
        plotting.plot_neurons(net, result),
        plotting.plot_overlaps(net, result),
        plotting.plot_spectrum(net, result, points=2),
        plotting.plot_alignment(net, result),
    ]
    assert pictures[0] is mine and len(mine.lines) == 4  # the caller's line is still there
    for number, ax in enumerate(pictures):
        for suffix in ("png",) if number else ("png", "pdf"):
            ax.figure.savefig(tmp_path / f"{number}.{suffix}")
            assert (tmp_path / f"{number}.{suffix}").stat().st_size > 3000
    assert dict(mpl.rcParams) == before
    assert plotting.new_axes().xaxis.label.get_fontsize() == 8
    with mpl.style.context(STYLE):  # the file parses, with warnings as errors
        assert mpl.rcParams["pdf.fonttype"] == 42


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, result: plotting.plot_loss(3), "int; a Result"),
        (lambda net, result: plotting.plot_loss(result, ax=Figure()), "Axes is needed"),
        (lambda net, result: plotting.plot_neurons("net", result), r"inf\.Net or inf\.NetI"),
        (
            lambda net, result: plotting.plot_neurons(net, result, directions=np.eye(2)),
            r"\(2, 3\) is needed",
        ),
        (
            lambda net, result: plotting.plot_overlaps(net, result, which="T"),
            "which 'T' is not known. Known: QR, Q, R",
        ),
        (lambda net, result: plotting.plot_overlaps(net.student, result), r"inf\.NetI"),
        (lambda net, result: plotting.plot_alignment(net.student, result), "no teacher"),
        (lambda net, result: plotting.plot_integral("relu", r=(2, 1)), "two increasing"),
        (lambda net, result: plotting.plot_integral("nonsense"), "not known"),
        (lambda net, result: plotting.plot_spectrum(net, result, points=0), "at least 1"),
    ],
)
def test_bad_input(run, call, message):
    with pytest.raises(InfflowError, match=message):
        call(*run)
