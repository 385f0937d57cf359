"""Files that are written whole or not at all, and read without trusting them.

Arrays and one JSON text go into one ``.npz`` archive; nothing is pickled.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._validation import Array, shown
from .errors import InfflowError, InvalidTypeError, InvalidValueError, StorageError
from .interrupts import plain_interrupts
from .memory import physical_memory

_METADATA = "metadata"
_NAMES = "arrays"
Shapes = dict[str, tuple[int, ...]]


def as_path(name: str, path: Any, suffix: str = "") -> Path:
    """A path from a string or path-like object, with ``suffix`` where it has none."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not text or not isinstance(text, str):
        raise InvalidTypeError(f"{name} is {shown(path)}; a file name is needed.")
    try:
        found = Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidValueError(
            f"{name} is {shown(path)}: there is no such user. Give the folder itself."
        ) from error
    if "\0" in text or (suffix and not found.name):
        raise InvalidValueError(
            f"{name} is {shown(path)}; a file name, without null characters, is needed."
        )
    try:
        os.fsencode(text)
        folder = found.is_dir()
    except (OSError, UnicodeError) as error:  # too long, or not in the encoding of the file system
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidValueError(
            f"{name} is {shown(path)}, which cannot be the name of a file: {reason}. Choose "
            "another one."
        ) from error
    if suffix and folder:
        raise InvalidValueError(f"{name} is {shown(path)}, a folder; the name of a file is needed.")
    return found if found.suffix or not suffix else found.with_suffix(suffix)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that other processes see the old content or the new one, never a part of it.

    Raises
    ------
    StorageError
        If the folder does not exist or cannot be written, or the disk is full; what was there
        before is unchanged.
    """
    if not path.parent.is_dir():
        raise StorageError(
            f"cannot write {path}: the folder {path.parent} does not exist. Create it first."
        )
    try:
        _write_and_replace(path, content)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. What was there before is "
            "unchanged; make room or choose another place."
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

    def convert(item: Any) -> Any:
        if isinstance(item, (np.ndarray, np.generic)):
            return item.tolist()
        raise InvalidTypeError(f"{item!r} of type {type(item).__name__} cannot be written as JSON.")

    try:
        text = json.dumps(value, indent=2, default=convert, allow_nan=False)
    except ValueError as error:
        raise InvalidValueError(
            f"cannot write {path}: {error}. Replace infinite and undefined numbers by None."
        ) from error
    write_atomically(Path(path), (text + "\n").encode())


def plain(value: Any, *, nan: bool = True) -> Any:
    """A value in a form that JSON can hold.

    NumPy numbers and arrays become numbers and lists, keys become strings, what JSON does not know
    becomes text. Without ``nan``, numbers that are not finite become None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(each, nan=nan) for key, each in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist(), nan=nan)
    if isinstance(value, (list, tuple)):
        return [plain(each, nan=nan) for each in value]
    if isinstance(value, float) and not nan and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, made if it does not exist; raises StorageError where that is impossible."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {path} cannot be made: {error.strerror}. Choose another one."
        ) from error
    return path


def save_archive(
    path: Path, kind: str, arrays: Mapping[str, Array], metadata: Mapping[str, Any]
) -> None:
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


