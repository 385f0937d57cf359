"""The Hessian on directions that no symmetry leaves flat: all its eigenvalues, or a few."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from .curvature import Complement, Curvature, DenseCurvature, Product

#: how many of the smallest eigenvalues are asked for at first, and at most
_FEW = 4
_MANY = 32
#: accuracy of Lanczos's eigenvalues relative to the largest: residuals, whose squares the errors
#: are
_LANCZOS = 1e-9
#: restarts of Lanczos's method, and steps of MINRES
_RESTARTS = 300
_STEPS = 20_000
#: residual of Newton's equations relative to the gradient; what is left of it lengthens the step
#: by as much as it can
_RESIDUAL = 1e-8
#: by how much the norm may be underestimated
_SAFE = 1.1


@dataclass(frozen=True)
class Rest:
    """The Hessian on the complement of flat directions, which has the n coordinates of the free
    parameters.
    """

    eigenvalues: Array  #: all that are known, ascending
    is_null: NDArray[np.bool_]  #: which of them count as zero
    is_negative: NDArray[np.bool_]  #: which of them are below zero for sure
    null: Array  #: (n, q) orthonormal vectors of those
    project: Product  #: orthogonal projection (n,) to (n,) on directions that have a curvature
    dimension: int  #: number of those directions, or an upper bound of it
    step: Array  #: (n,) Newton step there
    length: float  #: length of the step; an upper bound where it is not exact
    decrement: float  #: sqrt(g' |H|^-1 g)
    gain: float  #: fall of the loss that the quadratic model predicts for the step
    beta: float  #: norm of the inverse Hessian; infinite where it is not known
    multiplicities: NDArray[np.intp]  #: how often each of the eigenvalues occurs
    unknown: tuple[str, ...] = ()  #: statements that were not computed
    #: (n, dimension) orthonormal eigenvectors with a curvature, and these; None where not all are
    modes: Array | None = None
    curvatures: Array | None = None


def all_of_it(
    curvature: DenseCurvature, gradient: Array, flat: Array, gap: float, weights: Array | None
) -> Rest:
    """From all eigenvalues; those within ``gap`` of zero count as zero.

    Parameters
    ----------
    gradient : (n,) array
    flat : (n, k) orthonormal columns
    gap : float
    weights : (n,) array, optional
        How many parameters each one stands for.
    """
    outside = Complement(flat)
    values, vectors = np.linalg.eigh(outside.matrix(curvature.matrix))
    slopes = vectors.T @ outside.restrict(gradient[:, None])[:, 0]
    null = np.abs(values) <= gap
    curved = values[~null]
    slopes = slopes[~null]
    step = -slopes / curved
    modes = outside.lift(vectors[:, ~null])
    return Rest(
        values,
        null,
        values < -gap,
        outside.lift(vectors[:, null]),
        without(np.hstack([flat, outside.lift(vectors[:, null])])),
        len(curved),
        modes @ step,
        float(np.linalg.norm(step)),
        math.sqrt(float(slopes @ (slopes / np.abs(curved)))),
        0.5 * float(slopes @ (slopes / curved)),
        1.0 / float(np.abs(curved).min()) if len(curved) else 0.0,
        multiplicities(outside.lift(vectors) if weights is not None else vectors, weights),
        modes=modes,
        curvatures=curved,
    )


def multiplicities(vectors: Array, weights: Array | None) -> NDArray[np.intp]:
    """How many eigenvectors each of orthonormal ones (n, m) stands for.

    Eigenspaces do not mix parameters of different weights, but a basis of one may, so that the
    shares of single vectors need not be integers. Their sums are, up to where an eigenvalue ends.
    """
    if weights is None:
        return np.ones(vectors.shape[1], dtype=np.intp)
    sums = np.cumsum(np.einsum("pm,p->m", vectors * vectors, weights))
    return np.diff(np.floor(sums + 0.5), prepend=0.0).astype(np.intp)


def without(basis: Array) -> Product:
    """The orthogonal projection on the complement of orthonormal columns (n, k)."""
    if not basis.shape[1]:
        return np.array

    def project(v: Array) -> Array:
        inside: Array = v - basis @ (basis.T @ v)
        return inside

    return project


def smallest_of_it(
    curvature: Curvature, gradient: Array, flat: Array, gap: float, weights: Array | None
) -> Rest:
    """From the smallest eigenvalues, by Lanczos's method, and Newton's step by MINRES.

    An eigenvalue counts as zero if it is not further from zero than ``gap`` and its error bound.
    All others are at least as large as the largest that was found. So where this is positive, all
    that can be zero or negative are known (of equal ones perhaps not all copies), and the inverse
    is bounded; otherwise it is not.
    """
    outside = without(flat)
    dimension = len(gradient) - flat.shape[1]
    values, vectors, errors = _bottom(curvature, outside, dimension, gap)
    null = np.abs(values) <= gap + errors
    known = bool(len(values)) and values[-1] > gap + errors[-1]
    project = without(np.hstack([flat, vectors[:, null]]))
    widths = np.abs(values[~null]) - errors[~null]
    beta = 1.0 / float(widths.min()) if known else math.inf
    step, left = _newton_step(curvature, project, project(gradient))
    negative = values < -gap - errors
    downhill = vectors[:, negative].T @ gradient
    gain = -0.5 * float(gradient @ step)
    squared = 2.0 * gain + 2.0 * float(downhill @ (downhill / -values[negative]))
    length = float(np.linalg.norm(step)) + (beta * left if known else 0.0)
    return Rest(
        values,
        null,
        negative,
        vectors[:, null],
        project,
        dimension - int(null.sum()),
        step,
        length,
        math.sqrt(max(squared, 0.0)),
        gain,
        beta,
        multiplicities(vectors, weights),
        _unknown(len(values), known, float(errors.max(initial=0.0)), curvature.norm),
    )


def _bottom(
    curvature: Curvature, project: Product, dimension: int, gap: float
) -> tuple[Array, Array, Array]:
    """Smallest eigenvalues (k,), vectors (n, k) and error bounds (k,), until one is positive or
    there are many.
    """
    n = len(curvature.diagonal)
    values = np.zeros(0)
    vectors = np.zeros((n, 0))
    errors = np.zeros(0)
    wanted = _FEW
    while wanted <= _MANY and dimension > 2 * wanted:
        values, vectors = _lanczos_bottom(curvature, project, wanted)
        left = np.column_stack(
            [project(curvature.times(v)) - x * v for x, v in zip(values, vectors.T, strict=True)]
        )
        errors = np.linalg.norm(left, axis=0)
        if len(values) < wanted or values[-1] > gap + errors[-1]:
            break
        wanted *= 2
    return values, vectors, errors


def _lanczos_bottom(curvature: Curvature, project: Product, wanted: int) -> tuple[Array, Array]:
    """As the top of ``shift - H``, in which what is projected out has the eigenvalue zero at the
    other end.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    n = len(curvature.diagonal)
    shift = _SAFE * curvature.norm

    def mirrored(v: Array) -> Array:
        inside = project(v.reshape(n))
        found: Array = shift * inside - project(curvature.times(inside))
        return found

    operator = LinearOperator((n, n), matvec=mirrored, rmatvec=mirrored, dtype=np.float64)
    start = project(np.random.default_rng(0).standard_normal(n))
    size = min(n, max(2 * wanted + 2, 40))
    try:
        values, vectors = eigsh(
            operator, wanted, which="LA", tol=_LANCZOS, maxiter=_RESTARTS, v0=start, ncv=size
        )
    except ArpackNoConvergence as error:  # with those that have converged
        values = error.eigenvalues
        vectors = error.eigenvectors
    order = np.argsort(-values)
    return shift - values[order], vectors[:, order]


