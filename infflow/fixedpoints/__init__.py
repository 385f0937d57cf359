"""Fixed points of the gradient flow: Newton's method and its relatives."""

from .methods import OPTIMIZERS, Optimizer, automatic_optimizer, choose_optimizer
from .problem import FixedPointProblem
from .trust_region import SearchOutcome

__all__ = [
    "OPTIMIZERS",
    "FixedPointProblem",
    "Optimizer",
    "SearchOutcome",
    "automatic_optimizer",
    "choose_optimizer",
]
