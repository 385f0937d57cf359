"""An exponential Rosenbrock method on the eigendecomposition of the Hessian.

With the Hessian H at the start of the step, the flow is dz/dt = -gradient(z) = -gradient0 - H (z -
z0) - r(z), where the remainder r is quadratic in z - z0. The linear part is integrated exactly, in
the eigenbasis of H, where the matrix functions phi_k(-h H) are functions of numbers.
"""

from __future__ import annotations

import numpy as np

from .._validation import Array
from .onestep import Attempt, NoMemory
from .phi_kernels import phi_functions
from .problem import FlowEvaluation, FlowProblem

#: order of the step, and of the embedded solution and the dense output
ORDER = 5
ERROR_ORDER = 4
DENSE_ORDER = 4
_C2 = 1 / 4
_C3 = 1 / 2
_C4 = 9 / 10


def two_node_weights(ca: float, cb: float, fraction: float, phi: Array) -> tuple[Array, Array]:
    """Weights b_a, b_b with b_a ca^2 + b_b cb^2 = 2 x^3 phi_3 and b_a ca^3 + b_b cb^3 = 6 x^4
    phi_4.

    These are the conditions of order 4 on the remainders at the two nodes, for a step to the
    fraction x.

    Parameters
    ----------
    ca, cb : float
        Nodes.
    fraction : float
        x in (0, 1].
    phi : (4, n) array
        phi_1 to phi_4 at -x h H.
    """
    square = 2 * fraction**3 * phi[2]
    cube = 6 * fraction**4 * phi[3]
    b = (cube - ca * square) / (cb * cb * (cb - ca))
    return (square - cb * cb * b) / (ca * ca), b


class ExponentialFamily:
    """The exponential Rosenbrock method of order 5 with nodes 1/4, 1/2, 9/10 and an embedded one of
    order 4.

    The scheme pexprb54s4 of Luan and Ostermann (J. Comput. Appl. Math. 255 (2014) 417-431; Comput.
    Math. Appl. 71 (2016) 1137-1150): the two last stages are of third order on their own, so that
    the nodes 1/2 and 9/10, for which Gauss quadrature gains an order, give order 5; the nodes 1/4
    and 1/2 give the embedded solution of order 4. The dense output repeats the conditions of order
    4 at every fraction of the step; it is exact for linear gradients.
    """

    uses_hessian = True
    memory = NoMemory()

    def __init__(self, problem: FlowProblem) -> None:
        self.factorizations = 0  # eigendecompositions
        self._gradient = lambda z: problem.evaluate(z, 1).gradient
        self._start: FlowEvaluation | None = None
        self._values = self._vectors = self._slope = np.empty(0)
        self._remainders: list[Array] = []

    def attempt(self, z: Array, evaluation: FlowEvaluation, h: float, memory: NoMemory) -> Attempt:
        """One step of size ``h`` from ``z`` with gradient and Hessian there; a rejected one keeps
        the decomposition.
        """
        if self._start is not evaluation:
            self.factorizations += 1
            self._values, self._vectors = np.linalg.eigh(evaluation.hessian)  # type: ignore[arg-type]
            self._start = evaluation
            self._slope = -(evaluation.gradient @ self._vectors)
        arguments = -h * self._values
        half, late, full = (phi_functions(x * arguments, 4) for x in (_C3, _C4, 1.0))
        second = self._remainder(
            z, evaluation, _C2 * h * phi_functions(_C2 * arguments, 1)[0] * self._slope
        )
        third, fourth = (
            self._remainder(
                z, evaluation, h * (c * phi[0] * self._slope + 2 * c**3 / _C2**2 * phi[2] * second)
            )
            for c, phi in ((_C3, half), (_C4, late))
        )
        self._remainders = [third, fourth]
        b3, b4 = two_node_weights(_C3, _C4, 1.0, full)
        e2, e3 = two_node_weights(_C2, _C3, 1.0, full)
        displacement = h * (full[0] * self._slope + b3 * third + b4 * fourth)
        error = h * ((b3 - e3) * third + b4 * fourth - e2 * second)
        return Attempt(z + self._vectors @ displacement, self._vectors @ error)

    def _remainder(self, z: Array, evaluation: FlowEvaluation, displacement: Array) -> Array:
        """-r at z + V displacement, in the eigenbasis, shape (n,)."""
        gradient = self._gradient(z + self._vectors @ displacement)
        return self._values * displacement - (gradient - evaluation.gradient) @ self._vectors

    def interpolate(self, z: Array, z1: Array, h: float, fraction: float) -> Array:
        """The point at this fraction of the last step from ``z``, shape (n,)."""
        phi = phi_functions(-h * fraction * self._values, 4)
        b3, b4 = two_node_weights(_C3, _C4, fraction, phi)
        third, fourth = self._remainders
        return z + self._vectors @ (
            h * (fraction * phi[0] * self._slope + b3 * third + b4 * fourth)
        )
