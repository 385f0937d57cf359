"""Ends of paths at infinity: neurons that merge while their output weights run off, neurons that
run off into a piece of their activation, and the networks that are left in the limit.

| file | what it holds | who calls it |
|---|---|---|
| `lookout.py` | looks for such ends while a search goes on | `training.py` |
| `limit.py` | `find_limit`: the minimum at infinity, and whether it is the end | `classification` |
| `chart.py` | coordinates that stay regular at infinity, and the loss in them | `limit.py` |
| `units.py` | which neurons run off, and what becomes of them | `chart.py`, `limit.py` |
| `corners.py` | kinks that rest on samples | `limit.py` |
| `stencil.py` | the derivative of a neuron along a direction, as a few neurons | `units.py` |
| `asymptotes.py` | straight lines, kinks and exponentials that activations tend to | `units.py` |
| `reach.py` | the range of pre-activations on the input | `units.py` |
"""

from .chart import Chart
from .limit import Found, Limit, Verdict, find_limit, is_covered, units_at
from .lookout import Lookout, ended_at
from .units import EndKind, EndUnit

__all__ = [
    "Chart",
    "EndKind",
    "EndUnit",
    "Found",
    "Limit",
    "Lookout",
    "Verdict",
    "ended_at",
    "find_limit",
    "is_covered",
    "units_at",
]
