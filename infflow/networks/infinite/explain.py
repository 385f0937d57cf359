"""Which evaluator the Gaussian integrals of an infinite-data network use, why, how exact and at
what cost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...integrals.choice import METHODS, PairEvaluator
from ...integrals.surrogate.evaluator import SurrogateEvaluator
from ...integrals.terms import TermsEvaluator, parts

_WORK = {
    "closed": "pairs of atoms",
    "mixture": "pairs of atoms",
    "one-sided": "atoms on panels",
    "hermite": "terms",
    "numeric": "nodes",
    "cubature": "nodes",
    "surrogate": "weights",
}
_NAMES = {"one-sided": "closed"}


class Choice(NamedTuple):
    """All pairs of two activations that one method evaluates."""

    f: str
    g: str
    method: str
    pairs: int
    bound: float  #: largest error bound, relative to sqrt(E f^(p)^2 E g^(q)^2)
    work: int  #: most pairs of atoms, terms or nodes of one pair
    microseconds: float  #: per pair, in the last evaluation
    reason: str


def choices(evaluator: PairEvaluator | TermsEvaluator) -> list[Choice]:
    """The choices of the last evaluation, grouped by activations and method."""
    report = evaluator.report
    names = [
        "1" if a.polynomial == (1.0,) else a.name for a in evaluator.activations
    ]  # the output bias
    kinds = {name: k for k, name in enumerate(sorted(set(names)))}
    kind = np.array([kinds[name] for name in names])
    pair = np.sort(np.stack([kind[evaluator.i], kind[evaluator.j]]), axis=0)
    keys, group = np.unique(np.vstack([pair, report.method]), axis=1, return_inverse=True)
    known = list(kinds)
    counts = np.bincount(report.method[report.method >= 0], minlength=len(METHODS))
    bounds = evaluator.bounds()
    found = []
    for g, (first, second, code) in enumerate(keys.T):
        if code < 0:  # pairs that were not needed
            continue
        rows = np.flatnonzero(group.ravel() == g)
        method = METHODS[code]
        found.append(
            Choice(
                known[first],
                known[second],
                method,
                len(rows),
                float(bounds[rows].max()),
                int(report.work[rows].max()),
                1e6 * report.seconds.get(method, 0.0) / max(1, counts[code]),
                _reason(method, float(report.missed[rows].max()), evaluator, rows),
            )
        )
    return found


def _reason(
    method: str, missed: float, evaluator: PairEvaluator | TermsEvaluator, rows: NDArray[np.intp]
) -> str:
    """Why the method was taken for these pairs; ``missed`` is the bound of the cheaper one before
    it.
    """
    if method == "surrogate":
        return "largest value error on its card, absolute"
    if missed == np.inf and isinstance(evaluator, SurrogateEvaluator):
        return "outside of the domain of the surrogate"
    if missed == np.inf:
        return "too sharp or oscillating for the rules of a series"
    if missed > 0:
        return f"a series would err by up to {missed:.0e}"
    if method == "closed":
        return "closed form"
    if method == "one-sided":
        return "closed means of one argument, one integral over the other"
    if method != "cubature" and method not in _WORK:
        return "of the registry"
    if method == "numeric":
        return "table of the activation, Gauss's rules"
    if method == "hermite":
        return _of_series(evaluator, rows)
    return "a kink, for which no series converges"


def _of_series(evaluator: PairEvaluator | TermsEvaluator, rows: NDArray[np.intp]) -> str:
    """The reason why the bound of a series holds."""
    neurons = np.concatenate([evaluator.i[rows], evaluator.j[rows]])
    every = [evaluator.activations[k] for k in np.unique(neurons)]
    if all(part.primitive.strip is not None for f in every for part in parts(f)):
        return "analytic activations, series converges"
    return (
        "smooth activations, series converges; the bound is an estimate from rules of different "
        "position"
    )


def table(evaluator: PairEvaluator | TermsEvaluator, rtol: float) -> str:
    """The choices as text."""
    lines = [
        f"{'activations':<28} {'method':<9} {'pairs':>6} {'bound':>8} {'us/pair':>8}  work, reason"
    ]
    for c in choices(evaluator):
        pair = f"{c.f} x {c.g}"
        work = _WORK.get(c.method, "evaluations")
        lines.append(
            f"{pair:<28} {_NAMES.get(c.method, c.method):<9} {c.pairs:>6} {c.bound:>8.0e} "
            f"{c.microseconds:>8.2f}  up to {c.work} {work}; {c.reason}"
        )
    lines.append(f"tolerance rtol = {rtol:g}, relative to sqrt(E f^(p)^2 E g^(q)^2)")
    return "\n".join(lines)
