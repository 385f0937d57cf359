"""A record of the arguments that a network was made from, so that it can be made
again with others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..errors import InvalidTypeError


def recorded(*held: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a constructor leave what it was given as ``self._arguments``, a dictionary by name.

    Parameters
    ----------
    *held
        Arguments that the network holds in a checked form, such as data, and that the record is to
        leave out.
    """

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(init)

        @wraps(init)
        def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            given = signature.bind(self, *args, **kwargs).arguments
            self._arguments = {
                name: value for name, value in given.items() if name not in ("self", *held)
            }

        return constructor

    return decorate


def changed(network: Any, known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor that make ``network`` with changes.

    Parameters
    ----------
    network : object
        With a :func:`recorded` constructor.
    known : dict
        The arguments that the record leaves out.
    changes : dict

    Raises
    ------
    InvalidTypeError
        If the constructor has no argument of that name.
    """
    parameters = inspect.signature(type(network)).parameters.values()
    names = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    unknown = [name for name in changes if name not in names]
    if unknown:
        raise InvalidTypeError(
            f"{type(network).__name__}.replace got {unknown[0]!r}; the arguments of "
            f"{type(network).__name__} are "
            f"{', '.join(names)}."
        )
    return {**network._arguments, **known, **changes}
