"""Online stochastic gradient descent in the limit of large input dimension: its order parameters.

| file | what it holds | who calls it |
|---|---|---|
| `order_parameters.py` | `OrderParameters` | users, `studies` |
| `result.py`, `record.py` | `OnlineResult`, and its files | `order_parameters.py` |
| `equations.py` | right-hand sides of the order parameters | `order_parameters.py` |
| `jacobian.py`, `point.py` | their Jacobian; what both share at one point | `equations.py` |
| `cone.py` | covariances of kinked neurons at their boundary | `equations.py` |
| `state.py` | order parameters, and the vector of variables | everything here |
| `rates.py` | rates, noise and ridge as functions of time | `order_parameters.py` |
| `spectrum.py` | `Spectrum`, groups of eigenvalues | users, `checks.py` |
| `targets.py` | teachers as neurons over a few directions | `order_parameters.py` |
| `checks.py`, `times.py` | networks, states and times that are covered | `order_parameters.py` |
| `fourth_moments.py`, `fourth_kernels.py` | the noise of single samples | `equations.py` |
| `integration.py` | stiff solvers | `order_parameters.py` |
| `fixed_point.py` | plateaus, by Newton's method | `order_parameters.py` |
| `weights.py`, `simulation.py` | weights with given overlaps; gradient descent itself | the same |
"""
