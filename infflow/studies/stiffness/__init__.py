"""What stiff solvers do on neural networks (the letter).

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, claims, page |
| `runs.py` | problems and their runs |
| `panels.py` | pictures |
| `ode_codes.py` | solvers of other libraries under one interface |
"""
