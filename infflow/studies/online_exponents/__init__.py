"""Exponents and plateaus of online learning with structured input, targets and tasks.

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, claims, picture |
| `runs.py` | learning curves for spectra, spheres and sequences of teachers |
"""
