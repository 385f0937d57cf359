"""Checks of arguments that every public function shares: one clear error at once."""

from __future__ import annotations

import functools
import inspect
import math
import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from importlib import import_module
from numbers import Integral, Real
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._names import keyword_hint, suggestion
from .errors import (
    InfflowError,
    InvalidTypeError,
    InvalidValueError,
    MissingPackageError,
    ShapeError,
    UnknownNameError,
)

Array = NDArray[np.float64]
_Function = TypeVar("_Function", bound=Callable[..., Any])

#: with this variable of the environment errors show all lines within this package
LONG_TRACEBACKS = "INFFLOW_LONG_TRACEBACKS"
_PACKAGE = __name__.partition(".")[0]

#: most columns of a data frame that a message names
_COLUMNS = 3
#: advice where an array of other things is given
_CONVERT = "Convert it first, e.g. with numpy.asarray(..., dtype=float)."


# -- calls ----------------------------------------------------------------------------------------


def public(function: _Function) -> _Function:
    """Decorate a public function: arguments that it does not have end in an error that suggests,
    and errors of this package are raised at its level.

    Python's own TypeError for such arguments does not know what is meant. The signature stays as it
    is.
    """
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InfflowError as error:
            if _is_ours(error.__traceback__) and not os.environ.get(LONG_TRACEBACKS):
                error.__traceback__ = None  # the reader's line is what matters
            raise
        except TypeError:
            _raise_unless_bound(name, function, args, kwargs)
            raise

    return call  # type: ignore[return-value]


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether all lines of a traceback are of this package; those of others, such as functions that
    it was given, have to be seen.
    """
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if module.partition(".")[0] != _PACKAGE:
            return False
        traceback = traceback.tb_next
    return True


def _raise_unless_bound(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Raise an error that suggests, where a function does not have these arguments."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        known = [each for each in signature.parameters if each not in ("self", "cls")]
        for keyword in kwargs:
            if keyword not in known:
                raise unknown_keyword(name, keyword, known) from None
        raise InvalidTypeError(f"{name}: {error}. Its arguments are {', '.join(known)}.") from None


def unknown_keyword(name: str, keyword: str, known: Iterable[str]) -> InvalidTypeError:
    """The error for a keyword that a function does not have."""
    known = list(known)
    hint = keyword_hint(keyword, known) or f" Its arguments are {', '.join(known)}."
    return InvalidTypeError(f"{shown(keyword)} is not an argument of {name}.{hint}")


def package(module: str, purpose: str, install: str) -> Any:
    """A module of an optional package.

    Parameters
    ----------
    module : str
        Its full name.
    purpose : str
        What needs it, for the message.
    install : str
        The argument of ``pip install``.

    Raises
    ------
    MissingPackageError
        If it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs {name}, which is not installed: pip install {install}."
        ) from error


def user_level() -> int:
    """The ``stacklevel`` of a warning that points to the first caller outside of this package."""
    frame = sys._getframe(1)
    level = 1
    while (
        frame.f_back is not None
        and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE
    ):
        frame = frame.f_back
        level = level + 1
    return level


# -- what messages show ---------------------------------------------------------------------------


