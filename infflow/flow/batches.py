"""Minibatches: the samples in a new random order in every epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..objective import Objective, Sampled


class Position(NamedTuple):
    """Where a run is: the epoch, and how many of its samples were taken."""

    epoch: int = 0
    taken: int = 0


class Batches:
    """Objectives on ``batch_size`` samples each; the last one of an epoch may have fewer.

    The order of epoch number k depends on ``seed`` and k alone, so that a run can go on from any
    position.

    Parameters
    ----------
    objective : Sampled
        The loss on all samples.
    num_samples, batch_size : int
        Samples altogether, and in a batch.
    seed : int
        Of the random order.
    """

    def __init__(self, objective: Sampled, num_samples: int, batch_size: int, seed: int) -> None:
        self._objective = objective
        self._num_samples = num_samples
        self._batch_size = batch_size
        self._seed = seed
        self._order = (-1, np.empty(0, dtype=int))  # an epoch, and the order of its samples

    def is_last(self, position: Position) -> bool:
        """Whether the batch that led to this position is the last one of its epoch."""
        return position.taken >= self._num_samples

    def take(self, position: Position) -> tuple[Objective, Position]:
        """The loss on the next batch, and the position after it."""
        epoch, first = (position.epoch + 1, 0) if self.is_last(position) else position
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, rng.permutation(self._num_samples))
        last = first + self._batch_size
        return self._objective.subset(self._order[1][first:last]), Position(epoch, last)
