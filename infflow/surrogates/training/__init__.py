"""Training of surrogates: perceptrons that stand in for the Gaussian integrals of one activation.

The formula is in :mod:`infflow.integrals.surrogate.form`.
:mod:`~infflow.surrogates.training.base` fits its closed part,
:mod:`~infflow.surrogates.training.points` chooses points and evaluates exact integrals there,
:mod:`~infflow.surrogates.training.objective` is the Sobolev objective over the perceptron,
and :func:`train_surrogate` puts them together; :mod:`~infflow.surrogates.training.progress` says
how far each stage is.
"""

from __future__ import annotations

from .recipe import Recipe, train_surrogate

__all__ = ["Recipe", "train_surrogate"]
