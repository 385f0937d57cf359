"""How far rounding carries the closed forms away.

The bound is a model, not a theorem. For polynomials plus atoms it follows the formulas of the
kernels term by term (``error_kernels.py``). For elu, selu, waves and pairs of mixtures it is a
multiple of eps times the sizes of the terms that are added, times the amplification of the rounding
of C12 and of the means where two sharp functions nearly coincide. ``tests/test_moments.py`` and
``tests/test_tails.py`` compare it with errors measured at 30 digits. It does not cover underflow,
of values below 1e-290.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...activations import Activation, Atom, Wave, logistic_mixture
from ..evaluator import Points
from . import elu as one_sided
from . import error_kernels, powers
from . import pairs as closed
from . import waves as elementary

__all__ = [
    "UNITS",
    "mean_bound",
    "mixture_error",
    "pair_bound",
    "pair_values",
    "phase_error",
    "size_and_scale",
    "values_and_changes",
]

_errors: Any = error_kernels  # mypy does not spread tuples into jitted functions

#: The bound in units of eps times the size of the terms, where the kernels are not followed. The
#: largest error found is a third of it.
UNITS = 64.0
#: The bound in units of the errors of ``error_kernels.py``.
FOLLOWED = 8.0
_EPS = float(np.finfo(np.float64).eps)


class _Term(NamedTuple):
    """One atom, as the closed forms see an activation."""

    polynomial: tuple[float, ...]
    atoms: tuple[Atom, ...]
    has_closed_form: bool = True
    waves: tuple[Wave, ...] = ()
    name: str = "atom"
    sides: None = None


def pair_values(
    f: Any,
    g: Any,
    pairs: Array,
    orders: tuple[int, int],
) -> Array:
    """``E[f^(p)(h1) g^(q)(h2)]`` of n pairs with the rows C11, C12, C22, b1, b2, det of
    ``pairs`` (6, n).
    """
    if one_sided.is_defined(f, g):
        return one_sided.pair_moments(f, g, pairs)[:, orders[0], orders[1]]
    return _atom_values(f, g, pairs, orders)


def values_and_changes(
    f: Any,
    g: Any,
    pairs: Array,
    orders: tuple[int, int],
) -> tuple[Array, Array]:
    """:func:`pair_values`, and by how much the rounding of the means changes those of elu and selu,
    in units of eps.
    """
    b1, b2 = pairs[3:5]
    if not one_sided.is_defined(f, g):
        return _atom_values(f, g, pairs, orders), np.zeros_like(b1)
    p, q = orders
    moments = one_sided.pair_moments(f, g, pairs)
    changes = np.zeros_like(b1)
    if p + q < 4:  # the amplification covers fourth order
        slopes = np.abs(b1 * moments[:, p + 1, q]) + np.abs(b2 * moments[:, p, q + 1])
        changes[:] = np.where(np.isfinite(slopes), slopes, 0.0)
    return moments[:, p, q], changes


def _atom_values(
    f: Any,
    g: Any,
    pairs: Array,
    orders: tuple[int, int],
) -> Array:
    table = closed.AtomTable([f, g])
    zeros = np.zeros(pairs.shape[1], dtype=np.int64)
    return closed.pair_moments(table, zeros, zeros + 1, pairs, *orders)


def pair_bound(
    f: Activation,
    g: Activation,
    points: Points,
    orders: tuple[int, int],
    sizes: tuple[Array, Array],
    value: Array,
    changes: Array,
) -> Array:
    """Bound of the absolute errors of :func:`values_and_changes`.

    Parameters
    ----------
    f, g : Activation
    points : Points
    orders : (int, int)
    sizes : tuple of (n,) arrays
        Of f and g, by :func:`size_and_scale`.
    value, changes : (n,) arrays
        By :func:`values_and_changes`.
    """
    gaussian = points[:6]
    b1 = points.b1
    b2 = points.b2
    r1 = points.r1
    r2 = points.r2
    missed = mixture_error(f, r1, b1, orders[0]) + mixture_error(g, r2, b2, orders[1])
    if _is_followed(f) and _is_followed(g) and not (_is_mixture(f) and _is_mixture(g)):
        table = closed.AtomTable([f, g])
        zeros = np.zeros(value.size, dtype=np.int64)
        error = np.empty(value.size)
        _errors.pair_error_loop(table.rows, zeros, zeros + 1, *gaussian, *orders, error)
        if powers.has_powers(f) or powers.has_powers(g):
            error += powers.pair_errors(f, g, gaussian, orders)
        return FOLLOWED * _EPS * error + missed * sizes[0] * sizes[1]
    growth, error = _amplification(f, g, gaussian, orders)
    error = error + phase_error(f, r1, b1) + phase_error(g, r2, b2) + missed / (UNITS * _EPS)
    bound: Array = UNITS * _EPS * error * np.maximum(sizes[0] * sizes[1] * growth, np.abs(value))
    if f.waves or g.waves:
        factor: Array = elementary.damping(f, g, gaussian, *orders)
        bound = bound * factor
    return bound + FOLLOWED * _EPS * changes


def mean_bound(f: Activation, r: Array, b: Array, order: int, size: Array, value: Array) -> Array:
    """Bound of the absolute errors of ``closed.single_moments``; ``size`` by
    :func:`size_and_scale`.
    """
    if _is_followed(f):
        table = closed.AtomTable([f])
        zeros = np.zeros(value.size, dtype=np.int64)
        error = np.empty(value.size)
        _errors.single_error_loop(table.rows, zeros, r**2, b, order, error)
        if powers.has_powers(f):
            error += powers.mean_errors(f, r**2, b, order)
        return FOLLOWED * _EPS * error + mixture_error(f, r, b, order) * size
    error = 1.0 + phase_error(f, r, b) + mixture_error(f, r, b, order) / (UNITS * _EPS)
    bound: Array = UNITS * _EPS * error * np.maximum(size, np.abs(value))
    return bound


def _is_followed(f: Activation) -> bool:
    """Whether errors are followed through the kernels: polynomials plus atoms."""
    return f.has_closed_form and not f.waves and one_sided.sides(f) is None


def _is_mixture(f: Activation) -> bool:
    return len({atom.width for atom in f.atoms}) >= closed.MANY_WIDTHS


def size_and_scale(f: Activation, r: Array, b: Array, order: int) -> tuple[Array, Array]:
    """:func:`_size_and_scale`, once for each neuron: a kernel matrix of N inputs has N of them, and
    N^2 pairs.
    """
    neurons, where = np.unique(r + 1j * b, return_inverse=True)
    size, scale = _size_and_scale(f, neurons.real.copy(), neurons.imag.copy(), order)
    return size[where], scale[where]


def _size_and_scale(f: Activation, r: Array, b: Array, order: int) -> tuple[Array, Array]:
    """Root mean squares of ``f^(order)(r x + b)``: of its terms one by one, summed, and of the
    whole.

    The first determines rounding and is larger where terms cancel (gelu near 0). It stands in for
    the second where that is infinite, and for third and fourth derivatives.
    """
    if one_sided.sides(f) is not None:
        return _one_sided_size_and_scale(f, r, b, order)
    polynomial = np.array(f.polynomial or (0.0,))
    centred = order == 0 and closed.is_centred(f)  # evaluated as weight (step - 1/2)
    if centred:
        polynomial[0] = 0.0
    size = _polynomial_size(polynomial, r, b, order)
    for atom in f.atoms:
        size += abs(atom.weight) * _atom_size(
            atom.order + order, atom.width, centred and atom.order == 1, r, b
        )
    for wave in f.waves:  # the relative error of exp(x) is the absolute error of x
        k = abs(wave.rate)
        root_mean_square = np.exp(wave.rate.real * b + wave.rate.real**2 * r**2)
        growth = (1.0 + k * np.abs(b) + (k * r) ** 2) if wave.rate.imag == 0.0 else 1.0
        size += abs(wave.weight) * k**order * root_mean_square * growth
    if order > 2:
        return size, size
    square = _mean_square(f, r, b, order)
    return size, np.where(np.isfinite(square), np.sqrt(square), size)


def phase_error(f: Activation, r: Array, b: Array) -> Array:
    """Relative error of sines and cosines in units of the bound: that of their phase and of the
    exponent that damps them.

    Those of two factors add up, since the exponent of a product is one sum. It is rounded a few
    times only.
    """
    errors = [abs(w.rate.imag) * (np.abs(b) + r) for w in f.waves if w.rate.imag != 0.0]
    total: Array = 4.0 / UNITS * np.max(errors, axis=0) if errors else np.zeros_like(b)
    return total


def _one_sided_size_and_scale(f: Activation, r: Array, b: Array, order: int) -> tuple[Array, Array]:
    """The same for elu and selu: the part without delta functions, and these as derivatives of
    steps.
    """
    regular = np.sqrt(one_sided.squares(f, r**2, b).regular[:, min(order, 2)])
    jumps = [(m, jump) for m, jump in enumerate(one_sided.jumps(f)[:order]) if jump != 0.0]
    size = regular + sum(
        abs(jump) * _atom_size(1 + order - m, 0.0, False, r, b) for m, jump in jumps
    )
    return size, size if jumps else regular


def mixture_error(f: Any, r: Array, b: Array, order: int) -> Array:
    """Error of a logistic mixture over the root mean square of its function; 0 for others.

    A sum has the rate of its slowest part, 2 for tanh; derivatives of the fastest are larger by
    the power of the ratio. silu is x times a mixture.
    """
    if not _is_mixture(f):
        return np.zeros_like(b)
    widths = [atom.width for atom in f.atoms]
    first, *_, last = logistic_mixture.nodes()[0]
    rate = last / max(widths)
    growth = _growth_of_fastest(first / min(widths), rate, r, b, order)
    if any(atom.order == 2 for atom in f.atoms):
        far = np.maximum(np.abs(b) - 2.0 * r * r - r, 0.0)  # where it is largest
        growth = growth * (1.0 + np.abs(b) + r) / (1.0 + far)
    return logistic_mixture.relative_error(order, rate * b, rate * r, growth)


def _growth_of_fastest(fastest: float, rate: float, r: Array, b: Array, order: int) -> Array:
    """What aliasing of the fastest part adds to that of the slowest, as a factor.

    It has fallen to nothing where the argument of the fastest part is 40.
    """
    if fastest <= 1.01 * rate:
        return np.ones_like(b)
    beyond = np.maximum(np.abs(b) - 40.0 / fastest, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(beyond > 0.0, beyond / r, 0.0)
    growth: Array = 1.0 + (fastest / rate) ** order * np.exp(-0.25 * distance * distance)
    return growth


def _mean_square(f: Any, r: Array, b: Array, order: int) -> Array:
    """``E f^(order)(r x + b)^2`` for orders up to 2; rounding must not make it negative."""
    C = r**2
    pairs = np.array([C, C, C, b, b, np.zeros_like(r)])
    return np.maximum(pair_values(f, f, pairs, (order, order)), 0.0)


def _polynomial_size(coefficients: Array, r: Array, b: Array, order: int) -> Array:
    """Root mean square of the polynomial with all signs made positive."""
    derivative = np.polynomial.polynomial.polyder(np.abs(coefficients), order)
    nodes, weights = np.polynomial.hermite_e.hermegauss(2 * derivative.size)
    values = np.polynomial.polynomial.polyval(
        np.abs(b)[:, None] + r[:, None] * np.abs(nodes), derivative
    )
    return np.sqrt(values**2 @ (weights / weights.sum()))


def _atom_size(order: int, width: float, centred: bool, r: Array, b: Array) -> Array:
    """Root mean square of ``rho_width^(order)``; for derivatives of a jump, that of the step over
    powers of r.
    """
    if order <= 1:
        return np.sqrt(
            _mean_square(_Term((-0.5,) if centred else (), (Atom(1.0, order, width),)), r, b, 0)
        )
    if width == 0.0:
        return _atom_size(1, 0.0, False, r, b) / np.where(r > 0.0, r, np.inf) ** (order - 1)
    # derivative n of a normal density: He_n(h/w)^2 exp(-h^2/w^2); the exponential tilts the
    # distribution of h
    n = order - 2
    tilt = width**2 / (width**2 + 2 * r**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(n + 1)
    h = (b * tilt)[:, None] + (r * np.sqrt(tilt))[:, None] * nodes
    square = np.polynomial.hermite_e.hermeval(h / width, [0.0] * n + [1.0]) ** 2 @ (
        weights / weights.sum()
    )
    damping = np.sqrt(tilt) * np.exp(-(b**2) * tilt / width**2)
    return np.sqrt(square * damping / (2 * np.pi)) / width ** (order - 1)


def _sharp(f: Activation) -> list[Atom]:
    """Atoms that become delta functions when they are differentiated."""
    if one_sided.sides(f) is None:
        return list(f.atoms)
    return [Atom(jump, 1 - m) for m, jump in enumerate(one_sided.jumps(f)) if jump != 0.0]


def _amplification(
    f: Activation, g: Activation, gaussian: tuple[Array, ...], orders: tuple[int, int]
) -> tuple[Array, Array]:
    """Growth of a moment, and of its rounding errors, where atoms of f and g are sharp and
    coincide.

    Returns
    -------
    growth, error : (n,) arrays
        With s the sine of the angle between the smoothed arguments and m the number of derivatives
        beyond the bivariate density: ``s^-(m+1) exp(-Q/4)``, with Q the Mahalanobis distance of the
        kinks, and the relative error in units of eps, ``1 + (|b1|/sd1 + |b2|/sd2) / s``. Both are 1
        where no density enters.
    """
    C11, C12, C22, b1, b2, det = gaussian
    p, q = orders
    if f.waves or g.waves:
        return elementary.amplification(f, g, (C11, C12, C22, b1, b2, det), p, q)
    growth = np.ones_like(C11)
    error = np.ones_like(C11)
    for a in _sharp(f):
        for other in _sharp(g):
            m1, m2 = a.order + p, other.order + q
            if m1 + m2 < 3:
                continue
            v1 = C11 + a.width**2
            v2 = C22 + other.width**2
            d = det + C11 * other.width**2 + C22 * a.width**2 + (a.width * other.width) ** 2
            with np.errstate(divide="ignore", invalid="ignore"):
                s = np.sqrt(d / (v1 * v2))
                z1 = np.abs(b1) / np.sqrt(v1)
                z2 = np.abs(b2) / np.sqrt(v2)
                distance = z1**2 + (b2 - C12 / v1 * b1) ** 2 * v1 / d
                new_growth = np.exp(-distance / 4) / s ** (m1 + m2 - 3)
                new_error = 1 + (z1 + z2) / s
            # s = 0: the moment is a limit, infinite or free of the density
            growth = np.fmax(growth, np.where(s > 0, new_growth, 1.0))
            error = np.fmax(error, np.where(s > 0, new_error, 1.0))
    return growth, error
