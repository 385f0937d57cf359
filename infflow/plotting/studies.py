"""Pictures of studies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import shown
from ..errors import InvalidTypeError
from .style import BLUE, ORANGE, picture, sparse_log_ticks

if TYPE_CHECKING:
    from ..studies.finite_vs_infinite.convergence import ConvergenceResult


@picture
def plot_convergence(result: ConvergenceResult, ax: Any = None) -> Any:
    """Mean squared distance to the infinite-data solution against the number of samples, log-log.

    Parameters
    ----------
    result : ConvergenceResult
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.

    Returns
    -------
    Axes
    """
    if not hasattr(result, "mean_squared_distance"):
        raise InvalidTypeError(
            f"result is {shown(result)}; what inf.convergence returns is needed."
        )
    N = result.N
    single = np.array(
        [(run.N, run.squared_distance) for run in result.runs if run.same_basin]
    ).reshape(-1, 2)
    ax.plot(*single.T, ".", color="0.8", markersize=2, label="single runs", zorder=1)
    ax.errorbar(
        N,
        result.mean_squared_distance(),
        result.standard_error(),
        fmt="o",
        color=BLUE,
        label="mean",
        zorder=3,
    )
    fit, _ = result.fit_or_reason()
    if fit is not None:
        low, high = fit.slope_ci
        label = f"fit: slope {fit.slope:.2f} [{low:.2f}, {high:.2f}]"
        ax.plot(N, np.exp(fit.intercept) * N**fit.slope, color=BLUE, label=label)
    ax.plot(
        N,
        result.predicted(),
        "--",
        color=ORANGE,
        label=r"predicted: $\mathrm{tr}(H^+CH^+)/N$",
        zorder=2,
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    sparse_log_ticks(ax.xaxis)
    sparse_log_ticks(ax.yaxis)
    ax.set_xlabel("number of samples $N$")
    ax.set_ylabel(r"$|\theta_N - \theta^*|^2$")
    ax.legend()
    return ax
