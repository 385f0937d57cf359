"""Results of online learning in files and in datasets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import Array, package
from .._version import __version__
from ..errors import InvalidTypeError, StorageError
from ..storage import as_path, load_archive, save_archive
from .integration import OnlineStop

if TYPE_CHECKING:
    from .result import OnlineResult

_KIND = "infflow.OnlineResult"
_FORMAT = 2
_ARRAYS = (
    *("t", "Q", "R", "v", "T", "generalization_error"),
    *("Q_groups", "R_groups", "output_errors"),
)
_NUMBERS = {"note": str, "steps": int, "evaluations": int, "jacobians": int, "wall_time": float}
_NUMBERS |= {"fourth_moments": str, "sampling_error": float}


def metadata(result: OnlineResult) -> dict[str, Any]:
    """All but the arrays, in a form that JSON can hold."""
    found: dict[str, Any] = {name: kind(getattr(result, name)) for name, kind in _NUMBERS.items()}
    return {
        "status": result.status.name,
        **found,
        "settings": result.settings,
        "version": __version__,
    }


def save(result: OnlineResult, path: Any) -> None:
    """The work of :meth:`OnlineResult.save`."""
    try:
        json.dumps(result.settings)
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(
            f"settings holds what JSON cannot: {error}. Leave it out, or turn it into numbers, "
            "texts, lists and dictionaries."
        ) from error
    arrays = {name: getattr(result, name) for name in _ARRAYS}
    save_archive(
        as_path("path", path, ".npz"), _KIND, arrays, {"format": _FORMAT, **metadata(result)}
    )


def load(path: Any) -> dict[str, Any]:
    """The fields of a result that :func:`save` wrote; everything is read and checked at once."""
    file = as_path("path", path, ".npz")
    arrays, known = load_archive(file, _KIND)
    if known.get("format") != _FORMAT:
        raise StorageError(
            f"{file} has format {known.get('format')}; this version of infflow reads format "
            f"{_FORMAT}."
        )
    try:
        fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
        fields |= {name: kind(known[name]) for name, kind in _NUMBERS.items()}
        fields |= {"status": OnlineStop[known["status"]], "settings": dict(known["settings"])}
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{file} is damaged: {error!r} is missing or wrong.") from error
    _check(str(file), fields)
    return fields


def _check(file: str, fields: dict[str, Any]) -> None:
    """Shapes fit together, numbers are finite and times increase."""
    dimensions = (len(fields["t"]), *(fields["R"].shape[1:] if fields["R"].ndim == 3 else (0, 0)))
    T, K, M = dimensions
    O = fields["v"].shape[1] if fields["v"].ndim == 3 else 0
    G = fields["Q_groups"].shape[1] if fields["Q_groups"].ndim == 4 else 1
    shapes: dict[str, tuple[int, ...]] = {
        "t": (T,),
        "Q": (T, K, K),
        "R": (T, K, M),
        "v": (T, O, K),
        "T": (M, M),
        "Q_groups": (T, G, K, K),
        "R_groups": (T, G, K, M),
    }
    errors: dict[str, tuple[int, ...]] = {"generalization_error": (T,), "output_errors": (T, O)}
    for name, shape in {**shapes, **errors}.items():
        array: Array = fields[name]
        # errors of simulations that diverge can overflow
        finite = name in errors or bool(np.isfinite(array).all())
        if array.shape != shape or not finite:
            raise StorageError(
                f"{file} is damaged: {name} has shape {array.shape} or is not finite; {shape} is "
                "needed."
            )
    if (np.diff(fields["t"]) <= 0.0).any():
        raise StorageError(f"{file} is damaged: its times do not increase.")


def to_dataset(result: OnlineResult) -> Any:
    """The work of :meth:`OnlineResult.to_xarray`."""
    xarray = package("xarray", "to_xarray", "xarray")
    variables = {
        "Q": (("t", "student", "student_2"), result.Q),
        "R": (("t", "student", "teacher"), result.R),
        "v": (("t", "output", "student"), result.v),
        "T": (("teacher", "teacher_2"), result.T),
        "generalization_error": ("t", result.generalization_error),
        "output_errors": (("t", "output"), result.output_errors),
    }
    if result.Q_groups.shape[1] > 1:
        variables |= {
            "Q_groups": (("t", "group", "student", "student_2"), result.Q_groups),
            "R_groups": (("t", "group", "student", "teacher"), result.R_groups),
        }
    attributes = metadata(result)
    attributes["settings"] = json.dumps(attributes["settings"])
    return xarray.Dataset(variables, coords={"t": result.t}, attrs=attributes)
