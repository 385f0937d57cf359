"""Teachers as neurons over a few directions, which the order parameters R belong to."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation, polynomial
from ..networks.infinite.neti import NetI
from ..networks.infinite.targets.polynomial_teacher import PolynomialTeacher
from ..networks.teacher import Teacher

#: Coefficients below this, relative to the largest, are rounding.
_ZERO = 1e-14


class Target(NamedTuple):
    """Neurons ``activations`` (n) with weights ``U`` (n, M) over M directions and output vectors
    ``output`` (n, O); ``directions`` (M, D) are rows of weights.
    """

    activations: list[Activation]
    U: Array
    output: Array
    directions: Array


def target_of(neti: NetI) -> Target:
    """Neurons and directions of a teacher that is a network without biases, or a polynomial."""
    if isinstance(neti.teacher, Teacher):
        units = neti.teacher_units
        activations = list(neti.teacher.net.layers[0].activations)
        return Target(activations, np.eye(len(units.W)), units.B, units.W)
    assert isinstance(neti.teacher, PolynomialTeacher)
    return _of_polynomial(neti.teacher)


def _of_polynomial(teacher: PolynomialTeacher) -> Target:
    """A polynomial as a network: monomials are sums of powers of linear forms,

        prod_i x_i^a_i = 1/d! sum_nu (-1)^|nu| prod_i binom(a_i, nu_i) (h.x)^d,   h_i = a_i/2 - nu_i

    with d = |a| and 0 <= nu <= a (Kan, J. Multivar. Anal. 99, 542, 2008). Opposite h are one term.
    """
    outputs = teacher.output_dim
    k = len(teacher.V)
    powers: dict[tuple[float, ...], dict[int, Array]] = {}
    constant = np.zeros(outputs)
    for exponents, coefficient in teacher.monomials().items():
        degree = sum(exponents)
        if degree == 0:
            constant = constant + coefficient
            continue
        for nu in product(*(range(a + 1) for a in exponents)):
            h = tuple(a / 2 - n for a, n in zip(exponents, nu, strict=True))
            first = next((x for x in h if x != 0.0), 0.0)
            if first == 0.0:
                continue
            weight = (-1.0) ** sum(nu) / math.factorial(degree)
            weight *= math.prod(math.comb(a, n) for a, n in zip(exponents, nu, strict=True))
            if first < 0.0:
                h = tuple(-x for x in h)
                weight *= (-1.0) ** degree
            length = math.sqrt(sum(x * x for x in h))
            unit = tuple(round(x / length, 15) for x in h)
            of_unit = powers.setdefault(unit, {})
            of_unit[degree] = of_unit.get(degree, 0.0) + weight * length**degree * coefficient
    if constant.any() or not powers:
        powers.setdefault((1.0, *(0.0,) * (k - 1)), {})[0] = constant
    return _network(powers, outputs, teacher.V)


def _network(powers: dict[tuple[float, ...], dict[int, Array]], outputs: int, V: Array) -> Target:
    """One neuron for each direction and output: the polynomial of all powers along it."""
    activations = []
    rows = []
    vectors = []
    largest = max(float(np.abs(c).max()) for each in powers.values() for c in each.values())
    for direction, coefficients in powers.items():
        for o in range(outputs):
            c = np.zeros(max(coefficients) + 1)
            for degree, value in coefficients.items():
                c[degree] = value[o]
            if np.abs(c).max() > _ZERO * largest:
                activations.append(polynomial(c.tolist()))
                rows.append(direction)
                vectors.append(np.eye(outputs)[o])
    if not activations:  # the zero function
        return Target([polynomial([0.0])], np.zeros((1, len(V))), np.zeros((1, outputs)), V)
    return Target(activations, np.array(rows), np.array(vectors), V)
