"""Adaptive integration: any activation, any function of up to three Gaussian variables.

| file | what it holds | who calls it |
|---|---|---|
| `pairs.py` | moments of a pair of activations | `registry.py`, `choice.py` |
| `distributions.py` | an activation as function plus deltas | `pairs.py`, `networks/infinite` |
| `panels.py` | adaptive Gauss-Kronrod quadrature of many integrals at once | all files here |
| `expectation.py` | `gaussian_expectation` | users, `networks` |
"""
