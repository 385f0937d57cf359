"""Shared by all studies: settings, claims, results that are saved, and runs that are stored one by
one.
"""

from __future__ import annotations

import io
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from .._validation import as_integer
from .._version import __version__
from ..errors import DivergedError, InvalidTypeError
from ..storage import make_folder, plain, write_atomically, write_json
from ..sweeps.run import sweep

Grid = Mapping[str, Iterable[Any]]


@dataclass(frozen=True)
class StudySetting:
    """Settings of a study; every study has a subclass with its own fields, and defaults that make
    the full run.

    Attributes
    ----------
    seeds : int
        Number of repetitions with other random numbers.
    seed : int
        Base of all random numbers.
    """

    seeds: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        as_integer("seeds", self.seeds, minimum=1)
        as_integer("seed", self.seed, minimum=0)


@dataclass(frozen=True)
class Claim:
    """One sentence, what was measured, and whether it held.

    Attributes
    ----------
    sentence : str
        What is claimed, complete enough to be read alone.
    source : str
        Who claims it: "paper, figure 4", "blog, theorem 1", "letter", "theory", "infflow".
    value : number, str, bool, None, or lists and dictionaries of these
        The measurement.
    held : bool
        Whether the measurement agrees with the sentence. A claim that could not be measured did not
        hold; the note says why.
    note : str
        How it was judged, and why it did not hold.
    """

    sentence: str
    source: str
    value: Any
    held: bool
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.held, (bool, np.bool_)):
            raise InvalidTypeError(f"held is {self.held!r}; True or False is needed.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, None for numbers that are not finite."""
        return {**plain(asdict(self), nan=False), "held": bool(self.held)}


@dataclass
class StudyResult:
    """Base class of the outcomes of studies; subclasses define :meth:`claims`, :meth:`plot`
    and :meth:`table`.

    Attributes
    ----------
    setting : StudySetting
    rows : list of dict
        The runs: settings, columns and arrays by name, see :func:`run_grid`.
    wall_seconds : float
        Duration of the call that made the result; less than that of all runs where a stopped study
        was continued.
    """

    name: ClassVar[str]
    #: endings of the files of its pictures, behind the name of the study
    pictures: ClassVar[tuple[str, ...]] = ("",)
    setting: StudySetting
    rows: list[dict[str, Any]] = field(repr=False)
    wall_seconds: float

    @property
    def run_seconds(self) -> float:
        """Durations of all runs in ``rows``, of earlier calls as well, one after the other."""
        return float(sum(row.get("wall_time", 0.0) for row in self.rows))

    def claims(self) -> list[Claim]:
        """Every claim with what was measured."""
        raise NotImplementedError

    def plot(self, picture: str = "") -> Any:
        """One of the ``pictures``, a matplotlib ``Figure`` (made without pyplot)."""
        raise NotImplementedError

    def table(self) -> str:
        """The numbers of the study's page, in markdown."""
        raise NotImplementedError

    def numbers(self) -> dict[str, Any]:
        """Entries of ``summary.json`` besides settings and claims; by default none."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        return {
            "study": self.name,
            "settings": plain(asdict(self.setting), nan=False),
            "claims": [claim.to_dict() for claim in self.claims()],
            "pictures": [f"{self.name}{picture}.png" for picture in self.pictures],
            "numbers": plain(self.numbers(), nan=False),
            "wall_seconds": self.wall_seconds,
            "run_seconds": self.run_seconds,
            "version": __version__,
            "platform": (
                f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
                f"numpy {np.__version__}"
            ),
        }

    def report(self) -> str:
        """Claims and numbers in markdown, for the study's page."""
        rows = ["| claim | source | measured | held |", "|---|---|---|---|"]
        for claim in self.claims():
            note = f" ({claim.note})" if claim.note else ""
            cells = (
                claim.sentence,
                claim.source,
                f"{_text(claim.value)}{note}",
                "yes" if claim.held else "**no**",
            )
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        seconds = f"{len(self.rows)} runs, {self.run_seconds:.0f} s one after the other."
        return "\n".join([*rows, "", seconds, "", self.table().strip(), ""])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``summary.json``, pictures such as ``NAME.png`` and the text ``NAME.md``, each
        atomically.

        Raises
        ------
        StorageError
            If the folder cannot be made or written.
        """
        path = make_folder(folder)
        for picture in self.pictures:
            content = io.BytesIO()
            self.plot(picture).savefig(content, format="png", dpi=100)
            write_atomically(path / f"{self.name}{picture}.png", content.getvalue())
        write_atomically(path / f"{self.name}.md", self.report().encode())
        write_json(path / "summary.json", self.to_dict())


def run_grid(
    function: Callable[..., Mapping[str, Any]],
    grid: Grid | Iterable[Mapping[str, Any]],
    *,
    folder: Path | None,
    jobs: int,
    progress: bool,
    label: str = "runs",
) -> list[dict[str, Any]]:
    """``function(**settings)`` for all points of a grid; finished ones are stored at once in
    ``folder/LABEL.db``.

    Parameters
    ----------
    function : callable
        At the top of a module (it goes to other processes). Takes numbers, strings, booleans and
        lists of these by keyword; all that decides about its outcome must be among them. Returns
        numbers, strings, booleans and arrays by name. It is executed on one thread. Several
        functions may share a store.
    grid : mapping of name to values, or list of settings
        All combinations, or the listed points.
    folder : Path or None
        None: nothing is kept.
    jobs : int
        Processes; 1: this one; -1: as many as there are cores.
    progress : bool
        Show a bar on a terminal.
    label : str
        Name of the store, without suffix.

    Returns
    -------
    list of dict
        In the order of the grid: settings, what the function returned, and ``wall_time``, the
        seconds that it took.

    Raises
    ------
    DivergedError
        If runs failed; those that did not are stored, and the others are tried again in the next
        call.
    """
    with TemporaryDirectory() as scratch:
        table = sweep(
            function,
            grid,
            Path(scratch if folder is None else folder) / f"{label}.db",
            backend="sequential" if jobs == 1 else "loky",
            n_jobs=jobs,
            retry_failed=True,
            recompute_damaged=True,
            progress=progress,
        )
        if table.failures:
            first = table.failures[0]
            raise DivergedError(
                f"{len(table.failures)} of {len(table)} runs failed, the first with: "
                f"{first['error']}. Start the study again to repeat them."
            )
        return [
            {**_outcome(row), **table.arrays(k), "wall_time": table.details(k)["wall_time"]}
            for k, row in enumerate(table.rows)
        ]


def _outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("status", "error")}


def _text(value: Any) -> str:
    """A measurement for a table cell."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return "-" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return str(value)


def markdown_table(header: str | Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A markdown table; floats with four digits, None and NaN as a dash.

    The header is a list of names, or a text with `` | `` between them.
    """
    names = header.split(" | ") if isinstance(header, str) else list(header)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [
            "-" if x is None or (isinstance(x, float) and math.isnan(x)) else _text(x) for x in row
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
