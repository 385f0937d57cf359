"""Proofs of critical points of whole networks, in the few parameters of a symmetric family.

By symmetric criticality (R. Palais, Commun. Math. Phys. 69, 1979) a critical point of the family is
one of the whole network: its gradient there is invariant under the permutations. So existence and
uniqueness are Krawczyk's test in the P parameters of the family, in the coordinates
sqrt(multiplicity) z in which lengths are those of the whole network. The Hessian of the whole
network is the small matrices of the symmetry types, each as often as its dimension says, by Schur's
lemma; the signs of all their eigenvalues are proved over the box, from the Hessian of the finer
family with blocks (1, 1, 1, q - 3). Its cost does not depend on the number of neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from ..classification.hidden import homogeneity
from ..errors import MethodError
from ..networks.infinite.families.orbit_pairs import list_orbits, place_parameters
from ..networks.infinite.families.orbit_spectrum import FinerFamily, Pattern, across_blocks
from ..networks.infinite.families.orbits import SymmetricNetI
from .activations import exact_activation
from .ball import Ball, flint, magnitude, working_precision
from .certificate import Certificate
from .krawczyk import Outcome, Proof, float_matrix, inertia
from .network import BallEvaluation
from .pairs import BallMatrix, PairDerivatives, pair_derivatives, pair_value

#: Newton steps with the approximate inverse, each of which gains about ten digits
_MOST_STEPS = 40


class TypeInertia(NamedTuple):
    """Proved signs of one symmetry type, without repetitions."""

    name: str
    dimension: int
    negative: int
    positive: int


class BallOrbits:
    """Loss, gradient and Hessian of a family over a box of its parameters.

    Parameters
    ----------
    activation : Activation
    sizes : sequence of float
        Integers.
    students : sequence of int or None
    second_layer : bool
    """

    def __init__(
        self,
        activation: Activation,
        sizes: Sequence[float],
        students: Sequence[int | None],
        second_layer: bool,
    ) -> None:
        arb = flint().arb
        self.f = exact_activation(activation)
        places = place_parameters(sizes, students, second_layer)
        self.num_params = places.num_params
        self.orbits = list_orbits(sizes, students, places)
        self.students = tuple(students)
        self.counts = [1 if j is None else int(sizes[j]) for j in students]
        self._roots = [[arb(int(x)).sqrt() for x in row] for row in self.orbits.sizes]
        k = int(sum(sizes))
        v = flint().arb_mat(2, 1, [1, 0])
        w = flint().arb_mat(2, 1, [0, 1])
        self._teacher = k * pair_value(self.f, self.f, v, v)
        if k > 1:
            self._teacher += k * (k - 1) * pair_value(self.f, self.f, v, w)

    def evaluate(self, z: list[Ball], value: bool = True) -> BallEvaluation:
        """Loss (zero unless ``value``), gradient and Hessian over the box ``z`` of P balls."""
        arb = flint().arb
        P = self.num_params
        values = [*z, arb(0), arb(1)]
        loss = self._teacher if value else arb(0)
        gradient = [arb(0)] * (P + 2)
        rows = [[arb(0)] * (P + 2) for _ in range(P + 2)]
        for r in range(len(self.orbits.weight)):
            weight = int(self.orbits.weight[r])
            outputs = [int(each) for each in self.orbits.outputs[r]]
            found = self._pair(r, values)
            a1, a2 = (values[each] for each in outputs)
            if value:
                loss += weight * a1 * a2 * found.value
            self._add(r, found, weight, (a1, a2), outputs, gradient, rows)
        H = flint().arb_mat([row[:P] for row in rows[:P]])
        return BallEvaluation(loss, gradient[:P], H)

    def across(self, z: list[Ball]) -> tuple[list[list[Ball]], list[list[Ball]]]:
        """The Hessian along a further input, as :meth:`.orbit_loss.OrbitLoss.across`.

        Not in orthonormal bases: the trivial one for weights one on all students of a block, and
        the standard one for vectors t of one length.
        """
        arb = flint().arb
        values = [*z, arb(0), arb(1)]
        B = len(self.counts)
        trivial = [[arb(0)] * (B + 1) for _ in range(B + 1)]
        standard = [[arb(0)] * (B + 1) for _ in range(B + 1)]
        for r in range(len(self.orbits.weight)):
            x, y = (int(each) for each in self.orbits.blocks[r])
            o1, o2 = (int(each) for each in self.orbits.outputs[r])
            weight = int(self.orbits.weight[r])
            s = weight * values[o1] * values[o2]
            found = self._pair(r, values, further=True)
            last = found.d11.nrows() - 1
            for i, own in ((x, found.d11), (y, found.d22)):
                trivial[i][i] += s * own[last, last]
                if i < B:
                    standard[i][i] += s * own[last, last] / self.counts[i]
            mixed = s * found.d12[last, last]
            share = 0
            if y < B and self.students[x] is not None and self.students[x] == self.students[y]:
                p = self.counts[x]
                share = arb(-1) / (p * (p - 1)) if self.orbits.spread[r] else arb(1) / p
            for i, j in ((x, y), (y, x)):
                trivial[i][j] += mixed
                standard[i][j] += mixed * share
        return trivial, standard

    def _classes(self, r: int) -> list[int]:
        return [c for c, size in enumerate(self.orbits.sizes[r]) if size]

    def _pair(self, r: int, values: list[Ball], further: bool = False) -> PairDerivatives:
        """The pair of an orbit as two vectors of the roots of class sizes times entries.

        ``further``: with a last entry, which is zero, for an input without weights.
        """
        classes = self._classes(r)
        roots = self._roots[r]
        zero = [flint().arb(0)] * further
        x, y = (
            flint().arb_mat(
                len(classes) + further,
                1,
                [roots[c] * values[int(at[r, c])] for c in classes] + zero,
            )
            for at in (self.orbits.first, self.orbits.second)
        )
        return pair_derivatives(self.f, self.f, x, x if self.orbits.itself[r] else y)

    def _add(
        self,
        r: int,
        found: PairDerivatives,
        weight: int,
        a: tuple[Ball, Ball],
        outputs: list[int],
        gradient: list[Ball],
        rows: list[list[Ball]],
    ) -> None:
        """Add one orbit to gradient and Hessian."""
        classes = self._classes(r)
        roots = self._roots[r]
        first = [int(self.orbits.first[r, c]) for c in classes]
        second = [int(self.orbits.second[r, c]) for c in classes]
        s = weight * a[0] * a[1]
        o1, o2 = outputs
        d11 = found.d11.tolist()
        d12 = found.d12.tolist()
        d22 = found.d22.tolist()
        for at, d in ((first, found.d1.entries()), (second, found.d2.entries())):
            for i, c in enumerate(classes):
                slope = roots[c] * d[i]
                gradient[at[i]] += s * slope
                for o, other in ((o1, a[1]), (o2, a[0])):
                    term = weight * other * slope
                    rows[o][at[i]] += term
                    rows[at[i]][o] += term
        for i, c in enumerate(classes):
            for j, d in enumerate(classes):
                factor = s * roots[c] * roots[d]
                rows[first[i]][first[j]] += factor * d11[i][j]
                rows[second[i]][second[j]] += factor * d22[i][j]
                mixed = factor * d12[i][j]
                rows[first[i]][second[j]] += mixed
                rows[second[j]][first[i]] += mixed
        gradient[o1] += weight * a[1] * found.value
        gradient[o2] += weight * a[0] * found.value
        rows[o1][o2] += weight * found.value
        rows[o2][o1] += weight * found.value


class _Around:
    """A family as a function of x = sqrt(multiplicity) (z - centre), for :class:`Proof`."""

    def __init__(self, loss: BallOrbits, centre: list[Ball], scale: list[Ball]) -> None:
        self.loss = loss
        self.centre = centre
        self.scale = scale

    def at(self, x: list[Ball]) -> list[Ball]:
        """The box of z that belongs to one of x."""
        return [c + d * s for c, d, s in zip(self.centre, x, self.scale, strict=True)]

    def evaluate(self, theta: list[Ball], value: bool = True) -> BallEvaluation:
        """Loss (zero unless ``value``), gradient and Hessian in x."""
        found = self.loss.evaluate(self.at(theta), value)
        P = len(self.scale)
        rows = found.hessian.tolist()
        scaled = [[rows[i][j] * self.scale[i] * self.scale[j] for j in range(P)] for i in range(P)]
        gradient = [g * s for g, s in zip(found.gradient, self.scale, strict=True)]
        return BallEvaluation(found.value, gradient, flint().arb_mat(scaled))


def certify_family(
    fam: SymmetricNetI, z: Array, frozen: NDArray[np.bool_], gauge: bool, precision: int
) -> Certificate:
    """What :func:`infflow.certify` says of a family.

    Parameters
    ----------
    fam : SymmetricNetI
    z : (P,) array
    frozen : (P,) boolean array
        All output weights, or none.
    gauge : bool
        Whether to hold output weights of homogeneous neurons.
    precision : int
        Bits.

    Raises
    ------
    MethodError
        If block sizes are no integers, or the activation is not covered.
    InvalidValueError
        If other parameters are frozen.
    """
    if not fam.is_whole:
        raise MethodError(
            f"certify speaks about whole networks, and teachers={list(fam.teachers)} are not all "
            "integers. Use fam.resized(teachers=[...]); fam.symmetry_types(z) gives the Hessian "
            "for real sizes, without a proof."
        )
    fam.require_frozen(frozen)
    fixed = tuple(int(k) for k in np.flatnonzero(frozen))
    held = _gauge(fam) if gauge and not fixed else ()
    with working_precision(precision):
        proof = _FamilyProof(fam, z, held or fixed)
        found = proof.run()
        lines = _assumptions(fam, fixed, held, proof)
    return found.certificate(z, fixed, held, lines, precision)


def _gauge(fam: SymmetricNetI) -> tuple[int, ...]:
    """Output weights that fix the scaling of homogeneous neurons."""
    if not (fam.train_second_layer and homogeneity(fam.activation)):
        return ()
    return tuple(int(k) for k in fam.places.output)


class _FamilyProof:
    """One proof; runs within a working precision.

    Parameters
    ----------
    fam : SymmetricNetI
        With blocks of integer sizes.
    z : (P,) array
    held : tuple of int
        Output weights that are held at their values, all or none.
    """

    def __init__(self, fam: SymmetricNetI, z: Array, held: tuple[int, ...]) -> None:
        self.fam = fam
        self.z = z
        self.held = held
        self.keep = [k for k in range(len(z)) if k not in held]
        self.types: list[TypeInertia] = []
        self.further: list[TypeInertia] = []  #: along one input more

    def run(self) -> Outcome:
        """Prove existence and uniqueness in the family, then the signs of all symmetry types.

        The radius of the outcome is about entries of z, the uniqueness radius about the length of
        a difference in the whole network.
        """
        fam = self.fam
        z = self.z
        arb = flint().arb
        loss = BallOrbits(fam.activation, fam.teachers, fam.students, fam.train_second_layer)
        roots = [arb(int(m)).sqrt() for m in fam.multiplicities]
        around = _Around(loss, [arb(float(x)) for x in z], [1 / root for root in roots])
        centre = _polished(around, self.keep)
        if centre is not None:
            around = _Around(loss, centre, around.scale)
        found = Proof(around, np.zeros(len(z)), np.array(self.keep)).run()
        if found.reason:
            return found
        there = around.at([arb(0, found.radius if k in self.keep else 0) for k in range(len(z))])
        off = [c - float(x) for c, x in zip(around.centre, z, strict=True)]
        shift = max(magnitude(d * root) for d, root in zip(off, roots, strict=True))
        unique = float(np.nextafter(found.uniqueness_radius - shift, -np.inf))
        if not unique > 0.0:
            return Outcome(
                f"The critical point that Newton's method finds from z is {shift:.2g} away in the "
                f"whole network, and is proved to be unique within "
                f"{found.uniqueness_radius:.2g} only. Begin nearer, with inf.train(fam, z)."
            )
        found.uniqueness_radius = unique
        found.radius = max(magnitude(b - float(x)) for b, x in zip(there, z, strict=True))
        return self._with_types(found, there)

    def _with_types(self, found: Outcome, box: list[Ball]) -> Outcome:
        """Index and number of positive eigenvalues of the whole network."""
        fam = self.fam
        own = TypeInertia("trivial", 1, found.index, found.positive)
        types = [own, *_other_types(fam, box, bool(self.held))]
        loss = BallOrbits(fam.activation, fam.teachers, fam.students, fam.train_second_layer)
        self.further = _further_inputs(fam, loss, box)
        count = int(fam.num_inputs - fam.num_teachers)
        types += [each._replace(dimension=each.dimension * count) for each in self.further if count]
        for each in types:
            if each.negative < 0:
                return Outcome(
                    "The critical point exists, but the signs of the eigenvalues of its Hessian "
                    f"in the symmetry type {each.name!r} could not be proved. Raise precision."
                )
        found.index = sum(each.dimension * each.negative for each in types)
        found.positive = sum(each.dimension * each.positive for each in types)
        self.types = types
        return found


def _polished(around: _Around, keep: list[int]) -> list[Ball] | None:
    """A centre that is a critical point to the working precision, by Newton's method from z.

    Its steps have the inverse of the first Hessian in float64. None where they do not shrink; then
    the proof says what is wrong.
    """
    arb = flint().arb
    centre = list(around.centre)
    zero = [arb(0)] * len(centre)
    rows = around.evaluate(zero, False).hessian.tolist()
    H = np.array([[float(rows[i][j].mid()) for j in keep] for i in keep])
    if not np.isfinite(H).all() or not len(keep):
        return None
    try:
        inverse = float_matrix(np.linalg.inv(H))
    except np.linalg.LinAlgError:
        return None
    last = math.inf
    for _ in range(_MOST_STEPS):
        here = _Around(around.loss, centre, around.scale)
        gradient = here.evaluate(zero, False).gradient
        step = (inverse * flint().arb_mat(len(keep), 1, [gradient[k] for k in keep])).entries()
        length = max(magnitude(each) for each in step)
        if not length < 0.5 * last:
            break
        for k, d in zip(keep, step, strict=True):
            centre[k] = (centre[k] - (d * around.scale[k])).mid()
        last = length
    return centre if last < 1e-3 else None


def _other_types(fam: SymmetricNetI, z: list[Ball], held: bool) -> list[TypeInertia]:
    """Proved signs of all types but the trivial one; -1 where they could not be proved."""
    finer = FinerFamily(fam.teachers, fam.students, fam.train_second_layer)
    loss = BallOrbits(fam.activation, finer.sizes, finer.students, fam.train_second_layer)
    H = loss.evaluate([z[int(k)] for k in finer.source], False).hessian
    found = []
    for pattern in finer.patterns():
        chosen = pattern.without_outputs() if held else pattern
        signs = _signs(chosen, H)
        found.append(TypeInertia(chosen.name, int(chosen.dimension), *(signs or (-1, -1))))
    return found


def _further_inputs(fam: SymmetricNetI, loss: BallOrbits, z: list[Ball]) -> list[TypeInertia]:
    """Proved signs along one further input; -1 where they could not be proved."""
    trivial, standard = loss.across(z)
    found = []
    for name, dimension, members, is_standard in across_blocks(fam.teachers, fam.students):
        H = standard if is_standard else trivial
        small = flint().arb_mat([[H[i][j] for j in members] for i in members])
        signs = _signs_of(small) or (-1, -1)
        found.append(TypeInertia(name, int(dimension), *signs))
    return found


def _signs(pattern: Pattern, H: BallMatrix) -> tuple[int, int] | None:
    """Inertia of V' H V for the vectors V of a type, whose entries are integers."""
    V = float_matrix(pattern.vectors)
    return _signs_of(V.transpose() * H * V)


