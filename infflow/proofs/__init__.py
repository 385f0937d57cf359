"""Proofs of critical points in ball arithmetic.

| file | what it holds | who calls it |
|---|---|---|
| `certify.py` | `certify` | users |
| `span.py` | proofs in the inputs that weights span | `certify.py` |
| `families.py` | whole networks of any size, by symmetric families | `certify.py` |
| `certificate.py` | `Certificate`: what a proof says | `certify.py`, `families.py` |
| `krawczyk.py` | the test of a box, and inertia of the Hessian | `certify.py`, `families.py` |
| `network.py` | the population loss in ball arithmetic | `certify.py` |
| `unit_rows.py` | rows of length one in ball arithmetic | `network.py` |
| `pairs.py`, `moments.py` | integrals of pairs, their gradients and Hessians | `network.py` |
| `activations.py` | the functions about which proofs speak | `moments.py` |
| `ball.py` | real balls with derivatives of second order | all files here |
"""
