"""What kind of point was found, from the spectrum and the symmetries.

| file | what it holds | who calls it |
|---|---|---|
| `classify.py` | `classify`: a point of a network, and what it is | users, `studies` |
| `point_kind.py` | minimum, saddle and others; what was found of a point | users, here |
| `verdict.py` | which of them it is, from spectrum, Newton's numbers and slopes | `classify.py` |
| `kinks.py` | points on kinks that meet samples | `classify.py` |
| `few_inputs.py` | a point in the inputs that the weights span | `classify.py` |
| `symmetric.py` | a point of a symmetric family, for the whole network | `classify.py` |
| `symmetries.py` | directions that symmetries of the network leave flat | `classify.py` |
| `curvature.py` | the Hessian as a matrix, or as products with vectors | `classify.py`, `rest.py` |
| `rest.py` | the Hessian where no symmetry leaves it flat | `classify.py` |
| `hidden.py` | hidden layers as the symmetries see them | `symmetries.py` |
| `features.py` | linear dependences on the data | `symmetries.py` |
| `at_infinity.py` | ends of paths at infinity | `classify.py` |
| `pieces.py` | flat directions of piecewise linear layers | `classify.py` |
| `kantorovich.py` | Newton's step and the Newton-Kantorovich number | `classify.py`, `proofs` |
| `structure.py` | which teacher neurons a student copies, averages or ignores | `classify.py` |
"""