def _signs_of(small: BallMatrix) -> tuple[int, int] | None:
    """Inertia of a symmetric matrix of balls."""
    middle = np.array([[float(x.mid()) for x in row] for row in small.tolist()])
    if not np.isfinite(middle).all():
        return None
    lengths = np.sqrt(np.abs(np.diagonal(middle)))
    lengths[lengths == 0.0] = 1.0
    n = len(lengths)
    # Sylvester's law: scaled by powers of two, which are exact
    powers = 2.0 ** -np.round(np.log2(lengths))
    D = flint().arb_mat(
        n, n, [float(powers[i]) if i == j else 0 for i in range(n) for j in range(n)]
    )
    scaled = D * small * D
    basis = np.linalg.eigh(powers[:, None] * middle * powers)[1]
    return inertia(scaled, basis)


def _assumptions(
    fam: SymmetricNetI, fixed: tuple[int, ...], held: tuple[int, ...], proof: _FamilyProof
) -> tuple[str, ...]:
    """What the statement is about."""
    K, k, D = (int(n) for n in (fam.num_students, fam.num_teachers, fam.num_inputs))
    lines = [
        "infinite data, loss E|student - teacher|^2 without a factor 1/2, standard normal input",
        f"{K} students of {k} orthonormal teachers in {D} inputs, as in {fam!r}",
        exact_activation(fam.activation).formula,
        "reduction: unique in the family, and critical in the whole network by symmetry",
    ]
    if proof.types:
        names = ", ".join(f"{each.name} ({each.dimension})" for each in proof.types)
        lines.append(f"the eigenvalues are those of all symmetry types: {names}")
        negative = sum(each.dimension * each.negative for each in proof.further)
        if all(each.negative >= 0 for each in proof.further):
            lines.append(
                f"each further input, on which the weights are zero, has {K - negative} positive "
                f"and {negative} negative eigenvalues"
            )
    if not fam.train_second_layer or fixed:
        held_at = "their values" if fixed else "one"
        lines.append(f"output weights are held at {held_at}; the statement is about the others")
    if held:
        lines.append(
            f"gauge: output weights z[{', '.join(map(str, held))}] hold the scaling of homogeneous "
            "neurons; in the whole network there is one for each neuron"
        )
    return tuple(lines)
