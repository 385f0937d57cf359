"""Branches of critical points along a parameter, and where they turn, cross and lose stability.

(A room of the name `continuation` would shadow `inf.continuation`.)

| file | what it holds | who calls it |
|---|---|---|
| `continuation.py` | `continuation`: checks, and the walk along a branch | users, `studies` |
| `branch.py` | `Branch` and `Event`: what was found, branch switching | users, `continuation.py` |
| `curve.py` | points of the curve grad L = 0: bordered systems, corrector, tangents | `walk.py` |
| `slopes.py` | the derivative in the parameter: analytic, or by differences | `curve.py` |
| `events.py` | folds, branch points and changes of the index, located | `walk.py` |
| `walk.py` | steps along a branch, their control, where it ends | `continuation.py`, `branch.py` |
"""
