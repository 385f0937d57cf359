"""Pictures: each function draws into a matplotlib ``Axes`` (made if none is given) in one style and
returns it.
"""

from __future__ import annotations

from .branches import plot_branch
from .integrals import plot_integral
from .runs import (
    plot_alignment,
    plot_loss,
    plot_neurons,
    plot_order_parameters,
    plot_overlaps,
    plot_spectrum,
)
from .studies import plot_convergence
from .style import STYLE, new_axes, style

__all__ = [
    "STYLE",
    "new_axes",
    "plot_alignment",
    "plot_branch",
    "plot_convergence",
    "plot_integral",
    "plot_loss",
    "plot_neurons",
    "plot_order_parameters",
    "plot_overlaps",
    "plot_spectrum",
    "style",
]
