"""Effects of finite data on an infinite-data solution; order parameters of student and teacher."""

from __future__ import annotations

import sys
import warnings
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import summary
from .._validation import (
    Array,
    as_choice,
    as_integer,
    as_number,
    as_rng,
    counted,
    public,
    user_level,
)
from ..errors import AccuracyWarning, InvalidTypeError, InvalidValueError, MethodError
from ..memory import SPECTRUM, require_memory
from ..threads import limit_for
from .eigenvalues import hessian_spectrum, reduced, spectrum_by_parts
from .finite import covariance
from .finite.net import Net
from .frozen import free_parameters, frozen_by
from .gradient_moments import METHODS, covariances
from .infinite.neti import NetI
from .inputs import times_covariance
from .parameters import finite

#: fewest samples of a covariance
_FEWEST = 40
# A step to the minimum of the quadratic model longer than this fraction of |theta| means that
# theta is not the solution that the prediction is about.
_AT_SOLUTION = 1e-3


class FiniteDataPrediction(NamedTuple):
    """Leading order in 1/N of what N samples do to a solution; see
    :func:`finite_data_prediction`.
    """

    squared_distance: float  #: E |theta_N - theta*|^2 = tr(H^+ C H^+)/N
    squared_distance_error: float  #: its standard error
    loss_gap: float  #: E [L(theta_N) - L(theta*)] = tr(H^+ C)/(2 N)
    loss_gap_error: float  #: its standard error
    rank: int  #: eigenvalues of H that are not zero
    reduction: str = ""  #: the inputs that the weights span, where it was found in these


@summary.as_text_and_table
class Overlaps(NamedTuple):
    """Covariances of pre-activations: Q (K, K) of the students, R (K, M) students with teachers, T
    (M, M).
    """

    Q: Array
    R: Array
    T: Array

    def _summary(self) -> summary.Summary:
        K, M = self.R.shape
        title = f"Overlaps: {counted(K, 'student')}, {counted(M, 'teacher')}"
        return summary.Summary(title, [("Q", self.Q), ("R", self.R), ("T", self.T)])


@public
def gradient_covariance(
    net: Net | NetI,
    theta: ArrayLike,
    samples: int = 100_000,
    rng: int | np.random.Generator = 0,
    *,
    method: str = "auto",
) -> Array:
    r"""Covariance of the gradients of the loss of single samples at ``theta``, the regularisation
    left out.

    Parameters
    ----------
    net : Net or NetI
        For a ``Net`` with data the covariance over its samples (weighted as the loss is); for a
        ``NetI`` that over the input and the label noise.
    theta : array (P,)
    samples : int
        Number of points for a ``NetI`` whose covariance is sampled.
    rng : int or numpy.random.Generator
        Chooses these points.
    method : {"auto", "exact", "sampling"}
        For a ``NetI``. "exact" is possible for both layers and all biases, at any input dimension,

        - where all neurons are smooth (no kinks), for any Gaussian input and mixtures of them, by
          quadrature in the planes of pairs of students, to about nine digits;
        - by closed forms, to about ten digits, where students are identity, polynomials, relu,
          leaky_relu, abs, erf, normal_cdf, gelu or gaussian and teacher networks these, step or
          sign, for one Gaussian input without mean and without hidden biases other than zero;
        - wherever the student equals the teacher up to label noise.

        "sampling" takes scrambled Sobol points in the span of all weights. Label noise and what is
        perpendicular to the span are added exactly. Errors are 2 to 20 times smaller than by random
        inputs. "auto" is exact where it can be within seconds. Sharp or many smooth neurons are
        sampled, and kinked ones that are nearly linearly dependent.

    Returns
    -------
    ndarray (P, P), symmetric positive semidefinite

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If an argument cannot be used.
    MethodError
        If "exact" is not possible; the message says why. For ``loss="correlation"``.
    TooLargeError
        If the matrix would not fit in memory.
    DivergedError
        If numbers overflow.

    See Also
    --------
    fisher : of gradients of the outputs.
    finite_data_prediction : what it does to solutions.
    stationary_covariance : what it does to SGD.

    Notes
    -----
    Stein's lemma turns :math:`\E[\phi\, x x^\T]` into derivatives of fourth moments of the
    pre-activations, which have closed forms (Saad and Solla, Phys. Rev. E 52, 4225, 1995, for erf).

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 1.0]))
    >>> gradient_covariance(neti, [2.0, 1.0])  # gradients 2 (a w - 1) x^2 (a, w); E x^4 - 1 = 2
    array([[ 8., 16.],
           [16., 32.]])
    """
    method = as_choice("method", method, METHODS)
    if isinstance(net, Net):
        return covariance.gradient_covariance(net, cast("Array", theta))  # which checks it
    theta, samples, generator = _checked(net, theta, samples, rng)
    _require_covariance(net.num_params)
    with np.errstate(over="ignore", invalid="ignore"), limit_for(net.num_params):
        found = list(covariances(net, theta, method, samples, generator))
    return finite(f"{covariance.NAME} is", np.sum(found, axis=0) / len(found))


