"""The Fisher matrix E[grad f grad f'] of networks."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .._validation import Array, public
from ..errors import InvalidTypeError
from ..threads import limit_for
from .finite.net import Net
from .infinite.neti import NetI
from .parameters import finite


@public
def fisher(net: Net | NetI, theta: ArrayLike) -> Array:
    r""":math:`\E[\nabla f\, \nabla f^\T]` summed over outputs: the Fisher matrix for label noise of
    size one.

    Twice this matrix is the Hessian of the squared loss where the network fits its targets; label
    noise of the standard deviation :math:`s` adds :math:`4 s^2` times it to the covariance of
    gradients.

    Parameters
    ----------
    net : Net or NetI
        For a ``Net`` with data the mean over its samples (weighted as the loss is), of the outputs
        before a softmax; for a ``NetI`` that over the Gaussian input, exactly. Teacher, loss and
        regularisation play no part.
    theta : array (P,)

    Returns
    -------
    ndarray (P, P), symmetric positive semidefinite

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If an argument cannot be used.
    SingularMomentError
        If a student jumps (step, sign), or a kinked student has weights of length 0.
    TooLargeError
        If the matrix would not fit in memory.

    See Also
    --------
    gradient_covariance : of gradients of the loss.
    hessian : the Hessian.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 1.0]))
    >>> fisher(neti, [2.0, 3.0])  # f = a w x
    array([[9., 6.],
           [6., 4.]])
    """
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; an inf.Net with data or an inf.NetI is needed."
        )
    with limit_for(net.num_params):
        return finite("the Fisher matrix is", net.fisher(theta))
