"""Moments of fourth order, E[f_i'(h_i) f_k'(h_k) e_i e_k] with e_i = sum_a S_ia f_a(h_a), and their
derivatives.

They are the covariance of the single-sample gradients in the space of pre-activations, and enter
the dynamics of online learning at second order in the learning rate. Two evaluators share one
interface, :class:`FourthMoments`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...errors import MethodError, SingularMomentError
from ...integrals.fourth.rows import closed_form_applies, jumps, make_rows
from ...networks.low_discrepancy import sobol_normals
from . import fourth_kernels as kernels

#: Independent shares of the samples; their scatter is the standard error.
BATCHES = 16
#: Width of the kernel that smoothes jumps of f' in samples, in standard deviations.
SMOOTHING = 0.03
_NEXT_TO = 1e-9  # distance from a kink at which f' is taken to find its jump


class FourthOrder(NamedTuple):
    """What an evaluator returns for K students among n neurons.

    Attributes
    ----------
    value : (K, K) array
        A_ik = E[f_i' f_k' e_i e_k].
    projected : (K, K, n) array
        E[f_i' f_k' f_a e_k], the derivative of A_ik in S_ia at constant S_k.
    slope : (K, K, n, n) array or None
        Derivative of A_ik in the covariance C_uv = C_vu for u <= v; entries with u > v are 0.
    standard_error : (K, K) array
        Of the value; 0 for closed forms.
    """

    value: Array
    projected: Array
    slope: Array | None
    standard_error: Array


class FourthMoments(Protocol):
    """An evaluator for given activations of the students and of all neurons."""

    name: str

    def __call__(self, C: Array, S: Array, derivative: bool) -> FourthOrder:
        """Moments at covariance C (n, n) and products S (K, n) of the output vectors."""


# --------------------------------------------------------------------------------------------------
# closed forms


class ClosedFourthMoments:
    """Closed forms for polynomials plus (smoothed) ramps: identity, relu, leaky_relu, abs, erf,
    normal_cdf, gelu.

    Every product f_i' f_k' f_a f_b is a sum of products of at most four ramps, steps, delta
    functions and powers. For erf these are the formulas of Saad and Solla (1995); for relu
    four-dimensional orthant probabilities come in, one-dimensional integrals by 79 nodes. Errors
    are of order 1e-16; where neurons with kinks become linearly dependent (parallel, say) up to a
    part of relative size s, they grow to about 1e-17/s^2: 1e-11 at s = 1e-3.
    """

    name = "closed"

    def __init__(self, activations: Sequence[Activation], students: int) -> None:
        if not closed_form_applies(activations, students):
            raise MethodError(
                "The fourth moments have closed forms for polynomials and atoms without jumps "
                "(identity, relu, "
                "leaky_relu, abs, erf, normal_cdf, gelu); use fourth_moments='sampling' for others."
            )
        self.students = students
        self.kinked = [
            any(atom.width == 0.0 for atom in activation.atoms) for activation in activations
        ]
        n = len(activations)
        i, k = np.triu_indices(students)
        a, b = np.triu_indices(n)
        quadruples = np.column_stack(
            [np.repeat(i, len(a)), np.repeat(k, len(a)), np.tile(a, len(i)), np.tile(b, len(i))]
        )
        rows = make_rows(activations, quadruples, (True, True, False, False))
        self._rows = (*rows[:5], np.ascontiguousarray(quadruples[rows.quadruple]))

    def __call__(self, C: Array, S: Array, derivative: bool) -> FourthOrder:
        """Moments at covariance C (n, n) and products S (K, n)."""
        K, n = S.shape
        singular = [u for u in range(n) if self.kinked[u] and not C[u, u] > 0.0]
        if singular:
            raise SingularMomentError(
                f"neuron {singular[0]} (students first) has the variance "
                f"{C[singular[0], singular[0]]:g}, where its kink "
                "makes moments discontinuous; start from weights that are not zero."
            )
        projected = np.zeros((K, K, n))
        slope = np.zeros((K, K, n, n) if derivative else (0, 0, 0, 0))
        coefficient, count, code, unit, width2, quadruple = self._rows
        kernels.closed_sums(
            coefficient, count, code, unit, width2, quadruple, C, S, derivative, projected, slope
        )
        if derivative:
            _mirror(slope)
        value = _symmetric(np.einsum("ia,ika->ik", S, projected))
        return FourthOrder(value, projected, slope if derivative else None, np.zeros((K, K)))


def _symmetric(value: Array) -> Array:
    return (value + value.T) / 2


def _mirror(slope: Array) -> None:
    """Fill the entries (k, i), k > i, of a tensor that is symmetric in its first two indices."""
    for i in range(len(slope)):
        for k in range(i):
            slope[i, k] = slope[k, i]


# --------------------------------------------------------------------------------------------------
# sampling


class SampledFourthMoments:
    """Averages over evenly spread pre-activations: any activation with a first derivative (and a
    second, for the Jacobian).

    The same standard normal z, fixed by ``rng``, serve all evaluations and all quadruples, with
    h = L z and C = L L', teachers first in the Cholesky factor. Each of the 16 batches is a Sobol
    sequence with a scrambling of its own, has exactly the second moments of a normal distribution,
    and contains z with all signs of student and teacher parts. The scatter of the batches is the
    error; with 100,000 samples it is 4 to 18 times smaller than that of random numbers.

    Jumps of f' and f'^2 (relu, selu) are smoothed over 3 % of the standard deviation of h, which
    changes the moments by about 0.1 % (nearly parallel students: 1 %) and makes the sampled
    equations as smooth as solvers need them; ``slope`` is their exact derivative (in covariances
    with students: those among teachers do not change, and jumps of teachers would be missed there).

    Parameters
    ----------
    activations : sequence of Activation
        Students first.
    students : int
    samples : int
        64 times a power of two is taken, the nearest.
    rng : numpy.random.Generator
    """

    name = "sampling"

    def __init__(
        self,
        activations: Sequence[Activation],
        students: int,
        samples: int,
        rng: np.random.Generator,
    ) -> None:
        for activation in activations[:students]:
            if jumps(activation):
                raise SingularMomentError(
                    f"{activation.name} jumps: the variance of the gradients is infinite and "
                    "there is no online learning "
                    "with it. Use a continuous activation, e.g. erf or relu."
                )
        self.activations = list(activations)
        self.students = students
        n = len(self.activations)
        least = max(samples / (4 * BATCHES), n)
        share = 2 ** math.ceil(math.log2(least) - 0.5)  # the power of two next to it
        share = share if share >= n else 2 * share
        self.samples = 4 * BATCHES * share
        self._jumps = [_slope_jumps(activation) for activation in self.activations[:students]]
        self._z = [_whitened(n, share, students, each) for each in rng.spawn(BATCHES)]

    def __call__(self, C: Array, S: Array, derivative: bool) -> FourthOrder:
        """Moments at covariance C (n, n) and products S (K, n)."""
        K, n = S.shape
        L = _factor(C, K)
        shape = (BATCHES, K, K, n)
        projected = np.zeros(shape)
        matrices = np.zeros((*shape, n))
        explicit = np.zeros(shape)
        for batch, z in enumerate(self._z):
            F = self._jets(L @ z, np.diagonal(C), derivative)
            kernels.sample_sums(
                F, z, S, derivative, projected[batch], matrices[batch], explicit[batch]
            )
        values = np.einsum("ia,bika->bik", S, projected)
        error = values.std(axis=0, ddof=1) / math.sqrt(BATCHES)
        slope = None
        if derivative:
            slope = _pull_back(L, matrices.mean(axis=0), K)
            slope[..., np.arange(n), np.arange(n)] += explicit.mean(axis=0)
            _mirror(slope)
        return FourthOrder(_symmetric(values.mean(axis=0)), projected.mean(axis=0), slope, error)

    def _jets(self, h: Array, variances: Array, derivative: bool) -> Array:
        """Functions of all neurons, (8, n, N), as ``sample_sums`` wants them."""
        F = np.empty((8, *h.shape))
        for activation in dict.fromkeys(self.activations):
            rows = [u for u, other in enumerate(self.activations) if other == activation]
            out = np.empty((2 + derivative, len(rows), h.shape[1]))
            activation.jet(np.ascontiguousarray(h[rows]), out)
            F[:2, rows] = out[:2]
            second = out[-1]
            F[kernels.FACTOR, rows] = out[1]
            F[kernels.SQUARE, rows] = out[1] ** 2
            if derivative:
                F[kernels.FACTOR_H, rows] = second
                F[kernels.SQUARE_H, rows] = 2.0 * out[1] * second
        F[[kernels.FACTOR_C, kernels.SQUARE_C]] = 0.0
        for u, jumps_of_u in enumerate(self._jumps):
            for place, left, right in jumps_of_u:
                x = h[u] - place
                scale = math.sqrt(variances[u])
                _smooth_jump(
                    F[kernels.FACTOR : kernels.SQUARE, u], x, right - left, scale, derivative
                )
                _smooth_jump(F[kernels.SQUARE :, u], x, right**2 - left**2, scale, derivative)
        return F


def _smooth_jump(F: Array, x: Array, height: float, scale: float, derivative: bool) -> None:
    """Replace ``height * step(x)`` in F[0] by its convolution with the kernel (3 - y^2) phi(y) / 2,
    y = x / width.

    The kernel has no second moment; its width is the standard deviation ``scale`` times
    ``SMOOTHING``. F[1] and F[2] receive the derivatives in x, and in scale^2 at constant x.
    """
    width = SMOOTHING * scale
    if width == 0.0:
        return
    from scipy.special import ndtr

    y = x / width
    density = np.exp(-0.5 * y * y) / math.sqrt(2.0 * math.pi)
    F[0] += height * (ndtr(y) + 0.5 * y * density - (y > 0.0))
    if derivative:
        kernel = 0.5 * (3.0 - y * y) * density
        F[1] += height * kernel / width
        F[2] -= height * kernel * y / (2.0 * scale**2)


def _slope_jumps(activation: Activation) -> list[tuple[float, float, float]]:
    """Places of the jumps of f', and f' on their left and right."""
    found = []
    for kink in activation.kinks:
        left, right = activation.derivative([kink - _NEXT_TO, kink + _NEXT_TO], 1)
        if abs(right - left) > 1e-6:
            found.append((kink, float(left), float(right)))
    return found


def _whitened(n: int, share: int, students: int, rng: np.random.Generator) -> Array:
    """Standard normal z (n, 4 share): all signs of the parts of students and of teachers, second
    moments exactly 1.
    """
    z = np.ascontiguousarray(sobol_normals(share, n, rng).T)
    signs = np.ones((n, 4))
    signs[:students, 1] = signs[students:, 2] = signs[:, 3] = -1.0
    z = (z[:, :, None] * signs[:, None, :]).reshape(n, 4 * share)
    root = np.linalg.cholesky(z @ z.T / z.shape[1])
    return np.linalg.solve(root, z)


def _order(n: int, students: int) -> NDArray[np.int64]:
    """Teachers, then students: as students converge to teachers, only their own small parts are
    divided by.
    """
    return np.r_[students:n, 0:students]


def _factor(C: Array, students: int) -> Array:
    """L (n, n) with L L' = C, lower triangular in the order of ``_order``; zero columns where C is
    singular.
    """
    order = _order(len(C), students)
    A = C[np.ix_(order, order)].copy()
    n = len(A)
    R = np.zeros((n, n))
    for j in range(n):
        pivot = A[j, j] - R[j, :j] @ R[j, :j]
        if pivot > 1e-14 * C[order[j], order[j]]:
            R[j, j] = math.sqrt(pivot)
            R[j + 1 :, j] = (A[j + 1 :, j] - R[j + 1 :, :j] @ R[j, :j]) / R[j, j]
    L = np.zeros((n, n))
    L[np.ix_(order, order)] = R
    return L


def _pull_back(L: Array, matrices: Array, students: int) -> Array:
    """Derivative in C_uv, u <= v, from that in L: dL = L low(L^-1 dC L^-T), low = lower triangle
    with half the diagonal.

    Directions in which C is singular are left out.
    """
    n = len(L)
    order = _order(n, students)
    R = L[np.ix_(order, order)]
    regular = np.diagonal(R) > 0.0
    inverse = np.zeros((n, n))
    inverse[np.ix_(regular, regular)] = np.linalg.inv(R[np.ix_(regular, regular)])
    G = matrices[..., order, :][..., :, order]
    low = np.tril(np.swapaxes(R, 0, 1) @ G)
    low[..., np.arange(n), np.arange(n)] *= 0.5
    in_C = inverse.T @ low @ inverse  # gradient in C without regard to its symmetry
    back = np.empty_like(in_C)
    back[..., order[:, None], order[None, :]] = in_C
    slope = np.triu(back + np.swapaxes(back, -1, -2))
    slope[..., np.arange(n), np.arange(n)] *= 0.5
    return slope
