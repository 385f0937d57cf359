"""Dynamics that a loss may drive beside the gradient flow.

| file | what it holds | who calls it |
|---|---|---|
| `registry.py` | `DYNAMICS` by name; what `train(dynamics=...)` may be | `settings.py` |
| `solvers.py` | which integrators a dynamics can use | the dynamics |
| `heavy_ball.py` | momentum: theta'' = -friction theta' - grad L | users |
| `natural_gradient.py` | theta' = -(F + damping)^-1 grad L | users |
| `modified_flow.py` | the flow of L + step/4 abs(grad L)^2 | users, `sgd_diffusion.py` |
| `sgd_diffusion.py` | minibatch noise as a diffusion | users |
| `splitting.py` | its integrator, of weak order 2 | `sgd_diffusion.py` |

A dynamics is a `Dynamics` of `flow/problem.py`, whose docstring says what it gives. It sees
objectives through the capabilities of `objective.py`, and no network.
"""

from .heavy_ball import HeavyBall
from .modified_flow import ModifiedFlow
from .natural_gradient import NaturalGradient
from .registry import DYNAMICS, as_dynamics
from .sgd_diffusion import SGDDiffusion

__all__ = [
    "DYNAMICS",
    "HeavyBall",
    "ModifiedFlow",
    "NaturalGradient",
    "SGDDiffusion",
    "as_dynamics",
]
