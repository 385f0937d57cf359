"""Sweeps: a function called at all points of a grid, with results that survive
whatever is killed.

| file | what it holds | who calls it |
|---|---|---|
| `run.py` | `inf.sweep`: claim a run, execute it, save it | users, `studies`, `cli` |
| `grid.py` | the points of a grid, and the hash of each | `run.py` |
| `pools.py` | this process, processes of joblib, a Dask cluster | `run.py` |
| `outcome.py` | the call itself, in a worker | `pools.py` |
| `store.py`, `owners.py` | the database, and who works on a run | `run.py`, `table.py` |
| `table.py` | `inf.Sweep`, the table of results | users, `run.py` |
"""
