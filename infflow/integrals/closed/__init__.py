"""Closed forms: polynomials plus smoothed ramps and powers, exponentials, waves, elu and selu.

| file | what it holds | who calls it |
|---|---|---|
| `evaluator.py` | single moments, and jets of a network's pairs | `registry.py`, `choice.py` |
| `atoms.py` | activations as rows of a table | the files beside |
| `pairs.py` | moments and jets of pairs | `evaluator.py`, `online` |
| `means.py` | means of one activation | `pairs.py`, `waves.py` |
| `atom_kernels.py` | jitted sums over pairs of atoms | `pairs.py` |
| `_generated.py` | moments of two smoothed ramps, written by `symbolic.py` | `atom_kernels.py` |
| `symbolic.py` | their derivation by sympy (`make derive`) | developers |
| `mixture_kernels.py` | sums of many widths (tanh, softplus) | `pairs.py` |
| `powers.py`, `power_kernels.py` | truncated powers of degree 2 to 5 | the files beside |
| `waves.py` | exponentials, sines and cosines | `pairs.py` |
| `elu.py`, `elu*_kernels.py` | one-sided exponentials: elu, selu | `pairs.py`, `evaluator.py` |
| `error_bounds.py`, `error_kernels.py` | rounding of closed forms | `evaluator.py` |
| `bivariate_normal*.py` | the bivariate normal distribution function | users, `atom_kernels.py` |
| `formulas.py` | textbook expressions, simplified by sympy | `inf.closed_form` |
| `normal_functions.py`, `complex_erf.py` | special functions for sympy | `formulas.py` |
"""
