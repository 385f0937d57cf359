"""Where a path that runs off to infinity ends: the minimum in regular coordinates, and whether
the loss falls all the way to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, as_items, as_number, counted, public, shown
from ..errors import InfflowError, InvalidTypeError, InvalidValueError, ShapeError
from ..fixedpoints import FixedPointProblem, choose_optimizer
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..objective import LEFT_DOMAIN
from ..stopping import Statistics, StopReason, StopRules
from .chart import Chart, chart_of, pinned, tangent, theta_of, unit_rows_of, view_of
from .corners import inputs_of, is_stationary, resting
from .units import EndKind, EndUnit, running_off

#: a quadratic model that promises no more than this part of the loss, or of this part of E|y|^2,
#: leaves nothing to be found
_SETTLED = 1e-9
_SETTLED_ZERO = 1e-20
#: the same where the search has not converged: slow paths promise little
_SETTLED_EARLY = 1e-12
#: curvature below this part of the largest is none
_FLAT = 1e-11
#: a limit below this part of the loss of the zero function is zero: solutions are near at finite
#: distances, too, and a search goes on from there
_ZERO = 1e-13
#: rounds in which directions of stencils get unit width again
_ROUNDS = 4
#: by how much their width may change in one
_CHANGE = 2.0
#: factors that may go from input to output weights
_SCALES = (0.5, 1.0, 2.0)
#: combinations of units that are tried
_HYPOTHESES = 4
_EPS = float(np.finfo(float).eps)


class Verdict(Enum):
    """What was found beyond the end of a path."""

    AT_INFINITY = "the loss falls all the way to its minimum at infinity"
    NEARER = "the loss has lower values before infinity, or is zero"
    OPEN = "no minimum at infinity was found"


@dataclass(frozen=True, eq=False)
class Limit:
    """The end of a path at infinity.

    Attributes
    ----------
    units : tuple of EndUnit
        What runs off, and what it becomes; printing one says so.
    coordinates : (P,) array
        Where it ends, in the coordinates of ``infflow/channels/units.py``: theta with the weights
        of these units replaced.
    loss_at_infinity, gradient_norm : float
        Loss of the limit, and infinity norm of its gradient in these coordinates.
    index : int
        Directions of negative curvature in them.
    excess : tuple of (float, float)
        Distance on the way and by how much the loss is above its limit there, from near to far, as
        far as rounding lets it see.
    resting : tuple of int
        Samples on which the kink of a unit rests: the loss of the limit has a corner there, and
        index and gradient are those along it.
    """

    units: tuple[EndUnit, ...]
    coordinates: Array
    loss_at_infinity: float
    gradient_norm: float
    index: int
    excess: tuple[tuple[float, float], ...] = ()
    resting: tuple[int, ...] = ()

    @public
    def network(self, net: Net | NetI) -> tuple[Net | NetI, Array]:
        """The limit as a network of its own, and its parameters: units that merge are stencils
        of neurons, others have another activation.

        Parameters
        ----------
        net : Net or NetI
            The network that was trained.

        Raises
        ------
        InvalidValueError
            If it is another one.
        """
        chart = self._chart(net)
        return chart.limit, chart.parameters(self.coordinates)

    @public
    def theta(self, net: Net | NetI, distances: Sequence[float]) -> Array:
        """Parameters (P,) on the way, with one distance for each unit.

        Parameters
        ----------
        net : Net or NetI
            The network that was trained.
        distances : sequence of float
            Above zero; what they mean is in the table of ``infflow/channels/units.py``.

        Raises
        ------
        InvalidValueError
            If the network is another one, or parameters at a distance leave the range of floating
            point numbers.
        """
        chart = self._chart(net)
        what = f"a sequence of {counted(len(self.units), 'number')}, one for each unit at infinity"
        given = as_items("distances", distances, what)
        if len(given) != len(self.units):
            raise ShapeError(f"distances has {counted(len(given), 'item')}; {what}, is needed.")
        names = (f"distances[{k}]" for k in range(len(given)))
        far = [
            as_number(*each, minimum=0.0, strict=True) for each in zip(names, given, strict=True)
        ]
        try:
            with np.errstate(all="ignore"):
                return chart.point(self.coordinates, far)
        except InvalidValueError as error:  # parameters are not finite
            raise InvalidValueError(
                f"at distances {far} parameters are beyond the range of floating point numbers; "
                "take moderate ones, such as those of Limit.excess."
            ) from error

    def _chart(self, net: Net | NetI) -> Chart:
        """That of the network that was trained; others are refused."""
        P = len(self.coordinates)
        needed = f"the network that was trained, with {counted(P, 'parameter')}, is needed."
        if not isinstance(net, (Net, NetI)):
            raise InvalidTypeError(f"net is {shown(net)}; {needed}")
        if net.num_params != P:
            raise ShapeError(f"net has {counted(net.num_params, 'parameter')}; {needed}")
        if len(net.layers) != 2 or not all(unit.suits(net) for unit in self.units):
            raise InvalidValueError(f"net is {shown(net)}, where no such limit exists; {needed}")
        return chart_of(net, self.units)

    def __str__(self) -> str:
        units = "; ".join(map(str, self.units))
        corner = ""
        if self.resting:
            corner = f"; the kink rests on {counted(len(self.resting), 'sample')}"
        return f"loss {self.loss_at_infinity:.9g} at infinity, where {units}{corner}"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the coordinates, in numbers, strings and lists."""
        return {
            "units": [[u.kind.name, list(u.neurons), u.sign] for u in self.units],
            "loss_at_infinity": self.loss_at_infinity,
            "gradient_norm": self.gradient_norm,
            "index": self.index,
            "excess": [list(pair) for pair in self.excess],
            "resting": list(self.resting),
        }

    @classmethod
    def from_dict(cls, coordinates: Array, values: dict[str, Any]) -> Limit:
        """The inverse of :meth:`to_dict`."""
        units = tuple(
            EndUnit(EndKind[kind], tuple(neurons), sign) for kind, neurons, sign in values["units"]
        )
        excess = tuple((float(s), float(e)) for s, e in values["excess"])
        return cls(
            units,
            coordinates,
            float(values["loss_at_infinity"]),
            float(values["gradient_norm"]),
            int(values["index"]),
            excess,
            tuple(values["resting"]),
        )


