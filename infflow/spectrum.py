"""Spectra of Hessians that are too large to write down: operator, extreme eigenpairs, density of
eigenvalues.

Everything here sees the Hessian only through its products with vectors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import summary
from ._validation import Array, as_integer, as_number, as_real_array, as_rng, counted, public
from .errors import DivergedError, InvalidTypeError, InvalidValueError, SolverFailedError
from .networks.functions import hessian, hvp
from .objective import HessianProducts, Objective, as_objective, linearizer
from .threads import limit_for

#: up to this many parameters the dense Hessian and all its eigenvalues cost less than Lanczos
_DENSE = 64
#: bytes that the Lanczos vectors of one group of probes may take
_MEMORY = 2**28


@summary.as_text_and_table
class ExtremeEigenpairs(NamedTuple):
    """The smallest and the largest eigenvalues of a Hessian with their vectors;
    see :func:`extreme_eigenpairs`.
    """

    bottom: Array  #: (k,) smallest eigenvalues, ascending
    bottom_vectors: Array  #: (P, k), one per column
    top: Array  #: (k,) largest eigenvalues, ascending
    top_vectors: Array  #: (P, k)
    #: (2, k) lengths |H v - lambda v|, bottom and top; within them of each value lies an
    #: eigenvalue
    residuals: Array

    def _summary(self) -> summary.Summary:
        P, k = self.bottom_vectors.shape
        rows = [
            ("bottom", self.bottom),
            ("top", self.top),
            ("residuals", self.residuals),
            ("vectors", f"{self.bottom_vectors.shape} at each end"),
        ]
        title = f"ExtremeEigenpairs: {counted(k, 'eigenvalue')} of {P} at each end"
        return summary.Summary(title, rows)


@summary.as_text_and_table
class SpectralDensity(NamedTuple):
    """Smoothed density of the eigenvalues of a Hessian; see :func:`spectral_density`."""

    x: Array  #: (n,) points
    density: Array  #: (n,) estimate, of integral 1
    standard_error: Array  #: (n,) its standard error over the probes
    width: float  #: standard deviation of the Gaussian that smooths
    nodes: Array  #: (probes, steps) nodes of the quadrature of each probe
    weights: Array  #: (probes, steps) their weights; each row sums to 1

    def _summary(self) -> summary.Summary:
        probes, steps = self.nodes.shape
        rows = [("x", self.x), ("density", self.density), ("standard error", self.standard_error)]
        title = (
            f"SpectralDensity: {counted(len(self.x), 'point')}, width {self.width:.3g}, "
            f"{counted(probes, 'probe')} of {counted(steps, 'step')}"
        )
        return summary.Summary(title, rows)


@public
def hessian_operator(net: Objective, theta: ArrayLike) -> Any:
    """The Hessian at ``theta`` as a SciPy operator that multiplies without being formed.

    Parameters
    ----------
    net : Net, NetI or any objective with ``hvp``
    theta : (P,) array

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Shape (P, P), symmetric; for ``scipy.sparse.linalg.eigsh``, ``cg``, ``minres`` and their
        like.

    Raises
    ------
    InfflowError
        Where :func:`infflow.hvp` raises; the first product is made at once, so that bad arguments
        are noticed here.

    See Also
    --------
    hvp : one product.
    extreme_eigenpairs : both ends of the spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> import infflow as inf
    >>> layers = [(2, "tanh", True), (1, "identity", False)]
    >>> net = inf.Net(layers, input=np.eye(3), target=[0.0, 1.0, 2.0])
    >>> theta = inf.random_params(net, rng=0)
    >>> H = inf.hessian_operator(net, theta)
    >>> H.shape
    (10, 10)
    >>> bool(np.allclose(H @ np.eye(10), inf.hessian(net, theta), atol=1e-14))
    True
    """
    from scipy.sparse.linalg import LinearOperator

    if not isinstance(as_objective(net), HessianProducts):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}, which has no hvp; a Net with data or a NetI is needed."
        )
    point = np.array(as_real_array("theta", theta))
    P = int(net.num_params)
    hvp(net, point, np.zeros(P))
    times = linearizer(net)(point)  # passes over the data once, not for every product

    def product(v: Array) -> Array:
        with limit_for(P):
            found: Array = times(np.ascontiguousarray(v, dtype=np.float64))
        if not np.isfinite(found).all():
            raise DivergedError(
                "the Hessian-vector product is not finite. Use smaller parameters or data of "
                "smaller scale."
            )
        return found

    def vector_product(v: Array) -> Array:
        return product(v.reshape(P))

    return LinearOperator(
        (P, P),
        matvec=vector_product,
        rmatvec=vector_product,
        matmat=product,
        rmatmat=product,
        dtype=np.float64,
    )


@public
def extreme_eigenpairs(
    net: Objective,
    theta: ArrayLike,
    k: int = 1,
    *,
    rtol: float = 1e-10,
    max_iterations: int | None = None,
    rng: int | np.random.Generator = 0,
) -> ExtremeEigenpairs:
    """The ``k`` smallest and the ``k`` largest eigenvalues of the Hessian with eigenvectors, by
    Lanczos (ARPACK).

    The bottom of the spectrum is found as the top of ``s - H``, where ``s`` is the largest
    eigenvalue: eigenvalues near zero in the middle of the spectrum do not disturb, and no system is
    solved. Of eigenvalues that coincide exactly a Lanczos iteration may see fewer copies than there
    are; rounding brings them out, in general.

    Parameters
    ----------
    net : Net, NetI or any objective with ``hvp``
    theta : (P,) array
    k : int
        At each end, at most P. For P up to 64, or k at least P/4, the dense Hessian is diagonalised
        instead.
    rtol : float
        Accuracy of the eigenvalues relative to the largest in absolute value.
    max_iterations : int, optional
        Restarts that ARPACK may take; 10 P if not given.
    rng : int or numpy.random.Generator
        For the first Lanczos vector.

    Returns
    -------
    ExtremeEigenpairs

    Raises
    ------
    SolverFailedError
        If the iteration does not converge.
    InfflowError
        Where :func:`infflow.hvp` raises.

    See Also
    --------
    hessian_spectrum : all eigenvalues, dense.
    hessian_eigenvalues : all, with multiplicities.
    spectral_density : their density.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> ends = inf.extreme_eigenpairs(neti, [1.0, 0.0, 1.0])
    >>> bool(0 < ends.bottom[0] < ends.top[0])
    True
    """
    operator = hessian_operator(net, theta)
    P = operator.shape[0]
    k = as_integer("k", k, minimum=1, maximum=P)
    tolerance = as_number("rtol", rtol, minimum=0.0)
    generator = as_rng(rng)
    limit = (
        None if max_iterations is None else as_integer("max_iterations", max_iterations, minimum=1)
    )
    if P <= _DENSE or 4 * k >= P:
        matrix = hessian(net, theta)
        with limit_for(P):
            values, vectors = np.linalg.eigh(matrix)
        bottom = (values[:k], vectors[:, :k])
        top = (values[P - k :], vectors[:, P - k :])
    else:
        start = generator.standard_normal(P)
        top = _lanczos_top(operator, k, tolerance, limit, start)
        shift = top[0][-1]
        # shifted: the eigenvalues wanted are the largest in size of a semidefinite matrix
        values, vectors = _lanczos_top(_shifted(operator, shift), k, tolerance, limit, start)
        bottom = shift - values[::-1], vectors[:, ::-1]
    residuals = [
        np.linalg.norm(operator @ vectors - vectors * values, axis=0)
        for values, vectors in (bottom, top)
    ]
    return ExtremeEigenpairs(*bottom, *top, np.array(residuals))


def _lanczos_top(
    operator: Any, k: int, rtol: float, limit: int | None, start: Array
) -> tuple[Array, Array]:
    """The ``k`` largest eigenvalues, ascending, and their vectors."""
    from scipy.sparse.linalg import ArpackError, eigsh

    P = operator.shape[0]
    if not (
        operator @ start
    ).any():  # a random vector in the null space: the matrix is zero, which ARPACK refuses
        return np.zeros(k), np.eye(P, k)
    try:
        values, vectors = eigsh(
            operator,
            k,
            which="LA",
            tol=rtol,
            maxiter=limit,
            v0=start,
            ncv=min(P, max(4 * k + 1, 40)),
        )
    except ArpackError as error:  # ArpackNoConvergence is one
        raise SolverFailedError(
            f"the Lanczos iteration for {k} eigenvalues did not converge ({error}). Raise "
            "max_iterations, k or rtol."
        ) from error
    order = np.argsort(values)
    return values[order], vectors[:, order]


def _shifted(operator: Any, shift: float) -> Any:
    """``shift - operator``."""
    from scipy.sparse.linalg import LinearOperator

    def vector_product(v: Array) -> Array:
        flat = v.reshape(-1)
        product: Array = shift * flat - operator.matvec(flat)
        return product

    return LinearOperator(
        operator.shape, matvec=vector_product, rmatvec=vector_product, dtype=np.float64
    )


def largest_magnitude(
    product: Any, n: int, rtol: float = 1e-2, floor: float = 0.0, steps: int = 100
) -> float:
    """Largest eigenvalue in absolute value of a symmetric matrix that is only multiplied with, by
    Lanczos.

    Parameters
    ----------
    product : callable
        ``(n,)`` to ``(n,)``.
    n : int
    rtol : float
        It ends when an eigenvalue is known to lie within ``rtol`` times itself of what is returned.
    floor : float
        It also ends when what is returned is that far below ``floor`` that nobody asks for more.
    steps : int
        At most so many products.

    Returns
    -------
    float
        The largest Ritz value, which is never above; the vectors are not kept orthogonal, which
        extreme values do not need.
    """
    rng = np.random.default_rng(0)
    v = rng.standard_normal(n)
    v /= np.linalg.norm(v)
    before = np.zeros(n)
    beta = 0.0
    alphas: list[float] = []
    betas: list[float] = []
    value = 0.0
    for step in range(1, min(n, steps) + 1):
        w = product(v) - beta * before
        alphas.append(float(v @ w))
        w -= alphas[-1] * v
        beta = float(np.linalg.norm(w))
        if step % 3 == 0 or step == min(n, steps) or beta <= 1e-14 * abs(alphas[-1]):
            values, vectors = _tridiagonal(alphas, betas)
            best = int(np.abs(values).argmax())
            value = float(abs(values[best]))
            error = beta * abs(vectors[-1, best])
            if error <= rtol * value or value + 10.0 * error < floor or beta <= 1e-14 * value:
                break
        betas.append(beta)
        before = v
        v = w / beta
    return value


def _tridiagonal(diagonal: list[float], beside: list[float]) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return values, vectors


@public
def spectral_density(
    net: Objective,
    theta: ArrayLike,
    *,
    x: Any = None,
    width: float | None = None,
    steps: int = 80,
    probes: int = 10,
    rng: int | np.random.Generator = 0,
) -> SpectralDensity:
    """Density of the eigenvalues of the Hessian, by stochastic Lanczos quadrature.

    For a random vector z of signs, z' g(H) z / P has the mean tr g(H) / P, and ``steps`` Lanczos
    steps from z give a Gauss quadrature of it, exact for polynomials g of degree below ``2 steps``.
    Here g is a Gaussian of standard deviation ``width`` around each point ``x``, and the standard
    error is that of the mean over the probes. It does not know the error of the quadrature, which
    is negligible where ``width`` is above the distance of neighbouring nodes.

    Parameters
    ----------
    net : Net, NetI or any objective with ``hvp``
    theta : (P,) array
    x : (n,) array, optional
        Where; 400 points that cover the spectrum if not given.
    width : float, optional
        Of the smoothing Gaussian; the length of the spectrum divided by ``steps`` if not given.
    steps : int
        Lanczos steps (at most P), with full reorthogonalisation.
    probes : int
        Random vectors, at least 2. The cost is ``steps * probes`` Hessian-vector products.
    rng : int or numpy.random.Generator
        For the probes.

    Returns
    -------
    SpectralDensity

    Raises
    ------
    InfflowError
        If an argument cannot be used, and where :func:`infflow.hvp` raises.

    See Also
    --------
    extreme_eigenpairs : both ends of the spectrum.
    hessian_eigenvalues : all eigenvalues.

    References
    ----------
    Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38, 1075 (2017); Lin, Saad and Yang, SIAM
    Review 58, 34 (2016).

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> density = inf.spectral_density(neti, [1.0, 0.0, 1.0], probes=4)
    >>> density.x.shape, density.density.shape
    ((400,), (400,))
    """
    operator = hessian_operator(net, theta)
    P = operator.shape[0]
    steps = min(P, as_integer("steps", steps, minimum=1))
    probes = as_integer("probes", probes, minimum=2)
    sigma = None if width is None else as_number("width", width, minimum=0.0, strict=True)
    points = None if x is None else as_real_array("x", x, ndim=1)
    generator = as_rng(rng)
    group = max(1, _MEMORY // (8 * P * (steps + 1)))
    found = []
    for first in range(0, probes, group):
        signs = generator.choice([-1.0, 1.0], size=(P, min(group, probes - first)))
        found.append(lanczos_quadrature(operator.matmat, signs, steps))
    nodes = np.vstack([each[0] for each in found])
    weights = np.vstack([each[1] for each in found])
    low = nodes[weights > 0].min()
    high = nodes[weights > 0].max()
    if sigma is None:
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            raise InvalidValueError(
                "all eigenvalues are equal, so that the density is a point mass; give a width."
            )
        sigma = (high - low) / steps
    if points is None:
        points = np.linspace(low - 4.0 * sigma, high + 4.0 * sigma, 400)
    with np.errstate(over="ignore"):
        peak = 1.0 / float(sigma)
    if not np.isfinite(peak):
        raise InvalidValueError(
            f"width is {sigma:g}, so that densities overflow; take a larger one."
        )
    each = np.array([_smoothed(points, nodes[i], weights[i], sigma) for i in range(probes)])
    error = each.std(axis=0, ddof=1) / np.sqrt(probes)
    return SpectralDensity(points, each.mean(axis=0), error, float(sigma), nodes, weights)


def _smoothed(x: Array, nodes: Array, weights: Array, width: float) -> Array:
    z = (x[:, None] - nodes) / width
    density: Array = np.exp(-0.5 * z * z) @ weights / (np.sqrt(2.0 * np.pi) * width)
    return density


def lanczos_quadrature(product: Any, starts: Array, steps: int) -> tuple[Array, Array]:
    """Gauss quadratures of the spectral measures of a symmetric matrix seen from several vectors.

    Parameters
    ----------
    product : callable
        ``(P, m)`` to ``(P, m)``, the matrix times vectors.
    starts : (P, m) array
        The vectors, one per column.
    steps : int
        Number of Lanczos steps, at most P.

    Returns
    -------
    (m, steps) array, (m, steps) array
        Nodes and weights. Where the Krylov space of a vector is exhausted earlier, further nodes
        have weight zero.
    """
    P, m = starts.shape
    basis = np.zeros((steps + 1, m, P))
    alpha = np.zeros((steps, m))
    beta = np.zeros((steps, m))
    basis[0] = (starts / np.linalg.norm(starts, axis=0)).T
    size = np.zeros(m)
    for j in range(steps):
        w = product(np.ascontiguousarray(basis[j].T)).T
        alpha[j] = np.einsum("mp,mp->m", basis[j], w)
        size = np.maximum(size, np.linalg.norm(w, axis=1))
        for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
            w = w - np.einsum(
                "jm,jmp->mp", np.einsum("jmp,mp->jm", basis[: j + 1], w), basis[: j + 1]
            )
        beta[j] = np.linalg.norm(w, axis=1)
        beta[j, beta[j] <= 1e-13 * size] = 0.0  # an invariant space: what is left of w is rounding
        np.divide(w, beta[j][:, None], out=basis[j + 1], where=beta[j][:, None] > 0)
    nodes = np.empty((m, steps))
    weights = np.empty((m, steps))
    for i in range(m):
        matrix = np.diag(alpha[:, i]) + np.diag(beta[:-1, i], 1) + np.diag(beta[:-1, i], -1)
        nodes[i], vectors = np.linalg.eigh(matrix)
        weights[i] = vectors[0] ** 2
    return nodes, weights
