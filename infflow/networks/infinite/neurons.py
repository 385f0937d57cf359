"""Students and teachers as neurons: weights, biases and output vectors as they act on the input."""

from __future__ import annotations

import numpy as np

from ..._validation import Array
from ..finite.net import Net
from ..teacher import Teacher
from .population_loss import Units
from .targets.function_teacher import FunctionTeacher
from .targets.polynomial_teacher import PolynomialTeacher

#: a target, which labels the input
AnyTeacher = Teacher | FunctionTeacher | PolynomialTeacher


def teacher_neurons(teacher: AnyTeacher) -> Units:
    """Neurons of the teacher; for a function its projections, which no loss uses but the overlaps
    do.
    """
    if isinstance(teacher, Teacher):
        return neurons_of(teacher.net, teacher.theta)
    k = len(teacher.V)
    O = teacher.output_dim
    return Units(teacher.V, np.zeros(k), np.zeros((k, O)), np.zeros(O))


def neurons_of(net: Net, theta: Array) -> Units:
    """Effective weights, biases and output vectors of a shallow network."""
    (W, b), (A, c) = net.layout.views(net.normalized(theta))
    first, second = net.weight_factors
    if first != 1.0:
        W = first * W
    if second != 1.0:
        A = second * A
    return Units(W, np.zeros(len(W)) if b is None else b, A.T, np.zeros(len(A)) if c is None else c)
