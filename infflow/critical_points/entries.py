"""Critical points of networks with one hidden layer, grouped modulo their symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._validation import Array
from ..classification.classify import classify
from ..classification.hidden import hidden_layers, homogeneity
from ..classification.point_kind import Classification, PointKind
from ..landscape.distance import Function, function_distance, function_of
from ..landscape.teacher_symmetry import TeacherSymmetry
from ..many import unique_solutions
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..result import Result
from ..training import train
from .search import morse_index

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
#: length of the first step along an escape direction
KICK = 1e-3
_SAME_LOSS = 1e-9
_AT_KINK = 1e-4  # input weights below this are on their way to zero


@dataclass
class Entry:
    """One kind of critical point: all points of one index that symmetries map to each other.

    Attributes
    ----------
    theta : (P,) array
        One of them.
    loss, gradient_norm : float
    index : int
        Negative eigenvalues of the Hessian.
    kind : PointKind
        By :func:`infflow.classify`.
    structure : str
        Which teacher neurons the students copy or average; empty where no teacher is known.
    escape : float or None
        The lowest eigenvalue of the Hessian, if negative.
    count, trained : int
        Searches, and gradient flows from starts, that ended here.
    """

    theta: Array
    loss: float
    gradient_norm: float
    index: int
    count: int
    trained: int
    kind: PointKind
    structure: str
    escape: float | None
    function: Function = field(repr=False)  #: the students, for comparisons

    def holds(
        self, function: Function, loss: float, index: int, symmetry: TeacherSymmetry | None = None
    ) -> bool:
        """Whether a point with these properties is of this kind."""
        return (
            index == self.index
            and abs(loss - self.loss) <= _SAME_LOSS
            and equivalent(self.function, function, symmetry)
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the function, which theta has; the kind by its name."""
        found = {name: value for name, value in vars(self).items() if name != "function"}
        return {**found, "kind": self.kind.name}


def make_entries(
    net: Net | NetI,
    searched: Sequence[Array],
    trained: Sequence[Array],
    symmetry: TeacherSymmetry | None = None,
) -> list[Entry]:
    """Entries by ascending loss and index.

    Parameters
    ----------
    net : Net or NetI
        With one hidden layer.
    searched, trained : lists of (P,) arrays
        Critical points from searches, and ends of gradient flows.
    symmetry : TeacherSymmetry, optional
        Maps of the input that make no difference.
    """
    thetas = [balanced(net, theta) for theta in (*searched, *trained)]
    entries: list[Entry] = []
    for group in unique_solutions(
        [_silenced(net, t) for t in thetas],
        net=net,
        rtol=SAME,
        loss_rtol=1e-8,
        converged_only=False,
    ):
        function = _function(net, group.theta)
        for k in group.members:  # duplicates can share an output weight in ways of different index
            index = morse_index(hessian(net, thetas[k]))
            entry = next(
                (each for each in entries if each.holds(function, group.loss, index, symmetry)),
                None,
            )
            if entry is None:
                entry = _entry(net, thetas[k], index, function)
                entries.append(entry)
            if k < len(searched):
                entry.count += 1
            else:
                entry.trained += 1
    return sorted(entries, key=lambda entry: (round(entry.loss, 9), entry.index))


def balanced(net: Net | NetI, theta: Array) -> Array:
    """The same function with input and output weights of equal length, where the activation is
    homogeneous.

    The index does not depend on the balance (Sylvester's law), but its eigenvalues do, and without
    it the small ones drown in rounding.
    """
    theta = theta.copy()
    (layer,) = hidden_layers(net, theta)
    for i, activation in enumerate(layer.activations):
        degree = None if layer.unit_rows else homogeneity(activation)
        into = layer.in_index[i]
        out = layer.out_index[:, i]
        length = float(np.linalg.norm(theta[into]))
        size = float(np.linalg.norm(theta[out]))
        if degree is not None and length * size > SILENT:
            factor = (size / length) ** (1.0 / (1.0 + degree))
            theta[into] *= factor
            theta[out] /= factor**degree
    return theta


