"""Pictures of branches of critical points."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import Array, shown
from ..errors import InvalidTypeError
from .style import BLUE, ORANGE, picture

_MARKERS = {"fold": "s", "branch point": "o"}


@picture
def plot_branch(branch: Any, *, ax: Any = None) -> Any:
    """The loss of a branch against its parameter.

    Parameters
    ----------
    branch : Branch
        Of :func:`infflow.continuation`. Minima are drawn solid, saddles dashed; squares mark folds
        and circles branch points.
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    if not hasattr(branch, "parameter") or not hasattr(branch, "events"):
        raise InvalidTypeError(
            f"branch is {shown(branch)}; what inf.continuation returns is needed."
        )
    is_minimum = branch.index == 0
    for part in _runs(is_minimum):
        stable = bool(is_minimum[part[0]])
        ax.plot(
            *_with_ends(branch, part),
            color=BLUE if stable else ORANGE,
            linestyle="-" if stable else "--",
            label="minimum" if stable else "saddle",
        )
    for event in branch.events:
        if event.kind in _MARKERS:
            ax.plot(
                event.parameter,
                event.loss,
                _MARKERS[event.kind],
                color="black",
                markersize=4.0,
                label=event.kind,
            )
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    ax.legend(unique.values(), unique.keys())
    ax.set_xlabel("parameter")
    ax.set_ylabel("loss")
    return ax


def _with_ends(branch: Any, part: Array) -> tuple[Array, Array]:
    """Parameter and loss of neighbouring points, up to the events before and after them."""
    x = branch.parameter[part]
    y = branch.loss[part]
    for event in branch.events:
        if event.kind in _MARKERS and event.position == part[-1]:
            x = np.append(x, event.parameter)
            y = np.append(y, event.loss)
        if event.kind in _MARKERS and event.position == part[0] - 1:
            x = np.insert(x, 0, event.parameter)
            y = np.insert(y, 0, event.loss)
    return x, y


def _runs(flags: Any) -> list[Array]:
    """Indices of neighbouring points with equal flags."""
    cuts = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    return np.split(np.arange(len(flags)), cuts)
