"""Surrogates as files: weights in ``NAME.npz``, a card in ``NAME.json``, read without trusting
them.

The archive holds what evaluation needs (weights, settings, domain, values of the activation by
which it is recognised) and no pickles. The card repeats that for people, adds how the surrogate was
trained and how large its errors are, and carries the checksum of the archive.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import Array, shown
from ..._version import __version__
from ...activations import Activation
from ...errors import InvalidTypeError, InvalidValueError, MethodError, StorageError
from ...storage import as_path, load_archive, save_archive, write_json
from .form import SurrogateForm

#: Raised when the meaning of the arrays or of the card changes.
FORMAT = 1
#: Environment variable with the folder of a user's own surrogates, searched before the shipped
#: ones.
VARIABLE = "INFFLOW_SURROGATES"

_KIND = "infflow.surrogate"
#: names beyond this are none of a file
_LONGEST = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: Points at which an activation is compared with that of the training.
_PROBES = np.array([-7.5, -2.25, -0.75, -0.125, 0.0, 0.375, 1.5, 3.25, 9.0])
#: Entries of a card about errors at held-out points and of networks.
_QUANTITIES = ("value", "gradient", "hessian")
_STATISTICS = {"errors": ("median", "99%", "maximum"), "networks": ("median", "maximum")}
_TRAIN = "`infflow surrogates train`"


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A surrogate as it was read: its potential, its card, its domain, and where it came from.

    Attributes
    ----------
    form : SurrogateForm
        The potential and its derivatives.
    card : dict
        What ``NAME.json`` says.
    r_min, r_max : float
        Standard deviations r1, r2 for which it was trained; all correlations from -1 to 1.
    path : Path
        The archive.
    """

    form: SurrogateForm
    card: dict[str, Any]
    r_min: float
    r_max: float
    path: Path

    @property
    def name(self) -> str:
        """Name of the activation."""
        return self.form.activation

    @property
    def parameters(self) -> int:
        """Number of numbers that it consists of."""
        return int(sum(np.size(array) for array in self.form.arrays.values()))

    def largest_error(self, what: str) -> float:
        """Largest error of "value", "gradient" or "hessian" on the held-out points of the card; NaN
        without a card.
        """
        return float(self.card["errors"][what]["maximum"]) if self.card else float("nan")

    def __call__(self, r1: Any, r2: Any, u: Any) -> Any:
        """The potential, an approximation of E[f(r1 x) f(r2 y)]; arguments broadcast and are not
        checked against the domain.
        """
        points = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64) for value in (r1, r2, u))
        )
        value = self.form.potential(*(np.ravel(point) for point in points)).reshape(points[0].shape)
        return float(value) if value.ndim == 0 else value

    def __repr__(self) -> str:
        return f"Surrogate({self.name!r}, {self.r_min:g} <= r <= {self.r_max:g}, {self.path})"


# --------------------------------------------------------------------------------------------------
# folders


def shipped_folder() -> Path:
    """The folder of the shipped surrogates: in the installed package, or beside it in a
    checkout.
    """
    package = Path(__file__).resolve().parents[2]
    installed = package / "_surrogates"
    return installed if installed.is_dir() else package.parent / "surrogates"


def folders(surrogates_dir: Any = None) -> list[Path]:
    """Where surrogates are searched: the folder given, or the one of the environment variable, then
    the shipped one.

    Raises
    ------
    StorageError
        If the folder does not exist.
    """
    own = surrogates_dir if surrogates_dir is not None else os.environ.get(VARIABLE) or None
    if own is None:
        return [shipped_folder()]
    name = (
        "surrogates_dir" if surrogates_dir is not None else f"the environment variable {VARIABLE}"
    )
    folder = as_path(name, own)
    if not folder.is_dir():
        raise StorageError(
            f"{name} is {str(folder)!r}, which is no folder. Create it, or correct the name."
        )
    return [folder, shipped_folder()]


def names(surrogates_dir: Any = None) -> tuple[str, ...]:
    """Names of all surrogates that are found, sorted."""
    paths = (path for folder in folders(surrogates_dir) for path in folder.glob("*.npz"))
    found = {
        path.stem for path in paths if _NAME.fullmatch(path.stem)
    }  # hidden files are checkpoints
    return tuple(sorted(found))


