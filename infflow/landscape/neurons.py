"""Networks of other widths: split a neuron, add neurons, remove those without effect.

``(net, theta)`` goes in, a new pair comes out; data, teacher, loss and regularisation stay. The
function of the network is preserved (what the regularisation adds, which looks at theta itself, is
not). A pair of ``merge`` follows its neurons (of a neuron and its copy it keeps the first), and
goes with the first of them that is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import Array, as_choice, as_integer, as_number, as_rng, public
from ..activations import Activation, resolve
from ..classification.hidden import HiddenLayer, Index, copies, hidden_layers, homogeneity
from ..errors import InvalidTypeError, InvalidValueError
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.inputs import sample_size
from ..networks.parameters import WIDEST, Init, random_params
from ..networks.regularization import Merge

Network = TypeVar("Network", bound=Net | NetI)


class _Hidden(NamedTuple):
    """One hidden layer, to be changed: W and b as in theta, outgoing weights as they act, bias of
    the next layer.
    """

    activations: tuple[Activation, ...]
    W: Array
    b: Array | None
    A: Array
    c: Array | None


@public
def split_neuron(
    net: Network, theta: ArrayLike, i: int, gamma: float = 0.5, layer: int = 0
) -> tuple[Network, Array]:
    """Duplicate hidden neuron ``i``: two neurons with its input weights, output weights gamma a and
    (1 - gamma) a.

    The function stays the same for every gamma, so that a critical point becomes a line of critical
    points; between 0 and 1, or outside, it may be a line of saddles (Fukumizu and Amari, Neural
    Networks 13 (2000) 317).

    Parameters
    ----------
    net : Net or NetI
    theta : (P,) array
    i : int
        Index of the neuron; its copy follows it.
    gamma : float
        Any real number.
    layer : int
        Hidden layer, 0 the first.

    Returns
    -------
    net, theta
        One neuron wider.

    Raises
    ------
    InvalidValueError, ShapeError
        If an argument cannot be used.

    See Also
    --------
    grow : add neurons.
    shrink : merge them again.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> wide, theta = inf.split_neuron(neti, [0.5, 0.0, 1.0], 0, gamma=0.25)
    >>> theta.tolist()
    [0.5, 0.0, 0.5, 0.0, 0.25, 0.75]
    """
    theta, layer = _check(net, theta, layer)
    hidden = _hidden(net, theta, layer)
    i = as_integer("i", i, minimum=0, maximum=len(hidden.W) - 1)
    gamma = as_number("gamma", gamma)
    rows = np.insert(np.arange(len(hidden.W)), i + 1, i)
    shares = np.ones(len(rows))
    shares[i : i + 2] = gamma, 1.0 - gamma
    return _rebuild(
        net, theta, layer, _take(hidden, rows)._replace(A=hidden.A[:, rows] * shares), rows
    )


@public
def grow(
    net: Network,
    theta: ArrayLike,
    k: int = 1,
    rng: int | np.random.Generator = 0,
    output: str = "zero",
    init: Init = "glorot_normal",
    activation: Any = None,
    layer: int = 0,
) -> tuple[Network, Array]:
    """Add ``k`` hidden neurons with random input weights after the others.

    Parameters
    ----------
    net : Net or NetI
    theta : (P,) array
    k : int
        How many.
    rng : int or numpy.random.Generator
    output : {"zero", "random"}
        Output weights of the new neurons; with zeros the function stays the same.
    init : str or callable
        Distribution of what is random, see :func:`infflow.random_params`.
    activation : name or Activation, optional
        Of the new neurons; that of the last neuron if not given.
    layer : int
        Hidden layer, 0 the first.

    Returns
    -------
    net, theta
        ``k`` neurons wider.

    Raises
    ------
    InvalidValueError, ShapeError, UnknownNameError
        If an argument cannot be used.

    See Also
    --------
    split_neuron : duplicate a neuron.
    shrink : remove neurons.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> wide, theta = inf.grow(neti, [0.5, 0.0, 1.0], k=2)
    >>> wide.layers[0].width, inf.loss(wide, theta) == inf.loss(neti, [0.5, 0.0, 1.0])
    (3, True)
    """
    theta, layer = _check(net, theta, layer)
    k = as_integer("k", k, minimum=1, maximum=WIDEST)
    output = as_choice("output", output, ("zero", "random"))
    hidden = _hidden(net, theta, layer)
    kind = hidden.activations[-1] if activation is None else resolve(activation)
    width = len(hidden.W)
    sample_size(k, hidden.W.shape[1] + len(hidden.A), "k")  # raises where they don't fit in memory
    wider = _Hidden(
        hidden.activations + (kind,) * k,
        np.vstack([hidden.W, np.zeros((k, hidden.W.shape[1]))]),
        None if hidden.b is None else np.append(hidden.b, np.zeros(k)),
        np.hstack([hidden.A, np.zeros((len(hidden.A), k))]),
        hidden.c,
    )
    new, start = _rebuild(net, theta, layer, wider, np.append(np.arange(width), np.full(k, -1)))
    fresh = new.unpack(random_params(new, as_rng(rng), init))
    pairs = [(np.array(W), None if b is None else np.array(b)) for W, b in new.unpack(start)]
    W, b = pairs[layer]
    A, _ = pairs[layer + 1]
    W[width:] = fresh[layer][0][width:]
    random_b = fresh[layer][1]
    if b is not None and random_b is not None:
        b[width:] = random_b[width:]
    if output == "random":
        A[:, width:] = fresh[layer + 1][0][:, width:]
    return new, new.pack(pairs)


@public
def shrink(
    net: Network, theta: ArrayLike, rtol: float = 1e-10, layer: int = 0
) -> tuple[Network, Array]:
    """Remove dead hidden neurons and merge duplicates; the function stays the same up to ``rtol``.

    Dead are neurons with zero output weights, and those with zero input weights, whose constant
    goes to the bias of the next layer (without such a bias they stay unless the constant is zero).
    Duplicates have the same input weights and bias, up to sign for odd and even activations and up
    to a factor for homogeneous ones; the one with the largest effect stays. At least one neuron
    remains.

    Parameters
    ----------
    net : Net or NetI
    theta : (P,) array
    rtol : float
        Weights below ``rtol`` times the largest of their kind count as zero. For homogeneous
        neurons, where a factor can go from the input to the output weights, what counts is the
        product. Neurons count as equal if their input weights agree to ``rtol`` relative to their
        length.
    layer : int
        Hidden layer, 0 the first.

    Returns
    -------
    net, theta
        At most as wide.

    Raises
    ------
    InvalidValueError, ShapeError
        If an argument cannot be used.

    See Also
    --------
    grow : add neurons.
    split_neuron : duplicate one.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> wide, theta = inf.split_neuron(neti, [0.5, 0.0, 1.0], 0)
    >>> small, theta = inf.shrink(wide, theta)
    >>> theta.tolist()
    [0.5, 0.0, 1.0]
    """
    theta, layer = _check(net, theta, layer)
    rtol = as_number("rtol", rtol, minimum=0.0)
    hidden = _hidden(net, theta, layer)
    neurons = hidden_layers(net, theta)[layer]
    units = _units(neurons)
    A, keep = _merge(neurons, hidden.A, units, rtol)
    sizes = np.abs(A).max(axis=0) * units
    keep &= sizes > rtol * sizes.max(where=keep, initial=0.0)
    c = hidden.c
    silent = _silent(neurons, rtol)
    for i in np.flatnonzero(keep & silent):
        constant = float(hidden.activations[i](0.0 if hidden.b is None else hidden.b[i]))
        if c is None and constant != 0.0:
            continue
        c = c if c is None else c + constant * A[:, i]
        keep[i] = False
    if not keep.any():
        keep[0] = True
        A[:, 0] = 0.0
    rows = np.flatnonzero(keep)
    return _rebuild(net, theta, layer, _take(hidden, rows)._replace(A=A[:, rows], c=c), rows)


def _units(layer: HiddenLayer) -> Array:
    """Effect of one unit of output weight at each neuron: for homogeneous ones a power of the
    length of the input weights.
    """
    lengths = np.linalg.norm(layer.incoming, axis=1)
    degrees = [homogeneity(activation) for activation in layer.activations]
    return np.array(
        [length ** (degree or 0) for length, degree in zip(lengths, degrees, strict=True)]
    )


def _merge(
    layer: HiddenLayer, A: Array, units: Array, rtol: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Output weights, and which neurons stay, when duplicates are merged into the one with the
    largest effect.
    """
    A = A.copy()
    keep: NDArray[np.bool_] = np.any(A != 0.0, axis=0)
    effects = np.abs(A).max(axis=0) * units
    order = np.flatnonzero(keep)
    order = order[np.argsort(-effects[order], kind="stable")]
    sorted_layer = replace(
        layer,
        activations=tuple(layer.activations[i] for i in order),
        incoming=layer.incoming[order],
    )
    for copy in copies(sorted_layer, rtol):
        first, second = order[[copy.first, copy.second]]
        A[:, first] += copy.factor * A[:, second]
        keep[second] = False
    return A, keep


