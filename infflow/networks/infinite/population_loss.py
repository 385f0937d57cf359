"""The population loss over one Gaussian input, in the coordinates of standard normal inputs.

A one-hidden-layer network is a set of *units*: weights ``W`` (n, D), biases ``b`` (n,), output
vectors ``B`` (n, O) and an activation each. The residual between student and teacher is again such
a set, in the order students, constant neuron (the output biases), teachers with negative output.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation, polynomial
from ...integrals.choice import Jets
from ...integrals.evaluator import Arguments
from ...integrals.jets import SIZES
from ...integrals.surrogate.evaluator import SurrogateMethod
from ...integrals.terms import PairChoice, pair_evaluator
from ...memory import require_pairs
from . import kernels

#: the constant neuron, whose output weight is the output bias
ONE = polynomial([1.0])


class Units(NamedTuple):
    """Weights (n, D), biases (n,), output vectors (n, O) and output bias (O,) of a set
    of neurons.
    """

    W: Array
    b: Array
    B: Array
    c: Array


class State(NamedTuple):
    """Everything that value, gradient, Hessian and products at one point have in common."""

    W: Array
    B: Array
    S: Array
    gram: Array
    norms: Array
    jets: Array


class Examined(NamedTuple):
    """Where jets were evaluated last, and what was found; for those who explain it."""

    args: Arguments
    jets: Jets


class PopulationLoss:
    """E |student(x) - teacher(x)|^2 over x = mean + root z with z standard normal.

    Parameters
    ----------
    student, teacher : list of Activation
        The activation of every hidden neuron, K and M of them.
    units : Units
        The teacher, in the coordinates of z.
    method, rtol
        How the integrals are evaluated, and their tolerance: see
        :class:`~infflow.integrals.choice.Choice` and
        :class:`~infflow.integrals.surrogate.evaluator.SurrogateMethod`.
    """

    def __init__(
        self,
        student: list[Activation],
        teacher: list[Activation],
        units: Units,
        method: str | SurrogateMethod,
        rtol: float,
    ) -> None:
        K, M = len(student), len(teacher)
        n = K + 1 + M
        self.K = K
        self.n = n
        require_pairs(n)
        i, j = np.triu_indices(K, m=n)  # pairs i < K, i <= j < n, row by row
        self._num_pairs = len(i)
        #: numbers of the pairs whose integrals the loss has
        self._pairs = self._needed(j)
        self._method = method
        self._labels = [*(f"student neuron {k}" for k in range(K)), "the output bias"]
        self._labels += [f"teacher neuron {k}" for k in range(M)]
        self.evaluator: PairChoice = pair_evaluator(
            [*student, ONE, *teacher],
            i[self._pairs],
            j[self._pairs],
            method,
            rtol,
            self._labels,
        )
        self.examined: Examined | None = None
        self._W = np.zeros((n, units.W.shape[1]))
        self._W[K + 1 :] = units.W
        self._b = np.zeros(n)
        self._b[K + 1 :] = units.b
        self._B = np.zeros((n, units.B.shape[1]))
        self._B[K] = -units.c
        self._B[K + 1 :] = -units.B
        self._norms = np.einsum("jd,jd->j", self._W, self._W)
        self._teacher_mean, self._teacher_square = self._teacher_terms()

    def _needed(self, second: NDArray[np.intp]) -> NDArray[np.intp]:
        """Numbers of the pairs that the loss has, from their second neurons: all."""
        return np.arange(len(second))

    def _teacher_terms(self, finest: float | None = None) -> tuple[Array, float]:
        """sum_j B_j E f_j (O,) and sum_jk B_j.B_k E[f_j f_k] over the teacher; with ``finest`` as
        accurate as it goes.
        """
        students = self.evaluator
        neurons = students.activations[self.K :]  # the constant and the teacher's own
        W, b, B, norms = (x[self.K :] for x in (self._W, self._b, self._B, self._norms))
        n = len(W)
        args = np.empty((6, n * (n + 1) // 2))
        kernels.pair_arguments(W, b, W @ W.T, norms, args)
        i, j = np.triu_indices(n)
        evaluator = pair_evaluator(
            neurons, i, j, self._method, students.rtol, self._labels[self.K :]
        )
        at = Arguments(args, norms, b)
        moments = (evaluator if finest is None else evaluator.frozen(at, finest))(at, 0)[:, 0]
        mean: Array = moments[1:n] @ B[1:]  # the first n pairs contain the constant
        products = np.einsum("po,po->p", B[i], B[j]) * np.where(i == j, 1.0, 2.0)
        return mean, float(products[n:] @ moments[n:])

    def frozen(self, student: Units, rtol: float) -> PopulationLoss:
        """A copy whose evaluators of integrals do not change near the given students;
        see :meth:`~infflow.integrals.choice.Choice.frozen`.
        """
        other = copy.copy(self)
        other._teacher_mean, other._teacher_square = self._teacher_terms(rtol)
        other.evaluator = self.evaluator.frozen(self._arguments(student)[-1], rtol)
        return other

    def state(self, student: Units, order: int) -> State:
        """Gram entries and jets at the given students, for derivatives up to ``order``."""
        W, B, gram, norms, args = self._arguments(student)
        jets = np.empty((self.K, self.n, SIZES[order]))
        kernels.spread(self._evaluate(args, order), jets)
        return State(W, B, B[: self.K] @ B.T, gram, norms, jets)

    def _evaluate(self, args: Arguments, order: int) -> Array:
        """Jets of all pairs; what was found is kept for :attr:`examined`."""
        found = self.evaluator.evaluate(args, order)
        self.examined = Examined(args, found)
        return found.values

    def _arguments(self, student: Units) -> tuple[Array, Array, Array, Array, Arguments]:
        """Weights and output vectors of all neurons, Gram entries, squared lengths, and what the
        evaluator gets.
        """
        K = self.K
        W = self._W.copy()
        b = self._b.copy()
        B = self._B.copy()
        norms = self._norms.copy()
        W[:K] = student.W
        b[:K] = student.b
        B[:K] = student.B
        B[K] += student.c
        gram = W[:K] @ W.T
        norms[:K] = gram.diagonal()
        args = np.empty((6, self._num_pairs))
        kernels.pair_arguments(W, b, gram, norms, args)
        return W, B, gram, norms, Arguments(args, norms, b)

    @property
    def least_scale(self) -> float:
        """What the absolute terms of :meth:`value` add up to at least."""
        return self._teacher_square

    def value(self, state: State) -> tuple[float, float]:
        """The loss, and the sum of the absolute terms that it is the sum of."""
        found: tuple[float, float] = kernels.value(
            state.S, state.B, state.jets, self._teacher_mean, self._teacher_square
        )
        return found

    def _size(self, hidden_bias: bool, output_bias: bool) -> int:
        """Number of entries of a gradient."""
        D = self._W.shape[1]
        O = self._B.shape[1]
        return self.K * (D + hidden_bias + O) + O * output_bias

    def gradient(self, state: State, hidden_bias: bool, output_bias: bool) -> Array:
        """Gradient in the order W, b (if wanted), output weights output by output, output bias (if
        wanted).
        """
        coef = np.empty((self.K, self.n))
        gradient = np.empty(self._size(hidden_bias, output_bias))
        kernels.gradient(
            state.S,
            state.B,
            state.jets,
            self._teacher_mean,
            hidden_bias,
            output_bias,
            coef,
            gradient,
        )
        K, D = self.K, state.W.shape[1]
        np.dot(coef, state.W, out=gradient[: K * D].reshape(K, D))
        return gradient

    def hessian(self, state: State, hidden_bias: bool, output_bias: bool) -> Array:
        """Hessian in the order of :meth:`gradient`."""
        P = self._size(hidden_bias, output_bias)
        H = np.empty((P, P))
        kernels.hessian(*state, hidden_bias, output_bias, H)
        return H

    def product(self, state: State, direction: Units) -> Array:
        """Hessian times one direction, in the order of :meth:`gradient` with all biases."""
        V_B = np.vstack([direction.B, direction.c])
        W = np.empty_like(direction.W)
        b = np.empty_like(direction.b)
        B = np.empty_like(V_B)
        kernels.hessian_product(*state, direction.W, direction.b, V_B, W, b, B)
        return np.concatenate([W.ravel(), b, B[:-1].T.ravel(), B[-1]])


def singular_message(loss: PopulationLoss, states: list[State]) -> str:
    """Which neurons make the Hessian infinite."""
    for state in states:
        bad = np.argwhere(~np.isfinite(state.jets).all(axis=2))
        if len(bad):
            i, j = (int(k) for k in bad[0])
            if i == j or state.norms[i] == 0.0:
                return (
                    f"the Hessian is infinite: student neuron {i} has a kink and lies at w = b = "
                    "0. Move it away from zero."
                )
            other = f"student neuron {j}" if j < loss.K else f"teacher neuron {j - loss.K - 1}"
            return (
                f"the Hessian is infinite: student neuron {i} and {other} have kinks and are "
                "parallel. Move one of them, or use a smooth activation."
            )
    return "the Hessian is infinite or overflows at these parameters."
