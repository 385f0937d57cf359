"""Minibatches: the samples in a new random order in every epoch."""

from __future__ import annotations

import numpy as np

from ..objective import Objective, Sampled


class Batches:
    """Objectives on ``batch_size`` samples each; the last one of an epoch may have fewer.

    The order of epoch number k depends on ``seed`` and k alone, so that a run can go on from
    (epoch, position).

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
        self._go_to(0, 0)

    def _go_to(self, epoch: int, position: int) -> None:
        self._epoch = epoch
        self._position = position
        self._order = np.random.default_rng([self._seed, epoch]).permutation(self._num_samples)

    @property
    def at_end(self) -> bool:
        """Whether the batch that was taken last is the last one of its epoch."""
        return self._position >= self._num_samples

    def take(self) -> Objective:
        """The loss on the next batch."""
        if self.at_end:
            self._go_to(self._epoch + 1, 0)
        chosen = self._order[self._position : self._position + self._batch_size]
        self._position += self._batch_size
        return self._objective.subset(chosen)

    def state(self) -> dict[str, int]:
        """Where the run is, for a checkpoint."""
        return {"epoch": self._epoch, "position": self._position}

    def restore(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._go_to(int(state["epoch"]), int(state["position"]))
