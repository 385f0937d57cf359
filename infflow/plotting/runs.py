"""Pictures of a run: what :func:`infflow.train` found, and the path to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import Array, as_choice, as_flag, as_integer, as_real_array
from ..errors import InvalidTypeError, InvalidValueError, ShapeError
from ..landscape.distance import cosine_similarity
from ..networks.finite.net import Net
from ..networks.functions import hessian
from ..networks.infinite.neti import NetI
from ..networks.statistics import overlaps
from .style import BLUE, ORANGE, picture

#: most students that a legend names
_NAMED = 4
#: height of a label's line in points
_LABEL = 9.5


@picture
def plot_loss(result: Any, *, gradient_norm: bool = True, ax: Any = None) -> Any:
    """Loss and gradient norm along the flow against time, both axes logarithmic.

    Parameters
    ----------
    result : Result or Trajectory
        Times and values that are zero or not positive (rounding of a loss near zero) are left out.
        For a ``Result`` a dotted line marks the loss in the end.
    gradient_norm : bool
        Whether to draw the gradient norm.
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    track = _trajectory(result)
    shown = [("loss", track.loss)] + [("gradient norm", track.gradient_norm)] * as_flag(
        "gradient_norm", gradient_norm
    )
    later = track.t > 0
    drawn = []
    for (label, values), color in zip(shown, (BLUE, ORANGE), strict=False):
        kept = np.where(values > 0, values, np.nan)[later]
        if np.isfinite(kept).any():
            ax.plot(track.t[later], kept, color=color, label=label)
            drawn.append(label)
    final = getattr(result, "loss", None)
    if isinstance(final, float) and final > 0:
        ax.axhline(
            final, color="0.6", linestyle=":", linewidth=0.8, label="loss in the end", zorder=1
        )
    _time_axis(ax, track.t)
    if ax.lines:
        ax.set_yscale("log")
        ax.legend()
    ax.set_ylabel(" and ".join(drawn) or "loss")
    return ax


@picture
def plot_neurons(net: Any, result: Any, *, directions: Any = None, ax: Any = None) -> Any:
    """Paths of the weight vectors of the first hidden layer, with those of the teacher as stars.

    Parameters
    ----------
    net : Net or NetI
        The network that was trained.
    result : Result or Trajectory
        Rings mark the start, dots the end of the flow (for a ``Result`` the point that was found).
    directions : (2, D) array, optional
        The plane to look at. For inputs of dimension 2 the axes; else the two directions in which
        the vectors in the end and those of the teacher are longest (singular vectors).
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    track = _trajectory(result)
    student = _student(net)
    teacher = _teacher_weights(net)
    last = getattr(result, "theta", track.theta[-1])
    points = [*track.theta, last] if np.ndim(last) == 1 else [*track.theta]
    paths = np.array([student.unpack(theta)[0][0] for theta in points])  # (T, K, D)
    plane = _plane(directions, paths[-1] if teacher is None else np.vstack([paths[-1], teacher]))
    flat = paths @ plane.T
    for k, color in enumerate(_colors(flat.shape[1])):
        ax.plot(*flat[:, k].T, color=color, alpha=0.8, linewidth=1.0)
        ax.plot(*flat[0, k], "o", color=color, markerfacecolor="white", markersize=3)
        ax.plot(*flat[-1, k], "o", color=color, label="student" if k == 0 else None)
    if teacher is not None:
        ax.plot(*(teacher @ plane.T).T, "*", color="black", markersize=7, label="teacher", zorder=1)
        ax.legend()
    ax.axhline(0.0, color="0.85", linewidth=0.5, zorder=0)
    ax.axvline(0.0, color="0.85", linewidth=0.5, zorder=0)
    names = (
        ("$w_1$", "$w_2$")
        if directions is None and plane.shape[1] == 2
        else ("direction 1", "direction 2")
    )
    ax.set(xlabel=names[0], ylabel=names[1], aspect="equal", adjustable="datalim")
    return ax


@picture
def plot_overlaps(net: Any, result: Any, *, which: str = "QR", ax: Any = None) -> Any:
    """Overlaps Q (student with student) and R (student with teacher) as a heat map, one row per
    pair, against time. Where the figure is too low for a label on each row, every second one or
    fewer have theirs.

    Parameters
    ----------
    net : NetI
    result : Result or Trajectory
    which : {"QR", "Q", "R"}
        Which overlaps; of Q the upper triangle.
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    which = as_choice("which", which, ("QR", "Q", "R"))
    track = _trajectory(result)
    later = np.flatnonzero(track.t > 0)
    if len(later) < 2:
        raise InvalidValueError(
            "the trajectory has fewer than two points after t = 0; run the flow, or keep more "
            "points."
        )
    found = [overlaps(net, track.theta[k]) for k in later]
    rows, labels, cut = _overlap_rows(found, which)
    limit = float(np.abs(rows).max()) or 1.0
    mesh = ax.pcolormesh(
        track.t[later],
        np.arange(len(rows)),
        rows,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        shading="nearest",
        rasterized=True,
    )
    ax.figure.colorbar(mesh, ax=ax, label="overlap")
    if cut is not None:
        ax.axhline(cut - 0.5, color="black", linewidth=0.8)
    room = 72 * 0.75 * ax.figure.get_figheight()  # points for all labels
    every = max(1, math.ceil(_LABEL * len(rows) / room))
    ax.set(yticks=np.arange(len(rows))[::every], yticklabels=labels[::every])
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    _time_axis(ax, track.t)
    return ax


