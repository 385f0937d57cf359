"""Finite against infinite data: the law of 1/N, its prefactor, and where it ends.

| file | what it holds |
|---|---|
| `convergence.py` | `inf.convergence`, the demo: the paper's figure 4 |
| `claims.py` | the study `convergence`: settings, claims, page |
| `runs.py` | its runs |
"""
