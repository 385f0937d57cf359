r"""Scatter of single runs in D dimensions around the order parameters: van Kampen's expansion.

One step changes the order parameters z by g/D with a random g whose mean is dz/dt. To leading order
in 1/D the deviations of a run from the solution are Gaussian with the covariance Sigma/D, and

    d Sigma/dt = J Sigma + Sigma J' + B(t),

with the Jacobian J of the equations and the covariance B of g (van Kampen, Stochastic Processes in
Physics and Chemistry, chapter X; Heskes and Kappen, Phys. Rev. A 44, 2718, 1991, for learning).
With phi_i = (a_i.e) f_i', a batch of one sample x, and h^g = P_g x projected on weights,

    g(R^g_im) = -2 eta_i phi_i h^g_m,        g(v_io) = -2 eta_v e_o f_i,
    g(Q^g_ik) = -2 (eta_i phi_i h^g_k + eta_k phi_k h^g_i) + 4 eta_i eta_k phi_i phi_k lambda_g s_g,

where |P_g x|^2/D has been replaced by its mean. B is a mean over evenly spread points, at some
hundred times of the solution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..._validation import Array
from ...networks.low_discrepancy import sobol_normals
from ..equations.right_hand_side import Equations
from ..state import OrderState


class Fluctuations:
    """Order parameters and the covariance Sigma of their deviations as one system.

    Parameters
    ----------
    equations : Equations
    samples : int
        Number of points for B, a power of two.
    rng : numpy.random.Generator
        One seed gives one smooth system.
    """

    def __init__(self, equations: Equations, samples: int, rng: np.random.Generator) -> None:
        self.equations = equations
        where = equations.coordinates
        model = equations.model
        self.n = where.size
        self.upper = np.triu_indices(self.n)
        self.size = self.n + len(self.upper[0])
        targets = where.K + where.M
        self._own_noise = where.K if model.input_noise else 0
        total = where.G * targets + where.O + self._own_noise
        z = sobol_normals(samples, total, rng).T
        cuts = np.cumsum([where.G * targets, where.O])
        overlaps, labels, students = np.split(z, cuts)
        self._overlaps = overlaps.reshape(where.G, targets, samples)
        self._labels = labels
        self._students = students
        self._t = 0.0
        self._times, self._along = np.zeros(1), np.zeros((1, self.n, self.n))

    def prepare(self, times: Array, points: Array, set_time: Callable[[float], None]) -> None:
        """Find B at points (T, n) of the solution; in between it is interpolated.

        B of kinked neurons is a sum over points that jump when one crosses a kink, which would
        stop a solver that looks closely.
        """
        self._times = times
        self._along = np.empty((len(times), self.n, self.n))
        for k, (t, z) in enumerate(zip(times, points, strict=True)):
            set_time(float(t))
            self._along[k] = self.step_covariance(z)

    def set_time(self, t: float) -> None:
        """Say at which time the next evaluation is."""
        self._t = t

    def _noise(self) -> Array:
        """B at the present time."""
        k = int(np.searchsorted(self._times, self._t, side="right"))
        if k == 0 or k == len(self._times):
            return self._along[max(k - 1, 0)]
        part = (self._t - self._times[k - 1]) / (self._times[k] - self._times[k - 1])
        found: Array = (1.0 - part) * self._along[k - 1] + part * self._along[k]
        return found

    # ---------------------------------------------------------------------------------- the system

    def start(self, z: Array) -> Array:
        """Variables (size,) of a state without scatter."""
        return np.concatenate([z, np.zeros(self.size - self.n)])

    def covariance(self, y: Array) -> Array:
        """Sigma (..., n, n)."""
        Sigma = np.zeros((*y.shape[:-1], self.n, self.n))
        Sigma[..., self.upper[0], self.upper[1]] = y[..., self.n :]
        Sigma[..., self.upper[1], self.upper[0]] = y[..., self.n :]
        return Sigma

    def value(self, y: Array) -> Array:
        """Right-hand side (size,)."""
        z = y[: self.n]
        JS = self.equations.jacobian(z) @ self.covariance(y)
        change = JS + JS.T + self._noise()
        return np.concatenate([self.equations.value(z), change[self.upper]])

    def jacobian(self, y: Array) -> Array:
        """Its derivative, without that of J and B in z: solvers need no more."""
        J = self.equations.jacobian(y[: self.n])
        out = np.zeros((self.size, self.size))
        out[: self.n, : self.n] = J
        i, k = self.upper
        place = np.empty((self.n, self.n), dtype=np.int64)
        place[i, k] = place[k, i] = np.arange(len(i))
        block = np.zeros((len(i), len(i)))
        rows = np.arange(len(i))
        for m in range(self.n):
            np.add.at(block, (rows, place[m, k]), J[i, m])
            np.add.at(block, (rows, place[i, m]), J[k, m])
        out[self.n :, self.n :] = block
        return out

    def error(self, y: Array) -> float:
        """Generalization error of the mean."""
        return self.equations.error(y[: self.n])

    # -------------------------------------------------------------------------------- single steps

    def step_covariance(self, z: Array) -> Array:
        """B (n, n): covariance of the change of one step, times the square of the dimension."""
        g = self.changes(z)
        g = g - g.mean(axis=1, keepdims=True)
        found: Array = g @ g.T / (g.shape[1] * self.equations.model.batch_size)
        return found

    def changes(self, z: Array) -> Array:
        """G (n, samples) of single samples, without ridge, which does not scatter."""
        equations = self.equations
        model = equations.model
        rates = equations.rates
        where = equations.coordinates
        state = where.grouped(z)
        K = where.K
        h = self._projections(state)
        f, df, e = self._residuals(h.sum(axis=0), state.v)
        phi = rates.w[:, None] * ((state.v.T * rates.outputs) @ e) * df
        R = -2.0 * phi[:, None] * h[:, None, K:]
        linear = -2.0 * phi[:, None] * h[:, None, :K]
        square = 4.0 * phi[:, None] * phi / model.batch_size
        shares = equations.eigenvalues * model.groups.shares
        Q = linear + linear.transpose(0, 2, 1, 3) + shares[:, None, None, None] * square
        if model.sphere:
            lengths = np.einsum("gii->i", state.Q)
            shrink = np.einsum("giin->in", Q) / (2.0 * lengths[:, None])
            Q = Q - state.Q[..., None] * (shrink[:, None] + shrink)
            R = R - state.R[..., None] * shrink[:, None]
        v = -2.0 * rates.v[:, None] * (rates.outputs[:, None] * e)[:, None] * f[:K]
        i, k = where.q
        samples = h.shape[-1]
        grouped = [Q[:, i, k], R.reshape(where.G, -1, samples)]
        return np.concatenate(
            [np.concatenate(grouped, axis=1).reshape(-1, samples), v.reshape(-1, samples)]
        )

    def _projections(self, state: OrderState) -> Array:
        """h^g (G, K + M, samples) on students and directions of the teacher."""
        X = self.equations.gram(state)
        values, vectors = np.linalg.eigh(self.equations.eigenvalues[:, None, None] * X)
        roots = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None]) @ vectors.transpose(0, 2, 1)
        found: Array = roots @ self._overlaps
        return found

    def _residuals(self, h: Array, v: Array) -> tuple[Array, Array, Array]:
        """F (K, samples), f' (K, samples) and e (O, samples)."""
        equations = self.equations
        model = equations.model
        K = equations.K
        students = h[:K]
        if self._own_noise:
            students = students + model.input_noise * self._students
        f = np.empty_like(students)
        df = np.empty_like(students)
        for i, activation in enumerate(model.students):
            jet = np.empty((2, h.shape[1]))
            activation.jet(np.ascontiguousarray(students[i]), jet)
            f[i], df[i] = jet
        y = equations.rates.noise * self._labels
        pre = model.target.U @ h[K:]
        for activation, row, output in zip(
            model.target.activations, pre, model.target.output, strict=True
        ):
            jet = np.empty((1, h.shape[1]))
            activation.jet(np.ascontiguousarray(row), jet)
            y = y + output[:, None] * jet[0]
        return f, df, (0.0 if model.correlation else v @ f) - y


