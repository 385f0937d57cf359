"""Whether the errors on the card of a surrogate hold on fresh points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .._validation import as_integer, as_rng, public, shown
from ..activations import Activation, resolve
from ..errors import InvalidTypeError, InvalidValueError
from ..integrals.surrogate import files as surrogate_files
from ..networks.inputs import sample_size
from . import measure as errors

#: How far a figure of fresh points may lie above that of the card. Medians of some hundred points
#: and more agree within a few per cent; the 99 % of a thousand points rest on ten of them, and a
#: maximum on one. Fewer points scatter more: three standard errors of the median of logarithms
#: with the standard deviation 2.7, exp(10/sqrt(n)).
ALLOWED = {"median": 1.5, "99%": 2.5, "maximum": 4.0}
#: The same for the medians and maxima of a few networks, which scatter more.
ALLOWED_NETWORKS = {"median": 3.0, "maximum": 10.0}
# Rounding of the exact integrals at r = 10, in units of which nothing is claimed.
_FLOOR = 1e-12


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found.

    Attributes
    ----------
    name : str
    points, networks : int
        How many were looked at.
    claimed, found : dict
        Errors of ``"points"`` and ``"networks"``: quantity, then statistic, then the number.
    failures : list of str
        What does not hold, as sentences.
    """

    name: str
    points: int
    networks: int
    claimed: dict[str, Any]
    found: dict[str, Any]
    failures: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything on the card holds."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Everything as a dictionary that JSON can hold."""
        return {**self.__dict__, "holds": self.holds}

    def table(self) -> str:
        """The figures side by side."""
        lines = [
            (
                f"{self.name}: {'holds' if self.holds else 'DOES NOT HOLD'}, {self.points} fresh "
                f"points, {self.networks} networks"
            )
        ]
        lines.append(f"  {'':<20} {'statistic':<10} {'card':>9} {'found':>9}")
        for where, quantities in self.found.items():
            for quantity, statistics in quantities.items():
                for statistic, value in statistics.items():
                    claimed = self.claimed[where][quantity][statistic]
                    lines.append(
                        f"  {where + ', ' + quantity:<20} {statistic:<10} {claimed:>9.1e} "
                        f"{value:>9.1e}"
                    )
        return "\n".join([*lines, *(f"  {failure}" for failure in self.failures)])


@public
def verify(
    name: str,
    n: int = 2000,
    rng: Any = 0,
    *,
    networks: int = 20,
    surrogates_dir: Any = None,
    activation: Activation | None = None,
) -> Verification:
    """Compare the errors of a surrogate with those on its card, at fresh random points and
    networks.

    Parameters
    ----------
    name : str
        Name of the activation.
    n : int
        Number of points (r1, r2, u), at least 100.
    rng : int or numpy.random.Generator
        Where they come from; 0 differs from what the card was made with.
    networks : int
        Number of random student-teacher networks (the paper's measure), at least 5; 0 leaves them
        out.
    surrogates_dir : path, optional
        As for :func:`load`.
    activation : Activation, optional
        The activation itself, where its name is not registered.

    Returns
    -------
    Verification
        ``holds`` says whether all figures are within a small factor of those on the card.

    Raises
    ------
    MethodError, StorageError
        If there is no such surrogate, or its files cannot be used.
    InvalidValueError
        If the surrogate was trained for another function than ``activation``.
    """
    n = sample_size(n, 3, "n", minimum=100)
    if activation is not None and not isinstance(activation, Activation):
        raise InvalidTypeError(f"activation is {shown(activation)}; an inf.Activation is needed.")
    networks = as_integer("networks", networks, minimum=0)
    if 0 < networks < 5:
        raise InvalidValueError(f"networks is {networks}; at least 5, or 0 for none, are needed.")
    generator = as_rng(rng)
    surrogate = surrogate_files.load(name, surrogates_dir)
    target = resolve(name) if activation is None else activation
    if surrogate_files.find(target, surrogates_dir) is None:
        raise InvalidValueError(
            f"{surrogate.path} was trained for another function than {target!r}. Pass the "
            "activation that it was trained for."
        )
    found = {
        "points": errors.measure(
            surrogate.form, target, surrogate.r_min, surrogate.r_max, n, generator
        )
    }
    claimed = {"points": surrogate.card["errors"]}
    if networks:
        found["networks"] = errors.measure_networks(surrogate.form, target, networks, generator)
        claimed["networks"] = surrogate.card["networks"]
    return Verification(name, n, networks, claimed, found, _failures(claimed, found, n))


def _failures(claimed: dict[str, Any], found: dict[str, Any], n: int) -> list[str]:
    few = math.exp(10.0 / math.sqrt(n))
    allowed = {
        "points": {name: max(few, factor) for name, factor in ALLOWED.items()},
        "networks": ALLOWED_NETWORKS,
    }
    failures = []
    for where, quantities in found.items():
        for quantity, statistics in quantities.items():
            for statistic, value in statistics.items():
                limit = allowed[where][statistic] * claimed[where][quantity][statistic] + _FLOOR
                if not value <= limit:
                    failures.append(
                        f"{where}, {quantity}: the {statistic} is {value:.1e}, the card says "
                        f"{claimed[where][quantity][statistic]:.1e}"
                    )
    return failures