def _silent(layer: HiddenLayer, rtol: float) -> NDArray[np.bool_]:
    """Neurons with zero input weights: next to their bias if they are homogeneous, else next to the
    largest weight.
    """
    weights = np.abs(layer.incoming[:, :-1]).max(axis=1)
    biases = np.abs(layer.incoming[:, -1])
    scaled = np.array([homogeneity(activation) is not None for activation in layer.activations])
    scales = np.where(scaled, np.maximum(weights, biases), weights.max(where=~scaled, initial=0.0))
    silent: NDArray[np.bool_] = weights <= rtol * scales
    return silent


def _check(net: Any, theta: Any, layer: Any) -> tuple[Array, int]:
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(f"a Net or a NetI is needed; {type(net).__name__} was given.")
    if len(net.layers) < 2:
        raise InvalidValueError(
            "the net has no hidden layer, so there are no neurons to split, add or remove."
        )
    layer = as_integer("layer", layer, minimum=0, maximum=len(net.layers) - 2)
    return np.array(net.layout.check(theta)), layer


def _hidden(net: Net | NetI, theta: Array, layer: int) -> _Hidden:
    (W, b), (A, c) = net.unpack(theta)[layer : layer + 2]
    return _Hidden(
        net.layers[layer].activations, W, b, A * _student(net).weight_factors[layer + 1], c
    )


