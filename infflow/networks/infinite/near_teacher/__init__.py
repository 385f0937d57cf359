"""The loss next to the teacher, relative to its own small value.

| file | what it holds | who calls it |
|---|---|---|
| `near_loss.py` | the loss, summed over the Gaussians of the input | `neti.py` |
| `realizable.py`, `realizable_kernels.py` | the loss of matched neurons | `near_loss.py` |
| `differences.py`, `differences_kernels.py` | the same from series | `realizable.py` |
| `segment.py` | points between teacher and student, and their integrals | `realizable.py` |
"""
