"""Any activation, kinks included, without code of its own: tables and Gauss's rules.

| file | what it holds | who calls it |
|---|---|---|
| `evaluator.py` | single moments, and jets of a network's pairs | `registry.py` |
| `pairs.py` | all moments of two neurons: what follows, put together | `evaluator.py` |
| `series.py` | Hermite series of functions with kinks | `pairs.py` |
| `conditional.py` | double integrals: one argument, then the other one given it | `pairs.py` |
| `smoothed.py` | polynomials and single kinks smoothed by a Gaussian, closed | `conditional.py` |
| `jumps.py` | what jumps of the function and its derivatives add | `pairs.py`, `evaluator.py` |
| `means.py` | integrals over one argument, and how far a neuron reaches | all files above |
| `panels.py` | panels of Gauss's rule for many neurons at once | `means.py`, `conditional.py` |
| `table.py` | an activation as polynomials on pieces of the line, found once | all files above |
"""
