"""The Hessian of a whole network at a point of a symmetric family, symmetry type by symmetry type.

Permutations within teacher blocks leave loss and point unchanged, so the Hessian of the whole
network is one small matrix for each irreducible representation that the weights contain, repeated
as often as its dimension says. With a block J of q teachers, of which students shadow some:

=====================================  ===========================  =========================
type                                   weights, for example         dimension
=====================================  ===========================  =========================
trivial                                those of the family          1
standard of J                          a vector t, sum t = 0        q - 1
product of the standard ones of J, L   t u'                         (q_J - 1)(q_L - 1)
antisymmetric of J                     t u' - u t'                  (q - 1)(q - 2)/2
symmetric of J                         t u' + u t', no diagonal     q (q - 3)/2
=====================================  ===========================  =========================

Inputs beyond those of the teachers, on which all weights are zero, add the K x K matrix along one
for each of them: trivial, and standard of each block.

One vector of each type is invariant under all permutations but those of three teachers of a block.
So the matrices are read off the Hessian of the finer family with blocks (1, 1, 1, q - 3), which is
evaluated like any other. Small blocks have fewer types: q = 1 none, q = 2 the standard one, q = 3
that and the antisymmetric one; their finer blocks are (1,), (1, 1), (1, 1, 1). Real sizes have the
types whose dimension is positive; q between 2 and 3 has a finer block of negative size, which does
not matter, since everything is a polynomial in the sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...._validation import Array
from .orbit_pairs import Index, Places, place_parameters

if TYPE_CHECKING:
    from .orbit_loss import Across


class SymmetryType(NamedTuple):
    """One symmetry type of the Hessian of the whole network.

    Attributes
    ----------
    name : str
        Such as ``"standard of block 1"``.
    dimension : int or float
        How often each eigenvalue occurs; real where block sizes are.
    hessian : (n, n) array
        The Hessian in an orthonormal basis of the n copies of the type.
    vectors : (P_finer, n) array
        That basis, in the parameters of the finer family with blocks (1, 1, 1, q - 3); for the
        trivial type (P, n) in those of the family itself.
    blocks : tuple of int
        Teacher blocks whose members it tells apart.
    """

    name: str
    dimension: int | float
    hessian: Array
    vectors: Array
    blocks: tuple[int, ...] = ()


class Pattern(NamedTuple):
    """The vectors of one symmetry type in the coordinates of the finer family.

    ``vectors`` (P_fine, n); those of ``gauge`` (n,) change output weights only.
    """

    name: str
    dimension: int | float
    vectors: Array
    gauge: tuple[bool, ...]
    blocks: tuple[int, ...]

    def without_outputs(self) -> Pattern:
        """The vectors that change no output weights."""
        keep = [k for k, is_output in enumerate(self.gauge) if not is_output]
        return self._replace(vectors=self.vectors[:, keep], gauge=(False,) * len(keep))


def three_apart(q: float) -> list[float]:
    """Sizes (1, 1, 1, q - 3) in the place of q, as far as there are."""
    finer = [1.0] * int(min(q, 3.0))
    return finer if q == len(finer) else [*finer, q - len(finer)]


class FinerFamily:
    """Finer blocks, such as (1, 1, 1, q - 3) in the place of q.

    Parameters
    ----------
    sizes, students, second_layer
        Of the coarse family, as :class:`~.orbit_loss.OrbitLoss` takes them.
    finer : list of list of float, optional
        Sizes of the blocks that each block is divided into; by default :func:`three_apart`.

    Attributes
    ----------
    sizes, students : list
        Of the finer family, as :class:`~.orbit_loss.OrbitLoss` takes them.
    places : Places
        Of its parameters.
    source : (P_fine,) array
        The parameter of the coarse family that each one is equal to.
    """

    def __init__(
        self,
        sizes: Sequence[float],
        students: Sequence[int | None],
        second_layer: bool,
        finer: Sequence[Sequence[float]] | None = None,
    ) -> None:
        self._coarse_sizes = sizes
        self._coarse_students = students
        self.sizes: list[float] = []
        self._parts: list[list[int]] = []  # numbers of the finer blocks of each block
        for parts in [three_apart(q) for q in sizes] if finer is None else finer:
            self._parts.append(list(range(len(self.sizes), len(self.sizes) + len(parts))))
            self.sizes += parts
        self.students: list[int | None] = []
        self._members: list[list[int]] = []  # numbers of the finer blocks of each student block
        for shadowed in students:
            shadows: Sequence[int | None] = [None] if shadowed is None else self._parts[shadowed]
            count = len(self.students)
            self._members.append(list(range(count, count + len(shadows))))
            self.students += shadows
        self.places = place_parameters(self.sizes, self.students, second_layer)
        self.source = self._find_source(place_parameters(sizes, students, second_layer))

    def _find_source(self, coarse: Places) -> Index:
        source = np.full(self.places.num_params, -1, dtype=np.int64)
        fine = self.places
        for i, shadowed in enumerate(self._coarse_students):
            for f in self._members[i]:
                if shadowed is not None:
                    source[fine.own[f]] = coarse.own[i]
                    if fine.within[f] >= 0:
                        source[fine.within[f]] = coarse.within[i]
                if fine.output[f] >= 0:
                    source[fine.output[f]] = coarse.output[i]
                for j, parts in enumerate(self._parts):
                    for part in parts:
                        if part != self.students[f]:
                            equal = coarse.within[i] if j == shadowed else coarse.between[i, j]
                            source[fine.between[f, part]] = equal
        return source

    # ---------------------------------------------------------------------------- test vectors

    def patterns(self) -> list[Pattern]:
        """All types but the trivial one."""
        found = []
        for j, q in enumerate(self._coarse_sizes):
            if q >= 2.0:
                found.append(self._standard(j, q))
            if q > 2.0:
                found.append(self._antisymmetric(j, q))
            if q > 3.0:
                found.append(self._symmetric(j, q))
            for l in range(j + 1, len(self._coarse_sizes)):
                r = self._coarse_sizes[l]
                if min(q, r) >= 2.0:
                    found.append(self._product(j, l, (q - 1.0) * (r - 1.0)))
        return [each for each in found if each.vectors.shape[1]]

    def _place(self, f: int, part: int) -> int:
        """Where the weight of the finer block ``f`` on one teacher of a finer block is."""
        at = self.places.own[f] if part == self.students[f] else self.places.between[f, part]
        return int(at)

    def _shadows(self, j: int) -> list[list[int]]:
        """Finer blocks of those student blocks that shadow block j."""
        return [
            members
            for members, shadowed in zip(self._members, self._coarse_students, strict=True)
            if shadowed == j
        ]

    def _vector(self, entries: dict[int, float]) -> Array:
        found = np.zeros(self.places.num_params)
        for place, entry in entries.items():
            found[place] += entry
        return found

    def _pattern(
        self,
        name: str,
        dimension: float,
        blocks: tuple[int, ...],
        vectors: list[dict[int, float]],
        outputs: int = 0,
    ) -> Pattern:
        """``outputs``: how many of the vectors, the last ones, change output weights."""
        n = len(vectors)
        columns = np.zeros((self.places.num_params, n))
        for k, entries in enumerate(vectors):
            columns[:, k] = self._vector(entries)
        exact = int(dimension) if float(dimension).is_integer() else dimension
        gauge = tuple(k >= n - outputs for k in range(n))
        return Pattern(name, exact, columns, gauge, blocks)

    def _standard(self, j: int, q: float) -> Pattern:
        """Vectors t = e_1 - e_2 along the diagonal, the rows and the columns of the weights."""
        first, second = self._parts[j][:2]
        vectors: list[dict[int, float]] = []
        outputs: list[dict[int, float]] = []
        for members, shadowed in zip(self._members, self._coarse_students, strict=True):
            if shadowed == j:
                one, two = members[:2]
                for parts in self._parts:
                    row = {self._place(one, part): 1.0 for part in parts}
                    row |= {self._place(two, part): -1.0 for part in parts}
                    vectors.append(row)
                if q != 2.0:  # where it is the mean of rows and columns
                    vectors.append({self._place(one, first): 1.0, self._place(two, second): -1.0})
                if self.places.output[one] >= 0:
                    outputs.append(
                        {int(self.places.output[one]): 1.0, int(self.places.output[two]): -1.0}
                    )
            column = {self._place(f, first): 1.0 for f in members}
            column |= {self._place(f, second): -1.0 for f in members}
            vectors.append(column)
        return self._pattern(
            f"standard of block {j}", q - 1.0, (j,), [*vectors, *outputs], len(outputs)
        )

    def _antisymmetric(self, j: int, q: float) -> Pattern:
        """Around a triangle of three teachers, minus the other way round."""
        vectors = []
        parts = self._parts[j]
        for members in self._shadows(j):
            entries = {}
            for a, b in ((0, 1), (1, 2), (2, 0)):
                entries[self._place(members[a], parts[b])] = 1.0
                entries[self._place(members[b], parts[a])] = -1.0
            vectors.append(entries)
        return self._pattern(
            f"antisymmetric of block {j}", (q - 1.0) * (q - 2.0) / 2.0, (j,), vectors
        )

    def _symmetric(self, j: int, q: float) -> Pattern:
        """(e_1 - e_2) u' + u (e_1 - e_2)', u = (q - 3) e_3 minus the sum of the rest."""
        vectors = []
        parts = self._parts[j]
        for members in self._shadows(j):
            entries = {}
            for a, sign in ((0, 1.0), (1, -1.0)):
                for b, entry in ((2, sign * (q - 3.0)), (3, -sign)):
                    entries[self._place(members[a], parts[b])] = entry
                    entries[self._place(members[b], parts[a])] = entry
            vectors.append(entries)
        return self._pattern(f"symmetric of block {j}", q * (q - 3.0) / 2.0, (j,), vectors)

    def _product(self, j: int, l: int, dimension: float) -> Pattern:
        """(e_1 - e_2) of block j times that of block l."""
        vectors = []
        for shadowed, other in ((j, l), (l, j)):
            for members in self._shadows(shadowed):
                vectors.append(
                    {
                        self._place(members[a], self._parts[other][b]): 1.0 - 2.0 * (a != b)
                        for a in (0, 1)
                        for b in (0, 1)
                    }
                )
        return self._pattern(f"product of blocks {j} and {l}", dimension, (j, l), vectors)


def trivial_type(H: Array, multiplicities: Array) -> SymmetryType:
    """The Hessian (P, P) of the family itself, in orthonormal coordinates of the whole."""
    roots = np.sqrt(multiplicities)
    return SymmetryType("trivial", 1, H / roots / roots[:, None], np.diag(1.0 / roots))


def symmetry_type(pattern: Pattern, H: Array, multiplicities: Array) -> SymmetryType:
    """One type from the Hessian of the finer family and the multiplicities of its parameters."""
    V = pattern.vectors
    gram = V.T @ (multiplicities[:, None] * V)
    lengths = np.sqrt(np.diagonal(gram))
    V = V / lengths
    gram = gram / lengths / lengths[:, None]
    inverse = np.linalg.inv(np.linalg.cholesky(gram))
    V = V @ inverse.T
    small = V.T @ H @ V
    symmetric = (small + small.T) / 2
    return SymmetryType(pattern.name, pattern.dimension, symmetric, V, pattern.blocks)


class AcrossBlocks(NamedTuple):
    """A type of further inputs: its name, for one of them how often, and its student blocks."""

    name: str
    dimension: float
    members: list[int]
    is_standard: bool


def across_blocks(sizes: Sequence[float], students: Sequence[int | None]) -> list[AcrossBlocks]:
    """The types of weights on an input on which all weights are zero."""
    found = [AcrossBlocks("further inputs", 1.0, list(range(len(students))), False)]
    for j, q in enumerate(sizes):
        members = [i for i, shadowed in enumerate(students) if shadowed == j]
        if q > 1.0 and members:
            name = f"further inputs, standard of block {j}"
            found.append(AcrossBlocks(name, q - 1.0, members, True))
    return found


def across_types(
    across: Across, sizes: Sequence[float], students: Sequence[int | None], further: float
) -> list[SymmetryType]:
    """The types of ``further`` inputs."""
    found = []
    for name, dimension, members, is_standard in across_blocks(sizes, students):
        H = (across.standard if is_standard else across.trivial)[np.ix_(members, members)]
        count = dimension * further
        exact = int(count) if float(count).is_integer() else count
        vectors = np.eye(len(students))[:, members]
        found.append(SymmetryType(name, exact, H, vectors))
    return found
