"""The table that a sweep leaves: one row per run, arrays on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._validation import Array, as_items, counted, package, public, shown
from ..errors import InvalidTypeError, InvalidValueError, StorageError
from ..result import Result
from ..storage import as_path
from .store import Store, read_file


def make_row(
    settings: Mapping[str, Any], columns: Mapping[str, Any], status: str, error: str | None
) -> dict[str, Any]:
    """A row as the user sees it."""
    return {**settings, **columns, "status": status, "error": error}


class Sweep:
    """The runs of a sweep.

    Attributes
    ----------
    rows : list of dict
        In the order of the grid: the settings, the numbers and strings that the function returned
        (of a :class:`Result`: ``loss``, ``gradient_norm``, ``converged``, ``stop_reason``,
        ``t_flow``, ``flow_steps``, ``newton_steps``), ``status`` (``done``, ``failed``,
        ``running``, ``pending``) and ``error``, which is None unless the run failed.

    See Also
    --------
    sweep : makes one.

    Examples
    --------
    >>> import tempfile
    >>> import infflow as inf
    >>> from infflow.cli.files import train_configuration
    >>> student = {"hidden": 1, "input_dim": 2, "activation": "erf"}
    >>> config = {"student": student, "teacher": {"hidden": 1}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = inf.sweep(
    ...         train_configuration,
    ...         {"seed": [0, 1]},
    ...         folder + "/runs.db",
    ...         fixed={"config": config},
    ...         backend="sequential",
    ...         progress=False,
    ...     )
    ...     [row["status"] for row in inf.Sweep.load(folder + "/runs.db").rows]
    ['done', 'done']
    """

    @public
    def __init__(self, store: Store, keys: Sequence[str] | None = None) -> None:
        if not isinstance(store, Store):
            raise InvalidTypeError(
                f"store is {shown(store)}; inf.Sweep.load(path) opens the file of a sweep."
            )
        self._path = store.path
        self._stored = store.read_rows(keys)
        self._files = [store.file(row["key"]) for row in self._stored]
        self.rows = [
            make_row(row["settings"], row["columns"], row["status"], row["error"])
            for row in self._stored
        ]
        self._index = {id(row): k for k, row in enumerate(self.rows)}

    @classmethod
    def load(cls, path: Any) -> Sweep:
        """All runs in a store, in the order in which they were entered, without running any.

        Raises
        ------
        StorageError
            If the file does not exist or is not a store of this version.
        """
        file = as_path("path", path)
        if not file.exists():
            raise StorageError(f"{file} does not exist. Check the name.")
        store = Store(file)
        try:
            return cls(store)
        finally:
            store.close()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]

    def __repr__(self) -> str:
        count = {
            s: sum(row["status"] == s for row in self.rows)
            for s in ("done", "failed", "running", "pending")
        }
        parts = [f"{n} {status}" for status, n in count.items() if n or status == "done"]
        return f"Sweep: {counted(len(self), 'run')} in {self._path}, {', '.join(parts)}"

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Rows whose function raised an error or whose worker died."""
        return [row for row in self.rows if row["status"] == "failed"]

    def arrays(self, row: dict[str, Any] | int) -> dict[str, Array]:
        """The arrays of a run; of a :class:`Result` all of its arrays.

        Parameters
        ----------
        row : dict or int
            One of :attr:`rows`, or its number.

        Raises
        ------
        StorageError
            If the file is damaged or missing; the message names it.
        """
        found = self._read(row)
        if not isinstance(found, Result):
            return found
        track = found.trajectory
        return {
            "theta": found.theta,
            "theta0": found.theta0,
            "theta_flow": found.theta_flow,
            "trajectory_t": track.t,
            "trajectory_theta": track.theta,
            "trajectory_loss": track.loss,
            "trajectory_gradient_norm": track.gradient_norm,
            **track.observables,
        }

    def result(self, row: dict[str, Any] | int) -> Result:
        """The :class:`Result` of a run whose function returned one.

        Raises
        ------
        InvalidTypeError
            If it returned something else.
        StorageError
            If the file is damaged or missing; the message names it.
        """
        found = self._read(row)
        if not isinstance(found, Result):
            raise InvalidTypeError(
                "the function of this sweep returned no Result; its arrays are given by "
                "arrays(row)."
            )
        return found

    def details(self, row: dict[str, Any] | int) -> dict[str, Any]:
        """Details that are no columns: ``wall_time`` (seconds), ``finished`` (seconds since 1970),
        ``version``, ``traceback``, ``function``, ``fixed``.
        """
        stored = self._stored[self._number(row)]
        return {
            name: stored[name]
            for name in ("wall_time", "finished", "version", "traceback", "function", "fixed")
        }

    def _read(self, row: dict[str, Any] | int) -> Result | dict[str, Array]:
        k = self._number(row)
        if self._stored[k]["status"] != "done":
            raise InvalidValueError(
                f"run {k} has no arrays: it is {self._stored[k]['status']}. See its error."
            )
        return (
            {} if self._stored[k]["arrays"] is None else read_file(self._files[k], self._stored[k])
        )

    def _number(self, row: Any) -> int:
        if id(row) in self._index:
            return self._index[id(row)]
        if isinstance(row, (int, np.integer)) and not isinstance(row, bool):
            if not -len(self) <= row < len(self):
                raise InvalidValueError(f"row is {shown(row)}, but there are {len(self)} rows.")
            return int(row) % len(self)
        if isinstance(row, dict):  # a copy
            for k, known in enumerate(self.rows):
                if known == row:
                    return k
        raise InvalidTypeError(f"row is {shown(row)}; one of the rows, or its number, is needed.")

    # ----------------------------------------------------------------------------------------------
    # to other tables

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of :attr:`rows`.

        Raises
        ------
        MissingPackageError
            If pandas is not installed.
        """
        pandas = package("pandas", "to_pandas", "'infflow[sweep]'")
        return pandas.DataFrame(self.rows)

    def to_xarray(self, arrays: Sequence[str] = ()) -> Any:
        """An ``xarray.Dataset``.

        Parameters
        ----------
        arrays : list of str
            Names of arrays to include, of equal shape in all runs; their axes are called
            ``NAME_0``, ``NAME_1``, ...

        Returns
        -------
        xarray.Dataset
            With one dimension per setting if the runs are a Cartesian product, else with one
            dimension ``run`` and the settings as coordinates. Missing numbers are NaN, missing
            strings empty.

        Raises
        ------
        MissingPackageError
            If xarray is not installed.
        InvalidValueError
            If an array is not in all finished runs with the same shape.
        """
        xarray = package("xarray", "to_xarray", "'infflow[sweep]'")
        arrays = as_items("arrays", arrays, "a list of names")
        if not all(isinstance(name, str) for name in arrays):
            raise InvalidTypeError(f"arrays is {shown(arrays)}; a list of names is needed.")
        settings, order = self._axes()
        names = list(dict.fromkeys(name for row in self._stored for name in row["columns"]))
        taken = [
            self.arrays(k) if arrays and row["status"] == "done" else {}
            for k, row in enumerate(self._stored)
        ]
        columns = {
            name: _column([row.get(name) for row in self.rows])
            for name in (*names, "status", "error")
        }
        columns |= {
            name: _stack(name, [found.get(name) for found in taken], self._stored)
            for name in arrays
        }
        if order is None:
            dims: tuple[str, ...] = ("run",)
            shape: tuple[int, ...] = (len(self),)
            coordinates: dict[str, Any] = {
                name: ("run", _column(values)) for name, values in settings.items()
            }
            order = list(range(len(self)))
        else:
            dims = tuple(settings)
            shape = tuple(len(values) for values in settings.values())
            coordinates = {name: _column(values) for name, values in settings.items()}
        variables = {}
        for name, values in columns.items():
            extra = tuple(f"{name}_{k}" for k in range(values.ndim - 1))
            variables[name] = ((*dims, *extra), values[order].reshape(shape + values.shape[1:]))
        return xarray.Dataset(variables, coordinates)

    def _axes(self) -> tuple[dict[str, list[Any]], list[int] | None]:
        """Values of each setting and the permutation that sorts rows into a product; or all values
        and None.
        """
        points = [
            {name: _label(value) for name, value in row["settings"].items()} for row in self._stored
        ]
        names = list(dict.fromkeys(name for point in points for name in point))
        complete = all(len(point) == len(names) for point in points)
        axes = (
            {name: list(dict.fromkeys(point[name] for point in points)) for name in names}
            if complete
            else {}
        )
        size = int(np.prod([len(values) for values in axes.values()], dtype=float)) if axes else 0
        if (
            size != len(points)
            or len({tuple(point[name] for name in names) for point in points}) != size
        ):
            return {name: [point.get(name) for point in points] for name in names}, None
        where = {
            name: {value: k for k, value in enumerate(values)} for name, values in axes.items()
        }
        indices = [[where[name][point[name]] for point in points] for name in names]
        order = np.empty(len(points), dtype=int)
        order[np.ravel_multi_index(indices, [len(values) for values in axes.values()])] = np.arange(
            len(points)
        )
        return axes, [int(k) for k in order]


def _label(value: Any) -> Any:
    """A setting as a coordinate: lists and dictionaries as text."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _column(values: list[Any]) -> Array:
    """An array of numbers where all are numbers, of booleans where all are, else of strings."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if known and kinds <= {int, float, bool}:
        if kinds == {bool} and len(known) == len(values):
            return np.array(values)
        if (
            kinds == {int}
            and len(known) == len(values)
            and all(abs(value) < 2**63 for value in values)
        ):
            return np.array(values)
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(["" if value is None else str(value) for value in values])


def _stack(name: str, found: list[Array | None], stored: list[dict[str, Any]]) -> Array:
    present = [array for array in found if array is not None]
    shapes = {array.shape for array in present}
    missing = [
        k for k, array in enumerate(found) if array is None and stored[k]["status"] == "done"
    ]
    if len(shapes) != 1 or missing:
        what = f"run {missing[0]} has none" if missing else f"their shapes are {sorted(shapes)}"
        raise InvalidValueError(
            f"the arrays {name!r} cannot be stacked: {what}. Take them one by one with arrays(row)."
        )
    if len(present) == len(found):
        return np.stack(present)
    empty = np.full(shapes.pop(), np.nan)
    return np.stack([empty if array is None else array for array in found])
