"""Whether somebody looks on while a command or a cell runs."""

from __future__ import annotations

import sys


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
    return type(shell).__name__ == "ZMQInteractiveShell"
