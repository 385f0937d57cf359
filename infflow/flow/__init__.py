"""Integrators of the gradient flow.

| file | what it holds | who calls it |
|---|---|---|
| `driver.py` | `integrate`: one run from start to end | `training.py` |
| `methods.py` | the registry `SOLVERS`, one row a method | `driver.py`, `training.py`, messages |
| `problem.py` | the flow in symmetric variables, counters, norms | every integrator |
| `integrator.py` | what an integrator gives: `Step`, `State`, instructions | every integrator |
| `onestep.py`, `control.py` | one-step methods with step-size control | `methods.py` |
| `explicit.py`, `rosenbrock.py`, `esdirk.py`, `exponential.py` | steppers | `methods.py` |
| `tableaus.py`, `order_conditions.py` | methods as data that prove their order | steppers |
| `coefficients.py` | the tableaus themselves | `methods.py` |
| `gear.py` | variable-order BDF, the default | `methods.py`, `switching.py` |
| `filippov.py` | from kink to kink, where the gradient jumps | `methods.py` |
| `kinks.py` | a loss in pieces, in the variables of a flow | `filippov.py`, `classification` |
| `cvode.py`, `scipy_solvers.py` | integrators of other libraries | `methods.py` |
| `switching.py` | GMRES first, then `gear.py` | `methods.py` |
| `descent.py`, `batches.py` | gradient descent, Adam, minibatches | `methods.py` |
| `own_method.py` | a function of the user as integrator | `methods.py` |
| `factorization.py` | the shifted Hessian, factorised | implicit methods |
| `end_rules.py`, `krylov_path.py` | when the rest of a flow is not worth a step | `driver.py` |
| `recording.py` | trajectories: which points are kept | `driver.py` |
| `checkpoint.py` | files from which a run goes on | `driver.py`, `training.py` |
| `*_kernels.py` | jitted parts | the files of their names |
"""

from .checkpoint import SearchFile
from .driver import FlowOutcome, FlowSettings, integrate
from .methods import SOLVERS, Method, automatic_solver, own_solver
from .recording import Losses, Trajectory, resolve_observable

__all__ = [
    "SOLVERS",
    "FlowOutcome",
    "FlowSettings",
    "Losses",
    "Method",
    "SearchFile",
    "Trajectory",
    "automatic_solver",
    "integrate",
    "own_solver",
    "resolve_observable",
]
