"""Gradients and Hessians of E[f(w1.x) g(w2.x)] with respect to the weights, in ball arithmetic."""

from __future__ import annotations

from typing import NamedTuple

from .activations import BallActivation
from .ball import Ball, Jet, flint, square_root
from .moments import ramp_weight, smooth_moment

#: Matrix of balls (python-flint's arb_mat); vectors are columns (D, 1).
BallMatrix = Ball


class PairDerivatives(NamedTuple):
    """Value and derivatives of E[f(w1.x) g(w2.x)], as far as they were asked for."""

    value: Ball
    d1: BallMatrix  #: d/dw1 (D, 1)
    d2: BallMatrix
    d11: BallMatrix  #: d2/dw1^2 (D, D)
    d12: BallMatrix  #: rows w1, columns w2
    d22: BallMatrix

    def plus(self, other: PairDerivatives, factor: Ball) -> PairDerivatives:
        """The sum with ``factor`` times the other."""
        return PairDerivatives(*(x + y * factor for x, y in zip(self, other, strict=True)))


def inner(u: BallMatrix, v: BallMatrix) -> Ball:
    """u.v of two columns."""
    return (u.transpose() * v)[0, 0]


def pair_value(f: BallActivation, g: BallActivation, w1: BallMatrix, w2: BallMatrix) -> Ball:
    """E[f(w1.x) g(w2.x)] alone."""
    C = [inner(w1, w1), inner(w1, w2), inner(w2, w2)]
    value = smooth_moment(f, g, [Jet.constant(c) for c in C]).value
    weight = ramp_weight(f, g)
    if weight is not None:
        value += weight * _Frame(w1, w2, w1 is w2).value()
    return value


def pair_derivatives(
    f: BallActivation, g: BallActivation, w1: BallMatrix, w2: BallMatrix
) -> PairDerivatives:
    """E[f(w1.x) g(w2.x)] with first and second derivatives; the same object twice means the same
    neuron.
    """
    C = Jet.variables([inner(w1, w1), inner(w1, w2), inner(w2, w2)])
    result = _from_covariances(smooth_moment(f, g, C), w1, w2)
    weight = ramp_weight(f, g)
    return result if weight is None else result.plus(_Frame(w1, w2, w1 is w2).derivatives(), weight)


def _from_covariances(phi: Jet, w1: BallMatrix, w2: BallMatrix) -> PairDerivatives:
    """Chain rule from (C11, C12, C22) to the weights."""
    one = _identity(w1.nrows())
    p1, p2, p3 = phi.first
    p11, p12, p13, p22, p23, p33 = phi.second
    w11 = w1 * w1.transpose()
    w12 = w1 * w2.transpose()
    w22 = w2 * w2.transpose()
    w21 = w12.transpose()
    return PairDerivatives(
        phi.value,
        w1 * (2 * p1) + w2 * p2,
        w2 * (2 * p3) + w1 * p2,
        one * (2 * p1) + w11 * (4 * p11) + (w12 + w21) * (2 * p12) + w22 * p22,
        one * p2 + w11 * (2 * p12) + w12 * (4 * p13) + w21 * p22 + w22 * (2 * p23),
        one * (2 * p3) + w22 * (4 * p33) + (w12 + w21) * (2 * p23) + w11 * p22,
    )


class _Frame:
    r"""Two ramps, in the frame of w1 and a = w2 - (C12/C11) w1, and of w2 and b = w1 - (C12/C22)
    w2.

    With angle t between w1 and w2 (n1, n2 their lengths, e = w1/n1, u = a/|a|, |a| = n2 sin t):

        Phi = (n1 |a| + (pi - t) C12)/(2 pi),      2 pi d/dw1 = |a| e + (pi - t) w2
        2 pi d2/dw1^2 = (|a| (1 - e e') + a a'/|a|)/n1
        2 pi d2/dw1 dw2 = (pi - t) 1 + sin t cos t (e e' - u u') + sin^2 t (e u' + u e')

    (the form of Safran and Shamir 2018, appendix, without the quotients that are undefined at a =
    0). Everything is continuous at a = 0, where the entries of a a'/|a| are enclosed by +-|a|.
    """

    def __init__(self, w1: BallMatrix, w2: BallMatrix, same: bool) -> None:
        arb = flint().arb
        self.w1 = w1
        self.w2 = w2
        self.C11, self.C12, self.C22 = inner(w1, w1), inner(w1, w2), inner(w2, w2)
        self.n1, self.n2 = self.C11.sqrt(), self.C22.sqrt()
        if same:
            self.a = self.b = w1 * arb(0)
            self.length_a = self.length_b = self.angle = arb(0)
            return
        self.a, self.b = w2 - w1 * (self.C12 / self.C11), w1 - w2 * (self.C12 / self.C22)
        self.length_a, self.length_b = (
            square_root(inner(self.a, self.a)),
            square_root(inner(self.b, self.b)),
        )
        across = self.n1 * self.length_a
        # away from the branch cut, which a ball around antiparallel neurons would cross
        self.angle = (
            arb.pi() - arb.atan2(across, -self.C12) if self.C12 < 0 else arb.atan2(across, self.C12)
        )

    def value(self) -> Ball:
        pi = flint().arb.pi()
        return (self.n1 * self.length_a + (pi - self.angle) * self.C12) / (2 * pi)

    def derivatives(self) -> PairDerivatives:
        arb = flint().arb
        pi = arb.pi()
        one = _identity(self.w1.nrows())
        rest = pi - self.angle
        over = 1 / (2 * pi)
        e = self.w1 * (1 / self.n1)
        ee = e * e.transpose()
        ea = e * self.a.transpose()
        a_a = _over_length(self.a, self.length_a)
        b_b = _over_length(self.b, self.length_b)
        f = self.w2 * (1 / self.n2)
        cosine = self.C12 / (self.n1 * self.n2)
        d11 = (one * self.length_a - ee * self.length_a + a_a) * (1 / self.n1)
        d22 = (one * self.length_b - (f * f.transpose()) * self.length_b + b_b) * (1 / self.n2)
        mixed = (ee * self.length_a - a_a) * (cosine / self.n2)
        mixed += (ea + ea.transpose()) * (self.length_a / self.C22)
        return PairDerivatives(
            self.value(),
            (e * self.length_a + self.w2 * rest) * over,
            (f * self.length_b + self.w1 * rest) * over,
            d11 * over,
            (one * rest + mixed) * over,
            d22 * over,
        )


def _over_length(a: BallMatrix, length: Ball) -> BallMatrix:
    """The matrix a a'/|a|, also where a may vanish."""
    if length > 0:
        return (a * a.transpose()) * (1 / length)
    arb = flint().arb
    n = a.nrows()
    bound = arb(0, length.abs_upper())
    return flint().arb_mat(n, n, [bound] * (n * n))


def _identity(n: int) -> BallMatrix:
    return flint().arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