def _checked(
    net: Any, theta: Any, samples: Any, rng: Any
) -> tuple[Array, int, np.random.Generator]:
    """Parameters, number of samples, generator."""
    if not isinstance(net, NetI):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; an inf.NetI is needed (gradient_covariance also "
            "takes an inf.Net with data)."
        )
    if net.loss != "squared":
        raise MethodError(
            f"this network has loss {net.loss!r}; gradients of single samples are those of the "
            "squared loss. Use net.replace(loss='squared')."
        )
    samples = as_integer("samples", samples, minimum=_FEWEST, maximum=sys.maxsize)
    return net.check(theta), samples, as_rng(rng)


def _require_covariance(num_params: int) -> None:
    require_memory(num_params, covariance.NAME, remedy=covariance.REMEDY)


class _Spectrum(NamedTuple):
    """The spectrum of a Hessian, in parameters that may stand for more of them."""

    net: NetI
    theta: Array
    values: Array  #: (m,), ascending
    vectors: Array  #: one per column
    multiplicities: NDArray[Any]  #: (m,)
    reduction: str


def _spectrum(net: NetI, theta: Array, free: NDArray[np.intp]) -> _Spectrum:
    """In the inputs that the weights span, where these are fewer than all and nothing is frozen."""
    some = len(free) < net.num_params
    red = None if some else reduced(net, theta)
    if red is not None:
        _require_covariance(red.extended.num_params)
        found = spectrum_by_parts(red, red.theta)
        short = red.extend(red.theta)
        values, vectors, counts = found
        return _Spectrum(red.extended, short, values, vectors, counts, str(red))
    _require_covariance(net.num_params)
    require_memory(
        net.num_params, "the prediction from Hessian and covariance", SPECTRUM, covariance.REMEDY
    )
    if not some:
        values, vectors = hessian_spectrum(net, theta)
        return _Spectrum(net, theta, values, vectors, np.ones(len(values)), "")
    H = finite("the Hessian is", net.evaluate(theta, 2).H)
    values, own = np.linalg.eigh(H[np.ix_(free, free)])
    vectors = np.zeros((len(theta), len(free)))
    vectors[free] = own
    return _Spectrum(net, theta, values, vectors, np.ones(len(values)), "")


