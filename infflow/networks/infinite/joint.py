"""The loss of a student and a teacher as a function of both their parameters.

Student minus teacher is one network: their hidden neurons side by side, the teacher's with
negative output weights. So the loss, its gradient and its Hessian in all parameters are those of
that network opposite a target of zero, and a linear map takes the parameters there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array, as_vector
from ...errors import InvalidTypeError, MethodError
from ...memory import require_memory
from ...objective import Evaluation
from ..finite.net import Net
from ..parameters import Layout
from ..teacher import Teacher
from ..unit_rows import UnitRows
from .neti import NetI


class JointLoss:
    """``L(theta, theta_teacher)``, the parameters in one vector (P + P_teacher,), student first.

    Noise and the student's regularisation are included.

    Parameters
    ----------
    net : NetI
        With a :class:`~infflow.Teacher`, and the squared loss.

    Attributes
    ----------
    num_params : int
        P + P_teacher.
    num_student, num_teacher : int
        P and P_teacher.
    teacher_theta : (P_teacher,) array
        Parameters of the teacher that the network has.
    """

    def __init__(self, net: NetI) -> None:
        if not isinstance(net, NetI):
            raise InvalidTypeError(f"net is a {type(net).__name__}; an inf.NetI is needed.")
        if not isinstance(net.teacher, Teacher):
            raise InvalidTypeError(
                f"the teacher is a {type(net.teacher).__name__}, which has no parameters; "
                "derivatives in the teacher need an inf.Teacher."
            )
        if net.loss != "squared" or net.method == "surrogate":
            raise MethodError(
                "derivatives in the teacher are those of the squared loss, by exact integrals. "
                "Use net.replace(loss='squared') and net.with_method('auto')."
            )
        self.net = net
        self.teacher_theta = net.teacher.theta
        student = net.student
        teacher = net.teacher.net
        self.num_student = student.num_params
        self.num_teacher = teacher.num_params
        self.num_params = self.num_student + self.num_teacher
        self._noise = net.teacher.noise**2 * net.output_dim
        self._joint = _side_by_side(net)
        first = len(student.layers[0].activations)
        places = [_places(self._joint.layout, student, 0, 1.0)]
        places.append(_places(self._joint.layout, teacher, first, -1.0))
        shifted = [
            *([] if student.unit_rows is None else student.unit_rows.rows),
            *([] if teacher.unit_rows is None else teacher.unit_rows.shifted(self.num_student)),
        ]
        self._unit_rows = UnitRows(shifted)
        self._place: NDArray[np.int64] = np.concatenate([place for place, _ in places])
        self._factor: Array = np.concatenate([factor for _, factor in places])

    def split(self, z: Any) -> tuple[Array, Array]:
        """``theta`` and ``theta_teacher``."""
        z = as_vector("z", z, self.num_params)
        return z[: self.num_student], z[self.num_student :]

    def evaluate(self, z: Any, order: int = 0) -> Evaluation:
        """Loss, gradient (P + P_teacher,) and Hessian at one point."""
        theta, theta_teacher = self.split(z)
        if order == 2:
            require_memory(self.num_params)
        found = self._evaluate(self._unit_rows.apply(z), order)
        value = found.value
        if np.array_equal(theta_teacher, self.teacher_theta):
            # The network itself knows how to sum a small loss without cancellation.
            value = self.net.evaluate(theta, 0).value
        return self._unit_rows.pull(z, found._replace(value=value))

    def _evaluate(self, z: Array, order: int) -> Evaluation:
        """The same where all rows have the length with which they enter."""
        theta = z[: self.num_student]
        found = self._joint.evaluate(self._map(z), order)
        value = found.value + self._noise
        gradient = None if order < 1 else self._pull(found.g)
        hessian = None if order < 2 else self._pull(self._pull(found.H).T)
        penalty = self.net.regularization
        if penalty.active:
            value += penalty.value(theta)
        if penalty.active and gradient is not None:
            gradient[: self.num_student] += penalty.gradient(theta)
        if penalty.active and hessian is not None:
            own = np.ascontiguousarray(hessian[: self.num_student, : self.num_student])
            penalty.add_hessian(theta, own)
            hessian[: self.num_student, : self.num_student] = own
        return Evaluation(value, gradient, hessian)

    def hvp(self, z: Any, v: Any) -> Array:
        """Hessian times v (P + P_teacher,) or (P + P_teacher, m)."""
        z = np.concatenate(self.split(z))
        v = np.asarray(v, dtype=np.float64)
        point = self._unit_rows.apply(z)
        times: Callable[[Array], Array] = partial(self._times, point)
        if self._unit_rows.rows:
            times = self._unit_rows.product(z, self._evaluate(point, 1).g, times)
        return times(v.reshape(self.num_params, -1)).reshape(v.shape)

    def _times(self, z: Array, columns: Array) -> Array:
        """Hessian times columns, where all rows have the length with which they enter."""
        pushed = np.stack([self._map(column) for column in columns.T], axis=1)
        product = self._pull(self._joint.hvp(self._map(z), pushed))
        if self.net.regularization.active:
            theta = z[: self.num_student]
            own = columns[: self.num_student]
            product[: self.num_student] += self.net.regularization.hvp(theta, own)
        return product

    def _map(self, z: Array) -> Array:
        """Parameters of the network side by side; both output biases share a place."""
        joint = np.zeros(self._joint.num_params)
        np.add.at(joint, self._place, self._factor * z)
        return joint

    def _pull(self, gradient: Array) -> Array:
        """The transpose of :meth:`_map`, for (J,) or (J, m)."""
        pulled: Array = gradient[self._place]
        return (pulled.T * self._factor).T


def _side_by_side(net: NetI) -> NetI:
    """The network of all neurons opposite a teacher that is zero."""
    assert isinstance(net.teacher, Teacher)
    neurons = [*net.student.layers[0].activations, *net.teacher.net.layers[0].activations]
    output = (net.output_dim, "identity", True)
    student = Net([(len(neurons), neurons, True), output], input_dim=net.input_dim)
    nothing = Net([(1, "identity", False), (net.output_dim, "identity", False)], net.input_dim)
    zero = Teacher(nothing, np.zeros(nothing.num_params))
    return NetI(student, zero, input=net.input, method=net.method, rtol=net.rtol)


def _places(joint: Layout, net: Net, first: int, sign: float) -> tuple[NDArray[np.int64], Array]:
    """Where the entries of a network's parameters go, and their factors; ``first`` is the place of
    its first neuron.
    """
    every = np.arange(joint.num_params)
    (W, b), (A, c) = joint.unpack(every)
    assert b is not None and c is not None  # the joint network has both
    count = len(net.layers[0].activations)
    rows = slice(first, first + count)
    blocks = net.layout.blocks
    parts = [W[rows].reshape(-1), *([b[rows]] if blocks[0].bias else [])]
    parts += [A[:, rows].reshape(-1), *([c] if blocks[1].bias else [])]
    factor = np.ones(net.num_params) if net.factors is None else net.factors.copy()
    hidden = W[rows].size + count * blocks[0].bias
    factor[hidden:] *= sign
    return np.concatenate(parts).astype(np.int64), factor
