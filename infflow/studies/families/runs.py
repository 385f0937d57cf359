"""Runs of the study: searches, branches and proofs in the few parameters of a family.

Relu families have k orthonormal teachers in blocks (off, k - off), and a student for each. In the
first block students are *off*: their weight on their own teacher is near -1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...branches.branch import Branch
from ...branches.continuation import continuation
from ...errors import MissingPackageError
from ...networks.infinite.families.orbits import SymmetricNetI
from ...proofs.certify import certify
from ...training import train

#: eigenvalues above this fraction of the loss's scale are no rounding
_POSITIVE = 1e-9


class Found(NamedTuple):
    """A critical point of a family."""

    fam: SymmetricNetI
    z: Array
    loss: float
    converged: bool


def search(k: float, off: int) -> Found:
    """The critical point with ``off`` students off, by Newton's method from a guess.

    The guess has the leading orders in 1/k of such points.
    """
    fam = SymmetricNetI("relu", [off, k - off])
    guess = fam.pack(
        [-1.0 + 3.4 / k, 1.0],
        [1.9 / k, -2.0 * off / k**2],
        [[0.0, 1.3 / k], [2.0 / k, 0.0]],
    )
    found = train(fam, guess, max_steps_flow=0, progress=False)
    return Found(fam, found.theta, found.loss, found.converged)


def relu_family(k: int, off: int) -> dict[str, Any]:
    """One critical point: loss, lowest eigenvalue and index of the whole network."""
    fam, z, loss, converged = search(k, off)
    own = fam.unpack(z).own
    return {
        "loss": loss,
        "lowest": float(fam.spectrum(z).values[0]),
        "index": float(fam.index(z)),
        "is_spurious": float(converged and own[0] < 0.0 < own[1]),
    }


def relu_branch(off: int, start: int, stop: float) -> dict[str, Any]:
    """The family continued in the real number k of neurons from ``start`` down."""
    fam, z, _, _ = search(start, off)
    branch = continuation(lambda k: fam.resized([off, k - off]), z, start, stop)
    return _points(branch)


def more_students(k: int, stop: float) -> dict[str, Any]:
    """One student more than teachers: the student that is off is split in two parallel halves.

    From there a flow along the steepest descent within the family, and the end of it continued in
    the number of teachers.
    """
    fam, z, loss, _ = search(k, 1)
    own, within, between = fam.unpack(z)
    more = SymmetricNetI("relu", [1, k - 1], [0, 1, None])
    halves = 0.5 * np.array([own[0], between[0, 1]])
    split = more.pack(
        [halves[0], own[1], 0.0],
        [0.0, within[1], 0.0],
        [[0.0, halves[1]], between[1], halves],
    )
    trivial = more.symmetry_types(split)[0]
    down = trivial.vectors @ np.linalg.eigh(trivial.hessian)[1][:, 0]
    end = train(more, split + 1e-3 * down, max_time_flow=20.0, progress=False)
    branch = continuation(lambda k: more.resized([1, k - 1]), end.theta, k, stop)
    return {
        **_points(branch),
        "split_loss_change": more.evaluate(split).value - loss,
        "split_lowest": float(more.spectrum(split).values[0]),
        "split_index": float(more.index(split)),
        "end_loss": end.loss,
        "end_index": float(more.index(end.theta)),
        "end_lowest": float(more.spectrum(end.theta).values[0]),
        "spurious_loss": loss,
    }


def erf_branch(copies: int, start: float, stop: float) -> dict[str, Any]:
    """``copies`` erf students that copy a teacher each and one that averages m others, in real m.

    Second layers are trained. The branch begins at m = ``start``.
    """

    def sized(m: float) -> SymmetricNetI:
        return SymmetricNetI("erf", [copies, m], [0, None], train_second_layer=True)

    fam = sized(start)
    average = 1.0 / np.sqrt(start * (2.0 * start - 1.0))
    z = fam.pack([1.0, 0.0], [0.0, 0.0], [[0.0, 0.0], [0.0, average]], output_weights=[1.0, start])
    found = train(fam, z, max_steps_flow=0, progress=False)
    return _points(continuation(sized, found.theta, start, stop))


def proof(k: int) -> dict[str, Any]:
    """A certificate of the minimum with one student off; NaN without python-flint."""
    fam, z, loss, _ = search(k, 1)
    try:
        found = certify(fam, z)
    except MissingPackageError:
        return {"proved": np.nan, "loss": loss, "radius": np.nan, "unique": np.nan}
    return {
        "proved": float(found.is_minimum),
        "loss": (found.loss.lower + found.loss.upper) / 2 if found else loss,
        "radius": found.radius,
        "unique": found.uniqueness_radius,
        "digits": found.loss_digits,
        "positive": float(found.positive),
    }


def _points(branch: Branch) -> dict[str, Any]:
    """Points and the first change of the index of a branch."""
    turns = [event for event in branch.events if event.kind == "branch point"]
    return {
        "parameter": branch.parameter,
        "loss": branch.loss,
        "index": np.asarray(branch.index, dtype=float),
        "smallest": branch.smallest,
        "turn": turns[0].parameter if turns else np.nan,
        "symmetry": turns[0].symmetry if turns else "",
        "events": ", ".join(event.kind for event in branch.events),
    }