@public
def finite_data_prediction(
    net: NetI,
    theta: Any,
    N: float,
    samples: int = 100_000,
    rng: int | np.random.Generator = 0,
    rtol: float = 1e-10,
    *,
    method: str = "auto",
    frozen: ArrayLike | None = None,
    eta: Any = None,
) -> FiniteDataPrediction:
    r"""Expected squared distance and loss gap of the solution for ``N`` samples, to leading order
    in 1/N.

    Let :math:`H` be the Hessian of the infinite-data loss at its minimum :math:`\theta_*`, and
    :math:`C` the covariance of single-sample gradients. Then
    :math:`\E|\theta_N - \theta_*|^2 = \tr(H^+ C H^+)/N` and
    :math:`\E[L(\theta_N) - L(\theta_*)] = \tr(H^+ C)/(2N)`. This is the sandwich formula of
    M-estimation (van der Vaart, Asymptotic Statistics, 1998, theorem 5.21). In directions that
    symmetries leave flat nothing is predicted; :math:`H^+` leaves them out.

    Parameters
    ----------
    net : NetI
    theta : array (P,) or Result
        A minimum of the infinite-data loss, usually what :func:`infflow.train` returned, which
        knows its ``eta``.
    N : float
        Number of samples of the finite-data problem.
    samples, rng
        Where C is sampled, as in :func:`gradient_covariance`.
    rtol : float
        Eigenvalues of H below ``rtol`` times the largest count as zero.
    method : {"auto", "exact", "sampling"}
        How C is found, as in :func:`gradient_covariance`: exactly where that is possible.
    frozen : (P,) boolean array, optional
        Parameters that are held fixed (those with ``eta = 0``), in the finite-data problem, too:
        theta is a minimum with respect to the others, and H and C are theirs.
    eta : number or (P,) array, optional
        As in :func:`infflow.train`, in the place of ``frozen``: entries 0 freeze a parameter. Where
        both are left out, that of the ``Result`` counts.

    Returns
    -------
    FiniteDataPrediction
        With standard errors from the scatter of 16 independent estimates of C where it is sampled;
        0 where it is exact.

    Raises
    ------
    InvalidValueError
        If H has a negative eigenvalue (theta is no minimum), or an argument cannot be used.
    TooLargeError
        If matrices of parameters by parameters would not fit in memory.

    Warns
    -----
    AccuracyWarning
        If theta is not near a stationary point, or an eigenvalue of H is within a factor of 100 of
        ``rtol`` times the largest, so that the prediction depends on whether it counts as zero.

    See Also
    --------
    gradient_covariance : the covariance in it.
    convergence : a comparison with runs.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0], noise=0.1))
    >>> round(inf.finite_data_prediction(neti, [1.0, 0.0, 1.0], 1000).loss_gap * 1e5, 4)
    3.0
    """
    method = as_choice("method", method, METHODS)
    result = theta
    theta = getattr(result, "theta", result)
    theta, samples, generator = _checked(net, theta, samples, rng)
    free = free_parameters(frozen_by(net, result, frozen, eta), net.num_params)
    N = as_number("N", N, minimum=1.0)
    rtol = as_number("rtol", rtol, minimum=0.0, strict=True)
    found = _spectrum(net, theta, free)
    values = found.values
    scale = float(np.abs(values).max())
    if values[0] < -rtol * scale:
        raise InvalidValueError(
            f"the Hessian at theta has the eigenvalue {values[0]:.3g}: theta is not a minimum. "
            "Pass the solution of inf.train."
        )
    _warn_of_small_eigenvalues(values, scale, rtol)
    keep = values > rtol * scale
    values = values[keep]
    vectors = found.vectors[:, keep]
    counts = found.multiplicities[keep]
    slope = found.net.evaluate(found.theta, 1).g @ vectors
    step = float(np.linalg.norm(slope / values))
    if step > _AT_SOLUTION * max(1.0, float(np.linalg.norm(theta))):
        warnings.warn(
            f"theta is {step:.2g} away from the minimum of the quadratic model; the prediction "
            "holds at a solution. Run inf.train first.",
            AccuracyWarning,
            stacklevel=user_level(),
        )
    with np.errstate(over="ignore", invalid="ignore"), limit_for(len(found.theta)):
        estimates = covariances(found.net, found.theta, method, samples, generator)
        diagonals = np.array([np.einsum("pk,pk->k", vectors, C @ vectors) for C in estimates])
    finite(f"{covariance.NAME} is", diagonals)
    distance = diagonals @ (counts / values**2) / N
    gap = diagonals @ (counts / values) / (2 * N)

    def error(x: Array) -> float:
        return float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else 0.0

    return FiniteDataPrediction(
        float(distance.mean()),
        error(distance),
        float(gap.mean()),
        error(gap),
        int(counts.sum()),
        found.reduction,
    )


def _warn_of_small_eigenvalues(values: Array, scale: float, rtol: float) -> None:
    unclear = values[(values > 1e-2 * rtol * scale) & (values < 1e2 * rtol * scale)]
    if len(unclear):
        warnings.warn(
            f"{counted(len(unclear), 'eigenvalue')} of the Hessian, {unclear[0] / scale:.2g} to "
            f"{unclear[-1] / scale:.2g} of the largest, can hardly "
            f"be told from zero with rtol = {rtol:g}; those above it enter the distance by their "
            "inverse squares. "
            "Look at inf.classify(net, theta) and choose an rtol in a gap of the spectrum.",
            AccuracyWarning,
            stacklevel=user_level(),
        )


@public
def overlaps(net: NetI, theta: ArrayLike) -> Overlaps:
    r"""Order parameters: covariances of the pre-activations of students and teachers.

    Weights enter as they act on the input (factors of the parametrization included); for standard
    normal input :math:`Q = W W^\T`, :math:`R = W V^\T` and :math:`T = V V^\T`, without a division
    by the input dimension.

    Parameters
    ----------
    net : NetI
    theta : array (P,)

    Returns
    -------
    Overlaps
        Named tuple Q (K, K), R (K, M), T (M, M).

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If an argument cannot be used.
    DivergedError
        If numbers overflow.

    See Also
    --------
    OrderParameters : their dynamics.
    cosine_similarity : cosines of weights.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> inf.overlaps(neti, [0.5, 0.1, 1.0]).R.tolist()
    [[0.5]]
    """
    if not isinstance(net, NetI):
        raise InvalidTypeError(f"net is a {type(net).__name__}; overlaps need an inf.NetI.")
    W = net.student_units(net.check(theta)).W
    V = net.teacher_units.W
    with np.errstate(over="ignore", invalid="ignore"):
        left, right = (times_covariance(rows, net.input) for rows in (W, V))
        found = Overlaps(left @ W.T, left @ V.T, right @ V.T)
    for name, matrix in found._asdict().items():
        finite(f"{name} is", matrix)
    return found
