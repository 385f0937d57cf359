"""The population loss of bias-free students and teachers in ball arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..errors import MethodError
from ..networks.infinite.neti import NetI
from ..networks.teacher import Teacher
from . import unit_rows
from .activations import exact_activation
from .ball import Ball, flint, total
from .pairs import BallMatrix, PairDerivatives, inner, pair_derivatives, pair_value

#: parametrizations whose weights are known without rounding
COVERED = ("standard", "spherical")


class BallEvaluation(NamedTuple):
    """Loss, gradient (P,) and Hessian (P, P), each entry a ball."""

    value: Ball
    gradient: list[Ball]
    hessian: BallMatrix


class BallNetwork:
    """Loss, gradient and Hessian of an infinite-data network over a box of parameters.

    Parameters
    ----------
    net : NetI
        Without biases, standard or spherical parametrization, centred Gaussian input, no barrier,
        ridge or pairs to merge; activations with closed forms and continuous Hessians.

    Raises
    ------
    MethodError
        For other networks.
    """

    def __init__(self, net: NetI) -> None:
        teacher = covered_teacher(net)
        self.layout = net.layout
        self._unit_rows = net.unit_rows
        self.f = [exact_activation(f) for f in net.layers[0].activations]
        self.g = [exact_activation(g) for g in teacher.net.layers[0].activations]
        (component,) = net.input.components()
        self._root = None if component.root is None else _matrix(component.root.T)
        #: columns (D, 1), in the coordinates of standard normal inputs
        self.teacher_weights = [self._to_standard(v) for v in _teacher_weights(teacher)]
        self._D = [_column(-b) for b in net.teacher_units.B]
        self._noise = flint().arb(teacher.noise) ** 2 * net.output_dim

    def _to_standard(self, w: BallMatrix) -> BallMatrix:
        """Weights in the coordinates of standard normal inputs, root' w."""
        return w if self._root is None else self._root * w

    def value(self, theta: list[Ball]) -> Ball:
        """The loss over the box ``theta`` of P balls."""
        W, B = self._units(self._normalized(theta))
        n, f = len(W), [*self.f, *self.g]
        return self._noise + total(
            (1 if i == j else 2) * inner(B[i], B[j]) * pair_value(f[i], f[j], W[i], W[j])
            for i in range(n)
            for j in range(i, n)
        )

    def evaluate(self, theta: list[Ball], value: bool = True) -> BallEvaluation:
        """Loss (zero unless ``value``), gradient and Hessian over the box ``theta`` of P balls."""
        W, B = self._units(self._normalized(theta))
        K = len(self.f)
        n = len(W)
        f = [*self.f, *self.g]
        pairs = {
            (i, j): pair_derivatives(f[i], f[j], W[i], W[j]) for i in range(K) for j in range(i, n)
        }
        found = _Assembly(self, W, B, pairs).result(self.value(theta) if value else flint().arb(0))
        if self._unit_rows is None:
            return found
        pulled = unit_rows.pulled(self._unit_rows, theta, found.gradient, found.hessian)
        return BallEvaluation(found.value, *pulled)

    def _normalized(self, theta: list[Ball]) -> list[Ball]:
        return theta if self._unit_rows is None else unit_rows.normalized(self._unit_rows, theta)

    def _units(self, theta: list[Ball]) -> tuple[list[BallMatrix], list[BallMatrix]]:
        """Weights and output vectors of students and teachers, columns of balls."""
        arb_mat = flint().arb_mat
        first, second = self.layout.blocks
        K = first.width
        D = first.fan_in
        O = second.width
        W = [self._to_standard(arb_mat(D, 1, theta[i * D : (i + 1) * D])) for i in range(K)]
        B = [arb_mat(O, 1, [theta[second.start + o * K + i] for o in range(O)]) for i in range(K)]
        return W + self.teacher_weights, B + self._D