class Deviations(NamedTuple):
    """Standard deviations at T times: of covariances Q and R, of the variables with groups, of the
    errors of the outputs (T, O) and of their sum (T,).
    """

    Q: Array
    R: Array
    grouped: OrderState
    outputs: Array
    error: Array


def deviations(fluctuations: Fluctuations, y: Array, D: int) -> Deviations:
    """Standard deviations of single runs in D dimensions, from variables y (T, size)."""
    where = fluctuations.equations.coordinates
    Sigma = fluctuations.covariance(y) / D
    spread = np.sqrt(np.maximum(np.einsum("tii->ti", Sigma), 0.0))
    outputs = np.zeros((len(y), where.O))
    error = np.zeros(len(y))
    for t, point in enumerate(y):
        slope = _slopes(fluctuations, point[: fluctuations.n])
        inner = slope @ Sigma[t] @ slope.T
        outputs[t] = np.sqrt(np.maximum(np.diagonal(inner), 0.0))
        error[t] = np.sqrt(max(float(inner.sum()), 0.0))
    weights = fluctuations.equations.eigenvalues
    C = where.first_v
    blocks = Sigma[:, :C, :C].reshape(len(y), where.G, where.num_c, where.G, where.num_c)
    total = np.sqrt(np.maximum(np.einsum("g,tgchc,h->tc", weights, blocks, weights), 0.0))
    return Deviations(
        total[:, where.index_q], total[:, where.index_r], where.grouped(spread), outputs, error
    )


def _slopes(fluctuations: Fluctuations, z: Array, h: float = 1e-5) -> Array:
    """Derivatives (O, n) of the errors of the outputs, by differences."""
    error = fluctuations.equations.output_errors
    size = h * np.maximum(1.0, np.abs(z))
    columns = []
    for step, e in zip(size, np.eye(len(z)), strict=True):
        columns.append((error(z + step * e) - error(z - step * e)) / (2.0 * step))
    return np.array(columns).T
