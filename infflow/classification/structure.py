"""What the students of a teacher-student network do: which teacher neurons they copy, average or
ignore.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from .._validation import Array
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.teacher import Teacher
from .hidden import copies, hidden_layers, same_function

#: relative difference of weights below which neurons are reported as duplicates; solutions of loss
#: zero approach it slowly
SAME = 1e-3
#: a neuron whose weights are below this, relative to the largest, has no output or no input
DEAD = 1e-6
#: cosine from which a student copies the nearest teacher neuron
COPY = 0.95
#: a teacher neuron is part of an average if its share of the student is at least this fraction of
#: the largest share
SHARE = 1 / 3
#: a student of which teachers explain less than this fraction of its squared length is unaligned
EXPLAINED = 0.5


class Role(Enum):
    """What a student neuron does."""

    COPY = "copies"
    AVERAGE = "averages"
    OPPOSED = "points against"
    UNALIGNED = "points away from all"
    DEAD = "is dead (no output, or no input)"


@dataclass(frozen=True)
class NeuronRole:
    """The role of one student neuron."""

    role: Role
    teachers: tuple[
        int, ...
    ]  #: the teacher neurons that it copies, averages or points against, the largest share first
    coefficients: tuple[float, ...]  #: coefficients of the regression of its weights on theirs
    output_ratio: (
        float | None
    )  #: output weights of a copy over those of its teacher neuron (least squares)

    def __str__(self) -> str:
        if self.role is Role.DEAD:
            return self.role.value
        if self.role is Role.UNALIGNED:
            return f"{self.role.value} teachers"
        if self.role is Role.COPY:
            ratio = (
                f", output weight {self.output_ratio:.3g} of the teacher's"
                if self.output_ratio is not None
                else ""
            )
            return (
                f"copies teacher {self.teachers[0]} ({self.coefficients[0]:.3g} of its "
                f"weights{ratio})"
            )
        if self.role is Role.OPPOSED:
            return (
                f"{self.role.value} teacher {self.teachers[0]} ({self.coefficients[0]:.3g} of "
                "its weights)"
            )
        parts = ", ".join(
            f"{c:.3g} of {j}" for c, j in zip(self.coefficients, self.teachers, strict=True)
        )
        return f"averages teachers {', '.join(map(str, sorted(self.teachers)))} (weights {parts})"


@dataclass(frozen=True, eq=False)
class Structure:
    """Roles of all students."""

    roles: tuple[NeuronRole, ...]
    duplicates: tuple[
        tuple[int, ...], ...
    ]  #: groups of students with the same function up to sign and scale
    ignored: tuple[int, ...]  #: teacher neurons that no student copies or averages
    cosines: Array  #: (K, M) cosines of weights and biases in the metric of the input
    coefficients: Array  #: (K, M) regression of the students' weights on those of the teachers

    def __str__(self) -> str:
        lines = [f"student {i} {role}" for i, role in enumerate(self.roles)]
        lines += [
            f"students {', '.join(map(str, group))} are duplicates" for group in self.duplicates
        ]
        if self.ignored:
            lines.append(
                f"teacher{'s' * (len(self.ignored) > 1)} {', '.join(map(str, self.ignored))}: "
                "ignored by all"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary."""
        roles = [{**role.__dict__, "role": role.role.name} for role in self.roles]
        return {**self.__dict__, "roles": roles}


