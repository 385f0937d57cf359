"""Networks to and from PyTorch, which is needed only here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._validation import Array, counted, package, public
from ..activations import Activation, resolve
from ..errors import InvalidTypeError, InvalidValueError
from ..networks.finite.net import Net

#: PyTorch's softplus becomes the identity here (its ``threshold``): exp(-40) is below the rounding
#: error of 40.
_SOFTPLUS_THRESHOLD = 40.0


@public
def from_torch(module: Any, **arguments: Any) -> tuple[Net, Array]:
    """A :class:`~infflow.Net` and its parameters from a ``torch.nn.Sequential`` of linear layers
    and activations.

    Parameters
    ----------
    module : torch.nn.Sequential
        ``Linear`` layers, each followed by at most one activation: ``Identity``, ``ReLU``,
        ``LeakyReLU()``, ``ELU()``, ``SELU``, ``Sigmoid``, ``Tanh``, ``Softplus()``, ``SiLU``,
        ``GELU()``, all with PyTorch's default arguments (the ``threshold`` of ``Softplus`` may be
        larger). Sequentials may be nested. Two ``Linear`` in a row make a layer with activation
        ``identity``.
    **arguments
        Further arguments of :class:`~infflow.Net`: ``input``, ``target``, ``weights``, ``loss``,
        ``maxnorm``, ``ridge``, ``merge``.

    Returns
    -------
    Net, ndarray (P,)
        ``net.predict(theta, X)`` equals ``module.double()(X)`` to rounding. One exception is
        PyTorch's: its softplus is x where x > threshold = 20, wrong by up to 2e-9 there; this one
        is not.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If there is a module or an argument of one that has no equal here; the message names it and
        its place.
    MissingPackageError
        Without PyTorch.

    See Also
    --------
    to_torch : the way back.
    torch_loss : a loss that PyTorch differentiates.

    Examples
    --------
    >>> import infflow as inf
    >>> import torch  # doctest: +SKIP
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())  # doctest: +SKIP
    >>> net, theta = inf.from_torch(module)  # doctest: +SKIP
    """
    torch = _torch("inf.from_torch")
    if not isinstance(module, torch.nn.Sequential):
        raise InvalidTypeError(
            f"module is a {type(module).__name__}; a torch.nn.Sequential is needed."
        )
    layers: list[list[Any]] = []
    pairs: list[tuple[Array, Array | None]] = []
    seen: set[int] = set()
    open_layer = False  # whether the last layer may still get an activation
    for place, each in _flatten(torch, module, ""):
        _check_plain(place, each, seen)
        if type(each) is torch.nn.Linear:
            pairs.append((_array(f"weight of module {place}", each.weight), _bias(place, each)))
            if layers and each.in_features != layers[-1][0]:
                raise InvalidValueError(
                    f"module {place} takes {counted(each.in_features, 'input')}, but the layer "
                    f"before has {counted(layers[-1][0], 'neuron')}."
                )
            layers.append([each.out_features, "identity", each.bias is not None])
            open_layer = True
        elif type(each) in _activations(torch):
            if not open_layer:
                raise InvalidValueError(
                    f"module {place} ({each!r}) does not follow a Linear; one activation after "
                    "each Linear is needed."
                )
            layers[-1][1] = _activation_name(torch, place, each)
            open_layer = False
        else:
            known = ", ".join(sorted(kind.__name__ for kind in _activations(torch)))
            raise InvalidTypeError(
                f"module {place} ({each!r}) has no equal in infflow. Known: Linear, {known}."
            )
    if not layers:
        raise InvalidValueError("module has no Linear; at least one is needed.")
    net = Net([tuple(layer) for layer in layers], input_dim=pairs[0][0].shape[1], **arguments)
    return net, net.pack(pairs)


@public
def to_torch(net: Net, theta: ArrayLike) -> Any:
    """A ``torch.nn.Sequential`` in double precision with the outputs of ``net.predict(theta, .)``.

    Parameters
    ----------
    net : Net
        Every layer with one activation out of those of :func:`from_torch`. Factors of
        the parametrization and lengths of unit rows go into the weights; ``ntk``,
        ``mean_field`` and ``spherical`` come back from :func:`from_torch` as ``standard``.
    theta : (P,) array

    Returns
    -------
    torch.nn.Sequential
        Its parameters are copies. With the standard parametrization
        ``torch.nn.utils.parameters_to_vector`` gives ``theta``.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If ``net`` is no Net, or an activation has no equal in PyTorch.
    MissingPackageError
        Without PyTorch.

    See Also
    --------
    from_torch : the way back.
    torch_loss : a loss that PyTorch differentiates.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(3, "tanh", True)], input_dim=2)
    >>> module = inf.to_torch(net, inf.random_params(net))  # doctest: +SKIP
    """
    torch = _torch("inf.to_torch")
    if not isinstance(net, Net):
        hint = " Give its student, net.student." if hasattr(net, "student") else ""
        raise InvalidTypeError(f"net is a {type(net).__name__}; an inf.Net is needed.{hint}")
    modules = []
    pairs = net.layout.views(net.scaled(net.layout.check(theta)))
    for number, (layer, (W, b)) in enumerate(zip(net.layers, pairs, strict=True)):
        linear = torch.nn.Linear(W.shape[1], W.shape[0], bias=b is not None, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W))
            if b is not None:
                linear.bias.copy_(torch.tensor(b))
        modules.append(linear)
        activation = _torch_activation(torch, number, layer.activations)
        if activation is not None:
            modules.append(activation)
    return torch.nn.Sequential(*modules)


def _torch(purpose: str) -> Any:
    return package("torch", purpose, "'infflow[torch]'")


def _flatten(torch: Any, module: Any, prefix: str) -> list[tuple[str, Any]]:
    """Modules of nested Sequentials in order, with their places such as ``0.2``."""
    found = []
    # named_children would leave out a module that occurs twice
    for number, each in enumerate(module):
        place = f"{prefix}{number}"
        found += (
            _flatten(torch, each, f"{place}.")
            if isinstance(each, torch.nn.Sequential)
            else [(place, each)]
        )
    return found


def _check_plain(place: str, each: Any, seen: set[int]) -> None:
    """Refuse what changes outputs behind the module's back, and parameters that two
    layers share.
    """
    if each._forward_hooks or each._forward_pre_hooks:
        raise InvalidTypeError(
            f"module {place} ({each!r}) has hooks, which cannot be taken over; remove them first."
        )
    shared = [parameter for parameter in each.parameters() if id(parameter) in seen]
    if shared:
        raise InvalidValueError(
            f"module {place} ({each!r}) shares parameters with an earlier one; every layer here "
            "has its own. Copy it first."
        )
    seen.update(id(parameter) for parameter in each.parameters())


def _activations(torch: Any) -> dict[Any, tuple[str, dict[str, Any]]]:
    """PyTorch's class -> name here, and the attributes that must have these values."""
    nn = torch.nn
    return {
        nn.Identity: ("identity", {}),
        nn.ReLU: ("relu", {}),
        nn.LeakyReLU: ("leaky_relu", {"negative_slope": 0.01}),
        nn.ELU: ("elu", {"alpha": 1.0}),
        nn.SELU: ("selu", {}),
        nn.Sigmoid: ("sigmoid", {}),
        nn.Tanh: ("tanh", {}),
        nn.Softplus: ("softplus", {"beta": 1.0}),
        nn.SiLU: ("silu", {}),
        nn.GELU: ("gelu", {"approximate": "none"}),
    }


