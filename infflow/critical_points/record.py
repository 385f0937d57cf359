"""Atlases in files."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from .._version import __version__
from ..channels import Limit
from ..classification.point_kind import PointKind
from ..errors import InvalidValueError, StorageError
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..storage import Shapes, as_path, load_archive, save_archive
from .entries import Entry, students_of
from .links import FarEnd, Link

_KIND = "infflow.Atlas"
_FORMAT = 1
#: whole numbers of an atlas
_COUNTS = ("searches", "converged", "flows", "flows_converged")
#: largest difference of a loss from the file's, relative to it: more means another network
_SAME = 1e-6


class Contents(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    points, links, limits : lists
    counts : dict of int
        Searches and flows, by the names that an atlas has for them.
    exchanges_teachers : bool
        Whether symmetries of the teacher make no difference.
    """

    points: list[Entry]
    links: list[Link]
    limits: list[FarEnd]
    counts: dict[str, int]
    exchanges_teachers: bool


def save(path: Any, contents: Contents, num_params: int) -> None:
    """The work of :meth:`Atlas.save`."""
    points, links, limits, counts, exchanges = contents
    none = np.zeros((0, num_params))
    arrays = {
        "theta": np.vstack([none, *(each.theta for each in points)]),
        "paths": np.vstack([none, *(link.path for link in links)]),
        "limit_coordinates": np.vstack([none, *(far.limit.coordinates for far in limits)]),
    }
    rows = [{name: v for name, v in each.to_dict().items() if name != "theta"} for each in points]
    metadata = {
        "format": _FORMAT,
        "version": __version__,
        "points": rows,
        "links": [{**link.to_dict(), "length": len(link.path)} for link in links],
        "limits": [far.to_dict() for far in limits],
        "exchanges_teachers": exchanges,
        **{name: counts[name] for name in _COUNTS},
    }
    save_archive(as_path("path", path, ".npz"), _KIND, arrays, metadata)


def load(path: Any, net: Net | NetI) -> Contents:
    """What :func:`save` wrote; everything is read and checked at once.

    Raises
    ------
    StorageError
        If the file is missing, damaged, or something else.
    InvalidValueError
        If the points belong to another network.
    """
    file = as_path("path", path, ".npz")
    P = net.num_params
    arrays, known = load_archive(
        file, _KIND, lambda shapes, metadata: _check(str(file), shapes, metadata, P)
    )
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise StorageError(f"{file} is damaged: a number is not finite. Recompute it.")
    try:
        points = [
            _entry(net, theta, values)
            for theta, values in zip(arrays["theta"], known["points"], strict=True)
        ]
        links = _links(arrays["paths"], known["links"], len(points), len(known["limits"]))
        limits = [
            FarEnd(Limit.from_dict(coordinates, values), int(values["flows"]))
            for coordinates, values in zip(
                arrays["limit_coordinates"], known["limits"], strict=True
            )
        ]
        counts = {name: int(known[name]) for name in _COUNTS}
        contents = Contents(points, links, limits, counts, bool(known["exchanges_teachers"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{file} is damaged: {error!r} is missing or wrong.") from error
    _require_same_loss(str(file), net, points)
    return contents


def _check(file: str, shapes: Shapes, metadata: dict[str, Any], P: int) -> None:
    """The format is known, and the points have as many parameters as the network."""
    if metadata.get("format") != _FORMAT:
        raise StorageError(
            f"{file} has format {metadata.get('format')}; this version of infflow reads format "
            f"{_FORMAT}."
        )
    for name in ("theta", "paths", "limit_coordinates"):
        shape = shapes.get(name, ())
        if len(shape) != 2:
            raise StorageError(f"{file} is damaged: {name} is missing or no matrix. Recompute it.")
        if shape[1] != P:
            raise InvalidValueError(
                f"{file} is an atlas of a network with {shape[1]} parameters, and net has {P}. "
                "Pass the network that it was made of."
            )


def _entry(net: Net | NetI, theta: Array, values: dict[str, Any]) -> Entry:
    escape = values["escape"]
    return Entry(
        theta=theta,
        loss=float(values["loss"]),
        gradient_norm=float(values["gradient_norm"]),
        index=int(values["index"]),
        count=int(values["count"]),
        trained=int(values["trained"]),
        kind=PointKind[values["kind"]],
        structure=str(values["structure"]),
        escape=None if escape is None else float(escape),
        function=students_of(net, theta),
    )


def _links(paths: Array, rows: list[dict[str, Any]], points: int, limits: int) -> list[Link]:
    """Links whose paths stand one below the other; numbers of ends are those of what there is."""
    lengths = [int(row["length"]) for row in rows]
    if sum(lengths) != len(paths) or min(lengths, default=1) < 1:
        raise ValueError("the length of a path")
    cuts = np.cumsum(lengths)[:-1]
    found = []
    for row, path in zip(rows, np.split(paths, cuts) if rows else [], strict=True):
        start = _number("start", row["start"], points)
        end = None if row["end"] is None else _number("end", row["end"], points)
        limit = None if row["limit"] is None else _number("limit", row["limit"], limits)
        side = int(row["direction"]), int(row["sign"])
        found.append(Link(start, *side, end, float(row["loss"]), path, limit))
    return found


def _number(name: str, value: Any, size: int) -> int:
    """A number of a point, or of a limit."""
    number = int(value)
    if not 0 <= number < size:
        raise ValueError(f"{name} {number}")
    return number


def _require_same_loss(file: str, net: Net | NetI, points: list[Entry]) -> None:
    """Losses are those of this network; others can have as many parameters."""
    for each in points:
        here = net.evaluate(each.theta, 0).value
        if not abs(here - each.loss) <= _SAME * max(abs(each.loss), _SAME):
            raise InvalidValueError(
                f"{file} has a point of loss {each.loss:.9g}, where net has {here:.9g}. Pass the "
                "network that the atlas was made of."
            )
