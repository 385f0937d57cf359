"""Files of ``infflow sweep``: a configuration, and a grid over its dotted keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..._validation import shown
from ...errors import ConfigurationError, InfflowError
from ...storage import as_path
from .checks import text
from .config import Configuration, with_absolute_paths, with_changes
from .toml_file import Keys, Problems, TomlFile, dotted

_EXAMPLE = """\
# A sweep of infflow: infflow sweep SWEEP.toml

config = "config.toml"  # relative to this file; or a table [config] with the configuration itself
folder = "out/sweep"  # runs.db with its arrays, and table.csv

# Lists of values for keys of the configuration; all combinations are run.
[grid]
seed = { start = 0, stop = 4 }  # 0, 1, 2, 3; or a list
student.hidden = [2, 3]
student.activation = ["erf", "softplus"]  # the teacher's is the same unless it says otherwise
# data.samples = [1000, 10000]
"""


@dataclass(frozen=True)
class SweepFile:
    """A checked file.

    Attributes
    ----------
    config : dict
        The configuration that all runs share.
    grid : dict
        Dotted key -> list of values.
    folder : str
        For the store and the table.
    """

    config: dict[str, Any]
    grid: dict[str, list[Any]]
    folder: str

    @classmethod
    def load(cls, path: Any) -> SweepFile:
        """Read a TOML file.

        Raises
        ------
        ConfigurationError
            Lists all errors with their lines.
        """
        file = TomlFile(as_path("path", path))
        problems = Problems(file)
        known = ("config", "folder", "grid")
        for key in file.data.keys() - set(known):
            problems.unknown((key,), known)
        for key in ("config", "grid"):
            if key not in file.data:
                problems.add(
                    (key,), f"{key} is missing; it is needed, see 'infflow sweep --example'."
                )
        folder = file.data.get("folder", "out/sweep")
        try:
            text("folder", folder)
        except InfflowError as error:
            problems.add(("folder",), str(error))
        config = _base(file, problems)
        grid = _grid(file.data.get("grid", {}), problems)
        problems.check()
        _check_values(config, grid, problems)
        problems.check()
        return cls(config, {dotted(keys): values for keys, values in grid.items()}, folder)


def example_sweep() -> str:
    """A commented file, for the configuration of :func:`example_configuration`."""
    return _EXAMPLE


def _base(file: TomlFile, problems: Problems) -> dict[str, Any]:
    """The configuration: a table of this file, or another file."""
    given = file.data.get("config")
    if isinstance(given, dict):
        return with_absolute_paths(given, file.path)
    if isinstance(given, str):
        try:
            other = TomlFile(file.path.parent / given)
            table = with_absolute_paths(other.data, other.path)
            Configuration.from_dict(table, Problems(other))
            return table
        except ConfigurationError as error:
            problems.add(("config",), str(error))
    elif given is not None:
        problems.add(
            ("config",), f"config is {shown(given)}; the name of a file or a table is needed."
        )
    return {}


def _grid(given: Any, problems: Problems) -> dict[Keys, list[Any]]:
    if not isinstance(given, dict):
        problems.add(
            ("grid",), f"grid is {shown(given)}; a table [grid] with lists of values is needed."
        )
        return {}
    grid: dict[Keys, list[Any]] = {}
    for keys, value in _leaves(given, ()):
        if isinstance(value, dict):
            value = _range(value)
        if isinstance(value, list) and value:
            grid[keys] = value
        else:
            wanted = "a list of values, or {start = 0, stop = 10}, is needed"
            problems.add(("grid", *keys), f"grid.{dotted(keys)} is {given_text(value)}; {wanted}.")
    if not grid and not problems:
        problems.add(("grid",), "grid is empty; at least one key with a list of values is needed.")
    return grid


def given_text(value: Any) -> str:
    """A value in a message; None stands for a range that is none."""
    return "no range" if value is None else repr(value)


def _leaves(table: dict[str, Any], keys: Keys) -> Iterator[tuple[Keys, Any]]:
    """Keys ``a.b`` written as tables or with a dot in quotes, and their values."""
    for name, value in table.items():
        inner = (*keys, *name.split("."))
        if isinstance(value, dict) and not value.keys() & {"start", "stop", "step"}:
            yield from _leaves(value, inner)
        else:
            yield inner, value


def _range(value: dict[str, Any]) -> list[int] | None:
    numbers = {"start": 0, "step": 1, **value}
    if numbers.keys() != {"start", "stop", "step"} or not all(
        type(number) is int for number in numbers.values()
    ):
        return None
    if numbers["step"] == 0:
        return None
    return list(range(numbers["start"], numbers["stop"], numbers["step"]))


def _check_values(config: dict[str, Any], grid: dict[Keys, list[Any]], problems: Problems) -> None:
    """Every value by itself; then those that need the other keys of the grid, with the first values
    of these.
    """
    first = {dotted(keys): values[0] for keys, values in grid.items()}
    later = []
    for keys, value in ((keys, value) for keys, values in grid.items() for value in values):
        messages = _messages(config, {dotted(keys): value})
        own = [message for message in messages if message.startswith(dotted(keys))]
        for message in own:
            problems.add(("grid", *keys), message)
        if messages and not own:
            later.append((keys, value))
    for keys, value in later if not problems else []:
        for message in _messages(config, {**first, dotted(keys): value}):
            problems.add(("grid", *keys), message)


def _messages(config: dict[str, Any], changes: dict[str, Any]) -> list[str]:
    try:
        Configuration.from_dict(with_changes(config, changes))
    except ConfigurationError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    except InfflowError as error:  # a key that leads through a value
        return [str(error)]
    return []
