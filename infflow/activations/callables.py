"""A user's functions as the kernel of an activation: called one by one, checked, jumps found."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from .._validation import Array, refuse_masked, shown, user_level
from ..errors import AccuracyWarning, InvalidTypeError, InvalidValueError, ShapeError

__all__ = ["CallableKernel"]

_PROBES = np.array(
    [-7.43, -1.27, -0.31, 0.43, 1.07, 2.73, 8.21]
)  # an activation must be defined on the whole line
_PROBE_STEP = 2e-3
# Within this an activation is looked at for NaN, on a grid that meets no round number.
_DEFINED = 40.0
# Within this no function that any neuron can have overflows.
_FINITE = 8.0
_WIDE_PROBES = np.linspace(-_DEFINED, _DEFINED, 159)[1:-1] + 0.0123


class CallableKernel:
    """Calls a user's functions one by one and checks what they return."""

    def __init__(self, name: str, functions: Sequence[Callable[[Array], Any]]) -> None:
        self.labels = [f"activation {name!r}"] + [
            f"derivative {k} of activation {name!r}" for k in range(1, len(functions))
        ]
        for label, function in zip(self.labels, functions, strict=True):
            if not callable(function):
                raise InvalidTypeError(
                    f"The function for {label} is {shown(function)}; a callable is needed."
                )
        self.name = name
        self.functions = [_vectorised(f) for f in functions]

    def __call__(self, x: Array, out: Array) -> None:
        """Values and derivatives; a kernel as :data:`.activation.Kernel` is."""
        if len(out) > len(self.functions):
            raise InvalidValueError(
                f"Derivative {len(self.functions)} of activation {self.name!r} is needed here "
                "but was not given."
                f" Pass it as derivatives[{len(self.functions) - 1}] to "
                "Activation.from_callable, or use Activation.from_sympy."
            )
        for label, function, row in zip(self.labels, self.functions, out, strict=False):
            row[:] = self._evaluate(label, function, x)

    def check_derivatives(self, kinks: Sequence[float]) -> None:
        """Compare each derivative with differences of the function before it; finds wrong signs and
        factors.
        """
        smooth = np.array([all(abs(p - k) > 2 * _PROBE_STEP for k in kinks) for p in _PROBES])
        x = _PROBES[smooth]
        points = x + _PROBE_STEP * np.array([0.0, 1.0, -1.0, 0.5, -0.5])[:, None]
        jets = np.empty((len(self.functions), points.size))
        self(points.ravel(), jets)
        for label, before, given in zip(self.labels[1:], jets[:-1], jets[1:], strict=True):
            y = before.reshape(points.shape)
            coarse = (y[1] - y[2]) / (2 * _PROBE_STEP)
            fine = (y[3] - y[4]) / _PROBE_STEP
            error = np.abs(given[: x.size] - fine)
            allowed = 10 * np.abs(fine - coarse) + 1e-3 * (
                1 + np.abs(fine)
            )  # what differences can tell
            if (error > allowed).any():
                i = int(np.argmax(error - allowed))
                raise InvalidValueError(
                    f"The function for {label} gives {given[i]:.6g} at x = {x[i]:g}, but central "
                    "differences of the"
                    f" function before it give {fine[i]:.6g}. Correct it, or list the kinks of "
                    "the function."
                )

    def check_range(self) -> None:
        """Look for NaN as far out as tables go, and for infinite values next to 0."""
        for label, function in zip(self.labels, self.functions, strict=True):
            with np.errstate(all="ignore"):
                values = self._evaluate(label, function, _WIDE_PROBES)
            bad = np.isinf(values) & (np.abs(_WIDE_PROBES) <= _FINITE)
            if bad.any():
                raise InvalidValueError(
                    f"The function for {label} is infinite at x = {_WIDE_PROBES[bad][0]:g}; it "
                    "must be finite for all real numbers."
                )

    def find_jumps(self, kinks: Sequence[float]) -> list[float]:
        """Places where the function or a derivative that is given jumps beside the kinks that were
        named, to the last bit; warns of them once.

        Where only the slope of differences jumps, the place is not known well enough: the warning
        asks for it.
        """
        found: dict[float, str] = {}
        exact: list[float] = []
        for label, function, width, noise in self._searched():
            for place in _jumps(function, width, noise):
                exactly = width == _NARROW
                place = _sharpened(function, place) if exactly else round(place, 5) + 0.0
                if all(abs(place - known) > _SPACING for known in (*kinks, *found)):
                    found[place] = label
                    exact += [place] if exactly else []
        if found:
            places = sorted(found)
            label = next(iter(found.values()))
            known = len(exact) == len(found)
            effect = "it is taken as one" if known else "integrals would be wrong there"
            warnings.warn(
                f"{label} jumps at x = {places[0]:g}, which is none of the kinks: {effect}. "
                "Name the kinks, Activation.from_callable(..., "
                f"kinks={sorted([*kinks, *places])}).",
                AccuracyWarning,
                stacklevel=user_level(),
            )
        return exact

    def _searched(self) -> Iterator[tuple[str, Callable[[Array], Array], float, float]]:
        """What may jump: label, function, to which width jumps are enclosed, and rounding
        errors.
        """
        for label, function in zip(self.labels, self.functions, strict=True):
            yield label, partial(self._evaluate, label, function), _NARROW, 0.0
        values = self._evaluate(self.labels[0], self.functions[0], _PROBES)
        if len(self.functions) == 1 and values.dtype == np.float64:  # slopes by differences
            noise = 100 * np.finfo(np.float64).eps * float(np.abs(values).max()) / _SLOPE
            yield f"the slope of {self.labels[0]}", self._slope, 4 * _SLOPE, noise

    def _slope(self, x: Array) -> Array:
        f = partial(self._evaluate, self.labels[0], self.functions[0])
        return (f(x + _SLOPE) - f(x - _SLOPE)) / (2 * _SLOPE)

    def _evaluate(self, label: str, function: Callable[[Array], Any], x: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                found = function(x)
                y = np.asarray(found)
        except (TypeError, ValueError) as error:
            raise InvalidTypeError(
                f"The function for {label} failed on an array of shape {x.shape}: {error}. It "
                "must be vectorised"
                " (numpy functions instead of those of math; numpy.where instead of if), or "
                "wrap it in numpy.vectorize."
            ) from error
        except Exception as error:
            error.add_note(
                f"Raised by the function for {label}, called on {x.size} points from "
                f"{x.min(initial=np.inf):.17g} to {x.max(initial=-np.inf):.17g}."
            )
            raise
        refuse_masked(f"what the function for {label} returned", found)
        if y.shape != x.shape:
            raise ShapeError(
                f"The function for {label} returned shape {y.shape} for an input of shape "
                f"{x.shape}; the same shape is needed."
            )
        if y.dtype.kind not in "fiub":
            raise InvalidTypeError(
                f"The function for {label} returned dtype {y.dtype}; real numbers are needed."
            )
        bad = np.isnan(y)
        if bad.any():
            raise InvalidValueError(
                f"The function for {label} returned NaN at x = {x[bad][0]:.17g}; it must be "
                "defined for all real numbers."
            )
        return y


#: where jumps are searched, as many intervals, and the smallest width to which one is enclosed
_RANGE = 10.0
_INTERVALS = 4000
_NARROW = 1e-9
_SPACING = 2 * _RANGE / _INTERVALS
#: half the distance of the points that make a slope
_SLOPE = 1e-6
#: most jumps that are followed
_MOST_JUMPS = 8


def _jumps(function: Callable[[Array], Array], width: float, noise: float) -> list[float]:
    """Where a function jumps: where halving an interval down to ``width`` leaves the difference at
    its ends.
    """
    x = (
        np.linspace(-_RANGE, _RANGE, _INTERVALS + 1) + _SPACING / np.pi
    )  # kinks at round numbers lie inside
    y = function(x)
    change = np.abs(np.diff(y))
    # a smooth function changes about as much in the intervals beside
    beside = np.maximum(np.r_[0.0, change[:-1]], np.r_[change[1:], 0.0])
    size = np.maximum(np.abs(y[1:]), np.abs(y[:-1]))
    candidates = np.flatnonzero((change > 2.0 * beside) & (change > 1e-4 * size + noise))
    candidates = candidates[np.argsort(-change[candidates], kind="stable")[:_MOST_JUMPS]]
    low = x[candidates]
    high = x[candidates + 1]
    left = y[candidates]
    right = y[candidates + 1]
    while candidates.size and (high - low).max() > width:
        middle = (low + high) / 2
        value = function(middle)
        upper = np.abs(right - value) > np.abs(value - left)
        low = np.where(upper, middle, low)
        left = np.where(upper, value, left)
        high = np.where(upper, high, middle)
        right = np.where(upper, right, value)
    kept = np.abs(right - left) > 0.5 * change[candidates]
    return [float(place) for place in ((low + high) / 2)[kept]]


def _sharpened(function: Callable[[Array], Array], place: float) -> float:
    """The place of a jump to the last bit; the nearest short decimal number where it is one."""
    low = place - _NARROW
    high = place + _NARROW
    left, right = function(np.array([low, high]))
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        value = function(np.array([middle]))[0]
        if abs(right - value) > abs(value - left):
            low = middle
            left = value
        else:
            high = middle
            right = value
    short = round(low, 9) + 0.0
    return short if low <= short <= high else low


def _vectorised(function: Any) -> Callable[[Array], Any]:
    """A numba function of scalars becomes a ufunc; everything else is returned as it is."""
    from numba import TypingError, vectorize
    from numba.core.dispatcher import Dispatcher

    if not isinstance(function, Dispatcher):
        return function
    try:
        function(_PROBES)
    except TypingError:
        return vectorize(function.py_func)
    return function
