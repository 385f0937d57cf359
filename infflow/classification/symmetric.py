"""A point of a symmetric family, judged for the whole network that it stands for.

Newton's numbers are about the family, in the coordinates sqrt(multiplicities) z in which lengths
are those of the whole network: a critical point of the family is one of the whole. Index, flat
directions and eigenvalues are those of the whole network, symmetry type by symmetry type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..networks.infinite.families.orbits import SymmetricNetI
from ..objective import Evaluation
from .curvature import DenseCurvature, products
from .hidden import homogeneity
from .kantorovich import NewtonNumbers, Samples, newton_numbers
from .point_kind import Classification
from .rest import Rest, all_of_it
from .symmetries import FlatDirections, Symmetry
from .verdict import HESSIAN_NOISE, is_level, verdict

#: a loss below this fraction of the terms that it is the sum of is zero
_ZERO = 1e-14


class InWholeLengths:
    """A family as a function of x = sqrt(multiplicities) z."""

    def __init__(self, fam: SymmetricNetI) -> None:
        self.fam, self.roots = fam, np.sqrt(fam.multiplicities)
        self.num_params = fam.num_params

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Value, gradient (P,) and Hessian (P, P) in x."""
        value, g, H = self.fam.evaluate(theta / self.roots, order)
        return Evaluation(
            value,
            None if g is None else g / self.roots,
            None if H is None else H / self.roots / self.roots[:, None],
        )

    def hvp(self, theta: Array, v: Array) -> Array:
        """Hessian in x times ``v`` (P,) or (P, m)."""
        product: Array = self.evaluate(theta, 2).H @ v
        return product


@dataclass(frozen=True)
class FamilyPoint:
    """What is known about a point of a family, before a verdict.

    Attributes
    ----------
    value : float
    gradient : (n,) array
        In x, over the free parameters; ``largest`` is the largest entry of that in z.
    curvatures, x : (n,) arrays
        The diagonal of the Hessian in x, and x.
    rest : Rest
        Of the family itself, where scaling does not leave it flat.
    flat : (n, k) array
        Directions of scaling in the family, orthonormal.
    newton : NewtonNumbers
        Its step is in z.
    eigenvalues, multiplicities : (m,) arrays
        Of the whole network without what scaling explains, ascending.
    is_null, is_negative : (m,) boolean arrays
    flats : tuple of FlatDirections
        Scaling, block by block.
    """

    value: float
    gradient: Array
    largest: float
    curvatures: Array
    x: Array
    rest: Rest
    flat: Array
    newton: NewtonNumbers
    eigenvalues: Array
    multiplicities: NDArray[np.intp]
    is_null: NDArray[np.bool_]
    is_negative: NDArray[np.bool_]
    flats: tuple[FlatDirections, ...]


def classify_family(
    fam: SymmetricNetI, z: Array, free: NDArray[np.intp], samples: Samples
) -> Classification:
    """What the point z (P,) is, with ``free`` parameters, for the whole network."""
    fam = fam.frozen(z)
    value = fam.evaluate(z).value
    # relative to the terms of which it is the sum: those of the zero function, which grow as
    # the square of the number of neurons, would hide minima whose loss falls with it
    excess = value * 2.0 * np.finfo(float).eps / fam.loss_rounding(z, value)
    zero_loss = excess <= _ZERO
    kinked = bool(fam.activation.kinks)
    left = 10.0 * excess ** (1 / 3 if kinked else 1 / 2) if zero_loss else 0.0
    point = judge(fam, z, free, samples, left)
    newton = point.newton
    counts = point.multiplicities
    index = int(counts[point.is_negative].sum())
    nulls = int(counts[point.is_null].sum())
    of_newton = newton.lipschitz * newton.length**2
    here = (value, point.gradient, point.curvatures, point.x)
    at_rest = is_level(*here, point.rest.null, 0.0)
    level = is_level(*here, point.flat, of_newton)
    flats = point.flats
    kind, reason = verdict(
        newton, index, 0 if zero_loss else nulls, at_rest, level, bool(flats) or nulls > 0
    )
    if nulls:
        why = Symmetry.ZERO_LOSS if zero_loss else Symmetry.UNKNOWN
        flats = (*flats, FlatDirections(why, -1, (), nulls))
    kept = ~point.is_null if zero_loss else np.ones(len(counts), dtype=bool)
    return Classification(
        kind,
        index,
        flats,
        point.eigenvalues[kept],
        value,
        point.largest,
        max(value - newton.gain, 0.0),
        newton,
        reason,
        (),
        None,
        multiplicities=counts[kept],
        reduction=(
            f"a family of {fam.num_params} parameters, the whole network by symmetry types: {fam!r}"
        ),
    )


