"""The smooth pieces of a loss on finite data whose neurons have kinks.

A neuron of slopes ``below`` and ``above`` its kink at 0 is linear on either side, and sample n lies
on its kink where h_in = w_i.x_n + b_i = 0: a hyperplane of the parameters. Between all of these
planes the loss is smooth. Across one of them its gradient jumps along the normal of the plane,

    gradient above - gradient below = (above - below) dL/dz_in grad h_in,

z_in being the output of the neuron: a valley with a kink where the factor is positive, a ridge
where it is negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array
from ...activations import Activation
from ...objective import Evaluation

if TYPE_CHECKING:
    from .net import Net

Index = NDArray[np.intp]

#: values of h below this part of its terms are zero to rounding
_ROUNDING = 1e-14


def is_covered(net: Net) -> bool:
    """Whether kinks are those of homogeneous neurons of the only hidden layer."""
    return (
        len(net.layers) == 2
        and net.unit_rows is None
        and all(f.name in ("identity", "linear") for f in net.layers[1].activations)
        and any(f.has_corners for f in net.layers[0].activations)
        and all(_is_ramp(f) or not f.kinks for f in net.layers[0].activations)
    )


def _is_ramp(f: Activation) -> bool:
    """Whether f(x) = below x for x < 0, above x for x > 0."""
    return f.homogeneous and f.kinks == (0.0,) and f.has_corners


class Pieces:
    """Kinks of a net with data, one for each sample and each neuron with a kink, neuron by neuron.

    Parameters
    ----------
    net : Net
        For which :func:`is_covered`.

    Attributes
    ----------
    size : int
        Number m of kinks.
    """

    def __init__(self, net: Net) -> None:
        data = net.data
        weights = np.full(len(data.X), 1.0 / len(data.X)) if data.weights is None else data.weights
        kept = weights > 0.0
        X = data.X[kept]
        hidden, output = net.layout.blocks
        self._net = net
        self._X = np.column_stack([X, np.ones(len(X))]) if hidden.bias else X
        self._target = data.target[kept]
        self._weights = weights[kept]
        self._f = net.layers[0].activations
        self._kinked = np.array([i for i, f in enumerate(self._f) if _is_ramp(f)], dtype=np.intp)
        ramps = [self._f[i] for i in self._kinked]
        self._below = np.array([float(f.derivative(-1.0, 1)) for f in ramps])
        self._above = np.array([float(f.derivative(1.0, 1)) for f in ramps])
        every = np.arange(net.num_params)
        rows = every[hidden.weights].reshape(hidden.width, hidden.fan_in)
        self._in = np.column_stack([rows, every[hidden.biases]]) if hidden.bias else rows
        self._out = every[output.weights].reshape(output.width, output.fan_in)
        self._constant = every[output.biases]
        factors = np.ones(net.num_params) if net.factors is None else net.factors
        self._factors = factors
        self._N = len(X)
        self._samples = np.flatnonzero(kept)
        self.size = len(self._kinked) * self._N

    # ----------------------------------------------------------------------------------- the kinks

    def neuron_and_sample(self, kink: int) -> tuple[int, int]:
        """Which neuron of the hidden layer has its kink at which sample."""
        return int(self._kinked[kink // self._N]), int(self._samples[kink % self._N])

    def values(self, theta: Array) -> Array:
        """The functions h_in (m,) whose zeros are the kinks; linear in theta."""
        W = (theta * self._factors)[self._in[self._kinked]]
        found: Array = (W @ self._X.T).ravel()
        return found

    def rounding(self, theta: Array) -> Array:
        """Rounding errors (m,) of :meth:`values`."""
        W = np.abs(theta * self._factors)[self._in[self._kinked]]
        found: Array = _ROUNDING * (W @ np.abs(self._X).T).ravel()
        return found

    def normals(self, kinks: Index) -> Array:
        """Gradients (k, P) of some of these functions."""
        found = np.zeros((len(kinks), self._net.num_params))
        for row, kink in zip(found, kinks, strict=True):
            places = self._in[self._kinked[kink // self._N]]
            row[places] = self._factors[places] * self._X[kink % self._N]
        return found

    def jumps(self, theta: Array, kinks: Index) -> Array:
        """By how many normals (k,) the gradient above exceeds that below a kink, at its zero."""
        neurons, samples = np.divmod(kinks, self._N)
        phi = theta * self._factors
        Z = self._outputs(phi, self.values(theta))[0]
        slope = self._slopes(phi, Z)[1]
        A = phi[self._out][:, self._kinked[neurons]]
        found: Array = np.einsum("ok,ok->k", A, slope[:, samples])
        return found * (self._above - self._below)[neurons]

    # ---------------------------------------------------------------------------------- the pieces

    def evaluate(self, theta: Array, sides: Array, order: int) -> Evaluation:
        """The loss of one piece, smoothly continued beyond it.

        Parameters
        ----------
        theta : (P,) array
        sides : (m,) array
            1 above a kink, -1 below, 0 on it, where the slope below is taken.
        order : {0, 1, 2}
        """
        phi = theta * self._factors
        Z, slopes, bends = self._outputs(phi, sides)
        value, slope = self._slopes(phi, Z)
        penalty = self._net.regularization
        if penalty.active:
            value += penalty.value(theta)
        if order == 0:
            return Evaluation(value)
        A = phi[self._out]
        back = (slope.T @ A) * slopes.T  # (N, K) dL/dh
        gradient = np.zeros(len(theta))
        gradient[self._in] = back.T @ self._X
        gradient[self._out] = slope @ Z.T
        gradient[self._constant] = slope.sum(axis=1)[: len(self._constant)]
        gradient *= self._factors
        if penalty.active:
            gradient += penalty.gradient(theta)
        if order == 1:
            return Evaluation(value, gradient)
        hessian = self._hessian(phi, Z, slopes, bends, slope)
        hessian *= self._factors * self._factors[:, None]
        if penalty.active:
            penalty.add_hessian(theta, hessian)
        return Evaluation(value, gradient, hessian)

    def _outputs(self, phi: Array, sides: Array) -> tuple[Array, Array, Array | None]:
        """Outputs of hidden neurons (K, N), and their two derivatives; the second is None where
        all are linear on the piece.
        """
        H = phi[self._in] @ self._X.T
        above = sides.reshape(len(self._kinked), self._N) > 0
        slopes = np.where(above, self._above[:, None], self._below[:, None])
        if len(self._kinked) == len(self._f):
            return slopes * H, slopes, None
        jets = np.zeros((3, *H.shape))
        for i, f in enumerate(self._f):
            if not _is_ramp(f):
                f.jet(H[i], jets[:, i])
        jets[1, self._kinked] = slopes
        jets[0, self._kinked] = slopes * H[self._kinked]
        return jets[0], jets[1], jets[2]

    def _network_outputs(self, phi: Array, Z: Array) -> Array:
        found: Array = phi[self._out] @ Z
        if len(self._constant):
            found += phi[self._constant][:, None]
        return found

    def _slopes(self, phi: Array, Z: Array) -> tuple[float, Array]:
        """The loss, and its gradient (O, N) in the outputs of the network."""
        outputs = self._network_outputs(phi, Z)
        slope = np.empty_like(outputs)
        value = self._net.loss.value_and_gradient(outputs, self._target, self._weights, slope)
        return value, slope

    def _hessian(
        self, phi: Array, Z: Array, slopes: Array, bends: Array | None, slope: Array
    ) -> Array:
        P = len(phi)
        A = phi[self._out]
        O, K = A.shape
        outputs = self._network_outputs(phi, Z)
        curvature = np.empty((O, *outputs.shape))
        self._net.loss.curvature(outputs, self._target, self._weights, curvature)
        jacobians = []
        for o in range(O):
            J = np.zeros((self._N, P))
            for i in range(K):
                J[:, self._in[i]] = (A[o, i] * slopes[i])[:, None] * self._X
            J[:, self._out[o]] = Z.T
            if len(self._constant):
                J[:, self._constant[o]] = 1.0
            jacobians.append(J)
        hessian = np.zeros((P, P))
        for o in range(O):
            for q in range(O):
                hessian += (jacobians[o] * curvature[o, q][:, None]).T @ jacobians[q]
            mixed = (slope[o] * slopes) @ self._X  # (K, fan_in) d2/dw_i dA_oi
            for i in range(K):
                hessian[self._in[i], self._out[o, i]] += mixed[i]
                hessian[self._out[o, i], self._in[i]] += mixed[i]
        if bends is None:
            return (hessian + hessian.T) / 2
        back = A.T @ slope
        for i in (int(each) for each in np.flatnonzero(bends.any(axis=1))):
            where = np.ix_(self._in[i], self._in[i])
            hessian[where] += (self._X.T * (back[i] * bends[i])) @ self._X
        return (hessian + hessian.T) / 2


def pieces_of(net: Any) -> Pieces | None:
    """The pieces of a net, or None where its kinks are not covered."""
    return Pieces(net) if net.has_data and is_covered(net) else None
