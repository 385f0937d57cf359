"""The loss next to the teacher, summed over the Gaussians of the input."""

from __future__ import annotations

import math

from ....activations import Activation
from ..component_loss import ComponentLoss
from ..population_loss import Units
from . import realizable

#: Below this fraction of the sum of its terms the plain sum has lost five digits.
CANCELLED = 1e-5


class NearLoss:
    """E |student - teacher|^2 of a student next to its teacher, without cancellation.

    Parameters
    ----------
    components : list of ComponentLoss
        The Gaussians of the input, with their plain sums.
    f, g : list of Activation
        Of students and teachers.
    teacher : Units
        As it acts on the input.
    method, rtol
        How the integrals are evaluated, and their tolerance.

    Attributes
    ----------
    was_close : bool
        Whether the last student was so close that the plain sum is certain to be lost in rounding.
        Then the next one is tried here first, and its plain sum is not evaluated.
    """

    def __init__(
        self,
        components: list[ComponentLoss],
        f: list[Activation],
        g: list[Activation],
        teacher: Units,
        method: str,
        rtol: float,
    ) -> None:
        self._components = components
        self._activations = f, g
        self._teacher = teacher
        self._match = realizable.Matcher(teacher, f, g)
        self._segments = [realizable.SegmentLoss(method, rtol) for _ in components]
        self._is_covered = realizable.is_covered([*f, *g])
        self._least = sum(part.weight * part.loss.least_scale for part in components)
        self.was_close = False

    def value(self, student: Units) -> float | None:
        """The loss; None where the student is not close, or where it is not finite."""
        found = self._value(student)
        self.was_close = found is not None and found <= 0.5 * CANCELLED * self._least
        return found

    def _value(self, student: Units) -> float | None:
        matching = self._match(student)
        if matching.exact:
            return 0.0
        if realizable.is_affine(self._match.activations):
            return self._affine_value(student)
        if not (self._is_covered and matching.close):
            return None
        close = 0.0
        for part, loss in zip(self._components, self._segments, strict=True):
            own = matching._replace(units=part.to_component(matching.units))
            close += part.weight * loss(own)
        # infinite where kinks meet, at a teacher neuron with w = b = 0
        return close if math.isfinite(close) else None

    def _affine_value(self, student: Units) -> float:
        """The loss where all neurons are linear."""
        total = 0.0
        for part in self._components:
            ends = (part.to_component(student), part.to_component(self._teacher))
            total += part.weight * realizable.affine_loss(*ends, *self._activations)
        return total
