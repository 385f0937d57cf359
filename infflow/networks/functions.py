"""The functions of the paper's Table 1 on any network: loss, gradient, Hessian, its products and
its spectrum.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, as_real_array, as_vector, public
from ..errors import InvalidTypeError, InvalidValueError, MethodError, ShapeError
from ..memory import require_memory
from ..objective import HessianProducts, Objective, as_objective
from ..threads import limit_for
from .finite.net import Net
from .parameters import HasLayout, finite


@public
def loss(
    net: Objective,
    theta: ArrayLike,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> float:
    """Loss at ``theta``, regularisation included.

    Parameters
    ----------
    net : Net or NetI
        A net with data, or an infinite-data net.
    theta : array_like (P,)
        Parameters.
    X, y, weights : array_like, optional
        For a ``Net``: other data to take the loss on, in the shapes of ``Net``'s ``input``,
        ``target``, ``weights``.

    Raises
    ------
    ShapeError, InvalidValueError
        If ``theta`` or the data cannot be used, or a ``Net`` has no data.
    DivergedError
        If the loss is not finite at ``theta``.

    See Also
    --------
    gradient : its derivative.
    hessian : its second derivative.
    train : minimise it.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> round(inf.loss(neti, [0.5, 0.0, 1.0]), 4)
    0.0519
    >>> samples = neti.sample(10_000, rng=0)
    >>> abs(inf.loss(samples, [0.5, 0.0, 1.0]) - inf.loss(neti, [0.5, 0.0, 1.0])) < 2e-3
    True
    """
    if X is not None or y is not None or weights is not None:
        if not isinstance(net, Net):
            raise InvalidTypeError(
                f"a loss on data X, y needs a Net; {type(net).__name__} was given."
            )
        if X is None or y is None:
            raise InvalidValueError("a loss on other data needs both X and y.")
        net = net.with_data(X, y, weights)
    return float(_evaluate(net, theta, 0))


@public
def gradient(net: Objective, theta: Any) -> Array:
    """Gradient ``(P,)`` of :func:`loss` at ``theta`` ``(P,)``; arguments and errors as there."""
    return _evaluate(net, theta, 1)


@public
def hessian(net: Objective, theta: ArrayLike) -> Array:
    """Symmetric Hessian ``(P, P)`` of :func:`loss` at ``theta`` ``(P,)``.

    Raises
    ------
    TooLargeError
        If it would not fit in memory; and the errors of :func:`loss`.

    See Also
    --------
    gradient : the first derivative.
    hvp : products, without the matrix.
    hessian_spectrum : eigenvalues and eigenvectors.
    hessian_eigenvalues : eigenvalues of large networks.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> inf.hessian(neti, [1.0, 0.0, 1.0]).shape
    (3, 3)
    """
    return _evaluate(net, theta, 2)


@public
def hvp(net: Objective, theta: ArrayLike, v: ArrayLike) -> Array:
    """Hessian times ``v`` of shape ``(P,)``, or ``(P, m)`` with one direction per column, without
    forming the Hessian.

    Raises
    ------
    ShapeError
        If ``v`` has another shape; and the errors of :func:`loss`.
    InvalidTypeError
        If ``net`` has no ``hvp``.

    See Also
    --------
    hessian : the matrix.
    hessian_operator : the same as a SciPy operator.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> import numpy as np
    >>> theta, v = [0.5, 0.1, 1.0], [1.0, 0.0, 0.0]
    >>> np.allclose(inf.hvp(neti, theta, v), inf.hessian(neti, theta) @ v)
    True
    """
    num_params = _num_params(net)
    if not isinstance(net, HessianProducts):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}, which has no hvp; a Net with data or a NetI is needed."
        )
    if not isinstance(net, HasLayout):  # an objective of the user's, which is asked for no checks
        theta = as_vector("theta", theta, num_params)
        v = as_real_array("v", v, ndim=(1, 2))
        if len(v) != num_params:
            raise ShapeError(
                f"v has shape {v.shape}; ({num_params},) or ({num_params}, m) is needed."
            )
    with limit_for(num_params), _quiet():
        product = net.hvp(cast("Array", theta), cast("Array", v))  # networks check them
        return finite("the Hessian-vector product is", product)


#: What evaluations of order 0, 1 and 2 are asked for, as messages begin.
_RESULTS = ("the loss is", "the gradient is", "the Hessian is")


def _num_params(net: Objective) -> int:
    return as_objective(net).num_params


def _quiet() -> np.errstate:
    """No warnings of overflow before the one clear error."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def _evaluate(net: Objective, theta: Any, order: int) -> Any:
    """Loss, gradient or Hessian on a suitable number of threads; raise where it is not finite."""
    if type(net) is Net and net.is_compiled:  # an objective, with a layout, that never warns
        with nullcontext() if net.needs_no_blas(order) else limit_for(net.num_params):
            result: Any = net.evaluate(theta, order)[order]
        finite(_RESULTS[order], np.asarray(result))
        return result
    num_params = _num_params(net)
    if not isinstance(net, HasLayout):
        theta = as_vector("theta", theta, num_params)
        if order == 2:
            require_memory(num_params)
    with limit_for(num_params), _quiet():
        result = net.evaluate(theta, order)[order]
        if result is None:
            name = _RESULTS[order].removesuffix(" is")
            raise MethodError(
                f"evaluate(theta, {order}) of {type(net).__name__} left out {name}; return "
                "it as well."
            )
        finite(_RESULTS[order], np.asarray(result, dtype=np.float64))
    return result
