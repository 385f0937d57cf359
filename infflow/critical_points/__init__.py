"""Critical points of a loss, and the paths between them.

| file | what it holds | who calls it |
|---|---|---|
| `atlas.py` | `atlas`: what was found from many starts, joined by flows | users |
| `entries.py` | critical points modulo symmetries | `atlas.py`, `studies` |
| `search.py` | searches for critical points of any index | `atlas.py`, `studies` |
"""
