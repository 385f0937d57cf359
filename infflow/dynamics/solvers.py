"""Which integrators a dynamics can use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import MethodError
from ..flow.methods import SOLVERS, Method

#: families that see a flow through its problem alone, whatever drives it
GENERAL = (
    "explicit Runge-Kutta",
    "Rosenbrock",
    "exponential Rosenbrock",
    "ESDIRK",
    "Gear",
    "CVODE",
    "SciPy",
)
#: solvers of other families
OF_GRADIENTS = tuple(name for name, method in SOLVERS.items() if method.family not in GENERAL)


def chosen(
    dynamics: str, solver: str, automatic: str, unusable: Iterable[str], why: str
) -> tuple[Method, dict[str, Any]]:
    """The integrator of that name, ``automatic`` for "auto", without options of its own.

    Parameters
    ----------
    dynamics : str
        For messages.
    solver : str
        Of the user.
    automatic : str
        What "auto" means.
    unusable : iterable of str
        Solvers that cannot follow the dynamics, besides those made for gradients.
    why : str
        Why these cannot.

    Raises
    ------
    MethodError
        For one of those.
    """
    name = automatic if solver == "auto" else solver
    refused = dict.fromkeys(unusable, why)
    refused |= dict.fromkeys(OF_GRADIENTS, "it is made for the gradient flow alone")
    if name in refused:
        usable = ", ".join(each for each in SOLVERS if each not in refused)
        raise MethodError(
            f"solver {name!r} cannot follow {dynamics}: {refused[name]}. Take one of {usable}; "
            f"'auto' takes {automatic}."
        )
    return SOLVERS[name], {}
