"""Networks of finite width beside the kernels of infinite width.

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, exponents, claims, picture |
| `runs.py` | one network: its flow, and what both kernels predict |
"""
