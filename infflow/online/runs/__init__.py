"""Single runs of online stochastic gradient descent in D dimensions.

| file | what it holds | who calls it |
|---|---|---|
| `weights.py` | weights with given order parameters, and back | `order_parameters.py` |
| `simulation.py` | gradient descent itself, sample by sample | the same |
| `fluctuations.py` | scatter of single runs around the order parameters | the same |
"""
