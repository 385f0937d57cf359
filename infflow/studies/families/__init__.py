"""Families of symmetric networks: spurious minima of relu, copies and averages of erf.

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, claims, picture |
| `runs.py` | searches, branches and proofs in the parameters of a family |
"""
