"""Settings and options as data: a value has a check, and a sentence that users read.

==================  ==========================================  ==============================
name                what it holds                               who uses it
==================  ==========================================  ==============================
``setting``         a field of a dataclass: default, check,     ``settings.TrainSettings``,
                    sentence and example                        tables of TOML files
``Option``          an option of one method: check, sentence    rows of ``flow/methods.py``
                                                                and ``fixedpoints/methods.py``
``OptionsOf``       all options that were given, with an error  both registries
                    that shows those that are known
``integer`` ...     checks of one value                         all of these
==================  ==========================================  ==============================
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, NamedTuple, NoReturn

from ._names import suggestion
from ._validation import as_choice, as_integer, as_number, shown
from .errors import InvalidTypeError, InvalidValueError, UnknownNameError

#: A function of a name and a value that returns what is kept, or raises an error of infflow.
Check = Callable[[str, Any], Any]


# -- checks of one value --------------------------------------------------------------------------


def integer(minimum: int, maximum: int | None = None) -> Check:
    """An integer of at least ``minimum``."""
    return lambda name, value: as_integer(name, value, minimum=minimum, maximum=maximum)


def number(
    minimum: float = -float("inf"), *, strict: bool = False, infinite: bool = False
) -> Check:
    """A real number, at least or above ``minimum``."""
    return lambda name, value: as_number(
        name, value, minimum=minimum, strict=strict, infinite=infinite
    )


def positive(name: str, value: Any) -> float:
    """A finite number above zero."""
    return as_number(name, value, minimum=0.0, strict=True)


def fraction(name: str, value: Any) -> float:
    """A number in [0, 1), such as the weight of the past in a running mean."""
    found = as_number(name, value, minimum=0.0)
    if found >= 1.0:
        raise InvalidValueError(f"{name} is {found:g}; a number in [0, 1) is needed, e.g. 0.9.")
    return found


def choice(*names: str) -> Check:
    """One of these names."""
    return lambda name, value: as_choice(name, value, names)


# -- fields of settings ---------------------------------------------------------------------------


def setting(default: Any, check: Check, sentence: str, example: Any = None, **more: Any) -> Any:
    """A dataclass field with a check and a sentence.

    Parameters
    ----------
    default : object
        ``MISSING`` makes it one that has to be given.
    check : callable
        Check of a value other than the default None.
    sentence : str
        What it means: a line of the example file, and the beginning of its docstring.
    example : object
        Stands in the example file where the default says nothing.
    **more
        Further facts, kept in the metadata of the field.
    """
    needed = default is MISSING
    metadata = {
        "check": check,
        "sentence": sentence,
        "example": default if example is None else example,
        "needed": needed,
        **more,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=None if needed else default, metadata=metadata)


# -- options of solvers and optimizers ------------------------------------------------------------


class Option(NamedTuple):
    """An option that a method knows."""

    check: Check
    sentence: str


Options = Mapping[str, Option]


@dataclass(frozen=True)
class OptionsOf:
    """The argument of ``train`` that holds options of one kind of method."""

    kind: str  #: "solver"
    argument: str  #: "solver_options"
    example: str  #: "{'step': 0.01}"

    def mapping(self, name: str, value: Any) -> Mapping[str, Any]:
        """A dictionary, whatever its keys."""
        if not isinstance(value, Mapping):
            raise InvalidTypeError(
                f"{name} is {shown(value)}; a dictionary such as {self.example} is needed."
            )
        return value

    def checked(self, method: str, known: Options, given: Any) -> dict[str, Any]:
        """What was given to a method, with every value checked.

        Raises
        ------
        InvalidTypeError, UnknownNameError
            With all options that the method knows, and what they do.
        """
        if given is None:
            return {}
        for key in self.mapping(self.argument, given):
            if key not in known:
                self._raise_unknown(method, key, known)
        return {
            key: known[key].check(f"{self.argument}[{key!r}]", value)
            for key, value in given.items()
        }

    def _raise_unknown(self, method: str, key: Any, known: Options) -> NoReturn:
        if not known:
            raise UnknownNameError(
                f"{self.argument} has {shown(key)}, but {self.kind} {method!r} takes no options."
            )
        of = f"of {self.kind} {method!r}"
        if not isinstance(key, str):
            raise InvalidTypeError(
                f"an option {of} is {shown(key)}; one of the names {', '.join(known)} is needed."
            )
        hint = suggestion("option", key, known)
        rows = "; ".join(f"{name} ({option.sentence})" for name, option in known.items())
        raise UnknownNameError(f"option {shown(key)} {of} is not known.{hint} Known: {rows}.")
