"""Which pairs of neurons of a symmetric family are exchanged by permutations, as index arrays.

A student block that shadows a teacher block has one student for each teacher of it. Entries of its
weights are equal on the own teacher (*own*), on the others of the block (*within*), and on every
other block (*between*): one parameter each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array

Index = NDArray[np.int64]


class Places(NamedTuple):
    """Where the parameters of a family are in z; -1 for those that do not exist."""

    own: Index  #: (B,)
    within: Index  #: (B,)
    between: Index  #: (B, B_teachers)
    output: Index  #: (B,)
    num_params: int


def place_parameters(
    sizes: Sequence[float], students: Sequence[int | None], second_layer: bool
) -> Places:
    """Block by block own, within, between; then the output weights, if they are parameters."""
    B = len(students)
    own = np.full(B, -1, dtype=np.int64)
    within = own.copy()
    output = own.copy()
    between = np.full((B, len(sizes)), -1, dtype=np.int64)
    count = 0
    for i, shadowed in enumerate(students):
        if shadowed is not None:
            own[i] = count
            count += 1
            if sizes[shadowed] != 1.0:
                within[i] = count
                count += 1
        for j in range(len(sizes)):
            if j != shadowed:
                between[i, j] = count
                count += 1
    if second_layer:
        output[:] = count + np.arange(B)
        count += B
    return Places(own, within, between, output, count)


def students_in(sizes: Sequence[float], students: Sequence[int | None]) -> Array:
    """Numbers of neurons (B,) of the student blocks."""
    return np.array([1.0 if j is None else sizes[j] for j in students])


class Orbits(NamedTuple):
    """The orbits of pairs (x, y), x a student, y a student or a teacher; see ``orbit_kernels``."""

    first: Index  #: (R, C) entries of x in ``values``
    second: Index  #: (R, C) entries of y
    sizes: Array  #: (R, C) coordinates of each class
    weight: Array  #: (R,) number of ordered pairs, times -2 for pairs with teachers
    outputs: Index  #: (R, 2) output weights of x and y in ``values``
    itself: NDArray[np.bool_]  #: (R,) x is y
    spread: NDArray[np.bool_]  #: (R,) pairs of different indices, of which there may be many
    neurons: Index  #: (R, 2) numbers of x and y: B students, their B twins, the teacher
    blocks: Index  #: (R, 2) the same, twins as the students that they are like


class _Member(NamedTuple):
    """A neuron of a pair: entries on its own teacher, on the rest of that block, and elsewhere."""

    block: int | None  #: teacher block of its own teacher
    own: int
    within: int
    between: Sequence[int]
    output: int
    number: int


def list_orbits(sizes: Sequence[float], students: Sequence[int | None], places: Places) -> Orbits:
    """All orbits of pairs of students with students and teachers."""
    B, P = len(students), places.num_params
    zero = P
    one = P + 1
    counts = students_in(sizes, students)
    output = np.where(places.output < 0, one, places.output)
    blocks = [
        _Member(
            students[i],
            int(places.own[i]),
            int(places.within[i]),
            places.between[i].tolist(),
            int(output[i]),
            i,
        )
        for i in range(B)
    ]
    nothing = [zero] * len(sizes)
    teachers = [_Member(j, one, zero, nothing, one, 2 * B) for j in range(len(sizes))]
    found = _Collector(sizes, B)
    for i, x in enumerate(blocks):
        found.add(x, x, counts[i], matched=True)
        if x.block is not None:
            found.add(x, x._replace(number=B + i), counts[i] * (counts[i] - 1.0), matched=False)
        for k in range(i + 1, B):
            found.add_all(x, blocks[k], 2.0, counts[i], counts[k])
        for j, y in enumerate(teachers):
            found.add_all(x, y, -2.0, counts[i], sizes[j])
    return found.orbits()


class _Collector:
    """Rows of :class:`Orbits`, as they are found."""

    def __init__(self, sizes: Sequence[float], num_blocks: int) -> None:
        self.sizes = sizes
        self.B = num_blocks
        self.rows: list[tuple[list[int], list[int], list[float]]] = []
        self.weight: list[float] = []
        self.outputs: list[tuple[int, int]] = []
        self.neurons: list[tuple[int, int]] = []
        self.spread: list[bool] = []

    def add_all(self, x: _Member, y: _Member, factor: float, p: float, q: float) -> None:
        """The one or two orbits of different neurons of two blocks with p and q members."""
        if x.block is not None and x.block == y.block:
            self.add(x, y, factor * p, matched=True)
            self.add(x, y, factor * p * (p - 1.0), matched=False)
        else:
            self.add(x, y, factor * p * q, matched=False)

    def add(self, x: _Member, y: _Member, weight: float, matched: bool) -> None:
        """One orbit; ``matched``: x and y have the same own teacher."""
        if weight == 0.0:
            return
        first: list[int] = []
        second: list[int] = []
        sizes: list[float] = []

        def put(u: int, v: int, size: float) -> None:
            if size != 0.0:
                first.append(u)
                second.append(v)
                sizes.append(size)

        for block, size in enumerate(self.sizes):
            rest_x = x.within if x.block == block else x.between[block]
            rest_y = y.within if y.block == block else y.between[block]
            left = size
            if matched and x.block == block:
                put(x.own, y.own, 1.0)
                left -= 1.0
            else:
                if x.block == block:
                    put(x.own, rest_y, 1.0)
                    left -= 1.0
                if y.block == block:
                    put(rest_x, y.own, 1.0)
                    left -= 1.0
            put(rest_x, rest_y, left)
        self.rows.append((first, second, sizes))
        self.weight.append(weight)
        self.outputs.append((x.output, y.output))
        self.neurons.append((x.number, y.number))
        self.spread.append(not matched)

    def orbits(self) -> Orbits:
        """Padded to one number of classes."""
        longest = max(len(row[2]) for row in self.rows)
        R = len(self.rows)
        first = np.zeros((R, longest), dtype=np.int64)
        second = np.zeros((R, longest), dtype=np.int64)
        sizes = np.zeros((R, longest))
        for r, (u, v, s) in enumerate(self.rows):
            first[r, : len(u)] = u
            second[r, : len(v)] = v
            sizes[r, : len(s)] = s
        neurons = np.array(self.neurons, dtype=np.int64)
        is_twin = (neurons >= self.B) & (neurons < 2 * self.B)
        blocks = np.where(is_twin, neurons - self.B, neurons)
        blocks[neurons == 2 * self.B] = self.B
        return Orbits(
            first,
            second,
            sizes,
            np.array(self.weight),
            np.array(self.outputs, dtype=np.int64),
            neurons[:, 0] == neurons[:, 1],
            np.array(self.spread),
            neurons,
            blocks,
        )


class Rows(NamedTuple):
    """The weights of one student of each block, as vectors over classes of coordinates."""

    entries: Index  #: (B, C) places in ``values``
    sizes: Array  #: (B, C) coordinates of each class; 0 where there is none
    columns: Array  #: (B_teachers, B, C) by how much an entry counts in the sum of a column
    outputs: Index  #: (B,) places of output weights in ``values``
    counts: Array  #: (B,) students of each block


def list_rows(sizes: Sequence[float], students: Sequence[int | None], places: Places) -> Rows:
    """What the sums over neurons need: sum_i w_il for a coordinate l of each teacher block."""
    B = len(students)
    M = len(sizes)
    P = places.num_params
    counts = students_in(sizes, students)
    entries = np.full((B, M + 1), P, dtype=np.int64)
    row_sizes = np.zeros((B, M + 1))
    columns = np.zeros((M, B, M + 1))
    for i, shadowed in enumerate(students):
        for j in range(M):
            if j != shadowed:
                entries[i, j] = places.between[i, j]
                row_sizes[i, j] = sizes[j]
                columns[j, i, j] = counts[i]
                continue
            entries[i, M] = places.own[i]
            row_sizes[i, M] = 1.0
            columns[j, i, M] = 1.0
            if places.within[i] >= 0:
                entries[i, j] = places.within[i]
                row_sizes[i, j] = columns[j, i, j] = sizes[j] - 1.0
    outputs = np.where(places.output < 0, P + 1, places.output)
    return Rows(entries, row_sizes, columns, outputs, counts)


def multiplicities(sizes: Sequence[float], students: Sequence[int | None], places: Places) -> Array:
    """How many parameters of the whole network each entry of z stands for, (P,)."""
    counts = students_in(sizes, students)
    found = np.empty(places.num_params)
    for i, shadowed in enumerate(students):
        if shadowed is not None:
            found[places.own[i]] = counts[i]
            if places.within[i] >= 0:
                found[places.within[i]] = counts[i] * (counts[i] - 1.0)
        for j, size in enumerate(sizes):
            if j != shadowed:
                found[places.between[i, j]] = counts[i] * size
        if places.output[i] >= 0:
            found[places.output[i]] = counts[i]
    return found