def _activation_name(torch: Any, place: str, each: Any) -> str:
    name, needed = _activations(torch)[type(each)]
    for attribute, value in needed.items():
        given = getattr(each, attribute)
        if given != value:
            raise InvalidValueError(
                f"module {place} ({each!r}) has {attribute}={given!r}; {name!r} here is the one "
                f"with {value!r}. "
                "Use an inf.Activation in an inf.Net instead."
            )
    if name == "softplus" and each.threshold < 20:
        raise InvalidValueError(
            f"module {place} ({each!r}) is x above {each.threshold}, which is not softplus; a "
            "threshold of at least 20 is needed."
        )
    return name


def _torch_activation(torch: Any, number: int, activations: tuple[Activation, ...]) -> Any:
    """PyTorch's module for the activation of a layer; None for the identity."""
    first = activations[0]
    builders: dict[str, Callable[[], Any]] = {
        name: kind for kind, (name, _) in _activations(torch).items()
    }
    builders["softplus"] = lambda: torch.nn.Softplus(threshold=_SOFTPLUS_THRESHOLD)
    if any(each != first for each in activations):
        raise InvalidValueError(
            f"layer {number} has a different activation per neuron, which a torch.nn.Sequential "
            "cannot hold. "
            "Use one activation per layer."
        )
    # a user's own activation may carry the name of a registered one
    if first.name not in builders or first != resolve(first.name):
        raise InvalidValueError(
            f"activation {first.name!r} of layer {number} has no equal in PyTorch. Known: "
            f"{', '.join(sorted(builders))}."
        )
    return None if first.name == "identity" else builders[first.name]()


def _array(name: str, tensor: Any) -> Array:
    if not tensor.is_floating_point() or tensor.element_size() < 4:
        raise InvalidTypeError(
            f"{name} has dtype {tensor.dtype}; torch.float64 or torch.float32 is needed."
        )
    return np.asarray(tensor.detach().cpu().double().numpy())


def _bias(place: str, linear: Any) -> Array | None:
    return None if linear.bias is None else _array(f"bias of module {place}", linear.bias)
