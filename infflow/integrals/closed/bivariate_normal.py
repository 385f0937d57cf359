"""The bivariate normal distribution function for every correlation, with its digits
in the tails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..._validation import Array, as_real_array, as_real_numbers, public
from ...errors import InvalidValueError, ShapeError
from .bivariate_normal_kernels import bivariate_normal_cdf_loop

__all__ = ["bivariate_normal_cdf"]


@public
def bivariate_normal_cdf(h: ArrayLike, k: ArrayLike, u: ArrayLike) -> Array:
    """:math:`P(X < h, Y < k)` of standard normal X, Y with correlation u.

    Parameters
    ----------
    h, k : array_like
        Upper limits; infinite ones are allowed.
    u : array_like
        Correlation, ``-1 <= u <= 1``. All arguments broadcast.

    Returns
    -------
    ndarray
        Probabilities of the broadcast shape, never negative: absolute error below 1e-15, relative
        error below 5e-13 where they are at least 1e-290.

    Raises
    ------
    InvalidValueError
        For NaN, and for ``|u| > 1``.
    InvalidTypeError, ShapeError
        For anything that is not an array of real numbers; for shapes that do not broadcast.

    See Also
    --------
    gaussian_moment : moments of activations.
    gaussian_expectation : of any function.

    Notes
    -----
    Plackett's integral over the correlation (Biometrika 41, 1954) for ``|u| <= 0.8``, otherwise
    Owen's T function (Ann. Math. Stat. 27, 1956). Below -4.5, and where the terms of these formulas
    cancel, the conditional probability is integrated over one variable.

    Examples
    --------
    >>> float(bivariate_normal_cdf(0.0, 0.0, 0.5))
    0.33333333333333337
    """
    limits_h = _extended_real("h", h)
    limits_k = _extended_real("k", k)
    correlations = as_real_array("u", u)
    if np.any(np.abs(correlations) > 1.0):
        worst = correlations.flat[np.abs(correlations).argmax()]
        raise InvalidValueError(f"u contains {worst}; a correlation lies between -1 and 1.")
    try:
        grids = np.broadcast_arrays(limits_h, limits_k, correlations)
    except ValueError as error:
        shapes = (limits_h.shape, limits_k.shape, correlations.shape)
        raise ShapeError(f"h, k and u have the shapes {shapes}, which do not broadcast.") from error
    out = np.empty(grids[0].shape)
    flat_h, flat_k, flat_u = (np.ravel(grid) for grid in grids)
    bivariate_normal_cdf_loop(flat_h, flat_k, flat_u, out.reshape(-1))
    return out


def _extended_real(name: str, value: Any) -> Array:
    """Like :func:`as_real_array`, but infinities become numbers beyond any tail."""
    array = as_real_numbers(name, value)
    return as_real_array(name, np.nan_to_num(array, nan=np.nan, posinf=1e300, neginf=-1e300))
