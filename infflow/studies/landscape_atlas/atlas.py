"""Critical points of one-hidden-layer students of orthonormal teachers, grouped modulo the
symmetries of students and teachers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...classification.classify import Classification, classify
from ...classification.hidden import homogeneity
from ...landscape.distance import Function, function_distance, function_of
from ...many import unique_solutions
from ...networks.infinite.neti import NetI
from ...result import Result
from ...training import train
from .critical_points import morse_index

#: functions closer than this fraction of their size are the same; Newton's method reaches
#: duplicated neurons slowly
SAME = 1e-3
#: output times length of input weights of neurons without effect
SILENT = 1e-6
#: limits of gradient flows; dying relu neurons take forever, all others less than 200 steps
FLOW_LIMITS: dict[str, Any] = {
    "solver": "rodas5p",
    "max_steps_flow": 300,
    "max_steps_newton": 1000,
    "progress": False,
}
_KICK = 1e-3  # length of the first step along an escape direction
_SAME_LOSS = 1e-9
_AT_KINK = 1e-4  # input weights below this are on their way to zero


@dataclass
class Entry:
    """One kind of critical point: all points of one index that symmetries of students and teachers
    map to each other.
    """

    theta: Array
    loss: float
    gradient_norm: float
    index: int
    count: int  #: searches that ended here
    trained: int  #: gradient flows from random starts that ended here
    kind: str  #: kind of point by :func:`infflow.classify`
    structure: str  #: which teacher neurons the students copy or average
    escape: float | None  #: the lowest eigenvalue of the Hessian, if negative
    function: Function  #: the function of the students
    #: entries where flows along both escape directions end
    ends: list[int | None] = field(default_factory=list)
    end_losses: list[float] = field(default_factory=list)  #: losses there

    def holds(self, function: Function, loss: float, index: int) -> bool:
        """Whether a point with these properties is of this kind."""
        return (
            index == self.index
            and abs(loss - self.loss) <= _SAME_LOSS
            and _equivalent(self.function, function)
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the function, which theta has."""
        return {name: value for name, value in vars(self).items() if name != "function"}


class Atlas(NamedTuple):
    """All entries of one network, by loss, and how the searches went.

    ``converged`` searches and ``flows_converged`` flows ended at points without gradient where the
    loss is smooth.
    """

    activation: str
    teachers: int
    students: int
    entries: list[Entry]
    searches: int
    converged: int
    flows: int
    flows_converged: int
    flows_at_kink: int  #: converged flows that ended where a neuron has lost its input weights

    @property
    def seen_once(self) -> int:
        """Entries found once; their number over that of all searches estimates the chance that the
        next one is new (Good 1953).
        """
        return sum(entry.count + entry.trained == 1 for entry in self.entries)


def make_entries(neti: NetI, searched: Sequence[Array], trained: Sequence[Array]) -> list[Entry]:
    """Entries by ascending loss and index.

    Parameters
    ----------
    neti : NetI
        One output; the teacher neurons are the coordinates of the input.
    searched, trained : lists of (P,) arrays
        Critical points from searches, and ends of gradient flows.
    """
    thetas = [balanced(neti, theta) for theta in (*searched, *trained)]
    entries: list[Entry] = []
    for group in unique_solutions(
        [_silenced(neti, t) for t in thetas],
        net=neti,
        rtol=SAME,
        loss_rtol=1e-8,
        converged_only=False,
    ):
        function = _function(neti, group.theta)
        for k in group.members:  # duplicates can share an output weight in ways of different index
            index = morse_index(_hessian(neti, thetas[k]))
            entry = next(
                (each for each in entries if each.holds(function, group.loss, index)), None
            )
            if entry is None:
                entry = _entry(neti, thetas[k], index, function)
                entries.append(entry)
            if k < len(searched):
                entry.count += 1
            else:
                entry.trained += 1
    return sorted(entries, key=lambda entry: (round(entry.loss, 9), entry.index))