def find_structure(net: Net | NetI, theta: Array, teacher: Teacher) -> Structure:
    """Roles of the neurons of the first hidden layer of ``net`` with respect to those of
    ``teacher``.
    """
    layer = hidden_layers(net, theta)[0]
    master = hidden_layers(teacher.net, teacher.theta)[0]
    bias = bool(layer.bias or master.bias)
    V, T = (each.incoming[:, : net.input_dim + bias] for each in (layer, master))
    if not _is_standard(net):
        root = _metric(net, bias)
        V, T = V @ root, T @ root
    v = np.linalg.norm(V, axis=1)
    t = np.linalg.norm(T, axis=1)
    cosines = (V / np.where(v > 0, v, 1.0)[:, None]) @ (T / np.where(t > 0, t, 1.0)[:, None]).T
    coefficients = np.asarray(np.linalg.lstsq(T.T, V.T, rcond=1e-10)[0].T, dtype=np.float64)
    roles = []
    smallest_out = DEAD * float(np.abs(layer.outgoing).max())
    smallest_in = DEAD * float(v.max())
    for i, f in enumerate(layer.activations):
        if float(np.abs(layer.outgoing[:, i]).max()) <= smallest_out or v[i] <= smallest_in:
            roles.append(NeuronRole(Role.DEAD, (), (), None))
            continue
        kin = np.array([same_function(f, g) for g in master.activations])
        score = np.where(kin, np.abs(cosines[i]) if f.parity else cosines[i], -1.0)
        explained = float(np.linalg.norm(coefficients[i] @ T) ** 2) / v[i] ** 2
        ratio = _output_ratio(layer.outgoing[:, i], master.outgoing)
        roles.append(_role(score, coefficients[i], coefficients[i] * t / v[i], explained, ratio))
    used = {j for role in roles if role.role in (Role.COPY, Role.AVERAGE) for j in role.teachers}
    return Structure(
        tuple(roles),
        duplicate_groups(net, theta),
        tuple(j for j in range(len(T)) if j not in used),
        cosines,
        coefficients,
    )


def duplicate_groups(net: Net | NetI, theta: Array) -> tuple[tuple[int, ...], ...]:
    """Groups of neurons of the first hidden layer with the same function up to sign and scale
    (weights within 1e-3).
    """
    found = copies(hidden_layers(net, theta)[0], SAME)
    leaders = dict.fromkeys(c.first for c in found)
    return tuple((first, *(c.second for c in found if c.first == first)) for first in leaders)


def _is_standard(net: Net | NetI) -> bool:
    """Whether the second moments of the input, and of (input, 1), are the unit matrix."""
    return isinstance(net, NetI) and all(
        c.mean is None and c.root is None for c in net.input.components()
    )


def _metric(net: Net | NetI, bias: bool) -> Array:
    """A square root of the second moments of the input, and of (input, 1) with biases."""
    D = net.input_dim
    if isinstance(net, NetI):
        mean = sum(
            (c.weight * c.mean for c in net.input.components() if c.mean is not None), np.zeros(D)
        )
        second = net.input.covariance() + np.outer(mean, mean)
    else:
        data = net.data
        weights = np.full(len(data.X), 1.0 / len(data.X)) if data.weights is None else data.weights
        mean = weights @ data.X
        second = (data.X * weights[:, None]).T @ data.X
    if bias:
        second = np.block([[second, mean[:, None]], [mean[None], np.ones((1, 1))]])
    values, vectors = np.linalg.eigh(second)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _output_ratio(own: Array, teachers: Array) -> Array:
    """Least-squares ratio of the output weights (O,) to those of each teacher neuron (O, M); NaN
    for silent ones.
    """
    size = np.einsum("oj,oj->j", teachers, teachers)
    return np.divide(own @ teachers, size, out=np.full(len(size), np.nan), where=size > 0.0)


def _role(
    score: Array, coefficients: Array, shares: Array, explained: float, ratio: Array
) -> NeuronRole:
    order = [int(j) for j in np.argsort(-np.abs(shares), kind="stable")]
    chosen = [j for j in order if abs(shares[j]) >= SHARE * abs(shares[order[0]])]
    best = int(np.argmax(score))
    if score[best] >= COPY or (
        len(chosen) == 1 and explained >= EXPLAINED and score[chosen[0]] > 0
    ):
        best = best if score[best] >= COPY else chosen[0]
        r = float(ratio[best])
        return NeuronRole(
            Role.COPY, (best,), (float(coefficients[best]),), r if np.isfinite(r) else None
        )
    if len(chosen) > 1 and explained >= EXPLAINED:
        return NeuronRole(
            Role.AVERAGE, tuple(chosen), tuple(float(coefficients[j]) for j in chosen), None
        )
    if len(chosen) == 1 and explained >= EXPLAINED and score[chosen[0]] > -1.0:
        return NeuronRole(Role.OPPOSED, (chosen[0],), (float(coefficients[chosen[0]]),), None)
    return NeuronRole(Role.UNALIGNED, (), (), None)
