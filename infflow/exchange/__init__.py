"""Other people's tools.

| file | what it holds | who calls it |
|---|---|---|
| `sklearn.py` | estimators for scikit-learn, `inf.sklearn` | users |
| `torch.py` | `from_torch`, `to_torch` | users |
| `conventions.py` | factors of other papers and packages, `inf.conventions` | users |
"""
