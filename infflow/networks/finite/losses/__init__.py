"""Losses of finite data, one file for each: value and derivatives with respect to the outputs.

| file | what it holds | who calls it |
|---|---|---|
| `loss.py` | `Loss`, the base class: what a loss gives and says about itself | users, files below |
| `mean_squared_error.py` | squared error | registry |
| `cross_entropy.py` | negative log-likelihood of a softmax | registry |
| `huber.py` | squared error that goes on linearly | registry |

This file holds the registry. Code elsewhere asks a loss what it is (``is_sum_of_squares`` and so
on), never its name.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...._validation import as_choice, counted, shown
from ....errors import InvalidTypeError, InvalidValueError
from .cross_entropy import CrossEntropy
from .huber import Huber
from .loss import Loss
from .mean_squared_error import MeanSquaredError

__all__ = ["LOSSES", "Loss", "resolve_loss"]

#: Name -> class. A class with fields takes their values in parentheses, ``"huber(0.5)"``.
LOSSES: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "cross_entropy": CrossEntropy,
    "huber": Huber,
}


def resolve_loss(loss: Any, name: str = "loss") -> Loss:
    """The loss for a name, a name with numbers in parentheses, or a :class:`Loss`.

    Parameters
    ----------
    loss : str or Loss
    name : str
        What messages call it.

    Raises
    ------
    InfflowError
        A subclass that is also ValueError or TypeError, if it is none of these.
    """
    if isinstance(loss, Loss):
        if not isinstance(getattr(loss, "name", None), str):
            own = type(loss).__name__
            raise InvalidTypeError(
                f"{name} is of class {own}, which has no name; set {own}.name to a text."
            )
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        own = loss.__name__
        raise InvalidTypeError(f"{name} is the class {own}; an object of it is needed, {own}().")
    if not isinstance(loss, str):
        raise InvalidTypeError(
            f"{name} is {shown(loss)}; one of the names {', '.join(LOSSES)} or an inf.Loss is "
            "needed."
        )
    word, bracket, rest = loss.partition("(")
    kind = LOSSES[as_choice(name, word, LOSSES)]
    return kind(*_numbers(name, loss, kind, rest)) if bracket else kind()


def _numbers(name: str, loss: str, kind: type[Loss], rest: str) -> list[float]:
    """The numbers in ``rest``, which follows the opening bracket."""
    # losses of the registry are dataclasses
    parameters = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    word = loss.partition("(")[0]
    if not parameters:
        raise InvalidValueError(f"{name} is {shown(loss)}; {word} has no parameter.")
    needed = f"{counted(len(parameters), 'number')} in parentheses, {word}({', '.join(parameters)})"
    try:
        numbers = [float(part) for part in rest.removesuffix(")").split(",")]
    except ValueError:
        numbers = []
    if not rest.endswith(")") or len(numbers) != len(parameters):
        raise InvalidValueError(f"{name} is {shown(loss)}; {needed}, or the name alone, is needed.")
    return numbers
