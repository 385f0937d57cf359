"""Training of surrogates: perceptrons that stand in for the Gaussian integrals of one activation.

The formula is in :mod:`infflow.integrals.surrogate_form`. :mod:`~infflow.surrogate_training.base` fits its closed part,
:mod:`~infflow.surrogate_training.points` chooses points and evaluates exact integrals there, :mod:`~infflow.surrogate_training.objective` is the
Sobolev objective over the perceptron, and :func:`train_surrogate` puts them together.
"""

from __future__ import annotations

from .recipe import Recipe, train_surrogate

__all__ = ["Recipe", "train_surrogate"]
