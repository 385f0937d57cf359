"""Kernels of infinite width, and bridges to the tools of others.

| file | what it holds | who calls it |
|---|---|---|
| `kernels.py`, `kernel_layers.py` | `nngp_kernel`, `ntk_kernel`: infinite width | users |
| `mean_field.py` | `mean_field`: fixed points and depth scales | users |
| `sklearn_kernels.py` | both kernels for Gaussian processes | `sklearn.py` |
| `sklearn.py` | estimators for scikit-learn, `inf.sklearn` | users |
| `torch.py` | `from_torch`, `to_torch` | users |
| `jax_loss.py`, `torch_loss.py` | the exact loss for other people's autodiff | users |
| `derivatives.py` | what both ask of a network | these two |
| `conventions.py` | factors of other papers and packages, `inf.conventions` | users |
"""