@picture
def plot_order_parameters(result: Any, *, ax: Any = None) -> Any:
    """Order parameters and generalization error of online learning against time, both axes linear.

    Parameters
    ----------
    result : OnlineResult
        One colour per student: solid its overlaps R with the teachers, dashed its squared length,
        dash-dotted its overlaps Q with students that come after it. The error is black.
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    names = ("t", "Q", "R", "generalization_error")
    if not all(hasattr(result, name) for name in names):
        raise InvalidTypeError(
            f"result is a {type(result).__name__}; an OnlineResult of inf.OrderParameters.solve "
            "is needed."
        )
    if not len(result.t):
        raise InvalidValueError("the result has no points; solve the equations to a later time.")
    colors = _colors(result.Q.shape[1])
    for i, color in enumerate(colors):
        ax.plot(result.t, result.R[:, i], "-", color=color)
        ax.plot(result.t, result.Q[:, i, i], "--", color=color)
        if i + 1 < len(colors):
            ax.plot(result.t, result.Q[:, i, i + 1 :], "-.", color=color, linewidth=0.8)
    ax.plot(result.t, result.generalization_error, color="black", linewidth=1.5)
    ax.axhline(0.0, color="0.85", linewidth=0.5, zorder=0)
    styles = [("-", "0.4", "$R_{in}$"), ("--", "0.4", "$Q_{ii}$"), ("-.", "0.4", "$Q_{ik}$")]
    styles = [each for each in styles if len(colors) > 1 or each[0] != "-."]
    handles = [ax.plot([], [], line, color=color, label=label)[0] for line, color, label in styles]
    handles += ax.plot([], [], color="black", linewidth=1.5, label="generalization error")
    if len(colors) <= _NAMED:
        handles += [
            ax.plot([], [], "s", color=color, label=f"student {i + 1}")[0]
            for i, color in enumerate(colors)
        ]
    # above the picture, since lines fill it
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    ax.set(
        xlabel="steps / dimension $t$",
        ylabel="order parameters",
        xlim=(result.t[0], result.t[-1] or None),
    )
    return ax


@picture
def plot_spectrum(net: Any, result: Any, *, points: int = 40, ax: Any = None) -> Any:
    """Eigenvalues of the Hessian along the flow against time; those that are negative in a second
    colour.

    Parameters
    ----------
    net : Net, NetI or any objective
    result : Result or Trajectory
    points : int
        Points of the trajectory to use; each takes one Hessian and its eigenvalues.
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
        The vertical axis is logarithmic for both signs, linear between -c and c, where c is 1e-6 of
        the largest eigenvalue.
    """
    track = _trajectory(result)
    later = np.flatnonzero(track.t > 0)
    if not len(later):
        raise InvalidValueError("the trajectory has no point after t = 0; run the flow first.")
    number = min(len(later), as_integer("points", points, minimum=1))
    chosen = later[np.unique(np.linspace(0, len(later) - 1, number).astype(int))]
    values = np.array([np.linalg.eigvalsh(hessian(net, track.theta[k])) for k in chosen])
    t = np.repeat(track.t[chosen], values.shape[1])
    flat = values.ravel()
    size = min(2.5, 400.0 / values.shape[1])
    for kept, label, color in ((flat >= 0, "positive", BLUE), (flat < 0, "negative", ORANGE)):
        if kept.any():
            ax.plot(
                t[kept],
                flat[kept],
                ".",
                color=color,
                markersize=size,
                label=label,
                rasterized=flat.size > 5000,
            )
    _both_signs(ax, np.abs(flat).max(), bool((flat < 0).any()))
    ax.axhline(0.0, color="0.6", linewidth=0.5, zorder=0)
    _time_axis(ax, track.t)
    ax.set_ylabel("eigenvalues of the Hessian")
    if (flat < 0).any():
        ax.legend()
    return ax


@picture
def plot_alignment(net: Any, theta: Any, *, ax: Any = None) -> Any:
    """Cosines of the angles between weight vectors of students and teachers as a heat map.

    Parameters
    ----------
    net : NetI
        Students are sorted by the teacher that they are closest to in angle; neurons are counted
        from 1.
    theta : (P,) array or Result
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    teacher = _teacher_weights(net)
    if teacher is None:
        raise InvalidTypeError(
            f"net is a {type(net).__name__}, which has no teacher; an inf.NetI is needed."
        )
    students = _student(net).unpack(getattr(theta, "theta", theta))[0][0]
    cosines = cosine_similarity(students, teacher)
    nearest = np.abs(cosines).argmax(axis=1)
    order = np.lexsort((-np.abs(cosines).max(axis=1), nearest))
    mesh = ax.imshow(cosines[order], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    if cosines.size <= 64:
        for row, k in enumerate(order):
            for m, value in enumerate(cosines[k]):
                color = "white" if abs(value) > 0.6 else "black"
                ax.text(m, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
    ax.figure.colorbar(mesh, ax=ax, label=r"$\cos\angle(w_k, v_m)$")
    ax.set(xlabel="teacher neuron", ylabel="student neuron")
    ax.set(xticks=range(cosines.shape[1]), xticklabels=np.arange(cosines.shape[1]) + 1)
    ax.set(yticks=range(len(order)), yticklabels=order + 1)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


# --------------------------------------------------------------------------------------------------
# helpers


def _trajectory(result: Any) -> Any:
    track = getattr(result, "trajectory", result)
    if not all(hasattr(track, name) for name in ("t", "theta", "loss", "gradient_norm")):
        raise InvalidTypeError(
            f"result is a {type(result).__name__}; a Result of inf.train, or its trajectory, is "
            "needed."
        )
    return track.reached() if hasattr(track, "reached") else track


def _student(net: Any) -> Net:
    if isinstance(net, NetI):
        return net.student
    if isinstance(net, Net):
        return net
    raise InvalidTypeError(f"net is a {type(net).__name__}; an inf.Net or inf.NetI is needed.")


def _teacher_weights(net: Any) -> Array | None:
    units = getattr(net, "teacher_units", None)
    return None if units is None or not len(units.W) else units.W


def _plane(directions: Any, vectors: Array) -> Array:
    """Two directions as rows ``(2, D)``; by default the axes, or the leading right singular vectors
    of ``vectors``.
    """
    D = vectors.shape[1]
    if directions is not None:
        plane = as_real_array("directions", directions)
        if plane.shape != (2, D):
            raise ShapeError(
                f"directions has shape {plane.shape}; (2, {D}) is needed, two directions as rows."
            )
        return plane
    if D == 1:
        raise InvalidValueError(
            "weight vectors of one input lie on a line; a plane needs at least two inputs."
        )
    return np.eye(2) if D == 2 else np.linalg.svd(vectors)[2][:2]


def _overlap_rows(found: list[Any], which: str) -> tuple[Array, list[str], int | None]:
    """Overlaps over time ``(rows, T)``, their labels, and where R begins if Q comes before it."""
    rows: list[Array] = []
    labels: list[str] = []
    K, M = found[0].R.shape
    cut = None
    if "Q" in which:
        Q = np.array([each.Q for each in found])
        pairs = [(i, j) for i in range(K) for j in range(i, K)]
        rows += [Q[:, i, j] for i, j in pairs]
        labels += [f"$Q_{{{i + 1},{j + 1}}}$" for i, j in pairs]
        cut = len(rows)
    if "R" in which:
        R = np.array([each.R for each in found])
        pairs = [(i, j) for i in range(K) for j in range(M)]
        rows += [R[:, i, j] for i, j in pairs]
        labels += [f"$R_{{{i + 1},{j + 1}}}$" for i, j in pairs]
    return np.array(rows), labels, cut if which == "QR" else None


def _colors(number: int) -> list[Any]:
    """Colours of the cycle of the style, as many as are needed, then shades of one map."""
    import matplotlib

    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    if number <= len(cycle):
        return list(cycle[:number])
    return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, number)))


def _time_axis(ax: Any, t: Array) -> None:
    ax.set_xlabel("time $t$")
    if (t > 0).any():
        ax.set_xscale("log")


def _both_signs(ax: Any, largest: float, negative: bool) -> None:
    """A vertical axis that is logarithmic for both signs down to 1e-6 of the largest value, with
    ticks that do not collide.
    """
    top = int(np.ceil(np.log10(largest))) if largest > 0 else 0
    ax.set_yscale("symlog", linthresh=10.0 ** (top - 6), linscale=0.5)
    powers = 10.0 ** np.arange(top - 4, top + 1, 2)
    ax.set_yticks([*(-powers[::-1] if negative else []), 0.0, *powers])
    ax.minorticks_off()
