"""What the noise of stochastic gradient descent does: stationary covariance, scale of the noise."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import Array, as_choice, as_integer, as_number, counted, public, user_level
from ..errors import AccuracyWarning, InvalidTypeError, InvalidValueError
from ..memory import SPECTRUM, require_memory
from ..threads import limit_for
from .eigenvalues import hessian_spectrum
from .finite.net import Net
from .functions import gradient, hessian
from .gradient_moments import METHODS
from .infinite.neti import NetI
from .statistics import gradient_covariance

#: Noise along a flat direction below this, relative to the largest, is rounding or sampling.
_SILENT = 1e-6


class GradientNoiseScale(NamedTuple):
    """How noisy gradients are, in samples; see :func:`gradient_noise_scale`."""

    simple: float  #: size of the batch whose noise equals the gradient, tr(C)/|g|^2
    critical: float  #: size beyond which steps gain little, tr(H C)/(g'H g)
    trace: float  #: tr(C)
    gradient_squared: float  #: |g|^2


@public
def stationary_covariance(
    net: Net | NetI,
    theta: ArrayLike,
    step_size: float,
    batch_size: int = 1,
    *,
    rtol: float = 1e-10,
    method: str = "auto",
    samples: int = 100_000,
    rng: int | np.random.Generator = 0,
) -> Array:
    r"""Covariance of theta in the stationary state of gradient descent with constant steps.

    Each step is :math:`\theta \leftarrow \theta - \eta g` with the mean gradient :math:`g` of a
    fresh batch. Next to a minimum with the Hessian :math:`H` and the covariance :math:`C` of
    single-sample gradients the covariance :math:`\Sigma` of theta obeys

    .. math:: H \Sigma + \Sigma H - \eta H \Sigma H = \frac{\eta}{B}\, C

    for steps of size :math:`\eta` (``step_size``) and batches of :math:`B` samples
    (``batch_size``), to leading order in the step size. In the eigenbasis of H it is one division
    per entry (Mandt, Hoffman and Blei, J. Mach. Learn. Res. 18, 134, 2017).

    Parameters
    ----------
    net : Net or NetI
        A ``Net`` draws its batches with replacement from its data, a ``NetI`` fresh inputs.
    theta : array (P,)
        A minimum of the loss, e.g. the solution of ``inf.train``.
    step_size : float
        Positive, below 2 over the largest eigenvalue of H.
    batch_size : int
    rtol : float
        Eigenvalues of H below ``rtol`` times the largest count as flat. Nothing confines them: they
        have the entry 0 here, and a warning says if the noise has a part along them.
    method, samples, rng
        How C is found, as in :func:`infflow.gradient_covariance`.

    Returns
    -------
    ndarray (P, P), symmetric positive semidefinite

    Raises
    ------
    InvalidValueError
        If H has a negative eigenvalue, or the step size is not stable.
    InvalidTypeError, ShapeError, MethodError, TooLargeError
        As :func:`infflow.gradient_covariance`.

    Warns
    -----
    AccuracyWarning
        If theta diffuses along flat directions without end.

    See Also
    --------
    gradient_covariance : the noise.
    gradient_noise_scale : one number for it.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.5], noise=0.1), ridge=0.0)
    >>> bool(stationary_covariance(neti, [1.0, 0.5], 0.01)[0, 0] > 0)
    True
    """
    _check_kind(net)
    step_size = as_number("step_size", step_size, minimum=0.0, strict=True)
    batch_size = as_integer("batch_size", batch_size, minimum=1, maximum=sys.maxsize)
    rtol = as_number("rtol", rtol, minimum=0.0, strict=True)
    method = as_choice("method", method, METHODS)
    require_memory(net.num_params, "the stationary covariance", SPECTRUM)
    values, vectors = hessian_spectrum(net, theta)
    scale = float(np.abs(values).max())
    if values[0] < -rtol * scale:
        raise InvalidValueError(
            f"the Hessian at theta has the eigenvalue {values[0]:.3g}: theta is not a minimum. "
            "Pass the solution of inf.train."
        )
    if step_size * values[-1] >= 2.0:
        raise InvalidValueError(
            f"step_size is {step_size:g}, and steps grow along the largest eigenvalue of the "
            f"Hessian, {values[-1]:.4g}: less than {2.0 / values[-1]:.4g} is needed."
        )
    C = gradient_covariance(net, theta, samples, rng, method=method)
    with limit_for(len(values)):
        inner = vectors.T @ C @ vectors
        flat = values <= rtol * scale
        _warn_of_diffusion(inner, flat)
        inner[flat] = 0.0
        inner[:, flat] = 0.0
        bent = np.where(flat, 1.0, values)
        rate = bent[:, None] + bent - step_size * np.outer(bent, bent)
        Sigma: Array = vectors @ (step_size / batch_size * inner / rate) @ vectors.T
    return (Sigma + Sigma.T) / 2


def _warn_of_diffusion(inner: Array, flat: NDArray[np.bool_]) -> None:
    """Say so where noise has a part along directions that nothing confines."""
    noise = np.diagonal(inner)
    moving = int((noise[flat] > _SILENT * max(float(noise.max(initial=0.0)), 1e-300)).sum())
    if moving:
        warnings.warn(
            f"{counted(moving, 'flat direction')} of the loss has noise: theta diffuses there "
            "without end, and the covariance has 0 for it.",
            AccuracyWarning,
            stacklevel=user_level(),
        )


@public
def gradient_noise_scale(
    net: Net | NetI,
    theta: ArrayLike,
    *,
    method: str = "auto",
    samples: int = 100_000,
    rng: int | np.random.Generator = 0,
) -> GradientNoiseScale:
    r"""Sizes of batches at which the noise of gradients matters.

    ``simple`` is :math:`\tr C / |g|^2` and ``critical`` :math:`\tr(H C) / (g^\T H g)`, with the
    gradient :math:`g` and the Hessian :math:`H` of the loss and the covariance :math:`C` of
    single-sample gradients (McCandlish et al., arXiv:1812.06162, eqs. 2.8 and 2.9). A step along
    the gradient of a batch of :math:`B` samples gains the share :math:`1/(1 + \text{critical}/B)`
    of what one along :math:`g` gains at best.

    Parameters
    ----------
    net : Net or NetI
    theta : array (P,)
    method, samples, rng
        How C is found, as in :func:`infflow.gradient_covariance`.

    Returns
    -------
    GradientNoiseScale
        ``simple`` and ``critical`` are infinite where the gradient vanishes; ``critical`` is also
        infinite where :math:`g^\T H g` is not positive, so that no step length is best.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError, MethodError, TooLargeError
        As :func:`infflow.gradient_covariance`.

    See Also
    --------
    gradient_covariance : the matrix.
    stationary_covariance : SGD at a minimum.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 1.0]))
    >>> gradient_noise_scale(neti, [2.0, 1.0]).simple  # 2 E x^4 - 1 over 1: see gradient_covariance
    2.0
    """
    _check_kind(net)
    method = as_choice("method", method, METHODS)
    C = gradient_covariance(net, theta, samples, rng, method=method)
    g = gradient(net, theta)
    H = hessian(net, theta)
    trace = float(np.trace(C))
    square = float(g @ g)
    curvature = float(g @ H @ g)
    return GradientNoiseScale(
        trace / square if square > 0.0 else math.inf,
        float(np.sum(H * C)) / curvature if curvature > 0.0 else math.inf,
        trace,
        square,
    )


def _check_kind(net: Any) -> None:
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; an inf.Net with data or an inf.NetI is needed."
        )
