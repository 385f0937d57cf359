"""Products of four activations as rows: sums of products of powers and members of one ladder.

See ``orthant_kernels.py`` for the ladder of ramps, steps and delta functions. All neurons have mean
zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...errors import TooLargeError
from .orthant_kernels import POWER

#: More products than this would take seconds per evaluation.
MAX_ROWS = 2_000_000
#: Mixtures of more atoms (sigmoid, tanh, softplus, silu) would make this number to the fourth power
#: of products.
MAX_ATOMS = 3

Index = NDArray[np.int64]


class Factor(NamedTuple):
    """coefficient * x^power, or coefficient * rho^(order)(x; width) of ``orthant_kernels``."""

    coefficient: float
    code: int
    width2: float


class Row(NamedTuple):
    """A coefficient and at most four variables (code, neuron, squared width)."""

    coefficient: float
    variables: list[tuple[int, int, float]]


class Rows(NamedTuple):
    """Rows as flat arrays: ``coefficient``, ``length`` (rows,), ``code``, ``unit``, ``width2``
    (rows, 4), and the ``quadruple`` (rows,) to which each belongs.
    """

    coefficient: Array
    length: Index
    code: Index
    unit: Index
    width2: Array
    quadruple: Index


def factors(activation: Activation, derivative: bool) -> list[Factor]:
    """The terms of f or f'."""
    c = np.asarray(activation.polynomial, dtype=float)
    if derivative and len(c):
        c = np.polynomial.polynomial.polyder(c)
    terms = [Factor(float(value), POWER + m, 0.0) for m, value in enumerate(c) if value != 0.0]
    return terms + [
        Factor(a.weight, a.order + derivative, float(a.width) ** 2) for a in activation.atoms
    ]


def merge(neurons: Sequence[int], chosen: Sequence[Factor]) -> Row:
    """Product of four factors as one term: powers and unsmoothed ramps of one neuron are one
    function of one variable.
    """
    coefficient = math.prod(factor.coefficient for factor in chosen)
    variables = [
        (f.code, u, f.width2) for u, f in zip(neurons, chosen, strict=True) if f.width2 > 0.0
    ]
    for u in dict.fromkeys(neurons):
        sharp = [f.code for v, f in zip(neurons, chosen, strict=True) if v == u and f.width2 == 0.0]
        powers = [c - POWER for c in sharp if c >= POWER]
        ramps = [c for c in sharp if c < POWER]
        degree = sum(powers) + sum(1 - c for c in ramps)
        if ramps:
            coefficient *= math.factorial(degree) / math.prod(math.factorial(1 - c) for c in ramps)
            variables.append((1 - degree, u, 0.0))
        elif degree > 0:
            variables.append((POWER + degree, u, 0.0))
    return Row(coefficient, variables)


def closed_form_applies(activations: Sequence[Activation], students: int) -> bool:
    """Whether all neurons are polynomials plus a few ramps and steps, and the students have no
    jumps.
    """
    for index, activation in enumerate(activations):
        if not activation.has_closed_form or len(activation.atoms) > MAX_ATOMS:
            return False
        if any(a.width == 0.0 and a.order > 1 for a in activation.atoms):
            return False
        if index < students and jumps(activation):
            return False
    return True


def jumps(activation: Activation) -> bool:
    """Whether the closed form of f contains an unsmoothed step: then E f'^2 is infinite."""
    return any(a.width == 0.0 and a.order >= 1 for a in activation.atoms)


def make_rows(
    activations: Sequence[Activation], quadruples: Index, derivatives: tuple[bool, ...]
) -> Rows:
    """Rows of the products f_i^(d1) f_k^(d2) f_a^(d3) f_b^(d4) for many quadruples.

    Parameters
    ----------
    activations : sequence of Activation, n of them
    quadruples : (Q, 4) int array
        Neurons i, k, a, b.
    derivatives : four flags
        Which of the four places has f' in the place of f.

    Raises
    ------
    TooLargeError
        If there are too many rows.
    """
    kinds = {f: number for number, f in enumerate(dict.fromkeys(activations))}
    known = list(kinds)
    kind = np.array([kinds[f] for f in activations])
    # the first place that has the same neuron, and the kinds of all four: one template for each
    same = (quadruples[:, :, None] == quadruples[:, None, :]).argmax(axis=2)
    patterns, which = np.unique(
        np.concatenate([same, kind[quadruples]], axis=1), axis=0, return_inverse=True
    )
    which = which.ravel()
    parts: list[Rows] = []
    total = 0
    for number, pattern in enumerate(patterns):
        members = np.flatnonzero(which == number)
        places = pattern[:4].tolist()
        terms = [factors(known[k], d) for k, d in zip(pattern[4:], derivatives, strict=True)]
        template = [merge(places, chosen) for chosen in product(*terms)]
        total += len(template) * len(members)
        if total > MAX_ROWS:
            raise TooLargeError(
                f"{len(activations)} neurons need more than {MAX_ROWS} fourth moments; use "
                "sampling (fourth_moments='sampling', method='sampling')."
            )
        parts.append(_tiled(template, members, quadruples))
    return Rows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _tiled(template: list[Row], members: Index, quadruples: Index) -> Rows:
    """The rows of one template for all quadruples of its pattern."""
    n, m = len(template), len(members)
    coefficient = np.array([row.coefficient for row in template])
    count = np.array([len(row.variables) for row in template], dtype=np.int64)
    code = np.full((n, 4), POWER, dtype=np.int64)
    place = np.zeros((n, 4), dtype=np.int64)
    width2 = np.zeros((n, 4))
    for r, row in enumerate(template):
        for slot, variable in enumerate(row.variables):
            code[r, slot], place[r, slot], width2[r, slot] = variable
    unit = quadruples[members][:, place]  # (m, n, 4)
    return Rows(
        np.tile(coefficient, m),
        np.tile(count, m),
        np.tile(code, (m, 1)),
        unit.reshape(m * n, 4),
        np.tile(width2, (m, 1)),
        np.repeat(members, n),
    )
