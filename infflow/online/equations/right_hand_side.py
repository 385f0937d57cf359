r"""The differential equations of the order parameters.

Neurons are counted students first, then those of the teacher with negative output vectors, as in
``networks.infinite``. For every group g of eigenvalues lambda_g of the covariance of the input,
with the share s_g of the dimensions, Q^g = W P_g W' and R^g = W P_g V' are overlaps; Y^g_am is that
of neuron a with student or direction m, C = sum_g lambda_g Y^g the covariance of the
pre-activations, B the output vectors, S = B B'. With the rates eta_i, eta_v of the squared error
(no factor 1/2), batches of b samples, t = steps / D, and all expectations over the pre-activations,

    Z^g_im    = sum_a S_ia E[f_i' f_a x P_g v_m] / lambda_g
              = sum_a S_ia (I_ia(2,0) Y^g_im + I_ia(1,1) Y^g_am)
    dR^g_im/dt = -2 eta_i lambda_g Z^g_im - eta_i ridge R^g_im
    dQ^g_ik/dt = -2 lambda_g (eta_i Z^g_ik + eta_k Z^g_ki) - (eta_i + eta_k) ridge Q^g_ik
                 + 4 eta_i eta_k (lambda_g s_g / b) (A_ik + noise^2 (B_i.B_k) E[f_i' f_k'])
    dB_io/dt  = -2 eta_v sum_a B_ao E[f_i f_a] - eta_v ridge B_io
    A_ik      = E[f_i' f_k' e_i e_k],   e_i = sum_a S_ia f_a

(Saad and Solla, Phys. Rev. E 52, 4225, 1995; Goldt et al., NeurIPS 2019, where eta = 2 eta_i;
Yoshida and Okada, NeurIPS 2019, for groups.) The correlation loss has S_ia = 0 for students a.
Noise of the students' pre-activations of size s adds s^2 to C_ii. On a sphere all students keep
their lengths:

    dR_im = r_im - R_im q_ii / (2 N_i),     dQ_ij = q_ij - Q_ij (q_ii / N_i + q_jj / N_j) / 2,

where r and q are the right-hand sides above, q_ii and N_i = Q_ii sums over groups. The Jacobian is
that of ``jacobian.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._validation import Array
from ...activations import Activation
from ...integrals.jets import J00, J11, J20
from ...integrals.terms import pair_evaluator
from ..rates import Rates
from ..spectrum import Groups
from ..state import Coordinates, OrderState
from ..targets import Target
from .cone import PULL, Cone, inside_cone
from .fourth_moments import FourthMoments
from .jacobian import Jacobian
from .point import Point, pair_arguments, slopes


@dataclass(frozen=True)
class Model:
    """What the equations are about, all of it constant in time.

    Attributes
    ----------
    students : list of Activation
    target : Target
        The teacher's neurons and directions.
    groups : Groups
        Eigenvalues of the input and their shares.
    T : (G, M, M) array
        Overlaps of the teacher's directions in each group.
    fourth : FourthMoments or None
        None where the first layer does not move.
    correlation : bool
        Whether pairs of students are left out of the loss.
    sphere : bool
        Whether students keep their lengths.
    input_noise : float
        Standard deviation of noise on the students' pre-activations.
    batch_size : int
    method, rtol
        How the integrals of pairs are evaluated: see
        :class:`~infflow.integrals.choice.Choice`.
    """

    students: list[Activation]
    target: Target
    groups: Groups
    T: Array
    fourth: FourthMoments | None
    correlation: bool = False
    sphere: bool = False
    input_noise: float = 0.0
    batch_size: int = 1
    method: str = "auto"
    rtol: float = 1e-10


class Equations:
    """Right-hand side and Jacobian for one model.

    Parameters
    ----------
    model : Model
    rates : Rates
        Those of the present time; whoever integrates a schedule sets the attribute ``rates``.
    """

    def __init__(self, model: Model, rates: Rates) -> None:
        K = len(model.students)
        (m, O) = model.target.output.shape
        M = model.target.U.shape[1]
        G = len(model.groups.eigenvalues)
        self.model = model
        self.rates = rates
        self.coordinates = Coordinates(K, M, O, G)
        self.K = K
        self.n = K + m
        self.evaluations = self.jacobians = 0
        self.eigenvalues = model.groups.eigenvalues
        #: share of the noise term in each group
        self.noise_shares = self.eigenvalues * model.groups.shares / model.batch_size
        self._kinked = any(activation.kinks for activation in model.students)
        self._i, self._j = (x.ravel() for x in np.indices((K, self.n)))
        neurons = [*model.students, *model.target.activations]
        self._pairs = pair_evaluator(neurons, self._i, self._j, model.method, model.rtol)
        self._teacher = self._teacher_square()

    def _teacher_square(self) -> Array:
        """E y_o^2 (O,) of the teacher."""
        model = self.model
        m = self.n - self.K
        U = model.target.U
        output = model.target.output
        k, l = np.triu_indices(m)
        T = np.einsum("g,gij->ij", self.eigenvalues, model.T)
        pairs = pair_evaluator(model.target.activations, k, l, model.method, model.rtol)
        moments = pairs(pair_arguments(U @ T @ U.T, k, l), 0)[:, 0]
        twice = np.where(k == l, 1.0, 2.0)
        found: Array = (output[k] * output[l]).T @ (twice * moments)
        return found

    # ------------------------------------------------------------------------------------ one point

    def overlaps(self, state: OrderState) -> Array:
        """Y (G, n, K + M): overlaps of all neurons with students and directions."""
        U, K = self.model.target.U, self.K
        Y = np.empty((len(state.Q), self.n, K + self.coordinates.M))
        Y[:, :K, :K] = state.Q
        Y[:, :K, K:] = state.R
        Y[:, K:, :K] = U @ state.R.transpose(0, 2, 1)
        Y[:, K:, K:] = U @ self.model.T
        return Y

    def covariance(self, Y: Array) -> Array:
        """C (n, n) of the pre-activations, without input noise."""
        K = self.K
        mean = np.einsum("g,gam->am", self.eigenvalues, Y)
        C = np.empty((self.n, self.n))
        C[:, :K] = mean[:, :K]
        C[:, K:] = mean[:, K:] @ self.model.target.U.T
        return C

    def point(self, z: Array, order: int, clean: bool = False) -> Point:
        """Overlaps and jets at z; ``clean`` leaves input noise and weights of outputs out."""
        state = self.coordinates.grouped(z)
        K = self.K
        Y = self.overlaps(state)
        C = self.covariance(Y)
        if not clean:
            C[np.arange(K), np.arange(K)] += self.model.input_noise**2
        B = np.vstack([state.v.T, -self.model.target.output])
        weights = np.ones(B.shape[1]) if clean else self.rates.outputs
        S = (B[:K] * weights) @ B.T
        own = (B[:K] * weights**2) @ B[:K].T
        if self.model.correlation and not clean:
            S[:, :K] = 0.0
        jets = self._pairs(pair_arguments(C, self._i, self._j), order).reshape(K, self.n, -1)
        return Point(state, Y, C, B, S, own, jets)

    def output_errors(self, z: Array) -> Array:
        """E (student - teacher)_o^2 (O,) without noise; never less than the rounding error of the
        sum that it is.
        """
        at = self.point(z, 0, clean=True)
        K = self.K
        twice = np.r_[np.ones(K), np.full(self.n - K, 2.0)]
        terms = np.einsum("io,ao,ia->oia", at.B[:K], at.B, at.jets[..., J00] * twice)
        size = np.abs(terms).sum(axis=(1, 2)) + self._teacher
        found: Array = np.maximum(
            terms.sum(axis=(1, 2)) + self._teacher, np.finfo(np.float64).eps * size
        )
        return found

    def error(self, z: Array) -> float:
        """E |student - teacher|^2 without noise."""
        return float(self.output_errors(z).sum())

    def fourth_error(self, z: Array) -> float:
        """Standard error of dQ/dt from sampling, the largest entry; 0 for closed forms."""
        if self.model.fourth is None:
            return 0.0
        at = self.point(z, 0)
        error = self.model.fourth(at.C, at.S, False).standard_error
        w = self.rates.w
        return 4.0 * float(self.noise_shares.max() * (np.outer(w, w) * error).max())

    # ----------------------------------------------------------------------------------------- cone

    def _cones(self, z: Array) -> list[Cone | None] | None:
        """Overlaps of each group inside the cone, where the covariance of kinked neurons is not."""
        if not self._kinked:
            return None
        X = self.gram(self.coordinates.grouped(z))
        if inside_cone(np.einsum("g,gij->ij", self.eigenvalues, X)) is None:
            return None
        return [inside_cone(x) for x in X]

    def gram(self, state: OrderState) -> Array:
        """((Q, R), (R', T)) of every group, (G, K + M, K + M)."""
        K = self.K
        X = np.empty((len(state.Q), K + self.coordinates.M, K + self.coordinates.M))
        X[:, :K, :K] = state.Q
        X[:, :K, K:] = state.R
        X[:, K:, :K] = state.R.transpose(0, 2, 1)
        X[:, K:, K:] = self.model.T
        return X

    def _moved(self, z: Array, cones: list[Cone | None]) -> Array:
        """The variables with Q and R of the groups taken from the cones."""
        state = self.coordinates.grouped(z)
        K = self.K
        for g, cone in enumerate(cones):
            if cone is not None:
                state.Q[g] = cone.C[:K, :K]
                state.R[g] = cone.C[:K, K:]
        return self.coordinates.pack(state)

    # ------------------------------------------------------------------------------ right-hand side

    def value(self, z: Array) -> Array:
        """dz/dt (size,) at z (size,).

        With kinked students and a covariance outside of the cone (see ``cone.py``) it is that of
        the nearest point inside, plus a pull towards that point.
        """
        self.evaluations += 1
        cones = self._cones(z)
        if cones is None:
            return self._inner_value(z)
        inside = self._moved(z, cones)
        return self._inner_value(inside) + PULL * self.rates.w.max() * (inside - z)

    def _inner_value(self, z: Array) -> Array:
        at = self.point(z, 1)
        q, r, v = self.unconstrained(at)
        if self.model.sphere:
            q, r = self._on_sphere(at.state, q, r)
        return self.coordinates.pack(OrderState(q, r, v))

    def drift(self, at: Point) -> Array:
        """Z (G, K, K + M)."""
        own = (at.S * at.jets[..., J20]).sum(axis=1)
        found: Array = own[:, None] * at.Y[:, : self.K] + (at.S * at.jets[..., J11]) @ at.Y
        return found

    def unconstrained(self, at: Point) -> tuple[Array, Array, Array]:
        """Right-hand sides of Q, R (with groups) and v, without the sphere."""
        w, eta_v, noise, ridge, outputs = self.rates
        K = self.K
        q = np.zeros_like(at.state.Q)
        r = np.zeros_like(at.state.R)
        if w.any():
            pulled = -2.0 * self.eigenvalues[:, None, None] * w[:, None] * self.drift(at)
            q = pulled[..., :K] + pulled[..., :K].transpose(0, 2, 1)
            q -= ridge * (w[:, None] + w) * at.state.Q
            r = pulled[..., K:] - ridge * w[:, None] * at.state.R
            assert self.model.fourth is not None
            spread = self.model.fourth(at.C, at.S, False).value + noise**2 * at.own * slopes(at)
            q += 4.0 * np.outer(w, w) * spread * self.noise_shares[:, None, None]
        B = at.B.copy()
        if self.model.correlation:
            B[:K] = 0.0
        v = -2.0 * eta_v[:, None] * outputs * (at.jets[..., J00] @ B)
        v -= ridge * eta_v[:, None] * at.B[:K]
        return q, r, v.T

    def _on_sphere(self, state: OrderState, q: Array, r: Array) -> tuple[Array, Array]:
        """Right-hand sides with all lengths kept."""
        shrink = np.einsum("gii->i", q) / (2.0 * np.einsum("gii->i", state.Q))
        return q - state.Q * (shrink[:, None] + shrink), r - state.R * shrink[:, None]

    def jacobian(self, z: Array) -> Array:
        """Derivative (size, size) of :meth:`value`.

        Outside of the cone the small change of T by the projection is neglected in it.
        """
        self.jacobians += 1
        cones = self._cones(z)
        if cones is None:
            return Jacobian(self, z).matrix()
        J = Jacobian(self, self._moved(z, cones)).matrix()
        return self._through_cones(J, cones)

    def _through_cones(self, J: Array, cones: list[Cone | None]) -> Array:
        where = self.coordinates
        pull = PULL * float(self.rates.w.max())
        K = self.K
        rows = np.concatenate([where.q[0], np.repeat(np.arange(K), where.M)])
        columns = np.concatenate([where.q[1], np.tile(np.arange(where.M) + K, K)])
        for g, cone in enumerate(cones):
            if cone is None:
                continue
            P = np.zeros((where.num_c, where.num_c))
            for c, (u, v) in enumerate(zip(rows, columns, strict=True)):
                E = np.zeros_like(cone.C)
                E[u, v] = E[v, u] = 1.0
                P[:, c] = cone.derivative(E)[rows, columns]
            own = slice(g * where.num_c, (g + 1) * where.num_c)
            J[:, own] = J[:, own] @ P
            J[own, own] += pull * (P - np.eye(where.num_c))
        return J