def _student(net: Net | NetI) -> Net:
    return net.student if isinstance(net, NetI) else net


def _take(hidden: _Hidden, rows: Index) -> _Hidden:
    """The neurons of the given indices."""
    activations = tuple(hidden.activations[i] for i in rows)
    return hidden._replace(
        activations=activations,
        W=hidden.W[rows],
        b=None if hidden.b is None else hidden.b[rows],
        A=hidden.A[:, rows],
    )


def _rebuild(
    net: Network, theta: Array, layer: int, hidden: _Hidden, neurons: Index
) -> tuple[Network, Array]:
    """The network with another hidden layer, whose neuron k was ``neurons[k]`` (-1: it is new), and
    its parameters.
    """
    new = _with_hidden(net, layer, hidden.activations, neurons)
    pairs = list(net.unpack(theta))
    pairs[layer] = (hidden.W, hidden.b)
    pairs[layer + 1] = (hidden.A / _student(new).weight_factors[layer + 1], hidden.c)
    packed: Array = new.pack(pairs)
    return new, packed


def _with_hidden(
    net: Network, layer: int, activations: Sequence[Activation], neurons: Index
) -> Network:
    """The same network with other neurons in one hidden layer."""
    merge = _renumbered(net.regularization.merge, layer + 1, neurons)
    if isinstance(net, NetI):
        student = _with_hidden(net.student, layer, activations, neurons)
        return cast(Network, net.replace(student=student, merge=merge))
    layers = [(old.width, list(old.activations), old.bias) for old in net.layers]
    layers[layer] = (len(activations), list(activations), layers[layer][2])
    return cast(Network, net.replace(layers=layers, merge=merge))


def _renumbered(merge: Sequence[Merge], layer: int, neurons: Index) -> list[Merge]:
    found = [pair.renumbered(neurons) if pair.layer == layer else pair for pair in merge]
    return [pair for pair in found if pair is not None]