def escape(net: Net | NetI, theta: Array, sign: float, number: int = 0) -> Result:
    """Gradient flow that starts beside a saddle, along one of its escape directions, the steepest
    first.
    """
    direction = np.linalg.eigh(hessian(net, theta))[1][:, number]
    return train(net, theta + sign * KICK * direction, **FLOW_LIMITS)


def is_smooth(net: Net | NetI, theta: Array) -> bool:
    """False where a student neuron with a kink has no input weights: the loss has a kink there, and
    second derivatives mean nothing.
    """
    (layer,) = hidden_layers(net, theta)
    kinked = [bool(activation.kinks) for activation in layer.activations]
    lengths = np.linalg.norm(layer.incoming, axis=1)
    return not np.any(kinked & (lengths < _AT_KINK))


def find_entry(
    net: Net | NetI,
    entries: Sequence[Entry],
    theta: Array,
    symmetry: TeacherSymmetry | None = None,
) -> int | None:
    """Number of the entry that holds a point."""
    point = _silenced(net, theta)
    function = _function(net, point.theta)
    index = morse_index(hessian(net, theta))
    return next(
        (k for k, each in enumerate(entries) if each.holds(function, point.loss, index, symmetry)),
        None,
    )


def students_of(net: Net | NetI, theta: Array) -> Function:
    """The function of the students at a point, by which points are compared."""
    return _function(net, _silenced(net, theta).theta)


def _silenced(net: Net | NetI, theta: Array) -> Result:
    """A Result at theta whose neurons without effect are silent, so that what they would do does
    not tell points apart.
    """
    theta = theta.copy()
    (layer,) = hidden_layers(net, theta)
    into = np.linalg.norm(layer.incoming, axis=1)
    silent = np.linalg.norm(layer.outgoing, axis=0) * into < SILENT
    theta[layer.out_index[:, silent]] = 0.0
    return train(net, theta, max_steps_flow=0, max_steps_newton=0, progress=False)


def _function(net: Net | NetI, theta: Array) -> Function:
    """The function of the students; the zero function has no neurons, where ``function_of`` keeps
    one.
    """
    function = function_of(net, theta, SAME)
    if function.outgoing.any():
        return function
    return function._replace(
        activations=(), incoming=function.incoming[:0], outgoing=function.outgoing[:0]
    )


def hessian(net: Net | NetI, theta: Array) -> Array:
    """The Hessian (P, P)."""
    return net.evaluate(theta, 2).H


def equivalent(a: Function, b: Function, symmetry: TeacherSymmetry | None) -> bool:
    """Whether order and signs of neurons, or a symmetry of the teacher, map one function to the
    other.
    """
    near = SAME * a.size
    if len(a.activations) != len(b.activations):
        return False
    if function_distance(a, b) <= near:
        return True
    return symmetry is not None and symmetry.relates(b, a, near)


def _entry(net: Net | NetI, theta: Array, index: int, function: Function) -> Entry:
    found = classify(net, theta, progress=False)
    return Entry(
        theta=theta,
        loss=found.loss,
        gradient_norm=found.gradient_norm,
        index=index,
        count=0,
        trained=0,
        kind=found.kind,
        structure=_describe(net, found, len(function.activations)),
        escape=float(np.linalg.eigvalsh(hessian(net, theta))[0]) if index else None,
        function=function,
    )


def _describe(net: Net | NetI, found: Classification, neurons: int) -> str:
    """Roles in a few words, such as "average of 3, copy"; signs only where a symmetry does not
    leave them open.
    """
    if not neurons:
        return "zero function"
    words = []
    roles = () if found.structure is None else found.structure.roles
    for role, activation in zip(roles, net.layers[0].activations, strict=False):
        name = role.role.name.lower()
        negative = not activation.parity and bool(role.coefficients) and max(role.coefficients) < 0
        sign = "minus " * negative
        words.append(f"{sign}average of {len(role.teachers)}" if name == "average" else name)
    equal = ", ".join(f"{len(group)} equal" for group in found.duplicates)
    return ", ".join(sorted(words)) + (f" ({equal})" if equal else "")
