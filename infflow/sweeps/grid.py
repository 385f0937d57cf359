"""The runs of a sweep: one :class:`Run` per point of a grid, identified by a hash of all that
determines it.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._validation import as_integer, as_items, refuse_masked, shown
from ..errors import InvalidTypeError, InvalidValueError

#: how deep settings may be nested, and what integers are smaller than
_DEEPEST = 50
_LARGEST = 10**4000
RESERVED = ("status", "error")  # columns of every table


@dataclass(frozen=True)
class Run:
    """One call of the function."""

    key: str  #: hash of function, settings and fixed arguments, 32 hexadecimal digits
    function: str  #: qualified name
    settings: dict[str, Any]  #: plain Python values
    fixed: dict[str, Any]  #: arguments that all runs share

    @property
    def label(self) -> str:
        """The settings as a person writes them."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


def make_runs(
    function: Callable[..., Any], grid: Any, fixed: Any, slot: int, slots: int
) -> list[Run]:
    """The runs of a slot, in the order of the grid.

    Parameters
    ----------
    function : callable
        Defined at the top of a module.
    grid : dict of name -> list, or list of dicts
        A Cartesian product, the last name varying fastest, or the points themselves.
    fixed : dict or None
        Arguments that all runs share.
    slot, slots : int
        Every run whose position in the grid is ``slot`` modulo ``slots``.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If something cannot be used; the message says where.
    """
    slots = as_integer("slots", slots, minimum=1)
    slot = as_integer("slot", slot, minimum=0, maximum=slots - 1)
    name = qualified_name(function)
    shared = _plain_settings("fixed", {} if fixed is None else fixed)
    runs: dict[str, Run] = {}
    callable_with: set[tuple[str, ...]] = set()
    for where, point in _points(grid):
        settings = _plain_settings(where, point)
        if tuple(settings) not in callable_with:
            _check_call(function, name, where, settings, shared)
            callable_with.add(tuple(settings))
        key = _hash(name, settings, shared)
        if key in runs:
            raise InvalidValueError(
                f"the grid holds the settings {runs[key].label} twice. Remove one."
            )
        runs[key] = Run(key, name, settings, shared)
    return list(runs.values())[slot::slots]


def canonical_json(value: Any) -> str:
    """Plain Python values as text, always the same: sorted keys, shortest numbers that read back
    exactly.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def qualified_name(function: Any) -> str:
    """``module.name`` of a function at the top of a module; a script counts as the module it would
    be imported as.
    """
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    found = sys.modules.get(module or "")
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    if not callable(function) or not module or not name or found is not function:
        raise InvalidTypeError(
            f"function is {shown(function)}; a function defined at the top of a module is "
            "needed, so that other processes "
            "find it and its results can be told from those of others by its name. Write "
            "lambdas, nested "
            "functions and partial functions out as one."
        )
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        module = Path(file).stem if file else module
    return f"{module}.{name}"


def _points(grid: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if isinstance(grid, Mapping):
        axes: dict[Any, list[Any]] = {}
        for name, values in grid.items():
            axes[name] = as_items(
                f"grid[{shown(name)}]", values, f"a list of values, e.g. [{shown(values)}],"
            )
        empty = [name for name, values in axes.items() if not values]
        if not axes or empty:
            raise InvalidValueError(
                f"the grid has no points: {f'grid[{empty[0]!r}]' if empty else 'it'} is empty."
            )
        for values in itertools.product(*axes.values()):
            yield "grid", dict(zip(axes, values, strict=True))
        return
    points = as_items("grid", grid, "a dictionary of lists or a list of dictionaries")
    if not points:
        raise InvalidValueError("the grid has no points: it is empty.")
    for k, point in enumerate(points):
        if not isinstance(point, Mapping):
            raise InvalidTypeError(
                f"grid[{k}] is {shown(point)}; a dictionary of settings is needed."
            )
        yield f"grid[{k}]", point


def _plain_settings(where: str, point: Any) -> dict[str, Any]:
    if not isinstance(point, Mapping):
        raise InvalidTypeError(f"{where} is {shown(point)}; a dictionary of settings is needed.")
    plain = {}
    for name, value in point.items():
        if not isinstance(name, str):
            raise InvalidTypeError(
                f"{where} has the name {shown(name)}; names of settings are strings."
            )
        if name in RESERVED:
            raise InvalidValueError(
                f"{where} has the name {shown(name)}, which is a column of every table. Rename it."
            )
        plain[name] = plain_value(f"the setting {name!r}", value)
    return plain


def plain_value(where: str, value: Any, depth: int = 0) -> Any:
    """A value as JSON gives it back: NumPy numbers become numbers, tuples and arrays become lists.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it has a type that JSON does not know, or is not a number.
    """
    if depth > _DEEPEST:
        raise InvalidValueError(
            f"{where} holds itself, or is nested more than {_DEEPEST} deep, which cannot be stored."
        )
    refuse_masked(where, value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise InvalidValueError(
                f"{where} is {shown(value)}, which has too many digits to be stored."
            )
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise InvalidValueError(
                f"{where} is {shown(value)}, which equals nothing, so that its run is never "
                "found again."
            )
        return float(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufUO":
            raise InvalidTypeError(
                f"{where} is an array of dtype {value.dtype}, which cannot be stored."
            )
        return plain_value(where, value.tolist(), depth)
    if isinstance(value, (list, tuple)):
        return [plain_value(where, item, depth + 1) for item in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: plain_value(where, item, depth + 1) for name, item in value.items()}
    raise InvalidTypeError(
        f"{where} is {shown(value)} of type {type(value).__name__}, which cannot be stored. "
        "Numbers, strings, booleans, "
        "None, and lists and dictionaries of these are needed; give a name or a number from "
        "which the function makes the object."
    )


def _check_call(
    function: Callable[..., Any],
    name: str,
    where: str,
    settings: dict[str, Any],
    fixed: dict[str, Any],
) -> None:
    both = settings.keys() & fixed.keys()
    if both:
        raise InvalidValueError(
            f"{', '.join(sorted(both))} stands both in {where} and in fixed. Remove it from one."
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtin functions do not tell
        return
    try:
        signature.bind(**settings, **fixed)
    except TypeError as error:
        raise InvalidTypeError(
            f"{name} cannot be called with {where}: {error}; it takes {signature}."
        ) from None


def _hash(function: str, settings: dict[str, Any], fixed: dict[str, Any]) -> str:
    text = canonical_json({"function": function, "settings": settings, "fixed": fixed})
    return hashlib.sha256(text.encode()).hexdigest()[:32]
