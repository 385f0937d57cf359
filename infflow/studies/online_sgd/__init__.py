"""Order parameters against simulated online SGD.

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, runs, claims, picture |
| `published.py` | published formulas |
"""
