"""Fixed points of the gradient flow: Newton's method and its relatives.

| file | what it holds | who calls it |
|---|---|---|
| `methods.py` | the registry `OPTIMIZERS`, and what "auto" takes | `training.py`, messages |
| `turns.py` | Newton and Levenberg-Marquardt in turns, for "auto" | `training.py` |
| `problem.py` | the loss in free parameters, counters, what is known of rounding | every search |
| `trust_region.py` | how far to go, when to stop | `methods.py` |
| `directions.py`, `subproblem.py` | Newton's step in a trust region | `methods.py` |
| `krylov.py` | the same from Hessian-vector products | `methods.py` |
| `least_squares.py`, `tall_qr.py` | Levenberg-Marquardt | `methods.py` |
| `gauss_newton.py` | Gauss-Newton on minibatches | `methods.py` |
| `own_search.py` | a function of the user as search | `methods.py` |
| `quasi_newton.py` | BFGS, L-BFGS, SLSQP of other libraries | `methods.py` |
"""

from .methods import (
    OPTIMIZERS,
    Optimizer,
    automatic_optimizer,
    choose_optimizer,
    own_optimizer,
)
from .problem import FixedPointProblem
from .trust_region import SearchOutcome
from .turns import counting_on, search_in_turns, turns_of

__all__ = [
    "OPTIMIZERS",
    "FixedPointProblem",
    "Optimizer",
    "SearchOutcome",
    "automatic_optimizer",
    "choose_optimizer",
    "counting_on",
    "own_optimizer",
    "search_in_turns",
    "turns_of",
]
