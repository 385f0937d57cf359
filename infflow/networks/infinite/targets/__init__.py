"""Targets that are no networks.

| file | what it holds | who calls it |
|---|---|---|
| `cross.py` | what a loss asks of a target that is no network | `function_loss.py` |
| `function_loss.py`, `function_kernels.py` | the loss against such a target | `neti.py` |
| `function_teacher.py`, `function_integrals.py` | any function of projections | users, `neti.py` |
| `polynomial_teacher.py` | `PolynomialTeacher`: polynomials of projections | users, `online` |
| `polynomial_integrals.py`, `polynomial_kernels.py` | their integrals | `polynomial_teacher.py` |
| `hermite_table.py` | polynomials as tables of Hermite coefficients | everything here |
| `exponents.py` | `information_exponent`, `leap_exponent` | users |
"""
