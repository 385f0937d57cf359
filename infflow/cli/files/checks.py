"""Checks of one value of a configuration: functions of a name and a value that return what is kept
or raise an error.
"""

from __future__ import annotations

from typing import Any

from ..._validation import as_integer, as_real_array, shown
from ...activations import resolve
from ...errors import InfflowError, InvalidTypeError, InvalidValueError
from ...networks.finite.losses import resolve_loss
from ...networks.regularization import MERGE_KEYS
from ...options import Check, number


def loss(name: str, value: Any) -> str:
    """The name of a loss of finite data, with or without parameters."""
    resolve_loss(text(name, value), name)
    return str(value)


def boolean(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} is {shown(value)}; true or false is needed.")
    return value


def text(name: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidTypeError(f"{name} is {shown(value)}; a text in quotes is needed.")
    return value


def texts(name: str, value: Any) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidTypeError(
            f'{name} is {shown(value)}; a list of names is needed, e.g. ["lambda_min"].'
        )
    return value


def table(name: str, value: Any) -> dict[str, Any]:
    """A table, whose keys another check knows."""
    if not isinstance(value, dict):
        raise InvalidTypeError(
            f"{name} is {shown(value)}; a table is needed, e.g. {{step = 0.01}}."
        )
    return value


def dynamics(name: str, value: Any) -> dict[str, Any]:
    """A table with the kind of a dynamics and its arguments."""
    if not isinstance(value, dict):
        raise InvalidTypeError(
            f"{name} is {shown(value)}; a table is needed, e.g. "
            '{kind = "heavy_ball", friction = 0.5}.'
        )
    return value


def array(*ndim: int) -> Check:
    """Nested lists of numbers with one of these depths; 0 is a number."""

    def check(name: str, value: Any) -> Any:
        try:
            return as_real_array(name, value, ndim=ndim).tolist()
        except InfflowError as error:
            wanted = " or ".join(
                ("a number", "a list of numbers", "a list of lists of numbers, all as long")[n]
                for n in ndim
            )
            raise InvalidTypeError(
                f"{name} is {shown(value)}; {wanted} is needed, all finite."
            ) from error

    return check


def widths(name: str, value: Any) -> list[int]:
    """A positive integer, or a list of these."""
    widths = value if isinstance(value, list) else [value]
    if not widths:
        raise InvalidValueError(
            f"{name} is empty; the width of at least one hidden layer is needed."
        )
    return [as_integer(name, width, minimum=1) for width in widths]


def activation(name: str, value: Any) -> Any:
    """A name; or one entry per hidden layer, each a name or a list with a name per neuron."""
    if not isinstance(value, list):
        value = [value]
    for item in value:
        for one in item if isinstance(item, list) else [item]:
            if not isinstance(one, str):
                raise InvalidTypeError(
                    f"{name} holds {shown(one)}; names of activations are needed."
                )
            try:
                resolve(one)
            except InfflowError as error:
                raise InvalidValueError(f"{name}: {error}") from error
    return value


def components(name: str, value: Any) -> list[dict[str, Any]]:
    """Components of a mixture of Gaussians."""
    checks = {"weight": number(0.0, strict=True), "mean": array(1), "covariance": array(2)}
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(item, dict) for item in value)
    ):
        raise InvalidTypeError(
            f"{name} is {shown(value)}; tables [[{name}]] with {', '.join(checks)} are needed."
        )
    for k, item in enumerate(value):
        if item.keys() != checks.keys():
            raise InvalidValueError(
                f"{name}[{k}] has the keys {', '.join(map(str, item))}; {', '.join(checks)} are "
                "needed."
            )
    return [
        {key: check(f"{name}[{k}].{key}", item[key]) for key, check in checks.items()}
        for k, item in enumerate(value)
    ]


def merges(name: str, value: Any) -> list[dict[str, Any]]:
    """One table of layer, pair and lambda, or a list of these; the network knows which layers and
    neurons there are.
    """
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, dict) or item.keys() != set(MERGE_KEYS):
            raise InvalidTypeError(
                f"{name} is {shown(value)}; {{layer = 1, pair = [0, 1], lambda = 0.1}}, or a "
                "list of these, is needed."
            )
    return items
