"""Integrators of the gradient flow."""

from .checkpoint import SearchFile
from .driver import FlowOutcome, FlowSettings, integrate
from .methods import SOLVERS, Method, automatic_solver
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
    "resolve_observable",
]
