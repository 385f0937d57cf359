"""Which integrators a dynamics can use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import MethodError
from ..flow.methods import SOLVERS, Method

#: those that discretise the gradient flow themselves
DISCRETE = tuple(name for name, method in SOLVERS.items() if method.discrete)


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
        Solvers that cannot follow the dynamics, besides the discrete ones.
    why : str
        Why these cannot.

    Raises
    ------
    MethodError
        For one of those.
    """
    name = automatic if solver == "auto" else solver
    refused = dict.fromkeys(unusable, why)
    refused |= dict.fromkeys(DISCRETE, "it is a discretisation of the gradient flow")
    if name in refused:
        usable = ", ".join(each for each in SOLVERS if each not in refused)
        raise MethodError(
            f"solver {name!r} cannot follow {dynamics}: {refused[name]}. Take one of {usable}; "
            f"'auto' takes {automatic}."
        )
    return SOLVERS[name], {}
