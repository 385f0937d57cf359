"""Families of symmetric networks: blocks of neurons of any, also real, size.

| file | what it holds | who calls it |
|---|---|---|
| `orbits.py` | `SymmetricNetI` | users |
| `orbit_loss.py`, `orbit_kernels.py` | the loss as a sum over orbits of pairs | `orbits.py` |
| `orbit_pairs.py` | orbits, rows and parameters as index arrays | `orbit_loss.py`, `proofs` |
| `orbit_spectrum.py` | the Hessian of the whole network by symmetry types | `orbits.py`, `proofs` |
"""
