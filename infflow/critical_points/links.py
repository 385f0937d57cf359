"""What joins critical points: flows from saddles, paths over them, and ends at infinity."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._validation import Array, counted
from ..channels import Limit
from ..landscape.distance import Function, function_of
from ..landscape.teacher_symmetry import TeacherSymmetry
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from .entries import equivalent

#: losses of limits closer than this are equal: searches in regular coordinates end at about the
#: square root of rounding
_SAME_LOSS = 1e-8


class Link(NamedTuple):
    """A flow from beside a saddle.

    ``start`` and ``end`` are numbers of points in :attr:`Atlas.points`. ``end`` is None where the
    flow was not done after its 300 steps, ended at a kink, or runs off to infinity; then ``limit``
    is the number of its end in :attr:`Atlas.limits`.
    """

    start: int
    direction: int  #: which escape direction, 0 the steepest
    sign: int  #: to which side of it
    end: int | None
    loss: float  #: at the end
    path: Array  #: points (n, P) along the flow, the saddle first
    limit: int | None = None  #: where it ends at infinity

    @property
    def goal(self) -> str:
        """Where it leads to, in a word."""
        if self.end is not None:
            return str(self.end)
        return "elsewhere" if self.limit is None else f"infinity {self.limit}"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the path."""
        return {name: value for name, value in self._asdict().items() if name != "path"}


class EnergyPath(NamedTuple):
    """A path of least energy between two minima: both flows from the saddle between them.

    Ends and saddle belong to the points of the atlas up to symmetries.
    """

    theta: Array  #: (n, P), from the first minimum over the saddle to the second
    loss: Array  #: (n,)
    length: Array  #: (n,) along the path
    saddle: int  #: its number
    barrier: float  #: loss of the saddle above that of the first minimum


class FarEnd(NamedTuple):
    """An end at infinity, and how many flows from starts and from saddles run off to it."""

    limit: Limit
    flows: int

    def __str__(self) -> str:
        return f"{self.limit}; {counted(self.flows, 'flow')}"

    def to_dict(self) -> dict[str, Any]:
        """Everything but coordinates, in numbers, strings and lists."""
        return {**self.limit.to_dict(), "flows": self.flows}


class FarEnds:
    """Ends at infinity, each once: those of equal loss whose functions are the same, modulo the
    symmetries that make no difference to points.
    """

    def __init__(self, net: Net | NetI, symmetry: TeacherSymmetry | None) -> None:
        self.ends: list[FarEnd] = []
        self._functions: list[Function] = []
        self._net = net
        self._symmetry = symmetry

    def add(self, limit: Limit | None) -> int | None:
        """The number of an end, which is counted; None where there is none."""
        if limit is None:
            return None
        function = function_of(*limit.network(self._net))
        for k, (known, flows) in enumerate(self.ends):
            gap = abs(known.loss_at_infinity - limit.loss_at_infinity)
            same = equivalent(self._functions[k], function, self._symmetry)
            if same and gap <= _SAME_LOSS:
                self.ends[k] = FarEnd(known, flows + 1)
                return k
        self.ends.append(FarEnd(limit, 1))
        self._functions.append(function)
        return len(self.ends) - 1
