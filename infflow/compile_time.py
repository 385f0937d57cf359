"""Seconds that numba has spent on compiling, or on loading what was compiled: they are no part of a
run's time.
"""

from __future__ import annotations

import threading
import time

from numba.core import event


class _Listener(event.Listener):
    """Adds up the time that the present thread spends in the compiler; calls of it may
    be nested.
    """

    def __init__(self) -> None:
        self.of_thread = threading.local()

    def on_start(self, event: object) -> None:
        """Remember when the outermost call began."""
        mine = vars(self.of_thread)
        mine["depth"] = mine.get("depth", 0) + 1
        if mine["depth"] == 1:
            mine["began"] = time.perf_counter()

    def on_end(self, event: object) -> None:
        """Add the time since then."""
        mine = vars(self.of_thread)
        mine["depth"] = mine.get("depth", 1) - 1
        if mine["depth"] == 0:
            mine["total"] = mine.get("total", 0.0) + time.perf_counter() - mine["began"]


_listener = _Listener()
# the lock is held while a kernel is compiled and while it is loaded from the cache
event.register("numba:compiler_lock", _listener)


def compile_seconds() -> float:
    """Seconds that numba has compiled in this thread."""
    found: float = getattr(_listener.of_thread, "total", 0.0)
    return found


def running_time() -> float:
    """Seconds of a clock that stands still while numba compiles in this thread."""
    # every evaluation of a flow asks for it
    passed: float = time.perf_counter() - getattr(_listener.of_thread, "total", 0.0)
    return passed
