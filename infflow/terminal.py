"""Whether somebody looks on while a command or a cell runs, and the bar that such a person sees."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

_Item = TypeVar("_Item")

#: seconds between two changes of a text beside a bar
_INTERVAL = 0.2


def on_terminal() -> bool:
    """Whether the standard error is a terminal, so that a progress bar can be shown.

    There may be none (a process without a console, or with it closed), or an object of an editor
    that lacks ``isatty``.
    """
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):  # None, or closed
        return False


def in_notebook() -> bool:
    """Whether a notebook shows what is printed."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def is_watched() -> bool:
    """Whether this is the process that a person looks at, no worker of it, nor a page of a site
    that is made by running its cells (``INFFLOW_QUIET``).
    """
    if os.environ.get("INFFLOW_QUIET") or multiprocessing.current_process().name != "MainProcess":
        return False
    return on_terminal() or in_notebook()


class Bar:
    """A progress bar where a person watches, a widget in a notebook; nothing elsewhere.

    Parameters
    ----------
    wanted : bool
    **options
        Those of ``tqdm.auto.tqdm``.
    """

    def __init__(self, wanted: bool = True, **options: Any) -> None:
        self.is_shown = bool(wanted) and is_watched()
        self._options = options
        self._bar: Any = None
        self._said_at = -_INTERVAL

    def __enter__(self) -> Bar:
        if self.is_shown:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a notebook without ipywidgets gets a bar of text
                from tqdm.auto import tqdm
            self._bar = tqdm(**self._options)
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int = 1, text: str = "") -> None:
        """So many more are done; ``text`` stands behind the bar."""
        if self._bar is not None:
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(count)

    def move_to(self, position: float) -> None:
        """So far it has come."""
        if self._bar is not None:
            self._bar.update(position - self._bar.n)

    def over(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, one by one."""
        with self:
            for item in items:
                yield item
                self.update()

    def stage(self, text: str) -> None:
        """A stage begins."""
        if self._bar is not None:
            self._bar.set_description_str(text)

    def is_due(self) -> bool:
        """Whether it is time for another text beside the bar."""
        now = time.monotonic()
        if self._bar is None or now - self._said_at < _INTERVAL:
            return False
        self._said_at = now
        return True

    def say(self, stage: str, text: str) -> None:
        """Show a stage before the bar and a text behind it."""
        if self._bar is not None:
            self._bar.set_description_str(stage, refresh=False)
            self._bar.set_postfix_str(text, refresh=True)
