"""One-hidden-layer networks on infinitely many Gaussian inputs.

| file | what it holds | who calls it |
|---|---|---|
| `neti.py` | `NetI` | users |
| `checks.py` | networks that infinite data cannot take | `neti.py` |
| `neurons.py` | student and teacher as neurons on the input | `neti.py` |
| `component_loss.py` | the loss over one Gaussian of the input, in the parameters | `neti.py` |
| `population_loss.py` | the same in standard normal coordinates | `component_loss.py` |
| `doubled_student.py` | two copies of a student, for its Fisher matrix | `neti.py` |
| `joint.py` | the loss as a function of student and teacher | `networks`, `exchange` |
| `correlation_loss.py` | its cross terms alone, `loss="correlation"` | `component_loss.py` |
| `kernels.py` | gradient and Hessian from jets | `population_loss.py`, `near_teacher` |
| `near_teacher/` | the loss next to the teacher, without cancellation | `neti.py` |
| `targets/` | functions and polynomials as targets | `component_loss.py`, users |
| `families/` | `SymmetricNetI`: families of symmetric networks of any size | users |
| `reduction.py` | `reduce`: the network in the inputs that weights span | users, `reduced_run.py` |
| `invariant.py` | subspaces of the input that a gradient flow cannot leave | `reduction.py` |
| `explain.py` | which evaluator was used, and why | `neti.py` |
| `readable.py` | slow readable twin of the assembly | tests |
"""
