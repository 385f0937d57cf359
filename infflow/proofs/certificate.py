"""What a proof of a critical point says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import summary
from .._validation import Array


class Enclosure(NamedTuple):
    """Numbers between which the exact value lies."""

    lower: float
    upper: float

    def __str__(self) -> str:
        middle = (self.lower + self.upper) / 2
        half = (self.upper - self.lower) / 2
        return f"{middle:.15g} +- {half:.1g}"


NOTHING = Enclosure(math.nan, math.nan)


@summary.as_table
@dataclass(frozen=True, eq=False)
class Certificate:
    """What :func:`certify` proved, or why it did not.

    Attributes
    ----------
    proved : bool
        Whether exactly one critical point is near; also the truth value of the certificate.
    reason : str
        Why not, and what to do; empty if proved.
    radius : float
        Every parameter of the critical point lies within this distance of that of ``theta``.
    uniqueness_radius : float
        There is no second critical point within this distance (largest difference of a parameter;
        for a family no second symmetric one, by the length of the difference in the whole network).
    loss : Enclosure
        Of the loss at the critical point.
    loss_digits : str
        The same as a decimal number with its error, to up to 30 digits.
    index, positive : int
        Numbers of negative and positive eigenvalues of the Hessian there, over the free parameters
        outside the gauge; none is zero. For a family those of the whole network.
    theta : (P,) array
        The point that was given.
    frozen, gauge : tuple of int
        Parameters held at their values: on request; and to fix the scaling of homogeneous neurons,
        or the lengths of rows in the spherical parametrization.
    assumptions : tuple of str
        What the statement is about.
    """

    proved: bool
    reason: str
    radius: float
    uniqueness_radius: float
    loss: Enclosure
    loss_digits: str
    index: int
    positive: int
    theta: Array
    frozen: tuple[int, ...]
    gauge: tuple[int, ...]
    assumptions: tuple[str, ...]
    precision: int  #: bits of the ball arithmetic

    def __bool__(self) -> bool:
        return self.proved

    @property
    def is_minimum(self) -> bool:
        """Whether the critical point is proved to be a minimum, strict but for the scaling that the
        gauge fixes.
        """
        return self.proved and self.index == 0

    def __str__(self) -> str:
        if not self.proved:
            lines = [f"not proved: {self.reason}"]
        else:
            what = "minimum" if self.index == 0 else f"saddle of index {self.index}"
            lines = [
                (
                    f"proved: within {self.radius:.2g} of theta lies exactly one critical point, a "
                    f"{what}; there is no other within {self.uniqueness_radius:.2g}"
                ),
                (
                    f"  loss {self.loss_digits}; the Hessian has {self.index} negative and "
                    f"{self.positive} positive eigenvalues"
                ),
            ]
        return "\n".join([*lines, *(f"  {each}" for each in self.assumptions)])

    __repr__ = __str__

    def _summary(self) -> summary.Summary:
        head, *_ = str(self).splitlines()
        rows: list[tuple[str, Any]] = []
        if self.proved:
            rows = [
                ("loss", self.loss_digits),
                ("negative eigenvalues", self.index),
                ("positive eigenvalues", self.positive),
                ("radius", f"{self.radius:.3g}"),
                ("unique within", f"{self.uniqueness_radius:.3g}"),
            ]
        rows += [("precision", f"{self.precision} bits"), ("about", "\n".join(self.assumptions))]
        return summary.Summary(head, rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as a dictionary of arrays, numbers, strings and tuples of these."""
        return {**self.__dict__, "loss": tuple(self.loss)}
