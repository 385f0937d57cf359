"""From points that were reached to the ``OnlineResult`` that says what they mean."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..compile_time import running_time
from .equations.right_hand_side import Equations
from .integration import Path
from .rates import Schedule
from .result import OnlineResult

#: the kind of fourth moments that simulations have
SIMULATION = "simulation"


class Run(NamedTuple):
    """What came out of one run.

    Attributes
    ----------
    path : Path
        Times and points (T, n), steps, and why it ended.
    wall_time : float
        Seconds that were used.
    fourth : str
        How fourth moments were evaluated; ``SIMULATION`` where there were none.
    max_time : float
        Seconds that were allowed: standard errors of samples take what is left.
    """

    path: Path
    wall_time: float
    fourth: str
    max_time: float = math.inf


def result_of(
    run: Run, equations: Equations, schedule: Schedule, T: Array, settings: dict[str, Any]
) -> OnlineResult:
    """Order parameters and errors at all points.

    Parameters
    ----------
    T : (M, M) array
        Covariance of the teacher's pre-activations.
    settings : dict
        What a file of the result says of the equations.
    """
    t, z = run.path.t, run.path.z
    counts = (0, 0)
    if run.fourth != SIMULATION:
        counts = (equations.evaluations, equations.jacobians)
    sampled = []
    if run.fourth == "sampling":
        sampled = _sampling_errors(run, equations, schedule)
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.array([equations.output_errors(point) for point in z])
    errors = errors.reshape(len(z), equations.coordinates.O)
    Q, R, v = equations.coordinates.grouped(z)
    values = equations.eigenvalues
    return OnlineResult(
        t,
        np.einsum("g,tgij->tij", values, Q),
        np.einsum("g,tgij->tij", values, R),
        v,
        T,
        errors.sum(axis=1),
        run.path.status,
        run.path.note,
        run.path.steps,
        *counts,
        run.wall_time,
        run.fourth,
        max(sampled, default=0.0),
        settings,
        Q,
        R,
        errors,
    )


def _sampling_errors(run: Run, equations: Equations, schedule: Schedule) -> list[float]:
    """Standard errors from the last point back, as many as the time allows but at least one."""
    until = running_time() + run.max_time - run.wall_time
    found = []
    for time, point in zip(run.path.t[::-1], run.path.z[::-1], strict=True):
        equations.rates = schedule.at(float(time))
        found.append(equations.fourth_error(point))
        if running_time() >= until:
            break
    return found
