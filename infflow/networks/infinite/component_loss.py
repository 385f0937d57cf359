"""The population loss of one Gaussian of the input, as a function of the student's parameters."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...errors import MethodError
from ...integrals.surrogate.evaluator import SurrogateMethod
from ..finite.net import Net
from ..inputs import Component, Multiple
from ..teacher import Teacher
from .correlation_loss import CorrelationLoss
from .neurons import AnyTeacher
from .population_loss import PopulationLoss, State, Units
from .targets.function_integrals import FunctionIntegrals
from .targets.function_loss import FunctionCorrelationLoss, FunctionLoss
from .targets.function_teacher import FunctionTeacher
from .targets.polynomial_integrals import PolynomialIntegrals


class Population(NamedTuple):
    """The expectation that is asked for, and how its integrals are evaluated: see ``NetI``."""

    student: Net
    teacher: AnyTeacher
    teacher_units: Units
    loss: str
    method: str
    rtol: float
    outside: str
    surrogates_dir: Any


class ComponentLoss:
    """The population loss of one component, with the linear map from parameters to its coordinates.

    With x = mean + root z: w.x + b = (root' w).z + (b + w.mean).
    """

    def __init__(self, population: Population, component: Component) -> None:
        self.weight, self._mean, self._root = component
        student = population.student
        self._layout = student.layout
        self._factors = student.weight_factors
        self._hidden_bias, self._output_bias = (block.bias for block in student.layout.blocks)
        self._plain = self._mean is None and self._root is None and self._factors == (1.0, 1.0)
        self.loss = self._make_loss(population)

    def _make_loss(self, population: Population) -> PopulationLoss:
        """The loss of this teacher, squared or correlation, in the coordinates of z."""
        student, teacher, rtol = population.student, population.teacher, population.rtol
        f = list(student.layers[0].activations)
        method = self._method(population)
        squared = population.loss == "squared"
        if isinstance(teacher, Teacher):
            g = list(teacher.net.layers[0].activations)
            kind = PopulationLoss if squared else CorrelationLoss
            return kind(f, g, self.to_component(population.teacher_units), method, rtol)
        where = f, self._mean, self._root, rtol
        integrals: FunctionIntegrals | PolynomialIntegrals
        if isinstance(teacher, FunctionTeacher):
            integrals = FunctionIntegrals(teacher, *where)
        else:
            integrals = PolynomialIntegrals(teacher, *where)
        own = FunctionLoss if squared else FunctionCorrelationLoss
        return own(f, integrals, student.input_dim, method, rtol)

    def _method(self, population: Population) -> str | SurrogateMethod:
        """Method of the integrals; surrogates cover no pair of students with biases."""
        if population.method != "surrogate":
            return population.method
        if self._hidden_bias or (self._mean is not None and self._mean.any()):
            if population.outside == "exact":
                return "auto"
            what = (
                "student's hidden neurons have biases"
                if self._hidden_bias
                else "input has a mean, which acts as biases"
            )
            raise MethodError(
                f"the {what}, and surrogates stand for pairs without. Leave them away, or use "
                "outside='exact' or method='auto'."
            )
        constant = self._output_bias or bool(population.teacher_units.c.any())
        return SurrogateMethod(population.outside, population.surrogates_dir, constant)

    def frozen(self, units: Units, rtol: float) -> ComponentLoss:
        """A copy whose evaluators do not change near the units, which are in the
        coordinates of z.
        """
        other = copy.copy(self)
        other.loss = self.loss.frozen(units, rtol)
        return other

    def to_component(self, units: Units) -> Units:
        """Units in the coordinates of z."""
        W, b = units.W, units.b
        if self._mean is not None:
            b = b + W @ self._mean
        if self._root is not None:
            W = W @ self._root
        return Units(W, b, units.B, units.c)

    def gradient(self, state: State) -> Array:
        """Gradient ``(P,)`` with respect to the student's parameters."""
        if self._plain:
            return self.loss.gradient(state, self._hidden_bias, self._output_bias)
        return self._pull(self.loss.gradient(state, True, True))

    def product(self, state: State, v: Array) -> Array:
        """Hessian times a direction ``(P,)``."""
        (V, vb), (VB, vc) = self._layout.views(v)
        K, O = len(V), len(VB)
        direction = Units(
            self._factors[0] * V,
            np.zeros(K) if vb is None else vb,
            self._factors[1] * VB.T,
            np.zeros(O) if vc is None else vc,
        )
        return self._pull(self.loss.product(state, self.to_component(direction)))

    def hessian(self, state: State) -> Array:
        """Hessian ``(P, P)`` with respect to the student's parameters."""
        if self._plain:
            return self.loss.hessian(state, self._hidden_bias, self._output_bias)
        full = self.loss.hessian(state, True, True)
        half = self._pull(full)
        hessian = self._pull(np.ascontiguousarray(half.T))
        return (hessian + hessian.T) / 2  # the two products round differently

    def _pull(self, G: Array) -> Array:
        """Gradients with respect to theta from those of the loss with all biases, along the last
        axis of ``G``.
        """
        K = self._layout.blocks[0].width
        D = self._layout.input_dim
        O = self._layout.blocks[1].width
        W, b, A, c = np.split(G, [K * D, K * D + K, K * D + K + O * K], axis=-1)
        if isinstance(self._root, Multiple):
            assert self._mean is not None
            moved = b[..., None] * self._mean
            W = W @ self._root.T + moved.reshape(W.shape)
        elif self._root is not None:
            assert self._mean is not None  # a component has both or neither
            rows = np.concatenate([W.reshape(*b.shape, D), b[..., None]], axis=-1).reshape(
                -1, D + 1
            )
            with np.errstate(invalid="ignore"):  # the caller refuses infinite Hessians
                W = (rows @ np.vstack([self._root.T, self._mean])).reshape(W.shape)
        parts = [self._factors[0] * W, *([b] if self._hidden_bias else [])]
        parts += [self._factors[1] * A, *([c] if self._output_bias else [])]
        return np.concatenate(parts, axis=-1)
