"""Times at which points are kept, and at which noise is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._validation import Array, as_number, as_real_array
from ..errors import InvalidValueError

#: the shortest run
_SHORTEST = 1e-300
#: times at which the noise of steps is found, for fluctuations
_NOISE_POINTS = 200


def default_times(end: float, num: int) -> Array:
    """``num`` times from 0 to ``end``: one half equidistant, the other logarithmic."""
    even = np.linspace(0.0, end, (num + 3) // 2)
    times = np.union1d(even, np.geomspace(1e-4 * end, end, num - len(even), endpoint=False))
    while len(times) < num:  # some of the two halves are the same
        widest = int(np.diff(times).argmax())
        times = np.insert(times, widest + 1, 0.5 * (times[widest] + times[widest + 1]))
    return times


def kept_times(t_end: Any, t_eval: Any, num: int) -> Array:
    """The times at which points are kept; the last is the end."""
    if t_eval is None:
        if t_end is None:
            raise InvalidValueError(
                "neither t_end nor t_eval is given; say how far to go, in steps over dimension."
            )
        end = as_number("t_end", t_end, minimum=0.0, strict=True)
        if end < _SHORTEST:
            raise InvalidValueError(
                f"t_end is {end:g}, too short for points before it; at least {_SHORTEST:g} is "
                "needed."
            )
        return default_times(end, num)
    times = as_real_array("t_eval", t_eval, ndim=1)
    if not len(times) or times[0] < 0 or (np.diff(times) <= 0).any():
        raise InvalidValueError("t_eval must be increasing times >= 0, at least one.")
    if t_end is not None:
        end = as_number("t_end", t_end, minimum=0.0, strict=True)
        if times[-1] > end:
            raise InvalidValueError(
                f"t_eval ends at {times[-1]:g}, after t_end = {end:g}; leave t_end out."
            )
        times = times if times[-1] == end else np.r_[times, end]
    return times


def noise_times(times: Array, jumps: Sequence[float]) -> Array:
    """Times at which the noise of steps is found: those kept, and both sides of jumps."""
    end = float(times[-1])
    if end == 0.0:
        return times
    inside = np.array([t for t in jumps if t < end])
    parts = [times, inside, np.nextafter(inside, 0.0), [0.0]]
    return np.unique(np.concatenate([*parts, default_times(end, _NOISE_POINTS)]))
