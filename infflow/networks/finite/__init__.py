"""Multilayer perceptrons on finite data.

| file | what it holds | who calls it |
|---|---|---|
| `net.py` | `Net` | users |
| `backprop.py`, `hessian.py`, `hvp.py` | value and gradient, Hessian, products with it, over blocks of samples | `net.py` |
| `kernels.py` | jitted passes over one block | the three above |
| `losses/` | the losses, one file each, per block of samples, and their registry | all files above |
| `sum_of_squares.py`, `sum_of_squares_kernels.py` | residuals in compensated arithmetic and their Jacobian | `net.py` |
| `covariance.py` | covariance of the gradients of single samples | `statistics.py` |
| `quadrature_net.py` | networks on the nodes of a quadrature rule | users |
| `readable.py` | slow readable twins | tests |
"""
