"""Activations: functions as data.

| file | what it holds | who calls it |
|---|---|---|
| `activation.py` | `Activation`, `polynomial` | everybody |
| `registry.py` | the registered activations, one row each | `sums.py`, `naming.py` |
| `sums.py` | sums of terms as activations, truncated powers | `Activation`, `naming.py` |
| `algebra.py` | `Term`: sums of terms, and the pieces of which they consist | `sums.py` |
| `sum_text.py` | sums as text and as expressions | `sums.py`, `activation.py` |
| `polynomial_kernel.py` | values and derivatives of polynomials | `activation.py`, `registry.py` |
| `callables.py` | a user's functions as a kernel: checks, jumps | `Activation.from_callable` |
| `data.py` | `Atom`, `Wave`, `Strip`, `Sides`: what closed forms and bounds know | everybody |
| `from_sympy.py` | what an expression says: derivatives, kinks, parity | `Activation.from_sympy` |
| `recognise.py` | expressions as sums of terms with a closed form | `from_sympy.py` |
| `kernels.py` | jitted values and derivatives of the registered ones | `registry.py` |
| `logistic_mixture.py` | the logistic function as a sum of normal ones | `integrals/closed` |
| `naming.py` | names with parameters, functions of libraries, `resolve` | everybody |
| `vector_math.py` | exp, erf and normal tails for jitted loops | all kernels |
"""

from .activation import Activation, polynomial
from .algebra import Term
from .data import MAX_ORDER, Atom, Kernel, Sides, Strip, Wave
from .naming import ALIASES, FAMILIES, all_names, resolve
from .registry import REGISTRY, names

__all__ = [
    "ALIASES",
    "FAMILIES",
    "MAX_ORDER",
    "REGISTRY",
    "Activation",
    "Atom",
    "Kernel",
    "Sides",
    "Strip",
    "Term",
    "Wave",
    "all_names",
    "names",
    "polynomial",
    "resolve",
]
