"""Kernels of infinite width for ``sklearn.gaussian_process``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from .._validation import Array
from ..errors import InvalidValueError
from .kernels import at_pairs, checked, kernel_matrix, nngp_kernel, ntk_kernel

__all__ = ["NNGPKernel", "NTKKernel"]


class _WidthKernel(Kernel):
    """What both kernels share: hyperparameters, and gradients in their logarithms."""

    _tangent_kernel = False

    def __init__(
        self,
        layers: Any = ("relu",),
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        weight_std_bounds: Any = (1e-2, 1e2),
        bias_std_bounds: Any = (1e-3, 1e2),
    ) -> None:
        self.layers = layers
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.weight_std_bounds = weight_std_bounds
        self.bias_std_bounds = bias_std_bounds

    @property
    def hyperparameter_weight_std(self) -> Hyperparameter:
        """The standard deviation of weights."""
        return Hyperparameter("weight_std", "numeric", self.weight_std_bounds)

    @property
    def hyperparameter_bias_std(self) -> Hyperparameter:
        """The standard deviation of biases; fixed at 0, which has no logarithm."""
        bounds = "fixed" if self.bias_std == 0 else self.bias_std_bounds
        return Hyperparameter("bias_std", "numeric", bounds)

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """In the order of ``theta``, by which scikit-learn names what it warns of."""
        return [self.hyperparameter_weight_std, self.hyperparameter_bias_std]

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The kernel (n, m), and with ``eval_gradient`` its gradient (n, n, free) in ``theta``.

        Parameters
        ----------
        X, Y : (n, D) and (m, D) arrays
            Without ``Y`` it is ``X``.
        eval_gradient : bool
            Possible without ``Y`` only.

        Raises
        ------
        InvalidValueError
            If a gradient is asked for with ``Y``.
        """
        if not eval_gradient:
            kernel = ntk_kernel if self._tangent_kernel else nngp_kernel
            return kernel(self.layers, X, Y, self.weight_std, self.bias_std)
        if Y is not None:
            raise InvalidValueError("The gradient in theta is defined for Y=None only.")
        problem = checked(self.layers, X, None, self.weight_std, self.bias_std, 1e-10)
        found = kernel_matrix(problem, problem.X, problem.X, self._tangent_kernel, "deviations")
        free = [k for k, fixed in enumerate(self._fixed()) if not fixed]
        return found.value, np.moveaxis(found.tangents[free], 0, -1)

    def _fixed(self) -> tuple[bool, bool]:
        return self.hyperparameter_weight_std.fixed, self.hyperparameter_bias_std.fixed

    @property
    def theta(self) -> Array:
        """Logarithms of the free hyperparameters, weights first."""
        values = (self.weight_std, self.bias_std)
        pairs = zip(values, self._fixed(), strict=True)
        return np.log([value for value, fixed in pairs if not fixed])

    @theta.setter
    def theta(self, theta: Array) -> None:
        names = ("weight_std", "bias_std")
        free = [name for name, fixed in zip(names, self._fixed(), strict=True) if not fixed]
        self.set_params(**dict(zip(free, np.exp(theta).tolist(), strict=True)))

    @property
    def bounds(self) -> Array:
        """Logarithms of the bounds, in the order of ``theta``."""
        rows = (self.hyperparameter_weight_std, self.hyperparameter_bias_std)
        free = [np.log(row.bounds) for row in rows if not row.fixed]
        return np.vstack(free) if free else np.empty((0, 2))

    def diag(self, X: Any) -> Array:
        """The kernel (n,) of each input with itself."""
        problem = checked(self.layers, X, None, self.weight_std, self.bias_std, 1e-10)
        rows = np.arange(len(problem.X))
        return at_pairs(problem, problem.X, problem.X, rows, rows, self._tangent_kernel).value

    def is_stationary(self) -> bool:
        """False: lengths of inputs matter."""
        return False

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({list(self.layers)}, weight_std={self.weight_std:.3g}, "
            f"bias_std={self.bias_std:.3g})"
        )


class NNGPKernel(_WidthKernel):
    """Covariance of the outputs of a random network of infinite width.

    Parameters
    ----------
    layers : sequence of str or Activation
        Activations, one per hidden layer.
    weight_std, bias_std : float
        Standard deviations, equal in all layers. A ``bias_std`` of 0 stays 0.
    weight_std_bounds, bias_std_bounds : (float, float) or "fixed"
        Where the optimiser of ``GaussianProcessRegressor`` may look.

    See Also
    --------
    infflow.nngp_kernel : the kernel itself, with different deviations per layer.

    Examples
    --------
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> X, y = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 0.5]
    >>> model = GaussianProcessRegressor(NNGPKernel(["erf"], bias_std=0.1), alpha=1e-6).fit(X, y)
    >>> bool(abs(model.predict(X) - y).max() < 1e-3)
    True
    """


class NTKKernel(_WidthKernel):
    """The tangent kernel of a network of infinite width: its mean predictions are those of a
    network that was trained to the end.

    Parameters are those of :class:`NNGPKernel`.

    See Also
    --------
    infflow.ntk_kernel : the kernel itself, with different deviations per layer.
    """

    _tangent_kernel = True