class _Short(reprlib.Repr):
    """Representations of any object, in one short line and without fail."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = 80
        self.maxother = 160
        self.maxlong = 40

    def repr_int(self, x: int, level: int) -> str:
        """All digits, or the size of a number with very many."""
        return _digits(x)

    def repr_instance(self, x: Any, level: int) -> str:
        """One line."""
        return " ".join(super().repr_instance(x, level).split())


_short = _Short()


def shown(value: Any) -> str:
    """A value as messages show it: short, on one line, whatever it is."""
    try:
        return _short.repr(value)
    except Exception:  # a container with a method that fails
        return f"a {type(value).__name__}"


def counted(number: int, noun: str) -> str:
    """``1 neuron``, ``2 neurons``."""
    return f"{number} {noun}" + "s" * (number != 1)


# -- arrays ---------------------------------------------------------------------------------------


def as_real_array(
    name: str, value: Any, *, ndim: int | tuple[int, ...] | None = None, advice: str = _CONVERT
) -> Array:
    """Convert to a finite C-contiguous float64 array, or raise an error that names ``name``.

    ``advice`` is what to do where it is no array of numbers at all.
    """
    array = as_real_numbers(name, value, advice=advice)
    if ndim is not None and array.ndim not in ((ndim,) if isinstance(ndim, int) else ndim):
        raise ShapeError(f"{name} has shape {array.shape}; an array of dimension {ndim} is needed.")
    if not is_all_finite(array):
        bad = np.argwhere(~np.isfinite(array))[0]
        raise InvalidValueError(
            f"{name} contains {array[tuple(bad)]} at index {tuple(int(i) for i in bad)} "
            f"({int((~np.isfinite(array)).sum())} non-finite in total); all entries must be "
            "finite. Remove or impute them."
        )
    return array


def as_real_numbers(name: str, value: Any, *, advice: str = _CONVERT) -> Array:
    """The same for numbers that may be infinite or NaN."""
    if isinstance(value, (str, bytes)):
        raise InvalidTypeError(
            f"{name} is a string ({shown(value)}); an array of real numbers is needed."
        )
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        if array.ndim == 0:
            raise InvalidTypeError(f"{name} is {shown(value)}; real numbers are needed. {advice}")
        columns = _columns_of_text(value)
        if columns is None or columns:
            because = f" because of the columns {columns}" if columns else ""
            raise InvalidTypeError(
                f"{name} has dtype {array.dtype}{because}; real numbers (float64, float32 or "
                f"integers) are needed. {advice}"
            )
        # a data frame of numbers of several types
        array = value.to_numpy(dtype=np.float64, na_value=np.nan)
    scalar = array.ndim == 0
    with np.errstate(over="ignore"):  # numbers of a longer type become infinite
        array = np.ascontiguousarray(array, dtype=np.float64)
    return array.reshape(()) if scalar else array  # ascontiguousarray makes scalars 1-D


def _columns_of_text(frame: Any) -> str | None:
    """Which columns of a data frame are no numbers, for messages; None for anything else."""
    try:
        kinds = dict(frame.dtypes.items())
    except Exception:  # no data frame
        return None
    found = [f"{shown(name)} ({kind})" for name, kind in kinds.items() if _kind(kind) not in "fiub"]
    more = ", ..." * (len(found) > _COLUMNS)
    return f"{', '.join(found[:_COLUMNS])}{more}" * bool(found)


def _kind(dtype: Any) -> str:
    return str(getattr(dtype, "kind", "O"))


def as_array(name: str, value: Any) -> NDArray[Any]:
    """A NumPy array of anything, or an error that says why it can't be made into one."""
    refuse_masked(name, value)
    if type(value).__module__.startswith("scipy.sparse"):
        raise InvalidTypeError(
            f"{name} is a sparse matrix; a dense array is needed. Pass its toarray()."
        )
    if type(value).__name__ == "Result" and hasattr(value, "theta"):
        raise InvalidTypeError(f"{name} is a Result; its parameters are needed. Pass result.theta.")
    try:
        return np.asarray(value)
    except Exception as error:  # NumPy raises, or the object that is converted
        _raise_unconvertible(name, value, error)


def _raise_unconvertible(name: str, value: Any, error: Exception) -> NoReturn:
    parts = [value, *value] if isinstance(value, (list, tuple)) else [value]
    kinds = {type(part).__name__ for part in parts} | {type(error).__name__}
    if any(_needs_gradient(part) for part in parts):
        raise InvalidTypeError(
            f"{name} is a tensor that records gradients; infflow differentiates by itself. Pass "
            "tensor.detach(), or let PyTorch differentiate inf.torch_loss(net)."
        ) from error
    if any("Tracer" in kind for kind in kinds):
        raise InvalidTypeError(
            f"{name} is a tracer, which has no values yet. Call infflow outside of jax.jit, "
            "jax.grad and jax.vmap, or transform inf.jax_loss(net)."
        ) from error
    if isinstance(error, ValueError) and isinstance(value, (list, tuple)):
        raise ShapeError(
            f"{name} cannot be made into an array: its rows differ in length. Pass a rectangular "
            "array."
        ) from error
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    raise InvalidTypeError(
        f"{name} (a {type(value).__name__}) cannot be made into an array: {reason}."
    ) from error


def _needs_gradient(value: Any) -> bool:
    try:
        return value.requires_grad is True
    except Exception:  # anything may be given
        return False


def refuse_masked(name: str, value: Any) -> None:
    """Raise an error where NumPy would take the entries under a mask for numbers."""
    if type(value) is not np.ndarray and _is_masked(value):
        raise InvalidValueError(
            f"{name} is a masked array with masked entries, which would count as numbers. Remove "
            "or impute them, e.g. with value.filled(0.0)."
        )


def _is_masked(value: Any) -> bool:
    """Whether an array, or a row of a list of arrays, has masked entries."""
    ma: Any = sys.modules.get("numpy.ma")  # who has a masked array has imported it
    if ma is None:
        return False
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        return any(issubclass(kind, ma.MaskedArray) for kind in kinds) and any(
            map(ma.is_masked, value)
        )
    return isinstance(value, ma.MaskedArray) and bool(ma.is_masked(value))


