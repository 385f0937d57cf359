"""The critical points that many starts find, and which saddle joins which minima."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_real_array,
    as_rng,
    counted,
    public,
    shown,
)
from ..classification.point_kind import PointKind
from ..errors import InvalidTypeError, InvalidValueError, ShapeError
from ..landscape.teacher_symmetry import TeacherSymmetry
from ..memory import SPECTRUM, require_memory
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.parameters import random_params
from ..networks.teacher import Teacher
from ..terminal import Bar
from ..threads import limit_for
from ..training import train
from . import record
from .entries import (
    FLOW_LIMITS,
    Entry,
    balanced,
    escape,
    find_entry,
    is_smooth,
    make_entries,
)
from .links import EnergyPath, FarEnd, FarEnds, Link
from .search import find_critical_point

_MINIMA = (PointKind.MINIMUM, PointKind.DEGENERATE_MINIMUM)
#: most starts: more are a mistake
_MANY = 10**6


@dataclass(frozen=True, eq=False)
class Atlas:
    """Critical points of one network, and the flows that join them; made by :func:`atlas`.

    Attributes
    ----------
    net : Net or NetI
    points : list of Entry
        Kinds of critical points by ascending loss: ``theta``, ``loss``, ``index``, ``kind``, ...
    links : list of Link
        Flows from both sides of each escape direction of each saddle.
    searches, converged : int
        Searches for critical points, and how many found one where the loss is smooth.
    flows, flows_converged : int
        The same for gradient flows from the starts.
    limits : list of FarEnd
        Ends at infinity of flows from starts and saddles: the ``limit``, and how many ``flows`` run
        off to it.

    See Also
    --------
    atlas : makes one.
    classify : what kind of point one theta is.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> two = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(two, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
    >>> found = inf.atlas(neti, 4, progress=False)
    >>> len(found.minima), found.points[0].index
    (1, 0)
    """

    net: Net | NetI
    points: list[Entry]
    links: list[Link]
    searches: int
    converged: int
    flows: int
    flows_converged: int
    limits: list[FarEnd] = field(default_factory=list)
    _symmetry: TeacherSymmetry | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def minima(self) -> list[int]:
        """Numbers of the points that :func:`infflow.classify` calls minima, degenerate or not."""
        return [k for k, each in enumerate(self.points) if each.kind in _MINIMA]

    @property
    def saddles(self) -> list[int]:
        """Numbers of the points with negative eigenvalues."""
        return [k for k, each in enumerate(self.points) if each.index]

    @property
    def unresolved(self) -> list[int]:
        """Numbers of the others. No eigenvalue is clearly negative, and some may be zero."""
        known = {*self.minima, *self.saddles}
        return [k for k in range(len(self.points)) if k not in known]

    @property
    def seen_once(self) -> int:
        """Points found once; their number over that of all searches estimates the chance that the
        next one is new (I. Good, Biometrika 40 (1953) 237-264).
        """
        return sum(each.count + each.trained == 1 for each in self.points)

    def ends(self, saddle: int) -> list[int | None]:
        """Where flows from this saddle end, numbers of points; None at infinity and elsewhere."""
        return [link.end for link in self.links if link.start == saddle]

    def find(self, theta: Any) -> int | None:
        """Number of the point to which a critical point (P,) belongs, or None."""
        point = balanced(self.net, np.array(self.net.layout.check(getattr(theta, "theta", theta))))
        return find_entry(self.net, self.points, point, self._symmetry)

    def path(self, first: int, second: int) -> EnergyPath:
        """The path of least energy over the lowest saddle of index 1 that joins two minima.

        Steepest descent on both sides of such a saddle is a path that no small change makes lower.

        Raises
        ------
        InvalidValueError
            If a number is none of a point, or no saddle of index 1 joins them.
        """
        last = len(self.points) - 1
        a = as_integer("first", first, minimum=0, maximum=last)
        b = as_integer("second", second, minimum=0, maximum=last)
        joined: dict[tuple[int | None, int | None], tuple[Link, Link]] = {}
        for up, down in self._pairs():
            for one, other in ((up, down), (down, up)):
                joined.setdefault((one.end, other.end), (one, other))  # by ascending loss
        if (a, b) not in joined:
            known = sorted({str(pair) for pair in joined})
            raise InvalidValueError(
                f"no saddle of index 1 joins the points {a} and {b}. Joined are: "
                f"{', '.join(known) or 'none'}. More starts may find more saddles."
            )
        one, other = joined[a, b]
        theta = np.vstack([one.path[::-1], other.path[1:]])
        loss = np.array([self.net.evaluate(point).value for point in theta])
        steps = np.linalg.norm(np.diff(theta, axis=0), axis=1)
        length = np.append(0.0, np.cumsum(steps))
        barrier = self.points[one.start].loss - self.points[a].loss
        return EnergyPath(theta, loss, length, one.start, barrier)

    def _pairs(self) -> Iterator[tuple[Link, Link]]:
        """Both flows from each saddle of index 1, where both ends are known."""
        for k, each in enumerate(self.points):
            own = [link for link in self.links if link.start == k and link.end is not None]
            if each.index == 1 and len(own) == 2:
                yield own[0], own[1]

    def plot(self, *, ax: Any = None) -> Any:
        """A graph: loss against index, points larger the more searches ended there, lines from
        saddles to where flows end; see :func:`infflow.plotting.plot_atlas`.
        """
        from ..plotting import plot_atlas

        return plot_atlas(self, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Everything but network and paths, as numbers, strings, arrays and lists of these."""
        return {
            "points": [each.to_dict() for each in self.points],
            "links": [link.to_dict() for link in self.links],
            "limits": [far.to_dict() for far in self.limits],
            "searches": self.searches,
            "converged": self.converged,
            "flows": self.flows,
            "flows_converged": self.flows_converged,
        }

    def save(self, path: Any) -> None:
        """Write everything but the network to one ``.npz`` file, atomically and without pickles.

        Parameters
        ----------
        path : str or path-like
            File name; ``.npz`` is added where there is no suffix. An existing file is replaced.
        """
        counts = {
            "searches": self.searches,
            "converged": self.converged,
            "flows": self.flows,
            "flows_converged": self.flows_converged,
        }
        exchanges = self._symmetry is not None
        contents = record.Contents(self.points, self.links, self.limits, counts, exchanges)
        record.save(path, contents, self.net.num_params)

    @classmethod
    def load(cls, path: Any, net: Net | NetI) -> Atlas:
        """Read a file that :meth:`save` wrote; everything is read and checked at once.

        Parameters
        ----------
        path : str or path-like
            File name; ``.npz`` is added where there is no suffix.
        net : Net or NetI
            The network of which the atlas was made; the losses of all points are compared.

        Raises
        ------
        StorageError
            If the file is missing, damaged, or something else; the message names it.
        InvalidTypeError, InvalidValueError
            If the atlas was made of another network.
        """
        _require_shallow(net)
        found = record.load(path, net)
        symmetry = TeacherSymmetry(net) if found.exchanges_teachers else None
        far = found.limits
        return cls(net, found.points, found.links, **found.counts, limits=far, _symmetry=symmetry)

    def __str__(self) -> str:
        lines = [
            f"atlas of {_number(len(self.minima), 'minimum', 'minima')} and "
            f"{counted(len(self.saddles), 'saddle')}"
            + f", {len(self.unresolved)} unresolved"
            * bool(self.unresolved)
            + f", {self.seen_once} seen once: "
            f"{self.converged} of {_number(self.searches, 'search', 'searches')} and "
            f"{self.flows_converged} of {counted(self.flows, 'flow')} ended at a critical point"
        ]
        for k, each in enumerate(self.points):
            found = sorted({link.goal for link in self.links if link.start == k})
            leads = f", leads to {', '.join(found)}" * bool(found)
            about = f", {each.structure}" * bool(each.structure)
            about += ", unresolved" * (k in self.unresolved)
            times = each.count + each.trained
            lines.append(
                f"  {k}: loss {each.loss:.9g}, index {each.index}, found {times}x{about}{leads}"
            )
        lines += [f"  infinity {k}: {far}" for k, far in enumerate(self.limits)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        minima = _number(len(self.minima), "minimum", "minima")
        return f"Atlas({minima}, {counted(len(self.saddles), 'saddle')}, {self.net!r})"


@public
def atlas(
    net: Net | NetI,
    starts: Any = 50,
    *,
    rng: int | np.random.Generator = 0,
    links: bool = True,
    teacher_symmetry: bool | str = "auto",
    progress: bool = True,
) -> Atlas:
    """Critical points of a network with one hidden layer, and which saddle joins which minima.

    From each start a gradient flow goes to a minimum, and a search to a critical point of any
    index: high-index saddle dynamics for a random index (J. Yin, L. Zhang, P. Zhang, SIAM J. Sci.
    Comput. 41 (2019) A3576), then Newton's method for the gradient. Points that order and signs of
    neurons, their scales, duplicates or silent ones make different count once. Then flows leave
    each saddle along each of its escape directions, to both sides, and what they find is added.

    Parameters
    ----------
    net : NetI, or Net with data
        With one hidden layer. On finite data the loss has to be smooth: no kinks.
    starts : int or (n, P) array
        A number of starts, drawn by ``inf.random_params(init="standard_normal")``; or the starts.
    rng : int or numpy.random.Generator
    links : bool
        Whether flows leave the saddles.
    teacher_symmetry : {"auto", True, False}
        Whether maps of the input that exchange equal teacher neurons make no difference, see
        :func:`infflow.unique_solutions`. "auto": where the teacher is a network.
    progress : bool
        Whether a terminal or a notebook shows how far it is.

    Returns
    -------
    Atlas
        ``points``, ``links``, ``minima``, ``saddles``, ``path(i, j)``, ``plot()``.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If an argument cannot be used.
    TooLargeError
        If Hessians do not fit in memory.

    Notes
    -----
    Nothing proves that an atlas is complete: ``seen_once`` over the number of searches estimates
    the chance that the next search finds a new point. :func:`infflow.certify` proves its points.

    See Also
    --------
    classify : what kind of point one theta is.
    unique_solutions : minima that many runs found.
    continuation : critical points along a parameter.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> two = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    >>> teacher = inf.Teacher(two, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    >>> found = inf.atlas(inf.NetI(net, teacher), 4, progress=False)
    >>> found.points[0].structure, round(found.points[0].loss, 4)
    ('average of 2', 0.0232)
    """
    thetas, generator = _checked(net, starts, rng)
    symmetry = _symmetry(net, teacher_symmetry)
    links = as_flag("links", links)
    students = net.layers[0].width
    searched = []
    trained = []
    far = FarEnds(net, symmetry)
    shown_as = f"atlas of {counted(len(thetas), 'start')}"
    bar = Bar(as_flag("progress", progress), unit=" searches", desc=shown_as)
    with limit_for(net.num_params), bar:
        for theta in thetas:
            index = int(generator.integers(-1, 2 * students + 1))
            point = find_critical_point(net, theta, index)
            if point.converged and is_smooth(net, point.theta):
                searched.append(point.theta)
            end = train(net, theta, **FLOW_LIMITS)
            far.add(end.limit)
            if end.converged and is_smooth(net, end.theta):
                trained.append(end.theta)
            bar.update()
        points = make_entries(net, searched, trained, symmetry)
        ends = _links(net, points, symmetry, far, bar) if links else []
    n = len(thetas)
    found = _in_order(points, ends)
    return Atlas(net, *found, n, len(searched), n, len(trained), far.ends, symmetry)


def _checked(net: Any, starts: Any, rng: Any) -> tuple[list[Array], np.random.Generator]:
    """Starts, and where random numbers come from."""
    _require_shallow(net)
    require_memory(net.num_params, "the spectrum of the Hessian", SPECTRUM)
    generator = as_rng(rng)
    if not isinstance(starts, Sized) or getattr(starts, "ndim", 1) == 0:
        number = as_integer("starts", starts, minimum=1, maximum=_MANY)
        draw = [random_params(net, generator, "standard_normal") for _ in range(number)]
        return draw, generator
    given = as_real_array("starts", starts)
    if given.ndim != 2 or given.shape[1] != net.num_params or not len(given):
        raise ShapeError(
            f"starts has shape {given.shape}; a number, or (n, {net.num_params}) is needed, one "
            "start per row."
        )
    return [net.layout.check(row).copy() for row in np.ascontiguousarray(given)], generator


def _require_shallow(net: Any) -> None:
    """An infinite-data network, or one on data, smooth, with one hidden layer."""
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(f"net is {shown(net)}; an inf.NetI, or an inf.Net with data.")
    if len(net.layers) != 2:
        raise InvalidValueError(
            f"the net has {counted(len(net.layers) - 1, 'hidden layer')}; an atlas needs one."
        )
    if isinstance(net, Net):
        _ = net.data  # raises without
        if any(f.kinks for layer in net.layers for f in layer.activations):
            raise InvalidValueError(
                "the activations have kinks, which meet samples: Hessians do not see them. Take "
                "smooth activations, or infinite data, inf.NetI."
            )


def _symmetry(net: Net | NetI, wanted: Any) -> TeacherSymmetry | None:
    known = isinstance(net, NetI) and isinstance(net.teacher, Teacher)
    if isinstance(wanted, str):
        as_choice("teacher_symmetry", wanted, ("auto",))
        return TeacherSymmetry(net) if known else None
    return TeacherSymmetry(net) if as_flag("teacher_symmetry", wanted) else None


def _links(
    net: Net | NetI,
    points: list[Entry],
    symmetry: TeacherSymmetry | None,
    far: FarEnds,
    bar: Bar,
) -> list[Link]:
    """Flows from all saddles; ends that are new become points, or ends at infinity."""
    found = []
    k = 0
    while k < len(points):
        saddle = points[k]
        for direction in range(saddle.index):
            for sign in (1, -1):
                end = escape(net, saddle.theta, sign, direction)
                number = None
                if end.converged and is_smooth(net, end.theta):
                    theta = balanced(net, end.theta)
                    number = find_entry(net, points, theta, symmetry)
                    if number is None:
                        number = len(points)
                        points += make_entries(net, [], [theta], symmetry)
                path = np.vstack([saddle.theta, end.trajectory.theta, end.theta])
                limit = far.add(end.limit)
                found.append(Link(k, direction, sign, number, end.loss, path, limit))
                bar.update()
        k += 1
    return found


def _in_order(points: list[Entry], links: list[Link]) -> tuple[list[Entry], list[Link]]:
    """By ascending loss, with new numbers in the links."""
    order = sorted(range(len(points)), key=lambda k: (round(points[k].loss, 9), points[k].index))
    place = {old: new for new, old in enumerate(order)}
    moved = [
        link._replace(start=place[link.start], end=None if link.end is None else place[link.end])
        for link in links
    ]
    moved.sort(key=lambda link: (link.start, link.direction, -link.sign))
    return [points[k] for k in order], moved


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
