"""The equations of the order parameters.

| file | what it holds | who calls it |
|---|---|---|
| `right_hand_side.py` | the time derivative of all order parameters | `online` |
| `jacobian.py`, `point.py` | its Jacobian; what both share at one point | `right_hand_side.py` |
| `cone.py` | covariances of kinked neurons at their boundary | `right_hand_side.py` |
| `fourth_moments.py`, `fourth_kernels.py` | the noise of single samples | `right_hand_side.py` |
"""
