"""Factors between infflow and others: losses, rates, times, weights; ``inf.conventions.to`` and
``inf.conventions.from_``.

Every factor is a line of :data:`CONVENTIONS`; the page :doc:`/conventions` explains where they
come from, and a test pins each of them to the formula of its source.

See Also
--------
OrderParameters : its ``half_loss`` takes rates of other papers.

Examples
--------
>>> import infflow as inf
>>> inf.conventions.from_("saad_solla", "loss", 0.02)
0.04
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from .._validation import Array, as_choice, as_integer, as_items, as_number, as_real_array, public
from ..errors import InvalidTypeError, ShapeError
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI

__all__ = ["CONVENTIONS", "from_", "from_weight_matrices", "to", "to_weight_matrices"]

Sizes = Mapping[str, float]


def _constant(number: float) -> Callable[[Sizes], float]:
    return lambda sizes: number


def _root_D(sizes: Sizes) -> float:
    return math.sqrt(sizes["input_dim"])


def _N(sizes: Sizes) -> float:
    return sizes["num_samples"] if math.isfinite(sizes["num_samples"]) else 1.0


def _one_over_N(sizes: Sizes) -> float:
    return 1.0 / _N(sizes)


def _K(sizes: Sizes) -> float:
    return sizes["width"]


def _K_squared(sizes: Sizes) -> float:
    return sizes["width"] ** 2


@dataclass(frozen=True)
class Quantity:
    """``there = factor * here``, with the sizes that the factor needs."""

    factor: Callable[[Sizes], float]
    needs: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Convention:
    """How one source writes things; quantities that are not listed are the same there."""

    name: str
    source: str
    quantities: Mapping[str, Quantity]


def _same(meaning: str) -> Quantity:
    return Quantity(_constant(1.0), (), meaning)


_ORDER_PARAMETERS = {
    "output_weights": _same("second layer"),
    "overlaps": _same("Q, R, T: covariances of pre-activations"),
    "time": _same("t = steps / D of OrderParameters, their alpha"),
    "noise": _same("standard deviation of the label noise"),
    "loss": Quantity(_constant(0.5), (), "squared error; the generalization error as well"),
    "learning_rate": Quantity(_constant(2.0), (), "of OrderParameters, first layer; their eta"),
    "second_layer_rate": Quantity(
        _constant(2.0), (), "of OrderParameters, second layer; their eta_v"
    ),
}

#: The conventions by name.
#:
#: :meta hide-value:
CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(
            "mlpgradientflow",
            "MLPGradientFlow.jl, the package of Brea et al. 2023; num_samples=inf for its NetI",
            {
                "weights": _same("rows of W"),
                "output_weights": _same("second layer"),
                "loss": _same("what its function loss returns, a mean"),
                "flow_loss": Quantity(
                    _N,
                    ("num_samples",),
                    "what its flow descends and eq. 5 of the paper says: a sum over samples",
                ),
                "time": Quantity(
                    _one_over_N, ("num_samples",), "flow time, where tauinv and eta are equal"
                ),
                "eta": Quantity(
                    _one_over_N, ("num_samples",), "its tauinv, where the times are equal"
                ),
            },
        ),
        Convention(
            "saad_solla",
            "Saad and Solla, Phys. Rev. E 52, 4225 (1995)",
            {
                "weights": _same("their J: pre-activations J.x with x of unit variance"),
                **_ORDER_PARAMETERS,
            },
        ),
        Convention(
            "goldt",
            "Goldt, Advani, Saxe, Krzakala and Zdeborova, NeurIPS 2019",
            {
                "weights": Quantity(
                    _root_D, ("input_dim",), "their w: pre-activations w.x/sqrt(D)"
                ),
                **_ORDER_PARAMETERS,
            },
        ),
        Convention(
            "mean_field",
            "outputs divided by the number K of hidden neurons, as in Mei, Montanari and "
            "Nguyen, PNAS 115, E7665 (2018)",
            {
                "weights": _same("first layer"),
                "output_weights": Quantity(_K, ("width",), "output (1/K) sum_k a_k f(w_k.x)"),
                "loss": _same("squared error"),
                "eta": _same("rate of the first layer"),
                "second_layer_eta": Quantity(
                    _K_squared, ("width",), "rate of the output weights in a flow"
                ),
            },
        ),
        Convention(
            "plain_erf",
            "erf(x) in place of erf(x/sqrt 2)",
            {
                "weights": Quantity(
                    _constant(math.sqrt(0.5)), (), "input weights and biases of erf neurons"
                )
            },
        ),
    )
}


@public
def to(convention: str, quantity: str, value: Any, **sizes: Any) -> Any:
    """A quantity of infflow as others write it.

    Parameters
    ----------
    convention : str
        "mlpgradientflow", "saad_solla", "goldt", "mean_field", "plain_erf".
    quantity : str
        A name from :data:`CONVENTIONS`, such as "loss", "time", "weights", "learning_rate".
    value : float or array
        As infflow has it.
    **sizes : float
        What the factor needs: ``input_dim`` (goldt), ``num_samples`` (mlpgradientflow; ``inf`` for
        infinite data), ``width`` (mean_field).

    Returns
    -------
    float or ndarray

    Raises
    ------
    UnknownNameError
        If convention or quantity is not known; the message suggests the nearest.
    InvalidTypeError, InvalidValueError
        If a size is missing, superfluous or out of range, or the value is no number.

    Examples
    --------
    >>> import infflow as inf
    >>> inf.conventions.to("goldt", "learning_rate", 0.1)
    0.2
    >>> inf.conventions.to("mlpgradientflow", "time", 500.0, num_samples=1000)
    0.5
    """
    return _scaled(value, _factor(convention, quantity, sizes))


@public
def from_(convention: str, quantity: str, value: Any, **sizes: Any) -> Any:
    """A quantity as others write it, in the convention of infflow; the inverse of :func:`to`.

    Examples
    --------
    >>> import infflow as inf
    >>> inf.conventions.from_("saad_solla", "loss", 0.02)  # their generalization error
    0.04
    """
    return _scaled(value, 1.0 / _factor(convention, quantity, sizes))


def _factor(convention: str, quantity: str, sizes: Mapping[str, Any]) -> float:
    found = CONVENTIONS[as_choice("convention", convention, CONVENTIONS)]
    rule = found.quantities[as_choice(f"quantity of {found.name!r}", quantity, found.quantities)]
    for name in sizes:
        if name not in ("input_dim", "num_samples", "width"):
            raise InvalidTypeError(f"{name!r} is not a size; input_dim, num_samples and width are.")
    missing = [name for name in rule.needs if name not in sizes]
    if missing:
        raise InvalidTypeError(
            f"the factor of {quantity!r} for {found.name!r} depends on {missing[0]}; pass "
            f"{missing[0]}=..."
        )
    return rule.factor({name: _size(name, value) for name, value in sizes.items()})


def _size(name: str, value: Any) -> float:
    if name == "num_samples" and isinstance(value, float) and value == math.inf:
        return value
    return as_number(name, as_integer(name, value, minimum=1))


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, Real):
        return as_number("value", value) * factor
    return as_real_array("value", value) * factor


# ------------------------------------------------------------------------------- parameters of
# MLPGradientFlow.jl


@public
def to_weight_matrices(net: Net | NetI, theta: Any) -> list[Array]:
    """Parameters as MLPGradientFlow.jl has them: one matrix ``w1``, ``w2``, ... per layer, the bias
    as its last column.

    Parameters
    ----------
    net : Net or NetI
    theta : (P,) array

    Returns
    -------
    list of ndarray (width, fan_in) or (width, fan_in + 1)
        New arrays. Its flat vectors are these, one after the other, each in column-major order.
    """
    return [
        W.copy() if b is None else np.column_stack([W, b]) for W, b in _network(net).unpack(theta)
    ]


@public
def from_weight_matrices(net: Net | NetI, matrices: Any) -> Array:
    """The parameter vector ``theta`` (P,) of matrices as :func:`to_weight_matrices` returns them.

    Raises
    ------
    ShapeError
        If their number or shapes are not those of the network.
    """
    layers = _network(net).layers
    given = as_items("matrices", matrices, "a list of matrices, one per layer,")
    given = [as_real_array(f"matrix {k + 1}", each, ndim=2) for k, each in enumerate(given)]
    widths = [_network(net).input_dim, *(layer.width for layer in layers)]
    shapes = [
        (layer.width, fan_in + layer.bias) for layer, fan_in in zip(layers, widths, strict=False)
    ]
    if [each.shape for each in given] != shapes:
        raise ShapeError(
            f"the matrices have shapes {[each.shape for each in given]}; {shapes} are needed, "
            "the bias in the last column."
        )
    pairs = [
        (each[:, :-1], each[:, -1]) if layer.bias else (each, None)
        for each, layer in zip(given, layers, strict=True)
    ]
    theta: Array = _network(net).pack(pairs)
    return theta


def _network(net: Any) -> Any:
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; an inf.Net or an inf.NetI is needed."
        )
    return net.student if isinstance(net, NetI) else net
