"""Who works on a run, and whether that process still lives."""

from __future__ import annotations

import os
import platform
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

HEARTBEAT = 10.0  #: seconds between two signs of life
LEASE = 60.0  #: seconds without one after which a process on another host counts as dead

_active: set[str] = set()  # tokens of the sweeps of this process that have not ended


@dataclass(frozen=True)
class Owner:
    """One sweep in one process."""

    token: str
    host: str
    pid: int
    started: str  #: when the process started; pids are used again

    @classmethod
    def this(cls) -> Owner:
        """A new owner, which lives until :meth:`end` or the end of the process."""
        owner = cls(uuid.uuid4().hex, platform.node(), os.getpid(), _start_of(os.getpid()) or "")
        _active.add(owner.token)
        return owner

    def end(self) -> None:
        """Owns nothing from now on."""
        _active.discard(self.token)

    def is_alive(self, heartbeat: float) -> bool:
        """Whether the process exists; of another host's, whether its last sign of life is fresh."""
        if self.host != platform.node():
            return time.time() - heartbeat < LEASE
        if self.pid == os.getpid() and self.started == (_start_of(self.pid) or ""):
            return self.token in _active
        started = _start_of(self.pid)
        return started is not None and started == self.started


def _start_of(pid: int) -> str | None:
    """When a process of this host started, in the words of the system; None if there is no such
    process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        return _start_by_ps(pid)
    state, *fields = stat.rpartition(")")[
        2
    ].split()  # the name of the program before it may hold anything
    return None if state in "ZX" else fields[18]


def _start_by_ps(pid: int) -> str | None:
    try:
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
    except OSError:  # neither /proc nor ps: the process counts as alive while its pid is in use
        return None
    return found.stdout.strip() or None
