"""Checkpoints of a flow: written whole or not at all, and read without trusting them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._validation import Array
from ..errors import InfflowError, StorageError
from ..storage import load_archive, save_archive

#: seconds between two checkpoints, and how many times longer than writing one this is at least
INTERVAL = 10.0
SHARE = 20.0
_KIND = "infflow.Checkpoint"
_FORMAT = 3
_ARRAY = "array:"


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : Path
        Where to.
    identity : dict
        What has to agree for a run to go on from it: arrays, numbers, strings and dictionaries of
        these.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity
        self._next = time.perf_counter() + INTERVAL

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Turn what a wrong state leads to into one clear error."""
        try:
            yield
        except InfflowError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise StorageError(
                f"{self.path} is damaged: {error!r} is missing or wrong. Remove it."
            ) from error

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.perf_counter() >= self._next

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file."""
        begin = time.perf_counter()
        arrays: dict[str, Array] = {}
        plain = _without_arrays({"identity": self._identity, "state": state}, "", arrays)
        save_archive(self.path, _KIND, arrays, {"format": _FORMAT, **plain})
        now = time.perf_counter()
        self._next = now + max(INTERVAL, SHARE * (now - begin))

    def read(self) -> dict[str, Any] | None:
        """The state in the file, or None if there is no file.

        Raises
        ------
        StorageError
            If the file is damaged, something else, or of another problem or other settings.
        """
        if not self.path.exists():
            # found out now, not after the first seconds of the run
            if not self.path.parent.is_dir():
                raise StorageError(
                    f"cannot write {self.path}: the folder {self.path.parent} does not exist. "
                    "Create it first."
                )
            return None
        arrays, metadata = load_archive(self.path, _KIND)
        if metadata.get("format") != _FORMAT:
            raise StorageError(
                f"{self.path} has format {metadata.get('format')}; format {_FORMAT} is needed. "
                "Finish the run with the version of infflow that began it, or remove the file and "
                "begin again."
            )
        with self.checked():
            found = _with_arrays({name: metadata[name] for name in ("identity", "state")}, arrays)
            different = sorted(_differences(self._identity, found["identity"]))
        if different:
            raise StorageError(
                f"{self.path} is the checkpoint of another run: {', '.join(different)} "
                f"{'differs' if len(different) == 1 else 'differ'}. "
                "Remove it, take another name, or repeat the call that wrote it."
            )
        return found["state"]


class SearchFile:
    """The part of a checkpoint that the search of a fixed point adds to that of the flow.

    Parameters
    ----------
    file : Checkpoint
        Of the whole run.
    flow : dict
        State of the flow that has ended.
    saved : dict or None
        What an earlier call has added: ``theta``, ``steps``, ``elapsed``.
    """

    def __init__(
        self, file: Checkpoint, flow: dict[str, Any], saved: dict[str, Any] | None
    ) -> None:
        self._file = file
        self._flow = flow
        self._saved = saved

    def last(self, size: int) -> tuple[Array, int, float] | None:
        """Parameters (P,) that an earlier call had reached, with its steps and seconds; None if it
        had not begun.
        """
        if self._saved is None:
            return None
        with self._file.checked():
            theta = self._saved["theta"]
            steps = int(self._saved["steps"])
            elapsed = float(self._saved["elapsed"])
            if theta.shape != (size,) or not np.isfinite(theta).all():
                raise ValueError("theta of the search")
            return np.array(theta), steps, elapsed

    def due(self) -> bool:
        """Whether it is time to write."""
        return self._file.due()

    def write(self, theta: Array, steps: int, elapsed: float) -> None:
        """Replace the file."""
        self._file.write(
            {**self._flow, "search": {"theta": theta, "steps": steps, "elapsed": elapsed}}
        )


def _without_arrays(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """``value`` with every array moved to ``arrays`` and its name in its place; named tuples become
    dictionaries.
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return _ARRAY + name
    if isinstance(value, tuple):
        value = value._asdict()  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {key: _without_arrays(item, f"{name}/{key}", arrays) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _with_arrays(value: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(value, str) and value.startswith(_ARRAY):
        return arrays[value.removeprefix(_ARRAY)]
    if isinstance(value, dict):
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    return value


def _differences(wanted: Any, found: Any, name: str = "") -> Iterator[str]:
    """Names of the entries that differ; numbers may differ by rounding, which another machine
    changes.
    """
    if isinstance(wanted, dict):
        for key in wanted.keys() | found.keys():
            if (key in wanted) != (key in found):
                yield key
            else:
                yield from _differences(wanted[key], found[key], key)
    elif isinstance(wanted, np.ndarray):
        if np.shape(wanted) != np.shape(found) or not np.allclose(
            wanted, found, rtol=1e-8, atol=1e-12
        ):
            yield name
    elif isinstance(wanted, float) and isinstance(found, float):
        if not (wanted == found or math.isclose(wanted, found, rel_tol=1e-8)):
            yield name
    elif wanted != found:
        yield name