@dataclass
class Found:
    """What :func:`find_limit` found."""

    verdict: Verdict
    limit: Limit | None
    theta: Array  #: (P,) the lowest point that was seen on the way
    loss: float
    statistics: Statistics = field(default_factory=lambda: Statistics("newton"))


def is_covered(objective: Any) -> bool:
    """Whether ends at infinity are looked for: in networks with one hidden layer whose loss does
    not look at theta itself.
    """
    if not isinstance(objective, (Net, NetI)) or len(objective.layers) != 2:
        return False
    if isinstance(objective, NetI) and objective.method == "surrogate":
        return False
    plain = not objective.regularization.active
    linear = all(
        f.polynomial == (0.0, 1.0) and not f.has_atoms for f in objective.layers[1].activations
    )
    return plain and linear


def units_at(
    net: Net | NetI, theta: Array, free: NDArray[np.bool_] | None = None
) -> list[tuple[EndUnit, ...]]:
    """Neurons that run off to infinity at ``theta`` (P,), by what they look like: the likeliest
    combination first.
    """
    may_move = np.ones(net.layers[0].width, dtype=bool)
    if free is not None:
        view = view_of(net, np.where(free, 0.0, 1.0))
        biases = view.U[:, -1] if net.layers[0].bias else 0.0
        may_move = (np.abs(view.U[:, :-1]).sum(1) + np.abs(view.A).sum(0) + np.abs(biases)) == 0.0
    student = net.student if isinstance(net, NetI) else net
    return running_off(net, view_of(net, student.normalized(theta)), may_move)


def is_zero(net: Net | NetI, theta: Array, loss: float) -> bool:
    """Whether a loss at ``theta`` (P,) is zero, compared with that of the zero function."""
    view = view_of(net, theta)
    view.A[:] = view.c[:] = 0.0
    return loss <= _ZERO * net.evaluate(theta_of(net, view), 0).value


def find_limit(
    net: Net | NetI, theta: Array, free: NDArray[np.bool_], rules: StopRules
) -> Found | None:
    """The end of a path that has come to ``theta``; None where nothing runs off there.

    Parameters
    ----------
    net : Net with data, or NetI
        Covered, see :func:`is_covered`.
    theta : (P,) array
        Where a search came to.
    free : (P,) boolean array
        Parameters that may move.
    rules : StopRules
        Limits of the search in regular coordinates; steps are those of all that is tried.
    """
    best: Found | None = None
    left = rules.max_steps
    theta = unit_rows_of(net, theta, free)
    for units in units_at(net, theta, free)[:_HYPOTHESES]:
        if left <= 0:
            break
        try:
            with np.errstate(all="ignore"):
                found = _Ending(chart_of(net, units), theta, free).run(rules, left)
        except (*LEFT_DOMAIN, InfflowError):
            found = Found(Verdict.OPEN, None, theta, float("inf"))
        left -= found.statistics.steps
        if found.verdict is Verdict.AT_INFINITY:
            return found
        if best is None or (found.verdict is Verdict.NEARER and found.loss < best.loss):
            best = found
    return best


