"""How far solutions are apart, modulo the symmetries of one hidden layer; angles between weight
vectors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, as_number, as_real_array, counted, public
from ..activations import Activation
from ..classification.hidden import hidden_layers, homogeneity, same_function
from ..errors import InvalidTypeError, InvalidValueError, ShapeError
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from .neurons import shrink


@public
def cosine_similarity(a: Any, b: Any = None) -> Array:
    """Cosines of the angles between the rows of ``a`` and those of ``b``.

    Parameters
    ----------
    a : (n, D) or (D,) array
        For example the weights of the students, ``net.unpack(theta)[0][0]``, or two parameter
        vectors.
    b : (m, D) or (D,) array, optional
        ``a`` itself if not given.

    Returns
    -------
    (n, m) array
        Without the axes of those that were a single vector.

    Raises
    ------
    ShapeError
        If the rows differ in length.
    InvalidValueError
        If a row is zero, so that it has no direction.

    See Also
    --------
    solution_distance : of whole networks.
    overlaps : scalar products.

    Examples
    --------
    >>> import infflow as inf
    >>> inf.cosine_similarity([[1.0, 1.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]).round(4).tolist()
    [[0.7071, 0.7071], [0.0, 1.0]]
    """
    first = _directions("a", a)
    second = first if b is None else _directions("b", b)
    if first.shape[-1] != second.shape[-1]:
        raise ShapeError(
            f"rows of a have length {first.shape[-1]}, those of b {second.shape[-1]}; they must "
            "agree."
        )
    cosines: Array = np.clip(first @ second.T, -1.0, 1.0)
    return cosines


def _directions(name: str, value: Any) -> Array:
    rows = as_real_array(name, value, ndim=(1, 2))
    largest = np.abs(rows).max(axis=-1, keepdims=True, initial=0.0)
    if (largest == 0.0).any():
        raise InvalidValueError(f"{name} has a row of zeros, which has no direction.")
    rows = rows / largest  # squares of large and small numbers stay in range
    unit: Array = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


class Function(NamedTuple):
    """A network with one hidden layer, up to order and sign of its neurons.

    Neurons without effect are gone, equal ones are merged, input weights of homogeneous ones have
    unit length.
    """

    activations: tuple[Activation, ...]
    incoming: Array  #: (n, D + 1), the bias last
    outgoing: Array  #: (n, O)
    constant: Array  #: (O,)

    @property
    def size(self) -> float:
        """Euclidean length of all numbers."""
        return float(np.sqrt(sum((part**2).sum() for part in self[1:])))


def function_of(net: Net | NetI, theta: Any, rtol: float = 1e-6) -> Function:
    """The function of a network with one hidden layer, in a form without its symmetries."""
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(f"a Net or a NetI is needed; {type(net).__name__} was given.")
    if len(net.layers) != 2:
        raise InvalidValueError(
            f"the net has {counted(len(net.layers) - 1, 'hidden layer')}; one is needed."
        )
    smaller, parameters = shrink(net, theta, rtol)
    layer = hidden_layers(smaller, parameters)[0]
    student = smaller.student if isinstance(smaller, NetI) else smaller
    incoming = layer.incoming.copy()
    outgoing = layer.outgoing.T * student.weight_factors[1]
    for i, activation in enumerate(layer.activations):
        degree = homogeneity(activation)
        length = float(np.linalg.norm(incoming[i]))
        if degree is not None and length > 0.0:
            incoming[i] /= length
            outgoing[i] *= length**degree
    bias = smaller.unpack(parameters)[1][1]
    return Function(
        layer.activations, incoming, outgoing, np.zeros(outgoing.shape[1]) if bias is None else bias
    )


def function_distance(a: Function, b: Function) -> float:
    """Euclidean distance of the parameters of two functions, least over permutations and signs of
    neurons.

    Infinite if they have different numbers of neurons.
    """
    from scipy.optimize import linear_sum_assignment

    n = len(a.activations)
    if n != len(b.activations):
        return float("inf")
    squares = np.full((n, n), np.inf)
    for i, f in enumerate(a.activations):
        for j, g in enumerate(b.activations):
            if same_function(f, g):
                squares[i, j] = _squared_distance(f.parity, a, i, b, j)
    try:
        rows, columns = linear_sum_assignment(squares)
    except ValueError:  # other activations
        return float("inf")
    return float(np.sqrt(squares[rows, columns].sum() + ((a.constant - b.constant) ** 2).sum()))


def _squared_distance(parity: int, a: Function, i: int, b: Function, j: int) -> float:
    u = a.incoming[i]
    v = b.incoming[j]
    p = a.outgoing[i]
    q = b.outgoing[j]
    straight = ((u - v) ** 2).sum() + ((p - q) ** 2).sum()
    if not parity:
        return float(straight)
    return float(min(straight, ((u + v) ** 2).sum() + ((p - parity * q) ** 2).sum()))


@public
def solution_distance(net: Net | NetI, a: Any, b: ArrayLike, rtol: float = 1e-6) -> float:
    """Distance of two parameter vectors as functions: modulo permutation, sign and scale of
    neurons, dead and equal ones.

    Parameters
    ----------
    net : Net or NetI
        With one hidden layer.
    a, b : (P,) arrays
    rtol : float
        Within it neurons count as equal and weights as zero, see :func:`infflow.shrink`.

    Returns
    -------
    float
        Euclidean distance of input weights, biases and output weights as they act; input weights of
        homogeneous neurons have length one. Infinite if the numbers of neurons that are left
        differ.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If the net or the parameters cannot be used.

    See Also
    --------
    unique_solutions : groups runs by it.
    cosine_similarity : of single neurons.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> inf.solution_distance(neti, [0.5, 0.0, 1.0], [-0.5, 0.0, -1.0])
    0.0
    """
    rtol = as_number("rtol", rtol, minimum=0.0)
    return function_distance(function_of(net, a, rtol), function_of(net, b, rtol))
