"""Files that are written whole or not at all, and read without trusting them.

Arrays and one JSON text go into one ``.npz`` archive; nothing is pickled.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._validation import Array, shown
from .errors import InvalidTypeError, InvalidValueError, StorageError
from .interrupts import plain_interrupts

_METADATA, _NAMES = "metadata", "arrays"


def as_path(name: str, path: Any, suffix: str = "") -> Path:
    """A path from a string or path-like object, with ``suffix`` where it has none."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not text or not isinstance(text, str):
        raise InvalidTypeError(f"{name} is {shown(path)}; a file name is needed.")
    try:
        found = Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidValueError(f"{name} is {shown(path)}: there is no such user. Give the folder itself.") from error
    if "\0" in text or (suffix and not found.name):
        raise InvalidValueError(f"{name} is {shown(path)}; a file name, without null characters, is needed.")
    try:
        os.fsencode(text)
        folder = found.is_dir()
    except (OSError, UnicodeError) as error:  # too long, or not in the encoding of the file system
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidValueError(
            f"{name} is {shown(path)}, which cannot be the name of a file: {reason}. Choose another one."
        ) from error
    if suffix and folder:
        raise InvalidValueError(f"{name} is {shown(path)}, a folder; the name of a file is needed.")
    return found if found.suffix or not suffix else found.with_suffix(suffix)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that other processes see the old content or the new one, never a part of it.

    Raises
    ------
    StorageError
        If the folder does not exist or cannot be written, or the disk is full; what was there before is unchanged.
    """
    if not path.parent.is_dir():
        raise StorageError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    try:
        _write_and_replace(path, content)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. What was there before is unchanged; make room or choose another place."
        ) from error


def _write_and_replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)  # mkstemp makes files that only their owner can read
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, atomically; NumPy numbers and arrays become numbers and lists.

    Raises
    ------
    InvalidValueError
        If a number is not finite, which JSON cannot hold.
    """

    def plain(item: Any) -> Any:
        if isinstance(item, (np.ndarray, np.generic)):
            return item.tolist()
        raise InvalidTypeError(f"{item!r} of type {type(item).__name__} cannot be written as JSON.")

    try:
        text = json.dumps(value, indent=2, default=plain, allow_nan=False)
    except ValueError as error:
        raise InvalidValueError(
            f"cannot write {path}: {error}. Replace infinite and undefined numbers by None."
        ) from error
    write_atomically(Path(path), (text + "\n").encode())


def save_archive(path: Path, kind: str, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write named arrays and metadata to ``path`` atomically.

    Parameters
    ----------
    path : Path
        Where to.
    kind : str
        What the file is, checked by :func:`load_archive`.
    arrays : mapping
        Float arrays by name.
    metadata : mapping
        Anything that JSON can hold.
    """
    buffer = io.BytesIO()
    # the names, because a damaged directory can hide members whose checksums are never looked at
    text = json.dumps({"kind": kind, _NAMES: sorted(arrays), **metadata})
    with plain_interrupts():
        np.savez_compressed(buffer, **{_METADATA: np.array(text)}, **dict(arrays))  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def load_archive(path: Path, kind: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read arrays and metadata; the checksums of all members are verified.

    Raises
    ------
    StorageError
        If the file is missing, damaged, or of another kind; the message names the file.
    """
    try:
        members = read_arrays(path)
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist. Check the name.") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is damaged or not an .npz archive: {error}. Restore or recompute it.") from error
    if _METADATA not in members:
        raise StorageError(f"{path} was not written by infflow: it has no metadata. Another file is needed.")
    metadata = _parse(path, members.pop(_METADATA))
    if metadata.get("kind") != kind:
        raise StorageError(f"{path} holds {metadata.get('kind')!r}; a file of kind {kind!r} is needed.")
    missing = set(metadata.pop(_NAMES, ())) - members.keys()
    if missing:
        raise StorageError(f"{path} is damaged: its array {min(missing)!r} is missing. Restore or recompute it.")
    for name, array in members.items():
        if array.dtype != np.float64:
            raise StorageError(f"{path} is damaged: its array {name!r} has dtype {array.dtype}, not float64.")
    return members, metadata


def read_arrays(file: Path | io.BytesIO) -> dict[str, Array]:
    """The arrays of an ``.npz`` file, by name; nothing is unpickled.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is anything else, or an array does not have its checksum.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy"): _read_array(archive, name) for name in archive.namelist()}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds of errors for damaged bytes
        raise ValueError(str(error) or type(error).__name__) from error


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    # the whole member first: its checksum is verified at its end, which must come before NumPy evaluates a header
    return np.lib.format.read_array(io.BytesIO(archive.read(name)))


def _parse(path: Path, text: Any) -> dict[str, Any]:
    try:
        metadata = json.loads(str(text))
    except json.JSONDecodeError as error:
        raise StorageError(f"{path} is damaged: its metadata cannot be read ({error}).") from error
    if not isinstance(metadata, dict):
        raise StorageError(f"{path} is damaged: its metadata is no dictionary.")
    return metadata