class _Minimum(NamedTuple):
    """Where a search in regular coordinates came to."""

    z: Array
    value: float
    settled: bool  #: whether it is a minimum, or saddle
    down: int  #: directions of negative curvature
    gradient_norm: float
    resting: tuple[int, ...] = ()  #: samples on the kink of a neuron


class _Ending:
    """One search for the end of a path."""

    def __init__(self, chart: Chart, theta: Array, free: NDArray[np.bool_]) -> None:
        self.chart = chart
        self.free = free & ~chart.held
        self.loss = chart.net.evaluate(theta, 0).value
        self.theta = theta
        self.statistics = Statistics("newton")

    def run(self, rules: StopRules, steps: int) -> Found:
        """Go to the minimum at infinity in so many steps, and look back."""
        z = self._minimised(self.chart.coordinates(self.theta), rules, steps)
        found = self._judged(z)
        if not found.settled:
            found = self._on_a_corner(z, rules, steps) or found
        z = found.z
        value = found.value
        excess, seen, nearer = self._on_the_way(z, value)
        if nearer is not None:
            return Found(Verdict.NEARER, None, *nearer, self.statistics)
        end = (self.theta, self.loss, self.statistics)
        if not found.settled or self.loss < value - self._noise(value, self.theta):
            return Found(Verdict.OPEN, None, *end)
        farthest = self._farthest(z, seen)
        if is_zero(self.chart.net, self.theta, value):
            return Found(Verdict.NEARER, None, *farthest, self.statistics)
        judged = (found.gradient_norm, found.down, excess, found.resting)
        limit = Limit(self.chart.units, z, value, *judged)
        return Found(Verdict.AT_INFINITY, limit, *farthest, self.statistics)

    def _minimised(self, z: Array, rules: StopRules, steps: int, normalises: bool = True) -> Array:
        """The minimum of the limit, with directions of stencils of unit width."""
        for _ in range(_ROUNDS):
            left = max(steps - self.statistics.steps, 0)
            rules = replace(rules, max_steps=left, best_loss=np.inf, best_step=0)
            chart, free, frame = tangent(self.chart, z, self.free)
            y = frame.T @ z
            problem = FixedPointProblem(chart, y, free)
            x = problem.z_of(y)
            found = choose_optimizer(problem, x).run(problem, x, rules)
            end = frame @ found.theta
            before = self.statistics
            self.statistics = found.statistics
            self.statistics.add(before, "")
            if self.statistics.stop_reason is StopReason.INTERRUPTED:
                raise KeyboardInterrupt  # for the search, or the user, that asked
            if not normalises:
                return end
            after = self.chart.normalised(end)
            z = unit_rows_of(self.chart.net, after, self.free & ~self.chart.directions)
            if self._kept_width(end, z):
                break
        return z

    def _kept_width(self, before: Array, after: Array) -> bool:
        """Whether directions of stencils, and rows that enter with length one, have about the same
        length in two vectors of coordinates.
        """
        pairs = [u.neurons[1] for u in self.chart.units if u.kind is EndKind.MERGING]
        old, new = (view_of(self.chart.net, z).U for z in (before, after))
        ratio = np.linalg.norm(old[pairs], axis=1) / np.linalg.norm(new[pairs], axis=1)
        if self.chart.net.unit_rows is not None:
            others = np.setdiff1d(np.arange(len(old)), pairs)
            lengths = (np.linalg.norm(each[others, :-1], axis=1) for each in (old, new))
            ratio = np.r_[ratio, np.divide(*lengths)]
        return bool(np.abs(np.log(ratio)).max(initial=0.0) <= np.log(_CHANGE))

    def _on_a_corner(self, z: Array, rules: StopRules, steps: int) -> _Minimum | None:
        """The minimum where a kink rests on samples; None where no kink rests."""
        found: _Minimum | None = None
        before = 0
        while (rests := resting(self.chart, z)) is not None and len(rests[1]) > before:
            neuron, samples = rests
            before = len(samples)
            found = self._pinned_minimum(z, rules, steps, neuron, samples)
            z = found.z
            if found.settled:
                stationary = is_stationary(self.chart, z, neuron, samples)
                return found._replace(settled=stationary)
        return found

    def _pinned_minimum(
        self, z: Array, rules: StopRules, steps: int, neuron: int, samples: NDArray[np.intp]
    ) -> _Minimum:
        """The minimum where the kink of a neuron stays on some samples."""
        chart, free = self.chart, self.free
        assert isinstance(chart.net, Net)
        rows = inputs_of(chart.net)[samples]
        if not chart.net.layers[0].bias:
            rows = rows[:, :-1]
        other, frame = pinned(chart, neuron, rows)
        y = frame.T @ z
        y[other.held & ~chart.held] = 0.0
        try:
            self.chart, self.free = other, free & ~other.held
            found = self._judged(self._minimised(y, rules, steps, normalises=False))
        finally:
            self.chart, self.free = chart, free
        return found._replace(z=frame @ found.z, resting=tuple(int(k) for k in samples))

    def _judged(self, z: Array) -> _Minimum:
        """Whether the quadratic model promises nothing more, and how many directions lead down."""
        chart, free, frame = tangent(self.chart, z, self.free)
        found = chart.evaluate(frame.T @ z, 2)
        H = found.H[np.ix_(free, free)]
        g = found.g[free]
        values, vectors = np.linalg.eigh(H)
        floor = _FLAT * np.abs(values).max(initial=0.0)
        components = g @ vectors
        up = values > floor
        promised = 0.5 * float((components[up] ** 2 / values[up]).sum())
        rest = float(np.abs(components[~up]).max(initial=0.0))
        part = _SETTLED if self.statistics.stop_reason.converged else _SETTLED_EARLY
        bound = part * abs(found.value) + _SETTLED_ZERO
        settled = promised <= bound and rest <= bound
        down = int((values < -floor).sum())
        return _Minimum(z, found.value, settled, down, float(np.abs(g).max(initial=0.0)))

    def _on_the_way(
        self, z: Array, value: float
    ) -> tuple[tuple[tuple[float, float], ...], list[float], tuple[Array, float] | None]:
        """How far the loss is above its limit at some distances; up to which distance of each unit
        that can be told from rounding; and, where it rises towards infinity, the lowest point on
        the way back.
        """
        excess: list[tuple[float, float]] = []
        farthest = [unit.distances[0] for unit in self.chart.units]
        lowest: tuple[Array, float] | None = None
        for k, unit in enumerate(self.chart.units):
            for scale in _SCALES if self.chart.has_scale(unit) else (1.0,):
                losses = [self._above(z, value, k, s, scale) for s in unit.distances]
                seen = [each for each in losses if each[0] != 0.0]
                if scale == 1.0:
                    excess += [(each[2], each[0]) for each in seen]
                    farthest[k] = max([farthest[k], *(each[2] for each in seen)])
                if seen and seen[-1][0] < 0.0:
                    found = _first_valley(seen)
                    lowest = found if lowest is None or found[1] < lowest[1] else lowest
        return tuple(excess), farthest, lowest

    def _above(
        self, z: Array, value: float, k: int, distance: float, scale: float
    ) -> tuple[float, Array, float, float]:
        """How far the loss is above its limit at one distance of one unit, 0 where that is
        rounding; the point, the distance and the loss.
        """
        theta = self._at(z, k, distance, scale)
        loss = self.chart.net.evaluate(theta, 0).value
        above = loss - value
        return (above if abs(above) > self._noise(value, theta) else 0.0, theta, distance, loss)

    def _at(self, z: Array, k: int, distance: float, scale: float = 1.0) -> Array:
        """Parameters with one unit at a distance, and the others far away."""
        units = self.chart.units
        distances = [unit.distances[-1] for unit in units]
        scales = [1.0] * len(units)
        distances[k] = distance
        scales[k] = scale
        return self.chart.point(z, distances, scales)

    def _farthest(self, z: Array, seen: list[float]) -> tuple[Array, float]:
        """The point that is as far as rounding lets the loss fall, or where the path had come to
        if that is lower.
        """
        theta = self.chart.point(z, seen)
        loss = self.chart.net.evaluate(theta, 0).value
        return (theta, loss) if loss < self.loss else (self.theta, self.loss)

    def _noise(self, value: float, theta: Array) -> float:
        """Rounding error of a loss at ``theta``."""
        largest = float(np.abs(view_of(self.chart.net, theta).A).max())
        if isinstance(self.chart.net, NetI):
            return 64.0 * _EPS * max(1.0, largest * largest)
        return 64.0 * _EPS * (abs(value) + max(1.0, largest) * np.sqrt(abs(value)))


def _first_valley(seen: list[tuple[float, Array, float, float]]) -> tuple[Array, float]:
    """The first point that is lower than the next one, on the way back from infinity."""
    theta, loss = seen[-1][1], seen[-1][3]
    for _, nearer, _, lower in reversed(seen[:-1]):
        if lower > loss:
            break
        theta, loss = nearer, lower
    return theta, loss
