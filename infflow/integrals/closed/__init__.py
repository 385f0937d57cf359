"""Closed forms: polynomials plus smoothed ramps and powers, exponentials, waves, elu and selu.

| file | what it holds | who calls it |
|---|---|---|
| `evaluator.py` | single moments, and jets of a network's pairs | `registry.py`, `choice.py` |
| `atoms.py` | activations as rows of a table | the files beside |
| `pairs.py` | moments and jets of pairs | `evaluator.py`, `online` |
| `means.py` | means of one activation | `pairs.py`, `waves.py` |
| `slots.py` | places of numbers in tables and results | all kernels |
| `atom_kernels.py` | jitted loops over pairs of polynomials plus atoms | `pairs.py` |
| `two_atoms_kernels.py` | one product of two atoms | `atom_kernels.py`, `error_kernels.py` |
| `stein_kernels.py` | its sums of lowest order | `two_atoms_kernels.py` |
| `polynomial_kernels.py` | products with a polynomial | `atom_kernels.py`, `mixture_kernels.py` |
| `atom_mean_kernels.py` | jitted means of polynomials and atoms | `means.py`, the kernels above |
| `_generated.py` | moments of two smoothed ramps, by `symbolic.py` | `two_atoms_kernels.py` |
| `symbolic.py` | their derivation by sympy (`make derive`) | developers |
| `mixture_kernels.py` | sums of many widths (tanh, softplus) | `pairs.py` |
| `powers.py` | truncated powers of degree 2 to 5 | the files beside |
| `power_kernels.py` | their jitted moments of pairs | `powers.py` |
| `power_table_kernels.py` | tables of moments of two powers | `powers.py` |
| `power_mean_kernels.py` | means of one activation | `powers.py`, the kernels above |
| `waves.py` | exponentials, sines and cosines | `pairs.py` |
| `elu.py`, `elu*_kernels.py` | one-sided exponentials: elu, selu | `pairs.py`, `evaluator.py` |
| `error_bounds.py`, `error_kernels.py` | rounding of closed forms | `evaluator.py` |
| `bivariate_normal*.py` | the bivariate normal distribution function | users, `stein_kernels.py` |
| `formulas.py` | textbook expressions, simplified by sympy | `inf.closed_form` |
| `exact_expectations.py` | integrals as sums of expressions | `formulas.py` |
| `gaussian_sums.py` | such sums, and those of two ramps | `exact_expectations.py` |
| `exact_activations.py` | activations with exact coefficients | `formulas.py`, the files above |
| `normal_functions.py`, `complex_erf.py` | special functions for sympy | `exact_expectations.py` |
"""