def balanced(neti: NetI, theta: Array) -> Array:
    """The same function with input and output weights of equal length, where the activation is
    homogeneous.

    The index does not depend on the balance (Sylvester's law), but its eigenvalues do, and without
    it the small ones drown in rounding.
    """
    theta = theta.copy()
    (W, _), (a, _) = neti.unpack(theta)
    for i, activation in enumerate(neti.student.layers[0].activations):
        degree = homogeneity(activation)
        length = float(np.linalg.norm(W[i]))
        size = float(np.abs(a[0, i]))
        if degree is not None and length * size > SILENT:
            factor = (size / length) ** (1.0 / (1.0 + degree))
            W[i] *= factor
            a[0, i] /= factor**degree
    return theta


def escape(neti: NetI, theta: Array, sign: float) -> Result:
    """Gradient flow that starts beside a saddle, along its steepest escape direction."""
    direction = np.linalg.eigh(_hessian(neti, theta))[1][:, 0]
    return train(neti, theta + sign * _KICK * direction, **FLOW_LIMITS)


def is_smooth(neti: NetI, theta: Array) -> bool:
    """False where a student neuron with a kink has no input weights: the loss has a kink there, and
    second derivatives mean nothing.
    """
    W = neti.unpack(theta)[0][0]
    kinked = [bool(activation.kinks) for activation in neti.student.layers[0].activations]
    return not np.any(kinked & (np.linalg.norm(W, axis=1) < _AT_KINK))


def find_entry(neti: NetI, entries: Sequence[Entry], theta: Array) -> int | None:
    """Number of the entry that holds a point."""
    point = _silenced(neti, theta)
    function = _function(neti, point.theta)
    index = morse_index(_hessian(neti, theta))
    return next(
        (k for k, entry in enumerate(entries) if entry.holds(function, point.loss, index)), None
    )


def _silenced(neti: NetI, theta: Array) -> Result:
    """A Result at theta whose neurons without effect are silent, so that what they would do does
    not tell points apart.
    """
    theta = theta.copy()
    (W, _), (a, _) = neti.unpack(theta)
    silent = np.abs(a[0]) * np.linalg.norm(W, axis=1) < SILENT
    a[:, silent] = 0.0
    W[silent] = 0.0
    return train(neti, theta, max_steps_flow=0, max_steps_newton=0, progress=False)


def _function(neti: NetI, theta: Array) -> Function:
    """The function of the students; the zero function has no neurons, where ``function_of`` keeps
    one.
    """
    function = function_of(neti, theta, SAME)
    if function.outgoing.any():
        return function
    return function._replace(
        activations=(), incoming=function.incoming[:0], outgoing=function.outgoing[:0]
    )


def _hessian(neti: NetI, theta: Array) -> Array:
    return neti.evaluate(theta, 2).H


def _equivalent(a: Function, b: Function) -> bool:
    """Whether a permutation of the teacher neurons, which are the input's coordinates, maps one
    function to the other.
    """
    if len(a.activations) != len(b.activations):
        return False
    M = a.incoming.shape[1] - 1
    permuted = (
        b._replace(incoming=b.incoming[:, [*order, M]])
        for order in itertools.permutations(range(M))
    )
    return any(function_distance(a, other) <= SAME * a.size for other in permuted)


def _entry(neti: NetI, theta: Array, index: int, function: Function) -> Entry:
    found = classify(neti, theta)
    return Entry(
        theta=theta,
        loss=found.loss,
        gradient_norm=found.gradient_norm,
        index=index,
        count=0,
        trained=0,
        kind=found.kind.name,
        structure=_describe(neti, found, len(function.activations)),
        escape=float(np.linalg.eigvalsh(_hessian(neti, theta))[0]) if index else None,
        function=function,
    )


def _describe(neti: NetI, found: Classification, neurons: int) -> str:
    """Roles in a few words, such as "average of 3, copy"; signs only where a symmetry does not
    leave them open.
    """
    if not neurons:
        return "zero function"
    words = []
    roles = () if found.structure is None else found.structure.roles
    for role, activation in zip(roles, neti.student.layers[0].activations, strict=False):
        name = role.role.name.lower()
        negative = not activation.parity and bool(role.coefficients) and max(role.coefficients) < 0
        sign = "minus " * negative
        words.append(f"{sign}average of {len(role.teachers)}" if name == "average" else name)
    equal = ", ".join(f"{len(group)} equal" for group in found.duplicates)
    return ", ".join(sorted(words)) + (f" ({equal})" if equal else "")