def _newton_step(curvature: Curvature, project: Product, gradient: Array) -> tuple[Array, float]:
    """Newton's step (n,) on a subspace, and the length of what it leaves of the gradient."""
    from scipy.sparse.linalg import LinearOperator, minres

    n = len(gradient)

    def inside(v: Array) -> Array:
        return project(curvature.times(project(v.reshape(n))))

    size = float(np.linalg.norm(gradient))
    if size == 0.0:
        return np.zeros(n), 0.0
    operator = LinearOperator((n, n), matvec=inside, rmatvec=inside, dtype=np.float64)
    # a gradient of length one, since MINRES compares squares with rounding errors of one
    step = size * project(minres(operator, -gradient / size, rtol=_RESIDUAL, maxiter=_STEPS)[0])
    return step, float(np.linalg.norm(gradient + inside(step)))


def _unknown(found: int, known: bool, error: float, norm: float) -> tuple[str, ...]:
    """What is not known beside some eigenvalues."""
    lines = [
        f"only the {found} smallest eigenvalues were computed, by Lanczos's method within "
        f"{error:.2g} (the largest is "
        f"about {norm:.3g}); of equal ones perhaps not all copies: index and numbers of flat "
        "directions are lower bounds"
    ]
    if not known:
        lines.append(
            "no positive eigenvalue is among them: how near to zero the others come is not known"
        )
    return tuple(lines)
