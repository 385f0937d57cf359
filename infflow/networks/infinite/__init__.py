"""One-hidden-layer networks on infinitely many Gaussian inputs.

| file | what it holds | who calls it |
|---|---|---|
| `neti.py` | `NetI` | users |
| `population_loss.py` | the loss over one Gaussian input | `neti.py` |
| `kernels.py` | gradient and Hessian from jets | `population_loss.py`, `realizable.py` |
| `realizable.py`, `realizable_kernels.py` | the loss next to the teacher | `neti.py` |
| `segment.py` | points between teacher and student, and their integrals | `realizable.py` |
| `reduction.py` | `reduce`: the network in the inputs that weights span | users, `reduced_run.py` |
| `invariant.py` | subspaces of the input that a gradient flow cannot leave | `reduction.py` |
| `explain.py` | which evaluator was used, and why | `neti.py` |
| `function_*.py` | teachers that are functions of projections | `neti.py` |
| `readable.py` | slow readable twin of the assembly | tests |
"""
