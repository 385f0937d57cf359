"""Gaussian integrals E[f(h1) g(h2)] of one and two neurons, and their derivatives in the means.

Networks hand over covariances and means and get jets; single moments come from the same evaluators.

| room or file | what it holds | who calls it |
|---|---|---|
| `moments.py` | `gaussian_moment`, `gaussian_mean`, `available_methods` | users, `exchange` |
| `choice.py` | which evaluator takes which pair of a network | `terms.py`, `networks/infinite` |
| `terms.py` | sums of terms, from the integrals of their parts | `moments.py`, networks, `online` |
| `registry.py` | the evaluators, in their order of trial | `moments.py`, `choice.py` |
| `evaluator.py` | what an evaluator is: points in, estimates or jets out | every evaluator |
| `hermite_coefficients.py` | `hermite_coefficients` | users, `networks/infinite` |
| `neuron_means.py` | E f^(p)(h) for any order p | `networks/infinite` |
| `neuron_means_kernels.py` | its closed forms | `neuron_means.py` |
| `jets.py` | the numbers of a pair that a network needs | evaluators, `networks/infinite` |
| `resolution.py` | how fine a rule has to be: strips, narrow places | `hermite/`, `cubature/` |
| `growth.py` | the check that a neuron's second moment exists | `choice.py`, `registry.py` |
| `closed/` | closed forms | `registry.py` |
| `hermite/` | Hermite series of smooth activations | `registry.py` |
| `numeric/` | any activation by a table of it, all pairs at once | `registry.py` |
| `cubature/` | adaptive integration; expectations | `registry.py`, users |
| `fourth/` | products of four neurons | `networks/gradient_moments.py`, `online` |
| `surrogate/` | perceptrons that stand in for the integrals | `registry.py`, `surrogates` |
"""
