"""Critical points of small students of orthonormal teachers.

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, claims, picture; searches are those of `critical_points` |
"""
