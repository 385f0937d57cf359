"""How many threads BLAS and numba use.

Small problems lose time to threads, on a busy machine by large factors, since all threads
wait for the one that is not running. Time on two threads over that on one, on two cores with
other work: ``eigh`` of size 200 57, 500 3.5, 1000 4.8, 2000 4.6; ``svd`` of size 500 3.2,
1000 9.7; ``cholesky`` of size 500 2.1, 1000 2.0, 2000 1.7; products of matrices of size 1000
1.0, 2000 0.8. So infflow runs on one thread below :data:`SMALL` parameters; on an idle
machine :func:`set_num_threads` may gain something there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from ._validation import as_integer, public

SMALL = 2500
MOST_THREADS = 4096  # libraries take a C int, and reduce what they cannot give
_requested: int | None = None
_alone: list[_Limit] = []  # one entry per context of one_thread() that is open, in any thread
_lock = threading.Lock()


@cache
def _controller(with_sundials: bool) -> Any:
    import scipy.linalg  # noqa: F401  SciPy brings its own BLAS, which must be loaded to be seen
    from threadpoolctl import (
        ThreadpoolController,
    )  # scans the loaded libraries: once, and once more with SUNDIALS

    return ThreadpoolController().select(user_api="blas")


@public
def set_num_threads(n: int | None) -> None:
    """Use ``n`` threads in BLAS for all problems; ``None`` restores the default.

    The default is one thread below 2500 parameters and the libraries' own choice above; 4096 are
    the most that can be asked for.

    See Also
    --------
    train_many : one thread for each process.

    Examples
    --------
    >>> import infflow as inf
    >>> inf.set_num_threads(1)
    """
    global _requested
    _requested = None if n is None else as_integer("n", n, minimum=1, maximum=MOST_THREADS)


class _Limit(AbstractContextManager[None]):
    """Sets the number of threads of every BLAS and restores what was set before.

    As ``threadpoolctl.threadpool_limits``, without the survey of all libraries that it makes each
    time (60 us).
    """

    def __init__(self, n: int) -> None:
        self._n = n

    def __enter__(self) -> None:
        self._before = [
            (library, library.num_threads)
            for library in _controller("sksundae" in sys.modules).lib_controllers
        ]
        for library, before in self._before:
            if before != self._n:
                library.set_num_threads(self._n)

    def __exit__(self, *_: object) -> None:
        for library, before in self._before:
            if before != self._n:
                library.set_num_threads(before)


def limit_for(num_params: int) -> AbstractContextManager[Any]:
    """A context in which BLAS uses the number of threads that suits a problem of this size."""
    if _alone:
        return nullcontext()
    n = _requested if _requested is not None else (1 if num_params < SMALL else None)
    return nullcontext() if n is None else _Limit(n)


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS and numba on one thread for problems of any size, for runs beside others and for results
    that do not depend on where they ran.

    BLAS gets its threads back when the last of several contexts, in whatever Python thread, is
    left.
    """
    import numba

    before = numba.get_num_threads()  # numba counts per Python thread
    with _lock:
        if not _alone:
            limit = _Limit(1)
            limit.__enter__()
            _alone.append(limit)
        else:
            _alone.append(_alone[0])
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
        with _lock:
            last = _alone.pop()
            if not _alone:
                last.__exit__()
