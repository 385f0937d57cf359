"""Branches of critical points: what was found along them, and how to change to another one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import summary
from .._validation import Array, as_choice, as_integer, public, shown
from ..errors import InvalidTypeError, InvalidValueError, SolverFailedError
from . import events
from .curve import Curve, CurvePoint, Failed
from .walk import Path, Steps, beside, walk


@dataclass(frozen=True, eq=False)
class Event:
    """What happens at one point of a branch.

    Attributes
    ----------
    kind : {"fold", "branch point", "end"}
        A fold: the parameter turns back. A branch point: other eigenvalues change their sign, so
        that other branches cross here. The end of the branch.
    parameter, loss : float
    theta : (P,) array
    null_vector : (P,) array or None
        Direction of theta without curvature, of length one; None at an end. For a branch point of
        another symmetry type than that of the family, the coordinates (n,) in the copies of the
        type, see :meth:`infflow.SymmetricNetI.symmetry_types`.
    null_space : (P, q) or (n, q) array or None
        All of them, where there are several.
    symmetry : str
        The symmetry type whose eigenvalue is zero; "" for that of the branch itself.
    position : int
        Number of the last point of the branch before it.
    reason : str
        Why the branch ends; else empty.
    """

    kind: str
    parameter: float
    loss: float
    theta: Array
    null_vector: Array | None
    null_space: Array | None = None
    symmetry: str = ""
    position: int = 0
    reason: str = ""
    _y: Array | None = field(default=None, repr=False)
    _blocks: tuple[int, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        about = f" in the symmetry type {self.symmetry!r}" if self.symmetry else ""
        several = 0 if self.null_space is None else self.null_space.shape[1]
        about += f", {several} null vectors" if several > 1 else ""
        return f"{self.kind} at {self.parameter:.12g}{about}" + f": {self.reason}" * bool(
            self.reason
        )

    __repr__ = __str__


@summary.as_table
@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of critical points; see :func:`continuation`.

    Attributes
    ----------
    parameter : (n,) array
    theta : (n, P) array
    loss : (n,) array
    index : (n,) array
        Negative eigenvalues of the Hessian over the free parameters; for a family of the whole
        network, real where block sizes are.
    smallest : (n,) array
        The smallest eigenvalue.
    events : list of Event
        In their order along the branch; the last one is its end.
    slope_error : float
        Largest estimated error of the derivative of the gradient in the parameter; 0 where it is
        analytic. It does not affect points and changes of the index, which are zeros of exact
        functions, but tangents, and so the length of steps; folds only to second order.

    See Also
    --------
    continuation : makes one.

    Examples
    --------
    >>> import infflow as inf
    >>> fam = inf.SymmetricNetI("relu", teachers=[1, 6])
    >>> minimum = inf.train(fam, [-0.6, 0.2, 1.0, 0.0, 0.3], progress=False)
    >>> branch = inf.continuation(lambda k: fam.resized([1, k - 1]), minimum, 7.0, 6.0)
    >>> bool(branch.loss[-1] > branch.loss[0]), int(branch.index.max())
    (True, 0)
    """

    parameter: Array
    theta: Array
    loss: Array
    index: Array
    smallest: Array
    events: list[Event]
    slope_error: float
    _curve: Curve = field(repr=False)
    _steps: Steps = field(repr=False)
    _points: list[CurvePoint] = field(repr=False)

    def __len__(self) -> int:
        return len(self.parameter)

    def __str__(self) -> str:
        lines = [
            f"branch of {len(self)} points, parameter {self.parameter[0]:.6g} to "
            f"{self.parameter[-1]:.6g} (from {self.parameter.min():.6g} to "
            f"{self.parameter.max():.6g}), index {self.index[0]:g} to {self.index[-1]:g}"
        ]
        return "\n".join([*lines, *(f"  {each}" for each in self.events)])

    __repr__ = __str__

    def _summary(self) -> summary.Summary:
        head, *_ = str(self).splitlines()
        rows: list[tuple[str, Any]] = [
            ("loss", f"{self.loss[0]:.6g} to {self.loss[-1]:.6g}"),
            ("events", len(self.events)),
        ]
        cells = tuple(
            (each.kind, f"{each.parameter:.12g}", f"{each.loss:.6g}", each.symmetry, each.reason)
            for each in self.events
        )
        columns = ("event", "parameter", "loss", "symmetry type", "reason")
        return summary.Summary(head, rows, columns, cells)

    @public
    def switch(self, event: Event, side: str = "both", apart: int = 1) -> Branch:
        """The other branch through a branch point.

        Parameters
        ----------
        event : Event
            One of ``events``, of the kind "branch point" with one null vector; of the branch's own
            symmetry, or one that breaks that of a block of a family (of a standard type).
        side : {"both", "along", "against"}
            Follow it along the null vector, against it, or both: then the branch point is in the
            middle, and the branch begins with its far end against the null vector.
        apart : int
            For an event that breaks the symmetry of a block: so many of its members leave the
            others. The branch is one of the family whose block is divided into these and the rest,
            see :meth:`infflow.SymmetricNetI.divide`.

        Returns
        -------
        Branch
            Within the same range of the parameter.

        Raises
        ------
        InvalidTypeError, InvalidValueError, UnknownNameError
            If the event is another one.
        SolverFailedError
            If no other branch is found there.
        """
        side = as_choice("side", side, ("both", "along", "against"))
        curve, y, null, tangent = self._crossing(event, apart)
        halves = []
        for sign in {"both": (-1.0, 1.0), "along": (1.0,), "against": (-1.0,)}[side]:
            try:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    first = beside(curve, y, sign * null, tangent, self._steps.first)
                    points = walk(curve, first, self._steps)
            except Failed as error:
                raise SolverFailedError(f"{event}: {error}") from error
            halves.append(points)
        return assemble(curve, self._steps, halves)

    def _crossing(self, event: Event, apart: int) -> tuple[Curve, Array, Array, Array]:
        """The curve of the other branch; there the branch point, its null vector in x, and the
        tangent of this branch.
        """
        if not isinstance(event, Event):
            raise InvalidTypeError(f"event is {shown(event)}; one of branch.events is needed.")
        if event.kind != "branch point" or event._y is None or event.null_vector is None:
            raise InvalidValueError(
                f"event is a {event.kind}, through which no other branch goes; one of the kind "
                "'branch point' is needed."
            )
        apart = as_integer("apart", apart, minimum=1, maximum=2**53)
        before = self._points[event.position]
        after = self._points[event.position + 1]
        if event.symmetry:
            if not event.symmetry.startswith("standard"):
                raise InvalidValueError(
                    f"event breaks the symmetry of the family ({event.symmetry}); switch covers "
                    "standard types. Continue a family with finer blocks from there "
                    "(fam.divide)."
                )
            found = self._curve.divided(event._blocks[0], apart)
            y, first, last = (found.lifted(at) for at in (event._y, before.y, after.y))
            curve: Curve = found.curve
            null = events.null_space(curve.evaluate(y)[2])
        else:
            curve = self._curve
            y = event._y
            first = before.y
            last = after.y
            null = np.zeros((len(y) - 1, 1))
            if event.null_space is not None:
                moved = [curve.y_of(v, float(y[-1]))[:-1] for v in event.null_space.T]
                null = np.array([v / np.linalg.norm(v) for v in moved]).T
        if null.shape[1] > 1:
            raise InvalidValueError(
                "event has several null vectors, so that there are several other branches. Break "
                "the symmetry behind them, for example by freezing parameters."
            )
        chord = last - first
        return curve, y, null[:, 0], chord / np.linalg.norm(chord)

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss against the parameter: minima solid, saddles dashed, events marked.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Made with a figure of pyplot if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from ..plotting import plot_branch

        return plot_branch(self, ax=ax)


