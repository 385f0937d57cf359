"""Gradients in the parameters of the student or of the teacher, and the mixed Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, as_choice, public
from ..errors import InvalidTypeError
from ..memory import require_memory
from ..objective import Objective
from ..threads import limit_for
from . import functions
from .infinite.joint import JointLoss
from .infinite.neti import NetI
from .parameters import finite

__all__ = ["gradient", "mixed_hessian"]

#: Whose parameters a gradient can be in.
WHOSE = ("student", "teacher")


@public
def gradient(net: Objective, theta: ArrayLike, wrt: str = "student") -> Array:
    """Gradient of :func:`infflow.loss` at ``theta`` ``(P,)``.

    Parameters
    ----------
    net : Net or NetI
        A net with data, or an infinite-data net.
    theta : array_like (P,)
        Parameters of the student.
    wrt : {"student", "teacher"}
        "teacher": in the parameters of the teacher of a ``NetI``, at ``net.teacher.theta``.

    Returns
    -------
    ndarray (P,) or (P_teacher,)

    Raises
    ------
    InvalidTypeError
        If there is no teacher with parameters.
    ShapeError, InvalidValueError, DivergedError
        As :func:`infflow.loss`.

    See Also
    --------
    mixed_hessian : how the gradient moves with the teacher.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> inf.gradient(neti, [0.0, 1.0, 2.0], wrt="teacher").round(6)
    array([ 0.367553, -1.27324 ,  0.666667])
    """
    if as_choice("wrt", wrt, WHOSE) == "student":
        return functions.gradient(net, theta)
    joint, z = _at(net, theta)
    with limit_for(joint.num_params), np.errstate(over="ignore", invalid="ignore"):
        found = joint.evaluate(z, 1).g
    return finite("the gradient is", found)[joint.num_student :]


@public
def mixed_hessian(net: NetI, theta: ArrayLike) -> Array:
    r"""Second derivatives ``(P, P_teacher)`` of the loss in student and teacher.

    With the Hessian H of the student they move a fixed point with the teacher,
    :math:`d\theta = -H^{-1} M\, d\theta_\text{teacher}` with the mixed Hessian :math:`M`, by the
    implicit function theorem.

    Parameters
    ----------
    net : NetI
        With an ``inf.Teacher``.
    theta : array_like (P,)
        Parameters of the student.

    Raises
    ------
    InvalidTypeError, MethodError
        If there is no teacher with parameters, or its loss is not the squared one.
    ShapeError, InvalidValueError, DivergedError
        As :func:`infflow.loss`.
    TooLargeError
        If the matrix would not fit in memory.

    See Also
    --------
    hessian : in the student alone.
    gradient : also in the teacher.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [2.0, 1.0]))  # loss (a w - c v)^2
    >>> inf.mixed_hessian(neti, [2.0, 1.0])
    array([[-2., -4.],
           [-4., -8.]])
    """
    joint, z = _at(net, theta)
    require_memory(joint.num_params)
    with limit_for(joint.num_params), np.errstate(over="ignore", invalid="ignore"):
        found = joint.evaluate(z, 2).H
    return finite("the mixed Hessian is", found[: joint.num_student, joint.num_student :].copy())


def _at(net: Any, theta: Any) -> tuple[JointLoss, Array]:
    """The joint loss and the parameters of both."""
    if not isinstance(net, NetI):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; derivatives in the teacher need an inf.NetI."
        )
    joint = JointLoss(net)
    return joint, np.concatenate([net.check(theta), joint.teacher_theta])
