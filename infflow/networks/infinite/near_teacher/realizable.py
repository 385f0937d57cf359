"""The loss next to a solution that equals the teacher, where the plain sum is lost in rounding.

The residual is f_1 - f_0 for a path of networks f_s = f(theta_0 + s delta) from the teacher to the
student, so that

    L = E (f_1 - f_0)^2 = int_0^1 int_0^1 delta' E[grad f_s grad f_t'] delta ds dt,

whose integrand is of the size of the result: nothing cancels. The teacher is first written with
the student's neurons: signs of odd and even activations and scales of homogeneous ones are those of
the student, a teacher neuron that several students share is split among them, and a student
that matches none stands opposite a neuron of weight zero. Each of these leaves the teacher's
function as it is, so the identity holds for every matching; a good one only makes delta small.
Smooth activations whose integrals are series go another way, see :mod:`.differences`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ...._validation import Array
from ....activations import Activation
from ....integrals.terms import parts
from ..population_loss import Units
from . import realizable_kernels
from .differences import Differences
from .segment import DONE, NARROW, ONE, Flags, Path, Rule, Segment, Traits, rule_for

_kernels: Any = realizable_kernels  # mypy does not spread tuples into jitted functions

# A student further than this from its teacher neuron, relative to its length, is left unmatched.
_NEAR = 0.01
# Neurons are nearly parallel where the squared sine is below this.
_NARROW = 0.2
# Closed forms of mixtures keep their accuracy up to means of this size.
_LARGEST_MEAN = 10.0
_EPS = float(np.finfo(float).eps)
# Neurons of the teacher are multiples of each other to so many rounding errors.
_ROUNDED = 4.0
# Segments that are kept, with their expansions.
_KEPT = 16

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Matching(NamedTuple):
    """The teacher written with the neurons of a student, and the student, all plus a constant.

    ``units`` holds both, teacher first: W (2, n, D), b (2, n), B (2, n, O), c (2, O). ``exact``:
    they are the same network. ``close``: what is left unmatched is small, as the difference of the
    output weights says.
    """

    units: Units
    activations: list[Activation]
    exact: bool
    close: bool

    @property
    def teacher(self) -> Units:
        """The teacher with these neurons."""
        return Units(*(each[0] for each in self.units))

    @property
    def student(self) -> Units:
        """The student with these neurons."""
        return Units(*(each[1] for each in self.units))


class Matcher:
    """Writes one teacher with the neurons of students.

    Parameters
    ----------
    teacher : Units
    f, g : list of Activation
        Of students and teachers.
    """

    def __init__(self, teacher: Units, f: list[Activation], g: list[Activation]) -> None:
        teacher, g = _merged(teacher, g)
        self._teacher = Units(*(np.ascontiguousarray(x) for x in teacher))
        self.activations = [*f, *g]  #: students, then teachers
        self._alike = np.array([[_same(a, other) for other in g] for a in f])
        self._homogeneous = np.array([a.homogeneous for a in f])
        self._parity = np.array([float(a.parity) for a in f])

    def __call__(self, student: Units) -> Matching:
        """The matching; homogeneous students with w = b = 0, which give zero, are left out.

        Neurons of the teacher that are one function up to a factor count as one.
        """
        most = len(self.activations)
        D = student.W.shape[1]
        O = student.B.shape[1]
        source = np.empty(most, dtype=np.int64)
        c = np.empty((2, O))
        W = np.empty((2, most, D))
        b = np.empty((2, most))
        B = np.empty((2, most, O))
        n, exact, close = _kernels.match(
            np.ascontiguousarray(student.W),
            np.ascontiguousarray(student.b),
            np.ascontiguousarray(student.B),
            np.ascontiguousarray(student.c),
            *self._teacher,
            *(self._alike, self._homogeneous, self._parity, _NEAR, source, W, b, B, c),
        )
        units = Units(W[:, :n], b[:, :n], B[:, :n], c)
        return Matching(units, [self.activations[k] for k in source[:n].tolist()], exact, close)


def _merged(teacher: Units, g: list[Activation]) -> tuple[Units, list[Activation]]:
    """The teacher with neurons that are multiples of another one added to that, and what is left of
    the activations.
    """
    rows = np.column_stack([teacher.W, teacher.b])
    B = np.array(teacher.B)
    leaders: list[int] = []
    for j, f in enumerate(g):
        for i in leaders:
            factor = _multiple(rows[i], rows[j], g[i], f)
            if factor is not None:
                B[i] += factor * B[j]
                break
        else:
            leaders.append(j)
    units = Units(teacher.W[leaders], teacher.b[leaders], B[leaders], teacher.c)
    return units, [g[i] for i in leaders]


def _multiple(u: Array, v: Array, f: Activation, g: Activation) -> float | None:
    """What g(v.x) is in units of f(u.x), if it is a multiple of it."""
    length = float(np.linalg.norm(u))
    if not _same(f, g) or length == 0.0:
        return None
    scale = float(np.linalg.norm(v)) / length if f.homogeneous else 1.0
    if scale == 0.0:
        return None
    for sign in (1.0, -1.0) if f.parity else (1.0,):
        if np.linalg.norm(v - sign * scale * u) <= _ROUNDED * _EPS * np.linalg.norm(v):
            factor = scale if f.homogeneous else 1.0
            return factor if sign > 0.0 else factor * f.parity
    return None


def match(student: Units, teacher: Units, f: list[Activation], g: list[Activation]) -> Matching:
    """The matching of one student; of many with one teacher a :class:`Matcher` is faster."""
    return Matcher(teacher, f, g)(student)


class SegmentLoss:
    """The loss of matchings as a double integral along the segment, see :class:`.segment.Segment`,
    or from series of differences, see :class:`.differences.Differences`.

    The last segments and teachers are kept, with their expansions.

    Parameters
    ----------
    method, rtol
        Of the integrals, see :class:`~infflow.integrals.choice.Choice`.
    """

    def __init__(self, method: str = "auto", rtol: float = 1e-10) -> None:
        self._method = method
        self._rtol = rtol
        self._segments: dict[tuple[Hashable, ...], Segment] = {}
        self._traits: dict[tuple[int, ...], Traits] = {}
        self._differences: dict[Traits, Differences] = {}

    def __call__(self, matching: Matching) -> float:
        """The loss."""
        path = _path(expanded(matching))
        n = len(path.activations)
        traits = self._traits_of(path.activations)
        flags = np.zeros((3, n, n), dtype=np.bool_)
        total = size = 0.0
        if traits.needs_series and self._method == "auto":
            total, size = self._differences_of(traits)(path.ends, path.products, flags[DONE])
        if not flags[DONE].all():
            more = self._left(path, traits, flags)
            total += more[0]
            size += more[1]
        return max(total, _EPS * size)  # never less than can be resolved; NaN stays

    def _left(self, path: Path, traits: Traits, flags: Flags) -> tuple[float, float]:
        """Sum and sum of absolute terms over the pairs that are not done."""
        W, b, _, dW, db, _ = path.ends
        wedge = np.empty(len(W))
        distance, mean = _kernels.survey(
            *(W, b, dW, db, path.products, traits.kinked, traits.farthest),
            *(traits.corner, _NARROW, flags, wedge),
        )
        if not traits.needs_series or self._method != "auto" or mean > _LARGEST_MEAN:
            flags[NARROW] = False
        rule = rule_for(traits, distance, self._rtol)
        for copies in (False, True):
            segment = self._segment(traits, flags, rule, copies)
            pairs = segment.pairs(path)
            args = segment.arguments(path, wedge)
            jets = segment.jets(args)
            if copies or segment.is_plain():
                break
        found: tuple[float, float] = _kernels.integral(
            *path.ends, path.products, wedge, *pairs, args.pairs, jets
        )
        return found

    def _traits_of(self, activations: list[Activation]) -> Traits:
        # traits keep the activations alive, so that no other one gets their numbers
        key = tuple(map(id, activations))
        found = self._traits.get(key)
        if found is None:
            found = _keep(self._traits, key, Traits(activations))
        return found

    def _differences_of(self, traits: Traits) -> Differences:
        found = self._differences.get(traits)
        if found is None:
            found = Differences(traits.activations, self._rtol)
            _keep(self._differences, traits, found)
        return found

    def _segment(self, traits: Traits, flags: Flags, rule: Rule, copies: bool) -> Segment:
        key = (traits, flags.tobytes(), len(rule.nodes), copies)
        found = self._segments.get(key)
        if found is None:
            segment = Segment(traits.activations, flags, rule, copies, self._method, self._rtol)
            found = _keep(self._segments, key, segment)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_segments": {}, "_traits": {}, "_differences": {}}


def _keep(kept: dict[Key, Value], key: Key, value: Value) -> Value:
    """Put a value into a dictionary in the place of the first one if it is full."""
    while len(kept) >= _KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
    return value


def loss(matching: Matching, method: str = "auto", rtol: float = 1e-10) -> float:
    """The loss of one matching; of many a :class:`SegmentLoss` is faster."""
    return SegmentLoss(method, rtol)(matching)


def _path(matching: Matching) -> Path:
    """All neurons of a matching.

    A difference of the output biases is the output weight of a constant neuron.
    """
    ends = matching.units
    activations = matching.activations
    dc = ends.c[1] - ends.c[0]
    constant = bool(dc.any())
    _, n, D = ends.W.shape
    rows = np.zeros((2, n + constant, D))
    W, dW = rows
    W[:n] = ends.W[0]
    np.subtract(ends.W[1], ends.W[0], out=dW[:n])
    b = ends.b[0]
    B = ends.B[0]
    db = ends.b[1] - ends.b[0]
    dB = ends.B[1] - ends.B[0]
    if constant:
        activations = [*activations, ONE]
        b = np.append(b, 0.0)
        db = np.append(db, 0.0)
        B = np.vstack([B, np.zeros_like(dc)])
        dB = np.vstack([dB, dc])
    both = rows.reshape(-1, D)
    return Path((W, b, B, dW, db, dB), both @ both.T, activations)


def expanded(matching: Matching) -> Matching:
    """The same with a neuron for each part of an activation that is a sum."""
    if not any(f.parts for f in matching.activations):
        return matching
    rows = [(k, part) for k, f in enumerate(matching.activations) for part in parts(f)]
    owner = np.array([k for k, _ in rows])
    coefficient, scale, shift = np.array([part[:3] for _, part in rows]).T
    W, b, B, c = matching.units
    units = Units(
        np.ascontiguousarray(W[:, owner] * scale[:, None]),
        np.ascontiguousarray(b[:, owner] * scale + shift),
        np.ascontiguousarray(B[:, owner] * coefficient[:, None]),
        c,
    )
    return matching._replace(units=units, activations=[part.primitive for _, part in rows])


def _same(f: Activation, g: Activation) -> bool:
    if f.parts or g.parts:
        return f.parts == g.parts
    return f is g or (
        f.has_closed_form
        and g.has_closed_form
        and (f.polynomial, f.atoms) == (g.polynomial, g.atoms)
    )


def is_affine(activations: list[Activation]) -> bool:
    """Whether all neurons are polynomials of degree one at most."""
    return all(
        f.has_closed_form and not f.atoms and not f.waves and len(f.polynomial) <= 2
        for f in activations
    )


def affine_loss(student: Units, teacher: Units, f: list[Activation], g: list[Activation]) -> float:
    """E |student - teacher|^2 of such networks: the squared size of the difference of two maps.

    No neuron needs to match another one for it.
    """
    (first, shift) = _affine(student, f)
    (second, other) = _affine(teacher, g)
    return float(((first - second) ** 2).sum() + ((shift - other) ** 2).sum())


def _affine(units: Units, activations: list[Activation]) -> tuple[Array, Array]:
    """The map (O, D) and the shift (O,)."""
    c0, c1 = np.array([(*f.polynomial, 0.0, 0.0)[:2] for f in activations]).T
    return (c1[:, None] * units.B).T @ units.W, units.c + (c0 + c1 * units.b) @ units.B


def is_covered(activations: list[Activation]) -> bool:
    """Whether the double integral applies.

    Steps have gradients too singular for its rules, and need it least.
    """
    primitives = [part.primitive for f in activations for part in parts(f)]
    return not any(
        a.kinks and any(atom.order > 0 and atom.width == 0 for atom in a.atoms) for a in primitives
    )
