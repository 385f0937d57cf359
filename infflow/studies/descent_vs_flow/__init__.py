"""When gradient descent follows gradient flow (the blog post).

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, runs, claims, picture |
| `panels.py` | the panels and their cases |
| `euler_bound.py` | the bound of Euler's method against the flow |
| `linear_networks.py` | deep linear networks |
"""
