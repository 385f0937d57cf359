"""Gaussian integrals of products of four neurons, where they have closed forms.

| file | what it holds | who calls it |
|---|---|---|
| `rows.py` | products of four activations as sums of simple ones | `quadruples.py`, `online` |
| `quadruples.py`, `quadruple_kernels.py` | moments with derivatives | `networks` |
| `error_function_kernels.py` | moments of error functions | `networks` |
| `orthant_kernels.py` | one product of ramps, steps, deltas and powers | kernels here, `online` |
"""
