"""The loss next to a solution that equals the teacher, where the plain sum is lost in rounding.

The residual is f_1 - f_0 for a path of networks f_s = f(theta_0 + s delta) from the teacher to the
student, so that

    L = E (f_1 - f_0)^2 = int_0^1 int_0^1 delta' E[grad f_s grad f_t'] delta ds dt,

whose integrand is of the size of the result: nothing cancels. The teacher is first written with
the student's neurons: signs of odd and even activations and scales of homogeneous ones are those of
the student, a teacher neuron that several students share is split among them, and a student
that matches none stands opposite a neuron of weight zero. Each of these leaves the teacher's function as it is,
so the identity holds for every matching; a good one only makes delta small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation, polynomial
from ..integrals.evaluators import Arguments, PairEvaluator
from . import infinite_kernels as kernels
from .infinite import Units

# A student further than this from its teacher neuron, relative to its length, is left unmatched: the
# two-point Gauss rule then errs by less than 0.01^4 / 4320, about 1e-12, relative to the loss.
_NEAR = 0.01


class Matching(NamedTuple):
    """Students, and the teacher written with the same neurons (all plus a constant): W, b, B each."""

    student: Units
    teacher: Units
    activations: list[Activation]

    @property
    def exact(self) -> bool:
        """Whether student and teacher are the same network."""
        return all(np.array_equal(a, b) for a, b in zip(self.student, self.teacher, strict=True))

    @property
    def close(self) -> bool:
        """Whether what is left unmatched is small: the difference of the output weights says so."""
        size = max(float(np.abs(self.teacher.B).max()), float(np.abs(self.teacher.c).max()))
        gap = max(
            float(np.abs(self.student.B - self.teacher.B).max()), float(np.abs(self.student.c - self.teacher.c).max())
        )
        return gap <= _NEAR * size


def match(student: Units, teacher: Units, f: list[Activation], g: list[Activation]) -> Matching:
    """Write the teacher with the neurons of the student; homogeneous ones with w = b = 0, which give zero, are left out."""
    alive = [i for i, a in enumerate(f) if not a.homogeneous or student.W[i].any() or student.b[i]]
    if len(alive) < len(f):
        f = [f[i] for i in alive]
        student = Units(student.W[alive], student.b[alive], student.B[alive], student.c)
    # of every student its teacher neuron (-1: none), the factor of that one's (w, b), and that of its output vector
    near, scale, gauge = np.full(len(f), -1), np.ones(len(f)), np.ones(len(f))
    for a in dict.fromkeys(f):
        group = np.flatnonzero([other == a for other in f])
        near[group], scale[group], gauge[group] = _nearest(student, group, a, teacher, g)
    own = student.B / gauge[:, None]  # output weights in the teacher's gauge
    count, total = np.zeros(len(g)), np.zeros_like(teacher.B)
    paired = near >= 0
    np.add.at(count, near[paired], 1.0)
    np.add.at(total, near[paired], own[paired])
    missing = (teacher.B - total) / np.maximum(count, 1.0)[:, None]
    W = np.where(paired[:, None], scale[:, None] * teacher.W[near], student.W)
    b = np.where(paired, scale * teacher.b[near], student.b)
    B = np.where(paired[:, None], gauge[:, None] * (own + missing[near]), 0.0)
    extra = [int(j) for j in np.flatnonzero(count == 0)]
    zero = np.zeros((len(extra), student.B.shape[1]))
    left = Units(
        np.vstack([student.W, teacher.W[extra]]),
        np.concatenate([student.b, teacher.b[extra]]),
        np.vstack([student.B, zero]),
        student.c,
    )
    right = Units(
        np.vstack([W, teacher.W[extra]]),
        np.concatenate([b, teacher.b[extra]]),
        np.vstack([B, teacher.B[extra]]),
        teacher.c,
    )
    return Matching(left, right, [*f, *(g[j] for j in extra)])


def _nearest(
    student: Units, group: NDArray[np.intp], f: Activation, teacher: Units, g: list[Activation]
) -> tuple[NDArray[np.intp], Array, Array]:
    """For a group of students with activation f the nearest teacher neuron (-1: none is near), and the factors of its (w, b) and B."""
    alike = np.array([j for j, other in enumerate(g) if _same(other, f)], dtype=np.intp)
    if not len(alike):
        return np.full(len(group), -1), np.ones(len(group)), np.ones(len(group))
    own = np.column_stack([student.W[group], student.b[group]])
    others = np.column_stack([teacher.W[alike], teacher.b[alike]])
    lengths, sizes = np.linalg.norm(own, axis=1), np.linalg.norm(others, axis=1)
    scales = np.ones((len(group), len(alike)))
    if f.homogeneous:
        np.divide(lengths[:, None], sizes, out=scales, where=sizes > 0)
    signs = np.array([1.0, -1.0] if f.parity else [1.0])
    factors = (signs[:, None] * scales[:, None, :]).reshape(len(group), -1)  # by sign, then by neuron
    candidates = np.tile(others, (len(signs), 1))
    gaps = np.linalg.norm(own[:, None] - factors[..., None] * candidates, axis=-1)
    rows, best = np.arange(len(group)), gaps.argmin(axis=1)
    j, factor = best % len(alike), factors[rows, best]
    gauge = np.where(best < len(alike), 1.0, f.parity) / scales[rows, j]
    return np.where(gaps[rows, best] <= _NEAR * lengths, alike[j], -1), factor, gauge


def _same(f: Activation, g: Activation) -> bool:
    return f is g or (f.has_closed_form and g.has_closed_form and (f.polynomial, f.atoms) == (g.polynomial, g.atoms))


def loss(matching: Matching, method: str = "auto", rtol: float = 1e-10) -> float:
    """The loss as a double integral along the segment, by Gauss-Legendre rules.

    Smooth activations take 2 x 2 nodes. With kinks the integrand has a ridge at s = t, so the
    triangle s < t is mapped to a square (s = x y, t = x) and takes 3 x 3 nodes.
    """
    student, teacher, activations = matching
    dW, db = student.W - teacher.W, student.b - teacher.b
    dB = np.vstack([student.B - teacher.B, student.c - teacher.c])
    n, D = len(activations) + 1, dW.shape[1]
    dW, db = np.vstack([dW, np.zeros(D)]), np.append(db, 0.0)
    W, b = np.vstack([teacher.W, np.zeros(D)]), np.append(teacher.b, 0.0)
    B = np.vstack([teacher.B, np.zeros_like(dB[:1])])
    neurons = [*activations, polynomial([1.0])]
    i, j = (index.ravel() for index in np.indices((n, n)))
    evaluator = PairEvaluator(neurons * 2, i, j + n, method, rtol)
    total = 0.0
    for s, t, weight in _nodes(any(a.kinks for a in activations)):
        first = W + s * dW, b + s * db, B + s * dB
        second = W + t * dW, b + t * db, B + t * dB
        args = np.empty((6, n * n))
        kernels.cross_arguments(first[0], first[1], second[0], second[1], args)
        C = np.concatenate([np.einsum("id,id->i", weights, weights) for weights in (first[0], second[0])])
        jets = evaluator(Arguments(args, C, np.concatenate([first[1], second[1]])), 2)
        total += weight * kernels.mixed_form(*first, *second, args, jets, dW, db, dB)
    return total


def _nodes(kinked: bool) -> list[tuple[float, float, float]]:
    """Nodes (s, t) and weights on the unit square for an integrand symmetric in s and t."""
    x, w = np.polynomial.legendre.leggauss(3 if kinked else 2)
    x, w = (1 + x) / 2, w / 2
    if kinked:
        return [(p * q, p, 2 * u * v * p) for p, u in zip(x, w, strict=True) for q, v in zip(x, w, strict=True)]
    return [(x[0], x[0], w[0] ** 2), (x[1], x[1], w[1] ** 2), (x[0], x[1], 2 * w[0] * w[1])]


def is_covered(activations: list[Activation]) -> bool:
    """Whether the double integral applies: steps have gradients too singular for its rules, and need it least."""
    return not any(a.kinks and any(atom.order > 0 and atom.width == 0 for atom in a.atoms) for a in activations)