class _Assembly:
    """Sums over pairs; ``S_ij = B_i.B_j`` with the teachers' output vectors taken negative."""

    def __init__(
        self,
        net: BallNetwork,
        W: list[BallMatrix],
        B: list[BallMatrix],
        pairs: dict[tuple[int, int], PairDerivatives],
    ) -> None:
        self.net = net
        self.B = B
        self.pairs = pairs
        self.K, self.n = len(net.f), len(W)
        self.first, self.second = net.layout.blocks
        self.D, self.O = self.first.fan_in, self.second.width

    def result(self, value: Ball) -> BallEvaluation:
        P = self.net.layout.num_params
        gradient: list[Ball] = [None] * P
        rows: list[list[Ball]] = [[flint().arb(0)] * P for _ in range(P)]
        for i in range(self.K):
            self._gradient(i, gradient)
            self._fill(rows, self._weights(i), self._weights(i), self._own_block(i))
            for k in range(i + 1, self.K):
                block = self._pull(self.pairs[i, k].d12, both=True) * (2 * self._S(i, k))
                self._fill(rows, self._weights(i), self._weights(k), block)
            for k in range(self.K):
                self._output_blocks(i, k, rows)
        return BallEvaluation(value, gradient, flint().arb_mat(rows))

    def _S(self, i: int, j: int) -> Ball:
        return inner(self.B[i], self.B[j])

    def _weights(self, i: int) -> list[int]:
        return [i * self.D + d for d in range(self.D)]

    def _outputs(self, i: int) -> list[int]:
        return [self.second.start + o * self.K + i for o in range(self.O)]

    def _pull(self, x: BallMatrix, both: bool = False) -> BallMatrix:
        """Derivatives with respect to theta from those with respect to root' w."""
        root = self.net._root
        if root is None:
            return x
        return root.transpose() * x * root if both else root.transpose() * x

    def _d(self, i: int, j: int) -> BallMatrix:
        """d/dw_i of the moment of i and j."""
        return self.pairs[i, j].d1 if i <= j else self.pairs[j, i].d2

    def _gradient(self, i: int, gradient: list[Ball]) -> None:
        by_w = self._sum(self._d(i, j) * (2 * self._S(i, j)) for j in range(self.n))
        by_B = self._sum(
            self.B[j] * (2 * self.pairs[min(i, j), max(i, j)].value) for j in range(self.n)
        )
        for index, column in ((self._weights(i), self._pull(by_w)), (self._outputs(i), by_B)):
            for k, entry in zip(index, column.entries(), strict=True):
                gradient[k] = entry

    def _own_block(self, i: int) -> BallMatrix:
        own = self.pairs[i, i]
        block = (own.d11 + own.d22 + own.d12 + own.d12.transpose()) * self._S(i, i)
        for j in range(self.n):
            if j != i:
                second = self.pairs[i, j].d11 if i < j else self.pairs[j, i].d22
                block += second * (2 * self._S(i, j))
        return self._pull(block, both=True)

    def _output_blocks(self, i: int, k: int, rows: list[list[Ball]]) -> None:
        """Derivatives by (w_k, B_i) and by (B_k, B_i)."""
        block = self._d(k, i) * self.B[k].transpose() * 2
        if i == k:
            block += self._sum(self._d(i, j) * self.B[j].transpose() * 2 for j in range(self.n))
        self._fill(rows, self._weights(k), self._outputs(i), self._pull(block))
        value = 2 * self.pairs[min(i, k), max(i, k)].value
        for p, q in zip(self._outputs(i), self._outputs(k), strict=True):
            rows[p][q] = value

    @staticmethod
    def _sum(terms: Iterable[BallMatrix]) -> BallMatrix:
        return reduce(operator.add, terms)

    @staticmethod
    def _fill(
        rows: list[list[Ball]], first: list[int], second: list[int], block: BallMatrix
    ) -> None:
        """Write a block and its transpose."""
        entries = iter(block.entries())
        for p in first:
            for q in second:
                rows[p][q] = rows[q][p] = next(entries)


def _column(v: Array) -> BallMatrix:
    return flint().arb_mat(len(v), 1, [float(x) for x in v])


def _matrix(M: Array) -> BallMatrix:
    return flint().arb_mat([[float(x) for x in row] for row in np.atleast_2d(M)])


def _teacher_weights(teacher: Teacher) -> list[BallMatrix]:
    """Input weights of its neurons, columns (D, 1)."""
    theta = [flint().arb(float(x)) for x in teacher.theta]
    if teacher.net.unit_rows is not None:
        theta = unit_rows.normalized(teacher.net.unit_rows, theta)
    block = teacher.net.layout.blocks[0]
    D = block.fan_in
    return [flint().arb_mat(D, 1, theta[i * D : (i + 1) * D]) for i in range(block.width)]


_INSTEAD = "inf.classify(net, theta) covers this case, with evidence in the place of a proof."


def covered_teacher(net: NetI) -> Teacher:
    """The teacher, or an error for networks that are not covered."""
    if not isinstance(net.teacher, Teacher):
        raise MethodError(
            "certify covers teachers that are networks (inf.Teacher); this one is "
            f"{net.teacher!r}. {_INSTEAD}"
        )
    if net.loss != "squared":
        raise MethodError(f"certify covers the squared loss; this one is {net.loss!r}. {_INSTEAD}")
    parts = {"student": net.student, "teacher": net.teacher.net}
    for name, each in parts.items():
        if any(layer.bias for layer in each.layers):
            raise MethodError(
                f"certify covers networks without biases; the {name} has some (values of zero "
                "count too). Set up student and teacher "
                f"with layers (width, activation, False) if the problem needs none. {_INSTEAD}"
            )
        if each.parametrization not in COVERED:
            raise MethodError(
                f"certify covers the parametrizations {' and '.join(COVERED)}; the {name} has "
                f"{each.parametrization!r}. Multiply its factors into the weights."
            )
    if net.regularization.active:
        raise MethodError(
            "certify covers losses without barrier, ridge and pairs to merge; this one has "
            f"{net.regularization}. "
            f"Leave them out, they have other critical points. {_INSTEAD}"
        )
    components = net.input.components()
    if len(components) > 1 or (components[0].mean is not None and np.any(components[0].mean)):
        raise MethodError(
            f"certify covers centred Gaussian input; the input, {net.input!r}, has a mean or is "
            f"a mixture. {_INSTEAD}"
        )
    return net.teacher
