"""Slow readable twin of the infinite-data assembly: the formulas of the design, entry by entry.

Every derivative is a plain moment I(p, q) = E[f^(p)(h1) g^(q)(h2)]; nothing is symmetrised, shared
or rearranged, so it is exact away from parallel kinked neurons only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from .population_loss import Units

Moment = Callable[[int, int, int, int, Array, float, Array, float], float]
"""``moment(i, j, p, q, w1, b1, w2, b2)``: I(p, q) of neurons i and j of the list students,
teachers.
"""


class _Sizes(NamedTuple):
    """Numbers of students, inputs and outputs, from which places in theta follow."""

    K: int
    D: int
    O: int

    @property
    def P(self) -> int:
        """Number of parameters."""
        return self.K * self.D + self.K + self.O * self.K + self.O

    def bias_of_output(self, o: int) -> int:
        """Where the bias of an output lies."""
        return self.P - self.O + o

    def places(self, o: int, i: int) -> tuple[slice, int, int] | None:
        """Where w, b and the output weight of student i lie; None for a teacher."""
        K, D, _ = self
        return (slice(i * D, i * D + D), K * D + i, K * D + K + o * K + i) if i < K else None


def evaluate(
    student: Units, teacher: Units, mean: Callable[..., float], moment: Moment
) -> tuple[float, Array, Array]:
    """Loss, gradient and Hessian in the order W (K, D), b (K,), output weights (O, K), output bias
    (O,).

    ``mean(i, p, w, b)`` is E f^(p)(h) of neuron i.
    """
    K, D = student.W.shape
    sizes = _Sizes(K, D, len(student.c))
    W = np.vstack([student.W, teacher.W])
    b = np.concatenate([student.b, teacher.b])
    B = np.vstack([student.B, -teacher.B])
    c = student.c - teacher.c
    residual = Units(W, b, B, c)
    n = len(W)
    value = float(c @ c)
    gradient = np.zeros(sizes.P)
    hessian = np.zeros((sizes.P, sizes.P))
    for o in range(sizes.O):
        for i in range(n):
            terms = _single(sizes, o, i, residual, mean)
            value = value + terms[0]
            gradient = gradient + terms[1]
            hessian = hessian + terms[2]
            for j in range(n):
                terms = _pair(sizes, o, i, j, residual, moment)
                value = value + terms[0]
                gradient = gradient + terms[1]
                hessian = hessian + terms[2]
        place = sizes.bias_of_output(o)
        gradient[place] += 2 * c[o]
        hessian[place, place] += 2
    return value, gradient, hessian


def near_teacher(
    student: Units, teacher: Units, mean: Callable[..., float], moment: Moment, nodes: int = 6
) -> float:
    """The loss of a student whose neuron i is next to neuron i of the teacher: the double integral
    of :mod:`.realizable`.

    Every pair of neurons takes all Gauss-Legendre nodes, for smooth activations. ``mean`` and
    ``moment`` as in :func:`evaluate`, with the numbers of the neurons of both.
    """
    x, weights = np.polynomial.legendre.leggauss(nodes)
    dW, db, dB, dc = (new - old for new, old in zip(student, teacher, strict=True))
    total = float(dc @ dc)
    for s, u in zip((1 + x) / 2, weights / 2, strict=True):
        for i in range(len(dW)):
            w = teacher.W[i] + s * dW[i]
            b = teacher.b[i] + s * db[i]
            B = teacher.B[i] + s * dB[i]
            slope = mean(i, 2, w, b) * (w @ dW[i]) + mean(i, 1, w, b) * db[i]
            total += 2 * u * float(dc @ dB[i] * mean(i, 0, w, b) + dc @ B * slope)
            for t, v in zip((1 + x) / 2, weights / 2, strict=True):
                for j in range(len(dW)):
                    w2 = teacher.W[j] + t * dW[j]
                    b2 = teacher.b[j] + t * db[j]
                    B2 = teacher.B[j] + t * dB[j]
                    I = {
                        (p, q): moment(i, j, p, q, w, b, w2, b2)
                        for p in range(4)
                        for q in range(4)
                        if p + q <= 4
                    }
                    x1 = w @ dW[i]
                    y1 = w2 @ dW[i]
                    x2 = w @ dW[j]
                    y2 = w2 @ dW[j]
                    d_i = I[2, 0] * x1 + I[1, 1] * y1 + I[1, 0] * db[i]
                    d_j = I[0, 2] * y2 + I[1, 1] * x2 + I[0, 1] * db[j]
                    both = I[1, 1] * (dW[i] @ dW[j] + db[i] * db[j])
                    both += I[3, 1] * x1 * x2 + I[2, 2] * (x1 * y2 + y1 * x2) + I[1, 3] * y1 * y2
                    both += db[j] * (I[2, 1] * x1 + I[1, 2] * y1) + db[i] * (
                        I[1, 2] * y2 + I[2, 1] * x2
                    )
                    term = (
                        dB[i] @ dB[j] * I[0, 0] + dB[i] @ B2 * d_j + B @ dB[j] * d_i + B @ B2 * both
                    )
                    total += u * v * float(term)
    return total


def _pair(
    sizes: _Sizes, o: int, i: int, j: int, residual: Units, moment: Moment
) -> tuple[float, Array, Array]:
    """B_i B_j E[f_i f_j] of one output and its derivatives, the two neurons taken as
    independent.
    """
    W, b, B, _ = residual
    gradient = np.zeros(sizes.P)
    hessian = np.zeros((sizes.P, sizes.P))

    def moments(p: int, q: int) -> float:
        return moment(i, j, p, q, W[i], float(b[i]), W[j], float(b[j]))

    one = np.eye(sizes.D)
    x = W[i]
    y = W[j]
    s = B[i, o] * B[j, o]
    I = {(p, q): moments(p, q) for p in range(5) for q in range(5 - p)}
    xx = np.outer(x, x)
    xy = np.outer(x, y)
    yx = np.outer(y, x)
    yy = np.outer(y, y)
    d_w = [I[2, 0] * x + I[1, 1] * y, I[0, 2] * y + I[1, 1] * x]
    d_b = [I[1, 0], I[0, 1]]
    d_ww = [
        [I[2, 0] * one + I[4, 0] * xx + I[3, 1] * (xy + yx) + I[2, 2] * yy, None],
        [None, I[0, 2] * one + I[0, 4] * yy + I[1, 3] * (xy + yx) + I[2, 2] * xx],
    ]
    mixed = I[1, 1] * one + I[3, 1] * xx + I[2, 2] * (xy + yx) + I[1, 3] * yy
    d_ww[0][1] = mixed
    d_ww[1][0] = mixed.T
    d_wb = [
        [I[3, 0] * x + I[2, 1] * y, I[2, 1] * x + I[1, 2] * y],
        [I[1, 2] * y + I[2, 1] * x, I[0, 3] * y + I[1, 2] * x],
    ]
    d_bb = [[I[2, 0], I[1, 1]], [I[1, 1], I[0, 2]]]
    places = [sizes.places(o, i), sizes.places(o, j)]
    out = [B[i, o], B[j, o]]
    for k, place in enumerate(places):
        if place is None:
            continue
        w_k, b_k, a_k = place
        gradient[w_k] += s * d_w[k]
        gradient[b_k] += s * d_b[k]
        gradient[a_k] += out[1 - k] * I[0, 0]
        for l, other in enumerate(places):
            if other is None:
                continue
            w_l, b_l, a_l = other
            hessian[w_k, w_l] += s * d_ww[k][l]
            hessian[w_k, b_l] += s * d_wb[k][l]
            hessian[b_l, w_k] += s * d_wb[k][l]
            hessian[b_k, b_l] += s * d_bb[k][l]
            # the output weight of one neuron against w and b of the neuron l: B of the other
            # remains
            hessian[a_k, w_l] += out[1 - k] * d_w[l]
            hessian[w_l, a_k] += out[1 - k] * d_w[l]
            hessian[a_k, b_l] += out[1 - k] * d_b[l]
            hessian[b_l, a_k] += out[1 - k] * d_b[l]
            if k != l:
                hessian[a_k, a_l] += I[0, 0]
    return s * I[0, 0], gradient, hessian


def _single(
    sizes: _Sizes, o: int, i: int, residual: Units, mean: Callable[..., float]
) -> tuple[float, Array, Array]:
    """2 c B_i E f_i of one output and its derivatives."""
    W, b, B, c = residual
    gradient = np.zeros(sizes.P)
    hessian = np.zeros((sizes.P, sizes.P))
    m = [mean(i, p, W[i], float(b[i])) for p in range(5)]
    place_c = sizes.bias_of_output(o)
    gradient[place_c] += 2 * B[i, o] * m[0]
    place = sizes.places(o, i)
    if place is None:
        return 2 * c[o] * B[i, o] * m[0], gradient, hessian
    w, bias, a = place
    one = np.eye(sizes.D)
    ww = np.outer(W[i], W[i])
    for factor, row in ((2 * c[o] * B[i, o], None), (2 * c[o], a), (2 * B[i, o], place_c)):
        if row is None:
            gradient[w] += factor * m[2] * W[i]
            gradient[bias] += factor * m[1]
            gradient[a] += 2 * c[o] * m[0]
            hessian[w, w] += factor * (m[2] * one + m[4] * ww)
            hessian[w, bias] += factor * m[3] * W[i]
            hessian[bias, w] += factor * m[3] * W[i]
            hessian[bias, bias] += factor * m[2]
            hessian[a, place_c] += 2 * m[0]
            hessian[place_c, a] += 2 * m[0]
        else:
            hessian[row, w] += factor * m[2] * W[i]
            hessian[w, row] += factor * m[2] * W[i]
            hessian[row, bias] += factor * m[1]
            hessian[bias, row] += factor * m[1]
    return 2 * c[o] * B[i, o] * m[0], gradient, hessian
