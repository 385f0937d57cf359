"""A function of the user in the place of a solver or an optimizer.

``(theta, gradient, state) -> theta, state`` is one step of any method: ``state`` is what it
remembers, None at first, and nobody but the function looks into it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ._validation import Array, as_choice, as_real_numbers, shown
from .errors import InvalidTypeError, ShapeError
from .free_view import FreeView
from .options import Check

#: (theta (P,), gradient (P,), state) -> theta (P,), state
OwnStep = Callable[[Array, Array, Any], tuple[Any, Any]]

_FORM = "a function (theta, gradient, state) -> theta, state"


def method_or_step(*names: str) -> Check:
    """The check of one of these names, or a function that makes steps."""

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return as_choice(name, value, names)
        if callable(value) and not isinstance(value, type):
            _require_three_arguments(name, value)
            return value
        raise InvalidTypeError(
            f"{name} is {shown(value)}; {_FORM}, or one of the names {_listed(names)} is needed."
        )

    return check


def _require_three_arguments(name: str, function: Callable[..., Any]) -> None:
    """Raise where a call with theta, gradient and state must fail."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions that are not written in Python have none
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise InvalidTypeError(
            f"{name} is a function {signature}, which cannot be called with three arguments "
            f"({error}); {_FORM} is needed."
        ) from None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def name_of(step: Any) -> str:
    """The name of a method as results and files show it: of a function its own."""
    if isinstance(step, str):
        return step
    return f"{getattr(step, '__qualname__', type(step).__qualname__)} (a function)"


def moved(
    step: OwnStep, view: FreeView, z: Array, gradient: Array, state: Any
) -> tuple[Array, Any]:
    """One step in the variables of a solver.

    Parameters
    ----------
    step : callable
        Gets copies of all parameters (P,) and of the gradient (P,) in them, which is zero where a
        parameter is frozen. What it says of frozen ones does not count.
    view : FreeView
        The objective as the solver sees it.
    z, gradient : (n,) array
        The point, and the gradient in its variables.
    state : object
        What the last step returned.

    Returns
    -------
    (n,) array, object
        The new point, perhaps not finite, and the new state.

    Raises
    ------
    InvalidTypeError, ShapeError
        If the function returns something else.
    """
    theta = np.array(view.theta_of(z))
    full = np.zeros_like(theta)
    full[view.free] = gradient / view.scale
    answer = step(theta, full, state)
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise InvalidTypeError(
            f"{name_of(step)} returned {shown(answer)}; the new theta and a state are needed, as "
            "a tuple."
        )
    found = as_real_numbers(f"theta of {name_of(step)}", answer[0])
    if found.shape != theta.shape:
        raise ShapeError(
            f"{name_of(step)} returned a theta of shape {found.shape}; {theta.shape} is needed."
        )
    return view.z_of(found), answer[1]
