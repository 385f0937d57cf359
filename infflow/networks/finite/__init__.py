"""Multilayer perceptrons on finite data.

| file | what it holds | who calls it |
|---|---|---|
| `net.py` | `Net` | users |
| `backprop.py`, `hessian.py`, `hvp.py` | derivatives, over blocks of samples | `net.py` |
| `one_output*.py` | the same for one hidden layer and one output, in few calls | `net.py` |
| `kernels.py` | jitted passes over one block | the files above |
| `losses/` | the losses, one file each, and their registry | all files above |
| `pieces.py` | kinks that meet samples, and the smooth pieces between | `net.py`, `flow` |
| `sum_of_squares*.py` | compensated residuals and their Jacobian | `net.py` |
| `covariance.py` | covariance of the gradients of single samples | `statistics.py` |
| `jacobian_moments.py` | second moments of the gradients of outputs | `fisher.py` |
| `quadrature_net.py` | networks on the nodes of a quadrature rule | users |
| `readable.py` | slow readable twins | tests |
"""
