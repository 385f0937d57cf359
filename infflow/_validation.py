"""Checks of arguments that every public function shares: one clear error at once."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidTypeError, InvalidValueError, ShapeError, UnknownNameError

Array = NDArray[np.float64]


def as_real_array(name: str, value: Any, *, ndim: int | tuple[int, ...] | None = None) -> Array:
    """Convert to a finite C-contiguous float64 array, or raise an error that names ``name``."""
    array = as_real_numbers(name, value)
    if ndim is not None and array.ndim not in ((ndim,) if isinstance(ndim, int) else ndim):
        raise ShapeError(f"{name} has shape {array.shape}; an array of dimension {ndim} is needed.")
    if not is_all_finite(array):
        bad = np.argwhere(~np.isfinite(array))[0]
        raise InvalidValueError(
            f"{name} contains {array[tuple(bad)]} at index {tuple(int(i) for i in bad)} ({int((~np.isfinite(array)).sum())} non-finite in total); all entries must be finite. Remove or impute them."
        )
    return array


def as_real_numbers(name: str, value: Any) -> Array:
    """The same for numbers that may be infinite or NaN."""
    if isinstance(value, (str, bytes)):
        raise InvalidTypeError(f"{name} is a string ({value!r}); an array of real numbers is needed.")
    refuse_masked(name, value)
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows that differ in length
        raise ShapeError(
            f"{name} cannot be made into an array: its rows differ in length. Pass a rectangular array."
        ) from error
    if array.dtype.kind not in "fiub":
        raise InvalidTypeError(
            f"{name} has dtype {array.dtype}; real numbers (float64, float32 or integers) are needed. Convert it first, e.g. with numpy.asarray(..., dtype=float)."
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    if np.ndim(value) == 0 and array.ndim == 1:  # ascontiguousarray makes scalars 1-D
        array = array.reshape(())
    return array


def refuse_masked(name: str, value: Any) -> None:
    """Raise an error where NumPy would take the entries under a mask for numbers."""
    if type(value) is not np.ndarray and _is_masked(value):
        raise InvalidValueError(
            f"{name} is a masked array with masked entries, which would count as numbers. Remove or impute them, e.g. with value.filled(0.0)."
        )


def _is_masked(value: Any) -> bool:
    """Whether an array, or a row of a list of arrays, has masked entries."""
    ma: Any = sys.modules.get("numpy.ma")  # who has a masked array has imported it
    if ma is None:
        return False
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        return any(issubclass(kind, ma.MaskedArray) for kind in kinds) and any(map(ma.is_masked, value))
    return isinstance(value, ma.MaskedArray) and bool(ma.is_masked(value))


def is_all_finite(array: Array) -> bool:
    """Whether all entries of a C-contiguous array are finite; part by part, so that large data need no array of flags."""
    flat, part = array.reshape(-1), 2**16
    return all(np.isfinite(flat[start : start + part]).all() for start in range(0, len(flat), part))


def as_vector(name: str, value: Any, length: int, what: str = "") -> Array:
    """A finite float64 vector of the given length."""
    array = as_real_array(name, value)
    if array.shape != (length,):
        raise ShapeError(f"{name} has shape {array.shape}; ({length},) is needed{': ' + what if what else ''}.")
    return array


def as_number(
    name: str, value: Any, *, minimum: float = -np.inf, strict: bool = False, infinite: bool = False
) -> float:
    """A real number, at least (``strict``: above) ``minimum``; infinity only where ``infinite``."""
    if isinstance(value, bool) or not isinstance(value, (Real, np.floating, np.integer)):
        raise InvalidTypeError(f"{name} is {value!r}; a real number is needed.")
    try:
        number = float(value)
    except OverflowError as error:  # an integer or a fraction
        raise InvalidValueError(
            f"{name} is beyond the range of floating point numbers; at most {np.finfo(np.float64).max:.3g} in size is possible."
        ) from error
    if np.isnan(number) or (np.isinf(number) and not infinite):
        raise InvalidValueError(f"{name} is {number}; a finite number is needed.")
    if number < minimum or (strict and number == minimum):
        raise InvalidValueError(f"{name} is {number:g}; it must be {'above' if strict else 'at least'} {minimum:g}.")
    return number


def as_integer(name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """An integer between ``minimum`` and ``maximum`` (both allowed)."""
    if isinstance(value, bool) or not isinstance(value, (Integral, np.integer)):
        raise InvalidTypeError(f"{name} is {value!r}; an integer is needed.")
    number = int(value)
    if minimum is not None and number < minimum:
        raise InvalidValueError(f"{name} is {_digits(number)}; it must be at least {minimum}.")
    if maximum is not None and number > maximum:
        raise InvalidValueError(f"{name} is {_digits(number)}; it must be at most {maximum}.")
    return number


def _digits(number: int) -> str:
    """All digits; of a number with more than twenty its size, since Python does not print every one."""
    sign, size = "-" * (number < 0), abs(number)
    return str(number) if size < 10**20 else f"about {sign}10^{round(size.bit_length() * np.log10(2))}"


def as_choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of the known names; otherwise an error that suggests the nearest."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name} is {value!r}; one of the names {', '.join(known)} is needed.")
    near = difflib.get_close_matches(value.lower(), known, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownNameError(f"{name} {value!r} is not known.{hint} Known: {', '.join(known)}.")


def as_rng(rng: Any) -> np.random.Generator:
    """A generator from an integer seed or a ``numpy.random.Generator``."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (Integral, np.integer)):
        raise InvalidTypeError(f"rng is {rng!r}; an integer seed or a numpy.random.Generator is needed.")
    if rng < 0:
        raise InvalidValueError(f"rng is {_digits(int(rng))}; a seed must not be negative.")
    return np.random.default_rng(int(rng))
