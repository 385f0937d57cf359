"""Layers, the flat parameter vector and its layout, random initial parameters, parametrizations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_real_array,
    as_rng,
    counted,
    public,
    shown,
)
from ..activations import Activation, resolve
from ..activations.naming import JULIA
from ..errors import DivergedError, InvalidTypeError, ShapeError
from ..objective import Capability
from .parameter_kernels import all_finite
from .unit_rows import Rows, UnitRows

Pair = tuple[Array, Array | None]
Init = str | Callable[[np.random.Generator, tuple[int, ...]], Any]

INITS = ("glorot_normal", "glorot_uniform", "standard_normal")
PARAMETRIZATIONS = ("standard", "ntk", "mean_field", "spherical")
WIDEST = 10**8
"""Most neurons of a layer, and most inputs: more of them are a mistake, and beyond the memory of
any machine with their weights.
"""


def finite(what: str, array: Array) -> Array:
    """The array itself, of any shape, or DivergedError where numbers overflowed on the
    way to it.
    """
    if not all_finite(array.ravel()):
        raise DivergedError(
            f"{what} not finite at this theta: numbers overflow. Use smaller parameters or data "
            "of smaller scale."
        )
    return array


class Layer(NamedTuple):
    """One layer ``z -> s(W z + b)``: its width, one activation per neuron, and whether it has a
    bias.
    """

    width: int
    activations: tuple[Activation, ...]
    bias: bool


class Block(NamedTuple):
    """Where one layer lies in the parameter vector: ``W`` row-major, then ``b`` if the layer has
    one.
    """

    width: int
    fan_in: int
    bias: bool
    start: int

    @property
    def weights(self) -> slice:
        """Entries of ``W``."""
        return slice(self.start, self.start + self.width * self.fan_in)

    @property
    def biases(self) -> slice:
        """Entries of ``b`` (empty without bias)."""
        stop = self.weights.stop
        return slice(stop, stop + self.width * self.bias)


def parse_layers(layers: Any) -> tuple[Layer, ...]:
    """Check ``[(width, activation | list of activations, bias), ...]``, first hidden layer to
    output layer; or a text of it, ``((5, tanh, true), (1, identity, true))`` in Julia.
    """
    if isinstance(layers, str):
        layers = _of_text(layers)
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence) or len(layers) == 0:
        raise InvalidTypeError(
            f"layers is {shown(layers)}; a list of (width, activation, bias) is needed, the "
            "output layer last."
        )
    return tuple(_parse_layer(f"layers[{index}]", layer) for index, layer in enumerate(layers))


def _of_text(text: str) -> Any:
    """The layers of a text of triples, as Julia and Python write them; what is none stays a text.

    Nothing is evaluated: a triple is a width, a name with an optional parameter, and a truth value.
    """
    name = r"['\":]?([^\W\d]\w*(?:\([^()]*\))?)['\"]?"
    triple = rf"[(\[]\s*(\d+)\s*,\s*{name}\s*,\s*(true|false|True|False)\s*[)\]]"
    if not re.fullmatch(rf"\s*[(\[]\s*(?:{triple}\s*,?\s*)+[)\]]\s*", text):
        return text
    return [
        (int(width), JULIA.get(function, function), bias.lower() == "true")
        for width, function, bias in re.findall(triple, text)
    ]


def _parse_layer(name: str, layer: Any) -> Layer:
    if isinstance(layer, (str, bytes)) or not isinstance(layer, Sequence) or len(layer) != 3:
        raise InvalidTypeError(
            f"{name} is {shown(layer)}; a triple (width, activation, bias) is needed."
        )
    width = as_integer(f"width of {name}", layer[0], minimum=1, maximum=WIDEST)
    bias = as_flag(f"bias of {name}", layer[2])
    given = layer[1]
    if isinstance(given, (list, tuple)):
        if len(given) != width:
            raise ShapeError(
                f"{name} lists {counted(len(given), 'activation')} for "
                f"{counted(width, 'neuron')}; give one name, or one per neuron."
            )
        activations = tuple(resolve(each) for each in given)
    else:
        activations = (resolve(given),) * width
    return Layer(width, activations, bias)


class Layout:
    """Shapes of all weights and biases, and where they lie in the flat vector ``theta`` of shape
    ``(P,)``.

    The order is layer by layer, ``W`` row-major and then ``b`` if the layer has one, as in
    PyTorch's ``parameters_to_vector``.

    Parameters
    ----------
    input_dim : int
        Length of an input.
    layers : sequence of (width, bias)
        Width of each layer and whether it has a bias.
    """

    def __init__(self, input_dim: int, layers: Sequence[tuple[int, bool]]) -> None:
        self.input_dim = input_dim
        blocks = []
        fan_in = input_dim
        start = 0
        for width, bias in layers:
            blocks.append(Block(width, fan_in, bias, start))
            start = blocks[-1].biases.stop
            fan_in = width
        self.blocks = tuple(blocks)
        self.num_params = start
        self._views = [
            (k.weights, (k.width, k.fan_in), k.biases if k.bias else None) for k in blocks
        ]

    def __repr__(self) -> str:
        return f"Layout({self._shapes()}; {counted(self.num_params, 'parameter')})"

    def _shapes(self) -> str:
        return ", ".join(
            f"W {b.width}x{b.fan_in}" + (f" and b {b.width}" * b.bias) for b in self.blocks
        )

    def check(self, theta: Any) -> Array:
        """``theta`` as a finite float64 vector of length P; a float64 array is passed through, not
        copied.
        """
        if (
            type(theta) is np.ndarray
            and theta.dtype == np.float64
            and theta.shape == (self.num_params,)
            and theta.flags.carray
            and all_finite(theta)
        ):
            return theta
        array = as_real_array("theta", theta, advice=self._what_theta_is())
        if array.shape != (self.num_params,):
            raise ShapeError(
                f"theta has shape {array.shape}; ({self.num_params},) is needed: {self._shapes()}. "
                "Build it with net.pack or random_params."
            )
        return array if array.flags.writeable else array.copy()

    def _what_theta_is(self) -> str:
        return (
            f"theta holds all {counted(self.num_params, 'parameter')} of the net in one vector: "
            "inf.random_params(net) "
            "draws one, net.pack makes one of matrices, and inf.train returns one in result.theta."
        )

    def check_directions(self, v: Any) -> Array:
        """``v`` as a finite float64 array of shape ``(P,)`` or ``(P, m)``."""
        array = as_real_array("v", v)
        if array.ndim not in (1, 2) or array.shape[0] != self.num_params:
            raise ShapeError(
                f"v has shape {array.shape}; ({self.num_params},) or ({self.num_params}, m) is "
                "needed, "
                "one direction per column."
            )
        return array

    def views(self, vector: Array) -> list[Pair]:
        """``[(W, b or None), ...]`` as views of a vector of length P, unchecked."""
        return [
            (vector[w].reshape(shape), None if b is None else vector[b])
            for w, shape, b in self._views
        ]

    def unpack(self, theta: Any) -> list[Pair]:
        """``[(W, b or None), ...]`` as views: writing to them changes a float64 ``theta``."""
        return self.views(self.check(theta))

    def pack(self, pairs: Any) -> Array:
        """Flat vector from ``[(W1, b1), (W2, None), ...]``.

        Raises
        ------
        ShapeError
            If the number of layers, a shape, or the presence of a bias differs from the layout.
        """
        if not isinstance(pairs, Sequence) or len(pairs) != len(self.blocks):
            raise ShapeError(
                f"pack needs a list of {len(self.blocks)} pairs (W, b), b None without bias."
            )
        theta = np.empty(self.num_params)
        for index, (pair, block) in enumerate(zip(pairs, self.blocks, strict=True)):
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise ShapeError(
                    f"entry {index} of pack is not a pair (W, b), b None without bias."
                )
            _fill(theta[block.weights], f"W of layer {index}", pair[0], (block.width, block.fan_in))
            if (pair[1] is not None) != block.bias:
                fault = "has a bias, but None was given" if block.bias else "has no bias: give None"
                raise ShapeError(f"layer {index} {fault}.")
            if block.bias:
                _fill(theta[block.biases], f"b of layer {index}", pair[1], (block.width,))
        return theta

    def shapes(self) -> Iterator[tuple[slice, tuple[int, ...], Block]]:
        """Every weight matrix and bias vector in order: its entries, its shape, its layer."""
        for block in self.blocks:
            yield block.weights, (block.width, block.fan_in), block
            if block.bias:
                yield block.biases, (block.width,), block


def _fill(target: Array, name: str, value: Any, shape: tuple[int, ...]) -> None:
    array = as_real_array(name, value)
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}; {shape} is needed.")
    target[:] = array.ravel()


@runtime_checkable
class HasLayout(Protocol, metaclass=Capability):
    """Anything with parameters of ours: ``Net`` and ``NetI``.

    Asked by ``inf.loss`` and its like: by its layout such a network checks parameters itself, and
    they check them for any other objective.
    """

    @property
    def layout(self) -> Layout:
        """Shapes and offsets of the parameters."""


@public
def random_params(
    net: HasLayout, rng: int | np.random.Generator = 0, init: Init = "glorot_normal"
) -> Array:
    r"""Random initial parameters.

    Parameters
    ----------
    net : Net or NetI
        Gives the shapes (anything with a ``layout``).
    rng : int or numpy.random.Generator
        Seed or generator.
    init : str or callable
        ``"glorot_normal"``: weights of standard deviation
        :math:`\sqrt{2/(\text{fan-in} + \text{fan-out})}`, zero biases. ``"glorot_uniform"``:
        uniform weights of the same variance, zero biases (Glorot and Bengio, 2010).
        ``"standard_normal"``: weights and biases of unit variance. Or ``init(rng, shape)``, called
        for every weight matrix and every bias vector in the order of ``theta``. With
        ``parametrization="spherical"`` the rows of hidden weights are divided by their lengths, but
        for those of a callable.

    Returns
    -------
    ndarray (P,)

    Raises
    ------
    UnknownNameError, InvalidTypeError
        If ``init`` or ``rng`` cannot be used.
    ShapeError
        If a callable returns an array of another shape.

    See Also
    --------
    Net : its ``pack`` takes weights of your own.
    train : takes the start.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=3)
    >>> inf.random_params(net, rng=0).shape, net.num_params
    ((10,), 10)
    """
    layout = getattr(net, "layout", None)
    if not isinstance(layout, Layout):
        raise InvalidTypeError(
            f"random_params needs a Net or a NetI; {type(net).__name__} was given."
        )
    generator = as_rng(rng)
    name = init if callable(init) else as_choice("init", init, INITS)
    theta = np.zeros(layout.num_params)
    for entries, shape, block in layout.shapes():
        if callable(name):
            _fill(theta[entries], "the result of init", name(generator, shape), shape)
        elif name == "standard_normal":
            theta[entries] = generator.standard_normal(theta[entries].size)
        elif len(shape) == 2:
            std = math.sqrt(2.0 / (block.fan_in + block.width))
            size = theta[entries].size
            if name == "glorot_normal":
                theta[entries] = std * generator.standard_normal(size)
            else:
                theta[entries] = generator.uniform(
                    -math.sqrt(3.0) * std, math.sqrt(3.0) * std, size
                )
    unit_rows = None if callable(name) else getattr(net, "unit_rows", None)
    return theta if unit_rows is None else unit_rows.apply(theta)


def weight_factors(layout: Layout, parametrization: str) -> tuple[float, ...]:
    """The factor of ``W`` in each layer: ``h = factor W z + b``, with ``W`` and ``b`` the entries
    of ``theta``.

    ``"standard"`` and ``"spherical"``: 1; ``"ntk"``: 1/sqrt(fan_in) in every layer;
    ``"mean_field"``: 1 in the first layer and 1/width of the layer that feeds it in the others.
    Biases are not scaled.
    """
    as_choice("parametrization", parametrization, PARAMETRIZATIONS)
    if parametrization == "ntk":
        return tuple(1.0 / math.sqrt(block.fan_in) for block in layout.blocks)
    if parametrization == "mean_field":
        return (1.0, *(1.0 / block.fan_in for block in layout.blocks[1:]))
    return (1.0,) * len(layout.blocks)


def unit_rows(layout: Layout, parametrization: str) -> UnitRows | None:
    """The rows that are divided by their lengths: those of all hidden layers of ``"spherical"``."""
    if parametrization != "spherical":
        return None
    hidden = enumerate(layout.blocks[:-1], 1)
    return UnitRows([Rows(k.start, k.width, k.fan_in, f"W{number}") for number, k in hidden])


def factor_vector(layout: Layout, factors: Sequence[float]) -> Array | None:
    """``(P,)`` factors of all entries of ``theta`` (biases: 1), or None where all are 1."""
    if all(factor == 1.0 for factor in factors):
        return None
    vector = np.ones(layout.num_params)
    for block, factor in zip(layout.blocks, factors, strict=True):
        vector[block.weights] = factor
    return vector
