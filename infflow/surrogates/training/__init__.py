"""Training of surrogates: perceptrons that stand in for the Gaussian integrals of one activation.

The formula is in :mod:`infflow.integrals.surrogate.form`.

| file | what it holds | who calls it |
|---|---|---|
| `recipe.py` | `train_surrogate`, the same recipe for every activation | users, `cli` |
| `base.py` | the fit of the closed part | `recipe.py` |
| `points.py` | points, and exact integrals there | `recipe.py`, `measure.py` |
| `problem.py` | one part as a training problem | `recipe.py` |
| `objective.py` | the Sobolev objective over the perceptron | `problem.py` |
| `progress.py` | how far each stage is | `recipe.py` |
"""

from __future__ import annotations

from .recipe import Recipe, train_surrogate

__all__ = ["Recipe", "train_surrogate"]
