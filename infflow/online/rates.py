"""Rates, noise and ridge, constant or as functions of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_items, as_number, as_real_array, shown
from ..errors import InvalidTypeError, InvalidValueError, ShapeError, UnknownNameError


class Rates(NamedTuple):
    """Rates (K,) of the two layers for the squared error without a factor 1/2, label noise, ridge,
    and the weights (O,) of the outputs in the loss.
    """

    w: Array
    v: Array
    noise: float
    ridge: float
    outputs: Array


class _Piece(NamedTuple):
    """One scheduled quantity: its value at a time, and where it jumps."""

    value: Callable[[float], Any]
    jumps: tuple[float, ...]


class Schedule:
    """Rates that change in time.

    Parameters
    ----------
    rates : Rates
        What holds where nothing is scheduled.
    given : dict or None
        Functions of t, or lists of (t, value) for piecewise constant ones, by name.
    factor : float
        By which rates are multiplied.
    """

    NAMES = ("learning_rate", "second_layer_rate", "noise", "ridge", "outputs")

    def __init__(self, rates: Rates, given: Any, factor: float) -> None:
        self.constant = rates
        self._factor = factor
        self._pieces: dict[str, _Piece] = {}
        if given is not None and not isinstance(given, Mapping):
            raise InvalidTypeError(
                f"schedule is {shown(given)}; a dictionary of functions of t, or of lists of (t, "
                f"value), is needed, with the names {', '.join(self.NAMES)}."
            )
        if given is not None and not given:
            raise InvalidValueError("schedule is empty; leave it out.")
        for name, value in (given or {}).items():
            if name not in self.NAMES:
                raise UnknownNameError(
                    f"schedule has the name {shown(name)}. Known: {', '.join(self.NAMES)}."
                )
            self._pieces[name] = _piece(name, value)
        self.at(0.0)  # raises where a value cannot be used
        for jump in self.jumps:
            self.at(jump)

    @property
    def is_constant(self) -> bool:
        """Whether nothing is scheduled."""
        return not self._pieces

    @property
    def names(self) -> tuple[str, ...]:
        """What is scheduled."""
        return tuple(self._pieces)

    @property
    def jumps(self) -> tuple[float, ...]:
        """Times > 0 at which something jumps, ascending."""
        return tuple(sorted({t for piece in self._pieces.values() for t in piece.jumps}))

    def at(self, t: float) -> Rates:
        """The rates at time t.

        Raises
        ------
        InvalidTypeError, InvalidValueError, ShapeError
            If a function of the schedule returns what cannot be used.
        """
        if not self._pieces:
            return self.constant
        found = self.constant._asdict()
        for name, piece in self._pieces.items():
            given = piece.value(t)
            label = f"schedule[{name!r}] at t = {t:g}"
            if name in ("learning_rate", "second_layer_rate"):
                key = "w" if name == "learning_rate" else "v"
                found[key] = self._factor * as_rates(label, given, len(self.constant.w))
            elif name == "outputs":
                found[name] = _vector(label, given, len(self.constant.outputs))
            else:
                found[name] = as_number(label, given, minimum=0.0)
        return Rates(**found)


def as_rates(name: str, value: Any, K: int) -> Array:
    """One rate >= 0 for all neurons, or one for each of K."""
    return _vector(name, value, K)


def _vector(name: str, value: Any, n: int) -> Array:
    if isinstance(value, Real):
        return np.full(n, as_number(name, value, minimum=0.0))
    array = as_real_array(name, value, ndim=(0, 1))
    if array.ndim == 1 and array.shape != (n,):
        raise ShapeError(f"{name} has shape {array.shape}; a number, or {n} of them, is needed.")
    if (array < 0.0).any():
        raise InvalidValueError(f"{name} is {shown(value)}; numbers >= 0 are needed.")
    return np.broadcast_to(array, (n,)).astype(np.float64)


def _piece(name: str, value: Any) -> _Piece:
    if callable(value):
        return _Piece(value, ())
    rows = as_items(f"schedule[{name!r}]", value, "a function of t or a list of (t, value)")
    times = []
    values = []
    for row in rows:
        if not isinstance(row, (list, tuple)) or len(row) != 2:
            raise InvalidTypeError(
                f"schedule[{name!r}] contains {shown(row)}; pairs (t, value) are needed."
            )
        times.append(as_number(f"a time of schedule[{name!r}]", row[0], minimum=0.0))
        values.append(row[1])
    if not times or times[0] != 0.0 or (np.diff(times) <= 0.0).any():
        raise InvalidValueError(
            f"schedule[{name!r}] has the times {times}; they must increase and start at 0."
        )

    def of_time(t: float) -> Any:
        return values[int(np.searchsorted(times, t, side="right")) - 1]

    return _Piece(of_time, tuple(times[1:]))
