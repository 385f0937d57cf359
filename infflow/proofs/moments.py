"""E[f(h1) g(h2)] of centred Gaussians in ball arithmetic, for polynomials plus smoothed ramps.

With zero means all moments are elementary. With V_i = C_ii + tau_i^2, s = sqrt(V1 V2 - C12^2) and
atoms rho^(k) of orders k1, k2 (``docs/mathematics.md``):

    (0,0)  (s + C12 A)/(2 pi),  A = pi/2 + atan(C12/s)       (1,1)  A/(2 pi)
    (0,1)  (V1^(1/2) + C12 V2^(-1/2))/(2 (2 pi)^(1/2))       (0,2)  s/(2 pi V2)
    (1,2)  1/(2 (2 pi V2)^(1/2))                             (2,2)  1/(2 pi s)

Derivatives come from :class:`~infflow.proofs.ball.Jet`. Two ramps without width are left to
:mod:`infflow.proofs.pairs`, which stays finite where they are parallel.
"""

from __future__ import annotations

import math
from typing import Any

from .activations import BallActivation, BallAtom
from .ball import Ball, Jet, flint, total


def ramp_weight(f: BallActivation, g: BallActivation) -> Ball | None:
    """Product of the total weights of the ramps without width; None if one of the two has none."""
    weights = [[atom.weight for atom in each.atoms if atom.is_ramp] for each in (f, g)]
    return total(weights[0]) * total(weights[1]) if all(weights) else None


def smooth_moment(f: BallActivation, g: BallActivation, C: list[Jet]) -> Jet:
    """E[f(h1) g(h2)] without the product of ramps, as a function of ``C = [C11, C12, C22]``."""
    C11, C12, C22 = C
    result = _series(_polynomial_means(f, C11), _polynomial_means(g, C22), C12)
    for atom in f.atoms:
        result = result + _series(
            _atom_means(atom, C11, len(g.polynomial)), _polynomial_means(g, C22), C12
        )
    for atom in g.atoms:
        result = result + _series(
            _polynomial_means(f, C11), _atom_means(atom, C22, len(f.polynomial)), C12
        )
    for first in f.atoms:
        for second in g.atoms:
            if not (first.is_ramp and second.is_ramp):
                result = result + _atom_pair(first, second, C11, C12, C22) * (
                    first.weight * second.weight
                )
    return result


def _series(first: list[Jet], second: list[Jet], C12: Jet) -> Jet:
    """Mehler's series sum_j C12^j/j! E f^(j) E g^(j), which ends with a polynomial."""
    result = Jet.constant(0)
    factor = Jet.constant(1)
    for j, (m, n) in enumerate(zip(first, second, strict=False)):
        if j:
            factor = factor * C12 * (flint().arb(1) / j)
        result = result + factor * m * n
    return result


def _polynomial_means(f: BallActivation, V: Jet) -> list[Jet]:
    """E p^(j)(h) of the polynomial part with h ~ N(0, V) for j = 0 to its degree."""
    means = []
    for j in range(len(f.polynomial)):
        mean = Jet.constant(0)
        for n in range(j, len(f.polynomial), 2):
            k = (n - j) // 2
            coefficient = f.polynomial[n] * (math.perm(n, j) * _odd_factorial(k))
            mean = mean + V.power(k) * coefficient
        means.append(mean)
    return means


def _atom_means(atom: BallAtom, C: Jet, count: int) -> list[Jet]:
    """E of derivatives j = 0 to count - 1 of an atom."""
    V = _widened(C, atom)
    return [_ramp_mean(atom.order + j, V) * atom.weight for j in range(count)]


def _ramp_mean(order: int, V: Jet) -> Jet:
    """E relu^(order)(h), h ~ N(0, V): from order 2 on a derivative of the normal density at 0."""
    if order == 1:
        return Jet.constant(flint().arb(1) / 2)
    n = order - 2
    if n % 2:
        return Jet.constant(0)
    root = (2 * flint().arb.pi()).sqrt()
    if n < 0:
        return V.half_power(1) * (1 / root)
    return V.half_power(-1 - n) * ((-1) ** (n // 2) * _odd_factorial(n // 2) / root)


def _odd_factorial(k: int) -> int:
    """(2k - 1)!!"""
    return math.prod(range(1, 2 * k, 2))


def _widened(C: Jet, atom: BallAtom) -> Jet:
    return C + atom.width**2


def _atom_pair(first: BallAtom, second: BallAtom, C11: Jet, C12: Jet, C22: Jet) -> Jet:
    """The table above, without the weights."""
    if first.order > second.order:
        first, second, C11, C22 = second, first, C22, C11
    V1 = _widened(C11, first)
    V2 = _widened(C22, second)
    pi: Ball = flint().arb.pi()
    orders: Any = (first.order, second.order)
    if orders == (0, 1):
        return (V1.half_power(1) + C12 * V2.half_power(-1)) * (1 / (2 * (2 * pi).sqrt()))
    if orders == (1, 2):
        return V2.half_power(-1) * (1 / (2 * (2 * pi).sqrt()))
    det = V1 * V2 - C12 * C12
    s = det.half_power(1)
    if orders == (0, 2):
        return s * V2.half_power(-2) * (1 / (2 * pi))
    if orders == (2, 2):
        return det.half_power(-1) * (1 / (2 * pi))
    angle = (C12 * det.half_power(-1)).arctan() + pi / 2
    return (angle if orders == (1, 1) else s + C12 * angle) * (1 / (2 * pi))
