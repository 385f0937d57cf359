"""Activations: functions as data.

| file | what it holds | who calls it |
|---|---|---|
| `activation.py` | `Activation`, `Atom`, `Wave`, `Strip`, the registry, `resolve` | everybody |
| `from_sympy.py` | what an expression says: derivatives, kinks, parity | `Activation.from_sympy` |
| `kernels.py` | jitted values and derivatives of the registered ones | the registry's rows |
| `logistic_mixture.py` | the logistic function as a sum of normal ones | `integrals/closed` |
| `vector_math.py` | exp, erf and normal tails for jitted loops | all kernels |
"""

from .activation import (
    ALIASES,
    MAX_ORDER,
    REGISTRY,
    Activation,
    Atom,
    Kernel,
    Strip,
    Wave,
    names,
    polynomial,
    resolve,
)

__all__ = [
    "ALIASES",
    "MAX_ORDER",
    "REGISTRY",
    "Activation",
    "Atom",
    "Kernel",
    "Strip",
    "Wave",
    "names",
    "polynomial",
    "resolve",
]
