"""Perceptrons that stand in for Gaussian integrals: evaluation and files. Training is in
`infflow/surrogates/training`.

| file | what it holds | who calls it |
|---|---|---|
| `evaluator.py` | jets and moments of one potential | `registry.py`, `networks/infinite` |
| `form.py` | the formula on plain arrays | `evaluator.py`, `surrogates` |
| `files.py` | weights and cards on disk | `surrogates` |
"""
