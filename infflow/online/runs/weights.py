"""Weights with given order parameters, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...errors import InvalidValueError
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.infinite.targets.polynomial_teacher import PolynomialTeacher
from ...networks.inputs import Gaussian
from ...networks.teacher import Teacher
from ..spectrum import Groups
from ..state import OrderState

#: Eigenvalues of overlaps below this, relative to the largest, are zero.
_ZERO = 1e-12


class Lifted(NamedTuple):
    """Weights with given order parameters: a network in D dimensions and the parameters of its
    student.
    """

    neti: NetI
    theta: Array


def group_sizes(shares: Array, D: int) -> list[int]:
    """Dimensions of each group, the largest remainders rounded up."""
    exact = shares * D
    sizes = np.floor(exact).astype(int)
    missing = D - int(sizes.sum())
    sizes[np.argsort(sizes - exact, kind="stable")[:missing]] += 1
    return [int(size) for size in sizes]


def lift(
    neti: NetI, groups: Groups, T: Array, state: OrderState, D: int, rng: np.random.Generator
) -> Lifted:
    """Random weights in D dimensions with exactly these overlaps in every group.

    Raises
    ------
    InvalidValueError
        If a group has fewer dimensions than its overlaps need.
    """
    Q, R, v = state
    K = Q.shape[1]
    sizes = group_sizes(groups.shares, D)
    blocks = []
    for q, r, t, size in zip(Q, R, T, sizes, strict=True):
        values, vectors = np.linalg.eigh(np.block([[q, r], [r.T, t]]))
        needed = int((values > _ZERO * max(float(values[-1]), 1e-300)).sum())
        if size < needed:
            raise InvalidValueError(
                f"D is {D}, and one group of eigenvalues has {size} dimensions of it, fewer than "
                f"the {needed} that its overlaps need; take a larger D."
            )
        kept = min(size, len(values))
        root = vectors[:, -kept:] * np.sqrt(np.maximum(values[-kept:], 0.0)) if kept else None
        if root is None:
            blocks.append(np.zeros((len(values), 0)))
            continue
        directions = np.linalg.qr(rng.standard_normal((size, kept)))[0]
        blocks.append(root @ directions.T)
    weights = np.concatenate(blocks, axis=1)
    variances = np.repeat(groups.eigenvalues, sizes)
    white = bool((variances == 1.0).all())
    student = Net(
        [(K, list(neti.layers[0].activations), False), (len(v), "identity", False)], input_dim=D
    )
    lifted = neti.replace(
        student=student,
        teacher=_teacher(neti, weights[K:]),
        input=None if white else Gaussian(0.0, variances),
    )
    return Lifted(lifted, student.pack([(weights[:K], None), (v, None)]))


def _teacher(neti: NetI, rows: Array) -> Teacher | PolynomialTeacher:
    """The same teacher with these directions."""
    old = neti.teacher
    if isinstance(old, PolynomialTeacher):
        return PolynomialTeacher(old.monomials(), rows, basis="monomial", noise=old.noise)
    assert isinstance(old, Teacher)
    width, activations, _ = old.net.layers[0]
    net = Net(
        [(width, list(activations), False), (old.output_dim, "identity", False)],
        input_dim=rows.shape[1],
    )
    theta = net.pack([(rows, None), (neti.teacher_units.B.T, None)])
    return Teacher(net, theta, old.noise)


def overlaps(W: Array, V: Array, v: Array, cuts: Any) -> OrderState:
    """Order parameters of weights W (K, D), V (M, D), v (O, K).

    Groups of columns begin at ``cuts``.
    """
    students = np.split(W, cuts, axis=1)
    teachers = np.split(V, cuts, axis=1)
    Q = np.array([w @ w.T for w in students])
    R = np.array([w @ u.T for w, u in zip(students, teachers, strict=True)])
    return OrderState(Q, R, v)
