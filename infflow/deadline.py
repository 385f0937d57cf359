"""The clock inside of one long evaluation.

A solver knows how long it may run, and an objective where it can stop. Solvers say whom to ask
(:class:`asking`), loops over blocks of samples ask (:func:`ask`). Outside of a solver nobody is
asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class _Asked(threading.local):
    """Whom the present thread asks."""

    require_time: Callable[[], object] | None = None


_asked = _Asked()


class asking:
    """Let the evaluations in a ``with`` block ask whether there is time left.

    Parameters
    ----------
    require_time : callable
        It raises where there is none; the evaluation ends with what it raises.
    """

    __slots__ = ("_before", "_require_time")

    def __init__(self, require_time: Callable[[], object]) -> None:
        self._require_time = require_time

    def __enter__(self) -> None:
        self._before = _asked.require_time
        _asked.require_time = self._require_time

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _asked.require_time = self._before


def ask() -> None:
    """Raise what the solver raises where there is no time left."""
    if _asked.require_time is not None:
        _asked.require_time()
