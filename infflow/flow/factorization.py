"""Factorisation of the shifted Hessian, which every implicit step solves with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scipy.linalg.blas import dtrsv
from scipy.linalg.lapack import dpotrf, dpotrs, dsytrf, dsytrf_lwork, dsytrs

from .._validation import Array

Solve = Callable[[Array], Array]

#: up to this size jitted loops solve faster than calls of LAPACK
_SMALL = 64


class Factors(NamedTuple):
    """A factorised matrix."""

    solve: Solve  #: maps a right-hand side (n,) to the solution (n,)
    #: Cholesky factor U (n, n) of a small matrix U'U, its lower triangle undefined
    upper: Array | None = None
    definite: bool = True  #: whether the matrix is positive definite


def factorize_shifted(hessian: Array, shift: float) -> Factors | None:
    """Factorise shift I + H: by Cholesky where that is positive definite, else by Bunch and
    Kaufman.

    Parameters
    ----------
    hessian : (n, n) symmetric array
        Is not changed; only one triangle is read.
    shift : float
        Positive.

    Returns
    -------
    Factors or None
        None where the matrix is singular.
    """
    # symmetric: the transpose is in the order of LAPACK without moving anything
    shifted = hessian.copy().T
    shifted.ravel(order="K")[:: len(shifted) + 1] += shift
    factor, info = dpotrf(shifted, lower=1, clean=0)
    if info == 0:
        if len(factor) <= _SMALL:
            return Factors(lambda b: dpotrs(factor, b, lower=1)[0].ravel(), factor.T)
        # for one right-hand side two to three times faster than dpotrs, which is made for many
        return Factors(
            lambda b: dtrsv(factor, dtrsv(factor, b, lower=1), lower=1, trans=1, overwrite_x=1)
        )
    work, _ = dsytrf_lwork(len(shifted), lower=1)
    factor, pivots, info = dsytrf(shifted, lower=1, lwork=int(work), overwrite_a=1)
    if info != 0:
        return None
    return Factors(lambda b: dsytrs(factor, pivots, b, lower=1)[0].ravel(), definite=False)
