"""Symmetries of the problem itself: maps of the input that exchange equal teacher neurons.

Let U be an orthogonal map of the inputs with teacher(U x) = teacher(x), and U x distributed as x.
Then a student and the student after U have the same loss.

Here U is sought among the maps that permute the weight vectors of the teacher's neurons, up to
sign, and leave what is orthogonal to all of them where it is. Such a map exists for a signed
permutation if and only if that keeps all inner products of the weights. It is a symmetry if
activations, biases and output weights agree as well (with a sign where the activation is odd,
without one where it is even), and if it commutes with the covariance of the input and keeps its
mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, user_level
from ..classification.hidden import same_function
from ..errors import AccuracyWarning, InvalidTypeError
from ..networks.infinite.neti import NetI
from ..networks.teacher import Teacher
from .distance import Function, function_distance

#: relative differences up to this are rounding of the teacher's weights or of the covariance
_EQUAL = 1e-10
#: partial permutations that are looked at for a pair of students
_NODES = 20_000


class _Image(NamedTuple):
    """Where a teacher neuron goes."""

    neuron: int
    sign: float


class TeacherSymmetry:
    """Signed permutations of the teacher's neurons that are symmetries of the loss.

    Parameters
    ----------
    net : NetI
        With a network as teacher.

    Raises
    ------
    InvalidTypeError
        If it has none.
    """

    def __init__(self, net: Any) -> None:
        if not isinstance(net, NetI) or not isinstance(net.teacher, Teacher):
            raise InvalidTypeError(
                "teacher_symmetry needs an inf.NetI whose teacher is an inf.Teacher: data and "
                "functions have no neurons "
                "that could be exchanged."
            )
        units = net.teacher_units
        self._V = units.W
        self._inverse: Array = np.asarray(np.linalg.pinv(units.W), dtype=np.float64)
        self._gram = units.W @ units.W.T
        self._norm = float(np.linalg.norm(units.W, 2))
        self._size = float(np.diagonal(self._gram).max(initial=0.0))
        f = net.teacher.net.layers[0].activations
        scale = max(
            float(np.abs(units.B).max(initial=0.0)), float(np.abs(units.b).max(initial=0.0)), 1e-300
        )
        self._images: list[list[_Image]] = []
        for i in range(len(f)):
            self._images.append([])
            for j in range(len(f)):
                for sign in (1.0, -1.0) if f[i].parity else (1.0,):
                    parity = f[i].parity if sign < 0.0 else 1.0
                    gap = max(
                        abs(units.b[j] - sign * units.b[i]),
                        float(np.abs(units.B[j] - parity * units.B[i]).max()),
                    )
                    if same_function(f[i], f[j]) and gap <= _EQUAL * scale:
                        self._images[i].append(_Image(j, sign))
        self._components = [
            (c.mean, c.root)
            for c in net.input.components()
            if c.root is not None or c.mean is not None
        ]

    def relates(self, a: Function, b: Function, distance: float) -> bool:
        """Whether a symmetry brings the student ``a`` within ``distance`` of the student ``b``."""
        if len(a.activations) != len(b.activations):
            return False
        for images in self._candidates(a, b, distance):
            change = np.array([sign * self._V[j] for j, sign in images]) - self._V
            if not self._keeps_input(change):
                continue
            weights = a.incoming.copy()
            weights[:, :-1] = self._moved(weights[:, :-1], change)
            if function_distance(a._replace(incoming=weights), b) <= distance:
                return True
        return False

    def _moved(self, rows: Array, change: Array) -> Array:
        """The map of rows (n, D) that adds ``change`` (M, D) to the teacher's weight vectors."""
        found: Array = rows + (rows @ self._inverse) @ change
        return found

    def _keeps_input(self, change: Array) -> bool:
        for mean, root in self._components:
            if (
                mean is not None
                and np.abs(self._moved(mean[None], change) - mean).max()
                > _EQUAL * np.abs(mean).max()
            ):
                return False
            if root is not None:
                cov = np.asarray(root @ root.T)
                there = self._moved(self._moved(cov, change).T, change)
                if np.abs(there - cov).max() > _EQUAL * np.abs(cov).max():
                    return False
        return True

    def _candidates(self, a: Function, b: Function, distance: float) -> Iterator[list[_Image]]:
        """Signed permutations that keep inner products, as far as the students' overlaps do not
        rule them out.
        """
        overlaps = _Overlaps(a, b, self._V, self._inverse, self._norm)
        chosen: list[_Image] = []
        waiting = [iter(self._images[0])] if self._images else []
        nodes = 0
        while waiting:
            image = next(waiting[-1], None)
            if image is None:
                waiting.pop()
                if chosen:
                    chosen.pop()
                continue
            nodes += 1
            if nodes > _NODES:
                _warn_of_many()
                return
            if not self._fits(chosen, image) or overlaps.least([*chosen, image]) > distance:
                continue
            if len(chosen) + 1 == len(self._images):
                yield [*chosen, image]
            else:
                chosen.append(image)
                waiting.append(iter(self._images[len(chosen)]))

    def _fits(self, chosen: list[_Image], image: _Image) -> bool:
        """Whether one more image keeps all inner products."""
        i, T = len(chosen), self._gram
        if any(image.neuron == other.neuron for other in chosen):
            return False
        pairs = [*enumerate(chosen), (i, image)]
        return all(
            abs(other.sign * image.sign * T[other.neuron, image.neuron] - T[k, i])
            <= _EQUAL * self._size
            for k, other in pairs
        )


class _Overlaps:
    """How far apart two students are at least, from what is known of a map."""

    def __init__(self, a: Function, b: Function, V: Array, inverse: Array, norm: float) -> None:
        first = a.incoming[:, :-1]
        second = b.incoming[:, :-1]
        self._R = first @ V.T / norm
        self._S = second @ V.T / norm
        p = np.column_stack([first - first @ inverse @ V, a.incoming[:, -1:]])
        q = np.column_stack([second - second @ inverse @ V, b.incoming[:, -1:]])
        parity = np.array([f.parity for f in a.activations], dtype=float)[:, None]
        self._same = _squares(p, q) + _squares(a.outgoing, b.outgoing)
        self._flipped = _squares(-p, q) + _squares(parity * a.outgoing, b.outgoing)
        self._flipped[parity[:, 0] == 0.0] = np.inf
        for i, f in enumerate(a.activations):
            for j, g in enumerate(b.activations):
                if not same_function(f, g):
                    self._same[i, j] = self._flipped[i, j] = np.inf

    def least(self, images: list[_Image]) -> float:
        """A lower bound of the distance for maps with these images of the first teachers; infinite
        if nothing matches.
        """
        from scipy.optimize import linear_sum_assignment

        R = self._R[:, : len(images)] * np.array([image.sign for image in images])
        S = self._S[:, [image.neuron for image in images]]
        squares = np.minimum(self._same + _squares(R, S), self._flipped + _squares(-R, S))
        try:
            rows, columns = linear_sum_assignment(squares)
        except ValueError:  # other activations
            return float("inf")
        return float(np.sqrt(squares[rows, columns].sum()))


def _squares(A: Array, B: Array) -> Array:
    """Squared distances (n, m) of rows."""
    found: Array = ((A[:, None] - B[None]) ** 2).sum(axis=2)
    return found


def _warn_of_many() -> None:
    import warnings

    warnings.warn(
        f"more than {_NODES} partial permutations of teachers were tried for a pair of "
        "solutions; they are left in different "
        "groups, though a symmetry may relate them. A larger rtol does not help; compare losses.",
        AccuracyWarning,
        stacklevel=user_level(),
    )
