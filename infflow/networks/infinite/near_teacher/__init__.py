"""The loss next to the teacher, relative to its own small value.

| file | what it holds | who calls it |
|---|---|---|
| `realizable.py`, `realizable_kernels.py` | the loss of matched neurons | `neti.py` |
| `differences.py`, `differences_kernels.py` | the same from series | `realizable.py` |
| `segment.py` | points between teacher and student, and their integrals | `realizable.py` |
"""
