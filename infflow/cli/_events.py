"""Messages of a long command while it works: one line per event where no terminal shows a bar."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..stopping import Progress

EVERY = 10.0  #: seconds between two lines about the same stage


def say(text: str) -> None:
    """One line to the standard error, which leaves the standard output to results."""
    typer.echo(text, err=True)


class Watcher:
    """The callback of ``train``: says where the run is, and ends it after the first Ctrl-C, so that
    its state is saved.

    A second Ctrl-C ends it at once. SIGTERM is a first Ctrl-C.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._stage = ""
        self._said = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self.interrupted = False

    def __enter__(self) -> Watcher:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # in the background of a shell Ctrl-C is ignored, and stays so
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.interrupted:
            self.interrupted = True
            say("infflow: stopping after this step; press Ctrl-C again to stop at once")

    def __call__(self, now: Progress) -> Any:
        """True to stop."""
        changed = now.stage != self._stage
        if not self._quiet and (changed or time.monotonic() - self._said > EVERY):
            self._stage, self._said = now.stage, time.monotonic()
            when = f"t {now.t:.4g}, " if now.stage == "flow" else ""
            say(
                f"{now.stage}: step {now.step}, {when}loss {now.loss:.6g}, gradient norm "
                f"{now.gradient_norm:.2g}"
            )
        return self.interrupted