def load_archive(
    path: Path, kind: str, check: Callable[[Shapes, dict[str, Any]], None] | None = None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read arrays and metadata; the checksums of all members are verified.

    Parameters
    ----------
    path : Path
    kind : str
        What :func:`save_archive` was given.
    check : callable, optional
        Called with the shapes of the arrays and the metadata before any array is unpacked; raises
        an InfflowError where they do not fit together.

    Raises
    ------
    StorageError
        If the file is missing, damaged, or of another kind; the message names the file.
    """
    try:
        with _Archive(path) as archive:
            if _METADATA not in archive.headers:
                raise StorageError(
                    f"{path} was not written by infflow: it has no metadata. Another file is "
                    "needed."
                )
            metadata = _parse(path, archive.read(_METADATA))
            _check_names(path, kind, metadata, archive.headers)
            if check is not None:
                check({name: header.shape for name, header in archive.headers.items()}, metadata)
            return {
                name: archive.read(name) for name in archive.headers if name != _METADATA
            }, metadata
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist. Check the name.") from None
    except InfflowError:
        raise
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} is damaged or not an .npz archive: {error}. Restore or recompute it."
        ) from error


def _check_names(
    path: Path, kind: str, metadata: dict[str, Any], headers: dict[str, _Header]
) -> None:
    """Kind, names and types of the arrays of an archive."""
    if metadata.get("kind") != kind:
        raise StorageError(
            f"{path} holds {metadata.get('kind')!r}; a file of kind {kind!r} is needed."
        )
    missing = set(metadata.pop(_NAMES, ())) - headers.keys()
    if missing:
        raise StorageError(
            f"{path} is damaged: its array {min(missing)!r} is missing. Restore or recompute it."
        )
    for name, header in headers.items():
        if name != _METADATA and header.dtype != np.float64:
            raise StorageError(
                f"{path} is damaged: its array {name!r} has dtype {header.dtype}, not float64."
            )


def read_arrays(
    file: Path | io.BytesIO, check: Callable[[Shapes], None] | None = None
) -> dict[str, Array]:
    """The arrays of an ``.npz`` file, by name; nothing is unpickled.

    Parameters
    ----------
    file : Path or BytesIO
    check : callable, optional
        Called with the shapes of the arrays before any is unpacked; raises an InfflowError where
        they are not as needed.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is anything else, or an array does not have its checksum.
    """
    with _Archive(file) as archive:
        if check is not None:
            check({name: header.shape for name, header in archive.headers.items()})
        return {name: archive.read(name) for name in archive.headers}


class _Header(NamedTuple):
    """What the header of a member says, and its name in the archive."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    member: str


class _Archive:
    """An ``.npz`` file whose headers agree with its directory, which is found out before anything
    is unpacked.

    A context; errors of zipfile, zlib and NumPy leave it as ValueError.
    """

    def __init__(self, file: Path | io.BytesIO) -> None:
        self._file = file
        self.headers: dict[str, _Header] = {}

    def __enter__(self) -> _Archive:
        with _plain_errors():
            self._zip = zipfile.ZipFile(self._file)
        try:
            with _plain_errors():
                self._read_headers()
        except BaseException:
            self._zip.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _read_headers(self) -> None:
        total = 0
        for info in self._zip.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self.headers:
                raise ValueError(f"two of its arrays are called {name!r}")
            self.headers[name] = _read_header(self._zip, info)
            total += info.file_size
        memory = physical_memory()
        if memory is not None and total > memory:
            raise ValueError(
                f"its arrays take {total / 2**30:.3g} GiB, and this machine has a memory of "
                f"{memory / 2**30:.3g} GiB"
            )

    def read(self, name: str) -> Array:
        """One array, after a look at its checksum."""
        with _plain_errors():
            # the whole member first: its checksum, at its end, is verified before the header counts
            content = self._zip.read(self.headers[name].member)
            return np.lib.format.read_array(io.BytesIO(content))


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What damaged bytes raise, a dozen kinds of errors, as ValueError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Header:
    """Shape and type of a member, without its data: the first bytes are unpacked.

    Raises
    ------
    ValueError
        If the size in the directory is not that of such an array.
    """
    with archive.open(info) as member, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns about a header that is no dictionary
        version = np.lib.format.read_magic(member)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(member)
        start = member.tell()
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if start + math.prod(shape) * dtype.itemsize != info.file_size or min(shape, default=0) < 0:
        raise ValueError(
            f"its array {info.filename!r} has the shape {shape} and dtype {dtype} by its header, "
            f"but {info.file_size} bytes by the directory"
        )
    return _Header(shape, dtype, info.filename)


def _parse(path: Path, text: Any) -> dict[str, Any]:
    try:
        metadata = json.loads(str(text))
    except json.JSONDecodeError as error:
        raise StorageError(f"{path} is damaged: its metadata cannot be read ({error}).") from error
    if not isinstance(metadata, dict):
        raise StorageError(f"{path} is damaged: its metadata is no dictionary.")
    return metadata
