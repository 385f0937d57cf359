"""Seeds of runs that are to be independent of each other."""

from __future__ import annotations

import numpy as np


def seed_of_run(seed: int, number: int) -> int:
    """The seed of run ``number`` of many, which all were given ``seed``.

    The first run keeps the seed that was given, so that it is the run that one has alone. The
    others have no stream in common with it, nor with those of any other seed.
    """
    if number == 0:
        return seed
    (word,) = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return int(word >> np.uint64(1))  # 63 bits, which fit in every integer of a file
