"""Ctrl-C as it comes out of libraries, and SIGTERM as Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def plain_interrupts() -> Iterator[None]:
    """Let every error that Ctrl-C caused leave the block as a KeyboardInterrupt.

    numba makes a SystemError of one that arrives while a kernel returns, zipfile a ValueError of
    one between two writes.
    """
    try:
        yield
    except Exception as error:
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        raise


@contextmanager
def interrupted_by_sigterm() -> Iterator[list[int]]:
    """Let the first SIGTERM in the block raise KeyboardInterrupt.

    Later ones do nothing, so that what the first one starts can end. Only in the main thread, and
    where the signal has its default action: a handler of the user's decides. The handler of before
    is in place afterwards.

    Yields
    ------
    list
        Of the signals that came, empty or with one entry.
    """
    received: list[int] = []

    def raise_once(number: int, frame: FrameType | None) -> None:
        if not received:
            received.append(number)
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield received
        return
    signal.signal(signal.SIGTERM, raise_once)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def saving_before_termination() -> Iterator[None]:
    """Let SIGTERM act as Ctrl-C in the block, which saves its state, and end the
    process after it.
    """
    received: list[int] = []
    try:
        with interrupted_by_sigterm() as received:
            yield
    finally:
        if received:
            os.kill(os.getpid(), received[0])


def _is_interrupt(error: BaseException | None) -> bool:
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
