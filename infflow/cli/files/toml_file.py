"""TOML files with the line of every key, and errors that are collected and raised at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..._names import keyword_hint
from ..._validation import counted
from ...errors import ConfigurationError

Keys = tuple[str | int, ...]  #: path to a value: keys of tables, numbers in arrays of tables


class TomlFile:
    """A file that was read.

    Attributes
    ----------
    name : str
        As the user wrote it.
    data : dict
        What it says.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or is not TOML; the message names the line.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigurationError(f"{path} does not exist. Check the name.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from error
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path} is not TOML: {error}.") from error
        except (
            RecursionError,
            ValueError,
        ) as error:  # lists in lists, or integers, beyond what Python reads
            raise ConfigurationError(f"{path} cannot be read: {error}.") from error
        self._lines = lines_of_keys(text)

    def line(self, keys: Keys) -> int | None:
        """Line of a key, or of the innermost table around it that has one; None if there is
        none.
        """
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys)


def lines_of_keys(text: str) -> dict[Keys, int]:
    """The line, from 1, on which every key of a TOML text stands.

    A statement is the smallest number of lines that is TOML by itself, so that strings and arrays
    of many lines need no rules of their own.
    """
    lines: dict[Keys, int] = {}
    counts: dict[Keys, int] = {}  # how often each array of tables has occurred
    table: Keys = ()
    statement = ""
    start = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not statement:
            start = number
        statement += line
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _table_of(parsed, statement, counts)
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], start)
        else:
            for keys in _paths(parsed):
                lines.setdefault((*table, *keys), start)
        statement = ""
    return lines


def _table_of(parsed: dict[str, Any], statement: str, counts: dict[Keys, int]) -> Keys:
    """The path that ``[a.b]`` or ``[[a.b]]`` opens, with the numbers of the last elements of arrays
    on its way.
    """
    keys: Keys = ()
    inner: Any = parsed
    is_array = statement.lstrip().startswith("[[")
    while isinstance(inner, dict) and inner:
        ((name, inner),) = inner.items()
        keys = (*keys, name)
        if isinstance(inner, list):  # the last key of [[a.b]]
            break
        if keys in counts:
            keys = (*keys, counts[keys])
    if is_array:
        counts[keys] = counts.get(keys, -1) + 1
        keys = (*keys, counts[keys])
    return keys


def _paths(value: Any) -> Iterable[Keys]:
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        items = enumerate(value)
    for key, inner in items:
        yield (key,)
        yield from ((key, *rest) for rest in _paths(inner))


class Problems:
    """Errors of a file, or of settings that come from elsewhere."""

    def __init__(self, source: TomlFile | str, prefix: Keys = ()) -> None:
        self._source = source
        self._prefix = prefix
        self._found: dict[str, int] = {}

    def add(self, keys: Keys, message: str) -> None:
        """An error of the value at ``keys``."""
        line = (
            self._source.line((*self._prefix, *keys))
            if isinstance(self._source, TomlFile)
            else None
        )
        self._found.setdefault(message if line is None else f"line {line}: {message}", line or 0)

    def unknown(self, keys: Keys, known: Iterable[str]) -> None:
        """The last of ``keys`` is none of ``known``."""
        options = list(known)
        key = str(keys[-1])
        where = dotted(keys[:-1])
        hint = keyword_hint(key, options) or f" Known: {', '.join(options)}."
        self.add(keys, f"{dotted(keys)} is not known{f' in [{where}]' if where else ''}.{hint}")

    def __bool__(self) -> bool:
        return bool(self._found)

    def check(self) -> None:
        """Raise all of them as one error, in the order of the lines."""
        if self._found:
            name = self._source.name if isinstance(self._source, TomlFile) else self._source
            texts = sorted(self._found, key=lambda text: self._found[text])
            raise ConfigurationError(
                f"{name} has {counted(len(texts), 'error')}:\n"
                + "\n".join(f"  {text}" for text in texts)
            )


def dotted(keys: Keys) -> str:
    """A path as it is written: ``a.b[0].c``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + "}"
    return repr(value)
