"""Kernels of networks of infinite width: of Gaussian processes (NNGP) and of their training (NTK).

Both are the Gaussian integrals of two activations, layer after layer, which infflow evaluates for
any activation: exactly also where two inputs are equal or opposite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import (
    Array,
    as_flag,
    as_items,
    as_number,
    as_real_array,
    counted,
    public,
)
from ..activations import Activation, resolve
from ..errors import InvalidValueError, ShapeError
from ..memory import require_numbers
from ..terminal import Bar
from .kernel_layers import (
    Diagonal,
    Pairs,
    Weights,
    first_determinant,
    next_diagonal,
    next_pairs,
)

__all__ = ["nngp_kernel", "ntk_kernel"]

#: Inputs on each side of a block of pairs: large against what is done once per input.
_BLOCK = 192
#: Largest standard deviation: products of variances stay far from overflow.
LARGEST_STD = 1e30
#: Kernels of so many pairs or more show a progress bar where a person watches.
_LONG = 10**6


class Kernel(NamedTuple):
    """A kernel with its derivatives.

    Attributes
    ----------
    value : (n, m) array
    gradient : (n, m, D) array
        Derivative in the first input: of ``K(X[i], Y[j])`` in ``X[i]``.
    """

    value: Array
    gradient: Array


@public
def nngp_kernel(
    layers: Any,
    X: ArrayLike,
    Y: ArrayLike | None = None,
    weight_std: Any = 1.0,
    bias_std: Any = 0.0,
    gradient: bool = False,
    rtol: float = 1e-10,
) -> Any:
    r"""The covariance of the outputs of a wide network with random weights.

    :math:`K = \sigma_w^2 X Y^\T / D + \sigma_b^2`, then for each hidden layer
    :math:`K \leftarrow \sigma_w^2\, \E[f(h_1) f(h_2)] + \sigma_b^2` with :math:`(h_1, h_2)` of
    covariance :math:`K`: the Gaussian process of a network with a linear read-out, as
    neural-tangents defines it.

    Parameters
    ----------
    layers : sequence of str or Activation
        Activations, one per hidden layer, the first one first. None: a linear network.
    X, Y : (n, D) and (m, D) arrays
        Inputs. Without ``Y`` it is ``X``.
    weight_std, bias_std : float, or one per layer of weights
        Standard deviations: :math:`\sigma_w/\sqrt{\text{fan-in}}` of weights, :math:`\sigma_b` of
        biases. A sequence has one entry per hidden layer and one for the read-out.
    gradient : bool
        Return also the derivative in ``X``.
    rtol : float
        Tolerance of the integrals, relative to :math:`\E f^2`.

    Returns
    -------
    (n, m) array, or Kernel (value, gradient)

    Raises
    ------
    ShapeError, InvalidTypeError, InvalidValueError
        If the inputs are no matrices of equal width, or the standard deviations do not fit.

    See Also
    --------
    ntk_kernel : the kernel of training by gradient descent.

    References
    ----------
    Lee et al., Deep neural networks as Gaussian processes, ICLR 2018, arXiv:1711.00165.

    Examples
    --------
    >>> nngp_kernel(["relu"], [[1.0, 0.0], [0.0, 1.0]])  # arccosine kernel of degree 1
    array([[0.25      , 0.07957747],
           [0.07957747, 0.25      ]])
    """
    problem = checked(layers, X, Y, weight_std, bias_std, rtol)
    return _kernel(problem, tangent_kernel=False, gradient=as_flag("gradient", gradient))


@public
def ntk_kernel(
    layers: Any,
    X: ArrayLike,
    Y: ArrayLike | None = None,
    weight_std: Any = 1.0,
    bias_std: Any = 0.0,
    gradient: bool = False,
    rtol: float = 1e-10,
) -> Any:
    r"""The neural tangent kernel: inner products of gradients of a wide network at initialisation.

    :math:`\Theta = K` at the first layer, then
    :math:`\Theta \leftarrow K + \sigma_w^2\, \E[f'(h_1) f'(h_2)]\, \Theta`. Here :math:`K` is that
    of :func:`nngp_kernel` behind the layer, and :math:`(h_1, h_2)` has that before it. All weights
    and biases are trained, in the parametrisation that is called "ntk": factors
    :math:`\sigma_w/\sqrt{\text{fan-in}}` and :math:`\sigma_b` stand outside of the parameters.

    Parameters, results and errors are those of :func:`nngp_kernel`. Where the kernel has a cusp
    (kinked activations at equal inputs) the gradient is the mean of those on both sides.

    Raises
    ------
    SingularMomentError
        If the kernel is infinite: activations that jump, at equal inputs.

    See Also
    --------
    nngp_kernel : the kernel of the random network.
    mean_field : what depth does.

    References
    ----------
    Jacot, Gabriel and Hongler, Neural tangent kernel, NeurIPS 2018, arXiv:1806.07572.

    Examples
    --------
    >>> ntk_kernel(["relu"], [[1.0, 0.0], [0.0, 1.0]])
    array([[0.5       , 0.07957747],
           [0.07957747, 0.5       ]])
    """
    problem = checked(layers, X, Y, weight_std, bias_std, rtol)
    return _kernel(problem, tangent_kernel=True, gradient=as_flag("gradient", gradient))


# -- arguments -------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """Checked arguments; ``Y`` is None where it is ``X``."""

    layers: tuple[Activation, ...]
    X: Array
    Y: Array | None
    weights: tuple[Weights, ...]
    rtol: float


def checked(layers: Any, X: Any, Y: Any, weight_std: Any, bias_std: Any, rtol: Any) -> Problem:
    if isinstance(layers, str | Activation):
        layers = [layers]
    activations = tuple(
        resolve(entry) for entry in as_items("layers", layers, "a sequence of activations")
    )
    X = _inputs("X", X)
    if Y is not None:
        Y = _inputs("Y", Y)
        if Y.shape[1] != X.shape[1]:
            raise ShapeError(
                f"X has {counted(X.shape[1], 'column')} and Y {Y.shape[1]}; both hold inputs of "
                "one dimension, one per row."
            )
    count = len(activations) + 1
    w = _deviations("weight_std", weight_std, count)
    b = _deviations("bias_std", bias_std, count)
    if min(w) == 0.0:
        raise InvalidValueError("weight_std contains 0, so no input is seen; it must be positive.")
    weights = tuple(Weights(x * x, y * y) for x, y in zip(w, b, strict=True))
    return Problem(activations, X, Y, weights, as_number("rtol", rtol, minimum=0.0))


def _inputs(name: str, value: Any) -> Array:
    array = as_real_array(name, value)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ShapeError(
            f"{name} has shape {array.shape}; a matrix (inputs, dimension) is needed, e.g. "
            f"{name}.reshape(-1, 1) for inputs of dimension one."
        )
    return array


def _deviations(name: str, value: Any, count: int) -> list[float]:
    """One standard deviation per layer of weights."""
    array = as_real_array(name, value)
    if array.ndim == 0:
        return [as_number(name, value, minimum=0.0, maximum=LARGEST_STD)] * count
    if array.shape != (count,):
        raise ShapeError(
            f"{name} has shape {array.shape}; one number, or {count} are needed: one per hidden "
            "layer and one for the read-out."
        )
    return [
        as_number(f"{name}[{k}]", x, minimum=0.0, maximum=LARGEST_STD)
        for k, x in enumerate(array.tolist())
    ]


# -- recursion -------------------------------------------------------------------------------------


def _kernel(problem: Problem, tangent_kernel: bool, gradient: bool) -> Any:
    """The kernel, block by block."""
    n, dimension = problem.X.shape
    m = n if problem.Y is None else len(problem.Y)
    what = f"a kernel of {n} x {m} inputs" + ", with its gradient," * gradient
    require_numbers(n * m * (1 + gradient * dimension), what, "Pass parts of the inputs.")
    value = np.empty((n, m))
    slopes = np.empty((n, m, dimension)) if gradient else None
    mirrored = problem.Y is None and not gradient
    pairs = n * m
    with Bar(pairs >= _LONG, total=pairs, unit=" pairs", unit_scale=True, desc="kernel") as bar:
        for rows, columns in _blocks(n, m, mirrored):
            x = problem.X[rows]
            y = problem.X[columns] if problem.Y is None else problem.Y[columns]
            if mirrored and rows == columns:
                i, j = np.triu_indices(len(x))
                half = at_pairs(problem, x, x, i, j, tangent_kernel).value
                value[rows.start + i, rows.start + j] = half
                value[rows.start + j, rows.start + i] = half
                bar.update(len(x) ** 2)
                continue
            found = kernel_matrix(problem, x, y, tangent_kernel, "inputs" if gradient else "")
            value[rows, columns] = found.value
            if slopes is not None:
                along_x, along_y = found.tangents
                slopes[rows, columns] = along_x[:, :, None] * x[:, None, :]
                slopes[rows, columns] += along_y[:, :, None] * y[None, :, :]
            if mirrored:
                value[columns, rows] = found.value.T
            bar.update(found.value.size * (1 + mirrored))
    return value if slopes is None else Kernel(value, slopes)


def _blocks(n: int, m: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Blocks of rows and columns; of a symmetric kernel the upper half."""
    for i in range(0, n, _BLOCK):
        for j in range(i if symmetric else 0, m, _BLOCK):
            yield slice(i, min(n, i + _BLOCK)), slice(j, min(m, j + _BLOCK))


