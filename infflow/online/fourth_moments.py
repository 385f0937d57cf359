"""Moments of fourth order, E[f_i'(h_i) f_k'(h_k) e_i e_k] with e_i = sum_a S_ia f_a(h_a), and their
derivatives.

They are the covariance of the single-sample gradients in the space of pre-activations, and enter
the dynamics of online learning at second order in the learning rate. Two evaluators share one
interface, :class:`FourthMoments`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement, product
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation
from ..errors import MethodError, SingularMomentError, TooLargeError
from . import fourth_kernels as kernels
from .orthant_kernels import POWER

#: More products than this would take seconds per evaluation.
MAX_ROWS = 2_000_000
#: Mixtures of more atoms (sigmoid, tanh, softplus, silu) would make this number to the fourth
#: power of products.
MAX_ATOMS = 3
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


class _Factor(NamedTuple):
    """coefficient * x^power, or coefficient * rho^(order)(x; width) of ``orthant_kernels``."""

    coefficient: float
    code: int
    width2: float


def _factors(activation: Activation, derivative: bool) -> list[_Factor]:
    """The terms of f or f'."""
    c = np.asarray(activation.polynomial, dtype=float)
    if derivative and len(c):
        c = np.polynomial.polynomial.polyder(c)
    terms = [_Factor(float(value), POWER + m, 0.0) for m, value in enumerate(c) if value != 0.0]
    return terms + [
        _Factor(a.weight, a.order + derivative, float(a.width) ** 2) for a in activation.atoms
    ]


class _Row(NamedTuple):
    coefficient: float
    variables: list[tuple[int, int, float]]
    """(code, neuron, squared width) of at most four variables."""


def _merge(neurons: Sequence[int], factors: Sequence[_Factor]) -> _Row:
    """Product of four factors as one term: powers and unsmoothed ramps of one neuron are one
    function of one variable.
    """
    coefficient = math.prod(factor.coefficient for factor in factors)
    variables = [
        (f.code, u, f.width2) for u, f in zip(neurons, factors, strict=True) if f.width2 > 0.0
    ]
    for u in dict.fromkeys(neurons):
        sharp = [
            f.code for v, f in zip(neurons, factors, strict=True) if v == u and f.width2 == 0.0
        ]
        powers = [c - POWER for c in sharp if c >= POWER]
        ramps = [c for c in sharp if c < POWER]
        degree = sum(powers) + sum(1 - c for c in ramps)
        if ramps:
            coefficient *= math.factorial(degree) / math.prod(math.factorial(1 - c) for c in ramps)
            variables.append((1 - degree, u, 0.0))
        elif degree > 0:
            variables.append((POWER + degree, u, 0.0))
    return _Row(coefficient, variables)


def closed_form_applies(activations: Sequence[Activation], students: int) -> bool:
    """Whether all neurons are polynomials plus a few ramps and steps, and the students have no
    jumps.
    """
    for index, activation in enumerate(activations):
        if not activation.has_closed_form or len(activation.atoms) > MAX_ATOMS:
            return False
        if any(a.width == 0.0 and a.order > 1 for a in activation.atoms):
            return False
        if index < students and jumps(activation):
            return False
    return True


def jumps(activation: Activation) -> bool:
    """Whether the closed form of f contains an unsmoothed step: then E f'^2 is infinite."""
    return any(a.width == 0.0 and a.order >= 1 for a in activation.atoms)


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
        f, df = ([_factors(a, derivative) for a in activations] for derivative in (False, True))
        rows: list[_Row] = []
        quadruples: list[tuple[int, int, int, int]] = []
        pairs = list(combinations_with_replacement(range(len(activations)), 2))
        for i, k in combinations_with_replacement(range(students), 2):
            for a, b in pairs:
                for factors in product(df[i], df[k], f[a], f[b]):
                    rows.append(_merge((i, k, a, b), factors))
                    quadruples.append((i, k, a, b))
                if len(rows) > MAX_ROWS:
                    raise TooLargeError(
                        f"{students} students and {len(activations) - students} teachers need "
                        f"more than {MAX_ROWS} fourth moments; use fourth_moments='sampling'."
                    )
        self._rows = _pack(rows, quadruples)

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


def _pack(rows: list[_Row], quadruples: list[tuple[int, int, int, int]]) -> tuple[Any, ...]:
    """Flat arrays for ``closed_sums``."""
    count = np.array([len(row.variables) for row in rows], dtype=np.int64)
    code, unit, width2 = (
        np.zeros((len(rows), 4), dtype) for dtype in (np.int64, np.int64, np.float64)
    )
    for index, row in enumerate(rows):
        for slot, variable in enumerate(row.variables):
            code[index, slot], unit[index, slot], width2[index, slot] = variable
    coefficient = np.array([row.coefficient for row in rows])
    return (
        coefficient,
        count,
        code,
        unit,
        width2,
        np.array(quadruples, dtype=np.int64).reshape(-1, 4),
    )


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
    """Averages over random pre-activations: any activation with a first derivative (and a second,
    for the Jacobian).

    Common random numbers: the same standard normal z, fixed by ``rng``, serve all evaluations, with
    h = L z and C = L L', teachers first in the Cholesky factor. Each of the 16 batches has exactly
    the second moments of a normal distribution and contains z with all signs of student and teacher
    parts. Jumps of f' and f'^2 (relu, selu) are smoothed over 3 % of the standard deviation of h,
    which changes the moments by about 0.1 % (nearly parallel students: 1 %) and makes the sampled
    equations as smooth as solvers need them; ``slope`` is their exact derivative (in covariances
    with students: those among teachers do not change, and jumps of teachers would be missed there).

    Parameters
    ----------
    activations : sequence of Activation
        Students first.
    students : int
    samples : int
        Rounded up to a multiple of 64.
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
        share = max(-(-samples // (4 * BATCHES)), n)
        self.samples = 4 * BATCHES * share
        self._jumps = [_slope_jumps(activation) for activation in self.activations[:students]]
        self._z = [_whitened(n, share, students, rng) for _ in range(BATCHES)]

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
    z = rng.standard_normal((n, share))
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
