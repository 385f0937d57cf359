"""How much memory there is, and one check for all matrices of parameters by parameters."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import TooLargeError

#: Below this many parameters (32 MB a matrix) the memory of the machine is not looked at.
CHECKED_SIZE = 2000
#: bytes that one pair of neurons takes: indices, arguments, value with first and second derivatives
_PAIR = 256
#: Matrices that the eigenvalues and eigenvectors of one take: itself, the vectors, and LAPACK's
#: work.
SPECTRUM = 5
#: Ways on without a matrix; the end of every message.
MATRIX_FREE = (
    "Use what never forms it: hvp, hessian_operator, extreme_eigenpairs and spectral_density; "
    "in train "
    'solver="cvode_bdf" with solver_options={"linear_solver": "gmres"}, and optimizer="lbfgs" '
    'or "newton" with '
    'optimizer_options={"linear_solver": "cg"}.'
)

_GROUP = Path("/sys/fs/cgroup")  # the control group of this process, in a container


def available_memory() -> int | None:
    """Bytes of memory that are free or can be freed, or None where the system does not say."""
    known = [found for found in (_of_machine(), _of_container()) if found is not None]
    return min(known, default=None)


def shortage(needed: int, share: int = 1) -> int | None:
    """Bytes of memory available if ``needed`` bytes exceed one ``share``-th of them, else None."""
    available = available_memory()
    if available is None or needed <= available // share:
        return None
    return available


def _of_machine() -> int | None:
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    return physical_memory()


def physical_memory() -> int | None:
    """Bytes of memory of this machine, or None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_container() -> int | None:
    """What the limit of a control group leaves, if there is one; the cache of files
    counts as free.
    """
    try:
        left = int((_GROUP / "memory.max").read_text()) - int(
            (_GROUP / "memory.current").read_text()
        )
        cache = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return left + int(cache["inactive_file"])
    except (OSError, ValueError, KeyError):  # no such file, or "max"
        return None


def require_memory(
    num_params: int, what: str = "the Hessian", matrices: int = 2, remedy: str = MATRIX_FREE
) -> None:
    """Raise TooLargeError if matrices of shape (num_params, num_params) would not fit in memory.

    Parameters
    ----------
    num_params : int
    what : str
        The matrix that is asked for, as the message names it.
    matrices : int
        How many of this size are needed at once; a Hessian alone counts twice, for the copy that
        its user makes.
    remedy : str
        What to do instead.
    """
    if num_params <= CHECKED_SIZE:
        return
    one = 8 * num_params**2
    available = shortage(matrices * one)
    if available is not None:
        work = f" ({matrices} matrices of this size are needed at once)" if matrices > 2 else ""
        raise TooLargeError(
            f"{what} of {num_params} parameters takes {_size(one)}{work}, more than "
            f"{'half of ' if matrices == 2 else ''}the {_size(available)} available. {remedy}"
        )


def require_pairs(num_neurons: int) -> None:
    """Raise TooLargeError if the Gaussian integrals of all pairs of neurons would not fit in
    memory.
    """
    if num_neurons <= CHECKED_SIZE:
        return
    needed = _PAIR * num_neurons**2 // 2
    available = available_memory()
    if available is not None and needed > available:
        raise TooLargeError(
            f"the integrals of all pairs of {num_neurons} neurons take {_size(needed)}, more "
            "than the "
            f"{_size(available)} available. Take fewer neurons, or samples instead of infinite "
            "data."
        )


def require_numbers(count: int, what: str, remedy: str) -> None:
    """Raise TooLargeError if so many float64 numbers would not fit in memory."""
    available = shortage(8 * count)
    if available is not None:
        raise TooLargeError(
            f"{what} takes {_size(8 * count)}, more than the {_size(available)} available. {remedy}"
        )


def _size(count: float) -> str:
    """Bytes in the unit that suits."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min((int(max(count, 1.0)).bit_length() - 1) // 10, len(units) - 1)
    return f"{count / 1024**power:.1f} {units[power]}"
