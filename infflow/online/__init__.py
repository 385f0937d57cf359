"""Online stochastic gradient descent in the limit of large input dimension: its order parameters.

| file | what it holds | who calls it |
|---|---|---|
| `order_parameters.py` | `OrderParameters` | users, `studies` |
| `setup.py` | rates and fourth moments that its arguments ask for | `order_parameters.py` |
| `outcome.py` | from points that were reached to a result | `order_parameters.py` |
| `result.py`, `record.py` | `OnlineResult`, and its files | `order_parameters.py` |
| `equations/` | right-hand sides, their Jacobian, the noise of samples | `integration.py` |
| `runs/` | single runs: weights, simulations, their scatter | `order_parameters.py` |
| `state.py` | order parameters, and the vector of variables | everything here |
| `rates.py` | rates, noise and ridge as functions of time | `order_parameters.py` |
| `spectrum.py` | `Spectrum`, groups of eigenvalues | users, `checks.py` |
| `targets.py` | teachers as neurons over a few directions | `order_parameters.py` |
| `checks.py`, `times.py` | networks, states and times that are covered | `order_parameters.py` |
| `integration.py` | stiff solvers | `order_parameters.py` |
| `equilibrium.py` | `Equilibrium`: committees at high temperature | users |
| `fixed_point.py` | plateaus, by Newton's method | `order_parameters.py` |
"""