def assemble(curve: Curve, steps: Steps, paths: list[Path]) -> Branch:
    """A branch of one path, or of two whose starts are neighbours, the first one backwards."""
    points = list(paths[-1].points)
    found = [(k, each) for k, each in paths[-1].found]
    reasons = [(len(points) - 1, paths[-1].reason)]
    if len(paths) == 2:
        back = paths[0]
        n = len(back.points)
        points = back.points[::-1] + points
        turned = [(n - 2 - k, each) for k, each in back.found[::-1]]
        found = turned + [(k + n, each) for k, each in found]
        reasons = [(0, back.reason), (len(points) - 1, paths[1].reason)]
    entries = [_event(curve, k, each) for k, each in found]
    ends = [_end(curve, points[k], k, reason) for k, reason in reasons]
    entries = [*ends[:-1], *entries, ends[-1]]
    index = np.array([_index(point) for point in points])
    smallest = [min(float(values[0]) for values in point.levels) for point in points]
    return Branch(
        np.array([curve.parameter(float(point.y[-1])) for point in points]),
        np.array([curve.theta_of(point.y) for point in points]),
        np.array([point.value for point in points]),
        index,
        np.array(smallest),
        entries,
        max(point.slope_error for point in points) / abs(curve.stop - curve.start),
        curve,
        steps,
        points,
    )


def _index(point: CurvePoint) -> int | float:
    counts = events.negative_numbers(point)
    return sum(each.dimension * counts[each.name] for each in point.types)


def _end(curve: Curve, point: CurvePoint, position: int, reason: str) -> Event:
    parameter = curve.parameter(float(point.y[-1]))
    return Event(
        "end",
        parameter,
        point.value,
        curve.theta_of(point.y),
        None,
        position=position,
        reason=reason,
    )


def _event(curve: Curve, position: int, found: events.Found) -> Event:
    y = found.y
    theta = curve.theta_of(y)
    null = found.null_space
    if found.symmetry.name:
        null = found.symmetry.vectors @ null
    else:
        moved = [curve.theta_of(y + np.append(v, 0.0)) - theta for v in null.T]
        null = np.array([v / np.linalg.norm(v) for v in moved]).T
    return Event(
        found.kind,
        curve.parameter(float(y[-1])),
        found.value,
        theta,
        null[:, 0],
        null,
        found.symmetry.name,
        position,
        _y=y,
        _blocks=found.symmetry.blocks,
    )
