"""Critical points of small students of orthonormal teachers.

| file | what it holds |
|---|---|
| `claims.py` | the study: settings, claims, picture |
| `atlas.py` | the list of critical points and which saddle joins which minima |
| `critical_points.py` | the search for saddles |
"""
