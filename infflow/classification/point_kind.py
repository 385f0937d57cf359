"""The kinds of points, and all that is found out about one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import summary
from .._validation import Array, counted
from ..channels import Limit
from .kantorovich import NewtonNumbers
from .structure import Structure
from .symmetries import FlatDirections


class PointKind(Enum):
    """What a point is; the value is the sentence that the user reads."""

    MINIMUM = "a critical point is near, and the loss grows in all directions from there."
    DEGENERATE_MINIMUM = (
        "a critical point is near, and the loss grows in all directions but those that are flat."
    )
    KINK_MINIMUM = (
        "kinks that meet samples hold the point, where zero lies between the gradients on their "
        "sides, and along the kinks the loss grows in all directions but those that are flat."
    )
    SADDLE = "a critical point is near, and the loss decreases in some directions from there."
    NOT_CONVERGED = "nothing shows that a critical point is near."
    AT_INFINITY = (
        "neurons run off to infinity, and the loss falls to its minimum there; `limit` says which "
        "neurons, what they become, and the loss at infinity."
    )


@summary.as_table
@dataclass(frozen=True, eq=False)
class Classification:
    """What :func:`classify` found.

    Attributes
    ----------
    kind : PointKind
    index : int
        Number m of directions of negative curvature, flat ones left out.
    flat : tuple of FlatDirections
        Flat directions, with the symmetry and the neurons behind each.
    eigenvalues : (n,) array
        Spectrum of the Hessian on the free parameters without the directions that symmetries make
        flat, ascending; with the method "lanczos" its smallest members.
    loss, gradient_norm : float
        At theta; infinity norm over the free parameters.
    expected_loss : float
        Loss to be expected at the critical point: loss at theta minus half the squared Newton
        decrement (with signs).
    newton : NewtonNumbers
        Step, decrement, beta, sampled Lipschitz constant.
    reason : str
        Why the point is not converged, or empty.
    duplicates : tuple of tuples
        Groups of neurons of the first hidden layer that compute the same function up to sign and
        scale.
    structure : Structure or None
        Which teacher neurons the students copy, average or ignore, where a teacher is known.
    method : {"dense", "lanczos"}
        Whether all eigenvalues were computed, or the smallest ones from Hessian-vector products.
    unknown : tuple of str
        What is not known for that reason.
    multiplicities : (n,) array of int
        How often each of the eigenvalues occurs: more than once where the Hessian was judged in the
        inputs that the weights span.
    reduction : str
        Which inputs these are; empty where all were taken.
    limit : Limit or None
        Of the kind ``AT_INFINITY``: what runs off, and the loss there, which is also the expected
        one; ``index`` is that of the limit.
    kinks : tuple of (int, int)
        Neurons of the hidden layer and samples on whose kinks the point is held. Then gradient,
        eigenvalues and Newton's numbers are those along the kinks.
    """

    kind: PointKind
    index: int
    flat: tuple[FlatDirections, ...]
    eigenvalues: Array
    loss: float
    gradient_norm: float
    expected_loss: float
    newton: NewtonNumbers
    reason: str
    duplicates: tuple[tuple[int, ...], ...]
    structure: Structure | None
    method: str = "dense"
    unknown: tuple[str, ...] = ()
    multiplicities: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    reduction: str = ""
    limit: Limit | None = None
    kinks: tuple[tuple[int, int], ...] = ()

    @property
    def flat_dimension(self) -> int:
        """Number of flat directions."""
        return sum(each.dimension for each in self.flat)

    @property
    def h(self) -> float:
        """Newton-Kantorovich number beta |step| K, with sampled K, in the coordinates of theta or
        in the norm of the Hessian; at most 1/2 where a critical point is near.
        """
        return self.newton.h

    @property
    def distance(self) -> float:
        """Estimated distance to the critical point, the length of the Newton step."""
        return self.newton.length

    def __str__(self) -> str:
        n = self.newton
        low = self.eigenvalues
        name = self.kind.name.lower().replace("_", " ")
        at_least = "at least " if self.unknown else ""
        name += f" of index {at_least}{self.index}" if self.kind is PointKind.SADDLE else ""
        spectrum = (
            f"{int(self.multiplicities.sum())} eigenvalues from {low[0]:.3g} to {low[-1]:.3g}"
            if len(low)
            else "no other directions"
        )
        lines = [
            f"{name}: {self.kind.value}",
            f"  loss {self.loss:.6g}, gradient norm {self.gradient_norm:.3g}; {spectrum}",
            f"  Newton: decrement {n.decrement:.3g}, beta {n.beta:.3g} x step {n.length:.3g} x K "
            f"{n.lipschitz:.3g} (sampled)"
            f" = h {n.plain:.3g} {'<=' if n.plain <= 0.5 else '>'} 1/2",
        ]
        if n.plain > 0.5:
            relation = "<=" if n.invariant <= 0.5 else ">"
            lines.append(f"  in the norm of the Hessian h is {n.invariant:.3g} {relation} 1/2")
        if self.kind is PointKind.NOT_CONVERGED:
            lines.append(f"  {self.reason}")
        elif self.limit is not None:
            lines.append(f"  {self.limit}")
        else:
            lines.append(
                f"  the critical point is about {self.distance:.3g} away (at most "
                f"{n.distance_bound:.3g}), its loss about {self.expected_loss:.6g}"
            )
        lines += [f"  flat directions, {self.flat_dimension} in all:"] * bool(self.flat) + [
            f"    {each}" for each in self.flat
        ]
        lines += [f"  held on {counted(len(self.kinks), 'kink')}"] * bool(self.kinks)
        lines += [f"  not known: {each}" for each in self.unknown]
        lines += [f"  judged in {self.reduction}"] * bool(self.reduction)
        if self.structure is not None:
            lines += ["  " + line for line in str(self.structure).splitlines()]
        return "\n".join(lines)

    __repr__ = __str__

    def _summary(self) -> summary.Summary:
        head, *lines = str(self).splitlines()
        rows: list[tuple[str, Any]] = [
            ("loss", self.loss),
            ("gradient norm", f"{self.gradient_norm:.3g}"),
            ("negative eigenvalues", f"{'at least ' if self.unknown else ''}{self.index}"),
            ("eigenvalues", self.eigenvalues),
            ("further", "\n".join(line.strip() for line in lines[1:])),
        ]
        return summary.Summary(head, rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as a dictionary of arrays, numbers, strings and dictionaries of these."""
        n = self.newton
        return {
            "kind": self.kind.name,
            "index": self.index,
            "flat_dimension": self.flat_dimension,
            "flat": [{**each.__dict__, "symmetry": each.symmetry.name} for each in self.flat],
            "eigenvalues": self.eigenvalues,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "expected_loss": self.expected_loss,
            "newton_step": n.step,
            "newton_decrement": n.decrement,
            "beta": n.beta,
            "lipschitz_sampled": n.lipschitz,
            "h": self.h,
            "h_invariant": n.invariant,
            "distance": self.distance,
            "distance_bound": n.distance_bound,
            "reason": self.reason,
            "duplicates": self.duplicates,
            "structure": None if self.structure is None else self.structure.to_dict(),
            "method": self.method,
            "unknown": self.unknown,
            "multiplicities": self.multiplicities,
            "reduction": self.reduction,
            "limit": None if self.limit is None else self.limit.to_dict(),
            "kinks": self.kinks,
        }
