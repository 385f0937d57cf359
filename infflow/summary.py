"""How results show themselves: a short text, and the same as a table in notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple, TypeVar

import numpy as np

_Class = TypeVar("_Class", bound=type)

#: entries of an array that are shown at most, and so many at each end where there are more
_ENTRIES = 36
_EDGE = 3
#: longest line of an array
_WIDTH = 90
#: rows of a table that are shown at most
_ROWS = 12

_CELL = "text-align:left;vertical-align:top;white-space:pre-wrap;padding:0.1em 1em 0.1em 0"


class Summary(NamedTuple):
    """What is worth knowing of an object.

    A class that is decorated by :func:`as_table` or :func:`as_text_and_table` gives it by a method
    ``_summary``.
    """

    title: str
    #: names and values: texts, numbers, or arrays, of which large ones are cut
    rows: list[tuple[str, Any]]
    #: a table below: the heads of its columns, and rows of cells
    columns: tuple[str, ...] = ()
    table: tuple[tuple[Any, ...], ...] = ()


def as_table(shown: _Class) -> _Class:
    """Decorate a class with a ``_summary``: notebooks show it as a table."""
    shown._repr_html_ = html  # type: ignore[attr-defined]
    return shown


def as_text_and_table(shown: _Class) -> _Class:
    """Decorate a class with a ``_summary``: its text is that, and notebooks show it as a table."""
    shown.__repr__ = text  # type: ignore[assignment, method-assign]
    return as_table(shown)


def cut(rows: Iterable[Any]) -> tuple[Any, ...]:
    """The first rows of a table, as many as are shown."""
    return tuple(row for row, _ in zip(rows, range(_ROWS), strict=False))


def written(value: Any) -> str:
    """A number or an array as text: four digits, large arrays without their middle."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        text = np.array2string(
            value, precision=4, threshold=_ENTRIES, edgeitems=_EDGE, max_line_width=_WIDTH
        )
        cutting = value.size > _ENTRIES
        return f"{text}, shape {value.shape}" if cutting else text
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def text(self: Any) -> str:
    """The summary as text, one line a row."""
    found: Summary = self._summary()
    width = max((len(name) for name, _ in found.rows), default=0)
    lines = [found.title]
    for name, value in found.rows:
        indent = "\n" + " " * (width + 4)
        lines.append(f"  {name:<{width}}  {written(value).replace(chr(10), indent)}")
    return "\n".join(lines)


def html(self: Any) -> str:
    """The summary as HTML."""
    found: Summary = self._summary()
    rows = [_cell("th", name) + _cell("td", value) for name, value in found.rows]
    parts = [f"<strong>{escape(found.title)}</strong>", _table(rows)]
    if found.table:
        head = "".join(_cell("th", name) for name in found.columns)
        body = ["".join(_cell("td", cell) for cell in row) for row in found.table]
        parts.append(_table([head, *body]))
    return f"<div>{''.join(parts)}</div>"


def _cell(tag: str, value: Any) -> str:
    font = ";font-family:monospace" * isinstance(value, np.ndarray)  # columns of matrices align
    return f'<{tag} style="{_CELL}{font}">{escape(written(value))}</{tag}>'


def _table(rows: list[str]) -> str:
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
