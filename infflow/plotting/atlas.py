"""Pictures of atlases of critical points."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import Array, shown
from ..errors import InvalidTypeError
from .style import BLUE, ORANGE, picture

#: points of one index are spread over this part of the distance to the next
_SPREAD = 0.6


@picture
def plot_atlas(atlas: Any, *, ax: Any = None) -> Any:
    """The graph of an atlas: loss against index.

    Parameters
    ----------
    atlas : Atlas
        Of :func:`infflow.atlas`. Points carry their numbers, and are larger the more searches ended
        there; lines go from saddles to where flows end.
    ax : matplotlib Axes, optional
        Made if not given.

    Returns
    -------
    Axes
    """
    if not hasattr(atlas, "points") or not hasattr(atlas, "links"):
        raise InvalidTypeError(f"atlas is {shown(atlas)}; what inf.atlas returns is needed.")
    loss = np.array([each.loss for each in atlas.points])
    index = np.array([each.index for each in atlas.points])
    x = _places(index)
    for start, end in sorted({(k.start, k.end) for k in atlas.links if k.end is not None}):
        ax.plot(x[[start, end]], loss[[start, end]], color="0.6", lw=0.6, zorder=1)
    sizes = np.array([14.0 + 14.0 * np.log1p(k.count + k.trained) for k in atlas.points])
    is_minimum = np.isin(np.arange(len(loss)), atlas.minima)
    kinds = (
        (is_minimum, BLUE, "minimum"),
        (index > 0, ORANGE, "saddle"),
        ((index == 0) & ~is_minimum, "0.5", "unresolved"),
    )
    for chosen, color, label in kinds:
        if chosen.any():
            ax.scatter(
                x[chosen], loss[chosen], s=sizes[chosen], color=color, lw=0, label=label, zorder=2
            )
    for k in range(len(loss)):
        place, side = ((-6, 2), "right") if index[k] == 0 else ((5, 2), "left")  # beside the lines
        ax.annotate(
            str(k), (x[k], loss[k]), xytext=place, textcoords="offset points", ha=side, fontsize=8
        )
    ax.margins(x=0.12)
    ax.set_xlabel("index")
    ax.set_ylabel("loss")
    ax.set_xticks(range(int(index.max(initial=0)) + 1))
    if len(loss):
        ax.legend()
    return ax


def _places(index: Array) -> Array:
    """Index, and beside it where several points have the same: the lowest to the right, so that
    lines from saddles do not pass the others.
    """
    x = index.astype(float)
    for value in np.unique(index):
        own = np.flatnonzero(index == value)
        if len(own) > 1:
            x[own] += _SPREAD * (0.5 - np.arange(len(own)) / (len(own) - 1))
    return x
