"""One-hidden-layer networks on infinitely many Gaussian inputs.

| file | what it holds | who calls it |
|---|---|---|
| `neti.py` | `NetI` | users |
| `population_loss.py` | the loss over one Gaussian input | `neti.py` |
| `joint.py` | the loss as a function of student and teacher | `networks`, `exchange` |
| `correlation_loss.py` | its cross terms alone, `loss="correlation"` | `neti.py` |
| `kernels.py` | gradient and Hessian from jets | `population_loss.py`, `realizable.py` |
| `realizable.py`, `realizable_kernels.py` | the loss next to the teacher | `neti.py` |
| `differences.py`, `differences_kernels.py` | the same from series | `realizable.py` |
| `segment.py` | points between teacher and student, and their integrals | `realizable.py` |
| `reduction.py` | `reduce`: the network in the inputs that weights span | users, `reduced_run.py` |
| `invariant.py` | subspaces of the input that a gradient flow cannot leave | `reduction.py` |
| `explain.py` | which evaluator was used, and why | `neti.py` |
| `orbits.py` | `SymmetricNetI`: families of symmetric networks | users |
| `orbit_loss.py`, `orbit_kernels.py` | their loss as a sum over orbits of pairs | `orbits.py` |
| `orbit_pairs.py` | orbits, rows and parameters as index arrays | `orbit_loss.py`, `proofs` |
| `orbit_spectrum.py` | the Hessian of the whole network by symmetry types | `orbits.py`, `proofs` |
| `cross.py` | what a loss asks of a target that is no network | `function_loss.py` |
| `function_loss.py`, `function_kernels.py` | the loss against such a target | `neti.py` |
| `function_teacher.py`, `function_integrals.py` | any function of projections | `neti.py` |
| `polynomial_*.py`, `hermite_table.py` | polynomials of any number of projections | `neti.py` |
| `exponents.py` | `information_exponent`, `leap_exponent` | users |
| `readable.py` | slow readable twin of the assembly | tests |
"""
