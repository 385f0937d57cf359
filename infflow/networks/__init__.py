"""Networks: values and exact derivatives of their losses.

| room or file | what it holds | who calls it |
|---|---|---|
| `finite/` | `Net`: multilayer perceptrons on samples | users, everything below |
| `infinite/` | `NetI`: student and teacher on Gaussian input | users, `online` |
| `eigenvalues.py` | spectra of Hessians, with multiplicities | users, `statistics.py` |
| `functions.py` | `loss`, `gradient`, `hessian`, `hvp` of any network | users |
| `statistics.py` | covariance of gradients, finite-data predictions, overlaps | users, `studies` |
| `teacher_derivatives.py` | gradients in the teacher, the mixed Hessian | users |
| `gradient_moments.py` | single-sample gradients, exact or sampled | `statistics.py` |
| `error_function_moments.py` | the same where all neurons are erf | `gradient_moments.py` |
| `conditional_moments.py` | the same of smooth neurons, by quadrature | `gradient_moments.py` |
| `span_moments.py` | their types, and the span of all weights | the files above |
| `fisher.py`, `sgd_noise.py` | `fisher`; `stationary_covariance`, noise scale | users |
| `teacher.py` | a network with fixed parameters that labels the input | `infinite/` |
| `inputs.py` | Gaussian inputs and mixtures | `infinite/`, `online` |
| `low_discrepancy.py` | Sobol points of an input | `infinite/`, `online` |
| `parameters.py`, `parameter_kernels.py` | layers, theta, random starts | `finite/` |
| `unit_rows.py` | rows of weights that enter with length one | `finite/`, `infinite/` |
| `regularization.py` | barrier, ridge, pairs of neurons to merge | `finite/`, `infinite/` |
| `frozen.py` | parameters that are held fixed | `statistics.py`, `classification`, `proofs` |
| `replacement.py` | the constructor's arguments, for `replace` | `finite/`, `infinite/` |
"""
