"""Proofs of critical points in ball arithmetic.

| file | what it holds | who calls it |
|---|---|---|
| `certify.py` | `certify` | users |
| `network.py` | the population loss in ball arithmetic | `certify.py` |
| `pairs.py`, `moments.py` | integrals of pairs, their gradients and Hessians | `network.py` |
| `activations.py` | the functions about which proofs speak | `moments.py` |
| `ball.py` | real balls with derivatives of second order | all files here |
"""
