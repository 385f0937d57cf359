"""Adaptive integration: any activation, any function of up to three Gaussian variables.

| file | what it holds | who calls it |
|---|---|---|
| `evaluator.py` | single moments, and jets of a network's pairs | `registry.py` |
| `pairs.py` | moments of a pair of activations | `evaluator.py` |
| `distributions.py` | an activation as function plus deltas | `pairs.py`, `networks/infinite` |
| `panels.py` | adaptive Gauss-Kronrod quadrature of many integrals at once | all files here |
| `expectation.py` | `gaussian_expectation` | users, `networks` |
"""
