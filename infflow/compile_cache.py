"""Where compiled kernels are kept: beside the package, else with the user, else in the folder for
temporary files.

numba looks at the first two by itself and raises "no locator available" at import where neither can
be written, as in a read-only container. A folder of temporary files lets the package work there;
kernels are then compiled again after it is emptied.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_VARIABLE = "NUMBA_CACHE_DIR"


def ensure() -> None:
    """Give numba a folder if it would find none; nothing is imported, and nothing is done where one
    was chosen.
    """
    numba = sys.modules.get("numba")
    if os.environ.get(_VARIABLE) or (numba is not None and numba.config.CACHE_DIR):
        return
    if is_writable(Path(__file__).parent / "__pycache__") or is_writable(_user_cache()):
        return
    os.environ[_VARIABLE] = str(
        temporary_folder()
    )  # also for the processes that are started from here
    if numba is not None:
        numba.config.CACHE_DIR = os.environ[_VARIABLE]


def _user_cache() -> Path:
    """The folder of numba's ``appdirs``."""
    if sys.platform == "darwin":
        return Path("~/Library/Caches").expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def is_writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, can be written to (as root says
    nothing: on a read-only disk).
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def temporary_folder() -> Path:
    """A folder of this user only: code is loaded from it, so one that somebody else made or can
    write to is not used.
    """
    import tempfile

    name = f"infflow-numba-{os.getuid()}" if hasattr(os, "getuid") else "infflow-numba"
    folder = Path(tempfile.gettempdir()) / name
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="infflow-numba-"))
    ours = not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & 0o022
    )
    if folder.is_symlink() or not ours:
        return Path(tempfile.mkdtemp(prefix="infflow-numba-"))
    return folder
