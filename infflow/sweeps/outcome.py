"""The work of a worker: one call of the function, and a check that its result can be stored."""

from __future__ import annotations

import math
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import threads
from .._validation import Array, shown
from ..compile_time import running_time
from ..errors import InvalidTypeError, InvalidValueError
from ..result import Result
from ..stopping import StopReason
from .grid import RESERVED

Scalar = bool | int | float | str | None
_NOT_ARRAYS = ("file", "allow_pickle")  # arguments of numpy.savez


@dataclass
class Outcome:
    """Columns and arrays of a run, or its error."""

    columns: dict[str, Scalar] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    result: Result | None = None  #: saved whole, instead of ``arrays``
    wall_time: float = math.nan
    error: str | None = None
    traceback: str | None = None


def execute(
    function: Callable[..., Any], settings: Mapping[str, Any], fixed: Mapping[str, Any]
) -> Outcome:
    """Call ``function`` in this process, on one thread; whatever it raises is part of the outcome.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, also where ``train`` has turned it into a result.
    """
    start = running_time()
    with threads.one_thread(), _Interrupts() as interrupts:
        try:
            value = function(**settings, **fixed)
            interrupts.check(value)
            outcome = _check(value, settings)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever it is, sys.exit too: the other runs go on
            interrupts.check(None)
            outcome = Outcome(
                error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
            )
    outcome.wall_time = running_time() - start
    return outcome


def execute_elsewhere(
    function: Callable[..., Any], settings: Mapping[str, Any], fixed: Mapping[str, Any]
) -> Outcome:
    """As :func:`execute`, in a process whose parent decides what Ctrl-C means."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return execute(function, settings, fixed)


class _Interrupts:
    """Remembers Ctrl-C: a function that catches it returns a result that must not count as that of
    its settings.
    """

    def __enter__(self) -> _Interrupts:
        self._seen = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: Any) -> None:
        self._seen = True
        self._before(number, frame)

    def check(self, value: Any) -> None:
        interrupted = isinstance(value, Result) and value.status is StopReason.INTERRUPTED
        if self._seen or interrupted:
            raise KeyboardInterrupt


def _check(value: Any, settings: Mapping[str, Any]) -> Outcome:
    if isinstance(value, Result):
        return Outcome(_columns_of(value), result=value)
    if not isinstance(value, Mapping):
        raise InvalidTypeError(
            f"the function returned {shown(value)}; a dictionary of numbers, strings and arrays, "
            "or a Result, is needed."
        )
    outcome = Outcome()
    for name, item in value.items():
        if not isinstance(name, str) or not name or name in RESERVED:
            raise InvalidValueError(
                f"the function returned the name {name!r}; a string other than "
                f"{', '.join(RESERVED)} is needed."
            )
        if isinstance(item, np.ndarray) and item.ndim > 0:
            outcome.arrays[name] = _check_array(name, item)
        else:
            outcome.columns[name] = _check_scalar(name, item)
        if name in settings:
            raise InvalidValueError(
                f"the function returned {name!r}, which is the name of a setting. Rename one."
            )
    return outcome


def _check_array(name: str, array: Array) -> Array:
    if array.dtype.hasobject:
        raise InvalidTypeError(
            f"the array {name!r} has dtype {array.dtype}; numbers or fixed-length strings are "
            "needed."
        )
    if name in _NOT_ARRAYS or "/" in name:
        raise InvalidValueError(f"an array cannot be stored under the name {name!r}. Rename it.")
    return array


def _check_scalar(name: str, item: Any) -> Scalar:
    if isinstance(item, (np.ndarray, np.generic)):
        item = item.item()
    if item is None or isinstance(item, (bool, str)):
        return item
    if isinstance(item, (int, float)):
        return int(item) if isinstance(item, int) else float(item)
    raise InvalidTypeError(
        f"the function returned {name!r} of type {type(item).__name__}; a number, a string or an "
        "array is needed."
    )


def _columns_of(result: Result) -> dict[str, Scalar]:
    """Columns of a Result in a table; none that depends on the speed of the machine."""
    return {
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "converged": result.converged,
        "stop_reason": result.status.name,
        "t_flow": float(result.flow.t),
        "flow_steps": int(result.flow.steps),
        "newton_steps": int(result.newton.steps),
    }
