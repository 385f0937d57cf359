"""Jitted parts of the implicit steps on small problems, where calls from Python would take longer
than the arithmetic.

Their readable twins are the general steps of ``rosenbrock.py`` and ``esdirk.py``, which larger
problems use.
"""

from __future__ import annotations

from .._validation import Array
from ..compiler import njit
from .norm_kernels import weighted_rms


@njit(cache=True)
def solve_cholesky(upper: Array, b: Array) -> None:
    """Overwrite ``b`` (n,) with the solution of U'U x = b; ``upper`` (n, n) holds U, its lower
    triangle is not read.
    """
    n = len(b)
    for k in range(n):
        x = b[k] / upper[k, k]
        b[k] = x
        for j in range(k + 1, n):
            b[j] -= x * upper[k, j]
    for k in range(n - 1, -1, -1):
        x = b[k]
        for j in range(k + 1, n):
            x -= upper[k, j] * b[j]
        b[k] = x / upper[k, k]


@njit(cache=True)
def rosenbrock_stage(
    rows: Array, i: int, z: Array, gradient: Array, per_step: float, upper: Array, stages: Array
) -> Array:
    """Stage i of a Rosenbrock step: u_i into ``stages`` (s, n); returns the point (n,) of the next
    stage, or the new point.

    Parameters
    ----------
    rows : (s + 1, 2, s) array
        ``RosenbrockTableau.rows``, with zeros at the end.
    z, gradient : (n,) arrays
        Start of the step, and gradient at the point of this stage.
    per_step : float
        1/h.
    upper : (n, n) array
        Cholesky factor of I/(gamma h) + H, see :func:`solve_cholesky`.
    """
    u = stages[i]
    for k in range(len(z)):
        total = 0.0
        for j in range(i):
            total += rows[i, 1, j] * stages[j, k]
        u[k] = per_step * total - gradient[k]
    solve_cholesky(upper, u)
    point = z.copy()
    for j in range(i + 1):
        weight = rows[i + 1, 0, j]
        for k in range(len(z)):
            point[k] += weight * stages[j, k]
    return point


@njit(cache=True)
def newton_iteration(
    upper: Array,
    base: Array,
    point: Array,
    gradient: Array,
    shift: float,
    damping: float,
    atol: Array,
    rtol: float,
    largest: float,
) -> float:
    """One simplified Newton iteration of point = base - gradient(point)/shift; returns the error
    norm of the change.

    ``point`` (n,) is changed where that norm is below ``largest``.
    """
    change = shift * (base - point) - gradient
    solve_cholesky(upper, change)
    change *= damping
    size = weighted_rms(change, point, point, atol, rtol)
    if size < largest:
        point += change
    return size


@njit(cache=True)
def stage_start(
    z: Array, a: Array, i: int, h: float, slopes: Array, points: Array, near: int, ahead: float
) -> tuple[Array, Array]:
    """The explicit part z + h a_i . slopes of stage i, and its first guess ahead of the point
    ``near`` along its slope.

    Shapes: z (n,), a (s, s), slopes and points (s, n); both results (n,).
    """
    base = z.copy()
    for j in range(i):
        for k in range(len(z)):
            base[k] += h * a[i, j] * slopes[j, k]
    return base, points[near] + ahead * slopes[near]