def locate(name: str, surrogates_dir: Any = None) -> Path | None:
    """The archive of a name, or None."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"name is {shown(name)}; the name of an activation is needed.")
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        return None
    paths = (folder / f"{name}.npz" for folder in folders(surrogates_dir))
    return next(
        (path for path in paths if path.exists() or path.with_suffix(".json").exists()), None
    )


def nothing_for(name: str, surrogates_dir: Any = None) -> MethodError:
    """The error for an activation without a surrogate."""
    where = " and ".join(str(folder) for folder in folders(surrogates_dir))
    known = ", ".join(names(surrogates_dir)) or "none"
    return MethodError(
        f"there is no surrogate for the activation {name!r} in {where} (found: {known}). "
        f"Train one with {_TRAIN}, or use method='auto', which is exact."
    )


# --------------------------------------------------------------------------------------------------
# reading


def load(name: str, surrogates_dir: Any = None) -> Surrogate:
    """The surrogate of a name, checked; kept until its files change.

    Raises
    ------
    MethodError
        If there is none.
    StorageError
        If a file is missing, truncated, altered, or of another format.
    """
    path = locate(name, surrogates_dir)
    if path is None:
        raise nothing_for(name, surrogates_dir)
    return _load(path, *(_stamp(each) for each in (path, path.with_suffix(".json"))))


def find(activation: Activation, surrogates_dir: Any = None) -> Surrogate | None:
    """The surrogate of an activation, or None; another function of the same name has none.

    Raises
    ------
    StorageError
        If there are files, but they cannot be used.
    """
    path = locate(activation.name, surrogates_dir)
    if path is None:
        return None
    found = load(activation.name, surrogates_dir)
    wanted = np.asarray(found.card["activation_values"], dtype=np.float64)
    return found if np.allclose(_values(activation), wanted, rtol=1e-12, atol=1e-14) else None


def _stamp(path: Path) -> tuple[int, int]:
    """Numbers that change when a file is replaced."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _load(path: Path, archive_stamp: tuple[int, int], card_stamp: tuple[int, int]) -> Surrogate:
    card = _read_card(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read ({error.strerror}), but its card is there. {_remedy(path)}"
        ) from None
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise StorageError(
            f"{path} is truncated or was altered: its checksum is not the one on the card "
            f"{path.with_suffix('.json')}. {_remedy(path)}"
        )
    arrays, inside = load_archive(path, _KIND)
    for key in ("format", "activation", "domain", "settings", "activation_values"):
        if inside.get(key) != card.get(key):
            raise StorageError(
                f"the card {path.with_suffix('.json')} was altered: its {key!r} is not that of "
                f"{path.name}. {_remedy(path)}"
            )
    low, high = card["domain"]["r"]
    return Surrogate(
        SurrogateForm(card["activation"], arrays, inside["settings"]),
        card,
        float(low),
        float(high),
        path,
    )


def _read_card(path: Path) -> dict[str, Any]:
    place = path.with_suffix(".json")
    try:
        card = json.loads(place.read_text())
    except FileNotFoundError:
        raise StorageError(f"the card {place} of {path.name} is missing. {_remedy(path)}") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"the card {place} cannot be read: {error}. {_remedy(path)}") from error
    if not isinstance(card, dict) or card.get("kind") != _KIND:
        raise StorageError(f"{place} is not the card of a surrogate. {_remedy(path)}")
    if card.get("format") != FORMAT:
        raise StorageError(
            f"{place} has format {card.get('format')!r}, written by infflow "
            f"{card.get('infflow')}; infflow {__version__} reads "
            f"format {FORMAT}. Train it again with {_TRAIN} {path.stem}."
        )
    missing = [
        key
        for key in ("sha256", "activation", "domain", "activation_values", *_STATISTICS)
        if key not in card
    ]
    if missing:
        raise StorageError(f"the card {place} has no {missing[0]!r}. {_remedy(path)}")
    for key, statistics in _STATISTICS.items():
        for quantity, statistic in product(_QUANTITIES, statistics):
            if not _is_error(card[key], quantity, statistic):
                raise StorageError(
                    f"the card {place} has no number for {statistic!r} of {quantity!r} in "
                    f"{key!r}. {_remedy(path)}"
                )
    return card


def _is_error(table: Any, quantity: str, statistic: str) -> bool:
    """Whether a table of the card has a finite, non-negative number there."""
    try:
        value = table[quantity][statistic]
    except (KeyError, TypeError, IndexError):
        return False
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0.0 <= value < float("inf")
    )


def _remedy(path: Path) -> str:
    if path.parent == shipped_folder():
        return "Install infflow again."
    return (
        f"Restore both files from a copy, or train the surrogate again with {_TRAIN} {path.stem}."
    )


# --------------------------------------------------------------------------------------------------
# writing


def write(
    form: SurrogateForm,
    activation: Activation,
    domain: tuple[float, float],
    card: dict[str, Any],
    folder: Any,
) -> Path:
    """Write archive and card, each atomically, the card last.

    Parameters
    ----------
    form : SurrogateForm
    activation : Activation
        What it stands for.
    domain : (float, float)
        Range of the standard deviations.
    card : dict
        Errors, recipe and whatever else is to be known; must have ``"errors"``.
    folder : path

    Returns
    -------
    Path
        The archive.

    Raises
    ------
    InvalidValueError
        If the name cannot be a file name, or a number is not finite.
    StorageError
        If the folder does not exist.
    """
    if not _NAME.fullmatch(form.activation):
        raise InvalidValueError(
            f"the activation is called {form.activation!r}; a surrogate needs a name of letters, "
            "digits, '_', '-' and '.'."
        )
    for name, array in form.arrays.items():
        if not np.isfinite(array).all():
            raise InvalidValueError(
                f"the array {name!r} of the surrogate holds non-finite numbers. Train it again."
            )
    common: dict[str, Any] = {
        "format": FORMAT,
        "activation": form.activation,
        "domain": {"r": [float(x) for x in domain], "u": [-1.0, 1.0], "biases": False},
        "activation_values": _values(activation).tolist(),
        "settings": json.loads(json.dumps(form.settings)),
    }
    path = as_path("folder", folder) / f"{form.activation}.npz"
    save_archive(
        path,
        _KIND,
        {name: np.asarray(a, dtype=np.float64) for name, a in form.arrays.items()},
        common,
    )
    content = path.read_bytes()
    full = {
        "kind": _KIND,
        "infflow": __version__,
        **common,
        **card,
        "parameters": int(sum(np.size(a) for a in form.arrays.values())),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_json(path.with_suffix(".json"), full)
    return path


def _values(activation: Activation) -> Array:
    values = np.empty((1, len(_PROBES)))
    activation.jet(_PROBES, values)
    return values[0]
