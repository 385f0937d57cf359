"""Pictures: each function draws into a matplotlib ``Axes`` in one style and returns it. Where none
is given, it makes a figure of pyplot, which notebooks show.

| file | what it holds | who calls it |
|---|---|---|
| `runs.py` | losses, neurons, overlaps, spectra of runs | users, `result.py`, `online` |
| `integrals.py` | integrals against a parameter | users |
| `atlas.py` | graphs of critical points | users, `critical_points` |
| `branches.py` | branches of critical points | users, `branches` |
| `studies.py` | `plot_convergence` | users |
| `style.py` | colours and sizes | all of them, `studies` |

See Also
--------
Result : its ``plot`` is ``plot_loss``.

Examples
--------
>>> import infflow as inf
>>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
>>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
>>> from matplotlib.figure import Figure
>>> result = inf.train(neti, [0.5, 0.1, 0.8], progress=False)
>>> ax = inf.plotting.plot_loss(result, ax=Figure().subplots())
>>> ax.get_xscale()
'log'
"""

from __future__ import annotations

from .atlas import plot_atlas
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
    "plot_atlas",
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