def is_all_finite(array: Array) -> bool:
    """Whether all entries of a C-contiguous array are finite; part by part, so that large data need
    no array of flags.
    """
    flat = array.reshape(-1)
    part = 2**16
    return all(np.isfinite(flat[start : start + part]).all() for start in range(0, len(flat), part))


def as_vector(name: str, value: Any, length: int, what: str = "") -> Array:
    """A finite float64 vector of the given length."""
    array = as_real_array(name, value)
    if array.shape != (length,):
        raise ShapeError(
            f"{name} has shape {array.shape}; ({length},) is needed{': ' + what if what else ''}."
        )
    return array


# -- numbers, names and the like ------------------------------------------------------------------


def as_number(
    name: str,
    value: Any,
    *,
    minimum: float = -np.inf,
    maximum: float = np.inf,
    strict: bool = False,
    infinite: bool = False,
) -> float:
    """A real number, at least (``strict``: above) ``minimum``, at most ``maximum``; infinity only
    where ``infinite``.
    """
    if isinstance(value, bool) or not isinstance(value, (Real, np.floating, np.integer)):
        raise InvalidTypeError(f"{name} is {shown(value)}; a real number is needed.")
    try:
        number = float(value)
    except OverflowError as error:  # an integer or a fraction
        raise InvalidValueError(
            f"{name} is beyond the range of floating point numbers; at most "
            f"{np.finfo(np.float64).max:.3g} in size is possible."
        ) from error
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise InvalidValueError(f"{name} is {number}; a finite number is needed.")
    if number < minimum or (strict and number == minimum):
        raise InvalidValueError(
            f"{name} is {number:g}; it must be {'above' if strict else 'at least'} {minimum:g}."
        )
    if number > maximum:
        raise InvalidValueError(f"{name} is {number:g}; it must be at most {maximum:g}.")
    return number


def as_integer(
    name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    """An integer between ``minimum`` and ``maximum`` (both allowed)."""
    if isinstance(value, bool) or not isinstance(value, (Integral, np.integer)):
        raise InvalidTypeError(f"{name} is {shown(value)}; an integer is needed.")
    number = int(value)
    if minimum is not None and number < minimum:
        raise InvalidValueError(f"{name} is {_digits(number)}; it must be at least {minimum}.")
    if maximum is not None and number > maximum:
        raise InvalidValueError(f"{name} is {_digits(number)}; it must be at most {maximum}.")
    return number


def _digits(number: int) -> str:
    """All digits; of a number with more than twenty its size, since Python does not print every
    one.
    """
    sign = "-" * (number < 0)
    size = abs(number)
    return (
        str(number) if size < 10**20 else f"about {sign}10^{round(size.bit_length() * np.log10(2))}"
    )


def as_choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of the known names; otherwise an error that suggests the nearest."""
    known = list(options)
    if not isinstance(value, str):
        raise InvalidTypeError(
            f"{name} is {shown(value)}; one of the names {', '.join(known)} is needed."
        )
    if value in known:
        return value
    hint = suggestion(name, value, known)
    raise UnknownNameError(f"{name} {shown(value)} is not known.{hint} Known: {', '.join(known)}.")


def as_jobs(name: str, value: Any) -> int:
    """A number of processes; -1 stands for all cores, -2 for all but one."""
    number = as_integer(name, value, minimum=-(2**31))
    if number == 0:
        raise InvalidValueError(
            f"{name} is 0; a number of processes is needed, or -1 for all cores."
        )
    return number


def as_flag(name: str, value: Any) -> bool:
    """True or False; nothing else, since a number or a text in its place is a mistake."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidTypeError(f"{name} is {shown(value)}; True or False is needed.")
    return bool(value)


def as_function(name: str, value: Any, what: str = "a function") -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise InvalidTypeError(f"{name} is {shown(value)}; {what} is needed.")
    return value


def as_items(name: str, value: Any, what: str) -> list[Any]:
    """The items of something that has them in an order: no text, set or mapping."""
    unordered = isinstance(value, (str, bytes, Mapping, AbstractSet))
    if unordered or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        raise InvalidTypeError(f"{name} is {shown(value)}; {what} is needed.")
    try:
        return list(value)
    except (MemoryError, OverflowError) as error:
        raise InvalidValueError(
            f"{name} has too many items: {shown(value)}; {what} is needed."
        ) from error
    except Exception as error:  # the object raises
        _raise_unconvertible(name, value, error)


def as_rng(rng: Any) -> np.random.Generator:
    """A generator from an integer seed or a ``numpy.random.Generator``."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (Integral, np.integer)):
        raise InvalidTypeError(
            f"rng is {shown(rng)}; an integer seed or a numpy.random.Generator is needed."
        )
    if rng < 0:
        raise InvalidValueError(f"rng is {_digits(int(rng))}; a seed must not be negative.")
    return np.random.default_rng(int(rng))
