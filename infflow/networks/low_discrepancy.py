"""Scrambled Sobol points of Gaussian inputs.

Owen's scrambling makes every point uniformly distributed, so that means over the points are
unbiased, and independent scramblings give their error. For smooth integrands the variance falls
like N^-3 log(N)^(n-1) instead of N^-1 (Owen, Ann. Statist. 25, 1541, 1997).
"""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np

from .._validation import Array, counted
from ..errors import TooLargeError
from .inputs import GaussianMixture, InputDistribution, sample_size

#: how inputs are drawn
SAMPLING = ("random", "sobol")
#: dimensions of SciPy's direction numbers
MAX_DIMENSION = 21_201


def sobol_normals(N: int, dim: int, rng: np.random.Generator) -> Array:
    """``(N, dim)`` standard normal numbers from the first N points of a scrambled Sobol sequence.

    Raises
    ------
    TooLargeError
        If there are no direction numbers for so many dimensions.
    """
    from scipy.special import ndtri

    u = sobol_uniforms(N, dim, rng)
    z: Array = ndtri(u)
    return z


def sobol_uniforms(N: int, dim: int, rng: np.random.Generator) -> Array:
    """``(N, dim)`` numbers inside (0, 1)."""
    if dim > MAX_DIMENSION:
        raise TooLargeError(
            f"Sobol points have at most {MAX_DIMENSION} dimensions, and {counted(dim, 'number')} "
            "per sample are needed. Use method='random'."
        )
    from scipy.stats import qmc

    bits = max(30, math.ceil(math.log2(max(N, 2))))
    if bits > 62 or N * dim > sys.maxsize:
        raise TooLargeError(f"{N} Sobol points are more than there are; take fewer.")
    sequence = qmc.Sobol(dim, scramble=True, bits=bits, rng=rng)
    with warnings.catch_warnings():
        # balance needs a power of two: the docstring says so
        warnings.simplefilter("ignore", UserWarning)
        u: Array = sequence.random(N)
    # a point may lie on the left end of its cell, at 0
    return np.clip(u, 2.0 ** -(bits + 1), 1.0 - 2.0 ** -(bits + 1))


def sobol_sample(
    given: InputDistribution, N: int, outputs: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Inputs ``(N, D)`` of a distribution, and standard normal numbers ``(N, outputs)`` for labels.

    One coordinate of the sequence chooses the component of a mixture.
    """
    D = given.input_dim
    mixture = isinstance(given, GaussianMixture)
    dim = D + outputs + mixture
    sample_size(N, dim, noun="input")
    u = sobol_uniforms(N, dim, rng)
    from scipy.special import ndtri

    z: Array = ndtri(u[:, int(mixture) :])
    components = given.components()
    which = np.zeros(N, dtype=np.int64)
    if mixture:
        shares = np.cumsum([component.weight for component in components])
        which = np.minimum(np.searchsorted(shares, u[:, 0]), len(components) - 1)
    X = z[:, :D].copy()
    for k, (_, mean, root) in enumerate(components):
        rows = which == k
        if root is not None:
            X[rows] = X[rows] @ root.T
        if mean is not None:
            X[rows] += mean
    return X, z[:, D:]
