"""One line for whoever waits while kernels are compiled: on a terminal or in a notebook, once per
process, never into a pipe or a file, and nowhere where ``INFFLOW_QUIET`` is set (pages that are
made by running notebooks).
"""

from __future__ import annotations

import sys
import time
from typing import Any

from numba.core import event

from .terminal import is_watched

__all__ = ["MESSAGE"]

MESSAGE = "compiling kernels, once per machine: some seconds (`infflow warmup` compiles all ahead)"
#: Seconds of compilation after which the line is printed: a single small kernel needs none.
PATIENCE = 0.5


class _Listener(event.Listener):
    """Follows what numba compiles of this package; numba holds a lock meanwhile."""

    def __init__(self) -> None:
        self.said = False
        self.depth = 0
        self.began = 0.0
        self.spent = 0.0

    def on_start(self, event: Any) -> None:
        """Say it, once the functions before have taken long enough to ask for patience."""
        module = event.data["dispatcher"].py_func.__module__ or ""
        now = time.perf_counter()
        if self.depth == 0:
            self.began = now
        self.depth += 1
        waited = self.spent + now - self.began
        if not self.said and waited > PATIENCE and module.partition(".")[0] == "infflow":
            self.said = True
            if is_watched():
                say()

    def on_end(self, event: Any) -> None:
        """Add the time of the outermost function."""
        self.depth -= 1
        if self.depth == 0:
            self.spent += time.perf_counter() - self.began


def say() -> None:
    """Print the line above a progress bar, if there is one."""
    from tqdm import tqdm  # loaded only where somebody waits

    tqdm.write(MESSAGE, file=sys.stderr)


event.register("numba:compile", _Listener())
