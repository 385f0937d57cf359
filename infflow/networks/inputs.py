"""The distribution of the input of an infinite-data network: Gaussian, or a mixture
of Gaussians.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, as_integer, as_real_array, as_rng, counted, public
from ..errors import InvalidTypeError, InvalidValueError, ShapeError, TooLargeError
from ..memory import shortage

# A covariance may miss symmetry or semidefiniteness by rounding of the products it was made from:
# by this, relative to its largest entry, or by this many units of the precision it is given in
# (that of float32 matters).
_COVARIANCE_TOLERANCE = 1e-12
_ROUNDINGS = 32
# With more inputs, multiples of the unit matrix are not written down.
_MATRIX = 500
# Bytes of samples that are not checked against the memory of the machine.
_LARGE = 2**25
# Weights may miss the sum 1 by the rounding of float32.
_SUM_TOLERANCE = 1e-6


class Component(NamedTuple):
    """One Gaussian of the input: x = mean + root @ z with z standard normal.

    ``mean`` has shape ``(D,)``, ``root`` ``(D, D)``; ``None`` stands for zero and for the identity.
    A :class:`Multiple` multiplies as a matrix does.
    """

    weight: float
    mean: Array | None
    root: Any


class Multiple:
    """The unit matrix ``(D, D)`` times a number: products do not form it, all else does."""

    __array_ufunc__ = None  # products with arrays come here

    def __init__(self, factor: float, dim: int) -> None:
        self.factor = factor
        self.dim = dim

    @property
    def T(self) -> Multiple:
        """Itself."""
        return self

    def __len__(self) -> int:
        return self.dim

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Multiple):
            return Multiple(self.factor * other.factor, self.dim)
        return self.factor * other

    def __rmatmul__(self, other: Any) -> Any:
        return other * self.factor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.factor * np.eye(self.dim)


class Gaussian:
    """Gaussian input with mean and covariance.

    Parameters
    ----------
    mean : (D,) array or number
        A number stands for D equal entries; zero if not given.
    cov : (D, D) array, (D,) array or number
        Symmetric positive semidefinite. A vector holds the variances of independent inputs, a
        number one for all of them.

    Raises
    ------
    ShapeError, InvalidValueError
        If the shapes do not fit or the covariance is not symmetric positive semidefinite.

    See Also
    --------
    GaussianMixture : several of them.
    NetI : takes it as input.

    Examples
    --------
    >>> import numpy as np
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> teacher = inf.Teacher(net, [1.0, 0.0, 1.0])
    >>> neti = inf.NetI(net, teacher, input=inf.Gaussian(np.zeros(2), np.diag([1.0, 0.25])))
    >>> round(inf.loss(neti, [0.5, 0.0, 1.0]), 4)
    0.0519
    """

    @public
    def __init__(self, mean: ArrayLike = 0.0, cov: ArrayLike | None = None) -> None:
        if cov is None:
            raise InvalidTypeError(
                "Gaussian needs cov: a matrix (D, D), or the variances (D,) of independent inputs."
            )
        given = cov
        cov = as_real_array("cov", cov, ndim=(0, 1, 2))
        self.mean = as_real_array("mean", mean, ndim=(0, 1)).copy()
        if self.mean.ndim == 0:
            self.mean = np.full(len(cov) if cov.ndim else 1, float(self.mean))
        if not len(self.mean):
            raise ShapeError("mean is empty; one entry per input is needed.")
        self._cov: Any
        self._root: Any
        if not cov.ndim and len(self.mean) > _MATRIX:
            if cov < 0.0:
                raise InvalidValueError(f"cov is {float(cov):.3g}; a variance is not negative.")
            self._cov = Multiple(float(cov), len(self.mean))
            self._root = Multiple(math.sqrt(float(cov)), len(self.mean))
            return
        if cov.ndim < 2:
            cov = np.diag(cov) if cov.ndim else cov * np.eye(len(self.mean))
        self._cov, self._root = _checked_covariance("cov", cov, len(self.mean), _tolerance(given))

    @property
    def cov(self) -> Array:
        """The covariance ``(D, D)``."""
        return np.asarray(self._cov)

    @property
    def input_dim(self) -> int:
        """Dimension D of the input."""
        return len(self.mean)

    def components(self) -> list[Component]:
        """The single component of weight one."""
        return [Component(1.0, self.mean, self._root)]

    def covariance(self) -> Array:
        """Second central moment ``(D, D)``."""
        return self.cov

    def sample(self, N: int, rng: Any) -> Array:
        """Draw ``(N, D)`` independent inputs."""
        N = sample_size(N, self.input_dim, noun="input")
        return self.mean + as_rng(rng).standard_normal((N, self.input_dim)) @ self._root.T

    def __repr__(self) -> str:
        return f"Gaussian(input_dim={self.input_dim})"


class GaussianMixture:
    """A mixture of K Gaussians: weights ``(K,)``, means ``(K, D)``, covariances ``(K, D, D)`` or
    variances ``(K, D)``.

    The weights are positive and add up to one (they are divided by their sum, which may differ by
    rounding).

    See Also
    --------
    Gaussian : one component.
    NetI : takes it as input.

    Examples
    --------
    >>> import numpy as np
    >>> import infflow as inf
    >>> clouds = inf.GaussianMixture(
    ...     [0.5, 0.5], means=[[1.0, 0.0], [-1.0, 0.0]], covs=[np.eye(2), np.eye(2)]
    ... )
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]), input=clouds)
    >>> round(inf.loss(neti, [0.5, 0.0, 1.0]), 4)
    0.0597
    """

    @public
    def __init__(self, weights: Any, means: Any, covs: Any) -> None:
        self.weights = as_real_array("weights", weights, ndim=1)
        self.means = as_real_array("means", means, ndim=2).copy()
        if not self.means.shape[1]:
            raise ShapeError(f"means has shape {self.means.shape}; one column per input is needed.")
        given = covs
        covs = as_real_array("covs", covs, ndim=(2, 3))
        if covs.ndim == 2:
            covs = covs[:, :, None] * np.eye(covs.shape[1])
        if (
            len(self.weights) == 0
            or (self.weights <= 0).any()
            or abs(self.weights.sum() - 1) > _SUM_TOLERANCE
        ):
            raise InvalidValueError(
                f"weights are {self.weights}; positive numbers that add up to 1 are needed. "
                "Divide them by their sum."
            )
        self.weights = self.weights / self.weights.sum()
        if len(self.means) != len(self.weights) or len(covs) != len(self.weights):
            raise ShapeError(
                f"weights, means and covs have {len(self.weights)}, {len(self.means)} and "
                f"{len(covs)} entries; one of each per component is needed."
            )
        checked = [
            _checked_covariance(f"covs[{k}]", cov, self.input_dim, _tolerance(given))
            for k, cov in enumerate(covs)
        ]
        self.covs = np.stack([cov for cov, _ in checked])
        self._roots = [root for _, root in checked]

    @property
    def input_dim(self) -> int:
        """Dimension D of the input."""
        return self.means.shape[1]

    def components(self) -> list[Component]:
        """The components with their weights."""
        return [
            Component(float(w), m, r)
            for w, m, r in zip(self.weights, self.means, self._roots, strict=True)
        ]

    def covariance(self) -> Array:
        """Second central moment ``(D, D)`` of the whole mixture."""
        centred = self.means - self.weights @ self.means
        return (
            np.einsum("k,kij->ij", self.weights, self.covs)
            + (self.weights[:, None] * centred).T @ centred
        )

    def sample(self, N: int, rng: Any) -> Array:
        """Draw ``(N, D)`` independent inputs."""
        N = sample_size(N, self.input_dim, noun="input")
        rng = as_rng(rng)
        which = rng.choice(len(self.weights), size=N, p=self.weights)
        z = rng.standard_normal((N, self.input_dim))
        for k, (mean, root) in enumerate(zip(self.means, self._roots, strict=True)):
            z[which == k] = mean + z[which == k] @ root.T
        return z

    def __repr__(self) -> str:
        return (
            f"GaussianMixture({counted(len(self.weights), 'component')}, "
            f"input_dim={self.input_dim})"
        )


class StandardNormal:
    """Standard normal input in ``input_dim`` dimensions, what ``input=None`` stands for."""

    def __init__(self, input_dim: int) -> None:
        self.input_dim = input_dim

    def components(self) -> list[Component]:
        """The single component."""
        return [Component(1.0, None, None)]

    def covariance(self) -> Array:
        """The identity ``(D, D)``."""
        return np.eye(self.input_dim)

    def sample(self, N: int, rng: Any) -> Array:
        """Draw ``(N, D)`` independent inputs."""
        return as_rng(rng).standard_normal(
            (sample_size(N, self.input_dim, noun="input"), self.input_dim)
        )

    def __repr__(self) -> str:
        return f"StandardNormal(input_dim={self.input_dim})"


InputDistribution = StandardNormal | Gaussian | GaussianMixture


def times_covariance(rows: Array, inputs: InputDistribution) -> Array:
    """Rows ``(r, D)`` times the covariance, which is not formed where it is a multiple of one."""
    if isinstance(inputs, StandardNormal):
        return rows
    found: Array = rows @ (inputs._cov if isinstance(inputs, Gaussian) else inputs.covariance())
    return found


def as_input(value: Any, input_dim: int) -> InputDistribution:
    """Check that ``value`` is an input distribution of dimension ``input_dim``; None is standard
    normal.
    """
    if value is None:
        return StandardNormal(input_dim)
    if not isinstance(value, (StandardNormal, Gaussian, GaussianMixture)):
        raise InvalidTypeError(
            f"input is {type(value).__name__}; None (standard normal), inf.Gaussian(mean, cov) "
            "or inf.GaussianMixture(weights, means, covs) is needed."
        )
    if value.input_dim != input_dim:
        raise ShapeError(
            f"input has dimension {value.input_dim} but the student has "
            f"{counted(input_dim, 'input')}; they must agree."
        )
    return value


def sample_size(N: Any, dim: int, name: str = "N", minimum: int = 0, noun: str = "number") -> int:
    """How many samples, each of ``dim`` numbers, that have to fit in memory."""
    N = as_integer(
        name, N, minimum=minimum, maximum=sys.maxsize // (8 * dim)
    )  # NumPy has no larger arrays
    needed = 8 * N * dim
    available = shortage(needed) if needed > _LARGE else None
    if available is not None:
        raise TooLargeError(
            f"{N} samples of {counted(dim, noun)} take {needed / 2**30:.1f} GiB, and "
            f"{available / 2**30:.1f} GiB are available. Take fewer."
        )
    return N


def _tolerance(given: Any) -> float:
    """By how much a covariance may miss symmetry and semidefiniteness, relative to its largest
    entry.
    """
    kind = np.asarray(given).dtype
    rounding = float(np.finfo(kind).eps) if kind.kind == "f" else 0.0
    return max(_COVARIANCE_TOLERANCE, _ROUNDINGS * rounding)


def _checked_covariance(name: str, cov: Array, dim: int, tolerance: float) -> tuple[Array, Array]:
    """The covariance ``(D, D)`` and a root of it, cov = root root'."""
    if cov.shape != (dim, dim):
        raise ShapeError(f"{name} has shape {cov.shape}; ({dim}, {dim}) is needed to fit the mean.")
    scale = max(float(np.abs(cov).max(initial=0.0)), np.finfo(float).tiny)
    asymmetry = float(np.abs(cov - cov.T).max(initial=0.0))
    if asymmetry > tolerance * scale:
        raise InvalidValueError(
            f"{name} is not symmetric (largest difference {asymmetry:.3g}); pass a covariance "
            "matrix, e.g. (C + C.T) / 2."
        )
    cov = (cov + cov.T) / 2
    values, vectors = np.linalg.eigh(cov)
    if dim and values[0] < -tolerance * scale * dim:
        raise InvalidValueError(
            f"{name} is not positive semidefinite (smallest eigenvalue {values[0]:.3g}); pass a "
            "covariance matrix."
        )
    return cov, vectors * np.sqrt(np.maximum(values, 0.0))
