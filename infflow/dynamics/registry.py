"""The dynamics by name, and what ``train(dynamics=...)`` may be; a new one is a file and a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._validation import as_choice, shown
from ..errors import InvalidTypeError
from ..flow.problem import Dynamics
from .heavy_ball import HeavyBall
from .modified_flow import ModifiedFlow
from .natural_gradient import NaturalGradient
from .sgd_diffusion import SGDDiffusion

DYNAMICS: dict[str, type] = {
    kind.name: kind for kind in (HeavyBall, NaturalGradient, ModifiedFlow, SGDDiffusion)
}


def as_dynamics(name: str, value: Any) -> Dynamics:
    """A dynamics, or the table ``{"kind": name, argument: value, ...}`` of one, as files have it.

    Raises
    ------
    InvalidTypeError, UnknownNameError
        If it is neither.
    """
    if isinstance(value, tuple(DYNAMICS.values())):
        return value  # type: ignore[return-value]
    if isinstance(value, Mapping) and isinstance(value.get("kind"), str):
        arguments = {key: each for key, each in value.items() if key != "kind"}
        kind = DYNAMICS[as_choice(f"{name}.kind", value["kind"], DYNAMICS)]
        made: Dynamics = kind(**arguments)
        return made
    classes = ", ".join(f"inf.{kind.__name__}(...)" for kind in DYNAMICS.values())
    raise InvalidTypeError(
        f"{name} is {shown(value)}; None for the gradient flow, one of {classes}, or a table such "
        "as {'kind': 'heavy_ball', 'friction': 0.5} is needed."
    )
