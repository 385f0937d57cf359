"""Progress of a training, stage by stage: a bar where a person watches, else a line now and
then.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from ...terminal import Bar

# Seconds between two lines.
_INTERVAL = 10.0


class Stage:
    """One stage; a context manager.

    Parameters
    ----------
    what : str
        Shown in front, such as "tanh, exact integrals".
    total : int
    unit : str
        Plural, such as "points".
    done : int
        Where it starts, after an interruption.
    shown : bool
    """

    def __init__(self, what: str, total: int, unit: str, done: int = 0, shown: bool = True) -> None:
        self._what = what
        self._total = total
        self._unit = unit
        self._done = done
        self._bar = Bar(shown, total=total, initial=done, desc=what, unit=f" {unit}")
        self._lines = shown and not self._bar.is_shown
        self._next = 0.0
        self._said = -1

    def __enter__(self) -> Stage:
        if self._lines:
            self._say("")
        self._bar.__enter__()
        return self

    def advance(self, count: int, text: str = "") -> None:
        """So many more are done."""
        self._done += count
        if self._lines and time.perf_counter() >= self._next:
            self._say(text)
        self._bar.update(count, text)

    def __exit__(self, *details: Any) -> None:
        self._bar.__exit__(*details)
        if self._lines and self._said != self._done:
            self._say("")

    def _say(self, text: str) -> None:
        self._next = time.perf_counter() + _INTERVAL
        self._said = self._done
        tail = f", {text}" if text else ""
        line = f"{self._what}: {self._done} of {self._total} {self._unit}{tail}"
        print(line, file=sys.stderr, flush=True)
