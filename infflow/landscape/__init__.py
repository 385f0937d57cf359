"""Ways around in the loss landscape: other widths with the same function, sections and planes,
distances of solutions.

| file | what it holds | who calls it |
|---|---|---|
| `distance.py` | `solution_distance`: functions modulo symmetries | users, `many.py`, `studies` |
| `neurons.py` | `split_neuron`, `grow`, `shrink` | users, `distance.py` |
| `plane.py` | `loss_on_plane`, `minimise_orthogonal` | users |
| `teacher_symmetry.py` | maps of the input that exchange teacher neurons | `many.py` |
"""
