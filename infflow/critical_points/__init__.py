"""Critical points of a loss, and the paths between them.

| file | what it holds | who calls it |
|---|---|---|
| `atlas.py` | `atlas`: what was found from many starts, joined by flows | users |
| `entries.py` | critical points modulo symmetries | `atlas.py`, `studies` |
| `links.py` | flows from saddles, paths of least energy, ends at infinity | `atlas.py` |
| `record.py` | atlases in files | `atlas.py` |
| `search.py` | searches for critical points of any index | `atlas.py`, `studies` |
"""
