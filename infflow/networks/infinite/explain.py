"""Which evaluator the Gaussian integrals of an infinite-data network use, why, how exact and at
what cost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...activations import Activation
from ...integrals.choice import METHODS, NOT_NEEDED, evaluator_of
from ...integrals.surrogate.evaluator import SurrogateMethod
from .population_loss import PopulationLoss

# Pairs with elu or selu are listed under the name that "method" has.
_NAMES = {"one-sided": "closed"}


class Row(NamedTuple):
    """All pairs of two activations that one method evaluates."""

    f: str
    g: str
    method: str
    pairs: int
    bound: float  #: largest error bound, relative to sqrt(E f^(p)^2 E g^(q)^2)
    work: int  #: most pairs of atoms, terms or nodes of one pair
    microseconds: float  #: per pair, in the last evaluation
    reason: str


def rows_of(loss: PopulationLoss) -> list[Row]:
    """The choices of the last evaluation, grouped by activations and method."""
    assert loss.examined is not None
    evaluator = loss.evaluator
    args, jets = loss.examined
    names = [
        "1" if a.polynomial == (1.0,) else a.name for a in evaluator.activations
    ]  # the output bias
    kinds = {name: k for k, name in enumerate(sorted(set(names)))}
    kind = np.array([kinds[name] for name in names])
    pair = np.sort(np.stack([kind[evaluator.i], kind[evaluator.j]]), axis=0)
    keys, group = np.unique(np.vstack([pair, jets.method]), axis=1, return_inverse=True)
    known = list(kinds)
    counts = np.bincount(jets.method[jets.method != NOT_NEEDED], minlength=len(METHODS))
    bounds = evaluator.bounds(args, jets)
    found = []
    for g, (first, second, code) in enumerate(keys.T):
        if code == NOT_NEEDED:
            continue
        rows = np.flatnonzero(group.ravel() == g)
        method = METHODS[code]
        found.append(
            Row(
                known[first],
                known[second],
                method,
                len(rows),
                float(bounds[rows].max()),
                int(jets.work[rows].max()),
                1e6 * jets.seconds.get(method, 0.0) / max(1, counts[code]),
                _reason(method, float(jets.missed[rows].max()), loss, rows),
            )
        )
    return found


def _reason(method: str, missed: float, loss: PopulationLoss, rows: NDArray[np.intp]) -> str:
    """Why the method was taken for these pairs; ``missed`` is the bound of the cheaper one before
    it.
    """
    evaluator = loss.evaluator
    if missed == np.inf and isinstance(evaluator.method, SurrogateMethod):
        return "outside of the domain of the surrogate"
    if missed == np.inf:
        return "too sharp or oscillating for the rules of a series"
    if missed > 0:
        return f"a series would err by up to {missed:.0e}"
    neurons = np.unique(np.concatenate([evaluator.i[rows], evaluator.j[rows]]))
    activations: list[Activation] = [evaluator.activations[k] for k in neurons]
    return evaluator_of(method).reason(method, activations)


def table(loss: PopulationLoss, rtol: float) -> str:
    """The choices as text."""
    lines = [
        f"{'activations':<28} {'method':<9} {'pairs':>6} {'bound':>8} {'us/pair':>8}  work, reason"
    ]
    for row in rows_of(loss):
        pair = f"{row.f} x {row.g}"
        unit = evaluator_of(row.method).unit(row.method)
        lines.append(
            f"{pair:<28} {_NAMES.get(row.method, row.method):<9} {row.pairs:>6} "
            f"{row.bound:>8.0e} {row.microseconds:>8.2f}  up to {row.work} {unit}; {row.reason}"
        )
    lines.append(f"tolerance rtol = {rtol:g}, relative to sqrt(E f^(p)^2 E g^(q)^2)")
    return "\n".join(lines)