def judge(
    fam: SymmetricNetI, z: Array, free: NDArray[np.intp], samples: Samples, left: float
) -> FamilyPoint:
    """Judge the point z (P,).

    Parameters
    ----------
    free : (n,) indices
        All parameters, or all but the output weights.
    left : float
        Eigenvalues within the rounding error of Hessians and, next to loss zero, within ``left``
        of zero count as zero, relative to the largest of their type.
    """
    whole = InWholeLengths(fam)
    x = z * whole.roots
    value, g, H = whole.evaluate(x, 2)
    assert g is not None and H is not None
    mask = ~np.isin(np.arange(len(z)), free)
    scales = fam.train_second_layer and not mask.any() and bool(homogeneity(fam.activation))
    flat = _scaling(fam, z, whole.roots)[free][:, : len(fam.students) if scales else 0]
    curvature = DenseCurvature(np.ascontiguousarray(H[np.ix_(free, free)]))
    rest = all_of_it(curvature, g[free], flat, (HESSIAN_NOISE + left) * curvature.norm, None)
    here = products(_as_net(whole), x, free, samples.report)
    newton = newton_numbers(_as_net(whole), x, free, rest, here, samples)
    newton = NewtonNumbers(**{**newton.__dict__, "step": newton.step / whole.roots})
    types = _types(fam, z, mask, rest, (HESSIAN_NOISE, left, float(np.abs(g).max())), bool(scales))
    values, counts, null, negative = (np.concatenate(each) for each in zip(*types, strict=True))
    order = np.argsort(values, kind="stable")
    flats = tuple(
        FlatDirections(Symmetry.SCALING, 0, (), int(p)) for p in fam.block_sizes if scales
    )
    return FamilyPoint(
        value,
        g[free],
        float(np.abs(g * whole.roots)[free].max()),
        curvature.diagonal,
        x[free],
        rest,
        flat,
        newton,
        values[order],
        counts[order],
        null[order],
        negative[order],
        flats,
    )


def _as_net(whole: InWholeLengths) -> Any:
    return whole  # callers that take a net here only multiply with its Hessian


def _scaling(fam: SymmetricNetI, z: Array, roots: Array) -> Array:
    """Directions (P, B) of x along the scaling of each block, orthonormal."""
    found = np.zeros((len(z), len(fam.students)))
    if not fam.train_second_layer:
        return found
    places = fam.places
    for i in range(len(fam.students)):
        row = [places.own[i], places.within[i], *places.between[i]]
        for k in (k for k in row if k >= 0):
            found[k, i] = roots[k] * z[k]
        found[places.output[i], i] = -roots[places.output[i]] * z[places.output[i]]
    lengths = np.linalg.norm(found, axis=0)
    directions: Array = found / np.where(lengths > 0.0, lengths, 1.0)
    return directions


def _types(
    fam: SymmetricNetI,
    z: Array,
    mask: NDArray[np.bool_],
    own: Rest,
    widths: tuple[float, float, float],
    scales: bool,
) -> list[tuple[Any, Any, Any, Any]]:
    """Eigenvalues, multiplicities, and which are zero and negative, for each symmetry type."""
    noise, left, slope = widths
    one = np.ones(len(own.eigenvalues), dtype=np.intp)
    found: list[tuple[Any, Any, Any, Any]] = [(own.eigenvalues, one, own.is_null, own.is_negative)]
    for each in fam.symmetry_types(z, mask)[1:]:
        values = np.linalg.eigvalsh(each.hessian)
        norm = float(np.abs(values).max())
        if scales and each.name.startswith("standard"):
            # one for each block that shadows it; level only where the gradient vanishes
            count = sum(shadowed == each.blocks[0] for shadowed in fam.students)
            level = np.argsort(np.abs(values), kind="stable")[:count]
            level = level[np.abs(values[level]) <= noise * norm + 10.0 * slope]
            values = np.delete(values, level)
        gap = (noise + left) * norm
        counts = np.full(len(values), int(each.dimension), dtype=np.intp)
        found.append((values, counts, np.abs(values) <= gap, values < -gap))
    return found