class Found(NamedTuple):
    """Values (n,) of the kernel at pairs of inputs, and tangents (T, n)."""

    value: Array
    tangents: Array


def kernel_matrix(
    problem: Problem, x: Array, y: Array, tangent_kernel: bool, wanted: str = ""
) -> Found:
    """The kernel of all pairs of x and y, (n, m) with tangents (T, n, m); see :func:`at_pairs`."""
    i, j = np.divmod(np.arange(len(x) * len(y)), len(y))
    found = at_pairs(problem, x, y, i, j, tangent_kernel, wanted)
    shape = (len(x), len(y))
    return Found(found.value.reshape(shape), found.tangents.reshape(-1, *shape))


def at_pairs(
    problem: Problem,
    x: Array,
    y: Array,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    tangent_kernel: bool,
    wanted: str = "",
) -> Found:
    """The kernel of rows i of x and rows j of y.

    ``wanted`` tells the tangents: none, "inputs" (the two factors of the derivative in x, which is
    the first times x plus the second times y), or "deviations" (in the logarithms of all weights'
    and all biases' standard deviations).
    """
    first = Weights(problem.weights[0].weight / x.shape[1], problem.weights[0].bias)
    j = j + len(x)
    scaled = np.concatenate([x, y]) * np.sqrt(first.weight)
    squares = np.sum(scaled**2, axis=1)
    products = np.einsum("nd,nd->n", scaled[i], scaled[j])
    diagonal = Diagonal(squares + first.bias, _tangents(wanted, squares, first, itself=len(x)))
    K_tangent = _tangents(wanted, products, first)
    theta = len(products) if tangent_kernel else 0
    K = products + first.bias
    pairs = Pairs(i, j, K, K, K[:theta], K_tangent, K_tangent[:, :theta])
    scaled = np.concatenate([scaled, np.full((len(scaled), 1), np.sqrt(first.bias))], axis=1)
    pairs = pairs._replace(determinant=first_determinant(scaled, pairs, diagonal.V))
    for f, weights in zip(problem.layers, problem.weights[1:], strict=True):
        sources = _sources(wanted, weights)
        after = next_diagonal(f, diagonal, weights, sources, problem.rtol)
        pairs = next_pairs(f, diagonal, pairs, weights, sources, after, problem.rtol)
        diagonal = after
    if tangent_kernel:
        return Found(pairs.Theta, pairs.Theta_tangent)
    return Found(pairs.K, pairs.K_tangent)


def _tangents(wanted: str, products: Array, weights: Weights, itself: int = -1) -> Array:
    """Tangents (T, n) of covariances at the first layer, with ``products`` of weights alone.

    ``itself``: these are variances, and the first so many belong to x.
    """
    if wanted == "deviations":
        return np.stack([2.0 * products, np.full_like(products, 2.0 * weights.bias)])
    if wanted != "inputs":
        return np.empty((0, len(products)))
    found = np.zeros((2, len(products)))
    if itself < 0:
        found[1] = weights.weight
    else:
        found[0, :itself] = 2.0 * weights.weight
    return found


def _sources(wanted: str, weights: Weights) -> Array:
    """Tangents (T, 2) of the variances of weights and biases of a layer."""
    if wanted == "deviations":
        return np.array([[2.0 * weights.weight, 0.0], [0.0, 2.0 * weights.bias]])
    return np.zeros((2 if wanted == "inputs" else 0, 2))
