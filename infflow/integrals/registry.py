"""The methods for Gaussian integrals, and the order in which they are tried.

A method is a class derived from :class:`~infflow.integrals.evaluator.Evaluator` and one entry in
:data:`EVALUATORS`; single moments, networks, their explanations and the command line then know it
by its name.
"""

from __future__ import annotations

from ..activations import Activation
from .closed.evaluator import ClosedForms
from .cubature.evaluator import Cubature
from .evaluator import Evaluator
from .growth import check_growth
from .hermite.evaluator import HermiteSeries
from .numeric.evaluator import NumericRule
from .surrogate.evaluator import SurrogateMethod

__all__ = ["EVALUATORS", "in_order"]

#: Registered methods by name; :func:`in_order` says in which order they are tried.
EVALUATORS: dict[str, Evaluator] = {
    "closed": ClosedForms(),
    "hermite": HermiteSeries(check_growth),
    "numeric": NumericRule(),
    "cubature": Cubature(),
    "surrogate": SurrogateMethod(),
}


def in_order(*activations: Activation) -> tuple[str, ...]:
    """The methods that "auto" may take for an activation or a pair, in the order in which they are
    tried.

    Closed forms of few atoms, series, closed forms of mixtures, rules on tables, what was added to
    the registry, and cubature. Means of one activation are closed first.
    """
    found = [
        name
        for name, evaluator in EVALUATORS.items()
        if evaluator.automatic and evaluator.defined(*activations)
    ]
    return tuple(sorted(found, key=lambda name: EVALUATORS[name].rank(*activations)))
